//! T06, a locked database: another process holds the lock of the only writer for longer than anyone waits.
//! (I5, I11, I16)
//!
//! Senders go on at a steady pace all the while, more of them than the commit queue takes, so that some are
//! turned away at its door; what was refused is said again under the same name afterwards.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{Client, message};
use crate::process::MIB;
use crate::report::{Report, Trial};
use crate::server::{Place, Server};
use crate::speaker::{Answer, Pace, Said, Speaker, compare, p99};
use crate::stage::{Scale, Stage};
use crate::trouble::{SOON, Trouble};

const ROOM: &str = "attic";
const SPEAKERS: usize = 4;

/// Of each speaker.
const PER_SECOND: u32 = 50;

/// What the commit queue is set to: less than is said in a second.
const QUEUE: u64 = 128;

/// Acks are as fast as ever by then.
const NORMAL_AFTER: Duration = Duration::from_secs(2);

/// The write-ahead log is no longer than this afterwards.
const WAL_MAX: u64 = 256 * MIB;

/// What the machine itself adds to an ack now and then.
const NOISE: Duration = Duration::from_millis(50);

/// A server that can store nothing grows by no more.
const GROWTH_MAX: u64 = 64 * MIB;

/// Between two looks at the server.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Sends of one client that wait for an answer, when they are said again.
const WINDOW: usize = 32;

/// One of so many that were acknowledged is said again, too.
const SOME: usize = 20;

/// The lock, taken by another process as another program would take it.
const HOLDER: &str = "import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
for line in sys.stdin:
    db.execute(line)
    print('done', flush=True)
";

/// The trial.
pub const TRIAL: Trial =
    Trial { id: "T06", title: "a database that another process has locked", run };

fn run(stage: &Stage, report: &mut Report) {
    let (locks, locked, between) = stage.scale((1, 2, 2), (5, 30, 3), (20, 30, 5));
    let (locked, between) = (Duration::from_secs(locked), Duration::from_secs(between));
    one_by_one(stage.place().set("limits.send_per_second", 0));
    let place = stage.place().set("limits.send_per_second", 0).set("limits.inflight", 4096);
    let place = place.set("limits.commit_queue", QUEUE).set("limits.commit_batch", QUEUE);
    let server = place.open();
    let users: Vec<String> = (0..SPEAKERS).map(|n| format!("u{n}")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    server.room(ROOM, "group", &names);
    let pid = server.pid();
    let speakers: Vec<Speaker> = users
        .iter()
        .map(|user| Speaker::begin(&server, user, ROOM, Pace::per_second(PER_SECOND)))
        .collect();
    let mut holder = Holder::of(&server.place);
    let mut periods = Vec::new();
    let mut most = Most::of(&server);
    for lock in 1..=locks {
        // Not to wait for anything: so that there are acks to compare with.
        std::thread::sleep(NORMAL_AFTER + between);
        stage.progress(&format!("lock {lock} of {locks}"));
        holder.say("BEGIN IMMEDIATE");
        let from = Instant::now();
        while from.elapsed() < locked {
            most.look(&server);
            std::thread::sleep(LOOK_EVERY);
        }
        holder.say("ROLLBACK");
        periods.push((from, Instant::now()));
    }
    std::thread::sleep(NORMAL_AFTER + between);
    most.look(&server);
    let mut said = Vec::new();
    for speaker in speakers {
        let (own, wrongs) = speaker.end();
        said.extend(own);
        wrongs.into_iter().for_each(|wrong| report.wrong(wrong));
    }
    report.expect(server.pid() == pid && server.is_ready(), || "it is not as it was".to_owned());
    report.figure("locks", locks as f64);
    report.figure("seconds each", locked.as_secs() as f64);
    judge(stage, report, &said, &periods);
    most.judge(report, &server);
    say_again(report, &server, &users, &said);
}

/// One after the other, with all that holds for any trouble.
fn one_by_one(place: Place) {
    let mut trouble = Trouble::begins(&place);
    let mut holder = Holder::of(&place);
    holder.say("BEGIN IMMEDIATE");
    trouble.nothing_is_stored();
    holder.say("ROLLBACK");
    trouble.heals();
    trouble.is_over();
}

/// A process that has the database open.
struct Holder {
    child: Child,
    done: BufReader<ChildStdout>,
}

impl Holder {
    fn of(place: &Place) -> Holder {
        let mut child = Command::new("python3")
            .args(["-c", HOLDER])
            .arg(place.data.join("tertulia.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there (apt-get install python3)");
        let done = BufReader::new(child.stdout.take().expect("it was asked for"));
        Holder { child, done }
    }

    /// Gives a statement, and waits until it is done.
    fn say(&mut self, statement: &str) {
        let input = self.child.stdin.as_mut().expect("it was asked for");
        writeln!(input, "{statement}").expect("it listens");
        let mut line = String::new();
        self.done.read_line(&mut line).expect("it answers");
        assert_eq!(line, "done\n", "{statement} of another process");
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Its lock goes with it.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The most that the server had of something while it could store nothing.
struct Most {
    waiting: u64,
    memory_before: u64,
    memory: u64,
    wal: u64,
}

impl Most {
    fn of(server: &Server) -> Most {
        Most { waiting: 0, memory_before: server.memory(), memory: 0, wal: 0 }
    }

    fn look(&mut self, server: &Server) {
        self.waiting = self.waiting.max(server.metric("tertulia_commit_queue_depth"));
        self.memory = self.memory.max(server.memory());
        self.wal = self.wal.max(wal(server));
    }

    fn judge(&self, report: &mut Report, server: &Server) {
        let grown = self.memory.saturating_sub(self.memory_before);
        let after = wal(server);
        report.figure("most in the queue", self.waiting as f64);
        report.figure("memory grown MiB", (grown / MIB) as f64);
        report.figure("longest log MiB", (self.wal / MIB) as f64);
        report.figure("log after MiB", (after / MIB) as f64);
        report.expect(self.waiting > 0, || "nothing ever waited".to_owned());
        report.expect(self.waiting <= QUEUE, || format!("{} drafts waited", self.waiting));
        report.expect(grown <= GROWTH_MAX, || format!("memory grew by {} MiB", grown / MIB));
        report.expect(after <= WAL_MAX, || format!("the log has {} MiB", after / MIB));
    }
}

/// Bytes of the write-ahead log's file.
fn wal(server: &Server) -> u64 {
    fs::metadata(server.place.data.join("tertulia.db-wal")).map_or(0, |file| file.len())
}

/// Looks at how long everyone waited, and how soon it was as before.
fn judge(stage: &Stage, report: &mut Report, said: &[Said], periods: &[(Instant, Instant)]) {
    let mut refused = 0;
    let mut longest = Duration::ZERO;
    for message in said {
        let Some(took) = message.took else {
            report.wrong(format!("{} was never answered", message.cid));
            continue;
        };
        if let Answer::Refused { code, again } = &message.answer {
            let is_so = code == "unavailable" && *again;
            report.expect(is_so, || format!("{} was refused as {code}", message.cid));
            refused += 1;
            longest = longest.max(took);
        }
        report.expect(took <= SOON, || format!("{} was answered after {took:?}", message.cid));
    }
    report.expect(refused > 0, || "nobody was refused".to_owned());
    report.figure("said", said.len() as f64);
    report.figure("refused", refused as f64);
    report.figure("longest refusal ms", longest.as_millis() as f64);
    let first_lock = periods.first().expect("it was locked once").0;
    let before = p99(said.iter().filter(|message| message.at < first_lock));
    let starts = periods.iter().skip(1).map(|(from, _)| *from);
    let (mut slowest, mut heals) = (Duration::ZERO, Duration::ZERO);
    for (unlocked, next) in
        periods.iter().map(|(_, until)| *until).zip(starts.map(Some).chain([None]))
    {
        let calm = said.iter().filter(|message| {
            message.at >= unlocked + NORMAL_AFTER && next.is_none_or(|next| message.at < next)
        });
        slowest = slowest.max(p99(calm));
        let stored = said.iter().filter(|message| matches!(message.answer, Answer::Stored { .. }));
        let answered = stored.filter_map(|message| Some(message.at + message.took?));
        let first = answered.filter(|at| *at > unlocked).min();
        heals = heals.max(first.map_or(SOON, |first| first - unlocked));
    }
    report.figure("p99 before ms", before.as_millis() as f64);
    report.figure("p99 two seconds after ms", slowest.as_millis() as f64);
    report.figure("first ack after ms", heals.as_millis() as f64);
    report.expect(heals < SOON, || format!("the first ack came {heals:?} after"));
    if stage.scale != Scale::Short {
        let normal = (before * 2).max(before + NOISE);
        report.expect(slowest <= normal, || format!("p99 is {slowest:?}, and was {before:?}"));
    }
}

/// What was refused is said again, and some of what was not, too; then everything is there once.
fn say_again(report: &mut Report, server: &Server, users: &[String], said: &[Said]) {
    let mut again = Vec::new();
    for user in users {
        let prefix = format!("{user}-");
        let own = said.iter().filter(|message| message.cid.starts_with(&prefix)).enumerate();
        let own: Vec<&Said> = own
            .filter(|(n, message)| {
                matches!(message.answer, Answer::Refused { .. }) || n % SOME == 0
            })
            .map(|(_, message)| message)
            .collect();
        let mut client = Client::join(server, user, &[]);
        for messages in own.chunks(WINDOW) {
            let ids: HashMap<u64, &Said> = messages
                .iter()
                .map(|said| (client.command(message(ROOM, &said.cid)), *said))
                .collect();
            for _ in 0..ids.len() {
                let answer = client.find(|said| said["id"].is_u64());
                let said = ids[&answer["id"].as_u64().expect("it was looked for")];
                let is_dup = answer["dup"] == true;
                match (&said.answer, answer["seq"].as_u64(), answer["ts"].as_u64()) {
                    (Answer::Stored { seq, .. }, Some(now), _) if *seq == now && is_dup => {}
                    (Answer::Refused { .. }, Some(seq), Some(ts)) if !is_dup => {
                        let answer = Answer::Stored { seq, ts };
                        again.push(Said { answer, ..said.clone() });
                    }
                    _ => report.wrong(format!("{said:?}, and then {answer}")),
                }
            }
        }
    }
    report.figure("said again", again.len() as f64);
    match server.log(ROOM) {
        Ok(log) => {
            compare(said, &log).into_iter().for_each(|wrong| report.wrong(wrong));
            compare(&again, &log).into_iter().for_each(|wrong| report.wrong(wrong));
            let messages = log.iter().filter(|line| line.contains(r#""k":"msg""#)).count();
            report.expect(messages == said.len(), || format!("{messages} of {}", said.len()));
        }
        Err(error) => report.wrong(error),
    }
}
