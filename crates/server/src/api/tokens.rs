//! Tokens: given out by the application's key, or on one's own machine without any.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::net::IpAddr;
use tertulia_protocol::line::Line;
use tertulia_protocol::{Field, Role, RoomId, UserId, object};

use super::caller::Caller;
use super::{idempotency_key, json, text, user_id};
use crate::login::{GRANTS_MAX, KeyScope};
use crate::problem::Problem;
use crate::state::App;
use crate::upgrade::{Peer, check_origin};

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
    fn read(body: &'a Bytes) -> Result<Wanted<'a>, Problem> {
        object(text(body)?)
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
    body: Bytes,
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
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let open = app.config.server.dev || app.config.server.listen.ip().is_loopback();
    let here = peer.ip().is_loopback() && is_here(&headers) && check_origin(&app, &headers).is_ok();
    if !open || !here {
        return Err(Problem::not_found());
    }
    mint(&app, &Wanted::read(&body)?.user()?, DEVELOPMENT_TTL_S, &[])
}

/// Whether the request says of itself that it came from this machine and through nobody: a name that
/// someone else's page points here, or a proxy, would say otherwise.
fn is_here(headers: &HeaderMap) -> bool {
    let forwarded = headers
        .keys()
        .any(|name| name == header::FORWARDED || name.as_str().starts_with("x-forwarded-"));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare
        .parse::<IpAddr>()
        .is_ok_and(|address| address.to_string() == "127.0.0.1" || address.to_string() == "::1");
    !forwarded && (name == "localhost" || loopback)
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
