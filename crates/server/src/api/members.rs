//! Members: listed, added, removed, banned.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use tertulia_protocol::UserId;
use tertulia_protocol::command;
use tertulia_protocol::line::{Line, put_list};
use tertulia_rooms::draft::{Author, Wish};
use tertulia_rooms::permission::Action;

use super::body::Body;
use super::caller::Caller;
use super::query::Query;
use super::{changed, json, not_read, room_id, user_id};
use crate::login::KeyScope;
use crate::problem::Problem;
use crate::state::App;

/// `GET /v1/rooms/{room}/members`.
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(room): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let (after, limit) = (query.after(UserId::parse)?, query.list_limit()?);
    let (room, _) = caller.see(&app, &room_id(&room)?, Action::Read).await?;
    let read = app.library.call(move |reader| reader.members(room.no, after.as_ref(), limit + 1));
    let found = read.await.ok_or_else(|| not_read(None))?;
    let mut members = found.map_err(|error| not_read(Some(error)))?;
    let more = members.len() > limit as usize;
    members.truncate(limit as usize);
    Ok(json(StatusCode::OK, |out| {
        Line::open(out)
            .put("members", |out| {
                put_list(out, &members, |out, (user, role)| {
                    Line::open(out).word("user", user.as_str()).word("role", role.as_str()).end();
                });
            })
            .flag("more", more)
            .end();
    }))
}

type Place = Path<(String, String)>;

/// `PUT /v1/rooms/{room}/members/{user}`.
pub(super) async fn put(
    State(app): State<App>,
    caller: Caller,
    Path((room, user)): Place,
    body: Body,
) -> Result<Response, Problem> {
    let (room, user) = (room_id(&room)?, user_id(&user)?);
    let role = command::role(body.text()?)?;
    let author = caller.author(&room, KeyScope::Admin)?;
    let done = app.submit(room, author, Wish::Put(user, role), None).await?;
    Ok(changed(StatusCode::OK, done))
}

/// `DELETE /v1/rooms/{room}/members/{user}`: oneself leaves, another one is removed.
pub(super) async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path(place): Place,
) -> Result<StatusCode, Problem> {
    done(app, caller, place, |author, user| match author.user() == Some(&user) {
        true => Wish::Leave,
        false => Wish::Kick(user),
    })
    .await
}

/// `PUT /v1/rooms/{room}/bans/{user}`.
pub(super) async fn ban(
    State(app): State<App>,
    caller: Caller,
    Path(place): Place,
) -> Result<StatusCode, Problem> {
    done(app, caller, place, |_, user| Wish::Ban(user)).await
}

/// `DELETE /v1/rooms/{room}/bans/{user}`.
pub(super) async fn unban(
    State(app): State<App>,
    caller: Caller,
    Path(place): Place,
) -> Result<StatusCode, Problem> {
    done(app, caller, place, |_, user| Wish::Unban(user)).await
}

async fn done(
    app: App,
    caller: Caller,
    (room, user): (String, String),
    wish: impl FnOnce(&Author, UserId) -> Wish,
) -> Result<StatusCode, Problem> {
    let (room, user) = (room_id(&room)?, user_id(&user)?);
    let author = caller.author(&room, KeyScope::Admin)?;
    let wish = wish(&author, user);
    app.submit(room, author, wish, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
