//! Delivering: news of a room to everyone here who hears it live. (7 deliver)
//!
//! Everyone who hears a room live stands at the same number, so the room keeps one position for all of
//! them and each gets the same range of the same slab: no copy, no allocation, no look at the bytes.

use std::ops::Range;
use std::sync::Arc;

use tertulia_protocol::{Code, Seq};

use super::connection::{Behind, Then, Waits};
use super::cork::Corked;
use super::inbox::Signal;
use super::outbound::Load;
use super::{Listener, Ports, Shard};
use crate::counters::Verb;
use crate::hub::{News, Removal};
use crate::planted::{Fault, planted};
use crate::slab::Slab;

impl Shard {
    /// Something was committed in a room that someone here may hear.
    pub(super) fn news(&mut self, news: &News, ports: &mut impl Ports) {
        let Some(room) = self.rooms_by_no.get(&news.view.no).copied() else { return };
        if news.gone {
            return self.drop_everyone(room, Code::NotFound);
        }
        if self.rooms[room as usize].epoch != news.view.epoch {
            return self.drop_everyone(room, Code::Reset);
        }
        for slab in &news.slabs {
            // The last listener may have lagged on the slab before, and the room gone with it.
            if self.rooms_by_no.get(&news.view.no) != Some(&room) {
                return;
            }
            self.fan_out(room, slab, news, ports);
        }
        self.catch_up(room, news.view.head.seq, ports);
    }

    fn fan_out(&mut self, room: u32, slab: &Arc<Slab>, news: &News, ports: &mut impl Ports) {
        let position = self.rooms[room as usize].position;
        if slab.last() <= position {
            return;
        }
        if slab.before() > position {
            // Some news were missed; what lies between is read first.
            self.catch_up(room, slab.before(), ports);
            if self.rooms.get(room as usize).is_none_or(|room| room.position != slab.before()) {
                return;
            }
        }
        let position = position.max(slab.before());
        let mut queued = 0;
        for removal in news.removals.iter().filter(|removal| removal.at <= slab.last()) {
            queued += self.remove_user(room, removal, slab, position);
        }
        let Some(entry) = self.rooms.get_mut(room as usize) else {
            return self.count_delivered(queued, news.committed_ns, ports);
        };
        entry.position = slab.last();
        let range = slab.range(position, slab.last());
        let events = (slab.last() - position) as u32;
        let listeners = entry.live.len();
        // It saves each of them a write, and writes are most of what a message costs.
        let cork = (listeners >= self.limits.cork_listeners)
            .then(|| self.cork.open(listeners, range.len(), &mut entry.told, self.now_ns));
        // Backwards: a listener that lags leaves the list, and the last one takes its slot.
        for slot in (0..listeners).rev() {
            let listener = self.rooms[room as usize].live[slot];
            queued += u64::from(self.deliver(listener, slab, range.clone(), events, cork, ports));
            if self.rooms.get(room as usize).is_none() {
                break;
            }
        }
        self.count_delivered(queued, news.committed_ns, ports);
        self.join_those_ahead(room, ports);
    }

    fn count_delivered(&self, events: u64, committed_ns: u64, ports: &impl Ports) {
        let took = ports.now_ns().saturating_sub(committed_ns);
        self.counters.verb(Verb::Deliver).observe(took, events);
    }

    /// The room has moved on: whoever had read past it may be level with it now.
    fn join_those_ahead(&mut self, room: u32, ports: &mut impl Ports) {
        let Some(entry) = self.rooms.get_mut(room as usize) else { return };
        for place in std::mem::take(&mut entry.ahead) {
            let Some(connection) = self.connections.get_mut(place as usize) else { continue };
            let Some(attachment) = connection.attachment(room) else { continue };
            if let Some(behind) = &mut attachment.behind
                && behind.waits == Waits::News
            {
                behind.waits = Waits::Nothing;
                self.pump(place, ports);
            }
        }
    }

    /// Queues a range of a slab for one live listener, or detaches what does not fit. Says how many events
    /// were queued.
    fn deliver(
        &mut self,
        Listener { place, serial }: Listener,
        slab: &Arc<Slab>,
        range: Range<u32>,
        events: u32,
        cork: Option<Corked>,
        ports: &mut impl Ports,
    ) -> u32 {
        if self.is_over(place, range.len(), events) {
            self.make_space(place, range.len(), events, ports);
            // It may have been this room that had to go.
            let attachments = &self.connections[place as usize].attachments;
            if attachments.iter().all(|attachment| attachment.serial != serial) {
                return 0;
            }
        }
        let connection = &mut self.connections[place as usize];
        if planted(Fault::DoubleDelivery) {
            self.links.events(&mut connection.out, serial, slab, range.clone(), events);
        }
        if planted(Fault::SwapTwo) && events >= 2 {
            let last = slab.last();
            let (one, other) = (slab.range(last - 2, last - 1), slab.range(last - 1, last));
            if events > 2 {
                let before = range.start..one.start;
                self.links.events(&mut connection.out, serial, slab, before, events - 2);
            }
            self.links.events(&mut connection.out, serial, slab, other, 1);
            self.links.events(&mut connection.out, serial, slab, one, 1);
        } else {
            self.queue_events(place, serial, slab, range, events);
        }
        match cork {
            Some(which) => self.cork(place, which),
            None => self.touch(place),
        }
        events
    }

    fn is_over(&self, place: u32, bytes: usize, objects: u32) -> bool {
        let out = &self.connections[place as usize].out;
        !out.is_empty()
            && (out.bytes() + bytes > self.limits.outbound_bytes
                || out.objects() + objects as usize > self.limits.outbound_objects)
    }

    /// Makes space in a full queue: what the socket takes first, then signals go, then the fullest room.
    fn make_space(&mut self, place: u32, bytes: usize, objects: u32, ports: &mut impl Ports) {
        self.flush_links(place, ports);
        if self.is_over(place, bytes, objects) {
            self.links.drop_load(&mut self.connections[place as usize].out, Load::Signal);
        }
        while self.is_over(place, bytes, objects) {
            let connection = &self.connections[place as usize];
            let attached = |serial| connection.attachments.iter().find(|a| a.serial == serial);
            let fullest = self.links.fullest(&connection.out, |serial| attached(serial).is_some());
            let Some(room) = fullest.and_then(attached).map(|attachment| attachment.room) else {
                return;
            };
            self.lag(place, room);
        }
    }

    /// Brings a room's listeners up to `head` where the news did not: from the tail, or each by reading.
    pub(super) fn catch_up(&mut self, room: u32, head: Seq, ports: &mut impl Ports) {
        let Some(entry) = self.rooms.get_mut(room as usize) else { return };
        let position = entry.position;
        if position >= head {
            return;
        }
        entry.position = head;
        entry.doubt = head;
        // Rare, so there is one way for all: everyone reads on from where they are.
        let live = std::mem::take(&mut entry.live);
        entry.behind += live.len() as u32;
        for listener in &live {
            let connection = &mut self.connections[listener.place as usize];
            connection.reading += 1;
            if let Some(attachment) = connection.attachment(room) {
                attachment.behind =
                    Some(Box::new(Behind::new(position, None, Then::Live, position)));
            }
        }
        for listener in live {
            self.pump(listener.place, ports);
        }
        self.join_those_ahead(room, ports);
    }

    /// The user's connections hear the room up to the event that removed them, and then no more. Says how
    /// many events were queued.
    fn remove_user(
        &mut self,
        room: u32,
        removal: &Removal,
        slab: &Arc<Slab>,
        position: Seq,
    ) -> u64 {
        let Some(places) = self.users.get(&removal.user).cloned() else { return 0 };
        let mut queued = 0;
        for place in places {
            let connection = &mut self.connections[place as usize];
            let Some(attachment) = connection.attachment(room) else { continue };
            match &mut attachment.behind {
                Some(behind) => behind.end_at(removal.at, removal.code),
                None => {
                    let upto = removal.at.max(position);
                    let range = slab.range(position, upto);
                    let (serial, events) = (attachment.serial, (upto - position) as u32);
                    if events > 0 {
                        self.links.events(&mut connection.out, serial, slab, range, events);
                        self.touch(place);
                        queued += u64::from(events);
                    }
                    self.drop_room(place, room, removal.code);
                }
            }
        }
        queued
    }

    fn drop_everyone(&mut self, room: u32, code: Code) {
        let heard_by: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.attachments.iter().any(|a| a.room == room))
            .map(|(place, _)| place as u32)
            .collect();
        for place in heard_by {
            self.drop_room(place, room, code);
        }
    }

    /// Compares the room's position with its log, for news that were lost.
    pub(super) fn compare_heads(&mut self, ports: &mut impl Ports) {
        let rooms: Vec<u32> = self.rooms.iter().map(|(room, _)| room as u32).collect();
        for room in rooms {
            let Some(entry) = self.rooms.get(room as usize) else { continue };
            match self.hub.view(&entry.id) {
                Some(view) if view.no == entry.no && view.epoch == entry.epoch => {
                    self.catch_up(room, view.head.seq, ports);
                }
                Some(view) if view.no == entry.no => self.drop_everyone(room, Code::Reset),
                _ => self.drop_everyone(room, Code::NotFound),
            }
        }
    }

    /// A signal for everyone here who hears the room and wants its kind.
    pub(super) fn signal(&mut self, signal: &Signal) {
        let Some(room) = self.rooms_by_no.get(&signal.room) else { return };
        for Listener { place, .. } in &self.rooms[*room as usize].live {
            let connection = &mut self.connections[*place as usize];
            let wanted = signal.of_application || connection.wants_typing;
            let fits = connection.out.bytes() + signal.frame.len() <= self.limits.outbound_bytes
                && connection.out.objects() < self.limits.outbound_objects;
            if wanted && fits {
                self.links.signal(&mut connection.out, &signal.frame);
                if !std::mem::replace(&mut connection.dirty, true) {
                    self.dirty.push_back(*place);
                }
            } else if wanted {
                self.counters.signals_dropped.add(1);
            }
        }
    }
}
