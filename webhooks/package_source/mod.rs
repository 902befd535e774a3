//! Refuses PackageSources of which no artifact, no HelmRelease or nothing ready can be made, for the operators who write
//! them. Warns of what they take from other sources and from the Package of the same name.

mod checks;
mod cycles;
mod refusals;

use crate::contract::{
    Declaration, FailurePolicy, Fault, Mode, Operation, Path, Request, Rule, Scope, Validate,
    Verdict, Violation, Webhook, Weight,
};
use crate::cozystack_resource_definition::catalogue::artifact_name;
use crate::kinds::{
    PACKAGE_SOURCES, PACKAGE_SOURCES_BY_ARTIFACT, PACKAGE_SOURCES_BY_RELEASE, PACKAGES,
};
use crate::packages::{Component, Install, Package, Parts, Source};
use refusals::REFUSALS;

use std::collections::HashSet;

/// The folder.
pub static WEBHOOK: Webhook = Webhook {
    declaration: Declaration {
        id: "package-source",
        summary: "Checks PackageSources: names, paths, libraries, releases, artifacts and dependencies.",
        rules: &[Rule {
            resource: &PACKAGE_SOURCES.resource,
            versions: &["v1alpha1"],
            operations: &[Operation::Create, Operation::Update, Operation::Delete],
        }],
        scope: Scope::OutsideOurNamespace,
        names: &[],
        match_conditions: &[],
        failure_policy: FailurePolicy::Fail,
        timeout_seconds: 5,
        default_mode: Mode::Enforce,
        // A source of a thousand components takes milliseconds.
        weight: Weight::Heavy,
        reads: &[&PACKAGE_SOURCES, &PACKAGES],
        writes: &[],
        settings: &[],
        refusals: &[&REFUSALS],
    },
    validate: Some(&PackageSource),
    mutate: None,
    convert: None,
    companions: None,
};

struct PackageSource;

impl Validate for PackageSource {
    fn validate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
        let Some(object) = request.object else {
            warn_of_deletion(request, verdict);
            return Ok(());
        };
        let parts = match object.read::<Parts>() {
            Ok(parts) => parts,
            Err(error) => {
                verdict.refuse(Violation::policy(format!(
                    "the object is not readable: {error}"
                )));
                return Ok(());
            }
        };
        let name = parts.name().unwrap_or(request.name);
        let source = Source(&parts.spec);
        checks::check(name, source, request.deadline, verdict)?;
        cycles::check(name, source, request, verdict)?;
        warn_of_shared_names(name, source, request, verdict)?;
        if let Some(old) = request.old_object
            && let Ok(old) = old.read::<Parts>()
        {
            warn_of_removal(name, Source(&old.spec), source, request, verdict);
        }
        Ok(())
    }
}

fn warn_of_deletion(request: &Request<'_>, verdict: &mut Verdict) {
    if request.cluster.get(&PACKAGES, "", request.name).is_some() {
        verdict.warn_naming(
            "Package ",
            &[request.name],
            " still exists: its HelmReleases lose their charts",
        );
    }
}

/// Names of releases and artifacts that another source uses: both Packages would write the same HelmRelease, or both
/// generators the same artifact.
fn warn_of_shared_names(
    name: &str,
    source: Source<'_>,
    request: &Request<'_>,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let mut seen = HashSet::new();
    let spec = Path::ROOT.member("spec");
    let variants = spec.member("variants");
    for (index, variant) in source.variants().enumerate() {
        let path = variants.index(index);
        let components = path.member("components");
        for (index, component) in variant.components().enumerate() {
            request.deadline.check()?;
            let path = components.index(index);
            let release = component.install().and_then(Install::release);
            let artifact = (!component.path().is_empty())
                .then(|| artifact_name(name, variant.name(), component.name()));
            for (what, key, by) in [
                ("release", release, &PACKAGE_SOURCES_BY_RELEASE),
                ("artifact", artifact, &PACKAGE_SOURCES_BY_ARTIFACT),
            ] {
                let Some(key) = key.filter(|key| seen.insert((what, key.clone()))) else {
                    continue;
                };
                // One of the two may be this source itself.
                let found = request.cluster.find(&PACKAGE_SOURCES, by, &key, 2);
                if let Some(other) = found.first.iter().find(|other| other.name != name) {
                    verdict.warn(format!(
                        "{}: PackageSource {} has {what} {key} too",
                        path.to_field(),
                        other.name
                    ));
                }
            }
        }
    }
    Ok(())
}

/// What the Package of that name uses and the update takes away.
fn warn_of_removal(
    name: &str,
    old: Source<'_>,
    new: Source<'_>,
    request: &Request<'_>,
    verdict: &mut Verdict,
) {
    let Some(object) = request.cluster.get(&PACKAGES, "", name) else {
        return;
    };
    let package = Package::of(&object);
    let Some(old) = old.variant(package.variant()) else {
        return;
    };
    let Some(new) = new.variant(package.variant()) else {
        verdict.warn(format!(
            "Package {name} uses variant {:?}, which this removes",
            package.variant()
        ));
        return;
    };
    let is_used = |component: &str| {
        package.names(component)
            || package
                .installed(old)
                .any(|(installed, _)| installed.name() == component)
    };
    let removed: Vec<&str> = old
        .components()
        .map(Component::name)
        .filter(|component| new.component(component).is_none() && is_used(component))
        .collect();
    verdict.warn_naming(
        &format!("Package {name} uses component(s) that this removes: "),
        &removed,
        "",
    );
    let uninstalled: Vec<&str> = package
        .installed(old)
        .map(|(component, _)| component.name())
        .filter(|component| {
            new.component(component)
                .is_some_and(|component| component.install().is_none())
        })
        .collect();
    verdict.warn_naming(
        &format!("Package {name} uninstalls what has no install any more: "),
        &uninstalled,
        "",
    );
}
