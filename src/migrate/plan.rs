//! The plan: what the pure parts say of a snapshot, put together in the order of the steps.

use super::definitions;
use super::read::{CONFIGS, RECORD};
use crate::crds::install::LEGACY_RELEASE;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use webhooks::REGISTRY;
use webhooks::contract::Settings;
use webhooks::cozystack_resource_definition::WEBHOOK;
use webhooks::cozystack_resource_definition::bridge::BRIDGE_SETTING;
use webhooks::kinds::APPLICATION_KIND_LABEL;
use webhooks::migration::{
    Change, Finding, Plan, Reference, SYSTEM_NAMESPACE, Snapshot, Step, Weight, configuration,
    releases, upstream,
};
use webhooks::platform::Version;

/// What is wanted of a migration.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The release whose shape of values is written.
    pub target: Version,
    /// Whether tenants' releases get the new form of chart reference.
    pub chart_refs: bool,
    /// Whether the platform's version is noted in the end.
    pub stamp: bool,
}

/// The ConfigMap that the new platform renders under the same name.
pub const OVERWRITTEN: &str = "cozystack-scheduling";
/// Key of the record.
const CONFIGURATION: &str = "configuration.json";
/// The version that upstream's first package-based release ends with.
const STAMPED: u32 = 24;

/// A plan, and what else its execution needs.
#[derive(Debug, Clone, Default)]
pub struct Planned {
    /// What would be written, and what must be known.
    pub plan: Plan,
    /// What is applied for the definitions among the changes.
    pub applied: BTreeMap<Reference, Value>,
}

/// The plan for a cluster.
///
/// # Errors
/// A sentence when it is no cluster that can be carried over.
pub fn plan(snapshot: &Snapshot, options: Options) -> Result<Planned, String> {
    let version = upstream::version(snapshot)?;
    let snapshot = &as_recorded(snapshot)?;
    let is_stamped = options.stamp && version < STAMPED;
    let mut plan = Plan::default();
    plan.changes.extend(record(snapshot));
    plan.changes.extend(suspended(snapshot));
    plan.extend(configuration::plan(snapshot, options.target));
    let (settings, resting) = settings(snapshot);
    plan.findings.extend(resting);
    let (definitions, applied) = definitions::plan(snapshot, &settings);
    plan.extend(definitions);
    plan.extend(releases::plan(snapshot, options.chart_refs));
    let will_stamp = is_stamped && stamp(snapshot, &mut plan);
    if !will_stamp {
        plan.extend(upstream::plan(snapshot, options.target));
    }
    // One step after the other, whoever found it.
    plan.changes.sort_by_key(|change| change.step);
    plan.findings.sort();
    Ok(Planned { plan, applied })
}

/// The settings by which the service makes what is planned here; those of a bridge that works, if it rests, which is
/// said.
fn settings(snapshot: &Snapshot) -> (Settings, Option<Finding>) {
    let mut configs = snapshot.all("", "ConfigMap");
    let config = configs.find(|config| Reference::to(config).name == webhooks::settings::NAME);
    let Some(config) = config else {
        return (Settings::default(), None);
    };
    let data = config.get("data").and_then(Value::as_object);
    let settings = data.map(|data| Settings::read(data, REGISTRY).0);
    let settings = settings.unwrap_or_default();
    if settings.of(&WEBHOOK.declaration).flag(BRIDGE_SETTING) {
        return (settings, None);
    }
    let resting = Finding {
        weight: Weight::Note,
        about: Reference::to(config),
        field: format!("data.{}.{BRIDGE_SETTING}", WEBHOOK.declaration.id),
        text: "is \"false\", so the bridge rests (a rollback sets that): what changes in a legacy definition is carried over by the next run only; take the setting out when there is no way back any more"
            .to_owned(),
    };
    (Settings::default(), Some(resting))
}

/// The snapshot with the configuration as it was first found, where it is gone or overwritten by now.
fn as_recorded(snapshot: &Snapshot) -> Result<Snapshot, String> {
    let mut snapshot = snapshot.clone();
    let Some(data) = snapshot.config(RECORD) else {
        return Ok(snapshot);
    };
    let text = data.get(CONFIGURATION).and_then(Value::as_str);
    let recorded: Map<String, Value> = serde_json::from_str(text.unwrap_or_default())
        .map_err(|error| {
            format!(
                "ConfigMap {SYSTEM_NAMESPACE}/{RECORD} holds no configuration ({error}): it was written by `migrate apply`; put its {CONFIGURATION} right, or delete it if nothing was carried over yet"
            )
        })?;
    if !recorded.contains_key(OVERWRITTEN) {
        // What is there by now is the new platform's.
        snapshot.remove("", "ConfigMap", SYSTEM_NAMESPACE, OVERWRITTEN);
    }
    for (name, data) in recorded {
        let live = snapshot.get("", "ConfigMap", SYSTEM_NAMESPACE, &name);
        // What somebody has put right since is what counts; only one of them is written by the new platform too.
        if live.is_some() && name != OVERWRITTEN {
            continue;
        }
        let mut config = live.cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE},
            })
        });
        if let Some(members) = config.as_object_mut() {
            members.insert("data".to_owned(), data);
        }
        snapshot.put(config);
    }
    Ok(snapshot)
}

/// The record, where there is none yet.
fn record(snapshot: &Snapshot) -> Option<Change> {
    if snapshot.config(RECORD).is_some() {
        return None;
    }
    let configuration: Map<String, Value> = CONFIGS
        .iter()
        .filter(|name| **name != RECORD && **name != "cozystack-version")
        .filter_map(|name| {
            let data = snapshot.config(name)?.clone();
            Some(((*name).to_owned(), data.into()))
        })
        .collect();
    Some(Change {
        step: Step::Record,
        before: None,
        after: json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": RECORD, "namespace": SYSTEM_NAMESPACE,
                "labels": {"app.kubernetes.io/managed-by": super::MANAGER},
            },
            "data": {CONFIGURATION: Value::Object(configuration).to_string()},
        }),
        why: "keeps the configuration as it was: the new platform overwrites some of it".to_owned(),
    })
}

/// The release of the legacy CRD, suspended.
fn suspended(snapshot: &Snapshot) -> Option<Change> {
    let (namespace, name) = LEGACY_RELEASE;
    let release = snapshot.get("helm.toolkit.fluxcd.io", "HelmRelease", namespace, name)?;
    if release.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
        return None;
    }
    let mut after = release.clone();
    let spec = after.get_mut("spec").and_then(Value::as_object_mut)?;
    spec.insert("suspend".to_owned(), true.into());
    Some(Change {
        step: Step::Crds,
        before: Some(release.clone()),
        after,
        why: "upstream's file 23 deletes it, and its uninstall would take the CRD and every legacy definition along"
            .to_owned(),
    })
}

/// Kinds with which upstream's files up to 23 have to do.
const OF_UPSTREAM: [&str; 3] = [
    "CozystackResourceDefinition",
    "ApplicationDefinition",
    "HelmRelease",
];

/// The version is noted only when what upstream's files do is done, and in a plan of its own. Values that wait for the
/// platform's Packages are none of that: the platform makes these only after its migrations. Whether it is, or will be.
fn stamp(snapshot: &Snapshot, plan: &mut Plan) -> bool {
    let Some(config) = snapshot.get("", "ConfigMap", SYSTEM_NAMESPACE, "cozystack-version") else {
        return false;
    };
    plan.findings.extend(unpinned(snapshot));
    let is_open = |finding: &&Finding| {
        finding.weight == Weight::Decision && OF_UPSTREAM.contains(&finding.about.kind.as_str())
    };
    let open = plan.findings.iter().filter(is_open).count();
    let mut say = |weight, text| {
        plan.findings.push(Finding {
            weight,
            about: Reference::to(config),
            field: "data.version".to_owned(),
            text,
        });
    };
    if open > 0 {
        say(
            Weight::Pending,
            format!(
                "is set to {STAMPED} once {open} definitions and releases that need a decision have one"
            ),
        );
        return false;
    }
    say(
        Weight::Note,
        format!(
            "with {STAMPED} none of upstream's files up to 23 will run (and, of a platform up to v1.0.1, not file {STAMPED} either: it begins one file too late)"
        ),
    );
    if !plan.changes.is_empty() {
        say(
            Weight::Note,
            format!("is set to {STAMPED} when everything else is written"),
        );
        return true;
    }
    let mut after = config.clone();
    if let Some(data) = after.get_mut("data").and_then(Value::as_object_mut) {
        data.insert("version".to_owned(), STAMPED.to_string().into());
    }
    plan.changes.push(Change {
        step: Step::Stamp,
        before: Some(config.clone()),
        after,
        why: "the work of upstream's files up to 23 is done: they need not run any more".to_owned(),
    });
    true
}

/// Postgres releases without a version: upstream's file 22 would pin it.
fn unpinned(snapshot: &Snapshot) -> Vec<Finding> {
    let releases = snapshot.all("helm.toolkit.fluxcd.io", "HelmRelease");
    let is_unpinned = |release: &&Value| {
        let chart = release.pointer("/spec/chart/spec/chart");
        let kind = release
            .get("metadata")
            .and_then(|metadata| metadata.get("labels")?.get(APPLICATION_KIND_LABEL));
        let is_postgres = chart.and_then(Value::as_str) == Some("postgres")
            || kind.and_then(Value::as_str) == Some("Postgres");
        is_postgres && release.pointer("/spec/values/version").is_none()
    };
    releases
        .filter(is_unpinned)
        .map(|release| Finding {
            weight: Weight::Decision,
            about: Reference::to(release),
            field: "spec.values.version".to_owned(),
            text: "is absent: upstream's file 22 would pin Postgres to v17, and with --stamp it does not run; set it to what the database has (v17 where nobody has chosen), or a new chart's default takes its place"
                .to_owned(),
        })
        .collect()
}
