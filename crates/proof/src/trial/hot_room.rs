//! T08, one hot room: everyone hears the same, in the same order, whoever speaks and however fast. (I2, I3, I9)

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use serde_json::json;
use tertulia_protocol::Epoch;
use tertulia_protocol::command::Position;
use tertulia_protocol::follow::{Continuity, Follow, Say};
use tertulia_protocol::heard::{self, Heard as Object};

use crate::client::{Client, Heard, message};
use crate::report::{Report, Trial};
use crate::server::Server;
use crate::stage::Stage;

const ROOM: &str = "garden";

/// Sends of one sender that wait for an answer.
const WINDOW: u64 = 32;

/// Whoever hears nothing for so long hears nothing more.
const SILENCE: Duration = Duration::from_secs(20);

/// Whoever waits before they ask again looks so often whether it is time.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The trial.
pub const TRIAL: Trial =
    Trial { id: "T08", title: "64 senders and 100 listeners in one room", run };

fn run(stage: &Stage, report: &mut Report) {
    let (senders, each, listeners): (u64, u64, u64) =
        stage.scale((16, 100, 20), (64, 2_000, 100), (64, 20_000, 100));
    let place = stage.place().set("limits.send_per_second", 0);
    let server = place.set("limits.connections_per_user", 1000).open();
    let users: Vec<String> = (0..senders).map(|n| format!("u{n:02}")).collect();
    let mut names: Vec<&str> = users.iter().map(String::as_str).collect();
    names.push("eve");
    server.room(ROOM, "group", &names);
    let epoch = server.epoch(ROOM);
    let first = server.log(ROOM).expect("a log").len() as u64 + 1;
    let last = first + senders * each - 1;
    let from = Instant::now();
    let streams = std::thread::scope(|threads| {
        let hearing: Vec<_> = (0..listeners)
            .map(|_| {
                let client = Client::join(&server, "eve", &[]);
                threads.spawn(move || listen(client, epoch, first, last))
            })
            .collect();
        let speaking: Vec<_> =
            users.iter().map(|user| threads.spawn(|| speak(&server, user, each))).collect();
        for thread in speaking {
            for wrong in thread.join().expect("a sender does not panic") {
                report.wrong(wrong);
            }
        }
        let heard = hearing.into_iter().map(|thread| thread.join().expect("nor a listener"));
        heard.collect::<Vec<_>>()
    });
    let took = from.elapsed();
    let mut different: Vec<u64> = Vec::new();
    for stream in streams {
        match stream {
            Ok(hash) if !different.contains(&hash) => different.push(hash),
            Ok(_) => {}
            Err(wrong) => report.wrong(wrong),
        }
    }
    match server.log(ROOM) {
        Ok(log) => {
            let mut hash = DefaultHasher::new();
            log.iter().skip(first as usize - 1).for_each(|line| line.hash(&mut hash));
            report.expect(different == [hash.finish()], || {
                format!("{} different streams were heard", different.len())
            });
        }
        Err(error) => report.wrong(error),
    }
    report.figure("messages", (senders * each) as f64);
    report.figure("listeners", listeners as f64);
    report.figure("different streams", different.len() as f64);
    report.figure("messages a second", ((senders * each) as f64 / took.as_secs_f64()).round());
}

/// Hears every number from `first` to `last` once, however often it lags. Gives a hash of the bytes.
fn listen(mut client: Client, epoch: Epoch, first: u64, last: u64) -> Result<u64, String> {
    let mut hash = DefaultHasher::new();
    let position = Position { epoch, seq: first - 1 };
    let mut follow = Follow::from(Some(position));
    follow.open();
    let (from, mut silent_since) = (Instant::now(), Instant::now());
    while follow.last() < last {
        let now_ms = from.elapsed().as_millis() as u64;
        if let Some(Say::Sub(Some(Position { epoch, seq }))) = follow.say(now_ms) {
            // However far it is behind, and a fast server leaves it far behind, it wants all of it.
            client.command(json!({
                "t": "sub", "room": ROOM, "epoch": epoch.as_str(), "seq": seq,
                "page": 1_000, "jump": 100_000,
            }));
        }
        let Some(heard) = client.hear_by(Instant::now() + LOOK_EVERY) else {
            if silent_since.elapsed() > SILENCE {
                return Err(format!("a listener heard nothing behind {}", follow.last()));
            }
            continue;
        };
        silent_since = Instant::now();
        let Heard::Line(line) = heard else {
            return Err(format!("a listener heard {heard:?} behind {}", follow.last()));
        };
        match heard::read(&line) {
            Ok(Object::Event(event)) if follow.event(event.seq) => line.hash(&mut hash),
            Ok(Object::Ok(answer)) if let Ok(attached) = answer.attached() => {
                let kept = follow.subbed(&attached);
                if kept != Continuity::Unbroken {
                    return Err(format!("a listener was told {kept:?} behind {}", follow.last()));
                }
            }
            Ok(Object::Lag { .. }) => follow.lag(now_ms),
            Ok(Object::Ping) => {}
            _ => return Err(format!("a listener heard {line} behind {}", follow.last())),
        }
    }
    Ok(hash.finish())
}

/// Says `count` messages as fast as they are answered; the numbers have to grow.
fn speak(server: &Server, user: &str, count: u64) -> Vec<String> {
    let mut client = Client::join(server, user, &[]);
    let (mut said, mut answered, mut last) = (0, 0, 0);
    let mut wrongs = Vec::new();
    while answered < count {
        while said < count && said - answered < WINDOW {
            client.command(message(ROOM, &format!("{user}-{said}")));
            said += 1;
        }
        let answer = client.find(|said| said["t"] == "ok" || said["t"] == "err");
        let seq = answer["seq"].as_u64().unwrap_or(0);
        if seq <= last {
            wrongs.push(format!("{user}: {answer} came behind {last}"));
        }
        (answered, last) = (answered + 1, seq);
    }
    wrongs
}
