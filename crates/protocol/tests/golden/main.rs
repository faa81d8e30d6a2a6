//! The words against the golden rows in `golden/`: what is an id, what may be a body, what a client's text
//! means, and the bytes of everything a server says.
//!
//! Every row of a file runs; a test names all that fail, not only the first.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
#[path = "../properties/meaning.rs"]
mod meaning;
mod objects;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use tertulia_protocol::{AppKind, Body, Cid, Epoch, RoomId, SessionId, UserId};

/// `limits.msg`, against which the rows are judged.
const BODY_BYTES_MAX: usize = 16_384;

/// What a row says, and what came instead.
struct Differs {
    expected: String,
    got: String,
}

/// Fine if both read the same.
fn same(expected: impl Display, got: impl Display) -> Result<(), Differs> {
    let (expected, got) = (expected.to_string(), got.to_string());
    if expected == got { Ok(()) } else { Err(Differs { expected, got }) }
}

/// Runs every row of a file, and fails with all that differ.
fn check<R: DeserializeOwned>(
    file: &str,
    name: impl Fn(&R) -> String,
    run: impl Fn(&R) -> Result<(), Differs>,
) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(file);
    let text = fs::read_to_string(path).unwrap();
    let rows: Vec<R> = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{file}: {why}"));
    let lines = text.lines().filter(|line| line.starts_with('{')).count();
    assert!(!rows.is_empty(), "{file} has no rows");
    assert_eq!(rows.len(), lines, "{file}: one row a line");
    let mut names = BTreeSet::new();
    let mut failed = String::new();
    for row in &rows {
        let name = name(row);
        if let Err(Differs { expected, got }) = run(row) {
            failed += &format!("\n{name}\n  expected {expected}\n  got      {got}\n");
        }
        assert!(names.insert(name.clone()), "{file}: two rows are called {name}");
    }
    assert!(failed.is_empty(), "{file}:\n{failed}");
}

/// Texts and counts in turn, joined.
#[derive(Deserialize)]
struct Repeat(Vec<Value>);

impl Repeat {
    fn text(&self) -> String {
        let piece = |pair: &[Value]| {
            let times = usize::try_from(pair[1].as_u64().unwrap()).unwrap();
            pair[0].as_str().unwrap().repeat(times)
        };
        self.0.chunks_exact(2).map(piece).collect()
    }
}

/// The one way of several in which a row gives its text.
fn one_text(plain: Option<&String>, repeat: Option<&Repeat>) -> String {
    match (plain, repeat) {
        (Some(text), None) => text.clone(),
        (None, Some(repeat)) => repeat.text(),
        _ => panic!("a row gives its text once"),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdRow {
    kind: String,
    text: Option<String>,
    text_repeat: Option<Repeat>,
    ok: bool,
    #[serde(rename = "why")]
    _why: Option<String>,
}

#[test]
fn which_texts_are_ids() {
    let text = |row: &IdRow| one_text(row.text.as_ref(), row.text_repeat.as_ref());
    check(
        "ids.json",
        |row: &IdRow| format!("{} {:?}", row.kind, text(row)),
        |row| {
            let text = text(row);
            let written = match row.kind.as_str() {
                "room" => RoomId::parse(&text).map(|id| id.to_string()),
                "user" => UserId::parse(&text).map(|id| id.to_string()),
                "cid" => Cid::parse(&text).map(|id| id.to_string()),
                "epoch" => Epoch::parse(&text).map(|id| id.to_string()),
                "session" => SessionId::parse(&text).map(|id| id.to_string()),
                "kind" => AppKind::parse(&text).map(|kind| kind.as_str().to_owned()),
                other => panic!("no id is a {other}"),
            };
            let got = match written {
                Ok(written) if written == text => "an id".to_owned(),
                Ok(other) => format!("another id, {other}"),
                Err(_) => "none".to_owned(),
            };
            same(if row.ok { "an id" } else { "none" }, got)
        },
    );
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyRow {
    name: String,
    r#in: Option<String>,
    in_repeat: Option<Repeat>,
    in_hex: Option<String>,
    stored: Option<String>,
    #[serde(default)]
    same: bool,
    err: Option<String>,
}

impl BodyRow {
    fn bytes(&self) -> Vec<u8> {
        let Some(hex) = &self.in_hex else {
            return one_text(self.r#in.as_ref(), self.in_repeat.as_ref()).into_bytes();
        };
        assert!(self.r#in.is_none() && self.in_repeat.is_none(), "a row gives its text once");
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect()
    }
}

/// What is stored, or the code of the refusal.
fn stored(bytes: &[u8]) -> Result<String, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "bad_request")?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| "bad_request")?;
    let body = Body::parse(raw).map_err(|_| "bad_request")?;
    if body.len() > BODY_BYTES_MAX { Err("too_large") } else { Ok(body.as_str().to_owned()) }
}

#[test]
fn what_may_stand_as_a_body() {
    check(
        "bodies.json",
        |row: &BodyRow| row.name.clone(),
        |row| {
            let bytes = row.bytes();
            let expected = match (&row.stored, row.same, &row.err) {
                (Some(stored), false, None) => Ok(stored.clone()),
                (None, true, None) => Ok(String::from_utf8(bytes.clone()).unwrap()),
                (None, false, Some(code)) => Err(code.as_str()),
                _ => panic!("{}: a row expects one thing", row.name),
            };
            same(format!("{expected:?}"), format!("{:?}", stored(&bytes)))
        },
    );
}
