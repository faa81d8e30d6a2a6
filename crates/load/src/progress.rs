//! Progress: how far a run is, for whoever waits for it.
//!
//! A bar on a terminal; a line every five seconds where there is none.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock::{MS_NS, SECOND_NS};

const BAR_EVERY_NS: u64 = 200 * MS_NS;
const LINE_EVERY_NS: u64 = 5 * SECOND_NS;

pub(crate) struct Progress {
    bar: ProgressBar,
    next_ns: u64,
    /// When the sends began; nothing is shown before.
    from_ns: Option<u64>,
}

impl Progress {
    /// Shows a run that sends for that long.
    pub(crate) fn over(scenario: &str, time: Duration) -> Progress {
        let bar = ProgressBar::new(time.as_secs());
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} s {msg}")
            .expect("the template is well formed");
        bar.set_style(style);
        bar.set_prefix(scenario.to_owned());
        Progress { bar, next_ns: 0, from_ns: None }
    }

    /// The sends begin.
    pub(crate) fn begin(&mut self, now_ns: u64) {
        self.from_ns = Some(now_ns);
        self.next_ns = now_ns;
    }

    pub(crate) fn show(&mut self, now_ns: u64, sent: usize, delivered: u64) {
        let Some(from_ns) = self.from_ns.filter(|_| now_ns >= self.next_ns) else { return };
        let seconds = now_ns.saturating_sub(from_ns) / SECOND_NS;
        let words = format!("{sent} sent, {delivered} delivered");
        if self.bar.is_hidden() {
            eprintln!("{seconds:>4} s: {words}");
            self.next_ns = now_ns + LINE_EVERY_NS;
        } else {
            self.bar.set_position(seconds);
            self.bar.set_message(words);
            self.next_ns = now_ns + BAR_EVERY_NS;
        }
    }

    pub(crate) fn end(&mut self) {
        self.from_ns = None;
        self.bar.finish_and_clear();
    }
}
