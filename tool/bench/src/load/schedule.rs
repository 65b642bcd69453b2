//! When requests are due: steps of a rate each, with fixed or random spacing.

use crate::random::Random;
use std::ops::Range;
use std::time::Duration;

/// The staircase of thesis Figure 4.5, in requests a second, and how long each step takes there.
pub const STAIRCASE: [f64; 4] = [600.0, 1200.0, 1800.0, 900.0];
pub const STEP_TIME: Duration = Duration::from_secs(5);

/// A time with one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Requests a second, on average.
    pub rate: f64,
    pub time: Duration,
}

/// How far requests are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Equally.
    Fixed,
    /// At random, independent of each other: as many people make them.
    Poisson,
}

/// When requests are due.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub spacing: Spacing,
    pub seed: u64,
}

impl Plan {
    /// Steps of equal time, each rate times `scale`.
    pub fn steps(rates: &[f64], scale: f64, time: Duration) -> Vec<Step> {
        rates.iter().map(|rate| Step { rate: rate * scale, time }).collect()
    }

    /// From the first step's begin to the last one's end.
    pub fn time(&self) -> Duration {
        self.steps.iter().map(|step| step.time).sum()
    }

    /// The rate that is asked for at a time since the beginning; 0 past the end.
    pub fn rate(&self, at: Duration) -> f64 {
        let mut end = Duration::ZERO;
        let step = self.steps.iter().find(|step| {
            end += step.time;
            at < end
        });
        step.map_or(0.0, |step| step.rate)
    }

    /// When the step begins that asks for most, and when it ends: the first of several.
    pub fn peak(&self) -> Range<Duration> {
        let (mut begin, mut most, mut peak) = (Duration::ZERO, 0.0, Duration::ZERO..Duration::ZERO);
        for step in &self.steps {
            if step.rate > most {
                (most, peak) = (step.rate, begin..begin + step.time);
            }
            begin += step.time;
        }
        peak
    }

    /// The times since the beginning at which requests are due, in order.
    pub fn arrivals(&self) -> Arrivals {
        let (steps, random) = (self.steps.clone().into_iter(), Random::new(self.seed));
        Arrivals { steps, spacing: self.spacing, random, begin: Duration::ZERO, sent: 0, last: 0.0 }
    }
}

/// See [`Plan::arrivals`].
#[derive(Debug)]
pub struct Arrivals {
    /// The step that goes on, and those after it.
    steps: std::vec::IntoIter<Step>,
    spacing: Spacing,
    random: Random,
    /// When the step began.
    begin: Duration,
    /// Requests of this step.
    sent: u64,
    /// When the last request of this step was due, in seconds since its begin.
    last: f64,
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        while let Some(step) = self.steps.as_slice().first() {
            let at = match self.spacing {
                Spacing::Fixed => self.sent as f64 / step.rate,
                Spacing::Poisson => self.last + self.random.exponential() / step.rate,
            };
            if at < step.time.as_secs_f64() {
                (self.sent, self.last) = (self.sent + 1, at);
                return Some(self.begin + Duration::from_secs_f64(at));
            }
            // Random arrivals have no memory: the next step begins anew at its own rate.
            (self.begin, self.sent, self.last) = (self.begin + step.time, 0, 0.0);
            self.steps.next();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(spacing: Spacing, seed: u64) -> Plan {
        Plan { steps: Plan::steps(&STAIRCASE, 0.5, STEP_TIME), spacing, seed }
    }

    /// Requests due in each step.
    fn counts(plan: &Plan) -> Vec<usize> {
        let all: Vec<_> = plan.arrivals().collect();
        assert!(all.is_sorted() && all.iter().all(|at| *at < plan.time()));
        let step = |at: &Duration| (at.as_secs_f64() / STEP_TIME.as_secs_f64()) as usize;
        (0..STAIRCASE.len()).map(|index| all.iter().filter(|at| step(at) == index).count()).collect()
    }

    #[test]
    fn fixed_spacing_is_equal() {
        let plan = plan(Spacing::Fixed, 1);
        assert_eq!(counts(&plan), [1500, 3000, 4500, 2250]);
        let first: Vec<_> = plan.arrivals().take(3).map(|at| at.as_micros()).collect();
        assert_eq!(first, [0, 3333, 6666]);
    }

    #[test]
    fn random_spacing_has_the_rates_of_the_steps_and_is_that_of_its_seed() {
        let expect = [1500.0, 3000.0, 4500.0, 2250.0];
        for seed in 0..20 {
            for (count, expect) in counts(&plan(Spacing::Poisson, seed)).into_iter().zip(expect) {
                // Five standard deviations of a Poisson distribution.
                assert!(
                    (count as f64 - expect).abs() < 5.0 * f64::sqrt(expect),
                    "seed {seed}: {count} of {expect}"
                );
            }
        }
        let arrivals = |seed| plan(Spacing::Poisson, seed).arrivals().collect::<Vec<_>>();
        assert_eq!(arrivals(7), arrivals(7));
        assert_ne!(arrivals(7), arrivals(8));
    }

    #[test]
    fn random_spacing_is_exponential() {
        let plan = Plan {
            steps: vec![Step { rate: 1000.0, time: Duration::from_secs(100) }],
            spacing: Spacing::Poisson,
            seed: 3,
        };
        let all: Vec<_> = plan.arrivals().map(|at| at.as_secs_f64()).collect();
        let long = all.windows(2).filter(|pair| pair[1] - pair[0] > 0.001).count() as f64 / all.len() as f64;
        assert!((long - (-1.0f64).exp()).abs() < 0.01, "{long} of the gaps are longer than the mean");
    }

    #[test]
    fn the_rate_is_known_at_each_time() {
        let plan = plan(Spacing::Fixed, 1);
        let rates = [0.0, 4.9, 5.0, 14.9, 19.9, 20.0].map(|at| plan.rate(Duration::from_secs_f64(at)));
        assert_eq!(rates, [300.0, 300.0, 600.0, 900.0, 450.0, 0.0]);
        assert_eq!(plan.time(), Duration::from_secs(20));
        assert_eq!(plan.peak(), Duration::from_secs(10)..Duration::from_secs(15));
    }
}
