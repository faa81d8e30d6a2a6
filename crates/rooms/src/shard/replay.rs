//! Replay: reading a room's log on until a connection stands where the room stands. (7 deliver)

use std::sync::Arc;

use tertulia_protocol::Seq;
use tertulia_protocol::limits::REPLAY_BYTES_MAX;
use tertulia_store::Range;

use super::connection::{Behind, Then, Waits};
use super::{Listener, Ports, Shard};
use crate::lookup::{Lookup, Question};
use crate::slab::Slab;

impl Shard {
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
            self.queue_events(place, serial, &page, range, events);
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
        let is_page = matches!(then, Then::Page(_));
        if !is_page && cursor < entry.doubt && !self.is_member(place, room) {
            // Also before a removal that is known: an earlier one may be among the news that were missed. The
            // client asks again and is told what became of it.
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
}
