//! Which Packages the platform's own Package emits, by its variant and values.
//!
//! Source: `packages/core/platform/values*.yaml` and `templates/bundles/*.yaml` of Cozystack v1.0.0-alpha.1 and v1.0.0.
//! Names that only one of the two emits are harmless: only Packages that exist are ever spoken of.

use crate::contract::Version;
use crate::packages::Package;
use serde_json::Value;
use std::collections::BTreeMap;

/// The platform's own Package, and its source.
pub const NAME: &str = "cozystack.cozystack-platform";
/// Its only component.
pub const COMPONENT: &str = "platform";
/// The Package without which a cluster has no network.
pub const NETWORKING: &str = "cozystack.networking";
/// Its variants; the last one came with v1.0.0.
pub const VARIANTS: [&str; 4] = ["default", FULL, HOSTED, GENERIC];
/// From this release on every Package is kept when the bundle no longer emits it.
pub const KEEPS_PACKAGES: Version = Version::release(1, 3, 0);
/// Annotation by which Helm keeps an object that is no longer rendered, and its value.
pub const RESOURCE_POLICY: (&str, &str) = ("helm.sh/resource-policy", "keep");

const FULL: &str = "isp-full";
const HOSTED: &str = "isp-hosted";
const GENERIC: &str = "isp-full-generic";

/// The variant that has taken the place of a bundle of the legacy configuration.
pub fn successor_of_bundle(package: &str, bundle: &str) -> Option<&'static str> {
    match (package, bundle) {
        (NAME, "paas-full") => Some(FULL),
        (NAME, "paas-hosted") => Some(HOSTED),
        _ => None,
    }
}

/// What emits a Package.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// The system bundle, in every variant.
    System,
    /// The system bundle where the cluster is the platform's own.
    Machines,
    /// The system bundle with OIDC.
    Oidc,
    /// The bundle `iaas`.
    Iaas,
    /// The bundle `paas`.
    Paas,
    /// The bundle `naas`.
    Naas,
    /// The system bundle, when `enabledPackages` names it.
    Optional,
    /// The bundle `iaas`, when `enabledPackages` names it.
    OptionalIaas,
}

const DEFAULT: &str = "default";
const KUBEVIRT: &str = "kubevirt";

/// Package (without `cozystack.`), what emits it, and in which variant. Networking and the engine are not here: their
/// variant follows the values.
const EMITTED: &[(&str, Part, &str)] = &[
    ("kubeovn-webhook", Part::Machines, DEFAULT),
    ("kubeovn-plunger", Part::Machines, DEFAULT),
    ("cozy-proxy", Part::Machines, DEFAULT),
    ("multus", Part::Machines, DEFAULT),
    ("metallb", Part::Machines, DEFAULT),
    ("reloader", Part::Machines, DEFAULT),
    ("linstor", Part::Machines, DEFAULT),
    ("snapshot-controller", Part::Machines, DEFAULT),
    ("keycloak", Part::Oidc, DEFAULT),
    ("keycloak-operator", Part::Oidc, DEFAULT),
    ("cert-manager", Part::System, DEFAULT),
    ("flux-plunger", Part::System, DEFAULT),
    ("victoria-metrics-operator", Part::System, DEFAULT),
    ("tenant-application", Part::System, DEFAULT),
    ("ingress-application", Part::System, DEFAULT),
    ("seaweedfs-application", Part::System, DEFAULT),
    ("info-application", Part::System, DEFAULT),
    ("monitoring-application", Part::System, DEFAULT),
    ("etcd-application", Part::System, DEFAULT),
    ("cozystack-basics", Part::System, DEFAULT),
    ("backup-controller", Part::System, DEFAULT),
    ("vertical-pod-autoscaler", Part::System, DEFAULT),
    ("monitoring-agents", Part::System, DEFAULT),
    ("goldpinger", Part::System, DEFAULT),
    ("prometheus-operator-crds", Part::System, DEFAULT),
    ("grafana-operator", Part::System, DEFAULT),
    ("etcd-operator", Part::System, DEFAULT),
    ("postgres-operator", Part::System, DEFAULT),
    ("objectstorage-controller", Part::System, DEFAULT),
    ("backupstrategy-controller", Part::Optional, DEFAULT),
    ("velero", Part::Optional, DEFAULT),
    ("nfs-driver", Part::Optional, DEFAULT),
    ("telepresence", Part::Optional, DEFAULT),
    ("external-dns", Part::Optional, DEFAULT),
    ("external-secrets-operator", Part::Optional, DEFAULT),
    ("bootbox", Part::Optional, DEFAULT),
    ("hetzner-robotlb", Part::Optional, DEFAULT),
    ("gpu-operator", Part::OptionalIaas, DEFAULT),
    ("kubevirt", Part::Iaas, DEFAULT),
    ("kubevirt-cdi", Part::Iaas, DEFAULT),
    ("kamaji", Part::Iaas, DEFAULT),
    ("capi-operator", Part::Iaas, DEFAULT),
    ("capi-provider-bootstrap-kubeadm", Part::Iaas, DEFAULT),
    ("capi-provider-core", Part::Iaas, DEFAULT),
    ("capi-provider-cp-kamaji", Part::Iaas, DEFAULT),
    ("capi-provider-infra-kubevirt", Part::Iaas, DEFAULT),
    ("bucket-application", Part::Iaas, DEFAULT),
    ("kubernetes-application", Part::Iaas, KUBEVIRT),
    ("virtual-machine-application", Part::Iaas, KUBEVIRT),
    ("virtualprivatecloud-application", Part::Iaas, KUBEVIRT),
    ("vm-disk-application", Part::Iaas, KUBEVIRT),
    ("vm-instance-application", Part::Iaas, KUBEVIRT),
    ("mariadb-operator", Part::Paas, DEFAULT),
    ("kafka-operator", Part::Paas, DEFAULT),
    ("clickhouse-operator", Part::Paas, DEFAULT),
    ("foundationdb-operator", Part::Paas, DEFAULT),
    ("rabbitmq-operator", Part::Paas, DEFAULT),
    ("redis-operator", Part::Paas, DEFAULT),
    ("mongodb-operator", Part::Paas, DEFAULT),
    ("clickhouse-application", Part::Paas, DEFAULT),
    ("ferretdb-application", Part::Paas, DEFAULT),
    ("foundationdb-application", Part::Paas, DEFAULT),
    ("kafka-application", Part::Paas, DEFAULT),
    ("mysql-application", Part::Paas, DEFAULT),
    ("mariadb-application", Part::Paas, DEFAULT),
    ("mongodb-application", Part::Paas, DEFAULT),
    ("nats-application", Part::Paas, DEFAULT),
    ("postgres-application", Part::Paas, DEFAULT),
    ("qdrant-application", Part::Paas, DEFAULT),
    ("rabbitmq-application", Part::Paas, DEFAULT),
    ("redis-application", Part::Paas, DEFAULT),
    ("http-cache-application", Part::Naas, DEFAULT),
    ("tcp-balancer-application", Part::Naas, DEFAULT),
    ("vpn-application", Part::Naas, DEFAULT),
];

/// What decides over the Packages.
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each switch of the chart"
)]
struct Bundles<'a> {
    system: bool,
    kind: &'a str,
    iaas: bool,
    paas: bool,
    naas: bool,
    oidc: bool,
    enabled: Vec<&'a str>,
    disabled: Vec<&'a str>,
}

/// Whether a template takes it as true.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

impl<'a> Bundles<'a> {
    /// The defaults of the chart and of the variant, and the Package's values over them. None for a variant that is not
    /// known here.
    fn of(package: Package<'a>) -> Option<Bundles<'a>> {
        let (kind, system, iaas, others) = match package.variant() {
            DEFAULT => (FULL, false, false, false),
            FULL => (FULL, true, true, true),
            HOSTED => (HOSTED, false, false, true),
            GENERIC => (GENERIC, true, true, true),
            _ => return None,
        };
        let values = package
            .component(COMPONENT)
            .and_then(|component| component.get("values"));
        let value = |pointer: &str| values.and_then(|values| values.pointer(pointer));
        let flag = |pointer: &str, default: bool| value(pointer).map_or(default, is_true);
        let names = |pointer: &str| {
            let items = value(pointer).and_then(Value::as_array);
            items
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect()
        };
        Some(Bundles {
            system: flag("/bundles/system/enabled", system),
            kind: value("/bundles/system/variant")
                .and_then(Value::as_str)
                .unwrap_or(kind),
            iaas: flag("/bundles/iaas/enabled", iaas),
            paas: flag("/bundles/paas/enabled", others),
            naas: flag("/bundles/naas/enabled", others),
            oidc: flag("/authentication/oidc/enabled", false),
            enabled: names("/bundles/enabledPackages"),
            disabled: names("/bundles/disabledPackages"),
        })
    }

    /// Whether the chart renders at all: otherwise Helm leaves everything as it is.
    fn renders(&self) -> bool {
        let has_machines = [FULL, GENERIC].contains(&self.kind);
        (!self.iaas || has_machines)
            && (!(self.paas || self.naas) || has_machines || self.kind == HOSTED)
    }

    fn has(&self, part: Part) -> bool {
        match part {
            Part::System | Part::Optional => self.system,
            Part::Machines => self.system && [FULL, GENERIC].contains(&self.kind),
            Part::Oidc => self.system && self.oidc,
            Part::Iaas | Part::OptionalIaas => self.iaas,
            Part::Paas => self.paas,
            Part::Naas => self.naas,
        }
    }
}

/// The Packages that the platform emits, and their variants. None when that cannot be told: a variant that is not known
/// here, or values with which the chart does not render. Then nothing is deleted either.
pub fn emitted(platform: Package<'_>) -> Option<BTreeMap<String, &'static str>> {
    if !platform.is_enabled(COMPONENT) {
        return Some(BTreeMap::new());
    }
    let bundles = Bundles::of(platform).filter(Bundles::renders)?;
    let mut packages: BTreeMap<String, &'static str> = EMITTED
        .iter()
        .filter(|(_, part, _)| bundles.has(*part))
        .map(|(name, part, variant)| (format!("cozystack.{name}"), *part, *variant))
        .filter(|(name, part, _)| {
            let is_optional = [Part::Optional, Part::OptionalIaas].contains(part);
            !is_optional || bundles.enabled.contains(&name.as_str())
        })
        .map(|(name, _, variant)| (name, variant))
        .collect();
    if bundles.system {
        let networking = match bundles.kind {
            FULL => Some("kubeovn-cilium"),
            GENERIC => Some("kubeovn-cilium-generic"),
            HOSTED => Some("noop"),
            _ => None,
        };
        if let Some(variant) = networking {
            packages.insert(NETWORKING.to_owned(), variant);
        }
        let engine = if bundles.oidc { "oidc" } else { DEFAULT };
        packages.insert("cozystack.cozystack-engine".to_owned(), engine);
    }
    packages.retain(|name, _| !bundles.disabled.contains(&name.as_str()));
    Some(packages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(spec: &Value) -> Option<BTreeMap<String, &'static str>> {
        emitted(Package(spec))
    }

    #[test]
    fn variants_emit_what_the_charts_do() {
        let full = of(&json!({"variant": "isp-full"})).unwrap();
        assert_eq!(full[NETWORKING], "kubeovn-cilium");
        assert_eq!(full["cozystack.kubernetes-application"], "kubevirt");
        assert!(!full.contains_key("cozystack.velero"));
        assert!(!full.contains_key("cozystack.keycloak"));
        let generic = of(&json!({"variant": "isp-full-generic"})).unwrap();
        assert_eq!(generic[NETWORKING], "kubeovn-cilium-generic");
        assert_eq!(of(&json!({})).unwrap().len(), 0);
        // As shipped the hosted variant has no system bundle.
        let hosted = of(&json!({"variant": "isp-hosted"})).unwrap();
        assert!(
            !hosted.contains_key(NETWORKING) && hosted.contains_key("cozystack.kafka-operator")
        );
        assert_eq!(of(&json!({"variant": "paas-full"})), None);
    }

    #[test]
    fn values_overrule_variants() {
        let with = |values: Value| {
            of(&json!({"variant": "isp-full", "components": {"platform": {"values": values}}}))
        };
        let some = with(json!({
            "bundles": {
                "iaas": {"enabled": false},
                "enabledPackages": ["cozystack.velero", "cozystack.gpu-operator", "cozystack.bootbox"],
                "disabledPackages": ["cozystack.linstor", "cozystack.bootbox"],
            },
            "authentication": {"oidc": {"enabled": true}},
        }))
        .unwrap();
        assert!(some.contains_key("cozystack.velero") && some.contains_key("cozystack.keycloak"));
        assert_eq!(some["cozystack.cozystack-engine"], "oidc");
        for absent in ["kubevirt", "linstor", "bootbox", "gpu-operator"] {
            assert!(
                !some.contains_key(&format!("cozystack.{absent}")),
                "{absent}"
            );
        }
        let hosted = with(
            json!({"bundles": {"system": {"variant": "isp-hosted"}, "iaas": {"enabled": null}}}),
        );
        assert_eq!(hosted.unwrap()[NETWORKING], "noop");
        // The chart does not render.
        assert_eq!(
            with(json!({"bundles": {"system": {"variant": "isp-hosted"}}})),
            None
        );
        assert_eq!(
            with(json!({"bundles": {"system": {"variant": "x"}, "iaas": {"enabled": ""}}})),
            None
        );
        let off = json!({"variant": "isp-full", "components": {"platform": {"enabled": false}}});
        assert_eq!(of(&off).unwrap().len(), 0);
    }
}
