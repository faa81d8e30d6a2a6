//! Outside: what an attacker could leave in logs, and read in errors and metrics. (A45, A46, A82)

use std::net::TcpStream;

use serde_json::{Value, json};

use super::calls::{percent, shown};
use super::commands::FAST;
use super::{Attack, Field, Ground};
use crate::client::{Client, upgrade_request};
use crate::http;

/// The rows.
pub const ROWS: &[Attack] = &[
    Attack {
        id: "A45",
        title: "line breaks and escapes for the log",
        ground: &TALKING,
        run: log_lines,
    },
    Attack { id: "A46", title: "the operator's pages from outside", ground: &FAST, run: pages },
    Attack { id: "A82", title: "secrets in errors and metrics", ground: &TALKING, run: secrets },
];

/// Everything that can be logged is, for machines.
pub static TALKING: Ground = Ground {
    name: "talking",
    set: |place| place.set("server.log_level", "trace").set("server.log_format", "json"),
};

/// What would begin another line, colour a terminal, or look like another entry.
const BREAKS: [&str; 8] = [
    "a\r\nb",
    "a\nb",
    "\u{1b}[2Ja",
    "\u{1b}]0;title\u{7}",
    "a%0ab",
    "a%0d%0a{\"level\":\"ERROR\"}",
    "a\u{2028}b",
    "\u{9b}31m",
];

/// Stands in what is no secret by itself and has no business in a log.
const COOKIE: &str = "cookie-that-nobody-logs";

fn log_lines(field: &Field) {
    let token = field.mallorys_token();
    let mut mallory = field.mallory();
    for text in BREAKS {
        // As text that JSON escapes, in every field of a command that holds one.
        for command in [
            json!({"t": "send", "room": text, "cid": "c", "d": 1}),
            json!({"t": "send", "room": field.room, "cid": text, "d": 1}),
            json!({"t": "room", "op": "create", "room": text}),
            json!({"t": "room", "op": "create", "room": "a45-made", "name": text}),
            json!({"t": "room", "op": text, "room": "a45-made"}),
            json!({"t": text}),
            json!({"t": "auth", "room": field.room, "token": 1, "agent": text}),
        ] {
            let said = mallory.ask(command.clone());
            let is_so = said["t"] == "err" || text.contains('%') && command["name"] == text;
            field.expect(is_so, || format!("{command}: {said}"));
        }
        let hello = json!({"t": "hello", "token": token, "agent": text, "rooms": []});
        let said = field.stranger().ask(hello);
        field.expect(said["t"] == "ok", || format!("agent {text:?}: {said}"));
        // As bytes in headers: what HTTP takes is passed over, and what it does not take is refused.
        let plain = !text.contains(['\r', '\n']) && text.is_ascii();
        for name in
            ["User-Agent", "X-Forwarded-For", "Forwarded", "Referer", "Origin", "X-Request-Id"]
        {
            let value = if plain { text.to_owned() } else { percent(text) };
            let headers = format!("{name}: {value}\r\nCookie: session={COOKIE}\r\n");
            let path = format!("/v1/rooms/{}?x={}", percent(text), percent(text));
            let answer = field.call(&token, "GET", &path, &headers, "");
            field.expect((400..500).contains(&answer.status), || format!("{name}: {answer:?}"));
            let request = upgrade_request(field.server.public, &headers);
            let request = request.replace("Version: 13", "Version: 12");
            let stream = TcpStream::connect(field.server.public).expect("a connection");
            let (answer, _) = Client::knock(stream, request.as_bytes()).expect("an answer");
            field.expect((400..500).contains(&answer.status), || format!("{name}: {answer:?}"));
        }
    }
    let said = field.server.place.said();
    for line in said.lines() {
        let read: Result<Value, _> = serde_json::from_str(line);
        let is_line = read.is_ok_and(|read| read["level"].is_string());
        field.expect(is_line, || format!("no line of the log: {}", shown(line)));
    }
    let raw = said.chars().find(|c| c.is_control() && *c != '\n');
    field.expect(raw.is_none(), || format!("{raw:?} stands in the log"));
    for secret in [COOKIE, token.as_str(), field.server.key.as_str()] {
        field.expect(!said.contains(secret), || format!("{} stands in the log", shown(secret)));
    }
}

fn pages(field: &Field) {
    let public = field.server.public;
    let get = |path: &str| http::call(public, "GET", path, "", "").expect("an answer");
    for path in [
        "/metrics",
        "/metrics/",
        "//metrics",
        "/Metrics",
        "/./metrics",
        "/v1/../metrics",
        "/%6detrics",
        "/debug",
        "/debug/pprof",
        "/debug/vars",
        "/admin",
        "/admin/",
        "/v1/admin",
        "/server-status",
        "/.env",
        "/config",
        "/../data/secret",
        "/%2e%2e/data/admin.key",
    ] {
        let bearer = format!("Authorization: Bearer {}\r\n", field.server.key);
        for headers in ["", "X-Forwarded-For: 127.0.0.1\r\n", bearer.as_str()] {
            let answer = http::call(public, "GET", path, headers, "").expect("an answer");
            field.expect_answer(path, &answer, 404, "not_found");
        }
    }
    for address in [public, field.server.internal] {
        for (path, body) in [("/healthz", "alive\n"), ("/readyz", "ready\n")] {
            let answer = http::call(address, "GET", path, "", "").expect("an answer");
            let head = answer.head.to_ascii_lowercase();
            let is_so = answer.status == 200 && answer.body == body && !head.contains("server:");
            field.expect(is_so, || format!("{path}: {answer:?}"));
        }
    }
    let version = get("/").head.to_ascii_lowercase();
    field.expect(!version.contains("tertulia/"), || format!("the version is told: {version}"));
    // Ids of rooms, there or not, are no labels.
    let before = field.series();
    let rooms = field.stage.scale(5_000, 100_000, 100_000);
    let mut mallory = field.mallory();
    for first in (0..rooms).step_by(50) {
        let subs = (first..first + 50)
            .map(|n| mallory.command(json!({"t": "sub", "room": format!("label-{n}")})));
        let last = subs.last().expect("fifty of them");
        mallory.find(|said| said["id"] == last);
    }
    let token = field.mallorys_token();
    let calls = rooms / 20;
    let statuses =
        field.pipelined((0..calls).map(|n| {
            format!("GET /v1/rooms/label-{n} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n")
        }));
    let missing = statuses.iter().filter(|status| **status == 404).count();
    field.expect(missing == calls, || format!("{missing} of {calls} are 404"));
    let after = field.series();
    field.expect(after == before, || format!("{before} series before, {after} after"));
    let metrics = field.server.metrics();
    field.expect(!metrics.contains("label-"), || "a room is a label".to_owned());
}

/// Errors that are made with a secret in hand tell none of it, and neither do metrics, nor a core.
fn secrets(field: &Field) {
    let own = field.server.issuer();
    let key = &field.server.key;
    let token = field.mallorys_token();
    let ended = field.server.token_that_ended(&field.mallory);
    let (message, signature) = token.rsplit_once('.').expect("a signature");
    let forged = format!("{message}.{}", "A".repeat(signature.len()));
    let header = own.header().to_string();
    let cut = own.raw(&header, "{\"sub\":\"mallory\"");
    for secret in [&forged, &ended, &cut, key, &format!("{key}x"), &format!("tk-{token}")] {
        for text in [
            json!({"t": "hello", "id": 1, "token": secret, "rooms": []}).to_string(),
            json!({"t": "hello", "id": 1, "token": {secret: 1}, "rooms": []}).to_string(),
            json!({"t": "hello", "id": 1, "token": token, "session": format!("{secret}.")})
                .to_string(),
            json!({"t": "hello", "id": secret, "token": secret}).to_string(),
            json!({"t": "auth", "id": 1, "token": secret}).to_string(),
        ] {
            let (told, _) = field.first_words(&text);
            let told = told.to_string();
            field.expect(!told.contains(secret.as_str()), || format!("{} is told", shown(secret)));
        }
        let mut client = Client::join(field.server, &field.mallory, &[]);
        let said = client.ask(json!({"t": "auth", "token": secret})).to_string();
        field.expect(!said.contains(secret.as_str()), || format!("{} is told", shown(secret)));
        for headers in [
            format!("Authorization: Bearer {secret}x\r\n"),
            format!("Authorization: Basic {secret}\r\n"),
            format!("Authorization: {secret}\r\n"),
            format!("Authorization: Bearer {secret}\r\nAuthorization: Bearer {secret}\r\n"),
            format!("Authorization: Bearer {token}\r\nIdempotency-Key: {secret}\r\n"),
        ] {
            let path = format!("/v1/rooms/{}/messages", field.room);
            let body = json!({"token": secret}).to_string();
            let body = &body[..body.len() - 1];
            let answer = http::call(field.server.public, "POST", &path, &headers, body);
            let answer = answer.expect("an answer");
            field.expect((400..500).contains(&answer.status), || format!("{answer:?}"));
            let told = format!("{}{}", answer.head, answer.body);
            field.expect(!told.contains(secret.as_str()), || format!("{} is told", shown(secret)));
        }
    }
    let data = field.server.place.data.display().to_string();
    let secret = std::fs::read_to_string(field.server.place.data.join("secret")).expect("a secret");
    let said = field.server.place.said();
    let metrics = field.server.metrics();
    for secret in [token.as_str(), &ended, &forged, &cut, key, secret.trim()] {
        let is_so = !said.contains(secret) && !metrics.contains(secret);
        field.expect(is_so, || format!("{} stands in the log or in the metrics", shown(secret)));
    }
    field.expect(!metrics.contains(&data), || "a path stands in the metrics".to_owned());
    // A core would hold all of them.
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", field.server.pid()));
    let limits = limits.expect("the limits of the process");
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
    let core = core.and_then(|line| line.split_whitespace().next());
    field.expect(core == Some("0"), || format!("a core may have {core:?} bytes"));
}
