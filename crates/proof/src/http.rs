//! Calls over HTTP, one connection each, blocking.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A call that takes longer has failed.
const CALL_TIME: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    /// The body, its chunks put together.
    pub body: String,
}

impl Answer {
    /// The value of a header, the first of its name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The body as JSON; `null` where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// All that may not tell a missing room from a foreign one: dates and request ids differ anyway.
    pub fn without_what_always_differs(&self) -> String {
        let lines = self.head.lines().filter(|line| !line.starts_with("date:"));
        let head: Vec<&str> = lines.collect();
        let mut body = self.json();
        if let Some(object) = body.as_object_mut() {
            object.remove("request_id");
        }
        format!("{}\n{body}", head.join("\n"))
    }
}

/// Calls `path`. `headers` are whole lines.
pub fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> io::Result<Answer> {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    exchange(address, request.as_bytes())
}

/// Sends a request as it stands. The server ends the connection.
pub fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, CALL_TIME)?;
    stream.set_read_timeout(Some(CALL_TIME))?;
    // It may be refused before all of it is sent; the answer tells.
    _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    match read(&bytes) {
        Some(answer) => Ok(answer),
        None => Err(ended.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
    }
}

/// Reads an answer that ended with its connection.
pub fn read(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body)? } else { body.to_owned() };
    Some(Answer { status, head: head.to_owned(), body })
}

fn unchunked(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        let (chunk, after) = after.split_at_checked(size)?;
        body.push_str(chunk);
        rest = after.strip_prefix("\r\n")?;
    }
}
