//! Trials: the short form of each, which `tertulia-proof` runs for longer.

use std::path::PathBuf;

use tertulia_proof::chance::seed;
use tertulia_proof::report::Trial;
use tertulia_proof::stage::{Scale, Stage};
use tertulia_proof::trial::{
    acks, attacks, calls, clocks, drains, flips, full_disk, hot_room, idle, kicks, lane, locked,
    overload, power, resumes, returns, rude, scarce, slow,
};

/// The short form, on the server of this build.
pub(crate) fn stage() -> Stage {
    let server = PathBuf::from(env!("CARGO_BIN_EXE_tertulia"));
    let shown = Box::new(|_: &str| ());
    Stage { server, scale: Scale::Short, seed: seed(), fault: None, planted: None, shown }
}

#[track_caller]
fn holds(trial: &Trial) {
    let report = trial.report(&stage());
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
fn t05_a_full_disk_is_waited_for() {
    holds(&full_disk::TRIAL);
}

#[test]
fn t06_a_locked_database_is_waited_for() {
    holds(&locked::TRIAL);
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
fn t09_whoever_resumes_is_told_of_every_hole() {
    holds(&resumes::TRIAL);
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
fn t17_a_clock_that_jumps_moves_nothing_else() {
    holds(&clocks::TRIAL);
}

#[test]
fn t18_a_server_that_is_told_to_go_keeps_its_word() {
    holds(&drains::TRIAL);
}

#[test]
fn t20_who_was_removed_hears_nothing_after() {
    holds(&kicks::TRIAL);
}

#[test]
fn t21_attacks_do_no_harm() {
    holds(&attacks::TRIAL);
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

#[test]
fn t33_the_fast_lane() {
    holds(&lane::TRIAL);
}

#[test]
fn t34_one_rude_client_among_a_hundred_harms_nobody() {
    holds(&rude::TRIAL);
}
