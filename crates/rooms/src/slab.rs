//! Slabs: events as they go over the wire, one run of bytes for any number of readers.
//!
//! A slab holds whole WebSocket frames, one event each, numbers without holes. Readers share it and keep
//! a range; nobody copies it. All that is alive is counted, so that slow readers cannot hold the memory.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tertulia_protocol::Seq;
use tertulia_protocol::frame::{self, Deflater, Opcode};
use tertulia_protocol::limits::SERVER_MESSAGE_BYTES_MAX;

/// A run of events of one room.
pub struct Slab {
    /// The number before its first event.
    before: Seq,
    /// Where each event's frame ends.
    ends: Box<[u32]>,
    bytes: Box<[u8]>,
    deflated: OnceLock<Option<Box<[u8]>>>,
    /// Someone makes the compressed form, or has made it.
    deflating: AtomicBool,
    gauge: Gauge,
}

/// Bytes of all slabs that are alive.
#[derive(Clone, Default)]
pub struct Gauge(Arc<Alive>);

#[derive(Default)]
struct Alive {
    bytes: AtomicUsize,
    deflated_bytes: AtomicUsize,
}

impl Gauge {
    /// The bytes, compressed forms included.
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed) + self.deflated_bytes()
    }

    /// Those of compressed forms.
    pub fn deflated_bytes(&self) -> usize {
        self.0.deflated_bytes.load(Ordering::Relaxed)
    }
}

impl Slab {
    /// The number before its first event.
    pub fn before(&self) -> Seq {
        self.before
    }

    /// The number of its last event.
    pub fn last(&self) -> Seq {
        self.before + self.ends.len() as u64
    }

    /// How many events it holds.
    pub fn events(&self) -> usize {
        self.ends.len()
    }

    /// Its frames.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All its events as one compressed message, their lines joined by newlines; made when the first reader
    /// wants it, for all of them. `None` if that is no shorter, or longer than a message may be, or while
    /// another thread makes it: nobody waits for that.
    ///
    /// Cost: once some 10 µs and 5 µs a KiB.
    pub fn deflate(&self, deflater: &mut Deflater) -> Option<&[u8]> {
        if !self.deflating.swap(true, Ordering::Relaxed) {
            // Only whoever turned the flag comes here, so it is not set yet.
            _ = self.deflated.set(self.make_deflated(deflater));
        }
        self.deflated()
    }

    fn make_deflated(&self, deflater: &mut Deflater) -> Option<Box<[u8]>> {
        if self.bytes.len() > SERVER_MESSAGE_BYTES_MAX {
            return None;
        }
        let lines = self.lines(self.before, self.last());
        let mut message = Vec::with_capacity(self.bytes.len() / 2);
        let parts = lines.flat_map(|line| [b"\n".as_slice(), line]).skip(1);
        deflater.put(&mut message, Opcode::Text, parts);
        let message = (message.len() < self.bytes.len()).then(|| message.into_boxed_slice())?;
        self.gauge.0.deflated_bytes.fetch_add(message.len(), Ordering::Relaxed);
        Some(message)
    }

    /// The compressed message, if it was made.
    pub fn deflated(&self) -> Option<&[u8]> {
        self.deflated.get()?.as_deref()
    }

    /// Where the frames of the events behind `after`, up to and with `upto`, stand.
    pub fn range(&self, after: Seq, upto: Seq) -> Range<u32> {
        self.end_of(after)..self.end_of(upto)
    }

    /// Where the frame ends that the byte `at` is inside of; `at` itself if it stands between two.
    pub fn frame_end(&self, at: u32) -> u32 {
        if at == 0 {
            return 0;
        }
        self.ends[self.ends.partition_point(|end| *end < at)]
    }

    /// The last event whose frame ends at or before `limit` bytes behind the frame of `after`.
    pub fn fits(&self, after: Seq, limit: usize) -> Seq {
        let start = self.end_of(after) as usize;
        self.before + self.ends.partition_point(|end| *end as usize <= start + limit) as u64
    }

    /// The lines of the events behind `after`, up to and with `upto`, without their frames.
    pub fn lines(&self, after: Seq, upto: Seq) -> impl Iterator<Item = &[u8]> {
        let mut start = self.end_of(after) as usize;
        let first = after.saturating_sub(self.before) as usize;
        let last = (upto.saturating_sub(self.before) as usize).min(self.ends.len());
        self.ends.get(first..last).unwrap_or_default().iter().map(move |end| {
            let frame = &self.bytes[start..*end as usize];
            start = *end as usize;
            frame::payload_of(frame).unwrap_or_default()
        })
    }

    fn end_of(&self, seq: Seq) -> u32 {
        match seq.saturating_sub(self.before).min(self.ends.len() as u64) {
            0 => 0,
            events => self.ends[events as usize - 1],
        }
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        let alive = &self.gauge.0;
        alive.bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        let deflated = self.deflated().map_or(0, <[u8]>::len);
        alive.deflated_bytes.fetch_sub(deflated, Ordering::Relaxed);
    }
}

/// A slab that grows.
pub struct SlabBuilder {
    before: Seq,
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl SlabBuilder {
    /// An empty one whose first event will be `before` + 1.
    pub fn after(before: Seq) -> SlabBuilder {
        SlabBuilder { before, ends: Vec::new(), bytes: Vec::new() }
    }

    /// Adds the next event, and says where its line stands.
    pub fn push(&mut self, line: &[u8]) -> Range<usize> {
        frame::put_text(&mut self.bytes, line);
        self.ends.push(self.bytes.len() as u32);
        self.bytes.len() - line.len()..self.bytes.len()
    }

    /// Adds frames of another slab as they stand. They must go on where this one ends.
    pub fn copy(&mut self, from: &Slab, after: Seq, upto: Seq) {
        debug_assert_eq!(self.last(), after, "a slab has no holes");
        let range = from.range(after, upto);
        let shift = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&from.bytes[range.start as usize..range.end as usize]);
        let first = (after - from.before) as usize;
        let last = first + (upto - after) as usize;
        self.ends.extend(from.ends[first..last].iter().map(|end| end - range.start + shift));
    }

    /// The bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of its last event.
    pub fn last(&self) -> Seq {
        self.before + self.ends.len() as u64
    }

    /// No more events.
    pub fn finish(self, gauge: &Gauge) -> Arc<Slab> {
        gauge.0.bytes.fetch_add(self.bytes.len(), Ordering::Relaxed);
        Arc::new(Slab {
            before: self.before,
            ends: self.ends.into(),
            bytes: self.bytes.into(),
            deflated: OnceLock::new(),
            deflating: AtomicBool::new(false),
            gauge: gauge.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use tertulia_protocol::frame::Inflater;

    use super::*;

    #[test]
    fn a_slab_knows_where_each_event_stands() {
        let gauge = Gauge::default();
        let mut builder = SlabBuilder::after(41);
        assert_eq!(builder.push(b"one"), 2..5);
        assert_eq!(builder.push(b"three"), 7..12);
        let slab = builder.finish(&gauge);
        assert_eq!((slab.before(), slab.last(), slab.events()), (41, 43, 2));
        assert_eq!(slab.range(41, 43), 0..12);
        assert_eq!(slab.range(42, 43), 5..12);
        assert_eq!(slab.range(0, 99), 0..12);
        assert_eq!([0, 1, 5, 6, 12].map(|at| slab.frame_end(at)), [0, 5, 5, 12, 12]);
        assert_eq!([4, 5, 11, 12].map(|limit| slab.fits(41, limit)), [41, 42, 42, 43]);
        assert_eq!(slab.fits(42, 7), 43);
        assert_eq!(slab.lines(41, 99).collect::<Vec<_>>(), [b"one".as_slice(), b"three"]);
        assert_eq!(slab.lines(42, 43).collect::<Vec<_>>(), [b"three"]);
        let mut copy = SlabBuilder::after(42);
        copy.copy(&slab, 42, 43);
        copy.push(b"four");
        let copy = copy.finish(&gauge);
        assert_eq!(copy.lines(42, 44).collect::<Vec<_>>(), [b"three".as_slice(), b"four"]);
        drop(copy);
        assert_eq!(gauge.bytes(), 12);
        assert_eq!(slab.deflate(&mut Deflater::default()), None, "it is no shorter");
        assert_eq!(gauge.bytes(), 12);
        drop(slab);
        assert_eq!(gauge.bytes(), 0);
    }

    #[test]
    fn nobody_waits_for_another_thread_to_compress() {
        let mut builder = SlabBuilder::after(0);
        builder.push(&[b'x'; 1000]);
        let slab = builder.finish(&Gauge::default());
        slab.deflating.store(true, Ordering::Relaxed);
        assert_eq!(slab.deflate(&mut Deflater::default()), None);
    }

    #[test]
    fn a_slab_is_compressed_once_and_counted() {
        let gauge = Gauge::default();
        let mut builder = SlabBuilder::after(0);
        let line = r#"{"t":"ev","room":"r1","seq":58,"d":{"text":"hi"}}"#;
        builder.push(line.as_bytes());
        builder.push(line.as_bytes());
        let slab = builder.finish(&gauge);
        assert_eq!(slab.deflated(), None);
        let mut deflater = Deflater::default();
        let made = slab.deflate(&mut deflater).unwrap();
        assert!(std::ptr::eq(made, slab.deflate(&mut deflater).unwrap()));
        assert!(std::ptr::eq(made, slab.deflated().unwrap()));
        assert_eq!(gauge.bytes(), slab.bytes().len() + made.len());
        let mut inflater = Inflater::default();
        let mut decoder = frame::Decoder::new(frame::Side::Client);
        let mut bytes = made.to_vec();
        let heard = decoder.next_inflated(&mut frame::Input::new(&mut bytes), 1000, &mut inflater);
        let text = format!("{line}\n{line}");
        assert_eq!(heard, Ok(Some(frame::Message::Text(&text))));
        drop(slab);
        assert_eq!(gauge.bytes(), 0);
    }
}
