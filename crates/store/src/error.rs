//! Errors: why the store did not do what was asked, told apart by what the caller can do.

use std::path::PathBuf;

/// Why the store did not do it. Nothing of a failed commit is there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds the database; try again.
    #[error("the database is locked by another process")]
    Busy,
    /// The disk is full; try again when there is room.
    #[error("the disk is full")]
    Full,
    /// The database cannot be written; try again when it can.
    #[error("the database is read-only")]
    ReadOnly,
    /// Stored bytes are not what was written.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// Anything else that the disk or the database said.
    #[error("the database does not answer: {0}")]
    Failed(String),
}

impl Error {
    /// The short name for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Busy => "busy",
            Error::Full => "full",
            Error::ReadOnly => "read_only",
            Error::Damaged(_) => "damaged",
            Error::Failed(_) => "failed",
        }
    }
}

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Someone serves it.
    #[error(
        "{dir} is in use by process {pid}; stop that one first, or give --data another directory"
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who has it.
        pid: String,
    },
    /// It was written by a later version.
    #[error(
        "{dir} has schema {found}, this version knows up to {known}; start the newer version again"
    )]
    Newer {
        /// The directory.
        dir: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// There is a file, but it is not ours.
    #[error("{path} is not a Tertulia database")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Something that was synced is not there any more.
    #[error(
        "{path}: frame {frame} is damaged and later transactions stand behind it; restore a backup, or \
         start once with --accept-loss to go on without them"
    )]
    Damaged {
        /// The write-ahead log.
        path: PathBuf,
        /// The first wrong frame, counted from 1.
        frame: u64,
    },
    /// Part of the database stands nowhere any more. What is left of a tree cannot be gone on with.
    #[error("{path} was cut: it has {bytes} bytes{}; restore a backup", lacking(*.whole_bytes, *.pages))]
    Cut {
        /// The database.
        path: PathBuf,
        /// How long it is.
        bytes: u64,
        /// How long it should be; unknown if not even its header is there.
        whole_bytes: Option<u64>,
        /// How many of its pages are neither there nor in the write-ahead log; unknown as above.
        pages: Option<u64>,
    },
    /// A file cannot be used.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] Error),
}

fn lacking(whole_bytes: Option<u64>, pages: Option<u64>) -> String {
    match (whole_bytes, pages) {
        (Some(bytes), Some(1)) => format!(" and should have {bytes}, a page is lost"),
        (Some(bytes), Some(pages)) => format!(" and should have {bytes}, {pages} pages are lost"),
        _ => ", less than a header".to_owned(),
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Busy,
            Some(ErrorCode::DiskFull) => Error::Full,
            Some(ErrorCode::ReadOnly) => Error::ReadOnly,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Error::Damaged(error.to_string())
            }
            _ => Error::Failed(error.to_string()),
        }
    }
}
