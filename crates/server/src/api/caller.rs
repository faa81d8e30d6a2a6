//! The caller: whoever a request speaks for, and what they may reach.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tertulia_protocol::{Close, Code, Role, RoomId};
use tertulia_rooms::draft::Author;
use tertulia_rooms::permission::{self, Action, Actor};
use tertulia_store::{Room, Standing};

use super::not_read;
use crate::login::{ApiKey, Identity, KeyScope, Verdict};
use crate::problem::Problem;
use crate::state::App;
use crate::upgrade::bearer;

/// Who calls.
pub(super) enum Caller {
    /// A user, by token.
    User(Identity),
    /// The application, by key.
    Application(ApiKey),
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Caller, Problem> {
        let Some(bearer) = bearer(&parts.headers)? else {
            return Err(Close::NoToken.into());
        };
        if let Some(key) = app.login.key(bearer) {
            return Ok(Caller::Application(key));
        }
        match app.login.resolve(bearer, app.now_s()).await {
            Verdict::Known(identity) => Ok(Caller::User(identity)),
            Verdict::Refused(close) => Err(close.into()),
            Verdict::MustAsk => Err(Close::TokenInvalid.into()),
        }
    }
}

impl Caller {
    /// As whom a change of `room` is judged. A key needs the scope for it.
    pub(super) fn author(&self, room: &RoomId, needed: KeyScope) -> Result<Author, Problem> {
        match self {
            Caller::User(identity) => {
                Ok(Author::User { user: identity.user.clone(), grant: grant(identity, room) })
            }
            Caller::Application(key) => {
                has_scope(key, needed)?;
                Ok(Author::Application)
            }
        }
    }

    /// Only for the application, with the scope for it.
    pub(super) fn application(&self, needed: KeyScope) -> Result<(), Problem> {
        match self {
            Caller::Application(key) => has_scope(key, needed),
            Caller::User(_) => {
                Err(Problem::new(Code::Forbidden, "this needs an application's key"))
            }
        }
    }

    /// Only for users.
    pub(super) fn user(&self) -> Result<&Identity, Problem> {
        match self {
            Caller::User(identity) => Ok(identity),
            Caller::Application(_) => {
                Err(Problem::new(Code::Forbidden, "this needs a user's token, a key has no rooms"))
            }
        }
    }

    /// The room, if the caller may do `action` in it, and the caller's role there.
    ///
    /// Cost: two point reads, whether or not the room is there.
    pub(super) async fn see(
        &self,
        app: &App,
        id: &RoomId,
        action: Action,
    ) -> Result<(Room, Option<Role>), Problem> {
        let user = match self {
            Caller::User(identity) => Some(identity.user.clone()),
            Caller::Application(key) => {
                has_scope(key, KeyScope::Read)?;
                None
            }
        };
        let wanted = id.clone();
        let read = app.library.call(move |reader| {
            let room = reader.room(&wanted)?;
            let no = room.as_ref().map_or(tertulia_store::RoomNo(0), |room| room.no);
            let standing = match &user {
                Some(user) => Some(reader.standing(no, user)?),
                None => None,
            };
            Ok((room, standing))
        });
        let found = read.await.ok_or_else(|| not_read(None))?;
        let (room, standing) = found.map_err(|error| not_read(Some(error)))?;
        let room = room.ok_or_else(Problem::not_found)?;
        let (actor, role) = match (self, standing) {
            (Caller::User(identity), standing) => {
                let standing = standing.unwrap_or(Standing::Stranger);
                let grant = grant(identity, id);
                (Actor::User { standing, grant }, permission::role(standing, grant))
            }
            (Caller::Application(_), _) => (Actor::Application, None),
        };
        permission::check(actor, room.kind, action)?;
        Ok((room, role))
    }
}

fn grant(identity: &Identity, room: &RoomId) -> Option<Role> {
    identity.grants.iter().find(|(granted, _)| granted == room).map(|(_, role)| *role)
}

fn has_scope(key: &ApiKey, needed: KeyScope) -> Result<(), Problem> {
    if key.scope == KeyScope::Admin || key.scope == needed {
        return Ok(());
    }
    let why = format!("this key has scope {}, it needs {}", key.scope.as_str(), needed.as_str());
    Err(Problem::new(Code::Forbidden, why))
}
