//! Model: what is true, read from the store after each commit, and what was promised to whom.
//!
//! It knows nothing of shards and hubs: a log is a list of lines, and whoever claims something about it is
//! compared with that list. (I2 gapless, I4 no delivery after a kick, I5 idempotent, I7 no phantom)

use std::collections::{BTreeMap, BTreeSet};

use tertulia_protocol::heard::{self, Heard};
use tertulia_protocol::reply::Stored;
use tertulia_protocol::{Epoch, Seq};
use tertulia_store::{Range, Reader, Renewed};

use crate::outbox::Message;
use crate::outside::room_id;

/// One life of a room's log.
#[derive(Clone, Default)]
pub(crate) struct Log {
    lines: Vec<String>,
    first: Seq,
    /// Who came and went, in the log's order: the number, who, and whether they came.
    turns: Vec<(Seq, String, Turn)>,
    /// Cids of what was said, with their place.
    cids: BTreeMap<(String, String), Seq>,
    messages: u64,
    ts: u64,
    gone: bool,
    /// Where each commit began and ended that a reader may have seen before the shards were told.
    early: BTreeMap<Seq, Seq>,
}

/// What a membership event says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    Came,
    Left,
    Kicked,
    Banned,
}

/// What is true.
#[derive(Default)]
pub(crate) struct Model {
    logs: BTreeMap<(String, Epoch), Log>,
    /// Which life each room has now.
    pub(crate) now: BTreeMap<String, Epoch>,
    /// Every name that a room ever had.
    names: BTreeSet<String>,
    /// What each user said under a cid in a room.
    said: BTreeMap<(String, String, String), BTreeSet<String>>,
    acked: BTreeMap<(String, String, Epoch, String), Seq>,
    /// Users whose tokens ever granted something in that room.
    granted: BTreeSet<(String, String)>,
    /// The first thing that was wrong.
    pub(crate) wrong: Option<String>,
    /// How much was checked, so that a test can see that something was.
    pub(crate) checked_events: u64,
}

impl Model {
    /// Something is wrong; the first one counts.
    pub(crate) fn fault(&mut self, what: impl FnOnce() -> String) {
        self.wrong.get_or_insert_with(what);
    }

    /// There may be a room of that name.
    pub(crate) fn may_be(&mut self, room: &str) {
        self.names.insert(room.to_owned());
    }

    /// A user may say this; whatever else stands in a log is a phantom.
    pub(crate) fn may_say(&mut self, user: &str, room: &str, cid: &str, d: &str) {
        let key = (user.to_owned(), room.to_owned(), cid.to_owned());
        self.said.entry(key).or_default().insert(d.to_owned());
    }

    /// A token grants this.
    pub(crate) fn may_be_granted(&mut self, user: &str, room: &str) {
        self.granted.insert((user.to_owned(), room.to_owned()));
    }

    /// Reads what was committed since the last call, which is one batch at most. `early`: readers may see it
    /// before the shards are told.
    pub(crate) fn refresh(&mut self, reader: &mut Reader, early: bool) {
        for name in self.names.clone() {
            let stored = reader.room(&room_id(&name)).expect("no fault is planted now");
            let epoch = stored.as_ref().map(|room| room.epoch);
            let before = match epoch {
                Some(epoch) => self.now.insert(name.clone(), epoch),
                None => self.now.remove(&name),
            };
            if let Some(before) = before.filter(|before| Some(*before) != epoch) {
                self.log_mut(&name, before).gone = true;
            }
            let Some(room) = stored else { continue };
            let log = self.log_mut(&name, room.epoch);
            log.first = room.head.first;
            let known = log.lines.len() as Seq;
            let range = Range {
                room: room.no,
                after: known,
                upto: room.head.seq,
                limit: u32::MAX,
                bytes_max: u32::MAX,
            };
            let events = reader.log(range).expect("no fault is planted now");
            if early {
                self.log_mut(&name, room.epoch).early.insert(known, room.head.seq);
            }
            if known + events.len() as Seq != room.head.seq {
                self.fault(|| format!("{name}: head {}, but the log ends earlier", room.head.seq));
            }
            for event in events {
                let line = String::from_utf8(event.bytes).expect("events are text");
                self.append(&name, room.epoch, event.seq, line);
            }
        }
    }

    /// The disk lost what came last, and the room goes on in another life.
    pub(crate) fn renewed(&mut self, room: &str, renewed: Renewed) {
        let Renewed { old, new, head } = renewed;
        let mut log = self.log(room, old).cloned().unwrap_or_default();
        log.lines.truncate(head.seq as usize);
        log.turns.retain(|(at, ..)| *at <= head.seq);
        log.cids.retain(|_, at| *at <= head.seq);
        (log.messages, log.ts, log.gone) = (head.n, head.ts, false);
        log.early.clear();
        self.logs.insert((room.to_owned(), new), log);
    }

    fn log_mut(&mut self, room: &str, epoch: Epoch) -> &mut Log {
        self.logs.entry((room.to_owned(), epoch)).or_default()
    }

    fn append(&mut self, room: &str, epoch: Epoch, seq: Seq, line: String) {
        let wrong = self.look_at(room, epoch, seq, &line).err();
        if let Some(why) = wrong {
            self.fault(|| format!("{room} {epoch} {seq}: {why}: {line}"));
        }
        self.log_mut(room, epoch).lines.push(line);
    }

    fn look_at(&mut self, room: &str, epoch: Epoch, seq: Seq, line: &str) -> Result<(), String> {
        let Ok(Heard::Event(event)) = heard::read(line) else { return Err("no event".into()) };
        let by = event.by.as_deref().unwrap_or_default();
        let cid = event.cid.as_deref();
        let said = cid.map(|cid| (by.to_owned(), room.to_owned(), cid.to_owned()));
        let said = said.and_then(|said| self.said.get(&said)).cloned();
        let granted = self.granted.contains(&(by.to_owned(), room.to_owned()));
        let log = self.log_mut(room, epoch);
        if seq != log.lines.len() as Seq + 1 || event.seq != seq || event.room != room {
            return Err(format!("stands where {} belongs", log.lines.len() + 1));
        }
        if event.ts < log.ts {
            return Err("is older than the event before".into());
        }
        log.ts = event.ts;
        if event.k == "msg" {
            log.messages += 1;
            if event.n != Some(log.messages) {
                return Err(format!("is message {}", log.messages));
            }
        }
        if let Some(cid) = cid {
            if !event.d.is_some_and(|d| said.is_some_and(|said| said.contains(d))) {
                return Err("was never said".into());
            }
            if !granted && log.turn_at(by, seq) != Some(Turn::Came) {
                return Err(format!("{by} is no member"));
            }
            if log.cids.insert((by.to_owned(), cid.to_owned()), seq).is_some() {
                return Err("is stored twice".into());
            }
        }
        if let Some((user, turn)) = turn_of(line, &event.k) {
            log.turns.push((seq, user, turn));
        }
        Ok(())
    }

    /// The line of an event, if there is one.
    pub(crate) fn line(&self, room: &str, epoch: Epoch, seq: Seq) -> Option<&str> {
        let log = self.logs.get(&(room.to_owned(), epoch))?;
        log.lines.get((seq as usize).checked_sub(1)?).map(String::as_str)
    }

    /// The newest event of a room's present life.
    pub(crate) fn head(&self, room: &str) -> Option<(Epoch, Seq)> {
        let epoch = *self.now.get(room)?;
        Some((epoch, self.logs.get(&(room.to_owned(), epoch))?.lines.len() as Seq))
    }

    /// The oldest event kept of a room's present life; 0 if there is none.
    pub(crate) fn kept_from(&self, room: &str) -> Seq {
        let epoch = self.now.get(room);
        epoch.and_then(|epoch| self.log(room, *epoch)).map_or(0, |log| log.first)
    }

    pub(crate) fn log(&self, room: &str, epoch: Epoch) -> Option<&Log> {
        self.logs.get(&(room.to_owned(), epoch))
    }

    /// Whether the user could read the room when its head was `head`. Grants are not in the log, so a user
    /// who ever had one is only held to what beats a grant.
    pub(crate) fn may_read(&self, user: &str, room: &str, epoch: Epoch, head: Seq) -> bool {
        let Some(log) = self.log(room, epoch) else { return true };
        // Who was let in by a commit that only a reader has seen by then may come in at once.
        let head = self.judged_by(user, room, epoch, head);
        match log.turn_at(user, head.saturating_add(1)) {
            Some(Turn::Came) => true,
            Some(Turn::Kicked) => false,
            // A ban is lifted without an event.
            Some(Turn::Left | Turn::Banned) | None => {
                self.granted.contains(&(user.to_owned(), room.to_owned()))
            }
        }
    }

    /// Whether the user never was a member in that life of the room, so that only a grant lets them in.
    pub(crate) fn is_stranger(&self, user: &str, room: &str, epoch: Epoch) -> bool {
        let log = self.log(room, epoch).filter(|log| !log.gone);
        log.is_some_and(|log| log.turns.iter().all(|(_, who, _)| who != user))
    }

    /// Where the memberships may have stood by which `user` was let into a log that stood at `head`.
    pub(crate) fn judged_by(&self, user: &str, room: &str, epoch: Epoch, head: Seq) -> Seq {
        let Some(log) = self.log(room, epoch) else { return head };
        let came = |upto: &Seq| log.turn_at(user, upto.saturating_add(1)) == Some(Turn::Came);
        log.early.get(&head).copied().filter(came).unwrap_or(head)
    }

    /// What became of a user in a room, for whoever looks for a mistake.
    pub(crate) fn turns(&self, room: &str, epoch: Epoch, user: &str) -> String {
        let log = self.log(room, epoch);
        let turns = log.into_iter().flat_map(|log| &log.turns).filter(|(_, who, _)| who == user);
        format!("{:?}", turns.map(|(at, _, turn)| (at, turn)).collect::<Vec<_>>())
    }

    /// A send was acknowledged.
    pub(crate) fn acked(&mut self, user: &str, room: &str, message: &Message, stored: &Stored) {
        let (epoch, seq, cid) = (stored.epoch, stored.seq, &message.cid);
        let key = (user.to_owned(), room.to_owned(), epoch, cid.clone());
        if let Some(before) = self.acked.insert(key, seq).filter(|before| *before != seq) {
            self.fault(|| format!("{user} {room} {cid}: acked as {before} and as {seq}"));
        }
        let place = (user.to_owned(), cid.clone());
        // Of a life that ended in the same commit nothing is stored, and nobody can tell.
        let stored_as =
            self.log(room, epoch).filter(|log| !log.gone).map(|log| log.cids.get(&place));
        let Some(stored_as) = stored_as.map(|stored_as| stored_as.copied()) else { return };
        if stored_as != Some(seq) {
            self.fault(|| format!("{user} {room} {cid}: acked as {seq}, but that is not stored"));
        }
        let d = message.fields.find(r#""d":"#).map(|at| &message.fields[at..]);
        let line = self.line(room, epoch, seq).and_then(|line| line.strip_suffix('}'));
        if !line.zip(d).is_some_and(|(line, d)| line.ends_with(d)) {
            self.fault(|| format!("{user} {room} {cid}: {seq} says something else"));
        }
    }

    /// Where a cid stands in each life of the room.
    pub(crate) fn places(&self, user: &str, room: &str, cid: &str) -> Vec<(Epoch, Seq)> {
        let place = (user.to_owned(), cid.to_owned());
        let lives = self.logs.iter().filter(|((name, _), _)| name == room);
        lives.filter_map(|((_, epoch), log)| Some((*epoch, *log.cids.get(&place)?))).collect()
    }

    /// Holds every acknowledgement against the logs as they are in the end.
    pub(crate) fn check_acks(&mut self) {
        let lost = self.acked.iter().find(|((user, room, epoch, cid), seq)| {
            let log = self.log(room, *epoch).filter(|log| !log.gone);
            log.is_some_and(|log| log.cids.get(&(user.clone(), cid.clone())) != Some(seq))
        });
        if let Some(lost) = lost.map(|lost| format!("{lost:?}")) {
            self.fault(|| format!("acked and lost: {lost}"));
        }
    }
}

impl Log {
    /// What was last said of `user` below `seq`.
    fn turn_at(&self, user: &str, seq: Seq) -> Option<Turn> {
        let mut turns = self.turns.iter().rev();
        turns.find(|(at, who, _)| *at < seq && who == user).map(|(_, _, turn)| *turn)
    }

    /// Removals of `user` behind `after`.
    pub(crate) fn removals(&self, user: &str, after: Seq) -> impl Iterator<Item = Seq> {
        let removals = self
            .turns
            .iter()
            .filter(move |(at, who, turn)| *at > after && who == user && *turn != Turn::Came);
        removals.map(|(at, ..)| *at)
    }

    /// Whether `user` was let in again behind `after`.
    pub(crate) fn came_back(&self, user: &str, after: Seq) -> bool {
        let mut turns = self.turns.iter();
        turns.any(|(at, who, turn)| *at > after && who == user && *turn == Turn::Came)
    }
}

fn turn_of(line: &str, kind: &str) -> Option<(String, Turn)> {
    let turn = match kind {
        "join" => Turn::Came,
        "leave" if line.contains(r#""why":"left""#) => Turn::Left,
        "leave" if line.contains(r#""why":"kicked""#) => Turn::Kicked,
        "leave" => Turn::Banned,
        _ => return None,
    };
    let (_, behind) = line.split_once(r#","u":""#)?;
    Some((behind.split('"').next()?.to_owned(), turn))
}
