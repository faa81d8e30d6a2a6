//! Permissions: who may do what where. The one place that decides it, for every door. (3 authorise)

use tertulia_protocol::{Role, RoomKind};
use tertulia_store::Standing;

use crate::refusal::Refusal;

/// Who acts, as far as a room is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Actor {
    /// The application itself, with its key.
    Application,
    /// A user: what is stored about them here, and what their token grants.
    User {
        /// What is stored.
        standing: Standing,
        /// What the token grants.
        grant: Option<Role>,
    },
}

/// What someone wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Know that the room is there.
    See,
    /// Read and hear it.
    Read,
    /// Say something in it, durable or not.
    Send,
    /// Change its settings.
    Set,
    /// Remove it.
    Delete,
    /// Become a member.
    Join,
    /// Change what a user with that standing is, to the given role if there is one.
    Manage {
        /// What the other one is now.
        target: Standing,
        /// What they should become.
        role: Option<Role>,
    },
}

/// The role that a user has: the greater of what is stored and what the token grants, unless they were
/// removed, which beats every grant.
pub fn role(standing: Standing, grant: Option<Role>) -> Option<Role> {
    match standing {
        Standing::Stranger => grant,
        Standing::Member(role) => Some(grant.map_or(role, |grant| grant.max(role))),
        Standing::Removed | Standing::Banned => None,
    }
}

/// Whether `actor` may do `action` in a room of that kind.
///
/// Errors: outside a private room everything is [`Refusal::NotFound`]; outside an open one a stranger is
/// told to join.
pub fn check(actor: Actor, kind: RoomKind, action: Action) -> Result<(), Refusal> {
    let Actor::User { standing, grant } = actor else { return Ok(()) };
    let Some(role) = role(standing, grant) else {
        return match (standing, action) {
            _ if !kind.is_open() => Err(Refusal::NotFound),
            (Standing::Banned, _) => Err(Refusal::Forbidden("banned from this room")),
            (_, Action::See | Action::Join) => Ok(()),
            _ => Err(Refusal::NotMember),
        };
    };
    let least = match action {
        Action::See | Action::Read | Action::Join => Role::Reader,
        Action::Send if kind == RoomKind::Broadcast => Role::Admin,
        Action::Send => Role::Member,
        Action::Set => Role::Admin,
        Action::Delete => Role::Owner,
        Action::Manage { target, role: new } => return manage(role, target, new),
    };
    if role >= least {
        return Ok(());
    }
    Err(Refusal::Forbidden(match least {
        Role::Owner => "only an owner may do this",
        Role::Admin => "only an owner or admin may do this",
        Role::Member | Role::Reader => "a reader may not write",
    }))
}

/// An owner may change everyone; an admin those below, and not up to their own rank.
fn manage(mine: Role, target: Standing, new: Option<Role>) -> Result<(), Refusal> {
    let above = |other: Role| mine == Role::Owner || mine > other;
    let target_below = match target {
        Standing::Member(role) => above(role),
        Standing::Stranger | Standing::Removed | Standing::Banned => true,
    };
    if mine < Role::Admin {
        return Err(Refusal::Forbidden("only an owner or admin may do this"));
    }
    if target_below && new.is_none_or(above) {
        return Ok(());
    }
    Err(Refusal::Forbidden("only someone of higher rank may do this"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row: a role (or the word for having none), a kind, and what each action earns.
    fn row(text: &str) {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (who, kind) = (words[0], RoomKind::parse(words[1]).unwrap());
        let standing = match who {
            "stranger" => Standing::Stranger,
            "removed" => Standing::Removed,
            "banned" => Standing::Banned,
            role => Standing::Member(Role::parse(role).unwrap()),
        };
        let target = Standing::Member(Role::Member);
        let actions = [
            Action::See,
            Action::Read,
            Action::Send,
            Action::Set,
            Action::Delete,
            Action::Join,
            Action::Manage { target, role: None },
        ];
        for (action, expected) in actions.into_iter().zip(&words[2..]) {
            let got = match check(Actor::User { standing, grant: None }, kind, action) {
                Ok(()) => "yes",
                Err(refusal) => refusal.code().as_str(),
            };
            assert_eq!(got, *expected, "{who} in a {kind:?} room: {action:?}");
        }
    }

    #[test]
    fn who_may_do_what() {
        //                   see        read       send       set        delete     join       kick a member
        row(
            "owner    group     yes        yes        yes        yes        yes        yes        yes",
        );
        row(
            "admin    group     yes        yes        yes        yes        forbidden  yes        yes",
        );
        row(
            "member   group     yes        yes        yes        forbidden  forbidden  yes        forbidden",
        );
        row(
            "reader   group     yes        yes        forbidden  forbidden  forbidden  yes        forbidden",
        );
        row(
            "member   direct    yes        yes        yes        forbidden  forbidden  yes        forbidden",
        );
        row(
            "member   broadcast yes        yes        forbidden  forbidden  forbidden  yes        forbidden",
        );
        row(
            "admin    broadcast yes        yes        yes        yes        forbidden  yes        yes",
        );
        row(
            "stranger group     not_found  not_found  not_found  not_found  not_found  not_found  not_found",
        );
        row(
            "removed  direct    not_found  not_found  not_found  not_found  not_found  not_found  not_found",
        );
        row(
            "banned   group     not_found  not_found  not_found  not_found  not_found  not_found  not_found",
        );
        row(
            "stranger public    yes        not_member not_member not_member not_member yes        not_member",
        );
        row(
            "removed  public    yes        not_member not_member not_member not_member yes        not_member",
        );
        row(
            "banned   public    forbidden  forbidden  forbidden  forbidden  forbidden  forbidden  forbidden",
        );
    }

    #[test]
    fn rank_protects() {
        use Role::{Admin, Member, Owner, Reader};
        let may = |mine, target, new| {
            let actor = Actor::User { standing: Standing::Member(mine), grant: None };
            let action = Action::Manage { target: Standing::Member(target), role: new };
            check(actor, RoomKind::Group, action).is_ok()
        };
        assert!(may(Owner, Owner, None));
        assert!(may(Owner, Admin, Some(Owner)));
        assert!(may(Admin, Member, Some(Reader)));
        assert!(!may(Admin, Member, Some(Admin)), "no one lifts others to their own rank");
        assert!(!may(Admin, Admin, None));
        assert!(!may(Admin, Owner, None));
    }

    #[test]
    fn a_removal_beats_a_grant_and_a_grant_beats_nothing_stored() {
        assert_eq!(role(Standing::Stranger, Some(Role::Member)), Some(Role::Member));
        assert_eq!(role(Standing::Member(Role::Reader), Some(Role::Admin)), Some(Role::Admin));
        assert_eq!(role(Standing::Member(Role::Owner), Some(Role::Reader)), Some(Role::Owner));
        assert_eq!(role(Standing::Removed, Some(Role::Owner)), None);
        assert_eq!(role(Standing::Banned, Some(Role::Owner)), None);
    }
}
