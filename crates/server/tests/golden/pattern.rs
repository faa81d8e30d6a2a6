//! Patterns: what an object must look like, and what of it is remembered.

use std::collections::BTreeMap;

use libtest_mimic::Trial;
use serde_json::{Value, json};

/// What names such as `$r1` stand for.
#[derive(Clone, Default)]
pub(crate) struct Bound(BTreeMap<String, Value>);

impl Bound {
    pub(crate) fn bind(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// What `$x` or `$x+1` stands for; `None` where it is not bound yet.
    ///
    /// Errors: the arithmetic is of something that is no number.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Value>, String> {
        let Some((name, more)) = name.split_once('+') else {
            return Ok(self.0.get(name).cloned());
        };
        let more: u64 = more.parse().map_err(|_| format!("${name}+{more} adds no number"))?;
        let number = self.0.get(name).and_then(Value::as_u64);
        number
            .map(|number| Some(json!(number + more)))
            .ok_or_else(|| format!("${name}+{more}: ${name} is bound to no number"))
    }

    /// The number that a step gives, plain or by name.
    pub(crate) fn number(&self, value: &Value) -> Result<u64, String> {
        let meant = match value.as_str().and_then(|text| text.strip_prefix('$')) {
            Some(name) => self.get(name)?.unwrap_or_default(),
            None => value.clone(),
        };
        meant.as_u64().ok_or_else(|| format!("{value} stands for no number"))
    }

    /// Whether `got` matches, and if so remembers what the pattern binds.
    ///
    /// Errors: the first place where it does not.
    pub(crate) fn matches(&mut self, pattern: &Value, got: &Value) -> Result<(), String> {
        let mut attempt = self.clone();
        attempt.look(pattern, Some(got), "")?;
        *self = attempt;
        Ok(())
    }

    fn look(&mut self, pattern: &Value, got: Option<&Value>, place: &str) -> Result<(), String> {
        let differs = |expected: &Value| match got {
            Some(got) => Err(format!("{place}: expected {expected}, got {got}")),
            None => Err(format!("{place}: expected {expected}, nothing is there")),
        };
        match (pattern, got) {
            (Value::String(word), _) if word == "-" => match got {
                None => Ok(()),
                Some(got) => Err(format!("{place}: expected nothing, got {got}")),
            },
            (Value::String(word), Some(_)) if word == "*" => Ok(()),
            (Value::String(word), Some(got)) if word.starts_with('$') => {
                let name = &word[1..];
                match self.get(name)? {
                    Some(bound) if bound == *got => Ok(()),
                    Some(bound) => differs(&bound),
                    None => {
                        self.bind(name, got.clone());
                        Ok(())
                    }
                }
            }
            (Value::Object(keys), Some(Value::Object(there))) => {
                for (key, pattern) in keys {
                    let (got, place) = (there.get(key), format!("{place}.{key}"));
                    // What the application says is compared as it is, whatever it looks like.
                    if key == "d" && !matches!(pattern.as_str(), Some("*" | "-")) {
                        if got != Some(pattern) {
                            let got = got.map_or("nothing".to_owned(), Value::to_string);
                            return Err(format!("{place}: expected {pattern}, got {got}"));
                        }
                    } else {
                        self.look(pattern, got, &place)?;
                    }
                }
                Ok(())
            }
            (Value::Array(items), Some(Value::Array(there))) => {
                if items.len() != there.len() {
                    return differs(pattern);
                }
                for (index, (pattern, got)) in items.iter().zip(there).enumerate() {
                    self.look(pattern, Some(got), &format!("{place}[{index}]"))?;
                }
                Ok(())
            }
            (_, Some(got)) if pattern == got => Ok(()),
            _ => differs(pattern),
        }
    }
}

/// A check that cannot fail is none, so the patterns are checked themselves.
pub(crate) fn tests() -> Vec<Trial> {
    let rows = [
        (json!({"t": "ok"}), json!({"t": "ok", "id": 1}), true),
        (json!({"t": "ok", "id": 1}), json!({"t": "ok"}), false),
        (json!({"id": 1}), json!({"id": "1"}), false),
        (json!({"id": "*"}), json!({"id": null}), true),
        (json!({"id": "*"}), json!({}), false),
        (json!({"id": "-"}), json!({}), true),
        (json!({"id": "-"}), json!({"id": null}), false),
        (json!({"a": "$x", "b": "$x"}), json!({"a": 1, "b": 1}), true),
        (json!({"a": "$x", "b": "$x"}), json!({"a": 1, "b": 2}), false),
        (json!({"a": "$x", "b": "$x+2"}), json!({"a": 1, "b": 3}), true),
        (json!({"a": "$x", "b": "$x+2"}), json!({"a": 1, "b": 2}), false),
        (json!({"a": "$x+1"}), json!({"a": 1}), false),
        (json!({"a": {"b": 1}}), json!({"a": {"b": 1, "c": 2}}), true),
        (json!({"d": {"b": 1}}), json!({"d": {"b": 1, "c": 2}}), false),
        (json!({"d": 1}), json!({"d": 1.0}), false),
        (json!({"d": "$x"}), json!({"d": 1}), false),
        (json!({"a": [1, {"b": 2}]}), json!({"a": [1, {"b": 2, "c": 3}]}), true),
        (json!({"a": [1]}), json!({"a": [1, 2]}), false),
        (json!({"a": []}), json!({"a": {}}), false),
    ];
    let run = move || {
        for (pattern, got, expected) in &rows {
            if Bound::default().matches(pattern, got).is_ok() != *expected {
                let verb = if *expected { "does not match" } else { "matches" };
                return Err(format!("{got} {verb} {pattern}").into());
            }
        }
        Ok(())
    };
    vec![Trial::test("pattern::what_matches_what", run)]
}
