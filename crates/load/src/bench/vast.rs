//! Vast: one room in which 10,000 are online at once, split over the shards; and a room beside it that must not
//! notice how they come, nor that they are spoken to.
//!
//! Both crowds share the load side's processor, and come from several addresses.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tertulia_proof::report::Report;

use super::dialect::Dialect;
use super::fan_out::Pace;
use super::herd::{Heard, Herd};
use super::side::{Running, Yard};
use super::{Scale, median};
use crate::error::Error;

/// Those beside it, and what they say in a second.
const OTHERS: usize = 100;
const OTHERS_SAY: u64 = 200;

/// What is said in the room itself in a second: 10,000 hear each.
const SAY: u64 = 4;

/// How long the others are listened to before their p99 is taken; the median of such stretches counts.
const STRETCH: Duration = Duration::from_millis(500);

const PHASES: [&str; 3] = ["calm", "while they come", "while they are spoken to"];
const OVER: u8 = PHASES.len() as u8;

pub(super) fn run(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let (members, a_second, calm_s) =
        if scale.quick { (2_000, 1_000, 2) } else { (10_000, 2_000, 5) };
    let (running, others) = yard.with_two_rooms(members, OTHERS);
    let phase = AtomicU8::new(0);
    let (spoken, waits) = std::thread::scope(|threads| {
        let beside = threads.spawn(|| listen(running.addr, others, &phase));
        let spoken = vast(&running, members, a_second, calm_s, &phase, report);
        phase.store(OVER, Ordering::Release);
        let waits = beside.join().expect("the others do not panic");
        Ok::<_, Error>((spoken?, waits?))
    })?;
    let us = |heard: &Heard, quantile| heard.latency.value_at_quantile(quantile) as f64 / 1e3;
    report.figure("listeners", members as f64);
    report.figure("p50 of what they are told, µs", us(&spoken, 0.5));
    report.figure("p99 of what they are told, µs", us(&spoken, 0.99));
    let mut p99s = waits.map(|mut stretches| median(&mut stretches));
    for (phase, p99) in PHASES.iter().zip(&p99s) {
        report.figure(&format!("p99 of the others, {phase}, µs"), *p99);
    }
    // Below that a machine that does other things, too, tells more about itself.
    p99s[0] = p99s[0].max(1_000.0);
    report.figure("others' p99 of calm, while they come", p99s[1] / p99s[0]);
    report.figure("others' p99 of calm, while they are spoken to", p99s[2] / p99s[0]);
    Ok(())
}

/// Everyone comes at a pace, and then hears what one of them says.
fn vast(
    running: &Running,
    members: usize,
    a_second: usize,
    calm_s: u64,
    phase: &AtomicU8,
    report: &mut Report,
) -> Result<Heard, Error> {
    let mut herd = Herd::gather(running.addr, running.dialect.clone(), 1, 1, 64)?;
    herd.idle(Duration::from_secs(calm_s))?;
    eprintln!("  {members} come, {a_second} a second");
    phase.store(1, Ordering::Release);
    let (from, step) = (Instant::now(), a_second / 100);
    for inside in (step..=members).step_by(step) {
        herd.grow(running.addr, inside)?;
        let due = Duration::from_secs_f64(inside as f64 / a_second as f64);
        herd.idle(due.saturating_sub(from.elapsed()))?;
    }
    report.figure("seconds until all were in", from.elapsed().as_secs_f64());
    // Both rooms are heard in both shards.
    let heard_in = running.server.as_ref().expect("ours").metric("tertulia_rooms");
    report.expect(heard_in == 4, || format!("{heard_in} times a shard hears a room, not 4"));
    eprintln!("  they are spoken to");
    phase.store(2, Ordering::Release);
    let heard = herd.send(Pace::ASecond(SAY), Duration::from_secs(calm_s))?;
    report.expect(heard.faults == 0, || format!("{} were out of order", heard.faults));
    Ok(heard)
}

/// The p99 of each stretch, by phase.
fn listen(
    addr: SocketAddr,
    dialect: Dialect,
    phase: &AtomicU8,
) -> Result<[Vec<f64>; PHASES.len()], Error> {
    let mut herd = Herd::gather(addr, dialect, OTHERS, OTHERS, 64)?;
    let mut stretches = [const { Vec::new() }; PHASES.len()];
    loop {
        let before = phase.load(Ordering::Acquire);
        if before == OVER {
            return Ok(stretches);
        }
        let heard = herd.send(Pace::ASecond(OTHERS_SAY), STRETCH)?;
        // What lies in two phases belongs to neither.
        if phase.load(Ordering::Acquire) == before {
            let p99 = heard.latency.value_at_quantile(0.99) as f64 / 1e3;
            stretches[usize::from(before)].push(p99);
        }
    }
}
