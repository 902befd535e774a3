//! Which Service a machine has, and which one it is given.

use super::{VIRTUAL_IP_SETTING, WEBHOOK};
use crate::contract::companions::{
    PARENT_ANNOTATION, is_marked_by_helm, parent_key, split_parent_key,
};
use crate::contract::syntax::{dns_1035_label, label_value};
use crate::contract::{Object, Standing, World};
use crate::kinds::SERVICES;
use crate::machines::{self, CHART_LABELS, External, HOST_LABEL, LAUNCHER, LAUNCHER_LABEL};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Label by which the platform shows a Service to the tenant.
const USER_SERVICE_LABEL: &str = "apps.cozystack.io/user-service";
/// The chart's place-holder: the name of a headless Service resolves without any port.
const PORT: u16 = 65_535;
/// End of a name that the chart never uses.
const INTERNAL_SUFFIX: &str = "-internal";
/// How much of a machine's name is in the name of its Service where that could not be the same, in bytes.
const NAME_MAX_BYTES: usize = 50;

/// Whether the Service is one that this rule keeps, for whichever machine. It never counts for another machine: of two
/// that the same labels select each would wait for the other's.
fn is_kept(service: &Object) -> bool {
    let parent = service.text(&["metadata", "annotations", PARENT_ANNOTATION]);
    let rule = parent.and_then(split_parent_key).map(|(rule, _, _)| rule);
    service.is_managed && !is_marked_by_helm(service) && rule == Some(WEBHOOK.declaration.id)
}

/// The Services of others that select the machine.
fn others(machine: &Object, world: &World<'_>) -> Vec<Arc<Object>> {
    let mut services = machines::services_of(machine, world.cluster);
    services.retain(|service| !is_kept(service));
    services
}

/// The Service that the machine must be given; none when it has one, or its chart will bring one that could not take
/// this one over.
pub fn wanted(machine: &Object, world: &World<'_>) -> Option<Value> {
    if !others(machine, world).is_empty() {
        return None;
    }
    made(machine, External::of(machine, world.cluster), world)
}

/// What a machine's Service is, or will be.
pub struct Outlook {
    /// The name of the Service that selects the machine, or will.
    pub name: Option<String>,
    /// The Service that it must be given, and whose the one of that name is now.
    pub child: Option<(Object, Standing)>,
}

/// What is to be said of a machine that is being written.
pub fn outlook(machine: &Object, world: &World<'_>) -> Outlook {
    let others = others(machine, world);
    // The chart's has the machine's name.
    let named = others.iter().find(|service| service.name == machine.name);
    let without_child = |name: &str| Outlook {
        name: Some(name.to_owned()),
        child: None,
    };
    if let Some(service) = named.or(others.first()) {
        return without_child(&service.name);
    }
    let external = External::of(machine, world.cluster);
    if external == External::Yes {
        return without_child(&machine.name);
    }
    let Some(child) = made(machine, external, world).and_then(Object::of) else {
        return Outlook {
            name: None,
            child: None,
        };
    };
    let live = world.cluster.get(&SERVICES, &child.namespace, &child.name);
    let key = parent_key(WEBHOOK.declaration.id, &machine.namespace, &machine.name);
    let standing = Standing::of(live.as_deref(), &key);
    let is_its_own = matches!(standing, Standing::Absent | Standing::Ours);
    Outlook {
        name: is_its_own.then(|| child.name.clone()),
        child: Some((child, standing)),
    }
}

/// The Service for a machine without one.
fn made(machine: &Object, external: External, world: &World<'_>) -> Option<Value> {
    let has_virtual_ip = world.settings.flag(VIRTUAL_IP_SETTING);
    let is_out_of_the_way = match external {
        External::Yes => return None,
        External::No => has_virtual_ip,
        // Whether the chart could take it over is not known.
        External::Unknown => true,
    };
    let given = CHART_LABELS.map(|key| Some((key, machines::template_label(machine, key)?)));
    let host = machines::host(machine);
    let selector = match given {
        [Some(instance), Some(name)] => [instance, name],
        _ => [(LAUNCHER_LABEL, LAUNCHER), (HOST_LABEL, host)],
    };
    // Such a machine never has a pod.
    if selector
        .iter()
        .any(|(_, value)| label_value(value).is_some())
    {
        return None;
    }
    let labels = given
        .into_iter()
        .flatten()
        .chain([(USER_SERVICE_LABEL, "true")]);
    let object = |pairs: &mut dyn Iterator<Item = (&str, &str)>| -> Map<String, Value> {
        pairs
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect()
    };
    let mut spec = json!({
        "type": "ClusterIP",
        "selector": object(&mut selector.into_iter()),
        "ports": [{"port": PORT, "protocol": "TCP"}],
    });
    if let (Some(spec), false) = (spec.as_object_mut(), has_virtual_ip) {
        spec.insert("clusterIP".to_owned(), "None".into());
    }
    Some(json!({
        "apiVersion": SERVICES.resource.api_version(),
        "kind": SERVICES.resource.kind,
        "metadata": {
            "name": name(&machine.name, is_out_of_the_way),
            "namespace": machine.namespace,
            "labels": object(&mut labels.into_iter()),
        },
        "spec": spec,
    }))
}

/// The machine's own name, which is what the chart will use, or one that the chart never uses. A Service's name is a
/// DNS label that begins with a letter; a machine's need not be one.
fn name(machine: &str, is_out_of_the_way: bool) -> String {
    let suffix = if is_out_of_the_way {
        INTERNAL_SUFFIX
    } else {
        ""
    };
    let own = format!("{machine}{suffix}");
    if dns_1035_label(&own).is_none() {
        return own;
    }
    let dashed = machine.replace('.', "-");
    let kept = machines::cut(&dashed, NAME_MAX_BYTES - suffix.len());
    format!("vm-{kept}-{}{suffix}", machines::digest(machine, 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        let long = "x".repeat(253);
        for (machine, is_out_of_the_way, expected) in [
            ("web", false, "web"),
            ("web", true, "web-internal"),
            ("1web", false, "vm-1web-bac40f31"),
            ("web.a", false, "vm-web-a-723c05b2"),
            ("web.a", true, "vm-web-a-723c05b2-internal"),
        ] {
            assert_eq!(name(machine, is_out_of_the_way), expected);
        }
        let dotted = format!("{}.{}", "y".repeat(49), "z".repeat(80));
        for machine in [&long, &dotted, &"w".repeat(63), &"w".repeat(60)] {
            for is_out_of_the_way in [false, true] {
                let name = name(machine, is_out_of_the_way);
                assert_eq!(dns_1035_label(&name), None, "{name}");
                assert_eq!(name.ends_with(INTERNAL_SUFFIX), is_out_of_the_way);
            }
        }
        assert_eq!(name(&"w".repeat(63), false), "w".repeat(63));
        // The hash tells apart what the cut makes equal.
        assert_ne!(name("a.b", false), name("a-b.", false));
    }
}
