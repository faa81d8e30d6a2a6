//! Attacks: what a hostile or broken client may send, row by row, and what has to come of it.
//!
//! Whatever the row: the server's process stays, a bystander's room notices nothing, memory and descriptors
//! come back, and nothing is stored but what the row itself says. The trial looks after that; a row only
//! sends its bytes and looks at the answers.

pub mod bystander;
pub mod calls;
pub mod commands;
pub mod content;
pub mod excess;
pub mod fragments;
pub mod frames;
pub mod handshake;
pub mod mobs;
pub mod outside;
pub mod pings;
pub mod rights;
pub mod token_life;
pub mod tokens;
pub mod unreadable;
pub mod unsafe_settings;
pub mod wire;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde_json::json;

use crate::client::Client;
use crate::server::{Place, Server};
use crate::stage::Stage;

/// One row.
pub struct Attack {
    /// Its number in `docs/reliability.md`, like `A01`.
    pub id: &'static str,
    /// What it sends, in a few words.
    pub title: &'static str,
    /// What the server is set to. Rows of one ground share a server.
    pub ground: &'static Ground,
    /// Sends it, and looks at what comes of it.
    pub run: fn(&Field),
}

/// How a server is set up for some rows.
pub struct Ground {
    /// What it is, in a word.
    pub name: &'static str,
    /// Sets the place up: settings, keys beside the data.
    pub set: fn(Place) -> Place,
}

/// As it comes.
pub static PLAIN: Ground = Ground { name: "plain", set: |place| place };

/// Where a row acts: a server, and a room of its own with mallory, who attacks, and alice, who does not.
pub struct Field<'a> {
    /// The server.
    pub server: &'a Server,
    /// How much may be done, and chance.
    pub stage: &'a Stage,
    /// The room of this row.
    pub room: String,
    /// A member who attacks.
    pub mallory: String,
    /// A member who does not.
    pub alice: String,
    stored: Cell<u64>,
    wrongs: RefCell<Vec<String>>,
}

/// Time for a head, and for a hello.
fn deadline(stage: &Stage) -> Duration {
    stage.scale(Duration::from_secs(3), Duration::from_secs(10), Duration::from_secs(10))
}

/// A place whose deadlines are those of the stage. What a ground sets itself stands.
pub(crate) fn place(stage: &Stage) -> Place {
    let seconds = deadline(stage).as_secs();
    stage.place().set("limits.header_seconds", seconds).set("limits.hello_s", seconds)
}

impl<'a> Field<'a> {
    /// A field for the row `id`: its room is made, its two members are in it.
    pub(crate) fn make(server: &'a Server, stage: &'a Stage, id: &str) -> Field<'a> {
        let room = id.to_lowercase();
        let (mallory, alice) = (format!("mallory-{room}"), format!("alice-{room}"));
        server.room(&room, "group", &[&mallory, &alice]);
        let (stored, wrongs) = (Cell::default(), RefCell::default());
        Field { server, stage, room, mallory, alice, stored, wrongs }
    }

    /// Mallory on a connection of its own, hearing the room.
    pub fn mallory(&self) -> Client {
        Client::join(self.server, &self.mallory, &[&self.room])
    }

    /// Alice on a connection of its own, hearing the room.
    pub fn alice(&self) -> Client {
        Client::join(self.server, &self.alice, &[&self.room])
    }

    /// A connection whose upgrade was granted, before hello.
    pub fn stranger(&self) -> Client {
        Client::upgrade(self.server.public, "").expect("an upgrade")
    }

    /// The same with so little room for what it has not read.
    pub fn slow_stranger(&self, receive_bytes: usize) -> Client {
        Client::narrow(self.server.public, receive_bytes)
    }

    /// Says hello as mallory on a connection that exists.
    pub fn hello(&self, client: &mut Client) {
        let token = self.server.token(&self.mallory);
        let said = client.ask(json!({"t": "hello", "token": token, "rooms": [[self.room]]}));
        self.expect(said["t"] == "ok", || format!("hello was answered {said}"));
    }

    /// Time that the server gives for the head of a request: what an operator gets who sets nothing, less in the
    /// short form.
    pub fn head_within(&self) -> Duration {
        deadline(self.stage)
    }

    /// The same for the first word on a connection.
    pub fn hello_within(&self) -> Duration {
        deadline(self.stage)
    }

    /// How far a deadline may be missed: by a machine that has other things to do, too.
    pub fn leeway(&self) -> Duration {
        self.stage.scale(Duration::from_secs(3), Duration::from_secs(1), Duration::from_secs(1))
    }

    /// So many events more are in the room when the row is over, exactly. None, if it is not called.
    pub fn stores(&self, events: u64) {
        self.stored.set(events);
    }

    /// Wrong unless it is so.
    pub fn expect(&self, is_so: bool, what: impl FnOnce() -> String) {
        if !is_so {
            self.wrongs.borrow_mut().push(what());
        }
    }

    /// Wrong unless the connection ends with a close frame of that code.
    pub fn expect_close(&self, what: &str, client: &mut Client, code: u16) {
        let ended = client.end();
        self.expect(ended.close == Some(code), || format!("{what}: {ended:?}, not {code}"));
    }

    /// Wrong unless the object is an error of that code.
    pub fn expect_err(&self, what: &str, said: &serde_json::Value, code: &str) {
        let is_so = said["t"] == "err" && said["code"] == code;
        self.expect(is_so, || format!("{what}: {said}, not {code}"));
    }

    /// How many events the row says it has stored.
    pub(crate) fn said_stored(&self) -> u64 {
        self.stored.get()
    }

    /// What was wrong.
    pub(crate) fn into_wrongs(self) -> Vec<String> {
        self.wrongs.into_inner()
    }
}
