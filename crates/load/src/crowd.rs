//! Crowd: many clients on one thread, one poll and one plan.
//!
//! A turn waits for a socket or for the next act of the plan, whichever is first, lets the clients read and
//! speak, and carries out what is due.
//!
//! Never: waits for one client, sends because an answer came.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use mio::{Events, Poll, Token};

use crate::client::{Client, Ended, Traffic};
use crate::clock::{Alarm, Clock, MS_NS, SECOND_NS};
use crate::error::Error;
use crate::journal::{ClientIndex, Journal};
use crate::latency::Latency;
use crate::plan::{Act, Dice, Plan, phases};
use crate::progress::Progress;
use crate::seat::Book;

const ALARM: Token = Token(usize::MAX);

/// Bytes read at once: a replay's worth.
const READ_BYTES: usize = 256 * 1024;

/// Connections that are opened at the same time: below any listener's backlog.
const CONNECTING_MAX: usize = 256;

/// The longest that a cut client stays away.
const AWAY_NS: u64 = 250 * MS_NS;

/// A cut that finds its client away is tried again.
const CUT_AGAIN_NS: u64 = 20 * MS_NS;

/// A connection that held so long forgives the failures before it.
const HELD_NS: u64 = 10 * SECOND_NS;

/// The clients of a run and all that they have seen.
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    alarm: Alarm,
    clock: Clock,
    addr: SocketAddr,
    host: String,
    pub(crate) clients: Vec<Client>,
    pub(crate) journal: Journal,
    pub(crate) latency: Latency,
    plan: Plan,
    pub(crate) dice: Dice,
    interval_ns: u64,
    send_until_ns: u64,
    buffer: Box<[u8]>,
    words: Vec<u8>,
    pub(crate) traffic: Traffic,
    /// Connections that the server ended though nothing asked for it, by code.
    pub(crate) closes: BTreeMap<u64, u64>,
    /// Connections that we cut.
    pub(crate) cuts: u64,
    /// The latest unwanted end, in words.
    pub(crate) last_words: Option<String>,
    pub(crate) progress: Progress,
}

impl Crowd {
    pub(crate) fn new(
        addr: SocketAddr,
        host: &str,
        clients: Vec<Client>,
        journal: Journal,
        seed: u64,
        progress: Progress,
    ) -> io::Result<Crowd> {
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        Ok(Crowd {
            poll,
            events: Events::with_capacity(1024),
            alarm,
            clock: Clock::start(),
            addr,
            host: host.to_owned(),
            clients,
            journal,
            latency: Latency::new(),
            plan: Plan::default(),
            dice: Dice::new(seed),
            interval_ns: SECOND_NS,
            send_until_ns: 0,
            buffer: vec![0; READ_BYTES].into(),
            words: Vec::new(),
            traffic: Traffic::default(),
            closes: BTreeMap::new(),
            cuts: 0,
            last_words: None,
            progress,
        })
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// Brings clients into their rooms.
    pub(crate) fn gather(&mut self, who: Range<usize>) -> Result<(), Error> {
        let clients = who.len();
        let time_ns = 30 * SECOND_NS + clients as u64 * 10 * MS_NS;
        let until_ns = self.now_ns() + time_ns;
        let mut opened = who.start;
        loop {
            let there = self.clients[who.start..opened].iter();
            let live = there.filter(|client| client.seat.is_live()).count();
            if live == clients {
                return Ok(());
            }
            while opened < who.end && opened - who.start - live < CONNECTING_MAX {
                self.connect(opened as ClientIndex);
                opened += 1;
            }
            let now_ns = self.now_ns();
            if now_ns >= until_ns {
                let last_words = self.clients[who].iter().find_map(|c| c.seat.last_err.as_deref());
                let last_words = last_words.or(self.last_words.as_deref());
                let last_words = last_words.map(|words| format!(": {words}")).unwrap_or_default();
                let seconds = time_ns / SECOND_NS;
                return Err(Error::NotGathered { live, clients, seconds, last_words });
            }
            self.turn(now_ns + 50 * MS_NS)?;
        }
    }

    /// Plans the sends of clients: each `rate` a second from `from_ns` until `until_ns`, evenly spread.
    pub(crate) fn plan_sends(
        &mut self,
        who: Range<ClientIndex>,
        rate: f64,
        from_ns: u64,
        until_ns: u64,
    ) {
        self.interval_ns = ((SECOND_NS as f64 / rate) as u64).max(1);
        self.send_until_ns = until_ns;
        let offsets = phases(who.len(), self.interval_ns, &mut self.dice);
        for (client, offset_ns) in who.zip(offsets) {
            if from_ns + offset_ns < until_ns {
                self.plan.add(from_ns + offset_ns, client, Act::Send);
            }
        }
    }

    /// Plans that each client is cut `times` within a span, one after the other.
    pub(crate) fn plan_cuts(&mut self, times: u64, from_ns: u64, until_ns: u64) {
        let round_ns = (until_ns - from_ns) / times.max(1);
        for round in 0..times {
            let offsets = phases(self.clients.len(), round_ns, &mut self.dice);
            for (client, offset_ns) in (0..).zip(offsets) {
                self.plan.add(from_ns + round * round_ns + offset_ns, client, Act::Cut);
            }
        }
    }

    /// Lets a client that had stopped reading read again.
    pub(crate) fn wake(&mut self, client: ClientIndex) {
        let woken = &mut self.clients[client as usize];
        woken.stalled = false;
        woken.receive_buffer_bytes = None;
        self.hear(client, true);
    }

    /// Goes on until that time.
    pub(crate) fn run_until(&mut self, at_ns: u64) -> Result<(), Error> {
        while self.now_ns() < at_ns {
            self.turn(at_ns)?;
        }
        Ok(())
    }

    /// Goes on until every send has its outcome and everyone is at the head of their room, or nothing happens
    /// any more for `patience`.
    pub(crate) fn settle(&mut self, patience: Duration) -> Result<(), Error> {
        let patience_ns = patience.as_nanos() as u64;
        let mut facts = self.journal.facts();
        let mut stuck_ns = self.now_ns() + patience_ns;
        while !self.is_settled() && self.now_ns() < stuck_ns {
            self.run_until(self.now_ns() + 10 * MS_NS)?;
            if self.journal.facts() != facts {
                facts = self.journal.facts();
                stuck_ns = self.now_ns() + patience_ns;
            }
        }
        // What comes now would come twice: everyone has everything.
        self.run_until(self.now_ns() + 100 * MS_NS)?;
        self.progress.end();
        Ok(())
    }

    fn is_settled(&self) -> bool {
        let at_head = |client: &Client| client.seat.last() >= self.journal.head(client.seat.client);
        self.journal.unanswered() == 0 && self.clients.iter().all(at_head)
    }

    /// Waits for something to happen, until `deadline_ns` at most, and deals with it.
    fn turn(&mut self, deadline_ns: u64) -> Result<(), Error> {
        let now_ns = self.now_ns();
        let wake_ns = self.plan.next_ns().map_or(deadline_ns, |next_ns| next_ns.min(deadline_ns));
        let mut wait = Some(Duration::ZERO);
        if wake_ns > now_ns {
            self.alarm.set(now_ns, wake_ns).map_err(Error::io("setting a timer"))?;
            wait = None;
        }
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                return Err(Error::io("waiting for sockets")(error));
            }
            _ => {}
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            if event.token() != ALARM {
                let to_the_end = event.is_read_closed() || event.is_error();
                self.hear(event.token().0 as ClientIndex, to_the_end);
            }
        }
        self.events = events;
        while let Some((at_ns, client, act)) = self.plan.take(self.now_ns()) {
            self.perform(at_ns, client, act);
        }
        self.progress.show(self.now_ns(), self.journal.messages.len(), self.journal.handed);
        Ok(())
    }

    fn perform(&mut self, at_ns: u64, client: ClientIndex, act: Act) {
        match act {
            Act::Connect => self.connect(client),
            Act::Speak => {
                self.clients[client as usize].speaks_ns = None;
                self.speak(client);
            }
            Act::Send => {
                let i = self.journal.sent(client, at_ns);
                self.clients[client as usize].seat.wants(i);
                let next_ns = at_ns + self.interval_ns;
                if next_ns < self.send_until_ns {
                    self.plan.add(next_ns, client, Act::Send);
                }
                self.speak(client);
            }
            Act::Cut => {
                let now_ns = self.now_ns();
                let cut = &mut self.clients[client as usize];
                if cut.seat.is_live() {
                    cut.cut(&mut self.journal);
                    self.cuts += 1;
                    self.plan.add(now_ns + self.dice.below(AWAY_NS), client, Act::Connect);
                } else {
                    self.plan.add(now_ns + CUT_AGAIN_NS, client, Act::Cut);
                }
            }
        }
    }

    fn connect(&mut self, client: ClientIndex) {
        let now_ns = self.now_ns();
        let guest = &mut self.clients[client as usize];
        if guest.is_connected() {
            return;
        }
        guest.opened_ns = now_ns;
        if let Err(error) = guest.connect(self.addr, &self.host, self.poll.registry()) {
            let why = format!("cannot connect: {error}");
            self.ended(client, Ended { code: 1006, retry_ms: None, why });
        }
    }

    fn hear(&mut self, client: ClientIndex, to_the_end: bool) {
        let clock = self.clock;
        let Some(guest) = self.clients.get_mut(client as usize) else { return };
        let (journal, latency) = (&mut self.journal, &mut self.latency);
        let mut book = Book { journal, latency, now_ns: 0 };
        let now_ns = || clock.now_ns();
        match guest.read(to_the_end, &mut self.buffer, &mut book, now_ns, &mut self.traffic) {
            Ok(()) => self.speak(client),
            Err(ended) => self.ended(client, ended),
        }
    }

    fn speak(&mut self, client: ClientIndex) {
        let now_ms = self.now_ns() / MS_NS;
        let guest = &mut self.clients[client as usize];
        if let Err(ended) = guest.speak(&self.journal, now_ms, &mut self.words) {
            return self.ended(client, ended);
        }
        let due_ns = guest.seat.due_ms().map(|due_ms| due_ms * MS_NS);
        if let Some(due_ns) = due_ns.filter(|_| guest.speaks_ns != due_ns) {
            guest.speaks_ns = Some(due_ns);
            self.plan.add(due_ns, client, Act::Speak);
        }
    }

    /// A connection ended that we did not end: comes back as the close code says.
    fn ended(&mut self, client: ClientIndex, ended: Ended) {
        let now_ns = self.now_ns();
        let guest = &mut self.clients[client as usize];
        guest.cut(&mut self.journal);
        if !guest.excused {
            *self.closes.entry(ended.code).or_default() += 1;
            let Ended { code, why, .. } = &ended;
            self.last_words = Some(format!("client {client} was closed with {code}: {why}"));
        }
        if now_ns - guest.opened_ns > HELD_NS {
            guest.failures = 0;
        }
        guest.failures += 1;
        let wait_ns = match ended.code {
            1002 | 1003 | 1007..=1010 | 4000..=4199 => return,
            _ => match ended.retry_ms {
                Some(retry_ms) => retry_ms * MS_NS,
                // Full jitter, as the protocol wants it.
                None => {
                    self.dice.below(((250 * MS_NS) << guest.failures.min(7)).min(20 * SECOND_NS))
                }
            },
        };
        self.plan.add(now_ns + wait_ns, client, Act::Connect);
    }
}
