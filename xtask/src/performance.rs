//! Performance: what the last bench found, written into the page that shows it, its report beside.
//!
//! Never: touches a figure.

use std::fmt::Write;
use std::fs;

use serde_json::Value;

use crate::publish::{gib, number, put};
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
    if report["scale"] != "full" {
        return Err(format!("{REPORT} is of a short run; `make bench` makes a full one"));
    }
    put(PAGE, &figures(&report))?;
    fs::write(root().join(RAW), text).map_err(|error| format!("{RAW}: {error}"))?;
    println!("{RAW}");
    Ok(())
}

fn figures(report: &Value) -> String {
    let mut page = circumstances(report);
    page += "| row | what | reach | found | |\n|---|---|---:|---:|---|\n";
    for goal in report["goals"].as_array().into_iter().flatten() {
        _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            text(&goal["row"]),
            text(&goal["what"]),
            text(&goal["reach"]),
            number(&goal["found"]),
            text(&goal["verdict"]),
        );
    }
    for row in report["trials"].as_array().into_iter().flatten() {
        cases(row, &mut page);
    }
    page
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

/// What a row measured case by case.
fn cases(row: &Value, page: &mut String) {
    let table = &row["table"];
    let Some(rows) = table["rows"].as_array().filter(|rows| !rows.is_empty()) else { return };
    let columns: Vec<String> =
        table["columns"].as_array().into_iter().flatten().map(text).collect();
    _ = writeln!(page, "\n{}, {}:\n", text(&row["id"]), text(&row["title"]));
    let rule = "|---:".repeat(columns.len());
    _ = writeln!(page, "| | {} |\n|---{rule}|", columns.join(" | "));
    for case in rows {
        let figures = case[2].as_array().into_iter().flatten();
        let figures: Vec<String> = figures.map(number).collect();
        _ = writeln!(page, "| {} | {} |", text(&case[0]), figures.join(" | "));
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_was_reached_beside_whom() {
        let report = serde_json::json!({
            "date": "2026-11-23", "machine": {"congestion_control": "cubic"}, "versions": {"Bun": "1.4"},
            "goals": [{"row": "dense", "what": "CPU", "reach": "≤ 1.3", "found": 1.25, "verdict": "reached"}],
            "trials": [
                {"id": "dense", "title": "hot", "table": {"columns": ["µs"], "rows": [["100 members", "", [0.25]]]}},
                {"id": "log", "title": "pages", "table": {"columns": [], "rows": []}},
            ],
        });
        let page = figures(&report);
        assert!(page.contains("congestion control cubic") && page.contains("Bun (1.4)"), "{page}");
        assert!(page.contains("| dense | CPU | ≤ 1.3 | 1.25 | reached |\n"), "{page}");
        assert!(
            page.contains("\ndense, hot:\n") && page.contains("| 100 members | 0.25 |\n"),
            "{page}"
        );
        assert!(!page.contains("log, pages"), "{page}");
    }
}
