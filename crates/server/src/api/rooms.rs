//! Rooms: made, shown, listed, removed.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use tertulia_protocol::RoomId;
use tertulia_protocol::command;
use tertulia_protocol::line::Line;
use tertulia_protocol::reply::{RoomShown, put_rooms};
use tertulia_rooms::draft::{Done, Wish};
use tertulia_rooms::lookup::{Answer, Question, shown};
use tertulia_rooms::permission::Action;

use super::body::Body;
use super::caller::Caller;
use super::query::Query;
use super::{ask, changed, json, not_read, room_id};
use crate::login::KeyScope;
use crate::problem::Problem;
use crate::state::App;

/// `PUT /v1/rooms/{room}`.
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(room): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let room = room_id(&room)?;
    let settings = command::settings(if body.is_empty() { "{}" } else { body.text()? })?;
    let author = caller.author(&room, KeyScope::Admin)?;
    let done = app.submit(room, author, Wish::Create(settings), None).await?;
    let dup = matches!(done, Done::Changed { dup: true, .. });
    Ok(changed(if dup { StatusCode::OK } else { StatusCode::CREATED }, done))
}

/// `GET /v1/rooms/{room}`.
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(room): Path<String>,
) -> Result<Response, Problem> {
    let (room, role) = caller.see(&app, &room_id(&room)?, Action::See).await?;
    Ok(json(StatusCode::OK, |out| {
        shown(&room, role).put_whole(out, room.d.as_deref(), room.members);
    }))
}

/// `DELETE /v1/rooms/{room}`.
pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(room): Path<String>,
) -> Result<StatusCode, Problem> {
    let room = room_id(&room)?;
    let author = caller.author(&room, KeyScope::Admin)?;
    app.submit(room, author, Wish::Delete, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/rooms`.
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    query: Query,
) -> Result<Response, Problem> {
    let identity = caller.user()?;
    let question = Question::RoomsOf {
        user: identity.user.clone(),
        grants: identity.grants.clone(),
        after: query.after(RoomId::parse)?,
        limit: query.list_limit()?,
    };
    let Answer::RoomsOf { rooms, more } = ask(&app, question).await? else {
        return Err(not_read(None));
    };
    let rooms: Vec<RoomShown> = rooms.iter().map(|(room, role)| shown(room, Some(*role))).collect();
    Ok(json(StatusCode::OK, |out| put_rooms(Line::open(out), &rooms, more).end()))
}
