//! Heard: what a server says, as a client reads it.
//!
//! Almost all that a client hears is events from a server of ours, whose keys stand in one order: those are
//! read by a scan. Everything else, and every event with another order or a key we do not know, goes
//! through serde and means the same.
//!
//! Never: copies what needs no unescaping, looks inside a `d`, stumbles over a kind or key it does not know.

mod scan;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::command::CommandId;
use crate::fields::{Bad, Field, object, there};
use crate::id::{Epoch, Seq};
use crate::limits::COMMAND_ID_MAX;
use crate::reply::{Attached, Stored};
use crate::role::Role;
use scan::scan;

/// One object from a server.
#[derive(PartialEq, Eq, Debug)]
pub enum Heard<'a> {
    /// A command was carried out.
    Ok(Answer<'a>),
    /// A command was refused.
    Err(Refused<'a>),
    /// Something durable happened in a room.
    Event(Event<'a>),
    /// Something durable happened in a room, and only its place can be read: it counts, and is handed over as
    /// it stands.
    Opaque {
        /// The room.
        room: Cow<'a, str>,
        /// Its number there.
        seq: Seq,
    },
    /// Something transient happens in a room.
    Signal {
        /// The room.
        room: Cow<'a, str>,
        /// What kind of thing.
        k: Cow<'a, str>,
        /// The JSON of what is said; absent where nothing was.
        d: Option<&'a str>,
    },
    /// Is anyone there? Answer `pong`.
    Ping,
    /// The room was detached because its events did not drain.
    Lag {
        /// The room.
        room: Cow<'a, str>,
    },
    /// The room was detached.
    Drop {
        /// The room.
        room: Cow<'a, str>,
        /// Why; `reset` asks for a `sub`, the others end it.
        code: Cow<'a, str>,
    },
    /// The token ends soon; say `auth`.
    AuthDue {
        /// How soon.
        in_ms: u64,
    },
    /// The last words before a close.
    Bye {
        /// The close code, which wins over the one in the close frame.
        code: u64,
        /// When to connect again.
        retry_ms: Option<u64>,
    },
    /// A kind of object that this client does not know; to be passed over.
    Unknown,
}

/// One entry of a room's log, as it is heard.
#[derive(PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// The room.
    pub room: Cow<'a, str>,
    /// Its number there.
    pub seq: Seq,
    /// When it was committed, ms since 1970 UTC.
    pub ts: u64,
    /// Who acted; absent = the application itself.
    pub by: Option<Cow<'a, str>>,
    /// What kind of thing happened.
    pub k: Cow<'a, str>,
    /// Messages up to and with this one, on messages.
    pub n: Option<u64>,
    /// The name its maker gave it.
    pub cid: Option<Cow<'a, str>>,
    /// The JSON of what was said, as it stands; not looked into.
    pub d: Option<&'a str>,
}

/// A command that was refused.
#[derive(PartialEq, Eq, Debug)]
pub struct Refused<'a> {
    /// The command; absent where the server could not tell.
    pub id: Option<CommandId>,
    /// A stable word; one that is unknown says nothing more than `retry_ms` does.
    pub code: Cow<'a, str>,
    /// For a log.
    pub msg: Cow<'a, str>,
    /// After which time to try again unchanged; absent = do not.
    pub retry_ms: Option<u64>,
}

/// A command that was carried out. What else stands in the answer depends on the command, so whoever knows
/// it by the id asks for it.
#[derive(PartialEq, Eq, Debug)]
pub struct Answer<'a> {
    /// The command; absent where it had none.
    pub id: Option<CommandId>,
    text: &'a str,
}

/// An object that no server says, in words for a log.
#[derive(PartialEq, Eq, Debug)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

impl From<Bad> for Unreadable {
    fn from(bad: Bad) -> Unreadable {
        Unreadable(bad.to_string())
    }
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Unreadable {
        Unreadable(format!("not an object of the protocol: {error}"))
    }
}

/// Reads one object.
///
/// Cost: for an event as our server writes it one pass and no allocation; otherwise two passes of serde.
/// Errors: [`Unreadable`], which names the field.
pub fn read(text: &str) -> Result<Heard<'_>, Unreadable> {
    match scan(text) {
        Some(event) => Ok(Heard::Event(event)),
        None => read_any(text),
    }
}

fn read_any(text: &str) -> Result<Heard<'_>, Unreadable> {
    let kind: Kind<'_> = object(text)?;
    let word = Field("t", kind.t).needed_text()?;
    // Only now: a key of a kind that is unknown may hold anything.
    let fields = || object::<Fields<'_>>(text);
    Ok(match &*word {
        "ok" => Heard::Ok(Answer { id: fields()?.id()?, text }),
        "err" => Heard::Err(fields()?.refused()?),
        "ev" => {
            let fields = fields()?;
            let (room, seq) = (fields.room()?, needed("seq", fields.seq)?);
            fields.event().map_or(Heard::Opaque { room, seq }, Heard::Event)
        }
        "sig" => {
            let fields = fields()?;
            Heard::Signal { room: fields.room()?, k: fields.k()?, d: fields.d.map(RawValue::get) }
        }
        "ping" => Heard::Ping,
        "lag" => Heard::Lag { room: fields()?.room()? },
        "drop" => {
            let fields = fields()?;
            Heard::Drop { room: fields.room()?, code: Field("code", fields.code).needed_text()? }
        }
        "auth_due" => Heard::AuthDue { in_ms: needed("in_ms", fields()?.in_ms)? },
        "bye" => {
            let fields = fields()?;
            Heard::Bye {
                code: needed("code", fields.code)?,
                retry_ms: Field("retry_ms", fields.retry_ms).count()?,
            }
        }
        _ => Heard::Unknown,
    })
}

fn needed(name: &'static str, value: Option<&RawValue>) -> Result<u64, Bad> {
    Field(name, value).count()?.ok_or_else(|| Bad::new(name, "is missing"))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Kind<'a> {
    #[serde(borrow)]
    t: Option<&'a RawValue>,
}

/// The fields of every kind of object, not yet looked at.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Fields<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    room: Option<&'a RawValue>,
    #[serde(borrow)]
    seq: Option<&'a RawValue>,
    #[serde(borrow)]
    ts: Option<&'a RawValue>,
    #[serde(borrow)]
    by: Option<&'a RawValue>,
    #[serde(borrow)]
    k: Option<&'a RawValue>,
    #[serde(borrow)]
    n: Option<&'a RawValue>,
    #[serde(borrow)]
    cid: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    d: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    msg: Option<&'a RawValue>,
    #[serde(borrow)]
    retry_ms: Option<&'a RawValue>,
    #[serde(borrow)]
    in_ms: Option<&'a RawValue>,
    #[serde(borrow)]
    epoch: Option<&'a RawValue>,
    #[serde(borrow)]
    base: Option<&'a RawValue>,
    #[serde(borrow)]
    upto: Option<&'a RawValue>,
    #[serde(borrow)]
    head: Option<&'a RawValue>,
    #[serde(borrow)]
    first: Option<&'a RawValue>,
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    #[serde(borrow)]
    reset: Option<&'a RawValue>,
    #[serde(borrow)]
    hole: Option<&'a RawValue>,
    #[serde(borrow)]
    more: Option<&'a RawValue>,
    #[serde(borrow)]
    dup: Option<&'a RawValue>,
    #[serde(borrow)]
    session: Option<&'a RawValue>,
    #[serde(borrow)]
    ping_s: Option<&'a RawValue>,
    #[serde(borrow)]
    limits: Option<&'a RawValue>,
    #[serde(borrow)]
    inflight: Option<&'a RawValue>,
    #[serde(borrow)]
    rooms: Option<&'a RawValue>,
    #[serde(borrow)]
    heads: Option<&'a RawValue>,
}

fn flag(name: &'static str, value: Option<&RawValue>) -> Result<bool, Bad> {
    Ok(Field(name, value).flag()?.unwrap_or(false))
}

impl<'a> Fields<'a> {
    fn id(&self) -> Result<Option<CommandId>, Bad> {
        Ok(Field("id", self.id).integer(COMMAND_ID_MAX)?.map(|id| id as CommandId))
    }

    fn room(&self) -> Result<Cow<'a, str>, Bad> {
        Field("room", self.room).needed_text()
    }

    fn k(&self) -> Result<Cow<'a, str>, Bad> {
        Field("k", self.k).needed_text()
    }

    fn event(&self) -> Result<Event<'a>, Bad> {
        Ok(Event {
            room: self.room()?,
            seq: needed("seq", self.seq)?,
            ts: needed("ts", self.ts)?,
            by: Field("by", self.by).text()?,
            k: self.k()?,
            n: Field("n", self.n).count()?,
            cid: Field("cid", self.cid).text()?,
            d: self.d.map(RawValue::get),
        })
    }

    fn refused(&self) -> Result<Refused<'a>, Bad> {
        Ok(Refused {
            id: self.id()?,
            code: Field("code", self.code).needed_text()?,
            msg: Field("msg", self.msg).text()?.unwrap_or_default(),
            retry_ms: Field("retry_ms", self.retry_ms).count()?,
        })
    }

    fn attached(&self) -> Result<Attached, Bad> {
        let role = Field("role", self.role).needed_text()?;
        Ok(Attached {
            epoch: Field("epoch", self.epoch).needed(Epoch::parse)?,
            base: needed("base", self.base)?,
            upto: needed("upto", self.upto)?,
            head: needed("head", self.head)?,
            first: needed("first", self.first)?,
            n: needed("n", self.n)?,
            role: Role::parse(&role).ok_or_else(|| Bad::new("role", "is no role"))?,
            reset: flag("reset", self.reset)?,
            hole: flag("hole", self.hole)?,
            more: flag("more", self.more)?,
        })
    }

    fn stored(&self) -> Result<Stored, Bad> {
        Ok(Stored {
            epoch: Field("epoch", self.epoch).needed(Epoch::parse)?,
            seq: needed("seq", self.seq)?,
            n: Field("n", self.n).count()?,
            ts: needed("ts", self.ts)?,
            dup: flag("dup", self.dup)?,
        })
    }
}

/// What a client learns from the answer to its `hello`.
#[derive(PartialEq, Eq, Debug)]
pub struct Welcome<'a> {
    /// The session in force.
    pub session: Cow<'a, str>,
    /// Seconds of silence after which the server pings.
    pub ping_s: u64,
    /// Most commands without an answer.
    pub inflight: u64,
    /// What became of each room that was asked for: the answer to its `sub`, or its refusal.
    pub rooms: BTreeMap<String, Result<Attached, Denied<'a>>>,
}

/// Why a room of a `hello` is not heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denied<'a> {
    /// A stable word; one that is unknown says nothing more than `retry_ms` does.
    pub code: Cow<'a, str>,
    /// When to ask again; absent if asking again is of no use.
    pub retry_ms: Option<u64>,
}

/// Epoch and newest event of each attached room.
pub type Heads = BTreeMap<String, (Epoch, Seq)>;

impl<'a> Answer<'a> {
    fn fields(&self) -> Result<Fields<'a>, Unreadable> {
        Ok(object(self.text)?)
    }

    /// The answer to `sub`.
    pub fn attached(&self) -> Result<Attached, Unreadable> {
        Ok(self.fields()?.attached()?)
    }

    /// The answer to `send`.
    pub fn stored(&self) -> Result<Stored, Unreadable> {
        Ok(self.fields()?.stored()?)
    }

    /// The answer to `hello`.
    pub fn welcome(&self) -> Result<Welcome<'a>, Unreadable> {
        let fields = self.fields()?;
        let limits: Fields<'a> = inner("limits", fields.limits)?;
        let mut rooms = BTreeMap::new();
        for (room, raw) in inner::<BTreeMap<String, &RawValue>>("rooms", fields.rooms)? {
            let room_fields: Fields<'a> = object(raw.get())?;
            let result = match Field("code", room_fields.code).text()? {
                Some(code) => {
                    let retry_ms = Field("retry_ms", room_fields.retry_ms).count()?;
                    Err(Denied { code, retry_ms })
                }
                None => Ok(room_fields.attached()?),
            };
            rooms.insert(room, result);
        }
        Ok(Welcome {
            session: Field("session", fields.session).needed_text()?,
            ping_s: needed("ping_s", fields.ping_s)?,
            inflight: needed("inflight", limits.inflight)?,
            rooms,
        })
    }

    /// The heads in the answer to `ping`, if it asked for them.
    pub fn heads(&self) -> Result<Option<Heads>, Unreadable> {
        let heads = self.fields()?.heads;
        if heads.is_none() {
            return Ok(None);
        }
        let listed: BTreeMap<String, (&'a RawValue, &'a RawValue)> = inner("heads", heads)?;
        let read = |(room, (epoch, seq))| {
            let epoch = Field("epoch", Some(epoch)).needed(Epoch::parse)?;
            Ok((room, (epoch, needed("head", Some(seq))?)))
        };
        listed.into_iter().map(read).collect::<Result<_, Bad>>().map(Some).map_err(Into::into)
    }
}

/// The object that a field holds.
fn inner<'a, T: Deserialize<'a>>(
    name: &'static str,
    raw: Option<&'a RawValue>,
) -> Result<T, Unreadable> {
    let raw = raw.ok_or_else(|| Bad::new(name, "is missing"))?;
    Ok(object(raw.get())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"t":"ev","room":"r1","seq":58,"ts":1796040000123,"by":"u1","k":"msg","n":51,"cid":"01JD8Z","d":{"text":"hi"}}"#;

    fn event(text: &str) -> Event<'_> {
        match read(text) {
            Ok(Heard::Event(event)) => event,
            other => panic!("{text} is heard as {other:?}"),
        }
    }

    /// The text means the same to the scan, if it has an opinion, and to serde.
    fn check(text: &str) {
        if let Some(event) = scan(text) {
            assert_eq!(read_any(text), Ok(Heard::Event(event)), "{text}");
        }
    }

    #[test]
    fn an_event_of_ours_is_read_by_the_scan() {
        let heard = scan(EVENT).unwrap();
        assert_eq!((&*heard.room, heard.seq, heard.ts), ("r1", 58, 1_796_040_000_123));
        assert_eq!((&*heard.k, heard.n, heard.by.as_deref()), ("msg", Some(51), Some("u1")));
        assert_eq!((heard.cid.as_deref(), heard.d), (Some("01JD8Z"), Some(r#"{"text":"hi"}"#)));
        check(EVENT);
    }

    #[test]
    fn any_order_and_unknown_keys_mean_the_same() {
        let other = r#" {"d":{"text":"hi"},"new":[{}],"cid":"01JD8Z","n":51,"k":"m\u0073g","by":"u1",
            "ts":1796040000123,"seq":58,"room":"r\u0031","t":"ev"} "#;
        assert_eq!(scan(other), None);
        assert_eq!(event(other), event(EVENT));
    }

    #[test]
    fn the_scan_and_serde_agree() {
        check(r#"{"t":"ev","room":"r1","seq":1,"ts":5,"k":"room","kind":"group"}"#);
        check(r#"{"t":"ev","room":"r1","seq":1,"ts":5,"k":"join","cid":"c"}"#);
        for d in [
            r#""text""#,
            r#""a \" quote \\""#,
            "7",
            "null",
            "[]",
            r#"{"a":"}","b":[{"c":"]"}]}"#,
            r#"{"a":1},"x":{"d":2}"#,
            r#"{"a":1},"d":{"a":2}"#,
            r#"{"a":"é 🦀"} "#,
        ] {
            check(&EVENT.replace(r#"{"text":"hi"}"#, d));
        }
        for number in ["0", "00", "058", "9007199254740991", "9007199254740992", "1.0", "1e3", "-1"]
        {
            check(&EVENT.replace("58", number));
        }
        // Every text that is one byte away.
        for at in 0..EVENT.len() {
            for byte in ["", "\"", "\\", "0", "}", "{", ",", " ", "\n"] {
                let near = format!("{}{byte}{}", &EVENT[..at], &EVENT[at + 1..]);
                // What is wrong inside `d` is not seen by the scan, and need not be.
                if at < EVENT.len() - 14 {
                    check(&near);
                }
            }
        }
    }

    #[test]
    fn what_is_not_an_event_is_heard_too() {
        let room = || "r1".into();
        for (text, heard) in [
            (r#"{"t":"ping"}"#, Heard::Ping),
            (r#"{"t":"lag","room":"r1"}"#, Heard::Lag { room: room() }),
            (
                r#"{"t":"drop","room":"r1","code":"reset"}"#,
                Heard::Drop { room: room(), code: "reset".into() },
            ),
            (r#"{"t":"auth_due","in_ms":60000}"#, Heard::AuthDue { in_ms: 60_000 }),
            (
                r#"{"t":"bye","code":4300,"retry_ms":8231}"#,
                Heard::Bye { code: 4300, retry_ms: Some(8231) },
            ),
            (
                r#"{"t":"sig","room":"r1","k":"typing","d":{"u":["u1"]}}"#,
                Heard::Signal { room: room(), k: "typing".into(), d: Some(r#"{"u":["u1"]}"#) },
            ),
            (
                r#"{"t":"err","id":7,"code":"rate_limited","msg":"slow down","retry_ms":1200}"#,
                Heard::Err(Refused {
                    id: Some(7),
                    code: "rate_limited".into(),
                    msg: "slow down".into(),
                    retry_ms: Some(1200),
                }),
            ),
            (
                r#"{"t":"ev","room":"r1","seq":3,"ts":5,"k":"msg","n":-5}"#,
                Heard::Opaque { room: room(), seq: 3 },
            ),
            (r#"{"t":"later","room":5}"#, Heard::Unknown),
        ] {
            assert_eq!(read(text), Ok(heard), "{text}");
        }
    }

    #[test]
    fn what_no_server_says_is_named() {
        for (text, why) in [
            ("[]", "expected an object"),
            ("{}", "t is missing"),
            (r#"{"t":"ev","room":"r1","seq":-1,"ts":5,"k":"msg"}"#, "seq must be an integer"),
            (r#"{"t":"drop","room":"r1"}"#, "code is missing"),
        ] {
            let heard = read(text).map_err(|error| error.to_string());
            assert!(heard.as_ref().is_err_and(|words| words.contains(why)), "{text}: {heard:?}");
        }
    }

    #[test]
    fn an_answer_is_read_as_what_was_asked() {
        let answer = |text| match read(text) {
            Ok(Heard::Ok(answer)) => answer,
            other => panic!("{text} is heard as {other:?}"),
        };
        let hello = answer(
            r#"{"t":"ok","id":1,"user":"u1","session":"s9","now":1,"ping_s":25,"feat":["typing"],"limits":{"frame":65536,"inflight":64},"rooms":{"r1":{"epoch":"e7","base":41,"upto":57,"head":57,"first":1,"n":50,"role":"member","more":true},"r2":{"code":"not_found"}}}"#,
        );
        assert_eq!(hello.id, Some(1));
        let welcome = hello.welcome().unwrap();
        assert_eq!((welcome.ping_s, welcome.inflight), (25, 64));
        let denied = Denied { code: "not_found".into(), retry_ms: None };
        assert_eq!(welcome.rooms["r2"], Err(denied));
        let attached = welcome.rooms["r1"].as_ref().unwrap();
        assert_eq!((attached.base, attached.upto, attached.more), (41, 57, true));

        let sent = r#"{"t":"ok","id":7,"epoch":"e7","seq":58,"n":51,"ts":9,"dup":true}"#;
        let stored = answer(sent).stored().unwrap();
        assert_eq!((stored.seq, stored.n, stored.dup), (58, Some(51), true));

        let pinged = answer(r#"{"t":"ok","id":9,"now":1,"heads":{"r1":["e7",57]}}"#);
        assert_eq!(pinged.heads().unwrap().unwrap()["r1"].1, 57);
        assert_eq!(answer(r#"{"t":"ok","now":1}"#).heads(), Ok(None));
    }
}
