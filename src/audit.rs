//! What today's rules would say to objects that are there already.

use crate::offline::{Judge, Question};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use webhooks::contract::{FIELD_MANAGER, Operation, Settings, Webhook};

/// Group and version of the report kinds (openreports.io, `apis/openreports.io/v1alpha1`).
pub const REPORTS_API_VERSION: &str = "openreports.io/v1alpha1";
/// What stands in the place of a rule's id where no rule could decide.
const UNDECIDED: &str = "undecided";
/// A report holds no more results than this, in number and in bytes: an object must stay far below the API server's
/// limit of 1.5 MiB.
const REPORT_RESULTS_MAX: usize = 1_000;
const REPORT_RESULTS_MAX_BYTES: usize = 768 * 1024;

/// One thing that is to be said of an object.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The rule's id, or `crd-schema`.
    pub rule: String,
    /// Whether it is a violation; else a warning.
    pub violation: bool,
    /// Whether it would be refused today: a violation of a rule that does not only warn.
    pub refused: bool,
    /// `apiVersion` of the object.
    pub api_version: String,
    /// Kind of the object.
    pub kind: String,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// uid; empty when the file has none.
    pub uid: String,
    /// JSON path; empty for warnings, and when no single field is to blame.
    pub field: String,
    /// The sentence without the field.
    pub message: String,
}

impl Entry {
    /// What is said of an object, not yet named, that cannot be examined, and why.
    #[must_use]
    pub fn undecided(why: &dyn std::fmt::Display) -> Entry {
        Entry {
            rule: UNDECIDED.to_owned(),
            violation: false,
            refused: false,
            api_version: String::new(),
            kind: String::new(),
            namespace: String::new(),
            name: String::new(),
            uid: String::new(),
            field: String::new(),
            message: format!("cannot be examined: {why}"),
        }
    }
}

/// Examines objects one after the other; keeps what is to be said, not the objects.
pub struct Audit {
    judge: Judge,
    warning_rules: Vec<&'static str>,
    /// How many objects some rule has looked at.
    pub examined: usize,
    /// Of how many of them nothing is to be said, by namespace; empty for cluster-scoped kinds.
    pub passed: BTreeMap<String, usize>,
    /// What is to be said.
    pub entries: Vec<Entry>,
}

impl Audit {
    /// An audit by a judge of [`Settings::enforced`] settings; `settings` are those in force.
    #[must_use]
    pub fn new(judge: Judge, registry: &[&'static Webhook], settings: &Settings) -> Audit {
        use webhooks::contract::Mode;
        let warning_rules = registry
            .iter()
            .map(|webhook| &webhook.declaration)
            .filter(|declaration| settings.mode(declaration) == Mode::Warn)
            .map(|declaration| declaration.id)
            .collect();
        Audit {
            judge,
            warning_rules,
            examined: 0,
            passed: BTreeMap::new(),
            entries: Vec::new(),
        }
    }

    /// Examines one object, as if it were made now.
    pub fn examine(&mut self, source: String, object: Value) {
        let text = |pointer: &str| {
            let found = object.pointer(pointer).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        let uid = text("/metadata/uid");
        let question = Question {
            source,
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            operation: Operation::Create,
            object: Some(object),
            old_object: None,
            dry_run: false,
            user_info: None,
        };
        let report = match self.judge.judge(&question) {
            Ok(Some(report)) => report,
            Ok(None) => return,
            // The others are examined all the same.
            Err(error) => {
                self.entries.push(Entry {
                    api_version: question.api_version,
                    kind: question.kind,
                    namespace: question.namespace,
                    name: question.name,
                    uid,
                    ..Entry::undecided(&error)
                });
                return;
            }
        };
        self.examined += 1;
        let entry = |rule: &str, field: String, message: String, violation: bool| Entry {
            rule: rule.to_owned(),
            violation,
            refused: violation && !self.warning_rules.contains(&rule),
            api_version: report.api_version.clone(),
            kind: report.kind.clone(),
            namespace: report.namespace.clone(),
            name: report.name.clone(),
            uid: uid.clone(),
            field,
            message,
        };
        let violations = report.violations.iter().map(|found| {
            entry(
                &found.rule,
                found.field.clone(),
                found.message.clone(),
                true,
            )
        });
        let warnings = report
            .rule_warnings
            .iter()
            .map(|(rule, text)| entry(rule, String::new(), text.clone(), false));
        let mut entries: Vec<Entry> = violations.chain(warnings).collect();
        if entries.is_empty() {
            *self.passed.entry(report.namespace.clone()).or_default() += 1;
        }
        self.entries.append(&mut entries);
    }

    /// Whether there are violations.
    #[must_use]
    pub fn has_violations(&self) -> bool {
        self.entries.iter().any(|entry| entry.violation)
    }
}

/// What was found as OpenReports: a ClusterReport for cluster-scoped objects, a Report for each namespace in which
/// something is to be said. The same findings give the same reports, so that writing them again changes nothing.
#[must_use]
pub fn reports(audit: &Audit) -> Vec<Value> {
    let mut by_namespace: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    // There is always one for the cluster: an empty one says that all is well.
    by_namespace.entry("").or_default();
    for entry in &audit.entries {
        by_namespace
            .entry(&entry.namespace)
            .or_default()
            .push(entry);
    }
    by_namespace
        .into_iter()
        .map(|(namespace, entries)| {
            let passed = audit.passed.get(namespace).copied().unwrap_or_default();
            report(namespace, &entries, passed)
        })
        .collect()
}

fn report(namespace: &str, entries: &[&Entry], passed: usize) -> Value {
    let count = |violation: bool| {
        let found = entries.iter().filter(|entry| entry.violation == violation);
        found.count()
    };
    let mut bytes = 0;
    let results: Vec<Value> = entries
        .iter()
        .take(REPORT_RESULTS_MAX)
        .map(|entry| {
            let mut result = json!({
                "policy": entry.rule,
                "result": if entry.violation { "fail" } else { "warn" },
                "scored": entry.refused,
                "message": entry.message,
                "resources": [{
                    "apiVersion": entry.api_version, "kind": entry.kind, "name": entry.name,
                    "namespace": entry.namespace, "uid": entry.uid,
                }],
            });
            if let (Some(result), false) = (result.as_object_mut(), entry.field.is_empty()) {
                result.insert("properties".to_owned(), json!({"field": entry.field}));
            }
            result
        })
        .take_while(|result| {
            bytes += result.to_string().len();
            bytes <= REPORT_RESULTS_MAX_BYTES
        })
        .collect();
    let mut metadata =
        json!({"name": FIELD_MANAGER, "labels": {"app.kubernetes.io/managed-by": FIELD_MANAGER}});
    if let (Some(members), false) = (metadata.as_object_mut(), namespace.is_empty()) {
        members.insert("namespace".to_owned(), namespace.into());
    }
    json!({
        "apiVersion": REPORTS_API_VERSION,
        "kind": if namespace.is_empty() { "ClusterReport" } else { "Report" },
        "metadata": metadata,
        "source": FIELD_MANAGER,
        "summary": {"pass": passed, "fail": count(true), "warn": count(false), "error": 0, "skip": 0},
        "results": results,
    })
}
