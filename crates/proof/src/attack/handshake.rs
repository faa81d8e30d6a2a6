//! Handshake: requests that are no good upgrade, extensions and what is sent under them. (A13 to A17, A20, A21)

use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::wire::{frame, text};
use super::{Attack, Field, Ground, PLAIN};
use crate::client::{Client, upgrade_request};
use crate::http::Answer;
use crate::server::PATIENCE;

/// The rows.
pub const ROWS: &[Attack] = &[
    Attack { id: "A13", title: "a bomb in a compressed frame", ground: &PLAIN, run: deflate },
    Attack { id: "A14", title: "extensions with odd parameters", ground: &PLAIN, run: extensions },
    Attack { id: "A15", title: "heads without measure", ground: &PLAIN, run: long_heads },
    Attack { id: "A16", title: "bytes that no header has", ground: &PLAIN, run: odd_bytes },
    Attack { id: "A17", title: "upgrades with something wrong", ground: &PLAIN, run: matrix },
    Attack { id: "A20", title: "two lengths, and what is behind", ground: &PLAIN, run: smuggled },
    Attack { id: "A21", title: "pages of other origins", ground: &ORIGINS, run: origins },
];

/// One page besides the server's own may connect.
static ORIGINS: Ground = Ground {
    name: "origins",
    set: |place| place.set("server.allowed_origins", "https://app.test"),
};

/// What a request may cost, whatever is in it.
const CPU_MAX: Duration = Duration::from_millis(100);

/// The lines of a good upgrade.
const GOOD: &[&str] = &[
    "GET /v1/ws HTTP/1.1",
    "Host: HOST",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// Sends a request with whatever is behind it. The answer has status 0 if none came.
fn knock(field: &Field, request: &[u8]) -> (Answer, Option<Client>) {
    let stream = TcpStream::connect_timeout(&field.server.public, PATIENCE).expect("a connection");
    Client::knock(stream, request).unwrap_or_else(|error| {
        (Answer { status: 0, head: error.to_string(), body: String::new() }, None)
    })
}

/// A good upgrade with `headers`, which are whole lines.
fn knock_with(field: &Field, headers: &str) -> (Answer, Option<Client>) {
    knock(field, upgrade_request(field.server.public, headers).as_bytes())
}

/// Wrong unless the answer has that status.
fn expect_status(field: &Field, what: &str, answer: &Answer, status: u16) {
    let first = answer.head.lines().next().unwrap_or_default();
    field.expect(answer.status == status, || format!("{what}: {first}, not {status}"));
}

/// 64 MiB of zeros in 64 KiB (RFC 1951): one literal, then lengths of 258 in two bits each.
pub(crate) fn bomb() -> Vec<u8> {
    let mut bytes = BOMB_HEAD.to_vec();
    bytes.resize(65_536, 0);
    bytes
}

/// The block's header, which gives a zero, the end and the length 258 codes of two, two and one bits, and the
/// zero. From there on each zero byte of the block stands for 1,032 others.
const BOMB_HEAD: &[u8] = b"\xed\xc0\x81\0\0\0\0\x80\xa0\xfd\xa9\x17\xa9\0";

/// What is answered to an offer that can be taken.
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn deflate(field: &Field) {
    let offering = |offer: &str| {
        let (answer, client) = knock_with(field, &format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        (answer, client.expect("an offer is no reason to refuse an upgrade"))
    };
    // Where nothing was agreed on, the bit alone is too much.
    let (answer, mut client) = offering("x-webkit-deflate-frame");
    agrees_on(field, "x-webkit-deflate-frame", &answer, None);
    field.hello(&mut client);
    client.put(&frame(0xc1, &bomb()));
    field.expect_close("a compressed frame", &mut client, 1002);
    let mut cut = field.mallory();
    cut.put(&[frame(0x41, b"\0"), frame(0x80, &bomb())].concat());
    field.expect_close("a compressed fragment", &mut cut, 1002);

    let bomb = bomb();
    let (front, back) = bomb.split_at(bomb.len() / 2);
    for (what, frames, code) in [
        ("a bomb", frame(0xc1, &bomb), 1009),
        ("a bomb in halves", [frame(0x41, front), frame(0x80, back)].concat(), 1009),
        ("a bomb in 2 KiB", frame(0xc1, &bomb[..2048]), 1009),
        ("a bomb in bytes", frame(0xc2, &bomb[..2048]), 1009),
        ("no deflate stream", frame(0xc1, &[0xff; 100]), 1007),
        ("5,000 empty final blocks", frame(0xc1, &b"\x03\0".repeat(5000)), 1007),
        ("a second compressed mark", [frame(0x41, b"\xf2"), frame(0xc0, b"\0")].concat(), 1002),
        ("a compressed ping", frame(0xc9, b"\0"), 1002),
    ] {
        for greeted in [false, true] {
            let (answer, mut client) = offering("permessage-deflate; client_max_window_bits");
            agrees_on(field, what, &answer, Some(AGREED));
            if greeted {
                field.hello(&mut client);
            }
            client.put(&frames);
            field.expect_close(what, &mut client, code);
        }
    }
    // Many at a time: each is inflated by itself, and none for longer than its limit.
    let mut bombers: Vec<Client> = (0..100).map(|_| offering("permessage-deflate").1).collect();
    for bomber in &mut bombers {
        bomber.put(&frame(0xc1, &bomb[..8192]));
    }
    for bomber in &mut bombers {
        field.expect_close("one of a hundred bombs", bomber, 1009);
    }
}

/// Wrong unless the upgrade was granted with this answer to its offers.
fn agrees_on(field: &Field, offer: &str, answer: &Answer, expected: Option<&str>) {
    let agreed = answer.header("sec-websocket-extensions");
    let is_so = answer.status == 101 && agreed == expected;
    field.expect(is_so, || format!("{offer}: {}", answer.head));
}

fn extensions(field: &Field) {
    let deflate = |parameters: &str| format!("permessage-deflate; {parameters}");
    let bits = ["7", "8", "16", "0", "-1", "abc", "\"10\"", "99999999999999999999"];
    let mut odd: Vec<String> =
        bits.iter().map(|bits| deflate(&format!("server_max_window_bits={bits}"))).collect();
    odd.extend([
        deflate("server_max_window_bits=10; server_max_window_bits=11"),
        deflate("server_no_context_takeover; server_no_context_takeover"),
        deflate("client_max_window_bits=; =; ;;"),
        deflate("unknown=\"quoted, with a comma\""),
        "x; y=\", permessage-deflate, \"".to_owned(),
        ",,,;;;".to_owned(),
        vec![deflate("server_max_window_bits=10"); 200].join(", "),
    ]);
    let with_window = format!("{AGREED}; server_max_window_bits=15");
    let good = [
        (deflate("server_max_window_bits=15"), &*with_window),
        (deflate("client_max_window_bits=\"9\""), AGREED),
        (deflate("server_max_window_bits=10, permessage-deflate"), AGREED),
    ];
    let odd = odd.into_iter().map(|offer| (offer, None));
    let all = odd.chain(good.map(|(offer, agreed)| (offer, Some(agreed))));
    for (offer, agreed) in all {
        let (answer, client) = knock_with(field, &format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        agrees_on(field, &offer, &answer, agreed);
        if let Some(mut client) = client {
            field.hello(&mut client);
        }
    }
    let lines = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let (answer, _) = knock_with(field, &lines.repeat(20));
    agrees_on(field, "twenty lines", &answer, Some(AGREED));
    let (answer, _) = knock_with(field, &lines.repeat(200));
    expect_status(field, "two hundred lines", &answer, 431);
}

fn long_heads(field: &Field) {
    let heads = [
        ("1 MiB in one header", format!("X-Long: {}\r\n", "x".repeat(1 << 20)), 431),
        ("2,000 headers", (0..2000).map(|n| format!("X-{n}: y\r\n")).collect(), 431),
        ("32,000 spaces", format!("Sec-WebSocket-Protocol: b{}x\r\n", " ".repeat(32_000)), 101),
        ("32,000 commas", format!("Sec-WebSocket-Protocol: b{}x\r\n", ",".repeat(32_000)), 101),
    ];
    for (what, headers, status) in heads {
        let before = field.server.cpu();
        let (answer, _) = knock_with(field, &headers);
        let took = field.server.cpu() - before;
        expect_status(field, what, &answer, status);
        field.expect(took <= CPU_MAX, || format!("{what} took {took:?} of a processor"));
    }
}

fn odd_bytes(field: &Field) {
    let request = upgrade_request(field.server.public, "");
    let request = request.trim_end().as_bytes();
    // An origin that is not one of ours is forbidden, whatever it is made of; a NUL is in no header at all.
    for (header, status) in
        [("Origin", 403), ("Authorization", 400), ("Sec-WebSocket-Protocol", 400)]
    {
        for byte in (0x80..=0xff).chain([0]) {
            for (before, after) in [("", ""), ("Bearer ", ".a"), ("tertulia.v1, ", "")] {
                let line = format!("\r\n{header}: {before}");
                let parts = [request, line.as_bytes(), &[byte], after.as_bytes(), b"\r\n\r\n"];
                let (answer, _) = knock(field, &parts.concat());
                let status = if byte == 0 { 400 } else { status };
                expect_status(field, &format!("{byte:#x} in {header}"), &answer, status);
            }
        }
    }
}

/// The lines of a good upgrade with some replaced: those that begin with `without` are left out.
fn altered(field: &Field, without: &str, with: &[&str]) -> Vec<u8> {
    let host = field.server.public.to_string();
    let kept = GOOD.iter().filter(|line| without.is_empty() || !line.starts_with(without));
    // The first line stays first.
    let (first, rest): (Vec<&str>, Vec<&str>) =
        kept.chain(with).partition(|line| line.contains(" HTTP/1."));
    let lines: String = first.iter().chain(&rest).map(|line| format!("{line}\r\n")).collect();
    format!("{lines}\r\n").replace("HOST", &host).into_bytes()
}

fn matrix(field: &Field) {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let rows: &[(&str, &str, &[&str], u16)] = &[
        ("as it should be", "", &[], 101),
        ("a body of no bytes", "", &["Content-Length: 0"], 101),
        ("no key", "Sec-WebSocket-Key", &[], 400),
        ("an empty key", "Sec-WebSocket-Key", &["Sec-WebSocket-Key:"], 400),
        ("a short key", "Sec-WebSocket-Key", &["Sec-WebSocket-Key: c2hvcnQ="], 400),
        (
            "a long key",
            "Sec-WebSocket-Key",
            &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSBhbmQgbW9yZQ=="],
            400,
        ),
        ("no base64", "Sec-WebSocket-Key", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ***"], 400),
        ("two keys", "", &[key], 400),
        ("no version", "Sec-WebSocket-Version", &[], 400),
        ("version 8", "Sec-WebSocket-Version", &["Sec-WebSocket-Version: 8"], 426),
        ("version 12", "Sec-WebSocket-Version", &["Sec-WebSocket-Version: 12"], 426),
        ("version 99", "Sec-WebSocket-Version", &["Sec-WebSocket-Version: 99"], 426),
        ("two versions", "", &["Sec-WebSocket-Version: 8"], 400),
        ("POST", "GET", &["POST /v1/ws HTTP/1.1"], 405),
        ("HEAD", "GET", &["HEAD /v1/ws HTTP/1.1"], 400),
        ("HTTP/1.0", "GET", &["GET /v1/ws HTTP/1.0"], 400),
        ("HTTP/1.2", "GET", &["GET /v1/ws HTTP/1.2"], 400),
        ("no host", "Host", &[], 400),
        ("two hosts", "", &["Host: elsewhere"], 400),
        ("no upgrade", "Upgrade", &[], 426),
        ("another upgrade", "Upgrade", &["Upgrade: h2c"], 426),
        ("no word in connection", "Connection", &[], 426),
        ("a connection to keep", "Connection", &["Connection: keep-alive"], 426),
        ("a body", "", &["Content-Length: 5"], 400),
        ("a body in chunks", "", &["Transfer-Encoding: chunked"], 400),
        ("another subprotocol", "", &["Sec-WebSocket-Protocol: chat"], 400),
        ("another path", "GET", &["GET /v1/ws/ HTTP/1.1"], 404),
        ("a token in the query", "GET", &["GET /v1/ws?token=x HTTP/1.1"], 101),
    ];
    for (what, without, with, status) in rows {
        let (answer, _) = knock(field, &altered(field, without, with));
        expect_status(field, what, &answer, *status);
        let head = answer.head.to_ascii_lowercase();
        // What helps: RFC 6455, 4.2.2, and RFC 9110, 15.5.6 and 15.5.22.
        let helps: &[&str] = match answer.status {
            426 => &["\r\nupgrade: websocket", "\r\nsec-websocket-version: 13"],
            405 => &["\r\nallow: get"],
            _ => &[],
        };
        let is_so = helps.iter().all(|line| head.contains(line));
        field.expect(is_so, || format!("{what}: {head} does not say {helps:?}"));
    }
}

fn smuggled(field: &Field) {
    let two_lengths: &[&[&str]] = &[
        &["Content-Length: 5", "Transfer-Encoding: chunked"],
        &["Transfer-Encoding: chunked", "Content-Length: 5"],
        &["Transfer-Encoding: chunked", "Content-Length: 0"],
        &["Content-Length: 0", "Content-Length: 5"],
        &["Content-Length: 5", "Content-Length: 0"],
        &["Content-Length: 5", "Content-Length: 5"],
        &["Content-Length: 0, 5"],
        &["Content-Length: +0"],
        &["Content-Length: -1"],
        &["Content-Length: 18446744073709551616"],
        &["Transfer-Encoding: chunked, identity"],
        &["Transfer-Encoding: xchunked"],
        &["Transfer-Encoding : chunked"],
        &["Content-Length: 0", " folded: yes"],
    ];
    for lengths in two_lengths {
        let request = [altered(field, "", lengths), b"0\r\n\r\n".to_vec()].concat();
        let (answer, _) = knock(field, &request);
        expect_status(field, &format!("{lengths:?}"), &answer, 400);
    }
    one_request_only(field);
    behind_an_upgrade(field);
}

/// RFC 9112, 6.1: where both lengths stand, chunks count, and nothing behind them is believed any more.
fn one_request_only(field: &Field) {
    let server = field.server;
    let (host, token) = (server.public, server.token(&field.alice));
    for lengths in [
        "Content-Length: 9\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 9",
    ] {
        let request = format!(
            "PUT /v1/rooms/{room}-x HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{lengths}\r\n\r\n\
             0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n",
            room = field.room,
        );
        let answer = crate::http::exchange(host, request.as_bytes());
        let said =
            answer.map_or_else(|error| error.to_string(), |answer| answer.head + &answer.body);
        let is_so = said.contains("connection: close") && !said.contains("alive");
        field.expect(is_so, || format!("{lengths}: {said}"));
    }
}

/// What comes behind an upgrade is frames, and nothing else.
fn behind_an_upgrade(field: &Field) {
    let good = upgrade_request(field.server.public, "").into_bytes();
    let again = [&good[..], &good].concat();
    let (_, client) = knock(field, &again);
    match client {
        // A G has reserved bits and an opcode that is not one.
        Some(mut client) => field.expect_end("a request behind an upgrade", &mut client, 1002),
        None => field.expect(false, || "no upgrade with a request behind it".to_owned()),
    }
    let hello =
        json!({"t": "hello", "id": 1, "token": field.server.token(&field.mallory), "rooms": []});
    let ping = r#"{"t":"ping","id":2}"#;
    let behind = [text(hello.to_string().as_bytes()), text(ping.as_bytes())].concat();
    let (_, client) = knock(field, &[&good[..], &behind].concat());
    match client {
        Some(mut client) => {
            let said = [client.object(), client.object()];
            let is_so =
                said.iter().zip([1, 2]).all(|(said, id)| said["t"] == "ok" && said["id"] == id);
            field.expect(is_so, || format!("frames behind an upgrade: {said:?}"));
        }
        None => field.expect(false, || "no upgrade with frames behind it".to_owned()),
    }
    // Behind one that is refused they are no request.
    let refused = altered(field, "Sec-WebSocket-Key", &[]);
    let both = [refused, text(hello.to_string().as_bytes())].concat();
    let (answer, client) = knock(field, &both);
    field.expect(answer.status == 400 && client.is_none(), || format!("{answer:?}"));
}

fn origins(field: &Field) {
    let host = field.server.public;
    let own = format!("http://{host}");
    let other_port = format!("http://{}:{}", host.ip(), host.port() ^ 1);
    let without_port = format!("http://{}", host.ip());
    let app = "https://app.test";
    let rows: &[(&[&str], u16)] = &[
        (&[], 101),
        (&[&own], 101),
        (&[app], 101),
        (&["https://evil.test"], 403),
        (&["null"], 403),
        (&[""], 403),
        (&["https://app.test.evil.test"], 403),
        (&["https://evilapp.test"], 403),
        (&["https://evil.test/https://app.test"], 403),
        (&["https://app.test/"], 403),
        (&["https://app.test:443"], 403),
        (&["https://app.test:444"], 403),
        (&["http://app.test"], 403),
        (&["app.test"], 403),
        (&["HTTPS://APP.TEST"], 403),
        (&["https://app.test@evil.test"], 403),
        (&["https://app.test https://evil.test"], 403),
        (&["https://app.test,https://evil.test"], 403),
        (&[&other_port], 403),
        (&[&without_port], 403),
        (&[&own, "https://evil.test"], 403),
        (&["https://evil.test", &own], 403),
        (&[app, app], 403),
    ];
    let refused = || field.server.metric("tertulia_upgrades_refused_total");
    let before = refused();
    for (origins, status) in rows {
        let headers: String =
            origins.iter().map(|origin| format!("Origin: {origin}\r\n")).collect();
        let (answer, client) = knock_with(field, &headers);
        expect_status(field, &format!("{origins:?}"), &answer, *status);
        // Before the upgrade: there is no connection on which anything could be said.
        field.expect(client.is_some() == (*status == 101), || format!("{origins:?}: half a door"));
        let told = *status != 403 || answer.json()["code"] == "forbidden";
        field.expect(told, || format!("{origins:?}: {}", answer.body));
    }
    let (refused, foreign) = (refused() - before, rows.iter().filter(|row| row.1 == 403).count());
    field.expect(refused == foreign as u64, || format!("{refused} of {foreign} were refused"));
}
