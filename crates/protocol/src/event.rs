//! Events: what a room's log holds, written once and the same for every reader.
//!
//! These bytes are stored, replayed, and sent live as they are. No key depends on who reads.

use crate::body::Body;
use crate::id::{AppKind, Cid, RoomId, Seq, UserId};
use crate::line::Line;
use crate::role::{Role, RoomKind};

/// One entry of a room's log, before it is bytes.
#[derive(Debug)]
pub struct Event<'a> {
    /// The room.
    pub room: &'a RoomId,
    /// Its number there.
    pub seq: Seq,
    /// When it was committed, ms since 1970 UTC; never less than the event before.
    pub ts: u64,
    /// Who acted; absent = the application itself.
    pub by: Option<&'a UserId>,
    /// The name its maker gave it.
    pub cid: Option<Cid>,
    /// What happened.
    pub content: &'a Content,
    /// Messages up to and with this one; stands on messages only.
    pub n: u64,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Someone said something durable: a message, or the application's own kind.
    Said {
        /// `None` = a message.
        kind: Option<AppKind>,
        /// The event that it answers.
        re: Option<Seq>,
        /// The root of its thread.
        thread: Option<Seq>,
        /// What was said.
        d: Body,
    },
    /// Someone became a member.
    Join {
        /// Who.
        u: UserId,
    },
    /// Someone is a member no more.
    Leave {
        /// Who.
        u: UserId,
        /// How that came.
        why: Why,
    },
    /// A member has another role.
    Role {
        /// Who.
        u: UserId,
        /// Which.
        role: Role,
    },
    /// The room was made or its settings were replaced.
    Room {
        /// Who sees it.
        kind: RoomKind,
        /// What people call it.
        name: Option<Box<str>>,
        /// The application's own, one JSON value on one line.
        d: Option<Box<str>>,
    },
}

/// How someone came to be a member no more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Why {
    /// By their own wish.
    Left,
    /// Removed; may come back where joining is open.
    Kicked,
    /// Removed and kept out.
    Banned,
}

impl Why {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Why::Left => "left",
            Why::Kicked => "kicked",
            Why::Banned => "banned",
        }
    }
}

impl Content {
    /// The kind's word on the wire.
    pub fn kind(&self) -> &str {
        match self {
            Content::Said { kind: None, .. } => "msg",
            Content::Said { kind: Some(kind), .. } => kind.as_str(),
            Content::Join { .. } => "join",
            Content::Leave { .. } => "leave",
            Content::Role { .. } => "role",
            Content::Room { .. } => "room",
        }
    }

    /// Whether it counts as a message.
    pub fn is_message(&self) -> bool {
        matches!(self, Content::Said { kind: None, .. })
    }
}

impl Event<'_> {
    /// Writes the event as one line, without a line break.
    ///
    /// Cost: one copy of the body and about 130 bytes more.
    pub fn put(&self, out: &mut Vec<u8>) {
        let line = Line::of(out, "ev")
            .word("room", self.room.as_str())
            .number("seq", self.seq)
            .number("ts", self.ts)
            .maybe_word("by", self.by.map(UserId::as_str))
            .word("k", self.content.kind())
            .maybe_number("n", self.content.is_message().then_some(self.n))
            .maybe_word("cid", self.cid.as_ref().map(Cid::as_str));
        match self.content {
            Content::Said { re, thread, d, .. } => line
                .maybe_number("re", *re)
                .maybe_number("thread", *thread)
                .raw("d", d.as_str().as_bytes()),
            Content::Join { u } => line.word("u", u.as_str()),
            Content::Leave { u, why } => line.word("u", u.as_str()).word("why", why.as_str()),
            Content::Role { u, role } => line.word("u", u.as_str()).word("role", role.as_str()),
            Content::Room { kind, name, d } => {
                let line = line.word("kind", kind.as_str());
                let line = match name {
                    Some(name) => line.text("name", name),
                    None => line,
                };
                match d {
                    Some(d) => line.raw("d", d.as_bytes()),
                    None => line,
                }
            }
        }
        .end();
    }
}
