//! The driver of a shard: epoll, sockets, and nothing else. (1 receive, 8 send)
//!
//! One thread a shard. It moves bytes between sockets and the shard, hands over what other threads have
//! for it, and tells it the time. Whatever is decided is decided in the shard.

use std::io::{self, ErrorKind, IoSlice, Read};
use std::net::{Shutdown, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::SendFlags;
use tertulia_rooms::draft::{Address, Draft};
use tertulia_rooms::identity::Verdict;
use tertulia_rooms::lookup::{Answer, Lookup, Question};
use tertulia_rooms::shard::{Inbox, Input, Ports, Shard};
use tertulia_rooms::{Clock, Queue};

use crate::clock::MachineClock;
use crate::guests::Guest;
use crate::library::Library;
use crate::login::Login;

/// Bytes read at once: as many as the largest message of a client, so most reads see its end.
const READ_BYTES: usize = 64 * 1024;

/// Reads of one socket in a turn, so that a busy one does not keep the others waiting.
const READS_PER_TURN: usize = 4;

/// From here on a nap may end up to a millisecond late, as naps of whole milliseconds do.
const NAP_ROUNDED_MIN: Duration = Duration::from_millis(2);

/// Wakes the driver; all other tokens are places of sockets.
const WAKE: Token = Token(usize::MAX);

/// A socket whose upgrade is done.
pub(crate) struct Arrival {
    pub(crate) stream: StdStream,
    /// What came in behind the upgrade.
    pub(crate) input: Vec<u8>,
    /// The token that the upgrade carried.
    pub(crate) bearer: Option<Box<str>>,
    /// Compressed messages were agreed on.
    pub(crate) deflates: bool,
    pub(crate) slot: Slot,
}

/// A place in a shard, taken before the upgrade is granted.
pub(crate) struct Slot {
    taken: Arc<AtomicUsize>,
    guest: Option<Guest>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The way into a shard.
pub(crate) struct Gate {
    arrivals: Arc<Queue<Arrival>>,
    taken: Arc<AtomicUsize>,
    limit: usize,
}

impl Gate {
    /// How many places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }

    /// Takes a place, if there is one. Whoever does so and then sees that no drain has begun is waited for.
    pub(crate) fn reserve(&self, guest: Option<Guest>) -> Option<Slot> {
        let free = |taken| (taken < self.limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, free).ok()?;
        Some(Slot { taken: self.taken.clone(), guest })
    }

    /// Lets a socket in whose place is taken.
    pub(crate) fn enter(&self, arrival: Arrival) {
        self.arrivals.push_all([arrival]);
    }
}

/// A poll, and what wakes it; made before the shard, which others must be able to wake.
pub(crate) struct Bed {
    poll: Poll,
    waker: Arc<Waker>,
}

impl Bed {
    pub(crate) fn new() -> io::Result<Bed> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        Ok(Bed { poll, waker })
    }

    /// Wakes whoever sleeps here.
    pub(crate) fn alarm(&self) -> impl Fn() + Send + Sync + 'static {
        let waker = self.waker.clone();
        // The write to an eventfd fails only when its counter is full, and then it is awake.
        move || _ = waker.wake()
    }

    /// The way in.
    pub(crate) fn gate(&self, limit: usize) -> Gate {
        let arrivals = Arc::new(Queue::new(limit, self.alarm()));
        Gate { arrivals, taken: Arc::default(), limit }
    }
}

/// What a driver needs besides its shard.
pub(crate) struct Surroundings {
    pub(crate) drafts: Arc<Queue<Draft>>,
    pub(crate) library: Arc<Library>,
    pub(crate) login: Login,
    pub(crate) clock: Arc<MachineClock>,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) send_buffer_bytes: usize,
}

struct Socket {
    stream: TcpStream,
    generation: u32,
    /// The other side has ended what it writes: a short read is not the last one.
    ended: bool,
    /// Already in the list of those to read.
    listed: bool,
    slot: Slot,
}

/// A shard and its sockets.
pub(crate) struct Drive {
    shard: Shard,
    poll: Poll,
    arrivals: Arc<Queue<Arrival>>,
    taken: Arc<AtomicUsize>,
    world: World,
    buffer: Box<[u8]>,
}

/// The sockets, and everything else that the shard asks for.
struct World {
    surroundings: Surroundings,
    sockets: Vec<Option<Socket>>,
    /// Sockets that may have something to read.
    ready: Vec<Address>,
    /// Sockets that cannot be written any more.
    broken: Vec<Address>,
    /// What this turn has for the committer, who is woken once for all of it.
    drafts: Vec<Draft>,
}

impl Drive {
    pub(crate) fn new(shard: Shard, bed: Bed, gate: &Gate, surroundings: Surroundings) -> Drive {
        let world = World {
            surroundings,
            sockets: Vec::new(),
            ready: Vec::new(),
            broken: Vec::new(),
            drafts: Vec::new(),
        };
        Drive {
            shard,
            poll: bed.poll,
            arrivals: gate.arrivals.clone(),
            taken: gate.taken.clone(),
            world,
            buffer: vec![0; READ_BYTES].into(),
        }
    }

    /// Drives the shard until `stop` is set and its last connection is gone, those included that were
    /// granted and have not arrived yet: a thread's whole life.
    pub(crate) fn run(mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut inputs = Vec::new();
        let mut arrivals = Vec::new();
        while !(stop.load(Ordering::SeqCst) && self.is_deserted()) {
            match self.sleep(&mut events) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            self.shard.turn(self.world.now_ns());
            self.arrivals.take(&mut arrivals);
            for arrival in arrivals.drain(..) {
                self.arrive(arrival);
            }
            self.world.surroundings.inbox.queue.take(&mut inputs);
            self.shard.take(&mut inputs, &mut self.world);
            for event in &events {
                self.noticed(event);
            }
            self.read_ready();
            self.shard.pass_time(&mut self.world);
            // Before the writes, so that the disk works meanwhile.
            self.world.hand_in();
            self.shard.flush_all(&mut self.world);
            self.world.hand_in();
            for broken in std::mem::take(&mut self.world.broken) {
                self.shard.closed(broken, &mut self.world);
            }
        }
        Ok(())
    }

    fn is_deserted(&self) -> bool {
        self.shard.is_empty() && self.taken.load(Ordering::SeqCst) == 0
    }

    /// Sleeps until something comes or is due. A poll rounds up to whole milliseconds, so a short nap is slept
    /// before it.
    fn sleep(&mut self, events: &mut Events) -> io::Result<()> {
        let mut nap = self.nap();
        if !nap.is_zero() && nap < NAP_ROUNDED_MIN {
            let polled = PollFd::new(self.poll.registry(), PollFlags::IN);
            let nanos = Timespec { tv_sec: 0, tv_nsec: nap.subsec_nanos().into() };
            rustix::event::poll(&mut [polled], Some(&nanos))?;
            nap = Duration::ZERO;
        }
        self.poll.poll(events, Some(nap))
    }

    /// How long to sleep: not at all while anything waits.
    fn nap(&self) -> Duration {
        let asleep = self.world.surroundings.inbox.queue.may_sleep() & self.arrivals.may_sleep();
        if !asleep || !self.world.ready.is_empty() {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.shard.wake_at_ns().saturating_sub(self.world.now_ns()))
    }

    fn arrive(&mut self, arrival: Arrival) {
        let Arrival { stream, mut input, bearer, deflates, slot } = arrival;
        let socket = socket2::SockRef::from(&stream);
        // A socket that cannot be set up is dead already; it says so when it is read.
        _ = socket.set_send_buffer_size(self.world.surroundings.send_buffer_bytes);
        _ = socket.set_tcp_nodelay(true);
        let mut stream = TcpStream::from_std(stream);
        let at = self.shard.open(bearer, deflates);
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(&mut stream, Token(at.place as usize), both);
        let generation = at.generation;
        let socket = Socket { stream, generation, ended: false, listed: true, slot };
        let place = at.place as usize;
        if self.world.sockets.len() <= place {
            self.world.sockets.resize_with(place + 1, || None);
        }
        self.world.sockets[place] = Some(socket);
        if registered.is_err() {
            return self.shard.closed(at, &mut self.world);
        }
        self.shard.received(at, &mut input, &mut self.world);
        self.world.ready.push(at);
    }

    fn noticed(&mut self, event: &mio::event::Event) {
        let place = event.token();
        if place == WAKE {
            return;
        }
        let Some(Some(socket)) = self.world.sockets.get_mut(place.0) else { return };
        let at = Address { place: place.0 as u32, generation: socket.generation };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            socket.ended |= event.is_read_closed() || event.is_error();
            if !std::mem::replace(&mut socket.listed, true) {
                self.world.ready.push(at);
            }
        }
        if event.is_writable() {
            self.shard.writable(at, &mut self.world);
        }
    }

    fn read_ready(&mut self) {
        for at in std::mem::take(&mut self.world.ready) {
            if let Some(socket) = self.world.socket(at) {
                socket.listed = false;
                self.read(at);
            }
        }
    }

    fn read(&mut self, at: Address) {
        for _ in 0..READS_PER_TURN {
            // What a parked command holds up is read when it goes on.
            if !self.shard.reads(at) {
                return;
            }
            let Some(socket) = self.world.socket(at) else { return };
            match socket.stream.read(&mut self.buffer) {
                Ok(0) => return self.shard.closed(at, &mut self.world),
                Ok(n) => {
                    // Whatever comes from now on is told by a new event, but an end that came already is not.
                    let all = n < self.buffer.len() && !socket.ended;
                    self.shard.received(at, &mut self.buffer[..n], &mut self.world);
                    if all {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.shard.closed(at, &mut self.world),
            }
        }
        self.world.list(at);
    }
}

impl World {
    fn socket(&mut self, at: Address) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(at.place as usize)?.as_mut();
        socket.filter(|socket| socket.generation == at.generation)
    }

    fn list(&mut self, at: Address) {
        if let Some(socket) = self.socket(at)
            && !std::mem::replace(&mut socket.listed, true)
        {
            self.ready.push(at);
        }
    }
}

impl Ports for World {
    fn write(&mut self, to: Address, parts: &[IoSlice<'_>]) -> usize {
        let Some(socket) = self.socket(to) else { return 0 };
        loop {
            // A single part goes by the shorter way. Not through the C library, which lets a thread be cancelled in
            // either call and does work for that each time.
            let result = match parts {
                [part] => rustix::net::send(&socket.stream, part, SendFlags::NOSIGNAL),
                parts => rustix::io::writev(&socket.stream, parts),
            };
            match result {
                Ok(taken) => return taken,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return 0,
                Err(_) => {
                    self.broken.push(to);
                    return 0;
                }
            }
        }
    }

    fn finish(&mut self, of: Address) {
        if let Some(socket) = self.socket(of) {
            // Fails only if the other side is gone, which a read will tell.
            _ = socket.stream.shutdown(Shutdown::Write);
        }
    }

    fn close(&mut self, of: Address) {
        if self.socket(of).is_some() {
            self.sockets[of.place as usize] = None;
        }
    }

    fn resume(&mut self, of: Address) {
        self.list(of);
    }

    fn greeted(&mut self, of: Address) {
        if let Some(guest) = self.socket(of).and_then(|socket| socket.slot.guest.as_mut()) {
            guest.greeted();
        }
    }

    fn submit(&mut self, draft: Draft) -> bool {
        let has_room = self.surroundings.drafts.promise();
        if has_room {
            self.drafts.push(draft);
        }
        has_room
    }

    fn hand_in(&mut self) {
        if !self.drafts.is_empty() {
            self.surroundings.drafts.keep_promise(&mut self.drafts);
        }
    }

    fn look_up(&mut self, lookup: Lookup) -> Result<(), Lookup> {
        if !matches!(lookup.question, Question::Identity(_)) {
            return self.surroundings.library.look_up(lookup);
        }
        let login = self.surroundings.login.clone();
        let inbox = self.surroundings.inbox.clone();
        let now_s = self.wall_ms() / 1000;
        self.surroundings.runtime.spawn(async move {
            let Lookup { from, token, question, .. } = lookup;
            if let Question::Identity(text) = question {
                let answer = Answer::Identity(login.resolve(&text, now_s).await.into());
                inbox.queue.push_all([Input::Answer { to: from, token, answer }]);
            }
        });
        Ok(())
    }

    fn identify(&mut self, token: &str) -> Verdict {
        self.surroundings.login.verify(token, self.wall_ms() / 1000).into()
    }

    fn random(&mut self) -> u64 {
        crate::random::number()
    }

    fn now_ns(&self) -> u64 {
        self.surroundings.clock.now_ns()
    }

    fn wall_ms(&self) -> u64 {
        self.surroundings.clock.wall_ms()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use tertulia_rooms::counters::Counters;
    use tertulia_rooms::hub::Hub;
    use tertulia_rooms::membership::Membership;
    use tertulia_rooms::people::People;
    use tertulia_rooms::shard::Shared;
    use tertulia_rooms::slab::Gauge;

    use super::*;
    use crate::config::{Config, Flags};

    /// A shard on its poll, and the way into it.
    fn shard(runtime: &tokio::runtime::Runtime, data: &std::path::Path) -> (Drive, Gate) {
        let set = vec![("--data", "server.data", data.display().to_string())];
        let Ok(config) = Config::load(&Flags { config: None, set }, []) else { panic!("defaults") };
        let clock = Arc::new(MachineClock::start());
        let login = Login::open(&config, [], clock.wall_ms()).unwrap().login;
        let limits = Arc::new(config.limits());
        let bed = Bed::new().unwrap();
        let inbox = Arc::new(Inbox::new(limits.shard_queue, bed.alarm()));
        let hub = Arc::new(Hub::new(&limits, vec![inbox.clone()], Gauge::default()));
        let cache = Arc::new(Membership::new(16, Duration::from_secs(1)));
        let library = Arc::new(Library::new(16, hub.clone(), cache.clone()));
        let shared = Shared { hub, cache, people: Arc::new(People::default()), limits };
        let shard = Shard::new(0, &shared, Arc::new(Counters::default()), clock.now_ns());
        let surroundings = Surroundings {
            drafts: Arc::new(Queue::new(16, || ())),
            library,
            login,
            clock,
            runtime: runtime.handle().clone(),
            inbox,
            send_buffer_bytes: 65_536,
        };
        let gate = bed.gate(16);
        (Drive::new(shard, bed, &gate, surroundings), gate)
    }

    #[test]
    fn a_shard_that_hands_over_waits_for_those_who_were_granted_and_are_not_there_yet() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let data = tempfile::tempdir().unwrap();
        let (drive, gate) = shard(&runtime, data.path());
        let slot = gate.reserve(None).unwrap();
        // The drain begins, and nobody is inside.
        drive.world.surroundings.inbox.queue.push_all([Input::Drain]);
        let stop = AtomicBool::new(true);
        thread::scope(|threads| {
            let shard = threads.spawn(|| drive.run(&stop));
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            gate.enter(Arrival { stream, input: Vec::new(), bearer: None, deflates: false, slot });
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).expect("it is told to go, and the end comes");
            let bye = br#"{"t":"bye","code":4300"#;
            assert!(heard.windows(bye.len()).any(|words| words == bye), "{heard:?}");
            drop(client);
            shard.join().unwrap().unwrap();
        });
    }
}
