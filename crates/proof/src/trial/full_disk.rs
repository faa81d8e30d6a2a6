//! T05, a full disk: what cannot be stored is refused at once, and room that is made is used at once. (I1, I16)
//!
//! Half of a small disk is taken by someone else, the server fills the rest; later that half comes free.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, Heard};
use crate::report::{Report, Trial};
use crate::stage::{Scale, Stage};
use crate::trouble::{SmallDisk, Trouble};

const DISK: &str = "32m";

/// What comes free in the end.
const BALLAST_BYTES: usize = 16 << 20;

/// A large message, so that the disk is full soon.
const BODY_BYTES: usize = 12_000;

/// Who sends to a full disk is told so by then.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// The same where a build without optimisation shares the machine with other tests.
const TOLD_WITHIN_SHORT: Duration = Duration::from_secs(5);

/// Sockets that only listen; none may go.
const LISTENERS: usize = 20;

/// The trial.
pub const TRIAL: Trial = Trial { id: "T05", title: "a disk that is full, and then is not", run };

fn run(stage: &Stage, report: &mut Report) {
    let full = Duration::from_secs(stage.scale(2, 60, 300));
    let mut place = stage.place().set("limits.send_per_second", 0);
    let disk = SmallDisk::mount(place.beside("small"), DISK);
    place.data = disk.path("data");
    let mut trouble = Trouble::begins(&place);
    let mut listeners: Vec<Client> =
        (0..LISTENERS).map(|_| Client::join(&trouble.server, "bob", &[])).collect();
    // Twice: what was tried the first time must not look as if it went well the second time.
    for (round, full) in [full, full / 20].into_iter().enumerate() {
        let ballast = disk.fill("ballast", BALLAST_BYTES);
        stage.progress("filling the disk");
        while trouble.send_bytes(BODY_BYTES).1["t"] == "ok" {}
        // To the last byte: what is left would do for a short message.
        let rest = disk.fill("rest", usize::MAX);
        trouble.use_up();
        trouble.is_refused();
        keep_full(stage, report, &mut trouble, &mut listeners, full);
        fs::remove_file(ballast).expect("it was there");
        let took = trouble.heals();
        report.figure(&format!("round {} stores again after ms", round + 1), ms(took));
        fs::remove_file(rest).expect("it was there");
    }
    for (n, listener) in listeners.iter_mut().enumerate() {
        listener.command(json!({"t": "ping"}));
        let mut heard = listener.hear();
        // The server's own pings, which came while nobody listened.
        while heard == Heard::Line(r#"{"t":"ping"}"#.to_owned()) {
            heard = listener.hear();
        }
        let here = matches!(&heard, Heard::Line(line) if line.contains("\"now\""));
        report.expect(here, || format!("listener {n} was let go of: {heard:?}"));
    }
    trouble.is_over();
    report.figure("acked", trouble.acked() as f64);
}

/// Goes on sending to a full disk, and reading from it.
fn keep_full(
    stage: &Stage,
    report: &mut Report,
    trouble: &mut Trouble,
    listeners: &mut [Client],
    full: Duration,
) {
    let within = if stage.scale == Scale::Short { TOLD_WITHIN_SHORT } else { TOLD_WITHIN };
    let from = Instant::now();
    let (mut refused, mut stored, mut longest) = (0, 0, Duration::ZERO);
    while from.elapsed() < full {
        let (cid, said, took) = trouble.send();
        longest = longest.max(took);
        report.expect(took <= within, || format!("{cid} was answered after {took:?}"));
        // Some fit where an older part of the log is written over; then they are as safe as any.
        if said["t"] == "ok" {
            stored += 1;
            continue;
        }
        let is_so = said["code"] == "unavailable" && said["retry_ms"].is_u64();
        report.expect(is_so, || format!("{cid} was sent to a full disk: {said}"));
        refused += 1;
        if refused % 100 == 0 {
            trouble.can_be_read();
            report.count("reads meanwhile", 3);
            listeners.iter_mut().for_each(|listener| listener.say(r#"{"t":"pong"}"#));
            if refused % 2000 == 0 {
                stage.progress(&format!("full for {:?} of {full:?}", from.elapsed()));
            }
        }
        // A client would wait for retry_ms; this one is in a hurry, but leaves the processor to others.
        std::thread::sleep(Duration::from_millis(5));
    }
    report.expect(refused > 10 * stored, || format!("{stored} fit, and {refused} did not"));
    report.count("refused", refused);
    report.count("fitted all the same", stored);
    report.count("seconds full", full.as_secs());
    let shown = report.figures().iter().find(|(name, _)| name == "longest refusal ms");
    let before = shown.map_or(0.0, |(_, before)| *before);
    report.figure("longest refusal ms", before.max(ms(longest)));
}

fn ms(time: Duration) -> f64 {
    (time.as_micros() / 100) as f64 / 10.0
}
