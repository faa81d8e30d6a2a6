//! Planted faults: the stories notice when the server is wrong on purpose.

use std::time::Duration;

use tertulia_proof::chance::seed;
use tertulia_proof::trial::kicks::heard_after_kicks;
use tertulia_proof::trial::kills::{Death, storm};
use tertulia_proof::trial::sync::watch;

use crate::place;

#[test]
fn an_ack_before_the_commit_is_noticed() {
    let seen = watch(place().plant("ack-before-commit"), 1, 50);
    assert!(seen.too_early.len() >= 25, "only {:?} of {}", seen.too_early, seen.words);
}

#[test]
fn a_dropped_row_is_noticed() {
    let place = place().set("limits.send_per_second", 0).plant("drop-row");
    let verdict = storm(&place, &[Death::Kill; 2], Duration::from_secs(4), seed(), &|_| ()).verdict;
    assert!(!verdict.holes.is_empty(), "{verdict:?}");
    assert!(!verdict.lost.is_empty(), "{verdict:?}");
}

#[test]
fn a_double_delivery_is_noticed() {
    let place = place().set("limits.send_per_second", 0).plant("double-delivery");
    let verdict = storm(&place, &[Death::Kill], Duration::from_secs(4), seed(), &|_| ()).verdict;
    let twice = verdict.complaints.iter().filter(|what| what.contains("twice"));
    assert!(twice.count() > 0, "{verdict:?}");
}

#[test]
fn a_kick_that_is_not_carried_out_is_noticed() {
    let place = place().set("limits.send_per_second", 0).plant("skip-kick");
    assert!(!heard_after_kicks(&place, 3).is_empty());
}
