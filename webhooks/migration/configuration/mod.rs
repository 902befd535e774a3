//! The ConfigMaps of the old platform as Package of the new one, and as values of its components.
//!
//! ```text
//! ConfigMaps --keys-------> what the platform's values should say --package----> Change of the platform's Package
//!            --lists------> packages to enable and to disable -----/
//!            --components-> what components' values should say -----------------> Change of each other Package
//! ```
//!
//! What a Package says already is never changed. Source: `packages/core/platform` of v0.39.5 for what the keys meant,
//! of v1.0.0-alpha.1 and v1.0.0 for where that goes.

mod components;
mod keys;
mod legacy;
mod lists;
mod package;
#[cfg(test)]
#[allow(
    clippy::too_many_lines,
    clippy::needless_pass_by_value,
    reason = "tables, and values made where they are used"
)]
mod tests;

pub use legacy::names as release_names;

use super::{Finding, Plan, Reference, SYSTEM_NAMESPACE, Snapshot, Weight};
use crate::platform::{self, Version};
use legacy::{Bundle, Packages};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The ConfigMap of the platform.
const COZYSTACK: &str = "cozystack";
/// That of the dashboard's looks.
const BRANDING: &str = "cozystack-branding";
/// That of rules for all apps' pods.
const SCHEDULING: &str = "cozystack-scheduling";

/// Longest value that a finding repeats, in characters; the rest is cut.
const SHOWN_MAX_CHARS: usize = 60;
/// Longest text of a finding, in characters, whatever it repeats.
const TEXT_MAX_CHARS: usize = 1_500;
/// Most names that a finding lists; the rest is counted.
const NAMED_MAX: usize = 12;

/// What becomes of the configuration of a cluster. Without a `bundle-name` that can be carried over, nothing is
/// planned.
#[must_use]
pub fn plan(snapshot: &Snapshot, target: Version) -> Plan {
    let mut report = Report::default();
    let changes = plan_changes(snapshot, target, &mut report);
    Plan {
        changes: changes.unwrap_or_default(),
        findings: report.findings,
    }
}

fn plan_changes(
    snapshot: &Snapshot,
    target: Version,
    report: &mut Report,
) -> Option<Vec<super::Change>> {
    let packages = Packages::of(snapshot);
    let old = Old::read(snapshot, &packages, report)?;
    let mut wanted = keys::wanted(&old, target, report);
    let lists = lists::read(&old, &packages, report);
    wanted.values.extend(lists.wanted());
    let outcome = package::plan(&old, &packages, &wanted, target, report);
    lists.report_dependents(&packages, &outcome.emitted, report);
    report_linstor(&old, &packages, &outcome, report);
    compare_root_host(snapshot, &old, report);
    let components = components::plan(&old, &packages, &outcome, target, report);
    Some(outcome.change.into_iter().chain(components).collect())
}

/// What the old platform was told.
struct Old<'a> {
    bundle: Bundle,
    config: &'a Map<String, Value>,
    branding: Option<&'a Map<String, Value>>,
    scheduling: Option<&'a Map<String, Value>>,
}

impl<'a> Old<'a> {
    fn read(snapshot: &'a Snapshot, packages: &Packages<'_>, report: &mut Report) -> Option<Self> {
        for name in [COZYSTACK, BRANDING, SCHEDULING] {
            report_what_is_no_text(snapshot, name, report);
        }
        let Some(config) = snapshot.config(COZYSTACK) else {
            // A cluster that never had it, or that is through with it.
            let (weight, what) = if packages.live(platform::PACKAGE).is_some() {
                (
                    Weight::Note,
                    "the Package of the platform is there, and stays as it is",
                )
            } else {
                (
                    Weight::Decision,
                    "nothing is planned without it; restore it, or write the Package of the platform by hand",
                )
            };
            let text =
                format!("there is no ConfigMap {SYSTEM_NAMESPACE}/{COZYSTACK} with data: {what}");
            report.add(weight, config_map(COZYSTACK), "", &text);
            return None;
        };
        let old = Old {
            bundle: Bundle::Full,
            config,
            branding: snapshot.config(BRANDING),
            scheduling: snapshot.config(SCHEDULING),
        };
        let name = old.text("bundle-name");
        if let Some(bundle) = name.and_then(Bundle::of) {
            return Some(Old { bundle, ..old });
        }
        let found = match name {
            None => "is absent, and the old platform has no default".to_owned(),
            Some(name) if name.starts_with("distro-") => format!(
                "is {}, and no variant of the new platform does what that bundle did",
                shown_text(name)
            ),
            Some(name) => format!("is {}, which is no bundle", shown_text(name)),
        };
        report.key(
            Weight::Decision,
            COZYSTACK,
            "bundle-name",
            &format!(
                "{found}: nothing is planned; only \"paas-full\" (as isp-full) and \"paas-hosted\" (as isp-hosted) \
                 can be carried over, and for anything else the Package {} is to be written by hand",
                platform::PACKAGE
            ));
        None
    }

    /// What a key of the platform's ConfigMap says. To the old platform's templates, an empty text is none.
    fn text(&self, key: &str) -> Option<&'a str> {
        let text = self.config.get(key)?.as_str()?;
        (!text.is_empty()).then_some(text)
    }

    /// The items of a list as the old platform split them, without the empty ones.
    fn items(&self, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let text = self.text(key).unwrap_or_default();
        text.split(',').filter(|item| !item.is_empty())
    }

    /// Whether the old platform had a release.
    fn had(&self, release: &str) -> bool {
        let list = |key| self.items(key).collect::<BTreeSet<&str>>();
        let is_keycloak = release == "keycloak" || release.starts_with("keycloak-");
        legacy::was_installed(
            release,
            self.bundle,
            &list("bundle-enable"),
            &list("bundle-disable"),
        ) && (!is_keycloak || self.has_oidc())
    }

    /// Whether people logged in through OIDC: nothing but the exact text turned it on.
    fn has_oidc(&self) -> bool {
        self.text("oidc-enabled") == Some("true")
    }
}

/// `data` holds texts, and nothing reads `binaryData`.
fn report_what_is_no_text(snapshot: &Snapshot, name: &str, report: &mut Report) {
    let Some(map) = snapshot.get("", "ConfigMap", SYSTEM_NAMESPACE, name) else {
        return;
    };
    let members = |member: &str| {
        map.get(member)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    };
    for (key, _) in members("data").filter(|(_, value)| !value.is_string()) {
        let text = "is no text, as it must be in a ConfigMap: it is ignored; quote it";
        report.key(Weight::Decision, name, key, text);
    }
    for (key, _) in members("binaryData") {
        let text =
            "has no target: no chart reads binary data; write it as text into data, or remove it";
        let field = format!("binaryData[{}]", cut(key));
        report.add(Weight::Decision, config_map(name), &field, text);
    }
}

/// The one release of a bundle that the variant which takes its place does not bring.
fn report_linstor(
    old: &Old<'_>,
    packages: &Packages<'_>,
    outcome: &package::Outcome,
    report: &mut Report,
) {
    let (release, package) = ("piraeus-operator", "cozystack.linstor");
    let is_brought = outcome.emitted.contains_key(package) || packages.live(package).is_some();
    if is_brought || old.bundle != Bundle::Hosted || !old.had(release) {
        return;
    }
    let text = format!(
        "brought {release}, and the new platform does not bring Package {package} in its place; if storage of the \
         cluster is LINSTOR's, make that Package by hand, with spec.components.linstor.enabled: false and with \
         spec.ignoreDependencies for what the variant does not bring either"
    );
    report.key(Weight::Decision, COZYSTACK, "bundle-name", &text);
}

/// Tenant root has a host of its own, which wins there.
fn compare_root_host(snapshot: &Snapshot, old: &Old<'_>, report: &mut Report) {
    let group = "helm.toolkit.fluxcd.io";
    let Some(release) = snapshot.get(group, "HelmRelease", "tenant-root", "tenant-root") else {
        return;
    };
    let host = release.pointer("/spec/values/host");
    let (Some(host), Some(root)) = (host, old.text("root-host")) else {
        return;
    };
    if host.is_null() || host == "" || host == root {
        return;
    }
    let text = format!(
        "is {}, and root-host of ConfigMap {SYSTEM_NAMESPACE}/{COZYSTACK} is {}: neither is changed, tenant root goes \
         on with its own; make them the same unless that is meant",
        shown(host),
        shown_text(root)
    );
    let about = Reference::to(release);
    report.add(Weight::Decision, about, "spec.values.host", &text);
}

/// The key of a ConfigMap from which something comes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Origin {
    map: &'static str,
    key: String,
}

impl Origin {
    fn of(map: &'static str, key: &str) -> Origin {
        Origin {
            map,
            key: key.to_owned(),
        }
    }
}

/// What is found.
#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, weight: Weight, about: Reference, field: &str, text: &str) {
        self.findings.push(Finding {
            weight,
            about,
            field: one_line(field),
            text: one_line(text),
        });
    }

    /// About a key of a ConfigMap.
    fn key(&mut self, weight: Weight, map: &str, key: &str, text: &str) {
        self.add(
            weight,
            config_map(map),
            &format!("data[{}]", cut(key)),
            text,
        );
    }
}

fn config_map(name: &str) -> Reference {
    Reference {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: SYSTEM_NAMESPACE.to_owned(),
        name: name.to_owned(),
    }
}

fn package_reference(name: &str) -> Reference {
    Reference {
        api_version: "cozystack.io/v1alpha1".to_owned(),
        kind: "Package".to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    }
}

/// A text without line breaks and what else moves a cursor, and not without end.
fn one_line(text: &str) -> String {
    let visible = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().take(TEXT_MAX_CHARS).map(visible).collect()
}

/// The beginning of a text.
fn cut(text: &str) -> String {
    let total = text.chars().count();
    if total <= SHOWN_MAX_CHARS {
        return text.to_owned();
    }
    let head: String = text.chars().take(SHOWN_MAX_CHARS).collect();
    format!("{head}... ({total} characters)")
}

/// The beginning of a value, on one line.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => shown_text(text),
        other => cut(&other.to_string()),
    }
}

fn shown_text(text: &str) -> String {
    cut(&format!("{text:?}"))
}

/// Some names, and how many more there are.
fn named<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<S> = names.into_iter().collect();
    let first: Vec<String> = names
        .iter()
        .take(NAMED_MAX)
        .map(|name| cut(name.as_ref()))
        .collect();
    match names.len().saturating_sub(NAMED_MAX) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Whether two values say the same: a number is the same however it is written.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64() == other.as_f64()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, one)| other.get(key).is_some_and(|other| is_same(one, other)))
        }
        (one, other) => one == other,
    }
}

/// The map that a member holds; made where there is nothing. None where something else is there.
fn map_in<'v>(
    parent: &'v mut Map<String, Value>,
    member: &str,
) -> Option<&'v mut Map<String, Value>> {
    let value = parent.entry(member).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

/// The values of a component of a Package; made where there are none. None where something else than a map is in the
/// way.
fn values_in<'v>(package: &'v mut Value, component: &str) -> Option<&'v mut Map<String, Value>> {
    let spec = map_in(package.as_object_mut()?, "spec")?;
    let component = map_in(map_in(spec, "components")?, component)?;
    map_in(component, "values")
}
