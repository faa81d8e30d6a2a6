//! Server: the one that is driven, either given by its address or started for the run.
//!
//! Never: leaves a server behind that it started, ends one that it did not.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::error::Error;
use crate::http::Api;
use crate::options::{Durability, Options, server_path};

/// A server that is not ready by then will not be.
const READY_TIME_MAX: Duration = Duration::from_secs(30);

/// A server that has not ended by then is killed.
const END_TIME_MAX: Duration = Duration::from_secs(60);

/// How often it is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How much of what it said is repeated.
const SAID_LINES_MAX: usize = 40;

/// Where the server is and how to make users there.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    /// What stands in `Host`.
    pub(crate) host: String,
    key: String,
    /// Its internal address, if it is known.
    pub(crate) internal: Option<SocketAddr>,
    own: Option<Own>,
}

/// A server that was started for the run.
struct Own {
    path: PathBuf,
    child: Child,
    folder: TempDir,
}

impl Server {
    /// The server that the options name, or a fresh one.
    pub(crate) fn open(options: &Options) -> Result<Server, Error> {
        let Some(url) = &options.url else {
            return Server::start(&server_path(options.server.as_ref())?, options.durability);
        };
        let (addr, host) = resolve(url)?;
        let internal = match &options.metrics_url {
            Some(url) => Some(resolve(url)?.0),
            None => None,
        };
        let key = options.key.clone().unwrap_or_default();
        Ok(Server { addr, host, key, internal, own: None })
    }

    fn start(path: &Path, durability: Durability) -> Result<Server, Error> {
        let folder = tempfile::Builder::new()
            .prefix("tertulia-load-")
            .tempdir()
            .map_err(Error::io("making a folder for the server's data"))?;
        let data = folder.path().join("data");
        let said = folder.path().join("stderr");
        let stderr = File::create(&said).map_err(|source| Error::File { path: said, source })?;
        let mut child = Command::new(path)
            .arg("serve")
            .arg("--data")
            .arg(&data)
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--durability", durability.word()])
            .env("TERTULIA_LIMITS__SEND_PER_SECOND", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|source| Error::Start { path: path.to_owned(), source })?;
        let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
        let own = Own { path: path.to_owned(), child, folder };
        let line = first_line(stdout).map_err(|why| own.not_ready(why))?;
        let Some((addr, internal)) = read_ready(&line) else {
            return Err(own.not_ready(format!("its first line is {line:?}")));
        };
        let key_path = data.join("admin.key");
        let key = fs::read_to_string(&key_path)
            .map_err(|error| own.not_ready(format!("{}: {error}", key_path.display())))?;
        Ok(Server {
            addr,
            host: addr.to_string(),
            key: key.trim().to_owned(),
            internal: Some(internal),
            own: Some(own),
        })
    }

    pub(crate) fn api(&self) -> Api<'_> {
        Api { addr: self.addr, host: &self.host, key: &self.key }
    }

    /// CPU time that the server has spent, if it is ours to look at.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let pid = self.own.as_ref()?.child.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything, so the fields are counted from behind it.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        let ticks = (user + system) as f64 / rustix::param::clock_ticks_per_second() as f64;
        Some(Duration::from_secs_f64(ticks))
    }

    /// Repeats what a server that was started here said on standard error.
    pub(crate) fn repeat_words(&self) {
        if let Some(said) = self.own.as_ref().map(Own::said).filter(|said| !said.is_empty()) {
            eprintln!("the server said:\n{said}");
        }
    }

    /// Ends the server if it was started here, and says so if it did not end well.
    pub(crate) fn close(mut self) -> Result<(), Error> {
        match self.own.take() {
            Some(own) => own.end(),
            None => Ok(()),
        }
    }
}

impl Own {
    fn not_ready(&self, why: String) -> Error {
        Error::NotReady { path: self.path.clone(), why, said: self.said() }
    }

    /// The last lines of the server's standard error.
    fn said(&self) -> String {
        let said = fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(SAID_LINES_MAX)..].join("\n")
    }

    fn end(mut self) -> Result<(), Error> {
        let ending = |why: String, own: &Own| Error::BadEnd { status: why, said: own.said() };
        // Already gone is no reason to stop here: its status tells.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let until = Instant::now() + END_TIME_MAX;
        while Instant::now() < until {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(ending(status.to_string(), &self)),
                Ok(None) => std::thread::sleep(LOOK_EVERY),
                Err(error) => return Err(ending(error.to_string(), &self)),
            }
        }
        Err(ending(format!("nothing within {} s of SIGTERM", END_TIME_MAX.as_secs()), &self))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // After `end` both find nobody, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The line that says where the server listens, or why there is none.
fn first_line(stdout: ChildStdout) -> Result<String, String> {
    let (tell, told) = mpsc::sync_channel(1);
    // A pipe cannot be read with a time limit. The thread ends with the server.
    std::thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        let read = stdout.read_line(&mut line).map(|_| line);
        // Nobody may be waiting any more; what comes after is read so that it cannot block the server.
        let _ = tell.send(read);
        let _ = io::copy(&mut stdout, &mut io::sink());
    });
    match told.recv_timeout(READY_TIME_MAX) {
        Ok(Ok(line)) if !line.is_empty() => Ok(line),
        Ok(Ok(_)) => Err("it ended".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no word within {} s", READY_TIME_MAX.as_secs())),
    }
}

/// The two addresses in `tertulia ready http://ADDR internal http://ADDR`.
fn read_ready(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let rest = line.trim_end().strip_prefix("tertulia ready http://")?;
    let (addr, internal) = rest.split_once(" internal http://")?;
    Some((addr.parse().ok()?, internal.parse().ok()?))
}

/// The address behind `http://HOST:PORT`, and what stands in `Host`.
fn resolve(url: &str) -> Result<(SocketAddr, String), Error> {
    let bad = |why: String| Error::Url { url: url.to_owned(), why };
    let host = url.strip_prefix("http://").ok_or_else(|| bad("it is not http".into()))?;
    let host = host.trim_end_matches('/');
    let found = host.to_socket_addrs().map_err(|error| bad(error.to_string()))?.next();
    Ok((found.ok_or_else(|| bad("no address has that name".into()))?, host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_both_addresses() {
        let line = "tertulia ready http://127.0.0.1:8080 internal http://127.0.0.1:9090\n";
        let (addr, internal) = read_ready(line).unwrap();
        assert_eq!((addr.port(), internal.port()), (8080, 9090));
        assert_eq!(read_ready("tertulia is tired"), None);
    }

    #[test]
    fn a_url_that_is_none_says_what_one_is() {
        assert_eq!(resolve("http://127.0.0.1:80/").unwrap().0.port(), 80);
        for url in ["127.0.0.1:80", "https://127.0.0.1:80", "http://127.0.0.1"] {
            let words = resolve(url).unwrap_err().to_string();
            assert!(words.contains(url) && words.contains("http://HOST:PORT"), "{words}");
        }
    }
}
