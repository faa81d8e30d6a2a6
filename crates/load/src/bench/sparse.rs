//! Sparse: 100 members of one room say ten messages a second each, far apart in time. Bound by the kernel: what
//! counts is how little a server adds to the writes and commits that must be.

use std::time::Duration;

use tertulia_proof::report::Report;

use super::fan_out::{Load, Pace, Shown, Turns, turn};
use super::side::{Rows, Side, Yard};
use super::{Scale, steady};
use crate::error::Error;
use crate::options::Durability;

const MEMBERS: usize = 100;
const A_SECOND: u64 = 1_000;

pub(super) fn run(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let time = if scale.quick { Duration::from_secs(3) } else { Duration::from_secs(8) };
    let load = Load {
        members: MEMBERS,
        senders: MEMBERS,
        body_bytes: 64,
        pace: Pace::ASecond(A_SECOND),
        time,
    };
    let ours = Side::Tertulia(Durability::Fsync);
    let limit = Side::Copy { payload_bytes: 0 };
    let turns = steady(
        |turns: &Turns| turns.drift(limit),
        || {
            let mut turns = Turns::default();
            for round in 0..scale.turns {
                eprintln!("  turn {} of {}", round + 1, scale.turns);
                let shown = turn(yard, ours, load, report)?;
                turns.add(ours, shown);
                let limit = Side::Copy { payload_bytes: shown.payload_bytes() };
                turns.add(limit, turn(yard, limit, load, report)?);
                turns.add_store(yard.bare_store(Rows {
                    batch: 1024,
                    messages: A_SECOND * time.as_secs(),
                    a_second: A_SECOND,
                    event_bytes: shown.payload_bytes(),
                    senders: MEMBERS,
                })?);
                turns.add(Side::Bun, turn(yard, Side::Bun, load, report)?);
            }
            Ok(turns)
        },
    )?;
    turns.tell("100 members", report);
    let store_us = turns.of_store(|took| took.cpu_us_per_message);
    let store_p99_us = turns.of_store(|took| took.p99_us);
    let bare_us = turns.of(limit.name(), |one| one.cpu_us) + store_us / MEMBERS as f64;
    let of_limit = turns.of(ours.name(), |one| one.cpu_us) / bare_us;
    let bare_p99_us = turns.of(limit.name(), Shown::p99_us) + store_p99_us;
    let p99 = turns.of(ours.name(), Shown::p99_us) / bare_p99_us;
    report.figure("bare store, µs a message", store_us);
    report.figure("bare store, p99 µs", store_p99_us);
    report.figure("CPU, ours of limit and bare store", of_limit);
    report.figure("p99, ours of limit and bare store", p99);
    report.figure("lost or out of order", turns.of(ours.name(), |one| one.faults as f64));
    report.figure("drift of the limit", turns.drift(limit));
    turns.draw_latencies(report);
    let is_void = turns.is_void(ours.name());
    report.expect(!is_void, || "the crowd was the bottleneck, latencies are void".to_owned());
    Ok(())
}
