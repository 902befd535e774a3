//! Policies of Cilium and of Kubernetes, as far as it matters which pods they are about.
//!
//! How selectors are read is Cilium's own way (1.18, `getEndpointSelector`): a selector of a namespaced policy gets the
//! policy's namespace, unless one of its keys is about namespaces or reserved.
//!
//! Its keys have forms that nobody needs (`GetExtendedKeyFrom`): a source may be empty or reserved in three spellings, what
//! follows `=` is dropped, and of two spellings of one key in `matchLabels` either may be left. A selector with such keys
//! is not read: it may mean anything.

use crate::tenants::{SYSTEM_LABEL, TENANT_LABEL_PREFIX};
use serde_json::{Map, Value};
use std::collections::HashMap;

const NAMESPACE_KEY: &str = "io.kubernetes.pod.namespace";
/// Cilium looks for this beginning without a dot behind it.
const NAMESPACE_LABEL_PREFIX: &str = "io.cilium.k8s.namespace.labels";
/// The label of every namespace that holds its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// What a key of a selector is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// The name of the pod's namespace.
    Namespace,
    /// A label of the pod's namespace.
    NamespaceLabel(&'a str),
    /// Something that is no pod.
    Reserved,
    /// A label of the pod.
    Label(&'a str),
}

/// What keeps a selector from being read, as the predicate of a sentence.
pub type Unreadable = String;

const NOT_READABLE: &str = "is not readable";

/// A key of a selector of Cilium by source and name, as Cilium tells keys apart; none in a form that is not read.
fn extended(key: &str) -> Option<(&str, &str)> {
    if key.starts_with(['$', ':']) || key.starts_with("reserved.") || key.contains('=') {
        return None;
    }
    let (source, name) = key.split_once(':').unwrap_or(("any", key));
    // A dot comes between source and name, so one in the source moves the border.
    let is_clear = !source.contains('.');
    // Early releases select everything by this.
    let is_everything = source == "reserved" && name == "all";
    (is_clear && !is_everything).then_some((source, name))
}

impl<'a> Key<'a> {
    fn of_cilium(key: &'a str) -> Option<Key<'a>> {
        let (source, name) = extended(key)?;
        Some(match source {
            "reserved" => Key::Reserved,
            "any" | "k8s" if name == NAMESPACE_KEY => Key::Namespace,
            "any" | "k8s" => match name.strip_prefix(NAMESPACE_LABEL_PREFIX) {
                Some(label) => Key::of_namespace(label.strip_prefix('.').unwrap_or(label)),
                None => Key::Label(name),
            },
            _ => Key::Label(key),
        })
    }

    /// A key of a NetworkPolicy's `podSelector`; none where it gets in the way of what Cilium makes of the namespace.
    fn of_pod(key: &'a str) -> Option<Key<'a>> {
        let is_of_ours = key == NAMESPACE_KEY || key.starts_with(NAMESPACE_LABEL_PREFIX);
        (!is_of_ours).then_some(Key::Label(key))
    }

    fn of_namespace(label: &'a str) -> Key<'a> {
        if label == NAME_LABEL {
            Key::Namespace
        } else {
            Key::NamespaceLabel(label)
        }
    }

    fn is_about_namespaces(self) -> bool {
        matches!(self, Key::Namespace | Key::NamespaceLabel(_))
    }
}

/// How a key must stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator<'a> {
    /// It has one of these values.
    In(Vec<&'a str>),
    /// It has none of these values, or is not there.
    NotIn(Vec<&'a str>),
    /// It is there.
    Exists,
    /// It is not there.
    Absent,
}

/// One condition of a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement<'a> {
    /// What it is about.
    pub key: Key<'a>,
    /// How that must stand.
    pub operator: Operator<'a>,
}

impl Requirement<'_> {
    /// The one value that it wants; none when it takes others too.
    pub fn value(&self) -> Option<&str> {
        match &self.operator {
            Operator::In(values) => match values.as_slice() {
                [value] => Some(value),
                _ => None,
            },
            _ => None,
        }
    }

    /// The values of which it wants one.
    pub fn values(&self) -> &[&str] {
        match &self.operator {
            Operator::In(values) => values,
            _ => &[],
        }
    }

    /// Whether it wants the key to be there.
    fn is_positive(&self) -> bool {
        matches!(self.operator, Operator::In(_) | Operator::Exists)
    }
}

/// A selector: all of its conditions hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector<'a>(pub Vec<Requirement<'a>>);

impl<'a> Selector<'a> {
    /// A selector of Cilium.
    ///
    /// # Errors
    /// Why it is not readable.
    pub fn of_cilium(value: &'a Value) -> Result<Selector<'a>, Unreadable> {
        let selector = read(value, Key::of_cilium)?;
        let mut spellings = HashMap::new();
        for key in keys(value) {
            let Some(extended) = extended(key) else {
                continue;
            };
            let first = *spellings.entry(extended).or_insert(key);
            if first != key {
                return Err(format!("{NOT_READABLE}: {first} and {key} are one key"));
            }
        }
        Ok(Selector(selector))
    }

    /// The selectors of a NetworkPolicy's peer together.
    ///
    /// # Errors
    /// Why they are not readable.
    pub fn of_peer(peer: &'a Map<String, Value>) -> Result<Selector<'a>, Unreadable> {
        let mut requirements = Vec::new();
        if let Some(pods) = peer.get("podSelector").filter(|value| !value.is_null()) {
            requirements.extend(read(pods, Key::of_pod)?);
        }
        if let Some(namespaces) = peer.get("namespaceSelector") {
            requirements.extend(read(namespaces, |key| Some(Key::of_namespace(key)))?);
        }
        Ok(Selector(requirements))
    }

    /// Whether some key names something that is no pod.
    pub fn is_reserved(&self) -> bool {
        self.0
            .iter()
            .any(|requirement| requirement.key == Key::Reserved)
    }

    /// Whether it selects nothing but what is no pod.
    pub fn selects_no_pod(&self) -> bool {
        let mut requirements = self.0.iter();
        requirements
            .any(|requirement| requirement.key == Key::Reserved && requirement.is_positive())
    }

    /// Whether it says itself in which namespaces the pods are.
    pub fn names_namespaces(&self) -> bool {
        let mut requirements = self.0.iter();
        requirements.any(|requirement| requirement.key.is_about_namespaces())
    }

    /// Where the pods that it selects are at most: each of these holds.
    pub fn bounds(&self) -> Vec<Bound<'_>> {
        self.0.iter().filter_map(Bound::of).collect()
    }

    /// The value that it wants of a pod's label.
    pub fn values_of(&self, label: &str) -> Option<&[&str]> {
        self.0
            .iter()
            .find(|requirement| {
                requirement.key == Key::Label(label) && !requirement.values().is_empty()
            })
            .map(Requirement::values)
    }
}

/// In which namespaces a selector's pods are at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound<'a> {
    /// In these.
    Named(Vec<&'a str>),
    /// In that tenant's and its descendants'.
    Below(&'a str),
    /// In the platform's own.
    System,
}

impl<'a> Bound<'a> {
    fn of(requirement: &'a Requirement<'_>) -> Option<Bound<'a>> {
        match requirement.key {
            Key::Namespace if !requirement.values().is_empty() => {
                Some(Bound::Named(requirement.values().to_vec()))
            }
            Key::NamespaceLabel(SYSTEM_LABEL) if requirement.value() == Some("true") => {
                Some(Bound::System)
            }
            Key::NamespaceLabel(label) if requirement.is_positive() => {
                label.strip_prefix(TENANT_LABEL_PREFIX).map(Bound::Below)
            }
            _ => None,
        }
    }
}

fn read<'a>(
    selector: &'a Value,
    key: impl Fn(&'a str) -> Option<Key<'a>>,
) -> Result<Vec<Requirement<'a>>, Unreadable> {
    let form = || NOT_READABLE.to_owned();
    let key = |name| key(name).ok_or_else(|| format!("{NOT_READABLE} by its key {name:?}"));
    let selector = selector.as_object().ok_or_else(form)?;
    let mut requirements = Vec::new();
    match selector.get("matchLabels") {
        None | Some(Value::Null) => {}
        Some(labels) => {
            for (name, value) in labels.as_object().ok_or_else(form)? {
                requirements.push(Requirement {
                    key: key(name)?,
                    operator: Operator::In(vec![value.as_str().ok_or_else(form)?]),
                });
            }
        }
    }
    for expression in list(selector.get("matchExpressions")).ok_or_else(form)? {
        let (name, operator) = expressed(expression).ok_or_else(form)?;
        requirements.push(Requirement {
            key: key(name)?,
            operator,
        });
    }
    Ok(requirements)
}

/// Key and condition of one of `matchExpressions`.
fn expressed(expression: &Value) -> Option<(&str, Operator<'_>)> {
    let name = expression.get("key")?.as_str()?;
    let values = list(expression.get("values"))?;
    let values: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
    let operator = match expression.get("operator")?.as_str()? {
        "In" => Operator::In(values?),
        "NotIn" => Operator::NotIn(values?),
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::Absent,
        _ => return None,
    };
    Some((name, operator))
}

/// All keys of a selector as they are written.
fn keys(selector: &Value) -> impl Iterator<Item = &str> {
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let expressions = list(selector.get("matchExpressions")).unwrap_or_default();
    let labels = labels.into_iter().flatten().map(|(key, _)| key.as_str());
    labels.chain(
        expressions
            .iter()
            .filter_map(|expression| expression.get("key")?.as_str()),
    )
}

/// A list, where an absent one is empty; none when it is something else.
pub fn list(value: Option<&Value>) -> Option<&[Value]> {
    match value {
        None | Some(Value::Null) => Some(&[]),
        Some(value) => value.as_array().map(Vec::as_slice),
    }
}

/// Whether a list is there and has items.
pub fn has_items(object: &Map<String, Value>, member: &str) -> bool {
    !list(object.get(member)).unwrap_or_default().is_empty()
}

/// The parts of a policy of Cilium: `spec`, and each of `specs` with its index.
pub fn specs(policy: &Value) -> Vec<(Option<usize>, &Map<String, Value>)> {
    let one = policy.get("spec").and_then(Value::as_object);
    let many = list(policy.get("specs")).unwrap_or_default();
    one.map(|spec| (None, spec))
        .into_iter()
        .chain(many.iter().enumerate().filter_map(|(index, spec)| {
            let spec = spec.as_object()?;
            Some((Some(index), spec))
        }))
        .collect()
}

/// The members of a rule that say to whom; one kind of them counts, more are refused by Cilium.
const DESTINATIONS: [&str; 8] = [
    "toEndpoints",
    "toEntities",
    "toServices",
    "toCIDR",
    "toCIDRSet",
    "toFQDNs",
    "toGroups",
    "toNodes",
];

/// The kinds of destinations that a rule names.
pub fn destinations(rule: &Map<String, Value>) -> Vec<&'static str> {
    DESTINATIONS
        .into_iter()
        .filter(|member| has_items(rule, member))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_read_as_cilium_reads_them() {
        for (key, read) in [
            ("app", Key::Label("app")),
            ("k8s:app", Key::Label("app")),
            ("any:app", Key::Label("app")),
            ("k8s.app", Key::Label("k8s.app")),
            ("io.kubernetes.pod.namespace", Key::Namespace),
            ("k8s:io.kubernetes.pod.namespace", Key::Namespace),
            ("any:io.kubernetes.pod.namespace", Key::Namespace),
            (
                "k8s.io.kubernetes.pod.namespace",
                Key::Label("k8s.io.kubernetes.pod.namespace"),
            ),
            (
                "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name",
                Key::Namespace,
            ),
            (
                "io.cilium.k8s.namespace.labels.team",
                Key::NamespaceLabel("team"),
            ),
            (
                "io.cilium.k8s.namespace.labelsteam",
                Key::NamespaceLabel("team"),
            ),
            ("reserved:host", Key::Reserved),
            ("reserved", Key::Label("reserved")),
            ("", Key::Label("")),
            (
                "cidr:io.kubernetes.pod.namespace",
                Key::Label("cidr:io.kubernetes.pod.namespace"),
            ),
        ] {
            assert_eq!(Key::of_cilium(key), Some(read), "{key}");
        }
        for key in [
            "$x",
            "$io.kubernetes.pod.namespace",
            "reserved.x",
            "reserved.x:y",
            "reserved:all",
            ":app",
            ":io.kubernetes.pod.namespace",
            "app=",
            "k8s:io.kubernetes.pod.namespace=",
            "k8s:io.kubernetes.pod.namespace=x",
            "k8s.io.kubernetes.pod:namespace",
            "any.io.cilium:k8s.namespace.labels.team",
        ] {
            assert_eq!(Key::of_cilium(key), None, "{key}");
        }
    }

    #[test]
    fn selectors_that_are_none_are_not_read() {
        for wrong in [
            json!(null),
            json!([]),
            json!({"matchLabels": []}),
            json!({"matchLabels": {"a": 1}}),
            json!({"matchExpressions": {}}),
            json!({"matchExpressions": [{"key": "a", "operator": "Like"}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "In", "values": [1]}]}),
        ] {
            assert_eq!(
                Selector::of_cilium(&wrong),
                Err("is not readable".to_owned()),
                "{wrong}"
            );
        }
        assert_eq!(
            Selector::of_cilium(&json!({"matchLabels": null})),
            Ok(Selector::default())
        );
    }

    #[test]
    fn two_spellings_of_one_key_are_not_read() {
        let exists = |key: &str| json!({"key": key, "operator": "Exists"});
        for wrong in [
            json!({"matchLabels": {"app": "a", "any:app": "a"}}),
            json!({"matchExpressions": [exists("app"), exists("any:app")]}),
            json!({"matchLabels": {"any:app": "a"}, "matchExpressions": [exists("app")]}),
        ] {
            let why = Selector::of_cilium(&wrong).unwrap_err();
            assert!(why.contains("are one key"), "{wrong}: {why}");
        }
        for right in [
            // Labels of two sources, and two conditions of one label.
            json!({"matchLabels": {"k8s:app": "a", "any:app": "a"}}),
            json!({"matchExpressions": [exists("app"), exists("app")], "matchLabels": {"app": "x"}}),
        ] {
            assert!(Selector::of_cilium(&right).is_ok(), "{right}");
        }
    }

    #[test]
    fn keys_of_pods_that_speak_of_namespaces_are_not_read() {
        for key in [
            "io.kubernetes.pod.namespace",
            "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name",
            "io.cilium.k8s.namespace.labelsx",
        ] {
            let peer = json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {key: "x"}}});
            let why = Selector::of_peer(peer.as_object().unwrap()).unwrap_err();
            assert_eq!(why, format!("is not readable by its key {key:?}"));
        }
    }
}
