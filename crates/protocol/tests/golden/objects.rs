//! The exact bytes of everything a server says, both ways: written, and heard by a client.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tertulia_protocol::event::{Content, Event, Why};
use tertulia_protocol::heard::{self, Answer, Heard};
use tertulia_protocol::reply::{
    self, Attached, Denied, HelloOk, LogOk, Promised, RoomShown, Stored,
};
use tertulia_protocol::{
    AppKind, Body, Cid, Close, Code, Epoch, Role, RoomId, RoomKind, SessionId, UserId,
};

use super::{Differs, check, same};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    wire: String,
    means: Box<RawValue>,
}

#[test]
fn what_a_server_writes() {
    check(
        "objects.json",
        |row: &Row| row.name.clone(),
        |row| {
            let mut out = Vec::new();
            Fields::of(&row.means).put(row.means.get(), &mut out);
            same(&row.wire, String::from_utf8(out).unwrap())
        },
    );
}

#[test]
fn what_a_client_hears() {
    check(
        "objects.json",
        |row: &Row| row.name.clone(),
        |row| {
            let Fields(expected) = Fields::of(&row.means);
            let got =
                heard::read(&row.wire).and_then(|heard| kept(heard, &expected)).map_err(|why| {
                    Differs { expected: json!(expected).to_string(), got: why.to_string() }
                })?;
            let passed_over = |key: &String| {
                !got.contains_key(key) && passed_over(&expected).contains(&key.as_str())
            };
            let mut expected = expected.clone();
            expected.retain(|key, _| !passed_over(key));
            same(json!(expected), json!(got))
        },
    );
}

/// An object of a row, by its keys.
struct Fields(Map<String, Value>);

impl Fields {
    fn of(raw: &RawValue) -> Fields {
        Fields(serde_json::from_str(raw.get()).unwrap())
    }

    fn inner(&self, key: &str) -> Fields {
        Fields(self.0[key].as_object().unwrap().clone())
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn maybe_text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.as_str().unwrap())
    }

    fn text(&self, key: &str) -> &str {
        self.maybe_text(key).unwrap_or_else(|| panic!("{key} is missing"))
    }

    fn maybe_number(&self, key: &str) -> Option<u64> {
        self.0.get(key).map(|value| value.as_u64().unwrap())
    }

    fn number(&self, key: &str) -> u64 {
        self.maybe_number(key).unwrap_or_else(|| panic!("{key} is missing"))
    }

    fn room(&self) -> RoomId {
        RoomId::parse(self.text("room")).unwrap()
    }

    fn user(&self, key: &str) -> Option<UserId> {
        self.maybe_text(key).map(|user| UserId::parse(user).unwrap())
    }

    fn epoch(&self) -> Epoch {
        Epoch::parse(self.text("epoch")).unwrap()
    }

    fn role(&self) -> Option<Role> {
        self.maybe_text("role").map(|role| Role::parse(role).unwrap())
    }

    fn kind(&self) -> RoomKind {
        RoomKind::parse(self.text("kind")).unwrap()
    }

    fn code(&self) -> Code {
        Code::ALL.into_iter().find(|code| code.as_str() == self.text("code")).unwrap()
    }

    fn put(&self, raw: &str, out: &mut Vec<u8>) {
        let id = self.maybe_number("id").map(|id| u32::try_from(id).unwrap());
        match self.text("t") {
            "ok" => self.put_ok(raw, id.unwrap(), out),
            "err" => {
                reply::put_err(
                    out,
                    id,
                    self.code(),
                    self.text("msg"),
                    self.maybe_number("retry_ms"),
                );
            }
            "ev" => self.put_event(out),
            "sig" => {
                reply::put_signal(out, &self.room(), self.text("k"), self.text("d").as_bytes())
            }
            "ping" => reply::put_ping(out),
            "lag" => reply::put_lag(out, &self.room()),
            "drop" => reply::put_drop(out, &self.room(), self.code()),
            "auth_due" => reply::put_auth_due(out, self.number("in_ms")),
            "bye" => {
                let number = self.number("code");
                let close = Close::ALL.iter().find(|close| u64::from(close.number()) == number);
                reply::put_bye(out, *close.unwrap(), self.maybe_number("retry_ms"));
            }
            other => panic!("a server does not say {other}"),
        }
    }

    /// What an `ok` answers is known by its fields.
    fn put_ok(&self, raw: &str, id: u32, out: &mut Vec<u8>) {
        if self.has("session") {
            self.put_hello(raw, id, out);
        } else if self.has("exp") {
            let roles = self.0.get("roles").and_then(Value::as_object).into_iter().flatten();
            let roles: Vec<_> = roles
                .map(|(room, role)| {
                    (
                        RoomId::parse(room).unwrap(),
                        role.as_str().map(|role| Role::parse(role).unwrap()),
                    )
                })
                .collect();
            reply::put_auth_ok(out, id, self.number("exp"), &roles);
        } else if self.has("base") {
            self.attached().put(out, id);
        } else if self.has("ts") {
            self.stored().put(out, id);
        } else if self.has("evs") {
            let events: Vec<Vec<u8>> = self.list("evs").iter().map(Fields::event).collect();
            let (events, more) = (&events.join(&b","[..]), self.has("more"));
            let (head, first) = (self.number("head"), self.number("first"));
            LogOk { epoch: self.epoch(), events, head, first, more }.put(out, id);
        } else if self.has("rooms") {
            let rooms: Vec<_> = self.list("rooms").iter().map(Fields::shown).collect();
            reply::put_rooms_ok(out, id, &rooms, self.has("more"));
        } else if self.has("room") {
            let room = self.inner("room");
            let (d, members) = (room.maybe_text("d"), room.number("members"));
            reply::put_room_ok(out, id, &room.shown(), d, members);
        } else if self.has("now") {
            let heads = self.0.get("heads").and_then(Value::as_object).map(|heads| {
                heads.iter().map(|(room, head)| {
                    let epoch = Epoch::parse(head[0].as_str().unwrap()).unwrap();
                    (RoomId::parse(room).unwrap(), epoch, head[1].as_u64().unwrap())
                })
            });
            reply::put_pong(out, id, self.number("now"), heads);
        } else if self.0.len() == 2 {
            reply::put_ok(out, id);
        } else {
            let epoch = self.has("epoch").then(|| self.epoch());
            reply::put_changed_ok(out, id, epoch, self.maybe_number("seq"), self.has("dup"));
        }
    }

    fn list(&self, key: &str) -> Vec<Fields> {
        let items = self.0[key].as_array().unwrap();
        items.iter().map(|item| Fields(item.as_object().unwrap().clone())).collect()
    }

    fn put_hello(&self, raw: &str, id: u32, out: &mut Vec<u8>) {
        let limits = self.inner("limits");
        let asked = self.inner("rooms");
        // The answers stand in the order in which the rooms were asked for; a map has lost it.
        let place = |room: &String| raw.rfind(&format!("\"{room}\":"));
        let mut names: Vec<&String> = asked.0.keys().collect();
        names.sort_by_key(|room| place(room));
        let rooms: Vec<_> = names
            .into_iter()
            .map(|room| {
                let answer = asked.inner(room);
                let result = if answer.has("code") {
                    let retry_ms = answer.0.get("retry_ms").and_then(Value::as_u64);
                    Err(Denied { code: answer.code(), retry_ms })
                } else {
                    Ok(answer.attached())
                };
                (RoomId::parse(room).unwrap(), result)
            })
            .collect();
        let feat: Vec<&str> =
            self.0["feat"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        HelloOk {
            user: &self.user("user").unwrap(),
            session: SessionId::parse(self.text("session")).unwrap(),
            now: self.number("now"),
            ping_s: self.number("ping_s"),
            feat: &feat,
            limits: Promised {
                frame: limits.number("frame"),
                msg: limits.number("msg"),
                rooms: limits.number("rooms"),
                inflight: limits.number("inflight"),
                dedup_s: limits.number("dedup_s"),
                page: limits.number("page"),
                jump: limits.number("jump"),
            },
            rooms: &rooms,
        }
        .put(out, id);
    }

    fn attached(&self) -> Attached {
        Attached {
            epoch: self.epoch(),
            base: self.number("base"),
            upto: self.number("upto"),
            head: self.number("head"),
            first: self.number("first"),
            n: self.number("n"),
            role: self.role().unwrap(),
            reset: self.has("reset"),
            hole: self.has("hole"),
            more: self.has("more"),
        }
    }

    fn stored(&self) -> Stored {
        let (seq, n, ts) = (self.number("seq"), self.maybe_number("n"), self.number("ts"));
        Stored { epoch: self.epoch(), seq, n, ts, dup: self.has("dup") }
    }

    fn shown(&self) -> RoomShown {
        RoomShown {
            id: RoomId::parse(self.text("id")).unwrap(),
            kind: self.kind(),
            name: self.maybe_text("name").map(Into::into),
            epoch: self.epoch(),
            head: self.number("head"),
            n: self.number("n"),
            role: self.role(),
        }
    }

    fn event(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put_event(&mut out);
        out
    }

    fn put_event(&self, out: &mut Vec<u8>) {
        let u = || self.user("u").unwrap();
        let content = match self.text("k") {
            "join" => Content::Join { u: u() },
            "leave" => {
                let all = [Why::Left, Why::Kicked, Why::Banned];
                let why = all.into_iter().find(|why| why.as_str() == self.text("why"));
                Content::Leave { u: u(), why: why.unwrap() }
            }
            "role" => Content::Role { u: u(), role: self.role().unwrap() },
            "room" => Content::Room {
                kind: self.kind(),
                name: self.maybe_text("name").map(Into::into),
                d: self.maybe_text("d").map(Into::into),
            },
            kind => Content::Said {
                kind: (kind != "msg").then(|| AppKind::parse(kind).unwrap()),
                re: self.maybe_number("re"),
                thread: self.maybe_number("thread"),
                d: Body::parse(serde_json::from_str(self.text("d")).unwrap()).unwrap(),
            },
        };
        Event {
            room: &self.room(),
            seq: self.number("seq"),
            ts: self.number("ts"),
            by: self.user("by").as_ref(),
            cid: self.maybe_text("cid").map(|cid| Cid::parse(cid).unwrap()),
            content: &content,
            n: self.maybe_number("n").unwrap_or_default(),
        }
        .put(out);
    }
}

/// Keys that a client of ours has no use for, by what they stand in.
fn passed_over(object: &Map<String, Value>) -> &'static [&'static str] {
    match object["t"].as_str().unwrap() {
        "ev" => &["re", "thread", "u", "why", "role", "kind", "name"],
        "ok" if object.contains_key("session") => &["user", "now", "feat", "limits"],
        "ok" if object.contains_key("now") => &["now"],
        // The answer is handed on as it stands.
        "ok" if !object.contains_key("base") && !object.contains_key("ts") => &[
            "epoch", "seq", "dup", "exp", "roles", "evs", "head", "first", "more", "rooms", "room",
        ],
        _ => &[],
    }
}

/// What a client keeps of what it heard, as the rows say it.
fn kept(
    heard: Heard<'_>,
    expected: &Map<String, Value>,
) -> Result<Map<String, Value>, heard::Unreadable> {
    let mut kept = match heard {
        Heard::Ok(answer) => answered(&answer, expected)?,
        Heard::Err(refused) => json!({
            "t": "err", "id": refused.id, "code": refused.code, "msg": refused.msg,
            "retry_ms": refused.retry_ms,
        }),
        Heard::Event(event) => json!({
            "t": "ev", "room": event.room, "seq": event.seq, "ts": event.ts, "by": event.by,
            "k": event.k, "n": event.n, "cid": event.cid, "d": event.d,
        }),
        Heard::Opaque { room, seq } => json!({"t": "ev", "room": room, "seq": seq}),
        Heard::Signal { room, k, d } => json!({"t": "sig", "room": room, "k": k, "d": d}),
        Heard::Ping => json!({"t": "ping"}),
        Heard::Lag { room } => json!({"t": "lag", "room": room}),
        Heard::Drop { room, code } => json!({"t": "drop", "room": room, "code": code}),
        Heard::AuthDue { in_ms } => json!({"t": "auth_due", "in_ms": in_ms}),
        Heard::Bye { code, retry_ms } => json!({"t": "bye", "code": code, "retry_ms": retry_ms}),
        Heard::Unknown => json!({"t": "unknown"}),
    };
    Ok(std::mem::take(without_nothing(kept.as_object_mut().unwrap())))
}

/// What is absent, and flags that are not set, leave no trace.
fn without_nothing(object: &mut Map<String, Value>) -> &mut Map<String, Value> {
    object.retain(|_, value| !value.is_null() && *value != json!(false));
    object
}

fn answered(
    answer: &Answer<'_>,
    expected: &Map<String, Value>,
) -> Result<Value, heard::Unreadable> {
    let mut means = if expected.contains_key("session") {
        let welcome = answer.welcome()?;
        let rooms: Map<String, Value> = welcome
            .rooms
            .iter()
            .map(|(room, result)| {
                let result = result.as_ref().map(attached);
                let refused = |denied: &heard::Denied<'_>| match denied.retry_ms {
                    Some(ms) => json!({"code": denied.code, "retry_ms": ms}),
                    None => json!({"code": denied.code}),
                };
                (room.clone(), result.unwrap_or_else(refused))
            })
            .collect();
        assert_eq!(expected["limits"]["inflight"], json!(welcome.inflight));
        json!({"session": welcome.session, "ping_s": welcome.ping_s, "rooms": rooms})
    } else if expected.contains_key("base") {
        attached(&answer.attached()?)
    } else if expected.contains_key("ts") {
        let Stored { epoch, seq, n, ts, dup } = answer.stored()?;
        json!({"epoch": epoch.as_str(), "seq": seq, "n": n, "ts": ts, "dup": dup})
    } else if expected.contains_key("now") {
        let heads = answer.heads()?.map(|heads| {
            let head =
                |(room, (epoch, seq)): (String, (Epoch, u64))| (room, json!([epoch.as_str(), seq]));
            heads.into_iter().map(head).collect::<Map<_, _>>()
        });
        json!({"heads": heads})
    } else {
        json!({})
    };
    means["t"] = json!("ok");
    means["id"] = json!(answer.id);
    Ok(means)
}

fn attached(attached: &Attached) -> Value {
    let mut means = json!({
        "epoch": attached.epoch.as_str(), "base": attached.base, "upto": attached.upto,
        "head": attached.head, "first": attached.first, "n": attached.n,
        "role": attached.role.as_str(), "reset": attached.reset, "hole": attached.hole,
        "more": attached.more,
    });
    without_nothing(means.as_object_mut().unwrap());
    means
}
