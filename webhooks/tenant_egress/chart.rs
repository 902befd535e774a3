//! The policies that the platform's chart gives a tenant (v1.0.0-alpha.1), for tenants that it has not made.

use super::needs::{Need, Shared, rules};
use super::{CLUSTERWIDE_POLICIES, EGRESS_SUFFIX, POLICIES};
use crate::contract::{Cluster, Object, Read};
use crate::tenants::{Ancestors, MODULE_LABEL_PREFIX, ROOT};
use serde_json::{Value, json};

const NAMESPACE_KEY: &str = "k8s:io.kubernetes.pod.namespace";
const NAMESPACE_LABEL_KEY: &str = "k8s:io.cilium.k8s.namespace.labels.";

/// All of them, with what the tenant needs.
pub fn policies(
    tenant: &str,
    namespace: &Object,
    needs: &[Need],
    cluster: &dyn Cluster,
) -> Vec<Value> {
    let mut ancestors = Ancestors::of(tenant, Some(namespace), cluster).names;
    ancestors.reverse();
    let own = |name: &str, spec: Value| policy(&POLICIES, name, Some(tenant), &spec);
    let wide = |suffix: &str, spec: Value| {
        policy(
            &CLUSTERWIDE_POLICIES,
            &format!("{tenant}{suffix}"),
            None,
            &spec,
        )
    };
    let pods_of = |tenant: &str| json!({"matchLabels": {NAMESPACE_KEY: tenant}});
    let all_pods_of = |name: &str, other: &str| {
        own(
            name,
            json!({"endpointSelector": {}, "egress": [{"toEndpoints": [pods_of(other)]}]}),
        )
    };
    let mut policies = vec![
        own(
            "allow-internal-communication",
            json!({
                "endpointSelector": {},
                "ingress": [{"fromEndpoints": [{}]}],
                "egress": [{"toEndpoints": [{}]}],
            }),
        ),
        own(
            "allow-external-communication",
            json!({
                "endpointSelector": {},
                "ingress": [{"fromEntities": ["world", "cluster"]}],
                "egress": [{"toEntities": ["world"]}],
            }),
        ),
        wide(EGRESS_SUFFIX, egress(tenant, &ancestors, needs)),
        wide("-ingress", ingress(tenant, &ancestors)),
        own(
            "allow-to-apiserver",
            json!({
                "endpointSelector": {"matchLabels": {"policy.cozystack.io/allow-to-apiserver": "true"}},
                "egress": [
                    {"toEntities": ["kube-apiserver"]},
                    {"toPorts": [{"ports": [{"port": "6443", "protocol": "TCP"}]}]},
                ],
            }),
        ),
        own(
            "allow-to-dns",
            json!({
                "endpointSelector": {},
                "egress": [{"toEndpoints": [{"matchLabels": {NAMESPACE_KEY: "kube-system", "k8s-app": "kube-dns"}}]}],
            }),
        ),
        all_pods_of("allow-to-dashboard", "cozy-dashboard"),
        all_pods_of("allow-to-keycloak", "cozy-keycloak"),
        all_pods_of("allow-to-cdi-upload-proxy", "cozy-kubevirt-cdi"),
        own(
            "allow-to-ingress",
            json!({
                "endpointSelector": {},
                "egress": [{"toEndpoints": [{"matchLabels": {"cozystack.io/service": "ingress"}}]}],
            }),
        ),
    ];
    // A module that is the tenant's own takes others' requests.
    let has =
        |module: &str| namespace.label(&format!("{MODULE_LABEL_PREFIX}{module}")) == Some(tenant);
    let selector = |service: &str| json!({"matchLabels": {NAMESPACE_KEY: tenant, "cozystack.io/service": service}});
    if has("ingress") {
        policies.push(wide(
            "-ingress-ingress",
            json!({"endpointSelector": selector("ingress"), "ingress": [{"fromEndpoints": [{}]}]}),
        ));
    }
    if has("etcd") {
        let key = format!("{NAMESPACE_LABEL_KEY}{MODULE_LABEL_PREFIX}etcd");
        policies.push(wide(
            "-ingress-etcd",
            json!({
                "endpointSelector": selector("etcd"),
                "ingress": [{"fromEndpoints": [{"matchLabels": {key: tenant, "policy.cozystack.io/allow-to-etcd": "true"}}]}],
            }),
        ));
    }
    policies
}

fn policy(read: &Read, name: &str, namespace: Option<&str>, spec: &Value) -> Value {
    let metadata = match namespace {
        Some(namespace) => json!({"name": name, "namespace": namespace}),
        None => json!({"name": name}),
    };
    json!({
        "apiVersion": read.resource.api_version(),
        "kind": read.resource.kind,
        "metadata": metadata,
        "spec": spec,
    })
}

fn egress(tenant: &str, ancestors: &[String], needs: &[Need]) -> Value {
    let own = format!("{NAMESPACE_LABEL_KEY}tenant.cozystack.io/{tenant}");
    let mut egress = vec![json!({"toEndpoints": [{"matchLabels": {own: ""}}]})];
    let mut wanted: Vec<Need> = Shared::ALL
        .into_iter()
        .flat_map(|shared| {
            ancestors.iter().map(move |ancestor| Need {
                tenant: ancestor.clone(),
                shared,
            })
        })
        .collect();
    let further = needs
        .iter()
        .filter(|need| !ancestors.contains(&need.tenant));
    wanted.extend(further.cloned());
    if tenant != ROOT {
        egress.extend(rules(&wanted));
    }
    json!({"endpointSelector": {"matchLabels": {NAMESPACE_KEY: tenant}}, "egress": egress})
}

fn ingress(tenant: &str, ancestors: &[String]) -> Value {
    let system = format!("{NAMESPACE_LABEL_KEY}cozystack.io/system");
    let mut ingress = vec![
        json!({"fromEntities": ["kube-apiserver"]}),
        json!({"fromEndpoints": [{"matchLabels": {system: "true"}}]}),
        json!({"fromEndpoints": [{"matchLabels": {NAMESPACE_KEY: "kube-system"}}]}),
    ];
    let above: Vec<Value> = ancestors
        .iter()
        .map(|ancestor| json!({"matchLabels": {NAMESPACE_KEY: ancestor}}))
        .collect();
    if !above.is_empty() {
        ingress.push(json!({"fromEndpoints": above}));
    }
    json!({"endpointSelector": {"matchLabels": {NAMESPACE_KEY: tenant}}, "ingress": ingress})
}
