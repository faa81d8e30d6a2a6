//! State: what the doors of one server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tertulia_protocol::{Close, RoomId, UserId};
use tertulia_rooms::counters::Counters;
use tertulia_rooms::draft::{Author, Draft, Outcome, Reply, Wish};
use tertulia_rooms::shard::{Input, Shared};
use tertulia_rooms::{Clock, Queue, Refusal};
use tertulia_store::Store;
use tokio::sync::oneshot;

use crate::clock::MachineClock;
use crate::config::Config;
use crate::door::Entrance;
use crate::drive::Gate;
use crate::guests::Guests;
use crate::library::Library;
use crate::login::Login;

/// What every request can reach. Cheap to clone.
pub(crate) type App = Arc<State>;

/// See [`App`].
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) shared: Shared,
    pub(crate) store: Arc<Store>,
    pub(crate) login: Login,
    pub(crate) drafts: Arc<Queue<Draft>>,
    pub(crate) library: Arc<Library>,
    pub(crate) gates: Vec<Gate>,
    pub(crate) clock: Arc<MachineClock>,
    pub(crate) health: Health,
    /// One set a shard, the committer's last.
    pub(crate) counters: Vec<Arc<Counters>>,
    pub(crate) upgrades: Upgrades,
    /// Where clients come in.
    pub(crate) entrance: Arc<Entrance>,
    /// Those of them who have a WebSocket.
    pub(crate) guests: Guests,
}

/// Whether this server wants work.
#[derive(Default)]
pub(crate) struct Health {
    draining: AtomicBool,
    store_fails: Arc<AtomicBool>,
}

/// What became of those who knocked.
#[derive(Default)]
pub(crate) struct Upgrades {
    pub(crate) accepted: AtomicUsize,
    pub(crate) refused: AtomicUsize,
}

impl Health {
    /// Something could not be written or read, and nothing has been written since.
    pub(crate) fn store_fails(&self) -> &Arc<AtomicBool> {
        &self.store_fails
    }

    /// From now on new work goes elsewhere.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn is_ready(&self) -> bool {
        !self.is_draining() && !self.store_fails.load(Ordering::Acquire)
    }
}

impl State {
    /// Puts a draft into the commit queue and waits for what comes of it.
    pub(crate) async fn submit(
        &self,
        room: RoomId,
        author: Author,
        wish: Wish,
        veto: Option<Refusal>,
    ) -> Outcome {
        self.submit_and(room, author, wish, veto, |_| ()).await
    }

    /// The same, and does `and` with what came of it, whether or not anyone still waits.
    async fn submit_and(
        &self,
        room: RoomId,
        author: Author,
        wish: Wish,
        veto: Option<Refusal>,
        and: impl FnOnce(&Outcome) + Send + 'static,
    ) -> Outcome {
        let (tell, told) = oneshot::channel();
        let reply = Reply::Call(Box::new(move |outcome| {
            and(&outcome);
            // Whoever asked may have gone; what was committed stays.
            _ = tell.send(outcome);
        }));
        let submitted_ns = self.clock.now_ns();
        let draft = Draft { room, author, wish, veto, reply, submitted_ns };
        if self.drafts.push(draft).is_err() {
            return Err(Refusal::Unavailable("too much waits to be committed, try again"));
        }
        told.await.unwrap_or(Err(Refusal::Unavailable("the server stops, try again")))
    }

    /// Refuses the user's tokens of before that second, now and after a restart, and ends their connections.
    pub(crate) async fn revoke(self: Arc<Self>, user: UserId, before_s: u64) -> Outcome {
        // A revocation is of no room; any name that is one will do.
        let nowhere = RoomId::parse("-").expect("a dash is fit for a room");
        let wish = Wish::Revoke { user: user.clone(), before_s };
        let app = self.clone();
        let expel = move |outcome: &Outcome| {
            if outcome.is_ok() {
                app.expel(&user, before_s);
            }
        };
        self.submit_and(nowhere, Author::Application, wish, None, expel).await
    }

    fn expel(&self, user: &UserId, before_s: u64) {
        self.login.revoke(user.clone(), before_s);
        for inbox in self.shared.hub.inboxes() {
            inbox.queue.push_all([Input::Expel(user.clone(), Close::Revoked)]);
        }
    }

    pub(crate) fn now_s(&self) -> u64 {
        self.clock.wall_ms() / 1000
    }
}
