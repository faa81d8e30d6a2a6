//! Rust: a text of it with everything blanked that is no code. Lines and columns stay where they were.
//!
//! This is a reader of letters, not of the language: it knows comments, texts, characters and braces, which
//! is what it takes to look for a word of code and not find it in a sentence.

/// The code of `text`: comments, texts and characters are spaces.
pub(super) fn code(text: &str) -> String {
    let mut out = text.as_bytes().to_vec();
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let len = match rest {
            [b'/', b'/', ..] => line_comment(rest),
            [b'/', b'*', ..] => block_comment(rest),
            [b'"', ..] => string(rest),
            [b'\'', ..] => character(rest),
            _ if begins_word(text.as_bytes(), at) => match raw_string(rest) {
                Some(len) => len,
                None => {
                    at += 1;
                    continue;
                }
            },
            _ => {
                at += 1;
                continue;
            }
        };
        blank(&mut out[at..at + len]);
        at += len;
    }
    String::from_utf8(out).expect("whole characters were blanked")
}

/// `code` without the items behind `#[cfg(test)]`.
pub(super) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = code.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = code[from..].find(MARK) {
        let begin = from + found;
        let len = MARK.len() + item(&code.as_bytes()[begin + MARK.len()..]);
        blank(&mut out[begin..begin + len]);
        from = begin + len;
    }
    String::from_utf8(out).expect("whole characters were blanked")
}

/// The names of the functions in `code` that are tests.
pub(super) fn tests(code: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut marked = false;
    for line in code.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(name) = function(line) {
            if marked {
                names.push(name);
            }
            marked = false;
        }
    }
    names
}

fn function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    Some(&rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_')?])
}

fn blank(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

fn line_comment(rest: &[u8]) -> usize {
    rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
}

/// Block comments may stand in one another.
fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(rest.len())
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character, or only the mark of a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let end = rest[3.min(rest.len())..].iter().position(|byte| *byte == b'\'');
        return end.map_or(1, |end| 3 + end + 1);
    }
    // One character of up to four bytes; anything longer is a lifetime.
    let end = rest.iter().take(6).skip(2).position(|byte| *byte == b'\'');
    match end {
        Some(end) if end == 0 || !rest[1].is_ascii() => 2 + end + 1,
        _ => 1,
    }
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let body = rest.strip_prefix(b"b").unwrap_or(rest).strip_prefix(b"r")?;
    let hashes = body.iter().take_while(|byte| **byte == b'#').count();
    let inner = body[hashes..].strip_prefix(b"\"")?;
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let len = inner.windows(end.len()).position(|window| window == end)? + end.len();
    Some(rest.len() - inner.len() + len)
}

fn begins_word(text: &[u8], at: usize) -> bool {
    at == 0 || !(text[at - 1].is_ascii_alphanumeric() || text[at - 1] == b'_')
}

/// The length of the first item: up to its `;`, or the brace that closes it.
fn item(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    // `use a::{b, c};` goes on to its end.
                    return at + 1 + usize::from(rest.get(at + 1) == Some(&b';'));
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let code = code(text);
        assert_eq!(code.len(), text.len());
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn only_code_is_left() {
        check("a // b\nc", "a c");
        check("a /* b /* c */ d */ e", "a e");
        check(r#"say("no // comment", "\" quote"); b"#, "say( , ); b");
        check(r##"say(r#"a "b" c"#, br"\"); d"##, "say( , ); d");
        check(
            r"match c { '\'' => 1, '{' => 2, 'é' => 3, '\u{41}' => 4 } b",
            "match c { => 1, => 2, => 3, => 4 } b",
        );
        check(
            "fn of<'a>(text: &'a str) -> &'a str { text }",
            "fn of< a>(text: & a str) -> & a str { text }",
        );
        check("forr\"a\"", "forr");
    }

    #[test]
    fn what_is_for_tests_is_left_out_and_what_follows_is_not() {
        let code = "a(); #[cfg(test)] mod tests { fn b() { c(); } } d(); #[cfg(test)]\nuse e::{f, g};\nh();";
        let left = without_tests(code);
        assert_eq!(left.split_whitespace().collect::<Vec<_>>(), ["a();", "d();", "h();"]);
        assert_eq!(left.lines().count(), code.lines().count());
    }

    #[test]
    fn a_test_is_known_by_its_mark() {
        let code = "#[test]\nfn one() {}\nfn helper() {}\n#[test]\n#[ignore]\nfn two() {}\n";
        assert_eq!(tests(code), ["one", "two"]);
    }
}
