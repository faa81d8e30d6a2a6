//! Performance: what the last bench found, written into the page that shows it, its report beside.
//!
//! Never: touches a figure.

use std::fmt::Write;
use std::fs;

use serde_json::Value;

use crate::publish::{gib, number, put, table, text};
use crate::run::{Done, root};

/// What `make bench` leaves behind.
const REPORT: &str = "target/bench/report.json";

const PAGE: &str = "docs/performance.md";

/// The report as it is, for whoever wants more than the page says.
const RAW: &str = "docs/performance.json";

/// Writes the figures into the page.
pub(crate) fn run() -> Done {
    let text = fs::read_to_string(root().join(REPORT))
        .map_err(|error| format!("{REPORT}: {error}; `make bench` writes it"))?;
    let report: Value =
        serde_json::from_str(&text).map_err(|error| format!("{REPORT}: {error}"))?;
    whole(&report)?;
    put(PAGE, &figures(&report))?;
    fs::write(root().join(RAW), text).map_err(|error| format!("{RAW}: {error}"))?;
    println!("{RAW}");
    Ok(())
}

/// Is it of a run that says all, of a commit that others can have, and is every line something to publish.
fn whole(report: &Value) -> Done {
    if report["scale"] != "full" {
        let scale = &report["scale"];
        return Err(format!("{REPORT} is of a run of {scale}; `make bench` makes a full one"));
    }
    let commit = report["versions"]["commit"].as_str().unwrap_or("-dirty");
    if commit.ends_with("-dirty") {
        return Err(format!("{REPORT} is of no commit ({commit}); commit, and `make bench` again"));
    }
    let lines = report["goals"].as_array().into_iter().flatten();
    let void = lines.filter(|line| matches!(line["verdict"].as_str(), Some("void" | "missing")));
    let void: Vec<&str> = void.filter_map(|line| line["what"].as_str()).collect();
    if !void.is_empty() {
        return Err(format!("{REPORT} has lines that say nothing: {}", void.join("; ")));
    }
    Ok(())
}

fn figures(report: &Value) -> String {
    let mut page = circumstances(report);
    page += "| row | what | reach | found | turns | |\n|---|---|---:|---:|---|---|\n";
    for goal in report["goals"].as_array().into_iter().flatten() {
        _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} |",
            text(&goal["row"]),
            text(&goal["what"]),
            text(&goal["reach"]),
            number(&goal["found"]),
            turns(goal),
            text(&goal["verdict"]),
        );
    }
    let rows = report["trials"].as_array().map_or(&[][..], Vec::as_slice);
    page += &measured_anew(rows);
    rows.iter().for_each(|row| page += &table(row, false));
    page
}

/// Rows whose figures are not those of the first time, and how often each was measured anew.
fn measured_anew(rows: &[Value]) -> String {
    let anew = rows.iter().filter_map(|row| {
        let times = row["figures"]["measured anew"].as_f64().filter(|times| *times > 0.0)?;
        Some(format!("{} ({times})", text(&row["id"])))
    });
    let anew: Vec<String> = anew.collect();
    let anew = if anew.is_empty() { "none".to_owned() } else { anew.join(", ") };
    format!("\nRows that were measured anew, since a line was void, and how often: {anew}.\n")
}

/// Between which turns it lies.
fn turns(goal: &Value) -> String {
    match (&goal["from"], &goal["to"]) {
        (Value::Null, _) | (_, Value::Null) => String::new(),
        (from, to) => format!("{} to {}", number(from), number(to)),
    }
}

/// When, on what, and beside whom.
fn circumstances(report: &Value) -> String {
    let machine = &report["machine"];
    let versions = report["versions"].as_object().into_iter().flatten();
    let versions: Vec<String> =
        versions.map(|(name, version)| format!("{name} ({})", text(version))).collect();
    format!(
        "Measured {} on {} ({} cores, {}, Linux {}, congestion control {}), durability `fsync` unless said otherwise.\n\
         Beside each other: {}.\n\n",
        text(&report["date"]),
        text(&machine["cpu"]),
        machine["cores"],
        gib(&text(&machine["memory"])),
        text(&machine["kernel"]),
        text(&machine["congestion_control"]),
        versions.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_was_reached_beside_whom() {
        let report = serde_json::json!({
            "date": "2026-11-23", "machine": {"congestion_control": "cubic"}, "versions": {"Bun": "1.4"},
            "goals": [
                {"row": "dense", "what": "CPU", "reach": "≤ 1.3", "found": 1.25, "from": 1.2, "to": 1.28, "verdict": "reached"},
                {"row": "log", "what": "p99", "reach": "≤ 5", "found": 0.5, "from": null, "to": null, "verdict": "reached"},
            ],
            "trials": [
                {"id": "dense", "title": "hot", "table": {"columns": ["µs"], "rows": [["100 members", "", [0.25]]]},
                    "figures": {"measured anew": 2.0}},
                {"id": "log", "title": "pages", "figures": {"measured anew": 0.0}, "table": {"columns": [], "rows": []}},
            ],
        });
        let page = figures(&report);
        assert!(page.contains("congestion control cubic") && page.contains("Bun (1.4)"), "{page}");
        assert!(
            page.contains("| dense | CPU | ≤ 1.3 | 1.25 | 1.20 to 1.28 | reached |\n"),
            "{page}"
        );
        assert!(page.contains("| log | p99 | ≤ 5 | 0.50 |  | reached |\n"), "{page}");
        assert!(
            page.contains("\ndense, hot:\n") && page.contains("| 100 members | 0.25 |\n"),
            "{page}"
        );
        assert!(!page.contains("log, pages"), "{page}");
        assert!(page.contains(" and how often: dense (2).\n"), "{page}");
    }

    #[test]
    fn what_says_nothing_is_not_published() {
        let report = |scale, commit, verdict| {
            whole(&serde_json::json!({
                "scale": scale, "versions": {"commit": commit},
                "goals": [{"what": "CPU", "verdict": verdict}],
            }))
        };
        assert_eq!(report("full", "abc1234", "reached"), Ok(()));
        assert_eq!(report("full", "abc1234", "short"), Ok(()), "what falls short is told");
        let why = report("quick", "abc1234", "reached").unwrap_err();
        assert!(why.contains("a run of \"quick\""), "{why}");
        let why = report("full", "abc1234-dirty", "reached").unwrap_err();
        assert!(why.contains("of no commit (abc1234-dirty)"), "{why}");
        assert!(report("full", "abc1234", "void").unwrap_err().contains("say nothing: CPU"));
    }
}
