//! T29, idle mass: who says nothing costs next to nothing, and what they had is given back. (I11, I17)
//!
//! Memory is what the kernel calls resident, allocator included, and the cost of one connection is the slope
//! of the line through it at several sizes of the crowd: what a server needs anyway does not count.

use std::time::{Duration, Instant};

use crate::crowd::{Crowd, make_rooms};
use crate::process::MIB;
use crate::report::{Report, Trial};
use crate::server::{Place, Server, raise_file_limit};
use crate::stage::{Scale, Stage};

/// By then a crowd is in, and by then it is gone.
const MOVE_TIME: Duration = Duration::from_secs(60);

/// Memory is believed when it has not sunk for so long.
const STILL: Duration = Duration::from_secs(1);

/// What it is waited for at most.
const STILL_AT_MOST: Duration = Duration::from_secs(15);

/// Sizes at which memory is looked at.
const STEPS: usize = 5;

/// The trial.
pub const TRIAL: Trial = Trial { id: "T29", title: "thousands of sockets that say nothing", run };

fn run(stage: &Stage, report: &mut Report) {
    let (members, rooms): (usize, usize) = stage.scale((500, 50), (10_000, 1_000), (16_000, 1_000));
    let listened = stage.scale(5, 60, 300);
    let (kib_max, cpu_max) = stage.scale((16.0, 50.0), (1.0, 5.0), (1.0, 5.0));
    raise_file_limit(members as u64 + 200);
    let place = stage.place().set("limits.ping_s", 30);
    let rooms: Vec<String> = (0..rooms).map(|n| format!("r{n:04}")).collect();
    stage.progress(&format!("{members} join {} rooms", rooms.len()));
    if let Err(what) = join(&place, members, &rooms, stage.seed) {
        return report.wrong(what);
    }
    let server = place.open();
    let before = server.descriptors();
    let mut crowd = Crowd::new(&server, stage.seed);
    let mut points = Vec::new();
    for step in 1..=STEPS {
        let first = crowd.len();
        for who in first..members * step / STEPS {
            let user = user(who);
            crowd.add(&user, server.token(&user), &[&rooms[who % rooms.len()]]);
        }
        stage.progress(&format!("{} of {members} sockets", crowd.len()));
        if let Err(what) = crowd.move_in(first, |_| Vec::new(), MOVE_TIME) {
            return report.wrong(what);
        }
        let memory = still(&server, &mut crowd);
        report.point("memory, MiB", crowd.len() as f64, memory as f64 / MIB as f64);
        points.push((crowd.len() as f64, memory as f64));
    }
    let kib = slope(&points) / 1024.0;
    report.figure("sockets", members as f64);
    report.figure("rooms", rooms.len() as f64);
    report.figure("memory MiB", (points[STEPS - 1].1 / MIB as f64 * 10.0).round() / 10.0);
    report.figure("KiB a socket", (kib * 100.0).round() / 100.0);
    report.expect(kib <= kib_max, || format!("a socket costs {kib:.2} KiB, not {kib_max}"));

    let (from, cpu) = (Instant::now(), server.cpu());
    crowd.run(from + Duration::from_secs(listened), |_, _| ());
    let percent = (server.cpu() - cpu).as_secs_f64() / from.elapsed().as_secs_f64() * 100.0;
    report.figure("CPU %", (percent * 100.0).round() / 100.0);
    report.expect(percent <= cpu_max, || format!("{percent:.1} % of a core, not {cpu_max}"));
    report.expect(crowd.inside() == members, || {
        format!("{} of {members} are still there", crowd.inside())
    });
    let (words, in_all) = crowd.wrongs();
    report.expect(in_all == 0, || format!("{in_all} wrongs, like {words:?}"));
    drop(crowd);
    gives_back(&server, before, report);
    if stage.scale != Scale::Short {
        report.figure("memory after MiB", (server.memory() / MIB) as f64);
    }
}

fn user(who: usize) -> String {
    format!("u{who:05}")
}

/// Everyone joins a room, on a server of its own: what it takes to store that is not what a socket costs.
fn join(place: &Place, members: usize, rooms: &[String], seed: u64) -> Result<(), String> {
    let server = place.open();
    make_rooms(&server, rooms);
    let mut crowd = Crowd::new(&server, seed);
    for who in 0..members {
        crowd.add(&user(who), server.token(&user(who)), &[]);
    }
    crowd.move_in(0, |who| vec![rooms[who % rooms.len()].clone()], MOVE_TIME)
}

/// Memory once it sinks no more.
fn still(server: &Server, crowd: &mut Crowd) -> u64 {
    let from = Instant::now();
    let (mut least, mut since) = (server.memory(), from);
    while since.elapsed() < STILL && from.elapsed() < STILL_AT_MOST {
        crowd.run(Instant::now() + Duration::from_millis(100), |_, _| ());
        let memory = server.memory();
        if memory < least {
            (least, since) = (memory, Instant::now());
        }
    }
    least
}

/// Least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (x, y) = (x / n, y / n);
    let over: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let under: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    over / under
}

/// Nobody is there any more, for the server either.
fn gives_back(server: &Server, descriptors: usize, report: &mut Report) {
    let until = Instant::now() + MOVE_TIME;
    let left = |server: &Server| {
        let connections = server.metric("tertulia_connections");
        (connections, server.metric("tertulia_listeners"), server.descriptors())
    };
    // What this trial asks with is open for a moment, too.
    let is_back = |(connections, listeners, open): (u64, u64, usize)| {
        connections == 0 && listeners == 0 && open <= descriptors
    };
    let mut now = left(server);
    while !is_back(now) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
        now = left(server);
    }
    report.expect(is_back(now), || {
        format!("connections, listeners and descriptors are {now:?}, {descriptors} before")
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_line() {
        let points = [(1.0, 12.0), (2.0, 14.0), (3.0, 16.0)];
        assert!((slope(&points) - 2.0).abs() < 1e-9);
    }
}
