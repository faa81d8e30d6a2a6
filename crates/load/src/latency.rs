//! Latency: from when something was to be sent until it was acked and until it came.
//!
//! The scheduled time counts, not the time of writing, so a server that holds a sender back does not look
//! faster for it.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency that is told apart; anything above counts as this.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Latencies of a run, apart for each of its phases.
pub(crate) struct Latency {
    phases: Vec<Phase>,
}

struct Phase {
    /// Messages scheduled from then on belong here.
    from_ns: u64,
    ack: Histogram<u64>,
    delivery: Histogram<u64>,
}

impl Phase {
    fn from(from_ns: u64) -> Phase {
        Phase { from_ns, ack: histogram(), delivery: histogram() }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are in order")
}

impl Latency {
    pub(crate) fn new() -> Latency {
        Latency { phases: vec![Phase::from(0)] }
    }

    /// Begins a phase with the messages that are scheduled from `from_ns` on.
    pub(crate) fn begin_phase(&mut self, from_ns: u64) {
        self.phases.push(Phase::from(from_ns));
    }

    fn phase(&mut self, at_ns: u64) -> Option<&mut Phase> {
        self.phases.iter_mut().rev().find(|phase| phase.from_ns <= at_ns)
    }

    pub(crate) fn acked(&mut self, at_ns: u64, now_ns: u64) {
        if let Some(phase) = self.phase(at_ns) {
            phase.ack.saturating_record(now_ns.saturating_sub(at_ns) / 1_000);
        }
    }

    pub(crate) fn delivered(&mut self, at_ns: u64, now_ns: u64) {
        if let Some(phase) = self.phase(at_ns) {
            phase.delivery.saturating_record(now_ns.saturating_sub(at_ns) / 1_000);
        }
    }

    /// Acks over all phases.
    pub(crate) fn ack(&self) -> Quantiles {
        Quantiles::over(self.phases.iter().map(|phase| &phase.ack))
    }

    /// Deliveries over all phases.
    pub(crate) fn delivery(&self) -> Quantiles {
        Quantiles::over(self.phases.iter().map(|phase| &phase.delivery))
    }

    /// Deliveries of each phase.
    pub(crate) fn deliveries(&self) -> Vec<Quantiles> {
        self.phases.iter().map(|phase| Quantiles::over([&phase.delivery])).collect()
    }
}

/// What is told of a histogram.
#[derive(Clone, Copy, Serialize, Debug)]
pub(crate) struct Quantiles {
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

impl Quantiles {
    fn over<'a>(parts: impl IntoIterator<Item = &'a Histogram<u64>>) -> Quantiles {
        let mut all = histogram();
        for part in parts {
            all.add(part).expect("all have the same bounds");
        }
        let ms = |us: u64| us as f64 / 1_000.0;
        Quantiles {
            count: all.len(),
            p50_ms: ms(all.value_at_quantile(0.50)),
            p99_ms: ms(all.value_at_quantile(0.99)),
            p999_ms: ms(all.value_at_quantile(0.999)),
            max_ms: ms(all.max()),
        }
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quantiles { p50_ms, p99_ms, p999_ms, max_ms, .. } = self;
        write!(f, "p50 {p50_ms:.3}, p99 {p99_ms:.3}, p99.9 {p999_ms:.3}, max {max_ms:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_counts_in_the_phase_it_was_scheduled_in() {
        let mut latency = Latency::new();
        latency.delivered(10, 2_000_010);
        latency.begin_phase(50);
        latency.delivered(49, 1_000_049);
        latency.delivered(50, 8_000_050);
        let [first, second] = latency.deliveries()[..] else { panic!("two phases") };
        assert_eq!((first.count, second.count), (2, 1));
        assert!((first.max_ms - 2.0).abs() < 0.01 && (second.p50_ms - 8.0).abs() < 0.01);
        assert_eq!(latency.delivery().count, 3);
    }
}
