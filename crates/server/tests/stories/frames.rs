//! Frames: what breaks the rules of WebSocket ends its connection, each with its code, and nothing else.

use tertulia_protocol::frame::{Opcode, put_masked};

use tertulia_proof::client::Client;
use tertulia_proof::server::Server;

use crate::place;

/// A masked frame with that first byte, and a length of the short form.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    bytes.extend_from_slice(payload);
    bytes
}

fn text(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_masked(&mut bytes, Opcode::Text, [9, 8, 7, 6], payload);
    bytes
}

fn close(code: u16) -> Vec<u8> {
    frame(0x88, &code.to_be_bytes())
}

/// Says `bytes` after hello: the connection ends with `code`, and the server goes on.
#[track_caller]
fn check(server: &Server, what: &str, bytes: &[u8], code: u16) {
    let mut client = Client::join(server, "ada", &["garden"]);
    client.put(bytes);
    // Behind its end nothing counts any more.
    client.put(&text(br#"{"t":"send","id":9,"room":"garden","cid":"late","d":{}}"#));
    let ended = client.end();
    assert_eq!(ended.close, Some(code), "{what}");
}

#[test]
fn bad_input_05_broken_frames_end_their_connection_with_the_right_code() {
    let server = place().open();
    server.room("garden", "group", &["ada", "bob"]);
    let mut bystander = Client::join(&server, "bob", &["garden"]);
    let head = server.log("garden").expect("a log").len();

    check(&server, "unmasked", b"\x81\x05Hello", 1002);
    for bits in [0x40, 0x20, 0x10, 0x70] {
        check(&server, "reserved bits", &frame(0x81 | bits, b"{}"), 1002);
    }
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        check(&server, "reserved opcode", &frame(0x80 | opcode, b""), 1002);
    }
    check(&server, "fragmented ping", &frame(0x09, b"x"), 1002);
    check(&server, "long ping", &[0x89, 0xfe, 0, 126, 0, 0, 0, 0], 1002);
    check(&server, "nothing to continue", &frame(0x80, b"x"), 1002);
    check(&server, "two at once", &[frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002);
    check(&server, "2^63 bytes", &[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], 1002);
    check(&server, "length not minimal", &[0x81, 0xfe, 0, 5, 0, 0, 0, 0], 1002);

    check(&server, "half a code", &frame(0x88, b"x"), 1002);
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        check(&server, "bad close code", &close(code), 1002);
    }
    check(&server, "bad reason", &frame(0x88, b"\x03\xe8\xff"), 1007);
    check(&server, "binary", &frame(0x82, b"{}"), 1003);

    for bad in [&b"\xc0\x80"[..], b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"{\"t\":\"ping\"}\xc3"] {
        check(&server, "no UTF-8", &text(bad), 1007);
        let halves = [frame(0x01, &bad[..1]), frame(0x80, &bad[1..])].concat();
        check(&server, "no UTF-8, in fragments", &halves, 1007);
    }

    // The header alone: nothing of what it declares is waited for.
    check(&server, "one byte too long", &[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 1], 1009);
    check(&server, "2^40 bytes", &[0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0], 1009);
    let half = text(&vec![b' '; 40_000]);
    let fragments = [&[0x01], &half[1..], &[0x80], &half[1..]].concat();
    check(&server, "too long in fragments", &fragments, 1009);
    check(&server, "too many fragments", &[frame(0x01, b""), empty(2000)].concat(), 1008);

    check(&server, "a good close", &close(1000), 1000);

    assert_eq!(server.log("garden").expect("a log").len(), head, "nothing was stored");
    let sent = bystander.send("garden", "c1");
    assert_eq!(sent["t"], "ok", "the bystander noticed nothing: {sent}");
}

/// So many empty continuations.
fn empty(count: usize) -> Vec<u8> {
    frame(0x00, b"").repeat(count)
}

#[test]
fn bad_input_05_what_only_looks_broken_is_read() {
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    let mut client = Client::join(&server, "ada", &["garden"]);
    // A code point and a command, cut anywhere.
    let command = r#"{"t":"send","id":7,"room":"garden","cid":"c1","d":{"text":"é"}}"#.as_bytes();
    let cut = command.iter().position(|byte| *byte == 0xc3).expect("the first half") + 1;
    client.put(&frame(0x01, &command[..cut]));
    client.put(&frame(0x89, b"between"));
    client.put(&frame(0x80, &command[cut..]));
    let said = client.find(|said| said["id"] == 7);
    assert_eq!(said["t"], "ok", "{said}");
    // As long as it may be.
    let mut longest = br#"{"t":"ping","id":8}"#.to_vec();
    longest.resize(65_536, b' ');
    client.put(&text(&longest));
    let said = client.find(|said| said["id"] == 8);
    assert_eq!(said["t"], "ok", "{said}");
}

#[test]
fn bad_input_01_three_messages_without_an_object_end_it() {
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    let mut client = Client::join(&server, "ada", &["garden"]);
    for message in ["nonsense", "[1]", r#"{"t":"ping","id":1}"#, "nonsense", "\"\"", "{"] {
        client.say(message);
    }
    let ended = client.end();
    assert_eq!((ended.bye, ended.close), (Some((4000, None)), Some(4000)));
}
