//! Plan: who does what when, the same for the same seed.
//!
//! Sends are open loop: their times are fixed in advance and do not wait for the server.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::SECOND_NS;
use crate::journal::ClientIndex;

/// What one client does at one time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Act {
    /// Opens a connection.
    Connect,
    /// Says what was waiting for its time.
    Speak,
    /// Sends a message, and again after the interval.
    Send,
    /// Loses its connection, and opens another after a while.
    Cut,
}

/// Acts in the order of their times.
#[derive(Default)]
pub(crate) struct Plan {
    acts: BinaryHeap<Reverse<(u64, ClientIndex, Act)>>,
}

impl Plan {
    pub(crate) fn add(&mut self, at_ns: u64, client: ClientIndex, act: Act) {
        self.acts.push(Reverse((at_ns, client, act)));
    }

    /// When the next act is due.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.acts.peek().map(|Reverse((at_ns, ..))| *at_ns)
    }

    /// The next act whose time has come.
    pub(crate) fn take(&mut self, now_ns: u64) -> Option<(u64, ClientIndex, Act)> {
        self.next_ns().filter(|at_ns| *at_ns <= now_ns)?;
        self.acts.pop().map(|Reverse(act)| act)
    }
}

/// When the message of a steady stream is to be sent: each has as much time as the others, and comes in it when
/// its number says so, so that some come close together and others far apart, every time the same.
pub(crate) fn arrival_ns(message: u64, a_second: u64) -> u64 {
    let interval_ns = SECOND_NS / a_second;
    message * SECOND_NS / a_second + Dice::new(message).roll() % interval_ns.max(1)
}

/// Numbers that look random and are the same for the same seed (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to and without `end`; 0 for an empty range.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // The bias of the remainder is far below what any use here could notice.
        self.roll().checked_rem(end).unwrap_or(0)
    }
}

/// For each of `clients` its offset into `period_ns`: evenly spread, in an order that the seed decides.
pub(crate) fn phases(clients: usize, period_ns: u64, dice: &mut Dice) -> Vec<u64> {
    let mut phases: Vec<u64> =
        (0..clients as u64).map(|k| k * period_ns / clients as u64).collect();
    for last in (1..phases.len()).rev() {
        phases.swap(last, dice.below(last as u64 + 1) as usize);
    }
    phases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_come_in_the_order_of_their_times() {
        let mut plan = Plan::default();
        plan.add(30, 0, Act::Send);
        plan.add(10, 1, Act::Cut);
        assert_eq!(plan.take(9), None);
        assert_eq!(plan.take(30), Some((10, 1, Act::Cut)));
        assert_eq!(plan.take(30), Some((30, 0, Act::Send)));
        assert_eq!(plan.take(30), None);
    }

    #[test]
    fn phases_are_even_and_the_seed_decides_their_order() {
        let of = |seed| phases(100, 1_000, &mut Dice::new(seed));
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        let mut sorted = of(7);
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] == 10));
    }
}
