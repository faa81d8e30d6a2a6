//! Dense: one sender keeps 64 messages outstanding in a room of 100, 1,000 and 5,000. What counts is the
//! processor time of the server for each delivery.

use tertulia_proof::report::Report;

use super::fan_out::{Load, Pace, Turns, turn};
use super::side::{Rows, Side, Yard};
use super::{Scale, steady};
use crate::error::Error;
use crate::options::Durability;

/// Bun with a body as long as our whole event: its room, number, time, author and name go over the wire, too.
const BUN_EQUAL: &str = "Bun, at equal bytes";

/// Up to so many members what it costs to store a message is a part of its deliveries.
const STORE_COUNTS: usize = 100;

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
        let limit = Side::Copy { payload_bytes: 0 };
        let turns = steady(
            |turns: &Turns| turns.drift(limit),
            || {
                let mut turns = Turns::default();
                for round in 0..scale.turns {
                    eprintln!("  {members} members, turn {} of {}", round + 1, scale.turns);
                    one_by_one(yard, load, &mut turns, report)?;
                }
                Ok(turns)
            },
        )?;
        turns.tell(&format!("{members} members"), report);
        judge(members, &turns, report);
    }
    Ok(())
}

/// One turn of everyone.
fn one_by_one(
    yard: &Yard,
    load: Load,
    turns: &mut Turns,
    report: &mut Report,
) -> Result<(), Error> {
    let fsync = Side::Tertulia(Durability::Fsync);
    let ours = turn(yard, fsync, load, report)?;
    turns.add(fsync, ours);
    let payload_bytes = ours.payload_bytes();
    let batch = ours.batch.round().max(1.0) as u64;
    let event_bytes = payload_bytes;
    let rows = Rows { batch, messages: 20_000, a_second: 0, event_bytes, senders: 1 };
    turns.add_store(yard.bare_store(rows)?);
    for side in [
        Side::Copy { payload_bytes },
        Side::Bun,
        Side::Tertulia(Durability::Memory),
        Side::Each { payload_bytes },
        Side::Nats,
        Side::Ws,
    ] {
        turns.add(side, turn(yard, side, load, report)?);
    }
    let equal = Load { body_bytes: payload_bytes, ..load };
    turns.add_as(BUN_EQUAL, turn(yard, Side::Bun, equal, report)?);
    Ok(())
}

fn judge(members: usize, turns: &Turns, report: &mut Report) {
    let store_us = turns.of_store(|took| took.cpu_us_per_message);
    let cpu_us = |side: Side| turns.of(side.name(), |one| one.cpu_us);
    let copy = cpu_us(Side::Copy { payload_bytes: 0 });
    let (ours, bun) = (cpu_us(Side::Tertulia(Durability::Fsync)), cpu_us(Side::Bun));
    let bun_equal = turns.of(BUN_EQUAL, |one| one.cpu_us);
    let memory = cpu_us(Side::Tertulia(Durability::Memory));
    for side in
        [Side::Tertulia(Durability::Fsync), Side::Copy { payload_bytes: 0 }, Side::Bun, Side::Nats]
    {
        let plot = "CPU µs a delivery, by members";
        report.point(&format!("{plot} | {}", side.name()), members as f64, cpu_us(side));
    }
    let store = if members <= STORE_COUNTS { store_us / members as f64 } else { 0.0 };
    let of_limit = ours / (copy + store);
    let mut figure = |name: &str, value| report.figure(&format!("{members}: {name}"), value);
    figure("bare store, µs a message", store_us);
    figure("ours of the limit", of_limit);
    figure("ours of Bun, fsync", ours / bun);
    figure("ours of Bun, memory", memory / bun);
    figure("ours of Bun at equal bytes, fsync", ours / bun_equal);
    figure("ours of Bun at equal bytes, memory", memory / bun_equal);
    figure("drift of the limit", turns.drift(Side::Copy { payload_bytes: 0 }));
}
