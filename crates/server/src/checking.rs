//! Checking: the whole database is looked through once after the start, beside everything else.

use std::thread;
use std::time::Duration;

use tertulia_store::{Error, Store};
use tracing::{error, warn};

/// What makes the write-ahead log grow now may be over by then.
const AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// So often at most: a day has quiet hours.
const ATTEMPTS_MAX: u32 = 24;

/// Says what is wrong with the database: a thread's whole life.
pub(crate) fn check(store: &Store) {
    for _ in 0..ATTEMPTS_MAX {
        match store.check() {
            Ok(Some(found)) => {
                return found.iter().for_each(|what| error!("the database is damaged: {what}"));
            }
            Err(error @ Error::Damaged(_)) => return error!("the database is damaged: {error}"),
            Err(error) => {
                warn!(error.kind = error.kind(), "the database was not checked: {error}");
                thread::sleep(AGAIN_AFTER);
            }
            Ok(None) => thread::sleep(AGAIN_AFTER),
        }
    }
    warn!(
        "the database was not looked through to its end: too much was written each time, and the \
         write-ahead log would have grown too long"
    );
}
