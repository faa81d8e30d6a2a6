//! Disks: what cannot be stored is not acknowledged, and it heals by itself. A full disk and a locked database
//! are trials of their own.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use tertulia_proof::server::{PATIENCE, wait_for};
use tertulia_proof::trace::STRACE;
use tertulia_proof::trouble::Trouble;

use crate::place;

#[test]
fn bad_input_09_a_database_that_was_moved_away_takes_nothing() {
    let place = place().set("limits.send_per_second", 0);
    let mut trouble = Trouble::begins(&place);
    let (file, elsewhere) = (place.data.join("tertulia.db"), place.data.join("elsewhere.db"));
    std::fs::rename(&file, &elsewhere).expect("moved away");
    let (_, said, _) = trouble.send();
    assert_eq!(said["code"], "read_only", "{said}");
    trouble.nothing_is_stored();
    std::fs::rename(&elsewhere, &file).expect("moved back");
    trouble.heals();
    trouble.is_over();
}

/// System calls of a process that fail, as long as the value lives.
struct Failing(Child);

impl Failing {
    /// `what` is in the words of strace, like `pwrite64:error=EROFS`.
    fn calls(pid: i32, what: &str) -> Failing {
        assert!(Path::new(STRACE).exists(), "this story needs strace (apt-get install strace)");
        let (call, _) = what.split_once(':').expect("a call and an error");
        let child = Command::new(STRACE)
            .args(["-f", "-q", "-o", "/dev/null", "-p", &pid.to_string()])
            .args(["-e", &format!("trace={call}"), "-e", &format!("inject={what}")])
            .stderr(Stdio::null())
            .spawn()
            .expect("strace runs");
        wait_for("all threads are traced", PATIENCE, || {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
            tasks.flatten().all(|task| {
                let status = std::fs::read_to_string(task.path().join("status"));
                status.unwrap_or_default().lines().any(|line| {
                    line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0")
                })
            })
        });
        Failing(child)
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        // Told to end it lets go of the process; killed it might take it along.
        _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        _ = self.0.wait();
    }
}

#[track_caller]
fn heals_from(what: &str) {
    let place = place().set("limits.send_per_second", 0);
    let mut trouble = Trouble::begins(&place);
    let failing = Failing::calls(trouble.server.pid(), what);
    trouble.nothing_is_stored();
    drop(failing);
    trouble.heals();
    trouble.is_over();
}

#[test]
fn bad_input_09_a_disk_that_became_read_only_is_waited_for() {
    heals_from("pwrite64:error=EROFS");
}

#[test]
fn bad_input_09_a_disk_that_cannot_write_is_waited_for() {
    heals_from("pwrite64:error=EIO");
}

#[test]
fn bad_input_09_a_disk_that_cannot_sync_is_waited_for() {
    heals_from("fdatasync:error=EIO");
}
