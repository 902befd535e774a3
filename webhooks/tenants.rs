//! Tenants: which namespace is whose, as their chart has it.
//!
//! ```text
//! tenant-root          no parent
//!   tenant-a           parent tenant-root
//!     tenant-a-b       parent tenant-a
//! ```

use crate::contract::{Cluster, Json, Object, Request, Setting, SettingKind};
use crate::kinds::NAMESPACES;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;

/// Where all tenants begin.
pub const ROOT: &str = "tenant-root";
/// What the names of tenants' namespaces and of their HelmReleases begin with.
pub const PREFIX: &str = "tenant-";
/// Begins the keys of the labels that say whose descendant a namespace is: the rest is the tenant.
pub const TENANT_LABEL_PREFIX: &str = "tenant.cozystack.io/";
/// Begins the keys of the labels that say which tenant's modules a namespace uses.
pub const MODULE_LABEL_PREFIX: &str = "namespace.cozystack.io/";
/// The label that says under which domain the tenant's applications are found.
pub const HOST_LABEL: &str = "namespace.cozystack.io/host";
/// The label of the platform's own namespaces: policies about those are not judged.
pub const SYSTEM_LABEL: &str = "cozystack.io/system";
/// Kind of the applications that are tenants.
const TENANT_KIND: &str = "Tenant";
/// A chain of more tenants than this is none: their names alone would not fit in 63 characters.
const CHAIN_MAX: usize = 32;

/// Setting: names of users who may do what others may not.
pub const TRUSTED_USERS: &str = "trusted-users";
/// Setting: their groups.
pub const TRUSTED_GROUPS: &str = "trusted-groups";

/// The setting of trusted users.
pub const TRUSTED_USERS_SETTING: Setting = Setting {
    name: TRUSTED_USERS,
    kind: SettingKind::Names { default: &[] },
    summary: "Users who are not held to this rule, by name.",
};

/// Whether who asks is trusted by the rule's settings.
#[must_use]
pub fn is_trusted(request: &Request<'_>) -> bool {
    let user = request.user();
    let settings = request.settings;
    settings.lists(TRUSTED_USERS, std::iter::once(user.name.as_str()))
        || settings.lists(TRUSTED_GROUPS, user.groups.iter().map(String::as_str))
}

/// Whether a namespace of that name is a tenant's.
#[must_use]
pub fn is_tenant(namespace: &str) -> bool {
    namespace.len() > PREFIX.len() && namespace.starts_with(PREFIX)
}

/// The parent by name alone: what is left of the last dash.
fn parent_by_name(tenant: &str) -> Option<&str> {
    match tenant.rsplit_once('-') {
        _ if tenant == ROOT => None,
        Some(("tenant", _)) => Some(ROOT),
        Some((parent, _)) if is_tenant(parent) => Some(parent),
        _ => None,
    }
}

/// The last part of a tenant's name: what its parent calls it.
#[must_use]
pub fn word(tenant: &str) -> &str {
    tenant.rsplit_once('-').map_or(tenant, |(_, word)| word)
}

/// Namespace and name of the HelmRelease that makes a tenant.
#[must_use]
pub fn release(tenant: &str) -> (&str, String) {
    let parent = parent_by_name(tenant).unwrap_or(ROOT);
    (parent, format!("{PREFIX}{}", word(tenant)))
}

/// The tenant to which a HelmRelease belongs: one that makes a tenant belongs to that.
#[must_use]
pub fn tenant_of_release(namespace: &str, name: &str, kind: Option<&str>) -> String {
    match name.strip_prefix(PREFIX) {
        Some(_) if kind == Some(TENANT_KIND) && namespace == ROOT => name.to_owned(),
        Some(word) if kind == Some(TENANT_KIND) => format!("{namespace}-{word}"),
        _ => namespace.to_owned(),
    }
}

/// A namespace of the cluster.
#[must_use]
pub fn namespace(cluster: &dyn Cluster, name: &str) -> Option<Arc<Object>> {
    cluster.get(&NAMESPACES, "", name)
}

#[derive(Deserialize)]
struct Owned {
    metadata: OwnedMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnedMetadata {
    owner_references: Option<Vec<Owner>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owner {
    api_version: String,
    kind: String,
    name: String,
}

/// The parent by owner reference, then by label, then by name.
fn parent(tenant: &str, object: Option<&Object>) -> Option<String> {
    if tenant == ROOT {
        return None;
    }
    let by_name = || parent_by_name(tenant).map(ToOwned::to_owned);
    let Some(object) = object else {
        return by_name();
    };
    owner(object)
        .or_else(|| labelled_parent(tenant, object))
        .or_else(by_name)
}

fn owner(object: &Object) -> Option<String> {
    let value = object.to_value();
    let owned = Owned::deserialize(&*value).ok()?;
    let owners = owned.metadata.owner_references.unwrap_or_default();
    owners
        .into_iter()
        .find(|owner| {
            owner.api_version == NAMESPACES.resource.version
                && owner.kind == NAMESPACES.resource.kind
                && is_tenant(&owner.name)
        })
        .map(|owner| owner.name)
}

/// Of all ancestors that the labels name, the one with the longest name: the others' names are beginnings of it. The
/// root has the shortest of all, whatever its length.
fn labelled_parent(tenant: &str, object: &Object) -> Option<String> {
    let labels = object.labels();
    let named = labels
        .keys()
        .filter_map(|key| key.strip_prefix(TENANT_LABEL_PREFIX))
        .filter(|named| *named != tenant && is_tenant(named));
    named
        .max_by_key(|named| (*named != ROOT, named.len()))
        .map(ToOwned::to_owned)
}

/// Where a chain of parents ends other than at the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// That parent is not there.
    Missing(String),
    /// That tenant is its own ancestor.
    Loop(String),
    /// It is longer than any chain of names can be; so far it was followed.
    TooLong(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Missing(name) => {
                write!(formatter, "parent {name} is not there yet")
            }
            Trouble::Loop(name) => write!(formatter, "{name} is its own ancestor"),
            Trouble::TooLong(name) => {
                write!(
                    formatter,
                    "more than {CHAIN_MAX} ancestors, the last {name}"
                )
            }
        }
    }
}

/// A tenant's ancestors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ancestors {
    /// The parent first, the root last.
    pub names: Vec<String>,
    /// Why it ends before the root.
    pub trouble: Option<Trouble>,
}

impl Ancestors {
    /// The ancestors of a tenant, whose namespace is `object` where it is known. A parent that is not there is the last
    /// one.
    #[must_use]
    pub fn of(tenant: &str, object: Option<&Object>, cluster: &dyn Cluster) -> Ancestors {
        let mut ancestors = Ancestors::default();
        let mut next = parent(tenant, object);
        while let Some(name) = next {
            if name == tenant || ancestors.names.contains(&name) {
                ancestors.trouble = Some(Trouble::Loop(name));
                break;
            }
            if ancestors.names.len() == CHAIN_MAX {
                let last = ancestors.names.pop().unwrap_or_default();
                ancestors.trouble = Some(Trouble::TooLong(last));
                break;
            }
            let found = namespace(cluster, &name);
            next = found
                .as_deref()
                .and_then(|object| parent(&name, Some(object)));
            ancestors.names.push(name.clone());
            if found.is_none() {
                ancestors.trouble = Some(Trouble::Missing(name));
                break;
            }
        }
        ancestors
    }

    /// Whether that tenant is among them.
    #[must_use]
    pub fn has(&self, tenant: &str) -> bool {
        self.names.iter().any(|name| name == tenant)
    }
}

/// The same of a tenant by the cluster's own word on it.
#[must_use]
pub fn ancestors(tenant: &str, cluster: &dyn Cluster) -> Ancestors {
    Ancestors::of(tenant, namespace(cluster, tenant).as_deref(), cluster)
}

/// The object as the cluster would keep it; none when it is not readable.
#[must_use]
pub fn object(json: Json<'_>) -> Option<Object> {
    json.read().ok().and_then(Object::of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Around;
    use serde_json::{Value, json};

    fn around(namespaces: &[(&str, Value, Value)]) -> Around {
        let mut around = Around::default();
        for (name, owners, labels) in namespaces {
            around.put(
                &NAMESPACES,
                json!({"metadata": {"name": name, "ownerReferences": owners, "labels": labels}}),
            );
        }
        around
    }

    fn owned_by(name: &str) -> Value {
        json!([{"apiVersion": "v1", "kind": "Namespace", "name": name, "uid": "1"}])
    }

    #[test]
    fn names_alone_lead_to_the_root() {
        for (tenant, parent) in [
            ("tenant-root", None),
            ("tenant-a", Some("tenant-root")),
            ("tenant-a-b", Some("tenant-a")),
            ("tenant-a-b-c", Some("tenant-a-b")),
            ("tenant-root-x", Some("tenant-root")),
            ("other", None),
        ] {
            assert_eq!(parent_by_name(tenant), parent, "{tenant}");
        }
        assert_eq!(release("tenant-a"), ("tenant-root", "tenant-a".to_owned()));
        assert_eq!(release("tenant-a-b"), ("tenant-a", "tenant-b".to_owned()));
        assert_eq!(
            release("tenant-root"),
            ("tenant-root", "tenant-root".to_owned())
        );
    }

    #[test]
    fn a_release_of_a_tenant_belongs_to_the_tenant_that_it_makes() {
        let tenant = Some("Tenant");
        for (namespace, name, kind, belongs) in [
            ("tenant-root", "tenant-a", tenant, "tenant-a"),
            ("tenant-a", "tenant-b", tenant, "tenant-a-b"),
            ("tenant-root", "tenant-root", tenant, "tenant-root"),
            ("tenant-a", "tenant-b", Some("Redis"), "tenant-a"),
            ("tenant-a", "redis-b", tenant, "tenant-a"),
            ("tenant-a", "redis-b", None, "tenant-a"),
        ] {
            assert_eq!(tenant_of_release(namespace, name, kind), belongs);
        }
    }

    #[test]
    fn owners_count_more_than_labels_and_labels_more_than_names() {
        let none = json!([]);
        let around = around(&[
            ("tenant-root", none.clone(), json!({})),
            ("tenant-a", none.clone(), json!({})),
            ("tenant-z", none.clone(), json!({})),
            (
                "tenant-a-b",
                owned_by("tenant-z"),
                json!({"tenant.cozystack.io/tenant-a": ""}),
            ),
            (
                "tenant-a-c",
                none.clone(),
                json!({"tenant.cozystack.io/tenant-z": "", "tenant.cozystack.io/tenant-root": "",
                       "tenant.cozystack.io/tenant-a-c": ""}),
            ),
            (
                "tenant-a-d",
                json!([{"apiVersion": "apps/v1", "kind": "Namespace", "name": "tenant-z", "uid": "1"}]),
                json!({}),
            ),
        ]);
        let names = |tenant: &str| ancestors(tenant, &around).names;
        assert_eq!(names("tenant-a-b"), ["tenant-z", "tenant-root"]);
        assert_eq!(names("tenant-a-c"), ["tenant-z", "tenant-root"]);
        assert_eq!(names("tenant-a-d"), ["tenant-a", "tenant-root"]);
        // Not there itself: its name is all there is.
        assert_eq!(names("tenant-a-e"), ["tenant-a", "tenant-root"]);
        assert_eq!(ancestors(ROOT, &around), Ancestors::default());
    }

    #[test]
    fn a_chain_that_breaks_or_loops_ends() {
        let around = around(&[
            ("tenant-a", owned_by("tenant-b"), json!({})),
            ("tenant-b", owned_by("tenant-a"), json!({})),
            ("tenant-self", owned_by("tenant-self"), json!({})),
        ]);
        let looped = ancestors("tenant-a", &around);
        assert_eq!(looped.names, ["tenant-b"]);
        assert_eq!(looped.trouble, Some(Trouble::Loop("tenant-a".to_owned())));
        assert_eq!(
            ancestors("tenant-self", &around).trouble,
            Some(Trouble::Loop("tenant-self".to_owned()))
        );
        let broken = ancestors("tenant-x-y-z", &around);
        assert_eq!(broken.names, ["tenant-x-y"]);
        assert_eq!(
            broken.trouble,
            Some(Trouble::Missing("tenant-x-y".to_owned()))
        );
        let mut long = Around::default();
        for number in 0..100 {
            long.put(
                &NAMESPACES,
                json!({"metadata": {"name": format!("tenant-{number}"),
                    "ownerReferences": owned_by(&format!("tenant-{}", number + 1))}}),
            );
        }
        let long = ancestors("tenant-0", &long);
        assert!(matches!(long.trouble, Some(Trouble::TooLong(_))));
        assert!(long.names.len() <= CHAIN_MAX);
    }
}
