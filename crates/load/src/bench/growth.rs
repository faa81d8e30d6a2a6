//! Growth: what a delivery costs must not depend on how many members the room has, nor on how many other rooms
//! there are.

use tertulia_proof::report::Report;

use super::fan_out::{Load, Pace, Turns, turn};
use super::herd::Herd;
use super::side::{ROOMS_EACH, Side, Yard};
use super::{Scale, median, spent};
use crate::error::Error;
use crate::options::Durability;

pub(super) fn run(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    members(yard, scale, report)?;
    rooms(yard, scale, report)
}

/// Without the store, whose cost is shared by those who hear a message, and beside the limit, which has its own
/// curve.
fn members(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let sizes: &[usize] =
        if scale.quick { &[100, 1_000] } else { &[100, 300, 1_000, 3_000, 10_000] };
    let ours = Side::Tertulia(Durability::Memory);
    let mut turns: Vec<Turns> = sizes.iter().map(|_| Turns::default()).collect();
    // One size after the other, and again: a while in which the machine is slower hits all of them.
    for round in 0..scale.turns.min(3) {
        for (&members, turns) in sizes.iter().zip(&mut turns) {
            eprintln!("  {members} members, turn {}", round + 1);
            let pace = Pace::Outstanding(64);
            let load = Load { members, senders: 1, body_bytes: 64, pace, time: scale.time };
            turns.add(ours, turn(yard, ours, load, report)?);
        }
    }
    let mut costs = Vec::new();
    for (&members, turns) in sizes.iter().zip(&turns) {
        let cost = turns.of(ours.name(), |one| one.cpu_us);
        report.point("CPU µs a delivery, by members | memory", members as f64, cost);
        report.case(&format!("{members} members"), "", "CPU µs/delivery", cost);
        costs.push(cost);
    }
    judge("members", &costs, report);
    Ok(())
}

/// What a delivery costs in a room of a hundred while so many others are heard and silent.
fn among(yard: &Yard, rooms: usize, scale: &Scale) -> Result<f64, Error> {
    let (running, others) = yard.with_rooms(rooms, 100);
    let silent = rooms.div_ceil(ROOMS_EACH);
    let _others = Herd::gather(running.addr, others, silent, 1, 64)?;
    let mut herd = Herd::gather(running.addr, running.dialect.clone(), 100, 1, 64)?;
    herd.send(Pace::Outstanding(64), scale.time / 5)?;
    let cpu = spent::cpu(running.pid);
    let heard = herd.send(Pace::Outstanding(64), scale.time)?;
    Ok((spent::cpu(running.pid) - cpu).as_secs_f64() * 1e6 / heard.deliveries as f64)
}

/// A hundred members talk in one room, and there are others.
fn rooms(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let sizes: &[usize] = if scale.quick { &[1, 1_000] } else { &[1, 100, 1_000, 10_000] };
    let mut seen = vec![Vec::new(); sizes.len()];
    for round in 0..scale.turns.min(3) {
        for (&rooms, seen) in sizes.iter().zip(&mut seen) {
            eprintln!("  {rooms} rooms, turn {}", round + 1);
            seen.push(among(yard, rooms, scale)?);
        }
    }
    let mut costs = Vec::new();
    for (&rooms, seen) in sizes.iter().zip(&mut seen) {
        let cost = median(seen);
        report.point("CPU µs a delivery, by rooms | memory", rooms as f64, cost);
        report.case(&format!("{rooms} rooms"), "", "CPU µs/delivery", cost);
        costs.push(cost);
    }
    judge("rooms", &costs, report);
    Ok(())
}

/// How flat the curve is: its highest point beside the mean of all. Less is welcome.
fn judge(what: &str, costs: &[f64], report: &mut Report) {
    let mean = costs.iter().sum::<f64>() / costs.len() as f64;
    let most = costs.iter().copied().fold(0.0, f64::max) / mean;
    report.figure(&format!("{what}: most of the mean"), most);
}
