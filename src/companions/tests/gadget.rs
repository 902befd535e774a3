//! A rule of the tests whose companions go with their parents: as many cogs as asked for beside the parent, owned by
//! it, and a lamp in another namespace, where no owner reference is allowed.

use serde_json::{Value, json};
use webhooks::contract::companions::BY_PARENT;
use webhooks::contract::{
    Companions, Content, Declaration, Desired, FailurePolicy, Farewell, Fault, Mode, Object, Read,
    Resource, Scope, Webhook, Weight, World,
};

const fn resource(plural: &'static str, kind: &'static str) -> Resource {
    Resource {
        group: "test.io",
        version: "v1",
        plural,
        kind,
        namespaced: true,
    }
}

pub static GADGETS: Read = Read {
    resource: resource("gadgets", "Gadget"),
    content: Content::Full,
    indexes: &[],
};
pub static COGS: Read = Read {
    resource: resource("cogs", "Cog"),
    content: Content::Metadata,
    indexes: &[&BY_PARENT],
};
pub static LAMPS: Read = Read {
    resource: resource("lamps", "Lamp"),
    content: Content::Metadata,
    indexes: &[&BY_PARENT],
};
/// Owns children beside their parent.
pub static ANCHOR: Resource = resource("anchors", "Anchor");

/// Where all lamps are.
pub const LAMP_NAMESPACE: &str = "far";
/// The lamp of every gadget that shares.
pub const SHARED_LAMP: &str = "shared";
/// Annotation of a gadget: `"true"` means hands off.
pub const DISABLED_ANNOTATION: &str = "test.io/disabled";

pub static GADGET: Webhook = Webhook {
    declaration: Declaration {
        id: "gadgets",
        summary: "A rule of the tests.",
        rules: &[],
        scope: Scope::OutsideOurNamespace,
        names: &[],
        match_conditions: &[],
        failure_policy: FailurePolicy::Fail,
        timeout_seconds: 5,
        default_mode: Mode::Enforce,
        weight: Weight::Light,
        reads: &[&GADGETS],
        writes: &[&COGS, &LAMPS],
        settings: &[],
        refusals: &[],
    },
    validate: None,
    mutate: None,
    convert: None,
    companions: Some(&Gadget),
};

struct Gadget;

impl Companions for Gadget {
    fn parents(&self) -> &'static Read {
        &GADGETS
    }

    fn reads(&self) -> &'static [&'static Read] {
        &[]
    }

    fn farewell(&self) -> Farewell {
        Farewell::Delete
    }

    fn companions(&self, parent: &Object, _: &World<'_>) -> Result<Option<Desired>, Fault> {
        if parent.text(&["metadata", "annotations", DISABLED_ANNOTATION]) == Some("true") {
            return Ok(None);
        }
        let spec = &parent.value["spec"];
        if spec["broken"] == true {
            return Err(Fault::Internal("it is broken".to_owned()));
        }
        let size = spec["size"].as_u64().unwrap_or_default();
        let child = |kind: &str, namespace: &str, name: String, extra: (&str, Value)| {
            let mut child = json!({
                "apiVersion": "test.io/v1", "kind": kind,
                "metadata": {"name": name, "namespace": namespace, "labels": {"test.io/size": size.to_string()}},
                "spec": {"size": size, "shape": {"round": true}, "materials": ["tin", size]},
            });
            // A field that comes and goes.
            if size > 1 {
                child["spec"][extra.0] = extra.1;
            }
            child
        };
        let mut children: Vec<Value> = (0..spec["cogs"].as_u64().unwrap_or_default())
            .map(|number| {
                let name = format!("{}-{number}", parent.name);
                child("Cog", &parent.namespace, name, ("teeth", number.into()))
            })
            .collect();
        if spec["lamp"] == true {
            // Two parents may want the same lamp.
            let name = if spec["shared"] == true {
                SHARED_LAMP.to_owned()
            } else {
                format!("{}-{}", parent.namespace, parent.name)
            };
            let colours = json!({"dark": "red", "light": "white"});
            children.push(child("Lamp", LAMP_NAMESPACE, name, ("colours", colours)));
        }
        Ok(Some(Desired {
            children,
            requeue_after: None,
        }))
    }
}
