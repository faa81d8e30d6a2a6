//! Audience: many connections, heard by one thread, and how each of them ends.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use tertulia_protocol::heard::{self, Heard as Object};

use crate::client::{Client, Ended, Heard};

/// Longest wait for anyone to say something.
const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Connections that only listen.
#[derive(Default)]
pub struct Audience {
    seats: Vec<Seat>,
}

/// One of them.
pub struct Seat {
    client: Option<Client>,
    /// The last event, of the one room that is heard.
    last: u64,
    /// Events that came.
    pub heard: u64,
    /// The code and the time in `bye`, and the code of the close frame.
    pub ended: Ended,
    /// When the close frame came.
    pub closed_at: Option<Instant>,
    /// What no server may do.
    pub wrongs: Vec<String>,
}

impl Audience {
    /// One more, who has heard its room up to `base`.
    pub fn take(&mut self, client: Client, base: u64) {
        let ended = Ended { bye: None, close: None };
        let client = Some(client);
        let (closed_at, wrongs) = (None, Vec::new());
        self.seats.push(Seat { client, last: base, heard: 0, ended, closed_at, wrongs });
    }

    /// All of them.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// How many have not ended.
    pub fn open(&self) -> usize {
        self.seats.iter().filter(|seat| seat.client.is_some()).count()
    }

    /// Listens until every connection has ended, or until then. Says how many have not.
    pub fn hear(&mut self, until: Instant, mut each_turn: impl FnMut()) -> usize {
        loop {
            each_turn();
            let mut open: Vec<&mut Seat> =
                self.seats.iter_mut().filter(|seat| seat.client.is_some()).collect();
            if open.is_empty() || Instant::now() >= until {
                return open.len();
            }
            let streams = open.iter().filter_map(|seat| seat.client.as_ref());
            let mut files: Vec<PollFd<'_>> =
                streams.map(|client| PollFd::new(&client.stream, PollFlags::IN)).collect();
            // Interrupted is as good as nothing.
            _ = poll(&mut files, Some(&NAP));
            let ready: Vec<bool> = files.iter().map(|file| !file.revents().is_empty()).collect();
            drop(files);
            let ready = open.iter_mut().zip(ready).filter(|(_, ready)| *ready);
            ready.for_each(|(seat, _)| seat.hear());
        }
    }
}

impl Seat {
    fn hear(&mut self) {
        let Some(client) = &mut self.client else { return };
        client.take_in(usize::MAX);
        let mut came = Vec::new();
        while let Some(heard) = client.at_hand() {
            came.push(heard);
        }
        for heard in came {
            match heard {
                Heard::Line(line) => self.line(&line),
                Heard::Close(code) => {
                    self.ended.close = Some(code);
                    self.closed_at = Some(Instant::now());
                }
                Heard::End => self.client = None,
            }
        }
    }

    fn line(&mut self, line: &str) {
        if self.ended.close.is_some() || self.ended.bye.is_some() {
            self.wrongs.push(format!("behind the last word: {line}"));
        }
        match heard::read(line) {
            Ok(Object::Event(event)) => {
                if event.seq != self.last + 1 {
                    self.wrongs.push(format!("{} came behind {}", event.seq, self.last));
                }
                (self.last, self.heard) = (event.seq, self.heard + 1);
            }
            Ok(Object::Bye { code, .. }) => {
                let said: Value = serde_json::from_str(line).unwrap_or_default();
                self.ended.bye = Some((code, said["retry_ms"].as_u64()));
            }
            Ok(Object::Ping) => {
                if let Some(client) = &mut self.client {
                    client.say(r#"{"t":"pong"}"#);
                }
            }
            _ => self.wrongs.push(format!("unexpected: {line}")),
        }
    }
}

/// The time between the first and the last close frame.
pub fn spread(audience: &Audience) -> Duration {
    let times = || audience.seats.iter().filter_map(|seat| seat.closed_at);
    times().max().zip(times().min()).map_or(Duration::ZERO, |(last, first)| last - first)
}
