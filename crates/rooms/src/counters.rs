//! Counters: what happened how often and how long it took, one set a thread.
//!
//! Each set has one writer, so a count is a load and a store, never a locked instruction; readers add the
//! sets up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tertulia_protocol::{Close, Code};

/// The eight verbs of a message's way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// A WebSocket message came in: from the socket's bytes to its text.
    Receive,
    /// One object of it was read.
    Decode,
    /// It was decided whether someone may hear a room, read its log or signal in it, lookups included: one
    /// a room that `hello` names, one a `sub`, `log`, `typing` or `signal`.
    Authorise,
    /// A draft of a connection was put into the commit queue, or found no room there.
    Submit,
    /// A draft was dealt with: from the queue to durable, or refused.
    Commit,
    /// An event was handed to the shards after its commit.
    Publish,
    /// An event was queued for one connection that hears it live: since its commit. Those that are read from
    /// the log are not counted.
    Deliver,
    /// The last byte of an object was given to the kernel: since the turn began in which that happened.
    Send,
}

impl Verb {
    /// Every verb, in the order of the way.
    pub const ALL: [Verb; 8] = [
        Verb::Receive,
        Verb::Decode,
        Verb::Authorise,
        Verb::Submit,
        Verb::Commit,
        Verb::Publish,
        Verb::Deliver,
        Verb::Send,
    ];

    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Receive => "receive",
            Verb::Decode => "decode",
            Verb::Authorise => "authorise",
            Verb::Submit => "submit",
            Verb::Commit => "commit",
            Verb::Publish => "publish",
            Verb::Deliver => "deliver",
            Verb::Send => "send",
        }
    }
}

/// One number with one writer.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// `n` less.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).saturating_sub(n), Relaxed);
    }

    /// That is how it is now.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Buckets of a histogram: powers of two from a microsecond to half a minute, and one for the rest.
pub const BUCKETS: usize = 26;

/// How long something took, in buckets.
pub struct Histogram {
    buckets: [Count; BUCKETS],
    sum_ns: Count,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: std::array::from_fn(|_| Count::default()), sum_ns: Count::default() }
    }
}

impl Histogram {
    /// `times` things took `each_ns`.
    pub fn observe(&self, each_ns: u64, times: u64) {
        if times > 0 {
            let micros = each_ns.div_ceil(1000).max(1);
            let bucket = (64 - (micros - 1).leading_zeros()) as usize;
            self.buckets[bucket.min(BUCKETS - 1)].add(times);
            self.sum_ns.add(each_ns.saturating_mul(times));
        }
    }

    /// The upper bound of a bucket in seconds; the last has none.
    pub fn bound_s(bucket: usize) -> f64 {
        if bucket + 1 == BUCKETS { f64::INFINITY } else { (1u64 << bucket) as f64 / 1e6 }
    }

    /// How many fell into each bucket.
    pub fn buckets(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|bucket| self.buckets[bucket].get())
    }

    /// All the time together.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns.get()
    }
}

/// What one thread counts.
#[derive(Default)]
pub struct Counters {
    verbs: [Histogram; 8],
    refusals: [Count; Code::ALL.len()],
    closes: [Count; Close::ALL.len()],
    /// Connections that are open.
    pub connections: Count,
    /// Rooms that someone here hears.
    pub rooms: Count,
    /// Attachments of connections to rooms.
    pub listeners: Count,
    /// Authorisations answered from memory.
    pub membership_hits: Count,
    /// Authorisations that had to ask the store.
    pub membership_misses: Count,
    /// Rooms detached because a connection did not drain.
    pub lags: Count,
    /// Batches that a shard missed because its queue was full.
    pub gaps: Count,
    /// Signals that were dropped for want of room.
    pub signals_dropped: Count,
    /// Bytes given to the kernel.
    pub sent_bytes: Count,
    /// Bytes that did not have to be sent because they went compressed.
    pub deflate_saved_bytes: Count,
    /// Writes asked of the kernel.
    pub writes: Count,
    /// Bytes that wait for connections.
    pub outbound_bytes: Count,
    /// Transactions made.
    pub commits: Count,
    /// Transactions that failed.
    pub commit_failures: Count,
    /// Events stored.
    pub events: Count,
    /// Rows written.
    pub rows: Count,
    /// Drafts that were there already.
    pub dups: Count,
}

impl Counters {
    /// The histogram of `verb`.
    pub fn verb(&self, verb: Verb) -> &Histogram {
        &self.verbs[verb as usize]
    }

    /// A command was refused.
    pub fn refused(&self, code: Code) {
        self.refusals[code as usize].add(1);
    }

    /// A connection was closed by us.
    pub fn closed(&self, close: Close) {
        let place = Close::ALL.iter().position(|known| *known == close);
        self.closes[place.expect("ALL holds every code")].add(1);
    }

    /// Refusals by code.
    pub fn refusals(&self) -> impl Iterator<Item = (Code, u64)> {
        Code::ALL.into_iter().map(|code| (code, self.refusals[code as usize].get()))
    }

    /// Closes by code.
    pub fn closes(&self) -> impl Iterator<Item = (Close, u64)> {
        Close::ALL.iter().zip(&self.closes).map(|(close, count)| (*close, count.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_puts_each_time_below_its_bound() {
        let histogram = Histogram::default();
        for (micros, bucket) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1 << 24, 24)] {
            let before = histogram.buckets()[bucket];
            histogram.observe(micros * 1000, 3);
            assert_eq!(histogram.buckets()[bucket], before + 3, "{micros} µs");
            assert!(micros as f64 / 1e6 <= Histogram::bound_s(bucket));
        }
        histogram.observe(u64::MAX, 1);
        assert_eq!(histogram.buckets()[BUCKETS - 1], 1);
        histogram.observe(1, 0);
        assert_eq!(histogram.buckets().iter().sum::<u64>(), 22);
    }
}
