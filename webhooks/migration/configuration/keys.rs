//! What the values of the platform should say, key by key.

use super::{BRANDING, COZYSTACK, Old, Origin, Report, SCHEDULING, shown, shown_text};
use crate::contract::nearest;
use crate::migration::Weight;
use crate::platform::{EXPOSED_SERVICES, Version};
use crate::yaml;
use serde_json::{Map, Number, Value};

/// A value that the platform should have.
pub(super) struct Wanted {
    /// Below the values of its component.
    pub(super) path: Vec<String>,
    pub(super) value: Value,
    pub(super) origin: Origin,
    pub(super) kind: Kind,
}

/// How a value is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The ConfigMap says so.
    Said,
    /// The old platform took it so, because the ConfigMap says nothing: whoever says another thing now means it.
    Implied,
    /// The new platform wrote the ConfigMap, from a value that it had: no source for anything that is there.
    Rendered,
}

/// A value of which the ConfigMap says nothing, though the old platform has no default that the new one shares.
pub(super) struct Absent {
    pub(super) path: Vec<String>,
    pub(super) key: &'static str,
    pub(super) text: String,
    /// Whether the Package cannot do without.
    pub(super) is_needed: bool,
}

/// What the platform should have, and what is not known.
#[derive(Default)]
pub(super) struct All {
    pub(super) values: Vec<Wanted>,
    pub(super) absent: Vec<Absent>,
}

impl All {
    fn put(&mut self, path: &[&str], value: impl Into<Value>, key: &str, kind: Kind) {
        self.values.push(Wanted {
            path: path.iter().map(|name| (*name).to_owned()).collect(),
            value: value.into(),
            origin: Origin::of(COZYSTACK, key),
            kind,
        });
    }
}

/// Texts that stay what they are.
const TEXTS: [(&str, &[&str]); 8] = [
    ("cluster-domain", &["networking", "clusterDomain"]),
    ("ipv4-pod-cidr", &["networking", "podCIDR"]),
    ("ipv4-pod-gateway", &["networking", "podGateway"]),
    ("ipv4-svc-cidr", &["networking", "serviceCIDR"]),
    ("ipv4-join-cidr", &["networking", "joinCIDR"]),
    ("root-host", &["publishing", "host"]),
    ("api-server-endpoint", &["publishing", "apiServerEndpoint"]),
    ("expose-ingress", &["publishing", "ingressName"]),
];

/// Without these the old platform did not render either.
const NEEDED: [&str; 2] = ["root-host", "api-server-endpoint"];
/// kube-ovn got them as they were.
const NETWORKS: &str = "ipv4-";

const RATIOS: [(&str, &str); 3] = [
    ("cpu-allocation-ratio", "cpuAllocationRatio"),
    ("memory-allocation-ratio", "memoryAllocationRatio"),
    (
        "ephemeral-storage-allocation-ratio",
        "ephemeralStorageAllocationRatio",
    ),
];

/// Keys that other parts of the plan read, or that have no target.
const OTHERS: [&str; 10] = [
    "bundle-name",
    "bundle-enable",
    "bundle-disable",
    "oidc-enabled",
    "telemetry-enabled",
    "expose-services",
    "expose-external-ips",
    "clusterissuer",
    REDIRECT_URI,
    KUBECONFIG_ENDPOINT,
];

/// Where Keycloak may send people back to, beside the dashboard.
pub(super) const REDIRECT_URI: &str = "extra-keycloak-redirect-uri-for-dashboard";
const KUBECONFIG_ENDPOINT: &str = "management-kubeconfig-endpoint";
/// What the keys of components' values start with.
pub(super) const VALUES_PREFIX: &str = "values-";

/// What the old dashboard read.
const BRANDING_KEYS: [&str; 8] = [
    "branding",
    "logo",
    "titleText",
    "footerText",
    "logoText",
    "logoSvg",
    "iconSvg",
    "tenantText",
];

const SPREAD: &str = "globalAppTopologySpreadConstraints";
const WINDOWS: &str = "dedicatedNodesForWindowsVMs";

/// What the values of the platform should say.
pub(super) fn wanted(old: &Old<'_>, target: Version, report: &mut Report) -> All {
    let mut all = All::default();
    if old.bundle == super::Bundle::Hosted {
        // As shipped, the variant leaves it off, and nothing gets the networking that it waits for.
        all.put(
            &["bundles", "system", "enabled"],
            true,
            "bundle-name",
            Kind::Said,
        );
    }
    texts(old, target, &mut all);
    oidc(old, target, &mut all, report);
    telemetry(old, target, report);
    publishing(old, target, &mut all, report);
    for (key, name) in RATIOS {
        if let Some(text) = old.text(key) {
            match ratio(text) {
                Some(number) => all.put(&["resources", name], number, key, Kind::Said),
                None => report.key(
                    Weight::Decision,
                    COZYSTACK,
                    key,
                    &format!("is {}, and the platform wants a number greater than 0: it is not carried over; write one", shown_text(text))),
            }
        }
    }
    unknown(old, report);
    branding(old, target, &mut all, report);
    scheduling(old, &mut all, report);
    all
}

fn texts(old: &Old<'_>, target: Version, all: &mut All) {
    let defaults = crate::platform::defaults(old.bundle.variant(), target);
    for (key, path) in TEXTS {
        if let Some(text) = old.text(key) {
            all.put(path, text, key, Kind::Said);
            continue;
        }
        let is_needed = NEEDED.contains(&key);
        let is_network = key.starts_with(NETWORKS) && old.bundle == super::Bundle::Full;
        if !is_needed && !is_network {
            continue;
        }
        let mut default = path.iter();
        let default = default
            .next()
            .and_then(|first| defaults.get(*first))
            .and_then(|section| default.try_fold(section, |value, name| value.get(name)));
        let default = default.map(shown).unwrap_or_default();
        let text = if is_needed {
            format!(
                "is absent, though the old platform does not render without it, and the new one would take {default}: the Package of the platform is not written; set the key"
            )
        } else {
            format!(
                "is absent: the old platform gave kube-ovn an empty text, and the new one gives it {default}; set the key to what the cluster really has"
            )
        };
        all.absent.push(Absent {
            path: path.iter().map(|name| (*name).to_owned()).collect(),
            key,
            text,
            is_needed,
        });
    }
}

fn oidc(old: &Old<'_>, target: Version, all: &mut All, report: &mut Report) {
    if let Some(text) = old.text("oidc-enabled") {
        all.put(
            &["authentication", "oidc", "enabled"],
            old.has_oidc(),
            "oidc-enabled",
            Kind::Said,
        );
        only_exact(text, "oidc-enabled", "true", "it stays off", report);
    }
    let Some(uri) = old.text(REDIRECT_URI) else {
        return;
    };
    if target >= Version::V1_0 {
        all.put(
            &["authentication", "oidc", "keycloakExtraRedirectUri"],
            uri,
            REDIRECT_URI,
            Kind::Said,
        );
    } else if !old.has_oidc() {
        let text = format!(
            "is {}, and has no effect while oidc-enabled is not \"true\": it is not carried over",
            shown_text(uri)
        );
        report.key(Weight::Note, COZYSTACK, REDIRECT_URI, &text);
    }
}

/// Where it goes is among the components.
fn telemetry(old: &Old<'_>, target: Version, report: &mut Report) {
    let key = "telemetry-enabled";
    let Some(text) = old.text(key) else {
        return;
    };
    only_exact(text, key, "false", "telemetry stays on", report);
    if text == "false" && target >= Version::V1_0 {
        let text = "turns telemetry of cozystack-controller off, and the operator of the new platform has a switch of its \
                    own: set cozystackOperator.disableTelemetry: true among the values of the installer";
        report.key(Weight::Decision, COZYSTACK, key, text);
    }
}

/// Only one text did something, and people write others.
fn only_exact(text: &str, key: &str, exact: &str, what: &str, report: &mut Report) {
    if !["true", "false"].contains(&text) {
        let text = format!(
            "is {}, and to the old platform nothing but {exact:?} counted: {what}, as it was",
            shown_text(text)
        );
        report.key(Weight::Note, COZYSTACK, key, &text);
    }
}

fn publishing(old: &Old<'_>, target: Version, all: &mut All, report: &mut Report) {
    let mut services = Vec::new();
    for service in list(old, "expose-services", report) {
        if EXPOSED_SERVICES.contains(&service) {
            services.push(service);
        } else {
            let text = format!(
                "names {}, which no chart of the new platform exposes: it is left out; it has {}",
                shown_text(service),
                EXPOSED_SERVICES.join(", ")
            );
            report.key(Weight::Decision, COZYSTACK, "expose-services", &text);
        }
    }
    let kind = |key| {
        if old.text(key).is_some() {
            Kind::Said
        } else {
            Kind::Implied
        }
    };
    // Without the key nothing was exposed, whereas the new platform then exposes all.
    all.put(
        &["publishing", "exposedServices"],
        services,
        "expose-services",
        kind("expose-services"),
    );
    let mut addresses: Vec<&str> = Vec::new();
    for address in old.items("expose-external-ips").map(str::trim) {
        if !address.is_empty() && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    all.put(
        &["publishing", "externalIPs"],
        addresses,
        "expose-external-ips",
        kind("expose-external-ips"),
    );
    let Some(issuer) = old.text("clusterissuer") else {
        return;
    };
    let is_cloudflare = issuer == "cloudflare";
    if !is_cloudflare && issuer != "http01" {
        let instead = if target >= Version::V1_0 {
            "; for an issuer of your own set publishing.certificates.solver to \"\" and issuerName to its name"
        } else {
            ""
        };
        let text = format!(
            "is {}, which the old platform took for \"http01\": that is carried over{instead}",
            shown_text(issuer)
        );
        report.key(Weight::Note, COZYSTACK, "clusterissuer", &text);
    }
    let (name, value) = match (target >= Version::V1_0, is_cloudflare) {
        (true, true) => ("solver", "dns01"),
        (true, false) => ("solver", "http01"),
        (false, true) => ("issuerType", "cloudflare"),
        (false, false) => ("issuerType", "http01"),
    };
    all.put(
        &["publishing", "certificates", name],
        value,
        "clusterissuer",
        Kind::Said,
    );
}

/// The items of a list that the old platform did not trim: an item with blanks never matched anything.
pub(super) fn list<'a>(old: &Old<'a>, key: &str, report: &mut Report) -> Vec<&'a str> {
    let mut items = Vec::new();
    let mut with_blanks = Vec::new();
    for raw in old.items(key) {
        let item = raw.trim();
        if item.is_empty() || items.contains(&item) {
            continue;
        }
        if item != raw {
            with_blanks.push(shown_text(raw));
        }
        items.push(item);
    }
    if !with_blanks.is_empty() {
        let text = format!(
            "has blanks around {}: the old platform never matched that, and without the blanks it takes effect now; \
             remove what is not meant",
            super::named(&with_blanks)
        );
        report.key(Weight::Note, COZYSTACK, key, &text);
    }
    items
}

/// A number as the platform wants it.
pub(super) fn ratio(text: &str) -> Option<Number> {
    let text = text.trim();
    if let Ok(number) = text.parse::<u64>() {
        return (number > 0).then(|| number.into());
    }
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    let number = text
        .parse::<f64>()
        .ok()
        .filter(|number| is_plain && *number > 0.0)?;
    Number::from_f64(number)
}

fn unknown(old: &Old<'_>, report: &mut Report) {
    let known = || {
        let texts = TEXTS.iter().map(|(key, _)| *key);
        texts
            .chain(RATIOS.iter().map(|(key, _)| *key))
            .chain(OTHERS)
    };
    for key in old.config.keys() {
        if key == KUBECONFIG_ENDPOINT {
            let text = "has no target: the new platform has no such setting";
            report.key(Weight::Note, COZYSTACK, key, text);
        } else if !known().any(|known| known == key)
            && key.strip_prefix(VALUES_PREFIX).is_none_or(str::is_empty)
        {
            let hint = nearest(key, known())
                .map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"));
            let text = format!(
                "has no target: neither platform is known to read this key, and it is not carried over{hint}"
            );
            report.key(Weight::Decision, COZYSTACK, key, &text);
        }
    }
}

fn entries(map: Option<&Map<String, Value>>) -> impl Iterator<Item = (&String, &str)> {
    let entries = map.into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key, value.as_str()?)))
}

/// Charts read the keys flat, in either release.
fn branding(old: &Old<'_>, target: Version, all: &mut All, report: &mut Report) {
    for (key, text) in entries(old.branding) {
        if ["dashboard", "keycloak"].contains(&key.as_str()) {
            let text = "has no target: neither platform reads this key of branding, and it is not carried over";
            report.key(Weight::Note, BRANDING, key, text);
            continue;
        }
        all.values.push(Wanted {
            path: vec!["branding".to_owned(), key.clone()],
            value: text.into(),
            origin: Origin::of(BRANDING, key),
            kind: Kind::Said,
        });
        let without_reader = if !BRANDING_KEYS.contains(&key.as_str()) {
            "neither platform is known to read it"
        } else if key == "logo" && target < Version::V1_0 {
            "no chart of v1.0.0-alpha.1 reads it"
        } else {
            continue;
        };
        let text = format!("is carried over as it is, but {without_reader}");
        report.key(Weight::Note, BRANDING, key, &text);
    }
}

fn scheduling(old: &Old<'_>, all: &mut All, report: &mut Report) {
    for (key, text) in entries(old.scheduling) {
        let (value, kind) = match key.as_str() {
            SPREAD if text.is_empty() => continue,
            SPREAD => spread_constraints(text, report),
            // Compared with the text "true".
            WINDOWS => (text.to_owned(), Kind::Said),
            _ => {
                let text = "has no target: neither platform is known to read this key of scheduling, and it is not carried over";
                report.key(Weight::Decision, SCHEDULING, key, text);
                continue;
            }
        };
        all.values.push(Wanted {
            path: vec!["scheduling".to_owned(), key.clone()],
            value: value.into(),
            origin: Origin::of(SCHEDULING, key),
            kind,
        });
    }
}

/// A text that holds YAML. The new platform writes it into the same ConfigMap as a YAML text: unpacked, it is what it
/// was.
fn spread_constraints(text: &str, report: &mut Report) -> (String, Kind) {
    let (text, kind) = match yaml::first_document(text) {
        Ok(Value::String(inner)) => (inner, Kind::Rendered),
        _ => (text.to_owned(), Kind::Said),
    };
    let found = match yaml::first_document(&text) {
        Ok(Value::Object(_) | Value::Null) => return (text, kind),
        Ok(other) => format!("is {}", shown(&other)),
        Err(error) => format!("is no YAML ({})", super::cut(&error.to_string())),
    };
    let note = format!(
        "{found}, and charts want a YAML map in it: it is carried over as it is, and no app gets any constraints from it"
    );
    report.key(Weight::Decision, SCHEDULING, SPREAD, &note);
    (text, kind)
}
