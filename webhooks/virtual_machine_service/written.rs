//! What the rule looks at of a machine that is being written. Disks, scripts and managed fields stay text.

use super::FQDN_ANNOTATION;
use crate::contract::{Json, Object};
use serde_json::{Map, Value, json};

/// The machine, as far as the rule looks at it; none when it has no name yet, or is no machine.
pub fn read(machine: Json<'_>) -> Option<Object> {
    let built = |json: Json<'_>| json.read::<Value>().ok();
    let given = machine.at(&["metadata"])?;
    let mut metadata = Map::new();
    for member in ["name", "namespace", "uid", "deletionTimestamp", "labels"] {
        if let Some(value) = given.at(&[member]).and_then(built) {
            metadata.insert(member.to_owned(), value);
        }
    }
    let noted = given.at(&["annotations", FQDN_ANNOTATION]);
    if let Some(noted) = noted.and_then(built) {
        metadata.insert("annotations".to_owned(), json!({FQDN_ANNOTATION: noted}));
    }
    let template = machine.at(&["spec", "template"]);
    let part = |path: &[&str]| {
        template
            .and_then(|template| template.at(path))
            .and_then(built)
    };
    Object::of(json!({
        "metadata": metadata,
        "spec": {"template": {
            "metadata": {"labels": part(&["metadata", "labels"])},
            "spec": {"hostname": part(&["spec", "hostname"])},
        }},
    }))
}
