//! Refuses Packages that name what their source does not have or hold values that Helm would ignore, for the operators
//! who write them. Warns of what waits for ever and of what goes, and refuses what would take the network away.

mod checks;
mod dependents;
mod platform;
mod refusals;
mod removals;
mod values;

use crate::contract::{
    Declaration, FailurePolicy, Fault, Mode, Operation, Path, Request, Rule, Scope, Setting,
    SettingKind, Validate, Verdict, Violation, Webhook, Weight,
};
use crate::kinds::{EXTERNAL_ARTIFACTS, HELM_RELEASES, PACKAGE_SOURCES, PACKAGES};
use crate::packages::{PackageParts, Source};
use refusals::REFUSALS;

/// Name of the setting that says which release of the platform runs.
const PLATFORM_VERSION: &str = "platform-version";
/// Name of the setting that refuses values which cannot be checked.
const STRICT: &str = "strict";
/// Name of the setting that says from where charts may be fetched.
pub const ARTIFACT_HOSTS: &str = "artifact-hosts";
/// Flux's source services in the platform's installation, by each name that their addresses may bear: they run in one
/// pod or several, in clusters of either domain.
const FLUX_SERVICES: [&str; 6] = [
    "source-watcher.cozy-fluxcd.svc.cluster.local",
    "source-watcher.cozy-fluxcd.svc.cozy.local",
    "source-watcher.cozy-fluxcd.svc",
    "flux.cozy-fluxcd.svc.cluster.local",
    "flux.cozy-fluxcd.svc.cozy.local",
    "flux.cozy-fluxcd.svc",
];

/// The folder.
pub static WEBHOOK: Webhook = Webhook {
    declaration: Declaration {
        id: "package",
        summary: "Checks Packages against their sources, and says what waits for ever and what is deleted.",
        rules: &[Rule {
            resource: &PACKAGES.resource,
            versions: &["v1alpha1"],
            operations: &[Operation::Create, Operation::Update, Operation::Delete],
        }],
        scope: Scope::OutsideOurNamespace,
        names: &[],
        match_conditions: &[],
        failure_policy: FailurePolicy::Fail,
        timeout_seconds: 5,
        default_mode: Mode::Enforce,
        weight: Weight::Light,
        reads: &[
            &PACKAGE_SOURCES,
            &PACKAGES,
            &HELM_RELEASES,
            &EXTERNAL_ARTIFACTS,
        ],
        writes: &[],
        settings: &[
            Setting {
                name: PLATFORM_VERSION,
                kind: SettingKind::Version {
                    default: "v1.0.0-alpha.1",
                },
                summary: "The platform's release, by whose rules its Package is judged; unset, the installed source tells it.",
            },
            Setting {
                name: STRICT,
                kind: SettingKind::Flag { default: false },
                summary: "Refuse values that cannot be checked because their chart or a schema is not known; unset, they are warned of.",
            },
            Setting {
                name: ARTIFACT_HOSTS,
                kind: SettingKind::Hosts {
                    default: &FLUX_SERVICES,
                },
                summary: "From where charts are fetched, over plain HTTP: without a port, port 80 is meant. Nothing is fetched from elsewhere.",
            },
        ],
        refusals: &[&REFUSALS, &crate::platform::REFUSALS],
    },
    validate: Some(&Package),
    mutate: None,
    convert: None,
    companions: None,
};

struct Package;

impl Validate for Package {
    fn validate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
        let old = request.old_object;
        let old = old.and_then(|old| PackageParts::read(old).ok());
        let Some(object) = request.object else {
            if let Some(old) = old {
                removals::deletion(request.name, old.package(), request, verdict)?;
            }
            return Ok(());
        };
        let parts = match PackageParts::read(object) {
            Ok(parts) => parts,
            Err(error) => {
                verdict.refuse(Violation::policy(format!(
                    "the object is not readable: {error}"
                )));
                return Ok(());
            }
        };
        let name = parts.name().unwrap_or(request.name);
        let package = parts.package();
        let source = request.cluster.get(&PACKAGE_SOURCES, "", name);
        let source = source.as_deref().map(Source::of);
        checks::check(name, package, source, request, verdict)?;
        if name == platform::NAME {
            platform::check(package, request, verdict);
        }
        if let Some(old) = old {
            removals::change(name, (old.package(), package), source, request, verdict)?;
        }
        Ok(())
    }
}

/// Where a component of the Package stands: `spec.components.gizmo`, in brackets where a dot would be misread.
#[must_use]
pub fn component_path<'p>(components: &'p Path<'p>, name: &'p str) -> Path<'p> {
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_plain && !name.is_empty() {
        components.member(name)
    } else {
        components.key(name)
    }
}
