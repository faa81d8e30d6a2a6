//! Echo: a connection says back what it hears, so that others can judge our WebSocket alone. (2 decode, 8 send)
//!
//! Only in a build with the feature `conformance`, where nobody gets further than this. Everything else that
//! a byte passes is what it passes in a release: the door, the upgrade, the driver, the decoder, the queue.

use tertulia_protocol::frame::{self, Message, Opcode};

use super::Shard;

impl Shard {
    /// Says a text or a binary message back; whatever else it is goes its usual way.
    pub(super) fn echo<'a>(&mut self, place: u32, message: Message<'a>) -> Option<Message<'a>> {
        let (opcode, payload) = match message {
            Message::Text(text) => (Opcode::Text, text.as_bytes()),
            Message::Binary(bytes) => (Opcode::Binary, bytes),
            Message::Ping(_) | Message::Pong(_) | Message::Close { .. } => return Some(message),
        };
        let connection = &mut self.connections[place as usize];
        let (deflates, deflater) = (connection.deflates, &mut self.deflater);
        self.links.reply(&mut connection.out, |out| {
            // However short: the suite takes nothing else for an answer where it was agreed on.
            if deflates {
                return deflater.put(out, opcode, [payload]);
            }
            frame::put_header(out, opcode, payload.len());
            out.extend_from_slice(payload);
        });
        self.touch(place);
        None
    }
}
