//! Planted faults: the trials notice when the server is wrong on purpose.

use tertulia_proof::stage::Stage;
use tertulia_proof::trial::planted::{FAULTS, notice};

use crate::trials::stage;

/// Everyone who should notice this fault does.
#[track_caller]
fn is_noticed(fault: &str) {
    let stage = Stage { planted: Some(stage().server), ..stage() };
    let known: Vec<_> = FAULTS.iter().filter(|planted| planted.fault == fault).collect();
    assert!(!known.is_empty(), "{fault} is not planted anywhere");
    for planted in known {
        let breaches = notice(&stage, planted).unwrap_or_else(|why| panic!("{why}"));
        eprintln!("{fault}: {breaches} breaches in {}", planted.noticed_by.id);
    }
}

#[test]
fn an_ack_before_the_commit_is_noticed() {
    is_noticed("ack-before-commit");
}

#[test]
fn an_ack_before_the_sync_is_noticed() {
    is_noticed("os-durability");
}

#[test]
fn a_dropped_row_is_noticed() {
    is_noticed("drop-row");
}

#[test]
fn a_double_delivery_is_noticed() {
    is_noticed("double-delivery");
}

#[test]
fn a_kick_that_is_not_carried_out_is_noticed() {
    is_noticed("skip-kick");
}

#[test]
fn two_events_in_the_wrong_order_are_noticed() {
    is_noticed("swap-two");
}
