//! Share: how much of a shard's time one connection gets before the others have theirs. (1 receive)
//!
//! What a connection says is bounded by bytes, and bytes do not tell how long they take: a hundred of them are a
//! message of 64 KiB once they are inflated, and a fragment may be one of them. So whoever says much is also
//! measured by the clock, and left alone afterwards.
//!
//! Never: refuses or closes, which is for the limits; looks at those who say little.

use super::connection::WaitsFor;
use super::{Ports, Shard};
use crate::draft::Address;

/// Most bytes of text that are made of one read of compressed messages, give or take a message: as many as a read
/// brings that is not compressed.
pub(super) const INFLATED_BYTES_MAX: u64 = 64 * 1024;

/// Whoever said less at once is not measured. The clock goes on while the thread is kept from its processor, and
/// those who keep to their bounds are not to wait for that.
pub(super) const MANY_BYTES: usize = 16 * 1024;

/// To take less than that is no reason to wait: others wait for the end of a turn two or three times with each
/// message, and this is what they notice of it.
const HELD_NS: u64 = 250_000;

/// Afterwards a connection is left alone for so many times as long as it took: a quarter of the thread's time is
/// more than enough for all that the limits let through.
const LEFT_ALONE: u64 = 3;

/// But no longer than that: a machine that stood still for a minute is not what a connection did.
const LEFT_ALONE_NS_MAX: u64 = 1_000_000_000;

impl Shard {
    /// Leaves a connection alone for a while if some of what came is left, or if it took long since then and
    /// `many` bytes had come.
    pub(super) fn share(&mut self, from: Address, many: bool, since_ns: u64, ports: &impl Ports) {
        if !self.is_current(from) {
            return;
        }
        let (now_ns, connection) = (ports.now_ns(), &mut self.connections[from.place as usize]);
        let parked = connection.parked.as_ref();
        let is_left = parked.is_some_and(|parked| parked.waits_for == WaitsFor::Others);
        let took_ns = now_ns.saturating_sub(since_ns);
        if !connection.postponed && (is_left || many && took_ns >= HELD_NS) {
            connection.postponed = true;
            let alone_ns = (took_ns * LEFT_ALONE).min(LEFT_ALONE_NS_MAX);
            self.postponed.push((now_ns + alone_ns, from));
        }
    }

    /// Those go on who were left alone for long enough.
    pub(super) fn go_on_with_postponed(&mut self, ports: &mut impl Ports) {
        let now_ns = self.now_ns;
        let due: Vec<(u64, Address)> =
            self.postponed.extract_if(.., |(when_ns, _)| *when_ns <= now_ns).collect();
        for (_, at) in due {
            if !self.is_current(at) {
                continue;
            }
            let connection = &mut self.connections[at.place as usize];
            connection.postponed = false;
            // It was not read meanwhile: its silence begins now.
            connection.heard = self.tick;
            let waits_for = connection.parked.as_ref().map(|parked| parked.waits_for);
            if waits_for == Some(WaitsFor::Others) {
                self.go_on(at.place, |_| (), ports);
            } else if self.reads(at) {
                ports.resume(at);
            }
        }
    }
}
