//! Goals: what is to be reached, row by row, and the table that says what was.
//!
//! A row measures figures under names; this is the one place that judges them.

use serde::Serialize;
use tertulia_proof::report::Report;

/// A limit program that changed by more than this from the first turns to the last says nothing about either.
pub(super) const DRIFT_MAX: f64 = 0.1;

/// One that runs in rounds and is held against itself has to be as near to 1 as this.
const ROUNDS_DRIFT_MAX: f64 = 0.05;

/// Where a figure has to be.
#[derive(Clone, Copy)]
enum Reach {
    AtMost(f64),
    AtLeast(f64),
    Below(f64),
    /// Nowhere: it is told.
    Told,
}

/// One line of the table.
struct Goal {
    row: &'static str,
    what: &'static str,
    figure: &'static str,
    reach: Reach,
    /// The drift of the limit that the figure is a share of, and how much of it voids the figure.
    drift: Option<(&'static str, f64)>,
    /// A short run does not come so far.
    full_only: bool,
}

const fn goal(row: &'static str, what: &'static str, figure: &'static str, reach: Reach) -> Goal {
    Goal { row, what, figure, reach, drift: None, full_only: false }
}

impl Goal {
    const fn beside(mut self, drift: &'static str, most: f64) -> Goal {
        self.drift = Some((drift, most));
        self
    }

    const fn full_only(mut self) -> Goal {
        self.full_only = true;
        self
    }
}

use Reach::{AtLeast, AtMost, Below, Told};

const GOALS: &[Goal] = &[
    goal(
        "dense",
        "CPU a delivery, 100 members, of copying and the bare store",
        "100: ours of the limit",
        AtMost(1.3),
    )
    .beside("100: drift of the limit", ROUNDS_DRIFT_MAX),
    goal("dense", "… of Bun's, fsync", "100: ours of Bun at equal bytes, fsync", Told),
    goal("dense", "… of Bun's, memory", "100: ours of Bun at equal bytes, memory", Told),
    goal(
        "dense",
        "CPU a delivery, 1,000 members, of copying",
        "1000: ours of the limit",
        AtMost(1.3),
    )
    .beside("1000: drift of the limit", ROUNDS_DRIFT_MAX),
    goal("dense", "… of Bun's, fsync", "1000: ours of Bun at equal bytes, fsync", Below(1.0)),
    goal(
        "dense",
        "CPU a delivery, 5,000 members, of copying",
        "5000: ours of the limit",
        AtMost(1.3),
    )
    .beside("5000: drift of the limit", ROUNDS_DRIFT_MAX)
    .full_only(),
    goal("dense", "… of Bun's, fsync", "5000: ours of Bun at equal bytes, fsync", Below(1.0))
        .full_only(),
    goal(
        "sparse",
        "CPU a delivery, of copying and bare commits",
        "CPU, ours of limit and bare store",
        AtMost(1.1),
    )
    .beside("drift of the limit", ROUNDS_DRIFT_MAX),
    goal("sparse", "p99, of both p99 together", "p99, ours of limit and bare store", AtMost(2.0)),
    goal("sparse", "lost or out of order", "lost or out of order", AtMost(0.0)),
    goal("idle", "KiB a connection, by slope", "KiB a connection", AtMost(1.0)),
    goal(
        "idle",
        "… after a message and 30 s of rest",
        "KiB a connection, after a message",
        AtMost(1.0),
    ),
    goal("sends", "acked in a second, of the bare store", "of the bare store", AtLeast(0.6))
        .beside("drift of the bare store", DRIFT_MAX),
    goal(
        "sends",
        "ack p50, one on the way, in syncs",
        "one at a time: ack p50, in syncs",
        AtMost(2.0),
    ),
    goal(
        "sends",
        "ack p50, 1,024 on the way, in bare commits of them",
        "ack p50, in bare commits of all on the way",
        AtMost(2.0),
    ),
    goal("sends", "… in bare commits as large as ours", "ack p50, in bare commits", Told),
    goal(
        "arrive",
        "connect, hello and sub in a second of a core",
        "connections in a second of a core",
        AtLeast(10_000.0),
    ),
    goal("arrive", "storm of resumes, seconds", "storm, seconds", AtMost(3.0)),
    goal("arrive", "membership cache, share of hits", "membership hit ratio", AtLeast(0.99)),
    goal("arrive", "standings read for each miss", "standings read for each miss", AtMost(1.0)),
    goal("log", "first page of a million, p99 ms", "first page, p99 ms", AtMost(5.0)),
    goal("log", "newest page of a million, p99 ms", "newest page, p99 ms", AtMost(5.0)),
    goal(
        "growth",
        "CPU a delivery, most of the mean, by members",
        "members: most of the mean",
        AtMost(1.2),
    ),
    goal(
        "growth",
        "CPU a delivery, most of the mean, by rooms",
        "rooms: most of the mean",
        AtMost(1.2),
    ),
    goal(
        "big",
        "CPU a delivery, 1 KiB, of copying and the bare store",
        "1 KiB: ours of the limit",
        Told,
    ),
    goal(
        "big",
        "CPU a delivery, 16 KiB, of copying and the bare store",
        "16 KiB: ours of the limit",
        Told,
    ),
    goal(
        "vast",
        "others' p99 of calm, while 10,000 come",
        "others' p99 of calm, while they come",
        AtMost(2.0),
    ),
    goal(
        "vast",
        "others' p99 of calm, while they are spoken to",
        "others' p99 of calm, while they are spoken to",
        Told,
    ),
];

/// What became of a goal.
#[derive(Serialize, Clone, Debug)]
pub(super) struct Line {
    row: &'static str,
    what: &'static str,
    reach: String,
    found: Option<f64>,
    verdict: &'static str,
}

/// Holds what a row found against its goals; what falls short is wrong.
pub(super) fn judge(row: &str, quick: bool, report: &mut Report) -> Vec<Line> {
    let goals = GOALS.iter().filter(|goal| goal.row == row && !(quick && goal.full_only));
    goals.map(|goal| line(goal, report)).collect()
}

fn line(goal: &Goal, report: &mut Report) -> Line {
    let figure = |name: &str| {
        let figures = report.figures().iter();
        figures.into_iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    };
    let found = figure(goal.figure);
    let drift = goal.drift.and_then(|(name, most)| Some((figure(name)?, most)));
    let reached = |value: f64| match goal.reach {
        AtMost(most) => value <= most,
        AtLeast(least) => value >= least,
        Below(most) => value < most,
        Told => true,
    };
    let reach = match goal.reach {
        AtMost(most) => format!("≤ {most}"),
        AtLeast(least) => format!("≥ {least}"),
        Below(most) => format!("< {most}"),
        Told => String::new(),
    };
    let verdict = match (found, drift, goal.reach) {
        (None, ..) => "missing",
        (_, Some((drift, most)), _) if drift.is_nan() || drift > most => "void",
        (Some(_), _, Told) => "told",
        (Some(value), ..) if reached(value) => "reached",
        _ => "short",
    };
    if !matches!(verdict, "reached" | "told") {
        let found = found.map_or("nothing".to_owned(), |value| format!("{value:.3}"));
        let drift =
            drift.map_or(String::new(), |(drift, _)| format!(", the limit drifted by {drift:.2}"));
        report.expect(false, || {
            format!("{}, {}: {found} is {verdict}, to be {reach}{drift}", goal.row, goal.what)
        });
    }
    Line { row: goal.row, what: goal.what, reach, found, verdict }
}

/// All lines, for people.
pub(super) fn table(lines: &[Line]) -> String {
    let lines = lines.iter().map(|line| {
        let found = line.found.map_or("-".to_owned(), |value| format!("{value:.3}"));
        format!(
            "{:<8}{:<58}{:>10}{:>12}  {}\n",
            line.row, line.what, line.reach, found, line.verdict
        )
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(row: &str, figures: &[(&str, f64)]) -> (Vec<&'static str>, u64) {
        let mut report = Report::default();
        figures.iter().for_each(|(name, value)| report.figure(name, *value));
        let lines = judge(row, false, &mut report);
        (lines.iter().map(|line| line.verdict).collect(), report.wrongs_in_all())
    }

    #[test]
    fn a_figure_is_reached_short_void_or_missing() {
        let all = [
            "of the bare store",
            "one at a time: ack p50, in syncs",
            "ack p50, in bare commits of all on the way",
            "ack p50, in bare commits",
        ];
        let with = |values: [f64; 4]| all.into_iter().zip(values).collect::<Vec<_>>();
        let (reached, told) = ("reached", "told");
        assert_eq!(
            judged("sends", &with([0.6, 2.0, 1.9, 2.1])),
            (vec![reached, reached, reached, told], 0)
        );
        assert_eq!(
            judged("sends", &with([0.59, 2.0, 2.1, 2.1])),
            (vec!["short", reached, "short", told], 2)
        );
        let mut drifted = with([0.9, 1.0, 1.0, 1.0]);
        drifted.push(("drift of the bare store", 0.11));
        assert_eq!(judged("sends", &drifted), (vec!["void", reached, reached, told], 1));
        assert_eq!(judged("sends", &[]), (vec!["missing"; 4], 4));
        assert_eq!(judged("sends", &with([f64::NAN, 1.0, 1.0, 1.0])).0[0], "short");
    }
}
