//! Trials: the short form of each, which `tertulia-proof` runs for longer.

use std::path::PathBuf;

use tertulia_proof::chance::seed;
use tertulia_proof::report::Trial;
use tertulia_proof::stage::{Scale, Stage};
use tertulia_proof::trial::{
    acks, calls, flips, hot_room, idle, overload, power, returns, scarce, slow,
};

#[track_caller]
fn holds(trial: &Trial) {
    let server = PathBuf::from(env!("CARGO_BIN_EXE_tertulia"));
    let shown = Box::new(|_: &str| ());
    let stage = Stage { server, scale: Scale::Short, seed: seed(), fault: None, shown };
    let report = trial.report(&stage);
    eprintln!("{}", report.line(trial));
    assert_eq!(report.wrongs(), Vec::<String>::new());
}

#[test]
fn t02_a_power_cut_takes_nothing_that_was_acknowledged() {
    holds(&power::TRIAL);
}

#[test]
fn t04_a_system_call_that_fails_is_no_ack() {
    holds(&calls::TRIAL);
}

#[test]
fn t07_a_lost_ack_is_told_again() {
    holds(&acks::TRIAL);
}

#[test]
fn t08_everyone_in_a_hot_room_hears_the_same() {
    holds(&hot_room::TRIAL);
}

#[test]
fn t10_who_stops_reading_is_let_go_of_and_has_all_in_the_end() {
    holds(&slow::TRIAL);
}

#[test]
fn t11_everyone_comes_back_and_has_all() {
    holds(&returns::TRIAL);
}

#[test]
fn t26_a_turned_bit_is_noticed() {
    holds(&flips::TRIAL);
}

#[test]
fn t29_who_says_nothing_costs_little_and_gives_it_back() {
    holds(&idle::TRIAL);
}

#[test]
fn t30_too_much_is_refused_and_nothing_is_lost() {
    holds(&overload::TRIAL);
}

#[test]
fn t31_scarce_resources_break_no_promise() {
    holds(&scarce::TRIAL);
}
