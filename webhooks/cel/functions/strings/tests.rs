use super::*;
use crate::cel::functions::testing::{Outcome as Tried, call, error, list, texts_of};
use crate::cel::run::Limit;
use crate::cel::value::{List, Map};
use proptest::prelude::*;

fn string<'a>(text: &str) -> Value<'a> {
    Value::text(text)
}

/// One text and numbers.
fn at(function: Tried, text: &str, numbers: &[i64]) -> String {
    let mut arguments = vec![string(text)];
    arguments.extend(numbers.iter().map(|number| Value::Int(*number)));
    call(function, &arguments)
}

/// Texts, and perhaps a number.
fn of(function: Tried, texts: &[&str], number: Option<i64>) -> String {
    let mut arguments: Vec<Value<'_>> = texts.iter().map(|text| string(text)).collect();
    arguments.extend(number.map(Value::Int));
    call(function, &arguments)
}

#[test]
fn size_counts_code_points_bytes_items_and_members() {
    let tree = serde_json::json!({"a": [1, 2, 3], "b": null});
    let rows = [
        (string(""), 0),
        (string("abc"), 3),
        (string("é日😀"), 3),
        (string("e\u{301}"), 2),
        (Value::Bytes(Rc::from("é".as_bytes())), 2),
        (Value::list(Vec::new()), 0),
        (Value::list(vec![Value::Null, Value::Null]), 2),
        (Value::map(vec![(Value::Int(1), Value::Null)]), 1),
        (Value::of_tree(&tree), 2),
        (Value::of_tree(&tree["a"]), 3),
    ];
    for (value, expected) in rows {
        assert_eq!(
            call(size, std::slice::from_ref(&value)),
            expected.to_string(),
            "{value:?}"
        );
    }
    assert_eq!(call(size, &[Value::Int(1)]), error("no such overload"));
}

#[test]
fn contains_starts_with_and_ends_with_compare_texts() {
    let rows = [
        ("", "", true, true, true),
        ("abc", "", true, true, true),
        ("abc", "a", true, true, false),
        ("abc", "b", true, false, false),
        ("abc", "c", true, false, true),
        ("abc", "abc", true, true, true),
        ("abc", "abcd", false, false, false),
        ("日本語", "語", true, false, true),
        ("ABC", "a", false, false, false),
    ];
    for (text, sought, has, starts, ends) in rows {
        assert_eq!(of(contains, &[text, sought], None), has.to_string());
        assert_eq!(of(starts_with, &[text, sought], None), starts.to_string());
        assert_eq!(of(ends_with, &[text, sought], None), ends.to_string());
    }
    for function in [contains as Tried, starts_with, ends_with] {
        let outcome = call(function, &[string("a"), Value::Null]);
        assert_eq!(outcome, error("no such overload"));
    }
}

#[test]
fn char_at_gives_a_code_point() {
    let rows = [
        ("abc", 0, "\"a\""),
        ("abc", 2, "\"c\""),
        ("abc", 3, "\"\""),
        ("", 0, "\"\""),
        ("é日😀", 0, "\"é\""),
        ("é日😀", 2, "\"😀\""),
        ("é日😀", 3, "\"\""),
        ("abc", 4, "error: index out of range: 4"),
        ("abc", -1, "error: index out of range: -1"),
        (
            "",
            i64::MIN,
            "error: index out of range: -9223372036854775808",
        ),
    ];
    for (text, index, expected) in rows {
        assert_eq!(at(char_at, text, &[index]), expected, "{text} at {index}");
    }
}

#[test]
fn index_of_and_last_index_of_count_code_points() {
    let rows: [(&str, &str, Option<i64>, &str, &str); 17] = [
        ("abcb", "b", None, "1", "3"),
        ("abcb", "x", None, "-1", "-1"),
        ("abcb", "", None, "0", "4"),
        ("", "", None, "0", "0"),
        ("", "a", None, "-1", "-1"),
        ("日本日", "日", None, "0", "2"),
        ("aaaa", "aa", None, "0", "2"),
        ("abcb", "b", Some(2), "3", "1"),
        ("abcb", "b", Some(0), "1", "-1"),
        ("abcb", "b", Some(4), "-1", "-1"),
        ("abcb", "b", Some(3), "3", "3"),
        ("abcb", "cb", Some(3), "-1", "2"),
        ("日本日", "日", Some(1), "2", "0"),
        ("ab", "abc", Some(1), "-1", "-1"),
        // Nothing is found wherever one looks.
        ("abc", "", Some(17), "17", "17"),
        ("abc", "", Some(-4), "-4", "-4"),
        (
            "abc",
            "c",
            Some(-1),
            "error: index out of range: -1",
            "error: index out of range: -1",
        ),
    ];
    for (text, sought, from, first, last) in rows {
        assert_eq!(
            of(index_of, &[text, sought], from),
            first,
            "{text} {sought} {from:?}"
        );
        assert_eq!(
            of(last_index_of, &[text, sought], from),
            last,
            "{text} {sought} {from:?}"
        );
    }
}

#[test]
fn case_changes_in_ascii_alone() {
    let rows = [
        ("", "", ""),
        ("abc", "abc", "ABC"),
        ("ABC", "abc", "ABC"),
        ("TacoCat", "tacocat", "TACOCAT"),
        ("TacoCÆt Xii", "tacocÆt xii", "TACOCÆT XII"),
        ("é", "é", "é"),
        ("a1_-Z", "a1_-z", "A1_-Z"),
        ("İıſK", "İıſk", "İıſK"),
    ];
    for (text, lower, upper) in rows {
        assert_eq!(of(lower_ascii, &[text], None), format!("{lower:?}"));
        assert_eq!(of(upper_ascii, &[text], None), format!("{upper:?}"));
    }
}

#[test]
fn trim_takes_white_space_of_unicode() {
    let rows = [
        ("", ""),
        (" ", ""),
        ("a", "a"),
        ("  a b\t\n", "a b"),
        ("\u{b}\u{c}\ra", "a"),
        ("\u{a0}a\u{2003}", "a"),
        ("\u{85}a\u{3000}", "a"),
        ("\u{200b}a\u{feff}", "\u{200b}a\u{feff}"),
    ];
    for (text, expected) in rows {
        assert_eq!(of(trim, &[text], None), format!("{expected:?}"));
    }
}

#[test]
fn substring_takes_a_range_that_is_there() {
    let rows: [(&str, &[i64], &str); 12] = [
        ("tacocat", &[4], "\"cat\""),
        ("tacocat", &[0, 4], "\"taco\""),
        ("abc", &[3], "\"\""),
        ("abc", &[1, 1], "\"\""),
        ("é日😀", &[1], "\"日😀\""),
        ("é日😀", &[1, 2], "\"日\""),
        ("", &[0, 0], "\"\""),
        ("abc", &[4], "error: index out of range: 4"),
        ("abc", &[-1], "error: index out of range: -1"),
        (
            "abc",
            &[2, 1],
            "error: invalid substring range. start: 2, end: 1",
        ),
        ("abc", &[-1, 1], "error: index out of range: -1"),
        ("abc", &[1, 5], "error: index out of range: 5"),
    ];
    for (text, range, expected) in rows {
        assert_eq!(at(substring, text, range), expected, "{text} {range:?}");
    }
}

#[test]
fn replace_changes_all_or_as_many_as_asked_for() {
    let rows = [
        ("abab", "a", "x", None, "xbxb"),
        ("abab", "a", "x", Some(1), "xbab"),
        ("abab", "a", "x", Some(0), "abab"),
        ("abab", "a", "x", Some(-1), "xbxb"),
        ("abab", "c", "x", None, "abab"),
        ("héy", "", "-", None, "-h-é-y-"),
        ("héy", "", "-", Some(2), "-h-éy"),
        ("", "", "-", None, "-"),
        ("aaa", "aa", "b", None, "ba"),
        ("aaa", "a", "", Some(2), "a"),
    ];
    for (text, old, new, limit, expected) in rows {
        let outcome = of(replace, &[text, old, new], limit);
        assert_eq!(outcome, format!("{expected:?}"));
    }
}

#[test]
fn split_takes_apart() {
    let rows: [(&str, &str, Option<i64>, &[&str]); 13] = [
        ("a,b,c", ",", None, &["a", "b", "c"]),
        ("a,b,c", ",", Some(2), &["a", "b,c"]),
        ("a,b,c", ",", Some(1), &["a,b,c"]),
        ("a,b,c", ",", Some(0), &[]),
        ("a,b,c", ",", Some(-1), &["a", "b", "c"]),
        (",a,", ",", None, &["", "a", ""]),
        ("abc", "x", None, &["abc"]),
        ("", ",", None, &[""]),
        ("", "", None, &[]),
        ("héy", "", None, &["h", "é", "y"]),
        ("héy", "", Some(2), &["h", "éy"]),
        ("héy", "", Some(9), &["h", "é", "y"]),
        ("aaa", "aa", None, &["", "a"]),
    ];
    for (text, separator, limit, expected) in rows {
        assert_eq!(of(split, &[text, separator], limit), list(expected));
    }
}

#[test]
fn join_puts_texts_together() {
    let rows: [(&[&str], Option<&str>, &str); 8] = [
        (&[], None, ""),
        (&[], Some(","), ""),
        (&["a"], Some(","), "a"),
        (&["a", "b"], None, "ab"),
        (&["a", "b"], Some(","), "a,b"),
        (&["", ""], Some("--"), "--"),
        (&["日", "é"], Some("\u{0}"), "日\u{0}é"),
        (&["a", "b", "c"], Some(""), "abc"),
    ];
    for (texts, separator, expected) in rows {
        let mut arguments = vec![texts_of(texts)];
        arguments.extend(separator.map(string));
        assert_eq!(call(join, &arguments), format!("{expected:?}"));
    }
}

#[test]
fn join_says_what_is_no_text() {
    let tree = serde_json::json!(["x", null, 1.5, {"k": [true, null, {}]}]);
    let rows = [
        (Value::Null, "0"),
        (Value::Bool(true), "true"),
        (Value::Int(-1), "-1"),
        (Value::Uint(3), "3"),
        (Value::Double(1.5), "1.5"),
        (Value::Double(1e6), "1e+06"),
        (Value::Bytes(Rc::from(*b"ab")), "[97 98]"),
        (Value::list(vec![string("a"), Value::Null]), "[a, 0]"),
        (
            Value::map(vec![(string("a"), Value::list(Vec::new()))]),
            "{a: []}",
        ),
        (Value::Duration(5_400_000_000_000), "1h30m0s"),
        (
            Value::Timestamp(crate::cel::value::Timestamp {
                seconds: 0,
                nanoseconds: 500_000_000,
            }),
            "1970-01-01 00:00:00.5 +0000 UTC",
        ),
        (Value::Type("int".into()), "int"),
        (string("x").some(), "optional(x)"),
        (Value::Optional(None), "optional.none()"),
        (
            Value::of_tree(&tree),
            "[x, <nil>, 1.5, map[k:[true <nil> map[]]]]",
        ),
        (Value::of_tree(&tree[3]), "{k: [true, <nil>, map[]]}"),
    ];
    for (item, shown) in rows {
        let items = Value::list(vec![string("a"), item.clone()]);
        let expected = error(&format!("join: invalid input: {shown}"));
        assert_eq!(call(join, &[items]), expected);
        // The first item decides whether it is a list of texts at all.
        assert_eq!(
            call(join, &[Value::list(vec![item]), string(",")]),
            error("no such overload: join(list, string)")
        );
    }
}

#[test]
fn quote_escapes_what_cel_would() {
    let rows = [
        ("", r#""""#),
        ("abc", r#""abc""#),
        ("a\"b", r#""a\"b""#),
        (r"a\b", r#""a\\b""#),
        ("\n\r\t", r#""\n\r\t""#),
        ("\u{7}\u{8}\u{b}\u{c}", r#""\a\b\v\f""#),
        ("é😀", r#""é😀""#),
        ("\u{0}\u{200b}", "\"\u{0}\u{200b}\""),
    ];
    for (text, expected) in rows {
        assert_eq!(of(quote, &[text], None), format!("{expected:?}"));
    }
}

#[test]
fn what_would_be_too_large_is_not_made() {
    let large = "a".repeat(1 << 18);
    let mut run = Run::new(None, &[]);
    let arguments = [string(&large), string(""), string(&large)];
    let outcome = replace(&mut run, &arguments).err();
    assert!(matches!(outcome, Some(Fail::Stopped(_))), "{outcome:?}");
    let many = Value::list(vec![string(&large); 33]);
    let outcome = join(&mut Run::new(None, &[]), &[many]).err();
    assert_eq!(outcome, Some(Fail::Stopped(Limit::Bytes)));
    let outcome = split(&mut Run::new(None, &[]), &[string(&large), string("")]).err();
    assert!(matches!(outcome, Some(Fail::Stopped(_))));
}

#[test]
fn parts_of_what_came_in_are_not_copied() {
    let text = "a,b,c".to_owned();
    let borrowed = || Value::String(Text::Borrowed(&text));
    let mut run = Run::new(None, &[]);
    for (function, arguments) in [
        (substring as Tried, vec![borrowed(), Value::Int(2)]),
        (char_at, vec![borrowed(), Value::Int(2)]),
        (trim, vec![borrowed()]),
        (split, vec![borrowed(), string(","), Value::Int(2)]),
    ] {
        let part = match function(&mut run, &arguments) {
            Ok(Value::List(List::Made(parts))) => parts.last().cloned(),
            other => other.ok(),
        };
        assert!(matches!(part, Some(Value::String(Text::Borrowed(_)))));
    }
    let map = Value::Map(Map::Made(Rc::new(Vec::new())));
    assert_eq!(call(trim, &[map]), error("no such overload"));
}

proptest! {
    /// The same as on a list of code points.
    #[test]
    fn positions_are_those_of_code_points(
        text in "[abé日]{0,12}",
        sought in "[abé日]{0,3}",
        start in -2_i64..15,
        end in -2_i64..15,
    ) {
        let points: Vec<char> = text.chars().collect();
        let length = i64::try_from(points.len()).unwrap();
        let expected = if start > end {
            error(&format!("invalid substring range. start: {start}, end: {end}"))
        } else if start < 0 || start > length {
            error(&format!("index out of range: {start}"))
        } else if end > length {
            error(&format!("index out of range: {end}"))
        } else {
            let range = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
            format!("{:?}", points[range].iter().collect::<String>())
        };
        prop_assert_eq!(at(substring, &text, &[start, end]), expected);

        let pattern: Vec<char> = sought.chars().collect();
        let places: Vec<i64> = (0..length)
            .filter(|place| points[usize::try_from(*place).unwrap()..].starts_with(&pattern))
            .collect();
        if !pattern.is_empty() && start >= 0 {
            let first = places.iter().find(|place| **place >= start);
            let outcome = of(index_of, &[&text, &sought], Some(start));
            prop_assert_eq!(outcome, first.unwrap_or(&-1).to_string());
            let last = places.iter().rev().find(|place| **place <= start && start < length);
            let outcome = of(last_index_of, &[&text, &sought], Some(start));
            prop_assert_eq!(outcome, last.unwrap_or(&-1).to_string());
        }
    }

    /// What is taken apart can be put together again.
    #[test]
    fn join_undoes_split(text in "[ab,é]{0,12}", separator in "[ab,]{1,2}", limit in 1_i64..5) {
        for limit in [limit, -1] {
            let mut run = Run::new(None, &[]);
            let arguments = [string(&text), string(&separator), Value::Int(limit)];
            let parts = split(&mut run, &arguments).unwrap();
            prop_assert_eq!(call(join, &[parts, string(&separator)]), format!("{:?}", text));
        }
    }
}
