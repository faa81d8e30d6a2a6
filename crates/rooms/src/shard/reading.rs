//! Commands that read: the log, my rooms, one room.

use tertulia_protocol::RoomId;
use tertulia_protocol::command::{CommandId, Log};
use tertulia_protocol::limits::REPLAY_BYTES_MAX;
use tertulia_protocol::reply::{self, LogOk, RoomShown};

use super::hand::Hand;
use super::session::Flow;
use super::{Ports, Shard};
use crate::lookup::{Question, shown};
use crate::page::{Page, Wanted};
use crate::permission::{self, Action};
use crate::refusal::Refusal;

impl Shard {
    pub(super) fn log(
        &mut self,
        place: u32,
        id: CommandId,
        log: &Log,
        hand: &mut Hand,
        since_ns: u64,
        ports: &mut impl Ports,
    ) -> Flow {
        if !self.is_half_empty(place) {
            return Flow::Drain;
        }
        let allowed = match self.allowed(place, &log.room, Action::Read, hand) {
            Ok(allowed) => allowed,
            Err(question) => return Flow::Ask(question),
        };
        let checked = allowed.map(|allowed| allowed.view).and_then(|view| {
            if log.epoch.is_some_and(|epoch| epoch != view.epoch) {
                return Err(Refusal::Reset);
            }
            let (after, upto, limit) = (Some(log.after), log.upto, log.limit);
            Ok((view, Page::of(Wanted { after, upto, limit }, view.head, &self.limits)?))
        });
        let (view, wanted) = match checked {
            Ok(checked) => checked,
            Err(refusal) => {
                self.count_authorised(since_ns, 1, ports);
                self.refuse(place, Some(id), &refusal);
                return Flow::Done;
            }
        };
        let page = if wanted.is_empty() {
            None
        } else {
            let tail = self.hub.read(&log.room, view.no, log.after, wanted.upto, REPLAY_BYTES_MAX);
            let page = tail.or_else(|| hand.page(view.no, log.after).cloned());
            if page.is_none() && !hand.failed {
                return Flow::Ask(Question::Pages(vec![wanted.range(view.no)]));
            }
            if page.is_none() {
                self.refuse(place, Some(id), &Refusal::NO_ANSWER);
                return Flow::Done;
            }
            page
        };
        self.count_authorised(since_ns, 1, ports);
        let (events, more) = wanted.cut(page.as_deref());
        let (epoch, head, first) = (view.epoch, view.head.seq, view.head.first);
        self.reply(place, |out| {
            LogOk { epoch, events: &events, head, first, more }.put(out, id);
        });
        Flow::Done
    }

    pub(super) fn list_rooms(
        &mut self,
        place: u32,
        id: CommandId,
        after: Option<&RoomId>,
        limit: Option<u64>,
        hand: &mut Hand,
    ) -> Flow {
        const LIMIT_MAX: u64 = 200;
        if !self.is_half_empty(place) {
            return Flow::Drain;
        }
        let who = self.connections[place as usize].who.as_ref();
        let who = who.expect("only someone who said hello gets here");
        match hand.rooms.take() {
            Some((rooms, more)) => {
                let shown: Vec<RoomShown> =
                    rooms.into_iter().map(|(room, role)| shown(&room, Some(role))).collect();
                self.reply(place, |out| reply::put_rooms_ok(out, id, &shown, more));
            }
            None if hand.failed => {
                self.refuse(place, Some(id), &Refusal::NO_ANSWER);
            }
            None => {
                return Flow::Ask(Question::RoomsOf {
                    user: who.user.clone(),
                    grants: who.grants.to_vec(),
                    after: after.cloned(),
                    limit: limit.unwrap_or(LIMIT_MAX).clamp(1, LIMIT_MAX) as u32,
                });
            }
        }
        Flow::Done
    }

    pub(super) fn get_room(
        &mut self,
        place: u32,
        id: CommandId,
        room: &RoomId,
        hand: &mut Hand,
    ) -> Flow {
        // What a room says of itself is not kept at hand, so this always asks.
        let Some(known) = hand.known(room) else {
            if hand.failed {
                self.refuse(place, Some(id), &Refusal::NO_ANSWER);
                return Flow::Done;
            }
            return Flow::Ask(self.standings(place, vec![room.clone()]));
        };
        let grant = self.connections[place as usize].grant(room);
        let actor = permission::Actor::User { standing: known.standing, grant };
        let found = known
            .room
            .as_ref()
            .ok_or(Refusal::NotFound)
            .and_then(|room| permission::check(actor, room.kind, Action::See).map(|()| room));
        match found {
            Ok(room) => {
                let shown = shown(room, permission::role(known.standing, grant));
                let (d, members) = (room.d.clone(), room.members);
                self.reply(place, |out| {
                    reply::put_room_ok(out, id, &shown, d.as_deref(), members);
                });
            }
            Err(refusal) => self.refuse(place, Some(id), &refusal),
        }
        Flow::Done
    }
}
