//! WebSocket frames as a peer may send them: what is heard, what is refused, and what it costs to hold.
//!
//! Frames are built here byte by byte and not with the project's own encoder, so that the two cannot agree on a
//! mistake. Each `check` hears the same bytes whole and in pieces of every small size: the answer must be one.

mod any;
mod bad;
mod cost;
mod deflate;
mod hear;
#[path = "../../../../fuzz/kept.rs"]
mod kept;
mod property;
mod whole;
mod writing;
