//! Mind: what one member of the crowd knows, and what it says by itself.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::json;
use tertulia_protocol::command::{CommandId, Position};
use tertulia_protocol::follow::{Continuity, Follow, Say};
use tertulia_protocol::heard::{self, Answer, Event, Refused};
use tertulia_protocol::reply::Attached;

use super::wire::{Ended, Heard, Wire};
use super::{Gone, Handed, Name, Told, Wrongs};

/// Everything that was missed is wanted, however much.
const JUMP: u64 = 100_000;

/// One member, without a socket.
pub(super) struct Mind {
    user: Box<str>,
    token: Box<str>,
    seats: Vec<Seat>,
    id: CommandId,
    /// The upgrade was granted, and hello is to be said.
    greets: bool,
    hello: Option<CommandId>,
    is_welcome: bool,
    pinged: bool,
    bye: Option<(u64, Option<u64>)>,
}

/// One room as a member has it.
struct Seat {
    room: Name,
    follow: Follow,
    sub: Option<CommandId>,
    /// The first event that was handed over, or will be.
    first: Option<u64>,
    hash: DefaultHasher,
}

impl Mind {
    pub(super) fn new(user: &str, token: String, rooms: &[&str]) -> Mind {
        let mut mind = Mind {
            user: user.into(),
            token: token.into(),
            seats: Vec::new(),
            id: 0,
            greets: false,
            hello: None,
            is_welcome: false,
            pinged: false,
            bye: None,
        };
        rooms.iter().for_each(|room| mind.open(room));
        mind
    }

    pub(super) fn open(&mut self, room: &str) {
        let mut follow = Follow::from(None);
        follow.open();
        let (room, hash) = (Name::from(room), DefaultHasher::new());
        self.seats.push(Seat { room, follow, sub: None, first: None, hash });
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn is_welcome(&self) -> bool {
        self.is_welcome
    }

    pub(super) fn next_id(&mut self) -> CommandId {
        self.id += 1;
        self.id
    }

    pub(super) fn lasts(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        self.seats.iter().map(|seat| {
            let follow = &seat.follow;
            (&*seat.room, follow.is_attached().then(|| follow.last()))
        })
    }

    pub(super) fn handed(&self) -> impl Iterator<Item = (&str, Option<Handed>)> {
        self.seats.iter().map(|seat| {
            let (last, hash) = (seat.follow.last(), seat.hash.finish());
            (&*seat.room, seat.first.map(|first| Handed { first, last, hash }))
        })
    }

    /// The connection is gone.
    pub(super) fn cut(&mut self) {
        for seat in &mut self.seats {
            seat.follow.cut();
            seat.sub = None;
        }
        (self.id, self.hello, self.bye) = (0, None, None);
        (self.greets, self.is_welcome, self.pinged) = (false, false, false);
    }

    /// How the connection ended; `bye` wins over the close frame, which is often lost.
    pub(super) fn gone(&self, ended: Option<Ended>) -> Gone {
        let Ended { status, code, retry_ms } = ended.unwrap_or_default();
        let code = u64::from(code.unwrap_or(1006));
        let (code, retry_ms) = self.bye.unwrap_or((code, retry_ms));
        Gone { status, code, retry_ms, was_in: self.is_welcome }
    }

    /// Says all that is to be said now.
    pub(super) fn speak(&mut self, now_ms: u64, wire: &mut Wire) {
        if std::mem::take(&mut self.greets) {
            let hello = self.greeting(now_ms);
            wire.say(hello.as_bytes());
        }
        if std::mem::take(&mut self.pinged) {
            wire.say(br#"{"t":"pong"}"#);
        }
        if !self.is_welcome {
            return;
        }
        for seat in &mut self.seats {
            if let Some(Say::Sub(from)) = seat.follow.say(now_ms) {
                self.id += 1;
                seat.sub = Some(self.id);
                let mut sub = json!({"t": "sub", "id": self.id, "room": &*seat.room});
                if let Some(Position { epoch, seq }) = from {
                    sub["epoch"] = json!(epoch.as_str());
                    (sub["seq"], sub["jump"]) = (json!(seq), json!(JUMP));
                }
                wire.say(sub.to_string().as_bytes());
            }
        }
    }

    fn greeting(&mut self, now_ms: u64) -> String {
        let mut rooms = Vec::new();
        for seat in &mut self.seats {
            let room = &*seat.room;
            match seat.follow.say(now_ms) {
                Some(Say::Sub(None)) => rooms.push(json!([room])),
                Some(Say::Sub(Some(Position { epoch, seq }))) => {
                    rooms.push(json!([room, epoch.as_str(), seq, {"jump": JUMP}]));
                }
                Some(Say::Unsub) | None => {}
            }
        }
        let id = self.next_id();
        self.hello = Some(id);
        let token = &*self.token;
        json!({"t": "hello", "id": id, "token": token, "rooms": rooms, "want": []}).to_string()
    }

    /// When there is something to say though nothing more is heard.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let due = self.seats.iter().filter_map(|seat| seat.follow.due_ms());
        due.filter(|_| self.is_welcome).min()
    }

    /// Something came.
    pub(super) fn hear(
        &mut self,
        heard: Heard<'_>,
        now_ms: u64,
        wrongs: &mut Wrongs,
        told: &mut impl FnMut(Told<'_>),
    ) {
        match heard {
            Heard::Granted => self.greets = true,
            Heard::Line(line) => {
                if let Err(what) = self.line(line, now_ms, told) {
                    wrongs.add(format!("{}: {what}", self.user));
                }
            }
            Heard::Nonsense(what) => wrongs.add(format!("{}: {what}", self.user)),
        }
    }

    /// Errors: what no server may say.
    fn line(
        &mut self,
        line: &str,
        now_ms: u64,
        told: &mut impl FnMut(Told<'_>),
    ) -> Result<(), String> {
        match heard::read(line).map_err(|error| format!("{error}: {line}"))? {
            heard::Heard::Event(event) => self.event(&event, line, told),
            heard::Heard::Ok(answer) => self.answered(&answer, now_ms, told, line),
            heard::Heard::Err(refused) => self.refused(&refused, now_ms, told),
            heard::Heard::Ping => {
                self.pinged = true;
                Ok(())
            }
            heard::Heard::Lag { room } => {
                self.seat(&room)?.follow.lag(now_ms);
                told(Told::Lag);
                Ok(())
            }
            heard::Heard::Bye { code, retry_ms } => {
                self.bye = Some((code, retry_ms));
                Ok(())
            }
            _ => Err(format!("unexpected: {line}")),
        }
    }

    fn seat(&mut self, room: &str) -> Result<&mut Seat, String> {
        let seat = self.seats.iter_mut().find(|seat| *seat.room == *room);
        seat.ok_or_else(|| format!("{room} is no room of theirs"))
    }

    /// Between two answers to `sub` every event of a room comes once, in order.
    fn event(
        &mut self,
        event: &Event<'_>,
        line: &str,
        told: &mut impl FnMut(Told<'_>),
    ) -> Result<(), String> {
        let seat = self.seat(&event.room)?;
        let last = seat.follow.last();
        if !seat.follow.event(event.seq) {
            let what = if event.seq <= last { "twice" } else { "hole" };
            return Err(format!("{what}: {}: {} came after {last}", event.room, event.seq));
        }
        line.hash(&mut seat.hash);
        told(Told::Event(event));
        Ok(())
    }

    fn answered(
        &mut self,
        answer: &Answer<'_>,
        now_ms: u64,
        told: &mut impl FnMut(Told<'_>),
        line: &str,
    ) -> Result<(), String> {
        if answer.id.is_some() && answer.id == self.hello {
            self.hello = None;
            self.is_welcome = true;
            let welcome = answer.welcome().map_err(|error| format!("{error}: {line}"))?;
            for (room, result) in welcome.rooms {
                let seat = self.seat(&room)?;
                match result {
                    Ok(attached) => seat.subbed(&attached)?,
                    Err(denied) if denied.retry_ms.is_some() => {
                        seat.follow.refused(denied.retry_ms, now_ms);
                    }
                    Err(denied) => return Err(format!("{room} is lost: {denied:?}")),
                }
            }
            told(Told::Welcome);
            return Ok(());
        }
        let seat = self.seats.iter_mut().find(|seat| seat.sub.is_some() && seat.sub == answer.id);
        if let Some(seat) = seat {
            seat.sub = None;
            let attached = answer.attached().map_err(|error| format!("{error}: {line}"))?;
            return seat.subbed(&attached);
        }
        told(Told::Ok(answer));
        Ok(())
    }

    fn refused(
        &mut self,
        refused: &Refused<'_>,
        now_ms: u64,
        told: &mut impl FnMut(Told<'_>),
    ) -> Result<(), String> {
        if refused.id.is_some() && refused.id == self.hello {
            self.hello = None;
            return match refused.retry_ms {
                // The connection ends, and the next one says it again.
                Some(_) => Ok(()),
                None => Err(format!("hello was refused: {refused:?}")),
            };
        }
        let seat = self.seats.iter_mut().find(|seat| seat.sub.is_some() && seat.sub == refused.id);
        let Some(seat) = seat else {
            told(Told::Err(refused));
            return Ok(());
        };
        seat.sub = None;
        seat.follow.refused(refused.retry_ms, now_ms);
        match refused.retry_ms {
            Some(_) => Ok(()),
            None => Err(format!("{} is lost: {refused:?}", seat.room)),
        }
    }
}

impl Seat {
    /// Errors: the member has no longer all that it was to have.
    fn subbed(&mut self, attached: &Attached) -> Result<(), String> {
        self.first.get_or_insert(attached.base + 1);
        match self.follow.subbed(attached) {
            Continuity::Unbroken => Ok(()),
            broken => Err(format!("{}: {broken:?}", self.room)),
        }
    }
}
