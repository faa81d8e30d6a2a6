//! Options: what the command line asks for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::bench;
use crate::error::Error;
use crate::limit::Limit;

/// Drives a Tertulia server with many clients and checks that every message reaches everyone, once, in order;
/// or measures it beside its peers.
///
/// Ends with 0 if nothing was wrong, with 1 if something was or the run could not be made, with 2 for a bad
/// command line. The last line on standard output is for machines.
#[derive(Parser, Debug)]
#[command(name = "tertulia-load", version)]
pub(crate) struct Line {
    #[command(subcommand)]
    pub(crate) task: Task,
}

/// What there is to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Task {
    /// Everyone talks in one room.
    OneRoom(Options),
    /// Many rooms, each client in one; nothing of another room may be heard.
    ManyRooms(Options),
    /// One client of a room stops reading: it must be closed, and nobody else notice.
    SlowClient(Options),
    /// Every client of a room is cut ten times while messages flow, and resumes.
    Reconnect(Options),
    /// Measures the server beside its peers and beside what the machine allows.
    Bench(bench::Options),
    /// Only does one part of the work: what others are measured beside.
    #[command(subcommand)]
    Limit(Limit),
}

/// How a crowd is to be.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[arg(skip)]
    pub(crate) scenario: Scenario,

    /// The server to start; by default `tertulia` beside this tool, with a fresh temporary folder.
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    pub(crate) server: Option<PathBuf>,

    /// A server that is running already, as http://HOST:PORT. Its limit of sends has to be off.
    #[arg(long, requires = "key")]
    pub(crate) url: Option<String>,

    /// An API key with the scope `admin`, for the server at --url.
    #[arg(long)]
    pub(crate) key: Option<String>,

    /// Where the server at --url shows /metrics, as http://HOST:PORT.
    #[arg(long, value_name = "URL", requires = "url")]
    pub(crate) metrics_url: Option<String>,

    /// How long to send.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,

    /// How many clients, over all rooms [default: 100; many-rooms 500].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) clients: Option<u32>,

    /// How many rooms, for many-rooms.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rooms: u32,

    /// Messages that each client sends in a second [default: 10; many-rooms 1].
    #[arg(long, value_parser = read_rate)]
    pub(crate) rate: Option<f64>,

    /// How many seconds nothing may happen, after the last send, before what is missing counts as lost.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) patience: u64,

    /// Where to write the whole report.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// When the started server calls a message stored; for --url it only stands in the report.
    #[arg(long, value_enum, default_value_t = Durability::Fsync)]
    pub(crate) durability: Durability,

    /// Decides who sends and who is cut when; the same seed is the same plan.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// What a crowd can do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Scenario {
    #[default]
    OneRoom,
    ManyRooms,
    SlowClient,
    Reconnect,
}

/// When a message counts as stored.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Durability {
    /// When it survives a power cut.
    Fsync,
    /// When it survives a killed process.
    Os,
    /// At once.
    Memory,
}

impl Scenario {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Scenario::OneRoom => "one-room",
            Scenario::ManyRooms => "many-rooms",
            Scenario::SlowClient => "slow-client",
            Scenario::Reconnect => "reconnect",
        }
    }
}

impl Durability {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Durability::Fsync => "fsync",
            Durability::Os => "os",
            Durability::Memory => "memory",
        }
    }
}

impl Options {
    /// The same, for that scenario.
    pub(crate) fn of(self, scenario: Scenario) -> Options {
        Options { scenario, ..self }
    }

    pub(crate) fn clients(&self) -> u32 {
        let usual = if self.scenario == Scenario::ManyRooms { 500 } else { 100 };
        self.clients.unwrap_or(usual)
    }

    pub(crate) fn rate(&self) -> f64 {
        let usual = if self.scenario == Scenario::ManyRooms { 1.0 } else { 10.0 };
        self.rate.unwrap_or(usual)
    }

    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

/// The server that is asked for, or the one beside this tool.
pub(crate) fn server_path(given: Option<&PathBuf>) -> Result<PathBuf, Error> {
    match given {
        Some(path) => Ok(path.clone()),
        None => {
            let own = std::env::current_exe().map_err(Error::io("finding this tool"))?;
            Ok(own.with_file_name("tertulia"))
        }
    }
}

fn read_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("expected a number from 0.001 to 1000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Line::command().debug_assert();
    }

    #[test]
    fn a_scenario_has_its_usual_size() {
        let task = |line: &str| Line::try_parse_from(line.split(' ')).unwrap().task;
        let Task::OneRoom(one) = task("tertulia-load one-room --clients 7 --seed 3") else {
            panic!()
        };
        assert_eq!((one.clients(), one.rate(), one.seconds, one.seed), (7, 10.0, 60, 3));
        let Task::ManyRooms(many) = task("tertulia-load many-rooms") else { panic!() };
        let many = many.of(Scenario::ManyRooms);
        assert_eq!((many.clients(), many.rooms, many.rate()), (500, 10, 1.0));
    }
}
