//! Values as schemas look at them: a tree that is built anyway, or text with a chart's defaults laid below it, without
//! building the two together. Most values are right, and nothing more is ever made of those.

use super::text::{Inner, Piece, Shown, What};
use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Node, NodeIdentity, Object, SerdeJson};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::iter::Peekable;

/// The representation.
pub(super) struct Views;

/// One value of it.
#[derive(Debug, Clone, Copy)]
pub enum View<'a> {
    /// In a tree.
    Value(&'a Value),
    /// The user's values over the defaults that stand at the same place.
    Text(Piece<'a>, Option<Defaults<'a>>),
    /// The name of a member.
    Name(&'a str),
}

/// Defaults below the user's values, of a chart that has no subcharts (see `coalesce::overlaid`).
#[derive(Debug, Clone, Copy)]
pub struct Defaults<'a> {
    members: &'a Map<String, Value>,
    is_root: bool,
}

impl<'a> View<'a> {
    /// The user's values over a chart's defaults.
    pub(super) fn over(text: Piece<'a>, defaults: &'a Value) -> View<'a> {
        let defaults = defaults.as_object().map(|members| Defaults {
            members,
            is_root: true,
        });
        View::Text(text, defaults)
    }

    /// What it is.
    #[must_use]
    pub fn shown(self) -> Shown<'a> {
        match self {
            View::Value(Value::Null) => Shown::Null,
            View::Value(Value::Bool(is)) => Shown::Bool(*is),
            View::Value(Value::Number(number)) => Shown::Number(number),
            View::Value(Value::String(text)) => Shown::String(text),
            View::Value(Value::Array(_)) => Shown::List,
            View::Value(Value::Object(_)) => Shown::Map,
            View::Name(name) => Shown::String(name),
            View::Text(text, _) => text.shown(),
        }
    }

    /// How many items or members it has.
    #[must_use]
    pub fn len(self) -> usize {
        match (self.as_object(), self.as_array()) {
            (Some(members), _) => members.len(),
            (None, Some(items)) => items.len(),
            (None, None) => 0,
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// An item of a list.
    #[must_use]
    pub fn item(self, at: usize) -> Option<View<'a>> {
        match self.as_array()? {
            Items::Built(items) => items.get(at).map(View::Value),
            Items::Text(mut items) => items.nth(at).map(|(_, item)| View::Text(item, None)),
        }
    }

    /// A member of a map.
    #[must_use]
    pub fn member(self, name: &str) -> Option<View<'a>> {
        self.as_object()?.find(name)
    }

    /// The members of a map, in the order of their names.
    pub fn members(self) -> impl Iterator<Item = (&'a str, View<'a>)> {
        self.as_object().into_iter().flat_map(|all| all.members())
    }
}

impl Json for Views {
    type Node<'a> = View<'a>;
    type PreparedKey = String;
    type StringBuffer = ();

    const KEYS_PER_LOOKUP: usize = SerdeJson::KEYS_PER_LOOKUP;
    const ACYCLIC: bool = true;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>((): &mut (), string: &str, f: impl FnOnce(View<'_>) -> T) -> T {
        f(View::Name(string))
    }
}

impl<'a> Node<'a, Views> for View<'a> {
    type Object = Members<'a>;
    type Array = Items<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<Members<'a>> {
        match self {
            View::Value(Value::Object(members)) => Some(Members::Built(members)),
            View::Text(text, defaults) if text.is_map() => {
                Some(Members::Laid(text.inner(), *defaults))
            }
            _ => None,
        }
    }

    fn as_array(&self) -> Option<Items<'a>> {
        match self {
            View::Value(Value::Array(items)) => Some(Items::Built(items)),
            View::Text(text, _) if matches!(text.what(), What::List(_)) => {
                Some(Items::Text(text.inner()))
            }
            _ => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        match self {
            View::Value(Value::String(text)) => Some(Cow::Borrowed(text)),
            View::Name(name) => Some(Cow::Borrowed(name)),
            View::Text(text, _) => match text.what() {
                What::String(text) => Some(Cow::Borrowed(text)),
                _ => None,
            },
            View::Value(_) => None,
        }
    }

    fn as_number(&self) -> Option<&'a Number> {
        match self {
            View::Value(Value::Number(number)) => Some(number),
            View::Text(text, _) => match text.what() {
                What::Number(number) => Some(number),
                _ => None,
            },
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        match self {
            View::Value(Value::Bool(is)) => Some(*is),
            View::Text(text, _) => match text.what() {
                What::Bool(is) => Some(*is),
                _ => None,
            },
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        match self {
            View::Value(value) => value.is_null(),
            View::Text(text, _) => text.is_null(),
            View::Name(_) => false,
        }
    }

    fn json_type(&self) -> JsonType {
        match self {
            View::Value(value) => value.json_type(),
            View::Name(_) => JsonType::String,
            View::Text(text, _) => match text.what() {
                What::Null => JsonType::Null,
                What::Bool(_) => JsonType::Boolean,
                What::Number(_) => JsonType::Number,
                What::String(_) => JsonType::String,
                What::List(_) => JsonType::Array,
                What::Map(_) => JsonType::Object,
            },
        }
    }

    fn equals_value(&self, expected: &Value) -> bool {
        match (self, expected) {
            (View::Value(value), _) => value.equals_value(expected),
            // An enum is asked with every one of its values: no text is copied for that.
            (_, Value::String(text)) => self.as_string().is_some_and(|own| own == text.as_str()),
            _ => jsonschema::json::cmp::equal(&self.to_value(), expected),
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        match self {
            View::Value(value) => Cow::Borrowed(value),
            View::Name(name) => Cow::Owned(Value::from(*name)),
            View::Text(text, None) => Cow::Owned(text.to_value()),
            View::Text(text, Some(_)) => match self.as_object() {
                Some(members) => {
                    let members = members.members();
                    let members = members
                        .map(|(name, value)| (name.to_owned(), value.to_value().into_owned()));
                    Cow::Owned(Value::Object(members.collect()))
                }
                None => Cow::Owned(text.to_value()),
            },
        }
    }

    fn identity(&self) -> Option<NodeIdentity> {
        match self {
            View::Value(value) => value.identity(),
            View::Text(text, _) => Some(NodeIdentity::new(text.address())),
            View::Name(_) => None,
        }
    }
}

/// The members of a map.
pub(super) enum Members<'a> {
    Built(&'a Map<String, Value>),
    Laid(Inner<'a>, Option<Defaults<'a>>),
}

/// What one of the user's members is with the default below it; none when it takes that away.
fn laid<'a>(value: Piece<'a>, default: Option<&'a Value>, is_root: bool) -> Option<View<'a>> {
    match default {
        Some(default) if value.is_null() && (is_root || !default.is_null()) => None,
        Some(Value::Object(members)) if value.is_map() => {
            let below = Defaults {
                members,
                is_root: false,
            };
            Some(View::Text(value, Some(below)))
        }
        _ => Some(View::Text(value, None)),
    }
}

impl<'a> Members<'a> {
    fn find(&self, key: &str) -> Option<View<'a>> {
        match self {
            Members::Built(members) => Map::get(members, key).map(View::Value),
            Members::Laid(members, defaults) => match members.find(key) {
                Some(value) => {
                    let default = defaults.and_then(|defaults| defaults.members.get(key));
                    laid(
                        value,
                        default,
                        defaults.is_some_and(|defaults| defaults.is_root),
                    )
                }
                None => defaults.and_then(|defaults| defaults.members.get(key).map(View::Value)),
            },
        }
    }
}

impl<'a> Object<'a, Views> for Members<'a> {
    type Node = View<'a>;
    type MemberName = &'a str;
    type MembersIter = MembersIter<'a>;

    fn len(&self) -> usize {
        match self {
            Members::Built(members) => members.len(),
            Members::Laid(members, None) => members.len(),
            Members::Laid(_, Some(_)) => self.members().count(),
        }
    }

    fn get(&self, key: &String) -> Option<View<'a>> {
        self.find(key)
    }

    fn members(&self) -> MembersIter<'a> {
        match self {
            Members::Built(members) => MembersIter::Built(members.iter()),
            Members::Laid(members, None) => MembersIter::Text(members.clone()),
            Members::Laid(members, Some(defaults)) => MembersIter::Laid {
                user: members.clone().peekable(),
                defaults: defaults.members.iter().peekable(),
                is_root: defaults.is_root,
            },
        }
    }
}

/// All members of a map.
pub(super) enum MembersIter<'a> {
    Built(serde_json::map::Iter<'a>),
    Text(Inner<'a>),
    /// Both are in order of the names, so that one walk over both finds what belongs together.
    Laid {
        user: Peekable<Inner<'a>>,
        defaults: Peekable<serde_json::map::Iter<'a>>,
        is_root: bool,
    },
}

impl<'a> Iterator for MembersIter<'a> {
    type Item = (&'a str, View<'a>);

    fn next(&mut self) -> Option<(&'a str, View<'a>)> {
        let (user, defaults, is_root) = match self {
            MembersIter::Built(members) => {
                let (name, value) = members.next()?;
                return Some((name, View::Value(value)));
            }
            MembersIter::Text(members) => {
                let (name, value) = members.next()?;
                return Some((name, View::Text(value, None)));
            }
            MembersIter::Laid {
                user,
                defaults,
                is_root,
            } => (user, defaults, *is_root),
        };
        loop {
            let order = match (user.peek(), defaults.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((own, _)), Some((default, _))) => (*own).cmp(default.as_str()),
            };
            let default = if order == Ordering::Less {
                None
            } else {
                defaults.next()
            };
            if order == Ordering::Greater {
                return default.map(|(name, value)| (name.as_str(), View::Value(value)));
            }
            let (name, value) = user.next()?;
            if let Some(view) = laid(value, default.map(|(_, default)| default), is_root) {
                return Some((name, view));
            }
        }
    }
}

/// The items of a list.
pub(super) enum Items<'a> {
    Built(&'a [Value]),
    Text(Inner<'a>),
}

impl<'a> Array<'a, Views> for Items<'a> {
    type Node = View<'a>;
    type ElementsIter = ItemsIter<'a>;

    fn len(&self) -> usize {
        match self {
            Items::Built(items) => items.len(),
            Items::Text(items) => items.len(),
        }
    }

    fn elements(&self) -> ItemsIter<'a> {
        match self {
            Items::Built(items) => ItemsIter::Built(items.iter()),
            Items::Text(items) => ItemsIter::Text(items.clone()),
        }
    }
}

pub(super) enum ItemsIter<'a> {
    Built(std::slice::Iter<'a, Value>),
    Text(Inner<'a>),
}

impl<'a> Iterator for ItemsIter<'a> {
    type Item = View<'a>;

    fn next(&mut self) -> Option<View<'a>> {
        match self {
            ItemsIter::Built(items) => items.next().map(View::Value),
            ItemsIter::Text(items) => items.next().map(|(_, item)| View::Text(item, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charts::coalesce::overlaid;
    use crate::charts::text::Text;
    use crate::charts::text::tests::value;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn keeps_the_contract_of_representations() {
        let document = jsonschema::json::conformance::document();
        let text = document.to_string();
        let text: Text<'_> = serde_json::from_str(&text).unwrap();
        jsonschema::json::conformance::assert_conformance::<Views>(&View::Text(text.root(), None));
        jsonschema::json::conformance::assert_conformance::<Views>(&View::Value(&document));
        // One half in the values, the other in the defaults.
        let mut halves = [json!({}), json!({})];
        for (number, (name, value)) in document.as_object().unwrap().iter().enumerate() {
            halves[number % 2][name] = value.clone();
        }
        let text = halves[0].to_string();
        let text: Text<'_> = serde_json::from_str(&text).unwrap();
        jsonschema::json::conformance::assert_conformance::<Views>(&View::over(
            text.root(),
            &halves[1],
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn values_over_defaults_are_what_merging_makes(user in value(), defaults in value()) {
            let user = json!({"a": user});
            let defaults = json!({"a": defaults, "b": 1});
            let text = user.to_string();
            let text: Text<'_> = serde_json::from_str(&text).unwrap();
            let view = View::over(text.root(), &defaults);
            let merged = overlaid(&crate::charts::as_go(user), &defaults);
            prop_assert_eq!(&*view.to_value(), &merged);
            let members = view.as_object().unwrap();
            prop_assert_eq!(members.len(), merged.as_object().unwrap().len());
            for name in ["a", "b", "c"] {
                let found = members.get(&name.to_owned()).map(|view| view.to_value().into_owned());
                prop_assert_eq!(found.as_ref(), merged.get(name));
            }
        }
    }
}
