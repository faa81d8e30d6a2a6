//! T01, kill -9 storm: what was acknowledged is there, however often the server dies. (I1-I3, I5, I6, I9)

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::chance::Chance;
use crate::report::{Report, Trial};
use crate::server::{Place, Server};
use crate::stage::Stage;
use crate::storm::{Member, Weather};
use crate::verdict::Verdict;

const ROOMS: [&str; 4] = ["attic", "cellar", "garden", "kitchen"];
/// How one life of the server ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// At once.
    Kill,
    /// In order.
    Drain,
    /// While it hands over.
    KillInDrain,
    /// In order, and then the operator is in a hurry.
    DrainTwice,
}

/// What is left of a storm.
pub struct Calm {
    /// What it broke.
    pub verdict: Verdict,
    /// Who was in it.
    pub members: Vec<Member>,
    /// How long each life took from its start to its first ack.
    pub restarts: Vec<Duration>,
}

/// Who is in a storm, and how it goes.
#[derive(Clone, Copy)]
pub struct Storm<'a> {
    /// Where the server lives, time after time.
    pub place: &'a Place,
    /// How each of its lives but the last one ends.
    pub deaths: &'a [Death],
    /// A life ends within so many milliseconds of its first ack.
    pub life_ms: u64,
    /// Members who send, and hear everything.
    pub senders: usize,
    /// Sends of each that may wait for an answer.
    pub window: usize,
    /// Members who only hear.
    pub listeners: usize,
    /// By then everything is answered, and heard.
    pub settle: Duration,
    /// Where all chance comes from.
    pub seed: u64,
}

impl<'a> Storm<'a> {
    /// Twenty who send, and lives so short that most end in the middle of something.
    pub fn small(place: &'a Place, deaths: &'a [Death], seed: u64) -> Storm<'a> {
        let settle = Duration::from_secs(20);
        Storm { place, deaths, life_ms: 60, senders: 20, window: 4, listeners: 0, settle, seed }
    }

    /// Lets it blow; what is found when it is over. `progress` is told how many lives have passed.
    pub fn blow(&self, progress: &dyn Fn(usize)) -> Calm {
        let Storm { place, deaths, settle, seed, .. } = *self;
        let mut chance = Chance::new(seed);
        let mut server = place.open();
        let in_all = self.senders + self.listeners;
        let users: Vec<String> = (0..in_all).map(|n| format!("u{n:02}")).collect();
        let names: Vec<&str> = users.iter().map(String::as_str).collect();
        let mut epochs = BTreeMap::new();
        for room in ROOMS {
            server.room(room, "group", &names);
            epochs.insert(room.to_owned(), server.epoch(room));
        }
        let weather = Arc::new(Weather::default());
        weather.serve(Some(server.public));
        let mut threads = Vec::new();
        for (n, user) in users.iter().enumerate() {
            let window = if n < self.senders { self.window } else { 0 };
            let member = Member::new(user, server.token(user), chance.number(), window, &epochs);
            let weather = weather.clone();
            threads.push(std::thread::spawn(move || member.live(&weather)));
        }
        weather.wait_for_an_ack(settle);
        let mut restarts = Vec::new();
        for (lived, death) in deaths.iter().enumerate() {
            progress(lived);
            // Not to wait for anything: the moment of death is a matter of chance.
            std::thread::sleep(Duration::from_millis(chance.below(self.life_ms)));
            die(&mut server, *death, &mut chance);
            weather.serve(None);
            let from = Instant::now();
            server = place.open();
            weather.serve(Some(server.public));
            weather.wait_for_an_ack(settle);
            restarts.push(from.elapsed());
        }
        let answered = weather.hush(in_all, settle);
        let mut logs = BTreeMap::new();
        for room in ROOMS {
            logs.insert(room.to_owned(), server.log(room));
        }
        let length = |log: &Result<Vec<String>, String>| log.as_ref().map_or(0, Vec::len) as u64;
        weather.part(logs.iter().map(|(room, log)| (room.clone(), length(log))).collect());
        let ended =
            threads.into_iter().map(|thread| thread.join().expect("a member does not panic"));
        let members: Vec<Member> = ended.collect();
        let mut verdict = Verdict::of(&members, &logs);
        if !answered {
            verdict.complaints.push(format!("not all was answered within {settle:?}"));
        }
        let (events, acked) = (logs.values().map(length).sum::<u64>(), verdict.acked);
        eprintln!("{} deaths, {acked} acked, {events} events, seed {seed}", deaths.len());
        Calm { verdict, members, restarts }
    }
}

fn die(server: &mut Server, death: Death, chance: &mut Chance) {
    match death {
        Death::Kill => server.kill(),
        Death::Drain => {
            server.signal(Signal::TERM);
            let status = server.ended(Duration::from_secs(30));
            assert!(status.success(), "{status}");
        }
        Death::KillInDrain => {
            server.signal(Signal::TERM);
            std::thread::sleep(Duration::from_millis(chance.below(250)));
            server.kill();
        }
        Death::DrainTwice => {
            server.signal(Signal::TERM);
            server.until("it hands over", |server| !server.is_ready());
            server.signal(Signal::TERM);
            server.ended(Duration::from_secs(2));
        }
    }
}

/// The trial.
pub const TRIAL: Trial =
    Trial { id: "T01", title: "kill -9 in a storm of sends, again and again", run };

fn run(stage: &Stage, report: &mut Report) {
    let cycles = stage.scale(10, 1000, 5000);
    let place = stage.place().set("limits.send_per_second", 0);
    let deaths = vec![Death::Kill; cycles];
    let progress = |lived| {
        if lived % 50 == 0 {
            stage.progress(&format!("{lived} of {cycles} kills"));
        }
    };
    let small = Storm::small(&place, &deaths, stage.seed);
    let large = Storm { life_ms: 500, senders: 8, window: 16, listeners: 6, ..small };
    // A server that is wrong on purpose answers no more, and is not worth the wait.
    let settle = Duration::from_secs(if stage.fault.is_some() { 4 } else { 60 });
    let storm = Storm { settle, ..stage.scale(small, large, large) };
    let Calm { verdict, mut restarts, .. } = storm.blow(&progress);
    for (life, took) in restarts.iter().enumerate() {
        report.point("restart to first ack, s", life as f64, took.as_secs_f64());
    }
    restarts.sort_unstable();
    report.figure("cycles", cycles as f64);
    report.figure("acked", verdict.acked as f64);
    report.figure("restart p99 ms", restarts[(restarts.len() - 1) * 99 / 100].as_millis() as f64);
    report.judge(&verdict);
}
