use super::{plan as plan_for, *};
use proptest::prelude::*;
use serde_json::json;

fn plan(snapshot: &Snapshot) -> Plan {
    plan_for(snapshot, Release::V1_0Alpha1)
}

#[test]
fn a_later_release_brings_later_files() {
    for (version, has_more) in [("21", true), ("24", true)] {
        let texts = |target| -> Vec<String> {
            let plan = plan_for(&at(version), target);
            plan.findings
                .into_iter()
                .map(|finding| finding.text)
                .collect()
        };
        let (first, later) = (texts(Release::V1_0Alpha1), texts(Release::V1_0));
        assert!(!first.iter().any(|text| text.contains("with v1.0.0")));
        let names = |number: u32| {
            let name = format!("upstream migration file {number} (");
            later.iter().any(|text| text.starts_with(&name))
        };
        assert_eq!(
            (24..=33).filter(|file| names(*file)).count() == 7,
            has_more,
            "{later:#?}"
        );
        assert!(!later.iter().any(|text| text.contains(NO_SUCH_FILE)));
    }
}

fn at(version: impl Into<Value>) -> Snapshot {
    let version = version.into();
    let mut snapshot = Snapshot::default();
    snapshot.put(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "cozystack-version", "namespace": "cozy-system"},
        "data": {"version": version},
    }));
    snapshot
}

fn release(snapshot: &mut Snapshot, namespace: &str, name: &str, is_shown: bool) {
    let labels = if is_shown {
        json!({"cozystack.io/ui": "true"})
    } else {
        json!({})
    };
    snapshot.put(json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {},
    }));
}

fn definition(snapshot: &mut Snapshot, name: &str, version: &str) {
    snapshot.put(json!({
        "apiVersion": format!("cozystack.io/{version}"), "kind": "CozystackResourceDefinition",
        "metadata": {"name": name},
    }));
}

fn texts(plan: &Plan, weight: Weight) -> Vec<&str> {
    let findings = plan.findings.iter();
    findings
        .filter(|finding| finding.weight == weight)
        .map(|finding| finding.text.as_str())
        .collect()
}

/// What is said about a file; of file 22 the note.
fn about(plan: &Plan, file: u32) -> String {
    let begin = format!("upstream migration file {file} ");
    let found: Vec<&str> = texts(plan, Weight::Note)
        .into_iter()
        .filter(|text| text.starts_with(&begin))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].to_owned()
}

#[test]
fn versions_from_20_to_24_are_carried_over() {
    for number in 20..=24 {
        assert_eq!(version(&at(number.to_string())), Ok(number));
    }
}

#[test]
fn other_versions_are_refused_with_the_way_out() {
    let older = version(&at("19")).unwrap_err();
    assert!(older.contains("upgrade it to v0.39 first"), "{older}");
    let newer = version(&at("34")).unwrap_err();
    assert!(newer.contains("past v1.0.0-alpha.1 (24)"), "{newer}");
    for text in ["", "x", "-1", "+21", "021", "21.0", " 21", "99999999999999"] {
        let why = version(&at(text)).unwrap_err();
        assert!(why.contains("a whole number in quotes, 20 to 24"), "{why}");
        assert!(why.contains(&json!(text).to_string()), "{why}");
    }
    assert!(version(&at(json!(21))).is_err());
    assert!(version(&at(Value::Null)).is_err());
}

#[test]
fn an_absent_version_is_refused() {
    let mut without_key = Snapshot::default();
    without_key.put(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "cozystack-version", "namespace": "cozy-system"},
    }));
    let mut elsewhere = Snapshot::default();
    elsewhere.put(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "cozystack-version", "namespace": "default"},
        "data": {"version": "21"},
    }));
    for snapshot in [Snapshot::default(), without_key, elsewhere] {
        let why = version(&snapshot).unwrap_err();
        assert!(
            why.contains("cozy-system/cozystack-version has no version"),
            "{why}"
        );
    }
}

#[test]
fn a_refused_cluster_needs_one_decision_and_nothing_else_is_said() {
    for snapshot in [at("19"), at("25"), at("x"), Snapshot::default()] {
        let plan = plan(&snapshot);
        assert_eq!(plan.findings.len(), 1);
        assert_eq!(plan.findings[0].weight, Weight::Decision);
        assert_eq!(plan.findings[0].text, version(&snapshot).unwrap_err());
    }
}

#[test]
fn findings_are_about_the_version() {
    let plan = plan(&at("21"));
    for finding in &plan.findings {
        assert_eq!(finding.about.kind, "ConfigMap");
        assert_eq!(finding.about.namespace, "cozy-system");
        assert_eq!(finding.about.name, "cozystack-version");
        assert_eq!(finding.field, "data.version");
    }
}

#[test]
fn the_file_of_the_current_version_is_skipped_and_the_last_is_missing() {
    for current in 20..24 {
        let plan = plan(&at(current.to_string()));
        assert!(texts(&plan, Weight::Decision).is_empty());
        let files = usize::try_from(24 - current + 1).unwrap();
        assert_eq!(plan.findings.len(), files, "one a file from {current}");
        let first = about(&plan, current);
        assert!(first.contains("is skipped: up to v1.0.1"), "{first}");
        for file in current + 1..24 {
            let text = about(&plan, file);
            assert!(
                text.contains(&format!("({file} to {}) runs", file + 1)),
                "{text}"
            );
        }
        let last = about(&plan, 24);
        assert!(last.contains("has no such file"), "{last}");
    }
}

#[test]
fn at_24_nothing_is_left() {
    let plan = plan(&at("24"));
    assert_eq!(plan.findings.len(), 1);
    assert_eq!(plan.findings[0].weight, Weight::Note);
    assert!(
        plan.findings[0]
            .text
            .contains("no upstream migration up to 24 is left")
    );
}

#[test]
fn file_22_is_told_with_the_numbers_of_this_cluster() {
    let mut snapshot = at("21");
    for (number, version) in ["v1alpha1", "v1alpha2", "v1alpha1"].into_iter().enumerate() {
        definition(&mut snapshot, &format!("d{number}"), version);
    }
    release(
        &mut snapshot,
        "cozy-system",
        "cozystack-resource-definitions",
        false,
    );
    release(&mut snapshot, "cozy-system", "postgres-system", true);
    release(&mut snapshot, "tenant-a", "postgres-db", true);
    release(&mut snapshot, "tenant-a", "redis-cache", true);
    release(&mut snapshot, "tenant-a", "info", true);
    release(&mut snapshot, "tenant-a", "postgres-hidden", false);
    release(&mut snapshot, "tenant-a", "other", false);
    let plan = plan(&snapshot);
    let text = about(&plan, 22);
    for part in [
        "runs: deletes HelmRelease cozy-system/cozystack-resource-definitions;",
        "deletes all 3 CozystackResourceDefinitions;",
        "labels 3 HelmReleases with cozystack.io/ui=true",
        "of which 1 gets the kind PostgreSQL although the API's kind is Postgres",
        "2 HelmReleases of tenants without that label are never labelled",
        "pins the version of Postgres to v17",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(texts(&plan, Weight::Decision).is_empty());
}

#[test]
fn file_22_says_when_the_release_of_the_definitions_is_gone() {
    let text = about(&plan(&at("21")), 22);
    assert!(
        text.contains("would delete, but does not find, HelmRelease"),
        "{text}"
    );
    assert!(
        text.contains("deletes no CozystackResourceDefinition;"),
        "{text}"
    );
}

#[test]
fn file_22_aborts_at_user_made_applications_and_they_are_named() {
    let mut snapshot = at("20");
    release(&mut snapshot, "tenant-a", "gizmo-one", true);
    release(&mut snapshot, "tenant-b", "etcd-two", true);
    release(&mut snapshot, "tenant-b", "etcd", true);
    release(&mut snapshot, "tenant-b", "gizmo-hidden", false);
    release(&mut snapshot, "default", "gizmo-else", true);
    let plan = plan(&snapshot);
    let decisions = texts(&plan, Weight::Decision);
    assert_eq!(decisions.len(), 1);
    assert!(
        decisions[0].contains("file 22 aborts at 2 HelmReleases"),
        "{}",
        decisions[0]
    );
    assert!(
        decisions[0].contains(": tenant-a/gizmo-one, tenant-b/etcd-two;"),
        "{}",
        decisions[0]
    );
}

#[test]
fn a_long_list_is_cut_at_ten() {
    let mut snapshot = at("21");
    for number in 0..10 {
        release(
            &mut snapshot,
            "tenant-a",
            &format!("gizmo-{number:02}"),
            true,
        );
    }
    let ten = plan(&snapshot);
    let ten = texts(&ten, Weight::Decision);
    assert!(ten[0].contains("gizmo-09;"), "{}", ten[0]);
    assert!(!ten[0].contains(" more"), "{}", ten[0]);
    for number in 10..13 {
        release(
            &mut snapshot,
            "tenant-a",
            &format!("gizmo-{number:02}"),
            true,
        );
    }
    let plan = plan(&snapshot);
    let more = texts(&plan, Weight::Decision);
    assert!(
        more[0].contains("tenant-a/gizmo-09 and 3 more;"),
        "{}",
        more[0]
    );
    assert!(!more[0].contains("gizmo-10"), "{}", more[0]);
}

#[test]
fn a_skipped_file_22_aborts_nothing() {
    let mut snapshot = at("22");
    definition(&mut snapshot, "gizmo", "v1alpha1");
    release(&mut snapshot, "tenant-a", "gizmo-one", true);
    let plan = plan(&snapshot);
    assert!(texts(&plan, Weight::Decision).is_empty());
    let text = about(&plan, 22);
    assert!(
        text.contains(
            "does not delete the one CozystackResourceDefinition, and labels none of 1 HelmRelease"
        ),
        "{text}"
    );
}

#[test]
fn file_23_depends_on_the_release_of_the_crd() {
    let mut snapshot = at("22");
    definition(&mut snapshot, "gizmo", "v1alpha1");
    definition(&mut snapshot, "other", "v1alpha1");
    let absent = about(&plan(&snapshot), 23);
    assert!(
        absent.contains("not in the cluster: nothing is uninstalled"),
        "{absent}"
    );

    release(
        &mut snapshot,
        "cozy-system",
        "cozystack-resource-definition-crd",
        false,
    );
    let present = about(&plan(&snapshot), 23);
    assert!(
        present.contains("in the cluster and not suspended: its uninstall removes the CRD of the legacy definitions and with it all 2 CozystackResourceDefinitions, unless"),
        "{present}"
    );

    let mut of_crd = json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": "cozystack-resource-definition-crd", "namespace": "cozy-system"},
        "spec": {"suspend": false},
    });
    snapshot.put(of_crd.clone());
    assert_eq!(about(&plan(&snapshot), 23), present);
    of_crd["spec"]["suspend"] = true.into();
    snapshot.put(of_crd);
    let suspended = about(&plan(&snapshot), 23);
    assert!(
        suspended.contains("suspended: nothing is uninstalled"),
        "{suspended}"
    );
    assert!(
        suspended.contains("all 2 CozystackResourceDefinitions stay"),
        "{suspended}"
    );

    let skipped = {
        let mut snapshot = at("23");
        release(
            &mut snapshot,
            "cozy-system",
            "cozystack-resource-definition-crd",
            false,
        );
        about(&plan(&snapshot), 23)
    };
    assert!(skipped.contains("is skipped"), "{skipped}");
    assert!(
        skipped
            .contains("does not delete HelmRelease cozy-system/cozystack-resource-definition-crd"),
        "{skipped}"
    );
}

#[test]
fn shipped_names_are_known() {
    for name in [
        "postgres-a",
        "http-cache-a-b",
        "vm-disk-a",
        "tenant-root",
        "etcd",
        "info",
        "bootbox",
        "seaweedfs",
    ] {
        assert!(is_known(name), "{name}");
    }
    for name in [
        "postgres",
        "postgresx-a",
        "etcd-a",
        "gizmo",
        "",
        "my-postgres-a",
    ] {
        assert!(!is_known(name), "{name}");
    }
}

proptest! {
    #[test]
    fn any_cluster_is_read_without_a_change(
        text in "[0-9]{1,3}|.{0,6}",
        names in proptest::collection::vec("(postgres|gizmo|etcd|info)(-[a-z]{1,3})?", 0..20),
        shown in any::<bool>(),
    ) {
        let mut snapshot = at(text);
        for name in &names {
            release(&mut snapshot, "tenant-a", name, shown);
        }
        let plan = plan(&snapshot);
        prop_assert!(plan.changes.is_empty());
        prop_assert!(!plan.findings.is_empty());
        for finding in &plan.findings {
            prop_assert!(!finding.text.ends_with('.'), "{}", finding.text);
        }
    }
}
