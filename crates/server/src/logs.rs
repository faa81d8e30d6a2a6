//! Logs: one line each on standard error, for people on a terminal, as JSON otherwise.
//!
//! Never: a token, a key, a body, or the address of a person.

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::config::{Config, LogFormat};

/// Begins to log as the settings say.
pub(crate) fn start(config: &Config) {
    let level = LevelFilter::from_level(config.server.log_level);
    let json = match config.server.log_format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let registry = tracing_subscriber::registry().with(level);
    // A second start in one process (tests) keeps the first one's log.
    let started = if json {
        let lines = fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
        registry.with(lines).try_init()
    } else {
        let lines = fmt::layer().with_target(false).with_writer(std::io::stderr);
        registry.with(lines).try_init()
    };
    if let Err(error) = started {
        eprintln!("tertulia: the log was started before: {error}");
    }
}
