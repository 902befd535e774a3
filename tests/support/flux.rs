//! The real Flux controllers against a control plane. There is no source-controller: of a source the others read only
//! `status.artifact`, so the tests write that, and a server on loopback has the archive.

use super::plane::{Plane, Process, free_port};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A reconcile takes a second; one behind a dependency or a failed one waits for its turn.
const RECONCILE_TIME: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
/// A client that sends nothing holds up nobody for longer.
const READ_TIME: Duration = Duration::from_secs(10);
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

/// What source-controller would have stored: `status.artifact` of a source.
#[derive(Debug, Clone)]
pub struct Artifact {
    pub path: String,
    pub url: String,
    pub digest: String,
    pub size: usize,
}

impl Artifact {
    /// The status of a source that is ready, revision `latest@sha256:...` as Cozystack's have it.
    pub fn status(&self) -> Value {
        const TIME: &str = "2026-01-01T00:00:00Z";
        json!({
            "artifact": {
                "digest": self.digest,
                "lastUpdateTime": TIME,
                "path": self.path,
                "revision": format!("latest@{}", self.digest),
                "size": self.size,
                "url": self.url,
            },
            "conditions": [{
                "type": "Ready",
                "status": "True",
                "reason": "Succeeded",
                "message": "stored artifact",
                "lastTransitionTime": TIME,
            }],
        })
    }
}

#[derive(Default)]
struct Served {
    content: Arc<[u8]>,
    requests: usize,
}

/// Serves archives by path on loopback until it is dropped.
pub struct Artifacts {
    pub address: SocketAddr,
    served: Arc<Mutex<BTreeMap<String, Served>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Artifacts {
    pub fn start() -> Artifacts {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::new(Mutex::new(BTreeMap::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (all, stop) = (Arc::clone(&served), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                // A client that goes away in the middle is its own affair.
                let _ = answer(stream, &all);
            }
        });
        Artifacts {
            address,
            served,
            is_over,
            thread: Some(thread),
        }
    }

    /// Serves these bytes under this path from now on, whatever was there before.
    pub fn put(&self, path: &str, content: &[u8]) -> Artifact {
        let mut served = self.served.lock().unwrap();
        served.entry(path.to_owned()).or_default().content = content.into();
        Artifact {
            path: path.to_owned(),
            url: format!("http://{}/{path}", self.address),
            digest: digest(content),
            size: content.len(),
        }
    }

    /// Serves nothing under this path any more.
    pub fn remove(&self, path: &str) {
        self.served.lock().unwrap().remove(path);
    }

    /// How often a path was asked for.
    pub fn requests(&self, path: &str) -> usize {
        let served = self.served.lock().unwrap();
        served.get(path).map_or(0, |served| served.requests)
    }
}

impl Drop for Artifacts {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // The thread waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream, all: &Mutex<BTreeMap<String, Served>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(READ_TIME))?;
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            count => head.extend_from_slice(&chunk[..count]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let content = {
        let mut all = all.lock().unwrap();
        all.get_mut(path.trim_start_matches('/')).map(|served| {
            served.requests += 1;
            Arc::clone(&served.content)
        })
    };
    let (status, content) = match content {
        Some(content) => ("200 OK", content),
        None => ("404 Not Found", Arc::from([])),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        content.len()
    )?;
    stream.write_all(&content)?;
    stream.flush()
}

/// As Flux writes it.
pub fn digest(content: &[u8]) -> String {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = suite.tls13().unwrap().common.hash_provider.hash(content);
    let hex: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// A tar.gz of files, by path.
pub fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(encoder);
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, path, text.as_bytes())
            .unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
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
        let object = self.get(plane);
        let conditions = object["status"]["conditions"].as_array()?;
        let condition = conditions
            .iter()
            .find(|condition| condition["type"] == "Ready")?;
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

    /// Waits until it has failed with this sentence.
    pub fn wait_failed(&self, plane: &Plane, sentence: &str) -> Ready {
        self.wait(plane, sentence, |ready| {
            ready.status == "False" && ready.message.contains(sentence)
        })
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
