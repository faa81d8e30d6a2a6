//! Audience: one shard and those who hear one room of it live, without a socket, a store or a committer.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use tertulia_protocol::event::{Content, Event};
use tertulia_protocol::frame::{Opcode, put_masked};
use tertulia_protocol::{Body, Cid, Epoch, Role, RoomId, RoomKind, UserId};
use tertulia_rooms::draft::{Address, Draft};
use tertulia_rooms::hub::{Hub, News, View};
use tertulia_rooms::identity::{Identity, Verdict};
use tertulia_rooms::limits::Limits;
use tertulia_rooms::lookup::Lookup;
use tertulia_rooms::membership::Membership;
use tertulia_rooms::shard::{Inbox, Input, Ports, Shard, Shared};
use tertulia_rooms::slab::{Gauge, SlabBuilder};
use tertulia_store::{Head, Room, RoomNo, Standing};

#[path = "../simulation/limits.rs"]
mod limits;

const ROOM: &str = "garden";

/// A shard, and who sits in it.
pub(crate) struct Audience {
    pub(crate) shard: Shard,
    pub(crate) sockets: Sockets,
    /// Everyone, in the order in which they came.
    pub(crate) seats: Vec<Address>,
    room: RoomId,
    view: View,
    gauge: Gauge,
}

/// The world as the shard sees it: sockets that take everything, and a clock that stands still.
pub(crate) struct Sockets {
    pub(crate) writes: usize,
    /// Whose writes are counted apart.
    pub(crate) watched: Option<Address>,
    pub(crate) watched_writes: usize,
    pub(crate) drafts: Vec<Draft>,
    seed: u64,
    pub(crate) now_ns: u64,
}

/// From turn to turn; a room is not told more often.
pub(crate) const A_MOMENT_NS: u64 = 1_000_000;

impl Audience {
    /// So many members of the room, each with one connection that has said hello and hears it live.
    pub(crate) fn of(members: usize, cork_listeners: usize, deflates: bool) -> Audience {
        let limits = Limits { cork_listeners, ..limits::roomy() };
        let room = garden();
        let inbox = Arc::new(Inbox::new(limits.shard_queue, || ()));
        let hub = Arc::new(Hub::new(&limits, vec![inbox], Gauge::default()));
        hub.expect(&room.id);
        hub.learn(&room.id, Some(&room));
        let ttl = Duration::from_secs(limits.membership_ttl_s);
        let cache = Arc::new(Membership::new(limits.membership_entries, ttl));
        let shared = Shared { hub, cache, people: Arc::default(), limits: Arc::new(limits) };
        let mut audience = Audience {
            shard: Shard::new(0, &shared, Arc::default(), 0),
            sockets: Sockets {
                writes: 0,
                watched: None,
                watched_writes: 0,
                drafts: Vec::with_capacity(1),
                seed: 0,
                now_ns: 0,
            },
            seats: Vec::new(),
            view: View::of(&room),
            gauge: shared.hub.gauge().clone(),
            room: room.id,
        };
        for member in 0..members {
            audience.takes_a_seat(&format!("user{member}"), &shared.cache, deflates);
        }
        audience.shard.flush_all(&mut audience.sockets);
        audience.sockets.writes = 0;
        audience
    }

    fn takes_a_seat(&mut self, user: &str, cache: &Membership, deflates: bool) {
        let (id, no) = (&self.room, self.view.no);
        let member = Standing::Member(Role::Member);
        cache.fill(id, no, &user_id(user), member, cache.version(id), 0);
        let seat = self.shard.open(Some(user.into()), deflates);
        let mut hello = said(&format!(r#"{{"t":"hello","id":1,"rooms":[["{ROOM}"]]}}"#));
        self.shard.received(seat, &mut hello, &mut self.sockets);
        self.seats.push(seat);
    }

    /// What a commit of so many messages tells the shard; `more` says that the next one is under way.
    pub(crate) fn news(&mut self, messages: usize, more: bool) -> Input {
        let mut slab = SlabBuilder::after(self.view.head.seq);
        let content = content();
        let by = user_id("user0");
        for _ in 0..messages {
            let head = &mut self.view.head;
            head.seq += 1;
            head.n += 1;
            let cid = Cid::parse(&format!("01JD8Z4QK7W0{}", head.n)).expect("it is short");
            let event = Event {
                room: &self.room,
                seq: head.seq,
                ts: 1_800_000_000_000,
                by: Some(&by),
                cid: Some(cid),
                content: &content,
                n: head.n,
            };
            let mut line = Vec::new();
            event.put(&mut line);
            slab.push(&line);
        }
        Input::News(Arc::new(News {
            id: self.room.clone(),
            view: self.view,
            slabs: vec![slab.finish(&self.gauge)],
            removals: Vec::new(),
            gone: false,
            more,
            committed_ns: 0,
        }))
    }

    /// A turn of the shard: it takes what came for it and writes what it has to say.
    pub(crate) fn turn(&mut self, inputs: &mut Vec<Input>) {
        self.turn_after(A_MOMENT_NS, inputs);
    }

    /// The same, so long after the last one.
    pub(crate) fn turn_after(&mut self, after_ns: u64, inputs: &mut Vec<Input>) {
        self.sockets.now_ns += after_ns;
        self.shard.turn(self.sockets.now_ns);
        self.shard.take(inputs, &mut self.sockets);
        self.shard.flush_all(&mut self.sockets);
    }
}

impl Ports for Sockets {
    fn write(&mut self, to: Address, parts: &[IoSlice<'_>]) -> usize {
        self.writes += 1;
        self.watched_writes += usize::from(self.watched == Some(to));
        parts.iter().map(|part| part.len()).sum()
    }

    fn finish(&mut self, of: Address) {
        panic!("{of:?} is told to go");
    }

    fn close(&mut self, of: Address) {
        panic!("{of:?} is closed");
    }

    fn resume(&mut self, _: Address) {}

    fn submit(&mut self, draft: Draft) -> bool {
        self.drafts.push(draft);
        true
    }

    fn hand_in(&mut self) {}

    fn look_up(&mut self, lookup: Lookup) -> Result<(), Lookup> {
        panic!("all is at hand, and it asks {lookup:?}");
    }

    /// A token is its user's name.
    fn identify(&mut self, token: &str) -> Verdict {
        let (user, grants) = (user_id(token), Vec::new());
        Verdict::Known(Identity { user, exp_s: 3600, iat_s: 0, grants })
    }

    fn random(&mut self) -> u64 {
        self.seed += 1;
        self.seed
    }

    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn wall_ms(&self) -> u64 {
        0
    }
}

/// A client's frame with one object.
pub(crate) fn said(line: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    put_masked(&mut frame, Opcode::Text, [0x37, 0xFA, 0x21, 0x3D], line.as_bytes());
    frame
}

fn user_id(name: &str) -> UserId {
    UserId::parse(name).expect("the name is sound")
}

fn content() -> Content {
    let text = r#"{"text":"The roses by the wall are out, come and see them before it rains."}"#;
    let raw: &serde_json::value::RawValue = serde_json::from_str(text).expect("it is JSON");
    Content::Said { kind: None, re: None, thread: None, d: Body::parse(raw).expect("it is sound") }
}

fn garden() -> Room {
    Room {
        no: RoomNo(1),
        id: RoomId::parse(ROOM).expect("the name is sound"),
        epoch: Epoch::parse("e1").expect("the name is sound"),
        head: Head { seq: 40, n: 40, first: 1, ts: 0 },
        kind: RoomKind::Group,
        name: None,
        d: None,
        by: None,
        members: 100,
        owners: 1,
    }
}
