//! Herd: many members on one thread who read as cheaply as one can and still see what is wrong.
//!
//! Each checks that the messages of every sender come once and in their order. A closed loop keeps so many
//! messages outstanding; an open one sends by a schedule, and what is late counts from then.
//!
//! Never: waits for one member, keeps a message.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use tertulia_protocol::frame::{Decoder, Input, Message, Opcode, Side, put_masked};
use tertulia_protocol::limits::SERVER_MESSAGE_BYTES_MAX;

use super::dialect::{Dialect, Told};
use super::fan_out::Pace;
use crate::clock::{Alarm, Clock, SECOND_NS, own_cpu_ns};
use crate::error::Error;
use crate::plan::arrival_ns;

const READ_BYTES: usize = 256 * 1024;

/// Connections from one address, which is then left alone: a port rests for a minute after its connection, and
/// to find one among 28,000 of which most rest takes the kernel longer than all the rest of a connect.
const CONNECTIONS_EACH: u32 = 5_000;

/// Connections that this process opened so far.
static OPENED: AtomicU32 = AtomicU32::new(0);

/// Connections that are opened at the same time: below any listener's backlog.
const CONNECTING_MAX: usize = 128;

/// Nothing happened for so long: what is missing will not come.
const PATIENCE: Duration = Duration::from_secs(20);

const ALARM: Token = Token(usize::MAX);

/// Longest latency that is told apart, in nanoseconds.
const LATENCY_NS_MAX: u64 = 60 * SECOND_NS;

/// What the members were told in a stretch of time.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) deliveries: u64,
    pub(crate) acks: u64,
    pub(crate) reads: u64,
    /// Of the frames that brought deliveries.
    pub(crate) frame_bytes: u64,
    /// Messages that came twice, late, or not behind the one before.
    pub(crate) faults: u64,
    /// What no member may be told.
    pub(crate) refused: u64,
    pub(crate) took: Duration,
    /// CPU time of the load side.
    pub(crate) cpu: Duration,
    /// From the time a message was to be sent until it came; nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// The same until it was acked.
    pub(crate) ack: Histogram<u64>,
}

impl Heard {
    fn nothing() -> Heard {
        let histogram =
            || Histogram::new_with_bounds(1_000, LATENCY_NS_MAX, 3).expect("bounds in order");
        Heard {
            deliveries: 0,
            acks: 0,
            reads: 0,
            frame_bytes: 0,
            faults: 0,
            refused: 0,
            took: Duration::ZERO,
            cpu: Duration::ZERO,
            latency: histogram(),
            ack: histogram(),
        }
    }
}

/// Everyone.
pub(crate) struct Herd {
    dialect: Dialect,
    body_bytes: usize,
    poll: Poll,
    events: Events,
    alarm: Alarm,
    clock: Clock,
    members: Vec<Member>,
    inside: usize,
    /// The first so many members send.
    senders: usize,
    /// Whether it looks for what comes over and over, instead of sleeping until then.
    awake: bool,
    /// When each message was to be sent, by its number.
    due_ns: Vec<u64>,
    heard: Heard,
    buffer: Box<[u8]>,
    words: Vec<u8>,
}

struct Member {
    stream: TcpStream,
    decoder: Decoder,
    /// What came of the answer to the upgrade; absent once frames flow.
    head: Option<Vec<u8>>,
    /// Of a dialect whose messages may be cut.
    kept: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    is_in: bool,
    /// Its next command.
    id: u64,
    /// Its messages by command, from the command `first_id` on.
    first_id: u64,
    sent: std::collections::VecDeque<u64>,
    /// The next message of each sender.
    next: Box<[u64]>,
}

impl Herd {
    /// So many members in the room, of whom the first `senders` will send.
    pub(crate) fn gather(
        addr: SocketAddr,
        dialect: Dialect,
        members: usize,
        senders: usize,
        body_bytes: usize,
    ) -> Result<Herd, Error> {
        let poll = Poll::new().map_err(Error::io("making a poll"))?;
        let alarm = Alarm::new(poll.registry(), ALARM).map_err(Error::io("making a timer"))?;
        let mut herd = Herd {
            dialect,
            body_bytes,
            poll,
            events: Events::with_capacity(1024),
            alarm,
            clock: Clock::start(),
            members: Vec::with_capacity(members),
            inside: 0,
            senders,
            awake: false,
            due_ns: Vec::new(),
            heard: Heard::nothing(),
            buffer: vec![0; READ_BYTES].into(),
            words: Vec::new(),
        };
        herd.grow(addr, members)?;
        Ok(herd)
    }

    /// Whether it does not sleep while it waits: what is measured then is the other side alone, without the time
    /// that this one's processor takes to wake up.
    pub(crate) fn stay_awake(&mut self, awake: bool) {
        self.awake = awake;
    }

    /// Lets more in as fast as they are, until there are so many.
    pub(crate) fn grow(&mut self, addr: SocketAddr, members: usize) -> Result<(), Error> {
        self.let_in(addr, members, |_| 0)
    }

    /// Lets more in, so many a second, until there are so many.
    pub(crate) fn grow_by(
        &mut self,
        addr: SocketAddr,
        members: usize,
        a_second: u64,
    ) -> Result<(), Error> {
        let (before, start_ns) = (self.members.len(), self.clock.now_ns());
        let at_ns = |who: usize| start_ns + arrival_ns((who - before) as u64, a_second);
        self.let_in(addr, members, at_ns)
    }

    /// Lets everyone in at their time, or as soon after it as few enough are on their way.
    fn let_in(
        &mut self,
        addr: SocketAddr,
        members: usize,
        at_ns: impl Fn(usize) -> u64,
    ) -> Result<(), Error> {
        let mut watch = Watch::new();
        while self.inside < members {
            let now_ns = self.clock.now_ns();
            while self.members.len() < members
                && at_ns(self.members.len()) <= now_ns
                && self.members.len() - self.inside < CONNECTING_MAX
            {
                self.open(addr).map_err(Error::io("opening a connection"))?;
            }
            if self.members.len() < members && at_ns(self.members.len()) > now_ns {
                let set = self.alarm.set(self.clock.now_ns(), at_ns(self.members.len()));
                set.map_err(Error::io("setting a timer"))?;
            }
            self.turn(Duration::from_millis(100))?;
            watch.look(self.inside as u64, members as u64)?;
        }
        Ok(())
    }

    /// Says nothing for so long.
    pub(crate) fn idle(&mut self, time: Duration) -> Result<(), Error> {
        let until = Instant::now() + time;
        while let Some(rest) = until.checked_duration_since(Instant::now()) {
            self.turn(rest)?;
        }
        Ok(())
    }

    /// Waits until everyone was told so many messages of one sender, those included that came with their
    /// welcome. Gives how many of them were out of order.
    pub(crate) fn catch_up(&mut self, messages: u64) -> Result<u64, Error> {
        let all = messages * self.members.len() as u64;
        let mut watch = Watch::new();
        while self.heard.deliveries < all {
            self.turn(Duration::from_millis(100))?;
            watch.look(self.heard.deliveries, all)?;
        }
        Ok(self.heard.faults)
    }

    fn open(&mut self, addr: SocketAddr) -> io::Result<()> {
        let who = self.members.len();
        let mut stream = connect(addr)?;
        let token = Token(who);
        self.poll.registry().register(
            &mut stream,
            token,
            Interest::READABLE | Interest::WRITABLE,
        )?;
        stream.set_nodelay(true)?;
        self.members.push(Member {
            stream,
            decoder: Decoder::new(Side::Client),
            head: Some(Vec::new()),
            kept: Vec::new(),
            out: self.dialect.upgrade(&addr.to_string()).into_bytes(),
            written: 0,
            is_in: false,
            id: 1,
            first_id: 2,
            sent: std::collections::VecDeque::new(),
            next: (0..self.senders as u64).collect(),
        });
        Ok(())
    }

    /// How many messages were sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.due_ns.len() as u64
    }

    /// Sends for so long at that pace, and waits until everyone has all of it.
    pub(crate) fn send(&mut self, pace: Pace, time: Duration) -> Result<Heard, Error> {
        match pace {
            Pace::Outstanding(outstanding) => self.closed_loop(time, outstanding),
            Pace::ASecond(a_second) => self.open_loop(a_second, time),
        }
    }

    /// Each sender keeps so many sends on the way for so long; then all of them are waited for.
    pub(crate) fn keep_in_flight(&mut self, each: usize, time: Duration) -> Result<Heard, Error> {
        let from = self.begin();
        let before = self.sent();
        let until_ns = self.clock.now_ns() + time.as_nanos() as u64;
        let mut watch = Watch::new();
        loop {
            let now_ns = self.clock.now_ns();
            if now_ns < until_ns {
                for sender in 0..self.senders {
                    for _ in self.members[sender].sent.len()..each {
                        self.say(sender, now_ns);
                    }
                }
                self.write_all();
            } else if self.heard.acks == self.sent() - before {
                return Ok(self.end(from));
            }
            self.turn(Duration::from_millis(100))?;
            watch.look(self.heard.acks, self.sent() - before)?;
        }
    }

    /// Sends for so long, `outstanding` messages at a time, and waits until everyone has all of them.
    fn closed_loop(&mut self, time: Duration, outstanding: u64) -> Result<Heard, Error> {
        let from = self.begin();
        let (members, before) = (self.members.len() as u64, self.sent());
        let until_ns = self.clock.now_ns() + time.as_nanos() as u64;
        let mut watch = Watch::new();
        loop {
            let (sent, now_ns) = (self.sent() - before, self.clock.now_ns());
            let done = self.heard.deliveries / members;
            if now_ns < until_ns {
                for _ in sent.saturating_sub(done)..outstanding {
                    self.say(self.sent() as usize % self.senders, now_ns);
                }
                self.write_all();
            } else if done == sent {
                return Ok(self.end(from));
            }
            self.turn(Duration::from_millis(100))?;
            watch.look(self.heard.deliveries, sent * members)?;
        }
    }

    /// Sends so many messages a second for so long, whatever comes back, and waits until everyone has all.
    fn open_loop(&mut self, a_second: u64, time: Duration) -> Result<Heard, Error> {
        let from = self.begin();
        let (members, before) = (self.members.len() as u64, self.sent());
        let messages = a_second * time.as_nanos() as u64 / SECOND_NS;
        let start_ns = self.clock.now_ns() + SECOND_NS / 100;
        let at_ns = |message: u64| start_ns + arrival_ns(message, a_second);
        let mut watch = Watch::new();
        while self.heard.deliveries < messages * members {
            let now_ns = self.clock.now_ns();
            let mut next = self.sent() - before;
            while next < messages && at_ns(next) <= now_ns {
                self.say(self.sent() as usize % self.senders, at_ns(next));
                next += 1;
            }
            self.write_all();
            if next < messages {
                let set = self.alarm.set(self.clock.now_ns(), at_ns(next));
                set.map_err(Error::io("setting a timer"))?;
            }
            self.turn(Duration::from_millis(100))?;
            watch.look(self.heard.deliveries, messages * members)?;
        }
        Ok(self.end(from))
    }

    fn begin(&mut self) -> (Instant, u64) {
        self.heard = Heard::nothing();
        (Instant::now(), own_cpu_ns())
    }

    fn end(&mut self, (from, cpu_ns): (Instant, u64)) -> Heard {
        let mut heard = std::mem::replace(&mut self.heard, Heard::nothing());
        heard.took = from.elapsed();
        heard.cpu = Duration::from_nanos(own_cpu_ns() - cpu_ns);
        heard
    }

    /// The next message, which was to be sent at that time. What is heard goes by turns: message n is of sender
    /// n modulo their number.
    fn say(&mut self, sender: usize, due_ns: u64) {
        let number = self.sent();
        self.due_ns.push(due_ns);
        let member = &mut self.members[sender];
        member.id += 1;
        member.sent.push_back(number);
        self.words.clear();
        let opcode = self.dialect.put_send(&mut self.words, member.id, number, self.body_bytes);
        member.put(opcode, &self.words);
    }

    fn write_all(&mut self) {
        for member in &mut self.members[..self.senders] {
            // A socket that is broken says so when it is read.
            _ = member.flush();
        }
    }

    fn turn(&mut self, wait: Duration) -> Result<(), Error> {
        let wait = if self.awake { Duration::ZERO } else { wait };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                return Err(Error::Io { doing: "waiting for sockets", source: error });
            }
            Ok(()) | Err(_) => {}
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in events.iter().filter(|event| event.token() != ALARM) {
            let Token(who) = event.token();
            let done = self.act(who, event.is_readable() || event.is_read_closed());
            done.map_err(Error::io("talking to the server"))?;
        }
        self.events = events;
        Ok(())
    }

    fn act(&mut self, who: usize, reads: bool) -> io::Result<()> {
        self.members[who].flush()?;
        if !reads {
            return Ok(());
        }
        loop {
            let member = &mut self.members[who];
            let bytes = match member.stream.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.heard.reads += 1;
            self.take_in(who, bytes)?;
            if bytes < self.buffer.len() {
                return Ok(());
            }
        }
    }

    fn take_in(&mut self, who: usize, bytes: usize) -> io::Result<()> {
        let member = &mut self.members[who];
        let Some(head) = &mut member.head else {
            let mut buffer = std::mem::take(&mut self.buffer);
            let done = self.frames(who, &mut buffer[..bytes]);
            self.buffer = buffer;
            return done;
        };
        head.extend_from_slice(&self.buffer[..bytes]);
        let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(());
        };
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let words = String::from_utf8_lossy(head).into_owned();
            return Err(io::Error::new(ErrorKind::InvalidData, words));
        }
        let mut frames = head.split_off(end + 4);
        member.head = None;
        match self.dialect.greeting(who) {
            Some((opcode, words)) => {
                member.put(opcode, &words);
                member.flush()?;
            }
            None => {
                member.is_in = true;
                self.inside += 1;
            }
        }
        self.frames(who, &mut frames)
    }

    fn frames(&mut self, who: usize, bytes: &mut [u8]) -> io::Result<()> {
        let Herd { dialect, members, heard, due_ns, body_bytes, inside, .. } = self;
        let Member { decoder, kept, next, is_in, out, sent, first_id, .. } = &mut members[who];
        let now_ns = self.clock.now_ns();
        let senders = next.len() as u64;
        let mut input = Input::new(bytes);
        let mut pings = 0;
        loop {
            let message = decoder.next(&mut input, SERVER_MESSAGE_BYTES_MAX);
            let message =
                message.map_err(|why| io::Error::new(ErrorKind::InvalidData, why.to_string()))?;
            let Some(message) = message else { break };
            let (bytes, before) = (bytes_of(&message), heard.deliveries);
            dialect.hear(&message, *body_bytes, kept, |told| match told {
                Told::Delivery(number) => {
                    let next = &mut next[(number % senders) as usize];
                    heard.faults += u64::from(*next != number);
                    *next = number + senders;
                    heard.deliveries += 1;
                    let due_ns = due_ns.get(number as usize).copied().unwrap_or(now_ns);
                    heard.latency.saturating_record(now_ns.saturating_sub(due_ns));
                }
                Told::Ack(id) => {
                    heard.acks += 1;
                    // In the order of the sends: one room, one committer.
                    let number = sent.get(id.saturating_sub(*first_id) as usize).copied();
                    while *first_id <= id && sent.pop_front().is_some() {
                        *first_id += 1;
                    }
                    let due_ns = number.and_then(|number| due_ns.get(number as usize).copied());
                    let due_ns = due_ns.unwrap_or(now_ns);
                    heard.ack.saturating_record(now_ns.saturating_sub(due_ns));
                }
                Told::In => {
                    *inside += usize::from(!std::mem::replace(is_in, true));
                }
                Told::Ping => pings += 1,
                Told::Refused => heard.refused += 1,
            });
            if heard.deliveries > before {
                heard.frame_bytes += bytes;
            }
        }
        if pings > 0 {
            let (opcode, words) = dialect.pong();
            put_masked(out, opcode, [1, 2, 3, 4], words);
            members[who].flush()?;
        }
        Ok(())
    }
}

/// Connects from one address of 127/8 after the other.
fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let address = OPENED.fetch_add(1, Ordering::Relaxed) / CONNECTIONS_EACH;
    let own = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + address);
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SocketAddr::from((own, 0)).into())?;
    match socket.connect(&addr.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// Bytes of a message in one frame.
fn bytes_of(message: &Message<'_>) -> u64 {
    let payload = match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) => bytes.len(),
        _ => 0,
    };
    let header = if payload < 126 { 2 } else { 4 };
    (payload + header) as u64
}

/// Notices that nothing happens any more.
struct Watch {
    done: u64,
    stuck: Instant,
}

impl Watch {
    fn new() -> Watch {
        Watch { done: 0, stuck: Instant::now() + PATIENCE }
    }

    fn look(&mut self, done: u64, of: u64) -> Result<(), Error> {
        if done != self.done {
            *self = Watch { done, ..Watch::new() };
        } else if Instant::now() > self.stuck {
            return Err(Error::Stuck { done, of, seconds: PATIENCE.as_secs() });
        }
        Ok(())
    }
}

impl Member {
    fn put(&mut self, opcode: Opcode, words: &[u8]) {
        put_masked(&mut self.out, opcode, [0x5a, 0xc3, 0x3c, 0xa5], words);
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}
