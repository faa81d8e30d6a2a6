//! Outbound queues: what each connection has yet to hear. (7 deliver, 8 send)
//!
//! A queue is a chain through one pool of links, so that a connection with nothing to hear owns nothing
//! and a delivery allocates nothing. Events are ranges of shared slabs, never copies.
//!
//! Never: decides what may be heard, or grows past the bounds by itself; whoever queues looks first.

use std::io::IoSlice;
use std::sync::Arc;

use smallvec::SmallVec;
use tertulia_protocol::frame;

use crate::slab::Slab;

const NONE: u32 = u32::MAX;

/// Links handed to one write: the kernel takes 1,024, but so many small ones are rare.
const PARTS_PER_WRITE: usize = 64;

/// Replies share a buffer up to this size. A buffer goes when all of it is sent, so one that grew as long as
/// a reader is never quite done would keep everything it was ever told.
const REPLY_BUFFER_BYTES: usize = 16 * 1024;

/// Answers to pings that wait: sixteen of the longest, more than anyone sends who waits for them.
const PONG_BYTES: usize = 16 * (2 + frame::CONTROL_BYTES_MAX);

/// What is queued, as far as it can be dropped again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Load {
    /// Replies and control objects: never dropped.
    Reply,
    /// Events of one attachment, by its serial: dropped together, with `lag`.
    Events(u32),
    /// A signal: dropped first.
    Signal,
    /// Answers to pings: when they are many, the next one replaces them.
    Pongs,
}

enum Bytes {
    Own(Vec<u8>),
    Shared(Arc<[u8]>),
    Slab(Arc<Slab>),
    /// The compressed form of all of it, one message.
    Deflated(Arc<Slab>),
}

struct Link {
    bytes: Bytes,
    /// Already sent up to here.
    at: u32,
    end: u32,
    objects: u32,
    load: Load,
    next: u32,
}

impl Link {
    fn rest(&self) -> &[u8] {
        let bytes = match &self.bytes {
            Bytes::Own(bytes) => bytes,
            Bytes::Shared(bytes) => &bytes[..],
            Bytes::Slab(slab) => slab.bytes(),
            Bytes::Deflated(slab) => slab.deflated().expect("it was made before it was queued"),
        };
        &bytes[self.at as usize..self.end as usize]
    }

    fn len(&self) -> u32 {
        self.end - self.at
    }
}

/// What one connection has yet to hear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    first: u32,
    last: u32,
    /// Answers to pings, as long as nothing of them is sent.
    pongs: u32,
    bytes: u32,
    objects: u32,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { first: NONE, last: NONE, pongs: NONE, bytes: 0, objects: 0 }
    }
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }

    pub(crate) fn objects(&self) -> usize {
        self.objects as usize
    }
}

/// The links of all queues of a shard.
pub(crate) struct Links {
    links: Vec<Option<Link>>,
    free: Vec<u32>,
    bytes: u64,
}

/// What a write got rid of.
pub(crate) struct Flushed {
    /// Bytes that the kernel took.
    pub(crate) bytes: usize,
    /// Objects that it took to their end.
    pub(crate) objects: u32,
    /// Calls that were made.
    pub(crate) writes: u32,
}

impl Links {
    pub(crate) fn new() -> Links {
        Links { links: Vec::new(), free: Vec::new(), bytes: 0 }
    }

    /// Bytes that wait, over all queues.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn add(&mut self, queue: &mut Queue, link: Link) {
        queue.bytes += link.len();
        queue.objects += link.objects;
        self.bytes += u64::from(link.len());
        let place = match self.free.pop() {
            Some(place) => {
                self.links[place as usize] = Some(link);
                place
            }
            None => {
                self.links.push(Some(link));
                self.links.len() as u32 - 1
            }
        };
        match self.get_mut(queue.last) {
            Some(last) => last.next = place,
            None => queue.first = place,
        }
        queue.last = place;
    }

    fn get_mut(&mut self, place: u32) -> Option<&mut Link> {
        self.links.get_mut(place as usize)?.as_mut()
    }

    /// Queues a reply: `write` puts whole frames. Replies that follow each other share a buffer.
    pub(crate) fn reply(&mut self, queue: &mut Queue, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(Link { bytes: Bytes::Own(bytes), end, objects, load: Load::Reply, .. }) =
            self.get_mut(queue.last)
            && bytes.len() < REPLY_BUFFER_BYTES
        {
            let before = bytes.len();
            write(bytes);
            give_back(bytes);
            let more = (bytes.len() - before) as u32;
            *end += more;
            *objects += 1;
            queue.bytes += more;
            queue.objects += 1;
            self.bytes += u64::from(more);
            return;
        }
        let mut bytes = Vec::new();
        write(&mut bytes);
        give_back(&mut bytes);
        let end = bytes.len() as u32;
        let bytes = Bytes::Own(bytes);
        self.add(queue, Link { bytes, at: 0, end, objects: 1, load: Load::Reply, next: NONE });
    }

    /// Queues the answer to a ping: `write` puts one frame. When many wait they make way for it, so that
    /// whoever pings and does not read is owed the newest answer and little besides (RFC 6455, 5.5.3).
    pub(crate) fn pong(&mut self, queue: &mut Queue, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(Link { bytes: Bytes::Own(waiting), end, .. }) = self.get_mut(queue.pongs) else {
            let mut bytes = Vec::new();
            write(&mut bytes);
            let (end, bytes) = (bytes.len() as u32, Bytes::Own(bytes));
            self.add(queue, Link { bytes, at: 0, end, objects: 1, load: Load::Pongs, next: NONE });
            queue.pongs = queue.last;
            return;
        };
        if waiting.len() >= PONG_BYTES {
            waiting.clear();
        }
        write(waiting);
        let before = std::mem::replace(end, waiting.len() as u32);
        let after = *end;
        queue.bytes = queue.bytes - before + after;
        self.bytes = self.bytes - u64::from(before) + u64::from(after);
    }

    /// Queues a range of a slab.
    pub(crate) fn events(
        &mut self,
        queue: &mut Queue,
        serial: u32,
        slab: &Arc<Slab>,
        range: std::ops::Range<u32>,
        objects: u32,
    ) {
        let (at, end) = (range.start, range.end);
        let bytes = Bytes::Slab(slab.clone());
        self.add(queue, Link { bytes, at, end, objects, load: Load::Events(serial), next: NONE });
    }

    /// Queues the compressed form of a slab, which was made: one message with all its `objects`. Says how long
    /// it is.
    pub(crate) fn deflated(
        &mut self,
        queue: &mut Queue,
        serial: u32,
        slab: &Arc<Slab>,
        objects: u32,
    ) -> usize {
        let len = slab.deflated().map_or(0, <[u8]>::len);
        let (bytes, load) = (Bytes::Deflated(slab.clone()), Load::Events(serial));
        self.add(queue, Link { bytes, at: 0, end: len as u32, objects, load, next: NONE });
        len
    }

    /// Queues a signal.
    pub(crate) fn signal(&mut self, queue: &mut Queue, frame: &Arc<[u8]>) {
        let end = frame.len() as u32;
        let bytes = Bytes::Shared(frame.clone());
        self.add(queue, Link { bytes, at: 0, end, objects: 1, load: Load::Signal, next: NONE });
    }

    /// Sends as much as `write` takes. `write` says how many bytes it took; less than it was given means
    /// that the socket is full.
    pub(crate) fn flush(
        &mut self,
        queue: &mut Queue,
        mut write: impl FnMut(&[IoSlice<'_>]) -> usize,
    ) -> Flushed {
        let mut flushed = Flushed { bytes: 0, objects: 0, writes: 0 };
        while !queue.is_empty() {
            let mut parts = SmallVec::<[IoSlice<'_>; PARTS_PER_WRITE]>::new();
            let mut given = 0;
            let mut place = queue.first;
            while parts.len() < PARTS_PER_WRITE
                && let Some(link) = self.links.get(place as usize).and_then(Option::as_ref)
            {
                parts.push(IoSlice::new(link.rest()));
                given += link.len() as usize;
                place = link.next;
            }
            let taken = write(&parts);
            drop(parts);
            flushed.writes += 1;
            flushed.bytes += taken;
            flushed.objects += self.advance(queue, taken);
            if taken < given {
                break;
            }
        }
        flushed
    }

    fn advance(&mut self, queue: &mut Queue, mut taken: usize) -> u32 {
        let before = queue.objects;
        self.bytes -= taken as u64;
        queue.bytes -= taken as u32;
        while taken > 0 {
            if queue.pongs == queue.first {
                queue.pongs = NONE;
            }
            let link = self.get_mut(queue.first).expect("no more was taken than was there");
            let whole = link.len() as usize;
            if taken < whole {
                link.at += taken as u32;
                break;
            }
            taken -= whole;
            let (next, objects) = (link.next, link.objects);
            queue.objects -= objects;
            self.release(queue.first);
            queue.first = next;
        }
        if queue.first == NONE {
            queue.last = NONE;
        }
        before - queue.objects
    }

    fn release(&mut self, place: u32) {
        self.links[place as usize] = None;
        self.free.push(place);
    }

    /// Drops what `load` names, but never half a frame: one that was begun goes to its end.
    pub(crate) fn drop_load(&mut self, queue: &mut Queue, load: Load) {
        let mut before = NONE;
        let mut place = queue.first;
        while let Some(link) = self.links.get_mut(place as usize).and_then(Option::as_mut) {
            let next = link.next;
            if link.load == load {
                let begun = begun_frame_end(link);
                let dropped = link.end - begun;
                queue.bytes -= dropped;
                self.bytes -= u64::from(dropped);
                if begun > link.at {
                    if let Bytes::Slab(_) = link.bytes {
                        queue.objects -= link.objects.saturating_sub(1);
                        link.objects = link.objects.min(1);
                    }
                    link.end = begun;
                    before = place;
                } else {
                    queue.objects -= link.objects;
                    self.release(place);
                    match self.get_mut(before) {
                        Some(before) => before.next = next,
                        None => queue.first = next,
                    }
                }
            } else {
                before = place;
            }
            place = next;
        }
        queue.last = before;
    }

    /// The attachment with most bytes of events waiting, among those that `counts`.
    pub(crate) fn fullest(&self, queue: &Queue, counts: impl Fn(u32) -> bool) -> Option<u32> {
        let mut sums = SmallVec::<[(u32, u64); 8]>::new();
        let mut place = queue.first;
        while let Some(link) = self.links.get(place as usize).and_then(Option::as_ref) {
            if let Load::Events(serial) = link.load {
                match sums.iter_mut().find(|(known, _)| *known == serial) {
                    Some((_, bytes)) => *bytes += u64::from(link.len()),
                    None => sums.push((serial, u64::from(link.len()))),
                }
            }
            place = link.next;
        }
        let counting = sums.into_iter().filter(|(serial, _)| counts(*serial));
        counting.max_by_key(|(_, bytes)| *bytes).map(|(serial, _)| serial)
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self, queue: &mut Queue) {
        let mut place = queue.first;
        while let Some(link) = self.links.get(place as usize).and_then(Option::as_ref) {
            let next = link.next;
            self.bytes -= u64::from(link.len());
            self.release(place);
            place = next;
        }
        *queue = Queue::default();
    }
}

/// Lets memory go that was needed only while a reply was written, as before it was compressed: what waits is
/// counted by its bytes, and must not hold many more.
fn give_back(bytes: &mut Vec<u8>) {
    if bytes.capacity() - bytes.len() > REPLY_BUFFER_BYTES {
        bytes.shrink_to(bytes.len() + REPLY_BUFFER_BYTES);
    }
}

/// Where the frame ends that is half sent; where the link stands if none is.
fn begun_frame_end(link: &Link) -> u32 {
    match &link.bytes {
        Bytes::Slab(slab) => slab.frame_end(link.at).min(link.end),
        Bytes::Shared(_) | Bytes::Own(_) | Bytes::Deflated(_) if link.at > 0 => link.end,
        Bytes::Shared(_) | Bytes::Own(_) | Bytes::Deflated(_) => link.at,
    }
}

#[cfg(test)]
mod tests {
    use tertulia_protocol::frame::Deflater;

    use super::*;
    use crate::slab::{Gauge, SlabBuilder};

    fn slab(lines: &[&str]) -> Arc<Slab> {
        let mut builder = SlabBuilder::after(0);
        for line in lines {
            builder.push(line.as_bytes());
        }
        builder.finish(&Gauge::default())
    }

    fn taken(links: &mut Links, queue: &mut Queue, room: usize) -> String {
        let mut left = room;
        let mut text = Vec::new();
        links.flush(queue, |parts| {
            let before = left;
            for part in parts {
                let n = part.len().min(left);
                text.extend_from_slice(&part[..n]);
                left -= n;
            }
            before - left
        });
        String::from_utf8_lossy(&text).replace(|c: char| c.is_control() || c == '\u{fffd}', "|")
    }

    #[test]
    fn a_queue_sends_in_order_and_goes_on_where_the_socket_stopped() {
        let (mut links, mut queue) = (Links::new(), Queue::default());
        let events = slab(&["one", "two"]);
        links.reply(&mut queue, |out| out.extend_from_slice(b"ok1;"));
        links.reply(&mut queue, |out| out.extend_from_slice(b"ok2;"));
        links.events(&mut queue, 0, &events, 0..10, 2);
        links.signal(&mut queue, &Arc::from(b"sig".as_slice()));
        assert_eq!((queue.bytes(), queue.objects()), (21, 5));
        assert_eq!(taken(&mut links, &mut queue, 6), "ok1;ok");
        assert_eq!(taken(&mut links, &mut queue, 8), "2;||one|");
        assert_eq!(taken(&mut links, &mut queue, 99), "|twosig");
        assert!(queue.is_empty());
        assert_eq!((queue.bytes(), queue.objects(), links.bytes()), (0, 0, 0));
        assert_eq!(Arc::strong_count(&events), 1);
    }

    #[test]
    fn what_waits_holds_little_more_memory_than_it_is_counted_for() {
        let (mut links, mut queue) = (Links::new(), Queue::default());
        let compressed = |out: &mut Vec<u8>| {
            let start = out.len();
            out.resize(start + 512 * 1024, b'x');
            out.truncate(start + 10);
        };
        let events = slab(&["one"]);
        for _ in 0..3 {
            links.reply(&mut queue, compressed);
            links.reply(&mut queue, compressed);
            links.events(&mut queue, 0, &events, 0..5, 1);
        }
        assert_eq!(queue.bytes(), 3 * (10 + 10 + 5));
        let own = links.links.iter().flatten().filter_map(|link| match &link.bytes {
            Bytes::Own(bytes) => Some(bytes.capacity()),
            _ => None,
        });
        let held: Vec<usize> = own.collect();
        assert_eq!(held.len(), 3);
        assert!(held.iter().all(|held| *held <= 20 + REPLY_BUFFER_BYTES), "{held:?}");
    }

    #[test]
    fn a_dropped_room_leaves_the_begun_frame_and_nothing_else() {
        let (mut links, mut queue) = (Links::new(), Queue::default());
        let (first, second) = (slab(&["one", "two"]), slab(&["three"]));
        links.events(&mut queue, 7, &first, 0..10, 2);
        links.events(&mut queue, 8, &second, 0..7, 1);
        links.events(&mut queue, 7, &first, 0..10, 2);
        links.signal(&mut queue, &Arc::from(b"sig".as_slice()));
        assert_eq!(links.fullest(&queue, |_| true), Some(7));
        assert_eq!(links.fullest(&queue, |serial| serial == 8), Some(8));
        assert_eq!(taken(&mut links, &mut queue, 3), "||o");
        links.drop_load(&mut queue, Load::Events(7));
        links.drop_load(&mut queue, Load::Signal);
        assert_eq!(queue.objects(), 2);
        links.reply(&mut queue, |out| out.extend_from_slice(b"lag"));
        assert_eq!(queue.bytes(), 2 + 7 + 3);
        assert_eq!(taken(&mut links, &mut queue, 99), "ne||threelag");
        assert!(queue.is_empty());
        assert_eq!((links.bytes(), Arc::strong_count(&first)), (0, 1));
    }

    #[test]
    fn a_compressed_slab_goes_whole_or_not_at_all() {
        let (mut links, mut queue) = (Links::new(), Queue::default());
        let events = slab(&["one one one one one", "one one one one one"]);
        let bytes = events.deflate(&mut Deflater::default()).unwrap().len();
        assert!(bytes < events.bytes().len());
        links.deflated(&mut queue, 7, &events, 2);
        links.deflated(&mut queue, 7, &events, 2);
        assert_eq!((queue.bytes(), queue.objects()), (2 * bytes, 4));
        taken(&mut links, &mut queue, 3);
        links.drop_load(&mut queue, Load::Events(7));
        assert_eq!((queue.bytes(), queue.objects()), (bytes - 3, 2));
        taken(&mut links, &mut queue, 99);
        assert!(queue.is_empty());
        assert_eq!((queue.objects(), links.bytes(), Arc::strong_count(&events)), (0, 0, 1));
    }

    #[test]
    fn a_reader_who_is_never_quite_done_does_not_keep_what_it_was_told() {
        let (mut links, mut queue) = (Links::new(), Queue::default());
        for _ in 0..100 {
            links.reply(&mut queue, |out| out.extend_from_slice(&[b'x'; 1000]));
            links.reply(&mut queue, |out| out.extend_from_slice(&[b'y'; 1000]));
            let waiting = queue.bytes();
            taken(&mut links, &mut queue, waiting - 1000);
        }
        let kept = links.links.iter().flatten().map(|link| match &link.bytes {
            Bytes::Own(bytes) => bytes.len(),
            Bytes::Shared(_) | Bytes::Slab(_) | Bytes::Deflated(_) => 0,
        });
        assert!(kept.sum::<usize>() < 2 * REPLY_BUFFER_BYTES);
    }

    #[test]
    fn of_many_pings_only_the_newest_are_answered() {
        let (mut links, mut queue) = (Links::new(), Queue::default());
        links.pong(&mut queue, |out| out.extend_from_slice(b"1;"));
        links.pong(&mut queue, |out| out.extend_from_slice(b"2;"));
        links.reply(&mut queue, |out| out.extend_from_slice(b"ok;"));
        assert_eq!((queue.bytes(), queue.objects(), links.bytes()), (7, 2, 7));
        // Some of it is sent, so it goes to its end and the next one stands behind.
        assert_eq!(taken(&mut links, &mut queue, 1), "1");
        for pong in 3..10_000 {
            links.pong(&mut queue, |out| out.extend_from_slice(format!("{pong};").as_bytes()));
            assert!(links.bytes() < PONG_BYTES as u64 + 16, "{} bytes wait", links.bytes());
        }
        let told = taken(&mut links, &mut queue, 99_999);
        assert!(told.starts_with(";2;ok;") && told.ends_with(";9998;9999;"), "{told}");
        assert_eq!((queue.bytes(), queue.objects(), links.bytes()), (0, 0, 0));
        // Its place in the pool is another one's by now.
        links.signal(&mut queue, &Arc::from(b"sig;".as_slice()));
        links.pong(&mut queue, |out| out.extend_from_slice(b"7;"));
        links.drop_load(&mut queue, Load::Signal);
        links.pong(&mut queue, |out| out.extend_from_slice(b"8;"));
        assert_eq!(taken(&mut links, &mut queue, 99), "7;8;");
    }

    #[test]
    fn a_cleared_queue_holds_nothing() {
        let (mut links, mut queue) = (Links::new(), Queue::default());
        let events = slab(&["one"]);
        links.events(&mut queue, 7, &events, 0..5, 1);
        links.pong(&mut queue, |out| out.extend_from_slice(b"pong"));
        links.reply(&mut queue, |out| out.extend_from_slice(b"ok"));
        links.clear(&mut queue);
        assert!(queue.is_empty());
        assert_eq!((links.bytes(), Arc::strong_count(&events)), (0, 1));
        links.drop_load(&mut queue, Load::Signal);
        assert!(queue.is_empty());
    }
}
