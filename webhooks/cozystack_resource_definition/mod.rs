//! Converts legacy CozystackResourceDefinitions between their two forms and to ApplicationDefinition, and holds
//! them to the checks of the latter, for clusters on their way from v0.38/v0.39 to v1.0. Refuses to delete a legacy
//! definition that nothing replaces yet: upstream's migration deletes them all.

pub mod bridge;
pub mod catalogue;
pub mod conversion;

use crate::application_definition::{
    self, BY_KIND, BY_PLURAL, BY_PREFIX, DEFINITIONS, Subject, check, check_kind_change,
};
use crate::contract::{
    Content, ConvertError, Converted, Declaration, FailurePolicy, Fault, FieldPath, Json,
    Malformed, Mode, Operation, Path, Read, Refusal, Request, Resource, Rule, Scope, Setting,
    SettingKind, Validate, Verdict, Violation, Webhook, Weight,
};
use crate::kinds::{HELM_CHARTS, HELM_RELEASES, PACKAGE_SOURCES};
use serde_json::Value;
use std::time::Duration;

/// The kind, in its storage version.
pub static RESOURCE: Resource = Resource {
    group: "cozystack.io",
    version: "v1alpha1",
    plural: "cozystackresourcedefinitions",
    kind: "CozystackResourceDefinition",
    namespaced: false,
};

/// All legacy definitions. Watched in the storage version, which needs no conversion.
pub static LEGACY_DEFINITIONS: Read = Read {
    resource: RESOURCE,
    content: Content::Full,
    indexes: &[&BY_KIND, &BY_PLURAL, &BY_PREFIX],
};

/// The folder.
pub static WEBHOOK: Webhook = Webhook {
    declaration: Declaration {
        id: "cozystack-resource-definition",
        summary: "Converts legacy definitions, checks what they convert to, and keeps them until they are replaced.",
        rules: &[Rule {
            resource: &RESOURCE,
            // Both, so that the API server need not convert before it calls.
            versions: &["v1alpha1", "v1alpha2"],
            operations: &[Operation::Create, Operation::Update, Operation::Delete],
        }],
        scope: Scope::OutsideOurNamespace,
        names: &[],
        match_conditions: &[],
        failure_policy: FailurePolicy::Fail,
        timeout_seconds: 5,
        default_mode: Mode::Enforce,
        // It compiles a schema, as application-definition does.
        weight: Weight::Heavy,
        reads: &[
            &LEGACY_DEFINITIONS,
            &DEFINITIONS,
            &HELM_RELEASES,
            &PACKAGE_SOURCES,
        ],
        writes: &[&DEFINITIONS, &HELM_CHARTS],
        settings: &[
            Setting {
                name: bridge::BRIDGE_SETTING,
                kind: SettingKind::Flag { default: true },
                summary: "Keep an ApplicationDefinition in step with every legacy definition.",
            },
            Setting {
                name: bridge::CHART_INTERVAL_SETTING,
                kind: SettingKind::Duration {
                    default: Duration::from_mins(5),
                    min: Duration::from_secs(10),
                    max: Duration::from_hours(24),
                },
                summary: "How often Flux looks up the chart of a definition whose repository no package replaces.",
            },
        ],
        refusals: &[&REFUSALS, &application_definition::REFUSALS],
    },
    validate: Some(&LegacyDefinition),
    mutate: None,
    convert: Some(&conversion::CONVERSION),
    companions: Some(&bridge::Bridge),
};

static REFUSALS: [Refusal; 1] = [Refusal {
    field: "",
    says: "replaces this legacy definition yet",
    fix: "Wait for the bridge to make the ApplicationDefinition (its Events say what keeps it), apply one, or insist.",
}];

struct LegacyDefinition;

impl Validate for LegacyDefinition {
    fn validate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
        let Some(object) = request.object else {
            if request
                .cluster
                .get(&DEFINITIONS, "", request.name)
                .is_none()
            {
                verdict.refuse(
                    Violation::policy(format!(
                        "no ApplicationDefinition {} replaces this legacy definition yet: deleting it would lose it",
                        request.name
                    ))
                    .insistable(),
                );
            }
            return Ok(());
        };
        verdict.warn("CozystackResourceDefinition is deprecated; use ApplicationDefinition (cozystack.io/v1alpha1)");
        let mut converted = match in_new_form(object) {
            Ok(converted) => converted,
            Err(ConvertError::Field { at, detail }) => {
                let mut violation = Violation::invalid(&Path::ROOT, Value::Null, detail);
                violation.field = at;
                verdict.refuse(violation);
                return Ok(());
            }
            Err(error @ ConvertError::Malformed(_)) => {
                verdict.refuse(Violation::policy(format!(
                    "the object is not readable: {error}"
                )));
                return Ok(());
            }
        };
        if request.version == RESOURCE.version
            && let Ok(legacy) = object.read::<Value>()
            && let Some(chart) = legacy.pointer("/spec/release/chart")
            && let Some(spec) = converted.get_mut("spec")
        {
            // The chart is judged by the artifact that the bridge will name.
            bridge::name_artifact(chart, spec, request.cluster);
        }
        let subject = Subject {
            name: converted
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or(request.name),
            annotations: converted.pointer("/metadata/annotations"),
            spec: converted.get("spec"),
        };
        check(&subject, request, verdict)?;
        let old = request.old_object.and_then(|old| in_new_form(old).ok());
        let old_kind = old
            .as_ref()
            .and_then(|old| old.pointer("/spec/application/kind"))
            .and_then(Value::as_str);
        check_kind_change(old_kind, &subject, request, verdict);
        if request.version == RESOURCE.version {
            for violation in &mut verdict.violations {
                name_legacy_field(violation, object);
            }
            for warning in &mut verdict.warnings {
                if let Some(rest) = warning.strip_prefix("spec.release.chartRef") {
                    *warning = format!("spec.release.chart{rest}");
                }
            }
        }
        Ok(())
    }
}

/// The definition, of either version, in its new form.
///
/// # Errors
/// When it has none.
pub fn in_new_form(object: Json<'_>) -> Result<Value, ConvertError> {
    let object = object.to_raw().map_err(Malformed::from)?;
    match conversion::CONVERSION.convert(object, "cozystack.io/v1alpha2")? {
        Converted::Unchanged(raw) => Ok(serde_json::from_str(raw.get()).map_err(Malformed::from)?),
        Converted::Changed(node) => Ok(node.to_value()?),
    }
}

/// What is wrong with the chartRef is wrong with the chart behind it: the writer sees the field that he wrote.
fn name_legacy_field(violation: &mut Violation, object: Json<'_>) {
    let new = FieldPath::of(&["spec", "release", "chartRef"]);
    let Some(below) = violation.field.segments().strip_prefix(new.segments()) else {
        return;
    };
    let chart = ["spec", "release", "chart"];
    let member = FieldPath::default();
    let member = below.iter().fold(member, |path, segment| match segment {
        crate::contract::field::Segment::Member(name) => path.member(name),
        _ => path,
    });
    let below: &[&str] = match member.to_string().as_str() {
        "name" => &["name"],
        "kind" => &["sourceRef", "kind"],
        "namespace" => &["sourceRef", "namespace"],
        _ => &[],
    };
    let path = [chart.as_slice(), below].concat();
    let found = object
        .read::<Value>()
        .ok()
        .and_then(|object| object.pointer(&FieldPath::of(&path).to_pointer()).cloned());
    violation.field = FieldPath::of(&path);
    if violation.found.is_some() && found.is_some() {
        violation.found = found;
    }
}
