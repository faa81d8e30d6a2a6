//! Follow: how a client keeps its place in one room, whatever happens to the delivery.
//!
//! The rule of the protocol as a machine without hands: what the server says of the room goes in, what the
//! client says next comes out of [`Follow::say`]. Causes to subscribe only raise a flag; the flag becomes a
//! `sub` when nothing is unanswered, so there is never more than one, and many causes make one.
//!
//! Never: allocates, reads a clock, closes a connection because of a gap, keeps an event.

use crate::command::Position;
use crate::id::{Epoch, Seq};
use crate::reply::Attached;

/// A second `lag` within this time asks for a pause before the next `sub`.
pub const LAG_AGAIN_MS: u64 = 5_000;

/// The pause after a second `lag`.
pub const LAG_PAUSE_MS: u64 = 1_000;

/// One room as a client follows it, over any number of connections.
///
/// Units: `now_ms` is any clock that never goes back, the same one in every call.
#[derive(Clone, Debug)]
pub struct Follow {
    /// Stands for all that was handed over: keep the two together.
    position: Option<Position>,
    /// What the server does for us now.
    stand: Stand,
    /// The application wants the room.
    open: bool,
    /// Something happened that a `sub` repairs.
    cause: bool,
    /// A `sub` of this connection is unanswered.
    sub_out: bool,
    /// An `unsub` is to be said.
    leaving: bool,
    /// An `unsub` of this connection is unanswered.
    unsub_out: bool,
    /// No `sub` before this time.
    not_before_ms: Option<u64>,
    /// When the last `lag` came.
    lag_ms: Option<u64>,
}

/// What the server does for us in the room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stand {
    Detached,
    /// It replays up to there and then waits for the next `sub`.
    Page {
        upto: Seq,
    },
    Attached,
}

/// What the client says about the room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Say {
    /// `sub`, or an entry in the rooms of a `hello`, from here; `None` = from now on.
    Sub(Option<Position>),
    /// `unsub`.
    Unsub,
}

/// What the answer to a `sub` means for the client's copy of the room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Continuity {
    /// It goes on, or begins.
    Unbroken,
    /// It is of another life of the room and must go.
    Reset,
    /// Events behind `after`, up to and with `upto`, will not come by themselves.
    Hole {
        /// The last event before the hole.
        after: Seq,
        /// The last event of the hole.
        upto: Seq,
    },
}

impl Follow {
    /// A room that is not followed yet, from the position that is kept of it, if any.
    pub const fn from(position: Option<Position>) -> Follow {
        Follow {
            position,
            stand: Stand::Detached,
            open: false,
            cause: false,
            sub_out: false,
            leaving: false,
            unsub_out: false,
            not_before_ms: None,
            lag_ms: None,
        }
    }

    /// What has been handed over; `None` before the first answer.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The last event that was handed over; 0 if none was.
    pub fn last(&self) -> Seq {
        self.position.map_or(0, |position| position.seq)
    }

    /// Whether new events come by themselves, as far as the client can know.
    pub fn is_attached(&self) -> bool {
        self.stand == Stand::Attached
    }

    /// Whether the room is wanted: opened, and neither closed nor lost by a final refusal.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The application wants the room.
    pub fn open(&mut self) {
        // What came while the room was closed was not handed over, though the server, which has not heard
        // of it, counts it as delivered: only a `sub` brings it again.
        let was_leaving = std::mem::take(&mut self.leaving);
        self.open = true;
        self.cause |= was_leaving || self.unsub_out || self.stand == Stand::Detached;
    }

    /// The application does not want the room any more.
    pub fn close(&mut self) {
        self.leaving |= self.open && !self.unsub_out;
        self.open = false;
    }

    /// What to say now; ask again until there is nothing. What is told must be said on this connection.
    pub fn say(&mut self, now_ms: u64) -> Option<Say> {
        if std::mem::take(&mut self.leaving) {
            self.unsub_out = true;
            return Some(Say::Unsub);
        }
        if !self.would_sub() || self.not_before_ms.is_some_and(|due_ms| now_ms < due_ms) {
            return None;
        }
        self.not_before_ms = None;
        self.cause = false;
        self.sub_out = true;
        Some(Say::Sub(self.position))
    }

    /// When [`Follow::say`] has something to say though nothing more is heard.
    pub fn due_ms(&self) -> Option<u64> {
        self.not_before_ms.filter(|_| self.would_sub())
    }

    fn would_sub(&self) -> bool {
        self.open && self.cause && !self.sub_out && !self.unsub_out
    }

    /// An event of the room came: is it the next one? Then it is to be handed over, and counts as handed over.
    ///
    /// Cost: a few comparisons; after `true` or `false` [`Follow::say`] may have something to say.
    pub fn event(&mut self, seq: Seq) -> bool {
        let Some(position) = self.position.as_mut().filter(|_| self.open && !self.unsub_out) else {
            return false;
        };
        if seq <= position.seq {
            return false;
        }
        if seq > position.seq + 1 {
            self.cause = true;
            return false;
        }
        position.seq = seq;
        self.turn_page();
        true
    }

    /// At the end of a page the next one is asked for.
    fn turn_page(&mut self) {
        if let Stand::Page { upto } = self.stand {
            self.cause |= self.last() >= upto;
        }
    }

    /// The `sub`, or the entry in `hello`, was answered.
    pub fn subbed(&mut self, answer: &Attached) -> Continuity {
        let before = self.position.replace(Position { epoch: answer.epoch, seq: answer.base });
        let continuity = match before {
            None => Continuity::Unbroken,
            Some(before) if answer.reset || before.epoch != answer.epoch => Continuity::Reset,
            // Events of the replaced attachment may have moved us past the base.
            Some(before) => {
                let seq = before.seq.max(answer.base);
                self.position = Some(Position { epoch: answer.epoch, seq });
                if answer.hole && before.seq < answer.base {
                    Continuity::Hole { after: before.seq, upto: answer.base }
                } else {
                    Continuity::Unbroken
                }
            }
        };
        self.sub_out = false;
        // Whatever arose meanwhile was of the attachment that this answer replaced.
        self.cause = false;
        self.not_before_ms = None;
        self.stand = if answer.more { Stand::Page { upto: answer.upto } } else { Stand::Attached };
        self.turn_page();
        continuity
    }

    /// The `sub`, or the entry in `hello`, was refused; `retry_ms` as the refusal carries it.
    ///
    /// Without it the refusal is final: the room is not wanted any more until it is opened again.
    pub fn refused(&mut self, retry_ms: Option<u64>, now_ms: u64) {
        self.sub_out = false;
        self.stand = Stand::Detached;
        match retry_ms {
            Some(retry_ms) => {
                self.cause = true;
                self.not_before_ms = Some(now_ms.saturating_add(retry_ms));
            }
            None => {
                self.cause = false;
                self.open = false;
            }
        }
    }

    /// The `unsub` was answered, however.
    pub fn unsubbed(&mut self) {
        self.unsub_out = false;
        self.stand = Stand::Detached;
        self.cause = self.open;
    }

    /// `lag` came.
    pub fn lag(&mut self, now_ms: u64) {
        let again = self.lag_ms.is_some_and(|lag_ms| now_ms < lag_ms.saturating_add(LAG_AGAIN_MS));
        self.lag_ms = Some(now_ms);
        self.stand = Stand::Detached;
        self.cause = true;
        if again && !self.sub_out {
            let pause_ms = now_ms.saturating_add(LAG_PAUSE_MS);
            self.not_before_ms = Some(self.not_before_ms.unwrap_or(0).max(pause_ms));
        }
    }

    /// `drop` came; `reset` = that was its code. Any other code ends the room, unless a `sub` is on its way:
    /// then the answer to that decides.
    pub fn dropped(&mut self, reset: bool) {
        self.stand = Stand::Detached;
        if reset {
            self.cause = true;
        } else if !self.sub_out {
            self.open = false;
        }
    }

    /// The answer to `ping{heads}` came, and this stood there for the room.
    ///
    /// Repairs what nothing else shows: a lost last event, an attachment that the server has forgotten.
    pub fn head(&mut self, head: Option<(Epoch, Seq)>) {
        match (head, self.position) {
            (None, _) => {
                if self.stand == Stand::Attached {
                    self.stand = Stand::Detached;
                }
                self.cause |= self.stand == Stand::Detached;
            }
            (Some((epoch, head)), Some(position)) => {
                self.cause |= epoch != position.epoch || head > position.seq;
            }
            (Some(_), None) => {}
        }
    }

    /// The connection is gone, and with it every answer that was awaited; the room goes into the next `hello`.
    pub fn cut(&mut self) {
        *self = Follow { open: self.open, cause: self.open, ..Follow::from(self.position) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::Role;

    const NOW: u64 = 10_000;

    fn epoch(name: &str) -> Epoch {
        Epoch::parse(name).unwrap()
    }

    fn at(seq: Seq) -> Option<Position> {
        Some(Position { epoch: epoch("e7"), seq })
    }

    fn answer(base: Seq, upto: Seq, head: Seq) -> Attached {
        Attached {
            epoch: epoch("e7"),
            base,
            upto,
            head,
            first: 1,
            n: 0,
            role: Role::Member,
            reset: false,
            hole: false,
            more: upto < head,
        }
    }

    /// A room that was followed to `seq` and is attached.
    fn attached(seq: Seq) -> Follow {
        let mut room = Follow::from(at(seq));
        room.open();
        assert_eq!(room.say(NOW), Some(Say::Sub(at(seq))));
        room.subbed(&answer(seq, seq, seq));
        room
    }

    #[test]
    fn a_gap_asks_once_however_long_it_is() {
        let mut room = attached(41);
        assert!(room.event(42));
        assert!(!room.event(44) && !room.event(45));
        assert_eq!(room.say(NOW), Some(Say::Sub(at(42))));
        assert!(!room.event(46));
        assert_eq!(room.say(NOW), None, "one sub at most is unanswered");
        room.subbed(&answer(42, 46, 46));
        assert!((43..=46).all(|seq| room.event(seq)));
        assert_eq!(room.say(NOW), None);
    }

    #[test]
    fn an_answer_below_what_came_meanwhile_moves_nothing_back() {
        let mut room = attached(41);
        room.lag(NOW);
        assert_eq!(room.say(NOW), Some(Say::Sub(at(41))));
        assert!(room.event(42), "an event of the replaced attachment is an event");
        room.subbed(&answer(41, 43, 43));
        assert!(!room.event(42));
        assert!(room.event(43));
    }

    #[test]
    fn a_page_ends_in_the_next_sub() {
        let mut room = attached(0);
        room.lag(NOW);
        room.say(NOW);
        room.subbed(&answer(0, 2, 3));
        assert!(!room.is_attached());
        assert!(room.event(1));
        assert_eq!(room.say(NOW), None);
        assert!(room.event(2));
        assert_eq!(room.say(NOW), Some(Say::Sub(at(2))));
        room.subbed(&answer(2, 3, 3));
        assert!(room.is_attached());
    }

    #[test]
    fn the_second_lag_in_five_seconds_waits_one() {
        let mut room = attached(41);
        room.lag(NOW);
        assert!(room.say(NOW).is_some());
        room.subbed(&answer(41, 41, 41));
        room.lag(NOW + 4_999);
        assert_eq!(room.say(NOW + 4_999), None);
        assert_eq!(room.due_ms(), Some(NOW + 5_999));
        room.open();
        assert_eq!(room.say(NOW + 5_998), None, "waiting counts as unanswered");
        assert!(room.say(NOW + 5_999).is_some());
        room.subbed(&answer(41, 41, 41));
        room.lag(NOW + 9_999);
        assert!(room.say(NOW + 9_999).is_some(), "five seconds are over");
    }

    #[test]
    fn a_refusal_is_final_or_waited_out() {
        let mut room = attached(41);
        room.lag(NOW);
        room.say(NOW);
        room.refused(Some(300), NOW);
        room.event(50);
        assert_eq!(room.say(NOW + 299), None);
        assert_eq!(room.say(NOW + 300), Some(Say::Sub(at(41))));
        room.refused(None, NOW + 301);
        assert_eq!((room.say(NOW + 9_000), room.is_open()), (None, false));
        room.open();
        assert_eq!(room.say(NOW + 9_000), Some(Say::Sub(at(41))));
    }

    #[test]
    fn a_closed_room_hears_nothing_and_asks_nothing() {
        let mut room = attached(41);
        room.close();
        assert_eq!(room.say(NOW), Some(Say::Unsub));
        assert!(!room.event(42) && !room.event(60));
        room.open();
        assert_eq!(room.say(NOW), None, "events until the answer are of the closed room");
        room.unsubbed();
        assert_eq!(room.say(NOW), Some(Say::Sub(at(41))));
    }

    #[test]
    fn after_a_cut_the_room_goes_into_the_hello() {
        let mut room = attached(41);
        room.event(42);
        room.event(44);
        assert!(room.say(NOW).is_some());
        room.cut();
        assert_eq!(room.say(NOW), Some(Say::Sub(at(42))));
    }

    #[test]
    fn another_life_of_the_room_discards_the_copy() {
        let mut room = attached(41);
        room.dropped(true);
        assert_eq!(room.say(NOW), Some(Say::Sub(at(41))));
        let reborn = Attached { epoch: epoch("e8"), reset: true, ..answer(3, 3, 3) };
        assert_eq!(room.subbed(&reborn), Continuity::Reset);
        assert_eq!(room.position(), Some(Position { epoch: epoch("e8"), seq: 3 }));
    }

    #[test]
    fn a_hole_begins_where_the_client_is() {
        let mut room = attached(41);
        room.lag(NOW);
        room.say(NOW);
        room.event(42);
        let trimmed = Attached { hole: true, first: 91, ..answer(90, 100, 100) };
        assert_eq!(room.subbed(&trimmed), Continuity::Hole { after: 42, upto: 90 });
        assert!(room.event(91));
    }

    #[test]
    fn a_forgotten_attachment_is_found_by_its_missing_head() {
        let mut room = attached(41);
        room.head(Some((epoch("e7"), 41)));
        assert_eq!(room.say(NOW), None);
        room.head(Some((epoch("e7"), 42)));
        assert!(room.say(NOW).is_some());
        room.subbed(&answer(41, 42, 42));
        room.head(None);
        assert!(room.say(NOW).is_some());
    }
}
