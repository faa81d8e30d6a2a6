//! Fields: one named value of an object, read as what it should be.
//!
//! `null` counts as absent, except where a body is wanted.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::body::Body;
use crate::id::{BadId, Seq};
use crate::limits::INTEGER_MAX;

/// A field that does not hold what it should.
#[derive(PartialEq, Eq, Debug)]
pub struct Bad {
    field: &'static str,
    why: Cow<'static, str>,
}

impl Bad {
    /// `field` and what is wrong with it, to be read as one sentence.
    pub fn new(field: &'static str, why: impl Into<Cow<'static, str>>) -> Bad {
        Bad { field, why: why.into() }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.why)
    }
}

/// The fields of the object that `text` is. serde alone would take an array for one, too.
pub fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    if text.trim_ascii_start().starts_with('{') {
        return serde_json::from_str(text);
    }
    Err(serde::de::Error::custom("expected an object"))
}

/// For `deserialize_with`: keeps a `null` as a value, since a body may be one. serde alone would take it for
/// an absent field.
pub fn there<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// A field's name and what was written there.
#[derive(Clone, Copy)]
pub struct Field<'a>(pub &'static str, pub Option<&'a RawValue>);

impl<'a> Field<'a> {
    fn bad(self, why: impl Into<Cow<'static, str>>) -> Bad {
        Bad::new(self.0, why)
    }

    fn value(self) -> Option<&'a str> {
        self.1.map(RawValue::get).filter(|text| *text != "null")
    }

    /// A string.
    pub fn text(self) -> Result<Option<Cow<'a, str>>, Bad> {
        let Some(raw) = self.value() else { return Ok(None) };
        let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
            return Err(self.bad("must be a string"));
        };
        if !inner.contains('\\') {
            return Ok(Some(Cow::Borrowed(inner)));
        }
        match serde_json::from_str::<String>(raw) {
            Ok(text) => Ok(Some(Cow::Owned(text))),
            Err(_) => Err(self.bad("must be sound Unicode")),
        }
    }

    /// A string that has to be there.
    pub fn needed_text(self) -> Result<Cow<'a, str>, Bad> {
        self.text()?.ok_or_else(|| self.bad("is missing"))
    }

    /// A string that is a `T`.
    pub fn parsed<T>(self, parse: impl Fn(&str) -> Result<T, BadId>) -> Result<Option<T>, Bad> {
        let Some(text) = self.text()? else { return Ok(None) };
        parse(&text).map(Some).map_err(|why| self.bad(why.to_string()))
    }

    /// A string that is a `T` and has to be there.
    pub fn needed<T>(self, parse: impl Fn(&str) -> Result<T, BadId>) -> Result<T, Bad> {
        self.parsed(parse)?.ok_or_else(|| self.bad("is missing"))
    }

    /// An integer from 0 to `max`.
    pub fn integer(self, max: u64) -> Result<Option<u64>, Bad> {
        let Some(raw) = self.value() else { return Ok(None) };
        match raw.parse::<u64>() {
            Ok(number) if number <= max => Ok(Some(number)),
            _ => Err(self.bad(format!("must be an integer from 0 to {max}"))),
        }
    }

    /// An integer, 0 included.
    pub fn count(self) -> Result<Option<u64>, Bad> {
        self.integer(INTEGER_MAX)
    }

    /// An integer, 0 excluded: a number of an event or of things.
    pub fn number(self) -> Result<Option<Seq>, Bad> {
        match self.count()? {
            Some(0) => Err(self.bad("must be 1 or more")),
            number => Ok(number),
        }
    }

    /// `true` or `false`.
    pub fn flag(self) -> Result<Option<bool>, Bad> {
        match self.value() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.bad("must be true or false")),
        }
    }

    /// An array, its items not yet looked at.
    pub fn list(self) -> Result<Option<Vec<&'a RawValue>>, Bad> {
        let Some(raw) = self.value() else { return Ok(None) };
        serde_json::from_str(raw).map(Some).map_err(|_| self.bad("must be an array"))
    }

    /// A body, which may be `null`, and has to be there.
    pub fn needed_body(self) -> Result<Body, Bad> {
        let raw = self.1.ok_or_else(|| self.bad("is missing"))?;
        Body::parse(raw).map_err(|why| self.bad(why))
    }
}
