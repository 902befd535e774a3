//! Every case folder, answered by the server over TLS; and the real definitions, where they are.

#![allow(
    missing_docs,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use cozystack_webhook::cases::{self, Wire};
use cozystack_webhook::cluster;
use cozystack_webhook::dispatch::Dispatcher;
use cozystack_webhook::manifest::{self, Manifest};
use cozystack_webhook::offline::{Judge, Question, Report};
use cozystack_webhook::review::Reply;
use cozystack_webhook::server::answer::Service;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::broken::{self, Subject};
use support::inprocess::Server;
use support::rules;
use webhooks::REGISTRY;
use webhooks::contract::{Operation, Settings};
use webhooks::migration::{Snapshot, configuration};
use webhooks::platform::Version;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Posts to a real server, one for each case.
#[derive(Default)]
struct Tls {
    server: RefCell<Option<(Arc<Service>, Server)>>,
}

impl Wire for Tls {
    fn post(&self, service: &Arc<Service>, path: &str, body: &[u8]) -> Reply {
        let mut server = self.server.borrow_mut();
        if !server
            .as_ref()
            .is_some_and(|(served, _)| Arc::ptr_eq(served, service))
        {
            *server = Some((Arc::clone(service), Server::of(Arc::clone(service))));
        }
        let (_, server) = server.as_ref().unwrap();
        let answer = server.for_path(path).post(path, body).unwrap();
        Reply {
            status: answer.status,
            retry: answer.header("retry-after").is_some(),
            body: answer.body,
        }
    }
}

#[test]
fn every_case_passes_over_tls() {
    let wire = Tls::default();
    let folders = cases::find(&root().join("testcases")).unwrap();
    assert!(folders.len() >= 40, "{} cases", folders.len());
    let mut failures = Vec::new();
    for folder in &folders {
        let differences = cases::run(folder, REGISTRY, &wire).unwrap();
        if !differences.is_empty() {
            failures.push(format!(
                "{}:\n  {}",
                folder.display(),
                differences.join("\n  ")
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!("{} cases", folders.len());
}

/// Every policy of the library is described, accepts something and refuses something, and does both over TLS.
#[test]
fn the_library_of_policies_does_what_it_says() {
    let wire = Tls::default();
    let library = root().join("docs/policies");
    let page = std::fs::read_to_string(root().join("docs/policies.md")).unwrap();
    let mut policies = 0;
    for entry in std::fs::read_dir(&library).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            assert!(path.with_added_extension("yaml").is_file(), "{path:?}");
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(text.starts_with("# "), "{name} does not say what it is for");
        assert!(page.contains(&format!("(policies/{name}.yaml)")), "{name}");
        let policy = manifest::read(std::slice::from_ref(&path))
            .unwrap()
            .remove(0);
        assert_eq!(policy.metadata("name"), name);
        let report = created(&judge(Vec::new()), &policy.value);
        assert!(report.allowed, "{}", report.message);
        let mut outcomes = BTreeSet::new();
        for case in cases::find(&library.join(name)).unwrap() {
            let differences = cases::run(&case, REGISTRY, &wire).unwrap();
            assert_eq!(differences, [""; 0], "{}", case.display());
            let case = case.file_name().unwrap().to_string_lossy().into_owned();
            outcomes.insert(case.starts_with("accepts_"));
        }
        assert_eq!(outcomes.len(), 2, "{name}: {outcomes:?}");
        policies += 1;
    }
    assert!(policies >= 10, "{policies} policies");
}

#[test]
fn every_rule_has_its_cases() {
    for webhook in REGISTRY {
        let declaration = &webhook.declaration;
        let folder = root()
            .join("testcases")
            .join(declaration.id.replace('-', "_"));
        let names: Vec<String> = cases::find(&folder)
            .unwrap()
            .iter()
            .map(|case| case.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        let has = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
        if webhook.validate.is_some() {
            assert!(
                has("accepts_") && has("rejects_"),
                "{}: {names:?}",
                declaration.id
            );
            assert!(
                has("accepts_unrelated_change_of_an_old_bad_object"),
                "{}",
                declaration.id
            );
        }
        if webhook.mutate.is_some() {
            assert!(has("adds_"), "{}: {names:?}", declaration.id);
        }
        if webhook.convert.is_some() {
            assert!(has("converts_"), "{}: {names:?}", declaration.id);
        }
        if webhook.companions.is_some() {
            assert!(has("brings_"), "{}: {names:?}", declaration.id);
        }
    }
}

/// `docs/rules.md` lists every refusal, and none that does not happen.
#[test]
fn every_refusal_is_documented_and_met_by_a_case() {
    let mut unmet = Vec::new();
    for webhook in REGISTRY {
        let declaration = &webhook.declaration;
        let folder = root()
            .join("testcases")
            .join(declaration.id.replace('-', "_"));
        let mut causes = Vec::new();
        for case in cases::find(&folder).unwrap() {
            let expect = std::fs::read_to_string(case.join("expect.yaml")).unwrap();
            let expect = manifest::yaml::documents(&expect).unwrap().remove(0).value;
            let text =
                |value: &Value, member: &str| value[member].as_str().unwrap_or_default().to_owned();
            for cause in expect["causes"].as_array().into_iter().flatten() {
                causes.push((text(cause, "field"), text(cause, "message")));
            }
            if expect["causes"].is_null() && expect["allowed"] == false {
                causes.push((String::new(), text(&expect, "message")));
            }
        }
        for (field, message) in &causes {
            let mut refusals = declaration.refusals.iter().copied().flatten();
            assert!(
                refusals.any(|refusal| refusal.covers(field, message)),
                "{}: {field}: {message} is not documented",
                declaration.id
            );
        }
        // A list that a rule borrows from another is met by the cases of that one.
        for refusal in declaration.refusals.first().copied().unwrap_or_default() {
            if !causes
                .iter()
                .any(|(field, message)| refusal.covers(field, message))
            {
                unmet.push(format!("{}: {refusal:?}", declaration.id));
            }
        }
    }
    assert!(unmet.is_empty(), "no case shows:\n{}", unmet.join("\n"));
}

/// A runner that takes everything proves nothing: each kind of difference is one.
#[test]
fn a_wrong_expectation_is_a_difference() {
    let folder = tempfile::tempdir().unwrap();
    let differences = |request: &str, expect: &str| {
        std::fs::write(folder.path().join("request.yaml"), request).unwrap();
        std::fs::write(folder.path().join("expect.yaml"), expect).unwrap();
        let registry = [&rules::OBEDIENT, &rules::LABELS, &rules::MORE_LABELS];
        cases::run(folder.path(), &registry, &cases::Direct)
            .unwrap()
            .join("\n")
    };
    let widget = |what: &str| {
        format!(
            "object: {{apiVersion: test.io/v1, kind: Widget, metadata: {{name: w, namespace: ns}}, spec: {{do: {what}}}}}\n"
        )
    };
    let labels = "object: {apiVersion: test.io/v1, kind: Widget, metadata: {name: w, namespace: ns, labels: {test.io/one: 'yes', test.io/two: 'yes'}}, spec: {do: nothing}}\n\
                  patch: [{op: add, path: /metadata/labels, value: {test.io/one: 'yes', test.io/two: 'yes'}}]\n";
    let child = "companions: [{apiVersion: v1, kind: Service, metadata: {name: w, namespace: ns, \
                 labels: {app.kubernetes.io/managed-by: cozystack-webhook}, \
                 annotations: {webhook.cozystack.io/parent: more-labels/ns/w}}}]\n";
    assert_eq!(
        differences(&widget("nothing"), &format!("{labels}{child}")),
        ""
    );
    for (what, expect, wanted) in [
        ("nothing", labels.to_owned(), "companions: found"),
        ("nothing", child.to_owned(), "patch: found"),
        (
            "nothing",
            format!("{labels}{child}allowed: false\n"),
            "allowed: found true, expected false",
        ),
        (
            "nothing",
            format!("{}{child}", labels.replace("do: nothing", "do: x")),
            "object: found",
        ),
        (
            "policy",
            format!("{child}allowed: false\ncode: 422\n"),
            "code: found 403, expected 422",
        ),
        (
            "policy",
            format!("{child}allowed: false\nreason: Invalid\n"),
            "reason: found",
        ),
        (
            "policy",
            format!("{child}allowed: false\nmessage: x\n"),
            "message: found",
        ),
        (
            "policy",
            format!("{child}allowed: false\n"),
            "unexpected cause",
        ),
        (
            "policy",
            format!("{child}allowed: false\ncauses: [{{reason: x, message: z}}]\n"),
            "missing cause",
        ),
        ("talk", child.to_owned(), "warnings: found"),
        ("fault", child.to_owned(), "HTTP 500"),
    ] {
        let found = differences(&widget(what), &expect);
        assert!(found.contains(wanted), "{what} {expect}: {found}");
    }
    let expect = "patch: [{op: add, path: /metadata/labels, value: {test.io/three: 'yes'}}]\n";
    std::fs::write(folder.path().join("request.yaml"), widget("nothing")).unwrap();
    std::fs::write(folder.path().join("expect.yaml"), expect).unwrap();
    let found = cases::run(folder.path(), &[&rules::STRAY_LABELS], &cases::Direct).unwrap();
    assert_eq!(
        found,
        [
            "/mutate/test.io/widgets: changes /metadata/labels/test.io~1three, which no rule declares"
        ]
    );
}

/// The real definitions convert to exactly what the next release ships, but for what the charts changed themselves.
#[test]
fn real_definitions_convert_to_their_counterparts() {
    let data = root().join("../shared/data");
    let (legacy, new) = (
        data.join("cozyrds-v0.39.5"),
        data.join("applicationdefinitions-v1.0.0-alpha.1"),
    );
    if !legacy.is_dir() || !new.is_dir() {
        println!("the real definitions are not here: their comparison did not run");
        return;
    }
    let conversion = webhooks::cozystack_resource_definition::WEBHOOK
        .convert
        .unwrap();
    let counterparts = manifest::read(&[new]).unwrap();
    let mut compared = 0;
    for manifest in manifest::read(&[legacy]).unwrap() {
        let raw = serde_json::value::to_raw_value(&manifest.value).unwrap();
        let mut found: Value = serde_json::to_value(conversion.rename(&raw).unwrap()).unwrap();
        let name = manifest.metadata("name");
        let mut wanted = counterparts
            .iter()
            .find(|other| other.metadata("name") == name)
            .unwrap()
            .value
            .clone();
        let evolved: &[&[&str]] = match name {
            "kubernetes" => &[&["application", "openAPISchema"]],
            "postgres" => &[
                &["application", "openAPISchema"],
                &["dashboard", "keysOrder"],
            ],
            _ => &[],
        };
        for path in evolved {
            for object in [&mut found, &mut wanted] {
                object["spec"][path[0]]
                    .as_object_mut()
                    .unwrap()
                    .remove(path[1])
                    .unwrap();
            }
        }
        assert_eq!(found, wanted, "{name}");
        // And back again, to the byte of the value.
        let there =
            serde_json::to_string(&conversion.convert(&raw, "cozystack.io/v1alpha2").unwrap())
                .unwrap();
        let there: &serde_json::value::RawValue = serde_json::from_str(&there).unwrap();
        let back: Value =
            serde_json::to_value(conversion.convert(there, "cozystack.io/v1alpha1").unwrap())
                .unwrap();
        assert_eq!(back, manifest.value, "{name}");
        compared += 1;
    }
    assert_eq!(compared, 12);
}

/// What a definition's own defaults say, and nothing at all, is right by its schema: of the real ones, where they
/// are, and of some like them.
#[test]
fn defaults_of_definitions_fit_their_schemas() {
    let own = |kind: &str, schema: &str| {
        serde_json::json!({
            "apiVersion": "cozystack.io/v1alpha1", "kind": "ApplicationDefinition", "metadata": {"name": kind.to_lowercase()},
            "spec": {"application": {"kind": kind, "openAPISchema": schema}},
        })
    };
    let mut definitions = vec![
        own("Blank", ""),
        own(
            "Plain",
            r#"{"type":"object","properties":{"replicas":{"type":"integer","default":2}}}"#,
        ),
        own(
            "Nested",
            r#"{"type":"object","required":["replicas","backup"],"properties":{
                "replicas":{"type":"integer","format":"int32","minimum":0,"exclusiveMinimum":true,"default":1},
                "backup":{"type":"object","default":{},"required":["enabled","cpu"],"properties":{
                    "enabled":{"type":"boolean","default":false},
                    "until":{"type":"string","format":"date-time","nullable":true,"default":null},
                    "cpu":{"anyOf":[{"type":"integer"},{"type":"string"}],"x-kubernetes-int-or-string":true,"default":"1m"}}}}}"#,
        ),
    ];
    let real = root().join("../shared/data/applicationdefinitions-v1.0.0-alpha.1");
    if real.is_dir() {
        definitions.extend(
            manifest::read(&[real])
                .unwrap()
                .into_iter()
                .map(|manifest| manifest.value),
        );
    } else {
        println!("the real definitions are not here: they were not asked");
    }
    let settings = webhooks::contract::Settings::default()
        .with_mode("application-values", webhooks::contract::Mode::Enforce);
    for definition in definitions {
        let application = &definition["spec"]["application"];
        let kind = application["kind"].as_str().unwrap().to_owned();
        let source = application["openAPISchema"].as_str().unwrap().to_owned();
        let schema: Value = serde_json::from_str(&source).unwrap_or_default();
        let text = serde_json::to_string(&definition).unwrap();
        let around = tempfile::tempdir().unwrap();
        std::fs::write(around.path().join("definition.yaml"), text).unwrap();
        let around = manifest::read(&[around.path().to_owned()]).unwrap();
        let judge = Judge::new(
            REGISTRY,
            Dispatcher::new(REGISTRY, settings.clone()),
            cozystack_webhook::cluster::files::of(REGISTRY, around),
        )
        .unwrap();
        let judged = |values: &Value| {
            let report = judge
                .judge(&Question {
                    source: String::new(),
                    api_version: "helm.toolkit.fluxcd.io/v2".to_owned(),
                    kind: "HelmRelease".to_owned(),
                    namespace: "tenant-a".to_owned(),
                    name: "a".to_owned(),
                    operation: webhooks::contract::Operation::Create,
                    object: Some(serde_json::json!({
                        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
                        "metadata": {"name": "a", "namespace": "tenant-a", "labels": {"apps.cozystack.io/application.kind": kind}},
                        "spec": {"values": values},
                    })),
                    old_object: None,
                    dry_run: false,
                    user_info: None,
                })
                .unwrap()
                .unwrap();
            assert!(report.rules.contains(&"application-values".to_owned()));
            let violations: Vec<String> = report
                .violations
                .iter()
                .map(|violation| format!("{}: {}", violation.field, violation.message))
                .collect();
            (violations, report.warnings)
        };
        let nothing = (Vec::new(), Vec::new());
        let mut values = serde_json::json!({});
        assert_eq!(judged(&values), nothing, "{kind}: no values");
        fill_in(&schema, &mut values);
        assert_eq!(judged(&values), nothing, "{kind}: {values}");
        // And it was asked at all.
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if property["type"] == "integer" {
                let wrong = serde_json::json!({name: "many"});
                assert_eq!(judged(&wrong).0.len(), 1, "{kind} {name}");
            }
        }
    }
}

/// The defaults of a schema, as the platform's API fills them in when values are read.
fn fill_in(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                if let (Some(default), None) = (property.get("default"), members.get(name)) {
                    members.insert(name.clone(), default.clone());
                }
            }
            for (name, member) in members.iter_mut() {
                let property = &schema["properties"][name];
                let property = if property.is_null() {
                    &schema["additionalProperties"]
                } else {
                    property
                };
                fill_in(property, member);
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| fill_in(&schema["items"], item)),
        _ => {}
    }
}

fn judge(around: Vec<Manifest>) -> Judge {
    let dispatcher = Dispatcher::new(REGISTRY, Settings::default());
    Judge::new(REGISTRY, dispatcher, cluster::files::of(REGISTRY, around)).unwrap()
}

fn documents(text: &str) -> Vec<Manifest> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("objects.yaml");
    std::fs::write(&file, text).unwrap();
    manifest::read(&[file]).unwrap()
}

fn created(judge: &Judge, object: &Value) -> Report {
    let manifest = documents(&object.to_string()).remove(0);
    let question = Question::of(&manifest, Operation::Create, None);
    judge.judge(&question).unwrap().unwrap()
}

fn package(name: &str, variant: &str) -> Value {
    json!({
        "apiVersion": "cozystack.io/v1alpha1", "kind": "Package",
        "metadata": {"name": name}, "spec": {"variant": variant},
    })
}

/// The 75 sources that a release ships, and a Package of every variant of each: nothing is wrong, nothing is warned of.
#[test]
fn real_package_sources_and_their_packages_are_accepted() {
    let data = root().join("../shared/data/packagesources-v1.0.0-alpha.1");
    if !data.is_dir() {
        println!("the real package sources are not here: their review did not run");
        return;
    }
    let sources = manifest::read(&[data]).unwrap();
    assert_eq!(sources.len(), 75);
    let variants = |source: &Manifest| -> Vec<String> {
        let variants = source.value["spec"]["variants"].as_array().unwrap();
        let name = |variant: &Value| variant["name"].as_str().unwrap().to_owned();
        variants.iter().map(name).collect()
    };
    let mut around = sources.clone();
    for source in &sources {
        let variant = variants(source).remove(0);
        around.extend(documents(
            &package(source.metadata("name"), &variant).to_string(),
        ));
    }
    let judge = judge(around);
    let fine = |report: &Report| {
        assert!(report.allowed, "{}: {}", report.name, report.message);
        assert!(report.violations.is_empty(), "{report:?}");
        assert_eq!(report.warnings, [""; 0], "{}", report.name);
    };
    let mut packages = 0;
    for source in &sources {
        for operation in [Operation::Create, Operation::Update] {
            let question = Question::of(source, operation, None);
            fine(&judge.judge(&question).unwrap().unwrap());
        }
        for variant in variants(source) {
            fine(&created(
                &judge,
                &package(source.metadata("name"), &variant),
            ));
            packages += 1;
        }
    }
    assert_eq!(packages, 81);
}

/// What the migration knows of packages by itself is what it would read of the real sources.
#[test]
fn the_migration_knows_the_real_package_sources() {
    let data = root().join("../shared/data/packagesources-v1.0.0-alpha.1");
    if !data.is_dir() {
        println!(
            "the real package sources are not here: what the migration knows of them was not compared"
        );
        return;
    }
    let sources = manifest::read(&[data]).unwrap();
    assert_eq!(sources.len(), 75);
    let sources: Vec<Value> = sources.into_iter().map(|source| source.value).collect();
    let planned = |bundle: &str, key: &str, text: &str, sources: &[Value]| {
        let mut data = json!({
            "bundle-name": bundle, "root-host": "cloud.test", "api-server-endpoint": "https://api.cloud.test",
            "oidc-enabled": "true", "cluster-domain": "k.test",
        });
        data[key] = text.into();
        let mut snapshot = Snapshot::default();
        snapshot.put(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": {"name": "cozystack", "namespace": "cozy-system"},
        }));
        for source in sources {
            snapshot.put(source.clone());
        }
        let mut plan = configuration::plan(&snapshot, Version::V1_0Alpha1);
        for finding in &mut plan.findings {
            // Which component waits for which only the sources tell.
            if let Some(end) = finding.text.find("; mind that these components wait") {
                finding.text.truncate(end);
            }
        }
        plan
    };
    let mut compared = 0;
    for bundle in ["paas-full", "paas-hosted"] {
        for name in configuration::release_names() {
            let values = format!("values-{name}");
            for (key, text) in [
                ("bundle-disable", name),
                ("bundle-enable", name),
                (&values, "a: 1"),
            ] {
                let alone = planned(bundle, key, text, &[]);
                let with_sources = planned(bundle, key, text, &sources);
                assert_eq!(alone, with_sources, "{bundle} {key} {text}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 2 * 3 * 63);
}

/// Each of these is a good object but for one place, and refused for that place.
#[test]
fn broken_packages_and_sources_are_refused() {
    let gadget = json!({
        "apiVersion": "cozystack.io/v1alpha1", "kind": "PackageSource",
        "metadata": {"name": "cozystack.gadget"},
        "spec": {"variants": [{"name": "default", "dependsOn": ["cozystack.widget"]}]},
    });
    let widget = json!({
        "apiVersion": "cozystack.io/v1alpha1", "kind": "PackageSource",
        "metadata": {"name": "cozystack.widget"},
        "spec": {"variants": [{"name": "default", "dependsOn": ["cozystack.gizmo", "cozystack.clock"]}]},
    });
    let of = |objects: &[&Value]| {
        judge(
            objects
                .iter()
                .flat_map(|object| documents(&object.to_string()))
                .collect(),
        )
    };
    let (source, installed) = (broken::source(), broken::package());
    assert!(created(&of(&[]), &source).allowed);
    assert!(created(&of(&[&source]), &installed).allowed);
    assert!(created(&of(&[]), &broken::platform()).allowed);
    let refused = |judge: &Judge, object: &Value, field: &str| {
        let report = created(judge, object);
        let fields: Vec<&str> = report
            .violations
            .iter()
            .map(|found| found.field.as_str())
            .collect();
        assert!(!report.allowed, "{field}: {object}");
        assert!(fields.contains(&field), "{field}: {fields:?}");
        for found in &report.violations {
            assert!(found.rule.starts_with("package"), "{found:?}");
        }
    };
    let (empty, full) = (of(&[]), of(&[&source]));
    refused(
        &of(&[&gadget, &widget]),
        &source,
        "spec.variants[0].dependsOn[0]",
    );
    let rows = broken::rows();
    for (subject, pointer, value, field) in &rows {
        let judge = match subject {
            Subject::Package => &full,
            Subject::Source | Subject::Platform => &empty,
        };
        let object = broken::edited(&broken::right(*subject), pointer, value);
        refused(judge, &object, field);
    }
    assert!(rows.len() >= 60, "{}", rows.len());
}
