//! Calls: how rows ask over HTTP and over sockets, and what they look for in the answers.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::{Value, json};
use tertulia_protocol::frame::{Opcode, put_masked};

use super::Field;
use crate::client::{Client, Ended, Heard};
use crate::http::{self, Answer};
use crate::server::PATIENCE;

/// So many commands on their way at once, which no limit hinders.
const AT_ONCE: usize = 50;

/// Requests on one connection, well below what its time allows.
const PIPELINED_MAX: usize = 500;

impl Field<'_> {
    /// A token of mallory's.
    pub fn mallorys_token(&self) -> String {
        self.server.token(&self.mallory)
    }

    /// A call as `bearer`, with whole lines as further headers.
    pub fn call(
        &self,
        bearer: &str,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Answer {
        let headers = format!("Authorization: Bearer {bearer}\r\n{headers}");
        let answer = http::call(self.server.public, method, path, &headers, body);
        answer.unwrap_or_else(|error| panic!("{method} {}: {error}", shown(path)))
    }

    /// Says `text` and gives the next object.
    pub fn tell(&self, client: &mut Client, text: &str) -> Value {
        client.say(text);
        client.object()
    }

    /// Wrong unless that is the status and, where it is no success, the code.
    pub fn expect_answer(&self, what: &str, answer: &Answer, status: u16, code: &str) {
        let said = answer.json();
        let is_so = answer.status == status && said["code"] == code;
        let (got, body) = (answer.status, shown(&answer.body));
        self.expect(is_so, || format!("{what}: {got} {body}, not {status} {code}"));
    }

    /// What a connection is told whose first words are these, and how it ends.
    pub fn first_words(&self, text: &str) -> (Value, Ended) {
        let mut client = self.stranger();
        client.say(text);
        let (mut told, mut ended) = (Value::Null, Ended { bye: None, close: None });
        let until = Instant::now() + PATIENCE;
        loop {
            match client.hear_by(until).expect("it ends") {
                Heard::Line(line) => {
                    let said: Value = serde_json::from_str(&line).expect("an object");
                    match said["t"].as_str() {
                        Some("bye") => {
                            let code = said["code"].as_u64().expect("a code");
                            ended.bye = Some((code, said["retry_ms"].as_u64()));
                        }
                        _ => told = said,
                    }
                }
                Heard::Close(code) => ended.close = Some(code),
                Heard::End => return (told, ended),
            }
        }
    }

    /// Wrong unless hello with that token ends in `close`, and HTTP refuses it as well.
    pub fn expect_refused(&self, what: &str, token: &str, close: u16) {
        let hello = json!({"t": "hello", "id": 1, "token": token, "rooms": [[self.room]]});
        let (told, ended) = self.first_words(&hello.to_string());
        let word = if close == 4101 { "token_expired" } else { "unauthorized" };
        let is_so = told["code"] == word && told["id"] == 1;
        self.expect(is_so, || format!("{what}: {told}, not {word}"));
        let is_so = ended.close == Some(close) && ended.bye == Some((close.into(), None));
        self.expect(is_so, || format!("{what}: {ended:?}, not {close}"));
        if token.bytes().all(|byte| byte.is_ascii_graphic()) && token.len() < 32_768 {
            let answer = self.call(token, "GET", "/v1/rooms", "", "");
            self.expect_answer(what, &answer, 401, word);
        }
    }

    /// Wrong unless hello with that token is welcome. Gives the connection.
    pub fn expect_welcome(&self, what: &str, token: &str) -> Client {
        let mut client = self.stranger();
        let said = client.ask(json!({"t": "hello", "token": token, "rooms": []}));
        self.expect(said["t"] == "ok", || format!("{what}: {said}, not ok"));
        client
    }

    /// The statuses of these requests, many on one connection. Each is whole but for `Host`, `Connection`
    /// and the blank line.
    pub fn pipelined(&self, requests: impl Iterator<Item = String>) -> Vec<u16> {
        let mut requests = requests.peekable();
        let mut statuses = Vec::new();
        while requests.peek().is_some() {
            let mut stream = TcpStream::connect(self.server.public).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a time that is not zero");
            let mut text = String::new();
            let mut count = 0;
            while count < PIPELINED_MAX
                && let Some(request) = requests.next()
            {
                count += 1;
                let last = count == PIPELINED_MAX || requests.peek().is_none();
                let connection = if last { "Connection: close\r\n" } else { "" };
                text += &format!("{request}Host: {}\r\n{connection}\r\n", self.server.public);
            }
            let mut writer = stream.try_clone().expect("a second handle");
            let writing = std::thread::spawn(move || writer.write_all(text.as_bytes()));
            statuses.extend(read_statuses(&mut BufReader::new(&mut stream)));
            _ = writing.join().expect("the writer panicked");
        }
        statuses
    }

    /// What `/metrics` has lines for: every series with its labels.
    pub fn series(&self) -> usize {
        self.server.metrics().lines().filter(|line| !line.starts_with('#')).count()
    }
}

fn read_statuses(reader: &mut impl BufRead) -> Vec<u16> {
    let mut statuses = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line).expect("an answer") == 0 {
            return statuses;
        }
        let text = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = text.strip_prefix("http/1.1 ") {
            statuses.push(rest[..3].parse().expect("a status"));
        } else if let Some(rest) = text.strip_prefix("content-length: ") {
            length = rest.parse().expect("a length");
        } else if text.is_empty() {
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            length = 0;
        }
    }
}

/// Gives all of these commands, some at a time, and says what each was answered.
pub fn ask_all(client: &mut Client, commands: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut commands = commands.peekable();
    let mut answers = Vec::new();
    while commands.peek().is_some() {
        let ids: Vec<u64> = commands.by_ref().take(AT_ONCE).map(|c| client.command(c)).collect();
        let (first, mut left) = (ids[0], ids.len());
        let from = answers.len();
        answers.resize(from + left, Value::Null);
        while left > 0 {
            let said = client.object();
            if let Some(id) = said["id"].as_u64().and_then(|id| id.checked_sub(first)) {
                answers[from + id as usize] = said;
                left -= 1;
            }
        }
    }
    answers
}

/// Says these messages on a thread of its own, so that they can be answered meanwhile.
pub fn say_all(client: &Client, texts: impl Iterator<Item = String>) -> JoinHandle<()> {
    let mut frames = Vec::new();
    texts.for_each(|text| put_masked(&mut frames, Opcode::Text, [1, 2, 3, 4], text.as_bytes()));
    let mut stream = client.stream.try_clone().expect("a second handle");
    // Whoever is let go of hears so.
    std::thread::spawn(move || _ = stream.write_all(&frames))
}

/// The beginning of something that may be long.
pub fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Text as it may stand in a path or a query.
pub fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let each = text.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    each.collect()
}
