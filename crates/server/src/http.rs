//! HTTP: the accept loop and what stands where.
//!
//! The loop is our own because a request that is sent one byte at a time has to end: axum's sets no
//! timer. Each connection is one task until it ends or leaves for a shard.

use std::io;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, body::Body};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tertulia_protocol::Code;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_service::Service;
use tracing::warn;

use crate::problem::Problem;
use crate::state::App;
use crate::upgrade::Peer;
use crate::{api, metrics, page, upgrade};

/// Most headers of a request; a browser sends about twenty.
const HEADERS_MAX: usize = 64;

/// Most bytes of a request's head: room for a token and cookies that are not ours.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What clients and applications reach.
pub(crate) fn public(app: &App) -> Router {
    Router::new()
        .merge(health())
        .merge(page::routes())
        .merge(api::routes())
        .route("/v1/ws", get(upgrade::upgrade))
        .fallback(|| async { Problem::not_found() })
        .method_not_allowed_fallback(|| async {
            let problem = Problem::new(Code::BadRequest, "this cannot be done here");
            problem.with_status(StatusCode::METHOD_NOT_ALLOWED)
        })
        .layer(cors(app))
        .layer(DefaultBodyLimit::max(app.config.limits.http_body_bytes))
        .layer(middleware::from_fn(harden))
        .with_state(app.clone())
}

/// Pages of the origins that may connect may call, too.
fn cors(app: &App) -> CorsLayer {
    let origins = app.config.server.allowed_origins.iter();
    let origins = origins.filter_map(|origin| HeaderValue::from_str(origin.as_str()).ok());
    let idempotency_key = HeaderName::from_static("idempotency-key");
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::PUT, Method::POST, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, idempotency_key])
        .max_age(Duration::from_secs(600))
}

/// What the operator reaches.
pub(crate) fn internal(app: &App) -> Router {
    Router::new()
        .merge(health())
        .route("/metrics", get(metrics::scrape))
        .fallback(|| async { Problem::not_found() })
        .with_state(app.clone())
}

fn health() -> Router<App> {
    Router::new().route("/healthz", get(|| async { "alive\n" })).route("/readyz", get(ready))
}

async fn ready(State(app): State<App>) -> Response {
    let answers = matches!(app.library.call(tertulia_store::Reader::ping).await, Some(Ok(())));
    if app.health.is_ready() && answers {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
}

/// No answer is taken for something else than it says it is.
async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// Accepts until `stop` says so, then lets what is under way come to its end.
pub(crate) async fn accept(
    listener: TcpListener,
    router: Router,
    header_time: Duration,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told(&mut stop) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection =
                    serve(stream, Peer(peer), router.clone(), header_time, stop.clone());
                tokio::spawn(connection);
            }
            Err(error) => rest(&error).await,
        }
    }
}

async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could tell is gone, which says the same.
    _ = stop.wait_for(|stop| *stop).await;
}

/// Out of descriptors, most likely: waits for some to come back instead of spinning.
async fn rest(error: &io::Error) {
    warn!("no connection can be accepted for now: {error}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn serve(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    header_time: Duration,
    mut stop: watch::Receiver<bool>,
) {
    // A socket that cannot be set up is dead already; it says so when it is read.
    _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_time)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    // How it ended is the other side's affair.
    tokio::select! {
        _ = &mut connection => {}
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            _ = connection.await;
        }
    }
}
