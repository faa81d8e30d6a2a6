//! What is a message: the examples of RFC 6455, lengths, control frames, fragments, text.

use tertulia_protocol::frame::{
    Decoder, FRAGMENTS_MAX, Opcode, Side, Violation, header_bytes, put_close, put_control,
    put_header, put_masked, put_text,
};

use crate::hear::{
    BINARY, BINARY_BEGINS, CLOSE, Heard, LAST, MASK, MORE, PING, PONG, ROOMY, TEXT, TEXT_BEGINS,
    check, check_side, close, frame, head, hear, hear_any_way, hex,
};

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
    let most = FRAGMENTS_MAX as usize;
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
