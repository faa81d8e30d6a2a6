//! Identities: who a token says someone is. Whoever checks tokens lives outside.

use tertulia_protocol::{Close, Code, Role, RoomId, UserId};

/// How long past its end a token is still good, since no two clocks agree.
pub const LEEWAY_S: u64 = 5;

/// Who is there, and for how long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// When the token ends, seconds since 1970 UTC.
    pub exp_s: u64,
    /// When it was issued, seconds since 1970 UTC; 0 if it does not say.
    pub iat_s: u64,
    /// Roles that it grants without a stored membership.
    pub grants: Vec<(RoomId, Role)>,
}

/// What a token was found to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Good.
    Known(Identity),
    /// Not good, and what the connection is closed with.
    Refused(Close),
    /// A key has to be fetched first.
    MustAsk,
}

/// What someone is told whose token was not accepted, the same at every door.
pub fn refusal(close: Close) -> (Code, &'static str) {
    match close {
        Close::TokenExpired => (Code::TokenExpired, "token has expired, get a newer one"),
        Close::NoToken => (Code::Unauthorized, "token is missing"),
        Close::Revoked => (Code::Unauthorized, "token was revoked, get a newer one"),
        _ => (Code::Unauthorized, "token is not accepted"),
    }
}
