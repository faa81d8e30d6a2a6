//! Store: the bare store. The rows of messages as the server writes them, in transactions of one size or as
//! they arrive, and checkpoints as the server makes them; nobody is heard and nobody told.
//!
//! The schema is copied by hand, since this crate does not know the server's: what a message costs is two
//! statements, and a batch one more, the room's head.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rusqlite::{Connection, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use crate::clock::{SECOND_NS, own_cpu_ns};
use crate::error::Error;
use crate::plan::arrival_ns;

/// From here on the log is moved into the database, as the server does.
const CHECKPOINT_BYTES: u64 = 8 * 1024 * 1024;

/// From here on a commit first starts the log over, as the server does: a log that grows for ever is slower.
const RESTART_BYTES: u64 = 64 * 1024 * 1024;

/// How long a statement waits for the other connection.
const BUSY_WAIT: Duration = Duration::from_secs(1);

const SCHEMA: &str = "
CREATE TABLE rooms (no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL, head INTEGER NOT NULL,
    n INTEGER NOT NULL, first INTEGER NOT NULL, ts INTEGER NOT NULL);
CREATE TABLE events (id INTEGER PRIMARY KEY, ts INTEGER NOT NULL, by TEXT, kind TEXT NOT NULL,
    sum INTEGER NOT NULL, bytes BLOB NOT NULL);
CREATE TABLE dedupe (room INTEGER NOT NULL, user TEXT NOT NULL, cid TEXT NOT NULL, seq INTEGER NOT NULL,
    n INTEGER, ts INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (room, user, cid)) WITHOUT ROWID;
INSERT INTO rooms VALUES (1, 'room', 'e1', 0, 0, 1, 0);";

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Where the database is made.
    #[arg(long)]
    folder: PathBuf,

    /// How many messages.
    #[arg(long)]
    messages: u64,

    /// Messages of one transaction.
    #[arg(long, default_value_t = 64)]
    batch: u64,

    /// Messages that arrive in a second, each transaction taking all that have; 0 = they are all there.
    #[arg(long, default_value_t = 0)]
    a_second: u64,

    /// Bytes of an event as it is stored.
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,

    /// Users who send in turns.
    #[arg(long, default_value_t = 1)]
    senders: u64,
}

/// What it took.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct Took {
    pub(crate) messages: u64,
    pub(crate) commits: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_us_per_message: f64,
    /// From a message's arrival until it was durable.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// A transaction, from its begin until it was durable.
    pub(crate) commit_p50_us: f64,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let took = write(options).map_err(|error| Error::Io {
        doing: "writing rows",
        source: std::io::Error::other(error),
    })?;
    println!("{}", serde_json::to_string(&took).expect("plain data"));
    Ok(())
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(None, "cache_size", -16_384)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    Ok(db)
}

fn write(options: &Options) -> rusqlite::Result<Took> {
    let path = options.folder.join("bare.db");
    let mut db = open(&path)?;
    db.execute_batch(SCHEMA)?;
    let log_bytes = Arc::new(AtomicU64::new(0));
    let seen = log_bytes.clone();
    db.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
        seen.store(pages as u64 * 4096, Ordering::Relaxed);
        Ok(())
    }))?;
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let checkpointer = threads.spawn(|| checkpoint(&path, &log_bytes, &over));
        let took = commit_all(&mut db, &log_bytes, options);
        over.store(true, Ordering::Release);
        checkpointer.join().expect("a checkpoint does not panic")?;
        took
    })
}

fn checkpoint(path: &Path, log_bytes: &AtomicU64, over: &AtomicBool) -> rusqlite::Result<()> {
    let db = open(path)?;
    while !over.load(Ordering::Acquire) {
        if log_bytes.load(Ordering::Relaxed) >= CHECKPOINT_BYTES {
            db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60 * SECOND_NS, 3).expect("bounds in order")
}

/// Starts the log over if it is long and nobody is at it.
fn restart_log(db: &Connection, log_bytes: &AtomicU64) -> rusqlite::Result<()> {
    if log_bytes.load(Ordering::Relaxed) <= RESTART_BYTES {
        return Ok(());
    }
    // A checkpoint that runs is not waited for.
    db.busy_timeout(Duration::ZERO)?;
    let busy = db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get::<_, i64>(0));
    db.busy_timeout(BUSY_WAIT)?;
    if busy? == 0 {
        log_bytes.store(0, Ordering::Relaxed);
    }
    Ok(())
}

fn commit_all(
    db: &mut Connection,
    log_bytes: &AtomicU64,
    options: &Options,
) -> rusqlite::Result<Took> {
    let event = vec![b'x'; options.event_bytes];
    let (mut waited, mut commits) = (histogram(), histogram());
    let (from, cpu_ns) = (Instant::now(), own_cpu_ns());
    let now_ns = || from.elapsed().as_nanos() as u64;
    let due_ns = |message: u64| arrival_ns(message, options.a_second.max(1));
    let mut done = 0;
    while done < options.messages {
        let mut upto = (done + options.batch).min(options.messages);
        if options.a_second > 0 {
            let early_ns = due_ns(done).saturating_sub(now_ns());
            if early_ns > 0 {
                std::thread::sleep(Duration::from_nanos(early_ns));
            }
            let here = (done + 1..upto).find(|message| due_ns(*message) > now_ns());
            upto = here.unwrap_or(upto);
        }
        let begun_ns = now_ns();
        restart_log(db, log_bytes)?;
        commit(db, done + 1..upto + 1, options.senders, &event)?;
        let now_ns = now_ns();
        commits.saturating_record(now_ns - begun_ns);
        for message in done..upto {
            let since_ns = if options.a_second > 0 { due_ns(message) } else { begun_ns };
            waited.saturating_record(now_ns.saturating_sub(since_ns));
        }
        done = upto;
    }
    let us = |ns: u64| ns as f64 / 1_000.0;
    Ok(Took {
        messages: done,
        commits: commits.len(),
        seconds: from.elapsed().as_secs_f64(),
        cpu_us_per_message: us(own_cpu_ns() - cpu_ns) / done as f64,
        p50_us: us(waited.value_at_quantile(0.5)),
        p99_us: us(waited.value_at_quantile(0.99)),
        commit_p50_us: us(commits.value_at_quantile(0.5)),
    })
}

fn commit(
    db: &mut Connection,
    numbers: std::ops::Range<u64>,
    senders: u64,
    event: &[u8],
) -> rusqlite::Result<()> {
    let last = numbers.end as i64 - 1;
    let rows = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    rows.prepare_cached("UPDATE rooms SET head = ?2, n = ?2, first = 1, ts = ?3 WHERE no = ?1")?
        .execute(params![1, last, 1_796_040_000_000_i64])?;
    {
        let mut events = rows.prepare_cached(
            "INSERT INTO events (id, ts, by, kind, sum, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let mut dedupe = rows.prepare_cached(
            "INSERT INTO dedupe (room, user, cid, seq, n, ts, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        for number in numbers {
            let (user, cid) = (format!("u{}", number % senders), format!("{number:012}"));
            let seq = number as i64;
            let at_ms = 1_796_040_000_000_i64;
            events.execute(params![(1_i64 << 36) | seq, at_ms, user, "msg", seq, event])?;
            dedupe.execute(params![1, user, cid, seq, seq, at_ms, [7_u8; 16].as_slice()])?;
        }
    }
    rows.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_there_however_they_arrive() {
        for a_second in [0, 5_000] {
            let folder = tempfile::tempdir().unwrap();
            let options = Options {
                folder: folder.path().to_owned(),
                messages: 300,
                batch: 64,
                a_second,
                event_bytes: 200,
                senders: 3,
            };
            let took = write(&options).unwrap();
            assert!(took.commits >= 5 && took.messages == 300, "{took:?}");
            let db = open(&folder.path().join("bare.db")).unwrap();
            let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
            assert_eq!(count("SELECT count(*) FROM events"), 300);
            assert_eq!(count("SELECT count(*) FROM dedupe"), 300);
            assert_eq!(count("SELECT head FROM rooms"), 300);
        }
    }

    #[test]
    fn a_long_log_is_started_over_and_a_short_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let db = open(&folder.path().join("bare.db")).unwrap();
        db.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1);").unwrap();
        for (before, after) in [(RESTART_BYTES, RESTART_BYTES), (RESTART_BYTES + 1, 0)] {
            let log_bytes = AtomicU64::new(before);
            restart_log(&db, &log_bytes).unwrap();
            assert_eq!(log_bytes.into_inner(), after);
        }
    }
}
