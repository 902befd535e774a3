//! Plays kubelet for Jobs: runs the Job's own command and arguments with the binary under test, under a token of the
//! Job's ServiceAccount, and writes the Job's status.

use super::plane::{Plane, kubeconfig_with_token};
use super::service::BINARY;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const POLL: Duration = Duration::from_millis(200);

/// One Job that ran.
#[derive(Debug, Clone)]
pub struct Run {
    pub job: String,
    pub arguments: Vec<String>,
    pub code: i32,
    pub output: String,
}

pub struct Kubelet {
    stop: Arc<AtomicBool>,
    runs: Arc<Mutex<Vec<Run>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Kubelet {
    /// Watches the Jobs of a namespace until the value is dropped.
    pub fn start(plane: &Plane, namespace: &str) -> Kubelet {
        let stop = Arc::new(AtomicBool::new(false));
        let runs = Arc::new(Mutex::new(Vec::new()));
        let node = Node {
            kubectl: plane.assets.join("kubectl"),
            kubeconfig: plane.kubeconfig.clone(),
            folder: plane.folder.path().to_owned(),
            server: plane.address.to_string(),
            namespace: namespace.to_owned(),
        };
        let (is_over, done) = (Arc::clone(&stop), Arc::clone(&runs));
        let thread = std::thread::spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                for job in node.waiting() {
                    let run = node.run(&job);
                    done.lock().unwrap().push(run);
                }
                std::thread::sleep(POLL);
            }
        });
        Kubelet {
            stop,
            runs,
            thread: Some(thread),
        }
    }

    /// What ran since the last call.
    pub fn take(&self) -> Vec<Run> {
        std::mem::take(&mut self.runs.lock().unwrap())
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if std::thread::panicking() {
            eprintln!("--- jobs: {:#?}", self.runs.lock());
        }
    }
}

struct Node {
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    folder: PathBuf,
    server: String,
    namespace: String,
}

impl Node {
    fn kubectl(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new(&self.kubectl)
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .stderr(Stdio::null())
            .output()
            .unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn waiting(&self) -> Vec<Value> {
        let list = self
            .kubectl(&["get", "jobs", "-o", "json"])
            .unwrap_or_else(|| r#"{"items":[]}"#.to_owned());
        let list: Value = serde_json::from_str(&list).unwrap();
        let jobs = list["items"].as_array().cloned().unwrap_or_default();
        jobs.into_iter()
            .filter(|job| job["status"].get("conditions").is_none())
            .filter(|job| job["metadata"].get("deletionTimestamp").is_none())
            .collect()
    }

    fn run(&self, job: &Value) -> Run {
        let name = job["metadata"]["name"].as_str().unwrap().to_owned();
        let pod = &job["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(
            container["command"],
            json!(["/cozystack-webhook"]),
            "{name}"
        );
        assert_eq!(pod["automountServiceAccountToken"], true, "{name}");
        let account = pod["serviceAccountName"].as_str().unwrap();
        let token = self
            .kubectl(&["create", "token", account])
            .unwrap_or_else(|| panic!("{name}: no ServiceAccount {account}"));
        let kubeconfig = self.folder.join(format!("kubeconfig-{account}"));
        std::fs::write(
            &kubeconfig,
            kubeconfig_with_token(&self.folder, &self.server, token.trim()),
        )
        .unwrap();
        let arguments = arguments(container, &self.namespace, &name);
        let output = Command::new(BINARY)
            .args(&arguments)
            .env("KUBECONFIG", &kubeconfig)
            .env("POD_NAMESPACE", &self.namespace)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let code = output.status.code().unwrap_or(-1);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let run = Run {
            job: name,
            arguments,
            code,
            output: text(&output.stdout) + &text(&output.stderr),
        };
        self.report(&run);
        run
    }

    fn report(&self, run: &Run) {
        let now = "2026-01-01T00:00:00Z";
        let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "Played", "lastTransitionTime": now, "lastProbeTime": now});
        let status = if run.code == 0 {
            json!({
                "startTime": now, "completionTime": now, "succeeded": 1,
                "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
            })
        } else {
            json!({"startTime": now, "failed": 1, "conditions": [condition("FailureTarget"), condition("Failed")]})
        };
        let patch = json!({"status": status}).to_string();
        self.kubectl(&[
            "patch",
            "job",
            &run.job,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ])
        .unwrap_or_else(|| panic!("{}: the status was not taken", run.job));
    }
}

/// The arguments of a container, `$(NAME)` filled in as the kubelet does.
pub fn arguments(container: &Value, namespace: &str, pod: &str) -> Vec<String> {
    container["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|argument| {
            argument
                .as_str()
                .unwrap()
                .replace("$(POD_NAMESPACE)", namespace)
                .replace("$(POD_NAME)", pod)
        })
        .collect()
}
