//! Hearing: what a client makes of what it is told, and what the model says to that.

use std::collections::BTreeMap;

use tertulia_protocol::command::{CommandId, Position};
use tertulia_protocol::follow::Continuity;
use tertulia_protocol::frame::{Decoder, Input, Message, Side};
use tertulia_protocol::heard::{self, Answer, Event, Heard, Refused};
use tertulia_protocol::limits::SERVER_MESSAGE_BYTES_MAX;
use tertulia_protocol::reply::Attached;
use tertulia_protocol::{Close, Epoch, Role, Seq};

use crate::client::{Asked, Client, Line};
use crate::model::Model;
use crate::stream::{Ear, Stream};
use crate::trace::Trace;

/// What a client needs to understand what it hears.
pub(crate) struct Hearing<'a> {
    pub(crate) model: &'a mut Model,
    pub(crate) trace: &'a mut Trace,
    pub(crate) news_are_whole: bool,
    pub(crate) now_ms: u64,
    pub(crate) wall_ms: u64,
    /// Events missed without a hole, unless asked otherwise, and at most.
    pub(crate) jump: u64,
    pub(crate) jump_max: u64,
}

/// Closes that an honest client in a hostile world may see.
const FAIR_CLOSES: [Close; 10] = [
    Close::HelloTimeout,
    Close::Rate,
    Close::Replaced,
    Close::ConnectionLimit,
    Close::TokenExpired,
    Close::Revoked,
    Close::PingTimeout,
    Close::Slow,
    Close::Drain,
    Close::Normal,
];

impl Client {
    /// Bytes from the server.
    pub(crate) fn hear(&mut self, mut bytes: Vec<u8>, hearing: &mut Hearing<'_>) {
        let Some(mut line) = self.line.take() else { return };
        if line.ended && !bytes.is_empty() {
            hearing.model.fault(|| format!("{}: bytes behind the close", self.user));
        }
        let mut input = Input::new(&mut bytes);
        let mut decoder = std::mem::replace(&mut line.decoder, Decoder::new(Side::Client));
        let mut inflater = line.inflater.take();
        loop {
            let next = match &mut inflater {
                Some(inflater) => {
                    decoder.next_inflated(&mut input, SERVER_MESSAGE_BYTES_MAX, inflater)
                }
                None => decoder.next(&mut input, SERVER_MESSAGE_BYTES_MAX),
            };
            match next {
                Ok(None) => break,
                Ok(Some(Message::Text(text))) => {
                    let text = text.to_owned();
                    for object in text.split('\n') {
                        self.object(&mut line, object, hearing);
                    }
                }
                Ok(Some(Message::Close { code, .. })) => {
                    line.ended = true;
                    let fair = FAIR_CLOSES.iter().any(|fair| Some(fair.number()) == code);
                    if !fair || !input.is_empty() {
                        let rest = input.rest().len();
                        let user = &self.user;
                        hearing.model.fault(|| format!("{user}: {code:?}, {rest} bytes behind"));
                    }
                    break;
                }
                Ok(Some(other)) => hearing.model.fault(|| format!("heard {other:?}")),
                Err(violation) => {
                    hearing.model.fault(|| format!("{}: {violation:?}", self.user));
                    break;
                }
            }
        }
        line.decoder = decoder;
        line.inflater = inflater;
        self.line = Some(line);
    }

    fn object(&mut self, line: &mut Line, text: &str, hearing: &mut Hearing<'_>) {
        let news_are_whole = hearing.news_are_whole;
        let user = self.user.clone();
        let number = self.number;
        hearing.trace.tell(|| format!("        client {number} hears {text}"));
        match heard::read(text) {
            Ok(Heard::Ok(answer)) => self.ok(line, &answer, text, hearing),
            Ok(Heard::Err(refused)) => self.err(line, &refused, hearing),
            Ok(Heard::Event(event)) => {
                let (stream, ear) = line.stream(&user, &event.room, news_are_whole);
                stream.event(event.seq, text, ear, hearing.model);
                self.event(&event, text, hearing.model);
            }
            Ok(Heard::Lag { room }) => {
                let (stream, ear) = line.stream(&user, &room, news_are_whole);
                stream.lagged(ear, hearing.model);
                self.place(&room).follow.lag(hearing.now_ms);
            }
            Ok(Heard::Drop { room, code }) => {
                let (stream, ear) = line.stream(&user, &room, news_are_whole);
                stream.dropped(&code, ear, hearing.model);
                self.place(&room).follow.dropped(code == "reset");
            }
            Ok(Heard::Ping) => line.mention(r#"{"t":"pong"}"#.to_owned()),
            Ok(Heard::AuthDue { .. }) => {
                let rest = format!(r#","token":"{}""#, self.token(hearing.wall_ms));
                line.ask("auth", &rest, Asked::Auth(self.grants.clone()));
            }
            Ok(Heard::Bye { retry_ms, .. }) => {
                self.back_ms = hearing.now_ms + retry_ms.unwrap_or(0);
            }
            Ok(Heard::Signal { .. } | Heard::Opaque { .. } | Heard::Unknown) => {}
            Err(error) => hearing.model.fault(|| format!("{error}: {text}")),
        }
    }

    fn event(&mut self, event: &Event<'_>, text: &str, model: &mut Model) {
        let user = self.user.clone();
        let place = self.place(&event.room);
        if !place.follow.event(event.seq) {
            return;
        }
        let next = place.handed.map(|(epoch, seq)| (epoch, seq + 1));
        place.handed = next;
        if let (Some(d), "msg") = (event.d, &*event.k) {
            place.heard.push(d.to_owned());
        }
        let right = next.is_some_and(|(epoch, seq)| {
            seq == event.seq && model.line(&event.room, epoch, seq) == Some(text)
        });
        if !right {
            model.fault(|| format!("{user}: handed over {text} as {next:?}"));
        }
    }

    fn ok(&mut self, line: &mut Line, answer: &Answer<'_>, text: &str, hearing: &mut Hearing<'_>) {
        let Some((id, asked)) = line.answered(answer.id) else {
            return hearing.model.fault(|| format!("{}: nothing asked for {text}", self.user));
        };
        let done = match &asked {
            Asked::Hello(rooms) => self.welcome(line, rooms, answer, hearing),
            Asked::Sub { room, from, jump } => answer
                .attached()
                .map(|attached| self.subbed(line, room, *from, *jump, &attached, hearing)),
            Asked::Unsub { room } => {
                line.streams.entry(room.clone()).or_default().closed();
                self.place(room).follow.unsubbed();
                Ok(())
            }
            Asked::Send { room } => answer.stored().map(|stored| {
                let user = self.user.clone();
                let place = self.place(room);
                if let Some(message) = place.outbox.ok(id) {
                    hearing.model.acked(&user, room, &message, &stored);
                    place.said.push(message.cid);
                }
            }),
            Asked::Log { room, after } => {
                self.logged(room, *after, text, hearing);
                Ok(())
            }
            Asked::Heads => answer.heads().map(|heads| {
                for (name, place) in &mut self.rooms {
                    let head = heads.as_ref().and_then(|heads| heads.get(name)).copied();
                    place.follow.head(head);
                }
            }),
            Asked::Auth(grants) => {
                line.renewed(grants.clone(), &self.user, hearing);
                Ok(())
            }
            Asked::Other => Ok(()),
        };
        if let Err(error) = done {
            hearing.model.fault(|| format!("{}: {error}: {text}", self.user));
        }
    }

    fn welcome(
        &mut self,
        line: &mut Line,
        rooms: &BTreeMap<String, Option<Position>>,
        answer: &Answer<'_>,
        hearing: &mut Hearing<'_>,
    ) -> Result<(), heard::Unreadable> {
        let welcome = answer.welcome()?;
        line.greeted = true;
        self.session = Some(welcome.session.to_string());
        for (room, from) in rooms {
            match welcome.rooms.get(room) {
                Some(Ok(attached)) => self.subbed(line, room, *from, None, attached, hearing),
                Some(Err(denied)) => {
                    self.place(room).follow.refused(denied.retry_ms, hearing.now_ms);
                }
                None => hearing.model.fault(|| format!("{room} is not in the answer to hello")),
            }
        }
        Ok(())
    }

    fn subbed(
        &mut self,
        line: &mut Line,
        room: &str,
        from: Option<Position>,
        jump: Option<u64>,
        answer: &Attached,
        hearing: &mut Hearing<'_>,
    ) {
        let user = self.user.clone();
        let (stream, ear) = line.stream(&user, room, hearing.news_are_whole);
        stream.opened(answer, ear, hearing.model);
        let jump = jump.unwrap_or(hearing.jump).min(hearing.jump_max);
        if let Some(why) = unfair(from, jump, answer) {
            hearing.model.fault(|| format!("{user} {room}: {why}: {from:?} {jump} {answer:?}"));
        }
        let place = self.place(room);
        let before = place.follow.position();
        let continuity = place.follow.subbed(answer);
        match (continuity, before) {
            (Continuity::Unbroken, Some(_)) => {}
            (Continuity::Hole { .. }, _) => place.handed = Some((answer.epoch, answer.base)),
            (Continuity::Unbroken, None) | (Continuity::Reset, _) => {
                place.handed = Some((answer.epoch, answer.base));
                place.heard.clear();
            }
        }
    }

    /// A range of the log, read on demand.
    fn logged(&self, room: &str, after: Seq, text: &str, hearing: &mut Hearing<'_>) {
        let user = &self.user;
        let part = |from: &str, to: char| {
            let (_, behind) = text.split_once(from)?;
            Some(behind.split(to).next()?.to_owned())
        };
        let epoch = part(r#""epoch":""#, '"').and_then(|text| Epoch::parse(&text).ok());
        let head = text.rsplit_once(r#""head":"#).map(|(_, behind)| behind);
        let head = head.and_then(|head| head.split(',').next()?.parse::<Seq>().ok());
        let (Some(epoch), Some(head)) = (epoch, head) else {
            return hearing.model.fault(|| format!("{user}: no answer to log: {text}"));
        };
        if !hearing.model.may_read(user, room, epoch, head) {
            hearing.model.fault(|| format!("{user} {room}: may not read {text}"));
        }
        let events = text.split_once(r#""evs":["#).map_or("", |(_, behind)| behind);
        let mut rest = events;
        let mut seq = after;
        while rest.starts_with('{') {
            seq += 1;
            let line = hearing.model.line(room, epoch, seq).unwrap_or("nothing");
            let Some(behind) = rest.strip_prefix(line) else {
                return hearing.model.fault(|| format!("{user} {room}: {seq} is not in {text}"));
            };
            rest = behind.strip_prefix(',').unwrap_or(behind);
        }
    }

    fn err(&mut self, line: &mut Line, refused: &Refused<'_>, hearing: &mut Hearing<'_>) {
        let Some((id, asked)) = line.answered(refused.id) else {
            return hearing.model.fault(|| format!("{}: nothing asked: {refused:?}", self.user));
        };
        if refused.code == "bad_request" || refused.code == "internal" {
            // `re` may speak of an event that a crash or a race has left out.
            let fair = matches!(asked, Asked::Send { .. });
            if !fair {
                hearing.model.fault(|| format!("{}: {asked:?}: {refused:?}", self.user));
            }
        }
        match asked {
            Asked::Sub { room, .. } => {
                line.streams.entry(room.clone()).or_default().closed();
                self.place(&room).follow.refused(refused.retry_ms, hearing.now_ms);
            }
            Asked::Unsub { room } => self.place(&room).follow.unsubbed(),
            Asked::Send { room } => {
                self.place(&room).outbox.refused(id, refused.retry_ms, hearing.now_ms);
            }
            Asked::Hello(_) | Asked::Log { .. } | Asked::Heads => {}
            Asked::Auth(_) | Asked::Other => {}
        }
    }
}

impl Line {
    fn answered(&mut self, id: Option<CommandId>) -> Option<(CommandId, Asked)> {
        let id = id?;
        Some((id, self.asked.remove(&id)?))
    }

    /// What the connection hears of a room, and by what right.
    fn stream<'a>(
        &'a mut self,
        user: &'a str,
        room: &'a str,
        news_are_whole: bool,
    ) -> (&'a mut Stream, Ear<'a>) {
        let granted = self.grants.iter().any(|(granted, _)| granted == room);
        let lost = self.lost.contains(room);
        let ear = Ear { user, room, news_are_whole, granted, lost };
        (self.streams.entry(room.to_owned()).or_default(), ear)
    }

    /// The server has taken a newer token.
    fn renewed(&mut self, grants: Vec<(String, Role)>, user: &str, hearing: &mut Hearing<'_>) {
        let old = std::mem::replace(&mut self.grants, grants);
        let rooms: Vec<String> = self.streams.keys().cloned().collect();
        for room in rooms {
            let was_granted = old.iter().any(|(granted, _)| *granted == room);
            let (stream, ear) = self.stream(user, &room, hearing.news_are_whole);
            let is_lost = was_granted && !ear.granted;
            stream.renewed(is_lost, ear, hearing.model);
            if is_lost {
                self.lost.insert(room);
            }
        }
    }
}

/// What of an answer is not what the protocol's §5 says for that position.
fn unfair(from: Option<Position>, jump: u64, answer: &Attached) -> Option<&'static str> {
    let Attached { epoch, base, head, first, reset, hole, .. } = *answer;
    let Some(from) = from else {
        return (reset || hole || base != head).then_some("without a position");
    };
    if from.epoch != epoch || from.seq > head {
        return (!reset || base != head).then_some("another life");
    }
    let trimmed = from.seq + 1 < first;
    let missed = trimmed || head - from.seq > jump;
    let right = match (reset, hole) {
        (true, _) => false,
        (false, false) => !missed && base == from.seq,
        (false, true) if trimmed && head + 1 - first <= jump => base == first - 1,
        (false, true) => missed && base == head,
    };
    (!right).then_some("the same life")
}
