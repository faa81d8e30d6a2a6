//! Knocks: who comes to the door and does not come in.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rustix::process::Signal;
use serde_json::json;

use tertulia_proof::client::{Client, Heard, upgrade_request};
use tertulia_proof::server::{PATIENCE, Server, raise_file_limit, wait_for};

use crate::place;

/// So many of each kind.
const CROWD: usize = 2000;

/// The settings' default, and a second for the machine.
const CUT_WITHIN: Duration = Duration::from_secs(11);

/// So many come at once: fewer than the system lets wait, or their time would begin before the server's.
const PACE: usize = 200;

/// How long others may wait meanwhile.
const OTHERS_WAIT: Duration = Duration::from_millis(500);

#[test]
fn bad_input_06_a_foreign_origin_is_refused_before_the_upgrade() {
    let place = place().set("server.allowed_origins", "https://app.example");
    let server = place.open();
    let host = server.public;
    let own = format!("http://{host}");
    let port = format!("http://{}:{}", host.ip(), host.port() ^ 1);
    for (origins, status) in [
        (vec![], 101),
        (vec![own.as_str()], 101),
        (vec!["https://app.example"], 101),
        (vec!["https://evil.example"], 403),
        (vec!["null"], 403),
        (vec!["https://app.example.evil.example"], 403),
        (vec!["https://evilapp.example"], 403),
        (vec!["https://app.example:444"], 403),
        (vec!["HTTPS://APP.EXAMPLE"], 403),
        (vec![port.as_str()], 403),
        (vec![own.as_str(), "https://evil.example"], 403),
        (vec![""], 403),
    ] {
        let headers: String =
            origins.iter().map(|origin| format!("Origin: {origin}\r\n")).collect();
        let answer = Client::upgrade(host, &headers);
        let got = answer.map_or_else(|answer| answer.status, |_| 101);
        assert_eq!(got, status, "{origins:?}");
    }
    assert_eq!(server.metric("tertulia_upgrades_refused_total"), 9);
}

#[test]
fn bad_input_06_who_sends_no_request_is_cut_and_the_others_come_in() {
    raise_file_limit(3 * CROWD as u64);
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    let mut crowd = Crowd::new();
    for n in 0..2 * CROWD {
        // Every other one sends its head one byte after the other.
        let head: &[u8] = b"GET / HTTP/1.1\r\nHost: nowhere\r\nX-Slow: yes";
        crowd.add(server.public, b"", if n % 2 == 0 { head } else { b"" });
    }
    let longest = crowd.wait_until_cut(&server, Duration::from_secs(3));
    assert!(longest < OTHERS_WAIT, "someone else waited {longest:?}");
    server.until("descriptors are back", |server| server.metric("tertulia_open_files") < 200);
}

#[test]
fn bad_input_06_who_says_no_hello_is_cut_and_the_others_come_in() {
    raise_file_limit(2 * CROWD as u64);
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    let mut crowd = Crowd::new();
    for _ in 0..CROWD {
        crowd.add(server.public, upgrade_request(server.public, "").as_bytes(), b"");
    }
    let longest = crowd.wait_until_cut(&server, Duration::from_secs(3));
    assert!(longest < OTHERS_WAIT, "someone else waited {longest:?}");
    let told = crowd.last_words.iter().filter(|words| tells_hello_timeout(words)).count();
    assert_eq!(told, CROWD, "were told why");
    let closes = server.metric("tertulia_closes_total{code=\"4002\"}");
    assert_eq!(closes, CROWD as u64);
    server.until("descriptors are back", |server| server.metric("tertulia_open_files") < 200);
}

#[test]
fn bad_input_06_who_sends_a_body_byte_after_byte_is_cut_and_the_others_come_in() {
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    let mut crowd = Crowd::new();
    let ada = server.token("ada");
    let ways = ["POST /v1/rooms/garden/messages", "PUT /v1/rooms/attic"].map(|way| {
        format!(
            "{way} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {ada}\r\nIdempotency-Key: c1\r\n\
             Content-Length: 1000\r\n\r\n"
        )
    });
    for n in 0..200 {
        crowd.add(server.public, ways[n % 2].as_bytes(), b" ");
    }
    let longest = crowd.wait_until_cut(&server, Duration::from_secs(1));
    assert!(longest < OTHERS_WAIT, "someone else waited {longest:?}");
    let told = |words: &&Vec<u8>| words.starts_with(b"HTTP/1.1 408 ");
    assert_eq!(crowd.last_words.iter().filter(told).count(), 200, "were told why");
    server.until("places are free", |server| server.metric("tertulia_http_connections") == 0);
}

#[test]
fn bad_input_06_who_is_answered_and_asks_nothing_more_is_cut() {
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    let mut crowd = Crowd::new();
    for _ in 0..200 {
        crowd.add(server.public, b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n", b"");
    }
    crowd.wait_until_cut(&server, Duration::from_secs(1));
    let answered = |words: &&Vec<u8>| words.ends_with(b"alive\n");
    assert_eq!(crowd.last_words.iter().filter(answered).count(), 200, "were answered first");
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

fn tells_hello_timeout(words: &[u8]) -> bool {
    let close = [0x88, 0, 0x0f, 0xa2];
    let has_close = words.windows(4).any(|four| (four[0], &four[2..]) == (close[0], &close[2..]));
    has_close && String::from_utf8_lossy(words).contains("\"code\":4002")
}

/// Sockets that do not behave.
struct Crowd {
    poll: Poll,
    open: HashMap<usize, Visitor>,
    last_words: Vec<Vec<u8>>,
    longest: Duration,
}

struct Visitor {
    stream: mio::net::TcpStream,
    since: Instant,
    drips: &'static [u8],
    dripped: usize,
    heard: Vec<u8>,
}

impl Crowd {
    fn new() -> Crowd {
        let poll = Poll::new().expect("a poll");
        Crowd { poll, open: HashMap::new(), last_words: Vec::new(), longest: Duration::ZERO }
    }

    /// One more, who says `first` at once and then a byte of `drips` now and then.
    fn add(&mut self, address: SocketAddr, first: &[u8], drips: &'static [u8]) {
        if self.open.len().is_multiple_of(PACE) {
            // They are let in as they come, so when this one is in, so are all before it.
            Client::upgrade(address, "").expect("an upgrade");
        }
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(first).expect("a fresh socket takes it");
        stream.set_nonblocking(true).expect("a socket");
        let mut stream = mio::net::TcpStream::from_std(stream);
        let place = self.open.len();
        let (registry, both) = (self.poll.registry(), Interest::READABLE);
        registry.register(&mut stream, Token(place), both).expect("registered");
        let since = Instant::now();
        let visitor = Visitor { stream, since, drips, dripped: 0, heard: Vec::new() };
        self.open.insert(place, visitor);
    }

    /// Goes on until everyone was cut, each in time. Someone else comes in again and again meanwhile; says
    /// how long that took at most.
    fn wait_until_cut(&mut self, server: &Server, drip_every: Duration) -> Duration {
        let mut events = Events::with_capacity(1024);
        let mut next_drip = Instant::now();
        let mut next_other = Instant::now();
        while !self.open.is_empty() {
            let now = Instant::now();
            if now >= next_drip {
                next_drip = now + drip_every;
                self.open.values_mut().for_each(Visitor::drip);
            }
            if now >= next_other {
                next_other = now + Duration::from_millis(200);
                Client::join(server, "ada", &["garden"]);
                self.longest = self.longest.max(now.elapsed());
            }
            self.poll.poll(&mut events, Some(Duration::from_millis(50))).expect("a poll");
            if events.is_empty() {
                let is_late = |visitor: &&Visitor| visitor.since.elapsed() > CUT_WITHIN;
                let late = self.open.values().filter(is_late).count();
                assert_eq!(late, 0, "were not cut within {CUT_WITHIN:?}");
            }
            for event in &events {
                let place = event.token().0;
                let Some(visitor) = self.open.get_mut(&place) else { continue };
                if visitor.is_cut() {
                    let visitor = self.open.remove(&place).expect("it is there");
                    self.last_words.push(visitor.heard);
                }
            }
        }
        self.longest
    }
}

impl Visitor {
    fn drip(&mut self) {
        if !self.drips.is_empty() {
            let byte = self.drips[self.dripped % self.drips.len()];
            // It may be cut already; the next read tells.
            _ = self.stream.write(&[byte]);
            self.dripped += 1;
        }
    }

    fn is_cut(&mut self) -> bool {
        let mut buffer = [0; 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return true,
                Ok(bytes) => self.heard.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => return true,
            }
        }
    }
}
