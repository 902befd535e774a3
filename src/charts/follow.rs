//! Keeps the charts of packages known: looks at what the cluster has, fetches what is new, forgets what has gone.

use super::archive;
use super::book::{Book, State};
use super::{fetch, own};
use crate::cluster::{Caches, Change, Knowledge};
use crate::server::answer::Service;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use kube::Client;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use webhooks::charts::Component;
use webhooks::contract::{Cluster as _, Object};
use webhooks::cozystack_resource_definition::catalogue::{ARTIFACT_NAMESPACE, artifact_name};
use webhooks::kinds::{EXTERNAL_ARTIFACTS, PACKAGE_SOURCES, PACKAGES};
use webhooks::package::{ARTIFACT_HOSTS, WEBHOOK};
use webhooks::packages::{Package, Source};

/// Archives that are fetched at the same time.
const CONCURRENCY: usize = 4;
/// Changes come in bursts: what is wanted is worked out once for all within this time.
const PAUSE: Duration = Duration::from_millis(100);
/// First and longest pause before a failed archive is tried again.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_mins(5);
/// Longest wait for the charts of existing Packages before the service says that it is ready.
const READY_TIME: Duration = Duration::from_secs(30);

const NO_ARTIFACT: &str = "its artifact is not there yet";
const ON_ITS_WAY: &str = "its archive is being fetched";

/// What makes a chart this one and no other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    digest: String,
    values_files: Vec<String>,
}

/// A chart that is wanted, and how far it has come.
#[derive(Debug)]
struct Progress {
    key: Key,
    url: String,
    /// When it is tried (again); none while it is under way or ready.
    due: Option<Instant>,
    failures: u32,
}

impl Progress {
    fn new(key: Key, url: String) -> Progress {
        Progress {
            key,
            url,
            due: Some(Instant::now()),
            failures: 0,
        }
    }

    /// Whether nobody knows yet how the first try ends.
    fn is_open(&self) -> bool {
        self.failures == 0
    }
}

/// Starts to follow the charts of a cluster and the schemas of its operators. The tasks end with the runtime.
pub fn start(client: &Client, namespace: &str, service: &Arc<Service>) {
    let namespaces = own::namespaces(namespace);
    let unknown = Arc::new(AtomicUsize::new(namespaces.len()));
    for around in namespaces {
        let left = Arc::clone(&unknown);
        let is_first = std::sync::Once::new();
        tokio::spawn(own::follow(
            client.clone(),
            around.to_owned(),
            Arc::clone(service),
            move || {
                is_first.call_once(|| {
                    left.fetch_sub(1, Ordering::AcqRel);
                });
            },
        ));
    }
    let service = Arc::clone(service);
    tokio::spawn(async move { follow(&service, &unknown).await });
}

/// Whether everything that Packages of the cluster need has been tried once.
async fn follow(service: &Arc<Service>, own_unknown: &AtomicUsize) {
    let mut changes = service.caches.changes();
    let mut settings = service.settings_changed.subscribe();
    let mut charts = Charts::default();
    let mut running = FuturesUnordered::new();
    let started = Instant::now();
    let mut dirty_since = Some(started);
    loop {
        let now = Instant::now();
        // Which hosts may be asked is not known before the settings are.
        let has_settings = service.has_settings.load(Ordering::Acquire);
        if has_settings && dirty_since.is_some_and(|since| now >= since + PAUSE) {
            dirty_since = None;
            charts.update(&service.caches, hosts(service));
        }
        while running.len() < CONCURRENCY
            && let Some(artifact) = charts.take(now, &service.caches.charts)
        {
            running.push(charts.job(artifact));
        }
        if !service.has_charts.load(Ordering::Acquire) {
            // What is asked first must not have changed by the time of what is asked last.
            let is_settled = own_unknown.load(Ordering::Acquire) == 0
                && charts.are_settled(&service.caches)
                && dirty_since.is_none()
                && changes.is_empty();
            if is_settled || started.elapsed() >= READY_TIME {
                service.has_charts.store(true, Ordering::Release);
            }
        }
        let wait = charts.wait(now, dirty_since, running.len() < CONCURRENCY);
        let wait = if service.has_charts.load(Ordering::Acquire) {
            wait
        } else {
            wait.min(PAUSE)
        };
        tokio::select! {
            change = changes.recv() => match change {
                Some(change) if concerns(&change) => dirty_since = dirty_since.or(Some(Instant::now())),
                Some(_) => {}
                None => return,
            },
            Some((artifact, key, result)) = running.next() => {
                charts.done(&artifact, &key, result, &service.caches.charts);
            }
            Ok(()) = settings.changed() => dirty_since = dirty_since.or(Some(Instant::now())),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn concerns(change: &Change) -> bool {
    let resource = match change {
        Change::Object { resource, .. } | Change::Kind(resource) => *resource,
    };
    [&EXTERNAL_ARTIFACTS, &PACKAGE_SOURCES, &PACKAGES]
        .iter()
        .any(|read| read.resource == *resource)
}

fn hosts(service: &Service) -> Vec<String> {
    let settings = service.dispatcher.settings();
    settings.of(&WEBHOOK.declaration).hosts(ARTIFACT_HOSTS)
}

/// What became of one try.
type Fetched = Result<Arc<Component>, String>;

#[derive(Default)]
struct Charts {
    progress: BTreeMap<String, Progress>,
    /// Artifacts of components that Packages of the cluster install: they come first.
    needed: BTreeSet<String>,
    hosts: Vec<String>,
    /// The same content under several names is compiled once.
    compiled: HashMap<Key, Weak<Component>>,
    /// One archive is unpacked at a time: it may take a hundred megabytes.
    unpacking: Arc<Unpacking>,
}

struct Unpacking(Semaphore);

impl Default for Unpacking {
    fn default() -> Self {
        Unpacking(Semaphore::new(1))
    }
}

impl Charts {
    /// Works out what is wanted now.
    fn update(&mut self, caches: &Caches, hosts: Vec<String>) {
        let book = &caches.charts;
        let wanted = wanted(caches);
        book.keep(|artifact| wanted.contains_key(artifact));
        self.progress
            .retain(|artifact, _| wanted.contains_key(artifact));
        self.needed = needed(caches);
        if self.hosts != hosts {
            self.hosts = hosts;
            for progress in self.progress.values_mut().filter(|one| one.failures > 0) {
                progress.failures = 0;
                progress.due = Some(Instant::now());
            }
        }
        for (artifact, values_files) in wanted {
            let object = caches.get(&EXTERNAL_ARTIFACTS, ARTIFACT_NAMESPACE, &artifact);
            let Some((url, digest)) = object.as_deref().and_then(location) else {
                self.progress.remove(&artifact);
                book.miss(&artifact, State::Pending, NO_ARTIFACT);
                continue;
            };
            let key = Key {
                digest,
                values_files,
            };
            match self.progress.get_mut(&artifact) {
                // A storage that has moved serves the same bytes.
                Some(known) if known.key == key => {
                    if known.url != url {
                        known.url = url;
                        if known.failures > 0 {
                            known.due = Some(Instant::now());
                        }
                    }
                }
                _ => {
                    book.miss(&artifact, State::Pending, ON_ITS_WAY);
                    self.progress.insert(artifact, Progress::new(key, url));
                }
            }
        }
        self.compiled.retain(|_, chart| chart.strong_count() > 0);
    }

    /// An artifact that is to be tried now, those that Packages need first. What is compiled already under another name
    /// is not fetched again.
    fn take(&mut self, now: Instant, book: &Book) -> Option<String> {
        loop {
            let artifact = self.next(now)?;
            let progress = self.progress.get_mut(&artifact)?;
            progress.due = None;
            match self.compiled.get(&progress.key).and_then(Weak::upgrade) {
                Some(chart) => book.put(&artifact, chart),
                None => return Some(artifact),
            }
        }
    }

    fn next(&self, now: Instant) -> Option<String> {
        let is_due = |progress: &Progress| progress.due.is_some_and(|due| due <= now);
        let needed = self
            .needed
            .iter()
            .find(|artifact| self.progress.get(*artifact).is_some_and(is_due));
        let other = || {
            let mut all = self.progress.iter();
            let found = all.find(|(_, progress)| is_due(progress));
            found.map(|(artifact, _)| artifact)
        };
        needed.or_else(other).cloned()
    }

    /// One try.
    fn job(&self, artifact: String) -> impl Future<Output = (String, Key, Fetched)> + use<> {
        let found = self.progress.get(&artifact);
        let (key, url) = found.map_or_else(
            || {
                let none = Key {
                    digest: String::new(),
                    values_files: Vec::new(),
                };
                (none, String::new())
            },
            |progress| (progress.key.clone(), progress.url.clone()),
        );
        let (hosts, unpacking) = (self.hosts.clone(), Arc::clone(&self.unpacking));
        async move {
            let result = bring(&url, &key, &hosts, &unpacking).await;
            (artifact, key, result)
        }
    }

    /// Notes what became of a try, unless something else is wanted by now.
    fn done(&mut self, artifact: &str, key: &Key, result: Fetched, book: &Book) {
        let Some(progress) = self.progress.get_mut(artifact) else {
            return;
        };
        if progress.key != *key {
            return;
        }
        match result {
            Ok(chart) => {
                tracing::info!(artifact, chart = chart.title(), "chart known");
                progress.failures = 0;
                self.compiled.insert(key.clone(), Arc::downgrade(&chart));
                book.put(artifact, chart);
            }
            Err(error) => {
                tracing::warn!(artifact, error, "chart not known");
                let pause = RETRY_MIN * 2_u32.saturating_pow(progress.failures.min(10));
                progress.failures += 1;
                progress.due = Some(Instant::now() + pause.min(RETRY_MAX));
                book.miss(artifact, State::Failed, &error);
            }
        }
    }

    /// Whether the caches are known and the charts of all Packages have been tried.
    fn are_settled(&self, caches: &Caches) -> bool {
        let reads = [&EXTERNAL_ARTIFACTS, &PACKAGE_SOURCES, &PACKAGES];
        let are_known = reads.iter().all(|read| {
            caches
                .cache(&read.resource)
                .is_some_and(|cache| cache.knowledge() != Knowledge::Syncing)
        });
        are_known
            && self.needed.iter().all(|artifact| {
                self.progress.get(artifact).is_none_or(|progress| {
                    !progress.is_open() || caches.charts.state(artifact) == Some(State::Ready)
                })
            })
    }

    /// How long nothing needs to be done.
    fn wait(&self, now: Instant, dirty_since: Option<Instant>, has_room: bool) -> Duration {
        // Not in the past: what waits for the settings would turn in circles.
        let dirty = dirty_since.map(|since| (since + PAUSE).max(now + PAUSE / 10));
        let due = self.progress.values().filter_map(|progress| progress.due);
        let due = due.min().filter(|_| has_room);
        dirty
            .into_iter()
            .chain(due)
            .map(|at| at.saturating_duration_since(now))
            .min()
            .unwrap_or(RETRY_MAX)
    }
}

/// Where the archive of an artifact is, and its digest.
fn location(object: &Object) -> Option<(String, String)> {
    let text = |member| object.text(&["status", "artifact", member]);
    Some((text("url")?.to_owned(), text("digest")?.to_owned()))
}

/// The artifacts of all components that can be installed, and the files of values that their variants name.
fn wanted(caches: &Caches) -> BTreeMap<String, Vec<String>> {
    let mut wanted = BTreeMap::new();
    for source in objects(caches, &PACKAGE_SOURCES) {
        for (artifact, component) in super::installable(&source.name, Source::of(&source)) {
            let files = component.values_files().map(ToOwned::to_owned);
            wanted.insert(artifact, files.collect());
        }
    }
    wanted
}

/// The artifacts of components that Packages install.
fn needed(caches: &Caches) -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    for object in objects(caches, &PACKAGES) {
        let package = Package::of(&object);
        let source = caches.get(&PACKAGE_SOURCES, "", &object.name);
        let source = source.as_deref().map(Source::of);
        let Some(variant) = source.and_then(|source| source.variant(package.variant())) else {
            continue;
        };
        needed.extend(
            package.installed(variant).map(|(component, _)| {
                artifact_name(&object.name, variant.name(), component.name())
            }),
        );
    }
    needed
}

fn objects(caches: &Caches, read: &webhooks::contract::Read) -> Vec<Arc<Object>> {
    caches
        .cache(&read.resource)
        .map(|cache| cache.objects())
        .unwrap_or_default()
}

async fn bring(url: &str, key: &Key, hosts: &[String], unpacking: &Unpacking) -> Fetched {
    let bytes = fetch::fetch(url, &key.digest, hosts)
        .await
        .map_err(|error| error.to_string())?;
    let _turn = unpacking.0.acquire().await;
    let key = key.clone();
    let read = tokio::task::spawn_blocking(move || {
        let names: Vec<&str> = key.values_files.iter().map(String::as_str).collect();
        archive::read(&bytes, &names)
            .map(|unpacked| Arc::new(unpacked.component(&names, key.digest)))
            .map_err(|error| error.to_string())
    });
    read.await
        .unwrap_or_else(|error| Err(format!("reading it broke off: {error}")))
}
