//! T21, attacks: row by row, with a bystander beside each, on one server for all rows of a ground.
//! (I12, I16, I17)

use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::attack::bystander::Bystander;
use crate::attack::{self, Attack, Field, Ground};
use crate::client::Client;
use crate::process::MIB;
use crate::report::{Report, Trial};
use crate::server::{PATIENCE, Server, raise_file_limit, wait_for};
use crate::stage::{Scale, Stage};

/// Memory grows by no more in a row.
const GROWTH_MAX: u64 = 64 * MIB;

/// Between two looks at what has to come back.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a room in which someone talks may add to memory in the time of a trial.
const BYSTANDER_BYTES_MAX: u64 = 8 * MIB;

/// Guests who come before the first row, and twice as many who only ask something.
const GUESTS: usize = 2_000;

/// What the guests say, which is more than fits into the cache of one connection of SQLite (16 MiB), in messages
/// that fill a page each.
const TALK_BYTES: usize = 24 << 20;
const TALK_MESSAGE_BYTES: usize = 3_800;
const TALKERS: usize = 8;

/// Members among the guests: so many that none of them talks faster than one may.
const MEMBERS: usize = 400;

/// Rooms that the guests have made: as many as are kept at hand (`limits.active_rooms`), a KiB each.
const ROOMS: usize = 10_000;

/// Unused memory goes back to the system in ten seconds (jemalloc's `dirty_decay_ms`).
const GIVEN_BACK: Duration = Duration::from_secs(12);

/// What the bystander says before the first row, so that its memory is not taken for an attack's.
const WARM_UP_DELIVERIES: usize = 500;

/// The trial.
pub const TRIAL: Trial = Trial { id: "T21", title: "attacks beside a bystander", run };

/// Every row, in the order of its number.
pub fn rows() -> Vec<&'static Attack> {
    let files = [
        attack::frames::ROWS,
        attack::fragments::ROWS,
        attack::pings::ROWS,
        attack::handshake::ROWS,
        attack::mobs::ROWS,
        attack::unreadable::ROWS,
        attack::commands::ROWS,
        attack::tokens::ROWS,
        attack::token_life::ROWS,
        attack::unsafe_settings::ROWS,
        attack::content::ROWS,
        attack::excess::ROWS,
        attack::outside::ROWS,
        attack::rights::ROWS,
    ];
    let mut rows: Vec<&Attack> = files.into_iter().flatten().collect();
    rows.sort_by_key(|row| row.id);
    rows
}

fn run(stage: &Stage, report: &mut Report) {
    try_rows(stage, report, &chosen(rows()));
}

/// Those that `TERTULIA_ATTACKS` names, like `A01,A12`, as often as it does; all of them if it is not set.
fn chosen(rows: Vec<&'static Attack>) -> Vec<&'static Attack> {
    let Ok(names) = std::env::var("TERTULIA_ATTACKS") else { return rows };
    let row = |name| rows.iter().copied().find(|row| row.id == name);
    names.split(',').map(|name| row(name).unwrap_or_else(|| panic!("no row {name}"))).collect()
}

/// Tries these rows, one after the other, on a server for each ground.
pub fn try_rows(stage: &Stage, report: &mut Report, rows: &[&'static Attack]) {
    let mut grounds: Vec<&'static Ground> = Vec::new();
    for row in rows {
        if !grounds.iter().any(|ground| std::ptr::eq(*ground, row.ground)) {
            grounds.push(row.ground);
        }
    }
    for ground in grounds {
        let here = rows.iter().copied().filter(|row| std::ptr::eq(row.ground, ground));
        on_ground(stage, report, ground, &here.collect::<Vec<_>>());
    }
    report.count("rows", rows.len() as u64);
}

fn on_ground(stage: &Stage, report: &mut Report, ground: &Ground, rows: &[&'static Attack]) {
    let place = (ground.set)(attack::place(stage));
    let mut server = place.open();
    let bystander = Bystander::begin(&server);
    let from = Instant::now();
    let spoken = || bystander.between(from, Instant::now()).deliveries;
    wait_for("the bystander talks", BACK_WITHIN, || spoken() >= WARM_UP_DELIVERIES);
    if stage.scale != Scale::Short {
        stage.progress(&format!("{}: guests come and go", ground.name));
        guests(&server);
    }
    let before = Baseline::of(&server);
    for row in rows {
        stage.progress(&format!("{} {}", row.id, row.title));
        let before = Baseline::of(&server);
        let ran = catch_unwind(AssertUnwindSafe(|| {
            attempt(stage, report, &server, &bystander, row);
        }));
        if let Err(panic) = ran {
            report.wrong(format!("{}: {}", row.id, crate::report::words_of(&*panic)));
        }
        if !server.lives() {
            report.wrong(format!("{}: the server is gone", row.id));
            return;
        }
        if stage.scale != Scale::Short {
            let after = before.comes_back(stage, &server, report, row.id, 0);
            report.case(row.id, row.title, "memory after MiB", after);
        }
    }
    let after = before.comes_back(stage, &server, report, ground.name, BYSTANDER_BYTES_MAX);
    report.figure(&format!("memory after all on {} MiB", ground.name), after);
    bystander.end().into_iter().for_each(|wrong| report.wrong(format!("bystander: {wrong}")));
}

/// Lets an ordinary crowd come, talk, and go, so that what a server keeps for the next one, tables, caches of
/// pages and rooms in use above all, is not taken for what an attack left behind.
fn guests(server: &Server) {
    raise_file_limit(3 * GUESTS as u64);
    let ask = || {
        let mut stream = TcpStream::connect(server.public).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time that is not zero");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n").expect("a request");
        stream
    };
    let enter = || Client::upgrade(server.public, "").expect("an upgrade");
    let inside: Vec<Client> = (0..GUESTS).map(|_| enter()).collect();
    let asking: Vec<TcpStream> = (0..2 * GUESTS).map(|_| ask()).collect();
    // Where there are fewer places, whoever has their answer makes way for the next.
    for mut stream in asking {
        stream.read_exact(&mut [0]).expect("an answer");
    }
    drop(inside);
    let (http, inside) = ("tertulia_http_connections", "tertulia_connections");
    let are_gone =
        |server: &Server| server.metric(http) == 0 && server.metric(inside) < GUESTS as u64 / 2;
    server.until("all are gone", are_gone);
    let name = |n: usize| format!("guest{}", n % MEMBERS);
    let members: Vec<String> = (0..MEMBERS).map(name).collect();
    server.room("guests", "public", &members.iter().map(String::as_str).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for talker in 0..TALKERS {
            scope.spawn(move || {
                for n in (talker..TALK_BYTES / TALK_MESSAGE_BYTES).step_by(TALKERS) {
                    let (by, words) = (name(n), "x".repeat(TALK_MESSAGE_BYTES));
                    let message = format!(r#"{{"by":"{by}","d":"{words}"}}"#);
                    server.done("POST", "/v1/rooms/guests/messages", &message);
                }
                for n in (talker..ROOMS).step_by(TALKERS) {
                    server.room(&format!("guests-{n}"), "public", &[]);
                }
                // Whatever reader is free reads; so each of them has read most in the end.
                server.log("guests").expect("a log");
            });
        }
    });
    std::thread::sleep(GIVEN_BACK);
}

/// One row.
fn attempt(
    stage: &Stage,
    report: &mut Report,
    server: &Server,
    bystander: &Bystander,
    row: &Attack,
) {
    let field = Field::make(server, stage, row.id);
    let (room, head) = (field.room.clone(), stored(server, &field.room));
    let from = Instant::now();
    let (ran, grown) = server.grown_while(|| catch_unwind(AssertUnwindSafe(|| (row.run)(&field))));
    let goes_on = bystander.goes_on_after(Instant::now());
    let quiet = bystander.between(from, Instant::now());
    let more = field.said_stored();
    let mut wrongs = field.into_wrongs();
    if let Err(panic) = ran {
        wrongs.push(format!("could not go on: {}", crate::report::words_of(&*panic)));
    }
    let now = stored(server, &room);
    let mut expect = |is_so: bool, what: String| {
        if !is_so {
            wrongs.push(what);
        }
    };
    expect(now == head + more, format!("{now} events are stored, not {head} and {more}"));
    expect(goes_on, "the bystander is heard no more".to_owned());
    // Ninety-nine of a hundred messages take no longer. On a machine that does other things, too, this tells
    // only whether the bystander was forgotten.
    let p99_max = stage.scale(1_000, 250, 250);
    let is_quiet = quiet.p99 <= Duration::from_millis(p99_max);
    expect(is_quiet, format!("the bystander waited {quiet:?}"));
    expect(grown <= GROWTH_MAX, format!("memory grew by {} MiB", grown / MIB));
    let p99_ms = (quiet.p99.as_micros() / 10) as f64 / 100.0;
    report.case(row.id, row.title, "seconds", (from.elapsed().as_millis() / 10) as f64 / 100.0);
    report.case(row.id, row.title, "bystander p99 ms", p99_ms);
    report.case(row.id, row.title, "memory grown MiB", mib(grown));
    report.most("worst bystander p99 ms", p99_ms);
    report.most("most memory grown MiB", mib(grown));
    wrongs.into_iter().for_each(|wrong| report.wrong(format!("{}: {wrong}", row.id)));
}

fn stored(server: &Server, room: &str) -> u64 {
    let shown = server.done("GET", &format!("/v1/rooms/{room}"), "").json();
    shown["head"].as_u64().expect("a head")
}

fn mib(bytes: u64) -> f64 {
    (bytes * 10 / MIB) as f64 / 10.0
}

/// What a server had before.
struct Baseline {
    memory: u64,
    descriptors: usize,
}

/// By then memory and descriptors are back.
const BACK_WITHIN: Duration = Duration::from_secs(30);

impl Baseline {
    fn of(server: &Server) -> Baseline {
        Baseline { memory: server.memory(), descriptors: server.descriptors() }
    }

    /// Waits until it has no more than before; what it still has in the end is wrong. The short form does not
    /// wait for memory, which the allocator gives back when it likes. Gives the MiB in the end.
    fn comes_back(
        &self,
        stage: &Stage,
        server: &Server,
        report: &mut Report,
        what: &str,
        own_bytes: u64,
    ) -> f64 {
        let back = self.memory * 11 / 10 + own_bytes;
        let memory_max = stage.scale(self.memory + GROWTH_MAX, back, back);
        let within = stage.scale(BACK_WITHIN / 6, BACK_WITHIN, BACK_WITHIN);
        let until = Instant::now() + within;
        let is_back =
            |now: &Baseline| now.memory <= memory_max && now.descriptors <= self.descriptors;
        let mut now = Baseline::of(server);
        while !is_back(&now) && Instant::now() < until {
            std::thread::sleep(LOOK_EVERY);
            now = Baseline::of(server);
        }
        report.expect(is_back(&now), || {
            format!(
                "{what}: {} MiB and {} descriptors before, {} MiB and {} {within:?} after",
                mib(self.memory),
                self.descriptors,
                mib(now.memory),
                now.descriptors
            )
        });
        mib(now.memory)
    }
}
