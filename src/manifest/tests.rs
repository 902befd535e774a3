//! What is written is what is read.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn one(text: &str) -> Result<Value, String> {
    match yaml::documents(text) {
        Ok(mut found) if found.len() == 1 => Ok(found.remove(0).value),
        Ok(found) => Err(format!("{} documents", found.len())),
        Err(error) => Err(error.to_string()),
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1_000_000i32..1_000_000).prop_map(|number| json!(f64::from(number) / 64.0 + 0.01)),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec![
            "yes",
            "no",
            "012",
            "1e3",
            "null",
            "~",
            "",
            " x",
            "x ",
            "a: b",
            "- a",
            "#",
            "1_000",
            "on",
            "y",
            "0x1F",
            "multi\nline",
            "multi\nline\n",
            "tab\t",
            "'",
            "\"",
            "2001-01-01",
            ".5",
            "!x",
            "&x",
            "*x",
            "<<",
            "a #b",
            "=",
            "|",
            "1:30"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map("[a-z<~0-9 :#-]{0,6}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-z<~0-9 :#-]{0,6}", any_json(), 1..5)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn json_is_read_as_json(value in any_object()) {
        prop_assert_eq!(one(&value.to_string()), Ok(value));
    }

    /// What is printed is what kubectl reads.
    #[test]
    fn what_is_written_is_read_back(value in any_object()) {
        let text = write(std::slice::from_ref(&value)).unwrap();
        prop_assert_eq!(one(&text), Ok(value), "{}", text);
    }
}
