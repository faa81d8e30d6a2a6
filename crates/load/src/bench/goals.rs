//! Goals: what is to be reached, row by row, and the table that says what was.
//!
//! A row measures figures under names; this is the one place that judges them.

use serde::Serialize;
use tertulia_proof::report::Report;

use super::FROM_TO;

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
    /// Its turns are told, too, and have to agree on what became of it.
    by_turns: bool,
    /// A short run does not come so far.
    full_only: bool,
}

const fn goal(row: &'static str, what: &'static str, figure: &'static str, reach: Reach) -> Goal {
    Goal { row, what, figure, reach, by_turns: false, full_only: false }
}

impl Goal {
    const fn by_turns(mut self) -> Goal {
        self.by_turns = true;
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
    .by_turns(),
    goal("dense", "… of Bun's, fsync", "100: ours of Bun at equal bytes, fsync", Told),
    goal("dense", "… of Bun's, memory", "100: ours of Bun at equal bytes, memory", Told),
    goal(
        "dense",
        "CPU a delivery, 1,000 members, of copying",
        "1000: ours of the limit",
        AtMost(1.3),
    )
    .by_turns(),
    goal("dense", "… of Bun's, fsync", "1000: ours of Bun at equal bytes, fsync", Below(1.0))
        .by_turns(),
    goal(
        "dense",
        "CPU a delivery, 5,000 members, of copying",
        "5000: ours of the limit",
        AtMost(1.3),
    )
    .by_turns()
    .full_only(),
    goal("dense", "… of Bun's, fsync", "5000: ours of Bun at equal bytes, fsync", Below(1.0))
        .by_turns()
        .full_only(),
    goal(
        "sparse",
        "CPU a delivery, of copying and bare commits",
        "CPU, ours of limit and bare store",
        AtMost(1.1),
    )
    .by_turns(),
    goal(
        "sparse",
        "p99, of the copy's and the bare store's together",
        "p99, ours of limit and bare store",
        AtMost(2.0),
    )
    .by_turns(),
    goal("sparse", "lost or out of order", "lost or out of order", AtMost(0.0)),
    goal("idle", "KiB a connection, by slope", "KiB a connection", AtMost(1.0)),
    goal(
        "idle",
        "… after a message and 30 s of rest",
        "KiB a connection, after a message",
        AtMost(1.0),
    ),
    goal("sends", "acked in a second, of the bare store", "of the bare store", AtLeast(0.6))
        .by_turns(),
    goal(
        "sends",
        "ack p50, one on the way, in syncs",
        "one at a time: ack p50, in syncs",
        AtMost(2.0),
    )
    .by_turns(),
    goal(
        "sends",
        "… by a client that sleeps until it comes",
        "one at a time, asleep until then: ack p50, in syncs",
        Told,
    ),
    goal(
        "sends",
        "ack p50, 1,024 on the way, in bare commits of them",
        "ack p50, in bare commits of all on the way",
        AtMost(2.0),
    )
    .by_turns(),
    goal("sends", "… in bare commits as large as ours", "ack p50, in bare commits", Told),
    goal(
        "arrive",
        "connect, hello and sub in a second of a core",
        "connections in a second of a core",
        AtLeast(10_000.0),
    ),
    goal("arrive", "storm of resumes, seconds", "storm, seconds", AtMost(3.0)).by_turns(),
    goal("arrive", "membership cache, share of hits", "membership hit ratio", AtLeast(0.99)),
    goal(
        "arrive",
        "… of those who come back after a restart",
        "after a restart: hit ratio of who comes back",
        AtLeast(0.99),
    ),
    goal(
        "arrive",
        "standings read for each miss, after a restart",
        "after a restart: standings read for each miss",
        AtMost(1.0),
    ),
    goal("log", "first page of a million, p99 ms", "first page, p99 ms", AtMost(5.0)),
    goal("log", "newest page of a million, p99 ms", "newest page, p99 ms", AtMost(5.0)),
    goal("log", "another page each time, p99 ms", "another page, p99 ms", AtMost(5.0)),
    goal(
        "growth",
        "CPU a delivery, the dearest size of the mean, by members",
        "members: most of the mean",
        AtMost(1.2),
    )
    .by_turns(),
    goal("growth", "… at 10,000 members, of that at 100", "members: last of first", AtMost(1.2))
        .by_turns(),
    goal(
        "growth",
        "CPU a delivery, the dearest size of the mean, by rooms",
        "rooms: most of the mean",
        AtMost(1.2),
    )
    .by_turns(),
    goal("growth", "… in 10,000 rooms, of that in one", "rooms: last of first", AtMost(1.2))
        .by_turns(),
    goal(
        "big",
        "CPU a delivery, 1 KiB, of copying and the bare store",
        "1 KiB: ours of the limit",
        Told,
    ),
    goal("big", "… of Bun's", "1 KiB: ours of Bun", Told),
    goal(
        "big",
        "CPU a delivery, 16 KiB, of copying and the bare store",
        "16 KiB: ours of the limit",
        Told,
    ),
    goal("big", "… of Bun's", "16 KiB: ours of Bun", Told),
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
    /// Between which turns it lies, where it has turns.
    from: Option<f64>,
    to: Option<f64>,
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
    let [from, to] = FROM_TO.map(|end| figure(&format!("{}{end}", goal.figure)));
    let reached = |value: f64| match goal.reach {
        AtMost(most) => value <= most,
        AtLeast(least) => value >= least,
        Below(most) => value < most,
        Told => true,
    };
    // A turn that is missing, or is no number, agrees with nobody.
    let agreed = |value: f64| {
        let agrees = |turn: Option<f64>| turn.is_some_and(|turn| reached(turn) == reached(value));
        !goal.by_turns || agrees(from) && agrees(to)
    };
    let reach = match goal.reach {
        AtMost(most) => format!("≤ {most}"),
        AtLeast(least) => format!("≥ {least}"),
        Below(most) => format!("< {most}"),
        Told => String::new(),
    };
    let verdict = match (found, goal.reach) {
        (None, _) => "missing",
        (Some(_), Told) => "told",
        (Some(value), _) if !agreed(value) => "void",
        (Some(value), _) if reached(value) => "reached",
        (Some(_), _) => "short",
    };
    let line = Line { row: goal.row, what: goal.what, reach, found, from, to, verdict };
    if !matches!(verdict, "reached" | "told") {
        report.expect(false, || {
            let Line { row, what, reach, .. } = &line;
            format!("{row}, {what}: {} is {verdict}, to be {reach}", line.found_text())
        });
    }
    line
}

impl Line {
    /// Its turns do not agree.
    pub(super) fn is_void(&self) -> bool {
        self.verdict == "void"
    }

    /// What was found, and between which turns it lies.
    fn found_text(&self) -> String {
        let text = |value: f64| format!("{value:.3}");
        match (self.found, self.from, self.to) {
            (None, ..) => "nothing".to_owned(),
            (Some(found), Some(from), Some(to)) => {
                format!("{} ({} to {})", text(found), text(from), text(to))
            }
            (Some(found), ..) => text(found),
        }
    }
}

/// All lines, for people.
pub(super) fn table(lines: &[Line]) -> String {
    let lines = lines.iter().map(|line| {
        let Line { row, what, reach, verdict, .. } = line;
        format!("{row:<8}{what:<58}{reach:>10}  {:<26}{verdict}\n", line.found_text())
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(row: &str, figures: &[(String, f64)]) -> (Vec<&'static str>, u64) {
        let mut report = Report::default();
        figures.iter().for_each(|(name, value)| report.figure(name, *value));
        let lines = judge(row, false, &mut report);
        (lines.iter().map(|line| line.verdict).collect(), report.wrongs_in_all())
    }

    const ALL: [&str; 5] = [
        "of the bare store",
        "one at a time: ack p50, in syncs",
        "one at a time, asleep until then: ack p50, in syncs",
        "ack p50, in bare commits of all on the way",
        "ack p50, in bare commits",
    ];

    /// The row of sends, with turns that all found the same.
    fn sends(values: [f64; 5]) -> Vec<(String, f64)> {
        let figures = ALL.into_iter().zip(values);
        let told = figures.flat_map(|(name, value)| {
            ["", FROM_TO[0], FROM_TO[1]].map(|end| (format!("{name}{end}"), value))
        });
        told.collect()
    }

    #[test]
    fn a_figure_is_reached_short_or_missing() {
        let (reached, told) = ("reached", "told");
        assert_eq!(
            judged("sends", &sends([0.6, 2.0, 2.1, 1.9, 2.1])),
            (vec![reached, reached, told, reached, told], 0)
        );
        assert_eq!(
            judged("sends", &sends([0.59, 2.0, 2.1, 2.1, 2.1])),
            (vec!["short", reached, told, "short", told], 2)
        );
        assert_eq!(judged("sends", &[]), (vec!["missing"; 5], 5));
        let nan = sends([f64::NAN, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(judged("sends", &nan).0[0], "short");
    }

    #[test]
    fn a_figure_is_void_whose_turns_are_of_two_minds() {
        let with = |name: String, value: f64| {
            let mut figures = sends([0.7, 1.0, 1.0, 1.0, 1.0]);
            figures.retain(|(known, _)| *known != name);
            figures.push((name, value));
            judged("sends", &figures).0[0]
        };
        assert_eq!(with(format!("{}{}", ALL[0], FROM_TO[0]), 0.61), "reached");
        assert_eq!(with(format!("{}{}", ALL[0], FROM_TO[0]), 0.59), "void");
        assert_eq!(with(format!("{}{}", ALL[0], FROM_TO[1]), f64::NAN), "void");
        let mut untold = sends([0.7, 1.0, 1.0, 1.0, 1.0]);
        untold.retain(|(name, _)| !name.ends_with(FROM_TO[1]));
        assert_eq!(judged("sends", &untold).0, ["void", "void", "told", "void", "told"]);
    }
}
