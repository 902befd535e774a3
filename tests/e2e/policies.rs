//! Operators' policies on a real API server: compiled when written, in force at once, counted, logged, gone at once.

use crate::support::http::plain;
use crate::{Cluster, eventually, repository};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

pub const SOURCE: &str = "
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

pub fn package(replicas: &str) -> String {
    format!(
        "apiVersion: cozystack.io/v1alpha1\nkind: Package\nmetadata: {{name: cozystack.gizmo}}\n\
         spec: {{components: {{gizmo-db: {{values: {{replicas: {replicas}}}}}}}}}\n"
    )
}

/// Within 2 s, as it is promised.
pub fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
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

/// Requests that change Packages, and what is known of them without their bodies.
const AUDIT_POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete]
  resources: [{group: cozystack.io, resources: [packages]}]
- level: None
";

/// What the API server logs of a request: of its annotations those of the webhook, by their keys behind its name.
struct Logged {
    code: u64,
    annotations: Value,
}

/// The line of the request that was sent under this name. The client may have its answer before the log has the line.
fn logged(log: &Path, field_manager: &str) -> Logged {
    const PREFIX: &str = "validate.cozystack.io.packages.webhook.cozystack.io/";
    let parameter = format!("fieldManager={field_manager}&");
    let mut lines = Vec::new();
    eventually("the request is in the audit log", || {
        let text = std::fs::read_to_string(log).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let events = whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        lines = events
            .filter(|event: &Value| {
                let uri = event["requestURI"].as_str().unwrap();
                format!("{uri}&").contains(&parameter)
            })
            .collect();
        !lines.is_empty()
    });
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let line = &lines[0];
    assert_eq!(line["objectRef"]["name"], "cozystack.gizmo", "{line}");
    let annotations = line["annotations"].as_object().unwrap().iter();
    Logged {
        code: line["responseStatus"]["code"].as_u64().unwrap(),
        annotations: annotations
            .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?.to_owned(), value.clone())))
            .collect(),
    }
}

/// What `validation_failure` lists.
fn failures(logged: &Logged) -> Value {
    let list = logged.annotations["validation_failure"].as_str();
    serde_json::from_str(list.unwrap_or("null")).unwrap()
}

pub fn warn_and_are_logged(assets: &Path) {
    let mut cluster = Cluster::installed(assets);
    let log = cluster.plane.keep_audit_log(AUDIT_POLICY);
    let _service = cluster.serve();
    let plane = &cluster.plane;
    let apply = |object: &str, name: &str, more: &[&str]| {
        let name = format!("--field-manager={name}");
        let mut arguments = vec!["apply", "-f", "-", &name];
        arguments.extend(more);
        plane.kubectl_with(&arguments, object)
    };
    plane.apply(SOURCE);

    // One of the library: who writes by hand is told so, and the log keeps the name.
    let library = repository("docs/policies/flux-writes.yaml");
    plane.apply(&std::fs::read_to_string(library).unwrap());
    let warning = "Warning: Packages are kept in Git, and Flux will change this back (PackagePolicy flux-writes, validations[0])";
    soon("it warns", || {
        let (success, _, stderr) = apply(&package("1"), "waits", &["--dry-run=server"]);
        success && stderr.contains(warning)
    });
    let by_hand = json!({
        "message": "Packages are kept in Git, and Flux will change this back",
        "policy": "flux-writes",
        "expressionIndex": 0,
        "validationActions": ["Warn", "Audit"],
    });
    for (name, more) in [
        ("tries", &["--dry-run=server"] as &[&str]),
        ("creates", &[]),
    ] {
        let (success, _, stderr) = apply(&package("1"), name, more);
        assert!(
            success && stderr.lines().any(|line| line == warning),
            "{stderr}"
        );
        let logged = logged(&log, name);
        assert_eq!(logged.code, 201);
        assert_eq!(logged.annotations["flux-writes_by-hand"], "admin");
        assert_eq!(failures(&logged), json!([by_hand]));
    }
    // Of Flux there is nothing to be said.
    let flux = [
        "--as=system:serviceaccount:cozy-fluxcd:kustomize-controller",
        "--as-group=system:masters",
    ];
    let (success, _, stderr) = apply(&package("4"), "flux", &flux);
    assert!(success && !stderr.contains("PackagePolicy"), "{stderr}");
    let by_flux = logged(&log, "flux");
    assert_eq!(by_flux.code, 200);
    let members = by_flux.annotations.as_object().unwrap();
    for key in ["flux-writes_by-hand", "validation_failure"] {
        assert!(!members.contains_key(key), "{members:?}");
    }

    // Audit alone is silent towards the writer; with Deny the log has it, too.
    let with = |actions: &str| {
        POLICY
            .replace(
                "  paramRef: {name: limits, parameterNotFoundAction: Allow}\n",
                &format!(
                    "  validationActions: [{actions}]\n  auditAnnotations:\n  - key: replicas\n    valueExpression: component + '=' + string(values.replicas)\n"
                ),
            )
            .replace(" && !(component in params.data)", "")
    };
    let few = |actions: &[&str]| {
        json!({
            "message": "gizmo-db keeps two replicas",
            "policy": "two-replicas",
            "expressionIndex": 0,
            "validationActions": actions,
            "component": "gizmo-db",
        })
    };
    plane.apply(&with("Audit"));
    let mut tries = 0;
    soon("the log has it", || {
        tries += 1;
        let name = format!("waits-{tries}");
        let mut more = vec!["--dry-run=server"];
        more.extend(flux);
        assert!(apply(&package("1"), &name, &more).0);
        failures(&logged(&log, &name)) == json!([few(&["Audit"])])
    });
    let (success, _, stderr) = apply(&package("1"), "silent", &flux);
    assert!(success && !stderr.contains("PackagePolicy"), "{stderr}");
    let silent = logged(&log, "silent");
    assert_eq!(silent.code, 200);
    assert_eq!(failures(&silent), json!([few(&["Audit"])]));
    assert_eq!(silent.annotations["two-replicas_replicas"], "gizmo-db=1");
    let (_, _, stderr) = apply(&package("4"), "both", &[]);
    assert!(
        stderr.contains(warning) && !stderr.contains("two replicas"),
        "{stderr}"
    );
    assert_eq!(
        failures(&logged(&log, "both")),
        json!([by_hand, few(&["Audit"])])
    );

    plane.apply(&with("Deny, Audit"));
    soon("it denies", || {
        !apply(&package("5"), "waits", &["--dry-run=server"]).0
    });
    let (success, _, stderr) = apply(&package("5"), "denied", &flux);
    assert!(!success && stderr.contains(SENTENCE), "{stderr}");
    let denied = logged(&log, "denied");
    assert_eq!(denied.code, 422);
    assert_eq!(denied.annotations["decision"], "denied");
    assert_eq!(denied.annotations["rule"], "policies");
    assert_eq!(denied.annotations["two-replicas_replicas"], "gizmo-db=5");
    assert_eq!(failures(&denied), json!([few(&["Deny", "Audit"])]));
}
