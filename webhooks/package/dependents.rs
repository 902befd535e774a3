//! Which Packages wait for a Package, directly or not.

use crate::contract::{Fault, Request};
use crate::kinds::{PACKAGE_SOURCES, PACKAGE_SOURCES_BY_DEPENDENCY, PACKAGES};
use crate::packages::{Package, Source};
use std::collections::{BTreeSet, VecDeque};

/// How many sources of one dependency are looked at. A platform has about a hundred in all.
const SOURCES_MAX: usize = 1_000;

/// The Packages that depend on any of `names`, without these, nearest first. Dependencies stand in the sources, and
/// which variant of them counts in the Packages.
pub fn of(names: &[&str], request: &Request<'_>) -> Result<Vec<String>, Fault> {
    let mut seen: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut queue: VecDeque<String> = seen.iter().cloned().collect();
    let mut dependents = Vec::new();
    while let Some(name) = queue.pop_front() {
        request.deadline.check()?;
        let found = request.cluster.find(
            &PACKAGE_SOURCES,
            &PACKAGE_SOURCES_BY_DEPENDENCY,
            &name,
            SOURCES_MAX,
        );
        for source in found.first {
            if seen.contains(&source.name) {
                continue;
            }
            let Some(package) = request.cluster.get(&PACKAGES, "", &source.name) else {
                continue;
            };
            let package = Package::of(&package);
            let depends = Source::of(&source)
                .variant(package.variant())
                .is_some_and(|variant| variant.depends_on().any(|dependency| dependency == name))
                && !package.ignores(&name);
            if depends {
                seen.insert(source.name.clone());
                queue.push_back(source.name.clone());
                dependents.push(source.name.clone());
            }
        }
    }
    Ok(dependents)
}
