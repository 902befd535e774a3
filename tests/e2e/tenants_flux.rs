//! Tenants as a real Flux brings them: sets and charts go in through the rules, are reconciled ten times with nothing
//! written, and a policy that reaches a stranger shows in the Ready condition before anything is applied.

use crate::support::flux::{Flux, Subject, reconcile_all};
use crate::support::plane::Plane;
use crate::support::service::run;
use crate::tenants::{
    add_flux_tenants, are_as_they_should_be, egress_policy, install_cilium_crds, list, namespace,
    rest_of,
};
use crate::{Cluster, eventually, eventually_within};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const TENANTS: [&str; 3] = ["tenant-a", "tenant-a-b", "tenant-a-b-c"];
const RECONCILES: usize = 10;

/// What a cluster gives everybody in `fleet` whom Flux acts for.
const ACCOUNT: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: fleet, namespace: fleet}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: fleet}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: fleet, namespace: fleet}]
";

/// The chart of an application of a tenant.
const REDIS: [(&str, &str); 2] = [
    (
        "Chart.yaml",
        "{apiVersion: v2, name: redis, version: 1.0.0}",
    ),
    (
        "templates/map.yaml",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: redis}, data: {a: b}}",
    ),
];

fn start(cluster: &Cluster) -> Flux {
    let plane = &cluster.plane;
    install_cilium_crds(plane);
    let flux = Flux::install(plane);
    add_flux_tenants(plane);
    for name in ["cozy-system", "fleet", "tenant-root"] {
        plane.kubectl(&["create", "namespace", name]);
    }
    plane.apply(ACCOUNT);
    flux.chart(plane, "cozy-system", "redis", &REDIS);
    flux
}

/// The cluster's content but what those write who reconcile.
fn content(plane: &Plane) -> BTreeMap<String, String> {
    const RECONCILERS: [&str; 4] = [
        "/registry/kustomize.toolkit.fluxcd.io/",
        "/registry/helm.toolkit.fluxcd.io/",
        "/registry/source.toolkit.fluxcd.io/",
        "/registry/events/",
    ];
    let mut content = plane.revisions();
    content.retain(|key, _| !RECONCILERS.iter().any(|prefix| key.starts_with(prefix)));
    content
}

/// The HelmReleases without what their controller writes.
fn releases(plane: &Plane) -> Vec<Value> {
    let mut releases = plane.get(&["helmreleases", "-A"])["items"].take();
    let items = releases.as_array_mut().unwrap();
    for release in items.iter_mut() {
        release.as_object_mut().unwrap().remove("status");
        let metadata = release["metadata"].as_object_mut().unwrap();
        metadata.remove("resourceVersion");
        if let Some(annotations) = metadata.get_mut("annotations") {
            let annotations = annotations.as_object_mut().unwrap();
            annotations.remove("reconcile.fluxcd.io/requestedAt");
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    std::mem::take(items)
}

/// The first brings the others, and takes off what kubectl has written on them, the wish to be reconciled too.
fn in_turn(plane: &Plane, subjects: &[&Subject]) {
    let (first, others) = subjects.split_at(1);
    reconcile_all(plane, first);
    reconcile_all(plane, others);
}

/// Reconciled ten times over, nothing is written.
fn stays_in_sync(plane: &Plane, subjects: &[&Subject]) {
    in_turn(plane, subjects);
    let before = (content(plane), releases(plane));
    let policies = before.0.keys().filter(|key| key.contains("/cilium.io/"));
    assert!(policies.count() >= 30);
    for _ in 0..RECONCILES {
        in_turn(plane, subjects);
        for subject in subjects {
            let ready = subject.ready(plane).unwrap();
            assert_eq!(ready.status, "True", "{ready:#?}");
        }
    }
    assert_eq!((content(plane), releases(plane)), before);
}

pub fn kustomizations(assets: &Path) {
    let cluster = Cluster::installed(assets);
    let plane = &cluster.plane;
    let mut flux = start(&cluster);
    let _service = cluster.serve();
    flux.start_kustomize_controller(plane);
    flux.start_helm_controller(plane);

    // Parent and child come together: nobody knows a uid yet.
    let mut spaces = Vec::new();
    let mut rest = Vec::new();
    let mut parent = "tenant-root";
    for tenant in TENANTS {
        let mut space = namespace(tenant, parent, "");
        space["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("ownerReferences");
        spaces.push(space);
        rest.extend(rest_of(tenant, parent));
        parent = tenant;
    }
    let put = |more: &[Value]| {
        let files = [
            ("namespaces.yaml", list(&spaces)),
            ("rest.yaml", list(&rest)),
            ("more.yaml", list(more)),
        ];
        let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
        flux.source(plane, "fleet", "tenants", &files);
    };
    let note = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note", "namespace": "fleet"}});
    put(std::slice::from_ref(&note));
    plane.apply(
        "
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: tenants, namespace: fleet}
spec:
  interval: 1h
  retryInterval: 2s
  prune: true
  path: ./
  serviceAccountName: fleet
  sourceRef: {kind: GitRepository, name: tenants}
",
    );
    let tenants = Subject::kustomization("fleet", "tenants");
    tenants.wait_ready(plane);
    let applications = TENANTS.map(|tenant| Subject::helm_release(tenant, "redis-x"));
    for application in &applications {
        application.wait_ready(plane);
    }
    // What came faster than the caches could know is made up for by the next time.
    eventually_within(30, "every namespace is known", || {
        tenants.reconcile(plane);
        let policy = plane.get(&["ccnp", "tenant-a-b-c-egress"]);
        policy["spec"]["egress"].as_array().unwrap().len() == 7
    });
    tenants.reconcile(plane);
    eventually("no companion is needed", || {
        let policies = plane.kubectl(&["get", "cnp", "-A", "-o", "name"]);
        !policies.contains("cozystack-webhook-parents")
    });
    are_as_they_should_be(&cluster, &TENANTS);
    let mut all = vec![&tenants];
    all.extend(&applications);
    stays_in_sync(plane, &all);

    // A policy that reaches a stranger is refused at the dry run, and nothing of the set is applied.
    cluster.set("tenant-egress.enforce-service-accounts: 'true'");
    let bad = json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "out", "namespace": "tenant-a-b"},
        "spec": {"endpointSelector": {}, "egress": [{"toEndpoints": [
            {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "tenant-z"}}]}]},
    });
    eventually("it is in force", || {
        let account = [
            "apply",
            "--dry-run=server",
            "-f",
            "-",
            "--as",
            "system:serviceaccount:fleet:fleet",
        ];
        !plane.kubectl_with(&account, &bad.to_string()).0
    });
    let before = content(plane);
    let mut changed = note.clone();
    changed["data"] = json!({"not": "applied"});
    put(&[changed, bad]);
    let ready = tenants.wait_failed(plane, "dry-run failed");
    for sentence in [
        "CiliumNetworkPolicy/tenant-a-b/out dry-run failed (Invalid): ",
        "spec.egress[0].toEndpoints[0]: Forbidden: reaches pods of tenant-z, to which tenant-a-b is a stranger",
    ] {
        assert!(ready.message.contains(sentence), "{ready:#?}");
    }
    assert_eq!(content(plane), before);
    put(&[note]);
    tenants.wait_ready(plane);
}

pub fn releases_of_tenants(assets: &Path) {
    let cluster = Cluster::installed(assets);
    let plane = &cluster.plane;
    let mut flux = start(&cluster);
    let _service = cluster.serve();
    flux.start_helm_controller(plane);

    // The ignore list as it is shipped.
    let (code, ignore, stderr) = run(
        &["manifests", "--flux-ignore", "-o", "json"],
        plane.folder.path(),
        "",
    );
    assert_eq!(code, 0, "{stderr}");
    let ignore: Value = serde_json::from_str(&ignore).unwrap();
    let mut subjects = Vec::new();
    let mut parent = "tenant-root".to_owned();
    for tenant in TENANTS {
        let uid = plane.get(&["namespace", &parent])["metadata"]["uid"].clone();
        let mut objects = vec![namespace(tenant, &parent, uid.as_str().unwrap())];
        objects.extend(rest_of(tenant, &parent));
        let templates: Vec<String> = objects.iter().map(Value::to_string).collect();
        let chart = format!("{{apiVersion: v2, name: {tenant}, version: 1.0.0}}");
        let files = [
            ("Chart.yaml", chart.as_str()),
            ("templates/tenant.yaml", &templates.join("\n---\n")),
        ];
        flux.chart(plane, "cozy-system", tenant, &files);
        let name = format!("tenant-{}", tenant.rsplit('-').next().unwrap());
        let mut release = json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": name, "namespace": parent, "labels": {"apps.cozystack.io/application.kind": "Tenant"}},
            "spec": {
                "interval": "1h", "chartRef": {"kind": "ExternalArtifact", "name": tenant, "namespace": "cozy-system"},
            },
        });
        release["spec"]["driftDetection"] = ignore["spec"]["driftDetection"].clone();
        release["spec"]["driftDetection"]["mode"] = "enabled".into();
        plane.apply(&release.to_string());
        let subject = Subject::helm_release(&parent, &name);
        subject.wait_ready(plane);
        let labels = &subject.get(plane)["metadata"]["labels"];
        assert_eq!(labels["sharding.fluxcd.io/key"], "tenants");
        let application = Subject::helm_release(tenant, "redis-x");
        application.wait_ready(plane);
        subjects.extend([subject, application]);
        parent = tenant.to_owned();
    }
    // What Helm made faster than the caches could know its companion has brought, or another write completes.
    for tenant in &TENANTS[1..] {
        let name = format!("{tenant}-egress");
        eventually("its pods reach the root", || {
            let policy = plane.get(&["ccnp", &name]).to_string();
            let companion = [
                "get",
                "cnp",
                "cozystack-webhook-parents",
                "-n",
                tenant,
                "-o",
                "json",
            ];
            let (_, companion, _) = plane.kubectl_with(&companion, "");
            ["ingress", "etcd", "vminsert"].iter().all(|pods| {
                let is_in = |text: &str| {
                    let text = text.replace([' ', '\n'], "");
                    text.contains(&format!(
                        "\"{pods}\",\"k8s:io.kubernetes.pod.namespace\":\"tenant-root\""
                    ))
                };
                is_in(&policy) || is_in(&companion)
            })
        });
        plane.kubectl(&["label", "ccnp", &name, "x=y"]);
    }
    eventually("no companion is needed", || {
        let policies = plane.kubectl(&["get", "cnp", "-A", "-o", "name"]);
        !policies.contains("cozystack-webhook-parents")
    });
    for tenant in TENANTS {
        let rules = plane.get(&["ccnp", &format!("{tenant}-egress")])["spec"]["egress"].clone();
        let depth = TENANTS.iter().position(|name| *name == tenant).unwrap();
        assert!(rules.as_array().unwrap().len() > 4 || depth == 0, "{rules}");
    }
    let all: Vec<&Subject> = subjects.iter().collect();
    stays_in_sync(plane, &all);
    // Once for each subject and time, it says that it compared and found nothing.
    let log = flux.helm_controller.as_ref().unwrap().log_text();
    let compared = log.matches("release in-sync").count();
    assert!(compared >= RECONCILES * subjects.len(), "{compared}");
    for subject in &subjects {
        let history = &subject.get(plane)["status"]["history"];
        assert_eq!(history.as_array().unwrap().len(), 1, "{history}");
    }

    // That it was looked at is no mistake: what drifts is put back, completed as before.
    let before = plane.get(&["ccnp", "tenant-a-b-egress"])["spec"].clone();
    let other = egress_policy("tenant-a-b", &[])["spec"]["egress"][0].clone();
    let patch = json!({"spec": {"egress": [other]}}).to_string();
    plane.kubectl(&[
        "patch",
        "ccnp",
        "tenant-a-b-egress",
        "--type=merge",
        "-p",
        &patch,
    ]);
    subjects[2].reconcile(plane);
    let after = plane.get(&["ccnp", "tenant-a-b-egress"])["spec"].clone();
    assert_eq!(after, before);
}
