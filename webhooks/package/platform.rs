//! The platform's own Package: which release's rules count for it, its values, and which Packages it brings.

use super::{PLATFORM_VERSION, component_path};
use crate::contract::{Path, Request, Verdict};
use crate::kinds::PACKAGE_SOURCES;
use crate::packages::{Package, Source};
use crate::platform::{self, Subject, Version};
use std::collections::BTreeMap;

pub use crate::platform::{COMPONENT, NETWORKING, PACKAGE as NAME, VARIANTS};

/// Annotation by which Helm keeps an object that is no longer rendered, and its value.
pub const RESOURCE_POLICY: (&str, &str) = ("helm.sh/resource-policy", "keep");

/// A variant that came with v1.0.0: where the installed source has it, the platform is no pre-release.
const SINCE_V1_0: &str = "isp-full-generic";

/// The variant that has taken the place of a bundle of the legacy configuration.
pub fn successor_of_bundle(package: &str, bundle: &str) -> Option<&'static str> {
    match (package, bundle) {
        (NAME, "paas-full") => Some("isp-full"),
        (NAME, "paas-hosted") => Some("isp-hosted"),
        _ => None,
    }
}

/// The release whose rules count: of the setting, else what the installed source tells, else the oldest. A Package of a
/// variant that later releases have is judged by theirs in any case.
pub fn version(package: Package<'_>, request: &Request<'_>) -> Version {
    let given = request.settings.given_version(PLATFORM_VERSION);
    let source = request.cluster.get(&PACKAGE_SOURCES, "", NAME);
    let tells_later = || {
        let source = source.as_deref().map(Source::of);
        source.is_some_and(|source| source.variant(SINCE_V1_0).is_some())
    };
    let version = match given {
        Some(release) => Version::of(release),
        None if tells_later() => Version::V1_0,
        None => Version::default(),
    };
    if package.variant() == SINCE_V1_0 {
        version.max(Version::V1_0)
    } else {
        version
    }
}

/// Adds everything that is wrong with the platform's values.
pub fn check(package: Package<'_>, request: &Request<'_>, verdict: &mut Verdict) {
    let values = package.values(COMPONENT).to_value();
    // Refused already, with every other component's.
    if !(values.is_object() || values.is_null()) || !package.is_enabled(COMPONENT) {
        return;
    }
    let subject = Subject {
        variant: package.variant(),
        values: &values,
        version: version(package, request),
        is_installed: &|name| request.cluster.get(&PACKAGE_SOURCES, "", name).is_some(),
    };
    let spec = Path::ROOT.member("spec");
    let components = spec.member("components");
    let component = component_path(&components, COMPONENT);
    platform::check(&subject, &component.member("values"), verdict);
}

/// The Packages that the platform emits, and their variants. None when that cannot be told: a variant that is not known
/// here, or values with which the chart does not render. Then nothing is deleted either.
pub fn emitted(
    package: Package<'_>,
    version: Version,
) -> Option<BTreeMap<&'static str, &'static str>> {
    if !package.is_enabled(COMPONENT) {
        return Some(BTreeMap::new());
    }
    if !VARIANTS.contains(&package.variant()) {
        return None;
    }
    let values = package.values(COMPONENT).to_value();
    let merged = platform::merged(package.variant(), &values, version);
    platform::renders(&merged, version).then(|| platform::emitted(&merged, version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(spec: &Value) -> Option<BTreeMap<&'static str, &'static str>> {
        emitted(Package::of_spec(spec), Version::default())
    }

    #[test]
    fn variants_emit_what_the_charts_do() {
        let full = of(&json!({"variant": "isp-full"})).unwrap();
        assert_eq!(full[NETWORKING], "kubeovn-cilium");
        assert!(!full.contains_key("cozystack.velero"));
        let spec = json!({"variant": "isp-full-generic"});
        let generic = emitted(Package::of_spec(&spec), Version::V1_0).unwrap();
        assert_eq!(generic[NETWORKING], "kubeovn-cilium-generic");
        assert_eq!(of(&json!({})).unwrap().len(), 0);
        assert_eq!(of(&json!({"variant": "paas-full"})), None);
        let off = json!({"variant": "isp-full", "components": {"platform": {"enabled": false}}});
        assert_eq!(of(&off).unwrap().len(), 0);
    }

    #[test]
    fn what_does_not_render_deletes_nothing() {
        let with = |values: Value| {
            of(&json!({"variant": "isp-full", "components": {"platform": {"values": values}}}))
        };
        let hosted = with(
            json!({"bundles": {"system": {"variant": "isp-hosted"}, "iaas": {"enabled": false}}}),
        );
        assert_eq!(hosted.unwrap()[NETWORKING], "noop");
        assert_eq!(
            with(json!({"bundles": {"system": {"variant": "isp-hosted"}}})),
            None
        );
    }
}
