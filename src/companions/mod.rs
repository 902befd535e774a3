//! The companions engine: keeps the objects that others bring with them, on the replica that holds the Lease.
//!
//! ```text
//! caches --changes--> queue (a parent once, due times, back-off) --up to 8 at once--> Reconciler --> API server
//!    ^                                                                                     |
//!    +------------------------- watches see what was written <-----------------------------+
//! ```
//!
//! The order of events does not matter: a look at a parent depends on what is there, not on what happened.

pub mod api;
pub mod lease;
mod queue;
mod quota;
pub mod reconcile;
#[cfg(test)]
mod tests;

use crate::cluster::{Caches, Change};
use crate::server::answer::Service;
use crate::server::metrics::ReconcileLabels;
use api::{Api, Live};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use kube::Client;
use lease::Election;
use queue::Queue;
use reconcile::{ChildKey, Failure, Reconciler};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use webhooks::contract::companions::{PARENT_ANNOTATION, parent_key, split_parent_key};
use webhooks::contract::{Companions, Concerned, Object, Read, Resource, Webhook};

/// Parents that are looked at at the same time.
const CONCURRENCY: usize = 8;
/// Pause before all parents of a rule are looked at because a kind that it reads has changed: such changes come in
/// bursts.
const READ_PAUSE: Duration = Duration::from_secs(1);
/// All parents are looked at this often, whatever happens.
const RESYNC: Duration = Duration::from_mins(10);

/// Leads when it can, and reconciles while it leads. Does not end by itself.
pub async fn run(
    client: Client,
    election: Arc<Election>,
    identity: String,
    registry: &'static [&'static Webhook],
    service: Arc<Service>,
) {
    election
        .lead(|tenure| {
            let api = Live::new(client.clone(), identity.clone(), tenure);
            let service = Arc::clone(&service);
            async move {
                let _leading = Leading::begin(&service);
                reconcile_all(api, registry, &service).await;
            }
        })
        .await;
}

/// The metric says "leader" for as long as this lives.
struct Leading<'a>(&'a Service);

impl Leading<'_> {
    fn begin(service: &Service) -> Leading<'_> {
        service.metrics.leader.set(1);
        service.leads.store(true, Ordering::Release);
        Leading(service)
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.0.metrics.leader.set(0);
        self.0.leads.store(false, Ordering::Release);
        self.0.metrics.companions.clear();
    }
}

/// Reconciles every parent now and whenever something changes. Dropping the future stops everything: no request is
/// made by a task of its own.
async fn reconcile_all<A: Api>(api: A, registry: &'static [&'static Webhook], service: &Service) {
    let mut settings = service.settings_changed.subscribe();
    // What is forbidden by settings that are not known yet is not done.
    let is_unknown = !service.has_settings.load(Ordering::Acquire);
    if is_unknown && settings.wait_for(|count| *count > 0).await.is_err() {
        return;
    }
    let mut changes = service.caches.changes();
    let reconciler = Reconciler::new(
        api,
        Arc::clone(&service.caches),
        service.metrics.companions.clone(),
    );
    let mut queue = Queue::default();
    let mut running = FuturesUnordered::new();
    let mut resync = tokio::time::interval(RESYNC);
    loop {
        for key in reconciler.take_hopeful() {
            queue.add(key, Instant::now());
        }
        while running.len() < CONCURRENCY
            && let Some(key) = queue.take(Instant::now())
        {
            running.push(look(&reconciler, registry, service, key));
        }
        let next = queue
            .next_due()
            .map_or(RESYNC, |due| due.saturating_duration_since(Instant::now()));
        tokio::select! {
            change = changes.recv() => match change {
                Some(change) => enqueue(&change, registry, &service.caches, &reconciler, &mut queue),
                None => return,
            },
            Some((key, again)) = running.next() => match again {
                Again::Done(None) => queue.done(&key),
                Again::Done(Some(pause)) => {
                    queue.done(&key);
                    queue.add(key, Instant::now() + pause);
                }
                Again::Failed => queue.failed(key, Instant::now()),
            },
            Ok(()) = settings.changed() => {
                enqueue_all(registry, &service.caches, &mut queue, Instant::now());
            }
            _ = resync.tick() => enqueue_all(registry, &service.caches, &mut queue, Instant::now()),
            () = tokio::time::sleep(next), if running.len() < CONCURRENCY => {}
        }
    }
}

enum Again {
    Done(Option<Duration>),
    Failed,
}

async fn look<A: Api>(
    reconciler: &Reconciler<A>,
    registry: &'static [&'static Webhook],
    service: &Service,
    key: String,
) -> (String, Again) {
    let Some((rule, namespace, name)) = split_parent_key(&key) else {
        return (key, Again::Done(None));
    };
    let Some(webhook) = registry
        .iter()
        .find(|webhook| webhook.declaration.id == rule)
    else {
        return (key, Again::Done(None));
    };
    let settings = service.dispatcher.settings();
    let done = reconciler
        .reconcile(webhook, namespace, name, &settings)
        .await;
    let count = |outcome| {
        let labels = ReconcileLabels {
            rule: webhook.declaration.id,
            outcome,
        };
        service.metrics.reconciles.get_or_create(&labels).inc();
    };
    let again = match done {
        Ok(pause) => {
            count("done");
            Again::Done(pause)
        }
        Err(failure) => {
            count("failed");
            // Whoever changes them back would fill the log as well, and so would all who wait for room.
            if matches!(failure, Failure::Fought | Failure::QuotaExhausted) {
                tracing::debug!(rule, namespace, name, %failure, "companions are not in step");
            } else {
                tracing::warn!(rule, namespace, name, %failure, "companions are not in step");
            }
            Again::Failed
        }
    };
    (key, again)
}

/// The rules with companions.
fn bringing(
    registry: &'static [&'static Webhook],
) -> impl Iterator<Item = (&'static Webhook, &'static Read)> {
    registry
        .iter()
        .filter_map(|webhook| Some((*webhook, webhook.companions?.parents())))
}

/// Every parent, and every parent that a child names: it may have gone while nobody looked.
fn enqueue_all(
    registry: &'static [&'static Webhook],
    caches: &Caches,
    queue: &mut Queue,
    due: Instant,
) {
    for (webhook, _) in bringing(registry) {
        enqueue_rule(webhook, caches, queue, due);
    }
}

fn enqueue_rule(webhook: &'static Webhook, caches: &Caches, queue: &mut Queue, due: Instant) {
    let Some(companions) = webhook.companions else {
        return;
    };
    let objects = |resource: &Resource| {
        caches
            .cache(resource)
            .map(|cache| cache.objects())
            .unwrap_or_default()
    };
    let rule = webhook.declaration.id;
    for parent in objects(&companions.parents().resource) {
        queue.add(parent_key(rule, &parent.namespace, &parent.name), due);
    }
    for read in webhook.declaration.writes {
        for child in objects(&read.resource) {
            if let Some(key) = parent_of(&child, rule) {
                queue.add(key, due);
            }
        }
    }
}

/// The parents that a change of an object concerns that the rule reads.
fn enqueue_concerned(
    webhook: &'static Webhook,
    resource: &Resource,
    object: &Object,
    caches: &Caches,
    queue: &mut Queue,
    now: Instant,
) {
    let Some(companions) = webhook.companions else {
        return;
    };
    let asked = || companions.concerned(resource, object, caches);
    match catch_unwind(AssertUnwindSafe(asked)) {
        Ok(Concerned::These(parents)) => {
            for (namespace, name) in parents {
                let key = parent_key(webhook.declaration.id, &namespace, &name);
                queue.add(key, now);
            }
        }
        Ok(Concerned::All) | Err(_) => enqueue_rule(webhook, caches, queue, now + READ_PAUSE),
    }
}

/// The parent that a child names, if it is one of that rule.
fn parent_of(child: &Object, rule: &str) -> Option<String> {
    let key = child.text(&["metadata", "annotations", PARENT_ANNOTATION])?;
    split_parent_key(key)
        .filter(|(named, _, _)| *named == rule)
        .map(|_| key.to_owned())
}

fn enqueue<A: Api>(
    change: &Change,
    registry: &'static [&'static Webhook],
    caches: &Caches,
    reconciler: &Reconciler<A>,
    queue: &mut Queue,
) {
    let now = Instant::now();
    for (webhook, parents) in bringing(registry) {
        let declaration = &webhook.declaration;
        let is_written = |resource: &Resource| {
            declaration
                .writes
                .iter()
                .any(|read| read.resource == *resource)
        };
        let reads = webhook.companions.map(Companions::reads);
        let is_read = |resource: &Resource| {
            let mut reads = reads.into_iter().flatten();
            reads.any(|read| read.resource == *resource)
        };
        match change {
            Change::Kind(resource) => {
                if parents.resource == **resource || is_written(resource) || is_read(resource) {
                    enqueue_rule(webhook, caches, queue, now);
                }
            }
            Change::Object {
                resource,
                before,
                after,
            } => {
                let objects = || before.iter().chain(after);
                if parents.resource == **resource
                    && let Some(parent) = objects().next()
                {
                    let key = parent_key(declaration.id, &parent.namespace, &parent.name);
                    queue.add(key, now);
                }
                if is_written(resource) {
                    if let (Some(gone), None) = (before, after) {
                        reconciler.make_room(resource, &gone.namespace);
                    }
                    for child in objects() {
                        let names: ChildKey = (
                            resource.group,
                            resource.kind,
                            child.namespace.clone(),
                            child.name.clone(),
                        );
                        let concerned = parent_of(child, declaration.id)
                            .into_iter()
                            .chain(reconciler.wanting(&names));
                        for key in concerned {
                            queue.add(key, now);
                        }
                    }
                }
                if is_read(resource) {
                    for object in objects() {
                        enqueue_concerned(webhook, resource, object, caches, queue, now);
                    }
                }
            }
        }
    }
}
