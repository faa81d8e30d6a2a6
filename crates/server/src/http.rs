//! HTTP: what stands where, and what is said of everything else.

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::problem::Problem;
use crate::state::App;
use crate::{api, metrics, page, upgrade};

/// What clients and applications reach.
pub(crate) fn public(app: &App) -> Router {
    Router::new()
        .merge(health())
        .merge(page::routes())
        .merge(api::routes())
        .route(upgrade::PATH, get(upgrade::upgrade))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .layer(cors(app))
        .layer(middleware::from_fn(harden))
        .layer(middleware::from_fn(one_host))
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
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .layer(middleware::from_fn(one_host))
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

async fn nowhere(uri: Uri) -> Problem {
    Problem::nowhere(uri.path())
}

/// The header `Allow` is put in by the router, which knows what there is.
async fn not_so(method: Method, uri: Uri) -> Problem {
    Problem::not_allowed(&method, uri.path())
}

/// Whoever is between us and the client must not have read another host than we do (RFC 9112, 3.2).
async fn one_host(request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts == 1 || (hosts == 0 && request.version() == Version::HTTP_10) {
        return next.run(request).await;
    }
    Problem::bad_request("host must stand once").into_response()
}

/// No answer is taken for something else than it says it is.
async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}
