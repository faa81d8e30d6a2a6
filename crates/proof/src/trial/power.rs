//! T02, power loss: a server on what a power cut leaves has everything that it acknowledged.
//!
//! A server runs below strace; from its trace the files are rebuilt as they may be after a cut at any call, and
//! another server is started on each. (I1, I2, I6)

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::chance::Chance;
use crate::client::{Client, message};
use crate::disk::{Cut, Disk, Image};
use crate::report::{Report, Trial};
use crate::server::Place;
use crate::stage::Stage;
use crate::trace::{self, Call, What, numbers};

const ROOMS: [&str; 2] = ["attic", "garden"];
const SENDERS: u64 = 4;

/// Sends of one client that wait for an answer.
const WINDOW: u64 = 8;

/// Ids of two senders do not meet: an answer names its send without its connection.
const IDS: u64 = 1_000_000;

/// Images that are looked at at once.
const AT_ONCE: usize = 4;

/// The trial.
pub const TRIAL: Trial =
    Trial { id: "T02", title: "power loss: unsynced writes dropped, reordered, torn", run };

fn run(stage: &Stage, report: &mut Report) {
    let (runs, images) = stage.scale((2, 40), (20, 5_000), (40, 20_000));
    let mut chance = Chance::new(stage.seed);
    let mut done = 0;
    for run in 0..runs {
        let traced = Traced::record(stage, &mut chance);
        let cuts: Vec<(Cut, u64)> = (done..images * (run + 1) / runs)
            .map(|image| (Cut::ALL[image as usize % Cut::ALL.len()], chance.number()))
            .collect();
        done += cuts.len() as u32;
        for found in traced.check_all(stage, &cuts) {
            report.count("acks that were looked for", found.acks);
            found.wrongs.into_iter().for_each(|wrong| report.wrong(wrong));
        }
        stage.progress(&format!("{done} of {images} images"));
    }
    report.figure("runs", runs);
    report.figure("images", done);
}

/// What one image has shown.
#[derive(Default)]
struct Found {
    wrongs: Vec<String>,
    /// How many acks were looked for.
    acks: u64,
}

/// A run of a server, call by call.
struct Traced {
    calls: Vec<Call>,
    /// The line on which the first message was acknowledged.
    first_ack: usize,
    lines: usize,
    place: Place,
}

impl Traced {
    fn record(stage: &Stage, chance: &mut Chance) -> Traced {
        let place = stage.place().set("limits.send_per_second", 0);
        let path = place.beside("trace");
        let place = place.below(&trace::wrapper(&path));
        let mut server = place.open();
        let users: Vec<String> = (0..SENDERS).map(|n| format!("u{n}")).collect();
        let names: Vec<&str> = users.iter().map(String::as_str).collect();
        for room in ROOMS {
            server.room(room, "group", &names);
        }
        let over = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = (1..)
            .zip(&users)
            .map(|(number, user)| {
                let client = Client::join(&server, user, &[]);
                let (over, mut chance) = (over.clone(), Chance::new(chance.number()));
                std::thread::spawn(move || talk(client, number * IDS, &over, &mut chance))
            })
            .collect();
        // Not to wait for anything: long enough for some checkpoints to begin, short enough to be read.
        std::thread::sleep(Duration::from_millis(1500 + chance.below(500)));
        over.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().expect("a sender does not panic"));
        server.kill();
        let text = trace::whole(&path);
        let calls = trace::read(&text);
        let lines = text.lines().count();
        let first_ack = calls.iter().find(|call| !acks(call).is_empty());
        let first_ack = first_ack.expect("something was acknowledged").begins;
        Traced { calls, first_ack, lines, place }
    }

    /// Looks at all of these cuts, a few at once: a server that starts mostly waits.
    fn check_all(&self, stage: &Stage, cuts: &[(Cut, u64)]) -> Vec<Found> {
        let next = AtomicUsize::new(0);
        let look = || {
            let mut found = Vec::new();
            while let Some((cut, seed)) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) {
                found.push(self.check(stage, *cut, &mut Chance::new(*seed)));
            }
            found
        };
        std::thread::scope(|threads| {
            let looking: Vec<_> = (0..AT_ONCE).map(|_| threads.spawn(look)).collect();
            let found = looking.into_iter().map(|thread| thread.join().expect("no look panics"));
            found.flatten().collect()
        })
    }

    /// Starts a server on what a cut at some call leaves, and looks for what is missing.
    fn check(&self, stage: &Stage, cut: Cut, chance: &mut Chance) -> Found {
        let mut found = Found::default();
        let span = (self.lines - self.first_ack) as u64;
        let upto = self.first_ack + chance.below(span + 1) as usize;
        let mut disk = Disk::default();
        let mut acked = BTreeMap::new();
        for call in self.calls.iter().take_while(|call| call.begins < upto) {
            disk.follow(call, upto);
            acked.extend(acks(call));
        }
        let what = format!("{cut:?} at line {upto}");
        let image = disk.after(cut, chance);
        let place = stage.place();
        put(&self.place.data, &place.data, &image);
        let Ok(mut server) = place.try_open() else {
            found.wrongs.push(format!("{what}: does not start: {}", place.said()));
            return found;
        };
        let mut there = BTreeMap::new();
        for room in ROOMS {
            match server.log(room) {
                Ok(log) => read(&log, &mut there, &mut |wrong| {
                    found.wrongs.push(format!("{what}: {room}: {wrong}"));
                }),
                Err(error) => found.wrongs.push(format!("{what}: {room}: {error}")),
            }
        }
        for (id, seq) in &acked {
            if there.get(id) != Some(seq) {
                let is = there.get(id);
                found.wrongs.push(format!("{what}: c{id} was acked as {seq}, is {is:?}"));
            }
        }
        found.acks = acked.len() as u64;
        server.kill();
        found
    }
}

/// Says one message after the other until it is over.
fn talk(mut client: Client, first: u64, over: &AtomicBool, chance: &mut Chance) {
    let (mut said, mut answered) = (0, 0);
    loop {
        let is_over = over.load(Ordering::Relaxed);
        if is_over && said == answered {
            return;
        }
        while !is_over && said - answered < WINDOW {
            let id = first + said;
            let room = ROOMS[chance.below(ROOMS.len() as u64) as usize];
            let mut send = message(room, &format!("c{id}"));
            send["id"] = json!(id);
            // Some fill a page of the database, some share one.
            send["d"]["more"] = json!("x".repeat(chance.below(40).pow(2) as usize * 4));
            client.say(&send.to_string());
            said += 1;
        }
        client.find(|said| said["t"] == "ok");
        answered += 1;
    }
}

/// Ids and numbers of the sends that a call acknowledges.
fn acks(call: &Call) -> Vec<(u64, u64)> {
    let What::Say { bytes } = &call.what else { return Vec::new() };
    let text = String::from_utf8_lossy(bytes);
    text.split(r#"{"t":"ok","#)
        .skip(1)
        .filter_map(|ok| {
            let id = numbers(ok, r#""id":"#).next().filter(|id| *id >= IDS)?;
            // What is cut off in the middle told nobody anything.
            Some((id, numbers(ok, r#""seq":"#).next()?))
        })
        .collect()
}

/// Where each message stands; every hole is a wrong.
fn read(log: &[String], there: &mut BTreeMap<u64, u64>, wrong: &mut dyn FnMut(String)) {
    for (line, expected) in log.iter().zip(1..) {
        let event: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        if event["seq"] != expected {
            wrong(format!("{} stands at {expected}", event["seq"]));
        }
        let id = event["cid"].as_str().and_then(|cid| cid.strip_prefix('c')?.parse().ok());
        if let Some(id) = id
            && there.insert(id, expected).is_some()
        {
            wrong(format!("c{id} is there twice"));
        }
    }
}

/// The data directory after the cut. What was written before the server was ready and is never written again
/// is as the server left it.
fn put(from: &Path, to: &Path, image: &Image) {
    fs::create_dir_all(to).expect("a folder");
    for name in ["secret", "admin.key"] {
        fs::copy(from.join(name), to.join(name)).expect("a file of the server's");
    }
    for (path, bytes) in image {
        let path = Path::new(path);
        let name = path.file_name().expect("a file has a name");
        if path.starts_with(from) && !name.to_string_lossy().ends_with("-shm") {
            fs::write(to.join(name), bytes).expect("room for the image");
        }
    }
}
