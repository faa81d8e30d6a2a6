//! Messages: what a payload means once all of it is there. (2 decode)
//!
//! Never: copies; a message borrows the payload it was read from.

use super::{Opcode, Violation};

/// One whole message, or one control frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// A text message, known to be UTF-8.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// Wants a pong with the same payload.
    Ping(&'a [u8]),
    /// A sign of life.
    Pong(&'a [u8]),
    /// The last word of the peer.
    Close {
        /// Why, as a number; absent if the peer gave none.
        code: Option<u16>,
        /// Why, as words for a log; often empty.
        reason: &'a str,
    },
}

impl<'a> Message<'a> {
    /// Reads a whole `payload` under the opcode of the frame that began it.
    pub(super) fn read(opcode: Opcode, payload: &'a [u8]) -> Result<Message<'a>, Violation> {
        match opcode {
            Opcode::Text => Ok(Message::Text(utf8(opcode, payload)?)),
            Opcode::Binary => Ok(Message::Binary(payload)),
            Opcode::Ping => Ok(Message::Ping(payload)),
            Opcode::Pong => Ok(Message::Pong(payload)),
            Opcode::Close => close(payload),
            // The header of a continuation that begins a message was refused.
            Opcode::Continuation => Err(Violation::NothingToContinue),
        }
    }
}

fn utf8(opcode: Opcode, payload: &[u8]) -> Result<&str, Violation> {
    simdutf8::basic::from_utf8(payload).map_err(|_| Violation::NotUtf8 { opcode })
}

/// Reads the body of a close: nothing, or a code and then a reason.
fn close(payload: &[u8]) -> Result<Message<'_>, Violation> {
    let Some((&code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(Message::Close { code: None, reason: "" }),
            _ => Err(Violation::CloseCodeCut),
        };
    };
    let code = u16::from_be_bytes(code);
    if !may_be_sent(code) {
        return Err(Violation::BadCloseCode { code });
    }
    let reason = utf8(Opcode::Close, reason)?;
    Ok(Message::Close { code: Some(code), reason })
}

/// Whether a close code may stand in a frame.
///
/// 1004 has no meaning, 1005, 1006 and 1015 are said by an endpoint to itself, the rest below 3000 is not
/// given out. 3000 to 3999 belong to libraries, 4000 to 4999 to applications.
/// Source: <https://www.iana.org/assignments/websocket/websocket.xhtml>.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
