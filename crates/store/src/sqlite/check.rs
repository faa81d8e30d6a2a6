//! The check: reads the whole database beside the commits, and lets go once the write-ahead log is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, ErrorCode};

use super::write::WAL_BYTES_FULL;
use crate::error::Error;

/// Pages between two looks at the write-ahead log: a few milliseconds.
const LOOK_EVERY_PAGES: i32 = 1000;

/// What is wrong with the structure of the database; `None` if it had to let go.
///
/// It reads one state from the first page to the last, which keeps the write-ahead log from starting over.
pub(super) fn check(
    mut db: Connection,
    wal_bytes: Arc<AtomicU64>,
) -> Result<Option<Vec<String>>, Error> {
    let log_is_full = move || wal_bytes.load(Ordering::Relaxed) > WAL_BYTES_FULL;
    db.progress_handler(LOOK_EVERY_PAGES, Some(log_is_full))?;
    match quick_check(&db) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn quick_check(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare("PRAGMA quick_check(10)")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let found: Vec<String> = rows.collect::<Result<_, _>>()?;
    Ok(found.into_iter().filter(|line| line != "ok").collect())
}
