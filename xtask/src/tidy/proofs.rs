//! Proofs: every rule of the protocol and every row of bad input has a test or a vector named after it.
//!
//! Names are all that is looked at. Whether a test proves what its name says is for its reader to judge.

use serde_json::Value;

use super::Finding;
use super::rust::{code, tests};
use super::tree::{File, Tree};

const PROTOCOL: &str = "docs/protocol.md";
const GOLDEN: &str = "crates/protocol/golden/";

/// Folders of transcripts: one a file, named as the file is.
const TRANSCRIPTS: &[&str] = &["crates/protocol/golden/client/", "crates/protocol/golden/server/"];

/// The rules of §7 in their order, by their first words, so that a rule that moves takes its tests along.
const SENDING: &[(&str, &str)] = &[
    ("p7_1", "`ok` is sent only after the event is durable"),
    ("p7_2", "Same (user, room, epoch, cid)"),
    ("p7_3", "The dedup lookup comes before every other check"),
    ("p7_4", "After a lost connection resend everything unanswered"),
    ("p7_5", "`prev`, a field of send, edit, del and react"),
    ("p7_6", "Commands of one connection on one room start in arrival order"),
    ("p7_7", "Event kinds"),
    ("p7_8", "Inbox `~` kinds"),
];

/// Bad input, by number.
const BAD_INPUT: &[(&str, &str)] = &[
    ("bad_input_01", "a field that is wrong or missing, or no JSON object"),
    ("bad_input_02", "an unknown command"),
    ("bad_input_03", "hello out of order, late or too large"),
    ("bad_input_04", "tokens: none, expired, otherwise bad"),
    ("bad_input_05", "frames: too long, not UTF-8, unmasked, reserved, close code, binary"),
    ("bad_input_06", "a foreign origin, slow headers, no hello"),
    ("bad_input_07", "a room that is not there or not mine"),
    ("bad_input_08", "the same cid with another payload, a prev that was not committed"),
    ("bad_input_09", "a database that is locked, full or read-only"),
    ("bad_input_10", "a second server on the same data"),
    ("bad_input_11", "data of a newer version, wrong settings"),
];

/// What cannot be proved yet, and the feature it comes with.
const WAITING: &[(&str, &str)] = &[
    ("p7_8", "inbox"),
    ("react-on-off-limited", "reactions"),
    ("of-old-epoch", "edits and reactions"),
    ("history-after-edit", "history and edits"),
    ("merge-hole", "history and edits"),
    ("sse-cr-and-reset-id", "server-sent events"),
];

/// Something that has to be proved.
struct Claim {
    /// What the name of a proof begins with.
    id: String,
    words: String,
    path: String,
    line: usize,
}

/// A test or a vector.
struct Proof<'t> {
    name: &'t str,
    file: &'t File,
}

/// Every claim without a proof, every proof of nothing, and every vector that says little.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let claims = claims(tree, &mut findings);
    let proofs = proofs(tree);
    for claim in &claims {
        let proved = proofs.iter().find(|proof| carries(proof.name, &claim.id));
        let waits = WAITING.iter().find(|(id, _)| *id == claim.id);
        let what = match (proved, waits) {
            (None, None) => format!(
                "{} ({}): no test and no vector has a name that begins with it; write one",
                claim.id, claim.words
            ),
            (Some(proof), Some((_, feature))) => format!(
                "{} waits for {feature} and is proved by {}; take it from the list of what waits",
                claim.id, proof.name
            ),
            _ => continue,
        };
        findings.push(Finding { path: claim.path.clone(), line: claim.line, what });
    }
    findings.extend(proofs.iter().filter_map(|proof| proof_of_nothing(proof, &claims)));
    findings.extend(vectors(tree));
    findings.extend(never_run(tree));
    findings
}

/// Tests of the page that the Makefile does not name: cargo finds its own, node is told.
fn never_run(tree: &Tree) -> Vec<Finding> {
    let recipes = tree.text("Makefile").unwrap_or_default();
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".test.mjs")) {
        if !recipes.split_whitespace().any(|word| word == file.name()) {
            let what = "no recipe of the Makefile runs it; add it to `web`".to_owned();
            findings.push(Finding { path: file.path.clone(), line: 0, what });
        }
    }
    findings
}

/// A name that looks like an id and is none.
fn proof_of_nothing(proof: &Proof<'_>, claims: &[Claim]) -> Option<Finding> {
    let name = proof.name;
    let case = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    let numbered = name.starts_with("bad_input_")
        || name.starts_with("p7_")
        || name.strip_prefix("p5_").is_some_and(case);
    if !numbered || claims.iter().any(|claim| carries(name, &claim.id)) {
        return None;
    }
    let what =
        format!("{name} begins with no number that is there; xtask/src/tidy/proofs.rs has them");
    Some(Finding { path: proof.file.path.clone(), line: 0, what })
}

/// Whether `name` begins with `id` and not with a longer one. Transcripts of §17 may go on after a hyphen
/// and are then others, so for them the whole name counts.
fn carries(name: &str, id: &str) -> bool {
    match name.strip_prefix(id) {
        Some("") => true,
        Some(rest) => {
            !id.contains('-') && !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-')
        }
        None => false,
    }
}

/// All that is claimed; a page that has another shape than expected is a finding.
fn claims(tree: &Tree, findings: &mut Vec<Finding>) -> Vec<Claim> {
    let page = tree.text(PROTOCOL).unwrap_or_default();
    let claim = |id: &str, words: &str, line| Claim {
        id: id.to_owned(),
        words: words.to_owned(),
        path: PROTOCOL.to_owned(),
        line,
    };
    let mut claims = Vec::new();
    for (line, text) in section(page, 5) {
        if let Some((number, words)) =
            text.split_once(". ").filter(|(number, _)| number.parse::<u8>().is_ok())
        {
            claims.push(claim(&format!("p5_{number}"), words, line));
        }
    }
    let rules: Vec<(usize, &str)> = section(page, 7)
        .filter_map(|(line, text)| Some((line, text.strip_prefix("- ")?)))
        .collect();
    for (index, (line, text)) in rules.iter().enumerate() {
        match SENDING.get(index) {
            Some((id, words)) if text.starts_with(words) => claims.push(claim(id, words, *line)),
            Some((id, words)) => findings.push(Finding {
                path: PROTOCOL.to_owned(),
                line: *line,
                what: format!(
                    "rule {} of §7 is {text:?}, and {id} is {words:?}; make them one",
                    index + 1
                ),
            }),
            None => findings.push(Finding {
                path: PROTOCOL.to_owned(),
                line: *line,
                what: format!(
                    "rule {} of §7 has no id in xtask/src/tidy/proofs.rs; give it one",
                    index + 1
                ),
            }),
        }
    }
    for (line, text) in section(page, 17).filter(|(_, text)| text.contains(" · ")) {
        for name in text.split(" · ").filter_map(|entry| entry.split_whitespace().next()) {
            claims.push(claim(name, "§17", line));
        }
    }
    // A page that cannot be read any more must not look like one without rules.
    for (prefix, what) in [("p5_", "case of §5"), ("p7_", "rule of §7"), ("gap", "name of §17")]
    {
        if !claims.iter().any(|claim| claim.id.starts_with(prefix)) {
            let what =
                format!("no {what} was found; xtask/src/tidy/proofs.rs says what it looks like");
            findings.push(Finding { path: PROTOCOL.to_owned(), line: 0, what });
        }
    }
    claims.extend(BAD_INPUT.iter().map(|(id, words)| Claim {
        id: (*id).to_owned(),
        words: (*words).to_owned(),
        path: GOLDEN.to_owned(),
        line: 0,
    }));
    for (id, feature) in WAITING {
        if !claims.iter().any(|claim| claim.id == *id) {
            let what =
                format!("{id} waits for {feature} and is claimed nowhere; take it from the list");
            findings.push(Finding { path: PROTOCOL.to_owned(), line: 0, what });
        }
    }
    claims
}

/// The lines of a section of the page, counted from 1.
fn section(page: &str, number: u32) -> impl Iterator<Item = (usize, &str)> {
    let head = format!("## {number}. ");
    let lines = page.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines
        .skip_while(move |(_, line)| !line.starts_with(&head))
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "))
}

/// Every vector, every test of Rust, every test of the page.
fn proofs(tree: &Tree) -> Vec<Proof<'_>> {
    let mut proofs = Vec::new();
    for folder in TRANSCRIPTS {
        for (name, file) in tree.under(folder) {
            if let Some(name) = name.strip_suffix(".json") {
                proofs.push(Proof { name, file });
            }
        }
    }
    for (_, file) in tree.under("crates/") {
        if file.is_rust() {
            // Names stand in the text where they stand in its code.
            let code = code(&file.text);
            let named = tests(&code).into_iter().map(|name| {
                let at = name.as_ptr() as usize - code.as_ptr() as usize;
                &file.text[at..at + name.len()]
            });
            proofs.extend(named.map(|name| Proof { name, file }));
        } else if file.path.ends_with(".test.mjs") {
            let calls =
                file.text.lines().filter_map(|line| line.trim_start().strip_prefix("test(\""));
            let named = calls.filter_map(|rest| Some(rest.split_once('"')?.0));
            proofs.extend(named.map(|name| Proof { name, file }));
        }
    }
    proofs
}

/// Vectors are there, can be read, and are named as their file is.
fn vectors(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for folder in TRANSCRIPTS {
        if tree.under(folder).next().is_none() {
            let what = "no transcript; a folder of them that is empty proves nothing".to_owned();
            findings.push(Finding { path: (*folder).to_owned(), line: 0, what });
        }
    }
    for (name, file) in tree.under(GOLDEN) {
        let Some(name) = name.strip_suffix(".json") else { continue };
        let what = match serde_json::from_str::<Value>(&file.text) {
            Err(error) => format!("is no JSON: {error}"),
            Ok(Value::Array(rows)) if rows.is_empty() => "has no row".to_owned(),
            Ok(Value::Array(_)) => continue,
            Ok(transcript) => {
                let own = name.rsplit('/').next().unwrap_or(name);
                match transcript["name"].as_str() {
                    Some(said) if said == own => continue,
                    said => format!("is named {said:?} inside; name it as its file is"),
                }
            }
        };
        findings.push(Finding { path: file.path.clone(), line: 0, what });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with every rule, and a test for each that does not wait.
    fn whole() -> Vec<(String, String)> {
        let rules: String =
            SENDING.iter().map(|(_, words)| format!("- {words} …\n  more\n")).collect();
        let page = format!(
            "## 5. Subscribe\n1. No `seq`\n2. `epoch` differs\n## 7. Sending\n{rules}## 17. Vectors\n\
             gap-one-sub · reset-same-epoch (seq > head) · {}\n",
            WAITING[1..].iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" · "),
        );
        let waits = |id: &str| WAITING.iter().any(|(other, _)| *other == id);
        let tests: String = SENDING
            .iter()
            .chain(BAD_INPUT)
            .filter(|(id, _)| !waits(id))
            .map(|(id, _)| format!("#[test]\nfn {id}_is_proved() {{}}\n"))
            .collect();
        let transcript = |name: &str| {
            (format!("{GOLDEN}client/{name}.json"), format!("{{\"name\":\"{name}\"}}"))
        };
        vec![
            (PROTOCOL.to_owned(), page),
            ("Makefile".to_owned(), "web:\n\tnode --test a.test.mjs\n".to_owned()),
            ("crates/rooms/tests/rules.rs".to_owned(), tests),
            (
                "crates/server/a.test.mjs".to_owned(),
                "test(\"p5_1: no seq\", () => 1);\n".to_owned(),
            ),
            (format!("{GOLDEN}server/p5_2_epoch.json"), "{\"name\":\"p5_2_epoch\"}".to_owned()),
            (format!("{GOLDEN}ids.json"), "[1]".to_owned()),
            transcript("gap-one-sub"),
            transcript("reset-same-epoch"),
        ]
    }

    /// What is found after `change`; each must begin as `expected` says.
    #[track_caller]
    fn check_with(change: impl FnOnce(&mut Vec<(String, String)>), expected: &[&str]) {
        let mut files = whole();
        change(&mut files);
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let found: Vec<String> = check(&Tree::of(&files)).iter().map(Finding::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}");
        }
    }

    fn edit(files: &mut [(String, String)], path: &str, from: &str, to: &str) {
        let (_, text) = files.iter_mut().find(|(other, _)| other == path).expect("a file");
        assert!(text.contains(from), "{from}");
        *text = text.replace(from, to);
    }

    #[test]
    fn all_is_proved_until_something_is_not() {
        check_with(|_| {}, &[]);
        check_with(
            |files| {
                edit(
                    files,
                    "crates/rooms/tests/rules.rs",
                    "fn bad_input_06_is_proved",
                    "fn something_else",
                )
            },
            &["crates/protocol/golden/: bad_input_06 (a foreign origin"],
        );
        check_with(
            |files| edit(files, "crates/rooms/tests/rules.rs", "#[test]\nfn p7_3_", "fn p7_3_"),
            &["docs/protocol.md:9: p7_3 (The dedup lookup"],
        );
        check_with(
            |files| edit(files, "crates/server/a.test.mjs", "p5_1", "p5_10"),
            &[
                "docs/protocol.md:2: p5_1 (No `seq`",
                "crates/server/a.test.mjs: p5_10: no seq begins with",
            ],
        );
        check_with(
            |files| files.retain(|(path, _)| !path.ends_with("gap-one-sub.json")),
            &["docs/protocol.md:22: gap-one-sub (§17)"],
        );
    }

    #[test]
    fn a_name_with_a_number_that_is_not_there_is_found() {
        let name =
            |name: &str| ("crates/a/tests/b.rs".to_owned(), format!("#[test]\nfn {name}() {{}}\n"));
        for wrong in
            ["bad_input_12_a", "bad_input_09b_a", "bad_input_a", "p7_9_a", "p7_words", "p5_3_a"]
        {
            let expected = format!("crates/a/tests/b.rs: {wrong} begins with no number");
            check_with(|files| files.push(name(wrong)), &[&expected]);
        }
        check_with(|files| files.push(name("p5_drop_kicked")), &[]);
    }

    #[test]
    fn what_waits_no_longer_is_found() {
        let path = format!("{GOLDEN}server/merge-hole.json");
        let expected =
            "docs/protocol.md:22: merge-hole waits for history and edits and is proved by";
        check_with(|files| files.push((path, "{\"name\":\"merge-hole\"}".to_owned())), &[expected]);
        check_with(
            |files| edit(files, PROTOCOL, " · of-old-epoch", ""),
            &[
                "docs/protocol.md: of-old-epoch waits for edits and reactions and is claimed nowhere",
            ],
        );
    }

    #[test]
    fn a_page_with_other_rules_is_found() {
        check_with(
            |files| edit(files, PROTOCOL, "## 17.", "- A new rule\n## 17."),
            &["docs/protocol.md:21: rule 9 of §7 has no id"],
        );
        check_with(
            |files| edit(files, PROTOCOL, "- Event kinds", "- Kinds"),
            &[
                "docs/protocol.md:17: rule 7 of §7 is \"Kinds",
                "crates/rooms/tests/rules.rs: p7_7_is_proved",
            ],
        );
        check_with(
            |files| edit(files, PROTOCOL, "## 5.", "## Five."),
            &[
                "docs/protocol.md: no case of §5",
                "crates/protocol/golden/server/p5_2",
                "crates/server/a.test.mjs: p5_1",
            ],
        );
    }

    #[test]
    fn a_test_of_the_page_that_nobody_runs_is_found() {
        let other = ("crates/server/b.test.mjs".to_owned(), String::new());
        let expected = "crates/server/b.test.mjs: no recipe of the Makefile runs it";
        check_with(|files| files.push(other), &[expected]);
    }

    #[test]
    fn a_vector_says_something_and_its_own_name() {
        let ids = format!("{GOLDEN}ids.json");
        check_with(
            |files| edit(files, &ids, "[1]", "[]"),
            &["crates/protocol/golden/ids.json: has no row"],
        );
        check_with(
            |files| edit(files, &ids, "[1]", "[1"),
            &["crates/protocol/golden/ids.json: is no JSON"],
        );
        let path = format!("{GOLDEN}client/gap-one-sub.json");
        check_with(
            |files| edit(files, &path, "gap-one-sub", "gap"),
            &["crates/protocol/golden/client/gap-one-sub.json: is named Some(\"gap\")"],
        );
        check_with(
            |files| files.retain(|(path, _)| !path.contains("/server/p5_2")),
            &["docs/protocol.md:3: p5_2", "crates/protocol/golden/server/: no transcript"],
        );
    }
}
