//! Content: names that deceive, bodies that would run somewhere else, strings that would be SQL. (A43, A44, A71)

use serde_json::{Value, json};

use super::calls::{percent, shown};
use super::commands::FAST;
use super::{Attack, Field, PLAIN};
use crate::client::Client;
use crate::http::{self, Answer};

/// The rows.
pub const ROWS: &[Attack] = &[
    Attack { id: "A43", title: "names that deceive", ground: &PLAIN, run: names },
    Attack { id: "A44", title: "markup in bodies and names", ground: &PLAIN, run: markup },
    Attack { id: "A71", title: "SQL in every text", ground: &FAST, run: sql },
];

/// Names of rooms, which people see, over both doors. (Profiles are not kept yet, and a user's id holds nothing
/// that could deceive: what does is no id, as A51 shows.)
fn names(field: &Field) {
    let mut bad: Vec<String> = [
        "",
        "\u{202e}gnp.exe",
        "a\u{202a}b",
        "a\u{202b}b",
        "a\u{202c}b",
        "a\u{202d}b",
        "a\u{2066}b",
        "a\u{2067}b",
        "a\u{2068}b",
        "a\u{2069}b",
        "a\u{200e}b",
        "a\u{200f}b",
        "a\u{61c}b",
        "\u{200d}",
        "\u{200b}\u{200b}",
        "gar\u{200b}den",
        "gar\u{ad}den",
        "gar\u{2060}den",
        "\u{feff}garden",
        "a\u{e0041}b",
        "a\u{fff9}b",
        "a\0b",
        "a\nb",
        "a\r\nb",
        "a\u{1b}[2Jb",
        "a\u{7f}b",
        "a\u{85}b",
        " ",
        "\u{a0}\u{3000}",
        "a\u{2028}b",
        "a\u{2029}b",
    ]
    .map(str::to_owned)
    .to_vec();
    bad.push(format!("a{}", "\u{301}".repeat(10_000)));
    bad.push("x".repeat(129));
    let mut mallory = field.mallory();
    let token = field.mallorys_token();
    let room = format!("{}-named", field.room);
    let path = format!("/v1/rooms/{room}");
    for name in &bad {
        let what = shown(&json!(name).to_string());
        let body = json!({"name": name}).to_string();
        let answer = field.call(&token, "PUT", &path, "", &body);
        field.expect_answer(&what, &answer, 400, "bad_request");
        for op in ["create", "set"] {
            let said = mallory.ask(json!({"t": "room", "op": op, "room": room, "name": name}));
            field.expect_err(&format!("{op} {what}"), &said, "bad_request");
        }
    }
    let long =
        json!({"t": "room", "op": "create", "id": 1, "room": room, "name": "x".repeat(1 << 20)});
    let answer = field.call(&token, "PUT", &path, "", &long.to_string());
    field.expect_answer("1 MiB", &answer, 413, "too_large");
    let mut other = field.mallory();
    other.say(&long.to_string());
    field.expect_close("a name of 1 MiB", &mut other, 1009);
    let answer = field.call(&token, "GET", &path, "", "");
    field.expect_answer("made in spite of its name", &answer, 404, "not_found");
    // A room is known by its id, which is ASCII: what only looks like another name is a name all the same.
    let created = mallory.ask(json!({"t": "room", "op": "create", "room": room, "name": "garden"}));
    field.expect(created["t"] == "ok", || format!("garden: {created}"));
    for name in [
        "g\u{430}rden",
        "admin",
        "Zo\u{eb}",
        "\u{5e9}\u{5dc}\u{5d5}\u{5dd}",
        "\u{1f3e1} home",
        "a  b",
    ] {
        let said = mallory.ask(json!({"t": "room", "op": "set", "room": room, "name": name}));
        field.expect(said["t"] == "ok", || format!("{name}: {said}"));
        let shown = field.call(&token, "GET", &path, "", "").json();
        field.expect(shown["name"] == name, || format!("{name} is kept as {shown}"));
    }
    for room in ["g\u{430}rden", "\u{202e}x", "a\u{200d}b"] {
        let answer = field.call(&token, "PUT", &format!("/v1/rooms/{}", percent(room)), "", "{}");
        field.expect_answer(room, &answer, 400, "bad_request");
    }
    // Bodies are the application's: kept as they are.
    let mut count = 0;
    for (n, name) in bad.iter().enumerate().filter(|(_, name)| name.len() < 1_000) {
        let d = json!({"text": name});
        let said =
            mallory.ask(json!({"t": "send", "room": field.room, "cid": format!("n{n}"), "d": d}));
        field.expect(said["t"] == "ok", || format!("{d}: {said}"));
        count += 1;
        expect_last(field, &d.to_string());
    }
    field.stores(count);
}

/// Wrong unless the last body in the room is that, to the byte.
fn expect_last(field: &Field, d: &str) {
    let head =
        field.server.done("GET", &format!("/v1/rooms/{}", field.room), "").json()["head"].clone();
    let after = head.as_u64().expect("a head") - 1;
    let path = format!("/v1/rooms/{}/log?after={after}", field.room);
    let page = field.server.done("GET", &path, "").body;
    field.expect(page.contains(&format!("\"d\":{d}}}")), || format!("{d} is kept as {page}"));
}

/// What a page would run, if it took it for its own.
const MARKUP: [&str; 8] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "[x](javascript:alert(1))",
    "![x](https://evil.test/beacon.png?u=1)",
    "\"><svg onload=alert(1)>",
    "</script><script>alert(1)</script>",
    "{{7*7}}${7*7}<%= 7*7 %>",
];

fn expect_json(field: &Field, what: &str, answer: &Answer) {
    let head = answer.head.to_ascii_lowercase();
    let is_json = head.contains("content-type: application/json")
        || head.contains("content-type: application/problem+json");
    field.expect(is_json, || format!("{what}: {head}"));
    let nosniff = head.contains("x-content-type-options: nosniff");
    field.expect(nosniff, || format!("{what}, no nosniff: {head}"));
}

fn markup(field: &Field) {
    let (mut mallory, token) = (field.mallory(), field.mallorys_token());
    let made = format!("{}-made", field.room);
    let path = format!("/v1/rooms/{made}");
    mallory.ask(json!({"t": "room", "op": "create", "room": made}));
    for (n, text) in MARKUP.into_iter().enumerate() {
        let d = json!({"text": text, text: [text]});
        let send = json!({"t": "send", "room": field.room, "cid": format!("m{n}"), "d": d});
        let said = mallory.ask(send);
        field.expect(said["t"] == "ok", || format!("{text}: {said}"));
        expect_last(field, &d.to_string());
        let set =
            json!({"t": "room", "op": "set", "room": made, "name": text, "d": {"topic": text}});
        let said = mallory.ask(set);
        field.expect(said["t"] == "ok", || format!("{text}: {said}"));
        let answer = field.call(&token, "GET", &path, "Accept: text/html\r\n", "");
        expect_json(field, text, &answer);
        let shown = answer.json();
        let is_so = shown["name"] == text && shown["d"] == json!({"topic": text});
        field.expect(is_so, || format!("{text} is kept as {shown}"));
        // What is refused is told in words, which are no page, either.
        let odd = percent(text);
        for (method, path) in [
            ("GET", format!("/v1/rooms/{odd}")),
            ("GET", format!("/v1/{odd}")),
            ("GET", format!("/{odd}?{odd}={odd}")),
            ("GET", format!("/v1/rooms?after={odd}")),
            ("GET", format!("/v1/rooms/{made}/log?after={odd}")),
            ("PUT", format!("/v1/rooms/{odd}/members/{odd}")),
        ] {
            let answer = field.call(&token, method, &path, "Accept: text/html\r\n", text);
            let is_so = (400..500).contains(&answer.status);
            field.expect(is_so, || format!("{path}: {}", answer.status));
            expect_json(field, &path, &answer);
        }
    }
    field.stores(MARKUP.len() as u64);
    let log = field.call(&token, "GET", &format!("/v1/rooms/{}/log", field.room), "", "");
    expect_json(field, "the log", &log);
    expect_json(field, "the rooms", &field.call(&token, "GET", "/v1/rooms", "", ""));
    // The page that is there runs nothing but its own files, and is no one's frame.
    let page = http::call(field.server.public, "GET", "/", "", "").expect("the page");
    let head = page.head.to_ascii_lowercase();
    let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: "));
    let policy = policy.unwrap_or_default();
    for part in
        ["default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"]
    {
        field.expect(policy.contains(part), || format!("{part} is missing in {policy:?}"));
    }
    field.expect(!policy.contains("unsafe"), || format!("the policy is {policy:?}"));
    field.expect(head.contains("x-content-type-options: nosniff"), || "no nosniff".to_owned());
}

/// Two hundred strings that would be SQL, if they were ever put into it.
fn injections() -> Vec<String> {
    let quotes =
        ["'", "\"", "`", "')", "\")", "'))", "\\'", "\\\"", "''", "%27", "\u{2019}", "\u{ff07}"];
    let tails = [
        "",
        ";--",
        " --",
        "#",
        "/*",
        " OR 1=1--",
        " OR '1'='1",
        " AND 1=0 UNION SELECT NULL,NULL,NULL--",
        " UNION ALL SELECT sql FROM sqlite_master--",
        "; DROP TABLE event;--",
        "; DELETE FROM room WHERE 1;--",
        "; UPDATE room SET head=0;--",
        "; ATTACH DATABASE '/tmp/x' AS x;--",
        "; PRAGMA user_version=99;--",
        " || (SELECT hex(randomblob(9)))||'",
    ];
    let mut all: Vec<String> =
        quotes.iter().flat_map(|quote| tails.map(|tail| format!("{quote}{tail}"))).collect();
    all.extend(
        [
            "\\",
            "\\\\",
            "%",
            "%%",
            "_",
            "__",
            "*",
            "?",
            "?1",
            ":room",
            "@p",
            "$1",
            "{}",
            "{0}",
            "%s%n%x",
            "a\0b",
            "\0' OR 1=1--",
            "NULL",
            "1; SELECT load_extension('x')",
            "1 AND (SELECT COUNT(*) FROM sqlite_master)>0",
            "CASE WHEN 1=1 THEN 1 ELSE zeroblob(1000000000) END",
            "x' AND 1=LIKE('A',UPPER(HEX(RANDOMBLOB(100000000))))--",
        ]
        .map(str::to_owned),
    );
    all
}

fn sql(field: &Field) {
    let others = Others::of(field);
    let (mut mallory, token) = (field.mallory(), field.mallorys_token());
    let made = format!("{}-made", field.room);
    mallory.ask(json!({"t": "room", "op": "create", "room": made}));
    let all = injections();
    field.expect(all.len() >= 200, || format!("only {} strings", all.len()));
    for (n, text) in all.iter().enumerate() {
        let d = json!({"text": text, text: n});
        let send = json!({"t": "send", "room": field.room, "cid": format!("s{n}"), "d": d});
        let said = mallory.ask(send);
        field.expect(said["t"] == "ok", || format!("{d}: {said}"));
        let name = json!({"t": "room", "op": "set", "room": made, "name": text, "d": d});
        let said = mallory.ask(name);
        // A name has no control characters; every other one is literal.
        if text.contains('\0') {
            field.expect_err(text, &said, "bad_request");
        } else {
            field.expect(said["t"] == "ok", || format!("{text}: {said}"));
            let said = mallory.ask(json!({"t": "room", "op": "get", "room": made}));
            let is_so = said["room"]["name"] == text.as_str() && said["room"]["d"] == d;
            field.expect(is_so, || format!("{text} is kept as {said}"));
        }
        let signal = json!({"t": "signal", "room": field.room, "k": "x.sql", "d": d});
        let said = mallory.ask(signal);
        field.expect(said["t"] == "ok", || format!("signal {text}: {said}"));
        ids_are_refused(field, &mut mallory, text);
        paths_are_refused(field, &token, text);
        if n % 20 == 0 {
            let hello =
                json!({"t": "hello", "token": token, "agent": text, "rooms": [], "want": [text]});
            let said = field.stranger().ask(hello);
            field.expect(said["t"] == "ok", || format!("agent {text}: {said}"));
        }
    }
    field.stores(all.len() as u64);
    let log = field.server.log(&field.room).expect("a log");
    for (line, (n, text)) in log[log.len() - all.len()..].iter().zip(all.iter().enumerate()) {
        let event: Value = serde_json::from_str(line).expect("an event");
        field.expect(event["d"] == json!({"text": text, text: n}), || format!("kept is {line}"));
    }
    others.are_untouched(field);
}

/// Fields that are ids take none of it, unless it happens to be one.
fn ids_are_refused(field: &Field, client: &mut Client, text: &str) {
    let room = &field.room;
    let send = json!({"t": "send", "room": room, "cid": "c", "d": 1, "re": 1, "epoch": "e"});
    for (name, command) in [
        ("room", &send),
        ("cid", &send),
        ("k", &send),
        ("prev", &send),
        ("epoch", &send),
        ("after", &json!({"t": "rooms"})),
        ("user", &json!({"t": "room", "op": "kick", "room": room})),
        ("role", &json!({"t": "room", "op": "role", "room": room, "user": "u"})),
        ("kind", &json!({"t": "room", "op": "create", "room": "sql-made"})),
        ("op", &json!({"t": "room", "room": room})),
        ("t", &json!({"room": room})),
    ] {
        let mut command = command.clone();
        command[name] = json!(text);
        let said = client.ask(command);
        // "NULL", ":room" and "@p" are ids, of nothing that is there.
        let is_id = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:@".contains(&byte));
        let code = said["code"].as_str().unwrap_or_default();
        let is_so = match name {
            "op" | "t" => code == "unknown_command",
            "after" if is_id => said["t"] == "ok" || code == "bad_request",
            _ if is_id => matches!(code, "not_found" | "reset" | "bad_request" | "forbidden"),
            _ => code == "bad_request",
        };
        field.expect(is_so, || format!("{name} = {text}: {said}"));
    }
}

fn paths_are_refused(field: &Field, token: &str, text: &str) {
    let odd = percent(text);
    for path in [
        format!("/v1/rooms/{odd}/log"),
        format!("/v1/rooms/{}/log?after={odd}", field.room),
        format!("/v1/rooms?after={odd}"),
    ] {
        let answer = field.call(token, "GET", &path, "", "");
        let is_id = matches!(text, "NULL" | "_" | "__" | ":room");
        let is_so = answer.status == 400 || (is_id && matches!(answer.status, 200 | 404));
        field.expect(is_so, || format!("{path}: {} {}", answer.status, shown(&answer.body)));
    }
}

/// Rooms that have nothing to do with it.
struct Others {
    room: String,
    shown: String,
    log: Vec<String>,
}

impl Others {
    fn of(field: &Field) -> Others {
        let room = format!("{}-untouched", field.room);
        field.server.room(&room, "group", &[&field.alice]);
        let mut alice = Client::join(field.server, &field.alice, &[]);
        (0..5).for_each(|n| _ = alice.send(&room, &format!("u{n}")));
        let shown = field.server.done("GET", &format!("/v1/rooms/{room}"), "").body;
        let log = field.server.log(&room).expect("a log");
        Others { room, shown, log }
    }

    fn are_untouched(&self, field: &Field) {
        let shown = field.server.done("GET", &format!("/v1/rooms/{}", self.room), "").body;
        field.expect(shown == self.shown, || format!("{shown}, before {}", self.shown));
        let log = field.server.log(&self.room);
        field.expect(log.as_ref() == Ok(&self.log), || format!("the log is {log:?}"));
        let mut alice = Client::join(field.server, &field.alice, &[&self.room]);
        field.expect(alice.send(&self.room, "u5")["t"] == "ok", || "nothing is taken".to_owned());
    }
}
