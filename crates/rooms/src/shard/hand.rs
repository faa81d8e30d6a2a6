//! What has been found out for a parked command, so that it can be run again from its start.
//!
//! A command that has to wait is not continued in the middle: it is run anew, with the answers in hand.
//! So every run sees what is true by then, and there is one way through the code.

use std::sync::Arc;

use tertulia_protocol::{Role, RoomId, Seq};
use tertulia_store::{Room, RoomNo};

use super::plan::Plan;
use crate::identity::{Identity, Verdict};
use crate::lookup::Known;
use crate::refusal::Refusal;
use crate::slab::Slab;

/// Times a command may ask the same again because the room changed meanwhile.
const ASKS_MAX: u8 = 8;

/// Answers in hand.
#[derive(Default)]
pub(crate) struct Hand {
    pub(super) verdict: Option<Verdict>,
    pub(super) identity: Option<Identity>,
    /// The seat is taken, and whoever had the session is gone.
    pub(super) seated: bool,
    pub(super) known: Vec<Known>,
    /// What each room's `sub` will be answered, fixed when it was authorised.
    pub(super) plans: Option<Vec<Result<Plan, Refusal>>>,
    pub(super) pages: Vec<(RoomNo, Arc<Slab>)>,
    pub(super) rooms: Option<(Vec<(Room, Role)>, bool)>,
    pub(super) failed: bool,
    asks: u8,
}

impl Hand {
    /// Whether one question more makes sense. Each counts.
    pub(super) fn may_ask(&mut self) -> bool {
        self.asks += 1;
        !self.failed && self.asks <= ASKS_MAX
    }

    pub(super) fn known(&self, id: &RoomId) -> Option<&Known> {
        self.known.iter().find(|known| known.id == *id)
    }

    /// The page behind `after`, if it is there.
    pub(super) fn page(&self, room: RoomNo, after: Seq) -> Option<&Arc<Slab>> {
        self.pages
            .iter()
            .find(|(no, page)| *no == room && page.before() == after)
            .map(|(_, page)| page)
    }
}
