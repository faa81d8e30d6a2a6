//! Attaching: from a wish to hear a room to hearing it live. (3 authorise)
//!
//! Listen first, read second: an event that is committed in between comes twice, and the cursor drops
//! the copy. The other order could miss it.

use std::sync::Arc;

use tertulia_protocol::command::Sub;
use tertulia_protocol::limits::{HELLO_REPLAY_BYTES_MAX, REPLAY_BYTES_MAX};
use tertulia_protocol::reply;
use tertulia_protocol::{Code, Role, RoomId, Seq};
use tertulia_store::Range;

use super::connection::{Attachment, Behind, Then, Waits};
use super::hand::{ASKS_MAX, Hand};
use super::outbound::Load;
use super::plan::Plan;
use super::{Listener, Ports, Shard, ShardRoom};
use crate::counters::Verb;
use crate::hub::View;
use crate::lookup::{Lookup, Question};
use crate::membership::Version;
use crate::permission::{self, Action, Actor};
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
}

/// What the read path says about someone in a room.
pub(super) enum Seen {
    /// They may.
    May(View, Role, Version),
    /// They may not.
    MayNot(Refusal),
    /// It has to be looked up first.
    Ask,
}

impl Shard {
    /// Whether the connection's user may do `action` in the room, from memory or from what is in hand.
    pub(super) fn authorise(
        &mut self,
        place: u32,
        id: &RoomId,
        action: Action,
        hand: &Hand,
    ) -> Seen {
        let connection = &self.connections[place as usize];
        let Some(who) = &connection.who else { return Seen::MayNot(Refusal::NotFound) };
        let grant = who.grant(id);
        // In this order: the committer changes memberships first and the room's view after, so whoever
        // sees a room behind a kick sees the kick.
        let view = self.hub.view(id);
        let version = self.cache.version(id);
        let at_hand = view.and_then(|view| self.cache.get(id, view.no, &who.user, self.now_ns));
        let in_hand = hand.known(id).filter(|known| known.version == version);
        let (view, standing) = match (view, at_hand, in_hand) {
            (Some(view), Some(standing), None) => {
                self.counters.membership_hits.add(1);
                (view, standing)
            }
            (Some(view), Some(standing), Some(_)) => (view, standing),
            (Some(view), None, Some(known)) => match &known.room {
                Some(room) if room.no == view.no => (view, known.standing),
                Some(_) => return Seen::Ask,
                None => return Seen::MayNot(Refusal::NotFound),
            },
            (None, _, Some(known)) if known.room.is_none() => {
                return Seen::MayNot(Refusal::NotFound);
            }
            (_, None, None) | (None, ..) => return Seen::Ask,
        };
        let actor = Actor::User { standing, grant };
        if let Err(refusal) = permission::check(actor, view.kind, action) {
            // A room that is not there costs a lookup, so one that may not be seen does, too.
            let is_asked = refusal != Refusal::NotFound || in_hand.is_some();
            return if is_asked { Seen::MayNot(refusal) } else { Seen::Ask };
        }
        let role = permission::role(standing, grant).unwrap_or(Role::Reader);
        Seen::May(view, role, version)
    }

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
                Err(refusal) => Err(Ok(refusal.clone())),
            };
            settled.push(match one {
                Ok(one) => {
                    let page = one.page.as_ref();
                    let bytes = page.map_or(0, |page| page.range(one.plan.base, one.upto).len());
                    bytes_left = bytes_left.saturating_sub(bytes);
                    Ok(one)
                }
                Err(Ok(refusal)) => Err(refusal),
                Err(Err(range)) => {
                    missing.push(range);
                    Err(Refusal::NO_ANSWER)
                }
            });
        }
        if !missing.is_empty() && self.may_ask(hand) {
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
                Seen::May(view, role, version) => {
                    Ok(Plan::of(sub, view, role, version, &self.limits))
                }
                Seen::MayNot(refusal) => Err(refusal),
                Seen::Ask => {
                    unknown.push(sub.room.clone());
                    Err(Refusal::NO_ANSWER)
                }
            });
        }
        if unknown.is_empty() || !self.may_ask(hand) {
            return Ok(plans);
        }
        Err(self.standings(place, unknown))
    }

    /// Whether it makes sense to ask (once more).
    pub(super) fn may_ask(&self, hand: &mut Hand) -> bool {
        hand.asks += 1;
        !hand.failed && hand.asks <= ASKS_MAX
    }

    /// The question who the connection's user is in `rooms`.
    pub(super) fn standings(&mut self, place: u32, rooms: Vec<RoomId>) -> Question {
        self.counters.membership_misses.add(rooms.len() as u64);
        let who = self.connections[place as usize].who.as_ref();
        let user = who.expect("only someone who said hello asks").user.clone();
        Question::Standings { user, rooms }
    }

    /// The events that a plan replays. Errors: a refusal, or the range to read.
    fn page_for(
        &self,
        sub: &Sub,
        plan: &Plan,
        bytes_left: usize,
        hand: &Hand,
    ) -> Result<Settled, Result<Refusal, Range>> {
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
            if hand.failed {
                return Err(Ok(Refusal::NO_ANSWER));
            }
            return Err(Err(Range {
                room: view.no,
                after: base,
                upto: want,
                limit: (want - base) as u32,
                bytes_max: bytes_max as u32,
            }));
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

    /// Queues what the connection's readers of logs have yet to hear, as far as its queue allows.
    pub(super) fn pump(&mut self, place: u32, ports: &mut impl Ports) {
        while let Some(connection) = self.connections.get(place as usize)
            && connection.reading > 0
            && connection.out.bytes() < self.limits.replay_bytes
        {
            let next = connection.attachments.iter().position(|attachment| {
                attachment.behind.as_ref().is_some_and(|behind| behind.waits == Waits::Nothing)
            });
            let Some(index) = next else { return };
            if !self.read_on(place, index, ports) {
                return;
            }
        }
    }

    /// One step of one reader of a log. False if there is nothing to do before something arrives.
    fn read_on(&mut self, place: u32, index: usize, ports: &mut impl Ports) -> bool {
        let connection = &mut self.connections[place as usize];
        let attachment = &mut connection.attachments[index];
        let (room, serial) = (attachment.room, attachment.serial);
        let behind = attachment.behind.as_mut().expect("only those behind are read for");
        let then = behind.then;
        if let Then::Page(last) | Then::Drop(last, _) = then
            && behind.cursor >= last
        {
            self.finish_reading(place, room, then);
            return true;
        }
        if let Some(page) = behind.page.clone() {
            let stop = match then {
                Then::Live => page.last(),
                Then::Page(last) | Then::Drop(last, _) => last.min(page.last()),
            };
            let space = self.limits.replay_bytes;
            let upto = page.fits(behind.cursor, space).max(behind.cursor + 1).min(stop);
            let range = page.range(behind.cursor, upto);
            let events = (upto - behind.cursor) as u32;
            behind.cursor = upto;
            if upto >= stop {
                behind.page = None;
            }
            self.links.events(&mut connection.out, serial, &page, range, events);
            self.touch(place);
            return true;
        }
        let entry = &mut self.rooms[room as usize];
        let position = entry.position;
        if behind.cursor > position {
            // Whoever hears a room live stands where the room stands, or it would hear the news twice.
            behind.waits = Waits::News;
            entry.ahead.push(place);
            return true;
        }
        if behind.cursor == position {
            self.go_live(place, index);
            return true;
        }
        let (cursor, replay_bytes) = (behind.cursor, self.limits.replay_bytes);
        if then == Then::Live && cursor < entry.doubt && !self.is_member(place, room) {
            // The client asks again and is told what became of it.
            self.lag(place, room);
            return true;
        }
        let shard_room = &self.rooms[room as usize];
        let page = self.hub.read(&shard_room.id, shard_room.no, cursor, position, replay_bytes);
        if page.is_none() {
            return self.ask_for_page(place, index, position, ports);
        }
        self.behind_mut(place, index).page = page;
        true
    }

    /// Whether the connection's user may still hear the room, as far as it is known without asking.
    pub(super) fn is_member(&self, place: u32, room: u32) -> bool {
        let room = &self.rooms[room as usize];
        self.connections[place as usize].who.as_ref().is_some_and(|who| {
            let stored = self.cache.get(&room.id, room.no, &who.user, self.now_ns);
            let role = stored.map(|standing| permission::role(standing, who.grant(&room.id)));
            role.flatten().is_some()
        })
    }

    fn behind_mut(&mut self, place: u32, index: usize) -> &mut Behind {
        let attachment = &mut self.connections[place as usize].attachments[index];
        attachment.behind.as_mut().expect("only those behind are read for")
    }

    fn ask_for_page(
        &mut self,
        place: u32,
        index: usize,
        position: Seq,
        ports: &mut impl Ports,
    ) -> bool {
        let token = self.next_token(place);
        let from = self.address(place);
        let room = self.connections[place as usize].attachments[index].room;
        let after = self.behind_mut(place, index).cursor;
        let range = Range {
            room: self.rooms[room as usize].no,
            after,
            upto: position,
            limit: self.limits.page_max as u32,
            bytes_max: REPLAY_BYTES_MAX as u32,
        };
        self.behind_mut(place, index).waits = Waits::Page(token);
        let question = Question::Pages(vec![range]);
        if ports.look_up(Lookup { shard: self.id, from, token, question }).is_err() {
            self.lag(place, room);
        }
        true
    }

    /// A page that a reader of a log asked for is here, or was not to be had.
    pub(super) fn page_arrived(
        &mut self,
        place: u32,
        index: usize,
        page: Option<Arc<Slab>>,
        ports: &mut impl Ports,
    ) {
        let room = self.connections[place as usize].attachments[index].room;
        let behind = self.behind_mut(place, index);
        behind.waits = Waits::Nothing;
        match page.filter(|page| page.before() == behind.cursor && page.events() > 0) {
            Some(page) => behind.page = Some(page),
            // The client asks again from where it is, and is told then what is the matter.
            None => self.lag(place, room),
        }
        self.pump(place, ports);
    }

    fn go_live(&mut self, place: u32, index: usize) {
        let connection = &mut self.connections[place as usize];
        connection.reading -= 1;
        let attachment = &mut connection.attachments[index];
        let room = &mut self.rooms[attachment.room as usize];
        attachment.behind = None;
        attachment.slot = room.live.len() as u32;
        room.live.push(Listener { place, serial: attachment.serial });
        room.behind -= 1;
    }

    fn finish_reading(&mut self, place: u32, room: u32, then: Then) {
        match then {
            Then::Drop(_, code) => self.drop_room(place, room, code),
            Then::Page(_) | Then::Live => _ = self.detach(place, room),
        }
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

    /// Counts one decision, begun at `since_ns`.
    pub(super) fn count_authorised(&self, since_ns: u64, times: u64, ports: &impl Ports) {
        let took = ports.now_ns().saturating_sub(since_ns);
        self.counters.verb(Verb::Authorise).observe(took, times);
    }
}
