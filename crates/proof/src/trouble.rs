//! Trouble: a server that can store nothing for a while, and someone who goes on talking to it.
//!
//! Whatever the cause: a send is refused in time with a word when to come back, who only reads notices nothing,
//! and when the cause is gone it heals without a word, with all that was acknowledged in its place.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, message};
use crate::server::{PATIENCE, Place, Server, wait_for};

/// How soon a client is told, and how soon it heals.
pub const SOON: Duration = Duration::from_secs(5);

/// The server tries twice a second whether it can write again.
const TWO_TRIES: Duration = Duration::from_millis(1100);

/// So many of what was refused are said again: as many as fit a small disk.
const AGAIN_MAX: usize = 200;

/// The room of the trouble.
pub const ROOM: &str = "garden";

/// A server that gets into trouble, and who talks to it.
pub struct Trouble {
    /// The server.
    pub server: Server,
    /// Who talks.
    pub ada: Client,
    sent: u64,
    acked: Vec<(String, u64)>,
    /// The greatest number of all that was acknowledged.
    head: u64,
    /// Refused, and not said again since.
    refused: Vec<String>,
}

impl Trouble {
    /// A server on which all is well as yet.
    pub fn begins(place: &Place) -> Trouble {
        let server = place.open();
        server.room(ROOM, "group", &["ada", "bob"]);
        let ada = Client::join(&server, "ada", &[ROOM]);
        let (acked, refused) = (Vec::new(), Vec::new());
        let mut trouble = Trouble { server, ada, sent: 0, acked, head: 0, refused };
        for _ in 0..10 {
            trouble.send_well();
        }
        trouble
    }

    /// Says something new. Gives its name, what was answered, and how long that took.
    pub fn send(&mut self) -> (String, Value, Duration) {
        self.send_bytes(0)
    }

    /// The same with a body that is so much longer.
    pub fn send_bytes(&mut self, bytes: usize) -> (String, Value, Duration) {
        self.sent += 1;
        let cid = format!("c{}", self.sent);
        let mut send = message(ROOM, &cid);
        if bytes > 0 {
            send["d"]["more"] = json!("x".repeat(bytes));
        }
        let from = Instant::now();
        let said = self.ada.ask(send);
        let took = from.elapsed();
        match said["seq"].as_u64() {
            Some(seq) => self.is_acked(&cid, seq),
            None => self.refused.push(cid.clone()),
        }
        (cid, said, took)
    }

    fn is_acked(&mut self, cid: &str, seq: u64) {
        self.head = seq;
        self.acked.push((cid.to_owned(), seq));
    }

    fn send_well(&mut self) {
        let (cid, said, _) = self.send();
        assert_eq!(said["t"], "ok", "{cid}: {said}");
    }

    /// Says short messages until not even a probe of the server's fits on a full disk: what a message that was
    /// too long has taken of the log's file can be written over.
    pub fn use_up(&mut self) {
        wait_for("nothing fits", PATIENCE, || {
            let from = Instant::now();
            while from.elapsed() < TWO_TRIES {
                if self.send().1["t"] == "ok" || self.server.is_ready() {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            true
        });
    }

    /// While nothing can be stored: everyone is told so in time, and everything else goes on.
    pub fn nothing_is_stored(&mut self) {
        self.is_refused();
        self.who_asks_again_heals_nothing();
    }

    /// The same where now and then something may fit: who sends is told in time when to come back, on either
    /// door, and who only reads notices nothing.
    pub fn is_refused(&mut self) {
        let took = wait_for("a refusal", PATIENCE, || {
            let (_, said, _) = self.send();
            if said["t"] == "ok" {
                return false;
            }
            assert!(said["code"] == "unavailable" || said["code"] == "read_only", "{said}");
            assert!(said["retry_ms"].as_u64().is_some_and(|ms| ms > 0), "{said}");
            true
        });
        assert!(took < SOON, "told only after {took:?}");
        let (path, token) = (format!("/v1/rooms/{ROOM}/messages"), self.server.token("ada"));
        wait_for("a refusal over HTTP", PATIENCE, || {
            let answer = self.server.call_as(&token, "POST", &path, r#"{"d":{}}"#);
            if answer.status == 201 {
                self.head = answer.json()["seq"].as_u64().expect("a number");
                return false;
            }
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.json()["retry_ms"].is_u64(), "{answer:?}");
            true
        });
        self.server.until("it wants no work", |server| !server.is_ready());
        self.can_be_read();
    }

    /// Who only reads notices nothing.
    pub fn can_be_read(&mut self) {
        let last = Some(self.head);
        let page = self.ada.ask(json!({"t": "log", "room": ROOM, "after": 0}));
        assert_eq!(page["head"].as_u64(), last, "{page}");
        let answer = self.server.call("GET", &format!("/v1/rooms/{ROOM}/log?limit=1"), "");
        assert_eq!(answer.json()["head"].as_u64(), last, "{answer:?}");
        Client::join(&self.server, "bob", &[ROOM]);
    }

    /// What was said before is answered as ever, and what nobody may do is refused: neither shows that
    /// anything can be stored.
    fn who_asks_again_heals_nothing(&mut self) {
        let from = Instant::now();
        while from.elapsed() < TWO_TRIES {
            let said = self.ada.send(ROOM, "c1");
            assert_eq!(said["dup"], true, "{said}");
            let said = self.ada.send("nowhere", "c1");
            assert_eq!(said["code"], "not_found", "{said}");
            assert!(!self.server.is_ready(), "it wants work, and can store nothing");
        }
    }

    /// Nothing stands in the way any more: it heals without a word, and nothing acked is lost. Gives how long
    /// it took to take a message again.
    pub fn heals(&mut self) -> Duration {
        let pid = self.server.pid();
        let took = wait_for("it stores again", SOON, || self.send().1["t"] == "ok");
        self.server.until("it wants work again", Server::is_ready);
        let refused = std::mem::take(&mut self.refused);
        for cid in refused.into_iter().take(AGAIN_MAX) {
            let said = self.ada.send(ROOM, &cid);
            assert_eq!((&said["t"], &said["dup"]), (&json!("ok"), &Value::Null), "{cid}: {said}");
            self.is_acked(&cid, said["seq"].as_u64().expect("a number"));
        }
        for _ in 0..10 {
            self.send_well();
        }
        assert_eq!(self.server.pid(), pid);
        self.all_is_there();
        took
    }

    /// And on the disk, not only in memory: another server has it all, too.
    pub fn is_over(&mut self) {
        let place = self.server.place.clone();
        self.server.kill();
        self.server = place.open();
        self.all_is_there();
        self.ada = Client::join(&self.server, "ada", &[ROOM]);
    }

    fn all_is_there(&self) {
        let log = self.server.log(ROOM).expect("a log");
        for (cid, seq) in &self.acked {
            let line = &log[*seq as usize - 1];
            assert!(line.contains(&format!("\"cid\":\"{cid}\"")), "{cid} is not at {seq}: {line}");
        }
        let mut cids: Vec<&str> = log.iter().filter_map(|line| cid_of(line)).collect();
        let all = cids.len();
        cids.sort_unstable();
        cids.dedup();
        assert_eq!(all - cids.len(), 0, "some are there more than once");
    }

    /// How many were acknowledged so far.
    pub fn acked(&self) -> usize {
        self.acked.len()
    }
}

/// The `cid` of an event as it is stored.
fn cid_of(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("\"cid\":\"")?;
    rest.split_once('"').map(|(cid, _)| cid)
}

/// A small disk. Gone with the value.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// A disk of that size.
    pub fn mount(at: PathBuf, size: &str) -> SmallDisk {
        std::fs::create_dir(&at).expect("a folder");
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at);
        let status = mount.status().expect("mount is there");
        assert!(status.success(), "a tmpfs has to be mounted: run this as root");
        SmallDisk(at)
    }

    /// A file or folder on it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Takes so many bytes of it away, or all that are left. Gives them back when the file goes.
    pub fn fill(&self, name: &str, bytes: usize) -> PathBuf {
        let path = self.path(name);
        let mut ballast = File::create(&path).expect("a file");
        let mut left = bytes;
        for size in [65_536, 4096, 1] {
            while left >= size && ballast.write_all(&vec![0; size]).is_ok() {
                left -= size;
            }
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
