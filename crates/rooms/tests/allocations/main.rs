//! What a delivery costs in memory: nothing, however many hear it.
//!
//! Allocations are counted on the thread of the test alone, so that what the runner does meanwhile is not among
//! them; a buffer that grows is one more.

mod audience;

use allocation_counter::measure;
use audience::Audience;

const LISTENERS: usize = 100;

/// So many commits. As many have gone by before anything is counted: lists are as long then as they get.
const COMMITS: usize = 50;

/// What the server is started with unless asked otherwise.
const CORK_LISTENERS: usize = 16;

const NEVER_CORKED: usize = usize::MAX;

/// What it costs to deliver so many commits, one a turn: allocations, and writes.
///
/// `more` says behind which of them the next one is under way.
fn cost(audience: &mut Audience, messages: usize, more: fn(usize) -> bool) -> (u64, usize) {
    let mut delivered = || {
        let mut news: Vec<_> = (0..COMMITS).map(|at| audience.news(messages, more(at))).collect();
        let mut inputs = Vec::with_capacity(1);
        let before = audience.sockets.writes;
        let counted = measure(|| {
            for news in news.drain(..) {
                inputs.push(news);
                audience.turn(&mut inputs);
            }
        });
        (counted.count_total, audience.sockets.writes - before)
    };
    delivered();
    delivered()
}

#[test]
fn a_delivery_allocates_nothing() {
    let mut audience = Audience::of(LISTENERS, NEVER_CORKED, false);
    let (allocations, writes) = cost(&mut audience, 1, |_| false);
    assert_eq!(writes, COMMITS * LISTENERS, "everyone hears of every commit");
    assert_eq!(allocations, 0);
}

#[test]
fn a_delivery_that_waits_for_the_next_one_allocates_nothing() {
    let mut audience = Audience::of(LISTENERS, CORK_LISTENERS, false);
    let (allocations, writes) = cost(&mut audience, 1, |at| at % 2 == 0);
    assert_eq!(writes, COMMITS / 2 * LISTENERS, "one write takes two commits");
    assert_eq!(allocations, 0);
}

#[test]
fn a_delivery_to_more_than_one_turn_can_serve_allocates_nothing() {
    let many = 3 * LISTENERS;
    let mut audience = Audience::of(many, CORK_LISTENERS, false);
    let (allocations, writes) = cost(&mut audience, 1, |_| false);
    assert!(
        (1..COMMITS * many).contains(&writes),
        "{writes} writes: nobody was served, or none waited"
    );
    assert_eq!(allocations, 0);
}

#[test]
fn what_is_compressed_allocates_for_all_who_hear_it_at_once() {
    let compressed = |listeners: usize| {
        let mut audience = Audience::of(listeners, CORK_LISTENERS, true);
        let (allocations, writes) = cost(&mut audience, 8, |_| false);
        assert_eq!(writes, COMMITS * listeners, "everyone hears of every commit");
        allocations
    };
    let for_one = compressed(1);
    assert!(for_one >= COMMITS as u64, "{for_one} allocations, so nothing was compressed");
    // The message, and once more when it is cut to its length.
    assert!(for_one <= 2 * COMMITS as u64, "{for_one} allocations for {COMMITS} slabs");
    assert_eq!(compressed(LISTENERS), for_one);
}

/// Whoever counts nothing finds nothing.
#[test]
fn a_buffer_that_grows_is_counted() {
    let mut buffer: Vec<u8> = Vec::with_capacity(1);
    let counted = measure(|| buffer.extend_from_slice(&[0; 100]));
    assert_eq!(counted.count_total, 1);
}
