//! Legacy definitions and ApplicationDefinitions: converted, watched, patched, refused.

use crate::support::service::run;
use crate::{Cluster, eventually, repository};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Own manifests, and the real ones where they are.
fn legacy_folders() -> Vec<PathBuf> {
    let mut folders = vec![repository("testcases/manifests")];
    let real = repository("../shared/data/cozyrds-v0.39.5");
    if real.is_dir() {
        folders.push(real);
    }
    folders
}

/// The objects of a list without what the API server adds.
fn plain(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for added in [
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "managedFields",
        ] {
            metadata.remove(added);
        }
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    object
}

fn resource_versions(list: &Value) -> Vec<String> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["resourceVersion"].to_string())
        .collect()
}

const NEW: &str = "cozystackresourcedefinitions.v1alpha2.cozystack.io";
const LEGACY: &str = "cozystackresourcedefinitions.v1alpha1.cozystack.io";

pub fn converted_and_guarded(assets: &Path) {
    let cluster = Cluster::installed(assets);
    cluster.without_bridge();
    let _service = cluster.serve();
    let plane = &cluster.plane;

    // A watch in either version sees what comes.
    let watches: Vec<_> = [LEGACY, NEW]
        .iter()
        .map(|resource| {
            let path = plane.folder.path().join(format!("watch-{resource}"));
            let child = Command::new(plane.assets.join("kubectl"))
                .env("KUBECONFIG", &plane.kubeconfig)
                .args(["get", resource, "--watch", "-o", "name"])
                .stdout(std::fs::File::create(&path).unwrap())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            (child, path)
        })
        .collect();

    for folder in legacy_folders() {
        let folder = folder.display().to_string();
        let (success, stdout, stderr) = plane.kubectl_with(&["apply", "-f", &folder], "");
        assert!(success, "{stdout}{stderr}");
        assert!(
            stderr.contains("CozystackResourceDefinition is deprecated; use ApplicationDefinition"),
            "{stderr}"
        );

        // Applied again, client side and server side: nothing changes. (The first server-side apply takes fields over.)
        for arguments in [
            &["apply", "-f", &folder][..],
            &["apply", "--server-side", "--force-conflicts", "-f", &folder],
        ] {
            plane.kubectl(arguments);
            let before = resource_versions(&plane.get(&[LEGACY]));
            plane.kubectl(arguments);
            plane.kubectl(arguments);
            assert_eq!(
                resource_versions(&plane.get(&[LEGACY])),
                before,
                "{arguments:?} again changes nothing"
            );
        }
    }

    for (mut child, path) in watches {
        eventually("both watches see gizmo", || {
            std::fs::read_to_string(&path).unwrap().contains("/gizmo")
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }

    // What the API server shows in v1alpha2 is what the offline command says.
    let legacy = plane.get(&[LEGACY]);
    let new = plane.get(&[NEW]);
    let list: Vec<Value> = legacy["items"]
        .as_array()
        .unwrap()
        .iter()
        .cloned()
        .map(plain)
        .collect();
    let file = plane.folder.path().join("legacy.json");
    std::fs::write(
        &file,
        serde_json::json!({"apiVersion": "v1", "kind": "List", "items": list}).to_string(),
    )
    .unwrap();
    let file = file.display().to_string();
    let (code, stdout, stderr) = run(
        &["convert", &file, "--to", "v1alpha2", "-o", "json"],
        plane.folder.path(),
        "",
    );
    assert_eq!(code, 0, "{stderr}");
    let offline: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    let live: Vec<Value> = new["items"]
        .as_array()
        .unwrap()
        .iter()
        .cloned()
        .map(plain)
        .collect();
    assert!(live.len() >= 3);
    assert_eq!(live, offline);

    let gizmo = plane.get(&[NEW, "gizmo"]);
    assert_eq!(
        gizmo["spec"]["release"]["chartRef"]["name"],
        "cozystack-gizmo-application-default-gizmo"
    );
    let thing = plane.get(&[NEW, "thing"]);
    assert_eq!(thing["spec"]["release"]["chartRef"]["kind"], "HelmChart");
    assert_eq!(
        thing["metadata"]["annotations"]["example.org/owner"],
        "acme"
    );

    patched_in_either_version(&cluster);
    dry_run_writes_nothing(&cluster);
    broken_ones_are_refused(&cluster);
    live_review(&cluster);
}

fn patched_in_either_version(cluster: &Cluster) {
    let plane = &cluster.plane;
    let before = plane.get(&[LEGACY, "beacon"]);
    plane.kubectl(&[
        "patch",
        NEW,
        "beacon",
        "--type=merge",
        "-p",
        r#"{"spec":{"dashboard":{"category":"c","singular":"s","plural":"p"}}}"#,
    ]);
    let mut after = plane.get(&[LEGACY, "beacon"]);
    assert_eq!(after["spec"]["dashboard"]["category"], "c");
    after["spec"].as_object_mut().unwrap().remove("dashboard");
    assert_eq!(
        plain(after),
        plain(before),
        "a patch through the new version leaves nothing behind"
    );

    // The new version's own fields survive in the storage version, which has no place for them.
    plane.kubectl(&[
        "patch",
        NEW,
        "gizmo",
        "--type=merge",
        "-p",
        r#"{"spec":{"release":{"waitStrategy":"poller"}}}"#,
    ]);
    plane.kubectl(&[
        "patch",
        LEGACY,
        "gizmo",
        "--type=merge",
        "-p",
        r#"{"spec":{"release":{"prefix":"gizmo2-"}}}"#,
    ]);
    let gizmo = plane.get(&[NEW, "gizmo"]);
    assert_eq!(gizmo["spec"]["release"]["waitStrategy"], "poller");
    assert_eq!(gizmo["spec"]["release"]["prefix"], "gizmo2-");
    assert!(
        gizmo["metadata"]["annotations"]
            .get("conversion.cozystack.io/stash")
            .is_none(),
        "{gizmo}"
    );
    plane.kubectl(&["patch", NEW, "gizmo", "--type=json", "-p", r#"[{"op":"remove","path":"/spec/release/waitStrategy"},{"op":"replace","path":"/spec/release/prefix","value":"gizmo-"}]"#]);
    assert!(
        plane.get(&[LEGACY, "gizmo"])["metadata"]["annotations"]
            .get("conversion.cozystack.io/stash")
            .is_none()
    );
    let stored = plane.get(&[
        "customresourcedefinitions",
        "cozystackresourcedefinitions.cozystack.io",
    ]);
    assert_eq!(
        stored["status"]["storedVersions"],
        serde_json::json!(["v1alpha1"])
    );
}

fn dry_run_writes_nothing(cluster: &Cluster) {
    let plane = &cluster.plane;
    let manifest = std::fs::read_to_string(repository("testcases/manifests/gizmo.yaml")).unwrap();
    let changed = manifest.replace("A gizmo", "Another gizmo");
    let fresh = manifest
        .replace("gizmo", "gadget")
        .replace("Gizmo", "Gadget");
    let before = plane.revisions();
    for (arguments, manifest) in [
        (&["apply", "--dry-run=server", "-f", "-"][..], &changed),
        (
            &[
                "apply",
                "--dry-run=server",
                "--server-side",
                "--force-conflicts",
                "-f",
                "-",
            ],
            &changed,
        ),
        (&["create", "--dry-run=server", "-f", "-"], &fresh),
        (
            &["apply", "--dry-run=server", "--server-side", "-f", "-"],
            &fresh,
        ),
    ] {
        let (success, stdout, stderr) = plane.kubectl_with(arguments, manifest);
        assert!(success, "{stdout}{stderr}");
    }
    let bad = fresh.replace("kind: Gadget\n", "kind: gadget\n");
    let (success, _, stderr) = plane.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &bad);
    assert!(
        !success && stderr.contains("spec.application.kind"),
        "{stderr}"
    );
    assert_eq!(plane.revisions(), before, "a dry run wrote something");
}

const BROKEN: &str = r#"
apiVersion: cozystack.io/v1alpha1
kind: ApplicationDefinition
metadata:
  name: broken
  annotations:
    release.cozystack.io/helm-install-timeout: soon
spec:
  application: {kind: Gizmo, plural: Bad_Plural, singular: broken, openAPISchema: '{"type":"object","properties":{"a":{"type":"strng"}}}'}
  release:
    prefix: Broken-
    labels: {"bad key": "x"}
    chartRef: {kind: HelmChart, name: "Bad_Name"}
  secrets:
    include:
      - resourceNames: ["ok", "{{ .name"]
        matchExpressions: [{key: a, operator: Like, values: [b]}]
  dashboard: {category: c, singular: s, plural: p, icon: "%%%"}
"#;

fn broken_ones_are_refused(cluster: &Cluster) {
    let plane = &cluster.plane;
    let (success, _, stderr) = plane.kubectl_with(&["apply", "-f", "-"], BROKEN);
    assert!(!success);
    // kubectl shows every field, all at once.
    for line in [
        "The ApplicationDefinition \"broken\" is invalid:",
        "* metadata.annotations[release.cozystack.io/helm-install-timeout]: Invalid value: \"soon\": must be a duration",
        "* spec.application.kind: Duplicate value: \"Gizmo\": already defined by CozystackResourceDefinition gizmo",
        "* spec.application.plural: Invalid value: \"Bad_Plural\"",
        "* spec.application.openAPISchema: Invalid value: ",
        "* spec.release.prefix: Invalid value: \"Broken-\"",
        "* spec.release.labels[bad key]: Invalid value: \"bad key\"",
        "* spec.release.chartRef.name: Invalid value: \"Bad_Name\"",
        "* spec.release.chartRef.namespace: Required value",
        "* spec.secrets.include[0].matchExpressions[0].operator: Unsupported value: \"Like\"",
        "* spec.secrets.include[0].resourceNames[1]: Invalid value: \"{{ .name\": must be a Go template: unclosed action",
        "* spec.dashboard.icon: Invalid value: \"%%%\": must be base64",
    ] {
        assert!(stderr.contains(line), "{line} is not in:\n{stderr}");
    }
    // The same by the API, as a client sees the Status.
    let status = created(cluster, BROKEN).unwrap_err();
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    assert!(
        status.message.starts_with(
            "admission webhook \"validate.cozystack.io.applicationdefinitions.webhook.cozystack.io\" denied the \
             request: ApplicationDefinition.cozystack.io \"broken\" is invalid: [metadata.annotations["
        ),
        "{}",
        status.message
    );
    let details = status.details.unwrap();
    assert_eq!(
        (
            details.group.as_str(),
            details.kind.as_str(),
            details.name.as_str()
        ),
        ("cozystack.io", "ApplicationDefinition", "broken")
    );
    assert_eq!(details.causes.len(), 11);
    for cause in &details.causes {
        assert!(
            status
                .message
                .contains(&format!("{}: {}", cause.field, cause.message)),
            "{cause:?}"
        );
    }

    // A legacy one is refused by its own fields.
    let legacy = std::fs::read_to_string(repository("testcases/manifests/beacon.yaml"))
        .unwrap()
        .replace("name: beacon\nspec", "name: beacon2\nspec")
        .replace("      name: beacon\n", "      name: Bad Chart\n");
    let (success, _, stderr) = plane.kubectl_with(&["apply", "-f", "-"], &legacy);
    assert!(!success);
    assert!(
        stderr.contains("* spec.release.chart.name: Invalid value: \"Bad Chart\""),
        "{stderr}"
    );
    assert!(
        stderr.contains("* spec.application.kind: Duplicate value: \"Beacon\""),
        "{stderr}"
    );

    // The successor of a legacy definition, under its name, is the same definition.
    let (code, successor, stderr) = run(
        &[
            "convert",
            &repository("testcases/manifests/gizmo.yaml")
                .display()
                .to_string(),
            "--to",
            "ApplicationDefinition",
        ],
        plane.folder.path(),
        "",
    );
    assert_eq!(code, 0, "{stderr}");
    plane.apply(&successor);
    plane.apply(&successor);
}

/// Creates an ApplicationDefinition with the kube client; the Status when it is refused.
fn created(cluster: &Cluster, yaml: &str) -> Result<(), Box<kube::core::Status>> {
    use kube::api::{Api, DynamicObject, PostParams};
    use kube::config::{Config, KubeConfigOptions, Kubeconfig};
    let object = cozystack_webhook::manifest::yaml::documents(yaml)
        .unwrap()
        .remove(0)
        .value;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let file = Kubeconfig::read_from(&cluster.plane.kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .unwrap();
        let kind =
            kube::core::GroupVersionKind::gvk("cozystack.io", "v1alpha1", "ApplicationDefinition");
        let kind = kube::core::ApiResource::from_gvk_with_plural(&kind, "applicationdefinitions");
        let api: Api<DynamicObject> = Api::all_with(kube::Client::try_from(config).unwrap(), &kind);
        match api
            .create(
                &PostParams::default(),
                &serde_json::from_value(object).unwrap(),
            )
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(status),
            Err(error) => panic!("{error}"),
        }
    })
}

fn live_review(cluster: &Cluster) {
    let kubeconfig = cluster.plane.kubeconfig.display().to_string();
    let (code, stdout, stderr) = run(
        &["review", "-", "--kubeconfig", &kubeconfig, "-o", "json"],
        cluster.plane.folder.path(),
        BROKEN,
    );
    assert_eq!(code, 1, "{stdout}{stderr}");
    let reports: Value = serde_json::from_str(&stdout).unwrap();
    let fields: Vec<&str> = reports[0]["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["field"].as_str().unwrap())
        .collect();
    assert!(
        fields.contains(&"spec.application.kind"),
        "the cluster's own definitions count: {fields:?}"
    );
}

const HELM_RELEASE_CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: helmreleases.helm.toolkit.fluxcd.io}
spec:
  group: helm.toolkit.fluxcd.io
  scope: Namespaced
  names: {kind: HelmRelease, listKind: HelmReleaseList, plural: helmreleases, singular: helmrelease}
  versions:
  - name: v2
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

pub fn install_helm_release_crd(plane: &crate::support::plane::Plane) {
    plane.apply(HELM_RELEASE_CRD);
    plane.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/helmreleases.helm.toolkit.fluxcd.io",
    ]);
}

pub fn deletion_needs_a_reason(assets: &Path) {
    let cluster = Cluster::installed(assets);
    cluster.without_bridge();
    let plane = &cluster.plane;
    install_helm_release_crd(plane);
    let _service = cluster.serve();
    plane.kubectl(&[
        "apply",
        "-f",
        &repository("testcases/manifests").display().to_string(),
    ]);

    // A legacy definition without successor stays, in either version.
    for resource in [LEGACY, NEW] {
        let (success, _, stderr) = plane.kubectl_with(&["delete", resource, "thing"], "");
        assert!(!success);
        assert!(
            stderr.contains("no ApplicationDefinition thing replaces this legacy definition yet"),
            "{stderr}"
        );
        assert!(
            stderr.contains("webhook.cozystack.io/allow: cozystack-resource-definition"),
            "{stderr}"
        );
    }
    // The writer may insist.
    plane.kubectl(&[
        "annotate",
        LEGACY,
        "thing",
        "webhook.cozystack.io/allow=cozystack-resource-definition",
    ]);
    plane.kubectl(&["delete", LEGACY, "thing"]);

    // With a successor it goes.
    let gizmo = repository("testcases/manifests/gizmo.yaml")
        .display()
        .to_string();
    let (_, successor, _) = run(
        &["convert", &gizmo, "--to", "ApplicationDefinition"],
        plane.folder.path(),
        "",
    );
    plane.apply(&successor);
    eventually("the successor is known", || {
        plane.kubectl_with(&["delete", LEGACY, "gizmo"], "").0
    });

    // While HelmReleases of its kind exist it neither goes nor changes its kind.
    plane.apply(
        "
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: gizmo-one
  namespace: default
  labels: {apps.cozystack.io/application.kind: Gizmo}
spec: {}
",
    );
    let refused = |arguments: &[&str], text: &str| {
        let mut stderr = String::new();
        eventually(text, || {
            let mut all = arguments.to_vec();
            all.push("--dry-run=server");
            let (success, _, said) = plane.kubectl_with(&all, "");
            stderr = said;
            !success && stderr.contains(text)
        });
        assert!(stderr.contains("default/gizmo-one"), "{stderr}");
    };
    refused(
        &["delete", "applicationdefinitions", "gizmo"],
        "may not be deleted while 1 HelmRelease(s)",
    );
    refused(
        &[
            "patch",
            "applicationdefinitions",
            "gizmo",
            "--type=merge",
            "-p",
            r#"{"spec":{"application":{"kind":"Gadget"}}}"#,
        ],
        "spec.application.kind",
    );
    // An unrelated change is nobody's business, also of an object that would be refused today.
    plane.kubectl(&[
        "annotate",
        "applicationdefinitions",
        "gizmo",
        "example.org/note=x",
    ]);
    plane.kubectl(&["delete", "helmreleases", "gizmo-one"]);
    eventually("the definition may go", || {
        plane
            .kubectl_with(&["delete", "applicationdefinitions", "gizmo"], "")
            .0
    });
}
