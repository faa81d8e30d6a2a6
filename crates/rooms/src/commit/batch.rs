//! A batch: what the drafts of one transaction change, gathered room by room.
//!
//! Events are encoded straight into the slab that will be sent; the store gets ranges of the same bytes.

use std::ops::Range;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use tertulia_protocol::event::{Content, Event};
use tertulia_protocol::{Cid, Role, RoomId, Seq, UserId};
use tertulia_store::{Changes, NewEvent, Remembered, Room, RoomNo, Sender, Standing};

use super::active::{Active, Rooms};
use super::removal_code;
use crate::hub::{News, Removal, View};
use crate::planted::{Fault, planted};
use crate::slab::{Gauge, Slab, SlabBuilder};

/// A slab of live events is closed from here on, so that a slow reader pins little more than it needs.
const SLAB_BYTES: usize = 128 * 1024;

/// What happens to one room.
struct Touched {
    id: RoomId,
    no: RoomNo,
    /// As it was before.
    view: View,
    events: Vec<Written>,
    growing: Option<SlabBuilder>,
    slabs: Vec<Arc<Slab>>,
    remembered: Vec<(Sender, Cid, Remembered)>,
    standings: Vec<(UserId, Standing)>,
    removals: Vec<Removal>,
    /// Made here, or with other settings or counts: the whole row is written.
    whole: bool,
    gone: bool,
}

struct Written {
    seq: Seq,
    ts: u64,
    by: Option<UserId>,
    kind: Box<str>,
    slab: usize,
    line: Range<usize>,
}

/// One transaction in the making.
pub(super) struct Batch {
    pub(super) now_ms: u64,
    last_no: RoomNo,
    gauge: Gauge,
    rooms: Vec<Touched>,
    /// Names whose room was deleted here: the store still has them.
    deleted: HashSet<RoomId>,
    revoked: Vec<(UserId, u64)>,
    made: HashMap<UserId, u64>,
    line: Vec<u8>,
}

impl Batch {
    pub(super) fn new(now_ms: u64, last_no: RoomNo, gauge: Gauge) -> Batch {
        Batch {
            now_ms,
            last_no,
            gauge,
            rooms: Vec::new(),
            deleted: HashSet::new(),
            revoked: Vec::new(),
            made: HashMap::new(),
            line: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.revoked.is_empty()
    }

    pub(super) fn last_no(&self) -> RoomNo {
        self.last_no
    }

    /// A number for a new room, made by `by`.
    pub(super) fn next_no(&mut self, by: Option<&UserId>) -> RoomNo {
        if let Some(user) = by {
            *self.made.entry(user.clone()).or_default() += 1;
        }
        self.last_no.0 += 1;
        self.last_no
    }

    /// How many rooms `user` has made in this batch.
    pub(super) fn made_by(&self, user: &UserId) -> u64 {
        self.made.get(user).copied().unwrap_or(0)
    }

    pub(super) fn is_deleted(&self, id: &RoomId) -> bool {
        self.deleted.contains(id)
    }

    pub(super) fn revoke(&mut self, user: &UserId, before_s: u64) {
        self.revoked.push((user.clone(), before_s));
    }

    fn touch(&mut self, active: &mut Active) -> &mut Touched {
        let place = *active.touched.get_or_insert_with(|| {
            self.rooms.push(Touched::new(&active.room));
            self.rooms.len() - 1
        });
        &mut self.rooms[place]
    }

    /// Appends an event to the room's log and says which number it got.
    pub(super) fn append(
        &mut self,
        active: &mut Active,
        by: Option<&UserId>,
        cid: Option<Cid>,
        content: &Content,
    ) -> Seq {
        self.touch(active);
        let head = &mut active.room.head;
        let before = head.seq;
        head.seq += 1;
        head.n += u64::from(content.is_message());
        head.ts = head.ts.max(self.now_ms);
        let (seq, ts, n) = (head.seq, head.ts, head.n);
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        Event { room: &active.room.id, seq, ts, by, cid, content, n }.put(&mut line);
        let gauge = self.gauge.clone();
        let touched = self.touch(active);
        let (slab, range) = touched.push_line(before, &line, &gauge);
        let kind = content.kind().into();
        touched.events.push(Written { seq, ts, by: by.cloned(), kind, slab, line: range });
        if let Content::Leave { u, why } = content
            && !planted(Fault::SkipKick)
        {
            touched.removals.push(Removal { at: seq, user: u.clone(), code: removal_code(*why) });
        }
        self.line = line;
        seq
    }

    pub(super) fn remember(
        &mut self,
        active: &mut Active,
        sender: &Sender,
        cid: Cid,
        remembered: Remembered,
    ) {
        active.remember(sender, cid, remembered);
        self.touch(active).remembered.push((sender.clone(), cid, remembered));
    }

    /// Makes `user` what `new` says, and keeps the room's counts right.
    pub(super) fn put_standing(
        &mut self,
        active: &mut Active,
        user: &UserId,
        old: Standing,
        new: Standing,
    ) {
        let is_member = |standing| matches!(standing, Standing::Member(_));
        let is_owner = |standing| standing == Standing::Member(Role::Owner);
        let room = &mut active.room;
        room.members = room.members + u64::from(is_member(new)) - u64::from(is_member(old));
        room.owners = room.owners + u64::from(is_owner(new)) - u64::from(is_owner(old));
        active.set_standing(user, new);
        let touched = self.touch(active);
        touched.whole = true;
        touched.standings.push((user.clone(), new));
    }

    /// The room's whole row is new.
    pub(super) fn put_room(&mut self, active: &mut Active) {
        self.touch(active).whole = true;
    }

    pub(super) fn delete(&mut self, active: &mut Active) {
        self.deleted.insert(active.room.id.clone());
        self.touch(active).gone = true;
    }

    /// The name is in use again.
    pub(super) fn undelete(&mut self, id: &RoomId) {
        self.deleted.remove(id);
    }

    /// No more drafts.
    pub(super) fn seal(&mut self) {
        for touched in &mut self.rooms {
            touched.close_slab(&self.gauge);
        }
    }

    pub(super) fn touched_ids(&self) -> impl Iterator<Item = &RoomId> {
        self.rooms.iter().map(|touched| &touched.id)
    }

    /// Rooms that someone is removed from, as they were before.
    pub(super) fn removing(&self) -> impl Iterator<Item = (&RoomId, View)> {
        let removing = self.rooms.iter().filter(|touched| !touched.removals.is_empty());
        // A room that was made here has nobody yet who could stand anywhere in it.
        let known = removing.filter(|touched| touched.view.head.seq > 0 && !touched.gone);
        known.map(|touched| (&touched.id, touched.view))
    }

    pub(super) fn events(&self) -> usize {
        self.rooms.iter().map(|touched| touched.events.len()).sum()
    }

    /// The rows of the transaction. Of a room that is deleted at the end nothing is written.
    pub(super) fn changes<'a>(&'a self, rooms: &'a Rooms) -> Changes<'a> {
        let mut changes = Changes::default();
        changes.revoked.extend(self.revoked.iter().map(|(user, second)| (user, *second)));
        for touched in &self.rooms {
            if touched.gone {
                changes.gone.push(touched.no);
                continue;
            }
            if let Some(room) = touched.room(rooms) {
                if touched.whole {
                    changes.rooms.push(room);
                } else {
                    changes.heads.push((room.no, room.head));
                }
            }
            let no = touched.no;
            changes.events.extend(touched.events.iter().map(|event| NewEvent {
                room: no,
                seq: event.seq,
                ts: event.ts,
                by: event.by.as_ref(),
                kind: &event.kind,
                bytes: &touched.slabs[event.slab].bytes()[event.line.clone()],
            }));
            let remembered = touched.remembered.iter();
            changes.remembered.extend(
                remembered.map(|(sender, cid, remembered)| (no, sender, *cid, *remembered)),
            );
            let standings = touched.standings.iter();
            changes.standings.extend(standings.map(|(user, standing)| (no, user, *standing)));
        }
        changes
    }

    /// Who is what where, in the order in which it came about. Of a room that is deleted at the end nothing
    /// came about.
    pub(super) fn standings(&self) -> impl Iterator<Item = (&RoomId, RoomNo, &UserId, Standing)> {
        self.rooms.iter().filter(|touched| !touched.gone).flat_map(|touched| {
            let standings = touched.standings.iter();
            standings.map(|(user, standing)| (&touched.id, touched.no, user, *standing))
        })
    }

    /// What the listeners are told.
    pub(super) fn into_news(self, rooms: &Rooms, more: bool, committed_ns: u64) -> Vec<News> {
        let news = self.rooms.into_iter().map(|touched| News {
            view: touched.room(rooms).map_or(touched.view, View::of),
            id: touched.id,
            slabs: touched.slabs,
            removals: touched.removals,
            gone: touched.gone,
            more,
            committed_ns,
        });
        news.collect()
    }
}

impl Touched {
    fn new(room: &Room) -> Touched {
        Touched {
            id: room.id.clone(),
            no: room.no,
            view: View::of(room),
            events: Vec::new(),
            growing: None,
            slabs: Vec::new(),
            remembered: Vec::new(),
            standings: Vec::new(),
            removals: Vec::new(),
            whole: false,
            gone: false,
        }
    }

    /// The room as it is by now, unless it is gone and another one has its name.
    fn room<'a>(&self, rooms: &'a Rooms) -> Option<&'a Room> {
        rooms.get(&self.id).map(|active| &active.room).filter(|room| room.no == self.no)
    }

    /// Puts a line into a slab; says into which, and where it stands there.
    fn push_line(&mut self, before: Seq, line: &[u8], gauge: &Gauge) -> (usize, Range<usize>) {
        if self.growing.as_ref().is_some_and(|slab| slab.bytes().len() > SLAB_BYTES) {
            self.close_slab(gauge);
        }
        let growing = self.growing.get_or_insert_with(|| SlabBuilder::after(before));
        (self.slabs.len(), growing.push(line))
    }

    fn close_slab(&mut self, gauge: &Gauge) {
        self.slabs.extend(self.growing.take().map(|slab| slab.finish(gauge)));
    }
}
