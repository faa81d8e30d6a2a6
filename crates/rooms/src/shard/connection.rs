//! A connection: what a shard keeps of one socket. Small, since most are idle.

use std::sync::Arc;

use smallvec::SmallVec;
use tertulia_protocol::command::{CommandId, Said};
use tertulia_protocol::frame::{Decoder, Side};
use tertulia_protocol::{Close, Code, Role, RoomId, Seq, UserId};

use super::cork::Corked;
use super::hand::Hand;
use super::outbound::Queue;
use super::wheel::Tick;
use crate::rates::Bucket;
use crate::session::Session;
use crate::slab::Slab;

/// One socket.
pub(crate) struct Connection {
    /// Counts the connections that had this place.
    pub(crate) generation: u32,
    pub(crate) state: State,
    pub(crate) decoder: Decoder,
    pub(crate) out: Queue,
    /// Already in the list of those to flush.
    pub(crate) dirty: bool,
    /// Already in a line of those that may wait.
    pub(crate) corked: Corked,
    /// The socket takes no more for now.
    pub(crate) blocked: bool,
    /// Since when nothing drained.
    pub(crate) blocked_since: Tick,
    pub(crate) attachments: SmallVec<[Attachment; 1]>,
    /// How many of them are behind.
    pub(crate) reading: u32,
    /// The token that the upgrade carried, until hello.
    pub(crate) bearer: Option<Box<str>>,
    /// Who it acts as; set by hello.
    pub(crate) who: Option<Box<Who>>,
    /// A command that waits, and all that came behind it.
    pub(crate) parked: Option<Box<Parked>>,
    /// Commands in the commit queue.
    pub(crate) open: SmallVec<[CommandId; 2]>,
    /// Said more than may be on its way: it is read again when something of that is answered, or at the next
    /// tick.
    pub(crate) rests: bool,
    /// Took much of the thread's time: it is read again when the others had theirs.
    pub(crate) postponed: bool,
    pub(crate) heard: Tick,
    pub(crate) said: Tick,
    pub(crate) pinged: Tick,
    /// The wheel will look at it then.
    pub(crate) due: Tick,
    /// Counts its questions, so that answers to older ones are known as such.
    pub(crate) token: u32,
    /// Messages in a row that held no object.
    pub(crate) unreadable: u8,
    pub(crate) ping_s: u8,
    /// Wants to hear who types.
    pub(crate) wants_typing: bool,
    /// Takes and sends compressed messages.
    pub(crate) deflates: bool,
}

/// What a connection may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Has to say hello by then.
    Greeting(Tick),
    /// Speaks.
    Live,
    /// Was told to go, with that code; what is queued still goes out, until then.
    Closing(Close, Tick),
}

/// Who a connection acts as.
pub(crate) struct Who {
    pub(crate) user: UserId,
    pub(crate) session: Session,
    pub(crate) grants: Box<[(RoomId, Role)]>,
    /// When the token ends.
    pub(crate) expires: Tick,
    pub(crate) warned: bool,
    pub(crate) commands: Bucket,
    /// Refusals for speed since the last command that was not.
    pub(crate) too_fast: u32,
}

/// A command that cannot go on before something is known.
pub(crate) struct Parked {
    pub(crate) said: Said,
    /// What has been found out for it.
    pub(crate) hand: Hand,
    pub(crate) waits_for: WaitsFor,
    /// When it came, for the clock of the verb.
    pub(crate) since_ns: u64,
    /// Objects of the same message behind it.
    pub(crate) lines: String,
    /// Bytes behind that message.
    pub(crate) input: Vec<u8>,
}

/// What ends the waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WaitsFor {
    /// The answer with this token, or word that a seat was left.
    Answer(u32),
    /// Enough of the queue has drained.
    Drain,
    /// The others come first.
    Others,
}

/// A room that a connection hears.
pub(crate) struct Attachment {
    /// The room's place in the shard.
    pub(crate) room: u32,
    /// Marks its events in the queue; no two attachments of a shard have the same.
    pub(crate) serial: u32,
    /// Where the connection stands among the room's live listeners, while it is one.
    pub(crate) slot: u32,
    /// Has yet to reach the point where the room is delivered live.
    pub(crate) behind: Option<Box<Behind>>,
}

/// How far a reader of the log is.
pub(crate) struct Behind {
    /// The last event that was queued for it.
    pub(crate) cursor: Seq,
    /// Events behind the cursor, read but not queued yet.
    pub(crate) page: Option<Arc<Slab>>,
    pub(crate) then: Then,
    pub(crate) waits: Waits,
    /// Where the log stood when this was authorised: removals up to there are accounted for.
    pub(crate) authorised: Seq,
}

/// What a reader of the log has to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waits {
    /// Nothing: it reads as fast as its socket takes it.
    Nothing,
    /// The page that was asked for with this token.
    Page(u32),
    /// The room's news: what it read from the log is ahead of what the shard was told.
    News,
}

impl Behind {
    pub(crate) fn new(cursor: Seq, page: Option<Arc<Slab>>, then: Then, authorised: Seq) -> Behind {
        Behind { cursor, page, then, waits: Waits::Nothing, authorised }
    }

    /// The user was removed by the event `at`. A page ends before it anyway, the first of several removals
    /// counts, and whoever was authorised behind it has come back since.
    pub(crate) fn end_at(&mut self, at: Seq, code: Code) {
        if self.then == Then::Live && self.authorised < at {
            self.then = Then::Drop(at, code);
        }
    }
}

/// What becomes of a reader of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Then {
    /// Goes live when it has caught up.
    Live,
    /// Is detached without a word when it has heard this event: the client was told `more`.
    Page(Seq),
    /// Is dropped with that code when it has heard this event.
    Drop(Seq, Code),
}

impl Connection {
    pub(crate) fn new(
        generation: u32,
        bearer: Option<Box<str>>,
        deflates: bool,
        now: Tick,
        hello_by: Tick,
    ) -> Connection {
        Connection {
            generation,
            state: State::Greeting(hello_by),
            decoder: Decoder::new(Side::Server),
            out: Queue::default(),
            dirty: false,
            corked: Corked::No,
            blocked: false,
            blocked_since: now,
            attachments: SmallVec::new(),
            reading: 0,
            bearer,
            who: None,
            parked: None,
            open: SmallVec::new(),
            rests: false,
            postponed: false,
            heard: now,
            said: now,
            pinged: now,
            due: hello_by,
            token: 0,
            unreadable: 0,
            ping_s: 0,
            wants_typing: true,
            deflates,
        }
    }

    pub(crate) fn attachment(&mut self, room: u32) -> Option<&mut Attachment> {
        self.attachments.iter_mut().find(|attachment| attachment.room == room)
    }

    /// What is granted in `room` by the token.
    pub(crate) fn grant(&self, room: &RoomId) -> Option<Role> {
        self.who.as_ref()?.grant(room)
    }

    /// Bytes that wait for it, those read for a replay included.
    pub(crate) fn waiting_bytes(&self) -> usize {
        let pages = self.attachments.iter().filter_map(|attachment| {
            let behind = attachment.behind.as_ref()?;
            let page = behind.page.as_ref()?;
            let range = page.range(behind.cursor, page.last());
            Some(range.len())
        });
        self.out.bytes() + pages.sum::<usize>()
    }
}

impl Who {
    pub(crate) fn grant(&self, room: &RoomId) -> Option<Role> {
        self.grants.iter().find(|(granted, _)| granted == room).map(|(_, role)| *role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::Seat;

    /// What there is of each for every idle connection, in one room. Allocations go by size: one of 65 bytes
    /// takes 80, so a field too many may cost more than it is long.
    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection>() <= 184, "in the shard's slab: {}", size_of::<Connection>());
        assert!(size_of::<Who>() <= 64, "on the heap, once greeted: {}", size_of::<Who>());
        assert!(size_of::<Attachment>() <= 24, "in the connection: {}", size_of::<Attachment>());
        assert!(size_of::<Seat>() <= 24, "on the heap: {}", size_of::<Seat>());
    }
}
