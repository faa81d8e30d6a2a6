//! Doors: sockets, HTTP, settings, life and death of the process. Binary `tertulia`.
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
mod guests;
mod http;
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

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
