//! Verdict: what the server did wrong, found in the journal after the run.
//!
//! Every message that was acked, or seen by anyone, has a number, and with it a place in what each listener
//! of its room must have been given: each message once, in the order of the numbers, and no other.

use std::fmt;

use tertulia_protocol::Seq;

use crate::journal::{ClientIndex, Journal, Name};

/// Faults of one sort that are told one by one; beyond, they are only counted.
const TOLD_MAX: usize = 10;

/// One thing that must not happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// A listener was never given a message.
    Lost { client: ClientIndex, name: Name, seq: Seq },
    /// A listener was given a message twice.
    Doubled { client: ClientIndex, name: Name },
    /// One message has two numbers.
    StoredTwice { name: Name, first: Seq, second: Seq },
    /// An event came again in one attachment.
    Repeated { client: ClientIndex, seq: Seq },
    /// A listener was given one message before another with a lower number.
    Swapped { client: ClientIndex, before: Name, after: Name },
    /// Two messages have one number.
    SharedNumber { one: Name, other: Name, seq: Seq },
    /// A later message of one sender has the lower number.
    Overtaken { earlier: Name, later: Name },
    /// An attachment left out events.
    Skipped { client: ClientIndex, next: Seq, seq: Seq },
    /// An event came while the room was not attached.
    Unasked { client: ClientIndex, seq: Seq },
    /// A listener heard another room.
    Crossed { client: ClientIndex, room: String },
    /// A listener was given, as one of its room, a message that was sent to another.
    Strayed { client: ClientIndex, name: Name },
    /// A message came with another body than it was sent with.
    Altered { client: ClientIndex, name: Name },
}

/// The sorts of faults, as the report counts them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    Lost,
    Doubled,
    Disordered,
    Crossed,
}

impl Fault {
    pub(crate) fn sort(&self) -> Sort {
        match self {
            Fault::Lost { .. } => Sort::Lost,
            Fault::Doubled { .. } | Fault::StoredTwice { .. } | Fault::Repeated { .. } => {
                Sort::Doubled
            }
            Fault::Swapped { .. }
            | Fault::SharedNumber { .. }
            | Fault::Overtaken { .. }
            | Fault::Skipped { .. }
            | Fault::Unasked { .. } => Sort::Disordered,
            Fault::Crossed { .. } | Fault::Strayed { .. } | Fault::Altered { .. } => Sort::Crossed,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of client {}", self.i, self.from)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Lost { client, name, seq } => {
                write!(f, "lost: client {client} was not given {name}, number {seq}")
            }
            Fault::Doubled { client, name } => {
                write!(f, "doubled: client {client} was given {name} twice")
            }
            Fault::StoredTwice { name, first, second } => {
                write!(f, "doubled: {name} has the numbers {first} and {second}")
            }
            Fault::Repeated { client, seq } => {
                write!(f, "doubled: client {client} heard {seq} again in one attachment")
            }
            Fault::Swapped { client, before, after } => {
                write!(f, "disordered: client {client} was given {before} before {after}")
            }
            Fault::SharedNumber { one, other, seq } => {
                write!(f, "disordered: {one} and {other} share the number {seq}")
            }
            Fault::Overtaken { earlier, later } => {
                write!(f, "disordered: {later} has a lower number than {earlier}")
            }
            Fault::Skipped { client, next, seq } => {
                write!(f, "disordered: client {client} heard {seq} where {next} was next")
            }
            Fault::Unasked { client, seq } => {
                write!(f, "disordered: client {client} heard {seq} while it was not attached")
            }
            Fault::Crossed { client, room } => {
                write!(f, "crossed: client {client} heard an event of room {room}")
            }
            Fault::Strayed { client, name } => {
                write!(f, "crossed: client {client} was given {name}, which is of another room")
            }
            Fault::Altered { client, name } => {
                write!(f, "crossed: client {client} was given {name} with another body")
            }
        }
    }
}

/// Faults, counted, and the first of each sort in words.
#[derive(Clone, Default, Debug)]
pub(crate) struct Faults {
    counts: [u64; 4],
    told: Vec<Fault>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        let count = &mut self.counts[fault.sort() as usize];
        *count += 1;
        if *count <= TOLD_MAX as u64 {
            self.told.push(fault);
        }
    }

    pub(crate) fn count(&self, sort: Sort) -> u64 {
        self.counts[sort as usize]
    }

    /// The first faults of each sort.
    pub(crate) fn told(&self) -> &[Fault] {
        &self.told
    }
}

/// What a run amounts to.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Deliveries that had to be.
    pub(crate) expected: u64,
    /// Of these, the ones that were, each counted once.
    pub(crate) seen: u64,
    pub(crate) faults: Faults,
}

/// Judges a journal.
///
/// Cost: linear in the deliveries, plus sorting the messages of each room.
pub(crate) fn judge(journal: &Journal) -> Verdict {
    let mut verdict = Verdict { expected: 0, seen: 0, faults: journal.faults.clone() };
    judge_numbers(journal, &mut verdict.faults);
    // For each message the last listener that was given it, counted from 1.
    let mut given_to = vec![0_u32; journal.messages.len()];
    for client in 0..journal.listeners.len() as ClientIndex {
        judge_listener(journal, client, &mut given_to, &mut verdict);
    }
    verdict
}

/// Each number once, and the messages of a sender in its order.
fn judge_numbers(journal: &Journal, faults: &mut Faults) {
    let mut numbered: Vec<_> = journal
        .messages
        .iter()
        .filter_map(|message| Some((message.room, message.seq?, message.name)))
        .collect();
    numbered.sort_unstable_by_key(|(room, seq, _)| (*room, *seq));
    for pair in numbered.windows(2) {
        let [(room, seq, one), (next_room, next_seq, other)] = *pair else { continue };
        if (room, seq) == (next_room, next_seq) {
            faults.add(Fault::SharedNumber { one, other, seq });
        }
    }
    for own in &journal.by_sender {
        let mut before: Option<(Seq, Name)> = None;
        for message in own.iter().map(|place| &journal.messages[*place as usize]) {
            let Some(seq) = message.seq else { continue };
            if let Some((_, earlier)) = before.filter(|(before, _)| *before > seq) {
                faults.add(Fault::Overtaken { earlier, later: message.name });
            }
            before = Some((seq, message.name));
        }
    }
}

fn judge_listener(
    journal: &Journal,
    client: ClientIndex,
    given_to: &mut [u32],
    verdict: &mut Verdict,
) {
    let listener = &journal.listeners[client as usize];
    // A client that was never in its room was promised nothing, but then it was given nothing either.
    let base = listener.base.unwrap_or(Seq::MAX);
    let mark = client + 1;
    let mut before: Option<(Seq, Name)> = None;
    for place in &listener.handed {
        let message = &journal.messages[*place as usize];
        let name = message.name;
        if message.room != listener.room {
            verdict.faults.add(Fault::Strayed { client, name });
            continue;
        }
        if std::mem::replace(&mut given_to[*place as usize], mark) == mark {
            verdict.faults.add(Fault::Doubled { client, name });
            continue;
        }
        let Some(seq) = message.seq else { continue };
        if seq > base {
            verdict.seen += 1;
        }
        if let Some((_, first)) = before.filter(|(before, _)| *before > seq) {
            verdict.faults.add(Fault::Swapped { client, before: first, after: name });
        }
        before = Some((seq, name));
    }
    for (message, given_to) in journal.messages.iter().zip(given_to) {
        let Some(seq) = message.seq.filter(|seq| message.room == listener.room && *seq > base)
        else {
            continue;
        };
        verdict.expected += 1;
        if *given_to != mark {
            verdict.faults.add(Fault::Lost { client, name: message.name, seq });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rooms, two clients in each; the clients of room 0 send three messages, numbers 11 to 13.
    struct Run {
        journal: Journal,
    }

    const A: ClientIndex = 0;
    const B: ClientIndex = 1;
    const C: ClientIndex = 2;

    impl Run {
        fn new() -> Run {
            let mut journal = Journal::new(&[0, 0, 1, 1]);
            for client in 0..4 {
                journal.attached(client, 10);
            }
            for (name, seq) in [(m(A, 0), 11), (m(B, 0), 12), (m(A, 1), 13)] {
                assert_eq!(journal.sent(name.from, 0), name.i);
                journal.acked(name, seq);
            }
            Run { journal }
        }

        /// `client` hears the event and hands it over.
        fn gives(mut self, client: ClientIndex, given: &[(Name, Seq)]) -> Run {
            for (name, seq) in given {
                self.journal.heard(client, *seq);
                self.journal.handed(client, *name, *seq);
            }
            self
        }

        fn whole(self, client: ClientIndex) -> Run {
            self.gives(client, &[(m(A, 0), 11), (m(B, 0), 12), (m(A, 1), 13)])
        }

        fn check(self, sort: Sort, faults: &[Fault]) -> Verdict {
            let verdict = judge(&self.journal);
            assert_eq!(verdict.faults.told(), faults);
            for other in [Sort::Lost, Sort::Doubled, Sort::Disordered, Sort::Crossed] {
                let count = if other == sort { faults.len() as u64 } else { 0 };
                assert_eq!(verdict.faults.count(other), count, "{other:?}");
            }
            verdict
        }
    }

    fn m(from: ClientIndex, i: u32) -> Name {
        Name { from, i }
    }

    #[test]
    fn a_run_without_fault_has_none() {
        let verdict = Run::new().whole(A).whole(B).check(Sort::Lost, &[]);
        assert_eq!((verdict.expected, verdict.seen), (6, 6));
    }

    #[test]
    fn a_lost_delivery_is_named() {
        let run = Run::new().whole(A).gives(B, &[(m(A, 0), 11), (m(B, 0), 12)]);
        let verdict = run.check(Sort::Lost, &[Fault::Lost { client: B, name: m(A, 1), seq: 13 }]);
        assert_eq!((verdict.expected, verdict.seen), (6, 5));
        let words = verdict.faults.told()[0].to_string();
        assert_eq!(words, "lost: client 1 was not given message 1 of client 0, number 13");
    }

    #[test]
    fn a_message_that_nobody_but_the_ack_knows_is_lost_to_all() {
        let mut run = Run::new().whole(A).whole(B);
        run.journal.sent(A, 0);
        run.journal.acked(m(A, 2), 14);
        run.check(Sort::Lost, &[A, B].map(|client| Fault::Lost { client, name: m(A, 2), seq: 14 }));
    }

    #[test]
    fn a_doubled_delivery_is_named() {
        let mut run = Run::new().whole(A).whole(B);
        run.journal.handed(B, m(A, 1), 13);
        let verdict = run.check(Sort::Doubled, &[Fault::Doubled { client: B, name: m(A, 1) }]);
        assert_eq!((verdict.expected, verdict.seen), (6, 6));
    }

    #[test]
    fn an_event_that_comes_again_in_one_attachment_is_named() {
        let mut run = Run::new().whole(A).whole(B);
        run.journal.heard(B, 12);
        run.check(Sort::Doubled, &[Fault::Repeated { client: B, seq: 12 }]);
    }

    #[test]
    fn an_event_that_comes_again_after_a_sub_is_no_fault() {
        let mut run = Run::new().whole(A).whole(B);
        run.journal.attached(B, 11);
        run.journal.heard(B, 12);
        run.journal.heard(B, 13);
        run.check(Sort::Doubled, &[]);
    }

    #[test]
    fn a_message_stored_twice_is_named() {
        let mut run = Run::new().whole(A).whole(B);
        run.journal.acked(m(A, 1), 14);
        run.check(Sort::Doubled, &[Fault::StoredTwice { name: m(A, 1), first: 13, second: 14 }]);
    }

    #[test]
    fn a_swapped_delivery_is_named() {
        let mut run = Run::new().whole(A);
        for (name, seq) in [(m(A, 0), 11), (m(A, 1), 13), (m(B, 0), 12)] {
            run.journal.handed(B, name, seq);
        }
        run.check(
            Sort::Disordered,
            &[Fault::Swapped { client: B, before: m(A, 1), after: m(B, 0) }],
        );
    }

    #[test]
    fn a_hole_in_an_attachment_is_named_though_it_was_filled() {
        let mut run = Run::new().whole(A);
        run.journal.heard(B, 11);
        run.journal.heard(B, 13);
        run.journal.attached(B, 11);
        run.journal.heard(B, 12);
        run.journal.heard(B, 13);
        for (name, seq) in [(m(A, 0), 11), (m(B, 0), 12), (m(A, 1), 13)] {
            run.journal.handed(B, name, seq);
        }
        run.check(Sort::Disordered, &[Fault::Skipped { client: B, next: 12, seq: 13 }]);
    }

    #[test]
    fn an_event_of_a_detached_room_is_named() {
        let mut run = Run::new().whole(A).whole(B);
        run.journal.detached(B);
        run.journal.heard(B, 14);
        run.check(Sort::Disordered, &[Fault::Unasked { client: B, seq: 14 }]);
    }

    #[test]
    fn a_sender_that_overtakes_itself_is_named() {
        let mut journal = Journal::new(&[0]);
        journal.attached(A, 0);
        for (i, seq) in [(0, 2), (1, 1)] {
            journal.sent(A, 0);
            journal.acked(m(A, i), seq);
        }
        let run = Run { journal }.gives(A, &[(m(A, 1), 1), (m(A, 0), 2)]);
        run.check(Sort::Disordered, &[Fault::Overtaken { earlier: m(A, 0), later: m(A, 1) }]);
    }

    #[test]
    fn a_number_that_two_messages_share_is_named() {
        let mut run = Run::new().whole(A).whole(B);
        run.journal.sent(B, 0);
        run.journal.acked(m(B, 1), 13);
        let verdict = judge(&run.journal);
        assert_eq!(
            verdict.faults.told()[0],
            Fault::SharedNumber { one: m(A, 1), other: m(B, 1), seq: 13 }
        );
    }

    #[test]
    fn a_crossed_delivery_is_named() {
        let mut run = Run::new().whole(A).whole(B);
        run.journal.crossed(C, "r0");
        let verdict =
            run.check(Sort::Crossed, &[Fault::Crossed { client: C, room: "r0".to_owned() }]);
        let words = verdict.faults.told()[0].to_string();
        assert_eq!(words, "crossed: client 2 heard an event of room r0");
    }

    #[test]
    fn a_message_that_strays_under_another_rooms_name_is_named() {
        let run = Run::new().whole(A).whole(B).gives(C, &[(m(A, 0), 11)]);
        run.check(Sort::Crossed, &[Fault::Strayed { client: C, name: m(A, 0) }]);
    }

    #[test]
    fn a_listener_is_promised_what_comes_behind_its_first_base() {
        let mut run = Run::new().whole(A);
        run.journal.listeners[B as usize].base = Some(12);
        run.journal.attached(B, 12);
        let verdict = run.gives(B, &[(m(A, 1), 13)]).check(Sort::Lost, &[]);
        assert_eq!((verdict.expected, verdict.seen), (4, 4));
    }

    #[test]
    fn many_faults_are_counted_and_the_first_are_told() {
        let mut faults = Faults::default();
        for seq in 0..100 {
            faults.add(Fault::Unasked { client: A, seq });
        }
        assert_eq!((faults.count(Sort::Disordered), faults.told().len()), (100, TOLD_MAX));
    }
}
