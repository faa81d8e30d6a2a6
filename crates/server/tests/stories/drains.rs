//! Drains: a server that hands over says so, keeps its word, and is gone in time.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use tertulia_proof::client::{Client, Heard, message};
use tertulia_proof::http;
use tertulia_proof::server::PATIENCE;

use crate::place;

/// Enough that they do not all go in the same moment.
const MEMBERS: usize = 400;

#[test]
fn a_server_that_hands_over_tells_everyone_and_ends_in_time() {
    let place = place().set("server.drain_seconds", 10).set("limits.connections_per_user", 1000);
    let mut server = place.open();
    server.room("garden", "group", &["ada"]);
    let mut members: Vec<Client> =
        (0..MEMBERS).map(|_| Client::join(&server, "ada", &["garden"])).collect();
    let acked = members[0].send("garden", "before")["seq"].as_u64().expect("an ack");
    let from = Instant::now();
    server.signal(Signal::TERM);
    server.until("it wants no work", |server| !server.is_ready());
    let answer = http::call(server.internal, "GET", "/readyz", "", "").expect("an answer");
    assert_eq!(answer.status, 503);
    assert!(server.metric("tertulia_connections") > 0, "not ready comes first");

    let mut refused = 0;
    let mut spread = Vec::new();
    for member in &mut members {
        member.say(&json!({"t": "log", "id": 900, "room": "garden", "after": 0}).to_string());
    }
    for member in &mut members {
        let mut bye = None;
        loop {
            match member.hear() {
                Heard::Line(line) if line.contains("\"unavailable\"") => refused += 1,
                Heard::Line(line) if line.contains("\"bye\"") => bye = Some(line),
                Heard::Line(_) => {}
                Heard::Close(code) => assert_eq!(code, 4300),
                Heard::End => break,
            }
        }
        let bye: serde_json::Value =
            serde_json::from_str(&bye.expect("a last word")).expect("an object");
        assert_eq!(bye["code"], 4300);
        spread.push(bye["retry_ms"].as_u64().expect("when to come back"));
    }
    assert!(refused > 0, "nobody was told that it hands over");
    spread.sort_unstable();
    spread.dedup();
    assert!(spread.len() > MEMBERS / 4, "they would come back all at once");
    let status = server.ended(Duration::from_secs(10));
    assert!(status.success(), "{status}");
    assert!(from.elapsed() < Duration::from_secs(10), "it took {:?}", from.elapsed());

    drop(server);
    let server = place.open();
    let log = server.log("garden").expect("a log");
    assert!(log[acked as usize - 1].contains("\"before\""), "{log:?}");
    assert!(!place.said().contains("new epochs"), "an orderly end leaves no doubt");
}

#[test]
fn a_client_that_does_not_go_does_not_keep_the_server() {
    let place = place().set("server.drain_seconds", 3);
    let mut server = place.open();
    server.room("garden", "group", &["ada", "bob"]);
    // It neither reads nor closes.
    let stuck = Client::join(&server, "ada", &["garden"]);
    let mute = Client::upgrade(server.public, "").expect("an upgrade");
    server.signal(Signal::TERM);
    let status = server.ended(Duration::from_secs(8));
    assert!(status.success(), "{status}");
    drop((stuck, mute));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let place = place();
    let mut server = place.open();
    server.room("garden", "group", &["ada"]);
    let mut ada = Client::join(&server, "ada", &["garden"]);
    let seq = ada.send("garden", "c1")["seq"].as_u64().expect("an ack");
    // Nobody says hello here, so the drain would wait for it.
    let _mute = Client::upgrade(server.public, "").expect("an upgrade");
    server.signal(Signal::TERM);
    server.until("it hands over", |server| !server.is_ready());
    let from = Instant::now();
    server.signal(Signal::INT);
    let status = server.ended(PATIENCE);
    assert!(from.elapsed() < Duration::from_secs(1), "it took {:?}", from.elapsed());
    assert_eq!(status.code(), Some(1), "it was not orderly, and says so");
    let server = place.open();
    assert!(server.log("garden").expect("a log")[seq as usize - 1].contains("\"c1\""));
}

#[test]
fn what_was_accepted_before_the_signal_is_stored() {
    let place = place().set("limits.send_per_second", 0);
    let mut server = place.open();
    server.room("garden", "group", &["ada"]);
    let mut ada = Client::join(&server, "ada", &["garden"]);
    let first = ada.send("garden", "c0")["seq"].as_u64().expect("an ack");
    let cids: Vec<String> = (1..=60).map(|n| format!("c{n}")).collect();
    let ids: Vec<u64> = cids.iter().map(|cid| ada.command(message("garden", cid))).collect();
    server.signal(Signal::TERM);
    let mut acked = Vec::new();
    loop {
        match ada.hear() {
            Heard::Line(line) => {
                let said: serde_json::Value = serde_json::from_str(&line).expect("an object");
                let which = ids.iter().position(|id| said["id"] == *id);
                if let (Some(which), Some(seq)) = (which, said["seq"].as_u64()) {
                    acked.push((&cids[which], seq));
                }
            }
            Heard::Close(code) => assert_eq!(code, 4300),
            Heard::End => break,
        }
    }
    assert!(server.ended(PATIENCE).success());
    let server = place.open();
    let log = server.log("garden").expect("a log");
    for (cid, seq) in acked {
        assert!(seq > first);
        assert!(log[seq as usize - 1].contains(&format!("\"cid\":\"{cid}\"")), "{cid} at {seq}");
    }
}

#[test]
fn who_comes_in_while_it_hands_over_is_told_to_go_like_everyone() {
    let place = place().set("server.drain_seconds", 5);
    let mut server = place.open();
    let address = server.public;
    let knocking = || {
        std::thread::spawn(move || {
            let mut inside = Vec::new();
            while let Ok(client) = Client::upgrade(address, "") {
                inside.push(client);
            }
            inside.iter_mut().map(|client| client.end().close).collect::<Vec<Option<u16>>>()
        })
    };
    let threads = [(); 4].map(|()| knocking());
    server.until("some are in", |server| server.metric("tertulia_connections") > 100);
    let from = Instant::now();
    server.signal(Signal::TERM);
    let ends = threads.map(|thread| thread.join().expect("a list"));
    assert!(server.ended(PATIENCE).success());
    assert!(from.elapsed() < Duration::from_secs(5), "it waited for someone");
    for close in ends.concat() {
        assert_eq!(close, Some(4300));
    }
}
