//! Smooth weighted round robin among upstreams with weights: over any stretch of requests as long as the sum of the weights, each
//! upstream's share is exact, and no upstream gets a burst.

use super::checks::bit;

/// The current weight of each upstream.
#[derive(Debug)]
pub(super) struct Turns(Vec<i64>);

impl Turns {
    pub(super) fn new(weights: &[u32]) -> Turns {
        Turns(vec![0; weights.len()])
    }

    /// The next of the `usable` upstreams, given as bits. One with a weight of 0 is chosen only if no other is usable; if none is
    /// usable, the first with a weight.
    pub(super) fn next(&mut self, weights: &[u32], usable: u64) -> usize {
        let is_usable = |index: usize| usable & bit(index) != 0;
        let weight = |index: usize| weights.get(index).map_or(0, |weight| i64::from(*weight));
        let mut best: Option<usize> = None;
        let mut sum = 0;
        for index in (0..self.0.len()).filter(|index| is_usable(*index) && weight(*index) > 0) {
            sum += weight(index);
            self.0[index] += weight(index);
            if best.is_none_or(|best| self.0[index] > self.0[best]) {
                best = Some(index);
            }
        }
        let Some(best) = best else {
            let spare = (0..self.0.len()).find(|index| is_usable(*index));
            return spare.or((0..self.0.len()).find(|index| weight(*index) > 0)).unwrap_or(0);
        };
        self.0[best] -= sum;
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(weights: &[u32], usable: u64, turns: usize) -> Vec<usize> {
        let mut state = Turns::new(weights);
        let mut shares = vec![0; weights.len()];
        (0..turns).for_each(|_| shares[state.next(weights, usable)] += 1);
        shares
    }

    #[test]
    fn each_has_its_share() {
        assert_eq!(shares(&[3, 1], 0b11, 100), [75, 25]);
        assert_eq!(shares(&[5, 0, 1], 0b111, 60), [50, 0, 10]);
        assert_eq!(shares(&[3, 1, 1], 0b110, 10), [0, 5, 5], "who may not be used leaves its share to the others");
        assert_eq!(shares(&[1, 0], 0b10, 3), [0, 3], "a spare");
        assert_eq!(shares(&[0, 2], 0, 3), [0, 3], "none may be used");
    }

    #[test]
    fn turns_do_not_come_in_bursts() {
        let mut state = Turns::new(&[3, 1]);
        let turns: Vec<usize> = (0..8).map(|_| state.next(&[3, 1], 0b11)).collect();
        assert_eq!(turns, [0, 0, 1, 0, 0, 0, 1, 0]);
    }
}
