//! Typing: who types in a room, as one set for everyone.

use smallvec::SmallVec;
use tertulia_protocol::UserId;
use tertulia_protocol::limits::TYPING_NAMES_MAX;

/// Most who are kept, those who stopped a moment ago included.
const KEPT_MAX: usize = 2 * TYPING_NAMES_MAX;

/// Who types: at most a handful, each for a while.
#[derive(Default)]
pub(crate) struct Typing(SmallVec<[Typist; 0]>);

struct Typist {
    user: UserId,
    /// When everyone was told that they type.
    said_ms: u64,
    until_ms: u64,
    /// False for one who stopped, and is kept until it may be said of them again.
    types: bool,
}

impl Typing {
    /// Notes that `user` types or stopped. True if everyone should hear the set anew: of one user at most
    /// twice in `every_ms`, once that they type and once that they stopped.
    pub(crate) fn set(
        &mut self,
        user: &UserId,
        on: bool,
        now_ms: u64,
        until_ms: u64,
        every_ms: u64,
    ) -> bool {
        let is_full = self.users().count() >= TYPING_NAMES_MAX;
        let is_packed = self.0.len() >= KEPT_MAX;
        let known = self.0.iter_mut().find(|typist| typist.user == *user);
        match (on, known) {
            (false, known) => known.is_some_and(|typist| std::mem::take(&mut typist.types)),
            (true, Some(typist)) if now_ms < typist.said_ms + every_ms => false,
            (true, Some(typist)) if typist.types || !is_full => {
                (typist.said_ms, typist.until_ms, typist.types) = (now_ms, until_ms, true);
                true
            }
            (true, None) if !is_full && !is_packed => {
                let user = user.clone();
                self.0.push(Typist { user, said_ms: now_ms, until_ms, types: true });
                true
            }
            (true, _) => false,
        }
    }

    /// Forgets those whose time is over. True if everyone should hear the set anew.
    pub(crate) fn expire(&mut self, now_ms: u64, every_ms: u64) -> bool {
        let mut changed = false;
        self.0.retain(|typist| {
            if typist.until_ms <= now_ms {
                changed |= std::mem::take(&mut typist.types);
            }
            typist.types || now_ms < typist.said_ms + every_ms
        });
        if self.0.is_empty() {
            self.0.shrink_to_fit();
        }
        changed
    }

    /// Who types.
    pub(crate) fn users(&self) -> impl Iterator<Item = &UserId> {
        self.0.iter().filter(|typist| typist.types).map(|typist| &typist.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(names: &str) -> Vec<UserId> {
        names.split(' ').map(|name| UserId::parse(name).unwrap()).collect()
    }

    #[test]
    fn a_set_is_told_when_it_changes_and_renewed_at_most_every_few_seconds() {
        let mut typing = Typing::default();
        let [ada] = &users("ada")[..] else { panic!() };
        let mut set = |on, now_ms| typing.set(ada, on, now_ms, now_ms + 8000, 3000);
        assert!(set(true, 0));
        assert!(!set(true, 2999));
        assert!(set(true, 3000));
        assert!(set(false, 3001));
        assert!(!set(false, 3002));
        assert!(!set(true, 5999), "who stops and begins again is not heard more often");
        assert!(set(true, 6000));
        assert!(!typing.expire(13_999, 3000));
        assert_eq!(typing.users().count(), 1);
        assert!(typing.expire(14_000, 3000));
        assert_eq!(typing.users().count(), 0);
        assert!(typing.0.is_empty());
    }

    #[test]
    fn one_who_stopped_gives_their_place_to_the_next() {
        let mut typing = Typing::default();
        let names = users("ada bob cem dan eve fay");
        let told = names.iter().map(|user| typing.set(user, true, 0, 8000, 3000));
        assert_eq!(told.collect::<Vec<_>>(), [true, true, true, true, true, false]);
        assert!(typing.set(&names[2], false, 1, 8001, 3000));
        assert!(!typing.expire(2, 3000));
        assert!(typing.set(&names[5], true, 2, 8002, 3000));
        assert!(typing.users().eq(&users("ada bob dan eve fay")));
        // However they take turns, each is heard of once on and once off.
        assert!(typing.set(&names[5], false, 3, 8003, 3000));
        assert!(!typing.set(&names[2], true, 4, 8004, 3000));
        assert!(!typing.set(&names[5], true, 5, 8005, 3000));
        assert!(!typing.expire(3001, 3000));
        assert!(typing.set(&names[2], true, 3001, 8004, 3000));
    }
}
