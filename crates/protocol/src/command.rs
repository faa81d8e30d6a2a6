//! Commands: what a client may say. (2 decode)
//!
//! One object in, one [`Command`] out, every field checked: what stands in a `Command` needs no second
//! look. What is refused says which field and why, with the command's id where one could be read.
//!
//! Never: waits, looks anything up, or keeps a borrow of the bytes it read.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::Body;
use crate::code::Code;
use crate::fields::{Bad, Field, object, there};
use crate::id::{AppKind, Cid, Epoch, RoomId, Seq, SessionId, UserId};
use crate::limits::COMMAND_ID_MAX;
use crate::role::{Role, RoomKind};

/// Names a command among those of its connection until it is answered.
pub type CommandId = u32;

/// One object from a client.
#[derive(PartialEq, Eq, Debug)]
pub struct Said {
    /// What to answer to; absent where no answer is wanted.
    pub id: Option<CommandId>,
    /// What is wanted.
    pub command: Command,
}

/// An object that is no command.
#[derive(PartialEq, Eq, Debug)]
pub struct Rejected {
    /// The command's id, where it could be read.
    pub id: Option<CommandId>,
    /// What is wrong, for the client.
    pub code: Code,
    /// What is wrong, for its log: names the field.
    pub msg: String,
    /// Whether it was a JSON object at all.
    pub object: bool,
    /// The room that it would have subscribed to: a `sub` that is refused leaves its room detached.
    pub sub: Option<RoomId>,
}

/// What a client wants.
#[derive(PartialEq, Eq, Debug)]
pub enum Command {
    /// Who I am and what I want to hear; first of all.
    Hello(Box<Hello>),
    /// A newer token for the same user.
    Auth {
        /// The token.
        token: Box<str>,
    },
    /// Attach to a room, from a position.
    Sub(Sub),
    /// Detach from a room.
    Unsub {
        /// The room.
        room: RoomId,
    },
    /// Say something durable.
    Send(Box<Send>),
    /// Someone types, or stopped.
    Typing {
        /// The room.
        room: RoomId,
        /// Whether the user is typing.
        on: bool,
    },
    /// Say something transient.
    Signal {
        /// The room.
        room: RoomId,
        /// The application's kind.
        kind: AppKind,
        /// What is said.
        d: Body,
    },
    /// Read raw events.
    Log(Log),
    /// List my rooms.
    Rooms {
        /// Only rooms behind this one.
        after: Option<RoomId>,
        /// At most so many.
        limit: Option<u64>,
    },
    /// Do something to a room or its members.
    Room {
        /// The room.
        room: RoomId,
        /// What to do.
        op: RoomOp,
    },
    /// Are you there?
    Ping {
        /// Also tell the heads of the attached rooms.
        heads: bool,
    },
    /// I am here.
    Pong,
}

/// First words of a connection.
#[derive(PartialEq, Eq, Debug)]
pub struct Hello {
    /// Whose connection this is, unless the upgrade carried it.
    pub token: Option<Box<str>>,
    /// What the client calls itself; for a log.
    pub agent: Option<Box<str>>,
    /// The session of an earlier connection of the same client.
    pub session: Option<SessionId>,
    /// Rooms to attach, most wanted first, none twice.
    pub rooms: Vec<Sub>,
    /// Kinds of signals wanted; absent = typing and the application's own.
    pub want: Option<Vec<Box<str>>>,
    /// Seconds of silence after which the server pings.
    pub ping_s: Option<u64>,
}

/// Where a client stands in a room's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The life of the log that it read.
    pub epoch: Epoch,
    /// The last event that it has.
    pub seq: Seq,
}

/// A wish to attach to a room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sub {
    /// The room.
    pub room: RoomId,
    /// Where the client stands; absent = from now on.
    pub from: Option<Position>,
    /// Most events to replay.
    pub page: Option<u64>,
    /// Most events that may be missed without a hole.
    pub jump: Option<u64>,
}

/// Something durable to say.
#[derive(PartialEq, Eq, Debug)]
pub struct Send {
    /// The room.
    pub room: RoomId,
    /// What makes a retry harmless.
    pub cid: Cid,
    /// `None` = a message; otherwise the application's kind.
    pub kind: Option<AppKind>,
    /// Answers that event.
    pub re: Option<Seq>,
    /// Belongs to the thread with that root.
    pub thread: Option<Seq>,
    /// The sender's nearest earlier command without an outcome.
    pub prev: Option<Cid>,
    /// The life of the log that `re` and `thread` speak of.
    pub epoch: Option<Epoch>,
    /// What is said.
    pub d: Body,
}

/// A range of raw events.
#[derive(PartialEq, Eq, Debug)]
pub struct Log {
    /// The room.
    pub room: RoomId,
    /// The life of the log that the numbers speak of.
    pub epoch: Option<Epoch>,
    /// Events behind this one.
    pub after: Seq,
    /// Up to and with this one.
    pub upto: Option<Seq>,
    /// At most so many.
    pub limit: Option<u64>,
}

/// A change of a room or its members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RoomOp {
    /// Make it.
    Create(Settings),
    /// Tell about it.
    Get,
    /// Replace its settings.
    Set(Settings),
    /// Remove it and its log.
    Del,
    /// Become a member.
    Join,
    /// Stop being a member.
    Leave,
    /// Remove a member, who may come back where joining is open.
    Kick(UserId),
    /// Remove a user and keep them out.
    Ban(UserId),
    /// Lift a ban.
    Unban(UserId),
    /// Give a member a role.
    Role(UserId, Role),
}

/// What an application says about a room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Who sees it; absent = `group` when made, unchanged when set.
    pub kind: Option<RoomKind>,
    /// What people call it.
    pub name: Option<Box<str>>,
    /// The application's own.
    pub d: Option<Body>,
}

/// Reads one object.
///
/// Cost: one pass over the text for the object and one over each field that the command has.
/// Errors: [`Rejected`], which names the field and carries the id where it could be read.
pub fn read(text: &str) -> Result<Said, Rejected> {
    let mut fields: Fields<'_> = object(text).map_err(|error| unreadable(text, &error))?;
    let id = match fields.id.take() {
        None => None,
        Some(raw) => match Field("id", Some(raw)).integer(COMMAND_ID_MAX) {
            Ok(Some(id)) if id > 0 => Some(id as CommandId),
            _ => {
                return Err(bad(None, format!("id must be an integer from 1 to {COMMAND_ID_MAX}")));
            }
        },
    };
    let command = fields.command().map_err(|Wrong { code, msg }| {
        let sub = fields.room_of_sub().filter(|_| id.is_some());
        Rejected { id, code, msg, object: true, sub }
    })?;
    if id.is_none() && !command.may_go_unanswered() {
        return Err(bad(None, "id is missing".into()));
    }
    Ok(Said { id, command })
}

/// The id of a `send`, and nothing else of it: for one that will not be taken, whatever it says.
///
/// Cost: one pass over the text; less than half of [`read`].
/// Gives: `None` for anything else, and where only [`read`] can tell.
pub fn id_of_send(text: &str) -> Option<CommandId> {
    #[derive(Deserialize)]
    struct Glance<'a> {
        t: &'a str,
        id: CommandId,
    }
    let glance: Glance<'_> = object(text).ok()?;
    let is_id = (1..=COMMAND_ID_MAX).contains(&glance.id.into());
    (glance.t == "send" && is_id).then_some(glance.id)
}

impl Command {
    fn may_go_unanswered(&self) -> bool {
        matches!(
            self,
            Command::Typing { .. } | Command::Signal { .. } | Command::Ping { .. } | Command::Pong
        )
    }
}

fn bad(id: Option<CommandId>, msg: String) -> Rejected {
    Rejected { id, code: Code::BadRequest, msg, object: true, sub: None }
}

/// The slow way, taken only when the fast one failed: is it an object after all, and what is its id?
fn unreadable(text: &str, error: &serde_json::Error) -> Rejected {
    let words = error.to_string();
    let Ok(map) = object::<HashMap<String, &RawValue>>(text) else {
        return Rejected {
            id: None,
            code: Code::BadRequest,
            msg: format!("not a JSON object: {words}"),
            object: false,
            sub: None,
        };
    };
    let id = map.get("id").and_then(|raw| Field("id", Some(raw)).integer(COMMAND_ID_MAX).ok());
    bad(id.flatten().filter(|id| *id > 0).map(|id| id as CommandId), words)
}

/// The fields of every command, not yet looked at.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Fields<'a> {
    #[serde(borrow, deserialize_with = "there")]
    t: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    id: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    room: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    cid: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    d: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    k: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    re: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    thread: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    prev: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    epoch: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    seq: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    page: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    jump: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    token: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    agent: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    session: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    rooms: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    want: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    ping_s: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    on: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    after: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    upto: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    limit: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    op: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    user: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    heads: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    name: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    role: Option<&'a RawValue>,
}

struct Wrong {
    code: Code,
    msg: String,
}

impl From<Bad> for Wrong {
    fn from(bad: Bad) -> Wrong {
        Wrong { code: Code::BadRequest, msg: bad.to_string() }
    }
}

impl Fields<'_> {
    fn command(&self) -> Result<Command, Wrong> {
        let word = Field("t", self.t).needed_text()?;
        Ok(match &*word {
            "hello" => Command::Hello(Box::new(self.hello()?)),
            "auth" => Command::Auth { token: Field("token", self.token).needed_text()?.into() },
            "sub" => Command::Sub(self.sub()?),
            "unsub" => Command::Unsub { room: self.room()? },
            "send" => Command::Send(Box::new(self.send()?)),
            "typing" => Command::Typing {
                room: self.room()?,
                on: Field("on", self.on).flag()?.unwrap_or(false),
            },
            "signal" => Command::Signal {
                room: self.room()?,
                kind: Field("k", self.k).needed(AppKind::parse)?,
                d: self.body()?,
            },
            "log" => Command::Log(self.log()?),
            "rooms" => Command::Rooms {
                after: Field("after", self.after).parsed(RoomId::parse)?,
                limit: Field("limit", self.limit).number()?,
            },
            "room" => Command::Room { room: self.room()?, op: self.room_op()? },
            "ping" => Command::Ping { heads: Field("heads", self.heads).flag()?.unwrap_or(false) },
            "pong" => Command::Pong,
            word => return Err(unknown("t", word)),
        })
    }

    fn room(&self) -> Result<RoomId, Bad> {
        Field("room", self.room).needed(RoomId::parse)
    }

    /// The room of a `sub`, as far as it can be read.
    fn room_of_sub(&self) -> Option<RoomId> {
        let is_sub = Field("t", self.t).text().is_ok_and(|word| word.as_deref() == Some("sub"));
        self.room().ok().filter(|_| is_sub)
    }

    fn epoch(&self) -> Result<Option<Epoch>, Bad> {
        Field("epoch", self.epoch).parsed(Epoch::parse)
    }

    fn body(&self) -> Result<Body, Bad> {
        Field("d", self.d).needed_body()
    }

    fn hello(&self) -> Result<Hello, Bad> {
        let mut rooms: Vec<Sub> = Vec::new();
        for entry in Field("rooms", self.rooms).list()?.unwrap_or_default() {
            let sub = hello_entry(entry)?;
            if rooms.iter().any(|earlier| earlier.room == sub.room) {
                return Err(Bad::new("rooms", format!("names {} twice", sub.room)));
            }
            rooms.push(sub);
        }
        let want = match Field("want", self.want).list()? {
            None => None,
            Some(words) => Some(
                words
                    .into_iter()
                    .map(|word| Field("want", Some(word)).needed_text().map(Into::into))
                    .collect::<Result<_, _>>()?,
            ),
        };
        Ok(Hello {
            token: Field("token", self.token).text()?.map(Into::into),
            agent: Field("agent", self.agent).text()?.map(Into::into),
            session: Field("session", self.session).parsed(SessionId::parse)?,
            rooms,
            want,
            ping_s: Field("ping_s", self.ping_s).count()?,
        })
    }

    fn sub(&self) -> Result<Sub, Bad> {
        Ok(Sub {
            room: self.room()?,
            from: position(self.epoch, self.seq)?,
            page: Field("page", self.page).number()?,
            jump: Field("jump", self.jump).count()?,
        })
    }

    fn send(&self) -> Result<Send, Bad> {
        let send = Send {
            room: self.room()?,
            cid: Field("cid", self.cid).needed(Cid::parse)?,
            kind: match Field("k", self.k).text()?.as_deref() {
                None | Some("msg") => None,
                Some(word) => Some(
                    AppKind::parse(word)
                        .map_err(|why| Bad::new("k", format!("is msg or x.…: {why}")))?,
                ),
            },
            re: Field("re", self.re).number()?,
            thread: Field("thread", self.thread).number()?,
            prev: Field("prev", self.prev).parsed(Cid::parse)?,
            epoch: self.epoch()?,
            d: self.body()?,
        };
        if send.epoch.is_none() && (send.re.is_some() || send.thread.is_some()) {
            return Err(Bad::new("epoch", "is needed with re and thread"));
        }
        Ok(send)
    }

    fn log(&self) -> Result<Log, Bad> {
        Ok(Log {
            room: self.room()?,
            epoch: self.epoch()?,
            after: Field("after", self.after)
                .count()?
                .ok_or_else(|| Bad::new("after", "is missing"))?,
            upto: Field("upto", self.upto).count()?,
            limit: Field("limit", self.limit).number()?,
        })
    }

    fn room_op(&self) -> Result<RoomOp, Wrong> {
        let user = || Field("user", self.user).needed(UserId::parse);
        let word = Field("op", self.op).needed_text()?;
        Ok(match &*word {
            "create" => RoomOp::Create(self.settings()?),
            "get" => RoomOp::Get,
            "set" => RoomOp::Set(self.settings()?),
            "del" => RoomOp::Del,
            "join" => RoomOp::Join,
            "leave" => RoomOp::Leave,
            "kick" => RoomOp::Kick(user()?),
            "ban" => RoomOp::Ban(user()?),
            "unban" => RoomOp::Unban(user()?),
            "role" => RoomOp::Role(user()?, self.role()?),
            word => return Err(unknown("op", word)),
        })
    }

    fn settings(&self) -> Result<Settings, Bad> {
        let name = Field("name", self.name).text()?;
        if let Some(name) = &name {
            crate::name::check(name).map_err(|why| Bad::new("name", why))?;
        }
        let kind = match Field("kind", self.kind).text()? {
            None => None,
            Some(word) => Some(
                RoomKind::parse(&word)
                    .ok_or_else(|| Bad::new("kind", "is group, direct, public or broadcast"))?,
            ),
        };
        let d = match self.d {
            None => None,
            raw => Some(Field("d", raw).needed_body()?),
        };
        Ok(Settings { kind, name: name.map(Into::into), d })
    }

    fn role(&self) -> Result<Role, Bad> {
        Role::parse(&Field("role", self.role).needed_text()?)
            .ok_or_else(|| Bad::new("role", "is owner, admin, member or reader"))
    }
}

fn unknown(field: &'static str, word: &str) -> Wrong {
    let shown: String = word.chars().take(32).collect();
    Wrong { code: Code::UnknownCommand, msg: format!("{field}: there is no {shown:?} here") }
}

fn position<'a>(
    epoch: Option<&'a RawValue>,
    seq: Option<&'a RawValue>,
) -> Result<Option<Position>, Bad> {
    let epoch = Field("epoch", epoch).parsed(Epoch::parse)?;
    let Some(seq) = Field("seq", seq).count()? else { return Ok(None) };
    let epoch = epoch.ok_or_else(|| Bad::new("epoch", "is needed with seq"))?;
    Ok(Some(Position { epoch, seq }))
}

/// `[room]`, `[room, epoch, seq]` or `[room, epoch, seq, {"page":…,"jump":…}]`.
fn hello_entry(entry: &RawValue) -> Result<Sub, Bad> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Options<'a> {
        #[serde(borrow)]
        page: Option<&'a RawValue>,
        #[serde(borrow)]
        jump: Option<&'a RawValue>,
    }
    const SHAPE: &str = "holds [room], [room, epoch, seq] or [room, epoch, seq, {…}]";
    let parts = Field("rooms", Some(entry)).list()?.unwrap_or_default();
    if !matches!(parts.len(), 1 | 3 | 4) {
        return Err(Bad::new("rooms", SHAPE));
    }
    let options: Options<'_> = match parts.get(3) {
        None => Options::default(),
        Some(raw) => object(raw.get()).map_err(|_| Bad::new("rooms", SHAPE))?,
    };
    let within = |bad: Bad| Bad::new("rooms", bad.to_string());
    Ok(Sub {
        room: Field("room", parts.first().copied()).needed(RoomId::parse).map_err(within)?,
        from: position(parts.get(1).copied(), parts.get(2).copied()).map_err(within)?,
        page: Field("page", options.page).number().map_err(within)?,
        jump: Field("jump", options.jump).count().map_err(within)?,
    })
}

/// Reads the body of an HTTP call that makes a room: the fields of `create`.
pub fn settings(text: &str) -> Result<Settings, Bad> {
    body_fields(text)?.settings()
}

/// Reads the body of an HTTP call that gives someone a role.
pub fn role(text: &str) -> Result<Role, Bad> {
    body_fields(text)?.role()
}

fn body_fields(text: &str) -> Result<Fields<'_>, Bad> {
    object(text).map_err(|error| Bad::new("the body", format!("is no JSON object: {error}")))
}
