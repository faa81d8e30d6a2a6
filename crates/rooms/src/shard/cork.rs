//! Cork: who hears a busy room waits a moment, so that one write takes several commits. (8 send)
//!
//! There are two lines. In the first wait those whose room one turn can serve: they are written to together. In
//! the second wait those of bigger rooms: some of them are written to in each turn, so that the first line, and
//! everyone who says something, is served in between.
//!
//! Never: holds anyone back for longer than a moment, even if what is being committed turns out to be for others.

use std::collections::VecDeque;

use super::Shard;

/// Nobody waits longer for news: about as long as a commit takes. A shard that sleeps wakes by the millisecond, so
/// it may be one more.
const CORKED_NS_MAX: u64 = 1_000_000;

/// So many of the second line are written to in a turn: a millisecond or two, for a write takes 4 to 8 µs.
const UNCORKED_MAX: usize = 256;

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

impl Corked {
    /// The line of a room with so many listeners here.
    pub(super) fn of(listeners: usize) -> Corked {
        if listeners <= UNCORKED_MAX { Corked::Few } else { Corked::Many }
    }
}

/// Connections that have something to write and wait for more.
#[derive(Default)]
struct Line {
    places: VecDeque<u32>,
    until_ns: u64,
}

/// Both lines.
#[derive(Default)]
pub(super) struct Cork {
    few: Line,
    many: Line,
}

impl Cork {
    /// When someone has waited long enough; `None` if nobody waits.
    pub(super) fn until_ns(&self) -> Option<u64> {
        let lines = [&self.few, &self.many].into_iter().filter(|line| !line.places.is_empty());
        lines.map(|line| line.until_ns).min()
    }

    fn line(&mut self, which: Corked) -> &mut Line {
        if which == Corked::Many { &mut self.many } else { &mut self.few }
    }
}

impl Shard {
    /// Marks a connection that has something to write and may wait in that line; at once if `waits` is not so.
    pub(super) fn cork(&mut self, place: u32, which: Corked, waits: bool) {
        let connection = &mut self.connections[place as usize];
        // What must not wait ends the wait of the line that the connection stands in.
        let stands = if connection.corked == Corked::No { which } else { connection.corked };
        let line = self.cork.line(stands);
        if line.places.is_empty() {
            line.until_ns = self.now_ns + CORKED_NS_MAX;
        }
        if !waits {
            line.until_ns = self.now_ns;
        }
        match (connection.corked, which) {
            (Corked::No, _) => {
                connection.corked = which;
                line.places.push_back(place);
            }
            // It hears a room that is not to wait for a bigger one.
            (Corked::Many, Corked::Few) => self.touch(place),
            (Corked::Few, _) | (Corked::Many, _) => {}
        }
    }

    /// Marks those as ready to be written to who need not wait any longer.
    pub(super) fn uncork(&mut self) {
        for (which, most) in [(Corked::Few, usize::MAX), (Corked::Many, UNCORKED_MAX)] {
            if self.news_follow && self.now_ns < self.cork.line(which).until_ns {
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
