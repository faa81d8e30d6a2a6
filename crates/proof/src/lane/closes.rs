//! Closes: each way to be let go of, by its code.

use std::time::{Duration, Instant};

use serde_json::json;
use tertulia_protocol::frame::{Opcode, put_masked};

use super::{Scenario, name, say};
use crate::attack::Field;
use crate::client::Client;

pub(super) fn scenarios() -> Vec<Scenario> {
    let before_hello = [
        ("no hello at all", "", 4002),
        ("another object first", r#"{"t":"ping","id":1}"#, 4000),
        ("a hello without id", r#"{"t":"hello","token":"x"}"#, 4000),
        ("no token", r#"{"t":"hello","id":1}"#, 4100),
        ("no such token", r#"{"t":"hello","id":1,"token":"a.b.c"}"#, 4102),
    ];
    let after_hello: [(&str, Vec<u8>, u16); 6] = [
        ("a close", vec![0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8], 1000),
        ("no mask", b"\x81\x05Hello".to_vec(), 1002),
        ("bytes instead of text", vec![0x82, 0x80, 0, 0, 0, 0], 1003),
        ("no UTF-8", vec![0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
        ("too long", vec![0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 1], 1009),
        ("nonsense three times", [nonsense(), nonsense(), nonsense()].concat(), 4000),
    ];
    let before = before_hello.map(|(title, text, code)| {
        Scenario::new(title, move |field| {
            let mut client = field.stranger();
            if !text.is_empty() {
                client.say(text);
            }
            field.expect_close(title, &mut client, code);
        })
    });
    let after = after_hello.map(|(title, bytes, code)| {
        Scenario::new(title, move |field| {
            let mut client = field.alice();
            client.put(&bytes);
            field.expect_close(title, &mut client, code);
        })
    });
    let others = [
        Scenario::new("a token that has ended", expired),
        Scenario::new("a token that ends meanwhile", expires),
        Scenario::new("another user by auth", other_user),
        Scenario::new("the same session again", replaced),
        Scenario::new("one connection too many", too_many),
        Scenario::new("who reads nothing", reads_nothing),
    ];
    before.into_iter().chain(after).chain(others).collect()
}

fn nonsense() -> Vec<u8> {
    let mut frame = Vec::new();
    put_masked(&mut frame, Opcode::Text, [1, 2, 3, 4], b"nonsense");
    frame
}

fn expired(field: &Field) {
    let mut client = field.stranger();
    let token = field.server.token_that_ended(&field.alice);
    client.command(json!({"t": "hello", "token": token}));
    field.expect_close("expired", &mut client, 4101);
}

/// The leeway of five seconds is for clocks that differ; the one that counts is the server's own.
fn expires(field: &Field) {
    let token = field.server.token_for(&field.alice, 1);
    let (mut client, _) = Client::welcome(field.server, &token, json!([[field.room]]));
    let ended = client.end_by(Instant::now() + Duration::from_secs(11));
    field.expect(ended.close == Some(4101), || format!("{ended:?}"));
}

fn other_user(field: &Field) {
    let mut client = field.alice();
    client.command(json!({"t": "auth", "token": field.server.token(&field.mallory)}));
    field.expect_close("another user", &mut client, 4003);
}

fn replaced(field: &Field) {
    let token = field.server.token(&field.alice);
    let hello = json!({"t": "hello", "token": token, "session": name(field, "s")});
    let mut one = field.stranger();
    let session = one.ask(hello.clone())["session"].clone();
    let mut again = hello;
    again["session"] = session.clone();
    let mut other = field.stranger();
    let said = other.ask(again);
    field.expect(said["session"] == session, || format!("{said} is not {session}"));
    field.expect_close("replaced", &mut one, 4006);
}

/// `limits.connections_per_user` is 64.
fn too_many(field: &Field) {
    let user = name(field, "crowd");
    let _all: Vec<Client> = (0..64).map(|_| Client::join(field.server, &user, &[])).collect();
    let mut client = field.stranger();
    client.command(json!({"t": "hello", "token": field.server.token(&user)}));
    field.expect_close("one too many", &mut client, 4007);
}

/// Whoever takes nothing for a second is let go of, and comes back to everything.
fn reads_nothing(field: &Field) {
    let (server, room) = (field.server, &field.room);
    let mut sam = field.slow_stranger(4096);
    field.hello(&mut sam);
    let before = server.metric("tertulia_closes_total{code=\"4202\"}");
    let mut ann = Client::join(server, &field.alice, &[]);
    let text = "x".repeat(15_000);
    for n in 0..60 {
        let cid = format!("m{n}");
        let said = ann.ask(json!({"t": "send", "room": room, "cid": cid, "d": {"text": text}}));
        field.expect(said["t"] == "ok", || said.to_string());
    }
    field.stores(61);
    server.until("he is let go of", |server| {
        server.metric("tertulia_closes_total{code=\"4202\"}") > before
    });
    drop(sam);
    let last = say(field, &mut ann, "last", 1)[0];
    let mut sam = field.mallory();
    let page = sam.ask(json!({"t": "log", "room": room, "after": last - 1}));
    field.expect(page["evs"][0]["seq"] == last, || page.to_string());
}
