//! Releases that are named, and values of components.

use super::*;

#[test]
fn lists_of_releases() {
    row(
        &json!({"bundle-enable": "velero,telepresence,gpu-operator"}),
        A1,
        Some(
            json!({"bundles": {"enabledPackages": ["cozystack.velero", "cozystack.telepresence", "cozystack.gpu-operator"]}}),
        ),
        &[],
    );
    row(
        &json!({"bundle-enable": "velero, external-dns"}),
        A1,
        Some(
            json!({"bundles": {"enabledPackages": ["cozystack.velero", "cozystack.external-dns"]}}),
        ),
        &[(
            Note,
            "data[bundle-enable]",
            "blanks around \" external-dns\"",
        )],
    );
    row(
        &json!({"bundle-enable": "metallb"}),
        A1,
        Some(json!({})),
        &[(Note, "data[bundle-enable]", "no optional release")],
    );
    row(
        &json!({"bundle-enable": "bootbox"}),
        A1,
        Some(json!({"bundles": {"enabledPackages": ["cozystack.bootbox"]}})),
        &[(
            Note,
            "",
            "stays blocked: nothing brings bootbox-application",
        )],
    );
    row(
        &json!({"bundle-enable": "velero", "bundle-disable": "velero"}),
        A1,
        Some(json!({"bundles": {"disabledPackages": ["cozystack.velero"]}})),
        &[(Note, "data[bundle-enable]", "that counts, as it did")],
    );
    row(
        &json!({"bundle-disable": "goldpinger,fluxcd"}),
        A1,
        Some(json!({"bundles": {"disabledPackages": ["cozystack.goldpinger"]}})),
        &[(
            Note,
            "data[bundle-disable]",
            "names fluxcd, which no Package installs any more",
        )],
    );
    row(
        &json!({"bundle-disable": "dashboard"}),
        A1,
        Some(json!({})),
        &[(
            Decision,
            "data[bundle-disable]",
            "set spec.components.dashboard.enabled: false on that Package",
        )],
    );
    row(
        &json!({"bundle-disable": "piraeus-operator,linstor"}),
        A1,
        Some(json!({})),
        &[
            (
                Decision,
                "data[bundle-disable]",
                "spec.components.piraeus-operator.enabled",
            ),
            (
                Decision,
                "data[bundle-disable]",
                "spec.components.linstor.enabled",
            ),
        ],
    );
    row(
        &json!({"bundle-disable": "metalb"}),
        A1,
        Some(json!({})),
        &[(Decision, "data[bundle-disable]", "did you mean metallb?")],
    );
    row(
        &json!({"bundle-disable": "capi-providers-core"}),
        A1,
        Some(json!({"bundles": {"disabledPackages": ["cozystack.capi-provider-core"]}})),
        &[(
            Decision,
            "data[bundle-disable]",
            "which these need: cozystack.kubernetes-application; each stays",
        )],
    );
    row(
        &json!({"bundle-disable": "prometheus-operator-crds"}),
        A1,
        Some(json!({"bundles": {"disabledPackages": ["cozystack.prometheus-operator-crds"]}})),
        &[(
            Decision,
            "data[bundle-disable]",
            "which these need: cozystack.clickhouse-operator, cozystack.goldpinger, cozystack.kafka-operator, \
             cozystack.kubevirt, cozystack.mariadb-operator, cozystack.postgres-operator; each stays \
             DependenciesNotReady until its spec.ignoreDependencies names cozystack.prometheus-operator-crds; so do \
             these, which need those: cozystack.capi-provider-infra-kubevirt, cozystack.clickhouse-application, \
             cozystack.cozystack-basics, ",
        )],
    );
    // Keycloak is only waited for by those who log in through it.
    row(
        &json!({"bundle-disable": "keycloak", "oidc-enabled": "true"}),
        A1,
        Some(
            json!({"authentication": {"oidc": {"enabled": true}}, "bundles": {"disabledPackages": ["cozystack.keycloak"]}}),
        ),
        &[(
            Decision,
            "data[bundle-disable]",
            "cozystack.cozystack-engine, cozystack.keycloak-operator; each",
        )],
    );
    row(
        &json!({"bundle-disable": "keycloak"}),
        A1,
        Some(json!({"bundles": {"disabledPackages": ["cozystack.keycloak"]}})),
        &[],
    );
}

fn source(name: &str, variants: &Value) -> Value {
    json!({
        "apiVersion": "cozystack.io/v1alpha1", "kind": "PackageSource", "metadata": {"name": name},
        "spec": {"variants": variants},
    })
}

#[test]
fn installed_sources_are_asked_first() {
    let mut snapshot = with(
        &json!({"bundle-disable": "reloader,gizmo,gadget-a", "values-gizmo": "a: 1", "values-gadget": "a: 1"}),
    );
    let install = json!({"namespace": "cozy-x"});
    snapshot.put(source(
        "cozystack.reloader",
        &json!([{"name": "default", "components": [{"name": "reloader", "install": install}]}]),
    ));
    snapshot.put(source(
        "example.gizmo",
        &json!([{"name": "default", "dependsOn": ["cozystack.reloader"], "components": [
        {"name": "gizmo", "install": install}, {"name": "gadget"}]}]),
    ));
    for name in ["example.a", "example.b"] {
        snapshot.put(source(
            name,
            &json!([{"name": "default", "components": [{"name": "gadget-a", "install": install}]}]),
        ));
    }
    snapshot.put(package("example.gizmo", json!({})));
    snapshot.put(package(
        "example.needs",
        json!({"ignoreDependencies": ["cozystack.reloader"]}),
    ));
    snapshot.put(source(
        "example.needs",
        &json!([{"name": "default", "dependsOn": ["cozystack.reloader"]}]),
    ));
    let plan = sound(&snapshot, A1);
    let change = of_platform(&plan).unwrap();
    assert_eq!(
        platform_values(change)["bundles"]["disabledPackages"],
        json!(["cozystack.reloader"])
    );
    let texts: Vec<&str> = plan
        .findings
        .iter()
        .filter(|finding| finding.weight == Decision)
        .map(|finding| finding.text.as_str())
        .collect();
    assert_eq!(texts.len(), 4, "{texts:#?}");
    assert!(texts[0].contains("names gizmo, which Package example.gizmo installs"));
    assert!(texts[1].contains("several Packages install (example.a, example.b)"));
    // The gizmo waits, too, and the other does not mind.
    assert!(
        texts[2].contains("which these need: cozystack.linstor, example.gizmo; each"),
        "{}",
        texts[2]
    );
    assert!(texts[3].contains("no Package has a component \"gadget\" that is installed"));
    assert_eq!(
        plan.changes[1].after["spec"]["components"]["gizmo"]["values"],
        json!({"a": 1})
    );
    // A component that waits, and one that is disabled already.
    let mut snapshot = with(&json!({"bundle-disable": "one,two"}));
    snapshot.put(source(
        "cozystack.metallb",
        &json!([{"name": "default", "components": [
        {"name": "one", "install": install}, {"name": "two", "install": install},
        {"name": "three", "install": {"namespace": "x", "dependsOn": ["one"]}}]}]),
    ));
    snapshot.put(package(
        "cozystack.metallb",
        json!({"components": {"two": {"enabled": false}}}),
    ));
    seen(
        &snapshot,
        A1,
        Some(json!({})),
        &[
            (
                Decision,
                "data[bundle-disable]",
                "these components wait for it even while it is disabled: three",
            ),
            (Note, "data[bundle-disable]", "has it disabled"),
        ],
    );
}

#[test]
fn values_of_components() {
    let engine = |spec: Value| {
        let mut snapshot = with(
            &json!({"telemetry-enabled": "false", "values-dashboard": "a: {b: yes, l: [1]}\nnum: 012\n", "values-cozystack-controller": "x: 1"}),
        );
        snapshot.put(package("cozystack.cozystack-engine", spec));
        snapshot
    };
    let of_engine = |plan: &Plan| {
        plan.changes
            .iter()
            .find(|change| change.step == Step::Values)
            .cloned()
    };
    // All components of a Package together, and YAML as Helm reads it.
    let plan = sound(&engine(json!({"variant": "default"})), A1);
    let change = of_engine(&plan).unwrap();
    assert_eq!(
        change.after["spec"],
        json!({"variant": "default", "components": {
            "cozystack-controller": {"values": {"cozystackController": {"disableTelemetry": true}, "x": 1}},
            "dashboard": {"values": {"a": {"b": true, "l": [1]}, "num": 10}},
        }})
    );
    assert!(plan.findings.iter().all(is_usual));
    // What is there wins.
    let plan = sound(
        &engine(json!({"components": {
            "dashboard": {"enabled": true, "values": {"a": {"b": false, "l": [2]}, "z": 1, "num": 10.0}},
            "cozystack-controller": {"values": {"cozystackController": {"disableTelemetry": true}, "x": 1}},
        }})),
        A1,
    );
    assert_eq!(of_engine(&plan), None);
    let texts: Vec<(&str, &str)> = plan
        .findings
        .iter()
        .filter(|finding| finding.weight == Decision)
        .map(|finding| (finding.field.as_str(), finding.text.as_str()))
        .collect();
    assert_eq!(
        texts,
        [
            (
                "data[values-dashboard]",
                "means true at spec.components.dashboard.values.a.b of Package cozystack.cozystack-engine, and false is there: that stays; put right which of the two is wrong"
            ),
            (
                "data[values-dashboard]",
                "means [1] at spec.components.dashboard.values.a.l of Package cozystack.cozystack-engine, and [2] is there: that stays; put right which of the two is wrong"
            ),
        ]
    );
    // A Package whose components are none.
    let plan = sound(
        &engine(json!({"components": {"dashboard": {"values": "x"}}})),
        A1,
    );
    assert_eq!(
        of_engine(&plan).unwrap().after["spec"]["components"]["dashboard"]["values"],
        "x"
    );
    assert!(
        plan.findings
            .iter()
            .any(|finding| finding.field == "spec.components.dashboard.values")
    );
    // The user's values win over those that the bundle put in.
    let mut snapshot = with(
        &json!({"telemetry-enabled": "false", "values-cozystack-controller": "cozystackController: {disableTelemetry: false}"}),
    );
    snapshot.put(package("cozystack.cozystack-engine", json!({})));
    assert_eq!(
        of_engine(&sound(&snapshot, A1)).unwrap().after["spec"]["components"]["cozystack-controller"]
            ["values"],
        json!({"cozystackController": {"disableTelemetry": false}})
    );
}

#[test]
fn values_without_a_place() {
    row(&json!({"values-dashboard": ""}), A1, Some(json!({})), &[]);
    row(
        &json!({"values-dashboard": "# nothing\n"}),
        A1,
        Some(json!({})),
        &[],
    );
    row(&json!({"values-dashboard": "{}"}), A1, Some(json!({})), &[]);
    row(
        &json!({"values-dashboard": "- a"}),
        A1,
        Some(json!({})),
        &[(
            Decision,
            "data[values-dashboard]",
            "is [\"a\"], which is no YAML map",
        )],
    );
    row(
        &json!({"values-dashboard": "a: [b"}),
        A1,
        Some(json!({})),
        &[(Decision, "data[values-dashboard]", "cannot be read as YAML")],
    );
    row(
        &json!({"values-dashboard": "{{ x }}"}),
        A1,
        Some(json!({})),
        &[(Decision, "data[values-dashboard]", "cannot be read as YAML")],
    );
    row(
        &json!({"values-dashbord": "a: 1"}),
        A1,
        Some(json!({})),
        &[(
            Decision,
            "data[values-dashbord]",
            "did you mean values-dashboard?",
        )],
    );
    row(
        &json!({"values-fluxcd": "a: 1"}),
        A1,
        Some(json!({})),
        &[(
            Decision,
            "data[values-fluxcd]",
            "no Package installs fluxcd any more",
        )],
    );
    row(
        &json!({"values-x.y": "a: 1"}),
        A1,
        Some(json!({})),
        &[(
            Decision,
            "data[values-x.y]",
            "no Package has a component \"x.y\"",
        )],
    );
    row(
        &json!({"values-kubeovn": "a:\n  b: 1\n  c: {}\n"}),
        A1,
        Some(json!({})),
        &[(
            Pending,
            "data[values-kubeovn]",
            "spec.components.kubeovn.values of Package cozystack.networking, which the platform has not made yet; a later run writes there: a.b: 1, a.c: {}",
        )],
    );
    row(
        &json!({"values-velero": "a: 1"}),
        A1,
        Some(json!({})),
        &[(
            Note,
            "data[values-velero]",
            "the old one did not install that release either",
        )],
    );
    let api = (Pending, "data[bundle-name]", "cozystackAPI");
    row(
        &json!({"bundle-name": "paas-hosted", "values-piraeus-operator": "a: 1"}),
        A1,
        Some(json!({"bundles": {"system": {"enabled": true}}})),
        &[
            api,
            (
                Decision,
                "data[values-piraeus-operator]",
                "the platform as planned does not bring",
            ),
        ],
    );
    row(
        &json!({"bundle-name": "paas-hosted", "values-cilium": "a: 1"}),
        A1,
        Some(json!({"bundles": {"system": {"enabled": true}}})),
        &[
            api,
            (
                Note,
                "data[values-cilium]",
                "in variant noop, without that component; the old one did not install that release either",
            ),
        ],
    );
    let many: Vec<String> = (0..500)
        .map(|number| format!("k{number}: {}", "v".repeat(200)))
        .collect();
    let many = many.join("\n");
    let plan = sound(&with(&json!({"values-dashboard": many})), A1);
    assert!(
        plan.findings
            .iter()
            .any(|finding| finding.text.ends_with("and 492 more"))
    );
}

#[test]
fn what_a_hosted_cluster_stored_on() {
    let found = |keys: Value, live: Option<&str>| {
        let mut keys = keys;
        keys["bundle-name"] = "paas-hosted".into();
        let mut snapshot = with(&keys);
        if let Some(live) = live {
            snapshot.put(package(live, json!({})));
        }
        let plan = sound(&snapshot, A1);
        plan.findings
            .iter()
            .any(|finding| finding.text.starts_with("brought piraeus-operator"))
    };
    assert!(found(json!({}), None));
    assert!(!found(json!({"bundle-disable": "piraeus-operator"}), None));
    assert!(!found(json!({}), Some("cozystack.linstor")));
}

/// A variant that has no such component: what a Package says of it is ignored.
#[test]
fn a_component_of_another_variant_waits() {
    let uri = "extra-keycloak-redirect-uri-for-dashboard";
    let mut snapshot = with(&json!({uri: "https://x.test", "oidc-enabled": "true"}));
    snapshot.put(package(
        "cozystack.cozystack-engine",
        json!({"variant": "default"}),
    ));
    let plan = sound(&snapshot, A1);
    let change = plan
        .changes
        .iter()
        .find(|change| change.step == Step::Values)
        .unwrap();
    assert_eq!(
        change.after["spec"]["components"],
        json!({"dashboard": {"values": {"_cluster": {uri: "https://x.test"}}}})
    );
    let pending: Vec<&str> = plan
        .findings
        .iter()
        .filter(|finding| finding.weight == Pending && !is_usual(finding))
        .map(|finding| finding.text.as_str())
        .collect();
    assert_eq!(pending.len(), 1);
    assert!(
        pending[0].contains(
            "whose variant \"default\" has no such component yet; a later run writes there"
        ),
        "{}",
        pending[0]
    );
    snapshot.put(package(
        "cozystack.cozystack-engine",
        json!({"variant": "oidc"}),
    ));
    let plan = sound(&snapshot, A1);
    let change = plan
        .changes
        .iter()
        .find(|change| change.step == Step::Values)
        .unwrap();
    assert!(
        change
            .after
            .pointer("/spec/components/keycloak-configure/values/_cluster")
            .is_some()
    );
}
