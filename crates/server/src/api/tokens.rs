//! Tokens: given out by the application's key, or on one's own machine without any.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::value::RawValue;
use tertulia_protocol::line::Line;
use tertulia_protocol::{Field, Role, RoomId, UserId, object};

use super::body::Body;
use super::caller::Caller;
use super::here::may_be_anyone;
use super::{idempotency_key, json, user_id};
use crate::door::Peer;
use crate::login::{GRANTS_MAX, KeyScope};
use crate::problem::Problem;
use crate::state::App;

/// Life of a token unless asked otherwise.
const TTL_S: u64 = 3600;

/// Life of a development token: a working day.
const DEVELOPMENT_TTL_S: u64 = 12 * 3600;

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Wanted<'a> {
    #[serde(borrow)]
    user: Option<&'a RawValue>,
    #[serde(borrow)]
    ttl_s: Option<&'a RawValue>,
    #[serde(borrow)]
    rooms: Option<&'a RawValue>,
}

impl<'a> Wanted<'a> {
    fn read(body: &'a Body) -> Result<Wanted<'a>, Problem> {
        object(body.text()?)
            .map_err(|error| Problem::bad_request(format!("the body is no JSON object: {error}")))
    }

    fn user(&self) -> Result<UserId, Problem> {
        Ok(Field("user", self.user).needed(UserId::parse)?)
    }

    fn grants(&self) -> Result<Vec<(RoomId, Role)>, Problem> {
        let Some(raw) = self.rooms else { return Ok(Vec::new()) };
        let shape = || Problem::bad_request(r#"rooms must be like {"r1":"member"}"#);
        let rooms: BTreeMap<String, String> = object(raw.get()).map_err(|_| shape())?;
        if rooms.len() > GRANTS_MAX {
            let why = format!("rooms names {} rooms, the limit is {GRANTS_MAX}", rooms.len());
            return Err(Problem::bad_request(why));
        }
        let grants = rooms.iter().map(|(room, role)| {
            let room = RoomId::parse(room).map_err(|_| shape())?;
            Ok((room, Role::parse(role).ok_or_else(shape)?))
        });
        grants.collect()
    }
}

/// `POST /v1/tokens`.
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.application(KeyScope::Admin)?;
    idempotency_key(&headers)?;
    let wanted = Wanted::read(&body)?;
    let limit = app.config.limits.token_ttl_max_s;
    let ttl_s = Field("ttl_s", wanted.ttl_s).number()?.unwrap_or(TTL_S.min(limit));
    if ttl_s > limit {
        let why = format!("ttl_s is {ttl_s}, the limit is {limit}");
        return Err(Problem::bad_request(why));
    }
    mint(&app, &wanted.user()?, ttl_s, &wanted.grants()?)
}

/// `POST /v1/dev/token`: whoever sits at this machine may be anyone.
pub(super) async fn create_for_development(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Response, Problem> {
    if !may_be_anyone(&app, peer, request.headers()).await {
        return Err(Problem::nowhere(request.uri().path()));
    }
    let body = Body::from_request(request, &app).await?;
    mint(&app, &Wanted::read(&body)?.user()?, DEVELOPMENT_TTL_S, &[])
}

fn mint(
    app: &App,
    user: &UserId,
    ttl_s: u64,
    grants: &[(RoomId, Role)],
) -> Result<Response, Problem> {
    let minted = app.login.mint(user, ttl_s, grants, app.now_s());
    let (token, exp) = minted.map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(json(StatusCode::CREATED, |out| {
        Line::open(out).word("token", &token).number("exp", exp * 1000).end();
    }))
}

/// `POST /v1/users/{user}/revoke`.
pub(super) async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.application(KeyScope::Admin)?;
    let user = user_id(&user)?;
    // Tokens tell whole seconds: one from earlier in this second must not pass for one from now.
    let before_s = app.now_s() + 1;
    app.revoke(user, before_s).await?;
    Ok(StatusCode::NO_CONTENT)
}
