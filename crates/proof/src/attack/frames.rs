//! Frames: what breaks the rules of WebSocket ends its connection, each with its code and nothing else.
//! (A01 to A04, A06 to A09)

use serde_json::json;

use super::wire::{answers, close, cut, declares, frame, text};
use super::{Attack, Field, PLAIN};

/// The rows.
pub const ROWS: &[Attack] = &[
    Attack { id: "A01", title: "an unmasked frame", ground: &PLAIN, run: unmasked },
    Attack { id: "A02", title: "reserved bits and opcodes", ground: &PLAIN, run: reserved },
    Attack { id: "A03", title: "long and cut control frames", ground: &PLAIN, run: control },
    Attack { id: "A04", title: "fragments out of order", ground: &PLAIN, run: out_of_order },
    Attack { id: "A06", title: "lengths not in shortest form", ground: &PLAIN, run: not_minimal },
    Attack { id: "A07", title: "closes that say nothing good", ground: &PLAIN, run: bad_closes },
    Attack { id: "A08", title: "what comes behind a close", ground: &PLAIN, run: behind_a_close },
    Attack { id: "A09", title: "text that is not UTF-8", ground: &PLAIN, run: not_utf8 },
];

/// RFC 6455, 5.1: a server closes on a frame that is not masked. Its payload is not even looked at.
fn unmasked(field: &Field) {
    field.ends("an unmasked frame", b"\x81\x05Hello", 1002);
    let late = field.late();
    let payload = &late[6..];
    let plain = [&[0x81, payload.len() as u8], payload].concat();
    field.ends("an unmasked command", &plain, 1002);
    field.ends("an unmasked ping", b"\x89\x00", 1002);
    let mut stranger = field.stranger();
    stranger.put(b"\x81\x05Hello");
    field.expect_end("an unmasked frame before hello", &mut stranger, 1002);
}

/// No extension was agreed on, so nothing gives them a meaning.
fn reserved(field: &Field) {
    for bits in (0x10..=0x70).step_by(0x10) {
        for first in [0x81, 0x01, 0x80, 0x82, 0x88, 0x89, 0x8a] {
            let what = format!("reserved bits {bits:#x} on {first:#x}");
            field.ends(&what, &frame(first | bits, b"{}"), 1002);
        }
    }
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        for (fin, payload) in [(0x80, &b""[..]), (0x80, b"{}"), (0, b""), (0, b"{}")] {
            let what = format!("opcode {opcode:#x} with {fin:#x} and {payload:?}");
            field.ends(&what, &frame(fin | opcode, payload), 1002);
        }
    }
}

/// RFC 6455, 5.5: a control frame is whole and has at most 125 bytes.
fn control(field: &Field) {
    for opcode in [0x8, 0x9, 0xa] {
        let what = |kind: &str| format!("{kind} with opcode {opcode:#x}");
        // A code that would be good, were it not so long.
        let mut long = 1000_u16.to_be_bytes().to_vec();
        long.resize(126, b'x');
        field.ends(&what("126 bytes"), &frame(0x80 | opcode, &long), 1002);
        field.ends(&what("a fragment"), &frame(opcode, &long[..2]), 1002);
        field.ends(&what("an empty fragment"), &frame(opcode, b""), 1002);
        let inside = [frame(0x01, b"{"), frame(opcode, b"")].concat();
        field.ends(&what("a fragment inside a message"), &inside, 1002);
    }
}

fn out_of_order(field: &Field) {
    let begun = frame(0x01, b"{");
    for (first, what) in [(0x80, "the last"), (0x00, "one")] {
        field.ends(&format!("{what} of no message"), &frame(first, b"x"), 1002);
        let whole = text(br#"{"t":"ping"}"#);
        let behind = [whole, frame(first, b"x")].concat();
        field.ends(&format!("{what} behind a whole message"), &behind, 1002);
    }
    for (first, what) in [(0x81, "a text"), (0x01, "half a text"), (0x82, "bytes"), (0x02, "some")]
    {
        let inside = [begun.clone(), frame(first, b"{}")].concat();
        field.ends(&format!("{what} inside another text"), &inside, 1002);
    }
    let late = field.late();
    field.ends("a command inside a message", &[begun, late].concat(), 1002);
    // What may stand there is a control frame, and it is answered at once.
    let mut client = field.mallory();
    let command = json!({"t": "send", "id": 7, "room": field.room, "cid": "cut", "d": {}});
    let command = command.to_string().into_bytes();
    let (half, rest) = command.split_at(command.len() / 2);
    client.put(&frame(0x01, half));
    field.expect(answers(&mut client), || "a ping between fragments has no pong".to_owned());
    client.put(&frame(0x80, rest));
    let said = client.find(|said| said["id"] == 7);
    field.expect(said["t"] == "ok", || format!("a command around a ping: {said}"));
    field.stores(1);
}

/// RFC 6455, 5.2: "the minimal number of bytes MUST be used". It could be forgiven; here it is not, so that no
/// two readers of the same bytes can disagree.
fn not_minimal(field: &Field) {
    let mask = [0; 4];
    for length in [0_u16, 5, 125] {
        let payload = vec![b' '; usize::from(length)];
        let short = [&declares(&length.to_be_bytes()), &mask[..], &payload].concat();
        field.ends(&format!("{length} bytes, said in two"), &short, 1002);
    }
    for length in [5_u64, 125, 126, 65_535] {
        let payload = vec![b' '; length as usize];
        let long = [&declares(&length.to_be_bytes()), &mask[..], &payload].concat();
        field.ends(&format!("{length} bytes, said in eight"), &long, 1002);
    }
}

/// RFC 6455, 7.4: which codes may stand in a frame, and what they may say.
fn bad_closes(field: &Field) {
    field.ends("half a code", &frame(0x88, b"\x03"), 1002);
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        field.ends(&format!("close {code}"), &close(code), 1002);
    }
    for reason in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"good\xc3"] {
        let said = [&1000_u16.to_be_bytes(), reason].concat();
        field.ends(&format!("a close for {reason:?}"), &frame(0x88, &said), 1007);
    }
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999] {
        field.ends(&format!("a good close {code}"), &close(code), 1000);
    }
    field.ends("a close without a code", &frame(0x88, b""), 1000);
    let mut longest = 1000_u16.to_be_bytes().to_vec();
    longest.extend("é".repeat(61).into_bytes());
    field.ends("a close with a good reason", &frame(0x88, &longest), 1000);
}

/// RFC 6455, 5.5.1: nothing counts behind a close. `ends` has a command right behind everything.
fn behind_a_close(field: &Field) {
    field.ends("a command behind a close", &close(1000), 1000);
    let late = field.late();
    field.ends("two commands behind a close", &[close(1000), late.clone()].concat(), 1000);
    field.ends("two closes", &[close(1000), close(4000)].concat(), 1000);
    field.ends("a broken frame behind a close", &[close(1000), frame(0xc1, b"x")].concat(), 1000);
    // The halves of a command, and a close between them.
    let command = json!({"t": "send", "id": 8, "room": field.room, "cid": "cut", "d": {}});
    let command = command.to_string().into_bytes();
    let (half, rest) = command.split_at(command.len() / 2);
    let around = [frame(0x01, half), close(1000), frame(0x80, rest)].concat();
    field.ends("a close between the halves of a command", &around, 1000);
}

/// Bytes that are no UTF-8: overlong, half of a pair, beyond the last code point, cut.
const NOT_UTF8: &[&[u8]] = &[
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xff",
    b"\x80",
    b"{\"t\":\"ping\"}\xc3",
    b"{\"t\":\"ping\"}\xe2\x82",
    b"{\"t\":\"ping\"}\xf0\x9f\x98",
];

fn not_utf8(field: &Field) {
    for bad in NOT_UTF8 {
        field.ends(&format!("{bad:x?}"), &text(bad), 1007);
        for place in 1..bad.len() {
            let what = format!("{bad:x?} cut at {place}");
            field.ends(&what, &cut(bad, &[place]), 1007);
        }
    }
    // Known before the message is over, and told then: what could still come is not waited for.
    for bad in NOT_UTF8.iter().take(5) {
        let mut client = field.mallory();
        client.put(&frame(0x01, bad));
        field.expect_end(&format!("{bad:x?} at the start"), &mut client, 1007);
    }
    // Good text stays good wherever it is cut, and so does the command that it is.
    let mut client = field.mallory();
    let mut stored = 0;
    let mut send = |how: &str, places: &dyn Fn(&[u8]) -> Vec<usize>| {
        stored += 1;
        let d = json!({"text": "é€😀"});
        let send = json!({"t": "send", "id": stored, "room": field.room, "cid": how, "d": d});
        let send = send.to_string().into_bytes();
        client.put(&cut(&send, &places(&send)));
        let said = client.find(|said| said["id"] == stored);
        field.expect(said["t"] == "ok", || format!("{how}: {said}"));
    };
    let first = |send: &[u8]| send.iter().position(|byte| !byte.is_ascii()).expect("an é");
    for place in 1..9 {
        send(&format!("cut-at-{place}"), &|send| vec![first(send) + place]);
    }
    send("byte-by-byte", &|send| (1..send.len()).collect());
    field.stores(stored);
}
