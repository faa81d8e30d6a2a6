//! Frame headers: two to fourteen bytes that say what follows. (2 decode)
//!
//! All that a header alone can break is refused here, each rule at the first byte that shows it: a length over
//! the limit before the mask has come, a wrong opcode before the length has.
//!
//! Never: sees a payload, keeps a byte.

use super::{CONTROL_BYTES_MAX, FRAGMENTS_MAX, Opcode, Side, Violation};

/// The reserved bit that marks a compressed message.
const RSV1: u8 = 0b100;

/// One frame whose header is understood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// The last frame of its message.
    pub(super) fin: bool,
    /// Turned to where `left_bytes` begins; zeros if the frame is not masked.
    pub(super) mask: [u8; 4],
    /// What of the payload is yet to be taken.
    pub(super) left_bytes: usize,
}

impl Frame {
    /// True if nothing else belongs to this frame's message.
    pub(super) fn stands_alone(&self) -> bool {
        self.fin && self.kind.opcode != Opcode::Continuation
    }
}

/// What a frame, or the message that it begins, is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kind {
    pub(super) opcode: Opcode,
    /// The message is compressed; only its first frame says so.
    pub(super) deflated: bool,
}

/// What was agreed on with whoever is at the other end.
pub(super) struct Bounds {
    pub(super) message_bytes_max: usize,
    /// Messages may come compressed.
    pub(super) deflates: bool,
}

/// What the next header is held against.
pub(super) struct Rules<'r> {
    pub(super) side: Side,
    pub(super) bounds: &'r Bounds,
    /// The message that earlier frames began and none has finished.
    pub(super) begun: Option<Begun>,
}

/// A message of which not all has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    /// Text or binary.
    pub(super) kind: Kind,
    /// Frames so far, empty ones and the present one counted.
    pub(super) fragments: u32,
    /// Payload gathered from the frames that are over.
    pub(super) bytes: usize,
    /// How much of it is known to be UTF-8; stays 0 for binary and what is compressed.
    pub(super) checked_bytes: usize,
}

/// The frame whose header stands at the start of `bytes`, and the length of that header; `None` if more bytes
/// are needed to tell.
pub(super) fn read(bytes: &[u8], rules: &Rules) -> Result<Option<(Frame, usize)>, Violation> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let fin = first & 0x80 != 0;
    let kind = rules.kind(first, fin)?;

    let Some((&second, rest)) = rest.split_first() else {
        return Ok(None);
    };
    rules.check_masking(second & 0x80 != 0)?;
    let Some((payload_bytes, rest)) = length(kind.opcode, second & 0x7f, rest)? else {
        return Ok(None);
    };
    let left_bytes = rules.check_length(kind.opcode, payload_bytes)?;

    let (mask, rest) = match rules.side {
        Side::Client => ([0; 4], rest),
        Side::Server => match rest.split_first_chunk() {
            Some((&mask, rest)) => (mask, rest),
            None => return Ok(None),
        },
    };
    let frame = Frame { kind, fin, mask, left_bytes };
    Ok(Some((frame, bytes.len() - rest.len())))
}

impl Rules<'_> {
    /// What a frame's first byte says it is, if one of that kind may come now.
    fn kind(&self, first: u8, fin: bool) -> Result<Kind, Violation> {
        let bits = first >> 4 & 0b111;
        let deflated = bits == RSV1 && self.bounds.deflates;
        if bits != 0 && !deflated {
            return Err(Violation::ReservedBits { bits });
        }
        let opcode = Opcode::parse(first & 0x0f)?;
        match (opcode, &self.begun) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) if !fin => {
                Err(Violation::FragmentedControl { opcode })
            }
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                Err(Violation::MessageUnfinished { opcode })
            }
            (Opcode::Continuation, None) => Err(Violation::NothingToContinue),
            (Opcode::Continuation, Some(begun)) if begun.fragments >= FRAGMENTS_MAX => {
                Err(Violation::TooManyFragments)
            }
            (Opcode::Text | Opcode::Binary, None) => Ok(Kind { opcode, deflated }),
            // The bit belongs to the first frame of a message.
            _ if deflated => Err(Violation::ReservedBits { bits }),
            _ => Ok(Kind { opcode, deflated }),
        }
    }

    fn check_masking(&self, masked: bool) -> Result<(), Violation> {
        if masked == (self.side == Side::Server) {
            Ok(())
        } else {
            Err(Violation::WrongMasking { side: self.side })
        }
    }

    /// The declared length as one that memory can hold, if the message with it stays within its limit.
    fn check_length(&self, opcode: Opcode, payload_bytes: u64) -> Result<usize, Violation> {
        let limit = self.bounds.message_bytes_max;
        if !opcode.is_control() {
            let gathered = self.begun.map_or(0, |begun| begun.bytes) as u64;
            let bytes = gathered.saturating_add(payload_bytes);
            if bytes > limit as u64 {
                return Err(Violation::MessageTooLong { bytes, limit });
            }
        }
        usize::try_from(payload_bytes)
            .map_err(|_| Violation::MessageTooLong { bytes: payload_bytes, limit })
    }
}

/// The payload's length and what follows it, from the seven bits of the second byte and as many bytes after it
/// as they ask for.
fn length(opcode: Opcode, short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
        return Err(Violation::ControlTooLong { opcode });
    }
    let (bytes, least, rest) = match short {
        126 => match rest.split_first_chunk() {
            Some((&long, rest)) => (u64::from(u16::from_be_bytes(long)), 126, rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((&long, rest)) => (u64::from_be_bytes(long), 1 << 16, rest),
            None => return Ok(None),
        },
        short => (u64::from(short), 0, rest),
    };
    if bytes >> 63 != 0 {
        Err(Violation::LengthOutOfRange { bytes })
    } else if bytes < least {
        Err(Violation::LengthNotMinimal { bytes })
    } else {
        Ok(Some((bytes, rest)))
    }
}
