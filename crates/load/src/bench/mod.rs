//! Bench: how fast it is, beside its peers and beside what the machine allows, in one run.
//!
//! Every server is kept to one processor and the crowd to another. What is compared runs in turns (A B C A B C
//! …), or beside each other in rounds of a part of a second, and the median counts: on a machine that others use,
//! too, ratios within a run say something, single times do not.

mod around;
mod arrive;
mod big;
mod dense;
mod dialect;
mod fan_out;
mod goals;
mod growth;
mod herd;
mod idle;
mod log;
mod sends;
mod side;
mod sparse;
mod spent;
mod vast;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tertulia_proof::page;
use tertulia_proof::report::Report;

use crate::error::Error;
use crate::options::server_path;
use goals::Line;
use side::Yard;
use spent::Apart;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// In minutes, not in twenty of them: fewer turns, shorter ones.
    #[arg(long)]
    quick: bool,

    /// Only these rows, by name.
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    only: Vec<String>,

    /// The server; by default `tertulia` beside this tool.
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,

    /// Where the peers are installed.
    #[arg(long, value_name = "FOLDER", default_value = "target/bench/peers")]
    peers: PathBuf,

    /// Where to write the report, for machines.
    #[arg(long, value_name = "FILE", default_value = "target/bench/report.json")]
    json: PathBuf,

    /// Where to write it for people.
    #[arg(long, value_name = "FILE", default_value = "target/bench/report.html")]
    html: PathBuf,

    /// The processor of whatever is measured.
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,

    /// The processor of the crowd.
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
}

/// How long, how often.
pub(crate) struct Scale {
    pub(crate) turns: usize,
    pub(crate) time: Duration,
    pub(crate) quick: bool,
}

/// A row of the table: what is measured, and what is to be reached.
struct Row {
    name: &'static str,
    title: &'static str,
    run: fn(&Yard, &Scale, &mut Report) -> Result<(), Error>,
}

const ROWS: &[Row] = &[
    Row { name: "dense", title: "fan-out in a hot room", run: dense::run },
    Row { name: "sparse", title: "100 members far apart in time", run: sparse::run },
    Row { name: "idle", title: "memory of who says nothing", run: idle::run },
    Row { name: "sends", title: "durable sends", run: sends::run },
    Row { name: "arrive", title: "connections that come, and come back", run: arrive::run },
    Row { name: "log", title: "pages of a long log", run: log::run },
    Row { name: "growth", title: "more members, more rooms, durability memory", run: growth::run },
    Row { name: "big", title: "big messages", run: big::run },
    Row { name: "vast", title: "10,000 in one room", run: vast::run },
];

/// Runs what is asked for. True if nothing fell short.
pub(crate) fn run(options: &Options) -> Result<bool, Error> {
    let unknown = options.only.iter().find(|name| ROWS.iter().all(|row| row.name != **name));
    if let Some(name) = unknown {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        return Err(Error::NoRow { name: name.clone(), names: names.join(", ") });
    }
    let apart = Apart { server: options.server_cpu, load: options.load_cpu };
    apart.keep_to_load().map_err(Error::io("keeping the crowd to its processor"))?;
    let server = server_path(options.server.as_ref())?;
    let yard = Yard { apart, server, peers: options.peers.clone() };
    let scale = match options.quick {
        true => Scale { turns: 1, time: Duration::from_millis(700), quick: true },
        false => Scale { turns: 5, time: Duration::from_millis(1500), quick: false },
    };
    let (machine, versions) = around::facts(&yard);
    let mut rows = Vec::new();
    let mut goals = Vec::new();
    let mut short = 0;
    for row in ROWS {
        if !options.only.is_empty() && options.only.iter().all(|name| name != row.name) {
            continue;
        }
        eprintln!("{}: {}", row.name, row.title);
        let (report, lines) = once_and_again(row, &yard, &scale)?;
        goals.extend(lines);
        print!("{}", report.text());
        report.wrongs().iter().for_each(|wrong| println!("SHORT {}: {wrong}", row.name));
        short += report.wrongs_in_all();
        rows.push(report.plain_json(row.name, row.title));
    }
    let ran = rows.len();
    let report = json!({
        "title": "Bench", "date": page::today(), "machine": machine, "versions": versions,
        "scale": scale_name(options), "goals": goals, "trials": rows,
    });
    write(options, &report)?;
    print!("\n{}", goals::table(&goals));
    println!("bench rows={ran} short={short}");
    Ok(short == 0)
}

/// So often a row is measured anew in which a line is void: the machine had other things to do meanwhile.
const AGAIN_MAX: usize = 2;

/// Measures a row until none of its lines is void, or it was measured often enough.
fn once_and_again(row: &Row, yard: &Yard, scale: &Scale) -> Result<(Report, Vec<Line>), Error> {
    let mut again = 0;
    loop {
        let (mut failed, mut lines) = (None, Vec::new());
        let mut report = Report::of(|report| {
            failed = (row.run)(yard, scale, report).err();
            lines = goals::judge(row.name, scale.quick, report);
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if again == AGAIN_MAX || !lines.iter().any(Line::is_void) {
            report.figure("measured anew", again as f64);
            return Ok((report, lines));
        }
        again += 1;
        eprint!("{}", goals::table(&lines));
        eprintln!("  {}: a line is void, so once more", row.name);
    }
}

/// Only a full run says all.
fn scale_name(options: &Options) -> &'static str {
    match (options.quick, options.only.is_empty()) {
        (false, true) => "full",
        (false, false) => "some rows",
        (true, _) => "quick",
    }
}

fn write(options: &Options, report: &Value) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(report).expect("a report is plain data");
    for (path, text) in [(&options.json, json), (&options.html, page::draw(report))] {
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let written = made.and_then(|()| std::fs::write(path, text));
        written.map_err(|source| Error::File { path: path.clone(), source })?;
    }
    Ok(())
}

/// Takes so many turns, and says which one it is.
pub(crate) fn take_turns<T>(
    times: usize,
    what: &str,
    mut turn: impl FnMut() -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let turns = (1..=times).map(|number| {
        eprintln!("  {what}, turn {number} of {times}");
        turn()
    });
    turns.collect()
}

/// Behind the name of a figure: where the turns begin and end between which it lies.
pub(crate) const FROM_TO: [&str; 2] = [": from", ": to"];

/// Tells a figure that each turn has: the median counts. Where the others lie is told beside it, a fifth of them
/// left out at each end.
pub(crate) fn tell_turns<T>(
    report: &mut Report,
    name: &str,
    turns: &[T],
    figure: impl Fn(&T) -> f64,
) {
    let mut figures: Vec<f64> = turns.iter().map(figure).collect();
    report.figure(name, median(&mut figures));
    let out = figures.len() / 5;
    let ends = [figures.get(out), figures.get(figures.len().saturating_sub(out + 1))];
    for (end, value) in FROM_TO.iter().zip(ends) {
        report.figure(&format!("{name}{end}"), value.copied().unwrap_or(f64::NAN));
    }
}

/// The median of a figure over the turns, told without what lies around it.
pub(crate) fn over_turns<T>(turns: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    median(&mut turns.iter().map(figure).collect::<Vec<f64>>())
}

/// The middle of some figures.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => figures[middle],
        _ => (figures[middle - 1] + figures[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_says_between_which_turns_it_lies() {
        let told = |turns: &[f64]| {
            let mut report = Report::default();
            tell_turns(&mut report, "cost", turns, |cost| *cost);
            let figures = report.figures().iter();
            figures.map(|(name, value)| (name.clone(), *value)).collect::<Vec<(String, f64)>>()
        };
        let figures = |middle, from, to| {
            [("cost", middle), ("cost: from", from), ("cost: to", to)]
                .map(|(name, value)| (name.to_owned(), value))
        };
        assert_eq!(told(&[9.0, 3.0, 1.0, 2.0, 4.0]), figures(3.0, 2.0, 4.0));
        assert_eq!(told(&[2.0, 3.0, 1.0]), figures(2.0, 1.0, 3.0));
        assert_eq!(told(&[7.0]), figures(7.0, 7.0, 7.0));
        assert!(told(&[]).iter().all(|(_, value)| value.is_nan()));
    }
}
