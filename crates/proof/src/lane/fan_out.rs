//! Fan-out: everyone hears everything, once, in one order, whoever speaks at once. (I2, I3, I5, I9)

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Scenario, event, member, name, say};
use crate::attack::Field;
use crate::client::{Client, message};

pub(super) fn scenarios() -> Vec<Scenario> {
    let cases = [(1, 50, 1), (1, 50, 20), (4, 25, 4), (8, 10, 8), (16, 10, 16), (2, 200, 2)];
    let rooms = cases.map(|(senders, each, listeners)| {
        let title = format!("{senders} say {each} each to {listeners}");
        Scenario::new(title, move |field| fan_out(field, senders, each, listeners))
    });
    let others = [
        Scenario::new("ten rooms at once, and nothing crosses", ten_rooms),
        Scenario::new("one cid a hundred times over five connections", one_cid),
        Scenario::new("two users with the same cid", same_cid),
    ];
    rooms.into_iter().chain(others).collect()
}

fn fan_out(field: &Field, senders: usize, each: usize, listeners: usize) {
    let (server, room) = (field.server, &field.room);
    let names: Vec<String> = (0..senders).map(|n| member(field, &format!("u{n:02}"))).collect();
    let start = server.log(room).expect("a log").len() as u64;
    field.stores((senders + senders * each) as u64);
    let mut ears: Vec<Client> =
        (0..listeners).map(|_| Client::join(server, &field.alice, &[room])).collect();
    let mut mouths: Vec<Client> =
        names.iter().map(|user| Client::join(server, user, &[])).collect();
    for n in 0..each {
        for (mouth, user) in mouths.iter_mut().zip(&names) {
            mouth.command(message(room, &format!("{user}-{n}")));
        }
        for mouth in &mut mouths {
            let answer = mouth.find(|said| said["id"].is_u64());
            field.expect(answer["t"] == "ok", || answer.to_string());
        }
    }
    let last = start + (senders * each) as u64;
    let streams: Vec<Vec<String>> = ears.iter_mut().map(|ear| hear_up_to(ear, last)).collect();
    let stored = server.log(room).expect("a log").split_off(start as usize);
    for stream in &streams {
        field.expect(*stream == stored, || format!("{} of {}", stream.len(), stored.len()));
    }
    let mut by: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in &stored {
        let said: Value = serde_json::from_str(line).expect("an event");
        let text = |field: &str| said[field].as_str().unwrap_or_default().to_owned();
        by.entry(text("by")).or_default().push(text("cid"));
    }
    for user in &names {
        let in_order: Vec<String> = (0..each).map(|n| format!("{user}-{n}")).collect();
        field.expect(by.get(user) == Some(&in_order), || format!("{user}: {:?}", by.get(user)));
    }
}

/// The lines of the events up to that number.
fn hear_up_to(client: &mut Client, last: u64) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let crate::client::Heard::Line(line) = client.hear() else { return lines };
        let said: Value = serde_json::from_str(&line).expect("an object");
        let Some(seq) = event(&said) else { continue };
        lines.push(line);
        if seq >= last {
            return lines;
        }
    }
}

fn ten_rooms(field: &Field) {
    let server = field.server;
    let rooms: Vec<String> = (0..10).map(|n| format!("{}.{n}", field.room)).collect();
    let mut seats = Vec::new();
    for room in &rooms {
        let user = name(field, "inhabitant");
        server.room(room, "group", &[&user]);
        seats.push(Client::join(server, &user, &[room]));
    }
    for n in 0..10 {
        for (seat, room) in seats.iter_mut().zip(&rooms) {
            seat.command(message(room, &format!("m{n}")));
        }
    }
    for (seat, room) in seats.iter_mut().zip(&rooms) {
        let mut cids = Vec::new();
        while cids.len() < 10 {
            let said = seat.find(|said| said["t"] == "ev");
            field.expect(said["room"] == room.as_str(), || format!("{said} came to {room}"));
            cids.push(said["cid"].as_str().unwrap_or_default().to_owned());
        }
        let expected: Vec<String> = (0..10).map(|n| format!("m{n}")).collect();
        field.expect(cids == expected, || format!("{room}: {cids:?}"));
    }
}

fn one_cid(field: &Field) {
    let mut seats: Vec<Client> =
        (0..5).map(|_| Client::join(field.server, &field.alice, &[])).collect();
    for _ in 0..20 {
        seats.iter_mut().for_each(|seat| _ = seat.command(message(&field.room, "same")));
    }
    let answers = seats.iter_mut().flat_map(|seat| {
        (0..20).map(|_| seat.find(|said| said["id"].is_u64())).collect::<Vec<Value>>()
    });
    let answers: Vec<Value> = answers.collect();
    field.stores(1);
    let first = answers.iter().filter(|answer| answer["dup"].is_null()).count();
    let seq = &answers[0]["seq"];
    let is_so = seq.is_u64() && answers.iter().all(|answer| answer["seq"] == *seq) && first == 1;
    field.expect(is_so, || json!(answers).to_string());
}

fn same_cid(field: &Field) {
    let mut ann = Client::join(field.server, &field.alice, &[]);
    let mut bob = Client::join(field.server, &field.mallory, &[]);
    let (one, other) = (say(field, &mut ann, "same", 3), say(field, &mut bob, "same", 3));
    field.stores(6);
    let differ = one.iter().all(|seq| !other.contains(seq)) && one.len() + other.len() == 6;
    field.expect(differ, || format!("{one:?} and {other:?}"));
}
