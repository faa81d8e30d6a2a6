//! Sync: bare syncs. So many bytes of a file are written over and synced, one time after the other.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Instant;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::clock::SECOND_NS;
use crate::error::Error;

/// Places in the file that are written by turns: 8 MiB of them by default, as long as a log grows.
const PLACES: u64 = 680;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Where the file is made.
    #[arg(long)]
    folder: PathBuf,

    /// How often.
    #[arg(long, default_value_t = 1_000)]
    times: u64,

    /// Bytes written before each sync: by default three pages and their heads, which is what a write-ahead log
    /// takes for most messages that are committed alone.
    #[arg(long, default_value_t = 3 * (4096 + 24))]
    bytes: usize,
}

/// How long a write and its sync took together.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct Took {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let took = write(options).map_err(Error::io("writing and syncing"))?;
    println!("{}", serde_json::to_string(&took).expect("plain data"));
    Ok(())
}

fn write(options: &Options) -> std::io::Result<Took> {
    let mut file = File::create(options.folder.join("bare"))?;
    let bytes = vec![b'x'; options.bytes];
    // A write-ahead log that was begun anew does not grow, and to sync what grows takes longer.
    for _ in 0..PLACES {
        file.write_all(&bytes)?;
    }
    file.sync_all()?;
    let mut all =
        Histogram::<u64>::new_with_bounds(1_000, 60 * SECOND_NS, 3).expect("bounds in order");
    for time in 0..options.times {
        file.seek(SeekFrom::Start(time % PLACES * options.bytes as u64))?;
        let from = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        all.saturating_record(from.elapsed().as_nanos() as u64);
    }
    let us = |quantile| all.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Took { p50_us: us(0.5), p99_us: us(0.99) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_written_over_and_does_not_grow() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { folder: folder.path().to_owned(), times: 1_000, bytes: 100 };
        let took = write(&options).unwrap();
        assert!(took.p50_us > 0.0 && took.p99_us >= took.p50_us, "{took:?}");
        assert_eq!(std::fs::metadata(folder.path().join("bare")).unwrap().len(), 100 * PLACES);
    }
}
