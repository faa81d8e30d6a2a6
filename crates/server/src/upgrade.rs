//! Upgrade: from a request over HTTP to a WebSocket that a shard owns. (1 receive)
//!
//! A place in a shard is taken before the upgrade is granted, so that what follows cannot fail for want
//! of room. The socket then leaves this runtime for good.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Empty;
use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use tertulia_protocol::Code;
use tertulia_rooms::Refusal;
use tokio::net::TcpStream;
use tracing::debug;

use crate::door::Peer;
use crate::drive::{Arrival, Slot};
use crate::extensions;
use crate::guests::Bound;
use crate::problem::Problem;
use crate::state::App;

/// Where it stands. A build that only echoes is not to be taken for a server.
pub(crate) const PATH: &str =
    if cfg!(feature = "conformance") { "/conformance/echo" } else { "/v1/ws" };

/// What is spoken.
const SUBPROTOCOL: &str = "tertulia.v1";

/// The version of WebSocket, as it stands in headers.
const VERSION: &str = "13";

/// Makes the answer to a key one that only a WebSocket server gives (RFC 6455, 1.3).
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// `GET` of [`PATH`].
pub(crate) async fn upgrade(State(app): State<App>, mut request: Request) -> Response {
    match accept(&app, &mut request) {
        Ok(accepted) => {
            app.upgrades.accepted.fetch_add(1, Ordering::Relaxed);
            let upgrade = hyper::upgrade::on(&mut request);
            let response = accepted.response();
            tokio::spawn(hand_over(app, upgrade, accepted));
            response
        }
        Err(problem) => {
            app.upgrades.refused.fetch_add(1, Ordering::Relaxed);
            refused(problem)
        }
    }
}

/// Whoever comes with another version, or without an upgrade, is told what there is (RFC 6455, 4.2.2; RFC 9110,
/// 15.5.22).
fn refused(problem: Problem) -> Response {
    let mut response = problem.into_response();
    if response.status() == StatusCode::UPGRADE_REQUIRED {
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
    }
    response
}

/// An upgrade that is granted.
struct Accepted {
    shard: usize,
    slot: Slot,
    bearer: Option<Box<str>>,
    key: HeaderValue,
    /// Our subprotocol was offered.
    picked: bool,
    extensions: Option<HeaderValue>,
}

impl Accepted {
    fn response(&self) -> Response {
        let mut response = Response::new(Body::new(Empty::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let answers = response.headers_mut();
        answers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        answers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        answers.insert(header::SEC_WEBSOCKET_ACCEPT, self.key.clone());
        if self.picked {
            let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
            answers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
        }
        if let Some(extensions) = &self.extensions {
            answers.insert(header::SEC_WEBSOCKET_EXTENSIONS, extensions.clone());
        }
        response
    }
}

fn accept(app: &App, request: &mut Request) -> Result<Accepted, Problem> {
    let headers = request.headers();
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return Err(Problem::bad_request("a WebSocket begins with GET over HTTP/1.1"));
    }
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    if has_body {
        return Err(Problem::bad_request("an upgrade has no body"));
    }
    let wants = has_word(headers, header::CONNECTION, "upgrade")
        && has_word(headers, header::UPGRADE, "websocket");
    if !wants {
        let problem = Problem::bad_request("upgrade to websocket is missing");
        return Err(problem.with_status(StatusCode::UPGRADE_REQUIRED));
    }
    if single(headers, "sec-websocket-version")? != VERSION {
        let problem = Problem::bad_request(format!("sec-websocket-version must be {VERSION}"));
        return Err(problem.with_status(StatusCode::UPGRADE_REQUIRED));
    }
    let key = single(headers, "sec-websocket-key")?;
    if STANDARD.decode(key.as_bytes()).map_or(0, |key| key.len()) != 16 {
        return Err(Problem::bad_request("sec-websocket-key must be 16 bytes in base64"));
    }
    let picked = subprotocol(headers)?;
    check_origin(app, headers)?;
    let bearer = bearer(headers)?.map(Box::from);
    let deflate = app.config.server.deflate;
    let extensions = deflate.then(|| extensions::agreement(headers)).flatten();
    let (shard, slot) = reserve(app, request)?;
    // Only now: a shard ends once the drain has begun and no place in it is taken.
    if app.health.is_draining() {
        return Err(Refusal::Unavailable("the server hands over, reconnect").into());
    }
    Ok(Accepted { shard, slot, bearer, key: accept_value(key), picked, extensions })
}

fn accept_value(key: &str) -> HeaderValue {
    let mut sha = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    sha.update(key.as_bytes());
    sha.update(ACCEPT_SUFFIX);
    let text = STANDARD.encode(sha.finish());
    HeaderValue::try_from(text).expect("base64 is fit for a header")
}

fn has_word(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Problem> {
    let mut values = headers.get_all(name).into_iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        (None, _) => Err(Problem::bad_request(format!("{name} is missing"))),
        _ => Err(Problem::bad_request(format!("{name} must stand once, in ASCII"))),
    }
}

/// Whether to name our subprotocol: where some were offered, ours must be among them.
fn subprotocol(headers: &HeaderMap) -> Result<bool, Problem> {
    if !headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        return Ok(false);
    }
    let mut offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let are_readable = offers.all(|offer| offer.to_str().is_ok());
    if are_readable && has_word(headers, header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return Ok(true);
    }
    Err(Problem::bad_request(format!("sec-websocket-protocol must offer {SUBPROTOCOL}, in ASCII")))
}

/// A page of another origin could act as whoever looks at it.
pub(crate) fn check_origin(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let mut origins = headers.get_all(header::ORIGIN).into_iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    let allowed = origins.next().is_none()
        && origin.to_str().is_ok_and(|origin| {
            let listed = app.config.server.allowed_origins.iter();
            let is_own = single(headers, "host").is_ok_and(|host| {
                [format!("http://{host}"), format!("https://{host}")]
                    .iter()
                    .any(|own| own == origin)
            });
            is_own || listed.into_iter().any(|allowed| allowed.as_str() == origin)
        });
    if allowed {
        return Ok(());
    }
    let why = "this origin may not connect; server.allowed_origins names those that may";
    Err(Problem::new(Code::Forbidden, why))
}

/// The token after `Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Ok(None);
    }
    let value = single(headers, "authorization")?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Problem::bad_request("authorization must be Bearer and a token")),
    }
}

/// A place in the shard that has most.
fn reserve(app: &App, request: &Request) -> Result<(usize, Slot), Problem> {
    let full = || Problem::from(Refusal::Unavailable("no room for this connection now"));
    let limits = &app.config.limits;
    let bound = Bound {
        open: limits.connections_per_address,
        strangers: limits.unauthenticated_per_address,
    };
    let guest = match request.extensions().get::<Peer>() {
        Some(peer) => app.guests.enter(peer.address.ip(), bound).map_err(|_| full())?,
        None => None,
    };
    let gates = app.gates.iter().enumerate();
    let (shard, gate) = gates.min_by_key(|(_, gate)| gate.taken()).ok_or_else(full)?;
    gate.reserve(guest).map(|slot| (shard, slot)).ok_or_else(full)
}

async fn hand_over(app: App, upgrade: OnUpgrade, accepted: Accepted) {
    let Accepted { shard, slot, bearer, extensions, .. } = accepted;
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => return debug!("an upgrade came to nothing: {error}"),
    };
    let Ok(Parts { io, read_buf, .. }) = upgraded.downcast::<TokioIo<TcpStream>>() else {
        return debug!("an upgraded connection is no TCP socket");
    };
    match io.into_inner().into_std() {
        Ok(stream) => {
            let (input, deflates) = (read_buf.to_vec(), extensions.is_some());
            let arrival = Arrival { stream, input, bearer, deflates, slot };
            app.gates[shard].enter(arrival);
        }
        Err(error) => debug!("an upgraded socket cannot be taken over: {error}"),
    }
}
