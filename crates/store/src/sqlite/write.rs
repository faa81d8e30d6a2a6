//! Writing to SQLite: one transaction for all that waited.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};
use tertulia_protocol::{Cid, UserId};

use super::identity;
use super::read::{Connected, number};
use super::sweep::Sweeper;
use crate::engine::Write;
use crate::error::Error;
use crate::row::{self, Changes, NewEvent, Remembered, Room, RoomNo, Sender, Standing};

/// From here on each commit first tries to start the write-ahead log over.
pub(super) const WAL_BYTES_FULL: u64 = 64 * 1024 * 1024;

/// The write-ahead log may not pass this. It comes near only while a backup holds on to an old state.
const WAL_BYTES_MAX: u64 = 1024 * 1024 * 1024;

pub(crate) struct SqliteWriter {
    db: Connection,
    /// Where the database was opened, and which file that was.
    path: PathBuf,
    file: String,
    wal_bytes: Arc<AtomicU64>,
    sweeper: Sweeper,
}

impl Connected for SqliteWriter {
    fn db(&self) -> &Connection {
        &self.db
    }
}

impl SqliteWriter {
    pub(super) fn new(
        mut db: Connection,
        path: PathBuf,
        wal_bytes: Arc<AtomicU64>,
    ) -> Result<SqliteWriter, Error> {
        let file = identity(&path).map_err(|error| Error::Failed(error.to_string()))?;
        let page_bytes: u64 =
            db.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))? as u64;
        let seen = wal_bytes.clone();
        db.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            seen.store(pages as u64 * page_bytes, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(SqliteWriter { db, path, file, wal_bytes, sweeper: Sweeper::default() })
    }

    /// Whether what is written now would be found by the next start. SQLite goes on in a file that was moved
    /// away, and says nothing.
    fn is_in_place(&self) -> Result<(), Error> {
        match identity(&self.path) {
            Ok(file) if file == self.file => Ok(()),
            Ok(_) | Err(_) => Err(Error::ReadOnly),
        }
    }

    /// What has to be so before anything is written.
    fn make_way(&mut self) -> Result<(), Error> {
        self.is_in_place()?;
        if self.wal_bytes.load(Ordering::Relaxed) > WAL_BYTES_FULL {
            self.restart_log()?;
        }
        Ok(())
    }

    /// Starts the log over, if nobody looks at it: a backup may, for long, and nobody waits for that.
    ///
    /// Errors: [`Error::Busy`] when the log has reached its bound and still cannot be started over.
    fn restart_log(&mut self) -> Result<(), Error> {
        self.db.busy_timeout(Duration::ZERO)?;
        let busy: rusqlite::Result<i64> =
            self.db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get(0));
        self.db.busy_timeout(super::BUSY_WAIT)?;
        match busy {
            Ok(0) => self.wal_bytes.store(0, Ordering::Relaxed),
            Err(error) => return Err(error.into()),
            Ok(_) if self.wal_bytes.load(Ordering::Relaxed) >= WAL_BYTES_MAX => {
                return Err(Error::Busy);
            }
            Ok(_) => {}
        }
        Ok(())
    }
}

impl Write for SqliteWriter {
    fn remembered(
        &mut self,
        room: RoomNo,
        sender: &Sender,
        cid: &Cid,
    ) -> Result<Option<Remembered>, Error> {
        let mut statement = self.db.prepare_cached(
            "SELECT seq, n, ts, hash FROM dedupe WHERE room = ?1 AND user = ?2 AND cid = ?3",
        )?;
        let found =
            statement.query_row(params![room.0 as i64, sender_text(sender), cid.as_str()], |row| {
                Ok(Remembered {
                    seq: number(row, 0)?,
                    n: row.get::<_, Option<i64>>(1)?.map(|n| n as u64),
                    ts: number(row, 2)?,
                    hash: u128::from_be_bytes(row.get(3)?),
                })
            });
        Ok(found.optional()?)
    }

    fn highest_cid(&mut self, room: RoomNo, sender: &Sender) -> Result<Option<Cid>, Error> {
        let mut statement =
            self.db.prepare_cached("SELECT max(cid) FROM dedupe WHERE room = ?1 AND user = ?2")?;
        let highest = statement.query_row(params![room.0 as i64, sender_text(sender)], |row| {
            let value = row.get_ref(0)?;
            let cid = value.as_str().ok().and_then(|text| Cid::parse(text).ok());
            Ok((!matches!(value, ValueRef::Null)).then_some(cid))
        })?;
        // A row that is damaged harms nobody until someone says its own cid again: below the last one of all,
        // each cid is looked for by itself.
        Ok(highest.map(|cid| cid.unwrap_or(Cid::LAST)))
    }

    fn rooms_made_by(&mut self, user: &UserId) -> Result<u64, Error> {
        let mut statement = self.db.prepare_cached("SELECT count(*) FROM rooms WHERE by = ?1")?;
        Ok(statement.query_row([user.as_str()], |row| number(row, 0))?)
    }

    fn hold(&mut self) -> Result<(), Error> {
        // One that could not be let go of would be in the way of everything.
        self.release()?;
        Ok(self.db.prepare_cached("BEGIN")?.execute([]).map(drop)?)
    }

    fn release(&mut self) -> Result<(), Error> {
        // A read that failed badly has ended it already.
        if self.db.is_autocommit() {
            return Ok(());
        }
        // Nothing was written, so there is nothing to lose, and this cannot fail for want of a disk.
        Ok(self.db.prepare_cached("ROLLBACK")?.execute([]).map(drop)?)
    }

    fn last_room_no(&mut self) -> Result<RoomNo, Error> {
        let last = self.db.query_row(
            "SELECT max(ifnull((SELECT max(no) FROM rooms), 0), \
                        ifnull((SELECT max(room) FROM graves), 0), \
                        ifnull((SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'last_room_no'), 0))",
            [],
            |row| number(row, 0),
        )?;
        Ok(RoomNo(last))
    }

    fn commit(&mut self, changes: &Changes<'_>) -> Result<(), Error> {
        self.make_way()?;
        // Statements that are kept: a transaction of the library has these words read anew each time.
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let written = put(&self.db, changes)
            .and_then(|()| self.db.prepare_cached("COMMIT")?.execute([]).map(drop));
        if let Err(error) = written {
            // If it cannot be let go of, either, the next batch begins with that.
            _ = self.release();
            return Err(error.into());
        }
        Ok(())
    }

    fn probe(&mut self) -> Result<(), Error> {
        self.release()?;
        self.make_way()?;
        // Another text each time: SQLite does not write a page that stays as it is, not even to a full disk.
        self.db.execute(
            "INSERT INTO facts (name, value) VALUES ('probe', hex(randomblob(8))) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [],
        )?;
        Ok(())
    }

    fn sweep(&mut self, forget_before: u64) -> Result<bool, Error> {
        // The log is for messages: cleaning waits while it is long, as during a backup.
        if self.wal_bytes.load(Ordering::Relaxed) > WAL_BYTES_FULL / 2 {
            return Ok(false);
        }
        self.sweeper.step(&mut self.db, forget_before)
    }
}

fn sender_text(sender: &Sender) -> &str {
    sender.as_ref().map_or("", UserId::as_str)
}

fn put(db: &Connection, changes: &Changes<'_>) -> rusqlite::Result<()> {
    for no in &changes.gone {
        bury(db, *no)?;
    }
    for room in &changes.rooms {
        put_room(db, room)?;
    }
    let mut heads =
        db.prepare_cached("UPDATE rooms SET head = ?2, n = ?3, first = ?4, ts = ?5 WHERE no = ?1")?;
    for (no, head) in &changes.heads {
        heads.execute(params![
            no.0 as i64,
            head.seq as i64,
            head.n as i64,
            head.first as i64,
            head.ts as i64
        ])?;
    }
    put_events(db, &changes.events)?;
    put_remembered(db, &changes.remembered)?;
    for (room, user, standing) in &changes.standings {
        put_standing(db, *room, user, *standing)?;
    }
    for (user, second) in &changes.revoked {
        db.prepare_cached(
            "INSERT INTO users (user, revoked) VALUES (?1, ?2) \
             ON CONFLICT (user) DO UPDATE SET revoked = ?2",
        )?
        .execute(params![user.as_str(), *second as i64])?;
    }
    Ok(())
}

fn bury(db: &Connection, no: RoomNo) -> rusqlite::Result<()> {
    let room = no.0 as i64;
    db.prepare_cached("DELETE FROM rooms WHERE no = ?1")?.execute([room])?;
    db.prepare_cached("INSERT OR IGNORE INTO graves (room) VALUES (?1)")?.execute([room])?;
    // A number is not given again after its grave is empty, either: caches may still speak of it.
    db.prepare_cached(
        "INSERT INTO facts (name, value) VALUES ('last_room_no', ?1) \
         ON CONFLICT (name) DO UPDATE SET value = max(CAST(value AS INTEGER), ?1)",
    )?
    .execute([room])?;
    Ok(())
}

fn put_room(db: &Connection, room: &Room) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO rooms (no, id, epoch, head, n, first, ts, kind, name, d, by, members, owners) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
         ON CONFLICT (no) DO UPDATE SET head = ?4, n = ?5, first = ?6, ts = ?7, kind = ?8, \
             name = ?9, d = ?10, members = ?12, owners = ?13",
    )?
    .execute(params![
        room.no.0 as i64,
        room.id.as_str(),
        room.epoch.as_str(),
        room.head.seq as i64,
        room.head.n as i64,
        room.head.first as i64,
        room.head.ts as i64,
        room.kind.as_str(),
        room.name,
        room.d,
        room.by.as_ref().map(UserId::as_str),
        room.members as i64,
        room.owners as i64
    ])?;
    Ok(())
}

fn put_events(db: &Connection, events: &[NewEvent<'_>]) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO events (id, ts, by, kind, sum, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for event in events {
        let key = row::event_key(event.room, event.seq);
        insert.execute(params![
            key,
            event.ts as i64,
            event.by.map(UserId::as_str),
            event.kind,
            row::sum(key, event.bytes),
            event.bytes
        ])?;
    }
    Ok(())
}

fn put_remembered(
    db: &Connection,
    all: &[(RoomNo, &Sender, Cid, Remembered)],
) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO dedupe (room, user, cid, seq, n, ts, hash) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (room, sender, cid, remembered) in all {
        insert.execute(params![
            room.0 as i64,
            sender_text(sender),
            cid.as_str(),
            remembered.seq as i64,
            remembered.n.map(|n| n as i64),
            remembered.ts as i64,
            remembered.hash.to_be_bytes()
        ])?;
    }
    Ok(())
}

fn put_standing(
    db: &Connection,
    room: RoomNo,
    user: &UserId,
    standing: Standing,
) -> rusqlite::Result<()> {
    match standing.as_str() {
        None => db
            .prepare_cached("DELETE FROM members WHERE room = ?1 AND user = ?2")?
            .execute(params![room.0 as i64, user.as_str()])?,
        Some(word) => db
            .prepare_cached(
                "INSERT INTO members (room, user, standing) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (room, user) DO UPDATE SET standing = ?3",
            )?
            .execute(params![room.0 as i64, user.as_str(), word])?,
    };
    Ok(())
}
