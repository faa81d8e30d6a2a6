//! Writing frames.

use tertulia_protocol::frame::{
    CONTROL_BYTES_MAX, Opcode, Side, header_bytes, put_close, put_control, put_header,
};

use crate::hear::{
    BINARY, CLOSE, Heard, LAST, PONG, ROOMY, TEXT, TEXT_BEGINS, close, frame, hear_any_way, hex,
};

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
    check(&frame(0xC1, ""), "reserved bits 100 are set, nothing that was agreed on asks for them");
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
