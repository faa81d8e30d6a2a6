//! Membership: what is stored about users in rooms, kept at hand for the read path. (3 authorise)
//!
//! Holds stored facts only; what a token grants belongs to its connection. The committer writes each
//! change here before it acknowledges it, so a hit is never older than what anyone was told.
//!
//! Never: knows a room that is not there, or a stranger of a room that they cannot see.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use quick_cache::sync::Cache;
use tertulia_protocol::{RoomId, UserId};
use tertulia_store::{RoomNo, Standing};

/// Versions, one for many rooms: a change in one of them makes fills of the others be asked again, which
/// costs a read and is rare.
const VERSIONS: usize = 1024;

#[derive(Clone, Copy)]
struct Entry {
    standing: Standing,
    until_ns: u64,
}

/// Which changes a lookup may have missed; taken before it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version(u64);

/// Memberships at hand.
pub struct Membership {
    /// By number, which is smaller than a name and never given twice: a room made again under the same name
    /// has another one.
    entries: Cache<(RoomNo, UserId), Entry>,
    versions: Vec<Mutex<u64>>,
    ttl_ns: u64,
}

impl Membership {
    /// Room for `entries` memberships, each believed for `ttl`.
    pub fn new(entries: usize, ttl: Duration) -> Membership {
        Membership {
            entries: Cache::new(entries),
            versions: (0..VERSIONS).map(|_| Mutex::default()).collect(),
            ttl_ns: ttl.as_nanos() as u64,
        }
    }

    /// What is stored about `user` in the room, if it is at hand and young enough.
    pub fn get(&self, room: RoomNo, user: &UserId, now_ns: u64) -> Option<Standing> {
        let entry = self.entries.get(&(room, user.clone()))?;
        (now_ns < entry.until_ns).then_some(entry.standing)
    }

    /// The version to take before a lookup reads.
    pub fn version(&self, id: &RoomId) -> Version {
        Version(*self.lock(id))
    }

    /// Whether nothing changed since `version` was taken.
    pub fn is_current(&self, id: &RoomId, version: Version) -> bool {
        self.version(id) == version
    }

    /// Keeps what a lookup found, unless something changed since it began.
    pub fn fill(
        &self,
        id: &RoomId,
        room: RoomNo,
        user: &UserId,
        standing: Standing,
        version: Version,
        now_ns: u64,
    ) {
        // Held while it is put: the committer's word comes before ours or after it, never in between.
        let current = self.lock(id);
        if Version(*current) == version {
            self.put(room, user, standing, now_ns);
        }
    }

    /// Writes a committed change. Called by the committer alone, before it acknowledges.
    pub fn change(
        &self,
        id: &RoomId,
        room: RoomNo,
        user: &UserId,
        standing: Standing,
        now_ns: u64,
    ) {
        let mut current = self.lock(id);
        *current += 1;
        self.put(room, user, standing, now_ns);
    }

    /// Forgets what is too old to be believed.
    pub fn sweep(&self, now_ns: u64) {
        self.entries.retain(|_, entry| now_ns < entry.until_ns);
    }

    /// How many memberships are at hand.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn put(&self, room: RoomNo, user: &UserId, standing: Standing, now_ns: u64) {
        let entry = Entry { standing, until_ns: now_ns + self.ttl_ns };
        self.entries.insert((room, user.clone()), entry);
    }

    fn lock(&self, id: &RoomId) -> MutexGuard<'_, u64> {
        let hash = xxhash_rust::xxh3::xxh3_64(id.as_str().as_bytes());
        let version = &self.versions[(hash % VERSIONS as u64) as usize];
        version.lock().expect("no one panics while holding a version")
    }
}

#[cfg(test)]
mod tests {
    use tertulia_protocol::Role;

    use super::*;

    const MEMBER: Standing = Standing::Member(Role::Member);

    fn cache() -> (Membership, RoomId, UserId) {
        let cache = Membership::new(100, Duration::from_secs(300));
        (cache, RoomId::parse("garden").unwrap(), UserId::parse("ada").unwrap())
    }

    #[test]
    fn a_membership_at_hand_is_small() {
        // There is one for each user and room that someone hears, and the cache adds to it.
        let bytes = size_of::<(RoomNo, UserId)>() + size_of::<Entry>();
        assert!(bytes <= 40, "{bytes}");
    }

    #[test]
    fn a_membership_is_believed_for_five_minutes() {
        let (cache, garden, ada) = cache();
        cache.change(&garden, RoomNo(1), &ada, MEMBER, 0);
        assert_eq!(cache.get(RoomNo(1), &ada, 299_999_999_999), Some(MEMBER));
        assert_eq!(cache.get(RoomNo(1), &ada, 300_000_000_000), None);
        assert_eq!(cache.get(RoomNo(2), &ada, 0), None, "another room of the same name");
        cache.sweep(300_000_000_000);
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn a_lookup_that_a_kick_overtook_is_not_kept() {
        let (cache, garden, ada) = cache();
        let before = cache.version(&garden);
        cache.change(&garden, RoomNo(1), &ada, Standing::Removed, 0);
        cache.fill(&garden, RoomNo(1), &ada, MEMBER, before, 0);
        assert_eq!(cache.get(RoomNo(1), &ada, 1), Some(Standing::Removed));
        assert!(!cache.is_current(&garden, before));
        let after = cache.version(&garden);
        cache.fill(&garden, RoomNo(1), &ada, MEMBER, after, 0);
        assert_eq!(cache.get(RoomNo(1), &ada, 1), Some(MEMBER));
    }
}
