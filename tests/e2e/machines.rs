//! Virtual machines on a real API server: a Service for each, never two, never in anybody's way.

use crate::bridge::has_metric;
use crate::support::plane::Plane;
use crate::support::service::Setup;
use crate::{Cluster, eventually, eventually_within, repository};
use futures::StreamExt as _;
use kube::api::{Api, DynamicObject, PostParams};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

pub const TENANT: &str = "tenant-a";
const CRDS: &str = "testcases/crds";
const FQDN: &str = "webhook.cozystack.io/vm-fqdn";
const PARENT: &str = "webhook.cozystack.io/parent";
const RULE: &str = "virtual-machine-service";

/// The kinds of KubeVirt and Flux as these tests need them, and namespaces of tenants.
pub fn add_kinds(plane: &Plane, path: &str) {
    let path = repository(path).display().to_string();
    plane.kubectl(&["apply", "-f", &path]);
    plane.kubectl(&["wait", "--for=condition=Established", "-f", &path]);
    for namespace in [TENANT, "tenant-b"] {
        plane.kubectl(&["create", "namespace", namespace]);
    }
}

fn installed(assets: &Path) -> Cluster {
    let cluster = Cluster::installed(assets);
    add_kinds(&cluster.plane, CRDS);
    cluster
}

/// A machine as the chart makes it.
pub fn machine(name: &str, more: &str) -> String {
    format!(
        "apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {{name: {name}, namespace: {TENANT}{more}}}
spec:
  runStrategy: Always
  template:
    metadata: {{labels: {{app.kubernetes.io/name: vm-instance, app.kubernetes.io/instance: {name}, helm.sh/chart: vm-instance-0.1.0}}}}
    spec: {{domain: {{devices: {{}}}}, terminationGracePeriodSeconds: 30}}
"
    )
}

/// A machine of nobody's chart.
fn bare_machine(name: &str) -> String {
    format!(
        "apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {{name: {name}, namespace: {TENANT}}}
spec: {{runStrategy: Always, template: {{spec: {{domain: {{}}}}}}}}
"
    )
}

fn service(name: &str, instance: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {TENANT}}}
spec: {{clusterIP: None, ports: [{{port: 80}}], selector: {{app.kubernetes.io/instance: {instance}}}}}
"
    )
}

fn release(name: &str, values: &str) -> String {
    format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: {name}, namespace: {TENANT}, labels: {{apps.cozystack.io/application.kind: VMInstance}}}}
spec: {{interval: 5m, values: {values}}}
"
    )
}

/// One object of the tenant.
pub fn find(plane: &Plane, kind: &str, name: &str) -> Option<Value> {
    let (success, stdout, _) = plane.kubectl_with(
        &[
            "get",
            kind,
            name,
            "-n",
            TENANT,
            "-o",
            "json",
            "--show-managed-fields",
        ],
        "",
    );
    success.then(|| serde_json::from_str(&stdout).unwrap())
}

pub fn is_kept(service: &Value) -> bool {
    let entries = service["metadata"]["managedFields"].as_array().unwrap();
    entries
        .iter()
        .any(|entry| entry["manager"] == "cozystack-webhook" && entry["operation"] == "Apply")
}

pub fn has_companion(plane: &Plane, name: &str) -> bool {
    find(plane, "service", name).is_some_and(|service| is_kept(&service))
}

pub fn events(plane: &Plane, reason: &str, name: &str) -> Vec<String> {
    let events = plane.get(&["events", "-n", TENANT]);
    let events = events["items"].as_array().unwrap().clone();
    events
        .iter()
        .filter(|event| event["reason"] == reason && event["involvedObject"]["name"] == name)
        .map(|event| event["message"].as_str().unwrap().to_owned())
        .collect()
}

fn in_state(cluster: &Cluster, state: &str, count: usize) -> bool {
    cluster.metric(&format!(
        r#"cozystack_webhook_companions{{rule="{RULE}",state="{state}"}} {count}"#
    ))
}

fn patch(plane: &Plane, kind: &str, name: &str, patch: &Value) {
    let patch = patch.to_string();
    plane.kubectl(&[
        "patch",
        kind,
        name,
        "-n",
        TENANT,
        "--type=merge",
        "-p",
        &patch,
    ]);
}

/// Long enough for the engine to do what it should not.
pub fn pause() {
    std::thread::sleep(Duration::from_secs(2));
}

pub fn fqdn(machine: &Value) -> &Value {
    &machine["metadata"]["annotations"][FQDN]
}

fn version(object: &Value) -> &Value {
    &object["metadata"]["resourceVersion"]
}

pub fn have_services(assets: &Path) {
    let mut cluster = installed(assets);
    cluster.plane.start_controllers();
    let plane = &cluster.plane;
    // Two that were there before the service came: one of a chart that brings a Service, one that has none.
    plane.apply(&machine("old", ""));
    plane.apply(&machine("older", ""));
    plane.apply(&service("older", "older"));
    let before = find(plane, "service", "older").unwrap();
    let _serving = cluster.serve();
    eventually("the old one has a Service", || has_companion(plane, "old"));
    assert_eq!(find(plane, "service", "older").unwrap(), before);

    // A dry run says what would be, and writes nothing at all.
    let web = machine("web", "");
    let revisions = plane.revisions();
    let (success, stdout, stderr) = plane.kubectl_with(
        &["apply", "--dry-run=server", "-o", "json", "-f", "-"],
        &web,
    );
    assert!(success, "{stderr}");
    assert!(
        stderr.contains("Warning: Service tenant-a/web would be made"),
        "{stderr}"
    );
    let dry: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(fqdn(&dry), "web.tenant-a.svc.cozy.local");
    pause();
    assert_eq!(plane.revisions(), revisions, "a dry run writes nothing");

    // Applied, it has one, and its pods are as they were written.
    let (success, _, stderr) = plane.kubectl_with(&["apply", "-f", "-"], &web);
    assert!(success && !stderr.contains("Warning"), "{stderr}");
    let applied = find(plane, "vm", "web").unwrap();
    assert_eq!(fqdn(&applied), "web.tenant-a.svc.cozy.local");
    assert_eq!(applied["spec"], dry["spec"]);
    assert_eq!(
        applied["spec"]["template"]["metadata"],
        json!({"labels": {"app.kubernetes.io/name": "vm-instance", "app.kubernetes.io/instance": "web", "helm.sh/chart": "vm-instance-0.1.0"}})
    );
    eventually("it has a Service", || has_companion(plane, "web"));
    let made = find(plane, "service", "web").unwrap();
    assert_eq!(made["spec"]["type"], "ClusterIP");
    assert_eq!(made["spec"]["clusterIP"], "None");
    assert_eq!(
        made["spec"]["ports"],
        json!([{"port": 65535, "protocol": "TCP", "targetPort": 65535}])
    );
    assert_eq!(
        made["spec"]["selector"],
        json!({"app.kubernetes.io/name": "vm-instance", "app.kubernetes.io/instance": "web"})
    );
    assert_eq!(
        made["metadata"]["labels"],
        json!({
            "app.kubernetes.io/instance": "web", "app.kubernetes.io/managed-by": "cozystack-webhook",
            "app.kubernetes.io/name": "vm-instance", "apps.cozystack.io/user-service": "true",
        })
    );
    let owner = &made["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], applied["metadata"]["uid"]);
    assert_eq!(
        made["metadata"]["managedFields"].as_array().unwrap().len(),
        1
    );
    // What says what would be says what is, too.
    let (_, _, stderr) = plane.kubectl_with(
        &["apply", "--dry-run=server", "-f", "-"],
        &machine("web", ", labels: {a: b}"),
    );
    assert!(
        stderr.contains("Service tenant-a/web would be kept in step"),
        "{stderr}"
    );

    // A write that changes nothing for the Service changes nothing of it.
    plane.kubectl(&["annotate", "vm", "web", "-n", TENANT, "note=1"]);
    patch(
        plane,
        "vm",
        "web",
        &json!({"spec": {"runStrategy": "Halted"}}),
    );
    pause();
    assert_eq!(find(plane, "service", "web").unwrap(), made);
    // In the older version it is the same machine.
    plane.kubectl(&[
        "annotate",
        "virtualmachines.v1alpha3.kubevirt.io",
        "web",
        "-n",
        TENANT,
        "webhook.cozystack.io/vm-fqdn=wrong",
        "--overwrite",
    ]);
    assert_eq!(
        fqdn(&find(plane, "vm", "web").unwrap()),
        "web.tenant-a.svc.cozy.local"
    );

    // Another one comes and goes.
    plane.apply(&service("front", "web"));
    eventually("ours goes", || find(plane, "service", "web").is_none());
    plane.kubectl(&[
        "annotate",
        "vm",
        "web",
        "-n",
        TENANT,
        "note=2",
        "--overwrite",
    ]);
    assert_eq!(
        fqdn(&find(plane, "vm", "web").unwrap()),
        "front.tenant-a.svc.cozy.local"
    );
    plane.kubectl(&["delete", "service", "front", "-n", TENANT]);
    eventually("ours comes back", || has_companion(plane, "web"));
    // One that selects it after a change, and then no more.
    plane.apply(&service("front", "nothing"));
    pause();
    assert!(has_companion(plane, "web"));
    plane.apply(&service("front", "web"));
    eventually("ours goes", || find(plane, "service", "web").is_none());
    plane.apply(&service("front", "nothing"));
    eventually("ours comes back", || has_companion(plane, "web"));
    // Somebody deletes it.
    plane.kubectl(&["delete", "service", "web", "-n", TENANT]);
    eventually("ours comes back", || has_companion(plane, "web"));

    // It goes with its machine.
    plane.kubectl(&["delete", "vm", "web", "-n", TENANT]);
    eventually_within(30, "it goes with its machine", || {
        find(plane, "service", "web").is_none()
    });
    assert!(find(plane, "service", "front").is_some());
    assert_eq!(find(plane, "service", "older").unwrap(), before);
    clashes_and_settings(&cluster);
}

fn clashes_and_settings(cluster: &Cluster) {
    let plane = &cluster.plane;
    // The name is somebody else's.
    plane.apply(&service("db", "something-else"));
    let theirs = find(plane, "service", "db").unwrap();
    eventually("the writer is warned", || {
        let (success, _, stderr) = plane.kubectl_with(
            &["apply", "--dry-run=server", "-f", "-"],
            &machine("db", ""),
        );
        assert!(success, "{stderr}");
        stderr.contains("Service tenant-a/db was made by somebody else: it is left alone")
    });
    plane.apply(&machine("db", ""));
    eventually("the owner is told", || {
        events(plane, "CompanionNameTaken", "db").len() == 1
    });
    assert!(fqdn(&find(plane, "vm", "db").unwrap()).is_null());
    plane.kubectl(&["annotate", "vm", "db", "-n", TENANT, "note=1"]);
    pause();
    assert_eq!(find(plane, "service", "db").unwrap(), theirs);
    assert_eq!(events(plane, "CompanionNameTaken", "db").len(), 1);
    assert!(in_state(cluster, "name_taken", 1));
    plane.kubectl(&["delete", "service", "db", "-n", TENANT]);
    eventually("the name is free", || has_companion(plane, "db"));

    // Machines of nobody's chart, and names that no Service can have.
    for name in ["plain", "a.b", "1st"] {
        plane.apply(&bare_machine(name));
    }
    let selected = |name: &str, host: &str| {
        eventually(name, || has_companion(plane, name));
        let selector = json!({"kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": host});
        assert_eq!(
            find(plane, "service", name).unwrap()["spec"]["selector"],
            selector
        );
    };
    selected("plain", "plain");
    selected("vm-a-b-2e7336dc", "a");
    selected("vm-1st-e01ddf65", "1st");

    // Not covered: workers of clusters, and what is no tenant's.
    let worker = bare_machine("worker").replace(
        "template: {",
        "template: {metadata: {labels: {cluster.x-k8s.io/cluster-name: c}}, ",
    );
    plane.apply(&worker);
    plane.apply(&machine("far", "").replace(TENANT, "default"));
    plane.apply(&machine("near", ""));
    eventually("the others are looked at", || has_companion(plane, "near"));
    pause();
    assert!(find(plane, "service", "worker").is_none());
    assert!(fqdn(&find(plane, "vm", "worker").unwrap()).is_null());
    let far = plane.get(&["services", "-n", "default"]);
    assert_eq!(
        far["items"].as_array().unwrap().len(),
        1,
        "kubernetes alone"
    );
    cluster.set("virtual-machine-service.cluster-workers: \"true\"");
    eventually("workers too", || has_companion(plane, "worker"));
    cluster.set("");
    eventually("workers no more", || {
        find(plane, "service", "worker").is_none()
    });

    // The chart of an external machine brings a load balancer.
    let flux =
        ", labels: {helm.toolkit.fluxcd.io/name: ext, helm.toolkit.fluxcd.io/namespace: tenant-a}";
    plane.apply(&release("ext", "{external: true}"));
    plane.apply(&machine("ext", flux));
    pause();
    assert!(find(plane, "service", "ext").is_none());
    assert_eq!(
        fqdn(&find(plane, "vm", "ext").unwrap()),
        "ext.tenant-a.svc.cozy.local"
    );
    plane.apply(&release("ext", "{external: false}"));
    eventually("it is external no more", || has_companion(plane, "ext"));
    plane.apply(&release("ext", "{external: true}"));
    eventually("it is external again", || {
        find(plane, "service", "ext").is_none()
    });

    // With a virtual IP, and out of the chart's way.
    cluster.set("virtual-machine-service.virtual-ip: \"true\", virtual-machine-service.cluster-domain: example.org");
    eventually("another Service", || has_companion(plane, "near-internal"));
    eventually("in place of the first", || {
        find(plane, "service", "near").is_none()
    });
    let made = find(plane, "service", "near-internal").unwrap();
    assert!(
        made["spec"]["clusterIP"]
            .as_str()
            .unwrap()
            .starts_with("10.0.0.")
    );
    plane.kubectl(&["annotate", "vm", "near", "-n", TENANT, "note=1"]);
    assert_eq!(
        fqdn(&find(plane, "vm", "near").unwrap()),
        "near-internal.tenant-a.svc.example.org"
    );
    cluster.set("");
    eventually("headless again", || has_companion(plane, "near"));
    eventually("and no other", || {
        find(plane, "service", "near-internal").is_none()
    });
}

/// Server-side apply by two, kubectl, and nobody sees a difference afterwards.
pub fn written_by_many(assets: &Path) {
    let cluster = installed(assets);
    let plane = &cluster.plane;
    let _serving = cluster.serve();
    let apply = |manager: &str, manifest: &str, more: &[&str]| {
        let manager = format!("--field-manager={manager}");
        let mut arguments = vec!["apply", "--server-side", &manager, "-f", "-"];
        arguments.extend(more);
        let (success, stdout, stderr) = plane.kubectl_with(&arguments, manifest);
        assert!(success, "{manager}: {stderr}");
        stdout
    };
    let web = machine("web", "");
    let label = format!(
        "apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {{name: web, namespace: {TENANT}, labels: {{team: red}}, annotations: {{note: x}}}}
spec: {{template: {{spec: {{hostname: web}}}}}}
"
    );
    apply("one", &web, &[]);
    apply("two", &label, &[]);
    eventually("it has a Service", || has_companion(plane, "web"));
    let service = find(plane, "service", "web").unwrap();
    let before = find(plane, "vm", "web").unwrap();
    assert_eq!(fqdn(&before), "web.tenant-a.svc.cozy.local");
    // Both again and again: nothing changes, and neither is in the other's way.
    for _ in 0..3 {
        apply("one", &web, &[]);
        apply("two", &label, &[]);
        let now = find(plane, "vm", "web").unwrap();
        assert_eq!(
            now["metadata"]["annotations"],
            before["metadata"]["annotations"]
        );
        assert_eq!(now["spec"], before["spec"]);
        assert_eq!(version(&now), version(&before));
    }
    for (manager, manifest) in [("one", &web), ("two", &label)] {
        let manager = format!("--field-manager={manager}");
        let arguments = ["diff", "--server-side", &manager, "-f", "-"];
        let (is_same, stdout, stderr) = plane.kubectl_with(&arguments, manifest);
        assert!(is_same && stdout.is_empty(), "{stdout}{stderr}");
    }
    // One of them takes his part back.
    let bare = label.replace(", annotations: {note: x}", "");
    apply("two", &bare, &[]);
    let now = find(plane, "vm", "web").unwrap();
    assert!(now["metadata"]["annotations"].get("note").is_none());
    assert_eq!(fqdn(&now), "web.tenant-a.svc.cozy.local");
    assert_eq!(find(plane, "service", "web").unwrap(), service);

    // As most people do it.
    let db = machine("db", ", annotations: {a: b}");
    plane.apply(&db);
    eventually("it has a Service", || has_companion(plane, "db"));
    let before = find(plane, "vm", "db").unwrap();
    let (is_same, stdout, stderr) = plane.kubectl_with(&["diff", "-f", "-"], &db);
    assert!(is_same && stdout.is_empty(), "{stdout}{stderr}");
    assert!(plane.apply(&db).contains("unchanged"));
    assert_eq!(find(plane, "vm", "db").unwrap(), before);
    // Whoever replaces the whole object gets the annotation again.
    let (success, _, stderr) = plane.kubectl_with(&["replace", "-f", "-"], &db);
    assert!(success, "{stderr}");
    assert_eq!(
        fqdn(&find(plane, "vm", "db").unwrap()),
        "db.tenant-a.svc.cozy.local"
    );
}

/// A chart of the upstream charts' shape: their labels, names and Service.
pub fn chart(with_service: bool) -> Vec<(&'static str, &'static str)> {
    let mut files = vec![
        (
            "Chart.yaml",
            "apiVersion: v2\nname: vm-instance\nversion: 0.1.0\nappVersion: 0.12.0\n",
        ),
        (
            "values.yaml",
            "external: false\nexternalMethod: PortList\nexternalPorts: [22]\nrunStrategy: Always\n",
        ),
        (
            "templates/_helpers.tpl",
            r#"{{- define "vm.selector" -}}
app.kubernetes.io/name: vm-instance
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "vm.labels" -}}
{{ include "vm.selector" . }}
helm.sh/chart: vm-instance-{{ .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
"#,
        ),
        (
            "templates/vm.yaml",
            r#"apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata:
  name: {{ .Release.Name }}
  labels: {{- include "vm.labels" . | nindent 4 }}
spec:
  runStrategy: {{ .Values.runStrategy }}
  template:
    metadata:
      annotations: {kubevirt.io/allow-pod-bridge-network-live-migration: "true"}
      labels: {{- include "vm.labels" . | nindent 8 }}
    spec:
      domain: {devices: {}}
      terminationGracePeriodSeconds: 30
"#,
        ),
    ];
    if with_service {
        files.push((
            "templates/service.yaml",
            r#"apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}
  labels:
    apps.cozystack.io/user-service: "true"
    {{- include "vm.labels" . | nindent 4 }}
  {{- if .Values.external }}
  annotations: {networking.cozystack.io/wholeIP: "true"}
  {{- end }}
spec:
  type: {{ ternary "LoadBalancer" "ClusterIP" .Values.external }}
  {{- if .Values.external }}
  externalTrafficPolicy: Local
  allocateLoadBalancerNodePorts: false
  {{- else }}
  clusterIP: None
  {{- end }}
  selector: {{- include "vm.selector" . | nindent 4 }}
  ports:
  {{- if .Values.external }}
  {{- range .Values.externalPorts }}
  - name: port-{{ . }}
    port: {{ . }}
    targetPort: {{ . }}
  {{- end }}
  {{- else }}
  - port: 65535
  {{- end }}
"#,
        ));
    }
    files
}

fn write_chart(plane: &Plane, name: &str, with_service: bool) -> String {
    let folder = plane.folder.path().join(name);
    for (path, text) in chart(with_service) {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder.display().to_string()
}

pub fn adopted_by_helm(assets: &Path) {
    let mut cluster = installed(assets);
    cluster.plane.start_controllers();
    let plane = &cluster.plane;
    let _serving = cluster.serve();
    let (without, with) = (
        write_chart(plane, "without", false),
        write_chart(plane, "with", true),
    );
    let upgrade = |name: &str, chart: &str, external: &str, more: &[&str]| {
        let external = format!("external={external}");
        let mut arguments = vec![
            "upgrade",
            "--install",
            name,
            chart,
            "-n",
            TENANT,
            "--set",
            &external,
        ];
        arguments.extend(more);
        plane.helm_with(&arguments)
    };
    let take = ["--take-ownership"];

    // A chart that brings a Service of its own: nothing is doubled, nobody told.
    let (success, _, stderr) = upgrade("vm-instance-own", &with, "false", &[]);
    assert!(success, "{stderr}");
    let own = find(plane, "service", "vm-instance-own").unwrap();
    pause();
    assert_eq!(find(plane, "service", "vm-instance-own").unwrap(), own);
    let all = plane.get(&["services", "-n", TENANT]);
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        events(plane, "CompanionNameTaken", "vm-instance-own").len(),
        0
    );

    // One that brings none, and then does: external or not.
    for name in ["vm-instance-a", "vm-instance-b", "vm-instance-c"] {
        let (success, _, stderr) = upgrade(name, &without, "false", &[]);
        assert!(success, "{stderr}");
        eventually("it has a Service", || has_companion(plane, name));
    }
    // Without the flag Helm refuses, and nothing happens.
    let (success, _, stderr) = upgrade("vm-instance-a", &with, "false", &[]);
    assert!(
        !success && stderr.contains("exists and cannot be imported"),
        "{stderr}"
    );
    assert!(has_companion(plane, "vm-instance-a"));
    let (success, _, stderr) = upgrade("vm-instance-a", &with, "false", &take);
    assert!(success, "{stderr}");
    eventually("it is let go", || !has_companion(plane, "vm-instance-a"));
    let adopted = find(plane, "service", "vm-instance-a").unwrap();
    assert!(
        adopted["metadata"]["ownerReferences"]
            .as_array()
            .is_none_or(Vec::is_empty)
    );
    assert_eq!(
        adopted["metadata"]["labels"]["app.kubernetes.io/managed-by"],
        "Helm"
    );
    assert_eq!(adopted["spec"]["clusterIP"], "None");
    eventually("its owner is told", || {
        events(plane, "CompanionReleased", "vm-instance-a").len() == 1
    });
    // Helm goes on with it, and nobody interferes.
    let (success, _, stderr) = upgrade(
        "vm-instance-a",
        &with,
        "false",
        &["--set", "runStrategy=Halted"],
    );
    assert!(success, "{stderr}");
    pause();
    let now = find(plane, "service", "vm-instance-a").unwrap();
    assert_eq!(now["spec"], adopted["spec"]);
    // Not even with its machine does it go: it is the release's.
    plane.kubectl(&["delete", "vm", "vm-instance-a", "-n", TENANT]);
    std::thread::sleep(Duration::from_secs(5));
    assert!(find(plane, "service", "vm-instance-a").is_some());

    // External, and the release is known: ours goes before Helm needs the name.
    let flux = json!({"metadata": {"labels": {"helm.toolkit.fluxcd.io/name": "vm-instance-b"}}});
    patch(plane, "vm", "vm-instance-b", &flux);
    plane.apply(&release("vm-instance-b", "{external: true}"));
    eventually("ours goes", || {
        find(plane, "service", "vm-instance-b").is_none()
    });
    let (success, _, stderr) = upgrade("vm-instance-b", &with, "true", &take);
    assert!(success, "{stderr}");
    let balancer = find(plane, "service", "vm-instance-b").unwrap();
    assert_eq!(balancer["spec"]["type"], "LoadBalancer");
    pause();
    assert_eq!(find(plane, "service", "vm-instance-b").unwrap(), balancer);

    // External, and nobody knows but Helm: it fails, nothing is lost, and the rule steps aside.
    let before = find(plane, "service", "vm-instance-c").unwrap();
    let (success, _, stderr) = upgrade("vm-instance-c", &with, "true", &take);
    assert!(
        !success && stderr.contains("may not be set to 'None'"),
        "{stderr}"
    );
    pause();
    assert_eq!(find(plane, "service", "vm-instance-c").unwrap(), before);
    cluster.set("virtual-machine-service.mode: \"off\"");
    pause();
    plane.kubectl(&["delete", "service", "vm-instance-c", "-n", TENANT]);
    pause();
    let (success, _, stderr) = upgrade("vm-instance-c", &with, "true", &take);
    assert!(success, "{stderr}");
    cluster.set("");
    pause();
    let balancer = find(plane, "service", "vm-instance-c").unwrap();
    assert_eq!(balancer["spec"]["type"], "LoadBalancer");
    assert!(!is_kept(&balancer));
}

/// How often the API server has refused to make a Service.
fn refusals(plane: &Plane) -> u64 {
    let metrics = plane.kubectl(&["get", "--raw", "/metrics"]);
    metrics
        .lines()
        .filter(|line| {
            line.starts_with("apiserver_request_total{")
                && line.contains("code=\"403\"")
                && line.contains("resource=\"services\"")
        })
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
        .sum()
}

pub fn wait_for_quota(assets: &Path) {
    const COUNT: usize = 40;
    let mut cluster = installed(assets);
    cluster.plane.start_controllers();
    let plane = &cluster.plane;
    plane.apply(&format!(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: few, namespace: {TENANT}}}\nspec: {{hard: {{services: 1}}}}\n"
    ));
    eventually("the quota is counted", || {
        find(plane, "resourcequota", "few").unwrap()["status"]["hard"]["services"] == "1"
    });
    plane.apply(&service("first", "nothing"));
    let machines: String = (0..COUNT)
        .map(|number| format!("---\n{}", machine(&format!("m{number}"), "")))
        .collect();
    plane.apply(&machines);
    let serving = cluster.serve();
    eventually_within(30, "all wait", || {
        in_state(&cluster, "quota_exhausted", COUNT)
    });
    let told = || -> usize {
        (0..COUNT)
            .map(|number| events(plane, "CompanionFailed", &format!("m{number}")).len())
            .sum()
    };
    eventually_within(30, "each owner is told", || told() == COUNT);
    assert_eq!(
        events(plane, "CompanionFailed", "m0"),
        ["Service tenant-a/m0: the quota of the namespace is used up"]
    );
    // Machines change all the time; nobody storms.
    let (before, began) = (refusals(plane), Instant::now());
    for round in 0..3 {
        for number in 0..COUNT {
            let name = format!("m{number}");
            patch(
                plane,
                "vm",
                &name,
                &json!({"metadata": {"labels": {"round": round.to_string()}}}),
            );
        }
    }
    std::thread::sleep(Duration::from_secs(10));
    let asked = refusals(plane) - before;
    println!(
        "{COUNT} machines without room: {asked} attempts in {:?}",
        began.elapsed()
    );
    assert!(asked <= 6, "{asked} attempts");
    assert_eq!(told(), COUNT, "told once");
    assert!(in_state(&cluster, "quota_exhausted", COUNT));

    // Room for one, because another went; then for all.
    plane.kubectl(&["delete", "service", "first", "-n", TENANT]);
    eventually_within(20, "one has room", || in_state(&cluster, "in_step", 1));
    assert!(in_state(&cluster, "quota_exhausted", COUNT - 1));
    plane.kubectl(&[
        "patch",
        "resourcequota",
        "few",
        "-n",
        TENANT,
        "--type=merge",
        "-p",
        r#"{"spec":{"hard":{"services":"100"}}}"#,
    ]);
    // Nobody watches quotas: the next attempt finds out, for all.
    let began = Instant::now();
    eventually_within(90, "all have room", || in_state(&cluster, "in_step", COUNT));
    println!("room for all is found after {:?}", began.elapsed());
    assert_eq!(told(), COUNT, "told once");
    drop(serving);
    let _serving = cluster.serve();
    eventually_within(60, "all are looked at again", || {
        in_state(&cluster, "in_step", COUNT)
    });
    assert_eq!(told(), COUNT, "told once");
}

pub fn values_are_checked(assets: &Path) {
    let cluster = installed(assets);
    let plane = &cluster.plane;
    let _serving = cluster.serve();
    let apply = |values: &str| {
        let manifest = release("vm-instance-web", values);
        plane.kubectl_with(&["apply", "-f", "-"], &manifest)
    };
    let (success, _, stderr) = apply(
        "{external: 'yes', externalMethod: All, externalPorts: [0, 80, 80], disks: [{name: a}, {name: a}]}",
    );
    assert!(!success);
    for sentence in [
        "spec.values.external: Invalid value: \"yes\": must be true or false (spec.external of the application)",
        "spec.values.externalMethod: Unsupported value: \"All\": supported values: \"PortList\", \"WholeIP\"",
        "spec.values.externalPorts[0]: Invalid value: 0: must be a whole number from 1 to 65535 (spec.externalPorts of the application)",
        "spec.values.externalPorts[2]: Duplicate value: 80: is listed before (spec.externalPorts of the application)",
        "spec.values.disks[1].name: Duplicate value: \"a\": is attached before (spec.disks of the application)",
    ] {
        assert!(stderr.contains(sentence), "{sentence}\n{stderr}");
    }
    assert!(apply("{external: false}").0);
    // Its chart has made a Service since.
    plane.apply(&service("vm-instance-web", "vm-instance-web"));
    eventually("the writer is warned", || {
        let manifest = release("vm-instance-web", "{external: true}");
        let (success, _, stderr) =
            plane.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &manifest);
        assert!(success, "{stderr}");
        stderr.contains("Warning: spec.values.external: the release fails, and will go on failing, until its Service is deleted:")
            && stderr.contains("Warning: kubectl delete service --namespace tenant-a vm-instance-web\n")
    });
}

pub fn service_away(assets: &Path) {
    let mut cluster = installed(assets);
    cluster.plane.start_controllers();
    let plane = &cluster.plane;
    let serving = cluster.serve();
    for name in ["stays", "goes", "gets", "loses"] {
        plane.apply(&machine(name, ""));
        eventually("it has a Service", || has_companion(plane, name));
    }
    plane.apply(&service("front", "loses"));
    eventually("ours goes", || find(plane, "service", "loses").is_none());
    let stays = find(plane, "service", "stays").unwrap();
    drop(serving);
    // Nobody is kept from anything.
    plane.apply(&machine("new", ""));
    assert!(fqdn(&find(plane, "vm", "new").unwrap()).is_null());
    plane.kubectl(&["delete", "vm", "goes", "-n", TENANT]);
    plane.apply(&service("other", "gets"));
    plane.kubectl(&["delete", "service", "front", "-n", TENANT]);
    eventually_within(30, "what has lost its machine is collected", || {
        find(plane, "service", "goes").is_none()
    });
    let _serving = cluster.serve();
    let began = Instant::now();
    eventually_within(40, "everything is made up for", || {
        has_companion(plane, "new")
            && has_companion(plane, "loses")
            && find(plane, "service", "gets").is_none()
    });
    println!("made up for in {:?}", began.elapsed());
    assert_eq!(find(plane, "service", "stays").unwrap(), stays);
    let names = services(plane);
    assert_eq!(
        names,
        BTreeSet::from(["loses", "new", "other", "stays"].map(str::to_owned))
    );
}

pub fn services(plane: &Plane) -> BTreeSet<String> {
    let list = plane.kubectl(&[
        "get",
        "services",
        "-n",
        TENANT,
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ]);
    list.split_whitespace().map(ToOwned::to_owned).collect()
}

pub fn two_replicas(assets: &Path) {
    let cluster = installed(assets);
    let plane = &cluster.plane;
    let kubeconfig = plane.kubeconfig.display().to_string();
    let other = Setup::new(&plane.folder.path().join("other"));
    let leads = |setup: &Setup| has_metric(setup, "cozystack_webhook_leader 1");
    let first = cluster
        .setup
        .start_ready(&["--kubeconfig", &kubeconfig, "--identity", "one"]);
    eventually("the first leads", || leads(&cluster.setup));
    let _second = other.start_ready(&["--kubeconfig", &kubeconfig, "--identity", "two"]);
    plane.apply(&machine("web", ""));
    eventually("it has a Service", || has_companion(plane, "web"));
    let made = find(plane, "service", "web").unwrap();

    // The leader crashes in the middle of many, and the other goes on.
    let machines: String = (0..60)
        .map(|number| format!("---\n{}", machine(&format!("m{number}"), "")))
        .collect();
    plane.apply(&machines);
    drop(first);
    eventually_within(40, "the second takes over", || leads(&other));
    eventually_within(40, "all have Services", || services(plane).len() == 61);
    assert_eq!(find(plane, "service", "web").unwrap(), made);

    // One that has lost its Lease writes no more, and takes up where it was.
    plane.kubectl(&[
        "patch",
        "leases",
        "cozystack-webhook",
        "-n",
        "cozy-webhook",
        "--type=merge",
        "-p",
        r#"{"spec":{"holderIdentity":"somebody","leaseDurationSeconds":15}}"#,
    ]);
    eventually("it stops", || !leads(&other));
    plane.apply(&bare_machine("late"));
    plane.kubectl(&["delete", "service", "web", "-n", TENANT]);
    pause();
    assert!(find(plane, "service", "late").is_none());
    assert!(find(plane, "service", "web").is_none());
    eventually_within(40, "the Lease runs out, and it goes on", || {
        has_companion(plane, "late") && has_companion(plane, "web")
    });
}

/// A small generator: the sequences are random, and the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }
}

/// Machines, Services of others and releases come, change and go while the service does, too: in the end every machine
/// has what it would have had in any other order.
pub fn in_any_order(assets: &Path) {
    let mut cluster = installed(assets);
    cluster.plane.start_controllers();
    let plane = &cluster.plane;
    let mut dice = Dice(20_261_125);
    let mut serving = Some(cluster.serve());
    let names = ["m0", "m1", "m2", "m3"];
    let mut machines: BTreeSet<&str> = BTreeSet::new();
    // Another's Service, by its name: what it selects.
    let mut others: BTreeMap<String, &str> = BTreeMap::new();
    let mut external: BTreeMap<&str, bool> = BTreeMap::new();
    for _ in 0..80 {
        let name = names[dice.roll(names.len())];
        match dice.roll(12) {
            0..=2 => {
                let labels = format!(", labels: {{helm.toolkit.fluxcd.io/name: {name}}}");
                plane.apply(&machine(name, &labels));
                machines.insert(name);
            }
            3 => {
                plane.kubectl(&["delete", "vm", name, "-n", TENANT, "--ignore-not-found"]);
                machines.remove(name);
            }
            4 | 5 => {
                let other = format!("other-{}", dice.roll(3));
                plane.apply(&service(&other, name));
                others.insert(other, name);
            }
            6 | 7 => {
                let other = format!("other-{}", dice.roll(3));
                plane.kubectl(&[
                    "delete",
                    "service",
                    &other,
                    "-n",
                    TENANT,
                    "--ignore-not-found",
                ]);
                others.remove(&other);
            }
            8 => {
                let is_external = dice.roll(2) == 0;
                plane.apply(&release(name, &format!("{{external: {is_external}}}")));
                external.insert(name, is_external);
            }
            9 => {
                plane.kubectl(&[
                    "delete",
                    "service",
                    name,
                    "-n",
                    TENANT,
                    "--ignore-not-found",
                ]);
            }
            10 => {
                plane.kubectl(&["delete", "hr", name, "-n", TENANT, "--ignore-not-found"]);
                external.remove(name);
            }
            _ => {
                serving = match serving {
                    Some(_) => None,
                    None => Some(cluster.serve()),
                };
            }
        }
        if dice.roll(3) == 0 {
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    let _serving = serving.unwrap_or_else(|| cluster.serve());
    let mut expected: BTreeSet<String> = others.keys().cloned().collect();
    for name in &machines {
        let is_selected = others.values().any(|selected| selected == name);
        if !is_selected && external.get(name) != Some(&true) {
            expected.insert((*name).to_owned());
        }
    }
    let end = Instant::now() + Duration::from_secs(60);
    while services(plane) != expected {
        assert!(
            Instant::now() < end,
            "found {:?}, expected {expected:?}",
            services(plane)
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    pause();
    assert_eq!(services(plane), expected);
    for (other, name) in &others {
        let kept = find(plane, "service", other).unwrap();
        assert_eq!(
            kept["spec"]["selector"]["app.kubernetes.io/instance"],
            **name
        );
        assert!(kept["metadata"]["annotations"].get(PARENT).is_none());
    }
    println!(
        "{} machines, {} Services of others",
        machines.len(),
        others.len()
    );
    assert!(!machines.is_empty() && !others.is_empty());
}

pub fn two_thousand(assets: &Path) {
    const COUNT: usize = 2_000;
    let cluster = Cluster::bare(assets);
    cluster.add_services();
    cluster.install_crds();
    add_kinds(&cluster.plane, CRDS);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let create = |name: &'static str| {
        runtime.block_on(async {
            let client = cluster.plane.client().await;
            let kind = kube::core::GroupVersionKind::gvk("kubevirt.io", "v1", "VirtualMachine");
            let kind = kube::core::ApiResource::from_gvk_with_plural(&kind, "virtualmachines");
            let api: Api<DynamicObject> = Api::namespaced_with(client, TENANT, &kind);
            let created = futures::stream::iter(0..COUNT / 2).map(|number| {
                let api = api.clone();
                async move {
                    let name = format!("{name}{number}");
                    let text = if number % 2 == 0 {
                        machine(&name, "")
                    } else {
                        bare_machine(&name)
                    };
                    let object = cozystack_webhook::manifest::yaml::documents(&text)
                        .unwrap()
                        .remove(0)
                        .value;
                    let object = serde_json::from_value(object).unwrap();
                    api.create(&PostParams::default(), &object).await.unwrap();
                }
            });
            created.buffer_unordered(16).collect::<Vec<()>>().await;
        });
    };
    // Half of them before the service, half of them while it runs.
    create("old");
    cluster.add_webhooks();
    let serving = cluster.serve();
    let began = Instant::now();
    create("new");
    eventually_within(240, "all are in step", || {
        in_state(&cluster, "in_step", COUNT)
    });
    println!("{COUNT} machines have Services after {:?}", began.elapsed());
    assert_eq!(services(&cluster.plane).len(), COUNT);

    let before = cluster.settled_revisions();
    drop(serving);
    let _serving = cluster.serve();
    let began = Instant::now();
    eventually_within(240, "all are looked at again", || {
        in_state(&cluster, "in_step", COUNT)
    });
    println!("looked at again in {:?}", began.elapsed());
    assert_eq!(cluster.settled_revisions(), before, "a look writes nothing");
}
