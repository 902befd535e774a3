//! A Package against its source.

use super::{component_path, platform, values};
use crate::contract::{Fault, Path, Request, Verdict, Violation, nearest};
use crate::kinds::PACKAGES;
use crate::packages::{Component, DEFAULT_VARIANT, Package, Source, Variant};
use std::fmt::Write as _;

/// How many names a message lists.
const LISTED_NAMES_MAX: usize = 20;

/// Adds everything that is wrong with the Package, and what is known to wait.
pub fn check(
    name: &str,
    package: Package<'_>,
    source: Option<Source<'_>>,
    request: &Request<'_>,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    check_values(package, verdict);
    let Some(source) = source else {
        verdict.warn_naming(
            "there is no PackageSource ",
            &[name],
            " yet: the operator waits for it",
        );
        if name == platform::NAME && !platform::VARIANTS.contains(&package.variant()) {
            refuse_variant(name, package, &platform::VARIANTS, verdict);
        }
        return values::check(name, package, None, request, verdict);
    };
    let Some(variant) = source.variant(package.variant()) else {
        let known: Vec<&str> = source.variants().map(Variant::name).collect();
        refuse_variant(name, package, &known, verdict);
        return values::check(name, package, None, request, verdict);
    };
    check_components(name, package, (source, variant), request, verdict)?;
    values::check(name, package, Some(variant), request, verdict)?;
    warn_of_waiting(package, variant, request, verdict)
}

/// The CRD takes anything as values; Flux silently ignores what is no object.
fn check_values(package: Package<'_>, verdict: &mut Verdict) {
    let spec = Path::ROOT.member("spec");
    let components = spec.member("components");
    for name in package.components() {
        let path = component_path(&components, name);
        let values = package.values(name);
        if !values.is_null() && !values.is_object() {
            verdict.refuse(Violation::wrong_type(
                &path.member("values"),
                &values.to_value(),
                "an object",
            ));
        }
    }
}

fn refuse_variant(name: &str, package: Package<'_>, known: &[&str], verdict: &mut Verdict) {
    let spec = Path::ROOT.member("spec");
    let path = spec.member("variant");
    let violation = match package.given_variant() {
        Some(given) => {
            let suggested = platform::successor_of_bundle(name, given)
                .or_else(|| nearest(given, known.iter().copied()));
            first_the_source(name, suggest(not_supported(&path, given, known), suggested))
        }
        None => {
            let supported = supported(known);
            let detail = format!(
                "none given counts as {DEFAULT_VARIANT:?}, which is not there: {supported}"
            );
            first_the_source(name, Violation::required(&path, detail))
        }
    };
    verdict.refuse(violation);
}

/// Says how else it could be right, and that the writer may insist.
fn first_the_source(name: &str, mut violation: Violation) -> Violation {
    let then = if violation.detail.ends_with('?') {
        " If"
    } else {
        "; if"
    };
    let _ = write!(
        violation.detail,
        "{then} PackageSource {name} is to have it, that change must be applied first"
    );
    violation.insistable()
}

fn supported(known: &[&str]) -> String {
    if known.is_empty() {
        return "there are none".to_owned();
    }
    let listed: Vec<String> = known
        .iter()
        .take(LISTED_NAMES_MAX)
        .map(|name| format!("{name:?}"))
        .collect();
    let more = match known.len() - listed.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("supported values: {}{more}", listed.join(", "))
}

fn not_supported(path: &Path<'_>, found: &str, known: &[&str]) -> Violation {
    let mut violation = Violation::not_supported(path, found, known);
    violation.detail = supported(known);
    violation
}

fn suggest(mut violation: Violation, suggested: Option<&str>) -> Violation {
    if let Some(suggested) = suggested {
        let _ = write!(violation.detail, "; did you mean {suggested:?}?");
    }
    violation
}

fn check_components(
    name: &str,
    package: Package<'_>,
    (source, variant): (Source<'_>, Variant<'_>),
    request: &Request<'_>,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let spec = Path::ROOT.member("spec");
    let components = spec.member("components");
    let known: Vec<&str> = variant.components().map(Component::name).collect();
    for key in package.components() {
        request.deadline.check()?;
        let path = component_path(&components, key);
        let Some(component) = variant.component(key) else {
            let mut violation = not_supported(&path, key, &known);
            let other = source
                .variants()
                .find(|other| other.component(key).is_some());
            violation = match other {
                Some(other) => {
                    let _ = write!(violation.detail, "; variant {:?} has it", other.name());
                    violation
                }
                None => suggest(violation, nearest(key, known.iter().copied())),
            };
            verdict.refuse(first_the_source(name, violation));
            continue;
        };
        if package.values(key).say_something() && component.install().is_none() {
            verdict.warn(format!(
                "{}: {key} has no install, so no HelmRelease gets them",
                path.member("values").to_field()
            ));
        }
        if !package.is_enabled(key) && component.install().is_some() {
            let waiting: Vec<String> = package
                .installed(variant)
                .filter(|(_, install)| install.depends_on().any(|dependency| dependency == key))
                .filter_map(|(_, install)| install.release())
                .collect();
            verdict.warn_naming(
                &format!(
                    "{}: HelmReleases that wait for it for ever: ",
                    path.member("enabled").to_field()
                ),
                &waiting,
                "",
            );
        }
    }
    Ok(())
}

fn warn_of_waiting(
    package: Package<'_>,
    variant: Variant<'_>,
    request: &Request<'_>,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let spec = Path::ROOT.member("spec");
    let ignored_path = spec.member("ignoreDependencies");
    for (index, ignored) in package.ignored().enumerate() {
        request.deadline.check()?;
        if !variant.depends_on().any(|dependency| dependency == ignored) {
            let hint = nearest(ignored, variant.depends_on())
                .map(|nearest| format!("; did you mean {nearest}?"))
                .unwrap_or_default();
            verdict.warn(format!(
                "{}: nothing depends on {ignored} here{hint}",
                ignored_path.index(index).to_field()
            ));
        }
    }
    let mut missing = Vec::new();
    for dependency in variant.depends_on() {
        request.deadline.check()?;
        if !package.ignores(dependency)
            && !missing.contains(&dependency)
            && request.cluster.get(&PACKAGES, "", dependency).is_none()
        {
            missing.push(dependency);
        }
    }
    verdict.warn_naming(
        "it waits for Packages that are not there yet: ",
        &missing,
        "",
    );
    Ok(())
}
