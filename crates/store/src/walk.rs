//! When the cids are walked over to forget the old ones.
//!
//! No index by age, which every message would pay for: now and then all are looked at, in small steps.

/// From the end of one walk to the next: so much longer a cid may be kept, and a server that has nothing to do
/// does not read the table without end.
const WALK_EVERY_MS: u64 = 3600 * 1000;

/// When the last walk was.
#[derive(Clone, Default)]
pub(crate) struct Walk {
    /// What was forgotten when it ended: everything from before that time (ms since 1970).
    walked_for: Option<u64>,
}

impl Walk {
    /// Whether it is time for one, or for the rest of one.
    pub(crate) fn is_due(&self, forget_before: u64) -> bool {
        // Either way, since a clock may be set back.
        self.walked_for.is_none_or(|then| then.abs_diff(forget_before) >= WALK_EVERY_MS)
    }

    /// All have been looked at.
    pub(crate) fn ended(&mut self, forget_before: u64) {
        self.walked_for = Some(forget_before);
    }
}
