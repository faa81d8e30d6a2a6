//! T04, a system call fails: what could not be written is not acknowledged, and nothing hangs. (I1, I2)
//!
//! The N-th call of a kind fails once, or it and every later one; then a sound server looks at what is there.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, Heard, message};
use crate::report::{Report, Trial};
use crate::server::{Place, Server};
use crate::stage::Stage;
use crate::trace::STRACE;

/// Whoever is not answered by then is not answered at all.
const ANSWER_TIME: Duration = Duration::from_secs(5);

const SENDS: u64 = 30;

/// The trial.
pub const TRIAL: Trial = Trial { id: "T04", title: "the N-th system call fails", run };

fn run(stage: &Stage, report: &mut Report) {
    let (first, last, step): (u64, u64, usize) =
        stage.scale((20, 120, 50), (1, 200, 4), (1, 400, 1));
    for call in ["pwrite64", "fdatasync", "openat"] {
        for error in ["EIO", "ENOSPC"] {
            for (nth, until) in (first..=last).step_by(step).zip(["", "+"].iter().cycle()) {
                let what = format!("{error} of {call} {nth}{until}");
                stage.progress(&what);
                let fault = format!("inject={call}:error={error}:when={nth}{until}");
                try_one(stage, &fault, &what, report);
            }
        }
    }
}

fn try_one(stage: &Stage, fault: &str, what: &str, report: &mut Report) {
    let place = stage.place().set("limits.send_per_second", 0);
    let traced = place.clone().below(&[STRACE, "-f", "-o", "/dev/null", "-e", fault, "--"]);
    report.count("calls that failed", 1);
    let acked = match traced.try_open() {
        Ok(server) => talk(server, what, report),
        Err(_) => {
            report.count("starts refused", 1);
            Vec::new()
        }
    };
    report.count("acked", acked.len() as u64);
    look(&place, &acked, what, report);
}

/// Sends one message after the other; says what was acknowledged.
fn talk(mut server: Server, what: &str, report: &mut Report) -> Vec<(String, u64)> {
    let mut acked = Vec::new();
    let made = server.call("PUT", "/v1/rooms/garden", r#"{"kind":"public"}"#);
    let Ok(mut ada) = Client::upgrade(server.public, "") else { return acked };
    ada.command(json!({"t": "hello", "token": server.token("ada")}));
    ada.command(json!({"t": "room", "room": "garden", "op": "join"}));
    for n in 0..SENDS {
        let cid = format!("c{n}");
        let id = ada.command(message("garden", &cid));
        let until = Instant::now() + ANSWER_TIME;
        match answer(&mut ada, id, until) {
            Answer::Said(said) => {
                acked.extend(said["seq"].as_u64().map(|seq| (cid, seq)));
            }
            // It may end, if it must; then nothing more is said.
            Answer::Gone => break,
            Answer::Silence => report.wrong(format!("{what}: no answer to {cid} ({made:?})")),
        }
    }
    server.kill();
    acked
}

enum Answer {
    Said(Value),
    Gone,
    Silence,
}

fn answer(client: &mut Client, id: u64, until: Instant) -> Answer {
    loop {
        match client.hear_by(until) {
            Some(Heard::Line(line)) => {
                let said: Value = serde_json::from_str(&line).unwrap_or_default();
                if said["id"] == id {
                    return Answer::Said(said);
                }
            }
            Some(Heard::Close(_) | Heard::End) => return Answer::Gone,
            None => return Answer::Silence,
        }
    }
}

/// A sound server on the same data has all that was acknowledged.
fn look(place: &Place, acked: &[(String, u64)], what: &str, report: &mut Report) {
    let Ok(mut server) = place.try_open() else {
        return report.wrong(format!("{what}: does not start again: {}", place.said()));
    };
    if !acked.is_empty() {
        match server.log("garden") {
            Ok(log) => {
                for (cid, seq) in acked {
                    let stored = log.get(*seq as usize - 1);
                    let there = stored.is_some_and(|line| line.contains(&format!("\"{cid}\"")));
                    report
                        .expect(there, || format!("{what}: {cid} was acked as {seq}: {stored:?}"));
                }
            }
            Err(error) => report.wrong(format!("{what}: {error}")),
        }
    }
    server.kill();
}
