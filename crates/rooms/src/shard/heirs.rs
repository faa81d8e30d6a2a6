//! Heirs: a session passes from a connection to a newer one, which is answered when the older one is gone.
//!
//! The older one may itself still wait for one before it. Whoever takes over from it then waits for that one,
//! too: nobody says anything in a session that another one has been answered for.

use tertulia_protocol::Close;

use super::inbox::Input;
use super::session::Flow;
use super::{Ports, Shard};
use crate::draft::Address;
use crate::people::Seat;

/// Who is to hear that a seat was left.
#[derive(Clone, Copy)]
pub(super) struct Heir {
    shard: usize,
    address: Address,
    token: u32,
}

impl Shard {
    /// Sends away whoever had the session of `place` before, and lets it wait until they are gone.
    pub(super) fn take_over(&mut self, place: u32, old: &Seat) -> Flow {
        let token = self.next_token(place);
        let address = self.address(place);
        if old.shard == self.id {
            if self.is_current(old.address) {
                self.close(old.address.place, Close::Replaced, None);
            }
            let Some(heir) = self.heirs.get_mut(&old.address) else { return Flow::Done };
            *heir = Some(Heir { shard: self.id, address, token });
        } else {
            let replace = Input::Replace { old: old.address, shard: self.id, new: address, token };
            self.hub.inboxes()[old.shard].queue.push_all([replace]);
        }
        self.heirs.insert(address, None);
        Flow::Wait
    }

    /// A connection of another shard takes over from one here.
    pub(super) fn replace(&mut self, old: Address, shard: usize, new: Address, token: u32) {
        if self.is_current(old) {
            self.close(old.place, Close::Replaced, None);
        }
        let next = Heir { shard, address: new, token };
        match self.heirs.get_mut(&old) {
            Some(heir) => *heir = Some(next),
            None => self.tell(next),
        }
    }

    /// Whoever had the session before is gone.
    pub(super) fn replaced(&mut self, new: Address, token: u32, ports: &mut impl Ports) {
        if let Some(Some(next)) = self.heirs.remove(&new) {
            self.tell(next);
        }
        self.seat_left(new, token, ports);
    }

    fn tell(&self, Heir { shard, address, token }: Heir) {
        self.hub.inboxes()[shard].queue.push_all([Input::Replaced { new: address, token }]);
    }
}
