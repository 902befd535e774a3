//! What upstream's own migrations will do to a cluster: its hook runs one numbered shell file after the other, and some
//! of them delete what this migration carries over.
//!
//! Source: `packages/core/platform/images/migrations` of Cozystack v1.0.0-alpha.1: `run-migrations.sh` and the files
//! `migrations/<N>`, each of which carries a cluster from version N to N + 1.

use super::{Finding, Plan, Reference, SYSTEM_NAMESPACE, Snapshot, Weight};
use crate::cozystack_resource_definition::RESOURCE as LEGACY_DEFINITION;
use crate::cozystack_resource_definition::catalogue::{Repository, charts};
use crate::kinds::{HELM_RELEASES, UI_LABEL};
use crate::platform::Version as Release;
use crate::tenants::is_tenant;
use serde_json::Value;

/// The oldest version that is carried over: v0.38.
pub const OLDEST_VERSION: u32 = 20;
/// The version of the first package-based release, v1.0.0-alpha.1.
pub const TARGET_VERSION: u32 = 24;
/// The ConfigMap that holds the version.
pub const VERSION_CONFIG: &str = "cozystack-version";
/// Its key.
pub const VERSION_KEY: &str = "version";

/// What upstream's file 22 calls the kind of every release `postgres-*`; the API calls it Postgres.
pub const WRONG_POSTGRES_KIND: &str = "PostgreSQL";
/// The releases to which it does so.
pub const POSTGRES_PREFIX: &str = "postgres-";

/// HelmRelease of the legacy definitions.
const DEFINITIONS_RELEASE: &str = "cozystack-resource-definitions";
/// HelmRelease of their CRD.
pub const CRD_RELEASE: &str = "cozystack-resource-definition-crd";

/// What is said of the file that v1.0.0-alpha.1 lacks.
const NO_SUCH_FILE: &str = "v1.0.0-alpha.1 has no such file";
/// Files that v1.0.0 has besides, as far as it is known what they touch.
const LATER: [(u32, &str); 7] = [
    (
        24,
        "nothing is known of what it and those up to 27 touch (up to v1.0.1 a run that begins at 24 skips it)",
    ),
    (28, "MySQL applications become MariaDB"),
    (
        29,
        "virtual-machine applications become a disk and an instance",
    ),
    (30, "the subnets of VPCs become a list"),
    (31, "the HelmRelease of tenant-root is adopted"),
    (
        32,
        "issuerType in the platform's Package becomes solver and issuerName",
    ),
    (
        33,
        "the definitions of FerretDB, MySQL and virtual-machine are dropped",
    ),
];

/// A finding names no more objects than this.
const NAMES_MAX: usize = 10;

/// The version of the platform's data that the cluster is at. The text of an error says why such a cluster is refused.
pub fn version(snapshot: &Snapshot) -> Result<u32, String> {
    let range = format!("{OLDEST_VERSION} to {TARGET_VERSION}");
    let Some(found) = snapshot
        .config(VERSION_CONFIG)
        .and_then(|data| data.get(VERSION_KEY))
    else {
        return Err(format!(
            "ConfigMap {SYSTEM_NAMESPACE}/{VERSION_CONFIG} has no {VERSION_KEY}, so how far this cluster has been migrated is not known, and the new platform would note its own version and run no migration at all: {range} would be right (v0.39 is 21)"
        ));
    };
    // The shell that reads it counts with it: what is written in another way is no version there either.
    let number = found.as_str().and_then(|text| {
        text.parse::<u32>()
            .ok()
            .filter(|number| number.to_string() == text)
    });
    match number {
        Some(number) if (OLDEST_VERSION..=TARGET_VERSION).contains(&number) => Ok(number),
        Some(number) if number < OLDEST_VERSION => Err(format!(
            "the cluster is at version {number}, older than v0.38: upgrade it to v0.39 first, which is version 21; {range} can be carried over"
        )),
        Some(number) => Err(format!(
            "the cluster is at version {number}: it has been migrated past v1.0.0-alpha.1 ({TARGET_VERSION}), so there is nothing left of v0.38/v0.39 to carry over; {range} would be right"
        )),
        None => Err(format!(
            "{found} is no version: a whole number in quotes, {range}, would be right"
        )),
    }
}

/// What each file that will still run on the way to 24 does to the objects of a cluster.
#[must_use]
pub fn plan(snapshot: &Snapshot, target: Release) -> Plan {
    let about = Reference {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: SYSTEM_NAMESPACE.to_owned(),
        name: VERSION_CONFIG.to_owned(),
    };
    let say = |weight, text| Finding {
        weight,
        about: about.clone(),
        field: format!("data.{VERSION_KEY}"),
        text,
    };
    let findings = match version(snapshot) {
        Err(why) => vec![say(Weight::Decision, why)],
        Ok(TARGET_VERSION) => vec![say(
            Weight::Note,
            format!(
                "the cluster is at version {TARGET_VERSION}: no upstream migration up to {TARGET_VERSION} is left to run"
            ),
        )],
        Ok(current) => {
            let releases = Releases::of(snapshot);
            (current..=TARGET_VERSION)
                .flat_map(|file| file_findings(file, current, snapshot, &releases))
                .map(|(weight, text)| say(weight, text))
                .collect()
        }
    };
    let mut findings = findings;
    if target >= Release::V1_0 {
        findings.retain(|finding| !finding.text.contains(NO_SUCH_FILE));
        findings.extend(LATER.iter().map(|(file, what)| {
            let text = format!(
                "upstream migration file {file} ({file} to {}) runs with v1.0.0: {what}",
                file + 1
            );
            say(Weight::Note, text)
        }));
    }
    Plan {
        changes: Vec::new(),
        findings,
    }
}

fn file_findings(
    file: u32,
    current: u32,
    snapshot: &Snapshot,
    releases: &Releases,
) -> Vec<(Weight, String)> {
    if file == TARGET_VERSION {
        return vec![(
            Weight::Note,
            format!(
                "upstream migration file {file} is called for, but {NO_SUCH_FILE}: it is skipped"
            ),
        )];
    }
    if file == current {
        return vec![(
            Weight::Note,
            format!(
                "upstream migration file {file} ({file} to {}) is skipped: up to v1.0.1 the run begins one file too late; {}; from v1.0.2 and v1.1.0 on it would run",
                file + 1,
                skipped(file, snapshot, releases)
            ),
        )];
    }
    let begin = format!(
        "upstream migration file {file} ({file} to {}) runs",
        file + 1
    );
    match file {
        22 => {
            let mut findings = vec![(
                Weight::Note,
                format!("{begin}: {}", definitions_and_labels(snapshot, releases)),
            )];
            findings.extend(abort(releases));
            findings
        }
        23 => vec![(Weight::Note, format!("{begin}: {}", crd(snapshot)))],
        _ => vec![(
            Weight::Note,
            format!("{begin}: nothing is known of it that touches definitions or HelmReleases"),
        )],
    }
}

/// What a file that is skipped leaves as it is.
fn skipped(file: u32, snapshot: &Snapshot, releases: &Releases) -> String {
    match file {
        22 => format!(
            "it does not delete {}, and labels none of {}",
            definitions(snapshot),
            count(releases.shown(), "HelmRelease with cozystack.io/ui=true")
        ),
        23 => format!("it does not delete HelmRelease {SYSTEM_NAMESPACE}/{CRD_RELEASE}"),
        _ => "nothing is known of it that touches definitions or HelmReleases".to_owned(),
    }
}

fn definitions_and_labels(snapshot: &Snapshot, releases: &Releases) -> String {
    let release = match system_release(snapshot, DEFINITIONS_RELEASE) {
        Some(_) => "deletes",
        None => "would delete, but does not find,",
    };
    format!(
        "{release} HelmRelease {SYSTEM_NAMESPACE}/{DEFINITIONS_RELEASE}; deletes {}; labels {} with application kind, group and name by the release's name, of which {} the kind {WRONG_POSTGRES_KIND} although the API's kind is Postgres (apply again repairs that); {} without that label {} never labelled; pins the version of Postgres to v17",
        definitions(snapshot),
        count(releases.named, "HelmRelease with cozystack.io/ui=true"),
        match releases.postgres {
            1 => "1 gets".to_owned(),
            number => format!("{number} get"),
        },
        count(releases.hidden, "HelmRelease of tenants"),
        if releases.hidden == 1 { "is" } else { "are" },
    )
}

/// File 22 ends at the first release whose name tells it nothing.
fn abort(releases: &Releases) -> Option<(Weight, String)> {
    if releases.nameless.is_empty() {
        return None;
    }
    Some((
        Weight::Decision,
        format!(
            "upstream migration file 22 aborts at {} whose name begins with no prefix that it knows, and with it the upgrade: {}; have the version stamped before the upgrade, so that the hook has nothing to run, or take the label {UI_LABEL} off {} until it has run",
            count(
                releases.nameless.len(),
                "HelmRelease with cozystack.io/ui=true"
            ),
            listed(&releases.nameless),
            if releases.nameless.len() == 1 {
                "it"
            } else {
                "them"
            },
        ),
    ))
}

fn crd(snapshot: &Snapshot) -> String {
    let release = format!("HelmRelease {SYSTEM_NAMESPACE}/{CRD_RELEASE}");
    match system_release(snapshot, CRD_RELEASE) {
        None => {
            format!("would delete {release}, which is not in the cluster: nothing is uninstalled")
        }
        Some(found) if found.pointer("/spec/suspend") == Some(&Value::Bool(true)) => format!(
            "deletes {release}, which is in the cluster and suspended: nothing is uninstalled, the CRD of the legacy definitions and {} stay",
            definitions(snapshot)
        ),
        Some(_) => format!(
            "deletes {release}, which is in the cluster and not suspended: its uninstall removes the CRD of the legacy definitions and with it {}, unless it is suspended first",
            definitions(snapshot)
        ),
    }
}

fn system_release<'s>(snapshot: &'s Snapshot, name: &str) -> Option<&'s Value> {
    let kind = &HELM_RELEASES.resource;
    snapshot.get(kind.group, kind.kind, SYSTEM_NAMESPACE, name)
}

fn definitions(snapshot: &Snapshot) -> String {
    let all = snapshot.all(LEGACY_DEFINITION.group, LEGACY_DEFINITION.kind);
    match all.count() {
        0 => format!("no {}", LEGACY_DEFINITION.kind),
        1 => format!("the one {}", LEGACY_DEFINITION.kind),
        number => format!("all {number} {}s", LEGACY_DEFINITION.kind),
    }
}

/// `1 HelmRelease of tenants`, `2 HelmReleases of tenants`.
fn count(number: usize, what: &str) -> String {
    if number == 1 {
        return format!("1 {what}");
    }
    let (noun, rest) = what.split_once(' ').unwrap_or((what, ""));
    format!("{number} {noun}s {rest}").trim_end().to_owned()
}

/// The first names, and how many more there are.
fn listed(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// HelmReleases of tenants, as file 22 sees them.
#[derive(Default)]
struct Releases {
    /// How many it labels.
    named: usize,
    /// How many of them get the wrong kind.
    postgres: usize,
    /// Those at which it aborts, `namespace/name`.
    nameless: Vec<String>,
    /// How many it does not look at.
    hidden: usize,
}

impl Releases {
    fn of(snapshot: &Snapshot) -> Releases {
        let kind = &HELM_RELEASES.resource;
        let mut releases = Releases::default();
        for release in snapshot.all(kind.group, kind.kind) {
            let text = |pointer| release.pointer(pointer).and_then(Value::as_str);
            let (Some(namespace), Some(name)) =
                (text("/metadata/namespace"), text("/metadata/name"))
            else {
                continue;
            };
            if !is_tenant(namespace) {
                continue;
            }
            let label = release
                .pointer("/metadata/labels")
                .and_then(|labels| labels.get(UI_LABEL));
            if label.and_then(Value::as_str) != Some("true") {
                releases.hidden += 1;
            } else if is_known(name) {
                releases.named += 1;
                releases.postgres += usize::from(name.starts_with(POSTGRES_PREFIX));
            } else {
                releases.nameless.push(format!("{namespace}/{name}"));
            }
        }
        releases
    }

    fn shown(&self) -> usize {
        self.named + self.nameless.len()
    }
}

/// Whether a release's name says which shipped application it is: those of `cozystack-apps` have the chart's name and a
/// dash before their own, those of `cozystack-extra` are called like the chart.
fn is_known(name: &str) -> bool {
    charts().any(|(chart, repository)| match repository {
        Repository::Apps => name
            .strip_prefix(chart)
            .is_some_and(|rest| rest.starts_with('-')),
        Repository::Extra => name == chart,
    })
}

#[cfg(test)]
mod tests;
