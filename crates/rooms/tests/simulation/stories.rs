//! Stories: one thing that matters each, told from end to end.

use tertulia_rooms::limits::Limits;

use crate::fate::{Chances, roomy};
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
