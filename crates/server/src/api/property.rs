//! Any bytes at all as a query and as headers: a number is what its digits say and nothing else is one, and a
//! refusal never says much of what came in. For tests and fuzzing only.

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use tertulia_protocol::RoomId;
use tertulia_protocol::limits::INTEGER_MAX;

use super::query::Query;
use crate::problem::Problem;
use crate::upgrade::bearer;

/// Most bytes of a refusal's words, in JSON, where a character may take six.
const WORDS_BYTES_MAX: usize = 1_000;

/// A query; behind a line break what stands in `authorization`.
pub(crate) fn check(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (query, header) = (parts.next().unwrap_or_default(), parts.next());
    if let Ok(uri) = Uri::try_from([b"/v1/rooms?", query].concat()) {
        asked(&uri);
    }
    if let Some(Ok(value)) = header.map(HeaderValue::from_bytes) {
        carried(value);
    }
}

fn asked(uri: &Uri) {
    let query = match Query::of(uri) {
        Ok(query) => query,
        Err(problem) => return short(&problem),
    };
    let pairs = by_the_book(uri.query().unwrap_or_default());
    let one = |name: &str| {
        let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        (values.next(), values.next().is_some())
    };
    for name in ["before", "limit"] {
        let digits = |text: &String| text.bytes().all(|byte| byte.is_ascii_digit());
        match (query.number(name), one(name)) {
            (Ok(None), (None, _)) => {}
            (Ok(Some(number)), (Some(text), false)) => {
                assert!(digits(text) && number <= INTEGER_MAX, "{text:?} is taken for {number}");
                assert_eq!(text.trim_start_matches('0').parse().unwrap_or(0), number, "{text}");
            }
            (Err(problem), (Some(text), twice)) => {
                short(&problem);
                let sound = !text.is_empty() && text.len() < 16 && digits(text);
                assert!(twice || !sound, "{text} is a number");
            }
            (read, there) => panic!("{name}: {there:?} is read as {read:?}"),
        }
    }
    if let Ok(limit) = query.limit() {
        assert_ne!(limit, Some(0));
        assert!((1..=200).contains(&query.list_limit().expect("it was read before")));
    }
    match (query.after(RoomId::parse), one("after")) {
        (Ok(room), (text, false)) => {
            assert_eq!(room.as_ref().map(RoomId::as_str), text.map(String::as_str));
        }
        (Err(problem), (Some(text), twice)) => {
            short(&problem);
            assert!(twice || RoomId::parse(text).is_err());
        }
        (read, there) => panic!("after: {there:?} is read as {read:?}"),
    }
}

fn carried(value: HeaderValue) {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, value.clone());
    match bearer(&headers) {
        Ok(Some(token)) => {
            let text = value.to_str().expect("a token is ASCII");
            assert!(text.to_ascii_lowercase().starts_with("bearer ") && text.contains(token));
            assert_eq!(token, token.trim());
        }
        Ok(None) => panic!("the header was there"),
        Err(problem) => short(&problem),
    }
    headers.append(header::AUTHORIZATION, value);
    assert!(bearer(&headers).is_err(), "of two tokens one is taken");
}

fn short(problem: &Problem) {
    let words = format!("{problem:?}").len();
    assert!(words <= WORDS_BYTES_MAX, "{words} bytes: {problem:?}");
}

/// Names and values of a query as a form has them.
fn by_the_book(query: &str) -> Vec<(String, String)> {
    let decoded = |part: &str| {
        let bytes = part.as_bytes();
        let mut out = Vec::new();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let code = part.get(at + 1..at + 3).filter(|_| *byte == b'%');
            let code = code.filter(|code| code.bytes().all(|digit| digit.is_ascii_hexdigit()));
            match code.map(|code| u8::from_str_radix(code, 16)) {
                Some(Ok(code)) => {
                    out.push(code);
                    at += 2;
                }
                _ => out.push(if *byte == b'+' { b' ' } else { *byte }),
            }
            at += 1;
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(name), decoded(value))
    };
    query.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_bytes_as_queries() {
        crate::kept::check("queries", super::check);
    }
}
