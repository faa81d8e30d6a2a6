//! Planted faults: the trials notice when the server is wrong on purpose.

use std::path::PathBuf;

use tertulia_proof::chance::seed;
use tertulia_proof::stage::{Scale, Stage};
use tertulia_proof::trial::planted::{FAULTS, notice};

/// Everyone who should notice this fault does.
#[track_caller]
fn is_noticed(fault: &str) {
    let server = PathBuf::from(env!("CARGO_BIN_EXE_tertulia"));
    let (planted, shown) = (Some(server.clone()), Box::new(|_: &str| ()));
    let stage = Stage { server, scale: Scale::Short, seed: seed(), fault: None, planted, shown };
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
