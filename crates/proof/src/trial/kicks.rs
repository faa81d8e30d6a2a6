//! T20, kick race and revoke: who was removed hears nothing that came after, by whatever path. (I4)
//!
//! A room with a steady stream of messages. A user with five devices is put in and removed again and again, at a
//! random moment of the stream: some of the devices listen, one resumes, one reads the log over its socket, one
//! over HTTP. No event behind the one that removed the user may come to any of them. Then users are revoked.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::chance::Chance;
use crate::client::{Client, Heard};
use crate::http;
use crate::report::{Report, Trial};
use crate::server::{PATIENCE, Place, Server};
use crate::speaker::{Pace, Speaker};
use crate::stage::{Scale, Stage};

const ROOM: &str = "garden";

/// Devices that only listen; two more read in other ways.
const LISTENING: usize = 3;

/// Devices of a user who is revoked.
const DEVICES: usize = 5;

/// Whoever is revoked is out by then.
const OUT_WITHIN: Duration = Duration::from_secs(1);

/// Between two looks at how far it is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The stream comes from so many.
const SPEAKERS: u32 = 4;

/// The trial.
pub const TRIAL: Trial =
    Trial { id: "T20", title: "kicks and revocations in the midst of a stream", run };

fn run(stage: &Stage, report: &mut Report) {
    let (kicks, revokes, per_second) =
        stage.scale((100, 10, 200), (10_000, 1_000, 1_000), (100_000, 10_000, 1_000));
    let victims: u64 = stage.scale(2, 4, 4);
    let field = Field::begins(&stage.place(), victims, per_second);
    let done = AtomicU64::new(0);
    let from = Instant::now();
    let wrongs = std::thread::scope(|threads| {
        let (field, done) = (&field, &done);
        let seeds = (0..victims).map(|n| stage.seed.wrapping_add(n));
        let threads: Vec<_> = seeds
            .enumerate()
            .map(|(n, seed)| threads.spawn(move || Victim::of(field, n, seed).race(kicks, done)))
            .collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            std::thread::sleep(LOOK_EVERY);
            stage
                .progress(&format!("{} of {kicks} kicks", done.load(Ordering::Relaxed).min(kicks)));
        }
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a race does not panic"))
            .collect::<Vec<String>>()
    });
    report.figure("kicks", kicks as f64);
    report.figure("devices", (LISTENING + 2) as f64);
    report.figure("kicks a second", (kicks as f64 / from.elapsed().as_secs_f64()).round());
    report.figure("wrong after kicks", wrongs.len() as f64);
    wrongs.into_iter().for_each(|wrong| report.wrong(wrong));
    stage.progress("revocations");
    let mut longest = Duration::ZERO;
    for revoke in 0..revokes {
        match field.revoke(revoke) {
            Ok(took) => longest = longest.max(took),
            Err(wrong) => report.wrong(wrong),
        }
    }
    report.figure("revokes", revokes as f64);
    report.figure("longest until out ms", longest.as_millis() as f64);
    if stage.scale != Scale::Short {
        report.expect(longest <= OUT_WITHIN, || format!("somebody was out after {longest:?}"));
    }
    let said = field.ends(report);
    report.figure("messages in the stream", said as f64);
}

/// A server with a room in which messages stream.
struct Field {
    server: Server,
    speakers: Vec<Speaker>,
    epoch: String,
}

impl Field {
    fn begins(place: &Place, victims: u64, per_second: u32) -> Field {
        let place = place.clone().set("limits.send_per_second", 0);
        let place = place.set("limits.command_per_second", 0).set("limits.inflight", 4096);
        let server = place.open();
        let users: Vec<String> = (0..SPEAKERS).map(|n| format!("u{n}")).collect();
        let names: Vec<&str> = users.iter().map(String::as_str).collect();
        server.room(ROOM, "group", &names);
        for keeper in (0..victims).map(|n| format!("keeper{n}")).chain(["keeper".to_owned()]) {
            let path = format!("/v1/rooms/{ROOM}/members/{keeper}");
            server.done("PUT", &path, r#"{"role":"owner"}"#);
        }
        let pace = Pace::per_second(per_second / SPEAKERS);
        let begin = |user: &&str| Speaker::begin(&server, user, ROOM, pace);
        let speakers = names.iter().map(begin).collect();
        let epoch = server.epoch(ROOM).as_str().to_owned();
        Field { server, speakers, epoch }
    }

    /// Ends the stream. Says how long it was.
    fn ends(self, report: &mut Report) -> usize {
        let mut all = 0;
        for speaker in self.speakers {
            let (said, wrongs) = speaker.end();
            all += said.len();
            wrongs.into_iter().for_each(|wrong| report.wrong(wrong));
        }
        all
    }

    fn put(&self, user: &str) {
        let path = format!("/v1/rooms/{ROOM}/members/{user}");
        self.server.done("PUT", &path, r#"{"role":"member"}"#);
    }

    /// Someone with five devices is revoked. Gives how long it took until all were out.
    ///
    /// Errors: one was not, or heard something that was said when it was done.
    fn revoke(&self, n: u64) -> Result<Duration, String> {
        let user = format!("r{n}");
        self.put(&user);
        let token = self.server.token(&user);
        let welcome = || Client::welcome(&self.server, &token, json!([[ROOM]])).0;
        let mut devices: Vec<Client> = (0..DEVICES).map(|_| welcome()).collect();
        self.server.done("POST", &format!("/v1/users/{user}/revoke"), "");
        let from = Instant::now();
        let behind = Client::join(&self.server, "keeper", &[]).send(ROOM, &format!("behind-{n}"));
        let behind = behind["seq"].as_u64().ok_or_else(|| format!("{user}: {behind}"))?;
        for device in &mut devices {
            let mut close = None;
            loop {
                match device.hear_by(from + PATIENCE) {
                    Some(Heard::Line(line)) if seq_of(&line).is_some_and(|seq| seq >= behind) => {
                        return Err(format!("{user} heard {line} behind the revocation"));
                    }
                    Some(Heard::Line(_)) => {}
                    Some(Heard::Close(code)) => close = Some(code),
                    Some(Heard::End) => break,
                    None => return Err(format!("{user} is not out after {PATIENCE:?}")),
                }
            }
            if close != Some(4103) {
                return Err(format!("{user} was closed with {close:?}"));
            }
        }
        let took = from.elapsed();
        let mut again = Client::upgrade(self.server.public, "").map_err(|why| why.body)?;
        let said = again.ask(json!({"t": "hello", "token": token}));
        if said["t"] == "ok" {
            return Err(format!("{user} came in again: {said}"));
        }
        Ok(took)
    }
}

/// The number of an event.
fn seq_of(line: &str) -> Option<u64> {
    if !line.starts_with(r#"{"t":"ev""#) {
        return None;
    }
    let said: Value = serde_json::from_str(line).ok()?;
    said["seq"].as_u64()
}

/// Someone who is put in and removed, and who does it.
struct Victim<'f> {
    field: &'f Field,
    user: String,
    token: String,
    keeper: Client,
    listening: Vec<Client>,
    /// The one that reads the log over its socket.
    reading: Client,
    chance: Chance,
    wrongs: Vec<String>,
}

impl<'f> Victim<'f> {
    fn of(field: &'f Field, n: usize, seed: u64) -> Victim<'f> {
        let user = format!("bob{n}");
        let token = field.server.token(&user);
        let device = || Client::join(&field.server, &user, &[]);
        Victim {
            field,
            keeper: Client::join(&field.server, &format!("keeper{n}"), &[]),
            listening: (0..LISTENING).map(|_| device()).collect(),
            reading: device(),
            user: user.clone(),
            token,
            chance: Chance::new(seed),
            wrongs: Vec::new(),
        }
    }

    /// Is removed until all together were removed so often. Gives what was wrong.
    fn race(mut self, kicks: u64, done: &AtomicU64) -> Vec<String> {
        loop {
            let kick = done.fetch_add(1, Ordering::Relaxed);
            if kick >= kicks {
                return self.wrongs;
            }
            let before = self.wrongs.len();
            self.once(kick);
            for wrong in &mut self.wrongs[before..] {
                *wrong = format!("{}, kick {kick}: {wrong}", self.user);
            }
        }
    }

    fn once(&mut self, kick: u64) {
        self.field.put(&self.user);
        let bases: Vec<u64> = (0..LISTENING).filter_map(|n| self.listen(n)).collect();
        if bases.len() < LISTENING {
            return self.wrongs.push("a device could not listen".to_owned());
        }
        let mut resuming = Client::upgrade(self.field.server.public, "").expect("an upgrade");
        let mut asking = TcpStream::connect(self.field.server.public).expect("a connection");
        let after = bases[0].saturating_sub(5);
        // The moment is a matter of chance, and so is who comes first.
        std::thread::sleep(Duration::from_micros(self.chance.below(4000)));
        let (mut resume, mut log, mut removal) = (0, 0, 0);
        let first = self.chance.below(4);
        for turn in 0..4 {
            match (first + turn) % 4 {
                0 => {
                    let rooms = json!([[ROOM, self.field.epoch, after]]);
                    let hello = json!({"t": "hello", "token": self.token, "rooms": rooms});
                    resume = resuming.command(hello);
                }
                1 => {
                    let ask = json!({"t": "log", "room": ROOM, "after": after});
                    log = self.reading.command(ask);
                }
                2 => _ = asking.write_all(self.request(after).as_bytes()),
                _ => {
                    let kick = json!({"t": "room", "op": "kick", "room": ROOM, "user": self.user});
                    removal = self.keeper.command(kick);
                }
            }
            std::thread::sleep(Duration::from_micros(self.chance.below(500)));
        }
        let removed = self.keeper.find(|said| said["id"] == removal);
        let Some(seq) = removed["seq"].as_u64() else {
            return self.wrongs.push(format!("the kick was answered {removed}"));
        };
        // Whatever the stream does: something came after.
        self.keeper.send(ROOM, &format!("{}-{kick}", self.user));
        for (n, base) in bases.into_iter().enumerate() {
            self.look_at_listener(n, base, seq);
        }
        self.look_at_resumed(resuming, resume, seq);
        let page = self.reading.find(|said| said["id"] == log);
        self.look_at_page(&page, seq);
        let mut bytes = Vec::new();
        _ = asking.read_to_end(&mut bytes);
        match http::read(&bytes) {
            Some(answer) if answer.status == 404 || answer.status == 200 => {
                self.look_at_page(&answer.json(), seq);
            }
            other => self.wrongs.push(format!("the log over HTTP: {other:?}")),
        }
        self.comes_back();
    }

    /// A device listens from now on. Gives where it begins.
    fn listen(&mut self, n: usize) -> Option<u64> {
        let device = &mut self.listening[n];
        let id = device.command(json!({"t": "sub", "room": ROOM}));
        loop {
            let said = device.object();
            if said["id"] == id {
                return said["base"].as_u64();
            }
            if said["t"] == "ev" {
                self.wrongs.push(format!("device {n} heard {} long after", said["seq"]));
            }
        }
    }

    fn request(&self, after: u64) -> String {
        format!(
            "GET /v1/rooms/{ROOM}/log?after={after}&limit=1000 HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {}\r\nConnection: close\r\n\r\n",
            self.token
        )
    }

    /// What it heard until it was told, and up to the answer to a ping. Who reads on from the log is told when
    /// it has come to the removal; who came in too late for the news is told to ask again.
    fn look_at_listener(&mut self, n: usize, base: u64, removed: u64) {
        let device = &mut self.listening[n];
        let id = device.command(json!({"t": "ping"}));
        let until = Instant::now() + PATIENCE;
        let (mut last, mut dropped, mut lagged, mut answered) = (base, false, false, false);
        while !(answered && (dropped || lagged)) {
            let Some(Heard::Line(line)) = device.hear_by(until) else {
                return self.wrongs.push(format!("device {n}: not told, heard up to {last}"));
            };
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            answered |= said["id"] == id;
            if said["t"] == "ev" {
                let seq = said["seq"].as_u64().unwrap_or_default();
                if seq > removed || seq != last + 1 {
                    let what = format!("heard {seq} behind {last}, out at {removed}");
                    // It may never be told; there is no need to wait for that.
                    return self.wrongs.push(format!("device {n}: {what}"));
                }
                last = seq;
            }
            dropped |= said["t"] == "drop" && said["code"] == "forbidden";
            lagged |= said["t"] == "lag";
        }
        if dropped && last != removed {
            self.wrongs.push(format!("device {n}: heard up to {last}, out at {removed}"));
        }
        if lagged {
            let said = device.ask(json!({"t": "sub", "room": ROOM}));
            if said["code"] != "not_found" {
                self.wrongs.push(format!("device {n}: asked again and was answered {said}"));
            }
        }
    }

    /// It may have been let in, if it came before; then it hears up to the removal at most.
    fn look_at_resumed(&mut self, mut device: Client, hello: u64, removed: u64) {
        let said = device.find(|said| said["id"] == hello);
        if said["t"] != "ok" {
            return self.wrongs.push(format!("hello was answered {said}"));
        }
        let id = device.command(json!({"t": "ping"}));
        loop {
            let said = device.object();
            if said["id"] == id {
                return;
            }
            if said["t"] == "ev" && said["seq"].as_u64().is_none_or(|seq| seq > removed) {
                self.wrongs
                    .push(format!("the resumed device heard {}, out at {removed}", said["seq"]));
            }
        }
    }

    /// A page of the log, or a refusal.
    fn look_at_page(&mut self, page: &Value, removed: u64) {
        let events = page["evs"].as_array();
        let last = events.and_then(|events| events.last()?["seq"].as_u64());
        if last.is_some_and(|last| last > removed) {
            self.wrongs.push(format!("a page up to {last:?}, out at {removed}"));
        }
        if events.is_none() && page["code"] != "not_found" {
            self.wrongs.push(format!("a page was answered {page}"));
        }
    }

    /// Whichever way a removed user comes, the room is not there.
    fn comes_back(&mut self) {
        let server = &self.field.server;
        let code = match self.chance.below(4) {
            0 => self.listening[0].ask(json!({"t": "sub", "room": ROOM}))["code"].clone(),
            1 => self.reading.ask(json!({"t": "log", "room": ROOM, "after": 0}))["code"].clone(),
            2 => {
                let path = format!("/v1/rooms/{ROOM}/log");
                server.call_as(&self.token, "GET", &path, "").json()["code"].clone()
            }
            _ => {
                let rooms = json!([[ROOM, self.field.epoch, 1]]);
                let said = Client::welcome(server, &self.token, rooms).1;
                said["rooms"][ROOM]["code"].clone()
            }
        };
        if code != "not_found" {
            self.wrongs.push(format!("came back and was answered {code}"));
        }
    }
}
