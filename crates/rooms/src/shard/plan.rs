//! Plans: what a `sub` gets, by the five cases of the protocol's §5. Pure arithmetic.

use tertulia_protocol::command::Sub;
use tertulia_protocol::reply::Attached;
use tertulia_protocol::{Role, Seq};

use crate::hub::View;
use crate::limits::Limits;
use crate::membership::Version;

/// What was decided when the `sub` was authorised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(super) view: View,
    pub(super) role: Role,
    /// Of the memberships, when it was decided.
    pub(super) version: Version,
    /// Replay begins behind this number.
    pub(super) base: Seq,
    /// And goes as far as this one, if its bytes allow.
    pub(super) want: Seq,
    pub(super) reset: bool,
    pub(super) hole: bool,
}

impl Plan {
    /// What `sub` gets from a room that looks like `view`.
    pub(super) fn of(sub: &Sub, view: View, role: Role, version: Version, limits: &Limits) -> Plan {
        let head = view.head.seq;
        let to_head =
            Plan { view, role, version, base: head, want: head, reset: false, hole: false };
        let Some(from) = sub.from else { return to_head };
        if from.epoch != view.epoch || from.seq > head {
            return Plan { reset: true, ..to_head };
        }
        let page = sub.page.unwrap_or(limits.page).clamp(1, limits.page_max);
        let jump = sub.jump.unwrap_or(limits.jump).min(limits.jump_max);
        let kept_from = view.head.first - 1;
        let trimmed = from.seq < kept_from;
        let hole = trimmed || head - from.seq > jump;
        let base = match hole {
            false => from.seq,
            true if trimmed && head.saturating_sub(kept_from) <= jump => kept_from,
            true => head,
        };
        Plan { base, want: head.min(base + page), hole, ..to_head }
    }

    /// The answer, once it is known how far the replay goes.
    pub(super) fn attached(&self, upto: Seq) -> Attached {
        let head = self.view.head;
        Attached {
            epoch: self.view.epoch,
            base: self.base,
            upto,
            head: head.seq,
            first: head.first,
            n: head.n,
            role: self.role,
            reset: self.reset,
            hole: self.hole,
            more: upto < head.seq,
        }
    }
}
