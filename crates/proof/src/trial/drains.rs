//! T18, drain: a server that is told to go says so first, lets everyone go one after the other, and keeps its
//! word; in between it is told twice, or killed while it does so. (I1, I5, I6, I18)
//!
//! The members of a storm send all the while; a audience of sockets listens, some of them where the storm is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::kills::{Crew, Death, ROOMS, Storm};
use crate::audience::{Audience, spread};
use crate::client::Client;
use crate::http;
use crate::report::{Report, Trial};
use crate::server::{Server, raise_file_limit};
use crate::stage::{Scale, Stage};
use crate::storm::Weather;

const HALL: &str = "hall";

/// Who is in the audience.
const USER: &str = "u00";

/// One of so many of the audience hears a room of the storm, the others a quiet one.
const SOME: usize = 20;

/// Messages a second, of all members of the storm together.
const PER_SECOND: u32 = 500;

/// By then it is gone.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// A second signal ends it by then.
const GONE_AT_ONCE: Duration = Duration::from_secs(2);

/// The sockets of a full audience are closed over no less than this.
const SPREAD_MIN: Duration = Duration::from_secs(5);

/// Whatever takes longer does not come.
const SETTLE: Duration = Duration::from_secs(60);

/// What becomes of the server, life after life.
const DEATHS: [Death; 5] =
    [Death::Drain, Death::DrainTwice, Death::Drain, Death::KillInDrain, Death::Drain];

/// The trial.
pub const TRIAL: Trial =
    Trial { id: "T18", title: "told to go, told twice, killed while going", run };

fn run(stage: &Stage, report: &mut Report) {
    let (cycles, sockets): (usize, usize) = stage.scale((4, 200), (25, 2_000), (50, 2_000));
    raise_file_limit(sockets as u64 * 2);
    let place = stage.place().set("limits.send_per_second", 0);
    let place =
        place.set("limits.connections_per_user", 2 * sockets).set("server.drain_seconds", 20);
    let weather =
        Weather::at_pace(Duration::from_secs(1) * Crew::SMALL.senders as u32 / PER_SECOND);
    let mut storm = Storm::begins(&place, weather, Crew::SMALL, SETTLE, stage.seed);
    storm.server.room(HALL, "group", &[USER]);
    let (mut drains, mut shortest, mut longest) = (0_u32, Duration::MAX, Duration::ZERO);
    for cycle in 0..cycles {
        let death = DEATHS[cycle % DEATHS.len()];
        stage.progress(&format!("{death:?}, {cycle} of {cycles}"));
        let mut audience = gather(&storm.server, sockets);
        match death {
            Death::Drain => {
                let (spread, took) = drain(report, &mut storm, &mut audience);
                drains += 1;
                (shortest, longest) = (shortest.min(spread), longest.max(took));
                report.point("spread of the closes, s", cycle as f64, spread.as_secs_f64());
            }
            Death::DrainTwice => {
                storm.server.signal(Signal::TERM);
                storm.server.until("it hands over", |server| !server.is_ready());
                storm.server.signal(Signal::TERM);
                storm.server.ended(GONE_AT_ONCE);
            }
            Death::Kill | Death::KillInDrain => {
                storm.server.signal(Signal::TERM);
                let moment = Duration::from_millis(storm.chance.below(3000));
                audience.hear(Instant::now() + moment, || ());
                storm.server.kill();
            }
        }
        drop(audience);
        storm.goes_on();
    }
    report.figure("cycles", cycles as f64);
    report.figure("in order", f64::from(drains));
    report.figure("sockets", sockets as f64);
    report.figure("shortest spread ms", shortest.as_millis() as f64);
    report.figure("gone after ms at most", longest.as_millis() as f64);
    if stage.scale != Scale::Short {
        report.expect(shortest >= SPREAD_MIN, || format!("all were closed within {shortest:?}"));
    }
    let calm = storm.ends(cycles);
    let told: u64 = calm.members.iter().filter_map(|member| member.byes.get(&4300)).sum();
    report.figure("acked", calm.verdict.acked as f64);
    report.figure("members told to come back", told as f64);
    let all = u64::from(drains) * Crew::SMALL.senders as u64;
    report.expect(told >= all, || format!("{told} times a member was told to go, not {all}"));
    report.judge(&calm.verdict);
}

/// Sockets that listen.
fn gather(server: &Server, sockets: usize) -> Audience {
    let mut audience = Audience::default();
    let token = server.token(USER);
    for n in 0..sockets {
        let room = if n % SOME == 0 { ROOMS[n / SOME % ROOMS.len()] } else { HALL };
        let (client, said) = Client::welcome(server, &token, json!([[room]]));
        audience.take(client, said["rooms"][room]["base"].as_u64().expect("where it begins"));
    }
    audience
}

/// Tells the server to go, and looks at how it does. Gives the time between the first and the last close, and
/// the time until it was gone.
fn drain(report: &mut Report, storm: &mut Storm, audience: &mut Audience) -> (Duration, Duration) {
    let (internal, over) = (storm.server.internal, AtomicBool::new(false));
    let from = Instant::now();
    storm.server.signal(Signal::TERM);
    let (late, left) = std::thread::scope(|threads| {
        let over = &over;
        let asking = threads.spawn(move || last_ready(internal, over));
        let left = audience.hear(from + GONE_WITHIN, || ());
        over.store(true, Ordering::Release);
        (asking.join().expect("who asks does not panic"), left)
    });
    let status = storm.server.ended(GONE_WITHIN.saturating_sub(from.elapsed()));
    report.expect(status.success(), || format!("it ended with {status}"));
    let took = from.elapsed();
    report.expect(left == 0, || format!("{left} sockets were not let go of"));
    let first = audience.seats().iter().filter_map(|seat| seat.closed_at).min();
    let is_first = late.zip(first).is_none_or(|(ready, closed)| ready < closed);
    report.expect(is_first, || "it said that it wants work after it let someone go".to_owned());
    let mut returns = Vec::new();
    for (n, seat) in audience.seats().iter().enumerate() {
        seat.wrongs.iter().for_each(|wrong| report.wrong(format!("socket {n}: {wrong}")));
        let ended = seat.ended;
        match (ended.close, ended.bye) {
            (Some(4300), Some((4300, Some(retry_ms)))) => returns.push(retry_ms),
            _ => report.wrong(format!("socket {n} ended with {ended:?}")),
        }
    }
    let heard: u64 = audience.seats().iter().map(|seat| seat.heard).sum();
    report.count("events heard by the audience", heard);
    returns.sort_unstable();
    returns.dedup();
    let (different, all) = (returns.len(), audience.seats().len());
    report.expect(different > all / 4, || format!("{all} come back at {different} times"));
    (spread(audience), took)
}

/// When the last question began that was answered with "ready".
fn last_ready(internal: std::net::SocketAddr, over: &AtomicBool) -> Option<Instant> {
    let mut ready = None;
    while !over.load(Ordering::Acquire) {
        let asked = Instant::now();
        match http::call(internal, "GET", "/readyz", "", "") {
            Ok(answer) if answer.status == 200 => ready = Some(asked),
            Ok(_) => {}
            Err(_) => return ready,
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    ready
}
