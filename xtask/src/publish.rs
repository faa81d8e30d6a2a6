//! Publish: the figures of the last soak, written into the pages that show them.
//!
//! Never: touches a figure. What stands in the report stands in the page, and the rest of the page stays.

use std::fmt::Write;
use std::fs;

use serde_json::Value;

use crate::run::{Done, root};

/// What `make soak` leaves behind.
const REPORT: &str = "target/soak/report.json";

/// The page with all figures, between these marks.
const PAGE: &str = "docs/reliability.md";

/// The page with a few of them.
const README: &str = "README.md";

/// The trials whose line stands in the README, and the figures that tell most of each.
const IN_SHORT: &[(&str, &[&str])] = &[
    ("T01", &["cycles", "acked", "restart p99 ms"]),
    ("T02", &["images", "acks that were looked for"]),
    ("T04", &["calls that failed", "acked"]),
    ("T08", &["messages", "listeners", "different streams", "messages a second"]),
    ("T09", &["cuts", "events", "holes told"]),
    ("T11", &["members", "at once: all at head s", "at once: memory MiB"]),
    ("T20", &["kicks", "revokes", "wrong after kicks", "longest until out ms"]),
    ("T21", &["rows", "worst bystander p99 ms", "most memory grown MiB"]),
    ("T22", &["cases", "ok", "informational", "failed"]),
    ("T24", &["seeds", "failed"]),
];

/// Where figures begin on a page; whoever wants to know by which target finds it in `make`.
const BEGIN: &str = "<!-- figures: written, not edited -->\n";
const END: &str = "<!-- end of figures -->\n";

/// Writes the figures into both pages.
pub(crate) fn run() -> Done {
    let path = root().join(REPORT);
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("{REPORT}: {error}; `make soak` writes it"))?;
    let report: Value =
        serde_json::from_str(&text).map_err(|error| format!("{REPORT}: {error}"))?;
    put(PAGE, &in_full(&report))?;
    put(README, &in_short(&report))
}

/// Puts `figures` between the marks of a page.
pub(crate) fn put(page: &str, figures: &str) -> Done {
    let path = root().join(page);
    let text = fs::read_to_string(&path).map_err(|error| format!("{page}: {error}"))?;
    let text =
        between(&text, figures).ok_or_else(|| format!("{page}: the marks for figures are gone"))?;
    fs::write(&path, text).map_err(|error| format!("{page}: {error}"))?;
    println!("{page}");
    Ok(())
}

fn between(page: &str, figures: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{figures}{END}{after}"))
}

/// When, on what, and with which seed.
fn circumstances(report: &Value) -> String {
    let machine = &report["machine"];
    format!(
        "Measured {} on {} ({} cores, {}, Linux {}), durability `fsync`, scale {}, seed {}.\n\n",
        text(&report["date"]),
        text(&machine["cpu"]),
        machine["cores"],
        gib(&text(&machine["memory"])),
        text(&machine["kernel"]),
        text(&report["scale"]),
        report["seed"],
    )
}

/// `24684092 kB`, as the kernel says it, as `24 GiB`; anything else as it is.
pub(crate) fn gib(memory: &str) -> String {
    let kib = memory.strip_suffix(" kB").and_then(|kib| kib.parse::<f64>().ok());
    kib.map_or(memory.to_owned(), |kib| format!("{:.0} GiB", kib / f64::from(1 << 20)))
}

fn trials(report: &Value) -> impl Iterator<Item = &Value> {
    report["trials"].as_array().into_iter().flatten()
}

fn figures(trial: &Value) -> impl Iterator<Item = (&String, &Value)> {
    trial["figures"].as_object().into_iter().flatten()
}

/// One trial as a line of a table, with those of its figures.
fn line<'a>(trial: &Value, figures: impl Iterator<Item = (&'a String, &'a Value)>) -> String {
    let figures: Vec<String> =
        figures.map(|(name, value)| format!("{name} {}", number(value))).collect();
    let wrong = &trial["wrongs_in_all"];
    format!(
        "| {} | {} | {} | {wrong} |\n",
        text(&trial["id"]),
        text(&trial["title"]),
        figures.join("; ")
    )
}

fn in_full(report: &Value) -> String {
    let mut page = circumstances(report);
    page += "| trial | what is done | figures | promises broken |\n|---|---|---|---|\n";
    trials(report).for_each(|trial| page += &line(trial, figures(trial)));
    trials(report).for_each(|trial| page += &table(trial, true));
    page
}

/// What a trial or a row of the bench found case by case; `what` each case is stands behind its name if asked for.
pub(crate) fn table(trial: &Value, what: bool) -> String {
    let mut page = String::new();
    let Some(rows) = trial["table"]["rows"].as_array().filter(|rows| !rows.is_empty()) else {
        return page;
    };
    let columns = trial["table"]["columns"].as_array().into_iter().flatten();
    let columns: Vec<String> = columns.map(text).collect();
    let (gap, line) = if what { (" | |", "---|---") } else { (" |", "---") };
    let rule = "|---:".repeat(columns.len());
    _ = writeln!(page, "\n{}, {}:\n", text(&trial["id"]), text(&trial["title"]));
    _ = writeln!(page, "|{gap} {} |\n|{line}{rule}|", columns.join(" | "));
    for row in rows {
        let figures = row[2].as_array().into_iter().flatten();
        let figures: Vec<String> = figures.map(number).collect();
        let what = if what { format!(" {} |", text(&row[1])) } else { String::new() };
        _ = writeln!(page, "| {} |{what} {} |", text(&row[0]), figures.join(" | "));
    }
    page
}

/// A text as it stands in a cell.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace('|', "\\|")
}

fn in_short(report: &Value) -> String {
    let mut page = circumstances(report);
    page += "| trial | what is done | figures | promises broken |\n|---|---|---|---|\n";
    for trial in trials(report) {
        let id = trial["id"].as_str().unwrap_or_default();
        if let Some((_, names)) = IN_SHORT.iter().find(|(known, _)| *known == id) {
            let chosen = figures(trial).filter(|(name, _)| names.contains(&name.as_str()));
            page += &line(trial, chosen);
        }
    }
    page
}

/// With marks between thousands, and below ten with two places behind the point; – for what is no number.
pub(crate) fn number(value: &Value) -> String {
    let Some(value) = value.as_f64() else {
        return if value.is_null() { "–".to_owned() } else { value.to_string() };
    };
    if value.fract() != 0.0 && value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_between_their_marks_and_nothing_else_moves() {
        let page = format!("before\n{BEGIN}old\n{END}after\n");
        assert_eq!(between(&page, "new\n"), Some(format!("before\n{BEGIN}new\n{END}after\n")));
        assert_eq!(between("no marks", "new"), None);
    }

    #[test]
    fn the_readme_has_the_figures_that_tell_most() {
        let report = serde_json::json!({"machine": {"memory": "24684092 kB"}, "trials": [
            {"id": "T24", "title": "lives", "figures": {"seeds": 20, "failed": 0, "lives a second": 5}, "wrongs_in_all": 0},
            {"id": "T99", "title": "another", "figures": {"n": 1}, "wrongs_in_all": 0},
        ]});
        let page = in_short(&report);
        assert!(page.contains("| T24 | lives | failed 0; seeds 20 | 0 |\n"), "{page}");
        assert!(page.contains(", 24 GiB, ") && !page.contains("T99"), "{page}");
        assert!(in_full(&report).contains("lives a second 5"));
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        let shown =
            [1.0, 1234.0, 1_234_567.0, 1234.5, 0.25, 12.5].map(|value| number(&value.into()));
        assert_eq!(shown, ["1", "1,234", "1,234,567", "1,234", "0.25", "12"]);
        assert_eq!(number(&Value::Null), "–");
    }
}
