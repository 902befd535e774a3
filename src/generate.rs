//! What is generated from the registry: webhook configurations, RBAC, the names that are API.

use crate::certs::{AUTHORITY_SECRET, LEAF_SECRET};
use crate::charts::own;
use crate::crds::install::LEGACY_RELEASE;
use crate::crds::{self, MANAGER, Target};
use crate::dispatch::{Dispatcher, Entry, Role, entries};
use crate::events::Reason;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use webhooks::contract::companions::PARENT_ANNOTATION;
use webhooks::contract::{
    ALLOW_ANNOTATION, Declaration, MatchCondition, Operation, Resource, Scope, Settings, Webhook,
};
use webhooks::cozystack_resource_definition::bridge::{DISABLED_ANNOTATION, SOURCE_UID_ANNOTATION};
use webhooks::kinds::PACKAGE_POLICIES;
use webhooks::virtual_machine_service::FQDN_ANNOTATION;

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
                "metadata": {"name": MANAGER, "labels": labels()},
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
    let own = format!(
        "has(request.namespace) && request.namespace == '{}'",
        target.namespace
    );
    let scope = match entry.scope {
        Scope::OutsideOurNamespace => {
            json!({"name": "outside-our-namespace", "expression": format!("!({own})")})
        }
        Scope::OurNamespace => json!({"name": "our-namespace", "expression": own}),
    };
    let conditions: Vec<Value> =
        std::iter::once(scope)
            .chain(names(entry))
            .chain(shared_conditions(entry).map(
                |condition| json!({"name": condition.name, "expression": condition.expression}),
            ))
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
        "matchConditions": conditions,
    });
    // A selector, too, so that the API server need not evaluate the condition for every ConfigMap of the cluster.
    if let (Some(members), Scope::OurNamespace) = (webhook.as_object_mut(), entry.scope) {
        members.insert(
            "namespaceSelector".to_owned(),
            json!({"matchLabels": {"kubernetes.io/metadata.name": target.namespace}}),
        );
    }
    webhook
}

/// Restricts the entry to the names that its rules want to see, when all are that modest.
fn names(entry: &Entry) -> Option<Value> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for declaration in entry.declarations() {
        if declaration.names.is_empty() {
            return None;
        }
        names.extend(declaration.names);
    }
    let list: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    Some(json!({
        "name": "by-name",
        "expression": format!("has(request.name) && request.name in [{}]", list.join(", ")),
    }))
}

/// The conditions that every rule of the entry declares: one that wants to see more decides for all.
fn shared_conditions(entry: &Entry) -> impl Iterator<Item = &'static MatchCondition> + '_ {
    let first = entry.declarations().next();
    let first = first.map_or(&[][..], |declaration| declaration.match_conditions);
    first.iter().filter(|condition| {
        entry.declarations().all(|declaration| {
            let mut conditions = declaration.match_conditions.iter();
            conditions.any(|other| other.expression == condition.expression)
        })
    })
}

/// What the rules change besides, by kind, as JSON Pointers: completed in the same way whenever the writer tries, so that
/// whoever compares finds no difference and leaves nothing out.
#[must_use]
pub fn completed(registry: &[&'static Webhook]) -> Vec<(&'static Resource, Vec<&'static str>)> {
    let entries = entries(registry);
    let mutators = entries.iter().filter(|entry| entry.role == Role::Mutate);
    mutators
        .map(|entry| {
            let ignored = entry.ignored();
            let mut pointers = entry.pointers();
            pointers.retain(|pointer| !ignored.contains(pointer));
            (entry.resource, pointers)
        })
        .filter(|(_, pointers)| !pointers.is_empty())
        .collect()
}

/// What this service may change of objects that Flux may have brought, as the part of a HelmRelease that keeps its drift
/// detection from undoing that.
///
/// # Errors
/// When a CRD source is wrong.
pub fn flux_ignore(registry: &[&'static Webhook], target: &Target) -> Result<Value, crds::Error> {
    let mut rules: Vec<Value> = entries(registry)
        .iter()
        .filter(|entry| entry.role == Role::Mutate && !entry.ignored().is_empty())
        .map(|entry| {
            json!({
                "paths": entry.ignored(),
                "target": {"group": entry.resource.group, "kind": entry.resource.kind},
            })
        })
        .collect();
    let named = |group: &str, kind: &Value, name: &str, paths: &[String]| json!({"paths": paths, "target": {"group": group, "kind": kind, "name": name}});
    // The certificate's Job writes the authority, and during a change of it the next one too.
    for configuration in configurations(registry, target) {
        let webhooks = configuration.get("webhooks").and_then(Value::as_array);
        let paths: Vec<String> = (0..webhooks.map_or(0, Vec::len))
            .map(|index| format!("/webhooks/{index}/clientConfig/caBundle"))
            .collect();
        let kind = configuration.get("kind").unwrap_or(&Value::Null);
        rules.push(named("admissionregistration.k8s.io", kind, MANAGER, &paths));
    }
    // `crds install` widens what others have brought.
    for crd in crds::installable(registry, target)? {
        let mut paths: Vec<String> = [
            "/metadata/annotations/helm.sh~1resource-policy",
            "/metadata/labels/app.kubernetes.io~1managed-by",
            "/spec/versions",
        ]
        .map(ToOwned::to_owned)
        .to_vec();
        if crd.pointer("/spec/conversion").is_some() {
            paths.insert(
                0,
                "/metadata/annotations/cert-manager.io~1inject-ca-from".to_owned(),
            );
            paths.push("/spec/conversion".to_owned());
        }
        let kind = crd.get("kind").unwrap_or(&Value::Null);
        rules.push(named(
            "apiextensions.k8s.io",
            kind,
            crds::name(&crd),
            &paths,
        ));
    }
    let (namespace, name) = LEGACY_RELEASE;
    rules.push(json!({
        "paths": ["/spec/suspend"],
        "target": {"group": "helm.toolkit.fluxcd.io", "kind": "HelmRelease", "name": name, "namespace": namespace},
    }));
    Ok(json!({"spec": {"driftDetection": {"ignore": rules}}}))
}

/// By these the objects of an installation are found.
fn labels() -> Value {
    json!({"app.kubernetes.io/name": MANAGER, "app.kubernetes.io/managed-by": MANAGER})
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
                .entry((written.resource.group, written.resource.plural))
                .or_default()
                .extend(READ_VERBS.into_iter().chain(WRITE_VERBS));
        }
    }
    let policies = &PACKAGE_POLICIES.resource;
    if verbs.contains_key(&(policies.group, policies.plural)) {
        verbs
            .entry((policies.group, "packagepolicies/status"))
            .or_default()
            .insert("update");
    }
    verbs
        .entry(("events.k8s.io", "events"))
        .or_default()
        .insert("create");
    let rules: Vec<Value> = verbs
        .into_iter()
        .map(|((group, plural), verbs)| json!({"apiGroups": [group], "resources": [plural], "verbs": verbs}))
        .collect();
    let labels = labels();
    let mut objects = vec![
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
        // Its own settings, operators' schemas and the Lease. Lists and creation cannot be limited to names.
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": MANAGER, "namespace": target.namespace, "labels": labels},
            "rules": [
                {"apiGroups": [""], "resources": ["configmaps"], "verbs": READ_VERBS},
                {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
                {
                    "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                    "resourceNames": [MANAGER], "verbs": ["get", "update"],
                },
            ],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": MANAGER, "namespace": target.namespace, "labels": labels},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": MANAGER},
            "subjects": [{"kind": "ServiceAccount", "name": MANAGER, "namespace": target.namespace}],
        }),
    ];
    // Operators' schemas stand there, too, and nowhere else.
    for namespace in own::namespaces(&target.namespace) {
        if namespace == target.namespace {
            continue;
        }
        objects.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": MANAGER, "namespace": namespace, "labels": labels},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": READ_VERBS}],
        }));
        objects.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": MANAGER, "namespace": namespace, "labels": labels},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": MANAGER},
            "subjects": [{"kind": "ServiceAccount", "name": MANAGER, "namespace": target.namespace}],
        }));
    }
    objects
}

/// The rows of the paths.
fn paths(registry: &[&'static Webhook]) -> Vec<[String; 2]> {
    let code = |name: &str| format!("`{name}`");
    let dispatcher = Dispatcher::new(registry, Settings::default());
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
    paths
}

fn objects_of_an_installation(target: &Target) -> Vec<[String; 2]> {
    let code = |name: &str| format!("`{name}`");
    vec![
            [code(&target.namespace), "namespace".to_owned()],
            [code(MANAGER), "field manager, webhook configurations, roles, Lease, settings ConfigMap, value of `app.kubernetes.io/managed-by`".to_owned()],
            [code(&target.admission_service), "Service of the admission port".to_owned()],
            [code(&target.conversion_service), "Service of the conversion port".to_owned()],
            [code(LEAF_SECRET), "Secret of the serving certificate: `tls.crt`, `tls.key`, `ca.crt`".to_owned()],
            [code(AUTHORITY_SECRET), "Secret of the authority that signs it".to_owned()],
    ]
}

/// The rows of the annotations.
fn annotations() -> Vec<[String; 2]> {
    let code = |name: &str| format!("`{name}`");
    vec![
            [code(ALLOW_ANNOTATION), "rule ids, separated by commas: the writer insists where a rule protects him from a mistake".to_owned()],
            [
                code(webhooks::cozystack_resource_definition::conversion::STASH_ANNOTATION),
                "JSON with a version: what the form at hand cannot hold".to_owned(),
            ],
            [
                code(PARENT_ANNOTATION),
                "`<rule>/<namespace>/<name>` of the object that brought this one with it".to_owned(),
            ],
            [
                code(webhooks::tenant_egress::ADDED_ANNOTATION),
                "on a tenant's egress policy: what was added to it, as `<tenant>/<pods>`, separated by commas".to_owned(),
            ],
            [
                code(SOURCE_UID_ANNOTATION),
                "uid of the legacy definition behind a bridged ApplicationDefinition".to_owned(),
            ],
            [
                code(DISABLED_ANNOTATION),
                "on a legacy definition, `\"true\"`: it is not bridged (any more)".to_owned(),
            ],
            [
                code(FQDN_ANNOTATION),
                "on a virtual machine: name inside the cluster of the Service that selects it, or will".to_owned(),
            ],
        ]
}

/// `docs/names.md`.
#[must_use]
pub fn names_page(registry: &[&'static Webhook]) -> String {
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
    table("Paths", ["Path", "Served by"], paths(registry));
    table(
        "Objects of an installation",
        ["Name", "What"],
        objects_of_an_installation(&target),
    );
    table("Annotations", ["Key", "Meaning"], annotations());
    table(
        "Labels",
        ["Key", "Meaning"],
        vec![[
            code(own::LABEL),
            format!(
                "name of a Package, on ConfigMaps in `{}`: key `<component>.json` is a schema for the values of that component",
                own::namespaces(&target.namespace).join("` and `")
            ),
        ]],
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
            [
                code("validation_failure"),
                "list of JSON: what PackagePolicies with the action `Audit` have against the Package".to_owned(),
            ],
            [
                code("<policy>_<key>"),
                "what `spec.auditAnnotations` of a PackagePolicy gives".to_owned(),
            ],
            [code("revision"), "version of this service".to_owned()],
        ],
    );
    table(
        "Reasons of Events",
        ["Reason", "Meaning"],
        Reason::ALL
            .map(|reason| [code(reason.as_str()), reason.meaning().to_owned()])
            .to_vec(),
    );
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// `docs/settings.md`.
#[must_use]
pub fn settings(registry: &[&'static Webhook]) -> String {
    let mut text = format!(
        "# Settings\n\n\
         Generated by `make generate`; do not edit.\n\n\
         One ConfigMap, `{MANAGER}` in the namespace of the installation. Every key is optional and every value a \
         string (quote `\"off\"`, `\"true\"` and `\"false\"`); other values are in force within 2 s, without a restart. A document that cannot be understood is \
         refused; one that gets in all the same leaves the last good settings in force, with an Event and the metric \
         `cozystack_webhook_settings_invalid`. Offline commands take the same document (`review --settings`).\n\n\
         ```yaml\n\
         apiVersion: v1\n\
         kind: ConfigMap\n\
         metadata: {{name: {MANAGER}, namespace: {}}}\n\
         data:\n  \
           application-definition.mode: warn\n\
         ```\n\n\
         Modes: `enforce` refuses, `warn` turns refusals into warnings, `off` asks the rule nothing and leaves what it \
         made as it is.\n\n\
         | Key | Value | Default | What it does |\n| --- | --- | --- | --- |\n\
         | `mode` | off, warn or enforce | none | One mode for all rules, whatever they say below. |\n",
        Target::default().namespace
    );
    for declaration in registry.iter().map(|webhook| &webhook.declaration) {
        let _ = writeln!(
            text,
            "| `{}.mode` | off, warn or enforce | {} | {} |",
            declaration.id,
            declaration.default_mode.as_str(),
            declaration.summary
        );
        for setting in declaration.settings {
            let _ = writeln!(
                text,
                "| `{}.{}` | {} | {} | {} |",
                declaration.id,
                setting.name,
                setting.kind.expected(),
                setting.kind.default_text(),
                setting.summary
            );
        }
    }
    text
}

/// `docs/rules.md`.
#[must_use]
pub fn rules(registry: &[&'static Webhook]) -> String {
    let mut text = String::from(
        "# Rules\n\nGenerated by `make generate`; do not edit. Every refusal and what to do about it. A refusal \
         that ends in `(to insist, annotate with ...)` can be overruled that way.\n",
    );
    for webhook in registry {
        let declaration = &webhook.declaration;
        let _ = write!(
            text,
            "\n## `{}`\n\n{}\n\n",
            declaration.id, declaration.summary
        );
        let _ = writeln!(text, "- Looks at {}.", looks_at(declaration));
        let _ = writeln!(
            text,
            "- Failure policy {}, time limit {} s, default mode {}.",
            declaration.failure_policy.as_str(),
            declaration.timeout_seconds,
            declaration.default_mode.as_str()
        );
        let writes: Vec<&str> = declaration
            .writes
            .iter()
            .map(|read| read.resource.kind)
            .collect();
        if !writes.is_empty() {
            let _ = writeln!(text, "- Brings {}.", writes.join(", "));
        }
        if declaration.refusals.is_empty() {
            text.push_str("- Refuses nothing.\n");
            continue;
        }
        text.push_str("\n| Field | Says | What to do |\n| --- | --- | --- |\n");
        for refusal in declaration.refusals.iter().copied().flatten() {
            let or = |text: &'static str, other: &'static str| {
                if text.is_empty() { other } else { text }
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                match refusal.field {
                    "" => "any".to_owned(),
                    field => format!("`{field}`"),
                },
                or(refusal.says, "anything"),
                refusal.fix
            );
        }
    }
    text
}

fn looks_at(declaration: &Declaration) -> String {
    let rules: Vec<String> = declaration
        .rules
        .iter()
        .map(|rule| {
            let operations: Vec<&str> = rule
                .operations
                .iter()
                .map(|operation| operation.as_str())
                .collect();
            format!(
                "{} ({}) on {}",
                rule.resource.kind,
                rule.versions.join(", "),
                operations.join(", ")
            )
        })
        .collect();
    rules.join("; ")
}

/// Every generated file of the repository, by path from its root.
///
/// # Errors
/// When a CRD source is wrong, or a document cannot be written as YAML.
pub fn files(registry: &[&'static Webhook]) -> Result<BTreeMap<String, String>, String> {
    let target = Target::default();
    let chart = "charts/cozystack-webhook/files";
    let head = "# Generated by `make generate`; do not edit.\n";
    let yaml = |documents: &[Value]| {
        crate::manifest::write(documents)
            .map(|text| format!("{head}{text}"))
            .map_err(|error| error.clone())
    };
    Ok(BTreeMap::from([
        (
            format!("{chart}/webhooks.yaml"),
            yaml(&configurations(registry, &target))?,
        ),
        (
            format!("{chart}/rbac.yaml"),
            yaml(&rbac(registry, &target))?,
        ),
        ("docs/names.md".to_owned(), names_page(registry)),
        ("docs/rules.md".to_owned(), rules(registry)),
        ("docs/settings.md".to_owned(), settings(registry)),
    ]))
}
