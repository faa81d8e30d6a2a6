//! Fan-out: one turn of one side, a crowd in one room that is told what some of it say.

use std::collections::BTreeMap;
use std::time::Duration;

use tertulia_proof::report::Report;

use super::herd::{Heard, Herd};
use super::side::{Side, Yard};
use super::{drift, median, spent};
use crate::error::Error;
use crate::limit::store;

/// Beyond this share of its processor the load side itself makes messages wait: latencies say nothing.
const LOAD_SHARE_MAX: f64 = 0.85;

/// What is told of latencies; the last one is the longest.
pub(crate) const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

/// What is sent by whom.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) members: usize,
    pub(crate) senders: usize,
    pub(crate) body_bytes: usize,
    pub(crate) pace: Pace,
    pub(crate) time: Duration,
}

#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// So many messages outstanding.
    Outstanding(u64),
    /// So many messages a second, whatever comes back.
    ASecond(u64),
}

/// What a turn showed.
#[derive(Clone, Copy)]
pub(crate) struct Shown {
    /// Of the server, for each delivery.
    pub(crate) cpu_us: f64,
    pub(crate) per_second: f64,
    pub(crate) per_read: f64,
    pub(crate) frame_bytes: f64,
    /// Latencies at [`QUANTILES`].
    pub(crate) latency_us: [f64; QUANTILES.len()],
    /// Messages that came twice, late or not behind the one before.
    pub(crate) faults: u64,
    pub(crate) load_share: f64,
    /// Deliveries of a write, and messages of a commit; only ours can be asked.
    pub(crate) per_write: f64,
    pub(crate) batch: f64,
}

impl Shown {
    pub(crate) fn p50_us(&self) -> f64 {
        self.latency_us[0]
    }

    pub(crate) fn p99_us(&self) -> f64 {
        self.latency_us[2]
    }

    /// The payload of a frame, its header excluded.
    pub(crate) fn payload_bytes(&self) -> usize {
        let frame = self.frame_bytes.round() as usize;
        if frame > 127 { frame - 4 } else { frame - 2 }
    }
}

/// One turn of one side.
pub(crate) fn turn(
    yard: &Yard,
    side: Side,
    load: Load,
    report: &mut Report,
) -> Result<Shown, Error> {
    let running = yard.start(side, load.members)?;
    let dialect = running.dialect.clone();
    let mut herd =
        Herd::gather(running.addr, dialect, load.members, load.senders, load.body_bytes)?;
    herd.send(load.pace, load.time / 5)?;
    let count = |series: &str| running.server.as_ref().map_or(0, |server| server.metric(series));
    let counts =
        || ["tertulia_writes_total", "tertulia_commits_total", "tertulia_events_total"].map(count);
    let before = counts();
    let cpu = spent::cpu(running.pid);
    let heard = herd.send(load.pace, load.time)?;
    let cpu = spent::cpu(running.pid) - cpu;
    let after = counts();
    let [writes, commits, events] = std::array::from_fn(|n| (after[n] - before[n]) as f64);
    let Heard { faults, refused, .. } = heard;
    report.expect(faults + refused == 0, || {
        format!("{}: {faults} out of order, {refused} refused", side.name())
    });
    let deliveries = heard.deliveries as f64;
    let us = |quantile| heard.latency.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Shown {
        cpu_us: cpu.as_secs_f64() * 1e6 / deliveries,
        per_second: deliveries / heard.took.as_secs_f64(),
        per_read: deliveries / heard.reads.max(1) as f64,
        frame_bytes: heard.frame_bytes as f64 / deliveries,
        latency_us: QUANTILES.map(us),
        faults,
        load_share: heard.cpu.as_secs_f64() / heard.took.as_secs_f64(),
        per_write: deliveries / writes,
        batch: events / commits,
    })
}

/// What all turns showed.
#[derive(Default)]
pub(crate) struct Turns {
    /// By the name of the side.
    sides: BTreeMap<&'static str, Vec<Shown>>,
    /// Of the bare store that ran beside them.
    stores: Vec<store::Took>,
}

impl Turns {
    pub(crate) fn add(&mut self, side: Side, shown: Shown) {
        self.add_as(side.name(), shown);
    }

    /// Under another name, where a side ran in more than one way.
    pub(crate) fn add_as(&mut self, name: &'static str, shown: Shown) {
        self.sides.entry(name).or_default().push(shown);
    }

    pub(crate) fn add_store(&mut self, took: store::Took) {
        self.stores.push(took);
    }

    /// The median of a figure of the bare store.
    pub(crate) fn of_store(&self, figure: fn(&store::Took) -> f64) -> f64 {
        median(&mut self.stores.iter().map(figure).collect::<Vec<f64>>())
    }

    /// The median of a figure of a side.
    pub(crate) fn of(&self, name: &str, figure: impl Fn(&Shown) -> f64) -> f64 {
        let turns = self.sides.get(name).into_iter().flatten();
        median(&mut turns.map(figure).collect::<Vec<f64>>())
    }

    /// A row of the report's table for each side, behind `case`.
    pub(crate) fn tell(&self, case: &str, report: &mut Report) {
        for name in self.sides.keys() {
            let of = |figure: fn(&Shown) -> f64| self.of(name, figure);
            let mut put =
                |column, value| report.case(&format!("{case}, {name}"), "", column, value);
            put("CPU µs/delivery", of(|one| one.cpu_us));
            put("deliveries/s", of(|one| one.per_second).round());
            put("deliveries/read", of(|one| one.per_read));
            put("bytes/delivery", of(|one| one.frame_bytes));
            put("p50 µs", of(Shown::p50_us));
            put("p99 µs", of(Shown::p99_us));
            put("p99.9 µs", of(|one| one.latency_us[3]));
            put("longest µs", of(|one| one.latency_us[4]));
            put("load CPU", of(|one| one.load_share));
            let (per_write, batch) = (of(|one| one.per_write), of(|one| one.batch));
            if per_write.is_finite() {
                put("deliveries/write", per_write);
                put("messages/commit", batch);
            }
        }
    }

    /// How far a side's cost moved while the turns went on; see [`super::goals::DRIFT_MAX`].
    pub(crate) fn drift(&self, side: Side) -> f64 {
        let turns = self.sides.get(side.name()).into_iter().flatten();
        drift(&turns.map(|one| one.cpu_us).collect::<Vec<f64>>())
    }

    /// Draws the latencies of each side, from the median to the longest.
    pub(crate) fn draw_latencies(&self, report: &mut Report) {
        for name in self.sides.keys() {
            for place in 0..QUANTILES.len() {
                let us = self.of(name, |one| one.latency_us[place]);
                let plot = "latency in µs at p50, p90, p99, p99.9 and the longest";
                report.point(&format!("{plot} | {name}"), place as f64, us);
            }
        }
    }

    /// Whether the latencies of a side say anything.
    pub(crate) fn is_void(&self, name: &str) -> bool {
        self.of(name, |one| one.load_share) > LOAD_SHARE_MAX
    }
}
