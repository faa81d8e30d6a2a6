//! The page at `/`: a chat to look at the server with, and the client that it is made of.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::state::App;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($path:literal $file:literal $kind:expr,)*) => {
        const FILES: &[(&str, &str, &str)] =
            &[$(($path, $kind, include_str!(concat!("../assets/", $file)))),*];
    };
}

files! {
    "/" "index.html" HTML,
    "/style.css" "style.css" "text/css; charset=utf-8",
    "/icon.svg" "icon.svg" "image/svg+xml",
    "/tertulia.js" "tertulia.js" SCRIPT,
    "/core.js" "core.js" SCRIPT,
    "/page.js" "page.js" SCRIPT,
    "/timeline.js" "timeline.js" SCRIPT,
    "/model.js" "model.js" SCRIPT,
    "/room.js" "room.js" SCRIPT,
    "/rooms.js" "rooms.js" SCRIPT,
    "/composer.js" "composer.js" SCRIPT,
    "/store.js" "store.js" SCRIPT,
}

/// Nothing comes from elsewhere, and nothing inline runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The page's files.
pub(crate) fn routes() -> Router<App> {
    FILES.iter().fold(Router::new(), |router, (path, kind, text)| {
        router.route(path, get(move || async move { file(kind, text) }))
    })
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, text)
}
