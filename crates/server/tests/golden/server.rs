//! Server: a real process with a folder of its own, that can be killed, trimmed and started again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{Answer, Call};
use super::tokens;

/// A server that is not ready by then will not be.
const READY_TIME_MAX: Duration = Duration::from_secs(30);

/// How much of what the server said stands under a failure.
const SAID_LINES_MAX: usize = 20;

/// What is set unless a vector sets it: no rates, and two shards however many cores there are.
const SETTINGS: [(&str, &str, u64); 3] = [
    ("limits", "send_per_second", 0),
    ("limits", "command_per_second", 0),
    ("server", "shards", 2),
];

/// A server that runs. It ends with the value.
pub(crate) struct Server {
    folder: TempDir,
    child: Child,
    pub(crate) addr: SocketAddr,
    key: String,
}

impl Server {
    /// A fresh one. `settings` are sections of its file.
    pub(crate) fn start(
        settings: &BTreeMap<String, BTreeMap<String, Value>>,
    ) -> Result<Server, String> {
        let folder = tempfile::Builder::new().prefix("tertulia-golden-").tempdir().unwrap();
        let mut sections = settings.clone();
        for (section, key, value) in SETTINGS {
            let keys = sections.entry(section.to_owned()).or_default();
            keys.entry(key.to_owned()).or_insert_with(|| json!(value));
        }
        let mut file = String::new();
        for (section, keys) in &sections {
            file += &format!("[{section}]\n");
            // JSON's numbers, flags and plain texts are TOML's, too.
            keys.iter().for_each(|(key, value)| file += &format!("{key} = {value}\n"));
        }
        fs::write(folder.path().join("tertulia.toml"), file).unwrap();
        let (child, addr) = run(&folder)?;
        let key = fs::read_to_string(folder.path().join("data/admin.key")).unwrap();
        Ok(Server { key: key.trim().to_owned(), folder, child, addr })
    }

    /// Kills it and starts it again, with what is below these numbers trimmed meanwhile.
    pub(crate) fn restart(&mut self, first: &BTreeMap<String, u64>) -> Result<(), String> {
        self.kill();
        for (room, first) in first {
            self.trim(room, *first).map_err(|why| format!("trimming {room}: {why}"))?;
        }
        (self.child, self.addr) = run(&self.folder)?;
        Ok(())
    }

    fn kill(&mut self) {
        // Gone already is as good.
        _ = self.child.kill();
        _ = self.child.wait();
    }

    /// Removes the oldest events as a retention would.
    fn trim(&self, room: &str, first: u64) -> rusqlite::Result<()> {
        let db = Connection::open(self.folder.path().join("data/tertulia.db"))?;
        let first = first.cast_signed();
        let no: i64 =
            db.query_row("SELECT no FROM rooms WHERE id = ?", [room], |row| row.get(0))?;
        db.execute("UPDATE rooms SET first = ? WHERE no = ?", [first, no])?;
        let (from, to) = (no << 36, no << 36 | first);
        db.execute("DELETE FROM events WHERE id >= ? AND id < ?", [from, to])?;
        Ok(())
    }

    /// Its application's key.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// A fresh token of `user`; `grants` as in its claim.
    pub(crate) fn token(&self, user: &str, grants: Option<&str>) -> Result<String, String> {
        let rooms = grants.map(|rooms| format!(r#","rooms":{rooms}"#)).unwrap_or_default();
        let body = format!(r#"{{"user":"{user}"{rooms}}}"#);
        let answer = self.call(self.key(), "POST", "/v1/tokens", Some("t"), &body)?;
        let token = answer.json()?["token"].as_str().map(str::to_owned);
        token.ok_or_else(|| format!("no token for {user}: {answer:?}"))
    }

    /// A token that ended a minute ago.
    pub(crate) fn expired(&self, user: &str) -> String {
        let secret = fs::read_to_string(self.folder.path().join("data/secret")).unwrap();
        tokens::sign(secret.trim_end(), user, -60)
    }

    /// One call that must go well.
    pub(crate) fn call(
        &self,
        bearer: &str,
        method: &str,
        path: &str,
        idempotency_key: Option<&str>,
        body: &str,
    ) -> Result<Answer, String> {
        let (bearer, body) = (Some(bearer), Some(body));
        let answer = Call { bearer, method, path, idempotency_key, body }.make(self.addr)?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        Err(format!("{method} {path}: {answer:?}"))
    }

    /// Its last words on standard error.
    pub(crate) fn said(&self) -> String {
        said(&self.folder)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts the process and waits until it is ready.
fn run(folder: &TempDir) -> Result<(Child, SocketAddr), String> {
    let stderr = File::options().create(true).append(true).open(folder.path().join("stderr"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_tertulia"))
        .args(["serve", "--data", "data"])
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .current_dir(folder.path())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr.unwrap())
        .spawn()
        .map_err(|why| format!("the server does not start: {why}"))?;
    let stdout = child.stdout.take().unwrap();
    let (tell, told) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut line = String::new();
        // What could not be read shows in the line.
        _ = BufReader::new(stdout).read_line(&mut line);
        _ = tell.send(line);
    });
    let line = told.recv_timeout(READY_TIME_MAX).unwrap_or_default();
    match line.strip_prefix("tertulia ready http://").and_then(|rest| rest.split(' ').next()) {
        Some(addr) => Ok((child, addr.parse().unwrap())),
        None => {
            _ = child.kill();
            _ = child.wait();
            Err(format!("the server is not ready, it said {line:?}\n{}", said(folder)))
        }
    }
}

fn said(folder: &TempDir) -> String {
    let said = fs::read_to_string(folder.path().join("stderr")).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(SAID_LINES_MAX)..].join("\n")
}
