//! Fan-out: sides with a crowd each, in one room that is told what some of it say. They are measured by turns, or
//! beside each other in rounds.

use std::collections::BTreeMap;
use std::time::Duration;

use tertulia_proof::report::Report;

use super::herd::{Heard, Herd};
use super::side::{Running, Side, Yard};
use super::{median, spent};
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

/// What a side showed in one stretch.
#[derive(Clone, Copy, Default)]
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

/// A side with its crowd: all are in, and it can be measured again and again.
pub(crate) struct Entrant {
    name: &'static str,
    running: Running,
    herd: Herd,
    load: Load,
}

impl Entrant {
    /// Starts a side and lets its crowd in.
    pub(crate) fn start(yard: &Yard, side: Side, load: Load) -> Result<Entrant, Error> {
        Entrant::of(side.name(), yard.start(side, load.members)?, load)
    }

    /// Under another name, where a side runs in more than one way.
    pub(crate) fn named(self, name: &'static str) -> Entrant {
        Entrant { name, ..self }
    }

    /// Lets the crowd of what runs in, and has it warm up.
    pub(crate) fn of(name: &'static str, running: Running, load: Load) -> Result<Entrant, Error> {
        let Load { members, senders, body_bytes, .. } = load;
        let dialect = running.dialect.clone();
        let mut herd = Herd::gather(running.addr, dialect, members, senders, body_bytes)?;
        herd.send(load.pace, load.time / 5)?;
        Ok(Entrant { name, running, herd, load })
    }

    /// What it shows while the crowd talks for so long.
    pub(crate) fn measure(&mut self, time: Duration, report: &mut Report) -> Result<Shown, Error> {
        let server = self.running.server.as_ref();
        let count = |series: &str| server.map_or(0, |server| server.metric(series));
        let counts = || {
            ["tertulia_writes_total", "tertulia_commits_total", "tertulia_events_total"].map(count)
        };
        let before = counts();
        let cpu = spent::cpu(self.running.pid);
        let heard = self.herd.send(self.load.pace, time)?;
        let cpu = spent::cpu(self.running.pid) - cpu;
        let after = counts();
        let [writes, commits, events] = std::array::from_fn(|n| (after[n] - before[n]) as f64);
        let Heard { faults, refused, .. } = heard;
        report.expect(faults + refused == 0, || {
            format!("{}: {faults} out of order, {refused} refused", self.name)
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
}

/// One turn of one side.
pub(crate) fn turn(
    yard: &Yard,
    side: Side,
    load: Load,
    report: &mut Report,
) -> Result<Shown, Error> {
    Entrant::start(yard, side, load)?.measure(load.time, report)
}

/// What one turn or several showed.
#[derive(Default)]
pub(crate) struct Turns {
    /// By the name of the side.
    sides: BTreeMap<&'static str, Vec<Shown>>,
    /// Of the bare store that ran beside them.
    stores: Vec<store::Took>,
}

impl Turns {
    pub(crate) fn add(&mut self, side: Side, shown: Shown) {
        self.sides.entry(side.name()).or_default().push(shown);
    }

    pub(crate) fn add_store(&mut self, took: store::Took) {
        self.stores.push(took);
    }

    /// Processor time of the bare store for a message.
    pub(crate) fn store_us(&self) -> f64 {
        self.of_store(|took| took.cpu_us_per_message)
    }

    /// Of its commits.
    pub(crate) fn store_p99_us(&self) -> f64 {
        self.of_store(|took| took.p99_us)
    }

    /// Messages of its commits.
    pub(crate) fn store_batch(&self) -> f64 {
        self.of_store(|took| took.messages as f64 / took.commits as f64)
    }

    fn of_store(&self, figure: fn(&store::Took) -> f64) -> f64 {
        median(&mut self.stores.iter().map(figure).collect::<Vec<f64>>())
    }

    /// The median of a figure of a side.
    pub(crate) fn of(&self, name: &str, figure: impl Fn(&Shown) -> f64) -> f64 {
        let turns = self.sides.get(name).into_iter().flatten();
        median(&mut turns.map(figure).collect::<Vec<f64>>())
    }

    /// The largest figure of a side.
    pub(crate) fn most(&self, name: &str, figure: impl Fn(&Shown) -> f64) -> f64 {
        self.sides.get(name).into_iter().flatten().map(figure).fold(f64::NAN, f64::max)
    }

    /// A row of the report's table for each side, behind `case`. Latencies that say nothing are no numbers.
    pub(crate) fn tell(&self, case: &str, report: &mut Report) {
        for name in self.sides.keys() {
            let of = |figure: fn(&Shown) -> f64| self.of(name, figure);
            let mut put =
                |column, value| report.case(&format!("{case}, {name}"), "", column, value);
            put("CPU µs/delivery", of(|one| one.cpu_us));
            put("deliveries/s", of(|one| one.per_second).round());
            put("deliveries/read", of(|one| one.per_read));
            put("bytes/delivery", of(|one| one.frame_bytes));
            let is_void = self.is_void(name);
            let us = |figure| if is_void { f64::NAN } else { of(figure) };
            put("p50 µs", us(Shown::p50_us));
            put("p99 µs", us(Shown::p99_us));
            put("p99.9 µs", us(|one| one.latency_us[3]));
            put("longest µs", us(|one| one.latency_us[4]));
            put("load CPU", of(|one| one.load_share));
            let (per_write, batch) = (of(|one| one.per_write), of(|one| one.batch));
            if per_write.is_finite() {
                put("deliveries/write", per_write);
                put("messages/commit", batch);
            }
        }
    }

    /// Measures those who run beside each other one after the other, so often and for so long each time. What
    /// makes the machine slower for a while, as others who use it do, makes it slower for all of them.
    pub(crate) fn rounds(
        &mut self,
        entrants: &mut [Entrant],
        times: usize,
        time: Duration,
        report: &mut Report,
    ) -> Result<(), Error> {
        for _ in 0..times {
            for entrant in &mut *entrants {
                let shown = entrant.measure(time, report)?;
                self.sides.entry(entrant.name).or_default().push(shown);
            }
        }
        Ok(())
    }

    /// The median, over the rounds, of what `ratio` makes of the cost of a delivery of those sides.
    pub(crate) fn by_rounds(&self, names: &[&str], ratio: impl Fn(&[f64]) -> f64) -> f64 {
        let sides: Option<Vec<&Vec<Shown>>> =
            names.iter().map(|name| self.sides.get(name)).collect();
        let sides = sides.unwrap_or_default();
        let rounds = sides.iter().map(|shown| shown.len()).min().unwrap_or(0);
        let ratios = (0..rounds).map(|round| {
            ratio(&sides.iter().map(|shown| shown[round].cpu_us).collect::<Vec<f64>>())
        });
        median(&mut ratios.collect::<Vec<f64>>())
    }

    /// All of them together.
    pub(crate) fn of_all(turns: Vec<Turns>) -> Turns {
        let mut all = Turns::default();
        for turn in turns {
            for (name, shown) in turn.sides {
                all.sides.entry(name).or_default().extend(shown);
            }
            all.stores.extend(turn.stores);
        }
        all
    }

    /// Draws what some sides cost, one time after the other.
    pub(crate) fn draw_costs(&self, case: &str, names: &[&str], report: &mut Report) {
        for name in names {
            for (time, one) in self.sides.get(name).into_iter().flatten().enumerate() {
                let plot = format!("CPU µs a delivery, each time: {case} | {name}");
                report.point(&plot, (time + 1) as f64, one.cpu_us);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Side = Side::Copy { payload_bytes: 0 };

    #[test]
    fn a_machine_that_slows_down_for_a_while_changes_no_ratio_of_a_round() {
        let mut turn = Turns::default();
        for cpu_us in [1.0, 1.0, 2.0, 2.0, 4.0] {
            turn.add(LIMIT, Shown { cpu_us, ..Shown::default() });
            turn.add(Side::Bun, Shown { cpu_us: 3.0 * cpu_us, ..Shown::default() });
        }
        let beside = |names: &[&str]| turn.by_rounds(names, |us| us[0] / us[1]);
        assert_eq!(beside(&[Side::Bun.name(), LIMIT.name()]), 3.0);
        assert_eq!(turn.of(Side::Bun.name(), |one| one.cpu_us), 6.0);
        assert!(beside(&[Side::Ws.name(), LIMIT.name()]).is_nan(), "nobody measured it");
    }
}
