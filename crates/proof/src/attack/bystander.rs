//! Bystander: a room that has nothing to do with an attack, and must not notice it. (I12)
//!
//! Ten users, each on one connection, say fifty messages a second between them. Every message has to reach
//! all ten, in order, once; how long that takes is kept with the time at which it was.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, Heard};
use crate::server::{PATIENCE, Server};

/// Its room.
pub const PLAZA: &str = "plaza";

const USERS: u32 = 10;

/// Between two messages of one user: fifty a second from all of them.
const SEND_EVERY: Duration = Duration::from_millis(200);

/// Between two looks at whether the others are done.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Ten users who go on talking until they are asked how it was.
pub struct Bystander {
    end: Arc<End>,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    users: Vec<JoinHandle<Result<(), String>>>,
}

/// A message that reached someone.
#[derive(Clone, Copy)]
struct Delivery {
    at: Instant,
    took: Duration,
}

/// What one user knows.
struct Memory {
    user: String,
    first: u64,
    heard: u64,
    said: u64,
    acked: u64,
}

/// How they all end together: each goes on listening until it has heard what all of them have said.
#[derive(Default)]
struct End {
    /// Nobody says anything more.
    over: AtomicBool,
    /// What those have said who were answered to the last.
    said: AtomicU64,
    /// How many these are.
    answered: AtomicU32,
    /// Someone cannot go on, which is wrong enough: nobody waits for them.
    broken: AtomicBool,
}

impl End {
    /// How much was said by all of them, once that is known.
    fn said_by_all(&self) -> Option<u64> {
        let all = self.answered.load(Ordering::Acquire) == USERS;
        all.then(|| self.said.load(Ordering::Acquire))
    }
}

/// How it was for the bystander between two moments.
#[derive(Clone, Copy, Debug)]
pub struct Quiet {
    /// Messages that reached someone.
    pub deliveries: usize,
    /// Ninety-nine of a hundred took no longer; zero if there were none.
    pub p99: Duration,
    /// None took longer.
    pub longest: Duration,
}

impl Bystander {
    /// Makes the room, and begins.
    pub fn begin(server: &Server) -> Bystander {
        let users: Vec<String> = (0..USERS).map(|n| format!("bystander{n}")).collect();
        let names: Vec<&str> = users.iter().map(String::as_str).collect();
        server.room(PLAZA, "group", &names);
        let end: Arc<End> = Arc::default();
        let deliveries: Arc<Mutex<Vec<Delivery>>> = Arc::default();
        let clients: Vec<(String, Client, u64)> =
            users.into_iter().map(|user| seated(server, user)).collect();
        let from = Instant::now();
        let begin = |(n, (user, client, base)): (usize, (String, Client, u64))| {
            let own = Arc::clone(&deliveries);
            let first = from + SEND_EVERY * n as u32 / USERS;
            let end = Arc::clone(&end);
            std::thread::spawn(move || {
                let talk =
                    Talk { client, end: Arc::clone(&end), deliveries: own, from, next: first };
                talk.run(user, base).inspect_err(|_| end.broken.store(true, Ordering::Release))
            })
        };
        let users = clients.into_iter().enumerate().map(begin).collect();
        Bystander { end, deliveries, users }
    }

    /// Waits until they have heard what was said after `moment`, so that what they had to wait for before is
    /// known. True if they have, or if one of them cannot go on, which is told in the end.
    pub fn goes_on_after(&self, moment: Instant) -> bool {
        let is_new = |delivery: &&Delivery| delivery.at - delivery.took >= moment;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let heard = {
                let all = self.deliveries.lock().expect("no one panics while noting a delivery");
                all.iter().rev().take_while(|one| one.at >= moment).filter(is_new).count()
            };
            if heard >= USERS as usize || self.end.broken.load(Ordering::Acquire) {
                return true;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        false
    }

    /// How it was between these moments.
    pub fn between(&self, from: Instant, until: Instant) -> Quiet {
        let all = self.deliveries.lock().expect("no one panics while noting a delivery");
        let within = all.iter().filter(|delivery| (from..=until).contains(&delivery.at));
        let mut times: Vec<Duration> = within.map(|delivery| delivery.took).collect();
        times.sort_unstable();
        let p99 = times.get((times.len() * 99).div_ceil(100).saturating_sub(1)).copied();
        let longest = times.last().copied().unwrap_or_default();
        Quiet { deliveries: times.len(), p99: p99.unwrap_or_default(), longest }
    }

    /// Ends it. Gives what was wrong: someone was let go of, was not answered, or heard less than all.
    pub fn end(self) -> Vec<String> {
        self.end.over.store(true, Ordering::Release);
        let ended = self.users.into_iter().map(|user| user.join().expect("a bystander panicked"));
        ended.filter_map(Result::err).collect()
    }
}

fn seated(server: &Server, user: String) -> (String, Client, u64) {
    let (client, said) = Client::welcome(server, &server.token(&user), json!([[PLAZA]]));
    let base = said["rooms"][PLAZA]["base"].as_u64().expect("where the room begins");
    (user, client, base)
}

/// One user who talks.
struct Talk {
    client: Client,
    end: Arc<End>,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    from: Instant,
    next: Instant,
}

impl Talk {
    fn run(mut self, user: String, base: u64) -> Result<(), String> {
        let mut memory = Memory { user, first: base + 1, heard: 0, said: 0, acked: 0 };
        while !self.end.over.load(Ordering::Acquire) {
            if Instant::now() >= self.next {
                self.say(&mut memory);
            }
            self.hear_until(&mut memory, self.next)?;
        }
        let until = Instant::now() + PATIENCE;
        while memory.acked < memory.said {
            if Instant::now() > until {
                let Memory { user, said, acked, .. } = memory;
                return Err(format!("{user}: {acked} of {said} answered"));
            }
            self.hear_until(&mut memory, until)?;
        }
        self.end.said.fetch_add(memory.said, Ordering::AcqRel);
        self.end.answered.fetch_add(1, Ordering::AcqRel);
        loop {
            let said = self.end.said_by_all();
            if said == Some(memory.heard) || self.end.broken.load(Ordering::Acquire) {
                return Ok(());
            }
            let Memory { user, heard, first, .. } = &memory;
            if Instant::now() > until || said.is_some_and(|said| *heard > said) {
                return Err(format!("{user}: {heard} of {said:?} heard from {first} on"));
            }
            self.hear_until(&mut memory, Instant::now() + LOOK_EVERY)?;
        }
    }

    fn hear_until(&mut self, memory: &mut Memory, until: Instant) -> Result<(), String> {
        match self.client.hear_by(until) {
            Some(heard) => self.heard(memory, heard),
            None => Ok(()),
        }
    }

    fn say(&mut self, memory: &mut Memory) {
        self.next += SEND_EVERY;
        memory.said += 1;
        let cid = format!("{}-{}", memory.user, memory.said);
        let at_us = self.from.elapsed().as_micros() as u64;
        let d = json!({"at_us": at_us, "text": crate::server::WHISPER});
        self.client.command(json!({"t": "send", "room": PLAZA, "cid": cid, "d": d}));
    }

    fn heard(&mut self, memory: &mut Memory, heard: Heard) -> Result<(), String> {
        let Heard::Line(line) = heard else {
            return Err(format!("{}: {heard:?}", memory.user));
        };
        let said: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        match said["t"].as_str() {
            Some("ev") if said["seq"] == memory.first + memory.heard => {
                memory.heard += 1;
                if let Some(at_us) = said["d"]["at_us"].as_u64() {
                    let took = self.from.elapsed().saturating_sub(Duration::from_micros(at_us));
                    let mut all = self.deliveries.lock().expect("no one panics while noting");
                    all.push(Delivery { at: Instant::now(), took });
                }
            }
            Some("ok") if said["seq"].is_u64() => memory.acked += 1,
            Some("ping") => self.client.say(r#"{"t":"pong"}"#),
            _ => return Err(format!("{}: {line} behind {}", memory.user, memory.heard)),
        }
        Ok(())
    }
}
