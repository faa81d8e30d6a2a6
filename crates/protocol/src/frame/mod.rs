//! WebSocket frames (RFC 6455): bytes in, messages out, and back. (2 decode, 8 send)
//!
//! Serves both ends of a connection: the server, which hears masked frames and writes plain ones, and a
//! client, the other way round. [`Decoder`] finds messages in bytes that have arrived; the `put_` functions
//! write frames at the end of a buffer.
//!
//! Never: reads a socket or a clock, allocates for what is only declared, decodes on after a close.

mod decode;
mod deflate;
mod encode;
mod header;
mod message;
mod unmask;
mod violation;

use std::fmt;

pub use decode::{Decoder, Input};
pub use deflate::{Deflater, Inflater};
pub use encode::{
    header_bytes, payload_of, put_close, put_control, put_header, put_masked, put_text,
    put_text_with,
};
pub use message::Message;
pub use violation::Violation;

/// Most bytes in the payload of a ping, a pong or a close; RFC 6455 §5.5 sets it.
pub const CONTROL_BYTES_MAX: usize = 125;

/// Most frames one message may come in, empty ones counted.
///
/// An empty fragment adds nothing to the message, so the bound on bytes alone would let them come for ever.
/// The test suite of the feature sends 4 MiB in fragments of 64 bytes.
pub const FRAGMENTS_MAX: u32 = if cfg!(feature = "conformance") { 1 << 17 } else { 1024 };

/// Which end of the connection we are: only clients mask what they send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// We are the server and refuse frames that are not masked.
    Server,
    /// We are the client and refuse frames that are masked.
    Client,
}

/// What a frame is for; the numbers are those of RFC 6455 §5.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message that an earlier frame began.
    Continuation = 0x0,
    /// Begins a message of UTF-8 text.
    Text = 0x1,
    /// Begins a message of bytes.
    Binary = 0x2,
    /// The last frame of one side.
    Close = 0x8,
    /// Asks for a pong with the same payload.
    Ping = 0x9,
    /// Answers a ping, or stands alone as a sign of life.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode in the low four bits of a frame's first byte; the others are reserved.
    fn parse(bits: u8) -> Result<Opcode, Violation> {
        match bits {
            0x0 => Ok(Opcode::Continuation),
            0x1 => Ok(Opcode::Text),
            0x2 => Ok(Opcode::Binary),
            0x8 => Ok(Opcode::Close),
            0x9 => Ok(Opcode::Ping),
            0xA => Ok(Opcode::Pong),
            reserved => Err(Violation::ReservedOpcode { opcode: reserved }),
        }
    }

    /// True for close, ping and pong: short, whole, and welcome between the fragments of a message.
    pub fn is_control(self) -> bool {
        match self {
            Opcode::Continuation | Opcode::Text | Opcode::Binary => false,
            Opcode::Close | Opcode::Ping | Opcode::Pong => true,
        }
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Opcode::Continuation => "continuation",
            Opcode::Text => "text",
            Opcode::Binary => "binary",
            Opcode::Close => "close",
            Opcode::Ping => "ping",
            Opcode::Pong => "pong",
        })
    }
}
