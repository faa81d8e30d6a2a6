//! Chance that can be had again: numbers from a seed, which every story that uses them prints.

use std::time::Duration;

/// A stream of numbers.
pub struct Chance(u64);

impl Chance {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// The next number (splitmix64, <https://prng.di.unimi.it/splitmix64.c>).
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// The time to the next of many things that know nothing of each other, `mean` on average.
    pub fn gap(&mut self, mean: Duration) -> Duration {
        // One of 2^53 numbers above 0 and up to 1, so that there is a logarithm of it.
        let part = ((self.number() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        mean.mul_f64(-part.ln())
    }
}

/// The seed of this run: `STORY_SEED`, or another one each time. It is printed, so a run can be had again.
pub fn seed() -> u64 {
    let given = std::env::var("STORY_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(fresh_seed);
    eprintln!("STORY_SEED={seed}");
    seed
}

/// Another seed each time.
pub fn fresh_seed() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    since.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_as_long_as_they_should_be_on_average_and_few_are() {
        let (mut chance, mean) = (Chance::new(7), Duration::from_millis(10));
        let gaps: Vec<Duration> = (0..10_000).map(|_| chance.gap(mean)).collect();
        let average = gaps.iter().sum::<Duration>() / 10_000;
        assert!(average.abs_diff(mean) < mean / 20, "{average:?}");
        let short = gaps.iter().filter(|gap| **gap < mean / 2).count();
        assert!((3_700..4_200).contains(&short), "{short} of 10,000");
    }
}
