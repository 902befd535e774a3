//! Exact decimal numbers of any size that is sane: whole numbers and a power of ten.

use crate::cel::run::{Fail, Run};
use std::cmp::Ordering;

/// Digits of one limb, and what they count to.
const LIMB_DIGITS: usize = 9;
const LIMB: u64 = 1_000_000_000;
/// No number has more digits: far more than a quantity needs, few enough to compare them at the cost of a step or two.
const DIGITS_MAX: usize = 4096;

/// `limbs * 10^exponent`, the least limb first, the last one not zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal {
    pub is_negative: bool,
    limbs: Vec<u32>,
    pub exponent: i32,
}

impl Decimal {
    /// Of a whole number.
    pub fn new(value: i64, exponent: i32) -> Decimal {
        let mut limbs = Vec::with_capacity(3);
        let mut rest = value.unsigned_abs();
        while rest > 0 {
            limbs.push(low(rest % LIMB));
            rest /= LIMB;
        }
        Decimal {
            is_negative: value < 0,
            limbs,
            exponent,
        }
    }

    /// Of digits and nothing else. Takes as much memory as they do, so they are to be charged before.
    pub fn of_digits(digits: &[u8], exponent: i32) -> Decimal {
        let limbs = digits.rchunks(LIMB_DIGITS).map(|chunk| {
            let digits = chunk
                .iter()
                .map(|digit| u32::from(digit.wrapping_sub(b'0')));
            digits.fold(0, |limb: u32, digit| {
                limb.wrapping_mul(10).wrapping_add(digit)
            })
        });
        let mut decimal = Decimal {
            is_negative: false,
            limbs: limbs.collect(),
            exponent,
        };
        decimal.trim();
        decimal
    }

    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }

    pub fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    fn digits(&self) -> usize {
        let last = self
            .limbs
            .last()
            .map_or(0, |last| last.ilog10() as usize + 1);
        self.limbs.len().saturating_sub(1) * LIMB_DIGITS + last
    }

    fn digit(&self, at: usize) -> u32 {
        let limb = self.limbs.get(at / LIMB_DIGITS).copied().unwrap_or(0);
        limb / power(at % LIMB_DIGITS) % 10
    }

    /// Adds zeros at the end: the number becomes larger, or its exponent is to become smaller.
    fn shift_left(&mut self, digits: u64, run: &mut Run<'_>) -> Result<(), Fail> {
        if self.is_zero() {
            return Ok(());
        }
        let digits = usize::try_from(digits).unwrap_or(usize::MAX);
        if self.digits().saturating_add(digits) > DIGITS_MAX {
            // No quantity is that large. The API server would count to it, and take a machine's memory for that.
            run.allocate(usize::MAX)?;
        }
        self.multiply(u64::from(power(digits % LIMB_DIGITS)));
        self.limbs
            .splice(0..0, std::iter::repeat_n(0, digits / LIMB_DIGITS));
        Ok(())
    }

    /// Takes digits away at the end. What is left is rounded away from zero.
    fn shift_right_up(&mut self, digits: u64) {
        let digits = usize::try_from(digits).unwrap_or(usize::MAX);
        let whole = (digits / LIMB_DIGITS).min(self.limbs.len());
        let mut is_inexact = self.limbs.drain(..whole).any(|limb| limb != 0);
        let divisor = power(digits % LIMB_DIGITS);
        let mut remainder = 0;
        for limb in self.limbs.iter_mut().rev() {
            let value = u64::from(remainder) * LIMB + u64::from(*limb);
            *limb = low(value / u64::from(divisor));
            remainder = low(value % u64::from(divisor));
        }
        is_inexact |= remainder != 0;
        self.trim();
        if is_inexact {
            self.limbs = add(&self.limbs, &[1]);
        }
    }

    /// Times a factor.
    pub fn multiply(&mut self, factor: u64) {
        let mut carry: u128 = 0;
        for limb in &mut self.limbs {
            let value = u128::from(*limb) * u128::from(factor) + carry;
            *limb = u32::try_from(value % u128::from(LIMB)).unwrap_or(0);
            carry = value / u128::from(LIMB);
        }
        while carry > 0 {
            self.limbs
                .push(u32::try_from(carry % u128::from(LIMB)).unwrap_or(0));
            carry /= u128::from(LIMB);
        }
        self.trim();
    }

    /// The same with another exponent, rounded away from zero where that is larger.
    pub fn rescale(&mut self, exponent: i32, run: &mut Run<'_>) -> Result<(), Fail> {
        let shift = i64::from(self.exponent) - i64::from(exponent);
        if shift < 0 {
            self.shift_right_up(shift.unsigned_abs());
        } else {
            self.shift_left(shift.unsigned_abs(), run)?;
        }
        self.exponent = exponent;
        Ok(())
    }

    /// The sum, with the smaller exponent of both.
    pub fn plus(mut self, mut other: Decimal, run: &mut Run<'_>) -> Result<Decimal, Fail> {
        let exponent = self.exponent.min(other.exponent);
        self.rescale(exponent, run)?;
        other.rescale(exponent, run)?;
        run.allocate(self.limbs.len().max(other.limbs.len()) * 4)?;
        if self.is_negative == other.is_negative {
            self.limbs = add(&self.limbs, &other.limbs);
            return Ok(self);
        }
        if compare_limbs(&self.limbs, &other.limbs).is_lt() {
            std::mem::swap(&mut self, &mut other);
        }
        self.limbs = subtract(&self.limbs, &other.limbs);
        self.trim();
        self.is_negative &= !self.is_zero();
        Ok(self)
    }

    /// Compares what they amount to.
    pub fn compare(&self, other: &Decimal) -> Ordering {
        let signs = self.sign().cmp(&other.sign());
        if self.is_zero() {
            return signs;
        }
        signs.then_with(|| {
            let order = self.compare_magnitude(other);
            if self.is_negative {
                order.reverse()
            } else {
                order
            }
        })
    }

    /// -1, 0 or 1.
    pub fn sign(&self) -> i8 {
        match (self.is_zero(), self.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    fn compare_magnitude(&self, other: &Decimal) -> Ordering {
        if self.exponent == other.exponent {
            return compare_limbs(&self.limbs, &other.limbs);
        }
        let (digits, other_digits) = (self.digits(), other.digits());
        let place = |digits, exponent| {
            let digits = i64::try_from(digits).unwrap_or(i64::MAX);
            digits.saturating_add(i64::from(exponent))
        };
        let places = place(digits, self.exponent).cmp(&place(other_digits, other.exponent));
        places.then_with(|| {
            // From the first digit on; those that are not there are zeros.
            let digit = |number: &Decimal, digits: usize, index| match digits.checked_sub(index + 1)
            {
                Some(at) => number.digit(at),
                None => 0,
            };
            let indices = 0..digits.max(other_digits);
            let mut orders = indices
                .map(|index| digit(self, digits, index).cmp(&digit(other, other_digits, index)));
            orders
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        })
    }

    /// The float nearest to the number without its exponent.
    pub fn to_float(&self) -> f64 {
        let mut text = String::with_capacity(self.limbs.len() * LIMB_DIGITS + 1);
        if self.is_negative {
            text.push('-');
        }
        text.push('0');
        for limb in self.limbs.iter().rev() {
            text.push_str(&format!("{limb:09}"));
        }
        text.parse().unwrap_or(f64::NAN)
    }
}

/// What is below a limb's end fits.
fn low(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A power of ten below a limb's end.
fn power(digits: usize) -> u32 {
    (0..digits.min(LIMB_DIGITS)).fold(1, |power: u32, _| power.saturating_mul(10))
}

fn compare_limbs(one: &[u32], other: &[u32]) -> Ordering {
    let lengths = one.len().cmp(&other.len());
    lengths.then_with(|| one.iter().rev().cmp(other.iter().rev()))
}

fn add(one: &[u32], other: &[u32]) -> Vec<u32> {
    let length = one.len().max(other.len());
    let mut sum = Vec::with_capacity(length + 1);
    let mut carry = 0;
    for at in 0..length {
        let digit = |limbs: &[u32]| u64::from(limbs.get(at).copied().unwrap_or(0));
        let value = digit(one) + digit(other) + carry;
        sum.push(low(value % LIMB));
        carry = value / LIMB;
    }
    if carry > 0 {
        sum.push(low(carry));
    }
    sum
}

/// The first one is not the smaller one.
fn subtract(one: &[u32], other: &[u32]) -> Vec<u32> {
    let mut borrow = 0;
    let limbs = one.iter().enumerate().map(|(at, limb)| {
        let taken = u64::from(other.get(at).copied().unwrap_or(0)) + borrow;
        let limb = u64::from(*limb);
        borrow = u64::from(limb < taken);
        low((limb + borrow * LIMB).saturating_sub(taken))
    });
    limbs.collect()
}
