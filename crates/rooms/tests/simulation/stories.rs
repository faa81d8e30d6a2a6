//! Stories: one thing that matters each, told from end to end.

use tertulia_protocol::frame::{Deflater, Opcode, payload_of, put_masked};
use tertulia_rooms::limits::Limits;

use crate::client::Asked;
use crate::fate::Chances;
use crate::limits::roomy;
use crate::server::SHARDS;
use crate::town::Town;

#[test]
fn a_reader_who_was_away_misses_nothing() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    town.cut(bob);
    town.sends(ada, "garden", ["one", "two"]);
    town.resumes(bob);
    assert_eq!(town.hears(bob, "garden"), ["one", "two"]);
}

#[test]
fn a_slow_reader_hurts_only_itself() {
    let limits = Limits { outbound_bytes: 2000, replay_bytes: 500, ..roomy() };
    let mut town = Town::with_limits(7, limits);
    town.world.space = 300..=300;
    let [ada, bob, cy] = town.members(["ada", "bob", "cy"], "garden");
    town.stalls(bob);
    let texts: Vec<String> = (0..100).map(|number| format!("text {number}")).collect();
    for text in &texts {
        town.sends(ada, "garden", [text]);
    }
    assert_eq!(town.hears(cy, "garden"), texts);
    assert_eq!(town.hears(bob, "garden").len(), 0);
    town.reads(bob);
    for _ in 0..20 {
        town.passes(1200);
    }
    assert_eq!(town.hears(bob, "garden"), texts);
}

#[test]
fn a_reader_who_never_reads_is_cut_and_resumes() {
    let limits = Limits { slow_close_s: 2, ..roomy() };
    let mut town = Town::with_limits(7, limits);
    town.world.space = 300..=300;
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    town.stalls(bob);
    town.sends(ada, "garden", ["one", "two", "three", "four"]);
    town.passes(6000);
    let connections: usize = town.world.server.shards.iter().map(|shard| shard.len()).sum();
    assert_eq!(connections, 1);
    town.reads(bob);
    town.resumes(bob);
    assert_eq!(town.hears(bob, "garden"), ["one", "two", "three", "four"]);
}

#[test]
fn who_says_much_in_few_bytes_lets_the_others_have_their_turn() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    // Not every connection agrees on compressed messages.
    while !town.deflates(ada) {
        town.cut(ada);
        town.resumes(ada);
    }
    // Each is as long as a message may be once it is inflated, and all of them come with one read.
    let (socket, long) = (town.socket(ada), deflated_pong(roomy().frame_bytes));
    assert!(long.len() < 1_000, "{} bytes", long.len());
    let up = &mut town.world.outside.sockets.get(socket).expect("it is open").up;
    up.extend(long.repeat(3));
    town.says(ada, "garden", "c", "behind them");
    town.world.upload(socket, usize::MAX);
    let shard = town.shard(ada);
    for turn in 0..2 {
        let drafts = town.world.outside.office.get_mut().drafts.len();
        assert_eq!(drafts, 0, "it went on for too long, in turn {turn}");
        let due = town.world.server.shards[shard].wake_at_ns();
        assert!(due <= town.world.outside.moment.now_ns, "nobody sleeps while something waits");
        town.world.hand_over(shard, usize::MAX);
    }
    town.world.hand_over(shard, usize::MAX);
    assert_eq!(town.world.outside.office.get_mut().drafts.len(), 1, "and nothing of it is lost");
    town.quiet();
    assert_eq!(town.hears(bob, "garden"), ["behind them"]);
}

#[test]
fn much_in_few_bytes_behind_a_command_that_had_to_wait_is_not_forgotten() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    town.goes_wrong(Chances { token_asked: 1000, ..Chances::NONE });
    town.world.cut(ada.0);
    town.world.connect(ada.0);
    while !town.deflates(ada) {
        town.world.cut(ada.0);
        town.world.connect(ada.0);
    }
    let (socket, long) = (town.socket(ada), deflated_pong(roomy().frame_bytes));
    let up = &mut town.world.outside.sockets.get(socket).expect("it is open").up;
    up.extend(long.repeat(3));
    town.says(ada, "garden", "c", "behind them");
    town.quiet();
    town.quiet();
    assert_eq!(town.hears(bob, "garden"), ["behind them"]);
}

#[test]
fn who_takes_long_is_left_alone_for_longer() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    let (socket, shard) = (town.socket(ada), town.shard(ada));
    let pong = |bytes| {
        let mut frames = Vec::new();
        while frames.len() < bytes {
            put_masked(&mut frames, Opcode::Text, [7, 1, 3, 9], br#"{"t":"pong"}"#);
        }
        frames
    };
    // Each look at the clock takes as long as a message may.
    town.world.outside.toil_ns = 10_000;
    let reads = |town: &Town| town.world.server.shards[shard].reads(town.address(ada));
    town.world.says_on(socket, &pong(1_000));
    assert!(reads(&town), "whoever says little is not measured");
    let from_ns = town.world.outside.moment.now_ns;
    town.world.says_on(socket, &pong(20_000));
    let took_ns = town.world.outside.moment.now_ns - from_ns;
    assert!(!reads(&town), "it took {took_ns} ns");
    town.world.outside.toil_ns = 0;
    town.says(ada, "garden", "c", "behind them");
    let wake_at_ns = town.world.server.shards[shard].wake_at_ns();
    assert!(wake_at_ns >= from_ns + took_ns * 3, "{wake_at_ns} is too soon after {took_ns} ns");
    town.quiet();
    assert_eq!(town.hears(bob, "garden").len(), 0, "the others have this time for themselves");
    town.passes(2_000);
    assert_eq!(town.hears(bob, "garden"), ["behind them"]);
}

#[test]
fn who_takes_long_is_left_alone_also_if_an_answer_comes_meanwhile() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    let socket = town.socket(ada);
    let up = &mut town.world.outside.sockets.get(socket).expect("it is open").up;
    for _ in 0..1_000 {
        put_masked(up, Opcode::Text, [7, 1, 3, 9], br#"{"t":"pong"}"#);
    }
    town.world.clients[ada.0].ask("room", r#","room":"nowhere","op":"get""#, Asked::Other);
    town.world.post(ada.0);
    town.says(ada, "garden", "c", "behind them");
    town.world.outside.toil_ns = 10_000;
    town.world.upload(socket, usize::MAX);
    town.world.outside.toil_ns = 0;
    assert_eq!(town.world.outside.lookups.len(), 1, "it asks for the room");
    town.world.answer(0);
    town.quiet();
    assert_eq!(town.hears(bob, "garden").len(), 0, "the others have this time for themselves");
    town.passes(2_000);
    assert_eq!(town.hears(bob, "garden"), ["behind them"]);
}

/// A pong of so many bytes, most of them blanks, in a compressed frame.
fn deflated_pong(bytes: usize) -> Vec<u8> {
    let mut pong = br#"{"t":"pong"}"#.to_vec();
    pong.resize(bytes, b' ');
    let mut plain = Vec::new();
    Deflater::default().put(&mut plain, Opcode::Text, [&pong[..]]);
    let payload = payload_of(&plain).expect("a whole frame");
    let mut masked = Vec::new();
    put_masked(&mut masked, Opcode::Text, [7, 1, 3, 9], payload);
    // RSV1: it is compressed.
    masked[0] |= 0x40;
    masked
}

#[test]
fn a_kicked_user_hears_nothing_behind_the_kick() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    let more: Vec<_> = (0..4).map(|_| town.device("bob", "garden")).collect();
    town.sends(ada, "garden", ["before"]);
    town.kicks("bob", "garden");
    town.sends(ada, "garden", ["behind"]);
    for device in more.into_iter().chain([bob]) {
        assert_eq!(town.hears(device, "garden"), ["before"]);
        assert!(!town.follows(device, "garden"));
    }
    assert_eq!(town.hears(ada, "garden"), ["before", "behind"]);
}

#[test]
fn a_kick_whose_news_were_lost_is_a_kick() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    town.goes_wrong(Chances { news_lost: 1000, ..Chances::NONE });
    town.kicks("bob", "garden");
    town.goes_wrong(Chances::NONE);
    town.sends(ada, "garden", ["behind"]);
    town.passes(6000);
    assert_eq!(town.hears(bob, "garden").len(), 0);
    assert!(!town.follows(bob, "garden"));
    assert_eq!(town.hears(ada, "garden"), ["behind"]);
}

#[test]
fn a_lost_last_event_is_found_by_comparing_heads() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    town.goes_wrong(Chances { news_lost: 1000, ..Chances::NONE });
    town.sends(ada, "garden", ["last"]);
    assert_eq!(town.hears(bob, "garden").len(), 0);
    town.passes(3000);
    assert_eq!(town.hears(bob, "garden"), ["last"]);
}

#[test]
fn news_that_are_overtaken_are_heard_in_order() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    town.goes_wrong(Chances { news_late: 1000, ..Chances::NONE });
    town.sends(ada, "garden", ["one"]);
    assert_eq!(town.hears(bob, "garden").len(), 0);
    let late = town.world.server.late.iter_mut().map(std::mem::take).collect();
    town.goes_wrong(Chances::NONE);
    town.sends(ada, "garden", ["two"]);
    assert_eq!(town.hears(bob, "garden"), ["one", "two"]);
    town.world.server.late = late;
    town.quiet();
    assert_eq!(town.hears(bob, "garden"), ["one", "two"]);
}

#[test]
fn two_devices_one_cid_store_once() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    let phone = town.device("ada", "garden");
    town.says(ada, "garden", "c", "hello");
    town.says(phone, "garden", "c", "hello");
    town.quiet();
    assert_eq!(town.hears(bob, "garden"), ["hello"]);
    for device in [ada, phone] {
        assert_eq!(town.world.clients[device.0].rooms["garden"].said, ["c"]);
    }
    assert_eq!(town.world.model.places("ada", "garden", "c").len(), 1);
}

#[test]
fn a_repetition_is_known_whatever_was_said_since_and_however_cids_are_ordered() {
    let mut town = Town::seeded(7);
    let [ada] = town.members(["ada"], "garden");
    let phone = town.device("ada", "garden");
    town.says(ada, "garden", "m", "first");
    town.quiet();
    // More than is kept at hand, below and above it; some shorter ones stand above longer ones.
    let below = (0..150).map(|number| format!("a{number}"));
    let above = (0..150).map(|number| format!("z{number}"));
    let between: Vec<String> = below.chain(above).collect();
    for many in between.chunks(10) {
        many.iter().for_each(|cid| town.says(ada, "garden", cid, cid));
        town.quiet();
    }
    let all: Vec<String> = [vec!["first".to_owned()], between.clone()].concat();
    let again = ["m", "a0", "a149", "z0", "z149", "z99"];
    for crashes in [false, true] {
        if crashes {
            town.world.crash();
            town.quiet();
            town.resumes(phone);
        }
        for cid in again {
            let text = if cid == "m" { "first" } else { cid };
            town.says(phone, "garden", cid, text);
            town.quiet();
            assert_eq!(town.world.model.places("ada", "garden", cid).len(), 1, "{cid}");
        }
        assert_eq!(town.hears(phone, "garden"), all);
    }
}

#[test]
fn a_cid_above_all_of_its_senders_is_stored_without_a_look() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    town.says(ada, "garden", "c5", "one");
    town.says(bob, "garden", "c9", "two");
    town.quiet();
    town.world.outside.memory.fail_reads(u32::MAX);
    town.says(ada, "garden", "c6", "three");
    town.quiet();
    assert_eq!(town.hears(bob, "garden"), ["one", "two", "three"]);
    town.says(ada, "garden", "c4", "four");
    town.world.pass(100);
    assert_eq!(town.hears(bob, "garden").len(), 3, "one below them has to be looked for");
    town.world.outside.memory.fail_reads(0);
    town.quiet();
    assert_eq!(town.hears(bob, "garden"), ["one", "two", "three", "four"]);
}

#[test]
fn a_crash_loses_nothing_that_was_acknowledged() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    town.sends(ada, "garden", ["one"]);
    town.says(ada, "garden", "c", "two");
    town.world.crash();
    town.quiet();
    for device in [ada, bob] {
        town.cut(device);
        town.resumes(device);
    }
    town.sends(ada, "garden", ["three"]);
    assert_eq!(town.hears(bob, "garden"), ["one", "two", "three"]);
}

#[test]
fn a_room_made_again_is_another_room() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    town.sends(ada, "garden", ["old"]);
    town.deletes("garden");
    assert!(!town.follows(bob, "garden"));
    let [cy] = town.members(["cy"], "garden");
    town.adds("bob", "garden");
    town.sends(cy, "garden", ["new"]);
    town.world.clients[bob.0].place("garden").follow.open();
    town.world.post(bob.0);
    town.quiet();
    town.sends(cy, "garden", ["newer"]);
    assert_eq!(town.hears(bob, "garden"), ["newer"], "a reset begins at the head");
}

#[test]
fn a_connection_that_was_taken_over_says_nothing_more() {
    // Some of the seeds come back on the same shard.
    for seed in 0..8 {
        let mut town = Town::seeded(seed);
        let [bob] = town.members(["bob"], "garden");
        let head = town.world.model.head("garden");
        let old = town.socket(bob);
        let set = r#","room":"garden","op":"set","name":"too late""#;
        town.world.clients[bob.0].ask("room", set, Asked::Other);
        town.world.post(bob.0);
        // The device has moved on, and what it said last is still under way.
        town.world.clients[bob.0].cut();
        town.world.connect(bob.0);
        let new = town.socket(bob);
        town.world.upload(new, usize::MAX);
        while !town.world.outside.sockets.get(new).expect("it is open").greeted {
            (0..SHARDS).for_each(|shard| town.world.hand_over(shard, usize::MAX));
        }
        town.world.upload(old, usize::MAX);
        let farewell = &town.world.outside.sockets.get(old).expect("it is open").down;
        assert!(String::from_utf8_lossy(farewell).contains("4006"), "seed {seed}");
        town.quiet();
        assert_eq!(town.world.model.head("garden"), head, "seed {seed}");
    }
}

#[test]
fn whoever_loses_a_grant_hears_no_more() {
    // The second time it has to be looked up that cy is no member.
    for away_ms in [0, 3000] {
        let limits = Limits { membership_ttl_s: 1, ..roomy() };
        let mut town = Town::with_limits(7, limits);
        let [ada] = town.members(["ada"], "garden");
        let cy = town.device("cy", "garden");
        town.cut(cy);
        town.granted(cy, Some("garden"));
        town.world.clients[cy.0].open("garden");
        town.resumes(cy);
        town.sends(ada, "garden", ["granted"]);
        town.passes(away_ms);
        town.granted(cy, None);
        town.renews(cy);
        town.sends(ada, "garden", ["not granted"]);
        assert_eq!(town.hears(cy, "garden"), ["granted"]);
        assert!(!town.follows(cy, "garden"));
    }
}

#[test]
fn only_the_room_that_does_not_drain_lags() {
    let limits = Limits { outbound_bytes: 2000, ..roomy() };
    let mut town = Town::with_limits(7, limits);
    town.world.space = 300..=300;
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    let [_] = town.members(["ada"], "attic");
    town.adds("bob", "attic");
    town.world.clients[bob.0].open("attic");
    town.world.post(bob.0);
    town.quiet();
    town.stalls(bob);
    // Fills the socket, so that all else waits in the queue.
    town.sends(ada, "garden", ["one", "two", "three", "four"]);
    town.sends(ada, "attic", ["calm"]);
    let lags =
        |town: &Town| town.world.server.counters.iter().map(|all| all.lags.get()).sum::<u64>();
    while lags(&town) == 0 {
        town.sends(ada, "garden", ["loud"]);
    }
    assert_eq!(lags(&town), 1);
    let waiting = town.world.server.counters.iter().map(|all| all.outbound_bytes.get());
    let waiting = waiting.sum::<u64>();
    assert!(waiting < 500, "{waiting} bytes wait behind the lag");
    town.reads(bob);
    assert_eq!(town.hears(bob, "attic"), ["calm"]);
}

#[test]
fn whoever_says_too_much_at_once_rests_until_something_of_it_is_answered_or_a_moment_is_over() {
    let mut town = Town::with_limits(7, Limits { inflight: 2, ..roomy() });
    let [ada] = town.members(["ada"], "garden");
    town.world.clients[ada.0].inflight = 10;
    let socket = town.socket(ada);
    let rests = |town: &mut Town| town.world.outside.sockets.get(socket).unwrap().paused;
    let texts = ["one", "two", "three", "four", "five"];
    for text in texts {
        let cid = town.world.clients[ada.0].next_cid();
        town.says(ada, "garden", &cid, text);
    }
    town.world.upload(socket, usize::MAX);
    assert!(rests(&mut town));
    // The store does not answer; nobody who pings may be left alone for long.
    town.world.pass(300);
    assert!(!rests(&mut town));
    town.says(ada, "garden", "six", "six");
    town.world.upload(socket, usize::MAX);
    assert!(rests(&mut town));
    town.quiet();
    assert!(!rests(&mut town));
    town.passes(6_000);
    let mut heard = town.hears(ada, "garden");
    heard.sort_unstable();
    assert_eq!(heard, ["five", "four", "one", "six", "three", "two"]);
}
