//! Metrics: what the server counted, read from its internal address.

use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::http;

/// How often a watched metric is read: often enough to tell 30 s, too rare to be felt.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A page in the Prometheus text format.
pub(crate) struct Metrics {
    addr: SocketAddr,
    page: String,
}

impl Metrics {
    pub(crate) fn read(addr: SocketAddr) -> Result<Metrics, Error> {
        Ok(Metrics { addr, page: http::get(addr, "/metrics")? })
    }

    /// The sum over all series of `name` that carry `label`, written as on the page: `code="4202"`.
    ///
    /// A labelled series that never counted is absent, so no match is 0.
    pub(crate) fn labelled(&self, name: &str, label: &str) -> f64 {
        let carries = |labels: &str| labels.split(',').any(|one| one == label);
        self.series(name).filter(|(labels, _)| carries(labels)).map(|(_, value)| value).sum()
    }

    /// The sum over all series of `name`.
    pub(crate) fn total(&self, name: &str) -> Result<f64, Error> {
        let mut values = self.series(name).map(|(_, value)| value).peekable();
        if values.peek().is_none() {
            return Err(Error::NoMetric { addr: self.addr, name: name.to_owned() });
        }
        Ok(values.sum())
    }

    fn series(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        self.page.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, rest) = match rest.strip_prefix('{') {
                Some(rest) => rest.split_once('}')?,
                None => ("", rest),
            };
            // A longer name begins like this one, too.
            let value = rest.strip_prefix(' ')?.split(' ').next()?;
            Some((labels, value.parse().ok()?))
        })
    }
}

/// Reads the metrics again and again beside the run, until a counter has moved.
pub(crate) struct Watch {
    stop: SyncSender<()>,
    thread: JoinHandle<Option<Instant>>,
}

impl Watch {
    /// Watches for `name` with `label` to pass `from`.
    pub(crate) fn start(
        addr: SocketAddr,
        name: &'static str,
        label: &'static str,
        from: f64,
    ) -> Watch {
        let (stop, stopped) = mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let count = Metrics::read(addr).map_or(from, |page| page.labelled(name, label));
                if count > from {
                    return Some(Instant::now());
                }
            }
            None
        });
        Watch { stop, thread }
    }

    /// Whether the watch is over: the counter has moved.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends the watch: when did the counter move?
    pub(crate) fn end(self) -> Option<Instant> {
        // A thread that has already seen it is not there to hear this.
        let _ = self.stop.send(());
        self.thread.join().ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_name_and_label() {
        let page = "\
# HELP tertulia_closes Connections closed.
# TYPE tertulia_closes counter
tertulia_closes_total{code=\"1000\"} 7
tertulia_closes_total{code=\"4202\",shard=\"0\"} 1
tertulia_closes_total{code=\"4202\",shard=\"1\"} 2
tertulia_closes_total_more 9
tertulia_membership_hits_total 40
# EOF
";
        let addr = SocketAddr::from(([127, 0, 0, 1], 9090));
        let metrics = Metrics { addr, page: page.to_owned() };
        assert_eq!(metrics.labelled("tertulia_closes_total", "code=\"4202\""), 3.0);
        assert_eq!(metrics.labelled("tertulia_closes_total", "code=\"4203\""), 0.0);
        assert_eq!(metrics.total("tertulia_closes_total").unwrap(), 10.0);
        assert_eq!(metrics.total("tertulia_membership_hits_total").unwrap(), 40.0);
        let missing = metrics.total("tertulia_membership_misses_total").unwrap_err();
        assert!(missing.to_string().contains("tertulia_membership_misses_total"), "{missing}");
    }
}
