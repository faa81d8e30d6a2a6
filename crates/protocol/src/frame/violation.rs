//! What a peer did that ends its connection. (2 decode)
//!
//! Each is known from bytes alone and has one close code.
//!
//! Never: forgives; what can be answered and forgotten is a refusal of the session, not a violation.

use std::fmt;

use super::{CONTROL_BYTES_MAX, FRAGMENTS_MAX, Opcode, Side};

/// Why a connection must end: the peer broke the rules of WebSocket or a bound of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// A bit kept for extensions is set and none that was agreed on puts it there; `bits` is 1 to 7.
    ReservedBits {
        /// RSV1, RSV2, RSV3 as the number 4, 2, 1.
        bits: u8,
    },
    /// An opcode that has no meaning yet.
    ReservedOpcode {
        /// 3 to 7 or 11 to 15.
        opcode: u8,
    },
    /// A client's frame came plain, or a server's came masked.
    WrongMasking {
        /// Our end.
        side: Side,
    },
    /// A control frame that says more of it will follow.
    FragmentedControl {
        /// Close, ping or pong.
        opcode: Opcode,
    },
    /// A control frame that declares more than [`CONTROL_BYTES_MAX`] bytes.
    ControlTooLong {
        /// Close, ping or pong.
        opcode: Opcode,
    },
    /// A length in more bytes than it needs.
    LengthNotMinimal {
        /// The length as declared.
        bytes: u64,
    },
    /// A length of 2^63 or more.
    LengthOutOfRange {
        /// The length as declared.
        bytes: u64,
    },
    /// A continuation frame, and no message was begun.
    NothingToContinue,
    /// A new message before the one that was begun is finished.
    MessageUnfinished {
        /// Text or binary.
        opcode: Opcode,
    },
    /// A close with a body of one byte, which is half a code.
    CloseCodeCut,
    /// A close code that must not stand in a frame.
    BadCloseCode {
        /// The code as sent.
        code: u16,
    },
    /// A binary message where only text is spoken.
    ///
    /// [`Decoder::next`](super::Decoder::next) never says so, it hands binary messages out: this is the word
    /// for those who speak only text.
    Binary {
        /// Length of the message.
        bytes: usize,
    },
    /// A message that is marked as compressed and is not.
    NotDeflate,
    /// Text or the reason of a close that is not UTF-8.
    NotUtf8 {
        /// Text or close.
        opcode: Opcode,
    },
    /// A message in more than [`FRAGMENTS_MAX`] frames.
    TooManyFragments,
    /// A message longer than allowed, known from the header that crosses the limit.
    MessageTooLong {
        /// What was gathered and what the header adds.
        bytes: u64,
        /// What was allowed.
        limit: usize,
    },
}

impl Violation {
    /// The code to close the connection with, RFC 6455 §7.4.1.
    pub fn close_code(&self) -> u16 {
        match self {
            Violation::ReservedBits { .. }
            | Violation::ReservedOpcode { .. }
            | Violation::WrongMasking { .. }
            | Violation::FragmentedControl { .. }
            | Violation::ControlTooLong { .. }
            | Violation::LengthNotMinimal { .. }
            | Violation::LengthOutOfRange { .. }
            | Violation::NothingToContinue
            | Violation::MessageUnfinished { .. }
            | Violation::CloseCodeCut
            | Violation::BadCloseCode { .. } => 1002,
            Violation::Binary { .. } => 1003,
            Violation::NotDeflate | Violation::NotUtf8 { .. } => 1007,
            Violation::TooManyFragments => 1008,
            Violation::MessageTooLong { .. } => 1009,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::ReservedBits { bits } => {
                write!(
                    f,
                    "reserved bits {bits:03b} are set, nothing that was agreed on asks for them"
                )
            }
            Violation::ReservedOpcode { opcode } => write!(f, "opcode {opcode:#x} is reserved"),
            Violation::WrongMasking { side: Side::Server } => {
                f.write_str("frame is not masked, a client must mask")
            }
            Violation::WrongMasking { side: Side::Client } => {
                f.write_str("frame is masked, a server must not mask")
            }
            Violation::FragmentedControl { opcode } => {
                write!(f, "{opcode} frame is a fragment, it must be whole")
            }
            Violation::ControlTooLong { opcode } => {
                let least = CONTROL_BYTES_MAX + 1;
                write!(
                    f,
                    "{opcode} frame has {least} bytes or more, the limit is {CONTROL_BYTES_MAX}"
                )
            }
            Violation::LengthNotMinimal { bytes } => {
                write!(f, "length {bytes} is not in its shortest form")
            }
            Violation::LengthOutOfRange { bytes } => {
                write!(f, "length {bytes} is out of range, the limit is {}", i64::MAX)
            }
            Violation::NothingToContinue => {
                f.write_str("continuation of no message, begin one first")
            }
            Violation::MessageUnfinished { opcode } => {
                write!(f, "{opcode} frame inside an unfinished message, finish it first")
            }
            Violation::CloseCodeCut => f.write_str("close has a body of 1 byte, its code takes 2"),
            Violation::BadCloseCode { code } => {
                write!(f, "close code {code} must not be sent, use 1000 or 3000 to 4999")
            }
            Violation::Binary { bytes } => {
                write!(f, "binary message of {bytes} bytes, only text is spoken here")
            }
            Violation::NotDeflate => {
                f.write_str("message is marked as compressed, its payload is no deflate stream")
            }
            Violation::NotUtf8 { opcode: Opcode::Close } => {
                f.write_str("close reason is not UTF-8")
            }
            Violation::NotUtf8 { opcode } => write!(f, "{opcode} is not UTF-8"),
            Violation::TooManyFragments => {
                write!(
                    f,
                    "message is in more than {FRAGMENTS_MAX} fragments, the limit is {FRAGMENTS_MAX}"
                )
            }
            Violation::MessageTooLong { bytes, limit } => {
                write!(f, "message is {bytes} bytes or more, the limit is {limit}")
            }
        }
    }
}

impl std::error::Error for Violation {}
