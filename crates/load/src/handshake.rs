//! Handshake: from a TCP connection to WebSocket frames, by hand.
//!
//! Never: goes on with a server that does not speak `tertulia.v1`.

/// A key from RFC 6455 §1.3. It only has to keep old proxies from answering out of a cache, so it may
/// always be the same, and then its answer is known without SHA-1.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a server makes of [`KEY`].
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What the server has to agree to.
const PROTOCOL: &str = "tertulia.v1";

/// Longest head of an answer: ours has about 200 bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The upgrade request to `host`.
pub(crate) fn request(host: &str) -> String {
    format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
    )
}

/// Length of the answer's head if all of it is there and the server agreed; what follows are frames.
///
/// Errors: one sentence for a log.
pub(crate) fn answered(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(format!("the answer's head is longer than {HEAD_BYTES_MAX} bytes"));
        }
        return Ok(None);
    };
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101 ") {
        return Err(format!("the upgrade was answered with {status:?}"));
    }
    let mut accept = None;
    let mut protocol = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("sec-websocket-accept") {
            accept = Some(value.trim());
        } else if name.eq_ignore_ascii_case("sec-websocket-protocol") {
            protocol = Some(value.trim());
        }
    }
    if accept != Some(ACCEPT) {
        return Err(format!("Sec-WebSocket-Accept is {accept:?}, expected {ACCEPT:?}"));
    }
    if protocol != Some(PROTOCOL) {
        return Err(format!("Sec-WebSocket-Protocol is {protocol:?}, expected {PROTOCOL:?}"));
    }
    Ok(Some(end + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_begin_behind_an_answer_that_agrees() {
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nsec-websocket-accept: {ACCEPT}\r\n\
             Sec-WebSocket-Protocol: tertulia.v1\r\n\r\n"
        );
        let answer = format!("{head}frames");
        assert_eq!(answered(answer.as_bytes()), Ok(Some(head.len())));
        for cut in 0..head.len() {
            assert_eq!(answered(&head.as_bytes()[..cut]), Ok(None), "cut at {cut}");
        }
        for (good, bad) in
            [("101", "403"), (ACCEPT, "other"), ("tertulia.v1\r", "v2\r"), ("accept", "x")]
        {
            assert!(answered(head.replace(good, bad).as_bytes()).is_err(), "{bad} for {good}");
        }
    }
}
