//! Seeded random numbers: equal seeds give equal sequences.

/// Pseudorandom number generator with the `SplitMix64` algorithm.
#[derive(Clone, Debug)]
pub struct SimRng(u64);

impl SimRng {
    /// Creates a generator with the given seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next random number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        n ^ (n >> 31)
    }

    /// Returns a random number in `0..end`; 0 if `end` is 0.
    pub fn gen_range(&mut self, end: usize) -> usize {
        (self.next_u64() % end.max(1) as u64) as usize
    }

    /// Returns `true` with probability `1 / n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.gen_range(n) == 0
    }

    /// Returns a random delay of 1 to `usual` milliseconds.
    ///
    /// One delay in 12 is drawn from a range 20 times as large.
    pub fn sample_delay_ms(&mut self, usual: usize) -> f64 {
        let factor = if self.one_in(12) { 20 } else { 1 };
        (1 + self.gen_range(usual * factor)) as f64
    }

    /// Returns a random element, or `None` if `items` is empty.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.gen_range(items.len())) }
    }
}
