//! The inbox of a shard: everything that reaches it from other threads, in one order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tertulia_protocol::command::CommandId;
use tertulia_protocol::frame;
use tertulia_protocol::reply;
use tertulia_protocol::{AppKind, Close, RoomId, UserId};
use tertulia_store::RoomNo;

use crate::draft::{Address, Outcome};
use crate::hub::News;
use crate::lookup::Answer;
use crate::queue::Queue;

/// Something for a shard.
pub enum Input {
    /// What came of a connection's draft. Never dropped: room for it was taken when it was submitted.
    Ack(Ack),
    /// What was committed in a room that someone here hears.
    News(Arc<News>),
    /// What a lookup found.
    Answer {
        /// For which connection.
        to: Address,
        /// To which of its questions.
        token: u32,
        /// What was found.
        answer: Answer,
    },
    /// Something transient for a room.
    Signal(Arc<Signal>),
    /// A newer connection, maybe of another shard, has this one's session: it must go.
    Replace {
        /// The one to go.
        old: Address,
        /// The shard of the new one.
        shard: usize,
        /// The new one.
        new: Address,
        /// Which of its questions this answers.
        token: u32,
    },
    /// The old connection of that session is gone.
    Replaced {
        /// The new one.
        new: Address,
        /// Which of its questions this answers.
        token: u32,
    },
    /// Every connection of the user must go.
    Expel(UserId, Close),
    /// The server hands over: say bye, spread over a while, and close.
    Drain,
}

/// What came of a draft.
pub struct Ack {
    /// The connection that asked.
    pub to: Address,
    /// Its command.
    pub id: CommandId,
    /// What came of it.
    pub outcome: Outcome,
}

/// Something transient, as it goes over the wire.
pub struct Signal {
    /// The room.
    pub room: RoomNo,
    /// The application's own, not ours.
    pub of_application: bool,
    /// The whole frame.
    pub frame: Arc<[u8]>,
}

impl Signal {
    /// Who types now.
    pub fn typing<'a>(
        id: &RoomId,
        room: RoomNo,
        users: impl IntoIterator<Item = &'a UserId>,
    ) -> Signal {
        let mut d = Vec::new();
        reply::put_typing(&mut d, users);
        Signal { room, of_application: false, frame: framed(id, "typing", &d) }
    }

    /// Something of the application's.
    pub fn of_application(id: &RoomId, room: RoomNo, kind: &AppKind, d: &str) -> Signal {
        Signal { room, of_application: true, frame: framed(id, kind.as_str(), d.as_bytes()) }
    }
}

fn framed(id: &RoomId, kind: &str, d: &[u8]) -> Arc<[u8]> {
    let mut bytes = Vec::new();
    frame::put_text_with(&mut bytes, |out| reply::put_signal(out, id, kind, d));
    bytes.into()
}

/// Where a shard finds what others have for it.
pub struct Inbox {
    /// What waits.
    pub queue: Queue<Input>,
    news_max: usize,
    gap: AtomicBool,
}

impl Inbox {
    /// An inbox that takes news while less than `news_max` things wait. `wake` ends the shard's sleep.
    pub fn new(news_max: usize, wake: impl Fn() + Send + Sync + 'static) -> Inbox {
        Inbox { queue: Queue::new(news_max, wake), news_max, gap: AtomicBool::new(false) }
    }

    /// Whether news may go in; if not, the shard will find out by itself what it missed.
    pub(crate) fn has_room_for_news(&self) -> bool {
        let room = self.queue.len() < self.news_max;
        if !room {
            self.gap.store(true, Ordering::Release);
        }
        room
    }

    /// Whether news were missed since the last call.
    pub(super) fn take_gap(&self) -> bool {
        self.gap.load(Ordering::Acquire) && self.gap.swap(false, Ordering::AcqRel)
    }
}
