//! Whom a turn of a shard serves: a message to hundreds does not hold up whoever says something meanwhile, and a
//! busy room is told once a moment.

#[allow(dead_code)]
#[path = "../allocations/audience.rs"]
mod audience;

use audience::{A_MOMENT_NS, Audience, said};

/// More than one turn can serve.
const LISTENERS: usize = 300;

/// Of a room that one turn can serve.
const MEMBERS: usize = 50;

#[test]
fn a_big_room_is_served_some_at_a_time_and_whoever_asks_in_between() {
    let mut audience = Audience::of(LISTENERS, 16, false);
    let last = *audience.seats.first().expect("someone is there");
    audience.sockets.watched = Some(last);
    let mut inputs = vec![audience.news(1, false)];
    audience.turn(&mut inputs);
    let first = audience.sockets.writes;
    assert!((1..LISTENERS / 2).contains(&first), "{first} were written to in the first turn");
    let now_ns = audience.sockets.now_ns;
    assert_eq!(audience.shard.wake_at_ns(), now_ns, "the next turn follows at once");

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
    assert!(audience.shard.wake_at_ns() > audience.sockets.now_ns, "nobody waits any more");
}

#[test]
fn a_room_that_was_told_just_now_is_told_again_a_moment_later() {
    let mut audience = Audience::of(MEMBERS, 16, false);
    let say = |audience: &mut Audience, after_ns: u64| {
        let mut inputs = vec![audience.news(1, false)];
        audience.turn_after(after_ns, &mut inputs);
        std::mem::take(&mut audience.sockets.writes)
    };
    assert_eq!(say(&mut audience, A_MOMENT_NS), MEMBERS, "nobody has said anything for long");
    assert_eq!(say(&mut audience, A_MOMENT_NS / 4), 0, "it was told just now");
    assert_eq!(say(&mut audience, A_MOMENT_NS / 4), 0, "this one waits with the other");
    let due_ns = audience.sockets.now_ns + A_MOMENT_NS / 2;
    assert_eq!(audience.shard.wake_at_ns(), due_ns, "a moment after it was told");
    audience.turn_after(A_MOMENT_NS / 2, &mut Vec::new());
    assert_eq!(std::mem::take(&mut audience.sockets.writes), MEMBERS, "both in one write");
    assert_eq!(say(&mut audience, A_MOMENT_NS / 2), 0, "the moment is counted from there");
    assert_eq!(say(&mut audience, A_MOMENT_NS / 2), MEMBERS, "and ends");
}
