//! Session: what becomes of a command. (3 authorise)
//!
//! Everything a client can cause starts in `run`. A command that has to wait is parked with what is in
//! hand, and run again from its start when the answer is there.

use tertulia_protocol::command::{Command, CommandId, RoomOp, Said, Sub};
use tertulia_protocol::{Close, Code, reply};

use super::connection::{Parked, State, Waits, WaitsFor};
use super::hand::Hand;
use super::{Ports, Shard};
use crate::draft::Address;
use crate::lookup::{Answer, Lookup, Question};
use crate::permission;
use crate::refusal::Refusal;

/// Refusals for speed in a row after which a client does not mean well.
pub(super) const TOO_FAST_MAX: u32 = 200;

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
    /// Lets a command in, if it may come in at all.
    pub(super) fn begin(&mut self, place: u32, said: Said, ports: &mut impl Ports) {
        let connection = &mut self.connections[place as usize];
        let is_hello = matches!(said.command, Command::Hello(_));
        if matches!(connection.state, State::Greeting(_)) != is_hello {
            let why = if is_hello { "t: hello was said before" } else { "t: say hello first" };
            self.complain(place, said.id, &Refusal::BadRequest(why.into()));
            if !is_hello {
                self.close(place, Close::NotThisProtocol, None);
            }
            return;
        }
        if said.id.is_some_and(|id| connection.open.contains(&id)) {
            let why = "id is in use until its command is answered".into();
            return self.complain(place, None, &Refusal::BadRequest(why));
        }
        if let Err(refusal) = self.may_command(place, &said) {
            if let Command::Sub(Sub { room, .. }) = &said.command
                && let Some(room) = self.rooms_by_id.get(room).copied()
            {
                // A refused `sub` leaves the room detached, whatever the reason.
                self.detach(place, room);
            }
            self.refuse(place, said.id, &refusal);
            if matches!(refusal, Refusal::Inflight { .. }) {
                self.rest(place);
            }
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
        let is_answer = matches!(said.command, Command::Pong) && said.id.is_none();
        if is_answer || matches!(said.command, Command::Send(_)) {
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
            Command::Hello(hello) => self.hello(place, id, hello, &mut hand, since_ns, ports),
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
            Command::Pong => {
                self.confirm(place, said.id);
                Flow::Done
            }
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

    /// Whether more waits for the client than may: whoever does not read is not answered any further.
    pub(super) fn is_full(&self, place: u32) -> bool {
        self.connections[place as usize].out.bytes() >= self.limits.outbound_bytes
    }

    /// Keeps `lines` until the client has read what it was told.
    pub(super) fn wait_for_drain(&mut self, place: u32, lines: &str, ports: &impl Ports) {
        self.park_nothing(place, lines.to_owned(), Vec::new(), WaitsFor::Drain, ports);
    }

    /// Keeps `input` until the others had their time.
    pub(super) fn wait_for_others(&mut self, place: u32, input: &[u8], ports: &impl Ports) {
        self.park_nothing(place, String::new(), input.to_owned(), WaitsFor::Others, ports);
    }

    /// Parks what came, though no command has to wait.
    fn park_nothing(
        &mut self,
        place: u32,
        lines: String,
        input: Vec<u8>,
        waits_for: WaitsFor,
        ports: &impl Ports,
    ) {
        let said = Said { id: None, command: Command::Pong };
        let (hand, since_ns) = (Hand::default(), ports.now_ns());
        let parked = Parked { said, hand, waits_for, since_ns, lines, input };
        self.connections[place as usize].parked = Some(Box::new(parked));
    }

    /// Runs the parked command again, and then all that came behind it.
    pub(super) fn go_on(
        &mut self,
        place: u32,
        answer: impl FnOnce(&mut Hand),
        ports: &mut impl Ports,
    ) {
        let Some(parked) = self.connections[place as usize].parked.take() else { return };
        let from = self.address(place);
        let Parked { said, mut hand, since_ns, lines, mut input, .. } = *parked;
        // It was not read while it waited for us: its silence begins now.
        self.connections[place as usize].heard = self.tick;
        answer(&mut hand);
        self.run(place, said, hand, since_ns, ports);
        // What came behind a hello that was refused is nobody's.
        if !self.is_current(from)
            || matches!(self.connections[place as usize].state, State::Closing(..))
        {
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
        let connection = &mut self.connections[place as usize];
        match &mut connection.parked {
            Some(parked) => parked.input = input,
            None if connection.postponed => self.wait_for_others(place, &input, ports),
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
        if waits == Some(WaitsFor::Drain) && self.is_half_empty(place) {
            self.go_on(place, |_| (), ports);
        }
    }

    /// Whether half of what may wait for the client is free, so that a command that says much may start.
    pub(super) fn is_half_empty(&self, place: u32) -> bool {
        let waiting = self.connections[place as usize].waiting_bytes();
        waiting < self.limits.outbound_bytes / 2
    }

    /// Answers a command that needs no other answer, if it asks for one.
    pub(super) fn confirm(&mut self, place: u32, id: Option<CommandId>) {
        if let Some(id) = id {
            self.reply(place, |out| reply::put_ok(out, id));
        }
    }

    /// Answers a command with a refusal, if it asks for an answer.
    pub(super) fn refuse(&mut self, place: u32, id: Option<CommandId>, refusal: &Refusal) {
        match id {
            Some(_) => self.complain(place, id, refusal),
            None => self.counters.refused(refusal.code()),
        }
    }

    /// Says that something is not as the protocol wants it, whether or not it asks for an answer.
    pub(super) fn complain(&mut self, place: u32, id: Option<CommandId>, refusal: &Refusal) {
        let code: Code = refusal.code();
        self.counters.refused(code);
        let (why, retry_ms) = (refusal.to_string(), refusal.retry_ms());
        self.reply(place, |out| reply::put_err(out, id, code, &why, retry_ms));
    }
}

impl Hand {
    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Standings(known) => {
                self.known.retain(|old| known.iter().all(|new| new.id != old.id));
                self.known.extend(known);
            }
            Answer::Pages(pages) => self.pages.extend(pages),
            Answer::RoomsOf { rooms, more } => self.rooms = Some((rooms, more)),
            Answer::Identity(verdict) => self.verdict = Some(verdict),
            Answer::Failed => self.failed = true,
        }
    }
}
