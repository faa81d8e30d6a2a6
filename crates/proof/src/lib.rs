//! Proof: a server is tried from outside, and what it promises is looked for afterwards.
//!
//! Everything goes over real sockets to a real process. Each client keeps what it said and heard; the verdict
//! is reached from these memories and the server's log when all is over. Chance comes from a seed, which is
//! printed.

pub mod attack;
pub mod audience;
pub mod chance;
pub mod client;
pub mod crowd;
pub mod disk;
mod hall;
pub mod http;
pub mod issuer;
pub mod lane;
pub mod mob;
pub mod network;
pub mod page;
pub mod process;
pub mod report;
mod rude;
pub mod server;
pub mod speaker;
pub mod stage;
pub mod storm;
pub mod trace;
pub mod trial;
pub mod trouble;
pub mod verdict;
