//! The golden vectors of `crates/protocol/golden/server/` against a real server, over real sockets.
//!
//! Each file is a test of that name with a server of its own, so that many run at once and none can
//! disturb another.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client;
mod http;
mod pattern;
mod server;
mod story;
mod tokens;
mod vector;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use story::Story;
use vector::Vector;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let files = vector::files();
    assert!(!files.is_empty(), "there are no vectors");
    let mut tests: Vec<Trial> = files
        .into_iter()
        .map(|(name, text)| Trial::test(name.clone(), move || Ok(play(&name, &text)?)))
        .collect();
    tests.extend(pattern::tests());
    libtest_mimic::run(&arguments, tests).exit_code()
}

fn play(name: &str, text: &str) -> Result<(), String> {
    let vector = Vector::read(name, text)?;
    let mut story = Story::begin(&vector)?;
    for (number, step) in vector.steps.iter().enumerate() {
        story.step(&step.verb).map_err(|why| {
            let said = story.server_said();
            let (number, text) = (number + 1, &step.text);
            short(&format!("{}\nstep {number}: {text}\n{why}\n{said}", vector.about))
        })?;
    }
    Ok(())
}

/// Without the fill of long messages.
fn short(text: &str) -> String {
    let mut short = text.to_owned();
    while short.contains("xxxxxx") {
        short = short.replace("xxxxxx", "xx");
    }
    short
}
