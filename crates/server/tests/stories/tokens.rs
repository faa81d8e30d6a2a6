//! Tokens and keys: who they let in, and until when.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use tertulia_proof::client::{Client, Ended};
use tertulia_proof::http;
use tertulia_proof::server::{PATIENCE, wait_for};

use crate::place;

/// What an operator does is in force within a second; the rest is for the machine to tell us.
const SEEN: Duration = Duration::from_millis(1500);

fn closed(code: u16) -> Ended {
    Ended { bye: Some((u64::from(code), None)), close: Some(code) }
}

#[test]
fn a_revoked_user_is_still_revoked_after_a_restart() {
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    let token = server.token("ada");
    server.done("POST", "/v1/users/ada/revoke", "");
    // The token is not good again; one from later is.
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
