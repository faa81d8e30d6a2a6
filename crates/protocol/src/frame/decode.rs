//! Decoder: finds the next whole message in what has arrived. (2 decode)
//!
//! A frame that lies whole in the input is unmasked where it lies and handed out from there. Only what is half
//! there, or comes in fragments, is gathered in a box that lives until its message has been handed out.
//!
//! Never: holds memory for a connection between messages, grows by what a header declares, decodes after a
//! close or a violation.

use std::fmt;

use super::header::{self, Begun, Bounds, Frame, Kind, Rules};
use super::unmask::{turned, unmask};
use super::{Inflater, Message, Opcode, Side, Violation};

/// The longest header: two bytes, a length of eight, a mask.
const HEADER_BYTES_MAX: usize = 14;

/// Bytes that have arrived and are not yet understood. Decoding unmasks them in place.
pub struct Input<'b> {
    rest: &'b mut [u8],
}

impl<'b> Input<'b> {
    /// All of `bytes`, as they came from the peer.
    pub fn new(bytes: &'b mut [u8]) -> Input<'b> {
        Input { rest: bytes }
    }

    /// What has not been consumed.
    pub fn rest(&self) -> &[u8] {
        self.rest
    }

    /// True if all was consumed.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Consumes `bytes` of what is there; nothing if there is less.
    fn take(&mut self, bytes: usize) -> Option<&'b mut [u8]> {
        if bytes > self.rest.len() {
            return None;
        }
        Some(self.take_up_to(bytes))
    }

    /// Consumes `bytes`, or all there is.
    fn take_up_to(&mut self, bytes: usize) -> &'b mut [u8] {
        let cut = bytes.min(self.rest.len());
        let (taken, rest) = std::mem::take(&mut self.rest).split_at_mut(cut);
        self.rest = rest;
        taken
    }
}

/// What one connection has half received. Small, and without memory of its own while nothing is half received.
///
/// ```
/// use tertulia_protocol::frame::{Decoder, Input, Message, Side};
///
/// let mut arrived = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
/// let mut input = Input::new(&mut arrived);
/// let mut decoder = Decoder::new(Side::Server);
/// assert_eq!(decoder.next(&mut input, 1024), Ok(Some(Message::Text("Hello"))));
/// assert_eq!(decoder.next(&mut input, 1024), Ok(None));
/// ```
pub struct Decoder {
    held: Option<Box<Held>>,
    side: Side,
    /// A close or a violation was handed out.
    over: bool,
}

impl Decoder {
    /// A decoder for a connection on which nothing has been received.
    pub const fn new(side: Side) -> Decoder {
        Decoder { held: None, side, over: false }
    }

    /// The next whole message or control frame, or `None` when the input is used up.
    ///
    /// Shape: call until `None`; what is half there is kept for the next input. After a close or an error
    /// there is nothing but `None`, and the input is thrown away. Control frames come out between the
    /// fragments of a message, as they came in.
    /// Units: `message_bytes_max` bounds the payload of a message over all its frames.
    /// Cost: linear in the input however it is cut; a frame that lies whole in it is not copied.
    /// Errors: a [`Violation`] at the first byte that shows it, so a message that is too long on its header
    /// and text that is not UTF-8 before the rest of it has come.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut Input<'b>,
        message_bytes_max: usize,
    ) -> Result<Option<Message<'a>>, Violation> {
        self.read(input, message_bytes_max, None)
    }

    /// The same for a connection that agreed on permessage-deflate without context.
    ///
    /// Units: `message_bytes_max` bounds what travels of a message, and what it says, each by itself.
    /// Cost: a compressed message is gathered whole, then inflated.
    pub fn next_inflated<'a, 'b: 'a>(
        &'a mut self,
        input: &mut Input<'b>,
        message_bytes_max: usize,
        inflater: &'a mut Inflater,
    ) -> Result<Option<Message<'a>>, Violation> {
        self.read(input, message_bytes_max, Some(inflater))
    }

    fn read<'a, 'b: 'a>(
        &'a mut self,
        input: &mut Input<'b>,
        message_bytes_max: usize,
        inflater: Option<&'a mut Inflater>,
    ) -> Result<Option<Message<'a>>, Violation> {
        self.let_go();
        if self.over {
            input.take_up_to(usize::MAX);
            return Ok(None);
        }
        let bounds = Bounds { message_bytes_max, deflates: inflater.is_some() };
        let (kind, payload) = match self.find(input, &bounds) {
            Ok(Some(Found::Here(kind, payload))) => (kind, payload),
            Ok(Some(Found::Held(kind))) => {
                (kind, self.held.as_deref().map(Held::tail).unwrap_or_default())
            }
            Ok(None) => return Ok(None),
            Err(violation) => {
                self.over = true;
                // At once, for the connection may linger until its close is sent.
                self.let_go();
                return Err(violation);
            }
        };
        let text = match inflater {
            Some(inflater) if kind.deflated => inflater.inflate(payload, message_bytes_max),
            _ => Ok(payload),
        };
        let message = text.and_then(|text| Message::read(kind.opcode, text));
        self.over = matches!(message, Ok(Message::Close { .. }) | Err(_));
        message.map(Some)
    }

    /// Bytes of memory held for what is half received; 0 while nothing is.
    pub fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| size_of::<Held>() + held.bytes.capacity())
    }

    /// Frees what was handed out, and the box with it once it holds nothing.
    fn let_go(&mut self) {
        let Some(held) = &mut self.held else {
            return;
        };
        held.let_go();
        if self.over || held.is_empty() {
            self.held = None;
        }
    }

    /// Reads on until a message is whole or the input is used up.
    fn find<'b>(
        &mut self,
        input: &mut Input<'b>,
        bounds: &Bounds,
    ) -> Result<Option<Found<'b>>, Violation> {
        loop {
            if self.held.as_ref().is_none_or(|held| held.frame.is_none()) {
                let Some(frame) = self.header(input, bounds)? else {
                    return Ok(None);
                };
                if frame.stands_alone()
                    && let Some(payload) = input.take(frame.left_bytes)
                {
                    unmask(payload, frame.mask);
                    return Ok(Some(Found::Here(frame.kind, payload)));
                }
                self.held.get_or_insert_default().begin(frame);
            }
            match self.held.get_or_insert_default().gather(input, bounds.message_bytes_max)? {
                Gathered::Part => return Ok(None),
                Gathered::Fragment => {}
                Gathered::Whole(kind) => return Ok(Some(Found::Held(kind))),
            }
        }
    }

    /// The next header, consumed; `None` if not all of it is there, and then what is there is held.
    fn header(
        &mut self,
        input: &mut Input<'_>,
        bounds: &Bounds,
    ) -> Result<Option<Frame>, Violation> {
        let begun = self.held.as_ref().and_then(|held| held.begun);
        let rules = Rules { side: self.side, bounds, begun };

        // Almost always nothing of a header is held and all of it is in the input.
        if self.held.as_ref().is_none_or(|held| held.tail().is_empty())
            && let Some((frame, header_bytes)) = header::read(input.rest(), &rules)?
        {
            input.take_up_to(header_bytes);
            return Ok(Some(frame));
        }
        while let Some([byte]) = input.take(1) {
            let held = self.held.get_or_insert_default();
            if held.bytes.len() == held.bytes.capacity() {
                // A push alone would double what is there, past where the message must end.
                held.bytes.reserve_exact(HEADER_BYTES_MAX);
            }
            held.bytes.push(*byte);
            if let Some((frame, _)) = header::read(held.tail(), &rules)? {
                held.drop_tail();
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Decoder {
    // How much is held and not what: a body must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("side", &self.side)
            .field("held_bytes", &self.held_bytes())
            .field("over", &self.over)
            .finish()
    }
}

/// Where a whole payload lies, unmasked.
enum Found<'b> {
    /// In the input.
    Here(Kind, &'b [u8]),
    /// In the tail of what is held.
    Held(Kind),
}

/// How far a frame has come.
enum Gathered {
    /// Some of its payload is yet to arrive.
    Part,
    /// It is complete, its message is not.
    Fragment,
    /// It is complete and so is its message, of this kind.
    Whole(Kind),
}

/// What is half received.
#[derive(Default)]
struct Held {
    /// First the gathered message, then a tail: a header that is not all there, or the payload of the frame in
    /// `frame`, or what was handed out. No two of them are ever needed at once.
    bytes: Vec<u8>,
    /// The message that waits for more.
    begun: Option<Begun>,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// The tail was handed out and may go.
    handed_out: bool,
}

impl Held {
    /// Where the gathered message ends and the tail begins.
    fn message_bytes(&self) -> usize {
        self.begun.map_or(0, |begun| begun.bytes)
    }

    fn tail(&self) -> &[u8] {
        self.bytes.get(self.message_bytes()..).unwrap_or_default()
    }

    fn drop_tail(&mut self) {
        self.bytes.truncate(self.message_bytes());
    }

    fn let_go(&mut self) {
        if std::mem::take(&mut self.handed_out) {
            self.drop_tail();
        }
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.begun.is_none() && self.frame.is_none()
    }

    /// Makes `frame` the one whose payload is arriving, and the message it belongs to one fragment longer.
    fn begin(&mut self, frame: Frame) {
        if !frame.kind.opcode.is_control() {
            let first = Begun { kind: frame.kind, fragments: 0, bytes: 0, checked_bytes: 0 };
            self.begun.get_or_insert(first).fragments += 1;
        }
        self.frame = Some(frame);
    }

    /// Takes what has arrived of the present frame's payload.
    fn gather(
        &mut self,
        input: &mut Input<'_>,
        message_bytes_max: usize,
    ) -> Result<Gathered, Violation> {
        let Some(frame) = self.frame.take() else {
            return Ok(Gathered::Fragment);
        };
        let arrived = input.take_up_to(frame.left_bytes);
        unmask(arrived, frame.mask);
        self.make_room(arrived.len(), &frame, message_bytes_max);
        self.bytes.extend_from_slice(arrived);
        let frame = Frame {
            mask: turned(frame.mask, arrived.len()),
            left_bytes: frame.left_bytes - arrived.len(),
            ..frame
        };
        self.check_text(&frame)?;
        if frame.left_bytes > 0 {
            self.frame = Some(frame);
            return Ok(Gathered::Part);
        }
        Ok(self.finish(&frame))
    }

    /// Ends the present frame, and its message if it was the last of it.
    fn finish(&mut self, frame: &Frame) -> Gathered {
        if frame.kind.opcode.is_control() {
            self.handed_out = true;
            return Gathered::Whole(frame.kind);
        }
        match &mut self.begun {
            Some(begun) if !frame.fin => {
                begun.bytes = self.bytes.len();
                Gathered::Fragment
            }
            begun => {
                // With nothing begun any more all that was gathered is the tail, and the tail is handed out.
                let kind = begun.take().map_or(frame.kind, |begun| begun.kind);
                self.handed_out = true;
                Gathered::Whole(kind)
            }
        }
    }

    /// Makes room for what has arrived: twice what was there before, so that bytes which come one by one are
    /// not copied over and over, but not past where the message must end.
    fn make_room(&mut self, arrived: usize, frame: &Frame, message_bytes_max: usize) {
        let there = self.bytes.len();
        let needed = there + arrived;
        if needed > self.bytes.capacity() {
            let end = if frame.fin { there + frame.left_bytes } else { message_bytes_max };
            let room = there.saturating_mul(2).min(end).max(needed);
            self.bytes.reserve_exact(room - there);
        }
    }

    /// Checks what has arrived of a text since the last check; no byte is looked at more than four times.
    ///
    /// A code point may be cut here, since more may come. One that the end of the message cuts is found when
    /// the message is read.
    fn check_text(&mut self, frame: &Frame) -> Result<(), Violation> {
        let Some(begun) = &mut self.begun else {
            return Ok(());
        };
        let is_text = begun.kind == Kind { opcode: Opcode::Text, deflated: false };
        if frame.kind.opcode.is_control() || !is_text {
            return Ok(());
        }
        let unchecked = self.bytes.get(begun.checked_bytes..).unwrap_or_default();
        match simdutf8::compat::from_utf8(unchecked) {
            Ok(text) => begun.checked_bytes += text.len(),
            Err(cut) if cut.error_len().is_none() => begun.checked_bytes += cut.valid_up_to(),
            Err(_) => return Err(Violation::NotUtf8 { opcode: Opcode::Text }),
        }
        Ok(())
    }
}
