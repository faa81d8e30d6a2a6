//! Memory: what was said, ordered, durable, idempotent. (5 commit)
//!
//! A [`Store`] hands out one [`Writer`], which commits all of a batch or nothing of it, and any number of
//! [`Reader`]s. What may be written is decided elsewhere; here it is kept. SQLite is the engine; the
//! one in memory stands in where nothing has to survive, and can be told to fail.
//!
//! Never: sees a frame, a socket, or why someone may do something.

mod directory;
mod engine;
mod error;
mod memory;
mod row;
mod sqlite;
mod walk;

use std::path::Path;

pub use directory::{Directory, Found};
pub use engine::{Reader, Writer};
pub use error::{Error, OpenError};
pub use memory::{Memory, Renewed};
pub use row::{
    Changes, Head, Key, NewEvent, ROOM_NO_MAX, Range, Remembered, Room, RoomNo, SEQ_MAX, Sender,
    Standing, StoredEvent,
};
pub use sqlite::keys::{KeyError, Keys};
pub use sqlite::{backup::backup, checkpoint::Checkpointer};

/// What an acknowledgement promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Survives a power cut: the log is synced before anyone is told.
    Fsync,
    /// Survives a killed process, not a power cut.
    Os,
    /// Survives nothing: for tests.
    Memory,
}

impl Durability {
    /// The word in settings and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Durability::Fsync => "fsync",
            Durability::Os => "os",
            Durability::Memory => "memory",
        }
    }

    /// The durability of that name.
    pub fn parse(text: &str) -> Option<Durability> {
        [Durability::Fsync, Durability::Os, Durability::Memory]
            .into_iter()
            .find(|durability| durability.as_str() == text)
    }
}

/// A place where rooms are kept.
pub struct Store {
    kind: Kind,
}

enum Kind {
    Sqlite(sqlite::Sqlite),
    Memory(Memory),
}

impl Store {
    /// The store in `dir`, made if it is not there.
    ///
    /// Errors: [`OpenError`]. After [`OpenError::Damaged`] and [`OpenError::Cut`] the files are as they were.
    pub fn open(dir: &Path, durability: Durability) -> Result<(Store, Found), OpenError> {
        Store::open_with(dir, durability, false)
    }

    /// As [`Store::open`], and goes on without what a damaged log has lost. Rooms get new epochs then.
    pub fn open_accepting_loss(
        dir: &Path,
        durability: Durability,
    ) -> Result<(Store, Found), OpenError> {
        Store::open_with(dir, durability, true)
    }

    fn open_with(
        dir: &Path,
        durability: Durability,
        accept_loss: bool,
    ) -> Result<(Store, Found), OpenError> {
        let (sqlite, found) = sqlite::Sqlite::open(dir, durability, accept_loss)?;
        let kind = match durability {
            Durability::Memory => Kind::Memory(Memory::default()),
            Durability::Fsync | Durability::Os => Kind::Sqlite(sqlite),
        };
        Ok((Store { kind }, found))
    }

    /// A store that is gone with `memory`.
    pub fn in_memory(memory: &Memory) -> Store {
        Store { kind: Kind::Memory(memory.clone()) }
    }

    /// The one who writes. A second one would not know what the first has in hand.
    pub fn writer(&self) -> Result<Writer, Error> {
        Ok(Writer(match &self.kind {
            Kind::Sqlite(sqlite) => Box::new(sqlite.writer()?),
            Kind::Memory(memory) => Box::new(memory.clone()),
        }))
    }

    /// One who reads what is committed.
    pub fn reader(&self) -> Result<Reader, Error> {
        Ok(Reader(match &self.kind {
            Kind::Sqlite(sqlite) => Box::new(sqlite.reader()?),
            Kind::Memory(memory) => Box::new(memory.clone()),
        }))
    }

    /// What keeps the write-ahead log short, where there is one.
    pub fn checkpointer(&self) -> Result<Option<Checkpointer>, Error> {
        match &self.kind {
            Kind::Sqlite(sqlite) => sqlite.checkpointer().map(Some),
            Kind::Memory(_) => Ok(None),
        }
    }

    /// Reads the whole database and says what is wrong with its structure; an empty list = nothing. `None` =
    /// the write-ahead log grew so long meanwhile that it let go, and another time may be better.
    ///
    /// Cost: minutes for a large one; does not hold anyone up.
    pub fn check(&self) -> Result<Option<Vec<String>>, Error> {
        match &self.kind {
            Kind::Sqlite(sqlite) => sqlite.check(),
            Kind::Memory(_) => Ok(Some(Vec::new())),
        }
    }

    /// Bytes of the write-ahead log after the newest commit.
    pub fn wal_bytes(&self) -> u64 {
        match &self.kind {
            Kind::Sqlite(sqlite) => sqlite.wal_bytes(),
            Kind::Memory(_) => 0,
        }
    }

    /// Ends an orderly life: the next start need not doubt the logs.
    pub fn close(&self) -> Result<(), Error> {
        match &self.kind {
            Kind::Sqlite(sqlite) => sqlite.close(),
            Kind::Memory(_) => Ok(()),
        }
    }
}
