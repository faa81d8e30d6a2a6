//! Table: every setting, what it may be, and why it is what it is. The one place.

use std::net::SocketAddr;
use std::path::PathBuf;

use tertulia_rooms::hub::SHARDS_MAX;
use tertulia_store::Durability;

use super::kind::{Kind, LogFormat, Secret};
use super::list::{AuthKey, Origin};
use super::setting::Bounds::{Form, Range, Secret as Hidden, Words};
use super::setting::{Setting, sections};
use super::typed::Typed;

const ADDRESS: &str = "an IP address and a port, like 127.0.0.1:8080";
const SWITCH: &str = "true or false";
const FOLDER: &str = "a path";
const TEXT: &str = "a text";

sections! {
    #[doc = "Where it listens, where it keeps its data, what it tells the operator."]
    server: Server {
        listen: SocketAddr = "127.0.0.1:8080", "address", Form(ADDRESS),
            "This machine alone, until someone decides who else may come in.";
        admin_listen: SocketAddr = "127.0.0.1:9090", "address", Form(ADDRESS),
            "The internal listener, for metrics and health; it has no sign-in, so it stands where no client can reach it.";
        data: PathBuf = "./data", "directory", Form(FOLDER),
            "Everything that must survive is in here; made if it is not there.";
        allowed_origins: Vec<Origin> = [], "origins",
            Form("exact origins, like https://app.example"),
            "Pages from the server's own origin are always allowed; `*` never is, since then any page could act as its visitor.";
        shards: usize = 0, "threads", Range(0, SHARDS_MAX as u64),
            "Threads that own connections; 0 = one for each core.";
        readers: usize = 2, "threads", Range(1, 64),
            "Threads that read the database; a disk seldom serves more at once.";
        dev: bool = false, "switch", Form(SWITCH),
            "Sign-in without an application, for development; on loopback it is there anyway.";
        deflate: bool = true, "switch", Form(SWITCH),
            "Clients that offer permessage-deflate get what is long compressed, once for all who hear a room and while there is processor time for it.";
        drain_seconds: u64 = 20, "s", Range(0, 3_600),
            "Connections are handed over so slowly that another server can take them; below the 30 s after which most supervisors kill.";
        log_format: LogFormat = "auto", "word", Words(&["auto", "text", "json"]),
            "Text for people on a terminal, JSON for machines; auto looks which it is.";
        log_level: tracing::Level = "info", "word", Words(&["error", "warn", "info", "debug", "trace"]),
            "A few lines a minute; debug has one for each command.";
    }

    #[doc = "What an acknowledgement promises."]
    store: Storage {
        durability: Durability = "fsync", "word", Words(&["fsync", "os", "memory"]),
            "fsync survives a power cut, os a killed process, memory nothing.";
    }

    #[doc = "Whose tokens are believed."]
    auth: Auth {
        hs256_secret: Option<Secret> = none, "secret", Hidden(32),
            "Shared with an application that signs its own tokens; if it is not set, the server makes one of its own in `DATA/secret`.";
        keys: Vec<AuthKey> = [], "list",
            Form("tables of alg (RS256, ES256 or EdDSA), pem or pem_file, and maybe kid and issuer"),
            "Public keys of those who sign tokens; each key does one algorithm, whatever a token says.";
        jwks_url: Option<reqwest::Url> = none, "URL", Form("an https URL, or an http one on this machine"),
            "Where an identity provider publishes its keys; never taken from a token.";
        jwks_refresh_s: u64 = 600, "s", Range(10, 86_400),
            "How old the published keys may get; an unknown key is asked for at once, at most every 10 s.";
        issuer: Option<String> = none, "text", Form(TEXT),
            "The `iss` that tokens must have; a key with an issuer of its own goes by that.";
        audience: Option<String> = none, "text", Form(TEXT),
            "The `aud` that tokens must have, so that a token for another service is of no use here.";
        user_claim: String = "sub", "text", Form(TEXT),
            "The claim that names the user.";
    }

    #[doc = "How much, how many, how long: every queue, size and rate has its bound here."]
    limits: Limits {
        frame_bytes: usize = 65_536, "bytes", Range(16_384, 1_048_576),
            "A client's message in full; four largest bodies, and never below what hello may need.";
        body_bytes: usize = 16_384, "bytes", Range(1, 524_288),
            "The body of a message; some ten pages of text, larger things belong into files.";
        rooms_per_connection: usize = 1_000, "rooms", Range(1, 100_000),
            "Rooms attached on one connection; each costs memory and a place in the fan-out.";
        inflight: usize = 64, "commands", Range(1, 4_096),
            "Commands of a connection without an answer; as many as one WebSocket message may carry.";
        dedup_s: u64 = 604_800, "s", Range(604_800, 31_536_000),
            "How long a repeated cid gets its first answer; a phone may be away for a week.";
        page: u64 = 256, "events", Range(1, 1_000),
            "Events of one replay; a few screens.";
        page_max: u64 = 1_000, "events", Range(1, 1_000),
            "Most events of one replay that a client may ask for; the protocol's bound.";
        jump: u64 = 2_000, "events", Range(0, 100_000),
            "Events missed beyond which a client jumps to the head and keeps a hole.";
        jump_max: u64 = 100_000, "events", Range(0, 100_000),
            "Most missed events that a client may ask to have replayed; the protocol's bound.";
        log_limit: u64 = 256, "events", Range(1, 1_000),
            "Events of one log answer.";
        log_limit_max: u64 = 1_000, "events", Range(1, 1_000),
            "Most events of one log answer that a client may ask for.";
        send_per_second: u32 = 20, "1/s", Range(0, 1_000_000),
            "Sends of a user over all connections; faster than anyone types; 0 = no limit.";
        send_burst: u32 = 100, "sends", Range(1, 1_000_000),
            "Sends of a user at once after a silence; a reconnecting client empties its queue.";
        command_per_second: u32 = 200, "1/s", Range(0, 1_000_000),
            "Other commands of a connection; 0 = no limit.";
        command_burst: u32 = 1_000, "commands", Range(1, 1_000_000),
            "Other commands at once after a silence; a client attaches all its rooms when it starts.";
        outbound_bytes: usize = 262_144, "bytes", Range(16_384, 1_073_741_824),
            "What may wait for one connection; four of the largest messages, so one slow read is forgiven.";
        outbound_objects: usize = 4_096, "objects", Range(16, 1_048_576),
            "Objects that may wait for one connection; bounds the bookkeeping where they are small.";
        cork_listeners: usize = 16, "listeners", Range(1, 1_000_000),
            "From so many listeners of a room in a shard its events wait for those of a commit that is under way, and while it was told less than a millisecond ago; a millisecond at most. Each is saved a write, and of fewer it saves little.";
        deflate_from_bytes: usize = 512, "bytes", Range(64, 1_048_576),
            "From so many bytes, replies and the events of a room go compressed to clients that offered it; what is shorter takes a packet in either form.";
        replay_bytes: usize = 65_536, "bytes", Range(1, 1_048_576),
            "Replay that waits for one connection at a time; it goes on as the socket drains.";
        slab_bytes: usize = 134_217_728, "bytes", Range(65_536, 1_099_511_627_776),
            "Events held in memory because someone has yet to hear them; beyond it the slowest read again from the log.";
        tail_events: usize = 512, "events", Range(1, 1_048_576),
            "Newest events of a room in memory; most replays find what they need there.";
        tail_room_bytes: usize = 262_144, "bytes", Range(1, 1_073_741_824),
            "Bytes of the newest events of one room, so that large ones do not crowd out other rooms.";
        tail_bytes: usize = 67_108_864, "bytes", Range(1, 1_099_511_627_776),
            "Bytes of the newest events of all rooms; the least recently used go first.";
        slow_close_s: u64 = 10, "s", Range(1, 600),
            "A connection that takes nothing for so long is closed; its resume loses nothing.";
        hello_s: u64 = 10, "s", Range(1, 60),
            "Time to say hello; a connection of nobody is kept no longer.";
        ping_s: u64 = 25, "s", Range(10, 60),
            "Silence after which the server pings; below the 30 s after which some routers forget a connection.";
        connections_per_user: usize = 64, "connections", Range(1, 1_000_000),
            "Connections of one user; many devices with many tabs each.";
        connections_per_shard: usize = 10_000, "connections", Range(1, 1_000_000),
            "Connections of one shard; beyond it the upgrade is refused before it costs anything.";
        connections_per_address: usize = 1_000, "connections", Range(1, 1_000_000),
            "Connections from one address, loopback excepted; an office behind one router fits.";
        unauthenticated_per_address: usize = 100, "connections", Range(1, 1_000_000),
            "Connections from one address that have not said hello, loopback excepted.";
        header_seconds: u64 = 10, "s", Range(1, 60),
            "Time to send the head of a request; who is slower holds a connection for nothing.";
        body_seconds: u64 = 10, "s", Range(1, 60),
            "Time to send the body of a request; the largest one over a slow phone.";
        http_seconds: u64 = 30, "s", Range(1, 3_600),
            "Time after which a connection over HTTP takes no more requests, and the same again to answer the last one; a WebSocket has left HTTP by then.";
        http_connections: usize = 8_192, "connections", Range(16, 1_000_000),
            "Connections over HTTP at once, WebSockets not counted; each may hold 128 KiB of a request, and those beyond wait to be let in.";
        http_connections_per_address: usize = 1_000, "connections", Range(1, 1_000_000),
            "The same from one address, loopback excepted; an office behind one router fits, and what is beyond is closed.";
        send_buffer_bytes: usize = 131_072, "bytes", Range(4_096, 16_777_216),
            "The system's buffer of one connection; bounded, so that a reader who stops is noticed in time.";
        http_body_bytes: usize = 65_536, "bytes", Range(16_384, 16_777_216),
            "The body of an HTTP request; as much as a message over a WebSocket.";
        token_ttl_max_s: u64 = 86_400, "s", Range(60, 31_536_000),
            "Longest life of a token that this server signs; what is stolen ends within a day.";
        commit_queue: usize = 8_192, "drafts", Range(1, 1_048_576),
            "Drafts waiting for a commit; beyond it senders are told to wait.";
        commit_batch: usize = 1_024, "drafts", Range(1, 65_536),
            "Drafts of one commit; a larger one only makes the first of them wait longer.";
        shard_queue: usize = 4_096, "batches", Range(1, 1_048_576),
            "Batches waiting for one shard; beyond it the shard reads on from the log.";
        lookup_queue: usize = 32_768, "lookups", Range(1, 1_048_576),
            "Lookups waiting for a reader; everyone of two full shards may come back at once, beyond it clients are told to wait.";
        active_rooms: usize = 10_000, "rooms", Range(1, 10_000_000),
            "Rooms whose state is kept at hand, about a KiB each; the others are read when they are used.";
        membership_ttl_s: u64 = 300, "s", Range(1, 3_600),
            "How long a membership is believed; changes are heard of at once, this is for the ones that were not.";
        membership_entries: usize = 200_000, "memberships", Range(1, 100_000_000),
            "Memberships kept at hand; about 30 MB.";
        rooms_per_user: u64 = 100, "rooms", Range(0, 1_000_000),
            "Rooms one user may make; applications with a key have no such bound.";
        typing_every_ms: u64 = 3_000, "ms", Range(1, 60_000),
            "Time between two typing signals of a user in a room.";
        typing_ttl_ms: u64 = 8_000, "ms", Range(1, 120_000),
            "Time after which someone who does not renew types no more; two signals may get lost.";
        head_check_ms: u64 = 5_000, "ms", Range(1, 60_000),
            "Heads are compared so often, for a last event that was lost on the way.";
    }
}

/// Pairs of which the first must not be above the second.
pub(super) const ORDERED: &[(&str, &str)] = &[
    ("limits.body_bytes", "limits.frame_bytes"),
    ("limits.body_bytes", "limits.http_body_bytes"),
    ("limits.frame_bytes", "limits.outbound_bytes"),
    ("limits.replay_bytes", "limits.outbound_bytes"),
    ("limits.outbound_bytes", "limits.slab_bytes"),
    ("limits.page", "limits.page_max"),
    ("limits.jump", "limits.jump_max"),
    ("limits.log_limit", "limits.log_limit_max"),
    ("limits.tail_room_bytes", "limits.tail_bytes"),
    ("limits.commit_batch", "limits.commit_queue"),
    ("limits.typing_every_ms", "limits.typing_ttl_ms"),
    ("limits.unauthenticated_per_address", "limits.connections_per_address"),
    ("limits.header_seconds", "limits.http_seconds"),
    ("limits.body_seconds", "limits.http_seconds"),
    ("limits.http_connections_per_address", "limits.http_connections"),
];
