//! Server: the pieces that a crash takes away. What was committed is not among them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tertulia_protocol::Epoch;
use tertulia_rooms::commit::Committer;
use tertulia_rooms::counters::Counters;
use tertulia_rooms::hub::{Hub, News};
use tertulia_rooms::limits::Limits;
use tertulia_rooms::membership::Membership;
use tertulia_rooms::people::People;
use tertulia_rooms::shard::{Inbox, Input, Shard, Shared};
use tertulia_rooms::slab::Gauge;
use tertulia_store::{Memory, Store};

/// Shards of every server here: two are enough for one to know what the other does not.
pub(crate) const SHARDS: usize = 2;

/// What is gone after a crash.
pub(crate) struct Server {
    pub(crate) shards: Vec<Shard>,
    pub(crate) counters: Vec<Arc<Counters>>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) people: Arc<People>,
    pub(crate) cache: Arc<Membership>,
    /// Inputs on their way to each shard.
    pub(crate) coming: Vec<Vec<Input>>,
    /// News that are overtaken.
    pub(crate) late: Vec<Vec<Arc<News>>>,
}

/// The name of a new life.
pub(crate) fn next_epoch(epochs: &AtomicU64) -> Epoch {
    let number = epochs.fetch_add(1, Ordering::Relaxed);
    Epoch::parse(&format!("e{number}")).expect("it is a letter and digits")
}

/// A server on what is stored.
pub(crate) fn start(
    memory: &Memory,
    limits: &Arc<Limits>,
    epochs: &Arc<AtomicU64>,
    now_ns: u64,
) -> (Server, Committer) {
    let store = Store::in_memory(memory);
    let inbox = |_| Arc::new(Inbox::new(limits.shard_queue, || ()));
    let hub = Arc::new(Hub::new(limits, (0..SHARDS).map(inbox).collect(), Gauge::default()));
    let ttl = Duration::from_secs(limits.membership_ttl_s);
    let cache = Arc::new(Membership::new(limits.membership_entries, ttl));
    let people = Arc::new(People::default());
    let shared = Shared {
        hub: hub.clone(),
        cache: cache.clone(),
        people: people.clone(),
        limits: limits.clone(),
    };
    let counters: Vec<Arc<Counters>> = (0..=SHARDS).map(|_| Arc::default()).collect();
    let shard = |id| Shard::new(id, &shared, counters[id].clone(), now_ns);
    let shards = (0..SHARDS).map(shard).collect();
    let epochs = epochs.clone();
    let epoch = move || next_epoch(&epochs);
    let committer = Committer::new(
        store.writer().expect("memory is always there"),
        hub.clone(),
        cache.clone(),
        limits.clone(),
        counters[SHARDS].clone(),
        Box::new(epoch),
    );
    let committer = committer.expect("no fault is planted now");
    let lists = || (0..SHARDS).map(|_| Vec::new()).collect();
    let late = (0..SHARDS).map(|_| Vec::new()).collect();
    (Server { shards, counters, hub, people, cache, coming: lists(), late }, committer)
}
