//! Log: pages of a room of a million messages: the first and the newest again and again, and another one each time.

use std::time::{Duration, Instant};

use tertulia_proof::report::Report;

use super::Scale;
use super::herd::Herd;
use super::side::{ROOM, Side, Yard};
use crate::error::Error;
use crate::options::Durability;

const PAGES: usize = 1_000;

/// What lies between one page and the next, modulo the log: as good as anywhere, and a prime, so that no page comes
/// again.
const APART: u64 = 618_033_989;

/// The query of a page, one time after the other, of so many messages.
type Query = fn(time: u64, messages: u64) -> String;

const PLACES: [(&str, Query); 3] = [
    ("first page", |_, _| "after=0&limit=256".to_owned()),
    ("newest page", |_, _| "limit=256".to_owned()),
    ("another page", |time, messages| format!("after={}&limit=256", time * APART % messages)),
];

pub(super) fn run(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let messages: u64 = if scale.quick { 50_000 } else { 1_000_000 };
    eprintln!("  {messages} messages are stored");
    let running = yard.start(Side::Tertulia(Durability::Fsync), 64)?;
    let mut herd = Herd::gather(running.addr, running.dialect.clone().deaf(), 64, 64, 64)?;
    while herd.sent() < messages {
        herd.keep_in_flight(64, Duration::from_secs(1))?;
    }
    let server = running.server.as_ref().expect("ours");
    for (name, query) in PLACES {
        let mut took: Vec<Duration> = (0..PAGES as u64)
            .map(|time| {
                let path = format!("/v1/rooms/{ROOM}/log?{}", query(time, messages));
                let from = Instant::now();
                server.done("GET", &path, "");
                from.elapsed()
            })
            .collect();
        took.sort();
        let (p50, p99) = (took[PAGES / 2], took[PAGES * 99 / 100]);
        report.figure(&format!("{name}, p50 ms"), p50.as_secs_f64() * 1e3);
        report.figure(&format!("{name}, p99 ms"), p99.as_secs_f64() * 1e3);
    }
    report.figure("messages", herd.sent() as f64);
    Ok(())
}
