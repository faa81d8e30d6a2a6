//! Stories: a real server process, real sockets, and what has to hold between them.
//!
//! Each test tells one. Nothing is mocked, and nothing sleeps in the hope that something has happened by
//! then: reads have deadlines and states are looked at until they are so.

mod answers;
mod chance;
mod cleaning;
mod client;
mod counts;
mod disks;
mod drains;
mod frames;
mod http;
mod kicks;
mod kills;
mod knocks;
#[cfg(feature = "planted-faults")]
mod planted;
mod server;
mod sessions;
mod slow;
mod starts;
mod storm;
mod sync;
mod tokens;
mod verdict;
