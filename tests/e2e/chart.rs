//! The chart: sound on paper for every kind of values, and installed, upgraded and taken away on a real API server.

use crate::support::kubelet::{Kubelet, Run, arguments};
use crate::support::plane::{Plane, Process, kubeconfig_with_token};
use crate::support::service::{BINARY, Setup};
use crate::{eventually, eventually_within, repository};
use base64::Engine as _;
use cozystack_webhook::manifest::yaml;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const NAMESPACE: &str = "cozy-webhook";
const LEGACY: &str = "cozystackresourcedefinitions.v1alpha1.cozystack.io";
const NEW: &str = "cozystackresourcedefinitions.v1alpha2.cozystack.io";

fn chart() -> String {
    repository("charts/cozystack-webhook").display().to_string()
}

fn helm(assets: &Path, arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(assets.join("helm"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn render(assets: &Path, values: &str, more: &[&str]) -> Result<Vec<Value>, String> {
    let (chart, values) = (chart(), format!("{}/ci/{values}-values.yaml", chart()));
    let mut all = vec![
        "template",
        "cozystack-webhook",
        &chart,
        "--namespace",
        NAMESPACE,
        "--kube-version",
        "1.34.0",
        "--values",
        &values,
    ];
    all.extend(more);
    let (success, stdout, stderr) = helm(assets, &all);
    if !success {
        return Err(stderr);
    }
    let documents = yaml::documents(&stdout).unwrap();
    Ok(documents
        .into_iter()
        .map(|document| document.value)
        .filter(|value| !value.is_null())
        .collect())
}

pub fn is_sound(assets: &Path) {
    for values in ["default", "cert-manager", "cilium", "minimal"] {
        let file = format!("{}/ci/{values}-values.yaml", chart());
        let (success, stdout, stderr) =
            helm(assets, &["lint", "--strict", &chart(), "--values", &file]);
        assert!(success, "{values}: {stdout}{stderr}");
        let objects = render(assets, values, &[]).unwrap();
        let of = |kind: &str| -> Vec<&Value> {
            objects
                .iter()
                .filter(|object| object["kind"] == kind)
                .collect()
        };
        assert_eq!(of("Deployment").len(), 1, "{values}");
        assert!(
            of("CustomResourceDefinition").is_empty(),
            "{values}: a chart that holds a CRD can take it away"
        );
        assert_eq!(
            of("PodDisruptionBudget").len(),
            usize::from(values != "minimal")
        );
        let policies = of("NetworkPolicy").len() + of("CiliumNetworkPolicy").len();
        assert_eq!(policies > 0, values != "minimal", "{values}");
        assert_eq!(
            of("ServiceMonitor").len(),
            usize::from(values == "cert-manager")
        );
        let makes_certificates = values == "default" || values == "minimal";
        assert_eq!(of("Certificate").is_empty(), makes_certificates, "{values}");
        for object in &objects {
            check_pods(values, object);
            check_rights(values, object);
            check_webhooks(values, object, NAMESPACE);
        }
        let conversion = of("Service")
            .into_iter()
            .find(|service| service["metadata"]["name"] == "cozystack-webhook-conversion")
            .unwrap();
        assert_eq!(conversion["spec"]["publishNotReadyAddresses"], true);
        for policy in of("NetworkPolicy") {
            check_network_policy(policy);
        }
    }
    let minimal = render(assets, "minimal", &[]).unwrap();
    let entries = minimal
        .iter()
        .filter(|object| object["kind"] == "ValidatingWebhookConfiguration")
        .flat_map(|object| object["webhooks"].as_array().unwrap());
    for entry in entries {
        let is_overridden =
            entry["name"] == "validate.cozystack.io.applicationdefinitions.webhook.cozystack.io";
        if is_overridden {
            assert_eq!(entry["failurePolicy"], "Ignore");
        }
        assert_eq!(entry["timeoutSeconds"], 2);
    }
    // Somewhere else is somewhere else altogether.
    let elsewhere = render(assets, "default", &["--namespace", "elsewhere"]).unwrap();
    for object in elsewhere {
        assert!(!object.to_string().contains(NAMESPACE), "{object}");
        check_webhooks("elsewhere", &object, "elsewhere");
    }
    // What cannot be meant is refused, and says what can.
    for (set, sentence) in [
        ("replica=3", "additional properties 'replica' not allowed"),
        (
            "tls.source=vault",
            "value must be one of 'secret', 'certManager'",
        ),
        ("webhooks.timeoutSeconds=10", "maximum"),
        (
            "webhooks.failurePolicies.nobody=Ignore",
            "there is no webhook entry \"nobody\"",
        ),
    ] {
        let refused = render(assets, "default", &["--set", set]).unwrap_err();
        assert!(refused.contains(sentence), "{set}: {refused}");
    }
}

/// Pod Security "restricted", and what a service in the way of the API server needs.
fn check_pods(values: &str, object: &Value) {
    let pod = &object["spec"]["template"]["spec"];
    if pod["containers"].is_null() {
        return;
    }
    let name = format!("{values}: {}", object["metadata"]["name"]);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
        "{name}"
    );
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[host].is_null(), "{name}");
    }
    for container in pod["containers"].as_array().unwrap() {
        let security = &container["securityContext"];
        assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{name}");
        assert!(
            container["resources"]["requests"]["memory"].is_string(),
            "{name}"
        );
        assert!(
            container["resources"]["limits"]["memory"].is_string(),
            "{name}"
        );
    }
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        assert!(volume["hostPath"].is_null(), "{name}");
    }
    // What the chart starts exists: clap reads the arguments.
    let container = &pod["containers"][0];
    let mut command = arguments(container, NAMESPACE, "pod");
    command.push("--help".to_owned());
    let output = Command::new(BINARY).args(&command).output().unwrap();
    assert!(output.status.success(), "{name}: {command:?}");
    let help = String::from_utf8(output.stdout).unwrap();
    for flag in command.iter().filter(|argument| argument.starts_with("--")) {
        let flag = flag.split('=').next().unwrap();
        assert!(help.contains(flag), "{name}: {flag} is not in the help");
    }
    if object["kind"] == "Deployment" {
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            assert!(container[probe]["httpGet"].is_object(), "{name}: {probe}");
        }
        assert_eq!(
            object["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"],
            0
        );
        assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > 30);
    }
}

fn check_rights(values: &str, object: &Value) {
    for rule in object["rules"].as_array().into_iter().flatten() {
        if object["kind"] != "ClusterRole" && object["kind"] != "Role" {
            continue;
        }
        let text = rule.to_string();
        for forbidden in [
            "\"*\"",
            "escalate",
            "impersonate",
            "\"bind\"",
            "deletecollection",
        ] {
            assert!(!text.contains(forbidden), "{values}: {text}");
        }
        let is_secrets = rule["resources"]
            .as_array()
            .unwrap()
            .contains(&json!("secrets"));
        if is_secrets {
            assert_eq!(
                object["kind"], "Role",
                "{values}: Secrets of our own namespace only"
            );
            let is_create = rule["verbs"] == json!(["create"]);
            assert!(
                is_create || rule["resourceNames"].is_array(),
                "{values}: {text}"
            );
        }
        let resources = rule["resources"].as_array().unwrap();
        let writes = rule["verbs"]
            .as_array()
            .unwrap()
            .iter()
            .any(|verb| verb == "patch" || verb == "update" || verb == "delete");
        for guarded in [
            "validatingwebhookconfigurations",
            "mutatingwebhookconfigurations",
            "customresourcedefinitions",
        ] {
            if writes && resources.contains(&json!(guarded)) {
                assert!(rule["resourceNames"].is_array(), "{values}: {text}");
            }
        }
    }
}

fn check_webhooks(values: &str, object: &Value, namespace: &str) {
    let Some(entries) = object["webhooks"].as_array() else {
        return;
    };
    for entry in entries {
        let name = format!("{values}: {}", entry["name"]);
        assert_eq!(entry["sideEffects"], "None", "{name}");
        assert!(
            (1..=5).contains(&entry["timeoutSeconds"].as_u64().unwrap()),
            "{name}"
        );
        assert_eq!(entry["admissionReviewVersions"], json!(["v1"]), "{name}");
        assert_eq!(entry["matchPolicy"], "Equivalent", "{name}");
        assert_eq!(
            entry["clientConfig"]["service"]["namespace"], namespace,
            "{name}"
        );
        assert!(
            entry["clientConfig"]["caBundle"].is_null(),
            "{name}: never rendered empty"
        );
        let conditions: Vec<&str> = entry["matchConditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|condition| condition["expression"].as_str().unwrap())
            .collect();
        let ours = format!("has(request.namespace) && request.namespace == '{namespace}'");
        if entry["namespaceSelector"].is_null() {
            assert!(
                conditions.contains(&format!("!({ours})").as_str()),
                "{name}: {conditions:?}"
            );
        } else {
            // The settings, and nothing else, are checked in our own namespace.
            assert!(
                conditions.contains(&ours.as_str()),
                "{name}: {conditions:?}"
            );
            assert!(
                conditions.contains(&"has(request.name) && request.name in ['cozystack-webhook']"),
                "{name}"
            );
            assert_eq!(
                entry["namespaceSelector"],
                json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}})
            );
            assert_eq!(entry["failurePolicy"], "Ignore", "{name}");
        }
        for rule in entry["rules"].as_array().unwrap() {
            let group = rule["apiGroups"][0].as_str().unwrap();
            for member in ["apiGroups", "apiVersions", "resources", "operations"] {
                for value in rule[member].as_array().unwrap() {
                    let value = value.as_str().unwrap();
                    assert!(!value.contains(['*', '/']), "{name}: {member} {value}");
                }
            }
            // What keeps tenants apart waits as well, but for nobody else.
            let is_about_tenants = conditions
                .iter()
                .any(|condition| condition.contains(".startsWith('tenant-')"));
            let is_ours = matches!(group, "cozystack.io" | "policy.cozystack.io");
            if !is_ours && !is_about_tenants {
                assert_eq!(
                    entry["failurePolicy"], "Ignore",
                    "{name}: only our own kinds may wait for us"
                );
            }
        }
    }
}

fn check_network_policy(policy: &Value) {
    let (mut ways_in, mut ways_out) = (0, 0);
    for rule in policy["spec"]["ingress"].as_array().into_iter().flatten() {
        let text = rule.to_string();
        let is_for_api_server = ["8443", "8444", "\"admission\"", "\"conversion\""]
            .iter()
            .any(|port| text.contains(port));
        if is_for_api_server {
            ways_in += 1;
            assert!(
                rule["from"].is_null(),
                "an API server on the host network matches no selector: {text}"
            );
        }
    }
    for rule in policy["spec"]["egress"].as_array().into_iter().flatten() {
        let text = rule.to_string();
        if text.contains("443") {
            ways_out += 1;
            assert!(rule["to"].is_null(), "{text}");
        }
    }
    assert!(ways_in > 0 && ways_out > 0, "{policy}");
}

/// A cluster in which Helm installs the chart: the Services lead to loopback, the Jobs are played, the Deployment's own
/// arguments run beside it under a token of its ServiceAccount.
struct Installation {
    plane: Plane,
    setup: Setup,
    kubelet: Kubelet,
}

impl Installation {
    fn helm(&self, verb: &[&str], more: &[&str]) -> String {
        let admission = format!("service.admission.port={}", self.setup.admission.port());
        let conversion = format!("service.conversion.port={}", self.setup.conversion.port());
        let chart = chart();
        let mut all = verb.to_vec();
        all.extend([
            "cozystack-webhook",
            chart.as_str(),
            "--namespace",
            NAMESPACE,
            "--timeout",
            "2m",
            "--set",
            "service.externalName=localhost",
            "--set",
            &admission,
            "--set",
            &conversion,
        ]);
        all.extend(more);
        self.plane.helm(&all)
    }

    /// The Jobs that ran, by name; all ended well.
    fn jobs(&self) -> Vec<Run> {
        let runs = self.kubelet.take();
        for run in &runs {
            assert_eq!(run.code, 0, "{run:#?}");
        }
        runs
    }

    fn job_names(&self) -> Vec<String> {
        self.jobs().into_iter().map(|run| run.job).collect()
    }

    fn kubeconfig(&self) -> String {
        let token = self
            .plane
            .kubectl(&["create", "token", "cozystack-webhook", "-n", NAMESPACE]);
        let path = self.plane.folder.path().join("kubeconfig-service");
        let text = kubeconfig_with_token(
            self.plane.folder.path(),
            &self.plane.address.to_string(),
            token.trim(),
        );
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Starts what the Deployment says, with the Secret that it mounts.
    fn serve(&self) -> Process {
        let secret = self
            .plane
            .get(&["secret", "cozystack-webhook-tls", "-n", NAMESPACE]);
        for file in ["tls.crt", "tls.key"] {
            let data = secret["data"][file].as_str().unwrap();
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(data)
                .unwrap();
            std::fs::write(self.setup.folder.join(file), bytes).unwrap();
        }
        let deployment = self
            .plane
            .get(&["deployment", "cozystack-webhook", "-n", NAMESPACE]);
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let given = arguments(container, NAMESPACE, "pod-0");
        assert_eq!(given[0], "serve");
        let given: Vec<&str> = given
            .iter()
            .skip(1)
            .map(String::as_str)
            .filter(|argument| *argument != "--certificate-dir" && !argument.starts_with("/etc/"))
            .collect();
        let kubeconfig = self.kubeconfig();
        let mut all = vec!["--kubeconfig", kubeconfig.as_str()];
        all.extend(given);
        self.setup.start_ready(&all)
    }

    fn bundles(&self) -> Vec<String> {
        let mut bundles = Vec::new();
        let configuration = self
            .plane
            .get(&["validatingwebhookconfigurations", "cozystack-webhook"]);
        for entry in configuration["webhooks"].as_array().unwrap() {
            bundles.push(
                entry["clientConfig"]["caBundle"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
        let crd = self
            .plane
            .get(&["crd", "cozystackresourcedefinitions.cozystack.io"]);
        let bundle = crd.pointer("/spec/conversion/webhook/clientConfig/caBundle");
        bundles.push(
            bundle
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
        );
        bundles
    }
}

pub fn lives_and_dies(assets: &Path) {
    let plane = Plane::start(assets);
    let setup = Setup::new(plane.folder.path());
    let kubelet = Kubelet::start(&plane, NAMESPACE);
    let mut this = Installation {
        plane,
        setup,
        kubelet,
    };
    this.plane.start_controllers();
    // A cluster of the old days: the platform's namespace, the legacy CRD of its release, and a definition.
    this.plane.kubectl(&["create", "namespace", "cozy-system"]);
    install_legacy(&this.plane);

    this.helm(&["install", "--create-namespace"], &[]);
    assert_eq!(
        this.job_names(),
        [
            "cozystack-webhook-certs",
            "cozystack-webhook-inject",
            "cozystack-webhook-crds"
        ]
    );
    let bundles = this.bundles();
    assert!(
        bundles
            .iter()
            .all(|bundle| !bundle.is_empty() && *bundle == bundles[0]),
        "{bundles:?}"
    );
    let mut service = this.serve();

    // In front of the API server: converted, guarded, bridged; under the rights of the chart alone.
    eventually("it is bridged", || {
        this.plane
            .kubectl_with(&["get", "applicationdefinitions", "gizmo"], "")
            .0
    });
    assert_eq!(
        this.plane.get(&[NEW, "gizmo"])["spec"]["release"]["chartRef"]["kind"],
        "ExternalArtifact"
    );
    let refused = || {
        let patch = r#"{"spec":{"application":{"kind":"bad"}}}"#;
        let (success, _, stderr) = this.plane.kubectl_with(
            &[
                "patch",
                "applicationdefinitions",
                "gizmo",
                "--type=merge",
                "-p",
                patch,
                "--dry-run=server",
            ],
            "",
        );
        !success && stderr.contains("spec.application.kind")
    };
    eventually("it guards", refused);
    // A watch that was begun again while the CRDs were changed may be a moment behind.
    eventually("it knows of the successor", || {
        let delete = ["delete", LEGACY, "gizmo", "--dry-run=server"];
        this.plane.kubectl_with(&delete, "").0
    });
    this.plane.kubectl(&["delete", LEGACY, "gizmo"]);
    this.plane.apply(&gizmo());
    let log = service.log_text();
    assert!(!log.contains("orbidden"), "a right is missing:\n{log}");

    // Everything again changes nothing and interrupts nothing: upgraded, applied by hand, installed by the command.
    let load = Load::start(&this);
    this.helm(
        &["upgrade"],
        &[
            "--set",
            "log.level=debug",
            "--set-string",
            "settings.application-definition\\.mode=enforce",
        ],
    );
    assert_eq!(
        this.job_names(),
        [
            "cozystack-webhook-certs",
            "cozystack-webhook-inject",
            "cozystack-webhook-crds"
        ]
    );
    assert_eq!(this.bundles(), bundles);
    let rendered = this.helm(
        &["template"],
        &[
            "--kube-version",
            "1.34.0",
            "--show-only",
            "templates/webhooks.yaml",
        ],
    );
    assert!(!rendered.contains("caBundle"), "{rendered}");
    this.plane.apply(&rendered);
    assert_eq!(this.bundles(), bundles);
    // Another authority: both are trusted while the certificates change over.
    this.plane
        .kubectl(&["delete", "secret", "cozystack-webhook-ca", "-n", NAMESPACE]);
    this.helm(&["upgrade"], &[]);
    let both = this.bundles();
    assert!(
        both.iter()
            .zip(&bundles)
            .all(|(new, old)| new.len() > old.len()),
        "{both:?}"
    );
    let answered = load.stop();
    assert!(answered > 20, "{answered} answers");
    this.jobs();
    // The pods get the new pair.
    service.terminate();
    drop(service);
    let mut service = this.serve();
    eventually("it guards", refused);

    // A rollback renders what was rendered then, without any bundle: they are back at once.
    this.plane.helm(&[
        "rollback",
        "cozystack-webhook",
        "1",
        "--namespace",
        NAMESPACE,
        "--timeout",
        "2m",
    ]);
    assert_eq!(this.job_names(), ["cozystack-webhook-inject"]);
    assert!(this.bundles().iter().all(|bundle| !bundle.is_empty()));
    eventually("it guards", refused);

    // The way out takes its right to write, too.
    let docs = std::fs::read_to_string(repository("docs/operations.md")).unwrap();
    let command = docs
        .lines()
        .find_map(|line| line.trim().strip_prefix("kubectl delete "))
        .unwrap();
    let mut way_out = vec!["delete"];
    way_out.extend(command.split_whitespace());
    this.plane.kubectl(&way_out);
    assert!(!refused());
    this.plane
        .kubectl(&["delete", "applicationdefinitions", "gizmo"]);
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(
        !this
            .plane
            .kubectl_with(&["get", "applicationdefinitions", "gizmo"], "")
            .0,
        "nothing is made any more"
    );
    this.plane.get(&[NEW, "gizmo"]);
    this.helm(&["upgrade"], &[]);
    eventually_within(60, "an upgrade brings it back", || {
        this.plane
            .kubectl_with(&["get", "applicationdefinitions", "gizmo"], "")
            .0
            && refused()
    });
    this.jobs();

    // Uninstalled: every object is there and readable, nothing stands in the way.
    this.plane.helm(&[
        "uninstall",
        "cozystack-webhook",
        "--namespace",
        NAMESPACE,
        "--timeout",
        "2m",
    ]);
    assert_eq!(this.job_names(), ["cozystack-webhook-uninstall"]);
    service.terminate();
    drop(service);
    this.plane.get(&[LEGACY, "gizmo"]);
    this.plane.get(&["applicationdefinitions", "gizmo"]);
    this.plane.kubectl(&[
        "patch",
        LEGACY,
        "gizmo",
        "--type=merge",
        "-p",
        r#"{"spec":{"release":{"prefix":"free-"}}}"#,
    ]);
    let left: BTreeSet<String> = this
        .plane
        .kubectl(&["get", "all,configmaps,roles,rolebindings,jobs,poddisruptionbudgets,networkpolicies,serviceaccounts", "-n", NAMESPACE, "-o", "name"])
        .lines()
        .map(ToOwned::to_owned)
        .collect();
    assert!(
        left.iter().all(|name| !name.contains("cozystack-webhook")),
        "{left:?}"
    );
    let cluster_wide = this.plane.kubectl(&[
        "get",
        "clusterroles,clusterrolebindings,validatingwebhookconfigurations,mutatingwebhookconfigurations",
        "-o",
        "name",
    ]);
    assert!(
        !cluster_wide.contains("cozystack-webhook"),
        "{cluster_wide}"
    );
}

fn gizmo() -> String {
    std::fs::read_to_string(repository("testcases/manifests/gizmo.yaml")).unwrap()
}

/// The legacy CRD as the old platform has it: one version, no conversion.
fn install_legacy(plane: &Plane) {
    let target = cozystack_webhook::crds::Target::default();
    let mut crd = cozystack_webhook::crds::installable(webhooks::REGISTRY, &target)
        .unwrap()
        .into_iter()
        .find(|crd| crd["spec"]["names"]["plural"] == "cozystackresourcedefinitions")
        .unwrap();
    crd["spec"]["versions"].as_array_mut().unwrap().truncate(1);
    crd["spec"]["conversion"] = json!({"strategy": "None"});
    crd["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("annotations");
    crd["metadata"].as_object_mut().unwrap().remove("labels");
    plane.apply(&crd.to_string());
    plane.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/cozystackresourcedefinitions.cozystack.io",
    ]);
    plane.apply(&gizmo());
}

/// Reviews and conversions without a pause; each must be answered.
struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<Vec<String>>,
}

impl Load {
    fn start(this: &Installation) -> Load {
        let (stop, count) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (is_over, counter) = (Arc::clone(&stop), Arc::clone(&count));
        let (kubectl, kubeconfig) = (
            this.plane.assets.join("kubectl"),
            this.plane.kubeconfig.clone(),
        );
        let thread = std::thread::spawn(move || {
            let mut failures = Vec::new();
            let bad = r#"{"spec":{"application":{"kind":"bad"}}}"#;
            while !is_over.load(Ordering::SeqCst) {
                let run = |arguments: &[&str]| {
                    let output = Command::new(&kubectl)
                        .args(arguments)
                        .env("KUBECONFIG", &kubeconfig)
                        .output()
                        .unwrap();
                    (
                        output.status.success(),
                        String::from_utf8_lossy(&output.stderr).into_owned(),
                    )
                };
                let (success, stderr) = run(&["get", NEW, "gizmo"]);
                if !success {
                    failures.push(format!("conversion: {stderr}"));
                }
                let (_, stderr) = run(&[
                    "patch",
                    "applicationdefinitions",
                    "gizmo",
                    "--type=merge",
                    "-p",
                    bad,
                    "--dry-run=server",
                ]);
                if !stderr.contains("spec.application.kind") {
                    failures.push(format!("review: {stderr}"));
                }
                counter.fetch_add(2, Ordering::SeqCst);
            }
            failures
        });
        Load {
            stop,
            count,
            thread,
        }
    }

    fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let failures = self.thread.join().unwrap();
        assert!(failures.is_empty(), "{failures:#?}");
        self.count.load(Ordering::SeqCst)
    }
}
