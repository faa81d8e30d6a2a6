//! Authorising on the read path: who may hear or read a room, from memory or by asking. (3 authorise)
//!
//! Never: waits; what is not at hand becomes a question.

use tertulia_protocol::{Role, RoomId};

use super::hand::Hand;
use super::{Ports, Shard};
use crate::counters::Verb;
use crate::hub::View;
use crate::lookup::Question;
use crate::membership::Version;
use crate::permission::{self, Action, Actor};
use crate::refusal::Refusal;

/// What someone who may has before them.
pub(super) struct Allowed {
    pub(super) view: View,
    pub(super) role: Role,
    /// Of the memberships that this rests on.
    pub(super) version: Version,
}

impl Shard {
    /// Whether the connection's user may do `action` in the room, from memory or from what is in hand.
    /// `None`: it has to be looked up first.
    pub(super) fn authorise(
        &mut self,
        place: u32,
        id: &RoomId,
        action: Action,
        hand: &Hand,
    ) -> Option<Result<Allowed, Refusal>> {
        let connection = &self.connections[place as usize];
        let Some(who) = &connection.who else { return Some(Err(Refusal::NotFound)) };
        let grant = who.grant(id);
        // In this order: the committer changes memberships first and the room's view after, so whoever
        // sees a room behind a kick sees the kick.
        let view = self.hub.view(id);
        let version = self.cache.version(id);
        let at_hand = view.and_then(|view| self.cache.get(view.no, &who.user, self.now_ns));
        let in_hand = hand.known(id).filter(|known| known.version == version);
        if in_hand.is_some_and(|known| known.room.is_none()) && at_hand.is_none() {
            return Some(Err(Refusal::NotFound));
        }
        let view = view?;
        let standing = match (at_hand, in_hand) {
            (Some(standing), _) => standing,
            (None, Some(known)) => {
                known.room.as_ref().filter(|room| room.no == view.no)?;
                known.standing
            }
            (None, None) => return None,
        };
        if in_hand.is_none() {
            self.counters.membership_hits.add(1);
        }
        let actor = Actor::User { standing, grant };
        if let Err(refusal) = permission::check(actor, view.kind, action) {
            // A room that is not there costs a lookup, so one that may not be seen does, too.
            let is_asked = refusal != Refusal::NotFound || in_hand.is_some();
            return is_asked.then_some(Err(refusal));
        }
        let role = permission::role(standing, grant).unwrap_or(Role::Reader);
        Some(Ok(Allowed { view, role, version }))
    }

    /// As `authorise`, but knows how to ask. Errors: the question.
    pub(super) fn allowed(
        &mut self,
        place: u32,
        room: &RoomId,
        action: Action,
        hand: &mut Hand,
    ) -> Result<Result<Allowed, Refusal>, Question> {
        match self.authorise(place, room, action, hand) {
            Some(allowed) => Ok(allowed),
            None if hand.may_ask() => Err(self.standings(place, vec![room.clone()])),
            None => Ok(Err(Refusal::NO_ANSWER)),
        }
    }

    /// The question who the connection's user is in `rooms`.
    pub(super) fn standings(&mut self, place: u32, rooms: Vec<RoomId>) -> Question {
        self.counters.membership_misses.add(rooms.len() as u64);
        let who = self.connections[place as usize].who.as_ref();
        let user = who.expect("only someone who said hello asks").user.clone();
        Question::Standings { user, rooms }
    }

    /// Whether the connection's user may still hear the room, as far as it is known without asking.
    pub(super) fn is_member(&self, place: u32, room: u32) -> bool {
        let room = &self.rooms[room as usize];
        self.connections[place as usize].who.as_ref().is_some_and(|who| {
            let stored = self.cache.get(room.no, &who.user, self.now_ns);
            let role = stored.map(|standing| permission::role(standing, who.grant(&room.id)));
            role.flatten().is_some()
        })
    }

    /// Counts one decision, begun at `since_ns`.
    pub(super) fn count_authorised(&self, since_ns: u64, times: u64, ports: &impl Ports) {
        let took = ports.now_ns().saturating_sub(since_ns);
        self.counters.verb(Verb::Authorise).observe(took, times);
    }
}
