//! The clocks of the machine, behind what the rooms ask for.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tertulia_rooms::Clock;

/// Time since the process started, and the time of day.
pub(crate) struct MachineClock {
    started: Instant,
}

impl MachineClock {
    /// A clock that begins now.
    pub(crate) fn start() -> MachineClock {
        MachineClock { started: Instant::now() }
    }
}

impl Clock for MachineClock {
    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    fn wall_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }
}
