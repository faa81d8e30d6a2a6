//! HTTP: the few calls that prepare a run, one connection each, blocking.
//!
//! Never: used while messages flow, except for metrics from a thread of its own.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::Deserialize;

use crate::error::Error;

/// A call that takes longer has failed.
const CALL_TIME_MAX: Duration = Duration::from_secs(30);

/// The application's side of the server: makes users and rooms.
pub(crate) struct Api<'a> {
    pub(crate) addr: SocketAddr,
    /// What stands in `Host`.
    pub(crate) host: &'a str,
    pub(crate) key: &'a str,
}

impl Api<'_> {
    /// A token for `user`; `cid` makes a repeated call harmless.
    pub(crate) fn token(&self, user: &str, cid: &str) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Made {
            token: String,
        }
        let (method, path) = ("POST", "/v1/tokens");
        let body = format!(r#"{{"user":"{user}","ttl_s":86400}}"#);
        let answer = self.call(method, path, Some(cid), &body)?;
        let made: Made = serde_json::from_str(&answer).map_err(|why| self.garbled(path, why))?;
        Ok(made.token)
    }

    pub(crate) fn room(&self, room: &str) -> Result<(), Error> {
        self.call("PUT", &format!("/v1/rooms/{room}"), None, r#"{"kind":"group"}"#).map(drop)
    }

    pub(crate) fn member(&self, room: &str, user: &str) -> Result<(), Error> {
        let path = format!("/v1/rooms/{room}/members/{user}");
        self.call("PUT", &path, None, r#"{"role":"member"}"#).map(drop)
    }

    fn call(
        &self,
        method: &'static str,
        path: &str,
        cid: Option<&str>,
        body: &str,
    ) -> Result<String, Error> {
        let Api { host, key, .. } = self;
        let cid = cid.map(|cid| format!("Idempotency-Key: {cid}\r\n")).unwrap_or_default();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n{cid}\
             Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        call(self.addr, method, path, &request)
    }

    fn garbled(&self, path: &str, why: serde_json::Error) -> Error {
        let source = io::Error::new(io::ErrorKind::InvalidData, why);
        Error::Call { addr: self.addr, method: "POST", path: path.into(), source }
    }
}

/// The body of a page.
pub(crate) fn get(addr: SocketAddr, path: &str) -> Result<String, Error> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    call(addr, "GET", path, &request)
}

fn call(
    addr: SocketAddr,
    method: &'static str,
    path: &str,
    request: &str,
) -> Result<String, Error> {
    let answer = exchange(addr, request).and_then(|answer| read(&answer));
    match answer {
        Ok((status, body)) if (200..300).contains(&status) => Ok(body),
        Ok((status, body)) => {
            Err(Error::Answer { addr, method, path: path.to_owned(), status, body })
        }
        Err(source) => Err(Error::Call { addr, method, path: path.to_owned(), source }),
    }
}

fn exchange(addr: SocketAddr, request: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&addr, CALL_TIME_MAX)?;
    stream.set_read_timeout(Some(CALL_TIME_MAX))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// The status and the body of an answer that ended with its connection.
fn read(answer: &[u8]) -> io::Result<(u16, String)> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let text = std::str::from_utf8(answer).map_err(|_| bad("the answer is not UTF-8"))?;
    let (head, body) =
        text.split_once("\r\n\r\n").ok_or_else(|| bad("the answer has no end of head"))?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| bad("the answer has no status"))?;
    let chunked = head.lines().any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("transfer-encoding")
                && value.trim().eq_ignore_ascii_case("chunked")
        })
    });
    if !chunked {
        return Ok((status, body.to_owned()));
    }
    unchunked(body).map(|body| (status, body)).ok_or_else(|| bad("the answer's chunks are cut"))
}

fn unchunked(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        let (chunk, after) = after.split_at_checked(size)?;
        body.push_str(chunk);
        rest = after.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_whole_or_in_chunks() {
        let whole = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(read(whole).unwrap(), (201, "{}".to_owned()));
        let chunks =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(read(chunks).unwrap(), (200, "abcde".to_owned()));
        assert!(read(b"HTTP/1.1 200 OK\r\n").is_err());
    }
}
