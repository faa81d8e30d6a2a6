//! Plans: what a `sub` gets, by the five cases of the protocol's §5. Pure arithmetic.

use tertulia_protocol::command::Sub;
use tertulia_protocol::reply::Attached;
use tertulia_protocol::{Role, Seq};

use super::authorise::Allowed;
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
    /// What `sub` gets.
    pub(super) fn of(sub: &Sub, allowed: &Allowed, limits: &Limits) -> Plan {
        let Allowed { view, role, version } = *allowed;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tertulia_protocol::command::Position;
    use tertulia_protocol::limits::INTEGER_MAX;
    use tertulia_protocol::{Epoch, RoomId, RoomKind};
    use tertulia_store::{Head, RoomNo};

    use super::*;
    use crate::limits;
    use crate::membership::Membership;

    /// A room whose log holds `first` to `head`, and a client that has everything up to `seq` of epoch
    /// `e7`. Says what it gets: what is replayed, if the bytes allow, and which flags.
    fn check(log: (Seq, Seq), from: Option<(&str, Seq)>, page: u64, jump: u64, expected: &str) {
        let plan = planned(log, from, page, jump);
        let mut got = format!("{}..{}", plan.base, plan.want);
        let attached = plan.attached(plan.want);
        for (flag, word) in
            [(attached.reset, " reset"), (attached.hole, " hole"), (attached.more, " more")]
        {
            got.push_str(if flag { word } else { "" });
        }
        let (first, head) = log;
        assert_eq!(
            got, expected,
            "log {first}..{head}, client at {from:?}, page {page}, jump {jump}"
        );
    }

    fn planned(log: (Seq, Seq), from: Option<(&str, Seq)>, page: u64, jump: u64) -> Plan {
        let (first, head) = log;
        let epoch = |text| Epoch::parse(text).unwrap();
        let view = View {
            no: RoomNo(1),
            epoch: epoch("e7"),
            head: Head { seq: head, n: 0, first, ts: 0 },
            kind: RoomKind::Group,
        };
        let room = RoomId::parse("r1").unwrap();
        let from = from.map(|(text, seq)| Position { epoch: epoch(text), seq });
        let cache = Membership::new(1, std::time::Duration::ZERO);
        let version = cache.version(&room);
        let sub = Sub { room, from, page: Some(page), jump: Some(jump) };
        let allowed = Allowed { view, role: Role::Member, version };
        Plan::of(&sub, &allowed, &limits::for_tests())
    }

    /// Mostly close together, where the cases meet; now and then as large as they get.
    fn seq() -> impl Strategy<Value = Seq> {
        prop_oneof![8 => 0..40_u64, 1 => 0..=INTEGER_MAX, 1 => INTEGER_MAX - 40..=INTEGER_MAX]
    }

    proptest! {
        #[test]
        fn what_is_neither_replayed_nor_known_is_told(
            head in seq(),
            trimmed in seq(),
            at in prop::option::of((prop_oneof![4 => Just("e7"), 1 => Just("e6")], seq())),
            page in 1..50_u64,
            jump in seq(),
        ) {
            let first = trimmed.min(head) + 1;
            let plan = planned((first, head), at, page, jump);
            prop_assert!(plan.base <= plan.want && plan.want <= head);
            prop_assert!(plan.want - plan.base <= page);
            prop_assert!(plan.want == plan.base || plan.base >= first - 1, "replays what is gone");
            match at {
                None => prop_assert!(!plan.reset && !plan.hole && plan.base == head),
                Some((epoch, seq)) if epoch != "e7" || seq > head => {
                    prop_assert!(plan.reset && !plan.hole && plan.base == head);
                }
                Some((_, seq)) => {
                    prop_assert!(!plan.reset && seq <= plan.base);
                    prop_assert_eq!(plan.hole, seq < plan.base, "a hole is where events are left out");
                    // Whoever goes on asking comes to the head.
                    prop_assert!(plan.want > seq || seq == head);
                }
            }
        }
    }

    #[test]
    fn p5_1_without_a_position_from_now_on() {
        check((1, 57), None, 256, 2000, "57..57");
        check((1, 0), None, 256, 2000, "0..0");
    }

    #[test]
    fn p5_2_another_epoch_or_a_number_past_the_head_is_a_reset() {
        check((1, 57), Some(("e6", 41)), 256, 2000, "57..57 reset");
        check((1, 57), Some(("e7", 58)), 256, 2000, "57..57 reset");
        check((1, 57), Some(("e7", 57)), 256, 2000, "57..57");
    }

    #[test]
    fn p5_3_trimmed_or_too_far_behind_is_a_hole() {
        check((31, 57), Some(("e7", 10)), 256, 2000, "30..57 hole");
        check((31, 57), Some(("e7", 30)), 256, 2000, "30..57");
        check((31, 57), Some(("e7", 29)), 256, 2000, "30..57 hole");
        check((31, 57), Some(("e7", 10)), 256, 20, "57..57 hole");
        check((1, 57), Some(("e7", 10)), 256, 46, "57..57 hole");
        check((1, 57), Some(("e7", 10)), 256, 47, "10..57");
        check((58, 57), Some(("e7", 10)), 256, 2000, "57..57 hole");
    }

    #[test]
    fn p5_4_what_fits_a_page_is_replayed_whole() {
        check((1, 57), Some(("e7", 41)), 16, 2000, "41..57");
        check((1, 57), Some(("e7", 0)), 57, 2000, "0..57");
    }

    #[test]
    fn p5_5_what_does_not_fit_comes_page_by_page() {
        check((1, 57), Some(("e7", 41)), 15, 2000, "41..56 more");
        check((31, 57), Some(("e7", 10)), 5, 2000, "30..35 hole more");
    }
}
