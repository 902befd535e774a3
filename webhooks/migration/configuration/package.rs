//! The Package of the platform.

use super::keys::{All, Kind, Wanted};
use super::legacy::Packages;
use super::{Old, Report, is_same, named, package_reference, shown, shown_text, values_in};
use crate::contract::{Path, Verdict, Violation};
use crate::migration::{Change, Step, Weight};
use crate::packages::Package;
use crate::platform::{self, COMPONENT, PACKAGE, Subject, Version};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Most warnings of the platform's own checks that are passed on.
const WARNINGS_MAX: usize = 20;
/// Longest sentence that is passed on.
const DETAIL_MAX_CHARS: usize = 200;
/// Where the values stand.
const AT: &str = "spec.components.platform.values";

/// What the Package would be.
pub(super) struct Outcome {
    pub(super) change: Option<Change>,
    /// The Packages that the platform would bring then, and their variants.
    pub(super) emitted: BTreeMap<&'static str, &'static str>,
}

/// Lays what is wanted below what is there.
pub(super) fn plan(
    old: &Old<'_>,
    packages: &Packages<'_>,
    all: &All,
    target: Version,
    report: &mut Report,
) -> Outcome {
    let live = packages.live(PACKAGE);
    let mut after = live.cloned().unwrap_or_else(|| {
        json!({"apiVersion": "cozystack.io/v1alpha1", "kind": "Package", "metadata": {"name": PACKAGE}, "spec": {}})
    });
    let mut is_fine = true;
    let mut added = Vec::new();
    let variant = variant(old, &mut after, &mut added, report);
    let defaults = platform::defaults(&variant, target);
    let mut values = match values_in(&mut after, COMPONENT) {
        Some(values) => std::mem::take(values),
        None => {
            let text = format!(
                "has something else than a map on the way to {AT}: nothing is planned for it; put it right"
            );
            report.add(Weight::Decision, package_reference(PACKAGE), AT, &text);
            return Outcome {
                change: None,
                emitted: platform::emitted(&defaults, target),
            };
        }
    };
    for absent in &all.absent {
        if !matches!(find(&values, &absent.path), Found::Nothing) {
            continue;
        }
        is_fine &= !absent.is_needed;
        report.key(Weight::Decision, super::COZYSTACK, absent.key, &absent.text);
    }
    for wanted in &all.values {
        lay(wanted, &defaults, &mut values, &mut added, report);
    }
    let values = Value::Object(values);
    is_fine &= check(&variant, &values, packages, all, target, report);
    let emitted = platform::emitted(&platform::merged(&variant, &values, target), target);
    let is_empty = values.as_object().is_some_and(Map::is_empty);
    if let (Some(room), Value::Object(values)) = (values_in(&mut after, COMPONENT), values) {
        *room = values;
    }
    if is_empty && live.is_none() {
        let spec = after.get_mut("spec").and_then(Value::as_object_mut);
        spec.and_then(|spec| spec.remove("components"));
    }
    let change = (is_fine && !added.is_empty()).then(|| Change {
        step: Step::Configuration,
        before: live.cloned(),
        after,
        why: match live {
            None => {
                "the ConfigMaps of the old platform become the Package of the new one".to_owned()
            }
            Some(_) => format!(
                "the ConfigMaps say what the Package does not say yet: {}",
                named(&added)
            ),
        },
    });
    Outcome { change, emitted }
}

/// The variant that the Package has, or gets.
fn variant(
    old: &Old<'_>,
    after: &mut Value,
    added: &mut Vec<String>,
    report: &mut Report,
) -> String {
    let wanted = old.bundle.variant();
    let spec = after.get("spec").unwrap_or(&Value::Null);
    if let Some(found) = Package::of_spec(spec).given_variant() {
        if found != wanted {
            let text = format!(
                "means variant {wanted:?}, and spec.variant of Package {PACKAGE} is {}: that stays; put right which of \
                 the two is wrong",
                shown_text(found)
            );
            report.key(Weight::Decision, super::COZYSTACK, "bundle-name", &text);
        }
        return found.to_owned();
    }
    let object = after.as_object_mut();
    if let Some(spec) = object.and_then(|object| super::map_in(object, "spec")) {
        spec.insert("variant".to_owned(), wanted.into());
        added.push("spec.variant".to_owned());
    }
    wanted.to_owned()
}

/// What stands at a path.
enum Found<'v> {
    Nothing,
    /// There, or where the map should be in which it would be.
    This(&'v Value),
}

fn find<'v>(values: &'v Map<String, Value>, path: &[String]) -> Found<'v> {
    let mut names = path.iter();
    let mut here = names.next().and_then(|name| values.get(name));
    for name in names {
        match here {
            Some(Value::Object(map)) => here = map.get(name),
            _ => break,
        }
    }
    here.map_or(Found::Nothing, Found::This)
}

fn lay(
    wanted: &Wanted,
    defaults: &Map<String, Value>,
    values: &mut Map<String, Value>,
    added: &mut Vec<String>,
    report: &mut Report,
) {
    if let Found::This(found) = find(values, &wanted.path) {
        if wanted.kind == Kind::Said && !is_same(found, &wanted.value) {
            let text = format!(
                "means {} at {AT}.{} of Package {PACKAGE}, and {} is there: that stays; put right which of the two is \
                 wrong",
                shown(&wanted.value),
                super::cut(&wanted.path.join(".")),
                shown(found)
            );
            report.key(
                Weight::Decision,
                wanted.origin.map,
                &wanted.origin.key,
                &text,
            );
        }
        return;
    }
    if let Found::This(default) = find(defaults, &wanted.path)
        && is_same(default, &wanted.value)
    {
        return;
    }
    if put(values, &wanted.path, &wanted.value).is_some() {
        added.push(format!("{AT}.{}", super::cut(&wanted.path.join("."))));
    }
}

fn put(values: &mut Map<String, Value>, path: &[String], value: &Value) -> Option<()> {
    let (last, sections) = path.split_last()?;
    let mut here = values;
    for section in sections {
        here = super::map_in(here, section)?;
    }
    here.insert(last.clone(), value.clone());
    Some(())
}

/// Whether the platform takes the values.
fn check(
    variant: &str,
    values: &Value,
    packages: &Packages<'_>,
    all: &All,
    target: Version,
    report: &mut Report,
) -> bool {
    let subject = Subject {
        variant,
        values,
        version: target,
        is_installed: &|name| packages.is_installed(name),
    };
    let mut verdict = Verdict::default();
    platform::check(&subject, &Path::ROOT, &mut verdict);
    for violation in &verdict.violations {
        refuse(violation, values, all, report);
    }
    for warning in verdict.warnings.iter().take(WARNINGS_MAX) {
        let text = format!("{AT}.{warning}");
        report.add(Weight::Note, package_reference(PACKAGE), "", &text);
    }
    let more = verdict.warnings.len().saturating_sub(WARNINGS_MAX);
    if more > 0 {
        let text = format!("{AT}: {more} more warnings are left out");
        report.add(Weight::Note, package_reference(PACKAGE), "", &text);
    }
    verdict.violations.is_empty()
}

/// Says of the key from which a wrong value comes what is wrong with it.
fn refuse(violation: &Violation, values: &Value, all: &All, report: &mut Report) {
    let field = violation.field.to_string();
    let is_at = |path: &[String]| {
        let rest = field.strip_prefix(&path.join("."));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
    };
    // A value that is there and differs is the Package's own.
    let is_of = |wanted: &&Wanted| {
        let found = values.as_object().map(|values| find(values, &wanted.path));
        is_at(&wanted.path)
            && match found {
                Some(Found::This(found)) => is_same(found, &wanted.value),
                _ => true,
            }
    };
    let found = violation.found.as_ref();
    let found = found.map_or_else(String::new, |found| format!(" ({})", shown(found)));
    let detail: String = violation.detail.chars().take(DETAIL_MAX_CHARS).collect();
    let place = super::cut(&field);
    let absent = all.absent.iter().find(|absent| is_at(&absent.path));
    let wanted = all.values.iter().find(is_of);
    let origin = wanted.map(|wanted| (wanted.origin.map, wanted.origin.key.as_str()));
    match origin.or(absent.map(|absent| (super::COZYSTACK, absent.key))) {
        Some((map, key)) => {
            let text = format!(
                "is wrong as {AT}.{place}{found}: {detail}; the Package of the platform is not written before that is \
                 put right"
            );
            report.key(Weight::Decision, map, key, &text);
        }
        None => {
            let text = format!(
                "is wrong{found}: {detail}; nothing is planned for the Package before that is put right"
            );
            let about = package_reference(PACKAGE);
            report.add(Weight::Decision, about, &format!("{AT}.{place}"), &text);
        }
    }
}
