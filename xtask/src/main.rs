//! Writes what is generated, and checks the rules of the house. `cargo xtask` lists what it can do.
//!
//! Never: builds or tests anything by itself. It runs what the Makefile and cargo already know, in order,
//! and says what came of it.

mod conformance;
mod deny;
mod fuzz;
mod generate;
mod instructions;
mod part;
mod peers;
mod performance;
mod publish;
mod run;
mod steps;
mod tidy;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask tidy            check the rules of the house, and that what is generated is up to date
cargo xtask gen [--check]   write what is generated (or say what is out of date)
cargo xtask tools           install what the tests need and is missing
cargo xtask peers           install the servers that `make bench` measures beside ours
cargo xtask deny            judge the dependencies
cargo xtask publish         write the figures of the last soak into the pages that show them
cargo xtask publish-bench   write the figures of the last bench into docs/performance.md
cargo xtask conformance [--report FILE | --keep]
                            judge the WebSocket by cases of others (or keep the verdicts)
cargo xtask instructions [--keep]
                            count what the hot paths cost (or keep the counts)
cargo xtask fuzz SECONDS [--report FILE]
                            look for bytes that break what has to hold, so long for each target
cargo xtask fuzz --keep     keep in fuzz/corpus what was found worth it
cargo xtask fuzz --tell FILE
                            an input as a line of fuzz/corpus
cargo xtask steps STEP…     run targets of the Makefile one by one and sum them up
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["tidy"] => tidy::run(),
        ["gen"] => generate::write(),
        ["gen", "--check"] => generate::check(),
        ["publish"] => publish::run(),
        ["publish-bench"] => performance::run(),
        ["tools"] => tools::run(),
        ["peers"] => peers::run(),
        ["deny"] => deny::run(),
        ["conformance"] => conformance::run(None),
        ["conformance", "--report", path] => conformance::run(Some(path)),
        ["conformance", "--keep"] => conformance::keep(),
        ["instructions"] => instructions::run(),
        ["instructions", "--keep"] => instructions::keep(),
        ["fuzz", "--keep"] => fuzz::keep(),
        ["fuzz", "--tell", path] => fuzz::tell(path),
        ["fuzz", seconds] => fuzz::run(seconds, None),
        ["fuzz", seconds, "--report", path] => fuzz::run(seconds, Some(path)),
        ["steps", names @ ..] if !names.is_empty() => steps::run(names),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
