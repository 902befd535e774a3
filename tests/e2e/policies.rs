//! Operators' policies on a real API server: compiled when written, in force at once, counted, gone at once.

use crate::support::http::plain;
use crate::{Cluster, eventually};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

const SOURCE: &str = "
apiVersion: cozystack.io/v1alpha1
kind: PackageSource
metadata: {name: cozystack.gizmo}
spec:
  sourceRef: {kind: OCIRepository, name: gizmo-packages, namespace: cozy-system, path: /}
  variants:
  - name: default
    components:
    - {name: gizmo-db, path: system/gizmo-db, install: {namespace: cozy-gizmo}}
";

const POLICY: &str = "
apiVersion: policy.cozystack.io/v1alpha1
kind: PackagePolicy
metadata: {name: two-replicas}
spec:
  match: {packages: {names: [cozystack.*]}, components: [gizmo-db]}
  paramRef: {name: limits, parameterNotFoundAction: Allow}
  validations:
  - expression: has(values.replicas) && values.replicas in [2, 3] && !(component in params.data)
    messageExpression: \"component + ' keeps two replicas'\"
";

const SENTENCE: &str = "spec.components.gizmo-db.values: gizmo-db keeps two replicas (PackagePolicy two-replicas, validations[0])";

fn package(replicas: &str) -> String {
    format!(
        "apiVersion: cozystack.io/v1alpha1\nkind: Package\nmetadata: {{name: cozystack.gizmo}}\n\
         spec: {{components: {{gizmo-db: {{values: {{replicas: {replicas}}}}}}}}}\n"
    )
}

/// Within 2 s, as it is promised.
fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{what} within 2 s"
        );
    }
}

pub fn are_asked(assets: &Path) {
    let cluster = Cluster::installed(assets);
    let _service = cluster.serve();
    let plane = &cluster.plane;
    let apply = |object: &str| plane.kubectl_with(&["apply", "-f", "-"], object);
    let dry_run =
        |object: &str| plane.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], object);
    let status = |name: &str| plane.get(&["packagepolicy", name])["status"].clone();
    plane.apply(SOURCE);

    // What does not compile does not get in, and names line and column.
    let (success, _, stderr) = apply(&POLICY.replace("values.replicas in", "value.replicas in"));
    assert!(!success);
    assert!(
        stderr.contains("spec.validations[0].expression: Invalid value:")
            && stderr.contains("line 1, column 25: undeclared reference to 'value'"),
        "{stderr}"
    );
    let (success, _, stderr) =
        apply(&POLICY.replace("components: [gizmo-db]", "component: [gizmo-db]"));
    assert!(!success && stderr.contains("component"), "{stderr}");

    // Without its params the policy says nothing; with them it is asked, and so it is once they change.
    assert!(apply(POLICY).0);
    assert!(dry_run(&package("1")).0);
    let params = |data: &str| {
        plane.apply(&format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: limits, namespace: cozy-webhook}}\ndata: {{{data}}}\n"
        ));
    };
    params("a: b");
    soon("params count", || {
        let (success, _, stderr) = dry_run(&package("1"));
        !success && stderr.contains(SENTENCE)
    });
    assert!(dry_run(&package("2")).0);
    params("gizmo-db: b");
    soon("other params count", || !dry_run(&package("2")).0);
    params("a: b");
    soon("the first params count", || dry_run(&package("2")).0);

    // Denied is counted; dry runs were not.
    eventually("the status says that it compiles", || {
        let conditions = &status("two-replicas")["conditions"];
        conditions[0]["type"] == "Compiled" && conditions[0]["status"] == "True"
    });
    let compiled = status("two-replicas");
    assert_eq!(compiled["observedGeneration"], 1);
    let expressions = compiled["expressions"].as_array().unwrap();
    assert_eq!(expressions.len(), 2);
    assert!(expressions[0]["estimatedCost"].as_u64().unwrap() > 0);
    assert_eq!(compiled["denied"], Value::Null, "{compiled}");
    for _ in 0..3 {
        let (success, _, stderr) = apply(&package("1"));
        assert!(!success && stderr.contains(SENTENCE), "{stderr}");
        assert!(
            stderr.contains("The Package \"cozystack.gizmo\" is invalid"),
            "{stderr}"
        );
    }
    eventually("the status counts", || {
        status("two-replicas")["denied"] == 3
    });
    assert!(status("two-replicas")["lastDenied"].is_string());
    let table = plane.kubectl(&["get", "packagepolicies"]);
    assert!(
        table.contains("COMPILED") && table.contains("True") && table.contains('3'),
        "{table}"
    );
    let (_, metrics) = plain(cluster.setup.metrics, "GET", "/metrics", "").unwrap();
    for line in [
        "cozystack_webhook_policy_denials_total{dry_run=\"false\"} 3",
        "cozystack_webhook_policies{state=\"compiled\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }

    // What was there before only warns.
    let warning = POLICY.replace("spec:\n", "spec:\n  validationActions: [Warn]\n");
    assert!(apply(&warning).0);
    soon("it only warns", || {
        let (success, _, stderr) = apply(&package("1"));
        success
            && stderr
                .contains("Warning: spec.components.gizmo-db.values: gizmo-db keeps two replicas")
    });
    assert!(apply(POLICY).0);
    soon("it refuses again", || !dry_run(&package("0")).0);
    plane.kubectl(&["annotate", "package", "cozystack.gizmo", "a=b"]);
    let (success, _, stderr) = apply(&package("0"));
    assert!(!success && stderr.contains(SENTENCE), "{stderr}");

    // A policy that got in although it does not compile: its failure policy holds, and its status says why.
    plane.kubectl(&[
        "delete",
        "validatingwebhookconfigurations",
        "cozystack-webhook",
    ]);
    let broken = "
apiVersion: policy.cozystack.io/v1alpha1
kind: PackagePolicy
metadata: {name: broken}
spec:
  match: {packages: {names: [cozystack.other]}}
  validations:
  - expression: objct == null
";
    assert!(apply(broken).0);
    cluster.add_webhooks();
    eventually("the status says that it does not compile", || {
        let condition = status("broken")["conditions"][0].clone();
        condition["status"] == "False"
            && condition["message"]
                .as_str()
                .unwrap()
                .contains("did you mean 'object'?")
    });
    let other =
        "apiVersion: cozystack.io/v1alpha1\nkind: Package\nmetadata: {name: cozystack.other}\n";
    let (success, _, stderr) = dry_run(other);
    assert!(
        !success && stderr.contains("failed to configure policy: spec.validations[0].expression"),
        "{stderr}"
    );
    assert!(
        apply(
            &broken
                .replace("validations:", "failurePolicy: Ignore\n  validations:")
                .replace("objct", "object")
        )
        .0
    );
    plane.kubectl(&["delete", "packagepolicy", "broken"]);
    soon("a policy is gone", || dry_run(other).0);
    plane.kubectl(&["delete", "packagepolicy", "two-replicas"]);
    soon("the other one, too", || dry_run(&package("0")).0);
}
