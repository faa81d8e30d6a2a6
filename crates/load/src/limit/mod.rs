//! Limits: programs that do one part of the work and nothing else, so that a server's figure has something to
//! stand beside.
//!
//! [`relay`] only copies bytes from socket to sockets, [`store`] only writes rows, [`sync`] only syncs. None of them
//! waits: a server that lets messages wait for each other shares a write or a commit among more of them, and can
//! cost less.

pub(crate) mod relay;
pub(crate) mod store;
pub(crate) mod sync;

use clap::Subcommand;

use crate::error::Error;

/// What only does one part.
#[derive(Subcommand, Debug)]
pub(crate) enum Limit {
    /// Copies whatever a member says to all, checking and keeping nothing.
    Relay(relay::Options),
    /// Writes the rows of messages, hearing and telling nobody.
    Store(store::Options),
    /// Writes a file and syncs it, over and over.
    Sync(sync::Options),
}

impl Limit {
    pub(crate) fn run(&self) -> Result<(), Error> {
        match self {
            Limit::Relay(options) => relay::run(options),
            Limit::Store(options) => store::run(options),
            Limit::Sync(options) => sync::run(options),
        }
    }
}
