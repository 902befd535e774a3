//! A cluster in memory, for the rules' own tests.

use crate::contract::{Cluster, Content, Found, Index, Object, Read};
use crate::policy::Policies;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The objects around a rule, kept as the service keeps them.
#[derive(Default, Clone)]
pub struct Around {
    objects: BTreeMap<(&'static str, String, String), Arc<Object>>,
    /// The policies in force.
    pub policies: Arc<Policies>,
}

impl Around {
    /// Adds or replaces an object.
    pub fn put(&mut self, read: &'static Read, value: Value) {
        let mut object = Object::of(value).unwrap();
        if matches!(read.content, Content::Packed | Content::PackedMetadata) {
            object = object.packed();
        }
        let key = (
            read.resource.plural,
            object.namespace.clone(),
            object.name.clone(),
        );
        self.objects.insert(key, Arc::new(object));
    }
}

impl Cluster for Around {
    fn get(&self, read: &'static Read, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let key = (read.resource.plural, namespace.to_owned(), name.to_owned());
        self.objects.get(&key).cloned()
    }

    fn find(&self, read: &'static Read, index: &'static Index, key: &str, limit: usize) -> Found {
        let all: Vec<Arc<Object>> = self
            .objects
            .iter()
            .filter(|((plural, _, _), object)| {
                *plural == read.resource.plural
                    && (index.keys)(object).iter().any(|known| known == key)
            })
            .map(|(_, object)| Arc::clone(object))
            .collect();
        Found {
            total: all.len(),
            first: all.into_iter().take(limit).collect(),
        }
    }

    fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.policies)
    }
}
