//! Which other objects must exist because one does.

use super::Fault;
use super::cluster::{Cluster, Index, Object, Read};
use super::declaration::{Declaration, Resource};
use super::settings::RuleSettings;
use serde_json::{Value, json};
use std::time::Duration;

/// Field manager of everything that the service writes, and value of `app.kubernetes.io/managed-by` on what it made.
pub const FIELD_MANAGER: &str = "cozystack-webhook";
/// Annotation of a companion: `<rule>/<namespace>/<name>` of the parent. It stays when the companion is let go, and
/// then says that it once was one.
pub const PARENT_ANNOTATION: &str = "webhook.cozystack.io/parent";
/// Label of what somebody's tool manages.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Helm's value of [`MANAGED_BY_LABEL`].
const HELM: &str = "Helm";
/// Helm's mark on the objects of a release.
const HELM_RELEASE_ANNOTATION: &str = "meta.helm.sh/release-name";

/// Companions by their parent. Every kind that a rule writes is indexed by it.
pub static BY_PARENT: Index = Index {
    name: "parent",
    keys: |object| {
        object
            .text(&["metadata", "annotations", PARENT_ANNOTATION])
            .map(ToOwned::to_owned)
            .into_iter()
            .collect()
    },
};

/// What a parent needs. "Cannot know" is an error, never an empty list: only a clean answer may prune.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// The children, each complete: what is left out of one is taken back where it was set before.
    pub children: Vec<Value>,
    /// When to look again without a change.
    pub requeue_after: Option<Duration>,
}

/// What happens to the children when their parent goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// They go too: by owner reference where Kubernetes allows one, else by the engine.
    Delete,
    /// They stay.
    Retain,
}

/// Which parents a change concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concerned {
    /// It may be any.
    All,
    /// These, by namespace and name, and no others.
    These(Vec<(String, String)>),
}

/// What a companions function may know beside the parent.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// The cluster.
    pub cluster: &'a dyn Cluster,
    /// The rule's own settings.
    pub settings: RuleSettings<'a>,
}

/// The role of a folder whose objects bring others with them.
pub trait Companions: Sync {
    /// The kind of the parents; one of the declared reads.
    fn parents(&self) -> &'static Read;

    /// The kinds at which it looks beside the parents. Its children are watched without being named; named, they count
    /// for parents that they do not belong to.
    fn reads(&self) -> &'static [&'static Read];

    /// The parents that a change of `object`, of one of the kinds that it reads, concerns. Asked of the object before
    /// and after the change.
    fn concerned(
        &self,
        _resource: &Resource,
        _object: &Object,
        _cluster: &dyn Cluster,
    ) -> Concerned {
        Concerned::All
    }

    /// Whether the mutator of the same rule says what is said of the children when a parent is written (see
    /// [`announcement`]): it knows them anyway, and they need not be computed twice.
    fn is_announced_by_mutator(&self) -> bool {
        false
    }

    /// What happens to the children when their parent goes.
    fn farewell(&self) -> Farewell;

    /// What must exist because `parent` (in any version that the rule's requests name) does. None: hands off; what is
    /// there stays as it is.
    ///
    /// # Errors
    /// When it cannot be known now.
    fn companions(&self, parent: &Object, world: &World<'_>) -> Result<Option<Desired>, Fault>;
}

/// The value of [`PARENT_ANNOTATION`].
#[must_use]
pub fn parent_key(rule: &str, namespace: &str, name: &str) -> String {
    format!("{rule}/{namespace}/{name}")
}

/// Rule, namespace and name in a value of [`PARENT_ANNOTATION`].
#[must_use]
pub fn split_parent_key(key: &str) -> Option<(&str, &str, &str)> {
    let (rule, rest) = key.split_once('/')?;
    let (namespace, name) = rest.split_once('/')?;
    Some((rule, namespace, name))
}

/// Whose an object is, seen from a parent that wants one of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// There is none.
    Absent,
    /// The engine keeps it in step.
    Ours,
    /// The engine made it; somebody else has taken it over since.
    Released,
    /// Somebody else made it.
    Foreign,
}

impl Standing {
    /// Whose `object` is, seen from the parent with that key.
    #[must_use]
    pub fn of(object: Option<&Object>, parent_key: &str) -> Standing {
        let Some(object) = object else {
            return Standing::Absent;
        };
        let parent = object.text(&["metadata", "annotations", PARENT_ANNOTATION]);
        match (parent == Some(parent_key), is_marked_by_helm(object)) {
            (true, false) if object.is_managed => Standing::Ours,
            (true, _) => Standing::Released,
            (false, _) => Standing::Foreign,
        }
    }
}

/// What the writer of a parent is told of the child of that name: that it stands in somebody else's hands and, in a dry
/// run, that it would be made.
#[must_use]
pub fn announcement(
    resource: &Resource,
    child: impl Fn() -> String,
    standing: Standing,
    is_dry_run: bool,
) -> Option<String> {
    let what = || format!("{} {}", resource.kind, child());
    match standing {
        Standing::Foreign => Some(format!(
            "{} was made by somebody else: it is left alone",
            what()
        )),
        Standing::Released => Some(format!(
            "{} is somebody else's by now: it is left alone",
            what()
        )),
        Standing::Absent if is_dry_run => Some(format!("{} would be made", what())),
        Standing::Ours if is_dry_run => Some(format!("{} would be kept in step", what())),
        Standing::Absent | Standing::Ours => None,
    }
}

/// What a rule's companions function wants for a parent, with the marks by which the children are known again: the
/// parent's key, who manages them, and the owner reference where the parent takes them along.
///
/// None: hands off.
///
/// # Errors
/// When it cannot be known now, or a child is no object of a kind that the rule declares.
pub fn desired(
    declaration: &Declaration,
    companions: &dyn Companions,
    parent: &Object,
    world: &World<'_>,
) -> Result<Option<Desired>, Fault> {
    let Some(mut desired) = companions.companions(parent, world)? else {
        return Ok(None);
    };
    let kind = &companions.parents().resource;
    let key = parent_key(declaration.id, &parent.namespace, &parent.name);
    for child in &mut desired.children {
        let written = written(declaration, child).ok_or_else(|| {
            Fault::Internal(format!(
                "rule {} wants a companion of a kind that it does not declare: {child}",
                declaration.id
            ))
        })?;
        let namespace = child.pointer("/metadata/namespace").and_then(Value::as_str);
        let is_near = !kind.namespaced
            || (written.resource.namespaced && namespace == Some(parent.namespace.as_str()));
        let owner = parent
            .text(&["metadata", "uid"])
            .filter(|_| companions.farewell() == Farewell::Delete && is_near)
            .map(|uid| {
                json!([{"apiVersion": kind.api_version(), "kind": kind.kind, "name": parent.name, "uid": uid}])
            });
        let Some(metadata) = child.get_mut("metadata").and_then(Value::as_object_mut) else {
            continue;
        };
        if let Some(owner) = owner {
            metadata.insert("ownerReferences".to_owned(), owner);
        }
        for (member, name, value) in [
            ("labels", MANAGED_BY_LABEL, FIELD_MANAGER),
            ("annotations", PARENT_ANNOTATION, key.as_str()),
        ] {
            if let Some(values) = metadata
                .entry(member)
                .or_insert_with(|| json!({}))
                .as_object_mut()
            {
                values.insert(name.to_owned(), value.into());
            }
        }
    }
    Ok(Some(desired))
}

/// The declared kind of a child that has a name (and a namespace exactly where its kind has one).
#[must_use]
pub fn written(declaration: &Declaration, child: &Value) -> Option<&'static Read> {
    let text = |pointer: &str| child.pointer(pointer).and_then(Value::as_str);
    let is_there = |pointer: &str| text(pointer).is_some_and(|text| !text.is_empty());
    declaration.writes.iter().copied().find(|read| {
        text("/kind") == Some(read.resource.kind)
            && text("/apiVersion") == Some(read.resource.api_version().as_str())
            && is_there("/metadata/name")
            && is_there("/metadata/namespace") == read.resource.namespaced
    })
}

/// Whether a Helm release has, or claims, the object.
#[must_use]
pub fn is_marked_by_helm(object: &Object) -> bool {
    object.label(MANAGED_BY_LABEL) == Some(HELM)
        || object
            .text(&["metadata", "annotations", HELM_RELEASE_ANNOTATION])
            .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_an_object_is() {
        let key = parent_key("rule", "", "gizmo");
        assert_eq!(split_parent_key(&key), Some(("rule", "", "gizmo")));
        let of = |metadata: Value| {
            Standing::of(Object::of(json!({"metadata": metadata})).as_ref(), &key)
        };
        let entry =
            |manager: &str, operation: &str| json!([{"manager": manager, "operation": operation}]);
        assert_eq!(Standing::of(None, &key), Standing::Absent);
        let ours = json!({"webhook.cozystack.io/parent": key});
        for (metadata, expected) in [
            (json!({"name": "x"}), Standing::Foreign),
            (
                json!({"name": "x", "managedFields": entry(FIELD_MANAGER, "Apply")}),
                Standing::Foreign,
            ),
            // As exported, without managed fields: the annotation is believed.
            (json!({"name": "x", "annotations": ours}), Standing::Ours),
            (
                json!({"name": "x", "annotations": ours, "managedFields": entry(FIELD_MANAGER, "Apply")}),
                Standing::Ours,
            ),
            (
                json!({"name": "x", "annotations": ours, "managedFields": entry("kubectl", "Apply")}),
                Standing::Released,
            ),
            (
                json!({"name": "x", "annotations": ours, "managedFields": entry(FIELD_MANAGER, "Update")}),
                Standing::Released,
            ),
            (
                json!({"name": "x", "annotations": ours, "labels": {"app.kubernetes.io/managed-by": "Helm"}}),
                Standing::Released,
            ),
            (
                json!({"name": "x", "annotations": {"webhook.cozystack.io/parent": "rule//other"}}),
                Standing::Foreign,
            ),
        ] {
            assert_eq!(of(metadata.clone()), expected, "{metadata}");
        }
    }
}
