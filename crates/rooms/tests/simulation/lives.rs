//! Lives: many of them, on all cores, and which of them went wrong.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::chaos::{Life, live};
use crate::outside::Plant;

/// Lives that went wrong after which no more are lived.
const WRONG_MAX: usize = 10;

/// A line tells of so many lives.
const LIVES_PER_LINE: u64 = 1000;

/// Lives one life; if it goes wrong, tells how to live it again.
pub(crate) fn survive(seed: u64) -> Life {
    try_once(seed).unwrap_or_else(|wrong| panic!("{}", told(seed, &wrong)))
}

/// Lives the life of each seed, some at a time.
pub(crate) fn many(seeds: Range<u64>) -> Record {
    let count = seeds.end - seeds.start;
    let record = Mutex::new(Record { next: seeds.start, ..Record::default() });
    let begun = Instant::now();
    let next = |done: Option<(u64, Result<Life, String>)>| {
        let mut record = record.lock().expect("no one panics while holding the record");
        if let Some((seed, life)) = done {
            record.add(seed, life);
            if record.lived.is_multiple_of(LIVES_PER_LINE) {
                let rate = record.lived as f64 / begun.elapsed().as_secs_f64();
                let (lived, wrong) = (record.lived, record.wrong.len());
                eprintln!("{lived} of {count} lives, {wrong} went wrong, {rate:.0} a second");
            }
        }
        let seed = record.next;
        record.next += 1;
        (seed < seeds.end && record.wrong.len() < WRONG_MAX).then_some(seed)
    };
    let work = || {
        let mut seed = next(None);
        while let Some(at) = seed {
            seed = next(Some((at, try_once(at))));
        }
    };
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    thread::scope(|scope| (0..cores).for_each(|_| _ = scope.spawn(work)));
    let mut record = record.into_inner().expect("no one panics while holding the record");
    record.wrong.sort();
    record.took = begun.elapsed();
    record
}

/// What came of many lives.
#[derive(Default)]
pub(crate) struct Record {
    /// The seed that is lived next.
    pub(crate) next: u64,
    pub(crate) lived: u64,
    /// Deliveries that were held against the log.
    pub(crate) checked: u64,
    /// What was wrong, by seed.
    pub(crate) wrong: Vec<(u64, String)>,
    pub(crate) took: Duration,
}

impl Record {
    fn add(&mut self, seed: u64, life: Result<Life, String>) {
        self.lived += 1;
        match life {
            Ok(life) => self.checked += life.checked_events,
            Err(wrong) => self.wrong.push((seed, wrong)),
        }
    }

    /// Lives a second.
    pub(crate) fn rate(&self) -> f64 {
        self.lived as f64 / self.took.as_secs_f64()
    }

    /// Panics if a life went wrong, with all that led to it and how to live it again.
    pub(crate) fn expect_good(&self) {
        if let [(seed, wrong), others @ ..] = &self.wrong[..] {
            let others: String = others.iter().map(|(seed, wrong)| tail(*seed, wrong)).collect();
            panic!("{}{others}", told(*seed, wrong));
        }
    }
}

/// Errors: what was wrong.
pub(crate) fn try_once(seed: u64) -> Result<Life, String> {
    let life = catch_unwind(AssertUnwindSafe(|| live(seed, Plant::Nothing, false)));
    let life = life.map_err(|_| "something panicked".to_owned())?;
    match &life.wrong {
        Some(wrong) => Err(wrong.clone()),
        None => Ok(life),
    }
}

/// What led to it, and how to see it again.
fn told(seed: u64, wrong: &str) -> String {
    let again = catch_unwind(AssertUnwindSafe(|| live(seed, Plant::Nothing, true)));
    let trace = again.map(|life| life.trace).unwrap_or_default();
    format!("{trace}{}", tail(seed, wrong))
}

fn tail(seed: u64, wrong: &str) -> String {
    format!(
        "\nseed {seed}: {wrong}\nSIM_SEED={seed} cargo nextest run -p tertulia-rooms the_ring_holds"
    )
}
