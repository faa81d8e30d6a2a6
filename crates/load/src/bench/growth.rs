//! Growth: what a delivery costs must not depend on how many members the room has, nor on how many other rooms
//! there are.

use tertulia_proof::report::Report;

use super::Scale;
use super::fan_out::{Entrant, Load, Pace, Turns};
use super::herd::Herd;
use super::side::{ROOMS_EACH, Side, Yard};
use crate::error::Error;
use crate::options::Durability;

pub(super) fn run(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    members(yard, scale, report)?;
    rooms(yard, scale, report)
}

/// Rounds of a turn, each of all sizes.
const ROUNDS: usize = 5;

/// Who talks, in a room of so many.
fn load(members: usize, scale: &Scale) -> Load {
    Load { members, senders: 1, body_bytes: 64, pace: Pace::Outstanding(64), time: scale.time / 4 }
}

/// Without the store, whose cost is shared by those who hear a message.
fn members(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let sizes: &[(usize, &str)] = match scale.quick {
        true => &[(100, "100 members"), (1_000, "1000 members")],
        false => &[
            (100, "100 members"),
            (300, "300 members"),
            (1_000, "1000 members"),
            (3_000, "3000 members"),
            (10_000, "10000 members"),
        ],
    };
    let ours = Side::Tertulia(Durability::Memory);
    let mut turns = Turns::default();
    for turn in 1..=scale.turns.min(3) {
        eprintln!("  members, turn {turn}");
        let start = |&(members, name)| {
            Entrant::start(yard, ours, load(members, scale)).map(|one: Entrant| one.named(name))
        };
        let mut all = sizes.iter().map(start).collect::<Result<Vec<Entrant>, Error>>()?;
        turns.rounds(&mut all, ROUNDS, scale.time / 4, report)?;
    }
    judge("members", sizes, &turns, report);
    Ok(())
}

/// A hundred members talk in one room, and so many others are heard and silent.
fn rooms(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let sizes: &[(usize, &str)] = match scale.quick {
        true => &[(1, "1 room"), (1_000, "1000 rooms")],
        false => {
            &[(1, "1 room"), (100, "100 rooms"), (1_000, "1000 rooms"), (10_000, "10000 rooms")]
        }
    };
    let mut turns = Turns::default();
    for turn in 1..=scale.turns.min(3) {
        eprintln!("  rooms, turn {turn}");
        let (mut all, mut silent) = (Vec::new(), Vec::new());
        for &(rooms, name) in sizes {
            let (running, others) = yard.with_rooms(rooms, 100);
            silent.push(Herd::gather(running.addr, others, rooms.div_ceil(ROOMS_EACH), 1, 64)?);
            all.push(Entrant::of(name, running, load(100, scale))?);
        }
        turns.rounds(&mut all, ROUNDS, scale.time / 4, report)?;
    }
    judge("rooms", sizes, &turns, report);
    Ok(())
}

/// How flat the curve is: its highest point beside the mean of all, each taken round by round. Less is welcome.
fn judge(what: &str, sizes: &[(usize, &'static str)], turns: &Turns, report: &mut Report) {
    let names: Vec<&'static str> = sizes.iter().map(|(_, name)| *name).collect();
    let mut highest = 0.0_f64;
    for (place, (size, name)) in sizes.iter().enumerate() {
        let cost = turns.of(name, |one| one.cpu_us);
        let plot = format!("CPU µs a delivery, by {what} | memory");
        report.point(&plot, *size as f64, cost);
        report.case(name, "", "CPU µs/delivery", cost);
        let of_mean = turns.by_rounds(&names, |costs| {
            costs[place] * costs.len() as f64 / costs.iter().sum::<f64>()
        });
        report.case(name, "", "of the mean", of_mean);
        highest = highest.max(of_mean);
    }
    report.figure(&format!("{what}: most of the mean"), highest);
}
