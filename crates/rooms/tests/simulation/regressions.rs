//! Regressions: what the simulation found, each told so small that the mistake is plain.
//!
//! Where only a long life shows it, its seed is kept. A seed means another life as soon as the simulation
//! itself changes; whoever changes it puts the mistake back in and looks for a seed that finds it.

use tertulia_protocol::Role;
use tertulia_protocol::command::Settings;
use tertulia_rooms::draft::{Author, Wish};
use tertulia_rooms::limits::Limits;

use crate::client::Asked;
use crate::fate::{Chances, roomy};
use crate::lives::survive;
use crate::outside::user_id;
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

#[test]
fn a_page_ends_where_it_was_said_to() {
    // A kick made the reader of a page read on to the kick.
    survive(628);
}

#[test]
fn the_first_of_two_kicks_counts() {
    // Kicked, added and kicked again while reading: the second kick moved the end of the first.
    survive(1371);
}

#[test]
fn a_kick_between_the_decision_and_the_attachment_is_a_kick() {
    // The shard began to listen only behind the kick, so no news told it.
    survive(2527);
}
