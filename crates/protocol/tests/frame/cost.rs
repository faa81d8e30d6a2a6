//! What decoding costs, whatever is sent.

use tertulia_protocol::frame::{CONTROL_BYTES_MAX, Decoder, Input, Message, Side, Violation};

use crate::hear::{
    BINARY, BINARY_BEGINS, BOX_BYTES_MAX, Heard, MASK, MORE, PING, ROOMY, TEXT, TEXT_BEGINS, frame,
    head, hear, hex,
};

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
fn a_header_that_comes_byte_by_byte_does_not_double_what_is_held() {
    let limit = 280;
    let mut decoder = Decoder::new(Side::Server);
    let begun = frame(TEXT_BEGINS, "x".repeat(270));
    hear(&mut decoder, [&begun[..100], &begun[100..]], limit);
    let before = decoder.held_bytes();
    for byte in &frame(MORE, "yes")[..5] {
        hear(&mut decoder, [&[*byte][..]], limit);
    }
    // Two bytes, a length of eight and a mask are the longest header there is.
    let held = decoder.held_bytes();
    assert!(held <= before.max(BOX_BYTES_MAX + limit) + 14, "{held} bytes held, {before} before");
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
