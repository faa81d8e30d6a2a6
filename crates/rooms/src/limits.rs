//! Bounds: every size, rate and time that the rooms keep to, as plain numbers.
//!
//! Defaults and reasons stand with the settings; here the values are only obeyed.

/// What the rooms keep to. Bytes are bytes, times say their unit.
#[derive(Clone, PartialEq, Debug)]
pub struct Limits {
    /// Most bytes of a client's reassembled message.
    pub frame_bytes: usize,
    /// Most bytes of the `d` of a send.
    pub body_bytes: usize,
    /// Most rooms attached on one connection.
    pub rooms_per_connection: usize,
    /// Most commands of one connection without an answer.
    pub inflight: usize,
    /// How long the answer to a cid is kept.
    pub dedup_s: u64,
    /// Events of a replay page, unless asked otherwise.
    pub page: u64,
    /// Most events of a replay page.
    pub page_max: u64,
    /// Events that may be missed without a hole, unless asked otherwise.
    pub jump: u64,
    /// Most events that may be missed without a hole.
    pub jump_max: u64,
    /// Events of a `log` answer, unless asked otherwise.
    pub log_limit: u64,
    /// Most events of a `log` answer.
    pub log_limit_max: u64,
    /// Sends a user may make each second over all sockets; 0 = no limit.
    pub send_per_second: u32,
    /// Sends a user may make at once after a silence.
    pub send_burst: u32,
    /// Other commands a connection may give each second; 0 = no limit.
    pub command_per_second: u32,
    /// Other commands a connection may give at once after a silence.
    pub command_burst: u32,
    /// Most bytes that wait for one connection.
    pub outbound_bytes: usize,
    /// Most objects that wait for one connection.
    pub outbound_objects: usize,
    /// From so many listeners here, a room's events wait for those of a commit that is under way.
    pub cork_listeners: usize,
    /// From so many bytes, replies and events of a room go compressed to those who agreed on that.
    pub deflate_from_bytes: usize,
    /// Bytes of one replay that wait for one connection at a time.
    pub replay_bytes: usize,
    /// Most bytes of events held in memory because someone has yet to hear them.
    pub slab_bytes: usize,
    /// Most events of a room's tail in memory.
    pub tail_events: usize,
    /// Most bytes of a room's tail in memory.
    pub tail_room_bytes: usize,
    /// Most bytes of all tails.
    pub tail_bytes: usize,
    /// Nothing drains for so long: the connection is closed.
    pub slow_close_s: u64,
    /// Time to say hello.
    pub hello_s: u64,
    /// Seconds of silence after which the server pings, unless asked otherwise.
    pub ping_s: u64,
    /// Most connections of one user.
    pub connections_per_user: usize,
    /// Most connections of one shard.
    pub connections_per_shard: usize,
    /// Most drafts waiting for a commit, those being committed not counted.
    pub commit_queue: usize,
    /// Most drafts of one commit.
    pub commit_batch: usize,
    /// Most batches waiting for one shard.
    pub shard_queue: usize,
    /// Most lookups waiting for a reader.
    pub lookup_queue: usize,
    /// Most rooms whose state the committer keeps at hand.
    pub active_rooms: usize,
    /// How long a membership is believed.
    pub membership_ttl_s: u64,
    /// Most memberships kept at hand.
    pub membership_entries: usize,
    /// Most rooms one user may make.
    pub rooms_per_user: u64,
    /// Time between two typing signals of a user in a room.
    pub typing_every_ms: u64,
    /// Time after which someone who does not renew types no more.
    pub typing_ttl_ms: u64,
    /// Heads are compared so often, for a last event that was lost.
    pub head_check_ms: u64,
    /// Time over which a drain spreads its closes.
    pub drain_s: u64,
}

/// Bounds for tests: none of them in the way.
#[cfg(test)]
pub(crate) fn for_tests() -> Limits {
    Limits {
        frame_bytes: 65_536,
        body_bytes: 16_384,
        rooms_per_connection: 1000,
        inflight: 64,
        dedup_s: 604_800,
        page: 256,
        page_max: 1000,
        jump: 2000,
        jump_max: 100_000,
        log_limit: 256,
        log_limit_max: 1000,
        send_per_second: 0,
        send_burst: 100,
        command_per_second: 0,
        command_burst: 1000,
        outbound_bytes: 262_144,
        outbound_objects: 4096,
        cork_listeners: 2,
        deflate_from_bytes: 512,
        replay_bytes: 65_536,
        slab_bytes: 1 << 27,
        tail_events: 512,
        tail_room_bytes: 262_144,
        tail_bytes: 1 << 26,
        slow_close_s: 10,
        hello_s: 10,
        ping_s: 25,
        connections_per_user: 64,
        connections_per_shard: 10_000,
        commit_queue: 8192,
        commit_batch: 1024,
        shard_queue: 4096,
        lookup_queue: 32_768,
        active_rooms: 10_000,
        membership_ttl_s: 300,
        membership_entries: 1000,
        rooms_per_user: 100,
        typing_every_ms: 3000,
        typing_ttl_ms: 8000,
        head_check_ms: 5000,
        drain_s: 20,
    }
}
