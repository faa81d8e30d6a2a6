//! Serve: a server put together, kept alive, and taken apart in order.
//!
//! Who runs where: this runtime has HTTP, sign-in and signals; each shard, the committer, the
//! checkpointer and each reader has a thread of its own.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tertulia_protocol::Epoch;
use tertulia_rooms::commit::Committer;
use tertulia_rooms::counters::Counters;
use tertulia_rooms::hub::{Hub, SHARDS_MAX};
use tertulia_rooms::membership::Membership;
use tertulia_rooms::people::People;
use tertulia_rooms::shard::{Inbox, Input, Shard, Shared};
use tertulia_rooms::slab::Gauge;
use tertulia_rooms::{Clock, Queue};
use tertulia_store::{Directory, Store};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::cli::Failure;
use crate::clock::MachineClock;
use crate::committing::{Alarm, Committing, checkpoint};
use crate::config::Config;
use crate::door::Entrance;
use crate::drive::{Bed, Drive, Surroundings};
use crate::library::Library;
use crate::login::{Login, Opened};
use crate::state::{App, Health, State};
use crate::{checking, door, http, logs};

/// Connections that may wait to be accepted. When more come at once, as after a restart, the system lets the
/// rest try again a second later, then after two, four and eight.
const KNOCKING_MAX: u32 = 4096;

/// Room for finishing up after the drain before the process ends anyway.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Serves until a signal ends it.
pub(crate) fn serve(config: Config, accept_loss: bool) -> ExitCode {
    logs::start(&config);
    match run(config, accept_loss) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.told(),
    }
}

fn run(config: Config, accept_loss: bool) -> Result<(), Failure> {
    raise_file_limit();
    leave_no_core();
    let directory = Directory::take(&config.server.data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()?;
    // Ports first: an address that is taken should be told before anything is changed.
    let (public, internal) = runtime.block_on(async {
        let (listen, admin_listen) = (config.server.listen, config.server.admin_listen);
        io::Result::Ok((bind(listen, "listen")?, bind(admin_listen, "admin-listen")?))
    })?;
    let store = open_store(&config, accept_loss)?;
    let server = Server::start(config, store, &runtime)?;
    if cfg!(feature = "planted-faults") {
        warn!("this build can be told to be wrong: it is for tests and serves nobody");
    }
    if cfg!(feature = "conformance") {
        warn!("this build says back what it hears: it is for tests and serves nobody");
    }
    let ended = runtime.block_on(server.live(public, internal));
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(directory);
    ended
}

fn open_store(config: &Config, accept_loss: bool) -> Result<Arc<Store>, Failure> {
    let (data, durability) = (&config.server.data, config.store.durability);
    let (store, found) = match accept_loss {
        true => Store::open_accepting_loss(data, durability)?,
        false => Store::open(data, durability)?,
    };
    if let Some(doubt) = found.new_epochs {
        warn!("rooms have new epochs, since their logs may have gone back: {doubt:?}");
    }
    let store = Arc::new(store);
    let checked = store.clone();
    spawn("check", move || checking::check(&checked))?;
    Ok(store)
}

fn bind(address: SocketAddr, flag: &str) -> io::Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // As usual on Unix: the connections of a server that just ended do not hold the port.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(KNOCKING_MAX)
    };
    listen().map_err(|error| {
        let setting = flag.replace('-', "_");
        let why = format!(
            "{address} cannot be listened on: {error}; choose another address or port, or port 0 for one \
             that is free (server.{setting}, --{flag})"
        );
        io::Error::new(error.kind(), why)
    })
}

/// A server that runs.
struct Server {
    app: App,
    shards: Vec<JoinHandle<()>>,
    committer: JoinHandle<()>,
    alarms: [Arc<Alarm>; 2],
    stop_shards: Arc<AtomicBool>,
    stop_committer: Arc<AtomicBool>,
}

impl Server {
    fn start(
        config: Config,
        store: Arc<Store>,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<Server, Failure> {
        let clock = Arc::new(MachineClock::start());
        let revoked = store.reader()?.revoked()?;
        let Opened { login, watch, admin_key } = Login::open(&config, revoked, clock.wall_ms())?;
        spawn("keys", move || watch.run())?;
        let fresh = (login.clone(), clock.clone());
        runtime.spawn(async move { fresh.0.keep_fresh(|| fresh.1.wall_ms() / 1000).await });
        if let Some(path) = &admin_key {
            show_admin_key(path);
        }

        let limits = Arc::new(config.limits());
        let count = shard_count(&config);
        let mut beds = (0..count).map(|_| Bed::new()).collect::<io::Result<Vec<_>>>()?;
        let inboxes: Vec<Arc<Inbox>> =
            beds.iter().map(|bed| Arc::new(Inbox::new(limits.shard_queue, bed.alarm()))).collect();
        let hub = Arc::new(Hub::new(&limits, inboxes.clone(), Gauge::default()));
        let ttl = Duration::from_secs(limits.membership_ttl_s);
        let cache = Arc::new(Membership::new(limits.membership_entries, ttl));
        let people = Arc::new(People::default());
        let shared =
            Shared { hub: hub.clone(), cache: cache.clone(), people, limits: limits.clone() };
        let counters: Vec<Arc<Counters>> = (0..=count).map(|_| Arc::default()).collect();

        let alarms = [Arc::new(Alarm::default()), Arc::new(Alarm::default())];
        let ring = alarms[0].clone();
        let drafts = Arc::new(Queue::new(limits.commit_queue, move || ring.ring()));
        let library = Arc::new(Library::new(limits.lookup_queue, hub.clone(), cache.clone()));
        let gates = beds.iter().map(|bed| bed.gate(limits.connections_per_shard)).collect();
        let app = Arc::new(State {
            shared: shared.clone(),
            store: store.clone(),
            login: login.clone(),
            drafts: drafts.clone(),
            library: library.clone(),
            gates,
            clock: clock.clone(),
            health: Health::default(),
            counters: counters.clone(),
            upgrades: Default::default(),
            entrance: Arc::new(Entrance::new(&config.limits)),
            guests: Default::default(),
            config,
        });

        for reader in 0..app.config.server.readers {
            let (library, reader_of) = (library.clone(), store.reader()?);
            spawn(&format!("reader-{reader}"), move || library.read(reader_of))?;
        }
        let committing = Committing {
            committer: Committer::new(
                store.writer()?,
                hub.clone(),
                cache,
                limits.clone(),
                counters[count].clone(),
                Box::new(new_epoch),
            )?,
            drafts: drafts.clone(),
            alarm: alarms[0].clone(),
            clock: clock.clone(),
            batch_max: limits.commit_batch,
            fails: app.health.store_fails().clone(),
            stop: Arc::default(),
            damage: None,
        };
        let stop_committer = committing.stop.clone();
        let committer = spawn("committer", move || committing.run())?;
        if let Some(checkpointer) = store.checkpointer()? {
            let (stop, alarm) = (stop_committer.clone(), alarms[1].clone());
            spawn("checkpointer", move || checkpoint(checkpointer, &stop, &alarm))?;
        }
        let stop_shards = Arc::new(AtomicBool::new(false));
        let mut shards = Vec::new();
        for (id, bed) in beds.drain(..).enumerate() {
            let shard = Shard::new(id, &shared, counters[id].clone(), clock.now_ns());
            let surroundings = Surroundings {
                drafts: drafts.clone(),
                library: library.clone(),
                login: login.clone(),
                clock: clock.clone(),
                runtime: runtime.handle().clone(),
                inbox: inboxes[id].clone(),
                send_buffer_bytes: app.config.limits.send_buffer_bytes,
            };
            let drive = Drive::new(shard, bed, &app.gates[id], surroundings);
            let stop = stop_shards.clone();
            shards.push(spawn(&format!("shard-{id}"), move || {
                if let Err(error) = drive.run(&stop) {
                    error!("a shard cannot go on, its connections are lost: {error}");
                    std::process::abort();
                }
            })?);
        }
        Ok(Server { app, shards, committer, alarms, stop_shards, stop_committer })
    }

    /// Listens until a signal, then hands over.
    async fn live(self, public: TcpListener, internal: TcpListener) -> Result<(), Failure> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (stop_public, stopped_public) = watch::channel(false);
        let (stop_internal, stopped_internal) = watch::channel(false);
        say_ready(&self.app, public.local_addr()?, internal.local_addr()?)?;
        let router = http::public(&self.app);
        let entrance = self.app.entrance.clone();
        tokio::spawn(door::open(public, router, entrance, stopped_public));
        let router = http::internal(&self.app);
        let entrance = Arc::new(Entrance::new(&self.app.config.limits));
        tokio::spawn(door::open(internal, router, entrance, stopped_internal));

        tokio::spawn(keep_house(self.app.clone()));

        either(&mut terminate, &mut interrupt).await;
        info!("handing over");
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            warn!("told twice: ending at once");
            std::process::exit(1);
        });
        self.app.health.drain();
        stop_public.send_replace(true);
        let ended = tokio::task::spawn_blocking(move || self.drain()).await;
        stop_internal.send_replace(true);
        ended.unwrap_or_else(|error| Err(Failure::from(io::Error::other(error))))
    }

    /// Everyone is told to go, what was accepted is stored, the store is closed.
    fn drain(self) -> Result<(), Failure> {
        let Server { app, shards, committer, alarms, stop_shards, stop_committer } = self;
        let deadline = app.clock.now_ns() + app.config.server.drain_seconds * 1_000_000_000;
        stop_shards.store(true, Ordering::SeqCst);
        for inbox in app.shared.hub.inboxes() {
            inbox.queue.push_all([Input::Drain]);
        }
        let gone = wait_until(&app, deadline, || shards.iter().all(JoinHandle::is_finished));
        if !gone {
            warn!("some connections did not go in time");
        }
        stop_committer.store(true, Ordering::Release);
        alarms.iter().for_each(|alarm| alarm.ring());
        let last = app.clock.now_ns() + LAST_WORDS.as_nanos() as u64;
        let stored = wait_until(&app, last, || committer.is_finished());
        app.library.close();
        if stored {
            app.store.close()?;
        } else {
            warn!("the database did not answer to the end");
        }
        info!("ended");
        Ok(())
    }
}

/// Forgets what is over: who typed each second, memberships and people each minute.
async fn keep_house(app: App) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    for second in 0u64.. {
        seconds.tick().await;
        let app = app.clone();
        let swept = tokio::task::spawn_blocking(move || {
            let now_ns = app.clock.now_ns();
            app.shared.hub.expire_typing(now_ns / 1_000_000);
            if second % 60 == 59 {
                app.shared.cache.sweep(now_ns);
                app.shared.people.sweep(now_ns);
            }
        });
        if let Err(error) = swept.await {
            error!("what is over cannot be forgotten: {error}");
        }
    }
}

/// Waits for `done`, but not past `deadline_ns`. True if it came.
fn wait_until(app: &App, deadline_ns: u64, done: impl Fn() -> bool) -> bool {
    while !done() {
        if app.clock.now_ns() >= deadline_ns {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(body)
}

fn shard_count(config: &Config) -> usize {
    match config.server.shards {
        0 => thread::available_parallelism().map_or(1, usize::from).min(SHARDS_MAX),
        wanted => wanted,
    }
}

fn new_epoch() -> Epoch {
    let text: String =
        crate::random::bytes()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    Epoch::parse(&text).expect("hexadecimal digits are fit for an epoch")
}

/// The one line on standard output: scripts wait for it.
fn say_ready(app: &App, public: SocketAddr, internal: SocketAddr) -> io::Result<()> {
    let durability = app.config.store.durability.as_str();
    info!(durability, "ready: http://{public}, metrics at http://{internal}/metrics");
    let mut out = io::stdout().lock();
    writeln!(out, "tertulia ready http://{public} internal http://{internal}")?;
    out.flush()
}

/// Shown to a person, never to a log.
fn show_admin_key(path: &std::path::Path) {
    if io::stderr().is_terminal()
        && let Ok(key) = std::fs::read_to_string(path)
    {
        eprintln!("the first key, also in {}: {}", path.display(), key.trim());
    }
}

/// Every connection is a file: as many as the system lets us have.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() {
        warn!("the limit of open files stays at {:?}", limit.current);
    }
}

/// Whatever ends it, the keys and words in its memory are not left in a file.
fn leave_no_core() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Core).maximum;
    let none = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
    none.expect("a process may always lower its limits");
}
