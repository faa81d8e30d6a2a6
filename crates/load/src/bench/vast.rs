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

/// The p99 of each stretch in microseconds, by phase.
type Stretches = [Vec<f64>; PHASES.len()];

#[derive(Clone, Copy)]
struct Crowd {
    members: usize,
    a_second: u64,
    /// How long it is calm, and how long they are spoken to.
    phase_s: u64,
}

struct Turn {
    /// Until all were in.
    in_s: f64,
    spoken: Heard,
    waits: Stretches,
}

pub(super) fn run(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let crowd = match scale.quick {
        true => Crowd { members: 2_000, a_second: 1_000, phase_s: 2 },
        false => Crowd { members: 10_000, a_second: 2_000, phase_s: 5 },
    };
    let turns = (0..scale.turns.min(3)).map(|_| turn(yard, crowd, report));
    let turns = turns.collect::<Result<Vec<Turn>, Error>>()?;
    let of = |figure: fn(&Turn) -> f64| median(&mut turns.iter().map(figure).collect::<Vec<f64>>());
    report.figure("listeners", crowd.members as f64);
    report.figure("seconds until all were in", of(|turn| turn.in_s));
    report.figure("p50 of what they are told, µs", of(|turn| us(&turn.spoken, 0.5)));
    report.figure("p99 of what they are told, µs", of(|turn| us(&turn.spoken, 0.99)));
    let mut p99s: [f64; PHASES.len()] = std::array::from_fn(|phase| {
        median(&mut turns.iter().flat_map(|turn| turn.waits[phase].clone()).collect::<Vec<f64>>())
    });
    for (phase, p99) in PHASES.iter().zip(&p99s) {
        report.figure(&format!("p99 of the others, {phase}, µs"), *p99);
    }
    // Below that a machine that does other things, too, tells more about itself.
    p99s[0] = p99s[0].max(1_000.0);
    report.figure("others' p99 of calm, while they come", p99s[1] / p99s[0]);
    report.figure("others' p99 of calm, while they are spoken to", p99s[2] / p99s[0]);
    Ok(())
}

fn us(heard: &Heard, quantile: f64) -> f64 {
    heard.latency.value_at_quantile(quantile) as f64 / 1e3
}

/// A room of its own server, and the others beside it.
fn turn(yard: &Yard, crowd: Crowd, report: &mut Report) -> Result<Turn, Error> {
    let (running, others) = yard.with_two_rooms(crowd.members, OTHERS);
    let phase = AtomicU8::new(0);
    std::thread::scope(|threads| {
        let beside = threads.spawn(|| listen(running.addr, others, &phase));
        let spoken = vast(&running, crowd, &phase, report);
        phase.store(OVER, Ordering::Release);
        let waits = beside.join().expect("the others do not panic");
        let (in_s, spoken) = spoken?;
        Ok(Turn { in_s, spoken, waits: waits? })
    })
}

/// Everyone comes at a pace, and then hears what one of them says. Says how long it took until all were in.
fn vast(
    running: &Running,
    Crowd { members, a_second, phase_s }: Crowd,
    phase: &AtomicU8,
    report: &mut Report,
) -> Result<(f64, Heard), Error> {
    let mut herd = Herd::gather(running.addr, running.dialect.clone(), 1, 1, 64)?;
    herd.idle(Duration::from_secs(phase_s))?;
    eprintln!("  {members} come, {a_second} a second");
    phase.store(1, Ordering::Release);
    let from = Instant::now();
    herd.grow_by(running.addr, members, a_second)?;
    let in_s = from.elapsed().as_secs_f64();
    // Both rooms are heard in both shards.
    let heard_in = running.server.as_ref().expect("ours").metric("tertulia_rooms");
    report.expect(heard_in == 4, || format!("{heard_in} times a shard hears a room, not 4"));
    eprintln!("  they are spoken to");
    phase.store(2, Ordering::Release);
    let heard = herd.send(Pace::ASecond(SAY), Duration::from_secs(phase_s))?;
    report.expect(heard.faults == 0, || format!("{} were out of order", heard.faults));
    Ok((in_s, heard))
}

/// What they wait beside it, until it is over.
fn listen(addr: SocketAddr, dialect: Dialect, phase: &AtomicU8) -> Result<Stretches, Error> {
    let mut herd = Herd::gather(addr, dialect, OTHERS, OTHERS, 64)?;
    let mut stretches = Stretches::default();
    loop {
        let before = phase.load(Ordering::Acquire);
        if before == OVER {
            return Ok(stretches);
        }
        let heard = herd.send(Pace::ASecond(OTHERS_SAY), STRETCH)?;
        // What lies in two phases belongs to neither.
        if phase.load(Ordering::Acquire) == before {
            stretches[usize::from(before)].push(us(&heard, 0.99));
        }
    }
}
