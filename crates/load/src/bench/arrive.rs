//! Arrive: connections that come as fast as they are let in, say hello and hear a room; and 10,000 at once who
//! come back with a cursor and miss something.

use std::time::{Duration, Instant};

use tertulia_proof::report::Report;

use super::fan_out::Pace;
use super::herd::Herd;
use super::side::{ROOM, Side, Yard};
use super::{Scale, median, spent};
use crate::error::Error;
use crate::options::Durability;

/// How often everyone comes back.
const RETURNS: usize = 10;

pub(super) fn run(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    returns(yard, scale, report)?;
    storm(yard, scale, report)
}

/// Stored members come, and come back ten times.
fn returns(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let members = if scale.quick { 500 } else { 3_000 };
    let running = yard.with_members(members);
    let server = running.server.as_ref().expect("ours");
    let count = || {
        let of = |series: &str| server.metric(series) as f64;
        let standing = of("tertulia_reader_queries_total{kind=\"standing\"}");
        [of("tertulia_membership_hits_total"), of("tertulia_membership_misses_total"), standing]
    };
    let before = count();
    let (mut rates, mut cores) = (Vec::new(), Vec::new());
    for round in 0..=RETURNS {
        eprintln!("  {members} come, {round} of {RETURNS}");
        let (cpu, from) = (spent::cpu(running.pid), Instant::now());
        let herd = Herd::gather(running.addr, running.dialect.clone(), members, 1, 64)?;
        let cpu = spent::cpu(running.pid) - cpu;
        rates.push(members as f64 / from.elapsed().as_secs_f64());
        cores.push(members as f64 / cpu.as_secs_f64());
        drop(herd);
        server.until("everyone is gone", |server| server.metric("tertulia_connections") == 0);
    }
    let after = count();
    let [hits, misses, standing] = std::array::from_fn(|n| after[n] - before[n]);
    let (per_core, ratio) = (median(&mut cores), hits / (hits + misses));
    report.figure("connections/s", median(&mut rates).round());
    report.figure("connections in a second of a core", per_core.round());
    report.figure("authorisations", hits + misses);
    report.figure("membership hit ratio", ratio);
    report.figure("standings read for each miss", standing / misses.max(1.0));
    Ok(())
}

/// Everyone is cut, misses ten messages, and comes back at once with a cursor.
fn storm(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let members = if scale.quick { 2_000 } else { 10_000 };
    let mut seconds = Vec::new();
    for round in 0..scale.turns.min(3) {
        eprintln!("  {members} come back at once, turn {}", round + 1);
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
        report.expect(faults == 0, || format!("{faults} of the missed were out of order"));
    }
    let seconds = median(&mut seconds);
    report.figure("storm, connections", members as f64);
    report.figure("storm, seconds", seconds);
    Ok(())
}
