//! A crowd: speaks tertulia.v1 to a server it cannot see into, and says what was lost on the way.
//!
//! [`scenario`] decides what happens, [`crowd`] lets it happen on one thread, [`seat`] is one client without
//! its socket, [`journal`] holds the facts and [`verdict`] judges them.
//!
//! [`bench`] measures a server beside its peers and beside [`limit`].
//!
//! Never: knows how the server works, believes it.

mod bench;
mod client;
mod clock;
mod crowd;
mod error;
mod handshake;
mod http;
mod journal;
mod latency;
mod limit;
mod metrics;
mod options;
mod outbox;
mod plan;
mod progress;
mod report;
mod scenario;
mod seat;
mod server;
mod verdict;

use std::process::ExitCode;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::Error;
use crate::options::{Line, Options, Scenario, Task};

fn main() -> ExitCode {
    let line = Line::parse();
    raise_descriptors();
    let done = match line.task {
        Task::OneRoom(options) => run(&options.of(Scenario::OneRoom)),
        Task::ManyRooms(options) => run(&options.of(Scenario::ManyRooms)),
        Task::SlowClient(options) => run(&options.of(Scenario::SlowClient)),
        Task::Reconnect(options) => run(&options.of(Scenario::Reconnect)),
        Task::Bench(options) => bench::run(&options),
        Task::Limit(limit) => limit.run().map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tertulia-load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Carries out the run and tells of it; whether nothing was wrong.
fn run(options: &Options) -> Result<bool, Error> {
    let report = scenario::run(options)?;
    print!("{}", report.table());
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&report).expect("a report is plain data");
        std::fs::write(path, json).map_err(|source| Error::File { path: path.clone(), source })?;
    }
    println!("{}", report.line());
    Ok(report.is_good())
}

/// Every client is a descriptor, and shells often allow few.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        eprintln!("tertulia-load: cannot raise the limit of open files: {error}");
    }
}
