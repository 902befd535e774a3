//! The real Flux controllers against a control plane. There is no source-controller: of a source the others read only
//! `status.artifact`, so the tests write that, and a server on loopback has the archive.

use super::artifacts::{Artifact, Artifacts, archive};
use super::plane::{Plane, Process, free_port};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A reconcile takes a second; one behind a dependency waits for its turn, and one that fails again and again waits
/// longer each time.
const RECONCILE_TIME: Duration = Duration::from_mins(3);
const POLL: Duration = Duration::from_millis(100);
const KUSTOMIZE_CONTROLLER: &str = "kustomize-controller";
const HELM_CONTROLLER: &str = "helm-controller";
const CRDS: &str = "flux-crds";

/// What is needed here beyond the control plane and is not in the folder of its binaries (one of somebody's own, such
/// as envtest's, has none of it).
pub fn missing(assets: &Path) -> Vec<&'static str> {
    [KUSTOMIZE_CONTROLLER, HELM_CONTROLLER, CRDS]
        .into_iter()
        .filter(|name| !assets.join(name).exists())
        .collect()
}

/// Condition `Ready`.
#[derive(Debug, Clone)]
pub struct Ready {
    pub status: String,
    pub reason: String,
    pub message: String,
}

/// Something that a controller of Flux reconciles.
#[derive(Debug, Clone)]
pub struct Subject {
    resource: &'static str,
    namespace: String,
    name: String,
}

impl Subject {
    pub fn kustomization(namespace: &str, name: &str) -> Subject {
        Subject {
            resource: "kustomizations.kustomize.toolkit.fluxcd.io",
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub fn helm_release(namespace: &str, name: &str) -> Subject {
        Subject {
            resource: "helmreleases.helm.toolkit.fluxcd.io",
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub fn get(&self, plane: &Plane) -> Value {
        plane.get(&[self.resource, &self.name, "-n", &self.namespace])
    }

    /// Its condition, when it has one that is about its present spec.
    pub fn ready(&self, plane: &Plane) -> Option<Ready> {
        self.condition(plane, "Ready")
    }

    fn condition(&self, plane: &Plane, kind: &str) -> Option<Ready> {
        let object = self.get(plane);
        let conditions = object["status"]["conditions"].as_array()?;
        let condition = conditions
            .iter()
            .find(|condition| condition["type"] == kind)?;
        if condition["observedGeneration"] != object["metadata"]["generation"] {
            return None;
        }
        let text = |member: &str| condition[member].as_str().unwrap_or_default().to_owned();
        Some(Ready {
            status: text("status"),
            reason: text("reason"),
            message: text("message"),
        })
    }

    /// Waits until its condition is as wanted.
    pub fn wait(&self, plane: &Plane, what: &str, is_wanted: impl Fn(&Ready) -> bool) -> Ready {
        let end = Instant::now() + RECONCILE_TIME;
        loop {
            let ready = self.ready(plane);
            match ready {
                Some(ready) if is_wanted(&ready) => return ready,
                _ => assert!(
                    Instant::now() < end,
                    "{self:?}: not in time: {what}: {ready:?}"
                ),
            }
            std::thread::sleep(POLL);
        }
    }

    pub fn wait_ready(&self, plane: &Plane) -> Ready {
        self.wait(plane, "it is ready", |ready| ready.status == "True")
    }

    /// Waits until it has failed with this sentence. Once a release is rolled back, its readiness speaks of that alone.
    pub fn wait_failed(&self, plane: &Plane, sentence: &str) -> Ready {
        let end = Instant::now() + RECONCILE_TIME;
        loop {
            let found: Vec<Ready> = ["Ready", "Released"]
                .iter()
                .filter_map(|kind| self.condition(plane, kind))
                .collect();
            let is_it = |one: &&Ready| one.status == "False" && one.message.contains(sentence);
            if let Some(it) = found.iter().find(is_it) {
                return it.clone();
            }
            assert!(
                Instant::now() < end,
                "{self:?}: not in time: {sentence}: {found:?}"
            );
            std::thread::sleep(POLL);
        }
    }

    /// Has it reconciled now and waits until that is done, however it ends.
    pub fn reconcile(&self, plane: &Plane) {
        reconcile_all(plane, &[self]);
    }

    fn annotate(&self, plane: &Plane, annotation: &str) {
        plane.kubectl(&[
            "annotate",
            "--overwrite",
            self.resource,
            &self.name,
            "-n",
            &self.namespace,
            annotation,
        ]);
    }

    pub fn delete(&self, plane: &Plane) {
        plane.kubectl(&["delete", self.resource, &self.name, "-n", &self.namespace]);
    }
}

/// Has all of them reconciled now, side by side, and waits until that is done, however it ends.
pub fn reconcile_all(plane: &Plane, subjects: &[&Subject]) {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    let token = format!("test-{}", COUNTER.fetch_add(1, Ordering::SeqCst));
    for subject in subjects {
        subject.annotate(plane, &format!("reconcile.fluxcd.io/requestedAt={token}"));
    }
    let end = Instant::now() + RECONCILE_TIME;
    for subject in subjects {
        while subject.get(plane)["status"]["lastHandledReconcileAt"] != token.as_str() {
            assert!(
                Instant::now() < end,
                "{subject:?} is not reconciled in time"
            );
            std::thread::sleep(POLL);
        }
    }
}

/// Flux in a cluster: its CRDs, archives, and the controllers that were started.
pub struct Flux {
    pub artifacts: Artifacts,
    pub kustomize_controller: Option<Process>,
    pub helm_controller: Option<Process>,
    charts: PathBuf,
}

impl Flux {
    /// Adds the CRDs and serves archives; no controller runs yet.
    pub fn install(plane: &Plane) -> Flux {
        // The folder may be a link: without the slash kubectl would not go in.
        let crds = format!("{}/", plane.assets.join(CRDS).display());
        // Server-side: they are too long for the annotation of a client-side apply.
        plane.kubectl(&["apply", "--server-side", "-R", "-f", &crds]);
        plane.kubectl(&["wait", "--for=condition=Established", "-R", "-f", &crds]);
        Flux {
            artifacts: Artifacts::start(),
            kustomize_controller: None,
            helm_controller: None,
            charts: plane.folder.path().join("charts"),
        }
    }

    /// The same with both controllers.
    pub fn start(plane: &Plane) -> Flux {
        let mut flux = Flux::install(plane);
        flux.start_kustomize_controller(plane);
        flux.start_helm_controller(plane);
        flux
    }

    /// Starts it (again).
    pub fn start_kustomize_controller(&mut self, plane: &Plane) {
        self.kustomize_controller = None;
        self.kustomize_controller = Some(controller(plane, KUSTOMIZE_CONTROLLER));
    }

    /// Starts it (again).
    pub fn start_helm_controller(&mut self, plane: &Plane) {
        self.helm_controller = None;
        self.helm_controller = Some(controller(plane, HELM_CONTROLLER));
    }

    /// A GitRepository with these files, new or changed: for the `sourceRef` of a Kustomization.
    pub fn source(
        &self,
        plane: &Plane,
        namespace: &str,
        name: &str,
        files: &[(&str, &str)],
    ) -> Artifact {
        let path = format!("gitrepository/{namespace}/{name}.tar.gz");
        let artifact = self.artifacts.put(&path, &archive(files));
        let spec = json!({"interval": "10m", "url": "https://git.example.org/fleet"});
        put(
            plane,
            "GitRepository",
            namespace,
            name,
            &spec,
            &artifact.status(),
        );
        artifact
    }

    /// An ExternalArtifact with the chart that `helm package` makes of these files, new or changed: for the
    /// `chartRef` of a HelmRelease.
    pub fn chart(
        &self,
        plane: &Plane,
        namespace: &str,
        name: &str,
        files: &[(&str, &str)],
    ) -> Artifact {
        let path = format!("externalartifact/{namespace}/{name}.tar.gz");
        let artifact = self.artifacts.put(&path, &self.package(plane, files));
        put_external_artifact(plane, namespace, name, &artifact);
        artifact
    }

    /// The archive that `helm package` makes of these files.
    pub fn package(&self, plane: &Plane, files: &[(&str, &str)]) -> Vec<u8> {
        let _ = std::fs::remove_dir_all(&self.charts);
        let (folder, made) = (self.charts.join("chart"), self.charts.join("made"));
        for (path, text) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        plane.helm(&[
            "package",
            &folder.display().to_string(),
            "--destination",
            &made.display().to_string(),
        ]);
        let entry = std::fs::read_dir(&made).unwrap().next().unwrap().unwrap();
        std::fs::read(entry.path()).unwrap()
    }
}

/// An ExternalArtifact that says what it is told, whether it is true or not.
pub fn put_external_artifact(plane: &Plane, namespace: &str, name: &str, artifact: &Artifact) {
    put(
        plane,
        "ExternalArtifact",
        namespace,
        name,
        &json!({}),
        &artifact.status(),
    );
}

fn put(plane: &Plane, kind: &str, namespace: &str, name: &str, spec: &Value, status: &Value) {
    let object = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": kind,
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    });
    plane.apply(&object.to_string());
    let resource = format!("{}.source.toolkit.fluxcd.io", kind.to_ascii_lowercase());
    plane.kubectl(&[
        "patch",
        &resource,
        name,
        "-n",
        namespace,
        "--subresource=status",
        "--type=merge",
        "-p",
        &json!({"status": status}).to_string(),
    ]);
}

/// Starts a controller and waits until it is ready.
fn controller(plane: &Plane, name: &str) -> Process {
    let health: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().unwrap();
    // It unpacks archives.
    let temporary = plane.folder.path().join(format!("{name}-tmp"));
    std::fs::create_dir_all(&temporary).unwrap();
    let mut command = Command::new(plane.assets.join(name));
    command
        .args([
            format!("--health-addr={health}"),
            format!("--metrics-addr=127.0.0.1:{}", free_port()),
            "--feature-gates=ExternalArtifact=true".to_owned(),
            "--requeue-dependency=1s".to_owned(),
            "--http-retry=1".to_owned(),
        ])
        .env("KUBECONFIG", &plane.kubeconfig)
        .env("RUNTIME_NAMESPACE", "cozy-fluxcd")
        .env("HOME", &temporary)
        .env("TMPDIR", &temporary)
        .current_dir(&temporary);
    let mut process = Process::start(name, &mut command, plane.folder.path());
    process.wait_until(|| {
        super::http::plain(health, "GET", "/readyz", "").is_ok_and(|(status, _)| status == 200)
    });
    process
}
