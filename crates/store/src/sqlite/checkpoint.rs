//! The checkpointer: moves the write-ahead log into the database beside the commits, not inside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use crate::error::Error;

/// From here on a checkpoint is worth its syncs.
const WAL_BYTES_WORTH: u64 = 8 * 1024 * 1024;

/// Keeps the write-ahead log short, from a thread of its own.
pub struct Checkpointer {
    db: Connection,
    wal_bytes: Arc<AtomicU64>,
}

impl Checkpointer {
    pub(super) fn new(db: Connection, wal_bytes: Arc<AtomicU64>) -> Checkpointer {
        Checkpointer { db, wal_bytes }
    }

    /// Moves what can be moved without making anyone wait, if there is enough of it. True if it did.
    ///
    /// Once all is moved and no reader looks at the log, the next commit starts it over by itself.
    pub fn run(&mut self) -> Result<bool, Error> {
        if self.wal_bytes() < WAL_BYTES_WORTH {
            return Ok(false);
        }
        self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        Ok(true)
    }

    /// Bytes of the write-ahead log after the newest commit.
    pub fn wal_bytes(&self) -> u64 {
        self.wal_bytes.load(Ordering::Relaxed)
    }
}
