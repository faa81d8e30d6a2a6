//! The write-ahead log after an unclean stop: was only its torn end lost, or something that was synced?
//!
//! SQLite reads the log up to the first frame whose checksum is wrong and forgets the rest, whatever it
//! is. A torn last transaction is nothing: nobody was told of it. But a wrong frame with a later
//! transaction behind it was synced once, so acknowledged messages would vanish without a word.
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wal {
    /// Whole, absent, or torn at its end only.
    Sound,
    /// That frame is damaged, and a later transaction stands behind it.
    Damaged {
        /// Counted from 1.
        frame: u64,
    },
}

/// Reads the log at `path` once, from its beginning to its end.
///
/// Cost: as many bytes as it has, 64 MiB by the bound of the checkpoints.
pub(super) fn examine(path: &Path) -> io::Result<Wal> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Wal::Sound),
        Err(error) => return Err(error),
    };
    let mut log = BufReader::with_capacity(1 << 20, file);
    let mut header = [0; HEADER_BYTES];
    // A log without a whole header holds nothing.
    if !fill(&mut log, &mut header)? {
        return Ok(Wal::Sound);
    }
    let magic = word(&header, 0);
    let mut sum = Checksum { big_endian: magic & 1 == 1, a: 0, b: 0 };
    sum.add(&header[..24]);
    let page_bytes = word(&header, 8) as usize;
    let sound = magic & !1 == MAGIC
        && page_bytes.is_power_of_two()
        && (512..=65_536).contains(&page_bytes)
        && sum.is(&header, 24);
    if !sound {
        return Ok(Wal::Sound);
    }
    frames(&mut log, &header[16..24], page_bytes, sum)
}

fn frames(
    log: &mut impl Read,
    salts: &[u8],
    page_bytes: usize,
    mut sum: Checksum,
) -> io::Result<Wal> {
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    let mut number = 0;
    let mut wrong = None;
    let mut committed_behind = false;
    while fill(log, &mut frame)? {
        number += 1;
        // What an earlier round of the log has left behind has other salts, and ends this one.
        if frame[8..16] != *salts {
            if wrong.is_none() {
                return Ok(Wal::Sound);
            }
            continue;
        }
        let commits = word(&frame, 4) != 0;
        match wrong {
            None => {
                sum.add(&frame[..8]);
                sum.add(&frame[FRAME_HEADER_BYTES..]);
                if !sum.is(&frame, 16) {
                    wrong = Some(number);
                    committed_behind = commits;
                }
            }
            // The transaction that the wrong frame belongs to has ended, and here is a later one.
            Some(frame) if committed_behind => return Ok(Wal::Damaged { frame }),
            Some(_) => committed_behind = commits,
        }
    }
    Ok(Wal::Sound)
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

fn word(bytes: &[u8], at: usize) -> u32 {
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

    fn examined(path: &Path, bytes: &[u8]) -> Wal {
        std::fs::write(path, bytes).unwrap();
        examine(path).unwrap()
    }

    #[test]
    fn a_whole_log_and_none_are_sound() {
        let (dir, path, bytes) = log();
        assert_eq!(examined(&path, &bytes), Wal::Sound);
        assert_eq!(examined(&path, &[]), Wal::Sound);
        assert_eq!(examine(&dir.path().join("nowhere")).unwrap(), Wal::Sound);
    }

    #[test]
    fn a_log_cut_anywhere_is_torn_and_not_damaged() {
        let (_dir, path, bytes) = log();
        for end in (0..bytes.len()).step_by(97) {
            assert_eq!(examined(&path, &bytes[..end]), Wal::Sound, "cut at {end}");
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
                true => Wal::Sound,
                false => Wal::Damaged { frame: frame as u64 + 1 },
            };
            assert_eq!(examined(&path, &flipped), expected, "frame {frame} of {frames}");
        }
    }
}
