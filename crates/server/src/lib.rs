//! Doors: sockets, HTTP, settings, life and death of the process. The program `tertulia` is [`run`].
//!
//! [`serve`] puts everything together; [`door`], [`http`] and [`upgrade`] let clients in, [`drive`] moves their
//! bytes, [`api`] answers the application, [`metrics`] tells how it goes.
//!
//! Never: decides who may read or write a room, or in which order anything happened.

mod api;
mod checking;
mod cli;
mod clock;
mod committing;
mod config;
mod door;
mod drive;
mod extensions;
mod guests;
mod http;
#[cfg(test)]
#[path = "../../../fuzz/kept.rs"]
mod kept;
mod library;
mod login;
mod logs;
mod metrics;
mod page;
mod problem;
mod random;
mod serve;
mod state;
mod upgrade;

pub use cli::run;

/// What holds for any bytes at all: fuzzing looks for some that break it.
#[cfg(fuzzing)]
pub mod properties {
    /// As a query and as headers of a request.
    pub fn queries(bytes: &[u8]) {
        crate::api::property::check(bytes);
    }

    /// As a settings file and an environment.
    pub fn settings(bytes: &[u8]) {
        crate::config::property::check(bytes);
    }

    /// As a token.
    pub fn tokens(bytes: &[u8]) {
        crate::login::property::check(bytes);
    }
}
