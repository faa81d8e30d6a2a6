//! Body: what an application says, checked once and then carried as bytes.
//!
//! The server never looks inside a body again: it is stored and relayed as the client wrote it, so what
//! must hold for every reader is checked here, at the door.
//!
//! Never: reorders, rounds or re-encodes; only raw CR and LF between tokens go.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::BODY_DEPTH_MAX;

/// A `d`: one JSON value on one line.
///
/// Shape: valid UTF-8 JSON, at most 32 deep, no key twice in an object, every string sound Unicode,
/// every number finite as a double; no raw CR or LF.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Body(Box<str>);

impl Body {
    /// The body that `raw` is, or one sentence that says why it is none.
    ///
    /// Cost: one pass, and a copy. The length is the caller's to judge.
    pub fn parse(raw: &RawValue) -> Result<Body, String> {
        let text = raw.get();
        // serde's own words end in a place inside the value, which helps nobody who sees only the answer.
        serde_json::from_str::<Sound>(text).map_err(|error| {
            let words = error.to_string();
            words.split(" at line").next().unwrap_or("not JSON").to_owned()
        })?;
        Ok(Body(one_line(text).into()))
    }

    /// The body as it is stored and sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Bytes of the body.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: the shortest JSON value has one byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// JSON strings cannot hold a raw line break, so every one there stands between tokens.
fn one_line(text: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'\r', b'\n', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect())
}

/// Reads a whole value and keeps nothing of it.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sound, D::Error> {
        Depth(0).deserialize(deserializer)
    }
}

#[derive(Clone, Copy)]
struct Depth(usize);

impl Depth {
    fn deeper<E: Error>(self) -> Result<Depth, E> {
        if self.0 == BODY_DEPTH_MAX {
            return Err(E::custom(format_args!("is nested deeper than {BODY_DEPTH_MAX}")));
        }
        Ok(Depth(self.0 + 1))
    }
}

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Sound;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Sound, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Sound;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Sound, E> {
        if number.is_finite() { Ok(Sound) } else { Err(E::custom("a number is out of range")) }
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_unit<E: Error>(self) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Sound, A::Error> {
        let inside = self.deeper()?;
        while items.next_element_seed(inside)?.is_some() {}
        Ok(Sound)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Sound, A::Error> {
        let inside = self.deeper()?;
        let mut keys = Keys::default();
        while let Some(key) = entries.next_key::<Key<'de>>()? {
            if !keys.insert(key.0) {
                return Err(A::Error::custom("has a key twice"));
            }
            entries.next_value_seed(inside)?;
        }
        Ok(Sound)
    }
}

/// A key, borrowed unless it was written with escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key<'de>, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The keys of one object so far. Almost every object has a handful; only a large one pays for hashing.
#[derive(Default)]
struct Keys<'de> {
    few: smallvec::SmallVec<[Cow<'de, str>; 8]>,
    many: std::collections::HashSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    fn insert(&mut self, key: Cow<'de, str>) -> bool {
        if self.few.len() < self.few.inline_size() {
            let fresh = !self.few.contains(&key);
            self.few.push(key);
            return fresh;
        }
        if self.many.is_empty() {
            self.many.extend(self.few.iter().cloned());
        }
        self.many.insert(key)
    }
}
