//! Server: a place with data, and a process that serves it, time after time.
//!
//! When a place goes, all that its servers said is searched for secrets and panics.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tertulia_protocol::Epoch;

use crate::http::{self, Answer};
use crate::issuer::Issuer;

/// Whatever is waited for and has not come by then does not come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at a state.
const LOOK_EVERY: Duration = Duration::from_millis(10);

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Stands in every body of every story, and may stand in no log.
pub const WHISPER: &str = "between-you-and-me";

/// Where data is kept, and how it is to be served.
#[derive(Clone)]
pub struct Place {
    program: PathBuf,
    ground: Arc<Ground>,
    /// The data directory.
    pub data: PathBuf,
    env: Vec<(String, String)>,
    claims: Vec<(&'static str, Value)>,
    wrapper: Vec<String>,
    /// What it listens at, and where it is reached.
    listen: (IpAddr, IpAddr),
}

/// What is there as long as anyone looks at the place.
struct Ground {
    folder: TempDir,
    /// What no log may hold.
    secrets: Mutex<Vec<String>>,
}

impl Drop for Ground {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server said:\n{}", self.said());
            return;
        }
        let said = self.said();
        assert!(!said.contains("panicked"), "a server panicked:\n{said}");
        let secrets = self.secrets.get_mut().expect("no one panics while holding the secrets");
        for secret in secrets.iter().map(String::as_str).chain([WHISPER]) {
            assert!(!said.contains(secret), "{secret} stands in the log:\n{said}");
        }
    }
}

impl Ground {
    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }
}

impl Place {
    /// A fresh place, served by `program`.
    pub fn of(program: &Path) -> Place {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        let ground = Arc::new(Ground { folder, secrets: Mutex::default() });
        let program = program.to_owned();
        let (env, claims, wrapper) = (Vec::new(), Vec::new(), Vec::new());
        let listen = (LOOPBACK, LOOPBACK);
        Place { program, ground, data, env, claims, wrapper, listen }
    }

    /// With a setting, like `limits.ping_s`.
    pub fn set(mut self, setting: &str, value: impl ToString) -> Place {
        let name = setting.replace('.', "__").to_uppercase();
        self.env.push((format!("TERTULIA_{name}"), value.to_string()));
        self
    }

    /// Tokens have that claim, too: the settings ask for it.
    pub fn claim(mut self, name: &'static str, value: impl Into<Value>) -> Place {
        self.claims.push((name, value.into()));
        self
    }

    /// Served by a program that is wrong on purpose.
    pub fn plant(mut self, fault: &str) -> Place {
        self.env.push(("PLANTED_FAULT".to_owned(), fault.to_owned()));
        self
    }

    /// Served below another program.
    pub fn below(mut self, wrapper: &[impl AsRef<str>]) -> Place {
        self.wrapper = wrapper.iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// Listening at one address, and reached at another: the same, or one that the first one stands for.
    pub fn listen(mut self, at: IpAddr, reached: IpAddr) -> Place {
        self.listen = (at, reached);
        self
    }

    /// A file or folder beside the data.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.ground.folder.path().join(name)
    }

    /// All that the servers here said on standard error.
    pub fn said(&self) -> String {
        self.ground.said()
    }

    /// May stand in no log from now on.
    pub fn hide(&self, secret: &str) {
        let mut secrets = self.ground.secrets.lock().expect("no one panics while hiding");
        secrets.push(secret.to_owned());
    }

    /// Another command of the program, on the same data.
    pub fn command(&self, words: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.args(words).arg("--data").arg(&self.data);
        command.env_clear().output().expect("the program runs")
    }

    /// Starts a server and waits until it is ready.
    #[track_caller]
    pub fn open(&self) -> Server {
        self.try_open().unwrap_or_else(|line| panic!("no server: {line:?}\n{}", self.said()))
    }

    /// The same. Errors: what it said on standard output instead.
    pub fn try_open(&self) -> Result<Server, String> {
        let log = OpenOptions::new().create(true).append(true).open(self.beside("stderr"));
        let mut words = self.wrapper.clone();
        words.push(self.program.display().to_string());
        let listen = SocketAddr::new(self.listen.0, 0).to_string();
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args(["serve", "--listen", &listen, "--admin-listen", &listen, "--data"])
            .arg(&self.data)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("a file for what it says"))
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", words[0]));
        let mut out = BufReader::new(child.stdout.take().expect("it was asked for"));
        // One line, said once.
        let (tell, told) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let mut line = String::new();
            // Nobody may wait any more.
            _ = tell.send(out.read_line(&mut line).map(|_| line));
        });
        let line = told.recv_timeout(PATIENCE).map(|line| line.unwrap_or_default());
        let line = line.unwrap_or_default();
        let Some((mut public, mut internal)) = addresses(&line) else {
            // Not left behind.
            _ = child.kill();
            _ = child.wait();
            return Err(line);
        };
        public.set_ip(self.listen.1);
        internal.set_ip(self.listen.1);
        let key = fs::read_to_string(self.data.join("admin.key")).expect("the first key");
        let secret = self.secret();
        let (key, secret) = (key.trim().to_owned(), secret.trim().to_owned());
        self.hide(&key);
        self.hide(&secret);
        let pid = fs::read_to_string(self.data.join("lock")).expect("the lock");
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a process");
        Ok(Server { place: self.clone(), child, pid, public, internal, key, secret })
    }

    /// What servers here sign with: as the settings have it, or in the data.
    fn secret(&self) -> String {
        let set = self.env.iter().find(|(name, _)| name == "TERTULIA_AUTH__HS256_SECRET");
        match set {
            Some((_, secret)) => secret.clone(),
            None => fs::read_to_string(self.data.join("secret")).expect("the secret"),
        }
    }
}

/// The two addresses in `tertulia ready http://ADDR internal http://ADDR`.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let rest = line.trim_end().strip_prefix("tertulia ready http://")?;
    let (public, internal) = rest.split_once(" internal http://")?;
    Some((public.parse().ok()?, internal.parse().ok()?))
}

/// A server that runs. It is killed when the value goes.
pub struct Server {
    /// Where it serves.
    pub place: Place,
    child: Child,
    pid: Pid,
    /// Where clients come in.
    pub public: SocketAddr,
    /// Where metrics and health are.
    pub internal: SocketAddr,
    /// A key of the scope `admin`.
    pub key: String,
    secret: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Below a wrapper it is not our child, and ends before the wrapper does.
        if self.is_unwaited() {
            self.signal(Signal::KILL);
            _ = self.child.wait();
        }
    }
}

impl Server {
    /// Its process.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends a signal. The process may have ended, as long as nobody has looked.
    pub fn signal(&self, signal: Signal) {
        _ = kill_process(self.pid, signal);
    }

    /// Whether it is still there. One that was killed is not, though its end can be waited for only a moment
    /// later.
    pub fn lives(&mut self) -> bool {
        self.is_unwaited() && self.has_memory()
    }

    fn is_unwaited(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How it ended.
    pub fn ended(&mut self, within: Duration) -> ExitStatus {
        let until = Instant::now() + within;
        loop {
            match self.child.try_wait().expect("it is our child") {
                Some(status) => return status,
                None if Instant::now() < until => std::thread::sleep(LOOK_EVERY),
                None => panic!("it has not ended within {within:?}"),
            }
        }
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended(PATIENCE);
    }

    /// A call with `bearer`. Every POST is another one.
    pub fn call_as(&self, bearer: &str, method: &str, path: &str, body: &str) -> Answer {
        let cid = format!("{:x}", now_ns());
        let headers = format!("Authorization: Bearer {bearer}\r\nIdempotency-Key: {cid}\r\n");
        let answer = http::call(self.public, method, path, &headers, body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// A call of the application's.
    pub fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.call_as(&self.key, method, path, body)
    }

    /// A call of the application's that goes well.
    pub fn done(&self, method: &str, path: &str, body: &str) -> Answer {
        let answer = self.call(method, path, body);
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        answer
    }

    /// A room of that kind with these members.
    pub fn room(&self, room: &str, kind: &str, members: &[&str]) {
        self.done("PUT", &format!("/v1/rooms/{room}"), &format!(r#"{{"kind":"{kind}"}}"#));
        for user in members {
            let path = format!("/v1/rooms/{room}/members/{user}");
            self.done("PUT", &path, r#"{"role":"member"}"#);
        }
    }

    /// The life of the room's log.
    #[track_caller]
    pub fn epoch(&self, room: &str) -> Epoch {
        let shown = self.done("GET", &format!("/v1/rooms/{room}"), "").json();
        Epoch::parse(shown["epoch"].as_str().expect("an epoch")).expect("one")
    }

    /// Every event of the room, as stored, oldest first. Errors: the log cannot be read to its end.
    pub fn log(&self, room: &str) -> Result<Vec<String>, String> {
        #[derive(serde::Deserialize)]
        struct Page {
            evs: Vec<Box<serde_json::value::RawValue>>,
            head: u64,
        }
        let mut events = Vec::new();
        loop {
            let path = format!("/v1/rooms/{room}/log?after={}&limit=1000", events.len());
            let answer = self.call("GET", &path, "");
            let page: Page = serde_json::from_str(&answer.body)
                .map_err(|error| format!("{path}: {} {} {error}", answer.status, answer.body))?;
            if page.evs.is_empty() && (events.len() as u64) < page.head {
                return Err(format!("{path}: nothing, though the head is {}", page.head));
            }
            events.extend(page.evs.iter().map(|event| event.get().to_owned()));
            if events.len() as u64 >= page.head {
                return Ok(events);
            }
        }
    }

    /// A token that was issued ten seconds ago and lives for an hour.
    pub fn token(&self, user: &str) -> String {
        let now_s = now_ns() / 1_000_000_000;
        self.token_of(json!({"sub": user, "iat": now_s - 10, "exp": now_s + 3600}))
    }

    /// The same, of someone who is a member of `room` for as long as it lives.
    pub fn token_into(&self, user: &str, room: &str) -> String {
        let now_s = now_ns() / 1_000_000_000;
        let (iat, exp) = (now_s - 10, now_s + 3600);
        self.token_of(json!({"sub": user, "iat": iat, "exp": exp, "rooms": {room: "member"}}))
    }

    /// A token that ends in so many seconds, counted from the last full one.
    pub fn token_for(&self, user: &str, seconds: u64) -> String {
        let now_s = now_ns() / 1_000_000_000;
        self.token_of(json!({"sub": user, "iat": now_s, "exp": now_s + seconds}))
    }

    /// A token for a server whose clock stands at that second: issued ten seconds before, ends in so many.
    pub fn token_at(&self, user: &str, now_s: u64, seconds: u64) -> String {
        self.token_of(json!({"sub": user, "iat": now_s - 10, "exp": now_s + seconds}))
    }

    /// A token that ended a minute ago.
    pub fn token_that_ended(&self, user: &str) -> String {
        let now_s = now_ns() / 1_000_000_000;
        self.token_of(json!({"sub": user, "iat": now_s - 120, "exp": now_s - 60}))
    }

    /// A token with these claims and those of the place, signed with the server's own secret.
    pub fn token_of(&self, mut claims: Value) -> String {
        for (name, value) in &self.place.claims {
            claims[name] = value.clone();
        }
        let token = self.issuer().token(&claims);
        self.place.hide(token.rsplit('.').next().unwrap_or_default());
        token
    }

    /// Whoever knows the server's own secret.
    pub fn issuer(&self) -> Issuer {
        Issuer::shared(&self.secret)
    }

    /// The value of a series, as it stands in `/metrics`, its labels included.
    pub fn metric(&self, series: &str) -> u64 {
        let text = self.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = line.unwrap_or_else(|| panic!("{series} is not among\n{text}"));
        value.parse().unwrap_or_else(|_| panic!("{series} is {value}"))
    }

    /// `/metrics`, which holds no secret.
    pub fn metrics(&self) -> String {
        let answer = http::call(self.internal, "GET", "/metrics", "", "");
        let text = answer.expect("metrics").body;
        assert!(!text.contains(WHISPER) && !text.contains(&self.key), "a secret in {text}");
        text
    }

    /// Whether it says that it wants work.
    pub fn is_ready(&self) -> bool {
        let answer = http::call(self.internal, "GET", "/readyz", "", "");
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// Looks until `state` is so.
    #[track_caller]
    pub fn until(&self, what: &str, state: impl Fn(&Server) -> bool) {
        wait_for(what, PATIENCE, || state(self));
    }
}

/// Looks until `state` is so, and says how long that took.
#[track_caller]
pub fn wait_for(what: &str, within: Duration, mut state: impl FnMut() -> bool) -> Duration {
    let from = Instant::now();
    while !state() {
        assert!(from.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
    from.elapsed()
}

/// As many open files as may be had.
pub fn raise_file_limit(needed: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let enough = maximum.is_none_or(|maximum| maximum >= needed);
    assert!(raised.is_ok() && enough, "this story needs {needed} open files (ulimit -n)");
}

/// A file with `bytes` bytes.
pub fn put_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    File::create(path)?.write_all(bytes)
}

/// Nanoseconds since 1970 UTC.
fn now_ns() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos() as u64
}
