//! Sessions: who may be here how often, and what nobody learns.

use serde_json::{Value, json};

use tertulia_proof::client::{Client, Heard};
use tertulia_proof::server::Server;

use crate::place;

#[test]
fn a_newer_connection_of_a_session_takes_over() {
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    let (mut old, said) = Client::welcome(&server, &server.token("ada"), json!([["garden"]]));
    let session = said["session"].clone();
    for _ in 0..4 {
        let mut new = Client::upgrade(server.public, "").expect("an upgrade");
        let token = server.token("ada");
        let hello =
            json!({"t": "hello", "token": token, "session": session, "rooms": [["garden"]]});
        let said = new.ask(hello);
        assert_eq!((&said["t"], &said["session"]), (&json!("ok"), &session));
        let ended = old.end();
        assert_eq!((ended.bye, ended.close), (Some((4006, None)), Some(4006)));
        assert_eq!(new.send("garden", "same-cid")["t"], "ok");
        old = new;
    }
    assert_eq!(server.metric("tertulia_closes_total{code=\"4006\"}"), 4);
}

#[test]
fn one_connection_too_many_is_refused_and_the_others_stay() {
    let server = place().set("limits.connections_per_user", 2).open();
    server.room("garden", "group", &["ada", "bob"]);
    let first = Client::join(&server, "ada", &["garden"]);
    let mut second = Client::join(&server, "ada", &["garden"]);
    let mut third = Client::upgrade(server.public, "").expect("an upgrade");
    let hello = json!({"t": "hello", "token": server.token("ada"), "rooms": []});
    let said = third.ask(hello);
    assert_eq!((&said["t"], &said["code"]), (&json!("err"), &json!("forbidden")), "{said}");
    let ended = third.end();
    assert_eq!((ended.bye, ended.close), (Some((4007, None)), Some(4007)));
    Client::join(&server, "bob", &["garden"]);
    assert_eq!(second.send("garden", "c1")["t"], "ok");
    drop(first);
    server.until("there is room again", |server| server.metric("tertulia_connections") <= 2);
    Client::join(&server, "ada", &["garden"]);
}

/// Everything that was read from the database so far.
fn reads(server: &Server) -> Vec<u64> {
    let kinds = ["standing", "page", "other"];
    let series = kinds.map(|kind| format!("tertulia_reader_queries_total{{kind=\"{kind}\"}}"));
    series.iter().map(|series| server.metric(series)).collect()
}

/// What `ask` is answered about a room, and what the database was read for it.
fn answered(server: &Server, ask: impl FnOnce() -> String) -> (String, Vec<u64>) {
    let before = reads(server);
    let answer = ask();
    let after = reads(server);
    (answer, after.iter().zip(before).map(|(after, before)| after - before).collect())
}

#[test]
fn a_foreign_room_is_answered_like_one_that_is_not_there() {
    let server = place().open();
    server.room("vault", "group", &["bob"]);
    server.room("banned", "group", &["ada"]);
    server.done("PUT", "/v1/rooms/banned/bans/ada", "");
    let mut ada = Client::join(&server, "ada", &[]);
    let d = json!({"text": "in"});
    for command in [
        json!({"t": "sub"}),
        json!({"t": "sub", "epoch": "e1", "seq": 4}),
        json!({"t": "log", "after": 0}),
        json!({"t": "room", "op": "get"}),
        json!({"t": "room", "op": "set", "d": {"name": "mine"}}),
        json!({"t": "room", "op": "join"}),
        json!({"t": "room", "op": "kick", "user": "bob"}),
        json!({"t": "send", "cid": "c1", "d": d}),
        json!({"t": "signal", "k": "x.wave", "d": d}),
        json!({"t": "typing", "on": true}),
    ] {
        let mut tell = |room: &str| {
            answered(&server, || {
                let mut command: Value = command.clone();
                (command["room"], command["id"]) = (json!(room), json!(77));
                ada.say(&command.to_string());
                match ada.hear() {
                    Heard::Line(line) => line,
                    other => panic!("{other:?}"),
                }
            })
        };
        let missing = tell("nowhere");
        assert!(missing.0.contains("\"not_found\""), "{command}: {missing:?}");
        assert_eq!(tell("vault"), missing, "{command}");
        assert_eq!(tell("banned"), missing, "{command}");
        // Having asked before changes nothing.
        assert_eq!(tell("vault"), missing, "{command}");
        assert_eq!(tell("nowhere"), missing, "{command}");
    }
}

#[test]
fn a_foreign_room_is_answered_like_one_that_is_not_there_over_http_too() {
    let server = place().open();
    server.room("vault", "group", &["bob"]);
    let token = server.token("ada");
    for (method, path, body) in [
        ("GET", "", ""),
        ("GET", "/log", ""),
        ("GET", "/members", ""),
        ("POST", "/messages", r#"{"d":{}}"#),
        ("PUT", "/members/ada", r#"{"role":"owner"}"#),
        ("DELETE", "/members/bob", ""),
        ("DELETE", "/members/ada", ""),
        ("PUT", "/bans/bob", ""),
        ("DELETE", "/bans/bob", ""),
        ("DELETE", "", ""),
    ] {
        let tell = |room: &str| {
            answered(&server, || {
                let path = format!("/v1/rooms/{room}{path}");
                let answer = server.call_as(&token, method, &path, body);
                assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
                answer.without_what_always_differs()
            })
        };
        let missing = tell("nowhere");
        assert_eq!(tell("vault"), missing, "{method} {path}");
        assert_eq!(tell("vault"), missing, "{method} {path}");
    }
}
