//! Virtual machines, their pods, the Services that select these, and the releases behind them, as several rules read
//! them.

use crate::contract::{Cluster, Object};
use crate::kinds::{HELM_RELEASES_WITH_VALUES, SERVICES, SERVICES_BY_SELECTOR};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Label of everything that Flux installs: the name of its HelmRelease.
const RELEASE_NAME_LABEL: &str = "helm.toolkit.fluxcd.io/name";
/// Label of everything that Flux installs: the namespace of its HelmRelease.
const RELEASE_NAMESPACE_LABEL: &str = "helm.toolkit.fluxcd.io/namespace";
/// Label by which Cluster API says to which cluster a machine belongs.
const CLUSTER_LABEL: &str = "cluster.x-k8s.io/cluster-name";
/// The Secret that the platform gives every release: facts of cluster and namespace, no values of the application.
const PLATFORM_VALUES: &str = "cozystack-values";

/// The labels by which the charts of virtual machines select their pods.
pub const CHART_LABELS: [&str; 2] = ["app.kubernetes.io/instance", "app.kubernetes.io/name"];
/// KubeVirt's label of every pod that runs a machine.
pub const LAUNCHER_LABEL: &str = "kubevirt.io";
/// Its value.
pub const LAUNCHER: &str = "virt-launcher";
/// KubeVirt's label that says whose pod it is.
pub const HOST_LABEL: &str = "vm.kubevirt.io/name";

/// Labels that say what kind of thing something is, and not which one: many things have the same.
const COMMON_LABELS: [&str; 7] = [
    "app.kubernetes.io/component",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/name",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
    "helm.sh/chart",
    LAUNCHER_LABEL,
];

/// Longest DNS label, and label value, in bytes.
const LABEL_MAX_BYTES: usize = 63;
/// Longest name of a Helm release that Flux leaves as it is, in bytes.
const RELEASE_NAME_MAX_BYTES: usize = 53;

/// As much of a text as fits, whole characters only.
#[must_use]
pub fn cut(text: &str, max_bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(max_bytes))
        .unwrap_or(text)
}

/// The first hex digits of a text's sha256.
#[must_use]
pub fn digest(text: &str, digits: usize) -> String {
    let mut hex = String::with_capacity(digits + 1);
    for byte in Sha256::digest(text).iter().take(digits.div_ceil(2)) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex.truncate(digits);
    hex
}

/// The labels that a machine's pod template gives its pods.
fn template_labels(machine: &Object) -> Option<&Map<String, Value>> {
    machine
        .value
        .pointer("/spec/template/metadata/labels")?
        .as_object()
}

/// The value of a label of the pod template.
#[must_use]
pub fn template_label<'a>(machine: &'a Object, key: &str) -> Option<&'a str> {
    template_labels(machine)?.get(key)?.as_str()
}

/// What KubeVirt calls the machine's host: what its pod template says, or else the machine's name up to the first dot,
/// no longer than a label.
#[must_use]
pub fn host(machine: &Object) -> &str {
    let given = machine.text(&["spec", "template", "spec", "hostname"]);
    given.filter(|given| !given.is_empty()).unwrap_or_else(|| {
        let first = machine.name.split('.').next().unwrap_or_default();
        cut(first, LABEL_MAX_BYTES)
    })
}

/// The labels of a machine's pods that are known before there is one: those of the template, and KubeVirt's, which win.
#[must_use]
pub fn pod_labels(machine: &Object) -> BTreeMap<&str, &str> {
    let mut labels: BTreeMap<&str, &str> = template_labels(machine)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
        .collect();
    labels.insert(LAUNCHER_LABEL, LAUNCHER);
    labels.insert(HOST_LABEL, host(machine));
    labels
}

/// A key of the indexes by label.
#[must_use]
pub fn pair(namespace: &str, key: &str, value: &str) -> String {
    [namespace, "/", key, "=", value].concat()
}

/// What a Service selects; none when it selects nothing: it leads to another name, or to addresses that somebody else
/// writes.
fn selector(service: &Object) -> Option<&Map<String, Value>> {
    let spec = service.value.get("spec")?;
    if spec.get("type").and_then(Value::as_str) == Some("ExternalName") {
        return None;
    }
    let selector = spec.get("selector")?.as_object()?;
    (!selector.is_empty()).then_some(selector)
}

/// The part of a Service's selector under which it is found: a label that only few things have, if there is one.
#[must_use]
pub fn selector_key(service: &Object) -> Option<String> {
    let (key, value) = selector(service)?
        .iter()
        .min_by_key(|(key, _)| (COMMON_LABELS.contains(&key.as_str()), *key))?;
    Some(pair(&service.namespace, key, value.as_str()?))
}

/// The Services that select the machine's pods, in order of their names. One look-up a label: it does not matter how
/// many Services select something else.
#[must_use]
pub fn services_of(machine: &Object, cluster: &dyn Cluster) -> Vec<Arc<Object>> {
    let labels = pod_labels(machine);
    let mut found: Vec<Arc<Object>> = labels
        .iter()
        .map(|(key, value)| pair(&machine.namespace, key, value))
        .flat_map(|key| {
            let found = cluster.find(&SERVICES, &SERVICES_BY_SELECTOR, &key, usize::MAX);
            found.first
        })
        .filter(|service| {
            selector(service).is_some_and(|selector| {
                let mut parts = selector.iter();
                parts.all(|(key, value)| labels.get(key.as_str()).copied() == value.as_str())
            })
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// Whether Cluster API made the machine, as a worker of a tenant's Kubernetes cluster.
#[must_use]
pub fn is_cluster_worker(machine: &Object) -> bool {
    template_label(machine, CLUSTER_LABEL)
        .or_else(|| machine.label(CLUSTER_LABEL))
        .is_some()
}

/// Namespace and name of the HelmRelease behind an object that Flux has installed. Not by the object's own name: long
/// ones are shortened on the way.
#[must_use]
pub fn release_of(object: &Object) -> Option<(&str, &str)> {
    let name = object.label(RELEASE_NAME_LABEL)?;
    let namespace = object.label(RELEASE_NAMESPACE_LABEL);
    Some((namespace.unwrap_or(&object.namespace), name))
}

/// Whether a machine's chart makes a load balancer for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum External {
    /// It does.
    Yes,
    /// It does not, or there is no chart.
    No,
    /// Values that are not known here decide, or what is written makes no sense.
    Unknown,
}

impl External {
    /// What the `spec` of a HelmRelease says.
    #[must_use]
    pub fn in_release(spec: Option<&Value>) -> External {
        let spec = |member: &str| spec.and_then(|spec| spec.get(member));
        match spec("values").and_then(|values| values.get("external")) {
            Some(Value::Bool(true)) => External::Yes,
            Some(Value::Bool(false)) => External::No,
            // The chart renders nothing of it.
            Some(_) => External::Unknown,
            None if has_values_elsewhere(spec("valuesFrom")) => External::Unknown,
            None => External::No,
        }
    }

    /// What the release behind the machine says.
    #[must_use]
    pub fn of(machine: &Object, cluster: &dyn Cluster) -> External {
        let release = release_of(machine)
            .and_then(|(namespace, name)| cluster.get(&HELM_RELEASES_WITH_VALUES, namespace, name));
        release.map_or(External::No, |release| {
            External::in_release(release.value.get("spec"))
        })
    }
}

/// Whether other values come beneath those of the release; sources that cannot be read are such values too.
fn has_values_elsewhere(sources: Option<&Value>) -> bool {
    let sources = match sources {
        None | Some(Value::Null) => return false,
        Some(sources) => sources.as_array(),
    };
    sources.is_none_or(|sources| {
        sources.iter().any(|source| {
            let text = |member: &str| source.get(member).and_then(Value::as_str);
            text("kind") != Some("Secret")
                || text("name") != Some(PLATFORM_VALUES)
                || text("targetPath").is_some()
        })
    })
}

/// The namespace into which a HelmRelease installs, and the name of its Helm release: Flux shortens long ones.
#[must_use]
pub fn helm_release<'a>(
    namespace: &'a str,
    name: &str,
    spec: Option<&'a Value>,
) -> (&'a str, String) {
    let text = |member: &str| {
        let text = spec.and_then(|spec| spec.get(member)?.as_str());
        text.filter(|text| !text.is_empty())
    };
    let target = text("targetNamespace");
    let whole = match (text("releaseName"), target) {
        (Some(given), _) => given.to_owned(),
        (None, Some(target)) => format!("{target}-{name}"),
        (None, None) => name.to_owned(),
    };
    let release = if whole.len() > RELEASE_NAME_MAX_BYTES {
        format!("{}-{}", cut(&whole, 40), digest(&whole, 12))
    } else {
        whole
    };
    (target.unwrap_or(namespace), release)
}

/// What a chart of machines calls its machine and Service in that release with these values.
#[must_use]
pub fn full_name(release: &str, chart: &str, values: Option<&Value>) -> String {
    let text = |member: &str| {
        let text = values.and_then(|values| values.get(member)?.as_str());
        text.filter(|text| !text.is_empty())
    };
    let chart = text("nameOverride").unwrap_or(chart);
    let full = match text("fullnameOverride") {
        Some(given) => given.to_owned(),
        None if release.contains(chart) => release.to_owned(),
        None => format!("{release}-{chart}"),
    };
    // Helm's trimSuffix takes one dash off.
    let full = cut(&full, LABEL_MAX_BYTES);
    full.strip_suffix('-').unwrap_or(full).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        Object::of(value).unwrap()
    }

    #[test]
    fn pods_have_the_templates_labels_and_kubevirts() {
        let long = "x".repeat(70);
        for (name, template, host) in [
            ("web", json!({}), "web"),
            ("web.example.org", json!({}), "web"),
            (long.as_str(), json!({}), &long[..63]),
            ("web", json!({"spec": {"hostname": ""}}), "web"),
            ("web", json!({"spec": {"hostname": "db"}}), "db"),
            (
                "web",
                json!({"metadata": {"labels": {"kubevirt.io": "x", "vm.kubevirt.io/name": "y"}}}),
                "web",
            ),
        ] {
            let machine = object(
                json!({"metadata": {"name": name, "namespace": "a"}, "spec": {"template": template}}),
            );
            let labels = pod_labels(&machine);
            let expected = [("kubevirt.io", "virt-launcher"), (HOST_LABEL, host)];
            assert_eq!(labels, BTreeMap::from(expected), "{name} {template}");
        }
        let machine = object(json!({
            "metadata": {"name": "web", "namespace": "a"},
            "spec": {"template": {"metadata": {"labels": {"app": "web", "wrong": 5}}}},
        }));
        assert_eq!(pod_labels(&machine).get("app"), Some(&"web"));
        assert_eq!(pod_labels(&machine).len(), 3);
    }

    #[test]
    fn services_are_found_by_what_narrows_most() {
        let key = |spec: Value| {
            selector_key(&object(
                json!({"metadata": {"name": "s", "namespace": "a"}, "spec": spec}),
            ))
        };
        for (selector, found) in [
            (json!({"b": "1", "c": "2"}), Some("a/b=1")),
            (
                json!({"app.kubernetes.io/instance": "x", "app.kubernetes.io/name": "vm-instance"}),
                Some("a/app.kubernetes.io/instance=x"),
            ),
            (
                json!({"kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": "x"}),
                Some("a/vm.kubevirt.io/name=x"),
            ),
            (
                json!({"kubevirt.io": "virt-launcher"}),
                Some("a/kubevirt.io=virt-launcher"),
            ),
            (json!({}), None),
            (json!(null), None),
        ] {
            assert_eq!(
                key(json!({"selector": selector})).as_deref(),
                found,
                "{selector}"
            );
        }
        assert_eq!(
            key(json!({"type": "ExternalName", "selector": {"a": "b"}})),
            None
        );
    }

    #[test]
    fn names_are_those_of_flux_and_the_chart() {
        let spec = json!({"releaseName": "given"});
        assert_eq!(helm_release("a", "x", Some(&spec)), ("a", "given".into()));
        let spec = json!({"targetNamespace": "b"});
        assert_eq!(helm_release("a", "x", Some(&spec)), ("b", "b-x".into()));
        assert_eq!(helm_release("a", "x", None), ("a", "x".into()));
        let long = format!("vm-instance-{}", "x".repeat(50));
        let (_, short) = helm_release("a", &long, None);
        assert_eq!(short.len(), 53);
        assert!(short.starts_with(&long[..40]) && &short[40..=40] == "-");

        let full = |release: &str, values: Value| full_name(release, "vm-instance", Some(&values));
        assert_eq!(full("vm-instance-web", json!({})), "vm-instance-web");
        assert_eq!(full("web", json!({})), "web-vm-instance");
        assert_eq!(full("web", json!({"nameOverride": "we"})), "web");
        assert_eq!(full("web", json!({"fullnameOverride": "db"})), "db");
        let dashed = json!({"fullnameOverride": format!("{}-y", "x".repeat(62))});
        assert_eq!(full("web", dashed), "x".repeat(62));
        assert_eq!(digest("abc", 12), "ba7816bf8f01");
    }

    #[test]
    fn who_decides_over_external() {
        let secret = |name: &str| json!([{"kind": "Secret", "name": name}]);
        for (spec, expected) in [
            (json!({}), External::No),
            (json!({"values": {"external": true}}), External::Yes),
            (json!({"values": {"external": false}}), External::No),
            (json!({"values": {"external": "true"}}), External::Unknown),
            (
                json!({"valuesFrom": secret("cozystack-values")}),
                External::No,
            ),
            (json!({"valuesFrom": null}), External::No),
            (json!({"valuesFrom": secret("x")}), External::Unknown),
            (json!({"valuesFrom": 5}), External::Unknown),
            (
                json!({"values": {"external": true}, "valuesFrom": secret("x")}),
                External::Yes,
            ),
            (
                json!({"values": {"external": false}, "valuesFrom": secret("x")}),
                External::No,
            ),
        ] {
            assert_eq!(External::in_release(Some(&spec)), expected, "{spec}");
        }
    }
}
