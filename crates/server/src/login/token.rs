//! Token: what stands in a JSON Web Token, before anyone vouches for it.
//!
//! The whole of it is read and checked here, so that a signature is only computed for a token that would
//! be good. Headers that point to a key (`jku`, `x5u`, `jwk`) are not even read.
//!
//! Never: decides which key or algorithm to trust.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tertulia_protocol::{Role, RoomId, UserId, limits, object};
use tertulia_rooms::identity::LEEWAY_S;

use super::public_key::Alg;

/// Longest token: half of what hello may need, so that the rooms fit beside it.
pub(crate) const TOKEN_BYTES_MAX: usize = limits::HELLO_BYTES_MAX / 2;

/// Most rooms that a token may grant a role in; not more fit it anyway.
pub(crate) const GRANTS_MAX: usize = 1000;

/// Longest `kid`; those of identity providers have up to 64.
const KID_BYTES_MAX: usize = 256;

/// Longest `name` and `avatar` that are taken over; longer ones are left out.
const NAME_CHARS_MAX: usize = 128;
const AVATAR_BYTES_MAX: usize = 2048;

/// Who someone is, and until when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    /// The user.
    pub(crate) user: UserId,
    /// When the token ends, s since 1970 UTC.
    pub(crate) exp_s: u64,
    /// When it was issued, if it says so.
    pub(crate) iat_s: Option<u64>,
    /// Roles in existing rooms for as long as the token lives; at most [`GRANTS_MAX`], no room twice.
    pub(crate) grants: Vec<(RoomId, Role)>,
    /// What people call them.
    pub(crate) name: Option<String>,
    /// Where their picture is.
    pub(crate) avatar: Option<String>,
}

/// What the settings ask of every token.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) user_claim: String,
    pub(super) audience: Option<String>,
}

/// A token that would be good if someone vouches for it.
pub(super) struct Token<'a> {
    pub(super) alg: Alg,
    pub(super) kid: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) expired: bool,
    pub(super) identity: Identity,
    /// What is signed.
    pub(super) message: &'a str,
    /// In base64.
    pub(super) signature: &'a str,
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<IgnoredAny>,
    /// Of encrypted tokens.
    enc: Option<IgnoredAny>,
    /// Of compressed ones.
    zip: Option<IgnoredAny>,
}

impl<'a> Token<'a> {
    /// The token that `text` is, unless something other than its age is wrong with it.
    pub(super) fn read(text: &'a str, rules: &Rules, now_s: u64) -> Option<Token<'a>> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (message, signature) = text.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        // A dot in `claims` would make it an encrypted token; base64 refuses it.
        let (header, claims) = (decoded(header)?, decoded(claims)?);

        let header: Header<'_> = object(&header).ok()?;
        if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
            return None;
        }
        if header.kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
            return None;
        }

        let claims: Claims<'_> = object(&claims).ok()?;
        let exp_s = claims.time("exp")??;
        if claims.time("nbf")?.is_some_and(|nbf_s| nbf_s > now_s.saturating_add(LEEWAY_S)) {
            return None;
        }
        if let Some(audience) = &rules.audience
            && !claims.is_for(audience)
        {
            return None;
        }
        let identity = Identity {
            user: UserId::parse(&claims.text(&rules.user_claim)??).ok()?,
            exp_s,
            iat_s: claims.time("iat")?,
            grants: claims.grants()?,
            name: claims.profile("name", |name| name.chars().count() <= NAME_CHARS_MAX),
            avatar: claims.profile("avatar", |avatar| avatar.len() <= AVATAR_BYTES_MAX),
        };
        Some(Token {
            alg: Alg::parse(&header.alg)?,
            kid: header.kid,
            issuer: claims.text("iss")?,
            expired: now_s >= exp_s.saturating_add(LEEWAY_S),
            identity,
            message,
            signature,
        })
    }
}

fn decoded(part: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// An object's fields, none of them twice: two readers of such a token could see two users.
struct Claims<'a>(HashMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Claims<'a> {
    fn field<T: Deserialize<'a>>(&self, name: &str) -> Option<Option<T>> {
        match self.0.get(name) {
            None => Some(None),
            Some(raw) => serde_json::from_str(raw.get()).ok().map(Some),
        }
    }

    /// A text; the outer `None` if it is something else.
    fn text(&self, name: &str) -> Option<Option<String>> {
        self.field(name)
    }

    /// A time in whole seconds since 1970; the outer `None` if it is something else.
    fn time(&self, name: &str) -> Option<Option<u64>> {
        let Some(seconds) = self.field::<f64>(name)? else { return Some(None) };
        let sane = (0.0..limits::INTEGER_MAX as f64).contains(&seconds);
        sane.then_some(Some(seconds as u64))
    }

    /// Whether `aud` is `audience`, or names it among others.
    fn is_for(&self, audience: &str) -> bool {
        match self.field::<Vec<String>>("aud") {
            Some(Some(several)) => several.iter().any(|one| one == audience),
            Some(None) => false,
            None => matches!(self.text("aud"), Some(Some(one)) if one == audience),
        }
    }

    /// Roles by room; `None` if there are too many, or one is not to be read: half of what an
    /// application meant to grant would be hard to find out about.
    fn grants(&self) -> Option<Vec<(RoomId, Role)>> {
        let Some(rooms) = self.0.get("rooms") else { return Some(Vec::new()) };
        let rooms: Claims<'a> = object(rooms.get()).ok()?;
        if rooms.0.len() > GRANTS_MAX {
            return None;
        }
        let grant = |(room, role): (&Cow<'a, str>, &&'a RawValue)| {
            let role: Cow<'a, str> = serde_json::from_str(role.get()).ok()?;
            Some((RoomId::parse(room).ok()?, Role::parse(&role)?))
        };
        rooms.0.iter().map(grant).collect()
    }

    /// A text of the profile; left out if it is not fit to be shown, since nothing depends on it.
    fn profile(&self, name: &str, fits: impl Fn(&str) -> bool) -> Option<String> {
        let text = self.text(name).flatten()?;
        (!text.is_empty() && fits(&text) && !text.chars().any(char::is_control)).then_some(text)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Claims<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Claims<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims<'de>, A::Error> {
                let mut fields = HashMap::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &RawValue>()? {
                    if fields.insert(name, value).is_some() {
                        return Err(de::Error::custom("a claim stands there twice"));
                    }
                }
                Ok(Claims(fields))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
