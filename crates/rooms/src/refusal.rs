//! Refusals: what a client is told when it does not get what it wants.
//!
//! A refusal is the client's doing or the moment's, never a fault of ours: it is answered, not logged.

use std::fmt;

use tertulia_protocol::Code;
use tertulia_protocol::reply::Denied;

/// Why something was not done. The `Display` text is for the client's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// A field says something that cannot be.
    BadRequest(String),
    /// A command that is not served.
    UnknownCommand(String),
    /// Not there, or not theirs to see. Says nothing that would tell the two apart.
    NotFound,
    /// Seen, but not joined.
    NotMember,
    /// The role does not allow it; says what would.
    Forbidden(&'static str),
    /// A body longer than the limit.
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The most there may be.
        limit: usize,
    },
    /// Rooms made or attached beyond the limit.
    TooManyRooms {
        /// The most there may be.
        limit: u64,
    },
    /// A room of that name exists as something else.
    Conflict,
    /// The cid was used for another payload.
    CidReuse,
    /// The send that this one follows is not committed.
    Order,
    /// Too many commands without an answer.
    Inflight {
        /// The most there may be.
        limit: usize,
    },
    /// Too many in too short a time.
    RateLimited {
        /// When the next one is welcome.
        retry_ms: u64,
    },
    /// Older than what the log keeps.
    Trimmed {
        /// The oldest event kept.
        first: u64,
    },
    /// The room has another epoch.
    Reset,
    /// Nothing can be written.
    ReadOnly,
    /// Not now; says what is in the way.
    Unavailable(&'static str),
    /// A fault of ours, logged under that id.
    Internal(u64),
}

/// When to try again after the store or a queue had no room.
const UNAVAILABLE_RETRY_MS: u64 = 1000;

/// When to try again after `order` or `inflight`: about two commits.
const ORDER_RETRY_MS: u64 = 50;

impl Refusal {
    /// What was to be read could not be read.
    pub const NO_ANSWER: Refusal = Refusal::Unavailable("the database does not answer, try again");

    /// The same for a room of a `hello`.
    pub fn denied(&self) -> Denied {
        Denied { code: self.code(), retry_ms: self.retry_ms() }
    }

    /// The stable word.
    pub fn code(&self) -> Code {
        match self {
            Refusal::BadRequest(_) => Code::BadRequest,
            Refusal::UnknownCommand(_) => Code::UnknownCommand,
            Refusal::NotFound => Code::NotFound,
            Refusal::NotMember => Code::NotMember,
            Refusal::Forbidden(_) => Code::Forbidden,
            Refusal::TooLarge { .. } => Code::TooLarge,
            Refusal::TooManyRooms { .. } => Code::TooManyRooms,
            Refusal::Conflict => Code::Conflict,
            Refusal::CidReuse => Code::CidReuse,
            Refusal::Order => Code::Order,
            Refusal::Inflight { .. } => Code::Inflight,
            Refusal::RateLimited { .. } => Code::RateLimited,
            Refusal::Trimmed { .. } => Code::Trimmed,
            Refusal::Reset => Code::Reset,
            Refusal::ReadOnly => Code::ReadOnly,
            Refusal::Unavailable(_) => Code::Unavailable,
            Refusal::Internal(_) => Code::Internal,
        }
    }

    /// When the same may be tried again; `None` = not at all.
    pub fn retry_ms(&self) -> Option<u64> {
        match self {
            Refusal::RateLimited { retry_ms } => Some(*retry_ms),
            Refusal::Order | Refusal::Inflight { .. } => Some(ORDER_RETRY_MS),
            Refusal::ReadOnly | Refusal::Unavailable(_) => Some(UNAVAILABLE_RETRY_MS),
            Refusal::BadRequest(_)
            | Refusal::UnknownCommand(_)
            | Refusal::NotFound
            | Refusal::NotMember
            | Refusal::Forbidden(_)
            | Refusal::TooLarge { .. }
            | Refusal::TooManyRooms { .. }
            | Refusal::Conflict
            | Refusal::CidReuse
            | Refusal::Trimmed { .. }
            | Refusal::Reset
            | Refusal::Internal(_) => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::BadRequest(why) | Refusal::UnknownCommand(why) => f.write_str(why),
            Refusal::NotFound => write!(f, "no such room, or not yours to see"),
            Refusal::NotMember => write!(f, "join the room first"),
            Refusal::Forbidden(what) => f.write_str(what),
            Refusal::TooLarge { bytes, limit } => {
                write!(f, "d is {bytes} bytes, the limit is {limit}")
            }
            Refusal::TooManyRooms { limit } => write!(f, "no more than {limit} rooms"),
            Refusal::Conflict => write!(f, "the room exists as something else"),
            Refusal::CidReuse => write!(f, "cid was used for another payload"),
            Refusal::Order => write!(f, "prev is not committed, send that one first"),
            Refusal::Inflight { limit } => {
                write!(f, "{limit} commands wait for an answer, read those first")
            }
            Refusal::RateLimited { retry_ms } => {
                write!(f, "too many commands, try again in {retry_ms} ms")
            }
            Refusal::Trimmed { first } => write!(f, "the oldest event kept is {first}"),
            Refusal::Reset => write!(f, "the room has another epoch, sub again"),
            Refusal::ReadOnly => write!(f, "nothing can be written for now"),
            Refusal::Unavailable(why) => f.write_str(why),
            Refusal::Internal(id) => write!(f, "a fault of the server's, logged as {id:016x}"),
        }
    }
}
