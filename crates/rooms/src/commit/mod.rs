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

use tertulia_protocol::{Code, Epoch};
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

    /// Deals with every draft of `drafts`: one transaction, one sync, then everyone is told.
    pub fn commit(&mut self, drafts: &mut Vec<Draft>, clock: &dyn Clock) -> Committed {
        let gauge = self.hub.gauge().clone();
        let mut batch = Batch::new(clock.wall_ms(), self.last_no, gauge.clone());
        let mut written = Ok(false);
        let mut outcomes = Vec::with_capacity(drafts.len());
        for draft in drafts.iter() {
            outcomes.push(self.judge(&mut batch, draft));
        }
        batch.seal();
        if planted(Fault::AckBeforeCommit) {
            self.ack_too_early(drafts, &outcomes);
        }
        if !batch.is_empty() {
            written = self.write(&batch).map(|()| true);
            match &written {
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
        self.tell(drafts, outcomes, batch, clock);
        self.rooms.trim();
        Committed { written, unread: self.unread.take() }
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

    fn write(&mut self, batch: &Batch) -> Result<(), Error> {
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

    /// Memberships first, so that whoever hears of anything else can trust them; acks and news go together.
    fn tell(
        &mut self,
        drafts: &mut Vec<Draft>,
        outcomes: Vec<Outcome>,
        batch: Batch,
        clock: &dyn Clock,
    ) {
        let committed_ns = clock.now_ns();
        for (id, no, user, standing) in batch.standings() {
            self.cache.change(id, no, user, standing, committed_ns);
        }
        let events = batch.events() as u64;
        let news: Vec<News> = batch.into_news(&self.rooms, committed_ns);
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
        let publish_ns = clock.now_ns() - committed_ns;
        self.counters.verb(Verb::Publish).observe(publish_ns, events);
        for (call, outcome) in calls {
            call(outcome);
        }
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
