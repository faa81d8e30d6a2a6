//! Slow client: in the second half of the run one more client joins the room and reads nothing.
//!
//! The server must close it with 4202 in time, and nobody else may notice: nothing lost, and a p99 of at most
//! twice that of the first half, where the halves are long enough to compare. Afterwards the slow one reads again, resumes, and must have missed nothing.

use std::time::{Duration, Instant};

use super::{Sending, invite};
use crate::clock::MS_NS;
use crate::error::Error;
use crate::metrics::{Metrics, Watch};
use crate::options::Options;
use crate::report::Report;
use crate::server::Server;

const CLOSES: &str = "tertulia_closes_total";
const SLOW: &str = "code=\"4202\"";

/// The longest that a client may go on not reading.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);

/// How much later the others may hear, at the 99th percentile.
const P99_RATIO_MAX: f64 = 2.0;

/// In shorter runs a p99 is the machine's doing, not the server's: it is told and not judged.
const COMPARED_FROM_S: u64 = 30;

/// The smallest that a kernel gives: a client that stops reading is felt soon.
const RECEIVE_BUFFER_BYTES: usize = 4096;

pub(super) fn run(options: &Options, server: &Server) -> Result<Report, Error> {
    let others = options.clients();
    let mut crowd = invite(options, server, &vec![0; others as usize + 1])?;
    let slow = &mut crowd.clients[others as usize];
    slow.excused = true;
    slow.receive_buffer_bytes = Some(RECEIVE_BUFFER_BYTES);
    slow.seat.timed = false;
    crowd.gather(0..others as usize)?;

    // The metrics are read in both halves, so that they differ in nothing but the slow client.
    let watch = match server.internal {
        Some(addr) => {
            let before = Metrics::read(addr)?.labelled(CLOSES, SLOW);
            Some(Watch::start(addr, CLOSES, SLOW, before))
        }
        None => None,
    };
    let sending = Sending::plan(options, server, &mut crowd, others);
    let half_ns = sending.from_ns + (sending.until_ns - sending.from_ns) / 2;
    crowd.run_until(half_ns)?;
    crowd.gather(others as usize..others as usize + 1)?;
    crowd.clients[others as usize].stalled = true;
    let stalled = Instant::now();
    crowd.latency.begin_phase(crowd.now_ns());
    crowd.run_until(sending.until_ns)?;
    let spent = sending.spent(server, crowd.now_ns());

    let closed = match watch {
        Some(watch) => {
            while !watch.is_over() && stalled.elapsed() < CLOSED_WITHIN {
                crowd.run_until(crowd.now_ns() + 100 * MS_NS)?;
            }
            watch.end().map(|seen| seen.saturating_duration_since(stalled))
        }
        None => None,
    };
    crowd.wake(others);
    crowd.settle(options.patience())?;

    let mut report = Report::of(options, 1, &crowd, spent);
    let compare = options.seconds >= COMPARED_FROM_S;
    judge(&mut report, closed, server.internal.is_some(), compare);
    Ok(report)
}

fn judge(report: &mut Report, closed: Option<Duration>, has_metrics: bool, compare: bool) {
    let limit = CLOSED_WITHIN.as_secs();
    report.require(has_metrics, || {
        format!("{CLOSES}{{{SLOW}}} was not looked at, give --metrics-url")
    });
    report.require(!has_metrics || closed.is_some_and(|closed| closed <= CLOSED_WITHIN), || {
        format!("{CLOSES}{{{SLOW}}} did not count the slow client within {limit} s")
    });
    if let Some(closed) = closed {
        report.measured.insert("slow_client_closed_s", closed.as_secs_f64());
    }
    let [alone, beside] = report.phases[..] else {
        return report.wrong.push("the run has no second phase".to_owned());
    };
    let ratio = beside.p99_ms / alone.p99_ms;
    report.measured.insert("p99_ratio", ratio);
    report.require(alone.count > 0 && (ratio <= P99_RATIO_MAX || !compare), || {
        format!(
            "p99 beside the slow client is {:.3} ms, {ratio:.2} times the {:.3} ms without it, the limit is {P99_RATIO_MAX}",
            beside.p99_ms, alone.p99_ms
        )
    });
}
