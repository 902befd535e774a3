use super::*;
use crate::cozystack_resource_definition::catalogue::{Repository, artifact_of, charts};
use crate::cozystack_resource_definition::conversion::{CONVERSION, STASH_ANNOTATION};
use proptest::prelude::*;

const KIND: &str = APPLICATION_KIND_LABEL;
const GROUP: &str = APPLICATION_GROUP_LABEL;
const NAME: &str = APPLICATION_NAME_LABEL;

fn chart(name: &str, repository: &str) -> Value {
    json!({"name": name, "sourceRef": {"kind": "HelmRepository", "name": repository, "namespace": "cozy-public"}})
}

/// A legacy definition. Its chart has the name of the definition.
fn legacy(name: &str, kind: &str, prefix: &str, repository: &str) -> Value {
    json!({
        "apiVersion": "cozystack.io/v1alpha1", "kind": "CozystackResourceDefinition",
        "metadata": {"name": name},
        "spec": {
            "application": {"kind": kind, "singular": name, "plural": format!("{name}s"), "openAPISchema": "{}"},
            "release": {"prefix": prefix, "labels": {"cozystack.io/ui": "true"}, "chart": chart(name, repository)},
        },
    })
}

/// The same in its new form, as the API server would convert it.
fn new_form(legacy: &Value) -> Value {
    let raw = serde_json::value::to_raw_value(legacy).unwrap();
    let converted = CONVERSION.convert(&raw, "cozystack.io/v1alpha2").unwrap();
    serde_json::to_value(&converted).unwrap()
}

/// Its successor, as the bridge makes it: without the stash.
fn successor(legacy: &Value) -> Value {
    let mut new = new_form(legacy);
    new["apiVersion"] = "cozystack.io/v1alpha1".into();
    new["kind"] = "ApplicationDefinition".into();
    new["metadata"] = json!({"name": legacy["metadata"]["name"]});
    new
}

fn shipped() -> Vec<Value> {
    vec![
        legacy("postgres", "Postgres", "postgres-", "cozystack-apps"),
        legacy("redis", "Redis", "redis-", "cozystack-apps"),
        legacy("kubernetes", "Kubernetes", "kubernetes-", "cozystack-apps"),
        legacy("tenant", "Tenant", "tenant-", "cozystack-apps"),
        legacy("etcd", "Etcd", "", "cozystack-extra"),
        legacy("info", "Info", "", "cozystack-extra"),
    ]
}

fn cluster(objects: impl IntoIterator<Item = Value>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for object in objects {
        snapshot.put(object);
    }
    snapshot
}

fn release(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": name, "namespace": "tenant-a", "labels": {"cozystack.io/ui": "true"}},
        "spec": spec,
    })
}

/// As v0.39's API makes it.
fn of_chart(name: &str, chart: &str, repository: &str) -> Value {
    release(
        name,
        &json!({
            "interval": "5m",
            "chart": {"spec": {
                "chart": chart, "version": ">= 0.0.0-0", "reconcileStrategy": "Revision",
                "sourceRef": {"kind": "HelmRepository", "name": repository, "namespace": "cozy-public"},
            }},
            "values": {"replicas": 2},
        }),
    )
}

fn of_artifact(name: &str, artifact: &str) -> Value {
    release(
        name,
        &json!({"chartRef": {"kind": "ExternalArtifact", "name": artifact, "namespace": "cozy-system"}}),
    )
}

fn labelled(mut release: Value, labels: &[(&str, &str)]) -> Value {
    for (key, value) in labels {
        release["metadata"]["labels"][*key] = (*value).into();
    }
    release
}

fn is(release: Value, kind: &str, name: &str) -> Value {
    labelled(
        release,
        &[(KIND, kind), (GROUP, "apps.cozystack.io"), (NAME, name)],
    )
}

/// The plan for the shipped definitions, others and a release.
fn plan_for(others: &[Value], release: &Value) -> Plan {
    let objects = shipped().into_iter().chain(others.iter().cloned());
    plan(&cluster(objects.chain([release.clone()])), false)
}

/// Asserts that the release is labelled so, and nothing else happens.
#[track_caller]
fn assert_labelled(plan: &Plan, release: &Value, kind: &str, name: &str) {
    assert_eq!(plan.findings, []);
    assert_eq!(plan.changes.len(), 1);
    let change = &plan.changes[0];
    assert_eq!(change.step, Step::Releases);
    assert_eq!(change.before.as_ref(), Some(release));
    assert_eq!(change.after, is(release.clone(), kind, name));
    assert!(!change.why.is_empty() && !change.why.ends_with('.'));
}

/// Asserts one finding and no change. Gives its text.
#[track_caller]
fn assert_found(plan: &Plan, weight: Weight, release: &Value) -> String {
    assert_eq!(plan.changes, []);
    assert_eq!(plan.findings.len(), 1, "{:?}", plan.findings);
    assert_eq!(plan.findings[0].weight, weight);
    assert_eq!(plan.findings[0].about, Reference::to(release));
    assert!(!plan.findings[0].text.ends_with('.'));
    plan.findings[0].text.clone()
}

// Which kind it is.

#[test]
fn a_release_is_labelled_by_its_chart() {
    let release = of_chart("postgres-db", "postgres", "cozystack-apps");
    assert_labelled(&plan_for(&[], &release), &release, "Postgres", "db");
}

#[test]
fn definitions_in_every_form_say_the_same() {
    let release = of_chart("gizmo-one", "gizmo", "cozystack-apps");
    let old = legacy("gizmo", "Gizmo", "gizmo-", "cozystack-apps");
    let (new, next) = (new_form(&old), successor(&old));
    for forms in [
        vec![old.clone()],
        vec![new.clone()],
        vec![next.clone()],
        vec![old, next.clone()],
        vec![new, next],
    ] {
        assert_labelled(&plan_for(&forms, &release), &release, "Gizmo", "one");
    }
}

#[test]
fn the_new_form_remembers_a_repository_of_its_own() {
    let mut old = legacy("gizmo", "Gizmo", "gizmo-", "acme");
    old["spec"]["release"]["chart"]["name"] = "big-gizmo".into();
    let new = new_form(&old);
    assert!(new["metadata"]["annotations"][STASH_ANNOTATION].is_string());
    let release = of_chart("gizmo-one", "big-gizmo", "acme");
    assert_labelled(&plan_for(&[new], &release), &release, "Gizmo", "one");
}

#[test]
fn the_chart_of_a_successor_is_found_by_its_helm_chart() {
    let mut old = legacy("gizmo", "Gizmo", "gizmo-", "acme");
    old["spec"]["release"]["chart"]["name"] = "big-gizmo".into();
    let release = of_chart("gizmo-one", "big-gizmo", "acme");
    assert_found(
        &plan_for(&[successor(&old)], &release),
        Weight::Decision,
        &release,
    );
    let helm_chart = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart",
        "metadata": {"name": "cozystack-gizmo", "namespace": "cozy-public"},
        "spec": {"chart": "big-gizmo", "sourceRef": {"kind": "HelmRepository", "name": "acme"}},
    });
    let plan = plan_for(&[successor(&old), helm_chart], &release);
    assert_labelled(&plan, &release, "Gizmo", "one");
}

fn package_source(chart: &str, variant: &str, folder: &str) -> Value {
    json!({
        "apiVersion": "cozystack.io/v1alpha1", "kind": "PackageSource",
        "metadata": {"name": format!("cozystack.{chart}-application")},
        "spec": {"variants": [{"name": variant, "components": [
            {"name": format!("{chart}-rd"), "path": format!("system/{chart}-rd"), "install": {"namespace": "cozy-system"}},
            {"name": chart, "path": format!("{folder}/{chart}")},
        ]}]},
    })
}

#[test]
fn the_chart_of_a_successor_is_found_by_the_package_sources() {
    let mut next = successor(&legacy("gizmo", "Gizmo", "gizmo-", "cozystack-extra"));
    next["spec"]["release"]["chartRef"]["name"] =
        "cozystack-gizmo-application-special-gizmo".into();
    let release = of_chart("gizmo-one", "gizmo", "cozystack-extra");
    assert_found(
        &plan_for(std::slice::from_ref(&next), &release),
        Weight::Decision,
        &release,
    );
    // What is installed is no chart of tenants.
    let mut installed = package_source("gizmo", "special", "extra");
    installed["spec"]["variants"][0]["components"][1]["install"] =
        json!({"namespace": "cozy-gizmo"});
    assert_found(
        &plan_for(&[next.clone(), installed], &release),
        Weight::Decision,
        &release,
    );
    let source = package_source("gizmo", "special", "extra");
    assert_labelled(
        &plan_for(&[next, source], &release),
        &release,
        "Gizmo",
        "one",
    );
}

#[test]
fn what_a_definition_remembers_goes_before_package_sources() {
    let new = new_form(&legacy("gizmo", "Gizmo", "gizmo-", "cozystack-extra"));
    assert!(new["metadata"]["annotations"][STASH_ANNOTATION].is_string());
    let others = [new, package_source("gizmo", "default", "apps")];
    let release = of_chart("gizmo-one", "gizmo", "cozystack-extra");
    assert_labelled(&plan_for(&others, &release), &release, "Gizmo", "one");
}

#[test]
fn an_artifact_that_two_sources_claim_says_nothing() {
    let next = successor(&legacy("gizmo", "Gizmo", "gizmo-", "cozystack-extra"));
    let source = package_source("gizmo", "default", "extra");
    let mut other = package_source("gizmo", "application-default", "apps");
    other["metadata"]["name"] = "cozystack.gizmo".into();
    let release = of_chart("gizmo-one", "gizmo", "cozystack-extra");
    let plan = plan_for(&[next.clone(), source.clone()], &release);
    assert_labelled(&plan, &release, "Gizmo", "one");
    let plan = plan_for(&[next, source, other], &release);
    assert_found(&plan, Weight::Decision, &release);
}

#[test]
fn what_a_definition_leaves_out_is_what_its_crd_fills_in() {
    let mut old = legacy("gizmo", "Gizmo", "gizmo-", "acme");
    old["spec"]["release"]["chart"]["sourceRef"] = json!({"name": "acme"});
    let release = of_chart("gizmo-one", "gizmo", "acme");
    assert_labelled(&plan_for(&[old], &release), &release, "Gizmo", "one");
}

#[test]
fn repository_kind_name_and_namespace_must_be_the_definitions() {
    for (member, value) in [
        ("kind", "GitRepository"),
        ("name", "cozystack-extra"),
        ("namespace", "tenant-a"),
    ] {
        let mut release = of_chart("postgres-db", "postgres", "cozystack-apps");
        release["spec"]["chart"]["spec"]["sourceRef"][member] = value.into();
        let text = assert_found(&plan_for(&[], &release), Weight::Decision, &release);
        assert!(
            text.contains("no definition has chart postgres of"),
            "{text}"
        );
    }
}

#[test]
fn a_release_whose_chart_leaves_something_out_is_none_for_the_api() {
    for member in ["kind", "name", "namespace"] {
        let mut release = of_chart("postgres-db", "postgres", "cozystack-apps");
        let source = release["spec"]["chart"]["spec"]["sourceRef"].as_object_mut();
        source.unwrap().remove(member);
        let text = assert_found(&plan_for(&[], &release), Weight::Decision, &release);
        assert!(text.contains("spec.chart does not name"), "{text}");
    }
    let empty = release("postgres-db", &json!({"chart": {}}));
    assert_found(&plan_for(&[], &empty), Weight::Decision, &empty);
}

#[test]
fn a_chart_goes_before_a_prefix() {
    let release = of_chart("postgres-db", "redis", "cozystack-apps");
    let text = assert_found(&plan_for(&[], &release), Weight::Decision, &release);
    assert!(text.contains("no definition has chart redis of"), "{text}");
}

#[test]
fn a_chart_needs_its_prefix_and_something_behind_it() {
    for name in ["db", "postgres-", "mypostgres-db"] {
        let release = of_chart(name, "postgres", "cozystack-apps");
        let text = assert_found(&plan_for(&[], &release), Weight::Decision, &release);
        assert!(
            text.contains("no definition has chart postgres of"),
            "{text}"
        );
    }
}

#[test]
fn an_empty_prefix_with_a_chart_is_any_name() {
    for name in ["etcd", "other"] {
        let release = of_chart(name, "etcd", "cozystack-extra");
        assert_labelled(&plan_for(&[], &release), &release, "Etcd", name);
    }
}

#[test]
fn a_release_without_a_chart_is_known_by_the_longest_prefix() {
    let others = [
        legacy("big", "Big", "postgres-big-", "cozystack-apps"),
        legacy("short", "Short", "post", "cozystack-apps"),
    ];
    for (name, kind, application) in [
        ("postgres-db", "Postgres", "db"),
        ("postgres-big-db", "Big", "db"),
        ("postgres-big-", "Postgres", "big-"),
        ("poster", "Short", "er"),
    ] {
        let release = release(name, &json!({}));
        let plan = plan_for(&others, &release);
        if application.ends_with('-') {
            assert!(assert_found(&plan, Weight::Decision, &release).contains("no label can be"));
        } else {
            assert_labelled(&plan, &release, kind, application);
        }
    }
}

#[test]
fn an_empty_prefix_without_a_chart_is_the_singular_alone() {
    let module = release("etcd", &json!({}));
    assert_labelled(&plan_for(&[], &module), &module, "Etcd", "etcd");
    for name in ["etcd-two", "etc", "other"] {
        let release = release(name, &json!({"chart": null}));
        let text = assert_found(&plan_for(&[], &release), Weight::Decision, &release);
        assert!(
            text.contains("it has no chart, and no definition"),
            "{text}"
        );
    }
}

#[test]
fn a_chart_ref_confirms_the_prefix() {
    let release = of_artifact("redis-cache", &artifact_of("redis"));
    assert_labelled(&plan_for(&[], &release), &release, "Redis", "cache");
    let module = of_artifact("info", &artifact_of("info"));
    assert_labelled(&plan_for(&[], &module), &module, "Info", "info");
}

#[test]
fn an_add_on_that_has_a_cluster_s_prefix_is_not_a_cluster() {
    let release = of_artifact(
        "kubernetes-one-cilium",
        "cozystack-kubernetes-application-kubevirt-kubernetes-cilium",
    );
    let text = assert_found(&plan_for(&[], &release), Weight::Decision, &release);
    assert!(
        text.contains("made from ExternalArtifact cozy-system/cozystack-kubernetes-application-kubevirt-kubernetes-cilium"),
        "{text}"
    );
}

#[test]
fn a_chart_ref_tells_prefixes_apart() {
    let others = [legacy("big", "Big", "postgres-big-", "cozystack-apps")];
    let release = of_artifact("postgres-big-db", &artifact_of("postgres"));
    assert_labelled(&plan_for(&others, &release), &release, "Postgres", "big-db");
}

#[test]
fn a_chart_ref_that_disagrees_or_says_nothing_leaves_nothing_to_go_by() {
    let module = of_artifact("info", &artifact_of("etcd"));
    assert_found(&plan_for(&[], &module), Weight::Decision, &module);
    let release = release("redis-cache", &json!({"chartRef": {}}));
    assert_found(&plan_for(&[], &release), Weight::Decision, &release);
}

#[test]
fn a_chart_ref_without_a_namespace_is_the_release_s_own() {
    let mut release = of_artifact("redis-cache", &artifact_of("redis"));
    release["spec"]["chartRef"]
        .as_object_mut()
        .unwrap()
        .remove("namespace");
    assert_found(&plan_for(&[], &release), Weight::Decision, &release);
}

#[test]
fn a_chart_ref_to_what_the_package_source_makes_confirms_too() {
    let release = of_artifact(
        "postgres-db",
        "cozystack-postgres-application-special-postgres",
    );
    assert_found(&plan_for(&[], &release), Weight::Decision, &release);
    let plan = plan_for(&[package_source("postgres", "special", "apps")], &release);
    assert_labelled(&plan, &release, "Postgres", "db");
}

#[test]
fn two_definitions_of_one_chart_and_prefix_are_not_guessed_between() {
    let mut other = legacy("pg", "OtherPostgres", "postgres-", "cozystack-apps");
    other["spec"]["release"]["chart"]["name"] = "postgres".into();
    let release = of_chart("postgres-db", "postgres", "cozystack-apps");
    let plan = plan_for(&[other.clone()], &release);
    let text = assert_found(&plan, Weight::Decision, &release);
    assert!(
        text.contains("it may be OtherPostgres db or Postgres db"),
        "{text}"
    );

    other["spec"]["release"]["prefix"] = "postgres-d".into();
    let text = assert_found(&plan_for(&[other], &release), Weight::Decision, &release);
    assert!(text.contains("OtherPostgres b or Postgres db"), "{text}");
}

#[test]
fn two_definitions_of_one_prefix_are_not_guessed_between() {
    let other = legacy("pg", "OtherPostgres", "postgres-", "cozystack-apps");
    let by_prefix = release("postgres-db", &json!({}));
    assert_found(
        &plan_for(&[other], &by_prefix),
        Weight::Decision,
        &by_prefix,
    );

    let by_singular = legacy("info", "Inform", "inf", "cozystack-apps");
    let module = release("info", &json!({}));
    let mut others = vec![by_singular];
    others[0]["metadata"]["name"] = "inform".into();
    let text = assert_found(&plan_for(&others, &module), Weight::Decision, &module);
    assert!(text.contains("Info info or Inform o"), "{text}");
}

#[test]
fn unknown_releases_matter_when_the_dashboard_shows_them() {
    let shown = release("gizmo-one", &json!({}));
    assert_found(&plan_for(&[], &shown), Weight::Decision, &shown);
    for labels in [json!({}), json!({"cozystack.io/ui": "false"}), Value::Null] {
        let mut hidden = shown.clone();
        hidden["metadata"]["labels"] = labels;
        let text = assert_found(&plan_for(&[], &hidden), Weight::Note, &hidden);
        assert!(text.ends_with("it gets no labels"), "{text}");
    }
}

#[test]
fn what_somebody_labelled_by_hand_needs_no_decision_again() {
    let mut other = legacy("pg", "OtherPostgres", "postgres-", "cozystack-apps");
    other["spec"]["release"]["chart"]["name"] = "postgres".into();
    let others = [other];
    let ambiguous = of_chart("postgres-db", "postgres", "cozystack-apps");
    let unknown = of_chart("postgres-db", "mine", "acme");
    for release in [ambiguous, unknown] {
        let decided = is(release.clone(), "OtherPostgres", "db");
        let text = assert_found(&plan_for(&others, &decided), Weight::Note, &decided);
        assert!(
            text.ends_with("its labels say OtherPostgres db, and stay"),
            "{text}"
        );
        for (key, value) in [
            (KIND, "PostgreSQL"),
            (KIND, "Redis"),
            (NAME, "other"),
            (GROUP, "x"),
        ] {
            let wrong = labelled(decided.clone(), &[(key, value)]);
            assert_found(&plan_for(&others, &wrong), Weight::Decision, &wrong);
        }
        let half = labelled(release, &[(KIND, "Postgres")]);
        assert_found(&plan_for(&others, &half), Weight::Decision, &half);
    }
}

#[test]
fn a_definition_that_cannot_be_read_is_said_and_passed_over() {
    let mut broken = legacy("gizmo", "Gizmo", "gizmo-", "cozystack-apps");
    for (pointer, value, text) in [
        (
            "/spec/application/kind",
            json!(""),
            "spec.application.kind is not set",
        ),
        (
            "/spec/release/prefix",
            Value::Null,
            "spec.release.prefix is not set",
        ),
        ("/apiVersion", json!("cozystack.io/v9"), "v9"),
    ] {
        let was = broken.pointer(pointer).unwrap().clone();
        *broken.pointer_mut(pointer).unwrap() = value;
        let release = of_chart("redis-cache", "redis", "cozystack-apps");
        let plan = plan_for(std::slice::from_ref(&broken), &release);
        assert_eq!(plan.changes.len(), 1);
        assert_eq!(plan.findings.len(), 1);
        assert_eq!(plan.findings[0].weight, Weight::Note);
        assert_eq!(plan.findings[0].about.name, "gizmo");
        assert!(
            plan.findings[0].text.contains(text),
            "{}",
            plan.findings[0].text
        );
        *broken.pointer_mut(pointer).unwrap() = was;
    }
}

// Labels that are there already.

#[test]
fn right_labels_are_no_change() {
    let release = is(
        of_chart("postgres-db", "postgres", "cozystack-apps"),
        "Postgres",
        "db",
    );
    assert_eq!(plan_for(&[], &release), Plan::default());
}

#[test]
fn a_release_without_labels_gets_the_three() {
    let mut bare = of_chart("postgres-db", "postgres", "cozystack-apps");
    for labels in [None, Some(Value::Null)] {
        let metadata = bare["metadata"].as_object_mut().unwrap();
        metadata.remove("labels");
        if let Some(labels) = labels {
            metadata.insert("labels".to_owned(), labels);
        }
        let plan = plan_for(&[], &bare);
        assert_eq!(
            plan.changes[0].after["metadata"]["labels"],
            json!({KIND: "Postgres", GROUP: "apps.cozystack.io", NAME: "db"})
        );
    }
}

#[test]
fn one_missing_label_is_added_to_the_others() {
    let release = labelled(
        of_chart("postgres-db", "postgres", "cozystack-apps"),
        &[(KIND, "Postgres"), (NAME, "db"), ("mine", "yes")],
    );
    assert_labelled(&plan_for(&[], &release), &release, "Postgres", "db");
}

#[test]
fn what_upstream_s_job_wrote_is_repaired() {
    let release = is(
        of_chart("postgres-db", "postgres", "cozystack-apps"),
        "PostgreSQL",
        "db",
    );
    let plan = plan_for(&[], &release);
    assert_labelled(&plan, &release, "Postgres", "db");
    assert_eq!(
        plan.changes[0].why,
        "upstream's migration has labelled it as PostgreSQL: by its definition it is Postgres db"
    );
}

#[test]
fn its_word_about_another_kind_of_that_name_is_repaired_with_the_name() {
    let others = [legacy("big", "Big", "postgres-big-", "cozystack-apps")];
    let release = is(
        of_chart("postgres-big-db", "big", "cozystack-apps"),
        "PostgreSQL",
        "big-db",
    );
    assert_labelled(&plan_for(&others, &release), &release, "Big", "db");
}

#[test]
fn a_definition_that_says_so_may_be_postgre_sql() {
    let others = [legacy("pg", "PostgreSQL", "pg-", "cozystack-apps")];
    let right = is(
        of_chart("pg-db", "pg", "cozystack-apps"),
        "PostgreSQL",
        "db",
    );
    assert_eq!(plan_for(&others, &right), Plan::default());
}

#[test]
fn other_words_than_the_job_s_need_a_decision_and_stay() {
    let right = is(
        of_chart("postgres-db", "postgres", "cozystack-apps"),
        "Postgres",
        "db",
    );
    for (key, value) in [
        (KIND, "Redis"),
        (KIND, "postgres"),
        (KIND, ""),
        (GROUP, "other.io"),
        (NAME, "postgres-db"),
    ] {
        let release = labelled(right.clone(), &[(key, value)]);
        let plan = plan_for(&[], &release);
        let text = assert_found(&plan, Weight::Decision, &release);
        assert_eq!(plan.findings[0].field, format!("metadata.labels[{key}]"));
        assert!(
            text.starts_with(&format!("it is {value:?}, but by the definitions")),
            "{text}"
        );
    }
    let redis = is(
        of_chart("redis-cache", "redis", "cozystack-apps"),
        "PostgreSQL",
        "cache",
    );
    assert_found(&plan_for(&[], &redis), Weight::Decision, &redis);
}

#[test]
fn a_release_with_one_foreign_label_is_left_alone_whole() {
    let half = labelled(
        of_chart("postgres-db", "postgres", "cozystack-apps"),
        &[(KIND, "Redis")],
    );
    assert_found(&plan_for(&[], &half), Weight::Decision, &half);
    let job = labelled(
        of_chart("postgres-db", "postgres", "cozystack-apps"),
        &[(KIND, "PostgreSQL"), (NAME, "mine")],
    );
    assert_found(&plan_for(&[], &job), Weight::Decision, &job);
}

#[test]
fn the_first_tenant_is_called_root_unless_the_platform_says_otherwise() {
    let mut root = of_chart("tenant-root", "tenant", "cozystack-apps");
    root["metadata"]["namespace"] = "tenant-root".into();
    assert_labelled(&plan_for(&[], &root), &root, "Tenant", "root");
    let of_platform = is(root.clone(), "Tenant", "tenant-root");
    let text = assert_found(&plan_for(&[], &of_platform), Weight::Note, &of_platform);
    assert!(
        text.contains("calls the first tenant tenant-root"),
        "{text}"
    );

    let mut elsewhere = of_platform;
    elsewhere["metadata"]["namespace"] = "tenant-a".into();
    assert_found(&plan_for(&[], &elsewhere), Weight::Decision, &elsewhere);
}

#[test]
fn what_cannot_be_a_label_is_not_written() {
    let long = "x".repeat(64);
    let release = of_chart(&format!("redis-{long}"), "redis", "cozystack-apps");
    let text = assert_found(&plan_for(&[], &release), Weight::Decision, &release);
    assert!(text.contains("which no label can be"), "{text}");
    let fits = of_chart(&format!("redis-{}", &long[1..]), "redis", "cozystack-apps");
    assert_labelled(&plan_for(&[], &fits), &fits, "Redis", &long[1..]);

    let odd = [legacy("gizmo", "My Gizmo", "gizmo-", "cozystack-apps")];
    let release = of_chart("gizmo-one", "gizmo", "cozystack-apps");
    assert_found(&plan_for(&odd, &release), Weight::Decision, &release);

    let mut list = release;
    list["metadata"]["labels"] = json!(["a"]);
    let odd = [legacy("gizmo", "Gizmo", "gizmo-", "cozystack-apps")];
    let text = assert_found(&plan_for(&odd, &list), Weight::Decision, &list);
    assert!(text.contains("where labels should be"), "{text}");
}

#[test]
fn only_tenants_releases_are_labelled() {
    for namespace in ["cozy-system", "tenant", "tenant-", "default", "my-tenant-a"] {
        let mut release = of_chart("postgres-db", "postgres", "cozystack-apps");
        release["metadata"]["namespace"] = namespace.into();
        assert_eq!(plan_for(&[], &release), Plan::default(), "{namespace}");
    }
}

#[test]
fn releases_of_any_version_are_seen() {
    for version in ["v2beta1", "v2beta2", "v2", "v3"] {
        let mut release = of_chart("postgres-db", "postgres", "cozystack-apps");
        release["apiVersion"] = format!("helm.toolkit.fluxcd.io/{version}").into();
        assert_labelled(&plan_for(&[], &release), &release, "Postgres", "db");
    }
    let mut of_others = of_chart("postgres-db", "postgres", "cozystack-apps");
    of_others["apiVersion"] = "helm.example.org/v2".into();
    assert_eq!(plan_for(&[], &of_others), Plan::default());
}

// References in place of charts.

fn external_artifact(name: &str, status: &str) -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact",
        "metadata": {"name": name, "namespace": "cozy-system"},
        "status": {"conditions": [{"type": "Other", "status": "True"}, {"type": "Ready", "status": status}]},
    })
}

fn values_secret(namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cozystack-values", "namespace": namespace}})
}

fn labelled_postgres() -> Value {
    is(
        of_chart("postgres-db", "postgres", "cozystack-apps"),
        "Postgres",
        "db",
    )
}

fn with_references(others: &[Value], release: &Value) -> Plan {
    let objects = shipped().into_iter().chain(others.iter().cloned());
    plan(&cluster(objects.chain([release.clone()])), true)
}

fn ready() -> [Value; 2] {
    [
        external_artifact(&artifact_of("postgres"), "True"),
        values_secret("tenant-a"),
    ]
}

fn referred(mut release: Value, artifact: &str, values_from: Value) -> Value {
    release["spec"].as_object_mut().unwrap().remove("chart");
    release["spec"]["chartRef"] =
        json!({"kind": "ExternalArtifact", "name": artifact, "namespace": "cozy-system"});
    release["spec"]["valuesFrom"] = values_from;
    release
}

#[test]
fn a_chart_becomes_a_reference_when_all_is_there() {
    let release = labelled_postgres();
    let plan = with_references(&ready(), &release);
    assert_eq!(plan.findings, []);
    assert_eq!(plan.changes.len(), 1);
    assert_eq!(
        plan.changes[0].after,
        referred(
            release,
            "cozystack-postgres-application-default-postgres",
            json!([{"kind": "Secret", "name": "cozystack-values"}])
        )
    );
}

#[test]
fn labels_and_reference_are_one_change() {
    let release = of_chart("postgres-db", "postgres", "cozystack-apps");
    let plan = with_references(&ready(), &release);
    assert_eq!(plan.changes.len(), 1);
    assert_eq!(
        plan.changes[0].after,
        referred(
            labelled_postgres(),
            &artifact_of("postgres"),
            json!([{"kind": "Secret", "name": "cozystack-values"}])
        )
    );
}

#[test]
fn without_being_asked_for_charts_stay() {
    let release = labelled_postgres();
    assert_eq!(plan_for(&ready(), &release), Plan::default());
}

#[test]
fn what_a_reference_waits_for_is_said() {
    let release = labelled_postgres();
    let [artifact, secret] = ready();
    let not_ready = external_artifact(&artifact_of("postgres"), "False");
    let mut no_status = artifact.clone();
    no_status.as_object_mut().unwrap().remove("status");
    let mut elsewhere = artifact.clone();
    elsewhere["metadata"]["namespace"] = "tenant-a".into();
    let place = format!("ExternalArtifact cozy-system/{}", artifact_of("postgres"));
    let secret_exists = "Secret tenant-a/cozystack-values exists";
    for (others, missing) in [
        (vec![], format!("{place} exists and {secret_exists}")),
        (vec![secret.clone()], format!("{place} exists")),
        (vec![secret.clone(), elsewhere], format!("{place} exists")),
        (vec![secret.clone(), not_ready], format!("{place} is Ready")),
        (vec![secret, no_status], format!("{place} is Ready")),
        (vec![artifact.clone()], secret_exists.to_owned()),
        (
            vec![artifact, values_secret("tenant-b")],
            secret_exists.to_owned(),
        ),
    ] {
        let text = assert_found(
            &with_references(&others, &release),
            Weight::Pending,
            &release,
        );
        assert!(text.ends_with(&format!("once {missing}")), "{text}");
    }
}

#[test]
fn labels_do_not_wait_for_references() {
    let release = of_chart("postgres-db", "postgres", "cozystack-apps");
    let plan = with_references(&[], &release);
    assert_eq!(plan.changes.len(), 1);
    assert_eq!(plan.changes[0].after, labelled_postgres());
    assert_eq!(plan.findings.len(), 1);
    assert_eq!(plan.findings[0].weight, Weight::Pending);
}

#[test]
fn the_artifact_is_that_of_the_cluster_s_package_source() {
    let others = [
        package_source("postgres", "special", "apps"),
        external_artifact("cozystack-postgres-application-special-postgres", "True"),
        values_secret("tenant-a"),
    ];
    let plan = with_references(&others, &labelled_postgres());
    assert_eq!(
        plan.changes[0].after["spec"]["chartRef"]["name"],
        "cozystack-postgres-application-special-postgres"
    );
}

#[test]
fn other_sources_of_values_stay_and_win() {
    let mut release = labelled_postgres();
    let mine = json!({"kind": "ConfigMap", "name": "mine"});
    let part = json!({"kind": "Secret", "name": "cozystack-values", "targetPath": "x"});
    release["spec"]["valuesFrom"] = json!([mine, part]);
    let plan = with_references(&ready(), &release);
    assert_eq!(
        plan.changes[0].after["spec"]["valuesFrom"],
        json!([{"kind": "Secret", "name": "cozystack-values"}, mine, part])
    );
    assert_eq!(plan.findings.len(), 1);
    assert_eq!(plan.findings[0].weight, Weight::Decision);
    assert_eq!(plan.findings[0].field, "spec.valuesFrom");

    let there = json!([{"kind": "Secret", "name": "cozystack-values", "valuesKey": "values.yaml"}]);
    release["spec"]["valuesFrom"] = there.clone();
    let plan = with_references(&ready(), &release);
    assert_eq!(plan.findings, []);
    assert_eq!(plan.changes[0].after["spec"]["valuesFrom"], there);
}

#[test]
fn a_chart_that_a_reference_would_lose_something_of_stays() {
    for (pointer, value, text) in [
        (
            "/chart/spec/version",
            json!("1.2.3"),
            "it asks for version 1.2.3",
        ),
        (
            "/chart/spec/valuesFiles",
            json!(["a.yaml"]),
            "no place for valuesFiles",
        ),
        (
            "/chart/metadata",
            json!({"labels": {}}),
            "no place for metadata",
        ),
        (
            "/chartRef",
            json!({"kind": "OCIRepository", "name": "x"}),
            "both spec.chart and spec.chartRef",
        ),
        ("/valuesFrom", json!("text"), "spec.valuesFrom is no list"),
    ] {
        let mut release = labelled_postgres();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        release["spec"].pointer_mut(parent).unwrap()[member] = value;
        let found = assert_found(
            &with_references(&ready(), &release),
            Weight::Decision,
            &release,
        );
        assert!(found.contains(text), "{found}");
    }
    for version in [json!("*"), Value::Null] {
        let mut release = labelled_postgres();
        release["spec"]["chart"]["spec"]["version"] = version;
        assert_eq!(with_references(&ready(), &release).changes.len(), 1);
    }
}

#[test]
fn a_chart_that_no_package_replaces_stays() {
    let mut others = vec![legacy("gizmo", "Gizmo", "gizmo-", "acme")];
    others.extend(ready());
    let release = is(of_chart("gizmo-one", "gizmo", "acme"), "Gizmo", "one");
    let text = assert_found(&with_references(&others, &release), Weight::Note, &release);
    assert!(
        text.contains("no package replaces chart gizmo of HelmRepository cozy-public/acme"),
        "{text}"
    );
}

#[test]
fn what_is_not_labelled_is_not_referred_either() {
    let foreign = labelled(labelled_postgres(), &[(KIND, "Redis")]);
    assert_found(
        &with_references(&ready(), &foreign),
        Weight::Decision,
        &foreign,
    );
    let unknown = of_chart("db", "postgres", "cozystack-apps");
    assert_found(
        &with_references(&ready(), &unknown),
        Weight::Decision,
        &unknown,
    );
    let done = is(
        of_artifact("postgres-db", &artifact_of("postgres")),
        "Postgres",
        "db",
    );
    assert_eq!(with_references(&[], &done), Plan::default());
}

// Releases with another name.

fn of_platform(namespace: &str, name: &str, helm_release: &str) -> Value {
    json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"releaseName": helm_release, "interval": "5m"},
    })
}

#[test]
fn releases_that_have_another_name_now_are_suspended() {
    for (namespace, name, kept) in [
        ("cozy-system", "cozy-proxy", "cozystack"),
        ("cozy-telepresence", "telepresence", "traffic-manager"),
        ("cozy-hetzner-robotlb", "hetzner-robotlb", "robotlb"),
        ("cozy-other", "hetzner-robotlb", "robotlb"),
    ] {
        let release = of_platform(namespace, name, kept);
        let plan = plan_for(&[], &release);
        assert_eq!(plan.changes.len(), 1, "{name}");
        let change = &plan.changes[0];
        assert_eq!(change.step, Step::Renamed);
        assert_eq!(change.before.as_ref(), Some(&release));
        let mut after = release.clone();
        after["spec"]["suspend"] = true.into();
        assert_eq!(change.after, after);
        assert!(change.why.contains(kept), "{}", change.why);
        assert_eq!(plan.findings.len(), 1);
        assert_eq!(plan.findings[0].weight, Weight::Note);
        assert_eq!(plan.findings[0].about, Reference::to(&release));
    }
}

#[test]
fn a_suspended_one_is_only_told_of() {
    let mut release = of_platform("cozy-system", "cozy-proxy", "cozystack");
    release["spec"]["suspend"] = true.into();
    let text = assert_found(&plan_for(&[], &release), Weight::Note, &release);
    assert!(text.contains("is suspended already"), "{text}");
    release["spec"]["suspend"] = false.into();
    assert_eq!(plan_for(&[], &release).changes.len(), 1);
}

#[test]
fn others_of_the_platform_go_on() {
    for (namespace, name, kept) in [
        ("cozy-system", "cozystack", "cozystack"),
        ("cozy-system", "cozy-proxy", "cozy-proxy"),
        ("cozy-system", "cozy-proxy", "robotlb"),
        ("default", "cozy-proxy", "cozystack"),
        ("kube-system", "telepresence", "traffic-manager"),
    ] {
        let release = of_platform(namespace, name, kept);
        assert_eq!(
            plan_for(&[], &release),
            Plan::default(),
            "{namespace}/{name}"
        );
    }
}

#[test]
fn labels_come_before_suspensions() {
    let objects = shipped().into_iter().chain([
        of_platform("cozy-system", "cozy-proxy", "cozystack"),
        of_chart("postgres-db", "postgres", "cozystack-apps"),
    ]);
    let plan = plan(&cluster(objects), false);
    let steps: Vec<Step> = plan.changes.iter().map(|change| change.step).collect();
    assert_eq!(steps, [Step::Releases, Step::Renamed]);
}

// All of it.

/// The shipped catalogue and a few of a user's, 30 in all.
fn thirty() -> Vec<Value> {
    let shipped = charts().map(|(chart, repository)| {
        let prefix = match repository {
            Repository::Apps => format!("{chart}-"),
            Repository::Extra => String::new(),
        };
        let kind = match chart {
            "postgres" => "Postgres".to_owned(),
            other => format!("K{}", other.replace('-', "")),
        };
        legacy(chart, &kind, &prefix, repository.name())
    });
    let own = (0..5).map(|number| {
        let name = format!("own{number}");
        legacy(&name, &format!("Own{number}"), &format!("{name}-"), "acme")
    });
    shipped.chain(own).collect()
}

#[test]
fn five_thousand_releases_are_all_labelled() {
    let definitions = thirty();
    assert_eq!(definitions.len(), 30);
    let mut snapshot = cluster(definitions.iter().cloned());
    for number in 0..5_000 {
        let definition = &definitions[number % 30]["spec"];
        let prefix = definition["release"]["prefix"].as_str().unwrap();
        let chart = &definition["release"]["chart"];
        let mut release = of_chart(
            &format!("{prefix}a{number}"),
            chart["name"].as_str().unwrap(),
            chart["sourceRef"]["name"].as_str().unwrap(),
        );
        release["metadata"]["namespace"] = format!("tenant-{}", number % 50).into();
        snapshot.put(release);
    }
    let plan = plan(&snapshot, false);
    assert_eq!(plan.findings, []);
    assert_eq!(plan.changes.len(), 5_000);
    for change in &plan.changes {
        let labels = &change.after["metadata"]["labels"];
        let name = labels[NAME].as_str().unwrap();
        assert!(
            change.after["metadata"]["name"]
                .as_str()
                .unwrap()
                .ends_with(name)
        );
    }
}

#[test]
fn every_shipped_application_is_labelled() {
    for definition in thirty() {
        let chart = definition["spec"]["release"]["chart"]["name"]
            .as_str()
            .unwrap();
        let repository = definition["spec"]["release"]["chart"]["sourceRef"]["name"]
            .as_str()
            .unwrap();
        let prefix = definition["spec"]["release"]["prefix"].as_str().unwrap();
        let release = of_chart(&format!("{prefix}{chart}"), chart, repository);
        let plan = plan(&cluster(thirty().into_iter().chain([release])), false);
        let kind = definition["spec"]["application"]["kind"].as_str().unwrap();
        assert_eq!(plan.changes[0].after["metadata"]["labels"][KIND], kind);
        assert_eq!(plan.changes[0].after["metadata"]["labels"][NAME], chart);
    }
}

fn any_release() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        "(postgres|redis|kubernetes|tenant|gizmo|own)-[a-z]{1,4}",
        "etcd|info|other|own",
        Just("tenant-root".to_owned()),
    ];
    let made = prop_oneof![
        Just(None),
        (
            "postgres|redis|tenant|etcd|gizmo",
            "cozystack-(apps|extra)|acme"
        )
            .prop_map(Some),
    ];
    let artifact = prop_oneof![Just(None), "postgres|redis|etcd".prop_map(Some)];
    let kind = prop_oneof![Just(None), "PostgreSQL|Postgres|Redis|Etcd".prop_map(Some)];
    let application = prop_oneof![Just(None), "[a-z]{1,3}|root|tenant-root".prop_map(Some)];
    let namespace = "tenant-(a|b|root)|cozy-system";
    (
        name,
        made,
        artifact,
        kind,
        application,
        namespace,
        any::<[bool; 3]>(),
    )
        .prop_map(
            |(name, made, artifact, kind, application, namespace, flags)| {
                let mut release = match (made, artifact) {
                    (Some((chart, repository)), _) => of_chart(&name, &chart, &repository),
                    (None, Some(chart)) => of_artifact(&name, &artifact_of(&chart)),
                    (None, None) => release(&name, &json!({"values": {"a": [1, null]}})),
                };
                release["metadata"]["namespace"] = namespace.into();
                let labels = release["metadata"]["labels"].as_object_mut().unwrap();
                for (key, value) in [(KIND, kind), (NAME, application)] {
                    if let Some(value) = value {
                        labels.insert(key.to_owned(), value.into());
                    }
                }
                let [is_shown, has_group, has_values] = flags;
                if !is_shown {
                    labels.remove(UI_LABEL);
                }
                if has_group {
                    labels.insert(GROUP.to_owned(), "apps.cozystack.io".into());
                }
                if has_values {
                    release["spec"]["valuesFrom"] = json!([{"kind": "ConfigMap", "name": "mine"}]);
                }
                release
            },
        )
}

/// What a change of a release may not touch.
fn untouched(object: &Value, step: Step, chart_refs: bool) -> Value {
    let mut object = object.clone();
    if step == Step::Renamed {
        object["spec"].as_object_mut().unwrap().remove("suspend");
        return object;
    }
    let labels = object["metadata"]["labels"].as_object_mut().unwrap();
    for key in [KIND, GROUP, NAME] {
        labels.remove(key);
    }
    if chart_refs {
        let spec = object["spec"].as_object_mut().unwrap();
        for member in ["chart", "chartRef", "valuesFrom"] {
            spec.remove(member);
        }
    }
    object
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_second_plan_has_nothing_to_do_and_a_change_only_what_it_says(
        releases in proptest::collection::vec(any_release(), 0..12),
        forms in proptest::collection::vec(0..3_u8, 6),
        others in any::<[bool; 5]>(),
        chart_refs in any::<bool>(),
    ) {
        let mut snapshot = Snapshot::default();
        for (definition, form) in shipped().into_iter().zip(forms) {
            snapshot.put(match form {
                0 => definition,
                1 => new_form(&definition),
                _ => successor(&definition),
            });
        }
        let [has_gizmo, has_own, has_artifact, has_secret, has_proxy] = others;
        let optional = [
            (has_gizmo, legacy("gizmo", "Gizmo", "gizmo-", "acme")),
            (has_own, legacy("own", "Own", "own-", "cozystack-apps")),
            (has_artifact, external_artifact(&artifact_of("postgres"), "True")),
            (has_secret, values_secret("tenant-a")),
            (has_proxy, of_platform("cozy-system", "cozy-proxy", "cozystack")),
        ];
        for (is_there, object) in optional {
            if is_there {
                snapshot.put(object);
            }
        }
        for release in releases {
            snapshot.put(release);
        }
        let first = plan(&snapshot, chart_refs);
        let mut seen = std::collections::BTreeSet::new();
        for change in &first.changes {
            let place = Reference::to(&change.after);
            let before = change.before.as_ref().unwrap();
            prop_assert_ne!(before, &change.after);
            let stored = snapshot.get("helm.toolkit.fluxcd.io", "HelmRelease", &place.namespace, &place.name);
            prop_assert_eq!(stored, Some(before));
            prop_assert_eq!(
                untouched(before, change.step, chart_refs),
                untouched(&change.after, change.step, chart_refs)
            );
            prop_assert!(seen.insert(place), "one change an object");
        }
        for change in &first.changes {
            snapshot.put(change.after.clone());
        }
        let second = plan(&snapshot, chart_refs);
        prop_assert_eq!(second.changes, Vec::new());
        // What needed a decision still does, but for values that are no longer about to move.
        for finding in &first.findings {
            if finding.field != "spec.valuesFrom" && finding.field != "spec.suspend" {
                prop_assert!(second.findings.contains(finding), "{:?}", finding);
            }
        }
    }
}
