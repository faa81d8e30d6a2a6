//! Disks: what cannot be stored is not acknowledged, and it heals by itself.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use tertulia_proof::client::{Client, message};
use tertulia_proof::server::{PATIENCE, Place, Server, wait_for};
use tertulia_proof::trace::STRACE;

use crate::place;

/// How soon a client is told, and how soon it heals.
const SOON: Duration = Duration::from_secs(5);

/// The server tries twice a second whether it can write again.
const TWO_TRIES: Duration = Duration::from_millis(1100);

/// A server whose disk gets into trouble, and who talks to it.
struct Trouble {
    server: Server,
    ada: Client,
    sent: u64,
    acked: Vec<(String, u64)>,
}

impl Trouble {
    fn begins(place: &Place) -> Trouble {
        let server = place.open();
        server.room("garden", "group", &["ada", "bob"]);
        let ada = Client::join(&server, "ada", &["garden"]);
        let mut trouble = Trouble { server, ada, sent: 0, acked: Vec::new() };
        for _ in 0..10 {
            trouble.send_well();
        }
        trouble
    }

    fn send(&mut self) -> (String, Value) {
        self.sent += 1;
        let cid = format!("c{}", self.sent);
        let said = self.ada.send("garden", &cid);
        if let Some(seq) = said["seq"].as_u64() {
            self.acked.push((cid.clone(), seq));
        }
        (cid, said)
    }

    fn send_well(&mut self) {
        let (cid, said) = self.send();
        assert_eq!(said["t"], "ok", "{cid}: {said}");
    }

    /// While nothing can be stored: everyone is told so in time, and everything else goes on.
    fn nothing_is_stored(&mut self) -> String {
        let mut refused = None;
        let took = wait_for("a refusal", PATIENCE, || {
            let (cid, said) = self.send();
            if said["t"] == "ok" {
                return false;
            }
            assert!(said["code"] == "unavailable" || said["code"] == "read_only", "{said}");
            assert!(said["retry_ms"].as_u64().is_some_and(|ms| ms > 0), "{said}");
            refused = Some(cid);
            true
        });
        assert!(took < SOON, "told only after {took:?}");
        let answer = self.server.call_as(
            &self.server.token("ada"),
            "POST",
            "/v1/rooms/garden/messages",
            &json!({"d": {}}).to_string(),
        );
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.json()["retry_ms"].is_u64(), "{answer:?}");
        self.server.until("it wants no work", |server| !server.is_ready());
        // Who only reads notices nothing.
        let page = self.ada.ask(json!({"t": "log", "room": "garden", "after": 0}));
        assert_eq!(page["head"].as_u64(), self.acked.last().map(|(_, seq)| *seq), "{page}");
        Client::join(&self.server, "bob", &["garden"]);
        self.who_asks_again_heals_nothing();
        refused.expect("something was refused")
    }

    /// What was said before is answered as ever, and what nobody may do is refused: neither shows that
    /// anything can be stored.
    fn who_asks_again_heals_nothing(&mut self) {
        let from = Instant::now();
        while from.elapsed() < TWO_TRIES {
            let said = self.ada.send("garden", "c1");
            assert_eq!(said["dup"], true, "{said}");
            let said = self.ada.send("nowhere", "c1");
            assert_eq!(said["code"], "not_found", "{said}");
            assert!(!self.server.is_ready(), "it wants work, and can store nothing");
        }
    }

    /// Nothing stands in the way any more: it heals without a word, and nothing acked is lost.
    fn heals(mut self, refused: &str) -> Trouble {
        let pid = self.server.pid();
        wait_for("it wants work again", SOON, || self.server.is_ready());
        let said = self.ada.send("garden", refused);
        assert_eq!(said["t"], "ok", "{said}");
        self.acked.push((refused.to_owned(), said["seq"].as_u64().expect("a number")));
        for _ in 0..10 {
            self.send_well();
        }
        assert_eq!(self.server.pid(), pid);
        self.all_is_there();
        // And on the disk, not only in memory.
        let place = self.server.place.clone();
        self.server.kill();
        self.server = place.open();
        self.all_is_there();
        self.ada = Client::join(&self.server, "ada", &["garden"]);
        self
    }

    fn all_is_there(&self) {
        let log = self.server.log("garden").expect("a log");
        for (cid, seq) in &self.acked {
            let line = &log[*seq as usize - 1];
            assert!(line.contains(&format!("\"cid\":\"{cid}\"")), "{cid} is not at {seq}: {line}");
        }
        for n in 1..=self.sent {
            let sign = format!("\"cid\":\"c{n}\"");
            let there = log.iter().filter(|line| line.contains(&sign)).count();
            assert!(there <= 1, "c{n} is there {there} times");
        }
    }
}

#[test]
fn bad_input_09_a_locked_database_is_waited_for() {
    let place = place().set("limits.send_per_second", 0);
    let mut trouble = Trouble::begins(&place);
    let other = rusqlite::Connection::open(place.data.join("tertulia.db")).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let refused = trouble.nothing_is_stored();
    other.execute_batch("ROLLBACK").expect("the lock is gone");
    trouble.heals(&refused);
}

#[test]
fn bad_input_09_a_database_that_was_moved_away_takes_nothing() {
    let place = place().set("limits.send_per_second", 0);
    let mut trouble = Trouble::begins(&place);
    let (file, elsewhere) = (place.data.join("tertulia.db"), place.data.join("elsewhere.db"));
    std::fs::rename(&file, &elsewhere).expect("moved away");
    let (_, said) = trouble.send();
    assert_eq!(said["code"], "read_only", "{said}");
    let refused = trouble.nothing_is_stored();
    std::fs::rename(&elsewhere, &file).expect("moved back");
    trouble.heals(&refused);
}

/// A small disk. Gone with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, size: &str) -> SmallDisk {
        std::fs::create_dir(&at).expect("a folder");
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at);
        let status = mount.status().expect("mount is there");
        assert!(status.success(), "this story has to mount a tmpfs: run it as root");
        SmallDisk(at)
    }

    /// Fills it to the last byte.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut ballast = File::create(&path).expect("a file");
        for size in [65_536, 4096, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that is on its way out may still hold it.
        _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn bad_input_09_a_full_disk_is_waited_for() {
    let mut place = place().set("limits.send_per_second", 0);
    let disk = SmallDisk::mount(place.beside("small"), "16m");
    place.data = disk.0.join("data");
    let mut trouble = Trouble::begins(&place);
    // Twice: what was tried the first time must not look as if it went well the second time.
    for _ in 0..2 {
        let ballast = disk.fill();
        let refused = trouble.nothing_is_stored();
        std::fs::remove_file(ballast).expect("it was there");
        trouble = trouble.heals(&refused);
    }
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
    let refused = trouble.nothing_is_stored();
    drop(failing);
    trouble.heals(&refused);
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

#[test]
fn bad_input_09_sends_that_wait_behind_a_lock_are_all_answered() {
    let place = place().set("limits.send_per_second", 0);
    let mut trouble = Trouble::begins(&place);
    let other = rusqlite::Connection::open(place.data.join("tertulia.db")).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let cids: Vec<String> = (0..50).map(|n| format!("w{n}")).collect();
    let ids: Vec<u64> =
        cids.iter().map(|cid| trouble.ada.command(message("garden", cid))).collect();
    for id in ids {
        let said = trouble.ada.find(|said| said["id"] == id);
        assert_eq!(said["code"], "unavailable", "{said}");
    }
    other.execute_batch("ROLLBACK").expect("the lock is gone");
    // Now each is new: nothing of the first time is left.
    for cid in &cids {
        let said = trouble.ada.send("garden", cid);
        assert_eq!((&said["t"], &said["dup"]), (&json!("ok"), &Value::Null), "{said}");
    }
    let log = trouble.server.log("garden").expect("a log");
    assert_eq!(log.iter().filter(|line| line.contains("\"cid\":\"w")).count(), cids.len());
}
