//! The engine in memory: rooms that live as long as the value, and faults on demand.
//!
//! Clones share the same rooms, so a simulation can drop everything else and go on from what was committed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use tertulia_protocol::{Cid, Epoch, Role, RoomId, UserId};

use crate::engine::{Read, Write};
use crate::error::Error;
use crate::row::{Changes, Head, Range, Remembered, Room, RoomNo, Sender, Standing, StoredEvent};
use crate::walk::Walk;

/// Rooms in memory.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Tables>>);

#[derive(Clone, Default)]
struct Tables {
    rooms: BTreeMap<RoomId, Room>,
    ids: BTreeMap<RoomNo, RoomId>,
    members: BTreeMap<(RoomNo, UserId), Standing>,
    events: BTreeMap<(RoomNo, u64), Vec<u8>>,
    dedupe: BTreeMap<(RoomNo, Sender, Cid), Remembered>,
    revoked: BTreeMap<UserId, u64>,
    graves: BTreeSet<RoomNo>,
    walk: Walk,
    /// Behind which cid the walk goes on; from the first one if there is none.
    behind: Option<(RoomNo, Sender, Cid)>,
    last_no: u64,
    commits_that_fail: u32,
    reads_that_fail: u32,
    /// What would be stored if the last commit, which failed, was complete after all.
    in_doubt: Option<Box<Tables>>,
}

/// What a room lost, and as what it goes on.
#[derive(Clone, Copy, Debug)]
pub struct Renewed {
    /// The life that it had.
    pub old: Epoch,
    /// The one it has now.
    pub new: Epoch,
    /// Where its log stands.
    pub head: Head,
}

/// Cids that a step of cleaning looks at.
const SWEEP_ROWS: usize = 1000;

impl Memory {
    /// The next `count` commits fail and leave nothing behind.
    pub fn fail_commits(&self, count: u32) {
        self.tables().commits_that_fail = count;
    }

    /// The next `count` reads fail.
    pub fn fail_reads(&self, count: u32) {
        self.tables().reads_that_fail = count;
    }

    /// Removes the events of `room` below `first`, as a retention would.
    pub fn trim(&self, room: &RoomId, first: u64) {
        let tables = &mut *self.tables();
        if let Some(room) = tables.rooms.get_mut(room) {
            room.head.first = first;
            let no = room.no;
            tables.events.retain(|(room, seq), _| *room != no || *seq >= first);
        }
    }

    /// Whoever wrote is gone. If the last commit failed, nobody knows whether it was written before that:
    /// `in_full` decides it.
    pub fn recover(&self, in_full: bool) {
        let mut tables = self.tables();
        if let Some(whole) = tables.in_doubt.take().filter(|_| in_full) {
            *tables = *whole;
        }
    }

    /// A copy that goes its own way.
    pub fn copy(&self) -> Memory {
        let mut tables = self.tables().clone();
        tables.in_doubt = None;
        Memory(Arc::new(Mutex::new(tables)))
    }

    /// Becomes what `copy` is, as a disk that lost what it had promised to keep. Every log begins another life,
    /// named by `epochs`, as it would when such a database is opened.
    pub fn lose(&self, copy: &Memory, mut epochs: impl FnMut() -> Epoch) -> Vec<(RoomId, Renewed)> {
        let mut lost = copy.tables().clone();
        let renewed = lost.rooms.values_mut().map(|room| {
            let (old, new) = (room.epoch, epochs());
            room.epoch = new;
            (room.id.clone(), Renewed { old, new, head: room.head })
        });
        let renewed = renewed.collect();
        *self.tables() = lost;
        renewed
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().expect("no one panics while holding the tables")
    }

    fn read(&self) -> Result<MutexGuard<'_, Tables>, Error> {
        let mut tables = self.tables();
        if tables.reads_that_fail > 0 {
            tables.reads_that_fail -= 1;
            return Err(Error::Failed("a planted fault".into()));
        }
        Ok(tables)
    }
}

impl Read for Memory {
    fn room(&mut self, id: &RoomId) -> Result<Option<Room>, Error> {
        Ok(self.read()?.rooms.get(id).cloned())
    }

    fn has_room(&mut self, room: RoomNo) -> Result<bool, Error> {
        Ok(self.read()?.ids.contains_key(&room))
    }

    fn standing(&mut self, room: RoomNo, user: &UserId) -> Result<Standing, Error> {
        let tables = self.read()?;
        Ok(tables.members.get(&(room, user.clone())).copied().unwrap_or(Standing::Stranger))
    }

    fn log(&mut self, range: Range) -> Result<Vec<StoredEvent>, Error> {
        let tables = self.read()?;
        let mut bytes_left = i64::from(range.bytes_max);
        let rows = tables
            .events
            .range(
                (range.room, range.after.saturating_add(1))
                    ..=(range.room, range.upto.max(range.after.saturating_add(1))),
            )
            .take_while(|((_, seq), _)| *seq <= range.upto)
            .take(range.limit as usize)
            .take_while(|(_, bytes)| {
                let first = bytes_left == i64::from(range.bytes_max);
                bytes_left -= bytes.len() as i64;
                first || bytes_left >= 0
            })
            .map(|((_, seq), bytes)| StoredEvent { seq: *seq, bytes: bytes.clone() });
        Ok(rows.collect())
    }

    fn rooms_of(
        &mut self,
        user: &UserId,
        after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<(Room, Role)>, Error> {
        let tables = self.read()?;
        let rooms = tables.rooms.iter().filter(|(id, _)| after.is_none_or(|after| *id > after));
        let mine =
            rooms.filter_map(|(_, room)| match tables.members.get(&(room.no, user.clone())) {
                Some(Standing::Member(role)) => Some((room.clone(), *role)),
                _ => None,
            });
        Ok(mine.take(limit as usize).collect())
    }

    fn members(
        &mut self,
        room: RoomNo,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<(UserId, Role)>, Error> {
        let tables = self.read()?;
        let rows = tables.members.iter().filter_map(|((no, user), standing)| match standing {
            Standing::Member(role) if *no == room && after.is_none_or(|after| user > after) => {
                Some((user.clone(), *role))
            }
            _ => None,
        });
        Ok(rows.take(limit as usize).collect())
    }

    fn revoked(&mut self) -> Result<Vec<(UserId, u64)>, Error> {
        Ok(self.read()?.revoked.iter().map(|(user, at)| (user.clone(), *at)).collect())
    }

    fn ping(&mut self) -> Result<(), Error> {
        self.read().map(drop)
    }
}

impl Write for Memory {
    fn remembered(
        &mut self,
        room: RoomNo,
        sender: &Sender,
        cid: &Cid,
    ) -> Result<Option<Remembered>, Error> {
        Ok(self.read()?.dedupe.get(&(room, sender.clone(), *cid)).copied())
    }

    fn highest_cid(&mut self, room: RoomNo, sender: &Sender) -> Result<Option<Cid>, Error> {
        let tables = self.read()?;
        let last = tables.dedupe.range(..=(room, sender.clone(), Cid::LAST)).next_back();
        let its = last.filter(|((no, by, _), _)| *no == room && by == sender);
        Ok(its.map(|((_, _, cid), _)| *cid))
    }

    fn rooms_made_by(&mut self, user: &UserId) -> Result<u64, Error> {
        let tables = self.read()?;
        Ok(tables.rooms.values().filter(|room| room.by.as_ref() == Some(user)).count() as u64)
    }

    fn hold(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn release(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn last_room_no(&mut self) -> Result<RoomNo, Error> {
        Ok(RoomNo(self.read()?.last_no))
    }

    fn commit(&mut self, changes: &Changes<'_>) -> Result<(), Error> {
        let tables = &mut *self.tables();
        tables.in_doubt = None;
        if tables.commits_that_fail > 0 {
            tables.commits_that_fail -= 1;
            let mut whole = tables.clone();
            whole.put(changes);
            (whole.commits_that_fail, whole.reads_that_fail) = (0, 0);
            tables.in_doubt = Some(Box::new(whole));
            return Err(Error::Failed("a planted fault".into()));
        }
        tables.put(changes);
        Ok(())
    }

    fn probe(&mut self) -> Result<(), Error> {
        self.commit(&Changes::default())
    }

    fn sweep(&mut self, forget_before: u64) -> Result<bool, Error> {
        let tables = &mut *self.tables();
        for grave in std::mem::take(&mut tables.graves) {
            tables.events.retain(|(room, _), _| *room != grave);
            tables.members.retain(|(room, _), _| *room != grave);
            tables.dedupe.retain(|(room, _, _), _| *room != grave);
        }
        Ok(tables.forget_old_cids(forget_before))
    }
}

impl Tables {
    /// A step of the walk over the cids. True if it goes on.
    fn forget_old_cids(&mut self, forget_before: u64) -> bool {
        if !self.walk.is_due(forget_before) {
            return false;
        }
        let from = self.behind.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut step: Vec<_> = self
            .dedupe
            .range((from, Bound::Unbounded))
            .take(SWEEP_ROWS)
            .map(|(key, remembered)| (key.clone(), remembered.ts))
            .collect();
        for (key, _) in step.iter().filter(|(_, ts)| *ts < forget_before) {
            self.dedupe.remove(key);
        }
        self.behind = step.pop().map(|(key, _)| key);
        if self.behind.is_none() {
            self.walk.ended(forget_before);
        }
        self.behind.is_some()
    }

    fn put(&mut self, changes: &Changes<'_>) {
        for room in &changes.rooms {
            self.last_no = self.last_no.max(room.no.0);
            self.ids.insert(room.no, room.id.clone());
            self.rooms.insert(room.id.clone(), (*room).clone());
        }
        for (no, head) in &changes.heads {
            if let Some(room) = self.ids.get(no).and_then(|id| self.rooms.get_mut(id)) {
                room.head = *head;
            }
        }
        for event in &changes.events {
            let fresh = self.events.insert((event.room, event.seq), event.bytes.to_vec());
            assert!(fresh.is_none(), "number {} of {:?} was given twice", event.seq, event.room);
        }
        for (room, sender, cid, remembered) in &changes.remembered {
            let fresh = self.dedupe.insert((*room, (*sender).clone(), *cid), *remembered);
            assert!(fresh.is_none(), "{cid} of {sender:?} was new twice in {room:?}");
        }
        for (room, user, standing) in &changes.standings {
            let key = (*room, (*user).clone());
            match standing {
                Standing::Stranger => self.members.remove(&key),
                standing => self.members.insert(key, *standing),
            };
        }
        for no in &changes.gone {
            if let Some(id) = self.ids.remove(no)
                && self.rooms.get(&id).is_some_and(|room| room.no == *no)
            {
                self.rooms.remove(&id);
            }
            self.graves.insert(*no);
        }
        for (user, at) in &changes.revoked {
            self.revoked.insert((*user).clone(), *at);
        }
    }
}
