//! One parent: what it needs, what there is, and the few requests that make the two meet.
//!
//! ```text
//! parent, cluster --companions()--> desired children
//!     child is not there       apply
//!     child is ours            apply with its resource version; a conflict, or Helm's marks: let it go for good
//!     child was ours           leave it alone
//!     child is foreign         leave it alone, tell the parent's owner
//! ours and no longer wanted    delete, with uid and resource version as preconditions
//! ```

use super::api::{Api, ApiError};
use super::quota::Quotas;
use crate::cluster::Caches;
use crate::cluster::live::live_object;
use crate::events::{Note, Reason, Reference};
use crate::server::metrics::CompanionLabels;
use json_patch::{
    AddOperation, Patch as JsonPatch, PatchOperation, ReplaceOperation, jsonptr::PointerBuf,
};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use webhooks::contract::cluster::is_ours;
use webhooks::contract::companions::{
    BY_PARENT, Farewell, PARENT_ANNOTATION, Standing, desired, is_marked_by_helm, parent_key,
    written,
};
use webhooks::contract::{
    Cluster, Companions, Declaration, Fault, Mode, Object, Read, Resource, Settings, Webhook, World,
};

/// The resource version with which an apply makes an object, and changes none that is there: custom resources (and most
/// others) are not updated without a version, and this one stands for none.
const NOT_THERE: &str = "0";

/// A companion that others change back this often within [`REWRITES_TIME`] is left to them for that long: nobody is
/// fought.
const REWRITES_MAX: usize = 10;
const REWRITES_TIME: Duration = Duration::from_mins(1);

/// A reconcile that did not get through; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A cache is not synced yet.
    #[error("{0} are not synced yet")]
    NotSynced(&'static str),
    /// The companions function cannot know.
    #[error(transparent)]
    Unknown(#[from] Fault),
    /// Somebody keeps changing a child back, and is not fought.
    #[error("somebody keeps changing them back")]
    Fought,
    /// A quota is used up, and nothing else is wrong.
    #[error("the quota of a namespace is used up")]
    QuotaExhausted,
    /// Some children could not be brought in step.
    #[error("{0}")]
    Children(String),
}

/// What became of a companion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// It is as it should be.
    InStep,
    /// Somebody else has taken it over.
    Released,
    /// An object of somebody else has its name.
    NameTaken,
    /// It cannot be made: the quota of the namespace is used up.
    QuotaExhausted,
    /// It could not be made or changed.
    Failed,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::InStep => "in_step",
            State::Released => "released",
            State::NameTaken => "name_taken",
            State::QuotaExhausted => "quota_exhausted",
            State::Failed => "failed",
        }
    }
}

/// A companion by kind, namespace and name.
pub type ChildKey = (&'static str, &'static str, String, String);

fn child_key(read: &'static Read, object: &Object) -> ChildKey {
    (
        read.resource.group,
        read.resource.kind,
        object.namespace.clone(),
        object.name.clone(),
    )
}

/// What is remembered of a parent: a child that is still in the version that the engine saw needs no look.
#[derive(Default)]
struct Memory {
    digest: u64,
    children: HashMap<ChildKey, (State, Option<String>)>,
    /// When children that were in step had to be written again, though nothing else was wanted.
    rewrites: Vec<Instant>,
}

/// Brings parents and their children in step.
pub struct Reconciler<A> {
    api: A,
    caches: Arc<Caches>,
    counts: Family<CompanionLabels, Gauge>,
    memory: Mutex<Memories>,
    quotas: Quotas,
    /// How often a companion is written again before it is left alone for a while.
    pub(super) rewrites_max: usize,
}

#[derive(Default)]
struct Memories {
    by_parent: HashMap<String, Memory>,
    /// The parents that want a companion of that name: one has it, the others wait.
    wanting: HashMap<ChildKey, BTreeSet<String>>,
}

/// How a look at one child ended.
struct Kept {
    state: State,
    resource_version: Option<String>,
    /// Whether it was there, ours, and not as it should be.
    was_changed: bool,
}

impl<A: Api> Reconciler<A> {
    /// A reconciler that knows nothing yet.
    #[must_use]
    pub fn new(
        api: A,
        caches: Arc<Caches>,
        counts: Family<CompanionLabels, Gauge>,
    ) -> Reconciler<A> {
        counts.clear();
        Reconciler {
            api,
            caches,
            counts,
            memory: Mutex::default(),
            quotas: Quotas::default(),
            rewrites_max: REWRITES_MAX,
        }
    }

    fn memories(&self) -> MutexGuard<'_, Memories> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The parents, by key, that want a companion of that name.
    #[must_use]
    pub fn wanting(&self, child: &ChildKey) -> BTreeSet<String> {
        let memories = self.memories();
        memories.wanting.get(child).cloned().unwrap_or_default()
    }

    /// An object of that kind is gone: where a quota was used up there is room again.
    pub fn make_room(&self, resource: &Resource, namespace: &str) {
        self.quotas.open(resource, namespace);
    }

    /// The parents, by key, for whose companions there may be room by now.
    #[must_use]
    pub fn take_hopeful(&self) -> BTreeSet<String> {
        self.quotas.take_hopeful()
    }

    /// Looks at one parent. Gives when to look again without a change.
    ///
    /// # Errors
    /// When not everything could be brought in step; what could be, was.
    pub async fn reconcile(
        &self,
        webhook: &'static Webhook,
        namespace: &str,
        name: &str,
        settings: &Settings,
    ) -> Result<Option<Duration>, Failure> {
        let declaration = &webhook.declaration;
        let Some(companions) = webhook.companions else {
            return Ok(None);
        };
        let key = parent_key(declaration.id, namespace, name);
        if settings.mode(declaration) == Mode::Off {
            self.remember(declaration, &key, Memory::default());
            return Ok(None);
        }
        let reads = std::iter::once(companions.parents())
            .chain(companions.reads().iter().copied())
            .chain(declaration.writes.iter().copied());
        if let Some(kind) = self.caches.missing(reads) {
            return Err(Failure::NotSynced(kind));
        }
        let Some(parent) = self.caches.get(companions.parents(), namespace, name) else {
            self.remember(declaration, &key, Memory::default());
            let parent = Reference {
                api_version: companions.parents().resource.api_version(),
                kind: companions.parents().resource.kind.to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                // It went with the parent.
                uid: String::new(),
            };
            return self
                .say_farewell(declaration, companions, &key, &parent)
                .await;
        };
        // A parent that is going is left to those who collect it.
        if parent.text(&["metadata", "deletionTimestamp"]).is_some() {
            return Ok(None);
        }
        let world = World {
            cluster: &*self.caches,
            settings: settings.of(declaration),
        };
        let computed = catch_unwind(AssertUnwindSafe(|| {
            desired(declaration, companions, &parent, &world)
        }))
        .unwrap_or_else(|_| {
            Err(Fault::Internal(format!(
                "rule {}: panicked",
                declaration.id
            )))
        });
        let owner = Reference::to(&companions.parents().resource, &parent);
        let wanted = match computed {
            Ok(Some(wanted)) => wanted,
            Ok(None) => {
                self.remember(declaration, &key, Memory::default());
                return Ok(None);
            }
            Err(fault) => {
                self.tell(Reason::CompanionFailed, &owner, None, fault.to_string())
                    .await;
                return Err(fault.into());
            }
        };
        let pause = wanted.requeue_after;
        self.bring(declaration, &key, &owner, wanted.children)
            .await?;
        Ok(pause)
    }

    /// Brings all children in step; then, and only if that went well, takes away what is no longer wanted.
    async fn bring(
        &self,
        declaration: &'static Declaration,
        key: &str,
        owner: &Reference,
        children: Vec<Value>,
    ) -> Result<(), Failure> {
        let children: Vec<(&'static Read, Object)> = children
            .into_iter()
            .filter_map(Object::of)
            .filter_map(|child| Some((written(declaration, &child.value)?, child)))
            .collect();
        let digest = digest(&children);
        let surplus = self.surplus(declaration, key, &children);
        if surplus.is_empty() && self.is_in_step(key, digest, &children) {
            return Ok(());
        }
        let mut memory = Memory {
            digest,
            children: HashMap::new(),
            rewrites: self.recent_rewrites(key, digest),
        };
        if memory.rewrites.len() >= self.rewrites_max {
            return Err(Failure::Fought);
        }
        let is_same_wish = self.has_same_wish(key, digest);
        let known_exhausted = self.known_exhausted(key);
        let mut was_changed = false;
        let mut failures = Vec::new();
        for (read, child) in &children {
            let kept = self.keep_within_quota(read, child, key, owner).await;
            let kept = kept.unwrap_or_else(|error| {
                let state = match error {
                    ApiError::QuotaExhausted => State::QuotaExhausted,
                    _ => State::Failed,
                };
                failures.push((read, child, error));
                Kept {
                    state,
                    resource_version: None,
                    was_changed: false,
                }
            });
            was_changed |= kept.was_changed;
            memory
                .children
                .insert(child_key(read, child), (kept.state, kept.resource_version));
        }
        if is_same_wish && was_changed {
            memory.rewrites.push(Instant::now());
        }
        let is_fought = memory.rewrites.len() >= self.rewrites_max;
        self.remember(declaration, key, memory);
        if is_fought {
            let text = format!(
                "somebody keeps changing its companions back: they are left alone for {} s",
                REWRITES_TIME.as_secs()
            );
            self.tell(Reason::CompanionFailed, owner, None, text).await;
        }
        let mut sentences = Vec::new();
        let mut waits_for_room = false;
        for (read, child, error) in failures {
            let sentence = sentence(read, child, &error);
            let is_news = match error {
                ApiError::Refused(_) | ApiError::Gone => true,
                ApiError::QuotaExhausted => !known_exhausted.contains(&child_key(read, child)),
                // What passes by itself is no news.
                _ => false,
            };
            if is_news {
                self.tell(Reason::CompanionFailed, owner, None, sentence.clone())
                    .await;
            }
            if matches!(error, ApiError::QuotaExhausted) {
                waits_for_room = true;
            } else {
                sentences.push(sentence);
            }
        }
        if sentences.is_empty() && waits_for_room {
            return Err(Failure::QuotaExhausted);
        }
        if sentences.is_empty() {
            for (read, child) in surplus {
                if let Err(error) = self.take_away(read, &child, key, owner, true).await {
                    self.recall(declaration, key, child_key(read, &child));
                    sentences.push(sentence(read, &child, &error));
                }
            }
        }
        failure_of(&sentences)
    }

    /// Remembers a child that could not be taken away yet.
    fn recall(&self, declaration: &Declaration, key: &str, child: ChildKey) {
        let mut memories = self.memories();
        let memory = memories.by_parent.entry(key.to_owned()).or_default();
        let failed = (State::Failed, None);
        if memory.children.insert(child.clone(), failed).is_none() {
            self.gauge(declaration, State::Failed).inc();
        }
        let parents = memories.wanting.entry(child).or_default();
        parents.insert(key.to_owned());
    }

    fn gauge(&self, declaration: &Declaration, state: State) -> Gauge {
        self.counts.get_or_create_owned(&CompanionLabels {
            rule: declaration.id,
            state: state.as_str(),
        })
    }

    /// When the children of the same wish had to be written again, lately.
    fn recent_rewrites(&self, key: &str, digest: u64) -> Vec<Instant> {
        let memories = self.memories();
        let known = memories.by_parent.get(key);
        let known = known.filter(|memory| memory.digest == digest);
        known
            .into_iter()
            .flat_map(|memory| memory.rewrites.iter().copied())
            .filter(|at| at.elapsed() < REWRITES_TIME)
            .collect()
    }

    /// The children of which it has been told that there is no room for them.
    fn known_exhausted(&self, key: &str) -> BTreeSet<ChildKey> {
        let memories = self.memories();
        let children = memories.by_parent.get(key).map(|memory| &memory.children);
        let children = children.into_iter().flatten();
        children
            .filter(|(_, (state, _))| *state == State::QuotaExhausted)
            .map(|(child, _)| child.clone())
            .collect()
    }

    fn has_same_wish(&self, key: &str, digest: u64) -> bool {
        let memories = self.memories();
        let known = memories.by_parent.get(key);
        known.is_some_and(|memory| memory.digest == digest)
    }

    /// The children that are there, not wanted (any more) and not let go yet, as the caches know them.
    fn surplus(
        &self,
        declaration: &'static Declaration,
        key: &str,
        wanted: &[(&'static Read, Object)],
    ) -> Vec<(&'static Read, Arc<Object>)> {
        let wanted: BTreeSet<ChildKey> = wanted
            .iter()
            .map(|(read, child)| child_key(read, child))
            .collect();
        let marked = declaration.writes.iter().flat_map(|read| {
            let found = self.caches.find(read, &BY_PARENT, key, usize::MAX);
            found.first.into_iter().map(move |child| (*read, child))
        });
        // Whoever replaces a whole object takes its marks off.
        let remembered = self.remembered(declaration, key);
        let mut seen = BTreeSet::new();
        marked
            .chain(remembered)
            .filter(|(read, child)| {
                let name = child_key(read, child);
                child.is_managed && !wanted.contains(&name) && seen.insert(name)
            })
            .collect()
    }

    /// The children that were wanted the last time, as the caches know them.
    fn remembered(
        &self,
        declaration: &'static Declaration,
        key: &str,
    ) -> Vec<(&'static Read, Arc<Object>)> {
        let memories = self.memories();
        let children = memories.by_parent.get(key).map(|memory| &memory.children);
        let names = children.into_iter().flat_map(HashMap::keys);
        names
            .filter_map(|(group, kind, namespace, name)| {
                let mut writes = declaration.writes.iter().copied();
                let read = writes
                    .find(|read| (read.resource.group, read.resource.kind) == (*group, *kind))?;
                Some((read, self.caches.get(read, namespace, name)?))
            })
            .collect()
    }

    /// Whether nothing has changed since the last clean look.
    fn is_in_step(&self, key: &str, digest: u64, children: &[(&'static Read, Object)]) -> bool {
        let memories = self.memories();
        let Some(memory) = memories
            .by_parent
            .get(key)
            .filter(|memory| memory.digest == digest)
        else {
            return false;
        };
        let open = |(state, _): &(State, _)| matches!(state, State::Failed | State::QuotaExhausted);
        // Of a child that is not wanted any more and could not be taken away nobody else tells that it has gone.
        if memory.children.values().any(open) {
            return false;
        }
        children.iter().all(|(read, child)| {
            let cached = self.caches.get(read, &child.namespace, &child.name);
            let version = cached.as_deref().and_then(resource_version);
            match memory.children.get(&child_key(read, child)) {
                None => false,
                Some((_, known)) => version.is_some() && version == known.as_deref(),
            }
        })
    }

    /// Replaces what is remembered of a parent, and counts its companions anew.
    fn remember(&self, declaration: &Declaration, key: &str, fresh: Memory) {
        let gauge = |state: State| self.gauge(declaration, state);
        let mut memories = self.memories();
        if let Some(old) = memories.by_parent.remove(key) {
            for (child, (state, _)) in &old.children {
                gauge(*state).dec();
                if let Some(parents) = memories.wanting.get_mut(child) {
                    parents.remove(key);
                    if parents.is_empty() {
                        memories.wanting.remove(child);
                    }
                }
            }
        }
        if fresh.children.is_empty() {
            return;
        }
        for (child, (state, _)) in &fresh.children {
            gauge(*state).inc();
            let parents = memories.wanting.entry(child.clone()).or_default();
            parents.insert(key.to_owned());
        }
        memories.by_parent.insert(key.to_owned(), fresh);
    }

    /// Brings one child in step. Where a quota is used up nothing is made, and nobody asked, until there may be room.
    async fn keep_within_quota(
        &self,
        read: &'static Read,
        child: &Object,
        key: &str,
        owner: &Reference,
    ) -> Result<Kept, ApiError> {
        let is_new = self
            .caches
            .get(read, &child.namespace, &child.name)
            .is_none();
        if is_new
            && self
                .quotas
                .is_closed(&read.resource, &child.namespace, key, Instant::now())
        {
            return Err(ApiError::QuotaExhausted);
        }
        let kept = self.keep(read, child, key, owner).await;
        match &kept {
            Err(ApiError::QuotaExhausted) => {
                self.quotas
                    .close(&read.resource, &child.namespace, key, Instant::now());
            }
            Ok(_) if is_new => self.quotas.open(&read.resource, &child.namespace),
            _ => {}
        }
        kept
    }

    /// Brings one child in step.
    async fn keep(
        &self,
        read: &'static Read,
        child: &Object,
        key: &str,
        owner: &Reference,
    ) -> Result<Kept, ApiError> {
        let resource = &read.resource;
        let live = self
            .api
            .get(resource, &child.namespace, &child.name)
            .await?
            .and_then(live_object);
        match (standing(live.as_ref(), key), &live) {
            (Standing::Ours, Some(live)) => {
                if live.text(&["metadata", "deletionTimestamp"]).is_some() {
                    return Err(ApiError::Changed);
                }
                let version = resource_version(live).unwrap_or_default();
                match self.api.apply(resource, &versioned(child, version)).await {
                    Ok(applied) => {
                        let kept = in_step(applied);
                        let was_changed = kept.resource_version.as_deref() != Some(version);
                        Ok(Kept {
                            was_changed,
                            ..kept
                        })
                    }
                    Err(ApiError::Conflict(why)) => {
                        let owners = our_owners(live, Some(child));
                        self.let_go(read, live, &owners, key, owner, &why).await
                    }
                    Err(error) => Err(error),
                }
            }
            (Standing::Released, Some(live)) => {
                let owners = our_owners(live, Some(child));
                if live.is_managed || !owners.is_empty() {
                    let why = why_released(live);
                    return self.let_go(read, live, &owners, key, owner, why).await;
                }
                Ok(Kept {
                    state: State::Released,
                    resource_version: resource_version(live).map(ToOwned::to_owned),
                    was_changed: false,
                })
            }
            // What the caches do not know yet may be what makes the child unwanted: the next look, when they do, tells.
            (Standing::Foreign, Some(live)) if !self.is_known(read, live) => Err(ApiError::Changed),
            (Standing::Foreign, Some(live)) => {
                let text = format!(
                    "{} {} was made by somebody else and is left alone",
                    resource.kind,
                    child.display_name()
                );
                let related = Reference::to(resource, live);
                self.tell(Reason::CompanionNameTaken, owner, Some(related), text)
                    .await;
                Ok(Kept {
                    state: State::NameTaken,
                    resource_version: resource_version(live).map(ToOwned::to_owned),
                    was_changed: false,
                })
            }
            _ => self.make(resource, child).await,
        }
    }

    /// Whether the caches hold that very version of an object.
    fn is_known(&self, read: &'static Read, live: &Object) -> bool {
        let cached = self.caches.get(read, &live.namespace, &live.name);
        cached.as_deref().and_then(resource_version) == resource_version(live)
    }

    /// Makes a child that was not there a moment ago. Somebody may have been faster: what he made stays as it is.
    async fn make(&self, resource: &'static Resource, child: &Object) -> Result<Kept, ApiError> {
        match self.api.apply(resource, &versioned(child, NOT_THERE)).await {
            Ok(applied) => {
                let joined = live_object(applied.clone()).filter(has_other_managers);
                match joined {
                    None => Ok(in_step(applied)),
                    // An apply of nothing takes back what nobody else has set, and nothing else.
                    Some(joined) => {
                        let nothing = json!({
                            "apiVersion": resource.api_version(),
                            "kind": resource.kind,
                            "metadata": identity(&joined),
                        });
                        self.api.apply(resource, &nothing).await?;
                        Err(ApiError::Changed)
                    }
                }
            }
            // It came in the meantime, and differs.
            Err(ApiError::Conflict(_)) => Err(ApiError::Changed),
            Err(error) => Err(error),
        }
    }

    /// Ends ownership politely: the owner reference and the managed fields' entry go, every field stays.
    async fn let_go(
        &self,
        read: &'static Read,
        live: &Object,
        our_owners: &BTreeSet<String>,
        key: &str,
        owner: &Reference,
        why: &str,
    ) -> Result<Kept, ApiError> {
        let patch = release(live, our_owners);
        self.api
            .patch(&read.resource, &live.namespace, &live.name, &patch)
            .await?;
        tracing::info!(
            companion = format!("{} {}", read.resource.kind, live.display_name()),
            parent = key,
            why,
            "let go"
        );
        let text = format!(
            "{} {} is no longer kept in step: {why}",
            read.resource.kind,
            live.display_name()
        );
        let related = Reference::to(&read.resource, live);
        self.tell(Reason::CompanionReleased, owner, Some(related), text)
            .await;
        Ok(Kept {
            state: State::Released,
            // The next look, when the cache has caught up, finds the version.
            resource_version: None,
            was_changed: false,
        })
    }

    /// Ends what is no longer wanted: deletes a child that still is ours when it is looked at, if it `may_go`, and lets
    /// go of one that somebody has taken over.
    async fn take_away(
        &self,
        read: &'static Read,
        child: &Object,
        key: &str,
        owner: &Reference,
        may_go: bool,
    ) -> Result<(), ApiError> {
        let resource = &read.resource;
        let live = self
            .api
            .get(resource, &child.namespace, &child.name)
            .await?
            .and_then(live_object);
        let Some(live) = live else {
            return Ok(());
        };
        match standing(Some(&live), key) {
            Standing::Ours if may_go => {}
            Standing::Released if live.is_managed => {
                let owners = our_owners(&live, None);
                let why = why_released(&live);
                let released = self.let_go(read, &live, &owners, key, owner, why).await;
                return released.map(|_| ());
            }
            _ => return Ok(()),
        }
        if live.text(&["metadata", "deletionTimestamp"]).is_some() {
            return Ok(());
        }
        let (Some(uid), Some(version)) = (live.text(&["metadata", "uid"]), resource_version(&live))
        else {
            return Ok(());
        };
        self.api
            .delete(resource, &live.namespace, &live.name, uid, version)
            .await?;
        tracing::info!(
            companion = format!("{} {}", resource.kind, live.display_name()),
            parent = key,
            "deleted: no longer wanted"
        );
        Ok(())
    }

    /// The parent is gone. Children with an owner reference to it are collected by Kubernetes; what Helm has adopted
    /// is let go whatever becomes of the others.
    async fn say_farewell(
        &self,
        declaration: &'static Declaration,
        companions: &dyn Companions,
        key: &str,
        owner: &Reference,
    ) -> Result<Option<Duration>, Failure> {
        let mut sentences = Vec::new();
        for (read, child) in self.surplus(declaration, key, &[]) {
            let may_go = companions.farewell() == Farewell::Delete && !is_owned_by(&child, owner);
            if !may_go && !is_marked_by_helm(&child) {
                continue;
            }
            if let Err(error) = self.take_away(read, &child, key, owner, may_go).await {
                sentences.push(sentence(read, &child, &error));
            }
        }
        failure_of(&sentences).map(|()| None)
    }

    async fn tell(
        &self,
        reason: Reason,
        regarding: &Reference,
        related: Option<Reference>,
        text: String,
    ) {
        let note = Note {
            reason,
            regarding: regarding.clone(),
            related,
            text,
        };
        self.api.tell(&note).await;
    }
}

fn sentence(read: &Read, child: &Object, error: &ApiError) -> String {
    format!("{} {}: {error}", read.resource.kind, child.display_name())
}

fn failure_of(sentences: &[String]) -> Result<(), Failure> {
    if sentences.is_empty() {
        Ok(())
    } else {
        Err(Failure::Children(sentences.join("; ")))
    }
}

fn in_step(applied: Value) -> Kept {
    let object = Object::of(applied);
    Kept {
        state: State::InStep,
        resource_version: object
            .as_ref()
            .and_then(resource_version)
            .map(ToOwned::to_owned),
        was_changed: false,
    }
}

fn resource_version(object: &Object) -> Option<&str> {
    object.text(&["metadata", "resourceVersion"])
}

/// Whose a live object is, by its managed fields. The mark counts as ours while nobody has written it anew; ours is
/// ours also when somebody has taken it off.
fn standing(live: Option<&Object>, key: &str) -> Standing {
    let Some(object) = live.filter(|object| object.is_managed) else {
        return Standing::of(live, key);
    };
    let parent = object.text(&["metadata", "annotations", PARENT_ANNOTATION]);
    let is_our_mark = parent.is_some() && has_our_mark(object);
    match parent {
        Some(parent) if is_our_mark && parent != key => Standing::Foreign,
        _ if is_marked_by_helm(object) => Standing::Released,
        Some(_) if !is_our_mark => Standing::Released,
        _ => Standing::Ours,
    }
}

fn versioned(child: &Object, version: &str) -> Value {
    let mut object = child.value.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), version.into());
    }
    object
}

/// Name, namespace and uid: this object, and no other of its name.
fn identity(object: &Object) -> Map<String, Value> {
    let metadata = object.value.get("metadata").and_then(Value::as_object);
    let members = metadata.into_iter().flatten();
    members
        .filter(|(member, _)| matches!(member.as_str(), "name" | "namespace" | "uid"))
        .map(|(member, value)| (member.clone(), value.clone()))
        .collect()
}

fn why_released(object: &Object) -> &'static str {
    if is_marked_by_helm(object) {
        "a Helm release has adopted it"
    } else {
        "somebody else has rewritten its marks"
    }
}

fn managers(object: &Object) -> impl Iterator<Item = &Value> {
    let entries = object.value.pointer("/metadata/managedFields");
    entries.and_then(Value::as_array).into_iter().flatten()
}

/// Whether the mark of the parent is the one that was applied.
fn has_our_mark(object: &Object) -> bool {
    let path = ["fieldsV1", "f:metadata", "f:annotations"];
    managers(object)
        .filter(|entry| is_ours(entry))
        .filter_map(|entry| path.iter().try_fold(entry, |at, member| at.get(member)))
        .any(|annotations| annotations.get(format!("f:{PARENT_ANNOTATION}")).is_some())
}

fn has_other_managers(object: &Object) -> bool {
    managers(object).any(|entry| !is_ours(entry))
}

/// uids of the owner references that an entry of the managed fields names.
fn claimed_owners(entry: &Value) -> impl Iterator<Item = String> {
    let owners = entry.pointer("/fieldsV1/f:metadata/f:ownerReferences");
    let keys = owners.and_then(Value::as_object).into_iter().flatten();
    keys.filter_map(|(key, _)| {
        let key: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
        key.get("uid")?.as_str().map(ToOwned::to_owned)
    })
}

fn owner_uids(object: &Object) -> BTreeSet<String> {
    let owners = object.value.pointer("/metadata/ownerReferences");
    let owners = owners.and_then(Value::as_array).into_iter().flatten();
    owners
        .filter_map(|owner| owner.get("uid")?.as_str())
        .map(ToOwned::to_owned)
        .collect()
}

/// Whether it has an owner reference to an object of that kind and name.
fn is_owned_by(child: &Object, parent: &Reference) -> bool {
    let owners = child.value.pointer("/metadata/ownerReferences");
    let mut owners = owners.and_then(Value::as_array).into_iter().flatten();
    owners.any(|owner| {
        let is = |member: &str, text: &str| owner.get(member).and_then(Value::as_str) == Some(text);
        is("apiVersion", &parent.api_version)
            && is("kind", &parent.kind)
            && is("name", &parent.name)
    })
}

/// uids of the owner references to take back: those that were applied, also for a parent that has been made anew
/// since. Where the managed fields were emptied nobody's are told apart: then the one that is wanted, unless it is
/// somebody else's by now.
fn our_owners(live: &Object, wanted: Option<&Object>) -> BTreeSet<String> {
    let claimed = |by_us: bool| -> BTreeSet<String> {
        managers(live)
            .filter(|entry| is_ours(entry) == by_us)
            .flat_map(claimed_owners)
            .collect()
    };
    if live.is_managed {
        return claimed(true);
    }
    let mut owners = wanted.map(owner_uids).unwrap_or_default();
    owners.retain(|uid| owner_uids(live).contains(uid));
    owners.difference(&claimed(false)).cloned().collect()
}

/// The patch that takes these owner references and our managed fields' entry back, without removing a field; it
/// applies only to the version that was looked at.
fn release(live: &Object, our_owners: &BTreeSet<String>) -> JsonPatch {
    let replace = |path: &str, value: Value| {
        PointerBuf::parse(path)
            .ok()
            .map(|path| PatchOperation::Replace(ReplaceOperation { path, value }))
    };
    let mut operations = Vec::new();
    if let Some(version) = resource_version(live) {
        operations.extend(
            PointerBuf::parse("/metadata/resourceVersion")
                .ok()
                .map(|path| {
                    PatchOperation::Add(AddOperation {
                        path,
                        value: version.into(),
                    })
                }),
        );
    }
    let list = |path: &str| live.value.pointer(path).and_then(Value::as_array);
    if let Some(owners) = list("/metadata/ownerReferences") {
        let is_ours = |owner: &Value| {
            let uid = owner.get("uid").and_then(Value::as_str);
            uid.is_some_and(|uid| our_owners.contains(uid))
        };
        let others: Vec<&Value> = owners.iter().filter(|owner| !is_ours(owner)).collect();
        if others.len() < owners.len() {
            operations.extend(replace("/metadata/ownerReferences", json!(others)));
        }
    }
    if let Some(entries) = list("/metadata/managedFields") {
        let mut others: Vec<Value> = entries
            .iter()
            .filter(|entry| !is_ours(entry))
            .cloned()
            .collect();
        if others.is_empty() {
            // An empty list would be ignored; a list of one empty entry empties it (API conventions, managed fields).
            others.push(json!({}));
        }
        operations.extend(replace("/metadata/managedFields", json!(others)));
    }
    JsonPatch(operations)
}

fn digest(children: &[(&'static Read, Object)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (_, child) in children {
        child.value.to_string().hash(&mut hasher);
    }
    hasher.finish()
}
