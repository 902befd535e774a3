//! Which Service a machine has, and which one it is given.

use super::{VIRTUAL_IP_SETTING, WEBHOOK};
use crate::contract::companions::{
    PARENT_ANNOTATION, is_marked_by_helm, parent_key, split_parent_key,
};
use crate::contract::syntax::{dns_1035_label, label_value};
use crate::contract::{Object, Standing, World};
use crate::kinds::{SERVICES, VIRTUAL_MACHINES};
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
    Draft::of(machine, External::of(machine, world.cluster), world).map(Draft::build)
}

/// What a machine's Service is, or will be.
pub struct Outlook {
    /// The name of the Service that selects the machine, or will.
    pub name: Option<String>,
    /// The name of the Service that it must be given, and whose the one of that name is now.
    pub child: Option<(String, Standing)>,
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
    let Some(Draft { name, standing, .. }) = Draft::of(machine, external, world) else {
        return Outlook {
            name: None,
            child: None,
        };
    };
    let is_its_own = matches!(standing, Standing::Absent | Standing::Ours);
    Outlook {
        name: is_its_own.then(|| name.clone()),
        child: Some((name, standing)),
    }
}

/// The Service for a machine without one, before it is built.
struct Draft<'m> {
    machine: &'m Object,
    name: String,
    /// Whose the Service of that name is now.
    standing: Standing,
    /// The chart's labels, as far as the machine has them.
    given: [Option<(&'static str, &'m str)>; 2],
    selector: [(&'static str, &'m str); 2],
    has_virtual_ip: bool,
}

impl<'m> Draft<'m> {
    fn of(machine: &'m Object, external: External, world: &World<'_>) -> Option<Draft<'m>> {
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
        let (name, standing) = free_name(machine, is_out_of_the_way, world);
        Some(Draft {
            machine,
            name,
            standing,
            given,
            selector,
            has_virtual_ip,
        })
    }

    fn build(self) -> Value {
        let labels = self
            .given
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
            "selector": object(&mut self.selector.into_iter()),
            "ports": [{"port": PORT, "protocol": "TCP"}],
        });
        if let (Some(spec), false) = (spec.as_object_mut(), self.has_virtual_ip) {
            spec.insert("clusterIP".to_owned(), "None".into());
        }
        json!({
            "apiVersion": SERVICES.resource.api_version(),
            "kind": SERVICES.resource.kind,
            "metadata": {
                "name": self.name,
                "namespace": self.machine.namespace,
                "labels": object(&mut labels.into_iter()),
            },
            "spec": spec,
        })
    }
}

/// The name of the machine's Service, and whose the Service of that name is: the first name, or the other where the
/// first would stand in another machine's way, or that one's Service in its. Whichever it has it keeps, whatever comes
/// and goes: people have written it down.
fn free_name(machine: &Object, is_out_of_the_way: bool, world: &World<'_>) -> (String, Standing) {
    let first = first_name(&machine.name, is_out_of_the_way);
    let key = parent_key(WEBHOOK.declaration.id, &machine.namespace, &machine.name);
    let look = |name: &str| {
        let live = world.cluster.get(&SERVICES, &machine.namespace, name);
        let standing = Standing::of(live.as_deref(), &key);
        (live, standing)
    };
    let (at_first, standing) = look(&first);
    if standing == Standing::Ours {
        return (first, standing);
    }
    let other = other_name(&machine.name, is_out_of_the_way);
    let (_, at_other) = look(&other);
    if at_other == Standing::Ours {
        return (other, at_other);
    }
    let is_anothers =
        standing == Standing::Foreign && at_first.is_some_and(|service| is_kept(&service));
    let is_another = || {
        let machines = &VIRTUAL_MACHINES;
        first != machine.name
            && world
                .cluster
                .get(machines, &machine.namespace, &first)
                .is_some()
    };
    if is_anothers || is_another() {
        (other, at_other)
    } else {
        (first, standing)
    }
}

/// The machines that may want that name first, whatever a Service of that name selects.
pub fn namesakes(service: &str) -> impl Iterator<Item = &str> {
    [Some(service), service.strip_suffix(INTERNAL_SUFFIX)]
        .into_iter()
        .flatten()
}

/// The machine's own name, which is what the chart will use, or one that its chart never uses. A Service's name is a DNS
/// label that begins with a letter; a machine's need not be one.
fn first_name(machine: &str, is_out_of_the_way: bool) -> String {
    let own = own_name(machine, is_out_of_the_way);
    if dns_1035_label(&own).is_none() {
        own
    } else {
        hashed_name(machine, machine, is_out_of_the_way)
    }
}

/// A second one, for where something of another machine has the first.
fn other_name(machine: &str, is_out_of_the_way: bool) -> String {
    if dns_1035_label(&own_name(machine, is_out_of_the_way)).is_none() {
        hashed_name(machine, machine, is_out_of_the_way)
    } else {
        // No machine has a slash in its name.
        hashed_name(machine, &format!("{machine}/"), is_out_of_the_way)
    }
}

fn suffix(is_out_of_the_way: bool) -> &'static str {
    if is_out_of_the_way {
        INTERNAL_SUFFIX
    } else {
        ""
    }
}

fn own_name(machine: &str, is_out_of_the_way: bool) -> String {
    [machine, suffix(is_out_of_the_way)].concat()
}

fn hashed_name(machine: &str, hashed: &str, is_out_of_the_way: bool) -> String {
    let suffix = suffix(is_out_of_the_way);
    let dashed = machine.replace('.', "-");
    let kept = machines::cut(&dashed, NAME_MAX_BYTES - suffix.len());
    format!("vm-{kept}-{}{suffix}", machines::digest(hashed, 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(machine: &str, is_out_of_the_way: bool) -> [String; 2] {
        [first_name, other_name].map(|name| name(machine, is_out_of_the_way))
    }

    #[test]
    fn names_are_dns_labels() {
        let long = "x".repeat(253);
        for (machine, is_out_of_the_way, expected) in [
            ("web", false, ["web", "vm-web-WEB"]),
            ("web", true, ["web-internal", "vm-web-WEB-internal"]),
            ("1web", false, ["vm-1web-bac40f31", "vm-1web-SLASH"]),
            ("web.a", false, ["vm-web-a-723c05b2", "vm-web-a-SLASH"]),
            (
                "web.a",
                true,
                ["vm-web-a-723c05b2-internal", "vm-web-a-SLASH-internal"],
            ),
        ] {
            let slash = machines::digest(&format!("{machine}/"), 8);
            let web = machines::digest("web", 8);
            let expected = expected.map(|name| name.replace("SLASH", &slash).replace("WEB", &web));
            assert_eq!(names(machine, is_out_of_the_way), expected);
        }
        let dotted = format!("{}.{}", "y".repeat(49), "z".repeat(80));
        for machine in [&long, &dotted, &"w".repeat(63), &"w".repeat(60)] {
            for is_out_of_the_way in [false, true] {
                let names = names(machine, is_out_of_the_way);
                assert_ne!(names[0], names[1]);
                for name in names {
                    assert_eq!(dns_1035_label(&name), None, "{name}");
                    assert_eq!(name.ends_with(INTERNAL_SUFFIX), is_out_of_the_way);
                }
            }
        }
        assert_eq!(names(&"w".repeat(63), false)[0], "w".repeat(63));
        // The hash tells apart what the cut makes equal.
        assert_ne!(names("a.b", false), names("a-b.", false));
    }
}
