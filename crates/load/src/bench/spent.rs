//! Spent: processor time and memory of a process, as the kernel counts them.

use std::fs;
use std::time::Duration;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

/// The processors of a run: servers get the first, the load side the second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Apart {
    pub(crate) server: usize,
    pub(crate) load: usize,
}

impl Apart {
    /// Keeps this thread, and those it starts, to the load side's processor.
    pub(crate) fn keep_to_load(self) -> std::io::Result<()> {
        let mut set = CpuSet::new();
        set.set(self.load);
        Ok(sched_setaffinity(None, &set)?)
    }

    /// What a program is started below, to keep it to the server's.
    pub(crate) fn below(self) -> [String; 3] {
        ["taskset".to_owned(), "-c".to_owned(), self.server.to_string()]
    }
}

/// Time on a processor so far of all threads that still live; what ended threads spent is not in it.
pub(crate) fn cpu(pid: Pid) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let spent = tasks.into_iter().flatten().flatten().filter_map(|task| {
        // The first number, see schedstat in proc(5): nanoseconds on a processor.
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}
