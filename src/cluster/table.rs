//! The objects of one kind, by name and by declared index. No look-up scans.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use webhooks::contract::{Found, Index, Object};

type Names = (String, String);

#[derive(Debug, Default)]
struct Data {
    /// Namespace, then name.
    objects: HashMap<String, HashMap<String, Arc<Object>>>,
    /// For each index, in the order of `Table::indexes`: key, then the objects in order of namespace and name.
    indexed: Vec<HashMap<String, BTreeMap<Names, Arc<Object>>>>,
    count: usize,
}

/// The objects of one kind.
#[derive(Debug)]
pub struct Table {
    indexes: Vec<&'static Index>,
    data: RwLock<Data>,
}

impl Table {
    /// An empty table.
    pub fn new(indexes: Vec<&'static Index>) -> Table {
        let data = RwLock::new(Data::with(indexes.len()));
        Table { indexes, data }
    }

    fn read<T>(&self, look: impl FnOnce(&Data) -> T) -> T {
        look(&self.data.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Data) -> T) -> T {
        change(&mut self.data.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.read(|data| data.count)
    }

    /// The object of that name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.read(|data| data.objects.get(namespace)?.get(name).cloned())
    }

    /// The objects under a key of an index.
    pub fn find(&self, index: &'static Index, key: &str, limit: usize) -> Found {
        let Some(position) = self
            .indexes
            .iter()
            .position(|known| std::ptr::eq(*known, index) || known.name == index.name)
        else {
            return Found::default();
        };
        self.read(|data| {
            data.indexed
                .get(position)
                .and_then(|keys| keys.get(key))
                .map(|objects| Found {
                    first: objects.values().take(limit).cloned().collect(),
                    total: objects.len(),
                })
                .unwrap_or_default()
        })
    }

    /// All objects, in no order: for those who start to follow the changes.
    pub fn objects(&self) -> Vec<Arc<Object>> {
        self.read(|data| {
            let objects = data.objects.values().flat_map(HashMap::values);
            objects.cloned().collect()
        })
    }

    /// Adds or replaces an object; gives the one before it.
    pub fn put(&self, object: Arc<Object>) -> Option<Arc<Object>> {
        self.write(|data| data.put(&self.indexes, object))
    }

    /// Takes an object out and gives it.
    pub fn remove(&self, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.write(|data| data.remove(&self.indexes, namespace, name))
    }

    /// Replaces everything at once: a reader sees all of the old or all of the new. Gives the old objects.
    pub fn replace(&self, objects: &[Arc<Object>]) -> Vec<Arc<Object>> {
        let mut fresh = Data::with(self.indexes.len());
        for object in objects {
            fresh.put(&self.indexes, Arc::clone(object));
        }
        let old = self.write(|data| std::mem::replace(data, fresh));
        old.objects
            .into_values()
            .flat_map(HashMap::into_values)
            .collect()
    }
}

impl Data {
    fn with(indexes: usize) -> Data {
        Data {
            indexed: (0..indexes).map(|_| HashMap::new()).collect(),
            ..Data::default()
        }
    }

    fn put(&mut self, indexes: &[&'static Index], object: Arc<Object>) -> Option<Arc<Object>> {
        let before = self.remove(indexes, &object.namespace, &object.name);
        let names = (object.namespace.clone(), object.name.clone());
        for (index, keys) in indexes.iter().zip(&mut self.indexed) {
            for key in (index.keys)(&object) {
                keys.entry(key)
                    .or_default()
                    .insert(names.clone(), Arc::clone(&object));
            }
        }
        self.objects
            .entry(names.0)
            .or_default()
            .insert(names.1, object);
        self.count += 1;
        before
    }

    fn remove(
        &mut self,
        indexes: &[&'static Index],
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Object>> {
        let in_namespace = self.objects.get_mut(namespace)?;
        let object = in_namespace.remove(name)?;
        if in_namespace.is_empty() {
            self.objects.remove(namespace);
        }
        let names = (namespace.to_owned(), name.to_owned());
        for (index, keys) in indexes.iter().zip(&mut self.indexed) {
            for key in (index.keys)(&object) {
                if let Some(objects) = keys.get_mut(&key) {
                    objects.remove(&names);
                    if objects.is_empty() {
                        keys.remove(&key);
                    }
                }
            }
        }
        self.count -= 1;
        Some(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    static BY_COLOUR: Index = Index {
        name: "colour",
        keys: |object| {
            object
                .label("colour")
                .map(ToOwned::to_owned)
                .into_iter()
                .collect()
        },
    };

    fn object(namespace: &str, name: &str, colour: &str) -> Arc<Object> {
        let value = json!({"metadata": {"name": name, "namespace": namespace, "labels": {"colour": colour}}});
        Arc::new(Object::of(value).unwrap())
    }

    fn names(found: &Found) -> Vec<String> {
        found
            .first
            .iter()
            .map(|object| object.display_name())
            .collect()
    }

    #[test]
    fn look_ups_follow_every_change() {
        let table = Table::new(vec![&BY_COLOUR]);
        table.put(object("b", "x", "red"));
        table.put(object("a", "x", "red"));
        table.put(object("a", "y", "blue"));
        assert_eq!(table.len(), 3);
        let found = table.find(&BY_COLOUR, "red", 1);
        assert_eq!((names(&found), found.total), (vec!["a/x".to_owned()], 2));
        table.put(object("a", "x", "blue"));
        assert_eq!(names(&table.find(&BY_COLOUR, "red", 9)), ["b/x"]);
        assert_eq!(names(&table.find(&BY_COLOUR, "blue", 9)), ["a/x", "a/y"]);
        assert_eq!(table.len(), 3);
        table.remove("b", "x");
        table.remove("b", "x");
        assert_eq!(table.find(&BY_COLOUR, "red", 9).total, 0);
        assert!(table.get("b", "x").is_none());
        let old = table.replace(&[object("c", "z", "red")]);
        assert_eq!(old.len(), 2);
        assert_eq!(table.objects(), [object("c", "z", "red")]);
        assert_eq!(
            (table.len(), names(&table.find(&BY_COLOUR, "red", 9))),
            (1, vec!["c/z".to_owned()])
        );
        assert_eq!(table.find(&BY_COLOUR, "blue", 9).total, 0);
    }
}
