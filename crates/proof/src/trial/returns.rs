//! T11, reconnect storm: the server dies, and everyone comes back, spread or all at once. (I1, I3, I10, I13)
//!
//! Messages are written to all rooms while nobody is there, and go on being written while they come: each
//! member has something to read on in each room, and in the end has what the log has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::crowd::{Crowd, Told, make_rooms};
use crate::http;
use crate::process::MIB;
use crate::report::{Report, Trial};
use crate::server::{PATIENCE, Place, Server, WHISPER, raise_file_limit};
use crate::stage::Stage;

/// Rooms of one member.
const ROOMS_EACH: usize = 3;

/// Callers who write to all rooms at once.
const WRITERS: usize = 8;

/// Between two messages that are written while they come.
const WRITE_EVERY: Duration = Duration::from_millis(20);

/// The trial.
pub const TRIAL: Trial = Trial { id: "T11", title: "everyone comes back after kill -9", run };

/// How they come.
struct Wave {
    name: &'static str,
    /// From when to when, each at any time between.
    spread: (Duration, Duration),
    /// All have all by then.
    within: Duration,
}

fn run(stage: &Stage, report: &mut Report) {
    let (members, rooms): (usize, usize) = stage.scale((300, 30), (10_000, 1_000), (10_000, 1_000));
    let upto =
        stage.scale(Duration::from_secs(4), Duration::from_secs(20), Duration::from_secs(20));
    let waves = [
        Wave {
            name: "spread",
            spread: (Duration::from_millis(500), upto),
            within: Duration::from_secs(30),
        },
        Wave { name: "at once", spread: Default::default(), within: Duration::from_secs(60) },
    ];
    raise_file_limit(members as u64 + 200);
    let town = Town::new(stage.place(), rooms);
    let mut server = town.place.open();
    make_rooms(&server, &town.rooms);
    let mut crowd = Crowd::new(&server, stage.seed);
    for who in 0..members {
        let user = user(who);
        crowd.add(&user, server.token(&user), &[]);
    }
    stage.progress(&format!("{members} move into {rooms} rooms"));
    if let Err(what) = crowd.move_in(0, |who| town.rooms_of(who), Duration::from_secs(120)) {
        return report.wrong(what);
    }
    report.figure("members", members as f64);
    report.figure("rooms", rooms as f64);
    report.figure("rooms each", ROOMS_EACH as f64);
    town.serve(Some(&server));
    let mut chance = Chance::new(stage.seed);
    std::thread::scope(|threads| {
        threads.spawn(|| town.trickle());
        for wave in &waves {
            stage.progress(wave.name);
            town.one_life(&mut server, &mut crowd, wave, &mut chance, report);
        }
        town.over.store(true, Ordering::Release);
    });
    let verdict = town.verdict(&server, &mut crowd);
    verdict.into_iter().for_each(|wrong| report.wrong(wrong));
    report.figure("acked", town.acked.lock().expect("no writer panics").len() as f64);
    let (words, in_all) = crowd.wrongs();
    report.expect(in_all == 0, || format!("{in_all} wrongs, like {words:?}"));
}

fn user(who: usize) -> String {
    format!("u{who:05}")
}

/// Rooms, and what was written to them, whatever became of the server meanwhile.
struct Town {
    place: Place,
    rooms: Vec<String>,
    server: Mutex<Option<(SocketAddr, String)>>,
    over: AtomicBool,
    /// Room, number and cid of all that was acknowledged.
    acked: Mutex<Vec<(usize, u64, String)>>,
}

impl Town {
    fn new(place: Place, rooms: usize) -> Town {
        Town {
            place,
            rooms: (0..rooms).map(|n| format!("r{n:04}")).collect(),
            server: Mutex::default(),
            over: AtomicBool::new(false),
            acked: Mutex::default(),
        }
    }

    fn rooms_of(&self, who: usize) -> Vec<String> {
        let all = self.rooms.len();
        let first = [who, who * 7 + 1, who * 13 + 2];
        // Two of the first may be the same.
        let places = first.into_iter().chain(who..).map(|place| place % all);
        let mut own = BTreeSet::new();
        places.take_while(|place| own.insert(*place) || own.len() < ROOMS_EACH).last();
        own.into_iter().take(ROOMS_EACH).map(|place| self.rooms[place].clone()).collect()
    }

    fn serve(&self, server: Option<&Server>) {
        let server = server.map(|server| (server.public, server.key.clone()));
        *self.server.lock().expect("no writer panics") = server;
    }

    /// Writes one message to each room, many at once.
    fn round(&self, name: &str) {
        std::thread::scope(|threads| {
            for writer in 0..WRITERS {
                threads.spawn(move || {
                    for room in (writer..self.rooms.len()).step_by(WRITERS) {
                        self.say(room, &format!("{name}-{room}"));
                    }
                });
            }
        });
    }

    /// Writes to one room after the other, now and then.
    fn trickle(&self) {
        for number in 0.. {
            let from = Instant::now();
            let room = number % self.rooms.len();
            self.say(room, &format!("t{number}"));
            if self.over.load(Ordering::Acquire) {
                return;
            }
            std::thread::sleep(WRITE_EVERY.saturating_sub(from.elapsed()));
        }
    }

    /// Says it until it is answered.
    fn say(&self, room: usize, cid: &str) {
        while !self.over.load(Ordering::Acquire) {
            let server = self.server.lock().expect("no writer panics").clone();
            if let Some(seq) = server.and_then(|(to, key)| self.post(to, &key, room, cid)) {
                let mut acked = self.acked.lock().expect("no writer panics");
                return acked.push((room, seq, cid.to_owned()));
            }
            std::thread::sleep(WRITE_EVERY);
        }
    }

    fn post(&self, to: SocketAddr, key: &str, room: usize, cid: &str) -> Option<u64> {
        let path = format!("/v1/rooms/{}/messages", self.rooms[room]);
        let headers = format!("Authorization: Bearer {key}\r\nIdempotency-Key: {cid}\r\n");
        // Whoever has the number of a room is in it.
        let body = format!(r#"{{"by":"{}","d":{{"text":"{WHISPER} {cid}"}}}}"#, user(room));
        let answer = http::call(to, "POST", &path, &headers, &body).ok()?;
        answer.json()["seq"].as_u64()
    }

    /// The server dies and is there again; messages are written to all rooms; everyone comes.
    fn one_life(
        &self,
        server: &mut Server,
        crowd: &mut Crowd,
        wave: &Wave,
        chance: &mut Chance,
        report: &mut Report,
    ) {
        let name = wave.name;
        crowd.comes_back(false);
        self.serve(None);
        server.kill();
        let gone = crowd.run_until(PATIENCE, |_, _| (), |crowd| crowd.inside() == 0);
        report.expect(gone, || format!("{name}: {} are still in", crowd.inside()));
        *server = self.place.open();
        self.serve(Some(server));
        crowd.serve(server);
        self.round(&format!("r{}", name.len()));
        let reads = Reads::of(server);
        let written = self.heads();
        let from = Instant::now();
        crowd.comes_back(true);
        let (first, last) = wave.spread;
        let spread_ms = (last - first).as_millis() as u64;
        for who in 0..crowd.len() {
            crowd.come(who, from + first + Duration::from_millis(chance.below(spread_ms + 1)));
        }
        let mut refused = BTreeMap::new();
        let mut told = |_: usize, told: Told<'_>| {
            if let Told::Gone(gone) = told {
                *refused.entry(gone.status.map_or(gone.code, u64::from)).or_insert(0_u64) += 1;
            }
        };
        let mut yet = 0;
        let all_at_head = |crowd: &Crowd| {
            let has = |(room, last): (&str, Option<u64>)| {
                last.is_some_and(|last| written.get(room).is_none_or(|head| last >= *head))
            };
            // Whoever was found to be there is not looked at again.
            yet = (yet..crowd.len()).find(|who| !crowd.lasts(*who).all(has)).unwrap_or(crowd.len());
            yet == crowd.len()
        };
        let all = crowd.run_until(wave.within, &mut told, all_at_head);
        report.expect(all, || format!("{name}: not all have all within {:?}", wave.within));
        report.figure(&format!("{name}: all at head s"), tenths(from.elapsed().as_secs_f64()));
        for (code, times) in &refused {
            report.figure(&format!("{name}: {code}"), *times as f64);
            report.expect([503, 1006, 4204].contains(code), || {
                format!("{name}: {code} is no answer")
            });
        }
        let most = server.memory_most();
        report.figure(&format!("{name}: memory MiB"), (most / MIB) as f64);
        report.expect(most <= 1024 * MIB, || format!("{name}: memory was {} MiB", most / MIB));
        Reads::of(server).judge(&reads, crowd.len(), name, report);
    }

    /// The last event of each room that is known to be stored.
    fn heads(&self) -> BTreeMap<String, u64> {
        let mut heads = BTreeMap::new();
        for (room, seq, _) in self.acked.lock().expect("no writer panics").iter() {
            let head = heads.entry(self.rooms[*room].clone()).or_insert(0);
            *head = (*seq).max(*head);
        }
        heads
    }

    /// When nothing is written any more: what was acknowledged and is not there, or is not what they have.
    fn verdict(&self, server: &Server, crowd: &mut Crowd) -> Vec<String> {
        let logs: BTreeMap<String, _> =
            self.rooms.iter().map(|room| (room.clone(), server.log(room))).collect();
        let length = |room: &str| logs[room].as_ref().map_or(0, |log| log.len() as u64);
        let all = |crowd: &Crowd| {
            let has = |(room, last): (&str, Option<u64>)| last == Some(length(room));
            (0..crowd.len()).all(|who| crowd.lasts(who).all(has))
        };
        // Who has not all by then is found below.
        _ = crowd.run_until(PATIENCE, |_, _| (), all);
        let mut wrongs = crowd.compare(&logs);
        for (room, seq, cid) in self.acked.lock().expect("no writer panics").iter() {
            let Ok(log) = &logs[&self.rooms[*room]] else { continue };
            let sign = format!(r#""cid":"{cid}""#);
            let at: Vec<usize> = (1..=log.len()).filter(|at| log[at - 1].contains(&sign)).collect();
            if at != [*seq as usize] {
                wrongs.push(format!("{cid} was acked as {}/{seq}, is {at:?}", self.rooms[*room]));
            }
        }
        wrongs
    }
}

/// How often the database was read.
struct Reads {
    lookups: u64,
    standings: u64,
    pages: u64,
}

impl Reads {
    fn of(server: &Server) -> Reads {
        let queries = |kind: &str| {
            server.metric(&format!("tertulia_reader_queries_total{{kind=\"{kind}\"}}"))
        };
        let lookups = server.metric("tertulia_reader_lookups_total");
        Reads { lookups, standings: queries("standing"), pages: queries("page") }
    }

    fn judge(self, before: &Reads, members: usize, name: &str, report: &mut Report) {
        let each = |now: u64, before: u64| {
            ((now - before) as f64 / members as f64 * 100.0).round() / 100.0
        };
        let standings = each(self.standings, before.standings);
        let pages = each(self.pages, before.pages);
        let lookups = each(self.lookups, before.lookups);
        report.figure(&format!("{name}: lookups each"), lookups);
        report.figure(&format!("{name}: standings each"), standings);
        report.figure(&format!("{name}: pages each"), pages);
        // Who they are in their rooms is one turn at a reader, and what they missed there another one; refusals
        // that are tried again may not add to that.
        report.expect(lookups <= 2.0, || format!("{name}: {lookups:.2} lookups for each member"));
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
