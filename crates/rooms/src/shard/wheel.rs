//! The wheel: when to look at a connection again.
//!
//! Coarse on purpose: one entry a connection, a quarter of a second exact, no heap but the slots. An entry
//! only says "look": whoever looks decides what is due and enters the next time.

use std::time::Duration;

/// A moment, in ticks since the start.
pub(crate) type Tick = u32;

/// Length of a tick.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Slots: about two minutes. What is due later is looked at once a turn.
const SLOTS: u32 = 512;

/// The ticks in `seconds`.
pub(crate) fn ticks(seconds: u64) -> Tick {
    (seconds.saturating_mul(4)).min(u64::from(Tick::MAX / 2)) as Tick
}

/// Places of connections, by the tick at which to look at them.
pub(crate) struct Wheel {
    slots: Vec<Vec<u32>>,
    now: Tick,
}

impl Wheel {
    pub(crate) fn new(now: Tick) -> Wheel {
        Wheel { slots: (0..SLOTS).map(|_| Vec::new()).collect(), now }
    }

    /// Enters `place` for `due`, or for the end of the turn if that is earlier. Says for when.
    pub(crate) fn enter(&mut self, place: u32, due: Tick) -> Tick {
        let due = due.clamp(self.now + 1, self.now + SLOTS - 1);
        self.slots[(due % SLOTS) as usize].push(place);
        due
    }

    /// Goes on by one tick if `now` is later than where the wheel stands. The places to look at go into
    /// `due`.
    pub(crate) fn turn(&mut self, now: Tick, due: &mut Vec<u32>) -> Option<Tick> {
        if self.now >= now {
            return None;
        }
        self.now += 1;
        std::mem::swap(&mut self.slots[(self.now % SLOTS) as usize], due);
        Some(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_comes_up_at_its_tick() {
        let mut wheel = Wheel::new(1000);
        assert_eq!(wheel.enter(1, 1003), 1003);
        assert_eq!(wheel.enter(2, 1003), 1003);
        assert_eq!(wheel.enter(3, 900), 1001, "what is late comes next");
        assert_eq!(wheel.enter(4, 90_000), 1511, "what is far away comes at the end of the turn");
        let mut seen = Vec::new();
        let mut due = Vec::new();
        while let Some(tick) = wheel.turn(1511, &mut due) {
            seen.extend(due.drain(..).map(|place| (tick, place)));
        }
        assert_eq!(seen, [(1001, 3), (1003, 1), (1003, 2), (1511, 4)]);
    }
}
