//! Bodies: what a request brings, bounded in bytes and in time.
//!
//! A handler takes the body last, so nothing of it is read for someone who is refused anyway.

use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tertulia_protocol::Code;

use crate::problem::Problem;
use crate::state::App;

/// All of a request's body.
pub(super) struct Body(Bytes);

impl FromRequest<App> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Body, Problem> {
        let (bytes_max, seconds) =
            (app.config.limits.http_body_bytes, app.config.limits.body_seconds);
        let body = request.into_body();
        let too_large = || {
            let why = format!("the body is longer than {bytes_max} bytes");
            Problem::new(Code::TooLarge, why)
        };
        // One that says so itself is not read at all.
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(too_large());
        }
        let whole = Limited::new(body, bytes_max).collect();
        match tokio::time::timeout(Duration::from_secs(seconds), whole).await {
            Ok(Ok(whole)) => Ok(Body(whole.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Problem::bad_request("the body does not come to its end")),
            Err(_) => {
                let why = format!("the body must be there within {seconds} s");
                Err(Problem::bad_request(why).with_status(StatusCode::REQUEST_TIMEOUT))
            }
        }
    }
}

impl Body {
    /// Whether nothing was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was sent.
    pub(super) fn text(&self) -> Result<&str, Problem> {
        let text = std::str::from_utf8(&self.0);
        text.map_err(|_| Problem::bad_request("the body is no UTF-8"))
    }
}
