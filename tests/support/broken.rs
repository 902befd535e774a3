//! Packages and sources that are right, and what makes them wrong: one edit each, and the field that is named.

use serde_json::{Value, json};

/// Which object an edit is made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Source,
    Package,
    Platform,
}

/// A value that makes the object wrong, where it is put, and the field that is named for it.
pub type Row = (Subject, &'static str, Value, &'static str);

/// A source, right.
pub fn source() -> Value {
    json!({
        "apiVersion": "cozystack.io/v1alpha1", "kind": "PackageSource",
        "metadata": {"name": "cozystack.gizmo"},
        "spec": {
            "sourceRef": {"kind": "OCIRepository", "name": "gizmo-packages", "namespace": "cozy-system", "path": "/"},
            "variants": [
                {
                    "name": "default",
                    "dependsOn": ["cozystack.gadget"],
                    "libraries": [{"name": "cozy-lib", "path": "library/cozy-lib"}, {"path": "library/other"}],
                    "components": [
                        {"name": "gizmo", "path": "apps/gizmo", "libraries": ["cozy-lib", "other"]},
                        {"name": "operator", "path": "system/operator", "valuesFiles": ["values.yaml"],
                         "install": {"namespace": "cozy-gizmo", "releaseName": "gizmo-operator", "dependsOn": ["crds"]}},
                        {"name": "crds", "path": "system/crds", "install": {"namespace": "cozy-gizmo", "dependsOn": []}},
                    ],
                },
                {"name": "big", "dependsOn": [], "components": [{"name": "crds", "path": "system/crds"}]},
            ],
        },
    })
}

/// A Package of it, right.
pub fn package() -> Value {
    json!({
        "apiVersion": "cozystack.io/v1alpha1", "kind": "Package",
        "metadata": {"name": "cozystack.gizmo"},
        "spec": {"variant": "default", "ignoreDependencies": ["cozystack.gadget"], "components": {
            "operator": {"enabled": true, "values": {"replicas": 2}}, "crds": {"values": {}}}},
    })
}

/// The platform's own Package, right.
pub fn platform() -> Value {
    json!({
        "apiVersion": "cozystack.io/v1alpha1", "kind": "Package",
        "metadata": {"name": "cozystack.cozystack-platform"},
        "spec": {"variant": "isp-full", "components": {"platform": {"values": {
            "bundles": {"enabledPackages": ["cozystack.velero"], "disabledPackages": ["cozystack.telepresence"]},
            "networking": {"podCIDR": "10.244.0.0/16", "podGateway": "10.244.0.1", "serviceCIDR": "10.96.0.0/16", "joinCIDR": "100.64.0.0/16"},
            "publishing": {"host": "cloud.example.org", "apiServerEndpoint": "https://api.cloud.example.org",
                "exposedServices": ["dashboard"], "externalIPs": ["192.0.2.1"], "certificates": {"issuerType": "http01"}},
            "resources": {"cpuAllocationRatio": 10},
        }}}},
    })
}

/// The right object for a row.
pub fn right(subject: Subject) -> Value {
    match subject {
        Subject::Source => source(),
        Subject::Package => package(),
        Subject::Platform => platform(),
    }
}

/// The object with that value at that pointer.
pub fn edited(object: &Value, pointer: &str, value: &Value) -> Value {
    let mut object = object.clone();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    match object.pointer_mut(pointer) {
        Some(place) => place.clone_from(value),
        None => object.pointer_mut(parent).unwrap()[member] = value.clone(),
    }
    object
}

/// Everything that is refused.
pub fn rows() -> Vec<Row> {
    let long = |length: usize| "x".repeat(length);
    let sources: Vec<(&str, Value, &str)> = vec![
        (
            "/spec/sourceRef/name",
            json!("gizmo.packages"),
            "spec.sourceRef.name",
        ),
        (
            "/spec/sourceRef/name",
            json!("Gizmo"),
            "spec.sourceRef.name",
        ),
        (
            "/spec/sourceRef/name",
            json!("-gizmo"),
            "spec.sourceRef.name",
        ),
        (
            "/spec/sourceRef/name",
            json!(long(64)),
            "spec.sourceRef.name",
        ),
        (
            "/spec/sourceRef/path",
            json!("packages/../.."),
            "spec.sourceRef.path",
        ),
        (
            "/spec/variants/0/name",
            json!(""),
            concat!("spec.variants[0]", ".name"),
        ),
        (
            "/spec/variants/0/name",
            json!("De_fault"),
            concat!("spec.variants[0]", ".name"),
        ),
        (
            "/spec/variants/0/name",
            json!("big"),
            "spec.variants[1].name",
        ),
        (
            "/spec/variants/0/dependsOn/0",
            json!("cozystack.gizmo"),
            concat!("spec.variants[0]", ".dependsOn[0]"),
        ),
        (
            "/spec/variants/1/dependsOn",
            json!(["a", "cozystack.gizmo"]),
            "spec.variants[1].dependsOn[1]",
        ),
        (
            "/spec/variants/0/libraries/1/path",
            json!("other/cozy-lib"),
            concat!("spec.variants[0]", ".libraries[1].name"),
        ),
        (
            "/spec/variants/0/libraries/1/path",
            json!("library/other/"),
            concat!("spec.variants[0]", ".libraries[1].path"),
        ),
        (
            "/spec/variants/0/libraries/0/path",
            json!("/library"),
            concat!("spec.variants[0]", ".libraries[0].path"),
        ),
        (
            "/spec/variants/0/libraries/0/path",
            json!("../library"),
            concat!("spec.variants[0]", ".libraries[0].path"),
        ),
        (
            "/spec/variants/0/libraries/0/path",
            json!(""),
            concat!("spec.variants[0]", ".libraries[0].path"),
        ),
        (
            "/spec/variants/0/libraries/0/name",
            json!("a/b"),
            concat!("spec.variants[0]", ".libraries[0].name"),
        ),
        (
            "/spec/variants/0/libraries/0/name",
            json!("lib"),
            concat!("spec.variants[0].components", "[0].libraries[0]"),
        ),
        (
            "/spec/variants/0/components/0/libraries/1",
            json!("cozylib"),
            concat!("spec.variants[0].components", "[0].libraries[1]"),
        ),
        (
            "/spec/variants/0/components/0/name",
            json!(""),
            concat!("spec.variants[0].components", "[0].name"),
        ),
        (
            "/spec/variants/0/components/0/name",
            json!("operator"),
            concat!("spec.variants[0].components", "[1].name"),
        ),
        (
            "/spec/variants/0/components/0/name",
            json!("Gizmo"),
            concat!("spec.variants[0].components", "[0].name"),
        ),
        (
            "/spec/variants/0/components/0/name",
            json!("gizmo "),
            concat!("spec.variants[0].components", "[0].name"),
        ),
        (
            "/spec/variants/0/components/0/name",
            json!("gizmo-"),
            concat!("spec.variants[0].components", "[0].name"),
        ),
        (
            "/spec/variants/0/components/0/name",
            json!(long(231)),
            concat!("spec.variants[0].components", "[0].name"),
        ),
        (
            "/spec/variants/0/components/2/name",
            json!("crd"),
            concat!("spec.variants[0].components", "[1].install.dependsOn[0]"),
        ),
        (
            "/spec/variants/1/components",
            json!([{"name": "x.y", "path": "p"}, {"name": "x-y", "path": "p"}]),
            "spec.variants[1].components[1].name",
        ),
        (
            "/spec/variants/0/components/0/path",
            json!("/apps/gizmo"),
            concat!("spec.variants[0].components", "[0].path"),
        ),
        (
            "/spec/variants/0/components/0/path",
            json!("apps/gizmo/"),
            concat!("spec.variants[0].components", "[0].path"),
        ),
        (
            "/spec/variants/0/components/0/path",
            json!("apps/../gizmo"),
            concat!("spec.variants[0].components", "[0].path"),
        ),
        (
            "/spec/variants/0/components/1/path",
            json!(""),
            concat!("spec.variants[0].components", "[1].path"),
        ),
        (
            "/spec/variants/0/components/1/valuesFiles/0",
            json!("../values.yaml"),
            concat!("spec.variants[0].components", "[1].valuesFiles[0]"),
        ),
        (
            "/spec/variants/0/components/1/install/namespace",
            json!(""),
            concat!("spec.variants[0].components", "[1].install.namespace"),
        ),
        (
            "/spec/variants/0/components/1/install/namespace",
            json!("Cozy"),
            concat!("spec.variants[0].components", "[1].install.namespace"),
        ),
        (
            "/spec/variants/0/components/1/install/namespace",
            json!("cozy.gizmo"),
            concat!("spec.variants[0].components", "[1].install.namespace"),
        ),
        (
            "/spec/variants/0/components/1/install/namespace",
            json!(long(64)),
            concat!("spec.variants[0].components", "[1].install.namespace"),
        ),
        (
            "/spec/variants/0/components/1/install",
            json!({}),
            concat!("spec.variants[0].components", "[1].install.namespace"),
        ),
        (
            "/spec/variants/0/components/1/install/releaseName",
            json!(long(54)),
            concat!("spec.variants[0].components", "[1].install.releaseName"),
        ),
        (
            "/spec/variants/0/components/1/install/releaseName",
            json!("Gizmo_Operator"),
            concat!("spec.variants[0].components", "[1].install.releaseName"),
        ),
        (
            "/spec/variants/0/components/1/install/releaseName",
            json!("crds"),
            concat!("spec.variants[0].components", "[2].install.releaseName"),
        ),
        (
            "/spec/variants/0/components/1/install/dependsOn/0",
            json!("operator"),
            concat!("spec.variants[0].components", "[1].install.dependsOn[0]"),
        ),
        (
            "/spec/variants/0/components/1/install/dependsOn/0",
            json!("gizmo"),
            concat!("spec.variants[0].components", "[1].install.dependsOn[0]"),
        ),
        (
            "/spec/variants/0/components/1/install/dependsOn/0",
            json!("nothing"),
            concat!("spec.variants[0].components", "[1].install.dependsOn[0]"),
        ),
        (
            "/spec/variants/0/components/2/install/dependsOn",
            json!(["operator"]),
            concat!("spec.variants[0].components", "[2].install.dependsOn[0]"),
        ),
    ];
    let packages: Vec<(&str, Value, &str)> = vec![
        ("/spec/variant", json!("defualt"), "spec.variant"),
        ("/spec/variant", json!("none"), "spec.variant"),
        ("/spec/variant", json!("big"), "spec.components.operator"),
        (
            "/spec/components/gizmos",
            json!({}),
            "spec.components.gizmos",
        ),
        (
            "/spec/components/operator/values",
            json!("replicas: 2"),
            "spec.components.operator.values",
        ),
        (
            "/spec/components/crds/values",
            json!([]),
            "spec.components.crds.values",
        ),
        (
            "/spec/components/crds/values",
            json!(false),
            "spec.components.crds.values",
        ),
    ];
    let values = "/spec/components/platform/values";
    let platforms: Vec<(&str, Value, &str)> = vec![
        ("/spec/variant", json!("paas-full"), "spec.variant"),
        (
            "/networking/podCIDR",
            json!("10.244.0.0/33"),
            "networking.podCIDR",
        ),
        (
            "/networking/serviceCIDR",
            json!("10.244.128.0/24"),
            "networking.serviceCIDR",
        ),
        (
            "/networking/podGateway",
            json!("10.245.0.1"),
            "networking.podGateway",
        ),
        ("/networking/joinCIDR", json!(7), "networking.joinCIDR"),
        ("/networkng", json!({}), "networkng"),
        ("/publishing/host", json!("Not A Host"), "publishing.host"),
        ("/publishing/host", json!("192.0.2.7"), "publishing.host"),
        (
            "/publishing/apiServerEndpoint",
            json!("api.example.org"),
            "publishing.apiServerEndpoint",
        ),
        (
            "/publishing/exposedServices",
            json!(["dashbord"]),
            "publishing.exposedServices[0]",
        ),
        (
            "/publishing/externalIPs/0",
            json!("192.0.2.300"),
            "publishing.externalIPs[0]",
        ),
        (
            "/publishing/certificates/issuerType",
            json!("dns02"),
            "publishing.certificates.issuerType",
        ),
        (
            "/bundles/enabledPackages/0",
            json!("cozystack.valero"),
            "bundles.enabledPackages[0]",
        ),
        (
            "/bundles/enabledPackages/0",
            json!("cozystack.telepresence"),
            "bundles.enabledPackages[0]",
        ),
        (
            "/bundles/disabledPackages/0",
            json!("telepresence"),
            "bundles.disabledPackages[0]",
        ),
        (
            "/bundles/system",
            json!({"variant": "isp-hosted"}),
            "bundles.iaas.enabled",
        ),
        (
            "/resources/cpuAllocationRatio",
            json!(0),
            "resources.cpuAllocationRatio",
        ),
        (
            "/registries",
            json!({"mirrors": {"docker.io": {"endpoints": ["http://192.0.2.9"]}}, "config": null}),
            "registries.config",
        ),
        (
            "/authentication",
            json!({"oidc": {"enabled": "yes"}}),
            "authentication.oidc.enabled",
        ),
    ];
    let sources = sources
        .into_iter()
        .map(|(pointer, value, field)| (Subject::Source, pointer, value, field));
    let packages = packages
        .into_iter()
        .map(|(pointer, value, field)| (Subject::Package, pointer, value, field));
    let platforms = platforms.into_iter().map(|(pointer, value, field)| {
        let leak = |text: String| -> &'static str { text.leak() };
        if pointer == "/spec/variant" {
            (Subject::Platform, pointer, value, field)
        } else {
            let field = leak(format!("spec.components.platform.values.{field}"));
            (
                Subject::Platform,
                leak(format!("{values}{pointer}")),
                value,
                field,
            )
        }
    });
    sources.chain(packages).chain(platforms).collect()
}
