//! Which application a HelmRelease is, by the definitions of the cluster, old and new.
//!
//! ```text
//! release with spec.chart ----> chart, repository, prefix     as v0.39's own API does
//! release without ------------> longest prefix, and its artifact where it names one
//!                                = one kind and name, or why not
//! ```

use super::super::{Finding, Reference, Snapshot, Weight};
use super::text;
use crate::application_definition::RESOURCE as DEFINITION;
use crate::cozystack_resource_definition::RESOURCE as LEGACY_DEFINITION;
use crate::cozystack_resource_definition::bridge::{artifact_in, package_of};
use crate::cozystack_resource_definition::catalogue::{
    ARTIFACT_NAMESPACE, EXTERNAL_ARTIFACT, HELM_REPOSITORY, LEGACY_NAMESPACE, Repository,
    artifact_name,
};
use crate::cozystack_resource_definition::conversion::{
    CONVERSION, STASH_ANNOTATION, known_chart, source_of,
};
use crate::kinds::{HELM_CHARTS, PACKAGE_SOURCES};
use crate::packages::Source;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The form of legacy definitions that names a chart reference.
const NEW_FORM: &str = "cozystack.io/v1alpha2";

/// A chart of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Chart {
    name: String,
    source_kind: String,
    source_name: String,
    source_namespace: String,
}

impl Chart {
    /// That of a legacy `spec.release.chart`.
    fn of(chart: &Value) -> Option<Chart> {
        let (kind, name, namespace) = source_of(chart)?;
        Some(Chart {
            name: chart.get("name")?.as_str()?.to_owned(),
            source_kind: kind.to_owned(),
            source_name: name.to_owned(),
            source_namespace: namespace.to_owned(),
        })
    }

    /// That of a HelmRelease's `spec.chart`. v0.39's API passes over a release that leaves one of the four out.
    pub fn of_release(release: &Value) -> Option<Chart> {
        let member = |pointer| text(release, pointer).map(ToOwned::to_owned);
        Some(Chart {
            name: member("/spec/chart/spec/chart")?,
            source_kind: member("/spec/chart/spec/sourceRef/kind")?,
            source_name: member("/spec/chart/spec/sourceRef/name")?,
            source_namespace: member("/spec/chart/spec/sourceRef/namespace")?,
        })
    }

    /// The repository, when it is one of the two that packages replace.
    pub fn repository(&self) -> Option<Repository> {
        let chart = json!({
            "name": self.name,
            "sourceRef": {"kind": self.source_kind, "name": self.source_name, "namespace": self.source_namespace},
        });
        known_chart(&chart).map(|(_, repository)| repository)
    }

    /// The artifact into which it was packed, when it is of such a repository.
    pub fn artifact(&self, snapshot: &Snapshot) -> Option<String> {
        let repository = self.repository()?;
        let kind = &PACKAGE_SOURCES.resource;
        let source = snapshot.get(kind.group, kind.kind, "", &package_of(&self.name));
        Some(artifact_in(source, &self.name, repository))
    }
}

impl std::fmt::Display for Chart {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "chart {} of {} {}/{}",
            self.name, self.source_kind, self.source_namespace, self.source_name
        )
    }
}

/// Kind, namespace and name of what a chartRef names.
type Place = (String, String, String);

fn place_of(reference: &Value, default_namespace: &str) -> Option<Place> {
    let member = |name| reference.get(name).and_then(Value::as_str);
    Some((
        member("kind")?.to_owned(),
        member("namespace").unwrap_or(default_namespace).to_owned(),
        member("name")?.to_owned(),
    ))
}

/// What one definition says of its releases.
struct Entry {
    kind: String,
    prefix: String,
    /// What its releases may have as chartRef.
    references: BTreeSet<Place>,
}

/// Which application a release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// What the apps API calls it.
    pub name: &'a str,
}

/// The definitions of a cluster, by what their releases have in common.
#[derive(Default)]
pub struct Definitions {
    entries: Vec<Entry>,
    by_kind: HashMap<String, Vec<usize>>,
    by_chart: HashMap<Chart, Vec<usize>>,
    by_prefix: HashMap<String, Vec<usize>>,
    /// Those without a prefix.
    by_singular: HashMap<String, Vec<usize>>,
}

impl Definitions {
    /// Those of the snapshot. Says which cannot be read.
    pub fn of(snapshot: &Snapshot, findings: &mut Vec<Finding>) -> Definitions {
        let artifacts = artifacts(snapshot);
        let mut definitions = Definitions::default();
        for kind in [&LEGACY_DEFINITION, &DEFINITION] {
            for object in snapshot.all(kind.group, kind.kind) {
                if let Err(why) = definitions.add(object, snapshot, &artifacts) {
                    findings.push(Finding {
                        weight: Weight::Note,
                        about: Reference::to(object),
                        field: String::new(),
                        text: format!("{why}: no release is recognised by this definition"),
                    });
                }
            }
        }
        definitions
    }

    fn add(
        &mut self,
        object: &Value,
        snapshot: &Snapshot,
        artifacts: &HashMap<String, Chart>,
    ) -> Result<(), String> {
        let needed = |pointer: &str| {
            text(object, pointer)
                .filter(|found| !found.is_empty())
                .ok_or_else(|| {
                    format!(
                        "{} is not set",
                        pointer.trim_start_matches('/').replace('/', ".")
                    )
                })
        };
        let kind = needed("/spec/application/kind")?.to_owned();
        let singular = text(object, "/spec/application/singular").unwrap_or_default();
        // The schema of both CRDs demands it, be it empty.
        let prefix = text(object, "/spec/release/prefix")
            .ok_or("spec.release.prefix is not set")?
            .to_owned();

        let (legacy, new) = both_forms(object)?;
        let reference = new.get("chartRef");
        let mut references: BTreeSet<Place> = reference
            .and_then(|reference| place_of(reference, ""))
            .into_iter()
            .collect();
        // What the object itself remembers of its legacy form is exact; the cluster's word is the next best.
        let remembers = object.pointer("/spec/release/chart").is_some() || stash(object).is_some();
        let chart = reference
            .filter(|_| !remembers)
            .and_then(|reference| chart_behind(reference, snapshot, artifacts))
            .or_else(|| legacy.get("chart").and_then(Chart::of));
        if let Some(artifact) = chart.as_ref().and_then(|chart| chart.artifact(snapshot)) {
            references.insert((
                EXTERNAL_ARTIFACT.to_owned(),
                ARTIFACT_NAMESPACE.to_owned(),
                artifact,
            ));
        }

        let position = self.entries.len();
        self.by_kind.entry(kind.clone()).or_default().push(position);
        if let Some(chart) = chart {
            self.by_chart.entry(chart).or_default().push(position);
        }
        if prefix.is_empty() {
            self.by_singular
                .entry(singular.to_owned())
                .or_default()
                .push(position);
        } else {
            self.by_prefix
                .entry(prefix.clone())
                .or_default()
                .push(position);
        }
        self.entries.push(Entry {
            kind,
            prefix,
            references,
        });
        Ok(())
    }

    /// Which application the release is; why it cannot be told otherwise.
    pub fn identify<'a>(&'a self, release: &'a Value) -> Result<Identity<'a>, String> {
        let name = text(release, "/metadata/name").unwrap_or_default();
        let (mut found, unknown) = match release.pointer("/spec/chart") {
            None | Some(Value::Null) => self.by_name(release, name),
            Some(_) => {
                let chart = Chart::of_release(release).ok_or(
                    "spec.chart does not name a chart and kind, name and namespace of its repository, so v0.39's API does not take the release for an application",
                )?;
                (
                    self.by_chart(&chart, name),
                    format!(
                        "no definition has {chart} and a prefix with which the release's name begins"
                    ),
                )
            }
        };
        found.sort_unstable();
        found.dedup();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(unknown),
            several => {
                let several: Vec<String> = several
                    .iter()
                    .map(|identity| format!("{} {}", identity.kind, identity.name))
                    .collect();
                Err(format!(
                    "by the definitions it may be {}, and nothing tells which",
                    several.join(" or ")
                ))
            }
        }
    }

    /// Whether a release of that name may be what is said of it, by its name alone.
    pub fn allow(&self, identity: Identity<'_>, release: &str) -> bool {
        self.at(self.by_kind.get(identity.kind))
            .any(|entry| entry.identity(release) == Some(identity))
    }

    fn by_chart<'a>(&'a self, chart: &Chart, name: &'a str) -> Vec<Identity<'a>> {
        let positions = self.by_chart.get(chart);
        self.at(positions)
            .filter_map(|entry| entry.identity(name))
            .collect()
    }

    /// By the longest prefix; where the release names what it is made from, only a definition whose releases may.
    fn by_name<'a>(&'a self, release: &Value, name: &'a str) -> (Vec<Identity<'a>>, String) {
        let namespace = text(release, "/metadata/namespace").unwrap_or_default();
        let reference = release
            .pointer("/spec/chartRef")
            .filter(|reference| !reference.is_null());
        let place = reference.and_then(|reference| place_of(reference, namespace));
        let is_made_so = |entry: &&Entry| match (&place, reference) {
            (Some(place), _) => entry.references.contains(place),
            (None, Some(_)) => false,
            (None, None) => true,
        };
        let named: Vec<Identity<'_>> = self
            .at(self.by_singular.get(name))
            .filter(is_made_so)
            .map(|entry| Identity {
                kind: &entry.kind,
                name,
            })
            .collect();
        let longest = name
            .char_indices()
            .rev()
            .filter_map(|(end, _)| name.get(..end))
            .map(|prefix| {
                self.at(self.by_prefix.get(prefix))
                    .filter(is_made_so)
                    .filter_map(|entry| entry.identity(name))
                    .collect::<Vec<_>>()
            })
            .find(|found| !found.is_empty());
        let unknown = match &place {
            Some((kind, namespace, artifact)) => format!(
                "no definition whose releases are made from {kind} {namespace}/{artifact} has a prefix with which the release's name begins"
            ),
            None => "it has no chart, and no definition has a prefix with which the release's name begins".to_owned(),
        };
        let found = named.into_iter().chain(longest.unwrap_or_default());
        (found.collect(), unknown)
    }

    fn at(&self, positions: Option<&Vec<usize>>) -> impl Iterator<Item = &Entry> {
        let positions = positions.map_or(&[][..], Vec::as_slice);
        positions
            .iter()
            .filter_map(|position| self.entries.get(*position))
    }
}

impl Entry {
    /// The application that a release of that name is, if the name begins with the prefix and goes on.
    fn identity<'a>(&'a self, release: &'a str) -> Option<Identity<'a>> {
        let name = release.strip_prefix(self.prefix.as_str())?;
        (!name.is_empty()).then_some(Identity {
            kind: &self.kind,
            name,
        })
    }
}

fn stash(definition: &Value) -> Option<&Value> {
    definition
        .pointer("/metadata/annotations")?
        .get(STASH_ANNOTATION)
}

/// `spec.release` of a definition in its legacy and in its new form, as far as charts go.
fn both_forms(object: &Value) -> Result<(Value, Value), String> {
    let api_version = match text(object, "/kind") {
        Some(kind) if kind == DEFINITION.kind => NEW_FORM,
        _ => text(object, "/apiVersion").unwrap_or_default(),
    };
    let mut release = Map::new();
    for member in ["chart", "chartRef"] {
        if let Some(found) = object
            .pointer("/spec/release")
            .and_then(|spec| spec.get(member))
        {
            release.insert(member.to_owned(), found.clone());
        }
    }
    let mut reduced = json!({
        "apiVersion": api_version,
        "kind": LEGACY_DEFINITION.kind,
        "metadata": {"name": text(object, "/metadata/name")},
        "spec": {"release": release},
    });
    if let (Some(stash), Some(metadata)) = (
        stash(object),
        reduced.get_mut("metadata").and_then(Value::as_object_mut),
    ) {
        metadata.insert("annotations".to_owned(), json!({ STASH_ANNOTATION: stash }));
    }
    let raw = serde_json::value::to_raw_value(&reduced).map_err(|error| error.to_string())?;
    let form = |wanted: &str| {
        let converted = CONVERSION
            .convert(&raw, wanted)
            .map_err(|error| error.to_string())?;
        let converted = serde_json::to_value(&converted).map_err(|error| error.to_string())?;
        Ok::<Value, String>(
            converted
                .pointer("/spec/release")
                .cloned()
                .unwrap_or_default(),
        )
    };
    Ok((form(&LEGACY_DEFINITION.api_version())?, form(NEW_FORM)?))
}

/// The chart behind a chartRef, where the cluster itself says: its package sources know the artifact's repository, and
/// the HelmChart that the bridge made knows the one that no package replaces.
fn chart_behind(
    reference: &Value,
    snapshot: &Snapshot,
    artifacts: &HashMap<String, Chart>,
) -> Option<Chart> {
    let (kind, namespace, name) = place_of(reference, "")?;
    if kind == EXTERNAL_ARTIFACT && namespace == ARTIFACT_NAMESPACE {
        return artifacts.get(&name).cloned();
    }
    let helm_chart = &HELM_CHARTS.resource;
    if kind != helm_chart.kind {
        return None;
    }
    let chart = snapshot.get(helm_chart.group, helm_chart.kind, &namespace, &name)?;
    Some(Chart {
        name: text(chart, "/spec/chart")?.to_owned(),
        source_kind: text(chart, "/spec/sourceRef/kind")?.to_owned(),
        source_name: text(chart, "/spec/sourceRef/name")?.to_owned(),
        source_namespace: namespace,
    })
}

/// The charts of the two known repositories by the artifact into which the cluster's package sources pack them. An
/// artifact that two components claim says nothing.
fn artifacts(snapshot: &Snapshot) -> HashMap<String, Chart> {
    let kind = &PACKAGE_SOURCES.resource;
    let mut found: BTreeMap<String, Vec<Chart>> = BTreeMap::new();
    for object in snapshot.all(kind.group, kind.kind) {
        let package = text(object, "/metadata/name").unwrap_or_default();
        for variant in Source(object.get("spec").unwrap_or(&Value::Null)).variants() {
            for component in variant.components() {
                let repository = [Repository::Apps, Repository::Extra]
                    .into_iter()
                    .find(|repository| component.path().starts_with(repository.folder()));
                if let (Some(repository), None) = (repository, component.install()) {
                    let artifact = artifact_name(package, variant.name(), component.name());
                    found.entry(artifact).or_default().push(Chart {
                        name: component.name().to_owned(),
                        source_kind: HELM_REPOSITORY.to_owned(),
                        source_name: repository.name().to_owned(),
                        source_namespace: LEGACY_NAMESPACE.to_owned(),
                    });
                }
            }
        }
    }
    found
        .into_iter()
        .filter_map(|(artifact, mut charts)| {
            charts.dedup();
            (charts.len() == 1).then(|| charts.pop().map(|chart| (artifact, chart)))?
        })
        .collect()
}
