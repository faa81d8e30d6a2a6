//! Kills: what was acknowledged is there, however often the server dies.

use tertulia_proof::chance::seed;
use tertulia_proof::trial::kills::{Calm, Death, Forecast};

use crate::place;

#[test]
fn acked_messages_survive_fifty_kills() {
    let place = place().set("limits.send_per_second", 0);
    let Calm { verdict, .. } = Forecast::small(&place, &[Death::Kill; 50], seed()).blow(&|_| ());
    assert_eq!(verdict.wrongs(), Vec::<String>::new());
    assert!(verdict.acked > 1000, "only {} were acked", verdict.acked);
}

#[test]
fn acked_messages_survive_drains_and_kills_inside_them() {
    let place = place().set("limits.send_per_second", 0).set("server.drain_seconds", 5);
    let deaths = [Death::Drain, Death::KillInDrain, Death::DrainTwice].repeat(3);
    let Calm { verdict, members, .. } = Forecast::small(&place, &deaths, seed()).blow(&|_| ());
    assert_eq!(verdict.wrongs(), Vec::<String>::new());
    let told: u64 = members.iter().filter_map(|member| member.byes.get(&4300)).sum();
    assert!(told >= 3 * members.len() as u64, "only {told} were told to come back");
}
