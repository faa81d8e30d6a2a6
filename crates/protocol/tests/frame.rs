//! WebSocket frames as a peer may send them: what is heard, what is refused, and what it costs to hold.
//!
//! Frames are built here byte by byte and not with the project's own encoder, so that the two cannot agree on a
//! mistake. Each `check` hears the same bytes whole and in pieces of every small size: the answer must be one.

use proptest::prelude::*;
use tertulia_protocol::frame::{
    CONTROL_BYTES_MAX, Decoder, FRAGMENTS_MAX, Input, Message, Opcode, Side, Violation,
    header_bytes, put_close, put_control, put_header, put_masked, put_text,
};

/// Longer than any message that is meant to be heard here.
const ROOMY: usize = 1 << 20;

/// What the box for a half received message may take besides its bytes.
const BOX_BYTES_MAX: usize = 128;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

// First bytes: FIN and opcode.
const TEXT: u8 = 0x81;
const TEXT_BEGINS: u8 = 0x01;
const BINARY: u8 = 0x82;
const BINARY_BEGINS: u8 = 0x02;
const MORE: u8 = 0x00;
const LAST: u8 = 0x80;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

/// Bytes from hexadecimal digits; blanks are free.
fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        digits.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Start of a client's frame, with the length in its shortest form.
fn head(first: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![first];
    match len {
        0..=125 => frame.push(0x80 | len as u8),
        126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame
}

/// A client's frame.
fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = head(first, payload.len());
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A client's close.
fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

/// What came of some bytes: messages that outlive their input, and what ended the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Refused(Violation),
}

impl From<Message<'_>> for Heard {
    fn from(message: Message<'_>) -> Heard {
        match message {
            Message::Text(text) => Heard::Text(text.to_owned()),
            Message::Binary(bytes) => Heard::Binary(bytes.to_vec()),
            Message::Ping(payload) => Heard::Ping(payload.to_vec()),
            Message::Pong(payload) => Heard::Pong(payload.to_vec()),
            Message::Close { code, reason } => Heard::Close(code, reason.to_owned()),
        }
    }
}

/// In a word or two, for tables: `text Hello`, `binary 3`, `close 1000 bye`, `refused 1002`.
fn word(heard: &Heard) -> String {
    let line = match heard {
        Heard::Text(text) if text.len() > 40 => format!("text of {}", text.len()),
        Heard::Text(text) => format!("text {text}"),
        Heard::Binary(bytes) => format!("binary {}", bytes.len()),
        Heard::Ping(payload) => format!("ping {}", payload.len()),
        Heard::Pong(payload) => format!("pong {}", payload.len()),
        Heard::Close(None, _) => "close".to_owned(),
        Heard::Close(Some(code), reason) => format!("close {code} {reason}"),
        Heard::Refused(violation) => format!("refused {}", violation.close_code()),
    };
    line.trim_end().to_owned()
}

/// Hears one piece after the other; a piece is an input of its own.
fn hear<'p>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    limit: usize,
) -> Vec<Heard> {
    let mut heard = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut input = Input::new(&mut piece);
        loop {
            match decoder.next(&mut input, limit) {
                Ok(Some(message)) => heard.push(Heard::from(message)),
                Ok(None) => break,
                Err(violation) => heard.push(Heard::Refused(violation)),
            }
        }
        assert!(input.is_empty(), "None comes only when the input is used up");
    }
    heard
}

/// What comes of `bytes`, the same however they are cut, and nothing is held where nothing is half received.
fn hear_any_way(side: Side, bytes: &[u8], limit: usize) -> Vec<Heard> {
    let whole = hear(&mut Decoder::new(side), [bytes], limit);
    for size in [1, 2, 3, 5, 7, 8, 13, 64, 1000] {
        let mut decoder = Decoder::new(side);
        let pieces = hear(&mut decoder, bytes.chunks(size), limit);
        assert_eq!(pieces, whole, "in pieces of {size}");
        if let Some(Heard::Close(..) | Heard::Refused(_)) = whole.last() {
            assert_eq!(decoder.held_bytes(), 0, "what is over holds nothing");
        }
    }
    whole
}

/// Checks what `side` hears, told in words with commas between.
#[track_caller]
fn check_side(side: Side, bytes: &[u8], limit: usize, expected: &str) {
    let heard: Vec<String> = hear_any_way(side, bytes, limit).iter().map(word).collect();
    assert_eq!(heard.join(", "), expected);
}

/// Checks what a server hears of a client's frames.
#[track_caller]
fn check(frames: &[Vec<u8>], expected: &str) {
    check_side(Side::Server, &frames.concat(), ROOMY, expected);
}

// The examples of RFC 6455 §5.7.

#[test]
fn the_examples_of_the_rfc_are_heard() {
    let client = |digits: &str, expected: &str| {
        check_side(Side::Client, &hex(digits), ROOMY, expected);
    };
    client("81 05 48 65 6c 6c 6f", "text Hello");
    client("01 03 48 65 6c  80 02 6c 6f", "text Hello");
    client("89 05 48 65 6c 6c 6f", "ping 5");
    client("82 7e 0100", "");
    client(&format!("82 7e 0100 {}", "00".repeat(256)), "binary 256");
    client(&format!("82 7f 0000000000010000 {}", "00".repeat(65_536)), "binary 65536");

    check(&[hex("81 85 37 fa 21 3d 7f 9f 4d 51 58")], "text Hello");
    check(&[hex("8a 85 37 fa 21 3d 7f 9f 4d 51 58")], "pong 5");
}

#[test]
fn the_examples_of_the_rfc_are_written() {
    let mut out = Vec::new();
    put_text(&mut out, b"Hello");
    assert_eq!(out, hex("81 05 48 65 6c 6c 6f"));

    out.clear();
    put_control(&mut out, Opcode::Ping, b"Hello");
    assert_eq!(out, hex("89 05 48 65 6c 6c 6f"));

    out.clear();
    put_masked(&mut out, Opcode::Text, MASK, b"Hello");
    assert_eq!(out, hex("81 85 37 fa 21 3d 7f 9f 4d 51 58"));

    out.clear();
    put_masked(&mut out, Opcode::Pong, MASK, b"Hello");
    assert_eq!(out, hex("8a 85 37 fa 21 3d 7f 9f 4d 51 58"));

    out.clear();
    put_header(&mut out, Opcode::Binary, 256);
    assert_eq!(out, hex("82 7e 0100"));

    out.clear();
    put_header(&mut out, Opcode::Binary, 65_536);
    assert_eq!(out, hex("82 7f 0000000000010000"));

    out.clear();
    put_close(&mut out, 1000, "bye");
    assert_eq!(out, hex("88 05 03e8 627965"));
}

// What a client must not send.

#[test]
fn bad_input_05_message_too_long_closes_1009_on_its_header() {
    let check = |bytes: &[u8], expected: &str| check_side(Side::Server, bytes, 1000, expected);
    check(&frame(TEXT, "x".repeat(1000)), "text of 1000");
    check(&frame(BINARY, [0; 1000]), "binary 1000");
    // Only so much of the header as tells the length: neither mask nor payload has come.
    check(&head(TEXT, 1001), "refused 1009");
    check(&head(BINARY, 65_537), "refused 1009");
    check(&head(TEXT, 1 << 40), "refused 1009");
    check(&head(TEXT_BEGINS, (1 << 63) - 1), "refused 1009");
}

#[test]
fn bad_input_05_fragments_too_long_close_1009_on_the_header_that_crosses() {
    let check = |frames: &[Vec<u8>], expected: &str| {
        check_side(Side::Server, &frames.concat(), 2500, expected);
    };
    let begins = frame(TEXT_BEGINS, "x".repeat(1024));
    let more = frame(MORE, "x".repeat(1024));
    check(&[begins.clone(), more.clone(), frame(LAST, "x".repeat(452))], "text of 2500");
    check(&[begins.clone(), more.clone(), head(LAST, 453)], "refused 1009");
    check(&[begins.clone(), more.clone(), head(MORE, 453)], "refused 1009");
    check(&[begins.clone(), more.clone(), head(MORE, 1 << 62)], "refused 1009");
    // A control frame is no part of the message, so it does not count.
    let full = frame(MORE, "x".repeat(452));
    check(&[begins, more, full, frame(PING, [0; 125]), frame(LAST, "")], "ping 125, text of 2500");
}

#[test]
fn bad_input_05_bad_utf8_closes_1007() {
    for wrong in [
        "c080",             // NUL in two bytes
        "c1bf",             // 7F in two bytes
        "e08080",           // too long a form
        "eda080",           // half of a surrogate pair
        "edbfbf",           // the other half
        "f4908080",         // past 10FFFF
        "f5808080",         // no such start
        "ff",               // no such byte
        "80",               // follows nothing
        "e282",             // cut at the end
        "f09f98",           // cut at the end
        "cebae1bdb9 cf c3", // two starts in a row
    ] {
        let wrong = hex(wrong);
        check(&[frame(TEXT, &wrong)], "refused 1007");
        check(&[frame(TEXT, [b"fine, then ", &wrong[..]].concat())], "refused 1007");
        check(&[frame(TEXT_BEGINS, "fine, "), frame(LAST, &wrong)], "refused 1007");
        for cut in 0..=wrong.len() {
            let (first, second) = wrong.split_at(cut);
            check(&[frame(TEXT_BEGINS, first), frame(LAST, second)], "refused 1007");
        }
        check(&[frame(BINARY, &wrong)], &format!("binary {}", wrong.len()));
    }
}

#[test]
fn bad_input_05_unmasked_frame_closes_1002() {
    check(&[hex("81 05 48 65 6c 6c 6f")], "refused 1002");
    check(&[frame(TEXT, "one"), hex("81 00")], "text one, refused 1002");
    check(&[frame(TEXT_BEGINS, "one"), hex("89 00")], "refused 1002");
    // And the other way round: a server must not mask.
    check_side(Side::Client, &frame(TEXT, "Hello"), ROOMY, "refused 1002");
}

#[test]
fn bad_input_05_reserved_bits_and_opcodes_close_1002() {
    for bits in [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70] {
        for first in [TEXT, BINARY, PING, PONG, CLOSE, TEXT_BEGINS] {
            check(&[frame(first | bits, "hi")], "refused 1002");
        }
        check(&[frame(TEXT_BEGINS, "hi"), frame(LAST | bits, "hi")], "refused 1002");
    }
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        check(&[frame(0x80 | opcode, "hi")], "refused 1002");
        check(&[frame(opcode, "")], "refused 1002");
        check(
            &[frame(TEXT, "one"), frame(PING, ""), frame(0x80 | opcode, "")],
            "text one, ping 0, refused 1002",
        );
    }
    // One byte tells.
    check(&[vec![TEXT | 0x40]], "refused 1002");
    check(&[vec![0x83]], "refused 1002");
}

#[test]
fn bad_input_05_bad_close_code_closes_1002() {
    let bad = (0..1000).chain(1004..=1006).chain(1015..3000).chain(5000..=65_535);
    let good: Vec<u16> = (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
    let mut seen = good.len();
    for code in bad {
        let mut decoder = Decoder::new(Side::Server);
        let heard = hear(&mut decoder, [&close(code, "")[..]], ROOMY);
        assert_eq!(heard, [Heard::Refused(Violation::BadCloseCode { code })]);
        seen += 1;
    }
    for code in good {
        check(&[close(code, "bye")], &format!("close {code} bye"));
    }
    assert_eq!(seen, 65_536, "no code is left out");
}

#[test]
fn bad_input_05_binary_closes_1003() {
    // Binary is heard; one who speaks only text has the word to refuse it with.
    check(&[frame(BINARY, [1, 2, 3])], "binary 3");
    let refusal = Violation::Binary { bytes: 3 };
    assert_eq!(refusal.close_code(), 1003);
    assert_eq!(refusal.to_string(), "binary message of 3 bytes, only text is spoken here");
}

// Lengths.

#[test]
fn a_message_of_any_length_is_heard_and_written() {
    for len in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 70_000] {
        let text = "*".repeat(len);
        let expected = [Heard::Text(text.clone())];
        assert_eq!(hear_any_way(Side::Server, &frame(TEXT, &text), len), expected);

        let mut plain = Vec::new();
        put_text(&mut plain, text.as_bytes());
        assert_eq!(plain.len(), header_bytes(len) + len);
        assert_eq!(hear_any_way(Side::Client, &plain, len), expected);

        let mut masked = Vec::new();
        put_masked(&mut masked, Opcode::Text, MASK, text.as_bytes());
        assert_eq!(masked, frame(TEXT, &text));

        let bytes = vec![0xFE; len];
        let expected = [Heard::Binary(bytes.clone())];
        assert_eq!(hear_any_way(Side::Server, &frame(BINARY, bytes), len), expected);
    }
}

#[test]
fn a_length_that_is_not_in_its_shortest_form_closes_1002() {
    check(&[hex("81 fe 0005")], "refused 1002");
    check(&[hex("81 fe 007d")], "refused 1002");
    check(&[hex("81 fe 0000")], "refused 1002");
    check(&[hex("82 ff 0000000000000005")], "refused 1002");
    check(&[hex("82 ff 000000000000ffff")], "refused 1002");
}

#[test]
fn a_length_with_its_highest_bit_set_closes_1002() {
    for limit in [0, 1000, usize::MAX] {
        check_side(Side::Server, &hex("81 ff 8000000000000000"), limit, "refused 1002");
        check_side(Side::Server, &hex("81 ff ffffffffffffffff"), limit, "refused 1002");
    }
}

// Control frames.

#[test]
fn control_frames_are_short_and_whole() {
    for first in [PING, PONG] {
        let name = if first == PING { "ping" } else { "pong" };
        check(&[frame(first, "")], &format!("{name} 0"));
        check(&[frame(first, hex("00 ff fe fd fc fb 00 ff"))], &format!("{name} 8"));
        check(&[frame(first, [0xFE; 125])], &format!("{name} 125"));
    }
    for first in [PING, PONG, CLOSE] {
        check(&[frame(first, [0xFE; 126])], "refused 1002");
        check(&[head(first, 126)[..2].to_vec()], "refused 1002");
        check(&[head(first, 65_536)], "refused 1002");
        // Without FIN, alone and between fragments.
        check(&[frame(first & 0x7f, "")], "refused 1002");
        check(&[frame(TEXT_BEGINS, "one"), frame(first & 0x7f, "")], "refused 1002");
    }
    check(&vec![frame(PING, "x"); 10], &["ping 1"; 10].join(", "));
}

#[test]
fn a_close_tells_its_code_and_reason() {
    check(&[frame(CLOSE, "")], "close");
    check(&[frame(CLOSE, [0x03])], "refused 1002");
    check(&[close(1000, "")], "close 1000");
    check(&[close(1000, "Hello World!")], "close 1000 Hello World!");
    check(&[close(4999, "*".repeat(123))], &format!("close 4999 {}", "*".repeat(123)));
    check(&[close(1000, "*".repeat(124))], "refused 1002");
    check(&[close(1000, hex("cebae1bdb9cf83cebcceb5eda080656469746564"))], "refused 1007");
    check(&[close(1000, hex("e282"))], "refused 1007");
    // The code is looked at before the reason.
    check(&[close(999, hex("ff"))], "refused 1002");
}

#[test]
fn nothing_is_heard_after_a_close() {
    let late = frame(TEXT, "too late");
    check(&[close(1000, ""), late.clone()], "close 1000");
    check(&[close(1000, ""), close(1001, "")], "close 1000");
    check(&[close(1000, ""), frame(PING, "")], "close 1000");
    check(&[close(1000, ""), hex("ff ff ff")], "close 1000");
    check(&[frame(TEXT_BEGINS, "frag"), close(1000, ""), frame(LAST, "ment")], "close 1000");
    check(&[frame(TEXT, "in time"), close(1000, ""), late.clone()], "text in time, close 1000");
    // A violation is an end as well, a bad close among them.
    check(&[close(999, ""), late.clone()], "refused 1002");
    check(&[frame(TEXT, [0xFF]), late.clone()], "refused 1007");
    check(&[hex("81 00"), late], "refused 1002");
}

// Fragments.

#[test]
fn fragments_make_one_message() {
    check(&[frame(TEXT_BEGINS, "frag"), frame(LAST, "ment")], "text fragment");
    check(&[frame(TEXT_BEGINS, ""), frame(MORE, ""), frame(LAST, "")], "text");
    check(&[frame(TEXT_BEGINS, ""), frame(MORE, "middle"), frame(LAST, "")], "text middle");
    check(&[frame(BINARY_BEGINS, [1, 2]), frame(MORE, [3]), frame(LAST, [0xFF])], "binary 4");
    check(
        &[
            frame(TEXT_BEGINS, "one "),
            frame(LAST, "message"),
            frame(TEXT_BEGINS, "and "),
            frame(LAST, "another"),
            frame(TEXT, "and a whole one"),
        ],
        "text one message, text and another, text and a whole one",
    );
}

#[test]
fn control_frames_are_heard_between_fragments() {
    check(
        &[
            frame(TEXT_BEGINS, "1"),
            frame(PING, "pongme"),
            frame(MORE, "2"),
            frame(PONG, ""),
            frame(PING, [7; 125]),
            frame(MORE, ""),
            frame(LAST, "3"),
            frame(PING, ""),
        ],
        "ping 6, pong 0, ping 125, text 123, ping 0",
    );
    // A code point may be cut by a fragment and a ping stand in the cut.
    check(
        &[frame(TEXT_BEGINS, hex("f09f")), frame(PING, [0xFF]), frame(LAST, hex("9880"))],
        "ping 1, text 😀",
    );
}

#[test]
fn fragments_out_of_order_close_1002() {
    check(&[frame(MORE, "hi")], "refused 1002");
    check(&[frame(LAST, "hi")], "refused 1002");
    check(&[frame(LAST, "")], "refused 1002");
    check(&[frame(TEXT, "whole"), frame(LAST, "hi")], "text whole, refused 1002");
    check(&[frame(TEXT_BEGINS, "1"), frame(LAST, "2"), frame(MORE, "3")], "text 12, refused 1002");
    for again in [TEXT, TEXT_BEGINS, BINARY, BINARY_BEGINS] {
        check(&[frame(TEXT_BEGINS, "one"), frame(again, "two")], "refused 1002");
        check(
            &[frame(BINARY_BEGINS, "one"), frame(PING, ""), frame(again, "")],
            "ping 0, refused 1002",
        );
    }
}

#[test]
fn a_message_may_come_in_1024_fragments_and_no_more_closes_1008() {
    let most = usize::from(FRAGMENTS_MAX);
    for payload in ["", "x"] {
        let mut frames = vec![frame(TEXT_BEGINS, payload)];
        frames.resize(most - 1, frame(MORE, payload));
        let mut enough = frames.clone();
        enough.push(frame(LAST, payload));
        let heard = hear_any_way(Side::Server, &enough.concat(), ROOMY);
        assert_eq!(heard, [Heard::Text(payload.repeat(most))]);

        frames.push(frame(MORE, payload));
        for one_more in [MORE, LAST] {
            let mut frames = frames.clone();
            frames.push(frame(one_more, payload));
            check(&frames, "refused 1008");
        }
        // Pings are no fragments.
        frames.resize(most + 3, frame(PING, ""));
        check(&frames, "ping 0, ping 0, ping 0");
    }
}

// Text.

#[test]
fn text_in_many_scripts_may_be_cut_anywhere() {
    let text = "κόσμε, 你好, こんにちは, 😀, \u{10FFFF}\u{FFFE}\u{E000}\u{D7FF}\0 and plain";
    for cut in 0..=text.len() {
        let (first, second) = text.as_bytes().split_at(cut);
        let bytes = [frame(TEXT_BEGINS, first), frame(LAST, second)].concat();
        let heard = hear(&mut Decoder::new(Side::Server), [&bytes[..]], ROOMY);
        assert_eq!(heard, [Heard::Text(text.to_owned())], "cut at {cut}");
    }
    let one_by_one: Vec<u8> = std::iter::once(frame(TEXT_BEGINS, ""))
        .chain(text.bytes().map(|byte| frame(MORE, [byte])))
        .chain([frame(LAST, "")])
        .flatten()
        .collect();
    assert_eq!(hear_any_way(Side::Server, &one_by_one, ROOMY), [Heard::Text(text.to_owned())]);
}

#[test]
fn bad_utf8_is_refused_while_its_frame_is_half_there() {
    let check = |start: &str, heard_at: usize| {
        let mut bytes = head(TEXT, 1000);
        bytes.extend([0; 4]); // a mask of zeros leaves the payload readable below
        let header = bytes.len();
        bytes.extend(hex(start));
        let mut decoder = Decoder::new(Side::Server);
        for (at, byte) in bytes.iter().enumerate() {
            let heard = hear(&mut decoder, [&[*byte][..]], ROOMY);
            if !heard.is_empty() {
                assert_eq!(heard, [Heard::Refused(Violation::NotUtf8 { opcode: Opcode::Text })]);
                assert_eq!(at - header, heard_at, "{start}");
                return;
            }
        }
        panic!("{start} was not refused");
    };
    check("ff", 0);
    check("6869 c0 80", 2);
    check("ed a0 80", 1);
    check("f4 90 80 80", 1);
    check("e2 82 41", 2);
    check("f0 9f 98 f0", 3);
}

#[test]
fn bad_utf8_is_refused_before_its_last_fragment() {
    check(&[frame(TEXT_BEGINS, hex("ceba f4 90"))], "refused 1007");
    check(&[frame(TEXT_BEGINS, hex("f4")), frame(MORE, hex("90"))], "refused 1007");
    check(&[frame(TEXT_BEGINS, hex("f4")), frame(MORE, ""), frame(MORE, hex("8f bf"))], "");
}

// What it costs.

#[test]
fn a_decoder_is_small_and_holds_nothing_between_messages() {
    assert_eq!(size_of::<Decoder>(), 16);
    let mut decoder = Decoder::new(Side::Server);
    assert_eq!(decoder.held_bytes(), 0);

    let bytes = frame(TEXT, "half and half");
    let (first, second) = bytes.split_at(10);
    assert_eq!(hear(&mut decoder, [first], ROOMY), []);
    assert_ne!(decoder.held_bytes(), 0);
    assert_eq!(hear(&mut decoder, [second], ROOMY), [Heard::Text("half and half".to_owned())]);
    assert_eq!(decoder.held_bytes(), 0);

    // A header alone in one read, its payload in the next.
    hear(&mut decoder, [&bytes[..3]], ROOMY);
    assert_ne!(decoder.held_bytes(), 0);
    hear(&mut decoder, [&bytes[3..]], ROOMY);
    assert_eq!(decoder.held_bytes(), 0);

    // A ping that came in two halves, alone: nothing stays of it.
    let ping = frame(PING, "are you there");
    hear(&mut decoder, [&ping[..9], &ping[9..]], ROOMY);
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn a_frame_that_lies_whole_in_the_input_is_not_copied() {
    let mut bytes = [frame(TEXT, "one"), frame(PING, "two"), frame(BINARY, "three")].concat();
    let places = bytes.as_ptr_range();
    let mut input = Input::new(&mut bytes);
    let mut decoder = Decoder::new(Side::Server);
    for _ in 0..3 {
        let payload = match decoder.next(&mut input, ROOMY) {
            Ok(Some(Message::Text(text))) => text.as_bytes(),
            Ok(Some(Message::Ping(payload) | Message::Binary(payload))) => payload,
            other => panic!("{other:?}"),
        };
        assert!(places.contains(&payload.as_ptr()));
        assert_eq!(decoder.held_bytes(), 0);
    }
    assert_eq!(input.rest(), b"");

    // A ping between fragments as well, though a message is half there.
    let mut bytes = [frame(TEXT_BEGINS, "half"), frame(PING, "two")].concat();
    let places = bytes.as_ptr_range();
    let mut input = Input::new(&mut bytes);
    let Ok(Some(Message::Ping(payload))) = decoder.next(&mut input, ROOMY) else {
        panic!("no ping");
    };
    assert!(places.contains(&payload.as_ptr()));
}

#[test]
fn a_hostile_header_makes_nothing_grow() {
    for hostile in [
        head(TEXT, 1 << 40),
        head(TEXT, 65_537),
        head(BINARY_BEGINS, (1 << 63) - 1),
        hex("81 ff 8000000000000000"),
        hex("89 fe ffff"),
        hex("81 7f 0000010000000000"),
    ] {
        let mut decoder = Decoder::new(Side::Server);
        for byte in &hostile {
            hear(&mut decoder, [&[*byte][..]], 65_536);
            assert!(decoder.held_bytes() <= BOX_BYTES_MAX, "{} bytes", decoder.held_bytes());
        }
        assert_eq!(decoder.held_bytes(), 0, "it was refused, so nothing is held: {hostile:x?}");
    }
}

#[test]
fn memory_grows_by_what_has_arrived_and_not_by_what_is_declared() {
    let mut bytes = head(TEXT, 60_000);
    bytes.extend(MASK);
    let mut decoder = Decoder::new(Side::Server);
    hear(&mut decoder, [&bytes[..]], 65_536);
    assert!(decoder.held_bytes() <= BOX_BYTES_MAX);
    let mut arrived = 0;
    while arrived + 10 < 60_000 {
        // Under the mask this is text: each byte of the mask itself is a NUL.
        let piece: Vec<u8> = MASK.into_iter().cycle().skip(arrived % 4).take(10).collect();
        assert_eq!(hear(&mut decoder, [&piece[..]], 65_536), []);
        arrived += 10;
        assert!(decoder.held_bytes() <= BOX_BYTES_MAX + 2 * arrived);
        assert!(
            decoder.held_bytes() <= BOX_BYTES_MAX + 60_000,
            "never past the end of the message"
        );
    }
}

#[test]
fn fragments_never_hold_more_than_the_limit() {
    let mut decoder = Decoder::new(Side::Server);
    hear(&mut decoder, [&frame(BINARY_BEGINS, [0; 400])[..]], 1000);
    for _ in 0..6 {
        hear(&mut decoder, [&frame(MORE, [0; 100])[..]], 1000);
        assert!(decoder.held_bytes() <= BOX_BYTES_MAX + 1000);
    }
    let ping = frame(PING, [0; CONTROL_BYTES_MAX]);
    hear(&mut decoder, [&ping[..100]], 1000);
    assert!(decoder.held_bytes() <= BOX_BYTES_MAX + 1000 + CONTROL_BYTES_MAX);
}

#[test]
fn what_was_held_goes_with_the_violation() {
    let mut decoder = Decoder::new(Side::Server);
    hear(&mut decoder, [&frame(TEXT_BEGINS, "half a message")[..]], ROOMY);
    assert_ne!(decoder.held_bytes(), 0);
    let mut wrong = hex("ff");
    assert!(decoder.next(&mut Input::new(&mut wrong), ROOMY).is_err());
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn a_message_that_trickles_in_costs_its_length() {
    // In one piece of one byte and then pieces of two, so that each but the last ends inside a character: a
    // check that began anew with each piece would look at a terabyte, minutes instead of a second.
    let text = "é".repeat(1 << 20);
    let mut start = head(TEXT, text.len());
    start.extend([0; 4]); // a mask of zeros, so that text may stand as it is
    let (first, rest) = text.as_bytes().split_at(1);

    let mut decoder = Decoder::new(Side::Server);
    let mut moves = 0;
    let mut held = 0;
    let mut heard = Vec::new();
    for piece in [&start[..], first].into_iter().chain(rest.chunks(2)) {
        heard.extend(hear(&mut decoder, [piece], text.len()));
        moves += usize::from(decoder.held_bytes() != held);
        held = decoder.held_bytes();
    }
    assert!(heard == [Heard::Text(text)]);
    assert!(
        moves <= 32,
        "what had arrived was moved {moves} times, doubling moves it about 20 times"
    );
}

#[test]
fn a_flood_of_empty_fragments_ends_after_1024() {
    let mut decoder = Decoder::new(Side::Server);
    let mut heard = hear(&mut decoder, [&frame(TEXT_BEGINS, "")[..]], ROOMY);
    let empty = frame(MORE, "");
    for _ in 0..1_000_000 {
        if !heard.is_empty() {
            break;
        }
        heard = hear(&mut decoder, [&empty[..]], ROOMY);
        assert!(decoder.held_bytes() <= BOX_BYTES_MAX);
    }
    assert_eq!(heard, [Heard::Refused(Violation::TooManyFragments)]);
}

// Writing.

#[test]
fn a_header_is_as_long_as_it_says() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 32] {
        let mut out = Vec::new();
        put_header(&mut out, Opcode::Text, len);
        assert_eq!(out.len(), header_bytes(len), "for {len}");
    }
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    for (reason, kept) in [
        ("x".repeat(123), 123),
        ("x".repeat(124), 123),
        ("é".repeat(62), 122),
        ("😀".repeat(31), 120),
        (String::new(), 0),
    ] {
        let mut out = Vec::new();
        put_close(&mut out, 4300, &reason);
        assert_eq!(out.len(), 2 + 2 + kept);
        let heard = hear_any_way(Side::Client, &out, ROOMY);
        assert_eq!(heard, [Heard::Close(Some(4300), reason[..kept].to_owned())]);
    }
}

#[test]
fn a_pong_carries_what_the_ping_did_and_never_more_than_a_control_frame_may() {
    for len in [0, 1, 125, 126, 300] {
        let mut out = Vec::new();
        put_control(&mut out, Opcode::Pong, &vec![7; len]);
        let kept = len.min(CONTROL_BYTES_MAX);
        assert_eq!(hear_any_way(Side::Client, &out, ROOMY), [Heard::Pong(vec![7; kept])]);
    }
}

#[test]
fn a_violation_says_the_value_and_the_limit() {
    let check = |bytes: &[u8], expected: &str| match &hear_any_way(Side::Server, bytes, 16_384)[..]
    {
        [Heard::Refused(violation)] => assert_eq!(violation.to_string(), expected),
        other => panic!("{other:?}"),
    };
    check(&frame(0xC1, ""), "reserved bits 100 are set, no extension was agreed on");
    check(&frame(0x83, ""), "opcode 0x3 is reserved");
    check(&hex("81 00"), "frame is not masked, a client must mask");
    check(&frame(0x09, ""), "ping frame is a fragment, it must be whole");
    check(&frame(PONG, [0; 126]), "pong frame has 126 bytes or more, the limit is 125");
    check(&hex("81 fe 0005"), "length 5 is not in its shortest form");
    check(
        &hex("81 ff 8000000000000000"),
        "length 9223372036854775808 is out of range, the limit is 9223372036854775807",
    );
    check(&frame(LAST, ""), "continuation of no message, begin one first");
    check(
        &[frame(TEXT_BEGINS, ""), frame(BINARY, "")].concat(),
        "binary frame inside an unfinished message, finish it first",
    );
    check(&frame(CLOSE, "x"), "close has a body of 1 byte, its code takes 2");
    check(&close(1005, ""), "close code 1005 must not be sent, use 1000 or 3000 to 4999");
    check(&frame(TEXT, [0xFF]), "text is not UTF-8");
    check(&close(1000, [0xFF]), "close reason is not UTF-8");
    check(&frame(TEXT, "x".repeat(17_000)), "message is 17000 bytes or more, the limit is 16384");
}

// Any sequence, cut anywhere.

/// What one peer says at one time: a message in the fragments it is cut into, with pings between them.
#[derive(Clone, Debug)]
enum Said {
    Text(String, Vec<usize>),
    Binary(Vec<u8>, Vec<usize>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn said() -> impl Strategy<Value = Said> {
    let cuts = || prop::collection::vec(0..300_usize, 0..4);
    let control = || prop::collection::vec(any::<u8>(), 0..=CONTROL_BYTES_MAX);
    prop_oneof![
        4 => (".{0,200}", cuts()).prop_map(|(text, cuts)| Said::Text(text, cuts)),
        2 => (prop::collection::vec(any::<u8>(), 0..300), cuts())
            .prop_map(|(bytes, cuts)| Said::Binary(bytes, cuts)),
        1 => control().prop_map(Said::Ping),
        1 => control().prop_map(Said::Pong),
    ]
}

/// Puts a message on the wire in fragments cut at `cuts`, a ping after each but the last.
fn put_fragments(
    wire: &mut Vec<u8>,
    heard: &mut Vec<Heard>,
    opcode: u8,
    payload: &[u8],
    cuts: &[usize],
) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (payload.len() + 1)).collect();
    cuts.sort_unstable();
    let mut start = 0;
    for (count, cut) in cuts.iter().enumerate() {
        wire.extend(frame(if count == 0 { opcode } else { MORE }, &payload[start..*cut]));
        wire.extend(frame(PING, [count as u8; 9]));
        heard.push(Heard::Ping(vec![count as u8; 9]));
        start = *cut;
    }
    let last = if cuts.is_empty() { 0x80 | opcode } else { LAST };
    wire.extend(frame(last, &payload[start..]));
}

/// The bytes of all that is said, and what is to be heard of them.
fn put_on_wire(all: &[Said]) -> (Vec<u8>, Vec<Heard>) {
    let mut wire = Vec::new();
    let mut heard = Vec::new();
    for said in all {
        match said {
            Said::Text(text, cuts) => {
                put_fragments(&mut wire, &mut heard, TEXT_BEGINS, text.as_bytes(), cuts);
                heard.push(Heard::Text(text.clone()));
            }
            Said::Binary(bytes, cuts) => {
                put_fragments(&mut wire, &mut heard, BINARY_BEGINS, bytes, cuts);
                heard.push(Heard::Binary(bytes.clone()));
            }
            Said::Ping(payload) => {
                wire.extend(frame(PING, payload));
                heard.push(Heard::Ping(payload.clone()));
            }
            Said::Pong(payload) => {
                wire.extend(frame(PONG, payload));
                heard.push(Heard::Pong(payload.clone()));
            }
        }
    }
    (wire, heard)
}

/// `bytes` in pieces of these sizes, taken in turn.
fn pieces<'b>(mut bytes: &'b [u8], sizes: &[usize]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

proptest! {
    #[test]
    fn any_messages_are_heard_the_same_however_they_are_cut(
        all in prop::collection::vec(said(), 0..8),
        sizes in prop::collection::vec(1..200_usize, 1..20),
    ) {
        let (wire, expected) = put_on_wire(&all);
        let mut decoder = Decoder::new(Side::Server);
        prop_assert_eq!(&hear(&mut decoder, [&wire[..]], ROOMY), &expected);
        prop_assert_eq!(decoder.held_bytes(), 0);
        prop_assert_eq!(&hear(&mut decoder, pieces(&wire, &sizes), ROOMY), &expected);
        prop_assert_eq!(decoder.held_bytes(), 0);
    }

    #[test]
    fn spoiled_bytes_are_refused_the_same_however_they_are_cut(
        all in prop::collection::vec(said(), 1..5),
        spoiled in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        limit in 0..400_usize,
        sizes in prop::collection::vec(1..40_usize, 1..20),
    ) {
        let (mut wire, _) = put_on_wire(&all);
        for (place, byte) in spoiled {
            let place = place.index(wire.len());
            wire[place] = byte;
        }
        let whole = hear(&mut Decoder::new(Side::Server), [&wire[..]], limit);
        let mut decoder = Decoder::new(Side::Server);
        prop_assert_eq!(hear(&mut decoder, pieces(&wire, &sizes), limit), whole);
        let most = BOX_BYTES_MAX + limit.max(14) + CONTROL_BYTES_MAX;
        prop_assert!(decoder.held_bytes() <= most, "{} bytes held", decoder.held_bytes());
    }

    #[test]
    fn any_bytes_at_all_are_heard_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        sizes in prop::collection::vec(1..40_usize, 1..20),
    ) {
        for side in [Side::Server, Side::Client] {
            let whole = hear(&mut Decoder::new(side), [&bytes[..]], 300);
            prop_assert_eq!(hear(&mut Decoder::new(side), pieces(&bytes, &sizes), 300), whole);
        }
    }

    #[test]
    fn what_a_client_masks_a_server_hears(
        mask in any::<[u8; 4]>(),
        payload in prop::collection::vec(any::<u8>(), 0..1000),
        text in ".{0,300}",
    ) {
        let mut wire = Vec::new();
        put_masked(&mut wire, Opcode::Binary, mask, &payload);
        put_masked(&mut wire, Opcode::Text, mask, text.as_bytes());
        let expected = [Heard::Binary(payload), Heard::Text(text)];
        prop_assert_eq!(hear_any_way(Side::Server, &wire, ROOMY), expected);
    }

    #[test]
    fn what_a_server_writes_a_client_hears(text in ".{0,300}", reason in ".{0,200}", code in 3000..5000_u16) {
        let mut wire = Vec::new();
        put_text(&mut wire, text.as_bytes());
        put_close(&mut wire, code, &reason);
        let heard = hear_any_way(Side::Client, &wire, ROOMY);
        prop_assert_eq!(&heard[0], &Heard::Text(text));
        let Heard::Close(said, cut) = &heard[1] else { panic!("no close") };
        prop_assert_eq!(*said, Some(code));
        prop_assert!(reason.starts_with(cut.as_str()));
    }
}
