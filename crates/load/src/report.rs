//! Report: what a run amounts to, for a person, for a machine, and in one line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::crowd::Crowd;
use crate::latency::Quantiles;
use crate::options::Options;
use crate::verdict::{Sort, Verdict, judge};

/// Above this share of a core the load side itself makes messages wait.
const OWN_CPU_MAX: f64 = 0.85;

/// All that is told of a run.
#[derive(Serialize, Debug)]
pub(crate) struct Report {
    pub(crate) scenario: &'static str,
    pub(crate) durability: &'static str,
    pub(crate) seed: u64,
    /// How long messages were sent.
    pub(crate) seconds: f64,
    pub(crate) clients: u32,
    pub(crate) rooms: u32,
    /// Messages of a sender in a second.
    pub(crate) rate: f64,
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) refused: u64,
    pub(crate) unacked: u64,
    /// Refusals that asked for patience, each followed by the same send or `sub`.
    pub(crate) retries: u64,
    /// Deliveries.
    pub(crate) expected: u64,
    pub(crate) seen: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) disordered: u64,
    pub(crate) crossed: u64,
    /// Messages that nobody of the crowd sent.
    pub(crate) strange: u64,
    pub(crate) lags: u64,
    /// Times that a resume was answered with `reset` or `hole`.
    pub(crate) breaks: u64,
    /// Connections that we cut.
    pub(crate) cuts: u64,
    /// Connections that the server ended though nothing asked for it.
    pub(crate) closes: BTreeMap<u64, u64>,
    pub(crate) ack: Quantiles,
    pub(crate) delivery: Quantiles,
    /// Deliveries of each phase, for a scenario that has more than one.
    pub(crate) phases: Vec<Quantiles>,
    /// Of one core.
    pub(crate) own_cpu_share: f64,
    pub(crate) server_cpu_share: Option<f64>,
    /// The load side was the bottleneck: the latencies are void.
    pub(crate) saturated: bool,
    pub(crate) reads: u64,
    pub(crate) read_bytes: u64,
    pub(crate) frames: u64,
    /// What the scenario measured besides.
    pub(crate) measured: BTreeMap<&'static str, f64>,
    /// What must not be so, in words; empty = all is well.
    pub(crate) wrong: Vec<String>,
}

/// CPU time spent and time gone by while messages were sent.
#[derive(Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) time: Duration,
    pub(crate) own_cpu: Duration,
    pub(crate) server_cpu: Option<Duration>,
}

impl Report {
    /// Judges a run. Scenarios add what only they want.
    pub(crate) fn of(options: &Options, rooms: u32, crowd: &Crowd, spent: Spent) -> Report {
        let Crowd { journal, latency, traffic, .. } = crowd;
        let Verdict { expected, seen, faults } = judge(journal);
        let share = |cpu: Duration| cpu.as_secs_f64() / spent.time.as_secs_f64();
        let own_cpu_share = share(spent.own_cpu);
        let sum = |count: fn(&crate::seat::Seat) -> u64| {
            crowd.clients.iter().map(|client| count(&client.seat)).sum()
        };
        let mut report = Report {
            scenario: options.scenario.word(),
            durability: options.durability.word(),
            seed: options.seed,
            seconds: spent.time.as_secs_f64(),
            clients: options.clients(),
            rooms,
            rate: options.rate(),
            sent: journal.messages.len() as u64,
            acked: journal.acked,
            refused: journal.refused,
            unacked: journal.unanswered(),
            retries: sum(|seat| seat.retries),
            expected,
            seen,
            lost: faults.count(Sort::Lost),
            doubled: faults.count(Sort::Doubled),
            disordered: faults.count(Sort::Disordered),
            crossed: faults.count(Sort::Crossed),
            strange: journal.strange,
            lags: sum(|seat| seat.lags),
            breaks: sum(|seat| seat.breaks),
            cuts: crowd.cuts,
            closes: crowd.closes.clone(),
            ack: latency.ack(),
            delivery: latency.delivery(),
            phases: latency.deliveries(),
            own_cpu_share,
            server_cpu_share: spent.server_cpu.map(share),
            saturated: own_cpu_share > OWN_CPU_MAX,
            reads: traffic.reads,
            read_bytes: traffic.read_bytes,
            frames: traffic.frames,
            measured: BTreeMap::new(),
            wrong: faults.told().iter().map(ToString::to_string).collect(),
        };
        report.judge_counts(crowd);
        report
    }

    fn judge_counts(&mut self, crowd: &Crowd) {
        if self.expected == 0 {
            self.wrong.push("nothing was expected: no message was stored".to_owned());
        }
        let last_words = crowd.clients.iter().find_map(|client| client.seat.last_err.as_deref());
        let last_words = last_words.map(|words| format!(", such as {words:?}")).unwrap_or_default();
        for (count, what) in [
            (self.unacked, "sends have no answer"),
            (self.refused, "sends were refused"),
            (self.strange, "messages were nobody's"),
            (self.breaks, "resumes were answered with reset or hole"),
        ] {
            if count > 0 {
                self.wrong.push(format!("{count} {what}{last_words}"));
            }
        }
        if !self.closes.is_empty() {
            let closes: u64 = self.closes.values().sum();
            let words = crowd.last_words.as_deref().unwrap_or("no words");
            self.wrong.push(format!("{closes} connections were closed by the server: {words}"));
        }
    }

    /// Whether nothing was wrong.
    pub(crate) fn is_good(&self) -> bool {
        let Report { lost, doubled, disordered, crossed, .. } = self;
        self.wrong.is_empty() && lost + doubled + disordered + crossed == 0
    }

    /// Adds what must not be so.
    pub(crate) fn require(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(otherwise());
        }
    }

    /// For a person.
    pub(crate) fn table(&self) -> String {
        let Report { sent, acked, expected, seen, .. } = self;
        let mut page = String::new();
        let mut row = |name: &str, value: String| {
            // Writing to memory cannot fail.
            let _ = writeln!(page, "{name:<22}{value}");
        };
        row(
            "scenario",
            format!(
                "{}: {} clients, {} rooms, {} messages a second each, {:.1} s, {}, seed {}",
                self.scenario,
                self.clients,
                self.rooms,
                self.rate,
                self.seconds,
                self.durability,
                self.seed
            ),
        );
        row(
            "sends",
            format!(
                "{sent} sent, {acked} acked, {} unacked, {} refused, {} retried",
                self.unacked, self.refused, self.retries
            ),
        );
        row("deliveries", format!("{expected} expected, {seen} seen"));
        row(
            "faults",
            format!(
                "{} lost, {} doubled, {} disordered, {} crossed",
                self.lost, self.doubled, self.disordered, self.crossed
            ),
        );
        let closes: u64 = self.closes.values().sum();
        row(
            "connections",
            format!("{} cut by us, {closes} closed by the server, {} lags", self.cuts, self.lags),
        );
        for (name, it) in [("ack ms", &self.ack), ("delivery ms", &self.delivery)] {
            row(name, it.to_string());
        }
        if self.phases.len() > 1 {
            for (k, it) in self.phases.iter().enumerate() {
                row(&format!("  phase {}", k + 1), it.to_string());
            }
        }
        let per_read = self.frames as f64 / self.reads.max(1) as f64;
        let per_frame = self.read_bytes as f64 / self.frames.max(1) as f64;
        row("reading", format!("{per_read:.2} frames a read, {per_frame:.0} bytes a frame"));
        let server = self.server_cpu_share.map(|share| format!(", server {:.0} %", share * 100.0));
        row(
            "CPU of a core",
            format!("load {:.0} %{}", self.own_cpu_share * 100.0, server.unwrap_or_default()),
        );
        for (name, value) in &self.measured {
            row(name, format!("{value}"));
        }
        if self.saturated {
            row("void", "the load side was the bottleneck, the latencies say nothing".to_owned());
        }
        for wrong in &self.wrong {
            row("wrong", wrong.clone());
        }
        page
    }

    /// For `grep`: always the last line.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} clients={} expected={} seen={} lost={} doubled={} disordered={} crossed={} unacked={} \
             p50_ms={:.3} p99_ms={:.3} durability={} saturated={} verdict={}",
            self.scenario,
            self.clients,
            self.expected,
            self.seen,
            self.lost,
            self.doubled,
            self.disordered,
            self.crossed,
            self.unacked,
            self.delivery.p50_ms,
            self.delivery.p99_ms,
            self.durability,
            self.saturated,
            if self.is_good() { "good" } else { "wrong" },
        )
    }
}
