//! Values of Packages against charts that are served on loopback, by an honest storage and by a dishonest one.

use crate::support::artifacts::{Answer, Artifact, Artifacts, archive};
use crate::support::broken::{self, Subject};
use crate::support::flux::put_external_artifact;
use crate::support::http;
use crate::support::plane::Plane;
use crate::{Cluster, eventually, eventually_within, repository};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "cozy-system";

const SCHEMA: &str = r##"{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "additionalProperties": false,
  "required": ["host"],
  "properties": {
    "host": {"type": "string", "pattern": "^[a-z.]+$"},
    "replicas": {"type": "integer", "minimum": 1, "maximum": 9},
    "mode": {"enum": ["small", "large"]},
    "storage": {"type": "object", "properties": {"pools": {"type": "array", "items": {
      "type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "size": {"$ref": "#/definitions/size"}}}}}},
    "gadget": {},
    "global": {}
  },
  "definitions": {"size": {"type": "string", "pattern": "^[0-9]+Gi$"}}
}"##;

/// What `helm package` makes of a chart with a subchart, both with a schema.
fn chart(plane: &Plane, version: &str, schema: &str) -> Vec<u8> {
    let folder = plane.folder.path().join("charts");
    let _ = std::fs::remove_dir_all(&folder);
    let write = |path: &str, text: &str| {
        let path = folder.join("operator").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "Chart.yaml",
        &format!(
            "apiVersion: v2\nname: operator\nversion: {version}\ndependencies: [{{name: gadget, version: 1.x}}]\n"
        ),
    );
    write("values.yaml", "host: a.b\nreplicas: 1\n");
    write("values.schema.json", schema);
    write("templates/x.yaml", "kind: {{ .Values.replicas }}\n");
    write(
        "charts/gadget/Chart.yaml",
        "apiVersion: v2\nname: gadget\nversion: 1.2.3\n",
    );
    write(
        "charts/gadget/values.schema.json",
        r#"{"properties": {"ports": {"additionalProperties": {"type": "integer"}}}}"#,
    );
    plane.helm(&[
        "package",
        &folder.join("operator").display().to_string(),
        "--destination",
        &folder.display().to_string(),
    ]);
    std::fs::read(folder.join(format!("operator-{version}.tgz"))).unwrap()
}

fn announce(plane: &Plane, name: &str, artifact: &Artifact) {
    put_external_artifact(plane, NAMESPACE, name, artifact);
}

/// A source with one installed component, whose artifact is `<name>-default-<name>` with dashes for dots.
fn source(name: &str) -> String {
    json!({
        "apiVersion": "cozystack.io/v1alpha1", "kind": "PackageSource", "metadata": {"name": name},
        "spec": {
            "sourceRef": {"kind": "OCIRepository", "name": "packages", "namespace": NAMESPACE, "path": "/"},
            "variants": [{"name": "default", "components": [{"name": name, "path": format!("system/{name}"), "install": {"namespace": NAMESPACE}}]}],
        },
    })
    .to_string()
}

fn package(name: &str, values: &Value) -> String {
    json!({
        "apiVersion": "cozystack.io/v1alpha1", "kind": "Package", "metadata": {"name": name},
        "spec": {"components": {name: {"values": values}}},
    })
    .to_string()
}

fn readyz(cluster: &Cluster) -> String {
    let (_, text) = http::plain(cluster.setup.probes, "GET", "/readyz?verbose", "").unwrap();
    text
}

fn install_artifact_crd(plane: &Plane) {
    let crd = repository("testcases/crds/externalartifacts.yaml");
    plane.apply(&std::fs::read_to_string(crd).unwrap());
    plane.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/externalartifacts.source.toolkit.fluxcd.io",
    ]);
}

/// What comes in the way of kubectl, and how it is refused.
pub fn are_refused(assets: &Path) {
    let cluster = Cluster::bare(assets);
    cluster.add_services();
    cluster.install_crds();
    let plane = &cluster.plane;
    install_artifact_crd(plane);
    plane.kubectl(&["create", "namespace", NAMESPACE]);
    let artifacts = Artifacts::start();
    cluster.set(&format!(
        "package.artifact-hosts: \"{}\"",
        artifacts.address
    ));
    let bytes = chart(plane, "0.1.0", SCHEMA);
    announce(
        plane,
        "cozystack-gizmo-default-operator",
        &artifacts.put("operator.tgz", &bytes),
    );
    plane.apply(&broken::source().to_string());
    plane.apply(&broken::package().to_string());
    plane.apply(&broken::platform().to_string());
    cluster.add_webhooks();
    let _service = cluster.serve();
    // Ready means that the chart of an existing Package is known.
    let text = readyz(&cluster);
    assert!(
        text.contains(
            "chart/cozystack-gizmo-default-operator: ready: operator 0.1.0, 2 schemas, sha256:"
        ),
        "{text}"
    );
    assert_eq!(artifacts.requests("operator.tgz"), 1);

    let values = |pointer: &'static str, value: Value, field: &'static str| {
        (Subject::Package, pointer, value, field)
    };
    let mut rows = broken::rows();
    rows.extend([
        values(
            "/spec/components/operator/values",
            json!({"replicas": "2"}),
            "spec.components.operator.values.replicas",
        ),
        values(
            "/spec/components/operator/values",
            json!({"replicas": 10}),
            "spec.components.operator.values.replicas",
        ),
        values(
            "/spec/components/operator/values",
            json!({"replicas": 1.5}),
            "spec.components.operator.values.replicas",
        ),
        values(
            "/spec/components/operator/values",
            json!({"replica": 1}),
            "spec.components.operator.values.replica",
        ),
        values(
            "/spec/components/operator/values",
            json!({"host": null}),
            "spec.components.operator.values.host",
        ),
        values(
            "/spec/components/operator/values",
            json!({"host": "A"}),
            "spec.components.operator.values.host",
        ),
        values(
            "/spec/components/operator/values",
            json!({"mode": "medium"}),
            "spec.components.operator.values.mode",
        ),
        values(
            "/spec/components/operator/values",
            json!({"storage": []}),
            "spec.components.operator.values.storage",
        ),
        values(
            "/spec/components/operator/values",
            json!({"storage": {"pools": [{"name": "a"}, {"name": 5}]}}),
            "spec.components.operator.values.storage.pools[1].name",
        ),
        values(
            "/spec/components/operator/values",
            json!({"storage": {"pools": [{"size": "1Gi"}]}}),
            "spec.components.operator.values.storage.pools[0].name",
        ),
        values(
            "/spec/components/operator/values",
            json!({"storage": {"pools": [{"name": "a", "size": "1G"}]}}),
            "spec.components.operator.values.storage.pools[0].size",
        ),
        values(
            "/spec/components/operator/values",
            json!({"gadget": {"ports": {"http": "80"}}}),
            "spec.components.operator.values.gadget.ports.http",
        ),
        values(
            "/spec/components/operator/values",
            json!({"gadget": 5}),
            "spec.components.operator.values.gadget",
        ),
    ]);
    assert!(rows.len() >= 60, "{}", rows.len());
    for (number, (subject, pointer, value, field)) in rows.iter().enumerate() {
        let object = broken::edited(&broken::right(*subject), pointer, value);
        let text = object.to_string();
        let name = object["metadata"]["name"].as_str().unwrap();
        let kind = object["kind"].as_str().unwrap().to_ascii_lowercase();
        // An API server refuses what has no place in the schema before it asks anybody.
        let patch = json!([{"op": "add", "path": pointer, "value": value}]).to_string();
        let (success, stdout, stderr) = match number % 5 {
            0 => plane.kubectl_with(&["create", "-f", "-"], &text),
            1 => plane.kubectl_with(&["apply", "-f", "-"], &text),
            2 => plane.kubectl_with(&["patch", &kind, name, "--type=json", "-p", &patch], ""),
            3 => plane.kubectl_with(
                &[
                    "apply",
                    "--server-side",
                    "--force-conflicts",
                    "--field-manager=me",
                    "-f",
                    "-",
                ],
                &text,
            ),
            _ => plane.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &text),
        };
        assert!(!success, "{pointer} {value}: {stdout}");
        let head = format!(
            "The {} {name:?} is invalid: ",
            object["kind"].as_str().unwrap()
        );
        assert!(stderr.contains(&head), "{pointer} {value}: {stderr}");
        assert!(
            stderr.contains(&format!("{field}: ")),
            "{pointer} {value}: {field}: {stderr}"
        );
    }
    // Whole sentences, all at once.
    let bad = broken::edited(
        &broken::package(),
        "/spec/components/operator/values",
        &json!({"replica": 1, "storage": {"pools": [{"name": 5}]}, "mode": "larg"}),
    );
    let (_, _, stderr) = plane.kubectl_with(&["apply", "-f", "-"], &bad.to_string());
    for sentence in [
        r#"spec.components.operator.values.replica: Forbidden: the schema knows no such name; did you mean "replicas"? (to insist"#,
        "spec.components.operator.values.storage.pools[0].name: Invalid value: 5: must be a string (to insist",
        r#"spec.components.operator.values.mode: Unsupported value: "larg": supported values: "small", "large" (to insist"#,
    ] {
        assert!(stderr.contains(sentence), "{stderr}");
    }
    // The writer may insist; what is bad by then stays editable, but gets no worse.
    let mut insisting = bad.clone();
    insisting["metadata"]["annotations"] = json!({"webhook.cozystack.io/allow": "package"});
    plane.apply(&insisting.to_string());
    let (success, _, stderr) = plane.kubectl_with(
        &[
            "annotate",
            "package",
            "cozystack.gizmo",
            "webhook.cozystack.io/allow-",
            "example.org/a=b",
            "--overwrite",
        ],
        "",
    );
    assert!(success, "{stderr}");
    plane.kubectl(&[
        "annotate",
        "package",
        "cozystack.gizmo",
        "webhook.cozystack.io/allow-",
    ]);
    let (success, _, stderr) =
        plane.kubectl_with(&["label", "package", "cozystack.gizmo", "a=b"], "");
    assert!(
        success
            && stderr.contains(
                "Warning: spec.components.operator.values.storage.pools[0].name: Invalid value: 5"
            ),
        "{stderr}"
    );
    let worse = broken::edited(&bad, "/spec/components/operator/values/replicas", &json!(0));
    let (success, _, stderr) = plane.kubectl_with(&["apply", "-f", "-"], &worse.to_string());
    assert!(
        !success && stderr.contains("values.replicas: Invalid value: 0: must be at least 1"),
        "{stderr}"
    );
    assert!(
        !stderr.contains("Error: spec.components.operator.values.mode"),
        "{stderr}"
    );
    plane.apply(&broken::package().to_string());
    let (success, _, stderr) =
        plane.kubectl_with(&["delete", "packagesource", "cozystack.gizmo"], "");
    assert!(
        success && stderr.contains("Warning: Package cozystack.gizmo still exists"),
        "{stderr}"
    );
    plane.kubectl(&["delete", "package", "cozystack.gizmo"]);
    // The platform, in both forms.
    for variant in ["isp-hosted", "isp-full"] {
        let mut platform = broken::platform();
        platform["spec"]["variant"] = variant.into();
        let system = json!({"enabled": true});
        let platform = broken::edited(
            &platform,
            "/spec/components/platform/values/bundles/system",
            &system,
        );
        plane.apply(&platform.to_string());
    }

    // What a release ships goes in with a Package for every variant, and nothing of it is refused.
    let real = repository("../shared/data/packagesources-v1.0.0-alpha.1");
    if real.is_dir() {
        plane.kubectl(&["delete", "packages", "--all"]);
        plane.kubectl(&["apply", "-f", &real.display().to_string()]);
        let list = plane.get(&["packagesources"]);
        let mut made = 0;
        for source in list["items"].as_array().unwrap() {
            for variant in source["spec"]["variants"].as_array().unwrap() {
                let package = json!({
                    "apiVersion": "cozystack.io/v1alpha1", "kind": "Package",
                    "metadata": {"name": source["metadata"]["name"]}, "spec": {"variant": variant["name"]},
                });
                let (success, _, stderr) =
                    plane.kubectl_with(&["create", "-f", "-"], &package.to_string());
                assert!(success, "{package}: {stderr}");
                plane.kubectl(&[
                    "delete",
                    "package",
                    package["metadata"]["name"].as_str().unwrap(),
                    "--wait=false",
                ]);
                made += 1;
            }
        }
        assert!(made >= 75, "{made}");
    }
}

/// Charts that change, and a storage that cannot be trusted.
pub fn follow_their_charts(assets: &Path) {
    let cluster = Cluster::bare(assets);
    cluster.add_services();
    cluster.install_crds();
    let plane = &cluster.plane;
    install_artifact_crd(plane);
    plane.kubectl(&["create", "namespace", NAMESPACE]);
    let artifacts = Artifacts::start();
    let elsewhere = Artifacts::start();
    let hosts = format!("package.artifact-hosts: \"{}\"", artifacts.address);
    cluster.set(&hosts);
    let put = |name: &str, artifact: &Artifact| {
        plane.apply(&source(name));
        announce(plane, &format!("{name}-default-{name}"), artifact);
    };
    let honest = |name: &str, content: &[u8]| artifacts.put(&format!("{name}.tgz"), content);
    let good = chart(plane, "0.1.0", SCHEMA);
    put("good", &honest("good", &good));
    put("same", &honest("same", &good));
    // What is known by its digest is not fetched again, so the others have bytes of their own.
    let other = chart(plane, "0.1.1", SCHEMA);
    put("chunked", &honest("chunked", &other));
    artifacts.answer("chunked.tgz", Answer::Chunks(other.as_slice().into()));
    let other = chart(plane, "0.1.2", SCHEMA);

    // Each is refused for its own reason.
    let mut lying = honest("liar", &good);
    lying.digest = format!("sha256:{}", "0".repeat(64));
    put("liar", &lying);
    put("redirect", &honest("redirect", &other));
    let target = elsewhere.put("target.tgz", &other);
    artifacts.answer("redirect.tgz", Answer::Redirect(target.url.clone()));
    put("elsewhere", &target);
    put("missing", &artifacts.artifact("missing.tgz", &other));
    put("stall", &honest("stall", &other));
    artifacts.answer("stall.tgz", Answer::Stall);
    put("large", &honest("large", &vec![0; 21 << 20]));
    artifacts.answer("large.tgz", Answer::Chunks(vec![0; 21 << 20].into()));
    put("bomb", &honest("bomb", &bomb()));
    put("link", &honest("link", &link()));
    put("outside", &honest("outside", &outside()));
    put("text", &honest("text", b"no archive"));
    put(
        "nochart",
        &honest("nochart", &archive(&[("x/values.yaml", "a: 1\n")])),
    );
    plane.apply(&source("nothing"));
    plane.apply(&package("good", &json!({"replicas": 2})));
    cluster.add_webhooks();
    let mut service = cluster.serve();
    let wrong = package("good", &json!({"replicas": 0}));
    let refused = |sentence: &str, object: &str| {
        let (success, _, stderr) =
            plane.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], object);
        !success && stderr.contains(sentence)
    };
    // Already at the first answer.
    assert!(refused("values.replicas: Invalid value: 0", &wrong));
    for (name, said) in [
        ("good", "ready: operator 0.1.0, 2 schemas"),
        ("same", "ready: operator 0.1.0, 2 schemas"),
        ("chunked", "ready: operator 0.1.1, 2 schemas"),
        ("liar", "failed: its archive has the digest sha256:"),
        ("redirect", "answers 302, and redirects are not followed"),
        (
            "elsewhere",
            "is none of the hosts in setting package.artifact-hosts",
        ),
        ("missing", "answers 404"),
        ("stall", "failed: its archive takes longer than 30 s"),
        ("large", "failed: its archive has more than 20971520 bytes"),
        ("bomb", "more than 5242880"),
        ("link", "is a symbolic link"),
        ("outside", "leads out of the chart"),
        ("text", "failed: not an archive that can be read"),
        ("nochart", "failed: Chart.yaml is missing"),
        ("nothing", "pending: its artifact is not there yet"),
    ] {
        let line = format!("chart/{name}-default-{name}: ");
        eventually_within(60, &format!("{name}: {said}"), || {
            let text = readyz(&cluster);
            let found = text.lines().find(|text| text.contains(&line));
            found.is_some_and(|found| found.starts_with("[+]") && found.contains(said))
        });
    }
    assert!(elsewhere.heads().is_empty(), "{:?}", elsewhere.heads());
    for head in artifacts.heads() {
        let head = head.to_ascii_lowercase();
        assert!(
            head.starts_with("get /")
                && !head.contains("authorization")
                && !head.contains("cookie"),
            "{head}"
        );
    }
    // `good` is needed, so it came first.
    assert_eq!(
        (
            artifacts.requests("good.tgz"),
            artifacts.requests("same.tgz")
        ),
        (1, 0)
    );
    let (_, text) = http::plain(cluster.setup.metrics, "GET", "/metrics", "").unwrap();
    assert!(
        text.contains(r#"cozystack_webhook_values_schemas{source="chart",state="ready"} 3"#)
            && text
                .contains(r#"cozystack_webhook_values_schemas{source="chart",state="failed"} 11"#),
        "{text}"
    );

    // What cannot be checked is said, or refused.
    let unchecked = package("liar", &json!({"replicas": 0}));
    let (success, _, stderr) =
        plane.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &unchecked);
    assert!(
        success
            && stderr
                .contains("Warning: values of liar are not checked: its archive has the digest"),
        "{stderr}"
    );
    cluster.set(&format!("{hosts}, package.strict: \"true\""));
    eventually("strict", || {
        refused(
            "spec.components.liar.values: Forbidden: cannot be checked, and settings are strict: ",
            &unchecked,
        )
    });
    cluster.set(&hosts);

    // A new version counts as soon as it is there; the old one does not any more.
    let looser = SCHEMA
        .replace(r#""minimum": 1, "#, "")
        .replace(r#"["small", "large"]"#, r#"["huge"]"#);
    let next = chart(plane, "0.2.0", &looser);
    announce(
        plane,
        "good-default-good",
        &artifacts.put("good-2.tgz", &next),
    );
    eventually("the new chart counts", || {
        plane
            .kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &wrong)
            .0
            && refused(
                r#"supported values: "huge""#,
                &package("good", &json!({"mode": "small"})),
            )
    });
    // A storage that mends its ways is believed.
    announce(
        plane,
        "liar-default-liar",
        &artifacts.put("liar.tgz", &good),
    );
    eventually("an honest artifact counts", || {
        refused("values.replicas: Invalid value: 0", &unchecked)
    });
    // Other hosts are asked once the settings name them.
    cluster.set(&format!(
        "package.artifact-hosts: \"{},{}\"",
        artifacts.address, elsewhere.address
    ));
    eventually("another host is asked", || {
        refused(
            "values.replicas: Invalid value: 0",
            &package("elsewhere", &json!({"replicas": 0})),
        )
    });
    assert_eq!(elsewhere.requests("target.tgz"), 1);
    // A storage that is away changes nothing.
    drop(elsewhere);
    let requests = artifacts.requests("good-2.tgz");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(artifacts.requests("good-2.tgz"), requests);

    // Operators' own schemas, where they may stand.
    let own = |namespace: &str, text: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "schemas", "namespace": namespace, "labels": {"webhook.cozystack.io/values-schema": "good"}},
            "data": {"good.json": text},
        })
        .to_string()
    };
    // Not what the Package has already: that would be an old sin.
    let few = package("good", &json!({"replicas": 1}));
    let stricter = r#"{"properties": {"replicas": {"minimum": 3}}}"#;
    plane.apply(&own("default", stricter));
    plane.apply(&own(
        "cozy-webhook",
        r#"{"properties": {"replicas": {"maximum": 5}}}"#,
    ));
    eventually("ours counts", || {
        refused(
            "must be at most 5 (ConfigMap cozy-webhook/schemas, key good.json)",
            &package("good", &json!({"replicas": 6})),
        )
    });
    assert!(
        plane
            .kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &few)
            .0
    );
    plane.apply(&own(NAMESPACE, stricter));
    eventually("the platform's counts", || {
        refused(
            "must be at least 3 (ConfigMap cozy-system/schemas, key good.json)",
            &few,
        )
    });
    assert!(
        readyz(&cluster).contains(
            "values-schema/good/good: ready: ConfigMap cozy-system/schemas, key good.json"
        )
    );
    plane.apply(&own(NAMESPACE, "{"));
    eventually("a broken one is named", || {
        readyz(&cluster).contains("values-schema/good/good: failed: ConfigMap cozy-system/schemas, key good.json: is no JSON")
    });
    plane.kubectl(&[
        "label",
        "configmap",
        "schemas",
        "-n",
        NAMESPACE,
        "webhook.cozystack.io/values-schema-",
    ]);
    eventually("without its label it is none", || {
        !readyz(&cluster).contains("ConfigMap cozy-system/schemas")
    });

    // At start the charts of existing Packages are waited for, but not for ever.
    plane.apply(&package("stall", &json!({})));
    let (_, polite) = service.terminate();
    assert!(polite);
    let started = Instant::now();
    let kubeconfig = cluster.plane.kubeconfig.display().to_string();
    let mut service = cluster.setup.start(&["--kubeconfig", &kubeconfig]);
    std::thread::sleep(Duration::from_secs(8));
    let text = readyz(&cluster);
    assert!(
        text.contains("[-] charts: the charts of Packages are being fetched"),
        "{text}"
    );
    assert!(text.contains("chart/good-default-good: ready"), "{text}");
    service.wait_until(|| cluster.setup.is_ready());
    let waited = started.elapsed();
    assert!(
        (Duration::from_secs(20)..Duration::from_secs(40)).contains(&waited),
        "{waited:?}"
    );
}

/// A megabyte that becomes a gigabyte.
fn bomb() -> Vec<u8> {
    use std::io::Write as _;
    let mut header = tar::Header::new_gnu();
    header.set_path("x/values.yaml").unwrap();
    header.set_size(1 << 30);
    header.set_mode(0o644);
    header.set_cksum();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(header.as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..256 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}

fn entry(name: &str, kind: tar::EntryType) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(0);
    header.set_mode(0o644);
    if kind == tar::EntryType::Symlink {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(encoder);
    builder.append(&header, std::io::empty()).unwrap();
    builder.into_inner().unwrap().finish().unwrap()
}

fn link() -> Vec<u8> {
    entry("x/values.yaml", tar::EntryType::Symlink)
}

fn outside() -> Vec<u8> {
    entry("x/../../values.yaml", tar::EntryType::Regular)
}
