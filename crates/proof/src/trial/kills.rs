//! T01, kill -9 storm: what was acknowledged is there, however often the server dies. (I1-I3, I5, I6, I9)

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::chance::Chance;
use crate::report::{Report, Trial};
use crate::server::{Place, Server};
use crate::stage::Stage;
use crate::storm::{Member, Weather};
use crate::verdict::Verdict;

/// Where the members of a storm are.
pub(crate) const ROOMS: [&str; 4] = ["attic", "cellar", "garden", "kitchen"];
/// How many send in a storm.
pub const MEMBERS: usize = 20;

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

/// A storm over so many lives of a server, and what is found when it is over.
pub fn storm(
    place: &Place,
    deaths: &[Death],
    settle: Duration,
    seed: u64,
    progress: &dyn Fn(usize),
) -> Calm {
    let mut storm = Storm::begins(place, Weather::default(), settle, seed);
    for (lived, death) in deaths.iter().enumerate() {
        progress(lived);
        // Not to wait for anything: the moment of death is a matter of chance.
        std::thread::sleep(Duration::from_millis(storm.chance.below(60)));
        die(&mut storm.server, *death, &mut storm.chance);
        storm.goes_on();
    }
    storm.ends(deaths.len())
}

/// A server, and members who send to it whatever becomes of it.
pub(crate) struct Storm {
    pub(crate) server: Server,
    pub(crate) chance: Chance,
    weather: Arc<Weather>,
    members: Vec<JoinHandle<Member>>,
    restarts: Vec<Duration>,
    settle: Duration,
    seed: u64,
}

impl Storm {
    /// All is well as yet. Whatever takes longer than `settle` does not come.
    pub(crate) fn begins(place: &Place, weather: Weather, settle: Duration, seed: u64) -> Storm {
        let mut chance = Chance::new(seed);
        let server = place.open();
        let users: Vec<String> = (0..MEMBERS).map(|n| format!("u{n:02}")).collect();
        let names: Vec<&str> = users.iter().map(String::as_str).collect();
        let mut epochs = BTreeMap::new();
        for room in ROOMS {
            server.room(room, "group", &names);
            epochs.insert(room.to_owned(), server.epoch(room));
        }
        let weather = Arc::new(weather);
        weather.serve(Some(server.public));
        let mut members = Vec::new();
        for user in &users {
            let member = Member::new(user, server.token(user), chance.number(), &epochs);
            let weather = weather.clone();
            members.push(std::thread::spawn(move || member.live(&weather)));
        }
        weather.wait_for_an_ack(settle);
        Storm { server, chance, weather, members, restarts: Vec::new(), settle, seed }
    }

    /// The server is dead; another one takes its place.
    pub(crate) fn goes_on(&mut self) {
        self.weather.serve(None);
        let from = Instant::now();
        self.server = self.server.place.clone().open();
        self.weather.serve(Some(self.server.public));
        self.weather.wait_for_an_ack(self.settle);
        self.restarts.push(from.elapsed());
    }

    /// Everyone comes to an end, and it is looked at.
    pub(crate) fn ends(self, deaths: usize) -> Calm {
        let Storm { server, weather, members, restarts, settle, seed, chance: _ } = self;
        let answered = weather.hush(MEMBERS, settle);
        let mut logs = BTreeMap::new();
        for room in ROOMS {
            logs.insert(room.to_owned(), server.log(room));
        }
        let length = |log: &Result<Vec<String>, String>| log.as_ref().map_or(0, Vec::len) as u64;
        weather.part(logs.iter().map(|(room, log)| (room.clone(), length(log))).collect());
        let ended = members.into_iter().map(|thread| thread.join().expect("no member panics"));
        let members: Vec<Member> = ended.collect();
        let mut verdict = Verdict::of(&members, &logs);
        if !answered {
            verdict.complaints.push(format!("not all was answered within {settle:?}"));
        }
        let (events, acked) = (logs.values().map(length).sum::<u64>(), verdict.acked);
        eprintln!("{deaths} deaths, {acked} acked, {events} events, seed {seed}");
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
    let progress = |lived| stage.progress(&format!("{lived} of {cycles} kills"));
    let settle = Duration::from_secs(60);
    let Calm { verdict, mut restarts, .. } = storm(&place, &deaths, settle, stage.seed, &progress);
    for (life, took) in restarts.iter().enumerate() {
        report.point("restart to first ack, s", life as f64, took.as_secs_f64());
    }
    restarts.sort_unstable();
    report.figure("cycles", cycles as f64);
    report.figure("acked", verdict.acked as f64);
    report.figure("restart p99 ms", restarts[(restarts.len() - 1) * 99 / 100].as_millis() as f64);
    report.judge(&verdict);
}
