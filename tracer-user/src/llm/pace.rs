//! Pace of a stream: how many data events, and how long the pauses between them, in constant memory.

use super::call::{Chunks, GAP_BOUNDS};

/// Each doubling of the pause is split into this many equal steps: an estimate is off by at most 1/32.
const STEPS: u64 = 16;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Pauses of 2^42 ns (73 minutes) and longer share the last bucket.
const LONGEST_BITS: u32 = 42;
const BUCKETS: usize = ((LONGEST_BITS - STEP_BITS + 1) as usize) << STEP_BITS;

#[derive(Default)]
pub struct Pace {
    count: u64,
    last: u64,
    max: u64,
    sum: u64,
    gaps: [u32; GAP_BOUNDS.len() + 1],
    /// Number of pauses by length; made with the second event.
    histogram: Option<Box<[u32; BUCKETS]>>,
}

impl Pace {
    pub fn event(&mut self, at: u64) {
        if self.count > 0 {
            let pause = at.saturating_sub(self.last);
            self.max = self.max.max(pause);
            self.sum = self.sum.saturating_add(pause);
            // Most pauses are within the first few bounds.
            let gaps = &mut self.gaps[GAP_BOUNDS.iter().take_while(|bound| **bound < pause).count()];
            *gaps = gaps.saturating_add(1);
            let histogram = self.histogram.get_or_insert_with(|| Box::new([0; BUCKETS]));
            let bucket = &mut histogram[bucket(pause)];
            *bucket = bucket.saturating_add(1);
        }
        self.count += 1;
        self.last = at;
    }

    pub fn chunks(&self) -> Chunks {
        let Some(histogram) = &self.histogram else {
            return Chunks { count: self.count, ..Chunks::default() };
        };
        let total: u64 = histogram.iter().map(|count| u64::from(*count)).sum();
        // Nearest rank.
        let rank = (total * 95).div_ceil(100);
        let mut seen = 0;
        let reached = histogram.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        });
        let p95 = reached.map_or(self.max, |index| middle(index).min(self.max));
        let Self { count, max, sum, gaps, .. } = *self;
        Chunks { count, gap_max: Some(max), gap_p95: Some(p95), gap_sum: sum, gaps }
    }
}

/// Pauses below [`STEPS`] ns have a bucket each; then come [`STEPS`] buckets a doubling.
fn bucket(pause: u64) -> usize {
    if pause < STEPS {
        return pause as usize;
    }
    let bits = 63 - pause.leading_zeros();
    if bits >= LONGEST_BITS {
        return BUCKETS - 1;
    }
    let shift = bits - STEP_BITS;
    ((u64::from(shift) << STEP_BITS) + (pause >> shift)) as usize
}

/// The middle of a bucket, in nanoseconds.
fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = (bucket >> STEP_BITS) - 1;
    let low = ((bucket & (STEPS - 1)) | STEPS) << shift;
    low + ((1 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_without_pauses() {
        let mut pace = Pace::default();
        assert_eq!(pace.chunks(), Chunks::default());
        pace.event(5);
        assert_eq!(pace.chunks(), Chunks { count: 1, ..Chunks::default() });
    }

    #[test]
    fn a_pause_as_long_as_a_bound_counts_below_it() {
        let mut pace = Pace::default();
        for at in [0, 10_000_000, 20_000_001, 20_000_001 + 90_000_000_000] {
            pace.event(at);
        }
        let chunks = pace.chunks();
        assert_eq!((chunks.gaps[0], chunks.gaps[1], chunks.gaps[14]), (1, 1, 1));
        assert_eq!(chunks.gap_sum, 90_020_000_001);
    }

    proptest! {
        #[test]
        fn a_pause_lies_in_its_bucket(pause in 0..1_u64 << LONGEST_BITS) {
            let middle = middle(bucket(pause));
            prop_assert!(middle.abs_diff(pause) <= pause / 32 + 1, "{pause} {middle}");
        }

        #[test]
        fn p95_is_near_the_truth(mut pauses in prop::collection::vec(0..10_000_000_000_u64, 1..200)) {
            let mut pace = Pace::default();
            let mut at = 1_000;
            pace.event(at);
            for pause in &pauses {
                at += pause;
                pace.event(at);
            }
            pauses.sort_unstable();
            let truth = pauses[(pauses.len() * 95).div_ceil(100) - 1];
            let chunks = pace.chunks();
            prop_assert_eq!(chunks.gap_max, pauses.last().copied());
            prop_assert_eq!(chunks.gap_sum, pauses.iter().sum::<u64>());
            prop_assert_eq!(chunks.gaps.iter().sum::<u32>() as usize, pauses.len());
            prop_assert!(chunks.gap_p95.unwrap().abs_diff(truth) <= truth / 32 + 1);
        }
    }
}
