//! T30, overload: three times what it can is no reason to do less, to lose anything, or to be slow for long.
//! (I1, I5, I11, I13)
//!
//! What it can is found first, in the same run, by senders who wait for their answers; then messages are said
//! whether or not the ones before were answered. Afterwards what it can is found once more, since it is less with
//! millions of messages stored, and both count the same. The crowd has a processor of its own, and the server the
//! others: what the crowd needs to offer so much is not what the server lacks.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::json;
use tertulia_protocol::command::CommandId;

use crate::crowd::{Crowd, Told, make_rooms};
use crate::report::{Report, Trial};
use crate::server::{Place, Server, WHISPER};
use crate::stage::{Scale, Stage};

const ROOMS: usize = 8;
const SENDERS: usize = 64;

/// Sends of one sender that wait for an answer, while it waits for answers.
const WINDOW: usize = 16;

/// How much more is offered than was answered.
const TIMES: f64 = 3.0;

/// Whoever has so much unwritten does not even offer more.
const UNSENT_MAX: usize = 64 * 1024;

/// Answers that say: not now.
const NOT_NOW: [&str; 3] = ["unavailable", "rate_limited", "inflight"];

/// Whatever has not come by then does not come.
const AT_MOST: Duration = Duration::from_secs(30);

/// Ninety-nine of a hundred acks, and the way back to how it was, take no longer.
const STRICT: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];

/// Once it is as fast as before for so long, it has recovered.
const STEADY: Duration = Duration::from_millis(500);

/// The trial.
pub const TRIAL: Trial = Trial { id: "T30", title: "three times as much as it can", run };

fn run(stage: &Stage, report: &mut Report) {
    let closed = Duration::from_secs(stage.scale(2, 10, 10));
    let open = Duration::from_secs(stage.scale(3, 60, 600));
    let place = stage.place().set("limits.send_per_second", 0);
    // The short form runs beside other tests, which are everywhere.
    let (place, _apart) =
        if stage.scale == Scale::Short { (place, None) } else { Apart::of(place) };
    let server = place.open();
    let rooms: Vec<String> = (0..ROOMS).map(|n| format!("r{n}")).collect();
    make_rooms(&server, &rooms);
    let mut crowd = Crowd::new(&server, stage.seed);
    for who in 0..SENDERS {
        let user = format!("u{who:02}");
        crowd.add(&user, server.token(&user), &[]);
    }
    // They talk and do not listen: what is measured is what it takes to store.
    if let Err(what) = join(&mut crowd, &rooms) {
        return report.wrong(what);
    }
    let mut senders = Senders::new(crowd, rooms);

    stage.progress("one at a time");
    let (gentle, _) = senders.one_by_one(STEADY * 2);
    stage.progress("as fast as they are answered");
    let (acked, took) = senders.closed_loop(closed);
    let peak = acked as f64 / took.as_secs_f64();
    stage.progress(&format!("three times {peak:.0} a second"));
    senders.forget_figures();
    let cpu = server.cpu();
    let from = Instant::now();
    let acked = senders.open_loop(peak * TIMES, open);
    let (goodput, used) = (acked as f64 / from.elapsed().as_secs_f64(), server.cpu() - cpu);
    let from = Instant::now();
    senders.drain(report);
    let (p99, refused) = (senders.p99(), std::mem::take(&mut senders.refused));
    stage.progress("one at a time again");
    let recovered = senders.recovers(gentle, from);
    stage.progress("as fast as they are answered again");
    let (acked, took) = senders.closed_loop(closed);
    let after = acked as f64 / took.as_secs_f64();
    senders.drain(report);

    report.figure("peak before a second", peak.round());
    report.figure("peak after a second", after.round());
    report.figure("offered a second", (senders.offered as f64 / open.as_secs_f64()).round());
    report.figure("held back", senders.held_back as f64);
    report.figure("goodput a second", goodput.round());
    let both = f64::midpoint(peak, after);
    report.figure("goodput of peak before", (goodput / peak * 100.0).round() / 100.0);
    report.figure("goodput of both peaks", (goodput / both * 100.0).round() / 100.0);
    report
        .figure("server cores", (used.as_secs_f64() / open.as_secs_f64() * 100.0).round() / 100.0);
    for (code, times) in &refused {
        report.figure(code, *times as f64);
    }
    report.figure("ack p99 ms", p99.as_millis() as f64);
    report.figure("gentle ack p99 ms", gentle.as_micros() as f64 / 1000.0);
    let recovery_s = recovered.map_or(f64::INFINITY, |time| time.as_secs_f64());
    report.figure("recovery s", (recovery_s * 100.0).round() / 100.0);
    // On a debug build beside other tests, on a disk that all share, times are noise: only an end shows.
    let least = stage.scale(0.01, 0.8, 0.8);
    // A log of millions takes more than an empty one, and no more than that.
    let least_after = stage.scale(0.01, 0.6, 0.6);
    let least_offered = stage.scale(0.01, 2.0, 2.0);
    let [acks, recovery] = stage.scale([AT_MOST; 2], STRICT, STRICT);
    report.expect(goodput >= both * least, || {
        format!("goodput {goodput:.0} of {peak:.0} before and {after:.0} after")
    });
    report.expect(p99 <= acks, || format!("99 of 100 acks took up to {p99:?}"));
    report.expect(recovery_s <= recovery.as_secs_f64(), || {
        format!("{recovery_s:.1} s to be as fast as before, {gentle:?}")
    });
    report.expect(after >= peak * least_after, || {
        format!("{after:.0} a second behind it, {peak:.0} before")
    });
    let offered = senders.offered as f64 / open.as_secs_f64();
    report.expect(offered >= peak * least_offered, || {
        format!("only {offered:.0} a second were offered, the peak is {peak:.0}")
    });
    let refused: u64 = refused.values().sum();
    report.expect(refused > 0, || "nothing was refused: that was no overload".to_owned());
    senders.wrongs.iter().for_each(|wrong| report.wrong(wrong.clone()));
    let (words, in_all) = senders.crowd.wrongs();
    report.expect(in_all == 0, || format!("{in_all} wrongs, like {words:?}"));
    senders.look(&server, report);
}

/// This thread, which drives the crowd, keeps to the last processor while this lives.
struct Apart {
    before: CpuSet,
}

impl Apart {
    /// Keeps the server to all processors but the last, if there is more than one.
    fn of(place: Place) -> (Place, Option<Apart>) {
        let before = sched_getaffinity(None).expect("where this thread may run");
        let mine: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| before.is_set(*cpu)).collect();
        let Some((last, others @ [_, ..])) = mine.split_last() else { return (place, None) };
        let mut own = CpuSet::new();
        own.set(*last);
        sched_setaffinity(None, &own).expect("a processor for the crowd");
        let others: Vec<String> = others.iter().map(usize::to_string).collect();
        let place = place.below(&["taskset", "--cpu-list", &others.join(",")]);
        (place, Some(Apart { before }))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // As it may run where it ran before, nothing can be wrong with it now.
        _ = sched_setaffinity(None, &self.before);
    }
}

fn join(crowd: &mut Crowd, rooms: &[String]) -> Result<(), String> {
    let until = Instant::now() + AT_MOST;
    (0..crowd.len()).for_each(|who| crowd.come(who, Instant::now()));
    let is_in = |crowd: &Crowd| crowd.inside() == crowd.len();
    if !crowd.run_until(AT_MOST, |_, _| (), is_in) {
        return Err("not everyone came in".to_owned());
    }
    for who in 0..crowd.len() {
        let room = &rooms[who % rooms.len()];
        crowd.command(who, json!({"t": "room", "room": room, "op": "join"}));
    }
    let mut joined = 0;
    while joined < crowd.len() {
        crowd.turn(until, |_, told| joined += usize::from(matches!(told, Told::Ok(_))));
        if Instant::now() > until {
            return Err(format!("{joined} joined"));
        }
    }
    Ok(())
}

/// The crowd, and what they said.
struct Senders {
    crowd: Crowd,
    rooms: Vec<String>,
    /// Number of the message and when it was said, by who said it and under which id.
    open: HashMap<(usize, CommandId), (u64, u64)>,
    in_flight: Vec<usize>,
    said: u64,
    /// Sender, number of the message, place in the room.
    acked: Vec<(usize, u64, u64)>,
    took_us: Vec<u32>,
    offered: u64,
    held_back: u64,
    refused: HashMap<String, u64>,
    wrongs: Vec<String>,
}

impl Senders {
    fn new(crowd: Crowd, rooms: Vec<String>) -> Senders {
        let in_flight = vec![0; crowd.len()];
        Senders {
            crowd,
            rooms,
            open: HashMap::new(),
            in_flight,
            said: 0,
            acked: Vec::new(),
            took_us: Vec::new(),
            offered: 0,
            held_back: 0,
            refused: HashMap::new(),
            wrongs: Vec::new(),
        }
    }

    fn forget_figures(&mut self) {
        self.took_us.clear();
        self.refused.clear();
    }

    fn say(&mut self, who: usize) {
        self.said += 1;
        let (room, cid) = (&self.rooms[who % ROOMS], format!("c{}", self.said));
        let now_us = self.crowd.now_us();
        let d = format!(r#"{{"text":"{WHISPER}"}}"#);
        match self.crowd.send(who, room, &cid, &d) {
            Some(id) => {
                self.open.insert((who, id), (self.said, now_us));
                self.in_flight[who] += 1;
            }
            None => self.wrongs.push(format!("sender {who} is not in any more")),
        }
    }

    fn turn(&mut self, until: Instant) {
        let Senders { crowd, open, in_flight, acked, took_us, refused, wrongs, .. } = self;
        let (before_us, clock) = (crowd.now_us(), Instant::now());
        crowd.turn(until, |who, told| match told {
            Told::Ok(answer) => {
                let said = answer.id.and_then(|id| open.remove(&(who, id)));
                let stored = answer.stored().ok();
                let (Some((number, said_us)), Some(stored)) = (said, stored) else {
                    return wrongs.push(format!("sender {who}: an answer to nothing: {answer:?}"));
                };
                in_flight[who] -= 1;
                acked.push((who, number, stored.seq));
                let now_us = before_us + clock.elapsed().as_micros() as u64;
                took_us.push((now_us - said_us) as u32);
            }
            Told::Err(what) => {
                let known = what.id.and_then(|id| open.remove(&(who, id)));
                in_flight[who] -= usize::from(known.is_some());
                *refused.entry(what.code.to_string()).or_default() += 1;
                let is_fair = NOT_NOW.contains(&&*what.code) && what.retry_ms.is_some();
                if known.is_none() || !is_fair {
                    wrongs.push(format!("sender {who} was refused: {what:?}"));
                }
            }
            Told::Gone(gone) => wrongs.push(format!("sender {who} is gone: {gone:?}")),
            Told::Welcome | Told::Event(_) | Told::Lag => {}
        });
    }

    /// One message at a time; gives the 99th of a hundred, and how many there were.
    fn one_by_one(&mut self, time: Duration) -> (Duration, usize) {
        self.took_us.clear();
        let until = Instant::now() + time;
        while Instant::now() < until {
            if self.in_flight[0] == 0 {
                self.say(0);
            }
            self.turn(until);
        }
        (self.p99(), self.took_us.len())
    }

    /// Each has as many on their way as it may; gives how many were acknowledged, and in what time.
    fn closed_loop(&mut self, time: Duration) -> (usize, Duration) {
        let (from, before) = (Instant::now(), self.acked.len());
        let until = from + time;
        while Instant::now() < until {
            for who in 0..SENDERS {
                while self.in_flight[who] < WINDOW {
                    self.say(who);
                }
            }
            self.turn(until);
        }
        (self.acked.len() - before, from.elapsed())
    }

    /// So many a second, whatever is answered; gives how many were acknowledged.
    fn open_loop(&mut self, rate: f64, time: Duration) -> usize {
        let (from, before) = (Instant::now(), self.acked.len());
        let mut due = 0;
        while from.elapsed() < time {
            let now_due = (from.elapsed().as_secs_f64() * rate) as u64;
            for number in due..now_due {
                let who = number as usize % SENDERS;
                if self.crowd.unsent(who) > UNSENT_MAX {
                    self.held_back += 1;
                } else {
                    self.offered += 1;
                    self.say(who);
                }
            }
            due = now_due;
            self.turn(Instant::now() + Duration::from_millis(1));
        }
        self.acked.len() - before
    }

    /// Everything that was said is answered.
    fn drain(&mut self, report: &mut Report) {
        let until = Instant::now() + AT_MOST;
        while !self.open.is_empty() && Instant::now() < until {
            self.turn(Instant::now() + Duration::from_millis(10));
        }
        let left = self.open.len();
        report.expect(left == 0, || format!("{left} sends were never answered"));
    }

    /// How long after `from` it is as fast as it was. Twice as slow, or ten milliseconds, is as fast.
    fn recovers(&mut self, gentle: Duration, from: Instant) -> Option<Duration> {
        let all = std::mem::take(&mut self.took_us);
        let mut recovered = None;
        while recovered.is_none() && from.elapsed() < AT_MOST {
            let began = from.elapsed();
            let (p99, messages) = self.one_by_one(STEADY);
            let fast = messages > 0 && p99 <= (gentle * 2).max(Duration::from_millis(10));
            recovered = fast.then_some(began);
        }
        self.took_us = all;
        recovered
    }

    fn p99(&self) -> Duration {
        let mut took = self.took_us.clone();
        took.sort_unstable();
        let p99 = took.get(took.len() * 99 / 100).or(took.last());
        Duration::from_micros(p99.copied().unwrap_or(0).into())
    }

    /// What was acknowledged is there, once, where it was said to be.
    fn look(&self, server: &Server, report: &mut Report) {
        let mut lost = 0;
        for (place, room) in self.rooms.iter().enumerate() {
            let log = match server.log(room) {
                Ok(log) => log,
                Err(error) => return report.wrong(format!("{room}: {error}")),
            };
            let cids: Vec<Option<u64>> = log.iter().map(|line| cid(line)).collect();
            let mut once = HashSet::new();
            let doubled = cids.iter().flatten().filter(|cid| !once.insert(**cid)).count();
            report.expect(doubled == 0, || format!("{room}: {doubled} messages are there twice"));
            let own = self.acked.iter().filter(|(who, ..)| who % ROOMS == place);
            let is_there = |seq: u64, number| cids.get(seq as usize - 1) == Some(&Some(number));
            lost += own.filter(|(_, number, seq)| !is_there(*seq, *number)).count();
        }
        report.expect(lost == 0, || format!("{lost} were acknowledged and are not there"));
        report.figure("acked", self.acked.len() as f64);
        report.figure("lost", lost as f64);
    }
}

/// The number in `"cid":"c17"`.
fn cid(line: &str) -> Option<u64> {
    line.split_once(r#""cid":"c"#)?.1.split_once('"')?.0.parse().ok()
}
