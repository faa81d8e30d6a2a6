//! Strict: a reader of JSON that is not ours, to hold ours against.

use serde_json::Value;

/// What it refuses though the grammar allows it: its own bounds, and halves of characters. Ours passes over
/// such things in keys that it does not know.
const BOUNDS: [&str; 4] = [
    "recursion limit exceeded",
    "number out of range",
    "lone leading surrogate",
    "unexpected end of hex escape",
];

/// The object that `text` is, which was accepted. `None` if it is beyond the strict reader.
pub(crate) fn object(text: &str) -> Option<Value> {
    match serde_json::from_str::<Value>(text) {
        Ok(object) => {
            assert!(object.is_object(), "{text} is no object");
            Some(object)
        }
        Err(error) => {
            let why = error.to_string();
            assert!(BOUNDS.iter().any(|bound| why.starts_with(bound)), "{text}: {why}");
            None
        }
    }
}
