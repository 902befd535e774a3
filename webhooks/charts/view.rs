//! Values as schemas look at them: a tree that is built anyway, or text with a chart's defaults laid below it, without
//! building the two together. Most values are right, and nothing more is ever made of those.

use crate::contract::document::Name;
use crate::contract::skim::Cursor;
use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Node, NodeIdentity, Object, SerdeJson};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::iter::Peekable;

/// JSON text taken apart, its strings where they are, its numbers as Helm holds them.
#[derive(Debug, Clone, PartialEq)]
pub enum Text<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(Cow<'a, str>),
    /// A list.
    List(Vec<Text<'a>>),
    /// A map, in order of the names, each of them once.
    Map(Vec<Member<'a>>),
}

/// A name and what stands there.
type Member<'a> = (Cow<'a, str>, Text<'a>);

impl<'a> Text<'a> {
    /// Takes a text apart.
    ///
    /// # Errors
    /// When it is no JSON, or a number, a string or the depth of it is beyond what can be held.
    pub fn read(text: &'a str) -> Result<Text<'a>, serde_json::Error> {
        match Text::of_known(&mut Cursor::new(text), 0) {
            Some(text) => Ok(text),
            None => serde_json::from_str(text),
        }
    }

    /// What comes; none where a closer look is due.
    pub fn from_known(cursor: &mut Cursor<'a>) -> Option<Text<'a>> {
        Text::of_known(cursor, 0)
    }

    fn of_known(cursor: &mut Cursor<'a>, depth: usize) -> Option<Text<'a>> {
        if depth > KNOWN_DEPTH_MAX {
            return None;
        }
        Some(match cursor.peek()? {
            b'{' => {
                let mut map = MapBuilder::default();
                cursor.members(|name, value| {
                    map.push(Cow::Borrowed(name), Text::of_known(value, depth + 1)?);
                    Some(())
                })?;
                map.build()
            }
            b'[' => {
                let mut list = Vec::new();
                cursor.items(|item| {
                    list.push(Text::of_known(item, depth + 1)?);
                    Some(())
                })?;
                Text::List(list)
            }
            b'"' => match cursor.string() {
                Some(text) => Text::String(Cow::Borrowed(text)),
                None => Text::String(Cow::Owned(serde_json::from_str(cursor.value()?).ok()?)),
            },
            _ => match cursor.value()? {
                "null" => Text::Null,
                "true" => Text::Bool(true),
                "false" => Text::Bool(false),
                number => Text::Number(known_number(number)?),
            },
        })
    }
}

/// Deepest nesting that is read without serde, which knows when to stop.
const KNOWN_DEPTH_MAX: usize = 100;
/// Longest number, in bytes, that is a whole one which every float can hold.
const SMALL_NUMBER_MAX_BYTES: usize = 15;

fn known_number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_small =
        text.len() <= SMALL_NUMBER_MAX_BYTES && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_small {
        return text.parse::<i64>().ok().map(Number::from);
    }
    let number: Number = serde_json::from_str(text).ok()?;
    Some(super::go_number(number))
}

/// Puts members in order.
struct MapBuilder<'a> {
    members: Vec<Member<'a>>,
    is_sorted: bool,
}

impl Default for MapBuilder<'_> {
    fn default() -> Self {
        MapBuilder {
            members: Vec::with_capacity(USUAL_MEMBERS),
            is_sorted: true,
        }
    }
}

impl<'a> MapBuilder<'a> {
    fn push(&mut self, name: Cow<'a, str>, value: Text<'a>) {
        self.is_sorted &= self.members.last().is_none_or(|(last, _)| *last < name);
        self.members.push((name, value));
    }

    fn build(mut self) -> Text<'a> {
        // API servers write maps in the order of the names.
        if !self.is_sorted {
            // Of a name that is there twice the last counts, as everywhere: the sort keeps it behind the others.
            self.members.sort_by(|one, two| one.0.cmp(&two.0));
            self.members.reverse();
            self.members.dedup_by(|later, kept| later.0 == kept.0);
            self.members.reverse();
        }
        Text::Map(self.members)
    }
}

impl Text<'_> {
    /// How deep lists and maps are nested.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self {
            Text::List(items) => 1 + items.iter().map(Text::depth).max().unwrap_or(0),
            Text::Map(members) => {
                let depths = members.iter().map(|(_, value)| value.depth());
                1 + depths.max().unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// How many values there are, this one included.
    #[must_use]
    pub fn parts(&self) -> usize {
        match self {
            Text::List(items) => 1 + items.iter().map(Text::parts).sum::<usize>(),
            Text::Map(members) => {
                let parts = members.iter().map(|(_, value)| value.parts());
                1 + parts.sum::<usize>()
            }
            _ => 1,
        }
    }

    /// The same as a tree of its own.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Text::Null => Value::Null,
            Text::Bool(is) => Value::Bool(*is),
            Text::Number(number) => Value::Number(number.clone()),
            Text::String(text) => Value::String(text.clone().into_owned()),
            Text::List(items) => items.iter().map(Text::to_value).collect(),
            Text::Map(members) => {
                let members = members.iter();
                let members = members.map(|(name, value)| (name.to_string(), value.to_value()));
                Value::Object(members.collect())
            }
        }
    }
}

/// Room for this many members is made at once.
const USUAL_MEMBERS: usize = 8;

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any JSON value")
            }

            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::Null)
            }

            fn visit_bool<E>(self, is: bool) -> Result<Text<'de>, E> {
                Ok(Text::Bool(is))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Text<'de>, E> {
                Ok(Text::Number(super::go_number(number.into())))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Text<'de>, E> {
                Ok(Text::Number(super::go_number(number.into())))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Text<'de>, E> {
                let number = Number::from_f64(number);
                Ok(number.map_or(Text::Null, |number| Text::Number(super::go_number(number))))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text::String(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text::String(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Text<'de>, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Text::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Text<'de>, A::Error> {
                let mut map = MapBuilder::default();
                while let Some((Name(name), value)) = members.next_entry()? {
                    map.push(name, value);
                }
                Ok(map.build())
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

/// The representation.
pub(super) struct Views;

/// One value of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum View<'a> {
    Value(&'a Value),
    /// The user's values over the defaults that stand at the same place.
    Text(&'a Text<'a>, Option<Defaults<'a>>),
    Name(&'a str),
}

/// Defaults below the user's values, of a chart that has no subcharts (see `coalesce::overlaid`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults<'a> {
    members: &'a Map<String, Value>,
    is_root: bool,
}

impl<'a> View<'a> {
    /// The user's values over a chart's defaults.
    pub(super) fn over(text: &'a Text<'a>, defaults: &'a Value) -> View<'a> {
        let defaults = defaults.as_object().map(|members| Defaults {
            members,
            is_root: true,
        });
        View::Text(text, defaults)
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
            View::Text(Text::Map(members), defaults) => Some(Members::Laid(members, *defaults)),
            _ => None,
        }
    }

    fn as_array(&self) -> Option<Items<'a>> {
        match self {
            View::Value(Value::Array(items)) => Some(Items::Built(items)),
            View::Text(Text::List(items), _) => Some(Items::Text(items)),
            _ => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        match self {
            View::Value(Value::String(text)) => Some(Cow::Borrowed(text)),
            View::Text(Text::String(text), _) => Some(Cow::Borrowed(text)),
            View::Name(name) => Some(Cow::Borrowed(name)),
            _ => None,
        }
    }

    fn as_number(&self) -> Option<&'a Number> {
        match self {
            View::Value(Value::Number(number)) | View::Text(Text::Number(number), _) => {
                Some(number)
            }
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        match self {
            View::Value(Value::Bool(is)) | View::Text(Text::Bool(is), _) => Some(*is),
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, View::Value(Value::Null) | View::Text(Text::Null, _))
    }

    fn json_type(&self) -> JsonType {
        match self {
            View::Value(value) => value.json_type(),
            View::Name(_) | View::Text(Text::String(_), _) => JsonType::String,
            View::Text(Text::Null, _) => JsonType::Null,
            View::Text(Text::Bool(_), _) => JsonType::Boolean,
            View::Text(Text::Number(_), _) => JsonType::Number,
            View::Text(Text::List(_), _) => JsonType::Array,
            View::Text(Text::Map(_), _) => JsonType::Object,
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
            View::Text(text, _) => Some(NodeIdentity::new(std::ptr::from_ref(*text).addr())),
            View::Name(_) => None,
        }
    }
}

/// The members of a map.
pub(super) enum Members<'a> {
    Built(&'a Map<String, Value>),
    Laid(&'a [Member<'a>], Option<Defaults<'a>>),
}

/// What one of the user's members is with the default below it; none when it takes that away.
fn laid<'a>(value: &'a Text<'a>, default: Option<&'a Value>, is_root: bool) -> Option<View<'a>> {
    match (value, default) {
        (Text::Null, Some(default)) if is_root || !default.is_null() => None,
        (Text::Map(_), Some(Value::Object(members))) => {
            let below = Defaults {
                members,
                is_root: false,
            };
            Some(View::Text(value, Some(below)))
        }
        _ => Some(View::Text(value, None)),
    }
}

fn find<'a>(members: &'a [Member<'a>], name: &str) -> Option<&'a Text<'a>> {
    let place = members.binary_search_by(|(known, _)| (**known).cmp(name));
    let (_, value) = members.get(place.ok()?)?;
    Some(value)
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
        match self {
            Members::Built(members) => members.get(key).map(View::Value),
            Members::Laid(members, defaults) => match find(members, key) {
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

    fn members(&self) -> MembersIter<'a> {
        match self {
            Members::Built(members) => MembersIter::Built(members.iter()),
            Members::Laid(members, None) => MembersIter::Text(members.iter()),
            Members::Laid(members, Some(defaults)) => MembersIter::Laid {
                user: members.iter().peekable(),
                defaults: defaults.members.iter().peekable(),
                is_root: defaults.is_root,
            },
        }
    }
}

/// All members of a map.
pub(super) enum MembersIter<'a> {
    Built(serde_json::map::Iter<'a>),
    Text(std::slice::Iter<'a, Member<'a>>),
    /// Both are in order of the names, so that one walk over both finds what belongs together.
    Laid {
        user: Peekable<std::slice::Iter<'a, Member<'a>>>,
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
                (Some((own, _)), Some((default, _))) => (**own).cmp(default.as_str()),
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
    Text(&'a [Text<'a>]),
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
            Items::Text(items) => ItemsIter::Text(items.iter()),
        }
    }
}

pub(super) enum ItemsIter<'a> {
    Built(std::slice::Iter<'a, Value>),
    Text(std::slice::Iter<'a, Text<'a>>),
}

impl<'a> Iterator for ItemsIter<'a> {
    type Item = View<'a>;

    fn next(&mut self) -> Option<View<'a>> {
        match self {
            ItemsIter::Built(items) => items.next().map(View::Value),
            ItemsIter::Text(items) => items.next().map(|item| View::Text(item, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charts::coalesce::overlaid;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn keeps_the_contract_of_representations() {
        let document = jsonschema::json::conformance::document();
        let text = document.to_string();
        let text: Text<'_> = serde_json::from_str(&text).unwrap();
        jsonschema::json::conformance::assert_conformance::<Views>(&View::Text(&text, None));
        jsonschema::json::conformance::assert_conformance::<Views>(&View::Value(&document));
        // One half in the values, the other in the defaults.
        let mut halves = [json!({}), json!({})];
        for (number, (name, value)) in document.as_object().unwrap().iter().enumerate() {
            halves[number % 2][name] = value.clone();
        }
        let text = halves[0].to_string();
        let text: Text<'_> = serde_json::from_str(&text).unwrap();
        jsonschema::json::conformance::assert_conformance::<Views>(&View::over(&text, &halves[1]));
    }

    #[test]
    fn text_is_read_as_values_are() {
        let text: Text<'_> =
            serde_json::from_str(r#"{"b": 1, "a": [null, 1.0, "x\n\u00e9"], "b": 2}"#).unwrap();
        assert_eq!(text.to_value(), json!({"b": 2, "a": [null, 1, "x\né"]}));
        assert_eq!(text.depth(), 2);
        assert!(serde_json::from_str::<Text<'_>>("[1,").is_err());
        for (text, value) in [
            ("-0", json!(0)),
            ("123456789012345678", json!(123_456_789_012_345_680_i64)),
            ("1e2", json!(100)),
            ("1.5", json!(1.5)),
            (r#""a\tb""#, json!("a\tb")),
            (r#"{"b": 1, "a": 2, "b": 3}"#, json!({"a": 2, "b": 3})),
        ] {
            assert_eq!(Text::read(text).unwrap().to_value(), value, "{text}");
        }
        assert!(Text::read("1e400").is_err());
        assert!(Text::read(r#""\ud800""#).is_err());
        assert!(Text::read(&"[".repeat(200)).is_err());
        let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
        assert_eq!(Text::read(&deep).unwrap().depth(), 120);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c\\n]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[ab\"]{1,2}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn known_text_is_read_as_serde_reads_it(value in value(), is_pretty: bool) {
            let text = if is_pretty { format!("{value:#}") } else { value.to_string() };
            let known = Text::of_known(&mut Cursor::new(&text), 0);
            let slow: Text<'_> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(Text::read(&text).unwrap(), slow.clone());
            if let Some(known) = known {
                prop_assert_eq!(known, slow);
            }
        }

        #[test]
        fn values_over_defaults_are_what_merging_makes(user in value(), defaults in value()) {
            let user = json!({"a": user});
            let defaults = json!({"a": defaults, "b": 1});
            let text = user.to_string();
            let text: Text<'_> = serde_json::from_str(&text).unwrap();
            let view = View::over(&text, &defaults);
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
