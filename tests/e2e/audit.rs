//! The audit of a cluster: every page of every list, and reports that say the same as long as nothing changes.

use crate::support::service::run;
use crate::{Cluster, repository};
use serde_json::{Value, json};
use std::path::Path;

const REPORT_CRDS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: clusterreports.openreports.io}
spec:
  group: openreports.io
  scope: Cluster
  names: {kind: ClusterReport, listKind: ClusterReportList, plural: clusterreports, singular: clusterreport}
  versions:
  - {name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: reports.openreports.io}
spec:
  group: openreports.io
  scope: Namespaced
  names: {kind: Report, listKind: ReportList, plural: reports, singular: report}
  versions:
  - {name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
";

pub fn reports(assets: &Path) {
    // More than a page of the list has.
    const COUNT: usize = 1_100;
    let cluster = Cluster::bare(assets);
    cluster.add_services();
    cluster.install_crds();
    let plane = &cluster.plane;
    plane.apply(REPORT_CRDS);
    plane.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/clusterreports.openreports.io",
        "crd/reports.openreports.io",
    ]);
    let mut list = Vec::new();
    for number in 0..COUNT {
        let kind = if number == COUNT - 1 {
            "bad".to_owned()
        } else {
            format!("Gizmo{number}")
        };
        list.push(json!({
            "apiVersion": "cozystack.io/v1alpha1", "kind": "ApplicationDefinition",
            "metadata": {"name": format!("gizmo{number}")},
            "spec": {
                "application": {"kind": kind, "plural": format!("gizmos{number}"), "singular": "gizmo", "openAPISchema": ""},
                "release": {"prefix": "", "chartRef": {"kind": "ExternalArtifact", "name": "cozystack-vpn-application-default-vpn", "namespace": "cozy-system"}},
            },
        }));
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": list}).to_string();
    let (success, _, stderr) = plane.kubectl_with(&["create", "-f", "-"], &list);
    assert!(success, "{stderr}");

    // One whose values are deeper than anybody reads keeps neither the caches nor the audit from the others.
    let kind = repository("testcases/crds/helmreleases.yaml");
    let kind = kind.display().to_string();
    plane.kubectl(&["apply", "-f", &kind]);
    plane.kubectl(&["wait", "--for=condition=Established", "-f", &kind]);
    plane.kubectl(&["create", "namespace", "deep"]);
    let values = format!("{}{}", "[".repeat(300), "]".repeat(300));
    let deep = format!(
        r#"{{"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {{"name": "deep", "namespace": "deep"}}, "spec": {{"values": {{"a": {values}}}}}}}"#
    );
    let (success, _, stderr) = plane.kubectl_with(&["create", "-f", "-"], &deep);
    assert!(success, "{stderr}");

    let kubeconfig = plane.kubeconfig.display().to_string();
    let audit = |more: &[&str]| {
        let mut all = vec!["audit", "--kubeconfig", &kubeconfig, "-o", "json"];
        all.extend(more);
        let (code, stdout, stderr) = run(&all, plane.folder.path(), "");
        assert!(code == 0 || code == 1, "{stdout}{stderr}");
        let entries: Vec<Value> = serde_json::from_str(&stdout).unwrap();
        let (undecided, entries): (Vec<Value>, Vec<Value>) = entries
            .into_iter()
            .partition(|entry| entry["rule"] == "undecided");
        assert_eq!(undecided.len(), 1, "{undecided:#?}");
        assert_eq!(
            (&undecided[0]["namespace"], &undecided[0]["name"]),
            (&json!("deep"), &json!("deep"))
        );
        let message = undecided[0]["message"].as_str().unwrap();
        assert!(
            message.contains("cannot be examined: recursion limit"),
            "{message}"
        );
        (code, entries)
    };
    let (code, entries) = audit(&["--write-reports"]);
    assert_eq!(code, 1);
    assert_eq!(entries.len(), 1, "{entries:#?}");
    assert_eq!(entries[0]["name"], format!("gizmo{}", COUNT - 1));
    assert_eq!(entries[0]["field"], "spec.application.kind");
    let report = plane.get(&["clusterreports", "cozystack-webhook"]);
    assert_eq!(report["summary"]["fail"], 1);
    // What the cluster brings itself passes too.
    assert!(report["summary"]["pass"].as_u64().unwrap() >= COUNT as u64 - 1);
    assert_eq!(report["results"][0]["policy"], "application-definition");
    assert_eq!(
        report["results"][0]["resources"][0]["kind"],
        "ApplicationDefinition"
    );

    // The same findings write nothing; the end of the violation is reported too.
    let before = plane.revisions();
    audit(&["--write-reports"]);
    assert_eq!(plane.revisions(), before);
    plane.kubectl(&[
        "delete",
        "applicationdefinitions",
        &format!("gizmo{}", COUNT - 1),
    ]);
    let (code, entries) = audit(&["--write-reports"]);
    assert_eq!((code, entries), (0, vec![]));
    let report = plane.get(&["clusterreports", "cozystack-webhook"]);
    assert_eq!(report["summary"]["fail"], 0);
    assert_eq!(report["results"], json!([]));
}
