//! The committer: gives numbers, makes them durable, and only then tells anyone. (5 commit)
//!
//! It takes all that waits, judges each draft in its turn against what the room is by then, earlier
//! drafts of the same batch included, and makes one transaction of it. A refused draft does not fail its
//! batch. A failed transaction leaves nothing: every room that it touched is forgotten and read anew.
//!
//! Never: acknowledges before the store has said yes, or blocks on whoever listens.

mod active;
mod batch;
mod judge;

use std::sync::Arc;

use tertulia_protocol::{Code, Epoch, RoomId};
use tertulia_store::{Error, RoomNo, Writer};

use crate::clock::Clock;
use crate::counters::{Counters, Verb};
use crate::draft::{Draft, Outcome, Reply};
use crate::hub::{Hub, News};
use crate::limits::Limits;
use crate::membership::Membership;
use crate::planted::{Fault, planted};
use crate::refusal::Refusal;
use crate::shard::{Ack, Input};
use active::Rooms;
use batch::Batch;

/// The one who writes.
pub struct Committer {
    writer: Writer,
    hub: Arc<Hub>,
    cache: Arc<Membership>,
    counters: Arc<Counters>,
    limits: Arc<Limits>,
    rooms: Rooms,
    last_no: RoomNo,
    epochs: EpochMaker,
    /// Why something that a draft of the running batch is judged by could not be read.
    unread: Option<Error>,
}

/// What the store did for a batch. Whoever sent a draft was told by then.
#[derive(Debug)]
pub struct Committed {
    /// Whether anything was written. A batch of refusals and repetitions writes nothing, and says nothing
    /// about the store.
    pub written: Result<bool, Error>,
    /// Why a draft could not be judged; its sender was told to try again.
    pub unread: Option<Error>,
}

/// A batch that is in the store and that nobody has heard of.
#[must_use = "whoever sent its drafts waits for an answer"]
pub struct Written {
    outcomes: Vec<Outcome>,
    batch: Batch,
    /// Rooms that the hub holds where they stood; see [`Hub::hold`].
    held: Vec<RoomId>,
    committed: Committed,
    committed_ns: u64,
}

/// Makes names for new lives of logs. A simulation gives its own, to repeat itself.
pub type EpochMaker = Box<dyn FnMut() -> Epoch + Send>;

impl Committer {
    /// A committer that goes on where the store stands.
    pub fn new(
        mut writer: Writer,
        hub: Arc<Hub>,
        cache: Arc<Membership>,
        limits: Arc<Limits>,
        counters: Arc<Counters>,
        epochs: EpochMaker,
    ) -> Result<Committer, Error> {
        let last_no = writer.last_room_no()?;
        let rooms = Rooms::new(limits.active_rooms);
        let unread = None;
        Ok(Committer { writer, hub, cache, counters, limits, rooms, last_no, epochs, unread })
    }

    /// Deals with every draft of `drafts`: one transaction, one sync, then everyone is told. `more` says then
    /// whether others wait by now.
    pub fn commit(
        &mut self,
        drafts: &mut Vec<Draft>,
        more: impl Fn() -> bool,
        clock: &dyn Clock,
    ) -> Committed {
        let written = self.write(drafts, clock);
        self.remember(&written);
        self.publish(drafts, written, more(), clock)
    }

    /// The first step of [`Committer::commit`]: judges the drafts and makes what came of them durable.
    ///
    /// From here on a reader may see what nobody was told. The steps are apart so that a simulation can let
    /// others run in between, as other threads do.
    pub fn write(&mut self, drafts: &[Draft], clock: &dyn Clock) -> Written {
        let gauge = self.hub.gauge().clone();
        let mut batch = Batch::new(clock.wall_ms(), self.last_no, gauge.clone());
        let mut stored = Ok(false);
        let mut outcomes = Vec::with_capacity(drafts.len());
        // One alone seldom has to be looked up, and to begin and to end costs it more than one look.
        let looking = if drafts.len() > 1 { self.writer.hold() } else { Ok(()) };
        for draft in drafts {
            outcomes.push(self.judge(&mut batch, draft));
        }
        for done in [looking, self.writer.release()] {
            if let Err(error) = done {
                self.unread.get_or_insert(error);
            }
        }
        batch.seal();
        if planted(Fault::AckBeforeCommit) {
            self.ack_too_early(drafts, &outcomes);
        }
        let mut held = Vec::new();
        if !batch.is_empty() {
            for (id, view) in batch.removing() {
                self.hub.hold(id, view);
                held.push(id.clone());
            }
            stored = self.store(&batch).map(|()| true);
            match &stored {
                Ok(_) => self.last_no = batch.last_no(),
                Err(error) => {
                    // What was judged on top of it is void, too.
                    let refusal = unavailable(error);
                    outcomes.fill_with(|| Err(refusal.clone()));
                    self.counters.commit_failures.add(1);
                    self.rooms.forget(batch.touched_ids());
                    batch = Batch::new(0, self.last_no, gauge);
                }
            }
        }
        let committed = Committed { written: stored, unread: self.unread.take() };
        Written { outcomes, batch, held, committed, committed_ns: clock.now_ns() }
    }

    /// The second step: memberships, so that whoever hears of anything else can trust them.
    pub fn remember(&self, written: &Written) {
        for (id, no, user, standing) in written.batch.standings() {
            self.cache.change(id, no, user, standing, written.committed_ns);
        }
    }

    /// The last step: tells everyone what came of `drafts`; acks and news go together.
    pub fn publish(
        &mut self,
        drafts: &mut Vec<Draft>,
        written: Written,
        more: bool,
        clock: &dyn Clock,
    ) -> Committed {
        let Written { outcomes, batch, held, committed, committed_ns } = written;
        let from_ns = clock.now_ns();
        let events = batch.events() as u64;
        let news: Vec<News> = batch.into_news(&self.rooms, more, committed_ns);
        let mut acks: Vec<Vec<Input>> = (0..self.hub.inboxes().len()).map(|_| Vec::new()).collect();
        let mut calls = Vec::new();
        for (draft, outcome) in drafts.drain(..).zip(outcomes) {
            self.counters
                .verb(Verb::Commit)
                .observe(committed_ns.saturating_sub(draft.submitted_ns), 1);
            match draft.reply {
                Reply::Command { shard, to, id } => {
                    acks[shard].push(Input::Ack(Ack { to, id, outcome }));
                }
                Reply::Call(call) => calls.push((call, outcome)),
            }
        }
        self.hub.publish(news, acks);
        held.iter().for_each(|id| self.hub.learn(id, None));
        self.counters.verb(Verb::Publish).observe(clock.now_ns() - from_ns, events);
        for (call, outcome) in calls {
            call(outcome);
        }
        self.rooms.trim();
        committed
    }

    /// Finds out whether the store can be written again.
    pub fn probe(&mut self) -> Result<(), Error> {
        self.writer.probe()
    }

    /// A small step of cleaning, between two batches. True if there is more.
    pub fn sweep(&mut self, wall_ms: u64) -> Result<bool, Error> {
        // An hour longer than promised: a client's clock and ours may differ a little.
        let kept_ms = (self.limits.dedup_s + 3600) * 1000;
        self.writer.sweep(wall_ms.saturating_sub(kept_ms))
    }

    fn store(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut changes = batch.changes(&self.rooms);
        if planted(Fault::DropRow) {
            changes.events.retain(|event| event.seq % 50 != 0);
        }
        self.writer.commit(&changes)?;
        self.counters.commits.add(1);
        self.counters.events.add(changes.events.len() as u64);
        let rows = changes.events.len()
            + changes.rooms.len()
            + changes.heads.len()
            + changes.remembered.len()
            + changes.standings.len();
        self.counters.rows.add(rows as u64);
        Ok(())
    }

    /// What must never happen; see [`Fault::AckBeforeCommit`].
    fn ack_too_early(&self, drafts: &[Draft], outcomes: &[Outcome]) {
        for (draft, outcome) in drafts.iter().zip(outcomes) {
            if let Reply::Command { shard, to, id } = draft.reply {
                let outcome = outcome.clone();
                self.hub.inboxes()[shard].queue.push_all([Input::Ack(Ack { to, id, outcome })]);
            }
        }
        // So that the shard is faster than the disk, every time.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// What a client is told when the store did not do it.
pub fn unavailable(error: &Error) -> Refusal {
    match error {
        Error::ReadOnly => Refusal::ReadOnly,
        Error::Busy => Refusal::Unavailable("the database is locked, try again"),
        Error::Full => Refusal::Unavailable("the disk is full, try again later"),
        Error::Damaged(_) | Error::Failed(_) => Refusal::NO_ANSWER,
    }
}

/// What a connection is told when it may hear a room no more.
pub(crate) fn removal_code(why: tertulia_protocol::event::Why) -> Code {
    use tertulia_protocol::event::Why;
    match why {
        Why::Left => Code::NotMember,
        Why::Kicked | Why::Banned => Code::Forbidden,
    }
}
