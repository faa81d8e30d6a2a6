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

/// Who is in a storm.
#[derive(Clone, Copy)]
pub struct Crew {
    /// Members who send, and hear everything.
    pub senders: usize,
    /// Sends of each that may wait for an answer.
    pub window: usize,
    /// Members who only hear.
    pub listeners: usize,
}

impl Crew {
    /// Twenty who send a few at a time.
    pub const SMALL: Crew = Crew { senders: 20, window: 4, listeners: 0 };

    /// Eight who send many at a time, and six who listen.
    const LARGE: Crew = Crew { senders: 8, window: 16, listeners: 6 };
}

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

/// What is going to happen in a storm.
pub struct Forecast<'a> {
    /// Where the server lives, time after time.
    pub place: &'a Place,
    /// How each of its lives but the last one ends.
    pub deaths: &'a [Death],
    /// A life ends within so many milliseconds of its first ack.
    pub life_ms: u64,
    /// Who is in it.
    pub crew: Crew,
    /// Whatever takes longer does not come.
    pub settle: Duration,
    /// Where all chance comes from.
    pub seed: u64,
}

impl<'a> Forecast<'a> {
    /// Few members, and lives so short that most end in the middle of something.
    pub fn small(place: &'a Place, deaths: &'a [Death], seed: u64) -> Forecast<'a> {
        let settle = Duration::from_secs(20);
        Forecast { place, deaths, life_ms: 60, crew: Crew::SMALL, settle, seed }
    }

    /// Lets it happen; what is found when it is over. `progress` is told how many lives have passed.
    pub fn blow(&self, progress: &dyn Fn(usize)) -> Calm {
        let weather = Weather::default();
        let mut storm = Storm::begins(self.place, weather, self.crew, self.settle, self.seed);
        for (lived, death) in self.deaths.iter().enumerate() {
            progress(lived);
            // Not to wait for anything: the moment of death is a matter of chance.
            std::thread::sleep(Duration::from_millis(storm.chance.below(self.life_ms)));
            die(&mut storm.server, *death, &mut storm.chance);
            storm.goes_on();
        }
        storm.ends(self.deaths.len())
    }
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
    pub(crate) fn begins(
        place: &Place,
        weather: Weather,
        crew: Crew,
        settle: Duration,
        seed: u64,
    ) -> Storm {
        let mut chance = Chance::new(seed);
        let server = place.open();
        let in_all = crew.senders + crew.listeners;
        let users: Vec<String> = (0..in_all).map(|n| format!("u{n:02}")).collect();
        let names: Vec<&str> = users.iter().map(String::as_str).collect();
        let mut epochs = BTreeMap::new();
        for room in ROOMS {
            server.room(room, "group", &names);
            epochs.insert(room.to_owned(), server.epoch(room));
        }
        let weather = Arc::new(weather);
        weather.serve(Some(server.public));
        let mut members = Vec::new();
        for (n, user) in users.iter().enumerate() {
            let window = if n < crew.senders { crew.window } else { 0 };
            let member = Member::new(user, server.token(user), chance.number(), window, &epochs);
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
        let answered = weather.hush(members.len(), settle);
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
    let progress = |lived| {
        if lived % 50 == 0 {
            stage.progress(&format!("{lived} of {cycles} kills"));
        }
    };
    // A server that is wrong on purpose answers no more, and is not worth the wait.
    let settle = Duration::from_secs(if stage.fault.is_some() { 4 } else { 60 });
    let (crew, life_ms) = stage.scale((Crew::SMALL, 60), (Crew::LARGE, 500), (Crew::LARGE, 500));
    let forecast =
        Forecast { place: &place, deaths: &deaths, life_ms, crew, settle, seed: stage.seed };
    let Calm { verdict, mut restarts, .. } = forecast.blow(&progress);
    for (life, took) in restarts.iter().enumerate() {
        report.point("restart to first ack, s", life as f64, took.as_secs_f64());
    }
    restarts.sort_unstable();
    report.figure("cycles", cycles as f64);
    report.figure("acked", verdict.acked as f64);
    report.figure("restart p99 ms", restarts[(restarts.len() - 1) * 99 / 100].as_millis() as f64);
    report.judge(&verdict);
}
