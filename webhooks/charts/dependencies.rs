//! Helm's `chartutil/dependencies.go` (v3.21), step by step: which subcharts are enabled, under which name, and what
//! of their values the parent imports.
//!
//! Here too the result depends on what Go shares: two aliases of one chart share the entries of its Chart.yaml, so
//! that the first one to be processed renames and empties them for the second.

use super::coalesce::{self, Mismatch, Table, Tree, coalesce_tables, coalesced, deep_copy};
use super::{Dependency, Import, Prepared, is_compatible};
use serde_json::Value;
use std::cell::RefCell;
use std::rc::Rc;

/// A chart while one question is answered.
pub(super) struct Node<'a> {
    pub(super) prepared: &'a Prepared,
    /// Its name, or its alias.
    pub(super) name: String,
    /// Its defaults after imports; none while they are those of its file.
    imported: Option<Table>,
    declared: Option<Vec<Rc<RefCell<Declared>>>>,
    pub(super) children: Vec<Rc<RefCell<Node<'a>>>>,
}

struct Declared {
    name: String,
    version: String,
    alias: Option<String>,
    condition: String,
    tags: Vec<String>,
    import_values: Vec<Import>,
    is_enabled: bool,
}

impl Declared {
    fn new(dependency: &Dependency) -> Rc<RefCell<Declared>> {
        Rc::new(RefCell::new(Declared {
            name: dependency.name.clone(),
            version: dependency.version.clone(),
            alias: dependency.alias.clone(),
            condition: dependency.condition.clone(),
            tags: dependency.tags.clone(),
            import_values: dependency.import_values.clone(),
            is_enabled: false,
        }))
    }
}

impl Node<'_> {
    /// A deep copy of the defaults.
    pub(super) fn values(&self) -> Table {
        match &self.imported {
            Some(table) => deep_copy(table),
            None => super::table_of(&self.prepared.values),
        }
    }
}

pub(super) fn instance(prepared: &Prepared) -> Rc<RefCell<Node<'_>>> {
    Rc::new(RefCell::new(Node {
        prepared,
        name: prepared.name.clone(),
        imported: None,
        declared: prepared
            .dependencies
            .as_ref()
            .filter(|list| !list.is_empty())
            .map(|list| list.iter().map(Declared::new).collect()),
        children: prepared.subcharts.iter().map(instance).collect(),
    }))
}

/// `ProcessDependenciesWithMerge`.
pub(super) fn process(root: &Rc<RefCell<Node<'_>>>, values: &Table) -> Result<(), Mismatch> {
    enable(root, values, "")?;
    import(root)
}

fn enable(node: &Rc<RefCell<Node<'_>>>, values: &Table, path: &str) -> Result<(), Mismatch> {
    let Some(declared) = node.borrow().declared.clone() else {
        return Ok(());
    };
    let children = resolve(&node.borrow().children, &declared);
    node.borrow_mut().children = children;
    for dependency in &declared {
        dependency.borrow_mut().is_enabled = true;
    }
    let merged = coalesced(node, values, false)?;
    for dependency in &declared {
        let mut dependency = dependency.borrow_mut();
        by_tags(&mut dependency, &merged);
        by_conditions(&mut dependency, &merged, path);
    }
    let disabled: Vec<String> = declared
        .iter()
        .filter(|dependency| !dependency.borrow().is_enabled)
        .map(|dependency| dependency.borrow().name.clone())
        .collect();
    let mut kept = node.borrow().children.clone();
    kept.retain(|child| !disabled.contains(&child.borrow().name));
    for child in &kept {
        let below = format!("{path}{}.", child.borrow().name);
        enable(child, &merged, &below)?;
    }
    let still: Vec<_> = declared
        .into_iter()
        .filter(|dependency| !disabled.contains(&dependency.borrow().name))
        .collect();
    let mut node = node.borrow_mut();
    node.declared = (!still.is_empty()).then_some(still);
    node.children = kept;
    Ok(())
}

/// The children that are not declared, then those that are, in the order and under the names of the declarations.
fn resolve<'a>(
    children: &[Rc<RefCell<Node<'a>>>],
    declared: &[Rc<RefCell<Declared>>],
) -> Vec<Rc<RefCell<Node<'a>>>> {
    let fits = |child: &Rc<RefCell<Node<'a>>>, dependency: &Declared| {
        let child = child.borrow();
        child.name == dependency.name && is_compatible(&dependency.version, &child.prepared.version)
    };
    let mut resolved: Vec<_> = children
        .iter()
        .filter(|child| !declared.iter().any(|one| fits(child, &one.borrow())))
        .cloned()
        .collect();
    for dependency in declared {
        let mut dependency = dependency.borrow_mut();
        if let Some(child) = children.iter().find(|child| fits(child, &dependency)) {
            let child = child.borrow();
            resolved.push(Rc::new(RefCell::new(Node {
                prepared: child.prepared,
                name: dependency
                    .alias
                    .clone()
                    .unwrap_or_else(|| child.name.clone()),
                imported: child.imported.clone(),
                declared: child.declared.clone(),
                children: child.children.clone(),
            })));
        }
        if let Some(alias) = dependency.alias.clone() {
            dependency.name = alias;
        }
    }
    resolved
}

fn by_tags(dependency: &mut Declared, values: &Table) {
    let Some(tags) = lookup(values, "tags") else {
        return;
    };
    let set: Vec<bool> = dependency
        .tags
        .iter()
        .filter_map(|tag| match tags.borrow().get(tag) {
            Some(Tree::Leaf(Value::Bool(is_set))) => Some(*is_set),
            _ => None,
        })
        .collect();
    dependency.is_enabled = set.is_empty() || set.contains(&true);
}

fn by_conditions(dependency: &mut Declared, values: &Table, path: &str) {
    for condition in dependency.condition.trim().split(',') {
        if condition.is_empty() {
            continue;
        }
        let full = format!("{path}{condition}");
        let (table, key) = match full.rsplit_once('.') {
            Some((table, key)) => (lookup(values, table), key),
            None => (Some(Rc::clone(values)), full.as_str()),
        };
        let found = table.and_then(|table| table.borrow().get(key).cloned());
        if let Some(Tree::Leaf(Value::Bool(is_enabled))) = found {
            dependency.is_enabled = is_enabled;
            return;
        }
    }
}

/// `Values.Table`.
fn lookup(values: &Table, path: &str) -> Option<Table> {
    let mut here = Rc::clone(values);
    for key in path.split('.') {
        let next = here.borrow().get(key).and_then(Tree::as_table).cloned()?;
        here = next;
    }
    Some(here)
}

fn import(node: &Rc<RefCell<Node<'_>>>) -> Result<(), Mismatch> {
    let children = node.borrow().children.clone();
    for child in &children {
        import(child)?;
    }
    let Some(declared) = node.borrow().declared.clone() else {
        return Ok(());
    };
    let merged = coalesced(node, &Table::default(), true)?;
    let gathered = Table::default();
    for dependency in &declared {
        let mut dependency = dependency.borrow_mut();
        let name = dependency.name.clone();
        // Taken: once it is processed Helm no longer understands what it left behind.
        for one in std::mem::take(&mut dependency.import_values) {
            let (child, parent) = match one {
                Import::Exported(export) => (format!("exports.{export}"), ".".to_owned()),
                Import::At { child, parent } => (child, parent),
            };
            if let Some(found) = lookup(&merged, &format!("{name}.{child}")) {
                // Of an empty map Helm makes another one (`AsMap`), which is then not shared.
                let is_empty = found.borrow().is_empty();
                let found = if is_empty { Table::default() } else { found };
                coalesce_tables(&gathered, &nested(&parent, found), true);
            }
        }
    }
    let values = deep_copy(&merged);
    coalesce_tables(&values, &gathered, true);
    node.borrow_mut().imported = Some(values);
    Ok(())
}

fn nested(path: &str, table: Table) -> Table {
    if path == "." {
        return table;
    }
    path.rsplit('.').fold(table, |table, key| {
        let around = coalesce::Table::default();
        around
            .borrow_mut()
            .insert(key.to_owned(), Tree::Table(table));
        around
    })
}
