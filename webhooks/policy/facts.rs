//! What of one request expressions may read. Nothing is looked up, and no text is taken apart, before one of them asks.

use super::matching::{Labels, Matched};
use super::others::Others;
use super::parts::Uses;
use super::{BRIEF_STEPS_MAX, Policy};
use crate::cel::{Document, Map, Node, Scope, Text, Value};
use crate::charts::{Piece, Text as Parts, Texts as _};
use crate::contract::{Chart, Fault, Json, Object, Request};
use crate::cozystack_resource_definition::catalogue::artifact_name;
use crate::kinds::{PACKAGE_SOURCES, PACKAGES};
use crate::packages::{Component, DEFAULT_VARIANT, Source};
use serde_json::Value as Tree;
use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;
use std::rc::Rc;

/// A Package before or after the change.
struct Side<'r> {
    json: Json<'r>,
    texts: Document<'r>,
    /// Values, where nobody keeps them for all rules.
    values: Document<'r>,
    variant: OnceCell<String>,
    labels: OnceCell<Labels>,
}

impl<'r> Side<'r> {
    fn of(json: Json<'r>) -> Side<'r> {
        Side {
            json,
            texts: Document::new(json.get()),
            values: Document::of_values(json.get()),
            variant: OnceCell::new(),
            labels: OnceCell::new(),
        }
    }

    fn value(&self) -> Value<'_> {
        Value::of_json(self.json, &self.texts)
    }

    fn at(&self, path: &[&str]) -> Option<Value<'_>> {
        path.iter()
            .try_fold(self.value(), |value, name| match value {
                Value::Map(map) => map.member(name),
                _ => None,
            })
    }

    /// The variant that is installed.
    fn variant(&self) -> &str {
        self.variant
            .get_or_init(|| match self.at(&["spec", "variant"]) {
                Some(Value::String(text)) if !text.is_empty() => text.to_string(),
                _ => DEFAULT_VARIANT.to_owned(),
            })
    }

    fn labels(&self) -> &Labels {
        self.labels.get_or_init(|| {
            let Some(Value::Map(labels)) = self.at(&["metadata", "labels"]) else {
                return Labels::new();
            };
            let labels = labels.members().filter_map(|pair| match pair {
                (Value::String(key), Value::String(value)) => {
                    Some((key.to_string(), value.to_string()))
                }
                _ => None,
            });
            labels.collect()
        })
    }

    /// The components of which it says something.
    fn components(&self) -> Vec<String> {
        let Some(Value::Map(components)) = self.at(&["spec", "components"]) else {
            return Vec::new();
        };
        // Their names are known without what they hold.
        if let Map::Node(Node::Json(json, _)) = components
            && let Some(names) = json.names()
        {
            return names.map(ToOwned::to_owned).collect();
        }
        let names = components.members().filter_map(|(key, _)| match key {
            Value::String(name) => Some(name.to_string()),
            _ => None,
        });
        names.collect()
    }
}

/// A component, and what is known of its values.
pub struct Part {
    /// Its name.
    pub name: String,
    new: Laid,
    old: Laid,
}

/// A chart's defaults below values.
#[derive(Default)]
struct Laid {
    chart: OnceCell<Chart>,
    merged: OnceCell<Option<Tree>>,
}

/// Why expressions cannot be asked.
pub enum Unbound {
    /// As an expression fails.
    Failed(String),
    /// The request cannot be decided.
    Fault(Fault),
}

/// One request about a Package.
pub struct Facts<'r> {
    /// The request.
    pub request: Request<'r>,
    name: String,
    object: Option<Side<'r>>,
    old: Option<Side<'r>>,
    user: Option<Side<'r>>,
    source: OnceCell<Option<std::sync::Arc<Object>>>,
    others: Others<'r>,
    parts: OnceCell<Vec<Part>>,
    /// What values are where there are none.
    nothing: OnceCell<Parts<'static>>,
    is_same_spec: OnceCell<bool>,
    /// How many steps may be taken where others wait; none where nobody does.
    pub(super) brief_steps: Cell<Option<u64>>,
}

impl<'r> Facts<'r> {
    /// Of a request about a Package.
    #[must_use]
    pub fn of(request: &Request<'r>) -> Facts<'r> {
        let object = request.object.map(Side::of);
        let old = request.old_object.map(Side::of);
        let name = if request.name.is_empty() {
            let object = object.as_ref();
            match object.and_then(|object| object.at(&["metadata", "name"])) {
                Some(Value::String(name)) => name.to_string(),
                _ => String::new(),
            }
        } else {
            request.name.to_owned()
        };
        Facts {
            request: *request,
            name,
            object,
            old,
            user: request.user_info.map(Side::of),
            source: OnceCell::new(),
            others: Others::of(request.cluster),
            parts: OnceCell::new(),
            nothing: OnceCell::new(),
            is_same_spec: OnceCell::new(),
            brief_steps: Cell::new(request.deadline.is_brief().then_some(BRIEF_STEPS_MAX)),
        }
    }

    /// Name of the Package.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// After the change; on DELETE before it.
    fn subject(&self) -> Option<&Side<'r>> {
        self.object.as_ref().or(self.old.as_ref())
    }

    /// Whether an expression has looked at a part of the Package that cannot be held.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        let sides = self.object.iter().chain(&self.old).chain(&self.user);
        sides.into_iter().any(|side| side.texts.is_unreadable())
    }

    /// Whether that by which policies are matched can be read: labels are asked for where one of them selects by them.
    #[must_use]
    pub fn can_be_matched(&self, by_labels: bool) -> bool {
        for side in self.object.iter().chain(&self.old) {
            side.variant();
            if by_labels {
                side.labels();
            }
            side.components();
        }
        !self.is_unreadable()
    }

    /// The labels after and before the change.
    #[must_use]
    pub fn labels(&self) -> Vec<&Labels> {
        let sides = self.object.iter().chain(&self.old);
        sides.map(Side::labels).collect()
    }

    /// Whether the policy is about this request.
    #[must_use]
    pub fn are_matched_by(&self, policy: &Policy, labels: &[&Labels]) -> bool {
        policy.matching.matches(&Matched {
            name: &self.name,
            operation: self.request.operation,
            variant: self.subject().map_or(DEFAULT_VARIANT, Side::variant),
            labels,
        })
    }

    fn source(&self) -> Option<&Object> {
        let looked_up = || {
            let cluster = self.request.cluster;
            cluster.get(&PACKAGE_SOURCES, "", &self.name)
        };
        self.source.get_or_init(looked_up).as_deref()
    }

    /// The components of the installed variant, in the source's order, then those that only the Package names.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        self.parts.get_or_init(|| {
            let Some(subject) = self.subject() else {
                return Vec::new();
            };
            let variant = self
                .source()
                .and_then(|source| Source::of(source).variant(subject.variant()));
            let known = variant.into_iter().flat_map(|variant| {
                let names = variant.components().map(Component::name);
                names.map(ToOwned::to_owned).collect::<Vec<_>>()
            });
            let mut seen = BTreeSet::new();
            known
                .chain(subject.components())
                .filter(|name| seen.insert(name.clone()))
                .map(|name| Part {
                    name,
                    new: Laid::default(),
                    old: Laid::default(),
                })
                .collect()
        })
    }

    /// Why the values of a component are not merged with its chart's defaults, if they are not.
    #[must_use]
    pub fn why_without_defaults(&self, part: &Part) -> Option<String> {
        let subject = self.subject()?;
        match self.chart(subject, part) {
            Chart::Known(_) => None,
            Chart::Unknown(why) => Some(why.to_string()),
        }
    }

    fn laid<'e>(&self, side: &Side<'_>, part: &'e Part) -> &'e Laid {
        let is_old = self
            .old
            .as_ref()
            .is_some_and(|old| std::ptr::eq(old.json.get(), side.json.get()));
        if is_old { &part.old } else { &part.new }
    }

    fn chart<'e>(&self, side: &Side<'_>, part: &'e Part) -> &'e Chart {
        self.laid(side, part).chart.get_or_init(|| {
            let artifact = artifact_name(&self.name, side.variant(), &part.name);
            self.request.cluster.chart(&artifact)
        })
    }

    /// The values of a component, over the chart's defaults where these are known.
    fn values<'e>(
        &'e self,
        side: Option<&'e Side<'r>>,
        part: &'e Part,
    ) -> Result<Value<'e>, Unbound> {
        let Some(side) = side else {
            return Ok(Value::Null);
        };
        let written = side.at(&["spec", "components", &part.name, "values"]);
        let piece: Piece<'e> = match written {
            None | Some(Value::Null) => {
                let read = || Parts::read("{}").unwrap_or_default();
                self.nothing.get_or_init(read).root()
            }
            Some(Value::Map(Map::Node(Node::Piece(piece)))) => piece,
            Some(Value::Map(Map::Node(Node::Json(json, _)))) => {
                let shared = json.values().map(Parts::root);
                match shared.or_else(|| side.values.piece(json.get())) {
                    Some(piece) => piece,
                    None => {
                        return Err(Unbound::Failed(format!(
                            "the values of {} cannot be read",
                            part.name
                        )));
                    }
                }
            }
            Some(other) => return Ok(other),
        };
        let Chart::Known(chart) = self.chart(side, part) else {
            return Ok(Value::of_piece(piece));
        };
        if let Some(view) = chart.over(piece) {
            return Ok(Value::of_view(view));
        }
        // Charts with subcharts have thousands of defaults.
        self.request.deadline.check_long().map_err(Unbound::Fault)?;
        let merged = &self.laid(side, part).merged;
        match merged.get_or_init(|| chart.merged(&piece.to_value())) {
            Some(merged) => Ok(Value::of_tree(merged)),
            // Helm would not get that far, and another rule says so.
            None => Ok(Value::of_piece(piece)),
        }
    }

    /// Binds what the policy's expressions use.
    pub(super) fn bind<'e>(
        &'e self,
        scope: &mut Scope<'e>,
        uses: &Uses,
        part: Option<&'e Part>,
        params: Option<&'e Tree>,
    ) -> Result<(), Unbound> {
        let or_null = |side: &'e Option<Side<'r>>| side.as_ref().map_or(Value::Null, Side::value);
        scope.bind("object", or_null(&self.object));
        scope.bind("oldObject", or_null(&self.old));
        scope.bind("params", params.map_or(Value::Null, Value::of_tree));
        if uses.has("request") {
            scope.bind("request", self.request_value());
        }
        if uses.has("source") {
            let source = self.source();
            let source = source.map_or(Value::Null, |source| Value::of_tree(&source.value));
            scope.bind("source", source);
        }
        if uses.has("packages") {
            scope.bind("packages", Value::Map(Map::Lookup(&self.others)));
        }
        if let Some(part) = part {
            scope.bind("component", Value::String(Text::Borrowed(&part.name)));
            if uses.has("values") {
                scope.bind("values", self.values(self.object.as_ref(), part)?);
            }
            if uses.has("oldValues") {
                scope.bind("oldValues", self.values(self.old.as_ref(), part)?);
            }
        }
        Ok(())
    }

    /// `request`, as in an AdmissionRequest.
    fn request_value(&self) -> Value<'_> {
        let fields = |fields: Vec<(&'static str, &'r str)>| {
            let fields = fields.into_iter();
            let fields = fields.map(|(name, text)| (name, Value::String(Text::Borrowed(text))));
            Value::Map(Map::Fields(Rc::new(fields.collect())))
        };
        let request = &self.request;
        let kind = fields(vec![
            ("group", request.group),
            ("version", request.version),
            ("kind", request.kind),
        ]);
        let resource = fields(vec![
            ("group", request.group),
            ("version", request.version),
            ("resource", PACKAGES.resource.plural),
        ]);
        let user = match &self.user {
            Some(user) => user.value(),
            None => fields(Vec::new()),
        };
        Value::Map(Map::Fields(Rc::new(vec![
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("requestKind", kind),
            ("requestResource", resource),
            ("name", Value::String(Text::Borrowed(request.name))),
            (
                "operation",
                Value::String(Text::Borrowed(request.operation.as_str())),
            ),
            ("userInfo", user),
            ("dryRun", Value::Bool(request.dry_run)),
        ])))
    }

    /// Whether a change leaves alone what the policy judges: the values of the component, whether it is installed and in
    /// which variant, or all that its expressions can read of the Package. Then what is wrong is an old sin.
    #[must_use]
    pub fn is_unchanged(&self, policy: &Policy, part: Option<&Part>) -> bool {
        let (Some(new), Some(old)) = (&self.object, &self.old) else {
            return false;
        };
        if self.is_unreadable() {
            // What cannot be read looks empty on both sides.
            return new.json.get() == old.json.get();
        }
        let is_same = |path: &[&str]| match (new.at(path), old.at(path)) {
            (Some(new), Some(old)) => is_same(&new, &old),
            (new, old) => new.is_none() && old.is_none(),
        };
        let is_same_thing = match part {
            Some(part) if !policy.uses.has_object() => {
                new.variant() == old.variant() && is_same(&["spec", "components", &part.name])
            }
            _ => *self.is_same_spec.get_or_init(|| is_same(&["spec"])),
        };
        let selects = !policy.matching.selector.is_empty();
        let mut metadata = policy.uses.metadata.iter();
        is_same_thing
            && (!selects || is_same(&["metadata", "labels"]))
            && metadata.all(|member| is_same(&["metadata", member]))
    }
}

/// Whether two parts of objects are the same.
fn is_same(one: &Value<'_>, other: &Value<'_>) -> bool {
    match (one, other) {
        (
            Value::Map(Map::Node(Node::Json(one, _))),
            Value::Map(Map::Node(Node::Json(other, _))),
        ) if one.get() == other.get() => true,
        // Members stand in the order of their names on both sides.
        (Value::Map(one), Value::Map(other)) => {
            let mut both = one.members().zip(other.members());
            one.len() == other.len()
                && both.all(|((own, one), (name, other))| {
                    is_same(&own, &name) && is_same(&one, &other)
                })
        }
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other.iter())
                    .all(|(one, other)| is_same(&one, &other))
        }
        (Value::String(one), Value::String(other)) => **one == **other,
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Null, Value::Null) => true,
        // What is written otherwise is not the same.
        (Value::Int(one), Value::Int(other)) => one == other,
        (Value::Double(one), Value::Double(other)) => one.to_bits() == other.to_bits(),
        _ => false,
    }
}
