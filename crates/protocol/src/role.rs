//! Roles and room kinds: the words for who one is and where.

use std::fmt;

/// What a member may do, least first: each may do all that the one before may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Reads.
    Reader,
    /// Reads and writes.
    Member,
    /// Also looks after the members.
    Admin,
    /// Also decides over the room itself.
    Owner,
}

impl Role {
    /// Every role, least first.
    pub const ALL: [Role; 4] = [Role::Reader, Role::Member, Role::Admin, Role::Owner];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Member => "member",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }

    /// The role of that name.
    pub fn parse(text: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who sees a room and who may write in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RoomKind {
    /// Seen by its members, who were added.
    Group,
    /// Between two people.
    Direct,
    /// Seen and joined by everyone.
    Public,
    /// Seen and joined by everyone, written by owners and admins.
    Broadcast,
}

impl RoomKind {
    /// Every kind.
    pub const ALL: [RoomKind; 4] =
        [RoomKind::Group, RoomKind::Direct, RoomKind::Public, RoomKind::Broadcast];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            RoomKind::Group => "group",
            RoomKind::Direct => "direct",
            RoomKind::Public => "public",
            RoomKind::Broadcast => "broadcast",
        }
    }

    /// The kind of that name.
    pub fn parse(text: &str) -> Option<RoomKind> {
        RoomKind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether someone who is not a member can know that the room is there, and join it.
    pub const fn is_open(self) -> bool {
        matches!(self, RoomKind::Public | RoomKind::Broadcast)
    }
}
