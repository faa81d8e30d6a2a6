//! The data directory: one process at a time, and the same one as before.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::OpenError;

/// What stood in the data directory.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Found {
    /// It was empty: this is a first start.
    pub fresh: bool,
    /// Rooms got new epochs, since their logs may not be what clients have seen.
    pub new_epochs: Option<Doubt>,
}

/// Why a log may have gone back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// The database is another file than the one that was served: a copy was put there.
    OtherFile,
    /// The last life did not sync, and did not end in order.
    Unsynced,
    /// The write-ahead log is damaged, and the operator accepts the loss.
    Damaged,
}

/// The right to serve a data directory. Ends with the value, or with the process.
pub struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Takes `path`, made if it is not there.
    ///
    /// Errors: [`OpenError::InUse`] names the process that has it.
    pub fn take(path: &Path) -> Result<Directory, OpenError> {
        make(path)?;
        let lock_path = path.join("lock");
        let failed = |source| OpenError::File { path: lock_path.clone(), source };
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                lock.read_to_string(&mut pid).map_err(failed)?;
                return Err(OpenError::InUse { dir: path.to_owned(), pid: pid.trim().to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Directory { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes `path` if it is not there: readable by its owner alone.
pub(crate) fn make(path: &Path) -> Result<(), OpenError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| OpenError::File { path: path.to_owned(), source })
}
