//! A model of what Cilium does with policies, and random trees of tenants in it: before mutation, after it, and with the
//! companion. The model is written from Cilium's own rules and shares no code with what it checks.

use super::{CLUSTERWIDE_POLICIES, COMPANION, TenantEgress, WEBHOOK};
use crate::contract::{
    Companions, Deadline, Desired, Fault, Mutate, Object, Operation, Request, Settings, Validate,
    Verdict, Violation, World, edit,
};
use crate::kinds::NAMESPACES;
use crate::testing::Around;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

type Labels = &'static [(&'static str, &'static str)];

/// Each namespace has one pod of each of these kinds: name, labels, ports.
const KINDS: [(&str, Labels, &[u16]); 4] = [
    (
        "ingress",
        &[
            ("cozystack.io/service", "ingress"),
            ("app.kubernetes.io/name", "ingress-nginx"),
            ("app.kubernetes.io/instance", "ingress-nginx-system"),
        ],
        &[80, 443],
    ),
    (
        "etcd",
        &[
            ("cozystack.io/service", "etcd"),
            ("app.kubernetes.io/name", "etcd"),
            ("app.kubernetes.io/instance", "etcd"),
        ],
        &[2379, 2380, 2381],
    ),
    (
        "vminsert",
        &[
            ("app.kubernetes.io/name", "vminsert"),
            ("app.kubernetes.io/instance", "shortterm"),
        ],
        &[8480],
    ),
    ("app", &[("app", "x")], &[6443, 8080]),
];

/// A pod: its labels as Cilium has them, those of its namespace among them.
struct Pod {
    namespace: String,
    kind: &'static str,
    labels: BTreeMap<String, String>,
    ports: &'static [u16],
}

/// One tenant of a random tree.
#[derive(Debug, Clone)]
struct Tenant {
    name: String,
    /// The root last.
    ancestors: Vec<String>,
    etcd: String,
    monitoring: String,
    is_isolated: bool,
}

#[derive(Debug, Clone)]
struct Model {
    tenants: Vec<Tenant>,
    namespaces: BTreeMap<String, Value>,
    /// By namespace (empty for clusterwide ones) and name.
    policies: BTreeMap<(String, String), Value>,
    winner: Winner,
}

/// Which of two spellings of one key is left of `matchLabels`: with Cilium it is a matter of luck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Winner {
    First,
    Last,
}

const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels";

fn pods(model: &Model) -> Vec<Pod> {
    let mut pods = Vec::new();
    for (namespace, object) in &model.namespaces {
        for (kind, own, ports) in KINDS {
            let mut labels: BTreeMap<String, String> = own
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            labels.insert(POD_NAMESPACE.to_owned(), namespace.clone());
            labels.insert(
                format!("{NAMESPACE_LABELS}.kubernetes.io/metadata.name"),
                namespace.clone(),
            );
            let others = object["metadata"]["labels"].as_object();
            for (key, value) in others.into_iter().flatten() {
                let key = format!("{NAMESPACE_LABELS}.{key}");
                labels.insert(key, value.as_str().unwrap().to_owned());
            }
            pods.push(Pod {
                namespace: namespace.clone(),
                kind,
                labels,
                ports,
            });
        }
    }
    pods
}

/// Cilium's `GetExtendedKeyFrom`: where the key comes from, a dot, and the key without a value.
fn extended(key: &str) -> String {
    let (source, next) = if let Some(rest) = key.strip_prefix('$') {
        ("reserved", rest)
    } else if let Some(colon) = key.find(':') {
        (&key[..colon], &key[colon + 1..])
    } else if let Some(rest) = key.strip_prefix("reserved.") {
        ("reserved", rest)
    } else {
        ("", key)
    };
    let source = if source.is_empty() { "any" } else { source };
    let end = next.find('=').unwrap_or(next.len());
    format!("{source}.{}", &next[..end])
}

fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

/// `matchLabels` by extended keys: of several spellings one is left.
fn equals(selector: &Value, winner: Winner) -> BTreeMap<String, &Value> {
    let mut labels = BTreeMap::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        let key = extended(key);
        if winner == Winner::Last || !labels.contains_key(&key) {
            labels.insert(key, value);
        }
    }
    labels
}

/// Whether a label selector matches; no pod has a label of another source than Kubernetes.
fn matches(selector: &Value, labels: &BTreeMap<String, String>, winner: Winner) -> bool {
    let value = |extended: &str| match extended.split_once('.') {
        Some(("any" | "k8s", key)) => labels.get(key),
        _ => None,
    };
    let equals = equals(selector, winner);
    let are_equal = equals
        .iter()
        .all(|(key, wanted)| value(key).is_some_and(|found| *wanted == found.as_str()));
    are_equal
        && list(selector, "matchExpressions").iter().all(|expression| {
            let found = value(&extended(expression["key"].as_str().unwrap()));
            let is_listed = found.is_some_and(|found| {
                let values = list(expression, "values");
                values.iter().any(|value| value == found.as_str())
            });
            match expression["operator"].as_str().unwrap() {
                "In" => is_listed,
                "NotIn" => !is_listed,
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                other => panic!("{other}"),
            }
        })
}

/// Whether a selector among destinations matches a pod: that of a policy of one namespace gets the namespace, unless it
/// has a key about namespaces or a reserved one.
fn is_destination(selector: &Value, policy_namespace: &str, pod: &Pod, winner: Winner) -> bool {
    let mut keys: Vec<String> = equals(selector, winner).into_keys().collect();
    let expressions = list(selector, "matchExpressions");
    keys.extend(
        expressions
            .iter()
            .filter_map(|one| one["key"].as_str().map(extended)),
    );
    let leaves = keys.iter().any(|key| {
        key.starts_with("reserved.")
            || ["any.", "k8s."].iter().any(|source| {
                key.strip_prefix(source)
                    .is_some_and(|key| key == POD_NAMESPACE || key.starts_with(NAMESPACE_LABELS))
            })
    });
    let is_near = policy_namespace.is_empty() || leaves || pod.namespace == policy_namespace;
    is_near && matches(selector, &pod.labels, winner)
}

fn is_port_open(rule: &Value, port: u16) -> bool {
    let Some(groups) = rule["toPorts"].as_array() else {
        return true;
    };
    groups.iter().any(|group| {
        // Rules of higher layers let only some of it through.
        group.as_object().unwrap().len() == 1
            && list(group, "ports").iter().any(|open| {
                let first: u16 = open["port"].as_str().unwrap().parse().unwrap();
                let last = open["endPort"].as_u64().unwrap_or(u64::from(first));
                open["protocol"] != "UDP" && first <= port && u64::from(port) <= last
            })
    })
}

/// Whether one rule, allowing or denying, is about traffic to that pod and port.
fn is_hit(rule: &Value, policy_namespace: &str, pod: &Pod, port: u16, winner: Winner) -> bool {
    let kinds = ["toEndpoints", "toEntities", "toServices", "toCIDR"];
    let named = kinds.iter().filter(|kind| rule.get(**kind).is_some());
    // Cilium refuses a policy that mixes them.
    if named.count() > 1 || !is_port_open(rule, port) {
        return false;
    }
    if rule.get("toEndpoints").is_some() {
        let mut selectors = list(rule, "toEndpoints").iter();
        return selectors.any(|selector| is_destination(selector, policy_namespace, pod, winner));
    }
    if rule.get("toEntities").is_some() {
        let mut entities = list(rule, "toEntities").iter();
        return entities.any(|entity| entity == "cluster" || entity == "all");
    }
    if rule.get("toServices").is_some() {
        return list(rule, "toServices").iter().any(|service| {
            let text = |member: &str| service["k8sService"][member].as_str().unwrap_or_default();
            let word = pod.namespace.strip_prefix("tenant-").unwrap_or("-");
            pod.kind == "ingress"
                && text("serviceName") == format!("{word}-ingress-controller")
                && (text("namespace").is_empty() || text("namespace") == pod.namespace)
        });
    }
    // Ports alone are ports of everybody; nothing at all is nobody.
    rule.get("toCIDR").is_none() && rule.get("toPorts").is_some()
}

/// Whether traffic from one pod to a port of another goes through, as far as egress decides.
fn may_reach(model: &Model, from: &Pod, to: &Pod, port: u16) -> bool {
    let (mut is_enforced, mut is_allowed, mut is_denied) = (false, false, false);
    for ((namespace, _), policy) in &model.policies {
        let one = policy.get("spec").into_iter();
        for spec in one.chain(list(policy, "specs")) {
            let is_about = (namespace.is_empty() || *namespace == from.namespace)
                && matches(&spec["endpointSelector"], &from.labels, model.winner);
            if !is_about {
                continue;
            }
            let (egress, deny) = (list(spec, "egress"), list(spec, "egressDeny"));
            if spec["enableDefaultDeny"]["egress"] != false {
                is_enforced |= !egress.is_empty() || !deny.is_empty();
            }
            let hits = |rule: &Value| is_hit(rule, namespace, to, port, model.winner);
            is_allowed |= egress.iter().any(hits);
            is_denied |= deny.iter().any(hits);
        }
    }
    !is_denied && (is_allowed || !is_enforced)
}

/// From namespace and kind to namespace, kind and port.
type Reached = BTreeSet<(String, &'static str, String, &'static str, u16)>;

fn reached(model: &Model) -> Reached {
    let pods = pods(model);
    let mut reached = Reached::new();
    for from in &pods {
        for to in &pods {
            for port in to.ports {
                if may_reach(model, from, to, *port) {
                    let (one, two) = (from.namespace.clone(), to.namespace.clone());
                    reached.insert((one, from.kind, two, to.kind, *port));
                }
            }
        }
    }
    reached
}

/// What must be reachable: from every pod of an isolated tenant.
fn invariant(model: &Model) -> Reached {
    let mut wanted = Reached::new();
    for tenant in model.tenants.iter().filter(|tenant| tenant.is_isolated) {
        let ancestors = tenant.ancestors.iter();
        let mut targets: Vec<(&str, &str)> =
            ancestors.map(|name| (name.as_str(), "ingress")).collect();
        targets.push((&tenant.etcd, "etcd"));
        targets.push((&tenant.monitoring, "vminsert"));
        for (from, _, _) in KINDS {
            for (namespace, kind) in &targets {
                let (kind, _, ports) = KINDS.iter().find(|(name, _, _)| name == kind).unwrap();
                for port in *ports {
                    let to = (*namespace).to_owned();
                    wanted.insert((tenant.name.clone(), from, to, kind, *port));
                }
            }
        }
    }
    wanted
}

fn around(model: &Model) -> Around {
    let mut around = Around::default();
    for namespace in model.namespaces.values() {
        around.put(&NAMESPACES, namespace.clone());
    }
    for ((namespace, _), policy) in &model.policies {
        if namespace.is_empty() {
            around.put(&CLUSTERWIDE_POLICIES, policy.clone());
        }
    }
    around
}

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

/// Asks about an ordinary user's policy.
fn ask<T>(policy: &Value, model: &Model, question: impl FnOnce(&Request<'_>) -> T) -> T {
    let deadline = Deadline::after(Duration::from_mins(1));
    ask_until(deadline, policy, model, question)
}

fn ask_until<T>(
    deadline: Deadline,
    policy: &Value,
    model: &Model,
    question: impl FnOnce(&Request<'_>) -> T,
) -> T {
    let (around, settings) = (around(model), Settings::default());
    let object = raw(policy);
    let user = raw(&json!({"username": "anna", "groups": ["system:authenticated"]}));
    question(&Request {
        operation: Operation::Create,
        group: "cilium.io",
        version: "v2",
        kind: policy["kind"].as_str().unwrap(),
        namespace: policy["metadata"]["namespace"].as_str().unwrap_or_default(),
        name: "",
        object: Some((&*object).into()),
        old_object: None,
        user_info: Some((&*user).into()),
        dry_run: false,
        explains: false,
        cluster: &around,
        settings: settings.of(&WEBHOOK.declaration),
        deadline,
    })
}

fn mutated(policy: &Value, model: &Model) -> (Value, Vec<String>) {
    let mut verdict = Verdict::default();
    let edits = ask(policy, model, |request| {
        TenantEgress.mutate(request, &mut verdict).unwrap()
    });
    let patch = edit::patch((&*raw(policy)).into(), &edits).unwrap();
    let mut after = policy.clone();
    json_patch::patch(&mut after, &patch).unwrap();
    (after, verdict.warnings)
}

fn violations(policy: &Value, model: &Model) -> Vec<String> {
    let mut verdict = Verdict::default();
    ask(policy, model, |request| {
        TenantEgress.validate(request, &mut verdict).unwrap();
    });
    let messages = verdict.violations.iter();
    messages.map(Violation::message).collect()
}

/// The companions of a tenant's namespace.
fn brought(tenant: &str, model: &Model) -> Vec<Value> {
    desired(tenant, model).children
}

fn desired(tenant: &str, model: &Model) -> Desired {
    let parent = Object::of(model.namespaces[tenant].clone())
        .unwrap()
        .packed();
    let (around, settings) = (around(model), Settings::default());
    let world = World {
        cluster: &around,
        settings: settings.of(&WEBHOOK.declaration),
    };
    let desired = TenantEgress.companions(&parent, &world).unwrap();
    desired.unwrap()
}

fn egress_policy(tenant: &str) -> (String, String) {
    (String::new(), format!("{tenant}-egress"))
}

/// The chart's egress policy (v1.0.0-alpha.1): ancestors are the beginnings of the parent's name.
fn chart(tenant: &Tenant) -> Value {
    let parent = tenant.ancestors.first().cloned().unwrap_or_default();
    let parts: Vec<&str> = parent.split('-').collect();
    let ancestors: Vec<String> = (2..=parts.len())
        .map(|end| parts[..end].join("-"))
        .collect();
    let to = |key: &str, value: &str| {
        let selectors: Vec<Value> = ancestors
            .iter()
            .map(|ancestor| json!({"matchLabels": {key: value, "k8s:io.kubernetes.pod.namespace": ancestor}}))
            .collect();
        json!({"toEndpoints": selectors})
    };
    let own = format!("k8s:{NAMESPACE_LABELS}.tenant.cozystack.io/{}", tenant.name);
    let mut egress = vec![json!({"toEndpoints": [{"matchLabels": {own: ""}}]})];
    if tenant.name != "tenant-root" {
        egress.push(to("k8s:app.kubernetes.io/name", "vminsert"));
        egress.push(to("k8s:app.kubernetes.io/instance", "etcd"));
        egress.push(to("cozystack.io/service", "ingress"));
    }
    json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": format!("{}-egress", tenant.name)},
        "spec": {
            "endpointSelector": {"matchLabels": {"k8s:io.kubernetes.pod.namespace": tenant.name}},
            "egress": egress,
        },
    })
}

/// One step of building a tree: under which tenant, whether etcd and monitoring are its own, whether it is isolated,
/// whether its namespace has owner references and all labels.
type Step = (Index, bool, bool, bool, bool);

fn step() -> impl Strategy<Value = Step> {
    let bit = any::<bool>;
    let is_isolated = prop::bool::weighted(0.8);
    (any::<Index>(), bit(), bit(), is_isolated, bit())
}

fn tree(steps: &[Step]) -> Model {
    let mut tenants = vec![Tenant {
        name: "tenant-root".to_owned(),
        ancestors: Vec::new(),
        etcd: "tenant-root".to_owned(),
        monitoring: "tenant-root".to_owned(),
        is_isolated: true,
    }];
    for (number, (parent, etcd, monitoring, is_isolated, _)) in steps.iter().enumerate() {
        let parents: Vec<&Tenant> = tenants
            .iter()
            .filter(|tenant| tenant.ancestors.len() < 5)
            .collect();
        let parent = (*parent.get(&parents)).clone();
        let word = char::from(b'a' + u8::try_from(number).unwrap());
        let name = match parent.name.as_str() {
            "tenant-root" => format!("tenant-{word}"),
            above => format!("{above}-{word}"),
        };
        let mut ancestors = vec![parent.name.clone()];
        ancestors.extend(parent.ancestors.clone());
        let module = |is_own: bool, inherited: &str| {
            if is_own {
                name.clone()
            } else {
                inherited.to_owned()
            }
        };
        tenants.push(Tenant {
            etcd: module(*etcd, &parent.etcd),
            monitoring: module(*monitoring, &parent.monitoring),
            is_isolated: *is_isolated,
            ancestors,
            name,
        });
    }
    let mut namespaces = BTreeMap::new();
    for (number, tenant) in tenants.iter().enumerate() {
        let is_complete = number == 0 || steps[number - 1].4;
        namespaces.insert(tenant.name.clone(), namespace(tenant, is_complete));
    }
    for system in ["kube-system", "cozy-monitoring"] {
        let object =
            json!({"metadata": {"name": system, "labels": {"cozystack.io/system": "true"}}});
        namespaces.insert(system.to_owned(), object);
    }
    let mut policies = BTreeMap::new();
    for tenant in tenants.iter().filter(|tenant| tenant.is_isolated) {
        policies.insert(egress_policy(&tenant.name), chart(tenant));
        let internal = json!({
            "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
            "metadata": {"name": "allow-internal-communication", "namespace": tenant.name},
            "spec": {"endpointSelector": {}, "egress": [{"toEndpoints": [{}]}]},
        });
        policies.insert((tenant.name.clone(), "internal".to_owned()), internal);
    }
    Model {
        tenants,
        namespaces,
        policies,
        winner: Winner::Last,
    }
}

/// As the chart makes it: the root has no labels, and its label stands on its own children alone.
fn namespace(tenant: &Tenant, is_complete: bool) -> Value {
    let mut labels = json!({
        format!("tenant.cozystack.io/{}", tenant.name): "",
        "namespace.cozystack.io/etcd": tenant.etcd,
        "namespace.cozystack.io/monitoring": tenant.monitoring,
    });
    for ancestor in &tenant.ancestors {
        if is_complete || ancestor != "tenant-root" || tenant.ancestors.len() == 1 {
            labels[format!("tenant.cozystack.io/{ancestor}")] = "".into();
        }
    }
    if tenant.name == "tenant-root" {
        labels = json!({});
    }
    let owners: Vec<Value> = tenant
        .ancestors
        .first()
        .filter(|_| is_complete)
        .map(|parent| json!({"apiVersion": "v1", "kind": "Namespace", "name": parent, "uid": "u"}))
        .into_iter()
        .collect();
    json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": tenant.name, "uid": "u", "labels": labels, "ownerReferences": owners}})
}

/// A rule that somebody might write: its form, and two tenants that it may be about.
type Written = (usize, Index, Index);

fn rule() -> impl Strategy<Value = Written> {
    (0..39_usize, any::<Index>(), any::<Index>())
}

fn written((form, target, second): &Written, model: &Model) -> Value {
    let name = target.get(&model.tenants).name.clone();
    let other = second.get(&model.tenants).name.clone();
    let to = |selector: Value| json!({"toEndpoints": [selector]});
    let expression = |key: &str, operator: &str, values: &[&str]| {
        to(json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}))
    };
    let label = format!("{NAMESPACE_LABELS}.tenant.cozystack.io/{name}");
    let name_label = format!("k8s:{NAMESPACE_LABELS}.kubernetes.io/metadata.name");
    let service = format!("{}-ingress-controller", &name["tenant-".len()..]);
    let namespace = "k8s:io.kubernetes.pod.namespace";
    match form {
        0 => to(json!({"matchLabels": {"io.kubernetes.pod.namespace": name}})),
        1 => to(json!({"matchLabels": {name_label: name, "any:cozystack.io/service": "ingress"}})),
        2 => to(json!({"matchLabels": {label: "", "app.kubernetes.io/instance": "etcd"}})),
        3 => to(json!({"matchLabels": {label: ""}})),
        4 => to(json!({})),
        5 => to(json!({"matchLabels": {"app": "x"}})),
        6 => json!({"toEntities": ["cluster"]}),
        7 => json!({"toEntities": ["world"]}),
        8 => json!({"toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}, {"port": "80"}]}]}),
        9 => json!({"toPorts": [{"ports": [{"port": "6443", "protocol": "TCP"}]}]}),
        10 => json!({"toServices": [{"k8sService": {"serviceName": service, "namespace": other}}]}),
        11 => json!({"toServices": [{"k8sService": {"serviceName": service}}]}),
        12 => expression(namespace, "NotIn", &[&name]),
        13 => expression(namespace, "Exists", &[]),
        14 => expression("io.kubernetes.pod.namespace", "In", &[&name, &other]),
        15 => expression("reserved:host", "DoesNotExist", &[]),
        16 => expression(&label, "DoesNotExist", &[]),
        17 => json!({"toEndpoints": [{"matchLabels": {namespace: name}}],
            "toPorts": [{"ports": [{"port": "1", "endPort": 1000, "protocol": "TCP"}]}]}),
        18 => json!({"toEndpoints": [{"matchLabels": {namespace: name}}], "toEntities": ["world"]}),
        19 => to(json!({"matchLabels": {namespace: "kube-system"}})),
        20 => to(json!({"matchLabels": {namespace: name, "app.kubernetes.io/name": "vminsert"}})),
        21 => json!({"toCIDR": ["10.0.0.0/8"]}),
        // Nearly what is needed.
        22 => {
            json!({"toEndpoints": [{"matchLabels": {namespace: name, "cozystack.io/service": "ingress"}}],
            "toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}]}]})
        }
        23 => json!({"toEndpoints": [{"matchLabels": {namespace: name}}],
            "toPorts": [{"ports": [{"port": "80"}, {"port": "443"}], "rules": {"http": [{}]}}]}),
        24 => to(
            json!({"matchLabels": {namespace: name, "cozystack.io/service": "ingress", "app": "y"}}),
        ),
        25 => to(json!({"matchLabels": {"k8s.io.kubernetes.pod.namespace": name}})),
        // Keys that are not what they look like.
        26 => to(json!({"matchLabels": {format!("{namespace}="): name}})),
        27 => to(json!({"matchLabels": {":io.kubernetes.pod.namespace": name}})),
        28 => expression("$nothing", "DoesNotExist", &[]),
        29 => expression("reserved.nothing", "DoesNotExist", &[]),
        30 => to(
            json!({"matchLabels": {"any:io.kubernetes.pod.namespace": name,
            "io.kubernetes.pod.namespace": other}}),
        ),
        31 => to(json!({"matchLabels": {namespace: name, format!("{namespace}=x"): other}})),
        32 => to(json!({"matchLabels": {"k8s.io.kubernetes.pod:namespace": name}})),
        33 => to(
            json!({"matchLabels": {namespace: name, "k8s.io.kubernetes.pod:namespace": other,
            "cozystack.io/service": "ingress"}}),
        ),
        34 => {
            to(json!({"matchLabels": {"cozystack.io/service": "ingress", format!("{label}="): ""}}))
        }
        35 => to(
            json!({"matchLabels": {namespace: name, "cozystack.io/service": "ingress",
            "any:cozystack.io/service": "etcd"}}),
        ),
        36 => expression("reserved.some:thing", "DoesNotExist", &[]),
        37 => to(json!({"matchLabels": {"cidr:io.kubernetes.pod.namespace": name}})),
        _ => expression(":io.kubernetes.pod.namespace", "In", &[&name, &other]),
    }
}

/// A further policy: whose (by namespace, or clusterwide by selector), in `specs` or not, for all pods or some, rules,
/// and how a clusterwide one says whose.
type Extra = (Index, bool, bool, bool, Vec<Written>, usize);

fn extra() -> impl Strategy<Value = Extra> {
    let bit = any::<bool>;
    let rules = prop::collection::vec(rule(), 1..3);
    (any::<Index>(), bit(), bit(), bit(), rules, 0..8_usize)
}

fn extra_policy(extra: &Extra, number: usize, model: &Model) -> ((String, String), Value) {
    let (whose, is_wide, in_specs, for_some, rules, form) = extra;
    let tenant = whose.get(&model.tenants).name.clone();
    let mut selector = json!({});
    if *is_wide {
        let namespace = "k8s:io.kubernetes.pod.namespace";
        let labels = match form {
            0 => {
                json!({"any:io.kubernetes.pod.namespace": "kube-system", "io.kubernetes.pod.namespace": tenant})
            }
            1 => json!({format!("{namespace}="): tenant, namespace: "kube-system"}),
            2 => json!({":io.kubernetes.pod.namespace": tenant}),
            3 => json!({"k8s.io.kubernetes.pod:namespace": tenant, namespace: "kube-system"}),
            _ => json!({namespace: tenant}),
        };
        selector = json!({"matchLabels": labels});
    }
    if *for_some {
        selector["matchLabels"]["app"] = "x".into();
    }
    let rules: Vec<Value> = rules.iter().map(|rule| written(rule, model)).collect();
    let spec = json!({"endpointSelector": selector, "egress": rules});
    let name = format!("extra-{number}");
    let mut policy = json!({"apiVersion": "cilium.io/v2", "metadata": {"name": name}});
    let namespace = if *is_wide {
        policy["kind"] = "CiliumClusterwideNetworkPolicy".into();
        String::new()
    } else {
        policy["kind"] = "CiliumNetworkPolicy".into();
        policy["metadata"]["namespace"] = tenant.clone().into();
        tenant
    };
    if *in_specs {
        policy["specs"] = json!([spec]);
    } else {
        policy["spec"] = spec;
    }
    ((namespace, name), policy)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Before mutation something may be missing; after it, and with the companion, nothing is, and what has become
    /// reachable is what was missing.
    #[test]
    fn tenants_reach_what_they_should_and_nothing_else(
        steps in prop::collection::vec(step(), 1..7),
        extras in prop::collection::vec(extra(), 0..3),
        own in prop::collection::vec((any::<Index>(), rule()), 0..8),
        first_wins in any::<bool>(),
    ) {
        let mut model = tree(&steps);
        if first_wins {
            model.winner = Winner::First;
        }
        // Rules of their own that charts or people have put into the egress policy of a tenant.
        for (whose, rule) in &own {
            let rule = written(rule, &model);
            let key = egress_policy(&whose.get(&model.tenants).name);
            if let Some(policy) = model.policies.get_mut(&key) {
                policy["spec"]["egress"].as_array_mut().unwrap().insert(0, rule);
            }
        }
        for (number, extra) in extras.iter().enumerate() {
            let (key, policy) = extra_policy(extra, number, &model);
            model.policies.insert(key, policy);
        }
        let (before, wanted) = (reached(&model), invariant(&model));
        let missing: Reached = wanted.difference(&before).cloned().collect();

        let (mut mutation, mut bringing) = (model.clone(), model.clone());
        for tenant in &model.tenants {
            let key = egress_policy(&tenant.name);
            if let Some(policy) = model.policies.get(&key) {
                let (after, warnings) = mutated(policy, &model);
                prop_assert!(warnings.is_empty(), "{:?}", warnings);
                // Nothing of the writer's is removed or reordered.
                let rules = |policy: &Value| list(&policy["spec"], "egress").to_vec();
                prop_assert!(rules(&after).starts_with(&rules(policy)));
                prop_assert_eq!(&mutated(&after, &model).0, &after, "twice is once");
                mutation.policies.insert(key, after);
            }
            for child in brought(&tenant.name, &model) {
                prop_assert!(tenant.is_isolated, "who is not isolated gets nothing");
                prop_assert_eq!(&child["metadata"]["name"], COMPANION);
                bringing.policies.insert((tenant.name.clone(), COMPANION.to_owned()), child);
            }
        }
        for (what, model) in [("mutated", &mutation), ("with the companion", &bringing)] {
            let after = reached(model);
            let lost: Vec<_> = before.difference(&after).collect();
            prop_assert!(lost.is_empty(), "{}: lost {:?}", what, lost);
            let lacking: Vec<_> = wanted.difference(&after).collect();
            prop_assert!(lacking.is_empty(), "{}: lacking {:?}", what, lacking);
            let gained: Reached = after.difference(&before).cloned().collect();
            prop_assert_eq!(&gained, &missing, "{}", what);
        }
        // What the mutation has completed needs no companion.
        for tenant in &mutation.tenants {
            prop_assert!(brought(&tenant.name, &mutation).is_empty());
        }
    }

    /// A policy that an ordinary user may write opens the way to no pod of a stranger, and to no pod of an ancestor but
    /// the shared ones.
    #[test]
    fn what_is_not_refused_reaches_no_stranger(
        steps in prop::collection::vec(step(), 2..7),
        extra in extra(),
    ) {
        let everybody = |(parent, one, two, _, _): Step| (parent, one, two, true, true);
        let steps: Vec<Step> = steps.into_iter().map(everybody).collect();
        let mut model = tree(&steps);
        for tenant in model.tenants.clone() {
            let key = egress_policy(&tenant.name);
            let (after, _) = mutated(&model.policies[&key], &model);
            prop_assert_eq!(violations(&after, &model), Vec::<String>::new(), "the chart's own");
            model.policies.insert(key, after);
        }
        let (key, policy) = extra_policy(&extra, 0, &model);
        let refused = violations(&policy, &model);
        let find = |name: &str| model.tenants.iter().find(|tenant| tenant.name == name);
        // The chart writes each key once, so that nobody's luck decides.
        let before = reached(&model);
        for winner in [Winner::First, Winner::Last] {
            let mut model = Model { winner, ..model.clone() };
            model.policies.insert(key.clone(), policy.clone());
            let after = reached(&model);
            let gained = after.difference(&before);
            let strangers: Vec<_> = gained
                .filter(|(from, _, to, kind, _)| {
                    let (Some(from), Some(to)) = (find(from), find(to)) else {
                        return false;
                    };
                    let is_own = from.name == to.name || to.ancestors.contains(&from.name);
                    let is_shared = from.ancestors.contains(&to.name) && *kind != "app";
                    !is_own && !is_shared
                })
                .collect();
            prop_assert!(strangers.is_empty() || !refused.is_empty(), "{}: {:?}", policy, strangers);
        }
    }
}

/// The chart alone does not hold the invariant at depth two: the check can fail, and this is how.
#[test]
fn the_chart_alone_forgets_the_root() {
    let mut model = tree(&[]);
    for (name, ancestors) in [
        ("tenant-a", vec!["tenant-root"]),
        ("tenant-a-b", vec!["tenant-a", "tenant-root"]),
    ] {
        let tenant = Tenant {
            name: name.to_owned(),
            ancestors: ancestors.into_iter().map(ToOwned::to_owned).collect(),
            etcd: "tenant-root".to_owned(),
            monitoring: "tenant-root".to_owned(),
            is_isolated: true,
        };
        model
            .namespaces
            .insert(name.to_owned(), namespace(&tenant, false));
        model.policies.insert(egress_policy(name), chart(&tenant));
        model.tenants.push(tenant);
    }
    let lacking: BTreeSet<(String, String)> = invariant(&model)
        .difference(&reached(&model))
        .map(|(from, _, to, kind, _)| (from.clone(), format!("{to}/{kind}")))
        .collect();
    let expected = ["etcd", "ingress", "vminsert"]
        .map(|kind| ("tenant-a-b".to_owned(), format!("tenant-root/{kind}")));
    assert_eq!(lacking, expected.into());
}

/// A policy with very many wrong rules takes no more than its size, and says so a hundred times.
#[test]
fn very_many_sins_are_bounded() {
    let model = tree(&[]);
    let selectors: Vec<Value> = (0..20_000)
        .map(|number| json!({"matchLabels": {"k8s:io.kubernetes.pod.namespace": format!("tenant-x{number}-y-z")}}))
        .collect();
    let policy = json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "many", "namespace": "tenant-a"},
        "spec": {"endpointSelector": {}, "egress": [{"toEndpoints": selectors}]},
    });
    let started = std::time::Instant::now();
    assert_eq!(violations(&policy, &model).len(), 100);
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// How many violations a policy has, as far as that is found out until the deadline.
fn judged(deadline: Deadline, policy: &Value) -> Result<usize, Fault> {
    let model = tree(&[]);
    let mut verdict = Verdict::default();
    ask_until(deadline, policy, &model, |request| {
        TenantEgress.validate(request, &mut verdict)
    })?;
    Ok(verdict.violations.len())
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(2))
}

fn clusterwide(subjects: &[String], egress: &[Value]) -> Value {
    json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumClusterwideNetworkPolicy", "metadata": {"name": "many"},
        "spec": {
            "endpointSelector": {"matchExpressions": [
                {"key": "io.kubernetes.pod.namespace", "operator": "In", "values": subjects}]},
            "egress": egress,
        },
    })
}

#[test]
fn who_is_named_a_thousand_times_is_looked_at_once() {
    let subjects = vec!["tenant-b".to_owned(); 1_000];
    let names = vec!["tenant-b-c"; 1_000];
    let rule = json!({"toEndpoints": [{"matchExpressions": [
        {"key": "io.kubernetes.pod.namespace", "operator": "In", "values": names}]}]});
    // So few comparisons that they hold nobody up.
    let policy = clusterwide(&subjects, &[rule]);
    let started = std::time::Instant::now();
    assert!(matches!(judged(soon().brief(), &policy), Ok(0)));
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_million_comparisons_are_moved_out_of_the_way_and_end_in_time() {
    let subjects: Vec<String> = (0..1_000)
        .map(|number| format!("tenant-b{number}"))
        .collect();
    let names: Vec<String> = (0..1_000)
        .map(|number| format!("tenant-b0-c{number}"))
        .collect();
    let shared =
        json!({"io.kubernetes.pod.namespace": "tenant-root", "cozystack.io/service": "ingress"});
    let harmless = json!({"toEndpoints": vec![json!({"matchLabels": shared}); 1_000]});
    let strange = json!({"toEndpoints": [{"matchExpressions": [
        {"key": "io.kubernetes.pod.namespace", "operator": "In", "values": names}]}]});
    let policy = clusterwide(&subjects, &[harmless.clone(), strange]);
    assert!(matches!(
        judged(soon().brief(), &policy),
        Err(Fault::TakesLong)
    ));
    let later = Deadline::after(Duration::from_secs(20));
    assert!(matches!(judged(later, &policy), Ok(1)));
    // However many there are, the deadline holds.
    let started = std::time::Instant::now();
    let endless = clusterwide(&subjects, &vec![harmless; 20]);
    let short = Deadline::after(Duration::from_millis(100));
    assert!(matches!(
        judged(short, &endless),
        Err(Fault::DeadlineExceeded)
    ));
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// What is the same for all rules is not read again for each.
#[test]
fn very_many_rules_beside_a_long_selector_are_bounded() {
    let words: Vec<String> = (0..10_000).map(|number| format!("word-{number}")).collect();
    let selector = json!({"matchExpressions": [{"key": "app", "operator": "In", "values": words}]});
    let policy = |peer: Value| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "many", "namespace": "tenant-a"},
            "spec": {"podSelector": selector, "egress": vec![json!({"to": [peer]}); 5_000]},
        })
    };
    assert!(matches!(
        judged(soon(), &policy(json!({"podSelector": {}}))),
        Ok(0)
    ));
    assert!(matches!(
        judged(soon(), &policy(json!({"namespaceSelector": {}}))),
        Ok(100)
    ));
}

/// Looking again helps where a parent may come, not where a tenant is its own ancestor.
#[test]
fn only_a_missing_parent_is_waited_for() {
    let mut model = tree(&[]);
    for (name, parent) in [
        ("tenant-a", "tenant-b"),
        ("tenant-b", "tenant-a"),
        ("tenant-c-d", "tenant-c"),
        ("tenant-e", "tenant-root"),
    ] {
        let owners = json!([{"apiVersion": "v1", "kind": "Namespace", "name": parent, "uid": "u"}]);
        let object = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "uid": "u", "ownerReferences": owners}});
        model.namespaces.insert(name.to_owned(), object);
    }
    let waits = |tenant| desired(tenant, &model).requeue_after.is_some();
    assert!(waits("tenant-c-d"));
    for tenant in ["tenant-a", "tenant-b", "tenant-e"] {
        assert!(!waits(tenant), "{tenant}");
    }
}
