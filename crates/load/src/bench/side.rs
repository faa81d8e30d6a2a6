//! Sides: what is measured beside each other. Each is started afresh, kept to one processor, and ended.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tertulia_proof::issuer::now_s;
use tertulia_proof::server::{Place, Server};

use super::dialect::Dialect;
use super::spent::Apart;
use crate::error::Error;
use crate::limit::{store, sync};
use crate::options::Durability;

/// Who is not ready by then will not be.
const READY_TIME_MAX: Duration = Duration::from_secs(30);

/// A room of ours.
pub(crate) const ROOM: &str = "bench";

/// Another one.
pub(crate) const OTHER_ROOM: &str = "other";

/// Rooms that one of many others hears.
pub(crate) const ROOMS_EACH: usize = 10;

/// Something that carries messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Tertulia(Durability),
    /// The copying limit.
    Copy {
        payload_bytes: usize,
    },
    /// The same with one write a message.
    Each {
        payload_bytes: usize,
    },
    Bun,
    Ws,
    Nats,
}

/// Where things are.
#[derive(Clone, Debug)]
pub(crate) struct Yard {
    pub(crate) apart: Apart,
    /// The server of this project.
    pub(crate) server: PathBuf,
    /// The folder with the peers' packages and scripts.
    pub(crate) peers: PathBuf,
}

/// What the bare store is to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    /// Messages of a commit, at most.
    pub(crate) batch: u64,
    pub(crate) messages: u64,
    /// 0 = they are all there.
    pub(crate) a_second: u64,
    pub(crate) event_bytes: usize,
    pub(crate) senders: usize,
}

/// A side that runs. It is ended when the value goes.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) pid: Pid,
    pub(crate) dialect: Dialect,
    /// Ours can be asked.
    pub(crate) server: Option<Server>,
    child: Option<Child>,
    _folder: Option<TempDir>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            _ = child.kill();
            _ = child.wait();
        }
    }
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Side::Tertulia(Durability::Fsync) => "Tertulia, fsync",
            Side::Tertulia(Durability::Os) => "Tertulia, os",
            Side::Tertulia(Durability::Memory) => "Tertulia, memory",
            Side::Copy { .. } => "limit: copy, a write per tick",
            Side::Each { .. } => "limit: copy, a write per message",
            Side::Bun => "Bun",
            Side::Ws => "Node ws",
            Side::Nats => "NATS",
        }
    }
}

impl Yard {
    /// Starts a side for so many members.
    pub(crate) fn start(&self, side: Side, members: usize) -> Result<Running, Error> {
        match side {
            Side::Tertulia(durability) => Ok(self.tertulia(durability, members)),
            Side::Copy { payload_bytes } => self.relay("tick", payload_bytes),
            Side::Each { payload_bytes } => self.relay("message", payload_bytes),
            Side::Bun => {
                let bun = self.peers.join("node_modules/.bin/bun");
                self.script(&bun, "bun.js")
            }
            Side::Ws => self.script(Path::new("node"), "ws.js"),
            Side::Nats => self.nats(),
        }
    }

    /// A fresh place for a server of ours.
    fn place(&self, durability: Durability) -> Place {
        Place::of(&self.server)
            .set("store.durability", durability.word())
            .set("limits.send_per_second", 0)
            .set("limits.connections_per_shard", 20_000)
            .below(&self.apart.below())
    }

    fn tertulia(&self, durability: Durability, members: usize) -> Running {
        let server = self.place(durability).open();
        server.room(ROOM, "group", &[]);
        let tokens = (0..members).map(|who| server.token_into(&format!("u{who}"), ROOM)).collect();
        let rooms = vec![format!(r#"[["{ROOM}"]]"#)];
        Running::ours(server, Dialect::Tertulia { room: ROOM.to_owned(), rooms, tokens })
    }

    /// Ours, whose members are stored and not granted by a token.
    pub(crate) fn with_members(&self, members: usize) -> Running {
        let server = self.place(Durability::Fsync).open();
        let users: Vec<String> = (0..members).map(|who| format!("u{who}")).collect();
        server.room(ROOM, "group", &users.iter().map(String::as_str).collect::<Vec<&str>>());
        let tokens = users.iter().map(|user| server.token(user)).collect();
        let rooms = vec![format!(r#"[["{ROOM}"]]"#)];
        Running::ours(server, Dialect::Tertulia { room: ROOM.to_owned(), rooms, tokens })
    }

    /// Ours with two shards, and two rooms with members of each.
    pub(crate) fn with_two_rooms(&self, members: usize, others: usize) -> (Running, Dialect) {
        let server = self.place(Durability::Fsync).set("server.shards", 2).open();
        let [here, there] = [(ROOM, members), (OTHER_ROOM, others)].map(|(room, members)| {
            server.room(room, "group", &[]);
            let token = |who| server.token_into(&format!("{room}{who}"), room);
            let (tokens, rooms) =
                ((0..members).map(token).collect(), vec![format!(r#"[["{room}"]]"#)]);
            Dialect::Tertulia { room: room.to_owned(), rooms, tokens }
        });
        (Running::ours(server, here), there)
    }

    /// Ours with so many rooms more, and members for them: each is granted ten, and hears them.
    pub(crate) fn with_rooms(&self, rooms: usize, members: usize) -> (Running, Dialect) {
        let mut running = self.tertulia(Durability::Memory, members);
        let server = running.server.as_mut().expect("ours");
        let names: Vec<String> = (0..rooms).map(|room| format!("other{room}")).collect();
        names.iter().for_each(|name| server.room(name, "group", &[]));
        let others = names.chunks(ROOMS_EACH).enumerate().map(|(who, names)| {
            let (user, now_s) = (format!("o{who}"), now_s());
            let granted: serde_json::Map<String, serde_json::Value> =
                names.iter().map(|name| (name.clone(), "member".into())).collect();
            let claims = serde_json::json!({
                "sub": user, "iat": now_s - 10, "exp": now_s + 3600, "rooms": granted,
            });
            let heard: Vec<[&String; 1]> = names.iter().map(|name| [name]).collect();
            (server.token_of(claims), serde_json::json!(heard).to_string())
        });
        let (tokens, rooms) = others.unzip();
        let others = Dialect::Tertulia { room: ROOM.to_owned(), rooms, tokens };
        (running, others)
    }

    fn relay(&self, write: &str, payload_bytes: usize) -> Result<Running, Error> {
        let own = std::env::current_exe().map_err(Error::io("finding this tool"))?;
        let mut command = self.command(&own);
        command.args(["limit", "relay", "--write", write, "--payload-bytes"]);
        self.ready(command.arg(payload_bytes.to_string()))
    }

    /// What it takes to write the rows of messages and nothing else.
    pub(crate) fn bare_store(&self, rows: Rows) -> Result<store::Took, Error> {
        let options = [
            ("--batch", rows.batch),
            ("--messages", rows.messages),
            ("--a-second", rows.a_second),
            ("--event-bytes", rows.event_bytes as u64),
            ("--senders", rows.senders as u64),
        ];
        self.bare("store", &options)
    }

    /// What a write and its sync take by themselves.
    pub(crate) fn bare_sync(&self, times: u64) -> Result<sync::Took, Error> {
        self.bare("sync", &[("--times", times)])
    }

    /// What a limit program says, in a fresh folder on the disk where the servers have theirs.
    fn bare<T: DeserializeOwned>(&self, limit: &str, options: &[(&str, u64)]) -> Result<T, Error> {
        let folder = tempfile::tempdir().map_err(Error::io("making a folder"))?;
        let own = std::env::current_exe().map_err(Error::io("finding this tool"))?;
        let mut command = self.command(&own);
        command.args(["limit", limit, "--folder"]).arg(folder.path());
        for (option, value) in options {
            command.args([option, value.to_string().as_str()]);
        }
        let output = command.output().map_err(Error::io("starting a limit program"))?;
        serde_json::from_slice(&output.stdout).map_err(|_| Error::Peer {
            what: format!("{command:?}"),
            why: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    fn script(&self, runtime: &Path, script: &str) -> Result<Running, Error> {
        self.ready(self.command(runtime).arg(self.peers.join(script)))
    }

    /// A program, kept to the servers' processor.
    fn command(&self, program: &Path) -> Command {
        let below = self.apart.below();
        let mut command = Command::new(&below[0]);
        command.args(&below[1..]).arg(program).stdin(Stdio::null());
        command
    }

    /// Starts what says `ready ADDR` when it is.
    fn ready(&self, command: &mut Command) -> Result<Running, Error> {
        let what = format!("{command:?}");
        let failed = |why: String| Error::Peer { what: what.clone(), why };
        let spawned = command.stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| failed(error.to_string()))?;
        let stdout = child.stdout.take().expect("it was asked for");
        let mut running = Running::of(child, Dialect::Plain);
        let (tell, told) = mpsc::sync_channel(1);
        // A pipe cannot be read with a time limit. The thread ends with the program.
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            // Nobody may be waiting any more.
            _ = tell.send(read.map(|_| line));
        });
        let line = match told.recv_timeout(READY_TIME_MAX) {
            Ok(line) => line.map_err(|error| failed(error.to_string()))?,
            Err(_) => return Err(failed(format!("no word within {READY_TIME_MAX:?}"))),
        };
        let addr = line.trim().strip_prefix("ready ").and_then(|addr| addr.parse().ok());
        running.addr = addr.ok_or_else(|| failed(format!("its first line is {line:?}")))?;
        Ok(running)
    }

    fn nats(&self) -> Result<Running, Error> {
        let failed = |why: String| Error::Peer { what: "nats-server".to_owned(), why };
        let folder = tempfile::tempdir().map_err(Error::io("making a folder"))?;
        let config = folder.path().join("nats.conf");
        let log = folder.path().join("nats.log");
        // It takes free ports by itself and leaves a file that names them: a port that we found
        // free may be somebody's by the time it listens.
        let words = format!(
            "listen: \"127.0.0.1:-1\"\nports_file_dir: {folder:?}\nlog_file: {log:?}\n\
             max_connections: 20000\nwebsocket {{ listen: \"127.0.0.1:-1\", no_tls: true }}\n",
            folder = folder.path(),
        );
        std::fs::write(&config, words).map_err(|error| failed(error.to_string()))?;
        let spawned =
            self.command(&self.peers.join("venv/bin/nats-server")).arg("-c").arg(&config).spawn();
        let child = spawned.map_err(|error| failed(error.to_string()))?;
        let mut running = Running::of(child, Dialect::Nats);
        let until = Instant::now() + READY_TIME_MAX;
        running.addr = loop {
            if let Some(addr) = nats_listens_at(folder.path()) {
                break addr;
            }
            if Instant::now() > until {
                let said = std::fs::read_to_string(&log).unwrap_or_else(|error| error.to_string());
                return Err(failed(format!(
                    "not ready within {READY_TIME_MAX:?}; it says: {said}"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        running._folder = Some(folder);
        Ok(running)
    }
}

/// What the file of ports in `folder` calls the WebSocket's address: nothing until it is whole.
fn nats_listens_at(folder: &Path) -> Option<SocketAddr> {
    let mut files = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let ports = files.find(|file| file.path().extension().is_some_and(|end| end == "ports"))?;
    let ports = std::fs::read(ports.path()).ok()?;
    let ports: serde_json::Value = serde_json::from_slice(&ports).ok()?;
    ports["websocket"][0].as_str()?.strip_prefix("ws://")?.parse().ok()
}

impl Running {
    /// Ours, ended and started again on the same data.
    pub(crate) fn again(mut self) -> Running {
        let mut server = self.server.take().expect("ours");
        server.kill();
        Running::ours(server.place.open(), self.dialect.clone())
    }

    fn ours(server: Server, dialect: Dialect) -> Running {
        Running {
            addr: server.public,
            pid: Pid::from_raw(server.pid()).expect("a process"),
            dialect,
            server: Some(server),
            child: None,
            _folder: None,
        }
    }

    fn of(child: Child, dialect: Dialect) -> Running {
        Running {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            pid: Pid::from_child(&child),
            dialect,
            server: None,
            child: Some(child),
            _folder: None,
        }
    }
}
