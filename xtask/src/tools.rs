//! Tools: what the tests need beside a Rust toolchain; what is missing is installed, or named.
//!
//! Never: changes what is there already. Programs of the project's own choice go to `target/tools`.

use std::path::{Path, PathBuf};

use crate::run::{Done, root, show, version};

/// Programs of the system, what tells their version, and the Debian package that has them.
const PACKAGES: &[(&str, &str)] = &[
    ("cc --version", "gcc"),
    ("git --version", "git"),
    ("chromium --version", "chromium"), // the page's tests
    ("strace -V", "strace"),            // a disk that fails
    ("python3 --version", "python3"),   // a database that another process has locked
    ("faketime --version", "faketime"), // a clock that jumps
    ("valgrind --version", "valgrind"), // instructions
    ("ip -V", "iproute2"),              // a network that fails
    ("python3 -m ensurepip --version", "python3-venv"), // the WebSocket test suite
];

/// The oldest that has the test runner and the sockets that the page's tests use; Debian's own is older.
const NODE_MAJOR: u32 = 20;

const NEXTEST: &str = "0.9.143";
const DENY: &str = "0.20.2";
const FUZZ: &str = "0.13.2";

/// Runs the benches that count instructions; a runner of another version than the library refuses to.
const GUNGRAUN: &str = "0.20.0";

/// Runs the Autobahn cases; the package of those who wrote them is for Python 2.
const SUITE: &str = "kosoku==0.1.0";

/// Where a program of the project's own choice stands once it is installed.
pub(crate) fn installed(name: &str) -> PathBuf {
    root().join("target/tools/bin").join(name)
}

/// Where the programs of the WebSocket test suite stand after [`run`].
pub(crate) fn suite(program: &str) -> PathBuf {
    root().join("target/autobahn/bin").join(program)
}

/// Installs what is missing; every one that cannot be had is named.
pub(crate) fn run() -> Done {
    let mut missing: Vec<String> =
        [packages(), node(), nextest(), cargo_deny(), gungraun(), cases()]
            .into_iter()
            .filter_map(Result::err)
            .collect();
    if missing.is_empty() {
        return Ok(());
    }
    missing
        .insert(0, "the tests cannot be run, this is missing and could not be installed:".into());
    Err(missing.join("\n  "))
}

fn packages() -> Done {
    let absent: Vec<&str> =
        PACKAGES.iter().filter(|(call, _)| !told(call)).map(|(_, package)| *package).collect();
    if absent.is_empty() {
        return Ok(());
    }
    let names = absent.join(" ");
    let sudo = if is_root() { "" } else { "sudo " };
    show(&format!("{sudo}apt-get update -q"))
        .and_then(|()| {
            show(&format!(
                "{sudo}env DEBIAN_FRONTEND=noninteractive \
                 apt-get install -q -y --no-install-recommends {names}"
            ))
        })
        .map_err(|why| format!("Debian's packages {names}: {why}"))?;
    match PACKAGES.iter().find(|(call, _)| !told(call)) {
        Some((call, package)) => Err(format!("`{call}` still fails with {package} installed")),
        None => Ok(()),
    }
}

fn node() -> Done {
    let found = version("node --version").ok_or("node and npm: not found")?;
    if node_major(&found).is_none_or(|major| major < NODE_MAJOR) {
        return Err(format!("node {found}: must be {NODE_MAJOR} or newer"));
    }
    let npm = version("npm --version").ok_or("npm: not found beside node")?;
    println!("node {found}, npm {npm}");
    Ok(())
}

fn node_major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

fn nextest() -> Done {
    if told("cargo nextest --version") {
        return Ok(());
    }
    // Into cargo's own folder, since `cargo nextest` is looked for there.
    show(&format!("cargo install --locked cargo-nextest@{NEXTEST}"))
}

fn cargo_deny() -> Done {
    own("cargo-deny", DENY)
}

fn gungraun() -> Done {
    own("gungraun-runner", GUNGRAUN)
}

/// For `make fuzz` alone: no test needs it.
pub(crate) fn fuzz() -> Done {
    own("cargo-fuzz", FUZZ)
}

/// Its own build folder, so that another version of it is not built from nothing; without optimisation, since
/// it runs for a second and takes twice the time to build otherwise.
fn own(name: &str, wanted: &str) -> Done {
    let there = version(&format!("{} --version", installed(name).display()));
    if there.is_some_and(|there| there == format!("{name} {wanted}")) {
        println!("{name} {wanted}");
        return Ok(());
    }
    show(&format!(
        "cargo install --locked --debug --config profile.dev.debug=0 --root target/tools \
         --target-dir target/tools-build {name}@{wanted}"
    ))
}

/// Into an environment of its own, since Debian's belongs to the system.
fn cases() -> Done {
    let pip = suite("pip").display().to_string();
    let there = || version(&format!("{pip} freeze")).is_some_and(|there| there == SUITE);
    if there() {
        println!("{SUITE}");
        return Ok(());
    }
    show("python3 -m venv --clear target/autobahn")?;
    show(&format!("{pip} install -q --disable-pip-version-check {SUITE}"))?;
    if there() { Ok(()) } else { Err(format!("{SUITE}: not in {pip} though it was installed")) }
}

/// Whether `call` answers; its version is shown.
fn told(call: &str) -> bool {
    let answer = version(call);
    if let Some(answer) = &answer {
        println!("{answer}");
    }
    answer.is_some()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().is_ok_and(|own| own.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_is_as_old_as_its_library() {
        let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
        let library = format!("name = \"gungraun\"\nversion = \"{GUNGRAUN}\"\n");
        assert!(lock.contains(&library), "Cargo.lock has another gungraun than {GUNGRAUN}");
    }

    #[test]
    fn the_first_number_of_a_node_version_is_read() {
        assert_eq!(node_major("v20.20.2"), Some(20));
        assert_eq!(node_major("20"), None);
    }
}
