//! Tidy: the rules of the house as checks. What it finds names the file, the line, the value and the way out.
//!
//! Each check is a function from texts to findings, so that its tests can plant a fault and see it found.

mod code;
mod proofs;
mod rust;
mod tree;
mod walls;
mod words;

use std::fmt;

use crate::generate;
use crate::run::{Done, read};
use tree::Tree;

/// Something against a rule of the house.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Finding {
    /// From the top folder.
    pub(crate) path: String,
    /// From 1; 0 says that the file as a whole is meant.
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Checks everything; all that is found is told.
pub(crate) fn run() -> Done {
    let tree = Tree::read()?;
    let mut findings = words::check(&tree);
    findings.extend(code::check(&tree));
    findings.extend(walls::check(&walls::graph()?));
    findings.extend(proofs::check(&tree));
    findings.sort_by(|one, other| (&one.path, one.line).cmp(&(&other.path, other.line)));
    let mut told: Vec<String> = findings.iter().map(Finding::to_string).collect();
    // Last, since the program has to be built for it.
    told.extend(generate::check().err());
    if told.is_empty() {
        println!("tidy: {} files are as they should be", tree.files.len());
        return Ok(());
    }
    Err(format!("{}\ntidy: {} against the rules of the house", told.join("\n"), told.len()))
}

/// What `cargo metadata` says for this machine.
fn metadata() -> Done<serde_json::Value> {
    let about = read("rustc --version --verbose")?;
    let host = about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or("rustc --version --verbose names no host")?;
    let line = format!("cargo metadata --locked --format-version 1 --filter-platform {host}");
    serde_json::from_str(&read(&line)?).map_err(|error| format!("cargo metadata: {error}"))
}
