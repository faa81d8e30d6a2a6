//! Report: what a trial found, for people and for machines.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::stage::Stage;
use crate::verdict::Verdict;

/// Wrongs that are kept in words; the rest is counted.
const WORDS_MAX: usize = 20;

/// Something to try a server with.
pub struct Trial {
    /// Its name in `docs/reliability.md`.
    pub id: &'static str,
    /// What it does, in a few words.
    pub title: &'static str,
    pub(crate) run: fn(&Stage, &mut Report),
}

/// What a trial found.
#[derive(Default)]
pub struct Report {
    figures: Vec<(String, f64)>,
    /// Points over time or over something else, by the name of the line.
    lines: BTreeMap<String, Vec<(f64, f64)>>,
    /// What was measured case by case.
    table: Table,
    wrongs: Vec<String>,
    wrongs_in_all: u64,
    took: Duration,
}

/// Figures case by case: a row each.
#[derive(Default, serde::Serialize)]
struct Table {
    columns: Vec<String>,
    /// The case, what it is, and its figures in the order of the columns.
    rows: Vec<(String, String, Vec<f64>)>,
}

impl Trial {
    /// Runs it. A trial that panics is wrong.
    pub fn report(&self, stage: &Stage) -> Report {
        Report::of(|report| (self.run)(stage, report))
    }
}

/// What a panic said.
pub(crate) fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("for no known reason")
}

impl Report {
    /// Whatever `run` writes into it. If that panics, that is wrong.
    pub fn of(run: impl FnOnce(&mut Report)) -> Report {
        let mut report = Report::default();
        let from = Instant::now();
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&mut report)));
        if let Err(panic) = ran {
            report.wrong(format!("could not go on: {}", words_of(&*panic)));
        }
        report.took = from.elapsed();
        report
    }

    /// A figure under that name; the last one counts.
    pub fn figure(&mut self, name: &str, value: impl Into<f64>) {
        let value = value.into();
        match self.figures.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.figures.push((name.to_owned(), value)),
        }
    }

    /// A figure of which the largest value counts.
    pub(crate) fn most(&mut self, name: &str, value: f64) {
        let known = self.figures.iter().find(|(known, _)| known == name);
        self.figure(name, known.map_or(value, |(_, before)| before.max(value)));
    }

    /// A figure that grows.
    pub(crate) fn count(&mut self, name: &str, more: u64) {
        let known = self.figures.iter().find(|(known, _)| known == name);
        let before = known.map_or(0.0, |(_, value)| *value);
        self.figure(name, before + more as f64);
    }

    /// A point of a line that is drawn.
    pub fn point(&mut self, line: &str, x: f64, y: f64) {
        self.lines.entry(line.to_owned()).or_default().push((x, y));
    }

    /// A figure of one case, under the name of its column.
    pub fn case(&mut self, case: &str, what: &str, column: &str, value: f64) {
        let Table { columns, rows } = &mut self.table;
        let place = columns.iter().position(|known| known == column).unwrap_or_else(|| {
            columns.push(column.to_owned());
            columns.len() - 1
        });
        let row = rows.iter().position(|(known, ..)| known == case).unwrap_or_else(|| {
            rows.push((case.to_owned(), what.to_owned(), Vec::new()));
            rows.len() - 1
        });
        let figures = &mut rows[row].2;
        figures.resize(figures.len().max(place + 1), 0.0);
        figures[place] = value;
    }

    /// A promise that was broken, in words.
    pub(crate) fn wrong(&mut self, what: String) {
        self.wrongs_in_all += 1;
        if self.wrongs.len() < WORDS_MAX {
            self.wrongs.push(what);
        }
    }

    /// Wrong unless it is so.
    pub fn expect(&mut self, is_so: bool, what: impl FnOnce() -> String) {
        if !is_so {
            self.wrong(what());
        }
    }

    /// Everything that a storm broke.
    pub(crate) fn judge(&mut self, verdict: &Verdict) {
        verdict.wrongs().into_iter().for_each(|wrong| self.wrong(wrong));
    }

    /// Promises that were broken.
    pub fn wrongs(&self) -> &[String] {
        &self.wrongs
    }

    /// How many there were, those without words included.
    pub fn wrongs_in_all(&self) -> u64 {
        self.wrongs_in_all
    }

    /// What is drawn: points by the name of their line.
    pub fn lines(&self) -> &BTreeMap<String, Vec<(f64, f64)>> {
        &self.lines
    }

    /// What was measured, by name.
    pub fn figures(&self) -> &[(String, f64)] {
        &self.figures
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// One line that says it all: `T01 kill-storm cycles=50 acked=14000 wrong=0 took=12.1s`.
    pub fn line(&self, trial: &Trial) -> String {
        let figures = self.figures.iter();
        let figures: String =
            figures.map(|(name, value)| format!(" {}={value}", name.replace(' ', "_"))).collect();
        let (wrong, took) = (self.wrongs_in_all, self.took.as_secs_f64());
        format!("{}{figures} wrong={wrong} took={took:.1}s", trial.id)
    }

    /// All figures, a line each, for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.figures {
            // Writing to memory cannot fail.
            _ = writeln!(text, "{name:<48}{value:>14.3}");
        }
        let Table { columns, rows } = &self.table;
        if !rows.is_empty() {
            let heads: String = columns.iter().map(|column| format!("{column:>20}")).collect();
            _ = writeln!(text, "{:<48}{heads}", "");
        }
        for (case, _, figures) in rows {
            let figures: String = figures
                .iter()
                .map(|value| match value.is_nan() {
                    true => format!("{:>20}", "–"),
                    false => format!("{value:>20.3}"),
                })
                .collect();
            _ = writeln!(text, "{case:<48}{figures}");
        }
        text
    }

    /// The same for machines.
    pub fn json(&self, trial: &Trial, stage: &Stage) -> Value {
        let mut json = self.plain_json(trial.id, trial.title);
        json["seed"] = json!(stage.seed);
        json
    }

    /// The same of what is no trial.
    pub fn plain_json(&self, id: &str, title: &str) -> Value {
        let figures: serde_json::Map<String, Value> =
            self.figures.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "id": id, "title": title, "figures": figures,
            "lines": self.lines, "table": self.table, "wrongs": self.wrongs, "wrongs_in_all": self.wrongs_in_all,
            "took_s": self.took.as_secs_f64(),
        })
    }
}
