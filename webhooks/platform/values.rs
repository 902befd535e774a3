//! The releases, the variants, what they set by default, and how Helm lays values over each other.

use crate::contract::Version as Release;
use serde_json::{Map, Value, json};
use std::fmt;

/// The releases whose rules differ; any other release goes by the newest of these that is not newer than itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// v1.0.0-alpha.1, the first with Packages.
    V1_0Alpha1,
    /// v1.0.0
    V1_0,
    /// v1.3.0: a Package that the platform no longer emits stays (`helm.sh/resource-policy: keep`).
    V1_3,
    /// v1.4.0
    V1_4,
    /// v1.5.0
    V1_5,
    /// v1.6.0
    V1_6,
}

impl Version {
    /// All, oldest first.
    pub const ALL: [Version; 6] = [
        Version::V1_0Alpha1,
        Version::V1_0,
        Version::V1_3,
        Version::V1_4,
        Version::V1_5,
        Version::V1_6,
    ];

    /// The release as its tag says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V1_0Alpha1 => "v1.0.0-alpha.1",
            Version::V1_0 => "v1.0.0",
            Version::V1_3 => "v1.3.0",
            Version::V1_4 => "v1.4.0",
            Version::V1_5 => "v1.5.0",
            Version::V1_6 => "v1.6.0",
        }
    }

    /// Whose rules count for that release.
    #[must_use]
    pub fn of(release: Release) -> Version {
        [
            (6, Version::V1_6),
            (5, Version::V1_5),
            (4, Version::V1_4),
            (3, Version::V1_3),
            (0, Version::V1_0),
        ]
        .into_iter()
        // What comes before a release goes by the rules before it.
        .find(|(minor, _)| release >= Release::release(1, *minor, 0))
        .map_or(Version::V1_0Alpha1, |(_, version)| version)
    }

    /// Whether a Package that is no longer emitted stays. Before v1.3.0 Helm deletes it, and its HelmReleases go
    /// with it (`_helpers.tpl`, `cozystack.platform.package`).
    #[must_use]
    pub fn keeps_packages(self) -> bool {
        self >= Version::V1_3
    }
}

impl Version {
    /// Whether its bundles and charts may bring and read more than is known here.
    pub(super) fn is_partly_known(self) -> bool {
        self >= Version::V1_3
    }
}

/// Where nothing says which release is installed.
impl Default for Version {
    fn default() -> Version {
        Version::V1_0Alpha1
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A full installation on Talos.
pub(super) const ISP_FULL: &str = "isp-full";
/// An installation on somebody else's network, storage and virtualisation.
pub(super) const ISP_HOSTED: &str = "isp-hosted";
/// A full installation on generic Linux.
pub(super) const ISP_FULL_GENERIC: &str = "isp-full-generic";

/// All variants of the platform's PackageSource, the newest last.
pub const VARIANTS: [&str; 4] = ["default", ISP_FULL, ISP_HOSTED, ISP_FULL_GENERIC];

/// The variants that a release has (PackageSource of the installer chart, `packages/core/installer/templates`).
pub fn variants(version: Version) -> impl Iterator<Item = &'static str> {
    VARIANTS
        .into_iter()
        .filter(move |variant| *variant != ISP_FULL_GENERIC || version > Version::V1_0Alpha1)
}

/// What the chart's `values.yaml` and the values files of the variant set together. A variant that the release does
/// not have adds nothing.
#[must_use]
pub fn defaults(variant: &str, version: Version) -> Map<String, Value> {
    let mut defaults = into_map(chart_defaults(version));
    if variants(version).any(|known| known == variant) {
        merge(&mut defaults, &into_map(variant_values(variant)));
    }
    defaults
}

/// What the chart works with: defaults, values files of the variant, the user's values.
#[must_use]
pub fn merged(variant: &str, values: &Value, version: Version) -> Map<String, Value> {
    let mut merged = defaults(variant, version);
    if let Value::Object(values) = values {
        merge(&mut merged, values);
    }
    merged
}

/// Lays `over` over `base` as Helm does (`pkg/chart/common/util/coalesce.go`): maps merge key by key, null takes a
/// key away, anything else replaces what is there.
pub fn merge(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (_, Value::Null) => {
                base.remove(key);
            }
            (Some(Value::Object(base)), Value::Object(over)) => merge(base, over),
            (_, Value::Object(over)) => {
                // For a template a key that holds null is a key that is not there.
                let mut fresh = Map::new();
                merge(&mut fresh, over);
                base.insert(key.clone(), Value::Object(fresh));
            }
            (_, value) => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// `packages/core/platform/values.yaml`, without the image, which differs in every build.
fn chart_defaults(version: Version) -> Value {
    let mut values = json!({
        "sourceRef": {
            "kind": "OCIRepository",
            "name": "cozystack-platform",
            "namespace": "cozy-system",
            "path": "/",
        },
        "migrations": {"enabled": false},
        "bundles": {
            "system": {"enabled": false, "variant": ISP_FULL},
            "iaas": {"enabled": false},
            "paas": {"enabled": false},
            "naas": {"enabled": false},
            "disabledPackages": [],
            "enabledPackages": [],
        },
        "networking": {
            "clusterDomain": "cozy.local",
            "podCIDR": "10.244.0.0/16",
            "podGateway": "10.244.0.1",
            "serviceCIDR": "10.96.0.0/16",
            "joinCIDR": "100.64.0.0/16",
        },
        "publishing": {
            "host": "example.org",
            "ingressName": "tenant-root",
            "exposedServices": ["api", "dashboard", "vm-exportproxy", "cdi-uploadproxy"],
            "apiServerEndpoint": "",
            "externalIPs": [],
        },
        "authentication": {"oidc": {"enabled": false}},
        "branding": {},
        // Neither mirrors nor config: whoever sets one without the other finds nothing below the other.
        "registries": {},
        "resources": {
            "cpuAllocationRatio": 10,
            "memoryAllocationRatio": 1,
            "ephemeralStorageAllocationRatio": 40,
        },
    });
    let more = match version {
        Version::V1_0Alpha1 => json!({
            "migrations": {"targetVersion": 24},
            "publishing": {"certificates": {"issuerType": "http01"}},
            "authentication": {"oidc": {"dashboard": {"extraRedirectUris": []}}},
            "scheduling": {"topologySpreadConstraints": []},
            "branding": {"dashboard": {}, "keycloak": {}},
        }),
        later => json!({
            "migrations": {"targetVersion": match later {
                Version::V1_6 => 54,
                Version::V1_5 => 48,
                Version::V1_4 => 42,
                _ => 34,
            }},
            "networking": {"kubeovn": {"MASTER_NODES": ""}},
            "publishing": {"certificates": {"solver": "http01", "issuerName": "letsencrypt-prod"}},
            "authentication": {"oidc": {"insecureSkipVerify": false, "keycloakExtraRedirectUri": ""}},
            "scheduling": {"globalAppTopologySpreadConstraints": ""},
        }),
    };
    if let (Value::Object(values), Value::Object(more)) = (&mut values, &more) {
        merge(values, more);
    }
    values
}

/// `packages/core/platform/values-<variant>.yaml`.
fn variant_values(variant: &str) -> Value {
    let of = |system: bool, iaas: bool| {
        json!({
            "migrations": {"enabled": true},
            "bundles": {
                "system": {"enabled": system, "variant": variant},
                "iaas": {"enabled": iaas},
                "paas": {"enabled": true},
                "naas": {"enabled": true},
            },
        })
    };
    match variant {
        ISP_FULL | ISP_FULL_GENERIC => of(true, true),
        ISP_HOSTED => of(false, false),
        _ => Value::Null,
    }
}
