//! Frames: whatever arrives is heard the same however it is cut, holds no more than it may, and what was heard
//! can be said again.

use tertulia_protocol::frame::{
    self, CONTROL_BYTES_MAX, Decoder, Inflater, Input, Message, Opcode, Side, Violation, put_close,
    put_control, put_masked,
};

/// Longer than any message that is meant to be heard here.
pub(crate) const ROOMY: usize = 1 << 20;

/// What the box for a half received message may take besides its bytes.
pub(crate) const BOX_BYTES_MAX: usize = 128;

pub(crate) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The longest header: two bytes, a length of eight, a mask.
const HEADER_BYTES_MAX: usize = 14;

/// Who hears, and whether compressed messages were agreed on.
#[derive(Clone, Copy)]
pub(crate) struct End {
    pub(crate) side: Side,
    pub(crate) deflates: bool,
}

/// Side, limit and sizes of the pieces stand in front, then comes what arrives.
pub(crate) fn check(bytes: &[u8]) {
    let Some((&[side, limit_high, limit_low, first, second], wire)) = bytes.split_first_chunk()
    else {
        return;
    };
    let end = End {
        side: if side % 2 == 0 { Side::Server } else { Side::Client },
        deflates: side & 2 != 0,
    };
    let limit = usize::from(u16::from_be_bytes([limit_high, limit_low]));
    let sizes = [usize::from(first % 64) + 1, usize::from(second) + 1];
    let heard = however_cut(end, wire, limit, &sizes);
    said_again(end.side, &heard);
}

/// What comes of `wire`, the same whole, in pieces of these sizes and byte by byte.
pub(crate) fn however_cut(end: End, wire: &[u8], limit: usize, sizes: &[usize]) -> Vec<Heard> {
    let hear = |decoder: &mut Decoder, piece| {
        let inflater = &mut Inflater::default();
        hear_inflated(decoder, [piece], limit, end.deflates.then_some(inflater))
    };
    let whole = hear(&mut Decoder::new(end.side), wire);
    for sizes in [sizes, &[1]] {
        let mut decoder = Decoder::new(end.side);
        let mut heard = Vec::new();
        for piece in pieces(wire, sizes) {
            heard.extend(hear(&mut decoder, piece));
            let most = BOX_BYTES_MAX + limit + HEADER_BYTES_MAX + CONTROL_BYTES_MAX;
            let held = decoder.held_bytes();
            assert!(held <= most, "{held} bytes held, the limit is {limit}");
        }
        assert_eq!(heard, whole, "in pieces of {sizes:?}");
    }
    for (place, heard) in whole.iter().enumerate() {
        let bytes = match heard {
            Heard::Text(text) => text.len().saturating_sub(limit),
            Heard::Binary(bytes) => bytes.len().saturating_sub(limit),
            Heard::Ping(bytes) | Heard::Pong(bytes) => {
                bytes.len().saturating_sub(CONTROL_BYTES_MAX)
            }
            Heard::Close(..) | Heard::Refused(_) => place + 1 - whole.len(),
        };
        assert_eq!(bytes, 0, "{heard:?} is longer than it may be, or not the last");
    }
    whole
}

/// Written by our own encoder, what was heard is heard again.
fn said_again(side: Side, heard: &[Heard]) {
    let mut wire = Vec::new();
    let mut expected = heard;
    for heard in heard {
        match heard {
            Heard::Text(text) => put(&mut wire, side, Opcode::Text, text.as_bytes()),
            Heard::Binary(bytes) => put(&mut wire, side, Opcode::Binary, bytes),
            Heard::Ping(bytes) => put(&mut wire, side, Opcode::Ping, bytes),
            Heard::Pong(bytes) => put(&mut wire, side, Opcode::Pong, bytes),
            Heard::Close(None, _) => put(&mut wire, side, Opcode::Close, &[]),
            Heard::Close(Some(code), reason) if side == Side::Client => {
                put_close(&mut wire, *code, reason);
            }
            Heard::Close(Some(code), reason) => {
                let body = [&code.to_be_bytes(), reason.as_bytes()].concat();
                put(&mut wire, side, Opcode::Close, &body);
            }
            Heard::Refused(_) => expected = &expected[..expected.len() - 1],
        }
    }
    assert_eq!(hear(&mut Decoder::new(side), [&wire[..]], ROOMY), expected);
}

/// Writes a frame that `side` hears.
fn put(wire: &mut Vec<u8>, side: Side, opcode: Opcode, payload: &[u8]) {
    match side {
        Side::Server => put_masked(wire, opcode, MASK, payload),
        Side::Client if opcode.is_control() => put_control(wire, opcode, payload),
        Side::Client => {
            frame::put_header(wire, opcode, payload.len());
            wire.extend_from_slice(payload);
        }
    }
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

/// What came of some bytes: messages that outlive their input, and what ended the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
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

/// Hears one piece after the other; a piece is an input of its own.
pub(crate) fn hear<'p>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    limit: usize,
) -> Vec<Heard> {
    hear_inflated(decoder, pieces, limit, None)
}

/// The same where compressed messages were agreed on, if there is something that inflates them.
pub(crate) fn hear_inflated<'p>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    limit: usize,
    mut inflater: Option<&mut Inflater>,
) -> Vec<Heard> {
    let mut heard = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut input = Input::new(&mut piece);
        loop {
            let next = match &mut inflater {
                Some(inflater) => decoder.next_inflated(&mut input, limit, inflater),
                None => decoder.next(&mut input, limit),
            };
            match next {
                Ok(Some(message)) => heard.push(Heard::from(message)),
                Ok(None) => break,
                Err(violation) => heard.push(Heard::Refused(violation)),
            }
        }
        assert!(input.is_empty(), "None comes only when the input is used up");
    }
    heard
}
