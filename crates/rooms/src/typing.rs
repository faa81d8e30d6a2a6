//! Typing: who types in a room, as one set for everyone.

use smallvec::SmallVec;
use tertulia_protocol::UserId;
use tertulia_protocol::limits::TYPING_NAMES_MAX;

/// Who types: at most a handful, each for a while.
#[derive(Default)]
pub(crate) struct Typing(SmallVec<[Typist; 0]>);

struct Typist {
    user: UserId,
    said_ms: u64,
    until_ms: u64,
}

impl Typing {
    /// Notes that `user` types or stopped. True if everyone should hear the set anew.
    pub(crate) fn set(
        &mut self,
        user: &UserId,
        on: bool,
        now_ms: u64,
        until_ms: u64,
        every_ms: u64,
    ) -> bool {
        let place = self.0.iter().position(|typist| typist.user == *user);
        match (on, place) {
            (true, Some(place)) => {
                let typist = &mut self.0[place];
                if now_ms < typist.said_ms + every_ms {
                    return false;
                }
                *typist = Typist { user: user.clone(), said_ms: now_ms, until_ms };
                true
            }
            (true, None) if self.0.len() < TYPING_NAMES_MAX => {
                self.0.push(Typist { user: user.clone(), said_ms: now_ms, until_ms });
                true
            }
            (false, Some(place)) => {
                self.0.remove(place);
                true
            }
            (true, None) | (false, None) => false,
        }
    }

    /// Forgets those whose time is over. True if there were any.
    pub(crate) fn expire(&mut self, now_ms: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|typist| typist.until_ms > now_ms);
        if self.0.is_empty() {
            self.0.shrink_to_fit();
        }
        self.0.len() < before
    }

    /// Who types.
    pub(crate) fn users(&self) -> impl Iterator<Item = &UserId> {
        self.0.iter().map(|typist| &typist.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_told_when_it_changes_and_renewed_at_most_every_few_seconds() {
        let mut typing = Typing::default();
        let ada = UserId::parse("ada").unwrap();
        let mut set = |on, now_ms| typing.set(&ada, on, now_ms, now_ms + 8000, 3000);
        assert!(set(true, 0));
        assert!(!set(true, 2999));
        assert!(set(true, 3000));
        assert!(set(false, 3001));
        assert!(!set(false, 3002));
        assert!(set(true, 3003));
        assert!(!typing.expire(11_002));
        assert!(typing.expire(11_003));
        assert_eq!(typing.users().count(), 0);
    }
}
