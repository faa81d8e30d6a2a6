//! Meaning: what a command says, as the golden rows write it.

use serde_json::{Map, Value, json};
use tertulia_protocol::command::{self, Command, Hello, Log, RoomOp, Said, Send, Sub};

/// What was read, as the rows say it.
pub(crate) fn means(said: &Said) -> Map<String, Value> {
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
