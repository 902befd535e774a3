//! The cluster port: what rules read, kept in tables that are filled by watches or from files.

pub mod files;
pub mod live;
pub mod pages;
mod table;
mod watched;

use crate::charts::Book;
use crate::policies::Shelf;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use table::Table;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use webhooks::charts::OwnSchema;
use webhooks::contract::{Chart, Cluster, Content, Found, Index, Object, Read, Resource, Webhook};
use webhooks::kinds::PACKAGE_POLICIES;
use webhooks::policy::Policies;

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

/// One kind that some rule reads or writes: the union of what all rules ask of it.
#[derive(Debug)]
pub struct Cache {
    /// The kind.
    pub resource: &'static Resource,
    /// How much of each object is kept.
    pub content: Content,
    table: Table,
    knowledge: AtomicU8,
    listeners: Mutex<Vec<UnboundedSender<Change>>>,
}

/// What changed in a cache.
#[derive(Debug, Clone)]
pub enum Change {
    /// One object.
    Object {
        /// Its kind.
        resource: &'static Resource,
        /// It before; none when it is new.
        before: Option<Arc<Object>>,
        /// It now; none when it is gone.
        after: Option<Arc<Object>>,
    },
    /// A kind has become known, or is no longer installed.
    Kind(&'static Resource),
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

    pub(crate) fn learn(&self, knowledge: Knowledge) {
        let number = Knowledge::ALL
            .iter()
            .position(|known| *known == knowledge)
            .unwrap_or(0);
        let number = u8::try_from(number).unwrap_or(0);
        if self.knowledge.swap(number, Ordering::AcqRel) != number {
            self.tell(&Change::Kind(self.resource));
        }
    }

    fn tell(&self, change: &Change) {
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.send(change.clone()).is_ok());
    }

    fn put(&self, object: Object) {
        let after = Arc::new(object);
        let before = self.table.put(Arc::clone(&after));
        self.tell(&Change::Object {
            resource: self.resource,
            before,
            after: Some(after),
        });
    }

    fn remove(&self, namespace: &str, name: &str) {
        if let Some(before) = self.table.remove(namespace, name) {
            self.tell(&Change::Object {
                resource: self.resource,
                before: Some(before),
                after: None,
            });
        }
    }

    /// Replaces everything; tells only of what is not as it was.
    pub(crate) fn replace(&self, objects: Vec<Object>) {
        let fresh: Vec<Arc<Object>> = objects.into_iter().map(Arc::new).collect();
        let mut old: HashMap<(String, String), Arc<Object>> = self
            .table
            .replace(&fresh)
            .into_iter()
            .map(|object| ((object.namespace.clone(), object.name.clone()), object))
            .collect();
        for after in fresh {
            let before = old.remove(&(after.namespace.clone(), after.name.clone()));
            if before.as_ref() != Some(&after) {
                self.tell(&Change::Object {
                    resource: self.resource,
                    before,
                    after: Some(after),
                });
            }
        }
        for before in old.into_values() {
            self.tell(&Change::Object {
                resource: self.resource,
                before: Some(before),
                after: None,
            });
        }
    }

    /// Every change from now on.
    #[must_use]
    pub fn changes(&self) -> UnboundedReceiver<Change> {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        self.add_listener(sender);
        receiver
    }

    fn add_listener(&self, listener: UnboundedSender<Change>) {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(listener);
    }

    /// All objects, in no order.
    #[must_use]
    pub fn objects(&self) -> Vec<Arc<Object>> {
        self.table.objects()
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

/// The kinds that the rules of a registry read and write.
#[derive(Debug, Default)]
pub struct Caches {
    by_resource: BTreeMap<(&'static str, &'static str), Arc<Cache>>,
    /// The same by what is declared: the few declarations are compared as places, not as names.
    by_read: Vec<(&'static Read, Arc<Cache>)>,
    /// The charts of packages, and the schemas of operators.
    pub charts: Book,
    /// The policies of operators, compiled.
    pub policies: Shelf,
}

impl Caches {
    /// Empty caches for what `registry` declares.
    #[must_use]
    pub fn of(registry: &[&'static Webhook]) -> Caches {
        let mut wanted: BTreeMap<(&str, &str), (&'static Resource, Content, Vec<&'static Index>)> =
            BTreeMap::new();
        for read in declared(registry) {
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
        let by_resource: BTreeMap<_, _> = wanted
            .into_iter()
            .map(|(key, (resource, content, indexes))| {
                let cache = Cache {
                    resource,
                    content,
                    table: Table::new(indexes),
                    knowledge: AtomicU8::new(0),
                    listeners: Mutex::default(),
                };
                (key, Arc::new(cache))
            })
            .collect();
        let mut by_read: Vec<(&Read, Arc<Cache>)> = Vec::new();
        for read in declared(registry) {
            let cache = by_resource.get(&(read.resource.group, read.resource.plural));
            let is_new = by_read.iter().all(|(known, _)| !std::ptr::eq(*known, read));
            by_read.extend(
                cache
                    .filter(|_| is_new)
                    .map(|cache| (read, Arc::clone(cache))),
            );
        }
        Caches {
            by_resource,
            by_read,
            charts: Book::default(),
            policies: Shelf::default(),
        }
    }

    /// All caches, in order of group and plural.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Cache>> {
        self.by_resource.values()
    }

    /// Every change from now on.
    #[must_use]
    pub fn changes(&self) -> UnboundedReceiver<Change> {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        for cache in self.iter() {
            cache.add_listener(sender.clone());
        }
        receiver
    }

    /// The cache of a kind, if some rule reads or writes it.
    #[must_use]
    pub fn cache(&self, resource: &Resource) -> Option<&Arc<Cache>> {
        self.by_resource.get(&(resource.group, resource.plural))
    }

    /// The cache of what some rule declares.
    fn declared(&self, read: &'static Read) -> Option<&Arc<Cache>> {
        let mut known = self.by_read.iter();
        let found = known.find(|(known, _)| std::ptr::eq(*known, read));
        match found {
            Some((_, cache)) => Some(cache),
            None => self.cache(&read.resource),
        }
    }

    /// The first of these kinds that is not known yet.
    #[must_use]
    pub fn missing(&self, reads: impl IntoIterator<Item = &'static Read>) -> Option<&'static str> {
        reads.into_iter().find_map(|read| {
            let is_known = self
                .declared(read)
                .is_some_and(|cache| cache.knowledge() != Knowledge::Syncing);
            // Policies are known once they are compiled.
            let is_known = is_known
                && (read.resource != PACKAGE_POLICIES.resource || self.policies.is_known());
            (!is_known).then_some(read.resource.plural)
        })
    }

    /// Adds or replaces an object, if some rule reads its kind.
    pub fn put(&self, group: &str, kind: &str, object: Object) {
        if let Some(cache) = self.cache_of(group, kind) {
            if *cache.resource == PACKAGE_POLICIES.resource {
                self.policies.put(&object);
            }
            cache.put(trimmed(object, cache.content));
        }
    }

    fn cache_of(&self, group: &str, kind: &str) -> Option<&Arc<Cache>> {
        self.iter()
            .find(|cache| cache.resource.group == group && cache.resource.kind == kind)
    }

    /// Takes an object out.
    pub fn take(&self, group: &str, kind: &str, namespace: &str, name: &str) {
        if let Some(cache) = self.cache_of(group, kind) {
            if *cache.resource == PACKAGE_POLICIES.resource {
                self.policies.take(name);
            }
            cache.remove(namespace, name);
        }
    }

    /// Nothing more will come: what is there is all there is.
    pub fn settle(&self) {
        for cache in self.iter() {
            cache.learn(Knowledge::Synced);
        }
    }
}

/// Everything that the rules of a registry read and write, in no order.
fn declared(registry: &[&'static Webhook]) -> impl Iterator<Item = &'static Read> {
    let declarations = registry.iter().map(|webhook| &webhook.declaration);
    declarations.flat_map(|declared| declared.reads.iter().chain(declared.writes).copied())
}

/// The object without what nobody reads.
fn trimmed(mut object: Object, content: Content) -> Object {
    if let Some(members) = object.value.as_object_mut() {
        if content.is_metadata() {
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
    if content.is_packed() {
        return object.packed();
    }
    object
}

impl Cluster for Caches {
    fn get(&self, read: &'static Read, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.declared(read)?.table.get(namespace, name)
    }

    fn find(&self, read: &'static Read, index: &'static Index, key: &str, limit: usize) -> Found {
        self.declared(read)
            .map(|cache| cache.table.find(index, key, limit))
            .unwrap_or_default()
    }

    fn chart(&self, artifact: &str) -> Chart {
        self.charts.chart(artifact)
    }

    fn own_schemas(&self, package: &str, component: &str) -> Vec<Arc<OwnSchema>> {
        self.charts.own_schemas(package, component)
    }

    fn policies(&self) -> Arc<Policies> {
        self.policies.policies()
    }
}
