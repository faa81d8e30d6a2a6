//! Commands: what is accepted is JSON and says just that, what is refused is refused in words that a client
//! can read, and neither depends on how it was written.

use serde_json::{Map, Value, json};
use tertulia_protocol::command::{self, Command, Rejected, Said};
use tertulia_protocol::heard::{self, Heard};
use tertulia_protocol::reply;

use crate::meaning::means;
use crate::strict;

/// Longest reason of a refusal: it is answered to everyone who sends nonsense.
const MSG_BYTES_MAX: usize = 512;

pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match command::read(text) {
        Ok(said) => {
            let means = means(&said);
            if let Some(object) = strict::object(text) {
                means.iter().for_each(|(key, value)| says(&object, key, value));
            }
            said_again(&said, means);
        }
        Err(rejected) => refused(text, &rejected),
    }
    glanced_at(text);
    // Bodies of HTTP calls are read with the same fields.
    if command::settings(text).is_ok() || command::role(text).is_ok() {
        strict::object(text);
    }
}

/// The id that a glance finds is the one that reading finds.
fn glanced_at(text: &str) {
    let Some(id) = command::id_of_send(text) else { return };
    match command::read(text) {
        Ok(said) => assert!(said.id == Some(id) && matches!(said.command, Command::Send(_))),
        Err(rejected) => assert_eq!(rejected.id, Some(id), "{text}"),
    }
}

/// What the command has for `key` stands in the object, or is what its absence means.
#[track_caller]
fn says(object: &Value, key: &str, means: &Value) {
    let there = &object[key];
    match (key, there) {
        ("d", _) => {
            let d = means.as_str().expect("a body is text");
            assert_eq!(serde_json::from_str::<Value>(d).ok().as_ref(), Some(there));
            assert!(!d.contains(['\r', '\n']), "a body is one line");
        }
        ("k", Value::Null) => assert_eq!(means, "msg"),
        ("on" | "heads", Value::Null) => assert_eq!(*means, false),
        ("rooms", Value::Array(entries)) => {
            for (entry, sub) in entries.iter().zip(means.as_array().expect("rooms are listed")) {
                for (place, key) in ["room", "epoch", "seq"].iter().enumerate() {
                    // An epoch alone is no position.
                    if *key != "epoch" || !entry[2].is_null() {
                        assert_eq!(entry.get(place).unwrap_or(&Value::Null), &sub[key], "{key}");
                    }
                }
            }
            assert_eq!(Some(entries.len()), means.as_array().map(Vec::len));
        }
        _ => assert_eq!(means, there, "{key}"),
    }
}

/// Written without anything that is not needed, it says the same.
fn said_again(said: &Said, means: Map<String, Value>) {
    let mut text = String::from("{");
    for (key, value) in &means {
        let value = match (key.as_str(), value) {
            ("d", Value::String(d)) => d.clone(),
            ("rooms", Value::Array(rooms)) => {
                rooms.iter().map(entry).collect::<Value>().to_string()
            }
            _ => value.to_string(),
        };
        text += &format!("{key:?}:{value},");
    }
    text.pop();
    text.push('}');
    assert_eq!(command::read(&text).as_ref(), Ok(said), "{text}");
    let send = said.id.filter(|_| matches!(said.command, Command::Send(_)));
    assert_eq!(command::id_of_send(&text), send, "{text}");
}

/// A room as `hello` lists it.
fn entry(sub: &Value) -> Value {
    let options: Map<String, Value> = ["page", "jump"]
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), sub.get(key)?.clone())))
        .collect();
    json!([sub["room"], sub["epoch"], sub["seq"], options])
}

fn refused(text: &str, rejected: &Rejected) {
    let Rejected { id, code, msg, object, sub } = rejected;
    assert!(!msg.is_empty() && msg.len() <= MSG_BYTES_MAX, "{} bytes: {msg}", msg.len());
    let mut line = Vec::new();
    reply::put_err(&mut line, *id, *code, msg, None);
    let line = String::from_utf8(line).expect("a line is text");
    match heard::read(&line) {
        Ok(Heard::Err(heard)) => {
            assert_eq!((heard.id, &*heard.code, &*heard.msg), (*id, code.as_str(), &**msg));
        }
        other => panic!("{line} is heard as {other:?}"),
    }
    if !object {
        let found = serde_json::from_str::<Value>(text);
        assert!(!found.is_ok_and(|found| found.is_object()), "it is an object after all");
        assert_eq!((*id, sub), (None, &None));
    } else if let Some(object) = strict::object(text) {
        if let Some(id) = id {
            assert_eq!(object["id"], *id);
        }
        if let Some(room) = sub {
            assert_eq!((&object["t"], &object["room"]), (&json!("sub"), &json!(room.as_str())));
        }
    }
}
