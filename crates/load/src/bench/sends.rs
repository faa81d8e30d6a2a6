//! Sends: 64 members keep 16 sends each on the way that nobody hears. What counts is how many are stored and
//! acked, and how long that takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tertulia_proof::report::Report;

use super::herd::{Heard, Herd};
use super::side::{Rows, Side, Yard};
use super::{Scale, over_turns, take_turns, tell_turns};
use crate::error::Error;
use crate::options::Durability;

const MEMBERS: usize = 64;
const IN_FLIGHT: usize = 16;

/// Rounds of a lone sender in a turn, and bare syncs of a round.
const ROUNDS: u32 = 5;
const SYNCS: u64 = 300;

/// What a message of 64 bytes is as an event.
const EVENT_BYTES: usize = 175;

/// What a turn showed.
#[derive(Clone, Copy)]
struct Turn {
    acked_a_second: f64,
    batch: f64,
    ack_us: f64,
    bare_a_second: f64,
    bare_commit_us: f64,
    /// A bare commit of all that is on the way.
    bare_whole_us: f64,
    /// With nothing else on the way, and a sender who does not sleep until it comes.
    awake: Alone,
    /// The same of one who does.
    asleep: Alone,
}

/// An ack with nothing else on the way, and a bare sync right behind it.
#[derive(Clone, Copy)]
struct Alone {
    ack_us: f64,
    sync_us: f64,
    ack_in_syncs: f64,
}

/// What is judged or told turn by turn: its name, and how it comes from a turn.
type Ratio = (&'static str, fn(&Turn) -> f64);

const RATIOS: [Ratio; 5] = [
    ("of the bare store", |turn| turn.acked_a_second / turn.bare_a_second),
    ("one at a time: ack p50, in syncs", |turn| turn.awake.ack_in_syncs),
    ("one at a time, asleep until then: ack p50, in syncs", |turn| turn.asleep.ack_in_syncs),
    ("ack p50, in bare commits of all on the way", |turn| turn.ack_us / turn.bare_whole_us),
    ("ack p50, in bare commits", |turn| turn.ack_us / turn.bare_commit_us),
];

pub(super) fn run(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let turns = take_turns(scale.turns, "64 senders", || turn(yard, scale, report))?;
    let of = |figure: fn(&Turn) -> f64| over_turns(&turns, figure);
    report.figure("acked/s", of(|turn| turn.acked_a_second).round());
    report.figure("bare store, messages/s", of(|turn| turn.bare_a_second).round());
    report.figure("messages/commit", of(|turn| turn.batch));
    report.figure("ack p50, µs", of(|turn| turn.ack_us));
    report.figure("bare commit p50, µs", of(|turn| turn.bare_commit_us));
    report.figure("bare commit of all on the way p50, µs", of(|turn| turn.bare_whole_us));
    report.figure("one at a time: ack p50, µs", of(|turn| turn.awake.ack_us));
    report.figure("bare sync beside it, p50, µs", of(|turn| turn.awake.sync_us));
    report.figure("one at a time, asleep until then: ack p50, µs", of(|turn| turn.asleep.ack_us));
    report.figure("bare sync beside that, p50, µs", of(|turn| turn.asleep.sync_us));
    for (name, ratio) in RATIOS {
        tell_turns(report, name, &turns, ratio);
    }
    Ok(())
}

fn turn(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<Turn, Error> {
    // One more, whose messages nobody has said before.
    let running = yard.start(Side::Tertulia(Durability::Fsync), MEMBERS + 1)?;
    let dialect = running.dialect.clone().deaf();
    let mut herd = Herd::gather(running.addr, dialect.clone(), MEMBERS, MEMBERS, 64)?;
    herd.keep_in_flight(IN_FLIGHT, scale.time / 5)?;
    let server = running.server.as_ref().expect("ours");
    let count = || {
        let counts = ["tertulia_events_total", "tertulia_commits_total"];
        counts.map(|series| server.metric(series))
    };
    let before = count();
    let heard = herd.keep_in_flight(IN_FLIGHT, scale.time)?;
    let after = count();
    report.expect(heard.refused == 0, || format!("{} were refused", heard.refused));
    let batch = ((after[0] - before[0]) / (after[1] - before[1]).max(1)).max(1);
    drop(herd);
    // With so many on the way an ack waits for the work on all of them. What a sync costs shows alone.
    let mut one = Herd::gather(running.addr, dialect.only(MEMBERS), 1, 1, 64)?;
    let asleep = alone(yard, &mut one, false, scale.time)?;
    let awake = alone(yard, &mut one, true, scale.time)?;
    let rows =
        Rows { batch, messages: after[0], a_second: 0, event_bytes: EVENT_BYTES, senders: MEMBERS };
    let bare = yard.bare_store(rows)?;
    let whole = yard.bare_store(Rows { batch: (MEMBERS * IN_FLIGHT) as u64, ..rows })?;
    Ok(Turn {
        acked_a_second: heard.acks as f64 / heard.took.as_secs_f64(),
        batch: batch as f64,
        ack_us: p50_us(&heard),
        bare_a_second: bare.messages as f64 / bare.seconds,
        bare_commit_us: bare.commit_p50_us,
        bare_whole_us: whole.commit_p50_us,
        awake,
        asleep,
    })
}

/// Rounds of an ack's time and a sync's, since a disk that others use, too, moves within seconds. Only in the one
/// does somebody wait for this side's processor; so that it is alike, it sleeps or does not in both.
fn alone(yard: &Yard, one: &mut Herd, awake: bool, time: Duration) -> Result<Alone, Error> {
    one.stay_awake(awake);
    let rounds = (0..ROUNDS).map(|_| {
        let ack_us = p50_us(&one.keep_in_flight(1, time / ROUNDS)?);
        let sync = || yard.bare_sync(SYNCS);
        let sync_us = if awake { awake_beside(sync) } else { sync() }?.p50_us;
        Ok(Alone { ack_us, sync_us, ack_in_syncs: ack_us / sync_us })
    });
    let rounds = rounds.collect::<Result<Vec<Alone>, Error>>()?;
    let of = |figure: fn(&Alone) -> f64| over_turns(&rounds, figure);
    Ok(Alone {
        ack_us: of(|round| round.ack_us),
        sync_us: of(|round| round.sync_us),
        ack_in_syncs: of(|round| round.ack_in_syncs),
    })
}

fn p50_us(heard: &Heard) -> f64 {
    heard.ack.value_at_quantile(0.5) as f64 / 1e3
}

/// Does `work`, which others do, and keeps this side's processor from sleeping meanwhile.
fn awake_beside<T>(work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
        });
        let done = work();
        over.store(true, Ordering::Release);
        done
    })
}
