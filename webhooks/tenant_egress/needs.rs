//! What a tenant's pods must be able to reach, what of it a policy has, and what it lacks.

use super::policy::{Key, Operator, Requirement, Selector, destinations, has_items, list, specs};
use crate::contract::{Cluster, FieldPath, Object};
use crate::tenants::{self, Ancestors, MODULE_LABEL_PREFIX, PREFIX, TENANT_LABEL_PREFIX};
use serde_json::{Map, Value, json};
use std::fmt;

/// Pods of a tenant that others may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shared {
    /// Those that take metrics in.
    VmInsert,
    /// Those of etcd.
    Etcd,
    /// Those of the ingress controller.
    Ingress,
}

impl Shared {
    /// In the order of the chart.
    pub const ALL: [Shared; 3] = [Shared::VmInsert, Shared::Etcd, Shared::Ingress];

    /// The word in annotations and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Shared::VmInsert => "vminsert",
            Shared::Etcd => "etcd",
            Shared::Ingress => "ingress",
        }
    }

    /// The label that they have, and how the chart writes its key.
    pub fn label(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Shared::VmInsert => (
                "app.kubernetes.io/name",
                "k8s:app.kubernetes.io/name",
                "vminsert",
            ),
            Shared::Etcd => (
                "app.kubernetes.io/instance",
                "k8s:app.kubernetes.io/instance",
                "etcd",
            ),
            Shared::Ingress => ("cozystack.io/service", "cozystack.io/service", "ingress"),
        }
    }

    /// What is known of a label of theirs.
    fn label_of(self, label: &str) -> Known<'static> {
        match (label, self) {
            ("cozystack.io/service", Shared::VmInsert) => Known::Absent,
            (
                "cozystack.io/service" | "app.kubernetes.io/name" | "app.kubernetes.io/instance",
                Shared::Etcd,
            ) => Known::Value("etcd"),
            ("cozystack.io/service", Shared::Ingress) => Known::Value("ingress"),
            ("app.kubernetes.io/name", Shared::VmInsert) => Known::Value("vminsert"),
            ("app.kubernetes.io/name", Shared::Ingress) => Known::Value("ingress-nginx"),
            ("app.kubernetes.io/instance", Shared::Ingress) => Known::Value("ingress-nginx-system"),
            _ => Known::Nothing,
        }
    }

    /// The ports on which they listen.
    pub fn ports(self) -> &'static [u16] {
        match self {
            Shared::VmInsert => &[8480],
            Shared::Etcd => &[2379, 2380, 2381],
            Shared::Ingress => &[80, 443],
        }
    }
}

/// What is known of a label.
enum Known<'a> {
    /// Nothing.
    Nothing,
    /// That it is not there.
    Absent,
    /// Its value.
    Value(&'a str),
}

/// Pods that a tenant must be able to reach.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Need {
    /// Whose pods.
    pub tenant: String,
    /// Which of them.
    pub shared: Shared,
}

impl fmt::Display for Need {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.tenant, self.shared.as_str())
    }
}

impl Need {
    /// The selector in the chart's own form.
    pub fn selector(&self) -> Value {
        let (_, key, value) = self.shared.label();
        json!({"matchLabels": {key: value, "k8s:io.kubernetes.pod.namespace": self.tenant}})
    }
}

/// What the tenant's pods must be able to reach: the ingress of each true ancestor, etcd and vminsert of those whom its
/// namespace names. In the order of the chart: vminsert, etcd, ingress; the root first.
pub fn needs(tenant: &str, namespace: Option<&Object>, cluster: &dyn Cluster) -> Vec<Need> {
    let ancestors = Ancestors::of(tenant, namespace, cluster);
    let module = |module: &str, shared: Shared| {
        let named = namespace?.label(&format!("{MODULE_LABEL_PREFIX}{module}"))?;
        (named != tenant && tenants::is_tenant(named)).then(|| Need {
            tenant: named.to_owned(),
            shared,
        })
    };
    module("monitoring", Shared::VmInsert)
        .into_iter()
        .chain(module("etcd", Shared::Etcd))
        .chain(ancestors.names.into_iter().rev().map(|tenant| Need {
            tenant,
            shared: Shared::Ingress,
        }))
        .collect()
}

/// Rules that bring these needs, in the chart's own form.
pub fn rules(missing: &[Need]) -> Vec<Value> {
    Shared::ALL
        .into_iter()
        .filter_map(|shared| {
            let needs = missing.iter().filter(|need| need.shared == shared);
            let selectors: Vec<Value> = needs.map(Need::selector).collect();
            (!selectors.is_empty()).then(|| json!({"toEndpoints": selectors}))
        })
        .collect()
}

/// The list of a clusterwide policy in which rules for all pods of the tenant stand: in `spec`, or in one of `specs`.
pub fn home(tenant: &str, policy: &Value, cluster: &dyn Cluster) -> Option<FieldPath> {
    let mut specs = specs(policy).into_iter();
    let (index, _) = specs
        .find(|(_, spec)| has_items(spec, "egress") && is_about_all_of(tenant, spec, cluster))?;
    let spec = match index {
        None => FieldPath::of(&["spec"]),
        Some(index) => FieldPath::of(&["specs"]).index(index),
    };
    Some(spec.member("egress"))
}

fn is_about_all_of(tenant: &str, spec: &Map<String, Value>, cluster: &dyn Cluster) -> bool {
    spec.get("endpointSelector")
        .and_then(|selector| Selector::of_cilium(selector).ok())
        .is_some_and(|selector| {
            let mut requirements = selector.0.iter();
            requirements.all(|requirement| is_namespace(tenant, requirement, cluster))
        })
}

/// Whether the condition holds for all pods of that tenant by the name of its namespace, in one of three forms.
fn is_namespace(tenant: &str, requirement: &Requirement<'_>, cluster: &dyn Cluster) -> bool {
    match requirement.key {
        Key::Namespace => requirement.value() == Some(tenant),
        // The root has no label of its own in early releases.
        Key::NamespaceLabel(label) => {
            label.strip_prefix(TENANT_LABEL_PREFIX) == Some(tenant)
                && requirement.value() == Some("")
                && tenants::namespace(cluster, tenant)
                    .is_some_and(|namespace| namespace.label(label) == Some(""))
        }
        _ => false,
    }
}

/// Those of the needs that a clusterwide policy does not bring to all pods of the tenant.
pub fn missing(tenant: &str, needs: Vec<Need>, policy: &Value, cluster: &dyn Cluster) -> Vec<Need> {
    let rules: Vec<&Map<String, Value>> = specs(policy)
        .into_iter()
        .filter(|(_, spec)| is_about_all_of(tenant, spec, cluster))
        .flat_map(|(_, spec)| list(spec.get("egress")).unwrap_or_default())
        .filter_map(Value::as_object)
        .collect();
    needs
        .into_iter()
        .filter(|need| !rules.iter().any(|rule| brings(rule, need, cluster)))
        .collect()
}

/// Whether a rule of a clusterwide policy lets all of these pods be reached, in a form that is known.
fn brings(rule: &Map<String, Value>, need: &Need, cluster: &dyn Cluster) -> bool {
    let destinations = destinations(rule);
    let is_known = rule.keys().all(|member| {
        member == "toPorts" || destinations.iter().any(|destination| destination == member)
    });
    let has_ports = has_items(rule, "toPorts");
    if !is_known || (has_ports && !opens(rule, need.shared)) {
        return false;
    }
    let items = |member: &str| list(rule.get(member)).unwrap_or_default().iter();
    match destinations.as_slice() {
        [] => has_ports && rule.len() == 1,
        ["toEndpoints"] => items("toEndpoints")
            .filter_map(|selector| Selector::of_cilium(selector).ok())
            .any(|selector| {
                let mut requirements = selector.0.iter();
                requirements.all(|requirement| is_met(need, requirement, cluster))
            }),
        ["toEntities"] => items("toEntities").any(|entity| entity == "cluster" || entity == "all"),
        ["toServices"] => {
            need.shared == Shared::Ingress
                && items("toServices").any(|service| is_ingress_service(service, &need.tenant))
        }
        _ => false,
    }
}

fn is_met(need: &Need, requirement: &Requirement<'_>, cluster: &dyn Cluster) -> bool {
    let (label, _, value) = need.shared.label();
    match requirement.key {
        Key::Label(named) => named == label && requirement.value() == Some(value),
        _ => is_namespace(&need.tenant, requirement, cluster),
    }
}

/// Whether the rule's ports are open for all that these pods listen on.
fn opens(rule: &Map<String, Value>, shared: Shared) -> bool {
    let groups = list(rule.get("toPorts")).unwrap_or_default();
    let ports: Vec<&Value> = groups
        .iter()
        .filter_map(Value::as_object)
        // Anything else narrows it further.
        .filter(|group| group.keys().all(|member| member == "ports"))
        .flat_map(|group| list(group.get("ports")).unwrap_or_default())
        .collect();
    shared
        .ports()
        .iter()
        .all(|wanted| ports.iter().any(|port| is_open(port, *wanted)))
}

fn is_open(port: &Value, wanted: u16) -> bool {
    let protocol = port.get("protocol").and_then(Value::as_str);
    let first = port.get("port").and_then(Value::as_str);
    let first = first.and_then(|port| port.parse::<u16>().ok());
    let last = port.get("endPort").and_then(Value::as_u64);
    matches!(protocol, None | Some("" | "ANY" | "TCP"))
        && first.is_some_and(|first| {
            let last = last.unwrap_or_default().max(u64::from(first));
            first == 0 || (first <= wanted && u64::from(wanted) <= last)
        })
}

/// Whether an item of `toServices` is the ingress controller's Service of a tenant. An empty namespace is any.
fn is_ingress_service(service: &Value, tenant: &str) -> bool {
    let Some(service) = service.get("k8sService") else {
        return false;
    };
    let text = |member: &str| service.get(member).and_then(Value::as_str);
    let namespace = text("namespace").unwrap_or_default();
    text("serviceName") == Some(&ingress_service(tenant))
        && (namespace.is_empty() || namespace == tenant)
}

/// The name of the ingress controller's Service of a tenant.
pub fn ingress_service(tenant: &str) -> String {
    let word = tenant.strip_prefix(PREFIX).unwrap_or(tenant);
    format!("{word}-ingress-controller")
}

/// The first of the needs that a policy may deny to pods of the tenant: whoever is denied is not helped by a rule.
pub fn denied(tenant: &str, needs: &[Need], policy: &Value, cluster: &dyn Cluster) -> Option<Need> {
    let rules: Vec<&Map<String, Value>> = specs(policy)
        .into_iter()
        .filter(|(_, spec)| {
            let selector = spec.get("endpointSelector").map(Selector::of_cilium);
            selector
                .and_then(Result::ok)
                .is_none_or(|selector| may_select(&selector, tenant, None, cluster))
        })
        .flat_map(|(_, spec)| list(spec.get("egressDeny")).unwrap_or_default())
        .filter_map(Value::as_object)
        .collect();
    let is_denied = |need: &Need| {
        let mut rules = rules.iter();
        rules.any(|rule| may_reach(rule, need, cluster))
    };
    needs.iter().find(|need| is_denied(need)).cloned()
}

fn may_reach(rule: &Map<String, Value>, need: &Need, cluster: &dyn Cluster) -> bool {
    let destinations = destinations(rule);
    let items = |member: &str| list(rule.get(member)).unwrap_or_default().iter();
    if destinations.is_empty() {
        return has_items(rule, "toPorts") || has_items(rule, "icmps");
    }
    destinations
        .into_iter()
        .any(|destination| match destination {
            "toEndpoints" => items(destination).any(|selector| {
                Selector::of_cilium(selector).ok().is_none_or(|selector| {
                    may_select(&selector, &need.tenant, Some(need.shared), cluster)
                })
            }),
            "toEntities" => items(destination).any(|entity| entity == "cluster" || entity == "all"),
            // Which pods a Service selects is not known here.
            "toServices" => true,
            _ => false,
        })
}

/// Whether nothing that is known rules out that the selector selects these pods of the tenant.
fn may_select(
    selector: &Selector<'_>,
    tenant: &str,
    shared: Option<Shared>,
    cluster: &dyn Cluster,
) -> bool {
    let namespace = tenants::namespace(cluster, tenant);
    let known = |key: Key<'_>| match key {
        Key::Namespace => Known::Value(tenant),
        Key::NamespaceLabel(label) => match namespace.as_deref() {
            Some(namespace) => namespace.label(label).map_or(Known::Absent, Known::Value),
            None => Known::Nothing,
        },
        Key::Label(label) => shared.map_or(Known::Nothing, |shared| shared.label_of(label)),
        Key::Reserved => Known::Absent,
    };
    selector.0.iter().all(|requirement| {
        let value = match known(requirement.key) {
            Known::Nothing => return true,
            Known::Absent => None,
            Known::Value(value) => Some(value),
        };
        match &requirement.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(&value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(&value)),
            Operator::Exists => value.is_some(),
            Operator::Absent => value.is_none(),
        }
    })
}
