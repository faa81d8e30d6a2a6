//! Disk: what a power cut may leave of the files that a trace wrote.
//!
//! What was synced is there. Of what was not, any part may be: some of the writes, in any order, and of one of
//! them only some of its sectors. A kernel and a disk promise no more.

use std::collections::BTreeMap;

use crate::chance::Chance;
use crate::trace::{Call, What};

/// The least that a disk writes whole, in bytes.
const SECTOR: usize = 512;

/// The bytes of each file.
pub type Image = BTreeMap<String, Vec<u8>>;

/// Files as they are written, and as far as they are safe.
#[derive(Default)]
pub struct Disk {
    files: BTreeMap<String, File>,
}

#[derive(Default)]
struct File {
    /// What no power cut takes away.
    safe: Vec<u8>,
    /// What was written since, by the line of the trace on which that ended.
    loose: Vec<(usize, Change)>,
}

enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { len: usize },
}

/// How much of what was not synced survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// Nothing.
    Nothing,
    /// All: as if the process alone had died.
    Everything,
    /// The first of it.
    First,
    /// Any of it.
    Any,
    /// Any of it, and some sectors of the rest.
    Torn,
}

impl Cut {
    /// Every kind.
    pub const ALL: [Cut; 5] = [Cut::Nothing, Cut::Everything, Cut::First, Cut::Any, Cut::Torn];
}

impl Disk {
    /// What a call does. `upto` is the line of the trace on which the power goes: a sync that has not ended by
    /// then has made nothing safe.
    pub fn follow(&mut self, call: &Call, upto: usize) {
        match &call.what {
            What::Write { at, bytes } => {
                let write = Change::Write { at: *at as usize, bytes: bytes.clone() };
                self.file(call).loose.push((call.ends, write));
            }
            What::Truncate { len } => {
                let truncate = Change::Truncate { len: *len as usize };
                self.file(call).loose.push((call.ends, truncate));
            }
            What::Sync if call.ends < upto => {
                let file = self.file(call);
                let loose = std::mem::take(&mut file.loose);
                for (ended, change) in loose {
                    if ended < call.begins {
                        change.apply(&mut file.safe);
                    } else {
                        file.loose.push((ended, change));
                    }
                }
            }
            // Only what makes way for the first start: a directory keeps its entries here.
            What::Unlink => _ = self.files.remove(&call.file),
            What::Sync | What::Say { .. } => {}
        }
    }

    fn file(&mut self, call: &Call) -> &mut File {
        self.files.entry(call.file.clone()).or_default()
    }

    /// What is there when the power is back.
    pub fn after(&self, cut: Cut, chance: &mut Chance) -> Image {
        let after = |file: &File, chance: &mut Chance| {
            let mut bytes = file.safe.clone();
            let first = chance.below(file.loose.len() as u64 + 1) as usize;
            for (at, (_, change)) in file.loose.iter().enumerate() {
                let survives = match cut {
                    Cut::Nothing => false,
                    Cut::Everything => true,
                    Cut::First => at < first,
                    Cut::Any | Cut::Torn => chance.below(2) == 0,
                };
                match change {
                    change if survives => change.apply(&mut bytes),
                    Change::Write { at, bytes: written } if cut == Cut::Torn => {
                        for (sector, part) in written.chunks(SECTOR).enumerate() {
                            if chance.below(2) == 0 {
                                put(&mut bytes, at + sector * SECTOR, part);
                            }
                        }
                    }
                    _ => {}
                }
            }
            bytes
        };
        self.files.iter().map(|(name, file)| (name.clone(), after(file, chance))).collect()
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Change::Write { at, bytes } => put(file, *at, bytes),
            Change::Truncate { len } => file.resize(*len, 0),
        }
    }
}

/// A hole below what is written reads as zeros.
fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: usize, ends: usize, what: What) -> Call {
        Call { file: "wal".to_owned(), what, begins: line, ends }
    }

    fn write(line: usize, at: u64, text: &str) -> Call {
        call(line, line, What::Write { at, bytes: text.into() })
    }

    /// What may be there after a cut on line `upto`, over many chances.
    fn after(calls: &[Call], upto: usize, cut: Cut) -> Vec<String> {
        let mut disk = Disk::default();
        calls.iter().filter(|call| call.begins < upto).for_each(|call| disk.follow(call, upto));
        let mut chance = Chance::new(7);
        let images = (0..100).map(|_| disk.after(cut, &mut chance)["wal"].clone());
        let mut seen: Vec<String> =
            images.map(|bytes| String::from_utf8(bytes).unwrap().replace('\0', "_")).collect();
        seen.sort();
        seen.dedup();
        seen
    }

    #[test]
    fn what_was_synced_is_there_and_of_the_rest_any_part() {
        let calls = [
            write(0, 0, "aa"),
            call(1, 3, What::Sync),
            write(2, 2, "bb"),
            write(4, 4, "cc"),
            call(5, 6, What::Truncate { len: 1 }),
        ];
        assert_eq!(after(&calls, 9, Cut::Nothing), ["aa"]);
        assert_eq!(after(&calls, 5, Cut::Everything), ["aabbcc"]);
        assert_eq!(after(&calls, 9, Cut::Everything), ["a"]);
        assert_eq!(after(&calls, 9, Cut::First), ["a", "aa", "aabb", "aabbcc"]);
        assert_eq!(after(&calls, 5, Cut::Any), ["aa", "aa__cc", "aabb", "aabbcc"]);
        assert_eq!(after(&calls, 3, Cut::Nothing), [""], "the sync had not ended");
    }

    #[test]
    fn a_torn_write_leaves_some_of_its_sectors() {
        let long = "x".repeat(SECTOR) + &"y".repeat(SECTOR);
        let seen = after(&[write(0, 0, &long)], 9, Cut::Torn);
        let shapes: Vec<(usize, usize)> =
            seen.iter().map(|t| (t.matches('x').count(), t.matches('y').count())).collect();
        assert_eq!(shapes, [(0, 0), (0, SECTOR), (SECTOR, 0), (SECTOR, SECTOR)]);
    }
}
