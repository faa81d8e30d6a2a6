//! Rates: how often something may be done, in one number each.
//!
//! The generic cell rate algorithm: the number is the time at which the bucket would be full again.

/// One bucket, full at first.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Bucket(u64);

impl Bucket {
    /// Takes one from the bucket.
    ///
    /// `per_second` 0 = no limit. Errors: milliseconds until there is one again.
    pub(crate) fn take(&mut self, now_ns: u64, per_second: u32, burst: u32) -> Result<(), u64> {
        if per_second == 0 {
            return Ok(());
        }
        let each = 1_000_000_000 / u64::from(per_second);
        let full_at = self.0.max(now_ns) + each;
        let early = (full_at - now_ns).saturating_sub(each * u64::from(burst.max(1)));
        if early > 0 {
            return Err(early.div_ceil(1_000_000));
        }
        self.0 = full_at;
        Ok(())
    }

    /// Whether it is full: forgetting it then changes nothing.
    pub(crate) fn is_full(self, now_ns: u64) -> bool {
        self.0 <= now_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let mut bucket = Bucket::default();
        let second = 1_000_000_000;
        let mut taken = |now| (0..1000).take_while(|_| bucket.take(now, 20, 100).is_ok()).count();
        assert_eq!(taken(second), 100);
        assert_eq!(taken(2 * second), 20);
        assert_eq!(taken(60 * second), 100);
        assert_eq!(bucket.take(60 * second, 20, 100), Err(50));
        assert!(!bucket.is_full(60 * second));
        assert!(bucket.is_full(65 * second));
        assert_eq!(bucket.take(60 * second, 0, 0), Ok(()));
    }
}
