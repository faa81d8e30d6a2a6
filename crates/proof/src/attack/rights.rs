//! Rights: what is done by someone who may not, to rooms that are someone else's. (A58 to A62)

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::commands::FAST;
use super::{Attack, Field, PLAIN};
use crate::client::{Client, Heard, message};
use crate::stage::Scale;

/// The rows.
pub const ROWS: &[Attack] = &[
    Attack { id: "A58", title: "every door after a kick", ground: &PLAIN, run: after_a_kick },
    Attack { id: "A59", title: "a kick amid one's own sends", ground: &FAST, run: kick_amid_sends },
    Attack { id: "A60", title: "rooms and messages of others", ground: &PLAIN, run: foreign },
    Attack { id: "A61", title: "private rooms by the clock", ground: &FAST, run: by_the_clock },
    Attack {
        id: "A62",
        title: "fields and roles one may not set",
        ground: &PLAIN,
        run: assignment,
    },
];

fn after_a_kick(field: &Field) {
    let (mut mallory, mut alice) = (field.mallory(), field.alice());
    let room = &field.room;
    let epoch = field.server.epoch(room);
    alice.send(room, "before");
    mallory.find(|said| said["cid"] == "before");
    let member = format!("/v1/rooms/{room}/members/{}", field.mallory);
    field.server.done("DELETE", &member, "");
    mallory.find(|said| said["t"] == "drop" && said["room"] == room.as_str());
    // At once, on the connection that was there and on a new one; nothing is believed a little longer.
    let mut late = Client::join(field.server, &field.mallory, &[]);
    let sub = json!({"t": "sub", "epoch": epoch.as_str(), "seq": 1});
    for client in [&mut mallory, &mut late] {
        for command in [
            json!({"t": "sub"}),
            sub.clone(),
            json!({"t": "log", "after": 0}),
            json!({"t": "room", "op": "get"}),
            json!({"t": "room", "op": "join"}),
            json!({"t": "room", "op": "leave"}),
            json!({"t": "room", "op": "set", "name": "mine"}),
            json!({"t": "room", "op": "unban", "user": field.mallory}),
            json!({"t": "send", "cid": "after", "d": 1}),
            json!({"t": "send", "cid": "before", "d": 1}),
            json!({"t": "typing", "on": true}),
            json!({"t": "signal", "k": "x.wave", "d": 1}),
        ] {
            let mut command = command;
            command["room"] = json!(room);
            let said = client.ask(command.clone());
            field.expect_err(&command.to_string(), &said, "not_found");
        }
        let said = client.ask(json!({"t": "rooms"}));
        field.expect(said["rooms"] == json!([]), || format!("rooms: {said}"));
        let said = client.ask(json!({"t": "ping", "heads": true}));
        field.expect(said["heads"] == json!({}), || format!("heads: {said}"));
    }
    let entry = json!([[room, epoch.as_str(), 1]]);
    let (_, said) = Client::welcome(field.server, &field.mallorys_token(), entry);
    let told = &said["rooms"][room];
    field.expect(*told == json!({"code": "not_found"}), || format!("hello: {said}"));
    for (method, path) in [
        ("GET", ""),
        ("GET", "/log"),
        ("GET", "/members"),
        ("POST", "/messages"),
        ("DELETE", ""),
        ("PUT", "/members/mallory-a58"),
        ("PUT", "/bans/alice-a58"),
    ] {
        let path = format!("/v1/rooms/{room}{path}");
        let body = if method == "POST" { r#"{"d":1}"# } else { r#"{"role":"member"}"# };
        let token = field.mallorys_token();
        let answer = field.call(&token, method, &path, "Idempotency-Key: x\r\n", body);
        field.expect_answer(&format!("{method} {path}"), &answer, 404, "not_found");
    }
    // What others do there is not heard, typing and signals included.
    alice.ask(json!({"t": "typing", "room": room, "on": true}));
    alice.ask(json!({"t": "signal", "room": room, "k": "x.wave", "d": 1}));
    alice.send(room, "behind-the-back");
    for client in [&mut mallory, &mut late] {
        let id = client.command(json!({"t": "ping"}));
        let next = client.object();
        field.expect(next["id"] == id, || format!("heard from outside: {next}"));
    }
    // Two messages of alice's, and the kick.
    field.stores(3);
}

fn kick_amid_sends(field: &Field) {
    let head = field.server.log(&field.room).expect("a log").len();
    for trial in 0..field.stage.scale(5, 100, 1_000) {
        let user = format!("kicked-{trial}");
        let member = format!("/v1/rooms/{}/members/{user}", field.room);
        field.server.done("PUT", &member, r#"{"role":"member"}"#);
        let mut client = Client::join(field.server, &user, &[]);
        let lines: Vec<String> = (1..=60)
            .map(|id| {
                let mut send = message(&field.room, &format!("{user}-{id}"));
                send["id"] = json!(id);
                send.to_string()
            })
            .collect();
        client.say(&lines[..20].join("\n"));
        client.find(|said| said["id"] == 10);
        // The rest is on its way while the kick is.
        client.say(&lines[20..].join("\n"));
        field.server.done("DELETE", &member, "");
        let mut acked = Vec::new();
        let mut refused = 0;
        while acked.len() + refused < 50 {
            let said = client.object();
            match said["t"].as_str() {
                Some("ok") => acked.push(said["seq"].as_u64().expect("a number")),
                Some("err") => {
                    field.expect_err(&user, &said, "not_found");
                    refused += 1;
                }
                _ => {}
            }
        }
        let said = client.ask(message(&field.room, &format!("{user}-late")));
        field.expect_err("after the kick", &said, "not_found");
        let kicked = kick_of(field, &user);
        let late = acked.iter().filter(|seq| **seq > kicked).count();
        field.expect(late == 0, || format!("{user}: {late} acked behind the kick at {kicked}"));
    }
    let log = field.server.log(&field.room).expect("a log");
    field.stores((log.len() - head) as u64);
    join_beside_ban(field);
}

/// Where the user was kicked. Behind it stands nothing of theirs.
fn kick_of(field: &Field, user: &str) -> u64 {
    let log = field.server.log(&field.room).expect("a log");
    let events: Vec<Value> =
        log.iter().map(|line| serde_json::from_str(line).expect("an event")).collect();
    let kick = events.iter().rposition(|event| event["k"] == "leave" && event["u"] == user);
    let kick = kick.expect("the kick is in the log");
    let behind = events[kick..].iter().filter(|event| event["by"] == user).count();
    field.expect(behind == 0, || format!("{behind} of {user} stand behind the kick"));
    events[kick]["seq"].as_u64().expect("a number")
}

/// Someone joins a public room while being banned from it: in whatever order, the ban wins.
fn join_beside_ban(field: &Field) {
    let room = format!("{}-public", field.room);
    field.server.room(&room, "public", &[]);
    for trial in 0..field.stage.scale(10, 300, 3_000) {
        let user = format!("joiner-{trial}");
        let mut client = Client::join(field.server, &user, &[]);
        let ban = format!("/v1/rooms/{room}/bans/{user}");
        let server = field.server;
        thread::scope(|threads| {
            let banning = threads.spawn(|| server.call("PUT", &ban, "").status);
            let joined = client.ask(json!({"t": "room", "op": "join", "room": room}));
            let is_so = joined["t"] == "ok" || joined["code"] == "forbidden";
            field.expect(is_so, || format!("a join beside a ban: {joined}"));
            let banned = banning.join().expect("the ban panicked");
            field.expect(banned == 204, || format!("a ban beside a join: {banned}"));
        });
        for command in [
            json!({"t": "room", "op": "join", "room": room}),
            json!({"t": "sub", "room": room}),
            json!({"t": "send", "room": room, "cid": "c", "d": 1}),
        ] {
            let said = client.ask(command.clone());
            field.expect_err(&format!("banned, {command}"), &said, "forbidden");
        }
    }
    let path = format!("/v1/rooms/{room}/members?limit=200");
    let members = field.server.done("GET", &path, "").json();
    field.expect(members["members"] == json!([]), || format!("there are still {members}"));
}

/// Rooms and messages of others are as if they were not there, to the byte. (What is not served yet is not there
/// for anybody: edit, delete, reactions, pins, reports.)
fn foreign(field: &Field) {
    let (vault, banned) = (format!("{}-vault", field.room), format!("{}-banned", field.room));
    field.server.room(&vault, "group", &[&field.alice]);
    field.server.room(&banned, "group", &[&field.mallory]);
    field.server.done("PUT", &format!("/v1/rooms/{banned}/bans/{}", field.mallory), "");
    let mut alice = Client::join(field.server, &field.alice, &[]);
    alice.send(&vault, "secret");
    let before = field.server.log(&vault).expect("a log").len();
    let mut mallory = Client::join(field.server, &field.mallory, &[]);
    let user = field.alice.as_str();
    for command in [
        json!({"t": "sub"}),
        json!({"t": "sub", "epoch": "e1", "seq": 2}),
        json!({"t": "log", "after": 0}),
        json!({"t": "log", "after": 2, "upto": 3, "limit": 1}),
        json!({"t": "room", "op": "get"}),
        json!({"t": "room", "op": "set", "d": {"name": "mine"}}),
        json!({"t": "room", "op": "del"}),
        json!({"t": "room", "op": "join"}),
        json!({"t": "room", "op": "leave"}),
        json!({"t": "room", "op": "kick", "user": user}),
        json!({"t": "room", "op": "ban", "user": user}),
        json!({"t": "room", "op": "unban", "user": field.mallory}),
        json!({"t": "room", "op": "role", "user": field.mallory, "role": "owner"}),
        json!({"t": "send", "cid": "c1", "d": 1}),
        json!({"t": "send", "cid": "c2", "d": 1, "re": 3, "epoch": "e1"}),
        json!({"t": "signal", "k": "x.wave", "d": 1}),
        json!({"t": "typing", "on": true}),
        json!({"t": "edit", "of": 3, "cid": "c3", "d": 1}),
        json!({"t": "del", "of": 3, "cid": "c4"}),
        json!({"t": "react", "of": 3, "e": "+1", "on": true, "cid": "c5"}),
        json!({"t": "history", "around": 3}),
        json!({"t": "mark", "read": 3}),
    ] {
        let mut tell = |room: &str| {
            let mut command = command.clone();
            (command["room"], command["id"]) = (json!(room), json!(77));
            mallory.say(&command.to_string());
            match mallory.hear() {
                Heard::Line(line) => line,
                other => panic!("{other:?}"),
            }
        };
        let missing = tell("nowhere");
        for room in [&vault, &banned] {
            let told = tell(room);
            field.expect(told == missing, || format!("{command}: {told}, not {missing}"));
        }
    }
    foreign_over_http(field, &[&vault, &banned]);
    let rooms = json!([[vault], [banned], ["nowhere"]]);
    let (_, said) = Client::welcome(field.server, &field.mallorys_token(), rooms);
    for (room, told) in said["rooms"].as_object().expect("rooms") {
        field.expect(*told == json!({"code": "not_found"}), || format!("hello: {room}: {told}"));
    }
    let after = field.server.log(&vault).expect("a log").len();
    field.expect(after == before, || format!("{} are stored in the vault", after - before));
}

fn foreign_over_http(field: &Field, rooms: &[&String]) {
    let token = field.mallorys_token();
    let (member, ban) = (format!("/members/{}", field.alice), format!("/bans/{}", field.alice));
    let own = format!("/members/{}", field.mallory);
    for (method, path, body) in [
        ("GET", "", ""),
        ("GET", "/log", ""),
        ("GET", "/log?after=2&limit=1", ""),
        ("GET", "/members", ""),
        ("POST", "/messages", r#"{"d":{}}"#),
        ("POST", "/messages", r#"{"d":{},"re":3,"epoch":"e1"}"#),
        ("PUT", own.as_str(), r#"{"role":"owner"}"#),
        ("DELETE", own.as_str(), ""),
        ("DELETE", member.as_str(), ""),
        ("PUT", ban.as_str(), ""),
        ("DELETE", ban.as_str(), ""),
        ("DELETE", "", ""),
        ("GET", "/history?around=3", ""),
        ("GET", "/messages/3", ""),
        ("PUT", "/messages/3", r#"{"d":1}"#),
        ("DELETE", "/messages/3", ""),
        ("PUT", "/messages/3/reactions/x", ""),
        ("PUT", "/marks", r#"{"read":3}"#),
        ("GET", "/stream", ""),
    ] {
        let tell = |room: &str| {
            let path = format!("/v1/rooms/{room}{path}");
            let answer = field.call(&token, method, &path, "Idempotency-Key: c\r\n", body);
            let told = answer.without_what_always_differs();
            // A path that is not served is named; a name of the same length looks the same.
            let (told, length) = (told.replace(room, "ROOM"), room.len());
            (answer.status, told.replace(&format!("content-length: {length}"), ""))
        };
        let nowhere = |like: &str| "n".repeat(like.len());
        for room in rooms {
            let (status, told) = tell(room);
            let (_, missing) = tell(&nowhere(room));
            let is_so = matches!(status, 404 | 405) && told == missing;
            field.expect(is_so, || format!("{method} {path}: {status} {told}, not {missing}"));
        }
    }
}

/// Whether a room that one may not see takes another time to refuse than one that is not there. Only where the
/// machine is quiet: the short form looks at the answers alone.
fn by_the_clock(field: &Field) {
    let count = field.stage.scale(50, 2_000, 10_000);
    let vault = format!("{}-vault", field.room);
    field.server.room(&vault, "group", &[&field.alice]);
    let missing = format!("{}-vaulx", field.room);
    // There are others before and behind it, and one has more to tell than either.
    let large = format!(r#"{{"kind":"group","d":"{}"}}"#, "x".repeat(12_000));
    field.server.done("PUT", &format!("/v1/rooms/{}-large", field.room), &large);
    let mut mallory = Client::join(field.server, &field.mallory, &[]);
    let token = field.mallorys_token();
    let mut over_socket = |room: &str| {
        let from = Instant::now();
        mallory.say(&json!({"t": "log", "id": 7, "room": room, "after": 0}).to_string());
        let heard = mallory.hear();
        (from.elapsed(), format!("{heard:?}"))
    };
    compare(field, "log", count, [&vault, &missing], &mut over_socket);
    let over_http = |room: &str| {
        let path = format!("/v1/rooms/{room}");
        let from = Instant::now();
        let answer = field.call(&token, "GET", &path, "", "");
        (from.elapsed(), answer.without_what_always_differs())
    };
    compare(field, "GET", count, [&vault, &missing], &mut { over_http });
}

/// Asks for both, one after the other, and compares what is said and how long it takes.
fn compare(
    field: &Field,
    what: &str,
    count: usize,
    rooms: [&str; 2],
    ask: &mut impl FnMut(&str) -> (Duration, String),
) {
    // By chance alone one sample in a hundred looks wrong; two, one in ten thousand.
    let mut told = String::new();
    for _ in 0..2 {
        let times = sample(field, what, count, rooms, ask);
        if field.stage.scale == Scale::Short {
            return;
        }
        let p = mann_whitney(&times[0], &times[1]);
        let [foreign, missing] = times.map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2].as_nanos() as f64
        });
        let apart = (foreign - missing).abs() / missing;
        told = format!("medians {foreign} and {missing} ns, {apart:.3} apart, p = {p:.4}");
        field.stage.progress(&format!("A61 {what}: {told}"));
        if apart <= 0.05 && p > 0.01 {
            return;
        }
    }
    field.expect(false, || format!("{what}, twice: {told}"));
}

/// How long each room takes, as often as `count` says.
fn sample(
    field: &Field,
    what: &str,
    count: usize,
    rooms: [&str; 2],
    ask: &mut impl FnMut(&str) -> (Duration, String),
) -> [Vec<Duration>; 2] {
    let mut times: [Vec<Duration>; 2] = Default::default();
    for n in 0..count * 2 {
        // Which one comes first changes, so that neither is always behind the other.
        let which = (n + n / 2) % 2;
        let (took, told) = ask(rooms[which]);
        times[which].push(took);
        let (_, other) = if n < 2 { ask(rooms[1 - which]) } else { (took, told.clone()) };
        field.expect(told == other, || format!("{what}: {told}, and {other}"));
    }
    times
}

/// How likely times are so far apart by chance alone: the rank-sum test of Mann and Whitney, two-sided, by the
/// normal distribution, which holds from some twenty values on.
fn mann_whitney(one: &[Duration], other: &[Duration]) -> f64 {
    let mut all: Vec<(Duration, bool)> = one.iter().map(|time| (*time, true)).collect();
    all.extend(other.iter().map(|time| (*time, false)));
    all.sort_unstable();
    let (mut ranks, mut ties, mut at) = (0.0, 0.0, 0);
    while at < all.len() {
        let same = all[at..].iter().take_while(|(time, _)| *time == all[at].0).count();
        let rank = at as f64 + (same as f64 + 1.0) / 2.0;
        ranks += rank * all[at..at + same].iter().filter(|(_, is_one)| *is_one).count() as f64;
        ties += (same as f64).powi(3) - same as f64;
        at += same;
    }
    let (n, m, total) = (one.len() as f64, other.len() as f64, all.len() as f64);
    let u = ranks - n * (n + 1.0) / 2.0;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    let z = (u - n * m / 2.0).abs() / variance.sqrt();
    // The complement of the error function (Abramowitz and Stegun, 7.1.26), to seven digits.
    let x = z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let terms = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    terms.iter().fold(0.0, |sum, term| (sum + term) * t) * (-x * x).exp()
}

fn assignment(field: &Field) {
    let room = &field.room;
    let mut mallory = field.mallory();
    let head = field.server.log(room).expect("a log").len() as u64;
    let mut send = message(room, "assigned");
    for (name, value) in [
        ("by", json!(field.alice)),
        ("sender", json!(field.alice)),
        ("user", json!(field.alice)),
        ("role", json!("owner")),
        ("seq", json!(1)),
        ("n", json!(1_000)),
        ("ts", json!(1)),
        ("u", json!(field.alice)),
        ("of", json!(1)),
        ("why", json!("kicked")),
    ] {
        send[name] = value;
    }
    let said = mallory.ask(send.clone());
    field.expect(said["seq"] == head + 1, || format!("assigned: {said}"));
    // Over HTTP a user's `by` counts for nothing, either.
    let body = json!({"d": 1, "by": field.alice, "sender": field.alice, "seq": 1, "ts": 1, "n": 7});
    let path = format!("/v1/rooms/{room}/messages");
    let token = field.mallorys_token();
    let answer = field.call(&token, "POST", &path, "Idempotency-Key: http\r\n", &body.to_string());
    field.expect(answer.status == 201, || format!("{answer:?}"));
    let log = field.server.log(room).expect("a log");
    for (line, seq) in log[head as usize..].iter().zip(head + 1..) {
        let event: Value = serde_json::from_str(line).expect("an event");
        let is_so = event["by"] == field.mallory.as_str() && event["seq"] == seq;
        let is_so = is_so && event["n"] != 1_000 && event["n"] != 7 && event["ts"] != 1;
        let is_so =
            is_so && ["role", "sender", "u", "of", "why"].iter().all(|k| event[k].is_null());
        field.expect(is_so, || format!("kept is {line}"));
    }
    // An epoch is no field to set: another one is another log.
    send["cid"] = json!("epoch");
    send["epoch"] = json!("e-mine");
    field.expect_err("an epoch", &mallory.ask(send), "reset");
    // No kind of event but one's own.
    for kind in ["join", "leave", "role", "room", "void", "edit", "pin", "x.", "X.a"] {
        let send = json!({"t": "send", "room": room, "cid": "kind", "k": kind, "u": "u", "d": 1});
        field.expect_err(kind, &mallory.ask(send), "bad_request");
    }
    field.stores(2);
    roles(field);
}

/// Who is a reader, member, admin or owner, and what they may not do to whom.
fn roles(field: &Field) {
    let room = format!("{}-ranks", field.room);
    let ranks = ["reader", "member", "admin", "owner"];
    let user = |rank: &str| format!("{rank}-{}", field.room);
    field.server.room(&room, "group", &[]);
    for rank in ranks {
        let path = format!("/v1/rooms/{room}/members/{}", user(rank));
        field.server.done("PUT", &path, &json!({"role": rank}).to_string());
    }
    let before = field.server.log(&room).expect("a log").len();
    for (place, rank) in ranks.iter().enumerate() {
        let me = user(rank);
        let mut client = Client::join(field.server, &me, &[]);
        let mut forbidden: Vec<Value> = Vec::new();
        if *rank != "owner" {
            // Nobody promotes themselves, nor touches whoever ranks higher.
            for other in &ranks[place + 1..] {
                forbidden.push(json!({"op": "kick", "user": user(other)}));
                forbidden.push(json!({"op": "ban", "user": user(other)}));
                forbidden.push(json!({"op": "role", "user": user(other), "role": "reader"}));
            }
            forbidden.push(json!({"op": "role", "user": me, "role": "owner"}));
            forbidden.push(json!({"op": "del"}));
        }
        if matches!(*rank, "reader" | "member") {
            forbidden.push(json!({"op": "set", "name": "mine"}));
            forbidden.push(json!({"op": "unban", "user": "someone"}));
            forbidden.push(json!({"op": "kick", "user": user("reader")}));
        }
        if *rank == "owner" {
            forbidden.push(json!({"op": "leave"}));
            forbidden.push(json!({"op": "role", "user": me, "role": "member"}));
        }
        for mut command in forbidden {
            (command["t"], command["room"]) = (json!("room"), json!(room));
            field.expect_err(
                &format!("{rank}: {command}"),
                &client.ask(command.clone()),
                "forbidden",
            );
        }
        let token = field.server.token(&me);
        let mut calls = vec![("POST", "/v1/tokens".to_owned(), r#"{"user":"root","ttl_s":60}"#)];
        calls.push(("POST", format!("/v1/users/{}/revoke", user("owner")), ""));
        if *rank != "owner" {
            let own = format!("/v1/rooms/{room}/members/{me}");
            calls.push(("PUT", own, r#"{"role":"owner"}"#));
            let owner = format!("/v1/rooms/{room}/members/{}", user("owner"));
            calls.push(("DELETE", owner.clone(), ""));
            calls.push(("PUT", owner.replace("/members/", "/bans/"), ""));
            calls.push(("DELETE", format!("/v1/rooms/{room}"), ""));
        } else {
            calls.push(("DELETE", format!("/v1/rooms/{room}/members/{me}"), ""));
        }
        for (method, path, body) in calls {
            let answer = field.call(&token, method, &path, "Idempotency-Key: r\r\n", body);
            field.expect_answer(&format!("{rank}: {method} {path}"), &answer, 403, "forbidden");
        }
    }
    let mut reader = Client::join(field.server, &user("reader"), &[]);
    field.expect_err("a reader", &reader.send(&room, "word"), "forbidden");
    // Whoever makes a room is its owner, whatever else stands in the wish.
    let made = format!("{}-made", field.room);
    let wish = json!({"t": "room", "op": "create", "room": made, "role": "reader", "epoch": "e1",
        "owner": "root", "members": ["root"], "head": 7, "n": 7, "user": "root"});
    let mut mallory = Client::join(field.server, &field.mallory, &[]);
    let said = mallory.ask(wish);
    field.expect(said["t"] == "ok" && said["epoch"] != "e1", || format!("made: {said}"));
    let path = format!("/v1/rooms/{made}/members");
    let members = field.server.done("GET", &path, "").json();
    let only = json!([{"user": field.mallory, "role": "owner"}]);
    field.expect(members["members"] == only, || format!("members of it: {members}"));
    let after = field.server.log(&room).expect("a log").len();
    field.expect(after == before, || format!("{} changes of the ranks", after - before));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_differ_are_told_from_times_that_do_not() {
        let times = |from: u64, step: u64| -> Vec<Duration> {
            (0..200).map(|n| Duration::from_nanos(from + n * step % 1_009)).collect()
        };
        assert!(mann_whitney(&times(0, 7), &times(0, 11)) > 0.05);
        assert!(mann_whitney(&times(0, 7), &times(150, 11)) < 0.001);
        assert!((mann_whitney(&times(0, 7), &times(0, 7)) - 1.0).abs() < 1e-6);
    }
}
