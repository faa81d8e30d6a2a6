//! Clock: one start, and nanoseconds since; a timer that wakes the poll to the microsecond.
//!
//! epoll itself waits in whole milliseconds, which would add up to one of them to every open-loop latency.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

/// One second in the unit of this clock.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// One millisecond in the unit of this clock.
pub(crate) const MS_NS: u64 = 1_000_000;

/// Nanoseconds since the run began.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock(Instant::now())
    }

    pub(crate) fn now_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// Wakes a poll at a time.
pub(crate) struct Alarm {
    fd: OwnedFd,
    set_ns: u64,
}

impl Alarm {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Alarm> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Alarm { fd, set_ns: 0 })
    }

    /// Wakes the poll at `at_ns` and forgets any earlier wish.
    // The timer is never read: it is registered for edges, and each expiry is a new one.
    pub(crate) fn set(&mut self, now_ns: u64, at_ns: u64) -> io::Result<()> {
        if self.set_ns == at_ns {
            return Ok(());
        }
        self.set_ns = at_ns;
        let wait_ns = at_ns.saturating_sub(now_ns).max(1);
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: (wait_ns / SECOND_NS) as i64,
                tv_nsec: (wait_ns % SECOND_NS) as i64,
            },
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

/// CPU time of this process so far.
pub(crate) fn own_cpu_ns() -> u64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as u64 * SECOND_NS + spent.tv_nsec as u64
}
