//! Values of applications on a real API server: what is called about, what is said, what is refused.

use super::definitions::install_helm_release_crd;
use crate::{Cluster, eventually};
use std::path::Path;

/// Of kind Gizmo: `replicas` is an integer, `preset` is small or large.
pub const DEFINITION: &str = r#"
apiVersion: cozystack.io/v1alpha1
kind: ApplicationDefinition
metadata: {name: gizmo}
spec:
  application:
    kind: Gizmo
    plural: gizmos
    singular: gizmo
    openAPISchema: '{"type":"object","properties":{"replicas":{"type":"integer"},"preset":{"enum":["small","large"]}}}'
  release: {prefix: gizmo-, chartRef: {kind: ExternalArtifact, name: x, namespace: cozy-system}}
"#;

fn release(name: &str, labels: &str, values: &str) -> String {
    format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\n\
         metadata: {{name: {name}, namespace: default, labels: {{{labels}}}}}\nspec: {{values: {values}}}\n"
    )
}

pub fn are_checked(assets: &Path) {
    let cluster = Cluster::installed(assets);
    let plane = &cluster.plane;
    install_helm_release_crd(plane);
    let _service = cluster.serve();
    plane.apply(DEFINITION);
    let apply = |release: &str| plane.kubectl_with(&["apply", "-f", "-"], release);
    let label = "apps.cozystack.io/application.kind: Gizmo";
    let bad = release("one", label, "{replicas: three}");
    let warning = "spec.values.replicas: Invalid value: \"string\": must be an integer (spec.replicas of the application)";

    eventually("the definition is known", || {
        let (success, _, stderr) =
            plane.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &bad);
        success && stderr.contains(&format!("Warning: {warning}"))
    });
    assert!(apply(&bad).0, "by default it only warns");
    // What is no application is not even asked about.
    for labels in ["", "a: b"] {
        let (success, _, stderr) = apply(&release("other", labels, "{replicas: three}"));
        assert!(success && !stderr.contains("Warning"), "{stderr}");
    }

    cluster.set("application-values.mode: enforce");
    let worse = release("two", label, "{replicas: three, preset: larg}");
    eventually("it refuses", || !apply(&worse).0);
    let (_, _, stderr) = apply(&worse);
    for sentence in [
        warning,
        r#"spec.values.preset: Unsupported value: "larg": did you mean "large"? supported values: "small", "large" (spec.preset of the application)"#,
    ] {
        assert!(stderr.contains(sentence), "{stderr}");
    }
    // The old sin locks nobody out, and who does not touch the values hears nothing of them.
    let (success, _, stderr) = plane.kubectl_with(
        &["annotate", "helmreleases", "one", "example.org/note=x"],
        "",
    );
    assert!(success && !stderr.contains("Warning"), "{stderr}");
    let (success, _, stderr) = apply(&release("one", label, "{replicas: three, preset: large}"));
    assert!(success && stderr.contains(warning), "{stderr}");
    assert!(!apply(&release("one", label, "{replicas: three, preset: larg}")).0);
    assert!(apply(&release("two", label, "{replicas: 3}")).0);

    // The next revision of the schema is in force as soon as it is known.
    plane.apply(&DEFINITION.replace("integer", "string"));
    eventually("the new schema counts", || {
        apply(&release("three", label, "{replicas: three}")).0
    });
}
