//! Published keys of an identity provider, fetched from one configured URL and no other.
//!
//! They stay in force until a fetch brings others: a provider that is down locks nobody out. An unknown
//! `kid` makes one fetch, at most every [`FETCH_EVERY_S`], however many unknown ones come.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use reqwest::{Client, Url, header, redirect};
use serde::Deserialize;
use tokio::sync::watch;
use tracing::warn;

use super::public_key::{Alg, PublicKey};
use super::snapshot::Snapshot;
use super::token::Token;
use super::trust::Trusted;

/// Least time between two fetches.
pub(super) const FETCH_EVERY_S: u64 = 10;

const TIMEOUT: Duration = Duration::from_secs(5);
/// A few keys with their certificates have some 10 KiB.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Providers publish two or three; a token without `kid` tries them all.
const KEYS_MAX: usize = 32;
const REDIRECTS_MAX: usize = 3;

/// Why there are no newer keys.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{}", reasons(.0))]
    Http(#[from] reqwest::Error),
    #[error("more than {BODY_BYTES_MAX} bytes")]
    Long,
    #[error("not a key set: {0}")]
    Json(#[from] serde_json::Error),
}

/// What went wrong and why. The crate's own sentence stops at "error sending request".
fn reasons(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// The keys of one issuer.
pub(super) struct Jwks {
    client: Client,
    url: Url,
    issuer: Option<Box<str>>,
    refresh_s: u64,
    keys: Snapshot<Vec<Trusted>>,
    fetches: Mutex<Fetches>,
}

#[derive(Default)]
struct Fetches {
    started_s: Option<u64>,
    failed: bool,
    /// Closed when the fetch is over.
    running: Option<watch::Receiver<()>>,
}

impl Fetches {
    fn in_flight(&self) -> Option<watch::Receiver<()>> {
        self.running.clone().filter(|running| running.has_changed().is_ok())
    }

    fn may_start(&self, now_s: u64) -> bool {
        // By distance: a clock that is set back must not stop fetches until it is there again.
        self.started_s.is_none_or(|started_s| now_s.abs_diff(started_s) >= FETCH_EVERY_S)
    }
}

impl Jwks {
    pub(super) fn new(
        url: Url,
        issuer: Option<&str>,
        refresh_s: u64,
    ) -> Result<Jwks, reqwest::Error> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT)
            .redirect(redirect::Policy::custom(same_scheme))
            .referer(false)
            .build()?;
        let issuer = issuer.map(Box::from);
        let (keys, fetches) = (Snapshot::new(Vec::new()), Mutex::default());
        Ok(Jwks { client, url, issuer, refresh_s, keys, fetches })
    }

    pub(super) fn keys(&self) -> Arc<Vec<Trusted>> {
        self.keys.get()
    }

    /// Whether a fetch could bring the key of `token`, and may be made.
    pub(super) fn could_help(&self, token: &Token<'_>, now_s: u64) -> bool {
        let known = |key: &Trusted| match &token.kid {
            Some(kid) => key.kid.as_deref() == Some(kid),
            None => key.key.alg() == token.alg,
        };
        let fetches = self.fetches();
        token.alg != Alg::Hs256
            && token.issuer.as_deref() == self.issuer.as_deref()
            && !self.keys().iter().any(known)
            && (fetches.may_start(now_s) || fetches.in_flight().is_some())
    }

    /// Fetches, unless there was a fetch just now. Many who ask at once wait for the same one.
    pub(super) async fn fetch(self: &Arc<Self>, now_s: u64) {
        if let Some(mut running) = self.start(now_s) {
            // An error says that the fetch is over, which is what this waits for.
            let _ = running.changed().await;
        }
    }

    fn start(self: &Arc<Self>, now_s: u64) -> Option<watch::Receiver<()>> {
        let mut fetches = self.fetches();
        if let Some(running) = fetches.in_flight() {
            return Some(running);
        }
        if !fetches.may_start(now_s) {
            return None;
        }
        let (over, running) = watch::channel(());
        fetches.started_s = Some(now_s);
        fetches.running = Some(running.clone());
        // A task of its own: the one who asked may hang up, the others still want the answer.
        let jwks = self.clone();
        tokio::spawn(async move {
            jwks.replace().await;
            drop(over);
        });
        Some(running)
    }

    /// Fetches, and says when to come again: sooner if there is no answer.
    pub(super) async fn refresh(self: &Arc<Self>, now_s: u64) -> Duration {
        self.fetch(now_s).await;
        Duration::from_secs(if self.fetches().failed { FETCH_EVERY_S } else { self.refresh_s })
    }

    fn fetches(&self) -> MutexGuard<'_, Fetches> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn replace(&self) {
        let answer = self.get().await;
        self.fetches().failed = answer.is_err();
        match answer {
            Ok(keys) => {
                if keys.is_empty() {
                    warn!("{} publishes no key that can be used", self.url);
                }
                self.keys.put(keys);
            }
            Err(error) => {
                let known = self.keys().len();
                warn!(keys = known, "no keys from {}: {error}; {known} stay in force", self.url);
            }
        }
    }

    async fn get(&self) -> Result<Vec<Trusted>, FetchError> {
        let request = self.client.get(self.url.clone()).header(header::ACCEPT, "application/json");
        let mut response = request.send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(FetchError::Long);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(self.read(&body)?)
    }

    /// The keys of a set that can be used; the others are left out, since a provider may publish more.
    fn read(&self, body: &[u8]) -> Result<Vec<Trusted>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(body)?;
        let trusted = |value| {
            let jwk: Jwk = serde_json::from_value(value).ok()?;
            let key = PublicKey::from_jwk(&jwk)?;
            let kid = jwk.common.key_id.map(Box::from);
            Some(Trusted { issuer: self.issuer.clone(), kid, key })
        };
        Ok(set.keys.into_iter().filter_map(trusted).take(KEYS_MAX).collect())
    }
}

/// A provider may move its keys, but not from https to http.
fn same_scheme(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let from = attempt.previous().last().map(Url::scheme);
    if attempt.previous().len() > REDIRECTS_MAX {
        attempt.error("too many redirects")
    } else if from != Some(attempt.url().scheme()) {
        attempt.error("redirected to another scheme")
    } else {
        attempt.follow()
    }
}
