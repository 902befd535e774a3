//! `certs init` and the `caBundle`s of `crds install`, in the order in which the hooks of a chart run them.

use crate::support::plane::Plane;
use crate::support::service::run;
use crate::{Cluster, eventually, repository};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cozystack_webhook::certs::bundle::Bundle;
use cozystack_webhook::certs::pair::{Authority, Pem};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: cozy-webhook}\n";
const CONFIGURATION: &str = "validatingwebhookconfigurations";
const LEGACY_CRD: &str = "cozystackresourcedefinitions.cozystack.io";
const LEGACY: &str = "cozystackresourcedefinitions.v1alpha1.cozystack.io";
const NEW: &str = "cozystackresourcedefinitions.v1alpha2.cozystack.io";
const CA: &str = "cozystack-webhook-ca";
const LEAF: &str = "cozystack-webhook-tls";
const DAY: i64 = 24 * 60 * 60;

fn certs_with(cluster: &Cluster, more: &[&str]) -> (i32, String, String) {
    let kubeconfig = cluster.plane.kubeconfig.display().to_string();
    let mut arguments = vec!["certs", "init", "--kubeconfig", &kubeconfig];
    arguments.extend(more);
    run(&arguments, cluster.plane.folder.path(), "")
}

/// Runs `certs init` and gives what it says.
fn certs(cluster: &Cluster, more: &[&str]) -> String {
    let (code, stdout, stderr) = certs_with(cluster, more);
    assert_eq!(code, 0, "{more:?}: {stdout}{stderr}");
    stdout
}

fn install_with(cluster: &Cluster, more: &[&str]) -> (i32, String, String) {
    let kubeconfig = cluster.plane.kubeconfig.display().to_string();
    let port = cluster.setup.conversion.port().to_string();
    let mut arguments = vec!["crds", "--kubeconfig", &kubeconfig, "install"];
    arguments.extend(["--conversion-port", &port]);
    arguments.extend(more);
    run(&arguments, cluster.plane.folder.path(), "")
}

/// Runs `crds install` and gives what it says.
fn install(cluster: &Cluster, more: &[&str]) -> String {
    let (code, stdout, stderr) = install_with(cluster, more);
    assert_eq!(code, 0, "{more:?}: {stdout}{stderr}");
    stdout
}

/// Applies the generated webhook configurations, without any authority.
fn apply_configurations(cluster: &Cluster) {
    let port = cluster.setup.admission.port().to_string();
    let arguments = ["manifests", "--only", "webhooks", "--admission-port", &port];
    let (code, stdout, stderr) = run(&arguments, cluster.plane.folder.path(), "");
    assert_eq!(code, 0, "{stderr}");
    assert!(!stdout.contains("caBundle"), "{stdout}");
    cluster.plane.apply(&stdout);
}

fn secret(plane: &Plane, name: &str) -> Value {
    plane.get(&["secret", name, "--namespace", "cozy-webhook"])
}

fn member(secret: &Value, member: &str) -> String {
    let text = secret["data"][member].as_str().unwrap();
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}

/// The certificates in a PEM text.
fn certificates(pem: &str) -> Vec<&str> {
    let end = "-----END CERTIFICATE-----\n";
    pem.split_inclusive(end)
        .filter(|part| part.ends_with(end))
        .collect()
}

/// The bundles of the validating configuration, PEM, and the name of each entry's namespace.
fn bundles(plane: &Plane) -> Vec<(String, Option<String>)> {
    plane.get(&[CONFIGURATION, "cozystack-webhook"])["webhooks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|webhook| {
            let client = &webhook["clientConfig"];
            let namespace = client["service"]["namespace"].as_str().unwrap().to_owned();
            (namespace, client["caBundle"].as_str().map(decoded))
        })
        .collect()
}

fn crd_bundle(plane: &Plane) -> Option<String> {
    plane
        .get(&["crd", LEGACY_CRD])
        .pointer("/spec/conversion/webhook/clientConfig/caBundle")
        .map(|bundle| decoded(bundle.as_str().unwrap()))
}

fn decoded(base64: &str) -> String {
    String::from_utf8(STANDARD.decode(base64).unwrap()).unwrap()
}

/// As a kubelet would: what stands in the Secret comes into the folder of the service.
fn mount(cluster: &Cluster) {
    let secret = secret(&cluster.plane, LEAF);
    for file in ["tls.crt", "tls.key"] {
        std::fs::write(cluster.setup.folder.join(file), member(&secret, file)).unwrap();
    }
}

/// The API server reaches the service and trusts it: a conversion, and a refusal in the service's own words.
fn is_trusted(plane: &Plane) -> bool {
    let (converted, _, _) = plane.kubectl_with(&["get", NEW, "gizmo"], "");
    let delete = ["delete", LEGACY, "gizmo", "--dry-run=server"];
    let (deleted, _, stderr) = plane.kubectl_with(&delete, "");
    converted && !deleted && stderr.contains("no ApplicationDefinition gizmo")
}

/// Running everything again writes nothing.
fn assert_settled(cluster: &Cluster) {
    let before = cluster.plane.revisions();
    let said = certs(cluster, &[]);
    for (name, outcome) in said.lines().filter_map(|line| line.split_once(": ")) {
        let is_quiet = ["unchanged", "absent", "does not call this service"].contains(&outcome);
        assert!(is_quiet, "{name}: {outcome}");
    }
    for more in [&["--ca-secret", LEAF][..], &[]] {
        let said = install(cluster, more);
        assert_eq!(said.matches(": unchanged").count(), 5, "{more:?}: {said}");
    }
    assert_eq!(cluster.plane.revisions(), before);
}

pub fn made_trusted_and_rotated(assets: &Path) {
    let cluster = Cluster::bare(assets);
    let plane = &cluster.plane;
    // Nothing is there to be taken back, and that is fine.
    let said = cluster.crds(&["uninstall"]);
    assert_eq!(said.matches(": absent").count(), 7, "{said}");

    // Before anything of the release is there.
    plane.apply(NAMESPACE);
    let (code, said, log) = certs_with(&cluster, &["--log-level", "trace"]);
    assert_eq!(code, 0, "{said}{log}");
    let mut expected = vec![
        format!("Secret cozy-webhook/{CA}: created"),
        "ValidatingWebhookConfiguration cozystack-webhook: absent".to_owned(),
        "MutatingWebhookConfiguration cozystack-webhook: absent".to_owned(),
    ];
    for plural in [
        "applicationdefinitions.cozystack.io",
        "cozystackresourcedefinitions.cozystack.io",
        "packages.cozystack.io",
        "packagesources.cozystack.io",
        "packagepolicies.policy.cozystack.io",
    ] {
        expected.push(format!("CustomResourceDefinition {plural}: absent"));
    }
    expected.push(format!("Secret cozy-webhook/{LEAF}: created"));
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    for name in [CA, LEAF] {
        let secret = secret(plane, name);
        assert_eq!(secret["type"], "kubernetes.io/tls");
        let label = &secret["metadata"]["labels"]["app.kubernetes.io/managed-by"];
        assert_eq!(label, "cozystack-webhook");
        // Nothing of a key is said or logged, in either form.
        let key = member(&secret, "tls.key");
        let encoded = secret["data"]["tls.key"].as_str().unwrap();
        for text in [key.lines().nth(1).unwrap(), &encoded[60..120]] {
            assert!(!said.contains(text) && !log.contains(text), "{name}");
        }
    }
    let first = member(&secret(plane, CA), "tls.crt");
    assert_eq!(member(&secret(plane, LEAF), "ca.crt"), first);

    // The release, and once more.
    cluster.add_services();
    cluster.without_bridge();
    apply_configurations(&cluster);
    let count = bundles(plane).len();
    let said = certs(&cluster, &[]);
    let line =
        format!("ValidatingWebhookConfiguration cozystack-webhook: {count} caBundles written");
    assert!(said.contains(&line), "{said}");
    assert!(said.contains(&format!("{LEAF}: unchanged")), "{said}");
    let of_first = ("cozy-webhook".to_owned(), Some(first.clone()));
    assert_eq!(bundles(plane), vec![of_first; count]);
    // An upgrade that knows nothing of bundles takes none away.
    let before = plane.revisions();
    apply_configurations(&cluster);
    assert_eq!(plane.revisions(), before);

    let said = install(&cluster, &["--ca-secret", LEAF]);
    assert_eq!(said.matches(": installed").count(), 5, "{said}");
    assert_eq!(crd_bundle(plane).unwrap(), first);
    assert_settled(&cluster);

    mount(&cluster);
    let service = cluster.serve();
    let manifests = repository("testcases/manifests").display().to_string();
    plane.kubectl(&["apply", "-f", &manifests]);
    eventually("the service is trusted", || is_trusted(plane));

    // Another authority: both are trusted, so that neither certificate is refused.
    plane.kubectl(&["delete", "secret", CA, "--namespace", "cozy-webhook"]);
    let said = certs(&cluster, &[]);
    for line in [
        format!("{CA}: created"),
        format!("{count} caBundles written"),
        format!("{LEGACY_CRD}: 1 caBundle written"),
        format!("{LEAF}: issued again: it does not go with the authority"),
    ] {
        assert!(said.contains(&line), "{line} is not in:\n{said}");
    }
    let second = member(&secret(plane, CA), "tls.crt");
    assert_ne!(second, first);
    let both = format!("{first}{second}");
    let of_both = ("cozy-webhook".to_owned(), Some(both.clone()));
    assert_eq!(bundles(plane), vec![of_both; count]);
    assert_eq!(crd_bundle(plane).unwrap(), both);
    assert_eq!(member(&secret(plane, LEAF), "ca.crt"), both);
    for _ in 0..10 {
        assert!(is_trusted(plane), "with the old certificate");
    }
    mount(&cluster);
    eventually("the new certificate is served", || {
        service.log_text().contains("certificate reloaded")
    });
    eventually("the new certificate is trusted", || is_trusted(plane));
    // What certs init wrote into the CRD becomes the installation's own, without another change.
    install(&cluster, &[]);
    assert_eq!(crd_bundle(plane).unwrap(), both);
    assert_settled(&cluster);

    // A third one, by hand: the union again.
    let ca_file = cluster.setup.ca_file();
    install(&cluster, &["--ca-file", &ca_file]);
    let live = crd_bundle(plane).unwrap();
    assert_eq!(certificates(&live).len(), 3);
    assert!(live.starts_with(&both), "{live}");
    assert_settled(&cluster);

    let said = certs(&cluster, &["--extra-name", "hook.example.org"]);
    let line = format!("{LEAF}: issued again: it is not for hook.example.org");
    assert!(said.contains(&line), "{said}");
    // A certificate that is for more than is asked is fine.
    assert_settled(&cluster);

    // Several at once agree.
    plane.kubectl(&["delete", "secret", CA, LEAF, "--namespace", "cozy-webhook"]);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| certs(&cluster, &[])))
            .collect();
        let said: String = runs.into_iter().map(|run| run.join().unwrap()).collect();
        for name in [CA, LEAF] {
            assert_eq!(
                said.matches(&format!("{name}: created")).count(),
                1,
                "{said}"
            );
        }
    });
    let third = member(&secret(plane, CA), "tls.crt");
    assert_eq!(member(&secret(plane, LEAF), "ca.crt"), third);
    for (_, bundle) in bundles(plane) {
        assert_eq!(bundle.unwrap(), format!("{both}{third}"));
    }
    install(&cluster, &[]);
    assert_settled(&cluster);
    mount(&cluster);
    eventually("the certificate of the race is served", || {
        service.log_text().matches("certificate reloaded").count() == 2
    });
    eventually("the certificate of the race is trusted", || {
        is_trusted(plane)
    });

    // A bundle that another manager wrote does not stand in the way.
    drop(service);
    plane.kubectl(&["delete", "secret", CA, "--namespace", "cozy-webhook"]);
    certs(&cluster, &[]);
    cluster.crds(&["uninstall"]);
    let crd = plane.get(&["crd", LEGACY_CRD]);
    assert_eq!(
        crd["spec"]["conversion"],
        serde_json::json!({"strategy": "None"})
    );
    assert_eq!(plane.get(&[LEGACY])["items"].as_array().unwrap().len(), 3);
    let (code, _, stderr) = install_with(&cluster, &[]);
    assert!(code == 2 && stderr.contains("--ca-secret"), "{stderr}");
    install(&cluster, &["--ca-secret", LEAF]);
    assert_eq!(
        crd_bundle(plane).unwrap(),
        member(&secret(plane, LEAF), "ca.crt")
    );
}

/// A Secret as some other operator makes it.
fn apply_foreign(plane: &Plane, name: &str, pair: &Pem, ca: Option<&str>) {
    let mut data = vec![("tls.crt", &*pair.certificate), ("tls.key", &*pair.key)];
    data.extend(ca.map(|ca| ("ca.crt", ca)));
    let data: serde_json::Map<String, Value> = data
        .into_iter()
        .map(|(member, text)| (member.to_owned(), STANDARD.encode(text).into()))
        .collect();
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": "cozy-webhook"}, "data": data,
    });
    plane.apply(&secret.to_string());
}

pub fn of_others_are_respected(assets: &Path) {
    let cluster = Cluster::bare(assets);
    let plane = &cluster.plane;
    cluster.add_services();
    apply_configurations(&cluster);
    let now = cozystack_webhook::certs::now();
    // Good for less than a new one of ours would have to be.
    let theirs = Authority::make(now - DAY, now + 100 * DAY).unwrap();
    let (certificate, key) = (theirs.certificate.as_bytes(), theirs.key.as_bytes());
    let leaf = Authority::read(certificate, key, now, 0)
        .unwrap_or_else(|flaw| panic!("{flaw}"))
        .issue(&["elsewhere".to_owned()], now, 10 * DAY)
        .unwrap();

    let (code, stdout, stderr) = certs_with(&cluster, &["--await-secret", "--timeout", "2"]);
    assert_eq!((code, &*stdout), (3, ""), "{stderr}");
    assert!(stderr.starts_with(&format!(
        "waiting: Secret cozy-webhook/{LEAF} is not there\n"
    )));
    assert!(stderr.contains("is not there after 2 s"), "{stderr}");

    // One that does not say who signed it is no help, and is not touched.
    apply_foreign(plane, LEAF, &leaf, None);
    let before = plane.revisions();
    let (code, stdout, stderr) = certs_with(&cluster, &[]);
    assert_eq!((code, &*stdout), (3, ""), "{stderr}");
    for part in ["is left alone", "ca.crt", "delete the Secret"] {
        assert!(stderr.contains(part), "{stderr}");
    }
    assert_eq!(plane.revisions(), before);

    // It comes while it is waited for.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| certs_with(&cluster, &["--await-secret", "--timeout", "60"]));
        let installing = scope.spawn(|| {
            let source = "cozy-webhook/cozystack-webhook";
            install(&cluster, &["--ca-secret", LEAF, "--inject-ca-from", source])
        });
        std::thread::sleep(Duration::from_secs(2));
        apply_foreign(plane, LEAF, &leaf, Some(&theirs.certificate));
        let (code, stdout, stderr) = waiting.join().unwrap();
        assert_eq!(code, 0, "{stderr}");
        assert!(stderr.contains("has no ca.crt"), "{stderr}");
        assert!(stdout.contains("caBundles written"), "{stdout}");
        installing.join().unwrap();
    });
    assert_eq!(crd_bundle(plane).unwrap(), theirs.certificate);
    for (name, annotation) in [
        (LEGACY_CRD, Some("cozy-webhook/cozystack-webhook")),
        ("packages.cozystack.io", None),
    ] {
        let found = &plane.get(&["crd", name])["metadata"]["annotations"];
        assert_eq!(found["cert-manager.io/inject-ca-from"].as_str(), annotation);
    }

    // Neither is it waited for nor written, nor is anything made beside it.
    let before = plane.revisions();
    let said = certs(&cluster, &[]);
    let line = format!("{LEAF}: kept, it is not made by this service");
    assert!(said.contains(&line), "{said}");
    assert!(!said.contains(CA), "{said}");
    assert_eq!(plane.revisions(), before);

    // What trusts nobody is replaced, what is somebody else's is not.
    let mut configuration = plane.get(&[CONFIGURATION, "cozystack-webhook"]);
    let webhooks = configuration["webhooks"].as_array_mut().unwrap();
    let mut other = webhooks[0].clone();
    other["name"] = "other.example.org".into();
    other["clientConfig"]["service"]["namespace"] = "elsewhere".into();
    other["clientConfig"]["caBundle"] = "Cg==".into();
    webhooks[0]["clientConfig"]["caBundle"] = "Cg==".into();
    webhooks.insert(0, other);
    let (success, _, stderr) =
        plane.kubectl_with(&["replace", "-f", "-"], &configuration.to_string());
    assert!(success, "{stderr}");
    let said = certs(&cluster, &[]);
    assert!(said.contains(": 1 caBundle written"), "{said}");
    let of_theirs = Some(theirs.certificate.clone());
    let mut expected = vec![("cozy-webhook".to_owned(), of_theirs.clone()); bundles(plane).len()];
    expected[0] = ("elsewhere".to_owned(), Some("\n".to_owned()));
    assert_eq!(bundles(plane), expected);

    // An authority of others signs for us as long as it lives.
    plane.kubectl(&["delete", "secret", LEAF, "--namespace", "cozy-webhook"]);
    apply_foreign(plane, CA, &theirs, None);
    let before = secret(plane, CA);
    let said = certs(&cluster, &[]);
    for line in [
        format!("{CA}: kept, it is not made by this service"),
        format!("{LEAF}: created"),
    ] {
        assert!(said.contains(&line), "{line} is not in:\n{said}");
    }
    let revisions = plane.revisions();
    certs(&cluster, &[]);
    assert_eq!(plane.revisions(), revisions);
    assert_eq!(secret(plane, CA), before);
    assert_eq!(member(&secret(plane, LEAF), "ca.crt"), theirs.certificate);
    let broken = Pem {
        certificate: leaf.certificate.clone(),
        key: leaf.key.clone(),
    };
    apply_foreign(plane, CA, &broken, None);
    let (code, _, stderr) = certs_with(&cluster, &[]);
    assert!(
        code == 3 && stderr.contains("it is no authority"),
        "{stderr}"
    );

    // Somebody else's injector wrote it, and it stays without any authority given.
    let live = crd_bundle(plane).unwrap();
    let bundle = Bundle::from_pem(live.as_bytes()).unwrap();
    let mine = Bundle::from_pem(cluster.setup.authority.as_bytes()).unwrap();
    let patch = serde_json::json!([{
        "op": "replace", "path": "/spec/conversion/webhook/clientConfig/caBundle",
        "value": bundle.union(&mine, now).base64(),
    }]);
    let patch = patch.to_string();
    plane.kubectl(&["patch", "crd", LEGACY_CRD, "--type=json", "-p", &patch]);
    install(&cluster, &[]);
    assert_eq!(crd_bundle(plane), Some(bundle.union(&mine, now).pem()));
}
