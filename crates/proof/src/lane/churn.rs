//! Churn: coming and going leaves nothing behind. (I17)

use std::net::TcpStream;

use serde_json::json;

use super::{Scenario, member, say};
use crate::attack::Field;
use crate::client::{Client, upgrade_request};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("a hundred who come and go", come_and_go),
        Scenario::new("a hundred who leave before the upgrade", half_way),
        Scenario::new("a room heard and not heard, a hundred times", sub_and_unsub),
        Scenario::new("in and out of a room, thirty times", in_and_out),
        Scenario::new("fifty rooms made and deleted", made_and_deleted),
    ]
}

fn come_and_go(field: &Field) {
    for n in 0..100 {
        let client = field.alice();
        // Some say good-bye, the others are just gone.
        if n % 2 == 0 {
            let mut client = client;
            client.put(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]);
            field.expect_close("good-bye", &mut client, 1000);
        }
    }
}

fn half_way(field: &Field) {
    use std::io::Write;
    let request = upgrade_request(field.server.public, "");
    for n in 0..100 {
        let mut stream = TcpStream::connect(field.server.public).expect("a connection");
        let part = request.len() * n / 100;
        // It may be gone by then, which is as well.
        _ = stream.write_all(&request.as_bytes()[..part]);
    }
}

fn sub_and_unsub(field: &Field) {
    let mut bob = Client::join(field.server, &field.mallory, &[]);
    let mut ann = Client::join(field.server, &field.alice, &[]);
    for n in 0..100 {
        let said = bob.ask(json!({"t": "sub", "room": field.room}));
        field.expect(said["t"] == "ok", || said.to_string());
        if n % 10 == 0 {
            say(field, &mut ann, &format!("m{n}"), 1);
        }
        let said = bob.ask(json!({"t": "unsub", "room": field.room}));
        field.expect(said["t"] == "ok", || said.to_string());
    }
    field.stores(10);
}

fn in_and_out(field: &Field) {
    let bob = member(field, "bob");
    let path = format!("/v1/rooms/{}/members/{bob}", field.room);
    for _ in 0..30 {
        field.server.done("DELETE", &path, "");
        member(field, "bob");
    }
    field.stores(61);
}

fn made_and_deleted(field: &Field) {
    let mut ann = Client::join(field.server, &field.alice, &[]);
    for _ in 0..50 {
        let room = format!("{}.now", field.room);
        for op in ["create", "del"] {
            let said = ann.ask(json!({"t": "room", "op": op, "room": room}));
            field.expect(said["t"] == "ok", || format!("{op}: {said}"));
        }
    }
}
