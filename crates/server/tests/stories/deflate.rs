//! Deflate: what is long comes compressed to whoever offered to read it, and to nobody else.

use std::time::Instant;

use serde_json::json;
use tertulia_proof::client::Client;
use tertulia_proof::server::{PATIENCE, Server};

use crate::place;

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// Someone in the garden, who offers that or nothing.
fn join(server: &Server, user: &str, offer: &str) -> Client {
    let mut client = Client::upgrade(server.public, offer).expect("an upgrade");
    let token = server.token(user);
    let said = client.ask(json!({"t": "hello", "token": token, "rooms": [["garden"]]}));
    assert!(said["rooms"]["garden"]["code"].is_null(), "{said}");
    client
}

/// The garden's events up to this number, as they are said, and how many bytes came for them.
fn heard(client: &mut Client, upto: u64) -> (Vec<String>, u64) {
    let before = client.bytes;
    let mut lines = Vec::new();
    loop {
        assert!(client.hear_by(Instant::now() + PATIENCE).is_some_and(|heard| {
            let tertulia_proof::client::Heard::Line(line) = heard else { return false };
            lines.push(line);
            true
        }));
        let last: serde_json::Value = serde_json::from_str(&lines[lines.len() - 1]).expect("JSON");
        if last["seq"] == upto {
            return (lines, client.bytes - before);
        }
    }
}

/// So many messages in one.
fn say_at_once(client: &mut Client, cids: std::ops::Range<u64>) {
    let sends = cids.map(|cid| {
        let d = json!({"text": "the same words as ever, more or less"});
        json!({"t": "send", "id": cid, "room": "garden", "cid": format!("c{cid}"), "d": d})
            .to_string()
    });
    client.say(&sends.collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_is_long_comes_compressed_to_whoever_offered_it() {
    let server = place().open();
    server.room("garden", "group", &["ada", "bob", "cy"]);
    let mut ada = join(&server, "ada", "");
    let (mut bob, mut cy) = (join(&server, "bob", OFFER), join(&server, "cy", ""));
    assert!(bob.agreed_on_deflate() && !cy.agreed_on_deflate());
    let head = server.log("garden").expect("a log").len() as u64;

    say_at_once(&mut ada, 1..2);
    let (plain, few) = heard(&mut cy, head + 1);
    assert_eq!(heard(&mut bob, head + 1), (plain, few), "one is too short");

    say_at_once(&mut ada, 2..62);
    let (plain, many) = heard(&mut cy, head + 61);
    let (lines, bytes) = heard(&mut bob, head + 61);
    assert_eq!((lines.len(), &lines), (60, &plain));
    assert!(bytes < many / 3, "{bytes} bytes instead of {many}");
    assert!(server.metric("tertulia_deflate_saved_bytes_total") >= many - bytes);

    let log = json!({"t": "log", "room": "garden", "after": 0, "limit": 60});
    let before = (bob.bytes, cy.bytes);
    assert_eq!(bob.ask(log.clone())["events"], cy.ask(log)["events"]);
    let (bob_took, cy_took) = (bob.bytes - before.0, cy.bytes - before.1);
    assert!(bob_took < cy_took / 3, "{bob_took} bytes of log instead of {cy_took}");

    // Whoever comes back reads the same in the same way.
    let (mut bob, mut cy) = (join(&server, "bob", OFFER), join(&server, "cy", ""));
    let epoch = server.epoch("garden");
    let sub = json!({"t": "sub", "room": "garden", "epoch": epoch.as_str(), "seq": head + 1});
    let before = (bob.bytes, cy.bytes);
    bob.ask(sub.clone());
    cy.ask(sub);
    assert_eq!(heard(&mut bob, head + 61).0, heard(&mut cy, head + 61).0);
    let (bob_took, cy_took) = (bob.bytes - before.0, cy.bytes - before.1);
    assert!(bob_took < cy_took / 3, "{bob_took} bytes of replay instead of {cy_took}");
}

#[test]
fn where_it_is_off_no_offer_is_taken() {
    let server = place().set("server.deflate", false).open();
    server.room("garden", "group", &["ada"]);
    assert!(!join(&server, "ada", OFFER).agreed_on_deflate());
}
