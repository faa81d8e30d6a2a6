//! Codes: the words that tell a client what went wrong and what to do.
//!
//! An error code answers one command; a close code ends a connection. Both are stable for ever; the
//! sentence beside them is for logs and may change.

/// What a refused command is answered with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Code {
    /// Malformed; the sentence names the field.
    BadRequest,
    /// A command this server does not have.
    UnknownCommand,
    /// No identity, or one that is not accepted.
    Unauthorized,
    /// The token was good once.
    TokenExpired,
    /// Not there, or not yours to see: the two are told apart by nothing.
    NotFound,
    /// You can see it and must join first.
    NotMember,
    /// Your role does not allow it, or you are banned.
    Forbidden,
    /// More bytes than the limit.
    TooLarge,
    /// More rooms than the limit.
    TooManyRooms,
    /// It exists as something else.
    Conflict,
    /// The same cid was used for another payload.
    CidReuse,
    /// The earlier send that this one follows is not committed yet.
    Order,
    /// Too many commands without an answer.
    Inflight,
    /// Too many in too short a time.
    RateLimited,
    /// Older than what is kept.
    Trimmed,
    /// Another life of the room's log.
    Reset,
    /// Nothing can be written for now.
    ReadOnly,
    /// Not now: overload, drain, or a store that does not answer.
    Unavailable,
    /// A fault of the server's.
    Internal,
}

impl Code {
    /// Every code, in the order of the protocol's table.
    pub const ALL: [Code; 19] = [
        Code::BadRequest,
        Code::UnknownCommand,
        Code::Unauthorized,
        Code::TokenExpired,
        Code::NotFound,
        Code::NotMember,
        Code::Forbidden,
        Code::TooLarge,
        Code::TooManyRooms,
        Code::Conflict,
        Code::CidReuse,
        Code::Order,
        Code::Inflight,
        Code::RateLimited,
        Code::Trimmed,
        Code::Reset,
        Code::ReadOnly,
        Code::Unavailable,
        Code::Internal,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::BadRequest => "bad_request",
            Code::UnknownCommand => "unknown_command",
            Code::Unauthorized => "unauthorized",
            Code::TokenExpired => "token_expired",
            Code::NotFound => "not_found",
            Code::NotMember => "not_member",
            Code::Forbidden => "forbidden",
            Code::TooLarge => "too_large",
            Code::TooManyRooms => "too_many_rooms",
            Code::Conflict => "conflict",
            Code::CidReuse => "cid_reuse",
            Code::Order => "order",
            Code::Inflight => "inflight",
            Code::RateLimited => "rate_limited",
            Code::Trimmed => "trimmed",
            Code::Reset => "reset",
            Code::ReadOnly => "read_only",
            Code::Unavailable => "unavailable",
            Code::Internal => "internal",
        }
    }

    /// The status an HTTP call is answered with.
    pub const fn http_status(self) -> u16 {
        match self {
            Code::BadRequest | Code::UnknownCommand => 400,
            Code::Unauthorized | Code::TokenExpired => 401,
            Code::NotMember | Code::Forbidden => 403,
            Code::NotFound => 404,
            Code::TooManyRooms | Code::Conflict | Code::CidReuse | Code::Order | Code::Reset => 409,
            Code::Trimmed => 410,
            Code::TooLarge => 413,
            Code::Inflight | Code::RateLimited => 429,
            Code::Internal => 500,
            Code::ReadOnly | Code::Unavailable => 503,
        }
    }
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal $word:literal,)*) => {
        /// Why a connection ends. The hundreds say what the client does next.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u16)]
        pub enum Close { $($(#[$doc])* $name = $number,)* }

        impl Close {
            /// Every close code that the server can give.
            pub const ALL: &'static [Close] = &[$(Close::$name,)*];

            /// The number in the close frame and in `bye`.
            pub const fn number(self) -> u16 { self as u16 }

            /// The short reason in the close frame.
            pub const fn reason(self) -> &'static str {
                match self { $(Close::$name => $word,)* }
            }
        }
    };
}

close_codes! {
    /// The client closed, or there is nothing more to say.
    Normal = 1000 "bye",
    /// Frames that are no WebSocket frames.
    Protocol = 1002 "websocket protocol error",
    /// Binary where text is spoken.
    Unsupported = 1003 "text messages only",
    /// Text that is not UTF-8.
    NotUtf8 = 1007 "text is not utf-8",
    /// Too many fragments.
    Policy = 1008 "too many fragments",
    /// A message longer than the limit.
    TooLarge = 1009 "message too long",
    /// What is spoken is not tertulia.v1.
    NotThisProtocol = 4000 "not tertulia.v1",
    /// A version that is not served.
    Version = 4001 "version not served",
    /// No hello in time.
    HelloTimeout = 4002 "no hello in time",
    /// A renewal with another user's token.
    IdentityChanged = 4003 "identity changed",
    /// The user may not connect.
    Banned = 4004 "banned",
    /// The page's origin may no longer connect.
    Origin = 4005 "origin no longer allowed",
    /// A newer connection has the same session.
    Replaced = 4006 "replaced by the same session",
    /// The user has too many connections.
    ConnectionLimit = 4007 "too many connections",
    /// No token.
    NoToken = 4100 "no token",
    /// The token has expired.
    TokenExpired = 4101 "token expired",
    /// The token is not accepted.
    TokenInvalid = 4102 "token not accepted",
    /// The user's tokens were revoked.
    Revoked = 4103 "revoked",
    /// The server stops.
    Shutdown = 4200 "server stops",
    /// Nothing was heard for too long.
    PingTimeout = 4201 "nothing heard for too long",
    /// The client does not read.
    Slow = 4202 "not reading",
    /// Rates were passed again and again.
    Rate = 4203 "too many refused commands",
    /// No room for this connection now.
    Overload = 4204 "overload",
    /// A fault of the server's.
    Internal = 4205 "internal",
    /// The server hands its connections over.
    Drain = 4300 "draining",
}
