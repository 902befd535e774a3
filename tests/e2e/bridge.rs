//! The bridge on a real API server: made, kept in step, let go, left alone.

use crate::support::http::plain;
use crate::support::service::{Setup, run};
use crate::{Cluster, eventually, eventually_within, repository};
use futures::StreamExt as _;
use kube::api::{Api, DynamicObject, PostParams};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const LEGACY: &str = "cozystackresourcedefinitions.v1alpha1.cozystack.io";
const DEFINITIONS: &str = "applicationdefinitions";

const HELM_CHART_CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: helmcharts.source.toolkit.fluxcd.io}
spec:
  group: source.toolkit.fluxcd.io
  scope: Namespaced
  names: {kind: HelmChart, listKind: HelmChartList, plural: helmcharts, singular: helmchart}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

impl Cluster {
    fn find(&self, kind: &str, name: &str) -> Option<Value> {
        let (success, stdout, _) = self.plane.kubectl_with(
            &["get", kind, name, "-o", "json", "--show-managed-fields"],
            "",
        );
        success.then(|| serde_json::from_str(&stdout).unwrap())
    }

    fn definition(&self, name: &str) -> Option<Value> {
        self.find(DEFINITIONS, name)
    }

    fn patch(&self, kind: &str, name: &str, patch: &Value) {
        self.plane.kubectl(&[
            "patch",
            kind,
            name,
            "--type=merge",
            "-p",
            &patch.to_string(),
        ]);
    }

    fn events(&self, reason: &str, name: &str) -> usize {
        let events = self.plane.get(&["events", "-A"]);
        let events = events["items"].as_array().unwrap();
        events
            .iter()
            .filter(|event| event["reason"] == reason && event["involvedObject"]["name"] == name)
            .count()
    }

    pub fn metric(&self, line: &str) -> bool {
        has_metric(&self.setup, line)
    }

    fn in_state(&self, state: &str, count: usize) -> bool {
        self.metric(&format!(
            r#"cozystack_webhook_companions{{rule="cozystack-resource-definition",state="{state}"}} {count}"#
        ))
    }

    /// Reads the object for a while and wants it to stay as it is.
    fn stays(&self, kind: &str, name: &str) {
        let version =
            |object: Option<Value>| object.unwrap()["metadata"]["resourceVersion"].clone();
        let before = version(self.find(kind, name));
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(
            version(self.find(kind, name)),
            before,
            "{kind} {name} was written"
        );
    }

    /// All keys of etcd but those that come and go by themselves.
    pub fn settled_revisions(&self) -> std::collections::BTreeMap<String, String> {
        let mut revisions = self.plane.revisions();
        revisions.retain(|key, _| !key.starts_with("/registry/events/"));
        revisions
    }
}

pub fn has_metric(setup: &Setup, line: &str) -> bool {
    plain(setup.metrics, "GET", "/metrics", "")
        .is_ok_and(|(_, text)| text.lines().any(|found| found == line))
}

fn prefix(definition: &Value) -> &Value {
    &definition["spec"]["release"]["prefix"]
}

fn manifest(name: &str) -> String {
    std::fs::read_to_string(repository(&format!("testcases/manifests/{name}.yaml"))).unwrap()
}

pub fn keeps_in_step(assets: &Path) {
    let mut cluster = Cluster::installed(assets);
    cluster.plane.start_controllers();
    let service = cluster.serve();
    let folder = repository("testcases/manifests").display().to_string();
    let said = cluster
        .plane
        .kubectl_with(&["apply", "-f", &folder, "--dry-run=server"], "");
    assert!(
        said.2.contains("ApplicationDefinition gizmo would be made"),
        "{}",
        said.2
    );
    cluster.plane.kubectl(&["apply", "-f", &folder]);

    // Each is what the offline command says, and says where it comes from.
    for name in ["gizmo", "beacon", "thing"] {
        eventually("every definition has its successor", || {
            cluster.definition(name).is_some()
        });
        let made = cluster.definition(name).unwrap();
        let (_, converted, _) = run(
            &[
                "convert",
                "-",
                "--to",
                "ApplicationDefinition",
                "-o",
                "json",
            ],
            cluster.plane.folder.path(),
            &manifest(name),
        );
        let converted: Value = serde_json::from_str(&converted).unwrap();
        assert_eq!(made["spec"], converted[0]["spec"], "{name}");
        let legacy = cluster.find(LEGACY, name).unwrap();
        let annotations = &made["metadata"]["annotations"];
        assert_eq!(
            annotations["bridge.cozystack.io/source-uid"],
            legacy["metadata"]["uid"]
        );
        assert_eq!(
            annotations["webhook.cozystack.io/parent"],
            format!("cozystack-resource-definition//{name}")
        );
        assert_eq!(
            annotations.get("kubectl.kubernetes.io/last-applied-configuration"),
            None
        );
        let managers = made["metadata"]["managedFields"].as_array().unwrap();
        assert_eq!(managers.len(), 1);
        assert_eq!(managers[0]["manager"], "cozystack-webhook");
        assert_eq!(managers[0]["operation"], "Apply");
    }
    // The chart of an unknown repository needs a kind that is not there yet: told, tried again, and made.
    eventually("its owner is told", || {
        cluster.events("CompanionFailed", "thing") == 1
    });
    let chart = || cluster.find("helmcharts.source.toolkit.fluxcd.io", "cozystack-thing");
    assert!(chart().is_none());
    cluster.plane.kubectl(&["create", "namespace", "acme"]);
    cluster.plane.apply(HELM_CHART_CRD);
    eventually_within(60, "the chart comes with its kind", || {
        let namespace =
            cluster.definition("thing").unwrap()["spec"]["release"]["chartRef"]["namespace"]
                .clone();
        let namespace = namespace.as_str().unwrap().to_owned();
        let _ = cluster
            .plane
            .kubectl_with(&["create", "namespace", &namespace], "");
        let (success, stdout, _) = cluster.plane.kubectl_with(
            &[
                "get",
                "helmcharts",
                "-n",
                &namespace,
                "cozystack-thing",
                "-o",
                "json",
            ],
            "",
        );
        success
            && serde_json::from_str::<Value>(&stdout).unwrap()["spec"]["version"] == ">= 0.0.0-0"
    });
    eventually("all four are in step", || cluster.in_state("in_step", 4));

    // The cluster's own package sources tell the artifact.
    cluster.plane.apply(
        "
apiVersion: cozystack.io/v1alpha1
kind: PackageSource
metadata: {name: cozystack.gizmo-application}
spec:
  sourceRef: {kind: OCIRepository, name: x, namespace: cozy-system, path: /}
  variants:
  - name: kubevirt
    components: [{name: gizmo, path: apps/gz}]
",
    );
    eventually("the artifact of the source is named", || {
        cluster.definition("gizmo").unwrap()["spec"]["release"]["chartRef"]["name"]
            == "cozystack-gizmo-application-kubevirt-gizmo"
    });

    // An edit is followed, also what it takes away.
    cluster.patch(
        LEGACY,
        "gizmo",
        &json!({"metadata": {"labels": {"team": "blue"}}, "spec": {"release": {"prefix": "g-"}}}),
    );
    eventually("the edit is followed", || {
        let made = cluster.definition("gizmo").unwrap();
        prefix(&made) == "g-" && made["metadata"]["labels"]["team"] == "blue"
    });
    cluster.patch(
        LEGACY,
        "gizmo",
        &json!({"metadata": {"labels": {"team": null}}}),
    );
    eventually("what is taken away goes", || {
        cluster.definition("gizmo").unwrap()["metadata"]["labels"]
            .get("team")
            .is_none()
    });
    // What is deleted by hand comes back.
    cluster.plane.kubectl(&["delete", DEFINITIONS, "beacon"]);
    eventually("it comes back", || cluster.definition("beacon").is_some());

    // Whoever keeps taking a field away is not fought: it comes back a few times, then rests, and the owner is told.
    let label = "app.kubernetes.io/managed-by";
    let remove = json!({"metadata": {"labels": {label: null}}});
    let has_label =
        || cluster.definition("beacon").unwrap()["metadata"]["labels"][label].is_string();
    eventually_within(60, "nobody is fought", || {
        cluster.patch(DEFINITIONS, "beacon", &remove);
        std::thread::sleep(Duration::from_millis(500));
        cluster.events("CompanionFailed", "beacon") == 1
    });
    cluster.patch(DEFINITIONS, "beacon", &remove);
    cluster.stays(DEFINITIONS, "beacon");
    assert!(!has_label());
    // Another wish is another matter.
    cluster.patch(
        LEGACY,
        "beacon",
        &json!({"metadata": {"labels": {"calm": "again"}}}),
    );
    eventually("it is in step again", has_label);

    // Switched off: no longer followed, and nothing is taken away.
    cluster.plane.kubectl(&[
        "annotate",
        LEGACY,
        "beacon",
        "bridge.cozystack.io/disabled=true",
    ]);
    cluster.patch(
        LEGACY,
        "beacon",
        &json!({"spec": {"release": {"prefix": "b-"}}}),
    );
    cluster.stays(DEFINITIONS, "beacon");
    assert_ne!(prefix(&cluster.definition("beacon").unwrap()), "b-");
    cluster.plane.kubectl(&[
        "annotate",
        LEGACY,
        "beacon",
        "bridge.cozystack.io/disabled-",
    ]);
    eventually("on again, it is followed", || {
        prefix(&cluster.definition("beacon").unwrap()) == "b-"
    });

    // A chart that is no longer wanted goes, and only that.
    cluster.patch(
        LEGACY,
        "thing",
        &json!({"spec": {"release": {"chart": {"sourceRef": {
            "kind": "HelmRepository", "name": "cozystack-apps", "namespace": "cozy-public"}}}}}),
    );
    eventually("the chart goes", || {
        cluster.plane.get(&["helmcharts", "-A"])["items"] == json!([])
    });
    eventually("three are in step", || cluster.in_state("in_step", 3));

    // Nothing to do is nothing written, also after a restart and with another look at everything.
    let before = cluster.settled_revisions();
    drop(service);
    let _service = cluster.serve();
    eventually_within(40, "three are in step", || cluster.in_state("in_step", 3));
    assert_eq!(cluster.settled_revisions(), before, "a look writes nothing");

    // The legacy definition may go, its successor stays; a new one of that name takes it up again.
    cluster.plane.kubectl(&["delete", LEGACY, "gizmo"]);
    cluster.stays(DEFINITIONS, "gizmo");
    cluster.plane.apply(&manifest("gizmo"));
    eventually("it is taken up again", || {
        let legacy = cluster.find(LEGACY, "gizmo").unwrap();
        let made = cluster.definition("gizmo").unwrap();
        made["metadata"]["annotations"]["bridge.cozystack.io/source-uid"]
            == legacy["metadata"]["uid"]
            && prefix(&made) == prefix(&legacy)
    });
}

pub fn lets_go_and_leaves_alone(assets: &Path) {
    let cluster = Cluster::installed(assets);
    let _service = cluster.serve();
    let plane = &cluster.plane;
    let folder = plane.folder.path();
    let successor = |name: &str| {
        let (code, text, stderr) = run(
            &["convert", "-", "--to", "ApplicationDefinition"],
            folder,
            &manifest(name),
        );
        assert_eq!(code, 0, "{stderr}");
        text
    };

    // Somebody else's object of that name: left alone, the writer is warned, the owner is told once.
    plane.apply(&successor("thing").replace("thing-", "mine-"));
    let kept = cluster.definition("thing").unwrap();
    eventually("the writer is warned", || {
        let (success, _, stderr) = plane.kubectl_with(&["apply", "-f", "-"], &manifest("thing"));
        assert!(success, "{stderr}");
        stderr.contains("ApplicationDefinition thing was made by somebody else: it is left alone")
    });
    eventually("its owner is told", || {
        cluster.events("CompanionNameTaken", "thing") == 1
    });
    cluster.patch(
        LEGACY,
        "thing",
        &json!({"metadata": {"labels": {"a": "b"}}}),
    );
    cluster.stays(DEFINITIONS, "thing");
    assert_eq!(cluster.definition("thing").unwrap(), kept);
    assert!(cluster.in_state("name_taken", 1));

    // Another manager changes a field: the engine lets go for good, and removes nothing.
    plane.apply(&manifest("gizmo"));
    eventually("it is made", || cluster.definition("gizmo").is_some());
    let made = cluster.definition("gizmo").unwrap();
    cluster.patch(
        DEFINITIONS,
        "gizmo",
        &json!({"spec": {"release": {"prefix": "theirs-"}}}),
    );
    let is_let_go = |name: &str| {
        let now = cluster.definition(name).unwrap();
        let entries = now["metadata"]["managedFields"].as_array().unwrap();
        !entries
            .iter()
            .any(|entry| entry["manager"] == "cozystack-webhook")
    };
    eventually("it is let go", || is_let_go("gizmo"));
    let mut expected = made["spec"].clone();
    expected["release"]["prefix"] = json!("theirs-");
    let now = cluster.definition("gizmo").unwrap();
    assert_eq!(now["spec"], expected);
    assert_eq!(now["metadata"]["labels"], made["metadata"]["labels"]);
    assert_eq!(
        now["metadata"]["annotations"],
        made["metadata"]["annotations"]
    );
    eventually("its owner is told", || {
        cluster.events("CompanionReleased", "gizmo") == 1
    });
    cluster.patch(
        LEGACY,
        "gizmo",
        &json!({"spec": {"release": {"prefix": "again-"}}}),
    );
    cluster.stays(DEFINITIONS, "gizmo");

    // Helm takes an object over, as an upgrade of the platform does.
    plane.apply(&manifest("beacon"));
    eventually("it is made", || cluster.definition("beacon").is_some());
    let chart = folder.join("beacon-rd");
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    std::fs::write(
        chart.join("Chart.yaml"),
        "apiVersion: v2\nname: beacon-rd\nversion: 1.0.0\n",
    )
    .unwrap();
    // A chart of definitions keeps Go templates of its own from Helm.
    let text = successor("beacon").replace("{{", "{{ \"{{\" }}");
    std::fs::write(chart.join("templates/beacon.yaml"), text).unwrap();
    let chart = chart.display().to_string();
    plane.kubectl(&["create", "namespace", "cozy-system"]);
    plane.helm(&[
        "upgrade",
        "--install",
        "beacon-rd",
        &chart,
        "-n",
        "cozy-system",
        "--take-ownership",
    ]);
    eventually("it is let go", || is_let_go("beacon"));
    eventually("its owner is told", || {
        cluster.events("CompanionReleased", "beacon") == 1
    });
    let before = cluster.definition("beacon").unwrap();
    assert_eq!(
        before["metadata"]["labels"]["app.kubernetes.io/managed-by"],
        "Helm"
    );
    cluster.patch(
        LEGACY,
        "beacon",
        &json!({"spec": {"release": {"prefix": "changed-"}}}),
    );
    cluster.stays(DEFINITIONS, "beacon");
    assert_eq!(cluster.definition("beacon").unwrap(), before);
    eventually("two are let go", || cluster.in_state("released", 2));
    // A look at the cluster from outside says so too.
    let kubeconfig = plane.kubeconfig.display().to_string();
    let (code, stdout, stderr) = run(
        &["review", "-", "--kubeconfig", &kubeconfig],
        folder,
        &manifest("beacon"),
    );
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("ApplicationDefinition beacon is somebody else's by now: it is left alone"),
        "{stdout}"
    );
    assert_eq!(cluster.events("CompanionReleased", "gizmo"), 1, "told once");
}

pub fn old_sins(assets: &Path) {
    let cluster = Cluster::bare(assets);
    cluster.add_services();
    cluster.install_crds();
    // Stored before the service came.
    cluster.plane.apply(
        "
apiVersion: cozystack.io/v1alpha1
kind: CozystackResourceDefinition
metadata: {name: crooked}
spec:
  application: {kind: Crooked, plural: crookeds, singular: crooked, openAPISchema: ''}
  release:
    prefix: crooked-
    chart: {name: vpn, sourceRef: {kind: HelmRepository, name: cozystack-apps, namespace: cozy-public}}
  secrets: {include: [{resourceNames: ['{{ .name']}]}
  dashboard: {singular: Crooked, plural: Crookeds, category: X, icon: '<svg/>'}
",
    );
    cluster.add_webhooks();
    let _service = cluster.serve();
    eventually("it is bridged all the same", || {
        cluster.definition("crooked").is_some()
    });
    let made = cluster.definition("crooked").unwrap();
    assert_eq!(made["spec"]["dashboard"]["icon"], "<svg/>");
    // A new sin is one, also here.
    let (success, _, stderr) = cluster.plane.kubectl_with(
        &[
            "patch",
            DEFINITIONS,
            "crooked",
            "--type=merge",
            "-p",
            r#"{"spec":{"application":{"singular":"Bad One"}}}"#,
        ],
        "",
    );
    assert!(
        !success && stderr.contains("spec.application.singular"),
        "{stderr}"
    );
    cluster.plane.kubectl(&["delete", LEGACY, "crooked"]);
    cluster.stays(DEFINITIONS, "crooked");
}

pub fn one_leader(assets: &Path) {
    let cluster = Cluster::installed(assets);
    let kubeconfig = cluster.plane.kubeconfig.display().to_string();
    let other = Setup::new(&cluster.plane.folder.path().join("other"));
    let leads = |setup: &Setup| has_metric(setup, "cozystack_webhook_leader 1");
    let mut first = cluster
        .setup
        .start_ready(&["--kubeconfig", &kubeconfig, "--identity", "one"]);
    eventually("the first leads", || leads(&cluster.setup));
    let second = other.start_ready(&["--kubeconfig", &kubeconfig, "--identity", "two"]);
    std::thread::sleep(Duration::from_secs(3));
    assert!(!leads(&other), "one leads, not two");

    // A polite end hands over at once.
    let (_, is_clean) = first.terminate();
    assert!(is_clean);
    drop(first);
    let began = Instant::now();
    eventually("the second takes over", || leads(&other));
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );

    // A crash takes the lease's own time.
    let _first = cluster
        .setup
        .start_ready(&["--kubeconfig", &kubeconfig, "--identity", "one"]);
    drop(second);
    eventually_within(30, "the first takes over", || leads(&cluster.setup));
    cluster.plane.apply(&manifest("gizmo"));
    eventually("it reconciles", || cluster.definition("gizmo").is_some());

    // A leader that has lost its Lease writes no more.
    cluster.plane.kubectl(&[
        "patch",
        "leases",
        "cozystack-webhook",
        "-n",
        "cozy-webhook",
        "--type=merge",
        "-p",
        r#"{"spec":{"holderIdentity":"somebody","leaseDurationSeconds":15}}"#,
    ]);
    eventually("it stops", || !leads(&cluster.setup));
    cluster.patch(
        LEGACY,
        "gizmo",
        &json!({"spec": {"release": {"prefix": "late-"}}}),
    );
    cluster.stays(DEFINITIONS, "gizmo");
    eventually_within(40, "the Lease runs out, and it goes on", || {
        prefix(&cluster.definition("gizmo").unwrap()) == "late-"
    });
}

pub fn two_thousand(assets: &Path) {
    const COUNT: usize = 2_000;
    let cluster = Cluster::bare(assets);
    cluster.add_services();
    cluster.install_crds();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = cluster.plane.client().await;
        let kind = kube::core::GroupVersionKind::gvk(
            "cozystack.io",
            "v1alpha1",
            "CozystackResourceDefinition",
        );
        let kind =
            kube::core::ApiResource::from_gvk_with_plural(&kind, "cozystackresourcedefinitions");
        let api: Api<DynamicObject> = Api::all_with(client, &kind);
        let gizmo = cozystack_webhook::manifest::yaml::documents(&manifest("gizmo"))
            .unwrap()
            .remove(0)
            .value;
        let created = futures::stream::iter(0..COUNT).map(|number| {
            let (api, mut object) = (api.clone(), gizmo.clone());
            async move {
                object["metadata"]["name"] = json!(format!("gizmo{number}"));
                object["spec"]["application"]["kind"] = json!(format!("Gizmo{number}"));
                object["spec"]["application"]["plural"] = json!(format!("gizmos{number}"));
                object["spec"]["release"]["prefix"] = json!(format!("gizmo{number}-"));
                let object = serde_json::from_value(object).unwrap();
                api.create(&PostParams::default(), &object).await.unwrap();
            }
        });
        created.buffer_unordered(16).collect::<Vec<()>>().await;
    });
    cluster.add_webhooks();
    let service = cluster.serve();
    let began = Instant::now();
    eventually_within(240, "all are in step", || {
        cluster.in_state("in_step", COUNT)
    });
    println!("{COUNT} definitions bridged in {:?}", began.elapsed());
    let names = cluster.plane.kubectl(&["get", DEFINITIONS, "-o", "name"]);
    assert_eq!(names.lines().count(), COUNT);

    let before = cluster.settled_revisions();
    drop(service);
    let _service = cluster.serve();
    let began = Instant::now();
    eventually_within(240, "all are looked at again", || {
        cluster.in_state("in_step", COUNT)
    });
    println!("looked at again in {:?}", began.elapsed());
    assert_eq!(cluster.settled_revisions(), before, "a look writes nothing");
}
