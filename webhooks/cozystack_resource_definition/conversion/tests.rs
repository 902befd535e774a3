use super::*;
use crate::contract::Converted;
use proptest::prelude::*;

fn to(value: &Value, version: &str) -> Value {
    let raw = serde_json::value::to_raw_value(value).unwrap();
    let converted = CONVERSION
        .convert(&raw, &format!("cozystack.io/{version}"))
        .unwrap();
    serde_json::from_str(&serde_json::to_string(&converted).unwrap()).unwrap()
}

fn legacy(release: &Value) -> Value {
    json!({
        "apiVersion": "cozystack.io/v1alpha1", "kind": "CozystackResourceDefinition",
        "metadata": {"name": "gizmo"}, "spec": {"release": release},
    })
}

fn new(release: &Value) -> Value {
    let mut object = legacy(release);
    object["apiVersion"] = "cozystack.io/v1alpha2".into();
    object
}

fn chart(name: &str, repository: &str) -> Value {
    json!({"name": name, "sourceRef": {"kind": "HelmRepository", "name": repository, "namespace": "cozy-public"}})
}

fn artifact(name: &str) -> Value {
    json!({"kind": "ExternalArtifact", "name": name, "namespace": "cozy-system"})
}

#[test]
fn the_standard_forms_leave_no_annotation() {
    let old = legacy(
        &json!({"prefix": "g-", "labels": {"cozystack.io/ui": "true"}, "chart": chart("vpn", "cozystack-apps")}),
    );
    let converted = to(&old, NEW);
    assert_eq!(
        converted,
        new(&json!({
            "prefix": "g-",
            "labels": {"cozystack.io/ui": "true", "sharding.fluxcd.io/key": "tenants"},
            "chartRef": artifact("cozystack-vpn-application-default-vpn"),
        }))
    );
    assert_eq!(to(&converted, LEGACY), old);
}

#[test]
fn a_chart_of_an_unknown_repository_becomes_a_helm_chart_and_comes_back() {
    let mut source = chart("thing", "acme");
    source["sourceRef"]["namespace"] = "acme-system".into();
    let old = legacy(&json!({"chart": source}));
    let converted = to(&old, NEW);
    assert_eq!(
        converted["spec"]["release"]["chartRef"],
        json!({"kind": "HelmChart", "name": "cozystack-gizmo", "namespace": "acme-system"})
    );
    assert!(converted["metadata"]["annotations"][STASH_ANNOTATION].is_string());
    assert_eq!(to(&converted, LEGACY), old);
}

#[test]
fn a_stash_that_no_longer_matches_is_ignored() {
    let old = legacy(&json!({"chart": chart("thing", "acme")}));
    let mut converted = to(&old, NEW);
    converted["spec"]["release"]["chartRef"] = artifact("cozystack-vpn-application-default-vpn");
    let back = to(&converted, LEGACY);
    assert_eq!(
        back["spec"]["release"]["chart"],
        chart("vpn", "cozystack-apps")
    );
    assert_eq!(back["metadata"], json!({"name": "gizmo"}));
}

#[test]
fn an_existing_shard_keeps_its_value() {
    for shard in ["tenants", "tenants-2"] {
        let old = legacy(
            &json!({"labels": {SHARDING_LABEL: shard}, "chart": chart("vpn", "cozystack-apps")}),
        );
        let converted = to(&old, NEW);
        assert_eq!(
            converted["spec"]["release"]["labels"][SHARDING_LABEL],
            shard
        );
        assert_eq!(to(&converted, LEGACY), old);
    }
}

#[test]
fn an_artifact_outside_the_table_keeps_its_reference() {
    let mut reference = artifact("something-else");
    let object = new(&json!({"labels": {SHARDING_LABEL: "tenants"}, "chartRef": reference}));
    let converted = to(&object, LEGACY);
    assert_eq!(
        converted["spec"]["release"]["chart"],
        json!({"name": "something-else", "sourceRef": reference})
    );
    assert_eq!(
        converted["metadata"],
        json!({"name": "gizmo"}),
        "no stash is needed"
    );
    assert_eq!(to(&converted, NEW), object);
    reference["apiVersion"] = "source.toolkit.fluxcd.io/v1".into();
    let object = new(
        &json!({"chartRef": reference, "waitStrategy": "poller", "healthCheckExprs": [{"current": "1.0"}]}),
    );
    let converted = to(&object, LEGACY);
    assert!(
        converted["spec"]["release"].get("waitStrategy").is_none(),
        "the legacy schema would prune it"
    );
    assert_eq!(to(&converted, NEW), object);
}

#[test]
fn the_defaults_of_the_legacy_schema_do_not_break_the_way_back() {
    let object = new(&json!({"chartRef": {"kind": "OCIRepository", "name": "x"}}));
    let mut stored = to(&object, LEGACY);
    stored["spec"]["release"]["chart"]["sourceRef"]["namespace"] = "cozy-public".into();
    assert_eq!(to(&stored, NEW), object);
}

#[test]
fn objects_without_spec_and_with_odd_types_pass() {
    for object in [
        json!({"apiVersion": "cozystack.io/v1alpha1", "kind": "CozystackResourceDefinition", "metadata": {"name": "x"}}),
        json!({"apiVersion": "cozystack.io/v1alpha1", "kind": "CozystackResourceDefinition", "spec": null}),
        legacy(&json!(null)),
        legacy(&json!({"chart": null})),
        legacy(&json!({"chart": "text", "labels": "text"})),
        legacy(
            &json!({"chart": {"name": 1, "sourceRef": {"name": "cozystack-apps"}}, "labels": null}),
        ),
        legacy(
            &json!({"chart": {"name": "vpn", "sourceRef": {"name": "cozystack-apps"}}, "labels": {}}),
        ),
    ] {
        assert_eq!(to(&to(&object, NEW), LEGACY), object);
    }
}

#[test]
fn digits_and_unknown_fields_are_untouched() {
    let text = r#"{"apiVersion":"cozystack.io/v1alpha1","kind":"CozystackResourceDefinition","metadata":{"name":"x","generation":1.0},"spec":{"release":{"chart":{"name":"vpn","sourceRef":{"kind":"HelmRepository","name":"cozystack-apps","namespace":"cozy-public"}},"n":18446744073709551617},"z":1e2}}"#;
    let raw: &RawValue = serde_json::from_str(text).unwrap();
    let converted =
        serde_json::to_string(&CONVERSION.convert(raw, "cozystack.io/v1alpha2").unwrap()).unwrap();
    for kept in [
        "\"generation\":1.0",
        "\"n\":18446744073709551617",
        "\"z\":1e2",
    ] {
        assert!(converted.contains(kept), "{converted}");
    }
    let raw: &RawValue = serde_json::from_str(&converted).unwrap();
    assert_eq!(
        serde_json::to_string(&CONVERSION.convert(raw, "cozystack.io/v1alpha1").unwrap()).unwrap(),
        text
    );
}

#[test]
fn failures_name_the_path() {
    let failure = |object: &Value, version: &str| {
        let raw = serde_json::value::to_raw_value(object).unwrap();
        CONVERSION.convert(&raw, version).unwrap_err().to_string()
    };
    let mut object = legacy(&json!({}));
    object["apiVersion"] = "cozystack.io/v9".into();
    assert_eq!(
        failure(&object, "cozystack.io/v1alpha2"),
        r#"apiVersion: is "cozystack.io/v9", must be one of cozystack.io/v1alpha1, cozystack.io/v1alpha2"#
    );
    object["kind"] = "Other".into();
    assert_eq!(
        failure(&object, "cozystack.io/v1alpha2"),
        "kind: is Other, must be CozystackResourceDefinition"
    );
    assert!(failure(&json!([]), "cozystack.io/v1alpha2").contains("is no object"));
    let mut object = legacy(&json!({"chart": chart("thing", "acme")}));
    object["metadata"] = json!({});
    assert!(failure(&object, "cozystack.io/v1alpha2").starts_with("metadata.name: must be set"));
    object["metadata"] = json!({"name": "x", "annotations": "text"});
    assert!(
        failure(&object, "cozystack.io/v1alpha2")
            .starts_with("metadata.annotations: must be an object")
    );
}

#[test]
fn a_stash_that_cannot_be_stored_is_a_named_failure() {
    let object = new(&json!({"healthCheckExprs": ["x".repeat(200_000)]}));
    assert_eq!(to(&to(&object, LEGACY), NEW), object);
    let object = new(&json!({"healthCheckExprs": ["x".repeat(300_000)]}));
    let raw = serde_json::value::to_raw_value(&object).unwrap();
    let error = CONVERSION
        .convert(&raw, "cozystack.io/v1alpha1")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("metadata.annotations[conversion.cozystack.io/stash]: "),
        "{error}"
    );
}

#[test]
fn a_rename_is_the_new_form_under_the_new_kind() {
    let old = legacy(&json!({"chart": chart("vpn", "cozystack-apps")}));
    let raw = serde_json::value::to_raw_value(&old).unwrap();
    let renamed: Value = serde_json::to_value(CONVERSION.rename(&raw).unwrap()).unwrap();
    let mut wanted = to(&old, NEW);
    wanted["apiVersion"] = "cozystack.io/v1alpha1".into();
    wanted["kind"] = "ApplicationDefinition".into();
    assert_eq!(renamed, wanted);
    let raw = serde_json::value::to_raw_value(&renamed).unwrap();
    assert!(matches!(
        CONVERSION.rename(&raw).unwrap(),
        Converted::Unchanged(_)
    ));
}

fn any_text() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "vpn", "kubernetes", "gizmo", "cozystack-apps", "cozystack-extra", "acme", "HelmRepository",
            "ExternalArtifact", "OCIRepository", "GitRepository", "cozy-public", "cozy-system", "tenants", "",
            "cozystack-vpn-application-default-vpn", "cozystack-gizmo-application-default-gizmo",
        ]).prop_map(Value::from),
        1 => prop_oneof![Just(json!(null)), Just(json!(1.50)), Just(json!({})), Just(json!([])), Just(json!(true))],
    ]
}

fn any_object(keys: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::collection::btree_map(
        prop::sample::select(keys.to_vec()).prop_map(str::to_owned),
        any_text(),
        0..4,
    )
    .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn any_release() -> impl Strategy<Value = Value> {
    let reference = || prop_oneof![3 => any_object(&["kind", "name", "namespace", "apiVersion", "x"]), 1 => any_text()];
    let chart = (any_text(), reference(), any::<bool>()).prop_map(|(name, source, has_more)| {
        let mut chart = json!({"name": name, "sourceRef": source});
        if has_more {
            chart["version"] = "1.0".into();
        }
        chart
    });
    let member = prop_oneof![
        chart.prop_map(|value| ("chart", value)),
        any_text().prop_map(|value| ("chart", value)),
        reference().prop_map(|value| ("chartRef", value)),
        any_object(&["a", "sharding.fluxcd.io/key", "cozystack.io/ui"])
            .prop_map(|value| ("labels", value)),
        any_text().prop_map(|value| ("labels", value)),
        any_text().prop_map(|value| ("waitStrategy", value)),
        any_text().prop_map(|value| ("healthCheckExprs", value)),
        any_text().prop_map(|value| ("unknown", value)),
    ];
    prop::collection::vec(member, 0..6).prop_map(|members| {
        Value::Object(
            members
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    })
}

fn any_definition(version: &'static str) -> impl Strategy<Value = Value> {
    let annotations = prop_oneof![
        2 => Just(None),
        1 => Just(Some(json!(null))),
        1 => Just(Some(json!({}))),
        1 => any_text().prop_map(|text| Some(json!({"mine": text}))),
        1 => any_text().prop_map(|text| Some(json!({STASH_ANNOTATION: text}))),
        1 => Just(Some(json!({"a": "b", STASH_ANNOTATION: format!(r#"{{"version":1,"from":"{version}","release":{{"a":1}}}}"#)}))),
    ];
    (any_release(), annotations).prop_map(move |(release, annotations)| {
        let mut object = legacy(&release);
        object["apiVersion"] = format!("cozystack.io/{version}").into();
        if let Some(annotations) = annotations {
            object["metadata"]["annotations"] = annotations;
        }
        object
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn legacy_to_new_and_back_is_the_identity(object in any_definition(LEGACY)) {
        prop_assert_eq!(to(&to(&object, NEW), LEGACY), object);
    }

    #[test]
    fn new_to_legacy_and_back_is_the_identity(object in any_definition(NEW)) {
        prop_assert_eq!(to(&to(&object, LEGACY), NEW), object);
    }
}
