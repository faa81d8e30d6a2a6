//! Session: what one client says, and what comes of it. (2 decode, 3 authorise, 4 submit)
//!
//! Everything a client can cause starts in `run`. Commands of a connection are dealt with one after the
//! other; one that has to wait holds up those behind it, and the socket is not read meanwhile.

use std::sync::Arc;
use tertulia_protocol::command::{self, Command, CommandId, Log, RoomOp, Said, Send, Sub};
use tertulia_protocol::frame::{Decoder, Input as Bytes, Message, Side, Violation};
use tertulia_protocol::limits::{
    HELLO_BYTES_MAX, OBJECTS_PER_MESSAGE_MAX, REPLAY_BYTES_MAX, SIGNAL_BYTES_MAX,
    UNREADABLE_MESSAGES_MAX,
};
use tertulia_protocol::reply::{self, LogOk, RoomShown};
use tertulia_protocol::{Close, Code, RoomId};
use tertulia_store::Range;

use super::attach::Seen;
use super::connection::{Parked, State, Waits, WaitsFor};
use super::hand::Hand;
use super::inbox::{Ack, Signal};
use super::{Ports, Shard};
use crate::counters::Verb;
use crate::draft::{Address, Author, Done, Draft, Reply, Say, Wish};
use crate::lookup::{Answer, Lookup, Question};
use crate::permission::{self, Action};
use crate::refusal::Refusal;

/// Refusals for speed in a row after which a client does not mean well.
const TOO_FAST_MAX: u32 = 200;

/// What became of a command that was run.
pub(super) enum Flow {
    /// It was answered, or will be.
    Done,
    /// The connection is told to go.
    Gone,
    /// This has to be known first.
    Ask(Question),
    /// Someone else will say when it can go on.
    Wait,
    /// The client has to read first what was said.
    Drain,
}

impl Shard {
    /// Bytes of a connection's socket. (1 receive)
    pub fn received(&mut self, from: Address, bytes: &mut [u8], ports: &mut impl Ports) {
        if !self.is_current(from) {
            return;
        }
        let connection = &mut self.connections[from.place as usize];
        connection.heard = self.tick;
        match &mut connection.parked {
            Some(parked) => parked.input.extend_from_slice(bytes),
            None => self.take_in(from, bytes, ports),
        }
    }

    /// Whether the connection's socket should be read: not while something read before has to wait.
    pub fn reads(&self, from: Address) -> bool {
        self.is_current(from) && self.connections[from.place as usize].parked.is_none()
    }

    fn take_in(&mut self, from: Address, bytes: &mut [u8], ports: &mut impl Ports) {
        let place = from.place as usize;
        let fresh = Decoder::new(Side::Server);
        let mut decoder = std::mem::replace(&mut self.connections[place].decoder, fresh);
        let mut input = Bytes::new(bytes);
        loop {
            let bytes_max = match self.connections[place].state {
                State::Greeting(_) => HELLO_BYTES_MAX,
                State::Live => self.limits.frame_bytes,
                State::Closing(..) => return,
            };
            match decoder.next(&mut input, bytes_max) {
                Ok(None) => break,
                Ok(Some(message)) => self.message(from.place, message, ports),
                Err(violation) => self.violated(from.place, &violation),
            }
            // The message may have ended its connection, or may have to wait.
            if !self.is_current(from) {
                return;
            }
            if let Some(parked) = &mut self.connections[place].parked {
                parked.input.extend_from_slice(input.rest());
                break;
            }
        }
        self.connections[place].decoder = decoder;
    }

    fn violated(&mut self, place: u32, violation: &Violation) {
        let number = violation.close_code();
        let known = Close::ALL.iter().find(|close| close.number() == number);
        self.close(place, known.copied().unwrap_or(Close::Protocol), None);
    }

    fn message(&mut self, place: u32, message: Message<'_>, ports: &mut impl Ports) {
        match message {
            Message::Text(text) => {
                let took = ports.now_ns().saturating_sub(self.read_ns);
                self.counters.verb(Verb::Receive).observe(took, 1);
                self.text(place, text, ports);
            }
            Message::Binary(bytes) => {
                self.violated(place, &Violation::Binary { bytes: bytes.len() });
            }
            Message::Ping(payload) => self.pong_frame(place, payload),
            Message::Pong(_) => {}
            Message::Close { .. } => self.close(place, Close::Normal, None),
        }
    }

    /// The objects of one message.
    fn text(&mut self, place: u32, text: &str, ports: &mut impl Ports) {
        let lines = || text.split('\n').filter(|line| !line.is_empty());
        if lines().count() > OBJECTS_PER_MESSAGE_MAX {
            let why = format!("a message holds at most {OBJECTS_PER_MESSAGE_MAX} objects");
            return self.refuse(place, None, &Refusal::BadRequest(why));
        }
        if self.lines(place, text, ports) {
            self.connections[place as usize].unreadable = 0;
        } else if let Some(connection) = self.connections.get_mut(place as usize) {
            connection.unreadable += 1;
            if connection.unreadable >= UNREADABLE_MESSAGES_MAX {
                self.close(place, Close::NotThisProtocol, None);
            }
        }
    }

    /// Deals with one line after the other, until one has to wait. True if one of them was an object.
    fn lines(&mut self, place: u32, text: &str, ports: &mut impl Ports) -> bool {
        let mut any_object = false;
        let mut rest = text;
        while !rest.is_empty() {
            let (line, behind) = rest.split_once('\n').unwrap_or((rest, ""));
            rest = behind;
            if line.is_empty() {
                continue;
            }
            let started_ns = ports.now_ns();
            let read = command::read(line);
            let took = ports.now_ns().saturating_sub(started_ns);
            self.counters.verb(Verb::Decode).observe(took, 1);
            match read {
                Ok(said) => {
                    any_object = true;
                    self.begin(place, said, ports);
                }
                Err(rejected) => {
                    any_object |= rejected.object;
                    self.rejected(place, rejected);
                }
            }
            let connection = &mut self.connections[place as usize];
            if matches!(connection.state, State::Closing(..)) {
                return true;
            }
            if let Some(parked) = &mut connection.parked {
                parked.lines.push_str(rest);
                return true;
            }
        }
        any_object
    }

    fn rejected(&mut self, place: u32, rejected: command::Rejected) {
        self.counters.refused(rejected.code);
        self.reply(place, |out| {
            reply::put_err(out, rejected.id, rejected.code, &rejected.msg, None);
        });
        let greeting = matches!(self.connections[place as usize].state, State::Greeting(_));
        if greeting && rejected.object {
            self.close(place, Close::NotThisProtocol, None);
        }
    }

    /// Lets a command in, if it may come in at all.
    fn begin(&mut self, place: u32, said: Said, ports: &mut impl Ports) {
        let connection = &mut self.connections[place as usize];
        let is_hello = matches!(said.command, Command::Hello(_));
        if matches!(connection.state, State::Greeting(_)) != is_hello {
            let why = if is_hello { "t: hello was said before" } else { "t: say hello first" };
            self.refuse(place, said.id, &Refusal::BadRequest(why.into()));
            if !is_hello {
                self.close(place, Close::NotThisProtocol, None);
            }
            return;
        }
        if said.id.is_some_and(|id| connection.open.contains(&id)) {
            let why = "id is in use until its command is answered".into();
            return self.refuse(place, None, &Refusal::BadRequest(why));
        }
        if let Err(refusal) = self.may_command(place, &said) {
            if let Command::Sub(Sub { room, .. }) = &said.command
                && let Some(room) = self.rooms_by_id.get(room).copied()
            {
                // A refused `sub` leaves the room detached, whatever the reason.
                self.detach(place, room);
            }
            self.refuse(place, said.id, &refusal);
            let who = self.connections[place as usize].who.as_ref();
            if who.is_some_and(|who| who.too_fast > TOO_FAST_MAX) {
                self.close(place, Close::Rate, None);
            }
            return;
        }
        self.run(place, said, Hand::default(), ports.now_ns(), ports);
    }

    fn may_command(&mut self, place: u32, said: &Said) -> Result<(), Refusal> {
        let limits = &self.limits;
        let connection = &mut self.connections[place as usize];
        let limit = limits.inflight;
        if said.id.is_some() && connection.open.len() >= limit {
            return Err(Refusal::Inflight { limit });
        }
        let Some(who) = &mut connection.who else { return Ok(()) };
        if self.draining && !matches!(said.command, Command::Pong | Command::Ping { .. }) {
            return Err(Refusal::Unavailable("the server hands over, reconnect"));
        }
        if matches!(said.command, Command::Send(_) | Command::Pong) {
            return Ok(());
        }
        let (rate, burst) = (limits.command_per_second, limits.command_burst);
        match who.commands.take(self.now_ns, rate, burst) {
            Ok(()) => {
                who.too_fast = 0;
                Ok(())
            }
            Err(retry_ms) => {
                who.too_fast += 1;
                Err(Refusal::RateLimited { retry_ms })
            }
        }
    }

    /// Runs a command from its start, with what is in hand; parks it if that is not enough.
    fn run(
        &mut self,
        place: u32,
        said: Said,
        mut hand: Hand,
        since_ns: u64,
        ports: &mut impl Ports,
    ) {
        let id = said.id.unwrap_or(0);
        let flow = match &said.command {
            Command::Hello(hello) => self.hello(place, id, hello, &mut hand, ports),
            Command::Auth { token } => self.auth(place, id, token, &mut hand, ports),
            Command::Sub(sub) => self.sub(place, id, sub, &mut hand, since_ns, ports),
            Command::Unsub { room } => self.unsub(place, id, room),
            Command::Send(send) => self.send(place, id, send, ports),
            Command::Typing { room, .. } | Command::Signal { room, .. } => {
                self.transient(place, said.id, room, &said.command, &mut hand, since_ns, ports)
            }
            Command::Log(log) => self.log(place, id, log, &mut hand, since_ns, ports),
            Command::Rooms { after, limit } => {
                self.list_rooms(place, id, after.as_ref(), *limit, &mut hand)
            }
            Command::Room { room, op: RoomOp::Get } => self.get_room(place, id, room, &mut hand),
            Command::Room { room, op } => self.change_room(place, id, room, op, ports),
            Command::Ping { heads } => self.ping(place, said.id, *heads, ports),
            Command::Pong => Flow::Done,
        };
        match flow {
            Flow::Done | Flow::Gone => {}
            Flow::Ask(question) => self.ask(place, said, hand, since_ns, question, ports),
            Flow::Wait => {
                let token = self.connections[place as usize].token;
                self.park(place, said, hand, since_ns, WaitsFor::Answer(token));
            }
            Flow::Drain => self.park(place, said, hand, since_ns, WaitsFor::Drain),
        }
    }

    fn ask(
        &mut self,
        place: u32,
        said: Said,
        mut hand: Hand,
        since_ns: u64,
        question: Question,
        ports: &mut impl Ports,
    ) {
        let token = self.next_token(place);
        let from = self.address(place);
        if let Question::Standings { rooms, .. } = &question {
            rooms.iter().for_each(|room| self.hub.expect(room));
        }
        match ports.look_up(Lookup { shard: self.id, from, token, question }) {
            Ok(()) => self.park(place, said, hand, since_ns, WaitsFor::Answer(token)),
            Err(lookup) => {
                if let Question::Standings { rooms, .. } = &lookup.question {
                    rooms.iter().for_each(|room| self.hub.learn(room, None));
                }
                hand.failed = true;
                self.run(place, said, hand, since_ns, ports);
            }
        }
    }

    fn park(&mut self, place: u32, said: Said, hand: Hand, since_ns: u64, waits_for: WaitsFor) {
        let parked =
            Parked { said, hand, waits_for, since_ns, lines: String::new(), input: Vec::new() };
        self.connections[place as usize].parked = Some(Box::new(parked));
    }

    /// Runs the parked command again, and then all that came behind it.
    fn go_on(&mut self, place: u32, answer: impl FnOnce(&mut Hand), ports: &mut impl Ports) {
        let Some(parked) = self.connections[place as usize].parked.take() else { return };
        let from = self.address(place);
        let Parked { said, mut hand, since_ns, lines, mut input, .. } = *parked;
        answer(&mut hand);
        self.run(place, said, hand, since_ns, ports);
        if !self.is_current(from) {
            return;
        }
        match &mut self.connections[place as usize].parked {
            Some(parked) => parked.lines = lines,
            None => {
                self.lines(place, &lines, ports);
            }
        }
        if !self.is_current(from) {
            return;
        }
        match &mut self.connections[place as usize].parked {
            Some(parked) => parked.input = input,
            None => {
                self.take_in(from, &mut input, ports);
                if self.reads(from) {
                    ports.resume(from);
                }
            }
        }
    }

    /// An answer to a lookup is here.
    pub(super) fn answered(
        &mut self,
        to: Address,
        token: u32,
        answer: Answer,
        ports: &mut impl Ports,
    ) {
        let alive = self.is_current(to);
        if let Answer::Standings(known) = &answer {
            for one in known {
                self.hub.learn(&one.id, one.room.as_ref());
                if alive {
                    self.fill(to.place, one);
                }
            }
        }
        if !alive {
            return;
        }
        let connection = &mut self.connections[to.place as usize];
        let waits = connection.parked.as_ref().map(|parked| parked.waits_for);
        if waits == Some(WaitsFor::Answer(token)) {
            return self.go_on(to.place, |hand| hand.take(answer), ports);
        }
        let asked = |a: &super::connection::Attachment| {
            a.behind.as_ref().is_some_and(|behind| behind.waits == Waits::Page(token))
        };
        if let Some(index) = connection.attachments.iter().position(asked) {
            let page = match answer {
                Answer::Pages(pages) => pages.into_iter().next().map(|(_, page)| page),
                _ => None,
            };
            self.page_arrived(to.place, index, page, ports);
        }
    }

    /// Keeps what was found about someone who can see the room. Strangers of a private one are asked for
    /// each time, as those of a room that is not there.
    fn fill(&mut self, place: u32, known: &crate::lookup::Known) {
        let Some(who) = &self.connections[place as usize].who else { return };
        let Some(room) = &known.room else { return };
        let role = permission::role(known.standing, who.grant(&known.id));
        if role.is_some() || room.kind.is_open() {
            let (id, version) = (&known.id, known.version);
            self.cache.fill(id, room.no, &who.user, known.standing, version, self.now_ns);
        }
    }

    /// The other connection of the session is gone.
    pub(super) fn seat_left(&mut self, new: Address, token: u32, ports: &mut impl Ports) {
        if self.is_current(new) {
            let parked = &self.connections[new.place as usize].parked;
            let waits = parked.as_ref().map(|parked| parked.waits_for);
            if waits == Some(WaitsFor::Answer(token)) {
                self.go_on(new.place, |_| (), ports);
            }
        }
    }

    /// Enough has drained for a command that waits for that.
    pub(super) fn drained(&mut self, place: u32, ports: &mut impl Ports) {
        let connection = &self.connections[place as usize];
        let waits = connection.parked.as_ref().map(|parked| parked.waits_for);
        if waits == Some(WaitsFor::Drain) && self.has_space(place) {
            self.go_on(place, |_| (), ports);
        }
    }

    /// Whether a command that says much may start.
    fn has_space(&self, place: u32) -> bool {
        let waiting = self.connections[place as usize].waiting_bytes();
        waiting < self.limits.outbound_bytes / 2
    }

    fn sub(
        &mut self,
        place: u32,
        id: CommandId,
        sub: &Sub,
        hand: &mut Hand,
        since_ns: u64,
        ports: &mut impl Ports,
    ) -> Flow {
        if !self.has_space(place) {
            return Flow::Drain;
        }
        let limit = self.limits.rooms_per_connection;
        let attached = self.rooms_by_id.get(&sub.room).copied();
        let connection = &mut self.connections[place as usize];
        let again = attached.is_some_and(|room| connection.attachment(room).is_some());
        if !again && connection.attachments.len() >= limit {
            self.refuse(place, Some(id), &Refusal::TooManyRooms { limit: limit as u64 });
            return Flow::Done;
        }
        let settled = match self.settle(place, std::slice::from_ref(sub), hand) {
            Ok(mut settled) => settled.pop().expect("one sub, one answer"),
            Err(question) => return Flow::Ask(question),
        };
        self.count_authorised(since_ns, 1, ports);
        match settled {
            Ok(ready) => {
                let attached = ready.attached();
                self.reply(place, |out| attached.put(out, id));
                self.attach(place, &sub.room, ready);
                self.pump(place, ports);
            }
            Err(refusal) => {
                if let Some(room) = attached {
                    self.detach(place, room);
                }
                self.refuse(place, Some(id), &refusal);
            }
        }
        Flow::Done
    }

    fn unsub(&mut self, place: u32, id: CommandId, room: &RoomId) -> Flow {
        if let Some(room) = self.rooms_by_id.get(room).copied() {
            self.detach(place, room);
        }
        self.reply(place, |out| reply::put_ok(out, id));
        Flow::Done
    }

    fn author(&self, place: u32, room: &RoomId) -> Author {
        let connection = &self.connections[place as usize];
        let who = connection.who.as_ref().expect("only someone who said hello gets here");
        Author::User { user: who.user.clone(), grant: connection.grant(room) }
    }

    fn send(&mut self, place: u32, id: CommandId, send: &Send, ports: &mut impl Ports) -> Flow {
        let author = self.author(place, &send.room);
        let user = author.user().expect("a connection acts as a user");
        let (rate, burst) = (self.limits.send_per_second, self.limits.send_burst);
        let limit = self.limits.body_bytes;
        let bytes = send.d.len();
        // A limit may not hide that the same was committed before, so the committer says it.
        let veto = if bytes > limit {
            Some(Refusal::TooLarge { bytes, limit })
        } else {
            let allowed = self.people.may_send(user, self.now_ns, rate, burst);
            allowed.err().map(|retry_ms| Refusal::RateLimited { retry_ms })
        };
        let who = self.connections[place as usize].who.as_mut();
        let who = who.expect("only someone who said hello gets here");
        who.too_fast = if veto.is_some() { who.too_fast + 1 } else { 0 };
        if who.too_fast > TOO_FAST_MAX {
            self.close(place, Close::Rate, None);
            return Flow::Gone;
        }
        let wish = Wish::Say(Say {
            cid: send.cid,
            kind: send.kind.clone(),
            re: send.re,
            thread: send.thread,
            prev: send.prev,
            epoch: send.epoch,
            d: send.d.clone(),
        });
        self.submit(place, id, &send.room, author, wish, veto, ports)
    }

    #[allow(clippy::too_many_arguments, reason = "a draft has that many parts")]
    fn submit(
        &mut self,
        place: u32,
        id: CommandId,
        room: &RoomId,
        author: Author,
        wish: Wish,
        veto: Option<Refusal>,
        ports: &mut impl Ports,
    ) -> Flow {
        let started_ns = ports.now_ns();
        let reply = Reply::Command { shard: self.id, to: self.address(place), id };
        let room = room.clone();
        let draft = Draft { room, author, wish, veto, reply, submitted_ns: started_ns };
        if ports.submit(draft) {
            self.connections[place as usize].open.push(id);
        } else {
            let why = "too much waits to be committed, try again";
            self.refuse(place, Some(id), &Refusal::Unavailable(why));
        }
        let took = ports.now_ns().saturating_sub(started_ns);
        self.counters.verb(Verb::Submit).observe(took, 1);
        Flow::Done
    }

    /// What came of a draft.
    pub(super) fn acked(&mut self, ack: Ack) {
        let Ack { to, id, outcome } = ack;
        if !self.is_current(to) {
            return;
        }
        self.connections[to.place as usize].open.retain(|open| *open != id);
        match outcome {
            Ok(Done::Said(stored)) => self.reply(to.place, |out| stored.put(out, id)),
            Ok(Done::Changed { epoch, seq, dup }) => {
                self.reply(to.place, |out| reply::put_changed_ok(out, id, epoch, seq, dup));
            }
            Err(refusal) => self.refuse(to.place, Some(id), &refusal),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "typing and signal share the way")]
    fn transient(
        &mut self,
        place: u32,
        id: Option<CommandId>,
        room: &RoomId,
        command: &Command,
        hand: &mut Hand,
        since_ns: u64,
        ports: &mut impl Ports,
    ) -> Flow {
        let view = match self.seen(place, room, Action::Send, hand) {
            Ok(Seen::May(view, ..)) => view,
            Ok(Seen::MayNot(refusal)) => {
                self.count_authorised(since_ns, 1, ports);
                self.refuse(place, id, &refusal);
                return Flow::Done;
            }
            Ok(Seen::Ask) => unreachable!("seen asks by itself"),
            Err(question) => return Flow::Ask(question),
        };
        self.count_authorised(since_ns, 1, ports);
        match command {
            Command::Typing { on, .. } => {
                let author = self.author(place, room);
                let user = author.user().expect("a connection acts as a user");
                self.hub.typing(room, user, *on, self.now_ns / 1_000_000);
            }
            Command::Signal { kind, d, .. } if d.len() <= SIGNAL_BYTES_MAX => {
                let signal = Signal::of_application(room, view.no, kind, d.as_str());
                self.hub.signal(room, &Arc::new(signal));
            }
            _ => {
                let bytes = if let Command::Signal { d, .. } = command { d.len() } else { 0 };
                let refusal = Refusal::TooLarge { bytes, limit: SIGNAL_BYTES_MAX };
                self.refuse(place, id, &refusal);
                return Flow::Done;
            }
        }
        if let Some(id) = id {
            self.reply(place, |out| reply::put_ok(out, id));
        }
        Flow::Done
    }

    /// As `authorise`, but knows how to ask. Errors: the question.
    fn seen(
        &mut self,
        place: u32,
        room: &RoomId,
        action: Action,
        hand: &mut Hand,
    ) -> Result<Seen, Question> {
        match self.authorise(place, room, action, hand) {
            Seen::Ask if self.may_ask(hand) => Err(self.standings(place, vec![room.clone()])),
            Seen::Ask => {
                let why = "the database does not answer, try again";
                Ok(Seen::MayNot(Refusal::Unavailable(why)))
            }
            seen => Ok(seen),
        }
    }

    fn log(
        &mut self,
        place: u32,
        id: CommandId,
        log: &Log,
        hand: &mut Hand,
        since_ns: u64,
        ports: &mut impl Ports,
    ) -> Flow {
        if !self.has_space(place) {
            return Flow::Drain;
        }
        let view = match self.seen(place, &log.room, Action::Read, hand) {
            Ok(Seen::May(view, ..)) => Ok(view),
            Ok(Seen::MayNot(refusal)) => Err(refusal),
            Ok(Seen::Ask) => unreachable!("seen asks by itself"),
            Err(question) => return Flow::Ask(question),
        };
        let checked = view.and_then(|view| {
            if log.epoch.is_some_and(|epoch| epoch != view.epoch) {
                return Err(Refusal::Reset);
            }
            if log.after + 1 < view.head.first && log.after < view.head.seq {
                return Err(Refusal::Trimmed { first: view.head.first });
            }
            Ok(view)
        });
        let view = match checked {
            Ok(view) => view,
            Err(refusal) => {
                self.count_authorised(since_ns, 1, ports);
                self.refuse(place, Some(id), &refusal);
                return Flow::Done;
            }
        };
        let head = view.head.seq;
        let last = log.upto.unwrap_or(head).min(head);
        let limit = log.limit.unwrap_or(self.limits.log_limit).min(self.limits.log_limit_max);
        let want = last.min(log.after.saturating_add(limit));
        let page = if want <= log.after {
            None
        } else {
            let tail = self.hub.read(&log.room, view.no, log.after, want, REPLAY_BYTES_MAX);
            let page = tail.or_else(|| hand.page(view.no, log.after).cloned());
            if page.is_none() && !hand.failed {
                return Flow::Ask(Question::Pages(vec![Range {
                    room: view.no,
                    after: log.after,
                    upto: want,
                    limit: limit as u32,
                    bytes_max: REPLAY_BYTES_MAX as u32,
                }]));
            }
            if page.is_none() {
                let why = "the database does not answer, try again";
                self.refuse(place, Some(id), &Refusal::Unavailable(why));
                return Flow::Done;
            }
            page
        };
        self.count_authorised(since_ns, 1, ports);
        let upto = page.as_ref().map_or(want, |page| page.last().min(want));
        let lines = page.as_ref().map(|page| page.lines(log.after, upto).collect::<Vec<_>>());
        let events = lines.unwrap_or_default().join(&b","[..]);
        let more = upto < last;
        let (epoch, first) = (view.epoch, view.head.first);
        self.reply(place, |out| {
            LogOk { epoch, events: &events, head, first, more }.put(out, id);
        });
        Flow::Done
    }

    fn list_rooms(
        &mut self,
        place: u32,
        id: CommandId,
        after: Option<&RoomId>,
        limit: Option<u64>,
        hand: &mut Hand,
    ) -> Flow {
        const LIMIT_MAX: u64 = 200;
        if !self.has_space(place) {
            return Flow::Drain;
        }
        let who = self.connections[place as usize].who.as_ref();
        let who = who.expect("only someone who said hello gets here");
        match hand.rooms.take() {
            Some((rooms, more)) => {
                let shown: Vec<RoomShown> =
                    rooms.into_iter().map(|(room, role)| shown(&room, Some(role))).collect();
                self.reply(place, |out| reply::put_rooms_ok(out, id, &shown, more));
            }
            None if hand.failed => {
                let why = "the database does not answer, try again";
                self.refuse(place, Some(id), &Refusal::Unavailable(why));
            }
            None => {
                return Flow::Ask(Question::RoomsOf {
                    user: who.user.clone(),
                    grants: who.grants.clone(),
                    after: after.cloned(),
                    limit: limit.unwrap_or(LIMIT_MAX).clamp(1, LIMIT_MAX) as u32,
                });
            }
        }
        Flow::Done
    }

    fn get_room(&mut self, place: u32, id: CommandId, room: &RoomId, hand: &mut Hand) -> Flow {
        // What a room says of itself is not kept at hand, so this always asks.
        let Some(known) = hand.known(room) else {
            if hand.failed {
                let why = "the database does not answer, try again";
                self.refuse(place, Some(id), &Refusal::Unavailable(why));
                return Flow::Done;
            }
            return Flow::Ask(self.standings(place, vec![room.clone()]));
        };
        let grant = self.connections[place as usize].grant(room);
        let actor = permission::Actor::User { standing: known.standing, grant };
        let found = known
            .room
            .as_ref()
            .ok_or(Refusal::NotFound)
            .and_then(|room| permission::check(actor, room.kind, Action::See).map(|()| room));
        match found {
            Ok(room) => {
                let shown = shown(room, permission::role(known.standing, grant));
                let (d, members) = (room.d.clone(), room.members);
                self.reply(place, |out| {
                    reply::put_room_ok(out, id, &shown, d.as_deref(), members);
                });
            }
            Err(refusal) => self.refuse(place, Some(id), &refusal),
        }
        Flow::Done
    }

    fn change_room(
        &mut self,
        place: u32,
        id: CommandId,
        room: &RoomId,
        op: &RoomOp,
        ports: &mut impl Ports,
    ) -> Flow {
        let wish = match op.clone() {
            RoomOp::Create(settings) => Wish::Create(settings),
            RoomOp::Set(settings) => Wish::Set(settings),
            RoomOp::Del => Wish::Delete,
            RoomOp::Join => Wish::Join,
            RoomOp::Leave => Wish::Leave,
            RoomOp::Kick(user) => Wish::Kick(user),
            RoomOp::Ban(user) => Wish::Ban(user),
            RoomOp::Unban(user) => Wish::Unban(user),
            RoomOp::Role(user, role) => Wish::Role(user, role),
            RoomOp::Get => unreachable!("answered by get_room"),
        };
        let author = self.author(place, room);
        self.submit(place, id, room, author, wish, None, ports)
    }

    fn ping(
        &mut self,
        place: u32,
        id: Option<CommandId>,
        heads: bool,
        ports: &mut impl Ports,
    ) -> Flow {
        let Some(id) = id else { return Flow::Done };
        if !self.has_space(place) {
            return Flow::Drain;
        }
        let now = ports.wall_ms();
        let attachments = &self.connections[place as usize].attachments;
        let heads: Option<Vec<_>> = heads.then(|| {
            let rooms = attachments.iter().map(|attachment| {
                let room = &self.rooms[attachment.room as usize];
                let head = self.hub.view(&room.id).map_or(room.position, |view| view.head.seq);
                (room.id.clone(), room.epoch, head)
            });
            rooms.collect()
        });
        self.reply(place, |out| reply::put_pong(out, id, now, heads.map(Vec::into_iter)));
        Flow::Done
    }

    /// Answers a command with a refusal.
    pub(super) fn refuse(&mut self, place: u32, id: Option<CommandId>, refusal: &Refusal) {
        let code: Code = refusal.code();
        self.counters.refused(code);
        let (why, retry_ms) = (refusal.to_string(), refusal.retry_ms());
        self.reply(place, |out| reply::put_err(out, id, code, &why, retry_ms));
    }
}

impl Hand {
    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Standings(known) => self.known = known,
            Answer::Pages(pages) => self.pages.extend(pages),
            Answer::RoomsOf { rooms, more } => self.rooms = Some((rooms, more)),
            Answer::Identity(verdict) => self.verdict = Some(verdict),
            Answer::Failed => self.failed = true,
        }
    }
}

fn shown(room: &tertulia_store::Room, role: Option<tertulia_protocol::Role>) -> RoomShown {
    RoomShown {
        id: room.id.clone(),
        kind: room.kind,
        name: room.name.clone(),
        epoch: room.epoch,
        head: room.head.seq,
        n: room.head.n,
        role,
    }
}
