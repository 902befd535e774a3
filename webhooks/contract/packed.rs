//! Looks into JSON text without taking it apart: one pass, which ends where what is looked for ends. Reading on to the end
//! of an object costs a microsecond a kilobyte, and most of an object comes after its labels.
//!
//! Of a name that stands there twice the first counts. The API server sends no such object.

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use std::fmt;

/// How far a path of members leads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight<'a> {
    /// How many of its members are there, one within the other.
    pub depth: usize,
    /// What stands at the last of them, when it was reached: the value itself at the path's end, else what it is.
    pub end: End<'a>,
}

/// What stands at the last member that is there.
#[derive(Debug, Clone, Copy)]
pub(super) enum End<'a> {
    /// The value at the end of the path.
    Value(&'a RawValue),
    /// An object that lacks the next member.
    Object,
    /// `null`.
    Null,
    /// Something that has no members, or cannot be read.
    Other,
}

/// Looks along a path of members.
pub(super) fn look<'a>(text: &'a str, path: &[&str]) -> Sight<'a> {
    let mut sight = Sight {
        depth: 0,
        end: End::Other,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let step = Step {
        path,
        sight: &mut sight,
    };
    // It ends with an error as soon as everything is seen.
    let _ = step.deserialize(&mut deserializer);
    sight
}

/// What stands at a path of plain members.
pub(super) fn at<'a>(text: &'a str, path: &[&str]) -> Option<&'a RawValue> {
    match look(text, path).end {
        End::Value(value) => Some(value),
        _ => None,
    }
}

/// The string at a path of plain members, unless it holds an escape.
pub(super) fn text<'a>(text: &'a str, path: &[&str]) -> Option<&'a str> {
    serde_json::from_str(at(text, path)?.get()).ok()
}

struct Step<'p, 's, 'a> {
    path: &'p [&'p str],
    sight: &'s mut Sight<'a>,
}

impl<'de> DeserializeSeed<'de> for Step<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            let value: &RawValue = serde::Deserialize::deserialize(deserializer)?;
            self.sight.end = End::Value(value);
            return Ok(());
        }
        self.sight.end = End::Other;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Step<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.sight.end = End::Null;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom("no object"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((name, rest)) = self.path.split_first() else {
            return Ok(());
        };
        while let Some(is_it) = map.next_key_seed(Is(name))? {
            if is_it {
                self.sight.depth += 1;
                map.next_value_seed(Step {
                    path: rest,
                    sight: self.sight,
                })?;
                return Err(A::Error::custom("seen"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        self.sight.end = End::Object;
        Ok(())
    }
}

/// A member's name, as far as it is the one that is looked for.
struct Is<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a member name")
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(text == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Object;
    use super::{End, look};
    use serde_json::json;

    #[test]
    fn packed_objects_are_read_as_built_ones() {
        let value = json!({
            "metadata": {
                "name": "a", "uid": "1",
                "labels": {"x/y": "z", "empty": ""},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"long\": 1}", "n": "v", "e": "a\"b"},
            },
            "spec": {"list": [1, "two"]},
        });
        let built = Object::of(value.clone()).unwrap();
        let packed = built.clone().packed();
        assert!(packed.value.is_null());
        for path in [
            &["metadata", "uid"][..],
            &["metadata", "labels", "x/y"],
            &["metadata", "labels", "empty"],
            &["metadata", "annotations", "n"],
            &["metadata", "nothing", "n"],
            &["metadata", "labels"],
            &["metadata", "name", "deeper"],
            &["spec", "list", "deeper"],
        ] {
            assert_eq!(packed.text(path), built.text(path), "{path:?}");
        }
        assert_eq!(packed.labels(), built.labels());
        assert_eq!(packed.labels().len(), 2);
        assert_eq!(packed.text(&["metadata", "annotations", "e"]), None);
        let mut kept = value;
        kept["metadata"]["annotations"]
            .as_object_mut()
            .unwrap()
            .remove("kubectl.kubernetes.io/last-applied-configuration");
        assert_eq!(*packed.to_value(), kept);
        assert_eq!(built.to_value()["spec"]["list"][1], "two");
        assert_eq!(packed, built.packed());
    }

    #[test]
    fn a_look_says_how_far_a_path_leads() {
        let text = r#"{"a": {"b": {"c": 1}, "n": null, "s": "t", "l": [1]}, "broken": "#;
        let seen = |path: &[&str]| {
            let sight = look(text, path);
            let end = match sight.end {
                End::Value(value) => value.get(),
                End::Object => "object",
                End::Null => "null",
                End::Other => "other",
            };
            (sight.depth, end)
        };
        assert_eq!(seen(&["a", "b", "c"]), (3, "1"));
        assert_eq!(seen(&["a", "b"]), (2, r#"{"c": 1}"#));
        assert_eq!(seen(&["a", "b", "x", "y"]), (2, "object"));
        assert_eq!(seen(&["a", "n", "x"]), (2, "null"));
        assert_eq!(seen(&["a", "n"]), (2, "null"));
        assert_eq!(seen(&["a", "s", "x"]), (2, "other"));
        assert_eq!(seen(&["a", "l", "x"]), (2, "other"));
        // What follows is not read; what must be read is not there.
        assert_eq!(seen(&["x"]).1, "other");
    }
}
