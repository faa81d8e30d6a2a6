//! Chaos: a life in which everything that can happen does, in an order drawn from the seed.

use tertulia_protocol::command::Settings;
use tertulia_protocol::{Role, RoomKind};
use tertulia_rooms::draft::{Author, Wish};

use crate::client::{Asked, Client};
use crate::fate::{Chances, tight};
use crate::outside::{Plant, room_id, user_id};
use crate::random::Random;
use crate::server::SHARDS;
use crate::settle;
use crate::world::{WALL_MS, World};

/// Two and two share a stripe of the hub, so that one pushes the other out when nobody hears them.
const ROOMS: [&str; 4] = ["garden", "ford", "attic", "den"];
const USERS: [&str; 5] = ["ada", "bob", "cy", "dee", "eve"];

/// Steps of one life.
const STEPS: usize = 1500;

/// What came of a life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Life {
    /// Of all that crossed a wall.
    pub(crate) hash: u64,
    /// Events that were held against the log.
    pub(crate) checked_events: u64,
    /// What was wrong first.
    pub(crate) wrong: Option<String>,
    /// What led to it, if it was kept.
    pub(crate) trace: String,
}

/// Lives one life.
pub(crate) fn live(seed: u64, plant: Plant, keep_trace: bool) -> Life {
    let mut random = Random::seeded(seed);
    let chances = Chances::drawn(&mut random);
    let mut limits = tight(&mut random);
    if chances.news_are_whole() {
        // A full inbox loses news, too, and who compares heads may be faster than they are.
        limits.shard_queue = 1 << 20;
        limits.head_check_ms = 1 << 30;
    }
    let mut world = World::new(random.next(), limits, chances, keep_trace);
    world.outside.plant = plant;
    populate(&mut world);
    for _ in 0..STEPS {
        step(&mut world);
        if world.model.wrong.is_some() {
            return end(&world);
        }
    }
    settle::settle(&mut world);
    if world.model.wrong.is_none() {
        settle::leave(&mut world);
    }
    end(&world)
}

fn end(world: &World) -> Life {
    Life {
        hash: world.outside.trace.hash(),
        checked_events: world.model.checked_events,
        wrong: world.model.wrong.clone(),
        trace: world.outside.trace.to_string(),
    }
}

fn populate(world: &mut World) {
    for room in ROOMS {
        make(world, room);
    }
    let users = world.random.of(2..=USERS.len() as u64) as usize;
    for user in &USERS[..users] {
        for _ in 0..world.random.of(1..=2) {
            let number = world.clients.len();
            // Some say more at once than they may.
            let inflight = world.limits.inflight * if world.random.chance(200) { 2 } else { 1 };
            let mut client = Client::new(user, number, inflight);
            for room in ROOMS {
                if world.random.chance(700) {
                    client.place(room).follow.open();
                }
            }
            if world.random.chance(200) {
                client.token_s = world.random.of(2..=100);
            }
            world.clients.push(client);
        }
    }
}

fn step(world: &mut World) {
    let chances = world.outside.chances;
    let client = world.random.below(world.clients.len());
    let shard = world.random.below(SHARDS);
    if world.random.chance(chances.cut) {
        return world.cut(client);
    }
    if world.random.chance(chances.crash) {
        world.recover();
        trim(world);
        return world.crash();
    }
    if world.random.chance(chances.drain) {
        return world.drain();
    }
    if world.random.chance(chances.expel) {
        return world.expel(client);
    }
    if world.random.chance(chances.delete) {
        return make_anew(world);
    }
    if world.random.chance(chances.stall) {
        let pace = [0, 0, 10, 200, usize::MAX];
        world.clients[client].pace = *world.random.pick(&pace);
        return;
    }
    if world.random.chance(chances.manage) {
        return manage(world);
    }
    match world.random.below(100) {
        0..15 => speak(world, client),
        15..35 => {
            let sockets = world.outside.sockets.ids();
            if !sockets.is_empty() {
                let socket = *world.random.pick(&sockets);
                let most = *world.random.pick(&[1, 20, 200, usize::MAX, usize::MAX]);
                world.upload(socket, most);
            }
        }
        35..55 => {
            let pace = world.clients[client].pace;
            let most = *world.random.pick(&[10, 100, usize::MAX, usize::MAX]);
            world.download(client, most.min(pace));
        }
        55..67 => {
            if world.tell() {
                return;
            }
            let most = world.random.of(1..=world.limits.commit_batch as u64) as usize;
            world.commit(most);
        }
        67..77 if !world.outside.lookups.is_empty() => {
            let place = world.random.below(world.outside.lookups.len());
            world.answer(place);
        }
        67..90 => {
            let most = *world.random.pick(&[1, 3, usize::MAX, usize::MAX]);
            world.hand_over(shard, most);
        }
        90..92 => world.hand_over_late(shard),
        92..98 => {
            let ms = *world.random.pick(&[1, 10, 100, 300, 300, 1000, 3000]);
            world.pass(ms);
            world.back();
        }
        98 => match world.random.chance(500) {
            true => world.sweep(),
            false => world.keep(),
        },
        _ => set_clock(world),
    }
}

/// The wall clock is set now and then; nothing but stamps may care.
fn set_clock(world: &mut World) {
    let by_ms = *world.random.pick(&[1000, 1000, 3_600_000, 86_400_000]);
    let right_ms = WALL_MS + world.now_ms();
    world.outside.moment.wall_ms = right_ms + world.random.of(0..=2 * by_ms) - by_ms;
}

/// A client does what people do.
fn speak(world: &mut World, client: usize) {
    let room = *world.random.pick(&ROOMS);
    let target = *world.random.pick(&USERS);
    let chances = world.outside.chances;
    let manage = chances.manage > 0 && world.random.chance(150);
    let device = &mut world.clients[client];
    let in_room = format!(r#","room":"{room}""#);
    if manage {
        let ops = ["kick", "ban", "unban", "role", "join", "join", "leave", "set", "create", "del"];
        let op = *world.random.pick(&ops);
        let role = *world.random.pick(&["owner", "admin", "member", "reader"]);
        let rest = match op {
            "set" => format!(r#"{in_room},"op":"set","name":"{target}'s""#),
            "create" => format!(r#"{in_room},"op":"create","kind":"public""#),
            // Few, or nobody would ever grow old.
            "del" if world.random.chance(700) => return,
            _ => format!(r#"{in_room},"op":"{op}","user":"{target}","role":"{role}""#),
        };
        device.ask("room", &rest, Asked::Other);
    } else {
        match world.random.below(20) {
            0..10 => return send(world, client, room),
            10 => device.open(room),
            11 => device.place(room).follow.close(),
            12 => device.ask("typing", &format!(r#"{in_room},"on":true"#), Asked::Other),
            13 => device.ask("signal", &format!(r#"{in_room},"k":"x.wave","d":1"#), Asked::Other),
            14 => {
                let after = world.random.of(0..=10);
                let asked = Asked::Log { room: room.to_owned(), after };
                device.ask("log", &format!(r#"{in_room},"after":{after}"#), asked);
            }
            15 => device.ask("rooms", "", Asked::Other),
            16 => device.ask("room", &format!(r#"{in_room},"op":"get""#), Asked::Other),
            17 => device.ask("ping", r#","heads":true"#, Asked::Heads),
            18 => renew(world, client),
            _ => {
                // A room that is not there leaves nothing behind.
                let ghost = format!(r#","room":"ghost-{}","op":"get""#, world.random.of(1..=999));
                device.ask("room", &ghost, Asked::Other);
            }
        }
    }
    world.post(client);
}

fn send(world: &mut World, client: usize, room: &str) {
    let random = &mut world.random;
    let chances = world.outside.chances;
    let number = world.clients[client].next_cid();
    // Another device of the same user may say the very same.
    let shared = random.chance(chances.shared);
    let cid = if shared { format!("s{}", random.of(1..=20)) } else { number };
    let pad = if shared { 5 } else { *random.pick(&[0, 10, 100, 250]) };
    // A cid that was used for other words is refused, whoever comes first.
    let tone = if shared && random.chance(100) { "!" } else { "-" };
    let d = format!(r#"{{"x":"{cid}{}"}}"#, tone.repeat(pad));
    let device = &mut world.clients[client];
    if device.place(room).said.contains(&cid) || device.place(room).outbox.holds(&cid) {
        return;
    }
    let position = device.place(room).follow.position();
    let fields = match position.filter(|_| !shared && random.chance(50)) {
        Some(at) if at.seq > 0 => format!(r#""re":{},"epoch":"{}","d":{d}"#, at.seq, at.epoch),
        _ => format!(r#""d":{d}"#),
    };
    world.model.may_say(&device.user, room, &cid, &d);
    device.write(room, cid, fields);
    world.post(client);
}

/// A newer token, which grants something else.
fn renew(world: &mut World, client: usize) {
    let wall_ms = world.outside.moment.wall_ms;
    let device = &mut world.clients[client];
    device.grants.clear();
    for room in ROOMS {
        if world.random.chance(200) {
            device
                .grants
                .push((room.to_owned(), *world.random.pick(&[Role::Reader, Role::Member])));
            world.model.may_be_granted(&device.user, room);
            if world.random.chance(500) {
                device.open(room);
            }
        }
    }
    device.renew(wall_ms);
}

/// The application looks after its rooms.
fn manage(world: &mut World) {
    let random = &mut world.random;
    let room = *random.pick(&ROOMS);
    let user = user_id(USERS[random.below(USERS.len())]);
    let role = *random.pick(&[Role::Reader, Role::Member, Role::Member, Role::Admin]);
    let (back, once_more) = (random.chance(500), random.chance(300));
    let wish = match random.below(10) {
        0..4 => {
            world.wish(room, Author::Application, Wish::Kick(user.clone()));
            // Who is let in again at once may not hear what was said meanwhile on the old attachment.
            if back {
                world.wish(room, Author::Application, Wish::Put(user.clone(), role));
            }
            if !once_more {
                return;
            }
            Wish::Kick(user)
        }
        4 => Wish::Ban(user),
        5 => Wish::Unban(user),
        _ => Wish::Put(user, role),
    };
    world.wish(room, Author::Application, wish);
}

/// A room goes, and soon there is another one of its name.
fn make_anew(world: &mut World) {
    let room = *world.random.pick(&ROOMS);
    if world.random.chance(500) {
        world.wish(room, Author::Application, Wish::Delete);
    }
    if world.random.chance(700) {
        make(world, room);
    }
}

fn make(world: &mut World, room: &str) {
    let kinds = [RoomKind::Group, RoomKind::Group, RoomKind::Public, RoomKind::Broadcast];
    let kind = *world.random.pick(&kinds);
    let settings = Settings { kind: Some(kind), name: None, d: None };
    world.wish(room, Author::Application, Wish::Create(settings));
    for user in USERS {
        let role = *world.random.pick(&[Role::Member, Role::Member, Role::Admin, Role::Owner]);
        if world.random.chance(800) {
            world.wish(room, Author::Application, Wish::Put(user_id(user), role));
        }
    }
}

/// The oldest events of a room go, as a retention would take them between two lives of the server.
fn trim(world: &mut World) {
    let room = *world.random.pick(&ROOMS);
    if let Some((_, head)) = world.model.head(room).filter(|_| world.random.chance(500)) {
        let kept_from = world.model.kept_from(room).max(1);
        let first = world.random.of(kept_from..=head + 1);
        world.outside.memory.trim(&room_id(room), first);
    }
}
