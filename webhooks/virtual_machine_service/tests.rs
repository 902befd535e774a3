//! The laws of the rule, over random clusters and in random orders.

use super::{FQDN_ANNOTATION, Machine, WEBHOOK, written};
use crate::contract::companions::{Concerned, desired, parent_key};
use crate::contract::skim::Cursor;
use crate::contract::{
    Cluster, Companions, Deadline, Found, Index, Mutate, Object, Operation, Outline, Read, Request,
    Settings, Standing, Verdict, World, edit,
};
use crate::kinds::{HELM_RELEASES_WITH_VALUES, SERVICES, VIRTUAL_MACHINES};
use crate::machines::{self, External};
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const NAMESPACES: [&str; 3] = ["tenant-a", "tenant-b", "system"];

/// Everything there is, by plural, namespace and name. Look-ups scan: what the indexes say is compared with it.
#[derive(Default, Clone)]
struct Everything(BTreeMap<(&'static str, String, String), Arc<Object>>);

impl Everything {
    fn put(&mut self, read: &'static Read, object: Object) {
        let key = (
            read.resource.plural,
            object.namespace.clone(),
            object.name.clone(),
        );
        self.0.insert(key, Arc::new(object));
    }

    fn remove(&mut self, read: &'static Read, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let key = (read.resource.plural, namespace.to_owned(), name.to_owned());
        self.0.remove(&key)
    }

    fn all(&self, read: &'static Read) -> impl Iterator<Item = &Arc<Object>> {
        let of_kind = |key: &(&str, String, String)| key.0 == read.resource.plural;
        self.0
            .iter()
            .filter(move |(key, _)| of_kind(key))
            .map(|(_, object)| object)
    }
}

impl Cluster for Everything {
    fn get(&self, read: &'static Read, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let key = (read.resource.plural, namespace.to_owned(), name.to_owned());
        self.0.get(&key).cloned()
    }

    fn find(&self, read: &'static Read, index: &'static Index, key: &str, limit: usize) -> Found {
        let has_key = |object: &&Arc<Object>| (index.keys)(object).iter().any(|known| known == key);
        let found: Vec<Arc<Object>> = self.all(read).filter(has_key).cloned().collect();
        Found {
            total: found.len(),
            first: found.into_iter().take(limit).collect(),
        }
    }
}

fn wanted(world: &Everything, machine: &Object) -> Vec<Value> {
    let settings = Settings::default();
    let around = World {
        cluster: world,
        settings: settings.of(&WEBHOOK.declaration),
    };
    let desired = desired(&WEBHOOK.declaration, &Machine, machine, &around).unwrap();
    desired.map(|desired| desired.children).unwrap_or_default()
}

/// What the engine does with one machine.
fn look(world: &mut Everything, namespace: &str, name: &str) {
    let key = parent_key(WEBHOOK.declaration.id, namespace, name);
    let machine = world.get(&VIRTUAL_MACHINES, namespace, name);
    let wanted: Vec<Object> = machine
        .map(|machine| wanted(world, &machine))
        .unwrap_or_default()
        .into_iter()
        .filter_map(Object::of)
        .collect();
    let names: BTreeSet<&str> = wanted.iter().map(|child| child.name.as_str()).collect();
    let surplus: Vec<(String, String)> = world
        .all(&SERVICES)
        .filter(|service| Standing::of(Some(service.as_ref()), &key) == Standing::Ours)
        .filter(|service| !names.contains(service.name.as_str()))
        .map(|service| (service.namespace.clone(), service.name.clone()))
        .collect();
    for (namespace, name) in surplus {
        world.remove(&SERVICES, &namespace, &name);
    }
    for child in wanted {
        let live = world.get(&SERVICES, &child.namespace, &child.name);
        if matches!(
            Standing::of(live.as_deref(), &key),
            Standing::Absent | Standing::Ours
        ) {
            world.put(&SERVICES, child);
        }
    }
}

fn names(world: &Everything) -> Vec<(String, String)> {
    let machines = world.all(&VIRTUAL_MACHINES);
    machines
        .map(|machine| (machine.namespace.clone(), machine.name.clone()))
        .collect()
}

/// Looks at everything until nothing changes, in that order.
fn settle(world: &mut Everything, order: impl Fn(&mut Vec<(String, String)>)) {
    // Those that are gone leave their Services to the garbage collector.
    let gone: Vec<(String, String)> = world
        .all(&SERVICES)
        .filter(|service| is_companion(service))
        .filter(|service| {
            let owner = service.text(&["metadata", "annotations", "webhook.cozystack.io/parent"]);
            let name = owner.unwrap().rsplit('/').next().unwrap();
            world
                .get(&VIRTUAL_MACHINES, &service.namespace, name)
                .is_none()
        })
        .map(|service| (service.namespace.clone(), service.name.clone()))
        .collect();
    for (namespace, name) in gone {
        world.remove(&SERVICES, &namespace, &name);
    }
    for _ in 0..4 {
        let before = world.0.clone();
        let mut machines = names(world);
        order(&mut machines);
        for (namespace, name) in machines {
            look(world, &namespace, &name);
        }
        if world.0 == before {
            return;
        }
    }
    panic!("it does not come to rest");
}

fn is_companion(service: &Object) -> bool {
    let parent = service.text(&["metadata", "annotations", "webhook.cozystack.io/parent"]);
    service.is_managed && parent.is_some() && !is_helms(service)
}

fn is_helms(service: &Object) -> bool {
    service.label("app.kubernetes.io/managed-by") == Some("Helm")
}

/// Written out, without any index: whether the Service selects the machine's pods.
fn selects(service: &Object, machine: &Object) -> bool {
    let pods = machines::pod_labels(machine);
    let selector = service.value["spec"]["selector"].as_object();
    service.namespace == machine.namespace
        && service.value["spec"]["type"] != "ExternalName"
        && selector.is_some_and(|selector| {
            !selector.is_empty()
                && selector
                    .iter()
                    .all(|(key, value)| pods.get(key.as_str()).copied() == value.as_str())
        })
}

#[derive(Debug, Clone)]
enum Step {
    Machine(Value),
    NoMachine(usize, usize),
    Service(Value),
    NoService(usize, usize),
    Release(Value),
    NoRelease(usize, usize),
    /// Helm adopts a Service, whosever it is.
    Adopt(usize, usize),
    Look(usize, usize),
}

// One is called as the Service of another may be.
const MACHINES: [&str; 5] = ["web", "db", "a.b", "1st", "web-internal"];
const OTHERS: [&str; 5] = ["front", "back", "web", "vm-a-b-2e7336dc", "web-internal"];

fn any_place() -> impl Strategy<Value = (usize, usize)> {
    (0..NAMESPACES.len(), 0..MACHINES.len())
}

fn any_labels() -> impl Strategy<Value = BTreeMap<&'static str, &'static str>> {
    const KEYS: [&str; 6] = [
        "app",
        "app.kubernetes.io/name",
        "app.kubernetes.io/instance",
        "kubevirt.io",
        "vm.kubevirt.io/name",
        "tier",
    ];
    const VALUES: [&str; 4] = ["web", "db", "virt-launcher", "a"];
    let key = prop::sample::select(&KEYS[..]);
    let value = prop::sample::select(&VALUES[..]);
    prop::collection::btree_map(key, value, 0..4)
}

fn any_machine() -> impl Strategy<Value = Value> {
    let host = prop::option::of(prop::sample::select(vec!["web", "db", ""]));
    let flux = prop::option::weighted(0.5, 0..MACHINES.len());
    let is_leaving = prop::bool::weighted(0.05);
    let is_worker = prop::bool::weighted(0.1);
    (any_place(), any_labels(), host, flux, is_leaving, is_worker).prop_map(
        |((namespace, name), labels, host, flux, is_leaving, is_worker)| {
            let mut labels = json!(labels);
            if is_worker {
                labels["cluster.x-k8s.io/cluster-name"] = "c".into();
            }
            let mut machine = json!({
                "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
                "metadata": {"name": MACHINES[name], "namespace": NAMESPACES[namespace], "uid": "u",
                    "managedFields": [{"manager": "x", "operation": "Update"}]},
                "spec": {"template": {"metadata": {"labels": labels}, "spec": {"domain": {}}}, "disks": [1, {"a": null}]},
            });
            if let Some(host) = host {
                machine["spec"]["template"]["spec"]["hostname"] = host.into();
            }
            if let Some(flux) = flux {
                machine["metadata"]["labels"] = json!({"helm.toolkit.fluxcd.io/name": MACHINES[flux]});
            }
            if is_leaving {
                machine["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            }
            machine
        },
    )
}

fn any_service() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec!["ClusterIP", "LoadBalancer", "ExternalName"]);
    (any_place(), any_labels(), kind).prop_map(|((namespace, name), labels, kind)| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            // Not ours: the managed fields say whose it is.
            "metadata": {"name": OTHERS[name], "namespace": NAMESPACES[namespace], "managedFields": [{"manager": "x", "operation": "Update"}]},
            "spec": {"type": kind, "selector": labels},
        })
    })
}

fn any_release() -> impl Strategy<Value = Value> {
    let spec = prop::sample::select(vec![
        json!({"values": {"external": true}}),
        json!({"values": {"external": false}}),
        json!({"valuesFrom": [{"kind": "Secret", "name": "x"}]}),
        json!({}),
    ]);
    (any_place(), spec).prop_map(|((namespace, name), spec)| {
        json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": MACHINES[name], "namespace": NAMESPACES[namespace]}, "spec": spec,
        })
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let at =
        |step: fn(usize, usize) -> Step| any_place().prop_map(move |(one, two)| step(one, two));
    prop_oneof![
        5 => any_machine().prop_map(Step::Machine),
        1 => at(Step::NoMachine),
        4 => any_service().prop_map(Step::Service),
        2 => at(Step::NoService),
        2 => any_release().prop_map(Step::Release),
        1 => at(Step::NoRelease),
        1 => at(Step::Adopt),
        6 => at(Step::Look),
    ]
}

/// Does it, and gives the object that it changes before and after.
fn take(world: &mut Everything, step: &Step) -> Option<(&'static Read, Vec<Arc<Object>>)> {
    let name = |one: usize, two: usize| (NAMESPACES[one], MACHINES[two]);
    let put = |world: &mut Everything, read: &'static Read, value: &Value| {
        let object = Object::of(value.clone()).unwrap();
        let before = world.get(read, &object.namespace, &object.name);
        // Nobody overwrites what is not his.
        if before.as_deref().is_some_and(is_companion) {
            return (read, Vec::new());
        }
        world.put(read, object.clone());
        (read, before.into_iter().chain([Arc::new(object)]).collect())
    };
    match step {
        Step::Machine(value) => {
            put(world, &VIRTUAL_MACHINES, value);
            None
        }
        Step::NoMachine(one, two) => {
            let (namespace, name) = name(*one, *two);
            world.remove(&VIRTUAL_MACHINES, namespace, name);
            None
        }
        Step::Service(value) => Some(put(world, &SERVICES, value)),
        Step::NoService(one, two) => {
            let gone = world.remove(&SERVICES, NAMESPACES[*one], OTHERS[*two]);
            Some((&SERVICES, gone.into_iter().collect()))
        }
        Step::Release(value) => Some(put(world, &HELM_RELEASES_WITH_VALUES, value)),
        Step::NoRelease(one, two) => {
            let (namespace, name) = name(*one, *two);
            let gone = world.remove(&HELM_RELEASES_WITH_VALUES, namespace, name);
            Some((&HELM_RELEASES_WITH_VALUES, gone.into_iter().collect()))
        }
        Step::Adopt(one, two) => {
            let before = world.get(&SERVICES, NAMESPACES[*one], OTHERS[*two])?;
            let mut object = (*before).clone();
            object.value["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm".into();
            world.put(&SERVICES, object.clone());
            Some((&SERVICES, vec![before, Arc::new(object)]))
        }
        Step::Look(one, two) => {
            let (namespace, name) = name(*one, *two);
            look(world, namespace, name);
            None
        }
    }
}

/// Everything that is not ours.
fn theirs(world: &Everything) -> Vec<Arc<Object>> {
    let services = world.all(&SERVICES);
    services
        .filter(|service| !is_companion(service))
        .cloned()
        .collect()
}

fn is_covered(machine: &Object) -> bool {
    machine.namespace.starts_with("tenant-")
        && machine.value["metadata"]["deletionTimestamp"].is_null()
        && machine.value["spec"]["template"]["metadata"]["labels"]["cluster.x-k8s.io/cluster-name"]
            .is_null()
}

/// Every machine that is to have one has a Service, and one of ours only where nobody else made one.
fn all_have_a_service(world: &Everything) -> Result<(), TestCaseError> {
    for machine in world.all(&VIRTUAL_MACHINES) {
        let key = parent_key(WEBHOOK.declaration.id, &machine.namespace, &machine.name);
        let ours: Vec<_> = world
            .all(&SERVICES)
            .filter(|service| Standing::of(Some(service.as_ref()), &key) == Standing::Ours)
            .collect();
        let is_selected = world
            .all(&SERVICES)
            .any(|service| !is_companion(service) && selects(service, machine));
        if is_selected {
            prop_assert!(
                ours.is_empty() || !is_covered(machine),
                "doubled: {machine:?}"
            );
            continue;
        }
        if !is_covered(machine) || External::of(machine, world) == External::Yes {
            prop_assert!(
                ours.is_empty() || machine.value["metadata"]["deletionTimestamp"].is_string()
            );
            continue;
        }
        let child = Object::of(wanted(world, machine).remove(0)).unwrap();
        let live = world.get(&SERVICES, &child.namespace, &child.name);
        match Standing::of(live.as_deref(), &key) {
            Standing::Ours => {
                prop_assert_eq!(ours.len(), 1);
                prop_assert!(selects(ours[0], machine), "{machine:?}");
            }
            // Only somebody else's Service stands in its way, never that of another machine.
            standing => prop_assert!(
                matches!(standing, Standing::Foreign | Standing::Released)
                    && live.is_some_and(|live| !is_companion(&live))
                    && ours.is_empty(),
                "without a Service: {machine:?}"
            ),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_machine_has_a_service_in_the_end(steps in prop::collection::vec(any_step(), 1..40)) {
        let mut world = Everything::default();
        for step in &steps {
            take(&mut world, step);
        }
        let others = theirs(&world);
        let mut backwards = world.clone();
        settle(&mut world, |_| {});
        settle(&mut backwards, |machines| machines.reverse());
        // Of two that want one name the first one has it, and keeps it.
        let has_one = |world: &Everything| -> BTreeSet<String> {
            let companions = world.all(&SERVICES).filter(|service| is_companion(service));
            companions
                .map(|service| service.text(&["metadata", "annotations", "webhook.cozystack.io/parent"]).unwrap().to_owned())
                .collect()
        };
        prop_assert_eq!(has_one(&world), has_one(&backwards), "the order does not matter");
        for world in [&world, &backwards] {
            prop_assert_eq!(&theirs(world), &others, "what is somebody else's stays as it is");
            all_have_a_service(world)?;
        }
    }

    /// Whoever is not told of a change need not know of it.
    #[test]
    fn whom_a_change_concerns(steps in prop::collection::vec(any_step(), 1..40)) {
        let mut world = Everything::default();
        for step in &steps {
            let all = |world: &Everything| -> BTreeMap<(String, String), Vec<Value>> {
                let machines = world.all(&VIRTUAL_MACHINES);
                machines
                    .map(|machine| ((machine.namespace.clone(), machine.name.clone()), wanted(world, machine)))
                    .collect()
            };
            let before = all(&world);
            let Some((read, objects)) = take(&mut world, step) else { continue };
            let mut concerned = BTreeSet::new();
            for object in objects {
                match Machine.concerned(&read.resource, &object, &world) {
                    Concerned::These(machines) => concerned.extend(machines),
                    Concerned::All => prop_assert!(false, "all of a thousand machines"),
                }
            }
            for (machine, wanted) in all(&world) {
                prop_assert!(
                    before[&machine] == wanted || concerned.contains(&machine),
                    "{machine:?} is not told of {step:?}"
                );
            }
        }
    }

    /// The patch applies, changes one annotation and nothing else, and is the last one.
    #[test]
    fn the_annotation_and_nothing_else(
        steps in prop::collection::vec(any_step(), 1..20),
        machine in any_machine(),
        annotations in prop::option::of(prop::sample::select(vec![
            json!({}), json!({"a/b": "c"}), json!({FQDN_ANNOTATION: "x", "~": "y"}), json!(null),
        ])),
    ) {
        let mut world = Everything::default();
        for step in &steps {
            take(&mut world, step);
        }
        let mut machine = machine;
        if let Some(annotations) = annotations {
            machine["metadata"]["annotations"] = annotations;
        }
        let settings = Settings::default();
        let namespace = machine["metadata"]["namespace"].as_str().unwrap().to_owned();
        let patch = |machine: &Value| {
            let text = machine.to_string();
            let outline = Outline::take(&mut Cursor::new(&text)).unwrap();
            let request = Request {
                operation: Operation::Create,
                group: "kubevirt.io",
                version: "v1",
                kind: "VirtualMachine",
                namespace: &namespace,
                name: "",
                object: Some(outline.json()),
                old_object: None,
                user_info: None,
                dry_run: false,
                explains: false,
                cluster: &world,
                settings: settings.of(&WEBHOOK.declaration),
                deadline: Deadline::after(Duration::from_mins(1)),
            };
            let edits = Machine.mutate(&request, &mut Verdict::default()).unwrap();
            // What is read of the text is what is read of the whole.
            let whole = Object::of(machine.clone()).unwrap();
            let read = written::read(outline.json()).unwrap();
            // What it is as the API server writes it, and as anybody may.
            let odd = machine.to_string().replace("\"spec\"", "\"sp\\u0065c\"");
            let odd = RawValue::from_string(odd).unwrap();
            assert_eq!(wanted(&world, &whole), wanted(&world, &written::read((&*odd).into()).unwrap()));
            assert_eq!(wanted(&world, &whole), wanted(&world, &read));
            edit::patch(outline.json(), &edits).unwrap()
        };
        let operations = patch(&machine);
        prop_assert!(operations.len() <= 1);
        prop_assert!(serde_json::to_string(&operations).unwrap().len() <= 2_048);
        let mut patched = machine.clone();
        json_patch::patch(&mut patched, &operations).unwrap();
        prop_assert!(patch(&patched).is_empty(), "a second time");
        let without = |value: &Value| {
            let mut value = value.clone();
            let metadata = value["metadata"].as_object_mut().unwrap();
            let mut rest = metadata.remove("annotations").unwrap_or_default();
            if let Some(annotations) = rest.as_object_mut() {
                annotations.remove(FQDN_ANNOTATION);
            }
            (value, rest.as_object().cloned().unwrap_or_default())
        };
        prop_assert_eq!(without(&patched), without(&machine));
        if is_covered(&Object::of(machine.clone()).unwrap()) {
            let noted = patched["metadata"]["annotations"][FQDN_ANNOTATION].as_str();
            let suffix = format!(".{namespace}.svc.cozy.local");
            prop_assert!(noted.is_none_or(|noted| noted.ends_with(&suffix)));
        } else {
            prop_assert_eq!(patched, machine);
        }
    }
}

#[test]
fn what_is_no_machine_is_left_alone() {
    for text in [
        "5",
        "{}",
        r#"{"metadata":{}}"#,
        r#"{"metadata":{"name":5}}"#,
    ] {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        assert!(written::read((&*raw).into()).is_none(), "{text}");
    }
    let raw = RawValue::from_string(
        r#"{"metadata":{"name":"web"},"spec":{"template":{"metadata":{"labels":5},"spec":{"hostname":[]}}}}"#.to_owned(),
    );
    assert!(written::read((&*raw.unwrap()).into()).is_some());
}
