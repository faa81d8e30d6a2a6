//! Outbox: the messages of one client that have no outcome yet, and the rule for saying them.
//!
//! Oldest first, each chained to the one before by `prev`; after a refusal that asks for patience nothing is
//! said until all answers are in and the time has passed, and then again from the oldest.
//!
//! Never: makes a second copy, since a message keeps its cid; says more at once than the server allows.

use std::collections::VecDeque;

use tertulia_protocol::command::CommandId;

/// Commands without an answer, unless the server says otherwise.
const INFLIGHT: usize = 64;

/// Kept free of the commands that the server allows: a `sub` may be out, and a `hello`.
const OTHERS: usize = 2;

/// Messages of one sender, by their number there.
pub(crate) struct Outbox {
    /// Without outcome, oldest first.
    waiting: VecDeque<u32>,
    /// How many of them, from the front, were said since the last pause or cut.
    said: usize,
    /// The commands without an answer and what they say.
    open: VecDeque<(CommandId, u32)>,
    /// Nothing is said before that time, and not before all answers are in.
    paused_until_ms: Option<u64>,
    inflight: usize,
}

/// A message to be said.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Next {
    pub(crate) i: u32,
    /// The nearest earlier one without outcome.
    pub(crate) prev: Option<u32>,
}

impl Outbox {
    pub(crate) fn new() -> Outbox {
        Outbox {
            waiting: VecDeque::new(),
            said: 0,
            open: VecDeque::new(),
            paused_until_ms: None,
            inflight: INFLIGHT - OTHERS,
        }
    }

    /// The server allows that many commands without an answer.
    pub(crate) fn allow(&mut self, inflight: u64) {
        self.inflight = (inflight as usize).saturating_sub(OTHERS).max(1);
    }

    /// A message is to be sent.
    pub(crate) fn push(&mut self, i: u32) {
        self.waiting.push_back(i);
    }

    /// The message to say now, as command `id`; ask again with the next id until there is none.
    pub(crate) fn say(&mut self, id: CommandId, now_ms: u64) -> Option<Next> {
        if let Some(until_ms) = self.paused_until_ms {
            if now_ms < until_ms || !self.open.is_empty() {
                return None;
            }
            self.paused_until_ms = None;
        }
        if self.open.len() >= self.inflight {
            return None;
        }
        let i = *self.waiting.get(self.said)?;
        let prev = self.said.checked_sub(1).and_then(|before| self.waiting.get(before).copied());
        self.said += 1;
        self.open.push_back((id, i));
        Some(Next { i, prev })
    }

    /// When [`Outbox::say`] has something to say though nothing more is heard.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.paused_until_ms.filter(|_| self.open.is_empty() && !self.waiting.is_empty())
    }

    /// A command was answered `ok`: which message was it?
    pub(crate) fn ok(&mut self, id: CommandId) -> Option<u32> {
        let i = self.answered(id)?;
        self.settle(i);
        Some(i)
    }

    /// A command was refused: which message, if it was one, and is that final?
    pub(crate) fn refused(
        &mut self,
        id: CommandId,
        retry_ms: Option<u64>,
        now_ms: u64,
    ) -> Option<(u32, bool)> {
        let i = self.answered(id)?;
        match retry_ms {
            None => self.settle(i),
            Some(retry_ms) => {
                let until_ms = now_ms.saturating_add(retry_ms);
                self.paused_until_ms = Some(self.paused_until_ms.unwrap_or(0).max(until_ms));
                self.said = 0;
            }
        }
        Some((i, retry_ms.is_none()))
    }

    fn answered(&mut self, id: CommandId) -> Option<u32> {
        // Answers may come in any order, but nearly always come in that of the commands.
        let at = self.open.iter().position(|(open, _)| *open == id)?;
        self.open.remove(at).map(|(_, i)| i)
    }

    fn settle(&mut self, i: u32) {
        if let Some(at) = self.waiting.iter().position(|waiting| *waiting == i) {
            self.waiting.remove(at);
            if at < self.said {
                self.said -= 1;
            }
        }
    }

    /// The connection is gone: all without outcome is said again on the next.
    pub(crate) fn cut(&mut self) {
        self.open.clear();
        self.said = 0;
        self.paused_until_ms = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(messages: u32) -> Outbox {
        let mut outbox = Outbox::new();
        (0..messages).for_each(|i| outbox.push(i));
        outbox
    }

    /// Says all that may be said, the ids from `id` on, and returns the messages.
    fn says(outbox: &mut Outbox, id: CommandId, now_ms: u64) -> Vec<(u32, Option<u32>)> {
        let next = |id| outbox.say(id, now_ms).map(|next| (next.i, next.prev));
        (id..).map_while(next).collect()
    }

    #[test]
    fn each_message_names_the_nearest_one_without_outcome() {
        let mut outbox = holding(3);
        assert_eq!(says(&mut outbox, 1, 0), [(0, None), (1, Some(0)), (2, Some(1))]);
        assert_eq!(outbox.ok(1), Some(0));
        assert_eq!(outbox.refused(3, None, 0), Some((2, true)));
        outbox.push(3);
        assert_eq!(says(&mut outbox, 4, 0), [(3, Some(1))]);
        assert_eq!(outbox.ok(2), Some(1));
        assert_eq!(outbox.ok(2), None, "each command has one answer");
    }

    #[test]
    fn after_a_refusal_with_patience_all_is_said_again_from_the_oldest() {
        let mut outbox = holding(3);
        says(&mut outbox, 1, 0);
        assert_eq!(outbox.refused(1, Some(100), 0), Some((0, false)));
        assert_eq!(outbox.ok(2), Some(1));
        assert_eq!(says(&mut outbox, 4, 200), [], "an answer is awaited");
        assert_eq!(outbox.due_ms(), None);
        assert_eq!(outbox.refused(3, Some(50), 200), Some((2, false)));
        assert_eq!(outbox.due_ms(), Some(250));
        assert_eq!(says(&mut outbox, 4, 249), []);
        assert_eq!(says(&mut outbox, 4, 250), [(0, None), (2, Some(0))]);
    }

    #[test]
    fn a_cut_connection_resends_what_has_no_outcome() {
        let mut outbox = holding(2);
        says(&mut outbox, 1, 0);
        outbox.ok(1);
        outbox.cut();
        outbox.push(2);
        assert_eq!(says(&mut outbox, 1, 0), [(1, None), (2, Some(1))]);
    }

    #[test]
    fn no_more_is_open_than_the_server_allows() {
        let mut outbox = holding(10);
        outbox.allow(5);
        assert_eq!(says(&mut outbox, 1, 0).len(), 3);
        outbox.ok(2);
        assert_eq!(says(&mut outbox, 4, 0), [(3, Some(2))]);
    }
}
