//! Verdict: what a storm did to the promises, found from the members' memories and the server's logs.

use std::collections::{BTreeMap, HashMap};

use tertulia_protocol::heard::{self, Heard};

use crate::storm::Member;

/// What is wrong, by kind. Empty when every promise was kept.
#[derive(Default, Debug)]
pub struct Verdict {
    /// Acknowledged, and not there or somewhere else.
    pub lost: Vec<String>,
    /// There more than once.
    pub doubled: Vec<String>,
    /// Numbers that do not follow each other.
    pub holes: Vec<String>,
    /// There, though nobody said it.
    pub phantoms: Vec<String>,
    /// A sender's messages in another order than they were said.
    pub disordered: Vec<String>,
    /// What a member was handed is not what the server has.
    pub differing: Vec<String>,
    /// What members saw on the wire that no server may do.
    pub complaints: Vec<String>,
    /// How many sends were acknowledged.
    pub acked: usize,
}

impl Verdict {
    /// Compares what the members know with the logs; a log that cannot be read is a hole.
    pub fn of(members: &[Member], logs: &BTreeMap<String, Result<Vec<String>, String>>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut there = HashMap::new();
        for (room, log) in logs {
            match log {
                Ok(log) => verdict.read_log(room, log, &mut there),
                Err(error) => verdict.holes.push(format!("{room}: {error}")),
            }
        }
        let mut said = HashMap::new();
        for member in members {
            verdict.acked += member.acked.len();
            for (room, cid, seq) in &member.acked {
                if there.get(cid).is_none_or(|stored| *stored != (room.clone(), *seq)) {
                    let stored = there.get(cid);
                    verdict.lost.push(format!("{cid} was acked as {room}/{seq}, is {stored:?}"));
                }
            }
            said.extend(member.said.iter().map(|(room, cid)| (cid.clone(), room.clone())));
            verdict.compare(member, logs);
        }
        let unsaid = there.iter().filter(|(cid, (room, _))| said.get(*cid) != Some(room));
        verdict.phantoms.extend(unsaid.map(|(cid, at)| format!("{cid} at {at:?}")));
        verdict
    }

    fn read_log(&mut self, room: &str, log: &[String], there: &mut HashMap<String, (String, u64)>) {
        let mut messages = 0;
        let mut newest: HashMap<String, String> = HashMap::new();
        for (line, expected) in log.iter().zip(1..) {
            let Ok(Heard::Event(event)) = heard::read(line) else {
                self.holes.push(format!("{room}/{expected} cannot be read"));
                continue;
            };
            if event.seq != expected {
                self.holes.push(format!("{room}/{} stands at {expected}", event.seq));
            }
            if event.k != "msg" {
                continue;
            }
            messages += 1;
            if event.n != Some(messages) {
                self.holes.push(format!("{room}/{expected}: n is {:?}, not {messages}", event.n));
            }
            let cid = event.cid.as_deref().unwrap_or_default().to_owned();
            if let Some((room, seq)) = there.insert(cid.clone(), (room.to_owned(), event.seq)) {
                self.doubled.push(format!("{cid} is {room}/{seq} and {}", event.seq));
            }
            // A sender counts its cids up.
            let by = event.by.as_deref().unwrap_or_default().to_owned();
            if let Some(before) = newest.insert(by, cid.clone())
                && before >= cid
            {
                self.disordered.push(format!("{room}: {cid} came after {before}"));
            }
        }
    }

    fn compare(&mut self, member: &Member, logs: &BTreeMap<String, Result<Vec<String>, String>>) {
        let user = &member.user;
        self.complaints.extend(member.complaints.iter().map(|what| format!("{user}: {what}")));
        if member.unanswered() > 0 {
            self.complaints.push(format!("{user}: {} were never answered", member.unanswered()));
        }
        for (room, handed) in member.logs() {
            if let Ok(stored) = &logs[room]
                && handed != &stored[..]
            {
                let same = handed.iter().zip(stored).take_while(|(one, other)| one == other);
                let (same, stored) = (same.count(), stored.len());
                let handed = handed.len();
                self.differing.push(format!("{user}: {room}: {same} of {stored} and {handed}"));
            }
        }
    }

    /// All that is wrong, in words.
    pub fn wrongs(&self) -> Vec<String> {
        let kinds = [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("hole", &self.holes),
            ("phantom", &self.phantoms),
            ("disordered", &self.disordered),
            ("differing", &self.differing),
            ("complaint", &self.complaints),
        ];
        let each = kinds.iter().flat_map(|(kind, list)| list.iter().map(move |w| (kind, w)));
        each.map(|(kind, what)| format!("{kind}: {what}")).collect()
    }
}
