//! What is generated from the registry: webhook configurations, RBAC, the names that are API.

use crate::crds::{self, MANAGER, Target};
use crate::dispatch::{Dispatcher, Entry, Modes, Role, entries};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use webhooks::contract::{ALLOW_ANNOTATION, Operation, Webhook};

/// Verbs for kinds that rules read.
const READ_VERBS: [&str; 3] = ["get", "list", "watch"];
/// Verbs for kinds that companions write.
const WRITE_VERBS: [&str; 3] = ["create", "delete", "patch"];

/// The webhook configurations, mutating and validating, as far as the registry has such rules.
#[must_use]
pub fn configurations(registry: &[&'static Webhook], target: &Target) -> Vec<Value> {
    let entries = entries(registry);
    [
        (Role::Mutate, "MutatingWebhookConfiguration"),
        (Role::Validate, "ValidatingWebhookConfiguration"),
    ]
    .into_iter()
    .filter_map(|(role, kind)| {
        let webhooks: Vec<Value> = entries
            .iter()
            .filter(|entry| entry.role == role)
            .map(|entry| webhook(entry, target))
            .collect();
        (!webhooks.is_empty()).then(|| {
            json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": kind,
                "metadata": {"name": MANAGER, "labels": {"app.kubernetes.io/managed-by": MANAGER}},
                "webhooks": webhooks,
            })
        })
    })
    .collect()
}

fn webhook(entry: &Entry, target: &Target) -> Value {
    let rules: Vec<_> = entry
        .declarations()
        .flat_map(|declaration| declaration.rules)
        .filter(|rule| rule.resource == entry.resource)
        .collect();
    let versions: BTreeSet<&str> = rules
        .iter()
        .flat_map(|rule| rule.versions)
        .copied()
        .collect();
    let operations: BTreeSet<Operation> = rules
        .iter()
        .flat_map(|rule| rule.operations)
        .copied()
        .collect();
    let operations: Vec<&str> = operations.into_iter().map(Operation::as_str).collect();
    let conditions: Vec<Value> = entry
        .declarations()
        .flat_map(|declaration| declaration.match_conditions)
        .map(|condition| json!({"name": condition.name, "expression": condition.expression}))
        .collect();
    let name = entry.path.trim_start_matches('/').replace('/', ".");
    let mut webhook = json!({
        "name": format!("{name}.webhook.cozystack.io"),
        "clientConfig": target.client_config(false, &entry.path),
        "rules": [{
            "apiGroups": [entry.resource.group],
            "apiVersions": versions,
            "operations": operations,
            "resources": [entry.resource.plural],
            "scope": if entry.resource.namespaced { "Namespaced" } else { "Cluster" },
        }],
        "failurePolicy": entry.failure_policy.as_str(),
        "matchPolicy": "Equivalent",
        "sideEffects": "None",
        "timeoutSeconds": entry.declarations().map(|declaration| declaration.timeout_seconds).max(),
        "admissionReviewVersions": ["v1"],
    });
    if let (Some(members), false) = (webhook.as_object_mut(), conditions.is_empty()) {
        members.insert("matchConditions".to_owned(), conditions.into());
    }
    webhook
}

/// ServiceAccount's rights: what rules read, what companions write, no more.
#[must_use]
pub fn rbac(registry: &[&'static Webhook], target: &Target) -> Vec<Value> {
    let mut verbs: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for declaration in registry.iter().map(|webhook| &webhook.declaration) {
        for read in declaration.reads {
            verbs
                .entry((read.resource.group, read.resource.plural))
                .or_default()
                .extend(READ_VERBS);
        }
        for written in declaration.writes {
            verbs
                .entry((written.group, written.plural))
                .or_default()
                .extend(WRITE_VERBS);
        }
    }
    let rules: Vec<Value> = verbs
        .into_iter()
        .map(|((group, plural), verbs)| json!({"apiGroups": [group], "resources": [plural], "verbs": verbs}))
        .collect();
    let labels = json!({"app.kubernetes.io/managed-by": MANAGER});
    vec![
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": MANAGER, "labels": labels},
            "rules": rules,
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": MANAGER, "labels": labels},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": MANAGER},
            "subjects": [{"kind": "ServiceAccount", "name": MANAGER, "namespace": target.namespace}],
        }),
    ]
}

/// `docs/names.md`.
#[must_use]
pub fn names(registry: &[&'static Webhook]) -> String {
    let target = Target::default();
    let mut text = String::from(
        "# Names are API\n\nGenerated by `make generate`; do not edit. Changing one of these breaks somebody.\n\n",
    );
    let mut table = |title: &str, head: [&str; 2], rows: Vec<[String; 2]>| {
        let _ = write!(
            text,
            "## {title}\n\n| {} | {} |\n| --- | --- |\n",
            head[0], head[1]
        );
        for [one, two] in rows {
            let _ = writeln!(text, "| {one} | {two} |");
        }
        text.push('\n');
    };
    let code = |name: &str| format!("`{name}`");
    table(
        "Rules",
        ["Id", "What it does"],
        registry
            .iter()
            .map(|webhook| {
                [
                    code(webhook.declaration.id),
                    webhook.declaration.summary.to_owned(),
                ]
            })
            .collect(),
    );
    let dispatcher = Dispatcher::new(registry, Modes::default());
    let mut paths: Vec<[String; 2]> = dispatcher
        .entries()
        .map(|entry| {
            let rules: Vec<String> = entry
                .declarations()
                .map(|declaration| code(declaration.id))
                .collect();
            [
                code(&entry.path),
                format!(
                    "{} (failure policy {})",
                    rules.join(", "),
                    entry.failure_policy.as_str()
                ),
            ]
        })
        .collect();
    for path in dispatcher.conversion_paths() {
        let what = if path.starts_with("/rename/") {
            "to the successor kind"
        } else {
            "between versions"
        };
        paths.push([code(path), format!("conversion {what}")]);
    }
    table("Paths", ["Path", "Served by"], paths);
    table(
        "Objects of an installation",
        ["Name", "What"],
        vec![
            [code(&target.namespace), "namespace".to_owned()],
            [code(MANAGER), "field manager, webhook configurations, roles, value of `app.kubernetes.io/managed-by`".to_owned()],
            [code(&target.admission_service), "Service of the admission port".to_owned()],
            [code(&target.conversion_service), "Service of the conversion port".to_owned()],
        ],
    );
    table(
        "Annotations",
        ["Key", "Meaning"],
        vec![
            [code(ALLOW_ANNOTATION), "rule ids, separated by commas: the writer insists where a rule protects him from a mistake".to_owned()],
            [
                code(webhooks::cozystack_resource_definition::conversion::STASH_ANNOTATION),
                "JSON with a version: what the form at hand cannot hold".to_owned(),
            ],
        ],
    );
    table(
        "Audit annotations",
        ["Key", "Value"],
        vec![
            [
                code("rule"),
                "ids of the rules that refused, or that the writer overruled".to_owned(),
            ],
            [code("decision"), "`denied` or `insisted`".to_owned()],
            [code("revision"), "version of this service".to_owned()],
        ],
    );
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Every generated file of the repository, by path from its root.
///
/// # Errors
/// When a CRD source is wrong, or a document cannot be written as YAML.
pub fn files(registry: &[&'static Webhook]) -> Result<BTreeMap<String, String>, String> {
    let target = Target::default();
    let crds = crds::installable(registry, &target).map_err(|error| error.to_string())?;
    let chart = "charts/cozystack-webhook/files";
    let head = "# Generated by `make generate`; do not edit.\n";
    let yaml = |documents: &[Value]| {
        crate::manifest::write(documents)
            .map(|text| format!("{head}{text}"))
            .map_err(|error| error.clone())
    };
    Ok(BTreeMap::from([
        (format!("{chart}/crds.yaml"), yaml(&crds)?),
        (
            format!("{chart}/webhooks.yaml"),
            yaml(&configurations(registry, &target))?,
        ),
        (
            format!("{chart}/rbac.yaml"),
            yaml(&rbac(registry, &target))?,
        ),
        ("docs/names.md".to_owned(), names(registry)),
    ]))
}
