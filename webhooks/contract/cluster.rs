//! What rules may know of the cluster: a read-only snapshot, looked up by name and by declared index.

use super::companions::FIELD_MANAGER;
use super::declaration::Resource;
use super::packed;
use crate::charts::{Component, OwnSchema};
use crate::policy::Policies;
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What kubectl keeps of the manifest that it has applied.
const LAST_APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How much of each object of a kind is kept, and how. A built object takes five times the memory of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// `metadata` alone, as text: [`Object::text`] takes it apart at each look, within microseconds.
    PackedMetadata,
    /// `metadata` alone.
    Metadata,
    /// Everything but `metadata.managedFields`, as text: [`Object::to_value`] builds it.
    Packed,
    /// Everything but `metadata.managedFields`, of the objects in one namespace; no others are watched.
    FullIn(&'static str),
    /// Everything but `metadata.managedFields`.
    Full,
}

impl Content {
    /// Whether nothing but `metadata` is kept.
    #[must_use]
    pub fn is_metadata(self) -> bool {
        matches!(self, Content::PackedMetadata | Content::Metadata)
    }

    /// Whether it is kept as text.
    #[must_use]
    pub fn is_packed(self) -> bool {
        matches!(self, Content::PackedMetadata | Content::Packed)
    }
}

/// A way to look objects of one kind up other than by name.
#[derive(Debug)]
pub struct Index {
    /// Its name, unique for the kind.
    pub name: &'static str,
    /// The keys under which an object is found; none when it is not indexed.
    pub keys: fn(&Object) -> Vec<String>,
}

/// A kind that a rule reads, and how.
#[derive(Debug)]
pub struct Read {
    /// The kind, in the version in which it is watched.
    pub resource: Resource,
    /// How much of each object is needed.
    pub content: Content,
    /// The indexes that are asked.
    pub indexes: &'static [&'static Index],
}

/// One object of the snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its namespace; empty for a cluster-scoped kind.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What is kept of it; null when that is packed.
    pub value: Value,
    packed: Option<Box<str>>,
    /// Whether this service applies fields of it: its entry is among the managed fields, or these are not there to
    /// tell, as in a file that kubectl has exported.
    pub is_managed: bool,
}

impl Object {
    /// Reads the names from `value`; none when it has no `metadata.name`.
    #[must_use]
    pub fn of(value: Value) -> Option<Object> {
        let metadata = value.get("metadata")?;
        let text = |key: &str| {
            metadata
                .get(key)
                .and_then(Value::as_str)
                .map(ToOwned::to_owned)
        };
        let (name, namespace) = (text("name")?, text("namespace").unwrap_or_default());
        let is_managed = match metadata.get("managedFields").and_then(Value::as_array) {
            Some(entries) => entries.iter().any(is_ours),
            None => true,
        };
        Some(Object {
            namespace,
            name,
            value,
            packed: None,
            is_managed,
        })
    }

    /// The same, kept as text. What kubectl keeps of a manifest is not kept a second time.
    #[must_use]
    pub fn packed(mut self) -> Object {
        let annotations = self.value.pointer_mut("/metadata/annotations");
        if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED_ANNOTATION);
        }
        self.packed = Some(self.value.to_string().into_boxed_str());
        self.value = Value::Null;
        self
    }

    /// What is kept of it, built where it is packed.
    #[must_use]
    pub fn to_value(&self) -> Cow<'_, Value> {
        match &self.packed {
            Some(text) => Cow::Owned(serde_json::from_str(text).unwrap_or_default()),
            None => Cow::Borrowed(&self.value),
        }
    }

    /// All labels.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let labels = match &self.packed {
            Some(text) => packed::at(text, &["metadata", "labels"])
                .and_then(|raw| serde_json::from_str(raw.get()).ok()),
            None => self
                .value
                .pointer("/metadata/labels")
                .and_then(|labels| BTreeMap::deserialize(labels).ok()),
        };
        labels.unwrap_or_default()
    }

    /// The text at a path of plain members. Of a packed object only texts without escapes are found.
    #[must_use]
    pub fn text(&self, members: &[&str]) -> Option<&str> {
        if let Some(text) = &self.packed {
            return packed::text(text, members);
        }
        members
            .iter()
            .try_fold(&self.value, |value, member| value.get(member))
            .and_then(Value::as_str)
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.text(&["metadata", "labels", key])
    }

    /// `namespace/name`, or the name alone.
    #[must_use]
    pub fn display_name(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }
}

/// Whether an entry of `metadata.managedFields` is of this service.
#[must_use]
pub fn is_ours(entry: &Value) -> bool {
    let text = |member: &str| entry.get(member).and_then(Value::as_str);
    text("manager") == Some(FIELD_MANAGER) && text("operation") == Some("Apply")
}

/// What a look-up by index found: the first few in order of namespace and name, and how many there are.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The first ones, no more than were asked for.
    pub first: Vec<Arc<Object>>,
    /// How many there are in all.
    pub total: usize,
}

/// What is known of the chart in an artifact.
#[derive(Clone)]
pub enum Chart {
    /// It is read and compiled.
    Known(Arc<Component>),
    /// It is not, and why: the end of a sentence.
    Unknown(Arc<str>),
}

/// The snapshot. An absent kind (its CRD is not installed) is empty, not an error.
pub trait Cluster: Send + Sync {
    /// The object of that name; the namespace is empty for cluster-scoped kinds.
    fn get(&self, read: &'static Read, namespace: &str, name: &str) -> Option<Arc<Object>>;

    /// The objects that the index knows under `key`, at most `limit` of them.
    fn find(&self, read: &'static Read, index: &'static Index, key: &str, limit: usize) -> Found;

    /// The chart in an artifact of the platform's namespace. Asking for it is reading ExternalArtifacts.
    fn chart(&self, artifact: &str) -> Chart {
        Chart::Unknown(format!("no artifact {artifact} is known here").into())
    }

    /// The schemas that operators have written for the values of a component of a Package.
    fn own_schemas(&self, package: &str, component: &str) -> Vec<Arc<OwnSchema>> {
        let _ = (package, component);
        Vec::new()
    }

    /// The policies that operators have written for Packages. Asking for them is reading PackagePolicies.
    fn policies(&self) -> Arc<Policies> {
        Arc::default()
    }
}
