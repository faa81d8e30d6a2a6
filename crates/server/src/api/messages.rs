//! Messages over HTTP: sent with the same promise as over a WebSocket, read as they are stored.

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use tertulia_protocol::limits::{INTEGER_MAX, REPLAY_BYTES_MAX};
use tertulia_protocol::line::Line;
use tertulia_protocol::reply::LogOk;
use tertulia_protocol::{AppKind, Cid, Epoch, Field, UserId, object, there};
use tertulia_rooms::Clock;
use tertulia_rooms::Refusal;
use tertulia_rooms::draft::{Author, Done, Say, Wish};
use tertulia_rooms::permission::Action;
use tertulia_store::Range;

use super::caller::Caller;
use super::{changed, idempotency_key, json, not_read, room_id, text};
use crate::login::KeyScope;
use crate::problem::Problem;
use crate::state::App;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted<'a> {
    #[serde(borrow)]
    k: Option<&'a RawValue>,
    #[serde(borrow)]
    re: Option<&'a RawValue>,
    #[serde(borrow)]
    thread: Option<&'a RawValue>,
    #[serde(borrow)]
    prev: Option<&'a RawValue>,
    #[serde(borrow)]
    epoch: Option<&'a RawValue>,
    #[serde(borrow)]
    by: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    d: Option<&'a RawValue>,
}

/// `POST /v1/rooms/{room}/messages`.
pub(super) async fn send(
    State(app): State<App>,
    caller: Caller,
    Path(room): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let room = room_id(&room)?;
    let cid = idempotency_key(&headers)?;
    let wanted: Wanted<'_> = object(text(&body)?)
        .map_err(|error| Problem::bad_request(format!("the body is no JSON object: {error}")))?;
    let author = match (caller.author(&room, KeyScope::Send)?, &caller) {
        // The application speaks as one of the members.
        (Author::Application, _) => {
            let user = Field("by", wanted.by).needed(UserId::parse)?;
            Author::User { user, grant: None }
        }
        (author, _) => author,
    };
    let say = Say {
        cid,
        kind: match Field("k", wanted.k).text()?.as_deref() {
            None | Some("msg") => None,
            Some(_) => Field("k", wanted.k).parsed(AppKind::parse)?,
        },
        re: Field("re", wanted.re).number()?,
        thread: Field("thread", wanted.thread).number()?,
        prev: Field("prev", wanted.prev).parsed(Cid::parse)?,
        epoch: Field("epoch", wanted.epoch).parsed(Epoch::parse)?,
        d: Field("d", wanted.d).needed_body()?,
    };
    if say.epoch.is_none() && (say.re.is_some() || say.thread.is_some()) {
        return Err(Problem::bad_request("epoch is needed with re and thread"));
    }
    let (people, limits, now) = (&app.shared.people, &app.shared.limits, app.clock.now_ns());
    let veto = author.user().and_then(|user| people.veto(user, say.d.len(), limits, now));
    let done = app.submit(room, author, Wish::Say(say), veto).await?;
    let dup = matches!(&done, Done::Said(stored) if stored.dup);
    Ok(changed(if dup { StatusCode::OK } else { StatusCode::CREATED }, done))
}

/// Which events are wanted.
#[derive(Deserialize)]
pub(super) struct Events {
    after: Option<u64>,
    upto: Option<u64>,
    limit: Option<u64>,
}

/// `GET /v1/rooms/{room}/log`.
pub(super) async fn log(
    State(app): State<App>,
    caller: Caller,
    Path(room): Path<String>,
    Query(wanted): Query<Events>,
) -> Result<Response, Problem> {
    if wanted.limit == Some(0) {
        return Err(Problem::bad_request("limit must be 1 or more"));
    }
    for (field, number) in [("after", wanted.after), ("upto", wanted.upto)] {
        if number.is_some_and(|number| number > INTEGER_MAX) {
            return Err(Problem::bad_request(format!("{field} must be {INTEGER_MAX} or less")));
        }
    }
    let (room, _) = caller.see(&app, &room_id(&room)?, Action::Read).await?;
    let limits = &app.shared.limits;
    let after = wanted.after.unwrap_or(room.head.first - 1);
    if after + 1 < room.head.first && after < room.head.seq {
        return Err(Refusal::Trimmed { first: room.head.first }.into());
    }
    let last = wanted.upto.unwrap_or(room.head.seq).min(room.head.seq);
    let limit = wanted.limit.unwrap_or(limits.log_limit).min(limits.log_limit_max);
    let range = Range {
        room: room.no,
        after,
        upto: last,
        limit: limit as u32,
        bytes_max: REPLAY_BYTES_MAX as u32,
    };
    let read = app.library.call(move |reader| reader.log(range));
    let found = read.await.ok_or_else(|| not_read(None))?;
    let events = found.map_err(|error| not_read(Some(error)))?;
    let upto = events.last().map_or(after, |event| event.seq);
    let lines: Vec<&[u8]> = events.iter().map(|event| &event.bytes[..]).collect();
    let ok = LogOk {
        epoch: room.epoch,
        events: &lines.join(&b","[..]),
        head: room.head.seq,
        first: room.head.first,
        more: upto < last,
    };
    Ok(json(StatusCode::OK, |out| ok.put_fields(Line::open(out)).end()))
}
