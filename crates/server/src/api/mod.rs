//! The application's HTTP API: the same wishes as over a WebSocket, judged by the same rules.

mod body;
mod caller;
mod here;
mod members;
mod messages;
#[cfg(any(test, fuzzing))]
pub(crate) mod property;
mod query;
mod rooms;
mod tokens;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use tertulia_protocol::line::Line;
use tertulia_protocol::{Cid, RoomId, UserId};
use tertulia_rooms::Refusal;
use tertulia_rooms::draft::Done;
use tertulia_rooms::lookup::{Answer, Question, answer};

use crate::problem::Problem;
use crate::state::App;

/// Where everything stands.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/tokens", post(tokens::create))
        .route("/v1/dev/token", post(tokens::create_for_development))
        .route("/v1/users/{user}/revoke", post(tokens::revoke))
        .route("/v1/rooms", get(rooms::list))
        .route("/v1/rooms/{room}", put(rooms::create).get(rooms::show).delete(rooms::delete))
        .route("/v1/rooms/{room}/members", get(members::list))
        .route("/v1/rooms/{room}/members/{user}", put(members::put).delete(members::remove))
        .route("/v1/rooms/{room}/bans/{user}", put(members::ban).delete(members::unban))
        .route("/v1/rooms/{room}/messages", post(messages::send))
        .route("/v1/rooms/{room}/log", get(messages::log))
        .layer(middleware::from_fn(told_as_problems))
}

/// What is refused before it reaches a handler, such as a path that is no UTF-8, is told like the rest.
async fn told_as_problems(request: Request, next: Next) -> Response {
    const WORDS_BYTES_MAX: usize = 1024;
    let response = next.run(request).await;
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    if !status.is_client_error() || kind.is_none_or(|kind| kind != TEXT) {
        return response;
    }
    let words = to_bytes(response.into_body(), WORDS_BYTES_MAX).await.unwrap_or_default();
    let words = String::from_utf8_lossy(&words);
    Problem::bad_request(words).with_status(status).into_response()
}

/// How axum tells what it refuses by itself.
const TEXT: &str = "text/plain; charset=utf-8";

fn room_id(text: &str) -> Result<RoomId, Problem> {
    RoomId::parse(text).map_err(|why| Problem::bad_request(format!("room {why}")))
}

fn user_id(text: &str) -> Result<UserId, Problem> {
    UserId::parse(text).map_err(|why| Problem::bad_request(format!("user {why}")))
}

/// What makes a retried POST harmless.
fn idempotency_key(headers: &HeaderMap) -> Result<Cid, Problem> {
    let value = headers
        .get("idempotency-key")
        .ok_or_else(|| Problem::bad_request("idempotency-key is missing"))?;
    let text = value.to_str().map_err(|_| Problem::bad_request("idempotency-key must be ASCII"))?;
    Cid::parse(text).map_err(|why| Problem::bad_request(format!("idempotency-key {why}")))
}

/// One JSON object that `write` fills.
fn json(status: StatusCode, write: impl FnOnce(&mut Vec<u8>)) -> Response {
    let mut body = Vec::new();
    write(&mut body);
    let kind = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

/// What was done to a room, as an object.
fn changed(status: StatusCode, done: Done) -> Response {
    json(status, |out| match done {
        Done::Changed { epoch, seq, dup } => Line::open(out)
            .maybe_word("epoch", epoch.as_ref().map(tertulia_protocol::Epoch::as_str))
            .maybe_number("seq", seq)
            .flag("dup", dup)
            .end(),
        Done::Said(stored) => stored.put_fields(Line::open(out)).end(),
    })
}

/// Answers a question from the store, as a shard would have it answered.
async fn ask(app: &App, question: Question) -> Result<Answer, Problem> {
    let (cache, gauge) = (app.shared.cache.clone(), app.shared.hub.gauge().clone());
    let read = app.library.call(move |reader| match answer(&question, reader, &cache, &gauge) {
        (_, Some(error)) => Err(error),
        (answer, None) => Ok(answer),
    });
    let found = read.await.ok_or_else(|| not_read(None))?;
    found.map_err(|error| not_read(Some(error)))
}

/// What a reader could not be asked, or could not find out.
fn not_read(error: Option<tertulia_store::Error>) -> Problem {
    match error {
        None => Refusal::Unavailable("too much waits to be read, try again").into(),
        Some(error @ tertulia_store::Error::Damaged(_)) => {
            let id = crate::random::number();
            tracing::error!(
                fault.id = format!("{id:016x}"),
                "a request could not be read: {error}"
            );
            Refusal::Internal(id).into()
        }
        Some(error) => {
            tracing::warn!(error.kind = error.kind(), "a request could not be read: {error}");
            Refusal::NO_ANSWER.into()
        }
    }
}
