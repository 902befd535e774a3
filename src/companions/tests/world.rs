//! A world for the engine: the server, the caches that lag behind it, people and tools that do as they like, and a
//! ledger that holds every write to what was promised.

use super::block_on;
use super::fields::{self, APPLY, Managers, Path, Set};
use super::gadget::{
    ANCHOR, COGS, DISABLED_ANNOTATION, GADGET, GADGETS, LAMP_NAMESPACE, LAMPS, SHARED_LAMP,
};
use super::memory::{Ambush, Event, Name, Server, State, Trouble, Verb, Write, uid_of};
use crate::cluster::live::{follow_events, live_object};
use crate::cluster::{Caches, Change, Knowledge};
use crate::companions::queue::Queue;
use crate::companions::reconcile::Reconciler;
use crate::companions::{enqueue, enqueue_all};
use crate::events::Reason;
use crate::server::metrics::CompanionLabels;
use futures::FutureExt as _;
use kube::runtime::watcher;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;
use webhooks::application_definition::DEFINITIONS;
use webhooks::contract::companions::{
    MANAGED_BY_LABEL, PARENT_ANNOTATION, desired, is_marked_by_helm, parent_key, split_parent_key,
};
use webhooks::contract::{
    Cluster as _, FIELD_MANAGER, Farewell, Mode, Resource, Settings, Standing, Webhook,
    World as RuleWorld,
};
use webhooks::cozystack_resource_definition::{self, LEGACY_DEFINITIONS, bridge};
use webhooks::kinds::{HELM_CHARTS, HELM_RELEASES, PACKAGE_SOURCES};

pub static RULES: &[&Webhook] = &[&cozystack_resource_definition::WEBHOOK, &GADGET];

pub const LEGACY: &str = "CozystackResourceDefinition";
pub const SOURCE: &str = "PackageSource";
pub const CHART: &str = "HelmChart";

static KINDS: [&Resource; 9] = [
    &LEGACY_DEFINITIONS.resource,
    &DEFINITIONS.resource,
    &HELM_CHARTS.resource,
    &HELM_RELEASES.resource,
    &PACKAGE_SOURCES.resource,
    &GADGETS.resource,
    &COGS.resource,
    &LAMPS.resource,
    &ANCHOR,
];

/// The kinds that the engine watches and the tests write.
pub const WATCHED: [&str; 7] = [
    LEGACY,
    "ApplicationDefinition",
    CHART,
    SOURCE,
    "Gadget",
    "Cog",
    "Lamp",
];
/// The kinds whose CRDs come and go.
pub const FLEETING: [&str; 4] = ["ApplicationDefinition", CHART, "Cog", "Gadget"];

pub fn resource(kind: &str) -> &'static Resource {
    KINDS.iter().find(|known| known.kind == kind).unwrap()
}

/// All parents that there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parent {
    One,
    Two,
    Alpha,
    Beta,
}

impl Parent {
    pub const ALL: [Parent; 4] = [Parent::One, Parent::Two, Parent::Alpha, Parent::Beta];

    pub fn name(self) -> Name {
        match self {
            Parent::One => Name::new("Gadget", "one", "a"),
            Parent::Two => Name::new("Gadget", "two", "a"),
            Parent::Alpha => Name::new(LEGACY, "", "alpha"),
            Parent::Beta => Name::new(LEGACY, "", "beta"),
        }
    }

    pub fn rule(self) -> &'static Webhook {
        match self {
            Parent::One | Parent::Two => &GADGET,
            Parent::Alpha | Parent::Beta => &cozystack_resource_definition::WEBHOOK,
        }
    }

    pub fn key(self) -> String {
        let name = self.name();
        parent_key(self.rule().declaration.id, &name.namespace, &name.name)
    }

    fn disabled_annotation(self) -> &'static str {
        match self {
            Parent::One | Parent::Two => DISABLED_ANNOTATION,
            Parent::Alpha | Parent::Beta => bridge::DISABLED_ANNOTATION,
        }
    }
}

/// What a parent asks for.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Children of a gadget; for a legacy definition, the namespace of its repository.
    pub count: u8,
    /// What all children carry.
    pub size: u8,
    /// A gadget's lamp; for a legacy definition, a chart of its own.
    pub extra: bool,
    /// Whether the rule cannot know what a gadget needs.
    pub is_broken: bool,
    /// Whether a gadget's lamp is that of all who share.
    pub is_shared: bool,
}

fn parent_object(parent: Parent, shape: Shape) -> Value {
    let name = parent.name();
    let kind = resource(name.kind);
    let mut object = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind,
        "metadata": {"name": name.name, "labels": {"size": shape.size.to_string()}},
    });
    if kind.namespaced {
        object["metadata"]["namespace"] = name.namespace.into();
        object["spec"] = json!({"cogs": shape.count, "size": shape.size, "lamp": shape.extra, "shared": shape.is_shared});
        if shape.is_broken {
            object["spec"]["broken"] = true.into();
        }
    } else {
        let namespace = ["tenant-x", "tenant-y"][usize::from(shape.count % 2)];
        let chart = if shape.extra {
            json!({"name": "mine", "sourceRef": {"kind": "HelmRepository", "name": "mine", "namespace": namespace}})
        } else {
            json!({"name": "vpn", "sourceRef": {"kind": "HelmRepository", "name": "cozystack-apps", "namespace": "cozy-public"}})
        };
        let size = shape.size;
        object["spec"] = json!({
            "application": {"kind": format!("Gizmo{size}"), "plural": "gizmos", "singular": "gizmo", "openAPISchema": ""},
            "release": {"prefix": "gizmo-", "chart": chart},
        });
    }
    object
}

/// All names that children may have.
pub fn children() -> Vec<Name> {
    let cogs = ["one", "two"]
        .into_iter()
        .flat_map(|namespace| (0..3).map(move |n| Name::new("Cog", namespace, &format!("a-{n}"))));
    cogs.chain([
        Name::new("Lamp", LAMP_NAMESPACE, "one-a"),
        Name::new("Lamp", LAMP_NAMESPACE, "two-a"),
        Name::new("Lamp", LAMP_NAMESPACE, SHARED_LAMP),
        Name::new("ApplicationDefinition", "", "alpha"),
        Name::new("ApplicationDefinition", "", "beta"),
        Name::new(CHART, "tenant-x", "cozystack-alpha"),
        Name::new(CHART, "tenant-y", "cozystack-alpha"),
        Name::new(CHART, "tenant-x", "cozystack-beta"),
    ])
    .collect()
}

/// A field that the engine always wants on a child of that kind, and never with the value "alien" or 99.
fn wanted_field(kind: &str) -> (Path, Value) {
    match kind {
        "ApplicationDefinition" => (
            fields::path(&["spec", "application", "singular"]),
            "alien".into(),
        ),
        CHART => (fields::path(&["spec", "chart"]), "alien".into()),
        _ => (fields::path(&["spec", "size"]), 99.into()),
    }
}

/// How an object of somebody else looks that has a child's name.
#[derive(Debug, Clone, Copy)]
pub enum Likeness {
    /// As the engine might have made it.
    Equal,
    /// It has nothing that the engine wants.
    Disjoint,
    Differing,
    /// Somebody applied it.
    Applied,
}

/// Which field of a companion somebody takes over.
#[derive(Debug, Clone, Copy)]
pub enum Grip {
    Field,
    /// By a forced apply.
    Forced,
    ManagedBy,
    /// The mark of the parent.
    Mark,
    /// The mark, which then names another parent.
    MarkOfAnother,
}

/// What people and tools do.
#[derive(Debug, Clone, Copy)]
pub enum Deed {
    Put(Parent, Shape),
    Drop(Parent),
    Switch(Parent, bool),
    Source(Option<u8>),
    Make(usize, Likeness),
    Take(usize, Grip),
    Label(usize),
    Helm(usize, bool),
    Remove(usize),
    /// Deletes it and makes one of one's own.
    Replace(usize, Likeness),
    /// Deletes it, but a finalizer holds it.
    End(usize),
    EndParent(Parent),
    LetLoose,
    /// Empties the managed fields.
    Disown(usize),
    /// Takes all owner references away.
    Orphan(usize),
    /// Adds an owner that stays.
    Anchor(usize),
    /// Takes the mark of the parent away.
    Strip(usize),
    /// Deletes it and makes it anew from a backup.
    Restore(usize),
    Collect,
    Serve(usize, bool),
}

fn aimed(deed: Deed, child: usize) -> Deed {
    match deed {
        Deed::Make(_, likeness) => Deed::Make(child, likeness),
        Deed::Take(_, grip) => Deed::Take(child, grip),
        Deed::Label(_) => Deed::Label(child),
        Deed::Helm(_, is_label) => Deed::Helm(child, is_label),
        Deed::Remove(_) => Deed::Remove(child),
        Deed::Replace(_, likeness) => Deed::Replace(child, likeness),
        Deed::End(_) => Deed::End(child),
        Deed::Disown(_) => Deed::Disown(child),
        Deed::Orphan(_) => Deed::Orphan(child),
        Deed::Anchor(_) => Deed::Anchor(child),
        Deed::Strip(_) => Deed::Strip(child),
        Deed::Restore(_) => Deed::Restore(child),
        other => other,
    }
}

pub fn name_of(child: usize) -> Name {
    let all = children();
    all[child % all.len()].clone()
}

fn edit(state: &mut State, manager: &str, name: &Name, change: impl Fn(&mut Value)) {
    // What is not there is not edited.
    let _ = state.update(manager, Verb::Update, name, |object| {
        change(object);
        Ok(())
    });
}

fn put_at(members: &[&str], value: Value) -> impl Fn(&mut Value) {
    let path = fields::path(members);
    move |object| fields::put(object, &path, value.clone())
}

pub fn perform(state: &mut State, deed: Deed) {
    match deed {
        Deed::Put(parent, shape) => {
            let object = parent_object(parent, shape);
            let name = parent.name();
            if !state.create("kubectl", resource(name.kind), &object) {
                edit(state, "kubectl", &name, |live| {
                    live["spec"] = object["spec"].clone();
                    live["metadata"]["labels"] = object["metadata"]["labels"].clone();
                });
            }
        }
        Deed::Drop(parent) => state.delete("kubectl", &parent.name(), None, None).unwrap(),
        Deed::Switch(parent, is_on) => {
            let annotation = parent.disabled_annotation();
            let value = if is_on { "false" } else { "true" };
            edit(
                state,
                "kubectl",
                &parent.name(),
                put_at(&["metadata", "annotations", annotation], value.into()),
            );
        }
        Deed::Source(None) => {
            let name = Name::new(SOURCE, "", "cozystack.vpn-application");
            state.delete("kubectl", &name, None, None).unwrap();
        }
        Deed::Source(Some(variant)) => {
            let object = json!({
                "apiVersion": "cozystack.io/v1alpha1", "kind": SOURCE,
                "metadata": {"name": "cozystack.vpn-application"},
                "spec": {"variants": [{
                    "name": format!("variant-{variant}"),
                    "components": [{"name": "vpn", "path": "apps/vpn"}],
                }]},
            });
            let name = Name::new(SOURCE, "", "cozystack.vpn-application");
            if !state.create("kubectl", resource(SOURCE), &object) {
                edit(state, "kubectl", &name, |live| {
                    live["spec"] = object["spec"].clone();
                });
            }
        }
        Deed::Make(child, likeness) => make(state, &name_of(child), likeness),
        Deed::Take(child, grip) => take(state, &name_of(child), grip),
        Deed::Label(child) => edit(
            state,
            "kubectl",
            &name_of(child),
            put_at(&["metadata", "labels", "own"], "yes".into()),
        ),
        Deed::Helm(child, is_label) => {
            let release = ["metadata", "annotations", "meta.helm.sh/release-name"];
            let label = ["metadata", "labels", MANAGED_BY_LABEL];
            let (path, value) = if is_label {
                (label, "Helm")
            } else {
                (release, "someone")
            };
            edit(state, "helm", &name_of(child), put_at(&path, value.into()));
        }
        Deed::Remove(child) => state
            .delete("kubectl", &name_of(child), None, None)
            .unwrap(),
        Deed::Replace(child, likeness) => {
            let name = name_of(child);
            state.delete("kubectl", &name, None, None).unwrap();
            make(state, &name, likeness);
        }
        Deed::End(child) => end(state, &name_of(child)),
        Deed::EndParent(parent) => end(state, &parent.name()),
        Deed::LetLoose => {
            let names: Vec<Name> = state.objects().keys().cloned().collect();
            for name in names {
                edit(
                    state,
                    "holder",
                    &name,
                    put_at(&["metadata", "finalizers"], json!([])),
                );
            }
        }
        // A copy without managed fields cannot be told from a companion without them.
        Deed::Disown(child) => edit(state, "cleaner", &name_of(child), |object| {
            if !ours(&fields::managers(object)).is_empty() {
                object["metadata"]["managedFields"] = json!([{}]);
            }
        }),
        Deed::Orphan(child) => edit(
            state,
            "kubectl",
            &name_of(child),
            put_at(&["metadata", "ownerReferences"], json!([])),
        ),
        Deed::Anchor(child) => anchor(state, &name_of(child)),
        Deed::Strip(child) => edit(state, "kubectl", &name_of(child), |object| {
            let is_ours = ours(&fields::managers(object)).contains(&mark_path());
            if !is_ours {
                return;
            }
            let annotations = object.pointer_mut("/metadata/annotations");
            if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
                annotations.remove(PARENT_ANNOTATION);
            }
        }),
        Deed::Restore(child) => restore(state, &name_of(child)),
        Deed::Collect => state.collect(),
        Deed::Serve(kind, is_served) => {
            state.serve(FLEETING[kind % FLEETING.len()], is_served);
        }
    }
}

fn end(state: &mut State, name: &Name) {
    let finalizers = put_at(&["metadata", "finalizers"], json!(["test.io/hold"]));
    edit(state, "holder", name, finalizers);
    state.delete("kubectl", name, None, None).unwrap();
}

fn make(state: &mut State, name: &Name, likeness: Likeness) {
    let kind = resource(name.kind);
    let mut object = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind,
        "metadata": {"name": name.name, "labels": {"theirs": "yes"}},
    });
    if kind.namespaced {
        object["metadata"]["namespace"] = name.namespace.clone().into();
    }
    match likeness {
        Likeness::Equal => {
            object["spec"] = json!({"size": 1, "shape": {"round": true}, "materials": ["tin", 1]});
        }
        Likeness::Disjoint | Likeness::Applied => object["spec"] = json!({"own": 1}),
        Likeness::Differing => {
            let (path, value) = wanted_field(name.kind);
            fields::put(&mut object, &path, value);
        }
    }
    if matches!(likeness, Likeness::Applied) {
        if state.object(name).is_none() {
            let _ = state.apply("argocd", kind, &object, false);
        }
    } else {
        state.create("kubectl", kind, &object);
    }
}

fn take(state: &mut State, name: &Name, grip: Grip) {
    let (path, value) = match grip {
        Grip::Field | Grip::Forced => wanted_field(name.kind),
        Grip::ManagedBy => (
            fields::path(&["metadata", "labels", MANAGED_BY_LABEL]),
            "kustomize".into(),
        ),
        Grip::Mark => (mark_path(), "a/b/c".into()),
        Grip::MarkOfAnother => {
            let is_firsts = name.namespace == "one"
                || name.name.starts_with("one")
                || name.name.contains("alpha");
            let another = match (name.kind, is_firsts) {
                (CHART | "ApplicationDefinition", true) => Parent::Beta,
                (CHART | "ApplicationDefinition", false) => Parent::Alpha,
                (_, true) => Parent::Two,
                (_, false) => Parent::One,
            };
            (mark_path(), another.key().into())
        }
    };
    if matches!(grip, Grip::Forced) {
        let Some(live) = state.object(name) else {
            return;
        };
        let mut config = json!({
            "apiVersion": live["apiVersion"], "kind": live["kind"],
            "metadata": {"name": live["metadata"]["name"]},
        });
        if let Some(namespace) = live["metadata"].get("namespace") {
            config["metadata"]["namespace"] = namespace.clone();
        }
        fields::put(&mut config, &path, value);
        let _ = state.apply("flux", resource(name.kind), &config, true);
    } else {
        edit(state, "kubectl", name, |object| {
            fields::put(object, &path, value.clone());
        });
    }
}

fn anchor(state: &mut State, name: &Name) {
    if name.namespace.is_empty() {
        return;
    }
    let object = json!({
        "apiVersion": ANCHOR.api_version(), "kind": ANCHOR.kind,
        "metadata": {"name": "anchor", "namespace": name.namespace},
    });
    state.create("kubectl", &ANCHOR, &object);
    let held = state.object(&Name::new(ANCHOR.kind, &name.namespace, "anchor"));
    let uid = uid_of(held.unwrap());
    let owner = json!({"apiVersion": ANCHOR.api_version(), "kind": ANCHOR.kind, "name": "anchor", "uid": uid});
    let mut path = fields::path(&["metadata", "ownerReferences"]);
    path.push(format!("k:{}", json!({"uid": uid})));
    edit(state, "kubectl", name, |object| {
        fields::put(object, &path, owner.clone());
    });
}

fn restore(state: &mut State, name: &Name) {
    let Some(mut object) = state.object(name).cloned() else {
        return;
    };
    state.delete("backup", name, None, None).unwrap();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for member in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "managedFields",
    ] {
        metadata.remove(member);
    }
    state.create("backup", resource(name.kind), &object);
}

/// What the engine knows of a parent when it looks at it, and so what it may do.
#[derive(Debug)]
enum View {
    /// Nothing may be written.
    HandsOff,
    Gone,
    Wants(BTreeMap<Name, Value>),
}

fn name_in(object: &Value) -> Name {
    let text = |member: &str| object["metadata"][member].as_str().unwrap_or_default();
    let kind = resource(object["kind"].as_str().unwrap()).kind;
    Name::new(kind, text("namespace"), text("name"))
}

/// What has become of each object, by uid, as the writes tell it.
#[derive(Debug, Default)]
struct Ledger {
    read: usize,
    /// The engine made it.
    made: BTreeSet<String>,
    /// Somebody has taken it over since.
    taken: BTreeSet<String>,
    /// Its mark was changed, so that it may not be found any more.
    masked: BTreeSet<String>,
    /// The engine has let it go.
    released: BTreeSet<String>,
}

fn ours(managers: &Managers) -> Set {
    managers
        .get(&(FIELD_MANAGER.to_owned(), APPLY))
        .cloned()
        .unwrap_or_default()
}

/// The fields of all others, as one would list them.
fn others(managers: &Managers) -> Managers {
    managers
        .iter()
        .filter(|((manager, _), _)| manager != FIELD_MANAGER && manager != "before-first-apply")
        .map(|(manager, set)| (manager.clone(), set.clone()))
        .collect()
}

fn is_helms(object: &Value) -> bool {
    live_object(object.clone()).is_some_and(|object| is_marked_by_helm(&object))
}

fn mark_path() -> Path {
    fields::path(&["metadata", "annotations", PARENT_ANNOTATION])
}

fn mark(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][PARENT_ANNOTATION].as_str()
}

impl Ledger {
    fn read(&mut self, write: &Write, key: &str, view: &View) {
        let (before, after) = (write.before.as_ref(), write.after.as_ref());
        let uid = before.or(after).map(uid_of).unwrap_or_default();
        if !write.is_ours() {
            self.read_foreign(&uid, before, after);
            return;
        }
        assert!(
            write.manager == FIELD_MANAGER && !self.released.contains(&uid),
            "written after it was let go: {write:?}"
        );
        match (write.verb, before, after) {
            (Verb::Apply, None, Some(after)) => {
                let View::Wants(wanted) = view else {
                    panic!("made and not wanted: {write:?}");
                };
                assert_eq!(
                    fields::leaves(after),
                    fields::leaves(&wanted[&write.name]),
                    "{write:?}"
                );
                self.made.insert(uid);
            }
            (Verb::Apply, Some(before), Some(after)) => {
                self.check_apply(write, before, after, &uid, view);
            }
            (Verb::Patch, Some(before), Some(after)) => {
                self.check_release(before, after, &uid);
                self.released.insert(uid);
            }
            (Verb::Delete, Some(before), _) => {
                assert!(self.made.contains(&uid), "of somebody else: {write:?}");
                assert!(!is_helms(before), "{write:?}");
                let set = ours(&fields::managers(before));
                // The mark may have been taken off a moment ago.
                let is_marked = mark(before) == Some(key) && set.contains(&mark_path());
                assert!(is_marked || mark(before).is_none(), "{write:?}");
                match view {
                    View::Gone => {
                        let rule = split_parent_key(key).unwrap().0;
                        assert_eq!(rule, GADGET.declaration.id, "retained: {write:?}");
                    }
                    View::Wants(wanted) => {
                        assert!(!wanted.contains_key(&write.name), "wanted: {write:?}");
                    }
                    View::HandsOff => panic!("hands off: {write:?}"),
                }
            }
            _ => panic!("a strange write: {write:?}"),
        }
    }

    fn read_foreign(&mut self, uid: &str, before: Option<&Value>, after: Option<&Value>) {
        let (Some(before), Some(after)) = (before, after) else {
            return;
        };
        let had = ours(&fields::managers(before));
        if had.is_empty() {
            return;
        }
        let has = ours(&fields::managers(after));
        let is_taken = |path: &&Path| fields::get(after, path).is_some();
        let is_marked_anew = mark(after).is_some() && !has.contains(&mark_path());
        if has.is_empty()
            || is_helms(after)
            || is_marked_anew
            || had.difference(&has).any(|path| is_taken(&path))
        {
            self.taken.insert(uid.to_owned());
        }
        if !has.contains(&mark_path()) {
            self.masked.insert(uid.to_owned());
        }
    }

    fn check_apply(&self, write: &Write, before: &Value, after: &Value, uid: &str, view: &View) {
        let (had, has) = (fields::managers(before), fields::managers(after));
        let mine = ours(&had);
        assert!(
            before["metadata"].get("deletionTimestamp").is_none(),
            "it is going: {write:?}"
        );
        // What is never updated without a version is not even joined for a moment.
        assert!(
            self.made.contains(uid) || write.name.kind == "Lamp",
            "{write:?}"
        );
        // Nothing that others have, and nothing that nobody has, is another thing now.
        for (path, value) in fields::leaves(before) {
            let is_theirs = others(&had).values().any(|set| set.contains(&path));
            if is_theirs || !mine.contains(&path) {
                assert_eq!(
                    fields::get(after, &path),
                    Some(&value),
                    "foreign field {}: {write:?}",
                    fields::dotted(&path)
                );
            }
        }
        assert_eq!(others(&had), others(&has), "{write:?}");
        if ours(&has).is_empty() {
            assert!(!self.made.contains(uid), "undone: {write:?}");
            return;
        }
        let View::Wants(wanted) = view else {
            panic!("applied and not wanted: {write:?}");
        };
        assert!(wanted.contains_key(&write.name), "{write:?}");
        assert!(!is_helms(before) || !self.made.contains(uid), "{write:?}");
    }

    /// It goes as it is, but for the owner reference and the managed fields' entry.
    fn check_release(&self, before: &Value, after: &Value, uid: &str) {
        assert!(self.taken.contains(uid), "nobody has taken {before}");
        let (mut left, right) = (fields::leaves(before), fields::leaves(after));
        let is_owner = |path: &Path, value: &Value| {
            path.starts_with(&fields::path(&["metadata", "ownerReferences"]))
                && value["kind"] == "Gadget"
        };
        left.retain(|path, value| !is_owner(path, value));
        assert_eq!(left, right, "{before}");
        assert!(
            !right.iter().any(|(path, value)| is_owner(path, value)),
            "{after}"
        );
        let managers = fields::managers(after);
        assert!(ours(&managers).is_empty(), "{after}");
        assert_eq!(
            others(&fields::managers(before)),
            others(&managers),
            "{before}"
        );
    }
}

/// The engine's surroundings.
pub struct World {
    pub server: Server,
    caches: Arc<Caches>,
    changes: UnboundedReceiver<Change>,
    queue: Queue,
    counts: Family<CompanionLabels, Gauge>,
    reconciler: Reconciler<Server>,
    settings: Settings,
    ledger: Ledger,
    /// By uid: the version in which an object of somebody else was last found as it should be.
    checked: BTreeMap<String, Value>,
}

impl World {
    /// Nothing is there, and nothing is known yet.
    pub fn new() -> World {
        let server = new_server();
        let caches = Arc::new(Caches::of(RULES));
        let counts = Family::default();
        let mut world = World {
            changes: caches.changes(),
            queue: Queue::default(),
            reconciler: tireless(&server, &caches, &counts),
            settings: Settings::default(),
            ledger: Ledger::default(),
            checked: BTreeMap::new(),
            server,
            caches,
            counts,
        };
        world.relist("HelmRelease");
        world
    }

    pub fn perform(&self, deed: Deed) {
        perform(&mut self.server.look(), deed);
    }

    /// Somebody is faster than that call; with `aims` at the child that the call is about.
    pub fn ambush(&self, calls: u64, deed: Deed, aims: bool) {
        let deed = Ambush::Deed(Box::new(move |state: &mut State, name: &Name| {
            let child = children().iter().position(|child| child == name);
            match child.filter(|_| aims) {
                Some(child) => perform(state, aimed(deed, child)),
                None => perform(state, deed),
            }
        }));
        self.server.look().lie_in_wait(calls, deed);
    }

    pub fn trouble(&self, calls: u64, trouble: Trouble) {
        self.server
            .look()
            .lie_in_wait(calls, Ambush::Trouble(trouble));
    }

    pub fn restart(&mut self) {
        self.reconciler = tireless(&self.server, &self.caches, &self.counts);
        self.queue = Queue::default();
        enqueue_all(RULES, &self.caches, &mut self.queue, Instant::now());
    }

    pub fn switch_gadgets(&mut self, is_on: bool) {
        let mode = if is_on { Mode::Enforce } else { Mode::Off };
        self.settings = Settings::default().with_mode(GADGET.declaration.id, mode);
        enqueue_all(RULES, &self.caches, &mut self.queue, Instant::now());
    }

    /// The watch of that kind brings its next news.
    pub fn deliver(&self, kind: &'static str) {
        deliver(&self.server, &self.caches, kind);
    }

    /// Its next news is lost.
    pub fn miss(&self, kind: &'static str) {
        self.server.look().pending(kind).pop_front();
    }

    pub fn relist(&mut self, kind: &'static str) {
        relist(&self.server, &self.caches, kind);
    }

    /// All watches bring all their news.
    pub fn catch_up(&self) {
        catch_up(&self.server, &self.caches);
    }

    fn view(&self, rule: &'static Webhook, namespace: &str, name: &str) -> View {
        let (declaration, companions) = (&rule.declaration, rule.companions.unwrap());
        let reads = [companions.parents()].into_iter();
        let reads = reads.chain(companions.reads().iter().copied());
        let reads = reads.chain(declaration.writes.iter().copied());
        if self.settings.mode(declaration) == Mode::Off || self.caches.missing(reads).is_some() {
            return View::HandsOff;
        }
        let Some(parent) = self.caches.get(companions.parents(), namespace, name) else {
            return View::Gone;
        };
        if parent.text(&["metadata", "deletionTimestamp"]).is_some() {
            return View::HandsOff;
        }
        let world = RuleWorld {
            cluster: &*self.caches,
            settings: self.settings.of(declaration),
        };
        match desired(declaration, companions, &parent, &world) {
            Ok(Some(wanted)) => View::Wants(
                wanted
                    .children
                    .into_iter()
                    .map(|child| (name_in(&child), child))
                    .collect(),
            ),
            Ok(None) | Err(_) => View::HandsOff,
        }
    }

    /// The engine looks at one parent; everything that it does meanwhile is held to what was promised.
    pub fn look_at(&mut self, key: &str) -> bool {
        // What others did before was not for this parent.
        self.audit("", &View::HandsOff);
        let (rule, namespace, name) = split_parent_key(key).unwrap();
        let rule = RULES.iter().find(|known| known.declaration.id == rule);
        let Some(rule) = rule.copied() else {
            return true;
        };
        let looked = self
            .reconciler
            .reconcile(rule, namespace, name, &self.settings);
        let is_done = block_on(looked).is_ok();
        if self.server.look().log.len() > self.ledger.read {
            // The caches are still as the engine saw them.
            let view = self.view(rule, namespace, name);
            self.audit(key, &view);
            self.check_foreign();
        }
        is_done
    }

    fn audit(&mut self, key: &str, view: &View) {
        let state = self.server.look();
        for write in &state.log[self.ledger.read..] {
            self.ledger.read(write, key, view);
        }
        self.ledger.read = state.log.len();
    }

    /// What somebody else made is as if there were no engine.
    fn check_foreign(&mut self) {
        let state = self.server.look();
        for (name, object) in state.objects() {
            let uid = uid_of(object);
            let version = &object["metadata"]["resourceVersion"];
            if self.ledger.made.contains(&uid) || self.checked.get(&uid) == Some(version) {
                continue;
            }
            self.checked.insert(uid.clone(), version.clone());
            assert!(
                ours(&fields::managers(object)).is_empty(),
                "joined: {object}"
            );
            let shadow = state.shadow(&uid).unwrap();
            assert_eq!(
                fields::leaves(object),
                fields::leaves(shadow),
                "{name:?} is not as it was left"
            );
        }
    }

    /// The engine takes what is due, with all changes that it was told of, as often as it fails.
    pub fn work(&mut self, looks: usize) -> usize {
        while let Ok(change) = self.changes.try_recv() {
            enqueue(
                &change,
                RULES,
                &self.caches,
                &self.reconciler,
                &mut self.queue,
            );
        }
        let later = Instant::now() + Duration::from_hours(1);
        for look in 0..looks {
            let Some(key) = self.queue.take(later) else {
                return look;
            };
            if self.look_at(&key) {
                self.queue.done(&key);
            } else {
                self.queue.failed(key, Instant::now());
            }
        }
        looks
    }

    fn look_at_all(&mut self) {
        let mut queue = Queue::default();
        enqueue_all(RULES, &self.caches, &mut queue, Instant::now());
        while let Some(key) = queue.take(Instant::now()) {
            self.look_at(&key);
            queue.done(&key);
        }
    }

    /// Nobody disturbs any more.
    fn calm_down(&mut self) {
        let mut state = self.server.look();
        state.disarm();
        for kind in 0..FLEETING.len() {
            perform(&mut state, Deed::Serve(kind, true));
        }
        perform(&mut state, Deed::LetLoose);
        drop(state);
        if self.settings.mode(&GADGET.declaration) == Mode::Off {
            self.switch_gadgets(true);
        }
    }

    /// Everything is listed and looked at until there is nothing left to do; then what is there is held to what was
    /// promised.
    pub fn converge(&mut self) {
        self.calm_down();
        self.settle(|world| {
            for kind in WATCHED {
                world.relist(kind);
            }
            world.work(100);
            world.look_at_all();
        });
    }

    /// The same by news alone: what nobody is told of is not looked at.
    pub fn converge_by_news(&mut self) {
        self.calm_down();
        self.settle(|world| {
            world.catch_up();
            world.work(100);
        });
        for kind in WATCHED {
            let state = &mut self.server.look();
            assert!(state.pending(kind).is_empty());
        }
    }

    fn settle(&mut self, round: impl Fn(&mut World)) {
        let mut rounds = 0;
        loop {
            let before = self.progress();
            round(self);
            self.perform(Deed::Collect);
            if self.progress() == before && rounds > 0 {
                break;
            }
            rounds += 1;
            assert!(rounds < 12, "it does not come to rest");
        }
        self.catch_up();
        self.check_end();
        // A new engine finds nothing to do either.
        let before = self.server.look().log.len();
        self.restart();
        self.look_at_all();
        let state = self.server.look();
        let changes = state.log[before..].iter().filter(|write| write.is_change());
        assert_eq!(changes.count(), 0, "{:?}", &state.log[before..]);
    }

    /// Requests of the engine, and writes of anybody.
    fn progress(&self) -> (u64, usize) {
        let state = self.server.look();
        (state.requests, state.log.len())
    }

    fn check_end(&mut self) {
        self.audit("", &View::HandsOff);
        self.check_foreign();
        let mut counted: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        let mut broken = BTreeSet::new();
        let mut kept = BTreeSet::new();
        let mut hands_off = BTreeSet::new();
        let mut retained = BTreeSet::new();
        for parent in Parent::ALL {
            let name = parent.name();
            let rule = parent.rule();
            let key = parent.key();
            let state = self.server.look();
            let live = state.object(&name);
            if live.is_some_and(|live| live["spec"]["broken"] == true) {
                broken.insert(rule.declaration.id);
            }
            let wanted = match self.view(rule, &name.namespace, &name.name) {
                View::Wants(wanted) => wanted,
                View::HandsOff => {
                    hands_off.insert(key);
                    continue;
                }
                View::Gone => {
                    assert!(live.is_none());
                    if rule.companions.unwrap().farewell() == Farewell::Retain {
                        retained.insert(key);
                    }
                    continue;
                }
            };
            for (child, wanted) in wanted {
                let found = state
                    .object(&child)
                    .unwrap_or_else(|| panic!("{child:?} is missing"));
                let outcome = self.check_child(&key, &wanted, found);
                *counted.entry((rule.declaration.id, outcome)).or_default() += 1;
                if outcome == "in_step" {
                    kept.insert(child);
                }
            }
        }
        self.check_rest(&kept, &hands_off, &retained);
        self.check_news();
        for rule in RULES.iter().map(|rule| rule.declaration.id) {
            for state in ["in_step", "released", "name_taken", "failed"] {
                let gauge = self
                    .counts
                    .get_or_create_owned(&CompanionLabels { rule, state });
                let expected = counted.get(&(rule, state)).copied().unwrap_or_default();
                assert!(
                    gauge.get() == expected || broken.contains(rule),
                    "{rule} {state}: {} and not {expected}",
                    gauge.get()
                );
            }
        }
    }

    /// What has become of a wanted child, in the metric's word.
    fn check_child(&self, key: &str, wanted: &Value, found: &Value) -> &'static str {
        let uid = uid_of(found);
        let set = ours(&fields::managers(found));
        if self.ledger.made.contains(&uid) && !self.ledger.taken.contains(&uid) {
            if mark(found) != Some(key) {
                // The other parent's own look at it shows whether it is in step.
                assert_eq!(found["metadata"]["name"], SHARED_LAMP);
                assert!(set.contains(&mark_path()), "{found}");
                return "name_taken";
            }
            let wanted = fields::leaves(wanted);
            assert!(set.iter().eq(wanted.keys()), "not in step: {found}");
            for (path, value) in &wanted {
                assert_eq!(fields::get(found, path), Some(value), "{found}");
            }
            return "in_step";
        }
        assert!(set.is_empty(), "not let go: {found}");
        // Without managed fields and mark nothing tells that it was a companion.
        if self.ledger.released.contains(&uid)
            || mark(found) == Some(key) && self.ledger.made.contains(&uid)
        {
            let owners = found.pointer("/metadata/ownerReferences");
            let owners = owners.and_then(Value::as_array).into_iter().flatten();
            assert!(
                owners.into_iter().all(|owner| owner["kind"] != "Gadget"),
                "still owned: {found}"
            );
        }
        let standing = Standing::of(live_object(found.clone()).as_ref(), key);
        match standing {
            Standing::Released => "released",
            Standing::Foreign => "name_taken",
            _ => panic!("{standing:?}: {found}"),
        }
    }

    /// Whatever else the engine still holds is there because nobody may touch it.
    fn check_rest(
        &self,
        kept: &BTreeSet<Name>,
        hands_off: &BTreeSet<String>,
        retained: &BTreeSet<String>,
    ) {
        let state = self.server.look();
        for (name, object) in state.objects() {
            let uid = uid_of(object);
            let is_held = !ours(&fields::managers(object)).is_empty();
            if !is_held || kept.contains(name) || self.ledger.masked.contains(&uid) {
                continue;
            }
            let key = mark(object).unwrap();
            let is_retained = retained.contains(key) && !is_helms(object);
            assert!(
                is_retained || hands_off.contains(key),
                "left over: {object}"
            );
        }
    }

    /// Each news once, and each object that was let go is told of.
    fn check_news(&self) {
        let state = self.server.look();
        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        for note in &state.notes {
            if note.reason == Reason::CompanionReleased {
                let related = note.related.as_ref().unwrap();
                *told.entry(&related.uid).or_default() += 1;
            }
        }
        assert!(told.values().all(|count| *count == 1), "{told:?}");
        for uid in told.keys() {
            assert!(self.ledger.released.contains(*uid), "{uid}");
        }
    }

    /// What has become of all children, in a form that does not depend on the way there.
    pub fn outcome(&self) -> BTreeMap<Name, Value> {
        let state = self.server.look();
        let of = |object: &Value| {
            let uid = uid_of(object);
            let set = ours(&fields::managers(object));
            if set.is_empty() && self.ledger.made.contains(&uid) {
                return json!("let go");
            }
            let values: Vec<Value> = fields::leaves(object)
                .into_iter()
                .filter(|(path, _)| set.is_empty() || set.contains(path))
                .map(|(path, value)| json!([fields::dotted(&path), value]))
                .collect();
            json!([if set.is_empty() { "foreign" } else { "in step" }, values])
        };
        children()
            .into_iter()
            .filter_map(|name| Some((name.clone(), of(state.object(&name)?))))
            .collect()
    }

    pub fn released(&self) -> usize {
        self.ledger.released.len()
    }

    /// How many objects the engine has told of.
    pub fn told(&self, reason: Reason) -> usize {
        let state = self.server.look();
        let notes = state.notes.iter();
        notes.filter(|note| note.reason == reason).count()
    }

    pub fn is_live(&self, parent: Parent) -> bool {
        self.server.look().object(&parent.name()).is_some()
    }
}

/// A server of all kinds. Lamps are updated without a version, as most built-in kinds are.
pub fn new_server() -> Server {
    Server::new(KINDS, &["Lamp"])
}

fn feed(caches: &Caches, kind: &str, events: Vec<watcher::Event<Value>>) {
    let cache = caches.cache(resource(kind)).unwrap();
    let events = futures::stream::iter(events.into_iter().map(Ok));
    follow_events(events, cache)
        .now_or_never()
        .unwrap()
        .unwrap();
}

pub fn deliver(server: &Server, caches: &Caches, kind: &'static str) {
    if caches.cache(resource(kind)).unwrap().knowledge() == Knowledge::Syncing {
        relist(server, caches, kind);
        return;
    }
    let event = server.look().pending(kind).pop_front();
    match event {
        Some(Event::Put(object)) => feed(caches, kind, vec![watcher::Event::Apply(object)]),
        Some(Event::Gone(object)) => feed(caches, kind, vec![watcher::Event::Delete(object)]),
        Some(Event::Served) => relist(server, caches, kind),
        None => {}
    }
}

pub fn relist(server: &Server, caches: &Caches, kind: &'static str) {
    let mut state = server.look();
    state.pending(kind).clear();
    if !state.is_served(kind) {
        let cache = caches.cache(resource(kind)).unwrap();
        cache.replace(Vec::new());
        cache.learn(Knowledge::Absent);
        return;
    }
    let listed = state
        .objects()
        .iter()
        .filter(|(name, _)| name.kind == kind)
        .map(|(_, object)| watcher::Event::InitApply(object.clone()));
    let mut events = vec![watcher::Event::Init];
    events.extend(listed);
    events.push(watcher::Event::InitDone);
    drop(state);
    feed(caches, kind, events);
}

pub fn catch_up(server: &Server, caches: &Caches) {
    for kind in WATCHED {
        deliver(server, caches, kind);
        while !server.look().pending(kind).is_empty() {
            deliver(server, caches, kind);
        }
    }
}

/// An engine that is never tired of writing again: here a minute passes in a moment.
fn tireless(
    server: &Server,
    caches: &Arc<Caches>,
    counts: &Family<CompanionLabels, Gauge>,
) -> Reconciler<Server> {
    let mut reconciler = Reconciler::new(server.clone(), Arc::clone(caches), counts.clone());
    reconciler.rewrites_max = usize::MAX;
    reconciler
}
