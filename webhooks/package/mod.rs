//! Refuses Packages that name what their source does not have or hold values that Helm would ignore, for the operators
//! who write them. Warns of what waits for ever and of what goes, and refuses what would take the network away.

mod checks;
mod dependents;
mod platform;
mod refusals;
mod removals;

use crate::contract::{
    Declaration, FailurePolicy, Fault, Mode, Operation, Path, Request, Rule, Scope, Setting,
    SettingKind, Validate, Verdict, Violation, Webhook, Weight, request,
};
use crate::kinds::{HELM_RELEASES, PACKAGE_SOURCES, PACKAGES};
use crate::packages::{Package as Spec, Parts, Source};
use refusals::REFUSALS;

/// Name of the setting that says which release of the platform runs.
const PLATFORM_VERSION: &str = "platform-version";

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
        reads: &[&PACKAGE_SOURCES, &PACKAGES, &HELM_RELEASES],
        writes: &[],
        settings: &[Setting {
            name: PLATFORM_VERSION,
            kind: SettingKind::Version {
                default: "v1.0.0-alpha.1",
            },
            summary: "The platform's release, by whose rules its Package is judged; unset, the installed source tells it.",
        }],
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
        let read = |raw| request::read::<Parts>(raw);
        let old = request.old_object.and_then(|old| read(old).ok());
        let Some(object) = request.object else {
            if let Some(old) = old {
                removals::deletion(request.name, Spec(&old.spec), request, verdict)?;
            }
            return Ok(());
        };
        let parts = match read(object) {
            Ok(parts) => parts,
            Err(error) => {
                verdict.refuse(Violation::policy(format!(
                    "the object is not readable: {error}"
                )));
                return Ok(());
            }
        };
        let name = parts.name().unwrap_or(request.name);
        let package = Spec(&parts.spec);
        let source = request.cluster.get(&PACKAGE_SOURCES, "", name);
        let source = source.as_deref().map(Source::of);
        checks::check(name, package, source, request, verdict)?;
        if name == platform::NAME {
            platform::check(package, request, verdict);
        }
        if let Some(old) = old {
            removals::change(name, (Spec(&old.spec), package), source, request, verdict)?;
        }
        Ok(())
    }
}

/// Where a component of the Package stands: `spec.components.gizmo`, in brackets where a dot would be misread.
fn component_path<'p>(components: &'p Path<'p>, name: &'p str) -> Path<'p> {
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_plain && !name.is_empty() {
        components.member(name)
    } else {
        components.key(name)
    }
}
