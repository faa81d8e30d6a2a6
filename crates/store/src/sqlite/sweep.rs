//! Cleaning: rows of deleted rooms and cids that are over go in small steps, between two commits.
//!
//! Both kinds get their share of every step, so that neither rooms that are made and deleted without end
//! nor a long table of cids keeps the other from going.

use rusqlite::{Connection, TransactionBehavior, params};

use crate::error::Error;
use crate::row::{self, RoomNo};
use crate::walk::Walk;

/// Rows of each kind that a step takes away or looks at: a few milliseconds, bodies of 16 KiB included.
const STEP_ROWS: usize = 500;

/// Deleted rooms that a step deals with; an empty one costs four statements all the same.
const STEP_GRAVES: usize = 100;

/// What a room leaves behind: its events between `?1` and `?2`, at most `?3` of them.
const EVENTS: &str = "DELETE FROM events WHERE id IN \
     (SELECT id FROM events WHERE id > ?1 AND id <= ?2 LIMIT ?3)";

/// And its cids and members, of room `?1`, at most `?2` of them.
const CIDS_AND_MEMBERS: [&str; 2] = [
    "DELETE FROM dedupe WHERE (room, user, cid) IN \
     (SELECT room, user, cid FROM dedupe WHERE room = ?1 LIMIT ?2)",
    "DELETE FROM members WHERE (room, user) IN \
     (SELECT room, user FROM members WHERE room = ?1 LIMIT ?2)",
];

/// Where the cleaning stands.
#[derive(Default)]
pub(super) struct Sweeper {
    /// Behind which cid the walk goes on.
    behind: (i64, String, String),
    walk: Walk,
}

impl Sweeper {
    /// A step. True if there is more to do at once.
    pub(super) fn step(&mut self, db: &mut Connection, forget_before: u64) -> Result<bool, Error> {
        let graves = empty_graves(db)?;
        let cids = self.forget_old_cids(db, forget_before)?;
        Ok(graves || cids)
    }

    /// A step of the walk over the cids. True if it goes on.
    fn forget_old_cids(&mut self, db: &mut Connection, forget_before: u64) -> Result<bool, Error> {
        if !self.walk.is_due(forget_before) {
            return Ok(false);
        }
        let (room, user, cid) = &self.behind;
        let keys: Vec<(i64, String, String, i64)> = db
            .prepare_cached(
                "SELECT room, user, cid, ts FROM dedupe WHERE (room, user, cid) > (?1, ?2, ?3) \
                 ORDER BY room, user, cid LIMIT ?4",
            )?
            .query_map(params![room, user, cid, STEP_ROWS as i64], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?
            .collect::<Result<_, _>>()?;
        let Some((room, user, cid, _)) = keys.last() else {
            self.behind = Default::default();
            self.walk.ended(forget_before);
            return Ok(false);
        };
        let last = (*room, user.clone(), cid.clone());
        if keys.iter().any(|(.., ts)| (*ts as u64) < forget_before) {
            let rows = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut delete = rows
                .prepare_cached("DELETE FROM dedupe WHERE room = ?1 AND user = ?2 AND cid = ?3")?;
            for (room, user, cid, _) in keys.iter().filter(|(.., ts)| (*ts as u64) < forget_before)
            {
                delete.execute(params![room, user, cid])?;
            }
            drop(delete);
            rows.commit()?;
        }
        self.behind = last;
        Ok(true)
    }
}

/// Takes rows of deleted rooms away. True if there were any.
fn empty_graves(db: &mut Connection) -> Result<bool, Error> {
    let graves: Vec<i64> = db
        .prepare_cached("SELECT room FROM graves ORDER BY room LIMIT ?1")?
        .query_map([STEP_GRAVES as i64], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if graves.is_empty() {
        return Ok(false);
    }
    let rows = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut left = STEP_ROWS;
    for room in graves {
        left -= empty_a_grave(&rows, room, left)?;
        if left == 0 {
            break;
        }
        rows.prepare_cached("DELETE FROM graves WHERE room = ?1")?.execute([room])?;
    }
    rows.commit()?;
    Ok(true)
}

/// Takes at most so many rows of `room` away, and says how many; fewer means that nothing is left of it.
fn empty_a_grave(db: &Connection, room: i64, most: usize) -> Result<usize, Error> {
    let no = RoomNo(room as u64);
    let (first, last) = (row::event_key(no, 0), row::event_key(no, row::SEQ_MAX));
    let mut gone = db.prepare_cached(EVENTS)?.execute(params![first, last, most as i64])?;
    for rows in CIDS_AND_MEMBERS {
        gone += db.prepare_cached(rows)?.execute(params![room, (most - gone) as i64])?;
    }
    Ok(gone)
}
