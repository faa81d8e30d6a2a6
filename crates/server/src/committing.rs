//! The committer's thread, and the checkpointer's beside it. (5 commit)

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tertulia_rooms::commit::{Committed, Committer};
use tertulia_rooms::draft::Draft;
use tertulia_rooms::{Clock, Queue};
use tertulia_store::{Checkpointer, Error};
use tracing::{error, info, warn};

/// A pause between two looks at what may be cleaned or has healed.
const IDLE: Duration = Duration::from_millis(500);

/// The pause while there is more to clean: with the times below a tenth of the thread's time goes there
/// while drafts wait, and half of it while none do.
const REST: Duration = Duration::from_millis(50);

/// Time to clean while drafts wait: about as long as a commit takes.
const TIDY_BETWEEN: Duration = Duration::from_millis(5);

/// Time to clean while none wait: one that comes meanwhile waits for a step, and no longer.
const TIDY_ALONE: Duration = Duration::from_millis(50);

/// Whoever came this soon after a commit is likely to come as soon after the next one: about as long as a commit
/// takes, and a halted processor's waking, too.
const SOON: Duration = Duration::from_micros(50);

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
    /// The last damage that was told of.
    pub(crate) damage: Option<String>,
}

impl Committing {
    /// Commits what waits until it is told to stop and nothing waits any more: a thread's whole life.
    pub(crate) fn run(mut self) {
        let mut drafts = Vec::new();
        let mut tidy_at_ns = 0;
        let mut came_soon = false;
        loop {
            // Also under steady traffic, or what is over would pile up.
            if self.clock.now_ns() >= tidy_at_ns {
                let from_ns = self.clock.now_ns();
                let more = self.tidy();
                let now_ns = self.clock.now_ns();
                let rest_ns = match more {
                    true if self.drafts.is_empty() => REST.as_nanos() as u64,
                    // On a slow disk a step takes longer than it should. Messages get nine tenths anyway.
                    true => (9 * (now_ns - from_ns)).max(REST.as_nanos() as u64),
                    false => IDLE.as_nanos() as u64,
                };
                tidy_at_ns = now_ns + rest_ns;
            }
            self.drafts.take_some(self.batch_max, &mut drafts);
            if !drafts.is_empty() {
                let more = || !self.drafts.is_empty();
                let committed = self.committer.commit(&mut drafts, more, &*self.clock);
                self.look_at(&committed);
                // Where cores are few, the shards tell what was just written first: the acks leave sooner, and
                // what they bring in return shares the next sync.
                std::thread::yield_now();
                continue;
            }
            if self.stop.load(Ordering::Acquire) && self.drafts.is_empty() {
                return;
            }
            let since_ns = self.clock.now_ns();
            if came_soon {
                self.stay_awake(since_ns);
            }
            if self.drafts.may_sleep() {
                let left_ns = tidy_at_ns.saturating_sub(self.clock.now_ns());
                self.alarm.sleep(Duration::from_nanos(left_ns));
            }
            came_soon = self.clock.now_ns() - since_ns < SOON.as_nanos() as u64;
        }
    }

    /// Waits for a draft without sleeping, for it is likely to come soon. Whoever sends one message after the other
    /// would wait each time until a halted processor is up again; in a virtual machine that is as long as all the
    /// work on a message.
    fn stay_awake(&self, since_ns: u64) {
        while self.drafts.is_empty() && self.clock.now_ns() - since_ns < SOON.as_nanos() as u64 {
            std::thread::yield_now();
        }
    }

    /// Heals, or cleans for a while. True if there is more to clean.
    fn tidy(&mut self) -> bool {
        if self.fails.load(Ordering::Acquire) {
            match self.committer.probe() {
                Ok(()) => self.healed(),
                Err(error) => self.failed(&error),
            }
            return false;
        }
        let from_ns = self.clock.now_ns();
        loop {
            match self.committer.sweep(self.clock.wall_ms()) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    self.failed(&error);
                    return false;
                }
            }
            let budget = if self.drafts.is_empty() { TIDY_ALONE } else { TIDY_BETWEEN };
            if self.clock.now_ns() - from_ns >= budget.as_nanos() as u64 {
                return true;
            }
        }
    }

    /// What a batch tells about the store. One in which nothing was written heals nothing: repetitions and
    /// refusals are answered from what was read, on a full disk, too.
    fn look_at(&mut self, committed: &Committed) {
        let mut unread = committed.unread.as_ref();
        // One damaged room is no reason to send the others elsewhere.
        if let Some(error @ Error::Damaged(_)) = unread {
            self.tell_damage(error);
            unread = None;
        }
        match (&committed.written, unread) {
            (Err(error), _) | (Ok(false), Some(error)) => self.failed(error),
            (Ok(true), _) => self.healed(),
            (Ok(false), None) => {}
        }
    }

    /// Said once for each damage that follows another one.
    fn tell_damage(&mut self, error: &Error) {
        let what = error.to_string();
        if self.damage.as_ref() != Some(&what) {
            error!("the database is damaged, a draft could not be judged: {what}");
            self.damage = Some(what);
        }
    }

    /// Said once, until it is over.
    fn failed(&self, error: &Error) {
        if !self.fails.swap(true, Ordering::AcqRel) {
            error!(error.kind = error.kind(), "nothing is stored for now: {error}");
        }
    }

    fn healed(&self) {
        if self.fails.swap(false, Ordering::AcqRel) {
            info!("messages are stored again");
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

#[cfg(test)]
mod tests {
    use tertulia_protocol::command::settings;
    use tertulia_protocol::{Epoch, RoomId};
    use tertulia_rooms::counters::Counters;
    use tertulia_rooms::draft::{Author, Reply, Wish};
    use tertulia_rooms::hub::Hub;
    use tertulia_rooms::membership::Membership;
    use tertulia_rooms::slab::Gauge;
    use tertulia_store::{Memory, Store};

    use super::*;
    use crate::clock::MachineClock;
    use crate::config::{Config, Flags};

    fn committing(memory: &Memory) -> Committing {
        let Ok(config) = Config::load(&Flags::default(), []) else { panic!("defaults are fine") };
        let limits = Arc::new(config.limits());
        let committer = Committer::new(
            Store::in_memory(memory).writer().unwrap(),
            Arc::new(Hub::new(&limits, Vec::new(), Gauge::default())),
            Arc::new(Membership::new(16, Duration::from_secs(1))),
            limits,
            Arc::new(Counters::default()),
            Box::new(|| Epoch::parse("e7").unwrap()),
        );
        Committing {
            committer: committer.unwrap(),
            drafts: Arc::new(Queue::new(16, || ())),
            alarm: Arc::default(),
            clock: Arc::new(MachineClock::start()),
            batch_max: 16,
            fails: Arc::default(),
            stop: Arc::default(),
            damage: None,
        }
    }

    impl Committing {
        /// Whether the store is said to fail after `wish` was dealt with.
        fn fails_after(&mut self, wish: Wish) -> bool {
            let (room, author) = (RoomId::parse("garden").unwrap(), Author::Application);
            let reply = Reply::Call(Box::new(drop));
            let mut drafts = vec![Draft { room, author, wish, veto: None, reply, submitted_ns: 0 }];
            let committed = self.committer.commit(&mut drafts, || false, &*self.clock);
            self.look_at(&committed);
            self.is_failing()
        }

        fn is_failing(&self) -> bool {
            self.fails.load(Ordering::Acquire)
        }
    }

    #[test]
    fn only_what_was_written_shows_that_it_can_be() {
        let memory = Memory::default();
        let mut committing = committing(&memory);
        let create = || Wish::Create(settings("{}").unwrap());
        memory.fail_commits(2);
        assert!(committing.fails_after(create()));
        assert!(committing.fails_after(Wish::Delete), "not found, and nothing was written");
        committing.tidy();
        assert!(committing.is_failing(), "the probe failed, too");
        committing.tidy();
        assert!(!committing.is_failing(), "something was written");
        assert!(!committing.fails_after(create()));
        assert!(!committing.fails_after(create()), "a repetition says nothing either way");
    }

    #[test]
    fn a_draft_that_cannot_be_judged_is_trouble_of_the_store() {
        let memory = Memory::default();
        let mut committing = committing(&memory);
        memory.fail_reads(1);
        assert!(committing.fails_after(Wish::Delete));
        assert!(!committing.fails_after(Wish::Create(settings("{}").unwrap())));
    }
}
