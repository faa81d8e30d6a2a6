//! The write-ahead log after an unclean stop: was only its torn end lost, or something that was synced?
//!
//! SQLite reads the log up to the first frame whose checksum is wrong and forgets the rest, whatever it
//! is. A torn last transaction is nothing: nobody was told of it. But a wrong frame with a later
//! transaction behind it was synced once, so acknowledged messages would vanish without a word.
//!
//! On the way it is noted which pages are committed in it, for [`super::whole`].
//!
//! Source: <https://sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// The lowest bit says which byte order the checksums use.
const MAGIC: u32 = 0x377f_0682;

/// What a log is worth.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Log {
    /// That frame, counted from 1, is damaged, and a later transaction stands behind it. Otherwise the log is
    /// whole, absent, or torn at its end only.
    pub(super) damaged: Option<u64>,
    /// What SQLite will find in it.
    pub(super) committed: Option<Committed>,
}

/// The transactions of a log up to its last commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Committed {
    pub(super) page_bytes: u64,
    /// Pages of the database after the last of them.
    pub(super) db_pages: u64,
    /// The pages that stand in the log, in order, each once.
    pub(super) pages: Vec<u32>,
}

/// Reads the log at `path` once, from its beginning to its end.
///
/// Cost: as many bytes as it has, 64 MiB by the bound of the checkpoints, and four for each frame in memory.
pub(super) fn examine(path: &Path) -> io::Result<Log> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Log::default()),
        Err(error) => return Err(error),
    };
    let mut log = BufReader::with_capacity(1 << 20, file);
    let mut header = [0; HEADER_BYTES];
    // A log without a whole header holds nothing.
    if !fill(&mut log, &mut header)? {
        return Ok(Log::default());
    }
    let magic = word(&header, 0);
    let mut sum = Checksum { big_endian: magic & 1 == 1, a: 0, b: 0 };
    sum.add(&header[..24]);
    let page_bytes = word(&header, 8);
    let sound = magic & !1 == MAGIC
        && page_bytes.is_power_of_two()
        && (512..=65_536).contains(&page_bytes)
        && sum.is(&header, 24);
    if !sound {
        return Ok(Log::default());
    }
    frames(&mut log, &header[16..24], page_bytes, sum)
}

fn frames(
    log: &mut impl Read,
    salts: &[u8],
    page_bytes: u32,
    mut sum: Checksum,
) -> io::Result<Log> {
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes as usize];
    let mut number = 0;
    let mut written = Written::default();
    let mut wrong = None;
    let mut committed_behind = false;
    let mut damaged = None;
    while damaged.is_none() && fill(log, &mut frame)? {
        number += 1;
        // What an earlier round of the log has left behind has other salts, and ends this one.
        if frame[8..16] != *salts {
            if wrong.is_none() {
                break;
            }
            continue;
        }
        let db_pages = word(&frame, 4);
        let commits = db_pages != 0;
        match wrong {
            None => {
                sum.add(&frame[..8]);
                sum.add(&frame[FRAME_HEADER_BYTES..]);
                if sum.is(&frame, 16) {
                    written.add(word(&frame, 0), db_pages);
                } else {
                    wrong = Some(number);
                    committed_behind = commits;
                }
            }
            // The transaction that the wrong frame belongs to has ended, and here is a later one.
            Some(_) if committed_behind => damaged = wrong,
            Some(_) => committed_behind = commits,
        }
    }
    Ok(Log { damaged, committed: written.committed(page_bytes) })
}

/// The pages of the frames so far.
#[derive(Default)]
struct Written {
    pages: Vec<u32>,
    /// How many of them are committed.
    committed: usize,
    db_pages: u32,
}

impl Written {
    fn add(&mut self, page: u32, db_pages: u32) {
        self.pages.push(page);
        if db_pages != 0 {
            (self.committed, self.db_pages) = (self.pages.len(), db_pages);
        }
    }

    fn committed(mut self, page_bytes: u32) -> Option<Committed> {
        self.pages.truncate(self.committed);
        self.pages.sort_unstable();
        self.pages.dedup();
        let (page_bytes, db_pages) = (page_bytes.into(), self.db_pages.into());
        (self.committed > 0).then_some(Committed { page_bytes, db_pages, pages: self.pages })
    }
}

/// The log's own checksum over 32-bit words, two at a time.
struct Checksum {
    big_endian: bool,
    a: u32,
    b: u32,
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let read = |four: &[u8]| {
            let four = [four[0], four[1], four[2], four[3]];
            if self.big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
        };
        let (mut a, mut b) = (self.a, self.b);
        for eight in bytes.chunks_exact(8) {
            a = a.wrapping_add(read(&eight[..4])).wrapping_add(b);
            b = b.wrapping_add(read(&eight[4..])).wrapping_add(a);
        }
        (self.a, self.b) = (a, b);
    }

    /// Whether `bytes` holds this sum at `at`.
    fn is(&self, bytes: &[u8], at: usize) -> bool {
        (word(bytes, at), word(bytes, at + 4)) == (self.a, self.b)
    }
}

pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// False at the end, also if that comes in the middle.
fn fill(from: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// A log of five transactions, a frame or more each.
    fn log() -> (tempfile::TempDir, std::path::PathBuf, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let db = Connection::open(dir.path().join("x.db")).unwrap();
        db.pragma_update(None, "journal_mode", "WAL").unwrap();
        db.execute_batch("CREATE TABLE t (x)").unwrap();
        for i in 0..4 {
            db.execute("INSERT INTO t VALUES (?1)", [i]).unwrap();
        }
        let path = dir.path().join("copy-wal");
        let bytes = std::fs::read(dir.path().join("x.db-wal")).unwrap();
        (dir, path, bytes)
    }

    fn examined(path: &Path, bytes: &[u8]) -> Log {
        std::fs::write(path, bytes).unwrap();
        examine(path).unwrap()
    }

    fn damaged(path: &Path, bytes: &[u8]) -> Option<u64> {
        examined(path, bytes).damaged
    }

    #[test]
    fn a_whole_log_and_none_are_sound() {
        let (dir, path, bytes) = log();
        assert_eq!(damaged(&path, &bytes), None);
        assert_eq!(examined(&path, &[]), Log::default());
        assert_eq!(examine(&dir.path().join("nowhere")).unwrap(), Log::default());
    }

    #[test]
    fn a_log_cut_anywhere_is_torn_and_not_damaged() {
        let (_dir, path, bytes) = log();
        for end in (0..bytes.len()).step_by(97) {
            assert_eq!(damaged(&path, &bytes[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn a_flipped_bit_is_damage_unless_it_is_in_the_last_transaction() {
        let (_dir, path, bytes) = log();
        let frame_bytes = FRAME_HEADER_BYTES + 4096;
        let frames = (bytes.len() - HEADER_BYTES) / frame_bytes;
        assert!(frames >= 5);
        for frame in 0..frames {
            let mut flipped = bytes.clone();
            flipped[HEADER_BYTES + frame * frame_bytes + FRAME_HEADER_BYTES + 5] ^= 4;
            let expected = match frame + 1 == frames {
                true => None,
                false => Some(frame as u64 + 1),
            };
            assert_eq!(damaged(&path, &flipped), expected, "frame {frame} of {frames}");
        }
    }

    #[test]
    fn what_is_committed_ends_with_the_last_whole_transaction() {
        let (_dir, path, bytes) = log();
        let whole = examined(&path, &bytes).committed.unwrap();
        assert_eq!((whole.page_bytes, whole.db_pages, &*whole.pages), (4096, 2, &[1, 2][..]));
        // Its first transaction makes the table: a frame for each page, the second of them commits.
        let frame_bytes = FRAME_HEADER_BYTES + 4096;
        let two = HEADER_BYTES + 2 * frame_bytes;
        assert_eq!(examined(&path, &bytes[..two]).committed, Some(whole));
        assert_eq!(examined(&path, &bytes[..two - 1]).committed, None);
        // Frames of an earlier round do not count.
        let mut other_round = bytes.clone();
        for frame in other_round[HEADER_BYTES..].chunks_exact_mut(frame_bytes) {
            frame[8] ^= 1;
        }
        assert_eq!(examined(&path, &other_round), Log::default());
    }
    #[test]
    fn pages_of_a_transaction_that_did_not_end_do_not_count() {
        let mut written = Written::default();
        for (page, db_pages) in [(2, 0), (1, 2), (2, 2), (3, 0)] {
            written.add(page, db_pages);
        }
        let committed = Committed { page_bytes: 4096, db_pages: 2, pages: vec![1, 2] };
        assert_eq!(written.committed(4096), Some(committed));
    }
}
