//! The functions of optionals. That `or` and `orValue` do not look at their second operand when they need not is the
//! evaluator's part: what stands here is called when both are known.

use super::lists::each;
use super::show;
use crate::cel::library::Library;
use crate::cel::run::{Fail, Run};
use crate::cel::types::Type;
use crate::cel::value::{Timestamp, Value};

/// A function on values.
type Outcome<'a> = Result<Value<'a>, Fail>;

/// 0001-01-01T00:00:00Z, which is what Go calls the zero of its moments.
const ZERO_MOMENT: Timestamp = Timestamp {
    seconds: -62_135_596_800,
    nanoseconds: 0,
};

/// Declares them.
pub fn declare(library: &mut Library) {
    let value_type = || Type::Param("V");
    let optional = || Type::optional(value_type());
    let list = || Type::list(value_type());
    let optionals = || Type::list(optional());
    library.global("optional.none", &[], optional(), none);
    library.global("optional.of", &[value_type()], optional(), of);
    library.global(
        "optional.ofNonZeroValue",
        &[value_type()],
        optional(),
        of_non_zero,
    );
    library.member("hasValue", &[optional()], Type::Bool, has_value);
    library.member("value", &[optional()], value_type(), value);
    library.member("or", &[optional(), optional()], optional(), or);
    library.member(
        "orValue",
        &[optional(), value_type()],
        value_type(),
        or_value,
    );
    library.member("first", &[list()], optional(), first);
    library.member("last", &[list()], optional(), last);
    library.global("optional.unwrap", &[optionals()], list(), unwrap);
    library.growing("optional.unwrap");
    library.member("unwrapOpt", &[optionals()], list(), unwrap_opt);
    library.growing("unwrapOpt");
}

/// What an optional takes.
fn some<'a>(value: Value<'a>, run: &mut Run<'_>) -> Outcome<'a> {
    run.allocate(size_of::<Value<'_>>())?;
    Ok(value.some())
}

// A function as the library takes it may fail, even if this one never does.
#[allow(clippy::unnecessary_wraps)]
fn none<'a>(_: &mut Run<'_>, _: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::Optional(None))
}

fn of<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [value] = arguments else {
        return Err(Fail::no_such_overload());
    };
    some(value.clone(), run)
}

fn of_non_zero<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [value] = arguments else {
        return Err(Fail::no_such_overload());
    };
    let is_zero = match value {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::Int(whole) => *whole == 0,
        Value::Uint(whole) => *whole == 0,
        Value::Double(double) => *double == 0.0,
        Value::String(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Duration(span) => *span == 0,
        Value::Timestamp(moment) => *moment == ZERO_MOMENT,
        // Nothing else has a zero, not even an optional.
        _ => false,
    };
    if is_zero {
        return Ok(Value::Optional(None));
    }
    some(value.clone(), run)
}

fn has_value<'a>(_: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::Optional(inner)] = arguments else {
        return Err(show::no_such_overload("hasValue", arguments));
    };
    Ok(Value::Bool(inner.is_some()))
}

fn value<'a>(_: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::Optional(inner)] = arguments else {
        return Err(show::no_such_overload("value", arguments));
    };
    match inner {
        Some(inner) => Ok(Value::clone(inner)),
        None => Err(Fail::error("optional.none() dereference")),
    }
}

// cel-go looks at nothing but whether the first operand is an empty optional, so what a `dyn` brings is given on.

fn or<'a>(_: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [first, second] = arguments else {
        return Err(Fail::no_such_overload());
    };
    Ok(match first {
        Value::Optional(None) => second.clone(),
        _ => first.clone(),
    })
}

fn or_value<'a>(_: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [first, second] = arguments else {
        return Err(Fail::no_such_overload());
    };
    Ok(match first {
        Value::Optional(None) => second.clone(),
        Value::Optional(Some(inner)) => Value::clone(inner),
        _ => first.clone(),
    })
}

fn first<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::List(list)] = arguments else {
        return Err(show::no_such_overload("first", arguments));
    };
    list.get(0)
        .map_or(Ok(Value::Optional(None)), |item| some(item, run))
}

fn last<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::List(list)] = arguments else {
        return Err(show::no_such_overload("last", arguments));
    };
    let at = list.len().checked_sub(1);
    let item = at.and_then(|at| list.get(at));
    item.map_or(Ok(Value::Optional(None)), |item| some(item, run))
}

fn unwrap<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    present("optional.unwrap", run, arguments)
}

fn unwrap_opt<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    present("unwrapOpt", run, arguments)
}

/// The values that are there, of a list of optionals.
fn present<'a>(name: &str, run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::List(list)] = arguments else {
        return Err(show::no_such_overload(name, arguments));
    };
    let mut is_first = true;
    let mut values = Vec::new();
    each(list, run, |item, run| {
        let Value::Optional(inner) = &item else {
            // The first item decides whether the list counts as one of optionals.
            return Err(if is_first {
                show::no_such_overload(name, arguments)
            } else {
                Fail::error(format!("value {} is not optional", show::text(&item, run)?))
            });
        };
        is_first = false;
        if let Some(inner) = inner {
            run.allocate(size_of::<Value<'_>>())?;
            values.push(Value::clone(inner));
        }
        Ok(true)
    })?;
    Ok(Value::list(values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::functions::testing::{call, error, texts_of};
    use std::rc::Rc;

    fn nothing<'a>() -> Value<'a> {
        Value::Optional(None)
    }

    fn one<'a>() -> Value<'a> {
        Value::Int(1).some()
    }

    #[test]
    fn zero_values_make_no_optional_of_their_own() {
        let moment = |seconds| {
            Value::Timestamp(Timestamp {
                seconds,
                nanoseconds: 0,
            })
        };
        for zero in [
            Value::Null,
            Value::Bool(false),
            Value::Int(0),
            Value::Uint(0),
            Value::Double(-0.0),
            Value::text(""),
            Value::Bytes(Rc::from([])),
            Value::list(Vec::new()),
            Value::map(Vec::new()),
            Value::Duration(0),
            moment(-62_135_596_800),
        ] {
            assert_eq!(call(of_non_zero, std::slice::from_ref(&zero)), "none");
            assert!(call(of, &[zero]).starts_with("some("));
        }
        for other in [
            Value::Bool(true),
            Value::Int(-1),
            Value::Double(f64::NAN),
            Value::text(" "),
            Value::list(vec![Value::Null]),
            moment(0),
            nothing(),
            Value::Type("int".into()),
        ] {
            assert!(call(of_non_zero, &[other]).starts_with("some("));
        }
        assert_eq!(call(none, &[]), "none");
    }

    #[test]
    fn values_are_taken_out_or_replaced() {
        assert_eq!(call(has_value, &[one()]), "true");
        assert_eq!(call(has_value, &[nothing()]), "false");
        assert_eq!(call(has_value, &[nothing().some()]), "true");
        assert_eq!(
            call(has_value, &[Value::Int(1)]),
            error("no such overload: hasValue(int)")
        );
        assert_eq!(call(value, &[one()]), "1");
        assert_eq!(call(value, &[nothing().some()]), "none");
        assert_eq!(
            call(value, &[nothing()]),
            error("optional.none() dereference")
        );
        assert_eq!(
            call(value, &[Value::Null]),
            error("no such overload: value(null_type)")
        );
        let rows = [
            (one(), Value::Int(2).some(), "some(1)", "1"),
            (nothing(), Value::Int(2).some(), "some(2)", "some(2)"),
            (nothing(), nothing(), "none", "none"),
            (nothing(), Value::Null, "null", "null"),
            (nothing().some(), one(), "some(none)", "none"),
            // What no checker has seen is given on.
            (Value::Int(3), one(), "3", "3"),
        ];
        for (first, second, either, inner) in rows {
            let arguments = [first, second];
            assert_eq!(call(or, &arguments), either, "{arguments:?}");
            assert_eq!(call(or_value, &arguments), inner, "{arguments:?}");
        }
    }

    #[test]
    fn lists_have_a_first_and_a_last_item_perhaps() {
        let tree = serde_json::json!(["x", "y"]);
        let rows = [
            (Value::list(Vec::new()), "none", "none"),
            (texts_of(&["a"]), "some(\"a\")", "some(\"a\")"),
            (texts_of(&["a", "b"]), "some(\"a\")", "some(\"b\")"),
            (Value::of_tree(&tree), "some(\"x\")", "some(\"y\")"),
            (
                Value::list(vec![Value::Null, one()]),
                "some(null)",
                "some(some(1))",
            ),
        ];
        for (list, start, end) in rows {
            assert_eq!(call(first, std::slice::from_ref(&list)), start);
            assert_eq!(call(last, &[list]), end);
        }
        assert_eq!(
            call(first, &[Value::text("a")]),
            error("no such overload: first(string)")
        );
    }

    #[test]
    fn unwrapping_keeps_what_is_there() {
        let rows = [
            (vec![], "[]"),
            (vec![nothing()], "[]"),
            (vec![one()], "[1]"),
            (
                vec![nothing(), one(), nothing(), Value::text("a").some()],
                "[1, \"a\"]",
            ),
            (vec![nothing().some()], "[none]"),
            (vec![one(), Value::Int(1)], "error: value 1 is not optional"),
            (
                vec![one(), Value::map(Vec::new())],
                "error: value {} is not optional",
            ),
            (vec![one(), Value::Null], "error: value 0 is not optional"),
        ];
        for (items, expected) in rows {
            let arguments = [Value::list(items)];
            assert_eq!(call(unwrap, &arguments), expected);
            assert_eq!(call(unwrap_opt, &arguments), expected);
        }
        let arguments = [Value::list(vec![Value::Int(1)])];
        assert_eq!(
            call(unwrap, &arguments),
            error("no such overload: optional.unwrap(list)")
        );
        assert_eq!(
            call(unwrap_opt, &arguments),
            error("no such overload: unwrapOpt(list)")
        );
    }
}
