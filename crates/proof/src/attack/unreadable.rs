//! Unreadable: what is no JSON, no object, or not of the right types. (A25 to A27)

use serde_json::{Value, json};
use tertulia_protocol::frame::{Opcode, put_masked};

use super::calls::{percent, shown};
use super::{Attack, Field, PLAIN};
use crate::client::Client;

/// The rows.
pub const ROWS: &[Attack] = &[
    Attack { id: "A25", title: "JSON that is none", ground: &PLAIN, run: no_json },
    Attack { id: "A26", title: "wrong types and ids", ground: &PLAIN, run: wrong_fields },
    Attack { id: "A27", title: "a binary message", ground: &PLAIN, run: binary },
];

/// As many keys as a frame has room for, each as small as it may be.
fn keys(count: usize) -> String {
    let keys: Vec<String> = (0..count).map(|n| format!("\"{n:x}\":0")).collect();
    keys.join(",")
}

/// Messages that hold no JSON object.
fn no_objects() -> Vec<(&'static str, String)> {
    let send = |d: &str| format!(r#"{{"t":"send","id":7,"room":"a25","cid":"bad","d":{d}}}"#);
    let good = send("{}");
    vec![
        ("truncated", good[..good.len() - 1].to_owned()),
        ("truncated in a string", good[..20].to_owned()),
        ("trailing bytes", format!("{good}x")),
        ("a second object behind it", format!("{good}{good}")),
        ("NaN", send("{\"x\":NaN}")),
        ("Infinity", send("-Infinity")),
        ("an array", format!("[{good}]")),
        ("deep, and never closed", "[".repeat(60_000)),
        ("deep objects, never closed", "{\"a\":".repeat(12_000)),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("a raw NUL in a text", send("{\"text\":\"a\0b\"}")),
        ("a raw control character in a text", send("{\"text\":\"a\u{1b}b\"}")),
        ("half an escape", send("{\"text\":\"\\u12\"}")),
        ("a text", "\"hello\"".to_owned()),
        ("nothing", " ".to_owned()),
    ]
}

/// Objects whose `id` can be read, and nothing else that is good.
fn bad_objects() -> Vec<(&'static str, String)> {
    let send = |d: &str| format!(r#"{{"t":"send","id":7,"room":"a25","cid":"bad","d":{d}}}"#);
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    vec![
        ("1e999", send("{\"x\":1e999}")),
        ("-1e999", send("-1e999")),
        ("a key twice in d", send("{\"a\":1,\"a\":2}")),
        ("a key twice in d, once escaped", send("{\"a\":1,\"\\u0061\":2}")),
        ("a key twice", r#"{"t":"send","id":7,"room":"a25","cid":"bad","d":1,"d":2}"#.into()),
        ("one too deep", send(&deep(33))),
        ("far too deep", send(&deep(8_000))),
        ("a lone surrogate in d", send(r#"{"text":"\ud800"}"#)),
        ("a lone low surrogate in d", send(r#"{"text":"\udc00x"}"#)),
        ("a lone surrogate in a key", send(r#"{"\ud800":1}"#)),
        (
            "a lone surrogate in an id",
            r#"{"t":"send","id":7,"room":"a25","cid":"\ud800","d":1}"#.into(),
        ),
    ]
}

fn no_json(field: &Field) {
    let mut client = field.mallory();
    for (what, text) in no_objects() {
        let said = field.tell(&mut client, &text);
        field.expect_err(what, &said, "bad_request");
        field.expect(said["id"].is_null(), || format!("{what}: {said} names an id"));
        // A good one resets the count.
        let said = client.ask(json!({"t": "ping"}));
        field.expect(said["t"] == "ok", || format!("behind {what}: {said}"));
    }
    for (what, text) in bad_objects() {
        let said = field.tell(&mut client, &text);
        field.expect_err(what, &said, "bad_request");
        field.expect(said["id"] == 7, || format!("{what}: {said} does not name the id"));
    }
    // What only looks broken is taken as it is.
    let many = format!(r#"{{"t":"ping","id":8,{}}}"#, keys(6_000));
    field.expect(field.tell(&mut client, &many)["t"] == "ok", || "many keys beside".to_owned());
    let body = format!("{{{}}}", keys(1_700));
    let texts = [body.as_str(), "{\"text\":\"a\\u0000b\"}", "1e308", "\"\\ud83d\\ude00\""];
    for (n, d) in texts.iter().enumerate() {
        let send = format!(r#"{{"t":"send","id":9,"room":"a25","cid":"good{n}","d":{d}}}"#);
        client.say(&send);
        let said = client.find(|said| said["id"] == 9);
        field.expect(said["t"] == "ok", || format!("{}: {said}", shown(d)));
    }
    field.stores(texts.len() as u64);
    let log = field.server.log(&field.room).expect("a log");
    for (line, d) in log[log.len() - texts.len()..].iter().zip(texts) {
        let is_so = line.contains(&format!("\"d\":{d}"));
        field.expect(is_so, || format!("{} is kept as {}", shown(d), shown(line)));
    }
    too_long(field);
    over_http(field);
    thrice(field);
}

/// Three in a row end the connection, before hello and after it.
fn thrice(field: &Field) {
    let mut client = field.stranger();
    for first in ["[".repeat(16_000), "{\"t\":\"hello\",".to_owned(), "nonsense".to_owned()] {
        client.say(&first);
    }
    field.expect_close("three in a row before hello", &mut client, 4000);
    let mut client = field.mallory();
    for message in ["nonsense", "[1]", r#"{"t":"ping","id":1}"#, "nonsense", "\"\"", "{"] {
        client.say(message);
    }
    let ended = client.end();
    let is_so = (ended.bye, ended.close) == (Some((4000, None)), Some(4000));
    field.expect(is_so, || format!("three in a row: {ended:?}"));
}

/// A hundred thousand brackets and a million keys are longer than any message may be.
fn too_long(field: &Field) {
    let brackets = "[".repeat(100_000);
    let million = format!("{{{}}}", keys(1_000_000));
    for (what, text) in [("100,000 brackets", brackets), ("1,000,000 keys", million)] {
        let mut client = field.mallory();
        client.say(&text);
        field.expect_close(what, &mut client, 1009);
        let token = field.mallorys_token();
        let path = format!("/v1/rooms/{}/messages", field.room);
        let answer = field.call(&token, "POST", &path, "Idempotency-Key: c\r\n", &text);
        field.expect_answer(what, &answer, 413, "too_large");
    }
}

fn over_http(field: &Field) {
    let token = field.mallorys_token();
    let post = format!("/v1/rooms/{}/messages", field.room);
    let put = format!("/v1/rooms/{}/members/{}", field.room, field.mallory);
    for (what, text) in no_objects().into_iter().chain(bad_objects()) {
        for (method, path) in [("POST", &post), ("PUT", &put)] {
            // Over HTTP nothing but `d` and `role` is read, and those are missing or bad.
            let text = text.replace(r#""cid":"\ud800","d":1"#, r#""d":"\ud800""#);
            let answer = field.call(&token, method, path, "Idempotency-Key: bad\r\n", &text);
            field.expect_answer(&format!("{method} {what}"), &answer, 400, "bad_request");
        }
    }
}

/// A command that is good, whose fields are made bad one by one: texts, numbers, flags, and those without
/// which it is none.
struct Good {
    command: Value,
    texts: &'static [&'static str],
    numbers: &'static [&'static str],
    flags: &'static [&'static str],
    needed: &'static [&'static str],
}

fn good_ones(room: &str) -> Vec<Good> {
    let (texts, numbers, flags) = (&[][..], &[][..], &[][..]);
    let none = Good { command: Value::Null, texts, numbers, flags, needed: &[] };
    vec![
        Good {
            command: json!({"t": "send", "room": room, "cid": "c", "epoch": "e", "d": {}}),
            texts: &["t", "room", "cid", "k", "prev", "epoch"],
            numbers: &["re", "thread"],
            needed: &["t", "room", "cid", "d"],
            ..none
        },
        Good {
            command: json!({"t": "sub", "room": room, "epoch": "e", "seq": 1}),
            texts: &["room", "epoch"],
            numbers: &["seq", "page", "jump"],
            needed: &["room", "epoch"],
            ..none
        },
        Good {
            command: json!({"t": "unsub", "room": room}),
            texts: &["room"],
            needed: &["room"],
            ..none
        },
        Good {
            command: json!({"t": "log", "room": room, "after": 0}),
            texts: &["room", "epoch"],
            numbers: &["after", "upto", "limit"],
            needed: &["room", "after"],
            ..none
        },
        Good {
            command: json!({"t": "typing", "room": room}),
            texts: &["room"],
            flags: &["on"],
            needed: &["room"],
            ..none
        },
        Good {
            command: json!({"t": "signal", "room": room, "k": "x.wave", "d": 1}),
            texts: &["room", "k"],
            needed: &["room", "k", "d"],
            ..none
        },
        Good { command: json!({"t": "rooms"}), texts: &["after"], numbers: &["limit"], ..none },
        Good { command: json!({"t": "ping"}), flags: &["heads"], ..none },
        Good {
            command: json!({"t": "auth", "token": "x"}),
            texts: &["token"],
            needed: &["token"],
            ..none
        },
        Good {
            command: json!({"t": "room", "op": "create", "room": room}),
            texts: &["room", "op", "kind", "name"],
            needed: &["room", "op"],
            ..none
        },
        Good {
            command: json!({"t": "room", "op": "role", "room": room, "user": "u", "role": "member"}),
            texts: &["user", "role"],
            needed: &["user", "role"],
            ..none
        },
        Good {
            command: json!({"t": "room", "op": "kick", "room": room, "user": "u"}),
            texts: &["user"],
            needed: &["user"],
            ..none
        },
    ]
}

/// No text.
fn no_texts() -> Vec<String> {
    ["7", "1.5", "true", "[]", "{}", "[\"x\"]"].map(str::to_owned).to_vec()
}

/// No number of an event, and no count.
fn no_numbers() -> Vec<String> {
    let largest = [(1 << 53), (1 << 53) + 1, u64::MAX].map(|number| number.to_string());
    let others = ["-1", "1.5", "1e3", "\"1\"", "true", "[]", "{}", "18446744073709551616"];
    others.map(str::to_owned).into_iter().chain(largest).collect()
}

fn no_flags() -> Vec<String> {
    ["0", "1", "\"true\"", "[]", "{}"].map(str::to_owned).to_vec()
}

/// What names no room.
fn no_rooms() -> Vec<String> {
    let odd = ["", "../", "*", ">", "a\r\nb", "a b", "~", "a/b", "%2e%2e%2f", "caf\u{e9}", "a\0b"];
    odd.map(str::to_owned).into_iter().chain(["x".repeat(65), "x".repeat(10 * 1024)]).collect()
}

fn wrong_fields(field: &Field) {
    let mut client = field.mallory();
    for Good { command, texts, numbers, flags, needed } in good_ones(&field.room) {
        let bad = [(texts, no_texts()), (numbers, no_numbers()), (flags, no_flags())];
        for (names, values) in bad {
            for name in names {
                for value in &values {
                    expect_bad(field, &mut client, &put(&command, name, value));
                }
            }
        }
        for name in needed {
            if *name != "d" {
                expect_bad(field, &mut client, &put(&command, name, "null"));
            }
            let mut without = command.clone();
            without.as_object_mut().expect("an object").remove(*name);
            expect_bad(field, &mut client, &without.to_string());
        }
        if command["room"].is_string() {
            for room in no_rooms() {
                let room = json!(room).to_string();
                expect_bad(field, &mut client, &put(&command, "room", &room));
            }
        }
    }
    for id in ["0", "-1", "2147483648", "1.5", "\"1\"", "[]", "18446744073709551616"] {
        let said = field.tell(&mut client, &format!(r#"{{"t":"ping","id":{id}}}"#));
        field.expect_err(id, &said, "bad_request");
        field.expect(said["id"].is_null(), || format!("id {id}: {said}"));
    }
    for without_id in [r#"{"t":"rooms"}"#, r#"{"t":"sub","room":"a26"}"#] {
        let said = field.tell(&mut client, without_id);
        field.expect_err(without_id, &said, "bad_request");
    }
    in_hello(field);
    in_paths(field);
}

/// The command with that field as it is given.
fn put(command: &Value, name: &str, value: &str) -> String {
    let mut command = command.clone();
    command[name] = json!("HERE");
    command.to_string().replace("\"HERE\"", value)
}

fn expect_bad(field: &Field, client: &mut Client, text: &str) {
    let text = format!(r#"{{"id":5,{}"#, &text[1..]);
    let said = field.tell(client, &text);
    let is_so = said["t"] == "err" && said["id"] == 5 && said["code"] == "bad_request";
    field.expect(is_so, || format!("{}: {said}", shown(&text)));
}

fn in_hello(field: &Field) {
    let token = field.mallorys_token();
    let hello = json!({"t": "hello", "id": 5, "token": token, "rooms": []});
    let mut bad: Vec<String> = Vec::new();
    for (name, values) in [
        ("token", no_texts()),
        ("session", no_texts()),
        ("agent", no_texts()),
        ("ping_s", no_numbers()),
    ] {
        bad.extend(values.iter().map(|value| put(&hello, name, value)));
    }
    for rooms in ["7", "{}", "[7]", "[[]]", "[[7]]", "[[\"a26\",null]]", "[[\"a26\"],[\"a26\"]]"] {
        bad.push(put(&hello, "rooms", rooms));
    }
    let entry = |epoch: &str, seq: &str| format!("[[\"a26\",{epoch},{seq}]]");
    bad.extend(no_numbers().iter().map(|seq| put(&hello, "rooms", &entry("\"e\"", seq))));
    bad.push(put(&hello, "rooms", &entry("null", "1")));
    bad.push(put(&hello, "rooms", &entry("7", "1")));
    bad.extend(no_rooms().iter().map(|room| put(&hello, "rooms", &json!([[room]]).to_string())));
    for text in bad {
        let (told, ended) = field.first_words(&text);
        let is_so = told["code"] == "bad_request" && ended.close == Some(4000);
        field.expect(is_so, || format!("{}: {told} {ended:?}", shown(&text)));
    }
}

fn in_paths(field: &Field) {
    let token = field.mallorys_token();
    for room in no_rooms() {
        for (method, path) in
            [("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/log"), ("GET", "/members")]
        {
            // What names nothing, and nothing behind it, is another path.
            let is_nowhere = room.is_empty() && path.is_empty();
            let (status, code) = if is_nowhere { (404, "not_found") } else { (400, "bad_request") };
            let path = format!("/v1/rooms/{}{path}", percent(&room));
            let answer = field.call(&token, method, &path, "", "");
            field.expect_answer(&format!("{method} {}", shown(&path)), &answer, status, code);
        }
    }
    // Nothing is taken away from a path: these are rooms that are not there, and no other place.
    for path in ["/v1/rooms/../rooms", "/v1/rooms/..", "/v1/rooms/%2e%2e/log", "/v1/rooms/./log"] {
        let answer = field.call(&token, "GET", path, "", "");
        field.expect_answer(path, &answer, 404, "not_found");
    }
    let log = format!("/v1/rooms/{}/log", field.room);
    for name in ["after", "upto", "limit"] {
        for number in no_numbers() {
            let path = format!("{log}?{name}={}", percent(&number));
            let answer = field.call(&token, "GET", &path, "", "");
            field.expect_answer(&path, &answer, 400, "bad_request");
        }
    }
    let answer = field.call(&token, "GET", "/v1/rooms/%ff%fe", "", "");
    field.expect_answer("no UTF-8", &answer, 400, "bad_request");
}

/// The protocol is JSON in text.
fn binary(field: &Field) {
    let send = br#"{"t":"send","id":9,"room":"a27","cid":"bin","d":{}}"#;
    for payload in [&b"{}"[..], b"", b"\x93\x01\x02\x03", send] {
        let mut client = field.mallory();
        let mut frame = Vec::new();
        put_masked(&mut frame, Opcode::Binary, [9, 8, 7, 6], payload);
        client.put(&frame);
        field.expect_close("binary", &mut client, 1003);
    }
}
