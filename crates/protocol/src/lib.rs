//! Words: what can be said in tertulia.v1, as pure functions over bytes. (1 receive, 2 decode)
//!
//! [`frame`] turns bytes into messages and back, [`command`] messages into wishes, [`event`] and
//! [`reply`] facts into lines. `docs/protocol.md` is the authority; `golden/` holds it as data.
//!
//! Never: waits, reads a clock, opens anything.

mod body;
mod code;
mod fields;
mod id;
mod name;
mod role;

pub mod command;
pub mod event;
pub mod follow;
pub mod frame;
pub mod heard;
pub mod limits;
pub mod line;
pub mod reply;

pub use body::Body;
pub use code::{Close, Code};
pub use fields::{Bad, Field, object, there};
pub use id::{AppKind, BadId, Cid, Epoch, RoomId, Seq, SessionId, UserId};
pub use role::{Role, RoomKind};
