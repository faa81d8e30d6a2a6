//! Manners: who may say it, who hears it. (3 authorise, 4 submit, 6 publish, 7 deliver)
//!
//! A [`shard::Shard`] holds connections and what they hear, the [`commit::Committer`] gives numbers and
//! makes them durable, and they meet in the [`hub::Hub`]. All of it is state machines: time, sockets and
//! threads belong to whoever drives them.
//!
//! Never: sees a socket, SQL, a header, or the name of a setting.

mod clock;
mod queue;
mod rates;
mod recency;
mod refusal;
mod tail;
mod typing;

pub mod commit;
pub mod counters;
pub mod draft;
pub mod hub;
pub mod identity;
pub mod limits;
pub mod lookup;
pub mod membership;
pub mod page;
pub mod people;
pub mod permission;
pub mod planted;
pub mod session;
pub mod shard;
pub mod slab;

pub use clock::Clock;
pub use queue::Queue;
pub use refusal::Refusal;
