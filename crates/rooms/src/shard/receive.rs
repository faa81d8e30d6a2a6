//! Receiving: from a socket's bytes to commands, one after the other. (1 receive, 2 decode)
//!
//! Nothing is read past a command that has to wait: what came behind it is kept, line by line and byte by
//! byte, and the socket is left alone until it goes on.

use tertulia_protocol::Close;
use tertulia_protocol::command;
use tertulia_protocol::frame::{Decoder, Inflater, Input as Bytes, Message, Side, Violation};
use tertulia_protocol::limits::{
    HELLO_BYTES_MAX, OBJECTS_PER_MESSAGE_MAX, UNREADABLE_MESSAGES_MAX,
};
use tertulia_protocol::reply;

use super::connection::State;
use super::share::{INFLATED_BYTES_MAX, MANY_BYTES};
use super::{Ports, Shard};
use crate::counters::Verb;
use crate::draft::Address;
use crate::refusal::Refusal;

/// Most bytes of a message from someone who has not said hello; in an echo nobody does.
const STRANGER_BYTES_MAX: usize =
    if cfg!(feature = "conformance") { 64 * 1024 * 1024 } else { HELLO_BYTES_MAX };

impl Shard {
    /// Bytes of a connection's socket. (1 receive)
    pub fn received(&mut self, from: Address, bytes: &mut [u8], ports: &mut impl Ports) {
        if !self.is_current(from) {
            return;
        }
        let connection = &mut self.connections[from.place as usize];
        connection.heard = self.tick;
        match &mut connection.parked {
            Some(parked) => parked.input.extend_from_slice(bytes),
            None => self.take_in(from, bytes, ports),
        }
    }

    /// Whether the connection's socket should be read: not while something read before has to wait.
    pub fn reads(&self, from: Address) -> bool {
        if !self.is_current(from) {
            return false;
        }
        let connection = &self.connections[from.place as usize];
        connection.parked.is_none() && !connection.rests && !connection.postponed
    }

    /// Lets a connection rest that said too much at once. What it says meanwhile stays in the socket and is
    /// read as one: refusing it piece by piece would take the time of those who keep to their bounds.
    pub(super) fn rest(&mut self, place: u32) {
        self.connections[place as usize].rests = true;
        self.look_by(place, self.tick + 1);
    }

    /// Reads on.
    pub(super) fn stir(&mut self, place: u32, ports: &mut impl Ports) {
        let address = self.address(place);
        let rested = std::mem::take(&mut self.connections[place as usize].rests);
        if rested && self.reads(address) {
            ports.resume(address);
        }
    }

    pub(super) fn take_in(&mut self, from: Address, bytes: &mut [u8], ports: &mut impl Ports) {
        let place = from.place as usize;
        let (many, since_ns) = (bytes.len() >= MANY_BYTES, ports.now_ns());
        let fresh = Decoder::new(Side::Server);
        // Both are lent out while a message is dealt with, which may be read from either.
        let mut decoder = std::mem::replace(&mut self.connections[place].decoder, fresh);
        let mut inflater = std::mem::take(&mut self.inflater);
        if self.decode(from, bytes, &mut decoder, &mut inflater, ports) {
            self.connections[place].decoder = decoder;
        }
        self.inflater = inflater;
        self.share(from, many, since_ns, ports);
    }

    /// Deals with one message after the other, until one has to wait. False if the connection is to say no
    /// more.
    fn decode(
        &mut self,
        from: Address,
        bytes: &mut [u8],
        decoder: &mut Decoder,
        inflater: &mut Inflater,
        ports: &mut impl Ports,
    ) -> bool {
        let place = from.place as usize;
        let deflates = self.connections[place].deflates;
        let before = inflater.made_bytes();
        let mut input = Bytes::new(bytes);
        loop {
            let bytes_max = match self.connections[place].state {
                State::Greeting(_) => STRANGER_BYTES_MAX,
                State::Live => self.limits.frame_bytes,
                State::Closing(..) => return false,
            };
            let next = if deflates {
                decoder.next_inflated(&mut input, bytes_max, inflater)
            } else {
                decoder.next(&mut input, bytes_max)
            };
            match next {
                Ok(None) => return true,
                Ok(Some(message)) => self.message(from.place, message, ports),
                Err(violation) => self.violated(from.place, &violation),
            }
            // The message may have ended its connection, or may have to wait.
            if !self.is_current(from) {
                return false;
            }
            if let Some(parked) = &mut self.connections[place].parked {
                parked.input.extend_from_slice(input.rest());
                return true;
            }
            if inflater.made_bytes() - before >= INFLATED_BYTES_MAX && !input.is_empty() {
                self.wait_for_others(from.place, input.rest(), ports);
                return true;
            }
        }
    }

    fn violated(&mut self, place: u32, violation: &Violation) {
        let number = violation.close_code();
        let known = Close::ALL.iter().find(|close| close.number() == number);
        self.close(place, known.copied().unwrap_or(Close::Protocol), None);
    }

    fn message(&mut self, place: u32, message: Message<'_>, ports: &mut impl Ports) {
        #[cfg(feature = "conformance")]
        let Some(message) = self.echo(place, message) else { return };
        match message {
            Message::Text(text) => {
                let took = ports.now_ns().saturating_sub(self.read_ns);
                self.counters.verb(Verb::Receive).observe(took, 1);
                self.text(place, text, ports);
            }
            Message::Binary(bytes) => {
                self.violated(place, &Violation::Binary { bytes: bytes.len() });
            }
            Message::Ping(payload) => self.pong_frame(place, payload),
            Message::Pong(_) => {}
            Message::Close { .. } => self.close(place, Close::Normal, None),
        }
    }

    /// The objects of one message.
    fn text(&mut self, place: u32, text: &str, ports: &mut impl Ports) {
        let lines = || text.split('\n').filter(|line| !line.is_empty());
        if lines().count() > OBJECTS_PER_MESSAGE_MAX {
            let why = format!("a message holds at most {OBJECTS_PER_MESSAGE_MAX} objects");
            self.complain(place, None, &Refusal::BadRequest(why));
            // Nothing of it is done, so nothing of it can wait until the client reads.
            if matches!(self.connections[place as usize].state, State::Greeting(_)) {
                self.close(place, Close::NotThisProtocol, None);
            } else if self.is_full(place) {
                self.close(place, Close::Rate, None);
            }
            return;
        }
        if self.lines(place, text, ports) {
            self.connections[place as usize].unreadable = 0;
        } else if let Some(connection) = self.connections.get_mut(place as usize) {
            connection.unreadable += 1;
            if connection.unreadable >= UNREADABLE_MESSAGES_MAX {
                self.close(place, Close::NotThisProtocol, None);
            }
        }
    }

    /// Deals with one line after the other, until one has to wait. True if one of them was an object.
    pub(super) fn lines(&mut self, place: u32, text: &str, ports: &mut impl Ports) -> bool {
        let mut any_object = false;
        let mut rest = text;
        while !rest.is_empty() {
            let (line, behind) = rest.split_once('\n').unwrap_or((rest, ""));
            rest = behind;
            if line.is_empty() {
                continue;
            }
            if self.is_full(place) {
                self.wait_for_drain(place, &format!("{line}\n{rest}"), ports);
                return true;
            }
            if self.refused_unread(place, line) {
                any_object = true;
                continue;
            }
            let started_ns = ports.now_ns();
            let read = command::read(line);
            let took = ports.now_ns().saturating_sub(started_ns);
            self.counters.verb(Verb::Decode).observe(took, 1);
            match read {
                Ok(said) => {
                    any_object = true;
                    self.begin(place, said, ports);
                }
                Err(rejected) => {
                    any_object |= rejected.object;
                    self.rejected(place, rejected);
                }
            }
            let connection = &mut self.connections[place as usize];
            if matches!(connection.state, State::Closing(..)) {
                return true;
            }
            if let Some(parked) = &mut connection.parked {
                parked.lines.push_str(rest);
                return true;
            }
        }
        any_object
    }

    /// Refuses a send of someone who rests: reading it would only tell what else is wrong with it.
    fn refused_unread(&mut self, place: u32, line: &str) -> bool {
        let connection = &self.connections[place as usize];
        if !connection.rests {
            return false;
        }
        let id = command::id_of_send(line).filter(|id| !connection.open.contains(id));
        if id.is_some() {
            self.refuse(place, id, &Refusal::Inflight { limit: self.limits.inflight });
        }
        id.is_some()
    }

    fn rejected(&mut self, place: u32, rejected: command::Rejected) {
        self.counters.refused(rejected.code);
        if let Some(room) =
            rejected.sub.as_ref().and_then(|room| self.rooms_by_id.get(room)).copied()
        {
            self.detach(place, room);
        }
        self.reply(place, |out| {
            reply::put_err(out, rejected.id, rejected.code, &rejected.msg, None);
        });
        let greeting = matches!(self.connections[place as usize].state, State::Greeting(_));
        if greeting && rejected.object {
            self.close(place, Close::NotThisProtocol, None);
        }
    }
}
