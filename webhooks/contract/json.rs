//! A JSON text and where its first members stand, found in the one pass that checks it: rules look things up without
//! reading the text again.

use super::packed;
use super::skim::Cursor;
use crate::charts::{Document, Text, Texts};
use serde::Deserialize;
use serde_json::value::RawValue;

/// How many levels of members are noted: as deep as `spec.template.metadata.labels`. What lists hold is not.
const LEVELS: usize = 4;
/// Members of an object that is not large, at those levels.
const USUAL_MEMBERS: usize = 48;

/// A text and the places of its members; what is asked of it is asked of [`Outline::json`].
#[derive(Debug)]
pub struct Outline<'a> {
    text: &'a str,
    members: Vec<Member<'a>>,
    values: Document<'a>,
}

#[derive(Debug)]
struct Member<'a> {
    name: &'a str,
    value: &'a str,
    /// How many of the members after it are within it; none where nobody has looked.
    below: Option<usize>,
}

impl<'a> Outline<'a> {
    /// Of the value that comes. None where that is no JSON, or a closer look is due: see [`super::skim`].
    pub fn take(cursor: &mut Cursor<'a>) -> Option<Outline<'a>> {
        let mut members = Vec::with_capacity(USUAL_MEMBERS);
        let text = note(cursor, 0, &mut members)?;
        Some(Outline {
            text,
            members,
            values: Document::of_values(text),
        })
    }

    /// The text, to be asked.
    #[must_use]
    pub fn json(&self) -> Json<'_> {
        Json {
            text: self.text,
            members: Some(&self.members),
            values: Some(&self.values),
        }
    }
}

/// Notes the members of the value that comes; gives its text.
fn note<'a>(
    cursor: &mut Cursor<'a>,
    level: usize,
    members: &mut Vec<Member<'a>>,
) -> Option<&'a str> {
    if cursor.peek()? != b'{' || level == LEVELS {
        return cursor.value();
    }
    cursor.text_of(|cursor| {
        cursor.members(|name, cursor| {
            let at = members.len();
            members.push(Member {
                name,
                value: "",
                below: None,
            });
            let is_looked_into = cursor.peek()? != b'{' || level + 1 < LEVELS;
            let value = note(cursor, level + 1, members)?;
            let below = is_looked_into.then_some(members.len() - at - 1);
            let member = members.get_mut(at)?;
            (member.value, member.below) = (value, below);
            Some(())
        })
    })
}

/// Text that is known to be JSON, as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Json<'a> {
    text: &'a str,
    /// The places of what is in it; none where they are not noted.
    members: Option<&'a [Member<'a>]>,
    /// Takes values apart, once for all rules.
    values: Option<&'a dyn Texts>,
}

impl<'a> From<&'a RawValue> for Json<'a> {
    fn from(raw: &'a RawValue) -> Json<'a> {
        Json {
            text: raw.get(),
            members: None,
            values: None,
        }
    }
}

impl<'a> Json<'a> {
    /// The text.
    #[must_use]
    pub fn get(self) -> &'a str {
        self.text
    }

    /// What stands at a path of plain members. Of a name that stands there twice either may be meant (the API server
    /// sends no such object): for rules that complete, never for those that refuse.
    #[must_use]
    pub fn at(self, path: &[&str]) -> Option<Json<'a>> {
        let mut here = self;
        let mut path = path;
        while let Some((name, rest)) = path.split_first() {
            let Some(members) = here.members else {
                return packed::at(here.text, path).map(Json::from);
            };
            here = here.named(members, name).next()?;
            path = rest;
        }
        Some(here)
    }

    /// The member of that name, where it is certain which one that is. None where it is not: this is no map, the places
    /// are not noted, or the name stands there twice.
    #[must_use]
    pub fn alone(self, name: &str) -> Option<Option<Json<'a>>> {
        let members = self.members.filter(|_| self.is_object())?;
        let mut found = self.named(members, name);
        let first = found.next();
        found.next().is_none().then_some(first)
    }

    /// The names of its members, in the order in which they stand there. None where it is not certain what they are: this
    /// is no map, or the places are not noted.
    #[must_use]
    pub fn names(self) -> Option<impl Iterator<Item = &'a str>> {
        let members = self.members.filter(|_| self.is_object())?;
        let mut at = 0;
        Some(std::iter::from_fn(move || {
            let member = members.get(at)?;
            at += 1 + member.below.unwrap_or_default();
            Some(member.name)
        }))
    }

    /// It as values of a chart, taken apart: once, whoever asks. None where nobody keeps it, or it cannot be held.
    #[must_use]
    pub fn values(self) -> Option<&'a Text<'a>> {
        self.values?.text(self.text)
    }

    /// The members of that name among those of one object and what is below them.
    fn named(self, members: &'a [Member<'a>], name: &str) -> impl Iterator<Item = Json<'a>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            loop {
                let member = members.get(at)?;
                let first = at + 1;
                at = first + member.below.unwrap_or_default();
                if member.name == name {
                    return Some(Json {
                        text: member.value,
                        members: member.below.and_then(|_| members.get(first..at)),
                        values: self.values,
                    });
                }
            }
        })
    }

    /// Whether it is a map.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.text.starts_with('{')
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.text == "null"
    }

    /// Builds of it what `T` asks for and nothing else.
    ///
    /// # Errors
    /// A sentence that says what does not fit and where, for a denial.
    pub fn read<T: Deserialize<'a>>(self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text)
    }

    /// The string that it is, unless it holds an escape.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        Cursor::new(self.text).string()
    }

    /// The same as serde knows it.
    ///
    /// # Errors
    /// Never for what came in with a request.
    pub fn to_raw(self) -> Result<&'a RawValue, serde_json::Error> {
        self.read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            Just(json!("x")),
            Just(json!({})),
            Just(json!([{"a": 1}])),
        ];
        leaf.prop_recursive(6, 60, 3, |inner| {
            prop::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect()))
        })
    }

    proptest! {
        /// A path leads to the same place whether or not the members are noted.
        #[test]
        fn what_is_found_is_what_is_there(
            value in any_value(), path in prop::collection::vec("[abc]", 0..7), cut in 0..7_usize, is_pretty: bool,
        ) {
            let text = if is_pretty { format!("{value:#}") } else { value.to_string() };
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let wanted = path.iter().try_fold(&value, |value, name| value.get(name));
            let raw: &RawValue = serde_json::from_str(&text).unwrap();
            let outline = Outline::take(&mut Cursor::new(&text)).unwrap();
            let (first, rest) = path.split_at(cut.min(path.len()));
            for json in [Json::from(raw), outline.json()] {
                let found = json.at(&path);
                let built: Option<Value> = found.map(|json| json.read().unwrap());
                prop_assert_eq!(built.as_ref(), wanted);
                let in_two = json.at(first).and_then(|json| json.at(rest));
                prop_assert_eq!(in_two.map(Json::get), found.map(Json::get));
            }
        }
    }

    #[test]
    fn texts_are_asked_for_what_they_are() {
        let text =
            r#"{"s": "a", "e": "a\"b", "n": null, "o": {"p": {"q": {"r": {"s": {"t": 1}}}}}}"#;
        let outline = Outline::take(&mut Cursor::new(text)).unwrap();
        let json = outline.json();
        let text = |member| json.at(&[member]).unwrap().text();
        assert_eq!((text("s"), text("e"), text("n")), (Some("a"), None, None));
        assert!(json.is_object() && json.at(&["n"]).unwrap().is_null());
        assert_eq!(json.at(&["o", "p", "q", "r", "s", "t"]).unwrap().get(), "1");
        assert_eq!(json.to_raw().unwrap().get(), json.get());
        let text = r#"{"a": {"b": 1, "c": 2, "b": 3}, "l": []}"#;
        let outline = Outline::take(&mut Cursor::new(text)).unwrap();
        let alone = |json: Json<'_>, name| {
            json.alone(name)
                .map(|json| json.map(|json| json.get().to_owned()))
        };
        let a = outline.json().alone("a").unwrap().unwrap();
        assert_eq!(alone(a, "c"), Some(Some("2".to_owned())));
        assert_eq!((alone(a, "b"), alone(a, "x")), (None, Some(None)));
        let names = |json: Json<'_>| {
            json.names()
                .map(|names| names.collect::<Vec<_>>().join(" "))
        };
        assert_eq!(names(a), Some("b c b".to_owned()));
        assert_eq!(names(outline.json()), Some("a l".to_owned()));
        assert_eq!(names(outline.json().at(&["l"]).unwrap()), None);
        assert_eq!(alone(outline.json().at(&["l"]).unwrap(), "x"), None);
        assert_eq!(
            alone(Json::from(outline.json().to_raw().unwrap()), "a"),
            None
        );
        for odd in [r#"{"\u0061": 1}"#, r#"{"a": {"\n": 1}}"#, r#"{"a": }"#, ""] {
            assert!(Outline::take(&mut Cursor::new(odd)).is_none(), "{odd}");
        }
    }
}
