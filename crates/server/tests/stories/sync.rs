//! Sync: nobody hears of a message before it is on the disk.

use tertulia_proof::trial::sync::watch;

use crate::place;

#[track_caller]
fn check(clients: usize, rounds: usize) {
    let seen = watch(place(), clients, rounds);
    assert_eq!(seen.too_early, Vec::<String>::new());
    // Every send has a row, an ack and an event.
    let sends = clients * rounds;
    assert_eq!((seen.rows, seen.words), (sends, 2 * sends));
}

#[test]
fn the_sync_comes_before_the_ack_one_by_one() {
    check(1, 1000);
}

#[test]
fn the_sync_comes_before_the_ack_with_64_at_once() {
    check(64, 16);
}

#[test]
fn a_server_that_does_not_sync_is_found_out() {
    let seen = watch(place().set("store.durability", "os"), 1, 50);
    assert_eq!((seen.rows, seen.words, seen.too_early.len()), (50, 100, 100));
}
