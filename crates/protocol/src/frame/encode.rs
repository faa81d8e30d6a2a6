//! Encoder: frames at the end of a buffer. (7 deliver, 8 send)
//!
//! Every frame written is whole: what we say is never fragmented. The server's frames carry no mask, so a
//! header and a payload may lie side by side in a slab and go to every member as they are.
//!
//! Never: refuses; what is too long for a control frame is cut.

use super::unmask::unmask;
use super::{CONTROL_BYTES_MAX, Opcode};

pub(super) const FIN: u8 = 0x80;
/// RSV1: the payload is compressed (RFC 7692, 6).
pub(super) const DEFLATED: u8 = 0x40;
const MASKED: u8 = 0x80;

/// Length of the header of an unmasked frame with a payload of `len` bytes: 2, 4 or 10.
pub const fn header_bytes(len: usize) -> usize {
    match len {
        0..126 => 2,
        126..65_536 => 4,
        _ => 10,
    }
}

/// The payload of an unmasked frame that is whole, as the `put_` functions write it.
pub fn payload_of(frame: &[u8]) -> Option<&[u8]> {
    // The three forms of a length, told apart by the second byte.
    let header_bytes = match frame.get(1)? {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    frame.get(header_bytes..)
}

/// Writes the header of an unmasked frame; its payload of `len` bytes is to follow.
pub fn put_header(out: &mut Vec<u8>, opcode: Opcode, len: usize) {
    put_start(out, FIN | opcode as u8, len, 0);
}

/// Writes an unmasked text message. `payload` is not checked: what is not UTF-8 ends the connection.
pub fn put_text(out: &mut Vec<u8>, payload: &[u8]) {
    put_header(out, Opcode::Text, payload.len());
    out.extend_from_slice(payload);
}

/// Writes an unmasked text message whose payload `write` appends: no copy of it is made if it is short.
pub fn put_text_with(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put_header(out, Opcode::Text, 0);
    let payload = out.len();
    write(out);
    let len = out.len() - payload;
    if header_bytes(len) == payload - start {
        out[start + 1] = len as u8;
    } else {
        let mut header = Vec::with_capacity(header_bytes(len));
        put_header(&mut header, Opcode::Text, len);
        out.splice(start..payload, header);
    }
}

/// Writes an unmasked ping or pong. A payload over [`CONTROL_BYTES_MAX`] is cut there.
pub fn put_control(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    debug_assert!(opcode.is_control(), "{opcode} is not a control frame");
    let payload = payload.get(..CONTROL_BYTES_MAX).unwrap_or(payload);
    put_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Writes an unmasked close. A reason that does not fit is cut between two characters.
pub fn put_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let code = code.to_be_bytes();
    let (reason, _) = reason.split_at(reason.floor_char_boundary(CONTROL_BYTES_MAX - code.len()));
    put_header(out, Opcode::Close, code.len() + reason.len());
    out.extend_from_slice(&code);
    out.extend_from_slice(reason.as_bytes());
}

/// Writes a masked frame: the client's way to say anything. `payload` is not checked or cut.
pub fn put_masked(out: &mut Vec<u8>, opcode: Opcode, mask: [u8; 4], payload: &[u8]) {
    put_start(out, FIN | opcode as u8, payload.len(), MASKED);
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(out.get_mut(start..).unwrap_or_default(), mask);
}

/// Writes the first bytes of a frame, up to and with the length in its shortest form.
pub(super) fn put_start(out: &mut Vec<u8>, first: u8, len: usize, masked: u8) {
    out.push(first);
    if let Ok(short @ 0..126) = u8::try_from(len) {
        out.push(masked | short);
    } else if let Ok(long) = u16::try_from(len) {
        out.push(masked | 126);
        out.extend_from_slice(&long.to_be_bytes());
    } else {
        out.push(masked | 127);
        out.extend_from_slice(&(len as u64).to_be_bytes());
    }
}
