//! The load tool against a town: it is content with an honest one and finds out every other.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod town;

use std::process::Command;

use tempfile::NamedTempFile;
use town::{Town, Vice};

/// What a run of the tool said.
struct Ran {
    good: bool,
    out: String,
    /// The last line, word by word.
    line: Vec<String>,
}

impl Ran {
    /// The number behind `name=` in the last line.
    fn number(&self, name: &str) -> u64 {
        let word = self.line.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{name} in {}", self.out))
    }
}

fn run(town: &Town, arguments: &str) -> Ran {
    let url = format!("http://{}", town.addr);
    let output = Command::new(env!("CARGO_BIN_EXE_tertulia-load"))
        .args(arguments.split(' '))
        .args(["--url", &url, "--key", "tk_town", "--metrics-url", &url])
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let out = format!("{errors}{out}");
    let line = out.lines().last().unwrap_or_default().split(' ').map(str::to_owned).collect();
    Ran { good: output.status.success(), out, line }
}

#[test]
fn everyone_in_one_room_hears_everything() {
    let ran = run(&Town::with(Vice::None), "one-room --clients 10 --rate 20 --seconds 1");
    assert!(ran.good, "{}", ran.out);
    assert_eq!(ran.line[0], "one-room");
    assert_eq!((ran.number("clients"), ran.number("expected")), (10, 10 * 10 * 20));
    assert_eq!(ran.number("seen"), ran.number("expected"));
}

#[test]
fn rooms_are_apart() {
    let many = "many-rooms --rooms 3 --clients 12 --rate 10 --seconds 1";
    let ran = run(&Town::with(Vice::None), many);
    assert!(ran.good, "{}", ran.out);
    assert_eq!(ran.number("expected"), 3 * 4 * 4 * 10);
}

#[test]
fn who_is_cut_ten_times_misses_nothing() {
    let ran = run(&Town::with(Vice::None), "reconnect --clients 5 --rate 20 --seconds 4");
    assert!(ran.good, "{}", ran.out);
    assert!(ran.out.contains("50 cut by us"), "{}", ran.out);
}

#[test]
fn a_server_that_asks_its_store_for_who_just_joined_is_found_out() {
    let ran = run(&Town::with(Vice::Asks), "reconnect --clients 5 --rate 20 --seconds 4");
    assert!(!ran.good && ran.out.contains("of 55 authorisations were hits"), "{}", ran.out);
}

#[test]
fn a_slow_client_is_closed_and_resumes() {
    // Two messages of 600 a second fill a small buffer fast. How much the others feel is the machine's noise here.
    let ran = run(&Town::with(Vice::None), "slow-client --clients 3 --rate 200 --seconds 4");
    assert!(ran.out.contains("slow_client_closed_s"), "{}", ran.out);
    let faults = ran.number("lost") + ran.number("doubled") + ran.number("disordered");
    assert_eq!(faults, 0, "{}", ran.out);
    assert!(ran.number("expected") > 3 * 3 * 200 * 4, "the slow one is promised its part");
}

#[test]
fn a_run_can_be_read_by_a_machine() {
    let json = NamedTempFile::new().unwrap();
    let path = json.path().to_str().unwrap();
    run(&Town::with(Vice::None), &format!("one-room --clients 2 --seconds 1 --json {path}"));
    let report: serde_json::Value = serde_json::from_reader(json).unwrap();
    assert_eq!(report["seen"], 2 * 2 * 10);
    assert_eq!(report["wrong"].as_array().unwrap().len(), 0);
}

/// A town with a vice is found out: that number in the last line is not 0, and the words stand in the table.
fn check(vice: Vice, number: &str, words: &str) {
    let many = "many-rooms --rooms 2 --clients 4 --rate 10 --seconds 1 --patience 2";
    let ran = run(&Town::with(vice), many);
    assert!(!ran.good, "{vice:?} was not noticed:\n{}", ran.out);
    assert!(ran.number(number) > 0, "{vice:?} is no {number}:\n{}", ran.out);
    assert!(ran.out.contains(words), "{vice:?} is not {words:?}:\n{}", ran.out);
}

#[test]
fn a_lost_delivery_is_found_out() {
    check(Vice::Forgets, "lost", "was not given message");
}

#[test]
fn a_doubled_delivery_is_found_out() {
    check(Vice::Repeats, "doubled", "again in one attachment");
}

#[test]
fn a_swapped_delivery_is_found_out() {
    check(Vice::Swaps, "disordered", "was next");
}

#[test]
fn a_crossed_delivery_is_found_out() {
    check(Vice::Gossips, "crossed", "heard an event of room");
}

#[test]
fn a_message_stored_twice_is_found_out() {
    check(Vice::Copies, "doubled", "has the numbers");
}

#[test]
fn an_altered_body_is_found_out() {
    check(Vice::Alters, "crossed", "with another body");
}

#[test]
fn a_refused_send_is_found_out() {
    check(Vice::Refuses, "expected", "sends were refused");
}

#[test]
fn a_missing_answer_is_found_out() {
    check(Vice::KeepsSilent, "unacked", "sends have no answer");
}
