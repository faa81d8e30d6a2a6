//! Line: one JSON object written key by key into a buffer.
//!
//! Ids, codes and kinds need no escaping by their type, so only free text pays for it.

/// An object being written. [`Line::end`] closes it.
pub struct Line<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Line<'a> {
    /// Opens an object.
    pub fn open(out: &'a mut Vec<u8>) -> Line<'a> {
        out.push(b'{');
        Line { out, first: true }
    }

    /// Opens an object of kind `t`.
    pub fn of(out: &'a mut Vec<u8>, t: &str) -> Line<'a> {
        Line::open(out).word("t", t)
    }

    fn key(&mut self, key: &str) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A string that needs no escaping: an id, a code, a kind.
    pub fn word(mut self, key: &str, word: &str) -> Line<'a> {
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b'"');
        self
    }

    /// A string that needs no escaping, if there is one.
    pub fn maybe_word(self, key: &str, word: Option<&str>) -> Line<'a> {
        match word {
            Some(word) => self.word(key, word),
            None => self,
        }
    }

    /// Free text.
    pub fn text(mut self, key: &str, text: &str) -> Line<'a> {
        self.key(key);
        serde_json::to_writer(&mut *self.out, text).expect("writing to memory cannot fail");
        self
    }

    /// A number.
    pub fn number(mut self, key: &str, number: u64) -> Line<'a> {
        self.key(key);
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self
    }

    /// A number, if there is one.
    pub fn maybe_number(self, key: &str, number: Option<u64>) -> Line<'a> {
        match number {
            Some(number) => self.number(key, number),
            None => self,
        }
    }

    /// `true`, or nothing at all: a flag that is absent is false.
    pub fn flag(self, key: &str, on: bool) -> Line<'a> {
        if on { self.raw(key, b"true") } else { self }
    }

    /// JSON that was written before.
    pub fn raw(mut self, key: &str, json: &[u8]) -> Line<'a> {
        self.key(key);
        self.out.extend_from_slice(json);
        self
    }

    /// A value that `write` puts there.
    pub fn put(mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) -> Line<'a> {
        self.key(key);
        write(self.out);
        self
    }

    /// Closes the object.
    pub fn end(self) {
        self.out.push(b'}');
    }
}

/// Writes an array, one item a call of `write`.
pub fn put_list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}
