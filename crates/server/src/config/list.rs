//! Lists: settings of which there are several, each item read on its own.

use toml::Value;

use super::kind::{Kind, Shape, Wrong, called};
use super::setting::Bounds;
use crate::login::{Alg, PublicKey};

/// Where a page may come from: scheme, host and port, as a browser writes them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Origin(String);

impl Origin {
    /// As a browser sends it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Origin> {
        let (scheme, host) = text.split_once("://")?;
        let lower = |extra: &'static [u8]| {
            move |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || extra.contains(&byte)
            }
        };
        let exact = !scheme.is_empty()
            && !host.is_empty()
            && scheme.bytes().all(lower(b"+.-"))
            && host.bytes().all(lower(b".-_:[]"));
        exact.then(|| Origin(text.to_owned()))
    }
}

/// Most entries of a list: each is looked at for every connection.
const LIST_MAX: usize = 100;

impl Kind for Vec<Origin> {
    const SHAPE: Shape = Shape::List;

    fn read(value: &Value, bounds: &Bounds) -> Result<Self, Vec<Wrong>> {
        each(value, bounds, |place, item| {
            let origin = item.as_str().and_then(Origin::parse);
            origin.ok_or_else(|| vec![Wrong::item(&place, item, bounds)])
        })
    }

    fn show(&self) -> Option<Value> {
        Some(Value::Array(self.iter().map(|origin| Value::String(origin.0.clone())).collect()))
    }

    fn typed(text: &str) -> Value {
        listed(text).unwrap_or_else(|| {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        })
    }
}

/// Every item of a list, or all that is wrong with any of them.
fn each<T>(
    value: &Value,
    bounds: &Bounds,
    read: impl Fn(String, &Value) -> Result<T, Vec<Wrong>>,
) -> Result<Vec<T>, Vec<Wrong>> {
    let items = value.as_array().ok_or_else(|| Wrong::must_be(bounds))?;
    if items.len() > LIST_MAX {
        let why = format!("has {} entries, the limit is {LIST_MAX}", items.len());
        return Err(Wrong::whole(why));
    }
    let mut good = Vec::new();
    let mut wrong = Vec::new();
    for (place, item) in items.iter().enumerate() {
        match read(format!("[{place}]"), item) {
            Ok(item) => good.push(item),
            Err(why) => wrong.extend(why),
        }
    }
    if wrong.is_empty() { Ok(good) } else { Err(wrong) }
}

/// A text that is a list as a file would have it.
fn listed(text: &str) -> Option<Value> {
    text.trim_start().starts_with('[').then(|| text.parse().ok()).flatten()
}

/// A key that signs tokens, and for whom.
#[derive(Clone, Debug)]
pub(crate) struct AuthKey {
    /// What it verifies with, and the one algorithm it does.
    pub(crate) key: PublicKey,
    /// What tokens call it; absent = whatever they call it.
    pub(crate) kid: Option<String>,
    /// Whose it is; absent = `auth.issuer`.
    pub(crate) issuer: Option<String>,
}

impl Kind for Vec<AuthKey> {
    const SHAPE: Shape = Shape::List;

    fn read(value: &Value, bounds: &Bounds) -> Result<Self, Vec<Wrong>> {
        each(value, bounds, |place, item| {
            let fields = item.as_table().ok_or_else(|| vec![Wrong::item(&place, item, bounds)])?;
            AuthKey::read(&place, fields)
        })
    }

    fn show(&self) -> Option<Value> {
        let field = |name: &str, text: &str| (name.to_owned(), Value::String(text.to_owned()));
        let shown = |key: &AuthKey| {
            let mut fields = toml::Table::from_iter([field("alg", key.key.alg().as_str())]);
            fields.extend(key.kid.as_deref().map(|kid| field("kid", kid)));
            fields.extend(key.issuer.as_deref().map(|issuer| field("issuer", issuer)));
            Value::Table(fields)
        };
        Some(Value::Array(self.iter().map(shown).collect()))
    }

    fn typed(text: &str) -> Value {
        listed(text).unwrap_or_else(|| Value::String(text.to_owned()))
    }
}

impl AuthKey {
    const FIELDS: [&str; 5] = ["alg", "pem", "pem_file", "kid", "issuer"];

    fn read(place: &str, fields: &toml::Table) -> Result<AuthKey, Vec<Wrong>> {
        let mut wrong = Vec::new();
        let mut refuse = |field: &str, value: Option<&Value>, why: String| {
            wrong.push(Wrong { part: format!("{place}{field}"), value: value.cloned(), why });
        };
        for (field, value) in fields {
            let field = field.as_str();
            if !AuthKey::FIELDS.contains(&field) {
                let why = format!("unknown, expected one of {}", AuthKey::FIELDS.join(", "));
                refuse(&format!(".{field}"), None, why);
            } else if !value.is_str() {
                let why = format!("is {}; it takes a text, in quotes", called(value));
                refuse(&format!(".{field}"), Some(value), why);
            } else if value.as_str() == Some("") {
                refuse(&format!(".{field}"), None, "must not be empty".to_owned());
            }
        }
        let text = |field: &str| fields.get(field).and_then(Value::as_str);
        let alg = text("alg").and_then(Alg::parse_public);
        if alg.is_none() {
            refuse(".alg", fields.get("alg"), "must be RS256, ES256 or EdDSA".to_owned());
        }
        let pem = match (text("pem"), text("pem_file")) {
            (Some(pem), None) => Some(pem.to_owned()),
            (None, Some(file)) => match std::fs::read_to_string(file) {
                Ok(pem) => Some(pem),
                Err(error) => {
                    let why = format!("cannot be read: {error}");
                    refuse(".pem_file", fields.get("pem_file"), why);
                    None
                }
            },
            (both, _) => {
                let has = if both.is_some() { "both pem and" } else { "neither pem nor" };
                refuse("", None, format!("has {has} pem_file, must have one of the two"));
                None
            }
        };
        let key = alg.zip(pem).and_then(|(alg, pem)| {
            let key = PublicKey::from_pem(alg, &pem);
            if key.is_none() {
                // Not shown: what stands there may be the private key.
                refuse(".pem", None, format!("must be a public key for {} in PEM", alg.as_str()));
            }
            key
        });
        let named = |field: &str| text(field).map(str::to_owned);
        match key {
            Some(key) if wrong.is_empty() => {
                Ok(AuthKey { key, kid: named("kid"), issuer: named("issuer") })
            }
            _ => Err(wrong),
        }
    }
}
