//! Replies: what a server says to one connection, as bytes.
//!
//! Every function writes one object without a line break. The order of the keys is fixed, so that a
//! golden vector can name every byte.

use crate::code::{Close, Code};
use crate::command::CommandId;
use crate::id::{Epoch, RoomId, Seq, SessionId, UserId};
use crate::line::{Line, put_list};
use crate::role::{Role, RoomKind};

/// What a `sub` was answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attached {
    /// The life of the log.
    pub epoch: Epoch,
    /// Replay begins behind this number.
    pub base: Seq,
    /// Replay ends with this number.
    pub upto: Seq,
    /// The newest event.
    pub head: Seq,
    /// The oldest event kept; head + 1 if none is.
    pub first: Seq,
    /// Messages so far.
    pub n: u64,
    /// What the user may do.
    pub role: Role,
    /// The client's copy is of another life.
    pub reset: bool,
    /// Events between the client's and `base` are not replayed.
    pub hole: bool,
    /// Not attached: `sub` again from `upto`.
    pub more: bool,
}

/// What a `send` was answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The life of the log.
    pub epoch: Epoch,
    /// The event's number.
    pub seq: Seq,
    /// Messages so far, on messages.
    pub n: Option<u64>,
    /// When it was committed, ms since 1970 UTC.
    pub ts: u64,
    /// It was there already.
    pub dup: bool,
}

/// What a server tells in `hello`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Promised {
    /// Most bytes of a client's message.
    pub frame: u64,
    /// Most bytes of a `d`.
    pub msg: u64,
    /// Most attached rooms.
    pub rooms: u64,
    /// Most commands without an answer.
    pub inflight: u64,
    /// How long a cid is remembered.
    pub dedup_s: u64,
    /// Events of a page unless asked otherwise.
    pub page: u64,
    /// Events that may be missed without a hole unless asked otherwise.
    pub jump: u64,
}

/// A room as its members see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoomShown {
    /// Its name on the wire.
    pub id: RoomId,
    /// Who sees it.
    pub kind: RoomKind,
    /// What people call it.
    pub name: Option<Box<str>>,
    /// The life of its log.
    pub epoch: Epoch,
    /// The newest event.
    pub head: Seq,
    /// Messages so far.
    pub n: u64,
    /// What the user may do; absent for the application itself.
    pub role: Option<Role>,
}

/// `ok` with nothing in it.
pub fn put_ok(out: &mut Vec<u8>, id: CommandId) {
    ok(out, id).end();
}

fn ok(out: &mut Vec<u8>, id: CommandId) -> Line<'_> {
    Line::of(out, "ok").number("id", u64::from(id))
}

/// `err`, with the id that it answers and the time after which to try again.
pub fn put_err(
    out: &mut Vec<u8>,
    id: Option<CommandId>,
    code: Code,
    msg: &str,
    retry_ms: Option<u64>,
) {
    Line::of(out, "err")
        .maybe_number("id", id.map(u64::from))
        .word("code", code.as_str())
        .text("msg", msg)
        .maybe_number("retry_ms", retry_ms)
        .end();
}

/// The answer to `hello`.
pub struct HelloOk<'a> {
    /// Who the connection acts as.
    pub user: &'a UserId,
    /// The session in force.
    pub session: SessionId,
    /// The server's clock, ms since 1970 UTC.
    pub now: u64,
    /// Seconds of silence after which the server pings.
    pub ping_s: u64,
    /// Optional commands and signals that are there.
    pub feat: &'a [&'a str],
    /// Bounds.
    pub limits: Promised,
    /// What became of each room that was asked for.
    pub rooms: &'a [(RoomId, Result<Attached, Denied>)],
}

/// Why a room of a `hello` is not heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Denied {
    /// What is in the way.
    pub code: Code,
    /// When to ask again; absent if asking again is of no use.
    pub retry_ms: Option<u64>,
}

impl HelloOk<'_> {
    /// Writes the answer.
    pub fn put(&self, out: &mut Vec<u8>, id: CommandId) {
        ok(out, id)
            .word("user", self.user.as_str())
            .word("session", self.session.as_str())
            .number("now", self.now)
            .number("ping_s", self.ping_s)
            .put("feat", |out| {
                put_list(out, self.feat, |out, word| {
                    out.push(b'"');
                    out.extend_from_slice(word.as_bytes());
                    out.push(b'"');
                });
            })
            .put("limits", |out| {
                Line::open(out)
                    .number("frame", self.limits.frame)
                    .number("msg", self.limits.msg)
                    .number("rooms", self.limits.rooms)
                    .number("inflight", self.limits.inflight)
                    .number("dedup_s", self.limits.dedup_s)
                    .number("page", self.limits.page)
                    .number("jump", self.limits.jump)
                    .end();
            })
            .put("rooms", |out| {
                let mut line = Line::open(out);
                for (room, result) in self.rooms {
                    line = line.put(room.as_str(), |out| match result {
                        Ok(attached) => attached.put_fields(Line::open(out)).end(),
                        Err(denied) => Line::open(out)
                            .word("code", denied.code.as_str())
                            .maybe_number("retry_ms", denied.retry_ms)
                            .end(),
                    });
                }
                line.end();
            })
            .end();
    }
}

impl Attached {
    /// The answer to `sub`.
    pub fn put(&self, out: &mut Vec<u8>, id: CommandId) {
        self.put_fields(ok(out, id)).end();
    }

    fn put_fields<'a>(&self, line: Line<'a>) -> Line<'a> {
        line.word("epoch", self.epoch.as_str())
            .number("base", self.base)
            .number("upto", self.upto)
            .number("head", self.head)
            .number("first", self.first)
            .number("n", self.n)
            .word("role", self.role.as_str())
            .flag("reset", self.reset)
            .flag("hole", self.hole)
            .flag("more", self.more)
    }
}

impl Stored {
    /// The answer to `send`.
    pub fn put(&self, out: &mut Vec<u8>, id: CommandId) {
        self.put_fields(ok(out, id)).end();
    }

    /// The fields alone, for an answer over HTTP.
    pub fn put_fields<'a>(&self, line: Line<'a>) -> Line<'a> {
        line.word("epoch", self.epoch.as_str())
            .number("seq", self.seq)
            .maybe_number("n", self.n)
            .number("ts", self.ts)
            .flag("dup", self.dup)
    }
}

/// The answer to `auth`: when the new token ends, in ms since 1970 UTC, and the roles that it changed, if any.
pub fn put_auth_ok(out: &mut Vec<u8>, id: CommandId, exp: u64, roles: &[(RoomId, Option<Role>)]) {
    let line = ok(out, id).number("exp", exp);
    if roles.is_empty() {
        return line.end();
    }
    line.put("roles", |out| {
        let mut line = Line::open(out);
        for (room, role) in roles {
            line = match role {
                Some(role) => line.word(room.as_str(), role.as_str()),
                None => line.raw(room.as_str(), b"null"),
            };
        }
        line.end();
    })
    .end();
}

/// The answer to `log`. `events` are stored lines joined by commas.
pub struct LogOk<'a> {
    /// The life of the log.
    pub epoch: Epoch,
    /// The events, as they are stored, joined by commas.
    pub events: &'a [u8],
    /// The newest event.
    pub head: Seq,
    /// The oldest event kept.
    pub first: Seq,
    /// There are more in the range that was asked for.
    pub more: bool,
}

impl LogOk<'_> {
    /// Writes the answer.
    pub fn put(&self, out: &mut Vec<u8>, id: CommandId) {
        self.put_fields(ok(out, id)).end();
    }

    /// The fields alone, for an answer over HTTP.
    pub fn put_fields<'a>(&self, line: Line<'a>) -> Line<'a> {
        line.word("epoch", self.epoch.as_str())
            .put("evs", |out| {
                out.push(b'[');
                out.extend_from_slice(self.events);
                out.push(b']');
            })
            .number("head", self.head)
            .number("first", self.first)
            .flag("more", self.more)
    }
}

impl RoomShown {
    /// Writes the room as an object.
    pub fn put(&self, out: &mut Vec<u8>) {
        self.start(out).maybe_word("role", self.role.map(Role::as_str)).end();
    }

    fn start<'a>(&self, out: &'a mut Vec<u8>) -> Line<'a> {
        self.put_name(Line::open(out))
            .word("epoch", self.epoch.as_str())
            .number("head", self.head)
            .number("n", self.n)
    }

    fn put_name<'a>(&self, line: Line<'a>) -> Line<'a> {
        let line = line.word("id", self.id.as_str()).word("kind", self.kind.as_str());
        match &self.name {
            Some(name) => line.text("name", name),
            None => line,
        }
    }

    /// Writes the room with all that is known of it.
    pub fn put_whole(&self, out: &mut Vec<u8>, d: Option<&str>, members: u64) {
        let mut line = self.put_name(Line::open(out));
        if let Some(d) = d {
            line = line.raw("d", d.as_bytes());
        }
        line.word("epoch", self.epoch.as_str())
            .number("head", self.head)
            .number("n", self.n)
            .number("members", members)
            .maybe_word("role", self.role.map(Role::as_str))
            .end();
    }
}

/// The answer to `rooms`.
pub fn put_rooms_ok(out: &mut Vec<u8>, id: CommandId, rooms: &[RoomShown], more: bool) {
    put_rooms(ok(out, id), rooms, more).end();
}

/// The fields of the answer to `rooms`, for an answer over HTTP, too.
pub fn put_rooms<'a>(line: Line<'a>, rooms: &[RoomShown], more: bool) -> Line<'a> {
    line.put("rooms", |out| put_list(out, rooms, |out, room| room.put(out))).flag("more", more)
}

/// The answer to `room` with `get`.
pub fn put_room_ok(
    out: &mut Vec<u8>,
    id: CommandId,
    room: &RoomShown,
    d: Option<&str>,
    members: u64,
) {
    ok(out, id)
        .word("epoch", room.epoch.as_str())
        .put("room", |out| room.put_whole(out, d, members))
        .end();
}

/// The answer to every other `room` command.
pub fn put_changed_ok(
    out: &mut Vec<u8>,
    id: CommandId,
    epoch: Option<Epoch>,
    seq: Option<Seq>,
    dup: bool,
) {
    ok(out, id)
        .maybe_word("epoch", epoch.as_ref().map(Epoch::as_str))
        .maybe_number("seq", seq)
        .flag("dup", dup)
        .end();
}

/// The answer to a client's `ping`, with the heads of the attached rooms if it asked for them.
///
/// Without an id the answer is an object without one: nothing refers to it.
pub fn put_pong(
    out: &mut Vec<u8>,
    id: CommandId,
    now: u64,
    heads: Option<impl Iterator<Item = (RoomId, Epoch, Seq)>>,
) {
    let line = ok(out, id).number("now", now);
    match heads {
        None => line,
        Some(heads) => line.put("heads", |out| {
            let mut line = Line::open(out);
            for (room, epoch, head) in heads {
                line = line.put(room.as_str(), |out| {
                    out.extend_from_slice(b"[\"");
                    out.extend_from_slice(epoch.as_str().as_bytes());
                    out.extend_from_slice(b"\",");
                    out.extend_from_slice(itoa::Buffer::new().format(head).as_bytes());
                    out.push(b']');
                });
            }
            line.end();
        }),
    }
    .end();
}

/// A signal of `room`: the same bytes for everyone who hears it.
pub fn put_signal(out: &mut Vec<u8>, room: &RoomId, kind: &str, d: &[u8]) {
    Line::of(out, "sig").word("room", room.as_str()).word("k", kind).raw("d", d).end();
}

/// The `d` of a typing signal: everyone who types, at most a handful.
pub fn put_typing<'a>(out: &mut Vec<u8>, users: impl IntoIterator<Item = &'a UserId>) {
    Line::open(out)
        .put("u", |out| {
            put_list(out, users, |out, user| {
                out.push(b'"');
                out.extend_from_slice(user.as_str().as_bytes());
                out.push(b'"');
            });
        })
        .end();
}

/// Is anyone there?
pub fn put_ping(out: &mut Vec<u8>) {
    Line::of(out, "ping").end();
}

/// The room was detached because its events did not drain; `sub` again.
pub fn put_lag(out: &mut Vec<u8>, room: &RoomId) {
    Line::of(out, "lag").word("room", room.as_str()).end();
}

/// The room was detached; the code says why.
pub fn put_drop(out: &mut Vec<u8>, room: &RoomId, code: Code) {
    Line::of(out, "drop").word("room", room.as_str()).word("code", code.as_str()).end();
}

/// The token ends soon; say `auth`.
pub fn put_auth_due(out: &mut Vec<u8>, in_ms: u64) {
    Line::of(out, "auth_due").number("in_ms", in_ms).end();
}

/// The last words before a close.
pub fn put_bye(out: &mut Vec<u8>, close: Close, retry_ms: Option<u64>) {
    Line::of(out, "bye")
        .number("code", u64::from(close.number()))
        .maybe_number("retry_ms", retry_ms)
        .end();
}
