//! What the rule looks at of a machine that is being written. Disks, scripts and managed fields stay text.

use super::FQDN_ANNOTATION;
use crate::contract::skim::Cursor;
use crate::contract::{Object, request};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// The machine, as far as the rule looks at it; none when it has no name yet, or is no machine.
pub fn read(raw: &RawValue) -> Option<Object> {
    match skim(raw.get()) {
        Some(parts) => parts.into_object(),
        None => request::read::<Value>(raw).ok().and_then(Object::of),
    }
}

#[derive(Default)]
struct Parts<'a> {
    name: Option<&'a str>,
    namespace: Option<&'a str>,
    uid: Option<&'a str>,
    deletion_timestamp: Option<&'a str>,
    labels: Option<&'a str>,
    noted: Option<&'a str>,
    template_labels: Option<&'a str>,
    hostname: Option<&'a str>,
}

/// The texts of the parts; none when the text is written as the API server does not write it.
fn skim(text: &str) -> Option<Parts<'_>> {
    let mut parts = Parts::default();
    Cursor::new(text).members(|name, object| match name {
        "metadata" => object.members(|name, metadata| {
            let part = match name {
                "annotations" => {
                    return metadata.members(|name, annotations| {
                        if name == FQDN_ANNOTATION {
                            parts.noted = Some(annotations.value()?);
                        }
                        Some(())
                    });
                }
                "name" => &mut parts.name,
                "namespace" => &mut parts.namespace,
                "uid" => &mut parts.uid,
                "deletionTimestamp" => &mut parts.deletion_timestamp,
                "labels" => &mut parts.labels,
                _ => return Some(()),
            };
            *part = Some(metadata.value()?);
            Some(())
        }),
        "spec" => object.members(|name, spec| match name {
            "template" => spec.members(|name, template| match name {
                "metadata" => template.members(|name, metadata| {
                    if name == "labels" {
                        parts.template_labels = Some(metadata.value()?);
                    }
                    Some(())
                }),
                "spec" => template.members(|name, spec| {
                    if name == "hostname" {
                        parts.hostname = Some(spec.value()?);
                    }
                    Some(())
                }),
                _ => Some(()),
            }),
            _ => Some(()),
        }),
        _ => Some(()),
    })?;
    Some(parts)
}

impl Parts<'_> {
    fn into_object(self) -> Option<Object> {
        let built = |text: &str| serde_json::from_str::<Value>(text).ok();
        let mut metadata = Map::new();
        for (member, text) in [
            ("name", self.name),
            ("namespace", self.namespace),
            ("uid", self.uid),
            ("deletionTimestamp", self.deletion_timestamp),
            ("labels", self.labels),
        ] {
            if let Some(value) = text.and_then(built) {
                metadata.insert(member.to_owned(), value);
            }
        }
        if let Some(noted) = self.noted.and_then(built) {
            metadata.insert("annotations".to_owned(), json!({FQDN_ANNOTATION: noted}));
        }
        Object::of(json!({
            "metadata": metadata,
            "spec": {"template": {
                "metadata": {"labels": self.template_labels.and_then(built)},
                "spec": {"hostname": self.hostname.and_then(built)},
            }},
        }))
    }
}
