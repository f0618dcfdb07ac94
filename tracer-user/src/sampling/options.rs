//! What configuration says of sampling.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use crate::config::values::{self, Pattern};

/// 2^56 - 1: no threshold is higher.
pub const MAX_THRESHOLD: u64 = (1 << 56) - 1;

/// Hexadecimal digits of a threshold behind its leading `f`s: what the specification recommends.
const PRECISION: u32 = 4;

/// Which spans are exported. The default keeps all.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Part of the traces that begin here, by their ids, before anything else is asked. It does not hold for traces of
    /// the traced programs' own, for which the flag of their `traceparent` decides.
    pub head_ratio: Ratio,
    /// The first that fits decides.
    pub rules: Vec<Rule>,
    /// Part of the calls that no rule fits.
    pub ratio: Ratio,
}

impl Options {
    pub(super) fn keeps_all(&self) -> bool {
        let all = Ratio::default();
        self.head_ratio == all && self.ratio == all && self.rules.iter().all(|rule| rule.ratio == all)
    }
}

/// What a call must be for a ratio of its own. All that is stated must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// It failed.
    pub error: Option<bool>,
    /// Its answer was cut off.
    pub aborted: Option<bool>,
    /// It took longer: `20s`.
    #[serde(with = "values::optional_duration")]
    pub slower_than: Option<Duration>,
    /// It cost more, in the currency of the prices.
    pub dearer_than: Option<f64>,
    /// Its model, requested or answered.
    pub model: Option<Pattern>,
    /// `service.name` of its process.
    pub service: Option<Pattern>,
    /// Part of such calls that is kept: all, unless stated.
    pub ratio: Ratio,
}

/// A probability, from 0 (never) to 1 (always).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio(f64);

impl Ratio {
    /// `None` outside of 0 to 1.
    pub fn new(ratio: f64) -> Option<Self> {
        (0.0..=1.0).contains(&ratio).then_some(Self(ratio))
    }

    /// Part of 2^56 that is rejected; `None` when all is. Rounded as the specification recommends ("Converting
    /// floating-point probability to threshold value").
    pub fn threshold(self) -> Option<u64> {
        if self.0 <= 0.0 {
            return None;
        }
        let rejected = ((1.0 - self.0) * (1_u64 << 56) as f64).round() as u64;
        let rejected = rejected.min(MAX_THRESHOLD);
        let leading = (rejected << 8).leading_ones() / 4;
        let digits = (leading.min(14) + PRECISION).min(14);
        let shift = 4 * (14 - digits);
        let half = (1_u64 << shift) >> 1;
        Some((((rejected + half) >> shift) << shift).min(MAX_THRESHOLD))
    }
}

impl Default for Ratio {
    fn default() -> Self {
        Self(1.0)
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ratio = f64::deserialize(deserializer)?;
        Self::new(ratio).ok_or_else(|| D::Error::custom(format!("{ratio} is no ratio: give a number from 0 to 1")))
    }
}
