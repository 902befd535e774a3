//! Settings on a real API server: in force at once, refused when wrong, harmless when they get in all the same.

use crate::support::http::plain;
use crate::{Cluster, eventually, repository};
use std::path::Path;
use std::time::{Duration, Instant};

const BAD: &str = "
apiVersion: cozystack.io/v1alpha1
kind: ApplicationDefinition
metadata: {name: gizmo}
spec:
  application: {kind: bad, plural: gizmos, singular: gizmo, openAPISchema: ''}
  release: {prefix: gizmo-, chartRef: {kind: ExternalArtifact, name: x, namespace: cozy-system}}
";

pub fn take_effect(assets: &Path) {
    let cluster = Cluster::installed(assets);
    let mut service = cluster.serve();
    let plane = &cluster.plane;
    let attempt = || plane.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], BAD);
    assert!(!attempt().0);

    let began = Instant::now();
    cluster.set("application-definition.mode: warn");
    while !attempt().0 {
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "in force within 2 s"
        );
    }
    let (_, _, stderr) = attempt();
    assert!(
        stderr.contains("Warning: spec.application.kind: Invalid value: \"bad\""),
        "{stderr}"
    );

    // What cannot be understood is refused, and names what would be right.
    let apply = |data: &str| {
        let document = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: cozystack-webhook, namespace: cozy-webhook}}\ndata: {{{data}}}\n"
        );
        plane.kubectl_with(&["apply", "-f", "-"], &document)
    };
    let (success, _, stderr) =
        apply("aplication-definition.mode: warn, application-definition.mode: loud");
    assert!(!success);
    for sentence in [
        "data[aplication-definition.mode]: Forbidden: is no setting; did you mean application-definition.mode?",
        r#"data[application-definition.mode]: Unsupported value: "loud""#,
    ] {
        assert!(stderr.contains(sentence), "{stderr}");
    }
    // Other ConfigMaps are nobody's business, here and elsewhere.
    plane.kubectl(&[
        "create",
        "configmap",
        "other",
        "-n",
        "cozy-webhook",
        "--from-literal=x=y",
    ]);
    plane.kubectl(&[
        "create",
        "configmap",
        "cozystack-webhook",
        "-n",
        "default",
        "--from-literal=x=y",
    ]);

    // What gets in all the same leaves the last good ones in force.
    plane.kubectl(&[
        "delete",
        "validatingwebhookconfigurations",
        "cozystack-webhook",
    ]);
    assert!(apply("application-definition.mode: loud").0);
    cluster.add_webhooks();
    let metric = |line: &str| {
        let (_, text) = plain(cluster.setup.metrics, "GET", "/metrics", "").unwrap();
        text.lines().any(|found| found == line)
    };
    eventually("the metric says so", || {
        metric("cozystack_webhook_settings_invalid 1")
    });
    eventually("an Event says so", || {
        let events = plane.get(&["events", "-n", "cozy-webhook"]);
        let events = events["items"].as_array().unwrap();
        events
            .iter()
            .any(|event| event["reason"] == "SettingsInvalid")
    });
    eventually("the last good ones are in force", || attempt().0);
    // Putting them right is never refused for what was wrong before.
    assert!(apply("application-definition.mode: enforce").0);
    eventually("enforced again", || !attempt().0);
    assert!(metric("cozystack_webhook_settings_invalid 0"));
    // Without a document the defaults hold.
    plane.kubectl(&[
        "delete",
        "configmap",
        "cozystack-webhook",
        "-n",
        "cozy-webhook",
    ]);
    assert!(!attempt().0);

    // The way out, as the docs give it: with the service dead and writes refused, one command lets them through.
    service.terminate();
    let (success, _, stderr) = attempt();
    assert!(
        !success && stderr.contains("failed calling webhook"),
        "{stderr}"
    );
    let docs = std::fs::read_to_string(repository("docs/operations.md")).unwrap();
    let command = docs
        .lines()
        .find_map(|line| line.trim().strip_prefix("kubectl delete "))
        .expect("docs/operations.md gives the command");
    let mut arguments = vec!["delete"];
    arguments.extend(command.split_whitespace());
    plane.kubectl(&arguments);
    assert!(attempt().0);
}
