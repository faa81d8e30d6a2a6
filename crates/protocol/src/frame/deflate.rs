//! Deflate: messages that travel compressed (RFC 7692), each by itself. (2 decode, 7 deliver)
//!
//! No message leans on an earlier one, so one compressed form serves any number of readers, and one inflater
//! and one deflater serve all connections of a thread.
//!
//! Never: inflates past the limit of a message, decides who agreed on it.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::encode::{DEFLATED, FIN, payload_of, put_start};
use super::{Opcode, Violation};

/// What ends every message and is not sent: an empty block (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// An empty block that is the last one. A stream that does not end with it was cut within another block.
const LAST: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];

/// What an inflater keeps between two messages; a longer one has its memory for itself.
const KEPT_BYTES: usize = 64 * 1024;

/// The first room for a message; most fit.
const FIRST_BYTES: usize = 4096;

/// Most final blocks in a message before its end. One is odd already, and each costs a new beginning.
const FINALS_MAX: usize = 8;

/// Fast, and all but as small as it gets for events of a few hundred bytes that are much alike.
const LEVEL: u32 = 2;

/// Makes text of what came compressed. Costs nothing until the first message does.
#[derive(Default)]
pub struct Inflater {
    stream: Option<Decompress>,
    text: Vec<u8>,
    made_bytes: u64,
}

impl Inflater {
    /// Memory for the text of one message, kept for the next one; at most 64 KiB once a shorter one came.
    pub fn held_bytes(&self) -> usize {
        self.text.capacity()
    }

    /// Bytes of text that it has made so far: what its work is measured by, since what comes in may be a
    /// thousand times shorter.
    pub fn made_bytes(&self) -> u64 {
        self.made_bytes
    }

    /// What `payload` says, at most `bytes_max` bytes.
    ///
    /// Cost: linear in what comes out; no more than that is ever held.
    /// Errors: [`Violation::MessageTooLong`] as soon as one byte too many is there,
    /// [`Violation::NotDeflate`].
    pub(super) fn inflate(&mut self, payload: &[u8], bytes_max: usize) -> Result<&[u8], Violation> {
        let Inflater { stream, text, made_bytes } = self;
        let stream = stream.get_or_insert_with(|| Decompress::new(false));
        stream.reset(false);
        text.clear();
        text.shrink_to(KEPT_BYTES);
        let mut finals = 0;
        for mut rest in [payload, &TAIL, &LAST] {
            loop {
                let before = stream.total_in();
                let status = stream.decompress_vec(rest, text, FlushDecompress::None);
                let status = status.map_err(|_| Violation::NotDeflate)?;
                rest = &rest[(stream.total_in() - before) as usize..];
                if text.len() > bytes_max {
                    let bytes = bytes_max as u64 + 1;
                    return Err(Violation::MessageTooLong { bytes, limit: bytes_max });
                }
                if status == Status::StreamEnd {
                    // Its own last block, or ours: nothing can follow it.
                    if rest.is_empty() {
                        *made_bytes += text.len() as u64;
                        return Ok(text);
                    }
                    finals += 1;
                    if finals > FINALS_MAX {
                        return Err(Violation::NotDeflate);
                    }
                    stream.reset(false);
                }
                if text.len() == text.capacity() {
                    // One byte more than allowed shows that there is more.
                    let room = text.len().max(FIRST_BYTES).min(bytes_max + 1 - text.len());
                    text.reserve_exact(room);
                } else if rest.is_empty() {
                    break;
                }
            }
        }
        Err(Violation::NotDeflate)
    }
}

/// Compresses messages. Costs nothing until the first one.
#[derive(Default)]
pub struct Deflater {
    stream: Option<Compress>,
    payload: Vec<u8>,
}

impl Deflater {
    /// Writes an unmasked compressed message whose payload is `parts`, one behind the other.
    ///
    /// Cost: linear in the parts, and about 10 µs for a fresh start.
    pub fn put<'p>(
        &mut self,
        out: &mut Vec<u8>,
        opcode: Opcode,
        parts: impl IntoIterator<Item = &'p [u8]>,
    ) {
        let payload = self.payload(parts);
        put_start(out, FIN | DEFLATED | opcode as u8, payload.len(), 0);
        out.extend_from_slice(payload);
    }

    /// Compresses the unmasked frame that stands in `out` from `start` to its end, if that makes it shorter.
    pub fn deflate_frame(&mut self, out: &mut Vec<u8>, start: usize) {
        let Some(payload) = out.get(start..).and_then(payload_of) else { return };
        let before = payload.len();
        let payload = self.payload([payload]);
        if payload.len() < before {
            let first = out[start] | DEFLATED;
            out.truncate(start);
            put_start(out, first, payload.len(), 0);
            out.extend_from_slice(payload);
        }
    }

    fn payload<'p>(&mut self, parts: impl IntoIterator<Item = &'p [u8]>) -> &[u8] {
        let Deflater { stream, payload } = self;
        let stream = stream.get_or_insert_with(|| Compress::new(Compression::new(LEVEL), false));
        stream.reset();
        payload.clear();
        payload.shrink_to(KEPT_BYTES);
        for part in parts {
            take(stream, payload, part, FlushCompress::None);
        }
        take(stream, payload, &[], FlushCompress::Sync);
        payload.strip_suffix(&TAIL).unwrap_or(payload)
    }
}

fn take(stream: &mut Compress, out: &mut Vec<u8>, mut part: &[u8], flush: FlushCompress) {
    loop {
        if out.capacity() - out.len() < FIRST_BYTES {
            out.reserve(FIRST_BYTES);
        }
        let before = stream.total_in();
        stream.compress_vec(part, out, flush).expect("a deflater that has room takes any bytes");
        part = &part[(stream.total_in() - before) as usize..];
        // What is left over is left for want of room.
        if part.is_empty() && out.len() < out.capacity() {
            return;
        }
    }
}
