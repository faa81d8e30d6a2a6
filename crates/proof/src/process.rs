//! Process: what a server takes from its machine, as the kernel counts it.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::server::Server;

/// Clock ticks in a second (`sysconf(_SC_CLK_TCK)`, 100 on every Linux that the tests run on).
const TICKS_A_SECOND: u64 = 100;

/// Between two looks at memory.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One MiB.
pub const MIB: u64 = 1 << 20;

/// Bytes of a process that are resident; none once it dies.
pub fn resident(pid: i32) -> Option<u64> {
    status_bytes(pid, "VmRSS:")
}

fn status_bytes(pid: i32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib = line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?;
    Some(kib * 1024)
}

impl Server {
    /// Bytes of memory that are resident.
    pub fn memory(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most that ever was.
    pub fn memory_most(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// Addresses in use, whether or not there is memory behind them.
    pub fn address_space(&self) -> u64 {
        self.status_bytes("VmSize:")
    }

    /// Not once it dies: its memory is the first that goes.
    pub(crate) fn has_memory(&self) -> bool {
        resident(self.pid()).is_some()
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let bytes = status_bytes(self.pid(), name);
        bytes.unwrap_or_else(|| panic!("no {name} in /proc/PID/status"))
    }

    /// Does something, and says how much memory more than before was resident meanwhile, at most.
    pub fn grown_while<T>(&self, act: impl FnOnce() -> T) -> (T, u64) {
        let before = self.memory();
        let over = AtomicBool::new(false);
        let most = AtomicU64::new(before);
        let look = || _ = most.fetch_max(self.memory(), Ordering::Relaxed);
        let done = std::thread::scope(|threads| {
            threads.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    look();
                    std::thread::sleep(LOOK_EVERY);
                }
            });
            // Also if it panics: the other thread is waited for.
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
            over.store(true, Ordering::Release);
            done
        });
        look();
        let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (done, most.into_inner() - before)
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.pid()));
        folder.expect("/proc/PID/fd").count()
    }

    /// Threads.
    pub fn threads(&self) -> usize {
        let folder = fs::read_dir(format!("/proc/{}/task", self.pid()));
        folder.expect("/proc/PID/task").count()
    }

    /// Time on a processor so far, in user and system mode, all threads together.
    pub fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        // Behind the name, which may hold blanks: utime and stime are fields 14 and 15 of proc_pid_stat(5).
        let fields = stat.rsplit_once(") ").expect("a name in /proc/PID/stat").1;
        let ticks = |field: usize| -> u64 {
            let text = fields.split(' ').nth(field - 3);
            text.and_then(|text| text.parse().ok()).expect("a number in /proc/PID/stat")
        };
        Duration::from_millis((ticks(14) + ticks(15)) * 1000 / TICKS_A_SECOND)
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.pid());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}
