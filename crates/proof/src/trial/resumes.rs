//! T09, resume fuzz: whoever comes back gets what was missed, or is told what is missing, to the number.
//! (I3, I10)
//!
//! Many clients, steady senders. A client is cut at a random moment: between two events, in the midst of a frame
//! that it reads, in the midst of one that it writes, after a while of not reading. It comes back later, asks for
//! pages of a random size, and says how large a gap it wants to have replayed: any at all, or as many as it says.
//! Each answer is compared with the rules of the protocol (§5), to the number.
//!
//! Nothing trims a log in this version, so a hole of that kind cannot come, and there is one node.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tertulia_protocol::Epoch;
use tertulia_protocol::command::Position;
use tertulia_protocol::follow::{Continuity, Follow, Say};
use tertulia_protocol::frame::{Opcode, put_masked};
use tertulia_protocol::heard::{self, Heard as Object};
use tertulia_protocol::reply::Attached;

use super::replays::replay;
use crate::chance::Chance;
use crate::client::{Client, Heard, message};
use crate::report::{Report, Trial};
use crate::server::{Server, raise_file_limit};
use crate::speaker::{Pace, Speaker};
use crate::stage::Stage;

/// Who listens.
pub(super) const USER: &str = "eve";

/// Rooms with short messages.
const ROOMS: u64 = 6;

/// The room with large ones: there a page ends by its bytes, too.
const LARGE: &str = "zeppelin";

/// What the protocol says where a client says nothing.
const PAGE: u64 = 256;
const JUMP: u64 = 2000;

/// More than ever is missed here.
pub(super) const JUMP_MAX: u64 = 100_000;

/// What is counted where a hole was told.
const HOLES: &str = "holes told";

/// In the end everyone has everything by then.
const SETTLE: Duration = Duration::from_secs(20);

/// The trial.
pub const TRIAL: Trial = Trial { id: "T09", title: "cuts at any moment, and resumes", run };

fn run(stage: &Stage, report: &mut Report) {
    let (clients, cuts, replayed): (u64, u64, u64) =
        stage.scale((20, 300, 1_000), (200, 10_000, 10_000), (200, 100_000, 10_000));
    raise_file_limit(2 * clients);
    let place = stage.place().set("limits.send_per_second", 0).set("limits.command_per_second", 0);
    let mut server = place.set("limits.connections_per_user", 4 * clients).open();
    let (rooms, speakers) = speak(&server);
    let done = AtomicU64::new(0);
    let last = Last::default();
    let mut chance = Chance::new(stage.seed);
    let listeners: Vec<Listener<'_>> = (0..clients)
        .map(|n| Listener::of(&server, &rooms, n, Chance::new(chance.number())))
        .collect();
    let hurry = stage.scale(10, 1, 1);
    let (listeners, logs) = std::thread::scope(|threads| {
        let (done, last) = (&done, &last);
        let threads: Vec<_> = listeners
            .into_iter()
            .map(|listener| threads.spawn(move || listener.live(hurry, cuts, done, last)))
            .collect();
        while done.load(Ordering::Relaxed) < cuts {
            std::thread::sleep(Duration::from_millis(200));
            stage.progress(&format!("{} of {cuts} cuts", done.load(Ordering::Relaxed).min(cuts)));
        }
        for speaker in speakers {
            speaker.end().1.into_iter().for_each(|wrong| report.wrong(wrong));
        }
        let read = |room: &String| (room.clone(), server.log(room).expect("a log"));
        let logs: BTreeMap<String, Vec<String>> = rooms.keys().map(read).collect();
        last.tell(&logs);
        let ended = threads.into_iter().map(|thread| thread.join().expect("no listener panics"));
        (ended.collect::<Vec<Listener<'_>>>(), logs)
    });
    judge(report, &listeners, &logs);
    let holes: u64 = listeners.iter().filter_map(|listener| listener.counts.get(HOLES)).sum();
    report.expect(holes > 0, || "no gap was ever larger than a jump".to_owned());
    report.figure("clients", clients as f64);
    report.figure("cuts", cuts as f64);
    replay(stage, report, &mut server, replayed);
}

/// A room, and the newest number that was acknowledged in it.
struct Room {
    epoch: Epoch,
    newest: Arc<AtomicU64>,
}

/// Makes the rooms; in each someone speaks.
fn speak(server: &Server) -> (BTreeMap<String, Room>, Vec<Speaker>) {
    let names = (0..ROOMS).map(|n| (format!("room{n}"), 15, 0));
    let mut rooms = BTreeMap::new();
    let mut speakers = Vec::new();
    for (room, per_second, bytes) in names.chain([(LARGE.to_owned(), 10, 10_000)]) {
        server.room(&room, "group", &["ada", USER]);
        let pace = Pace { bytes, ..Pace::per_second(per_second) };
        let speaker = Speaker::begin(server, "ada", &room, pace);
        rooms
            .insert(room.clone(), Room { epoch: server.epoch(&room), newest: speaker.newest_of() });
        speakers.push(speaker);
    }
    (rooms, speakers)
}

/// How it ends: nobody is cut any more, and who has everything may go.
#[derive(Default)]
struct Last {
    heads: std::sync::Mutex<BTreeMap<String, u64>>,
    told: AtomicBool,
}

impl Last {
    fn tell(&self, logs: &BTreeMap<String, Vec<String>>) {
        let heads = logs.iter().map(|(room, log)| (room.clone(), log.len() as u64)).collect();
        *self.heads.lock().expect("no one panics here") = heads;
        self.told.store(true, Ordering::Release);
    }

    fn heads(&self) -> Option<BTreeMap<String, u64>> {
        let told = self.told.load(Ordering::Acquire);
        told.then(|| self.heads.lock().expect("no one panics here").clone())
    }
}

/// What a `sub` asked for.
#[derive(Clone, Copy)]
struct Asked {
    from: Position,
    page: u64,
    jump: u64,
    /// It was an entry of a hello, whose replies share their bytes.
    in_hello: bool,
    /// The newest number that was acknowledged before it was asked.
    floor: u64,
}

/// How a client asks, on one connection.
#[derive(Clone, Copy)]
struct Manner {
    page: Option<u64>,
    jump: Option<u64>,
}

impl Manner {
    fn any(chance: &mut Chance) -> Manner {
        let page = (chance.below(5) > 0).then(|| 1 + chance.below(30));
        let jump = match chance.below(10) {
            0..5 => Some(JUMP_MAX),
            5..7 => None,
            // Small ones most of the time, since most gaps are.
            _ => Some(chance.number() % (1 + chance.below(40))),
        };
        Manner { page, jump }
    }

    fn options(self) -> Value {
        let mut options = json!({});
        self.page.into_iter().for_each(|page| options["page"] = json!(page));
        self.jump.into_iter().for_each(|jump| options["jump"] = json!(jump));
        options
    }

    fn asked(self, from: Position, room: &Room, in_hello: bool) -> Asked {
        let (page, jump) = (self.page.unwrap_or(PAGE), self.jump.unwrap_or(JUMP));
        Asked { from, page, jump, in_hello, floor: room.newest.load(Ordering::Acquire) }
    }
}

/// One room, as a client has it.
struct Seat {
    follow: Follow,
    asked: Option<Asked>,
    /// Where it began.
    start: u64,
    /// Numbers and hashes of all that was handed over.
    heard: Vec<(u64, u64)>,
    /// What was said to be missing, by the last number before it.
    holes: BTreeMap<u64, u64>,
}

/// One client, over all its connections.
struct Listener<'a> {
    name: String,
    address: SocketAddr,
    token: String,
    rooms: &'a BTreeMap<String, Room>,
    seats: BTreeMap<String, Seat>,
    subs: BTreeMap<u64, String>,
    chance: Chance,
    began: Instant,
    counts: BTreeMap<&'static str, u64>,
    wrongs: Vec<String>,
}

impl<'a> Listener<'a> {
    fn of(
        server: &Server,
        rooms: &'a BTreeMap<String, Room>,
        n: u64,
        mut chance: Chance,
    ) -> Listener<'a> {
        let first = chance.below(ROOMS);
        let mut names = vec![format!("room{first}"), format!("room{}", (first + 1) % ROOMS)];
        if n.is_multiple_of(4) {
            names.push(LARGE.to_owned());
        }
        let seat = |room: String| {
            let position = Position { epoch: rooms[&room].epoch, seq: 0 };
            let mut follow = Follow::from(Some(position));
            follow.open();
            let (heard, holes) = (Vec::new(), BTreeMap::new());
            (room, Seat { follow, asked: None, start: 0, heard, holes })
        };
        Listener {
            name: format!("client {n}"),
            address: server.public,
            token: server.token(USER),
            rooms,
            seats: names.into_iter().map(seat).collect(),
            subs: BTreeMap::new(),
            chance,
            began: Instant::now(),
            counts: BTreeMap::new(),
            wrongs: Vec::new(),
        }
    }

    /// Is cut until all together were cut so often, and then hears the rest. `hurry` shortens its life.
    fn live(mut self, hurry: u64, cuts: u64, done: &AtomicU64, last: &Last) -> Listener<'a> {
        while done.fetch_add(1, Ordering::Relaxed) < cuts {
            let on_ms = self.chance.below(1500 / hurry);
            self.connect(Instant::now() + Duration::from_millis(on_ms), None);
            let off_ms = match self.chance.below(100) {
                0..70 => self.chance.below(100 / hurry.min(4)),
                70..97 => self.chance.below(3000 / hurry),
                _ => self.chance.below(15_000 / hurry),
            };
            std::thread::sleep(Duration::from_millis(off_ms));
        }
        let until = Instant::now() + SETTLE;
        while !self.has(last) && Instant::now() < until {
            self.connect(until, Some(last));
        }
        if !self.has(last) {
            self.wrongs.push(format!("not all has come within {SETTLE:?}"));
        }
        self
    }

    fn has(&self, last: &Last) -> bool {
        let Some(heads) = last.heads() else { return false };
        self.seats.iter().all(|(room, seat)| seat.follow.last() >= heads[room])
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// One connection, until it is cut, or until everything has come.
    fn connect(&mut self, until: Instant, last: Option<&Last>) {
        let Ok(mut client) = Client::upgrade(self.address, "") else {
            return self.wrongs.push("no connection".to_owned());
        };
        let mut manner = Manner::any(&mut self.chance);
        if last.is_some() {
            manner.jump = Some(JUMP_MAX);
        }
        let hello = self.hello(&mut client, manner);
        let mut welcome = Some(hello);
        while Instant::now() < until && !last.is_some_and(|last| self.has(last)) {
            if welcome.is_none() {
                self.say_subs(&mut client, manner);
            }
            let look = until.min(Instant::now() + Duration::from_millis(20));
            match client.hear_by(look) {
                Some(Heard::Line(line)) => self.hear(&line, &mut welcome),
                Some(other) => return self.wrongs.push(format!("was let go of: {other:?}")),
                None => {}
            }
        }
        if last.is_none() {
            self.cut(client, &mut welcome);
        }
    }

    fn hello(&mut self, client: &mut Client, manner: Manner) -> u64 {
        self.subs.clear();
        let mut rooms = Vec::new();
        for (room, seat) in &mut self.seats {
            seat.follow.cut();
            seat.asked = None;
            if let Some(Say::Sub(Some(from))) = seat.follow.say(0) {
                seat.asked = Some(manner.asked(from, &self.rooms[room], true));
                rooms.push(json!([room, from.epoch.as_str(), from.seq, manner.options()]));
            }
        }
        client.command(json!({"t": "hello", "token": self.token, "rooms": rooms}))
    }

    fn say_subs(&mut self, client: &mut Client, manner: Manner) {
        let now_ms = self.now_ms();
        for (room, seat) in &mut self.seats {
            if let Some(Say::Sub(Some(from))) = seat.follow.say(now_ms) {
                let mut sub = manner.options();
                (sub["t"], sub["room"]) = (json!("sub"), json!(room));
                (sub["epoch"], sub["seq"]) = (json!(from.epoch.as_str()), json!(from.seq));
                seat.asked = Some(manner.asked(from, &self.rooms[room], false));
                self.subs.insert(client.command(sub), room.clone());
            }
        }
    }

    /// Ends the connection, in some way.
    fn cut(&mut self, mut client: Client, welcome: &mut Option<u64>) {
        let moment = Duration::from_millis(50);
        match self.chance.below(4) {
            0 => self.count("cut between"),
            1 => {
                client.stream.set_read_timeout(Some(moment)).expect("a time that is not zero");
                if client.take_in(1 + self.chance.below(60) as usize) {
                    self.count("cut in a frame read");
                }
                self.hear_at_hand(&mut client, welcome);
            }
            2 => {
                // Written in part it was never said; a listener says nothing else, so the log shows it.
                let send = message("room0", &format!("half-{}", self.chance.number()));
                let (mut frame, mut send) = (Vec::new(), send);
                send["id"] = json!(9_000_000);
                put_masked(&mut frame, Opcode::Text, [7, 7, 7, 7], send.to_string().as_bytes());
                frame.truncate(1 + self.chance.below(frame.len() as u64 - 1) as usize);
                client.put(&frame);
                self.count("cut in a frame written");
            }
            _ => {
                std::thread::sleep(Duration::from_millis(self.chance.below(300)));
                client.stream.set_read_timeout(Some(moment)).expect("a time that is not zero");
                client.take_in(1 + self.chance.below(5_000) as usize);
                self.hear_at_hand(&mut client, welcome);
                self.count("cut after a pause");
            }
        }
    }

    fn hear_at_hand(&mut self, client: &mut Client, welcome: &mut Option<u64>) {
        while let Some(heard) = client.at_hand() {
            match heard {
                Heard::Line(line) => self.hear(&line, welcome),
                other => self.wrongs.push(format!("was let go of: {other:?}")),
            }
        }
    }

    fn hear(&mut self, line: &str, welcome: &mut Option<u64>) {
        match heard::read(line) {
            Ok(Object::Event(event)) => self.event(&event.room, event.seq, line),
            Ok(Object::Ok(answer)) => {
                let id = answer.id.map(u64::from);
                if id.is_some() && id == *welcome {
                    *welcome = None;
                    let rooms = answer.welcome().expect("a welcome").rooms;
                    for (room, result) in rooms {
                        match result {
                            Ok(attached) => self.attached(&room, &attached),
                            Err(denied) => self.wrongs.push(format!("{room}: {denied:?}")),
                        }
                    }
                } else if let Some(room) = id.and_then(|id| self.subs.remove(&id)) {
                    self.attached(&room, &answer.attached().expect("the answer to sub"));
                } else {
                    self.wrongs.push(format!("an answer to nothing: {line}"));
                }
            }
            Ok(Object::Lag { room }) => {
                let now_ms = self.now_ms();
                self.count("lags");
                self.seats.get_mut(&*room).expect("a room that is heard").follow.lag(now_ms);
            }
            Ok(Object::Ping) => {}
            _ => self.wrongs.push(format!("unexpected: {line}")),
        }
    }

    /// Between two answers to `sub` every event of a room comes once, in order.
    fn event(&mut self, room: &str, seq: u64, line: &str) {
        let seat = self.seats.get_mut(room).expect("a room that is heard");
        let last = seat.follow.last();
        if seat.follow.event(seq) {
            return seat.heard.push((seq, hash(line)));
        }
        self.wrongs.push(format!("{room}: {seq} came behind {last}"));
    }

    fn attached(&mut self, room: &str, answer: &Attached) {
        let seat = self.seats.get_mut(room).expect("a room that is heard");
        let Some(asked) = seat.asked.take() else {
            return self.wrongs.push(format!("{room}: an answer to nothing"));
        };
        let wrong = breach(&asked, answer, room == LARGE);
        let kept = seat.follow.subbed(answer);
        if let Continuity::Hole { after, upto } = kept {
            seat.holes.insert(after, upto);
        }
        let was_hole = answer.hole;
        self.wrongs.extend(wrong.map(|wrong| format!("{room}: {wrong}")));
        if kept == Continuity::Reset {
            self.wrongs.push(format!("{room}: reset, though its life goes on"));
        }
        self.count(if was_hole { HOLES } else { "resumed whole" });
        if answer.more {
            self.count("pages with more");
        }
    }
}

/// What is wrong with an answer, by §5 of the protocol.
fn breach(asked: &Asked, answer: &Attached, is_large: bool) -> Option<String> {
    let Attached { base, upto, head, .. } = *answer;
    let hole = head.saturating_sub(asked.from.seq) > asked.jump;
    let base_due = if hole { head } else { asked.from.seq };
    let upto_due = head.min(base_due + asked.page);
    let is_whole = |due: u64| upto == due || (is_large && upto <= due);
    let rules = [
        ("the epoch is another", answer.epoch == asked.from.epoch && !answer.reset),
        ("what was acknowledged is not there", head >= asked.floor),
        ("nothing was trimmed", answer.first == 1),
        ("a hole exactly where the gap is larger than the jump", answer.hole == hole),
        ("the base", base == base_due),
        ("the page", is_whole(upto_due)),
        ("more exactly where something remains", answer.more == (upto < head)),
        ("an empty page is a hello's only", !answer.more || upto > base || asked.in_hello),
    ];
    let (rule, _) = rules.into_iter().find(|(_, is_kept)| !is_kept)?;
    let Asked { from, page, jump, floor, .. } = *asked;
    Some(format!(
        "{rule}: asked from {} with page {page} and jump {jump}, {floor} was acknowledged: {answer:?}",
        from.seq
    ))
}

fn hash(line: &str) -> u64 {
    let mut hash = DefaultHasher::new();
    line.hash(&mut hash);
    hash.finish()
}

/// Everything that was handed over stands in the log, byte by byte, and nothing is left out but the holes.
fn judge(report: &mut Report, listeners: &[Listener<'_>], logs: &BTreeMap<String, Vec<String>>) {
    let hashes: BTreeMap<&str, Vec<u64>> = logs
        .iter()
        .map(|(room, log)| (room.as_str(), log.iter().map(|line| hash(line)).collect()))
        .collect();
    for listener in listeners {
        let name = &listener.name;
        listener.wrongs.iter().for_each(|wrong| report.wrong(format!("{name}: {wrong}")));
        listener.counts.iter().for_each(|(what, count)| report.count(what, *count));
        for (room, seat) in &listener.seats {
            report.count("events", seat.heard.len() as u64);
            if let Some(wrong) = differs(seat, &hashes[room.as_str()]) {
                report.wrong(format!("{name}: {room}: {wrong}"));
            }
        }
    }
    let half = logs.values().flatten().filter(|line| line.contains("\"half-"));
    let half = half.count();
    report.expect(half == 0, || format!("{half} that were said in part are stored"));
}

fn differs(seat: &Seat, log: &[u64]) -> Option<String> {
    let mut last = seat.start;
    let skip = |last: &mut u64, to: u64| {
        while *last < to {
            let Some(upto) = seat.holes.get(last) else { return false };
            *last = *upto;
        }
        *last == to
    };
    for (seq, hash) in &seat.heard {
        if !skip(&mut last, seq - 1) {
            return Some(format!("{seq} came behind {last}, and no hole was told"));
        }
        if log.get(*seq as usize - 1) != Some(hash) {
            return Some(format!("{seq} is not what is stored"));
        }
        last = *seq;
    }
    let head = log.len() as u64;
    (!skip(&mut last, head)).then(|| format!("it ends at {last}, the log at {head}"))
}

#[cfg(test)]
mod tests {
    use tertulia_protocol::Role;

    use super::*;

    fn position(seq: u64) -> Position {
        Position { epoch: Epoch::parse("e7").expect("an epoch"), seq }
    }

    #[test]
    fn an_answer_that_breaks_a_rule_is_found() {
        let asked = Asked { from: position(41), page: 10, jump: 20, in_hello: false, floor: 50 };
        let good = Attached {
            epoch: position(0).epoch,
            base: 41,
            upto: 51,
            head: 57,
            first: 1,
            n: 0,
            role: Role::Member,
            reset: false,
            hole: false,
            more: true,
        };
        let breaks = |answer: Attached| breach(&asked, &answer, false).is_some();
        assert!(!breaks(good));
        assert!(breaks(Attached { head: 49, upto: 49, more: false, ..good }), "stale");
        assert!(breaks(Attached { base: 42, ..good }), "an event left out");
        assert!(breaks(Attached { upto: 50, ..good }), "a short page");
        assert!(breaks(Attached { more: false, ..good }), "the rest forgotten");
        assert!(breaks(Attached { hole: true, base: 57, upto: 57, more: false, ..good }));
        assert!(breaks(Attached { head: 62, ..good }), "a hole that is not told");
        let hole = Attached { hole: true, base: 62, upto: 62, head: 62, more: false, ..good };
        assert!(!breaks(hole));
        assert!(breaks(Attached { base: 61, ..hole }), "not at the head");
    }

    #[test]
    fn what_was_left_out_or_changed_is_found() {
        let seat = |heard: &[(u64, u64)], holes: &[(u64, u64)]| Seat {
            follow: Follow::from(None),
            asked: None,
            start: 0,
            heard: heard.to_vec(),
            holes: holes.iter().copied().collect(),
        };
        let log = [10, 20, 30, 40, 50];
        let whole = [(1, 10), (2, 20), (3, 30), (4, 40), (5, 50)];
        assert_eq!(differs(&seat(&whole, &[]), &log), None);
        assert_eq!(differs(&seat(&[(1, 10), (5, 50)], &[(1, 3), (3, 4)]), &log), None);
        assert!(differs(&seat(&[(1, 10), (5, 50)], &[(1, 3)]), &log).is_some(), "a hole untold");
        assert!(differs(&seat(&whole[..4], &[]), &log).is_some(), "the end is missing");
        assert!(differs(&seat(&[(1, 11)], &[(1, 5)]), &log).is_some(), "other bytes");
    }
}
