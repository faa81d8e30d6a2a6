//! T31, scarce resources: descriptors, memory and processor time run out, and nothing that was promised is
//! broken. (I1, I2, I12, I16)

use std::process::{Child, Command, Stdio};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::client::{Client, Heard, message};
use crate::crowd::{Crowd, Told};
use crate::process::MIB;
use crate::report::{Report, Trial};
use crate::server::{PATIENCE, Place, Server, WHISPER, raise_file_limit};
use crate::stage::Stage;

const ROOM: &str = "garden";

/// Those who were there before.
const FRIENDS: usize = 10;

/// A place that becomes free is taken by then.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Share of a core while there is nothing to be had.
const CPU_MAX: f64 = 0.5;

/// Nobody waits longer for an ack, however busy the machine is.
const ACK_MAX: Duration = Duration::from_secs(5);

/// The trial.
pub const TRIAL: Trial = Trial { id: "T31", title: "no descriptors, no memory, no processor", run };

fn run(stage: &Stage, report: &mut Report) {
    stage.progress("256 descriptors");
    descriptors(stage, report);
    stage.progress("little memory");
    memory(stage, report);
    stage.progress("a busy machine");
    processor(stage, report);
}

/// Friends who say something to each other, one after the other.
struct Friends {
    crowd: Crowd,
    said: u64,
    acked: u64,
    slowest: Duration,
    gone: u64,
}

impl Friends {
    fn meet(server: &Server, seed: u64) -> Result<Friends, String> {
        server.room(ROOM, "group", &["ada"]);
        let mut crowd = Crowd::new(server, seed);
        for who in 0..FRIENDS {
            let user = format!("friend{who}");
            crowd.add(&user, server.token_into(&user, ROOM), &[ROOM]);
        }
        crowd.move_in(0, |_| Vec::new(), PATIENCE)?;
        Ok(Friends { crowd, said: 0, acked: 0, slowest: Duration::ZERO, gone: 0 })
    }

    /// Talks for so long.
    fn talk(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.said += 1;
            let who = self.said as usize % FRIENDS;
            let d = format!(r#"{{"text":"{WHISPER}"}}"#);
            let from = Instant::now();
            self.crowd.send(who, ROOM, &format!("c{}", self.said), &d);
            let (acked, gone) = (&mut self.acked, &mut self.gone);
            let wanted = *acked + 1;
            while *acked < wanted && from.elapsed() < ACK_MAX * 2 {
                self.crowd.turn(from + ACK_MAX * 2, |_, told| match told {
                    Told::Ok(_) => *acked += 1,
                    Told::Gone(_) => *gone += 1,
                    _ => {}
                });
            }
            self.slowest = self.slowest.max(from.elapsed());
            let next = from + Duration::from_millis(10);
            self.crowd.run(next, |_, told| *gone += u64::from(matches!(told, Told::Gone(_))));
        }
    }

    fn judge(mut self, server: &Server, what: &str, report: &mut Report) {
        let log = [(ROOM.to_owned(), server.log(ROOM))].into();
        let head = server.log(ROOM).map_or(0, |log| log.len() as u64);
        let has = |crowd: &Crowd, who| crowd.lasts(who).all(|(_, last)| last == Some(head));
        let all = |crowd: &Crowd| (0..FRIENDS).all(|who| has(crowd, who));
        _ = self.crowd.run_until(PATIENCE, |_, _| (), all);
        let Friends { crowd, said, acked, slowest, gone } = self;
        crowd.compare(&log).into_iter().for_each(|wrong| report.wrong(format!("{what}: {wrong}")));
        let (words, in_all) = crowd.wrongs();
        report.expect(in_all == 0, || format!("{what}: {in_all} wrongs, like {words:?}"));
        report.figure(&format!("{what}: acked"), acked as f64);
        report.figure(&format!("{what}: slowest ack ms"), slowest.as_millis() as f64);
        report.expect(acked == said, || format!("{what}: {acked} of {said} were acknowledged"));
        report.expect(slowest <= ACK_MAX, || format!("{what}: an ack took {slowest:?}"));
        report.expect(gone == 0, || format!("{what}: {gone} friends lost their connection"));
    }
}

/// More want in than there are descriptors.
fn descriptors(stage: &Stage, report: &mut Report) {
    let guests = stage.scale(400, 1_000, 1_000);
    let starved = Duration::from_secs(stage.scale(2, 10, 60));
    raise_file_limit(guests as u64 + 300);
    let server = stage.place().below(&["prlimit", "--nofile=256:256"]).open();
    let mut friends = match Friends::meet(&server, stage.seed) {
        Ok(friends) => friends,
        Err(what) => return report.wrong(what),
    };
    let mut crowd = Crowd::new(&server, stage.seed);
    for who in 0..guests {
        let user = format!("guest{who}");
        crowd.add(&user, server.token(&user), &[]);
        crowd.come(who, Instant::now());
    }
    let full = crowd.run_until(PATIENCE, |_, _| (), |_| server.descriptors() >= 250);
    report.expect(full, || format!("{} descriptors are no shortage", server.descriptors()));
    friends.talk(Duration::from_secs(1));

    let (cpu, from) = (server.cpu(), Instant::now());
    friends.talk(starved);
    crowd.run(Instant::now() + Duration::from_millis(100), |_, _| ());
    let share = (server.cpu() - cpu).as_secs_f64() / from.elapsed().as_secs_f64();
    report.figure("starved: CPU %", (share * 1000.0).round() / 10.0);
    report.expect(share < CPU_MAX, || format!("starved, it took {:.0} % of a core", share * 100.0));

    let inside = crowd.inside();
    report.figure("starved: inside", inside as f64);
    let leaves = (0..guests).find(|who| crowd.is_in(*who));
    report.expect(leaves.is_some(), || "no guest is in".to_owned());
    leaves.into_iter().for_each(|who| crowd.go(who));
    let from = Instant::now();
    let again = crowd.run_until(PATIENCE, |_, _| (), |crowd| crowd.inside() >= inside);
    let pause = from.elapsed();
    report.figure("starved: a free place is taken after ms", pause.as_millis() as f64);
    report.expect(again && pause <= PAUSE_MAX, || format!("nobody was let in for {pause:?}"));

    (0..guests).for_each(|who| crowd.go(who));
    let (ada, from) = (server.token("ada"), Instant::now());
    let came = Client::upgrade(server.public, "").map(|mut client| {
        client.ask(json!({"t": "hello", "token": ada, "rooms": [[ROOM]]}))["t"] == "ok"
    });
    report.figure("healed after ms", from.elapsed().as_millis() as f64);
    report.expect(matches!(came, Ok(true)), || format!("it does not heal: {:?}", came.err()));
    friends.judge(&server, "starved", report);
}

/// Memory ends while readers do not read; what was acknowledged is there afterwards.
fn memory(stage: &Stage, report: &mut Report) {
    let sound = stage.place().set("limits.send_per_second", 0);
    // So much may wait for everyone that the address space ends before any bound is reached.
    let greedy = sound.clone().set("limits.outbound_bytes", 1_073_741_824);
    let greedy = greedy.set("limits.outbound_objects", 1_048_576).set("limits.slow_close_s", 600);
    let greedy = greedy.set("limits.slab_bytes", 1_099_511_627_776_u64);
    let needed = {
        let mut server = greedy.open();
        server.room(ROOM, "group", &["ada", "bob"]);
        let needed = server.address_space();
        server.kill();
        needed
    };
    let limit = needed + 48 * MIB;
    report.figure("address space MiB", (limit / MIB) as f64);
    let poor = greedy.below(&["prlimit".to_owned(), format!("--as={limit}")]);
    let (acked, died) = match poor.try_open() {
        Ok(server) => fill(server),
        Err(line) => {
            return report.wrong(format!("it does not start with {limit} bytes: {line:?}"));
        }
    };
    report.figure("out of memory: acked", acked.len() as f64);
    report.figure("out of memory: died", f64::from(died));
    report.expect(!acked.is_empty(), || "nothing was acknowledged before".to_owned());
    report.expect(died, || "memory never ran out: nothing was tried".to_owned());
    look(&sound, &acked, report);
}

/// Sends large messages to someone who does not read, until the server is gone. Says what was acknowledged.
fn fill(mut server: Server) -> (Vec<(String, u64)>, bool) {
    let mut acked = Vec::new();
    let deaf: Vec<Client> = (0..4).map(|_| Client::join(&server, "bob", &[ROOM])).collect();
    let mut ada = Client::join(&server, "ada", &[]);
    let until = Instant::now() + PATIENCE * 3;
    let filling = "x".repeat(16_000);
    let mut died = false;
    for n in 0_u64.. {
        let cid = format!("c{n}");
        let mut send = message(ROOM, &cid);
        send["d"]["more"] = json!(filling);
        let id = ada.command(send);
        let answer = loop {
            match ada.hear_by(until) {
                Some(Heard::Line(line)) => {
                    let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                    if said["id"] == id {
                        break Some(said);
                    }
                }
                Some(Heard::Close(_) | Heard::End) => {
                    died = true;
                    break None;
                }
                None => break None,
            }
        };
        match answer {
            Some(said) => acked.extend(said["seq"].as_u64().map(|seq| (cid, seq))),
            None => break,
        }
    }
    drop(deaf);
    if died {
        server.ended(PATIENCE);
    } else {
        server.signal(Signal::KILL);
        server.ended(PATIENCE);
    }
    (acked, died)
}

/// All that was acknowledged is there, and the numbers follow each other.
fn look(place: &Place, acked: &[(String, u64)], report: &mut Report) {
    let server = place.open();
    let log = match server.log(ROOM) {
        Ok(log) => log,
        Err(error) => return report.wrong(format!("after the restart: {error}")),
    };
    for (line, seq) in log.iter().zip(1..) {
        let sign = format!(r#""seq":{seq},"#);
        report.expect(line.contains(&sign), || format!("not {seq} but {line:.80}"));
    }
    for (cid, seq) in acked {
        let stored = log.get(*seq as usize - 1);
        let is_there = stored.is_some_and(|line| line.contains(&format!(r#""cid":"{cid}""#)));
        report.expect(is_there, || format!("{cid} was acked as {seq} and is not there"));
    }
}

/// Someone else uses every core as much as they can.
fn processor(stage: &Stage, report: &mut Report) {
    let time = Duration::from_secs(stage.scale(3, 20, 120));
    let server = stage.place().set("limits.send_per_second", 0).open();
    let mut friends = match Friends::meet(&server, stage.seed) {
        Ok(friends) => friends,
        Err(what) => return report.wrong(what),
    };
    let neighbours = Neighbours::begin();
    friends.talk(time);
    drop(neighbours);
    friends.judge(&server, "busy", report);
}

/// One process for each core that does nothing but use it. They end when the value goes.
struct Neighbours(Vec<Child>);

impl Neighbours {
    fn begin() -> Neighbours {
        let cores = available_parallelism().map_or(1, |cores| cores.get());
        let spin = |core: usize| {
            let mut command = Command::new("taskset");
            command.args(["-c", &core.to_string(), "sh", "-c", "while :; do :; done"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("taskset (util-linux) and a shell")
        };
        Neighbours((0..cores).map(spin).collect())
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended, if it could not run at all.
            _ = child.kill();
            _ = child.wait();
        }
    }
}
