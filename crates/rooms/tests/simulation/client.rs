//! Client: what one device says. It follows its rooms by the rules of `protocol::follow`, keeps an outbox a
//! room, resumes its session, and breaks no rule of the protocol.

use std::collections::{BTreeMap, BTreeSet};

use tertulia_protocol::command::{CommandId, Position};
use tertulia_protocol::follow::{Follow, Say};
use tertulia_protocol::frame::{Decoder, Inflater, Opcode, Side, put_masked};
use tertulia_protocol::{Epoch, Role, Seq};

use crate::outbox::{Message, Outbox};
use crate::outside::token;
use crate::random::Random;
use crate::socket::SocketId;
use crate::stream::Stream;
use crate::trace::Trace;

/// One device of a user.
pub(crate) struct Client {
    pub(crate) user: String,
    /// Tells devices apart.
    pub(crate) number: usize,
    pub(crate) rooms: BTreeMap<String, Place>,
    pub(crate) line: Option<Line>,
    pub(crate) session: Option<String>,
    /// What the next token grants.
    pub(crate) grants: Vec<(String, Role)>,
    /// How long tokens live.
    pub(crate) token_s: u64,
    /// Commands that the server allows unanswered.
    pub(crate) inflight: usize,
    /// Reads so many bytes at a time; 0 = has stopped.
    pub(crate) pace: usize,
    /// No new connection before that time.
    pub(crate) back_ms: u64,
    pub(crate) cids: u64,
}

/// One room as this device knows it.
pub(crate) struct Place {
    pub(crate) follow: Follow,
    pub(crate) outbox: Outbox,
    /// What was handed over, in the room's present life: the `d` of each message.
    pub(crate) heard: Vec<String>,
    /// Up to where, by the checker's own count.
    pub(crate) handed: Option<(Epoch, Seq)>,
    /// Cids that were acknowledged, in the order in which they were said.
    pub(crate) said: Vec<String>,
}

/// One connection, as the client sees it.
pub(crate) struct Line {
    pub(crate) socket: SocketId,
    pub(crate) decoder: Decoder,
    /// Compressed messages were agreed on.
    pub(crate) inflater: Option<Inflater>,
    pub(crate) asked: BTreeMap<CommandId, Asked>,
    pub(crate) streams: BTreeMap<String, Stream>,
    last_id: CommandId,
    /// Objects to be sent.
    words: Vec<String>,
    /// `hello` was answered.
    pub(crate) greeted: bool,
    /// The server said that it ends here.
    pub(crate) ended: bool,
    /// What the token in force grants, by what was answered.
    pub(crate) grants: Vec<(String, Role)>,
    /// Rooms that a token on this connection granted and a later one did not.
    pub(crate) lost: BTreeSet<String>,
}

/// A command without an answer.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// The rooms of `hello`, with the position that was given for each.
    Hello(BTreeMap<String, Option<Position>>),
    Sub {
        room: String,
        from: Option<Position>,
        jump: Option<u64>,
    },
    Unsub {
        room: String,
    },
    Send {
        room: String,
    },
    Log {
        room: String,
        after: Seq,
    },
    Heads,
    /// A newer token, and what it grants.
    Auth(Vec<(String, Role)>),
    Other,
}

impl Client {
    pub(crate) fn new(user: &str, number: usize, inflight: usize) -> Client {
        Client {
            user: user.to_owned(),
            number,
            rooms: BTreeMap::new(),
            line: None,
            session: None,
            grants: Vec::new(),
            token_s: 86_400,
            inflight,
            pace: usize::MAX,
            back_ms: 0,
            cids: 0,
        }
    }

    pub(crate) fn place(&mut self, room: &str) -> &mut Place {
        self.rooms.entry(room.to_owned()).or_insert_with(|| Place {
            follow: Follow::from(None),
            outbox: Outbox::default(),
            heard: Vec::new(),
            handed: None,
            said: Vec::new(),
        })
    }

    /// The application wants a room, maybe again.
    pub(crate) fn open(&mut self, room: &str) {
        let follow = &mut self.place(room).follow;
        let was_open = follow.is_open();
        follow.open();
        // What came while it was closed was ignored. If nobody was told of the closing, nothing but a
        // comparison of heads shows that something is missing.
        if let Some(position) = follow.position().filter(|_| !was_open) {
            follow.head(Some((position.epoch, Seq::MAX)));
        }
    }

    /// The first words on a new connection. `with_token` = not in the upgrade.
    pub(crate) fn hello(
        &mut self,
        socket: SocketId,
        deflates: bool,
        with_token: Option<&str>,
        random: &mut Random,
        now_ms: u64,
    ) {
        let mut rooms = BTreeMap::new();
        let mut entries = Vec::new();
        for (name, place) in &mut self.rooms {
            let from = match place.follow.say(now_ms) {
                Some(Say::Sub(from)) => from,
                // Closed while there was no connection: nobody has to be told.
                Some(Say::Unsub) => {
                    place.follow.unsubbed();
                    continue;
                }
                None => continue,
            };
            entries.push(match from {
                None => format!(r#"["{name}"]"#),
                Some(Position { epoch, seq }) if random.chance(500) => {
                    format!(r#"["{name}","{epoch}",{seq},{{"page":{}}}]"#, random.of(1..=5))
                }
                Some(Position { epoch, seq }) => format!(r#"["{name}","{epoch}",{seq}]"#),
            });
            rooms.insert(name.clone(), from);
        }
        let token = with_token.map_or(String::new(), |token| format!(r#","token":"{token}""#));
        let session = self.session.as_ref();
        let session = session.map_or(String::new(), |name| format!(r#","session":"{name}""#));
        let entries = entries.join(",");
        let hello = format!(r#"{{"t":"hello","id":1{token}{session},"rooms":[{entries}]}}"#);
        self.line = Some(Line {
            socket,
            decoder: Decoder::new(Side::Client),
            inflater: deflates.then(Inflater::default),
            asked: BTreeMap::from([(1, Asked::Hello(rooms))]),
            streams: BTreeMap::new(),
            last_id: 1,
            words: vec![hello],
            greeted: false,
            ended: false,
            grants: self.grants.clone(),
            lost: BTreeSet::new(),
        });
    }

    /// A token for this client.
    pub(crate) fn token(&self, wall_ms: u64) -> String {
        token(&self.user, wall_ms / 1000 + self.token_s, &self.grants)
    }

    /// Shows a newer token, if the server allows one more command.
    pub(crate) fn renew(&mut self, wall_ms: u64) {
        let rest = format!(r#","token":"{}""#, self.token(wall_ms));
        self.ask("auth", &rest, Asked::Auth(self.grants.clone()));
    }

    /// The connection is gone, and with it every answer that was awaited.
    pub(crate) fn cut(&mut self) {
        self.line = None;
        for place in self.rooms.values_mut() {
            place.follow.cut();
            place.outbox.cut();
        }
    }

    /// Gives a command, if the server allows one more without an answer. `rest` follows `t` and `id`.
    pub(crate) fn ask(&mut self, t: &str, rest: &str, asked: Asked) {
        let inflight = self.inflight;
        let line = self.line.as_mut().filter(|line| line.greeted && line.asked.len() < inflight);
        if let Some(line) = line {
            line.ask(t, rest, asked);
        }
    }

    /// A new thing to say in `room`. Says the cid.
    pub(crate) fn write(&mut self, room: &str, cid: String, fields: String) {
        self.place(room).outbox.push(Message { cid, fields });
    }

    /// A cid that no other device uses.
    /// The cid of its message of that number. Those of every other client are in the order of texts, too.
    pub(crate) fn cid(&self, message: u64) -> String {
        match self.number % 2 {
            0 => format!("c{}-{message:06}", self.number),
            _ => format!("c{}-{message}", self.number),
        }
    }

    pub(crate) fn next_cid(&mut self) -> String {
        self.cids += 1;
        self.cid(self.cids)
    }

    /// Says what its rooms want said by now.
    pub(crate) fn tick(&mut self, random: &mut Random, now_ms: u64) {
        let inflight = self.inflight;
        let Some(line) = self.line.as_mut().filter(|line| !line.ended) else { return };
        for (name, place) in &mut self.rooms {
            while line.greeted
                && line.asked.len() < inflight
                && let Some(say) = place.follow.say(now_ms)
            {
                line.follow(name, say, random);
            }
            // Behind a hello commands may follow at once.
            while line.asked.len() < inflight {
                let id = line.last_id + 1;
                let Some((message, prev)) = place.outbox.say(id, now_ms) else { break };
                line.last_id = id;
                let Message { cid, fields } = message;
                let prev = prev.map_or(String::new(), |prev| format!(r#","prev":"{prev}""#));
                line.words.push(format!(
                    r#"{{"t":"send","id":{id},"room":"{name}","cid":"{cid}"{prev},{fields}}}"#
                ));
                line.asked.insert(id, Asked::Send { room: name.clone() });
            }
        }
    }

    /// Whether nothing is said that is not answered, or waits to be said.
    pub(crate) fn is_quiet(&self) -> bool {
        let line = self.line.as_ref();
        line.is_some_and(|line| line.greeted && line.asked.is_empty() && line.words.is_empty())
            && self.rooms.values().all(|place| place.outbox.is_empty())
    }

    /// The frames of what it has to say.
    pub(crate) fn frames(
        &mut self,
        random: &mut Random,
        trace: &mut Trace,
        out: &mut Vec<u8>,
    ) -> Option<SocketId> {
        let line = self.line.as_mut()?;
        let number = self.number;
        for word in &line.words {
            trace.tell(|| format!("        client {number} says {word}"));
        }
        let mut words = line.words.drain(..).peekable();
        while words.peek().is_some() {
            let most = random.of(1..=4) as usize;
            let text = words.by_ref().take(most).collect::<Vec<_>>().join("\n");
            put_masked(out, Opcode::Text, [7, 1, 3, 9], text.as_bytes());
        }
        Some(line.socket)
    }
}

impl Line {
    /// Gives a command. `rest` follows `t` and `id`.
    pub(crate) fn ask(&mut self, t: &str, rest: &str, asked: Asked) {
        if !self.ended {
            let id = self.next_id();
            self.asked.insert(id, asked);
            self.words.push(format!(r#"{{"t":"{t}","id":{id}{rest}}}"#));
        }
    }

    /// Says something that wants no answer.
    pub(crate) fn mention(&mut self, object: String) {
        if !self.ended {
            self.words.push(object);
        }
    }

    fn next_id(&mut self) -> CommandId {
        self.last_id += 1;
        self.last_id
    }

    fn follow(&mut self, room: &str, say: Say, random: &mut Random) {
        let room = room.to_owned();
        match say {
            Say::Unsub => self.ask("unsub", &format!(r#","room":"{room}""#), Asked::Unsub { room }),
            Say::Sub(from) => {
                let position = from.map_or(String::new(), |Position { epoch, seq }| {
                    format!(r#","epoch":"{epoch}","seq":{seq}"#)
                });
                let page = random.chance(300).then(|| random.of(1..=12));
                let jump = random.chance(100).then(|| random.of(0..=20));
                let option = |name: &str, value: Option<u64>| {
                    value.map_or(String::new(), |value| format!(r#","{name}":{value}"#))
                };
                let options = option("page", page) + &option("jump", jump);
                let rest = format!(r#","room":"{room}"{position}{options}"#);
                self.ask("sub", &rest, Asked::Sub { room, from, jump });
            }
        }
    }
}
