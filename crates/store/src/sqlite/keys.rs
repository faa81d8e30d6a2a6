//! Application keys: made and revoked by the command line, read by a running server.
//!
//! Only hashes are stored. A key is long and random, so one round of a fast hash is enough.

use std::path::Path;

use rusqlite::{Connection, params};

use super::{connect_and_migrate, read::number, whole};
use crate::directory;
use crate::error::{Error, OpenError};
use crate::row::Key;

/// The keys of a data directory; works beside a running server.
pub struct Keys {
    db: Connection,
    version: Option<i64>,
}

/// Why a key was not made or not revoked.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// That name is taken.
    #[error("there is a key named {0:?} already; revoke it first, or choose another name")]
    Taken(String),
    /// No such key.
    #[error("there is no key named {0:?}; `tertulia key list` shows them")]
    Unknown(String),
    /// The database says no.
    #[error(transparent)]
    Database(#[from] Error),
}

impl Keys {
    /// The keys in `dir`, which is made if it is not there.
    pub fn open(dir: &Path) -> Result<Keys, OpenError> {
        directory::make(dir)?;
        whole::examine_in_use(&dir.join("tertulia.db"))?;
        Ok(Keys { db: connect_and_migrate(dir)?, version: None })
    }

    /// Every key, by name.
    pub fn list(&self) -> Result<Vec<Key>, Error> {
        let mut statement =
            self.db.prepare_cached("SELECT name, hash, scope, created FROM keys ORDER BY name")?;
        let rows = statement.query_map([], |row| {
            Ok(Key {
                name: row.get(0)?,
                hash: row.get(1)?,
                scope: row.get(2)?,
                created: number(row, 3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Every key, if any other connection has written since the last call.
    ///
    /// Cost: a look at one number in shared memory while nothing was written.
    pub fn list_if_changed(&mut self) -> Result<Option<Vec<Key>>, Error> {
        let version: i64 = self
            .db
            .pragma_query_value(None, "data_version", |row| row.get(0))
            .map_err(Error::from)?;
        if self.version == Some(version) {
            return Ok(None);
        }
        let keys = self.list()?;
        self.version = Some(version);
        Ok(Some(keys))
    }

    /// Adds a key.
    pub fn add(&self, key: &Key) -> Result<(), KeyError> {
        let added = self
            .db
            .execute(
                "INSERT OR IGNORE INTO keys (name, hash, scope, created) VALUES (?1, ?2, ?3, ?4)",
                params![key.name, key.hash, key.scope, key.created as i64],
            )
            .map_err(Error::from)?;
        if added == 0 { Err(KeyError::Taken(key.name.clone())) } else { Ok(()) }
    }

    /// Removes the key of that name; servers refuse it within a second.
    pub fn revoke(&self, name: &str) -> Result<(), KeyError> {
        let gone =
            self.db.execute("DELETE FROM keys WHERE name = ?1", [name]).map_err(Error::from)?;
        if gone == 0 { Err(KeyError::Unknown(name.to_owned())) } else { Ok(()) }
    }
}
