//! Growth: what a delivery costs must not depend on how many members the room has, nor on how many other rooms
//! there are.

use tertulia_proof::report::Report;

use super::fan_out::{Entrant, Load, Pace, Turns};
use super::herd::Herd;
use super::side::{ROOMS_EACH, Side, Yard};
use super::{Scale, take_turns, tell_turns};
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
    let turns = take_turns(scale.turns, "members", || {
        let all = sizes.iter().map(|&(members, name)| {
            Ok(Entrant::start(yard, ours, load(members, scale))?.named(name))
        });
        let mut turn = Turns::default();
        let mut all = all.collect::<Result<Vec<Entrant>, Error>>()?;
        turn.rounds(&mut all, ROUNDS, scale.time / 4, report)?;
        Ok(turn)
    })?;
    judge("members", sizes, turns, report);
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
    let turns = take_turns(scale.turns, "rooms", || {
        let (mut all, mut silent) = (Vec::new(), Vec::new());
        for &(rooms, name) in sizes {
            let (running, others) = yard.with_rooms(rooms, 100);
            silent.push(Herd::gather(running.addr, others, rooms.div_ceil(ROOMS_EACH), 1, 64)?);
            all.push(Entrant::of(name, running, load(100, scale))?);
        }
        let mut turn = Turns::default();
        turn.rounds(&mut all, ROUNDS, scale.time / 4, report)?;
        Ok(turn)
    })?;
    judge("rooms", sizes, turns, report);
    Ok(())
}

/// How flat the curve is: its highest point beside the mean of all, and its last one beside the first, each taken
/// round by round. Less is welcome.
fn judge(what: &str, sizes: &[(usize, &'static str)], turns: Vec<Turns>, report: &mut Report) {
    let names: Vec<&'static str> = sizes.iter().map(|(_, name)| *name).collect();
    let of_mean = |turn: &Turns, place: usize| {
        turn.by_rounds(&names, |us| us[place] * us.len() as f64 / us.iter().sum::<f64>())
    };
    tell_turns(report, &format!("{what}: most of the mean"), &turns, |turn| {
        (0..names.len()).map(|place| of_mean(turn, place)).fold(f64::NAN, f64::max)
    });
    let ends = [names[names.len() - 1], names[0]];
    tell_turns(report, &format!("{what}: last of first"), &turns, |turn| {
        turn.by_rounds(&ends, |us| us[0] / us[1])
    });
    let all = Turns::of_all(turns);
    for (place, (size, name)) in sizes.iter().enumerate() {
        let cost = all.of(name, |one| one.cpu_us);
        report.point(&format!("CPU µs a delivery, by {what} | memory"), *size as f64, cost);
        report.case(name, "", "CPU µs/delivery", cost);
        report.case(name, "", "of the mean", of_mean(&all, place));
    }
}
