//! What must fit together, on the merged values. A value of another type is none of these checks' business: the
//! walk over the keys has refused it.

use super::keys::unknown;
use super::packages::{
    BOOTBOX, Bundles, When, hosting_variants, iaas_variants, is_known_package, known,
    nearest_package,
};
use super::text::{self, Network};
use super::values::Version;
use super::{Subject, warn};
use crate::contract::{Path, Verdict, Violation};
use core::net::Ipv4Addr;
use serde_json::{Map, Value};
use std::collections::HashSet;

/// What charts look for in `exposedServices`.
pub const EXPOSED_SERVICES: [&str; 4] = ["api", "dashboard", "vm-exportproxy", "cdi-uploadproxy"];

/// Adds what is wrong with the values as the chart works with them. `values` are the user's share of `merged`.
pub(super) fn check(
    subject: &Subject<'_>,
    values: &Map<String, Value>,
    merged: &Map<String, Value>,
    at: &Path<'_>,
    verdict: &mut Verdict,
) {
    let bundles = Bundles::of(merged);
    check_bundles(&bundles, merged, subject.version, at, verdict);
    check_lists(subject, &bundles, values, at, verdict);
    check_networks(&bundles, merged, subject.version, at, verdict);
    check_exposed_services(merged, subject.version, at, verdict);
    check_publishing(merged, at, verdict);
    check_registries(merged, at, verdict);
}

fn value_at<'v>(values: &'v Map<String, Value>, keys: &[&str]) -> Option<&'v Value> {
    let (first, rest) = keys.split_first()?;
    rest.iter()
        .try_fold(values.get(*first)?, |value, key| value.get(key))
}

/// `templates/bundles/{iaas,paas,naas}.yaml` fail in a variant that is not theirs; the system bundle silently leaves
/// networking out, without which every Package stays DependenciesNotReady.
fn check_bundles(
    bundles: &Bundles<'_>,
    merged: &Map<String, Value>,
    version: Version,
    at: &Path<'_>,
    verdict: &mut Verdict,
) {
    let path = at.member("bundles");
    let system = path.member("system");
    let variant_path = system.member("variant");
    let hosting = hosting_variants(version);
    for (name, is_on, variants) in [
        ("iaas", bundles.is_enabled("iaas"), iaas_variants(version)),
        ("paas", bundles.is_enabled("paas"), hosting),
        ("naas", bundles.is_enabled("naas"), hosting),
    ] {
        if is_on && !variants.contains(&bundles.variant()) {
            let bundle = path.member(name);
            verdict.refuse(Violation::invalid(
                &bundle.member("enabled"),
                true,
                format!(
                    "needs {} to be {}, and it is {:?}",
                    variant_path.to_field(),
                    one_of(variants),
                    bundles.variant()
                ),
            ));
        }
    }
    let has_bundle = ["iaas", "paas", "naas"]
        .iter()
        .any(|bundle| bundles.is_enabled(bundle));
    let has_system = bundles.is_enabled("system");
    if !has_system && has_bundle {
        warn(
            verdict,
            &system.member("enabled"),
            "while it is false, every Package stays blocked",
        );
    }
    if has_system && !hosting.contains(&bundles.variant()) {
        warn(
            verdict,
            &variant_path,
            "it brings no networking, so every Package stays blocked",
        );
    }
    // The system bundle makes a text of it with `ternary`, which takes nothing but a boolean.
    if has_system && value_at(merged, &["authentication", "oidc", "enabled"]).is_none() {
        let authentication = at.member("authentication");
        let oidc = authentication.member("oidc");
        verdict.refuse(Violation::required(
            &oidc.member("enabled"),
            format!(
                "must be true or false while {} is true",
                system.member("enabled").to_field()
            ),
        ));
    }
}

fn one_of(texts: &[&str]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.join(""),
    }
}

/// Names in the two lists (`templates/_helpers.tpl`: full names only, and disabled wins). Only what the user wrote:
/// lists replace, so these are the merged ones too.
fn check_lists(
    subject: &Subject<'_>,
    bundles: &Bundles<'_>,
    values: &Map<String, Value>,
    at: &Path<'_>,
    verdict: &mut Verdict,
) {
    let path = at.member("bundles");
    let disabled_path = path.member("disabledPackages");
    let list = |name: &str| {
        value_at(values, &["bundles", name])
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
    };
    let disabled = list("disabledPackages");
    // Sets, here and below: the lists may be as long as a request.
    let disabled_names: HashSet<&str> = disabled.iter().filter_map(Value::as_str).collect();
    let enabled_path = path.member("enabledPackages");
    for (index, name) in list("enabledPackages").iter().enumerate() {
        let path = enabled_path.index(index);
        let Some(name) = name.as_str() else { continue };
        if is_unknown(name, subject, &path, verdict) {
            continue;
        }
        if disabled_names.contains(name) {
            verdict.refuse(Violation::duplicate(
                &path,
                name,
                format!("is also in {}, which wins", disabled_path.to_field()),
            ));
            continue;
        }
        if let Some(sentence) = without_effect(name, bundles, subject.version) {
            warn(verdict, &path, sentence);
        }
    }
    for (index, name) in disabled.iter().enumerate() {
        let path = disabled_path.index(index);
        let Some(name) = name.as_str() else { continue };
        if !is_unknown(name, subject, &path, verdict)
            && known(name, subject.version).is_none()
            && is_known_package(name)
        {
            warn(verdict, &path, "this release does not have that Package");
        }
    }
}

fn is_unknown(name: &str, subject: &Subject<'_>, path: &Path<'_>, verdict: &mut Verdict) -> bool {
    if is_known_package(name) || (subject.is_installed)(name) {
        return false;
    }
    let hint = nearest_package(name).map_or_else(
        || "names are those of PackageSources, such as cozystack.telepresence".to_owned(),
        |nearest| format!("did you mean {nearest}?"),
    );
    verdict.refuse(Violation::invalid(
        path,
        name,
        format!("is no package of the platform; {hint}"),
    ));
    true
}

/// Why enabling the Package by name does nothing.
fn without_effect(name: &str, bundles: &Bundles<'_>, version: Version) -> Option<&'static str> {
    let Some(known) = known(name, version) else {
        return Some(if is_known_package(name) {
            "this release does not have that Package"
        } else {
            "has no effect: no bundle has that Package"
        });
    };
    let is_on = bundles.is_on(known.when, version);
    let sentence = match known.when {
        When::Never => "has no effect: no bundle has that Package",
        When::SystemIfEnabled if !is_on => "has no effect without the system bundle",
        When::IaasIfEnabled if !is_on => "has no effect without the iaas bundle",
        When::SystemIfEnabled if known.name == BOOTBOX && !version.is_partly_known() => {
            "stays blocked: nothing brings bootbox-application"
        }
        When::Unknown | When::SystemIfEnabled | When::IaasIfEnabled => return None,
        // Since then some were made optional that are listed here as permanent.
        _ if version.is_partly_known() => return None,
        _ => "has no effect: that Package is not optional",
    };
    Some(sentence)
}

/// What kube-ovn is told (`kube-ovn.ipv4` in `templates/bundles/system.yaml`).
fn check_networks(
    bundles: &Bundles<'_>,
    merged: &Map<String, Value>,
    version: Version,
    at: &Path<'_>,
    verdict: &mut Verdict,
) {
    let path = at.member("networking");
    let is_used = bundles.has_own_network(version);
    let mut networks: Vec<(&str, &str, Network)> = Vec::new();
    for name in ["podCIDR", "serviceCIDR", "joinCIDR"] {
        let path_here = path.member(name);
        let Some(cidr) = text_or_required(merged, name, is_used, &path_here, verdict) else {
            continue;
        };
        let Some(network) = Network::parse(cidr) else {
            verdict.refuse(Violation::invalid(
                &path_here,
                cidr,
                "must be an IPv4 network with a prefix length from 0 to 32, such as 10.244.0.0/16",
            ));
            continue;
        };
        if !network.is_canonical() {
            warn(
                verdict,
                &path_here,
                &format!("the network is {}", network.canonical()),
            );
        }
        for (other_name, other_cidr, other) in &networks {
            if network.overlaps(*other) {
                verdict.refuse(Violation::invalid(
                    &path_here,
                    cidr,
                    format!(
                        "must not overlap with {} ({other_cidr})",
                        path.member(other_name).to_field()
                    ),
                ));
            }
        }
        networks.push((name, cidr, network));
    }
    let gateway_path = path.member("podGateway");
    let Some(gateway) = text_or_required(merged, "podGateway", is_used, &gateway_path, verdict)
    else {
        return;
    };
    let Ok(address) = gateway.parse::<Ipv4Addr>() else {
        verdict.refuse(Violation::invalid(
            &gateway_path,
            gateway,
            "must be an IPv4 address, such as 10.244.0.1",
        ));
        return;
    };
    let pods = networks.iter().find(|(name, ..)| *name == "podCIDR");
    if let Some((name, cidr, network)) = pods
        && !network.has_host(address)
    {
        verdict.refuse(Violation::invalid(
            &gateway_path,
            gateway,
            format!(
                "must be an address for a host inside {} ({cidr})",
                path.member(name).to_field()
            ),
        ));
    }
}

fn text_or_required<'v>(
    merged: &'v Map<String, Value>,
    name: &str,
    is_used: bool,
    path: &Path<'_>,
    verdict: &mut Verdict,
) -> Option<&'v str> {
    let networking = merged.get("networking").and_then(Value::as_object)?;
    match networking.get(name) {
        Some(value) => value.as_str(),
        None => {
            if is_used {
                verdict.refuse(Violation::required(path, "the platform's network needs it"));
            }
            None
        }
    }
}

/// Charts look for whole tokens in the joined list, so one that is not read exposes nothing.
fn check_exposed_services(
    merged: &Map<String, Value>,
    version: Version,
    at: &Path<'_>,
    verdict: &mut Verdict,
) {
    let publishing = at.member("publishing");
    let path = publishing.member("exposedServices");
    let Some(services) =
        value_at(merged, &["publishing", "exposedServices"]).and_then(Value::as_array)
    else {
        return;
    };
    for (index, service) in services.iter().enumerate() {
        let path = path.index(index);
        let Some(service) = service.as_str() else {
            continue;
        };
        if EXPOSED_SERVICES.contains(&service) {
            continue;
        }
        // Later releases expose more services than are known here, and none with a comma or blank in its name.
        let is_token = !service.is_empty()
            && service
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if version.is_partly_known() && is_token {
            warn(verdict, &path, "is no service that is known here");
        } else {
            verdict.refuse(Violation::not_supported(&path, service, &EXPOSED_SERVICES));
        }
    }
}

/// Without a domain nothing can be published, in whatever variant.
fn check_publishing(merged: &Map<String, Value>, at: &Path<'_>, verdict: &mut Verdict) {
    let Some(publishing) = merged.get("publishing").and_then(Value::as_object) else {
        return;
    };
    if !publishing.contains_key("host") {
        let path = at.member("publishing");
        verdict.refuse(Violation::required(
            &path.member("host"),
            "all published services get names below it",
        ));
    }
}

/// `templates/containerd-registry-secret.yaml` looks every endpoint of every mirror up in `config`, by the whole URL.
fn check_registries(merged: &Map<String, Value>, at: &Path<'_>, verdict: &mut Verdict) {
    let Some(registries) = merged.get("registries").and_then(Value::as_object) else {
        return;
    };
    let path = at.member("registries");
    let mirrors_path = path.member("mirrors");
    let mut endpoints: HashSet<&str> = HashSet::new();
    let mut has_endpoints = false;
    match registries.get("mirrors") {
        None => {}
        Some(Value::Object(mirrors)) => {
            for (registry, mirror) in mirrors {
                let path = mirrors_path.key(registry);
                let Some(mirror) = mirror.as_object() else {
                    verdict.refuse(Violation::wrong_type(&path, mirror, "an object"));
                    continue;
                };
                for name in mirror.keys().filter(|name| *name != "endpoints") {
                    unknown(name, ["endpoints"].into_iter(), &path, verdict);
                }
                let path = path.member("endpoints");
                match mirror.get("endpoints") {
                    None => {}
                    Some(Value::Array(items)) => {
                        has_endpoints |= !items.is_empty();
                        check_endpoints(items, &path, verdict);
                        endpoints.extend(items.iter().filter_map(Value::as_str));
                    }
                    Some(other) => {
                        verdict.refuse(Violation::wrong_type(&path, other, "a list"));
                    }
                }
            }
        }
        Some(other) => verdict.refuse(Violation::wrong_type(&mirrors_path, other, "an object")),
    }
    let config_path = path.member("config");
    match registries.get("config") {
        Some(Value::Object(config)) => {
            let unused = config
                .keys()
                .filter(|key| !endpoints.contains(key.as_str()));
            for key in unused {
                warn(
                    verdict,
                    &config_path.key(key),
                    "is no mirror's endpoint; write its whole URL",
                );
            }
        }
        Some(other) => verdict.refuse(Violation::wrong_type(&config_path, other, "an object")),
        None if has_endpoints => verdict.refuse(Violation::required(
            &config_path,
            format!(
                "must be an object while {} has endpoints; write {{}} for none",
                mirrors_path.to_field()
            ),
        )),
        None => {}
    }
}

fn check_endpoints(items: &[Value], path: &Path<'_>, verdict: &mut Verdict) {
    for (index, item) in items.iter().enumerate() {
        let path = path.index(index);
        match item.as_str() {
            Some(endpoint) => {
                if let Some(detail) = text::url(endpoint) {
                    verdict.refuse(Violation::invalid(&path, endpoint, detail));
                }
            }
            None => verdict.refuse(Violation::wrong_type(&path, item, "a string")),
        }
    }
}
