//! Signer: tokens that this server gives out itself.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value, json};
use tertulia_protocol::{Role, RoomId, UserId};

use super::public_key::PublicKey;
use super::secret::{self, SecretError};
use super::token::{GRANTS_MAX, TOKEN_BYTES_MAX};
use crate::config::Config;

/// Why a token is not given out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum MintError {
    /// It would live too long, or not at all.
    #[error(
        "a token of {ttl_s} s is not given out, choose 1 to {limit_s} (limits.token_ttl_max_s)"
    )]
    Life {
        /// What was asked for.
        ttl_s: u64,
        /// The most.
        limit_s: u64,
    },
    /// It would be good in too many rooms.
    #[error(
        "a token for {rooms} rooms is not given out, the limit is {GRANTS_MAX}; make the user a member"
    )]
    Grants {
        /// What was asked for.
        rooms: usize,
    },
    /// It would not be accepted.
    #[error("the token has {bytes} bytes, the limit is {TOKEN_BYTES_MAX}; name fewer rooms")]
    Long {
        /// What came out.
        bytes: usize,
    },
    /// The crypto library says no, which it has no reason to.
    #[error("the token cannot be signed: {0}")]
    Sign(String),
}

/// Gives out tokens; works without a server.
pub(crate) struct Signer {
    secret: String,
    user_claim: String,
    issuer: Option<String>,
    audience: Option<String>,
    ttl_max_s: u64,
}

impl Signer {
    /// Signs with the secret of the settings, or with the one in the data directory, made if need be.
    pub(crate) fn open(config: &Config) -> Result<Signer, SecretError> {
        let secret = match &config.auth.hs256_secret {
            Some(secret) => secret.reveal().to_owned(),
            None => secret::in_directory(&config.server.data)?,
        };
        Ok(Signer {
            secret,
            user_claim: config.auth.user_claim.clone(),
            issuer: config.auth.issuer.clone(),
            audience: config.auth.audience.clone(),
            ttl_max_s: config.limits.token_ttl_max_s,
        })
    }

    /// A token for `user` and the second at which it ends.
    ///
    /// It has the issuer and audience that the settings ask for, so that it passes like any other.
    pub(crate) fn mint(
        &self,
        user: &UserId,
        ttl_s: u64,
        grants: &[(RoomId, Role)],
        now_s: u64,
    ) -> Result<(String, u64), MintError> {
        if !(1..=self.ttl_max_s).contains(&ttl_s) {
            return Err(MintError::Life { ttl_s, limit_s: self.ttl_max_s });
        }
        if grants.len() > GRANTS_MAX {
            return Err(MintError::Grants { rooms: grants.len() });
        }
        let exp_s = now_s.saturating_add(ttl_s);
        let mut claims = Map::new();
        claims.insert(self.user_claim.clone(), json!(user.as_str()));
        claims.insert("iat".to_owned(), json!(now_s));
        claims.insert("exp".to_owned(), json!(exp_s));
        if !grants.is_empty() {
            let role =
                |(room, role): &(RoomId, Role)| (room.as_str().to_owned(), json!(role.as_str()));
            claims.insert("rooms".to_owned(), Value::Object(grants.iter().map(role).collect()));
        }
        for (name, value) in [("iss", &self.issuer), ("aud", &self.audience)] {
            if let Some(value) = value {
                claims.insert(name.to_owned(), json!(value));
            }
        }
        let token = self.sign(&Value::Object(claims))?;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(MintError::Long { bytes: token.len() });
        }
        Ok((token, exp_s))
    }

    fn sign(&self, claims: &Value) -> Result<String, MintError> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "JWT"})), part(claims));
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256)
            .map_err(|error| MintError::Sign(error.to_string()))?;
        Ok(format!("{message}.{signature}"))
    }

    /// What verifies these tokens.
    pub(super) fn key(&self) -> PublicKey {
        PublicKey::shared(self.secret.as_bytes())
    }
}
