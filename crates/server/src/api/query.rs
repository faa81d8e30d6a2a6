//! Queries: the parameters behind the `?`, read one by one, so that a mistake is told by name.

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use tertulia_protocol::BadId;
use tertulia_protocol::limits::INTEGER_MAX;

use crate::problem::{Problem, short};

/// Most entries of a list.
const LIST_LIMIT_MAX: u64 = 200;

/// What was asked with a path. Parameters that nobody asks for are passed over.
pub(super) struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query, Problem> {
        Query::of(&parts.uri)
    }
}

impl Query {
    /// The query of `uri`.
    pub(super) fn of(uri: &Uri) -> Result<Query, Problem> {
        let pairs = axum::extract::Query::try_from_uri(uri);
        let pairs =
            pairs.map_err(|_| Problem::bad_request("the query must be like ?after=3&limit=50"));
        pairs.map(|axum::extract::Query(pairs)| Query(pairs))
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value.map(|(_, text)| text.as_str())),
            (_, Some(_)) => Err(Problem::bad_request(format!("{name} stands there twice"))),
        }
    }

    /// A number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        // `parse` alone would take a plus sign, too.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && number <= INTEGER_MAX => Ok(Some(number)),
            _ => {
                let text = short(text);
                let why =
                    format!("{name} is {text:?}, it must be a whole number up to {INTEGER_MAX}");
                Err(Problem::bad_request(why))
            }
        }
    }

    /// How many are wanted at most.
    pub(super) fn limit(&self) -> Result<Option<u64>, Problem> {
        match self.number("limit")? {
            Some(0) => Err(Problem::bad_request("limit is 0, it must be 1 or more")),
            limit => Ok(limit),
        }
    }

    /// The same of a list.
    pub(super) fn list_limit(&self) -> Result<u32, Problem> {
        Ok(self.limit()?.unwrap_or(LIST_LIMIT_MAX).min(LIST_LIMIT_MAX) as u32)
    }

    /// The entry of a list behind which it goes on.
    pub(super) fn after<T>(
        &self,
        parse: impl Fn(&str) -> Result<T, BadId>,
    ) -> Result<Option<T>, Problem> {
        let bad = |why: BadId| Problem::bad_request(format!("after {why}"));
        self.text("after")?.map(|text| parse(text).map_err(bad)).transpose()
    }
}
