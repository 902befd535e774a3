//! The command line as people and CI use it: what it prints, and its exit codes.

#![allow(
    missing_docs,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::service;

fn run(arguments: &[&str], input: &str) -> (i32, String, String) {
    service::run(arguments, Path::new(env!("CARGO_MANIFEST_DIR")), input)
}

const GOOD: &str = "apiVersion: cozystack.io/v1alpha1
kind: ApplicationDefinition
metadata: {name: gizmo}
spec:
  application: {kind: Gizmo, plural: gizmos, singular: gizmo, openAPISchema: ''}
  release: {prefix: gizmo-, chartRef: {kind: HelmChart, name: gizmo, namespace: cozy-system}}
";

#[test]
fn review_says_what_a_cluster_would_say() {
    let bad = GOOD
        .replace("kind: Gizmo", "kind: gizmo")
        .replace("kind: HelmChart", "kind: Chart")
        .replace("prefix:", "typo: 1, prefix:");
    let input = format!(
        "{GOOD}---\n{bad}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x, namespace: team}}\n"
    );
    let (code, stdout, stderr) = run(&["review", "-"], &input);
    assert_eq!(code, 1, "{stderr}");
    assert_eq!(
        stdout,
        "allowed      ApplicationDefinition gizmo  (-:1)
refused      ApplicationDefinition gizmo  422 Invalid  (-:8)
  spec.release.chartRef.kind: Unsupported value: \"Chart\": supported values: \"OCIRepository\", \"HelmChart\", \"ExternalArtifact\"  [crd-schema]
  spec.release.typo: Forbidden: unknown field  [crd-schema]
  spec.application.kind: Invalid value: \"gizmo\": must be letters and digits, start with a capital, and be no more than 63 bytes  [application-definition]
  spec.release.chartRef.kind: Unsupported value: \"Chart\": supported values: \"OCIRepository\", \"HelmChart\", \"ExternalArtifact\"  [application-definition]
not covered  ConfigMap team/x  (-:15)
1 allowed, 1 refused, 1 not covered
"
    );
    let (code, _, _) = run(&["review", "-"], GOOD);
    assert_eq!(code, 0);
    let config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n";
    assert_eq!(run(&["review", "-"], config_map).0, 0);
    assert_eq!(run(&["review", "--strict", "-"], config_map).0, 1);
}

#[test]
fn flux_is_told_what_may_change() {
    let (code, stdout, stderr) = run(&["manifests", "--flux-ignore", "-o", "json"], "");
    assert_eq!(code, 0, "{stderr}");
    let printed: Value = serde_json::from_str(&stdout).unwrap();
    let rules = printed["spec"]["driftDetection"]["ignore"]
        .as_array()
        .unwrap();
    let paths = |kind: &str| -> Vec<&str> {
        let of_kind = rules.iter().filter(|rule| rule["target"]["kind"] == kind);
        of_kind
            .flat_map(|rule| rule["paths"].as_array().unwrap())
            .map(|path| path.as_str().unwrap())
            .collect()
    };
    assert_eq!(
        paths("VirtualMachine"),
        ["/metadata/annotations/webhook.cozystack.io~1vm-fqdn"]
    );
    let bundles = paths("MutatingWebhookConfiguration");
    assert!(bundles.contains(&"/webhooks/0/clientConfig/caBundle"));
    assert!(
        bundles
            .iter()
            .all(|path| path.ends_with("/clientConfig/caBundle"))
    );
    assert_eq!(
        paths("HelmRelease"),
        ["/metadata/labels/sharding.fluxcd.io~1key", "/spec/suspend"]
    );
    // What is completed again at every write is not hidden.
    for kind in ["Namespace", "CiliumClusterwideNetworkPolicy"] {
        assert!(paths(kind).is_empty(), "{kind}");
    }
    assert!(paths("CustomResourceDefinition").contains(&"/spec/conversion"));
    // A merge patch and a part of a manifest is YAML by default.
    let (_, yaml, _) = run(&["manifests", "--flux-ignore"], "");
    assert!(
        yaml.starts_with("spec:\n  driftDetection:\n    ignore:\n"),
        "{yaml}"
    );
    // Nor is it kept from those who read.
    for line in [
        "#   Namespace: /metadata/labels",
        "#   CiliumClusterwideNetworkPolicy.cilium.io: /metadata/annotations/webhook.cozystack.io~1egress-added, ",
    ] {
        assert!(yaml.contains(line), "{yaml}");
    }
    assert_eq!(
        run(&["manifests", "--flux-ignore", "--only", "rbac"], "").0,
        2
    );
}

#[test]
fn review_for_machines_has_one_entry_an_object() {
    let (code, stdout, _) = run(
        &["review", "-", "-o", "json"],
        &GOOD.replace("kind: Gizmo", "kind: gizmo"),
    );
    assert_eq!(code, 1);
    let reports: Value = serde_json::from_str(&stdout).unwrap();
    let report = reports[0].as_object().unwrap();
    let mut keys: Vec<&str> = report.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "allowed",
            "apiVersion",
            "code",
            "companions",
            "kind",
            "message",
            "name",
            "namespace",
            "object",
            "operation",
            "patch",
            "reason",
            "rules",
            "source",
            "violations",
            "warnings"
        ]
    );
    assert_eq!(
        report["violations"],
        json!([{
            "rule": "application-definition", "field": "spec.application.kind", "type": "FieldValueInvalid",
            "message": "Invalid value: \"gizmo\": must be letters and digits, start with a capital, and be no more than 63 bytes",
        }])
    );
    assert_eq!(
        (&report["code"], &report["reason"], &report["operation"]),
        (&json!(422), &json!("Invalid"), &json!("CREATE"))
    );
    let (_, yaml, _) = run(
        &["review", "-", "-o", "yaml"],
        &GOOD.replace("kind: Gizmo", "kind: gizmo"),
    );
    let read = cozystack_webhook::manifest::yaml::documents(&yaml)
        .unwrap()
        .remove(0)
        .value;
    assert_eq!(read, reports);
}

#[test]
fn review_knows_updates_deletions_surroundings_and_reviews() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let old = file("old.yaml", &GOOD.replace("kind: Gizmo", "kind: gizmo"));
    let new = file(
        "new.yaml",
        &GOOD
            .replace("kind: Gizmo", "kind: gizmo")
            .replace("{name: gizmo}", "{name: gizmo, labels: {a: b}}"),
    );
    let (code, stdout, _) = run(&["review", "--old", &old, &new], "");
    assert_eq!(code, 0, "an old sin warns: {stdout}");
    assert!(
        stdout.contains("warning: spec.application.kind: Invalid value"),
        "{stdout}"
    );
    let other = file("other.yaml", &GOOD.replace("name: gizmo}", "name: other}"));
    assert_eq!(
        run(&["review", "--old", &other, &new], "").0,
        2,
        "--old lacks the object"
    );
    let releases = file(
        "releases.yaml",
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: g, namespace: t, labels: {apps.cozystack.io/application.kind: Gizmo}}\n",
    );
    let good = file("good.yaml", GOOD);
    let (code, stdout, _) = run(
        &[
            "review",
            "--operation",
            "DELETE",
            "--cluster",
            &releases,
            &good,
        ],
        "",
    );
    assert_eq!(code, 1);
    assert!(
        stdout.contains("403 Forbidden") && stdout.contains("t/g"),
        "{stdout}"
    );
    // Objects of one call see each other.
    let (code, stdout, _) = run(&["review", &good, &other], "");
    assert_eq!(code, 1);
    assert!(
        stdout.contains("already defined by ApplicationDefinition gizmo"),
        "{stdout}"
    );
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "u", "operation": "DELETE", "name": "x",
            "kind": {"group": "cozystack.io", "version": "v1alpha1", "kind": "CozystackResourceDefinition"},
            "resource": {"group": "cozystack.io", "version": "v1alpha1", "resource": "cozystackresourcedefinitions"},
            "oldObject": {"apiVersion": "cozystack.io/v1alpha1", "kind": "CozystackResourceDefinition", "metadata": {"name": "x"}}},
    });
    let (code, stdout, _) = run(&["review", "-"], &review.to_string());
    assert_eq!(code, 1);
    assert!(
        stdout.contains("no ApplicationDefinition x replaces"),
        "{stdout}"
    );
}

#[test]
fn usage_and_unreadable_input_are_two() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().display().to_string();
    for (arguments, input, wanted) in [
        (&["review"][..], "", "Usage"),
        (
            &["review", "nowhere.yaml"],
            "",
            "nowhere.yaml: No such file",
        ),
        (&["review", &empty], "", "no .yaml, .yml or .json file"),
        (
            &["review", "-"],
            "a: 1\na: 2\n",
            "-: line 2: key \"a\" is already defined in line 1",
        ),
        (&["review", "-"], "a: 1\n", "-:1: has no kind"),
        (&["review", "-"], "- a\n", "-:1: is no object"),
        (
            &["review", "-", "--operation", "PATCH"],
            GOOD,
            "possible values",
        ),
        (
            &["review", "-", "--old", "x", "--operation", "CREATE"],
            GOOD,
            "x: No such file",
        ),
        (&["review", "-", "--kubeconfig", "nowhere"], GOOD, "nowhere"),
        (&["convert", "-"], GOOD, "--to"),
        (&["convert", "-", "--to", "v9"], GOOD, "possible values"),
        (
            &["test", &empty],
            "",
            "no folder below it holds a request.yaml",
        ),
        (&["test", "nowhere"], "", "nowhere"),
        (&["manifests", "--ca-file", "nowhere"], "", "nowhere"),
        (&["manifests", "--ca-file", "Cargo.toml"], "", "no PEM"),
        (&["manifests", "--ca-secret", "x"], "", "--ca-secret"),
        (
            &["crds", "install", "--ca-secret", "x", "--ca-file", "y"],
            "",
            "cannot be used with",
        ),
        (
            &["crds", "install", "--inject-ca-from", "x"],
            "",
            "must be NAMESPACE/NAME",
        ),
        (
            &["certs", "init", "--extra-name", "not a name"],
            "",
            "\"not a name\" is neither a DNS name nor an IP address",
        ),
        (&["certs", "init", "--kubeconfig", "nowhere"], "", "nowhere"),
        (&["serve"], "", "--certificate-dir"),
        (
            &["--log-level", "a=b=c", "review", "-"],
            GOOD,
            "--log-level",
        ),
        (&["no-such-command"], "", "unrecognized subcommand"),
    ] {
        let (code, stdout, stderr) = run(arguments, input);
        assert_eq!(code, 2, "{arguments:?}: {stdout}{stderr}");
        assert!(stderr.contains(wanted), "{arguments:?}: {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
    }
}

#[test]
fn what_cannot_be_reached_is_three() {
    let port = support::plane::free_port();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(
        &kubeconfig,
        format!("apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\nusers: [{{name: a, user: {{}}}}]\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n"),
    )
    .unwrap();
    let (code, _, stderr) = run(
        &[
            "crds",
            "--kubeconfig",
            &kubeconfig.display().to_string(),
            "status",
        ],
        "",
    );
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("reading CRD"), "{stderr}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (code, _, stderr) = run(
        &[
            "serve",
            "--self-signed",
            "--objects",
            "testcases/manifests",
            "--admission-address",
            &taken,
        ],
        "",
    );
    assert_eq!(code, 3, "{stderr}");
    assert!(
        stderr.contains(&format!("cannot listen on {taken}")),
        "{stderr}"
    );
}

#[test]
fn convert_goes_there_and_back() {
    let (code, new, stderr) = run(&["convert", "testcases/manifests", "--to", "v1alpha2"], "");
    assert_eq!(code, 0, "{stderr}");
    let (code, back, _) = run(&["convert", "-", "--to", "v1alpha1", "-o", "json"], &new);
    assert_eq!(code, 0);
    let back: Vec<Value> = serde_json::from_str(&back).unwrap();
    let files = cozystack_webhook::manifest::read(&[
        Path::new(env!("CARGO_MANIFEST_DIR")).join("testcases/manifests")
    ])
    .unwrap();
    assert_eq!(
        back,
        files
            .into_iter()
            .map(|manifest| manifest.value)
            .collect::<Vec<_>>()
    );
    // What cannot be converted is named, the others are printed.
    let input = format!("{GOOD}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\n");
    let (code, stdout, stderr) = run(
        &[
            "convert",
            "-",
            "--to",
            "ApplicationDefinition",
            "-o",
            "json",
        ],
        &input,
    );
    assert_eq!(code, 1);
    assert_eq!(
        serde_json::from_str::<Vec<Value>>(&stdout).unwrap().len(),
        1
    );
    assert_eq!(
        stderr,
        "-:8: ConfigMap x: ConfigMap objects have no such conversion\n"
    );
}

#[test]
fn cases_of_ones_own_can_be_run() {
    let (code, stdout, _) = run(&["test", "testcases/cozystack_resource_definition"], "");
    assert_eq!(code, 0, "{stdout}");
    assert!(
        stdout.starts_with("CASE ")
            && stdout.contains("accepts_a_legacy_definition")
            && stdout.ends_with(" 0 differ\n"),
        "{stdout}"
    );
    let folder = tempfile::tempdir().unwrap();
    let case = folder.path().join("mine");
    std::fs::create_dir(&case).unwrap();
    std::fs::write(
        case.join("request.yaml"),
        format!("object:\n  {}", GOOD.trim_end().replace('\n', "\n  ")),
    )
    .unwrap();
    std::fs::write(case.join("expect.yaml"), "allowed: false\n").unwrap();
    let (code, stdout, _) = run(&["test", &folder.path().display().to_string()], "");
    assert_eq!(code, 1);
    assert!(
        stdout.contains("mine  differs") && stdout.contains("allowed: found true, expected false"),
        "{stdout}"
    );
    let (_, stdout, _) = run(
        &["test", &folder.path().display().to_string(), "-o", "json"],
        "",
    );
    assert_eq!(
        serde_json::from_str::<Value>(&stdout).unwrap()[0]["passed"],
        false
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::{Command, Stdio};
    let mut child = Command::new(service::BINARY)
        .args(["manifests"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The question that `make run` asks is answered the same offline.
#[test]
fn the_example_of_the_readme_is_refused() {
    let (code, stdout, stderr) = run(
        &[
            "review",
            "--cluster",
            "testcases/manifests",
            "testcases/reviews/review.json",
            "-o",
            "json",
        ],
        "",
    );
    assert_eq!(code, 1, "{stderr}");
    let reports: Value = serde_json::from_str(&stdout).unwrap();
    let found = reports[0]["violations"].as_array().unwrap();
    let of_rule: Vec<&str> = found
        .iter()
        .filter(|finding| finding["rule"] == "application-definition")
        .map(|finding| finding["field"].as_str().unwrap())
        .collect();
    assert_eq!(
        of_rule,
        [
            "spec.application.kind",
            "spec.application.plural",
            "spec.application.openAPISchema",
            "spec.release.chartRef.namespace",
            "spec.secrets.include[0].resourceNames[0]",
        ]
    );
}

#[test]
fn audit_tells_what_would_be_refused_and_what_only_warns() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    let definition = |name: &str, kind: &str| {
        format!(
            "apiVersion: cozystack.io/v1alpha1\nkind: ApplicationDefinition\nmetadata: {{name: {name}}}\nspec:\n  \
             application: {{kind: {kind}, plural: {name}s, singular: {name}, openAPISchema: ''}}\n  \
             release: {{prefix: {name}-, chartRef: {{kind: ExternalArtifact, name: cozystack-vpn-application-default-vpn, namespace: cozy-system}}}}\n"
        )
    };
    write("good.yaml", &definition("gizmo", "Gizmo"));
    write("bad.yaml", &definition("gadget", "gadget"));
    write(
        "nobody.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n",
    );
    let all = folder.path().display().to_string();
    let (code, stdout, stderr) = run(&["audit", &all], "");
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(
        stdout.starts_with("application-definition\n  WOULD BE"),
        "{stdout}"
    );
    assert!(
        stdout.contains("  refused   ApplicationDefinition gadget  spec.application.kind  Invalid value: \"gadget\""),
        "{stdout}"
    );
    assert!(
        stdout.ends_with("2 objects examined, 1 violations, 0 warnings\n"),
        "{stdout}"
    );

    // A rule that only warns still has its violations, told apart.
    write(
        "settings.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cozystack-webhook, namespace: cozy-webhook}\ndata: {application-definition.mode: warn}\n",
    );
    let (code, stdout, _) = run(&["audit", &all, "-o", "json"], "");
    assert_eq!(code, 1);
    let entries: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(entries[0]["violation"], true);
    assert_eq!(entries[0]["refused"], false);
    assert_eq!(entries[0]["field"], "spec.application.kind");
    std::fs::remove_file(folder.path().join("bad.yaml")).unwrap();
    assert_eq!(run(&["audit", &all], "").0, 0);
    assert_eq!(run(&["audit", "nothing-here"], "").0, 2);
}

#[test]
fn plans_tell_by_their_exit_codes() {
    let plan = |case: &str, more: &[&str]| {
        let objects = format!("testcases/migrate/{case}/objects.yaml");
        let mut all = vec!["migrate", "plan", "--from-dir", &objects];
        all.extend(more);
        run(&all, "")
    };
    let detailed = ["--detailed-exitcode"];
    assert_eq!(plan("paas_full", &[]).0, 0);
    assert_eq!(plan("paas_full", &detailed).0, 10);
    assert_eq!(plan("distro_full_has_no_successor", &detailed).0, 1);
    let (code, _, stderr) = plan("too_old", &[]);
    assert_eq!(code, 2);
    assert!(stderr.contains("upgrade it to v0.39 first"), "{stderr}");
    let (_, stdout, _) = plan("paas_full", &["-o", "json"]);
    let printed: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(printed["changes"][0]["step"], "record");
    assert_eq!(printed["findings"][0]["weight"], "pending");
    let (_, stdout, _) = plan("paas_full", &["-o", "yaml"]);
    assert!(stdout.contains("kind: Package\n"), "{stdout}");
    assert_eq!(run(&["migrate", "plan", "--from-dir", "no-such"], "").0, 2);
}

/// Each folder is the export of a cluster and the plan for it, word for word. `UPDATE_PLANS=1` writes the plans.
#[test]
fn plans_are_as_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testcases/migrate");
    let mut checked = 0;
    let mut folders: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().collect();
    folders.sort_by_key(std::fs::DirEntry::path);
    for case in folders {
        let case = case.path();
        let objects = case.join("objects.yaml");
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let target = if name.ends_with("_v1") {
            "v1.0.0"
        } else {
            "v1.0.0-alpha.1"
        };
        let (code, stdout, stderr) = run(
            &[
                "migrate",
                "plan",
                "--from-dir",
                objects.to_str().unwrap(),
                "--target",
                target,
            ],
            "",
        );
        let found = format!("{stdout}{stderr}exit {code}\n").replace(case.to_str().unwrap(), "");
        let expected = case.join("plan.txt");
        if std::env::var_os("UPDATE_PLANS").is_some() {
            std::fs::write(&expected, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(found, expected, "{name}");
        checked += 1;
    }
    assert!(checked >= 25, "{checked} plans");
}

#[test]
fn policies_are_explained_step_by_step() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let policy = write(
        "policy.yaml",
        "
apiVersion: policy.cozystack.io/v1alpha1
kind: PackagePolicy
metadata: {name: two-replicas}
spec:
  match: {packages: {names: [cozystack.*]}, components: [db]}
  variables: [{name: replicas, expression: values.replicas}]
  validations:
  - {expression: variables.replicas >= 2, message: two}
",
    );
    let package = |name: &str, replicas: &str| {
        format!(
            "---\napiVersion: cozystack.io/v1alpha1\nkind: Package\nmetadata: {{name: {name}}}\n\
             spec: {{components: {{db: {{values: {{replicas: {replicas}}}}}}}}}\n"
        )
    };
    let (code, text, _) = run(&["policy", "explain", &policy], "");
    assert_eq!(code, 0, "{text}");
    for line in [
        "PackagePolicy two-replicas: compiles, estimated to cost ",
        "spec.variables[0].expression: dyn, ",
        "| variables.replicas >= 2",
        "reads variables.replicas",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let good = write("good.yaml", &package("cozystack.a", "2"));
    let (code, text, _) = run(&["policy", "explain", &policy, "--object", &good], "");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("db: has nothing against it"), "{text}");
    let others = [
        package("cozystack.b", "1"),
        package("other", "1"),
        package("cozystack.c", "x"),
    ];
    let others = write("others.yaml", &others.concat());
    let arguments = ["policy", "explain", &policy, "--object", &others];
    let (code, text, _) = run(&arguments, "");
    assert_eq!(code, 1, "{text}");
    for line in [
        "asked of Package cozystack.b",
        "db: spec.variables[0].expression = 1  (",
        "db: spec.validations[0].expression = false  (",
        "db: refuses as Invalid: two  (validations[0])",
        "not about Package other",
        "db: spec.validations[0].expression fails: no such overload  (",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let (code, json, _) = run(&[&arguments[..], &["-o", "json"]].concat(), "");
    assert_eq!(code, 1);
    let explained: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(explained[0]["compiled"], true);
    assert_eq!(
        explained[0]["expressions"][1]["reads"],
        json!(["variables.replicas"])
    );
    let objects = explained[0]["objects"].as_array().unwrap();
    assert_eq!(objects[0]["steps"][1]["gives"], "false");
    assert_eq!(objects[0]["says"][0]["refusals"][0]["message"], "two");
    assert_eq!(objects[1]["matched"], false);
    assert_eq!(objects[2]["steps"][1]["error"], "no such overload");
    // Before and after: what a change leaves as it was only warns.
    let (code, text, _) = run(
        &[
            "policy", "explain", &policy, "--object", &others, "--old", &others,
        ],
        "",
    );
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("db: warns: two  (validations[0])"), "{text}");
    // What is misspelt is dropped by the API server.
    let misspelt = std::fs::read_to_string(&policy).unwrap();
    let misspelt = write(
        "misspelt.yaml",
        &misspelt.replace("components:", "component:"),
    );
    let (code, text, _) = run(&["policy", "explain", &misspelt], "");
    assert!(
        code == 1 && text.contains("spec.match.component: Forbidden: unknown field"),
        "{text}"
    );
    let broken = write(
        "broken.yaml",
        &std::fs::read_to_string(&policy)
            .unwrap()
            .replace(">=", ">>"),
    );
    let (code, text, _) = run(&["policy", "explain", &broken], "");
    assert!(
        code == 1 && text.contains("is not right") && text.contains("line 1, column"),
        "{text}"
    );
    let (code, _, error) = run(&["policy", "explain", &good], "");
    assert!(
        code == 2 && error.contains("there is no PackagePolicy"),
        "{error}"
    );
    let (code, _, error) = run(&["policy", "explain", &policy, "--object", &policy], "");
    assert!(
        code == 2 && error.contains("policies are about Packages"),
        "{error}"
    );
}
