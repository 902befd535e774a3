//! Quantities of Kubernetes: `1.5Gi`, `100m`, `12e6`.

mod decimal;
mod parse;

use crate::cel::library::{Function, Library};
use crate::cel::run::{Fail, Run};
use crate::cel::types::Type;
use crate::cel::value::Value;
use decimal::Decimal;
use std::cmp::Ordering;

const QUANTITY: Type = Type::Opaque("kubernetes.Quantity");

/// A Kubernetes quantity. How it is written is forgotten: nothing in CEL asks for it.
///
/// The two ways to hold one are those of the API server, as they show: only the first is ever an integer.
#[derive(Debug)]
pub enum Quantity {
    /// `value * 10^exponent`.
    Small {
        /// The number.
        value: i64,
        /// The power of ten.
        exponent: i32,
    },
    /// What does not fit, or once did not.
    Large(Box<Decimal>),
}

/// By what they amount to.
impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        match (self, other) {
            (
                Quantity::Small { value, exponent },
                Quantity::Small {
                    value: other,
                    exponent: other_exponent,
                },
            ) if exponent == other_exponent => value.cmp(other),
            _ => self.to_decimal().compare(&other.to_decimal()),
        }
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Quantity {}

impl Quantity {
    fn to_decimal(&self) -> Decimal {
        match self {
            Quantity::Small { value, exponent } => Decimal::new(*value, *exponent),
            Quantity::Large(decimal) => (**decimal).clone(),
        }
    }

    fn sign(&self) -> i8 {
        match self {
            Quantity::Small { value, .. } => match value.cmp(&0) {
                Ordering::Less => -1,
                Ordering::Equal => 0,
                Ordering::Greater => 1,
            },
            Quantity::Large(decimal) => decimal.sign(),
        }
    }

    /// As a whole number, where the API server knows that it is one.
    fn to_integer(&self) -> Option<i64> {
        match self {
            Quantity::Small { value, exponent } => scaled(*value, u32::try_from(*exponent).ok()?),
            Quantity::Large(_) => None,
        }
    }

    /// The product of two floats, as in Go: not always the nearest one.
    #[allow(clippy::cast_precision_loss)]
    fn to_float(&self) -> f64 {
        let (base, exponent) = match self {
            Quantity::Small { value, exponent } => (*value as f64, *exponent),
            Quantity::Large(decimal) => (decimal.to_float(), decimal.exponent),
        };
        if exponent == 0 {
            base
        } else {
            base * power_of_ten(exponent)
        }
    }

    fn plus(&self, other: &Quantity, run: &mut Run<'_>) -> Result<Quantity, Fail> {
        if let (
            Quantity::Small { value, exponent },
            Quantity::Small {
                value: more,
                exponent: by,
            },
        ) = (self, other)
            && let Some(sum) = small_sum((*value, *exponent), (*more, *by))
        {
            return Ok(sum);
        }
        let sum = self.to_decimal().plus(other.to_decimal(), run)?;
        Ok(Quantity::Large(sum.into()))
    }

    fn minus(&self, other: &Quantity, run: &mut Run<'_>) -> Result<Quantity, Fail> {
        // Go's negation wraps, and the smallest number stays what it is.
        if let (
            Quantity::Small { value, exponent },
            Quantity::Small {
                value: less,
                exponent: by,
            },
        ) = (self, other)
            && let Some(sum) = small_sum((*value, *exponent), (less.wrapping_neg(), *by))
        {
            return Ok(sum);
        }
        let mut other = other.to_decimal();
        other.is_negative = !other.is_negative && !other.is_zero();
        let sum = self.to_decimal().plus(other, run)?;
        Ok(Quantity::Large(sum.into()))
    }
}

/// The sum, with the smaller power of ten, where all of that fits.
fn small_sum(one: (i64, i32), other: (i64, i32)) -> Option<Quantity> {
    let (value, exponent) = match (one, other) {
        (one, (0, _)) => one,
        ((0, _), other) => other,
        ((value, exponent), (more, by)) => {
            let distance = |high: i32, low: i32| {
                let distance = i64::from(high) - i64::from(low);
                u32::try_from(distance).ok()
            };
            if exponent > by {
                (
                    scaled(value, distance(exponent, by)?)?.checked_add(more)?,
                    by,
                )
            } else {
                (
                    value.checked_add(scaled(more, distance(by, exponent)?)?)?,
                    exponent,
                )
            }
        }
    };
    Some(Quantity::Small { value, exponent })
}

/// Times a power of ten, where that fits.
fn scaled(value: i64, digits: u32) -> Option<i64> {
    if value == 0 {
        return Some(0);
    }
    value.checked_mul(10_i64.checked_pow(digits)?)
}

/// Go's `math.Pow10`, which takes the power from two tables.
fn power_of_ten(exponent: i32) -> f64 {
    // What Go writes into its tables.
    let listed = |exponent: i32| format!("1e{exponent}").parse().unwrap_or(f64::NAN);
    match exponent {
        0..=308 => {
            let (high, low) = (exponent / 32 * 32, exponent % 32);
            listed(high) * listed(low)
        }
        -323..=-1 => {
            let (high, low) = (-exponent / 32 * 32, -exponent % 32);
            listed(-high) / listed(low)
        }
        309.. => f64::INFINITY,
        _ => 0.0,
    }
}

/// Declares them.
pub fn declare(library: &mut Library) {
    library.global("quantity", &[Type::String], QUANTITY, from_text);
    library.growing("quantity");
    library.global("isQuantity", &[Type::String], Type::Bool, is_quantity);
    library.growing("isQuantity");
    // Not a member, whatever the documentation says.
    library.global("sign", &[QUANTITY], Type::Int, |_, arguments| {
        Ok(Value::Int(one(arguments)?.sign().into()))
    });
    library.member("isInteger", &[QUANTITY], Type::Bool, |_, arguments| {
        Ok(Value::Bool(one(arguments)?.to_integer().is_some()))
    });
    library.member("asInteger", &[QUANTITY], Type::Int, |_, arguments| {
        let whole = one(arguments)?.to_integer();
        let whole = whole.ok_or_else(|| Fail::error("cannot convert value to integer"))?;
        Ok(Value::Int(whole))
    });
    library.member(
        "asApproximateFloat",
        &[QUANTITY],
        Type::Double,
        |_, arguments| Ok(Value::Double(one(arguments)?.to_float())),
    );
    let sums: [(&'static str, Function); 2] = [
        ("add", |run, arguments| {
            with_two(arguments, |one, other| one.plus(other, run))
        }),
        ("sub", |run, arguments| {
            with_two(arguments, |one, other| one.minus(other, run))
        }),
    ];
    for (name, function) in sums {
        library.member(name, &[QUANTITY, QUANTITY], QUANTITY, function);
        library.growing(name);
        library.member(name, &[QUANTITY, Type::Int], QUANTITY, function);
        library.growing(name);
    }
    library.member(
        "isGreaterThan",
        &[QUANTITY, QUANTITY],
        Type::Bool,
        |_, arguments| Ok(Value::Bool(compare(arguments)?.is_gt())),
    );
    library.member(
        "isLessThan",
        &[QUANTITY, QUANTITY],
        Type::Bool,
        |_, arguments| Ok(Value::Bool(compare(arguments)?.is_lt())),
    );
    library.member(
        "compareTo",
        &[QUANTITY, QUANTITY],
        Type::Int,
        |_, arguments| Ok(Value::Int(compare(arguments)? as i64)),
    );
}

fn from_text<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let quantity = read(run, arguments)?.map_err(Fail::error)?;
    Ok(Value::Quantity(quantity.into()))
}

fn is_quantity<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    Ok(Value::Bool(read(run, arguments)?.is_ok()))
}

fn read(
    run: &mut Run<'_>,
    arguments: &[Value<'_>],
) -> Result<Result<Quantity, &'static str>, Fail> {
    let [Value::String(text)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len())?;
    parse::parse(text, run)
}

fn one<'v>(arguments: &'v [Value<'_>]) -> Result<&'v Quantity, Fail> {
    match arguments {
        [Value::Quantity(quantity)] => Ok(quantity),
        _ => Err(Fail::no_such_overload()),
    }
}

fn compare(arguments: &[Value<'_>]) -> Result<Ordering, Fail> {
    match arguments {
        [Value::Quantity(one), Value::Quantity(other)] => Ok(one.cmp(other)),
        _ => Err(Fail::no_such_overload()),
    }
}

fn with_two<'a>(
    arguments: &[Value<'a>],
    mut function: impl FnMut(&Quantity, &Quantity) -> Result<Quantity, Fail>,
) -> Result<Value<'a>, Fail> {
    let result = match arguments {
        [Value::Quantity(one), Value::Quantity(other)] => function(one, other),
        [Value::Quantity(one), Value::Int(whole)] => {
            let other = Quantity::Small {
                value: *whole,
                exponent: 0,
            };
            function(one, &other)
        }
        _ => return Err(Fail::no_such_overload()),
    };
    Ok(Value::Quantity(result?.into()))
}

#[cfg(test)]
mod tests;
