//! Dialects: what a member says to hear and to be heard, and how a delivery looks, server by server.
//!
//! A body is the same 64 bytes or more for all: JSON that holds the message's number at a fixed place, so that
//! reading a delivery costs the load side the same whoever sent it.
//!
//! Never: judges; [`super::herd`] does.

use std::io::Write;

use tertulia_protocol::frame::{Message, Opcode};

/// The smallest body.
pub(crate) const BODY_BYTES_MIN: usize = 64;

/// `{"n":"`, and then the number.
const NUMBER_AT: usize = 6;
const NUMBER_DIGITS: usize = 12;

/// How one talks to a server.
#[derive(Clone, Debug)]
pub(crate) enum Dialect {
    /// tertulia.v1: a token for each member, the rooms that they hear as hello names them (in turns), and the
    /// one that they send to.
    Tertulia { room: String, rooms: Vec<String>, tokens: Vec<String> },
    /// Whatever one says is what all are told: the limits, Bun and `ws`.
    Plain,
    /// NATS over WebSocket.
    Nats,
}

/// Something that a member was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// It is in.
    In,
    /// The message of that number.
    Delivery(u64),
    /// Its send of that command was stored.
    Ack(u64),
    /// It has to say that it is there.
    Ping,
    /// What it was refused.
    Refused,
}

/// A body of `bytes` bytes with a number in it.
pub(crate) fn put_body(out: &mut Vec<u8>, number: u64, bytes: usize) {
    let start = out.len();
    // Writing to memory cannot fail.
    _ = write!(out, r#"{{"n":"{number:0NUMBER_DIGITS$}","p":""#);
    out.resize(start + bytes.max(BODY_BYTES_MIN) - 2, b'x');
    out.extend_from_slice(br#""}"#);
}

/// The number in a body.
pub(crate) fn number_of(body: &[u8]) -> Option<u64> {
    let digits = body.get(NUMBER_AT..NUMBER_AT + NUMBER_DIGITS)?;
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })
}

impl Dialect {
    /// Of members who hear nothing; others have no such thing.
    pub(crate) fn deaf(mut self) -> Dialect {
        if let Dialect::Tertulia { rooms, .. } = &mut self {
            *rooms = vec!["[]".to_owned()];
        }
        self
    }

    /// Of that member alone.
    pub(crate) fn only(mut self, who: usize) -> Dialect {
        if let Dialect::Tertulia { tokens, .. } = &mut self {
            *tokens = vec![tokens.swap_remove(who)];
        }
        self
    }

    /// Of members who come back and have everything up to there.
    pub(crate) fn resuming(mut self, epoch: &str, seq: u64) -> Dialect {
        if let Dialect::Tertulia { room, rooms, .. } = &mut self {
            *rooms = vec![format!(r#"[["{room}","{epoch}",{seq}]]"#)];
        }
        self
    }

    /// The request that asks for the upgrade.
    pub(crate) fn upgrade(&self, host: &str) -> String {
        match self {
            Dialect::Tertulia { .. } => crate::handshake::request(host),
            Dialect::Plain | Dialect::Nats => format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ),
        }
    }

    /// What is said first. [`Told::In`] follows; where nothing is said one is in at once.
    pub(crate) fn greeting(&self, member: usize) -> Option<(Opcode, Vec<u8>)> {
        match self {
            Dialect::Tertulia { rooms, tokens, .. } => {
                let (token, rooms) = (&tokens[member], &rooms[member % rooms.len()]);
                let hello = format!(r#"{{"t":"hello","id":1,"token":"{token}","rooms":{rooms}}}"#);
                Some((Opcode::Text, hello.into_bytes()))
            }
            Dialect::Plain => None,
            Dialect::Nats => {
                let words = b"CONNECT {\"verbose\":false,\"echo\":true}\r\nSUB room 1\r\nPING\r\n";
                Some((Opcode::Binary, words.to_vec()))
            }
        }
    }

    /// A message of that number. `id` is of the sender's own counting.
    pub(crate) fn put_send(&self, out: &mut Vec<u8>, id: u64, number: u64, bytes: usize) -> Opcode {
        match self {
            Dialect::Tertulia { room, .. } => {
                _ = write!(
                    out,
                    r#"{{"t":"send","id":{id},"room":"{room}","cid":"{number:012}","d":"#
                );
                put_body(out, number, bytes);
                out.push(b'}');
                Opcode::Text
            }
            Dialect::Plain => {
                put_body(out, number, bytes);
                Opcode::Text
            }
            Dialect::Nats => {
                _ = write!(out, "PUB room {}\r\n", bytes.max(BODY_BYTES_MIN));
                put_body(out, number, bytes);
                out.extend_from_slice(b"\r\n");
                Opcode::Binary
            }
        }
    }

    /// The answer to a ping.
    pub(crate) fn pong(&self) -> (Opcode, &'static [u8]) {
        match self {
            Dialect::Tertulia { .. } => (Opcode::Text, br#"{"t":"pong"}"#),
            Dialect::Plain => (Opcode::Pong, b""),
            Dialect::Nats => (Opcode::Binary, b"PONG\r\n"),
        }
    }

    /// Reads one message of the server's. `kept` holds what NATS has told by half: its messages may be cut
    /// anywhere.
    pub(crate) fn hear(
        &self,
        message: &Message<'_>,
        bytes: usize,
        kept: &mut Vec<u8>,
        mut told: impl FnMut(Told),
    ) {
        let bytes = bytes.max(BODY_BYTES_MIN);
        match (self, message) {
            (Dialect::Tertulia { .. }, Message::Text(text)) => {
                text.split('\n').for_each(|line| hear_line(line.as_bytes(), bytes, &mut told));
            }
            (Dialect::Plain, Message::Text(text)) => {
                // A limit sends as many bytes as an event has; the body stands at their end.
                let body = text.len().checked_sub(bytes).and_then(|at| text.as_bytes().get(at..));
                told(body.and_then(number_of).map_or(Told::Refused, Told::Delivery));
            }
            (Dialect::Nats, Message::Binary(part)) if kept.is_empty() => {
                let left = hear_nats(part, &mut told);
                kept.extend_from_slice(&part[part.len() - left..]);
            }
            (Dialect::Nats, Message::Binary(part)) => {
                kept.extend_from_slice(part);
                let left = hear_nats(kept, &mut told);
                kept.drain(..kept.len() - left);
            }
            (_, Message::Ping(_)) => told(Told::Ping),
            _ => {}
        }
    }
}

fn hear_line(line: &[u8], body_bytes: usize, told: &mut impl FnMut(Told)) {
    if line.starts_with(br#"{"t":"ev""#) {
        // The body is the last field of a message; a join has none.
        let at = line.len().checked_sub(body_bytes + 1);
        if let Some(number) = at.and_then(|at| number_of(&line[at..])) {
            told(Told::Delivery(number));
        }
    } else if let Some(rest) = line.strip_prefix(br#"{"t":"ok","id":"#) {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        let id = digits.fold(0, |id, digit| id * 10 + u64::from(digit - b'0'));
        told(if id == 1 { Told::In } else { Told::Ack(id) });
    } else if line.starts_with(br#"{"t":"ping""#) {
        told(Told::Ping);
    } else {
        told(Told::Refused);
    }
}

/// Reads what is whole; says how many bytes are not.
fn hear_nats(mut part: &[u8], told: &mut impl FnMut(Told)) -> usize {
    while let Some(end) = memchr::memchr(b'\n', part) {
        let (line, rest) = part.split_at(end + 1);
        let mut words = line.trim_ascii_end().split(|byte| *byte == b' ');
        match words.next() {
            Some(b"MSG") => {
                let length = words.next_back().and_then(|word| std::str::from_utf8(word).ok());
                let Some(length) = length.and_then(|word| word.parse::<usize>().ok()) else {
                    told(Told::Refused);
                    return 0;
                };
                let Some(body) = rest.get(..length + 2) else { return part.len() };
                told(number_of(body).map_or(Told::Refused, Told::Delivery));
                part = &rest[length + 2..];
                continue;
            }
            Some(b"PONG") => told(Told::In),
            Some(b"PING") => told(Told::Ping),
            Some(b"INFO" | b"+OK") => {}
            _ => told(Told::Refused),
        }
        part = rest;
    }
    part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(dialect: &Dialect, messages: &[Message<'_>]) -> Vec<Told> {
        let (mut all, mut kept) = (Vec::new(), Vec::new());
        for message in messages {
            dialect.hear(message, 64, &mut kept, |told| all.push(told));
        }
        all
    }

    #[test]
    fn a_body_has_its_size_and_its_number() {
        let mut body = Vec::new();
        put_body(&mut body, 4711, 80);
        assert_eq!((body.len(), number_of(&body)), (80, Some(4711)));
        assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        assert_eq!(number_of(br#"{"n":"00000000x711"}"#), None);
    }

    #[test]
    fn every_dialect_finds_the_number_of_a_delivery() {
        let mut body = Vec::new();
        put_body(&mut body, 9, 64);
        let body = String::from_utf8(body).unwrap();
        let room =
            Dialect::Tertulia { room: "r".into(), rooms: vec!["[]".into()], tokens: Vec::new() };
        let lines = format!(
            r#"{{"t":"ok","id":7,"seq":1}}
{{"t":"ev","room":"r","seq":1,"k":"msg","d":{body}}}"#
        );
        let told = heard(&room, &[Message::Text(&lines)]);
        assert_eq!(told, [Told::Ack(7), Told::Delivery(9)]);
        let padded = format!("xxx{body}");
        assert_eq!(heard(&Dialect::Plain, &[Message::Text(&padded)]), [Told::Delivery(9)]);
        assert_eq!(heard(&Dialect::Plain, &[Message::Text("short")]), [Told::Refused]);
    }

    #[test]
    fn what_nats_cuts_anywhere_is_put_together() {
        let mut stream = b"INFO {}\r\nPONG\r\n".to_vec();
        for number in [1, 2] {
            stream.extend_from_slice(b"MSG room 1 64\r\n");
            put_body(&mut stream, number, 64);
            stream.extend_from_slice(b"\r\n");
        }
        for cut in 0..stream.len() {
            let (one, other) = stream.split_at(cut);
            let told = heard(&Dialect::Nats, &[Message::Binary(one), Message::Binary(other)]);
            assert_eq!(told, [Told::In, Told::Delivery(1), Told::Delivery(2)], "cut at {cut}");
        }
    }
}
