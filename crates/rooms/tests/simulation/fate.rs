//! Fate: how small the limits are and how hostile the world is, drawn from the seed.
//!
//! Limits are tiny, so that what is rare in life is common here; what goes wrong differs from seed to
//! seed, so that each fault is also seen without the others.

use tertulia_rooms::limits::Limits;

use crate::limits::roomy;
use crate::random::Random;

/// How often what goes wrong, in a thousand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chances {
    /// News that never reach a shard.
    pub(crate) news_lost: u64,
    /// News that reach it twice.
    pub(crate) news_doubled: u64,
    /// News that are overtaken.
    pub(crate) news_late: u64,
    /// Commits that fail.
    pub(crate) commit_fails: u64,
    /// Commits that nobody is told of yet, and steps of that which wait for the next.
    pub(crate) told_late: u64,
    /// Lookups that fail.
    pub(crate) lookup_fails: u64,
    /// Tokens that cannot be judged at once.
    pub(crate) token_asked: u64,
    /// Commits that happen in the middle of a shard's turn.
    pub(crate) interrupted: u64,
    /// Turns that end without a write, and with drafts that are not handed in yet.
    pub(crate) unflushed: u64,
    /// Steps that cut a connection.
    pub(crate) cut: u64,
    /// Steps that crash the server.
    pub(crate) crash: u64,
    /// Crashes in which the disk loses what it promised to keep.
    pub(crate) lossy: u64,
    /// Steps that let it hand over.
    pub(crate) drain: u64,
    /// Steps that revoke a user's tokens.
    pub(crate) expel: u64,
    /// Steps that change who may hear what.
    pub(crate) manage: u64,
    /// Messages that another device of the user may say, too, under the same cid, maybe in other words.
    pub(crate) shared: u64,
    /// Steps that remove a room or make it anew.
    pub(crate) delete: u64,
    /// Clients that stop reading for a while.
    pub(crate) stall: u64,
}

impl Chances {
    /// Nothing goes wrong by itself.
    pub(crate) const NONE: Chances = Chances {
        news_lost: 0,
        news_doubled: 0,
        news_late: 0,
        commit_fails: 0,
        told_late: 0,
        lookup_fails: 0,
        token_asked: 0,
        interrupted: 0,
        unflushed: 0,
        cut: 0,
        crash: 0,
        lossy: 0,
        drain: 0,
        expel: 0,
        manage: 0,
        shared: 0,
        delete: 0,
        stall: 0,
    };

    /// Each fault is there in every second life.
    pub(crate) fn drawn(random: &mut Random) -> Chances {
        let mut maybe = |most: u64| match random.chance(500) {
            true => random.of(1..=most),
            false => 0,
        };
        Chances {
            news_lost: maybe(300),
            news_doubled: maybe(300),
            news_late: maybe(300),
            commit_fails: maybe(200),
            told_late: maybe(1000),
            lookup_fails: maybe(200),
            token_asked: maybe(1000),
            interrupted: maybe(500),
            unflushed: maybe(500),
            cut: maybe(40),
            crash: maybe(5),
            lossy: maybe(500),
            drain: maybe(2),
            expel: maybe(4),
            manage: maybe(150),
            shared: maybe(200),
            delete: maybe(10),
            stall: maybe(30),
        }
    }

    /// Whether every shard gets all news once and in order, so that a removal is heard where it stands.
    pub(crate) fn news_are_whole(&self) -> bool {
        self.news_lost + self.news_doubled + self.news_late == 0
    }
}

/// Limits so tight that everything that can be full is full at times.
pub(crate) fn tight(random: &mut Random) -> Limits {
    let mut of = |range| random.of(range) as usize;
    let page_max = of(2..=10) as u64;
    let outbound_bytes = of(400..=4000);
    let limits = Limits {
        body_bytes: of(40..=300),
        rooms_per_connection: of(5..=9),
        inflight: of(2..=16),
        page: of(1..=6) as u64,
        page_max,
        jump: of(3..=60) as u64,
        jump_max: 100,
        log_limit: of(1..=6) as u64,
        log_limit_max: 10,
        send_per_second: *random.pick(&[0, 0, 5]),
        send_burst: 3,
        command_per_second: *random.pick(&[0, 0, 10]),
        command_burst: 10,
        ..roomy()
    };
    let mut of = |range| random.of(range) as usize;
    Limits {
        outbound_bytes,
        outbound_objects: of(4..=64),
        cork_listeners: of(1..=3),
        deflate_from_bytes: outbound_bytes / 8,
        replay_bytes: of(100..=outbound_bytes as u64),
        slab_bytes: of(500..=50_000),
        tail_events: of(1..=20),
        tail_room_bytes: of(150..=4000),
        tail_bytes: 64 * of(150..=4000),
        slow_close_s: of(2..=10) as u64,
        ping_s: of(10..=25) as u64,
        connections_per_user: of(2..=5),
        commit_queue: of(4..=64),
        commit_batch: of(1..=16),
        shard_queue: of(2..=64),
        lookup_queue: of(1..=16),
        active_rooms: of(1..=8),
        membership_ttl_s: of(1..=60) as u64,
        head_check_ms: of(500..=2000) as u64,
        drain_s: 5,
        ..limits
    }
}
