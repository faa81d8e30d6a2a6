//! Steps: targets of the Makefile one by one, each with a headline and its time, and a summary at the end.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::run::{Done, root};

/// Without this one no other step can be trusted, so the others are not tried when it fails.
const FIRST: &str = "tools";

/// What a step wants to be read at the end, below the root.
const NOTES: &str = "target/notes";

/// Leaves a line for the summary, where nobody can miss it.
pub(crate) fn note(line: &str) -> Done {
    let path = root().join(NOTES);
    let opened = OpenOptions::new().create(true).append(true).open(&path);
    opened
        .and_then(|mut notes| writeln!(notes, "{line}"))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Runs every step, also after one that failed, so that one run names everything that is wrong.
pub(crate) fn run(names: &[&str]) -> Done {
    let notes = root().join(NOTES);
    // There may be none, which is as well.
    let _ = fs::remove_file(&notes);
    let mut ended = Vec::new();
    let all = Instant::now();
    for &name in names {
        println!("\n=== {name} ===");
        let begun = Instant::now();
        let passed = Command::new("make")
            .args(["--no-print-directory", name])
            .current_dir(root())
            .status()
            .map_err(|error| format!("make {name}: {error}"))?
            .success();
        let took = begun.elapsed();
        println!("=== {name}: {}, {} ===", word(passed), clock(took));
        ended.push((name, passed, took));
        if name == FIRST && !passed {
            break;
        }
    }
    let noted = fs::read_to_string(&notes).unwrap_or_default();
    print!("\n{}", summary(names, &ended, all.elapsed(), &noted));
    match ended.iter().all(|(_, passed, _)| *passed) {
        true => Ok(()),
        false => Err("not everything passed".to_owned()),
    }
}

/// One line a step, what was noted, and a last line that machines can read. A step that was not reached has
/// failed.
fn summary(names: &[&str], ended: &[(&str, bool, Duration)], all: Duration, noted: &str) -> String {
    let mut text = String::new();
    for name in names {
        let line = match ended.iter().find(|(other, ..)| other == name) {
            Some((_, passed, took)) => {
                format!("{name:<12}{:>8}  {}\n", clock(*took), word(*passed))
            }
            None => format!("{name:<12}{:>8}  not reached\n", ""),
        };
        text += &line;
    }
    let passed = ended.iter().filter(|(_, passed, _)| *passed).count();
    text += &format!("{:<12}{:>8}\n{noted}", "all", clock(all));
    text + &format!("steps: {passed} passed, {} failed\n", names.len() - passed)
}

fn word(passed: bool) -> &'static str {
    if passed { "passed" } else { "FAILED" }
}

/// `4.2 s` or `3:07 min`.
fn clock(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{}:{:02} min", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_failed_or_was_not_reached_is_counted() {
        let ended = [
            ("tools", true, Duration::from_millis(1250)),
            ("fmt", false, Duration::from_secs(187)),
        ];
        let text = summary(&["tools", "fmt", "web"], &ended, Duration::from_secs(189), "a note\n");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "tools          1.2 s  passed");
        assert_eq!(lines[1], "fmt         3:07 min  FAILED");
        assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["web", "not", "reached"]);
        assert_eq!(lines[4], "a note");
        assert_eq!(lines[5], "steps: 1 passed, 2 failed");
    }
}
