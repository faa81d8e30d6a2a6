//! The fast way to hear an event: its keys in the order in which our server writes them.

use std::borrow::Cow;

use super::Event;
use crate::limits::INTEGER_MAX;

/// Reads an event whose keys stand as [`crate::event`] writes them; `None` is no verdict, only "look closer".
///
/// What is found here is what serde would find, but for one thing: a `d` is only walked over, so one that is
/// no JSON is handed out as it stands.
pub(super) fn scan(text: &str) -> Option<Event<'_>> {
    let mut rest = Rest(text);
    rest.key("{\"t\":\"ev\",\"room\":")?;
    let room = rest.word()?;
    rest.key(",\"seq\":")?;
    let seq = rest.number()?;
    rest.key(",\"ts\":")?;
    let ts = rest.number()?;
    let by = if rest.key(",\"by\":").is_some() { Some(rest.word()?) } else { None };
    rest.key(",\"k\":")?;
    let k = rest.word()?;
    let n = if rest.key(",\"n\":").is_some() { Some(rest.number()?) } else { None };
    let cid = if rest.key(",\"cid\":").is_some() { Some(rest.word()?) } else { None };
    let d = if rest.key(",\"d\":").is_some() { Some(rest.value()?) } else { None };
    if rest.0 != "}" {
        return None;
    }
    let word = Cow::Borrowed;
    Some(Event {
        room: word(room),
        seq,
        ts,
        by: by.map(word),
        k: word(k),
        n,
        cid: cid.map(word),
        d,
    })
}

/// What of a text has not been scanned.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn key(&mut self, key: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(key)?;
        Some(())
    }

    /// A string without an escape in it.
    fn word(&mut self) -> Option<&'a str> {
        let inner = self.0.strip_prefix('"')?;
        let end = inner.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < b' ')?;
        let (word, rest) = inner.split_at_checked(end)?;
        self.0 = rest.strip_prefix('"')?;
        Some(word)
    }

    fn number(&mut self) -> Option<u64> {
        let end = self.0.bytes().position(|byte| !byte.is_ascii_digit())?;
        let (digits, rest) = self.0.split_at_checked(end)?;
        if digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        self.0 = rest;
        digits.parse().ok().filter(|number| *number <= INTEGER_MAX)
    }

    /// An object, an array or a string, whatever it holds.
    fn value(&mut self) -> Option<&'a str> {
        let bytes = self.0.as_bytes();
        let mut depth = 0_usize;
        let mut at = 0;
        loop {
            match bytes.get(at)? {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.checked_sub(1)?,
                b'"' => at += string_end(bytes.get(at + 1..)?)?,
                // A number or a word ends where something else begins: rare, and serde knows where.
                _ if depth == 0 => return None,
                _ => {}
            }
            at += 1;
            if depth == 0 {
                let (value, rest) = self.0.split_at_checked(at)?;
                self.0 = rest;
                return Some(value);
            }
        }
    }
}

/// Length of the string that `bytes` begin in, its closing quote included.
fn string_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}
