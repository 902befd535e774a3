//! Configurations, each of which differs in one key or hazard, and what becomes of them.

mod components;
mod platform;
mod standing;

use super::*;
use crate::contract::{Path, Verdict};
use crate::migration::{Change, Step};
use crate::platform::{PACKAGE, Subject};
use Version::{V1_0, V1_0Alpha1};
use Weight::{Decision, Note, Pending};
use proptest::prelude::*;
use serde_json::json;

const A1: Version = V1_0Alpha1;
const G: Version = V1_0;

/// A configuration that is complete, with the platform's own networks.
fn usual() -> Map<String, Value> {
    let data = json!({
        "bundle-name": "paas-full",
        "root-host": "cloud.test",
        "api-server-endpoint": "https://api.cloud.test",
        "ipv4-pod-cidr": "10.244.0.0/16",
        "ipv4-pod-gateway": "10.244.0.1",
        "ipv4-svc-cidr": "10.96.0.0/16",
        "ipv4-join-cidr": "100.64.0.0/16",
    });
    data.as_object().unwrap().clone()
}

fn map(name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "cozy-system"},
        "data": data,
    })
}

/// The usual ConfigMap with keys added, changed and, where they are null, taken away.
fn with(keys: &Value) -> Snapshot {
    let mut data = usual();
    for (key, value) in keys.as_object().unwrap() {
        if value.is_null() {
            data.remove(key);
        } else {
            data.insert(key.clone(), value.clone());
        }
    }
    let mut snapshot = Snapshot::default();
    snapshot.put(map(COZYSTACK, &Value::Object(data)));
    snapshot
}

fn package(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "cozystack.io/v1alpha1", "kind": "Package", "metadata": {"name": name, "uid": "x"}, "spec": spec})
}

fn platform_values(change: &Change) -> &Value {
    change
        .after
        .pointer("/spec/components/platform/values")
        .unwrap()
}

fn of_platform(plan: &Plan) -> Option<&Change> {
    let mut changes = plan
        .changes
        .iter()
        .filter(|change| change.step == Step::Configuration);
    let first = changes.next();
    assert!(changes.next().is_none());
    first
}

/// What must hold of every plan.
#[track_caller]
fn sound(snapshot: &Snapshot, target: Version) -> Plan {
    let first = plan(snapshot, target);
    for finding in &first.findings {
        assert!(
            finding.text.chars().count() <= TEXT_MAX_CHARS,
            "{}",
            finding.text
        );
        assert!(
            !finding.text.ends_with('.') && !finding.text.contains('\n'),
            "{}",
            finding.text
        );
        assert!(finding.field.chars().count() <= 120, "{}", finding.field);
        assert!(!finding.about.kind.is_empty() && !finding.text.is_empty());
    }
    let mut after = snapshot.clone();
    for change in &first.changes {
        let name = change.after["metadata"]["name"].as_str().unwrap();
        let live = snapshot.get("cozystack.io", "Package", "", name);
        assert_eq!(change.before.as_ref(), live, "{name}");
        assert_ne!(change.before.as_ref(), Some(&change.after), "{name}");
        after.put(change.after.clone());
    }
    let second = plan(&after, target);
    assert_eq!(second.changes, [], "{:?}", first.changes);
    if let Some(change) = of_platform(&first) {
        let values = change
            .after
            .pointer("/spec/components/platform/values")
            .unwrap_or(&Value::Null);
        let mut verdict = Verdict::default();
        let subject = Subject {
            variant: change.after["spec"]["variant"].as_str().unwrap(),
            values,
            version: target,
            is_installed: &|name| {
                let source = snapshot.get("cozystack.io", "PackageSource", "", name);
                source.is_some()
            },
        };
        crate::platform::check(&subject, &Path::ROOT, &mut verdict);
        assert_eq!(verdict.violations, [], "{values}");
    }
    first
}

/// What every usual configuration says beside what is looked at.
fn is_usual(finding: &Finding) -> bool {
    let is_etcd =
        finding.weight == Pending && finding.text.contains("scrapeRules.etcd.enabled: true");
    let is_linstor =
        finding.weight == Decision && finding.text.starts_with("brought piraeus-operator");
    is_etcd || is_linstor
}

/// One configuration: what differs in its keys, in the values from the usual ones (none for no Change), and what is
/// found: weight, field and a part of the text.
#[track_caller]
fn row(keys: &Value, target: Version, values: Option<Value>, findings: &[(Weight, &str, &str)]) {
    seen(&with(keys), target, values, findings);
}

#[track_caller]
fn seen(
    snapshot: &Snapshot,
    target: Version,
    values: Option<Value>,
    findings: &[(Weight, &str, &str)],
) {
    let plan = sound(snapshot, target);
    let wanted = values.map(|over| {
        let usual = json!({"publishing": {"host": "cloud.test", "apiServerEndpoint": "https://api.cloud.test", "exposedServices": []}});
        let mut all = usual.as_object().unwrap().clone();
        crate::platform::merge(&mut all, over.as_object().unwrap());
        Value::Object(all)
    });
    assert_eq!(
        of_platform(&plan).map(platform_values),
        wanted.as_ref(),
        "{:#?}",
        plan.findings
    );
    let found: Vec<&Finding> = plan
        .findings
        .iter()
        .filter(|finding| !is_usual(finding))
        .collect();
    let is_as = |(finding, (weight, field, text)): (&&Finding, &(Weight, &str, &str))| {
        finding.weight == *weight && finding.field == *field && finding.text.contains(text)
    };
    assert!(
        found.len() == findings.len() && found.iter().zip(findings).all(is_as),
        "expected {findings:#?}, found {found:#?}"
    );
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "true",
            "false",
            "yes",
            "",
            "null",
            "1e3",
            "#x",
            " dashboard",
            "dashboard",
            "api,dashboard",
            "velero",
            "metallb,reloader",
            "cloudflare",
            "10.1.0.0/16",
            "10.1.0.1",
            "k.example",
            "https://a.test",
            "4",
            "2.5",
            "a: 1",
            "a: {b: [1]}\nc: null",
            "- x",
            "a: [",
            "|\n  a: 1\n",
            "prometheus-operator-crds, cilium",
            "keycloak,dashboard,x",
            "tenant-edge",
        ])
        .prop_map(ToOwned::to_owned),
        ".{0,30}",
        "[a-z,: {}\\[\\]\n#-]{0,20}",
    ]
}

fn any_data(keys: Vec<&'static str>) -> impl Strategy<Value = Data> {
    let key = prop_oneof![9 => prop::sample::select(keys).prop_map(ToOwned::to_owned), 1 => "[a-z.-]{1,12}"];
    prop::collection::btree_map(key, any_text(), 0..8)
}

type Data = std::collections::BTreeMap<String, String>;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5i64..5).prop_map(Value::from),
        "[a-z]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::btree_map(
                "[abc]|publishing|host|cozystackController|disableTelemetry",
                inner,
                0..4
            )
            .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_package() -> impl Strategy<Value = Value> {
    let component = prop::sample::select(vec![
        "platform",
        "dashboard",
        "cozystack-controller",
        "kubevirt",
        "metallb",
    ]);
    let variant = prop::option::of(prop::sample::select(vec![
        "isp-full",
        "isp-hosted",
        "default",
        "oidc",
        "x",
    ]));
    let spec = (
        prop::collection::btree_map(component, any_json(), 0..3),
        variant,
        any::<bool>(),
    );
    prop_oneof![
        8 => spec.prop_map(|(components, variant, is_wrapped)| {
            let components: Map<String, Value> = components
                .into_iter()
                .map(|(name, values)| (name.to_owned(), if is_wrapped { json!({"values": values}) } else { values }))
                .collect();
            let mut spec = json!({"components": components});
            if let Some(variant) = variant {
                spec["variant"] = variant.into();
            }
            spec
        }),
        1 => any_json(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever is there: once what is planned is done, nothing is left to do, and the platform takes its Package.
    #[test]
    fn a_second_run_finds_nothing_to_do(
        bundle in prop::sample::select(vec!["paas-full", "paas-hosted"]),
        is_usual_else in any::<bool>(),
        data in any_data(vec![
            "cluster-domain", "ipv4-pod-cidr", "ipv4-pod-gateway", "root-host", "api-server-endpoint", "expose-ingress",
            "expose-services", "expose-external-ips", "bundle-enable", "bundle-disable", "oidc-enabled", "telemetry-enabled",
            "clusterissuer", "cpu-allocation-ratio", "memory-allocation-ratio", "extra-keycloak-redirect-uri-for-dashboard",
            "values-dashboard", "values-kubevirt", "values-cozystack-controller", "values-metallb", "values-x", "values-fluxcd",
        ]),
        branding in any_data(vec!["branding", "logoSvg", "dashboard"]),
        scheduling in any_data(vec!["globalAppTopologySpreadConstraints", "dedicatedNodesForWindowsVMs"]),
        live in prop::collection::btree_map(
            prop::sample::select(vec![PACKAGE, "cozystack.cozystack-engine", "cozystack.kubevirt", "cozystack.metallb", "cozystack.monitoring-agents"]),
            any_package(),
            0..4,
        ),
        target in prop::sample::select(vec![A1, G, Version::V1_6]),
    ) {
        let mut keys = if is_usual_else { usual() } else { Map::new() };
        keys.extend(data.into_iter().map(|(key, text)| (key, text.into())));
        keys.insert("bundle-name".to_owned(), bundle.into());
        let mut snapshot = Snapshot::default();
        snapshot.put(map(COZYSTACK, &keys.into()));
        snapshot.put(map(BRANDING, &json!(branding)));
        snapshot.put(map(SCHEDULING, &json!(scheduling)));
        for (name, spec) in live {
            snapshot.put(package(name, spec));
        }
        let _ = sound(&snapshot, target);
    }
}
