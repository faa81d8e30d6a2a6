//! The whole ring in one thread: shards, hub and committer over rooms in memory, readers that fail, news
//! that get lost, clients that stall and come back, a server that crashes. One seed makes one life, and the
//! model knows at every step what may be heard.
//!
//! `SIM_SEED=123 cargo nextest run -p tertulia-rooms the_ring_holds` lives that life alone and tells the end
//! of it; `SIM_SEEDS=20000` lives that many, `SIM_FROM=1000` begins elsewhere. With `--no-capture` a line
//! tells of every thousand. `SIM_REPORT=path` writes what came of it for machines.

mod chaos;
mod client;
mod fate;
mod hears;
mod limits;
mod lives;
mod model;
mod outbox;
mod outside;
mod random;
mod regressions;
mod report;
mod server;
mod settle;
mod socket;
mod stories;
mod stream;
mod town;
mod trace;
mod world;

use chaos::live;
use lives::{many, survive};
use outside::Plant;

/// Lives that are lived unless asked otherwise.
const SEEDS: u64 = 2000;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} = {text:?} is no number")))
}

#[test]
fn the_ring_holds_for_many_seeds() {
    let (from, count) = match number("SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (number("SIM_FROM").unwrap_or(0), number("SIM_SEEDS").unwrap_or(SEEDS)),
    };
    let record = many(from..from + count);
    if let Ok(path) = std::env::var("SIM_REPORT") {
        let report = report::of(&record, from).to_string();
        std::fs::write(&path, report).unwrap_or_else(|error| panic!("SIM_REPORT={path}: {error}"));
    }
    record.expect_good();
    println!("{count} lives, {} deliveries held against the log", record.checked);
    assert!(record.checked > 0 || count == 1, "nothing was delivered, so nothing was checked");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        assert_eq!(survive(seed), survive(seed), "seed {seed}");
    }
    assert_ne!(survive(1).hash, survive(2).hash);
}

/// What the first life finds out in which the fault shows.
fn found(plant: Plant) -> String {
    let mut wrongs = (0..100).filter_map(|seed| live(seed, plant, false).wrong);
    wrongs.next().unwrap_or_else(|| panic!("{plant:?} was not found in 100 lives"))
}

#[test]
fn a_planted_double_delivery_is_caught() {
    let wrong = found(Plant::DoubleDelivery);
    assert!(wrong.contains("doubled"), "{wrong}");
}

#[test]
fn a_planted_skipped_kick_is_caught() {
    let wrong = found(Plant::SkippedKick);
    // It hears on, or believes that it does.
    let seen = ["behind the removal", "still there after"];
    assert!(seen.iter().any(|word| wrong.contains(word)), "{wrong}");
}

/// The faults that `tertulia-rooms` itself can be given, as the stories of the server plant them.
#[cfg(feature = "planted-faults")]
#[test]
fn what_is_planted_in_the_ring_is_caught() {
    use tertulia_rooms::planted::{Fault, plant};

    for (name, fault) in Fault::ALL {
        plant(fault);
        let caught = (0..1000).find_map(|seed| Some((seed, lives::try_once(seed).err()?)));
        let (seed, wrong) = caught.unwrap_or_else(|| panic!("{name} was not found in 1000 lives"));
        println!("{name}: seed {seed}: {wrong}");
    }
}
