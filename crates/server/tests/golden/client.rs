//! Client: one WebSocket, blocking, that waits for nothing without a deadline.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tertulia_protocol::frame::{self, Decoder, Input, Message, Opcode, Side};
use tertulia_protocol::limits::SERVER_MESSAGE_BYTES_MAX;

/// What is not there by then does not come.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);

/// The same for a signal.
const SIGNAL_TIME_MAX: Duration = Duration::from_secs(5);

/// Receive buffer of a client that stops reading: a few messages.
const SMALL_BUFFER_BYTES: usize = 16 * 1024;

/// Most sends without an answer.
const INFLIGHT_MAX: u64 = 32;

/// Commands of the test itself have numbers that no vector uses.
const OWN_ID_MIN: u64 = 1 << 30;

/// From RFC 6455 §1.3; it may always be the same.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a server makes of it.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Any will do.
const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x88];

/// What comes out of a connection.
#[derive(Debug)]
enum Heard {
    Object(Value),
    /// A close frame with that code.
    Closed(Option<u16>),
    /// The socket is at its end.
    Gone,
}

pub(crate) struct Client {
    stream: TcpStream,
    decoder: Decoder,
    heard: VecDeque<Heard>,
    signals: VecDeque<Value>,
    own_id: u64,
}

impl Client {
    /// A WebSocket to the server. One that is to stall has little room for what it does not read.
    pub(crate) fn open(addr: SocketAddr, stalls: bool) -> Result<Client, String> {
        let stream = connect(addr, stalls).map_err(|why| format!("no connection: {why}"))?;
        let mut client = Client {
            stream,
            decoder: Decoder::new(Side::Client),
            heard: VecDeque::new(),
            signals: VecDeque::new(),
            own_id: OWN_ID_MIN,
        };
        client.shake_hands(addr)?;
        Ok(client)
    }

    fn shake_hands(&mut self, addr: SocketAddr) -> Result<(), String> {
        let request = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
             Sec-WebSocket-Protocol: tertulia.v1\r\n\r\n"
        );
        let no = |why: std::io::Error| format!("no upgrade: {why}");
        self.stream.write_all(request.as_bytes()).map_err(no)?;
        self.stream.set_read_timeout(Some(ANSWER_TIME_MAX)).map_err(no)?;
        let mut head = Vec::new();
        // Byte by byte, since what follows the head is not ours to read yet.
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).map_err(no)?;
            head.extend_from_slice(&byte);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let accept = format!("sec-websocket-accept: {ACCEPT}\r\n").to_lowercase();
        let agreed = head.starts_with("http/1.1 101 ")
            && head.contains(&accept)
            && head.contains("sec-websocket-protocol: tertulia.v1\r\n");
        if agreed { Ok(()) } else { Err(format!("no upgrade: {head}")) }
    }

    /// Sends one message. Whether it arrives shows in what comes back.
    pub(crate) fn say(&mut self, text: &str) {
        let mut bytes = Vec::new();
        frame::put_masked(&mut bytes, Opcode::Text, MASK, text.as_bytes());
        _ = self.stream.write_all(&bytes);
    }

    /// The next object, signals and pings aside.
    pub(crate) fn object(&mut self) -> Result<Value, String> {
        let deadline = Instant::now() + ANSWER_TIME_MAX;
        loop {
            match self.next(deadline)? {
                Heard::Object(object) => match object["t"].as_str() {
                    Some("sig") => self.signals.push_back(object),
                    Some("ping") => {}
                    _ => return Ok(object),
                },
                other => return Err(format!("expected an object, got {other:?}")),
            }
        }
    }

    /// The next signal; what comes before it stays to be read.
    pub(crate) fn signal(&mut self) -> Result<Value, String> {
        let deadline = Instant::now() + SIGNAL_TIME_MAX;
        let mut before = VecDeque::new();
        let found = loop {
            if let Some(signal) = self.signals.pop_front() {
                break Ok(signal);
            }
            match self.next(deadline) {
                Ok(Heard::Object(object)) if object["t"] == "sig" => break Ok(object),
                Ok(other) => before.push_back(other),
                Err(why) => break Err(format!("no signal: {why}")),
            }
        };
        before.append(&mut self.heard);
        self.heard = before;
        found
    }

    /// Nothing comes before the answer to a ping.
    pub(crate) fn quiet(&mut self) -> Result<(), String> {
        let id = self.next_id();
        self.say(&json!({"t": "ping", "id": id}).to_string());
        let object = self.object()?;
        if object["t"] == "ok" && object["id"] == id {
            return Ok(());
        }
        Err(format!("expected silence, got {object}"))
    }

    /// The server closes with that code: by its last word, or by the close frame where that is not lost.
    pub(crate) fn closed(&mut self, code: u16) -> Result<(), String> {
        let deadline = Instant::now() + ANSWER_TIME_MAX;
        let mut bye = false;
        loop {
            match self.next(deadline)? {
                Heard::Closed(Some(got)) if got == code => return Ok(()),
                Heard::Gone if bye => return Ok(()),
                Heard::Object(object) if object["t"] == "bye" && object["code"] == code => {
                    bye = true
                }
                Heard::Object(object) if object["t"] == "err" && !bye => {}
                Heard::Object(object) if matches!(object["t"].as_str(), Some("sig" | "ping")) => {}
                other => return Err(format!("expected the end with {code}, got {other:?}")),
            }
        }
    }

    /// Sends so many messages, each with what `body` says; each is answered `ok`. `cids` begins their names.
    pub(crate) fn sends(
        &mut self,
        cids: &str,
        room: &str,
        count: u64,
        body: impl Fn(u64) -> String,
    ) -> Result<(), String> {
        let mut open = Vec::new();
        for message in 1..=count {
            let id = self.next_id();
            let d = body(message);
            let cid = format!("{cids}-{message}");
            let send = format!(r#""room":"{room}","cid":"{cid}","d":{d}"#);
            self.say(&format!(r#"{{"t":"send","id":{id},{send}}}"#));
            open.push(id);
            while open.len() as u64 >= INFLIGHT_MAX || (message == count && !open.is_empty()) {
                let object = self.object()?;
                let id = object["id"].as_u64().unwrap_or_default();
                match object["t"].as_str() {
                    Some("ev") => {}
                    Some("ok") if open.contains(&id) => open.retain(|waits| *waits != id),
                    _ => return Err(format!("expected the answer to a send, got {object}")),
                }
            }
        }
        Ok(())
    }

    fn next_id(&mut self) -> u64 {
        self.own_id += 1;
        self.own_id
    }

    fn next(&mut self, deadline: Instant) -> Result<Heard, String> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(heard);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("nothing came in time".to_owned());
            }
            self.stream.set_read_timeout(Some(left)).map_err(|why| why.to_string())?;
            let mut bytes = vec![0; 64 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(Heard::Gone),
                Ok(read) => self.take_in(&mut bytes[..read])?,
                Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return Ok(Heard::Gone),
            }
        }
    }

    fn take_in(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        let mut input = Input::new(bytes);
        let mut pongs = Vec::new();
        while let Some(message) = self
            .decoder
            .next(&mut input, SERVER_MESSAGE_BYTES_MAX)
            .map_err(|why| why.to_string())?
        {
            match message {
                Message::Text(text) => {
                    for line in text.split('\n') {
                        let object = serde_json::from_str(line)
                            .map_err(|why| format!("the server said {line:?}: {why}"))?;
                        self.heard.push_back(Heard::Object(object));
                    }
                }
                Message::Ping(payload) => {
                    frame::put_masked(&mut pongs, Opcode::Pong, MASK, payload);
                }
                Message::Close { code, .. } => self.heard.push_back(Heard::Closed(code)),
                Message::Binary(_) => return Err("the server said something binary".to_owned()),
                Message::Pong(_) => {}
            }
        }
        _ = self.stream.write_all(&pongs);
        Ok(())
    }
}

fn connect(addr: SocketAddr, stalls: bool) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    if stalls {
        // Before the connection is made, or the window is announced already.
        socket.set_recv_buffer_size(SMALL_BUFFER_BYTES)?;
    }
    socket.connect(&addr.into())?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(ANSWER_TIME_MAX))?;
    Ok(stream)
}
