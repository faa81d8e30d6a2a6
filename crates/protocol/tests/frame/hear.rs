//! Frames by hand, and what a decoder hears of them.

use tertulia_protocol::frame::{Decoder, Side};

pub(crate) use crate::property::{BOX_BYTES_MAX, Heard, MASK, ROOMY, hear};

// First bytes: FIN and opcode.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const TEXT_BEGINS: u8 = 0x01;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const BINARY_BEGINS: u8 = 0x02;
pub(crate) const MORE: u8 = 0x00;
pub(crate) const LAST: u8 = 0x80;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8A;

/// Bytes from hexadecimal digits; blanks are free.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        digits.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Start of a client's frame, with the length in its shortest form.
pub(crate) fn head(first: u8, len: usize) -> Vec<u8> {
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
pub(crate) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = head(first, payload.len());
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A client's close.
pub(crate) fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

/// In a word or two, for tables: `text Hello`, `binary 3`, `close 1000 bye`, `refused 1002`.
pub(crate) fn word(heard: &Heard) -> String {
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

/// What comes of `bytes`, the same however they are cut, and nothing is held where nothing is half received.
pub(crate) fn hear_any_way(side: Side, bytes: &[u8], limit: usize) -> Vec<Heard> {
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
pub(crate) fn check_side(side: Side, bytes: &[u8], limit: usize, expected: &str) {
    let heard: Vec<String> = hear_any_way(side, bytes, limit).iter().map(word).collect();
    assert_eq!(heard.join(", "), expected);
}

/// Checks what a server hears of a client's frames.
#[track_caller]
pub(crate) fn check(frames: &[Vec<u8>], expected: &str) {
    check_side(Side::Server, &frames.concat(), ROOMY, expected);
}
