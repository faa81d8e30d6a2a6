//! T34, one rude client among a hundred: whatever it does, the others do not suffer. (I3, I11, I12)
//!
//! A hundred members talk and listen in a hall, calm and rude stretches take turns, and each rude stretch is
//! compared with the calm ones before and behind it. The rude client runs on the machine of the others, which it
//! would not do elsewhere: so that it takes only the server's time from them, and not theirs, it is the last to
//! be given a processor.

use std::time::{Duration, Instant};

use rustix::process::nice;
use serde_json::json;

use crate::attack::calls::ask_all;
use crate::client::Client;
use crate::crowd::make_rooms;
use crate::hall::{Delivery, Hall, Talk, median, p99};
use crate::process::MIB;
use crate::report::{Report, Trial, words_of};
use crate::rude::{self, Deeds, Did, Ground, Rude};
use crate::server::{PATIENCE, Server};
use crate::stage::{Scale, Stage};

const ROOM: &str = "hall";

const MEMBERS: usize = 100;

/// Ten of them say a hundred messages a second, each half of what one may, and two hundred thousand bytes. At
/// random, as people do: who always finds the disk free waits twice as long once anyone else says anything, be it
/// as rarely as they may.
const TALK: Talk =
    Talk { speakers: 10, every: Duration::from_millis(10), at_random: true, more_bytes: 2_000 };

/// While someone is rude, messages take no more than that many times as long.
const TIMES: u32 = 2;

/// What one client may cost while it is there. What waits for a connection is bounded by a quarter of a MiB; ten
/// connections with a thousand rooms each, and what the allocator keeps for ten seconds of those that come and go
/// (jemalloc's `dirty_decay_ms`), are 6 MiB, and the pages of the database that a growing room fills are among them.
const GROWTH_MAX: u64 = 16 * MIB;

/// How much later than others the rude client is given a processor (`nice(2)`): a tenth of one where they want
/// all of it.
const LAST: i32 = 10;

/// The trial.
pub const TRIAL: Trial = Trial { id: "T34", title: "one rude client among a hundred", run };

/// How long it is calm or rude, and the parts of it that are judged by themselves.
#[derive(Clone, Copy)]
struct Measure {
    windows: usize,
    window: Duration,
    /// Below that nothing is judged.
    floor: Duration,
}

impl Measure {
    fn of(stage: &Stage) -> Measure {
        let (quarter, second) = (Duration::from_millis(250), Duration::from_secs(1));
        // Ten milliseconds are what a disk and a scheduler that others share make of a few now and then, as T30
        // has it. The short form runs beside other tests, on a debug build, and tells no more than that nobody
        // was forgotten.
        let (short, strict) = (Duration::from_millis(500), Duration::from_millis(10));
        Measure {
            windows: stage.scale(4, 10, 30),
            window: stage.scale(quarter, second, second),
            floor: stage.scale(short, strict, strict),
        }
    }

    fn stretch(self) -> Duration {
        self.window * self.windows as u32
    }
}

fn run(stage: &Stage, report: &mut Report) {
    let measure = Measure::of(stage);
    let place = match stage.scale {
        // A short stretch has not the time to fill the usual buffers.
        Scale::Short => {
            let place = stage.place().set("limits.outbound_bytes", 65_536);
            place.set("limits.send_buffer_bytes", 8_192)
        }
        Scale::Soak | Scale::Long => stage.place(),
    };
    let mut server = place.open();
    let rooms = own_rooms(&server);
    let every = measure.window;
    let seconds = measure.stretch().as_secs();
    let mut hall = settle(&server, stage.seed);
    let mut before = calm(&mut hall, measure);
    for rude in rude::ALL {
        stage.progress(&format!("{} {}", rude.id, rude.title));
        let ground = Ground { server: &server, room: ROOM, rooms: &rooms, every, seconds };
        let ((stretch, deeds), grown) =
            server.grown_while(|| beside(&mut hall, measure, rude, &ground));
        let behind = calm(&mut hall, measure);
        let case = Case { before, rude: stretch, behind, grown };
        case.show(rude, report);
        let wrongs = case
            .wrongs(measure.floor)
            .into_iter()
            .chain(too_little(&deeds.did))
            .chain(deeds.wrongs);
        wrongs.for_each(|wrong| report.wrong(format!("{} {}: {wrong}", rude.id, rude.title)));
        for Did { what, times, .. } in deeds.did {
            report.figure(&format!("{}: {what}", rude.id), times as f64);
        }
        if !server.lives() {
            return report.wrong(format!("{}: the server is gone", rude.id));
        }
        before = case.behind;
    }
    let refused = hall.refused();
    report.expect(refused == 0, || format!("{refused} messages of the others were refused"));
    let (events, wrongs) = hall.compare(&server);
    wrongs.into_iter().for_each(|wrong| report.wrong(wrong));
    report.figure("messages of the others", hall.said() as f64);
    report.figure("events", events as f64);
}

/// The rooms that the rude client has besides, of which it is a member.
fn own_rooms(server: &Server) -> Vec<String> {
    let rooms: Vec<String> = (0..rude::ROOMS).map(|n| format!("r{n:03}")).collect();
    make_rooms(server, &rooms);
    let mut client = Client::join(server, rude::USER, &[]);
    let join = |room| json!({"t": "room", "op": "join", "room": room});
    let answers = ask_all(&mut client, rooms.iter().map(join));
    let refused = answers.iter().find(|said| said["t"] != "ok");
    assert!(refused.is_none(), "a room of its own: {refused:?}");
    rooms
}

/// The hall with everyone in it.
fn settle(server: &Server, seed: u64) -> Hall {
    server.room(ROOM, "group", &[rude::USER]);
    let members: Vec<String> = (0..MEMBERS).map(|n| format!("member{n:02}")).collect();
    Hall::open(server, seed, ROOM, &members, TALK)
}

/// How it was in a stretch: the p99 of each part of it, in microseconds.
#[derive(Clone)]
struct Stretch {
    windows: Vec<u32>,
}

impl Stretch {
    /// A delivery belongs to the part in which its message was due, whenever it came; what was due later belongs
    /// to none.
    fn of(deliveries: &[Delivery], from_us: u64, measure: Measure) -> Stretch {
        let mut windows = vec![Vec::new(); measure.windows];
        for Delivery { due_us, took_us } in deliveries {
            let window =
                due_us.checked_sub(from_us).map(|us| us / measure.window.as_micros() as u64);
            if let Some(took) = window.and_then(|window| windows.get_mut(window as usize)) {
                took.push(*took_us);
            }
        }
        Stretch { windows: windows.into_iter().map(p99).collect() }
    }
}

/// Nobody is rude. What the stretch before left in caches and queues is not measured.
fn calm(hall: &mut Hall, measure: Measure) -> Stretch {
    let rest = Instant::now() + measure.stretch() / 4;
    hall.goes_on();
    hall.talk(|| Instant::now() < rest);
    stretch(hall, measure, || true)
}

/// The hall goes on while someone is rude.
fn beside(hall: &mut Hall, measure: Measure, rude: &Rude, ground: &Ground<'_>) -> (Stretch, Deeds) {
    std::thread::scope(|threads| {
        let until = Instant::now() + measure.stretch();
        let being_rude = threads.spawn(move || {
            // Of this thread and those that it starts.
            nice(LAST).expect("to be given less is always allowed");
            (rude.run)(ground, until)
        });
        let stretch = stretch(hall, measure, || being_rude.is_finished());
        let deeds = being_rude.join().unwrap_or_else(|panic| {
            let wrongs = vec![format!("could not go on: {}", words_of(&*panic))];
            Deeds { did: Vec::new(), wrongs }
        });
        (stretch, deeds)
    })
}

/// Talks for a stretch, and then on until all of it was heard and `is_over`; what never comes is found when all
/// logs are compared.
fn stretch(hall: &mut Hall, measure: Measure, is_over: impl Fn() -> bool) -> Stretch {
    hall.goes_on();
    let (from, from_us, said) = (Instant::now(), hall.crowd.now_us(), hall.said());
    let until = from + measure.stretch();
    let mut heard = hall.talk(|| Instant::now() < until);
    let until_us = from_us + measure.stretch().as_micros() as u64;
    let expected = (hall.said() - said) as usize * MEMBERS;
    let of_it = |heard: &[Delivery]| heard.iter().filter(|one| one.due_us < until_us).count();
    let mut came = of_it(&heard);
    while (came < expected || !is_over()) && from.elapsed() < measure.stretch() + 3 * PATIENCE {
        let later = Instant::now() + measure.window / 10;
        let more = hall.talk(|| Instant::now() < later);
        came += of_it(&more);
        heard.extend(more);
    }
    Stretch::of(&heard, from_us, measure)
}

/// A rude stretch, and the calm ones around it.
struct Case {
    before: Stretch,
    rude: Stretch,
    behind: Stretch,
    /// How much more memory than before was resident while someone was rude, at most.
    grown: u64,
}

impl Case {
    /// What is normal, in microseconds: the middle one of all parts of both calm stretches. A part may be spoiled
    /// by whatever else the machine does, and it may become slower meanwhile; then the one behind shows it.
    fn normal_us(&self) -> u32 {
        median([&self.before.windows[..], &self.behind.windows].concat())
    }

    fn show(&self, rude: &Rude, report: &mut Report) {
        let worst_us = self.rude.windows.iter().copied().max().unwrap_or(0);
        let rude_us = median(self.rude.windows.clone());
        let grown = (self.grown * 10 / MIB) as f64 / 10.0;
        for (column, figure) in [
            ("p99 calm ms", ms(self.normal_us())),
            ("p99 rude ms", ms(rude_us)),
            ("worst part ms", ms(worst_us)),
            ("memory grown MiB", grown),
        ] {
            report.case(rude.id, rude.title, column, figure);
        }
        report.most("most memory grown MiB", grown);
        report.most("worst p99 rude ms", ms(rude_us));
    }

    /// What the others suffer.
    fn wrongs(&self, floor: Duration) -> Vec<String> {
        let mut wrongs = Vec::new();
        let floor_us = floor.as_micros() as u32;
        let mut expect = |what: &str, windows: &[u32], than_us: u32| {
            let us = median(windows.to_vec());
            if us > (than_us * TIMES).max(floor_us) {
                wrongs.push(format!("{what}: p99 {us} us instead of {than_us}, of {windows:?}"));
            }
        };
        expect("meanwhile", &self.rude.windows, self.normal_us());
        // Or the harm that it leaves behind would pass for normal.
        expect("afterwards", &self.behind.windows, median(self.before.windows.clone()));
        if self.grown > GROWTH_MAX {
            wrongs.push(format!("memory grew by {} MiB", self.grown / MIB));
        }
        wrongs
    }
}

fn ms(us: u32) -> f64 {
    f64::from(us / 10) / 100.0
}

/// What was not done often enough to be rude.
fn too_little(did: &[Did]) -> impl Iterator<Item = String> {
    let too_few = did.iter().filter(|did| did.times < did.least);
    too_few.map(|Did { what, times, least }| format!("only {times} {what}, not {least}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Duration = Duration::from_millis(10);

    /// What is wrong where these are the p99 of each part in ms: before, meanwhile and behind, and memory grew by
    /// so many MiB.
    #[track_caller]
    fn check(parts: [[u32; 3]; 3], grown_mib: u64, expected: &[&str]) {
        let [before, rude, behind] =
            parts.map(|ms| Stretch { windows: ms.map(|ms| ms * 1_000).to_vec() });
        let wrongs = Case { before, rude, behind, grown: grown_mib * MIB }.wrongs(FLOOR);
        let is_so = wrongs.len() == expected.len()
            && wrongs.iter().zip(expected).all(|(wrong, begin)| wrong.starts_with(begin));
        assert!(is_so, "{wrongs:?}, not {expected:?}");
    }

    #[test]
    fn others_who_suffer_are_noticed() {
        check([[8, 8, 8], [8, 9, 8], [8, 8, 8]], 1, &[]);
        check(
            [[8, 8, 8], [17, 17, 17], [8, 8, 8]],
            1,
            &["meanwhile: p99 17000 us instead of 8000"],
        );
        check([[8, 8, 8], [8, 8, 8], [17, 17, 17]], 1, &["afterwards"]);
        check([[8, 8, 8], [8, 8, 8], [8, 8, 8]], 17, &["memory grew by 17 MiB"]);
        check([[8, 8, 8], [90, 90, 9], [80, 80, 80]], 64, &["afterwards", "memory"]);
    }

    #[test]
    fn noise_is_not_taken_for_harm() {
        // One part of a stretch, whichever it is.
        check([[90, 8, 8], [8, 8, 90], [8, 90, 8]], 1, &[]);
        // Many times as long, and still nothing to speak of.
        check([[1, 1, 1], [9, 9, 9], [1, 1, 1]], 1, &[]);
        // A machine that has become slower, and stays so.
        check([[8, 8, 8], [16, 16, 16], [16, 16, 16]], 1, &[]);
    }

    #[test]
    fn a_message_that_comes_late_counts_where_it_was_due() {
        let measure = Measure { windows: 2, window: Duration::from_micros(100), floor: FLOOR };
        let delivery = |(due_us, took_us)| Delivery { due_us, took_us };
        let all = [(999, 1), (1_000, 500), (1_099, 2), (1_100, 3), (1_199, 4), (1_200, 5)];
        let stretch = Stretch::of(&all.map(delivery), 1_000, measure);
        assert_eq!(stretch.windows, [500, 4]);
    }

    #[test]
    fn who_did_next_to_nothing_was_not_rude() {
        let did = |times| Did { what: "bombs", times, least: 10 };
        assert_eq!(too_little(&[did(10), did(9)]).collect::<Vec<_>>(), ["only 9 bombs, not 10"]);
    }
}
