//! Active rooms: the state that drafts are judged against, read on demand and kept while in use.
//!
//! It is only a memory of the store: whatever is dropped here, between two batches, is read again.

use hashbrown::HashMap;
use tertulia_protocol::{Cid, RoomId, UserId};
use tertulia_store::{Error, Remembered, Room, Sender, Standing, Writer};

use crate::recency::Recency;

/// Most users of one room whose standing is kept, and most whose highest cid is; past it they are read again
/// when needed.
const USERS_PER_ROOM: usize = 4096;

/// So many cids of one room, or those of one batch, are a generation, of which two are kept: whoever sends one
/// after the other names the one before (`prev`), seldom an older one.
const CIDS_PER_GENERATION: usize = 64;

/// Most standings and cids kept of all rooms, of about 100 bytes each: past it the rooms that were not
/// used for longest go.
const FACTS: usize = 1 << 17;

type Cids = HashMap<(Sender, Cid), Remembered>;

/// A room in use.
pub(super) struct Active {
    pub(super) room: Room,
    standings: HashMap<UserId, Standing>,
    remembered: Cids,
    remembered_before: Cids,
    /// For whoever is in here: no cid that the store remembers, or will once the running batch is written, is
    /// above this one. What is above it is new, and nobody has to look.
    highest: HashMap<Sender, Option<Cid>>,
    /// Which of the running batch's rooms it is.
    pub(super) touched: Option<usize>,
    /// It is in `Rooms::used`.
    used: bool,
    /// How many of its facts are counted in `Rooms::facts`.
    counted: usize,
    place: u32,
}

impl Active {
    pub(super) fn standing(
        &mut self,
        writer: &mut Writer,
        user: &UserId,
    ) -> Result<Standing, Error> {
        if let Some(standing) = self.standings.get(user) {
            return Ok(*standing);
        }
        let standing = writer.standing(self.room.no, user)?;
        self.standings.insert(user.clone(), standing);
        Ok(standing)
    }

    pub(super) fn set_standing(&mut self, user: &UserId, standing: Standing) {
        self.standings.insert(user.clone(), standing);
    }

    pub(super) fn remembered(
        &mut self,
        writer: &mut Writer,
        sender: &Sender,
        cid: Cid,
    ) -> Result<Option<Remembered>, Error> {
        let key = (sender.clone(), cid);
        if let Some(known) = self.remembered.get(&key).or_else(|| self.remembered_before.get(&key))
        {
            return Ok(Some(*known));
        }
        if self.highest(writer, sender)?.is_none_or(|highest| cid > highest) {
            return Ok(None);
        }
        // Looked up each time: keeping each "no" would only be of use to someone who asks twice.
        writer.remembered(self.room.no, sender, &cid)
    }

    fn highest(&mut self, writer: &mut Writer, sender: &Sender) -> Result<Option<Cid>, Error> {
        if let Some(highest) = self.highest.get(sender) {
            return Ok(*highest);
        }
        let highest = writer.highest_cid(self.room.no, sender)?;
        self.highest.insert(sender.clone(), highest);
        Ok(highest)
    }

    /// Keeps what is said by a new cid: [`Active::remembered`] was asked for it in this batch, and did not know
    /// it.
    pub(super) fn remember(&mut self, sender: &Sender, cid: Cid, remembered: Remembered) {
        // Read before this one: the store does not have it yet, so it could not be read now.
        let highest = self.highest.get_mut(sender).expect("it was asked for in this batch");
        *highest = (*highest).max(Some(cid));
        self.remembered.insert((sender.clone(), cid), remembered);
    }

    fn facts(&self) -> usize {
        let cids = self.remembered.len() + self.remembered_before.len() + self.highest.len();
        self.standings.len() + cids
    }

    fn trim(&mut self) {
        // Not cleared: that would keep the memory.
        if self.standings.len() > USERS_PER_ROOM {
            self.standings = HashMap::new();
        }
        if self.highest.len() > USERS_PER_ROOM {
            self.highest = HashMap::new();
        }
        if self.remembered.len() > CIDS_PER_GENERATION {
            self.remembered_before = std::mem::take(&mut self.remembered);
        }
    }
}

/// The rooms in use.
pub(super) struct Rooms {
    /// In boxes: a table from which as much goes as comes has up to three times as many places as it needs.
    active: HashMap<RoomId, Box<Active>>,
    recency: Recency<RoomId>,
    /// Rooms that drafts were judged against since the last `trim`; only these can have grown.
    used: Vec<RoomId>,
    facts: usize,
    limit: usize,
}

impl Rooms {
    pub(super) fn new(limit: usize) -> Rooms {
        let (active, recency) = (HashMap::new(), Recency::default());
        Rooms { active, recency, used: Vec::new(), facts: 0, limit }
    }

    /// The room, if it is there at all.
    pub(super) fn find(
        &mut self,
        writer: &mut Writer,
        id: &RoomId,
    ) -> Result<Option<&mut Active>, Error> {
        if !self.active.contains_key(id) {
            let Some(room) = writer.room(id)? else { return Ok(None) };
            self.insert(room);
        }
        let active = &mut **self.active.get_mut(id).expect("it was put there just now");
        self.recency.touch(active.place);
        if !std::mem::replace(&mut active.used, true) {
            self.used.push(id.clone());
        }
        Ok(Some(active))
    }

    pub(super) fn insert(&mut self, room: Room) -> &mut Active {
        let id = room.id.clone();
        self.remove(&id);
        let place = self.recency.add(id.clone());
        self.used.push(id.clone());
        let active = Active {
            room,
            standings: HashMap::new(),
            remembered: HashMap::new(),
            remembered_before: HashMap::new(),
            highest: HashMap::new(),
            touched: None,
            used: true,
            counted: 0,
            place,
        };
        self.active.entry(id).or_insert(Box::new(active))
    }

    pub(super) fn get(&self, id: &RoomId) -> Option<&Active> {
        self.active.get(id).map(Box::as_ref)
    }

    pub(super) fn remove(&mut self, id: &RoomId) {
        if let Some(active) = self.active.remove(id) {
            self.recency.remove(active.place);
            self.facts -= active.counted;
        }
    }

    /// Whatever a failed batch thought of these rooms is void.
    pub(super) fn forget<'a>(&mut self, ids: impl Iterator<Item = &'a RoomId>) {
        for id in ids {
            self.remove(id);
        }
    }

    /// The batch is over: lets go of what is over the bounds.
    pub(super) fn trim(&mut self) {
        for id in self.used.drain(..) {
            let Some(active) = self.active.get_mut(&id) else { continue };
            (active.touched, active.used) = (None, false);
            active.trim();
            let facts = active.facts();
            self.facts = self.facts + facts - std::mem::replace(&mut active.counted, facts);
        }
        while (self.active.len() > self.limit || self.facts > FACTS)
            && let Some(oldest) = self.recency.oldest().cloned()
        {
            self.remove(&oldest);
        }
    }
}
