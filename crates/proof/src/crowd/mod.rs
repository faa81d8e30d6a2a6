//! Crowd: thousands of members on one thread.
//!
//! Each follows the rules for clients by itself: answers pings, reads on behind a `lag`, comes back with a
//! cursor for every room, and keeps a hash of what it was handed. A trial says who is there, turns the crowd,
//! and is told what happens.
//!
//! Never: waits for one member, keeps an event.

mod mind;
mod town;
mod wire;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use serde_json::Value;
use tertulia_protocol::command::CommandId;
use tertulia_protocol::heard::{Answer, Event, Refused};

use crate::chance::Chance;
use crate::server::Server;
use mind::Mind;
pub use town::make_rooms;
use wire::Wire;

/// Sockets that are looked at in one turn of the poll.
const EVENTS: usize = 1024;

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

/// Between two looks at a state.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Faults that are kept in words; the rest is counted.
const WORDS_MAX: usize = 20;

/// What a member heard, or what became of it.
pub enum Told<'a> {
    /// It was let in.
    Welcome,
    /// The next event of a room.
    Event(&'a Event<'a>),
    /// A command of the trial's was carried out.
    Ok(&'a Answer<'a>),
    /// A command of the trial's was refused.
    Err(&'a Refused<'a>),
    /// A room was detached, since the member did not read.
    Lag,
    /// The connection is gone, or did not come to be.
    Gone(Gone),
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone {
    /// The status of the answer, where the upgrade was not granted.
    pub status: Option<u16>,
    /// The close code, from `bye` or the close frame; 1006 if there was neither.
    pub code: u64,
    /// When the server wants to see it again.
    pub retry_ms: Option<u64>,
    /// The welcome had come.
    pub was_in: bool,
}

/// Many members.
pub struct Crowd {
    server: SocketAddr,
    poll: Poll,
    events: Events,
    members: Vec<Member>,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Who has something to read or to write that no event will tell of.
    restless: Vec<usize>,
    buffer: Vec<u8>,
    from: Instant,
    chance: Chance,
    comes_back: bool,
    wrongs: Wrongs,
}

/// What no server may do to a client, in words.
#[derive(Default)]
pub(crate) struct Wrongs {
    words: Vec<String>,
    in_all: u64,
}

impl Wrongs {
    fn add(&mut self, what: String) {
        self.in_all += 1;
        if self.words.len() < WORDS_MAX {
            self.words.push(what);
        }
    }
}

struct Member {
    mind: Mind,
    wire: Option<Box<Wire>>,
    /// It has stopped reading.
    is_deaf: bool,
    receive_buffer_bytes: Option<usize>,
    /// When it comes, if it is away and will.
    comes: Option<Instant>,
    /// Times in a row it was not let in.
    failures: u32,
}

impl Crowd {
    /// Nobody yet; whoever comes goes to `server`.
    pub fn new(server: &Server, seed: u64) -> Crowd {
        Crowd {
            server: server.public,
            poll: Poll::new().expect("a poll"),
            events: Events::with_capacity(EVENTS),
            members: Vec::new(),
            due: BinaryHeap::new(),
            restless: Vec::new(),
            buffer: vec![0; READ_BYTES],
            from: Instant::now(),
            chance: Chance::new(seed),
            comes_back: false,
            wrongs: Wrongs::default(),
        }
    }

    /// Someone who will hear these rooms from when they come. Gives their number.
    pub fn add(&mut self, user: &str, token: String, rooms: &[&str]) -> usize {
        let member = Member {
            mind: Mind::new(user, token, rooms),
            wire: None,
            is_deaf: false,
            receive_buffer_bytes: None,
            comes: None,
            failures: 0,
        };
        self.members.push(member);
        self.members.len() - 1
    }

    /// How many there are, here or away.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whoever comes from now on goes there.
    pub fn serve(&mut self, server: &Server) {
        self.server = server.public;
    }

    /// Whether those come back by themselves who lose their connection or are not let in: when the server wants
    /// to see them again, or after the backoff of the protocol.
    pub fn comes_back(&mut self, comes_back: bool) {
        self.comes_back = comes_back;
    }

    /// The socket takes so little from its next connection on.
    pub fn narrow(&mut self, who: usize, receive_buffer_bytes: usize) {
        self.members[who].receive_buffer_bytes = Some(receive_buffer_bytes);
    }

    /// Comes at that time.
    pub fn come(&mut self, who: usize, at: Instant) {
        self.members[who].comes = Some(at);
        self.due.push(Reverse((at, who)));
    }

    /// Goes without a word.
    pub fn go(&mut self, who: usize) {
        let member = &mut self.members[who];
        (member.wire, member.comes, member.is_deaf) = (None, None, false);
        member.mind.cut();
    }

    /// Stops reading.
    pub fn stop_reading(&mut self, who: usize) {
        self.members[who].is_deaf = true;
    }

    /// Reads again, beginning with what has arrived meanwhile.
    pub fn read_on(&mut self, who: usize) {
        self.members[who].is_deaf = false;
        self.restless.push(who);
    }

    /// Another room, from where it stands when the answer comes.
    pub fn hear(&mut self, who: usize, room: &str) {
        self.members[who].mind.open(room);
        self.restless.push(who);
    }

    /// Whether the welcome came on the present connection.
    pub fn is_in(&self, who: usize) -> bool {
        self.members[who].mind.is_welcome()
    }

    /// How many are in.
    pub fn inside(&self) -> usize {
        self.members.iter().filter(|member| member.mind.is_welcome()).count()
    }

    /// The port of the member's socket.
    pub fn port(&self, who: usize) -> Option<u16> {
        self.members[who].wire.as_ref()?.port()
    }

    /// The last event of each of its rooms that was handed over; `None` where it hears nothing live.
    pub fn lasts(&self, who: usize) -> impl Iterator<Item = (&str, Option<u64>)> {
        self.members[who].mind.lasts()
    }

    /// Bytes that are to be written to the member's socket.
    pub fn unsent(&self, who: usize) -> usize {
        self.members[who].wire.as_ref().map_or(0, |wire| wire.unsent())
    }

    /// Gives a command, `id` added. It goes out with the next turn; whoever is not in says nothing.
    pub fn command(&mut self, who: usize, mut command: Value) -> Option<CommandId> {
        self.say(who, |id| {
            command["id"] = id.into();
            command.to_string()
        })
    }

    /// Sends a message; `d` as it is to stand.
    pub fn send(&mut self, who: usize, room: &str, cid: &str, d: &str) -> Option<CommandId> {
        self.say(who, |id| {
            format!(r#"{{"t":"send","id":{id},"room":"{room}","cid":"{cid}","d":{d}}}"#)
        })
    }

    fn say(&mut self, who: usize, text: impl FnOnce(CommandId) -> String) -> Option<CommandId> {
        let Member { mind, wire: Some(wire), .. } = &mut self.members[who] else { return None };
        if !mind.is_welcome() {
            return None;
        }
        let id = mind.next_id();
        wire.say(text(id).as_bytes());
        self.restless.push(who);
        Some(id)
    }

    /// Microseconds since the crowd was made.
    pub fn now_us(&self) -> u64 {
        self.from.elapsed().as_micros() as u64
    }

    /// Waits for something to happen, at most until then, and lets everyone read, speak, come and go.
    pub fn turn(&mut self, until: Instant, mut told: impl FnMut(usize, Told<'_>)) {
        for who in std::mem::take(&mut self.restless) {
            self.act(who, true, &mut told);
        }
        let now = self.pass_time(&mut told);
        let next = self.due.peek().map_or(until, |Reverse((due, _))| until.min(*due));
        match self.poll.poll(&mut self.events, Some(next.saturating_duration_since(now))) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return,
            polled => polled.expect("the poll works"),
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let Token(who) = event.token();
            let reads = event.is_readable() || event.is_read_closed() || event.is_error();
            self.act(who, reads, &mut told);
        }
        self.events = events;
    }

    /// Turns until then.
    pub fn run(&mut self, until: Instant, mut told: impl FnMut(usize, Told<'_>)) {
        while Instant::now() < until {
            self.turn(until, &mut told);
        }
    }

    /// Turns until `is_so`. False if it is not in time.
    pub fn run_until(
        &mut self,
        within: Duration,
        mut told: impl FnMut(usize, Told<'_>),
        mut is_so: impl FnMut(&Crowd) -> bool,
    ) -> bool {
        let until = Instant::now() + within;
        while !is_so(self) {
            if Instant::now() >= until {
                return false;
            }
            self.turn(Instant::now() + LOOK_EVERY, &mut told);
        }
        true
    }

    /// Lets those come who are due, and those speak who waited.
    fn pass_time(&mut self, told: &mut impl FnMut(usize, Told<'_>)) -> Instant {
        let now = Instant::now();
        while let Some(Reverse((due, who))) = self.due.peek().copied()
            && due <= now
        {
            self.due.pop();
            let member = &mut self.members[who];
            if member.wire.is_none() && member.comes.is_some_and(|comes| comes <= now) {
                member.comes = None;
                let bytes = member.receive_buffer_bytes;
                match Wire::open(self.server, bytes, self.poll.registry(), Token(who)) {
                    Ok(wire) => self.members[who].wire = Some(Box::new(wire)),
                    Err(_) => self.part(who, None, told),
                }
            }
            self.act(who, false, told);
        }
        now
    }

    /// Reads and writes as far as the socket goes.
    fn act(&mut self, who: usize, reads: bool, told: &mut impl FnMut(usize, Told<'_>)) {
        let now_ms = self.from.elapsed().as_millis() as u64;
        let member = &mut self.members[who];
        let Some(mut wire) = member.wire.take() else { return };
        let mind = &mut member.mind;
        let wrongs = &mut self.wrongs;
        let mut ended = None;
        if reads && !member.is_deaf {
            let heard = |heard: wire::Heard<'_>| {
                mind.hear(heard, now_ms, wrongs, &mut |what| told(who, what));
            };
            ended = wire.read(&mut self.buffer, heard).err();
        }
        mind.speak(now_ms, &mut wire);
        if ended.is_none() {
            ended = wire.flush().err();
        }
        if ended.is_some() {
            return self.part(who, ended, told);
        }
        if mind.is_welcome() {
            member.failures = 0;
        }
        let due = mind.due_ms().map(|due_ms| self.from + Duration::from_millis(due_ms));
        member.wire = Some(wire);
        self.due.extend(due.map(|due| Reverse((due, who))));
    }

    /// The connection is over.
    fn part(
        &mut self,
        who: usize,
        ended: Option<wire::Ended>,
        told: &mut impl FnMut(usize, Told<'_>),
    ) {
        let member = &mut self.members[who];
        let gone = member.mind.gone(ended);
        member.mind.cut();
        member.is_deaf = false;
        if self.comes_back && gone.is_final() {
            let user = self.members[who].mind.user();
            self.wrongs.add(format!("{user} is not to come back: {gone:?}"));
        } else if self.comes_back {
            let backoff_ms = (500_u64 << member.failures.min(6)).min(20_000);
            member.failures += 1;
            let wait_ms = gone.retry_ms.unwrap_or_else(|| self.chance.below(backoff_ms));
            self.come(who, Instant::now() + Duration::from_millis(wait_ms));
        }
        told(who, Told::Gone(gone));
    }

    /// What no server may do to a client, as far as it was kept in words, and how often it was seen.
    pub fn wrongs(&self) -> (&[String], u64) {
        (&self.wrongs.words, self.wrongs.in_all)
    }

    /// Compares what each member was handed of each room with the rooms' logs, from where it began: whoever is
    /// in has to have all.
    pub fn compare(&self, logs: &BTreeMap<String, Result<Vec<String>, String>>) -> Vec<String> {
        let mut wrongs = Vec::new();
        let mut hashes: HashMap<(&str, u64, u64), u64> = HashMap::new();
        for Member { mind, .. } in &self.members {
            for (room, handed) in mind.handed() {
                let user = mind.user();
                let (log, Handed { first, last, hash }) = match (&logs[room], handed) {
                    (Ok(log), Some(handed)) => (log, handed),
                    (Ok(_), None) => {
                        wrongs.push(format!("{user} never heard {room}"));
                        continue;
                    }
                    (Err(error), _) => {
                        wrongs.push(format!("{room}: {error}"));
                        continue;
                    }
                };
                let stored = *hashes.entry((room, first, last)).or_insert_with(|| {
                    let handed = log.iter().take(last as usize).skip(first as usize - 1);
                    let mut hash = DefaultHasher::new();
                    handed.for_each(|line| line.hash(&mut hash));
                    hash.finish()
                });
                let head = log.len() as u64;
                if hash != stored || last > head || mind.is_welcome() && last < head {
                    let same = if hash == stored { "as" } else { "not as" };
                    wrongs
                        .push(format!("{user}: {room}: {last} of {head}, {same} they are stored"));
                }
            }
        }
        wrongs
    }
}

impl Gone {
    /// The protocol tells the client to stop (4000-4099), or to fetch another token.
    fn is_final(&self) -> bool {
        matches!(self.code, 4000..=4199 | 1002 | 1003 | 1007..=1010)
    }
}

/// What a member has of a room.
pub(crate) struct Handed {
    /// The first event that was handed over, or will be.
    first: u64,
    last: u64,
    hash: u64,
}

/// A room's name, shared by all who hear it.
type Name = Arc<str>;
