//! Any bytes at all as a token: nothing is known without its signature, and what is known is what a strict
//! reader finds in the claims. For tests and fuzzing only.

use std::collections::HashMap;
use std::sync::OnceLock;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tertulia_protocol::limits::INTEGER_MAX;
use tertulia_rooms::identity::LEEWAY_S;

use super::*;
use crate::config::Flags;

const NOW_S: u64 = 1_800_000_000;
const SECRET: &str = "any-bytes-at-all-are-tried-with-this-one";

/// Before a zero byte a header, behind it claims, to be signed; without one a token as it stands.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match text.split_once('\0') {
        None => drop(judged(text)),
        Some((header, claims)) => {
            let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
            let token = signed(&format!("{header}.{claims}"));
            let known = judged(&token);
            if known {
                spoiled(&token);
            }
        }
    }
}

/// What the login thinks of `token` has to hold. True if it knows who that is.
fn judged(token: &str) -> bool {
    let verdict = login().verify(token, NOW_S);
    let claims = vouched_for(token);
    match verdict {
        Verdict::Known(identity) => {
            let (header, claims) = claims.expect("known without a signature");
            assert_eq!(header["alg"], "HS256");
            for key in ["crit", "enc", "zip"] {
                assert!(header[key].is_null(), "{key} is not understood");
            }
            matches(&identity, &claims);
            true
        }
        Verdict::Refused(Close::TokenExpired) => {
            let (_, claims) = claims.expect("expired without a signature");
            assert!(claims["exp"].as_f64().is_some_and(|exp_s| exp_s <= NOW_S as f64));
            false
        }
        Verdict::Refused(close) => {
            let end = if token.is_empty() { Close::NoToken } else { Close::TokenInvalid };
            assert_eq!(close, end);
            assert!(!claims.is_some_and(|(header, claims)| is_plain(&header, &claims)), "{token}");
            false
        }
        Verdict::MustAsk => panic!("there is nobody to ask"),
    }
}

/// What is known stands in the claims.
fn matches(identity: &Identity, claims: &Value) {
    let Identity { user, exp_s, iat_s, grants, name, avatar } = identity;
    assert_eq!(claims["sub"], user.as_str());
    let seconds = |key: &str| claims[key].as_f64().map(|seconds| seconds as u64);
    assert_eq!((Some(*exp_s), *iat_s), (seconds("exp"), seconds("iat")));
    assert!(NOW_S < exp_s + LEEWAY_S, "it has ended");
    assert!(seconds("nbf").is_none_or(|nbf_s| nbf_s <= NOW_S + LEEWAY_S), "it has not begun");
    assert_eq!(grants.len(), claims["rooms"].as_object().map_or(0, serde_json::Map::len));
    for (room, role) in grants {
        assert_eq!(claims["rooms"][room.as_str()], role.as_str());
    }
    for (key, shown) in [("name", name), ("avatar", avatar)] {
        if let Some(text) = shown {
            assert_eq!(claims[key], **text);
            assert!(!text.chars().any(char::is_control));
        }
    }
}

/// Whether nothing about it needs a second look, so that refusing it would be wrong.
fn is_plain(header: &Value, claims: &Value) -> bool {
    let (Some(header), Some(claims)) = (header.as_object(), claims.as_object()) else {
        return false;
    };
    let user = claims.get("sub").and_then(Value::as_str);
    let exp_s = claims.get("exp").and_then(Value::as_u64);
    header.len() == 1
        && header.get("alg").is_some_and(|alg| alg == "HS256")
        && claims.len() == 2
        && user.is_some_and(|user| UserId::parse(user).is_ok())
        && exp_s.is_some_and(|exp_s| NOW_S < exp_s && exp_s < INTEGER_MAX)
}

/// Header and claims of a token that our secret has signed, told without the login. `None` if it has not.
fn vouched_for(token: &str) -> Option<(Value, Value)> {
    let (message, _) = token.rsplit_once('.')?;
    if signed(message) != token {
        return None;
    }
    let (header, claims) = message.split_once('.')?;
    let read = |part: &str| {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
        let members: HashMap<String, Box<RawValue>> = serde_json::from_str(&text).ok()?;
        // Nobody needs to understand what nobody reads, like a number that is larger than any.
        let value = |raw: &str| serde_json::from_str(raw).unwrap_or_else(|_| raw.into());
        let values = members.iter().map(|(key, raw)| (key.clone(), value(raw.get())));
        let mut object: Map<String, Value> = values.collect();
        // What stands there twice, or in other words than usual, makes it longer: then it is not plain.
        if serde_json::to_string(&object).map_or(0, |short| short.len()) < text.len() {
            object.insert("(not plain)".to_owned(), Value::Null);
        }
        Some(Value::Object(object))
    };
    Some((read(header)?, read(claims)?))
}

/// A token that was known is not known any more once a letter of it is another one.
fn spoiled(token: &str) {
    for place in [0, token.len() / 3, token.len() / 2, token.len() - 1] {
        let mut letters = token.as_bytes().to_vec();
        letters[place] = if letters[place] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(letters).expect("a token is ASCII");
        assert!(!matches!(login().verify(&other, NOW_S), Verdict::Known(_)), "{other}");
    }
}

fn signed(message: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A login that knows one secret and nothing else.
fn login() -> &'static Login {
    static LOGIN: OnceLock<Login> = OnceLock::new();
    LOGIN.get_or_init(|| {
        let set = vec![("--secret", "auth.hs256_secret", SECRET.to_owned())];
        let Ok(config) = Config::load(&Flags { config: None, set }, []) else {
            panic!("one setting is no mistake");
        };
        let signer = Signer::open(&config).expect("the secret is in the settings");
        let own = Trusted { issuer: None, kid: None, key: signer.key() };
        Login(Arc::new(Inner {
            rules: Rules { user_claim: config.auth.user_claim, audience: None },
            trusted: vec![own],
            signer,
            jwks: None,
            keys: KnownKeys::default(),
            revoked: RwLock::default(),
        }))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_bytes_as_tokens() {
        crate::kept::check("tokens", super::check);
    }
}
