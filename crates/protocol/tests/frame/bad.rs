//! What a client must not send.

use tertulia_protocol::frame::{Decoder, Side, Violation};

use crate::hear::{
    BINARY, CLOSE, Heard, LAST, MORE, PING, PONG, ROOMY, TEXT, TEXT_BEGINS, check, check_side,
    close, frame, head, hear, hex,
};

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
