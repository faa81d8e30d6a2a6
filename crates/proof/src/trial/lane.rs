//! T33, the fast lane: dozens of small scenarios on one server, and then nothing may be left of them. (I17)

use std::time::{Duration, Instant};

use crate::attack::Field;
use crate::lane;
use crate::process::MIB;
use crate::report::{Report, Trial, words_of};
use crate::server::Server;
use crate::stage::Stage;

/// What the events of a scenario or two may keep of memory: the newest of each room stay at hand.
const KEPT_MAX: u64 = 64 * MIB;

/// By then everything is given back.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// A server that started nothing for so long has started everything.
const SETTLED: Duration = Duration::from_millis(1_500);

/// Between two looks at what is held.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The trial.
pub const TRIAL: Trial = Trial { id: "T33", title: "the fast lane", run };

fn run(stage: &Stage, report: &mut Report) {
    let server = lane::place(stage.place()).open();
    let rounds = stage.scale(1, 5, 100);
    let (before, memory) = (Holdings::settled(&server), server.memory());
    let from = Instant::now();
    for round in 0..rounds {
        for (n, scenario) in lane::scenarios().iter().enumerate() {
            let id = format!("lane{round}-{n}");
            let title = &scenario.title;
            stage.progress(title);
            let wrongs = attempt(stage, &server, &id, scenario);
            wrongs.into_iter().for_each(|wrong| report.wrong(format!("{title}: {wrong}")));
            report.count("scenarios", 1);
        }
    }
    report.figure("seconds a round", from.elapsed().as_secs_f64() / f64::from(rounds));
    let over = Instant::now();
    let mut now = Holdings::of(&server);
    while !now.is_within(&before) && over.elapsed() < BACK_WITHIN {
        std::thread::sleep(LOOK_EVERY);
        now = Holdings::of(&server);
    }
    report.expect(now.is_within(&before), || format!("{before:?} before, {now:?} after"));
    report.figure("seconds until all was given back", over.elapsed().as_secs_f64());
    let kept = server.memory().saturating_sub(memory);
    report.figure("memory kept MiB", (kept / MIB) as f64);
    report.expect(kept <= KEPT_MAX, || format!("{} MiB of memory are kept", kept / MIB));
}

/// What a server holds for those who are connected.
#[derive(Debug)]
struct Holdings {
    connections: u64,
    outbound_bytes: u64,
    descriptors: usize,
    threads: usize,
}

impl Holdings {
    fn of(server: &Server) -> Holdings {
        Holdings {
            connections: server.metric("tertulia_connections"),
            outbound_bytes: server.metric("tertulia_outbound_bytes"),
            descriptors: server.descriptors(),
            threads: server.threads(),
        }
    }

    /// Of a server that has started whatever it starts by itself: some of it a second after it is ready.
    fn settled(server: &Server) -> Holdings {
        let (mut now, mut since) = (Holdings::of(server), Instant::now());
        while since.elapsed() < SETTLED {
            std::thread::sleep(LOOK_EVERY);
            let next = Holdings::of(server);
            if next.threads != now.threads {
                since = Instant::now();
            }
            now = next;
        }
        now
    }

    fn is_within(&self, before: &Holdings) -> bool {
        self.connections <= before.connections
            && self.outbound_bytes <= before.outbound_bytes
            && self.descriptors <= before.descriptors
            && self.threads <= before.threads
    }
}

fn attempt(stage: &Stage, server: &Server, id: &str, scenario: &lane::Scenario) -> Vec<String> {
    let field = Field::make(server, stage, id);
    let before = server.log(&field.room).map(|log| log.len() as u64);
    let room = field.room.clone();
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (scenario.run)(&field)));
    let more = field.said_stored();
    let mut wrongs = field.into_wrongs();
    if let Err(panic) = ran {
        wrongs.push(format!("could not go on: {}", words_of(&*panic)));
    }
    let after = server.log(&room).map(|log| log.len() as u64);
    if before.clone().map(|events| events + more) != after {
        wrongs
            .push(format!("{before:?} events were stored, {after:?} are, {more} should have come"));
    }
    wrongs
}
