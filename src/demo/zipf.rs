//! Popularity: a few merchants have most of the traffic.

/// Draws 1..=n, where the k-th is drawn in proportion to 1/k.
#[derive(Debug, Clone)]
pub(super) struct Zipf {
    /// The sum of the weights up to each rank, in parts of a million of the first rank's weight.
    upto: Vec<u64>,
}

impl Zipf {
    /// Over at least one rank.
    pub(super) fn new(n: u32) -> Self {
        let weights = (1..=u64::from(n.max(1))).map(|k| 1_000_000 / k);
        let upto = weights.scan(0, |sum, w| {
            *sum += w.max(1);
            Some(*sum)
        });
        Zipf { upto: upto.collect() }
    }

    /// The next rank, from 1.
    pub(super) fn draw(&self, rng: &mut fastrand::Rng) -> u32 {
        let total = self.upto.last().copied().unwrap_or(1);
        let at = rng.u64(0..total);
        self.upto.partition_point(|sum| *sum <= at) as u32 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rank_is_drawn_twice_as_often_as_the_second() {
        let (zipf, mut rng) = (Zipf::new(200), fastrand::Rng::with_seed(1));
        let mut seen = [0u32; 201];
        for _ in 0..100_000 {
            seen[zipf.draw(&mut rng) as usize] += 1;
        }
        assert_eq!(seen[0], 0);
        assert!(seen[200] > 0);
        let ratio = f64::from(seen[1]) / f64::from(seen[2]);
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
    }
}
