//! Fuzz: bytes that nobody thought of, against what has to hold for any.
//!
//! The properties stand in ordinary tests, which try what is kept in `fuzz/corpus`; here libFuzzer looks for
//! more. It runs on a stable compiler, so without sanitizers: there is no unsafe code for them to watch.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::part::Part;
use crate::run::{Done, root, show, tee};
use crate::tools;

#[path = "../../fuzz/lines.rs"]
mod lines;

/// One property to look for exceptions from.
struct Target {
    name: &'static str,
    /// The longest input that is of use.
    bytes_max: usize,
    /// The golden rows to begin from: a file, and the key of a text in its rows.
    golden: Option<(&'static str, &'static str)>,
}

const TARGETS: &[Target] = &[
    Target { name: "frames", bytes_max: 1024, golden: None },
    Target { name: "commands", bytes_max: 2048, golden: Some(("commands.json", "in")) },
    Target { name: "heard", bytes_max: 2048, golden: Some(("objects.json", "wire")) },
    Target { name: "cursors", bytes_max: 512, golden: None },
    Target { name: "tokens", bytes_max: 2048, golden: None },
    Target { name: "settings", bytes_max: 2048, golden: None },
    Target { name: "queries", bytes_max: 512, golden: None },
];

/// An input that takes longer is a fault, too.
const INPUT_SECONDS_MAX: u32 = 5;

/// None of the targets has a reason to hold more.
const MEMORY_MB_MAX: u32 = 512;

/// Runs every target for so long, one after the other, until one finds something.
pub(crate) fn run(seconds: &str, report: Option<&str>) -> Done {
    let seconds =
        seconds.parse().map_err(|error| format!("{seconds}: no number of seconds: {error}"))?;
    let mut part = Part::begin("FUZZ", "any bytes at every parser");
    part.figure("seconds a target", seconds);
    let done = TARGETS.iter().try_for_each(|target| target.look(seconds, &mut part));
    part.end(report, done)
}

/// Keeps of all that was found as little as reaches the same code.
pub(crate) fn keep() -> Done {
    tools::fuzz()?;
    for target @ Target { name, bytes_max, .. } in TARGETS {
        let [found, seeds, few] = ["found", "seeds", "few"].map(|what| folder(what, name));
        target.write_seeds(&seeds)?;
        anew(&few)?;
        let folders = format!("{} {} {}", few.display(), found.display(), seeds.display());
        let line = cargo_fuzz(name);
        show(&format!(
            "{line} {folders} -- -set_cover_merge=1 -use_counters=0 -max_len={bytes_max}"
        ))?;
        let path = kept_path(name);
        let before = fs::read_to_string(&path).unwrap_or_default();
        let text = told(&before, &inputs_in(&few)?);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// An input, a line of the file in which such are kept.
pub(crate) fn tell(path: &str) -> Done {
    let bytes = fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    println!("{}", lines::line(&bytes));
    Ok(())
}

fn way_out(name: &str) -> String {
    format!(
        "fuzz: {name} does not hold. `cargo xtask fuzz --tell FILE` tells the input that is named above as a \
         line for fuzz/corpus/{name}.txt; put it there below a line that begins with # and says what was wrong"
    )
}

impl Target {
    fn look(&self, seconds: u64, part: &mut Part) -> Done {
        let Target { name, bytes_max, .. } = self;
        tools::fuzz()?;
        let (found, seeds) = (folder("found", name), folder("seeds", name));
        fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
        self.write_seeds(&seeds)?;
        let (found, seeds) = (found.display(), seeds.display());
        let said = tee(&format!(
            "{} {found} {seeds} -- -max_total_time={seconds} -max_len={bytes_max} \
             -timeout={INPUT_SECONDS_MAX} -rss_limit_mb={MEMORY_MB_MAX} -print_final_stats=1",
            cargo_fuzz(name),
        ))
        .map_err(|why| format!("{why}\n{}", way_out(name)))?;
        let number = |before: &str| {
            let text = said.rsplit_once(before).map_or("", |(_, text)| text.trim_start());
            text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        let read = |before: &str| number(before).ok_or(format!("{name}: no {before} in its words"));
        part.case(
            name,
            &[
                ("inputs tried", read("stat::number_of_executed_units:")?),
                ("coverage", read("cov:")?),
            ],
        );
        Ok(())
    }

    /// What is kept and the golden rows, a file each.
    fn write_seeds(&self, folder: &Path) -> Done {
        anew(folder)?;
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let mut seeds = lines::inputs(&read(&kept_path(self.name))?);
        if let Some((file, key)) = self.golden {
            let path = root().join("crates/protocol/golden").join(file);
            let rows: Vec<Value> = serde_json::from_str(&read(&path)?)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            // A text that is given as so many times another is too long to begin from.
            seeds.extend(rows.iter().filter_map(|row| Some(row[key].as_str()?.into())));
        }
        for (place, bytes) in seeds.iter().enumerate() {
            let path = folder.join(format!("{place:04}"));
            fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }
}

/// A file of kept inputs: first what a person wrote down and said why, then what was found.
fn told(before: &str, found: &[Vec<u8>]) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut old = before.lines().peekable();
    while let Some(line) = old.next() {
        if line.starts_with('#') {
            lines.push(line.to_owned());
            lines.extend(old.next_if(|next| !next.starts_with('#')).map(str::to_owned));
        }
    }
    let mut fresh: Vec<String> =
        found.iter().map(|bytes| lines::line(bytes)).filter(|line| !line.is_empty()).collect();
    fresh.retain(|line| !lines.contains(line));
    fresh.sort();
    lines.extend(fresh);
    lines.join("\n") + "\n"
}

fn inputs_in(folder: &Path) -> Done<Vec<Vec<u8>>> {
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(told)?;
    entries.map(|entry| fs::read(entry.map_err(told)?.path()).map_err(told)).collect()
}

fn anew(folder: &Path) -> Done {
    // There may be none, which is as well.
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn folder(what: &str, name: &str) -> PathBuf {
    root().join("target/fuzz").join(what).join(name)
}

fn kept_path(name: &str) -> PathBuf {
    root().join(format!("fuzz/corpus/{name}.txt"))
}

fn cargo_fuzz(name: &str) -> String {
    let tool = tools::installed("cargo-fuzz");
    format!("{} run -s none --target-dir target/fuzz {name}", tool.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_input_is_a_line_and_back() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        for input in [&all[..], b"# no reason", b"blank at the end ", b"\\x41", b"{\"t\":\"pong\"}"]
        {
            let line = lines::line(input);
            assert!(line.is_ascii() && !line.contains(char::is_control), "{line}");
            assert_eq!(lines::inputs(&format!("{line}\n")), [input]);
        }
        assert_eq!(lines::line(b"{\"t\":\"pong\"}"), r#"{"t":"pong"}"#);
    }

    #[test]
    fn what_was_written_down_by_a_person_stays() {
        let before = "# a break in a key\n\"a\\x0ab\" = 1\nold\n";
        let text =
            told(before, &[b"new".to_vec(), b"\"a\nb\" = 1".to_vec(), b"even newer".to_vec()]);
        assert_eq!(text, "# a break in a key\n\"a\\x0ab\" = 1\neven newer\nnew\n");
    }
}
