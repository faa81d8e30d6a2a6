//! Reading from SQLite: prepared statements, each a snapshot of its own.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tertulia_protocol::{Epoch, Role, RoomId, RoomKind, UserId};

use crate::engine::Read;
use crate::error::Error;
use crate::row::{self, Head, Range, Room, RoomNo, Standing, StoredEvent};

pub(crate) struct SqliteReader {
    db: Connection,
}

impl SqliteReader {
    pub(super) fn new(db: Connection) -> SqliteReader {
        SqliteReader { db }
    }
}

/// The reads, over any connection: the writer's sees what it has just written.
pub(super) trait Connected: Send {
    fn db(&self) -> &Connection;
}

impl Connected for SqliteReader {
    fn db(&self) -> &Connection {
        &self.db
    }
}

const ROOM: &str = "SELECT no, id, epoch, head, n, first, ts, kind, name, d, by, members, owners \
     FROM rooms WHERE id = ?1";
/// The same, but the oldest room stands in for one that is not there, so that both take the same time.
const ROOM_OR_OLDEST: &str = "SELECT no, id, epoch, head, n, first, ts, kind, name, d, by, members, owners, found \
     FROM (SELECT (SELECT no FROM rooms WHERE id = ?1) AS found) \
     JOIN rooms ON no = ifnull(found, (SELECT min(no) FROM rooms))";
const ROOMS_OF: &str = "SELECT no, id, epoch, head, n, first, ts, kind, name, d, by, rooms.members, owners, standing \
     FROM members JOIN rooms ON no = room \
     WHERE user = ?1 AND id > ?2 AND standing IN ('owner', 'admin', 'member', 'reader') \
     ORDER BY id LIMIT ?3";

impl<T: Connected> Read for T {
    fn room(&mut self, id: &RoomId) -> Result<Option<Room>, Error> {
        let mut statement = self.db().prepare_cached(ROOM_OR_OLDEST)?;
        let read = statement.query_row([id.as_str()], |row| {
            let room = room_of_row(row);
            let is_it = row.get::<_, Option<i64>>(13)?.is_some();
            Ok(is_it.then_some(room))
        });
        match read.optional() {
            Ok(Some(Some(room))) => {
                let room = room?;
                if room.id != *id {
                    return Err(Error::Damaged(format!("the name of room {}", room.no.0)));
                }
                Ok(Some(room))
            }
            Ok(_) => Ok(None),
            // Whatever is wrong with the oldest one is no matter of this one's.
            Err(_) => {
                let mut statement = self.db().prepare_cached(ROOM)?;
                Ok(statement.query_row([id.as_str()], room_of_row).optional()?)
            }
        }
    }

    fn has_room(&mut self, room: RoomNo) -> Result<bool, Error> {
        let mut statement = self.db().prepare_cached("SELECT 1 FROM rooms WHERE no = ?1")?;
        Ok(statement.exists([room.0 as i64])?)
    }

    fn standing(&mut self, room: RoomNo, user: &UserId) -> Result<Standing, Error> {
        let mut statement = self
            .db()
            .prepare_cached("SELECT standing FROM members WHERE room = ?1 AND user = ?2")?;
        let standing = statement
            .query_row(params![room.0 as i64, user.as_str()], |row| word(row, 0, Standing::parse))
            .optional()?;
        Ok(standing.unwrap_or(Standing::Stranger))
    }

    fn log(&mut self, range: Range) -> Result<Vec<StoredEvent>, Error> {
        let mut statement = self.db().prepare_cached(
            "SELECT id, sum, bytes FROM events WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
        )?;
        let mut rows = statement.query(params![
            row::event_key(range.room, range.after),
            row::event_key(range.room, range.upto),
            range.limit
        ])?;
        let mut events: Vec<StoredEvent> = Vec::new();
        let mut total = 0;
        while let Some(row) = rows.next()? {
            let key: i64 = row.get(0)?;
            let bytes = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
            let seq = row::seq_of_key(key);
            let expected = events.last().map_or(range.after, |event| event.seq) + 1;
            if seq != expected || row::sum(key, bytes) != row.get::<_, i64>(1)? {
                return Err(Error::Damaged(format!("event {expected} of room {}", range.room.0)));
            }
            total += bytes.len();
            if total > range.bytes_max as usize && !events.is_empty() {
                break;
            }
            events.push(StoredEvent { seq, bytes: bytes.to_vec() });
        }
        Ok(events)
    }

    fn rooms_of(
        &mut self,
        user: &UserId,
        after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<(Room, Role)>, Error> {
        let mut statement = self.db().prepare_cached(ROOMS_OF)?;
        let after = after.map_or("", RoomId::as_str);
        let rows = statement.query_map(params![user.as_str(), after, limit], |row| {
            Ok((room_of_row(row)?, word(row, 13, Role::parse)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn members(
        &mut self,
        room: RoomNo,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<(UserId, Role)>, Error> {
        let mut statement = self.db().prepare_cached(
            "SELECT user, standing FROM members \
             WHERE room = ?1 AND user > ?2 AND standing IN ('owner', 'admin', 'member', 'reader') \
             ORDER BY user LIMIT ?3",
        )?;
        let after = after.map_or("", UserId::as_str);
        let rows = statement.query_map(params![room.0 as i64, after, limit], |row| {
            Ok((word(row, 0, |text| UserId::parse(text).ok())?, word(row, 1, Role::parse)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn revoked(&mut self) -> Result<Vec<(UserId, u64)>, Error> {
        let mut statement = self
            .db()
            .prepare_cached("SELECT user, revoked FROM users WHERE revoked IS NOT NULL")?;
        let rows = statement.query_map([], |row| {
            Ok((word(row, 0, |text| UserId::parse(text).ok())?, number(row, 1)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn ping(&mut self) -> Result<(), Error> {
        let mut statement = self.db().prepare_cached("SELECT value FROM facts LIMIT 1")?;
        statement.query_row([], |_| Ok(())).optional()?;
        Ok(())
    }
}

fn room_of_row(row: &Row<'_>) -> rusqlite::Result<Room> {
    Ok(Room {
        no: RoomNo(number(row, 0)?),
        id: word(row, 1, |text| RoomId::parse(text).ok())?,
        epoch: word(row, 2, |text| Epoch::parse(text).ok())?,
        head: Head {
            seq: number(row, 3)?,
            n: number(row, 4)?,
            first: number(row, 5)?,
            ts: number(row, 6)?,
        },
        kind: word(row, 7, RoomKind::parse)?,
        name: row.get(8)?,
        d: row.get(9)?,
        by: match row.get_ref(10)?.as_str_or_null()? {
            None => None,
            Some(_) => Some(word(row, 10, |text| UserId::parse(text).ok())?),
        },
        members: number(row, 11)?,
        owners: number(row, 12)?,
    })
}

pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| number as u64)
}

/// A text column that holds a word which `parse` knows; anything else was not written by us.
fn word<T>(row: &Row<'_>, column: usize, parse: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    parse(text).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            Type::Text,
            format!("{text:?} is not a word this version writes").into(),
        )
    })
}
