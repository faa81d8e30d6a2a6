//! Instructions: what the hot paths cost, counted by valgrind and held against what was kept.
//!
//! A count does not depend on what else the machine does, so a change that makes a path longer shows at once and
//! every time; what it does to latency and throughput is for `make bench` to say.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::run::{Done, command, read, root, version};
use crate::{steps, tools};

/// The counts as they should be.
const KEPT: &str = "xtask/instructions.json";

const BENCHES: &str = "cargo bench --locked -p tertulia-protocol -p tertulia-rooms \
                       --bench instructions -- --output-format=json";

/// So much more or less is no news.
///
/// The same sources make the same instructions, in whatever folder they lie, and from run to run seeds of hashes
/// move a few in ten thousand. What moves more is what the compiler inlines: a change that a path never passes
/// was seen to cost it 1.4 %. And libc's share: which `memcpy` it takes depends on the processor, and among those
/// with AVX2 that was up to 1.2 %. Without AVX2 it was up to 21 %, so there nothing is compared.
const PERCENT: u64 = 3;

/// Instructions by bench: `rooms::deliver::to_100`.
type Counts = BTreeMap<String, u64>;

/// What counts depend on beside our sources.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    rustc: String,
    host: String,
    libc: String,
    avx2: bool,
}

/// Runs the benches and compares.
pub(crate) fn run() -> Done {
    let kept = fs::read_to_string(root().join(KEPT)).map_err(|error| format!("{KEPT}: {error}"))?;
    let (there, kept) = parse(&kept).ok_or(format!("{KEPT}: not what was written there"))?;
    let (here, found) = (Place::here()?, found()?);
    if here != there {
        println!("counts were kept with {there:?}, this is {here:?}");
        return steps::note(
            "instructions: NOT COMPARED, they were kept with another compiler, libc or processor",
        );
    }
    for line in fewer(&found, &kept) {
        println!("{line}");
        steps::note(&format!("instructions: {line}"))?;
    }
    judge(&found, &kept)?;
    println!("instructions: {} benches, none needs more than was kept", found.len());
    Ok(())
}

/// Runs the benches and keeps what they need.
pub(crate) fn keep() -> Done {
    let text = text(&Place::here()?, &found()?);
    fs::write(root().join(KEPT), text).map_err(|error| format!("{KEPT}: {error}"))
}

/// What every bench needs.
fn found() -> Done<Counts> {
    let runner = tools::installed("gungraun-runner");
    if !runner.exists() {
        return Err(format!("{} is not there; `make tools` installs it", runner.display()));
    }
    println!("$ {BENCHES}");
    let ran = command(BENCHES)
        .env("GUNGRAUN_RUNNER", runner)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{BENCHES}: {error}"))?;
    let said = String::from_utf8_lossy(&ran.stdout);
    if !ran.status.success() {
        return Err(format!("{said}{BENCHES}: {}", ran.status));
    }
    let found = counts(&said).ok_or("the benches tell of themselves in another shape")?;
    for (bench, count) in &found {
        println!("{bench:<36}{count:>8}");
    }
    Ok(found)
}

/// One bench a line, as the runner tells of it.
fn counts(said: &str) -> Option<Counts> {
    let count = |line: &str| {
        let bench: Value = serde_json::from_str(line).ok()?;
        let home = bench["package_dir"].as_str()?.rsplit('/').next()?;
        let name =
            format!("{home}::{}::{}", bench["function_name"].as_str()?, bench["id"].as_str()?);
        let values = &bench["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"];
        Some((name, values["new"].as_u64()?))
    };
    said.lines().filter(|line| !line.is_empty()).map(count).collect()
}

impl Place {
    fn here() -> Done<Place> {
        let about = read("rustc --version --verbose")?;
        let after = |word: &str| about.lines().find_map(|line| line.strip_prefix(word));
        let rustc = after("rustc ").ok_or("rustc does not tell its version")?;
        let host = after("host: ").ok_or("rustc does not name its host")?;
        let libc = version("ldd --version").ok_or("ldd: not found")?;
        let libc = libc.rsplit(' ').next().unwrap_or_default();
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Ok(Place {
            rustc: rustc.to_owned(),
            host: host.to_owned(),
            libc: libc.to_owned(),
            avx2: processor.split_whitespace().any(|flag| flag == "avx2"),
        })
    }
}

fn parse(kept: &str) -> Option<(Place, Counts)> {
    let kept: Value = serde_json::from_str(kept).ok()?;
    let word = |key: &str| Some(kept[key].as_str()?.to_owned());
    let place = Place {
        rustc: word("rustc")?,
        host: word("host")?,
        libc: word("libc")?,
        avx2: kept["avx2"].as_bool()?,
    };
    let counts = kept["instructions"].as_object()?.iter();
    let counts = counts.map(|(bench, count)| Some((bench.clone(), count.as_u64()?)));
    Some((place, counts.collect::<Option<Counts>>()?))
}

fn text(Place { rustc, host, libc, avx2 }: &Place, counts: &Counts) -> String {
    let kept = json!({
        "rustc": rustc, "host": host, "libc": libc, "avx2": avx2, "instructions": counts,
    });
    format!("{kept:#}\n")
}

/// Errors: every bench that needs more than was kept, and every one that only one side knows.
fn judge(found: &Counts, kept: &Counts) -> Done {
    let mut wrong = Vec::new();
    for (bench, now) in found {
        match kept.get(bench) {
            Some(before) if now * 100 > before * (100 + PERCENT) => wrong.push(format!(
                "{bench} needs {now} instructions, {before} were kept: {:.1} % more, at most \
                 {PERCENT} % are let pass",
                percent(*now, *before)
            )),
            Some(_) => {}
            None => wrong.push(format!("{bench} needs {now} instructions, none were kept")),
        }
    }
    let gone = kept.keys().filter(|bench| !found.contains_key(*bench));
    wrong.extend(gone.map(|bench| format!("{bench} was not run")));
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}\ninstructions: {} of {} benches are not as they should be; callgrind_annotate says of a \
         callgrind.*.out in target/gungraun where they went, and `cargo xtask instructions --keep` \
         keeps counts that changed for a reason",
        wrong.join("\n"),
        wrong.len(),
        found.len().max(kept.len())
    ))
}

/// What has become cheaper: good news, but while it is not kept it may be lost again unseen.
fn fewer(found: &Counts, kept: &Counts) -> Vec<String> {
    let both = found.iter().filter_map(|(bench, now)| Some((bench, now, kept.get(bench)?)));
    let fewer = both.filter(|(_, now, before)| *now * 100 < *before * (100 - PERCENT));
    let told = fewer.map(|(bench, now, before)| {
        format!(
            "{bench} needs {now} instructions, {before} were kept: {:.1} % fewer; \
             `cargo xtask instructions --keep` keeps that",
            -percent(*now, *before)
        )
    });
    told.collect()
}

/// How much more `now` is than `before`.
fn percent(now: u64, before: u64) -> f64 {
    (now as f64 / before as f64 - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(read: u64, deliver: u64) -> Counts {
        let named = [("protocol::read", read), ("rooms::deliver", deliver)];
        named.map(|(bench, count)| (bench.to_owned(), count)).into()
    }

    #[test]
    fn a_bench_that_needs_more_than_was_kept_is_told() {
        let kept = two(1000, 60_000);
        assert_eq!(judge(&two(1030, 58_200), &kept), Ok(()));
        let why = judge(&two(1031, 60_000), &kept).unwrap_err();
        let told =
            "protocol::read needs 1031 instructions, 1000 were kept: 3.1 % more, at most 3 %";
        assert!(why.starts_with(told), "{why}");
        assert!(why.contains("--keep") && !why.contains("rooms::deliver"), "{why}");
    }

    #[test]
    fn a_bench_that_only_one_side_knows_is_told() {
        let (kept, mut more) = (two(1000, 60_000), two(1000, 60_000));
        more.insert("rooms::receive".to_owned(), 9000);
        let why = judge(&more, &kept).unwrap_err();
        assert!(
            why.starts_with("rooms::receive needs 9000 instructions, none were kept\n"),
            "{why}"
        );
        let why = judge(&kept, &more).unwrap_err();
        assert!(why.starts_with("rooms::receive was not run\n"), "{why}");
    }

    #[test]
    fn a_bench_that_needs_fewer_is_good_news() {
        let kept = two(1000, 60_000);
        assert!(fewer(&two(970, 60_000), &kept).is_empty());
        let found = two(750, 70_000);
        let told = "protocol::read needs 750 instructions, 1000 were kept: 25.0 % fewer";
        assert!(fewer(&found, &kept)[0].starts_with(told));
        assert_eq!(fewer(&found, &kept).len(), 1);
        assert_eq!(judge(&two(750, 60_000), &kept), Ok(()));
    }

    #[test]
    fn what_was_kept_is_read_again() {
        let place = Place {
            rustc: "1.95.0".to_owned(),
            host: "x86_64-unknown-linux-gnu".to_owned(),
            libc: "2.36".to_owned(),
            avx2: true,
        };
        let kept = text(&place, &two(1000, 60_000));
        assert_eq!(parse(&kept), Some((place, two(1000, 60_000))));
        assert_eq!(parse("{}"), None);
    }

    #[test]
    fn what_the_runner_says_is_read() {
        let line = |name: &str, id: &str, values: Value| {
            let data = json!({"total": {"metrics": {"Ir": {"values": values}}}});
            json!({"package_dir": "crates/rooms", "function_name": name, "id": id,
                "profiles": [{"tool": "Callgrind", "data": data}]})
        };
        let first = line("deliver", "to_100", json!({"new": 60_000}));
        let again = line("receive", "send", json!({"new": 9000, "old": 8000}));
        let found = counts(&format!("{first}\n{again}\n")).unwrap();
        assert_eq!(found["rooms::deliver::to_100"], 60_000);
        assert_eq!(found["rooms::receive::send"], 9000);
        assert_eq!(counts("Gungraun result: Ok."), None);
    }
}
