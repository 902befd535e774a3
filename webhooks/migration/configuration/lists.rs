//! The releases that were enabled and disabled by name, as Packages.

use super::keys::{Kind, Wanted, list};
use super::legacy::{Packages, Place, is_optional, nearest_release};
use super::{COZYSTACK, Old, Origin, Report, named, shown_text};
use crate::migration::Weight;
use crate::platform::is_known_package;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const ENABLE: &str = "bundle-enable";
const DISABLE: &str = "bundle-disable";

/// The Packages that the lists name, in their order.
pub(super) struct Lists {
    enabled: Vec<String>,
    disabled: Vec<String>,
}

/// Reads both lists.
pub(super) fn read(old: &Old<'_>, packages: &Packages<'_>, report: &mut Report) -> Lists {
    let mut disabled: Vec<String> = Vec::new();
    let names = list(old, DISABLE, report);
    for name in &names {
        let Some(package) = package_of(name, DISABLE, packages, report) else {
            continue;
        };
        if packages.components(package).len() > 1 {
            report_finer_tool(name, package, &names, packages, report);
        } else if !disabled.iter().any(|known| known == package) {
            disabled.push(package.to_owned());
        }
    }
    let mut enabled: Vec<String> = Vec::new();
    for name in list(old, ENABLE, report) {
        let Some(package) = package_of(name, ENABLE, packages, report) else {
            continue;
        };
        if disabled.iter().any(|known| known == package) {
            let text = format!("names {name}, which {DISABLE} names too: that counts, as it did");
            report.key(Weight::Note, COZYSTACK, ENABLE, &text);
        } else if !is_optional(name, old.bundle) {
            let text = format!(
                "names {}, which was no optional release of the old bundle, so that had no effect: it is left out",
                shown_text(name)
            );
            report.key(Weight::Note, COZYSTACK, ENABLE, &text);
        } else if !enabled.iter().any(|known| known == package) {
            enabled.push(package.to_owned());
        }
    }
    Lists { enabled, disabled }
}

fn package_of<'a>(
    name: &str,
    key: &str,
    packages: &Packages<'a>,
    report: &mut Report,
) -> Option<&'a str> {
    let (weight, text) = match packages.place(name) {
        Place::In(package) if is_known_package(package) => return Some(package),
        Place::In(package) => (
            Weight::Decision,
            format!(
                "names {name}, which Package {package} installs, and the platform does not bring that: it is left out"
            ),
        ),
        Place::Gone => (
            Weight::Note,
            format!("names {name}, which no Package installs any more: it is left out"),
        ),
        Place::Several(found) => (
            Weight::Decision,
            format!(
                "names {}, which several Packages install ({}): it is left out; write the one that is meant into \
                 bundles.{} of the platform's values",
                shown_text(name),
                named(found),
                if key == ENABLE {
                    "enabledPackages"
                } else {
                    "disabledPackages"
                }
            ),
        ),
        Place::Unknown => {
            let hint = nearest_release(name)
                .map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"));
            (
                Weight::Decision,
                format!(
                    "names {}, which is no release and no component of a Package: it is left out{hint}",
                    shown_text(name)
                ),
            )
        }
    };
    report.key(weight, COZYSTACK, key, &text);
    None
}

/// The old platform could leave one release out; `disabledPackages` would take its whole Package away.
fn report_finer_tool(
    name: &str,
    package: &str,
    disabled: &[&str],
    packages: &Packages<'_>,
    report: &mut Report,
) {
    let components = packages.components(package);
    let live = packages.live(package);
    let components_of = live.and_then(|live| live.get("spec")?.get("components"));
    let component = components_of.and_then(|components| components.get(name));
    if component.and_then(|component| component.get("enabled")) == Some(&Value::Bool(false)) {
        let text =
            format!("names {name}, and Package {package} has it disabled: nothing is left to do");
        report.key(Weight::Note, COZYSTACK, DISABLE, &text);
        return;
    }
    let others = components.iter().filter(|other| **other != name);
    let mut text = format!(
        "names {name}, which is one of the components of Package {package}: disabling that would take {} away too, so \
         it is not done; set spec.components.{name}.enabled: false on that Package once the platform has made it",
        named(others)
    );
    let waiting = packages.waiting(package, name);
    let waiting: BTreeSet<&str> = waiting
        .into_iter()
        .filter(|other| !disabled.contains(other))
        .collect();
    if !waiting.is_empty() {
        text.push_str(&format!(
            "; mind that these components wait for it even while it is disabled: {}",
            named(waiting)
        ));
    }
    report.key(Weight::Decision, COZYSTACK, DISABLE, &text);
}

impl Lists {
    /// What the platform's values should say of them.
    pub(super) fn wanted(&self) -> impl Iterator<Item = Wanted> {
        let lists = [
            ("disabledPackages", &self.disabled, DISABLE),
            ("enabledPackages", &self.enabled, ENABLE),
        ];
        let lists = lists
            .into_iter()
            .filter(|(_, packages, _)| !packages.is_empty());
        lists.map(|(name, packages, key)| Wanted {
            path: vec!["bundles".to_owned(), name.to_owned()],
            value: packages.clone().into(),
            origin: Origin::of(COZYSTACK, key),
            kind: Kind::Said,
        })
    }

    /// The old platform dropped what was disabled from what others wait for; now they go on waiting.
    pub(super) fn report_dependents(
        &self,
        packages: &Packages<'_>,
        emitted: &BTreeMap<&'static str, &'static str>,
        report: &mut Report,
    ) {
        if self.disabled.is_empty() {
            return;
        }
        let mut variants: BTreeMap<&str, &str> = BTreeMap::new();
        variants.extend(emitted.iter().map(|(name, variant)| (*name, *variant)));
        for name in packages.all_live() {
            if let Some(variant) = packages.live_variant(name) {
                variants.insert(name, variant);
            }
        }
        let edges: Vec<(&str, BTreeSet<String>)> = variants
            .into_iter()
            .filter(|(name, _)| !self.disabled.iter().any(|disabled| disabled == name))
            .map(|(name, variant)| (name, packages.dependencies(name, variant)))
            .collect();
        for disabled in &self.disabled {
            let waiting_for = |missing: &BTreeSet<&str>| -> BTreeSet<&str> {
                let needs_one = |needs: &BTreeSet<String>| {
                    needs.iter().any(|need| missing.contains(need.as_str()))
                };
                let waiting = edges
                    .iter()
                    .filter(|(name, needs)| !missing.contains(name) && needs_one(needs));
                waiting.map(|(name, _)| *name).collect()
            };
            let mut missing = BTreeSet::from([disabled.as_str()]);
            let direct = waiting_for(&missing);
            if direct.is_empty() {
                continue;
            }
            let mut indirect = BTreeSet::new();
            let mut next = direct.clone();
            while !next.is_empty() {
                missing.extend(next.iter().copied());
                next = waiting_for(&missing);
                indirect.extend(next.iter().copied());
            }
            let mut text = format!(
                "disables Package {disabled}, which these need: {}; each stays DependenciesNotReady until its \
                 spec.ignoreDependencies names {disabled}",
                named(&direct)
            );
            if !indirect.is_empty() {
                text.push_str(&format!(
                    "; so do these, which need those: {}",
                    named(&indirect)
                ));
            }
            report.key(Weight::Decision, COZYSTACK, DISABLE, &text);
        }
    }
}
