//! Tenants on a real API server: the chart's rendering at depth one, two and three, the life of the companion, every way
//! out of a tenant in every way of writing, and two thousand tenants.

use crate::definitions::install_helm_release_crd;
use crate::support::http::plain;
use crate::support::plane::Plane;
use crate::{Cluster, eventually, eventually_within, repository};
use futures::StreamExt as _;
use kube::api::{Api, DynamicObject, PostParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const POLICIES: &str = "ciliumnetworkpolicies.v2.cilium.io";
const WIDE_POLICIES: &str = "ciliumclusterwidenetworkpolicies.v2.cilium.io";
const COMPANION: &str = "cozystack-webhook-parents";
const ADDED: &str = "webhook.cozystack.io/egress-added";
const NAMESPACE_KEY: &str = "k8s:io.kubernetes.pod.namespace";

/// Somebody with every right and nobody's trust.
const ANNA: [&str; 4] = ["--as", "anna", "--as-group", "writers"];
const ACCOUNT: [&str; 2] = ["--as", "system:serviceaccount:tenant-b:builder"];

const RIGHTS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: writer}
rules:
- {apiGroups: [cilium.io], resources: ['*'], verbs: ['*']}
- {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: ['*']}
- {apiGroups: [''], resources: [namespaces], verbs: ['*']}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: writers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: writer}
subjects:
- {kind: Group, name: writers, apiGroup: rbac.authorization.k8s.io}
- {kind: Group, name: 'system:serviceaccounts:tenant-b', apiGroup: rbac.authorization.k8s.io}
";

pub fn install_cilium_crds(plane: &Plane) {
    let file = repository("testcases/crds/cilium.yaml")
        .display()
        .to_string();
    plane.kubectl(&["apply", "-f", &file]);
    plane.kubectl(&["wait", "--for=condition=Established", "-f", &file]);
}

pub fn list(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

fn selector(tenant: &str, key: &str, value: &str) -> Value {
    json!({"matchLabels": {key: value, NAMESPACE_KEY: tenant}})
}

/// The chart's ancestors of a tenant: the beginnings of its parent's name, without the root below depth one.
fn charts_ancestors(parent: &str) -> Vec<String> {
    let parts: Vec<&str> = parent.split('-').collect();
    (2..=parts.len())
        .map(|end| parts[..end].join("-"))
        .collect()
}

pub fn egress_policy(tenant: &str, ancestors: &[String]) -> Value {
    let to = |key: &str, value: &str| {
        let selectors: Vec<Value> = ancestors
            .iter()
            .map(|ancestor| selector(ancestor, key, value))
            .collect();
        json!({"toEndpoints": selectors})
    };
    let own = format!("k8s:io.cilium.k8s.namespace.labels.tenant.cozystack.io/{tenant}");
    json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": format!("{tenant}-egress")},
        "spec": {
            "endpointSelector": {"matchLabels": {NAMESPACE_KEY: tenant}},
            "egress": [
                {"toEndpoints": [{"matchLabels": {own: ""}}]},
                to("k8s:app.kubernetes.io/name", "vminsert"),
                to("k8s:app.kubernetes.io/instance", "etcd"),
                to("cozystack.io/service", "ingress"),
            ],
        },
    })
}

/// A tenant's namespace as the chart renders it. The root has all modules.
pub fn namespace(tenant: &str, parent: &str, parent_uid: &str) -> Value {
    let mut labels = json!({
        format!("tenant.cozystack.io/{tenant}"): "",
        "namespace.cozystack.io/etcd": "tenant-root",
        "namespace.cozystack.io/ingress": "tenant-root",
        "namespace.cozystack.io/monitoring": "tenant-root",
        "namespace.cozystack.io/seaweedfs": "tenant-root",
        "namespace.cozystack.io/host": format!("{tenant}.test"),
        "alpha.kubevirt.io/auto-memory-limits-ratio": "1.0",
    });
    for ancestor in charts_ancestors(parent) {
        labels[format!("tenant.cozystack.io/{ancestor}")] = "".into();
    }
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": tenant,
            "labels": labels,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Namespace", "name": parent, "uid": parent_uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
    })
}

/// Everything else that the chart renders for an isolated tenant, and a release.
pub fn rest_of(tenant: &str, parent: &str) -> Vec<Value> {
    let own = |name: &str, spec: Value| {
        json!({
            "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
            "metadata": {"name": name, "namespace": tenant}, "spec": spec,
        })
    };
    let to_all_of = |name: &str, other: &str| {
        own(
            name,
            json!({"endpointSelector": {}, "egress": [{"toEndpoints": [{"matchLabels": {NAMESPACE_KEY: other}}]}]}),
        )
    };
    let ancestors = charts_ancestors(parent);
    let above: Vec<Value> = ancestors
        .iter()
        .map(|ancestor| json!({"matchLabels": {NAMESPACE_KEY: ancestor}}))
        .collect();
    vec![
        own(
            "allow-internal-communication",
            json!({"endpointSelector": {}, "ingress": [{"fromEndpoints": [{}]}], "egress": [{"toEndpoints": [{}]}]}),
        ),
        own(
            "allow-external-communication",
            json!({"endpointSelector": {}, "ingress": [{"fromEntities": ["world", "cluster"]}], "egress": [{"toEntities": ["world"]}]}),
        ),
        egress_policy(tenant, &ancestors),
        json!({
            "apiVersion": "cilium.io/v2", "kind": "CiliumClusterwideNetworkPolicy",
            "metadata": {"name": format!("{tenant}-ingress")},
            "spec": {
                "endpointSelector": {"matchLabels": {NAMESPACE_KEY: tenant}},
                "ingress": [
                    {"fromEntities": ["kube-apiserver"]},
                    {"fromEndpoints": [{"matchLabels": {"k8s:io.cilium.k8s.namespace.labels.cozystack.io/system": "true"}}]},
                    {"fromEndpoints": above},
                ],
            },
        }),
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
            json!({"endpointSelector": {}, "egress": [{"toEndpoints": [{"matchLabels": {NAMESPACE_KEY: "kube-system", "k8s-app": "kube-dns"}}]}]}),
        ),
        to_all_of("allow-to-dashboard", "cozy-dashboard"),
        to_all_of("allow-to-keycloak", "cozy-keycloak"),
        to_all_of("allow-to-cdi-upload-proxy", "cozy-kubevirt-cdi"),
        own(
            "allow-to-ingress",
            json!({"endpointSelector": {}, "egress": [{"toEndpoints": [{"matchLabels": {"cozystack.io/service": "ingress"}}]}]}),
        ),
        json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "redis-x", "namespace": tenant},
            "spec": {"interval": "5m", "chartRef": {"kind": "ExternalArtifact", "name": "redis", "namespace": "cozy-system"}},
        }),
    ]
}

const FLUX_TENANTS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: flux-tenants, namespace: cozy-fluxcd, labels: {sharding.fluxcd.io/role: shard}}
spec:
  selector: {matchLabels: {app: flux-tenants}}
  template:
    metadata: {labels: {app: flux-tenants}}
    spec:
      containers:
      - name: helm-controller
        image: ghcr.io/fluxcd/helm-controller:v1.4.3
        args: ['--concurrent=5', '--watch-label-selector=sharding.fluxcd.io/key=tenants']
";

/// The controller that serves the shard of tenants.
pub fn add_flux_tenants(plane: &Plane) {
    plane.kubectl(&["create", "namespace", "cozy-fluxcd"]);
    plane.apply(FLUX_TENANTS);
}

impl Cluster {
    fn uid(&self, namespace: &str) -> String {
        let object = self.plane.get(&["namespace", namespace]);
        object["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    fn find_in(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        let arguments = ["get", kind, name, "-n", namespace, "-o", "json"];
        let (success, stdout, _) = self.plane.kubectl_with(&arguments, "");
        success.then(|| serde_json::from_str(&stdout).unwrap())
    }

    /// What a tenant's companion lets its pods reach, as tenant and pods.
    fn companion(&self, tenant: &str) -> Option<Vec<String>> {
        let companion = self.find_in(tenant, POLICIES, COMPANION)?;
        Some(reached(&companion))
    }

    fn readyz(&self) -> String {
        plain(self.setup.probes, "GET", "/readyz?verbose", "")
            .unwrap()
            .1
    }

    fn tells(&self, line: &str) -> bool {
        plain(self.setup.metrics, "GET", "/metrics", "")
            .is_ok_and(|(_, text)| text.lines().any(|found| found == line))
    }

    fn companions_in(&self, state: &str, count: usize) -> bool {
        self.tells(&format!(
            r#"cozystack_webhook_companions{{rule="tenant-egress",state="{state}"}} {count}"#
        ))
    }

    /// All keys of etcd but Events, which come and go by themselves.
    fn kept_revisions(&self) -> BTreeMap<String, String> {
        let mut revisions = self.plane.revisions();
        revisions.retain(|key, _| !key.starts_with("/registry/events/"));
        revisions
    }
}

/// The shared pods that a policy's egress names, as tenant and pods.
fn reached(policy: &Value) -> Vec<String> {
    let rules = policy["spec"]["egress"].as_array().unwrap();
    let selectors = rules
        .iter()
        .flat_map(|rule| rule["toEndpoints"].as_array().into_iter().flatten());
    let mut reached: Vec<String> = selectors
        .filter_map(|selector| {
            let labels = selector["matchLabels"].as_object()?;
            let tenant = labels.get(NAMESPACE_KEY)?.as_str()?;
            let (_, pods) = labels.iter().find(|(key, _)| *key != NAMESPACE_KEY)?;
            Some(format!("{tenant}/{}", pods.as_str()?))
        })
        .collect();
    reached.sort();
    reached
}

fn strings(list: &[&str]) -> Vec<String> {
    let mut strings: Vec<String> = list.iter().map(|text| (*text).to_owned()).collect();
    strings.sort();
    strings
}

pub fn reach_their_ancestors(assets: &Path) {
    let cluster = Cluster::installed(assets);
    let plane = &cluster.plane;
    install_cilium_crds(plane);
    install_helm_release_crd(plane);
    let _service = cluster.serve();
    eventually("the kinds are known", || {
        cluster
            .readyz()
            .contains("cache/ciliumclusterwidenetworkpolicies: synced")
    });
    add_flux_tenants(plane);
    plane.kubectl(&["create", "namespace", "tenant-root"]);
    eventually("the root and its shard are known", || {
        let text = cluster.readyz();
        text.contains("cache/deployments: synced, 1")
            && text.contains("cache/namespaces: synced, 7")
    });

    let ways: [(&str, &[&str], [&str; 3]); 2] = [
        ("kubectl", &[], ["tenant-a", "tenant-a-b", "tenant-a-b-c"]),
        (
            "server-side",
            &["--server-side", "--field-manager=ci"],
            ["tenant-s", "tenant-s-t", "tenant-s-t-u"],
        ),
    ];
    for (way, options, tenants) in ways {
        let with = |verb: &str| {
            let mut arguments = vec![verb];
            arguments.extend(options);
            arguments.extend(["-f", "-"]);
            arguments
                .into_iter()
                .map(ToOwned::to_owned)
                .collect::<Vec<String>>()
        };
        let run = |verb: &str, more: &[&str], objects: &[Value]| {
            let mut arguments = with(verb);
            arguments.extend(more.iter().map(|option| (*option).to_owned()));
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            plane.kubectl_with(&arguments, &list(objects))
        };
        let mut parent = "tenant-root".to_owned();
        for tenant in tenants {
            let space = namespace(tenant, &parent, &cluster.uid(&parent));
            let before = cluster.kept_revisions();
            let (success, _, stderr) =
                run("apply", &["--dry-run=server"], std::slice::from_ref(&space));
            assert!(success, "{stderr}");
            assert_eq!(cluster.kept_revisions(), before, "a dry run writes nothing");
            let (success, _, stderr) = run("apply", &[], std::slice::from_ref(&space));
            assert!(
                success && !stderr.contains("Warning"),
                "{way} {tenant}: {stderr}"
            );
            eventually("the namespace is known", || {
                let (_, stdout, _) = plane.kubectl_with(&["get", "namespaces", "-o", "name"], "");
                let count = stdout.lines().count();
                cluster
                    .readyz()
                    .contains(&format!("cache/namespaces: synced, {count} objects"))
            });
            let rest = rest_of(tenant, &parent);
            let before = cluster.kept_revisions();
            let (success, _, stderr) = run("apply", &["--dry-run=server"], &rest);
            assert!(success, "{stderr}");
            std::thread::sleep(Duration::from_secs(2));
            assert_eq!(cluster.kept_revisions(), before, "a dry run writes nothing");
            let (success, _, stderr) = run("apply", &[], &rest);
            assert!(
                success && !stderr.contains("Warning"),
                "{way} {tenant}: {stderr}"
            );
            parent = tenant.to_owned();
        }
        // Nothing differs, and applying again writes nothing.
        let mut all = Vec::new();
        let mut parent = "tenant-root".to_owned();
        for tenant in tenants {
            all.push(namespace(tenant, &parent, &cluster.uid(&parent)));
            all.extend(rest_of(tenant, &parent));
            parent = tenant.to_owned();
        }
        let (success, stdout, stderr) = run("diff", &[], &all);
        assert!(success && stdout.is_empty(), "{way}: {stdout}{stderr}");
        let before = cluster.kept_revisions();
        for _ in 0..3 {
            let (success, _, stderr) = run("apply", &[], &all);
            assert!(success, "{stderr}");
        }
        assert_eq!(cluster.kept_revisions(), before, "{way}: applied again");
        are_as_they_should_be(&cluster, &tenants);
    }
    // Nobody needed the companion.
    let made = plane.get(&[POLICIES, "-A"]);
    let mut names = made["items"].as_array().unwrap().iter();
    assert!(names.all(|policy| policy["metadata"]["name"] != COMPANION));
}

/// Of a chain of tenants below the root, depth one first.
pub fn are_as_they_should_be(cluster: &Cluster, tenants: &[&str; 3]) {
    let plane = &cluster.plane;
    for (depth, tenant) in tenants.iter().enumerate() {
        let ancestors: Vec<&str> = std::iter::once("tenant-root")
            .chain(tenants[..depth].iter().copied())
            .collect();
        let policy = plane.get(&[WIDE_POLICIES, &format!("{tenant}-egress")]);
        let found = reached(&policy);
        for ancestor in &ancestors {
            assert!(
                found.contains(&format!("{ancestor}/ingress")),
                "{tenant}: {found:?}"
            );
        }
        for shared in ["tenant-root/etcd", "tenant-root/vminsert"] {
            assert!(found.contains(&shared.to_owned()), "{tenant}: {found:?}");
        }
        // Depth one lacks nothing in the chart.
        let added = policy["metadata"]["annotations"][ADDED].as_str();
        let expected = "tenant-root/vminsert,tenant-root/etcd,tenant-root/ingress";
        assert_eq!(added, (depth > 0).then_some(expected), "{tenant}");
        let rules = policy["spec"]["egress"].as_array().unwrap();
        assert_eq!(rules.len(), if depth > 0 { 7 } else { 4 });
        let written = egress_policy(tenant, &charts_ancestors(ancestors.last().unwrap()));
        let written = written["spec"]["egress"].as_array().unwrap();
        assert!(
            rules.starts_with(written),
            "the chart's own rules come first"
        );
        let labels = &plane.get(&["namespace", tenant])["metadata"]["labels"];
        for name in ancestors.iter().chain([tenant]) {
            assert_eq!(
                labels[format!("tenant.cozystack.io/{name}")],
                "",
                "{tenant}: {labels}"
            );
        }
        let release = plane.get(&["helmreleases", "redis-x", "-n", tenant]);
        assert_eq!(
            release["metadata"]["labels"]["sharding.fluxcd.io/key"], "tenants",
            "{tenant}"
        );
    }
}

pub fn companions_live_and_die(assets: &Path) {
    let mut cluster = Cluster::installed(assets);
    cluster.plane.start_controllers();
    let service = cluster.serve();
    let plane = &cluster.plane;

    // Without Cilium nothing is made, and both say so.
    plane.kubectl(&["create", "namespace", "tenant-root"]);
    plane.kubectl(&["create", "namespace", "tenant-a"]);
    cluster.set("tenant-egress.hand-made: 'true'");
    for kind in ["ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies"] {
        assert!(
            cluster
                .readyz()
                .contains(&format!("[+] cache/{kind}: absent"))
        );
        assert!(cluster.tells(&format!(
            r#"cozystack_webhook_kind_absent{{resource="{kind}"}} 1"#
        )));
    }
    cluster.set("");
    drop(service);

    // Policies that were there before the service.
    plane.kubectl(&[
        "delete",
        "validatingwebhookconfigurations,mutatingwebhookconfigurations",
        "--all",
    ]);
    install_cilium_crds(plane);
    let uid = cluster.uid("tenant-root");
    plane.apply(&list(&[namespace("tenant-a", "tenant-root", &uid)]));
    let uid = cluster.uid("tenant-a");
    plane.apply(&list(&[
        namespace("tenant-a-b", "tenant-a", &uid),
        // Not isolated: without the chart's policies.
        namespace("tenant-a-free", "tenant-a", &uid),
        egress_policy("tenant-a-b", &charts_ancestors("tenant-a")),
    ]));
    cluster.add_webhooks();
    let service = cluster.serve();
    let lacking = strings(&[
        "tenant-root/etcd",
        "tenant-root/ingress",
        "tenant-root/vminsert",
    ]);
    eventually_within(40, "it is brought", || {
        cluster.companion("tenant-a-b").as_ref() == Some(&lacking)
    });
    eventually("it is counted", || cluster.companions_in("in_step", 1));
    assert!(cluster.tells(r#"cozystack_webhook_kind_absent{resource="ciliumnetworkpolicies"} 0"#));
    let made = cluster.find_in("tenant-a-b", POLICIES, COMPANION).unwrap();
    assert_eq!(made["spec"]["enableDefaultDeny"], json!({"egress": false}));
    assert_eq!(
        made["metadata"]["ownerReferences"][0]["uid"],
        cluster.uid("tenant-a-b").as_str()
    );
    for tenant in ["tenant-a", "tenant-a-free"] {
        assert_eq!(cluster.companion(tenant), None, "{tenant}");
    }

    // What is deleted or changed by hand comes back.
    plane.kubectl(&["delete", POLICIES, COMPANION, "-n", "tenant-a-b"]);
    eventually("it comes back", || {
        cluster.companion("tenant-a-b").as_ref() == Some(&lacking)
    });

    // Whoever takes it over keeps it as he wants it; deleted, it is ours again.
    let theirs = json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
        "metadata": {"name": COMPANION, "namespace": "tenant-a-b"},
        "spec": {"endpointSelector": {}, "egress": [{"toEntities": ["world"]}]},
    });
    let force = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=otto",
        "-f",
        "-",
    ];
    let (success, _, stderr) = plane.kubectl_with(&force, &theirs.to_string());
    assert!(success, "{stderr}");
    eventually("it is let go", || cluster.companions_in("released", 1));
    let kept = cluster.find_in("tenant-a-b", POLICIES, COMPANION).unwrap();
    assert_eq!(kept["spec"]["egress"], theirs["spec"]["egress"]);
    plane.kubectl(&["delete", POLICIES, COMPANION, "-n", "tenant-a-b"]);
    eventually("it is ours again", || {
        cluster.companion("tenant-a-b").as_ref() == Some(&lacking)
    });

    // Exactly what is missing: another part of it comes with a change of the labels.
    plane.kubectl(&[
        "label",
        "namespace",
        "tenant-a-b",
        "namespace.cozystack.io/etcd=tenant-a",
        "--overwrite",
    ]);
    let fewer = strings(&["tenant-root/ingress", "tenant-root/vminsert"]);
    eventually("the change is followed", || {
        cluster.companion("tenant-a-b").as_ref() == Some(&fewer)
    });

    // Written again by way of the service, whatever is changed, the policy has it itself, and the companion goes.
    plane.kubectl(&["label", WIDE_POLICIES, "tenant-a-b-egress", "x=y"]);
    eventually("it is withdrawn", || {
        cluster.companion("tenant-a-b").is_none()
    });
    // Whoever takes it out of the live policy past the mutation brings it back: a deletion and the policy of old.
    plane.kubectl(&[
        "delete",
        "mutatingwebhookconfigurations",
        "cozystack-webhook",
    ]);
    plane.kubectl(&["delete", WIDE_POLICIES, "tenant-a-b-egress"]);
    plane.apply(&list(&[egress_policy(
        "tenant-a-b",
        &charts_ancestors("tenant-a"),
    )]));
    eventually("it is brought again", || {
        cluster.companion("tenant-a-b").as_ref() == Some(&fewer)
    });
    // The chart takes its policies away: an isolated tenant becomes a free one.
    plane.kubectl(&["delete", WIDE_POLICIES, "tenant-a-b-egress"]);
    eventually("it is withdrawn again", || {
        cluster.companion("tenant-a-b").is_none()
    });

    // Somebody else's object of that name stays as it is, and its owner is told.
    plane.apply(&list(std::slice::from_ref(&theirs)));
    plane.apply(&list(&[egress_policy(
        "tenant-a-b",
        &charts_ancestors("tenant-a"),
    )]));
    eventually("the name is taken", || {
        cluster.companions_in("name_taken", 1)
    });
    std::thread::sleep(Duration::from_secs(2));
    let kept = cluster.find_in("tenant-a-b", POLICIES, COMPANION).unwrap();
    assert_eq!(kept["spec"], theirs["spec"]);
    plane.kubectl(&["delete", POLICIES, COMPANION, "-n", "tenant-a-b"]);
    eventually("the name is free", || {
        cluster.companion("tenant-a-b").as_ref() == Some(&fewer)
    });

    // Another look writes nothing; what happens while it is away is made up for.
    let before = cluster.kept_revisions();
    drop(service);
    let service = cluster.serve();
    eventually_within(40, "it is looked at again", || {
        cluster.companions_in("in_step", 1)
    });
    assert_eq!(cluster.kept_revisions(), before, "a look writes nothing");
    drop(service);
    plane.kubectl(&["delete", "validatingwebhookconfigurations", "--all"]);
    plane.apply(&list(&[egress_policy(
        "tenant-a-b",
        &strings(&["tenant-root", "tenant-a"]),
    )]));
    cluster.add_webhooks();
    let _service = cluster.serve();
    eventually_within(40, "what happened meanwhile counts", || {
        cluster.companion("tenant-a-b").is_none()
    });

    hand_made(&cluster);

    // A tenant that goes takes it along.
    plane.kubectl(&[
        "delete",
        "mutatingwebhookconfigurations",
        "cozystack-webhook",
    ]);
    plane.kubectl(&["delete", WIDE_POLICIES, "tenant-a-b-egress"]);
    plane.apply(&list(&[egress_policy(
        "tenant-a-b",
        &charts_ancestors("tenant-a"),
    )]));
    eventually("it is there", || cluster.companion("tenant-a-b").is_some());
    plane.kubectl(&["delete", "namespace", "tenant-a-b", "--timeout=60s"]);
    eventually("it is gone", || cluster.companion("tenant-a-b").is_none());
}

/// Tenants that no release has made get the chart's policies where settings say so, and only then.
fn hand_made(cluster: &Cluster) {
    let plane = &cluster.plane;
    let ours = || {
        let mut names: Vec<String> = Vec::new();
        for kind in [POLICIES, WIDE_POLICIES] {
            let label = "app.kubernetes.io/managed-by=cozystack-webhook";
            let found = plane.get(&[kind, "-A", "-l", label]);
            names.extend(found["items"].as_array().unwrap().iter().map(|policy| {
                let metadata = &policy["metadata"];
                let namespace = metadata["namespace"].as_str().unwrap_or_default();
                format!("{namespace}/{}", metadata["name"].as_str().unwrap())
            }));
        }
        names.sort();
        names
    };
    assert_eq!(ours(), Vec::<String>::new());
    // The root and one more come with their releases.
    for (name, release, of) in [
        ("tenant-root", "cozystack-basics", "cozy-system"),
        ("tenant-a", "tenant-a", "tenant-root"),
        ("tenant-a-b", "tenant-b", "tenant-a"),
    ] {
        plane.kubectl(&[
            "annotate",
            "namespace",
            name,
            &format!("meta.helm.sh/release-name={release}"),
            &format!("meta.helm.sh/release-namespace={of}"),
        ]);
    }
    cluster.set("tenant-egress.hand-made: 'true'");
    eventually_within(30, "the chart's policies are made", || ours().len() == 10);
    let made = plane.get(&[WIDE_POLICIES, "tenant-a-free-egress"]);
    let found = reached(&made);
    assert!(
        found.contains(&"tenant-root/ingress".to_owned()),
        "{found:?}"
    );
    assert!(
        ours().iter().all(|name| name.contains("tenant-a-free")),
        "{:?}",
        ours()
    );
    cluster.set("");
    eventually_within(30, "they are withdrawn", || ours().is_empty());
}

/// The ways out of a CiliumNetworkPolicy: a rule, and a part of the sentence that refuses it.
fn ways_out() -> Vec<(Value, &'static str)> {
    let to = |selector: Value| json!({"toEndpoints": [selector]});
    let expression = |key: &str, operator: &str, values: Value| {
        to(json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}))
    };
    let anybody = "it must name the namespace of the pods";
    let stranger = "to which tenant-b is a stranger";
    let label = "k8s:io.cilium.k8s.namespace.labels";
    vec![
        (
            to(json!({"matchLabels": {NAMESPACE_KEY: "tenant-a"}})),
            stranger,
        ),
        (
            expression(NAMESPACE_KEY, "In", json!(["kube-system", "tenant-a"])),
            stranger,
        ),
        (
            expression(NAMESPACE_KEY, "NotIn", json!(["kube-system"])),
            anybody,
        ),
        (
            expression("io.kubernetes.pod.namespace", "Exists", json!([])),
            anybody,
        ),
        (
            expression("any:io.kubernetes.pod.namespace", "DoesNotExist", json!([])),
            anybody,
        ),
        (
            to(
                json!({"matchLabels": {format!("{label}.kubernetes.io/metadata.name"): "tenant-a"}}),
            ),
            stranger,
        ),
        (
            to(json!({"matchLabels": {format!("{label}.team"): "x"}})),
            anybody,
        ),
        (
            expression(
                &format!("{label}.tenant.cozystack.io/tenant-b"),
                "DoesNotExist",
                json!([]),
            ),
            anybody,
        ),
        (
            to(json!({"matchLabels": {format!("{label}.tenant.cozystack.io/tenant-root"): ""}})),
            "all descendants of tenant-root",
        ),
        (
            expression("reserved:host", "DoesNotExist", json!([])),
            "has a reserved: key",
        ),
        (
            to(json!({"matchLabels": {format!("{NAMESPACE_KEY}="): "tenant-a"}})),
            "is not readable by its key",
        ),
        (
            to(json!({"matchLabels": {":io.kubernetes.pod.namespace": "tenant-a"}})),
            "is not readable by its key",
        ),
        (
            to(json!({"matchLabels": {"k8s.io.kubernetes.pod:namespace": "tenant-a"}})),
            "is not readable by its key",
        ),
        (
            expression("$nothing", "DoesNotExist", json!([])),
            "is not readable by its key",
        ),
        (
            expression("reserved.nothing", "DoesNotExist", json!([])),
            "is not readable by its key",
        ),
        (
            to(json!({"matchLabels": {
                "io.kubernetes.pod.namespace": "tenant-b", "any:io.kubernetes.pod.namespace": "tenant-a"}})),
            "are one key",
        ),
        (
            json!({"toEntities": ["cluster"]}),
            "cluster reaches pods of any tenant",
        ),
        (
            json!({"toEntities": ["world", "all"]}),
            "all reaches pods of any tenant",
        ),
        (
            json!({"toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}]}]}),
            "names no destination",
        ),
        (
            json!({"icmps": [{"fields": [{"type": 8, "family": "IPv4"}]}]}),
            "names no destination",
        ),
        (
            json!({"toServices": [{"k8sService": {"serviceName": "x", "namespace": "tenant-a"}}]}),
            stranger,
        ),
        (
            json!({"toServices": [{"k8sService": {"serviceName": "x"}}]}),
            "names no namespace",
        ),
        (
            json!({"toServices": [{"k8sServiceSelector": {"selector": {"matchLabels": {"a": "b"}}}}]}),
            "names no namespace",
        ),
        (
            to(json!({"matchLabels": {NAMESPACE_KEY: "tenant-root"}})),
            "reaches all pods of tenant-root",
        ),
    ]
}

pub fn keep_to_themselves(assets: &Path) {
    let cluster = Cluster::installed(assets);
    let plane = &cluster.plane;
    install_cilium_crds(plane);
    plane.apply(RIGHTS);
    let _service = cluster.serve();
    plane.kubectl(&["create", "namespace", "tenant-root"]);
    for tenant in ["tenant-a", "tenant-b"] {
        let uid = cluster.uid("tenant-root");
        plane.apply(&list(&[namespace(tenant, "tenant-root", &uid)]));
    }
    eventually("everything is known", || {
        let text = cluster.readyz();
        text.contains("cache/ciliumnetworkpolicies: synced")
            && text.contains("cache/namespaces: synced, 8")
    });

    let harmless = json!({"toEntities": ["world"]});
    let policy = |is_wide: bool, version: &str, metadata: Value, rule: &Value, member: &str| {
        let selector = if is_wide {
            json!({"matchLabels": {NAMESPACE_KEY: "tenant-b"}})
        } else {
            json!({})
        };
        let spec = json!({"endpointSelector": selector, "egress": [rule]});
        let kind = if is_wide {
            "CiliumClusterwideNetworkPolicy"
        } else {
            "CiliumNetworkPolicy"
        };
        let spec = if member == "specs" {
            json!([spec])
        } else {
            spec
        };
        let mut policy = json!({
            "apiVersion": format!("cilium.io/{version}"), "kind": kind, "metadata": metadata, member: spec});
        if !is_wide {
            policy["metadata"]["namespace"] = "tenant-b".into();
        }
        policy
    };
    let named = |name: &str| json!({"name": name});
    let mut tried = 0;
    for is_wide in [false, true] {
        let kind = if is_wide { WIDE_POLICIES } else { POLICIES };
        let space: &[&str] = if is_wide { &[] } else { &["-n", "tenant-b"] };
        plane.apply(&list(&[policy(
            is_wide,
            "v2",
            named("old"),
            &harmless,
            "spec",
        )]));
        let before = cluster.kept_revisions();
        let mut refused = |arguments: &[&str], input: &Value, sentence: &str| {
            let mut all = arguments.to_vec();
            all.extend(ANNA);
            let (success, _, stderr) = plane.kubectl_with(&all, &input.to_string());
            assert!(
                !success && stderr.contains(sentence),
                "{all:?} {input}: {stderr}"
            );
            tried += 1;
        };
        for (rule, sentence) in ways_out() {
            let new = |version: &str, metadata: Value, member: &str| {
                policy(is_wide, version, metadata, &rule, member)
            };
            refused(
                &["create", "-f", "-"],
                &new("v2", named("new"), "spec"),
                sentence,
            );
            refused(
                &["replace", "-f", "-"],
                &new("v2", named("old"), "spec"),
                sentence,
            );
            let patch = json!({"spec": {"egress": [rule]}}).to_string();
            let mut patching = vec!["patch", kind, "old", "--type=merge", "-p", patch.as_str()];
            patching.extend(space);
            refused(&patching, &Value::Null, sentence);
            let apply = ["apply", "--server-side", "--field-manager=anna", "-f", "-"];
            refused(&apply, &new("v2", named("new"), "spec"), sentence);
            let generated = json!({"generateName": "allow-to-apiserver"});
            refused(
                &["create", "-f", "-"],
                &new("v2", generated, "spec"),
                sentence,
            );
            refused(
                &["create", "-f", "-"],
                &new("v2alpha1", named("new"), "spec"),
                sentence,
            );
            refused(
                &["create", "-f", "-"],
                &new("v2", named("new"), "specs"),
                sentence,
            );
        }
        assert_eq!(cluster.kept_revisions(), before, "nothing got through");
    }
    network_policies(&cluster, &mut tried);
    println!("{tried} ways to write one's way out, none open");

    // Service accounts are warned, and refused where settings say so; who is trusted may.
    let (rule, sentence) = &ways_out()[0];
    let bad = policy(false, "v2", named("bad"), rule, "spec").to_string();
    let as_account = |verb: &str| {
        let mut all = vec![verb, "-f", "-"];
        all.extend(ACCOUNT);
        plane.kubectl_with(&all, &bad)
    };
    let (success, _, stderr) = as_account("create");
    assert!(
        success
            && stderr.contains("Warning: spec.egress[0].toEndpoints[0]: reaches pods of tenant-a"),
        "{stderr}"
    );
    plane.kubectl(&["delete", POLICIES, "bad", "-n", "tenant-b"]);
    cluster.set("tenant-egress.enforce-service-accounts: 'true'");
    eventually("it is in force", || {
        !as_account("create").0 || {
            plane.kubectl(&["delete", POLICIES, "bad", "-n", "tenant-b"]);
            false
        }
    });
    let (_, _, stderr) = as_account("create");
    assert!(stderr.contains(sentence), "{stderr}");
    plane.apply(&bad);
    // An old sin locks nobody out.
    let mut label = vec!["label", POLICIES, "bad", "-n", "tenant-b", "x=y"];
    label.extend(ANNA);
    let (success, _, stderr) = plane.kubectl_with(&label, "");
    assert!(
        success && stderr.contains("Warning: spec.egress[0].toEndpoints[0]"),
        "{stderr}"
    );
    // The chart's own passes by name and shape for anybody.
    for object in rest_of("tenant-b", "tenant-root") {
        if object["kind"] == "HelmRelease" {
            continue;
        }
        let mut all = vec!["apply", "-f", "-"];
        all.extend(ANNA);
        let (success, _, stderr) = plane.kubectl_with(&all, &object.to_string());
        assert!(success, "{object}: {stderr}");
    }
    places_are_kept(&cluster);
}

fn network_policies(cluster: &Cluster, tried: &mut usize) {
    let plane = &cluster.plane;
    let space = |selector: Value| json!({"to": [{"namespaceSelector": selector}]});
    let name = "kubernetes.io/metadata.name";
    let ways = [
        (space(json!({})), "it must name the namespace of the pods"),
        (
            space(json!({"matchLabels": {name: "tenant-a"}})),
            "to which tenant-b is a stranger",
        ),
        (
            space(json!({"matchLabels": {"team": "x"}})),
            "it must name the namespace of the pods",
        ),
        (
            space(
                json!({"matchExpressions": [{"key": name, "operator": "NotIn", "values": ["tenant-b"]}]}),
            ),
            "it must name",
        ),
        (
            space(json!({"matchLabels": {name: "tenant-root"}})),
            "reaches all pods of tenant-root",
        ),
        (
            json!({"to": [{
                "namespaceSelector": {"matchLabels": {name: "tenant-b"}},
                "podSelector": {"matchLabels": {format!("io.cilium.k8s.namespace.labels.{name}"): "tenant-a"}},
            }]}),
            "is not readable by its key",
        ),
        (json!({}), "names no destination"),
        (json!({"ports": [{"port": 443}]}), "names no destination"),
    ];
    let policy = |metadata: Value, rule: &Value| {
        let mut policy = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata,
            "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [rule]},
        });
        policy["metadata"]["namespace"] = "tenant-b".into();
        policy
    };
    let old = json!({"name": "old"});
    plane.apply(&policy(old.clone(), &json!({"to": [{"podSelector": {}}]})).to_string());
    let before = cluster.kept_revisions();
    for (rule, sentence) in ways {
        let new = json!({"name": "new"});
        let patch = json!({"spec": {"egress": [rule]}}).to_string();
        let patching = [
            "patch",
            "networkpolicy",
            "old",
            "-n",
            "tenant-b",
            "--type=merge",
            "-p",
            &patch,
        ];
        for (arguments, input) in [
            (&["create", "-f", "-"][..], policy(new.clone(), &rule)),
            (&["replace", "-f", "-"], policy(old.clone(), &rule)),
            (&patching, Value::Null),
            (&["apply", "--server-side", "-f", "-"], policy(new, &rule)),
            (
                &["create", "-f", "-"],
                policy(json!({"generateName": "x-"}), &rule),
            ),
        ] {
            let mut all = arguments.to_vec();
            all.extend(ANNA);
            let (success, _, stderr) = plane.kubectl_with(&all, &input.to_string());
            assert!(
                !success && stderr.contains(sentence),
                "{all:?} {input}: {stderr}"
            );
            *tried += 1;
        }
    }
    assert_eq!(cluster.kept_revisions(), before, "nothing got through");
}

/// Users may not move a tenant, and may do everything else with its namespace.
fn places_are_kept(cluster: &Cluster) {
    let plane = &cluster.plane;
    let as_anna = |arguments: &[&str], input: &str| {
        let mut all = arguments.to_vec();
        all.extend(ANNA);
        plane.kubectl_with(&all, input)
    };
    for change in [
        "namespace.cozystack.io/host=evil.test",
        "namespace.cozystack.io/etcd=tenant-a",
        "namespace.cozystack.io/monitoring=tenant-a",
        "tenant.cozystack.io/tenant-a=",
    ] {
        let (success, _, stderr) = as_anna(
            &["label", "--overwrite", "namespace", "tenant-b", change],
            "",
        );
        assert!(
            !success && stderr.contains("may be changed by trusted users only"),
            "{change}: {stderr}"
        );
    }
    let owners = r#"{"metadata": {"ownerReferences": null}}"#;
    let (success, _, stderr) = as_anna(
        &[
            "patch",
            "namespace",
            "tenant-b",
            "--type=merge",
            "-p",
            owners,
        ],
        "",
    );
    assert!(
        !success && stderr.contains("they say whose child the tenant is"),
        "{stderr}"
    );
    let (success, _, stderr) = as_anna(&["label", "namespace", "tenant-b", "team=blue"], "");
    assert!(success, "{stderr}");
    let (success, _, stderr) = as_anna(&["create", "namespace", "tenant-1x"], "");
    assert!(
        !success && stderr.contains("must be tenant-<word>"),
        "{stderr}"
    );
    let generated =
        r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "tenant-x-1"}}"#;
    let (success, _, stderr) = as_anna(&["create", "-f", "-"], generated);
    assert!(
        !success && stderr.contains("must be tenant-<word>"),
        "{stderr}"
    );

    // A namespace of old lacks its labels: an unrelated edit by a user completes them.
    plane.kubectl(&[
        "delete",
        "mutatingwebhookconfigurations",
        "cozystack-webhook",
    ]);
    plane.kubectl(&["create", "namespace", "tenant-old"]);
    cluster.add_webhooks();
    eventually("the webhooks are called", || {
        let (success, _, _) = as_anna(
            &[
                "label",
                "--overwrite",
                "namespace",
                "tenant-old",
                "team=blue",
            ],
            "",
        );
        assert!(success);
        let labels = &plane.get(&["namespace", "tenant-old"])["metadata"]["labels"];
        labels["tenant.cozystack.io/tenant-root"] == ""
            && labels["namespace.cozystack.io/etcd"] == "tenant-root"
            || {
                plane.kubectl(&["label", "namespace", "tenant-old", "team-"]);
                false
            }
    });
}

/// Two thousand tenants whose policies were there before the service.
pub fn two_thousand(assets: &Path) {
    const TOP: usize = 40;
    const BELOW: usize = 49;
    let cluster = Cluster::installed(assets);
    let plane = &cluster.plane;
    plane.kubectl(&[
        "delete",
        "validatingwebhookconfigurations,mutatingwebhookconfigurations",
        "--all",
    ]);
    install_cilium_crds(plane);
    plane.kubectl(&["create", "namespace", "tenant-root"]);
    let root = cluster.uid("tenant-root");
    let mut tenants: Vec<(String, String)> = Vec::new();
    for top in 0..TOP {
        let name = format!("tenant-t{top}");
        tenants.push((name.clone(), "tenant-root".to_owned()));
        tenants.extend((0..BELOW).map(|below| (format!("{name}-u{below}"), name.clone())));
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = plane.client().await;
        let api = |kind: &str, group: &str, version: &str, plural: &str| {
            let kind = kube::core::GroupVersionKind::gvk(group, version, kind);
            let resource = kube::core::ApiResource::from_gvk_with_plural(&kind, plural);
            Api::<DynamicObject>::all_with(client.clone(), &resource)
        };
        let namespaces = api("Namespace", "", "v1", "namespaces");
        let policies = api(
            "CiliumClusterwideNetworkPolicy",
            "cilium.io",
            "v2",
            "ciliumclusterwidenetworkpolicies",
        );
        let created = tenants.iter().map(|(tenant, parent)| {
            let (namespaces, policies, root) = (namespaces.clone(), policies.clone(), root.clone());
            async move {
                // The uid does not matter where nobody collects.
                let space = namespace(tenant, parent, &root);
                let policy = egress_policy(tenant, &charts_ancestors(parent));
                for (api, object) in [(namespaces, space), (policies, policy)] {
                    let object = serde_json::from_value(object).unwrap();
                    api.create(&PostParams::default(), &object).await.unwrap();
                }
            }
        });
        futures::stream::iter(created)
            .buffer_unordered(16)
            .collect::<Vec<()>>()
            .await;
    });
    cluster.add_webhooks();
    let service = cluster.serve();
    let began = Instant::now();
    let wanted = TOP * BELOW;
    eventually_within(240, "all are in step", || {
        cluster.companions_in("in_step", wanted)
    });
    println!(
        "{} tenants, {wanted} companions in {:?}",
        tenants.len(),
        began.elapsed()
    );
    let label = "app.kubernetes.io/managed-by=cozystack-webhook";
    let made = plane.kubectl(&["get", POLICIES, "-A", "-l", label, "-o", "name"]);
    assert_eq!(made.lines().count(), wanted);
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.id())).unwrap();
    let resident = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    println!("{resident}");

    // One more costs one look, not two thousand.
    let before = cluster.kept_revisions();
    plane.apply(&list(&[egress_policy(
        "tenant-t0-u0",
        &charts_ancestors("tenant-t0"),
    )]));
    let began = Instant::now();
    eventually("one is withdrawn", || {
        cluster.companions_in("in_step", wanted - 1)
    });
    println!("one withdrawn in {:?}", began.elapsed());
    let changed: Vec<String> = cluster
        .kept_revisions()
        .into_iter()
        .filter(|(key, revision)| before.get(key) != Some(revision))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(changed.len(), 1, "{changed:?}");

    let before = cluster.kept_revisions();
    drop(service);
    let _service = cluster.serve();
    let began = Instant::now();
    eventually_within(240, "all are looked at again", || {
        cluster.companions_in("in_step", wanted - 1)
    });
    println!("looked at again in {:?}", began.elapsed());
    assert_eq!(cluster.kept_revisions(), before, "a look writes nothing");
}
