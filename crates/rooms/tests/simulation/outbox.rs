//! Outbox: what a client has said in one room and has no outcome for, by the rules of the protocol's §7.

use std::collections::BTreeSet;

use tertulia_protocol::command::CommandId;

/// Refusals after which a client says one thing at a time: what follows one that was refused costs its user's
/// rate, too, so a backlog that is repeated as a whole may never get on.
const REFUSALS_MAX: u32 = 8;

/// One message; a retry has the same words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    pub(crate) cid: String,
    /// The fields that make it what it is, as they stand in the command.
    pub(crate) fields: String,
}

/// Messages of one client for one room, oldest first.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: Vec<Message>,
    /// How many of them, from the front, were said since the last pause or cut.
    said: usize,
    open: Vec<(CommandId, Message)>,
    /// What was given up, since it was refused for good. What was under way on an older connection may
    /// still arrive after that, and be welcome by then.
    given_up: BTreeSet<String>,
    /// Refusals for the moment since something was last carried out.
    refusals: u32,
    /// Nothing is said before that time, and not before all answers are in.
    paused_until_ms: Option<u64>,
}

impl Outbox {
    pub(crate) fn push(&mut self, message: Message) {
        self.waiting.push(message);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn holds(&self, cid: &str) -> bool {
        self.waiting.iter().any(|message| message.cid == cid)
    }

    /// Whether it was refused for good.
    pub(crate) fn gave_up(&self, cid: &str) -> bool {
        self.given_up.contains(cid)
    }

    /// What to say now as command `id`, with the cid of the nearest earlier one without outcome.
    pub(crate) fn say(&mut self, id: CommandId, now_ms: u64) -> Option<(Message, Option<String>)> {
        if let Some(until_ms) = self.paused_until_ms {
            if now_ms < until_ms || !self.open.is_empty() {
                return None;
            }
            self.paused_until_ms = None;
        }
        if self.refusals > REFUSALS_MAX && !self.open.is_empty() {
            return None;
        }
        let message = self.waiting.get(self.said)?.clone();
        let prev = self.said.checked_sub(1).map(|before| self.waiting[before].cid.clone());
        self.said += 1;
        self.open.push((id, message.clone()));
        Some((message, prev))
    }

    /// The command was carried out: which message was it?
    pub(crate) fn ok(&mut self, id: CommandId) -> Option<Message> {
        let message = self.answered(id)?;
        self.refusals = 0;
        self.settle(&message.cid);
        Some(message)
    }

    /// The command was refused. Devices of one user share a rate, so each waits a little longer than it has
    /// to, and never as long as the last time: or they could keep step for ever.
    pub(crate) fn refused(&mut self, id: CommandId, retry_ms: Option<u64>, now_ms: u64) {
        let Some(Message { cid, .. }) = self.answered(id) else { return };
        match retry_ms {
            None => {
                self.settle(&cid);
                self.given_up.insert(cid);
            }
            Some(retry_ms) => {
                self.refusals += 1;
                let until_ms = now_ms + retry_ms + u64::from(id) * 37 % 100;
                let until_ms = self.paused_until_ms.unwrap_or(0).max(until_ms);
                self.paused_until_ms = Some(until_ms);
                self.said = 0;
            }
        }
    }

    fn answered(&mut self, id: CommandId) -> Option<Message> {
        let at = self.open.iter().position(|(open, _)| *open == id)?;
        Some(self.open.remove(at).1)
    }

    fn settle(&mut self, cid: &str) {
        if let Some(at) = self.waiting.iter().position(|message| message.cid == cid) {
            self.waiting.remove(at);
            self.said -= usize::from(at < self.said);
        }
    }

    /// The connection is gone: all without outcome is said again on the next.
    pub(crate) fn cut(&mut self) {
        self.open.clear();
        self.said = 0;
        self.paused_until_ms = None;
    }
}
