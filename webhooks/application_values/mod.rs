//! Warns of (or refuses) values of an application that its definition's schema does not allow, for the tenants who
//! write them: the platform's API fills in the schema's defaults and checks nothing.

mod findings;
mod tidy;

use crate::application_definition::{BY_KIND, DEFINITIONS};
use crate::contract::{
    Cause, Declaration, FailurePolicy, Fault, FieldPath, Mode, Object, Operation, Path, Refusal,
    Request, Rule, Scope, Validate, Verdict, Violation, Webhook, Weight,
};
use crate::cozystack_resource_definition::LEGACY_DEFINITIONS;
use crate::kinds::{HELM_RELEASES, IS_AN_APPLICATION};
use crate::schema::{self, dialect::Dialect};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

/// The API group of applications.
const APPLICATION_GROUP: &str = "apps.cozystack.io";
/// The Secret that the platform gives every release: facts of cluster and namespace, no values of the application.
const PLATFORM_VALUES: &str = "cozystack-values";

/// Most violations of one object: a list of a million wrong items is as wrong as one of a hundred.
const VIOLATIONS_MAX: usize = 100;
/// Most violations that are known of the object before the change: more than are reported, so that what comes into
/// sight when others are put right is an old sin still.
const OLD_VIOLATIONS_MAX: usize = 10_000;
/// Values that are larger, in bytes, are judged up to their first error: each error takes up to a kilobyte, and
/// there can be half as many as there are bytes. Helm cannot store more than 1 MiB of a release, compressed.
const ALL_ERRORS_MAX_BYTES: usize = 256 << 10;

const fn refusal(says: &'static str, fix: &'static str) -> Refusal {
    Refusal {
        field: "spec.values",
        says,
        fix,
    }
}

/// The folder.
pub static WEBHOOK: Webhook = Webhook {
    declaration: Declaration {
        id: "application-values",
        summary: "Checks the values of applications against the schema of their definition.",
        rules: &[Rule {
            resource: &HELM_RELEASES.resource,
            // Whatever Flux serves: the fields that are read are the same in all of them.
            versions: &["v2", "v2beta2", "v2beta1"],
            operations: &[Operation::Create, Operation::Update],
        }],
        scope: Scope::OutsideOurNamespace,
        names: &[],
        match_conditions: &[IS_AN_APPLICATION],
        // The kind is Flux's, and the values of all applications go through it.
        failure_policy: FailurePolicy::Ignore,
        timeout_seconds: 5,
        // Charts take values that their schemas do not, as long as nobody has checked them.
        default_mode: Mode::Warn,
        // A schema is compiled at its first use, and a million wrong values take a tenth of a second. What is usual
        // takes ten microseconds.
        weight: Weight::Heavy,
        reads: &[&DEFINITIONS, &LEGACY_DEFINITIONS],
        writes: &[],
        settings: &[],
        refusals: &[&REFUSALS],
    },
    validate: Some(&ApplicationValues),
    mutate: None,
    convert: None,
    companions: None,
};

static REFUSALS: [Refusal; 9] = [
    refusal(
        "must be set",
        "Set the field: neither the schema nor the chart has a default for it.",
    ),
    refusal(
        "must be",
        "Write a value of the type, range or format that the sentence names.",
    ),
    refusal(
        "supported values",
        "Choose among the values that are listed.",
    ),
    refusal(
        "must match",
        "Write a text that the regular expression matches.",
    ),
    refusal("may not be more than", "Shorten the text."),
    refusal("must have", "Add or take away what the sentence counts."),
    refusal(
        "must fit",
        "Write the value in one of the forms that are listed.",
    ),
    refusal("must not", "Take away what the schema rules out."),
    refusal(
        "is not known",
        "Correct the name, or leave the field out: the schema admits no others here.",
    ),
];

struct ApplicationValues;

/// What the rule builds of an object; the values stay text until they must be judged.
#[derive(Deserialize)]
struct Release<'a> {
    #[serde(default, borrow)]
    metadata: Metadata<'a>,
    #[serde(default, borrow)]
    spec: Spec<'a>,
}

#[derive(Deserialize, Default)]
struct Metadata<'a> {
    #[serde(borrow)]
    labels: Option<Labels<'a>>,
}

#[derive(Deserialize)]
struct Labels<'a> {
    #[serde(rename = "apps.cozystack.io/application.kind", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(rename = "apps.cozystack.io/application.group", borrow)]
    group: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow)]
    values: Option<&'a RawValue>,
    #[serde(borrow)]
    values_from: Option<&'a RawValue>,
}

impl<'a> Release<'a> {
    /// The kind of the application behind it; none when it is no application of the platform.
    fn application_kind(&self) -> Option<&str> {
        let labels = self.metadata.labels.as_ref()?;
        let is_of_platform = labels
            .group
            .as_deref()
            .is_none_or(|group| group == APPLICATION_GROUP);
        let kind = labels.kind.as_deref();
        kind.filter(|kind| is_of_platform && !kind.is_empty())
    }

    /// What the values are made of, as it was written.
    fn written(&self) -> (Option<&'a str>, Option<&'a str>) {
        (
            self.spec.values.map(RawValue::get),
            self.spec.values_from.map(RawValue::get),
        )
    }

    /// Whether other values come beneath these: then nobody knows here what is missing. Sources that cannot be read
    /// are such values too.
    fn has_values_elsewhere(&self) -> bool {
        let sources = self
            .spec
            .values_from
            .map(|sources| serde_json::from_str::<Vec<Source>>(sources.get()));
        sources.is_some_and(|sources| {
            sources.is_err()
                || sources.is_ok_and(|sources| {
                    sources.iter().any(|source| {
                        source.kind != "Secret"
                            || source.name != PLATFORM_VALUES
                            || source.target_path.is_some()
                    })
                })
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
    target_path: Option<String>,
}

impl Validate for ApplicationValues {
    fn validate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
        let Some(object) = request.object else {
            return Ok(());
        };
        let release = match object.read::<Release<'_>>() {
            Ok(release) => release,
            Err(error) => {
                verdict.warn(format!("the values were not checked: {error}"));
                return Ok(());
            }
        };
        let Some(kind) = release.application_kind() else {
            return Ok(());
        };
        let old = request
            .old_object
            .and_then(|old| old.read::<Release<'_>>().ok());
        let is_unchanged = old
            .as_ref()
            .is_some_and(|old| old.written() == release.written());
        // Flux and the platform's controllers write labels, annotations and finalizers all day long.
        if is_unchanged && old.is_some_and(|old| old.application_kind() == Some(kind)) {
            return Ok(());
        }
        let mut found = Verdict::default();
        judge(kind, &release, request, &mut found)?;
        verdict.warnings.append(&mut found.warnings);
        if is_unchanged {
            // Whoever labels a release, such as the platform's own migration, has not written its values.
            for violation in found.violations {
                verdict.warn(violation.message());
            }
        } else {
            verdict.violations.append(&mut found.violations);
        }
        Ok(())
    }
}

/// Adds everything that the schema of that kind has against the values.
fn judge(
    kind: &str,
    release: &Release<'_>,
    request: &Request<'_>,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let definition = match definition(kind, request) {
        Ok(definition) => definition,
        Err(sentence) => {
            verdict.warn(sentence);
            return Ok(());
        }
    };
    let (definition, is_legacy) = definition;
    let doubt = |why: &str| {
        let form = if is_legacy {
            "legacy definition"
        } else {
            "definition"
        };
        format!(
            "the values were not checked: the schema of {form} {} {why}",
            definition.name
        )
    };
    let Some(source) = definition.text(&["spec", "application", "openAPISchema"]) else {
        verdict.warn(doubt("is no text"));
        return Ok(());
    };
    let checked = schema::check(source);
    let dialect = match &*checked {
        Ok(None) => return Ok(()),
        Ok(Some(schema)) => schema.dialect(),
        Err(error) => Err(error.as_str()),
    };
    let dialect = match dialect {
        Ok(dialect) => dialect,
        Err(why) => {
            verdict.warn(doubt(why));
            return Ok(());
        }
    };
    request.deadline.check()?;
    let text = release.spec.values.map_or("{}", RawValue::get);
    let mut values = match serde_json::from_str(text) {
        Ok(Value::Null) => Value::Object(Map::new()),
        Ok(values) => values,
        Err(error) => {
            verdict.warn(format!("the values were not checked: {error}"));
            return Ok(());
        }
    };
    if !values.is_object() {
        let path = Path::ROOT.member("spec");
        verdict.refuse(Violation::wrong_type(
            &path.member("values"),
            &values,
            "an object (spec of the application)",
        ));
        return Ok(());
    }
    for stray in tidy::tidy(&dialect.document, &mut values) {
        verdict.warn(stray.sentence(kind));
    }
    if dialect.is_valid(&values) {
        return Ok(());
    }
    let max = if request.operation == Operation::Update && request.old_object.is_none() {
        OLD_VIOLATIONS_MAX
    } else {
        VIOLATIONS_MAX
    };
    verdict.violations = list(dialect, &values, text.len(), release, max);
    Ok(())
}

fn list(
    dialect: &Dialect,
    values: &Value,
    bytes: usize,
    release: &Release<'_>,
    max: usize,
) -> Vec<Violation> {
    let reader = findings::Reader {
        schema: &dialect.document,
        values,
        has_values_elsewhere: release.has_values_elsewhere(),
    };
    let mut violations = Vec::new();
    if bytes > ALL_ERRORS_MAX_BYTES {
        if let Some(error) = dialect.first_error(values) {
            reader.explain(&error, &mut violations);
        }
    } else {
        for error in dialect.errors(values) {
            reader.explain(&error, &mut violations);
            if violations.len() >= max {
                break;
            }
        }
    }
    // Of a value of the wrong type its type is all there is to say.
    let of_wrong_type: HashSet<FieldPath> = violations
        .iter()
        .filter(|violation| violation.cause == Cause::TypeInvalid)
        .map(|violation| violation.field.clone())
        .collect();
    violations.retain(|violation| {
        violation.cause != Cause::NotSupported || !of_wrong_type.contains(&violation.field)
    });
    violations.truncate(max);
    violations.sort_by_cached_key(|violation| violation.field.to_string());
    violations
}

/// The definition of a kind, and whether it is of the legacy form; or why there is none to judge by.
fn definition(kind: &str, request: &Request<'_>) -> Result<(Arc<Object>, bool), String> {
    for (read, is_legacy) in [(&DEFINITIONS, false), (&LEGACY_DEFINITIONS, true)] {
        let mut found = request.cluster.find(read, &BY_KIND, kind, 1);
        match (found.total, found.first.pop()) {
            (0, _) | (_, None) => {}
            (1, Some(definition)) => return Ok((definition, is_legacy)),
            (total, Some(_)) => {
                return Err(format!(
                    "the values were not checked: {total} definitions define {kind}"
                ));
            }
        }
    }
    // It may be on its way, in the same apply; or somebody has taken it away.
    Err(format!(
        "the values were not checked: no definition of {kind} is known"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Cluster, Deadline, Found, Index, Read, Settings};
    use serde_json::json;
    use std::time::Duration;

    /// A cluster with one definition of the kind Gizmo.
    struct One(Arc<Object>);

    impl Cluster for One {
        fn get(&self, _: &'static Read, _: &str, _: &str) -> Option<Arc<Object>> {
            None
        }

        fn find(&self, read: &'static Read, _: &'static Index, key: &str, _: usize) -> Found {
            if key != "Gizmo" || read.resource != DEFINITIONS.resource {
                return Found::default();
            }
            Found {
                first: vec![Arc::clone(&self.0)],
                total: 1,
            }
        }
    }

    fn release(spec: &str) -> Box<RawValue> {
        let text = format!(
            r#"{{"metadata":{{"labels":{{"apps.cozystack.io/application.kind":"Gizmo"}}}},"spec":{spec}}}"#
        );
        RawValue::from_string(text).unwrap()
    }

    fn ask(schema: &Value, object: &RawValue, old: Option<&RawValue>, is_update: bool) -> Verdict {
        let definition = json!({"metadata": {"name": "gizmo"},
            "spec": {"application": {"kind": "Gizmo", "openAPISchema": schema.to_string()}}});
        let cluster = One(Arc::new(Object::of(definition).unwrap()));
        let settings = Settings::default();
        let operation = if is_update {
            Operation::Update
        } else {
            Operation::Create
        };
        let request = Request {
            operation,
            group: "helm.toolkit.fluxcd.io",
            version: "v2",
            kind: "HelmRelease",
            namespace: "tenant-a",
            name: "gizmo-a",
            object: Some(object.into()),
            old_object: old.map(Into::into),
            user_info: None,
            dry_run: false,
            cluster: &cluster,
            settings: settings.of(&WEBHOOK.declaration),
            deadline: Deadline::after(Duration::from_mins(1)),
            explains: false,
        };
        let mut verdict = Verdict::default();
        ApplicationValues.validate(&request, &mut verdict).unwrap();
        verdict
    }

    #[test]
    fn what_is_listed_is_bounded_and_old_sins_reach_further() {
        let schema = json!({"type": "object", "properties": {"l": {"type": "array", "items": {"type": "string"}}}});
        let wrong = |items: usize| release(&json!({"values": {"l": vec![1; items]}}).to_string());
        assert_eq!(ask(&schema, &wrong(3), None, false).violations.len(), 3);
        let object = wrong(1_000);
        let new = ask(&schema, &object, None, false);
        assert_eq!(new.violations.len(), VIOLATIONS_MAX);
        let old = ask(&schema, &object, None, true);
        assert_eq!(old.violations.len(), 1_000);
        // Larger than anything that Helm could store: one is enough.
        assert_eq!(
            ask(&schema, &wrong(200_000), None, false).violations.len(),
            1
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_held_against_anybody() {
        let schema = json!({"type": "object"});
        let deep = format!(r#"{{"values":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
        for spec in [deep.as_str(), "5"] {
            let verdict = ask(&schema, &release(spec), None, false);
            assert!(verdict.violations.is_empty(), "{verdict:?}");
            assert!(
                verdict.warnings[0].starts_with("the values were not checked: "),
                "{verdict:?}"
            );
        }
    }

    #[test]
    fn only_the_platforms_secret_has_no_values_of_the_application() {
        let schema = json!({"type": "object", "required": ["a"], "properties": {"a": {}}});
        for (from, is_missing) in [
            ("null", true),
            ("[]", true),
            (r#"[{"kind":"Secret","name":"cozystack-values"}]"#, true),
            (r#"[{"kind":"ConfigMap","name":"cozystack-values"}]"#, false),
            (
                r#"[{"kind":"Secret","name":"cozystack-values"},{"kind":"Secret","name":"x"}]"#,
                false,
            ),
            (
                r#"[{"kind":"Secret","name":"cozystack-values","targetPath":"a"}]"#,
                false,
            ),
            ("5", false),
        ] {
            for values in ["", r#","values":{}"#, r#","values":null"#] {
                let object = release(&format!(r#"{{"valuesFrom":{from}{values}}}"#));
                let found = ask(&schema, &object, None, false).violations.len();
                assert_eq!(found == 1, is_missing, "{from}{values}");
            }
        }
    }

    #[test]
    fn an_update_that_leaves_the_values_alone_asks_nothing() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
        let bad = release(r#"{"values":{"a":"x"}}"#);
        let nothing = Verdict::default();
        assert_eq!(ask(&schema, &bad, Some(&bad), true), nothing);
        // The same value in other words is judged, and known as an old sin.
        let other = release(r#"{"values":{"a": "x"}}"#);
        let new = ask(&schema, &other, Some(&bad), true);
        let old = ask(&schema, &bad, None, true);
        assert!(new.violations[0].is_same_sin(&old.violations[0]));
        // With other sources beneath them the values are others.
        let other = release(r#"{"values":{"a":"x"},"valuesFrom":[]}"#);
        assert_eq!(ask(&schema, &other, Some(&bad), true).violations.len(), 1);
    }
}
