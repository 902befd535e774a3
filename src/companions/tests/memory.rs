//! An API server in memory: optimistic locks, managed fields, server-side apply, watches, garbage collection. What it
//! does is what kube-apiserver does with custom resources whose schema names every field; the tables at the end were
//! read off a real one.

use super::fields::{self, APPLY, Managers, Set, UPDATE};
use crate::companions::api::{Api, ApiError};
use crate::events::Note;
use json_patch::Patch as JsonPatch;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use webhooks::contract::{FIELD_MANAGER, Resource};

/// The garbage collector's name.
pub const COLLECTOR: &str = "garbage-collector";

/// An object by kind, namespace and name. No two kinds of the tests share a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
}

impl Name {
    pub fn new(kind: &'static str, namespace: &str, name: &str) -> Name {
        Name {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Create,
    Apply,
    Update,
    Patch,
    Delete,
}

/// A write that went through, be it without effect.
#[derive(Debug, Clone)]
pub struct Write {
    pub manager: String,
    pub verb: Verb,
    pub name: Name,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

impl Write {
    pub fn is_change(&self) -> bool {
        self.before != self.after
    }

    pub fn is_ours(&self) -> bool {
        self.manager == FIELD_MANAGER
    }
}

/// What a watch is told.
#[derive(Debug, Clone)]
pub enum Event {
    Put(Value),
    Gone(Value),
    /// The kind is served (again), or no longer.
    Served,
}

/// What happens to a call from the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It fails without effect.
    Before,
    /// It takes effect, and the answer is lost.
    After,
    /// It fails, and so do all that follow.
    Onwards,
}

/// What lies in wait for a call.
pub enum Ambush {
    Trouble(Trouble),
    /// Somebody is faster, at the object that the call is about or elsewhere.
    Deed(Box<dyn FnOnce(&mut State, &Name) + Send>),
}

struct Kind {
    resource: &'static Resource,
    is_served: bool,
    /// An update need not name a version, as with most built-in kinds.
    is_lenient: bool,
}

#[derive(Default)]
pub struct State {
    kinds: BTreeMap<&'static str, Kind>,
    objects: BTreeMap<Name, Value>,
    version: u64,
    births: BTreeMap<Name, u64>,
    /// By uid: what an object that somebody else made would be without the engine.
    shadows: BTreeMap<String, Value>,
    watches: BTreeMap<&'static str, VecDeque<Event>>,
    ambush: Option<(u64, Ambush)>,
    /// Objects that admission refuses, and how often it did.
    pub refused: BTreeMap<Name, u64>,
    /// Writes that the engine asked for, whatever came of them.
    pub requests: u64,
    pub log: Vec<Write>,
    /// Each news once, as an Event's name follows from what it says.
    pub notes: Vec<Note>,
}

/// The server. Cloned, it is the same one.
#[derive(Clone, Default)]
pub struct Server(Arc<Mutex<State>>);

impl Server {
    /// A server of these kinds; of those in `lenient` an update need not name a version.
    pub fn new(
        kinds: impl IntoIterator<Item = &'static Resource>,
        lenient: &[&'static str],
    ) -> Server {
        let server = Server::default();
        server.look().kinds = kinds
            .into_iter()
            .map(|resource| {
                let kind = Kind {
                    resource,
                    is_served: true,
                    is_lenient: lenient.contains(&resource.kind),
                };
                (resource.kind, kind)
            })
            .collect();
        server
    }

    pub fn look(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call of the engine.
    async fn call<T>(
        &self,
        name: &Name,
        is_write: bool,
        act: impl FnOnce(&mut State) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        // Others get their turn, as they do while a real request is under way.
        tokio::task::yield_now().await;
        let mut state = self.look();
        state.requests += u64::from(is_write);
        let trouble = state.ambushed(name);
        let lost = || ApiError::Unavailable("the connection is lost".to_owned());
        match trouble {
            Some(Trouble::Before | Trouble::Onwards) => Err(lost()),
            Some(Trouble::After) => act(&mut state).and(Err(lost())),
            None => act(&mut state),
        }
    }
}

impl State {
    /// The `calls`-th call of the engine from now on meets the ambush. It takes the place of the one before.
    pub fn lie_in_wait(&mut self, calls: u64, ambush: Ambush) {
        self.ambush = Some((calls, ambush));
    }

    pub fn disarm(&mut self) {
        self.ambush = None;
    }

    fn ambushed(&mut self, name: &Name) -> Option<Trouble> {
        match self.ambush.take()? {
            (0 | 1, Ambush::Deed(deed)) => {
                deed(self, name);
                None
            }
            (0 | 1, Ambush::Trouble(trouble)) => {
                if trouble == Trouble::Onwards {
                    self.ambush = Some((0, Ambush::Trouble(trouble)));
                }
                Some(trouble)
            }
            (calls, ambush) => {
                self.ambush = Some((calls - 1, ambush));
                None
            }
        }
    }

    pub fn objects(&self) -> &BTreeMap<Name, Value> {
        &self.objects
    }

    pub fn object(&self, name: &Name) -> Option<&Value> {
        self.objects.get(name)
    }

    /// What an object that somebody else made would be without the engine.
    pub fn shadow(&self, uid: &str) -> Option<&Value> {
        self.shadows.get(uid)
    }

    pub fn is_served(&self, kind: &str) -> bool {
        self.kinds.get(kind).is_some_and(|kind| kind.is_served)
    }

    fn check_served(&self, kind: &str) -> Result<(), ApiError> {
        if self.is_served(kind) {
            Ok(())
        } else {
            Err(ApiError::Gone)
        }
    }

    fn name_of(&self, resource: &Resource, object: &Value) -> Name {
        let kind = self.kinds.get(resource.kind).unwrap().resource.kind;
        let metadata = &object["metadata"];
        Name::new(
            kind,
            metadata["namespace"].as_str().unwrap_or_default(),
            metadata["name"].as_str().unwrap(),
        )
    }

    fn announce(&mut self, kind: &'static str, event: Event) {
        self.watches.entry(kind).or_default().push_back(event);
    }

    /// What watches of the kind have not been told yet.
    pub fn pending(&mut self, kind: &'static str) -> &mut VecDeque<Event> {
        self.watches.entry(kind).or_default()
    }

    fn note(&mut self, manager: &str, verb: Verb, name: &Name, before: Option<Value>) {
        self.log.push(Write {
            manager: manager.to_owned(),
            verb,
            name: name.clone(),
            before,
            after: self.objects.get(name).cloned(),
        });
    }

    /// Stores what is not there yet.
    fn bear(&mut self, manager: &str, verb: Verb, name: &Name, mut object: Value) -> Value {
        let births = self.births.entry(name.clone()).or_default();
        *births += 1;
        let uid = format!("{}/{}/{}#{births}", name.kind, name.namespace, name.name);
        self.version += 1;
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.insert("uid".to_owned(), uid.clone().into());
        metadata.insert(
            "resourceVersion".to_owned(),
            self.version.to_string().into(),
        );
        metadata.insert(
            "creationTimestamp".to_owned(),
            "2026-01-01T00:00:00Z".into(),
        );
        if manager != FIELD_MANAGER {
            self.shadows.insert(uid, object.clone());
        }
        self.objects.insert(name.clone(), object.clone());
        self.announce(name.kind, Event::Put(object.clone()));
        self.note(manager, verb, name, None);
        object
    }

    /// Stores the next version of an object, if it is another one.
    fn store(&mut self, manager: &str, verb: Verb, name: &Name, mut object: Value) -> Value {
        let before = self.objects.get(name).cloned();
        let is_changed = before.as_ref() != Some(&object);
        if is_changed {
            self.version += 1;
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            let is_over = object.pointer("/metadata/deletionTimestamp").is_some()
                && object.pointer("/metadata/finalizers").is_none();
            if is_over {
                self.objects.remove(name);
                self.announce(name.kind, Event::Gone(object.clone()));
            } else {
                self.objects.insert(name.clone(), object.clone());
                self.announce(name.kind, Event::Put(object.clone()));
            }
        }
        self.note(manager, verb, name, before);
        object
    }

    /// Creates an object under an Update entry; false when its name is taken or its kind not there.
    pub fn create(&mut self, manager: &str, resource: &Resource, object: &Value) -> bool {
        let name = self.name_of(resource, object);
        if self.objects.contains_key(&name) || !self.is_served(name.kind) {
            return false;
        }
        let set: Set = fields::leaves(object).into_keys().collect();
        let mut object = object.clone();
        let managers = Managers::from([((manager.to_owned(), UPDATE), set)]);
        fields::put_managers(&mut object, &managers);
        self.bear(manager, Verb::Create, &name, object);
        true
    }

    /// Server-side apply.
    pub fn apply(
        &mut self,
        manager: &str,
        resource: &Resource,
        config: &Value,
        is_forced: bool,
    ) -> Result<Value, ApiError> {
        self.check_served(resource.kind)?;
        let name = self.name_of(resource, config);
        if let Some(count) = self.refused.get_mut(&name) {
            *count += 1;
            return Err(ApiError::Refused("admission does not like it".to_owned()));
        }
        let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str);
        let (version, uid) = (text("/metadata/resourceVersion"), text("/metadata/uid"));
        let wanted = fields::leaves(config);
        let set: Set = wanted.keys().cloned().collect();
        let me = (manager.to_owned(), APPLY);

        let Some(live) = self.objects.get(&name).cloned() else {
            // A version that is asked for does not keep it from being made; a uid does.
            if uid.is_some() {
                return Err(ApiError::Changed);
            }
            let mut object = config.clone();
            fields::put_managers(&mut object, &Managers::from([(me, set)]));
            return Ok(self.bear(manager, Verb::Apply, &name, object));
        };
        let mut managers = fields::managers(&live);
        if managers.is_empty() {
            let everything = fields::leaves(&live).into_keys().collect();
            managers.insert(("before-first-apply".to_owned(), UPDATE), everything);
        }
        let is_others = |managers: &Managers, path: &[String]| {
            managers
                .iter()
                .filter(|(manager, _)| **manager != me)
                .find(|(_, set)| set.contains(path))
                .map(|((manager, _), _)| manager.clone())
        };
        let conflicts: Vec<(String, fields::Path)> = wanted
            .iter()
            .filter(|(path, value)| fields::differs(&live, path, value))
            .filter_map(|(path, _)| Some((is_others(&managers, path)?, path.clone())))
            .collect();
        if !conflicts.is_empty() && !is_forced {
            let conflicts: Vec<String> = conflicts
                .iter()
                .map(|(manager, path)| {
                    format!("conflict with \"{manager}\": {}", fields::dotted(path))
                })
                .collect();
            return Err(ApiError::Conflict(format!(
                "Apply failed with {} conflicts: {}",
                conflicts.len(),
                conflicts.join(", ")
            )));
        }
        for (_, path) in &conflicts {
            for (_, set) in managers.iter_mut().filter(|(manager, _)| **manager != me) {
                set.remove(path);
            }
        }
        if uid.is_some_and(|uid| live["metadata"]["uid"] != *uid) {
            return Err(ApiError::Refused("metadata.uid is immutable".to_owned()));
        }
        let is_lenient = self.kinds.get(name.kind).unwrap().is_lenient;
        match version {
            Some("0") if is_lenient => {}
            Some(version) if live["metadata"]["resourceVersion"] != *version => {
                return Err(ApiError::Changed);
            }
            _ => {}
        }
        let mut merged = live.clone();
        let mine = managers.remove(&me).unwrap_or_default();
        for path in mine.difference(&set) {
            if is_others(&managers, path).is_none() {
                fields::remove(&mut merged, path);
            }
        }
        for (path, value) in wanted {
            if fields::get(&merged, &path).is_none() || fields::differs(&merged, &path, &value) {
                fields::put(&mut merged, &path, value);
            }
        }
        managers.insert(me, set);
        fields::put_managers(&mut merged, &managers);
        let stored = self.store(manager, Verb::Apply, &name, merged);
        if manager != FIELD_MANAGER
            && let Some(shadow) = self.shadows.get_mut(&uid_of(&stored))
        {
            for (path, value) in fields::leaves(config) {
                fields::put(shadow, &path, value);
            }
        }
        Ok(stored)
    }

    /// Replaces an object by what `change` makes of it; what it changes or adds becomes the manager's.
    pub fn update(
        &mut self,
        manager: &str,
        verb: Verb,
        name: &Name,
        change: impl Fn(&mut Value) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        self.check_served(name.kind)?;
        let live = self.objects.get(name).cloned().ok_or(ApiError::Gone)?;
        let mut new = live.clone();
        change(&mut new)?;
        if new["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"] {
            return Err(ApiError::Changed);
        }
        tidy(&mut new);
        // No list, and an empty one, are ignored; a list of one empty entry empties it.
        let is_given = new
            .pointer("/metadata/managedFields")
            .and_then(Value::as_array)
            .is_some_and(|entries| !entries.is_empty());
        let mut managers = fields::managers(if is_given { &new } else { &live });
        let changed: Set = fields::leaves(&new)
            .into_iter()
            .filter(|(path, value)| {
                fields::get(&live, path).is_none() || fields::differs(&live, path, value)
            })
            .map(|(path, _)| path)
            .collect();
        for set in managers.values_mut() {
            set.retain(|path| fields::get(&new, path).is_some() && !changed.contains(path));
        }
        // Where nobody's fields are told apart, an update does not begin to.
        if !managers.is_empty() {
            managers
                .entry((manager.to_owned(), UPDATE))
                .or_default()
                .extend(changed);
        }
        fields::put_managers(&mut new, &managers);
        self.store(manager, verb, name, new);
        if manager != FIELD_MANAGER
            && let Some(shadow) = self.shadows.get_mut(&uid_of(&live))
        {
            change(shadow)?;
            tidy(shadow);
        }
        Ok(())
    }

    /// Deletes an object, if it is the one that is meant. That there is none is as well.
    pub fn delete(
        &mut self,
        manager: &str,
        name: &Name,
        uid: Option<&str>,
        version: Option<&str>,
    ) -> Result<(), ApiError> {
        let Some(live) = self.objects.get(name).cloned() else {
            return Ok(());
        };
        let metadata = &live["metadata"];
        if uid.is_some_and(|uid| metadata["uid"] != *uid)
            || version.is_some_and(|version| metadata["resourceVersion"] != *version)
        {
            return Err(ApiError::Changed);
        }
        if metadata.get("finalizers").is_some() {
            let mut ending = live;
            ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:01Z".into();
            self.store(manager, Verb::Delete, name, ending);
        } else {
            self.objects.remove(name);
            self.version += 1;
            self.announce(name.kind, Event::Gone(live.clone()));
            self.note(manager, Verb::Delete, name, Some(live));
        }
        Ok(())
    }

    /// The garbage collector's work: what has lost all its owners goes, a lost owner among others is forgotten.
    pub fn collect(&mut self) {
        loop {
            let mut is_done = true;
            for (name, object) in self.objects.clone() {
                let Some(owners) = object
                    .pointer("/metadata/ownerReferences")
                    .and_then(Value::as_array)
                else {
                    continue;
                };
                let (there, gone): (Vec<_>, Vec<_>) = owners
                    .iter()
                    .cloned()
                    .partition(|owner| self.is_there(owner, &name.namespace));
                if there.is_empty() && object.pointer("/metadata/deletionTimestamp").is_none() {
                    self.delete(COLLECTOR, &name, None, None).unwrap();
                    is_done = false;
                } else if !there.is_empty() && !gone.is_empty() {
                    self.update(COLLECTOR, Verb::Update, &name, |object| {
                        object["metadata"]["ownerReferences"] = there.clone().into();
                        Ok(())
                    })
                    .unwrap();
                    is_done = false;
                }
            }
            if is_done {
                return;
            }
        }
    }

    /// An owner is looked for in the namespace of what it owns, or in none.
    fn is_there(&self, owner: &Value, namespace: &str) -> bool {
        let kind = self
            .kinds
            .values()
            .find(|kind| owner["kind"] == kind.resource.kind);
        kind.is_some_and(|kind| {
            let namespace = if kind.resource.namespaced {
                namespace
            } else {
                ""
            };
            let name = owner["name"].as_str().unwrap();
            let found = self
                .objects
                .get(&Name::new(kind.resource.kind, namespace, name));
            found.is_some_and(|found| found["metadata"]["uid"] == owner["uid"])
        })
    }

    /// Installs a kind's CRD, or takes it away with all its objects.
    pub fn serve(&mut self, kind: &'static str, is_served: bool) {
        let known = self.kinds.get_mut(kind).unwrap();
        if known.is_served == is_served {
            return;
        }
        known.is_served = is_served;
        let names: Vec<Name> = self
            .objects
            .keys()
            .filter(|name| name.kind == kind)
            .cloned()
            .collect();
        for name in names {
            let before = self.objects.remove(&name);
            self.note("crd", Verb::Delete, &name, before);
        }
        self.announce(kind, Event::Served);
    }
}

/// What of metadata holds nothing is not there.
fn tidy(object: &mut Value) {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for member in ["labels", "annotations", "finalizers", "ownerReferences"] {
        if matches!(metadata.get(member), Some(value) if *value == json!([]) || *value == json!({}))
        {
            metadata.remove(member);
        }
    }
}

pub fn uid_of(object: &Value) -> String {
    object["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

impl Api for Server {
    async fn get(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, ApiError> {
        let name = Name::new(resource.kind, namespace, name);
        self.call(&name, false, |state| Ok(state.objects.get(&name).cloned()))
            .await
    }

    async fn apply(&self, resource: &'static Resource, object: &Value) -> Result<Value, ApiError> {
        let name = self.look().name_of(resource, object);
        self.call(&name, true, |state| {
            state.apply(FIELD_MANAGER, resource, object, false)
        })
        .await
    }

    async fn patch(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        patch: &JsonPatch,
    ) -> Result<(), ApiError> {
        let name = Name::new(resource.kind, namespace, name);
        self.call(&name, true, |state| {
            state.update(FIELD_MANAGER, Verb::Patch, &name, |object| {
                json_patch::patch(object, &patch.0)
                    .map_err(|error| ApiError::Refused(error.to_string()))
            })
        })
        .await
    }

    async fn delete(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        uid: &str,
        resource_version: &str,
    ) -> Result<(), ApiError> {
        let name = Name::new(resource.kind, namespace, name);
        self.call(&name, true, |state| {
            state.delete(FIELD_MANAGER, &name, Some(uid), Some(resource_version))
        })
        .await
    }

    async fn tell(&self, note: &Note) {
        let mut state = self.look();
        if !state.notes.contains(note) {
            state.notes.push(note.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::companions::tests::block_on;
    use webhooks::kinds::HELM_CHARTS;

    const CHART: &str = "HelmChart";

    fn chart(spec: Value) -> Value {
        json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": CHART,
            "metadata": {"name": "x", "namespace": "n"}, "spec": spec,
        })
    }

    fn with(mut object: Value, member: &str, value: Value) -> Value {
        object["metadata"][member] = value;
        object
    }

    struct Bench(State);

    impl Bench {
        fn new() -> Bench {
            let server = Server::new([&HELM_CHARTS.resource], &[]);
            let state = std::mem::take(&mut *server.look());
            Bench(state)
        }

        fn name() -> Name {
            Name::new(CHART, "n", "x")
        }

        fn apply(&mut self, manager: &str, object: &Value) -> Result<Value, ApiError> {
            self.0.apply(manager, &HELM_CHARTS.resource, object, false)
        }

        fn edit(&mut self, manager: &str, path: &[&str], value: &Value) {
            let path = fields::path(path);
            self.0
                .update(manager, Verb::Update, &Bench::name(), |object| {
                    fields::put(object, &path, value.clone());
                    Ok(())
                })
                .unwrap();
        }

        fn live(&self) -> &Value {
            self.0.object(&Bench::name()).unwrap()
        }

        /// `spec`, and the fields of each manager.
        fn state(&self) -> Value {
            let entries: serde_json::Map<String, Value> = fields::managers(self.live())
                .iter()
                .map(|((manager, operation), set)| {
                    let fields: Vec<String> = set.iter().map(|path| fields::dotted(path)).collect();
                    (format!("{manager} {operation}"), fields.into())
                })
                .collect();
            json!([self.live().get("spec"), entries])
        }
    }

    #[test]
    fn apply_owns_what_it_names_and_takes_back_what_it_leaves_out() {
        let mut bench = Bench::new();
        bench
            .apply("us", &chart(json!({"size": 1, "shape": {"round": true}})))
            .unwrap();
        let version = bench.live()["metadata"]["resourceVersion"].clone();
        bench
            .apply("us", &chart(json!({"size": 1, "shape": {"round": true}})))
            .unwrap();
        assert_eq!(bench.live()["metadata"]["resourceVersion"], version);
        bench.edit("kubectl", &["spec", "shape", "own"], &json!(1));
        bench.edit("kubectl", &["spec", "size"], &json!(1));
        assert_eq!(
            bench.state(),
            json!([
                {"size": 1, "shape": {"round": true, "own": 1}},
                {"us Apply": [".spec.shape.round", ".spec.size"], "kubectl Update": [".spec.shape.own"]},
            ]),
            "an equal value is no change of hands"
        );
        bench.apply("us", &chart(json!({"size": 1}))).unwrap();
        assert_eq!(
            bench.state(),
            json!([
                {"size": 1, "shape": {"own": 1}},
                {"us Apply": [".spec.size"], "kubectl Update": [".spec.shape.own"]},
            ])
        );
        bench.apply("us", &chart(json!(null))).unwrap();
    }

    #[test]
    fn another_value_changes_hands_and_is_a_conflict() {
        let mut bench = Bench::new();
        bench.apply("us", &chart(json!({"size": 1}))).unwrap();
        bench.edit("kubectl", &["spec", "size"], &json!(2));
        assert_eq!(
            bench.state(),
            json!([{"size": 2}, {"kubectl Update": [".spec.size"]}])
        );
        // The conflict is told before the version is compared.
        let stale = with(chart(json!({"size": 1})), "resourceVersion", json!("1"));
        let refused = bench.apply("us", &stale);
        assert!(
            matches!(&refused, Err(ApiError::Conflict(why)) if why.contains("kubectl") && why.contains(".spec.size")),
            "{refused:?}"
        );
        bench.apply("us", &chart(json!({"size": 2}))).unwrap();
        assert_eq!(
            bench.state(),
            json!([{"size": 2}, {"kubectl Update": [".spec.size"], "us Apply": [".spec.size"]}])
        );
        bench.apply("us", &chart(json!({"other": 1}))).unwrap();
        assert_eq!(
            bench.state(),
            json!([{"size": 2, "other": 1}, {"kubectl Update": [".spec.size"], "us Apply": [".spec.other"]}]),
            "what another has too stays"
        );
        let forced = chart(json!({"other": 2}));
        let resource = &HELM_CHARTS.resource;
        bench.0.apply("helm", resource, &forced, true).unwrap();
        assert_eq!(
            bench.state(),
            json!([{"size": 2, "other": 2}, {"kubectl Update": [".spec.size"], "helm Apply": [".spec.other"]}])
        );
    }

    #[test]
    fn versions_and_uids_are_held_to() {
        let mut bench = Bench::new();
        let versioned =
            |version: &str| with(chart(json!({"size": 1})), "resourceVersion", json!(version));
        let known = |uid: &str| with(chart(json!({})), "uid", json!(uid));
        assert!(matches!(
            bench.apply("us", &known("u")),
            Err(ApiError::Changed)
        ));
        // Of what is not there no version is asked.
        bench.apply("us", &versioned("77")).unwrap();
        let version = bench.live()["metadata"]["resourceVersion"].clone();
        for stale in ["0", "77"] {
            let refused = bench.apply("us", &versioned(stale));
            assert!(matches!(refused, Err(ApiError::Changed)), "{stale}");
        }
        bench
            .apply("us", &versioned(version.as_str().unwrap()))
            .unwrap();
        assert!(matches!(
            bench.apply("us", &known("u")),
            Err(ApiError::Refused(_))
        ));
        let name = Bench::name();
        let uid = uid_of(bench.live());
        let mut delete = |uid: Option<&str>, version: Option<&str>| {
            bench.0.delete("us", &name, uid, version).is_ok()
        };
        assert!(!delete(Some("u"), None));
        assert!(!delete(Some(&uid), Some("0")));
        assert!(delete(Some(&uid), version.as_str()));
        assert!(delete(Some(&uid), version.as_str()), "it is not there");
    }

    #[test]
    fn applying_nothing_undoes_an_apply() {
        let mut bench = Bench::new();
        let theirs = chart(json!({"size": 1, "other": 3}));
        assert!(bench.0.create("kubectl", &HELM_CHARTS.resource, &theirs));
        assert!(!bench.0.create("kubectl", &HELM_CHARTS.resource, &theirs));
        let before = bench.state();
        let ours = with(
            chart(json!({"size": 1, "shape": {"round": true}})),
            "labels",
            json!({"a": "b"}),
        );
        bench.apply("us", &ours).unwrap();
        assert_ne!(bench.state(), before);
        let uid = uid_of(bench.live());
        let nothing = json!({"apiVersion": "v1", "kind": CHART, "metadata": {"name": "x", "namespace": "n", "uid": uid}});
        bench.apply("us", &nothing).unwrap();
        assert_eq!(bench.state(), before);
        assert_eq!(bench.live().pointer("/metadata/labels"), None);
    }

    fn patch(state: &mut State, operations: Value) -> Result<(), ApiError> {
        let patch: JsonPatch = serde_json::from_value(operations).unwrap();
        state.update("us", Verb::Patch, &Bench::name(), |object| {
            json_patch::patch(object, &patch.0)
                .map_err(|error| ApiError::Refused(error.to_string()))
        })
    }

    #[test]
    fn patches_edit_managed_fields() {
        let mut bench = Bench::new();
        let owner = json!({"apiVersion": "v1", "kind": CHART, "name": "p", "uid": "u1"});
        let ours = with(chart(json!({"size": 1})), "ownerReferences", json!([owner]));
        bench.apply("us", &ours).unwrap();
        assert_eq!(
            bench.state()[1],
            json!({"us Apply": [".metadata.ownerReferences{\"uid\":\"u1\"}", ".spec.size"]})
        );
        let managed = |value: Value| json!({"op": "replace", "path": "/metadata/managedFields", "value": value});
        let version = |version: &Value| json!({"op": "add", "path": "/metadata/resourceVersion", "value": version});
        let owners = json!({"op": "replace", "path": "/metadata/ownerReferences", "value": []});
        let stale = patch(
            &mut bench.0,
            json!([version(&json!("0")), managed(json!([{}]))]),
        );
        assert!(matches!(stale, Err(ApiError::Changed)));
        let current = bench.live()["metadata"]["resourceVersion"].clone();
        patch(&mut bench.0, json!([managed(json!([]))])).unwrap();
        assert_eq!(bench.live()["metadata"]["resourceVersion"], current);
        patch(&mut bench.0, json!([version(&current), owners])).unwrap();
        assert_eq!(
            bench.state(),
            json!([{"size": 1}, {"us Apply": [".spec.size"]}])
        );
        patch(&mut bench.0, json!([managed(json!([{}]))])).unwrap();
        assert_eq!(bench.state(), json!([{"size": 1}, {}]));
        assert_eq!(bench.live().pointer("/metadata/managedFields"), None);
        assert_eq!(bench.live().pointer("/metadata/ownerReferences"), None);
        // Nobody's fields are not told apart until somebody applies.
        bench.edit("kubectl", &["spec", "size"], &json!(2));
        assert_eq!(bench.state(), json!([{"size": 2}, {}]));
        let refused = bench.apply("us", &chart(json!({"size": 1})));
        assert!(
            matches!(&refused, Err(ApiError::Conflict(why)) if why.contains("before-first-apply")),
            "{refused:?}"
        );
    }

    #[test]
    fn what_has_lost_its_owners_is_collected() {
        let mut bench = Bench::new();
        let other = |name: &str, owners: Value| {
            let mut object = with(chart(json!({})), "ownerReferences", owners);
            object["metadata"]["name"] = name.into();
            object
        };
        let of = |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": CHART, "name": name, "uid": uid});
        bench.apply("us", &chart(json!({}))).unwrap();
        let uid = uid_of(bench.live());
        for (name, owners) in [
            ("kept", json!([of("x", &uid)])),
            ("gone", json!([of("x", "of-another-one")])),
            ("half", json!([of("x", &uid), of("y", "of-another-one")])),
        ] {
            bench.apply("us", &other(name, owners)).unwrap();
        }
        let name = |name: &str| Name::new(CHART, "n", name);
        let hold = |object: &mut Value| {
            object["metadata"]["finalizers"] = json!(["a/b"]);
            Ok(())
        };
        bench
            .0
            .update("kubectl", Verb::Update, &name("kept"), hold)
            .unwrap();
        bench.0.collect();
        let names: Vec<_> = bench.0.objects().keys().map(|name| &*name.name).collect();
        assert_eq!(names, ["half", "kept", "x"]);
        let half = bench.0.object(&name("half")).unwrap();
        assert_eq!(half["metadata"]["ownerReferences"], json!([of("x", &uid)]));
        bench.0.delete("us", &name("x"), None, None).unwrap();
        bench.0.collect();
        let names: Vec<_> = bench.0.objects().keys().map(|name| &*name.name).collect();
        assert_eq!(names, ["kept"], "it is held");
        let release = |object: &mut Value| {
            object["metadata"]["finalizers"] = json!([]);
            Ok(())
        };
        bench
            .0
            .update("kubectl", Verb::Update, &name("kept"), release)
            .unwrap();
        assert!(bench.0.objects().is_empty());
    }

    #[test]
    fn kinds_come_and_go_and_calls_meet_ambushes() {
        let server = Server::new([&HELM_CHARTS.resource], &[]);
        let run = |size: u8| {
            let object = chart(json!({"size": size}));
            block_on(server.apply(&HELM_CHARTS.resource, &object))
        };
        server.look().serve(CHART, false);
        assert!(matches!(run(1), Err(ApiError::Gone)));
        server.look().serve(CHART, true);
        run(1).unwrap();
        for (trouble, expected) in [(Trouble::Before, 1), (Trouble::After, 3)] {
            server.look().lie_in_wait(1, Ambush::Trouble(trouble));
            let lost = run(3);
            assert!(matches!(lost, Err(ApiError::Unavailable(_))));
            let state = server.look();
            let object = state.object(&Bench::name()).unwrap();
            assert_eq!(object["spec"]["size"], expected, "{trouble:?}");
        }
        server.look().lie_in_wait(
            2,
            Ambush::Deed(Box::new(|state, _| {
                state.delete("kubectl", &Bench::name(), None, None).unwrap();
            })),
        );
        run(4).unwrap();
        assert_eq!(server.look().objects().len(), 1);
        run(5).unwrap();
        let state = server.look();
        let births = &state.object(&Bench::name()).unwrap()["metadata"]["uid"];
        assert_eq!(births, "HelmChart/n/x#2");
        assert_eq!(state.requests, 6);
    }
}
