//! Page: what the trials found, as one HTML file with its plots in it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

/// Width and height of a plot, in its own units.
const PLOT: (f64, f64) = (640.0, 220.0);

/// Colours of lines, told apart by those who see few colours, too.
const COLOURS: [&str; 4] = ["#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce"];

/// Lines of a plot, by name.
type Lines = Vec<(String, Vec<(f64, f64)>)>;

/// What the trials ran on.
pub fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("", |(_, value)| value).trim().to_owned()
    };
    let cpu = read("/proc/cpuinfo");
    json!({
        "cpu": field(&cpu, "model name"),
        "cores": cpu.lines().filter(|line| line.starts_with("processor")).count(),
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}

/// The date, in UTC, like 2026-11-22.
pub fn today() -> String {
    let days = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs() / 86_400;
    // Gregorian calendar from a count of days, <https://howardhinnant.github.io/date_algorithms.html>.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (month, day) =
        (if month < 10 { month + 3 } else { month - 9 }, day - (153 * month + 2) / 5 + 1);
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

/// The page of a report.
pub fn draw(report: &Value) -> String {
    let title = escaped(report["title"].as_str().unwrap_or("Proof"));
    let mut page = format!("{HEAD}<title>{title}</title>");
    let machine = &report["machine"];
    let drawn = report["seed"].as_u64().map_or(String::new(), |seed| format!(", seed {seed}"));
    let facts = format!(
        "{}{drawn}, scale {}; {}, {} cores, {}, Linux {}",
        text(&report["date"]),
        text(&report["scale"]),
        text(&machine["cpu"]),
        machine["cores"],
        text(&machine["memory"]),
        text(&machine["kernel"]),
    );
    _ = write!(page, "<h1>{title}</h1><p>{}</p>", escaped(&facts));
    draw_versions(&mut page, report);
    draw_goals(&mut page, &report["goals"]);
    let trials = || report["trials"].as_array().into_iter().flatten();
    page.push_str("<table class=all>");
    for trial in trials() {
        let (id, (class, verdict)) = (escaped(text(&trial["id"])), verdict(trial));
        _ = write!(
            page,
            "<tr><td><a href='#{id}'>{id}</a><td>{}<td class=n>{:.0} s<td><b class={class}>{verdict}</b>",
            escaped(text(&trial["title"])),
            trial["took_s"].as_f64().unwrap_or_default(),
        );
    }
    page.push_str("</table>");
    trials().for_each(|trial| draw_trial(&mut page, trial));
    page
}

/// What ran beside each other, and what else it depends on, where a report says so.
fn draw_versions(page: &mut String, report: &Value) {
    let Some(versions) = report["versions"].as_object() else { return };
    let versions = versions.iter().map(|(name, version)| format!("{name}: {}", text(version)));
    let versions: Vec<String> = versions.collect();
    let machine = &report["machine"];
    _ = write!(
        page,
        "<p>{}; congestion control {}, server on processor {}, crowd on {}</p>",
        escaped(&versions.join("; ")),
        escaped(text(&machine["congestion_control"])),
        machine["processors"]["server"],
        machine["processors"]["load"],
    );
}

/// What was to be reached, and what was.
fn draw_goals(page: &mut String, goals: &Value) {
    let Some(goals) = goals.as_array().filter(|goals| !goals.is_empty()) else { return };
    page.push_str(
        "<table class=all><tr><th><th>what<th class=n>reach<th class=n>found<th class=n>turns<th>",
    );
    for goal in goals {
        let verdict = text(&goal["verdict"]);
        let class = match verdict {
            "reached" => "good",
            "told" => "",
            _ => "bad",
        };
        _ = write!(
            page,
            "<tr><td>{}<td>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class='{class}'>{verdict}",
            escaped(text(&goal["row"])),
            escaped(text(&goal["what"])),
            escaped(text(&goal["reach"])),
            number(&goal["found"]),
            turns(goal),
        );
    }
    page.push_str("</table>");
}

/// Between which turns a figure lies, if it has turns.
fn turns(goal: &Value) -> String {
    match (&goal["from"], &goal["to"]) {
        (Value::Null, _) | (_, Value::Null) => String::new(),
        (from, to) => format!("{} to {}", number(from), number(to)),
    }
}

/// Its class, and its word.
fn verdict(trial: &Value) -> (&'static str, &'static str) {
    match trial["wrongs_in_all"].as_u64() {
        Some(0) => ("good", "held"),
        _ => ("bad", "broken"),
    }
}

fn draw_trial(page: &mut String, trial: &Value) {
    let (class, verdict) = verdict(trial);
    _ = write!(
        page,
        "<section id='{0}'><h2>{0} <small>{1}</small> <b class={class}>{verdict}</b></h2><table>",
        escaped(text(&trial["id"])),
        escaped(text(&trial["title"])),
    );
    for (name, value) in trial["figures"].as_object().into_iter().flatten() {
        _ = write!(page, "<tr><td>{}<td class=n>{}", escaped(name), number(value));
    }
    let took = trial["took_s"].as_f64().unwrap_or_default();
    _ = write!(page, "<tr><td>seconds<td class=n>{took:.1}</table>");
    for wrong in trial["wrongs"].as_array().into_iter().flatten() {
        _ = write!(page, "<p class=bad>{}</p>", escaped(text(wrong)));
    }
    draw_table(page, &trial["table"]);
    let mut plots = BTreeMap::<String, Lines>::new();
    let lines = serde_json::from_value::<BTreeMap<String, Vec<(f64, f64)>>>(trial["lines"].clone());
    for (name, points) in lines.unwrap_or_default() {
        let (plot, line) = name.split_once(" | ").unwrap_or(("", &name));
        plots.entry(plot.to_owned()).or_default().push((line.to_owned(), points));
    }
    plots.iter().for_each(|(plot, lines)| draw_plot(page, plot, lines));
    page.push_str("</section>");
}

fn draw_table(page: &mut String, table: &Value) {
    let Some(rows) = table["rows"].as_array().filter(|rows| !rows.is_empty()) else { return };
    page.push_str("<div class=wide><table><tr><th><th>");
    for column in table["columns"].as_array().into_iter().flatten() {
        _ = write!(page, "<th class=n>{}", escaped(text(column)));
    }
    for row in rows {
        _ = write!(page, "<tr><td>{}<td>{}", escaped(text(&row[0])), escaped(text(&row[1])));
        for figure in row[2].as_array().into_iter().flatten() {
            _ = write!(page, "<td class=n>{}", number(figure));
        }
    }
    page.push_str("</table></div>");
}

/// A plot with a title of its own is one whose lines are named `title | line`.
fn draw_plot(page: &mut String, title: &str, lines: &Lines) {
    if !title.is_empty() {
        _ = write!(page, "<h3>{}</h3>", escaped(title));
    }
    let points = || lines.iter().flat_map(|(_, points)| points);
    let most = |value: fn(&(f64, f64)) -> f64| points().map(value).fold(1e-9, f64::max);
    let (x_max, y_max) = (most(|point| point.0), most(|point| point.1));
    let (width, height) = PLOT;
    _ = write!(page, "<svg viewBox='-60 -10 {} {}' role=img>", width + 70.0, height + 40.0);
    _ = write!(page, "<path d='M0 0V{height}H{width}' class=axis />");
    _ = write!(page, "<text x=-6 y=8 text-anchor=end>{}</text>", short(y_max));
    _ = write!(page, "<text x={width} y={} text-anchor=end>{}</text>", height + 20.0, short(x_max));
    for ((name, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let places = points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", x / x_max * width, height - y / y_max * height));
        let places: Vec<String> = places.collect();
        _ = write!(page, "<polyline fill=none stroke='{colour}' points='{}'/>", places.join(" "));
        _ = write!(page, "<title>{}</title>", escaped(name));
    }
    page.push_str("</svg><p class=key>");
    for ((name, _), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        _ = write!(page, "<span style='color:{colour}'>{}</span> ", escaped(name));
    }
    page.push_str("</p>");
}

fn short(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// Whole numbers whole, others with two places; – for what is no number.
fn number(value: &Value) -> String {
    match value.as_f64() {
        Some(value) if value.fract() == 0.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.2}"),
        None if value.is_null() => "–".to_owned(),
        None => value.to_string(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const HEAD: &str = "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><style>
body{font:15px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;color:#1c1917;background:#fff}
h2{margin:2rem 0 .3rem;font-size:1.1rem}small{font-weight:400;color:#57534e}
table{border-collapse:collapse}td{padding:.1rem 1rem .1rem 0}h3{font-weight:400;font-size:1rem;margin:1rem 0 .3rem}th{font-weight:400;text-align:left;color:#57534e;padding-right:1rem}.all{margin:1rem 0}.wide{overflow-x:auto}.wide td:first-child{white-space:nowrap}td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.good{color:#4d7c0f}.bad{color:#b91c1c}.key span{margin-right:1rem}
svg{width:100%}.axis{fill:none;stroke:#a8a29e}polyline{stroke-width:1.5}text{font-size:12px;fill:#57534e}
@media(prefers-color-scheme:dark){body{color:#e7e5e4;background:#1c1917}small,text,th{color:#a8a29e;fill:#a8a29e}}
</style>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_what_held_what_did_not_and_why() {
        let report = json!({"date": "2026-11-22", "seed": 7, "scale": "soak", "machine": machine(), "trials": [
            {"id": "T01", "title": "one", "figures": {"acked": 3}, "wrongs": [], "wrongs_in_all": 0,
             "lines": {"seconds": [[0.0, 1.0], [1.0, 2.0]]}, "took_s": 1.0},
            {"id": "T02", "title": "two", "figures": {}, "wrongs": ["a <b> was lost"], "wrongs_in_all": 1,
             "table": {"columns": ["ms"], "rows": [["A01", "a case", [1.5]]]}, "took_s": 2.0},
        ]});
        let page = draw(&report);
        assert!(page.contains("<td>T01") || page.contains("'#T01'"));
        assert!(
            page.contains("held")
                && page.contains("broken")
                && page.contains("a &lt;b&gt; was lost")
        );
        assert!(page.contains("<polyline") && page.contains("a case"));
        assert!(!page.contains("<h3>"));
    }

    #[test]
    fn a_report_with_goals_shows_what_was_reached_beside_which_versions() {
        let report = json!({"title": "Bench", "versions": {"Bun": "1.4"}, "goals": [
            {"row": "dense", "what": "CPU <1>", "reach": "≤ 1.3", "found": 1.25, "verdict": "reached"},
            {"row": "idle", "what": "KiB", "reach": "≤ 1", "found": null, "verdict": "missing"},
        ], "trials": [{"id": "dense", "title": "one", "figures": {}, "wrongs": [], "wrongs_in_all": 0,
            "lines": {"by members | ours": [[1.0, 1.0]], "by rooms | ours": [[1.0, 1.0]]}, "took_s": 1.0}]});
        let page = draw(&report);
        assert!(page.contains("Bun: 1.4") && page.contains("CPU &lt;1&gt;"));
        assert!(page.contains("'good'>reached") && page.contains("'bad'>missing"));
        assert_eq!(page.matches("<polyline").count(), 2);
        assert!(page.contains("<h3>by members</h3>") && page.contains("<h3>by rooms</h3>"));
    }

    #[test]
    fn today_is_a_date() {
        let today = today();
        assert!(today.as_str() > "2026-01-01" && today.len() == 10, "{today}");
    }
}
