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
    let lost: Vec<String> = backup
        .iter()
        .map(Reference::to)
        .filter(|reference| !is_there(snapshot, reference))
        .map(|reference| format!("{} {}", reference.kind, reference.name))
        .collect();
    checks.push(if lost.is_empty() {
        check(
            true,
            format!("all {} objects of the backup are there", backup.len()),
        )
    } else {
        check(false, format!("not there any more: {}", lost.join(", ")))
    });
    checks
}

fn is_there(snapshot: &Snapshot, reference: &Reference) -> bool {
    snapshot
        .get(
            reference.group(),
            &reference.kind,
            &reference.namespace,
            &reference.name,
        )
        .is_some()
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
