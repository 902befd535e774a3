//! A real control plane on loopback: etcd, kube-apiserver, and kube-controller-manager where a test needs it.
//! Everything lives in one temporary folder and goes with the value.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A control plane is ready 5 s after its start; a busy machine takes longer.
const READY_TIME: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(100);
/// How much of a log is shown when something fails.
const LOG_TAIL_LINES: usize = 30;

/// Where the binaries are: `KUBEBUILDER_ASSETS`, or built from the pinned modules.
pub fn assets() -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/control-plane/build.sh");
    let output = Command::new(script)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("hack/control-plane/build.sh: {error}"))?;
    if !output.status.success() {
        return Err("hack/control-plane/build.sh failed".to_owned());
    }
    Ok(PathBuf::from(
        String::from_utf8_lossy(&output.stdout).trim(),
    ))
}

/// A port that was free a moment ago, below those that the system gives to outgoing connections: one of these may take a
/// port of that range before a server has it.
pub fn free_port() -> u16 {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        // Processes that run at the same time begin at different places.
        let place = (std::process::id() % 199 * 100 + number) % 20_000;
        let port = u16::try_from(12_000 + place).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A child process that ends with the value; its output goes to a file.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Process {
        let log = folder.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Process {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// Waits until `is_ready`; a process that ends before that is named with its exit code and log.
    pub fn wait_until(&mut self, mut is_ready: impl FnMut() -> bool) {
        let end = Instant::now() + READY_TIME;
        while !is_ready() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended with {status}:\n{}", self.name, self.log_tail());
            }
            assert!(
                Instant::now() < end,
                "{} is not ready in time:\n{}",
                self.name,
                self.log_tail()
            );
            std::thread::sleep(POLL);
        }
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks politely and waits; gives how long it took and whether the exit code was 0.
    pub fn terminate(&mut self) -> (Duration, bool) {
        let started = Instant::now();
        let _ = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        let status = self.child.wait().unwrap();
        (started.elapsed(), status.success())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {}:\n{}", self.name, self.log_tail());
        }
    }
}

pub struct Plane {
    // Processes end before their folder goes.
    apiserver: Option<Process>,
    /// What the API server is given beyond what all scenarios need.
    apiserver_flags: Vec<String>,
    controllers: Option<Process>,
    _etcd: Process,
    pub folder: TempDir,
    pub assets: PathBuf,
    pub etcd: SocketAddr,
    pub address: SocketAddr,
    pub kubeconfig: PathBuf,
}

struct Pki {
    issuer: Issuer<'static, KeyPair>,
    authority: String,
}

impl Pki {
    fn new() -> Pki {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "test control plane");
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap().pem();
        Pki {
            issuer: Issuer::new(params, key),
            authority,
        }
    }

    fn issue(
        &self,
        names: &[&str],
        name: &str,
        group: Option<&str>,
        usage: ExtendedKeyUsagePurpose,
    ) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (
            params.signed_by(&key, &self.issuer).unwrap().pem(),
            key.serialize_pem(),
        )
    }
}

impl Plane {
    /// Starts etcd and the API server.
    pub fn start(assets: &Path) -> Plane {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let pki = Pki::new();
        std::fs::write(at("ca.crt"), &pki.authority).unwrap();
        let (chain, key) = pki.issue(
            &["127.0.0.1", "localhost"],
            "kube-apiserver",
            None,
            ExtendedKeyUsagePurpose::ServerAuth,
        );
        std::fs::write(at("apiserver.crt"), chain).unwrap();
        std::fs::write(at("apiserver.key"), key).unwrap();
        let (chain, key) = pki.issue(
            &[],
            "admin",
            Some("system:masters"),
            ExtendedKeyUsagePurpose::ClientAuth,
        );
        std::fs::write(at("admin.crt"), chain).unwrap();
        std::fs::write(at("admin.key"), key).unwrap();
        let accounts = KeyPair::generate().unwrap();
        std::fs::write(at("accounts.key"), accounts.serialize_pem()).unwrap();
        std::fs::write(at("accounts.pub"), accounts.public_key_pem()).unwrap();

        let etcd: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().unwrap();
        let peer = format!("http://127.0.0.1:{}", free_port());
        let mut etcd_process = Process::start(
            "etcd",
            Command::new(assets.join("etcd")).args([
                "--unsafe-no-fsync",
                &format!("--data-dir={}", at("etcd").display()),
                &format!("--listen-client-urls=http://{etcd}"),
                &format!("--advertise-client-urls=http://{etcd}"),
                &format!("--listen-peer-urls={peer}"),
                &format!("--initial-advertise-peer-urls={peer}"),
                &format!("--initial-cluster=default={peer}"),
            ]),
            folder.path(),
        );
        etcd_process.wait_until(|| {
            super::http::plain(etcd, "GET", "/health", "").is_ok_and(|(status, _)| status == 200)
        });

        let address: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().unwrap();
        let kubeconfig = at("kubeconfig");
        std::fs::write(&kubeconfig, kubeconfig_text(folder.path(), address)).unwrap();
        let mut plane = Plane {
            apiserver: None,
            apiserver_flags: Vec::new(),
            controllers: None,
            _etcd: etcd_process,
            assets: assets.to_owned(),
            etcd,
            address,
            kubeconfig,
            folder,
        };
        plane.start_apiserver();
        plane
    }

    /// Starts the API server (again).
    pub fn start_apiserver(&mut self) {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let mut process = Process::start(
            "kube-apiserver",
            Command::new(self.assets.join("kube-apiserver"))
                .args([
                    format!("--etcd-servers=http://{}", self.etcd),
                    "--bind-address=127.0.0.1".to_owned(),
                    "--advertise-address=127.0.0.1".to_owned(),
                    format!("--secure-port={}", self.address.port()),
                    format!("--tls-cert-file={}", at("apiserver.crt")),
                    format!("--tls-private-key-file={}", at("apiserver.key")),
                    format!("--client-ca-file={}", at("ca.crt")),
                    format!("--service-account-key-file={}", at("accounts.pub")),
                    format!("--service-account-signing-key-file={}", at("accounts.key")),
                    "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                    "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
                    "--authorization-mode=RBAC".to_owned(),
                    "--disable-admission-plugins=ServiceAccount".to_owned(),
                ])
                .args(&self.apiserver_flags),
            self.folder.path(),
        );
        let (kubectl, kubeconfig) = (self.assets.join("kubectl"), self.kubeconfig.clone());
        process.wait_until(|| {
            Command::new(&kubectl)
                .arg("--kubeconfig")
                .arg(&kubeconfig)
                .args(["get", "--raw", "/readyz"])
                .output()
                .is_ok_and(|output| output.status.success())
        });
        self.apiserver = Some(process);
    }

    /// Starts the controllers that collect what has lost its owner, end namespaces and count what quotas limit.
    pub fn start_controllers(&mut self) {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig.display());
        let process = Process::start(
            "kube-controller-manager",
            Command::new(self.assets.join("kube-controller-manager")).args([
                kubeconfig.as_str(),
                "--controllers=garbage-collector-controller,namespace-controller,resourcequota-controller",
                "--leader-elect=false",
                "--secure-port=0",
            ]),
            self.folder.path(),
        );
        self.controllers = Some(process);
    }

    pub fn stop_apiserver(&mut self) {
        self.apiserver = None;
    }

    /// Starts the API server anew with an audit policy; gives where the log is.
    pub fn keep_audit_log(&mut self, policy: &str) -> PathBuf {
        let at = |name: &str| self.folder.path().join(name);
        let (policy_file, log) = (at("audit-policy.yaml"), at("audit.log"));
        std::fs::write(&policy_file, policy).unwrap();
        self.stop_apiserver();
        self.apiserver_flags = vec![
            format!("--audit-policy-file={}", policy_file.display()),
            format!("--audit-log-path={}", log.display()),
        ];
        self.start_apiserver();
        log
    }

    /// A kubeconfig whose server is somewhere else, such as a proxy.
    pub fn kubeconfig_by_way_of(&self, address: SocketAddr) -> PathBuf {
        let path = self
            .folder
            .path()
            .join(format!("kubeconfig-{}", address.port()));
        std::fs::write(&path, kubeconfig_text(self.folder.path(), address)).unwrap();
        path
    }

    /// How somebody with all rights speaks TLS with the API server.
    #[allow(dead_code)]
    pub fn admin_config(&self) -> std::sync::Arc<rustls::ClientConfig> {
        use rustls::pki_types::pem::PemObject as _;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let at = |name: &str| self.folder.path().join(name);
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(at("ca.crt")).unwrap())
            .unwrap();
        let chain = CertificateDer::pem_file_iter(at("admin.crt")).unwrap();
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(at("admin.key")).unwrap();
        let provider = cozystack_webhook::server::tls::provider();
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        std::sync::Arc::new(config)
    }

    /// A client with all rights.
    pub async fn client(&self) -> kube::Client {
        let file = kube::config::Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(file, &options)
            .await
            .unwrap();
        kube::Client::try_from(config).unwrap()
    }

    fn tool(&self, tool: &str, arguments: &[&str], input: Option<&str>) -> Output {
        let mut command = Command::new(self.assets.join(tool));
        command
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        {
            use std::io::Write as _;
            let mut stdin = child.stdin.take().unwrap();
            let _ = stdin.write_all(input.unwrap_or_default().as_bytes());
        }
        child.wait_with_output().unwrap()
    }

    /// Runs kubectl, gives (success, stdout, stderr).
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> (bool, String, String) {
        let output = self.tool("kubectl", arguments, Some(input));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.success(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    /// Runs kubectl and expects success.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let (success, stdout, stderr) = self.kubectl_with(arguments, "");
        assert!(success, "kubectl {arguments:?}: {stdout}{stderr}");
        stdout
    }

    /// Applies a manifest and expects success.
    pub fn apply(&self, manifest: &str) -> String {
        let (success, stdout, stderr) = self.kubectl_with(&["apply", "-f", "-"], manifest);
        assert!(success, "kubectl apply: {stdout}{stderr}\n{manifest}");
        stdout
    }

    /// One object.
    pub fn get(&self, what: &[&str]) -> serde_json::Value {
        let mut arguments = vec!["get", "-o", "json"];
        arguments.extend(what);
        serde_json::from_str(&self.kubectl(&arguments)).unwrap()
    }

    /// Runs helm, gives (success, stdout, stderr).
    pub fn helm_with(&self, arguments: &[&str]) -> (bool, String, String) {
        let output = self.tool("helm", arguments, None);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.success(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    /// Runs helm and expects success.
    pub fn helm(&self, arguments: &[&str]) -> String {
        let output = self.tool("helm", arguments, None);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "helm {arguments:?}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    /// All keys of etcd with their revision of modification, but for what the API server writes by itself.
    pub fn revisions(&self) -> std::collections::BTreeMap<String, String> {
        use base64::Engine as _;
        let question = r#"{"key":"AA==","range_end":"AA==","keys_only":true}"#;
        let (status, body) =
            super::http::plain(self.etcd, "POST", "/v3/kv/range", question).unwrap();
        assert_eq!(status, 200, "{body}");
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        let decode = |text: &str| {
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap()
        };
        answer["kvs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                let key =
                    String::from_utf8_lossy(&decode(entry["key"].as_str().unwrap())).into_owned();
                (key, entry["mod_revision"].as_str().unwrap().to_owned())
            })
            .filter(|(key, _)| {
                !key.starts_with("/registry/leases/") && !key.starts_with("/registry/masterleases/")
            })
            .collect()
    }
}

fn kubeconfig_text(folder: &Path, address: SocketAddr) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    format!(
        r#"apiVersion: v1
kind: Config
current-context: test
clusters: [{{name: test, cluster: {{server: "https://{address}", certificate-authority: "{}"}}}}]
users: [{{name: admin, user: {{client-certificate: "{}", client-key: "{}"}}}}]
contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]
"#,
        at("ca.crt"),
        at("admin.crt"),
        at("admin.key"),
    )
}

/// The kubeconfig of a ServiceAccount.
pub fn kubeconfig_with_token(folder: &Path, server: &str, token: &str) -> String {
    format!(
        r#"apiVersion: v1
kind: Config
current-context: test
clusters: [{{name: test, cluster: {{server: "https://{server}", certificate-authority: "{}"}}}}]
users: [{{name: account, user: {{token: "{token}"}}}}]
contexts: [{{name: test, context: {{cluster: test, user: account}}}}]
"#,
        folder.join("ca.crt").display(),
    )
}
