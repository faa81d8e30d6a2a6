//! Backup: a copy of one moment, taken while the server runs.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, OpenError};

/// Pages copied before others may write again: about 4 MiB.
const STEP_PAGES: i32 = 1024;

/// Copies the database in `dir` to the file `to`, which must not be there yet.
///
/// The copy is of one moment: a write meanwhile starts it over, invisibly. Rooms of a copy that is served
/// later get new epochs, since clients may have seen more than it holds.
pub fn backup(dir: &Path, to: &Path, mut progress: impl FnMut(i32, i32)) -> Result<(), OpenError> {
    let from = dir.join("tertulia.db");
    let file = |path: &Path, source| OpenError::File { path: path.to_owned(), source };
    std::fs::metadata(&from).map_err(|source| file(&from, source))?;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(|source| file(to, source))?;
    let mut copy = || -> Result<(), Error> {
        let source = Connection::open_with_flags(&from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        source.busy_timeout(super::BUSY_WAIT)?;
        // One read transaction over the whole copy: without it every commit meanwhile would start it over,
        // and under load it would never end.
        source.execute_batch("BEGIN; SELECT count(*) FROM facts")?;
        let mut target = Connection::open(to)?;
        let steps = Backup::new(&source, &mut target)?;
        loop {
            let step = steps.step(STEP_PAGES)?;
            let state = steps.progress();
            progress(state.pagecount - state.remaining, state.pagecount);
            match step {
                rusqlite::backup::StepResult::Done => break,
                rusqlite::backup::StepResult::More => {}
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        drop(steps);
        target.pragma_update(None, "journal_mode", "DELETE")?;
        // Whoever serves it sees that it is not the file that was served, whatever its place on the disk.
        super::set_fact(&target, "file", "a copy")?;
        target.close().map_err(|(_, error)| error)?;
        Ok(())
    };
    copy().map_err(OpenError::Database)?;
    std::fs::File::open(to).and_then(|copy| copy.sync_all()).map_err(|source| file(to, source))
}
