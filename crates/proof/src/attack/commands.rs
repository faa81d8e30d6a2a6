//! Commands: well-formed ones, at the wrong time, too often, or for what is someone else's. (A29 to A35)

use std::time::Instant;

use serde_json::{Value, json};

use super::calls::{say_all, shown};
use super::{Attack, Field, Ground, PLAIN};
use crate::client::{Client, Heard};
use crate::server::PATIENCE;

/// The rows.
pub const ROWS: &[Attack] = &[
    Attack {
        id: "A29",
        title: "commands before hello, and unknown ones",
        ground: &PLAIN,
        run: early,
    },
    Attack { id: "A30", title: "one cid a hundred times at once", ground: &PLAIN, run: one_cid },
    Attack { id: "A31", title: "one cid, another payload", ground: &PLAIN, run: other_payload },
    Attack {
        id: "A32",
        title: "the cids of others, and bad ones",
        ground: &PLAIN,
        run: foreign_cids,
    },
    Attack { id: "A33", title: "positions that are none", ground: &PLAIN, run: positions },
    Attack { id: "A34", title: "someone else's session", ground: &PLAIN, run: foreign_session },
    Attack { id: "A35", title: "limits of log, 10,000 at once", ground: &FAST, run: log_limits },
];

/// Nobody is told to slow down, so that other bounds are what is met.
pub static FAST: Ground = Ground {
    name: "fast",
    set: |place| {
        let place = place.set("limits.send_per_second", 0).set("limits.command_per_second", 0);
        // What is kept at hand of the logs is not what an attack takes.
        place.set("limits.rooms_per_connection", 100).set("limits.tail_bytes", 4 << 20)
    },
};

fn early(field: &Field) {
    let room = &field.room;
    for first in [
        json!({"t": "send", "id": 1, "room": room, "cid": "early", "d": {}}),
        json!({"t": "room", "id": 1, "op": "join", "room": room}),
        json!({"t": "log", "id": 1, "room": room, "after": 0}),
        json!({"t": "history", "id": 1, "room": room}),
        json!({"t": "sub", "id": 1, "room": room, "epoch": "e1", "seq": 1}),
        json!({"t": "rooms", "id": 1}),
        json!({"t": "auth", "id": 1, "token": field.mallorys_token()}),
        json!({"t": "ping", "id": 1}),
        json!({"t": "nonsense", "id": 1}),
    ] {
        let (told, ended) = field.first_words(&first.to_string());
        let is_so = told["t"] == "err" && told["id"] == 1;
        field.expect(is_so, || format!("{first} first: {told}"));
        let is_so = (ended.bye, ended.close) == (Some((4000, None)), Some(4000));
        field.expect(is_so, || format!("{first} first: {ended:?}"));
    }
    for first in [r#"{"t":"pong"}"#, r#"{"t":"typing","room":"a29","on":true}"#, r#"{"t":"ping"}"#]
    {
        let (_, ended) = field.first_words(first);
        field.expect(ended.close == Some(4000), || format!("{first} first: {ended:?}"));
    }
    let mut client = field.mallory();
    let not_served = ["edit", "del", "react", "mark", "status", "who", "marks", "history"];
    for word in not_served.into_iter().chain(["", "Send", "send ", "constructor", "__proto__"]) {
        let said = client.ask(json!({"t": word, "room": room, "cid": "c", "d": {}}));
        field.expect_err(word, &said, "unknown_command");
    }
    for op in ["invite", "", "Create", "drop"] {
        let said = client.ask(json!({"t": "room", "op": op, "room": room, "user": "u"}));
        field.expect_err(op, &said, "unknown_command");
    }
    let said = client.ask(json!({"t": "hello", "token": field.mallorys_token(), "rooms": []}));
    field.expect_err("a second hello", &said, "bad_request");
    let said = client.ask(json!({"t": "auth", "token": field.server.token(&field.alice)}));
    field.expect_err("a token of someone else", &said, "unauthorized");
    field.expect_close("a token of someone else", &mut client, 4003);
}

fn one_cid(field: &Field) {
    const SOCKETS: usize = 5;
    const EACH: u64 = 20;
    let mut clients: Vec<Client> = (0..SOCKETS).map(|_| field.mallory()).collect();
    let send = |id: u64| json!({"t": "send", "id": id, "room": field.room, "cid": "same", "d": {"text": "once"}});
    let lines: Vec<String> = (1..=EACH).map(|id| send(id).to_string()).collect();
    clients.iter_mut().for_each(|client| client.say(&lines.join("\n")));
    let (mut seqs, mut firsts, mut events) = (Vec::new(), 0, 0);
    for client in &mut clients {
        let (mut replies, mut heard) = (0, 0);
        while replies < EACH || heard == 0 {
            let said = client.object();
            if said["t"] == "ev" {
                heard += 1;
                continue;
            }
            replies += 1;
            field.expect(said["t"] == "ok", || said.to_string());
            firsts += u64::from(said["dup"] != true);
            seqs.push(said["seq"].clone());
        }
        events += heard;
        let said = client.ask(json!({"t": "ping"}));
        field.expect(said["t"] == "ok", || said.to_string());
    }
    seqs.dedup();
    field.expect(seqs.len() == 1, || format!("the replies name {seqs:?}"));
    field.expect(firsts == 1, || format!("{firsts} replies are no dup"));
    field.expect(events == SOCKETS, || format!("{events} events on {SOCKETS} sockets"));
    field.stores(1);
}

fn other_payload(field: &Field) {
    let mut client = field.mallory();
    let epoch = field.server.epoch(&field.room);
    let first = json!({"t": "send", "room": field.room, "cid": "taken", "d": {"text": "first"}});
    let said = client.ask(first.clone());
    field.expect(said["t"] == "ok", || said.to_string());
    let seq = said["seq"].clone();
    for (name, value) in [
        ("d", json!({"text": "second"})),
        ("d", json!({"text": "first", "more": 1})),
        ("d", json!(null)),
        ("k", json!("x.other")),
        ("re", json!(1)),
        ("thread", json!(1)),
    ] {
        let mut other = first.clone();
        other[name] = value;
        other["epoch"] = json!(epoch.as_str());
        let said = client.ask(other.clone());
        field.expect_err(&other.to_string(), &said, "cid_reuse");
    }
    // The bytes count, but for line breaks between them.
    let raw = |d: &str| {
        format!(r#"{{"t":"send","id":99,"room":"{}","cid":"taken","d":{d}}}"#, field.room)
    };
    client.say(&raw(r#"{ "text":"first"}"#));
    let said = client.find(|said| said["id"] == 99);
    field.expect_err("a blank more", &said, "cid_reuse");
    client.say(&raw("{\"text\":\r\"first\"\r}"));
    let said = client.find(|said| said["id"] == 99);
    let is_so = said["dup"] == true && said["seq"] == seq;
    field.expect(is_so, || format!("a carriage return more: {said}"));
    let path = format!("/v1/rooms/{}/messages", field.room);
    for (d, status, code) in
        [(r#"{"text":"second"}"#, 409, "cid_reuse"), (r#"{"text":"first"}"#, 200, "")]
    {
        let body = format!(r#"{{"d":{d}}}"#);
        let cid = "Idempotency-Key: taken\r\n";
        let answer = field.call(&field.mallorys_token(), "POST", &path, cid, &body);
        field.expect(answer.status == status, || format!("over HTTP {d}: {answer:?}"));
        let said = answer.json();
        let is_so = said["code"].as_str().unwrap_or_default() == code;
        field.expect(is_so && (status == 409 || said["seq"] == seq), || format!("{d}: {said}"));
    }
    let log = field.server.log(&field.room).expect("a log");
    let kept = log.last().is_some_and(|line| line.contains(r#""d":{"text":"first"}"#));
    field.expect(kept, || format!("kept is {:?}", log.last()));
    field.stores(1);
}

fn foreign_cids(field: &Field) {
    let elsewhere = format!("{}-elsewhere", field.room);
    field.server.room(&elsewhere, "group", &[&field.mallory]);
    let (mut mallory, mut alice) = (field.mallory(), field.alice());
    let send = |room: &str, text: &str| json!({"t": "send", "room": room, "cid": "claimed", "d": {"text": text}});
    let ask = |client: &mut Client, room: &str, text: &str| {
        let said = client.ask(send(room, text));
        let is_so = said["t"] == "ok" && said["dup"].is_null();
        field.expect(is_so, || format!("{text} in {room}: {said}"));
    };
    ask(&mut mallory, &field.room, "claimed by mallory");
    ask(&mut alice, &field.room, "said by alice");
    ask(&mut mallory, &elsewhere, "said elsewhere");
    field.stores(2);
    let head = field.server.log(&elsewhere).expect("a log").len();
    let token = field.mallorys_token();
    let path = format!("/v1/rooms/{elsewhere}/messages");
    let long = ["x".repeat(37), "x".repeat(60_000)];
    let odd = ["", "a'b", "a\"b", "a\0b", "a b", "a.b", "caf\u{e9}", "a\r\nb", "../a", "1;--"];
    for cid in odd.into_iter().chain(long.iter().map(String::as_str)) {
        let what = format!("cid {}", shown(&json!(cid).to_string()));
        for name in ["cid", "prev"] {
            let mut command = send(&elsewhere, "bad");
            command[name] = json!(cid);
            let said = mallory.ask(command);
            field.expect_err(&format!("{name} {what}"), &said, "bad_request");
        }
        // A line break would end the header, and a NUL is none of HTTP's business.
        if !cid.contains(['\r', '\0']) && cid.len() < 1000 {
            let header = format!("Idempotency-Key: {cid}\r\n");
            let answer = field.call(&token, "POST", &path, &header, r#"{"d":1}"#);
            field.expect_answer(&what, &answer, 400, "bad_request");
        }
    }
    let answer = field.call(&token, "POST", &path, "", r#"{"d":1}"#);
    field.expect_answer("no cid", &answer, 400, "bad_request");
    let mut command = send(&elsewhere, "bad");
    (command["id"], command["cid"]) = (json!(1), json!("x".repeat(1 << 20)));
    mallory.say(&command.to_string());
    field.expect_close("a cid of 1 MiB", &mut mallory, 1009);
    let now = field.server.log(&elsewhere).expect("a log").len();
    field.expect(now == head, || format!("{} bad ones are stored", now - head));
}

/// A position that is none: what it is, its epoch, its place by where the head is, how much may be missed,
/// and what is said of it.
type Position<'a> = (&'static str, &'a str, fn(u64) -> u64, u64, &'static str);

fn positions(field: &Field) {
    let elsewhere = format!("{}-elsewhere", field.room);
    field.server.room(&elsewhere, "group", &[&field.mallory]);
    let (here, there) = (field.server.epoch(&field.room), field.server.epoch(&elsewhere));
    let (here, there) = (here.as_str(), there.as_str());
    let mut alice = field.alice();
    let mut head = 0;
    for n in 0..20 {
        let said = alice.send(&field.room, &format!("c{n}"));
        head = said["seq"].as_u64().expect("a number");
    }
    // Nothing here removes old events, so `hole` is always that of a jump; those of what was removed stand in
    // the golden vectors.
    let positions: [Position<'_>; 8] = [
        ("behind the head", here, |head| head + 1, 2000, "reset"),
        ("far behind the head", here, |_| (1 << 53) - 1, 2000, "reset"),
        ("of a life that is over", "e-of-old", |_| 3, 2000, "reset"),
        ("of another room", there, |_| 1, 2000, "reset"),
        ("of another room, as far as here", there, |head| head, 2000, "reset"),
        ("missed too much", here, |_| 1, 5, "hole"),
        ("missed one too much", here, |head| head - 6, 5, "hole"),
        ("missed as much as may be", here, |head| head - 5, 5, ""),
    ];
    for (n, (what, epoch, seq, jump, expected)) in positions.into_iter().enumerate() {
        let seq = seq(head);
        // What a `sub` and a `hello` say has to be the same.
        let sub = json!({"t": "sub", "room": field.room, "epoch": epoch, "seq": seq, "jump": jump});
        let mut by_sub = Client::join(field.server, &field.mallory, &[]);
        let told = by_sub.ask(sub);
        let entry = json!([[field.room, epoch, seq, {"jump": jump}]]);
        let token = field.mallorys_token();
        let (mut by_hello, welcome) = Client::welcome(field.server, &token, entry);
        let told_too = welcome["rooms"][&field.room].clone();
        for (told, client) in [(told, &mut by_sub), (told_too, &mut by_hello)] {
            let is_so = ["reset", "hole"].iter().all(|at| (told[at] == true) == (*at == expected));
            let base = if expected.is_empty() { seq } else { head };
            let is_so = is_so && told["base"] == base && told["head"] == head;
            field.expect(is_so && told["epoch"] == here, || format!("{what}: {told}"));
            // Never a silent skip: what comes is all of what is between base and head.
            for wanted in base + 1..=head {
                let event = client.object();
                field.expect(event["seq"] == wanted, || format!("{what}: {event}"));
            }
        }
        // And never a stall: both hear what comes next.
        let said = alice.send(&field.room, &format!("next{n}"));
        head = said["seq"].as_u64().expect("a number");
        for client in [&mut by_sub, &mut by_hello] {
            let event = client.object();
            field.expect(event["seq"] == head, || format!("next after {what}: {event}"));
        }
    }
    field.stores(20 + positions.len() as u64);
}

fn foreign_session(field: &Field) {
    let token = field.server.token(&field.alice);
    let (mut alice, said) = Client::welcome(field.server, &token, json!([[field.room]]));
    let session = said["session"].clone();
    for session in [session.clone(), json!("unknown"), json!("s0000000000000000")] {
        let mut mallory = field.stranger();
        let token = field.mallorys_token();
        let hello = json!({"t": "hello", "token": token, "session": session, "rooms": []});
        let said = mallory.ask(hello);
        let is_so = said["t"] == "ok" && said["session"] != session;
        field.expect(is_so, || format!("session {session}: {said}"));
    }
    field.expect(alice.send(&field.room, "still-here")["t"] == "ok", || "alice is gone".to_owned());
    field.stores(2);
    // Kicked: neither by session nor by position does a byte of the room come.
    let path = format!("/v1/rooms/{}/members/{}", field.room, field.mallory);
    let (_, said) = Client::welcome(field.server, &field.mallorys_token(), json!([[field.room]]));
    let (own, place) = (said["session"].clone(), said["rooms"][&field.room].clone());
    field.server.done("DELETE", &path, "");
    alice.send(&field.room, "behind-the-back");
    field.stores(3);
    let mut mallory = field.stranger();
    let entry = json!([field.room, place["epoch"], place["base"]]);
    let token = field.mallorys_token();
    let hello = json!({"t": "hello", "token": token, "session": own, "rooms": [entry]});
    let said = mallory.ask(hello);
    let is_so = said["rooms"][&field.room] == json!({"code": "not_found"});
    field.expect(is_so, || format!("a room one was kicked from: {said}"));
    let sub =
        json!({"t": "sub", "room": field.room, "epoch": place["epoch"], "seq": place["base"]});
    field.expect_err("sub", &mallory.ask(sub), "not_found");
    let log = json!({"t": "log", "room": field.room, "after": 0});
    field.expect_err("log", &mallory.ask(log), "not_found");
    // Nothing else comes before the answer to a ping.
    let id = mallory.command(json!({"t": "ping"}));
    let next = mallory.object();
    field.expect(next["id"] == id, || format!("heard from outside: {next}"));
}

fn log_limits(field: &Field) {
    const EVENTS: u64 = 1_100;
    let mut client = field.mallory();
    for first in (0..EVENTS).step_by(50) {
        let ids: Vec<u64> = (first..first + 50)
            .map(|n| client.command(crate::client::message(&field.room, &format!("c{n}"))))
            .collect();
        let last = ids.last().copied().expect("fifty ids");
        client.find(|said| said["id"] == last);
    }
    field.stores(EVENTS);
    let room = &field.room;
    for (what, more, count) in [
        ("1,000,000,000", json!({"limit": 1_000_000_000_u64}), Some(1000)),
        ("one above the maximum", json!({"limit": 1001}), Some(1000)),
        ("2^53-1", json!({"limit": (1_u64 << 53) - 1}), Some(1000)),
        ("none", json!({}), Some(256)),
        ("nothing up to there", json!({"upto": 0}), Some(0)),
        ("-1", json!({"limit": -1}), None),
        ("0", json!({"limit": 0}), None),
        ("u64::MAX", json!({"limit": u64::MAX}), None),
        ("1e9 as a double", json!({"limit": 1e9}), None),
        ("after -1", json!({"after": -1}), None),
        ("after u64::MAX", json!({"after": u64::MAX}), None),
        ("upto -1", json!({"upto": -1}), None),
        ("upto u64::MAX", json!({"upto": u64::MAX}), None),
    ] {
        let mut log = json!({"t": "log", "room": room, "after": 0});
        let fields = more.as_object().expect("an object");
        fields.iter().for_each(|(name, value)| log[name] = value.clone());
        let said = client.ask(log);
        let query: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let path = format!("/v1/rooms/{room}/log?{}", query.join("&"));
        let answer = field.call(&field.mallorys_token(), "GET", &path, "", "");
        let Some(count) = count else {
            field.expect_err(what, &said, "bad_request");
            field.expect_answer(what, &answer, 400, "bad_request");
            continue;
        };
        for said in [said, answer.json()] {
            let events = said["evs"].as_array().map_or(usize::MAX, Vec::len);
            let is_so = events == count && (said["more"] == true) == (count > 0);
            field.expect(is_so, || format!("{what}: {events} events, not {count}"));
        }
    }
    for word in [json!({"t": "history", "limit": 1e9}), json!({"t": "history", "before": 0})] {
        let mut command = word;
        command["room"] = json!(room);
        field.expect_err("history", &client.ask(command), "unknown_command");
    }
    at_once(field, client);
}

/// 10,000 at once on one socket: each is answered once, those beyond what may be open with `inflight`.
fn at_once(field: &Field, mut client: Client) {
    const CALLS: u64 = 10_000;
    let log = |id: u64| json!({"t": "log", "id": id, "room": field.room, "after": 0, "limit": 1});
    let calls: Vec<String> = (100_000..100_000 + CALLS).map(|id| log(id).to_string()).collect();
    let writing = say_all(&client, calls.chunks(64).map(|lines| lines.join("\n")));
    let until = Instant::now() + PATIENCE;
    let mut answered = vec![0_u8; CALLS as usize];
    let (mut good, mut left) = (0, CALLS);
    while left > 0 {
        let Some(Heard::Line(line)) = client.hear_by(until) else { break };
        let said: Value = serde_json::from_str(&line).expect("an object");
        let Some(place) = said["id"].as_u64().and_then(|id| id.checked_sub(100_000)) else {
            continue;
        };
        left -= 1;
        answered[place as usize] += 1;
        let is_good = said["t"] == "ok";
        good += u64::from(is_good);
        let is_so = is_good || (said["code"] == "inflight" && said["retry_ms"].is_u64());
        field.expect(is_so, || format!("one of many: {said}"));
    }
    writing.join().expect("the writer panicked");
    let is_so = answered.iter().all(|times| *times == 1) && good > 0;
    field.expect(is_so, || format!("{left} of {CALLS} are unanswered, {good} were good"));
    field.expect(client.ask(json!({"t": "ping"}))["t"] == "ok", || "it is over".to_owned());
}
