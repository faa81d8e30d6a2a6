//! Speaker: someone who says messages at a steady pace, answered or not, and remembers what came of each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;
use tertulia_protocol::heard::{self, Heard as Object};

use crate::client::{Client, Heard, message};
use crate::server::{PATIENCE, Server};

/// A message, and what came of it.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its name.
    pub cid: String,
    /// When it was said.
    pub at: Instant,
    /// How long the answer took; `None` if none came.
    pub took: Option<Duration>,
    /// What was answered.
    pub answer: Answer,
}

/// What was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is stored under this number, with this time.
    Stored {
        /// The number.
        seq: u64,
        /// The server's time of day, in milliseconds.
        ts: u64,
    },
    /// It is not, with this code.
    Refused {
        /// The code.
        code: String,
        /// Whether it may be said again.
        again: bool,
    },
    /// Nothing.
    Nothing,
}

/// Someone who speaks until they are told to end.
pub struct Speaker {
    over: Arc<AtomicBool>,
    newest: Arc<AtomicU64>,
    thread: JoinHandle<(Vec<Said>, Vec<String>)>,
}

/// How someone speaks.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Between two messages.
    pub every: Duration,
    /// Longer than it must be, by so many bytes.
    pub bytes: usize,
}

impl Pace {
    /// So many short messages a second.
    pub fn per_second(messages: u32) -> Pace {
        Pace { every: Duration::from_secs(1) / messages, bytes: 0 }
    }
}

impl Speaker {
    /// A member of the room begins to speak.
    pub fn begin(server: &Server, user: &str, room: &str, pace: Pace) -> Speaker {
        let client = Client::join(server, user, &[]);
        let (over, newest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let talk = Talk {
            client,
            user: user.to_owned(),
            room: room.to_owned(),
            pace,
            said: Vec::new(),
            open: HashMap::new(),
            wrongs: Vec::new(),
            newest: Arc::clone(&newest),
        };
        let until = Arc::clone(&over);
        let thread = std::thread::spawn(move || talk.run(&until));
        Speaker { over, newest, thread }
    }

    /// The greatest number that was acknowledged so far; 0 if none was.
    pub fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// The same, for another thread.
    pub fn newest_of(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.newest)
    }

    /// Says no more, and waits for what is unanswered. Gives what was said, and what no server may do.
    pub fn end(self) -> (Vec<Said>, Vec<String>) {
        self.over.store(true, Ordering::Release);
        self.thread.join().expect("a speaker does not panic")
    }
}

struct Talk {
    client: Client,
    user: String,
    room: String,
    pace: Pace,
    said: Vec<Said>,
    /// Where in `said` the command of an id stands.
    open: HashMap<u64, usize>,
    wrongs: Vec<String>,
    newest: Arc<AtomicU64>,
}

impl Talk {
    fn run(mut self, over: &AtomicBool) -> (Vec<Said>, Vec<String>) {
        let mut next = Instant::now();
        while !over.load(Ordering::Acquire) {
            while Instant::now() >= next {
                self.say();
                next += self.pace.every;
            }
            if !self.hear(next) {
                return (self.said, self.wrongs);
            }
        }
        let until = Instant::now() + PATIENCE;
        while !self.open.is_empty() && Instant::now() < until && self.hear(until) {}
        (self.said, self.wrongs)
    }

    fn say(&mut self) {
        let cid = format!("{}-{}", self.user, self.said.len());
        let mut send = message(&self.room, &cid);
        if self.pace.bytes > 0 {
            send["d"]["more"] = json!("x".repeat(self.pace.bytes));
        }
        let at = Instant::now();
        let id = self.client.command(send);
        self.open.insert(id, self.said.len());
        self.said.push(Said { cid, at, took: None, answer: Answer::Nothing });
    }

    /// False when the connection has ended.
    fn hear(&mut self, until: Instant) -> bool {
        match self.client.hear_by(until) {
            None | Some(Heard::Close(_)) => true,
            Some(Heard::End) => {
                self.wrongs.push(format!("{}: the connection ended", self.user));
                false
            }
            Some(Heard::Line(line)) => {
                self.take(&line);
                true
            }
        }
    }

    fn take(&mut self, line: &str) {
        let (id, answer) = match heard::read(line) {
            Ok(Object::Ok(ok)) => match ok.stored() {
                Ok(stored) => {
                    self.newest.fetch_max(stored.seq, Ordering::AcqRel);
                    (ok.id, Answer::Stored { seq: stored.seq, ts: stored.ts })
                }
                Err(error) => return self.wrongs.push(format!("{}: {error}: {line}", self.user)),
            },
            Ok(Object::Err(refused)) => {
                let (code, again) = (refused.code.into_owned(), refused.retry_ms.is_some());
                (refused.id, Answer::Refused { code, again })
            }
            Ok(Object::Ping) => return self.client.say(r#"{"t":"pong"}"#),
            _ => return self.wrongs.push(format!("{}: unexpected: {line}", self.user)),
        };
        match id.and_then(|id| self.open.remove(&u64::from(id))) {
            Some(place) => {
                let said = &mut self.said[place];
                (said.took, said.answer) = (Some(said.at.elapsed()), answer);
            }
            None => self.wrongs.push(format!("{}: an answer to nothing: {line}", self.user)),
        }
    }
}

/// Of all that were stored of these: how long ninety-nine of a hundred took at most. Zero if none were.
pub fn p99<'a>(said: impl Iterator<Item = &'a Said>) -> Duration {
    let stored = said.filter(|said| matches!(said.answer, Answer::Stored { .. }));
    let mut times: Vec<Duration> = stored.filter_map(|said| said.took).collect();
    times.sort_unstable();
    times.get((times.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

/// What is wrong between what was said and the room's log: something acknowledged is not where it was said to
/// be, or something is there twice.
pub fn compare(said: &[Said], log: &[String]) -> Vec<String> {
    let mut wrongs = Vec::new();
    let mut there: HashMap<String, u64> = HashMap::new();
    for line in log {
        let Ok(Object::Event(event)) = heard::read(line) else {
            wrongs.push(format!("unreadable: {line}"));
            continue;
        };
        if let Some(cid) = event.cid
            && let Some(before) = there.insert(cid.clone().into_owned(), event.seq)
        {
            wrongs.push(format!("doubled: {cid} is at {before} and {}", event.seq));
        }
    }
    for said in said {
        if let Answer::Stored { seq, .. } = &said.answer
            && there.get(&said.cid) != Some(seq)
        {
            let stored = there.get(&said.cid);
            wrongs.push(format!("lost: {} was acked as {seq}, is {stored:?}", said.cid));
        }
    }
    wrongs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_or_doubled_is_found() {
        let event = |seq: u64, cid: &str| {
            format!(
                r#"{{"t":"ev","room":"r","seq":{seq},"ts":1,"by":"u","k":"msg","cid":"{cid}"}}"#
            )
        };
        let (at, answer) = (Instant::now(), Answer::Stored { seq: 2, ts: 1 });
        let said = [Said { cid: "b".to_owned(), at, took: None, answer }];
        assert_eq!(compare(&said, &[event(1, "a"), event(2, "b")]), Vec::<String>::new());
        assert_eq!(compare(&said, &[event(1, "b"), event(2, "a")]).len(), 1, "at another place");
        assert_eq!(compare(&said, &[event(1, "a")]).len(), 1, "not there");
        assert_eq!(compare(&said, &[event(2, "b"), event(3, "b")]).len(), 2);
    }
}
