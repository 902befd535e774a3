use super::*;
use crate::cel::functions::testing::{Outcome as Tried, call, error, texts_of};
use crate::cel::run::Limit;
use proptest::prelude::*;
use std::rc::Rc;

fn ints<'a>(items: &[i64]) -> Value<'a> {
    Value::list(items.iter().map(|item| Value::Int(*item)).collect())
}

fn doubles<'a>(items: &[f64]) -> Value<'a> {
    Value::list(items.iter().map(|item| Value::Double(*item)).collect())
}

fn moment<'a>(seconds: i64) -> Value<'a> {
    Value::Timestamp(Timestamp {
        seconds,
        nanoseconds: 0,
    })
}

fn mixed<'a>() -> Value<'a> {
    Value::list(vec![Value::Int(2), Value::Double(2.5), Value::Uint(1)])
}

fn on(function: Tried, list: &Value<'_>) -> String {
    call(function, std::slice::from_ref(list))
}

#[test]
fn is_sorted_finds_no_greater_before_a_lesser() {
    let rows = [
        (ints(&[]), "true"),
        (ints(&[1]), "true"),
        (ints(&[1, 2, 2]), "true"),
        (ints(&[2, 1]), "false"),
        (texts_of(&["a", "b", "é"]), "true"),
        (texts_of(&["b", "a"]), "false"),
        (doubles(&[1.0, f64::NAN, 0.0]), "true"),
        (mixed(), "false"),
        (
            Value::list(vec![Value::Bool(false), Value::Bool(true)]),
            "true",
        ),
        (
            Value::list(vec![Value::Int(1), Value::text("a"), Value::Int(0)]),
            "true",
        ),
        (Value::list(vec![moment(1), moment(0)]), "false"),
        (
            Value::list(vec![
                Value::Bytes(Rc::from(*b"a")),
                Value::Bytes(Rc::from(*b"ab")),
            ]),
            "true",
        ),
        (
            Value::list(vec![Value::Null]),
            "error: no such overload: isSorted(list)",
        ),
        (
            Value::list(vec![Value::Int(1), Value::Null]),
            "error: no such overload",
        ),
        (Value::Int(1), "error: no such overload: isSorted(int)"),
    ];
    for (list, expected) in rows {
        assert_eq!(on(is_sorted, &list), expected, "{list:?}");
    }
}

#[test]
fn min_and_max_compare_what_can_be_compared() {
    let rows = [
        (ints(&[3, 1, 2]), "1", "3"),
        (ints(&[1]), "1", "1"),
        (doubles(&[1.5, -0.5]), "-0.5", "1.5"),
        (doubles(&[f64::NAN, 1.0]), "NaN", "NaN"),
        (mixed(), "1u", "2.5"),
        (texts_of(&["b", "a", "c"]), "\"a\"", "\"c\""),
        (Value::list(vec![Value::Int(1), Value::text("a")]), "1", "1"),
        (
            Value::list(vec![Value::Duration(2), Value::Duration(1)]),
            "1ns",
            "2ns",
        ),
        (
            Value::list(vec![moment(2), moment(1)]),
            "1.000000000",
            "2.000000000",
        ),
        (
            ints(&[]),
            "error: min called on empty list",
            "error: max called on empty list",
        ),
        (
            Value::list(vec![Value::list(Vec::new())]),
            "error: no such overload: min(list)",
            "error: no such overload: max(list)",
        ),
        (
            Value::list(vec![Value::Int(1), Value::Type("int".into())]),
            "error: no such overload",
            "error: no such overload",
        ),
    ];
    for (list, least, greatest) in rows {
        assert_eq!(on(min, &list), least, "{list:?}");
        assert_eq!(on(max, &list), greatest, "{list:?}");
    }
}

#[test]
fn sum_adds_what_is_of_one_type() {
    let tree = serde_json::json!([[1, 2], [1.5, 2.5], ["a"], [1, 2.5]]);
    let spans =
        |items: &[i64]| Value::list(items.iter().map(|item| Value::Duration(*item)).collect());
    let rows = [
        (ints(&[1, 3]), "4"),
        (Value::list(vec![Value::Uint(1), Value::Uint(2)]), "3u"),
        (doubles(&[1.5, 3.0]), "4.5"),
        (doubles(&[-0.0]), "0.0"),
        (spans(&[1, 2]), "3ns"),
        (Value::of_tree(&tree[0]), "3"),
        (Value::of_tree(&tree[1]), "4.0"),
        (
            Value::of_tree(&tree[2]),
            "error: no such overload: sum(list)",
        ),
        (Value::of_tree(&tree[3]), "error: no such overload"),
        (ints(&[i64::MAX, 1]), "error: integer overflow"),
        (
            Value::list(vec![Value::Uint(u64::MAX), Value::Uint(1)]),
            "error: unsigned integer overflow",
        ),
        (spans(&[i64::MAX, 1]), "error: integer overflow"),
        (
            Value::list(vec![Value::Duration(-1), moment(10), Value::Duration(2)]),
            "10.000000001",
        ),
        (
            Value::list(vec![
                Value::Duration(1_000_000_000),
                moment(253_402_300_799),
            ]),
            "error: timestamp overflow",
        ),
    ];
    for (list, expected) in rows {
        assert_eq!(on(sum_int, &list), expected, "{list:?}");
    }
    // Where there is nothing, the declared type decides.
    let none = ints(&[]);
    assert_eq!(on(sum_int, &none), "0");
    assert_eq!(on(sum_uint, &none), "0u");
    assert_eq!(on(sum_double, &none), "0.0");
    assert_eq!(on(sum_duration, &none), "0ns");
}

#[test]
fn index_of_and_last_index_of_find_equals() {
    let nested = Value::list(vec![ints(&[1]), ints(&[2]), ints(&[1])]);
    let rows = [
        (ints(&[1, 2, 2, 3]), Value::Int(2), "1", "2"),
        (ints(&[1, 2]), Value::Double(2.0), "1", "1"),
        (ints(&[1, 2]), Value::Uint(3), "-1", "-1"),
        (ints(&[]), Value::Int(1), "-1", "-1"),
        (texts_of(&["a", "b", "a"]), Value::text("a"), "0", "2"),
        (ints(&[1]), Value::text("a"), "-1", "-1"),
        (nested, ints(&[1]), "0", "2"),
        (doubles(&[f64::NAN]), Value::Double(f64::NAN), "-1", "-1"),
        (
            Value::list(vec![Value::Null, Value::Null]),
            Value::Null,
            "0",
            "1",
        ),
    ];
    for (list, sought, first, last) in rows {
        let arguments = [list, sought];
        assert_eq!(call(index_of, &arguments), first, "{arguments:?}");
        assert_eq!(call(last_index_of, &arguments), last, "{arguments:?}");
    }
    assert_eq!(
        call(index_of, &[Value::Int(1), Value::Null]),
        error("no such overload: indexOf(int, null_type)")
    );
}

#[test]
fn each_item_is_paid_for() {
    let mut run = Run::new(None, &[]);
    let many = ints(&vec![0; 600_000]);
    assert!(sum_int(&mut run, std::slice::from_ref(&many)).is_ok());
    let outcome = sum_int(&mut run, &[many]).err();
    assert_eq!(outcome, Some(Fail::Stopped(Limit::Steps)));
}

proptest! {
    /// As the standard library of Rust knows it.
    #[test]
    fn ints_are_ordered_and_added(items in prop::collection::vec(-5_i64..5, 1..8)) {
        let list = ints(&items);
        prop_assert_eq!(on(is_sorted, &list), items.is_sorted().to_string());
        prop_assert_eq!(on(min, &list), items.iter().min().unwrap().to_string());
        prop_assert_eq!(on(max, &list), items.iter().max().unwrap().to_string());
        prop_assert_eq!(on(sum_int, &list), items.iter().sum::<i64>().to_string());
    }
}
