//! Trace: all that crossed a wall, as one number, and as lines for whoever looks for a mistake.

use std::collections::VecDeque;
use std::fmt;

/// Lines kept of a life that is looked at.
const LINES_MAX: usize = 500;

/// What happened.
pub(crate) struct Trace {
    hash: u64,
    /// Lines cost time, so they are only kept of a life that is looked at.
    lines: Option<VecDeque<String>>,
}

impl Trace {
    pub(crate) fn new(keep_lines: bool) -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, lines: keep_lines.then(VecDeque::new) }
    }

    /// These bytes crossed a wall.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// This happened; the words are only made if someone will read them.
    pub(crate) fn note(&mut self, what: u64, words: impl FnOnce() -> String) {
        self.bytes(&what.to_le_bytes());
        if let Some(lines) = &mut self.lines {
            lines.push_back(words());
            while lines.len() > LINES_MAX {
                lines.pop_front();
            }
        }
    }

    /// Words that say nothing which the bytes do not.
    pub(crate) fn tell(&mut self, words: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push_back(words());
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().flatten().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprint!("{self}");
        }
    }
}
