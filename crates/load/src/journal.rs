//! Journal: what was sent, what was acked, and what each listener was given, in that order.
//!
//! Facts are only written down here; [`crate::verdict`] judges them when the run is over. What shows itself
//! wrong in the moment is written down as a fault.
//!
//! Never: asks the server, trusts a listener's word for what was sent.

use tertulia_protocol::Seq;

use crate::verdict::{Fault, Faults};

/// Number of a client, from 0.
pub(crate) type ClientIndex = u32;

/// Number of a room, from 0.
pub(crate) type RoomIndex = u32;

/// One message of the crowd: the `i`-th of client `from`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Name {
    pub(crate) from: ClientIndex,
    pub(crate) i: u32,
}

/// What is known of a message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: Name,
    pub(crate) room: RoomIndex,
    /// When it was to be sent.
    pub(crate) at_ns: u64,
    /// Its number in the room, once anyone was told.
    pub(crate) seq: Option<Seq>,
    /// An `ok` or a final `err` came.
    pub(crate) answered: bool,
}

/// What one client was given.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) room: RoomIndex,
    /// It was promised everything behind this number; absent before its first `ok`.
    pub(crate) base: Option<Seq>,
    /// The number that has to come next on its connection; absent while nothing may come.
    next: Option<Seq>,
    /// The messages that were handed over, in that order, as places in the list of all messages.
    pub(crate) handed: Vec<u32>,
}

/// All that happened.
pub(crate) struct Journal {
    pub(crate) messages: Vec<Message>,
    /// For each client the places of its messages in the list of all.
    pub(crate) by_sender: Vec<Vec<u32>>,
    pub(crate) listeners: Vec<Listener>,
    /// For each room the highest number that anyone was told.
    heads: Vec<Seq>,
    pub(crate) faults: Faults,
    pub(crate) acked: u64,
    pub(crate) refused: u64,
    pub(crate) handed: u64,
    /// Messages in our rooms that nobody of the crowd sent.
    pub(crate) strange: u64,
}

impl Journal {
    /// A journal of clients that each follow one room: the `c`-th that of `rooms[c]`.
    pub(crate) fn new(rooms: &[RoomIndex]) -> Journal {
        let listener = |&room| Listener { room, base: None, next: None, handed: Vec::new() };
        Journal {
            messages: Vec::new(),
            by_sender: rooms.iter().map(|_| Vec::new()).collect(),
            listeners: rooms.iter().map(listener).collect(),
            heads: vec![0; rooms.iter().max().map_or(0, |room| *room as usize + 1)],
            faults: Faults::default(),
            acked: 0,
            refused: 0,
            handed: 0,
            strange: 0,
        }
    }

    /// A message of `from` is to be sent: which of its messages is it?
    pub(crate) fn sent(&mut self, from: ClientIndex, at_ns: u64) -> u32 {
        let own = &mut self.by_sender[from as usize];
        let i = own.len() as u32;
        own.push(self.messages.len() as u32);
        let room = self.listeners[from as usize].room;
        let name = Name { from, i };
        self.messages.push(Message { name, room, at_ns, seq: None, answered: false });
        i
    }

    fn place(&self, name: Name) -> Option<u32> {
        self.by_sender.get(name.from as usize)?.get(name.i as usize).copied()
    }

    /// What is known of a message.
    pub(crate) fn message(&self, name: Name) -> Option<&Message> {
        self.place(name).map(|place| &self.messages[place as usize])
    }

    /// A send was answered `ok`: when was it to be sent?
    pub(crate) fn acked(&mut self, name: Name, seq: Seq) -> Option<u64> {
        let place = self.place(name)?;
        self.put(place, seq);
        self.acked += 1;
        let message = &mut self.messages[place as usize];
        message.answered = true;
        Some(message.at_ns)
    }

    /// A send was refused for good.
    pub(crate) fn refused(&mut self, name: Name) {
        if let Some(place) = self.place(name) {
            self.messages[place as usize].answered = true;
            self.refused += 1;
        }
    }

    /// A `sub` was answered: everything behind `base` comes next, without hole or overlap.
    pub(crate) fn attached(&mut self, client: ClientIndex, base: Seq) {
        let listener = &mut self.listeners[client as usize];
        listener.base.get_or_insert(base);
        listener.next = Some(base + 1);
    }

    /// The room was detached, or the connection is gone.
    pub(crate) fn detached(&mut self, client: ClientIndex) {
        self.listeners[client as usize].next = None;
    }

    /// An event of the client's room came, of whatever kind.
    pub(crate) fn heard(&mut self, client: ClientIndex, seq: Seq) {
        let listener = &mut self.listeners[client as usize];
        let fault = match listener.next {
            Some(next) if next == seq => None,
            Some(next) if next > seq => Some(Fault::Repeated { client, seq }),
            Some(next) => Some(Fault::Skipped { client, next, seq }),
            None => Some(Fault::Unasked { client, seq }),
        };
        // After a repeated one the same number is still the next.
        listener.next = listener.next.map(|next| next.max(seq + 1));
        if let Some(fault) = fault {
            self.faults.add(fault);
        }
        let head = &mut self.heads[self.listeners[client as usize].room as usize];
        *head = seq.max(*head);
    }

    /// An event of another room came.
    pub(crate) fn crossed(&mut self, client: ClientIndex, room: &str) {
        self.faults.add(Fault::Crossed { client, room: room.to_owned() });
    }

    /// A message of the client's room was handed over: when was it to be sent?
    pub(crate) fn handed(&mut self, client: ClientIndex, name: Name, seq: Seq) -> Option<u64> {
        let Some(place) = self.place(name) else {
            self.strange += 1;
            return None;
        };
        let listener = &mut self.listeners[client as usize];
        listener.handed.push(place);
        self.handed += 1;
        // A number in another room says nothing about the message's own.
        if listener.room == self.messages[place as usize].room {
            self.put(place, seq);
        }
        Some(self.messages[place as usize].at_ns)
    }

    /// A message that the crowd did not send was handed over.
    pub(crate) fn stranger(&mut self) {
        self.strange += 1;
    }

    /// A message came with another body than it was sent with.
    pub(crate) fn altered(&mut self, client: ClientIndex, name: Name) {
        self.faults.add(Fault::Altered { client, name });
    }

    fn put(&mut self, place: u32, seq: Seq) {
        let message = &mut self.messages[place as usize];
        match message.seq {
            None => message.seq = Some(seq),
            Some(first) if first == seq => {}
            Some(first) => {
                let name = message.name;
                self.faults.add(Fault::StoredTwice { name, first, second: seq });
            }
        }
        let head = &mut self.heads[message.room as usize];
        *head = seq.max(*head);
    }

    /// The highest number that anyone was told in the client's room.
    pub(crate) fn head(&self, client: ClientIndex) -> Seq {
        self.heads[self.listeners[client as usize].room as usize]
    }

    /// Messages without an `ok` or a final `err`.
    pub(crate) fn unanswered(&self) -> u64 {
        self.messages.len() as u64 - self.acked - self.refused
    }

    /// How much has happened: as long as this grows the run is not stuck.
    pub(crate) fn facts(&self) -> u64 {
        self.acked + self.refused + self.handed + self.strange
    }
}
