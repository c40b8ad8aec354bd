//! Learns the usual time to a provider's first audio, for `first_audio = "auto"`.

use std::time::Duration;

/// The lower bound of the limit.
const FLOOR: Duration = Duration::from_secs(2);
/// The upper bound, which also applies until enough is known.
const CEILING: Duration = Duration::from_secs(15);
/// How many times are needed.
const ENOUGH: u32 = 50;
/// Above this number, older times are halved in weight.
const MANY: u32 = 2000;
/// Classes per octave, starting at one millisecond.
const PER_OCTAVE: f64 = 8.0;
const CLASSES: usize = 144;

/// The times to first audio of a provider's generations, in classes 9 % wide.
#[derive(Clone, Debug)]
pub struct FirstAudioTimes {
    classes: [u32; CLASSES],
    count: u32,
}

impl Default for FirstAudioTimes {
    fn default() -> FirstAudioTimes {
        FirstAudioTimes { classes: [0; CLASSES], count: 0 }
    }
}

impl FirstAudioTimes {
    /// Records a time. For a generation that was given up, the time until then is recorded, so that the limit follows a provider
    /// that has become slower.
    pub fn took(&mut self, time: Duration) {
        let milliseconds = (time.as_secs_f64() * 1000.0).max(1.0);
        let class = ((milliseconds.log2() * PER_OCTAVE) as usize).min(CLASSES - 1);
        if let Some(class) = self.classes.get_mut(class) {
            *class += 1;
        }
        self.count += 1;
        if self.count >= MANY {
            self.classes.iter_mut().for_each(|class| *class /= 2);
            self.count = self.classes.iter().sum();
        }
    }

    /// The limit for the next generation: twice the 99th percentile. With the percentile itself, one in a hundred would be late.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.p99().map_or(CEILING, |p99| (2 * p99).clamp(FLOOR, CEILING))
    }

    /// The 99th percentile; none until enough is known.
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        if self.count < ENOUGH {
            return None;
        }
        let (mut left, above) = (u64::from(self.count) * 99, self.classes.iter().enumerate());
        for (class, count) in above {
            left = left.saturating_sub(u64::from(*count) * 100);
            if left == 0 {
                let end = ((class + 1) as f64 / PER_OCTAVE).exp2();
                return Some(Duration::from_secs_f64(end / 1000.0));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_follows_the_provider_within_its_bounds() {
        let mut times = FirstAudioTimes::default();
        assert_eq!(times.limit(), CEILING, "nothing is known");
        for number in 0..1000u64 {
            times.took(Duration::from_millis(200 + number % 100));
        }
        assert_eq!(times.limit(), FLOOR);
        for _ in 0..300 {
            times.took(Duration::from_secs(3));
        }
        let limit = times.limit();
        assert!((Duration::from_secs(6)..Duration::from_millis(6600)).contains(&limit), "{limit:?}");
        for _ in 0..20_000 {
            times.took(Duration::from_secs(60));
        }
        assert_eq!(times.limit(), CEILING);
        // Old times are forgotten.
        for _ in 0..30_000 {
            times.took(Duration::from_millis(1));
        }
        assert_eq!(times.limit(), FLOOR);
    }
}
