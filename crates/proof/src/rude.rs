//! Rude: one client that takes more than its share, in six ways. (I11, I12)
//!
//! Each keeps at it until it is told to end, comes back when it is thrown out, and counts what it did: who did
//! little has shown nothing. It is a member like the others and sends nothing that has to be read with care; what
//! is rude is how much of it comes.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tertulia_protocol::frame::{Deflater, Opcode, payload_of};
use tertulia_protocol::heard::{self, Heard as Object};
use tertulia_protocol::limits::OBJECTS_PER_MESSAGE_MAX;

use crate::attack::calls::ask_all;
use crate::attack::handshake::bomb;
use crate::attack::wire::{close, cut, frame, text};
use crate::client::{Client, Heard, message};
use crate::server::Server;

/// Who it is.
pub(crate) const USER: &str = "mallory";

/// `limits.rooms_per_connection` as it comes.
pub(crate) const ROOMS: usize = 1_000;

/// What its system takes when it does not read.
const RECEIVE_BUFFER_BYTES: usize = 4_096;

/// Longest text of a message, as `limits.frame_bytes` has it, and longest body, as `limits.body_bytes` has it.
const TEXT_BYTES_MAX: usize = 65_536;
const BODY_BYTES_MAX: usize = 16_384;

/// A message of so many bytes may come in fragments of one byte: the server takes 1,024 of them.
const SPLIT_BYTES: usize = 1_000;

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// A way to be rude.
pub(crate) struct Rude {
    /// Its number in the figures of T34.
    pub(crate) id: &'static str,
    /// What it does, in a few words.
    pub(crate) title: &'static str,
    /// Does it until then.
    pub(crate) run: fn(&Ground<'_>, Instant) -> Deeds,
}

/// All of them.
pub(crate) const ALL: &[Rude] = &[
    Rude { id: "R1", title: "sends at full speed", run: sends },
    Rude { id: "R2", title: "reads a byte a second", run: dawdles },
    Rude { id: "R3", title: "opens 1,000 rooms and stays", run: hoards },
    Rude { id: "R4", title: "joins and leaves in a loop", run: joins_and_leaves },
    Rude { id: "R5", title: "sends decompression bombs", run: bombs },
    Rude { id: "R6", title: "sends fragments of one byte", run: splits },
];

/// Where it is rude.
pub(crate) struct Ground<'a> {
    pub(crate) server: &'a Server,
    /// The room of the others.
    pub(crate) room: &'static str,
    /// So many rooms of its own.
    pub(crate) rooms: &'a [String],
    /// What is done in bursts is done once in this time.
    pub(crate) every: Duration,
    /// How long it is rude, in full seconds.
    pub(crate) seconds: u64,
}

/// What it did.
#[derive(Default)]
pub(crate) struct Deeds {
    pub(crate) did: Vec<Did>,
    /// What no server may do even to it.
    pub(crate) wrongs: Vec<String>,
}

/// One thing that it did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Did {
    pub(crate) what: &'static str,
    pub(crate) times: u64,
    /// Less than that is not rude.
    pub(crate) least: u64,
}

impl Deeds {
    fn did(&mut self, what: &'static str, times: u64, least: u64) {
        self.did.push(Did { what, times, least });
    }

    /// What two of its connections did at once.
    fn and(mut self, other: Deeds) -> Deeds {
        self.did.extend(other.did);
        self.wrongs.extend(other.wrongs);
        self
    }

    fn expect(&mut self, is_so: bool, what: impl FnOnce() -> String) {
        if !is_so {
            self.wrongs.push(what());
        }
    }
}

impl Ground<'_> {
    /// Someone who hears the room of the others.
    fn enters(&self) -> Client {
        Client::join(self.server, USER, &[self.room])
    }

    fn offers_deflate(&self) -> Client {
        let mut client = Client::upgrade(self.server.public, OFFER).expect("an upgrade");
        self.greets(&mut client, json!([[self.room]]));
        client
    }

    /// Says hello on a connection that exists. Gives the welcome.
    fn greets(&self, client: &mut Client, rooms: Value) -> Value {
        let token = self.server.token(USER);
        let said = client.ask(json!({"t": "hello", "token": token, "rooms": rooms}));
        assert_eq!(said["t"], "ok", "hello: {said}");
        said
    }
}

/// What came of what was poured out.
#[derive(Default)]
struct Poured {
    messages: u64,
    done: u64,
    refused: u64,
}

/// Writes `messages` as fast as they are read, a few at a time, and reads what is answered: until then, on one
/// connection after the other.
fn pour(
    until: Instant,
    enters: impl Fn() -> Client,
    mut messages: impl FnMut() -> (u64, Vec<u8>) + Send,
) -> Poured {
    let mut poured = Poured::default();
    while Instant::now() < until {
        let mut client = enters();
        let mut writer = client.stream.try_clone().expect("a second handle");
        let written = std::thread::scope(|threads| {
            let writing = threads.spawn(|| {
                let mut written = 0;
                while Instant::now() < until {
                    let (count, bytes) = messages();
                    if writer.write_all(&bytes).is_err() {
                        break;
                    }
                    written += count;
                }
                written
            });
            while Instant::now() < until {
                match client.hear_by(until) {
                    Some(Heard::Line(line)) => match heard::read(&line) {
                        Ok(Object::Ok(_)) => poured.done += 1,
                        Ok(Object::Err(_)) => poured.refused += 1,
                        _ => {}
                    },
                    Some(Heard::Close(_)) | None => {}
                    Some(Heard::End) => break,
                }
            }
            // Whoever writes to someone who does not read hears now that it is over.
            _ = client.stream.shutdown(Shutdown::Both);
            writing.join().expect("a writer does not panic")
        });
        poured.messages += written;
    }
    poured
}

/// Far over its rate, and over what may be on its way: as many sends in a message as there may be, one message
/// behind the other.
fn sends(ground: &Ground<'_>, until: Instant) -> Deeds {
    let mut said = 0;
    let messages = || {
        let mut lines = String::new();
        for _ in 0..OBJECTS_PER_MESSAGE_MAX {
            said += 1;
            let mut send = message(ground.room, &format!("rude-{said}"));
            send["id"] = json!(said);
            lines += &format!("{send}\n");
        }
        (OBJECTS_PER_MESSAGE_MAX as u64, text(lines.as_bytes()))
    };
    let poured = pour(until, || ground.enters(), messages);
    let mut deeds = Deeds::default();
    deeds.did("sends that were taken", poured.done, 1);
    deeds.did("sends that were refused", poured.refused, 500 * ground.seconds);
    deeds
}

/// A byte a second, of a room in which two hundred thousand are said.
fn dawdles(ground: &Ground<'_>, until: Instant) -> Deeds {
    let lags = || ground.server.metric("tertulia_lags_total");
    let before = lags();
    let mut client = Client::narrow(ground.server.public, RECEIVE_BUFFER_BYTES);
    ground.greets(&mut client, json!([[ground.room]]));
    let (mut bytes, mut next) = (0, Instant::now());
    while Instant::now() < until {
        bytes += client.stream.read(&mut [0]).unwrap_or(0) as u64;
        next = (next + Duration::from_secs(1)).min(until);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let mut deeds = Deeds::default();
    deeds.did("bytes read", bytes, ground.seconds);
    // Not only slow: so slow that the server had to let its room go.
    deeds.did("rooms let go of", lags() - before, 1);
    deeds
}

/// As many rooms as one connection may have, and all at once; and again on another connection, so that each part
/// of the time has such a moment. By turns it names them in its hello and one by one.
fn hoards(ground: &Ground<'_>, until: Instant) -> Deeds {
    let (mut deeds, mut stays) = (Deeds::default(), Vec::new());
    let entries = json!(ground.rooms.iter().map(|room| [room]).collect::<Vec<_>>());
    let sub = |room| json!({"t": "sub", "room": room});
    let (mut attached, mut next) = (0, Instant::now());
    while Instant::now() < until {
        let mut client = Client::upgrade(ground.server.public, "").expect("an upgrade");
        let answers: Vec<Value> = if stays.len() % 2 == 0 {
            let said = ground.greets(&mut client, entries.clone());
            said["rooms"].as_object().expect("rooms").values().cloned().collect()
        } else {
            ground.greets(&mut client, json!([]));
            ask_all(&mut client, ground.rooms.iter().map(sub))
        };
        let refused = answers.iter().find(|said| !said["code"].is_null());
        deeds.expect(refused.is_none(), || format!("a room was refused: {refused:?}"));
        attached += answers.iter().filter(|said| said["code"].is_null()).count() as u64;
        stays.push(client);
        next = (next + ground.every).min(until);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    for client in &mut stays {
        let heads = client.ask(json!({"t": "ping", "heads": true}));
        let rooms = heads["heads"].as_object().map_or(0, serde_json::Map::len);
        deeds.expect(rooms == ROOMS, || format!("{rooms} rooms are open in the end"));
    }
    deeds.did("rooms opened", attached, ROOMS as u64);
    deeds
}

/// One connection opens the room and lets it go as fast as it is answered, and is followed by a fresh one once it
/// is refused; another one comes, opens it and goes, again and again.
fn joins_and_leaves(ground: &Ground<'_>, until: Instant) -> Deeds {
    std::thread::scope(|threads| {
        let visits = threads.spawn(|| comes_and_goes(ground, until));
        let subs = opens_and_lets_go(ground, until);
        subs.and(visits.join().expect("a visitor does not panic"))
    })
}

fn opens_and_lets_go(ground: &Ground<'_>, until: Instant) -> Deeds {
    let mut deeds = Deeds::default();
    let (mut done, mut refused) = (0, 0);
    while Instant::now() < until {
        let mut client = ground.enters();
        for t in ["unsub", "sub"].into_iter().cycle() {
            let answer = client.ask(json!({"t": t, "room": ground.room}));
            if answer["t"] != "ok" {
                let is_so = answer["code"] == "rate_limited";
                deeds.expect(is_so, || format!("{t}: {answer}"));
                refused += 1;
                break;
            }
            done += 1;
            if Instant::now() >= until {
                break;
            }
        }
    }
    deeds.did("joins and leaves", done, 100 * ground.seconds);
    deeds.did("joins and leaves that were refused", refused, 0);
    deeds
}

fn comes_and_goes(ground: &Ground<'_>, until: Instant) -> Deeds {
    let (mut deeds, mut visits) = (Deeds::default(), 0);
    while Instant::now() < until {
        let mut client = ground.enters();
        client.put(&close(1000));
        // The server closes first, so that no port stays taken on this side.
        deeds.expect(client.end().close == Some(1000), || "a close was not answered".to_owned());
        visits += 1;
    }
    deeds.did("visits", visits, 10 * ground.seconds);
    deeds
}

/// One bomb after the other, each of which ends its connection. Beside them, on a connection that may stay,
/// messages that are as long as a message may be once they are inflated, and say next to nothing.
fn bombs(ground: &Ground<'_>, until: Instant) -> Deeds {
    std::thread::scope(|threads| {
        let longest = threads.spawn(|| {
            let message = inflates_to_the_longest();
            let some = message.repeat(64);
            let poured = pour(until, || ground.offers_deflate(), || (64, some.clone()));
            let mut deeds = Deeds::default();
            deeds.did("messages of a few bytes that are 64 KiB", poured.messages, 100);
            deeds
        });
        let bombs = explodes(ground, until);
        bombs.and(longest.join().expect("nobody panics who only writes"))
    })
}

fn explodes(ground: &Ground<'_>, until: Instant) -> Deeds {
    let (mut deeds, mut bombs) = (Deeds::default(), 0);
    let bomb = frame(0xc1, &bomb());
    while Instant::now() < until {
        let mut client = ground.offers_deflate();
        client.put(&bomb);
        let ended = client.end();
        deeds.expect(ended.close == Some(1009), || format!("a bomb: {ended:?}, not 1009"));
        bombs += 1;
    }
    deeds.did("bombs", bombs, 10 * ground.seconds);
    deeds
}

/// A pong, which needs no answer and counts for no rate, and blanks behind it.
fn inflates_to_the_longest() -> Vec<u8> {
    let mut pong = br#"{"t":"pong"}"#.to_vec();
    pong.resize(TEXT_BYTES_MAX, b' ');
    let mut plain = Vec::new();
    Deflater::default().put(&mut plain, Opcode::Text, [&pong[..]]);
    frame(0xc1, payload_of(&plain).expect("a whole frame"))
}

/// The longest body in fragments of one byte, which are too many and end the connection, again and again. Beside
/// it, on another connection, messages that may come like that.
fn splits(ground: &Ground<'_>, until: Instant) -> Deeds {
    std::thread::scope(|threads| {
        let allowed = threads.spawn(|| {
            let mut said = 0;
            let messages = || {
                said += 1;
                let mut ping = json!({"t": "ping", "id": said}).to_string().into_bytes();
                ping.resize(SPLIT_BYTES, b' ');
                (1, in_bytes(&ping))
            };
            let poured = pour(until, || ground.enters(), messages);
            let (fragments, answers) = (poured.messages * SPLIT_BYTES as u64, poured.done);
            let mut deeds = Deeds::default();
            deeds.did("fragments of what was let through", fragments, 10_000 * ground.seconds);
            deeds.did("messages in fragments that were answered", answers, 10 * ground.seconds);
            deeds
        });
        let refused = splits_too_much(ground, until);
        refused.and(allowed.join().expect("nobody panics who only writes"))
    })
}

fn splits_too_much(ground: &Ground<'_>, until: Instant) -> Deeds {
    let (mut deeds, mut times) = (Deeds::default(), 0);
    let mut send = message(ground.room, "rude-in-bytes");
    send["id"] = json!(1);
    send["d"] = json!("x".repeat(BODY_BYTES_MAX - 2));
    let bytes = in_bytes(send.to_string().as_bytes());
    while Instant::now() < until {
        let mut client = ground.enters();
        client.put(&bytes);
        let ended = client.end();
        deeds.expect(ended.close == Some(1008), || format!("fragments: {ended:?}, not 1008"));
        times += 1;
    }
    deeds.did("messages in too many fragments", times, 10 * ground.seconds);
    deeds
}

/// A text message of which each byte is a fragment.
fn in_bytes(payload: &[u8]) -> Vec<u8> {
    cut(payload, &(1..payload.len()).collect::<Vec<usize>>())
}
