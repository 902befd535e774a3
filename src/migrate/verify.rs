//! Whether a migration has done what it is for.

use super::plan::Planned;
use crate::dispatch::Dispatcher;
use crate::offline::{Judge, Question};
use serde_json::Value;
use webhooks::REGISTRY;
use webhooks::contract::{Operation, Settings};
use webhooks::migration::{Reference, Snapshot, Weight};
use webhooks::platform::PACKAGE;

/// One thing that was looked at.
#[derive(Debug, Clone, serde::Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Whether it is as it should be.
    pub is_right: bool,
    /// What was looked at, and what was found.
    pub text: String,
}

fn check(is_right: bool, text: impl Into<String>) -> Check {
    Check {
        is_right,
        text: text.into(),
    }
}

/// Looks at a cluster: `planned` is what would still be done to it, `backup` what it held before.
#[must_use]
pub fn verify(snapshot: &Snapshot, planned: &Planned, backup: &[Value]) -> Vec<Check> {
    let mut checks = Vec::new();
    let changes = planned.plan.changes.len();
    checks.push(match changes {
        0 => check(true, "nothing is left to write"),
        _ => check(
            false,
            format!("{changes} objects are still to be written: run apply again"),
        ),
    });
    let count = |weight: Weight| {
        let findings = planned.plan.findings.iter();
        findings.filter(|finding| finding.weight == weight).count()
    };
    let (decisions, pending) = (count(Weight::Decision), count(Weight::Pending));
    checks.push(check(
        decisions == 0,
        format!("{decisions} things need a decision (plan names them)"),
    ));
    checks.push(check(
        pending == 0,
        format!("{pending} things cannot be done yet (plan names them)"),
    ));
    checks.extend(definitions(snapshot));
    checks.push(platform(snapshot));
    checks.push(lost(snapshot, backup));
    checks
}

/// What was there before and is not any more. Releases come and go: tenants delete theirs, and the platform its own.
fn lost(snapshot: &Snapshot, backup: &[Value]) -> Check {
    let is_there = |group: &str, kind: &str, reference: &Reference| {
        let (namespace, name) = (&reference.namespace, &reference.name);
        snapshot.get(group, kind, namespace, name).is_some()
    };
    let gone: Vec<Reference> = backup
        .iter()
        .map(Reference::to)
        .filter(|reference| !is_there(reference.group(), &reference.kind, reference))
        .collect();
    let names = |releases: bool| -> Vec<String> {
        gone.iter()
            .filter(|reference| (reference.kind == "HelmRelease") == releases)
            .filter(|reference| {
                reference.kind != "CozystackResourceDefinition"
                    || !is_there("cozystack.io", "ApplicationDefinition", reference)
            })
            .map(|reference| format!("{} {}", reference.kind, reference.name))
            .collect()
    };
    let (lost, deleted) = (names(false), names(true));
    if !lost.is_empty() {
        return check(false, format!("not there any more: {}", lost.join(", ")));
    }
    let note = match deleted.len() {
        0 => String::new(),
        count => format!(", but for {count} HelmReleases that somebody has deleted since"),
    };
    check(true, format!("nothing of the backup is lost{note}"))
}

/// Every legacy definition has a successor.
fn definitions(snapshot: &Snapshot) -> Option<Check> {
    let names: Vec<String> = snapshot
        .all("cozystack.io", "CozystackResourceDefinition")
        .map(|legacy| Reference::to(legacy).name)
        .collect();
    let missing: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| {
            snapshot
                .get("cozystack.io", "ApplicationDefinition", "", name)
                .is_none()
        })
        .collect();
    match (names.len(), missing.as_slice()) {
        (0, _) => None,
        (count, []) => Some(check(
            true,
            format!("all {count} legacy definitions have an ApplicationDefinition"),
        )),
        (_, missing) => Some(check(
            false,
            format!("no ApplicationDefinition yet for {}", missing.join(", ")),
        )),
    }
}

/// The platform's Package is there, and no rule would refuse it.
fn platform(snapshot: &Snapshot) -> Check {
    let Some(package) = snapshot.get("cozystack.io", "Package", "", PACKAGE) else {
        return check(false, format!("there is no Package {PACKAGE}"));
    };
    let caches = super::definitions::around(snapshot);
    let dispatcher = Dispatcher::new(REGISTRY, Settings::default());
    let question = Question {
        source: "cluster".to_owned(),
        api_version: "cozystack.io/v1alpha1".to_owned(),
        kind: "Package".to_owned(),
        namespace: String::new(),
        name: PACKAGE.to_owned(),
        operation: Operation::Create,
        object: Some(package.clone()),
        old_object: None,
        dry_run: true,
        user_info: None,
    };
    let report = Judge::new(REGISTRY, dispatcher, std::sync::Arc::new(caches))
        .and_then(|judge| judge.judge(&question).map_err(|error| error.to_string()));
    match report {
        Ok(Some(report)) if !report.violations.is_empty() => {
            let messages = report.violations.iter().map(|found| found.message.as_str());
            let messages: Vec<&str> = messages.collect();
            check(
                false,
                format!(
                    "Package {PACKAGE} would be refused: {}",
                    messages.join("; ")
                ),
            )
        }
        Ok(_) => check(true, format!("Package {PACKAGE} is there and right")),
        Err(error) => check(
            false,
            format!("Package {PACKAGE} cannot be judged: {error}"),
        ),
    }
}
