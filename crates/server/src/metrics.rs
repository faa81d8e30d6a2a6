//! Metrics: what happened, how long it took, and how full everything is.
//!
//! Counted where it happens, by whoever does it, and added up only when someone looks. No room and no
//! user is ever a label, so the number of series does not grow with them.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State as Extract;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use tertulia_rooms::counters::{BUCKETS, Count, Counters, Histogram, Verb};

use crate::state::{App, State};

/// `GET /metrics`, on the internal listener.
pub(crate) async fn scrape(Extract(app): Extract<App>) -> Response {
    let mut registry = Registry::with_prefix("tertulia");
    registry.register_collector(Box::new(Scrape(app)));
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &registry).is_err() {
        return axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

/// One look at everything.
struct Scrape(App);

impl std::fmt::Debug for Scrape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), Error> {
        let app = &*self.0;
        verbs(&mut out, &app.counters)?;
        counters(&mut out, app)?;
        gauges(&mut out, app)?;
        labelled(&mut out, app)?;
        process(&mut out)
    }
}

type Out<'a> = DescriptorEncoder<'a>;

fn verbs(out: &mut Out<'_>, counters: &[Arc<Counters>]) -> Result<(), Error> {
    for verb in Verb::ALL {
        let mut totals = [0; BUCKETS];
        let mut sum_ns = 0;
        for set in counters {
            let histogram = set.verb(verb);
            totals.iter_mut().zip(histogram.buckets()).for_each(|(total, n)| *total += n);
            sum_ns += histogram.sum_ns();
        }
        let mut buckets = Vec::with_capacity(BUCKETS);
        for (bucket, n) in totals.into_iter().enumerate() {
            let bound = Histogram::bound_s(bucket);
            buckets.push((if bound.is_finite() { bound } else { f64::MAX }, n));
        }
        let name = format!("{}_seconds", verb.as_str());
        let help = "Time of one step on a message's way";
        let mut metric = out.encode_descriptor(&name, help, None, MetricType::Histogram)?;
        let count = totals.iter().sum();
        metric.encode_histogram::<NoLabelSet>(sum_ns as f64 / 1e9, count, &buckets, None)?;
    }
    Ok(())
}

fn counter(out: &mut Out<'_>, name: &str, help: &str, value: u64) -> Result<(), Error> {
    let mut metric = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn gauge(out: &mut Out<'_>, name: &str, help: &str, value: u64) -> Result<(), Error> {
    let mut metric = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
    metric.encode_gauge(&(value as i64))
}

fn total(app: &State, of: impl Fn(&Counters) -> &Count) -> u64 {
    app.counters.iter().map(|set| of(set).get()).sum()
}

fn counters(out: &mut Out<'_>, app: &State) -> Result<(), Error> {
    let mut put = |name, help, value| counter(out, name, help, value);
    put(
        "membership_hits",
        "Authorisations answered from memory",
        total(app, |c| &c.membership_hits),
    )?;
    put(
        "membership_misses",
        "Authorisations that had to ask the store",
        total(app, |c| &c.membership_misses),
    )?;
    put("lags", "Rooms detached because a connection did not drain", total(app, |c| &c.lags))?;
    put("gaps", "Times a shard missed news and read on from the log", total(app, |c| &c.gaps))?;
    put("signals_dropped", "Signals dropped for want of room", total(app, |c| &c.signals_dropped))?;
    put("sent_bytes", "Bytes given to the kernel", total(app, |c| &c.sent_bytes))?;
    let saved = total(app, |c| &c.deflate_saved_bytes);
    put("deflate_saved_bytes", "Bytes that compression kept off the network", saved)?;
    put("writes", "Writes asked of the kernel", total(app, |c| &c.writes))?;
    put("commits", "Transactions made", total(app, |c| &c.commits))?;
    put("commit_failures", "Transactions that failed", total(app, |c| &c.commit_failures))?;
    put("commit_rows", "Rows written by transactions", total(app, |c| &c.rows))?;
    put("events", "Events stored", total(app, |c| &c.events))?;
    put("dups", "Sends that were there already", total(app, |c| &c.dups))?;
    let queries = &app.library.queries;
    put("reader_lookups", "Lookups read for shards", queries.lookups.load(Relaxed))?;
    put("reader_shared", "Reads that another one answered", queries.shared.load(Relaxed))?;
    let turned_away = app.entrance.turned_away.load(Relaxed);
    put("turned_away", "Connections closed at once, their address had too many", turned_away)?;
    put("upgrades", "Upgrades granted", app.upgrades.accepted.load(Relaxed) as u64)?;
    put("upgrades_refused", "Upgrades refused", app.upgrades.refused.load(Relaxed) as u64)
}

fn gauges(out: &mut Out<'_>, app: &State) -> Result<(), Error> {
    let (rooms, tail_bytes) = app.shared.hub.size();
    let mut put = |name, help, value| gauge(out, name, help, value);
    put("connections", "Connections that are open", total(app, |c| &c.connections))?;
    put("http_connections", "Connections over HTTP, clients' alone", app.entrance.taken() as u64)?;
    put("rooms", "Rooms that someone hears, once a shard", total(app, |c| &c.rooms))?;
    put("listeners", "Attachments of connections to rooms", total(app, |c| &c.listeners))?;
    put("outbound_bytes", "Bytes that wait for connections", total(app, |c| &c.outbound_bytes))?;
    put("hub_rooms", "Rooms known to the hub", rooms as u64)?;
    put("tail_bytes", "Newest events held in memory", tail_bytes as u64)?;
    put("slab_bytes", "Events held in memory in all", app.shared.hub.gauge().bytes() as u64)?;
    put("membership_entries", "Memberships at hand", app.shared.cache.len() as u64)?;
    put("people", "Users who are connected or spoke of late", app.shared.people.len() as u64)?;
    put("commit_queue_depth", "Drafts waiting for a commit", app.drafts.len() as u64)?;
    put("lookup_queue_depth", "Lookups waiting for a reader", app.library.waiting() as u64)?;
    put("wal_bytes", "Bytes of the write-ahead log", app.store.wal_bytes())?;
    put("ready", "Whether this server wants work", u64::from(app.health.is_ready()))
}

fn labelled(out: &mut Out<'_>, app: &State) -> Result<(), Error> {
    let help = "Things waiting for a shard";
    let mut metric = out.encode_descriptor("shard_queue_depth", help, None, MetricType::Gauge)?;
    for (shard, inbox) in app.shared.hub.inboxes().iter().enumerate() {
        let label = [("shard", shard.to_string())];
        metric.encode_family(&label)?.encode_gauge(&(inbox.queue.len() as i64))?;
    }
    let help = "Connections closed by the server, by code";
    let mut metric = out.encode_descriptor("closes", help, None, MetricType::Counter)?;
    for (place, close) in tertulia_protocol::Close::ALL.iter().enumerate() {
        let counts = app.counters.iter().filter_map(|set| set.closes().nth(place));
        let closes: u64 = counts.map(|(_, n)| n).sum();
        let label = [("code", close.number().to_string())];
        metric.encode_family(&label)?.encode_counter::<NoLabelSet, _, u64>(&closes, None)?;
    }
    let help = "Commands refused, by code";
    let mut metric = out.encode_descriptor("refusals", help, None, MetricType::Counter)?;
    for (place, code) in tertulia_protocol::Code::ALL.into_iter().enumerate() {
        let counts = app.counters.iter().filter_map(|set| set.refusals().nth(place));
        let refusals: u64 = counts.map(|(_, n)| n).sum();
        let label = [("code", code.as_str())];
        metric.encode_family(&label)?.encode_counter::<NoLabelSet, _, u64>(&refusals, None)?;
    }
    let queries = &app.library.queries;
    let help = "Reads of the database, by kind";
    let mut metric = out.encode_descriptor("reader_queries", help, None, MetricType::Counter)?;
    for (kind, count) in
        [("standing", &queries.standing), ("page", &queries.page), ("other", &queries.other)]
    {
        let label = [("kind", kind)];
        let count = count.load(Relaxed);
        metric.encode_family(&label)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    let help = "What is running";
    let mut metric = out.encode_descriptor("build", help, None, MetricType::Info)?;
    let durability = app.config.store.durability.as_str();
    metric.encode_info(&[("version", env!("CARGO_PKG_VERSION")), ("durability", durability)])
}

/// What the kernel says of this process.
fn process(out: &mut Out<'_>) -> Result<(), Error> {
    let page_bytes = rustix::param::page_size() as u64;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    gauge(out, "resident_bytes", "Memory in use", resident.unwrap_or(0) * page_bytes)?;
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64);
    gauge(out, "open_files", "Descriptors in use", open)?;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    gauge(out, "open_files_max", "Descriptors there may be", limit.unwrap_or(u64::MAX >> 1))?;
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let millis = used.tv_sec as u64 * 1000 + used.tv_nsec as u64 / 1_000_000;
    counter(out, "cpu_milliseconds", "Processor time used", millis)
}
