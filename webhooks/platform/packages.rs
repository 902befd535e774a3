//! The Packages that the bundles bring, and when.

use super::values::{ISP_FULL, ISP_FULL_GENERIC, ISP_HOSTED, Version};
use crate::contract::{nearest, syntax};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What all names of the platform's Packages start with.
const PREFIX: &str = "cozystack.";
/// The Package without which nothing else becomes ready.
/// The Package without which a cluster has no network.
pub const NETWORKING: &str = "cozystack.networking";
const ENGINE: &str = "cozystack.cozystack-engine";
/// It waits for a Package that no bundle brings.
pub(super) const BOOTBOX: &str = "cozystack.bootbox";

/// When a bundle brings a Package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// With the system bundle.
    System,
    /// With the system bundle, in a variant that it picks by `bundles.system.variant`.
    Networking,
    /// With the system bundle on machines of one's own (kube-ovn).
    OwnNetwork,
    /// With the system bundle, if people log in through OIDC.
    Oidc,
    /// With the system bundle, if enabled by name.
    SystemIfEnabled,
    /// With the IaaS bundle.
    Iaas,
    /// With the IaaS bundle, if enabled by name.
    IaasIfEnabled,
    /// With the PaaS bundle.
    Paas,
    /// With the NaaS bundle.
    Naas,
    /// No bundle brings it: others depend on it, or a cluster's owner makes it.
    Never,
    /// A later release has it, under conditions that are not known here.
    Unknown,
}

/// One Package of the platform.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// Its name.
    pub(super) name: &'static str,
    variant: &'static str,
    pub(super) when: When,
    since: Version,
    until: Option<Version>,
}

impl Known {
    fn is_in(&self, version: Version) -> bool {
        version >= self.since && self.until.is_none_or(|until| version < until)
    }
}

const fn always(name: &'static str, when: When) -> Known {
    Known {
        name,
        variant: "default",
        when,
        since: Version::V1_0Alpha1,
        until: None,
    }
}

const fn kubevirt(name: &'static str) -> Known {
    Known {
        variant: "kubevirt",
        ..always(name, When::Iaas)
    }
}

const fn since(version: Version, name: &'static str, when: When) -> Known {
    Known {
        since: version,
        ..always(name, when)
    }
}

const fn until(version: Version, known: Known) -> Known {
    Known {
        until: Some(version),
        ..known
    }
}

const A1: Version = Version::V1_0Alpha1;
const G: Version = Version::V1_0;

/// Source: `packages/core/platform/templates/bundles/{system,iaas,paas,naas}.yaml` and `sources/*.yaml`. For
/// v1.0.0-alpha.1 the list is complete (75 sources). Of what later releases added, only what the bundles bring in
/// v1.0.0 has a condition, and which of them has it first is not told.
static KNOWN: [Known; 116] = [
    Known {
        variant: "",
        ..always(NETWORKING, When::Networking)
    },
    always("cozystack.kubeovn-webhook", When::OwnNetwork),
    always("cozystack.kubeovn-plunger", When::OwnNetwork),
    always("cozystack.cozy-proxy", When::OwnNetwork),
    always("cozystack.multus", When::OwnNetwork),
    always("cozystack.metallb", When::OwnNetwork),
    always("cozystack.reloader", When::OwnNetwork),
    always("cozystack.linstor", When::OwnNetwork),
    until(G, always("cozystack.linstor-scheduler", When::Never)),
    since(G, "cozystack.linstor-scheduler", When::OwnNetwork),
    always("cozystack.snapshot-controller", When::OwnNetwork),
    always(ENGINE, When::System),
    always("cozystack.keycloak", When::Oidc),
    always("cozystack.keycloak-operator", When::Oidc),
    always("cozystack.cert-manager", When::System),
    since(G, "cozystack.flux-plunger", When::System),
    always("cozystack.victoria-metrics-operator", When::System),
    always("cozystack.tenant-application", When::System),
    always("cozystack.ingress-application", When::System),
    always("cozystack.seaweedfs-application", When::System),
    always("cozystack.info-application", When::System),
    always("cozystack.monitoring-application", When::System),
    always("cozystack.etcd-application", When::System),
    always("cozystack.cozystack-basics", When::System),
    always("cozystack.backup-controller", When::System),
    always("cozystack.vertical-pod-autoscaler", When::System),
    until(G, always("cozystack.metrics-server", When::Never)),
    since(G, "cozystack.metrics-server", When::System),
    always("cozystack.monitoring-agents", When::System),
    always("cozystack.goldpinger", When::System),
    always("cozystack.prometheus-operator-crds", When::System),
    always("cozystack.grafana-operator", When::System),
    always("cozystack.etcd-operator", When::System),
    always("cozystack.postgres-operator", When::System),
    always("cozystack.objectstorage-controller", When::System),
    always("cozystack.backupstrategy-controller", When::SystemIfEnabled),
    always("cozystack.velero", When::SystemIfEnabled),
    always("cozystack.nfs-driver", When::SystemIfEnabled),
    always("cozystack.telepresence", When::SystemIfEnabled),
    always("cozystack.external-dns", When::SystemIfEnabled),
    always("cozystack.external-secrets-operator", When::SystemIfEnabled),
    always(BOOTBOX, When::SystemIfEnabled),
    always("cozystack.hetzner-robotlb", When::SystemIfEnabled),
    always("cozystack.bootbox-application", When::Never),
    always("cozystack.ingress-nginx", When::Never),
    always("cozystack.kubevirt", When::Iaas),
    always("cozystack.kubevirt-cdi", When::Iaas),
    always("cozystack.gpu-operator", When::IaasIfEnabled),
    always("cozystack.kamaji", When::Iaas),
    always("cozystack.capi-operator", When::Iaas),
    always("cozystack.capi-provider-bootstrap-kubeadm", When::Iaas),
    always("cozystack.capi-provider-core", When::Iaas),
    always("cozystack.capi-provider-cp-kamaji", When::Iaas),
    always("cozystack.capi-provider-infra-kubevirt", When::Iaas),
    always("cozystack.bucket-application", When::Iaas),
    kubevirt("cozystack.kubernetes-application"),
    until(G, kubevirt("cozystack.virtual-machine-application")),
    kubevirt("cozystack.virtualprivatecloud-application"),
    kubevirt("cozystack.vm-disk-application"),
    kubevirt("cozystack.vm-instance-application"),
    always("cozystack.mariadb-operator", When::Paas),
    always("cozystack.kafka-operator", When::Paas),
    always("cozystack.clickhouse-operator", When::Paas),
    always("cozystack.foundationdb-operator", When::Paas),
    always("cozystack.rabbitmq-operator", When::Paas),
    always("cozystack.redis-operator", When::Paas),
    since(G, "cozystack.mongodb-operator", When::Paas),
    always("cozystack.clickhouse-application", When::Paas),
    until(G, always("cozystack.ferretdb-application", When::Paas)),
    always("cozystack.foundationdb-application", When::Paas),
    always("cozystack.kafka-application", When::Paas),
    until(G, always("cozystack.mysql-application", When::Paas)),
    since(G, "cozystack.mariadb-application", When::Paas),
    since(G, "cozystack.mongodb-application", When::Paas),
    always("cozystack.nats-application", When::Paas),
    always("cozystack.postgres-application", When::Paas),
    since(G, "cozystack.qdrant-application", When::Paas),
    always("cozystack.rabbitmq-application", When::Paas),
    always("cozystack.redis-application", When::Paas),
    always("cozystack.http-cache-application", When::Naas),
    always("cozystack.tcp-balancer-application", When::Naas),
    always("cozystack.vpn-application", When::Naas),
    since(G, "cozystack.cluster-autoscaler-azure", When::Unknown),
    since(G, "cozystack.cluster-autoscaler-hetzner", When::Unknown),
    since(G, "cozystack.clustersecret-operator", When::Unknown),
    since(G, "cozystack.cozystack-scheduler", When::Unknown),
    since(G, "cozystack.external-dns-application", When::Unknown),
    since(G, "cozystack.harbor-application", When::Unknown),
    since(G, "cozystack.kilo", When::Unknown),
    since(G, "cozystack.linstor-gui", When::Unknown),
    since(G, "cozystack.local-ccm", When::Unknown),
    since(G, "cozystack.monitoring", When::Unknown),
    since(G, "cozystack.openbao-application", When::Unknown),
    since(G, "cozystack.opensearch-application", When::Unknown),
    since(G, "cozystack.opensearch-operator", When::Unknown),
    since(G, "cozystack.address-controller", When::Unknown),
    since(G, "cozystack.capi-provider-ipam-in-cluster", When::Unknown),
    since(G, "cozystack.cluster-autoscaler-switchcloud", When::Unknown),
    since(G, "cozystack.computeplane-application", When::Unknown),
    since(G, "cozystack.cozyplane-apiserver", When::Unknown),
    since(G, "cozystack.customizer", When::Unknown),
    since(G, "cozystack.db-autoscaler", When::Unknown),
    since(G, "cozystack.flux-shard-operator", When::Unknown),
    since(G, "cozystack.gateway-api-crds", When::Unknown),
    since(G, "cozystack.gateway-application", When::Unknown),
    since(G, "cozystack.hami", When::Unknown),
    since(G, "cozystack.kubernetes-nodes-application", When::Unknown),
    since(G, "cozystack.kubernetes-worker-image", When::Unknown),
    since(G, "cozystack.kuberture", When::Unknown),
    since(G, "cozystack.metallb-iad", When::Unknown),
    since(G, "cozystack.nfs-application", When::Unknown),
    since(G, "cozystack.ouroboros", When::Unknown),
    since(G, "cozystack.securitygroup-controller", When::Unknown),
    since(G, "cozystack.site-router-application", When::Unknown),
    since(G, "cozystack.trust-manager", When::Unknown),
    since(G, "cozystack.vm-default-images", When::Unknown),
];

/// Whether any release has a Package of that name.
#[must_use]
pub fn is_known_package(name: &str) -> bool {
    KNOWN.iter().any(|known| known.name == name)
}

/// The names of all Packages that any release has; some come twice.
pub fn known_packages() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|known| known.name)
}

/// The Package of that name in a release.
pub(super) fn known(name: &str, version: Version) -> Option<&'static Known> {
    KNOWN
        .iter()
        .find(|known| known.name == name && known.is_in(version))
}

/// The Package that somebody who wrote `name` probably means. What all names have in common says nothing, and is what
/// people leave out (legacy bundles had bare names).
#[must_use]
pub fn nearest_package(name: &str) -> Option<String> {
    if name.len() > syntax::DNS_NAME_MAX_BYTES {
        return None;
    }
    let bare = name.strip_prefix(PREFIX).unwrap_or(name);
    let bare_names = KNOWN
        .iter()
        .filter_map(|known| known.name.strip_prefix(PREFIX))
        .map(ToOwned::to_owned);
    nearest(bare, bare_names).map(|nearest| format!("{PREFIX}{nearest}"))
}

/// The `system.variant`s with which the IaaS bundle renders (`templates/bundles/iaas.yaml`).
pub(super) fn iaas_variants(version: Version) -> &'static [&'static str] {
    match version {
        A1 => &[ISP_FULL],
        _ => &[ISP_FULL, ISP_FULL_GENERIC],
    }
}

/// The `system.variant`s that bring networking, and with which the PaaS and NaaS bundles render
/// (`templates/bundles/{system,paas,naas}.yaml`).
pub(super) fn hosting_variants(version: Version) -> &'static [&'static str] {
    match version {
        A1 => &[ISP_FULL, ISP_HOSTED],
        _ => &[ISP_FULL, ISP_FULL_GENERIC, ISP_HOSTED],
    }
}

/// What decides over the bundles, as the templates see it.
pub(super) struct Bundles<'v> {
    merged: &'v Map<String, Value>,
}

impl<'v> Bundles<'v> {
    pub(super) fn of(merged: &'v Map<String, Value>) -> Bundles<'v> {
        Bundles { merged }
    }

    fn at(&self, section: &str, pointer: &str) -> Option<&'v Value> {
        self.merged.get(section)?.pointer(pointer)
    }

    /// Whether the bundle of that name is enabled.
    pub(super) fn is_enabled(&self, bundle: &str) -> bool {
        self.at("bundles", &format!("/{bundle}/enabled")) == Some(&Value::Bool(true))
    }

    /// `bundles.system.variant`, empty when it is no text.
    pub(super) fn variant(&self) -> &'v str {
        self.at("bundles", "/system/variant")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn has_oidc(&self) -> bool {
        self.at("authentication", "/oidc/enabled") == Some(&Value::Bool(true))
    }

    fn lists(&self, list: &str, name: &str) -> bool {
        let names = self
            .merged
            .get("bundles")
            .and_then(|bundles| bundles.get(list));
        let mut names = names.and_then(Value::as_array).into_iter().flatten();
        names.any(|listed| listed == name)
    }

    /// Whether the bundle that may bring the Package does so, whatever the lists say.
    pub(super) fn is_on(&self, when: When, version: Version) -> bool {
        let hosts = hosting_variants(version).contains(&self.variant());
        match when {
            When::System | When::SystemIfEnabled => self.is_enabled("system"),
            When::Networking => self.is_enabled("system") && hosts,
            When::OwnNetwork => self.has_own_network(version),
            When::Oidc => self.is_enabled("system") && self.has_oidc(),
            When::Iaas | When::IaasIfEnabled => {
                self.is_enabled("iaas") && iaas_variants(version).contains(&self.variant())
            }
            When::Paas => self.is_enabled("paas") && hosts,
            When::Naas => self.is_enabled("naas") && hosts,
            When::Never | When::Unknown => false,
        }
    }

    /// Whether the platform brings a network of its own, which is told the CIDRs.
    pub(super) fn has_own_network(&self, version: Version) -> bool {
        self.is_enabled("system") && iaas_variants(version).contains(&self.variant())
    }

    fn emits(&self, known: &Known, version: Version) -> bool {
        let needs_name = matches!(known.when, When::SystemIfEnabled | When::IaasIfEnabled);
        known.is_in(version)
            && self.is_on(known.when, version)
            && (!needs_name || self.lists("enabledPackages", known.name))
            // What is in both lists is disabled.
            && !self.lists("disabledPackages", known.name)
    }

    fn variant_of(&self, known: &Known, version: Version) -> &'static str {
        match (known.name, self.variant()) {
            (NETWORKING, ISP_FULL) => "kubeovn-cilium",
            (NETWORKING, ISP_FULL_GENERIC) => "kubeovn-cilium-generic",
            (NETWORKING, _) => "noop",
            (ENGINE, _) if self.has_oidc() => "oidc",
            ("cozystack.gpu-operator", _)
                if version >= Version::V1_5
                    && self
                        .at("bundles", "/iaas/gpuOperatorVariant")
                        .is_some_and(|variant| variant == "vgpu") =>
            {
                "vgpu"
            }
            _ => known.variant,
        }
    }
}

/// Whether the bundles render for these [`merged`](super::merged) values: otherwise Helm leaves everything as it is.
#[must_use]
pub fn renders(merged: &Map<String, Value>, version: Version) -> bool {
    let bundles = Bundles::of(merged);
    let fits = |variants: &[&str]| variants.contains(&bundles.variant());
    (!bundles.is_enabled("iaas") || fits(iaas_variants(version)))
        && (!(bundles.is_enabled("paas") || bundles.is_enabled("naas"))
            || fits(hosting_variants(version)))
}

/// The Packages that the bundles bring for these [`merged`](super::merged) values, and the variant of each. Complete
/// for v1.0.0-alpha.1; of later releases it has what v1.0.0 has, so what it names is brought, but more may be.
/// Values that do not render (see [`check`](super::check)) bring nothing new at all.
#[must_use]
pub fn emitted(
    merged: &Map<String, Value>,
    version: Version,
) -> BTreeMap<&'static str, &'static str> {
    let bundles = Bundles::of(merged);
    KNOWN
        .iter()
        .filter(|known| bundles.emits(known, version))
        .map(|known| (known.name, bundles.variant_of(known, version)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::merged;
    use super::*;
    use serde_json::json;

    fn of(variant: &str, values: &Value, version: Version) -> BTreeMap<&'static str, &'static str> {
        emitted(&merged(variant, values, version), version)
    }

    #[test]
    fn names_are_distinct_in_every_release() {
        for version in Version::ALL {
            let mut names: Vec<_> = KNOWN
                .iter()
                .filter(|known| known.is_in(version))
                .map(|known| known.name)
                .collect();
            let total = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), total, "{version}");
            assert!(names.iter().all(|name| name.starts_with(PREFIX)));
            // One source a Package, beside the platform's own.
            assert!(version != A1 || total == 75, "{total}");
        }
    }

    #[test]
    fn the_default_variant_brings_nothing() {
        for version in Version::ALL {
            assert!(of("default", &Value::Null, version).is_empty());
            assert!(of("paas-full", &Value::Null, version).is_empty());
        }
    }

    #[test]
    fn hosted_brings_18_and_with_the_system_bundle_all() {
        let blocked = of("isp-hosted", &Value::Null, A1);
        assert_eq!(blocked.len(), 18, "{blocked:?}");
        assert!(!blocked.contains_key(NETWORKING));
        let on = of(
            "isp-hosted",
            &json!({"bundles": {"system": {"enabled": true}}}),
            A1,
        );
        assert_eq!(on.get(NETWORKING), Some(&"noop"));
        assert_eq!(on.get(ENGINE), Some(&"default"));
        assert!(on.contains_key("cozystack.cert-manager"));
        assert!(!on.contains_key("cozystack.linstor") && !on.contains_key("cozystack.kubevirt"));
        assert_eq!(on.len(), 38, "{on:?}");
    }

    #[test]
    fn full_brings_the_rest() {
        let full = of("isp-full", &Value::Null, A1);
        assert_eq!(full.len(), 60, "{full:?}");
        assert_eq!(full.get(NETWORKING), Some(&"kubeovn-cilium"));
        for name in [
            "kubeovn-webhook",
            "kubeovn-plunger",
            "cozy-proxy",
            "multus",
            "metallb",
            "reloader",
            "linstor",
            "snapshot-controller",
        ] {
            assert!(full.contains_key(&*format!("{PREFIX}{name}")), "{name}");
        }
        for name in [
            "kubernetes-application",
            "virtual-machine-application",
            "virtualprivatecloud-application",
            "vm-disk-application",
            "vm-instance-application",
        ] {
            assert_eq!(
                full.get(&*format!("{PREFIX}{name}")),
                Some(&"kubevirt"),
                "{name}"
            );
        }
        for name in [
            "ingress-nginx",
            "linstor-scheduler",
            "metrics-server",
            "bootbox-application",
        ] {
            assert!(!full.contains_key(&*format!("{PREFIX}{name}")), "{name}");
        }
    }

    #[test]
    fn oidc_and_lists_decide() {
        let values = json!({
            "authentication": {"oidc": {"enabled": true}},
            "bundles": {
                "enabledPackages": ["cozystack.velero", "cozystack.gpu-operator", "cozystack.telepresence",
                    "cozystack.ingress-nginx"],
                "disabledPackages": ["cozystack.velero", "cozystack.goldpinger"],
            },
        });
        let before = of("isp-full", &Value::Null, A1);
        let after = of("isp-full", &values, A1);
        assert_eq!(after.get(ENGINE), Some(&"oidc"));
        let new: Vec<_> = after
            .keys()
            .filter(|name| !before.contains_key(*name))
            .collect();
        assert_eq!(
            new,
            [
                &"cozystack.gpu-operator",
                &"cozystack.keycloak",
                &"cozystack.keycloak-operator",
                &"cozystack.telepresence"
            ]
        );
        let gone: Vec<_> = before
            .keys()
            .filter(|name| !after.contains_key(*name))
            .collect();
        assert_eq!(gone, [&"cozystack.goldpinger"]);
        // Every optional one, and whatever else there is.
        let all: Vec<_> = KNOWN.iter().map(|known| known.name).collect();
        let values = json!({
            "authentication": {"oidc": {"enabled": true}},
            "bundles": {"enabledPackages": all},
        });
        assert_eq!(of("isp-full", &values, A1).len(), 60 + 9 + 2);
    }

    #[test]
    fn later_releases_differ() {
        assert!(of("isp-full-generic", &Value::Null, A1).is_empty());
        let generic = of("isp-full-generic", &Value::Null, G);
        assert_eq!(generic.get(NETWORKING), Some(&"kubeovn-cilium-generic"));
        assert!(generic.contains_key("cozystack.kubevirt"));
        let full = of("isp-full", &Value::Null, G);
        assert!(!full.contains_key("cozystack.mysql-application"));
        assert!(full.contains_key("cozystack.mariadb-application"));
        let gpu = json!({"bundles": {"iaas": {"gpuOperatorVariant": "vgpu"}, "enabledPackages": ["cozystack.gpu-operator"]}});
        assert_eq!(
            of("isp-full", &gpu, Version::V1_6).get("cozystack.gpu-operator"),
            Some(&"vgpu")
        );
        assert_eq!(
            of("isp-full", &gpu, G).get("cozystack.gpu-operator"),
            Some(&"default")
        );
    }

    #[test]
    fn the_nearest_name_is_found() {
        for (name, nearest) in [
            ("telepresence", Some("cozystack.telepresence")),
            ("cozystack.telepresense", Some("cozystack.telepresence")),
            ("cozystack.gpu_operator", Some("cozystack.gpu-operator")),
            ("cozystack.zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest_package(name).as_deref(), nearest, "{name}");
        }
    }
}
