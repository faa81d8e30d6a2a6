//! Sends: 64 members keep 16 sends each on the way that nobody hears. What counts is how many are stored and
//! acked, and how long that takes.

use tertulia_proof::report::Report;

use super::herd::Herd;
use super::side::{Rows, Side, Yard};
use super::{Scale, median};
use crate::error::Error;
use crate::options::Durability;

const MEMBERS: usize = 64;
const IN_FLIGHT: usize = 16;

/// What a message of 64 bytes is as an event.
const EVENT_BYTES: usize = 175;

/// Acked sends, of what the bare store writes.
const OF_BARE_MIN: f64 = 0.6;

/// The p50 of acks, in bare commits of the same size.
const COMMITS_MAX: f64 = 2.0;

pub(super) fn run(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let (mut rates, mut bares, mut waits, mut batches) = (vec![], vec![], vec![], vec![]);
    let (mut acks_us, mut commits_us) = (vec![], vec![]);
    for round in 0..scale.turns {
        eprintln!("  turn {} of {}", round + 1, scale.turns);
        let running = yard.start(Side::Tertulia(Durability::Fsync), MEMBERS)?;
        let dialect = running.dialect.clone().deaf();
        let mut herd = Herd::gather(running.addr, dialect, MEMBERS, MEMBERS, 64)?;
        herd.keep_in_flight(IN_FLIGHT, scale.time / 5)?;
        let server = running.server.as_ref().expect("ours");
        let count = || {
            let counts = ["tertulia_events_total", "tertulia_commits_total"];
            counts.map(|series| server.metric(series))
        };
        let [events, commits] = count();
        let heard = herd.keep_in_flight(IN_FLIGHT, scale.time)?;
        let [events, commits] = [count()[0] - events, count()[1] - commits];
        report.expect(heard.refused == 0, || format!("{} were refused", heard.refused));
        let batch = (events / commits.max(1)).max(1);
        let bare = yard.bare_store(Rows {
            batch,
            messages: 60_000,
            a_second: 0,
            event_bytes: EVENT_BYTES,
            senders: MEMBERS,
        })?;
        rates.push(heard.acks as f64 / heard.took.as_secs_f64());
        bares.push(bare.messages as f64 / bare.seconds);
        acks_us.push(heard.ack.value_at_quantile(0.5) as f64 / 1e3);
        commits_us.push(bare.commit_p50_us);
        waits.push(rates[round] / bares[round]);
        batches.push(batch as f64);
    }
    let of_bare = median(&mut waits);
    let commits = median(&mut acks_us) / median(&mut commits_us);
    report.figure("acked/s", median(&mut rates).round());
    report.figure("bare store, messages/s", median(&mut bares).round());
    report.figure("of the bare store", of_bare);
    report.figure("messages/commit", median(&mut batches));
    report.figure("ack p50, µs", median(&mut acks_us));
    report.figure("bare commit p50, µs", median(&mut commits_us));
    report.figure("ack p50, in bare commits", commits);
    report.expect(of_bare >= OF_BARE_MIN, || format!("{of_bare:.2} of the bare store"));
    report.expect(commits <= COMMITS_MAX, || format!("ack p50 takes {commits:.2} bare commits"));
    Ok(())
}
