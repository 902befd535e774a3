//! `crds install|uninstall|status` against CRDs that others own.

use crate::support::service::run;
use crate::{Cluster, definitions, repository};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

const LEGACY_CRD: &str = "cozystackresourcedefinitions.cozystack.io";
const RELEASE: &str = "cozystack-resource-definition-crd";

/// The legacy CRD as upstream ships it: the only template of a release, without any policy.
fn install_by_helm(cluster: &Cluster, namespace: &str) {
    let chart = cluster.plane.folder.path().join("legacy-chart");
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    std::fs::write(
        chart.join("Chart.yaml"),
        format!("apiVersion: v2\nname: {RELEASE}\nversion: 0.1.0\n"),
    )
    .unwrap();
    let source = repository("webhooks/crds/cozystackresourcedefinitions.yaml");
    std::fs::copy(source, chart.join("templates/crd.yaml")).unwrap();
    let chart = chart.display().to_string();
    cluster.plane.helm(&[
        "install",
        RELEASE,
        &chart,
        "--namespace",
        namespace,
        "--create-namespace",
    ]);
    cluster.plane.kubectl(&[
        "wait",
        "--for=condition=Established",
        &format!("crd/{LEGACY_CRD}"),
    ]);
    cluster.plane.kubectl(&[
        "apply",
        "-f",
        &repository("testcases/manifests").display().to_string(),
    ]);
}

fn legacy_names(cluster: &Cluster) -> String {
    cluster.plane.kubectl(&[
        "get",
        "cozystackresourcedefinitions.v1alpha1.cozystack.io",
        "-o",
        "name",
    ])
}

pub fn survive_their_helm_release(assets: &Path) {
    let cluster = Cluster::bare(assets);
    let plane = &cluster.plane;
    cluster.add_services();
    install_by_helm(&cluster, "cozy-system");
    definitions::install_helm_release_crd(plane);
    plane.apply(&format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: {RELEASE}, namespace: cozy-system}}\nspec: {{interval: 5m}}\n"
    ));

    let said = cluster.install_crds();
    assert!(
        said.contains(&format!("HelmRelease cozy-system/{RELEASE}: suspended")),
        "{said}"
    );
    assert!(
        said.contains(
            "cozystackresourcedefinitions.cozystack.io: updated, versions v1alpha1, v1alpha2"
        ),
        "{said}"
    );
    let release = plane.get(&["helmreleases", RELEASE, "-n", "cozy-system"]);
    assert_eq!(release["spec"], json!({"interval": "5m", "suspend": true}));
    let crd = plane.get(&["crd", LEGACY_CRD]);
    assert_eq!(
        crd["metadata"]["annotations"]["helm.sh/resource-policy"],
        "keep"
    );
    // Run again: nothing to do.
    let said = cluster.install_crds();
    assert!(
        said.contains("suspended already") && said.matches(": unchanged").count() == 5,
        "{said}"
    );

    let _service = cluster.serve();
    assert_eq!(
        plane.get(&["cozystackresourcedefinitions.v1alpha2.cozystack.io"])["items"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let (_, stdout, _) = {
        let kubeconfig = plane.kubeconfig.display().to_string();
        run(
            &["crds", "--kubeconfig", &kubeconfig, "status", "-o", "json"],
            plane.folder.path(),
            "",
        )
    };
    let status: Value = serde_json::from_str(&stdout).unwrap();
    let legacy = status
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["name"] == LEGACY_CRD)
        .unwrap();
    assert_eq!(
        legacy["state"]["helmRelease"],
        format!("cozy-system/{RELEASE}")
    );
    assert_eq!(legacy["state"]["storedVersions"], json!(["v1alpha1"]));
}

pub fn detached_from_helm(assets: &Path) {
    let mut cluster = Cluster::bare(assets);
    cluster.add_services();
    install_by_helm(&cluster, "elsewhere");
    cluster.plane.start_controllers();
    let _service = cluster.serve();
    let plane = &cluster.plane;
    let said = cluster.install_crds();
    assert!(
        said.contains(&format!("owned by Helm release elsewhere/{RELEASE}")),
        "{said}"
    );
    let command = said
        .lines()
        .find(|line| line.trim_start().starts_with("kubectl "))
        .unwrap()
        .trim();

    // The command that it names does what it says.
    let output = Command::new("sh")
        .args(["-c", command])
        .env("KUBECONFIG", &plane.kubeconfig)
        .env("PATH", format!("{}:/usr/bin:/bin", plane.assets.display()))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        !plane
            .helm(&["list", "--all-namespaces", "--short"])
            .contains(RELEASE)
    );
    assert_eq!(legacy_names(&cluster).lines().count(), 3);
    // Nor does the end of the release's namespace take anything along, with real controllers at work.
    plane.kubectl(&[
        "delete",
        "namespace",
        "elsewhere",
        "--wait=true",
        "--timeout=60s",
    ]);
    assert_eq!(legacy_names(&cluster).lines().count(), 3);
}

pub fn never_narrowed(assets: &Path) {
    let cluster = Cluster::bare(assets);
    let plane = &cluster.plane;
    cluster.add_services();
    // A later release's CRD, with a field that nobody here knows.
    let source =
        std::fs::read_to_string(repository("webhooks/crds/applicationdefinitions.yaml")).unwrap();
    let later = source.replace(
        "                    prefix:\n",
        "                    laterField:\n                      type: string\n                    prefix:\n",
    );
    assert_ne!(source, later);
    plane.apply(&later);
    plane.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/applicationdefinitions.cozystack.io",
    ]);
    let gizmo = repository("testcases/manifests/gizmo.yaml")
        .display()
        .to_string();
    let (_, successor, _) = run(
        &["convert", &gizmo, "--to", "ApplicationDefinition"],
        plane.folder.path(),
        "",
    );
    plane.apply(&successor.replace("prefix: gizmo-", "prefix: gizmo-\n    laterField: kept"));

    // Without an authority nothing is touched.
    let kubeconfig = plane.kubeconfig.display().to_string();
    let before = plane.revisions();
    let (code, _, stderr) = run(
        &["crds", "--kubeconfig", &kubeconfig, "install"],
        plane.folder.path(),
        "",
    );
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("--ca-file") && stderr.contains("nothing was changed"),
        "{stderr}"
    );
    assert_eq!(plane.revisions(), before);

    cluster.install_crds();
    let _service = cluster.serve();
    cluster.add_webhooks();
    plane.kubectl(&[
        "annotate",
        "applicationdefinitions",
        "gizmo",
        "example.org/x=y",
    ]);
    assert_eq!(
        plane.get(&["applicationdefinitions", "gizmo"])["spec"]["release"]["laterField"],
        "kept"
    );
}

pub fn uninstall(assets: &Path) {
    let cluster = Cluster::installed(assets);
    let plane = &cluster.plane;
    let service = cluster.serve();
    plane.kubectl(&[
        "apply",
        "-f",
        &repository("testcases/manifests").display().to_string(),
    ]);
    let gizmo = repository("testcases/manifests/gizmo.yaml")
        .display()
        .to_string();
    let (_, successor, _) = run(
        &["convert", &gizmo, "--to", "ApplicationDefinition"],
        plane.folder.path(),
        "",
    );
    plane.apply(&successor);
    drop(service);

    // Also with the service gone.
    let said = cluster.crds(&["uninstall"]);
    assert!(
        said.starts_with("ValidatingWebhookConfiguration cozystack-webhook: deleted"),
        "{said}"
    );
    let crd = plane.get(&["crd", LEGACY_CRD]);
    assert_eq!(crd["spec"]["conversion"]["strategy"], "None");
    assert_eq!(crd["spec"]["versions"].as_array().unwrap().len(), 1);
    assert_eq!(crd["spec"]["versions"][0]["name"], "v1alpha1");
    assert_eq!(legacy_names(&cluster).lines().count(), 3);
    plane.kubectl(&["get", "applicationdefinitions", "gizmo"]);
    plane.kubectl(&[
        "patch",
        "cozystackresourcedefinitions.v1alpha1.cozystack.io",
        "gizmo",
        "--type=merge",
        "-p",
        r#"{"spec":{"release":{"prefix":"g-"}}}"#,
    ]);
    plane.kubectl(&[
        "delete",
        "cozystackresourcedefinitions.v1alpha1.cozystack.io",
        "thing",
    ]);
    // Twice is once.
    let said = cluster.crds(&["uninstall"]);
    assert!(
        said.contains("cozystackresourcedefinitions.cozystack.io: kept as it is"),
        "{said}"
    );
}
