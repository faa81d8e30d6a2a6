//! Whether the database is all there, before SQLite opens it.
//!
//! SQLite takes a file of one byte for a new one and throws away the log beside it, and reads a last page
//! that stands there in part as if its rest were zeros. A file that was cut would be served like any other.
//!
//! A page is there if it stands wholly in the file, or committed in the write-ahead log: a checkpoint that
//! was broken off leaves the file too short, and the log still has what it lacks.
//!
//! Source: <https://sqlite.org/fileformat2.html>.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::wal::{self, Committed, word};
use crate::error::OpenError;

/// Where SQLite takes its locks. The page of this byte is never written.
const LOCK_BYTE: u64 = 1 << 30;

const HEADER_BYTES: usize = 100;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How much of a database there should be.
#[derive(Clone, Copy)]
struct Extent {
    page_bytes: u64,
    pages: u64,
}

/// Refuses the database at `path` if a page of it stands neither there nor in its log.
///
/// Cost: reads the first 100 bytes.
/// Errors: [`OpenError::Cut`]; [`OpenError::Foreign`] if it does not begin like a database.
pub(super) fn examine(path: &Path, log: Option<&Committed>) -> Result<(), OpenError> {
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    // A change of the journal's mode was broken off. SQLite undoes it, and it alone knows what was before.
    if length(&path.with_extension("db-journal")).map_err(failed)? > 0 {
        return Ok(());
    }
    let bytes = length(path).map_err(failed)?;
    let cut =
        |whole_bytes, pages| OpenError::Cut { path: path.to_owned(), bytes, whole_bytes, pages };
    let extent = match log {
        Some(log) => Extent { page_bytes: log.page_bytes, pages: log.db_pages },
        None if bytes == 0 => return Ok(()),
        None => {
            let header = header(path).map_err(failed)?;
            if !header.starts_with(&MAGIC[..MAGIC.len().min(header.len())]) {
                return Err(OpenError::Foreign { path: path.to_owned() });
            }
            let Some(header) = header.first_chunk() else { return Err(cut(None, None)) };
            match Extent::of(header, bytes) {
                Some(extent) => extent,
                None => return Err(OpenError::Foreign { path: path.to_owned() }),
            }
        }
    };
    match extent.missing(bytes, log.map_or(&[], |log| &log.pages)) {
        0 => Ok(()),
        pages => Err(cut(Some(extent.pages * extent.page_bytes), Some(pages))),
    }
}

/// The same, for those who come beside a running server or after its start: the log is read only if the
/// file alone does not show that all is there.
pub(super) fn examine_in_use(path: &Path) -> Result<(), OpenError> {
    let look = || {
        let log_path = path.with_extension("db-wal");
        let log = wal::examine(&log_path)
            .map_err(|source| OpenError::File { path: log_path.clone(), source })?;
        examine(path, log.committed.as_ref())
    };
    if length(path).is_ok_and(|bytes| bytes > 0) && examine(path, None).is_ok() {
        return Ok(());
    }
    // A checkpoint that began between the log and the file looks like a cut; the log has it the next time.
    look().or_else(|_| look())
}

impl Extent {
    /// What the header of a file of so many bytes says; nothing if it is none.
    fn of(header: &[u8; HEADER_BYTES], bytes: u64) -> Option<Extent> {
        let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            bytes if bytes >= 512 && bytes.is_power_of_two() => u64::from(bytes),
            _ => return None,
        };
        let pages = word(header, 28);
        let counts = pages != 0 && word(header, 24) == word(header, 92);
        // Very old versions of SQLite kept no count; the file is then as long as it is.
        let pages = if counts { pages.into() } else { bytes.div_ceil(page_bytes) };
        Some(Extent { page_bytes, pages })
    }

    /// How many pages are neither in a file of so many bytes nor among `in_log`.
    fn missing(self, bytes: u64, in_log: &[u32]) -> u64 {
        // To SQLite a file of one byte is empty, and the log beside an empty one is to be thrown away.
        let in_log = if bytes <= 1 { &[] } else { in_log };
        let behind = bytes / self.page_bytes + 1..=self.pages;
        let logged =
            in_log.iter().filter(|page| behind.contains(&u64::from(**page))).count() as u64;
        let lock_page = u64::from(behind.contains(&(LOCK_BYTE / self.page_bytes + 1)));
        (behind.end() + 1).saturating_sub(behind.start() + logged + lock_page)
    }
}

/// No file has no bytes.
fn length(path: &Path) -> io::Result<u64> {
    match std::fs::metadata(path) {
        Ok(file) => Ok(file.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// The header, or what there is of it.
fn header(path: &Path) -> io::Result<Vec<u8>> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    File::open(path)?.take(HEADER_BYTES as u64).read_to_end(&mut header)?;
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use rusqlite::Connection;

    use super::*;

    const PAGE: usize = 4096;

    /// A database of two rounds: what the file has from the first, the log has from the second.
    struct Two {
        dir: tempfile::TempDir,
        file: Vec<u8>,
        log: Vec<u8>,
    }

    impl Two {
        fn new(checkpoint: &str) -> Two {
            let dir = tempfile::tempdir().unwrap();
            let db = Connection::open(dir.path().join("x.db")).unwrap();
            db.pragma_update(None, "journal_mode", "WAL").unwrap();
            db.execute_batch("CREATE TABLE t (x)").unwrap();
            let fill = |rows| {
                for i in 0..rows {
                    db.execute("INSERT INTO t VALUES (zeroblob(1000) || ?1)", [i]).unwrap();
                }
            };
            let run = |mode: &str| {
                db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())).unwrap();
            };
            fill(60);
            run("RESTART");
            fill(20);
            if !checkpoint.is_empty() {
                run(checkpoint);
            }
            let read = |name| fs::read(dir.path().join(name)).unwrap();
            let (file, log) = (read("x.db"), read("x.db-wal"));
            drop(db);
            Two { dir, file, log }
        }

        fn put(&self, file: &[u8], log: &[u8]) -> PathBuf {
            let path = self.dir.path().join("x.db");
            _ = fs::remove_file(path.with_extension("db-shm"));
            fs::write(&path, file).unwrap();
            fs::write(path.with_extension("db-wal"), log).unwrap();
            path
        }

        fn lost(&self, file: &[u8], log: &[u8]) -> Option<u64> {
            let path = self.put(file, log);
            let log = wal::examine(&path.with_extension("db-wal")).unwrap();
            match examine(&path, log.committed.as_ref()) {
                Ok(()) => Some(0),
                Err(OpenError::Cut { pages, .. }) => pages,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The rows that SQLite finds, if it finds nothing wrong.
    fn rows(path: &Path) -> rusqlite::Result<Vec<Vec<u8>>> {
        let db = Connection::open(path)?;
        let sound: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        assert_eq!(sound, "ok");
        let mut rows = db.prepare("SELECT CAST(x AS BLOB) FROM t ORDER BY rowid")?;
        rows.query_map([], |row| row.get(0))?.collect()
    }

    #[test]
    fn what_is_not_refused_has_every_row() {
        for (checkpoint, log_is_there) in
            [("", true), ("PASSIVE", true), ("PASSIVE", false), ("TRUNCATE", true)]
        {
            let two = Two::new(checkpoint);
            let log = if log_is_there { &*two.log } else { &[] };
            let whole = rows(&two.put(&two.file, log)).unwrap();
            assert_eq!(whole.len(), 80);
            let mut refused = 0;
            let ends =
                (0..=two.file.len()).rev().step_by(PAGE).flat_map(|end| [end, end.max(1) - 1]);
            for end in ends.chain([1, 2, 7, 99, 100, 511, 512]) {
                let lost = two.lost(&two.file[..end], log);
                if lost == Some(0) && !(end == 0 && log.is_empty()) {
                    let path = two.put(&two.file[..end], log);
                    assert_eq!(rows(&path).unwrap(), whole, "{checkpoint}, cut at {end}");
                } else {
                    refused += 1;
                }
            }
            assert!(refused > 10, "{checkpoint}: only {refused} were refused");
            assert_eq!(two.lost(&two.file, log), Some(0));
        }
    }

    #[test]
    fn a_page_that_is_there_in_part_is_lost_unless_the_log_has_it() {
        let two = Two::new("PASSIVE");
        let end = two.file.len() - 1;
        assert_eq!(two.lost(&two.file[..end], &[]), Some(1));
        assert_eq!(two.lost(&two.file[..end - PAGE], &[]), Some(2));
        assert_eq!(two.lost(&two.file[..end], &two.log), Some(0), "the second round wrote it");
        let mut other_round = two.log.clone();
        other_round[32 + 8] ^= 1;
        assert_eq!(two.lost(&two.file[..end], &other_round), Some(1), "what was before is over");
    }

    #[test]
    fn a_file_that_grows_in_a_checkpoint_may_be_short_of_what_the_log_has() {
        let two = Two::new("");
        assert_eq!(two.lost(&two.file, &two.log), Some(0), "nothing has been moved yet");
        assert_eq!(two.lost(&two.file[..two.file.len() - PAGE], &[]), Some(1));
        // The first page goes first: it counts what only follows.
        let moved = Two::new("PASSIVE");
        assert!(moved.file.len() > two.file.len());
        let midst = &moved.file[..two.file.len() + 100];
        assert_eq!(moved.lost(midst, &moved.log), Some(0));
        assert!(moved.lost(midst, &[]) > Some(1));
    }

    #[test]
    fn beside_an_empty_file_a_log_is_as_good_as_lost() {
        let two = Two::new("PASSIVE");
        let all = (two.file.len() / PAGE) as u64;
        for file in [&[][..], &two.file[..1]] {
            assert_eq!(two.lost(file, &two.log), Some(all));
        }
        assert_eq!(two.lost(&[], &[]), Some(0), "it is a new one");
        for end in [1, 7, 99] {
            assert_eq!(two.lost(&two.file[..end], &[]), None, "not even a header");
        }
        assert_eq!(two.lost(&two.file[..100], &[]), Some(all));
    }

    #[test]
    fn the_page_of_the_locks_is_never_missed() {
        let extent = Extent { page_bytes: 4096, pages: 262_147 };
        assert_eq!(extent.missing(LOCK_BYTE, &[262_146, 262_147]), 0);
        assert_eq!(extent.missing(LOCK_BYTE, &[262_147]), 1);
        assert_eq!(extent.missing(LOCK_BYTE + 4096, &[]), 2);
        assert_eq!(Extent { pages: u32::MAX.into(), ..extent }.missing(0, &[]), 4_294_967_294);
    }

    #[test]
    fn a_change_of_the_journal_is_left_to_sqlite() {
        let two = Two::new("PASSIVE");
        let path = two.put(&two.file[..100], &[]);
        fs::write(path.with_extension("db-journal"), b"what was before").unwrap();
        assert!(examine(&path, None).is_ok());
    }
}
