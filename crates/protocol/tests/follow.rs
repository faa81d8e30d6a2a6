//! The client delivery rule against the golden transcripts in `golden/client`.
//!
//! The client here is the rule alone: transcripts that are also about sending or about lost connections are
//! for clients that send and reconnect.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use tertulia_protocol::command::Position;
use tertulia_protocol::follow::{Continuity, Follow, Say};
use tertulia_protocol::heard::{self, Heard};
use tertulia_protocol::reply::Attached;
use tertulia_protocol::{Epoch, Role};

/// What a command was for, to know its answer by.
enum Asked {
    Sub(String),
    Unsub(String),
    Heads,
}

/// Rooms followed by the rule, and what a transcript wants to see of them.
#[derive(Default)]
struct Reader {
    rooms: BTreeMap<String, Follow>,
    now_ms: u64,
    id: u32,
    asked: HashMap<u32, Asked>,
    said: VecDeque<Value>,
    told: VecDeque<Value>,
    handed: BTreeMap<String, Vec<u64>>,
    /// The rooms in the hello of a connection that is not answered yet.
    hello: Option<Vec<Value>>,
    connected: bool,
}

impl Reader {
    fn with(given: &Value) -> Reader {
        let mut reader = Reader { now_ms: 100_000, connected: true, ..Reader::default() };
        for (room, position) in given["rooms"].as_object().into_iter().flatten() {
            let epoch = Epoch::parse(position["epoch"].as_str().unwrap()).unwrap();
            let position = Position { epoch, seq: position["last"].as_u64().unwrap() };
            reader.rooms.insert(room.clone(), Follow::from(Some(position)));
        }
        reader
    }

    fn room(&mut self, room: &str) -> &mut Follow {
        self.rooms.entry(room.to_owned()).or_insert(Follow::from(None))
    }

    fn asks(&mut self, asked: Asked, mut object: Value) {
        self.id += 1;
        object["id"] = self.id.into();
        self.asked.insert(self.id, asked);
        self.said.push_back(object);
    }

    /// Says all that there is to say.
    fn speaks(&mut self) {
        if !self.connected {
            return;
        }
        let mut says = Vec::new();
        for (room, follow) in &mut self.rooms {
            while let Some(say) = follow.say(self.now_ms) {
                says.push((room.clone(), say));
            }
        }
        for (room, say) in says {
            match say {
                Say::Sub(None) => {
                    let object = json!({"t": "sub", "room": &room});
                    self.asks(Asked::Sub(room), object);
                }
                Say::Sub(Some(from)) => {
                    let (epoch, seq) = (from.epoch.as_str(), from.seq);
                    let object = json!({"t": "sub", "room": &room, "epoch": epoch, "seq": seq});
                    self.asks(Asked::Sub(room), object);
                }
                Say::Unsub => {
                    let object = json!({"t": "unsub", "room": &room});
                    self.asks(Asked::Unsub(room), object);
                }
            }
        }
    }

    fn subbed(&mut self, room: &str, answer: &Attached) {
        match self.room(room).subbed(answer) {
            Continuity::Unbroken => {}
            Continuity::Reset => self.told.push_back(json!({"room": room, "what": "reset"})),
            Continuity::Hole { after, upto } => self
                .told
                .push_back(json!({"room": room, "what": "hole", "after": after, "upto": upto})),
        }
    }

    fn hears(&mut self, text: &str) {
        let now_ms = self.now_ms;
        match heard::read(text).unwrap_or_else(|why| panic!("{why}: {text}")) {
            Heard::Event(heard::Event { room, seq, .. }) | Heard::Opaque { room, seq } => {
                if self.room(&room).event(seq) {
                    self.handed.entry(room.into_owned()).or_default().push(seq);
                }
            }
            Heard::Ok(answer) => match answer.id.and_then(|id| self.asked.remove(&id)) {
                Some(Asked::Sub(room)) => self.subbed(&room, &answer.attached().unwrap()),
                Some(Asked::Unsub(room)) => self.room(&room).unsubbed(),
                Some(Asked::Heads) => {
                    let heads = answer.heads().unwrap().expect("heads were asked for");
                    for (room, follow) in &mut self.rooms {
                        follow.head(heads.get(room).copied());
                    }
                }
                None => {}
            },
            Heard::Err(refused) => match refused.id.and_then(|id| self.asked.remove(&id)) {
                Some(Asked::Sub(room)) => self.room(&room).refused(refused.retry_ms, now_ms),
                Some(Asked::Unsub(room)) => self.room(&room).unsubbed(),
                Some(Asked::Heads) | None => {}
            },
            Heard::Lag { room } => self.room(&room).lag(now_ms),
            Heard::Drop { room, code } => {
                self.room(&room).dropped(code == "reset");
                if code != "reset" {
                    self.told.push_back(json!({"room": room, "what": "dropped"}));
                }
            }
            Heard::Signal { .. }
            | Heard::Ping
            | Heard::AuthDue { .. }
            | Heard::Bye { .. }
            | Heard::Unknown => {}
        }
    }

    fn cut(&mut self) {
        self.connected = false;
        self.asked.clear();
        self.rooms.values_mut().for_each(Follow::cut);
    }

    /// The rooms that the hello of the new connection asks for.
    fn hello(&mut self) -> Vec<Value> {
        let now_ms = self.now_ms;
        let entry = |(room, follow): (&String, &mut Follow)| match follow.say(now_ms)? {
            Say::Sub(None) => Some(json!([room, null, null])),
            Say::Sub(Some(from)) => Some(json!([room, from.epoch.as_str(), from.seq])),
            Say::Unsub => panic!("{room}: no connection is left to unsub on"),
        };
        let rooms = &mut self.rooms;
        self.hello.get_or_insert_with(|| rooms.iter_mut().filter_map(entry).collect()).clone()
    }

    fn connects(&mut self, rooms: &Value) {
        let now_ms = self.now_ms;
        self.hello();
        self.hello = None;
        self.connected = true;
        let hello = json!({
            "t": "ok", "id": 1, "session": "s9", "ping_s": 25, "limits": {"inflight": 64}, "rooms": rooms
        })
        .to_string();
        let Ok(Heard::Ok(answer)) = heard::read(&hello) else { panic!("{hello}") };
        for (room, result) in answer.welcome().unwrap().rooms {
            match result {
                Ok(attached) => self.subbed(&room, &attached),
                Err(denied) => self.room(&room).refused(denied.retry_ms, now_ms),
            }
        }
    }

    fn state(&mut self, room: &str) -> Map<String, Value> {
        let follow = self.room(room);
        let mut state = Map::new();
        if let Some(position) = follow.position() {
            state.insert("epoch".into(), position.epoch.as_str().into());
            state.insert("last".into(), position.seq.into());
        }
        state.insert("attached".into(), follow.is_attached().into());
        state
    }
}

/// Ids that a transcript calls by a name.
#[derive(Default)]
struct Names(HashMap<String, Value>);

impl Names {
    /// What is written, names replaced by what they stand for.
    fn resolve(&self, written: &Value) -> Value {
        let mut object = written.clone();
        let id = written.get("id").and_then(Value::as_str);
        if let Some(number) = id.and_then(|name| self.0.get(name)) {
            object["id"] = number.clone();
        }
        object
    }

    /// A name in the pattern is bound to what stands there.
    fn bind(&mut self, pattern: &Value, seen: &Value) {
        if let Some(name) = pattern.get("id").and_then(Value::as_str) {
            self.0.entry(name.to_owned()).or_insert_with(|| seen["id"].clone());
        }
    }
}

fn no_values() -> [Value; 0] {
    []
}

fn play(transcript: &Value) {
    let mut reader = Reader::with(&transcript["given"]);
    let mut names = Names::default();
    for step in transcript["steps"].as_array().unwrap() {
        let (word, value) = step.as_object().unwrap().iter().next().unwrap();
        match word.as_str() {
            "app" => {
                let (wish, what) = value.as_object().unwrap().iter().next().unwrap();
                match (wish.as_str(), what.as_str()) {
                    ("open", Some(room)) => reader.room(room).open(),
                    ("close", Some(room)) => reader.room(room).close(),
                    ("wake", _) => reader.asks(Asked::Heads, json!({"t": "ping", "heads": true})),
                    _ => panic!("{step}: a wish that this reader does not know"),
                }
            }
            "in" => reader.hears(&names.resolve(value).to_string()),
            // What arrives on an earlier connection is not heard.
            "in_old" => {}
            "out" => {
                let said = reader.said.pop_front();
                names.bind(value, said.as_ref().unwrap_or(&Value::Null));
                assert_eq!(said, Some(names.resolve(value)), "{step}");
            }
            "quiet" => assert_eq!(reader.said, no_values(), "{step}"),
            "handed" => {
                for (room, seqs) in value.as_object().unwrap() {
                    let handed = reader.handed.remove(room).unwrap_or_default();
                    assert_eq!(json!(handed), *seqs, "{step}");
                }
            }
            "told" => assert_eq!(reader.told.pop_front().as_ref(), Some(value), "{step}"),
            "state" => {
                for (room, pattern) in value.as_object().unwrap() {
                    let state = reader.state(room);
                    for (key, wanted) in pattern.as_object().unwrap() {
                        assert_eq!(state.get(key), Some(wanted), "{key} in {step}");
                    }
                }
            }
            "after_ms" => reader.now_ms += value.as_u64().unwrap(),
            "cut" => reader.cut(),
            "hello_rooms" => {
                let bare = |entry: &Value| match entry.as_array().map(Vec::as_slice) {
                    Some([room]) => json!([room, null, null]),
                    _ => entry.clone(),
                };
                let mut wanted: Vec<Value> = value.as_array().unwrap().iter().map(bare).collect();
                let mut hello = reader.hello();
                wanted.sort_by_key(Value::to_string);
                hello.sort_by_key(Value::to_string);
                assert_eq!(hello, wanted, "{step}");
            }
            "connected" => reader.connects(value),
            _ => panic!("{step}: a step that this reader does not know"),
        }
        reader.speaks();
    }
    assert_eq!(reader.told, no_values(), "the application was told more");
}

/// Whether a transcript asks for nothing but following rooms.
fn is_about_following(transcript: &Value) -> bool {
    transcript["steps"].as_array().unwrap().iter().all(|step| {
        let sends = !step["app"]["send"].is_null();
        let answers_pings = step["out"]["t"] == "pong";
        !sends && !answers_pings && step["plan"].is_null()
    })
}

fn transcripts() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/client");
    let mut paths: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &Path| serde_json::from_str(&fs::read_to_string(path).unwrap());
    paths
        .iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let transcript = read(path).unwrap_or_else(|why| panic!("{name}: {why}"));
            (name, transcript)
        })
        .collect()
}

#[test]
fn the_delivery_rule_follows_every_transcript() {
    let mut played = 0;
    for (name, transcript) in transcripts() {
        if is_about_following(&transcript) {
            println!("{name}");
            play(&transcript);
            played += 1;
        }
    }
    assert!(played > 0, "golden/client holds no transcript about following a room");
}

fn answer(epoch: Epoch, base: u64, upto: u64) -> Attached {
    Attached {
        epoch,
        base,
        upto,
        head: upto,
        first: 1,
        n: 0,
        role: Role::Member,
        reset: false,
        hole: false,
        more: false,
    }
}

/// A room that was followed to 41 and is attached.
fn attached_at_41(epoch: Epoch) -> Follow {
    let mut room = Follow::from(Some(Position { epoch, seq: 41 }));
    room.open();
    assert!(room.say(0).is_some());
    room.subbed(&answer(epoch, 41, 41));
    room
}

// No transcript can say this: a client of theirs speaks after every step.
#[test]
fn a_room_opened_again_before_its_unsub_was_said_misses_nothing() {
    let epoch = Epoch::parse("e7").unwrap();
    let mut room = attached_at_41(epoch);
    room.close();
    opened_again(room, epoch);
}

#[test]
fn a_room_opened_again_while_its_sub_is_out_misses_nothing() {
    let epoch = Epoch::parse("e7").unwrap();
    let mut room = attached_at_41(epoch);
    room.lag(0);
    assert!(room.say(0).is_some());
    room.close();
    room.subbed(&answer(epoch, 41, 42));
    opened_again(room, epoch);
}

/// A closed room of which an event comes, and which is opened again.
#[track_caller]
fn opened_again(mut room: Follow, epoch: Epoch) {
    assert!(!room.event(42), "a closed room hears nothing");
    room.open();
    assert_eq!(room.say(0), Some(Say::Sub(Some(Position { epoch, seq: 41 }))));
    room.subbed(&answer(epoch, 41, 42));
    assert!(room.event(42) && room.event(43));
    assert_eq!(room.say(0), None);
}

#[test]
fn a_transcript_that_is_not_followed_is_noticed() {
    let (_, mut transcript) = transcripts()
        .into_iter()
        .find(|(name, _)| name == "gap-one-sub")
        .expect("the first transcript that was ever written");
    for step in transcript["steps"].as_array_mut().unwrap() {
        if let Some(seq) = step.pointer_mut("/in/seq").filter(|seq| **seq == 43) {
            *seq = 53.into();
        }
    }
    let noticed = std::panic::catch_unwind(|| play(&transcript));
    assert!(noticed.is_err(), "an event that never came was handed over");
}
