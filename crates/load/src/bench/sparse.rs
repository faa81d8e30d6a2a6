//! Sparse: 100 members of one room say ten messages a second each, far apart in time. Bound by the kernel: what
//! counts is how little a server adds to the writes and commits that must be.

use std::time::Duration;

use tertulia_proof::report::Report;

use super::fan_out::{Entrant, Load, Pace, Shown, Turns};
use super::side::{Rows, Side, Yard};
use super::{Scale, over_turns, take_turns, tell_turns};
use crate::error::Error;
use crate::options::Durability;

const MEMBERS: usize = 100;
const A_SECOND: u64 = 1_000;

const OURS: Side = Side::Tertulia(Durability::Fsync);
const LIMIT: Side = Side::Copy { payload_bytes: 0 };

/// Rounds of a turn.
const ROUNDS: usize = 4;

pub(super) fn run(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let time = if scale.quick { Duration::from_secs(1) } else { Duration::from_secs(2) };
    let pace = Pace::ASecond(A_SECOND);
    let load = Load { members: MEMBERS, senders: MEMBERS, body_bytes: 64, pace, time };
    let turns = take_turns(scale.turns, "100 members", || one_turn(yard, load, report))?;
    report.figure("bare store, µs a message", over_turns(&turns, Turns::store_us));
    report.figure("bare store, p99 µs", over_turns(&turns, Turns::store_p99_us));
    report.figure("bare store, messages/commit", over_turns(&turns, Turns::store_batch));
    tell_turns(report, "CPU, ours of limit and bare store", &turns, |turn| {
        let store_us = turn.store_us() / MEMBERS as f64;
        turn.by_rounds(&[OURS.name(), LIMIT.name()], |us| us[0] / (us[1] + store_us))
    });
    tell_turns(report, "p99, ours of limit and bare store", &turns, |turn| {
        let [ours, copy] = [OURS, LIMIT].map(|side| turn.of(side.name(), Shown::p99_us));
        ours / (copy + turn.store_p99_us())
    });
    let turns = Turns::of_all(turns);
    report.figure("lost or out of order", turns.most(OURS.name(), |one| one.faults as f64));
    turns.tell("100 members", report);
    turns.draw_costs("100 members", &[OURS.name(), LIMIT.name()], report);
    turns.draw_latencies(report);
    let is_void = [OURS, LIMIT].iter().any(|side| turns.is_void(side.name()));
    report.expect(!is_void, || "the crowd was the bottleneck, latencies are void".to_owned());
    Ok(())
}

fn one_turn(yard: &Yard, load: Load, report: &mut Report) -> Result<Turns, Error> {
    let mut turns = Turns::default();
    let mut ours = Entrant::start(yard, OURS, load)?;
    let payload_bytes = ours.measure(load.time / 5, report)?.payload_bytes();
    let limit = Entrant::start(yard, Side::Copy { payload_bytes }, load)?;
    let bun = Entrant::start(yard, Side::Bun, load)?;
    turns.rounds(&mut [limit, ours, bun], ROUNDS, load.time, report)?;
    turns.add_store(yard.bare_store(Rows {
        batch: 1024,
        messages: A_SECOND * load.time.as_secs() * ROUNDS as u64,
        a_second: A_SECOND,
        event_bytes: payload_bytes,
        senders: MEMBERS,
    })?);
    Ok(turns)
}
