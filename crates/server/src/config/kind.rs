//! Kinds: what the type of a setting makes of a value.

use std::net::SocketAddr;
use std::path::PathBuf;

use tertulia_store::Durability;
use toml::Value;

use super::setting::Bounds;

/// What a setting can be.
pub(super) trait Kind: Sized {
    /// How a file has it.
    const SHAPE: Shape;

    /// What `value` means, or all that is wrong with it.
    fn read(value: &Value, bounds: &Bounds) -> Result<Self, Vec<Wrong>>;

    /// As it would be typed in a file; `None` if it is not set.
    fn show(&self) -> Option<Value>;

    /// The value that a text from outside a file stands for.
    fn typed(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    /// What it is if nobody sets it and the table has no default.
    fn absent() -> Option<Self> {
        None
    }
}

/// How a file has a value.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Number,
    Switch,
    Text,
    List,
}

impl Shape {
    /// Whether `value` is one, whatever it says.
    pub(super) fn fits(self, value: &Value) -> bool {
        match self {
            Shape::Number => value.is_integer(),
            Shape::Switch => value.is_bool(),
            Shape::Text => value.is_str(),
            Shape::List => value.is_array(),
        }
    }
}

/// What `value` is, in a word.
pub(super) fn called(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a fraction",
        Value::Boolean(_) => "a switch",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// What is wrong with a value.
pub(super) struct Wrong {
    /// The part of it, to be read behind the setting's name: `[1].alg`. Empty = all of it.
    pub(super) part: String,
    /// What stands in that part, if it may be seen.
    pub(super) value: Option<Value>,
    pub(super) why: String,
}

impl Wrong {
    /// All of it.
    pub(super) fn whole(why: String) -> Vec<Wrong> {
        vec![Wrong { part: String::new(), value: None, why }]
    }

    /// One item of a list, since the list's items are not so.
    pub(super) fn item(place: &str, item: &Value, bounds: &Bounds) -> Wrong {
        let (part, value) = (place.to_owned(), Some(item.clone()));
        Wrong { part, value, why: format!("must be {bounds}") }
    }

    /// All of it, since it is not within `bounds`.
    pub(super) fn must_be(bounds: &Bounds) -> Vec<Wrong> {
        Wrong::whole(format!("must be {bounds}"))
    }
}

impl<T: Kind> Kind for Option<T> {
    const SHAPE: Shape = T::SHAPE;

    fn read(value: &Value, bounds: &Bounds) -> Result<Self, Vec<Wrong>> {
        T::read(value, bounds).map(Some)
    }

    fn show(&self) -> Option<Value> {
        self.as_ref().and_then(T::show)
    }

    fn typed(text: &str) -> Value {
        T::typed(text)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Kind for $type {
            const SHAPE: Shape = Shape::Number;

            fn read(value: &Value, bounds: &Bounds) -> Result<Self, Vec<Wrong>> {
                let Bounds::Range(min, max) = bounds else { return Err(Wrong::must_be(bounds)) };
                value
                    .as_integer()
                    .and_then(|number| u64::try_from(number).ok())
                    .filter(|number| (min..=max).contains(&number))
                    .and_then(|number| <$type>::try_from(number).ok())
                    .ok_or_else(|| Wrong::must_be(bounds))
            }

            fn show(&self) -> Option<Value> {
                i64::try_from(*self).ok().map(Value::Integer)
            }

            fn typed(text: &str) -> Value {
                text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Integer)
            }
        }
    )*};
}
numbers! { u32 u64 usize }

impl Kind for bool {
    const SHAPE: Shape = Shape::Switch;

    fn read(value: &Value, bounds: &Bounds) -> Result<Self, Vec<Wrong>> {
        value.as_bool().ok_or_else(|| Wrong::must_be(bounds))
    }

    fn show(&self) -> Option<Value> {
        Some(Value::Boolean(*self))
    }

    fn typed(text: &str) -> Value {
        text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Boolean)
    }
}

/// Kinds that are written as text: how it is parsed, and how it is written again.
macro_rules! texts {
    ($($type:ty: $parse:expr, $show:expr;)*) => {$(
        impl Kind for $type {
            const SHAPE: Shape = Shape::Text;

            fn read(value: &Value, bounds: &Bounds) -> Result<Self, Vec<Wrong>> {
                let parse: fn(&str) -> Option<$type> = $parse;
                value
                    .as_str()
                    .filter(|text| match bounds {
                        Bounds::Words(words) => words.contains(text),
                        _ => !text.is_empty(),
                    })
                    .and_then(parse)
                    .ok_or_else(|| Wrong::must_be(bounds))
            }

            fn show(&self) -> Option<Value> {
                let show: fn(&$type) -> String = $show;
                Some(Value::String(show(self)))
            }
        }
    )*};
}
texts! {
    SocketAddr: |text| text.parse().ok(), |address| address.to_string();
    PathBuf: |text| Some(PathBuf::from(text)), |path| path.display().to_string();
    String: |text| Some(text.to_owned()), |text| text.clone();
    Durability: Durability::parse, |durability| durability.as_str().to_owned();
    LogFormat: LogFormat::parse, |format| format.as_str().to_owned();
    tracing::Level: |text| text.parse().ok(), |level| level.as_str().to_ascii_lowercase();
    reqwest::Url: jwks_url, |url| url.to_string();
}

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl LogFormat {
    fn as_str(self) -> &'static str {
        match self {
            LogFormat::Auto => "auto",
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }

    fn parse(text: &str) -> Option<LogFormat> {
        [LogFormat::Auto, LogFormat::Text, LogFormat::Json]
            .into_iter()
            .find(|format| format.as_str() == text)
    }
}

/// In clear only to this machine: whoever can change the answer can sign in as anyone.
fn jwks_url(text: &str) -> Option<reqwest::Url> {
    let url = reqwest::Url::parse(text).ok()?;
    let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let safe = url.scheme() == "https" || (url.scheme() == "http" && here);
    (safe && url.username().is_empty() && url.password().is_none()).then_some(url)
}

/// A text that nobody gets to see.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text itself, for the one who needs it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Fewest different bytes of a secret: a word typed again and again has fewer, 16 random bytes in hex
/// practically never.
const SECRET_VARIETY: usize = 8;

/// Fewest bytes that, found again further on in the same order up to the end, make a secret one that repeats
/// itself; random ones practically never do.
const SECRET_REPEATED: usize = 8;

impl Kind for Secret {
    const SHAPE: Shape = Shape::Text;

    fn read(value: &Value, bounds: &Bounds) -> Result<Self, Vec<Wrong>> {
        let (Some(text), Bounds::Secret(min)) = (value.as_str(), bounds) else {
            return Err(Wrong::must_be(bounds));
        };
        let bytes = text.len();
        if bytes < *min {
            return Err(Wrong::whole(format!("has {bytes} bytes, must be {bounds}")));
        }
        let variety = (0..=u8::MAX).filter(|byte| text.as_bytes().contains(byte)).count();
        if variety < SECRET_VARIETY {
            return Err(Wrong::whole(format!("has {variety} different bytes, must be {bounds}")));
        }
        let repeats = |after: &usize| text.as_bytes().starts_with(&text.as_bytes()[*after..]);
        if let Some(after) = (1..=bytes.saturating_sub(SECRET_REPEATED)).find(repeats) {
            let why = format!("repeats itself after {after} bytes, must be {bounds}");
            return Err(Wrong::whole(why));
        }
        Ok(Secret(text.to_owned()))
    }

    fn show(&self) -> Option<Value> {
        Some(Value::String("(hidden)".to_owned()))
    }
}
