//! Refuses ApplicationDefinitions that would break the platform's API, its tenants' view or its HelmReleases, for
//! the operators who write them. Warns of what the platform would silently skip.

mod checks;
mod keys_order;
mod refusals;
mod selectors;
pub mod template;

pub use checks::{Subject, check};

pub use refusals::REFUSALS;

use crate::contract::companions::BY_PARENT;
use crate::contract::{
    Content, Declaration, FailurePolicy, Fault, Index, Mode, Object, Operation, Path, Read,
    Request, Resource, Rule, Scope, Validate, Verdict, Violation, Webhook, Weight,
};
use crate::cozystack_resource_definition::{LEGACY_DEFINITIONS, in_new_form};
use crate::kinds::{
    APPLICATION_KIND_LABEL, HELM_RELEASES, HELM_RELEASES_BY_APPLICATION_KIND, PACKAGE_SOURCES,
};
use serde::Deserialize;
use serde_json::Value;

/// The kind.
pub static RESOURCE: Resource = Resource {
    group: "cozystack.io",
    version: "v1alpha1",
    plural: "applicationdefinitions",
    kind: "ApplicationDefinition",
    namespaced: false,
};

/// All definitions.
pub static DEFINITIONS: Read = Read {
    resource: RESOURCE,
    content: Content::Full,
    indexes: &[&BY_KIND, &BY_PLURAL, &BY_PREFIX, &BY_PARENT],
};

/// Definitions (of either form) by the kind that they define.
pub static BY_KIND: Index = Index {
    name: "kind",
    keys: |object| keys(object, &["spec", "application", "kind"]),
};
/// Definitions (of either form) by the plural that they define.
pub static BY_PLURAL: Index = Index {
    name: "plural",
    keys: |object| keys(object, &["spec", "application", "plural"]),
};
/// Definitions (of either form) by the prefix of their releases.
pub static BY_PREFIX: Index = Index {
    name: "prefix",
    keys: |object| keys(object, &["spec", "release", "prefix"]),
};

fn keys(object: &Object, path: &[&str]) -> Vec<String> {
    object
        .text(path)
        .filter(|text| !text.is_empty())
        .map(ToOwned::to_owned)
        .into_iter()
        .collect()
}

/// How many objects a message names.
const NAMED_OBJECTS_MAX: usize = 3;

/// The folder.
pub static WEBHOOK: Webhook = Webhook {
    declaration: Declaration {
        id: "application-definition",
        summary: "Checks ApplicationDefinitions: schema, names, chart, labels, selectors, templates and uniqueness.",
        rules: &[Rule {
            resource: &RESOURCE,
            versions: &["v1alpha1"],
            operations: &[Operation::Create, Operation::Update, Operation::Delete],
        }],
        scope: Scope::OutsideOurNamespace,
        names: &[],
        match_conditions: &[],
        failure_policy: FailurePolicy::Fail,
        timeout_seconds: 5,
        default_mode: Mode::Enforce,
        // Compiling a schema takes about a millisecond.
        weight: Weight::Heavy,
        reads: &[
            &DEFINITIONS,
            &LEGACY_DEFINITIONS,
            &HELM_RELEASES,
            &PACKAGE_SOURCES,
        ],
        writes: &[],
        settings: &[],
        refusals: &[&REFUSALS],
    },
    validate: Some(&ApplicationDefinition),
    mutate: None,
    convert: None,
    companions: None,
};

struct ApplicationDefinition;

/// What the rule builds of an object; the rest stays text.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    metadata: Metadata,
    spec: Option<Value>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    name: Option<String>,
    annotations: Option<Value>,
}

/// What decides over deletion and renaming.
#[derive(Deserialize)]
struct KindOnly {
    spec: Option<KindSpec>,
}

#[derive(Deserialize)]
struct KindSpec {
    application: Option<KindApplication>,
}

#[derive(Deserialize)]
struct KindApplication {
    kind: Option<String>,
}

impl Validate for ApplicationDefinition {
    fn validate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
        let old_kind = request
            .old_object
            .and_then(|old| old.read::<KindOnly>().ok()?.spec?.application?.kind);
        let Some(object) = request.object else {
            if let Some(kind) = old_kind {
                refuse_while_in_use(&kind, None, request, verdict);
            }
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
        let subject = Subject {
            name: parts.metadata.name.as_deref().unwrap_or(request.name),
            annotations: parts.metadata.annotations.as_ref(),
            spec: parts.spec.as_ref(),
        };
        check(&subject, request, verdict)?;
        excuse_sins_of_the_legacy_definition(subject.name, request, verdict)?;
        check_kind_change(old_kind.as_deref(), &subject, request, verdict);
        Ok(())
    }
}

/// What is wrong with the legacy definition of the same name already is no new sin of its successor: the bridge must
/// be able to carry it over, or it could never be deleted.
fn excuse_sins_of_the_legacy_definition(
    name: &str,
    request: &Request<'_>,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    if verdict.violations.is_empty() {
        return Ok(());
    }
    let Some(legacy) = request.cluster.get(&LEGACY_DEFINITIONS, "", name) else {
        return Ok(());
    };
    let Some(legacy) = serde_json::value::to_raw_value(&legacy.value)
        .ok()
        .and_then(|raw| in_new_form((&*raw).into()).ok())
    else {
        return Ok(());
    };
    let subject = Subject {
        name,
        annotations: legacy.pointer("/metadata/annotations"),
        spec: legacy.get("spec"),
    };
    let mut old = Verdict::default();
    check(&subject, request, &mut old)?;
    let mut old = old.violations;
    let (excused, new): (Vec<_>, Vec<_>) = std::mem::take(&mut verdict.violations)
        .into_iter()
        .partition(|violation| {
            let found = old.iter().position(|old| violation.is_same_sin(old));
            found.map(|position| old.swap_remove(position)).is_some()
        });
    verdict.violations = new;
    for violation in excused {
        verdict.warn(violation.message());
    }
    Ok(())
}

/// Refuses another `kind` while HelmReleases of the old one exist.
pub fn check_kind_change(
    old: Option<&str>,
    subject: &Subject<'_>,
    request: &Request<'_>,
    verdict: &mut Verdict,
) {
    let new = subject.kind();
    if let Some(old) = old
        && old != new
    {
        refuse_while_in_use(old, Some(new), request, verdict);
    }
}

/// Refuses to take the definition of `kind` away (or to make it `new`) while HelmReleases of that kind exist: the
/// platform's API could no longer serve their applications.
fn refuse_while_in_use(
    kind: &str,
    new: Option<&str>,
    request: &Request<'_>,
    verdict: &mut Verdict,
) {
    let found = request.cluster.find(
        &HELM_RELEASES,
        &HELM_RELEASES_BY_APPLICATION_KIND,
        kind,
        NAMED_OBJECTS_MAX,
    );
    if found.total == 0 {
        return;
    }
    let names: Vec<String> = found
        .first
        .iter()
        .map(|object| object.display_name())
        .collect();
    let more = found.total - names.len();
    let more = if more == 0 {
        String::new()
    } else {
        format!(" and {more} more")
    };
    let users = format!(
        "{} HelmRelease(s) with label {APPLICATION_KIND_LABEL}={kind} exist: {}{more}",
        found.total,
        names.join(", ")
    );
    let spec = Path::ROOT.member("spec");
    let application = spec.member("application");
    verdict.refuse(
        match new {
            Some(new) => Violation::invalid(
                &application.member("kind"),
                new,
                format!("may not change from {kind:?} while {users}"),
            ),
            None => Violation::policy(format!(
                "the definition of kind {kind} may not be deleted while {users}; delete their applications first"
            )),
        }
        .insistable(),
    );
}
