//! The service is stopped and comes back: what works without it, and how it ends.

use crate::support::http::plain;
use crate::{Cluster, eventually, repository};
use std::path::Path;

const NEW: &str = "cozystackresourcedefinitions.v1alpha2.cozystack.io";
const LEGACY: &str = "cozystackresourcedefinitions.v1alpha1.cozystack.io";

pub fn the_service_may_be_away(assets: &Path) {
    let cluster = Cluster::installed(assets);
    cluster.without_bridge();
    let mut service = cluster.serve();
    let plane = &cluster.plane;
    let folder = repository("testcases/manifests").display().to_string();
    plane.kubectl(&["apply", "-f", &folder]);
    plane.kubectl(&["get", NEW, "gizmo"]);

    let (_, metrics) = plain(cluster.setup.metrics, "GET", "/metrics", "").unwrap();
    for line in [
        r#"cozystack_webhook_reviews_total{rule="cozystack-resource-definition",operation="CREATE",outcome="allowed",code="200"} 3"#,
        r#"cozystack_webhook_conversions_total{resource="cozystackresourcedefinitions",outcome="success"}"#,
        r#"cozystack_webhook_cached_objects{resource="cozystackresourcedefinitions"} 3"#,
        "cozystack_webhook_certificate_expiry_seconds",
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }

    let (duration, is_clean) = service.terminate();
    assert!(is_clean, "{}", service.log_tail());
    assert!(duration.as_secs() < 30, "{duration:?}");
    drop(service);

    // The storage version needs nobody: get, list and watch.
    plane.kubectl(&["get", LEGACY, "gizmo"]);
    assert_eq!(plane.get(&[LEGACY])["items"].as_array().unwrap().len(), 3);
    let watched = plane.kubectl(&[
        "get",
        "--raw",
        "/apis/cozystack.io/v1alpha1/cozystackresourcedefinitions?watch=1&timeoutSeconds=1",
    ]);
    assert!(watched.contains("\"name\":\"gizmo\""), "{watched}");
    // Writes fail closed while the webhook configurations are there.
    let (success, _, stderr) = plane.kubectl_with(
        &[
            "patch",
            LEGACY,
            "gizmo",
            "--type=merge",
            "-p",
            r#"{"spec":{"release":{"prefix":"g-"}}}"#,
        ],
        "",
    );
    assert!(
        !success && stderr.contains("failed calling webhook"),
        "{stderr}"
    );
    // Without them patch and delete work too.
    let saved = plane.kubectl(&[
        "get",
        "validatingwebhookconfigurations",
        "cozystack-webhook",
        "-o",
        "yaml",
    ]);
    plane.kubectl(&[
        "delete",
        "validatingwebhookconfigurations",
        "cozystack-webhook",
    ]);
    plane.kubectl(&[
        "patch",
        LEGACY,
        "gizmo",
        "--type=merge",
        "-p",
        r#"{"spec":{"release":{"prefix":"g-"}}}"#,
    ]);
    plane.kubectl(&["delete", LEGACY, "beacon"]);

    // It comes back, and everything is as before.
    let service = cluster.serve();
    let (success, stdout, stderr) = plane.kubectl_with(
        &["create", "-f", "-"],
        &saved.replace("resourceVersion:", "# resourceVersion:"),
    );
    assert!(success, "{stdout}{stderr}");
    assert_eq!(
        plane.get(&[NEW, "gizmo"])["spec"]["release"]["prefix"],
        "g-"
    );
    eventually("rules are asked again", || {
        let (success, _, stderr) =
            plane.kubectl_with(&["delete", LEGACY, "gizmo", "--dry-run=server"], "");
        !success && stderr.contains("no ApplicationDefinition gizmo")
    });
    // A crash in mid-flight loses nothing either.
    drop(service);
    plane.kubectl(&["get", LEGACY, "gizmo"]);
    let _service = cluster.serve();
    plane.kubectl(&["get", NEW, "gizmo"]);
}
