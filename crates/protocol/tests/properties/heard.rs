//! Heard: what a client reads of a server's object is what a strict reader finds there, by the fast way and by
//! the slow one.

use serde_json::Value;
use serde_json::value::RawValue;
use tertulia_protocol::heard::{self, Event, Heard};
use tertulia_protocol::line::Line;

use crate::strict;

pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(heard) = heard::read(text) else { return };
    if let Heard::Event(event) = &heard
        && event.d.is_some_and(|d| serde_json::from_str::<&RawValue>(d).is_err())
    {
        // The one thing that a client takes on trust: what a server says is not looked into.
        return;
    }
    let object = strict::object(text);
    match &heard {
        Heard::Event(event) => {
            // With a blank in front it goes the slow way.
            let spaced = format!(" {text}");
            assert_eq!(heard::read(&spaced).as_ref(), Ok(&heard), "the slow way differs");
            written_again(event);
            if let Some(object) = object {
                same_event(event, &object);
            }
        }
        Heard::Ok(answer) => {
            let attached = answer.attached();
            let (stored, welcome, heads) = (answer.stored(), answer.welcome(), answer.heads());
            let Some(object) = object else { return };
            if let Ok(attached) = attached {
                let there = [attached.base, attached.upto, attached.head, attached.first];
                let keys = ["base", "upto", "head", "first"];
                assert_eq!(there.map(Value::from), keys.map(|key| object[key].clone()));
                assert_eq!(attached.epoch.as_str(), object["epoch"]);
                assert_eq!(attached.more, object["more"] == true);
            }
            if let Ok(stored) = stored {
                assert_eq!(Value::from(stored.seq), object["seq"]);
                assert_eq!(stored.dup, object["dup"] == true);
            }
            if let Ok(welcome) = welcome {
                assert_eq!(*welcome.session, object["session"]);
                assert_eq!(Some(welcome.rooms.len()), object["rooms"].as_object().map(|o| o.len()));
            }
            if let Ok(Some(heads)) = heads {
                for (room, (epoch, seq)) in heads {
                    assert_eq!(object["heads"][&room], serde_json::json!([epoch.as_str(), seq]));
                }
            }
        }
        Heard::Err(refused) => {
            let Some(object) = object else { return };
            assert_eq!(*refused.code, object["code"]);
            assert_eq!(refused.retry_ms, object["retry_ms"].as_u64());
        }
        Heard::Opaque { room, seq } => {
            let Some(object) = object else { return };
            assert_eq!((Value::from(&**room), Value::from(*seq)), place(&object));
        }
        Heard::Signal { room, .. } | Heard::Lag { room } | Heard::Drop { room, .. } => {
            let Some(object) = object else { return };
            assert_eq!(**room, object["room"]);
        }
        Heard::Ping | Heard::AuthDue { .. } | Heard::Bye { .. } | Heard::Unknown => {}
    }
}

fn place(object: &Value) -> (Value, Value) {
    (object["room"].clone(), object["seq"].clone())
}

fn same_event(event: &Event<'_>, object: &Value) {
    assert_eq!((Value::from(&*event.room), Value::from(event.seq)), place(object));
    assert_eq!(Value::from(event.ts), object["ts"]);
    assert_eq!(*event.k, object["k"]);
    let text = |key: &str| object[key].as_str();
    assert_eq!((event.by.as_deref(), event.cid.as_deref()), (text("by"), text("cid")));
    assert_eq!(event.n, object["n"].as_u64());
    if let Some(d) = event.d.and_then(|d| serde_json::from_str::<Value>(d).ok()) {
        assert_eq!(d, object["d"]);
    }
}

/// Written key by key as our server does, an event means the same.
fn written_again(event: &Event<'_>) {
    let mut out = Vec::new();
    let line = Line::of(&mut out, "ev")
        .text("room", &event.room)
        .number("seq", event.seq)
        .number("ts", event.ts);
    let line = match &event.by {
        Some(by) => line.text("by", by),
        None => line,
    };
    let line = line.text("k", &event.k).maybe_number("n", event.n);
    let line = match &event.cid {
        Some(cid) => line.text("cid", cid),
        None => line,
    };
    match event.d {
        Some(d) => line.raw("d", d.as_bytes()).end(),
        None => line.end(),
    }
    let text = String::from_utf8(out).expect("a line is text");
    match heard::read(&text) {
        Ok(Heard::Event(again)) => assert_eq!(again, *event, "{text}"),
        other => panic!("{text} is heard as {other:?}"),
    }
}
