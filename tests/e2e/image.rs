//! The image: made without a daemon, unpacked as a runtime would, and run.

use crate::repository;
use crate::support::http::plain;
use crate::support::plane::{Process, free_port};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

fn blob(layout: &Path, descriptor: &Value) -> std::path::PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    let (algorithm, hex) = digest.split_once(':').unwrap();
    layout.join("blobs").join(algorithm).join(hex)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub fn runs(_: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("image");
    // The release profile takes many minutes more and makes the same files.
    let output = Command::new(repository("hack/image.sh"))
        .arg(&layout)
        .env("PROFILE", "dev")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let index = json(&layout.join("index.json"));
    assert_eq!(
        json(&layout.join("oci-layout"))["imageLayoutVersion"],
        "1.0.0"
    );
    let manifest = json(&blob(&layout, &index["manifests"][0]));
    let config = json(&blob(&layout, &manifest["config"]));
    assert_eq!(config["os"], "linux");
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"][0], "/cozystack-webhook");

    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        let path = blob(&layout, layer);
        let length = std::fs::metadata(&path).unwrap().len();
        assert_eq!(layer["size"].as_u64(), Some(length));
        let unpacked = Command::new("tar")
            .arg("--extract")
            .arg("--no-same-owner")
            .arg("--file")
            .arg(&path)
            .arg("--directory")
            .arg(&root)
            .status()
            .unwrap();
        assert!(unpacked.success());
    }
    let binary = root.join("cozystack-webhook");
    let mode = std::fs::metadata(&binary).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    assert!(
        std::fs::read_to_string(root.join("etc/passwd"))
            .unwrap()
            .contains("65532")
    );

    let version = Command::new(&binary).arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    assert_eq!(
        version.trim(),
        concat!("cozystack-webhook ", env!("CARGO_PKG_VERSION"))
    );
    let address = || format!("127.0.0.1:{}", free_port());
    let probes = address();
    let mut service = Process::start(
        "image",
        Command::new(&binary)
            .args(["serve", "--self-signed", "--drain", "0", "--objects"])
            .arg(repository("testcases/manifests"))
            .args(["--admission-address", &address()])
            .args(["--conversion-address", &address()])
            .args(["--metrics-address", &address()])
            .args(["--probes-address", &probes])
            .env_clear(),
        folder.path(),
    );
    let probes = probes.parse().unwrap();
    service
        .wait_until(|| plain(probes, "GET", "/readyz", "").is_ok_and(|(status, _)| status == 200));
    let (_, is_clean) = service.terminate();
    assert!(is_clean, "{}", service.log_tail());
}
