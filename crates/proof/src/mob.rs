//! Mob: sockets by the hundred that do not behave, and someone who does and has to come in meanwhile.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::client::Client;

/// So many come at once: fewer than the system lets wait, or their time would begin before the server's.
const PACE: usize = 200;

/// How often someone else comes in.
const OTHER_EVERY: Duration = Duration::from_millis(200);

/// Sockets that do not behave.
pub struct Mob {
    poll: Poll,
    open: HashMap<usize, Visitor>,
}

/// One that does not behave.
struct Visitor {
    stream: mio::net::TcpStream,
    since: Instant,
    drips: &'static [u8],
    dripped: usize,
    heard: Vec<u8>,
}

/// How it ended.
#[derive(Default)]
pub struct Outcome {
    /// All that each of those heard who were cut.
    pub last_words: Vec<Vec<u8>>,
    /// The last one was cut so long after it came.
    pub cut_within: Duration,
    /// How many were not cut at all by then.
    pub left: usize,
    /// Someone else had to wait so long at most, in so many tries.
    pub longest: Duration,
    /// How often someone else came in.
    pub others: usize,
}

impl Default for Mob {
    fn default() -> Mob {
        Mob::new()
    }
}

impl Mob {
    /// Nobody yet.
    pub fn new() -> Mob {
        Mob { poll: Poll::new().expect("a poll"), open: HashMap::new() }
    }

    /// One more, who says `first` at once and then a byte of `drips` now and then.
    pub fn add(&mut self, address: SocketAddr, first: &[u8], drips: &'static [u8]) {
        if self.open.len().is_multiple_of(PACE) {
            // They are let in as they come, so when this one is in, so are all before it.
            Client::upgrade(address, "").expect("an upgrade");
        }
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(first).expect("a fresh socket takes it");
        stream.set_nonblocking(true).expect("a socket");
        let mut stream = mio::net::TcpStream::from_std(stream);
        let place = self.open.len();
        let registry = self.poll.registry();
        registry.register(&mut stream, Token(place), Interest::READABLE).expect("registered");
        let since = Instant::now();
        let visitor = Visitor { stream, since, drips, dripped: 0, heard: Vec::new() };
        self.open.insert(place, visitor);
    }

    /// Goes on until everyone was cut, or has been there for `patience`; they drip meanwhile. `other` comes in
    /// again and again.
    pub fn wait_until_cut(
        mut self,
        patience: Duration,
        drip_every: Duration,
        mut other: impl FnMut(),
    ) -> Outcome {
        let mut events = Events::with_capacity(1024);
        let mut next_drip = Instant::now();
        let mut next_other = Instant::now();
        let mut outcome = Outcome::default();
        while !self.open.is_empty() {
            let now = Instant::now();
            if now >= next_drip {
                next_drip = now + drip_every;
                self.open.values_mut().for_each(Visitor::drip);
            }
            if now >= next_other {
                next_other = now + OTHER_EVERY;
                let from = Instant::now();
                other();
                outcome.longest = outcome.longest.max(from.elapsed());
                outcome.others += 1;
            }
            self.poll.poll(&mut events, Some(Duration::from_millis(50))).expect("a poll");
            if events.is_empty()
                && self.open.values().all(|visitor| visitor.since.elapsed() > patience)
            {
                outcome.left = self.open.len();
                return outcome;
            }
            for event in &events {
                let place = event.token().0;
                if self.open.get_mut(&place).is_some_and(Visitor::is_cut) {
                    let visitor = self.open.remove(&place).expect("it is there");
                    outcome.cut_within = outcome.cut_within.max(visitor.since.elapsed());
                    outcome.last_words.push(visitor.heard);
                }
            }
        }
        outcome
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
