//! What goes with a change or a deletion: HelmReleases, Packages, and what others wait for.

use super::{component_path, dependents, platform};
use crate::contract::{Fault, Object, Path, Request, Verdict, Violation};
use crate::kinds::{HELM_RELEASES, HELM_RELEASES_BY_PACKAGE, PACKAGE_SOURCES, PACKAGES};
use crate::packages::{Component, Package, Source};
use std::collections::{BTreeMap, BTreeSet};

/// How many HelmReleases of one Package are looked at.
const RELEASES_MAX: usize = 1_000;
/// How many Packages get a warning of their own; the others are named together.
const PACKAGES_SHOWN_MAX: usize = 20;

/// The HelmReleases that a Package made.
fn releases(package: &str, request: &Request<'_>) -> Vec<String> {
    let found = request.cluster.find(
        &HELM_RELEASES,
        &HELM_RELEASES_BY_PACKAGE,
        package,
        RELEASES_MAX,
    );
    found
        .first
        .iter()
        .map(|release| release.display_name())
        .collect()
}

/// The HelmReleases that the operator deletes because a variant does not have them. None at all where it does not get
/// that far: the source or the variant is not there.
fn orphans(
    name: &str,
    package: Package<'_>,
    source: Option<Source<'_>>,
    variant: &str,
    request: &Request<'_>,
) -> Vec<String> {
    let Some(variant) = source.and_then(|source| source.variant(variant)) else {
        return Vec::new();
    };
    let kept: BTreeSet<String> = package
        .installed(variant)
        .filter_map(|(_, install)| install.release())
        .collect();
    let mut live = releases(name, request);
    live.retain(|release| !kept.contains(release));
    live
}

/// Warns of what goes with a Package.
pub fn deletion(
    name: &str,
    package: Package<'_>,
    request: &Request<'_>,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let dependents = dependents::of(&[name], request)?;
    verdict.warn_naming("it is a dependency, directly or not, of ", &dependents, "");
    verdict.warn_naming("with it go HelmReleases: ", &releases(name, request), "");
    if name == platform::NAME {
        let emitted =
            platform::emitted(package, platform::version(package, request)).unwrap_or_default();
        let deleted = deleted_by_helm(emitted.keys().copied(), package, request);
        warn_of_deleted(&deleted, verdict);
    }
    Ok(())
}

/// Says what a change of a Package takes away; refuses what would take the network away.
pub fn change(
    name: &str,
    (old, new): (Package<'_>, Package<'_>),
    source: Option<Source<'_>>,
    request: &Request<'_>,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let spec = Path::ROOT.member("spec");
    let disabled = newly_disabled(old, new, source);
    if !disabled.is_empty() {
        let dependents = dependents::of(&[name], request)?;
        verdict.warn_naming(
            &format!(
                "what this disables ({}) is a dependency of ",
                disabled.join(", ")
            ),
            &dependents,
            "",
        );
    }
    let is_other_variant = old.variant() != new.variant();
    if is_other_variant || !disabled.is_empty() {
        let orphans = orphans(name, new, source, new.variant(), request);
        if name == platform::NETWORKING && is_other_variant && !orphans.is_empty() {
            verdict.refuse(
                Violation::invalid(
                    &spec.member("variant"),
                    new.variant(),
                    format!(
                        "may not change from {:?}: the network would go with HelmRelease(s) {}",
                        old.variant(),
                        orphans.join(", ")
                    ),
                )
                .insistable(),
            );
        } else {
            verdict.warn_naming("this deletes HelmReleases: ", &orphans, "");
        }
    }
    if name == platform::NAME {
        change_of_platform(old, new, request, verdict)?;
    }
    Ok(())
}

/// Components that were installed and are switched off.
fn newly_disabled<'a>(
    old: Package<'a>,
    new: Package<'a>,
    source: Option<Source<'a>>,
) -> Vec<&'a str> {
    let Some(variant) = source.and_then(|source| source.variant(new.variant())) else {
        return Vec::new();
    };
    variant
        .components()
        .filter(|component| component.install().is_some())
        .map(Component::name)
        .filter(|component| old.is_enabled(component) && !new.is_enabled(component))
        .collect()
}

/// A Package that Helm deletes, and the HelmReleases that follow.
struct Deleted {
    name: String,
    releases: Vec<String>,
}

fn deleted_by_helm(
    names: impl Iterator<Item = &'static str>,
    platform: Package<'_>,
    request: &Request<'_>,
) -> Vec<Deleted> {
    if platform::version(platform, request).keeps_packages() {
        return Vec::new();
    }
    let is_kept = |package: &Object| {
        let (annotation, keep) = platform::RESOURCE_POLICY;
        package.text(&["metadata", "annotations", annotation]) == Some(keep)
    };
    names
        .filter(|name| {
            let package = request.cluster.get(&PACKAGES, "", name);
            package.is_some_and(|package| !is_kept(&package))
        })
        .map(|name| Deleted {
            name: name.to_owned(),
            releases: releases(name, request),
        })
        .collect()
}

fn warn_of_deleted(deleted: &[Deleted], verdict: &mut Verdict) {
    for package in deleted.iter().take(PACKAGES_SHOWN_MAX) {
        let head = format!("Helm deletes Package {}", package.name);
        if package.releases.is_empty() {
            verdict.warn(head);
        } else {
            verdict.warn_naming(&format!("{head} and HelmRelease "), &package.releases, "");
        }
    }
    let others: Vec<&str> = deleted
        .iter()
        .skip(PACKAGES_SHOWN_MAX)
        .map(|package| package.name.as_str())
        .collect();
    verdict.warn_naming("Helm deletes Packages too: ", &others, "");
}

/// What the platform's chart no longer emits, and what it emits in another variant.
fn change_of_platform(
    old: Package<'_>,
    new: Package<'_>,
    request: &Request<'_>,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let emitted = |package| platform::emitted(package, platform::version(package, request));
    let (Some(before), Some(after)) = (emitted(old), emitted(new)) else {
        return Ok(());
    };
    let gone = before
        .keys()
        .filter(|name| !after.contains_key(*name))
        .copied();
    let deleted = deleted_by_helm(gone, new, request);
    let mut lost: Vec<String> = deleted
        .iter()
        .filter(|package| package.name == platform::NETWORKING)
        .flat_map(|package| package.releases.clone())
        .collect();
    warn_of_deleted(&deleted, verdict);
    for (name, orphans) in orphans_of_emitted(&before, &after, request) {
        request.deadline.check()?;
        verdict.warn_naming(&format!("{name} loses HelmReleases: "), &orphans, "");
        if name == platform::NETWORKING {
            lost.extend(orphans);
        }
    }
    let names: Vec<&str> = deleted
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let waiting = dependents::of(&names, request)?;
    verdict.warn_naming("what is deleted is a dependency of ", &waiting, "");
    if !lost.is_empty() {
        verdict.refuse(refusal_of_platform(old, new, &lost).insistable());
    }
    Ok(())
}

/// The HelmReleases that Packages lose because they come in another variant.
fn orphans_of_emitted(
    before: &BTreeMap<&'static str, &'static str>,
    after: &BTreeMap<&'static str, &'static str>,
    request: &Request<'_>,
) -> Vec<(String, Vec<String>)> {
    after
        .iter()
        .filter(|(name, variant)| before.get(*name).is_some_and(|before| before != *variant))
        .filter_map(|(name, variant)| {
            let package = request.cluster.get(&PACKAGES, "", name)?;
            let source = request.cluster.get(&PACKAGE_SOURCES, "", name)?;
            let source = Some(Source::of(&source));
            let orphans = orphans(name, Package::of(&package), source, variant, request);
            Some(((*name).to_owned(), orphans))
        })
        .collect()
}

/// At the field that makes the difference.
fn refusal_of_platform(old: Package<'_>, new: Package<'_>, lost: &[String]) -> Violation {
    let detail = format!(
        "the network would go: Package {} loses HelmRelease(s) {}",
        platform::NETWORKING,
        lost.join(", ")
    );
    let spec = Path::ROOT.member("spec");
    let components = spec.member("components");
    let component = component_path(&components, platform::COMPONENT);
    let values = component.member("values");
    if old.variant() != new.variant() {
        Violation::invalid(&spec.member("variant"), new.variant(), detail)
    } else if new.is_enabled(platform::COMPONENT) {
        Violation::forbidden(&values.member("bundles"), detail)
    } else {
        Violation::forbidden(&component.member("enabled"), detail)
    }
}
