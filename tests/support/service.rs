//! The service as a child process: the binary as it ships.

use super::http;
use super::plane::{Process, free_port};
use cozystack_webhook::server::tls::Authority;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub const BINARY: &str = env!("CARGO_BIN_EXE_cozystack-webhook");

/// Runs the binary with arguments and gives what it printed.
pub fn run(arguments: &[&str], folder: &Path, input: &str) -> (i32, String, String) {
    let mut child = Command::new(BINARY)
        .args(arguments)
        .current_dir(folder)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    {
        use std::io::Write as _;
        let mut stdin = child.stdin.take().unwrap();
        let _ = stdin.write_all(input.as_bytes());
    }
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// Addresses and certificate of a service that may be started and stopped.
pub struct Setup {
    pub folder: PathBuf,
    pub authority: String,
    issuer: Authority,
    pub admission: SocketAddr,
    pub conversion: SocketAddr,
    pub probes: SocketAddr,
    pub metrics: SocketAddr,
}

impl Setup {
    pub fn new(folder: &Path) -> Setup {
        let folder = folder.join("service");
        std::fs::create_dir_all(&folder).unwrap();
        let authority = Authority::new().unwrap();
        write_certificate(&folder, &authority);
        std::fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
        let address = || format!("127.0.0.1:{}", free_port()).parse().unwrap();
        Setup {
            folder,
            authority: authority.pem().to_owned(),
            issuer: authority,
            admission: address(),
            conversion: address(),
            probes: address(),
            metrics: address(),
        }
    }

    pub fn ca_file(&self) -> String {
        self.folder.join("ca.crt").display().to_string()
    }

    /// A new certificate of the same authority.
    pub fn renew(&self) {
        write_certificate(&self.folder, &self.issuer);
    }

    /// Starts the service and waits until it is alive (not until it is ready).
    pub fn start(&self, more: &[&str]) -> Process {
        self.start_with_drain("0", more)
    }

    /// The same with a time between "not ready" and the end.
    pub fn start_with_drain(&self, seconds: &str, more: &[&str]) -> Process {
        let mut command = Command::new(BINARY);
        command
            .arg("serve")
            .args(["--admission-address", &self.admission.to_string()])
            .args(["--conversion-address", &self.conversion.to_string()])
            .args(["--probes-address", &self.probes.to_string()])
            .args(["--metrics-address", &self.metrics.to_string()])
            .arg("--certificate-dir")
            .arg(&self.folder)
            .args(["--certificate-poll", "1", "--drain", seconds])
            .args(more)
            .env_remove("KUBECONFIG");
        let mut process = Process::start("cozystack-webhook", &mut command, &self.folder);
        process.wait_until(|| {
            http::plain(self.probes, "GET", "/healthz", "").is_ok_and(|(status, _)| status == 200)
        });
        process
    }

    /// Starts the service and waits until it is ready.
    pub fn start_ready(&self, more: &[&str]) -> Process {
        let mut process = self.start(more);
        process.wait_until(|| self.is_ready());
        process
    }

    pub fn is_ready(&self) -> bool {
        http::plain(self.probes, "GET", "/readyz", "").is_ok_and(|(status, _)| status == 200)
    }

    pub fn connect(&self, address: SocketAddr) -> http::Connection {
        http::Connection::open(address, &http::client_config(&self.authority)).unwrap()
    }
}

fn write_certificate(folder: &Path, authority: &Authority) {
    let names = [
        "localhost",
        "127.0.0.1",
        "cozystack-webhook.cozy-webhook.svc",
        "cozystack-webhook-conversion.cozy-webhook.svc",
    ];
    let (chain, key) = authority.issue(&names.map(ToOwned::to_owned)).unwrap();
    std::fs::write(folder.join("tls.crt"), chain).unwrap();
    std::fs::write(folder.join("tls.key"), key).unwrap();
}
