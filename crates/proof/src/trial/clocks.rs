//! T17, the clock: an hour forth, an hour back, every second anew; nothing but stamps and the ends of tokens goes
//! by the time of day. (I15)
//!
//! The server runs below libfaketime, which tells it another time of day while its other clock goes on as it
//! should.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use tertulia_protocol::heard::{self, Heard as Object};

use crate::audience::Audience;
use crate::chance::Chance;
use crate::client::{Client, Ended};
use crate::report::{Report, Trial};
use crate::server::{PATIENCE, Place, Server};
use crate::speaker::{Pace, Speaker, compare};
use crate::stage::Stage;

const ROOM: &str = "garden";
const HOUR_S: i64 = 3600;

/// What the server is set to give a connection for its hello.
const HELLO_S: u64 = 2;

/// A token that is to end while the clock jumps lives this long.
const LIFE_S: u64 = 3;

/// Past its end, since no two clocks agree.
const LEEWAY_S: u64 = 5;

/// What a timer may be late: its own quarter of a second, and a machine with much to do.
const LATE: Duration = Duration::from_millis(2500);

/// The server's clock is where it was put, give or take.
const APART_MS: u64 = 10_000;

/// Who listens all the while.
const LISTENERS: usize = 20;

/// The trial.
pub const TRIAL: Trial = Trial { id: "T17", title: "a clock that jumps by an hour", run };

fn run(stage: &Stage, report: &mut Report) {
    let (jumps, strobes) = stage.scale((3, 4), (8, 60), (24, 600));
    let clock = Wrong::fresh(stage.place());
    let server = clock.place.clone().set("limits.hello_s", HELLO_S).open();
    server.room(ROOM, "group", &["ada", "eve"]);
    let mut audience = Audience::default();
    for _ in 0..LISTENERS {
        let (client, said) = Client::welcome(&server, &server.token("eve"), json!([[ROOM]]));
        audience.take(client, said["rooms"][ROOM]["base"].as_u64().expect("where it begins"));
    }
    let speaker = Speaker::begin(&server, "ada", ROOM, Pace::per_second(50));
    let over = AtomicBool::new(false);
    let mut timed = Timed { server: &server, clock: &clock, short_lived: Vec::new(), mute: 0 };
    std::thread::scope(|threads| {
        let (audience, over) = (&mut audience, &over);
        threads.spawn(move || {
            while !over.load(Ordering::Acquire) {
                audience.hear(Instant::now() + Duration::from_millis(100), || ());
            }
        });
        for jump in 0..jumps {
            let to = [HOUR_S, -HOUR_S, 0][jump % 3];
            stage.progress(&format!("to {to} s"));
            timed.jump(report, to);
        }
        let mut chance = Chance::new(stage.seed);
        stage.progress("every second anew");
        for _ in 0..strobes {
            clock.put(chance.below(2 * HOUR_S as u64) as i64 - HOUR_S);
            std::thread::sleep(Duration::from_secs(1));
        }
        clock.put(0);
        timed.end(report);
        over.store(true, Ordering::Release);
    });
    let (said, wrongs) = speaker.end();
    wrongs.into_iter().for_each(|wrong| report.wrong(wrong));
    let unanswered = said.iter().filter(|said| said.took.is_none()).count();
    report.expect(unanswered == 0, || format!("{unanswered} were not answered"));
    report.figure("jumps", jumps as f64);
    report.figure("strobes", strobes as f64);
    report.figure("said", said.len() as f64);
    report.expect(audience.open() == LISTENERS, || format!("{} still listen", audience.open()));
    for seat in audience.seats() {
        seat.wrongs.iter().for_each(|wrong| report.wrong(wrong.clone()));
    }
    let log = server.log(ROOM).expect("a log");
    compare(&said, &log).into_iter().for_each(|wrong| report.wrong(wrong));
    look_at_stamps(report, &log);
    for code in [4201, 4202, 4203, 4205] {
        let closed = server.metric(&format!("tertulia_closes_total{{code=\"{code}\"}}"));
        report.expect(closed == 0, || format!("{closed} were closed with {code}"));
    }
}

/// Numbers follow each other, and no stamp is below the one before.
fn look_at_stamps(report: &mut Report, log: &[String]) {
    let (mut last, mut jumped) = (0, 0_u32);
    for (line, expected) in log.iter().zip(1..) {
        let Ok(Object::Event(event)) = heard::read(line) else {
            report.wrong(format!("unreadable: {line}"));
            continue;
        };
        report.expect(event.seq == expected, || format!("{} stands at {expected}", event.seq));
        report.expect(event.ts >= last, || format!("{expected} is of {}, after {last}", event.ts));
        jumped += u32::from(event.ts > last + HOUR_S as u64 * 500);
        last = event.ts;
    }
    report.figure("stamps that jumped", jumped);
    // The first is one, against nothing; the others are of a clock that was put forth.
    report.expect(jumped >= 2, || "the clock of the stamps never jumped".to_owned());
}

/// A clock that can be put.
struct Wrong {
    place: Place,
    file: PathBuf,
}

impl Wrong {
    /// A place whose servers go by the wrong clock, which is right as yet.
    fn fresh(place: Place) -> Wrong {
        let file = place.beside("clock");
        let preload = format!("LD_PRELOAD={}", library().display());
        let told = format!("FAKETIME_TIMESTAMP_FILE={}", file.display());
        // Timers go by the clock that nobody puts, as they do where an operator puts the other one.
        let words = ["/usr/bin/env", &preload, &told, "FAKETIME_NO_CACHE=1"];
        let more = ["FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1"];
        let words: Vec<&str> = words.into_iter().chain(more).collect();
        let clock = Wrong { place: place.below(&words), file };
        clock.put(0);
        clock
    }

    /// So many seconds before or behind the right time, from now on.
    fn put(&self, seconds: i64) {
        let fresh = self.file.with_extension("new");
        fs::write(&fresh, format!("{seconds:+}\n")).expect("room for a line");
        fs::rename(&fresh, &self.file).expect("the same folder");
    }
}

/// What Debian's package `faketime` puts below the folder of the machine's kind.
fn library() -> PathBuf {
    let kinds = fs::read_dir("/usr/lib").expect("/usr/lib").flatten();
    let mut found = kinds.map(|kind| kind.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|path| path.exists()).expect("libfaketime is there (apt-get install faketime)")
}

/// Who is let go of after a time, whatever the clock says.
struct Timed<'a> {
    server: &'a Server,
    clock: &'a Wrong,
    /// With tokens that end soon: how each ended, and after how long.
    short_lived: Vec<JoinHandle<(Ended, Duration)>>,
    mute: u64,
}

impl Timed<'_> {
    /// Puts the clock while some wait for a timer.
    fn jump(&mut self, report: &mut Report, to: i64) {
        let now_ms = self.now_ms();
        let token = self.server.token_at("eve", now_ms / 1000, LIFE_S);
        let (began, (mut client, _)) =
            (Instant::now(), Client::welcome(self.server, &token, json!([])));
        self.short_lived.push(std::thread::spawn(move || {
            let ended = client.end_by(began + 2 * PATIENCE);
            (ended, began.elapsed())
        }));
        let mut mute = Client::upgrade(self.server.public, "").expect("an upgrade");
        let began = Instant::now();
        self.mute += 1;
        self.clock.put(to);
        let right_ms = now_ms_of(SystemTime::now()).saturating_add_signed(to * 1000);
        let now_ms = self.now_ms();
        let apart = now_ms.abs_diff(right_ms);
        report.expect(apart < APART_MS, || format!("it is {apart} ms from where it was put"));
        // Who comes now is judged by the new time.
        let old = self.server.token_at("eve", (now_ms / 1000).saturating_sub(HOUR_S as u64), 60);
        let mut late = Client::upgrade(self.server.public, "").expect("an upgrade");
        late.command(json!({"t": "hello", "token": old}));
        let ended = late.end();
        report.expect(ended.close == Some(4101), || format!("a token of an hour ago: {ended:?}"));
        let ended = mute.end();
        in_time(report, "who said nothing", &ended, 4002, began.elapsed(), HELLO_S..=HELLO_S);
    }

    /// The server's time of day: a hello tells it.
    fn now_ms(&self) -> u64 {
        // Good by any of its clocks, and its user is the same in all.
        let now_s = now_ms_of(SystemTime::now()) / 1000;
        let token = self.server.token_at("eve", now_s, 2 * HOUR_S as u64);
        let (_, said) = Client::welcome(self.server, &token, json!([]));
        said["now"].as_u64().expect("a time")
    }

    /// All tokens that were to end have ended, in time.
    fn end(&mut self, report: &mut Report) {
        let count = self.short_lived.len();
        for thread in self.short_lived.drain(..) {
            let (ended, took) = thread.join().expect("a connection ends");
            // Counted from the last full second.
            let seconds = LIFE_S + LEEWAY_S - 1..=LIFE_S + LEEWAY_S;
            in_time(report, "whose token ended", &ended, 4101, took, seconds);
        }
        let closes =
            |code| self.server.metric(&format!("tertulia_closes_total{{code=\"{code}\"}}"));
        let expected = [(4002, self.mute), (4101, 2 * count as u64)];
        for (code, count) in expected {
            let closed = closes(code);
            report.expect(closed == count, || format!("{closed} closes of {code}, not {count}"));
            report.figure(&format!("closed with {code}"), closed as f64);
        }
    }
}

fn in_time(
    report: &mut Report,
    who: &str,
    ended: &Ended,
    code: u16,
    took: Duration,
    seconds: std::ops::RangeInclusive<u64>,
) {
    report.expect(ended.close == Some(code), || format!("{who}: {ended:?}"));
    let least = Duration::from_secs(*seconds.start()).saturating_sub(Duration::from_millis(300));
    let most = Duration::from_secs(*seconds.end()) + LATE;
    let is_so = (least..=most).contains(&took);
    report.expect(is_so, || format!("{who} was closed after {took:?}"));
}

fn now_ms_of(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}
