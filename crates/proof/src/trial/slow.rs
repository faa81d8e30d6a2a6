//! T10, slow consumers: who stops reading is let go of in time, and neither memory nor the others suffer.
//! (I3, I10, I11)
//!
//! Calm and slow phases follow each other in one run, so that the machine is the same for both. What the
//! server's kernel still takes for a slow reader is read from `/proc/net/tcp`: since the last byte of that,
//! there was no progress.

use std::collections::HashMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::crowd::{Crowd, Told};
use crate::hall::{Hall, Talk, has, median, p99};
use crate::process::MIB;
use crate::report::{Report, Trial};
use crate::server::{Server, raise_file_limit};
use crate::stage::{Scale, Stage};

const ROOM: &str = "hall";

/// Between two messages: 500 a second.
const SEND_EVERY: Duration = Duration::from_millis(2);

/// What a slow reader's system takes.
const RECEIVE_BUFFER_BYTES: usize = 4096;

/// Between two looks at the kernel.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// `limits.slow_close_s`, and how much later than that it may be seen from here.
const CLOSE_AFTER: Duration = Duration::from_secs(10);
const LEEWAY: Duration = Duration::from_millis(1500);

/// Whatever has to happen in a phase has happened by then.
const PHASE: Duration = Duration::from_secs(60);

const MEMORY_MAX: u64 = 300 * MIB;

/// The trial.
pub const TRIAL: Trial = Trial { id: "T10", title: "readers that stop beside fast ones", run };

fn run(stage: &Stage, report: &mut Report) {
    let fast = stage.scale(20, 200, 200);
    let rounds: &[usize] =
        stage.scale(&[1, 50], &[1, 1_000, 1, 1_000, 1], &[1, 1_000, 1, 1_000, 1, 1_000, 1]);
    let calm = Duration::from_secs(stage.scale(1, 10, 20));
    // So slow that a phase fits a short test; the default otherwise.
    let close_after = stage.scale(Duration::from_secs(3), CLOSE_AFTER, CLOSE_AFTER);
    raise_file_limit(3_000);
    let place = stage.place().set("limits.send_per_second", 0);
    let place = place.set("limits.slow_close_s", close_after.as_secs());
    // A short test has not the time to fill the usual buffers.
    let place = match stage.scale {
        Scale::Short => {
            place.set("limits.outbound_objects", 256).set("limits.send_buffer_bytes", 8_192)
        }
        Scale::Soak | Scale::Long => place,
    };
    let server = place.open();
    server.room(ROOM, "group", &["ada"]);
    let mut phases = Phases::open(&server, stage.seed, fast);
    let seen = Seen::default();
    std::thread::scope(|threads| {
        threads.spawn(|| seen.look(&server));
        for (round, slow) in rounds.iter().enumerate() {
            stage.progress(&format!("round {}: {slow} of {} stop reading", round + 1, fast + slow));
            phases.round(&server, &seen, *slow, calm, close_after, report);
        }
        seen.over.store(true, Ordering::Release);
    });
    let most = server.memory_most();
    report.figure("memory MiB", (most / MIB) as f64);
    report.expect(most <= MEMORY_MAX, || format!("memory was {} MiB", most / MIB));
    let mut ratios = std::mem::take(&mut phases.ratios);
    ratios.sort_by(f64::total_cmp);
    if let Some(median) = ratios.get(ratios.len() / 2) {
        report.figure("fast p99 while others stall, of calm", (median * 100.0).round() / 100.0);
        let most = stage.scale(20.0, 1.10, 1.10);
        report.expect(*median <= most, || format!("the fast ones' p99 is {ratios:.2?} of calm"));
    }
    let (messages, wrongs) = phases.hall.compare(&server);
    wrongs.into_iter().for_each(|wrong| report.wrong(wrong));
    report.figure("messages", messages as f64);
}

/// The fast ones in their hall, and how long messages take to them.
struct Phases {
    hall: Hall,
    /// p99 while others stall, of what it was in the calm before.
    ratios: Vec<f64>,
}

impl Phases {
    /// Someone who talks, and those who listen.
    fn open(server: &Server, seed: u64, fast: usize) -> Phases {
        let fast = (1..=fast).map(|n| format!("fast{n}"));
        let members: Vec<String> = std::iter::once("ada".to_owned()).chain(fast).collect();
        let talk = Talk { speakers: 1, every: SEND_EVERY, at_random: false, more_bytes: 0 };
        Phases { hall: Hall::open(server, seed, ROOM, &members, talk), ratios: Vec::new() }
    }

    /// The p99 of each second while `goes_on`, in microseconds. A disk that others share stalls now and then:
    /// that spoils a second, and not all of them.
    fn seconds(&mut self, mut goes_on: impl FnMut() -> bool) -> Vec<u32> {
        let mut seconds = Vec::new();
        self.hall.goes_on();
        while goes_on() {
            let until = Instant::now() + Duration::from_secs(1);
            let heard = self.hall.talk(|| goes_on() && Instant::now() < until);
            if !heard.is_empty() {
                seconds.push(p99(heard.into_iter().map(|one| one.took_us).collect()));
            }
        }
        seconds
    }

    fn seconds_for(&mut self, time: Duration) -> Vec<u32> {
        let until = Instant::now() + time;
        self.seconds(|| Instant::now() < until)
    }

    fn round(
        &mut self,
        server: &Server,
        seen: &Seen,
        slow: usize,
        calm: Duration,
        close_after: Duration,
        report: &mut Report,
    ) {
        // What the round before left in caches and queues is not measured.
        self.seconds_for(calm / 4);
        let calm_us = median(self.seconds_for(calm));
        let first = self.hall.crowd.len();
        for who in first..first + slow {
            let user = format!("slow{who}");
            self.hall.crowd.add(&user, server.token_into(&user, ROOM), &[ROOM]);
            self.hall.crowd.narrow(who, RECEIVE_BUFFER_BYTES);
        }
        let everyone = first..first + slow;
        let moved = self.hall.crowd.move_in(first, |_| Vec::new(), PHASE);
        moved.unwrap_or_else(|what| panic!("the slow ones: {what}"));
        let before = seen.now();
        seen.watch(everyone.clone().filter_map(|who| self.hall.crowd.port(who)));
        everyone.clone().for_each(|who| self.hall.crowd.stop_reading(who));
        let stopped = Instant::now();
        let until = stopped + PHASE;
        let slow_now = slow as u64;
        let lagged = || seen.now().lags >= before.lags + slow_now || Instant::now() > until;
        let filling_us = median(self.seconds(|| !lagged()));
        let closing = || seen.now().closes > before.closes || Instant::now() > until;
        let stalled = self.seconds(|| !closing());
        let first_close = stopped.elapsed();
        let all_closed = || seen.now().closes >= before.closes + slow_now || Instant::now() > until;
        self.hall.talk(|| !all_closed());
        let now = seen.now();
        let (lags, closes) = (now.lags - before.lags, now.closes - before.closes);
        report.expect(lags >= slow_now, || format!("{lags} of {slow} were told lag"));
        report.expect(closes == slow_now, || format!("{closes} of {slow} were closed with 4202"));
        if !stalled.is_empty() && calm_us > 0 {
            let stalled_us = median(stalled);
            report.figure(&format!("{slow} slow: fast p99 calm us"), calm_us);
            report.figure(&format!("{slow} slow: fast p99 filling us"), filling_us);
            report.figure(&format!("{slow} slow: fast p99 stalled us"), stalled_us);
            self.ratios.push(f64::from(stalled_us) / f64::from(calm_us));
        }
        let mut waits = seen.closed_after();
        waits.sort_unstable();
        let (least, most) = (waits.first().copied(), waits.last().copied());
        let (least, most) = (least.unwrap_or_default(), most.unwrap_or_default());
        report.figure(&format!("{slow} slow: closed after s, least"), least.as_secs_f64());
        report.figure(&format!("{slow} slow: closed after s, most"), most.as_secs_f64());
        report.expect(waits.len() == slow, || {
            format!("{} of {slow} are no longer connected", waits.len())
        });
        // The two ends of a socket are not read at the same moment, so bytes may seem to move when none do:
        // then `least` is too small, but never `most`.
        report.expect(first_close + LEEWAY >= close_after && most <= close_after + LEEWAY, || {
            format!("closed {first_close:?} after the stop, {most:?} after the last progress")
        });
        self.resume(everyone, report);
    }

    /// The slow ones read what has reached them, come back, and have all.
    fn resume(&mut self, everyone: std::ops::Range<usize>, report: &mut Report) {
        let (from, slow) = (Instant::now(), everyone.len());
        self.hall.crowd.comes_back(true);
        everyone.clone().for_each(|who| self.hall.crowd.read_on(who));
        let said = self.hall.crowd.lasts(1).next().and_then(|(_, last)| last).unwrap_or(0);
        let mut gone = 0;
        let told = |_: usize, told: Told<'_>| gone += usize::from(matches!(told, Told::Gone(_)));
        let mut yet = everyone.start;
        let all = |crowd: &Crowd| {
            yet = (yet..everyone.end).find(|who| !has(crowd, *who, said)).unwrap_or(everyone.end);
            yet == everyone.end
        };
        let all = self.hall.crowd.run_until(PHASE, told, all);
        report.expect(all, || format!("not all of {slow} have all {PHASE:?} after"));
        report.expect(gone >= slow, || format!("{gone} of {slow} found their connection gone"));
        let took = (from.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        report.figure(&format!("{slow} slow: all have all s"), took);
        self.hall.crowd.comes_back(false);
        everyone.for_each(|who| self.hall.crowd.go(who));
    }
}

/// What someone sees who looks at the server and at the kernel now and then.
#[derive(Default)]
struct Seen {
    over: AtomicBool,
    counts: Mutex<Counts>,
    watched: Mutex<HashMap<u16, Watched>>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    lags: u64,
    closes: u64,
}

/// A connection whose client does not read, by its port.
struct Watched {
    /// Bytes in the kernel, on both sides.
    bytes: u64,
    /// When they last changed.
    changed: Instant,
    /// When it was there no more.
    closed: Option<Instant>,
}

impl Seen {
    fn look(&self, server: &Server) {
        while !self.over.load(Ordering::Acquire) {
            let (lags, closes) = ("tertulia_lags_total", "tertulia_closes_total{code=\"4202\"}");
            let counts = Counts { lags: server.metric(lags), closes: server.metric(closes) };
            *self.counts.lock().expect("no one panics while looking") = counts;
            self.look_at_kernel(server.public.port());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn look_at_kernel(&self, server: u16) {
        let mut watched = self.watched.lock().expect("no one panics while looking");
        // Also in the calm, when nobody is watched: to look costs time, and no phase may have more of it.
        let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's sockets");
        let mut bytes: HashMap<u16, u64> = HashMap::new();
        let mut open: HashMap<u16, bool> = HashMap::new();
        for socket in table.lines().filter_map(socket) {
            if socket.local == server {
                *bytes.entry(socket.remote).or_default() += socket.waiting;
                open.insert(socket.remote, socket.established);
            } else if socket.remote == server {
                *bytes.entry(socket.local).or_default() += socket.unread;
            }
        }
        let now = Instant::now();
        for (port, socket) in watched.iter_mut().filter(|(_, socket)| socket.closed.is_none()) {
            let bytes = bytes.get(port).copied().unwrap_or(0);
            if open.get(port) != Some(&true) {
                socket.closed = Some(now);
            } else if bytes != socket.bytes {
                (socket.bytes, socket.changed) = (bytes, now);
            }
        }
    }

    fn watch(&self, ports: impl Iterator<Item = u16>) {
        let fresh = |port| (port, Watched { bytes: 0, changed: Instant::now(), closed: None });
        *self.watched.lock().expect("no one panics while looking") = ports.map(fresh).collect();
    }

    fn now(&self) -> Counts {
        *self.counts.lock().expect("no one panics while looking")
    }

    /// How long after the last progress each was closed.
    fn closed_after(&self) -> Vec<Duration> {
        let mut watched = self.watched.lock().expect("no one panics while looking");
        let sockets = std::mem::take(&mut *watched);
        let closed = sockets.values().filter_map(|socket| Some((socket.closed?, socket.changed)));
        closed.map(|(closed, changed)| closed - changed).collect()
    }
}

/// A line of `/proc/net/tcp`.
struct Socket {
    local: u16,
    remote: u16,
    established: bool,
    /// Bytes that the other side has not acknowledged.
    waiting: u64,
    /// Bytes that nobody has read.
    unread: u64,
}

/// `0: 0100007F:1F90 0100007F:C350 01 0000000A:00000000 …`
fn socket(line: &str) -> Option<Socket> {
    let mut fields = line.split_whitespace().skip(1);
    let mut port = || u16::from_str_radix(fields.next()?.split_once(':')?.1, 16).ok();
    let (local, remote) = (port()?, port()?);
    let established = fields.next()? == "01";
    let (waiting, unread) = fields.next()?.split_once(':')?;
    let bytes = |text| u64::from_str_radix(text, 16).ok();
    Some(Socket { local, remote, established, waiting: bytes(waiting)?, unread: bytes(unread)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_the_kernels_is_read() {
        let line = "   1: 0100007F:1F90 0100007F:C350 01 0000000A:00000B00 00:00000000 00000000 0";
        let Socket { local, remote, established, waiting, unread } = socket(line).unwrap();
        assert_eq!((local, remote, established, waiting, unread), (8080, 50_000, true, 10, 0xb00));
        assert!(socket("  sl  local_address rem_address   st tx_queue rx_queue").is_none());
    }
}
