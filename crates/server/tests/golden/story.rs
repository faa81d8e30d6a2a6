//! Story: a vector as it is lived through, step by step.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::client::Client;
use super::http;
use super::pattern::Bound;
use super::server::Server;
use super::tokens;
use super::vector::{Act, Call, Events, Given, Room, Vector, Verb};

/// A secret that no server has.
const FOREIGN_SECRET: &str = "0123456789abcdef0123456789abcdef";

pub(crate) struct Story<'a> {
    vector: &'a Vector,
    server: Server,
    clients: BTreeMap<String, Client>,
    bound: Bound,
}

impl<'a> Story<'a> {
    /// A server with what is given.
    pub(crate) fn begin(vector: &'a Vector) -> Result<Story<'a>, String> {
        let Given { rooms, settings, .. } = &vector.given;
        let server = Server::start(settings)?;
        let (clients, bound) = (BTreeMap::new(), Bound::default());
        let mut story = Story { vector, server, clients, bound };
        for (id, room) in rooms {
            story.make(id, room).map_err(|why| format!("given {id}: {why}"))?;
        }
        let first: BTreeMap<String, u64> = rooms
            .iter()
            .filter_map(|(id, room)| Some((id.clone(), room.first.filter(|first| *first > 1)?)))
            .collect();
        if !first.is_empty() {
            story.server.restart(&first)?;
        }
        Ok(story)
    }

    /// The room is made by its first owner, its members are added, then the owner sends.
    fn make(&mut self, id: &str, room: &Room) -> Result<(), String> {
        let Room { kind, members, messages, bytes, .. } = room;
        let owner = members.iter().find(|(_, role)| *role == "owner");
        let (owner, _) = owner.ok_or("nobody owns it")?;
        let token = self.server.token(owner, None)?;
        let path = format!("/v1/rooms/{id}");
        let body = format!(r#"{{"kind":"{kind}"}}"#);
        let made = self.server.call(&token, "PUT", &path, None, &body)?.json()?;
        self.bound.bind(id, made["epoch"].clone());
        for (user, role) in members.iter().filter(|(user, _)| *user != owner) {
            let path = format!("{path}/members/{user}");
            self.server.call(&token, "PUT", &path, None, &format!(r#"{{"role":"{role}"}}"#))?;
        }
        if *messages > 0 {
            let mut client = Client::open(self.server.addr, false)?;
            client.say(&format!(r#"{{"t":"hello","id":1,"token":"{token}"}}"#));
            client.object()?;
            client.sends("given", id, *messages, |message| match bytes {
                Some(bytes) => long(*bytes),
                None => format!(r#"{{"text":"m{message}"}}"#),
            })?;
        }
        Ok(())
    }

    pub(crate) fn server_said(&self) -> String {
        self.server.said()
    }

    pub(crate) fn step(&mut self, verb: &Verb) -> Result<(), String> {
        match verb {
            Verb::On(name, Act::Hello(keys)) => self.hello(name, keys),
            Verb::On(name, Act::Open) => self.open(name),
            Verb::On(name, act) => self.act(name, act),
            Verb::Http(call) => self.http(call),
            Verb::Restart(restart) => {
                self.clients.clear();
                self.server.restart(&restart.first)
            }
        }
    }

    fn open(&mut self, name: &str) -> Result<(), String> {
        let client = Client::open(self.server.addr, self.vector.stalls(name))?;
        match self.clients.insert(name.to_owned(), client) {
            None => Ok(()),
            Some(_) => Err(format!("{name} is open already")),
        }
    }

    fn hello(&mut self, name: &str, keys: &BTreeMap<String, Box<RawValue>>) -> Result<(), String> {
        let user: String = keys
            .get("user")
            .and_then(|user| serde_json::from_str(user.get()).ok())
            .ok_or("no user")?;
        let grant = keys.get("grant").map(|grant| grant.get());
        let token = self.server.token(&user, grant)?;
        let mut text = format!(r#"{{"t":"hello","id":1,"token":"{token}""#);
        for (key, raw) in keys.iter().filter(|(key, _)| !matches!(key.as_str(), "user" | "grant")) {
            text += &format!(r#","{key}":{}"#, self.filled(raw.get())?);
        }
        self.open(name)?;
        self.client(name)?.say(&format!("{text}}}"));
        Ok(())
    }

    fn client(&mut self, name: &str) -> Result<&mut Client, String> {
        self.clients.get_mut(name).ok_or_else(|| format!("{name} is not open"))
    }

    fn act(&mut self, name: &str, act: &Act) -> Result<(), String> {
        match act {
            Act::Hello(_) | Act::Open => unreachable!("these open a connection"),
            Act::Say(raw) => {
                let text = self.message(raw)?;
                self.client(name)?.say(&text);
            }
            Act::SayRepeat(parts) => {
                let piece = |pair: &[Value]| {
                    let times = usize::try_from(pair[1].as_u64().unwrap()).unwrap();
                    pair[0].as_str().unwrap().repeat(times)
                };
                let text: String = parts.chunks_exact(2).map(piece).collect();
                self.client(name)?.say(&text);
            }
            Act::Sends(sends) => {
                let d = long(sends.bytes);
                self.client(name)?.sends(name, &sends.room, sends.count, |_| d.clone())?;
            }
            Act::Gets(pattern) => {
                let object = self.client(name)?.object()?;
                self.expect(pattern, &object)?;
            }
            Act::GetsAny(patterns) => self.gets_any(name, patterns)?,
            Act::Until(pattern) => loop {
                let object = self.client(name)?.object()?;
                let found = self.bound.matches(pattern, &object);
                match found {
                    Ok(()) => break,
                    Err(_) if object["t"] == "ev" => {}
                    Err(why) => return Err(format!("{why}\ngot {object}")),
                }
            },
            Act::Signal(pattern) => {
                let signal = self.client(name)?.signal()?;
                self.expect(pattern, &signal)?;
            }
            Act::Events(events) => self.events(name, events)?,
            Act::Quiet => self.client(name)?.quiet()?,
            Act::Closed(code) => {
                let mut client =
                    self.clients.remove(name).ok_or_else(|| format!("{name} is not open"))?;
                client.closed(*code)?;
            }
            Act::Cut => _ = self.clients.remove(name),
            // Nothing is read anyway before a step wants something.
            Act::Stalls | Act::Reads => _ = self.client(name)?,
        }
        Ok(())
    }

    fn expect(&mut self, pattern: &Value, got: &Value) -> Result<(), String> {
        self.bound.matches(pattern, got).map_err(|why| format!("{why}\ngot {got}"))
    }

    fn gets_any(&mut self, name: &str, patterns: &[Value]) -> Result<(), String> {
        let mut left: Vec<&Value> = patterns.iter().collect();
        while !left.is_empty() {
            let object = self.client(name)?.object()?;
            let mut why = String::new();
            let found = left.iter().position(|pattern| {
                self.bound.matches(pattern, &object).map_err(|one| why = one).is_ok()
            });
            let Some(found) = found else {
                return Err(format!("expected one of {left:?} ({why})\ngot {object}"));
            };
            left.remove(found);
        }
        Ok(())
    }

    fn events(&mut self, name: &str, events: &Events) -> Result<(), String> {
        let (from, to) = (self.bound.number(&events.from)?, self.bound.number(&events.to)?);
        for seq in from..=to {
            let object = self.client(name)?.object()?;
            let is_next =
                object["t"] == "ev" && object["room"] == *events.room && object["seq"] == seq;
            if !is_next {
                return Err(format!("expected event {seq} of {}, got {object}", events.room));
            }
        }
        Ok(())
    }

    fn http(&mut self, call: &Call) -> Result<(), String> {
        let request = &call.request;
        let bearer = match request.r#as.as_str() {
            "none" => None,
            "key" => Some(self.server.key().to_owned()),
            user => Some(self.server.token(user, None)?),
        };
        let body = request.body.as_ref().map(|raw| self.message(raw)).transpose()?;
        let answer = http::Call {
            bearer: bearer.as_deref(),
            method: &request.method,
            path: &request.path,
            idempotency_key: request.idempotency_key.as_deref(),
            body: body.as_deref(),
        }
        .make(self.server.addr)?;
        let fits = match call.status {
            Some(status) => answer.status == status,
            None => (200..300).contains(&answer.status),
        };
        if !fits {
            return Err(format!("expected status {:?}, got {answer:?}", call.status));
        }
        match &call.gets {
            Some(pattern) => self.expect(pattern, &answer.json()?),
            None => Ok(()),
        }
    }

    /// What is sent for `raw`: a text as it stands, objects without spaces and with names filled in.
    fn message(&self, raw: &RawValue) -> Result<String, String> {
        if raw.get().starts_with('"') {
            return serde_json::from_str(raw.get()).map_err(|why| why.to_string());
        }
        match serde_json::from_str::<Vec<Box<RawValue>>>(raw.get()) {
            Ok(objects) => {
                let lines: Result<Vec<String>, String> =
                    objects.iter().map(|object| self.filled(object.get())).collect();
                Ok(lines?.join("\n"))
            }
            Err(_) => self.filled(raw.get()),
        }
    }

    /// JSON without spaces, with what names stand for; otherwise to the letter as it stands in the file.
    fn filled(&self, json: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = json;
        while let Some(start) = rest.find('"') {
            filled.extend(rest[..start].chars().filter(|c| !c.is_ascii_whitespace()));
            let inner = &rest[start + 1..];
            let mut escaped = false;
            let end = inner.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            let (text, behind) = inner.split_at(end.ok_or("a string has no end")?);
            match text.strip_prefix('$') {
                Some(name) => filled += &self.meant(name)?.to_string(),
                None => filled += &format!("\"{text}\""),
            }
            rest = &behind[1..];
        }
        filled.extend(rest.chars().filter(|c| !c.is_ascii_whitespace()));
        Ok(filled)
    }

    fn meant(&self, name: &str) -> Result<Value, String> {
        let of = |word: &str| {
            name.strip_prefix(word)?.strip_prefix('(')?.strip_suffix(')').map(str::to_owned)
        };
        if let Some(user) = of("token") {
            return self.server.token(&user, None).map(Value::String);
        }
        if let Some(user) = of("expired") {
            return Ok(Value::String(self.server.expired(&user)));
        }
        if let Some(user) = of("foreign") {
            return Ok(Value::String(tokens::sign(FOREIGN_SECRET, &user, 3600)));
        }
        if name == "key" {
            return Ok(Value::String(self.server.key().to_owned()));
        }
        self.bound.get(name)?.ok_or_else(|| format!("${name} stands for nothing yet"))
    }
}

/// A body of exactly so many bytes.
fn long(bytes: usize) -> String {
    const AROUND: usize = r#"{"text":""}"#.len();
    format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes - AROUND))
}
