//! Compressed messages (RFC 7692): heard where they were agreed on, never longer than allowed.

use proptest::prelude::*;
use tertulia_protocol::frame::{
    Decoder, Deflater, Inflater, Input, Message, Opcode, Side, Violation, header_bytes, payload_of,
    put_text,
};

use crate::hear::{BINARY, Heard, LAST, MORE, PING, ROOMY, TEXT, TEXT_BEGINS, frame, hex, word};
use crate::property::{End, hear_inflated, however_cut};

/// The bit of a first byte that says so.
pub(crate) const DEFLATED: u8 = 0x40;

pub(crate) const AGREED: End = End { side: Side::Server, deflates: true };

/// The payload of a compressed message.
pub(crate) fn deflated(text: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    Deflater::default().put(&mut frame, Opcode::Text, [text]);
    payload_of(&frame).expect("a whole frame").to_vec()
}

#[track_caller]
fn check(frames: &[Vec<u8>], expected: &str) {
    let heard = however_cut(AGREED, &frames.concat(), ROOMY, &[3, 1, 64]);
    assert_eq!(heard.iter().map(word).collect::<Vec<_>>().join(", "), expected);
}

#[test]
fn the_examples_of_the_specification_are_heard() {
    let hello = hex("f2 48 cd c9 c9 07 00");
    check(&[frame(TEXT | DEFLATED, &hello)], "text Hello");
    check(&[frame(TEXT_BEGINS | DEFLATED, &hello[..3]), frame(LAST, &hello[3..])], "text Hello");
    check(&[frame(TEXT | DEFLATED, hex("00 05 00 fa ff 48 65 6c 6c 6f 00"))], "text Hello");
    check(&[frame(TEXT | DEFLATED, hex("f3 48 cd c9 c9 07 00 00"))], "text Hello");
    // The byte behind a last block is left out by some.
    check(&[frame(TEXT | DEFLATED, hex("f3 48 cd c9 c9 07 00"))], "text Hello");
    check(&[frame(TEXT | DEFLATED, hex("f2 48 05 00 00 00 ff ff ca c9 c9 07 00"))], "text Hello");
    check(
        &[frame(TEXT | DEFLATED, hex("00")), frame(BINARY | DEFLATED, hex("00"))],
        "text, binary 0",
    );
}

/// A message of stored bytes in a block that says it is the last one.
fn final_block(text: &[u8]) -> Vec<u8> {
    let bytes = u16::try_from(text.len()).expect("a stored block");
    let [length, complement] = [bytes, !bytes].map(u16::to_le_bytes);
    [&[0x01], &length[..], &complement[..], text].concat()
}

#[test]
fn a_last_block_ends_its_message_however_long_it_is() {
    check(&[frame(TEXT | DEFLATED, hex("03 00"))], "text");
    for bytes in [0, 1, 4095, 4096, 4097, 8192, 16_384] {
        let text = "a".repeat(bytes);
        let block = final_block(text.as_bytes());
        for times in [1, 2] {
            let said = frame(TEXT | DEFLATED, block.repeat(times));
            let heard = however_cut(AGREED, &said, ROOMY, &[3, 1, 64]);
            assert_eq!(heard, [Heard::Text(text.repeat(times))], "{times} x {bytes} bytes");
        }
    }
}

#[test]
fn plain_and_compressed_messages_take_turns_with_pings_between() {
    let hello = hex("f2 48 cd c9 c9 07 00");
    check(
        &[
            frame(TEXT, "plain"),
            frame(TEXT_BEGINS | DEFLATED, &hello[..1]),
            frame(PING, "now"),
            frame(MORE, &hello[1..2]),
            frame(LAST, &hello[2..]),
            frame(BINARY | DEFLATED, &hello),
            frame(TEXT, "plain again"),
        ],
        "text plain, ping 3, text Hello, binary 5, text plain again",
    );
}

#[test]
fn the_bit_is_refused_where_it_has_no_meaning() {
    let hello = hex("f2 48 cd c9 c9 07 00");
    check(&[frame(PING | DEFLATED, "")], "refused 1002");
    check(&[frame(TEXT_BEGINS, "a"), frame(LAST | DEFLATED, "b")], "refused 1002");
    check(&[frame(LAST | DEFLATED, "b")], "refused 1002");
    check(&[frame(TEXT | DEFLATED | 0x20, &hello)], "refused 1002");
    check(&[frame(TEXT | 0x10, &hello)], "refused 1002");
    crate::hear::check(&[frame(TEXT | DEFLATED, &hello)], "refused 1002");
}

#[test]
fn what_is_no_deflate_stream_or_no_text_is_refused() {
    check(&[frame(TEXT | DEFLATED, [0xff; 40])], "refused 1007");
    check(&[frame(TEXT | DEFLATED, hex("00 01 00 fe ff ff 00"))], "refused 1007");
    // A reference to what an earlier message said.
    check(&[frame(TEXT | DEFLATED, hex("f2 00 11 00 00"))], "refused 1007");
    // Cut within a block, wherever.
    let whole = deflated(b"so long, and thanks for all the fish");
    for cut in 1..whole.len() {
        check(&[frame(TEXT | DEFLATED, &whole[..cut])], "refused 1007");
    }
    // Empty final blocks, as many as it takes.
    check(&[frame(TEXT | DEFLATED, hex("03 00").repeat(1000))], "refused 1007");
}

#[test]
fn a_bomb_is_refused_at_the_first_byte_too_many_and_holds_no_more() {
    let bomb = |bytes: usize| deflated(&vec![b'0'; bytes]);
    check(&[frame(TEXT | DEFLATED, bomb(ROOMY))], &format!("text of {ROOMY}"));
    check(&[frame(TEXT | DEFLATED, bomb(ROOMY + 1))], "refused 1009");

    let payload = bomb(64 << 20);
    assert!(payload.len() < 1 << 20, "{} bytes", payload.len());
    let mut inflater = Inflater::default();
    let mut decoder = Decoder::new(Side::Server);
    let refused = Heard::Refused(Violation::MessageTooLong { bytes: 1001, limit: 1000 });
    let bytes = frame(TEXT | DEFLATED, bomb(10_000));
    let heard = hear_inflated(&mut decoder, [&bytes[..]], 1000, Some(&mut inflater));
    assert_eq!(heard, [refused]);
    assert!(inflater.held_bytes() <= 4096, "{} bytes are held", inflater.held_bytes());

    let mut decoder = Decoder::new(Side::Server);
    let mut bytes = frame(TEXT | DEFLATED, &payload);
    let heard = decoder.next_inflated(&mut Input::new(&mut bytes), ROOMY, &mut inflater);
    assert!(matches!(heard, Err(Violation::MessageTooLong { .. })));
    assert!(inflater.held_bytes() <= 2 * ROOMY, "{} bytes are held", inflater.held_bytes());

    // Whoever comes next is heard as ever, and the memory goes.
    let mut decoder = Decoder::new(Side::Server);
    let mut bytes = frame(TEXT | DEFLATED, hex("f2 48 cd c9 c9 07 00"));
    let heard = decoder.next_inflated(&mut Input::new(&mut bytes), ROOMY, &mut inflater);
    assert_eq!(heard, Ok(Some(Message::Text("Hello"))));
    assert!(inflater.held_bytes() <= 64 * 1024, "{} bytes are held", inflater.held_bytes());
}

#[test]
fn a_frame_is_compressed_where_it_stands_if_that_makes_it_shorter() {
    let mut deflater = Deflater::default();
    let text = r#"{"t":"msg","room":"r","seq":1}"#.repeat(40);
    let mut out = b"before".to_vec();
    put_text(&mut out, text.as_bytes());
    deflater.deflate_frame(&mut out, 6);
    assert!(out.len() < 6 + text.len() / 4, "{} bytes", out.len());
    let mut frames = out.split_off(6);
    let mut decoder = Decoder::new(Side::Client);
    let mut inflater = Inflater::default();
    let heard = decoder.next_inflated(&mut Input::new(&mut frames), ROOMY, &mut inflater);
    assert_eq!(heard, Ok(Some(Message::Text(&text))));
    assert_eq!(out, b"before");

    put_text(&mut out, b"ab");
    let before = out.clone();
    deflater.deflate_frame(&mut out, 6);
    assert_eq!(out, before, "two bytes do not get shorter");
}

proptest! {
    #[test]
    fn what_was_compressed_in_parts_is_heard_in_one(
        parts in prop::collection::vec("[a-c]{0,2000}|.{0,50}", 0..20),
    ) {
        let mut deflater = Deflater::default();
        let mut inflater = Inflater::default();
        for _ in 0..2 {
            let mut bytes = Vec::new();
            deflater.put(&mut bytes, Opcode::Text, parts.iter().map(String::as_bytes));
            let payload = payload_of(&bytes).unwrap();
            prop_assert_eq!(header_bytes(payload.len()) + payload.len(), bytes.len());
            let mut decoder = Decoder::new(Side::Client);
            let mut input = Input::new(&mut bytes);
            let heard = decoder.next_inflated(&mut input, ROOMY, &mut inflater);
            prop_assert_eq!(heard, Ok(Some(Message::Text(&parts.concat()))));
        }
    }
}
