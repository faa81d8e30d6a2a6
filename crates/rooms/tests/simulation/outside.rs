//! Outside: everything that a shard asks of the world, and the committer beside it.
//!
//! Whenever a shard looks at the clock, the committer's thread may have run meanwhile. That is where the
//! two meet in life, so that is where the simulation lets them.

use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::sync::Arc;

use tertulia_protocol::{Close, Role, RoomId, UserId};
use tertulia_rooms::Clock;
use tertulia_rooms::commit::{Committer, Written};
use tertulia_rooms::draft::{Address, Draft, Reply};
use tertulia_rooms::identity::{Identity, Verdict};
use tertulia_rooms::limits::Limits;
use tertulia_rooms::lookup::{Lookup, Question};
use tertulia_rooms::shard::Ports;
use tertulia_store::Memory;

use crate::fate::Chances;
use crate::random::Random;
use crate::socket::Sockets;
use crate::trace::Trace;

/// A fault planted on purpose: the checks have to find it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plant {
    Nothing,
    /// Live events reach the client twice.
    DoubleDelivery,
    /// The news of a removal do not say so.
    SkippedKick,
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now_ns: u64,
    pub(crate) wall_ms: u64,
}

impl Clock for Moment {
    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn wall_ms(&self) -> u64 {
        self.wall_ms
    }
}

/// The committer and what waits for it.
pub(crate) struct Office {
    pub(crate) committer: Committer,
    pub(crate) drafts: Vec<Draft>,
    pub(crate) random: Random,
    /// Something may have been committed that the model has not seen.
    pub(crate) dirty: bool,
    /// What is in the store and not everyone was told.
    pub(crate) untold: Option<Untold>,
}

/// A batch between its commit and its word to the shards.
pub(crate) struct Untold {
    drafts: Vec<Draft>,
    written: Written,
    /// The memberships at hand are right by now.
    remembered: bool,
}

impl Office {
    /// Commits some of what waits, or fails to; maybe nobody is told yet.
    pub(crate) fn commit(
        &mut self,
        most: usize,
        chances: &Chances,
        memory: &Memory,
        moment: Moment,
    ) {
        while self.untold.is_some() {
            self.tell(moment);
        }
        let some = self.drafts.len().min(most);
        let drafts: Vec<Draft> = self.drafts.drain(..some).collect();
        if drafts.is_empty() {
            return;
        }
        if self.random.chance(chances.commit_fails) {
            memory.fail_commits(1);
        }
        if self.random.chance(chances.commit_fails) {
            memory.fail_reads(1);
        }
        let written = self.committer.write(&drafts, &moment);
        memory.fail_commits(0);
        memory.fail_reads(0);
        self.dirty = true;
        self.untold = Some(Untold { drafts, written, remembered: false });
        while self.untold.is_some() && !self.random.chance(chances.told_late) {
            self.tell(moment);
        }
    }

    /// Cleans up, as the committer's thread does now and then.
    pub(crate) fn sweep(&mut self, moment: Moment) {
        while self.untold.is_some() {
            self.tell(moment);
        }
        while self.committer.sweep(moment.wall_ms).expect("no fault is planted now") {}
    }

    /// The next step from a commit to its word to the shards.
    pub(crate) fn tell(&mut self, moment: Moment) {
        let Some(mut untold) = self.untold.take() else { return };
        if !untold.remembered {
            self.committer.remember(&untold.written);
            untold.remembered = true;
            self.untold = Some(untold);
            return;
        }
        // Commits are made to fail here; whoever sent was told, and that is what is checked.
        let more = !self.drafts.is_empty();
        _ = self.committer.publish(&mut untold.drafts, untold.written, more, &moment);
        assert!(untold.drafts.is_empty(), "every draft is dealt with");
    }
}

/// The world as the shards see it.
pub(crate) struct Outside {
    pub(crate) sockets: Sockets,
    pub(crate) lookups: Vec<Lookup>,
    pub(crate) office: RefCell<Office>,
    /// What each shard has for the committer and has not handed in.
    pub(crate) aside: Vec<Vec<Draft>>,
    pub(crate) random: Random,
    pub(crate) trace: Trace,
    pub(crate) moment: Moment,
    /// Time that passes with each look at the clock, and how much of it has passed in this turn.
    pub(crate) toil_ns: u64,
    pub(crate) toiled_ns: Cell<u64>,
    pub(crate) memory: Memory,
    pub(crate) limits: Arc<Limits>,
    pub(crate) chances: Chances,
    pub(crate) plant: Plant,
    /// What a shard did for a connection that it should have closed.
    pub(crate) wrong: Option<String>,
}

/// The outside, as one shard sees it.
pub(crate) struct Door<'a> {
    pub(crate) shard: usize,
    pub(crate) outside: &'a mut Outside,
}

impl Door<'_> {
    /// Whoever lost the session to a newer connection says and asks nothing more.
    fn expect_no_heir(&mut self, of: Address, what: &str) {
        if let Some(heir) = self.outside.sockets.heir(self.shard, of) {
            let shard = self.shard;
            let words = || format!("shard {shard}: {of:?} {what}, but socket {heir} took over");
            self.outside.wrong.get_or_insert_with(words);
        }
    }
}

impl Outside {
    /// Another thread's turn, if chance has it.
    fn interrupt(&self) {
        let Ok(mut office) = self.office.try_borrow_mut() else { return };
        let waits = office.untold.is_some() || !office.drafts.is_empty();
        if !waits || !office.random.chance(self.chances.interrupted) {
            return;
        }
        if office.untold.is_some() {
            office.tell(self.moment);
        } else if !office.dirty {
            // Once a turn: the model has to see each commit before the next.
            let most = self.limits.commit_batch;
            office.commit(most, &self.chances, &self.memory, self.moment);
        }
    }
}

impl Ports for Door<'_> {
    fn write(&mut self, to: Address, parts: &[IoSlice<'_>]) -> usize {
        let outside = &mut *self.outside;
        let taken = outside.sockets.write(self.shard, to, parts);
        outside.trace.note(u64::from(to.place), || {
            format!("shard {} writes {taken} bytes to {}", self.shard, to.place)
        });
        let mut left = taken;
        for part in parts {
            outside.trace.bytes(&part[..part.len().min(left)]);
            let whole = part.len() <= left;
            left = left.saturating_sub(part.len());
            if outside.plant == Plant::DoubleDelivery && whole && left == 0 && is_event(part) {
                outside.sockets.double(self.shard, to, part);
            }
        }
        taken
    }

    fn finish(&mut self, of: Address) {
        self.outside.sockets.finish(self.shard, of);
    }

    fn close(&mut self, of: Address) {
        self.outside.sockets.close(self.shard, of, &mut self.outside.random);
    }

    fn resume(&mut self, of: Address) {
        self.outside.sockets.resume(self.shard, of);
    }

    fn greeted(&mut self, of: Address) {
        self.outside.sockets.greeted(self.shard, of);
    }

    fn submit(&mut self, draft: Draft) -> bool {
        if let Reply::Command { to, .. } = draft.reply {
            self.expect_no_heir(to, "commands");
        }
        let aside: usize = self.outside.aside.iter().map(Vec::len).sum();
        let waiting = self.outside.office.get_mut().drafts.len() + aside;
        let there_is_room = waiting < self.outside.limits.commit_queue;
        if there_is_room {
            self.outside.aside[self.shard].push(draft);
        }
        there_is_room
    }

    fn hand_in(&mut self) {
        let drafts = std::mem::take(&mut self.outside.aside[self.shard]);
        for draft in &drafts {
            // An heir in the same shard hands in behind them.
            if let Reply::Command { to, .. } = draft.reply
                && let Some(heir) = self.outside.sockets.heir(self.shard, to)
                && self.outside.sockets.get(heir).is_some_and(|heir| heir.shard != self.shard)
            {
                self.expect_no_heir(to, "hands in");
            }
        }
        self.outside.office.get_mut().drafts.extend(drafts);
    }

    fn look_up(&mut self, lookup: Lookup) -> Result<(), Lookup> {
        self.expect_no_heir(lookup.from, "asks");
        // Keys are fetched elsewhere, one token after the other.
        let is_token = matches!(lookup.question, Question::Identity(_));
        if !is_token && self.outside.lookups.len() >= self.outside.limits.lookup_queue {
            return Err(lookup);
        }
        self.outside.lookups.push(lookup);
        Ok(())
    }

    fn identify(&mut self, token: &str) -> Verdict {
        if self.outside.random.chance(self.outside.chances.token_asked) {
            return Verdict::MustAsk;
        }
        judge(token, self.outside.moment)
    }

    fn random(&mut self) -> u64 {
        self.outside.random.next()
    }

    fn now_ns(&self) -> u64 {
        self.outside.interrupt();
        let toiled_ns = self.outside.toiled_ns.get() + self.outside.toil_ns;
        self.outside.toiled_ns.set(toiled_ns);
        self.outside.moment.now_ns + toiled_ns
    }

    fn wall_ms(&self) -> u64 {
        self.outside.moment.wall_ms
    }
}

/// Whether `bytes` begin with a frame that holds an event.
fn is_event(bytes: &[u8]) -> bool {
    bytes.len() > 16 && bytes[0] == 0x81 && bytes[..16].windows(6).any(|text| text == b"t\":\"ev")
}

/// A token as the simulation writes them: `ada;1800000000;garden=member,attic=reader`.
pub(crate) fn token(user: &str, exp_s: u64, grants: &[(String, Role)]) -> String {
    let grants: Vec<String> = grants.iter().map(|(room, role)| format!("{room}={role}")).collect();
    format!("{user};{exp_s};{}", grants.join(","))
}

/// Whose token it is.
pub(crate) fn judge(token: &str, moment: Moment) -> Verdict {
    let mut parts = token.split(';');
    let (Some(user), Some(exp), Some(grants)) = (parts.next(), parts.next(), parts.next()) else {
        return Verdict::Refused(Close::TokenInvalid);
    };
    let exp_s: u64 = exp.parse().expect("the simulation writes a number there");
    if exp_s * 1000 <= moment.wall_ms {
        return Verdict::Refused(Close::TokenExpired);
    }
    let grants = grants.split(',').filter_map(|grant| {
        let (room, role) = grant.split_once('=')?;
        Some((room_id(room), Role::parse(role)?))
    });
    let grants = grants.collect();
    Verdict::Known(Identity { user: user_id(user), exp_s, iat_s: 0, grants })
}

pub(crate) fn room_id(text: &str) -> RoomId {
    RoomId::parse(text).expect("the simulation's names are sound")
}

pub(crate) fn user_id(text: &str) -> UserId {
    UserId::parse(text).expect("the simulation's names are sound")
}
