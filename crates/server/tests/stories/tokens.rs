//! Tokens and keys: who they let in, and until when.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use tertulia_proof::client::{Client, Ended, Heard};
use tertulia_proof::http;
use tertulia_proof::server::{PATIENCE, wait_for};

use crate::place;

/// What an operator does is in force by then.
const IN_FORCE: Duration = Duration::from_secs(1);

/// The same, with time for the machine to tell us.
const SEEN: Duration = Duration::from_millis(1500);

/// So long a token is good past its end, since no two clocks agree.
const LEEWAY: Duration = Duration::from_secs(5);

fn closed(code: u16) -> Ended {
    Ended { bye: Some((u64::from(code), None)), close: Some(code) }
}

#[test]
fn a_token_that_ends_ends_its_connection() {
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    let from = Instant::now();
    let token = server.token_for("ada", 3);
    let (mut ada, _) = Client::welcome(&server, &token, json!([["garden"]]));
    let due = ada.object();
    assert_eq!(due["t"], "auth_due");
    assert!(due["in_ms"].as_u64().is_some_and(|ms| (1..=8000).contains(&ms)), "{due}");
    assert_eq!(ada.end(), closed(4101));
    assert!((6..10).contains(&from.elapsed().as_secs()), "after {:?}", from.elapsed());
}

#[test]
fn a_token_that_is_renewed_does_not() {
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    let (mut ada, _) = Client::welcome(&server, &server.token_for("ada", 2), json!([["garden"]]));
    assert_eq!(ada.object()["t"], "auth_due");
    let said = ada.ask(json!({"t": "auth", "token": server.token("ada")}));
    assert!(said["t"] == "ok" && said["exp"].is_u64(), "{said}");
    // Past the end of the first one nothing comes: no warning, no close.
    assert_eq!(ada.hear_by(Instant::now() + LEEWAY + Duration::from_secs(3)), None);
    assert_eq!(ada.send("garden", "c1")["t"], "ok");
}

#[test]
fn a_token_of_someone_else_ends_the_connection() {
    let server = place().open();
    server.room("garden", "group", &["ada", "bob"]);
    let mut ada = Client::join(&server, "ada", &["garden"]);
    let said = ada.ask(json!({"t": "auth", "token": server.token("bob")}));
    assert_eq!(said["code"], "unauthorized", "{said}");
    assert_eq!(ada.end(), closed(4003));
}

#[test]
fn tokens_that_are_not_good_are_told_apart() {
    let server = place().open();
    let good = server.token("ada");
    let (message, _) = good.rsplit_once('.').expect("a signature");
    for (token, code) in [
        (json!(null), 4100),
        (json!(""), 4100),
        (json!("nonsense"), 4102),
        (json!(format!("{message}.AAAA")), 4102),
        (json!(server.key), 4102),
    ] {
        let mut client = Client::upgrade(server.public, "").expect("an upgrade");
        let mut hello = json!({"t": "hello", "rooms": []});
        if !token.is_null() {
            hello["token"] = token.clone();
        }
        let said = client.ask(hello);
        assert_eq!(said["code"], "unauthorized", "{token}: {said}");
        assert_eq!(client.end(), closed(code), "{token}");
    }
}

#[test]
fn a_revoked_user_is_out_everywhere_within_a_second() {
    let server = place().open();
    server.room("garden", "group", &["ada", "bob"]);
    let token = server.token("ada");
    let mut devices: Vec<Client> =
        (0..5).map(|_| Client::welcome(&server, &token, json!([["garden"]])).0).collect();
    let mut bob = Client::join(&server, "bob", &["garden"]);
    server.done("POST", "/v1/users/ada/revoke", "");
    let by = Instant::now() + IN_FORCE;
    bob.send("garden", "behind her back");
    for device in &mut devices {
        let mut ended = Ended { bye: None, close: None };
        loop {
            match device.hear_by(by).expect("it ends within a second") {
                Heard::Line(line) if line.contains("\"bye\"") => ended.bye = Some((4103, None)),
                Heard::Line(line) => panic!("she heard {line}"),
                Heard::Close(code) => ended.close = Some(code),
                Heard::End => break,
            }
        }
        assert_eq!(ended, closed(4103));
    }
    // Neither here nor after a restart is the token good again; one from later is.
    let place = server.place.clone();
    drop(server);
    let server = place.open();
    let mut again = Client::upgrade(server.public, "").expect("an upgrade");
    let said = again.ask(json!({"t": "hello", "token": token, "rooms": []}));
    assert_eq!(said["code"], "unauthorized", "{said}");
    assert_eq!(again.end(), closed(4103));
    let answer = server.call_as(&token, "GET", "/v1/rooms", "");
    assert_eq!(answer.status, 401, "{answer:?}");
    wait_for("a token from later is good", PATIENCE, || {
        let mut later = Client::upgrade(server.public, "").expect("an upgrade");
        let token = server.token_for("ada", 60);
        later.ask(json!({"t": "hello", "token": token, "rooms": [["garden"]]}))["t"] == "ok"
    });
}

#[test]
fn keys_come_and_go_within_a_second_while_the_server_runs() {
    let place = place();
    let server = place.open();
    server.room("garden", "group", &["ada"]);
    let made = place.command(&["key", "create", "--name", "crm", "--scope", "read"]);
    let key = String::from_utf8(made.stdout).expect("a key").trim().to_owned();
    assert!(key.starts_with("tk_"), "{:?}", made.status);
    place.hide(&key);
    let path = "/v1/rooms/garden/log";
    let status = || server.call_as(&key, "GET", path, "").status;
    let took = wait_for("the key is known", PATIENCE, || status() == 200);
    assert!(took < SEEN, "it took {took:?}");
    let put = server.call_as(&key, "PUT", "/v1/rooms/attic", "{}");
    assert_eq!(put.status, 403, "its scope is read: {put:?}");
    assert!(place.command(&["key", "revoke", "crm"]).status.success());
    let took = wait_for("the key is refused", PATIENCE, || status() == 401);
    assert!(took < SEEN, "it took {took:?}");
}

/// A request for a token that makes its bearer ada, without the body that it promises.
fn dev_token(host: &str, more: &str) -> String {
    format!("POST /v1/dev/token HTTP/1.1\r\nHost: {host}\r\nContent-Length: 14\r\n{more}\r\n")
}

#[test]
fn whom_the_development_sign_in_is_not_for_is_told_before_the_body() {
    let server = place().open();
    for (host, more) in [
        ("chat.example", ""),
        ("localhost", "X-Forwarded-For: 192.0.2.1\r\n"),
        ("localhost", "Origin: null\r\n"),
    ] {
        let answer = http::exchange(server.public, dev_token(host, more).as_bytes());
        assert_eq!(answer.expect("an answer").status, 404, "{host} {more}");
    }
    let whole = dev_token("localhost", "Connection: close\r\n") + r#"{"user":"ada"}"#;
    let answer = http::exchange(server.public, whole.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 201, "{answer:?}");
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    server.place.hide(&token);
    assert_eq!(server.call_as(&token, "GET", "/v1/rooms", "").status, 200);
}

#[test]
fn a_proxy_that_runs_as_another_user_does_not_open_the_development_sign_in() {
    const NOBODY: u32 = 65_534;
    let server = place().open();
    // As nginx does by itself: the name that it calls the server by, and no word of whom it speaks for.
    let whole =
        dev_token(&server.public.to_string(), "Connection: close\r\n") + r#"{"user":"ada"}"#;
    let (host, port) = (server.public.ip(), server.public.port());
    let script = format!("exec 3<>/dev/tcp/{host}/{port}; printf %s \"$1\" >&3; cat <&3");
    let call = |user: u32| {
        let mut bash = Command::new("bash");
        bash.args(["-c", &script, "proxy", &whole]).uid(user);
        let output = bash.output().expect("a process of another user: run this story as root");
        http::read(&output.stdout).expect("an answer")
    };
    let us = rustix::process::getuid().as_raw();
    let answer = call(us);
    assert_eq!(answer.status, 201, "{answer:?}");
    server.place.hide(answer.json()["token"].as_str().expect("a token"));
    assert_eq!(call(NOBODY).status, 404);
}
