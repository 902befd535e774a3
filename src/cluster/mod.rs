//! The cluster port: what rules read, kept in tables that are filled by watches or from files.

pub mod files;
pub mod live;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use table::Table;
use webhooks::contract::{Cluster, Content, Found, Index, Object, Read, Resource, Webhook};

/// How much is known of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// The first list is not complete yet.
    Syncing,
    /// Everything is known.
    Synced,
    /// Its CRD is not installed: empty, and that is all there is to know.
    Absent,
}

impl Knowledge {
    const ALL: [Knowledge; 3] = [Knowledge::Syncing, Knowledge::Synced, Knowledge::Absent];

    /// The word in `/readyz?verbose`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Knowledge::Syncing => "syncing",
            Knowledge::Synced => "synced",
            Knowledge::Absent => "absent (its CRD is not installed)",
        }
    }
}

/// One kind that some rule reads: the union of what all rules ask of it.
#[derive(Debug)]
pub struct Cache {
    /// The kind.
    pub resource: &'static Resource,
    /// How much of each object is kept.
    pub content: Content,
    table: Table,
    knowledge: AtomicU8,
}

impl Cache {
    /// How much is known.
    #[must_use]
    pub fn knowledge(&self) -> Knowledge {
        Knowledge::ALL
            .get(usize::from(self.knowledge.load(Ordering::Acquire)))
            .copied()
            .unwrap_or(Knowledge::Syncing)
    }

    fn learn(&self, knowledge: Knowledge) {
        let number = Knowledge::ALL
            .iter()
            .position(|known| *known == knowledge)
            .unwrap_or(0);
        self.knowledge
            .store(u8::try_from(number).unwrap_or(0), Ordering::Release);
    }

    /// How many objects are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no object is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The kinds that the rules of a registry read.
#[derive(Debug, Default)]
pub struct Caches {
    by_resource: BTreeMap<(&'static str, &'static str), Arc<Cache>>,
}

impl Caches {
    /// Empty caches for what `registry` declares.
    #[must_use]
    pub fn of(registry: &[&'static Webhook]) -> Caches {
        let mut wanted: BTreeMap<(&str, &str), (&'static Resource, Content, Vec<&'static Index>)> =
            BTreeMap::new();
        for read in registry
            .iter()
            .flat_map(|webhook| webhook.declaration.reads)
        {
            let (_, content, indexes) = wanted
                .entry((read.resource.group, read.resource.plural))
                .or_insert_with(|| (&read.resource, read.content, Vec::new()));
            *content = (*content).max(read.content);
            for index in read.indexes {
                if !indexes.iter().any(|known| known.name == index.name) {
                    indexes.push(index);
                }
            }
        }
        let by_resource = wanted
            .into_iter()
            .map(|(key, (resource, content, indexes))| {
                let cache = Cache {
                    resource,
                    content,
                    table: Table::new(indexes),
                    knowledge: AtomicU8::new(0),
                };
                (key, Arc::new(cache))
            })
            .collect();
        Caches { by_resource }
    }

    /// All caches, in order of group and plural.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Cache>> {
        self.by_resource.values()
    }

    fn cache(&self, resource: &Resource) -> Option<&Arc<Cache>> {
        self.by_resource.get(&(resource.group, resource.plural))
    }

    /// The first of these kinds that is not known yet.
    #[must_use]
    pub fn missing(&self, reads: impl IntoIterator<Item = &'static Read>) -> Option<&'static str> {
        reads.into_iter().find_map(|read| {
            let is_known = self
                .cache(&read.resource)
                .is_some_and(|cache| cache.knowledge() != Knowledge::Syncing);
            (!is_known).then_some(read.resource.plural)
        })
    }

    /// Adds or replaces an object, if some rule reads its kind.
    pub fn put(&self, group: &str, kind: &str, object: Object) {
        if let Some(cache) = self.cache_of(group, kind) {
            cache.table.put(trimmed(object, cache.content));
        }
    }

    fn cache_of(&self, group: &str, kind: &str) -> Option<&Arc<Cache>> {
        self.iter()
            .find(|cache| cache.resource.group == group && cache.resource.kind == kind)
    }

    /// Takes an object out.
    pub fn take(&self, group: &str, kind: &str, namespace: &str, name: &str) {
        if let Some(cache) = self.cache_of(group, kind) {
            cache.table.remove(namespace, name);
        }
    }

    /// Nothing more will come: what is there is all there is.
    pub fn settle(&self) {
        for cache in self.iter() {
            cache.learn(Knowledge::Synced);
        }
    }
}

/// The object without what nobody reads.
fn trimmed(mut object: Object, content: Content) -> Object {
    if let Some(members) = object.value.as_object_mut() {
        if content == Content::Metadata {
            members
                .retain(|member, _| matches!(member.as_str(), "apiVersion" | "kind" | "metadata"));
        }
        if let Some(metadata) = members
            .get_mut("metadata")
            .and_then(serde_json::Value::as_object_mut)
        {
            metadata.remove("managedFields");
        }
    }
    object
}

impl Cluster for Caches {
    fn get(&self, read: &'static Read, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.cache(&read.resource)?.table.get(namespace, name)
    }

    fn find(&self, read: &'static Read, index: &'static Index, key: &str, limit: usize) -> Found {
        self.cache(&read.resource)
            .map(|cache| cache.table.find(index, key, limit))
            .unwrap_or_default()
    }
}
