//! Excess: more of what is allowed than anyone needs. (A36 to A39, A41, A42)

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::calls::{ask_all, say_all};
use super::commands::FAST;
use super::{Attack, Field, Ground, PLAIN};
use crate::client::{Client, message};
use crate::http;
use crate::process::MIB;
use crate::server::{PATIENCE, Server};

/// The rows.
pub const ROWS: &[Attack] = &[
    Attack { id: "A36", title: "rooms full of missed messages", ground: &FAST, run: missed },
    Attack { id: "A37", title: "too many rooms on one socket", ground: &FAST, run: subs },
    Attack { id: "A38", title: "too many rooms made", ground: &FAST, run: rooms },
    Attack { id: "A39", title: "typing ten thousand times", ground: &FAST, run: typing },
    Attack { id: "A41", title: "one user's rate by every door", ground: &PLAIN, run: rates },
    Attack { id: "A42", title: "more connections than may be", ground: &DOOR, run: connections },
];

/// Few may come in over HTTP at once, and not for long.
pub static DOOR: Ground = Ground {
    name: "door",
    set: |place| {
        let place = place.set("limits.http_connections", 64).set("limits.header_seconds", 2);
        place.set("limits.http_connections_per_address", 64)
    },
};

/// Most rooms on one connection on the ground `FAST`.
const ATTACHED_MAX: usize = 100;

/// Someone comes back to rooms with thousands of missed messages each, and reads slowly: what waits for them
/// stays bounded, and what comes is in order, paged, and without a hole that was not told.
fn missed(field: &Field) {
    let rooms = field.stage.scale(20, 90, 90);
    let each: u64 = field.stage.scale(100, 3_000, 10_000);
    let names: Vec<String> = (0..rooms).map(|n| format!("missed-{n}")).collect();
    let mut alice = Client::join(field.server, &field.alice, &[]);
    let make = |room| json!({"t": "room", "op": "create", "kind": "public", "room": room});
    ask_all(&mut alice, names.iter().map(make));
    let mut mallory = Client::join(field.server, &field.mallory, &[]);
    let join = |room| json!({"t": "room", "op": "join", "room": room});
    ask_all(&mut mallory, names.iter().map(join));
    let mut epochs = Vec::new();
    for room in &names {
        let sends = (0..each).map(|n| message(room, &format!("m{n}")));
        let answers = ask_all(&mut alice, sends);
        let good = answers.iter().filter(|said| said["t"] == "ok").count() as u64;
        field.expect(good == each, || format!("{room}: {good} of {each} are stored"));
        epochs.push(answers[0]["epoch"].clone());
        field.stage.progress(&format!("A36 {room}"));
    }
    let grown_from = field.server.memory();
    let position = |(room, epoch)| json!([room, epoch, 2, {"page": 1000, "jump": 100_000}]);
    let entries: Vec<Value> = names.iter().zip(&epochs).map(position).collect();
    let token = field.mallorys_token();
    let (mut late, said) = Client::welcome(field.server, &token, json!(entries));
    for room in &names {
        let told = &said["rooms"][room];
        let (base, upto) = (told["base"].as_u64(), told["upto"].as_u64());
        let is_so = base == Some(2) && told["hole"].is_null() && told["reset"].is_null();
        let paged = told["head"] == told["upto"] || told["more"] == true;
        field.expect(is_so && paged, || format!("{room}: {told}"));
        // Nothing is read for a while: what waits stays what may wait.
        if room == &names[0] {
            std::thread::sleep(Duration::from_secs(1));
            let waiting = field.server.metric("tertulia_outbound_bytes");
            field.expect(waiting <= MIB, || format!("{waiting} bytes wait"));
        }
        let (Some(base), Some(upto)) = (base, upto) else { continue };
        for wanted in base + 1..=upto {
            let event = late.find(|said| said["t"] == "ev");
            let is_so = event["room"] == room.as_str() && event["seq"] == wanted;
            field.expect(is_so, || format!("{room}: {event}, not {wanted}"));
        }
    }
    let grown = field.server.memory().saturating_sub(grown_from);
    field.expect(grown <= 16 * MIB, || format!("a resume took {} MiB", grown / MIB));
}

fn subs(field: &Field) {
    let count = field.stage.scale(5_000, 100_000, 100_000);
    let rooms: Vec<String> = (0..=ATTACHED_MAX).map(|n| format!("attach-{n}")).collect();
    let make = |room| json!({"t": "room", "op": "create", "kind": "public", "room": room});
    let mut alice = Client::join(field.server, &field.alice, &[]);
    let mut mallory = Client::join(field.server, &field.mallory, &[]);
    // Nobody may make so many alone.
    ask_all(&mut alice, rooms[..60].iter().map(make));
    ask_all(&mut mallory, rooms[60..].iter().map(make));
    let join = |room| json!({"t": "room", "op": "join", "room": room});
    ask_all(&mut mallory, rooms[..60].iter().map(join));
    let sub = |room: &str| json!({"t": "sub", "room": room});
    let answers = ask_all(&mut mallory, (0..count).map(|n| sub(&rooms[n % rooms.len()])));
    for (n, said) in answers.iter().enumerate() {
        let place = n % rooms.len();
        let is_so = if place < ATTACHED_MAX {
            said["t"] == "ok"
        } else {
            said["code"] == "too_many_rooms" && said["retry_ms"].is_null()
        };
        field.expect(is_so, || format!("sub {n} of {}: {said}", rooms[place]));
    }
    let heads = mallory.ask(json!({"t": "ping", "heads": true}));
    let attached = heads["heads"].as_object().map_or(0, serde_json::Map::len);
    field.expect(attached == ATTACHED_MAX, || format!("{attached} are attached"));
    // A hello has no more room than that, either.
    let entries: Vec<Value> = rooms.iter().map(|room| json!([room])).collect();
    let (_, said) = Client::welcome(field.server, &field.mallorys_token(), json!(entries));
    let told = said["rooms"].as_object().expect("rooms").values();
    let refused = told.filter(|told| told["code"] == "too_many_rooms").count();
    field.expect(refused == 1, || format!("{refused} rooms of a hello are too many"));
    // Where one goes, another one may come.
    mallory.ask(json!({"t": "unsub", "room": rooms[0]}));
    let said = mallory.ask(sub(&rooms[ATTACHED_MAX]));
    field.expect(said["t"] == "ok", || format!("in place of another: {said}"));
    // What is not there takes no place, however often it is asked for.
    let mut stranger = Client::join(field.server, &field.mallory, &[]);
    let before = field.server.memory();
    let unknown = (0..count).map(|n| match n % 2 {
        0 => sub(&format!("unknown-{n}")),
        _ => json!({"t": "room", "op": "join", "room": format!("unknown-{n}")}),
    });
    let answers = ask_all(&mut stranger, unknown);
    let missing = answers.iter().filter(|said| said["code"] == "not_found").count();
    field.expect(missing == count, || format!("{missing} of {count} are not found"));
    let grown = field.server.memory().saturating_sub(before);
    field.expect(grown <= 8 * MIB, || format!("unknown rooms took {} MiB", grown / MIB));
}

/// A hundred rooms a user, over both doors together; the application may make as many as it likes, and one that
/// nobody uses takes no memory. (Invites and mentions are not served yet.)
fn rooms(field: &Field) {
    const MADE_MAX: usize = 100;
    let mut mallory = Client::join(field.server, &field.mallory, &[]);
    let create = |n| json!({"t": "room", "op": "create", "room": format!("made-{n}")});
    let answers = ask_all(&mut mallory, (0..MADE_MAX + 50).map(create));
    let made = answers.iter().filter(|said| said["t"] == "ok").count();
    field.expect(made == MADE_MAX, || format!("{made} rooms were made"));
    let refused = answers.iter().filter(|said| said["code"] == "too_many_rooms").count();
    field.expect(refused == 50, || format!("{refused} were refused"));
    let token = field.mallorys_token();
    let answer = field.call(&token, "PUT", "/v1/rooms/made-over-http", "", "");
    field.expect_answer("one more over HTTP", &answer, 409, "too_many_rooms");
    // The same again is no other one, and one that goes makes way.
    let said = mallory.ask(create(0));
    field.expect(said["t"] == "ok" && said["dup"] == true, || format!("again: {said}"));
    mallory.ask(json!({"t": "room", "op": "del", "room": "made-0"}));
    let said = mallory.ask(create(1_000));
    field.expect(said["t"] == "ok", || format!("in place of another: {said}"));
    // What the committer keeps of rooms in use is bounded; the second half takes nothing more.
    let half = field.stage.scale(200, 15_000, 500_000);
    let mut memory = Vec::new();
    for part in 0..2 {
        let requests = (part * half..(part + 1) * half).map(|n| {
            let key = &field.server.key;
            format!("PUT /v1/rooms/idle-{n} HTTP/1.1\r\nAuthorization: Bearer {key}\r\n")
        });
        let statuses = field.pipelined(requests);
        let made = statuses.iter().filter(|status| **status == 201).count();
        field.expect(made == half, || format!("{made} of {half} were made"));
        memory.push(field.server.memory());
        field.stage.progress(&format!("A38 {made} idle rooms: {} MiB", memory[part] / MIB));
    }
    let each = memory[1].saturating_sub(memory[0]) / half as u64;
    let is_so = half < 10_000 || each <= 128;
    field.expect(is_so, || format!("an idle room takes {each} bytes"));
}

/// Ten thousand a second of one user, on and off. That someone types is told once in three seconds, and that they
/// stopped once behind each; messages all arrive.
fn typing(field: &Field) {
    const TIMES: usize = 10_000;
    const MESSAGES: usize = 20;
    const EVERY: Duration = Duration::from_secs(3);
    let (mut mallory, mut alice) = (field.mallory(), field.alice());
    let from = Instant::now();
    let line = |n: usize| {
        json!({"t": "typing", "room": field.room, "on": n.is_multiple_of(2)}).to_string()
    };
    let messages = (0..MESSAGES).map(|n| {
        let mut send = message(&field.room, &format!("amid-{n}"));
        send["id"] = json!(1_000 + n);
        let first = n * TIMES / MESSAGES;
        let typings: Vec<String> = (first..first + TIMES / MESSAGES).map(line).collect();
        let mut texts: Vec<String> = typings.chunks(60).map(|lines| lines.join("\n")).collect();
        texts.push(send.to_string());
        texts
    });
    let writing = say_all(&mallory, messages.flatten().collect::<Vec<_>>().into_iter());
    let (mut heard, mut on, mut off) = (0, 0_u32, 0_u32);
    while heard < MESSAGES {
        let said = alice.object();
        match said["t"].as_str() {
            Some("ev") => {
                let cid = format!("amid-{heard}");
                field.expect(said["cid"] == cid.as_str(), || format!("{said}, not {cid}"));
                heard += 1;
            }
            Some("sig") => {
                let users = said["d"]["u"].as_array().map_or(usize::MAX, Vec::len);
                field.expect(said["k"] == "typing" && users <= 1, || format!("heard {said}"));
                *(if users == 0 { &mut off } else { &mut on }) += 1;
            }
            _ => field.expect(false, || format!("heard {said}")),
        }
    }
    writing.join().expect("the writer panicked");
    let took = from.elapsed();
    let most = took.as_secs() as u32 / EVERY.as_secs() as u32 + 1;
    let is_so = (1..=most).contains(&on) && off <= on;
    field.expect(is_so, || format!("{on} times on and {off} times off in {took:?}"));
    let said = mallory.ask(json!({"t": "ping"}));
    field.expect(said["t"] == "ok", || format!("after all that: {said}"));
    field.stores(MESSAGES as u64);
}

/// Fifty sockets and HTTP beside them, each call forwarded for someone else: one user has one measure of sends.
/// (All that comes to a loopback address is the operator's own proxy; IPv6 networks of 64 bits stand in the
/// server's own tests.)
fn rates(field: &Field) {
    const SOCKETS: usize = 50;
    const EACH: usize = 10;
    const CALLS: usize = 50;
    const BURST: u64 = 100;
    const PER_SECOND: u64 = 20;
    let token = field.mallorys_token();
    let mut clients: Vec<Client> = (0..SOCKETS)
        .map(|n| {
            let forged =
                format!("X-Forwarded-For: 203.0.113.{n}\r\nForwarded: for=198.51.100.{n}\r\n");
            let mut client = Client::upgrade(field.server.public, &forged).expect("an upgrade");
            client.ask(json!({"t": "hello", "token": token, "rooms": []}));
            client
        })
        .collect();
    let from = Instant::now();
    for (n, client) in clients.iter_mut().enumerate() {
        (0..EACH).for_each(|m| _ = client.command(message(&field.room, &format!("r{n}-{m}"))));
    }
    let path = format!("/v1/rooms/{}/messages", field.room);
    let mut good = 0;
    for n in 0..CALLS {
        let headers = format!(
            "Idempotency-Key: h{n}\r\nX-Forwarded-For: 203.0.113.{n}\r\nX-Real-IP: 1.1.1.{n}\r\n"
        );
        let answer = field.call(&token, "POST", &path, &headers, r#"{"d":1}"#);
        if answer.status == 201 {
            good += 1;
        } else {
            field.expect_answer("over HTTP", &answer, 429, "rate_limited");
            let head = answer.head.to_ascii_lowercase();
            field.expect(head.contains("retry-after: "), || format!("no time is told: {head}"));
        }
    }
    for client in &mut clients {
        for _ in 0..EACH {
            let said = client.object();
            good += u64::from(said["t"] == "ok");
            let is_so = said["t"] == "ok"
                || (said["code"] == "rate_limited" && said["retry_ms"].as_u64() > Some(0));
            field.expect(is_so, || format!("one of many: {said}"));
        }
    }
    let most = BURST + PER_SECOND * from.elapsed().as_millis().div_ceil(1_000) as u64;
    field.expect((BURST..=most).contains(&good), || format!("{good} were let through, not {most}"));
    field.stores(good);
    // Another user, whatever the name looks like, has a measure of its own, and no right to the room.
    let other = field.mallory.to_uppercase();
    let mut stranger = Client::join(field.server, &other, &[]);
    field.expect_err(&other, &stranger.send(&field.room, "case"), "not_found");
}

fn connections(field: &Field) {
    const PER_USER: usize = 64;
    let token = field.mallorys_token();
    let hello = json!({"t": "hello", "id": 1, "token": token, "rooms": []}).to_string();
    let mut there: Vec<Client> = Vec::new();
    for n in 0..PER_USER + 36 {
        if n < PER_USER {
            there.push(field.expect_welcome("one of 64", &token));
            continue;
        }
        let (told, ended) = field.first_words(&hello);
        let is_so = told["code"] == "forbidden" && ended.close == Some(4007);
        field.expect(is_so, || format!("connection {n}: {told} {ended:?}"));
    }
    field
        .expect(there[0].ask(json!({"t": "ping"}))["t"] == "ok", || "the first is gone".to_owned());
    drop(there);
    let flood = field.stage.scale(1_000, 15_000, 15_000);
    crate::server::raise_file_limit(flood as u64 + 1_000);
    let knocking = knock(field.server, flood);
    // All places are taken, and others wait: nobody turns in circles meanwhile.
    let (cpu, from) = (field.server.cpu(), Instant::now());
    std::thread::sleep(Duration::from_millis(1_000));
    let busy = (field.server.cpu() - cpu).as_secs_f64() / from.elapsed().as_secs_f64();
    field.expect(busy < 0.5, || format!("{:.0} % of a processor while full", busy * 100.0));
    let metric = field.server.metric("tertulia_connections");
    field.expect(metric >= 10, || format!("{metric} connections are left"));
    drop(knocking);
    // Those who went away are noticed one after the other, and then there is room for everyone.
    let answer = http::call(field.server.public, "GET", "/healthz", "", "");
    let is_so = answer.as_ref().is_ok_and(|answer| answer.status == 200);
    field.expect(is_so, || format!("after the flood: {answer:?} {:?}", from.elapsed()));
    let mut client = field.mallory();
    field.expect(client.send(&field.room, "after")["t"] == "ok", || "nothing is taken".to_owned());
    field.stores(1);
}

/// So many connections without a word, as far as the system takes them.
fn knock(server: &Server, count: usize) -> Vec<TcpStream> {
    const THREADS: usize = 16;
    const WAIT: Duration = Duration::from_millis(20);
    let (address, given_up) = (server.public, AtomicUsize::new(0));
    let until = Instant::now() + PATIENCE;
    let each = || {
        let knock = |_| TcpStream::connect_timeout(&address, WAIT).ok();
        let mut streams: Vec<TcpStream> = Vec::new();
        for n in 0..count / THREADS {
            if Instant::now() > until {
                given_up.fetch_add(count / THREADS - n, Ordering::Relaxed);
                break;
            }
            streams.extend(knock(n));
        }
        streams
    };
    std::thread::scope(|threads| {
        let knocking: Vec<_> = (0..THREADS).map(|_| threads.spawn(each)).collect();
        knocking.into_iter().flat_map(|one| one.join().expect("a knock panicked")).collect()
    })
}
