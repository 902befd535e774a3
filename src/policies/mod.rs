//! Operators' policies, compiled, and the ConfigMaps that they name: filled from files, or by watches.
//!
//! ```text
//! caches (PackagePolicies) --changed--> compile, off the event loop --+
//! ConfigMaps of the installation's namespace ------------------------+--> Policies, put in force at once
//!                                                                              |
//! status of the policies <--every few seconds-- denials, counted <-- Decision --+
//! ```

pub mod status;

use crate::cluster::{Caches, Knowledge};
use crate::crds::Target;
use crate::dispatch::Decision;
use crate::server::answer::Service;
use arc_swap::ArcSwap;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use webhooks::contract::{Object, Violation};
use webhooks::kinds::PACKAGE_POLICIES;
use webhooks::policy::{Policies, Policy};

/// A policy and what it was made of.
#[derive(Clone)]
pub struct Held {
    /// It, compiled.
    pub policy: Arc<Policy>,
    /// Everything that is wrong with it.
    pub violations: Arc<[String]>,
    /// uid and generation; none of an object in a file, which is compiled whenever it comes.
    version: Option<(String, i64)>,
}

impl Held {
    fn of(object: &Value) -> Held {
        let (policy, violations) = Policy::compile(object);
        Held {
            policy,
            violations: violations.iter().map(Violation::message).collect(),
            version: version(object),
        }
    }
}

/// Changes whenever the spec does; the status leaves it alone.
fn version(object: &Value) -> Option<(String, i64)> {
    let metadata = object.get("metadata")?;
    let uid = metadata.get("uid")?.as_str()?;
    let generation = metadata.get("generation")?.as_i64()?;
    Some((uid.to_owned(), generation))
}

/// Denials of one policy that its status does not count yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// How many.
    pub count: u64,
    /// When the last one was.
    pub last: SystemTime,
}

#[derive(Default)]
struct Contents {
    policies: BTreeMap<String, Held>,
    params: HashMap<String, Arc<Value>>,
}

/// The policies in force.
pub struct Shelf {
    contents: Mutex<Contents>,
    in_force: ArcSwap<Policies>,
    has_policies: AtomicBool,
    has_params: AtomicBool,
    denied: Mutex<BTreeMap<String, Denied>>,
}

impl Default for Shelf {
    fn default() -> Shelf {
        Shelf {
            contents: Mutex::default(),
            in_force: ArcSwap::default(),
            has_policies: AtomicBool::new(true),
            has_params: AtomicBool::new(true),
            denied: Mutex::default(),
        }
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Shelf")
            .field("policies", &self.in_force.load().len())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shelf {
    /// The policies in force.
    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        self.in_force.load_full()
    }

    /// Nothing is known before [`follow`] says so.
    pub fn forget(&self) {
        self.has_policies.store(false, Ordering::Release);
        self.has_params.store(false, Ordering::Release);
    }

    /// Whether all policies and what they name are known, as of some moment.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.has_policies.load(Ordering::Acquire) && self.has_params.load(Ordering::Acquire)
    }

    /// Adds or replaces one.
    pub fn put(&self, object: &Object) {
        let held = Held::of(&object.value);
        self.change(|contents| {
            contents.policies.insert(object.name.clone(), held);
        });
    }

    /// Takes one out.
    pub fn take(&self, name: &str) {
        self.change(|contents| {
            contents.policies.remove(name);
        });
    }

    /// Puts these in the place of all others. Compiles those that are not known yet: that takes time.
    pub fn hold(&self, objects: &[Arc<Object>]) {
        let known = lock(&self.contents).policies.clone();
        let policies: BTreeMap<String, Held> = objects
            .iter()
            .map(|object| {
                let version = version(&object.value);
                let held = known
                    .get(&object.name)
                    .filter(|held| version.is_some() && held.version == version);
                let held = held.cloned().unwrap_or_else(|| Held::of(&object.value));
                (object.name.clone(), held)
            })
            .collect();
        let is_same = known.len() == policies.len()
            && policies.iter().all(|(name, held)| {
                let known = known.get(name);
                known.is_some_and(|known| Arc::ptr_eq(&known.policy, &held.policy))
            });
        if !is_same {
            self.change(|contents| contents.policies = policies);
        }
    }

    /// Puts a ConfigMap of the installation's namespace; none where it is gone.
    pub fn put_params(&self, name: &str, object: Option<Value>) {
        self.change(|contents| {
            match object {
                Some(object) => contents.params.insert(name.to_owned(), Arc::new(object)),
                None => contents.params.remove(name),
            };
        });
    }

    fn hold_params(&self, params: HashMap<String, Arc<Value>>) {
        self.change(|contents| contents.params = params);
    }

    fn change(&self, change: impl FnOnce(&mut Contents)) {
        let mut contents = lock(&self.contents);
        change(&mut contents);
        let policies = contents.policies.values();
        let policies = policies.map(|held| Arc::clone(&held.policy));
        let fresh = Policies::of(policies, contents.params.clone());
        // Under the lock, so that the last change is the one in force.
        self.in_force.store(Arc::new(fresh));
    }

    /// All policies with what is wrong with them, in order of their names.
    #[must_use]
    pub fn held(&self) -> Vec<Held> {
        lock(&self.contents).policies.values().cloned().collect()
    }

    /// Counts a denial by each of these policies.
    pub fn count(&self, policies: &BTreeSet<&str>, now: SystemTime) {
        let mut denied = lock(&self.denied);
        for name in policies {
            let entry = denied.entry((*name).to_owned()).or_insert(Denied {
                count: 0,
                last: now,
            });
            entry.count += 1;
            entry.last = now;
        }
    }

    /// Takes what is not in any status yet.
    #[must_use]
    pub fn take_denied(&self) -> BTreeMap<String, Denied> {
        std::mem::take(&mut *lock(&self.denied))
    }

    /// Gives back what could not be written.
    pub fn give_back(&self, name: &str, unwritten: Denied) {
        let mut denied = lock(&self.denied);
        denied
            .entry(name.to_owned())
            .and_modify(|newer| newer.count += unwritten.count)
            .or_insert(unwritten);
    }
}

/// The policies that deny a request, each once.
#[must_use]
pub fn denying(decision: &Decision) -> BTreeSet<&str> {
    let policies = decision.violations.iter();
    let policies = policies.filter_map(|found| found.violation.policy.as_ref());
    policies.map(|policy| policy.name.as_str()).collect()
}

/// The name of a ConfigMap in the installation's namespace, which is the usual one.
fn params_name(manifest: &Value) -> Option<&str> {
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
    let is_one = text("/apiVersion") == Some("v1")
        && text("/kind") == Some("ConfigMap")
        && text("/metadata/namespace").is_none_or(|own| own == Target::default().namespace);
    text("/metadata/name").filter(|_| is_one)
}

/// Takes a ConfigMap from a file, if policies may name it.
pub fn take_params(shelf: &Shelf, manifest: &Value) {
    if let Some(name) = params_name(manifest) {
        shelf.put_params(name, Some(manifest.clone()));
    }
}

/// Takes it out again.
pub fn drop_params(shelf: &Shelf, manifest: &Value) {
    if let Some(name) = params_name(manifest) {
        shelf.put_params(name, None);
    }
}

/// Those of a cluster as they are now; its PackagePolicies are in the caches already.
///
/// # Errors
/// When the ConfigMaps cannot be listed: policies that name one then fail.
pub async fn of_cluster(
    client: &Client,
    own_namespace: &str,
    caches: &Caches,
) -> Result<(), kube::Error> {
    if let Some(cache) = caches.cache(&PACKAGE_POLICIES.resource) {
        caches.policies.hold(&cache.objects());
    }
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), own_namespace);
    let params = api.list(&ListParams::default()).await?;
    let params = params.into_iter().filter_map(params_of);
    caches.policies.hold_params(params.collect());
    Ok(())
}

/// What expressions see of a ConfigMap.
fn params_of(mut map: ConfigMap) -> Option<(String, Arc<Value>)> {
    map.metadata.managed_fields = None;
    let mut object = serde_json::to_value(&map).ok()?;
    // Items of a list need not say what they are.
    let members = object.as_object_mut()?;
    members.insert("apiVersion".to_owned(), "v1".into());
    members.insert("kind".to_owned(), "ConfigMap".into());
    Some((map.name_any(), Arc::new(object)))
}

/// Follows policies and ConfigMaps. The tasks end with the runtime.
pub fn start(client: &Client, namespace: &str, service: &Arc<Service>) {
    service.caches.policies.forget();
    tokio::spawn(follow_policies(Arc::clone(&service.caches)));
    tokio::spawn(follow_params(
        client.clone(),
        namespace.to_owned(),
        Arc::clone(&service.caches),
    ));
}

/// Brings the shelf in step with the cache whenever that changes, however it came to be as it is.
async fn follow_policies(caches: Arc<Caches>) {
    let Some(cache) = caches.cache(&PACKAGE_POLICIES.resource).cloned() else {
        return;
    };
    let mut changes = cache.changes();
    loop {
        while changes.try_recv().is_ok() {}
        if cache.knowledge() != Knowledge::Syncing {
            let (held, objects) = (Arc::clone(&caches), cache.objects());
            // Off the event loop: a large policy takes milliseconds.
            let done = tokio::task::spawn_blocking(move || held.policies.hold(&objects));
            match done.await {
                Ok(()) => caches.policies.has_policies.store(true, Ordering::Release),
                Err(error) => tracing::error!(%error, "policies not compiled"),
            }
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

async fn follow_params(client: Client, namespace: String, caches: Arc<Caches>) {
    let shelf = &caches.policies;
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut listed = HashMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed = HashMap::new(),
            Ok(Event::InitApply(map)) => listed.extend(params_of(map)),
            Ok(Event::InitDone) => {
                shelf.hold_params(std::mem::take(&mut listed));
                shelf.has_params.store(true, Ordering::Release);
            }
            Ok(Event::Apply(map)) => {
                if let Some((name, object)) = params_of(map) {
                    shelf.put_params(&name, Some(Arc::unwrap_or_clone(object)));
                }
            }
            Ok(Event::Delete(map)) => shelf.put_params(&map.name_any(), None),
            Err(error) => tracing::warn!(namespace, %error, "ConfigMaps cannot be watched"),
        }
    }
}
