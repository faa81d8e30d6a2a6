//! Conformance: the Autobahn cases against a build of the server that says back what it hears.
//!
//! The verdicts are kept in the repository and compared, so that no change of the codec changes one unseen.
//! Of the cases of compression (12 and 13) those that want a small window are not run by the suite: the server
//! takes no such offer, and they are kept as unimplemented.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::part::Part;
use crate::run::{Done, command, root};
use crate::tools;

/// What `make conformance` builds, apart from the server itself.
const SERVER: &str = "target/conformance/debug/tertulia";
const DATA: &str = "target/conformance/data";
const REPORTS: &str = "target/autobahn/reports";

/// The verdicts as they should be.
const KEPT: &str = "crates/server/tests/conformance.json";

const CASES: usize = 517;

/// The suite takes a third of it; a case that never ends is none that passed.
const SECONDS_MAX: u32 = 600;

/// Of what was said, of how it closed, and the code in our close frame.
type Verdict = (String, String, Option<u64>);

type Verdicts = BTreeMap<Case, Verdict>;

/// A case's number, in whose order a reader looks for it.
type Case = Vec<u32>;

/// Runs the cases and compares.
pub(crate) fn run(report: Option<&str>) -> Done {
    let mut part = Part::begin("T22", "the Autobahn cases against the WebSocket");
    let done = compare(&mut part);
    part.end(report, done)
}

fn compare(part: &mut Part) -> Done {
    let found = found()?;
    let said = |word: &str| found.values().filter(|(said, ..)| said == word).count();
    part.figure("cases", found.len());
    part.figure("ok", said("OK"));
    part.figure("informational", said("INFORMATIONAL"));
    part.figure("failed", found.values().filter(|verdict| is_failed(verdict)).count());
    let kept = fs::read_to_string(root().join(KEPT)).map_err(|error| format!("{KEPT}: {error}"))?;
    judge(&found, &kept_verdicts(&kept).ok_or(format!("{KEPT}: not what was written there"))?)?;
    println!("conformance: {} cases, none failed, none changed", found.len());
    Ok(())
}

/// Runs the cases and keeps what came of them, unless one failed.
pub(crate) fn keep() -> Done {
    let found = found()?;
    judge(&found, &found)?;
    fs::write(root().join(KEPT), text(&found)).map_err(|error| format!("{KEPT}: {error}"))
}

/// What the suite says of a server that runs as long as it asks.
fn found() -> Done<Verdicts> {
    let server = Server::start()?;
    // What an earlier run left must not be taken for this one's.
    let _ = fs::remove_dir_all(root().join(REPORTS));
    let suite = tools::suite("kosoku");
    let line = format!(
        "timeout {SECONDS_MAX} {} ws://{}/conformance/echo -p 2 -o {REPORTS}",
        suite.display(),
        server.address
    );
    println!("$ {line}");
    // Its own opinion of the whole is not asked for: a case that fails is told below.
    let ended = command(&line).status().map_err(|error| format!("{line}: {error}"))?;
    drop(server);
    let path = root().join(REPORTS).join("index.json");
    let index = fs::read_to_string(&path)
        .map_err(|error| format!("{}: {error}; the suite ended with {ended}", path.display()))?;
    verdicts(&index).ok_or("index.json has another shape than expected".to_owned())
}

/// The one server that the suite asks for.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Done<Server> {
        let data = root().join(DATA);
        let _ = fs::remove_dir_all(&data);
        let line =
            format!("{SERVER} serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --data {DATA}");
        let mut process = command(&line)
            // A stranger is told to go after that long, and here everyone is one.
            .env("TERTULIA_LIMITS__HELLO_S", "60")
            .env("TERTULIA_SERVER__LOG_LEVEL", "error")
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{SERVER}: {error}; `make conformance` builds it"))?;
        let mut ready = String::new();
        if let Some(said) = process.stdout.take() {
            let _ = BufReader::new(said).read_line(&mut ready);
        }
        let mut server = Server { process, address: String::new() };
        let address = ready.split_whitespace().find_map(|word| word.strip_prefix("http://"));
        server.address = address.ok_or(format!("{SERVER} did not start: {ready:?}"))?.to_owned();
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has nothing that is worth an orderly end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the suite found, of the one server that it was pointed at.
fn verdicts(index: &str) -> Option<Verdicts> {
    let index: Value = serde_json::from_str(index).ok()?;
    let cases = index.as_object()?.values().next()?.as_object()?;
    let verdict = |(name, entry): (&String, &Value)| {
        let word = |key: &str| entry[key].as_str().map(str::to_owned);
        let code = entry["remoteCloseCode"].as_u64();
        Some((case(name)?, (word("behavior")?, word("behaviorClose")?, code)))
    };
    cases.iter().map(verdict).collect()
}

fn kept_verdicts(text: &str) -> Option<Verdicts> {
    let kept: BTreeMap<String, Verdict> = serde_json::from_str(text).ok()?;
    kept.into_iter().map(|(name, verdict)| Some((case(&name)?, verdict))).collect()
}

/// A case a line.
fn text(verdicts: &Verdicts) -> String {
    let line = |(case, verdict): (&Case, &Verdict)| {
        format!("{:?}: {}", name(case), serde_json::json!(verdict))
    };
    let lines: Vec<String> = verdicts.iter().map(line).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

fn case(name: &str) -> Option<Case> {
    name.split('.').map(|number| number.parse().ok()).collect()
}

fn name(case: &[u32]) -> String {
    case.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// The suite calls a case that it could not even run an error.
fn is_failed((said, closed, _): &Verdict) -> bool {
    [said, closed].iter().any(|word| word.starts_with("FAILED") || *word == "ERROR")
}

/// Errors: every case that failed, every one that is not as it was kept, and a number of them that is wrong.
fn judge(found: &Verdicts, kept: &Verdicts) -> Done {
    let mut wrong = Vec::new();
    if found.len() != CASES {
        wrong.push(format!("{} cases were run, there are {CASES}", found.len()));
    }
    for (case, verdict @ (said, closed, _)) in found {
        if is_failed(verdict) {
            wrong.push(format!("{} failed: {said}, closing {closed}", name(case)));
        }
    }
    let all: std::collections::BTreeSet<&Case> = found.keys().chain(kept.keys()).collect();
    for case in all {
        let (now, before) = (found.get(case), kept.get(case));
        if now != before {
            wrong.push(format!("{} is {}, it was {}", name(case), word(now), word(before)));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}\nconformance: {} cases are not as they should be; {REPORTS}/index.html tells more, and \
         `cargo xtask conformance --keep` keeps verdicts that changed for a reason",
        wrong.join("\n"),
        wrong.len()
    ))
}

fn word(verdict: Option<&Verdict>) -> String {
    verdict.map_or("absent".to_owned(), |verdict| serde_json::json!(verdict).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many cases as there are; the first as given.
    fn all(first: &str, closing: &str) -> Verdicts {
        let verdict = |word: &str, close: &str| (word.to_owned(), close.to_owned(), Some(1000));
        let mut all: Verdicts =
            (0..CASES as u32).map(|number| (vec![1, number], verdict("OK", "OK"))).collect();
        all.insert(vec![1, 0], verdict(first, closing));
        all
    }

    #[test]
    fn a_case_that_fails_changes_or_is_missing_is_told() {
        let good = all("OK", "OK");
        assert_eq!(judge(&good, &good), Ok(()));
        for (first, closing) in [("FAILED", "OK"), ("ERROR", "OK"), ("OK", "FAILED BY CLIENT")] {
            let bad = all(first, closing);
            let why = judge(&bad, &bad).unwrap_err();
            assert!(why.starts_with(&format!("1.0 failed: {first}, closing {closing}\n")), "{why}");
        }
        let why = judge(&all("NON-STRICT", "OK"), &good).unwrap_err();
        assert!(why.starts_with(r#"1.0 is ["NON-STRICT","OK",1000], it was ["OK","OK",1000]"#));
        let mut fewer = good.clone();
        fewer.remove(&vec![1, 7]);
        let why = judge(&fewer, &good).unwrap_err();
        assert!(why.starts_with("516 cases were run, there are 517\n1.7 is absent"), "{why}");
    }

    #[test]
    fn what_was_kept_is_read_again() {
        let index = r#"{"127.0.0.1:1": {"1.10.2": {"behavior": "OK", "behaviorClose": "UNCLEAN",
            "duration": 3, "remoteCloseCode": null}, "1.2.1": {"behavior": "NON-STRICT",
            "behaviorClose": "OK", "duration": 3, "remoteCloseCode": 1002}}}"#;
        let found = verdicts(index).unwrap();
        let kept = text(&found);
        assert_eq!(
            kept,
            "{\n\"1.2.1\": [\"NON-STRICT\",\"OK\",1002],\n\"1.10.2\": [\"OK\",\"UNCLEAN\",null]\n}\n"
        );
        assert_eq!(kept_verdicts(&kept), Some(found));
    }
}
