//! Ids: the names that travel, each a type that cannot hold a bad one.
//!
//! Long names that many threads hold (rooms, users) are shared and cost one allocation when they are
//! parsed; short ones (cids, epochs, sessions) live in place.
//!
//! Never: normalises, folds case, or needs escaping in JSON; every accepted byte is plain ASCII.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Place of an event in its room: 1, 2, 3, … with no holes; 0 is "before the first".
pub type Seq = u64;

/// Why a text is not an id. The caller knows which field it stood in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadId {
    /// It has no characters.
    Empty,
    /// It is longer than the limit.
    TooLong {
        /// The most characters such an id may have.
        limit: usize,
    },
    /// A character that such an id cannot hold.
    Character {
        /// The characters that it can hold.
        allowed: &'static str,
    },
}

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadId::Empty => write!(f, "is empty"),
            BadId::TooLong { limit } => write!(f, "is longer than {limit} characters"),
            BadId::Character { allowed } => write!(f, "may only hold {allowed}"),
        }
    }
}

fn check(text: &str, limit: usize, allowed: &'static str, extra: &[u8]) -> Result<(), BadId> {
    if text.is_empty() {
        return Err(BadId::Empty);
    }
    if text.len() > limit {
        return Err(BadId::TooLong { limit });
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte)) {
        return Err(BadId::Character { allowed });
    }
    Ok(())
}

macro_rules! shared_id {
    ($(#[$doc:meta])* $name:ident, $limit:literal, $allowed:literal, $extra:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Most characters one may have.
            pub const CHARS_MAX: usize = $limit;

            /// The id that `text` is, or why it is none.
            pub fn parse(text: &str) -> Result<$name, BadId> {
                check(text, $limit, $allowed, $extra)?;
                Ok($name(Arc::from(text)))
            }

            /// The id as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

shared_id!(
    /// Name of a room, chosen by whoever makes it.
    RoomId,
    64,
    "A-Z a-z 0-9 . _ : -",
    b"._:-"
);
shared_id!(
    /// Name of a user, as the application's tokens give it.
    UserId,
    128,
    "A-Z a-z 0-9 . _ : @ | + = -",
    b"._:@|+=-"
);

macro_rules! short_id {
    ($(#[$doc:meta])* $name:ident, $limit:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// First, and filled up with zeros, so that the order is that of the texts.
            bytes: [u8; $limit],
            len: u8,
        }

        impl $name {
            /// Most characters one may have.
            pub const CHARS_MAX: usize = $limit;

            /// The last one, in their order.
            pub const LAST: $name = $name { bytes: [b'z'; $limit], len: $limit };

            /// The id that `text` is, or why it is none.
            pub fn parse(text: &str) -> Result<$name, BadId> {
                check(text, $limit, "A-Z a-z 0-9 _ -", b"_-")?;
                let mut bytes = [0; $limit];
                bytes[..text.len()].copy_from_slice(text.as_bytes());
                Ok($name { len: text.len() as u8, bytes })
            }

            /// The id as it is written.
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.bytes[..usize::from(self.len)])
                    .expect("parse let only ASCII in")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

short_id!(
    /// Name of one send, chosen by the client: what makes a retry harmless.
    Cid,
    36
);
short_id!(
    /// Name of one life of a room's log.
    Epoch,
    16
);
short_id!(
    /// Name of a client's session over its reconnects: a hint, not a secret.
    SessionId,
    64
);

/// Most characters of an event or signal kind.
const KIND_CHARS_MAX: usize = 32;

/// An application's own kind of event or signal: `x.` and a word.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AppKind(Arc<str>);

impl AppKind {
    /// The kind that `text` is, or why it is none.
    pub fn parse(text: &str) -> Result<AppKind, BadId> {
        const ALLOWED: &str = "x. and then A-Z a-z 0-9 . _ -";
        let word = text.strip_prefix("x.").ok_or(BadId::Character { allowed: ALLOWED })?;
        check(word, KIND_CHARS_MAX - 2, ALLOWED, b"._-")?;
        Ok(AppKind(Arc::from(text)))
    }

    /// The kind as it is written, `x.` included.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_are_in_the_order_of_their_texts() {
        let mut texts = ["b", "aa", "a", "B", "-", "_", "a-", "0", "a0", "zz", "z"];
        let mut ids = texts.map(|text| Cid::parse(text).unwrap());
        ids.sort_unstable();
        texts.sort_unstable();
        assert_eq!(ids.map(|cid| cid.to_string()), texts);
        assert_eq!(Cid::parse(&"z".repeat(Cid::CHARS_MAX)), Ok(Cid::LAST));
        assert!(ids.iter().all(|cid| *cid < Cid::LAST));
    }
}
