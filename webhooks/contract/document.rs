//! A JSON document that is taken apart only where it is touched. What nobody looks at stays the text that came in:
//! unknown fields, the order of members and the digits of numbers survive, and large strings are never copied.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A part of the text is no JSON after all, such as a key with half a surrogate pair.
#[derive(Debug, thiserror::Error)]
#[error("not readable as JSON: {0}")]
pub struct Malformed(#[from] serde_json::Error);

/// The members of an opened object, in their order.
pub type OpenMembers<'a> = Vec<(Cow<'a, str>, Node<'a>)>;

/// A value: untouched text, or an object or list that has been opened.
#[derive(Debug, Clone)]
pub enum Node<'a> {
    /// Text as it came in.
    Raw(Cow<'a, RawValue>),
    /// An opened object, members in their order.
    Object(OpenMembers<'a>),
    /// An opened list.
    List(Vec<Node<'a>>),
}

/// A member's name, borrowed from the text where it holds no escape.
pub(crate) struct Name<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a member name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// The members of an object in their order, values left as text.
struct Members<K, V>(Vec<(K, V)>);

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Members<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor<K, V>(std::marker::PhantomData<(K, V)>);
        impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for MembersVisitor<K, V> {
            type Value = Members<K, V>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor(std::marker::PhantomData))
    }
}

impl<'a> From<&'a RawValue> for Node<'a> {
    fn from(raw: &'a RawValue) -> Self {
        Node::Raw(Cow::Borrowed(raw))
    }
}

impl<'a> Node<'a> {
    /// An empty object.
    #[must_use]
    pub fn empty_object() -> Node<'a> {
        Node::Object(Vec::new())
    }

    /// A node of a value that was made here.
    ///
    /// # Errors
    /// Never for values that `serde_json` can write.
    pub fn of(value: &impl Serialize) -> Result<Node<'a>, Malformed> {
        Ok(Node::Raw(Cow::Owned(serde_json::value::to_raw_value(
            value,
        )?)))
    }

    fn first_byte(&self) -> u8 {
        match self {
            Node::Raw(raw) => raw.get().as_bytes().first().copied().unwrap_or(b' '),
            Node::Object(_) => b'{',
            Node::List(_) => b'[',
        }
    }

    /// Whether this is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.first_byte() == b'{'
    }

    /// Whether this is a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.first_byte() == b'['
    }

    /// Whether this is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.first_byte() == b'n'
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Node::Raw(raw) if self.first_byte() == b'"' => serde_json::from_str(raw.get()).ok(),
            _ => None,
        }
    }

    /// The whole value built.
    pub fn to_value(&self) -> Result<Value, Malformed> {
        Ok(match self {
            Node::Raw(raw) => serde_json::from_str(raw.get())?,
            opened => serde_json::to_value(opened)?,
        })
    }

    /// The members, the object opened; none when this is no object.
    pub fn members(&mut self) -> Result<Option<&mut OpenMembers<'a>>, Malformed> {
        if let Node::Raw(raw) = self {
            if !raw.get().starts_with('{') {
                return Ok(None);
            }
            let members = match raw {
                Cow::Borrowed(raw) => {
                    serde_json::from_str::<Members<Name<'a>, &'a RawValue>>(raw.get())?
                        .0
                        .into_iter()
                        .map(|(name, value)| (name.0, Node::Raw(Cow::Borrowed(value))))
                        .collect()
                }
                Cow::Owned(raw) => {
                    serde_json::from_str::<Members<String, Box<RawValue>>>(raw.get())?
                        .0
                        .into_iter()
                        .map(|(name, value)| (Cow::Owned(name), Node::Raw(Cow::Owned(value))))
                        .collect()
                }
            };
            *self = Node::Object(members);
        }
        Ok(match self {
            Node::Object(members) => Some(members),
            _ => None,
        })
    }

    /// The items, the list opened; none when this is no list.
    pub fn items(&mut self) -> Result<Option<&mut Vec<Node<'a>>>, Malformed> {
        if let Node::Raw(raw) = self {
            if !raw.get().starts_with('[') {
                return Ok(None);
            }
            let items = match raw {
                Cow::Borrowed(raw) => serde_json::from_str::<Vec<&'a RawValue>>(raw.get())?
                    .into_iter()
                    .map(Node::from)
                    .collect(),
                Cow::Owned(raw) => serde_json::from_str::<Vec<Box<RawValue>>>(raw.get())?
                    .into_iter()
                    .map(|item| Node::Raw(Cow::Owned(item)))
                    .collect(),
            };
            *self = Node::List(items);
        }
        Ok(match self {
            Node::List(items) => Some(items),
            _ => None,
        })
    }

    /// The member of that name. Of a name that stands there twice the last counts, as for the API server.
    pub fn member(&mut self, name: &str) -> Result<Option<&mut Node<'a>>, Malformed> {
        Ok(self
            .members()?
            .and_then(|members| members.iter_mut().rev().find(|(key, _)| key == name))
            .map(|(_, node)| node))
    }

    /// The node at a path of plain members.
    pub fn at(&mut self, names: &[&str]) -> Result<Option<&mut Node<'a>>, Malformed> {
        let mut here = self;
        for name in names {
            match here.member(name)? {
                Some(next) => here = next,
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    /// The text at a path of plain members.
    pub fn text_at(&mut self, names: &[&str]) -> Result<Option<String>, Malformed> {
        Ok(self.at(names)?.and_then(|node| node.text()))
    }

    /// Sets a member: in its place if it is there, else at the end. Does nothing when this is no object.
    pub fn set(&mut self, name: &str, value: Node<'a>) -> Result<(), Malformed> {
        if let Some(member) = self.member(name)? {
            *member = value;
        } else if let Some(members) = self.members()? {
            members.push((Cow::Owned(name.to_owned()), value));
        }
        Ok(())
    }

    /// Takes a member out, every occurrence of the name.
    pub fn remove(&mut self, name: &str) -> Result<Option<Node<'a>>, Malformed> {
        let Some(members) = self.members()? else {
            return Ok(None);
        };
        let mut taken = None;
        while let Some(position) = members.iter().rposition(|(key, _)| key == name) {
            let (_, node) = members.remove(position);
            taken.get_or_insert(node);
        }
        Ok(taken)
    }

    /// The text of the document.
    pub fn to_text(&self) -> Result<String, Malformed> {
        Ok(serde_json::to_string(self)?)
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Raw(raw) => raw.serialize(serializer),
            Node::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, node) in members {
                    map.serialize_entry(name, node)?;
                }
                map.end()
            }
            Node::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Node<'_> {
        Node::from(serde_json::from_str::<&RawValue>(text).unwrap_or(RawValue::NULL))
    }

    #[test]
    fn what_is_not_touched_stays_as_it_came() {
        let text = r#"{"b":1.0e3,"a":{"x":[18446744073709551616, 0.10],"y":"é"},"z":{"keep":-0}}"#;
        let mut document = node(text);
        document.at(&["a", "y"]).unwrap();
        document.at(&["z"]).unwrap();
        assert_eq!(document.to_text().unwrap(), text);
        document
            .at(&["a"])
            .unwrap()
            .unwrap()
            .set("y", Node::of(&1).unwrap())
            .unwrap();
        assert_eq!(
            document.to_text().unwrap(),
            r#"{"b":1.0e3,"a":{"x":[18446744073709551616, 0.10],"y":1},"z":{"keep":-0}}"#
        );
    }

    #[test]
    fn the_last_of_two_equal_names_counts_and_both_go() {
        let mut document = node(r#"{"a":1,"b":2,"a":3}"#);
        assert_eq!(
            document.member("a").unwrap().unwrap().to_text().unwrap(),
            "3"
        );
        assert_eq!(
            document.remove("a").unwrap().unwrap().to_text().unwrap(),
            "3"
        );
        assert_eq!(document.to_text().unwrap(), r#"{"b":2}"#);
    }

    #[test]
    fn paths_through_other_types_are_absent() {
        let mut document = node(r#"{"a":null,"b":[1],"c":"x"}"#);
        assert!(document.at(&["a", "x"]).unwrap().is_none());
        assert!(document.at(&["b", "x"]).unwrap().is_none());
        assert_eq!(document.text_at(&["c"]).unwrap().as_deref(), Some("x"));
        assert!(document.member("a").unwrap().unwrap().is_null());
    }

    #[test]
    fn depth_costs_no_stack() {
        let text = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let mut document = node(&text);
        assert!(document.member("a").unwrap().is_some());
        assert_eq!(document.to_text().unwrap(), text);
    }
}
