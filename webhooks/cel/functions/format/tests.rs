use super::*;
use crate::cel::functions::testing::{call, error};
use crate::cel::run::Limit;
use crate::cel::value::Timestamp;
use proptest::prelude::*;
use std::rc::Rc;

fn of(text: &str, values: Vec<Value<'_>>) -> String {
    let mut run = Run::new(None, &[]);
    match format(&mut run, &[Value::text(text), Value::list(values)]) {
        Ok(Value::String(text)) => text.to_string(),
        Ok(other) => format!("{other:?}"),
        Err(fail) => error(&fail.to_string()),
    }
}

fn double(text: &str, double: f64) -> String {
    of(text, vec![Value::Double(double)])
}

fn one(value: Value<'_>) -> String {
    of("%s", vec![value])
}

fn inner(value: Value<'_>) -> String {
    one(Value::list(vec![value]))
}

#[test]
fn strings_show_any_value() {
    let moment = Timestamp {
        seconds: 1_582_934_400,
        nanoseconds: 500_000_000,
    };
    let rows = [
        (Value::Null, "null", "[null]"),
        (Value::Bool(true), "true", "[true]"),
        (Value::Int(-3), "-3", "[-3]"),
        (Value::Uint(3), "3", "[3]"),
        (Value::Double(1.5), "1.5", "[1.500000]"),
        (Value::Double(1e6), "1e+06", "[1000000.000000]"),
        (Value::Double(1e-5), "1e-05", "[0.000010]"),
        (Value::Double(-0.0), "-0", "[-0.000000]"),
        (Value::Double(f64::NAN), "NaN", "[\"NaN\"]"),
        (Value::Double(f64::INFINITY), "+Inf", "[\"+Inf\"]"),
        (Value::Double(f64::NEG_INFINITY), "-Inf", "[\"-Inf\"]"),
        (
            Value::text("q\"é\u{301}\u{200b}\n\u{7}\u{1}\u{e0001}"),
            "q\"é\u{301}\u{200b}\n\u{7}\u{1}\u{e0001}",
            "[\"q\\\"é\u{301}\\u200b\\n\\a\\x01\\U000e0001\"]",
        ),
        (Value::Bytes(Rc::from("€".as_bytes())), "€", "[b\"€\"]"),
        (
            Value::Duration(-1_000_000_001),
            "-1.000000001s",
            "[duration(\"-1.000000001s\")]",
        ),
        (
            Value::Timestamp(moment),
            "2020-02-29T00:00:00.5Z",
            "[timestamp(\"2020-02-29T00:00:00.5Z\")]",
        ),
        (Value::Type("int".into()), "int", "[int]"),
        (Value::list(Vec::new()), "[]", "[[]]"),
        (
            Value::map(vec![
                (Value::Int(2), Value::text("x")),
                (
                    Value::Int(10),
                    Value::list(vec![Value::Null, Value::Int(1)]),
                ),
            ]),
            "{10:[null, 1], 2:\"x\"}",
            "[{10:[null, 1], 2:\"x\"}]",
        ),
        (
            Value::map(vec![
                (Value::text("b"), Value::Int(1)),
                (Value::text("a"), Value::map(Vec::new())),
                (Value::Bool(true), Value::Int(2)),
            ]),
            "{\"a\":{}, \"b\":1, true:2}",
            "[{\"a\":{}, \"b\":1, true:2}]",
        ),
    ];
    for (value, alone, in_list) in rows {
        assert_eq!(one(value.clone()), alone);
        assert_eq!(inner(value), in_list);
    }
    let tree = serde_json::json!({"b": [1, 2.5, null], "a": {"c": "d"}});
    assert_eq!(
        one(Value::of_tree(&tree)),
        "{\"a\":{\"c\":\"d\"}, \"b\":[1, 2.500000, null]}"
    );
}

#[test]
fn strings_refuse_what_has_no_text() {
    let refused = "error: error during formatting: string clause can only be used on strings, bools, bytes, ints, \
                   doubles, maps, lists, types, durations, and timestamps, was given optional_type";
    assert_eq!(one(Value::Optional(None)), refused);
    assert_eq!(
        inner(Value::Optional(None)),
        "error: error during formatting: no formatting function for optional_type"
    );
    let unreadable = "error: error during formatting: could not convert argument \"invalid UTF-8 in bytes, cannot \
                      convert to string\" to string";
    assert_eq!(one(Value::Bytes(Rc::from([0xFF]))), unreadable);
    assert_eq!(inner(Value::Bytes(Rc::from([0xFF]))), unreadable);
    assert_eq!(
        one(Value::map(vec![(Value::Double(1.5), Value::Null)])),
        "error: error during formatting: no formatting function for map key of type double"
    );
}

#[test]
fn whole_numbers_have_five_bases() {
    let rows = [
        (Value::Int(255), "255", "11111111", "377", "ff", "FF"),
        (Value::Int(-255), "-255", "-11111111", "-377", "-ff", "-FF"),
        (Value::Int(0), "0", "0", "0", "0", "0"),
        (Value::Uint(10), "10", "1010", "12", "a", "A"),
        (
            Value::Int(i64::MIN),
            "-9223372036854775808",
            &("-1".to_owned() + &"0".repeat(63)),
            "-1000000000000000000000",
            "-8000000000000000",
            "-8000000000000000",
        ),
        (
            Value::Uint(u64::MAX),
            "18446744073709551615",
            &"1".repeat(64),
            "1777777777777777777777",
            "ffffffffffffffff",
            "FFFFFFFFFFFFFFFF",
        ),
    ];
    for (value, decimal, binary, octal, lower, upper) in rows {
        assert_eq!(of("%d", vec![value.clone()]), decimal);
        assert_eq!(of("%b", vec![value.clone()]), binary);
        assert_eq!(of("%o", vec![value.clone()]), octal);
        assert_eq!(of("%x", vec![value.clone()]), lower);
        assert_eq!(of("%X", vec![value]), upper);
    }
    assert_eq!(of("%b", vec![Value::Bool(true)]), "1");
    assert_eq!(of("%x", vec![Value::text("aÿ")]), "61c3bf");
    assert_eq!(of("%X", vec![Value::Bytes(Rc::from([0xAB, 1]))]), "AB01");
}

#[test]
fn each_clause_says_what_it_takes() {
    let rows = [
        (
            "%d",
            "decimal clause can only be used on integers, was given double",
        ),
        (
            "%o",
            "octal clause can only be used on integers, was given double",
        ),
        (
            "%b",
            "only integers and bools can be formatted as binary, was given double",
        ),
        (
            "%x",
            "only integers, byte buffers, and strings can be formatted as hex, was given double",
        ),
        (
            "%X",
            "only integers, byte buffers, and strings can be formatted as hex, was given double",
        ),
    ];
    for (text, expected) in rows {
        let expected = error(&format!("error during formatting: {expected}"));
        assert_eq!(double(text, 1.0), expected);
    }
    for (text, clause) in [("%f", "fixed-point"), ("%.2e", "scientific")] {
        for (value, name) in [(Value::Int(1), "int"), (Value::text("nan"), "string")] {
            let expected = error(&format!(
                "error during formatting: {clause} clause can only be used on doubles, was given {name}"
            ));
            assert_eq!(of(text, vec![value]), expected);
        }
    }
}

#[test]
fn fixed_numbers_are_grouped_and_rounded_to_even() {
    let rows = [
        ("%f", 1_234_567.891, "1,234,567.891000"),
        ("%f", -1_234_567.0, "-1,234,567.000000"),
        ("%f", 123.0, "123.000000"),
        ("%f", -0.0, "0.000000"),
        ("%f", -1e-9, "-0.000000"),
        ("%.0f", 2.5, "2"),
        ("%.0f", 3.5, "4"),
        ("%.0f", 999_999.5, "1,000,000"),
        ("%.1f", 0.25, "0.2"),
        ("%.2f", 2.675, "2.67"),
        ("%.20f", 0.1, "0.10000000000000000555"),
        ("%f", f64::NAN, "NaN"),
        ("%f", f64::INFINITY, "∞"),
        ("%f", f64::NEG_INFINITY, "-∞"),
        // The precision overflows where it is held.
        ("%.256f", 0.5, "0.5"),
        ("%.32768f", 0.1, "0.1"),
        ("%.33024f", 1234.1, "1,234.1"),
        ("%.65536f", 0.1, "0"),
        ("%.65537f", 0.15, "0.1"),
        ("%.007f", 1.0, "1.0000000"),
        ("%.10000010f", 0.1, "%!(NOVERB)"),
    ];
    for (text, number, expected) in rows {
        assert_eq!(double(text, number), expected, "{text} of {number}");
    }
    assert_eq!(double("%.255f", 0.5).len(), 257);
    assert_eq!(double("%.32767f", 0.1).len(), 257);
    for (text, expected) in [("NaN", "NaN"), ("Infinity", "∞"), ("-Infinity", "-∞")] {
        assert_eq!(of("%f", vec![Value::text(text)]), expected);
    }
}

#[test]
fn scientific_numbers_have_six_places_and_a_width() {
    let rows = [
        ("%e", 1052.0329, "1.052033×10⁰³"),
        ("%.3e", 1234.5, "1.234500×10⁰³"),
        ("%.0e", 1234.5, "1.234500×10⁰³"),
        ("%.1e", 1.2345e-4, "1.234500×10⁻⁰⁴"),
        ("%e", -1e100, "-1.000000×10¹⁰⁰"),
        ("%e", 0.0, "0.000000×10⁰⁰"),
        ("%e", 9.999_999_9, "1.000000×10⁰¹"),
        ("%e", 5e-324, "4.940656×10⁻³²⁴"),
        ("%.15e", 1.5, "  1.500000×10⁰⁰"),
        ("%e", f64::NEG_INFINITY, "    -∞"),
        ("%.5e", f64::NAN, "  NaN"),
        ("%.65538e", f64::INFINITY, " ∞"),
        ("%.10000010e", 1.0, "%!(NOVERB)"),
    ];
    for (text, number, expected) in rows {
        assert_eq!(double(text, number), expected, "{text} of {number}");
    }
}

#[test]
fn formats_are_read_as_they_come() {
    let rows = [
        ("", vec![], ""),
        ("日%%本", vec![], "日%本"),
        ("%%%d", vec![Value::Int(3)], "%3"),
        (
            "%d-%s-%d",
            vec![Value::Int(1), Value::text("é"), Value::Int(2)],
            "1-é-2",
        ),
        ("%d", vec![Value::Int(1), Value::Int(2)], "1"),
        (
            "%.3s|%.1d",
            vec![Value::text("abcdef"), Value::Int(7)],
            "abcdef|7",
        ),
        ("%d %d", vec![Value::Int(1)], "error: index 1 out of range"),
        ("%", vec![], "error: index 0 out of range"),
        ("%", vec![Value::Int(1)], "error: unexpected end of string"),
        (
            "%c",
            vec![Value::Int(1)],
            "error: could not parse formatting clause: unrecognized formatting clause \"c\"",
        ),
        (
            "%é",
            vec![Value::Int(1)],
            "error: could not parse formatting clause: unrecognized formatting clause \"Ã\"",
        ),
        (
            "%.3",
            vec![Value::Int(1)],
            "error: could not parse formatting clause: error while parsing precision: could not find end of \
             precision specifier",
        ),
        (
            "%.f",
            vec![Value::Double(1.0)],
            "error: could not parse formatting clause: error while parsing precision: error while converting \
             precision to integer: strconv.Atoi: parsing \"\": invalid syntax",
        ),
        (
            "%.9223372036854775808f",
            vec![Value::Double(1.0)],
            "error: could not parse formatting clause: error while parsing precision: error while converting \
             precision to integer: strconv.Atoi: parsing \"9223372036854775808\": value out of range",
        ),
    ];
    for (text, values, expected) in rows {
        assert_eq!(of(text, values), expected, "{text}");
    }
    assert_eq!(
        call(format, &[Value::text("%s"), Value::Int(1)]),
        error("no such overload: format(string, int)")
    );
}

#[test]
fn types_are_checked_before_anything_runs() {
    let check = |text: &str, types: &[Type]| {
        let taken = parts(text, types.len(), |part| match part {
            Part::Text(_) => Ok(()),
            Part::Clause(clause, at) => clause.check(&types[at]),
        });
        taken.map_or_else(|fail| fail.to_string(), |taken| taken.to_string())
    };
    let rows: [(&str, &[Type], &str); 9] = [
        ("%s %d", &[Type::String, Type::Int], "2"),
        ("%s", &[Type::String, Type::Int], "1"),
        ("%s", &[Type::list(Type::Bool)], "1"),
        ("%d", &[Type::Dyn], "1"),
        ("%f", &[Type::String], "1"),
        (
            "%d",
            &[Type::list(Type::Int)],
            "error during formatting: decimal clause can only be used on integers, was given list",
        ),
        (
            "%b",
            &[Type::Null],
            "error during formatting: only integers and bools can be formatted as binary, was given null_type",
        ),
        (
            "%e",
            &[Type::optional(Type::Int)],
            "error during formatting: scientific clause can only be used on doubles, was given optional_type",
        ),
        ("%s %s", &[Type::Int], "index 1 out of range"),
    ];
    for (text, types, expected) in rows {
        assert_eq!(check(text, types), expected, "{text}");
    }
}

#[test]
fn what_would_be_too_large_is_not_made() {
    let text = "%.65535e".repeat(200);
    let values = Value::list(vec![Value::Double(1.0); 200]);
    let outcome = format(&mut Run::new(None, &[]), &[Value::text(text), values]).err();
    assert_eq!(outcome, Some(Fail::Stopped(Limit::Bytes)));
    let mut deep = Value::Null;
    for _ in 0..1000 {
        deep = Value::list(vec![deep]);
    }
    assert_eq!(
        one(deep),
        "error: the value is nested too deeply to be printed"
    );
}

proptest! {
    /// What `%f` prints is the number again, once the separators are gone.
    #[test]
    fn fixed_numbers_can_be_read_again(whole in -1_000_000_000_i64..1_000_000_000, places in 0_i32..6) {
        #[allow(clippy::cast_precision_loss)]
        let number = whole as f64 / 10_f64.powi(places);
        let text = double("%.6f", number).replace(',', "");
        prop_assert_eq!(text.parse::<f64>().unwrap().total_cmp(&(number + 0.0)), std::cmp::Ordering::Equal);
    }
}
