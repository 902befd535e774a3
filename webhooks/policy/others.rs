//! `packages`: all Packages of the cluster, looked up when an expression asks.

use crate::cel::value::Lookup;
use crate::cel::{Map, Text, Value};
use crate::contract::{Cluster, Object};
use crate::kinds::{PACKAGES, PACKAGES_ALL};
use crate::packages::Package;
use serde_json::Value as Tree;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// All Packages as they are before the change.
pub struct Others<'r> {
    cluster: &'r dyn Cluster,
    first: OnceCell<Box<Found>>,
    all: OnceCell<All>,
}

/// All of them at once: for an expression that goes through them, or asks for many.
struct All {
    names: Vec<String>,
    packages: HashMap<String, Arc<Object>>,
}

/// So many Packages are looked up one by one.
const SINGLE_MAX: usize = 16;

impl fmt::Debug for Others<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("packages")
    }
}

/// What was looked up once, kept for as long as values of it are about.
struct Found {
    name: String,
    package: Option<Arc<Object>>,
    next: OnceCell<Box<Found>>,
}

impl<'r> Others<'r> {
    pub fn of(cluster: &'r dyn Cluster) -> Others<'r> {
        Others {
            cluster,
            first: OnceCell::new(),
            all: OnceCell::new(),
        }
    }

    fn all(&self) -> &All {
        self.all.get_or_init(|| {
            let found = self.cluster.find(&PACKAGES, &PACKAGES_ALL, "", usize::MAX);
            let names = found.first.iter().map(|package| package.name.clone());
            All {
                names: names.collect(),
                packages: found
                    .first
                    .iter()
                    .map(|package| (package.name.clone(), Arc::clone(package)))
                    .collect(),
            }
        })
    }

    fn find(&self, name: &str) -> Option<&Object> {
        let mut cell = &self.first;
        for _ in 0..SINGLE_MAX {
            if self.all.get().is_some() {
                break;
            }
            let found = cell.get_or_init(|| {
                Box::new(Found {
                    name: name.to_owned(),
                    package: self.cluster.get(&PACKAGES, "", name),
                    next: OnceCell::new(),
                })
            });
            if found.name == name {
                return found.package.as_deref();
            }
            cell = &found.next;
        }
        self.all().packages.get(name).map(Arc::as_ref)
    }
}

impl Lookup for Others<'_> {
    fn member(&self, name: &str) -> Option<Value<'_>> {
        self.find(name).map(shown)
    }

    fn names(&self) -> &[String] {
        &self.all().names
    }
}

/// A Package as expressions see it.
fn shown(object: &Object) -> Value<'_> {
    let package = Package::of(object);
    let components = object.value.pointer("/spec/components");
    let components = components.and_then(Tree::as_object).into_iter().flatten();
    let values = components.filter_map(|(name, component)| {
        let values = component.get("values")?;
        Some((Value::String(Text::Borrowed(name)), Value::of_tree(values)))
    });
    let fields = vec![
        ("variant", Value::String(Text::Borrowed(package.variant()))),
        ("ready", Value::Bool(is_ready(object))),
        ("values", Value::map(values.collect())),
    ];
    Value::Map(Map::Fields(Rc::new(fields)))
}

fn is_ready(object: &Object) -> bool {
    let conditions = object.value.pointer("/status/conditions");
    let mut conditions = conditions.and_then(Tree::as_array).into_iter().flatten();
    let text = |condition: &Tree, member: &str| {
        let text = condition.get(member).and_then(Tree::as_str);
        text.unwrap_or_default().to_owned()
    };
    conditions
        .any(|condition| text(condition, "type") == "Ready" && text(condition, "status") == "True")
}
