//! Tokens over time: they end, are renewed, are taken back, and are signed with other keys. (A52 to A54)

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::commands::FAST;
use super::tokens::{BELIEVED, KEYS, good};
use super::{Attack, Field, PLAIN};
use crate::client::{Client, Ended, Heard, message};
use crate::issuer::{Issuer, now_s};
use crate::server::{PATIENCE, wait_for};

/// The rows.
pub const ROWS: &[Attack] = &[
    Attack { id: "A52", title: "a token that ends meanwhile", ground: &PLAIN, run: ends },
    Attack { id: "A53", title: "a user who is revoked amid a storm", ground: &FAST, run: revoked },
    Attack { id: "A54", title: "published keys that change", ground: &KEYS, run: rotation },
];

/// A token is good past its end by so much.
const LEEWAY_S: u64 = 5;

/// A connection ends so long after its token, at most.
const CUT_WITHIN: Duration = Duration::from_secs(10);

/// What an operator does is in force by then.
const IN_FORCE: Duration = Duration::from_secs(1);

/// Between two fetches of published keys.
const FETCH_EVERY: Duration = Duration::from_secs(10);

fn ends(field: &Field) {
    let rooms = json!([[field.room]]);
    let with = |seconds: u64| {
        let token = field.server.token_for(&field.mallory, seconds);
        Client::welcome(field.server, &token, rooms.clone()).0
    };
    let said_at = Instant::now();
    let (mut short, mut renewed, mut long) = (with(3), with(2), with(60));
    // The notice comes a minute before the end, with how long there is; at once where that is less.
    for (client, seconds) in [(&mut short, 3), (&mut renewed, 2)] {
        let due = client.object();
        let most = (seconds + LEEWAY_S) * 1000;
        let is_so = due["t"] == "auth_due";
        let is_so = is_so && due["in_ms"].as_u64().is_some_and(|ms| (1..=most).contains(&ms));
        field.expect(is_so, || format!("notice of {seconds} s: {due}"));
    }
    let said = renewed.ask(json!({"t": "auth", "token": field.mallorys_token()}));
    field.expect(said["t"] == "ok" && said["exp"].is_u64(), || format!("renewed: {said}"));
    let mut other = with(3600);
    let said = other.ask(json!({"t": "auth", "token": field.server.token(&field.alice)}));
    field.expect_err("renewed as someone else", &said, "unauthorized");
    field.expect_close("renewed as someone else", &mut other, 4003);
    for (what, token, close) in [
        ("renewed with one that ended", field.server.token_that_ended(&field.mallory), 4101),
        ("renewed with nonsense", "nonsense".to_owned(), 4102),
    ] {
        let mut other = with(3600);
        other.ask(json!({"t": "auth", "token": token}));
        field.expect_close(what, &mut other, close);
    }
    // Sixty seconds and the leeway: its notice comes five seconds after hello.
    let due = long.find(|said| said["t"] == "auth_due");
    let (after, in_ms) = (said_at.elapsed(), due["in_ms"].as_u64().unwrap_or_default());
    let is_so = (3_500..8_000).contains(&after.as_millis()) && (55_000..=60_000).contains(&in_ms);
    field.expect(is_so, || format!("notice of a minute after {after:?}: {due}"));
    let ended = short.end_by(said_at + Duration::from_secs(3) + CUT_WITHIN);
    let after = said_at.elapsed();
    let is_so = ended == Ended { bye: Some((4101, None)), close: Some(4101) };
    field.expect(is_so && after >= Duration::from_secs(3), || format!("{ended:?} after {after:?}"));
    let mut alice = field.alice();
    alice.send(&field.room, "behind-its-end");
    field.stores(1);
    field.expect(short.hear() == Heard::End, || "heard after its end".to_owned());
    // The one that was renewed in time is past its first end, too, and hears on.
    std::thread::sleep(Duration::from_secs(2 + LEEWAY_S + 1).saturating_sub(said_at.elapsed()));
    let said = renewed.ask(json!({"t": "ping"}));
    field.expect(said["t"] == "ok", || format!("past the first end: {said}"));
}

/// Five devices in a room in which a thousand messages a second are said; then the user is revoked.
fn revoked(field: &Field) {
    let trials = field.stage.scale(2, 50, 1_000);
    let (said, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (server, room) = (field.server, &field.room);
    let alice = Client::join(server, &field.alice, &[]);
    std::thread::scope(|threads| {
        threads.spawn(|| talk(alice, room, &said, &over));
        for trial in 0..trials {
            let user = format!("revoked-{trial}");
            let path = format!("/v1/rooms/{}/members/{user}", field.room);
            server.done("PUT", &path, r#"{"role":"reader"}"#);
            one_revoked(field, &user, &said);
        }
        over.store(true, Ordering::Release);
    });
    // Each joins and is made a reader; and what was said.
    field.stores(2 * trials + said.load(Ordering::Acquire));
}

/// A thousand messages a second, each with its number.
fn talk(mut alice: Client, room: &str, said: &AtomicU64, over: &AtomicBool) {
    const BURST: u64 = 20;
    let from = Instant::now();
    let mut sent = 0;
    while !over.load(Ordering::Acquire) {
        let due = Duration::from_millis(sent);
        std::thread::sleep(due.saturating_sub(from.elapsed()));
        let mut last = 0;
        for n in sent..sent + BURST {
            let mut send = message(room, &format!("t{n}"));
            send["d"]["number"] = json!(n);
            // Counted before it is said: whoever looks afterwards has not missed one.
            said.fetch_add(1, Ordering::SeqCst);
            last = alice.command(send);
        }
        sent += BURST;
        alice.find(|object| object["id"] == last);
    }
}

fn one_revoked(field: &Field, user: &str, said: &AtomicU64) {
    let token = field.server.token(user);
    let rooms = json!([[field.room]]);
    let mut devices: Vec<Client> =
        (0..5).map(|_| Client::welcome(field.server, &token, rooms.clone()).0).collect();
    for device in &mut devices {
        device.find(|object| object["t"] == "ev");
    }
    field.server.done("POST", &format!("/v1/users/{user}/revoke"), "");
    let (replied, upto) = (Instant::now(), said.load(Ordering::SeqCst));
    for device in &mut devices {
        let mut ended = Ended { bye: None, close: None };
        loop {
            let Some(heard) = device.hear_by(replied + IN_FORCE) else {
                field.expect(false, || format!("{user} is still there"));
                break;
            };
            match heard {
                Heard::Close(code) => ended.close = Some(code),
                Heard::End => break,
                Heard::Line(line) => {
                    let object: Value = serde_json::from_str(&line).expect("an object");
                    // What was on its way may come; what was said after the reply may not.
                    let late = object["d"]["number"].as_u64().is_some_and(|number| number >= upto);
                    field.expect(!late, || format!("{user} heard {line}, said after {upto}"));
                    if object["t"] == "bye" {
                        ended.bye = Some((object["code"].as_u64().expect("a code"), None));
                    }
                }
            }
        }
        let is_so = ended == Ended { bye: Some((4103, None)), close: Some(4103) };
        field.expect(is_so, || format!("{user}: {ended:?}"));
    }
    field.expect_refused(user, &token, 4103);
}

fn rotation(field: &Field) {
    let provider = &BELIEVED.provider;
    let token = |signer: &Issuer| signer.token(&good(field, "us"));
    let published = &BELIEVED.published;
    field.expect_welcome("the first key", &token(published));
    // Another key instead: asked for at once, but not before the last fetch is ten seconds ago.
    let next = Issuer::rsa().kid("p2");
    provider.publish(&[&next]);
    let from = Instant::now();
    wait_for("the next key is believed", FETCH_EVERY + PATIENCE, || {
        std::thread::sleep(Duration::from_millis(100));
        let answer = field.call(&token(&next), "GET", "/v1/rooms", "", "");
        answer.status == 200
    });
    let took = from.elapsed();
    field.expect(took <= FETCH_EVERY + IN_FORCE, || format!("the next key after {took:?}"));
    field.expect_welcome("the next key", &token(&next));
    field.expect_refused("the first key, taken back", &token(published), 4102);
    // The provider is down: what is known goes on. Those who ask for keys that nobody has cause a fetch now and
    // then, and no more.
    provider.answer("503 Service Unavailable", Vec::new());
    let (asked, from) = (provider.asked(), Instant::now());
    let unknown = field.stage.scale(1_000, 10_000, 10_000);
    let stranger = Issuer::ed();
    let requests = (0..unknown).map(|n| {
        let header = json!({"alg": "EdDSA", "kid": format!("unknown-{n}")}).to_string();
        let claims = json!({"sub": "m", "iss": "us", "aud": "chat", "exp": now_s() + 60});
        let token = stranger.raw(&header, &claims.to_string());
        format!("GET /v1/rooms HTTP/1.1\r\nAuthorization: Bearer {token}\r\n")
    });
    let statuses = field.pipelined(requests);
    let refused = statuses.iter().filter(|status| **status == 401).count();
    let is_so = (statuses.len(), refused) == (unknown, unknown);
    field.expect(is_so, || format!("{refused} of {} of {unknown} refused", statuses.len()));
    let (asked, took) = (provider.asked() - asked, from.elapsed());
    let most = took.as_secs() / FETCH_EVERY.as_secs() + 1;
    field.expect(asked as u64 <= most, || format!("{asked} fetches in {took:?}"));
    field.expect_welcome("the next key, while the provider is down", &token(&next));
}
