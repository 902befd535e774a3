//! What an upgrade from v0.38/v0.39 to the package-based platform changes, for the operators who carry a cluster over:
//! the objects of the cluster in, what would be written and what must be decided out. Nothing is read or written here.
//!
//! ```text
//! Snapshot --configuration--> Package of the platform, values of components
//!          --releases-------> labels of tenants' HelmReleases, renamed releases
//!          --upstream-------> what upstream's own migrations will do
//!                             = Plan: changes, findings
//! ```

pub mod configuration;
pub mod releases;
pub mod upstream;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where the platform lives.
pub const SYSTEM_NAMESPACE: &str = "cozy-system";

/// An object by its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// `apiVersion`
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Reference {
    /// That of an object; what it lacks is empty.
    #[must_use]
    pub fn to(object: &Value) -> Reference {
        let text = |pointer: &str| {
            let found = object.pointer(pointer).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        Reference {
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
        }
    }

    /// Its API group; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version
            .rsplit_once('/')
            .map_or("", |(group, _)| group)
    }
}

/// The objects of a cluster that matter, whole, by group, kind, namespace and name.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Whoever takes a copy shares what he does not change.
    by_kind: BTreeMap<(String, String), Arc<ByName>>,
}

type ByName = BTreeMap<(String, String), Value>;

impl Snapshot {
    /// Adds or replaces an object.
    pub fn put(&mut self, object: Value) {
        let place = Reference::to(&object);
        let kind = self
            .by_kind
            .entry((place.group().to_owned(), place.kind.clone()))
            .or_default();
        Arc::make_mut(kind).insert((place.namespace, place.name), object);
    }

    /// The object of that group, kind, namespace and name.
    #[must_use]
    pub fn get(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        let kind = self.by_kind.get(&(group.to_owned(), kind.to_owned()))?;
        kind.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// All objects of a group and kind, in order of namespace and name.
    pub fn all(&self, group: &str, kind: &str) -> impl Iterator<Item = &Value> {
        let kind = self.by_kind.get(&(group.to_owned(), kind.to_owned()));
        kind.into_iter().flat_map(|kind| kind.values())
    }

    /// Takes an object out.
    pub fn remove(&mut self, group: &str, kind: &str, namespace: &str, name: &str) {
        if let Some(kind) = self.by_kind.get_mut(&(group.to_owned(), kind.to_owned())) {
            Arc::make_mut(kind).remove(&(namespace.to_owned(), name.to_owned()));
        }
    }

    /// `data` of a ConfigMap of the platform.
    #[must_use]
    pub fn config(&self, name: &str) -> Option<&Map<String, Value>> {
        let config = self.get("", "ConfigMap", SYSTEM_NAMESPACE, name)?;
        config.get("data")?.as_object()
    }
}

/// The steps of a migration, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// What the configuration was is recorded, before anybody overwrites it.
    Record,
    /// The legacy CRD is kept from its release, and both CRDs are made to convert.
    Crds,
    /// Legacy definitions become ApplicationDefinitions.
    Definitions,
    /// HelmReleases of tenants are labelled.
    Releases,
    /// Releases that have another name now are suspended.
    Renamed,
    /// The ConfigMaps become the Package of the platform.
    Configuration,
    /// Values of components are written into the Packages that have them.
    Values,
    /// The platform's version is noted.
    Stamp,
}

/// One object that would be written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The step that it is part of.
    pub step: Step,
    /// The object as it is; none when it would be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The object as it would be.
    pub after: Value,
    /// Why: a sentence without a dot.
    pub why: String,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Somebody must decide: what is said here does not happen by itself, or something would be lost.
    Decision,
    /// It cannot be done yet; a later run does it.
    Pending,
    /// Good to know.
    Note,
}

/// Something that the reader of a plan must or should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// The object that it is about.
    pub about: Reference,
    /// The field or key in it; empty when it is about the whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// A sentence without a dot: what was found, what happens, what would be right.
    pub text: String,
}

/// What would be done, and what must be known.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Plan {
    /// What would be written, in this order.
    pub changes: Vec<Change>,
    /// What must be known.
    pub findings: Vec<Finding>,
}

impl Plan {
    /// Both plans, one after the other.
    pub fn extend(&mut self, other: Plan) {
        self.changes.extend(other.changes);
        self.findings.extend(other.findings);
    }
}
