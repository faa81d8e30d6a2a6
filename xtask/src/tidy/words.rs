//! Words: what no text of the project says, and how long a text may be.

use super::Finding;
use super::tree::{File, Tree};

/// Past this many lines there is a second idea in a file.
const LINES_MAX: usize = 600;

/// Longer files that have a reason to be. Better an empty list than a good reason.
const LONGER: &[(&str, &str)] = &[];

/// A word that is not said, and what to do about it. Here they are written in two halves, so that this file
/// does not say them either.
const UNSAID: &[(&str, &str)] = &[
    (concat!("/wo", "rk"), "a path of one machine; name things from the top folder"),
    (concat!("../sha", "red"), "outside of the project; bring in what is needed"),
    (concat!("TO", "DO:"), "do it, or say in a sentence what is not there"),
    (concat!("TO", "DO("), "do it, or say in a sentence what is not there"),
    (concat!("// TO", "DO"), "do it, or say in a sentence what is not there"),
    (concat!("# TO", "DO"), "do it, or say in a sentence what is not there"),
    (concat!("FIX", "ME"), "mend it, or say in a sentence what is wrong"),
    (concat!("crates", ".io"), "name the crate, not where it is had from"),
    (concat!("registry.np", "mjs"), "name the package, not where it is had from"),
    (concat!("py", "pi.org"), "name the package, not where it is had from"),
    (concat!("pythonho", "sted.org"), "name the package, not where it is had from"),
    (concat!("deb.deb", "ian.org"), "name the package, not where it is had from"),
    (concat!("proxy.go", "lang.org"), "name the package, not where it is had from"),
];

/// Every word that should not be there, and every file that is too long.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| !file.is_by_tool()) {
        findings.extend(too_long(file));
        for (index, line) in file.text.lines().enumerate() {
            for (word, way_out) in UNSAID.iter().filter(|(word, _)| says(line, word)) {
                let what = format!("says {word:?}: {way_out}");
                findings.push(Finding { path: file.path.clone(), line: index + 1, what });
            }
        }
    }
    for (path, _) in LONGER {
        if tree.text(path).is_none_or(|text| text.lines().count() <= LINES_MAX) {
            let what = format!(
                "is not longer than {LINES_MAX} lines; take it from the list of those that are"
            );
            findings.push(Finding { path: (*path).to_owned(), line: 0, what });
        }
    }
    findings
}

fn too_long(file: &File) -> Option<Finding> {
    let lines = file.text.lines().count();
    if lines <= LINES_MAX || LONGER.iter().any(|(path, _)| *path == file.path) {
        return None;
    }
    let what = format!("{lines} lines, at most {LINES_MAX}; look for the second idea in it");
    Some(Finding { path: file.path.clone(), line: 0, what })
}

/// Whether `word` stands in `line` by itself and not as a part of a longer one.
fn says(line: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
    line.match_indices(word).any(|(at, _)| {
        let (before, behind) = (&line[..at], &line[at + word.len()..]);
        let opens = word.ends_with(|c: char| !c.is_alphanumeric());
        !part(before.chars().next_back()) && (opens || !part(behind.chars().next()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_line(line: &str, found: usize) {
        let tree = Tree::of(&[("docs/a.md", &format!("first\n{line}\n"))]);
        let findings = check(&tree);
        assert_eq!(findings.len(), found, "{line}: {findings:?}");
        assert!(findings.iter().all(|finding| finding.line == 2));
    }

    #[test]
    fn a_word_that_is_not_said_is_found_and_its_like_is_not() {
        let path = UNSAID[0].0;
        check_line(&format!("see {path}/notes"), 1);
        check_line(&format!("see {path}"), 1);
        check_line(&format!("{path}space and net{path}"), 0);
        check_line(&format!("at {}/notes.md", UNSAID[1].0), 1);
        check_line(concat!("// TO", "DO mend this"), 1);
        check_line(concat!("TO", "DO(ada): mend this"), 1);
        check_line(concat!("No narration, no TO", "DO."), 0);
        check_line(&format!("from https://static.{}/a", UNSAID[7].0), 1);
        check_line(&format!("{} and {}", UNSAID[8].0, UNSAID[9].0), 2);
    }

    #[test]
    fn a_file_that_is_too_long_is_named_and_a_lock_file_is_not() {
        let long = "line\n".repeat(LINES_MAX + 1);
        let whole = "line\n".repeat(LINES_MAX);
        let tree = Tree::of(&[("a.rs", &long), ("b.rs", &whole), ("Cargo.lock", &long)]);
        let findings = check(&tree);
        assert_eq!(findings.len(), 1);
        assert_eq!(
            findings[0].to_string(),
            "a.rs: 601 lines, at most 600; look for the second idea in it"
        );
    }
}
