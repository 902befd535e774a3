use super::{Chart, Compiled, Dependency, Judgement, merged};
use crate::contract::{Cause, FieldPath};
use serde_json::{Value, json};

fn chart(name: &str, values: Value, schema: Option<Value>) -> Chart {
    Chart {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        values,
        schema: schema.map(|schema| schema.to_string()),
        ..Chart::default()
    }
}

fn parent(values: Value, condition: &str, child: Chart) -> Chart {
    Chart {
        dependencies: Some(vec![Dependency {
            name: child.name.clone(),
            version: "1.x".to_owned(),
            condition: condition.to_owned(),
            ..Dependency::default()
        }]),
        subcharts: vec![child],
        ..chart("parent", values, None)
    }
}

fn judge(chart: &Chart, values: &Value) -> Judgement {
    Compiled::new(chart).judge(&FieldPath::default(), values)
}

fn sentences(judgement: &Judgement) -> Vec<String> {
    judgement
        .violations
        .iter()
        .map(crate::contract::Violation::message)
        .collect()
}

#[test]
fn paths_start_at_the_root_of_the_users_values() {
    let smee = chart(
        "smee",
        json!({"replicas": 1}),
        Some(json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "properties": {
                "replicas": {"type": "integer", "minimum": 1},
                "ports": {"items": {"required": ["name"], "properties": {"name": {"pattern": "^[a-z]+$"}}}},
                "mode": {"enum": ["a", "b"]},
                "labels": {"additionalProperties": {"type": "string"}},
                "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                "global": {},
            },
            "additionalProperties": false,
        })),
    );
    let chart = parent(json!({}), "smee.enabled,on", smee);
    let found = judge(
        &chart,
        &json!({"smee": {
            "replicas": 0,
            "replcas": 1,
            "ports": [{"name": "a"}, {}, {"name": "A"}],
            "mode": "c",
            "labels": {"a.b/c": 1},
            "either": true,
        }}),
    );
    let mut told = sentences(&found);
    told.sort();
    assert_eq!(
        told,
        [
            r"smee.either: Invalid value: true: must be a string; or must be an integer",
            r"smee.labels[a.b/c]: Invalid value: 1: must be a string",
            r#"smee.mode: Unsupported value: "c": supported values: "a", "b""#,
            r"smee.ports[1].name: Required value: the schema requires it",
            r#"smee.ports[2].name: Invalid value: "A": must match the pattern ^[a-z]+$"#,
            r#"smee.replcas: Forbidden: the schema knows no such name; did you mean "replicas"?"#,
            "smee.replicas: Invalid value: 0: must be at least 1",
        ]
    );
    let found = judge(&chart, &json!({"smee": {"replicas": "two"}}));
    assert_eq!(
        sentences(&found),
        [r#"smee.replicas: Invalid value: "string": must be an integer"#]
    );
    let base = FieldPath::of(&["spec", "components"])
        .key("bootbox")
        .member("values");
    let found = Compiled::new(&chart).judge(&base, &json!({"smee": 1}));
    assert_eq!(
        sentences(&found),
        [
            r#"spec.components[bootbox].values.smee: Invalid value: "number": must be an object: the values of the subchart "smee""#
        ]
    );
    assert_eq!(
        sentences(&Compiled::new(&chart).judge(&base, &json!([]))),
        [r#"spec.components[bootbox].values: Invalid value: "array": must be an object"#]
    );
    assert!(judge(&chart, &json!({"on": false, "smee": {"replicas": 0}})).accepts());
}

#[test]
fn what_a_secret_may_bring_is_not_missed() {
    let chart = chart(
        "app",
        json!({"_namespace": {"host": 1}}),
        Some(json!({
            "required": ["_cluster", "_namespace", "own"],
            "properties": {
                "_cluster": {
                    "required": ["host"],
                    "minProperties": 3,
                    "properties": {"host": {"type": "string"}, "oidc": {"required": ["url"]}},
                },
                "_namespace": {"properties": {"host": {"type": "string"}}},
            },
            "anyOf": [
                {"required": ["other"]},
                {"properties": {"_cluster": {"required": ["more"]}}, "required": ["_cluster"]},
            ],
        })),
    );
    let found = judge(&chart, &json!({"_cluster": {"oidc": {}}}));
    assert_eq!(
        sentences(&found),
        ["own: Required value: the schema requires it"]
    );
    assert!(judge(&chart, &json!({"own": 1})).accepts());
    // What the user writes there is known.
    let found = judge(&chart, &json!({"own": 1, "_cluster": {"host": 5}}));
    assert_eq!(found.violations.len(), 1, "{found:?}");
    assert_eq!(found.violations[0].cause, Cause::TypeInvalid);
    let base = FieldPath::of(&["spec", "values"]);
    let found = Compiled::new(&chart).judge(&base, &json!({"own": 1, "_cluster": {"host": 5}}));
    assert_eq!(
        found.violations[0].field.to_string(),
        "spec.values._cluster.host"
    );
    assert!(
        Compiled::new(&chart)
            .judge(&base, &json!({"own": 1}))
            .accepts()
    );
}

#[test]
fn what_cannot_be_judged_is_said_and_not_refused() {
    for schema in [
        json!({"$schema": "https://example.com/schema"}),
        json!({"properties": {"a": {"$ref": "https://example.com/schema"}}}),
        json!({"properties": {"a": {"$ref": "http://127.0.0.1:1/schema#/x"}}}),
        json!({"properties": {"a": {"$ref": "other.json"}}}),
        json!({"properties": {"a": {"$ref": "file:///etc/hostname"}}}),
        json!({"properties": {"a": {"pattern": "^(\\w{1,1000}){1,50}$"}}}),
        json!({"description": "x".repeat(3 << 20)}),
    ] {
        let found = judge(
            &chart("app", json!({}), Some(schema.clone())),
            &json!({"a": 1}),
        );
        assert!(
            found.accepts() && found.unjudged.len() == 1,
            "{}: {found:?}",
            schema.to_string().chars().take(100).collect::<String>()
        );
    }
    let deep = format!("{}1{}", "{\"not\":".repeat(5_000), "}".repeat(5_000));
    for text in [deep, r#"{"maximum": 1e400}"#.to_owned()] {
        let chart = Chart {
            schema: Some(text),
            ..chart("app", json!({}), None)
        };
        assert_eq!(judge(&chart, &json!({})).unjudged.len(), 1);
    }
}

#[test]
fn references_in_a_circle_are_not_followed() {
    let chain = |links: usize| {
        let defs: serde_json::Map<String, Value> = (0..=links)
            .map(|link| {
                let next = json!({"$ref": format!("#/$defs/{}", link + 1)});
                let here = if link == links {
                    json!({"type": "string"})
                } else {
                    json!({"allOf": [next]})
                };
                (link.to_string(), here)
            })
            .collect();
        json!({"$ref": "#/$defs/0", "$defs": defs})
    };
    for schema in [
        json!({"$ref": "#"}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"properties": {"a": {"$ref": "#/properties/a"}}}),
        json!({"$defs": {"x": {"$anchor": "x", "anyOf": [{"not": {"$ref": "#x"}}]}}}),
        json!({"$id": "http://a/b", "$defs": {"x": {"if": {"$ref": "http://a/b#/$defs/x"}}}}),
        chain(5_000),
    ] {
        let chart = chart("app", json!({}), Some(schema.clone()));
        let found = judge(&chart, &json!({"a": 1}));
        assert!(
            found.accepts() && found.unjudged.len() == 1,
            "{schema}: {found:?}"
        );
    }
    // Down the values and then around is no circle.
    let tree = json!({"properties": {"a": {"$ref": "#"}, "b": {"type": "string"}}});
    let tree = chart("app", json!({}), Some(tree));
    assert!(judge(&tree, &json!({"a": {"a": {"b": "x"}}})).accepts());
    assert_eq!(
        judge(&tree, &json!({"a": {"a": {"b": 1}}}))
            .violations
            .len(),
        1
    );
    assert_eq!(
        judge(&chart("app", json!({}), Some(chain(8))), &json!({}))
            .violations
            .len(),
        1
    );
    let deep = (0..100).fold(json!({"b": 1}), |inner, _| json!({"a": inner}));
    assert_eq!(judge(&tree, &deep).unjudged.len(), 1);
}

#[test]
fn references_that_multiply_are_not_followed() {
    // Each level looks at its values twice, by way of the next level.
    let laughs = |levels: usize| -> Value {
        let defs: serde_json::Map<String, Value> = (0..=levels)
            .map(|level| {
                let next = json!({"properties": {"a": {"$ref": format!("#/$defs/{}", level + 1)}}});
                let here = if level == levels {
                    json!({"type": "string"})
                } else {
                    json!({"allOf": [next, next]})
                };
                (level.to_string(), here)
            })
            .collect();
        json!({"$ref": "#/$defs/0", "$defs": defs})
    };
    let itself = json!({"allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}], "type": "object"});
    let deep = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({"a": inner}));
    for schema in [laughs(60), itself.clone()] {
        let compiled = Compiled::new(&chart("app", json!({}), Some(schema)));
        let root = FieldPath::default();
        assert_eq!(compiled.judge(&root, &deep(60)).unjudged.len(), 1);
        assert!(compiled.judge(&root, &deep(1)).unjudged.is_empty());
    }
    let small = Compiled::new(&chart("app", json!({}), Some(itself)));
    assert!(!small.judge(&FieldPath::default(), &deep(3)).accepts());
    // Large, and without any multiplication.
    let list: Vec<Value> = (0..50_000).map(Value::from).collect();
    let plain = json!({"properties": {"l": {"items": {"$ref": "#/$defs/x"}}}, "$defs": {"x": {"type": "integer"}}});
    assert!(
        judge(&chart("app", json!({}), Some(plain)), &json!({"l": list}))
            .unjudged
            .is_empty()
    );
}

#[test]
fn files_are_merged_and_nulls_stay() {
    assert_eq!(
        merged([
            &json!({"a": {"b": 1, "c": 2}, "l": [1], "s": 1}),
            &Value::Null,
            &json!({"a": {"b": null, "d": 3}, "l": [2], "s": {"x": 1}}),
        ]),
        json!({"a": {"b": null, "c": 2, "d": 3}, "l": [2], "s": {"x": 1}})
    );
}

#[test]
fn templates_would_get_the_merged_values() {
    let chart = parent(
        json!({"global": {"a": 1}, "child": {"own": null}}),
        "",
        chart("child", json!({"own": 1, "x": {"y": 1}}), None),
    );
    let compiled = Compiled::new(&chart);
    assert_eq!(
        compiled.merged(&json!({"child": {"x": {"y": null, "z": 9_007_199_254_740_993_u64}}})),
        Some(json!({
            "global": {"a": 1},
            "child": {"x": {"z": 9_007_199_254_740_992_u64}, "global": {"a": 1}},
        }))
    );
    assert_eq!(compiled.merged(&json!({"child": 1})), None);
}

#[test]
fn departures_from_the_defaults_only_warn() {
    let child = chart(
        "child",
        json!({"replicas": 1, "image": {"tag": "a"}, "nodeSelector": {}, "tolerations": [], "nothing": null}),
        None,
    );
    let strict = chart("strict", json!({"a": 1}), Some(json!({})));
    let mut chart = parent(
        json!({"service": {"port": 80, "annotations": {}}, "list": [1], "child": {"extra": true}}),
        "child.enabled",
        child,
    );
    chart.subcharts.push(strict);
    chart.subcharts.push(self::chart("plain", json!({}), None));
    let departures = |values: Value| -> Vec<String> {
        Compiled::new(&chart)
            .departures(&FieldPath::default(), &values)
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    for fine in [
        json!({}),
        json!(null),
        json!({"service": {"port": "https", "annotations": {"a": {"b": 1}}}, "list": []}),
        json!({"global": {"x": 1}, "_cluster": {"x": 1}, "_namespace": {}, "tags": {"a": true}}),
        json!({"child": {"replicas": 2, "extra": false, "global": {"x": 1}, "nothing": [1]}}),
        json!({"child": {"nodeSelector": {"a": "b"}, "tolerations": [{"a": 1}], "image": null}}),
        json!({"child": {"enabled": false, "whatever": 1}}),
        json!({"strict": {"whatever": 1}}),
        json!({"unknown": null}),
    ] {
        assert_eq!(departures(fine.clone()), Vec::<String>::new(), "{fine}");
    }
    assert_eq!(
        departures(json!({
            "servce": {"port": 1},
            "service": {"prt": 1},
            "list": {"a": 1},
            "child": {"replicsa": 1, "image": "a", "port": 1, "qqq": 1},
        })),
        [
            "child.image: a single value where the chart's defaults have a map",
            "child.port: not in the chart's defaults; did you mean service.port?",
            "child.qqq: not in the chart's defaults",
            "child.replicsa: not in the chart's defaults; did you mean child.replicas?",
            "list: a map where the chart's defaults have a list",
            "servce: not in the chart's defaults; did you mean service?",
            "service.prt: not in the chart's defaults; did you mean service.port?",
        ]
    );
    let many: Value = (0..100)
        .map(|number| (format!("q{number}"), json!(1)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    assert_eq!(departures(many).len(), 20);
}

/// What the library follows and the guards would not see: such a schema is judged by nobody here.
#[test]
fn references_that_need_decoding_or_resolving_are_not_followed() {
    for schema in [
        json!({"$ref": "#/$defs/%61", "$defs": {"a": {"$ref": "#/$defs/%61"}}}),
        json!({"$id": "http://a.b/c", "$ref": "c#/$defs/x", "$defs": {"x": {}}}),
        json!({"$id": "d/x.json", "$ref": "d/x.json", "$defs": {"x": {}}}),
        json!({"$defs": {"x": {"$id": "http://a.b/x", "$ref": "#/$defs/y", "$defs": {"y": {}}}}, "$ref": "#/$defs/x"}),
    ] {
        let found = judge(
            &chart("app", json!({}), Some(schema.clone())),
            &json!({"a": 1}),
        );
        assert_eq!(found.unjudged.len(), 1, "{schema}: {found:?}");
    }
    let own =
        json!({"$id": "x.json", "$ref": "x.json#/$defs/x", "$defs": {"x": {"required": ["b"]}}});
    let found = judge(&chart("app", json!({}), Some(own)), &json!({"a": 1}));
    assert_eq!(
        sentences(&found),
        ["b: Required value: the schema requires it"]
    );
}

/// Many alternatives for many values are a long time, with or without references.
#[test]
fn many_questions_about_many_values_are_not_asked() {
    let alternatives: Vec<Value> = (0..4_000)
        .map(|number| json!({"not": {"const": number}}))
        .collect();
    let schema = json!({"properties": {"l": {"items": {"allOf": alternatives}}}});
    let chart = chart("app", json!({}), Some(schema));
    let few = judge(&chart, &json!({"l": ["a", 5]}));
    assert_eq!(
        (few.violations.len(), few.unjudged.len()),
        (1, 0),
        "{few:?}"
    );
    let many = judge(&chart, &json!({"l": vec!["a"; 4_000]}));
    assert_eq!(
        (many.violations.len(), many.unjudged.len()),
        (0, 1),
        "{many:?}"
    );
}

#[test]
fn a_compiled_chart_can_be_shared_between_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Compiled>();
}

mod never_panics {
    use super::{Chart, Compiled, FieldPath};
    use crate::charts::{Component, Dependency, Import, OwnSchema, Text, Values, as_go, coalesce};
    use crate::charts::{dependencies, is_compatible, table_of};
    use proptest::prelude::*;
    use serde_json::Value;
    use std::sync::Arc;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c.$]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key(), inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn key() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("global".to_owned()),
            Just("exports".to_owned()),
            Just("tags".to_owned()),
            Just("_cluster".to_owned()),
            Just("type".to_owned()),
            Just("properties".to_owned()),
            Just("$ref".to_owned()),
            "[abc]",
        ]
    }

    fn dependency() -> impl Strategy<Value = Dependency> {
        (
            "[abc]",
            "[0-9x^~. |>=<-]{0,6}",
            prop::option::of("[abc]".prop_map(String::from)),
            "[abc.,]{0,6}",
            prop::collection::vec("[abc]", 0..2),
            prop::collection::vec(
                ("[abc.]{0,3}", "[abc.]{0,3}")
                    .prop_map(|(child, parent)| Import::At { child, parent }),
                0..2,
            ),
        )
            .prop_map(|(name, version, alias, condition, tags, import_values)| {
                Dependency {
                    name,
                    version,
                    alias,
                    condition,
                    tags,
                    import_values,
                }
            })
    }

    fn chart() -> impl Strategy<Value = Chart> {
        let one = (
            "[abc]",
            value(),
            prop::option::of(prop::collection::vec(dependency(), 0..3)),
            prop::option::of(value()),
        )
            .prop_map(|(name, values, dependencies, schema)| Chart {
                name,
                version: "1.0.0".to_owned(),
                values,
                dependencies,
                schema: schema.map(|schema| schema.to_string()),
                ..Chart::default()
            });
        one.prop_recursive(3, 8, 3, |inner| {
            (inner.clone(), prop::collection::vec(inner, 0..3))
                .prop_map(|(chart, subcharts)| Chart { subcharts, ..chart })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn on_any_chart_and_values(chart in chart(), values in value()) {
            let compiled = Compiled::new(&chart);
            let base = FieldPath::of(&["spec"]);
            let _ = compiled.judge(&base, &values);
            let _ = compiled.departures(&base, &values);
            let _ = compiled.merged(&values);
        }

        /// What is done without subcharts, for the sake of speed, is what Helm's steps do.
        #[test]
        fn a_chart_alone_is_merged_as_any_other(chart in chart(), values in value()) {
            let alone = Chart { subcharts: Vec::new(), dependencies: None, ..chart };
            let compiled = Compiled::new(&alone);
            let root = dependencies::instance(&compiled.root);
            let slow = coalesce::coalesced(&root, &table_of(&as_go(values.clone())), false).unwrap();
            let slow = coalesce::Tree::Table(slow).to_value();
            prop_assert_eq!(compiled.merged(&values), Some(slow));
        }

        /// The short way to a yes never says more than the long one.
        #[test]
        fn text_is_judged_as_trees_are(chart in chart(), values in value()) {
            let values = serde_json::json!({"a": values});
            let component = Component::new(chart, [], "");
            let text = values.to_string();
            let text: Text<'_> = serde_json::from_str(&text).unwrap();
            let base = FieldPath::of(&["spec"]);
            let own: [Arc<OwnSchema>; 0] = [];
            let built = text.root().to_value();
            prop_assert_eq!(
                component.judge(&base, Values::Text(&text), &own),
                component.judge(&base, Values::Built(&built), &own)
            );
        }

        #[test]
        fn on_any_range(range in ".{0,20}", version in ".{0,12}") {
            let _ = is_compatible(&range, &version);
        }

        #[test]
        fn on_any_likely_range(range in "[0-9x*.v^~<>=!, |-]{0,20}", version in "[0-9v.+-]{0,12}") {
            let _ = is_compatible(&range, &version);
        }
    }
}
