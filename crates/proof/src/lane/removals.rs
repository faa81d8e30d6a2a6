//! Removals: whoever is out hears nothing that comes after, on no device and through no door. (I4, I7)

use serde_json::{Value, json};

use super::{Scenario, event, member, say};
use crate::attack::Field;
use crate::client::{Client, Heard, message};

/// Devices of the one who is removed.
const DEVICES: usize = 3;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("a kick in a stream", |field| removed(field, "members", "kicked")),
        Scenario::new("a ban in a stream", |field| removed(field, "bans", "banned")),
        Scenario::new("leaving on one device", leaves),
        Scenario::new("a room that is deleted, and made again", deleted),
        Scenario::new("a revoked user with five connections", revoked),
        Scenario::new("a reader who was a member", reader),
        Scenario::new("a banned user who is put back", put_back),
        Scenario::new("the last owner", last_owner),
    ]
}

/// Removes bob from the stream that ann makes; on each device the last event is his own removal.
fn removed(field: &Field, by: &str, why: &str) {
    let (server, room) = (field.server, &field.room);
    let mut ann = Client::join(server, &field.alice, &[]);
    let bob = member(field, "bob");
    let mut devices: Vec<Client> =
        (0..DEVICES).map(|_| Client::join(server, &bob, &[room])).collect();
    (0..10).for_each(|n| _ = ann.command(message(room, &format!("before{n}"))));
    let method = if by == "bans" { "PUT" } else { "DELETE" };
    server.done(method, &format!("/v1/rooms/{room}/{by}/{bob}"), "");
    (0..10).for_each(|n| _ = ann.command(message(room, &format!("after{n}"))));
    (0..20).for_each(|_| _ = ann.find(|said| said["id"].is_u64()));
    // Joined, ten and ten, and out.
    field.stores(22);
    for device in &mut devices {
        let heard = up_to_drop(device, "forbidden");
        let last = heard.last().cloned().unwrap_or_default();
        let is_so = last["k"] == "leave" && last["u"] == bob.as_str() && last["why"] == why;
        field.expect(is_so, || format!("the last that came was {last}"));
        let said = device.ask(json!({"t": "sub", "room": room}));
        field.expect_err("to hear again", &said, "not_found");
        let said = device.ask(json!({"t": "log", "room": room, "after": 0}));
        field.expect_err("to read", &said, "not_found");
        field.expect_err("to send", &device.send(room, "late"), "not_found");
    }
    let page = server.call_as(&server.token(&bob), "GET", &format!("/v1/rooms/{room}/log"), "");
    field.expect(page.status == 404, || format!("over HTTP: {page:?}"));
}

/// The events up to the `drop` with that code, which has to come.
fn up_to_drop(client: &mut Client, code: &str) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let said = client.object();
        if event(&said).is_some() {
            events.push(said);
        } else if said["t"] == "drop" {
            assert_eq!(said["code"], code, "{said}");
            return events;
        }
    }
}

fn leaves(field: &Field) {
    let bob = member(field, "bob");
    let mut one = Client::join(field.server, &bob, &[&field.room]);
    let mut other = Client::join(field.server, &bob, &[&field.room]);
    let said = one.ask(json!({"t": "room", "op": "leave", "room": field.room}));
    field.expect(said["t"] == "ok", || said.to_string());
    field.stores(2);
    let last = up_to_drop(&mut other, "not_member").pop().unwrap_or_default();
    field.expect(last["why"] == "left", || format!("the other device heard {last}"));
}

fn deleted(field: &Field) {
    let (server, room) = (field.server, format!("{}.old", field.room));
    server.room(&room, "group", &[&field.alice]);
    let before = server.epoch(&room);
    let mut ann = Client::join(server, &field.alice, &[&room]);
    server.done("DELETE", &format!("/v1/rooms/{room}"), "");
    up_to_drop(&mut ann, "not_found");
    server.room(&room, "group", &[&field.alice]);
    let position = json!({"t": "sub", "room": room, "epoch": before.as_str(), "seq": 1});
    let said = ann.ask(position);
    field.expect(said["reset"] == true, || format!("the log is another one: {said}"));
    field.expect(server.epoch(&room) != before, || "it has the old epoch".to_owned());
}

fn revoked(field: &Field) {
    let (server, room) = (field.server, &field.room);
    let bob = member(field, "bob");
    let mut devices: Vec<Client> = (0..5).map(|_| Client::join(server, &bob, &[room])).collect();
    server.done("POST", &format!("/v1/users/{bob}/revoke"), "");
    let mut ann = Client::join(server, &field.alice, &[]);
    let first = say(field, &mut ann, "after", 3)[0];
    field.stores(4);
    for device in &mut devices {
        let (mut late, mut close) = (0, None);
        loop {
            match device.hear() {
                Heard::Line(line) => {
                    let said: Value = serde_json::from_str(&line).expect("an object");
                    late += usize::from(event(&said).is_some_and(|seq| seq >= first));
                }
                Heard::Close(code) => close = Some(code),
                Heard::End => break,
            }
        }
        field.expect((late, close) == (0, Some(4103)), || format!("{late} events, {close:?}"));
    }
}

fn reader(field: &Field) {
    let bob = member(field, "bob");
    let mut seat = Client::join(field.server, &bob, &[&field.room]);
    say(field, &mut seat, "member", 1);
    let path = format!("/v1/rooms/{}/members/{bob}", field.room);
    field.server.done("PUT", &path, r#"{"role":"reader"}"#);
    field.expect_err("a reader sends", &seat.send(&field.room, "reader"), "forbidden");
    let mut ann = Client::join(field.server, &field.alice, &[]);
    let seq = say(field, &mut ann, "heard", 1)[0];
    let heard = seat.find(|said| said["k"] == "msg" && said["by"] != bob.as_str());
    field.expect(event(&heard) == Some(seq), || format!("a reader hears {heard}"));
    field.stores(4);
}

fn put_back(field: &Field) {
    let bob = member(field, "bob");
    let (server, room) = (field.server, &field.room);
    server.done("PUT", &format!("/v1/rooms/{room}/bans/{bob}"), "");
    let mut seat = Client::join(server, &bob, &[]);
    let said = seat.ask(json!({"t": "room", "op": "join", "room": room}));
    field.expect_err("a banned user joins", &said, "not_found");
    member(field, "bob");
    say(field, &mut seat, "back", 1);
    field.stores(4);
}

fn last_owner(field: &Field) {
    let mut ann = Client::join(field.server, &field.alice, &[]);
    let room = format!("{}.own", field.room);
    let said = ann.ask(json!({"t": "room", "op": "create", "room": room, "kind": "group"}));
    field.expect(said["t"] == "ok", || said.to_string());
    let said = ann.ask(json!({"t": "room", "op": "leave", "room": room}));
    field.expect_err("the last owner leaves", &said, "forbidden");
}
