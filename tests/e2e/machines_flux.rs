//! Virtual machines as the platform brings them: the real helm-controller installs and upgrades a chart of the upstream
//! charts' shape, with and without its Service.

use crate::machines::{
    TENANT, add_kinds, chart, events, fqdn, has_companion, is_kept, pause, services,
};
use crate::support::flux::{Flux, Subject, reconcile_all};
use crate::support::plane::Plane;
use crate::support::service::run;
use crate::{Cluster, eventually};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const RECONCILES: usize = 10;

/// What upstream writes, with drift detection on and the ignore list as it is shipped.
fn release(cluster: &Cluster, name: &str, chart: &str, values: &Value) -> String {
    // Upstream writes some releases with it and some without: Helm then replaces whole objects instead of patching.
    let force = name.ends_with("-force");
    let (code, text, stderr) = run(
        &["manifests", "--flux-ignore", "-o", "json"],
        cluster.plane.folder.path(),
        "",
    );
    assert_eq!(code, 0, "{stderr}");
    let shipped: Value = serde_json::from_str(&text).unwrap();
    json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": name, "namespace": TENANT, "labels": {"apps.cozystack.io/application.kind": "VMInstance"}},
        "spec": {
            "interval": "1h",
            "chartRef": {"kind": "ExternalArtifact", "name": chart, "namespace": TENANT},
            // Nobody gives a load balancer an address here.
            "install": {"disableWait": true, "remediation": {"retries": -1}},
            "upgrade": {"disableWait": true, "force": force, "remediation": {"retries": -1}},
            "rollback": {"disableWait": true},
            "driftDetection": {"mode": "enabled", "ignore": shipped["spec"]["driftDetection"]["ignore"]},
            "values": values,
        },
    })
    .to_string()
}

fn apply(plane: &Plane, manifest: &str) -> String {
    let (success, _, stderr) = plane.kubectl_with(&["apply", "-f", "-"], manifest);
    assert!(success, "{stderr}");
    stderr
}

fn find(plane: &Plane, kind: &str, name: &str) -> Option<Value> {
    crate::machines::find(plane, kind, name)
}

fn start(assets: &Path) -> (Cluster, Flux) {
    let mut cluster = Cluster::installed(assets);
    cluster.plane.start_controllers();
    add_kinds(&cluster.plane, "testcases/crds/virtualmachines.yaml");
    // These tests have no definitions, by whose schemas it would judge.
    cluster.set("application-values.mode: \"off\"");
    let mut flux = Flux::install(&cluster.plane);
    for (name, with_service) in [("with", true), ("without", false)] {
        flux.chart(&cluster.plane, TENANT, name, &chart(with_service));
    }
    flux.start_helm_controller(&cluster.plane);
    (cluster, flux)
}

/// Versions of everything in the tenant's namespace but of the releases themselves and Events.
fn content(plane: &Plane) -> BTreeMap<String, String> {
    let mut content = plane.revisions();
    content.retain(|key, _| {
        key.contains("/tenant-a/")
            && !key.contains("/helmreleases/")
            && !key.starts_with("/registry/events/")
    });
    content
}

fn is_in_sync(plane: &Plane, subjects: &[&Subject]) {
    reconcile_all(plane, subjects);
    let before = content(plane);
    assert!(before.keys().any(|key| key.contains("/virtualmachines/")));
    for _ in 0..RECONCILES {
        reconcile_all(plane, subjects);
        for subject in subjects {
            let ready = subject.ready(plane).unwrap();
            assert_eq!(ready.status, "True", "{ready:#?}");
        }
    }
    assert_eq!(content(plane), before);
}

pub fn stay_in_sync(assets: &Path) {
    let (cluster, _flux) = start(assets);
    let plane = &cluster.plane;
    let _serving = cluster.serve();
    let mut subjects = Vec::new();
    for (name, chart, external) in [
        ("vm-instance-own", "with", false),
        ("vm-instance-ext", "with", true),
        ("vm-instance-bare", "without", false),
    ] {
        let stderr = apply(
            plane,
            &release(&cluster, name, chart, &json!({"external": external})),
        );
        assert!(!stderr.contains("Warning"), "{stderr}");
        let subject = Subject::helm_release(TENANT, name);
        subject.wait_ready(plane);
        subjects.push(subject);
    }
    eventually("the third has ours", || {
        has_companion(plane, "vm-instance-bare")
    });
    let names = ["vm-instance-own", "vm-instance-ext", "vm-instance-bare"];
    assert_eq!(
        services(plane),
        BTreeSet::from(names.map(ToOwned::to_owned))
    );
    for name in names {
        let machine = find(plane, "vm", name).unwrap();
        assert_eq!(
            fqdn(&machine).as_str().unwrap(),
            format!("{name}.{TENANT}.svc.cozy.local")
        );
        let is_ours = is_kept(&find(plane, "service", name).unwrap());
        assert_eq!(is_ours, name == "vm-instance-bare");
        assert_eq!(events(plane, "CompanionNameTaken", name).len(), 0);
    }
    is_in_sync(plane, &subjects.iter().collect::<Vec<_>>());
    // Ten times no upgrade, and no drift.
    for subject in &subjects {
        let history = subject.get(plane)["status"]["history"].clone();
        assert_eq!(history.as_array().unwrap().len(), 1, "{history}");
    }
    for name in names {
        assert_eq!(events(plane, "DriftDetected", name).len(), 0);
    }

    // What is no business of ours is still detected, and put right.
    plane.kubectl(&[
        "patch",
        "vm",
        "vm-instance-bare",
        "-n",
        TENANT,
        "--type=merge",
        "-p",
        r#"{"spec":{"runStrategy":"Halted"}}"#,
    ]);
    subjects[2].reconcile(plane);
    eventually("drift is corrected", || {
        find(plane, "vm", "vm-instance-bare").unwrap()["spec"]["runStrategy"] == "Always"
    });
    assert_eq!(events(plane, "DriftDetected", "vm-instance-bare").len(), 1);
    // Nor does what the ignore list names stand in the way of an upgrade.
    apply(
        plane,
        &release(
            &cluster,
            "vm-instance-bare",
            "without",
            &json!({"runStrategy": "Halted"}),
        ),
    );
    subjects[2].wait_ready(plane);
    let machine = find(plane, "vm", "vm-instance-bare").unwrap();
    assert_eq!(machine["spec"]["runStrategy"], "Halted");
    assert_eq!(fqdn(&machine), "vm-instance-bare.tenant-a.svc.cozy.local");
    assert!(has_companion(plane, "vm-instance-bare"));
    is_in_sync(plane, &subjects.iter().collect::<Vec<_>>());
}

/// The command in the warnings of a write, as a shell would run it.
fn command(stderr: &str) -> Vec<String> {
    let line = stderr
        .lines()
        .find_map(|line| line.strip_prefix("Warning: kubectl "))
        .unwrap_or_else(|| panic!("no command: {stderr}"));
    line.split(' ').map(ToOwned::to_owned).collect()
}

/// Has it tried now: after failures it waits longer and longer by itself.
fn wake(plane: &Plane, name: &str) {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    let token = COUNTER.fetch_add(1, Ordering::SeqCst);
    plane.kubectl(&[
        "annotate",
        "--overwrite",
        "helmrelease",
        name,
        "-n",
        TENANT,
        &format!("reconcile.fluxcd.io/requestedAt=wake-{token}"),
    ]);
}

pub fn become_external(assets: &Path) {
    let (cluster, _flux) = start(assets);
    let _serving = cluster.serve();
    for name in ["vm-instance-web", "vm-instance-web-force"] {
        becomes_external(&cluster, name);
        Subject::helm_release(TENANT, name).delete(&cluster.plane);
        eventually("everything of it goes", || {
            services(&cluster.plane).is_empty()
        });
    }
}

fn becomes_external(cluster: &Cluster, name: &str) {
    let plane = &cluster.plane;
    let web = Subject::helm_release(TENANT, name);
    let put = |external: bool| {
        apply(
            plane,
            &release(cluster, name, "with", &json!({"external": external})),
        )
    };
    put(false);
    web.wait_ready(plane);
    let kind = || {
        let service = find(plane, "service", name).unwrap();
        (
            service["spec"]["type"].clone(),
            service["spec"]["clusterIP"].clone(),
        )
    };
    assert_eq!(kind(), (json!("ClusterIP"), json!("None")));

    for (external, refusal) in [
        (true, "may not be set to 'None' for LoadBalancer services"),
        (false, "may not change once set"),
    ] {
        let before = find(plane, "service", name).unwrap();
        let mut stderr = String::new();
        // The watch of Services may be a moment behind what Helm has made.
        eventually("the writer is warned", || {
            let manifest = release(cluster, name, "with", &json!({"external": external}));
            let (_, _, said) =
                plane.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &manifest);
            stderr = said;
            stderr.contains("Warning: spec.values.external: the release fails")
        });
        let command = command(&stderr);
        assert!(put(external).contains(&command.join(" ")));
        // It fails, and would for ever.
        web.wait_failed(plane, refusal);
        let failures = || {
            web.get(plane)["status"]["failures"]
                .as_u64()
                .unwrap_or_default()
        };
        for _ in 0..3 {
            let before = failures();
            wake(plane, name);
            let end = Instant::now() + Duration::from_mins(3);
            while failures() <= before {
                assert!(Instant::now() < end, "{:#}", web.get(plane)["status"]);
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        web.wait_failed(plane, refusal);
        assert_eq!(
            find(plane, "service", name).unwrap()["spec"],
            before["spec"]
        );
        // The command, and nothing else.
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        plane.kubectl(&command);
        wake(plane, name);
        web.wait_ready(plane);
        let wanted = if external {
            "LoadBalancer"
        } else {
            "ClusterIP"
        };
        assert_eq!(kind().0, wanted);
        assert_eq!(kind().1 == "None", !external);
        // Whoever was first, it is the release's in the end, and alone.
        eventually("it is the release's", || !has_companion(plane, name));
        assert_eq!(services(plane), BTreeSet::from([name.to_owned()]));
        let service = find(plane, "service", name).unwrap();
        assert_eq!(
            service["metadata"]["labels"]["app.kubernetes.io/managed-by"],
            "Helm"
        );
        assert!(
            service["metadata"]["ownerReferences"]
                .as_array()
                .is_none_or(Vec::is_empty)
        );
        assert!(!put(external).contains("Warning"));
    }
    is_in_sync(plane, &[&web]);
}

pub fn take_services_over(assets: &Path) {
    let (cluster, _flux) = start(assets);
    let plane = &cluster.plane;
    let _serving = cluster.serve();
    let releases = [
        ("vm-instance-in", false),
        ("vm-instance-out", true),
        ("vm-instance-in-force", false),
        ("vm-instance-out-force", true),
    ];
    let subject = |name: &str| Subject::helm_release(TENANT, name);
    for (name, _) in releases {
        apply(plane, &release(&cluster, name, "without", &json!({})));
        subject(name).wait_ready(plane);
        eventually("it has ours", || has_companion(plane, name));
    }
    // The platform is upgraded to charts that bring their own; one is made external at the same time.
    for (name, external) in releases {
        let stderr = apply(
            plane,
            &release(&cluster, name, "with", &json!({"external": external})),
        );
        assert!(!stderr.contains("Warning"), "{stderr}");
        subject(name).wait_ready(plane);
        eventually("it is the release's", || !has_companion(plane, name));
        let service = find(plane, "service", name).unwrap();
        assert_eq!(
            service["metadata"]["labels"]["app.kubernetes.io/managed-by"],
            "Helm"
        );
        let wanted = if external {
            "LoadBalancer"
        } else {
            "ClusterIP"
        };
        assert_eq!(service["spec"]["type"], wanted, "{name}");
    }
    pause();
    assert_eq!(services(plane).len(), releases.len());
    for name in ["vm-instance-in", "vm-instance-in-force"] {
        eventually("the owner is told", || {
            events(plane, "CompanionReleased", name).len() == 1
        });
    }
    let all = releases.map(|(name, _)| subject(name));
    is_in_sync(plane, &all.iter().collect::<Vec<_>>());
    // With its machine gone the Service is the release's to put right; with the release it goes.
    plane.kubectl(&["delete", "vm", "vm-instance-in", "-n", TENANT]);
    std::thread::sleep(Duration::from_secs(5));
    assert!(find(plane, "service", "vm-instance-in").is_some());
    subject("vm-instance-in").delete(plane);
    eventually("it goes with its release", || {
        find(plane, "service", "vm-instance-in").is_none()
    });
}
