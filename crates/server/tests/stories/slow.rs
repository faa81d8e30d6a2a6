//! Slow: who does not read is let go of, and loses nothing.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::SockRef;

use tertulia_proof::client::{Client, Heard};
use tertulia_proof::server::WHISPER;

use crate::place;

/// Enough to fill every buffer on the way several times.
const MESSAGES: u64 = 150;
const BODY_BYTES: usize = 8_000;

#[test]
fn slow_reader_is_let_go_of_and_loses_nothing_while_others_go_on() {
    let place = place().set("limits.send_per_second", 0).set("limits.slow_close_s", 2);
    let server = place.open();
    server.room("garden", "group", &["ada", "bob", "sam"]);
    let mut ada = Client::join(&server, "ada", &["garden"]);
    let mut bob = Client::join(&server, "bob", &["garden"]);

    // Little is buffered on his side, and he reads nothing behind the welcome.
    let stream = TcpStream::connect(server.public).expect("a connection");
    SockRef::from(&stream).set_recv_buffer_size(32_768).expect("a small buffer");
    let upgraded = Client::upgrade_on(stream, server.public, "").expect("an answer");
    let mut sam = upgraded.expect("an upgrade");
    let token = server.token("sam");
    let said = sam.ask(json!({"t": "hello", "token": token, "rooms": [["garden"]]}));
    let epoch = said["rooms"]["garden"]["epoch"].as_str().expect("an epoch").to_owned();
    let start = said["rooms"]["garden"]["base"].as_u64().expect("a number");

    let text = format!("{WHISPER} {}", "x".repeat(BODY_BYTES));
    let mut longest = Duration::ZERO;
    for n in 1..=MESSAGES {
        let from = Instant::now();
        let cid = format!("c{n}");
        let send = json!({"t": "send", "room": "garden", "cid": cid, "d": {"text": text}});
        let said = ada.ask(send);
        assert_eq!(said["t"], "ok", "{said}");
        bob.find(|said| said["cid"] == cid.as_str());
        longest = longest.max(from.elapsed());
    }
    assert!(longest < Duration::from_secs(1), "the others waited {longest:?}");
    assert_eq!(server.metric("tertulia_lags_total"), 1, "his room was detached");
    server.until("he is let go of", |server| {
        server.metric("tertulia_closes_total{code=\"4202\"}") == 1
    });
    server.until("nothing waits for him", |server| {
        server.metric("tertulia_outbound_bytes") == 0 && server.metric("tertulia_connections") == 2
    });

    // What reached him before counts; he goes on behind it.
    let mut heard: Vec<u64> = Vec::new();
    let mut over = false;
    while !over {
        match sam.hear() {
            Heard::Line(line) => take(&line, &mut heard),
            Heard::Close(_) => {}
            Heard::End => over = true,
        }
    }
    let last = heard.last().copied().unwrap_or(start);
    let (mut sam, said) = Client::welcome(&server, &token, json!([["garden", epoch, last]]));
    let mut answer = said["rooms"]["garden"].clone();
    loop {
        assert!(answer["reset"].is_null() && answer["hole"].is_null(), "{answer}");
        let upto = answer["upto"].as_u64().expect("a number");
        while heard.last().is_none_or(|last| *last < upto) {
            let line = sam.object().to_string();
            take(&line, &mut heard);
        }
        if answer["more"].is_null() {
            break;
        }
        answer =
            sam.ask(json!({"t": "sub", "room": "garden", "epoch": epoch, "seq": heard.last()}));
    }
    assert_eq!(heard, (start + 1..=start + MESSAGES).collect::<Vec<u64>>());
}

/// Keeps the number of an event.
fn take(line: &str, heard: &mut Vec<u64>) {
    let said: Value = serde_json::from_str(line).expect("an object");
    if said["t"] == "ev" {
        heard.push(said["seq"].as_u64().expect("a number"));
    }
}
