//! Stories: a real server process, real sockets, and what has to hold between them.
//!
//! Each test tells one. Nothing is mocked, and nothing sleeps in the hope that something has happened by
//! then: reads have deadlines and states are looked at until they are so.

mod answers;
mod cleaning;
mod counts;
mod deflate;
mod disks;
mod drains;
mod frames;
mod harm;
mod kills;
mod knocks;
#[cfg(feature = "planted-faults")]
mod planted;
mod sessions;
mod slow;
mod starts;
mod sync;
mod tokens;
mod trials;

use std::path::Path;

use tertulia_proof::server::Place;

/// A fresh place for the server of this build.
pub(crate) fn place() -> Place {
    Place::of(Path::new(env!("CARGO_BIN_EXE_tertulia")))
}
