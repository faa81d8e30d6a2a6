//! Cork: who hears a busy room waits a moment, so that one write takes several commits. (8 send)
//!
//! A room waits while more news are on the way, and until a moment after it was told last.
//!
//! There are two lines. In the first wait those whose room one turn can serve: they are written to together. In
//! the second wait those of bigger rooms: some of them are written to in each turn, so that the first line, and
//! everyone who says something, is served in between.
//!
//! Never: holds anyone back for longer than a moment, even if what is being committed turns out to be for others.

use std::collections::VecDeque;

use super::Shard;

/// Nobody waits longer, and no room is told more often: about as long as a commit takes.
const CORKED_NS_MAX: u64 = 1_000_000;

/// So many bytes are worth a write of their own.
const CORKED_BYTES_MAX: usize = 16 * 1024;

/// Listeners whom one turn can serve: a millisecond or two, for a write takes 4 to 8 µs.
const FEW_MAX: usize = 256;

/// A turn writes to one of so many in the second line, so that what is said meanwhile is committed in time for those
/// who still wait. Not to fewer the longer the line is: each commit is queued for all of them.
const UNCORKED_SHARE: usize = 16;

/// But never to fewer: half a millisecond of writes.
const UNCORKED_MIN: usize = 64;

/// Where a connection waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Corked {
    /// Nowhere.
    No,
    /// With the listeners of rooms that one turn can serve.
    Few,
    /// With those of bigger ones.
    Many,
}

/// When a room that many hear may be told again.
#[derive(Default)]
pub(super) struct Told {
    again_ns: u64,
}

impl Told {
    /// When it is told what was just said: at once, or with what waits already, or a moment after it was told last.
    fn next_ns(&mut self, now_ns: u64) -> u64 {
        let last_ns = self.again_ns.saturating_sub(CORKED_NS_MAX);
        if last_ns > now_ns {
            return last_ns;
        }
        let next_ns = now_ns.max(self.again_ns);
        self.again_ns = next_ns + CORKED_NS_MAX;
        next_ns
    }
}

/// Connections that have something to write and wait for more.
#[derive(Default)]
struct Line {
    places: VecDeque<u32>,
    /// If nothing follows, they wait until here.
    from_ns: u64,
    /// And never longer than this.
    until_ns: u64,
}

impl Line {
    fn due_ns(&self, news_follow: bool) -> u64 {
        if news_follow { self.until_ns } else { self.until_ns.min(self.from_ns) }
    }
}

/// Both lines.
#[derive(Default)]
pub(super) struct Cork {
    few: Line,
    many: Line,
}

impl Cork {
    /// When someone has waited long enough; `None` if nobody waits.
    pub(super) fn due_ns(&self, news_follow: bool) -> Option<u64> {
        let lines = [&self.few, &self.many].into_iter().filter(|line| !line.places.is_empty());
        lines.map(|line| line.due_ns(news_follow)).min()
    }

    /// Opens the line in which those wait who hear what was just said: `bytes` long, in a room with so many
    /// listeners here.
    pub(super) fn open(
        &mut self,
        listeners: usize,
        bytes: usize,
        told: &mut Told,
        now_ns: u64,
    ) -> Corked {
        let which = if listeners <= FEW_MAX { Corked::Few } else { Corked::Many };
        let (from_ns, until_ns) = match bytes {
            0..=CORKED_BYTES_MAX => (told.next_ns(now_ns), now_ns + CORKED_NS_MAX),
            _ => (now_ns, now_ns),
        };
        let line = self.line(which);
        if line.places.is_empty() {
            (line.from_ns, line.until_ns) = (from_ns, until_ns);
        }
        line.from_ns = line.from_ns.min(from_ns);
        line.until_ns = line.until_ns.min(until_ns);
        which
    }

    fn line(&mut self, which: Corked) -> &mut Line {
        if which == Corked::Many { &mut self.many } else { &mut self.few }
    }
}

impl Shard {
    /// Marks a connection that has something to write and may wait for more; its line was opened before.
    pub(super) fn cork(&mut self, place: u32, which: Corked) {
        let connection = &mut self.connections[place as usize];
        match (connection.corked, which) {
            (Corked::No, _) => {
                connection.corked = which;
                self.cork.line(which).places.push_back(place);
            }
            // It hears a room that is not to wait for a bigger one.
            (Corked::Many, Corked::Few) => self.touch(place),
            (Corked::Few, _) | (Corked::Many, _) => {}
        }
    }

    /// Marks those as ready to be written to who need not wait any longer.
    pub(super) fn uncork(&mut self) {
        let many = self.cork.many.places.len() / UNCORKED_SHARE;
        let many = many.clamp(UNCORKED_MIN, FEW_MAX);
        for (which, most) in [(Corked::Few, usize::MAX), (Corked::Many, many)] {
            if self.now_ns < self.cork.line(which).due_ns(self.news_follow) {
                continue;
            }
            for _ in 0..most {
                let Some(place) = self.cork.line(which).places.pop_front() else { break };
                if let Some(connection) = self.connections.get_mut(place as usize) {
                    connection.corked = Corked::No;
                    self.touch(place);
                }
            }
            // Whoever is left over goes on in the next turn.
            self.cork.line(which).until_ns = self.now_ns;
        }
    }
}
