//! Operators' policies as GitOps meets them: a real kustomize-controller tries a set out, and says why in their words.

use crate::flux::{NAMESPACE, content, kustomization, says, texts, witness};
use crate::policies::{SOURCE, package, soon};
use crate::support::flux::Flux;
use crate::{Cluster, eventually};
use std::path::Path;

/// `ALLOWED` are the numbers of replicas.
const POLICY: &str = "
apiVersion: policy.cozystack.io/v1alpha1
kind: PackagePolicy
metadata: {name: two-replicas}
spec:
  match: {packages: {names: [cozystack.*]}, components: [gizmo-db]}
  validations:
  - expression: has(values.replicas) && values.replicas in [ALLOWED]
    messageExpression: \"'whoever is on call wants two replicas of ' + component + ', not ' + string(values.replicas)\"
";

const FREEZE: &str = "
apiVersion: policy.cozystack.io/v1alpha1
kind: PackagePolicy
metadata: {name: freeze}
spec:
  validations: [{expression: \"false\", message: \"nothing changes before Monday\", reason: Forbidden}]
";

fn sentence(replicas: &str) -> String {
    format!(
        "spec.components.gizmo-db.values: whoever is on call wants two replicas of gizmo-db, not {replicas} \
         (PackagePolicy two-replicas, validations[0])"
    )
}

pub fn refuse_kustomizations(assets: &Path) {
    let cluster = Cluster::installed(assets);
    let plane = &cluster.plane;
    let mut flux = Flux::install(plane);
    let _service = cluster.serve();
    flux.start_kustomize_controller(plane);
    plane.kubectl(&["create", "namespace", NAMESPACE]);

    // The service says whether it compiles before anything is compared: a status is content, too.
    let enforce = |allowed: &str| {
        plane.apply(&POLICY.replace("ALLOWED", allowed));
        let generation =
            || plane.get(&["packagepolicy", "two-replicas"])["metadata"]["generation"].clone();
        eventually("the policy is known", || {
            let status = plane.get(&["packagepolicy", "two-replicas"])["status"].clone();
            status["observedGeneration"] == generation()
                && status["conditions"][0]["status"] == "True"
        });
    };
    let put = |note: &str, replicas: &str| {
        let files = [
            ("source.yaml", SOURCE.to_owned()),
            ("package.yaml", package(replicas)),
            ("witness.yaml", witness(NAMESPACE, note)),
        ];
        flux.source(plane, NAMESPACE, "gizmo", &texts(&files));
    };
    let replicas = || {
        plane.get(&["packages.cozystack.io", "cozystack.gizmo"])["spec"]["components"]["gizmo-db"]
            ["values"]["replicas"]
            .clone()
    };

    // The first time: the set is tried out, and nothing of it is there.
    enforce("2, 3");
    let before = content(plane);
    put("first", "1");
    let gizmo = kustomization(plane, "gizmo", "gizmo", "./", "");
    let ready = gizmo.wait_failed(plane, "dry-run failed");
    says(
        &ready,
        &[
            "Package/cozystack.gizmo dry-run failed (Invalid): ",
            &sentence("1"),
        ],
    );
    gizmo.reconcile(plane);
    says(
        &gizmo.wait_failed(plane, "dry-run failed"),
        &[&sentence("1")],
    );
    assert_eq!(content(plane), before);
    for what in [
        "packages.cozystack.io/cozystack.gizmo",
        "packagesources.cozystack.io/cozystack.gizmo",
        "configmap/witness",
    ] {
        let (success, _, stderr) = plane.kubectl_with(&["get", what, "-n", NAMESPACE], "");
        assert!(!success && stderr.contains("NotFound"), "{what}: {stderr}");
    }

    // Whoever wrote the set mends it.
    put("second", "2");
    gizmo.wait_ready(plane);
    assert_eq!(replicas(), 2);

    // A later change is refused in the same way, and what was there stays.
    let before = content(plane);
    put("third", "4");
    let ready = gizmo.wait_failed(plane, "dry-run failed");
    says(&ready, &[&sentence("4")]);
    assert_eq!(content(plane), before);

    // Whoever wrote the policy mends it: the set goes in by itself.
    enforce("2, 3, 4");
    gizmo.wait_ready(plane);
    assert_eq!(replicas(), 4);

    // A policy that comes later does not put what is there out of step.
    enforce("2, 3");
    let (success, _, stderr) =
        plane.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &package("5"));
    assert!(!success && stderr.contains(&sentence("5")), "{stderr}");
    let before = content(plane);
    for _ in 0..3 {
        gizmo.reconcile(plane);
        assert_eq!(gizmo.ready(plane).unwrap().status, "True");
    }
    assert_eq!(content(plane), before);

    // A policy about whole Packages says as what it is answered; once it is gone the set goes in.
    plane.apply(FREEZE);
    soon("nothing changes", || {
        let (success, _, stderr) =
            plane.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &package("3"));
        !success && stderr.contains("nothing changes before Monday")
    });
    put("fourth", "3");
    let ready = gizmo.wait_failed(plane, "dry-run failed");
    says(
        &ready,
        &[
            "Package/cozystack.gizmo dry-run failed (Forbidden): ",
            "nothing changes before Monday (PackagePolicy freeze, validations[0])",
        ],
    );
    assert_eq!(replicas(), 4);
    plane.kubectl(&["delete", "packagepolicy", "freeze"]);
    gizmo.wait_ready(plane);
    assert_eq!(replicas(), 3);
}
