//! HTTP: one call, one connection, blocking.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A call that takes longer has failed.
const CALL_TIME_MAX: Duration = Duration::from_secs(15);

/// A request, as it goes out.
pub(crate) struct Call<'a> {
    pub(crate) bearer: Option<&'a str>,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) idempotency_key: Option<&'a str>,
    pub(crate) body: Option<&'a str>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Result<Value, String> {
        serde_json::from_str(&self.body).map_err(|_| format!("the answer is {self:?}, no JSON"))
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.body)
    }
}

impl Call<'_> {
    pub(crate) fn make(&self, addr: SocketAddr) -> Result<Answer, String> {
        let Call { method, path, .. } = self;
        self.exchange(addr).map_err(|why| format!("{method} {path}: {why}"))
    }

    fn exchange(&self, addr: SocketAddr) -> Result<Answer, String> {
        let Call { method, path, .. } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
        if let Some(bearer) = self.bearer {
            head += &format!("Authorization: Bearer {bearer}\r\n");
        }
        if let Some(key) = self.idempotency_key {
            head += &format!("Idempotency-Key: {key}\r\n");
        }
        let body = self.body.unwrap_or_default();
        if self.body.is_some() {
            head += "Content-Type: application/json\r\n";
        }
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let mut answer = String::new();
        TcpStream::connect(addr)
            .and_then(|mut stream| {
                stream.set_read_timeout(Some(CALL_TIME_MAX))?;
                stream.write_all(request.as_bytes())?;
                stream.read_to_string(&mut answer)
            })
            .map_err(|why| why.to_string())?;
        read(&answer).ok_or_else(|| format!("the answer is {answer:?}"))
    }
}

/// An answer that ended with its connection.
fn read(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let field = |line: &str| -> Option<usize> {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok()).flatten()
    };
    let bytes = head.lines().find_map(field).unwrap_or(0);
    (body.len() == bytes).then(|| Answer { status, body: body.to_owned() })
}
