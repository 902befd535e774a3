//! The functions of lists that Kubernetes adds: order, sum, least, greatest and place of an item.
//!
//! Each is declared for lists of certain types. A list whose type is not known is taken by its first item, as cel-go
//! does it; what comes after may be anything, and then each function has its own way with it.

use super::show;
use crate::cel::library::{Function, Library};
use crate::cel::run::{Fail, Run, as_steps};
use crate::cel::types::Type;
use crate::cel::value::{List, Timestamp, Value};
use std::cmp::Ordering;

/// A function on values.
type Outcome<'a> = Result<Value<'a>, Fail>;

/// The moments that CEL knows: of the years 1 to 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const NANOSECONDS: i64 = 1_000_000_000;

/// Declares them.
pub fn declare(library: &mut Library) {
    let comparable = [
        Type::Int,
        Type::Uint,
        Type::Double,
        Type::Bool,
        Type::Duration,
        Type::Timestamp,
        Type::String,
        Type::Bytes,
    ];
    for item in comparable {
        let list = &[Type::list(item.clone())];
        library.member("isSorted", list, Type::Bool, is_sorted);
        library.growing("isSorted");
        library.member("min", list, item.clone(), min);
        library.growing("min");
        library.member("max", list, item, max);
        library.growing("max");
    }
    // They differ in what the sum of no items is.
    let summable: [(Type, Function); 4] = [
        (Type::Int, sum_int),
        (Type::Uint, sum_uint),
        (Type::Double, sum_double),
        (Type::Duration, sum_duration),
    ];
    for (item, sum) in summable {
        library.member("sum", &[Type::list(item.clone())], item, sum);
        library.growing("sum");
    }
    let item = Type::Param("A");
    let arguments = &[Type::list(item.clone()), item];
    library.member("indexOf", arguments, Type::Int, index_of);
    library.growing("indexOf");
    library.member("lastIndexOf", arguments, Type::Int, last_index_of);
    library.growing("lastIndexOf");
}

/// Looks at each item, as long as it is wanted, at a step each.
pub(super) fn each<'a>(
    list: &List<'a>,
    run: &mut Run<'_>,
    mut look: impl FnMut(Value<'a>, &mut Run<'_>) -> Result<bool, Fail>,
) -> Result<(), Fail> {
    for item in list.iter() {
        run.spend(1)?;
        if !look(item, run)? {
            break;
        }
    }
    Ok(())
}

/// How two values compare: an error where they do not, which is none of the ones that come of no order at all.
fn compare(
    one: &Value<'_>,
    other: &Value<'_>,
    run: &mut Run<'_>,
) -> Result<Option<Ordering>, Fail> {
    Ok(match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        (Value::String(one), Value::String(other)) => {
            run.scan(one.len().min(other.len()))?;
            Some(one.as_bytes().cmp(other.as_bytes()))
        }
        (Value::Bytes(one), Value::Bytes(other)) => {
            run.scan(one.len().min(other.len()))?;
            Some(one.cmp(other))
        }
        (Value::Duration(one), Value::Duration(other)) => Some(one.cmp(other)),
        (Value::Timestamp(one), Value::Timestamp(other)) => Some(one.cmp(other)),
        _ => one.compare_numbers(other),
    })
}

/// Whether there is any order among values of its type.
fn is_comparable(value: &Value<'_>) -> bool {
    matches!(
        value,
        Value::Bool(_)
            | Value::Int(_)
            | Value::Uint(_)
            | Value::Double(_)
            | Value::String(_)
            | Value::Bytes(_)
            | Value::Duration(_)
            | Value::Timestamp(_)
    )
}

/// Looks at each item of a list of comparable ones.
fn each_comparable<'a>(
    name: &str,
    run: &mut Run<'_>,
    arguments: &[Value<'a>],
    mut look: impl FnMut(Value<'a>, &mut Run<'_>) -> Result<bool, Fail>,
) -> Result<(), Fail> {
    let [Value::List(list)] = arguments else {
        return Err(show::no_such_overload(name, arguments));
    };
    let mut is_first = true;
    each(list, run, |item, run| {
        if !is_comparable(&item) {
            return Err(if is_first {
                show::no_such_overload(name, arguments)
            } else {
                Fail::no_such_overload()
            });
        }
        is_first = false;
        look(item, run)
    })
}

fn is_sorted<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let mut last: Option<Value<'a>> = None;
    let mut is_sorted = true;
    each_comparable("isSorted", run, arguments, |item, run| {
        if let Some(last) = &last {
            // Two that do not compare are as good as sorted: cel-go looks only for the greater before the lesser.
            is_sorted = compare(last, &item, run)? != Some(Ordering::Greater);
        }
        last = Some(item);
        Ok(is_sorted)
    })?;
    Ok(Value::Bool(is_sorted))
}

/// The item for which all later ones compare otherwise.
fn extreme<'a>(
    name: &'static str,
    replaced: Ordering,
    run: &mut Run<'_>,
    arguments: &[Value<'a>],
) -> Outcome<'a> {
    let mut found: Option<Value<'a>> = None;
    each_comparable(name, run, arguments, |item, run| {
        let is_replaced = match &found {
            Some(found) => compare(found, &item, run)? == Some(replaced),
            None => true,
        };
        if is_replaced {
            found = Some(item);
        }
        Ok(true)
    })?;
    found.ok_or_else(|| Fail::error(format!("{name} called on empty list")))
}

fn min<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    extreme("min", Ordering::Greater, run, arguments)
}

fn max<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    extreme("max", Ordering::Less, run, arguments)
}

fn sum_int<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    sum(Value::Int(0), run, arguments)
}

fn sum_uint<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    sum(Value::Uint(0), run, arguments)
}

fn sum_double<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    sum(Value::Double(0.0), run, arguments)
}

fn sum_duration<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    sum(Value::Duration(0), run, arguments)
}

/// What the items add up to; `of_none` if there are none.
fn sum<'a>(of_none: Value<'a>, run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::List(list)] = arguments else {
        return Err(show::no_such_overload("sum", arguments));
    };
    let mut total = match list.get(0) {
        None => return Ok(of_none),
        Some(Value::Int(_)) => Value::Int(0),
        Some(Value::Uint(_)) => Value::Uint(0),
        Some(Value::Double(_)) => Value::Double(0.0),
        Some(Value::Duration(_)) => Value::Duration(0),
        Some(_) => return Err(show::no_such_overload("sum", arguments)),
    };
    each(list, run, |item, _| {
        total = add(&total, &item)?;
        Ok(true)
    })?;
    Ok(total)
}

fn add(one: &Value<'_>, other: &Value<'_>) -> Result<Value<'static>, Fail> {
    let overflow = || Fail::error("integer overflow");
    Ok(match (one, other) {
        (Value::Int(one), Value::Int(other)) => {
            Value::Int(one.checked_add(*other).ok_or_else(overflow)?)
        }
        (Value::Uint(one), Value::Uint(other)) => Value::Uint(
            one.checked_add(*other)
                .ok_or_else(|| Fail::error("unsigned integer overflow"))?,
        ),
        (Value::Double(one), Value::Double(other)) => Value::Double(one + other),
        (Value::Duration(one), Value::Duration(other)) => {
            Value::Duration(one.checked_add(*other).ok_or_else(overflow)?)
        }
        // A moment after a span of time is a moment, even in a sum of spans.
        (Value::Timestamp(moment), Value::Duration(span))
        | (Value::Duration(span), Value::Timestamp(moment)) => {
            Value::Timestamp(later(*moment, *span)?)
        }
        _ => return Err(Fail::no_such_overload()),
    })
}

fn later(moment: Timestamp, span: i64) -> Result<Timestamp, Fail> {
    let nanoseconds = i64::from(moment.nanoseconds).saturating_add(span.rem_euclid(NANOSECONDS));
    let seconds = moment
        .seconds
        .saturating_add(span.div_euclid(NANOSECONDS))
        .saturating_add(nanoseconds.div_euclid(NANOSECONDS));
    if !SECONDS.contains(&seconds) {
        return Err(Fail::error("timestamp overflow"));
    }
    let nanoseconds = u32::try_from(nanoseconds.rem_euclid(NANOSECONDS)).unwrap_or_default();
    Ok(Timestamp {
        seconds,
        nanoseconds,
    })
}

fn index_of<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::List(list), sought] = arguments else {
        return Err(show::no_such_overload("indexOf", arguments));
    };
    find(list, 0..list.len(), sought, run)
}

fn last_index_of<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::List(list), sought] = arguments else {
        return Err(show::no_such_overload("lastIndexOf", arguments));
    };
    find(list, (0..list.len()).rev(), sought, run)
}

fn find<'a>(
    list: &List<'a>,
    places: impl Iterator<Item = usize>,
    sought: &Value<'a>,
    run: &mut Run<'_>,
) -> Outcome<'a> {
    for at in places {
        run.spend(1)?;
        if let Some(item) = list.get(at)
            && item.is_equal(sought, run)?
        {
            return Ok(Value::Int(i64::try_from(at).unwrap_or(i64::MAX)));
        }
    }
    Ok(Value::Int(-1))
}

/// The items at hand: those of an object are read once, for whoever goes through them again and again.
pub(super) fn at_hand<'v, 'a>(
    list: &'v List<'a>,
    run: &mut Run<'_>,
) -> Result<std::borrow::Cow<'v, [Value<'a>]>, Fail> {
    if let List::Made(items) = list {
        return Ok(std::borrow::Cow::Borrowed(items));
    }
    run.spend(as_steps(list.len()))?;
    run.allocate(list.len().saturating_mul(size_of::<Value<'_>>()))?;
    Ok(std::borrow::Cow::Owned(list.iter().collect()))
}

#[cfg(test)]
mod tests;
