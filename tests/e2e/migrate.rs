//! `migrate` on a real API server that holds what an old platform holds.

use crate::support::flux::{Flux, Subject};
use crate::support::service::{BINARY, run};
use crate::{Cluster, definitions, eventually, repository};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Kinds whose objects are compared, as kubectl lists them everywhere.
const KINDS: [&str; 5] = [
    "configmaps",
    "packages.cozystack.io",
    "applicationdefinitions.cozystack.io",
    "cozystackresourcedefinitions.v1alpha1.cozystack.io",
    "helmreleases",
];

const CONFIGURATION: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: cozy-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: tenant-root}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: cozystack, namespace: cozy-system}
data:
  bundle-name: paas-full
  root-host: cloud.test
  api-server-endpoint: https://api.cloud.test
  expose-services: api,dashboard
  ipv4-pod-cidr: 10.10.0.0/16
  ipv4-pod-gateway: 10.10.0.1
  ipv4-svc-cidr: 10.20.0.0/16
  ipv4-join-cidr: 10.30.0.0/16
---
apiVersion: v1
kind: ConfigMap
metadata: {name: cozystack-branding, namespace: cozy-system}
data: {titleText: "Gizmo: yes", footerText: "null"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: cozystack-version, namespace: cozy-system}
data: {version: "21"}
"#;

const RELEASES: &str = r#"
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: cozystack-resource-definition-crd, namespace: cozy-system}
spec: {interval: 5m}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: gizmo-one, namespace: tenant-root, labels: {cozystack.io/ui: "true"}}
spec:
  interval: 5m
  chart: {spec: {chart: gizmo, sourceRef: {kind: HelmRepository, name: cozystack-apps, namespace: cozy-public}}}
  values: {replicas: 3}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: beacon, namespace: tenant-root, labels: {cozystack.io/ui: "true"}}
spec:
  interval: 5m
  chart: {spec: {chart: beacon, sourceRef: {kind: HelmRepository, name: cozystack-extra, namespace: cozy-public}}}
"#;

fn old_cluster(assets: &Path) -> Cluster {
    let mut cluster = Cluster::bare(assets);
    cluster.plane.start_controllers();
    let plane = &cluster.plane;
    cluster.add_services();
    definitions::install_helm_release_crd(plane);
    let crd = repository("webhooks/crds/cozystackresourcedefinitions.yaml");
    let crd = crd.display().to_string();
    plane.kubectl(&["apply", "-f", &crd]);
    plane.kubectl(&["wait", "--for=condition=Established", "-f", &crd]);
    for definition in ["gizmo", "beacon"] {
        let file = repository(&format!("testcases/manifests/{definition}.yaml"));
        plane.kubectl(&["apply", "-f", &file.display().to_string()]);
    }
    plane.apply(CONFIGURATION);
    plane.apply(RELEASES);
    cluster
}

/// All objects of the kinds that matter, without what the API server fills in.
fn state(cluster: &Cluster) -> BTreeMap<String, Value> {
    let mut state = BTreeMap::new();
    for kind in KINDS {
        let (success, stdout, _) = cluster
            .plane
            .kubectl_with(&["get", kind, "-A", "-o", "json", "--ignore-not-found"], "");
        let list: Value = serde_json::from_str(&stdout).unwrap_or_default();
        assert!(success || list.is_null());
        for object in list["items"].as_array().into_iter().flatten() {
            let mut object = object.clone();
            let metadata = object["metadata"].as_object_mut().unwrap();
            for member in [
                "managedFields",
                "resourceVersion",
                "generation",
                "uid",
                "creationTimestamp",
            ] {
                metadata.remove(member);
            }
            let name = format!(
                "{kind} {}/{}",
                object["metadata"]["namespace"], object["metadata"]["name"]
            );
            state.insert(name, object);
        }
    }
    state.retain(|name, _| {
        let others = ["kube-root-ca.crt", "\"kube-system\"", "\"cozy-webhook\""];
        !others.iter().any(|other| name.contains(other))
    });
    state
}

fn target(cluster: &Cluster) -> Vec<String> {
    [
        "--ca-file",
        &cluster.setup.ca_file(),
        "--admission-port",
        &cluster.setup.admission.port().to_string(),
        "--conversion-port",
        &cluster.setup.conversion.port().to_string(),
    ]
    .map(str::to_owned)
    .to_vec()
}

fn arguments(cluster: &Cluster, kubeconfig: &Path, command: &str) -> Vec<String> {
    let mut all = vec!["migrate".to_owned()];
    all.extend(command.split(' ').map(str::to_owned));
    all.extend(["--kubeconfig".to_owned(), kubeconfig.display().to_string()]);
    if command != "plan" {
        all.extend(["--backup".to_owned(), backup(cluster).display().to_string()]);
    }
    if command.starts_with("apply") {
        all.extend(target(cluster));
    }
    if command != "rollback" {
        all.push("--stamp".to_owned());
    }
    all
}

fn backup(cluster: &Cluster) -> PathBuf {
    cluster.plane.folder.path().join("backup.json")
}

fn migrate_by(cluster: &Cluster, kubeconfig: &Path, command: &str) -> (i32, String, String) {
    let all = arguments(cluster, kubeconfig, command);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let (code, stdout, stderr) = run(&all, cluster.plane.folder.path(), "");
    (code, stdout, stderr)
}

fn migrate(cluster: &Cluster, command: &str) -> String {
    let (code, stdout, stderr) = migrate_by(cluster, &cluster.plane.kubeconfig, command);
    assert_eq!(code, 0, "{command}: {stdout}{stderr}");
    stdout
}

pub fn carries_over(assets: &Path) {
    let cluster = old_cluster(assets);
    let plane = &cluster.plane;
    // The real ones too, where they are at hand.
    let real = repository("../shared/data/cozyrds-v0.39.5");
    if real.is_dir() {
        plane.kubectl(&["apply", "-f", &real.display().to_string()]);
    } else {
        eprintln!("the real definitions are not there: {}", real.display());
    }
    let definitions = |kind: &str| {
        let names = plane.kubectl(&["get", kind, "-o", "name"]);
        names.lines().count()
    };
    let count = definitions(KINDS[3]);
    let before = state(&cluster);
    let revisions = plane.revisions();
    let planned = migrate(&cluster, "plan");
    for expected in [
        "+ Package cozystack.cozystack-platform: ",
        "    variant: isp-full",
        "~ HelmRelease cozy-system/cozystack-resource-definition-crd: ",
        "+ ApplicationDefinition gizmo: ",
        "~ HelmRelease tenant-root/gizmo-one: ",
        "      apps.cozystack.io/application.kind: Gizmo",
        "    titleText: \"Gizmo: yes\"",
    ] {
        let expected = expected.trim_start_matches(' ');
        assert!(planned.contains(expected), "{expected}: {planned}");
    }
    // Files that were exported say the same as the cluster.
    let as_yaml = |more: &[&str]| {
        let mut all = vec![
            "migrate", "plan", "--stamp", "--target", "v1.0.0", "-o", "yaml",
        ];
        all.extend(more);
        let (code, stdout, stderr) = run(&all, plane.folder.path(), "");
        assert_eq!(code, 0, "{stderr}");
        stdout
    };
    let exported = plane.folder.path().join("exported");
    std::fs::create_dir(&exported).unwrap();
    for kind in [KINDS[0], KINDS[3], KINDS[4]] {
        let list = plane.kubectl(&["get", kind, "-A", "-o", "yaml"]);
        std::fs::write(exported.join(format!("{kind}.yaml")), list).unwrap();
    }
    let kubeconfig = plane.kubeconfig.display().to_string();
    assert_eq!(
        as_yaml(&["--from-dir", &exported.display().to_string()]),
        as_yaml(&["--kubeconfig", &kubeconfig])
    );
    assert_eq!(plane.revisions(), revisions);

    migrate(&cluster, "apply");
    let after = state(&cluster);
    for (name, object) in &before {
        assert!(after.contains_key(name), "lost: {object}");
    }
    // The backup is a List that kubectl applies.
    let file = backup(&cluster).display().to_string();
    let said = plane.kubectl(&["apply", "--dry-run=server", "-f", &file]);
    // Three releases, three ConfigMaps, and the definitions.
    assert_eq!(said.lines().count(), 6 + count, "{said}");
    let package = plane.get(&["packages.cozystack.io", "cozystack.cozystack-platform"]);
    let values = &package["spec"]["components"]["platform"]["values"];
    assert_eq!(values["publishing"]["host"], "cloud.test");
    assert_eq!(
        values["publishing"]["exposedServices"],
        json!(["api", "dashboard"])
    );
    let release = plane.get(&["helmreleases", "gizmo-one", "-n", "tenant-root"]);
    let labels = &release["metadata"]["labels"];
    assert_eq!(labels["apps.cozystack.io/application.kind"], "Gizmo");
    assert_eq!(labels["apps.cozystack.io/application.name"], "one");
    // Values wait until the platform has made the Packages that have them.
    let (code, said, _) = migrate_by(&cluster, &plane.kubeconfig, "verify");
    assert_eq!(code, 1, "{said}");
    assert_eq!(said.matches("WRONG").count(), 1, "{said}");
    plane.apply(
        "
apiVersion: cozystack.io/v1alpha1
kind: Package
metadata: {name: cozystack.monitoring-agents}
spec: {variant: default, components: {monitoring-agents: {values: {scrapeRules: {other: 1}}}}}
",
    );
    let said = migrate(&cluster, "apply");
    assert!(
        said.starts_with("Package cozystack.monitoring-agents: changed"),
        "{said}"
    );
    let agents = plane.get(&["packages.cozystack.io", "cozystack.monitoring-agents"]);
    assert_eq!(
        agents["spec"]["components"]["monitoring-agents"]["values"],
        json!({"scrapeRules": {"other": 1, "etcd": {"enabled": true}}})
    );
    let said = migrate(&cluster, "verify");
    assert!(!said.contains("WRONG"), "{said}");
    let after = state(&cluster);

    // A second run finds nothing to do, and writes nothing.
    let revisions = plane.revisions();
    let said = migrate(&cluster, "apply");
    assert!(said.starts_with("0 objects written"), "{said}");
    assert_eq!(plane.revisions(), revisions);

    // The service finds its companions as it would have made them.
    cluster.add_webhooks();
    let _serving = cluster.serve();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(state(&cluster), after);

    // And back, with the service at work.
    migrate(&cluster, "rollback");
    std::thread::sleep(Duration::from_secs(5));
    let mut back = state(&cluster);
    let agents = back.remove("packages.cozystack.io null/\"cozystack.monitoring-agents\"");
    assert_eq!(
        agents.unwrap()["spec"]["components"]["monitoring-agents"]["values"],
        json!({"scrapeRules": {"other": 1}})
    );
    assert_eq!(back, before);

    // Those who want to be rid of the legacy definitions ask for it, and have them back.
    let said = migrate(&cluster, "apply --delete-legacy");
    assert!(
        said.contains("CozystackResourceDefinition gizmo: deleted"),
        "{said}"
    );
    assert_eq!((definitions(KINDS[2]), definitions(KINDS[3])), (count, 0));
    migrate(&cluster, "rollback");
    let mut back = state(&cluster);
    back.remove("packages.cozystack.io null/\"cozystack.monitoring-agents\"");
    assert_eq!(back, before);
}

/// What happens to a write.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// It does not reach the API server.
    Before(usize),
    /// It does, and the answer is lost.
    After(usize),
    Never,
}

/// A proxy without TLS to the API server, which cuts one write off; gives where it is and counts the writes.
fn proxy(cluster: &Cluster, cut: Cut) -> (PathBuf, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = cluster.plane.folder.path().to_owned();
    let kubeconfig = folder.join(format!("kubeconfig-plain-{}", address.port()));
    std::fs::write(
        &kubeconfig,
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters: [{{name: test, cluster: {{server: \"http://{address}\"}}}}]\nusers: [{{name: none, user: {{}}}}]\ncontexts: [{{name: test, context: {{cluster: test, user: none}}}}]\n"
        ),
    )
    .unwrap();
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&writes);
    let (target, config) = (cluster.plane.address, cluster.plane.admin_config());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), config, writes) = (client, Arc::clone(&config), Arc::clone(&counted))
            else {
                return;
            };
            std::thread::spawn(move || {
                let _ = pass_on(client, target, config, cut, &writes);
            });
        }
    });
    (kubeconfig, writes)
}

/// One request there and its answer back; each has a connection of its own.
fn pass_on(
    mut client: TcpStream,
    target: SocketAddr,
    config: Arc<rustls::ClientConfig>,
    cut: Cut,
    writes: &AtomicUsize,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        assert!(!lower.starts_with("transfer-encoding:"), "{line}");
        if line == "\r\n" {
            break;
        }
        if !lower.starts_with("connection:") && !lower.starts_with("accept-encoding:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let is_write = !head.starts_with("GET ");
    let number = if is_write {
        writes.fetch_add(1, Ordering::SeqCst) + 1
    } else {
        0
    };
    if is_write && matches!(cut, Cut::Before(at) if at == number) {
        return Ok(());
    }
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(config, name).map_err(std::io::Error::other)?;
    let mut server = rustls::StreamOwned::new(connection, TcpStream::connect(target)?);
    server.write_all(head.as_bytes())?;
    server.write_all(b"Connection: close\r\n\r\n")?;
    server.write_all(&body)?;
    server.flush()?;
    let mut answer = Vec::new();
    match server.read_to_end(&mut answer) {
        // The API server need not say farewell.
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    if is_write && matches!(cut, Cut::After(at) if at == number) {
        return Ok(());
    }
    client.write_all(&answer)
}

pub fn survives_cuts(assets: &Path) {
    let cluster = old_cluster(assets);
    let before = state(&cluster);
    let (by_way, writes) = proxy(&cluster, Cut::Never);
    let (code, stdout, stderr) = migrate_by(&cluster, &by_way, "apply");
    assert_eq!(code, 0, "{stdout}{stderr}");
    let count = writes.load(Ordering::SeqCst);
    let after = state(&cluster);
    let back = |when: &str| {
        migrate(&cluster, "rollback");
        assert_eq!(state(&cluster), before, "{when}");
    };
    back("first");
    // The CRDs stay installed, so that their writes are among those of the first run only.
    for at in 1..=count {
        for cut in [Cut::Before(at), Cut::After(at)] {
            let (by_way, _) = proxy(&cluster, cut);
            let (code, stdout, stderr) = migrate_by(&cluster, &by_way, "apply");
            assert!(matches!(code, 0 | 3), "{cut:?}: {stdout}{stderr}");
            // Whatever has been written is in the backup.
            migrate(&cluster, "apply");
            let now = state(&cluster);
            assert_eq!(now, after, "{cut:?}");
            back(&format!("{cut:?}"));
        }
    }
    println!("{count} writes, each cut off before and after");
}

pub fn survives_kills(assets: &Path) {
    const KILLS: u64 = 50;
    let cluster = old_cluster(assets);
    let before = state(&cluster);
    let back = |when: &str| {
        migrate(&cluster, "rollback");
        assert_eq!(state(&cluster), before, "{when}");
    };
    migrate(&cluster, "apply");
    let after = state(&cluster);
    back("first");
    // The CRDs are there from now on: this is how long the others take.
    let started = Instant::now();
    migrate(&cluster, "apply");
    let whole = started.elapsed();
    back("second");
    let mut stopped = 0;
    for kill in 0..KILLS {
        let all = arguments(&cluster, &cluster.plane.kubeconfig, "apply");
        let mut child = Command::new(BINARY)
            .args(&all)
            .current_dir(cluster.plane.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole * u32::try_from(kill).unwrap() / u32::try_from(KILLS).unwrap());
        let _ = child.kill();
        stopped += u64::from(!child.wait().unwrap().success());
        migrate(&cluster, "apply");
        assert_eq!(state(&cluster), after, "kill {kill}");
        back(&format!("kill {kill}"));
    }
    println!("{stopped} of {KILLS} runs were stopped before their end");
    assert!(stopped > KILLS / 3, "{stopped}");
}

/// The new form of chart reference, where its artifact is ready and the namespace knows of its cluster.
pub fn chart_refs(assets: &Path) {
    let cluster = old_cluster(assets);
    let plane = &cluster.plane;
    let crd = repository("testcases/crds/externalartifacts.yaml");
    let crd = crd.display().to_string();
    plane.kubectl(&["apply", "-f", &crd]);
    plane.kubectl(&["wait", "--for=condition=Established", "-f", &crd]);
    let chart = |name: &str| plane.get(&["helmrelease", name, "-n", "tenant-root"])["spec"].clone();
    let before = chart("gizmo-one");
    // Nothing is there yet: the labels are written, the chart stays.
    let said = migrate(&cluster, "apply --chart-refs");
    assert!(
        said.contains("HelmRelease tenant-root/gizmo-one: changed"),
        "{said}"
    );
    assert!(said.contains("cannot be done yet:"), "{said}");
    assert_eq!(chart("gizmo-one"), before);
    let name = "cozystack-gizmo-application-default-gizmo";
    plane.apply(&format!(
        "
apiVersion: source.toolkit.fluxcd.io/v1
kind: ExternalArtifact
metadata: {{name: {name}, namespace: cozy-system}}
spec: {{}}
---
apiVersion: v1
kind: Secret
metadata: {{name: cozystack-values, namespace: tenant-root}}
"
    ));
    let ready = r#"{"status":{"conditions":[{"type":"Ready","status":"True","reason":"Succeeded","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
    plane.kubectl(&[
        "patch",
        "externalartifact",
        name,
        "-n",
        "cozy-system",
        "--subresource=status",
        "--type=merge",
        "-p",
        ready,
    ]);
    migrate(&cluster, "apply --chart-refs");
    let after = chart("gizmo-one");
    assert_eq!(
        after["chartRef"],
        json!({"kind": "ExternalArtifact", "name": name, "namespace": "cozy-system"})
    );
    assert!(after["chart"].is_null(), "{after}");
    assert_eq!(after["valuesFrom"][0]["name"], "cozystack-values");
    assert_eq!(after["values"], before["values"]);
    // The other one's artifact is not there.
    assert!(chart("beacon")["chartRef"].is_null());
    migrate(&cluster, "rollback");
    assert_eq!(chart("gizmo-one"), before);
}

/// What upstream's own job has done by then is no reason to lose anything on the way back.
pub fn back_from_upstreams_job(assets: &Path) {
    let cluster = old_cluster(assets);
    let plane = &cluster.plane;
    let scheduling = |text: &str| {
        plane.apply(&format!(
            "
apiVersion: v1
kind: ConfigMap
metadata: {{name: cozystack-scheduling, namespace: cozy-system}}
data: {{globalAppTopologySpreadConstraints: \"{text}\"}}
"
        ));
    };
    scheduling("topologySpreadConstraints: []");
    let mut before = state(&cluster);
    migrate(&cluster, "apply");
    // Files 22 and 23, the new platform's own rendering, and a tenant who goes on with his work.
    plane.kubectl(&[
        "delete",
        "cozystackresourcedefinitions.v1alpha1.cozystack.io",
        "--all",
    ]);
    plane.kubectl(&[
        "delete",
        "helmrelease",
        "cozystack-resource-definition-crd",
        "-n",
        "cozy-system",
    ]);
    scheduling("|-\\n  topologySpreadConstraints: []");
    let scaled = r#"{"spec":{"values":{"replicas":5}}}"#;
    plane.kubectl(&[
        "patch",
        "helmrelease",
        "gizmo-one",
        "-n",
        "tenant-root",
        "--type=merge",
        "-p",
        scaled,
    ]);
    // A second run does not read back what is the new platform's, and verify misses nothing.
    let (code, stdout, stderr) = migrate_by(&cluster, &plane.kubeconfig, "apply");
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("0 objects written"), "{stdout}");
    let (_, said, _) = migrate_by(&cluster, &plane.kubeconfig, "verify");
    assert!(
        said.contains("but for 1 HelmReleases that somebody has deleted since"),
        "{said}"
    );

    // Of one definition nothing is left but what the migration has made.
    let mut kept: Value =
        serde_json::from_str(&std::fs::read_to_string(backup(&cluster)).unwrap()).unwrap();
    let items = kept["items"].as_array_mut().unwrap();
    items.retain(|item| {
        item["kind"] != "CozystackResourceDefinition" || item["metadata"]["name"] != "beacon"
    });
    std::fs::write(backup(&cluster), kept.to_string()).unwrap();

    let said = migrate(&cluster, "rollback");
    assert!(
        said.contains(
            "HelmRelease cozystack-resource-definition-crd: somebody has deleted it since"
        ),
        "{said}"
    );
    assert!(
        said.contains(
            "ApplicationDefinition beacon: there is no legacy definition beacon any more: it stays"
        ),
        "{said}"
    );
    before.remove(&format!("{} null/\"beacon\"", KINDS[3]));
    before.remove("helmreleases \"cozy-system\"/\"cozystack-resource-definition-crd\"");
    let gizmo = before
        .get_mut("helmreleases \"tenant-root\"/\"gizmo-one\"")
        .unwrap();
    gizmo["spec"]["values"]["replicas"] = json!(5);
    let without_notes = |mut state: BTreeMap<String, Value>| {
        for object in state.values_mut() {
            let annotations = object["metadata"]["annotations"].as_object_mut();
            annotations.map(|annotations| {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration")
            });
        }
        state
    };
    let mut back = state(&cluster);
    assert!(
        back.remove(&format!("{} null/\"beacon\"", KINDS[2]))
            .is_some()
    );
    assert_eq!(without_notes(back), without_notes(before));
    assert!(!backup(&cluster).exists());
}

/// The script asks, and does all of it.
pub fn by_script(assets: &Path) {
    let cluster = old_cluster(assets);
    let plane = &cluster.plane;
    let script = |more: &[&str], answer: &str| {
        let path = format!(
            "{}:{}",
            plane.assets.display(),
            std::env::var("PATH").unwrap()
        );
        let mut child = Command::new(repository("hack/migrate-to-version-1.0.sh"))
            .args(["--kubeconfig", &plane.kubeconfig.display().to_string()])
            .args(target(&cluster))
            .args(more)
            .env("PATH", path)
            .env("COZYSTACK_WEBHOOK", BINARY)
            .env("BACKUP", backup(&cluster))
            .current_dir(plane.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(answer.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code().unwrap(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let revisions = plane.revisions();
    let (code, stdout, stderr) = script(&[], "n\n");
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(
        stdout.contains("[y/N]") && stdout.ends_with("nothing was written\n"),
        "{stdout}"
    );
    assert_eq!(plane.revisions(), revisions);
    let (code, _, stderr) = script(&["--nonsense", "--yes"], "");
    assert_eq!(code, 2, "{stderr}");
    // Values wait for the platform's Packages: verify says so.
    let (code, stdout, stderr) = script(&["--yes", "--stamp"], "");
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(
        stdout.contains("Package cozystack.cozystack-platform: made"),
        "{stdout}"
    );
    assert!(
        stdout.contains("WRONG  1 things cannot be done yet"),
        "{stdout}"
    );
    assert!(backup(&cluster).exists());
    let (code, stdout, stderr) = script(&["--stamp"], "");
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.ends_with("nothing is to be written\n"), "{stdout}");
}

/// Somebody else writes all the time, and somebody refuses.
pub fn beside_others(assets: &Path) {
    let cluster = old_cluster(assets);
    let plane = &cluster.plane;
    // Nobody answers, so that every update of a release is refused; everything else is done.
    plane.apply(
        "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: nobody}
webhooks:
- name: nobody.example.org
  clientConfig: {service: {namespace: cozy-webhook, name: nobody}}
  rules: [{apiGroups: [helm.toolkit.fluxcd.io], apiVersions: ['*'], operations: [UPDATE], resources: [helmreleases]}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: tenant-root}}
  failurePolicy: Fail
  sideEffects: None
  admissionReviewVersions: [v1]
",
    );
    let denied = |name: &str| {
        let args = [
            "label",
            "--dry-run=server",
            "helmrelease",
            name,
            "-n",
            "tenant-root",
            "x=y",
        ];
        !plane.kubectl_with(&args, "").0
    };
    eventually("it is refused", || denied("beacon"));
    let (code, stdout, stderr) = migrate_by(&cluster, &plane.kubeconfig, "apply");
    assert_eq!(code, 3, "{stdout}{stderr}");
    for name in ["beacon", "gizmo-one"] {
        assert!(
            stderr.contains(&format!("HelmRelease tenant-root/{name}: ")),
            "{stderr}"
        );
    }
    assert!(stderr.contains("nobody.example.org"), "{stderr}");
    assert!(
        stdout.contains("ApplicationDefinition gizmo: made"),
        "{stdout}"
    );
    plane.kubectl(&["delete", "validatingwebhookconfiguration", "nobody"]);
    eventually("it is not refused any more", || !denied("beacon"));
    // Others annotate the same objects as fast as they can.
    let is_over = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut rounds = 0;
            while !is_over.load(Ordering::SeqCst) {
                rounds += 1;
                let annotation = format!("example.org/round={rounds}");
                plane.kubectl(&[
                    "annotate",
                    "--overwrite",
                    "helmrelease",
                    "--all",
                    "-n",
                    "tenant-root",
                    &annotation,
                ]);
            }
            rounds
        });
        migrate(&cluster, "apply");
        is_over.store(true, Ordering::SeqCst);
        writer.join().unwrap()
    });
    assert!(rounds > 0);
    for name in ["beacon", "gizmo-one"] {
        let release = plane.get(&["helmrelease", name, "-n", "tenant-root"]);
        let metadata = &release["metadata"];
        assert_eq!(
            metadata["annotations"]["example.org/round"],
            rounds.to_string()
        );
        assert!(metadata["labels"]["apps.cozystack.io/application.kind"].is_string());
    }
}

/// What upstream's file 23 does: the release of the legacy CRD goes, and nothing else may.
pub fn crd_outlives_its_release(assets: &Path) {
    const RELEASE: &str = "cozystack-resource-definition-crd";
    let mut cluster = Cluster::bare(assets);
    cluster.plane.start_controllers();
    cluster.add_services();
    let mut flux = Flux::install(&cluster.plane);
    cluster.plane.apply(CONFIGURATION);
    let crd = repository("webhooks/crds/cozystackresourcedefinitions.yaml");
    let crd = std::fs::read_to_string(crd).unwrap();
    let chart = format!("apiVersion: v2\nname: {RELEASE}\nversion: 0.1.0\n");
    let files = [
        ("Chart.yaml", chart.as_str()),
        ("templates/crd.yaml", crd.as_str()),
    ];
    flux.chart(&cluster.plane, "cozy-system", "legacy-crd", &files);
    flux.start_helm_controller(&cluster.plane);
    let plane = &cluster.plane;
    plane.apply(&format!(
        "
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: {RELEASE}, namespace: cozy-system}}
spec: {{interval: 1h, chartRef: {{kind: ExternalArtifact, name: legacy-crd, namespace: cozy-system}}}}
"
    ));
    let release = Subject::helm_release("cozy-system", RELEASE);
    release.wait_ready(plane);
    let legacy = "crd/cozystackresourcedefinitions.cozystack.io";
    plane.kubectl(&["wait", "--for=condition=Established", legacy]);
    let gizmo = repository("testcases/manifests/gizmo.yaml")
        .display()
        .to_string();
    plane.kubectl(&["apply", "-f", &gizmo]);

    migrate(&cluster, "apply");
    assert_eq!(release.get(plane)["spec"]["suspend"], true);
    let uid = |what: &[&str]| plane.get(what)["metadata"]["uid"].clone();
    let object = [
        "cozystackresourcedefinitions.v1alpha1.cozystack.io",
        "gizmo",
    ];
    let before = (uid(&[legacy]), uid(&object));
    release.delete(plane);
    eventually("the release is gone", || {
        let args = ["get", "helmrelease", RELEASE, "-n", "cozy-system"];
        !plane.kubectl_with(&args, "").0
    });
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!((uid(&[legacy]), uid(&object)), before);
    assert!(!plane.get(&["applicationdefinitions", "gizmo"]).is_null());
}

pub fn is_bounded(assets: &Path) {
    const DEFINITIONS: usize = 2_000;
    const RELEASES: usize = 5_000;
    let cluster = old_cluster(assets);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(fill(&cluster, DEFINITIONS, RELEASES));
    let started = Instant::now();
    let child = Command::new(BINARY)
        .args(arguments(&cluster, &cluster.plane.kubeconfig, "apply"))
        .current_dir(cluster.plane.folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let peak = std::thread::spawn(move || {
        let mut peak = 0_u64;
        while let Ok(text) = std::fs::read_to_string(&status) {
            let line = text.lines().find(|line| line.starts_with("VmHWM:"));
            let Some(kib) = line.and_then(|line| line.split_whitespace().nth(1)) else {
                break;
            };
            peak = peak.max(kib.parse().unwrap());
            std::thread::sleep(Duration::from_millis(200));
        }
        peak / 1024
    });
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let peak = peak.join().unwrap();
    let took = started.elapsed();
    println!("2000 definitions and 5000 releases in {took:?}, {peak} MiB");
    // All of them are in memory once, with what is planned for them.
    assert!(peak < 600, "{peak} MiB");
    assert!(stderr.contains(" written"), "no progress: {stderr}");
    assert!(stdout.lines().count() > DEFINITIONS + RELEASES);
    let plane = &cluster.plane;
    let labelled = plane.kubectl(&[
        "get",
        "helmreleases",
        "-n",
        "tenant-root",
        "-l",
        "apps.cozystack.io/application.kind",
        "-o",
        "name",
    ]);
    assert_eq!(labelled.lines().count(), RELEASES + 2);
    let revisions = plane.revisions();
    let said = migrate(&cluster, "apply");
    assert!(said.starts_with("0 objects written"), "{said}");
    assert_eq!(plane.revisions(), revisions);
}

/// Many legacy definitions, and releases of theirs.
async fn fill(cluster: &Cluster, definitions: usize, releases: usize) {
    use futures::StreamExt as _;
    use kube::api::{Api, DynamicObject, PostParams};
    use kube::core::{ApiResource, GroupVersionKind};
    let client = cluster.plane.client().await;
    let kind = |group: &str, version: &str, kind: &str| {
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
    };
    let of_definitions: Api<DynamicObject> = Api::all_with(
        client.clone(),
        &kind("cozystack.io", "v1alpha1", "CozystackResourceDefinition"),
    );
    let of_releases: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        "tenant-root",
        &kind("helm.toolkit.fluxcd.io", "v2", "HelmRelease"),
    );
    let made = (0..definitions).map(|number| {
        let name = format!("kind{number}");
        json!({
            "apiVersion": "cozystack.io/v1alpha1", "kind": "CozystackResourceDefinition",
            "metadata": {"name": name},
            "spec": {
                "application": {
                    "kind": format!("Kind{number}"), "plural": format!("{name}s"), "singular": name, "openAPISchema": "",
                },
                "release": {
                    "prefix": format!("{name}-"),
                    "chart": {"name": name, "sourceRef": {"name": "cozystack-apps"}},
                },
            },
        })
    });
    let installed = (0..releases).map(|number| {
        let chart = format!("kind{}", number % definitions);
        json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": format!("{chart}-{number}"), "namespace": "tenant-root"},
            "spec": {
                "chart": {"spec": {
                    "chart": chart,
                    "sourceRef": {"kind": "HelmRepository", "name": "cozystack-apps", "namespace": "cozy-public"},
                }},
                "values": {"text": "x".repeat(2_000)},
            },
        })
    });
    let all = made.map(|object| (&of_definitions, object));
    let all = all.chain(installed.map(|object| (&of_releases, object)));
    let parameters = PostParams::default();
    futures::stream::iter(all)
        .map(|(api, object)| {
            let object = serde_json::from_value(object).unwrap();
            let parameters = &parameters;
            async move { api.create(parameters, &object).await.unwrap() }
        })
        .buffer_unordered(32)
        .for_each(|_| async {})
        .await;
}

/// What cannot be done is said, and changes nothing.
pub fn says_what_is_wrong(assets: &Path) {
    let cluster = old_cluster(assets);
    let plane = &cluster.plane;
    // Of another age.
    plane.kubectl(&[
        "patch",
        "configmap",
        "cozystack-version",
        "-n",
        "cozy-system",
        "-p",
        r#"{"data":{"version":"12"}}"#,
    ]);
    let revisions = plane.revisions();
    let (code, _, stderr) = migrate_by(&cluster, &plane.kubeconfig, "apply");
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("12"), "{stderr}");
    assert_eq!(plane.revisions(), revisions);
    plane.kubectl(&[
        "patch",
        "configmap",
        "cozystack-version",
        "-n",
        "cozy-system",
        "-p",
        r#"{"data":{"version":"21"}}"#,
    ]);
    // No backup, no write.
    let revisions = plane.revisions();
    std::fs::create_dir(backup(&cluster)).unwrap();
    let (code, _, stderr) = migrate_by(&cluster, &plane.kubeconfig, "apply");
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("backup"), "{stderr}");
    assert_eq!(plane.revisions(), revisions);
    std::fs::remove_dir(backup(&cluster)).unwrap();
    // Somebody who may only read.
    plane.apply(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
- apiGroups: [cozystack.io, helm.toolkit.fluxcd.io, source.toolkit.fluxcd.io]
  resources: ['*']
  verbs: [get, list]
- apiGroups: ['']
  resources: [configmaps]
  verbs: [get]
",
    );
    plane.kubectl(&[
        "create",
        "clusterrolebinding",
        "reader-more",
        "--clusterrole=reader",
        "--user=reader",
    ]);
    let revisions = plane.revisions();
    let text = std::fs::read_to_string(&plane.kubeconfig).unwrap();
    let reader = plane.folder.path().join("reader");
    std::fs::write(
        &reader,
        text.replace("user: {client", "user: {as: reader, client"),
    )
    .unwrap();
    let (code, stdout, stderr) = migrate_by(&cluster, &reader, "apply");
    assert_eq!(code, 3, "{stdout}{stderr}");
    assert!(stderr.contains("forbidden"), "{stderr}");
    assert_eq!(plane.revisions(), revisions);
    // What stands alone and cannot be written keeps nothing else away.
    let file = repository("testcases/manifests/thing.yaml");
    plane.kubectl(&["apply", "-f", &file.display().to_string()]);
    let (code, stdout, stderr) = migrate_by(&cluster, &plane.kubeconfig, "apply");
    assert_eq!(code, 3, "{stdout}{stderr}");
    assert!(
        stderr.contains("HelmChart acme-system/cozystack-thing"),
        "{stderr}"
    );
    assert!(
        stdout.contains("HelmRelease tenant-root/gizmo-one: changed"),
        "{stdout}"
    );
    let (code, stdout, stderr) = migrate_by(&cluster, &reader, "plan");
    assert_eq!(code, 0, "{stdout}{stderr}");
}
