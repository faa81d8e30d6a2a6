//! Hub: which shards hear a room, and where its log stands. (6 publish)
//!
//! The committer publishes here, shards listen here. What the hub says of a room is never older than
//! what anyone was told: the committer comes by after each commit, before it acknowledges.
//!
//! Never: decides who may hear, waits, or holds a lock while it hands anything over.

use std::sync::{Arc, Mutex, MutexGuard};

use hashbrown::HashMap;
use tertulia_protocol::{Code, Epoch, RoomId, RoomKind, Seq, UserId};
use tertulia_store::{Head, Room, RoomNo};

use crate::limits::Limits;
use crate::recency::Recency;
use crate::shard::{Inbox, Input, Signal};
use crate::slab::{Gauge, Slab};
use crate::tail::Tail;
use crate::typing::Typing;

/// What one commit changed in one room.
pub struct News {
    /// The room's name.
    pub id: RoomId,
    /// Where it stands now.
    pub view: View,
    /// The new events, without holes between them.
    pub slabs: Vec<Arc<Slab>>,
    /// Who may hear nothing behind which event.
    pub removals: Vec<Removal>,
    /// The room was deleted.
    pub gone: bool,
    /// Drafts wait behind this commit: the next one is under way by now.
    pub more: bool,
    /// When the commit was done, on the monotonic clock.
    pub committed_ns: u64,
}

/// Someone is a member no more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Removal {
    /// The event that says so, the last that they hear.
    pub at: Seq,
    /// Who.
    pub user: UserId,
    /// What their connections are told.
    pub code: Code,
}

/// A room as the read path needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// Its number.
    pub no: RoomNo,
    /// The life of its log.
    pub epoch: Epoch,
    /// Where its log stands.
    pub head: Head,
    /// Who sees it.
    pub kind: RoomKind,
}

impl View {
    /// What `room` looks like from here.
    pub fn of(room: &Room) -> View {
        View { no: room.no, epoch: room.epoch, head: room.head, kind: room.kind }
    }
}

/// Most shards: their set fits one word.
pub const SHARDS_MAX: usize = 64;

/// Locks for the rooms: enough that two shards seldom meet, few enough to walk.
const STRIPES: usize = 64;

#[derive(Default)]
struct HubRoom {
    /// `None` while the first lookup is under way.
    view: Option<View>,
    /// Lookups under way; the entry has to stay for them.
    expected: u32,
    /// The last room of that name that was deleted: a lookup may have read it before that.
    deleted: Option<RoomNo>,
    listeners: u64,
    tail: Tail,
    typing: Typing,
    /// Its places in the lines of its stripe.
    idle: Option<u32>,
    tailed: Option<u32>,
}

impl HubRoom {
    fn is_idle(&self) -> bool {
        self.listeners == 0 && self.expected == 0
    }
}

#[derive(Default)]
struct Stripe {
    /// In boxes: a table from which as much goes as comes has up to three times as many places as it needs.
    rooms: HashMap<RoomId, Box<HubRoom>>,
    lines: Lines,
    tail_bytes: usize,
}

/// What may be let go of, by last use. A room that someone hears stays, however many there are: they are
/// bounded by the connections and their rooms.
#[derive(Default)]
struct Lines {
    idle: Recency<RoomId>,
    tailed: Recency<RoomId>,
}

/// Where the committer and the shards meet.
pub struct Hub {
    stripes: Vec<Mutex<Stripe>>,
    inboxes: Vec<Arc<Inbox>>,
    gauge: Gauge,
    tail_events: usize,
    tail_room_bytes: usize,
    tail_stripe_bytes: usize,
    idle_per_stripe: usize,
    typing_every_ms: u64,
    typing_ttl_ms: u64,
}

impl Hub {
    /// A hub for the shards behind `inboxes`.
    pub fn new(limits: &Limits, inboxes: Vec<Arc<Inbox>>, gauge: Gauge) -> Hub {
        assert!(inboxes.len() <= SHARDS_MAX, "at most {SHARDS_MAX} shards");
        Hub {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            inboxes,
            gauge,
            tail_events: limits.tail_events,
            tail_room_bytes: limits.tail_room_bytes,
            tail_stripe_bytes: limits.tail_bytes / STRIPES,
            idle_per_stripe: limits.active_rooms.div_ceil(STRIPES),
            typing_every_ms: limits.typing_every_ms,
            typing_ttl_ms: limits.typing_ttl_ms,
        }
    }

    /// The shards' inboxes, by number.
    pub fn inboxes(&self) -> &[Arc<Inbox>] {
        &self.inboxes
    }

    /// All slabs that are alive.
    pub fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    fn stripe(&self, room: &RoomId) -> MutexGuard<'_, Stripe> {
        let stripe = &self.stripes[stripe_of(room)];
        stripe.lock().expect("no one panics while holding a stripe")
    }

    /// Keeps the room's place open for a lookup that is about to begin, so that a commit meanwhile is
    /// not overwritten by what the lookup read before it. Each call is owed one [`Hub::learn`].
    pub fn expect(&self, room: &RoomId) {
        let stripe = &mut *self.stripe(room);
        let entry = stripe.rooms.entry(room.clone()).or_default();
        entry.expected += 1;
        stripe.lines.file(room, entry);
    }

    /// Keeps the room where it stands, for a commit that removes someone: a lookup may see what is stored
    /// before the memberships at hand say so, and nobody may stand behind their own removal. Each call is
    /// owed one [`Hub::learn`].
    pub(crate) fn hold(&self, room: &RoomId, view: View) {
        let stripe = &mut *self.stripe(room);
        let entry = stripe.rooms.entry(room.clone()).or_default();
        entry.expected += 1;
        entry.view.get_or_insert(view);
        stripe.lines.file(room, entry);
    }

    /// Ends an [`Hub::expect`] or an [`Hub::hold`] with what the lookup found, or with nothing.
    pub fn learn(&self, id: &RoomId, room: Option<&Room>) {
        let stripe = &mut *self.stripe(id);
        let Some(entry) = stripe.rooms.get_mut(id) else { return };
        entry.expected = entry.expected.saturating_sub(1);
        if let Some(room) = room.filter(|room| Some(room.no) > entry.deleted) {
            entry.view.get_or_insert_with(|| View::of(room));
        }
        stripe.lines.file(id, entry);
        if entry.view.is_none() && entry.is_idle() {
            stripe.remove(id);
        }
        stripe.evict(self);
    }

    /// The room, if it is known here.
    pub fn view(&self, room: &RoomId) -> Option<View> {
        self.stripe(room).rooms.get(room)?.view
    }

    /// From now on `shard` gets the room's news. Says where the room stands; all after that is news.
    pub fn listen(&self, shard: usize, room: &RoomId) -> Option<View> {
        let stripe = &mut *self.stripe(room);
        let entry = stripe.rooms.get_mut(room)?;
        let view = entry.view?;
        entry.listeners |= 1 << shard;
        stripe.lines.file(room, entry);
        Some(view)
    }

    /// `shard` has no one left who hears the room.
    pub fn unlisten(&self, shard: usize, room: &RoomId) {
        let stripe = &mut *self.stripe(room);
        if let Some(entry) = stripe.rooms.get_mut(room) {
            entry.listeners &= !(1 << shard);
            stripe.lines.file(room, entry);
        }
        stripe.evict(self);
    }

    /// Events from the tail in memory; see `Tail::read`.
    pub fn read(
        &self,
        room: &RoomId,
        no: RoomNo,
        after: Seq,
        upto: Seq,
        bytes_max: usize,
    ) -> Option<Arc<Slab>> {
        let stripe = &mut *self.stripe(room);
        let entry = stripe.rooms.get_mut(room)?;
        stripe.lines.file(room, entry);
        let same = entry.view.is_some_and(|view| view.no == no);
        same.then(|| entry.tail.read(after, upto, bytes_max, &self.gauge))?
    }

    /// Tells everyone who listens what was committed, `acks` first.
    ///
    /// A shard whose queue is full misses the news and is told that it missed some; acks it never misses.
    pub fn publish(&self, news: Vec<News>, acks: Vec<Vec<Input>>) {
        let mut inputs = acks;
        inputs.resize_with(self.inboxes.len(), Vec::new);
        for news in news {
            let listeners = self.note(&news);
            let news = Arc::new(news);
            for (shard, inputs) in inputs.iter_mut().enumerate() {
                if listeners & (1 << shard) == 0 {
                    continue;
                }
                // Whoever was removed is told always: comparing heads would not show it.
                if self.inboxes[shard].has_room_for_news() || !news.removals.is_empty() {
                    inputs.push(Input::News(news.clone()));
                }
            }
        }
        for (inbox, inputs) in self.inboxes.iter().zip(inputs) {
            if !inputs.is_empty() {
                inbox.queue.push_all(inputs);
            }
        }
    }

    /// Writes the news into the hub's own memory. Says which shards listen.
    fn note(&self, news: &News) -> u64 {
        let stripe = &mut *self.stripe(&news.id);
        // A room in use is heard of sooner or later: its first listeners need not ask where it stands.
        let entry = stripe.rooms.entry_ref(&news.id).or_default();
        let listeners = entry.listeners;
        // A lookup may have seen the next room of that name before the end of this one was told.
        if entry.view.is_some_and(|view| view.no > news.view.no) {
            return listeners;
        }
        let before = entry.tail.bytes();
        if entry.view.is_some_and(|view| view.no != news.view.no || view.epoch != news.view.epoch) {
            entry.tail.clear();
        }
        entry.view = Some(news.view);
        for slab in &news.slabs {
            entry.tail.push(slab, self.tail_events, self.tail_room_bytes);
        }
        stripe.tail_bytes = stripe.tail_bytes + entry.tail.bytes() - before;
        stripe.lines.file(&news.id, entry);
        if news.gone {
            stripe.bury(&news.id, news.view.no);
        }
        stripe.evict(self);
        listeners
    }

    /// Says something transient to everyone who hears the room.
    pub fn signal(&self, room: &RoomId, signal: &Arc<Signal>) {
        let listeners = self.stripe(room).rooms.get(room).map_or(0, |entry| entry.listeners);
        self.hand_over(listeners, signal);
    }

    fn hand_over(&self, listeners: u64, signal: &Arc<Signal>) {
        for (shard, inbox) in self.inboxes.iter().enumerate() {
            if listeners & (1 << shard) != 0 {
                // A signal may be lost: the next one replaces it.
                _ = inbox.queue.push(Input::Signal(signal.clone()));
            }
        }
    }

    /// `user` types in `room`, or stopped. Everyone hears who types now, if that is news.
    pub fn typing(&self, room: &RoomId, user: &UserId, on: bool, now_ms: u64) {
        let (listeners, signal) = {
            let mut stripe = self.stripe(room);
            let Some(entry) = stripe.rooms.get_mut(room) else { return };
            let Some(view) = entry.view else { return };
            let until = now_ms + self.typing_ttl_ms;
            if !entry.typing.set(user, on, now_ms, until, self.typing_every_ms) {
                return;
            }
            (entry.listeners, Signal::typing(room, view.no, entry.typing.users()))
        };
        self.hand_over(listeners, &Arc::new(signal));
    }

    /// Forgets who stopped typing without saying so. Cost: a walk over the rooms; call it each second.
    pub fn expire_typing(&self, now_ms: u64) {
        for stripe in &self.stripes {
            let mut signals = Vec::new();
            let mut stripe = stripe.lock().expect("no one panics while holding a stripe");
            for (id, entry) in &mut stripe.rooms {
                if let Some(view) = entry.view
                    && entry.typing.expire(now_ms, self.typing_every_ms)
                {
                    signals
                        .push((entry.listeners, Signal::typing(id, view.no, entry.typing.users())));
                }
            }
            drop(stripe);
            // A map has an order of its own each time; a simulation has to repeat itself.
            signals.sort_by_key(|(_, signal)| signal.room);
            for (listeners, signal) in signals {
                self.hand_over(listeners, &Arc::new(signal));
            }
        }
    }

    /// Rooms known here and bytes of their tails.
    pub fn size(&self) -> (usize, usize) {
        self.stripes.iter().fold((0, 0), |(rooms, bytes), stripe| {
            let stripe = stripe.lock().expect("no one panics while holding a stripe");
            (rooms + stripe.rooms.len(), bytes + stripe.tail_bytes)
        })
    }
}

fn stripe_of(room: &RoomId) -> usize {
    (xxhash_rust::xxh3::xxh3_64(room.as_str().as_bytes()) % STRIPES as u64) as usize
}

impl Stripe {
    /// The room was deleted. Its place stays only for lookups that are under way.
    fn bury(&mut self, id: &RoomId, no: RoomNo) {
        let expected = self.rooms.get(id).map_or(0, |entry| entry.expected);
        self.remove(id);
        if expected > 0 {
            let grave = HubRoom { expected, deleted: Some(no), ..HubRoom::default() };
            self.rooms.insert(id.clone(), Box::new(grave));
        }
    }

    fn remove(&mut self, room: &RoomId) {
        if let Some(entry) = self.rooms.remove(room) {
            self.tail_bytes -= entry.tail.bytes();
            entry.idle.into_iter().for_each(|place| self.lines.idle.remove(place));
            entry.tailed.into_iter().for_each(|place| self.lines.tailed.remove(place));
        }
    }

    /// Lets go of what was not used for longest until the bounds hold.
    fn evict(&mut self, hub: &Hub) {
        while self.tail_bytes > hub.tail_stripe_bytes
            && let Some(id) = self.lines.tailed.oldest().cloned()
        {
            let entry = self.rooms.get_mut(&id).expect("the lines name rooms that are there");
            self.tail_bytes -= entry.tail.bytes();
            entry.tail.clear();
            self.lines.file(&id, entry);
        }
        while self.lines.idle.len() > hub.idle_per_stripe
            && let Some(id) = self.lines.idle.oldest().cloned()
        {
            self.remove(&id);
        }
    }
}

impl Lines {
    /// The room was used, and may belong into other lines than before.
    fn file(&mut self, id: &RoomId, room: &mut HubRoom) {
        let (is_idle, has_tail) = (room.is_idle(), room.tail.bytes() > 0);
        self.idle.keep(&mut room.idle, is_idle, || id.clone());
        self.tailed.keep(&mut room.tailed, has_tail, || id.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::for_tests;

    fn room(number: u64) -> Room {
        Room {
            no: RoomNo(number),
            id: RoomId::parse(&format!("r{number}")).unwrap(),
            epoch: Epoch::parse("e1").unwrap(),
            head: Head { seq: 3, n: 1, first: 1, ts: 0 },
            kind: RoomKind::Group,
            name: None,
            d: None,
            by: None,
            members: 1,
            owners: 1,
        }
    }

    fn hub(active_rooms: usize) -> Hub {
        let inbox = Arc::new(Inbox::new(16, || ()));
        Hub::new(&Limits { active_rooms, ..for_tests() }, vec![inbox], Gauge::default())
    }

    #[test]
    fn rooms_that_someone_hears_do_not_push_the_others_out() {
        let hub = hub(2048);
        let learn = |number| {
            let room = room(number);
            hub.expect(&room.id);
            hub.learn(&room.id, Some(&room));
            room.id
        };
        let heard: Vec<RoomId> = (1..=5000).map(learn).collect();
        // Only the newest are left, and only those can be listened to.
        let heard: Vec<_> = heard.iter().filter(|id| hub.listen(0, id).is_some()).collect();
        assert!((1500..=2048).contains(&heard.len()), "{} rooms were kept", heard.len());
        let idle: Vec<RoomId> = (10_001..=10_500).map(learn).collect();
        assert!(idle.iter().all(|id| hub.view(id).is_some()));
        assert_eq!(hub.size().0, heard.len() + idle.len());
        // Whoever is left alone goes into the same line.
        heard.iter().for_each(|id| hub.unlisten(0, id));
        (20_001..=30_000).map(learn).for_each(drop);
        assert!(hub.size().0 <= 2048);
        assert!(idle.iter().all(|id| hub.view(id).is_none()));
    }

    #[test]
    fn the_tail_that_was_not_read_for_longest_goes_first() {
        let stripe_bytes = 64 * 1024;
        let inbox = Arc::new(Inbox::new(16, || ()));
        let limits = Limits { tail_bytes: stripe_bytes * STRIPES, ..for_tests() };
        let hub = Hub::new(&limits, vec![inbox], Gauge::default());
        let neighbours = (1..).map(room).filter(|room| stripe_of(&room.id) == 0);
        let rooms: Vec<Room> = neighbours.take(3).collect();
        let publish = |room: &Room| {
            hub.expect(&room.id);
            hub.learn(&room.id, Some(room));
            let mut slab = crate::slab::SlabBuilder::after(3);
            slab.push(&[b'x'; 30_000]);
            let view = View { head: Head { seq: 4, ..room.head }, ..View::of(room) };
            let slabs = vec![slab.finish(hub.gauge())];
            let (id, removals) = (room.id.clone(), Vec::new());
            let news =
                News { id, view, slabs, removals, gone: false, more: false, committed_ns: 0 };
            hub.publish(vec![news], Vec::new());
        };
        let has_tail = |room: &Room| hub.read(&room.id, room.no, 3, 4, 1 << 20).is_some();
        publish(&rooms[0]);
        publish(&rooms[1]);
        assert!(has_tail(&rooms[0]), "two fit");
        publish(&rooms[2]);
        assert!(!has_tail(&rooms[1]), "the one that was not read had to go");
        assert!(has_tail(&rooms[0]) && has_tail(&rooms[2]));
        assert!(rooms.iter().all(|room| hub.view(&room.id).is_some_and(|view| view.head.seq >= 3)));
    }
}
