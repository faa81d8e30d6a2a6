//! Deflate: compressed forms for those who agreed on them, while there is time to make them. (7 deliver)
//!
//! What a room says is compressed once, by the shard that first needs it, and shared by all that hear it. A long
//! reply is compressed for its one reader.
//!
//! Never: compresses what is short, or so much in a turn, or while the thread is busy, that others would notice.

use std::ops::Range;
use std::sync::Arc;

use tertulia_protocol::frame;

use super::Shard;
use crate::slab::Slab;

impl Shard {
    /// Queues events of one room: a range of a slab as it stands, or all of it as one compressed message.
    pub(super) fn queue_events(
        &mut self,
        place: u32,
        serial: u32,
        slab: &Arc<Slab>,
        range: Range<u32>,
        events: u32,
    ) {
        let deflates = self.connections[place as usize].deflates
            && range.len() == slab.bytes().len()
            && range.len() >= self.limits.deflate_from_bytes
            && self.deflate(slab);
        let out = &mut self.connections[place as usize].out;
        if deflates {
            let bytes = self.links.deflated(out, serial, slab, events);
            self.counters.deflate_saved_bytes.add((range.len() - bytes) as u64);
        } else {
            self.links.events(out, serial, slab, range, events);
        }
    }

    /// Whether there is a compressed form of a slab. One that is made already is used in any case.
    fn deflate(&mut self, slab: &Slab) -> bool {
        if slab.deflated().is_some() {
            return true;
        }
        if !self.pressure.has_time() {
            return false;
        }
        self.pressure.spend(slab.bytes().len());
        slab.deflate(&mut self.deflater).is_some()
    }

    /// Queues one object for a connection; `write` writes its line.
    pub(super) fn reply(&mut self, place: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let connection = &mut self.connections[place as usize];
        let deflater =
            (connection.deflates && self.pressure.has_time()).then_some(&mut self.deflater);
        let (mut tried, mut saved, from_bytes) = (0, 0, self.limits.deflate_from_bytes);
        self.links.reply(&mut connection.out, |out| {
            let start = out.len();
            frame::put_text_with(out, write);
            if let Some(deflater) = deflater
                && out.len() - start >= from_bytes
            {
                let plain = out.len();
                deflater.deflate_frame(out, start);
                (tried, saved) = (plain - start, plain - out.len());
            }
        });
        self.pressure.spend(tried);
        self.counters.deflate_saved_bytes.add(saved as u64);
        self.touch(place);
    }
}
