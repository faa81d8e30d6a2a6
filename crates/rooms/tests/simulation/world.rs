//! World: a server in pieces, its clients, and every step that either of them can take.
//!
//! One thread, one clock, one seed. A step is small: some bytes, some inputs, one commit; whoever drives the
//! world decides which comes next. (the whole ring)

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tertulia_protocol::{Close, UserId};
use tertulia_rooms::draft::{Author, Draft, Reply, Wish};
use tertulia_rooms::hub::News;
use tertulia_rooms::limits::Limits;
use tertulia_rooms::lookup::{Answer, Known, Lookup, Question, answer};
use tertulia_rooms::shard::{Input, Ports, Shard};
use tertulia_store::{Memory, Reader, RoomNo, Store};

use crate::client::Client;
use crate::fate::Chances;
use crate::hears::Hearing;
use crate::model::Model;
use crate::outside::{Door, Moment, Office, Outside, Plant, judge, room_id, user_id};
use crate::random::Random;
use crate::server::{SHARDS, Server, next_epoch, start};
use crate::socket::{SocketId, Sockets};
use crate::trace::Trace;

/// Noon of some day, far from zero so that nobody takes one clock for the other.
pub(crate) const WALL_MS: u64 = 1_800_000_000_000;

/// Everything there is.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) limits: Arc<Limits>,
    pub(crate) server: Server,
    pub(crate) outside: Outside,
    pub(crate) clients: Vec<Client>,
    pub(crate) model: Model,
    /// The server hands over, and takes nobody in.
    pub(crate) draining: bool,
    /// What went wrong how often, before it settled.
    pub(crate) fate: Chances,
    /// Bytes that a socket takes before anyone reads them.
    pub(crate) space: RangeInclusive<u64>,
    pub(crate) reader: Reader,
    /// What a disk that loses something goes back to.
    past: Memory,
    epochs: Arc<AtomicU64>,
}

impl World {
    pub(crate) fn new(seed: u64, limits: Limits, chances: Chances, keep_trace: bool) -> World {
        let mut random = Random::seeded(seed);
        let limits = Arc::new(limits);
        let (memory, epochs) = (Memory::default(), Arc::new(AtomicU64::new(0)));
        let (server, committer) = start(&memory, &limits, &epochs, 0);
        let office = Office {
            committer,
            drafts: Vec::new(),
            random: Random::seeded(random.next()),
            dirty: false,
            untold: None,
        };
        let outside = Outside {
            sockets: Sockets::default(),
            lookups: Vec::new(),
            office: RefCell::new(office),
            aside: (0..SHARDS).map(|_| Vec::new()).collect(),
            random: Random::seeded(random.next()),
            trace: Trace::new(keep_trace),
            moment: Moment { now_ns: 0, wall_ms: WALL_MS },
            toil_ns: 0,
            toiled_ns: Cell::new(0),
            memory: memory.clone(),
            limits: limits.clone(),
            chances,
            plant: Plant::Nothing,
            wrong: None,
        };
        let reader = Store::in_memory(&memory).reader().expect("memory is always there");
        let (clients, model) = (Vec::new(), Model::default());
        let fate = chances;
        World {
            random,
            limits,
            server,
            outside,
            clients,
            model,
            draining: false,
            fate,
            space: 30..=3000,
            reader,
            past: memory.copy(),
            epochs,
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.outside.moment.now_ns / 1_000_000
    }

    fn note(&mut self, what: u64, words: impl FnOnce() -> String) {
        let at_ms = self.now_ms();
        self.outside.trace.note(what, || format!("{at_ms:>7} {}", words()));
    }

    /// Lets one shard do something, and write what came of it.
    pub(crate) fn turn<T>(
        &mut self,
        shard: usize,
        act: impl FnOnce(&mut Shard, &mut Door<'_>) -> T,
    ) -> T {
        let chances = self.outside.chances;
        let machine = &mut self.server.shards[shard];
        machine.turn(self.outside.moment.now_ns);
        let mut door = Door { shard, outside: &mut self.outside };
        let done = act(machine, &mut door);
        door.outside.moment.now_ns += door.outside.toiled_ns.take();
        if !door.outside.random.chance(chances.unflushed) {
            door.hand_in();
            machine.flush_all(&mut door);
            door.hand_in();
        }
        self.look();
        done
    }

    /// Shows the model what was committed.
    fn look(&mut self) {
        if let Some(wrong) = self.outside.wrong.take() {
            self.model.fault(|| wrong);
        }
        if std::mem::take(&mut self.outside.office.get_mut().dirty) {
            let early = self.fate.told_late + self.fate.interrupted > 0;
            self.model.refresh(&mut self.reader, early);
        }
    }

    /// A client opens a connection to some shard and says hello.
    pub(crate) fn connect(&mut self, client: usize) {
        let shard = self.random.below(SHARDS);
        let space = self.random.of(self.space.clone()) as usize;
        self.note(1, || format!("client {client} connects to shard {shard}"));
        let (now_ms, wall_ms) = (self.now_ms(), self.outside.moment.wall_ms);
        let device = &mut self.clients[client];
        let token = device.token(wall_ms);
        let in_upgrade = self.random.chance(300);
        let bearer = in_upgrade.then(|| Box::from(token.as_str()));
        self.server.shards[shard].turn(self.outside.moment.now_ns);
        // Half of all connections, and no chance is spent on it.
        let deflates = (client + shard).is_multiple_of(2);
        let address = self.server.shards[shard].open(bearer, deflates);
        let whose = (client, device.session.clone());
        let socket = self.outside.sockets.open(shard, address, space, whose);
        let with_token = (!in_upgrade).then_some(token.as_str());
        device.hello(socket, deflates, with_token, &mut self.random, now_ms);
        for (room, _) in &device.grants {
            self.model.may_be_granted(&device.user, room);
        }
        self.post(client);
    }

    /// What a client has to say goes under way.
    pub(crate) fn post(&mut self, client: usize) {
        let now_ms = self.now_ms();
        let device = &mut self.clients[client];
        device.tick(&mut self.random, now_ms);
        let mut bytes = Vec::new();
        let trace = &mut self.outside.trace;
        let Some(socket) = device.frames(&mut self.random, trace, &mut bytes) else { return };
        if let Some(socket) = self.outside.sockets.get(socket) {
            socket.up.extend_from_slice(&bytes);
        }
    }

    /// The client's end of a connection goes.
    pub(crate) fn cut(&mut self, client: usize) {
        if let Some(line) = &self.clients[client].line {
            let socket = line.socket;
            self.note(2, || format!("client {client} is cut"));
            self.outside.sockets.hang_up(socket, &mut self.random);
            self.clients[client].cut();
        }
    }

    /// These bytes reach the server, before anything else that is under way.
    pub(crate) fn says_on(&mut self, id: SocketId, bytes: &[u8]) {
        let Some(socket) = self.outside.sockets.get(id) else { return };
        socket.up.splice(0..0, bytes.iter().copied());
        self.upload(id, bytes.len());
    }

    /// At most `most` bytes reach the server; the end of a connection does behind the last of them.
    pub(crate) fn upload(&mut self, id: SocketId, most: usize) {
        let Some(socket) = self.outside.sockets.get(id) else { return };
        let (shard, address) = (socket.shard, socket.address);
        if socket.server_left || socket.paused && !socket.client_left {
            return;
        }
        if socket.up.is_empty() || socket.paused {
            if socket.client_left {
                self.turn(shard, |machine, door| machine.closed(address, door));
            }
            return;
        }
        let rest = socket.up.split_off(socket.up.len().min(most));
        let mut some = std::mem::replace(&mut socket.up, rest);
        self.note(3, || format!("socket {id}: {} bytes up", some.len()));
        self.outside.trace.bytes(&some);
        self.turn(shard, |machine, door| {
            machine.received(address, &mut some, door);
            if !machine.reads(address)
                && let Some(socket) = door.outside.sockets.get(id)
            {
                socket.paused = true;
            }
        });
    }

    /// At most `most` bytes reach a client.
    pub(crate) fn download(&mut self, client: usize, most: usize) {
        let Some(id) = self.clients[client].line.as_ref().map(|line| line.socket) else { return };
        let Some(socket) = self.outside.sockets.get(id) else { return };
        let rest = socket.down.split_off(socket.down.len().min(most));
        let some = std::mem::replace(&mut socket.down, rest);
        let over = socket.down.is_empty() && (socket.server_left || socket.finished);
        let owed = socket.full && socket.down.len() < socket.space;
        let (shard, address) = (socket.shard, socket.address);
        if !some.is_empty() {
            self.note(4, || format!("client {client}: {} bytes", some.len()));
            let mut hearing = Hearing {
                model: &mut self.model,
                trace: &mut self.outside.trace,
                news_are_whole: self.fate.news_are_whole(),
                now_ms: self.outside.moment.now_ns / 1_000_000,
                wall_ms: self.outside.moment.wall_ms,
                jump: self.limits.jump,
                jump_max: self.limits.jump_max,
            };
            self.clients[client].hear(some, &mut hearing);
            let device = &self.clients[client];
            if device.line.as_ref().is_some_and(|line| line.greeted)
                && let Some(socket) = self.outside.sockets.get(id)
            {
                socket.session.clone_from(&device.session);
            }
            self.post(client);
        }
        if over {
            return self.cut(client);
        }
        if owed && !self.outside.sockets.get(id).is_none_or(|socket| socket.server_left) {
            if let Some(socket) = self.outside.sockets.get(id) {
                socket.full = false;
            }
            self.turn(shard, |machine, door| machine.writable(address, door));
        }
    }

    /// Some of what waits for a commit is committed.
    pub(crate) fn commit(&mut self, most: usize) {
        let outside = &mut self.outside;
        let office = outside.office.get_mut();
        if office.drafts.is_empty() && office.untold.is_none() {
            return;
        }
        let (chances, moment, memory) = (outside.chances, outside.moment, outside.memory.clone());
        outside.office.get_mut().commit(most, &chances, &memory, moment);
        self.note(5, || "a commit".to_owned());
        self.look();
    }

    /// Whoever has yet to hear of the last commit comes nearer to it. False if everyone has.
    pub(crate) fn tell(&mut self) -> bool {
        let moment = self.outside.moment;
        let office = self.outside.office.get_mut();
        let is_owed = office.untold.is_some();
        office.tell(moment);
        if is_owed {
            self.note(13, || "a commit is told".to_owned());
        }
        is_owed
    }

    /// The application's own wish.
    pub(crate) fn wish(&mut self, room: &str, author: Author, wish: Wish) {
        self.model.may_be(room);
        let (room, submitted_ns) = (room_id(room), self.outside.moment.now_ns);
        let reply = Reply::Call(Box::new(drop));
        let draft = Draft { room, author, wish, veto: None, reply, submitted_ns };
        self.outside.office.get_mut().drafts.push(draft);
    }

    /// A reader answers one of the questions.
    pub(crate) fn answer(&mut self, place: usize) {
        let Lookup { shard, from, token, question } = self.outside.lookups.remove(place);
        let failing = self.random.chance(self.outside.chances.lookup_fails);
        self.outside.memory.fail_reads(u32::from(failing));
        let mut answer = match &question {
            Question::Identity(token) => Answer::Identity(judge(token, self.outside.moment)),
            question => {
                let (hub, cache) = (&self.server.hub, &self.server.cache);
                answer(question, &mut self.reader, cache, hub.gauge()).0
            }
        };
        self.outside.memory.fail_reads(0);
        if let (Answer::Failed, Question::Standings { rooms, .. }) = (&answer, &question) {
            rooms.iter().for_each(|room| self.server.hub.learn(room, None));
        }
        if let (Answer::Standings(known), Question::Standings { user, .. }) =
            (&mut answer, &question)
            && self.random.chance(self.outside.chances.interrupted)
        {
            self.read_on_late(user, known);
        }
        self.note(6, || format!("an answer to {question:?}"));
        self.server.coming[shard].push(Input::Answer { to: from, token, answer });
    }

    /// A reader reads a room first and who someone is there second: the committer may run in between.
    fn read_on_late(&mut self, user: &UserId, known: &mut [Known]) {
        if !self.tell() {
            self.commit(self.limits.commit_batch);
        }
        for known in known {
            let no = known.room.as_ref().map_or(RoomNo(0), |room| room.no);
            known.standing = self.reader.standing(no, user).expect("no fault is planted now");
        }
    }

    /// Takes what is in a shard's inbox under way, and mistreats the news.
    fn collect(&mut self, shard: usize) {
        let mut inputs = Vec::new();
        self.server.hub.inboxes()[shard].queue.take(&mut inputs);
        let chances = self.outside.chances;
        for input in inputs {
            let Input::News(news) = input else {
                self.server.coming[shard].push(input);
                continue;
            };
            let (id, head, gone) = (news.id.clone(), news.view.head.seq, news.gone);
            self.note(head, || format!("shard {shard}: news of {id} to {head}, gone: {gone}"));
            let news = match self.outside.plant {
                Plant::SkippedKick => without_removals(&news),
                Plant::Nothing | Plant::DoubleDelivery => news,
            };
            if self.random.chance(chances.news_lost) {
                self.note(7, || format!("news of {} are lost", news.id));
                continue;
            }
            if self.random.chance(chances.news_doubled) {
                self.server.late[shard].push(news.clone());
            }
            if self.random.chance(chances.news_late) {
                self.server.late[shard].push(news);
            } else {
                self.server.coming[shard].push(Input::News(news));
            }
        }
    }

    /// A shard gets at most `most` of its inputs.
    pub(crate) fn hand_over(&mut self, shard: usize, most: usize) {
        self.collect(shard);
        let coming = &mut self.server.coming[shard];
        let some = coming.len().min(most);
        let mut inputs: Vec<Input> = coming.drain(..some).collect();
        self.note(8, || format!("shard {shard} gets {some} inputs"));
        self.turn(shard, |machine, door| machine.take(&mut inputs, door));
    }

    /// News that were overtaken arrive.
    pub(crate) fn hand_over_late(&mut self, shard: usize) {
        let late = std::mem::take(&mut self.server.late[shard]);
        self.server.coming[shard].extend(late.into_iter().map(Input::News));
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.outside.moment.now_ns += ms * 1_000_000;
        self.outside.moment.wall_ms += ms;
        self.note(9, || format!("{ms} ms pass"));
        let now_ms = self.now_ms();
        self.server.hub.expire_typing(now_ms);
        self.server.cache.sweep(self.outside.moment.now_ns);
        for shard in 0..SHARDS {
            self.turn(shard, |machine, door| machine.pass_time(door));
        }
    }

    /// The server wants everyone to go elsewhere.
    pub(crate) fn drain(&mut self) {
        self.note(11, || "the server hands over".to_owned());
        self.draining = true;
        for coming in &mut self.server.coming {
            coming.push(Input::Drain);
        }
    }

    /// The tokens of a client's user are revoked.
    pub(crate) fn expel(&mut self, client: usize) {
        let user = user_id(&self.clients[client].user);
        self.note(12, || format!("{user} is expelled"));
        for coming in &mut self.server.coming {
            coming.push(Input::Expel(user.clone(), Close::Revoked));
        }
    }

    /// Rows that are of no use any more go.
    pub(crate) fn sweep(&mut self) {
        let moment = self.outside.moment;
        self.outside.office.get_mut().sweep(moment);
        self.note(14, || "old rows go".to_owned());
        self.look();
    }

    /// So far the disk keeps what it promised, whatever it loses later.
    pub(crate) fn keep(&mut self) {
        self.past = self.outside.memory.copy();
    }

    /// The disk comes to know what of a failed commit was written, or loses what it had promised to keep.
    pub(crate) fn recover(&mut self) {
        let in_full = self.random.chance(500);
        self.outside.memory.recover(in_full);
        if self.random.chance(self.outside.chances.lossy) {
            self.note(15, || "the disk loses what came last".to_owned());
            let epochs = self.epochs.clone();
            let renewed = self.outside.memory.lose(&self.past, || next_epoch(&epochs));
            for (room, renewed) in renewed {
                self.model.renewed(room.as_str(), renewed);
            }
            self.keep();
        }
        self.outside.office.get_mut().untold = None;
        self.outside.office.get_mut().dirty = true;
        self.look();
    }

    /// The server is gone and another one starts from what was committed.
    pub(crate) fn crash(&mut self) {
        self.note(10, || "the server crashes".to_owned());
        self.draining = false;
        self.outside.sockets.crash(&mut self.random);
        self.outside.lookups.clear();
        let now_ns = self.outside.moment.now_ns;
        let (server, committer) = start(&self.outside.memory, &self.limits, &self.epochs, now_ns);
        self.server = server;
        self.outside.aside.iter_mut().for_each(Vec::clear);
        let office = self.outside.office.get_mut();
        office.committer = committer;
        office.drafts.clear();
        office.untold = None;
        office.dirty = true;
        self.look();
    }
}

/// The news as they would be if nobody had been removed: a fault, for the tests of the checks.
fn without_removals(news: &News) -> Arc<News> {
    Arc::new(News {
        id: news.id.clone(),
        view: news.view,
        slabs: news.slabs.clone(),
        removals: Vec::new(),
        gone: news.gone,
        more: news.more,
        committed_ns: news.committed_ns,
    })
}
