//! A page of a log: which events an answer to `log` holds, the same at every door.

use tertulia_protocol::Seq;
use tertulia_protocol::limits::REPLAY_BYTES_MAX;
use tertulia_store::{Head, Range, RoomNo};

use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::slab::Slab;

/// What is asked for.
#[derive(Clone, Copy, Default, Debug)]
pub struct Wanted {
    /// Events behind this one; from the oldest on, if absent.
    pub after: Option<Seq>,
    /// Up to and with this one; up to the head, if absent.
    pub upto: Option<Seq>,
    /// At most so many; as many as the settings say, if absent.
    pub limit: Option<u64>,
}

/// What is answered: events behind `after`, up to and with `upto`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// The first event is the one behind it.
    pub after: Seq,
    /// The last event, unless the bytes of a reply end before it.
    pub upto: Seq,
    /// The last event that was asked for and is there.
    last: Seq,
}

impl Page {
    /// The page of a log that stands at `head`.
    ///
    /// Errors: [`Refusal::Trimmed`], since the answer would have a hole that nothing in it shows.
    pub fn of(wanted: Wanted, head: Head, limits: &Limits) -> Result<Page, Refusal> {
        let after = wanted.after.unwrap_or(head.first - 1);
        if after.saturating_add(1) < head.first && after < head.seq {
            return Err(Refusal::Trimmed { first: head.first });
        }
        let last = wanted.upto.unwrap_or(head.seq).min(head.seq);
        let limit = wanted.limit.unwrap_or(limits.log_limit).min(limits.log_limit_max);
        Ok(Page { after, upto: last.min(after.saturating_add(limit)), last })
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.upto <= self.after
    }

    /// What has to be read of `room`, if it is not empty.
    pub fn range(&self, room: RoomNo) -> Range {
        let Page { after, upto, .. } = *self;
        let limit = upto.saturating_sub(after) as u32;
        Range { room, after, upto, limit, bytes_max: REPLAY_BYTES_MAX as u32 }
    }

    /// What the answer holds of `slab`, the events that were read: their lines, joined by commas, and whether
    /// something that was asked for stands behind them. Without one, nothing had to be read.
    pub fn cut(&self, slab: Option<&Slab>) -> (Vec<u8>, bool) {
        let given = slab.map_or(self.upto, |slab| slab.last().min(self.upto));
        let lines = slab.map(|slab| slab.lines(self.after, given).collect::<Vec<_>>());
        (lines.unwrap_or_default().join(&b","[..]), given < self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::for_tests;

    #[test]
    fn a_page_is_what_was_asked_for_and_is_there() {
        // The log keeps 11 to 30; a page has 5 unless asked otherwise, and never more than 8.
        let head = Head { seq: 30, n: 30, first: 11, ts: 1 };
        let limits = Limits { log_limit: 5, log_limit_max: 8, ..for_tests() };
        let page = |after, upto, limit| {
            let page = Page::of(Wanted { after, upto, limit }, head, &limits);
            page.map(|page| (page.after, page.upto, page.cut(None).1))
        };
        let trimmed = Err(Refusal::Trimmed { first: 11 });
        assert_eq!(page(None, None, None), Ok((10, 15, true)));
        assert_eq!(page(Some(10), None, Some(2)), Ok((10, 12, true)));
        assert_eq!(page(Some(10), None, Some(1000)), Ok((10, 18, true)));
        assert_eq!(page(Some(10), Some(12), None), Ok((10, 12, false)), "all that was asked for");
        assert_eq!(page(Some(27), None, None), Ok((27, 30, false)));
        assert_eq!(page(Some(27), Some(99), None), Ok((27, 30, false)));
        assert_eq!(page(Some(9), None, None), trimmed);
        assert_eq!(page(Some(0), Some(5), None), trimmed);
        for (after, upto) in [(Some(30), None), (Some(99), None), (Some(20), Some(15))] {
            let page = Page::of(Wanted { after, upto, limit: None }, head, &limits).unwrap();
            assert!(page.is_empty() && !page.cut(None).1, "{page:?}");
        }
    }

    #[test]
    fn a_log_that_keeps_nothing_is_read_from_its_head() {
        let head = Head { seq: 30, n: 30, first: 31, ts: 1 };
        let limits = for_tests();
        let page = |after| Page::of(Wanted { after, ..Wanted::default() }, head, &limits);
        assert!(page(None).is_ok_and(|page| page.is_empty()));
        assert!(page(Some(30)).is_ok_and(|page| page.is_empty()));
        assert_eq!(page(Some(29)), Err(Refusal::Trimmed { first: 31 }));
    }
}
