//! Dense: one sender keeps 64 messages outstanding in a room of 100, 1,000 and 5,000. What counts is the
//! processor time of the server for each delivery.

use tertulia_proof::report::Report;

use super::fan_out::{Entrant, Load, Pace, Turns, turn};
use super::side::{Rows, Side, Yard};
use super::{Scale, over_turns, take_turns, tell_turns};
use crate::error::Error;
use crate::options::Durability;

/// Bun with a body as long as our whole event: its room, number, time, author and name go over the wire, too.
const BUN_EQUAL: &str = "Bun, at equal bytes";

const FSYNC: Side = Side::Tertulia(Durability::Fsync);
const MEMORY: Side = Side::Tertulia(Durability::Memory);
const LIMIT: Side = Side::Copy { payload_bytes: 0 };

/// Rounds of a turn in which those who are held against each other are measured.
const ROUNDS: usize = 8;

/// Up to so many members what it costs to store a message is a part of its deliveries.
const STORE_COUNTS: usize = 100;

/// Up to so many members our memory mode runs beside the others. Four crowds of 5,000 are as many connections as a
/// process may have files.
const MEMORY_BESIDE: usize = 1_000;

pub(super) fn run(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let sizes: &[usize] = if scale.quick { &[100, 1_000] } else { &[100, 1_000, 5_000] };
    for &members in sizes {
        let load = Load {
            members,
            senders: 1,
            body_bytes: 64,
            pace: Pace::Outstanding(64),
            time: scale.time,
        };
        let what = format!("{members} members");
        let turns = take_turns(scale.turns, &what, || one_turn(yard, load, report))?;
        judge(members, &turns, report);
        let turns = Turns::of_all(turns);
        turns.tell(&what, report);
        turns.draw_costs(&what, &[FSYNC.name(), LIMIT.name(), BUN_EQUAL], report);
        for side in [FSYNC, LIMIT, Side::Bun, Side::Nats] {
            let name = format!("CPU µs a delivery, by members | {}", side.name());
            report.point(&name, members as f64, turns.of(side.name(), |one| one.cpu_us));
        }
    }
    Ok(())
}

/// Those who are held against each other, in rounds; then the others.
fn one_turn(yard: &Yard, load: Load, report: &mut Report) -> Result<Turns, Error> {
    let mut turns = Turns::default();
    let slice = load.time / 4;
    let mut ours = Entrant::start(yard, FSYNC, load)?;
    let payload_bytes = ours.measure(slice, report)?.payload_bytes();
    let limit = Entrant::start(yard, Side::Copy { payload_bytes }, load)?;
    let equal = Load { body_bytes: payload_bytes, ..load };
    let bun = Entrant::start(yard, Side::Bun, equal)?.named(BUN_EQUAL);
    let mut entrants = vec![limit, ours, bun];
    let memory_beside = load.members <= MEMORY_BESIDE;
    if memory_beside {
        entrants.push(Entrant::start(yard, MEMORY, load)?);
    }
    turns.rounds(&mut entrants, ROUNDS, slice, report)?;
    drop(entrants);
    let rows = Rows {
        batch: turns.of(FSYNC.name(), |one| one.batch).round().max(1.0) as u64,
        messages: 20_000,
        a_second: 0,
        event_bytes: payload_bytes,
        senders: 1,
    };
    turns.add_store(yard.bare_store(rows)?);
    let alone = [Side::Bun, Side::Each { payload_bytes }, Side::Nats, Side::Ws];
    for side in alone.into_iter().chain((!memory_beside).then_some(MEMORY)) {
        turns.add(side, turn(yard, side, load, report)?);
    }
    Ok(turns)
}

fn judge(members: usize, turns: &[Turns], report: &mut Report) {
    let name = |what: &str| format!("{members}: {what}");
    report.figure(&name("bare store, µs a message"), over_turns(turns, Turns::store_us));
    tell_turns(report, &name("ours of the limit"), turns, |turn| {
        let counts = members <= STORE_COUNTS;
        let store_us = if counts { turn.store_us() / members as f64 } else { 0.0 };
        turn.by_rounds(&[FSYNC.name(), LIMIT.name()], |us| us[0] / (us[1] + store_us))
    });
    for (side, word) in [(FSYNC, "fsync"), (MEMORY, "memory")] {
        let equal = name(&format!("ours of Bun at equal bytes, {word}"));
        tell_turns(report, &equal, turns, |turn| {
            turn.by_rounds(&[side.name(), BUN_EQUAL], |us| us[0] / us[1])
        });
        let own = name(&format!("ours of Bun with its own bytes, {word}"));
        let apart = [side, Side::Bun]
            .map(|side| over_turns(turns, |turn| turn.of(side.name(), |one| one.cpu_us)));
        report.figure(&own, apart[0] / apart[1]);
    }
    tell_turns(report, &name("the limit, µs"), turns, |turn| {
        turn.of(LIMIT.name(), |one| one.cpu_us)
    });
}
