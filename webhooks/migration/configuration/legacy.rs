//! The releases of the old bundles, and the Packages that install the same components now.
//!
//! Source: `packages/core/platform/bundles/paas-{full,hosted}.yaml` of v0.39.5, `packages/core/platform/sources` of
//! v1.0.0-alpha.1. Where PackageSources are installed, these are asked first.

use super::Snapshot;
use crate::packages::{Component, DEFAULT_VARIANT, Package, Source, Variant};
use crate::platform;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What all names of the platform's Packages start with.
const PREFIX: &str = "cozystack.";

/// The bundles that can be carried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bundle {
    /// `paas-full`
    Full,
    /// `paas-hosted`
    Hosted,
}

impl Bundle {
    /// That of a `bundle-name`.
    pub(super) fn of(name: &str) -> Option<Bundle> {
        match name {
            "paas-full" => Some(Bundle::Full),
            "paas-hosted" => Some(Bundle::Hosted),
            _ => None,
        }
    }

    /// The variant of the platform that does the same.
    pub(super) fn variant(self) -> &'static str {
        match self {
            Bundle::Full => "isp-full",
            Bundle::Hosted => "isp-hosted",
        }
    }
}

/// The bundles that have a release.
#[derive(Clone, Copy, PartialEq)]
enum In {
    Both,
    Full,
}

/// Where the component of a release is now.
#[derive(Clone, Copy)]
enum Home {
    /// In the Package of the same name.
    Own,
    /// In this one.
    Of(&'static str),
    /// Nowhere: no Package installs it.
    Nowhere,
}

/// A release of the old bundles.
#[derive(Clone, Copy)]
struct Release {
    name: &'static str,
    bundles: In,
    /// Only installed when `bundle-enable` names it.
    is_optional: bool,
    home: Home,
}

const fn both(name: &'static str) -> Release {
    Release {
        name,
        bundles: In::Both,
        is_optional: false,
        home: Home::Own,
    }
}

const fn full(name: &'static str) -> Release {
    Release {
        bundles: In::Full,
        ..both(name)
    }
}

const fn optional(release: Release) -> Release {
    Release {
        is_optional: true,
        ..release
    }
}

const fn of(package: &'static str, release: Release) -> Release {
    Release {
        home: Home::Of(package),
        ..release
    }
}

const fn nowhere(release: Release) -> Release {
    Release {
        home: Home::Nowhere,
        ..release
    }
}

const NETWORKING: &str = platform::NETWORKING;
const ENGINE: &str = "cozystack.cozystack-engine";
const CERT_MANAGER: &str = "cozystack.cert-manager";

static RELEASES: [Release; 63] = [
    nowhere(both("fluxcd-operator")),
    nowhere(both("fluxcd")),
    of(NETWORKING, full("cilium")),
    of(NETWORKING, full("cilium-networkpolicy")),
    of(NETWORKING, full("kubeovn")),
    full("kubeovn-webhook"),
    full("kubeovn-plunger"),
    full("multus"),
    full("cozy-proxy"),
    of(CERT_MANAGER, both("cert-manager-crds")),
    of(CERT_MANAGER, both("cert-manager")),
    of(CERT_MANAGER, both("cert-manager-issuers")),
    of(ENGINE, both("cozystack-api")),
    of(ENGINE, both("cozystack-controller")),
    of(ENGINE, both("lineage-controller-webhook")),
    of(ENGINE, both("dashboard")),
    of(ENGINE, both("keycloak-configure")),
    nowhere(both("cozystack-resource-definition-crd")),
    nowhere(both("cozystack-resource-definitions")),
    full("backup-controller"),
    full("prometheus-operator-crds"),
    full("metrics-server"),
    both("victoria-metrics-operator"),
    both("monitoring-agents"),
    of("cozystack.kubevirt", full("kubevirt-operator")),
    full("kubevirt"),
    of("cozystack.kubevirt", full("kubevirt-instancetypes")),
    of("cozystack.kubevirt-cdi", full("kubevirt-cdi-operator")),
    full("kubevirt-cdi"),
    optional(full("gpu-operator")),
    full("metallb"),
    both("etcd-operator"),
    both("grafana-operator"),
    both("mariadb-operator"),
    both("postgres-operator"),
    both("kafka-operator"),
    both("clickhouse-operator"),
    both("foundationdb-operator"),
    both("rabbitmq-operator"),
    both("redis-operator"),
    of("cozystack.linstor", both("piraeus-operator")),
    full("linstor"),
    optional(full("nfs-driver")),
    full("snapshot-controller"),
    both("objectstorage-controller"),
    optional(both("telepresence")),
    full("kamaji"),
    full("capi-operator"),
    of(
        "cozystack.capi-provider-bootstrap-kubeadm",
        full("capi-providers-bootstrap"),
    ),
    of("cozystack.capi-provider-core", full("capi-providers-core")),
    of(
        "cozystack.capi-provider-cp-kamaji",
        full("capi-providers-cpprovider"),
    ),
    of(
        "cozystack.capi-provider-infra-kubevirt",
        full("capi-providers-infraprovider"),
    ),
    optional(both("external-dns")),
    optional(both("external-secrets-operator")),
    optional(full("bootbox")),
    both("keycloak"),
    both("keycloak-operator"),
    both("goldpinger"),
    both("vertical-pod-autoscaler"),
    of(
        "cozystack.vertical-pod-autoscaler",
        both("vertical-pod-autoscaler-crds"),
    ),
    full("reloader"),
    optional(both("velero")),
    optional(both("hetzner-robotlb")),
];

fn releases() -> impl Iterator<Item = &'static Release> {
    RELEASES.iter()
}

/// The names of all releases of the old bundles.
pub fn names() -> impl Iterator<Item = &'static str> {
    releases().map(|release| release.name)
}

/// Whether a bundle has a release, and installs it as the two lists stand. The lists are read as the old platform read
/// them: with their blanks.
pub(super) fn was_installed(
    name: &str,
    bundle: Bundle,
    enabled: &BTreeSet<&str>,
    disabled: &BTreeSet<&str>,
) -> bool {
    let release = releases().find(|release| release.name == name);
    release.is_some_and(|release| {
        (bundle == Bundle::Full || release.bundles == In::Both)
            && (!release.is_optional || enabled.contains(name))
            && !disabled.contains(name)
    })
}

/// Whether a bundle has a release that is only installed when it is named.
pub(super) fn is_optional(name: &str, bundle: Bundle) -> bool {
    let release = releases().find(|release| release.name == name);
    release.is_some_and(|release| {
        release.is_optional && (bundle == Bundle::Full || release.bundles == In::Both)
    })
}

/// Packages of which no component has the Package's own name.
fn has_own_component(bare: &str) -> bool {
    !(bare.ends_with("-application")
        || bare.starts_with("capi-provider-")
        || ["networking", "cozystack-engine", "cozystack-platform"].contains(&bare))
}

/// Packages with more than one component that is installed.
static COMPONENTS: [(&str, &[&str]); 7] = [
    (NETWORKING, &["cilium", "cilium-networkpolicy", "kubeovn"]),
    (
        ENGINE,
        &[
            "application-definition-crd",
            "cozystack-api",
            "cozystack-controller",
            "dashboard",
            "keycloak-configure",
            "lineage-controller-webhook",
        ],
    ),
    (
        CERT_MANAGER,
        &["cert-manager", "cert-manager-crds", "cert-manager-issuers"],
    ),
    (
        "cozystack.kubevirt",
        &["kubevirt", "kubevirt-instancetypes", "kubevirt-operator"],
    ),
    (
        "cozystack.kubevirt-cdi",
        &["kubevirt-cdi", "kubevirt-cdi-operator"],
    ),
    ("cozystack.linstor", &["linstor", "piraeus-operator"]),
    (
        "cozystack.vertical-pod-autoscaler",
        &["vertical-pod-autoscaler", "vertical-pod-autoscaler-crds"],
    ),
];

/// What Packages depend on, by bare name and variant (empty for any), beside networking.
static DEPENDENCIES: [(&str, &str, &[&str]); 42] = [
    ("bootbox", "", &["bootbox-application"]),
    ("bucket-application", "", &["objectstorage-controller"]),
    ("capi-provider-bootstrap-kubeadm", "", &["capi-operator"]),
    ("capi-provider-core", "", &["capi-operator"]),
    ("capi-provider-cp-kamaji", "", &["capi-operator", "kamaji"]),
    (
        "capi-provider-infra-kubevirt",
        "",
        &["capi-operator", "kubevirt"],
    ),
    ("clickhouse-application", "", &["clickhouse-operator"]),
    ("clickhouse-operator", "", &["prometheus-operator-crds"]),
    ("cozystack-basics", "", &["tenant-application"]),
    (
        "cozystack-engine",
        "oidc",
        &["keycloak", "keycloak-operator"],
    ),
    ("etcd-operator", "", &["cert-manager"]),
    ("foundationdb-application", "", &["foundationdb-operator"]),
    ("foundationdb-operator", "", &["cert-manager"]),
    ("goldpinger", "", &["prometheus-operator-crds"]),
    ("ingress-nginx", "", &["prometheus-operator-crds"]),
    ("kafka-application", "", &["kafka-operator"]),
    ("kafka-operator", "", &["prometheus-operator-crds"]),
    ("keycloak-operator", "", &["keycloak"]),
    ("keycloak", "", &["postgres-operator"]),
    (
        "kubeovn-plunger",
        "",
        &["cert-manager", "victoria-metrics-operator"],
    ),
    ("kubeovn-webhook", "", &["cert-manager"]),
    (
        "kubernetes-application",
        "",
        &[
            "capi-operator",
            "capi-provider-bootstrap-kubeadm",
            "capi-provider-core",
            "capi-provider-cp-kamaji",
            "capi-provider-infra-kubevirt",
        ],
    ),
    ("kubevirt", "", &["prometheus-operator-crds"]),
    ("linstor-scheduler", "", &["linstor", "cert-manager"]),
    (
        "linstor",
        "",
        &[
            "cert-manager",
            "victoria-metrics-operator",
            "reloader",
            "snapshot-controller",
        ],
    ),
    (
        "mariadb-operator",
        "",
        &["prometheus-operator-crds", "cert-manager"],
    ),
    ("metrics-server", "", &["prometheus-operator-crds"]),
    (
        "monitoring-agents",
        "",
        &["victoria-metrics-operator", "vertical-pod-autoscaler"],
    ),
    ("monitoring-application", "", &["postgres-operator"]),
    ("mysql-application", "", &["mariadb-operator"]),
    ("postgres-application", "", &["postgres-operator"]),
    (
        "postgres-operator",
        "",
        &["prometheus-operator-crds", "cert-manager"],
    ),
    ("rabbitmq-application", "", &["rabbitmq-operator"]),
    ("redis-application", "", &["redis-operator"]),
    ("snapshot-controller", "", &["cert-manager"]),
    (
        "tenant-application",
        "",
        &[
            "ingress-application",
            "seaweedfs-application",
            "info-application",
            "monitoring-application",
            "etcd-application",
        ],
    ),
    ("velero", "", &["monitoring-agents"]),
    ("victoria-metrics-operator", "", &["cert-manager"]),
    (
        "virtual-machine-application",
        "",
        &["kubevirt", "kubevirt-cdi"],
    ),
    ("virtualprivatecloud-application", "", &["multus"]),
    ("vm-disk-application", "", &["kubevirt-cdi"]),
    ("vm-instance-application", "", &["kubevirt"]),
];

/// Which Package installs a component.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// This one.
    In(&'a str),
    /// Each of these, so that nobody knows which is meant.
    Several(Vec<&'a str>),
    /// None any more.
    Gone,
    /// No release of the old bundles and no Package has it.
    Unknown,
}

/// The Packages and their sources, installed or built in.
pub(super) struct Packages<'a> {
    snapshot: &'a Snapshot,
    sources: BTreeMap<&'a str, Source<'a>>,
}

impl<'a> Packages<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Packages<'a> {
        let sources = snapshot.all("cozystack.io", "PackageSource");
        let sources = sources.filter_map(|source| {
            let name = source.pointer("/metadata/name")?.as_str()?;
            Some((name, Source(source.get("spec")?)))
        });
        Packages {
            snapshot,
            sources: sources.collect(),
        }
    }

    /// Whether a source of that name is installed.
    pub(super) fn is_installed(&self, package: &str) -> bool {
        self.sources.contains_key(package)
    }

    /// The Package of that name.
    pub(super) fn live(&self, package: &str) -> Option<&'a Value> {
        self.snapshot.get("cozystack.io", "Package", "", package)
    }

    /// Its variant.
    pub(super) fn live_variant(&self, package: &str) -> Option<&'a str> {
        let spec = self.live(package)?.get("spec");
        Some(spec.map_or(DEFAULT_VARIANT, |spec| Package::of_spec(spec).variant()))
    }

    /// The names of all Packages that are there.
    pub(super) fn all_live(&self) -> impl Iterator<Item = &'a str> {
        let all = self.snapshot.all("cozystack.io", "Package");
        all.filter_map(|package| package.pointer("/metadata/name")?.as_str())
    }

    /// Which Package installs a component.
    pub(super) fn place(&self, component: &str) -> Place<'a> {
        let built_in = built_in(component);
        let installs = |source: &Source<'a>| {
            let mut variants = source.variants();
            variants.any(|variant| {
                let component = variant.component(component);
                component.is_some_and(|component| component.install().is_some())
            })
        };
        let found: Vec<&'a str> = self
            .sources
            .iter()
            .filter(|(name, source)| **name != platform::PACKAGE && installs(source))
            .map(|(name, _)| *name)
            .collect();
        match (found.as_slice(), built_in) {
            ([], built_in) => built_in,
            ([one], _) => Place::In(one),
            (several, Place::In(known)) if several.contains(&known) => Place::In(known),
            (_, _) => Place::Several(found),
        }
    }

    /// The components that a Package can install, in all its variants.
    pub(super) fn components(&self, package: &str) -> BTreeSet<&'a str> {
        if let Some(source) = self.sources.get(package) {
            let components = source.variants().flat_map(Variant::components);
            return components
                .filter(|component| component.install().is_some())
                .map(Component::name)
                .collect();
        }
        let known = COMPONENTS.iter().find(|(name, _)| *name == package);
        known.map_or_else(BTreeSet::new, |(_, names)| names.iter().copied().collect())
    }

    /// Whether a variant of a Package is known to install nothing under the name of that component.
    pub(super) fn lacks(&self, package: &str, variant: &str, component: &str) -> bool {
        let Some(source) = self.sources.get(package) else {
            return match (package, variant) {
                (NETWORKING, "noop") => true,
                (ENGINE, DEFAULT_VARIANT) => component == "keycloak-configure",
                _ => false,
            };
        };
        let variant = source.variant(variant);
        variant.is_none_or(|variant| {
            let component = variant.component(component);
            component.is_none_or(|component| component.install().is_none())
        })
    }

    /// The components of a Package that are installed after that one, and wait for it even where it is disabled.
    pub(super) fn waiting(&self, package: &str, component: &str) -> BTreeSet<&'a str> {
        let source = self.sources.get(package);
        let variants = source.into_iter().flat_map(|source| source.variants());
        variants
            .flat_map(Variant::components)
            .filter(|other| {
                let install = other.install();
                install.is_some_and(|install| install.depends_on().any(|name| name == component))
            })
            .map(Component::name)
            .collect()
    }

    /// The Packages for which a Package of that variant waits, but for those that it ignores.
    pub(super) fn dependencies(&self, package: &str, variant: &str) -> BTreeSet<String> {
        let spec = self.live(package).and_then(|live| live.get("spec"));
        let ignored: BTreeSet<&str> = spec
            .into_iter()
            .flat_map(|spec| Package::of_spec(spec).ignored())
            .collect();
        let all: BTreeSet<String> = match self.sources.get(package) {
            Some(source) => {
                let variant = source.variant(variant).into_iter();
                let names = variant.flat_map(Variant::depends_on);
                names.map(ToOwned::to_owned).collect()
            }
            None => {
                let bare = package.strip_prefix(PREFIX).unwrap_or(package);
                let rows = DEPENDENCIES
                    .iter()
                    .filter(|(name, of, _)| *name == bare && (of.is_empty() || *of == variant));
                rows.flat_map(|(_, _, names)| names.iter())
                    .map(|name| format!("{PREFIX}{name}"))
                    .collect()
            }
        };
        let is_waited_for = |name: &String| !ignored.contains(name.as_str());
        all.into_iter().filter(is_waited_for).collect()
    }
}

/// Which Package installs a component, as far as is built in.
fn built_in(component: &str) -> Place<'static> {
    let home = releases()
        .find(|release| release.name == component)
        .map(|release| release.home);
    match home {
        Some(Home::Of(package)) => return Place::In(package),
        Some(Home::Nowhere) => return Place::Gone,
        Some(Home::Own) | None => {}
    }
    let known = platform::known_packages().find(|known| {
        let bare = known.strip_prefix(PREFIX).unwrap_or(known);
        bare == component && has_own_component(bare)
    });
    known.map_or(Place::Unknown, Place::In)
}

/// The release of the old bundles that somebody who wrote `name` probably means.
pub(super) fn nearest_release(name: &str) -> Option<&'static str> {
    crate::contract::nearest(name, names())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_release_is_there_once_and_has_a_known_place() {
        let all: Vec<&str> = names().collect();
        let once: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(once.len(), all.len());
        assert_eq!(all.len(), 63);
        for name in all {
            let place = built_in(name);
            match place {
                Place::In(package) => assert!(platform::is_known_package(package), "{name}"),
                Place::Gone => {}
                other => panic!("{name}: {other:?}"),
            }
        }
        for (name, _, names) in DEPENDENCIES {
            for name in names.iter().chain([&name]) {
                assert!(
                    platform::is_known_package(&format!("{PREFIX}{name}")),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_component_has_no_place() {
        for name in [
            "networking",
            "cozystack-engine",
            "vm-disk-application",
            "capi-provider-core",
            "",
            "x.y",
        ] {
            assert_eq!(built_in(name), Place::Unknown, "{name}");
        }
        assert_eq!(
            built_in("ingress-nginx"),
            Place::In("cozystack.ingress-nginx")
        );
    }
}
