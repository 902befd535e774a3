//! Circles of dependencies: of components within a variant, and of Packages across sources.

use crate::contract::{Deadline, Fault, Path, Request, Verdict, Violation};
use crate::kinds::{PACKAGE_SOURCES, PACKAGES};
use crate::packages::{Package, Source, Variant};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// How many sources are looked at behind one. A platform has about a hundred.
const FOLLOWED_SOURCES_MAX: usize = 1_000;

/// The cycles of a graph, by the edge that is to blame: the one that leaves the first name of the alphabet, so that the
/// order of lists does not matter. The way is the whole circle, the shortest of that edge.
pub fn within<'a>(
    edges: &BTreeMap<&'a str, Vec<&'a str>>,
    deadline: Deadline,
) -> Result<HashMap<(&'a str, &'a str), Vec<&'a str>>, Fault> {
    let edges = in_circles(edges);
    let mut cycles = HashMap::new();
    for (from, to) in &edges {
        for to in to {
            if let Some(mut way) = way(&edges, to, from, from, deadline)? {
                way.insert(0, from);
                cycles.insert((*from, *to), way);
            }
        }
    }
    Ok(cycles)
}

/// The graph without what leads nowhere: empty when there is no cycle.
fn in_circles<'a>(edges: &BTreeMap<&'a str, Vec<&'a str>>) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut left: BTreeMap<&str, BTreeSet<&str>> = edges
        .iter()
        .map(|(from, to)| {
            let known = to.iter().copied().filter(|to| edges.contains_key(to));
            (*from, known.collect())
        })
        .collect();
    let mut before: HashMap<&str, Vec<&str>> = HashMap::new();
    for (from, to) in &left {
        for to in to {
            before.entry(to).or_default().push(from);
        }
    }
    let mut ends: Vec<&str> = left
        .iter()
        .filter(|(_, to)| to.is_empty())
        .map(|(from, _)| *from)
        .collect();
    while let Some(end) = ends.pop() {
        left.remove(end);
        for from in before.get(end).into_iter().flatten() {
            if let Some(to) = left.get_mut(from) {
                to.remove(end);
                if to.is_empty() {
                    ends.push(from);
                }
            }
        }
    }
    left
}

/// The shortest way between two names, both included, by names that do not come before `first`.
fn way<'a>(
    edges: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    from: &'a str,
    to: &'a str,
    first: &str,
    deadline: Deadline,
) -> Result<Option<Vec<&'a str>>, Fault> {
    let mut came_from: HashMap<&str, &str> = HashMap::new();
    let mut queue: VecDeque<&str> = [from].into_iter().filter(|from| *from >= first).collect();
    while let Some(here) = queue.pop_front() {
        deadline.check()?;
        if here == to {
            let mut way = vec![here];
            let mut here = here;
            while here != from
                && let Some(previous) = came_from.get(here)
            {
                here = previous;
                way.push(here);
            }
            way.reverse();
            return Ok(Some(way));
        }
        let nexts = edges.get(here).into_iter().flatten();
        for next in nexts.filter(|next| **next >= first) {
            if *next != from && !came_from.contains_key(next) {
                came_from.insert(next, here);
                queue.push_back(next);
            }
        }
    }
    Ok(None)
}

/// What a Package waits for, as far as it is known.
#[derive(Default)]
struct Waits {
    /// By the variant that is chosen, or by every variant.
    certain: BTreeSet<String>,
    /// By some variant while none is chosen.
    possible: BTreeSet<String>,
}

fn waits(name: &str, request: &Request<'_>) -> Option<Waits> {
    let source = request.cluster.get(&PACKAGE_SOURCES, "", name)?;
    let source = Source::of(&source);
    let mut waits = Waits::default();
    if let Some(package) = request.cluster.get(&PACKAGES, "", name) {
        let package = Package::of(&package);
        waits.certain = source
            .variant(package.variant())
            .into_iter()
            .flat_map(Variant::depends_on)
            .filter(|dependency| !package.ignores(dependency))
            .map(ToOwned::to_owned)
            .collect();
        return Some(waits);
    }
    let mut is_first = true;
    for variant in source.variants() {
        let of_variant: BTreeSet<String> = variant.depends_on().map(ToOwned::to_owned).collect();
        if is_first {
            waits.certain.clone_from(&of_variant);
            is_first = false;
        } else {
            waits.certain.retain(|name| of_variant.contains(name));
        }
        waits.possible.extend(of_variant);
    }
    Some(waits)
}

/// Refuses dependencies that come back to this source whatever variants are chosen; warns of those that do for some, and
/// of those that have no source.
pub fn check(
    name: &str,
    source: Source<'_>,
    request: &Request<'_>,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let mut missing = BTreeSet::new();
    let mut known: BTreeMap<String, Waits> = BTreeMap::new();
    let direct: BTreeSet<&str> = source.variants().flat_map(Variant::depends_on).collect();
    let mut queue: VecDeque<String> = direct.iter().map(|name| (*name).to_owned()).collect();
    while let Some(next) = queue.pop_front() {
        request.deadline.check()?;
        if next == name || known.contains_key(&next) {
            continue;
        }
        if known.len() == FOLLOWED_SOURCES_MAX {
            verdict.warn(format!(
                "cycles are looked for in {FOLLOWED_SOURCES_MAX} sources only"
            ));
            break;
        }
        let Some(waits) = waits(&next, request) else {
            missing.insert(next);
            continue;
        };
        queue.extend(waits.certain.iter().chain(&waits.possible).cloned());
        known.insert(next, waits);
    }
    let graph = |is_possible: bool| -> BTreeMap<&str, BTreeSet<&str>> {
        known
            .iter()
            .map(|(from, waits)| {
                let possible = waits.possible.iter().filter(|_| is_possible);
                let to = waits.certain.iter().chain(possible);
                (from.as_str(), to.map(String::as_str).collect())
            })
            .collect()
    };
    let (certain, possible) = (graph(false), graph(true));
    let package = request.cluster.get(&PACKAGES, "", name);
    let spec = Path::ROOT.member("spec");
    let variants = spec.member("variants");
    for (index, variant) in source.variants().enumerate() {
        let path = variants.index(index);
        let path = path.member("dependsOn");
        for (index, dependency) in variant.depends_on().enumerate() {
            let path = path.index(index);
            if missing.contains(dependency) {
                verdict.warn(format!(
                    "{}: there is no PackageSource {dependency} yet",
                    path.to_field()
                ));
                continue;
            }
            let is_ignored = package
                .as_ref()
                .is_some_and(|package| Package::of(package).ignores(dependency));
            if let Some(circle) = way(&certain, dependency, name, "", request.deadline)?
                && !is_ignored
            {
                verdict.refuse(Violation::invalid(
                    &path,
                    dependency,
                    format!(
                        "makes a cycle, in which none ever becomes ready: {name} -> {}",
                        circle.join(" -> ")
                    ),
                ));
            } else if let Some(circle) = way(&possible, dependency, name, "", request.deadline)? {
                verdict.warn(format!(
                    "{}: may make a cycle: {name} -> {}",
                    path.to_field(),
                    circle.join(" -> ")
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn cycles(edges: &[(&'static str, &[&'static str])]) -> Vec<String> {
        let edges = edges
            .iter()
            .map(|(from, to)| (*from, to.to_vec()))
            .collect();
        let deadline = Deadline::after(Duration::from_mins(1));
        let mut found: Vec<String> = within(&edges, deadline)
            .unwrap()
            .into_values()
            .map(|way| way.join(" "))
            .collect();
        found.sort();
        found
    }

    #[test]
    fn every_cycle_is_found_once_wherever_it_starts() {
        assert!(cycles(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[]), ("d", &["x"])]).is_empty());
        assert_eq!(cycles(&[("b", &["a"]), ("a", &["b"])]), ["a b a"]);
        assert_eq!(
            cycles(&[
                ("a", &["c"]),
                ("c", &["b"]),
                ("b", &["a", "d"]),
                ("d", &["e"]),
                ("e", &["d"]),
                ("f", &["a"])
            ]),
            ["a c b a", "d e d"]
        );
        assert_eq!(
            cycles(&[("a", &["b", "c"]), ("b", &["a"]), ("c", &["a"])]),
            ["a b a", "a c a"]
        );
        assert_eq!(
            cycles(&[("a", &["b"]), ("b", &["a", "c"]), ("c", &["b"])]),
            ["a b a", "b c b"]
        );
    }

    #[test]
    fn a_long_chain_is_no_cycle_and_costs_little() {
        let names: Vec<String> = (0..20_000).map(|number| format!("c{number:05}")).collect();
        let edges: BTreeMap<&str, Vec<&str>> = names
            .windows(2)
            .map(|pair| (pair[0].as_str(), vec![pair[1].as_str()]))
            .collect();
        let deadline = Deadline::after(Duration::from_secs(5));
        assert!(within(&edges, deadline).unwrap().is_empty());
    }
}
