//! Helm's `chartutil/coalesce.go` (v3.21), step by step.
//!
//! Go's maps are references, and Helm's result depends on that: what one subchart adds to a map two levels below
//! `global` is seen by its parent and its later siblings. Hence the shared tables.

use super::dependencies::Node;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The key whose values every chart sees.
pub(super) const GLOBAL: &str = "global";

/// A map of Go: a clone is the same map.
pub(super) type Table = Rc<RefCell<BTreeMap<String, Tree>>>;

/// A value of Go. Lists are never merged into, so they are leaves.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Leaf(Value),
    Table(Table),
}

impl Tree {
    pub(super) fn from_value(value: &Value) -> Tree {
        match value {
            Value::Object(members) => Tree::Table(Rc::new(RefCell::new(
                members
                    .iter()
                    .map(|(key, value)| (key.clone(), Tree::from_value(value)))
                    .collect(),
            ))),
            other => Tree::Leaf(other.clone()),
        }
    }

    pub(super) fn to_value(&self) -> Value {
        match self {
            Tree::Leaf(value) => value.clone(),
            Tree::Table(table) => {
                let members: Map<String, Value> = table
                    .borrow()
                    .iter()
                    .map(|(key, tree)| (key.clone(), tree.to_value()))
                    .collect();
                Value::Object(members)
            }
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, Tree::Leaf(Value::Null))
    }

    pub(super) fn as_table(&self) -> Option<&Table> {
        match self {
            Tree::Table(table) => Some(table),
            Tree::Leaf(_) => None,
        }
    }
}

pub(super) fn deep_copy(table: &Table) -> Table {
    Rc::new(RefCell::new(
        table
            .borrow()
            .iter()
            .map(|(key, tree)| {
                let copy = match tree {
                    Tree::Leaf(value) => Tree::Leaf(value.clone()),
                    Tree::Table(table) => Tree::Table(deep_copy(table)),
                };
                (key.clone(), copy)
            })
            .collect(),
    ))
}

fn get(table: &Table, key: &str) -> Option<Tree> {
    table.borrow().get(key).cloned()
}

pub(super) fn entries(table: &Table) -> Vec<(String, Tree)> {
    table
        .borrow()
        .iter()
        .map(|(key, tree)| (key.clone(), tree.clone()))
        .collect()
}

/// No map stands where the values of a subchart should be. Helm stops there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mismatch {
    /// The keys that lead there.
    pub(super) path: Vec<String>,
    /// What stands there.
    pub(super) found: Value,
}

/// `CoalesceValues`, or `MergeValues` when nulls are to stay.
pub(super) fn coalesced(
    node: &Rc<RefCell<Node<'_>>>,
    values: &Table,
    keeps_nulls: bool,
) -> Result<Table, Mismatch> {
    let copy = deep_copy(values);
    coalesce(node, &copy, keeps_nulls, &mut Vec::new())?;
    Ok(copy)
}

/// What [`coalesced`] makes of a chart without subcharts, where nothing is shared: a hundredth of the work.
pub(super) fn overlaid(values: &Value, defaults: &Value) -> Value {
    let mut into = match values {
        Value::Object(members) => members.clone(),
        _ => Map::new(),
    };
    if let Value::Object(defaults) = defaults {
        overlay(&mut into, defaults, true);
    }
    Value::Object(into)
}

fn overlay(into: &mut Map<String, Value>, defaults: &Map<String, Value>, is_root: bool) {
    for (key, default) in defaults {
        match into.get_mut(key) {
            None => {
                into.insert(key.clone(), default.clone());
            }
            // A null takes a default away; below the root one that says nothing itself is left.
            Some(Value::Null) if is_root || !default.is_null() => {
                into.remove(key);
            }
            Some(Value::Object(here)) => {
                if let Value::Object(default) = default {
                    overlay(here, default, false);
                }
            }
            Some(_) => {}
        }
    }
}

fn coalesce(
    node: &Rc<RefCell<Node<'_>>>,
    into: &Table,
    keeps_nulls: bool,
    path: &mut Vec<String>,
) -> Result<(), Mismatch> {
    coalesce_values(&node.borrow(), into, keeps_nulls);
    let children = node.borrow().children.clone();
    for child in children {
        let name = child.borrow().name.clone();
        let part = match get(into, &name) {
            None => {
                let fresh = Table::default();
                into.borrow_mut()
                    .insert(name.clone(), Tree::Table(Rc::clone(&fresh)));
                fresh
            }
            Some(Tree::Table(table)) => table,
            Some(Tree::Leaf(found)) => {
                path.push(name);
                return Err(Mismatch {
                    path: path.clone(),
                    found,
                });
            }
        };
        coalesce_globals(&part, into);
        path.push(name);
        coalesce(&child, &part, keeps_nulls, path)?;
        path.pop();
    }
    Ok(())
}

fn coalesce_values(node: &Node<'_>, into: &Table, keeps_nulls: bool) {
    for (key, default) in entries(&node.values()) {
        match get(into, &key) {
            None => {
                into.borrow_mut().insert(key, default);
            }
            Some(value) if value.is_null() && !keeps_nulls => {
                into.borrow_mut().remove(&key);
            }
            Some(Tree::Table(value)) => {
                if let Tree::Table(default) = default {
                    let is_child = node.children.iter().any(|child| child.borrow().name == key);
                    coalesce_tables(&value, &default, keeps_nulls || is_child);
                }
            }
            Some(Tree::Leaf(_)) => {}
        }
    }
}

/// `coalesceTablesFullKey`: what `into` has wins.
pub(super) fn coalesce_tables(into: &Table, from: &Table, keeps_nulls: bool) {
    if Rc::ptr_eq(into, from) {
        return;
    }
    let had_value: Vec<String> = entries(from)
        .into_iter()
        .filter(|(_, tree)| !tree.is_null())
        .map(|(key, _)| key)
        .collect();
    for (key, tree) in entries(into) {
        if tree.is_null() {
            from.borrow_mut().insert(key, tree);
        }
    }
    for (key, value) in entries(from) {
        match get(into, &key) {
            Some(here)
                if !keeps_nulls && here.is_null() && had_value.binary_search(&key).is_ok() =>
            {
                into.borrow_mut().remove(&key);
            }
            None => {
                into.borrow_mut().insert(key, value);
            }
            Some(Tree::Table(here)) => {
                if let Tree::Table(value) = value {
                    coalesce_tables(&here, &value, keeps_nulls);
                }
            }
            Some(Tree::Leaf(_)) => {}
        }
    }
}

fn coalesce_globals(into: &Table, from: &Table) {
    let global = |table: &Table| match get(table, GLOBAL) {
        None => Some(Table::default()),
        Some(Tree::Table(table)) => Some(table),
        Some(Tree::Leaf(_)) => None,
    };
    let (Some(into_global), Some(from_global)) = (global(into), global(from)) else {
        return;
    };
    for (key, value) in entries(&from_global) {
        let here = get(&into_global, &key);
        match (value, here) {
            (Tree::Table(value), None) => {
                let copy = shallow_copy(&value);
                into_global.borrow_mut().insert(key, Tree::Table(copy));
            }
            (Tree::Table(value), Some(Tree::Table(here))) => {
                let copy = shallow_copy(&value);
                coalesce_tables(&copy, &here, true);
                into_global.borrow_mut().insert(key, Tree::Table(copy));
            }
            (Tree::Table(_), Some(Tree::Leaf(_))) | (Tree::Leaf(_), Some(Tree::Table(_))) => {}
            (leaf @ Tree::Leaf(_), _) => {
                into_global.borrow_mut().insert(key, leaf);
            }
        }
    }
    into.borrow_mut()
        .insert(GLOBAL.to_owned(), Tree::Table(into_global));
}

fn shallow_copy(table: &Table) -> Table {
    Rc::new(RefCell::new(table.borrow().clone()))
}
