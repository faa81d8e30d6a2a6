//! Messages over HTTP: sent with the same promise as over a WebSocket, read as they are stored.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use tertulia_protocol::line::Line;
use tertulia_protocol::reply::LogOk;
use tertulia_protocol::{AppKind, Cid, Epoch, Field, UserId, object, there};
use tertulia_rooms::Clock;
use tertulia_rooms::Refusal;
use tertulia_rooms::draft::{Author, Done, Say, Wish};
use tertulia_rooms::lookup::{Answer, Question};
use tertulia_rooms::page::{Page, Wanted};
use tertulia_rooms::permission::Action;
use tertulia_rooms::slab::Slab;
use tertulia_store::Range;

use super::body::Body;
use super::caller::Caller;
use super::query::Query;
use super::{ask, changed, idempotency_key, json, room_id};
use crate::login::KeyScope;
use crate::problem::Problem;
use crate::state::App;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Message<'a> {
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
    body: Body,
) -> Result<Response, Problem> {
    let room = room_id(&room)?;
    let cid = idempotency_key(&headers)?;
    let wanted: Message<'_> = object(body.text()?)
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

/// `GET /v1/rooms/{room}/log`.
pub(super) async fn log(
    State(app): State<App>,
    caller: Caller,
    Path(room): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let after = query.number("after")?;
    let wanted = Wanted { after, upto: query.number("upto")?, limit: query.limit()? };
    let (room, _) = caller.see(&app, &room_id(&room)?, Action::Read).await?;
    let page = Page::of(wanted, room.head, &app.shared.limits)?;
    let slab = match page.is_empty() {
        true => None,
        false => Some(read(&app, page.range(room.no)).await?),
    };
    let (events, more) = page.cut(slab.as_deref());
    let (epoch, head, first) = (room.epoch, room.head.seq, room.head.first);
    let ok = LogOk { epoch, events: &events, head, first, more };
    Ok(json(StatusCode::OK, |out| ok.put_fields(Line::open(out)).end()))
}

async fn read(app: &App, range: Range) -> Result<Arc<Slab>, Problem> {
    let page = match ask(app, Question::Pages(vec![range])).await? {
        Answer::Pages(mut pages) => pages.pop(),
        _ => None,
    };
    // It is not there if the room was deleted meanwhile: whoever asks again is told.
    page.map(|(_, slab)| slab).ok_or_else(|| Refusal::NO_ANSWER.into())
}
