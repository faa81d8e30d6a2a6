//! Town: a small world without accidents, for stories that bring their own.

use tertulia_protocol::command::Settings;
use tertulia_protocol::{Role, RoomKind};
use tertulia_rooms::draft::{Address, Author, Wish};
use tertulia_rooms::limits::Limits;

use crate::client::Client;
use crate::fate::Chances;
use crate::limits::roomy;
use crate::outside::user_id;
use crate::socket::SocketId;
use crate::world::World;

/// Rounds after which nothing is under way any more: a hello that has to ask twice, and its replay.
const ROUNDS: usize = 12;

/// Someone's device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Device(pub(crate) usize);

/// A small world.
pub(crate) struct Town {
    pub(crate) world: World,
}

impl Town {
    pub(crate) fn seeded(seed: u64) -> Town {
        Town::with_limits(seed, roomy())
    }

    pub(crate) fn with_limits(seed: u64, limits: Limits) -> Town {
        let mut world = World::new(seed, limits, Chances::NONE, true);
        world.space = 1 << 20..=1 << 20;
        Town { world }
    }

    /// Makes a room with these members, each with one device that hears it.
    pub(crate) fn members<const N: usize>(&mut self, names: [&str; N], room: &str) -> [Device; N] {
        let settings = Settings { kind: Some(RoomKind::Group), name: None, d: None };
        self.world.wish(room, Author::Application, Wish::Create(settings));
        for name in names {
            self.adds(name, room);
        }
        names.map(|name| self.device(name, room))
    }

    /// A device of that user that hears the room.
    pub(crate) fn device(&mut self, user: &str, room: &str) -> Device {
        let number = self.world.clients.len();
        let mut client = Client::new(user, number, self.world.limits.inflight);
        client.place(room).follow.open();
        self.world.clients.push(client);
        self.resumes(Device(number));
        Device(number)
    }

    /// Everything that is under way arrives, also what waits for a moment: a millisecond a round.
    pub(crate) fn quiet(&mut self) {
        self.passes(ROUNDS as u64);
    }

    /// Time passes, in steps that let everyone do what is due.
    pub(crate) fn passes(&mut self, ms: u64) {
        for _ in 0..ROUNDS {
            self.world.round(ms / ROUNDS as u64);
            for client in 0..self.world.clients.len() {
                self.world.post(client);
            }
        }
        assert_eq!(self.world.model.wrong, None);
    }

    /// The socket of the device's connection.
    pub(crate) fn socket(&self, device: Device) -> SocketId {
        self.world.clients[device.0].line.as_ref().expect("it is connected").socket
    }

    /// The shard of the device's connection.
    pub(crate) fn shard(&self, device: Device) -> usize {
        self.world.outside.sockets.find(self.socket(device)).expect("it is open").shard
    }

    /// How that shard calls the connection.
    pub(crate) fn address(&self, device: Device) -> Address {
        self.world.outside.sockets.find(self.socket(device)).expect("it is open").address
    }

    /// Whether the device's connection agreed on compressed messages.
    pub(crate) fn deflates(&self, device: Device) -> bool {
        let line = self.world.clients[device.0].line.as_ref().expect("it is connected");
        line.inflater.is_some()
    }

    pub(crate) fn cut(&mut self, device: Device) {
        self.world.cut(device.0);
        self.quiet();
    }

    /// A new connection takes over where the last one ended.
    pub(crate) fn resumes(&mut self, device: Device) {
        self.world.connect(device.0);
        self.quiet();
    }

    /// The device reads nothing more.
    pub(crate) fn stalls(&mut self, device: Device) {
        self.world.clients[device.0].pace = 0;
    }

    /// The device reads again.
    pub(crate) fn reads(&mut self, device: Device) {
        self.world.clients[device.0].pace = usize::MAX;
        self.quiet();
    }

    pub(crate) fn sends<const N: usize>(&mut self, device: Device, room: &str, texts: [&str; N]) {
        for text in texts {
            let cid = self.world.clients[device.0].next_cid();
            self.says(device, room, &cid, text);
        }
        self.quiet();
    }

    /// Puts one thing to say into the outbox.
    pub(crate) fn says(&mut self, device: Device, room: &str, cid: &str, text: &str) {
        let d = format!("\"{text}\"");
        let client = &mut self.world.clients[device.0];
        self.world.model.may_say(&client.user, room, cid, &d);
        client.write(room, cid.to_owned(), format!(r#""d":{d}"#));
        self.world.post(device.0);
    }

    /// What was handed over on a device, in order.
    pub(crate) fn hears(&self, device: Device, room: &str) -> Vec<String> {
        let place = self.world.clients[device.0].rooms.get(room);
        let heard = place.map(|place| &place.heard).into_iter().flatten();
        heard.map(|d| d.trim_matches('"').to_owned()).collect()
    }

    /// Whether the device still wants the room, for all that it was told.
    pub(crate) fn follows(&self, device: Device, room: &str) -> bool {
        self.world.clients[device.0].rooms[room].follow.is_open()
    }

    /// The application makes someone a member.
    pub(crate) fn adds(&mut self, user: &str, room: &str) {
        let wish = Wish::Put(user_id(user), Role::Member);
        self.world.wish(room, Author::Application, wish);
        self.quiet();
    }

    pub(crate) fn kicks(&mut self, user: &str, room: &str) {
        self.world.wish(room, Author::Application, Wish::Kick(user_id(user)));
        self.quiet();
    }

    pub(crate) fn deletes(&mut self, room: &str) {
        self.world.wish(room, Author::Application, Wish::Delete);
        self.quiet();
    }

    /// The device's next token grants a role in `room`, or nothing at all.
    pub(crate) fn granted(&mut self, device: Device, room: Option<&str>) {
        let client = &mut self.world.clients[device.0];
        let grants = room.into_iter().map(|room| (room.to_owned(), Role::Reader));
        client.grants = grants.collect();
        if let Some(room) = room {
            self.world.model.may_be_granted(&client.user, room);
        }
    }

    /// The device shows a newer token.
    pub(crate) fn renews(&mut self, device: Device) {
        let wall_ms = self.world.outside.moment.wall_ms;
        let client = &mut self.world.clients[device.0];
        client.renew(wall_ms);
        self.world.post(device.0);
        self.quiet();
    }

    /// From now on this goes wrong so often.
    pub(crate) fn goes_wrong(&mut self, chances: Chances) {
        self.world.outside.chances = chances;
        self.world.fate = Chances {
            news_lost: self.world.fate.news_lost.max(chances.news_lost),
            news_late: self.world.fate.news_late.max(chances.news_late),
            told_late: self.world.fate.told_late.max(chances.told_late),
            ..self.world.fate
        };
        self.quiet();
    }
}
