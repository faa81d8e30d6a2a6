//! What a turn of a shard serves: a message to hundreds does not hold up whoever says something meanwhile.

#[allow(dead_code)]
#[path = "../allocations/audience.rs"]
mod audience;

use audience::{Audience, said};

/// More than are written to in one turn.
const LISTENERS: usize = 600;

#[test]
fn a_big_room_is_served_some_at_a_time_and_whoever_asks_in_between() {
    let mut audience = Audience::of(LISTENERS, 16, false);
    let last = *audience.seats.first().expect("someone is there");
    audience.sockets.watched = Some(last);
    let mut inputs = vec![audience.news(1, false)];
    audience.turn(&mut inputs);
    let first = audience.sockets.writes;
    assert!((1..LISTENERS / 2).contains(&first), "{first} were written to in the first turn");
    assert_eq!(audience.shard.wake_at_ns(), 0, "the next turn follows at once");

    // Whoever came first is last in line: it asks for something and is answered, with all that waits for it.
    let mut words = said(r#"{"t":"unsub","id":9,"room":"garden"}"#);
    audience.shard.received(last, &mut words, &mut audience.sockets);
    assert_eq!(audience.sockets.watched_writes, 0, "it has waited so far");
    audience.turn(&mut inputs);
    assert_eq!(audience.sockets.watched_writes, 1, "an answer does not wait");

    let mut turns = 2;
    while audience.sockets.writes < LISTENERS {
        audience.turn(&mut inputs);
        turns += 1;
        assert!(turns < 10, "{} of {LISTENERS} were written to", audience.sockets.writes);
    }
    assert!(audience.shard.wake_at_ns() > 0, "nobody waits any more");
}
