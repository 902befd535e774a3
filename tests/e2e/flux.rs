//! What GitOps sees: the real kustomize-controller and helm-controller apply sets and charts through the webhooks.

use crate::support::flux::{Flux, Ready, Subject, reconcile_all};
use crate::support::http::plain;
use crate::support::plane::Plane;
use crate::{Cluster, eventually, values};
use std::collections::BTreeMap;
use std::path::Path;

pub const NAMESPACE: &str = "fleet";
const RECONCILES: u64 = 10;

/// A PackageSource with these variants, each with one component of the source's own name.
fn source(name: &str, variants: &[&str]) -> String {
    let variants: String = variants
        .iter()
        .map(|variant| {
            format!(
                "  - name: {variant}\n    components:\n    - {{name: {name}, path: system/{name}, install: {{namespace: default}}}}\n"
            )
        })
        .collect();
    format!(
        "apiVersion: cozystack.io/v1alpha1\nkind: PackageSource\nmetadata: {{name: cozystack.{name}}}\nspec:\n  \
         sourceRef: {{kind: OCIRepository, name: gizmo-packages, namespace: cozy-system, path: /}}\n  \
         variants:\n{variants}"
    )
}

fn package(name: &str, annotations: &str, spec: &str) -> String {
    format!(
        "apiVersion: cozystack.io/v1alpha1\nkind: Package\n\
         metadata: {{name: cozystack.{name}, annotations: {{{annotations}}}}}\nspec: {{{spec}}}\n"
    )
}

/// A bystander in the same set: it shows whether anything of the set was applied.
pub fn witness(namespace: &str, note: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: witness, namespace: {namespace}}}\ndata: {{note: {note}}}\n"
    )
}

pub fn kustomization(
    plane: &Plane,
    name: &str,
    repository: &str,
    path: &str,
    more: &str,
) -> Subject {
    plane.apply(&format!(
        "
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  interval: 1h
  retryInterval: 2s
  prune: false
  path: {path}
  sourceRef: {{kind: GitRepository, name: {repository}}}
  {more}
"
    ));
    Subject::kustomization(NAMESPACE, name)
}

/// Files whose text is made.
pub fn texts<'a, const N: usize>(files: &'a [(&'a str, String); N]) -> [(&'a str, &'a str); N] {
    files.each_ref().map(|(path, text)| (*path, text.as_str()))
}

/// What the cluster holds, but for the objects of those that reconcile, the sources that the tests move, and Events.
pub fn content(plane: &Plane) -> BTreeMap<String, String> {
    let reconcilers = [
        format!("/registry/kustomize.toolkit.fluxcd.io/kustomizations/{NAMESPACE}/"),
        format!("/registry/helm.toolkit.fluxcd.io/helmreleases/{NAMESPACE}/"),
        "/registry/source.toolkit.fluxcd.io/".to_owned(),
        "/registry/events/".to_owned(),
    ];
    let mut content = plane.revisions();
    content.retain(|key, _| !reconcilers.iter().any(|prefix| key.starts_with(prefix)));
    content
}

/// How many reviews a rule has allowed and refused.
fn reviews(cluster: &Cluster, rule: &str) -> u64 {
    let (_, text) = plain(cluster.setup.metrics, "GET", "/metrics", "").unwrap();
    let start = format!("cozystack_webhook_reviews_total{{rule=\"{rule}\",");
    text.lines()
        .filter(|line| line.starts_with(&start))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

/// Reconciles ten times and expects that all went through the rules, each with its number of objects, every time, and
/// that nothing at all was written.
fn stays_in_sync(cluster: &Cluster, subjects: &[&Subject], rules: &[(&str, u64)]) {
    let plane = &cluster.plane;
    // What made the subjects ready is over before the counting starts.
    reconcile_all(plane, subjects);
    let before = content(plane);
    assert!(
        before.keys().any(|key| key.contains("/cozystack.io/")),
        "{before:?}"
    );
    let reviewed: Vec<u64> = rules
        .iter()
        .map(|(rule, _)| reviews(cluster, rule))
        .collect();
    for _ in 0..RECONCILES {
        reconcile_all(plane, subjects);
        for subject in subjects {
            let ready = subject.ready(plane).unwrap();
            assert_eq!(ready.status, "True", "{ready:#?}");
        }
    }
    for ((rule, objects), before) in rules.iter().zip(reviewed) {
        let count = reviews(cluster, rule) - before;
        assert!(
            count >= RECONCILES * objects,
            "{rule} was asked {count} times"
        );
    }
    assert_eq!(content(plane), before);
}

/// Waits until the service refuses something, that is until it knows what it must know for that.
fn until_refused(plane: &Plane, object: &str) {
    eventually("it is refused", || {
        let (success, _, stderr) =
            plane.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], object);
        !success && stderr.contains(" is invalid: ")
    });
}

pub fn says(ready: &Ready, sentences: &[&str]) {
    for sentence in sentences {
        assert!(ready.message.contains(sentence), "{sentence}: {ready:#?}");
    }
}

pub fn kustomizations_see_the_verdicts(assets: &Path) {
    let cluster = Cluster::installed(assets);
    let plane = &cluster.plane;
    let mut flux = Flux::install(plane);
    let _service = cluster.serve();
    flux.start_kustomize_controller(plane);
    plane.kubectl(&["create", "namespace", NAMESPACE]);

    // A set that comes together goes in together.
    let set = |note: &str, package: &str| {
        let files = [
            ("source.yaml", source("gizmo", &["default", "oidc"])),
            ("package.yaml", package.to_owned()),
            ("witness.yaml", witness(NAMESPACE, note)),
        ];
        flux.source(plane, NAMESPACE, "gizmo", &texts(&files))
    };
    let good = package(
        "gizmo",
        "",
        "variant: oidc, components: {gizmo: {values: {a: {b: 1}}}}",
    );
    set("first", &good);
    let gizmo = kustomization(plane, "gizmo", "gizmo", "./", "");
    gizmo.wait_ready(plane);

    // All that is wrong is in the condition, and nothing of the set is applied.
    until_refused(plane, &package("gizmo", "", "variant: odic"));
    let before = content(plane);
    set(
        "second",
        &package(
            "gizmo",
            "",
            "variant: oidc, components: {gizmo: {values: text}, gimzo: {enabled: true}}",
        ),
    );
    let ready = gizmo.wait_failed(plane, "dry-run failed");
    says(
        &ready,
        &[
            "Package/cozystack.gizmo dry-run failed (Invalid): ",
            r#"spec.components.gizmo.values: Invalid value: "string": must be an object"#,
            r#"spec.components.gimzo: Unsupported value: "gimzo": supported values: "gizmo"; did you mean "gizmo"?"#,
        ],
    );
    set("third", &package("gizmo", "", "variant: odic"));
    let ready = gizmo.wait_failed(plane, "spec.variant");
    says(
        &ready,
        &[
            r#"Unsupported value: "odic": supported values: "default", "oidc"; did you mean "oidc"?"#,
        ],
    );
    assert_eq!(content(plane), before);
    set("fourth", &good);
    gizmo.wait_ready(plane);

    see_platform_values(&flux, plane);
    let mut all = vec![gizmo];
    all.extend(source_first_or_insist(&flux, plane));
    all.push(see_values_of_charts(&cluster, &flux));
    all.push(see_values_of_applications(&cluster, &flux));
    stays_in_sync(
        &cluster,
        &all.iter().collect::<Vec<_>>(),
        &[
            ("package", 4),
            ("package-source", 4),
            ("application-values", 1),
        ],
    );
}

/// What the platform cannot render is refused with every path.
fn see_platform_values(flux: &Flux, plane: &Plane) {
    let before = content(plane);
    let wrong = package(
        "cozystack-platform",
        "",
        "variant: isp-hosted, components: {platform: {values: \
         {bundles: {iaas: {enabled: true}}, networking: {podCIDR: 10.244.0.0/99}}}}",
    );
    let files = [
        ("package.yaml", wrong.as_str()),
        ("witness.yaml", &witness("default", "x")),
    ];
    flux.source(plane, NAMESPACE, "platform", &files);
    let platform = kustomization(plane, "platform", "platform", "./", "");
    let ready = platform.wait_failed(plane, "dry-run failed");
    let values = "spec.components.platform.values";
    says(
        &ready,
        &[
            "Package/cozystack.cozystack-platform dry-run failed (Invalid): ",
            &format!(
                r#"{values}.bundles.iaas.enabled: Invalid value: true: needs {values}.bundles.system.variant to be "isp-full""#
            ),
            &format!(
                r#"{values}.networking.podCIDR: Invalid value: "10.244.0.0/99": must be an IPv4 network"#
            ),
        ],
    );
    assert_eq!(content(plane), before);
    platform.delete(plane);
}

/// Values that a chart's own schema does not allow are refused with the chart that Flux itself would install, three
/// levels deep; right ones go in.
fn see_values_of_charts(cluster: &Cluster, flux: &Flux) -> Subject {
    let plane = &cluster.plane;
    cluster.set(&format!(
        "package.artifact-hosts: \"{}\"",
        flux.artifacts.address
    ));
    plane.kubectl(&["create", "namespace", "cozy-system"]);
    let schema = r#"{"properties": {"clock": {"properties": {"hands": {"items": {"properties": {"length": {"type": "integer"}}}}}}}}"#;
    flux.chart(
        plane,
        "cozy-system",
        "cozystack-clock-default-clock",
        &[
            (
                "Chart.yaml",
                "apiVersion: v2\nname: clock\nversion: 1.0.0\n",
            ),
            ("values.yaml", "clock: {hands: []}\n"),
            ("values.schema.json", schema),
        ],
    );
    let put = |length: &str| {
        let values = format!(
            "components: {{clock: {{values: {{clock: {{hands: [{{length: 1}}, {{length: {length}}}]}}}}}}}}"
        );
        let files = [
            ("source.yaml", source("clock", &["default"])),
            ("package.yaml", package("clock", "", &values)),
        ];
        flux.source(plane, NAMESPACE, "clock", &texts(&files));
        package("clock", "", &values)
    };
    put("2");
    let clock = kustomization(plane, "clock", "clock", "./", "");
    clock.wait_ready(plane);
    until_refused(plane, &put("long"));
    let before = content(plane);
    let ready = clock.wait_failed(plane, "dry-run failed");
    says(
        &ready,
        &[
            r#"spec.components.clock.values.clock.hands[1].length: Invalid value: "string": must be an integer"#,
        ],
    );
    assert_eq!(content(plane), before);
    put("3");
    clock.wait_ready(plane);
    clock
}

/// A set that changes a source and needs that change is refused, for a set is tried out before any of it is applied:
/// the source goes first, or the writer insists.
fn source_first_or_insist(flux: &Flux, plane: &Plane) -> Vec<Subject> {
    let put = |name: &str, variants: &[&str], annotations: &str, variant: &str| {
        let files = [
            ("sources/source.yaml", source(name, variants)),
            (
                "packages/package.yaml",
                package(name, annotations, &format!("variant: {variant}")),
            ),
        ];
        flux.source(plane, NAMESPACE, name, &texts(&files));
    };
    let mut accepted = Vec::new();
    for name in ["widget", "gadget"] {
        // By Flux from the start: of what kubectl applied it takes over the fields while it still tries out the set.
        put(name, &["default"], "", "default");
        let whole = kustomization(plane, name, name, "./", "");
        whole.wait_ready(plane);
        until_refused(plane, &package(name, "", "variant: big"));
        let before = content(plane);
        put(name, &["default", "big"], "", "big");
        let ready = whole.wait_failed(plane, "dry-run failed");
        let then = format!(
            "if PackageSource cozystack.{name} is to have it, that change must be applied first \
             (to insist, annotate with webhook.cozystack.io/allow: package)"
        );
        says(
            &ready,
            &[
                r#"spec.variant: Unsupported value: "big": supported values: "default""#,
                &then,
            ],
        );
        assert_eq!(content(plane), before);
        if name == "widget" {
            whole.delete(plane);
            let sources = kustomization(plane, "sources", name, "./sources", "");
            let more = "dependsOn: [{name: sources}]";
            let packages = kustomization(plane, "packages", name, "./packages", more);
            packages.wait_ready(plane);
            accepted.extend([sources, packages]);
        } else {
            let insists = "webhook.cozystack.io/allow: package";
            put(name, &["default", "big"], insists, "big");
            whole.wait_ready(plane);
            accepted.push(whole);
        }
        let package = plane.get(&["packages.cozystack.io", &format!("cozystack.{name}")]);
        assert_eq!(package["spec"]["variant"], "big");
        let source = plane.get(&["packagesources.cozystack.io", &format!("cozystack.{name}")]);
        assert_eq!(source["spec"]["variants"].as_array().unwrap().len(), 2);
    }
    accepted
}

/// Under `enforce` the values of an application are refused in the same way.
fn see_values_of_applications(cluster: &Cluster, flux: &Flux) -> Subject {
    let plane = &cluster.plane;
    let release = |replicas: &str| {
        format!(
            "
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: gizmo-one, namespace: default, labels: {{apps.cozystack.io/application.kind: Gizmo}}}}
spec:
  interval: 1h
  chartRef: {{kind: ExternalArtifact, name: gizmo, namespace: cozy-system}}
  values: {{replicas: {replicas}}}
"
        )
    };
    plane.apply(values::DEFINITION);
    cluster.set("application-values.mode: enforce");
    until_refused(plane, &release("three"));
    let put = |replicas: &str| {
        let files = [
            ("release.yaml", release(replicas)),
            ("witness.yaml", witness("default", "x")),
        ];
        flux.source(plane, NAMESPACE, "tenant", &texts(&files));
    };
    let before = content(plane);
    put("three");
    let tenant = kustomization(plane, "tenant", "tenant", "./", "");
    let ready = tenant.wait_failed(plane, "dry-run failed");
    says(
        &ready,
        &[
            "HelmRelease/default/gizmo-one dry-run failed (Invalid): ",
            r#"spec.values.replicas: Invalid value: "string": must be an integer (spec.replicas of the application)"#,
        ],
    );
    assert_eq!(content(plane), before);
    put("3");
    tenant.wait_ready(plane);
    tenant
}

const CHART: &str = "
apiVersion: v2
name: gizmo
version: VERSION
";
const TEMPLATE: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: gizmo}
data: {note: {{ .Values.note | quote }}}
---
apiVersion: cozystack.io/v1alpha1
kind: Package
metadata: {name: cozystack.gizmo}
spec:
  variant: {{ .Values.variant }}
  components: {gizmo: {values: {a: {b: 1}}}}
";

pub fn releases_see_the_verdicts(assets: &Path) {
    let cluster = Cluster::installed(assets);
    let plane = &cluster.plane;
    let mut flux = Flux::install(plane);
    let _service = cluster.serve();
    flux.start_helm_controller(plane);
    plane.kubectl(&["create", "namespace", NAMESPACE]);
    plane.kubectl(&["create", "namespace", "cozy-system"]);

    let chart = |version: &str, values: &str| {
        let chart = CHART.replace("VERSION", version);
        // Helm creates what it does not know by name of the kind: the Package comes before its source.
        let source = source("gizmo", &["default", "oidc"]);
        let files = [
            ("Chart.yaml", chart.as_str()),
            ("values.yaml", values),
            ("templates/package.yaml", TEMPLATE),
            ("templates/source.yaml", &source),
        ];
        flux.chart(plane, "cozy-system", "gizmo", &files)
    };
    let install = |name: &str| {
        plane.apply(&format!(
            "
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  interval: 1h
  chartRef: {{kind: ExternalArtifact, name: {name}, namespace: cozy-system}}
  driftDetection: {{mode: enabled}}
"
        ));
        Subject::helm_release(NAMESPACE, name)
    };
    let artifact = chart("1.0.0", "{note: first, variant: default}");
    let release = install("gizmo");
    let ready = release.wait_ready(plane);
    says(&ready, &["Helm install succeeded"]);
    assert!(flux.artifacts.requests(&artifact.path) >= 1);
    stays_in_sync(
        &cluster,
        &[&release],
        &[("package", 1), ("package-source", 1)],
    );

    // That it was looked at is no mistake: what drifts is put back.
    let variant =
        || plane.get(&["packages.cozystack.io", "cozystack.gizmo"])["spec"]["variant"].clone();
    plane.kubectl(&[
        "patch",
        "packages.cozystack.io",
        "cozystack.gizmo",
        "--type=merge",
        "-p",
        r#"{"spec":{"variant":"oidc"}}"#,
    ]);
    release.reconcile(plane);
    assert_eq!(variant(), "default");

    // An upgrade to what is refused says why, and the right one after it goes through.
    chart("1.1.0", "{note: second, variant: odic}");
    let ready = release.wait_failed(plane, "spec.variant");
    says(
        &ready,
        &[
            "Helm upgrade failed",
            r#"Unsupported value: "odic": supported values: "default", "oidc"; did you mean "oidc"?"#,
        ],
    );
    assert_eq!(variant(), "default");
    chart("1.2.0", "{note: third, variant: oidc}");
    release.wait(plane, "it is upgraded", |ready| {
        ready.status == "True" && ready.message.contains("1.2.0")
    });
    assert_eq!(variant(), "oidc");

    // So does an installation.
    plane.apply(&source("widget", &["default"]));
    let wrong = package("widget", "", "variant: big");
    until_refused(plane, &wrong);
    let files = [
        ("Chart.yaml", CHART.replace("VERSION", "1.0.0")),
        ("templates/package.yaml", wrong),
    ];
    flux.chart(plane, "cozy-system", "widget", &texts(&files));
    let ready = install("widget").wait_failed(plane, "spec.variant");
    says(
        &ready,
        &[
            "Helm install failed",
            r#"Unsupported value: "big": supported values: "default""#,
            "that change must be applied first",
        ],
    );
    let packages = plane.kubectl(&["get", "packages.cozystack.io", "-o", "name"]);
    assert!(!packages.contains("widget"), "{packages}");
}
