//! Around: what a run depends on besides the programs, and which versions of those ran.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tertulia_proof::page;

use super::side::Yard;

/// The machine, its network, and everyone's version.
pub(super) fn facts(yard: &Yard) -> (Value, Value) {
    let mut machine = page::machine();
    // It decides when a small write leaves: bbr paces where others do not.
    let path = "/proc/sys/net/ipv4/tcp_congestion_control";
    machine["congestion_control"] = json!(std::fs::read_to_string(path).unwrap_or_default().trim());
    machine["processors"] = json!({"server": yard.apart.server, "load": yard.apart.load});
    let ws = std::fs::read_to_string(yard.peers.join("node_modules/ws/package.json"));
    let ws: Value = serde_json::from_str(&ws.unwrap_or_default()).unwrap_or_default();
    let versions = json!({
        "Tertulia": says(&yard.server, &["--version"]),
        // Of the folder it is run in, as far as that is one.
        "commit": says(Path::new("git"), &["describe", "--always", "--dirty"]),
        "Bun": says(&yard.peers.join("node_modules/.bin/bun"), &["--version"]),
        "Node": says(Path::new("node"), &["--version"]),
        "ws": ws["version"],
        "NATS": says(&yard.peers.join("venv/bin/nats-server"), &["--version"]),
        "SQLite": rusqlite::version(),
    });
    (machine, versions)
}

/// The first line of what a program says of itself.
fn says(program: &Path, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned();
    Some(said)
}
