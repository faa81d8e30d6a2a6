//! Attaching: from a wish to hear a room to hearing it live. (3 authorise)
//!
//! Listen first, read second: an event that is committed in between comes twice, and the cursor drops
//! the copy. The other order could miss it.

use std::sync::Arc;

use tertulia_protocol::command::Sub;
use tertulia_protocol::limits::{HELLO_REPLAY_BYTES_MAX, REPLAY_BYTES_MAX};
use tertulia_protocol::reply;
use tertulia_protocol::{Code, RoomId, Seq};
use tertulia_store::Range;

use super::connection::{Attachment, Behind, Then};
use super::cork::Told;
use super::hand::Hand;
use super::outbound::Load;
use super::plan::Plan;
use super::{Shard, ShardRoom};
use crate::lookup::Question;
use crate::permission::Action;
use crate::refusal::Refusal;
use crate::slab::Slab;

/// A `sub` that can be answered.
pub(super) struct Settled {
    plan: Plan,
    page: Option<Arc<Slab>>,
    pub(super) upto: Seq,
}

impl Settled {
    pub(super) fn attached(&self) -> reply::Attached {
        self.plan.attached(self.upto)
    }

    /// Bytes of the events that are replayed at once.
    fn bytes(&self) -> usize {
        self.page.as_ref().map_or(0, |page| page.range(self.plan.base, self.upto).len())
    }
}

impl Shard {
    /// Finds out what each of `subs` gets.
    ///
    /// Errors: a question, when something has to be read first. Run it again with the answer in hand.
    pub(super) fn settle(
        &mut self,
        place: u32,
        subs: &[Sub],
        hand: &mut Hand,
    ) -> Result<Vec<Result<Settled, Refusal>>, Question> {
        // Someone may have been removed while pages were read: what was decided before that is decided anew,
        // from where the log stands by now. The pages are still good.
        if !hand.plans.as_ref().is_some_and(|plans| self.are_current(subs, plans)) {
            hand.plans = Some(self.plans(place, subs, hand)?);
        }
        let plans = hand.plans.take().expect("it was put there just now");
        let mut settled = Vec::with_capacity(subs.len());
        let mut missing = Vec::new();
        let mut bytes_left = HELLO_REPLAY_BYTES_MAX;
        for (sub, plan) in subs.iter().zip(&plans) {
            let one = match plan {
                Ok(plan) => self.page_for(sub, plan, bytes_left, hand),
                Err(refusal) => {
                    settled.push(Err(refusal.clone()));
                    continue;
                }
            };
            settled.push(match one {
                Ok(one) => {
                    bytes_left = bytes_left.saturating_sub(one.bytes());
                    Ok(one)
                }
                Err(range) => {
                    missing.push(range);
                    Err(Refusal::NO_ANSWER)
                }
            });
        }
        if !missing.is_empty() && hand.may_ask() {
            hand.plans = Some(plans);
            return Err(Question::Pages(missing));
        }
        Ok(settled)
    }

    fn are_current(&self, subs: &[Sub], plans: &[Result<Plan, Refusal>]) -> bool {
        let mut planned =
            subs.iter().zip(plans).filter_map(|(sub, plan)| Some((sub, plan.as_ref().ok()?)));
        planned.all(|(sub, plan)| self.cache.is_current(&sub.room, plan.version))
    }

    fn plans(
        &mut self,
        place: u32,
        subs: &[Sub],
        hand: &mut Hand,
    ) -> Result<Vec<Result<Plan, Refusal>>, Question> {
        let mut unknown = Vec::new();
        let mut plans = Vec::with_capacity(subs.len());
        for sub in subs {
            plans.push(match self.authorise(place, &sub.room, Action::Read, hand) {
                Some(allowed) => allowed.map(|allowed| Plan::of(sub, &allowed, &self.limits)),
                None => {
                    unknown.push(sub.room.clone());
                    Err(Refusal::NO_ANSWER)
                }
            });
        }
        if unknown.is_empty() || !hand.may_ask() {
            return Ok(plans);
        }
        Err(self.standings(place, unknown))
    }

    /// The events that a plan replays. Errors: the range to read.
    fn page_for(
        &self,
        sub: &Sub,
        plan: &Plan,
        bytes_left: usize,
        hand: &Hand,
    ) -> Result<Settled, Range> {
        let Plan { base, want, view, .. } = *plan;
        let bytes_max = bytes_left.min(REPLAY_BYTES_MAX);
        if base == want || bytes_max == 0 {
            return Ok(Settled { plan: *plan, page: None, upto: base });
        }
        let page = self
            .hub
            .read(&sub.room, view.no, base, want, bytes_max)
            .or_else(|| hand.page(view.no, base).cloned());
        let Some(page) = page else {
            let (room, limit) = (view.no, (want - base) as u32);
            let bytes_max = bytes_max as u32;
            return Err(Range { room, after: base, upto: want, limit, bytes_max });
        };
        let upto = page.fits(base, bytes_max).max(base + 1).min(want).min(page.last());
        Ok(Settled { plan: *plan, page: Some(page), upto })
    }

    /// The room's place in this shard; it listens from now on if it did not before.
    fn enter(&mut self, id: &RoomId) -> Option<u32> {
        if let Some(room) = self.rooms_by_id.get(id) {
            return Some(*room);
        }
        let view = self.hub.listen(self.id, id)?;
        let room = self.rooms.insert(ShardRoom {
            id: id.clone(),
            no: view.no,
            epoch: view.epoch,
            position: view.head.seq,
            told: Told::default(),
            live: Vec::new(),
            behind: 0,
            ahead: Vec::new(),
            doubt: 0,
        }) as u32;
        self.rooms_by_id.insert(id.clone(), room);
        self.rooms_by_no.insert(view.no, room);
        Some(room)
    }

    /// Makes the connection hear the room as settled. Call it once the answer is queued.
    pub(super) fn attach(&mut self, place: u32, id: &RoomId, settled: Settled) {
        let Settled { plan, page, upto } = settled;
        if let Some(room) = self.rooms_by_id.get(id).copied() {
            self.detach(place, room);
        }
        let more = upto < plan.view.head.seq;
        if more && upto == plan.base {
            return;
        }
        let entered = self.enter(id);
        let room = entered.filter(|room| {
            let room = &self.rooms[*room as usize];
            room.no == plan.view.no && room.epoch == plan.view.epoch
        });
        // Looked at after entering: a removal from before may have come too early to be told to this shard,
        // one from after comes as news.
        let Some(room) = room.filter(|_| self.cache.is_current(id, plan.version)) else {
            if let Some(room) = entered {
                self.leave_if_empty(room);
            }
            // It changed between the authorisation and now. The client asks again and is told what it is.
            self.reply(place, |out| reply::put_lag(out, id));
            return;
        };
        let then = if more { Then::Page(upto) } else { Then::Live };
        self.serial = self.serial.wrapping_add(1);
        let behind = Behind::new(plan.base, page, then, plan.view.head.seq);
        let serial = self.serial;
        let attachment = Attachment { room, serial, slot: 0, behind: Some(Box::new(behind)) };
        let connection = &mut self.connections[place as usize];
        connection.attachments.push(attachment);
        connection.reading += 1;
        self.rooms[room as usize].behind += 1;
        self.counters.listeners.add(1);
    }

    /// Takes the connection out of the room's live listeners, if it is one.
    fn leave_live(&mut self, place: u32, room: u32) {
        let Some(attachment) = self.connections[place as usize].attachment(room) else { return };
        if attachment.behind.is_some() {
            return;
        }
        let slot = attachment.slot;
        let live = &mut self.rooms[room as usize].live;
        live.swap_remove(slot as usize);
        if let Some(moved) = live.get(slot as usize).copied()
            && let Some(attachment) = self.connections[moved.place as usize].attachment(room)
        {
            attachment.slot = slot;
        }
    }

    /// The connection hears the room no more. What is queued still goes out. False if it did not hear it.
    pub(super) fn detach(&mut self, place: u32, room: u32) -> bool {
        self.leave_live(place, room);
        let connection = &mut self.connections[place as usize];
        let attachments = &mut connection.attachments;
        let Some(index) = attachments.iter().position(|attachment| attachment.room == room) else {
            return false;
        };
        // Not swapped: a replay goes room by room in the order asked.
        let gone = attachments.remove(index);
        connection.reading -= u32::from(gone.behind.is_some());
        if attachments.is_empty() {
            attachments.shrink_to_fit();
        }
        self.counters.listeners.sub(1);
        let left = &mut self.rooms[room as usize];
        left.behind -= u32::from(gone.behind.is_some());
        left.ahead.retain(|ahead| *ahead != place);
        self.leave_if_empty(room);
        true
    }

    /// A room that nobody here hears any more is not listened to.
    fn leave_if_empty(&mut self, room: u32) {
        let left = &self.rooms[room as usize];
        if left.live.is_empty() && left.behind == 0 {
            let left = self.rooms.remove(room as usize);
            self.rooms_by_id.remove(&left.id);
            self.rooms_by_no.remove(&left.no);
            self.hub.unlisten(self.id, &left.id);
        }
    }

    /// Detaches with a word why.
    pub(super) fn drop_room(&mut self, place: u32, room: u32, code: Code) {
        let id = self.rooms[room as usize].id.clone();
        if self.detach(place, room) {
            self.reply(place, |out| reply::put_drop(out, &id, code));
        }
    }

    /// Detaches because the room's events do not drain; those that were not begun are dropped.
    pub(super) fn lag(&mut self, place: u32, room: u32) {
        let connection = &mut self.connections[place as usize];
        let Some(serial) = connection.attachment(room).map(|attachment| attachment.serial) else {
            return;
        };
        self.links.drop_load(&mut connection.out, Load::Events(serial));
        let id = self.rooms[room as usize].id.clone();
        self.detach(place, room);
        self.reply(place, |out| reply::put_lag(out, &id));
        self.counters.lags.add(1);
    }
}
