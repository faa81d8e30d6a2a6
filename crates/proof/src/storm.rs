//! Storm: members who send as fast as they are answered, over as many lives of the server as it takes.
//!
//! Each follows the rules for clients: resumes from what it was handed, resends what is unanswered with
//! the same cid, oldest first, and names the one before as `prev`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tertulia_protocol::Epoch;
use tertulia_protocol::command::Position;
use tertulia_protocol::follow::{Continuity, Follow, Say};
use tertulia_protocol::heard::{self, Heard as Object};

use crate::chance::Chance;
use crate::client::{Client, Heard, message};
use crate::server::wait_for;

/// What everyone in a storm goes by.
#[derive(Default)]
pub struct Weather {
    server: Mutex<Option<SocketAddr>>,
    bell: Condvar,
    acks: AtomicU64,
    calm: Mutex<Calm>,
    /// Between two new messages of a member; as fast as they are answered if it is not given.
    every: Option<Duration>,
}

/// How the storm ends.
#[derive(Default)]
struct Calm {
    /// Nobody sends anything new.
    hushed: bool,
    /// Members with nothing unanswered.
    settled: usize,
    /// The last event of each room, once all is settled: who has them all may go.
    heads: Option<BTreeMap<String, u64>>,
    /// Whoever is not done by then gives up.
    until: Option<Instant>,
}

impl Weather {
    /// In which every member says something new so often.
    pub fn at_pace(every: Duration) -> Weather {
        Weather { every: Some(every), ..Weather::default() }
    }

    /// A server is there, or none.
    pub fn serve(&self, server: Option<SocketAddr>) {
        *self.server.lock().expect("no one panics here") = server;
        self.bell.notify_all();
    }

    /// Waits until someone was answered after this call.
    pub fn wait_for_an_ack(&self, within: Duration) {
        let before = self.acks.load(Ordering::Relaxed);
        wait_for("an ack", within, || self.acks.load(Ordering::Relaxed) > before);
    }

    /// Nobody sends anything new from now on; says whether all was answered in time.
    pub fn hush(&self, members: usize, within: Duration) -> bool {
        let until = Instant::now() + within;
        {
            let mut calm = self.calm.lock().expect("no one panics here");
            (calm.hushed, calm.until) = (true, Some(until + within));
        }
        while Instant::now() < until {
            if self.calm.lock().expect("no one panics here").settled == members {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Everyone may go who has all events up to these.
    pub fn part(&self, heads: BTreeMap<String, u64>) {
        self.calm.lock().expect("no one panics here").heads = Some(heads);
    }

    /// Where the server is. `None` when it is time to give up.
    fn address(&self) -> Option<SocketAddr> {
        let mut server = self.server.lock().expect("no one panics here");
        loop {
            if let Some(address) = *server {
                return Some(address);
            }
            if self.is_over() {
                return None;
            }
            let nap = Duration::from_millis(100);
            server = self.bell.wait_timeout(server, nap).expect("no one panics here").0;
        }
    }

    fn is_over(&self) -> bool {
        let calm = self.calm.lock().expect("no one panics here");
        calm.until.is_some_and(|until| Instant::now() > until)
    }
}

/// A message on its way.
struct Draft {
    cid: String,
    /// Under this id, on the present connection.
    id: Option<u64>,
}

/// One room, as a member has it.
struct Seat {
    follow: Follow,
    log: Vec<String>,
    outbox: VecDeque<Draft>,
    not_before: Option<Instant>,
}

/// Someone in the storm, and in the end what they know.
pub struct Member {
    /// Their name.
    pub user: String,
    token: String,
    chance: Chance,
    seats: BTreeMap<String, Seat>,
    subs: HashMap<u64, String>,
    next: u64,
    /// Sends that may wait for an answer; 0 = only listens.
    window: usize,
    /// Room, cid and number of everything that was acknowledged.
    pub acked: Vec<(String, String, u64)>,
    /// Room and cid of everything that was ever said.
    pub said: Vec<(String, String)>,
    /// What no server may do to a client.
    pub complaints: Vec<String>,
    /// Connections that ended, by the code in `bye`.
    pub byes: BTreeMap<u64, u64>,
    is_settled: bool,
    /// Nothing new before then, where there is a pace.
    not_before: Instant,
    /// When their clock began.
    born: Instant,
}

impl Member {
    /// A member of rooms with these epochs, who has heard nothing yet. So many of their sends may wait for
    /// an answer; with 0 they only listen.
    pub fn new(
        user: &str,
        token: String,
        seed: u64,
        window: usize,
        rooms: &BTreeMap<String, Epoch>,
    ) -> Member {
        let seat = |epoch: &Epoch| {
            let mut follow = Follow::from(Some(Position { epoch: *epoch, seq: 0 }));
            follow.open();
            Seat { follow, log: Vec::new(), outbox: VecDeque::new(), not_before: None }
        };
        Member {
            user: user.to_owned(),
            token,
            chance: Chance::new(seed),
            seats: rooms.iter().map(|(room, epoch)| (room.clone(), seat(epoch))).collect(),
            subs: HashMap::new(),
            next: 0,
            window,
            acked: Vec::new(),
            said: Vec::new(),
            complaints: Vec::new(),
            byes: BTreeMap::new(),
            is_settled: false,
            not_before: Instant::now(),
            born: Instant::now(),
        }
    }

    /// What was handed over of each room.
    pub fn logs(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.seats.iter().map(|(room, seat)| (room.as_str(), &seat.log[..]))
    }

    /// What was never answered.
    pub fn unanswered(&self) -> usize {
        self.seats.values().map(|seat| seat.outbox.len()).sum()
    }

    /// Sends and listens until the storm is over.
    pub fn live(mut self, weather: &Arc<Weather>) -> Member {
        while let Some(address) = weather.address() {
            // A server that is gone by now is tried again until word of another one comes.
            if let Ok(client) = Client::upgrade(address, "") {
                if self.talk(client, weather).is_some() {
                    break;
                }
            } else if weather.is_over() {
                break;
            } else {
                std::thread::yield_now();
            }
        }
        self
    }

    /// One connection, from hello to its end. `Some` when the storm is over.
    fn talk(&mut self, mut client: Client, weather: &Weather) -> Option<()> {
        self.subs.clear();
        let mut rooms = Vec::new();
        let now_ms = self.now_ms();
        for (room, seat) in &mut self.seats {
            seat.follow.cut();
            seat.outbox.iter_mut().for_each(|draft| draft.id = None);
            seat.not_before = None;
            if let Some(Say::Sub(Some(Position { epoch, seq }))) = seat.follow.say(now_ms) {
                rooms.push(json!([room, epoch.as_str(), seq]));
            }
        }
        let hello = client.command(json!({"t": "hello", "token": self.token, "rooms": rooms}));
        let mut welcome = Some(hello);
        loop {
            if welcome.is_none() {
                self.speak(&mut client, weather);
            }
            let heard = client.hear_by(Instant::now() + Duration::from_millis(20));
            match heard {
                Some(Heard::Line(line)) => self.hear(&line, &mut welcome, weather),
                Some(Heard::Close(_)) | None => {}
                Some(Heard::End) => return None,
            }
            if self.is_done(weather) || weather.is_over() {
                return Some(());
            }
        }
    }

    fn is_done(&mut self, weather: &Weather) -> bool {
        let mut calm = weather.calm.lock().expect("no one panics here");
        if !calm.hushed {
            return false;
        }
        if !self.is_settled && self.seats.values().all(|seat| seat.outbox.is_empty()) {
            self.is_settled = true;
            calm.settled += 1;
        }
        let Some(heads) = &calm.heads else { return false };
        self.seats.iter().all(|(room, seat)| seat.follow.last() >= heads[room])
    }

    /// Says all that may be said now.
    fn speak(&mut self, client: &mut Client, weather: &Weather) {
        let now_ms = self.now_ms();
        for (room, seat) in &mut self.seats {
            if let Some(Say::Sub(position)) = seat.follow.say(now_ms) {
                let mut sub = json!({"t": "sub", "room": room});
                if let Some(Position { epoch, seq }) = position {
                    (sub["epoch"], sub["seq"]) = (json!(epoch.as_str()), json!(seq));
                }
                self.subs.insert(client.command(sub), room.clone());
            }
        }
        let hushed = weather.calm.lock().expect("no one panics here").hushed;
        let flying = |seats: &BTreeMap<String, Seat>| {
            let drafts = seats.values().flat_map(|seat| &seat.outbox);
            drafts.filter(|draft| draft.id.is_some()).count()
        };
        while flying(&self.seats) < self.window {
            let waiting = self.seats.iter().find(|(_, seat)| seat.may_resend()).map(|(r, _)| r);
            let room = match waiting.cloned() {
                Some(room) => room,
                None if hushed => return,
                None => {
                    let rooms: Vec<String> = self.open_rooms();
                    let now = Instant::now();
                    if rooms.is_empty() || now < self.not_before {
                        return;
                    }
                    // What a member could not say while there was no server is not said all at once.
                    let every = weather.every.unwrap_or_default();
                    self.not_before = self.not_before.max(now - every) + every;
                    let room = rooms[self.chance.below(rooms.len() as u64) as usize].clone();
                    self.next += 1;
                    let cid = format!("{}-{:07}", self.user, self.next);
                    self.said.push((room.clone(), cid.clone()));
                    self.seat(&room).outbox.push_back(Draft { cid, id: None });
                    room
                }
            };
            self.seat(&room).say_next(&room, client);
        }
    }

    fn now_ms(&self) -> u64 {
        self.born.elapsed().as_millis() as u64
    }

    /// Rooms where nothing is to be resent first.
    fn open_rooms(&self) -> Vec<String> {
        let open = self.seats.iter().filter(|(_, seat)| seat.not_before.is_none());
        open.map(|(room, _)| room.clone()).collect()
    }

    fn seat(&mut self, room: &str) -> &mut Seat {
        self.seats.get_mut(room).expect("a room of the storm")
    }

    fn hear(&mut self, line: &str, welcome: &mut Option<u64>, weather: &Weather) {
        match heard::read(line) {
            Ok(Object::Event(event)) => self.event(&event.room, event.seq, line),
            Ok(Object::Ok(answer)) => {
                let id = answer.id.map(u64::from);
                if id.is_some() && id == *welcome {
                    *welcome = None;
                    return self.welcomed(line);
                }
                if let Some(room) = id.and_then(|id| self.subs.remove(&id)) {
                    let answer = answer.attached().expect("the answer to sub");
                    let kept = self.seat(&room).follow.subbed(&answer);
                    return self.check_continuity(&room, kept);
                }
                let stored = answer.stored().expect("the answer to send");
                self.answered(id, Some(stored.seq), line);
                weather.acks.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Object::Err(refused)) => {
                let id = refused.id.map(u64::from);
                if let Some(room) = id.and_then(|id| self.subs.remove(&id)) {
                    let now_ms = self.now_ms();
                    self.seat(&room).follow.refused(refused.retry_ms, now_ms);
                } else if id.is_some() && id == *welcome {
                    self.complaints.push(format!("hello was refused: {line}"));
                } else if let (Some(id), Some(retry_ms)) = (id, refused.retry_ms) {
                    self.put_back(id, retry_ms);
                } else {
                    self.complaints.push(format!("refused: {line}"));
                }
            }
            Ok(Object::Bye { code, .. }) => *self.byes.entry(code).or_default() += 1,
            Ok(Object::Lag { room }) => {
                let now_ms = self.now_ms();
                self.seat(&room).follow.lag(now_ms);
            }
            Ok(Object::Ping) => {}
            Ok(other) => self.complaints.push(format!("unexpected: {other:?}")),
            Err(error) => self.complaints.push(format!("unreadable: {error}: {line}")),
        }
    }

    fn welcomed(&mut self, line: &str) {
        let Ok(Object::Ok(answer)) = heard::read(line) else { return };
        for (room, result) in answer.welcome().expect("a welcome").rooms {
            match result {
                Ok(attached) => {
                    let kept = self.seat(&room).follow.subbed(&attached);
                    self.check_continuity(&room, kept);
                }
                Err(denied) if denied.retry_ms.is_some() => {
                    let now_ms = self.now_ms();
                    self.seat(&room).follow.refused(denied.retry_ms, now_ms);
                }
                Err(denied) => self.complaints.push(format!("{room} is lost: {denied:?}")),
            }
        }
    }

    fn check_continuity(&mut self, room: &str, kept: Continuity) {
        if kept != Continuity::Unbroken {
            self.complaints.push(format!("hole: {room}: {kept:?}"));
        }
    }

    /// Between two answers to `sub` every event of a room comes once, in order.
    fn event(&mut self, room: &str, seq: u64, line: &str) {
        let seat = self.seat(room);
        let last = seat.follow.last();
        if seat.follow.event(seq) {
            return seat.log.push(line.to_owned());
        }
        let what = if seq <= last { "twice" } else { "hole" };
        self.complaints.push(format!("{what}: {room}: {seq} came after {last}"));
    }

    fn answered(&mut self, id: Option<u64>, seq: Option<u64>, line: &str) {
        for (room, seat) in &mut self.seats {
            let place = seat.outbox.iter().position(|draft| draft.id.is_some() && draft.id == id);
            if let (Some(place), Some(seq)) = (place, seq) {
                let Draft { cid, .. } = seat.outbox.remove(place).expect("it was found there");
                return self.acked.push((room.clone(), cid, seq));
            }
        }
        self.complaints.push(format!("an answer to nothing: {line}"));
    }

    /// The room's outbox waits, and then begins with the oldest.
    fn put_back(&mut self, id: u64, retry_ms: u64) {
        for seat in self.seats.values_mut() {
            if let Some(draft) = seat.outbox.iter_mut().find(|draft| draft.id == Some(id)) {
                draft.id = None;
                let wait = Duration::from_millis(retry_ms);
                seat.not_before = Some(Instant::now() + wait);
                return;
            }
        }
    }
}

impl Seat {
    /// Whether something is unsaid on this connection, and may be said: the oldest only when nothing of
    /// the room is on its way, the others behind the one before.
    fn may_resend(&self) -> bool {
        let unsaid = self.outbox.iter().position(|draft| draft.id.is_none());
        let Some(unsaid) = unsaid else { return false };
        let behind_are_said = self.outbox.iter().skip(unsaid).any(|draft| draft.id.is_some());
        !behind_are_said && self.not_before.is_none_or(|then| Instant::now() >= then)
    }

    /// Says the oldest that is unsaid.
    fn say_next(&mut self, room: &str, client: &mut Client) {
        let Some(place) = self.outbox.iter().position(|draft| draft.id.is_none()) else { return };
        self.not_before = None;
        let mut send: Value = message(room, &self.outbox[place].cid);
        if let Some(before) = place.checked_sub(1) {
            send["prev"] = json!(self.outbox[before].cid);
        }
        self.outbox[place].id = Some(client.command(send));
    }
}
