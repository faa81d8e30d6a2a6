//! Kills: what was acknowledged is there, however often the server dies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tertulia_protocol::Epoch;

use crate::chance::{Chance, seed};
use crate::server::{Place, Server};
use crate::storm::{Member, Weather};
use crate::verdict::Verdict;

const ROOMS: [&str; 4] = ["attic", "cellar", "garden", "kitchen"];
const MEMBERS: usize = 20;

/// How one life of the server ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Death {
    /// At once.
    Kill,
    /// In order.
    Drain,
    /// While it hands over.
    KillInDrain,
    /// In order, and then the operator is in a hurry.
    DrainTwice,
}

/// A storm over so many lives of a server, and what is found when it is over.
pub(crate) fn storm(place: &Place, deaths: &[Death], settle: Duration) -> (Verdict, Vec<Member>) {
    let seed = seed();
    let mut chance = Chance::new(seed);
    let mut server = place.open();
    let users: Vec<String> = (0..MEMBERS).map(|n| format!("u{n:02}")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let mut epochs = BTreeMap::new();
    for room in ROOMS {
        server.room(room, "group", &names);
        let shown = server.done("GET", &format!("/v1/rooms/{room}"), "").json();
        let epoch = Epoch::parse(shown["epoch"].as_str().expect("an epoch")).expect("one");
        epochs.insert(room.to_owned(), epoch);
    }
    let weather = Arc::new(Weather::default());
    weather.serve(Some(server.public));
    let mut threads = Vec::new();
    for user in &users {
        let member = Member::new(user, server.token(user), chance.number(), &epochs);
        let weather = weather.clone();
        threads.push(std::thread::spawn(move || member.live(&weather)));
    }
    for death in deaths {
        weather.wait_for_an_ack(settle);
        // Not to wait for anything: the moment of death is a matter of chance.
        std::thread::sleep(Duration::from_millis(chance.below(60)));
        die(&mut server, *death, &mut chance);
        weather.serve(None);
        server = place.open();
        weather.serve(Some(server.public));
    }
    let answered = weather.hush(MEMBERS, settle);
    let mut logs = BTreeMap::new();
    for room in ROOMS {
        logs.insert(room.to_owned(), server.log(room));
    }
    let length = |log: &Result<Vec<String>, String>| log.as_ref().map_or(0, Vec::len) as u64;
    weather.part(logs.iter().map(|(room, log)| (room.clone(), length(log))).collect());
    let ended = threads.into_iter().map(|thread| thread.join().expect("a member does not panic"));
    let members: Vec<Member> = ended.collect();
    let mut verdict = Verdict::of(&members, &logs);
    if !answered {
        verdict.complaints.push(format!("not all was answered within {settle:?}"));
    }
    let (events, acked) = (logs.values().map(length).sum::<u64>(), verdict.acked);
    eprintln!("{} deaths, {acked} acked, {events} events, seed {seed}", deaths.len());
    (verdict, members)
}

fn die(server: &mut Server, death: Death, chance: &mut Chance) {
    match death {
        Death::Kill => server.kill(),
        Death::Drain => {
            server.signal(Signal::TERM);
            let status = server.ended(Duration::from_secs(30));
            assert!(status.success(), "{status}");
        }
        Death::KillInDrain => {
            server.signal(Signal::TERM);
            std::thread::sleep(Duration::from_millis(chance.below(250)));
            server.kill();
        }
        Death::DrainTwice => {
            server.signal(Signal::TERM);
            server.until("it hands over", |server| !server.is_ready());
            server.signal(Signal::TERM);
            server.ended(Duration::from_secs(2));
        }
    }
}

#[test]
fn acked_messages_survive_fifty_kills() {
    let place = Place::new().set("limits.send_per_second", 0);
    let (verdict, _) = storm(&place, &[Death::Kill; 50], Duration::from_secs(20));
    assert_eq!(verdict.wrongs(), Vec::<String>::new());
    assert!(verdict.acked > 1000, "only {} were acked", verdict.acked);
}

#[test]
fn acked_messages_survive_drains_and_kills_inside_them() {
    let place = Place::new().set("limits.send_per_second", 0).set("server.drain_seconds", 5);
    let deaths = [Death::Drain, Death::KillInDrain, Death::DrainTwice].repeat(3);
    let (verdict, members) = storm(&place, &deaths, Duration::from_secs(20));
    assert_eq!(verdict.wrongs(), Vec::<String>::new());
    let told: u64 = members.iter().filter_map(|member| member.byes.get(&4300)).sum();
    assert!(told >= 3 * MEMBERS as u64, "only {told} were told to come back");
}
