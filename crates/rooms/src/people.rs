//! People: which connections a user has, on any shard, and how much they may still say.

use std::sync::{Mutex, MutexGuard};

use hashbrown::HashMap;
use tertulia_protocol::UserId;

use crate::draft::Address;
use crate::limits::Limits;
use crate::rates::Bucket;
use crate::refusal::Refusal;
use crate::session::Session;

/// Locks for the users: enough that two shards seldom meet.
const STRIPES: usize = 64;

/// A connection of a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seat {
    /// The shard that has it.
    pub shard: usize,
    /// Where there.
    pub address: Address,
    /// The session in force on it.
    pub session: Session,
}

/// The user has as many connections as they may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

#[derive(Default)]
struct Person {
    seats: Vec<Seat>,
    sends: Bucket,
}

/// Everyone who is connected or has spoken of late.
pub struct People {
    stripes: Vec<Mutex<HashMap<UserId, Person>>>,
}

impl Default for People {
    fn default() -> People {
        People { stripes: (0..STRIPES).map(|_| Mutex::default()).collect() }
    }
}

impl People {
    fn stripe(&self, user: &UserId) -> MutexGuard<'_, HashMap<UserId, Person>> {
        let hash = xxhash_rust::xxh3::xxh3_64(user.as_str().as_bytes());
        let stripe = &self.stripes[(hash % STRIPES as u64) as usize];
        stripe.lock().expect("no one panics while holding a stripe")
    }

    /// Takes a seat for a new connection. Gives back the seat that had the same session, which must be
    /// left before the new one speaks.
    ///
    /// Errors: the user has `seats_max` connections already.
    pub fn enter(&self, user: &UserId, seat: Seat, seats_max: usize) -> Result<Option<Seat>, Full> {
        let mut stripe = self.stripe(user);
        let person = stripe.entry(user.clone()).or_default();
        let old = person.seats.iter().position(|old| old.session == seat.session);
        if let Some(old) = old {
            return Ok(Some(std::mem::replace(&mut person.seats[old], seat)));
        }
        if person.seats.len() >= seats_max {
            return Err(Full);
        }
        if person.seats.is_empty() {
            // One is what most users have; a vector that grows by itself would begin with four.
            person.seats.reserve_exact(1);
        }
        person.seats.push(seat);
        Ok(None)
    }

    /// Whether one of the user's connections has that session.
    pub fn has_session(&self, user: &UserId, session: Session) -> bool {
        let stripe = self.stripe(user);
        stripe
            .get(user)
            .is_some_and(|person| person.seats.iter().any(|seat| seat.session == session))
    }

    /// The connection is gone.
    pub fn leave(&self, user: &UserId, shard: usize, address: Address, now_ns: u64) {
        let mut stripe = self.stripe(user);
        let Some(person) = stripe.get_mut(user) else { return };
        person.seats.retain(|seat| (seat.shard, seat.address) != (shard, address));
        if person.seats.is_empty() && person.sends.is_full(now_ns) {
            stripe.remove(user);
        }
    }

    /// What to answer to a send with a body of so many bytes, unless the same was committed before. One bucket
    /// for a user, whatever the door.
    pub fn veto(
        &self,
        user: &UserId,
        bytes: usize,
        limits: &Limits,
        now_ns: u64,
    ) -> Option<Refusal> {
        let limit = limits.body_bytes;
        if bytes > limit {
            return Some(Refusal::TooLarge { bytes, limit });
        }
        let (rate, burst) = (limits.send_per_second, limits.send_burst);
        if rate == 0 {
            return None;
        }
        let mut stripe = self.stripe(user);
        let sends = &mut stripe.entry(user.clone()).or_default().sends;
        let taken = sends.take(now_ns, rate, burst);
        taken.err().map(|retry_ms| Refusal::RateLimited { retry_ms })
    }

    /// Forgets those who are gone and silent. Cost: a walk over everyone; call it each minute.
    pub fn sweep(&self, now_ns: u64) {
        for stripe in &self.stripes {
            let mut stripe = stripe.lock().expect("no one panics while holding a stripe");
            stripe.retain(|_, person| !person.seats.is_empty() || !person.sends.is_full(now_ns));
        }
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.stripes
            .iter()
            .map(|stripe| stripe.lock().expect("no one panics while holding a stripe").len())
            .sum()
    }

    /// Whether no one is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_small() {
        // In a table that is half empty at worst, so each byte counts up to twice.
        assert!(size_of::<(UserId, Person)>() <= 48, "{}", size_of::<(UserId, Person)>());
    }
}
