//! What a client's text means, or which error it earns.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tertulia_protocol::Code;
use tertulia_protocol::command::{self, Command, Hello, Log, Rejected, RoomOp, Said, Send, Sub};
use tertulia_protocol::limits::SIGNAL_BYTES_MAX;

use super::{BODY_BYTES_MAX, Differs, Repeat, check, one_text, same};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    r#in: Option<String>,
    in_repeat: Option<Repeat>,
    means: Option<Map<String, Value>>,
    err: Option<Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    id: Option<u64>,
    code: String,
    field: Option<String>,
}

#[test]
fn what_a_client_means() {
    check("commands.json", |row: &Row| row.name.clone(), run);
}

fn run(row: &Row) -> Result<(), Differs> {
    let got = read(&one_text(row.r#in.as_ref(), row.in_repeat.as_ref()));
    match (&row.means, &row.err) {
        (Some(expected), None) => {
            let got = got.map(|said| means(&said)).map_err(|no| Differs {
                expected: json!(expected).to_string(),
                got: format!("{no:?}"),
            })?;
            let mut expected = expected.clone();
            // Whether rooms were none or not named makes no difference to anyone.
            expected.retain(|key, value| key != "rooms" || *value != json!([]));
            for (key, value) in &mut expected {
                if *value == "*" {
                    *value = got.get(key).cloned().unwrap_or_default();
                }
            }
            same(json!(expected), json!(got))
        }
        (None, Some(err)) => {
            let field = err.field.as_deref().unwrap_or_default();
            let expected = format!("{} for {:?}, msg with {field:?}", err.code, err.id);
            match got {
                Err(no) if no.msg.contains(field) => {
                    let id = no.id.map(u64::from);
                    same(expected, format!("{} for {id:?}, msg with {field:?}", no.code.as_str()))
                }
                got => Err(Differs { expected, got: format!("{got:?}") }),
            }
        }
        _ => panic!("{}: a row expects one thing", row.name),
    }
}

/// Reads, and judges lengths as a server with the default limits does.
fn read(text: &str) -> Result<Said, Rejected> {
    let said = command::read(text)?;
    let (bytes, limit) = match &said.command {
        Command::Send(send) => (send.d.len(), BODY_BYTES_MAX),
        Command::Signal { d, .. } => (d.len(), SIGNAL_BYTES_MAX),
        _ => (0, 0),
    };
    if bytes <= limit {
        return Ok(said);
    }
    let msg = format!("d is {bytes} bytes, the limit is {limit}");
    Err(Rejected { id: said.id, code: Code::TooLarge, msg, object: true, sub: None })
}

/// What was read, as the rows say it.
fn means(said: &Said) -> Map<String, Value> {
    let mut means = match &said.command {
        Command::Hello(hello) => self::hello(hello),
        Command::Auth { token } => json!({"t": "auth", "token": token}),
        Command::Sub(sub) => merged(json!({"t": "sub"}), self::sub(sub)),
        Command::Unsub { room } => json!({"t": "unsub", "room": room.as_str()}),
        Command::Send(send) => self::send(send),
        Command::Typing { room, on } => json!({"t": "typing", "room": room.as_str(), "on": on}),
        Command::Signal { room, kind, d } => {
            json!({"t": "signal", "room": room.as_str(), "k": kind.as_str(), "d": d.as_str()})
        }
        Command::Log(Log { room, epoch, after, upto, limit }) => json!({
            "t": "log",
            "room": room.as_str(),
            "epoch": epoch.map(|epoch| epoch.to_string()),
            "after": after,
            "upto": upto,
            "limit": limit,
        }),
        Command::Rooms { after, limit } => {
            json!({"t": "rooms", "after": after.as_ref().map(|room| room.as_str()), "limit": limit})
        }
        Command::Room { room, op } => {
            merged(json!({"t": "room", "room": room.as_str()}), self::op(op))
        }
        Command::Ping { heads } => json!({"t": "ping", "heads": heads}),
        Command::Pong => json!({"t": "pong"}),
    };
    let means = means.as_object_mut().unwrap();
    means.insert("id".into(), json!(said.id));
    means.retain(|_, value| !value.is_null());
    std::mem::take(means)
}

fn merged(mut all: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("{more} is no object") };
    all.as_object_mut().unwrap().extend(more);
    all
}

fn hello(hello: &Hello) -> Value {
    let Hello { token, agent, session, rooms, want, ping_s } = hello;
    let rooms: Vec<Value> = rooms.iter().map(sub).collect();
    json!({
        "t": "hello",
        "token": token,
        "agent": agent,
        "session": session.map(|session| session.to_string()),
        "rooms": (!rooms.is_empty()).then_some(rooms),
        "want": want,
        "ping_s": ping_s,
    })
}

fn sub(sub: &Sub) -> Value {
    let mut means = json!({
        "room": sub.room.as_str(),
        "epoch": sub.from.map(|from| from.epoch.to_string()),
        "seq": sub.from.map(|from| from.seq),
        "page": sub.page,
        "jump": sub.jump,
    });
    means.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    means
}

fn send(send: &Send) -> Value {
    json!({
        "t": "send",
        "room": send.room.as_str(),
        "epoch": send.epoch.map(|epoch| epoch.to_string()),
        "cid": send.cid.as_str(),
        "prev": send.prev.map(|prev| prev.to_string()),
        "k": send.kind.as_ref().map_or("msg", |kind| kind.as_str()),
        "re": send.re,
        "thread": send.thread,
        "d": send.d.as_str(),
    })
}

fn op(op: &RoomOp) -> Value {
    match op {
        RoomOp::Create(settings) => merged(json!({"op": "create"}), self::settings(settings)),
        RoomOp::Get => json!({"op": "get"}),
        RoomOp::Set(settings) => merged(json!({"op": "set"}), self::settings(settings)),
        RoomOp::Del => json!({"op": "del"}),
        RoomOp::Join => json!({"op": "join"}),
        RoomOp::Leave => json!({"op": "leave"}),
        RoomOp::Kick(user) => json!({"op": "kick", "user": user.as_str()}),
        RoomOp::Ban(user) => json!({"op": "ban", "user": user.as_str()}),
        RoomOp::Unban(user) => json!({"op": "unban", "user": user.as_str()}),
        RoomOp::Role(user, role) => {
            json!({"op": "role", "user": user.as_str(), "role": role.as_str()})
        }
    }
}

fn settings(settings: &command::Settings) -> Value {
    json!({
        "kind": settings.kind.map(|kind| kind.as_str()),
        "name": settings.name,
        "d": settings.d.as_ref().map(|d| d.as_str()),
    })
}

#[test]
fn a_sub_that_is_refused_names_its_room() {
    let room_of = |text: &str| command::read(text).unwrap_err().sub.map(|room| room.to_string());
    let r1 = Some("r1".to_owned());
    assert_eq!(room_of(r#"{"t":"sub","id":2,"room":"r1","seq":5}"#), r1);
    assert_eq!(room_of(r#"{"page":0,"room":"r1","id":2,"t":"sub"}"#), r1);
    assert_eq!(room_of(r#"{"t":"sub","id":2,"room":"r 1","seq":5}"#), None);
    assert_eq!(room_of(r#"{"t":"sub","room":"r1"}"#), None, "it is not answered as a sub");
    assert_eq!(room_of(r#"{"t":"unsub","id":2,"room":5}"#), None);
    assert_eq!(room_of(r#"{"t":"log","id":2,"room":"r1"}"#), None);
}
