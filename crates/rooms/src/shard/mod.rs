//! A shard: connections and the rooms that they hear, as one state machine without sockets.
//!
//! In go bytes of a connection, what other threads have for it, and the time; out come writes, drafts,
//! lookups and closes, through [`Ports`]. Whoever drives it owns the sockets and the clock, so the same
//! code runs on epoll and in a simulation.
//!
//! Never: waits, reads a clock of its own, or touches what another shard owns.

mod attach;
mod authorise;
mod close;
mod commands;
mod connection;
mod cork;
mod deflate;
mod deliver;
#[cfg(feature = "conformance")]
mod echo;
mod hand;
mod heirs;
mod hello;
mod inbox;
mod outbound;
mod plan;
mod pressure;
mod reading;
mod receive;
mod replay;
mod session;
mod share;
mod wheel;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use hashbrown::HashMap;
use slab::Slab as Places;
use smallvec::SmallVec;
use tertulia_protocol::frame::{Deflater, Inflater};
use tertulia_protocol::{Epoch, RoomId, Seq, UserId};
use tertulia_store::RoomNo;

use crate::counters::{Counters, Verb};
use crate::draft::{Address, Draft};
use crate::hub::Hub;
use crate::identity::Verdict;
use crate::limits::Limits;
use crate::lookup::Lookup;
use crate::membership::Membership;
use crate::people::People;
use connection::{Connection, State};
use cork::{Cork, Told};
use heirs::Waiting;
pub use inbox::{Ack, Inbox, Input, Signal};
use outbound::Links;
use pressure::Pressure;
use wheel::{TICK, Tick, Wheel, ticks};

/// What a shard needs of the world.
pub trait Ports {
    /// Writes to the connection's socket. Fewer bytes than given means that it takes no more for now.
    fn write(&mut self, to: Address, parts: &[IoSlice<'_>]) -> usize;
    /// Nothing more will be written: the other side may be told so.
    fn finish(&mut self, of: Address);
    /// The socket goes at once.
    fn close(&mut self, of: Address);
    /// The socket may be read again.
    fn resume(&mut self, of: Address);
    /// The connection has said who it is.
    fn greeted(&mut self, of: Address) {
        _ = of;
    }
    /// Puts a draft into the commit queue, now or at the end of the turn. False if the queue is full.
    fn submit(&mut self, draft: Draft) -> bool;
    /// All drafts so far are in the commit queue before anything else happens.
    fn hand_in(&mut self);
    /// Asks a reader. Errors: the lookup, if too many wait.
    fn look_up(&mut self, lookup: Lookup) -> Result<(), Lookup>;
    /// Whose token this is.
    fn identify(&mut self, token: &str) -> Verdict;
    /// A number that nobody can guess.
    fn random(&mut self) -> u64;
    /// Nanoseconds since the start.
    fn now_ns(&self) -> u64;
    /// Milliseconds since 1970 UTC.
    fn wall_ms(&self) -> u64;
}

/// What all shards of a server share.
#[derive(Clone)]
pub struct Shared {
    /// Where the committer and the shards meet.
    pub hub: Arc<Hub>,
    /// Memberships at hand.
    pub cache: Arc<Membership>,
    /// Who is connected.
    pub people: Arc<People>,
    /// Bounds.
    pub limits: Arc<Limits>,
}

/// An attachment that hears its room live.
#[derive(Clone, Copy)]
struct Listener {
    place: u32,
    serial: u32,
}

/// The clock is read once for so many writes, which take a tenth of a millisecond; a look for each was 3 % of it.
const WRITES_TIMED: u32 = 16;

/// What was written since the clock was read.
#[derive(Default)]
struct Untimed {
    writes: u32,
    objects: u32,
}

/// A room that someone here hears.
struct ShardRoom {
    id: RoomId,
    no: RoomNo,
    epoch: Epoch,
    /// Everyone in `live` has been given everything up to this number.
    position: Seq,
    /// When they may be told again.
    told: Told,
    /// Who hears it live.
    live: Vec<Listener>,
    /// How many more read its log, to go live or to be detached.
    behind: u32,
    /// Those among them whose cursor is past `position`.
    ahead: Vec<u32>,
    /// Up to here news were missed, so that someone may have been removed without our knowing.
    doubt: Seq,
}

/// Connections and what they hear.
pub struct Shard {
    id: usize,
    hub: Arc<Hub>,
    cache: Arc<Membership>,
    people: Arc<People>,
    limits: Arc<Limits>,
    counters: Arc<Counters>,
    connections: Places<Connection>,
    generation: u32,
    serial: u32,
    rooms: Places<ShardRoom>,
    rooms_by_id: HashMap<RoomId, u32>,
    rooms_by_no: HashMap<RoomNo, u32>,
    users: HashMap<UserId, SmallVec<[u32; 2]>>,
    links: Links,
    inflater: Inflater,
    deflater: Deflater,
    pressure: Pressure,
    /// Connections that took much of the thread's time, and when they go on.
    postponed: Vec<(u64, Address)>,
    /// Connections that wait until another one is gone, and who then takes over from them.
    heirs: HashMap<Address, Waiting>,
    /// Connections with something to write that the socket may take.
    dirty: VecDeque<u32>,
    /// Those with something to write that may wait for more of its kind.
    cork: Cork,
    /// A commit is under way behind the last one that was heard of, or with drafts of this turn.
    news_follow: bool,
    /// Writes whose time is taken with the next ones, at the end of the turn at the latest.
    untimed: Untimed,
    wheel: Wheel,
    tick: Tick,
    now_ns: u64,
    /// When the bytes that are dealt with were read.
    read_ns: u64,
    heads_compared: Tick,
    draining: bool,
    /// Who is told to go when, once the server hands over; soonest last.
    leaving: Vec<(Tick, Address)>,
}

impl Shard {
    /// An empty shard. `id` is its place among the hub's inboxes.
    pub fn new(id: usize, shared: &Shared, counters: Arc<Counters>, now_ns: u64) -> Shard {
        let tick = tick_at(now_ns);
        Shard {
            id,
            hub: shared.hub.clone(),
            cache: shared.cache.clone(),
            people: shared.people.clone(),
            limits: shared.limits.clone(),
            counters,
            connections: Places::new(),
            generation: 0,
            serial: 0,
            rooms: Places::new(),
            rooms_by_id: HashMap::new(),
            rooms_by_no: HashMap::new(),
            users: HashMap::new(),
            links: Links::new(),
            inflater: Inflater::default(),
            deflater: Deflater::default(),
            pressure: Pressure::new(now_ns),
            postponed: Vec::new(),
            heirs: HashMap::new(),
            dirty: VecDeque::new(),
            cork: Cork::default(),
            news_follow: false,
            untimed: Untimed::default(),
            wheel: Wheel::new(tick),
            tick,
            now_ns,
            read_ns: now_ns,
            heads_compared: tick,
            draining: false,
            leaving: Vec::new(),
        }
    }

    /// A connection whose upgrade is done. `bearer` is the token that the upgrade carried, `deflates` says
    /// whether permessage-deflate was agreed on, without context.
    pub fn open(&mut self, bearer: Option<Box<str>>, deflates: bool) -> Address {
        self.generation = self.generation.wrapping_add(1);
        let hello_by = self.tick.saturating_add(ticks(self.limits.hello_s));
        let connection = Connection::new(self.generation, bearer, deflates, self.tick, hello_by);
        let place = self.connections.insert(connection) as u32;
        let due = self.wheel.enter(place, hello_by);
        self.connections[place as usize].due = due;
        self.counters.connections.set(self.connections.len() as u64);
        let address = Address { place, generation: self.generation };
        if self.draining {
            // It was granted before the server began to hand over.
            self.leaving.push((self.tick, address));
        }
        address
    }

    /// Begins a turn: what follows happens at this time.
    pub fn turn(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        self.read_ns = now_ns;
        self.pressure.begin(now_ns);
    }

    /// Deals with what other threads had for this shard, and with what was left for later.
    pub fn take(&mut self, inputs: &mut Vec<Input>, ports: &mut impl Ports) {
        for input in inputs.drain(..) {
            match input {
                Input::Ack(ack) => self.acked(ack, ports),
                Input::News(news) => {
                    self.news_follow = news.more;
                    self.news(&news, ports);
                }
                Input::Answer { to, token, answer } => self.answered(to, token, answer, ports),
                Input::Signal(signal) => self.signal(&signal),
                Input::Replace { old, shard, new, token } => {
                    self.replace(old, shard, new, token, ports);
                }
                Input::Replaced { new, token } => self.replaced(new, token, ports),
                Input::Expel(user, close) => self.expel(&user, close),
                Input::Drain => self.drain(ports),
            }
        }
        if self.hub.inboxes()[self.id].take_gap() {
            self.counters.gaps.add(1);
            self.compare_heads(ports);
        }
        self.go_on_with_postponed(ports);
    }

    /// Lets time pass: deadlines, pings, and what is done now and then.
    pub fn pass_time(&mut self, ports: &mut impl Ports) {
        let now = tick_at(self.now_ns);
        if now == self.tick {
            return;
        }
        let mut due = Vec::new();
        while let Some(tick) = self.wheel.turn(now, &mut due) {
            self.tick = tick;
            for place in due.drain(..) {
                self.look_at(place, ports);
            }
        }
        while self.leaving.last().is_some_and(|(when, _)| *when <= now) {
            let Some((_, leaver)) = self.leaving.pop() else { break };
            if self.is_current(leaver) {
                self.hand_over(leaver.place, ports);
            }
        }
        if self.tick.wrapping_sub(self.heads_compared) >= self.head_check_ticks() {
            self.heads_compared = self.tick;
            self.compare_heads(ports);
            self.free_slabs();
        }
    }

    fn head_check_ticks(&self) -> Tick {
        (self.limits.head_check_ms / TICK.as_millis() as u64).max(1) as Tick
    }

    /// When time has to pass again.
    pub fn wake_at_ns(&self) -> u64 {
        let tick_ns = u64::from(self.tick + 1) * TICK.as_nanos() as u64;
        let postponed_ns = self.postponed.iter().map(|(when_ns, _)| *when_ns);
        postponed_ns.chain(self.cork.due_ns(self.news_follow)).fold(tick_ns, u64::min)
    }

    /// The connection's socket takes bytes again.
    pub fn writable(&mut self, at: Address, ports: &mut impl Ports) {
        if self.is_current(at) {
            self.connections[at.place as usize].blocked = false;
            self.flush(at.place, ports);
        }
    }

    /// Writes what has come together in this turn: one write a connection, if the socket takes it.
    pub fn flush_all(&mut self, ports: &mut impl Ports) {
        self.uncork();
        // Flushing may queue more for the same connection, which then stands in the list again. One by one, so
        // that the list keeps its memory for the next turn.
        while let Some(place) = self.dirty.pop_front() {
            if let Some(connection) = self.connections.get_mut(place as usize) {
                connection.dirty = false;
                self.flush(place, ports);
            }
        }
        self.counters.outbound_bytes.set(self.links.bytes());
        self.counters.rooms.set(self.rooms.len() as u64);
        let now_ns = ports.now_ns();
        self.time_writes(now_ns);
        self.pressure.end(now_ns);
    }

    fn flush(&mut self, place: u32, ports: &mut impl Ports) {
        self.flush_links(place, ports);
        let connection = &self.connections[place as usize];
        if connection.out.is_empty() && matches!(connection.state, State::Closing(..)) {
            return ports.finish(self.address(place));
        }
        if !connection.blocked {
            self.pump(place, ports);
        }
        self.drained(place, ports);
    }

    /// Gives the socket what it takes. (8 send)
    fn flush_links(&mut self, place: u32, ports: &mut impl Ports) {
        let address = self.address(place);
        let connection = &mut self.connections[place as usize];
        if connection.blocked || connection.out.is_empty() {
            return;
        }
        let flushed = self.links.flush(&mut connection.out, |parts| ports.write(address, parts));
        if flushed.bytes > 0 {
            connection.said = self.tick;
            connection.blocked_since = self.tick;
        }
        if !connection.out.is_empty() {
            connection.blocked = true;
            let limit = self.tick.saturating_add(ticks(self.limits.slow_close_s));
            self.look_by(place, limit);
        }
        self.counters.writes.add(u64::from(flushed.writes));
        self.counters.sent_bytes.add(flushed.bytes as u64);
        self.untimed.writes += flushed.writes;
        self.untimed.objects += flushed.objects;
        if self.untimed.writes >= WRITES_TIMED {
            self.time_writes(ports.now_ns());
        }
    }

    fn time_writes(&mut self, now_ns: u64) {
        let Untimed { objects, .. } = std::mem::take(&mut self.untimed);
        let took = now_ns.saturating_sub(self.now_ns);
        self.counters.verb(Verb::Send).observe(took, u64::from(objects));
    }

    /// Marks a connection that has something to write.
    fn touch(&mut self, place: u32) {
        let connection = &mut self.connections[place as usize];
        if !connection.blocked && !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push_back(place);
        }
    }

    /// How many connections are open.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether no connection is open.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    fn is_current(&self, address: Address) -> bool {
        let connection = self.connections.get(address.place as usize);
        connection.is_some_and(|connection| connection.generation == address.generation)
    }

    fn address(&self, place: u32) -> Address {
        Address { place, generation: self.connections[place as usize].generation }
    }

    fn next_token(&mut self, place: u32) -> u32 {
        let connection = &mut self.connections[place as usize];
        connection.token = connection.token.wrapping_add(1);
        connection.token
    }
}

fn tick_at(now_ns: u64) -> Tick {
    (now_ns / TICK.as_nanos() as u64) as Tick
}
