//! Packages and their sources on a real API server: refused with reason, let through when right or insisted on.

use crate::{Cluster, definitions, eventually, repository};
use std::path::Path;

const SOURCE: &str = "
apiVersion: cozystack.io/v1alpha1
kind: PackageSource
metadata: {name: cozystack.networking}
spec:
  sourceRef: {kind: OCIRepository, name: gizmo-packages, namespace: cozy-system, path: /}
  variants:
  - name: noop
  - name: cilium
    components:
    - {name: cilium, path: system/cilium, install: {namespace: default, dependsOn: []}}
";

fn package(variant: &str, annotations: &str) -> String {
    format!(
        "apiVersion: cozystack.io/v1alpha1\nkind: Package\n\
         metadata: {{name: cozystack.networking, annotations: {{{annotations}}}}}\n\
         spec: {{variant: {variant}, components: {{cilium: {{values: {{a: 1}}}}}}}}\n"
    )
}

pub fn held_to_their_sources(assets: &Path) {
    let cluster = Cluster::installed(assets);
    definitions::install_helm_release_crd(&cluster.plane);
    let _service = cluster.serve();
    let plane = &cluster.plane;
    let apply = |object: &str| plane.kubectl_with(&["apply", "-f", "-"], object);
    let refused = |object: &str, sentence: &str| {
        let (success, stdout, stderr) =
            plane.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], object);
        assert!(!success, "{stdout}");
        assert!(stderr.contains(" is invalid: "), "{stderr}");
        stderr.contains(sentence)
    };

    let broken = SOURCE
        .replace("dependsOn: []", "dependsOn: [cilium, cilum]")
        .replace("path: system/cilium", "path: /system/cilium");
    for sentence in [
        r#"components[0].path: Invalid value: "/system/cilium": must be a relative path"#,
        r#"install.dependsOn[0]: Invalid value: "cilium": is the component itself"#,
        r#"install.dependsOn[1]: Invalid value: "cilum": names no component of the variant"#,
    ] {
        assert!(refused(&broken, sentence));
    }
    // A Package that comes first is only warned about.
    let (success, _, stderr) = apply(&package("cilium", ""));
    assert!(success, "{stderr}");
    assert!(
        stderr.contains("Warning: there is no PackageSource cozystack.networking yet"),
        "{stderr}"
    );
    assert!(apply(SOURCE).0);
    eventually("an unknown variant is refused", || {
        let (success, _, stderr) = plane.kubectl_with(
            &["apply", "--dry-run=server", "-f", "-"],
            &package("cillium", ""),
        );
        !success
            && stderr.contains(r#"spec.variant: Unsupported value: "cillium""#)
            && stderr.contains(r#"did you mean "cilium"?"#)
    });
    assert!(refused(
        &package("cilium", "").replace("{a: 1}", "text"),
        r#"spec.components.cilium.values: Invalid value: "string": must be an object"#
    ));

    // The network is not taken away by mistake.
    plane.apply(
        "
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: cilium, namespace: default, labels: {cozystack.io/package: cozystack.networking}}
",
    );
    let noop = package("noop", "").replace("cilium: {values: {a: 1}}", "");
    eventually("the network is kept", || {
        let (success, _, stderr) =
            plane.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &noop);
        !success && stderr.contains("the network would go with HelmRelease(s) default/cilium")
    });
    let insisting = noop.replace(
        "annotations: {}",
        "annotations: {webhook.cozystack.io/allow: package}",
    );
    assert!(apply(&insisting).0);

    let (success, _, stderr) =
        plane.kubectl_with(&["delete", "packagesource", "cozystack.networking"], "");
    assert!(success && stderr.contains("Warning: Package cozystack.networking still exists"));

    // What a release ships goes in, in whatever order, and again.
    let real = repository("../shared/data/packagesources-v1.0.0-alpha.1");
    if real.is_dir() {
        for _ in 0..2 {
            let (success, stdout, stderr) =
                plane.kubectl_with(&["apply", "-f", &real.display().to_string()], "");
            assert!(success, "{stderr}");
            assert_eq!(stdout.lines().count(), 75);
        }
    }
}
