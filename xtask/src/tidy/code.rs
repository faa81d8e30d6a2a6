//! Code: what no code of the project does.

use super::Finding;
use super::rust::{code, without_tests};
use super::tree::{File, Tree};

/// A call that is not made, where, and the way out.
struct Rule {
    /// Any of these, as they stand in code.
    calls: &'static [&'static str],
    /// The crates it holds for; none = all.
    crates: &'static [&'static str],
    way_out: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        calls: &["Instant::now", "SystemTime::now", "thread::sleep", ".elapsed()"],
        crates: &["protocol", "store", "rooms"],
        way_out: "take the time as an argument, so that a simulation can run the ring on its own clock",
    },
    Rule {
        calls: &[
            "unbounded_channel",
            "unbounded(",
            "broadcast::",
            "mpsc::channel()",
            "mpsc::channel::<",
        ],
        crates: &[],
        way_out: "choose a channel with a bound and say why it is enough",
    },
    Rule {
        calls: &[".unwrap()"],
        crates: &[],
        way_out: "answer with an error, or `expect` with the reason why it cannot fail",
    },
    Rule {
        calls: &["println!", "print!", "eprintln!", "eprint!", "dbg!"],
        crates: &["protocol", "store", "rooms"],
        way_out: "a library says nothing by itself; return it",
    },
];

/// Calls that a rule forbids and that have a reason to be: the file, the call, the reason.
const ALLOWED: &[(&str, &str, &str)] = &[
    (
        "crates/store/src/sqlite/backup.rs",
        "thread::sleep",
        "a backup waits for a writer that has the database; no delivery waits for a backup",
    ),
    (
        "crates/rooms/src/commit/mod.rs",
        "thread::sleep",
        "a planted fault waits, so that what it breaks shows every time; no release has it",
    ),
];

/// Every call that is not made here.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = check_calls(tree, ALLOWED);
    findings.extend(stale(tree, ALLOWED));
    findings
}

fn check_calls(tree: &Tree, allowed: &[(&str, &str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_rust() && !file.is_test()) {
        let code = without_tests(&code(&file.text));
        for rule in RULES.iter().filter(|rule| rule.holds_for(file)) {
            for (line, call) in rule.broken(&code) {
                if allowed.iter().any(|(path, what, _)| *path == file.path && *what == call) {
                    continue;
                }
                let what = format!("`{call}`: {}", rule.way_out);
                findings.push(Finding { path: file.path.clone(), line, what });
            }
        }
    }
    findings
}

/// What is allowed and not done any more.
fn stale(tree: &Tree, allowed: &[(&str, &str, &str)]) -> Vec<Finding> {
    allowed
        .iter()
        .filter(|(path, call, _)| !tree.text(path).is_some_and(|text| code(text).contains(call)))
        .map(|(path, call, _)| Finding {
            path: (*path).to_owned(),
            line: 0,
            what: format!("has no `{call}` any more; take it from the list of what is allowed"),
        })
        .collect()
}

impl Rule {
    fn holds_for(&self, file: &File) -> bool {
        self.crates.is_empty() || file.home().is_some_and(|home| self.crates.contains(&home))
    }

    /// The lines that break it.
    fn broken<'c>(
        &self,
        code: &'c str,
    ) -> impl Iterator<Item = (usize, &'static str)> + use<'_, 'c> {
        code.lines().enumerate().flat_map(move |(index, line)| {
            self.calls
                .iter()
                .filter(move |call| makes(line, call))
                .map(move |call| (index + 1, *call))
        })
    }
}

/// Whether `line` makes this call, and not one whose name only ends the same.
fn makes(line: &str, call: &str) -> bool {
    let joined = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(call)
        .any(|(at, _)| !call.starts_with(joined) || !line[..at].ends_with(joined))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of code at this place, and how many rules it breaks.
    #[track_caller]
    fn check_line(path: &str, line: &str, found: usize) {
        let tree = Tree::of(&[(path, &format!("//! A file.\nfn f() {{\n    {line}\n}}\n"))]);
        let findings = check_calls(&tree, &[]);
        assert_eq!(findings.len(), found, "{path} {line}: {findings:?}");
        assert!(findings.iter().all(|finding| finding.line == 3));
    }

    #[test]
    fn a_clock_is_read_by_drivers_only() {
        for line in [
            "Instant::now();",
            "std::time::SystemTime::now();",
            "std::thread::sleep(pause);",
            "since.elapsed();",
        ] {
            for path in
                ["crates/protocol/src/a.rs", "crates/store/src/a/b.rs", "crates/rooms/src/a.rs"]
            {
                check_line(path, line, 1);
            }
            check_line("crates/server/src/a.rs", line, 0);
            check_line("crates/rooms/tests/a.rs", line, 0);
        }
        check_line("crates/rooms/src/a.rs", "clock.now(); // never Instant::now()", 0);
    }

    #[test]
    fn a_channel_has_a_bound() {
        for line in [
            "let (a, b) = mpsc::channel();",
            "let (a, b) = std::sync::mpsc::channel::<u8>();",
            "let (a, b) = mpsc::unbounded_channel();",
            "let (a, b) = crossbeam_channel::unbounded();",
            "use tokio::sync::broadcast::Sender;",
        ] {
            check_line("crates/server/src/a.rs", line, 1);
            check_line("xtask/src/a.rs", line, 1);
        }
        check_line("crates/server/src/a.rs", "let (a, b) = tokio::sync::mpsc::channel(16);", 0);
        check_line("crates/server/src/a.rs", "let (a, b) = mpsc::sync_channel(1);", 0);
    }

    #[test]
    fn nothing_is_unwrapped_outside_of_tests() {
        check_line("crates/load/src/a.rs", "a.unwrap();", 1);
        check_line("crates/load/src/a.rs", "a.unwrap_or(1);", 0);
        check_line("crates/load/tests/a.rs", "a.unwrap();", 0);
        check_line("crates/load/src/a/tests.rs", "a.unwrap();", 0);
        check_line("crates/load/src/a.rs", "} #[cfg(test)] mod tests { fn g() { a.unwrap(); }", 0);
    }

    #[test]
    fn a_library_prints_nothing() {
        for line in ["println!(\"a\");", "print!(\"a\");", "eprintln!(\"a\");", "dbg!(a);"] {
            check_line("crates/rooms/src/a.rs", line, 1);
            check_line("crates/load/src/a.rs", line, 0);
        }
    }

    #[test]
    fn what_is_allowed_is_not_found_and_missed_when_it_is_gone() {
        let allowed = [("crates/store/src/a.rs", "thread::sleep", "a reason")];
        let sleeps = Tree::of(&[("crates/store/src/a.rs", "fn f() { thread::sleep(pause) }")]);
        assert_eq!(check_calls(&sleeps, &allowed), []);
        assert_eq!(stale(&sleeps, &allowed), []);
        let awake = Tree::of(&[("crates/store/src/a.rs", "// thread::sleep was here\nfn f() {}")]);
        assert_eq!(stale(&awake, &allowed).len(), 1);
    }
}
