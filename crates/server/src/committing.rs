//! The committer's thread, and the checkpointer's beside it. (5 commit)

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tertulia_rooms::commit::Committer;
use tertulia_rooms::draft::Draft;
use tertulia_rooms::{Clock, Queue};
use tertulia_store::{Checkpointer, Error};
use tracing::{error, info, warn};

/// A pause between two looks at what may be cleaned or has healed.
const IDLE: Duration = Duration::from_millis(500);

/// Gets a thread out of its sleep; a call while it is awake is not lost.
#[derive(Default)]
pub(crate) struct Alarm {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Alarm {
    /// Ends the sleep.
    pub(crate) fn ring(&self) {
        *self.rung.lock().expect("no one panics at the alarm") = true;
        self.bell.notify_one();
    }

    /// Sleeps until someone rings or the time is over.
    pub(crate) fn sleep(&self, at_most: Duration) {
        let rung = self.rung.lock().expect("no one panics at the alarm");
        let (mut rung, _) = self
            .bell
            .wait_timeout_while(rung, at_most, |rung| !*rung)
            .expect("no one panics at the alarm");
        *rung = false;
    }
}

/// The committer and what it lives from.
pub(crate) struct Committing {
    pub(crate) committer: Committer,
    pub(crate) drafts: Arc<Queue<Draft>>,
    pub(crate) alarm: Arc<Alarm>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) batch_max: usize,
    pub(crate) fails: Arc<AtomicBool>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Committing {
    /// Commits what waits until it is told to stop and nothing waits any more: a thread's whole life.
    pub(crate) fn run(mut self) {
        let mut drafts = Vec::new();
        let mut tidied_ns = self.clock.now_ns();
        loop {
            // Also under steady traffic, or what is over would pile up.
            if self.clock.now_ns() >= tidied_ns + IDLE.as_nanos() as u64 {
                self.tidy();
                tidied_ns = self.clock.now_ns();
            }
            self.drafts.take_some(self.batch_max, &mut drafts);
            if !drafts.is_empty() {
                let committed = self.committer.commit(&mut drafts, &*self.clock);
                self.note(committed.err().as_ref());
                continue;
            }
            if self.stop.load(Ordering::Acquire) && self.drafts.is_empty() {
                return;
            }
            if self.drafts.may_sleep() {
                self.alarm.sleep(IDLE);
            }
        }
    }

    /// Heals, or cleans a little.
    fn tidy(&mut self) {
        if self.fails.load(Ordering::Acquire) {
            let probed = self.committer.probe();
            self.note(probed.err().as_ref());
        } else if let Err(error) = self.committer.sweep(self.clock.wall_ms()) {
            self.note(Some(&error));
        }
    }

    /// Says once that it fails, and once that it does no more.
    fn note(&self, error: Option<&Error>) {
        let failed = self.fails.swap(error.is_some(), Ordering::AcqRel);
        match error {
            Some(error) if !failed => {
                error!(error.kind = error.kind(), "nothing is stored for now: {error}");
            }
            None if failed => info!("messages are stored again"),
            Some(_) | None => {}
        }
    }
}

/// Keeps the write-ahead log short until it is told to stop: a thread's whole life.
pub(crate) fn checkpoint(mut checkpointer: Checkpointer, stop: &AtomicBool, alarm: &Alarm) {
    let mut failed = false;
    while !stop.load(Ordering::Acquire) {
        match checkpointer.run() {
            Ok(_) => failed = false,
            Err(error) if !std::mem::replace(&mut failed, true) => {
                warn!(error.kind = error.kind(), "a checkpoint failed, the log grows: {error}");
            }
            Err(_) => {}
        }
        alarm.sleep(Duration::from_millis(50));
    }
}
