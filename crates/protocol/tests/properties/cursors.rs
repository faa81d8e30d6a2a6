//! Cursors: a client that follows a room over gaps, lags, refusals, cuts and restored logs is handed every
//! event once, in order and of the right life, is told of each that it does not get, and ends at the head.
//!
//! The server here is a page of §5 and nothing else. Each byte is one thing that happens to it, to the wire or
//! to the client.

use std::collections::VecDeque;

use tertulia_protocol::command::{self, Command, Position};
use tertulia_protocol::follow::{Continuity, Follow, Say};
use tertulia_protocol::reply::Attached;
use tertulia_protocol::{Epoch, Role, Seq};

/// Small, so that a few bytes fill a page and a few more make a hole.
const PAGE: Seq = 3;
const JUMP: Seq = 7;

/// Enough turns for anything that is on its way, whatever the bytes were.
const TURNS_MAX: usize = 10_000;

pub(crate) fn check(bytes: &[u8]) {
    let mut town = Town::new();
    // A longer story than this says nothing that a shorter one does not.
    for byte in bytes.iter().take(2_000) {
        town.step(*byte);
    }
    town.settle();
}

/// What the server has said and the client has not heard.
enum Word {
    Event { epoch: Epoch, seq: Seq },
    Subbed(Attached),
    Refused(Option<u64>),
    Unsubbed,
    Lag,
    Drop { reset: bool },
    Head(Option<(Epoch, Seq)>),
}

struct Town {
    client: Follow,
    now_ms: u64,
    /// Where what was handed over ends, as the application knows it.
    handed: Option<Position>,
    /// Said by the client and not read by the server yet.
    to_server: VecDeque<Say>,
    to_client: VecDeque<Word>,
    life: u64,
    head: Seq,
    first: Seq,
    /// The client hears the room live.
    live: bool,
    /// The next `sub` is answered so: 1 = come again, 2 = no.
    refuses: u8,
}

impl Town {
    fn new() -> Town {
        Town {
            client: Follow::from(None),
            now_ms: 1_000,
            handed: None,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            life: 0,
            head: 2,
            first: 1,
            live: false,
            refuses: 0,
        }
    }

    fn epoch(&self) -> Epoch {
        Epoch::parse(&format!("e{}", self.life)).expect("a letter and digits are an epoch")
    }

    fn step(&mut self, byte: u8) {
        let much = Seq::from(byte >> 4);
        match byte & 0x0f {
            0 | 1 => self.commits(true),
            2 => self.commits(false),
            3..=5 => self.client_speaks(),
            6 | 7 => self.server_reads(),
            8 | 9 => (0..=much).for_each(|_| self.client_hears()),
            10 => self.client.open(),
            11 if much < 8 => self.client.close(),
            11 => self.refuses = much as u8 % 3,
            12 if self.live => self.detaches(Word::Lag),
            12 => self.to_client.push_back(Word::Head(None)),
            13 if much < 12 => self.cut(),
            13 => self.reborn(much),
            14 => self.first = (self.first + much).min(self.head + 1),
            _ if much < 12 => self.now_ms += much * 500,
            _ => self.tells_head(),
        }
    }

    /// An event; whoever hears the room live may miss it on the way.
    fn commits(&mut self, arrives: bool) {
        self.head += 1;
        if self.live && arrives {
            self.to_client.push_back(Word::Event { epoch: self.epoch(), seq: self.head });
        }
    }

    fn detaches(&mut self, why: Word) {
        self.live = false;
        self.to_client.push_back(why);
    }

    fn cut(&mut self) {
        self.live = false;
        self.to_server.clear();
        self.to_client.clear();
        self.client.cut();
    }

    /// The log is a copy from earlier: another life, maybe with more in it than the client has seen.
    fn reborn(&mut self, head: Seq) {
        self.life += 1;
        self.head = head;
        self.first = self.first.min(head + 1);
        if self.live {
            self.detaches(Word::Drop { reset: true });
        }
    }

    fn tells_head(&mut self) {
        let head = self.live.then(|| (self.epoch(), self.head));
        self.to_client.push_back(Word::Head(head));
    }

    fn client_speaks(&mut self) {
        while let Some(say) = self.client.say(self.now_ms) {
            if let Say::Sub(from) = say {
                assert!(self.client.is_open(), "a closed room is asked for");
                assert_eq!(from, self.client.position());
                assert_eq!(from, self.handed, "the cursor is not what was handed over");
            }
            let subs = self.to_server.iter().filter(|say| matches!(say, Say::Sub(_))).count();
            assert!(subs == 0 || say == Say::Unsub, "a second sub while one is unanswered");
            self.to_server.push_back(say);
        }
    }

    fn server_reads(&mut self) {
        match self.to_server.pop_front() {
            Some(Say::Unsub) => self.detaches(Word::Unsubbed),
            Some(Say::Sub(from)) => match std::mem::take(&mut self.refuses) {
                0 => self.subscribes(over_the_wire(from)),
                1 => self.detaches(Word::Refused(Some(300))),
                _ => self.detaches(Word::Refused(None)),
            },
            None => {}
        }
    }

    /// The five cases of §5.
    fn subscribes(&mut self, from: Option<Position>) {
        let (epoch, head, kept_from) = (self.epoch(), self.head, self.first - 1);
        let (base, reset, hole) = match from {
            None => (head, false, false),
            Some(from) if from.epoch != epoch || from.seq > head => (head, true, false),
            Some(from) if from.seq < kept_from && head - kept_from <= JUMP => {
                (kept_from, false, true)
            }
            Some(from) if from.seq < kept_from || head - from.seq > JUMP => (head, false, true),
            Some(from) => (from.seq, false, false),
        };
        let upto = head.min(base + PAGE);
        let more = upto < head;
        let (first, role) = (self.first, Role::Member);
        self.live = !more;
        self.to_client.push_back(Word::Subbed(Attached {
            epoch,
            base,
            upto,
            head,
            first,
            n: 0,
            role,
            reset,
            hole,
            more,
        }));
        self.to_client.extend((base + 1..=upto).map(|seq| Word::Event { epoch, seq }));
    }

    fn client_hears(&mut self) {
        let Some(word) = self.to_client.pop_front() else { return };
        match word {
            Word::Event { epoch, seq } => {
                if self.client.event(seq) {
                    let last = self.handed.as_mut().expect("nothing is handed over at nowhere");
                    assert_eq!((epoch, seq), (last.epoch, last.seq + 1), "out of order");
                    last.seq = seq;
                }
            }
            Word::Subbed(answer) => self.subbed(&answer),
            Word::Refused(retry_ms) => self.client.refused(retry_ms, self.now_ms),
            Word::Unsubbed => self.client.unsubbed(),
            Word::Lag => self.client.lag(self.now_ms),
            Word::Drop { reset } => self.client.dropped(reset),
            Word::Head(head) => self.client.head(head),
        }
        assert_eq!(self.client.position(), self.handed, "it stands elsewhere than was handed over");
    }

    /// What the application is told has to account for every step that is not one event.
    fn subbed(&mut self, answer: &Attached) {
        let told = self.client.subbed(answer);
        let now = self.client.position().expect("an answer gives a position");
        assert_eq!(now.epoch, answer.epoch);
        match (told, self.handed) {
            (Continuity::Unbroken, Some(before)) => assert_eq!(now, before, "moved in silence"),
            (Continuity::Hole { after, upto }, Some(before)) => {
                assert_eq!((after, upto), (before.seq, now.seq), "the hole is another one");
                assert!(after < upto && now.epoch == before.epoch);
            }
            (Continuity::Unbroken, None) | (Continuity::Reset, Some(_)) => {
                assert_eq!(now.seq, answer.base);
            }
            (told, None) => panic!("{told:?} of nothing"),
        }
        self.handed = Some(now);
    }

    /// Nothing more happens to the room, and the heads are compared: the client has to come to its end.
    fn settle(&mut self) {
        self.refuses = 0;
        self.client.open();
        for turn in 0.. {
            assert!(turn < TURNS_MAX, "the client goes on asking");
            self.now_ms += 1_000;
            self.client_speaks();
            let quiet = self.to_server.is_empty() && self.to_client.is_empty();
            let (epoch, seq) = (self.epoch(), self.head);
            if quiet && self.client.is_attached() && self.handed == Some(Position { epoch, seq }) {
                return;
            }
            if quiet {
                assert!(turn < TURNS_MAX / 2, "the client waits for nothing: {:?}", self.client);
                self.tells_head();
                // A refusal that was final is the application's to take back, and nothing else is.
                if !self.client.is_open() {
                    self.client.open();
                }
            }
            self.server_reads();
            while !self.to_client.is_empty() {
                self.client_hears();
            }
        }
    }
}

/// A position as it comes out of the words that carry it.
fn over_the_wire(from: Option<Position>) -> Option<Position> {
    let Position { epoch, seq } = from?;
    let text = format!(r#"{{"t":"sub","id":1,"room":"r1","epoch":"{epoch}","seq":{seq}}}"#);
    match command::read(&text).map(|said| said.command) {
        Ok(Command::Sub(sub)) => sub.from,
        other => panic!("{text} is read as {other:?}"),
    }
}
