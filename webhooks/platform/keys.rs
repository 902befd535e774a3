//! The keys that the chart reads, by release: their types and syntax, which are dead, and what a misspelt one means.

use super::values::Version;
use super::{text, warn};
use crate::contract::{Path, Verdict, Violation, nearest, syntax};
use serde_json::{Map, Value};

/// A key that differs from a known one by no more than this many edits is misspelt.
const MISSPELT_MAX_EDITS: usize = 2;
/// For a longer key nothing is suggested: comparing takes as long as the key.
const SUGGESTED_FOR_MAX_BYTES: usize = 100;

type Check = fn(&str) -> Option<String>;

/// What stands at a key.
#[derive(Clone, Copy)]
enum Shape {
    /// A map with known keys. Templates read below it without asking, so it may not be taken away.
    Section(&'static [Key]),
    /// A map with known keys that may be absent.
    Group(&'static [Key]),
    /// A map whose keys are the user's, passed on as it is.
    FreeMap,
    /// Passed on as it is, or checked elsewhere.
    Anything,
    /// A string.
    Text(Check),
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// A boolean.
    Flag,
    /// A whole number that is not negative.
    Count,
    /// A number greater than zero.
    Ratio,
    /// A list of strings.
    Texts(Check),
}

/// Which releases read a key.
#[derive(Clone, Copy)]
enum Life {
    /// All.
    Always,
    /// This one and later: before it the key is accepted, unchecked.
    Since(Version),
    /// The key is older, but before this release nothing came of it.
    EffectiveSince(Version),
    /// Only those before this one, which has these keys instead.
    Until(Version, &'static str),
    /// None: the sentence says so, and what they read instead.
    Dead(&'static str),
}

/// A key.
#[derive(Clone, Copy)]
struct Key {
    name: &'static str,
    shape: Shape,
    life: Life,
}

const fn key(name: &'static str, shape: Shape) -> Key {
    Key {
        name,
        shape,
        life: Life::Always,
    }
}

const fn lives(life: Life, key: Key) -> Key {
    Key { life, ..key }
}

const fn since(version: Version, name: &'static str, shape: Shape) -> Key {
    lives(Life::Since(version), key(name, shape))
}

/// Source: `packages/core/platform/values.yaml` and, for what it does not list, the templates.
static KEYS: [Key; 15] = [
    key("sourceRef", Shape::Section(&SOURCE_REF)),
    key("migrations", Shape::Section(&MIGRATIONS)),
    key("bundles", Shape::Section(&BUNDLES)),
    key("networking", Shape::Section(&NETWORKING)),
    key("publishing", Shape::Section(&PUBLISHING)),
    key("authentication", Shape::Section(&AUTHENTICATION)),
    key("scheduling", Shape::Group(&SCHEDULING)),
    // It goes into `_cluster` as it is.
    key("branding", Shape::FreeMap),
    key("registries", Shape::Section(&REGISTRIES)),
    key("resources", Shape::Group(&RESOURCES)),
    since(Version::V1_4, "gateway", Shape::Group(&GATEWAY)),
    since(Version::V1_6, "monitoring", Shape::Group(&MONITORING)),
    since(Version::V1_6, "backupStorage", Shape::FreeMap),
    since(Version::V1_5, "gpu", Shape::FreeMap),
    since(Version::V1_6, "telemetry", Shape::FreeMap),
];

static SOURCE_REF: [Key; 4] = [
    // The chart copies the spec of an OCIRepository; nothing else has the fields (`templates/repository.yaml`).
    key("kind", Shape::OneOf(&["OCIRepository"])),
    key("name", Shape::Text(syntax::dns_name)),
    key("namespace", Shape::Text(syntax::dns_label)),
    key("path", Shape::Text(text::any)),
];

static MIGRATIONS: [Key; 3] = [
    key("enabled", Shape::Flag),
    key("image", Shape::Text(text::not_empty)),
    key("targetVersion", Shape::Count),
];

static BUNDLES: [Key; 6] = [
    key("system", Shape::Section(&SYSTEM_BUNDLE)),
    key("iaas", Shape::Section(&IAAS_BUNDLE)),
    key("paas", Shape::Section(&BUNDLE)),
    key("naas", Shape::Section(&BUNDLE)),
    key("disabledPackages", Shape::Texts(text::any)),
    key("enabledPackages", Shape::Texts(text::any)),
];

static BUNDLE: [Key; 1] = [key("enabled", Shape::Flag)];

static SYSTEM_BUNDLE: [Key; 3] = [
    key("enabled", Shape::Flag),
    key("variant", Shape::Text(text::any)),
    // The migration script of v1.0.0-alpha.1 writes it.
    lives(
        Life::Dead("no chart reads it; set variant"),
        key("type", Shape::Anything),
    ),
];

static IAAS_BUNDLE: [Key; 2] = [
    key("enabled", Shape::Flag),
    since(
        Version::V1_5,
        "gpuOperatorVariant",
        Shape::OneOf(&["default", "vgpu"]),
    ),
];

static NETWORKING: [Key; 8] = [
    key("clusterDomain", Shape::Text(syntax::dns_name)),
    // The four are checked against each other, on the merged values.
    key("podCIDR", Shape::Text(text::any)),
    key("podGateway", Shape::Text(text::any)),
    key("serviceCIDR", Shape::Text(text::any)),
    key("joinCIDR", Shape::Text(text::any)),
    since(Version::V1_0, "kubeovn", Shape::Section(&KUBEOVN)),
    since(Version::V1_6, "encryption", Shape::FreeMap),
    since(Version::V1_6, "stageCniPlugins", Shape::Anything),
];

static KUBEOVN: [Key; 1] = [key("MASTER_NODES", Shape::Text(text::ips))];

static PUBLISHING: [Key; 11] = [
    key("host", Shape::Text(text::host)),
    key("ingressName", Shape::Text(syntax::dns_label)),
    key("exposedServices", Shape::Texts(text::any)),
    key("apiServerEndpoint", Shape::Text(text::url_or_empty)),
    key("externalIPs", Shape::Texts(text::ip)),
    key("certificates", Shape::Section(&CERTIFICATES)),
    since(
        Version::V1_5,
        "ingressNameAdmin",
        Shape::Text(text::dns_label_or_empty),
    ),
    since(
        Version::V1_6,
        "loadBalancerClass",
        Shape::Text(text::class_or_empty),
    ),
    since(Version::V1_4, "proxyProtocol", Shape::Flag),
    since(
        Version::V1_4,
        "proxyProtocolAcknowledgeUnclean",
        Shape::Flag,
    ),
    since(Version::V1_5, "exposureClass", Shape::FreeMap),
];

static CERTIFICATES: [Key; 6] = [
    lives(
        Life::Until(Version::V1_0, "solver and issuerName"),
        key("issuerType", Shape::OneOf(&["http01", "cloudflare"])),
    ),
    // Empty for an issuer of one's own: the migration script writes it so.
    since(
        Version::V1_0,
        "solver",
        Shape::OneOf(&["http01", "dns01", ""]),
    ),
    since(Version::V1_0, "issuerName", Shape::Text(syntax::dns_name)),
    since(Version::V1_5, "wildcard", Shape::Flag),
    since(
        Version::V1_5,
        "wildcardSecretName",
        Shape::Text(text::dns_name_or_empty),
    ),
    since(Version::V1_4, "dns01", Shape::Group(&DNS01)),
];

static DNS01: [Key; 5] = [
    key(
        "provider",
        Shape::OneOf(&["cloudflare", "route53", "digitalocean", "rfc2136"]),
    ),
    key("cloudflare", Shape::FreeMap),
    key("route53", Shape::FreeMap),
    key("digitalocean", Shape::FreeMap),
    key("rfc2136", Shape::FreeMap),
];

static AUTHENTICATION: [Key; 1] = [key("oidc", Shape::Section(&OIDC))];

static OIDC: [Key; 5] = [
    key("enabled", Shape::Flag),
    lives(
        Life::Dead("no chart reads it"),
        key("dashboard", Shape::Anything),
    ),
    since(Version::V1_0, "insecureSkipVerify", Shape::Flag),
    since(
        Version::V1_0,
        "keycloakExtraRedirectUri",
        Shape::Text(text::any),
    ),
    since(
        Version::V1_4,
        "keycloakInternalUrl",
        Shape::Text(text::url_or_empty),
    ),
];

static SCHEDULING: [Key; 3] = [
    // A string that holds YAML, not YAML.
    key("globalAppTopologySpreadConstraints", Shape::Text(text::any)),
    key("dedicatedNodesForWindowsVMs", Shape::Anything),
    lives(
        Life::Dead("charts read globalAppTopologySpreadConstraints"),
        key("topologySpreadConstraints", Shape::Anything),
    ),
];

static REGISTRIES: [Key; 2] = [
    // Checked together, on the merged values.
    key("mirrors", Shape::Anything),
    key("config", Shape::Anything),
];

static RESOURCES: [Key; 3] = [
    lives(
        Life::EffectiveSince(Version::V1_6),
        key("cpuAllocationRatio", Shape::Ratio),
    ),
    lives(
        Life::EffectiveSince(Version::V1_6),
        key("memoryAllocationRatio", Shape::Ratio),
    ),
    lives(
        Life::EffectiveSince(Version::V1_6),
        key("ephemeralStorageAllocationRatio", Shape::Ratio),
    ),
];

static GATEWAY: [Key; 3] = [
    key("enabled", Shape::Flag),
    key("attachedNamespaces", Shape::Texts(syntax::dns_label)),
    key("http2", Shape::Flag),
];

static MONITORING: [Key; 1] = [key("rootEnabled", Shape::Flag)];

/// Adds what is wrong with what the user wrote, key by key. `defaults` are those of the variant: who repeats a
/// default is not told that it has no effect.
pub(super) fn check(
    values: &Map<String, Value>,
    defaults: &Map<String, Value>,
    version: Version,
    path: &Path<'_>,
    verdict: &mut Verdict,
) {
    walk(&KEYS, values, Some(defaults), version, path, verdict);
    nested_branding(values, path, verdict);
}

fn walk(
    keys: &[Key],
    values: &Map<String, Value>,
    defaults: Option<&Map<String, Value>>,
    version: Version,
    path: &Path<'_>,
    verdict: &mut Verdict,
) {
    for (name, value) in values {
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            // Helm's own, and those that the platform's Secret brings.
            if name != "global" && !name.starts_with('_') {
                unknown(name, keys.iter().map(|key| key.name), path, verdict);
            }
            continue;
        };
        let path = path.member(key.name);
        let default = defaults.and_then(|defaults| defaults.get(name));
        let (no_effect, is_checked) = match key.life {
            Life::Since(first) if version < first => {
                (Some(format!("has no effect before {first}")), false)
            }
            Life::EffectiveSince(first) if version < first => {
                (Some(format!("has no effect before {first}")), true)
            }
            Life::Until(end, instead) if version >= end => {
                (Some(format!("{instead} replaced it in {end}")), false)
            }
            Life::Dead(instead) => (Some(instead.to_owned()), false),
            _ => (None, true),
        };
        if let Some(sentence) = no_effect
            && default != Some(value)
        {
            warn(verdict, &path, &sentence);
        }
        if !is_checked {
            continue;
        }
        shape(key, value, default, version, &path, verdict);
    }
}

fn shape(
    key: &Key,
    value: &Value,
    default: Option<&Value>,
    version: Version,
    path: &Path<'_>,
    verdict: &mut Verdict,
) {
    match (key.shape, value) {
        (Shape::Section(_), Value::Null) => verdict.refuse(Violation::required(
            path,
            "may not be taken away with null: the chart reads the keys below it",
        )),
        (_, Value::Null)
        | (Shape::Anything, _)
        | (Shape::FreeMap, Value::Object(_))
        | (Shape::Flag, Value::Bool(_)) => {}
        (Shape::Section(keys) | Shape::Group(keys), Value::Object(values)) => {
            let defaults = default.and_then(Value::as_object);
            walk(keys, values, defaults, version, path, verdict);
        }
        (Shape::Section(_) | Shape::Group(_) | Shape::FreeMap, _) => {
            verdict.refuse(Violation::wrong_type(path, value, "an object"));
        }
        (Shape::Text(check), Value::String(text)) => {
            if let Some(detail) = check(text) {
                verdict.refuse(Violation::invalid(path, text.as_str(), detail));
            }
        }
        (Shape::OneOf(supported), Value::String(text)) => {
            if !supported.contains(&text.as_str()) {
                verdict.refuse(Violation::not_supported(path, text.as_str(), supported));
            }
        }
        (Shape::Text(_) | Shape::OneOf(_), _) => {
            verdict.refuse(Violation::wrong_type(path, value, "a string"));
        }
        (Shape::Flag, _) => verdict.refuse(Violation::wrong_type(path, value, "a boolean")),
        (Shape::Count, Value::Number(number)) => {
            if !number.is_u64() {
                verdict.refuse(Violation::invalid(
                    path,
                    value.clone(),
                    "must be a whole number that is not negative",
                ));
            }
        }
        (Shape::Ratio, Value::Number(number)) => {
            if !number.as_f64().is_some_and(|ratio| ratio > 0.0) {
                verdict.refuse(Violation::invalid(
                    path,
                    value.clone(),
                    "must be greater than 0",
                ));
            }
        }
        (Shape::Count | Shape::Ratio, _) => {
            verdict.refuse(Violation::wrong_type(path, value, "a number"));
        }
        (Shape::Texts(check), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                let path = path.index(index);
                match item {
                    Value::String(text) => {
                        if let Some(detail) = check(text) {
                            verdict.refuse(Violation::invalid(&path, text.as_str(), detail));
                        }
                    }
                    other => verdict.refuse(Violation::wrong_type(&path, other, "a string")),
                }
            }
        }
        (Shape::Texts(_), _) => verdict.refuse(Violation::wrong_type(path, value, "a list")),
    }
}

/// A key that no release knows: refused when it is a slip of the pen, else only warned of, for a newer release than
/// is known here may have it.
pub(super) fn unknown(
    name: &str,
    known: impl Iterator<Item = &'static str>,
    path: &Path<'_>,
    verdict: &mut Verdict,
) {
    let path = path.member(name);
    let candidates = known.filter(|_| name.len() <= SUGGESTED_FOR_MAX_BYTES);
    match nearest(name, candidates.map(ToOwned::to_owned)) {
        Some(nearest) if is_misspelt(name, &nearest) => verdict.refuse(Violation::forbidden(
            &path,
            format!("is no value of the platform; did you mean {nearest}?"),
        )),
        Some(nearest) => warn(
            verdict,
            &path,
            &format!("is unknown; did you mean {nearest}?"),
        ),
        None => warn(verdict, &path, "is unknown: no chart reads it"),
    }
}

fn is_misspelt(name: &str, known: &str) -> bool {
    strsim::osa_distance(&name.to_lowercase(), &known.to_lowercase()) <= MISSPELT_MAX_EDITS
}

/// The charts read `branding` flat, though v1.0.0-alpha.1 suggests one map a consumer.
fn nested_branding(values: &Map<String, Value>, path: &Path<'_>, verdict: &mut Verdict) {
    let Some(branding) = values.get("branding").and_then(Value::as_object) else {
        return;
    };
    let path = path.member("branding");
    for name in ["dashboard", "keycloak"] {
        let nested = branding.get(name).and_then(Value::as_object);
        if nested.is_some_and(|nested| !nested.is_empty()) {
            warn(
                verdict,
                &path.member(name),
                "has no effect: write its keys directly under branding",
            );
        }
    }
}
