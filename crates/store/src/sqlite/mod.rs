//! The SQLite engine: one file, one writer, readers that never wait for it.

pub(crate) mod backup;
mod check;
pub(crate) mod checkpoint;
pub(crate) mod keys;
mod read;
mod sweep;
mod wal;
mod whole;
mod write;

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use crate::Durability;
use crate::directory::{self, Doubt, Found};
use crate::error::{Error, OpenError};
use checkpoint::Checkpointer;
use read::SqliteReader;
use write::SqliteWriter;

/// The schema's versions, oldest first. A version is never changed once released, only followed.
const MIGRATIONS: [&str; 1] = [include_str!("../../migrations/sqlite/0001_first.sql")];

/// Marks the file as ours: "Tert".
const APPLICATION_ID: i64 = 0x5465_7274;

/// How long a statement waits for another process. Longer than any write of the command line takes, short
/// enough that a client hears `unavailable` well within five seconds.
const BUSY_WAIT: Duration = Duration::from_millis(1000);

pub(crate) struct Sqlite {
    path: PathBuf,
    durability: Durability,
    wal_bytes: Arc<AtomicU64>,
}

impl Sqlite {
    pub(crate) fn open(
        dir: &Path,
        durability: Durability,
        accept_loss: bool,
    ) -> Result<(Sqlite, Found), OpenError> {
        let path = dir.join("tertulia.db");
        let fresh = !path.exists();
        // Before anything opens the database, since that would forget what stands behind a wrong frame, and
        // take what is left of a cut file for all of it.
        let log_path = dir.join("tertulia.db-wal");
        let log = match wal::examine(&log_path) {
            Ok(log) => log,
            Err(source) => return Err(OpenError::File { path: log_path, source }),
        };
        whole::examine(&path, log.committed.as_ref())?;
        let lost = match log.damaged {
            Some(frame) if !accept_loss && !was_unsynced(&path) => {
                return Err(OpenError::Damaged { path: log_path, frame });
            }
            damaged => damaged.map(|_| Doubt::Damaged),
        };
        let db = connect_and_migrate(dir)?;
        let doubt = match lost {
            Some(doubt) => Some(doubt),
            None if fresh => None,
            None => doubt(&db, &path)?,
        };
        if doubt.is_some() {
            db.execute("UPDATE rooms SET epoch = lower(hex(randomblob(6)))", [])
                .map_err(Error::from)?;
        }
        let file = identity(&path)?;
        set_fact(&db, "file", &file)?;
        set_fact(&db, "durability", durability.as_str())?;
        set_fact(&db, "clean", "no")?;
        let sqlite = Sqlite { path, durability, wal_bytes: Arc::default() };
        Ok((sqlite, Found { fresh, new_epochs: doubt }))
    }

    pub(crate) fn writer(&self) -> Result<SqliteWriter, Error> {
        let db = connect(&self.path)?;
        let synchronous = match self.durability {
            Durability::Fsync => "FULL",
            // Syncs before a checkpoint only: a power cut loses the newest commits, never the database.
            Durability::Os | Durability::Memory => "NORMAL",
        };
        db.pragma_update(None, "synchronous", synchronous)?;
        SqliteWriter::new(db, self.path.clone(), self.wal_bytes.clone())
    }

    pub(crate) fn reader(&self) -> Result<SqliteReader, Error> {
        let db = connect(&self.path)?;
        db.pragma_update(None, "query_only", true)?;
        Ok(SqliteReader::new(db))
    }

    pub(crate) fn checkpointer(&self) -> Result<Checkpointer, Error> {
        Ok(Checkpointer::new(connect(&self.path)?, self.wal_bytes.clone()))
    }

    pub(crate) fn check(&self) -> Result<Option<Vec<String>>, Error> {
        check::check(connect(&self.path)?, self.wal_bytes.clone())
    }

    pub(crate) fn wal_bytes(&self) -> u64 {
        self.wal_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn close(&self) -> Result<(), Error> {
        let db = connect(&self.path)?;
        db.pragma_update(None, "synchronous", "FULL")?;
        set_fact(&db, "clean", "yes")
    }
}

/// A connection to the database in `dir`, made and brought to the newest schema if need be.
pub(crate) fn connect_and_migrate(dir: &Path) -> Result<Connection, OpenError> {
    directory::make(dir)?;
    let path = dir.join("tertulia.db");
    // Made here so that it is its owner's alone, whatever the process's mask; SQLite's files beside it follow.
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .map_err(|source| OpenError::File { path: path.clone(), source })?;
    let mut db = connect(&path).map_err(|error| match error {
        Error::Damaged(_) => OpenError::Foreign { path: path.clone() },
        error => OpenError::Database(error),
    })?;
    let version = |db: &Connection| -> Result<i64, Error> {
        Ok(db.pragma_query_value(None, "user_version", |row| row.get(0))?)
    };
    let known = MIGRATIONS.len() as i64;
    if version(&db)? == known {
        return Ok(db);
    }
    let steps =
        db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Error::from)?;
    // Looked at again under the lock: another process may have been faster.
    let found = version(&steps)?;
    if found > known {
        return Err(OpenError::Newer { dir: dir.to_owned(), found, known });
    }
    if found == 0 && tables(&steps)? > 0 {
        return Err(OpenError::Foreign { path });
    }
    for step in &MIGRATIONS[found as usize..] {
        steps.execute_batch(step).map_err(Error::from)?;
    }
    let finish = || -> rusqlite::Result<()> {
        steps.pragma_update(None, "application_id", APPLICATION_ID)?;
        steps.pragma_update(None, "user_version", known)
    };
    finish().map_err(Error::from)?;
    steps.commit().map_err(Error::from)?;
    Ok(db)
}

fn tables(db: &Connection) -> Result<i64, Error> {
    Ok(db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?)
}

/// Every connection's settings. The log is checkpointed by its own thread, never inside a commit.
fn connect(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY_WAIT)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(None, "cache_size", -16_384)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// Whether the logs may have gone back since they were last served.
fn doubt(db: &Connection, path: &Path) -> Result<Option<Doubt>, OpenError> {
    let served = fact(db, "file")?;
    if served.is_some_and(|served| identity(path).is_ok_and(|now| now != served)) {
        return Ok(Some(Doubt::OtherFile));
    }
    let unclean = fact(db, "clean")?.is_some_and(|clean| clean == "no");
    Ok((unsynced(db)? && unclean).then_some(Doubt::Unsynced))
}

/// Whether the last life promised nothing that a power cut could break.
fn unsynced(db: &Connection) -> Result<bool, Error> {
    Ok(fact(db, "durability")?.is_some_and(|mode| mode != Durability::Fsync.as_str()))
}

/// The same, asked of the database's file alone: its log stays as it is. In doubt it was synced.
fn was_unsynced(path: &Path) -> bool {
    let escaped: String = path
        .to_string_lossy()
        .chars()
        .map(|c| if matches!(c, '%' | '?' | '#') { format!("%{:02x}", c as u32) } else { c.into() })
        .collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags);
    db.is_ok_and(|db| unsynced(&db).unwrap_or(false))
}

/// What tells this file from a copy of it.
fn identity(path: &Path) -> Result<String, OpenError> {
    let file = std::fs::metadata(path)
        .map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    Ok(format!("{}:{}", file.dev(), file.ino()))
}

fn fact(db: &Connection, name: &str) -> Result<Option<String>, Error> {
    Ok(db
        .query_row("SELECT value FROM facts WHERE name = ?", [name], |row| row.get(0))
        .optional()?)
}

fn set_fact(db: &Connection, name: &str, value: &str) -> Result<(), Error> {
    db.execute(
        "INSERT INTO facts (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = ?2",
        [name, value],
    )?;
    Ok(())
}
