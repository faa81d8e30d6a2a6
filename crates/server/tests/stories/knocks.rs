//! Knocks: who comes to the door and does not come in. Requests that do not begin, upgrades that are no good and
//! pages of other origins are tried by T21.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use tertulia_proof::client::Client;
use tertulia_proof::mob::{Mob, Outcome};
use tertulia_proof::server::{PATIENCE, Server, wait_for};

use crate::place;

/// The settings' default, and a second for the machine.
const CUT_WITHIN: Duration = Duration::from_secs(11);

/// How long others may wait meanwhile.
const OTHERS_WAIT: Duration = Duration::from_millis(500);

/// Everyone drips and is cut in time; someone else comes in again and again meanwhile.
fn wait_until_cut(server: &Server, mob: Mob) -> Outcome {
    let other = || _ = Client::join(server, "ada", &["garden"]);
    let outcome = mob.wait_until_cut(CUT_WITHIN, Duration::from_secs(1), other);
    assert_eq!(outcome.left, 0, "were not cut within {CUT_WITHIN:?}");
    outcome
}

#[test]
fn bad_input_06_who_sends_a_body_byte_after_byte_is_cut_and_the_others_come_in() {
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    let mut mob = Mob::new();
    let ada = server.token("ada");
    let ways = ["POST /v1/rooms/garden/messages", "PUT /v1/rooms/attic"].map(|way| {
        format!(
            "{way} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {ada}\r\nIdempotency-Key: c1\r\n\
             Content-Length: 1000\r\n\r\n"
        )
    });
    for n in 0..200 {
        mob.add(server.public, ways[n % 2].as_bytes(), b" ");
    }
    let outcome = wait_until_cut(&server, mob);
    let longest = outcome.longest;
    assert!(longest < OTHERS_WAIT, "someone else waited {longest:?}");
    let told = |words: &&Vec<u8>| words.starts_with(b"HTTP/1.1 408 ");
    assert_eq!(outcome.last_words.iter().filter(told).count(), 200, "were told why");
    server.until("places are free", |server| server.metric("tertulia_http_connections") == 0);
}

#[test]
fn bad_input_06_who_is_answered_and_asks_nothing_more_is_cut() {
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    let mut mob = Mob::new();
    for _ in 0..200 {
        mob.add(server.public, b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n", b"");
    }
    let outcome = wait_until_cut(&server, mob);
    let answered = |words: &&Vec<u8>| words.ends_with(b"alive\n");
    assert_eq!(outcome.last_words.iter().filter(answered).count(), 200, "were answered first");
}

#[test]
fn bad_input_06_who_does_not_read_the_answers_is_cut() {
    let place = place().set("limits.send_per_second", 0);
    let place = ["header", "body", "http"]
        .iter()
        .fold(place, |place, what| place.set(&format!("limits.{what}_seconds"), 1));
    let server = place.open();
    server.room("garden", "group", &["ada"]);
    let message = json!({"by": "ada", "d": "x".repeat(16_000)}).to_string();
    for _ in 0..32 {
        server.done("POST", "/v1/rooms/garden/messages", &message);
    }
    // Half a megabyte each: more in all than the system keeps for one socket.
    let (host, key) = (server.public, &server.key);
    let page = format!(
        "GET /v1/rooms/garden/log HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n"
    );
    let mut deaf = TcpStream::connect(server.public).expect("a connection");
    deaf.write_all(page.repeat(40).as_bytes()).expect("a fresh socket takes it");
    let is_inside = |server: &Server| server.metric("tertulia_http_connections") == 1;
    server.until("it is inside", is_inside);
    // A second in which it may ask, and one for the answers.
    wait_for("its place is free", Duration::from_secs(4), || !is_inside(&server));
}

#[test]
fn who_comes_when_all_places_are_taken_waits_for_one() {
    let place = place()
        .set("limits.http_connections", 16)
        .set("limits.http_connections_per_address", 16)
        .set("limits.header_seconds", 30);
    let server = place.open();
    let idle = || TcpStream::connect(server.public).expect("a connection");
    let mut idle: Vec<TcpStream> = (0..16).map(|_| idle()).collect();
    server.until("all are taken", |server| server.metric("tertulia_http_connections") == 16);
    let mut late = TcpStream::connect(server.public).expect("the system takes it");
    late.write_all(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n").expect("and this");
    late.set_read_timeout(Some(OTHERS_WAIT)).expect("a time that is not zero");
    let mut answer = [0; 12];
    assert!(late.read(&mut answer).is_err(), "there was no place for it");
    idle.pop();
    late.set_read_timeout(Some(PATIENCE)).expect("a time that is not zero");
    late.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    // A WebSocket takes no place for longer than its upgrade.
    idle.clear();
    let clients = (0..20).map(|_| Client::upgrade(server.public, "").expect("an upgrade"));
    assert_eq!(clients.collect::<Vec<_>>().len(), 20);
}

#[test]
fn a_thousand_who_come_at_once_are_not_told_to_try_again_in_a_second() {
    let server = place().open();
    // It is busy, so nobody is let in: the system holds them all.
    server.signal(Signal::STOP);
    let from = Instant::now();
    let knock = |_| TcpStream::connect_timeout(&server.public, PATIENCE).expect("a connection");
    let knocking: Vec<TcpStream> = (0..1000).map(knock).collect();
    let took = from.elapsed();
    server.signal(Signal::CONT);
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    for stream in knocking {
        let answer = Client::upgrade_on(stream, server.public, "").expect("an answer");
        assert!(answer.is_ok(), "an upgrade");
    }
}
