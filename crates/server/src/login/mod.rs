//! Login: who is at the door. (3 authenticate)
//!
//! A token is judged at once from what is known: keys of the settings, the server's own secret, published
//! keys, revocations. Only when a fetch of published keys could change the answer does anyone wait.
//!
//! Never: follows an address or a key that a token brings, holds a lock while it waits, reads a clock, or
//! writes a token anywhere.

mod api_keys;
mod jwks;
#[cfg(any(test, fuzzing))]
pub(crate) mod property;
mod public_key;
mod secret;
mod signer;
mod snapshot;
#[cfg(test)]
mod tests;
mod token;
mod trust;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use tertulia_protocol::{Close, Role, RoomId, UserId};
use tertulia_rooms::identity;
use tertulia_store::{Keys, OpenError};

pub(crate) use api_keys::{ApiKey, KeyScope, KeyWatch, NewKeyError, create};
pub(crate) use public_key::{Alg, PublicKey};
pub(crate) use secret::SecretError;
pub(crate) use signer::{MintError, Signer};
pub(crate) use token::{GRANTS_MAX, Identity};

use crate::config::Config;
use api_keys::KnownKeys;
use jwks::Jwks;
use token::{Rules, Token};
use trust::Trusted;

/// What is to be thought of a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is good, and this is who it speaks for.
    Known(Identity),
    /// It is not: how a connection that shows it ends.
    Refused(Close),
    /// It may be signed with a key that was published since; [`Login::resolve`] finds out.
    MustAsk,
}

/// What the rooms need of it: they never see a profile.
impl From<Verdict> for identity::Verdict {
    fn from(verdict: Verdict) -> identity::Verdict {
        match verdict {
            Verdict::Known(Identity { user, exp_s, iat_s, grants, name: _, avatar: _ }) => {
                let iat_s = iat_s.unwrap_or(0);
                identity::Verdict::Known(identity::Identity { user, exp_s, iat_s, grants })
            }
            Verdict::Refused(close) => identity::Verdict::Refused(close),
            Verdict::MustAsk => identity::Verdict::MustAsk,
        }
    }
}

/// Knows who may come in. Cheap to clone; all clones know the same.
#[derive(Clone)]
pub(crate) struct Login(Arc<Inner>);

struct Inner {
    signer: Signer,
    rules: Rules,
    trusted: Vec<Trusted>,
    jwks: Option<Arc<Jwks>>,
    keys: KnownKeys,
    /// Tokens of these users from before that second are refused. Stored elsewhere, so it may grow with
    /// the users that were ever revoked and no further.
    revoked: RwLock<HashMap<UserId, u64>>,
}

/// A login, and what else came of opening it.
pub(crate) struct Opened {
    /// The login.
    pub(crate) login: Login,
    /// To be run in a thread of its own.
    pub(crate) watch: KeyWatch,
    /// Where the first key was written, if this is a first start.
    pub(crate) admin_key: Option<PathBuf>,
}

/// Why nobody can be let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// There is no secret to sign with.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The stored keys cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The first key cannot be made.
    #[error(transparent)]
    Key(#[from] NewKeyError),
    /// Published keys cannot be fetched from here.
    #[error("no client for auth.jwks_url: {0}")]
    Client(#[from] reqwest::Error),
}

impl Login {
    /// The login that the settings describe. On a first start it makes the secret and an admin key.
    pub(crate) fn open(
        config: &Config,
        revoked: impl IntoIterator<Item = (UserId, u64)>,
        now_ms: u64,
    ) -> Result<Opened, LoginError> {
        let auth = &config.auth;
        let signer = Signer::open(config)?;
        let issuer = auth.issuer.as_deref();
        let own = Trusted { issuer: issuer.map(Box::from), kid: None, key: signer.key() };
        let configured = auth.keys.iter().map(|key| Trusted {
            issuer: key.issuer.as_deref().or(issuer).map(Box::from),
            kid: key.kid.as_deref().map(Box::from),
            key: key.key.clone(),
        });
        let jwks = match &auth.jwks_url {
            Some(url) => Some(Arc::new(Jwks::new(url.clone(), issuer, auth.jwks_refresh_s)?)),
            None => None,
        };
        let keys = Keys::open(&config.server.data)?;
        let made = api_keys::create_first(&config.server.data, &keys, now_ms)?;
        let login = Login(Arc::new(Inner {
            rules: Rules { user_claim: auth.user_claim.clone(), audience: auth.audience.clone() },
            trusted: std::iter::once(own).chain(configured).collect(),
            signer,
            jwks,
            keys: KnownKeys::default(),
            revoked: RwLock::new(revoked.into_iter().collect()),
        }));
        let mut watch = KeyWatch::new(keys, Arc::downgrade(&login.0));
        watch.look();
        let admin_key = made.then(|| config.server.data.join("admin.key"));
        Ok(Opened { login, watch, admin_key })
    }

    /// What is to be thought of `token`, from what is known now.
    ///
    /// Cost: one signature for each key that could have made it, seldom more than one; no waiting.
    pub(crate) fn verify(&self, token: &str, now_s: u64) -> Verdict {
        if token.is_empty() {
            return Verdict::Refused(Close::NoToken);
        }
        let inner = &*self.0;
        let Some(token) = Token::read(token, &inner.rules, now_s) else {
            return Verdict::Refused(Close::TokenInvalid);
        };
        let published = inner.jwks.as_ref().map(|jwks| jwks.keys());
        let mut keys = inner.trusted.iter().chain(published.iter().flat_map(|keys| keys.iter()));
        if !keys.any(|key| key.vouches_for(&token)) {
            let ask = inner.jwks.as_ref().is_some_and(|jwks| jwks.could_help(&token, now_s));
            return match ask && !token.expired {
                true => Verdict::MustAsk,
                false => Verdict::Refused(Close::TokenInvalid),
            };
        }
        if token.expired {
            return Verdict::Refused(Close::TokenExpired);
        }
        match inner.is_revoked(&token.identity) {
            true => Verdict::Refused(Close::Revoked),
            false => Verdict::Known(token.identity),
        }
    }

    /// What is to be thought of `token`, after a fetch of published keys if that could help.
    ///
    /// Shape: never [`Verdict::MustAsk`]. Cost: up to 5 s where a fetch is made.
    pub(crate) async fn resolve(&self, token: &str, now_s: u64) -> Verdict {
        let verdict = self.verify(token, now_s);
        let (Verdict::MustAsk, Some(jwks)) = (&verdict, &self.0.jwks) else { return verdict };
        jwks.fetch(now_s).await;
        match self.verify(token, now_s) {
            Verdict::MustAsk => Verdict::Refused(Close::TokenInvalid),
            settled => settled,
        }
    }

    /// Keeps published keys from growing old, for as long as it is polled.
    pub(crate) async fn keep_fresh(&self, now_s: impl Fn() -> u64) {
        let Some(jwks) = &self.0.jwks else { return };
        loop {
            let wait = jwks.refresh(now_s()).await;
            tokio::time::sleep(wait).await;
        }
    }

    /// Refuses tokens of `user` from before `second` from now on.
    pub(crate) fn revoke(&self, user: UserId, second: u64) {
        let mut revoked = self.0.revoked.write().unwrap_or_else(PoisonError::into_inner);
        let before = revoked.entry(user).or_default();
        *before = second.max(*before);
    }

    /// A token for `user` and the second at which it ends.
    pub(crate) fn mint(
        &self,
        user: &UserId,
        ttl_s: u64,
        grants: &[(RoomId, Role)],
        now_s: u64,
    ) -> Result<(String, u64), MintError> {
        self.0.signer.mint(user, ttl_s, grants, now_s)
    }

    /// The application whose key `bearer` is.
    pub(crate) fn key(&self, bearer: &str) -> Option<ApiKey> {
        self.0.keys.find(bearer)
    }
}

impl Inner {
    /// A token that does not say when it was issued may be from before.
    fn is_revoked(&self, identity: &Identity) -> bool {
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        let before = revoked.get(&identity.user);
        before.is_some_and(|second| identity.iat_s.is_none_or(|iat_s| iat_s < *second))
    }
}
