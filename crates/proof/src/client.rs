//! Client: one blocking connection, by hand.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use serde_json::{Value, json};
use tertulia_protocol::frame::{Decoder, Inflater, Input, Message, Opcode, Side, put_masked};
use tertulia_protocol::limits::SERVER_MESSAGE_BYTES_MAX;

use crate::http::{self, Answer};
use crate::server::{PATIENCE, Server};

/// Something from the server.
#[derive(Clone, PartialEq, Debug)]
pub enum Heard {
    /// One object.
    Line(String),
    /// A close frame.
    Close(u16),
    /// The end of the connection.
    End,
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// The code in `bye`, and when to come back.
    pub bye: Option<(u64, Option<u64>)>,
    /// The code of the close frame.
    pub close: Option<u16>,
}

/// One connection.
pub struct Client {
    /// The socket, for whoever mistreats it.
    pub stream: TcpStream,
    decoder: Decoder,
    /// Where compressed messages were agreed on.
    inflater: Option<Inflater>,
    heard: VecDeque<Heard>,
    /// Frames that came, of whatever kind.
    pub frames: u64,
    /// Bytes that came, behind the upgrade.
    pub bytes: u64,
    next_id: u64,
}

/// The lines of an upgrade, without those that a story wants to choose.
pub fn upgrade_request(address: SocketAddr, headers: &str) -> String {
    format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: tertulia.v1\r\n{headers}\r\n"
    )
}

impl Client {
    /// A connection whose upgrade was granted. `headers` are whole lines.
    ///
    /// Errors: the answer that refused it; with status 0 if none came.
    pub fn upgrade(address: SocketAddr, headers: &str) -> Result<Client, Answer> {
        let gone = |error: std::io::Error| {
            let body = error.to_string();
            Answer { status: 0, head: String::new(), body }
        };
        let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(gone)?;
        Client::upgrade_on(stream, address, headers).map_err(gone)?
    }

    /// The same on a socket that is set up already.
    pub fn upgrade_on(
        stream: TcpStream,
        address: SocketAddr,
        headers: &str,
    ) -> std::io::Result<Result<Client, Answer>> {
        let (answer, client) = Client::knock(stream, upgrade_request(address, headers).as_bytes())?;
        Ok(client.ok_or(answer))
    }

    /// Sends a request as it stands, with whatever is behind it. Gives the answer, and the connection if it was
    /// upgraded.
    pub fn knock(
        mut stream: TcpStream,
        request: &[u8],
    ) -> std::io::Result<(Answer, Option<Client>)> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // It may be refused before all of it is sent; the answer tells.
        _ = stream.write_all(request);
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            // One by one, so that nothing behind the head is taken with it.
            stream.read_exact(&mut byte)?;
            head.extend_from_slice(&byte);
        }
        let is_upgraded = head.starts_with(b"HTTP/1.1 101 ");
        if !is_upgraded && !request.starts_with(b"HEAD ") {
            let length = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.and_then(|text| text.parse().ok()).unwrap_or(0)];
            stream.read_exact(&mut body)?;
            head.extend(body);
        }
        let answer = http::read(&head).ok_or(ErrorKind::InvalidData)?;
        let decoder = Decoder::new(Side::Client);
        let inflater = answer.header("sec-websocket-extensions").map(|_| Inflater::default());
        let client = Client {
            stream,
            decoder,
            inflater,
            heard: VecDeque::new(),
            frames: 0,
            bytes: 0,
            next_id: 0,
        };
        Ok((answer, is_upgraded.then_some(client)))
    }

    /// A connection with so little room for what it has not read. The window is announced with the connection:
    /// it cannot be taken back later.
    #[track_caller]
    pub fn narrow(address: SocketAddr, receive_bytes: usize) -> Client {
        let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None).expect("a socket");
        set_socket_recv_buffer_size(&socket, receive_bytes).expect("a small buffer");
        connect(&socket, &address).expect("a connection");
        let client = Client::upgrade_on(socket.into(), address, "");
        client.expect("an answer").expect("an upgrade")
    }

    /// Someone who said hello, with these rooms, and was welcome. Gives the welcome, too.
    #[track_caller]
    pub fn welcome(server: &Server, token: &str, rooms: Value) -> (Client, Value) {
        let mut client = Client::upgrade(server.public, "").expect("an upgrade");
        let said = client.ask(json!({"t": "hello", "token": token, "rooms": rooms}));
        assert_eq!(said["t"], "ok", "{said}");
        (client, said)
    }

    /// Someone who hears these rooms from now on.
    #[track_caller]
    pub fn join(server: &Server, user: &str, rooms: &[&str]) -> Client {
        let rooms: Vec<Value> = rooms.iter().map(|room| json!([room])).collect();
        let (client, said) = Client::welcome(server, &server.token(user), json!(rooms));
        let rooms = said["rooms"].as_object().expect("rooms");
        assert!(rooms.values().all(|room| room["code"].is_null()), "{said}");
        client
    }

    /// Whether compressed messages were agreed on.
    pub fn agreed_on_deflate(&self) -> bool {
        self.inflater.is_some()
    }

    /// Writes bytes as they are. The other side may be gone; then a read tells.
    pub fn put(&mut self, bytes: &[u8]) {
        _ = self.stream.write_all(bytes);
    }

    /// Says one message.
    pub fn say(&mut self, text: &str) {
        let mut frame = Vec::with_capacity(text.len() + 14);
        put_masked(&mut frame, Opcode::Text, [1, 2, 3, 4], text.as_bytes());
        self.put(&frame);
    }

    /// The next thing that comes by then, if any.
    pub fn hear_by(&mut self, until: Instant) -> Option<Heard> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Some(heard);
            }
            let left = until.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).expect("a time that is not zero");
            if !self.take_in(usize::MAX) && Instant::now() >= until {
                return None;
            }
        }
    }

    /// Reads once, and no more than so many bytes, which may end within a frame. False if nothing has come.
    pub fn take_in(&mut self, bytes_max: usize) -> bool {
        let mut buffer = [0; 64 * 1024];
        let room = bytes_max.min(buffer.len());
        match self.stream.read(&mut buffer[..room]) {
            Ok(0) => self.heard.push_back(Heard::End),
            Ok(bytes) => {
                self.bytes += bytes as u64;
                self.decode(&mut buffer[..bytes]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return false;
            }
            Err(_) => self.heard.push_back(Heard::End),
        }
        true
    }

    /// The next thing of what was read.
    pub fn at_hand(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    fn decode(&mut self, bytes: &mut [u8]) {
        let mut input = Input::new(bytes);
        loop {
            let limit = SERVER_MESSAGE_BYTES_MAX;
            let next = match &mut self.inflater {
                Some(inflater) => self.decoder.next_inflated(&mut input, limit, inflater),
                None => self.decoder.next(&mut input, limit),
            };
            match next {
                Ok(None) => return,
                Ok(Some(message)) => {
                    self.frames += 1;
                    match message {
                        Message::Text(text) => {
                            let lines = text.lines().map(|line| Heard::Line(line.to_owned()));
                            self.heard.extend(lines);
                        }
                        Message::Close { code, .. } => {
                            self.heard.push_back(Heard::Close(code.unwrap_or(1005)));
                        }
                        Message::Ping(_) | Message::Pong(_) => {}
                        Message::Binary(_) => panic!("the server sent bytes"),
                    }
                }
                Err(violation) => panic!("the server broke the rules: {violation}"),
            }
        }
    }

    /// The next thing, which has to come.
    #[track_caller]
    pub fn hear(&mut self) -> Heard {
        self.hear_by(Instant::now() + PATIENCE).expect("something comes")
    }

    /// The next object.
    #[track_caller]
    pub fn object(&mut self) -> Value {
        match self.hear() {
            Heard::Line(line) => serde_json::from_str(&line).expect("an object"),
            other => panic!("an object was expected, {other:?} came"),
        }
    }

    /// The next object that is `wanted`; the others are passed over.
    #[track_caller]
    pub fn find(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "what was wanted has not come");
            let object = self.object();
            if wanted(&object) {
                return object;
            }
        }
    }

    /// Gives a command and waits for its reply; what comes before is passed over.
    #[track_caller]
    pub fn ask(&mut self, command: Value) -> Value {
        let id = self.command(command);
        self.find(|object| object["id"] == id)
    }

    /// Gives a command without waiting. Says under which id.
    pub fn command(&mut self, mut command: Value) -> u64 {
        self.next_id += 1;
        command["id"] = json!(self.next_id);
        self.say(&command.to_string());
        self.next_id
    }

    /// Sends a message and waits for what came of it.
    #[track_caller]
    pub fn send(&mut self, room: &str, cid: &str) -> Value {
        self.ask(message(room, cid))
    }

    /// Everything up to the end of the connection, which has to come by then.
    #[track_caller]
    pub fn end_by(&mut self, until: Instant) -> Ended {
        let mut ended = Ended { bye: None, close: None };
        loop {
            match self.hear_by(until) {
                Some(Heard::Line(line)) => {
                    let said: Value = serde_json::from_str(&line).expect("an object");
                    if said["t"] == "bye" {
                        let code = said["code"].as_u64().expect("a code");
                        ended.bye = Some((code, said["retry_ms"].as_u64()));
                    }
                }
                Some(Heard::Close(code)) => ended.close = Some(code),
                Some(Heard::End) => return ended,
                None => panic!("the connection does not end"),
            }
        }
    }

    /// The same, within patience.
    #[track_caller]
    pub fn end(&mut self) -> Ended {
        self.end_by(Instant::now() + PATIENCE)
    }
}

/// A `send` whose body no log may show.
pub fn message(room: &str, cid: &str) -> Value {
    let text = format!("{} {cid}", crate::server::WHISPER);
    json!({"t": "send", "room": room, "cid": cid, "d": {"text": text}})
}
