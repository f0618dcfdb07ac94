//! Money, exact: sums of decimal prices must not drift with the number of calls or the order of their parts.

use std::{fmt, ops::Add};

/// Whole 10⁻¹⁵ units of the currency. A price of 10⁻⁹ USD per million tokens, the smallest that a price file can state,
/// is one such unit a token, so that a count times a price is exact; no real sum comes near the end of the range, where
/// it saturates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(u128);

/// Units in one of the currency.
const UNITS: f64 = 1e15;
/// Decimals of a factor: 0.85 is 850,000,000.
const FACTOR: u128 = 1_000_000_000;

impl Amount {
    /// `count` things at `price` for each `per` of them. The price of one is rounded to a whole unit.
    pub fn of(count: u64, price: f64, per: f64) -> Self {
        // A float becomes an integer by saturation: what is negative or no number becomes 0.
        Self(u128::from(count).saturating_mul((price * UNITS / per).round() as u128))
    }

    /// An amount that somebody states as a float.
    pub fn stated(amount: f64) -> Self {
        Self((amount * UNITS).round() as u128)
    }

    /// Times a factor of nine decimals, rounded half up to a whole unit.
    pub fn times(self, factor: f64) -> Self {
        let factor = (factor * FACTOR as f64).round() as u128;
        Self(match self.0.checked_mul(factor) {
            Some(product) => product.saturating_add(FACTOR / 2) / FACTOR,
            None => (self.0 / FACTOR).saturating_mul(factor),
        })
    }

    /// The double nearest to the exact decimal; above 9 units of the currency it may be the next to it.
    pub fn value(self) -> f64 {
        self.0 as f64 / UNITS
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// A currency by its ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Currency([u8; 3]);

impl Currency {
    /// `None` unless `code` is three capital letters.
    pub fn new(code: &str) -> Option<Self> {
        let code: [u8; 3] = code.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_uppercase).then_some(Self(code))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_the_decimal_that_one_works_out_by_hand() {
        // As doubles: 3 · 0.1 is 0.30000000000000004.
        assert_eq!(Amount::of(3, 0.1, 1.0).value(), 0.3);
        assert_eq!(Amount::of(1, 0.000_000_001, 1e6), Amount(1));
        assert_eq!(Amount::of(1_234_567, 0.15, 1e6).value(), 0.185_185_05);
        assert_eq!(Amount::of(3, 10.0, 1e3).value(), 0.03);
    }

    #[test]
    fn sums_do_not_drift() {
        let one = Amount::of(1, 0.1, 1e6);
        let sum = (0..1_000_000).fold(Amount::default(), |sum, _| sum + one);
        assert_eq!(sum, Amount::of(1_000_000, 0.1, 1e6));
    }

    #[test]
    fn factors_round_half_up() {
        assert_eq!(Amount(5).times(0.1), Amount(1));
        assert_eq!(Amount(4).times(0.1), Amount(0));
        assert_eq!(Amount::of(1_000_000, 2.5, 1e6).times(1.1).value(), 2.75);
    }

    #[test]
    fn hostile_figures_saturate() {
        let most = Amount::of(u64::MAX, 1e6, 1.0);
        assert!(most.times(1000.0) >= most);
        assert!((most + most).value().is_finite());
        assert_eq!(Amount::of(5, f64::NAN, 1e6), Amount::default());
        assert_eq!(Amount::stated(-1.0), Amount::default());
    }
}
