//! Settling: the faults stop, everyone comes back, and everything has to come right. (I3, I9, I13, I14, I17)

use std::collections::BTreeMap;

use tertulia_protocol::command::Settings;
use tertulia_rooms::draft::{Author, Wish};
use tertulia_store::Standing;

use crate::client::Client;
use crate::fate::Chances;
use crate::model::Model;
use crate::outside::{room_id, user_id};
use crate::server::SHARDS;
use crate::stream::Ear;
use crate::world::World;

/// Virtual time of a round.
const ROUND_MS: u64 = 50;

/// Rounds within which everything has come right: a ping timeout for those who are gone without a word,
/// two comparisons of heads, some pauses after `lag`, and a page a round.
const ROUNDS_MAX: u64 = 2400;

/// Lets everything come right and looks whether it has.
pub(crate) fn settle(world: &mut World) {
    world.outside.chances = Chances::NONE;
    world.space = 1 << 16..=1 << 16;
    if world.draining {
        world.crash();
    }
    for client in &mut world.clients {
        client.pace = usize::MAX;
        client.grants.clear();
        client.token_s = 86_400;
    }
    for round in 0..ROUNDS_MAX {
        world.round(ROUND_MS);
        world.back();
        if world.model.wrong.is_some() {
            return;
        }
        // More than once: someone may only now have heard that they were removed, and be back since.
        if round % 100 == 20 {
            reopen(world);
        }
        if round > 20 && round % 8 == 0 && unsettled(world).is_none() {
            return check(world);
        }
    }
    let why = unsettled(world);
    world.model.fault(|| format!("never came right: {why:?}"));
}

/// What was refused for good may be open to its user by now.
fn reopen(world: &mut World) {
    for client in 0..world.clients.len() {
        let user = user_id(&world.clients[client].user);
        let rooms: Vec<String> = world.clients[client].rooms.keys().cloned().collect();
        for room in rooms {
            if matches!(world.standing(&room, &user), Standing::Member(_)) {
                world.clients[client].open(&room);
            }
        }
        world.post(client);
    }
}

/// What is not as it should be yet.
fn unsettled(world: &mut World) -> Option<String> {
    for client in 0..world.clients.len() {
        let user = user_id(&world.clients[client].user);
        if !world.clients[client].is_quiet() {
            let asked = world.clients[client].line.as_ref().map(|line| line.asked.clone());
            return Some(format!("client {client} ({user}) waits: {asked:?}"));
        }
        // Through the narrowest sockets the word that it is over comes rounds after the last event.
        let line = world.clients[client].line.as_ref();
        let socket = line.and_then(|line| world.outside.sockets.get(line.socket));
        if socket.is_some_and(|socket| socket.full || !socket.down.is_empty()) {
            return Some(format!("client {client} ({user}) has yet to read"));
        }
        let rooms: Vec<String> = world.clients[client].rooms.keys().cloned().collect();
        for room in rooms {
            let head = world.model.head(&room);
            let is_member = matches!(world.standing(&room, &user), Standing::Member(_));
            let follow = &world.clients[client].rooms[&room].follow;
            let at = follow.position().map(|position| (position.epoch, position.seq));
            let level = follow.is_attached() && at == head;
            if !level && (is_member || follow.is_open()) {
                return Some(format!("client {client} ({user}) is at {at:?} in {room}: {head:?}"));
            }
        }
    }
    None
}

fn check(world: &mut World) {
    world.model.check_acks();
    for client in &world.clients {
        let streams = client.line.iter().flat_map(|line| &line.streams);
        for (room, stream) in streams {
            let ear = Ear {
                user: &client.user,
                room,
                news_are_whole: world.fate.news_are_whole(),
                granted: false,
                lost: false,
            };
            stream.check_end(ear, &mut world.model);
        }
        // A cid that two devices share is committed by either, which sets free what stands behind it.
        if world.fate.shared == 0 {
            check_order(client, &mut world.model);
        }
    }
}

/// What a device said in a room stands there in the order in which it was said.
fn check_order(client: &Client, model: &mut Model) {
    for (room, place) in &client.rooms {
        let mut last = BTreeMap::new();
        for number in 1..=client.cids {
            let cid = client.cid(number);
            if place.outbox.gave_up(&cid) {
                continue;
            }
            for (epoch, seq) in model.places(&client.user, room, &cid) {
                let before: Option<(u64, _)> = last.insert(epoch, (seq, number));
                if let Some(before) = before.filter(|(before, _)| *before > seq) {
                    model.fault(|| format!("{room}: {cid} is {seq}, behind {before:?}"));
                }
            }
        }
    }
}

/// Everyone goes, and nothing of them stays.
pub(crate) fn leave(world: &mut World) {
    for client in 0..world.clients.len() {
        world.cut(client);
    }
    for _ in 0..8 {
        world.round(1000);
    }
    for shard in 0..SHARDS {
        let counters = world.server.counters[shard].clone();
        let left = [
            ("connections", world.server.shards[shard].len() as u64),
            ("counted connections", counters.connections.get()),
            ("rooms", counters.rooms.get()),
            ("listeners", counters.listeners.get()),
            ("outbound bytes", counters.outbound_bytes.get()),
        ];
        for (what, count) in left {
            if count > 0 {
                world.model.fault(|| format!("shard {shard} keeps {count} {what}"));
            }
        }
    }
    world.server.people.sweep(u64::MAX);
    if !world.server.people.is_empty() {
        world.model.fault(|| "someone is still known".to_owned());
    }
    let (rooms, tail_bytes) = world.server.hub.size();
    let (known, gauge) = (world.model.now.len(), world.server.hub.gauge());
    let slab_bytes = gauge.bytes() - gauge.deflated_bytes();
    if rooms > known {
        world.model.fault(|| format!("the hub keeps {rooms} rooms, there are {known}"));
    }
    if slab_bytes != tail_bytes {
        world.model.fault(|| format!("slabs: {slab_bytes} bytes, tails: {tail_bytes} bytes"));
    }
    whisper(world);
}

/// Something happens in every room, and no shard is told: no one listens.
fn whisper(world: &mut World) {
    let rooms: Vec<String> = world.model.now.keys().cloned().collect();
    for room in rooms {
        let settings = Settings { kind: None, name: Some("empty".into()), d: None };
        world.wish(&room, Author::Application, Wish::Set(settings));
    }
    world.commit(usize::MAX);
    for shard in 0..SHARDS {
        if !world.server.hub.inboxes()[shard].queue.is_empty() {
            world.model.fault(|| format!("shard {shard} still listens"));
        }
    }
}

impl World {
    /// Everything that is under way arrives.
    pub(crate) fn round(&mut self, ms: u64) {
        self.pass(ms);
        for socket in self.outside.sockets.ids() {
            self.upload(socket, usize::MAX);
        }
        self.commit(usize::MAX);
        while !self.outside.lookups.is_empty() {
            self.answer(0);
        }
        for shard in 0..SHARDS {
            // What is always overtaken waits for whoever planned that.
            if self.outside.chances.news_late < 1000 {
                self.hand_over_late(shard);
            }
            self.hand_over(shard, usize::MAX);
        }
        for client in 0..self.clients.len() {
            let pace = self.clients[client].pace;
            self.download(client, pace);
        }
    }

    /// Whoever has no connection opens one, when its time has come.
    pub(crate) fn back(&mut self) {
        for client in 0..self.clients.len() {
            let device = &self.clients[client];
            if device.line.is_none() && !self.draining && device.back_ms <= self.now_ms() {
                self.connect(client);
            }
            self.post(client);
        }
    }

    fn standing(&mut self, room: &str, user: &tertulia_protocol::UserId) -> Standing {
        let room = self.reader.room(&room_id(room)).expect("no fault is planted now");
        let standing = room.map(|room| self.reader.standing(room.no, user));
        standing.map_or(Standing::Stranger, |found| found.expect("no fault is planted now"))
    }
}
