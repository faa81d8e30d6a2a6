//! The library: a few threads that read the database for everyone who must not wait for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tertulia_protocol::RoomId;
use tertulia_rooms::hub::Hub;
use tertulia_rooms::lookup::{Answer, Lookup, Question, answer};
use tertulia_rooms::membership::Membership;
use tertulia_rooms::shard::Input;
use tertulia_store::{Error, Reader};
use tokio::sync::oneshot;
use tracing::warn;

/// Something to be read.
enum Job {
    /// For a shard.
    Lookup(Lookup),
    /// For a request over HTTP.
    Call(Box<dyn FnOnce(&mut Reader) + Send>),
}

#[derive(Default)]
struct Desk {
    jobs: VecDeque<Job>,
    closed: bool,
}

/// Readers and what waits for them.
pub(crate) struct Library {
    desk: Mutex<Desk>,
    more: Condvar,
    limit: usize,
    hub: Arc<Hub>,
    cache: Arc<Membership>,
    /// What was asked of the database, by kind.
    pub(crate) queries: Queries,
}

/// How often the database was read for what.
#[derive(Default)]
pub(crate) struct Queries {
    /// Turns at a reader for a shard, whatever was asked in one.
    pub(crate) lookups: AtomicU64,
    /// Who someone is in a room: one a room.
    pub(crate) standing: AtomicU64,
    /// A range of a log.
    pub(crate) page: AtomicU64,
    /// Reads that one already under way answered.
    pub(crate) shared: AtomicU64,
    /// Lists of rooms, and whatever a request over HTTP reads.
    pub(crate) other: AtomicU64,
}

impl Library {
    /// A library where at most `limit` jobs wait.
    pub(crate) fn new(limit: usize, hub: Arc<Hub>, cache: Arc<Membership>) -> Library {
        let (desk, more, queries) = (Mutex::default(), Condvar::new(), Queries::default());
        Library { desk, more, limit, hub, cache, queries }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().expect("no one panics at the desk")
    }

    /// Asks for a shard. Errors: the lookup, if too many wait.
    #[allow(clippy::result_large_err, reason = "whoever asked needs it back")]
    pub(crate) fn look_up(&self, lookup: Lookup) -> Result<(), Lookup> {
        let mut desk = self.desk();
        if desk.jobs.len() >= self.limit || desk.closed {
            return Err(lookup);
        }
        desk.jobs.push_back(Job::Lookup(lookup));
        drop(desk);
        self.more.notify_one();
        Ok(())
    }

    /// Runs `read` on a reader. `None` if too many wait.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Reader) -> Result<T, Error> + Send + 'static,
    ) -> Option<Result<T, Error>> {
        let (tell, told) = oneshot::channel();
        {
            let mut desk = self.desk();
            if desk.jobs.len() >= self.limit || desk.closed {
                return None;
            }
            desk.jobs.push_back(Job::Call(Box::new(move |reader| {
                // Whoever asked may have gone.
                _ = tell.send(read(reader));
            })));
        }
        self.queries.other.fetch_add(1, Ordering::Relaxed);
        self.more.notify_one();
        told.await.ok()
    }

    /// How many jobs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.desk().jobs.len()
    }

    /// No more jobs; the threads end when the desk is empty.
    pub(crate) fn close(&self) {
        self.desk().closed = true;
        self.more.notify_all();
    }

    /// Answers jobs until the library closes: a thread's whole life.
    pub(crate) fn read(&self, mut reader: Reader) {
        while let Some(job) = self.next() {
            match job {
                Job::Lookup(lookup) => self.answer(lookup, &mut reader),
                Job::Call(call) => call(&mut reader),
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut desk = self.desk();
        loop {
            match desk.jobs.pop_front() {
                Some(job) => return Some(job),
                None if desk.closed => return None,
                None => desk = self.more.wait(desk).expect("no one panics at the desk"),
            }
        }
    }

    fn answer(&self, lookup: Lookup, reader: &mut Reader) {
        self.count(&lookup.question);
        let gauge = self.hub.gauge();
        let (found, error) = answer(&lookup.question, reader, &self.cache, gauge);
        if let Some(error) = error {
            warn!(error.kind = error.kind(), "a lookup failed: {error}");
        }
        if let Answer::Pages(pages) = &found {
            for other in self.same_pages(&lookup.question) {
                self.queries.shared.fetch_add(1, Ordering::Relaxed);
                self.hand_over(other, Answer::Pages(pages.clone()));
            }
        }
        self.hand_over(lookup, found);
    }

    /// Takes those who wait for the very same pages: in a storm of resumes they are many.
    fn same_pages(&self, question: &Question) -> Vec<Lookup> {
        let Question::Pages(ranges) = question else { return Vec::new() };
        let mut desk = self.desk();
        let (same, other): (VecDeque<Job>, VecDeque<Job>) =
            std::mem::take(&mut desk.jobs).into_iter().partition(|job| match job {
                Job::Lookup(Lookup { question: Question::Pages(others), .. }) => others == ranges,
                Job::Lookup(_) | Job::Call(_) => false,
            });
        desk.jobs = other;
        drop(desk);
        let lookups = same.into_iter().filter_map(|job| match job {
            Job::Lookup(lookup) => Some(lookup),
            Job::Call(_) => None,
        });
        lookups.collect()
    }

    fn count(&self, question: &Question) {
        self.queries.lookups.fetch_add(1, Ordering::Relaxed);
        let (count, n) = match question {
            Question::Standings { rooms, .. } => (&self.queries.standing, rooms.len()),
            Question::Pages(ranges) => (&self.queries.page, ranges.len()),
            Question::RoomsOf { .. } | Question::Identity(_) => (&self.queries.other, 1),
        };
        count.fetch_add(n as u64, Ordering::Relaxed);
    }

    fn hand_over(&self, lookup: Lookup, answer: Answer) {
        let Lookup { shard, from, token, question } = lookup;
        if let (Answer::Failed, Question::Standings { rooms, .. }) = (&answer, &question) {
            rooms.iter().for_each(|room: &RoomId| self.hub.learn(room, None));
        }
        let input = Input::Answer { to: from, token, answer };
        self.hub.inboxes()[shard].queue.push_all([input]);
    }
}
