//! T21, attacks: row by row, with a bystander beside each, on one server for all rows of a ground. (I12, I16, I17)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::attack::bystander::Bystander;
use crate::attack::{
    Attack, Field, Ground, commands, content, floods, frames, outside, rights, token_life, tokens,
    unreadable, unsafe_settings,
};
use crate::process::MIB;
use crate::report::{Report, Trial};
use crate::server::Server;
use crate::stage::{Scale, Stage};

/// The bystander's messages take no longer, ninety-nine of a hundred.
const P99_MAX: Duration = Duration::from_millis(250);

/// Memory grows by no more in a row.
const GROWTH_MAX: u64 = 64 * MIB;

/// By then memory and descriptors are back.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// Between two looks at memory.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long the bystander talks before the first row, so that its memory is not taken for an attack's.
const WARM_UP: Duration = Duration::from_secs(2);

/// The trial.
pub const TRIAL: Trial = Trial { id: "T21", title: "attacks beside a bystander", run };

/// Every row, in the order of its number.
pub fn rows() -> Vec<&'static Attack> {
    let mut rows: Vec<&Attack> = [
        frames::ROWS,
        unreadable::ROWS,
        commands::ROWS,
        tokens::ROWS,
        token_life::ROWS,
        unsafe_settings::ROWS,
        content::ROWS,
        floods::ROWS,
        outside::ROWS,
        rights::ROWS,
    ]
    .into_iter()
    .flatten()
    .collect();
    rows.sort_by_key(|row| row.id);
    rows
}

fn run(stage: &Stage, report: &mut Report) {
    let rows = rows();
    let mut grounds: Vec<&'static Ground> = Vec::new();
    for row in &rows {
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
    let server = (ground.set)(stage.place()).open();
    let bystander = Bystander::begin(&server);
    std::thread::sleep(WARM_UP);
    let before = Baseline::of(&server);
    for row in rows {
        stage.progress(&format!("{} {}", row.id, row.title));
        let before = Baseline::of(&server);
        let wrongs = attempt(stage, report, &server, &bystander, row);
        wrongs.into_iter().for_each(|wrong| report.wrong(format!("{}: {wrong}", row.id)));
        if stage.scale != Scale::Short {
            before.comes_back(&server, report, row.id);
        }
    }
    before.comes_back(&server, report, ground.name);
    bystander.end().into_iter().for_each(|wrong| report.wrong(format!("bystander: {wrong}")));
}

/// One row. Gives what was wrong.
fn attempt(
    stage: &Stage,
    report: &mut Report,
    server: &Server,
    bystander: &Bystander,
    row: &Attack,
) -> Vec<String> {
    let field = Field::make(server, stage, row.id);
    let (room, head) = (field.room.clone(), stored(server, &field.room));
    let (from, memory) = (Instant::now(), server.memory());
    let over = Arc::new(AtomicBool::new(false));
    let most = AtomicU64::new(memory);
    let ran = std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Acquire) {
                most.fetch_max(server.memory(), Ordering::Relaxed);
                std::thread::sleep(LOOK_EVERY);
            }
        });
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (row.run)(&field)));
        over.store(true, Ordering::Release);
        ran
    });
    let quiet = bystander.between(from, Instant::now());
    let more = field.said_stored();
    let mut wrongs = field.into_wrongs();
    if let Err(panic) = ran {
        wrongs.push(format!("could not go on: {}", crate::report::words_of(&*panic)));
    }
    let grown = most.load(Ordering::Relaxed).saturating_sub(memory);
    let now = stored(server, &room);
    let mut expect = |is_so: bool, what: String| {
        if !is_so {
            wrongs.push(what);
        }
    };
    expect(now == head + more, format!("{now} events are stored, not {head} and {more}"));
    expect(quiet.p99 <= P99_MAX, format!("the bystander waited {quiet:?}"));
    expect(grown <= GROWTH_MAX, format!("memory grew by {} MiB", grown / MIB));
    report.figure(&format!("{} p99 ms", row.id), quiet.p99.as_micros() as f64 / 1000.0);
    report.figure(&format!("{} grown MiB", row.id), (grown * 10 / MIB) as f64 / 10.0);
    wrongs
}

fn stored(server: &Server, room: &str) -> u64 {
    let shown = server.done("GET", &format!("/v1/rooms/{room}"), "").json();
    shown["head"].as_u64().expect("a head")
}

/// What a server had before.
struct Baseline {
    memory: u64,
    descriptors: usize,
}

impl Baseline {
    fn of(server: &Server) -> Baseline {
        Baseline { memory: server.memory(), descriptors: server.descriptors() }
    }

    /// Waits until it has no more than before; what it still has in the end is wrong.
    fn comes_back(&self, server: &Server, report: &mut Report, what: &str) {
        let until = Instant::now() + BACK_WITHIN;
        let is_back = |now: &Baseline| {
            now.memory <= self.memory + self.memory / 10 && now.descriptors <= self.descriptors
        };
        let mut now = Baseline::of(server);
        while !is_back(&now) && Instant::now() < until {
            std::thread::sleep(LOOK_EVERY);
            now = Baseline::of(server);
        }
        let mib = |bytes: u64| (bytes * 10 / MIB) as f64 / 10.0;
        report.figure(&format!("{what} memory after MiB"), mib(now.memory));
        report.expect(is_back(&now), || {
            format!(
                "{what}: {} MiB and {} descriptors before, {} MiB and {} {BACK_WITHIN:?} after",
                mib(self.memory),
                self.descriptors,
                mib(now.memory),
                now.descriptors
            )
        });
    }
}
