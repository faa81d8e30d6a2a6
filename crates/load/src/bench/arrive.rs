//! Arrive: connections that come as fast as they are let in, say hello and hear a room; and 10,000 at once who
//! come back with a cursor and missed something.

use std::time::{Duration, Instant};

use tertulia_proof::report::Report;

use super::fan_out::Pace;
use super::herd::Herd;
use super::side::{ROOM, Running, Side, Yard};
use super::{Scale, median, spent, tell_turns};
use crate::error::Error;
use crate::options::Durability;

/// How often everyone comes back.
const RETURNS: usize = 10;

pub(super) fn run(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    returns(yard, scale, report)?;
    storm(yard, scale, report)
}

/// Stored members come, and come back ten times; then the server starts again, and they come as strangers.
fn returns(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let members = if scale.quick { 500 } else { 3_000 };
    let running = yard.with_members(members);
    let before = asked(&running);
    let (mut rates, mut cores) = (Vec::new(), Vec::new());
    for time in 0..=RETURNS {
        eprintln!("  {members} come, {time} of {RETURNS}");
        let came = come(&running, members)?;
        rates.push(came.a_second);
        cores.push(came.a_second_of_a_core);
    }
    let [hits, misses, _] = since(&running, before);
    report.figure("connections/s", median(&mut rates).round());
    report.figure("connections in a second of a core", median(&mut cores).round());
    report.figure("authorisations", hits + misses);
    report.figure("membership hit ratio", hits / (hits + misses));
    eprintln!("  {members} come after a restart, and once more");
    let running = running.again();
    let before = asked(&running);
    come(&running, members)?;
    let [_, misses, standings] = since(&running, before);
    report.figure("after a restart: misses", misses);
    report.figure("after a restart: standings read for each miss", standings / misses);
    let before = asked(&running);
    come(&running, members)?;
    let [hits, misses, _] = since(&running, before);
    report.figure("after a restart: hit ratio of who comes back", hits / (hits + misses));
    Ok(())
}

/// Hits and misses of the membership cache, and standings that a reader was asked for.
fn asked(running: &Running) -> [f64; 3] {
    let server = running.server.as_ref().expect("ours");
    [
        "tertulia_membership_hits_total",
        "tertulia_membership_misses_total",
        "tertulia_reader_queries_total{kind=\"standing\"}",
    ]
    .map(|series| server.metric(series) as f64)
}

fn since(running: &Running, before: [f64; 3]) -> [f64; 3] {
    let after = asked(running);
    std::array::from_fn(|n| after[n] - before[n])
}

struct Came {
    a_second: f64,
    a_second_of_a_core: f64,
}

/// Everyone comes as fast as they are let in, and goes.
fn come(running: &Running, members: usize) -> Result<Came, Error> {
    let (cpu, from) = (spent::cpu(running.pid), Instant::now());
    let herd = Herd::gather(running.addr, running.dialect.clone(), members, 1, 64)?;
    let (cpu, took) = (spent::cpu(running.pid) - cpu, from.elapsed());
    drop(herd);
    let server = running.server.as_ref().expect("ours");
    server.until("everyone is gone", |server| server.metric("tertulia_connections") == 0);
    let a_second = |time: Duration| members as f64 / time.as_secs_f64();
    Ok(Came { a_second: a_second(took), a_second_of_a_core: a_second(cpu) })
}

/// Everyone is cut, misses what one sender gets through in 20 ms, and comes back at once with a cursor.
fn storm(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let members = if scale.quick { 2_000 } else { 10_000 };
    let (mut seconds, mut all_missed) = (Vec::new(), Vec::new());
    for turn in 1..=scale.turns.min(3) {
        eprintln!("  {members} come back at once, turn {turn}");
        let running = yard.start(Side::Tertulia(Durability::Fsync), members)?;
        let server = running.server.as_ref().expect("ours");
        let herd = Herd::gather(running.addr, running.dialect.clone(), members, 1, 64)?;
        drop(herd);
        let epoch = server.epoch(ROOM);
        let seq = server.metric("tertulia_events_total");
        let mut speaker = Herd::gather(running.addr, running.dialect.clone(), 1, 1, 64)?;
        let missed = speaker.send(Pace::Outstanding(1), Duration::from_millis(20))?.deliveries;
        drop(speaker);
        let dialect = running.dialect.clone().resuming(epoch.as_str(), seq);
        let from = Instant::now();
        let mut herd = Herd::gather(running.addr, dialect, members, 1, 64)?;
        let faults = herd.catch_up(missed)?;
        seconds.push(from.elapsed().as_secs_f64());
        all_missed.push(missed as f64);
        report.expect(faults == 0, || format!("{faults} of the missed were out of order"));
    }
    report.figure("storm, connections", members as f64);
    report.figure("storm, messages missed by each", median(&mut all_missed));
    tell_turns(report, "storm, seconds", &seconds, |seconds| *seconds);
    Ok(())
}
