//! Wire: frames as a client may write them, good and bad, and what comes back frame by frame.

use std::io::Read;

use crate::attack::Field;
use crate::client::{Client, Heard};

/// Turns a payload over, so that one that is taken for plain is noticed.
const MASK: [u8; 4] = [9, 8, 7, 6];

/// A masked frame with that first byte, its length in the shortest form.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(0x80 | short as u8),
        long @ 126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend((long as u16).to_be_bytes());
        }
        longer => {
            bytes.push(0x80 | 127);
            bytes.extend((longer as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The start of a masked text frame that declares a length, in two bytes or in eight; without its mask.
pub fn declares(length: &[u8]) -> Vec<u8> {
    let form = if length.len() == 2 { 126 } else { 127 };
    [&[0x81, 0x80 | form], length].concat()
}

/// A whole text message.
pub fn text(payload: &[u8]) -> Vec<u8> {
    frame(0x81, payload)
}

/// A close with that code.
pub fn close(code: u16) -> Vec<u8> {
    frame(0x88, &code.to_be_bytes())
}

/// A text message cut behind each of these places.
pub fn cut(payload: &[u8], places: &[usize]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut from = 0;
    for (at, to) in places.iter().copied().chain([payload.len()]).enumerate() {
        let fin = if to == payload.len() { 0x80 } else { 0 };
        bytes.extend(frame(if at == 0 { 0x01 | fin } else { fin }, &payload[from..to]));
        from = to;
    }
    bytes
}

/// The next frame as it stands: its first byte and its payload. Nothing else may have been half read.
pub fn next_frame(client: &mut Client) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    client.stream.read_exact(&mut head)?;
    let mut length = usize::from(head[1]);
    if length >= 126 {
        let mut long = vec![0; if length == 126 { 2 } else { 8 }];
        client.stream.read_exact(&mut long)?;
        length = long.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    }
    let mut payload = vec![0; length];
    client.stream.read_exact(&mut payload)?;
    Ok((head[0], payload))
}

/// Whether the server still answers on this connection: a ping gets its pong, and nothing else comes before.
pub fn answers(client: &mut Client) -> bool {
    client.put(&frame(0x89, b"still there?"));
    next_frame(client).is_ok_and(|said| said == (0x8a, b"still there?".to_vec()))
}

impl Field<'_> {
    /// Says these bytes after hello, and a command right behind them. The connection has to end with that code
    /// and not another word, and the command is not done.
    pub(super) fn ends(&self, what: &str, bytes: &[u8], code: u16) {
        let mut client = self.mallory();
        client.put(&[bytes, &self.late()].concat());
        self.expect_end(what, &mut client, code);
    }

    /// A command that comes too late: if it is done, there is an event that the row does not know of.
    pub(super) fn late(&self) -> Vec<u8> {
        let room = &self.room;
        text(format!(r#"{{"t":"send","id":9,"room":"{room}","cid":"late","d":{{}}}}"#).as_bytes())
    }

    /// Wrong unless the next that comes is a close frame of that code, and nothing comes behind it.
    pub(super) fn expect_end(&self, what: &str, client: &mut Client, code: u16) {
        let said = [client.hear(), client.hear()];
        let is_so = said == [Heard::Close(code), Heard::End];
        self.expect(is_so, || format!("{what}: {said:?}, not {code} and the end"));
    }
}
