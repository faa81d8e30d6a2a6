//! Heirs: a session passes from a connection to a newer one, which is answered when the older one is gone.
//!
//! The older one may itself still wait for one before it. Whoever takes over from it then waits for that one,
//! too: nobody says anything in a session that another one has been answered for. One that goes while it waits
//! keeps its seat until then, or the next one would find nobody to wait for.

use tertulia_protocol::{Close, UserId};

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

/// A connection that waits until the one before it is gone.
#[derive(Default)]
pub(super) struct Waiting {
    /// Who then takes over from it.
    next: Option<Heir>,
    /// Whose seat it has left behind, if it did not wait so long.
    gone: Option<UserId>,
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
            let Some(waiting) = self.heirs.get_mut(&old.address) else { return Flow::Done };
            waiting.next = Some(Heir { shard: self.id, address, token });
        } else {
            let replace = Input::Replace { old: old.address, shard: self.id, new: address, token };
            self.hub.inboxes()[old.shard].queue.push_all([replace]);
        }
        self.heirs.insert(address, Waiting::default());
        Flow::Wait
    }

    /// The user's connection is gone, and with it its seat, unless it waited for one before it.
    pub(super) fn leave_seat(&mut self, of: Address, user: &UserId) {
        match self.heirs.get_mut(&of) {
            Some(waiting) => waiting.gone = Some(user.clone()),
            None => self.people.leave(user, self.id, of, self.now_ns),
        }
    }

    /// A connection of another shard takes over from one here.
    pub(super) fn replace(
        &mut self,
        old: Address,
        shard: usize,
        new: Address,
        token: u32,
        ports: &mut impl Ports,
    ) {
        if self.is_current(old) {
            self.close(old.place, Close::Replaced, None);
        }
        let next = Heir { shard, address: new, token };
        match self.heirs.get_mut(&old) {
            Some(waiting) => waiting.next = Some(next),
            None => self.tell(next, ports),
        }
    }

    /// Whoever had the session before is gone.
    pub(super) fn replaced(&mut self, new: Address, token: u32, ports: &mut impl Ports) {
        let Waiting { next, gone } = self.heirs.remove(&new).unwrap_or_default();
        if let Some(next) = next {
            self.tell(next, ports);
        }
        if let Some(user) = gone {
            self.people.leave(&user, self.id, new, self.now_ns);
        }
        self.seat_left(new, token, ports);
    }

    /// What was said in the session before goes into the commit queue first, or the heir's own might overtake it.
    fn tell(&self, Heir { shard, address, token }: Heir, ports: &mut impl Ports) {
        ports.hand_in();
        self.hub.inboxes()[shard].queue.push_all([Input::Replaced { new: address, token }]);
    }
}
