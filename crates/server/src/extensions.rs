//! Extensions: which offer of permessage-deflate is taken (RFC 7692, 7.1). (1 receive)
//!
//! Never without context takeover off on both sides: a compressed message serves everyone who hears it, and a
//! connection keeps no window between messages.
//!
//! Never: refuses an upgrade because of an offer; one that cannot be taken is passed over.

use axum::http::{HeaderMap, HeaderValue, header};

const NAME: &str = "permessage-deflate";

/// The window that is used, as an exponent of two: the largest, which is what an offer allows by saying
/// nothing.
const WINDOW_BITS: u8 = 15;

/// What is answered to the first offer that can be taken; `None` if there is none.
pub(crate) fn agreement(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).into_iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| outside_quotes(line, ',')).find_map(answer)
}

/// The answer to one offer.
fn answer(offer: &str) -> Option<HeaderValue> {
    let mut parts = outside_quotes(offer, ';');
    if !parts.next()?.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let mut seen = Vec::new();
    let mut names_window = false;
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
            None => (part, None),
        };
        let name = name.to_ascii_lowercase();
        match (&*name, value) {
            ("server_no_context_takeover" | "client_no_context_takeover", None) => {}
            // Theirs is up to them: what fits a small window is read with a large one.
            ("client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(value)) => _ = bits(value)?,
            ("server_max_window_bits", Some(value)) if bits(value)? == WINDOW_BITS => {
                names_window = true;
            }
            _ => return None,
        }
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
    }
    // Whoever names the window is to be told it.
    Some(HeaderValue::from_static(if names_window {
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         server_max_window_bits=15"
    } else {
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    }))
}

/// The exponent of a window: 8 to 15 without a leading zero, in quotes or without.
fn bits(value: &str) -> Option<u8> {
    let plain = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let digits = plain.bytes().all(|byte| byte.is_ascii_digit()) && !plain.starts_with('0');
    plain.parse().ok().filter(|bits| digits && (8..=15).contains(bits))
}

/// The parts between separators that stand in no quoted string, without the space around them.
fn outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    let parts = text.split(move |c| {
        let is_plain = !std::mem::take(&mut escaped);
        match c {
            '\\' if quoted && is_plain => escaped = true,
            '"' if is_plain => quoted = !quoted,
            _ => {}
        }
        c == separator && !quoted
    });
    parts.map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::SEC_WEBSOCKET_EXTENSIONS, line.parse().unwrap());
        }
        Some(agreement(&headers)?.to_str().unwrap().to_owned())
    }

    const PLAIN: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn the_first_offer_that_can_be_taken_is_taken() {
        let with_window = format!("{PLAIN}; server_max_window_bits=15");
        for (lines, expected) in [
            (&["permessage-deflate"][..], PLAIN),
            (&["permessage-deflate; client_max_window_bits"], PLAIN),
            (&["Permessage-Deflate;Client_Max_Window_Bits = \"10\""], PLAIN),
            (
                &["permessage-deflate; server_no_context_takeover; client_no_context_takeover"],
                PLAIN,
            ),
            (&["permessage-deflate; server_max_window_bits=15"], &with_window),
            (&["permessage-deflate; server_max_window_bits=10, permessage-deflate"], PLAIN),
            (&["x-webkit-deflate-frame", "foo, permessage-deflate"], PLAIN),
            (&["foo; bar=\"a, b; \\\" c\", permessage-deflate"], PLAIN),
        ] {
            assert_eq!(answered(lines).as_deref(), Some(expected), "{lines:?}");
        }
    }

    #[test]
    fn an_offer_that_is_odd_or_asks_for_less_is_passed_over() {
        for line in [
            "",
            ",,;;",
            "x-webkit-deflate-frame",
            "permessage-deflate2",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=14",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=015",
            "permessage-deflate; server_max_window_bits=+15",
            "permessage-deflate; server_max_window_bits=15; server_max_window_bits=15",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover=true",
            "permessage-deflate; mux=4",
            "permessage-deflate;",
            "foo; bar=\", permessage-deflate, \"",
        ] {
            assert_eq!(answered(&[line]), None, "{line:?}");
        }
    }
}
