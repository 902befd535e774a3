//! Helm's verdict on a chart's values, without Helm: how Helm 3.21 merges defaults, parents, globals and nulls, which
//! subcharts it enables, and what their schemas say of the result.
//!
//! ```text
//! Chart (read elsewhere) --compile--> Compiled --judge(values)--> violations, each with its path
//!                                              --departures(values)--> warnings where there is no schema
//! ```
//!
//! Oracle: `helm template`. The end-to-end tests hold both against each other on charts made for the purpose.

mod coalesce;
mod component;
mod defaults;
mod dependencies;
mod document;
mod formats;
mod range;
mod schema;
mod shape;
mod text;
mod view;

pub use component::{Component, OwnSchema, Values};
pub use document::{Document, Texts};
pub use range::{is_compatible, is_version};
pub use text::{Piece, Shown, Text};
pub use view::View;

use crate::contract::{Cause, FieldPath, Violation};
use coalesce::{Mismatch, Table, Tree};
use dependencies::Node;
use schema::Schema;
use serde_json::{Number, Value};
use std::cell::RefCell;
use std::rc::Rc;

/// Values that come from a Secret that is never read: what is missing below them is not known to be missing.
pub const FROM_SECRET: [&str; 2] = ["_cluster", "_namespace"];

/// A chart as it was read: what decides on values, and nothing else.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chart {
    /// `name` of Chart.yaml.
    pub name: String,
    /// `version` of Chart.yaml.
    pub version: String,
    /// Whether its `type` is `library`: such a chart cannot be installed by itself.
    pub is_library: bool,
    /// `dependencies` of Chart.yaml; none when there is no such member, which Helm tells from an empty list.
    pub dependencies: Option<Vec<Dependency>>,
    /// values.yaml: an object, or null.
    pub values: Value,
    /// The text of values.schema.json.
    pub schema: Option<String>,
    /// The charts below `charts/`, whether declared or not.
    pub subcharts: Vec<Chart>,
}

/// An entry of `dependencies` in Chart.yaml.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dependency {
    /// The name of the chart.
    pub name: String,
    /// The range of versions.
    pub version: String,
    /// The name under which its values stand, where that is another one.
    pub alias: Option<String>,
    /// Paths of booleans, separated by commas; the first that is there decides.
    pub condition: String,
    /// Names below the top-level `tags`.
    pub tags: Vec<String>,
    /// What of the child's values becomes the parent's.
    pub import_values: Vec<Import>,
}

/// An entry of `import-values`.
#[derive(Debug, Clone, PartialEq)]
pub enum Import {
    /// What stands below `exports.<name>` becomes the parent's.
    Exported(String),
    /// What stands at `child` becomes the parent's at `parent`; `.` is the parent's root.
    At {
        /// The path in the child, with dots.
        child: String,
        /// The path in the parent, with dots.
        parent: String,
    },
}

/// What Helm would say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judgement {
    /// What Helm would refuse, with full paths.
    pub violations: Vec<Violation>,
    /// Charts whose schema cannot be judged here, and why: Helm may refuse what is not refused here.
    pub unjudged: Vec<String>,
    /// What the defaults of charts without a schema have no place for, where it was asked for.
    pub departures: Vec<Departure>,
}

impl Judgement {
    /// Whether Helm would accept the values, as far as it is known.
    #[must_use]
    pub fn accepts(&self) -> bool {
        self.violations.is_empty()
    }
}

/// A value of the user for which the defaults of a chart without a schema have no place.
#[derive(Debug, Clone, PartialEq)]
pub struct Departure {
    /// Where it stands.
    pub field: FieldPath,
    /// What is odd about it, with the nearest known path.
    pub detail: String,
}

impl std::fmt::Display for Departure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.field, self.detail)
    }
}

/// A chart made ready to be asked many times: schemas are compiled and defaults are prepared once.
pub struct Compiled {
    root: Prepared,
}

/// One chart of the tree.
struct Prepared {
    name: String,
    version: String,
    is_library: bool,
    dependencies: Option<Vec<Dependency>>,
    values: Value,
    schema: Schema,
    subcharts: Vec<Prepared>,
}

/// A chart while one question is answered; aliases share parts of it.
type Shared<'a> = Rc<RefCell<Node<'a>>>;

impl Prepared {
    fn new(chart: &Chart) -> Prepared {
        Prepared {
            name: chart.name.clone(),
            version: chart.version.clone(),
            is_library: chart.is_library,
            dependencies: chart.dependencies.clone(),
            values: as_go(chart.values.clone()),
            schema: chart.schema.as_deref().map_or(Schema::None, Schema::new),
            subcharts: chart.subcharts.iter().map(Prepared::new).collect(),
        }
    }

    /// Whether it has no subcharts: then its values are merged with its defaults, and that is all.
    fn is_alone(&self) -> bool {
        self.subcharts.is_empty() && self.dependencies.as_ref().is_none_or(Vec::is_empty)
    }
}

impl Compiled {
    /// Compiles the schemas of a chart and of everything below it. What is wrong with one of them is told when it is
    /// asked for, as Helm does: a subchart that is not enabled may have any schema.
    #[must_use]
    pub fn new(chart: &Chart) -> Compiled {
        Compiled {
            root: Prepared::new(chart),
        }
    }

    /// What Helm would say of the user's values, which stand at `base`.
    ///
    /// `values` is what `-f` gives, or `spec.values`: an object, or null.
    #[must_use]
    pub fn judge(&self, base: &FieldPath, values: &Value) -> Judgement {
        let mut judgement = Judgement::default();
        if self.root.is_library {
            judgement.violations.push(Violation::policy(format!(
                "chart {:?} is a library and cannot be installed",
                self.root.name
            )));
            return judgement;
        }
        if let Some(missing) = self.missing_subcharts() {
            judgement.violations.push(Violation::policy(missing));
            return judgement;
        }
        if !values.is_object() && !values.is_null() {
            judgement.violations.push(Violation {
                field: base.clone(),
                cause: Cause::TypeInvalid,
                found: Some(schema::kind_of(values).into()),
                detail: "must be an object".to_owned(),
                insistable: false,
                fingerprint: None,
                policy: None,
            });
            return judgement;
        }
        let values = as_go(values.clone());
        match self.merge(&values) {
            Ok((root, merged)) => validate(&root, base, base, &merged, &values, &mut judgement),
            Err(mismatch) => judgement
                .violations
                .push(mismatch_violation(base, &mismatch)),
        }
        judgement
    }

    /// The values that templates would get from the user's values, those of subcharts among them, unless Helm stops
    /// before it has them. Schemas are not asked.
    #[must_use]
    pub fn merged(&self, values: &Value) -> Option<Value> {
        let (_, merged) = self.merge(&as_go(values.clone())).ok()?;
        Some(merged)
    }

    /// Where the user's values leave the defaults of charts that have no schema: keys that are nowhere in the
    /// defaults, and scalars where a map or list is (and the reverse). Never a reason to refuse.
    #[must_use]
    pub fn departures(&self, base: &FieldPath, values: &Value) -> Vec<Departure> {
        let values = as_go(values.clone());
        let root = dependencies::instance(&self.root);
        if self.root.is_alone() {
            return defaults::departures(&root, base, &values, &self.root.values);
        }
        if dependencies::process(&root, &table_of(&values)).is_err() {
            return Vec::new();
        }
        let nothing = table_of(&Value::Null);
        // Nulls are kept: a default of null is known, and says nothing of what may stand there.
        match coalesce::coalesced(&root, &nothing, true) {
            Ok(known) => defaults::departures(&root, base, &values, &Tree::Table(known).to_value()),
            Err(_) => Vec::new(),
        }
    }

    /// The chart once its subcharts are resolved, and all values together.
    fn merge(&self, user: &Value) -> Result<(Shared<'_>, Value), Mismatch> {
        let root = dependencies::instance(&self.root);
        if self.root.is_alone() {
            let merged = coalesce::overlaid(user, &self.root.values);
            return Ok((root, merged));
        }
        let user = table_of(user);
        dependencies::process(&root, &user)?;
        let merged = coalesce::coalesced(&root, &user, false)?;
        Ok((root, Tree::Table(merged).to_value()))
    }

    fn missing_subcharts(&self) -> Option<String> {
        let declared = self.root.dependencies.as_ref()?;
        let missing: Vec<&str> = declared
            .iter()
            .map(|dependency| dependency.name.as_str())
            .filter(|name| !self.root.subcharts.iter().any(|chart| chart.name == *name))
            .collect();
        (!missing.is_empty()).then(|| {
            format!(
                "chart {:?} declares subcharts that are not in its charts/ folder: {}",
                self.root.name,
                missing.join(", ")
            )
        })
    }
}

/// Several files of values as one, the later over the earlier: maps are merged, everything else is replaced, and a null
/// stays a null. So do `-f` several times, Flux with valuesFiles, and a copy with the strategy Merge.
#[must_use]
pub fn merged<'a>(files: impl IntoIterator<Item = &'a Value>) -> Value {
    fn merge(into: &mut Value, from: &Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    match into.get_mut(key) {
                        Some(here) => merge(here, value),
                        None => {
                            into.insert(key.clone(), value.clone());
                        }
                    }
                }
            }
            (into, from) => *into = from.clone(),
        }
    }
    let mut all = Value::Object(serde_json::Map::new());
    for file in files.into_iter().filter(|file| file.is_object()) {
        merge(&mut all, file);
    }
    all
}

/// Helm holds every number as a 64-bit float.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "that is what Helm's numbers lose"
)]
fn go_number(number: Number) -> Number {
    /// From here on a float cannot hold every integer.
    const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;
    const I64_BELOW: f64 = 9_223_372_036_854_775_808.0;
    const U64_BELOW: f64 = 18_446_744_073_709_551_616.0;
    let Some(float) = number.as_f64() else {
        return number;
    };
    if number.is_i64() && float.abs() < EXACT_BELOW {
        number
    } else if float.fract() != 0.0 {
        Number::from_f64(float).unwrap_or(number)
    } else if float.abs() < I64_BELOW {
        (float as i64).into()
    } else if float > 0.0 && float < U64_BELOW {
        (float as u64).into()
    } else {
        Number::from_f64(float).unwrap_or(number)
    }
}

/// All numbers of a value as Helm holds them.
fn as_go(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(go_number(number)),
        Value::Array(items) => items.into_iter().map(as_go).collect(),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(key, value)| (key, as_go(value)))
                .collect(),
        ),
        other => other,
    }
}

fn table_of(value: &Value) -> Table {
    match Tree::from_value(value) {
        Tree::Table(table) => table,
        Tree::Leaf(_) => Table::default(),
    }
}

/// Every enabled chart's part against its own schema (`chartutil.ValidateAgainstSchema`).
fn validate(
    node: &Shared<'_>,
    base: &FieldPath,
    here: &FieldPath,
    merged: &Value,
    user: &Value,
    judgement: &mut Judgement,
) {
    let node = node.borrow();
    match node.prepared.schema.judge(here, merged) {
        schema::Said::Nothing => {}
        schema::Said::Unjudged(why) => judgement.unjudged.push(format!("{}: {why}", node.name)),
        schema::Said::Broken(why) => judgement.violations.push(Violation {
            field: here.clone(),
            ..Violation::policy(format!(
                "chart {:?} cannot be installed: its values.schema.json {why}",
                node.name
            ))
        }),
        schema::Said::Wrong(found) => {
            let known = |field: &FieldPath| is_known(base, field, user);
            judgement.violations.extend(
                found
                    .into_iter()
                    .filter_map(|finding| finding.known(&known)),
            );
        }
    }
    for child in &node.children {
        let name = child.borrow().name.clone();
        if let Some(part) = merged.get(&name).filter(|part| part.is_object()) {
            validate(
                child,
                base,
                &schema::below(here, &name),
                part,
                user,
                judgement,
            );
        }
    }
}

/// Below the keys of the Secret only what the user writes is known: the Secret may replace everything else.
fn is_known(base: &FieldPath, field: &FieldPath, user: &Value) -> bool {
    let start = base.segments().len();
    let mut steps = field.segments().iter().skip(start);
    let is_from_secret = steps
        .next()
        .and_then(schema::name_of)
        .is_some_and(|name| FROM_SECRET.contains(&name));
    if !is_from_secret {
        return true;
    }
    let relative = field.to_pointer();
    let offset = base.to_pointer().len();
    relative
        .get(offset..)
        .is_some_and(|pointer| user.pointer(pointer).is_some())
}

fn mismatch_violation(base: &FieldPath, mismatch: &Mismatch) -> Violation {
    let mut field = base.clone();
    for name in &mismatch.path {
        field = schema::below(&field, name);
    }
    Violation {
        field,
        cause: Cause::TypeInvalid,
        found: Some(schema::kind_of(&mismatch.found).into()),
        detail: format!(
            "must be an object: the values of the subchart {:?}",
            mismatch.path.last().map_or("", String::as_str)
        ),
        insistable: false,
        fingerprint: None,
        policy: None,
    }
}

#[cfg(test)]
mod tests;
