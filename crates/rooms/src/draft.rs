//! Drafts: what someone wants to be true, on its way to the committer. (4 submit)

use tertulia_protocol::command::{CommandId, Settings};
use tertulia_protocol::reply::Stored;
use tertulia_protocol::{AppKind, Body, Cid, Epoch, Role, RoomId, Seq, UserId};

use crate::refusal::Refusal;

/// Something for the committer.
#[derive(Debug)]
pub struct Draft {
    /// Where.
    pub room: RoomId,
    /// Who.
    pub author: Author,
    /// What.
    pub wish: Wish,
    /// What to answer unless it was committed before: a limit that was passed, which may not hide that.
    pub veto: Option<Refusal>,
    /// Who wants to know.
    pub reply: Reply,
    /// When it was submitted, on the clock of [`crate::Clock::now_ns`].
    pub submitted_ns: u64,
}

/// Who wants something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Author {
    /// A user, with the role that their token grants in this room.
    User {
        /// Who.
        user: UserId,
        /// What the token says.
        grant: Option<Role>,
    },
    /// The application itself.
    Application,
}

impl Author {
    /// The user, if it is one.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Author::User { user, .. } => Some(user),
            Author::Application => None,
        }
    }
}

/// What is wanted of a room.
#[derive(PartialEq, Eq, Debug)]
pub enum Wish {
    /// Say something durable.
    Say(Say),
    /// Make the room.
    Create(Settings),
    /// Replace its settings.
    Set(Settings),
    /// Remove it and its log.
    Delete,
    /// Become a member.
    Join,
    /// Stop being one.
    Leave,
    /// Make a user a member with a role, or give a member that role.
    Put(UserId, Role),
    /// Give a member a role.
    Role(UserId, Role),
    /// Remove a user.
    Kick(UserId),
    /// Remove a user and keep them out.
    Ban(UserId),
    /// Lift a ban.
    Unban(UserId),
    /// Refuse the author's tokens from before that second, everywhere. The room counts for nothing.
    Revoke {
        /// Whose.
        user: UserId,
        /// Seconds since 1970 UTC.
        before_s: u64,
    },
}

/// Something durable to say.
#[derive(PartialEq, Eq, Debug)]
pub struct Say {
    /// What makes a retry harmless.
    pub cid: Cid,
    /// `None` = a message.
    pub kind: Option<AppKind>,
    /// The event that it answers.
    pub re: Option<Seq>,
    /// The root of its thread.
    pub thread: Option<Seq>,
    /// Must be committed before.
    pub prev: Option<Cid>,
    /// The epoch that the numbers speak of.
    pub epoch: Option<Epoch>,
    /// What is said.
    pub d: Body,
}

impl Say {
    /// Of all that makes it what it is: a retry has the same.
    pub fn hash(&self) -> u128 {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        hash.update(self.kind.as_ref().map_or("msg", AppKind::as_str).as_bytes());
        hash.update(&[0]);
        for number in [self.re, self.thread] {
            hash.update(&number.unwrap_or(0).to_be_bytes());
        }
        hash.update(self.d.as_str().as_bytes());
        hash.digest128()
    }
}

/// What came of a draft.
pub type Outcome = Result<Done, Refusal>;

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// It was said.
    Said(Stored),
    /// The room is as wanted.
    Changed {
        /// The life of its log, unless it is gone.
        epoch: Option<Epoch>,
        /// The event that tells of it, if one does.
        seq: Option<Seq>,
        /// It was so already.
        dup: bool,
    },
}

/// Who wants to know what came of a draft.
pub enum Reply {
    /// A connection's command.
    Command {
        /// Where the connection lives.
        shard: usize,
        /// Which.
        to: Address,
        /// Of what.
        id: CommandId,
    },
    /// Someone who waits elsewhere.
    Call(Box<dyn FnOnce(Outcome) + Send>),
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reply::Command { id, .. } => write!(f, "Command({id})"),
            Reply::Call(_) => write!(f, "Call"),
        }
    }
}

/// A connection of a shard: its place, and which of those that had the place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    /// The place in the shard's slab.
    pub place: u32,
    /// Counts the connections that had it.
    pub generation: u32,
}
