//! Hall: a room in which some talk, so much a second, and all listen, and how long each message takes to each.
//!
//! A message takes time from the moment at which it was due: what could not even be said, because something was
//! late before it, is not left out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tertulia_protocol::heard::{self, Heard as Object};

use crate::chance::Chance;
use crate::crowd::{Crowd, Told};
use crate::server::{Server, WHISPER};

/// Everyone comes in, and hears what is on its way, within that; a longer pause is not made up for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everyone who is there, and what was said.
pub(crate) struct Hall {
    /// Those of the hall come first in it; others may follow.
    pub(crate) crowd: Crowd,
    room: &'static str,
    members: usize,
    talk: Talk,
    more: String,
    said: u64,
    refused: u64,
    next: Instant,
    chance: Chance,
    wrongs: Vec<String>,
}

/// How they talk.
#[derive(Clone, Copy)]
pub(crate) struct Talk {
    /// So many of them, one after the other.
    pub(crate) speakers: usize,
    /// Between two messages.
    pub(crate) every: Duration,
    /// It is so long on average: they know nothing of each other, so two may talk at once.
    pub(crate) at_random: bool,
    /// Each is longer than it must be, by so many bytes.
    pub(crate) more_bytes: usize,
}

/// A message that reached someone.
#[derive(Clone, Copy)]
pub(crate) struct Delivery {
    /// When it was to be said, in microseconds of the crowd's time.
    pub(crate) due_us: u64,
    pub(crate) took_us: u32,
}

impl Hall {
    /// Members of a room that exists, all of whom hear it.
    pub(crate) fn open(
        server: &Server,
        seed: u64,
        room: &'static str,
        members: &[String],
        talk: Talk,
    ) -> Hall {
        let mut crowd = Crowd::new(server, seed);
        for user in members {
            crowd.add(user, server.token_into(user, room), &[room]);
        }
        let moved = crowd.move_in(0, |_| Vec::new(), PATIENCE);
        moved.unwrap_or_else(|what| panic!("those of {room}: {what}"));
        let (members, more) = (members.len(), "x".repeat(talk.more_bytes));
        let (next, chance, wrongs) = (Instant::now(), Chance::new(seed), Vec::new());
        Hall { crowd, room, members, talk, more, said: 0, refused: 0, next, chance, wrongs }
    }

    /// After a pause: the next message is due now.
    pub(crate) fn goes_on(&mut self) {
        self.next = Instant::now();
    }

    /// How many messages were said.
    pub(crate) fn said(&self) -> u64 {
        self.said
    }

    /// How many of them were refused. Whoever talks so fast that a disk which stalls for a moment leaves them with
    /// too many unanswered has to reckon with it.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Talks and listens while `goes_on`; gives what reached those of the hall meanwhile.
    pub(crate) fn talk(&mut self, mut goes_on: impl FnMut() -> bool) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while goes_on() {
            let now = Instant::now();
            while self.next <= now {
                self.say(now);
            }
            let heard_us = self.crowd.now_us();
            let clock = Instant::now();
            let Hall { crowd, members, next, refused, wrongs, .. } = self;
            crowd.turn(*next, |who, told| match told {
                Told::Event(event) if who < *members => {
                    let due_us =
                        event.d.and_then(|d| d.strip_prefix(r#"{"due":"#)?.split_once(','));
                    let due_us = due_us.and_then(|(due_us, _)| due_us.parse::<u64>().ok());
                    let now_us = heard_us + clock.elapsed().as_micros() as u64;
                    let took_us = |due_us| now_us.saturating_sub(due_us) as u32;
                    let delivery = |due_us| Delivery { due_us, took_us: took_us(due_us) };
                    deliveries.extend(due_us.map(delivery));
                }
                Told::Err(_) if who < *members => *refused += 1,
                Told::Gone(gone) if who < *members => {
                    wrongs.push(format!("{who} is gone: {gone:?}"))
                }
                _ => {}
            });
        }
        deliveries
    }

    fn say(&mut self, now: Instant) {
        let late_us = (now - self.next).as_micros() as u64;
        let gap =
            if self.talk.at_random { self.chance.gap(self.talk.every) } else { self.talk.every };
        self.next = (self.next + gap).max(now - PATIENCE);
        let due_us = self.crowd.now_us().saturating_sub(late_us);
        let who = self.said as usize % self.talk.speakers;
        self.said += 1;
        let d = format!(r#"{{"due":{due_us},"text":"{WHISPER}{}"}}"#, self.more);
        if self.crowd.send(who, self.room, &format!("c{}", self.said), &d).is_none() {
            self.wrongs.push(format!("speaker {who} is not in any more"));
        }
    }

    /// Looks, when all is over, at what everyone has: all of the log, in order, as it is stored, and in it once
    /// each message that was said, each speaker's in their order, if none was refused. Gives how many events there
    /// are, and what is wrong.
    pub(crate) fn compare(&mut self, server: &Server) -> (u64, Vec<String>) {
        let log = server.log(self.room);
        let log_end = log.as_ref().map_or(0, |log| log.len() as u64);
        let members = self.members;
        let all = |crowd: &Crowd| (0..members).all(|who| has(crowd, who, log_end));
        let mut wrongs = std::mem::take(&mut self.wrongs);
        if !self.crowd.run_until(PATIENCE, |_, _| (), all) {
            wrongs.push(format!("those of {} have not all of the log", self.room));
        }
        let log = BTreeMap::from([(self.room.to_owned(), log)]);
        wrongs.extend(self.crowd.compare(&log));
        let (words, in_all) = self.crowd.wrongs();
        if in_all > 0 {
            wrongs.push(format!("{in_all} wrongs, like {words:?}"));
        }
        if self.refused == 0
            && let Ok(log) = &log[self.room]
        {
            wrongs.extend(missing(log, self.said, self.talk.speakers as u64));
        }
        (log_end, wrongs)
    }
}

/// Whether someone has heard all their rooms up to there.
pub(crate) fn has(crowd: &Crowd, who: usize, head: u64) -> bool {
    crowd.lasts(who).all(|(_, last)| last.is_some_and(|last| last >= head))
}

/// What a log lacks of the messages 1 to `said`, which the speakers said in turn; the messages of others are
/// passed over.
fn missing(log: &[String], said: u64, speakers: u64) -> Option<String> {
    let number = |line: &String| match heard::read(line) {
        Ok(Object::Event(event)) => event.cid?.strip_prefix('c')?.parse::<u64>().ok(),
        _ => None,
    };
    // What each speaker says next: an earlier or later one in its place is lost, doubled or out of order.
    let mut expected: Vec<u64> = (1..=speakers).collect();
    for number in log.iter().filter_map(number) {
        let speaker = ((number + speakers - 1) % speakers) as usize;
        if number != expected[speaker] {
            return Some(format!("c{number} is stored where c{} belongs", expected[speaker]));
        }
        expected[speaker] += speakers;
    }
    let next = expected.into_iter().min().unwrap_or(0);
    (next <= said).then(|| format!("c{next} of {said} is not stored"))
}

/// Ninety-nine of a hundred took no longer; zero if there were none.
pub(crate) fn p99(mut took: Vec<u32>) -> u32 {
    let place = (took.len() * 99).div_ceil(100).saturating_sub(1);
    if took.is_empty() { 0 } else { *took.select_nth_unstable(place).1 }
}

/// The one in the middle; zero if there are none.
pub(crate) fn median(mut figures: Vec<u32>) -> u32 {
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(cids: &[&str]) -> Vec<String> {
        let event = |cid: &&str| {
            format!(
                r#"{{"t":"ev","room":"r","seq":1,"ts":1,"by":"u","k":"msg","cid":"{cid}","d":1}}"#
            )
        };
        cids.iter().map(event).collect()
    }

    #[test]
    fn what_is_lost_doubled_or_out_of_a_speakers_order_is_found() {
        // One says the odd ones, one the even ones, and someone else is there, too.
        for good in [&["c1", "c2", "c3", "c4"][..], &["c2", "rude-1", "c1", "c4", "c3"]] {
            assert_eq!(missing(&log(good), 4, 2), None, "{good:?}");
        }
        for bad in [
            &["c1", "c2", "c3"][..],
            &["c1", "c2", "c4"],
            &["c1", "c2", "c2", "c3", "c4"],
            &["c3", "c2", "c1", "c4"],
            &[],
        ] {
            assert!(missing(&log(bad), 4, 2).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn one_of_a_hundred_may_be_slow() {
        let mut took = vec![1; 99];
        took.push(1_000);
        assert_eq!((p99(took.clone()), median(took.clone())), (1, 1));
        took[0] = 1_000;
        assert_eq!((p99(took), p99(Vec::new()), median(Vec::new())), (1_000, 0, 0));
    }
}
