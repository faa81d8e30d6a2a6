//! A town: a server of a few lines that speaks just enough tertulia.v1 for a crowd, honestly or not.
//!
//! Rooms live in memory behind one lock; each connection has a thread that reads and one that writes.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tertulia_protocol::command::{self, Command, CommandId, Send, Sub};
use tertulia_protocol::event::{Content, Event};
use tertulia_protocol::frame::{Decoder, Input, Message, Side, put_text};
use tertulia_protocol::reply::{Attached, Denied, HelloOk, Promised, Stored, put_err};
use tertulia_protocol::{Cid, Code, Epoch, Role, RoomId, SessionId, UserId};

/// What the town does wrong, to one listener, once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Vice {
    None,
    /// Delivers nothing to it any more.
    Forgets,
    /// Delivers an event twice.
    Repeats,
    /// Delivers two events in the wrong order.
    Swaps,
    /// Delivers an event of another room.
    Gossips,
    /// Stores a message twice.
    Copies,
    /// Delivers another body.
    Alters,
    /// Refuses a send.
    Refuses,
    /// Answers no send.
    KeepsSilent,
    /// Asks its books whenever someone comes whom it has not seen, though it made them a member.
    Asks,
}

/// The event at which the vice shows.
const AT: u64 = 5;

/// A listener that takes nothing for so long is closed.
const SLOW: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Room {
    events: Vec<Vec<u8>>,
    cids: HashMap<(String, Cid), u64>,
    listeners: Vec<Listener>,
}

#[derive(Clone)]
struct Listener {
    connection: u64,
    to: Sender<Vec<u8>>,
    held: Option<Vec<u8>>,
}

#[derive(Default)]
struct State {
    rooms: HashMap<String, Room>,
    known: HashSet<String>,
    hits: u64,
    misses: u64,
    slow: u64,
    connections: u64,
}

pub(crate) struct Town {
    pub(crate) addr: SocketAddr,
}

impl Town {
    pub(crate) fn with(vice: Vice) -> Town {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), state.clone());
                std::thread::spawn(move || serve(stream, &state, vice));
            }
        });
        Town { addr }
    }
}

fn serve(mut stream: TcpStream, state: &Arc<Mutex<State>>, vice: Vice) -> Option<()> {
    stream.set_nodelay(true).unwrap();
    let mut arrived = Vec::new();
    let head_bytes = loop {
        let mut buffer = [0; 4096];
        let bytes = stream.read(&mut buffer).ok().filter(|bytes| *bytes > 0)?;
        arrived.extend_from_slice(&buffer[..bytes]);
        if let Some(end) = arrived.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(arrived[..head_bytes].to_vec()).unwrap();
    let words: Vec<&str> = head.split(' ').take(2).collect();
    match words[..] {
        ["GET", "/v1/ws"] => {
            let accept = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: tertulia.v1\r\n\r\n";
            stream.write_all(accept.as_bytes()).ok()?;
            Guest::new(stream, state.clone(), vice).listen()
        }
        [method, path] => {
            let body = body(&mut stream, &head, arrived.split_off(head_bytes));
            let (status, answer) = call(&mut state.lock().unwrap(), method, path, &body);
            let length = answer.len();
            let answer =
                format!("HTTP/1.1 {status} Fine\r\nContent-Length: {length}\r\n\r\n{answer}");
            stream.write_all(answer.as_bytes()).ok()
        }
        _ => None,
    }
}

fn body(stream: &mut TcpStream, head: &str, mut body: Vec<u8>) -> String {
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length = length.map_or(0, |length| length.parse().unwrap());
    let there = body.len();
    body.resize(length, 0);
    stream.read_exact(&mut body[there..]).unwrap();
    String::from_utf8(body).unwrap()
}

fn call(state: &mut State, method: &str, path: &str, body: &str) -> (u16, String) {
    let path: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (method, &path[..]) {
        ("POST", ["v1", "tokens"]) => {
            let wish: serde_json::Value = serde_json::from_str(body).unwrap();
            (200, format!(r#"{{"token":{},"exp":1}}"#, wish["user"]))
        }
        ("PUT", ["v1", "rooms", room]) => {
            state.rooms.entry((*room).to_owned()).or_default();
            (201, "{}".to_owned())
        }
        ("PUT", ["v1", "rooms", room, "members", _]) if state.rooms.contains_key(*room) => {
            (200, "{}".to_owned())
        }
        ("GET", ["metrics"]) => {
            let State { hits, misses, slow, .. } = state;
            let page = format!(
                "tertulia_membership_hits_total {hits}\ntertulia_membership_misses_total {misses}\n\
                 tertulia_reader_queries_total{{kind=\"standing\"}} {misses}\n\
                 tertulia_closes_total{{code=\"4202\"}} {slow}\n"
            );
            (200, page)
        }
        _ => (404, r#"{"code":"not_found"}"#.to_owned()),
    }
}

/// One connection.
struct Guest {
    stream: TcpStream,
    state: Arc<Mutex<State>>,
    vice: Vice,
    connection: u64,
    user: String,
    to: Sender<Vec<u8>>,
}

impl Guest {
    fn new(stream: TcpStream, state: Arc<Mutex<State>>, vice: Vice) -> Guest {
        SockRef::from(&stream).set_send_buffer_size(4096).unwrap();
        stream.set_write_timeout(Some(SLOW)).unwrap();
        let (to, from) = mpsc::channel::<Vec<u8>>();
        let (mut out, counts) = (stream.try_clone().unwrap(), state.clone());
        std::thread::spawn(move || {
            for object in from {
                let mut frame = Vec::new();
                put_text(&mut frame, &object);
                if let Err(error) = out.write_all(&frame) {
                    if error.kind() == std::io::ErrorKind::WouldBlock {
                        counts.lock().unwrap().slow += 1;
                    }
                    break;
                }
            }
            // The other side may be gone already.
            let _ = out.shutdown(Shutdown::Both);
        });
        let mut counted = state.lock().unwrap();
        counted.connections += 1;
        let connection = counted.connections;
        drop(counted);
        Guest { stream, state, vice, connection, user: String::new(), to }
    }

    fn listen(mut self) -> Option<()> {
        let mut decoder = Decoder::new(Side::Server);
        let mut buffer = [0; 16 * 1024];
        while let Some(bytes) = self.stream.read(&mut buffer).ok().filter(|bytes| *bytes > 0) {
            let mut input = Input::new(&mut buffer[..bytes]);
            while let Some(message) = decoder.next(&mut input, 64 * 1024).unwrap() {
                let Message::Text(text) = message else { continue };
                for object in text.split('\n') {
                    self.hear(object);
                }
            }
        }
        let mut state = self.state.lock().unwrap();
        for room in state.rooms.values_mut() {
            room.listeners.retain(|listener| listener.connection != self.connection);
        }
        Some(())
    }

    /// Says one object; who is gone does not hear it.
    fn says(&self, put: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        put(&mut out);
        let _ = self.to.send(out);
    }

    fn hear(&mut self, object: &str) {
        let said = command::read(object).unwrap_or_else(|why| panic!("{why:?} in {object}"));
        match (said.id, said.command) {
            (Some(id), Command::Hello(hello)) => {
                self.user = hello.token.unwrap().into();
                let state = self.state.clone();
                let mut state = state.lock().unwrap();
                let rooms: Vec<_> = hello
                    .rooms
                    .iter()
                    .map(|sub| (sub.room.clone(), Ok(self.attached(&mut state, sub))))
                    .collect();
                self.welcome(id, &rooms);
                for (room, result) in &rooms {
                    self.attach(&mut state, room, result.unwrap());
                }
            }
            (Some(id), Command::Sub(sub)) => {
                let state = self.state.clone();
                let mut state = state.lock().unwrap();
                let attached = self.attached(&mut state, &sub);
                self.says(|out| attached.put(out, id));
                self.attach(&mut state, &sub.room, attached);
            }
            (Some(id), Command::Send(send)) => self.send(id, &send),
            _ => {}
        }
    }

    fn welcome(&self, id: CommandId, rooms: &[(RoomId, Result<Attached, Denied>)]) {
        let limits = Promised {
            frame: 65_536,
            msg: 16_384,
            rooms: 1_000,
            inflight: 64,
            dedup_s: 604_800,
            page: 256,
            jump: 2_000,
        };
        let user = UserId::parse(&self.user).unwrap();
        let session = SessionId::parse(&self.user).unwrap();
        self.says(|out| {
            HelloOk { user: &user, session, now: 1, ping_s: 25, feat: &[], limits, rooms }
                .put(out, id);
        });
    }

    fn attached(&self, state: &mut State, sub: &Sub) -> Attached {
        let is_new = state.known.insert(format!("{} {}", sub.room, self.user));
        if is_new && self.vice == Vice::Asks {
            state.misses += 1;
        } else {
            state.hits += 1;
        }
        let head = state.rooms[sub.room.as_str()].events.len() as u64;
        Attached {
            epoch: Epoch::parse("e1").unwrap(),
            base: sub.from.map_or(head, |from| from.seq),
            upto: head,
            head,
            first: 1,
            n: head,
            role: Role::Member,
            reset: false,
            hole: false,
            more: false,
        }
    }

    /// Replays and goes on live; the lock that is held keeps the two together.
    fn attach(&self, state: &mut State, room: &RoomId, attached: Attached) {
        let room = state.rooms.get_mut(room.as_str()).unwrap();
        for event in &room.events[attached.base as usize..] {
            self.says(|out| out.extend_from_slice(event));
        }
        room.listeners.retain(|listener| listener.connection != self.connection);
        let to = self.to.clone();
        room.listeners.push(Listener { connection: self.connection, to, held: None });
    }

    fn send(&self, id: CommandId, send: &Send) {
        let mut state = self.state.lock().unwrap();
        let room = state.rooms.get_mut(send.room.as_str()).unwrap();
        let due = room.events.len() as u64 + 1 == AT;
        if self.vice == Vice::Refuses && due {
            room.events.push(self.event(send, AT));
            return self.says(|out| put_err(out, Some(id), Code::Forbidden, "not you", None));
        }
        let key = (self.user.clone(), send.cid);
        let dup = room.cids.get(&key).copied();
        let seq = dup.unwrap_or_else(|| {
            let seq = room.events.len() as u64 + 1;
            room.cids.insert(key, seq);
            let copies = if self.vice == Vice::Copies && due { 2 } else { 1 };
            for seq in seq..seq + copies {
                let event = self.event(send, seq);
                room.events.push(event.clone());
                deliver(room, seq, &event, self.vice);
            }
            seq
        });
        if self.vice == Vice::Gossips && due {
            let event = state.rooms[send.room.as_str()].events[AT as usize - 1].clone();
            let mut others = state.rooms.iter().filter(|(name, _)| **name != send.room.as_str());
            others.next().unwrap().1.listeners[0].to.send(event).unwrap();
        }
        if self.vice != Vice::KeepsSilent {
            let epoch = Epoch::parse("e1").unwrap();
            let stored = Stored { epoch, seq, n: Some(seq), ts: 1, dup: dup.is_some() };
            self.says(|out| stored.put(out, id));
        }
    }

    fn event(&self, send: &Send, seq: u64) -> Vec<u8> {
        let by = UserId::parse(&self.user).unwrap();
        let content = Content::Said { kind: None, re: None, thread: None, d: send.d.clone() };
        let mut event = Vec::new();
        Event {
            room: &send.room,
            seq,
            ts: 1,
            by: Some(&by),
            cid: Some(send.cid),
            content: &content,
            n: seq,
        }
        .put(&mut event);
        event
    }
}

fn deliver(room: &mut Room, seq: u64, event: &[u8], vice: Vice) {
    for (k, listener) in room.listeners.iter_mut().enumerate() {
        let mut objects = vec![event.to_vec()];
        if k == 0 {
            match vice {
                Vice::Forgets if seq >= AT => objects.clear(),
                Vice::Repeats if seq == AT => objects.push(event.to_vec()),
                Vice::Swaps if seq == AT => listener.held = objects.pop(),
                Vice::Alters if seq == AT => {
                    let altered = String::from_utf8(event.to_vec()).unwrap();
                    objects = vec![altered.replace(r#""at":"#, r#""at":1"#).into_bytes()];
                }
                _ => objects.extend(listener.held.take()),
            }
        }
        for object in objects {
            // Who is gone does not hear it.
            let _ = listener.to.send(object);
        }
    }
}
