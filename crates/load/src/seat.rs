//! Seat: one client of the crowd without its socket: words in, words out.
//!
//! Never: touches the network or a clock; believes an event that is not the next one.

use tertulia_protocol::Seq;
use tertulia_protocol::command::{CommandId, Position};
use tertulia_protocol::follow::{Continuity, Follow, Say};
use tertulia_protocol::heard::{self, Answer, Event, Heard, Refused};
use tertulia_protocol::line::Line;
use tertulia_protocol::reply::Attached;

use crate::clock::MS_NS;
use crate::journal::{ClientIndex, Journal, Name};
use crate::latency::Latency;
use crate::outbox::Outbox;

/// Bytes of a message's body, as far as the numbers in it leave room for padding.
const BODY_BYTES: usize = 64;

/// The most a `sub` may catch up: a client of this crowd wants everything, however long it was away.
const JUMP: u64 = 100_000;

/// Where a seat writes down what it hears.
pub(crate) struct Book<'a> {
    pub(crate) journal: &'a mut Journal,
    pub(crate) latency: &'a mut Latency,
    pub(crate) now_ns: u64,
}

impl Book<'_> {
    fn now_ms(&self) -> u64 {
        self.now_ns / MS_NS
    }
}

/// One client as the protocol sees it.
pub(crate) struct Seat {
    pub(crate) client: ClientIndex,
    room: Box<str>,
    token: Box<str>,
    session: Option<Box<str>>,
    follow: Follow,
    outbox: Outbox,
    /// The id of the latest command of this connection.
    id: CommandId,
    hello: Option<CommandId>,
    sub: Option<CommandId>,
    welcomed: bool,
    /// The server asked whether anyone is there.
    pinged: bool,
    /// `bye` came on this connection: its code and when to come back.
    pub(crate) bye: Option<(u64, Option<u64>)>,
    /// The latest refusal, for a person.
    pub(crate) last_err: Option<Box<str>>,
    /// Commands that were answered with patience.
    pub(crate) retries: u64,
    /// Times the room was detached because its events did not drain.
    pub(crate) lags: u64,
    /// Replies that broke the client's copy of the room.
    pub(crate) breaks: u64,
    /// Whether its deliveries count as latencies.
    pub(crate) timed: bool,
}

impl Seat {
    pub(crate) fn new(client: ClientIndex, room: &str, token: &str) -> Seat {
        let mut follow = Follow::from(None);
        follow.open();
        Seat {
            client,
            room: room.into(),
            token: token.into(),
            session: None,
            follow,
            outbox: Outbox::new(),
            id: 0,
            hello: None,
            sub: None,
            welcomed: false,
            pinged: false,
            bye: None,
            last_err: None,
            retries: 0,
            lags: 0,
            breaks: 0,
            timed: true,
        }
    }

    /// Whether it is in its room and hears what happens there.
    pub(crate) fn is_live(&self) -> bool {
        self.welcomed && self.follow.is_attached()
    }

    /// The last event it handed over.
    pub(crate) fn last(&self) -> u64 {
        self.follow.last()
    }

    /// The connection is gone.
    pub(crate) fn cut(&mut self) {
        self.follow.cut();
        self.outbox.cut();
        self.id = 0;
        self.hello = None;
        self.sub = None;
        self.welcomed = false;
        self.pinged = false;
        self.bye = None;
    }

    /// The first words of a connection.
    pub(crate) fn greet(&mut self, now_ms: u64, out: &mut Vec<u8>) {
        let id = self.next_id();
        self.hello = Some(id);
        let sub = self.follow.say(now_ms);
        Line::of(out, "hello")
            .number("id", u64::from(id))
            .word("token", &self.token)
            .word("agent", "tertulia-load")
            .maybe_word("session", self.session.as_deref())
            .put("rooms", |out| {
                out.push(b'[');
                if let Some(Say::Sub(from)) = sub {
                    let entry = match from {
                        None => format!(r#"["{}"]"#, self.room),
                        Some(from) => format!(
                            r#"["{}","{}",{},{{"jump":{JUMP}}}]"#,
                            self.room, from.epoch, from.seq
                        ),
                    };
                    out.extend_from_slice(entry.as_bytes());
                }
                out.push(b']');
            })
            .raw("want", b"[]")
            .end();
    }

    /// A message is to be sent.
    pub(crate) fn wants(&mut self, i: u32) {
        self.outbox.push(i);
    }

    /// The next object to say, if there is one; ask again until there is none.
    pub(crate) fn say(&mut self, journal: &Journal, now_ms: u64, out: &mut Vec<u8>) -> bool {
        if std::mem::take(&mut self.pinged) {
            Line::of(out, "pong").end();
            return true;
        }
        if !self.welcomed {
            return false;
        }
        if let Some(Say::Sub(from)) = self.follow.say(now_ms) {
            self.say_sub(from, out);
            return true;
        }
        let Some(next) = self.outbox.say(self.id + 1, now_ms) else { return false };
        let id = self.next_id();
        let name = Name { from: self.client, i: next.i };
        let at_ns = journal.message(name).map_or(0, |message| message.at_ns);
        let line = Line::of(out, "send")
            .number("id", u64::from(id))
            .word("room", &self.room)
            .put("cid", |out| put_cid(out, name));
        let line = match next.prev {
            Some(i) => line.put("prev", |out| put_cid(out, Name { i, ..name })),
            None => line,
        };
        line.put("d", |out| put_body(out, name, at_ns)).end();
        true
    }

    fn say_sub(&mut self, from: Option<Position>, out: &mut Vec<u8>) {
        let id = self.next_id();
        self.sub = Some(id);
        let line = Line::of(out, "sub").number("id", u64::from(id)).word("room", &self.room);
        match from {
            None => line,
            Some(from) => {
                line.word("epoch", from.epoch.as_str()).number("seq", from.seq).number("jump", JUMP)
            }
        }
        .end();
    }

    /// When [`Seat::say`] has something to say though nothing more is heard.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        if !self.welcomed {
            return None;
        }
        [self.follow.due_ms(), self.outbox.due_ms()].into_iter().flatten().min()
    }

    fn next_id(&mut self) -> CommandId {
        self.id += 1;
        self.id
    }

    /// A message of the server's came: one or more objects.
    ///
    /// Errors: what no server says, in words.
    pub(crate) fn hear(&mut self, text: &str, book: &mut Book<'_>) -> Result<(), String> {
        for object in text.split('\n') {
            heard::read(object)
                .and_then(|heard| self.hear_one(heard, book))
                .map_err(|why| format!("{why} in {object}"))?;
        }
        Ok(())
    }

    fn hear_one(&mut self, heard: Heard<'_>, book: &mut Book<'_>) -> Result<(), heard::Unreadable> {
        match heard {
            Heard::Event(event) => self.hear_event(&event, book),
            Heard::Opaque { room, seq } => {
                if self.takes(&room, seq, book) {
                    book.journal.stranger();
                }
            }
            Heard::Ok(answer) => self.hear_ok(&answer, book)?,
            Heard::Err(refused) => self.hear_err(&refused, book),
            Heard::Ping => self.pinged = true,
            Heard::Lag { room } if *room == *self.room => {
                self.lags += 1;
                self.follow.lag(book.now_ms());
                book.journal.detached(self.client);
            }
            Heard::Drop { room, code } if *room == *self.room => {
                self.last_err = Some(format!("drop {code}").into());
                self.follow.dropped(code == "reset");
                book.journal.detached(self.client);
            }
            Heard::Bye { code, retry_ms } => self.bye = Some((code, retry_ms)),
            Heard::Lag { .. }
            | Heard::Drop { .. }
            | Heard::Signal { .. }
            | Heard::AuthDue { .. }
            | Heard::Unknown => {}
        }
        Ok(())
    }

    /// Whether an event is the next one of our room.
    fn takes(&mut self, room: &str, seq: Seq, book: &mut Book<'_>) -> bool {
        if *room == *self.room {
            book.journal.heard(self.client, seq);
            return self.follow.event(seq);
        }
        // Our inbox is ours; any other room is not.
        if room != "~" {
            book.journal.crossed(self.client, room);
        }
        false
    }

    fn hear_event(&mut self, event: &Event<'_>, book: &mut Book<'_>) {
        if !self.takes(&event.room, event.seq, book) || event.k != "msg" {
            return;
        }
        let Some(name) = event.cid.as_deref().and_then(read_cid) else {
            book.journal.stranger();
            return;
        };
        let Some(at_ns) = book.journal.handed(self.client, name, event.seq) else { return };
        if event.d.and_then(read_body) != Some((at_ns, name)) {
            book.journal.altered(self.client, name);
        }
        if self.timed {
            book.latency.delivered(at_ns, book.now_ns);
        }
    }

    fn hear_ok(
        &mut self,
        answer: &Answer<'_>,
        book: &mut Book<'_>,
    ) -> Result<(), heard::Unreadable> {
        if answer.id.is_none() {
            return Ok(());
        }
        if answer.id == self.sub {
            self.sub = None;
            let attached = answer.attached()?;
            self.subbed(&attached, book);
        } else if answer.id == self.hello {
            self.hello = None;
            self.welcomed = true;
            let mut welcome = answer.welcome()?;
            self.session = Some((*welcome.session).into());
            self.outbox.allow(welcome.inflight);
            match welcome.rooms.remove(&*self.room) {
                Some(Ok(attached)) => self.subbed(&attached, book),
                Some(Err(denied)) => {
                    self.last_err = Some(denied.code.into());
                    self.follow.refused(denied.retry_ms, book.now_ms());
                }
                None => {}
            }
        } else if let Some(i) = answer.id.and_then(|id| self.outbox.ok(id)) {
            let stored = answer.stored()?;
            let name = Name { from: self.client, i };
            if let Some(at_ns) = book.journal.acked(name, stored.seq) {
                book.latency.acked(at_ns, book.now_ns);
            }
        }
        Ok(())
    }

    fn subbed(&mut self, attached: &Attached, book: &mut Book<'_>) {
        if self.follow.subbed(attached) != Continuity::Unbroken {
            self.breaks += 1;
        }
        book.journal.attached(self.client, attached.base);
    }

    fn hear_err(&mut self, refused: &Refused<'_>, book: &mut Book<'_>) {
        let Refused { code, msg, retry_ms, .. } = refused;
        self.last_err = Some(format!("{code}: {msg}").into());
        self.retries += u64::from(retry_ms.is_some());
        let Some(id) = refused.id else { return };
        if self.sub == Some(id) {
            self.sub = None;
            self.follow.refused(*retry_ms, book.now_ms());
            book.journal.detached(self.client);
        } else if let Some((i, true)) = self.outbox.refused(id, *retry_ms, book.now_ms()) {
            book.journal.refused(Name { from: self.client, i });
        }
    }
}

/// `"c17-512"`: the message 512 of client 17.
fn put_cid(out: &mut Vec<u8>, name: Name) {
    out.extend_from_slice(format!("\"c{}-{}\"", name.from, name.i).as_bytes());
}

fn read_cid(cid: &str) -> Option<Name> {
    let (from, i) = cid.strip_prefix('c')?.split_once('-')?;
    Some(Name { from: from.parse().ok()?, i: i.parse().ok()? })
}

/// The body of a message: the same bytes whenever it is said again.
fn put_body(out: &mut Vec<u8>, name: Name, at_ns: u64) {
    let Name { from, i } = name;
    let start = out.len();
    out.extend_from_slice(format!(r#"{{"at":{at_ns},"from":{from},"i":{i},"pad":""#).as_bytes());
    let end = start + BODY_BYTES - r#""}"#.len();
    out.resize(out.len().max(end), b'.');
    out.extend_from_slice(br#""}"#);
}

fn read_body(d: &str) -> Option<(u64, Name)> {
    let (at_ns, rest) = d.strip_prefix(r#"{"at":"#)?.split_once(',')?;
    let (from, rest) = rest.strip_prefix(r#""from":"#)?.split_once(',')?;
    let (i, _) = rest.strip_prefix(r#""i":"#)?.split_once(',')?;
    let name = Name { from: from.parse().ok()?, i: i.parse().ok()? };
    Some((at_ns.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = r#"{"t":"ok","id":1,"user":"u","session":"s","now":1,"ping_s":25,"limits":{"inflight":64},"rooms":{"r":{"epoch":"e","base":2,"upto":2,"head":2,"first":1,"n":0,"role":"member"}}}"#;

    struct Table {
        seat: Seat,
        journal: Journal,
        latency: Latency,
    }

    impl Table {
        fn laid() -> Table {
            let mut table = Table {
                seat: Seat::new(0, "r", "tk"),
                journal: Journal::new(&[0, 0]),
                latency: Latency::new(),
            };
            let mut hello = Vec::new();
            table.seat.greet(0, &mut hello);
            let hello = String::from_utf8(hello).unwrap();
            assert!(hello.contains(r#""rooms":[["r"]]"#), "{hello}");
            table.hears(OK);
            assert!(table.seat.is_live());
            table
        }

        fn hears(&mut self, text: &str) {
            let Table { seat, journal, latency } = self;
            seat.hear(text, &mut Book { journal, latency, now_ns: 5_000_000 }).unwrap();
        }

        fn says(&mut self) -> Vec<String> {
            let mut said = Vec::new();
            let mut out = Vec::new();
            while self.seat.say(&self.journal, 5, &mut out) {
                said.push(String::from_utf8(std::mem::take(&mut out)).unwrap());
            }
            said
        }

        fn sends(&mut self) -> String {
            let i = self.journal.sent(0, 1_000_000);
            self.seat.wants(i);
            self.says().remove(0)
        }
    }

    /// The event that a server makes of a send.
    fn event(send: &str, seq: u64) -> String {
        let (_, rest) = send.split_once(r#""cid":"#).unwrap();
        format!(r#"{{"t":"ev","room":"r","seq":{seq},"ts":1,"by":"u","k":"msg","n":1,"cid":{rest}"#)
    }

    #[test]
    fn what_is_sent_comes_back_as_it_was() {
        let mut table = Table::laid();
        let send = table.sends();
        let body = send.split_once(r#""d":"#).unwrap().1;
        assert_eq!(body.len(), BODY_BYTES + 1, "{send}");
        table.hears(&event(&send, 3));
        table.hears(r#"{"t":"ok","id":2,"epoch":"e","seq":3,"n":1,"ts":1}"#);
        assert_eq!((table.journal.handed, table.journal.acked), (1, 1));
        assert_eq!(table.journal.faults.told(), []);
        assert_eq!(table.latency.delivery().count, 1);
    }

    #[test]
    fn another_body_another_room_and_a_stranger_are_noticed() {
        let mut table = Table::laid();
        let send = table.sends();
        table.hears(&event(&send.replace("1000000", "1000001"), 3));
        table.hears(&event(&send, 1).replace(r#""room":"r""#, r#""room":"r2""#));
        table.hears(&event(&send.replace("c0-0", "c0-9"), 4));
        assert_eq!(table.journal.faults.told().len(), 2);
        assert_eq!(table.journal.strange, 1);
    }

    #[test]
    fn a_gap_is_asked_for_and_a_ping_answered() {
        let mut table = Table::laid();
        let send = table.sends();
        table.hears(&event(&send, 4));
        table.hears(r#"{"t":"ping"}"#);
        assert_eq!(
            table.says(),
            [
                r#"{"t":"pong"}"#,
                r#"{"t":"sub","id":3,"room":"r","epoch":"e","seq":2,"jump":100000}"#
            ]
        );
    }

    #[test]
    fn after_a_cut_the_hello_resumes_and_the_send_is_repeated() {
        let mut table = Table::laid();
        let send = table.sends();
        table.hears(&event(&send, 3));
        table.seat.cut();
        let mut hello = Vec::new();
        table.seat.greet(9, &mut hello);
        let hello = String::from_utf8(hello).unwrap();
        assert!(
            hello.contains(r#""session":"s","rooms":[["r","e",3,{"jump":100000}]]"#),
            "{hello}"
        );
        assert_eq!(table.says(), [""; 0], "nothing before the welcome");
        table.hears(OK);
        assert_eq!(table.says(), [send]);
    }
}
