//! Regressions: what the simulation found, or was too slow to find, each told so small that the mistake is plain.
//!
//! No seed is kept: it means another life as soon as the simulation itself changes.

use tertulia_protocol::Role;
use tertulia_protocol::command::Settings;
use tertulia_rooms::draft::{Author, Wish};
use tertulia_rooms::limits::Limits;

use crate::client::Asked;
use crate::fate::Chances;
use crate::limits::roomy;
use crate::outside::{room_id, user_id};
use crate::town::{Device, Town};

#[test]
fn a_hello_that_has_to_ask_keeps_the_token_of_its_upgrade() {
    for seed in 0..8 {
        let mut town = Town::seeded(seed);
        let [ada] = town.members(["ada"], "garden");
        town.goes_wrong(Chances { token_asked: 1000, ..Chances::NONE });
        town.cut(ada);
        // Some of the seeds put the token into the upgrade.
        town.resumes(ada);
        assert!(town.world.clients[ada.0].is_quiet(), "seed {seed}");
    }
}

#[test]
fn what_follows_a_refused_hello_is_nobodys() {
    let mut town = Town::seeded(7);
    let [ada] = town.members(["ada"], "garden");
    town.cut(ada);
    town.goes_wrong(Chances { token_asked: 1000, ..Chances::NONE });
    town.world.clients[ada.0].token_s = 0;
    town.says(ada, "garden", "c", "behind the hello");
    town.resumes(ada);
    assert_eq!(town.world.model.places("ada", "garden", "c").len(), 0);
}

#[test]
fn a_room_deleted_during_a_lookup_stays_deleted() {
    let mut town = Town::seeded(7);
    let [ada] = town.members(["ada"], "garden");
    let [bob] = town.members(["bob"], "attic");
    town.cut(ada);
    let ask = |town: &mut Town| {
        let get = r#","room":"garden","op":"get""#;
        town.world.clients[bob.0].ask("room", get, Asked::Other);
        town.world.post(bob.0);
        for socket in town.world.outside.sockets.ids() {
            town.world.upload(socket, usize::MAX);
        }
    };
    let phone = town.device("bob", "attic");
    ask(&mut town);
    // A reader has seen the room, and then it goes.
    town.world.answer(0);
    town.world.wish("garden", Author::Application, Wish::Delete);
    town.world.commit(usize::MAX);
    // Someone else asks before the first answer is there.
    town.world.clients[phone.0].ask("room", r#","room":"garden","op":"get""#, Asked::Other);
    town.world.post(phone.0);
    town.quiet();
    assert_eq!(town.world.server.hub.size().0, 1, "only the attic is known");
}

#[test]
fn someone_added_again_is_not_dropped_for_the_old_kick() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    // Someone else of bob's shard keeps it listening.
    let _others: Vec<_> = (0..4).map(|_| town.device("ada", "garden")).collect();
    town.goes_wrong(Chances { news_late: 1000, ..Chances::NONE });
    town.kicks("bob", "garden");
    town.adds("bob", "garden");
    town.cut(bob);
    town.resumes(bob);
    town.goes_wrong(Chances::NONE);
    assert!(town.follows(bob, "garden"));
    town.sends(ada, "garden", ["welcome back"]);
    assert_eq!(town.hears(bob, "garden"), ["welcome back"]);
}

#[test]
fn a_member_whose_grant_ends_is_still_a_member() {
    let limits = Limits { membership_ttl_s: 1, ..roomy() };
    let mut town = Town::with_limits(7, limits);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    town.cut(bob);
    town.granted(bob, Some("garden"));
    town.resumes(bob);
    // The stored membership is not at hand any more.
    town.passes(3000);
    town.granted(bob, None);
    town.renews(bob);
    town.sends(ada, "garden", ["still here?"]);
    assert_eq!(town.hears(bob, "garden"), ["still here?"]);
}

/// The device opens a connection and says hello, and a reader looks up what that needs. Says on which shard.
fn asks(town: &mut Town, device: Device) -> usize {
    town.world.connect(device.0);
    for socket in town.world.outside.sockets.ids() {
        town.world.upload(socket, usize::MAX);
    }
    town.world.answer(0);
    let socket = town.world.clients[device.0].line.as_ref().expect("it connected").socket;
    town.world.outside.sockets.get(socket).expect("it is open").shard
}

#[test]
fn a_room_made_again_outlives_the_end_of_the_last_one() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    town.cut(ada);
    town.cut(bob);
    town.world.crash();
    town.goes_wrong(Chances { told_late: 1000, ..Chances::NONE });
    let settings = Settings { kind: None, name: None, d: None };
    let again = [Wish::Delete, Wish::Create(settings)].into_iter();
    let members = ["ada", "bob"].map(|user| Wish::Put(user_id(user), Role::Member));
    for wish in again.chain(members) {
        town.world.wish("garden", Author::Application, wish);
    }
    town.world.commit(usize::MAX);
    // A reader sees the new room, and only then the end of the old one is told.
    let shard = asks(&mut town, ada);
    town.world.hand_over(shard, usize::MAX);
    town.quiet();
    town.resumes(bob);
    town.sends(bob, "garden", ["welcome"]);
    assert_eq!(town.hears(ada, "garden"), ["welcome"]);
}

#[test]
fn nobody_stands_behind_their_own_removal() {
    for seed in 0..8 {
        let mut town = Town::seeded(seed);
        let [ada, bob] = town.members(["ada", "bob"], "garden");
        town.cut(ada);
        town.cut(bob);
        town.world.crash();
        town.goes_wrong(Chances { told_late: 1000, ..Chances::NONE });
        // One reader looks before the commit, one behind it, and nobody was told of it.
        let shard = asks(&mut town, bob);
        let text = Wish::Set(Settings { kind: None, name: Some("behind".into()), d: None });
        town.world.wish("garden", Author::Application, Wish::Kick(user_id("bob")));
        town.world.wish("garden", Author::Application, text);
        town.world.commit(usize::MAX);
        let other = asks(&mut town, ada);
        for shard in [other, shard, shard] {
            town.world.hand_over(shard, usize::MAX);
            while !town.world.outside.lookups.is_empty() {
                town.world.answer(0);
            }
        }
        town.quiet();
        assert!(!town.follows(bob, "garden"), "seed {seed}");
        assert!(town.follows(ada, "garden"), "seed {seed}");
    }
}

/// A device that has read nothing yet of what it missed, in a room that stands behind six texts.
fn stuck(limits: Limits) -> (Town, [Device; 2]) {
    let mut town = Town::with_limits(7, Limits { replay_bytes: 100, ..limits });
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    town.cut(bob);
    town.sends(ada, "garden", SIX);
    town.world.space = 40..=40;
    town.stalls(bob);
    town.resumes(bob);
    (town, [ada, bob])
}

/// The device reads again, faster than before.
fn unstick(town: &mut Town, device: Device) {
    let socket = town.socket(device);
    town.world.outside.sockets.get(socket).expect("it is open").space = 1 << 20;
    town.world.clients[device.0].pace = usize::MAX;
    for _ in 0..4 {
        town.world.download(device.0, usize::MAX);
    }
}

/// Reads again, hears all of these, and is out.
#[track_caller]
fn hears_no_more_than(town: &mut Town, device: Device, texts: &[&str]) {
    unstick(town, device);
    town.quiet();
    assert_eq!(town.hears(device, "garden"), texts);
    assert!(!town.follows(device, "garden"));
}

const SIX: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

#[test]
fn a_page_ends_where_it_was_said_to() {
    // A kick made the reader of a page read on to the kick.
    let (mut town, [_, bob]) = stuck(Limits { page: 1, page_max: 1, ..roomy() });
    town.kicks("bob", "garden");
    hears_no_more_than(&mut town, bob, &SIX[..1]);
}

#[test]
fn the_first_of_two_kicks_counts() {
    // Kicked, added and kicked again while reading: the second kick moved the end of the first.
    let (mut town, [ada, bob]) = stuck(roomy());
    town.kicks("bob", "garden");
    town.sends(ada, "garden", ["without bob"]);
    town.adds("bob", "garden");
    town.kicks("bob", "garden");
    hears_no_more_than(&mut town, bob, &SIX);
}

#[test]
fn the_first_of_two_removals_counts_though_its_news_were_lost() {
    let (mut town, [ada, bob]) = stuck(roomy());
    town.goes_wrong(Chances { news_lost: 1000, ..Chances::NONE });
    town.kicks("bob", "garden");
    town.sends(ada, "garden", ["without bob"]);
    town.goes_wrong(Chances::NONE);
    // The second one is heard of, and the end that it sets is behind the first.
    town.world.wish("garden", Author::Application, Wish::Ban(user_id("bob")));
    town.quiet();
    hears_no_more_than(&mut town, bob, &SIX);
}

#[test]
fn a_kick_between_the_decision_and_the_attachment_is_a_kick() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    town.cut(ada);
    town.cut(bob);
    town.world.crash();
    let shard = asks(&mut town, bob);
    town.world.wish("garden", Author::Application, Wish::Kick(user_id("bob")));
    // The committer runs when the shard next looks at the clock. The shard began to listen only behind the
    // kick, so no news told it.
    town.world.outside.chances.interrupted = 1000;
    town.world.hand_over(shard, usize::MAX);
    town.world.outside.chances = Chances::NONE;
    town.quiet();
    assert!(!town.follows(bob, "garden"));
    town.resumes(ada);
    town.sends(ada, "garden", ["behind"]);
    assert_eq!(town.hears(bob, "garden").len(), 0);
}

#[test]
fn what_a_reader_saw_before_a_kick_is_asked_again() {
    let mut town = Town::with_limits(7, Limits { membership_ttl_s: 1, ..roomy() });
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    town.cut(ada);
    town.cut(bob);
    town.world.crash();
    let shard = asks(&mut town, bob);
    town.world.wish("garden", Author::Application, Wish::Kick(user_id("bob")));
    town.world.commit(usize::MAX);
    // The answer is so late that the word of the committer is not at hand any more.
    town.world.pass(3000);
    town.world.hand_over(shard, usize::MAX);
    town.quiet();
    assert!(!town.follows(bob, "garden"));
}

#[test]
fn who_is_removed_while_pages_are_read_is_not_let_in() {
    let mut town = Town::seeded(7);
    let [ada, bob] = town.members(["ada", "bob"], "garden");
    town.cut(bob);
    town.sends(ada, "garden", SIX);
    town.cut(ada);
    // Nothing is in memory any more.
    town.world.crash();
    let shard = asks(&mut town, bob);
    town.world.hand_over(shard, usize::MAX);
    assert_eq!(town.world.outside.lookups.len(), 1, "the pages are asked for");
    town.world.wish("garden", Author::Application, Wish::Kick(user_id("bob")));
    town.quiet();
    assert!(!town.follows(bob, "garden"));
    let trace = town.world.outside.trace.to_string();
    assert!(!trace.contains(r#""t":"lag""#), "bob was let in and sent away");
}

#[test]
fn who_reads_a_room_on_is_not_given_the_next_one_of_its_name() {
    let (mut town, [ada, bob]) = stuck(roomy());
    town.sends(ada, "garden", ["seven", "eight"]);
    let (_, head) = town.world.model.head("garden").expect("it was made");
    // The room goes and another one comes, and bob's shard has not heard of it.
    let settings =
        |number| Settings { kind: None, name: Some(format!("name {number}").into()), d: None };
    town.world.wish("garden", Author::Application, Wish::Delete);
    town.world.wish("garden", Author::Application, Wish::Create(settings(0)));
    town.world.commit(usize::MAX);
    // Someone else has asked for the new one, so that its tail is kept.
    let garden = room_id("garden");
    town.world.server.hub.expect(&garden);
    let made = town.world.reader.room(&garden).expect("no fault is planted");
    town.world.server.hub.learn(&garden, made.as_ref());
    for number in 0..head {
        town.world.wish("garden", Author::Application, Wish::Set(settings(number)));
        town.world.commit(usize::MAX);
    }
    unstick(&mut town, bob);
    town.quiet();
    // What is left of the old room may be heard or not; what is heard is of the old room.
    assert!(town.hears(bob, "garden").starts_with(&SIX.map(String::from)));
    assert!(!town.follows(bob, "garden"));
}

/// A phone that changes its network twice: the third connection takes over from the second before the first one's
/// shard has heard of it.
#[test]
fn whoever_takes_over_waits_for_all_who_had_the_session_before() {
    let mut passed_on = 0;
    for seed in 0..64 {
        let mut town = Town::seeded(seed);
        let [ada] = town.members(["ada"], "garden");
        let first = town.socket(ada);
        town.says(ada, "garden", "c", "from the first one");
        let mut shards = Vec::new();
        for _ in 0..2 {
            town.world.connect(ada.0);
            let socket = town.socket(ada);
            town.world.upload(socket, usize::MAX);
            shards.extend(town.world.outside.sockets.get(socket).map(|socket| socket.shard));
        }
        let of_first = town.world.outside.sockets.get(first).map(|socket| socket.shard);
        passed_on += u32::from(shards[0] == shards[1] && of_first != Some(shards[0]));
        // It says nothing any more once the third one was answered.
        town.world.upload(first, usize::MAX);
        town.quiet();
    }
    assert!(passed_on > 0, "in some of the lives the second and the third are of another shard");
}

#[test]
fn whoever_comes_after_one_that_waited_and_went_waits_for_the_first() {
    let mut passed_on = 0;
    for seed in 0..64 {
        let mut town = Town::seeded(seed);
        let [ada] = town.members(["ada"], "garden");
        let first = town.socket(ada);
        town.says(ada, "garden", "c", "from the first one");
        town.world.connect(ada.0);
        let second = town.socket(ada);
        town.world.upload(second, usize::MAX);
        let shard_of = |town: &Town, id| town.world.outside.sockets.find(id).map(|one| one.shard);
        passed_on += u32::from(shard_of(&town, second) != shard_of(&town, first));
        // It goes while it waits, and the server has seen that when the third one comes.
        town.world.cut(ada.0);
        town.world.upload(second, usize::MAX);
        town.world.connect(ada.0);
        town.world.upload(town.socket(ada), usize::MAX);
        // It says nothing any more once the third one was answered.
        town.world.upload(first, usize::MAX);
        town.quiet();
    }
    assert!(passed_on > 0, "in some of the lives the second one is of another shard");
}

/// Drafts are handed in at the end of a turn, and the word that a session is free could leave before.
#[test]
fn what_was_said_in_a_session_is_in_the_queue_before_it_passes_on() {
    let mut passed_on = 0;
    for seed in 0..64 {
        let mut town = Town::seeded(seed);
        let [ada, bob] = town.members(["ada", "bob"], "garden");
        let (first, shard_of_first) = (town.socket(ada), town.shard(ada));
        town.goes_wrong(Chances { unflushed: 1000, ..Chances::NONE });
        town.says(ada, "garden", "c", "from the first one");
        town.world.upload(first, usize::MAX);
        town.world.connect(ada.0);
        town.world.upload(town.socket(ada), usize::MAX);
        town.world.hand_over(shard_of_first, usize::MAX);
        if town.shard(ada) != shard_of_first {
            passed_on += 1;
            assert_eq!(town.world.outside.office.get_mut().drafts.len(), 1, "seed {seed}");
        }
        town.goes_wrong(Chances::NONE);
        town.quiet();
        assert_eq!(town.hears(bob, "garden"), ["from the first one"], "seed {seed}");
    }
    assert!(passed_on > 0, "in some of the lives the second one is of another shard");
}
