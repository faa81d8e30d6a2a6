//! Answers over HTTP to what cannot be answered: they say what was wrong, and what would be right.

use serde_json::json;

use tertulia_proof::client::Client;
use tertulia_proof::http;
use tertulia_proof::server::Server;

use crate::place;

/// What a call as ada gets: status, code and words.
fn told(server: &Server, method: &str, path: &str) -> (u16, String, String) {
    let answer = server.call_as(&server.token("ada"), method, path, "");
    let head = answer.head.to_ascii_lowercase();
    assert!(head.contains("content-type: application/problem+json"), "{path}: {head}");
    let said = answer.json();
    let word = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
    assert!(!word("request_id").is_empty(), "{path}: {said}");
    (answer.status, word("code"), word("detail"))
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let server = place().open();
    for path in ["/v1/nowhere", "/v2/rooms", "/v1/rooms/", "/v1/rooms/garden/history"] {
        let (status, code, detail) = told(&server, "GET", path);
        assert_eq!((status, code.as_str()), (404, "not_found"), "{path}");
        assert!(detail.contains(&format!("nothing at {path};")), "{detail}");
        assert!(detail.contains("docs/protocol.md"), "{detail}");
    }
    // Only as much of it as is needed to know it again.
    let (_, _, detail) = told(&server, "GET", &format!("/{}", "x".repeat(10_000)));
    assert!(detail.contains("/xxx") && detail.len() < 300, "{detail}");
    let answer = http::call(server.internal, "GET", "/nowhere", "", "").expect("an answer");
    assert!(answer.status == 404 && answer.body.contains("nothing at /nowhere;"), "{answer:?}");
}

#[test]
fn a_method_that_is_not_there_is_named_with_those_that_are() {
    let server = place().open();
    for (method, path, allowed) in [
        ("PATCH", "/v1/rooms/garden", "PUT,GET,HEAD,DELETE"),
        ("GET", "/v1/rooms/garden/messages", "POST"),
        ("DELETE", "/v1/rooms", "GET,HEAD"),
        ("POST", "/healthz", "GET,HEAD"),
        ("POST", "/", "GET,HEAD"),
    ] {
        let (status, code, detail) = told(&server, method, path);
        assert_eq!((status, code.as_str()), (405, "bad_request"), "{method} {path}");
        assert!(detail.starts_with(&format!("{path} does not take {method};")), "{detail}");
        let head = server.call(method, path, "").head;
        let allow = head.lines().find_map(|line| line.strip_prefix("allow: "));
        let sorted = |text: &str| {
            let mut words: Vec<&str> = text.split(',').map(str::trim).collect();
            words.sort_unstable();
            words.join(" ")
        };
        assert_eq!(allow.map(sorted), Some(sorted(allowed)), "{method} {path}: {head}");
    }
}

#[test]
fn a_parameter_that_is_wrong_is_named_with_what_it_takes() {
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    let log = "/v1/rooms/garden/log";
    for (path, words) in [
        (format!("{log}?after=x"), "after is \"x\", it must be a whole number"),
        (format!("{log}?after=-1"), "after is \"-1\", it must be a whole number"),
        (format!("{log}?after=%2B1"), "after is \"+1\", it must be a whole number"),
        (format!("{log}?after="), "after is \"\", it must be a whole number"),
        (format!("{log}?upto=9007199254740992"), "up to 9007199254740991"),
        (format!("{log}?upto=99999999999999999999999"), "upto is \"99999999999999999999999\""),
        (format!("{log}?limit=0"), "limit is 0, it must be 1 or more"),
        (format!("{log}?limit=1&limit=2"), "limit stands there twice"),
        ("/v1/rooms?limit=ten".to_owned(), "limit is \"ten\", it must be a whole number"),
        ("/v1/rooms?after=r~1".to_owned(), "after may only hold"),
        ("/v1/rooms/garden/members?after=a%20b".to_owned(), "after may only hold"),
    ] {
        let (status, code, detail) = told(&server, "GET", &path);
        assert_eq!((status, code.as_str()), (400, "bad_request"), "{path}");
        assert!(detail.contains(words), "{path}: {detail}");
    }
    // What nobody knows is passed over, as everywhere.
    let answer = server.call_as(&server.token("ada"), "GET", &format!("{log}?colour=green"), "");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_body_that_is_too_long_is_refused_whether_or_not_it_says_so() {
    let server = place().open();
    let token = server.token("ada");
    let long = "x".repeat(70_000);
    let answer = server.call_as(&token, "PUT", "/v1/rooms/garden", &long);
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_eq!(answer.json()["code"], "too_large");
    assert!(answer.json()["detail"].as_str().is_some_and(|text| text.contains("65536 bytes")));
    let chunked = format!(
        "PUT /v1/rooms/garden HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {token}\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n11170\r\n{long}\r\n0\r\n\r\n"
    );
    let answer = http::exchange(server.public, chunked.as_bytes()).expect("an answer");
    assert_eq!((answer.status, &answer.json()["code"]), (413, &"too_large".into()));
}

#[test]
fn a_token_that_is_refused_is_refused_in_the_same_words_at_both_doors() {
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    server.done("POST", "/v1/users/bob/revoke", "");
    let tokens = ["nonsense".to_owned(), server.token_that_ended("ada"), server.token("bob")];
    for token in tokens.map(Some).into_iter().chain([None]) {
        let mut client = Client::upgrade(server.public, "").expect("an upgrade");
        let said = client.ask(json!({"t": "hello", "token": token, "rooms": []}));
        let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let bearer = bearer.unwrap_or_default();
        let answer = http::call(server.public, "GET", "/v1/rooms", &bearer, "");
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 401, "{answer:?}");
        let problem = answer.json();
        assert_eq!((&problem["code"], &problem["detail"]), (&said["code"], &said["msg"]));
    }
}
