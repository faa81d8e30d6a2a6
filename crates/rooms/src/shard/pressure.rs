//! Pressure: whether a shard's thread has time for work that only saves bytes.
//!
//! Time between two turns is idle. What is measured is the clock on the wall, so a thread that is kept from its
//! processor is under pressure as well. Within a turn the work itself has a bound: what is compressed counts for
//! little where queues are bounded by their bytes, so nothing else would end it.

/// So much of the time spent in turns is too much.
const HIGH_PERCENT: u64 = 75;

/// So little, and there is time again. Far below the other, since stopping the work makes for idle time.
const LOW_PERCENT: u64 = 50;

/// Over how long it is measured: longer than a burst of a few messages, shorter than anyone's patience.
const WINDOW_NS: u64 = 100_000_000;

/// So much may be compressed in a turn: some 0.7 ms of work, a turn that others hardly notice.
const TURN_BYTES: usize = 256 * 1024;

/// How busy the turns of a shard are.
pub(super) struct Pressure {
    window_ns: u64,
    turn_ns: u64,
    busy_ns: u64,
    high: bool,
    /// How much may still be compressed in this turn.
    left_bytes: usize,
}

impl Pressure {
    pub(super) fn new(now_ns: u64) -> Pressure {
        let left_bytes = TURN_BYTES;
        Pressure { window_ns: now_ns, turn_ns: now_ns, busy_ns: 0, high: false, left_bytes }
    }

    /// A turn begins.
    pub(super) fn begin(&mut self, now_ns: u64) {
        self.turn_ns = now_ns;
        self.left_bytes = TURN_BYTES;
        let window_ns = now_ns.saturating_sub(self.window_ns);
        if window_ns >= WINDOW_NS {
            let percent = if self.high { LOW_PERCENT } else { HIGH_PERCENT };
            self.high = self.busy_ns.saturating_mul(100) >= window_ns.saturating_mul(percent);
            (self.window_ns, self.busy_ns) = (now_ns, 0);
        }
    }

    /// It ends.
    pub(super) fn end(&mut self, now_ns: u64) {
        self.busy_ns += now_ns.saturating_sub(self.turn_ns);
    }

    /// Whether there is time to compress anything now.
    pub(super) fn has_time(&self) -> bool {
        !self.high && self.left_bytes > 0
    }

    /// So much was compressed.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.left_bytes = self.left_bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Half a second of turns, each busy so many milliseconds of ten.
    fn work(pressure: &mut Pressure, now_ns: &mut u64, busy_ms: u64) -> bool {
        for _ in 0..50 {
            pressure.begin(*now_ns);
            pressure.end(*now_ns + busy_ms * MS);
            *now_ns += 10 * MS;
        }
        !pressure.has_time()
    }

    #[test]
    fn a_turn_has_time_for_so_much_and_the_next_one_again() {
        let mut pressure = Pressure::new(0);
        pressure.spend(TURN_BYTES - 1);
        assert!(pressure.has_time());
        pressure.spend(TURN_BYTES);
        assert!(!pressure.has_time());
        pressure.begin(MS);
        assert!(pressure.has_time());
    }

    #[test]
    fn pressure_is_high_while_turns_take_most_of_the_time() {
        let mut now_ns = 7;
        let mut pressure = Pressure::new(now_ns);
        let story = [(2, false), (7, false), (8, true), (6, true), (4, false), (7, false)];
        for (busy_ms, high) in story {
            assert_eq!(work(&mut pressure, &mut now_ns, busy_ms), high, "{busy_ms} ms of 10");
        }
    }
}
