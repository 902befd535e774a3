//! An object as a watch brings it. Whoever may write objects may nest their values deeper than serde reads: that must
//! not keep the others from being known. What is deeper than any rule looks is left out.

use kube::Resource;
use kube::api::{ApiResource, ObjectMeta};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::fmt;

/// Deepest nesting that is kept. serde_json reads 127 levels, of which lists and watches take a few.
const DEPTH_MAX: usize = 100;

/// Any object.
#[derive(Debug, Clone)]
pub struct Watched {
    metadata: ObjectMeta,
    /// All of it; null where it is nested too deep.
    pub value: Value,
}

impl<'de> Deserialize<'de> for Watched {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Watched, D::Error> {
        let value = Level(0).deserialize(deserializer)?;
        let metadata = value.get("metadata").unwrap_or(&Value::Null);
        let text = |member: &str| {
            let text = metadata.get(member).and_then(Value::as_str);
            text.map(ToOwned::to_owned)
        };
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Watched { metadata, value })
    }
}

impl Resource for Watched {
    type DynamicType = ApiResource;
    type Scope = kube::core::DynamicResourceScope;

    fn kind(kind: &ApiResource) -> Cow<'_, str> {
        kind.kind.as_str().into()
    }

    fn group(kind: &ApiResource) -> Cow<'_, str> {
        kind.group.as_str().into()
    }

    fn version(kind: &ApiResource) -> Cow<'_, str> {
        kind.version.as_str().into()
    }

    fn api_version(kind: &ApiResource) -> Cow<'_, str> {
        kind.api_version.as_str().into()
    }

    fn plural(kind: &ApiResource) -> Cow<'_, str> {
        kind.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A value so many levels down.
struct Level(usize);

impl Level {
    /// Whether nothing below is kept.
    fn is_last(&self) -> bool {
        self.0 == DEPTH_MAX
    }

    fn below(&self) -> Level {
        Level(self.0 + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.is_last() {
            // Skipping needs no stack, however deep it goes.
            return IgnoredAny::deserialize(deserializer).map(|_| Value::Null);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, is: bool) -> Result<Value, E> {
        Ok(is.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.below())? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            map.insert(name, members.next_value_seed(self.below())?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::pedantic, clippy::unwrap_used)]

    use super::*;
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::json;

    #[test]
    fn deep_values_keep_nobody_else_away() {
        let object = |values: &str| {
            format!(
                r#"{{"apiVersion":"a/v1","kind":"A","metadata":{{"name":"n","namespace":"s","resourceVersion":"5"}},"spec":{{"x":-1,"y":1.5,"values":{values}}}}}"#
            )
        };
        for depth in [1, 90, 120, 100_000] {
            let values = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let list = format!(
                r#"{{"kind":"AList","apiVersion":"a/v1","metadata":{{"resourceVersion":"7"}},"items":[{},{}]}}"#,
                object(&values),
                object(r#""\u0061""#)
            );
            let list: ObjectList<Watched> = serde_json::from_str(&list).unwrap();
            assert_eq!(list.items.len(), 2);
            assert_eq!(
                list.items[1].value["spec"],
                json!({"x": -1, "y": 1.5, "values": "a"})
            );
            assert_eq!(list.items[0].meta().name.as_deref(), Some("n"));
            let event = format!(r#"{{"type":"MODIFIED","object":{}}}"#, object(&values));
            let event: WatchEvent<Watched> = serde_json::from_str(&event).unwrap();
            let WatchEvent::Modified(watched) = event else {
                panic!("{event:?}");
            };
            assert_eq!(watched.meta().resource_version.as_deref(), Some("5"));
            let whole: Option<Value> = serde_json::from_str(&object(&values)).ok();
            if depth <= 90 {
                assert_eq!(Some(watched.value), whole);
            } else {
                assert_eq!(watched.value["metadata"]["namespace"], "s");
            }
        }
    }
}
