//! Big: messages of 1 and 16 KiB in a room of 100. What counts is what a server adds to the copying.

use tertulia_proof::report::Report;

use super::Scale;
use super::fan_out::{Load, Pace, Turns, turn};
use super::side::{Rows, Side, Yard};
use crate::error::Error;
use crate::options::Durability;

const MEMBERS: usize = 100;

const LIMIT: Side = Side::Copy { payload_bytes: 0 };

pub(super) fn run(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    // A message may have 16 KiB, its quotes and braces included.
    for (name, body_bytes) in [("1 KiB", 1024), ("16 KiB", 16 * 1024)] {
        let load = Load {
            members: MEMBERS,
            senders: 1,
            body_bytes,
            pace: Pace::Outstanding(16),
            time: scale.time,
        };
        let ours = Side::Tertulia(Durability::Fsync);
        let mut turns = Turns::default();
        for number in 0..scale.turns {
            eprintln!("  {name}, turn {} of {}", number + 1, scale.turns);
            let shown = turn(yard, ours, load, report)?;
            turns.add(ours, shown);
            let limit = Side::Copy { payload_bytes: shown.payload_bytes() };
            let rows = Rows {
                batch: shown.batch.round().max(1.0) as u64,
                messages: 2_000,
                a_second: 0,
                event_bytes: shown.payload_bytes(),
                senders: 1,
            };
            turns.add_store(yard.bare_store(rows)?);
            for side in [limit, Side::Bun, Side::Nats] {
                turns.add(side, turn(yard, side, load, report)?);
            }
        }
        turns.tell(name, report);
        let cpu_us = |side: Side| turns.of(side.name(), |one| one.cpu_us);
        let store_us = turns.store_us();
        report.figure(&format!("{name}: bare store, µs a message"), store_us);
        let bare_us = cpu_us(LIMIT) + store_us / MEMBERS as f64;
        report.figure(&format!("{name}: ours of the limit"), cpu_us(ours) / bare_us);
        report.figure(&format!("{name}: ours of Bun"), cpu_us(ours) / cpu_us(Side::Bun));
    }
    Ok(())
}
