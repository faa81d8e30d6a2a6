//! Problems: what an HTTP caller is told when it does not get what it wants (RFC 9457).

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tertulia_protocol::line::Line;
use tertulia_protocol::{Bad, Close, Code};
use tertulia_rooms::{Refusal, identity};

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: Code,
    detail: String,
    retry_ms: Option<u64>,
}

impl Problem {
    /// With the status that belongs to `code`.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Problem {
        let status = StatusCode::from_u16(code.http_status());
        Problem {
            status: status.expect("every code has a real status"),
            code,
            detail: detail.into(),
            retry_ms: None,
        }
    }

    /// Malformed; `detail` names the field.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(Code::BadRequest, detail)
    }

    /// There is nothing here, or nothing for this caller.
    pub(crate) fn not_found() -> Problem {
        Problem::from(Refusal::NotFound)
    }

    /// No such path.
    pub(crate) fn nowhere(path: &str) -> Problem {
        let path = short(path);
        Problem::new(
            Code::NotFound,
            format!(
                "there is nothing at {path}; docs/protocol.md, section 16, says what there is for clients, \
                 docs/operations.md what there is for operators"
            ),
        )
    }

    /// A path that takes other methods; which ones stands in the header `Allow`.
    pub(crate) fn not_allowed(method: &Method, path: &str) -> Problem {
        let (method, path) = (short(method.as_str()), short(path));
        let why = format!("{path} does not take {method}; the header Allow says what it takes");
        Problem::bad_request(why).with_status(StatusCode::METHOD_NOT_ALLOWED)
    }

    /// With another status than the code's own.
    pub(crate) fn with_status(self, status: StatusCode) -> Problem {
        Problem { status, ..self }
    }
}

/// What a caller sent, as it may stand in an answer: long enough to be known again.
pub(crate) fn short(text: &str) -> String {
    const SHOWN_CHARS: usize = 80;
    let more = if text.chars().count() > SHOWN_CHARS { "…" } else { "" };
    text.chars().take(SHOWN_CHARS).chain(more.chars()).collect()
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let retry_ms = refusal.retry_ms();
        Problem { retry_ms, ..Problem::new(refusal.code(), refusal.to_string()) }
    }
}

impl From<Bad> for Problem {
    fn from(bad: Bad) -> Problem {
        Problem::bad_request(bad.to_string())
    }
}

impl From<Close> for Problem {
    fn from(close: Close) -> Problem {
        let (code, why) = identity::refusal(close);
        Problem::new(code, why)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = Vec::new();
        let request_id = format!("{:016x}", crate::random::number());
        let title = self.status.canonical_reason().unwrap_or("error");
        Line::open(&mut body)
            .word("type", "about:blank")
            .word("title", title)
            .number("status", u64::from(self.status.as_u16()))
            .word("code", self.code.as_str())
            .text("detail", &self.detail)
            .maybe_number("retry_ms", self.retry_ms)
            .word("request_id", &request_id)
            .end();
        let json = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, [(header::CONTENT_TYPE, json)], body).into_response();
        if let Some(retry_ms) = self.retry_ms {
            let seconds = HeaderValue::from(retry_ms.div_ceil(1000));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}
