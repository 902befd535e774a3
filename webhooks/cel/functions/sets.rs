//! cel-go's `sets` extension: lists as sets.

use super::lists::at_hand;
use super::show;
use crate::cel::library::Library;
use crate::cel::run::{Fail, Run};
use crate::cel::types::Type;
use crate::cel::value::Value;
use std::borrow::Cow;

/// A function on values.
type Outcome<'a> = Result<Value<'a>, Fail>;

/// Two lists at hand.
type Both<'v, 'a> = (Cow<'v, [Value<'a>]>, Cow<'v, [Value<'a>]>);

/// Declares them.
pub fn declare(library: &mut Library) {
    let list = Type::list(Type::Param("T"));
    let both = &[list.clone(), list];
    let mut global = |name, call| {
        library.global(name, both, Type::Bool, call);
        library.growing(name);
    };
    global("sets.contains", contains);
    global("sets.equivalent", equivalent);
    global("sets.intersects", intersects);
}

fn both<'v, 'a>(
    name: &str,
    run: &mut Run<'_>,
    arguments: &'v [Value<'a>],
) -> Result<Both<'v, 'a>, Fail> {
    let [Value::List(one), Value::List(other)] = arguments else {
        return Err(show::no_such_overload(name, arguments));
    };
    Ok((at_hand(one, run)?, at_hand(other, run)?))
}

fn has(items: &[Value<'_>], sought: &Value<'_>, run: &mut Run<'_>) -> Result<bool, Fail> {
    for item in items {
        if sought.is_equal(item, run)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_all(items: &[Value<'_>], sought: &[Value<'_>], run: &mut Run<'_>) -> Result<bool, Fail> {
    for sought in sought {
        if !has(items, sought, run)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn contains<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (list, part) = both("sets.contains", run, arguments)?;
    Ok(Value::Bool(has_all(&list, &part, run)?))
}

fn equivalent<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (one, other) = both("sets.equivalent", run, arguments)?;
    let are_same = has_all(&one, &other, run)? && has_all(&other, &one, run)?;
    Ok(Value::Bool(are_same))
}

fn intersects<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (one, other) = both("sets.intersects", run, arguments)?;
    for item in one.iter() {
        if has(&other, item, run)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::functions::testing::{call, error, texts_of};
    use crate::cel::run::Limit;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn ints<'a>(items: &[i64]) -> Value<'a> {
        Value::list(items.iter().map(|item| Value::Int(*item)).collect())
    }

    #[test]
    fn sets_are_compared_by_what_they_hold() {
        let tree = serde_json::json!([1, 2, "a", {"k": null}]);
        let double = |item| Value::list(vec![Value::Double(item)]);
        let rows = [
            (ints(&[]), ints(&[]), true, true, false),
            (ints(&[1]), ints(&[]), true, false, false),
            (ints(&[]), ints(&[1]), false, false, false),
            (ints(&[1, 2]), ints(&[2, 1, 1]), true, true, true),
            (ints(&[1, 2]), ints(&[2, 3]), false, false, true),
            (ints(&[1]), double(1.0), true, true, true),
            (ints(&[1]), texts_of(&["1"]), false, false, false),
            (double(f64::NAN), double(f64::NAN), false, false, false),
            (Value::of_tree(&tree), double(2.0), true, false, true),
            (
                Value::of_tree(&tree),
                Value::of_tree(&tree),
                true,
                true,
                true,
            ),
            (
                Value::list(vec![ints(&[1])]),
                Value::list(vec![double(1.0)]),
                true,
                true,
                true,
            ),
        ];
        for (one, other, has, is_same, meets) in rows {
            let arguments = [one, other];
            assert_eq!(call(contains, &arguments), has.to_string(), "{arguments:?}");
            assert_eq!(
                call(equivalent, &arguments),
                is_same.to_string(),
                "{arguments:?}"
            );
            assert_eq!(
                call(intersects, &arguments),
                meets.to_string(),
                "{arguments:?}"
            );
        }
        assert_eq!(
            call(contains, &[Value::Int(1), ints(&[])]),
            error("no such overload: sets.contains(int, list)")
        );
    }

    #[test]
    fn every_comparison_is_paid_for() {
        let (one, other) = (ints(&vec![1; 1_500]), ints(&vec![2; 1_500]));
        let outcome = intersects(&mut Run::new(None, &[]), &[one, other]).err();
        assert_eq!(outcome, Some(Fail::Stopped(Limit::Steps)));
    }

    proptest! {
        #[test]
        fn they_are_like_sets_of_rust(
            one in prop::collection::vec(0_i64..6, 0..6),
            other in prop::collection::vec(0_i64..6, 0..6),
        ) {
            let arguments = [ints(&one), ints(&other)];
            let one: BTreeSet<i64> = one.into_iter().collect();
            let other: BTreeSet<i64> = other.into_iter().collect();
            prop_assert_eq!(call(contains, &arguments), one.is_superset(&other).to_string());
            prop_assert_eq!(call(equivalent, &arguments), (one == other).to_string());
            prop_assert_eq!(call(intersects, &arguments), (!one.is_disjoint(&other)).to_string());
        }
    }
}
