//! Tail: the newest events of a room, in memory.
//!
//! A resume after a short absence is answered from here, so that a storm of them does not read the
//! database.

use std::collections::VecDeque;
use std::sync::Arc;

use tertulia_protocol::Seq;

use crate::slab::{Gauge, Slab, SlabBuilder};

/// Slabs without holes between them, newest last.
#[derive(Default)]
pub(crate) struct Tail {
    slabs: VecDeque<Arc<Slab>>,
    bytes: usize,
    events: usize,
}

impl Tail {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the newest events and lets the oldest go that are over a bound.
    pub(crate) fn push(&mut self, slab: &Arc<Slab>, events_max: usize, bytes_max: usize) {
        if self.slabs.back().is_some_and(|newest| newest.last() != slab.before()) {
            self.clear();
        }
        self.bytes += slab.bytes().len();
        self.events += slab.events();
        self.slabs.push_back(slab.clone());
        while self.bytes > bytes_max || self.events > events_max {
            let Some(oldest) = self.slabs.pop_front() else { break };
            self.bytes -= oldest.bytes().len();
            self.events -= oldest.events();
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Tail::default();
    }

    /// Events behind `after`, up to and with `upto`, as many as fit `bytes_max` but at least one.
    ///
    /// `None` if the first of them is not here. A range that is one slab is shared, not copied.
    pub(crate) fn read(
        &self,
        after: Seq,
        upto: Seq,
        bytes_max: usize,
        gauge: &Gauge,
    ) -> Option<Arc<Slab>> {
        if after >= upto || self.slabs.front()?.before() > after || self.slabs.back()?.last() < upto
        {
            return None;
        }
        let start = self.slabs.partition_point(|slab| slab.last() <= after);
        let whole = &self.slabs[start];
        if whole.before() == after && whole.last() == upto && whole.bytes().len() <= bytes_max {
            return Some(whole.clone());
        }
        let mut copy = SlabBuilder::after(after);
        for slab in self.slabs.range(start..) {
            let from = copy.last();
            let room = bytes_max.saturating_sub(copy.bytes().len());
            let fits = slab.fits(from, room).min(upto);
            let fits = if from == after { fits.max(after + 1) } else { fits };
            copy.copy(slab, from, fits);
            if fits < slab.last() || fits == upto {
                break;
            }
        }
        Some(copy.finish(gauge))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slab(before: Seq, lines: &[&str]) -> Arc<Slab> {
        let mut builder = SlabBuilder::after(before);
        for line in lines {
            builder.push(line.as_bytes());
        }
        builder.finish(&Gauge::default())
    }

    #[test]
    fn a_tail_answers_what_it_holds_and_nothing_else() {
        let mut tail = Tail::default();
        tail.push(&slab(10, &["a11", "a12"]), 9, 999);
        tail.push(&slab(12, &["a13"]), 9, 999);
        tail.push(&slab(13, &["a14", "a15"]), 9, 999);
        let read = |after, upto, bytes| {
            let slab = tail.read(after, upto, bytes, &Gauge::default())?;
            let lines: Vec<_> = slab.lines(after, upto).map(String::from_utf8_lossy).collect();
            Some(lines.concat())
        };
        assert_eq!(read(10, 15, 999).as_deref(), Some("a11a12a13a14a15"));
        assert_eq!(read(11, 14, 999).as_deref(), Some("a12a13a14"));
        assert_eq!(read(12, 13, 999).as_deref(), Some("a13"));
        assert_eq!(read(10, 15, 15).as_deref(), Some("a11a12a13"));
        assert_eq!(read(10, 15, 0).as_deref(), Some("a11"));
        assert_eq!(read(9, 15, 999), None, "10 is not here");
        assert_eq!(read(10, 16, 999), None, "16 is not here yet");
        assert_eq!(read(15, 15, 999), None);
    }

    #[test]
    fn a_tail_keeps_its_bounds_and_has_no_holes() {
        let mut tail = Tail::default();
        for seq in 0..10 {
            tail.push(&slab(seq, &["line"]), 4, 999);
        }
        assert_eq!((tail.events, tail.bytes), (4, 24));
        tail.push(&slab(50, &["line"]), 4, 999);
        assert_eq!((tail.events, tail.bytes), (1, 6));
    }
}
