//! Values as they came in: JSON text taken apart, its strings where they are, its numbers as Helm holds them. All parts
//! are in one list: what is right, as most values are, is made and thrown away in a few steps.

use crate::contract::document::Name;
use crate::contract::skim::Cursor;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use std::borrow::Cow;
use std::fmt;

/// Deepest nesting that is read without serde, which knows when to stop.
const DEPTH_MAX: usize = 100;
/// Longest number, in bytes, that is a whole one which every float can hold.
const SMALL_NUMBER_MAX_BYTES: usize = 15;
/// Room for this many parts is made at once.
const USUAL_PARTS: usize = 64;

/// JSON text taken apart.
#[derive(Debug, Default)]
pub struct Text<'a> {
    /// What is in a list or map comes before it; the last one is the whole.
    parts: Vec<Part<'a>>,
    /// The places of what is in lists and maps. Those of a map are in order of the names, each of them once.
    places: Vec<usize>,
    depth: usize,
}

#[derive(Debug)]
struct Part<'a> {
    /// As a member of a map.
    name: Cow<'a, str>,
    what: What<'a>,
}

/// What a part is.
#[derive(Debug, PartialEq)]
pub(super) enum What<'a> {
    Null,
    Bool(bool),
    Number(Number),
    String(Cow<'a, str>),
    List(Span),
    Map(Span),
}

/// Which of the places are those of a list or map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    start: usize,
    end: usize,
}

static NULL: Part<'static> = Part {
    name: Cow::Borrowed(""),
    what: What::Null,
};

impl<'a> Text<'a> {
    /// Takes a text apart.
    ///
    /// # Errors
    /// When it is no JSON, or a number, a string or the depth of it is beyond what can be held.
    pub fn read(text: &'a str) -> Result<Text<'a>, serde_json::Error> {
        match Text::take(&mut Cursor::new(text)) {
            Some(text) => Ok(text),
            None => serde_json::from_str(text),
        }
    }

    /// Takes a text apart, its numbers as Kubernetes holds them: `1.0` stays a float.
    ///
    /// # Errors
    /// See [`Text::read`].
    pub fn read_exact(text: &'a str) -> Result<Text<'a>, serde_json::Error> {
        let mut builder = Builder::new(as_written);
        match builder.take(&mut Cursor::new(text), 0) {
            Some(()) => Ok(builder.text),
            None => {
                let mut builder = Builder::new(as_written);
                let mut deserializer = serde_json::Deserializer::from_str(text);
                let level = Level {
                    builder: &mut builder,
                    depth: 0,
                };
                level.deserialize(&mut deserializer)?;
                deserializer.end()?;
                Ok(builder.text)
            }
        }
    }

    /// What comes; none where a closer look is due.
    pub fn take(cursor: &mut Cursor<'a>) -> Option<Text<'a>> {
        let mut builder = Builder::new(super::go_number);
        builder.take(cursor, 0)?;
        Some(builder.text)
    }

    /// The whole.
    #[must_use]
    pub fn root(&self) -> Piece<'_> {
        Piece {
            text: self,
            part: self.parts.last().unwrap_or(&NULL),
        }
    }

    /// How deep lists and maps are nested.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// How many values there are, the whole included.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.parts.len()
    }
}

/// What a value is, without what is in it.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(&'a Number),
    /// A text.
    String(&'a str),
    /// A list.
    List,
    /// A map.
    Map,
}

/// A place in a text.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    text: &'a Text<'a>,
    part: &'a Part<'a>,
}

impl<'a> Piece<'a> {
    #[inline]
    pub(super) fn what(self) -> &'a What<'a> {
        &self.part.what
    }

    /// Whether it is `null`.
    #[must_use]
    #[inline]
    pub fn is_null(self) -> bool {
        matches!(self.what(), What::Null)
    }

    /// Whether it is a map.
    #[must_use]
    #[inline]
    pub fn is_map(self) -> bool {
        matches!(self.what(), What::Map(_))
    }

    /// What is in the list or map.
    #[inline]
    pub(super) fn inner(self) -> Inner<'a> {
        let places = match self.what() {
            What::List(span) | What::Map(span) => self.text.places.get(span.start..span.end),
            _ => None,
        };
        Inner {
            text: self.text,
            places: places.unwrap_or_default(),
        }
    }

    /// What it is.
    #[must_use]
    pub fn shown(self) -> Shown<'a> {
        match self.what() {
            What::Null => Shown::Null,
            What::Bool(is) => Shown::Bool(*is),
            What::Number(number) => Shown::Number(number),
            What::String(text) => Shown::String(text),
            What::List(_) => Shown::List,
            What::Map(_) => Shown::Map,
        }
    }

    /// How many items or members it has.
    #[must_use]
    pub fn len(self) -> usize {
        self.inner().len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// An item of a list.
    #[must_use]
    pub fn item(self, at: usize) -> Option<Piece<'a>> {
        self.inner().nth(at).map(|(_, item)| item)
    }

    /// A member of a map.
    #[must_use]
    pub fn member(self, name: &str) -> Option<Piece<'a>> {
        self.inner().find(name)
    }

    /// The members of a map, in the order of their names.
    #[must_use]
    pub fn members(self) -> impl ExactSizeIterator<Item = (&'a str, Piece<'a>)> {
        self.inner()
    }

    /// An address that no other part has.
    pub(super) fn address(self) -> usize {
        std::ptr::from_ref(self.part).addr()
    }

    /// The same as a tree of its own.
    #[must_use]
    pub fn to_value(self) -> Value {
        match self.what() {
            What::Null => Value::Null,
            What::Bool(is) => Value::Bool(*is),
            What::Number(number) => Value::Number(number.clone()),
            What::String(text) => Value::String(text.clone().into_owned()),
            What::List(_) => self.inner().map(|(_, item)| item.to_value()).collect(),
            What::Map(_) => {
                let members = self.inner();
                let members = members.map(|(name, value)| (name.to_owned(), value.to_value()));
                Value::Object(members.collect())
            }
        }
    }
}

/// What is in a list or map; the names of a map in their order.
#[derive(Debug, Clone)]
pub(super) struct Inner<'a> {
    text: &'a Text<'a>,
    places: &'a [usize],
}

impl<'a> Inner<'a> {
    #[inline]
    fn part(&self, at: usize) -> &'a Part<'a> {
        self.text.parts.get(at).unwrap_or(&NULL)
    }

    /// The member of that name.
    pub(super) fn find(&self, name: &str) -> Option<Piece<'a>> {
        let place = self
            .places
            .binary_search_by(|at| (*self.part(*at).name).cmp(name));
        let part = self.part(*self.places.get(place.ok()?)?);
        Some(Piece {
            text: self.text,
            part,
        })
    }
}

impl<'a> Iterator for Inner<'a> {
    type Item = (&'a str, Piece<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (first, rest) = self.places.split_first()?;
        self.places = rest;
        let part = self.part(*first);
        let piece = Piece {
            text: self.text,
            part,
        };
        Some((&part.name, piece))
    }

    fn nth(&mut self, at: usize) -> Option<Self::Item> {
        self.places = self.places.get(at..).unwrap_or_default();
        self.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.places.len(), Some(self.places.len()))
    }
}

impl ExactSizeIterator for Inner<'_> {}

/// A number as it stands there.
fn as_written(number: Number) -> Number {
    number
}

fn number(text: &str, held: fn(Number) -> Number) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_small =
        text.len() <= SMALL_NUMBER_MAX_BYTES && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_small {
        return text.parse::<i64>().ok().map(Number::from);
    }
    let number: Number = serde_json::from_str(text).ok()?;
    Some(held(number))
}

/// Puts parts together.
struct Builder<'a> {
    text: Text<'a>,
    /// What is in the lists and maps that are open.
    open: Vec<usize>,
    /// How numbers are held.
    held: fn(Number) -> Number,
}

impl<'a> Builder<'a> {
    fn new(held: fn(Number) -> Number) -> Builder<'a> {
        let text = Text {
            parts: Vec::with_capacity(USUAL_PARTS),
            places: Vec::with_capacity(USUAL_PARTS),
            depth: 0,
        };
        let open = Vec::with_capacity(USUAL_PARTS);
        Builder { text, open, held }
    }

    fn push(&mut self, what: What<'a>) {
        self.text.parts.push(Part {
            name: Cow::Borrowed(""),
            what,
        });
    }

    /// The part that was pushed last is in the innermost open list or map.
    fn enclose(&mut self, name: Cow<'a, str>) {
        if let Some(part) = self.text.parts.last_mut() {
            part.name = name;
        }
        self.open.push(self.text.parts.len().saturating_sub(1));
    }

    /// What has been open since `mark`.
    fn close(&mut self, mark: usize) -> Span {
        let start = self.text.places.len();
        self.text.places.extend(self.open.drain(mark..));
        Span {
            start,
            end: self.text.places.len(),
        }
    }

    fn close_list(&mut self, mark: usize) {
        let span = self.close(mark);
        self.push(What::List(span));
    }

    fn close_map(&mut self, mark: usize) {
        let parts = &self.text.parts;
        let name = |at: &usize| parts.get(*at).map_or("", |part| &*part.name);
        // API servers write maps in the order of the names.
        let members = self.open.get(mark..).unwrap_or_default();
        if !members.is_sorted_by(|one, two| name(one) < name(two)) {
            let mut members = self.open.split_off(mark);
            // Of a name that is there twice the last counts, as everywhere: the sort keeps it behind the others.
            members.sort_by(|one, two| name(one).cmp(name(two)));
            members.reverse();
            members.dedup_by(|later, kept| name(later) == name(kept));
            members.reverse();
            self.open.append(&mut members);
        }
        let span = self.close(mark);
        self.push(What::Map(span));
    }

    fn note_depth(&mut self, depth: usize) {
        self.text.depth = self.text.depth.max(depth);
    }

    /// What comes, `depth` levels down.
    fn take(&mut self, cursor: &mut Cursor<'a>, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        let mark = self.open.len();
        match cursor.peek()? {
            b'{' => {
                self.note_depth(depth + 1);
                cursor.members(|name, value| {
                    self.take(value, depth + 1)?;
                    self.enclose(Cow::Borrowed(name));
                    Some(())
                })?;
                self.close_map(mark);
            }
            b'[' => {
                self.note_depth(depth + 1);
                cursor.items(|item| {
                    self.take(item, depth + 1)?;
                    self.enclose(Cow::Borrowed(""));
                    Some(())
                })?;
                self.close_list(mark);
            }
            b'"' => {
                let text = match cursor.string() {
                    Some(text) => Cow::Borrowed(text),
                    None => Cow::Owned(serde_json::from_str(cursor.value()?).ok()?),
                };
                self.push(What::String(text));
            }
            _ => {
                let what = match cursor.value()? {
                    "null" => What::Null,
                    "true" => What::Bool(true),
                    "false" => What::Bool(false),
                    text => What::Number(number(text, self.held)?),
                };
                self.push(what);
            }
        }
        Some(())
    }
}

/// What serde finds, `depth` levels down.
struct Level<'b, 'a> {
    builder: &'b mut Builder<'a>,
    depth: usize,
}

impl<'a> Level<'_, 'a> {
    fn below(&mut self) -> Level<'_, 'a> {
        Level {
            builder: &mut *self.builder,
            depth: self.depth + 1,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut builder = Builder::new(super::go_number);
        let level = Level {
            builder: &mut builder,
            depth: 0,
        };
        level.deserialize(deserializer)?;
        Ok(builder.text)
    }
}

impl<'de: 'a, 'a> DeserializeSeed<'de> for Level<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for Level<'_, 'a> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.builder.push(What::Null);
        Ok(())
    }

    fn visit_bool<E>(self, is: bool) -> Result<(), E> {
        self.builder.push(What::Bool(is));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        let number = (self.builder.held)(number.into());
        self.builder.push(What::Number(number));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        let number = (self.builder.held)(number.into());
        self.builder.push(What::Number(number));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        let number = Number::from_f64(number);
        let what = number.map_or(What::Null, |number| {
            What::Number((self.builder.held)(number))
        });
        self.builder.push(what);
        Ok(())
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.builder.push(What::String(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.builder.push(What::String(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let mark = self.builder.open.len();
        self.builder.note_depth(self.depth + 1);
        while items.next_element_seed(self.below())?.is_some() {
            self.builder.enclose(Cow::Borrowed(""));
        }
        self.builder.close_list(mark);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let mark = self.builder.open.len();
        self.builder.note_depth(self.depth + 1);
        while let Some(Name(name)) = members.next_key()? {
            members.next_value_seed(self.below())?;
            self.builder.enclose(name);
        }
        self.builder.close_map(mark);
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn text_is_read_as_values_are() {
        for (text, value) in [
            (
                r#"{"b": 1, "a": [null, 1.0, "x\n\u00e9"], "b": 2}"#,
                json!({"b": 2, "a": [null, 1, "x\n\u{e9}"]}),
            ),
            ("-0", json!(0)),
            ("123456789012345678", json!(123_456_789_012_345_680_i64)),
            ("1e2", json!(100)),
            ("1.5", json!(1.5)),
            ("[]", json!([])),
            (r#""a\tb""#, json!("a\tb")),
            (r#"{"b": 1, "a": 2, "b": 3}"#, json!({"a": 2, "b": 3})),
            (
                r#"{"c": {"b": [1], "a": {}}, "b": [[2], 3]}"#,
                json!({"b": [[2], 3], "c": {"a": {}, "b": [1]}}),
            ),
        ] {
            assert_eq!(Text::read(text).unwrap().root().to_value(), value, "{text}");
            let slow: Text<'_> = serde_json::from_str(text).unwrap();
            assert_eq!(slow.root().to_value(), value, "{text}");
        }
        let text = Text::read(r#"{"a": [null, 1], "b": {"c": {}}}"#).unwrap();
        assert_eq!((text.depth(), text.parts()), (3, 6));
        assert!(Text::read("1e400").is_err());
        assert!(Text::read(r#""\ud800""#).is_err());
        assert!(Text::read("[1,").is_err());
        assert!(Text::read(&"[".repeat(200)).is_err());
        let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
        assert_eq!(Text::read(&deep).unwrap().depth(), 120);
    }

    pub fn value() -> impl Strategy<Value = Value> {
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

    /// How deep, and how many: as it is plain to see in a tree.
    fn measured(value: &Value) -> (usize, usize) {
        let inner: Vec<&Value> = match value {
            Value::Array(items) => items.iter().collect(),
            Value::Object(members) => members.values().collect(),
            _ => return (0, 1),
        };
        let inner = inner.into_iter().map(measured);
        inner.fold((1, 1), |(depth, parts), (deep, many)| {
            (depth.max(deep + 1), parts + many)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn text_is_read_as_serde_reads_it(value in value(), is_pretty: bool) {
            let text = if is_pretty { format!("{value:#}") } else { value.to_string() };
            let slow: Text<'_> = serde_json::from_str(&text).unwrap();
            let quick = Text::read(&text).unwrap();
            prop_assert_eq!(quick.root().to_value(), slow.root().to_value());
            for text in [quick, slow] {
                prop_assert_eq!((text.depth(), text.parts()), measured(&value));
                let members = text.root().inner();
                for name in ["a", "b", "ab", "\"", "x"] {
                    let found = members.find(name).map(Piece::to_value);
                    let wanted = crate::charts::as_go(value.clone());
                    prop_assert_eq!(found.as_ref(), wanted.get(name));
                }
            }
        }
    }
}
