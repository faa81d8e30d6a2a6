//! Counts: what the metrics say is what happened, to the last one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use tertulia_proof::client::{Client, message};
use tertulia_proof::server::Server;

use crate::place;

const VERBS: [&str; 8] =
    ["receive", "decode", "authorise", "submit", "commit", "publish", "deliver", "send"];

fn counted(server: &Server) -> Vec<u64> {
    let text = server.metrics();
    let count = |verb| {
        let series = format!("tertulia_{verb}_seconds_count ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.and_then(|value| value.parse().ok()).expect("every verb has a count")
    };
    VERBS.map(count).to_vec()
}

#[test]
fn every_verb_is_counted() {
    let server = place().set("limits.send_per_second", 0).open();
    // What was done, one for each verb, in their order.
    let [mut receive, mut decode, mut authorise, mut submit] = [0; 4];
    let [mut commit, mut deliver] = [0; 2];

    // Over HTTP: a draft for the room, and one for each member. Nobody hears it.
    let members = ["ada", "bob", "carol"];
    server.room("garden", "group", &members);
    server.room("attic", "public", &[]);
    commit += 1 + members.len() as u64 + 1;
    let before = all_events(&server);

    // Hello: one message, one object, a decision for each room that is named, found or not.
    let mut ada = Client::join(&server, "ada", &["garden"]);
    let mut bob = Client::join(&server, "bob", &["garden"]);
    let token = server.token("carol");
    let (mut carol, _) = Client::welcome(&server, &token, json!([["nowhere"], ["garden"]]));
    receive += 3;
    decode += 3;
    authorise += 1 + 1 + 2;
    let mut listeners = 3;

    // Sends: each an event for each listener.
    for n in 0..20 {
        assert_eq!(ada.send("garden", &format!("c{n}"))["t"], "ok");
        receive += 1;
        decode += 1;
        submit += 1;
        commit += 1;
        deliver += listeners;
    }
    // Ten in one message.
    let lines: Vec<String> = (0..10u64)
        .map(|n| {
            let mut send: Value = message("garden", &format!("m{n}"));
            send["id"] = json!(1000 + n);
            send.to_string()
        })
        .collect();
    bob.say(&lines.join("\n"));
    for n in 0..10 {
        bob.find(|said| said["id"] == 1000 + n);
    }
    receive += 1;
    decode += 10;
    submit += 10;
    commit += 10;
    deliver += 10 * listeners;

    // What is refused or was there before is a draft, but no event.
    assert_eq!(ada.send("garden", "c0")["dup"], true);
    assert_eq!(ada.send("vault", "v0")["code"], "not_found");
    receive += 2;
    decode += 2;
    submit += 2;
    commit += 2;

    // Reading: a decision each; whoever left hears no more.
    assert_eq!(carol.ask(json!({"t": "unsub", "room": "garden"}))["t"], "ok");
    listeners -= 1;
    assert_eq!(carol.ask(json!({"t": "log", "room": "garden", "after": 0}))["t"], "ok");
    assert_eq!(carol.ask(json!({"t": "sub", "room": "vault"}))["code"], "not_found");
    assert_eq!(carol.ask(json!({"t": "ping"}))["t"], "ok");
    receive += 4;
    decode += 4;
    authorise += 2;

    // What cannot be read is read all the same.
    carol.say("nonsense");
    assert_eq!(carol.find(|said| said["t"] == "err")["code"], "bad_request");
    receive += 1;
    decode += 1;

    // A message and a member over HTTP: drafts that no connection submitted.
    let body = json!({"d": {}, "by": "ada"}).to_string();
    server.done("POST", "/v1/rooms/garden/messages", &body);
    server.done("PUT", "/v1/rooms/garden/members/dora", r#"{"role":"member"}"#);
    commit += 2;
    deliver += 2 * listeners;

    // Who is removed hears that, and nothing more.
    server.done("DELETE", "/v1/rooms/garden/members/bob", "");
    bob.find(|said| said["t"] == "drop");
    commit += 1;
    deliver += listeners;
    listeners -= 1;
    assert_eq!(ada.send("garden", "alone")["t"], "ok");
    receive += 1;
    decode += 1;
    submit += 1;
    commit += 1;
    deliver += listeners;

    // Published is what is stored; sent is every frame that someone heard.
    let publish = all_events(&server);
    let mut everyone = [ada, bob, carol];
    for client in &mut everyone {
        let id = client.command(json!({"t": "ping"}));
        client.find(|said| said["id"] == id);
        receive += 1;
        decode += 1;
    }
    // And the last one, after which nothing comes.
    server.done("POST", "/v1/users/carol/revoke", "");
    commit += 1;
    everyone[2].end();
    let send: u64 = everyone.iter().map(|client| client.frames).sum();

    let expected = vec![receive, decode, authorise, submit, commit, publish, deliver, send];
    // A count may come a moment after what it counts; more than that it never is.
    let named = |counts: &[u64]| VERBS.into_iter().zip(counts.to_vec()).collect::<Vec<_>>();
    let until = Instant::now() + Duration::from_secs(2);
    while counted(&server) != expected && Instant::now() < until {}
    assert_eq!(named(&counted(&server)), named(&expected));
    assert_eq!(publish - before, 20 + 10 + 2 + 2);
}

/// Events in all rooms.
fn all_events(server: &Server) -> u64 {
    let rooms = ["garden", "attic"].map(|room| server.log(room).expect("a log").len() as u64);
    rooms.iter().sum()
}
