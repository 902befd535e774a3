//! Caches that follow a cluster: one watch a kind.

use super::watched::Watched;
use super::{Cache, Caches, Knowledge};
use futures::StreamExt;
use kube::Client;
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use webhooks::contract::{Content, Object};

/// How often an absent kind is looked for: it must be watched within 10 s of its CRD's appearing.
const LOOK_FOR_KIND: Duration = Duration::from_secs(3);
/// Longest pause before a failed watch is started again.
const RETRY_MAX: Duration = Duration::from_secs(5);
const RETRY_MIN: Duration = Duration::from_millis(200);

/// Starts to fill `caches`. The tasks end with the runtime.
pub fn follow(client: &Client, caches: &Arc<Caches>) {
    for cache in caches.iter() {
        let (client, cache) = (client.clone(), Arc::clone(cache));
        tokio::spawn(async move { follow_kind(&client, &cache).await });
    }
}

async fn follow_kind(client: &Client, cache: &Cache) {
    let mut pause = RETRY_MIN;
    loop {
        match is_served(client, cache).await {
            Ok(true) => match watch(client, cache).await {
                // The kind went away, or came back: the next round tells.
                Ok(()) => pause = RETRY_MIN,
                Err(error) => {
                    tracing::warn!(kind = cache.resource.plural, %error, "watch failed");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            },
            Ok(false) => {
                if cache.knowledge() != Knowledge::Absent {
                    tracing::info!(
                        kind = cache.resource.plural,
                        "not installed: counts as empty"
                    );
                }
                cache.replace(Vec::new());
                cache.learn(Knowledge::Absent);
                tokio::time::sleep(LOOK_FOR_KIND).await;
            }
            Err(error) => {
                tracing::warn!(kind = cache.resource.plural, %error, "cannot ask the API server");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Whether the API server serves the kind in the version in which it is read.
async fn is_served(client: &Client, cache: &Cache) -> Result<bool, kube::Error> {
    let api_version = cache.resource.api_version();
    let resources = if cache.resource.group.is_empty() {
        client.list_core_api_resources(&api_version).await
    } else {
        client.list_api_group_resources(&api_version).await
    };
    match resources {
        Ok(list) => Ok(list
            .resources
            .iter()
            .any(|resource| resource.name == cache.resource.plural)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

async fn watch(client: &Client, cache: &Cache) -> Result<(), watcher::Error> {
    let resource = cache.resource;
    let kind = GroupVersionKind::gvk(resource.group, resource.version, resource.kind);
    let kind = ApiResource::from_gvk_with_plural(&kind, resource.plural);
    let config = watcher::Config::default();
    match cache.content {
        Content::Full | Content::Packed => {
            let api = Api::<Watched>::all_with(client.clone(), &kind);
            follow_events(watcher(api, config), cache).await
        }
        Content::FullIn(namespace) => {
            let api = Api::<Watched>::namespaced_with(client.clone(), namespace, &kind);
            follow_events(watcher(api, config), cache).await
        }
        Content::Metadata | Content::PackedMetadata => {
            let api = Api::<PartialObjectMeta<DynamicObject>>::all_with(client.clone(), &kind);
            follow_events(watcher(api, config), cache).await
        }
    }
}

/// Applies the events of one watch until the kind is gone. The watcher lists anew when its history has expired; what
/// it lists replaces the table at once, so a resync loses nothing and shows nothing half.
pub(crate) async fn follow_events<K: IntoValue>(
    events: impl futures::Stream<Item = Result<Event<K>, watcher::Error>>,
    cache: &Cache,
) -> Result<(), watcher::Error> {
    let mut events = std::pin::pin!(events);
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed = Vec::new(),
            Ok(Event::InitApply(object)) => listed.extend(object_of(object, cache)),
            Ok(Event::InitDone) => {
                cache.replace(std::mem::take(&mut listed));
                cache.learn(Knowledge::Synced);
                tracing::info!(
                    kind = cache.resource.plural,
                    objects = cache.len(),
                    "synced"
                );
            }
            Ok(Event::Apply(object)) => {
                if let Some(object) = object_of(object, cache) {
                    cache.put(object);
                }
            }
            Ok(Event::Delete(object)) => {
                if let Some(object) = object_of(object, cache) {
                    cache.remove(&object.namespace, &object.name);
                }
            }
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn object_of(object: impl IntoValue, cache: &Cache) -> Option<Object> {
    let object = live_object(object.into_value()?)?;
    Some(super::trimmed(object, cache.content))
}

/// What a watch gives.
pub(crate) trait IntoValue {
    /// The object as a tree.
    fn into_value(self) -> Option<Value>;
}

impl IntoValue for Watched {
    fn into_value(self) -> Option<Value> {
        Some(self.value)
    }
}

impl IntoValue for PartialObjectMeta<DynamicObject> {
    fn into_value(self) -> Option<Value> {
        serde_json::to_value(self).ok()
    }
}

#[cfg(test)]
impl IntoValue for Value {
    fn into_value(self) -> Option<Value> {
        Some(self)
    }
}

/// An object as the API server gives it: managed fields that are not there are nobody's.
#[must_use]
pub fn live_object(value: Value) -> Option<Object> {
    let has_entries = value.pointer("/metadata/managedFields").is_some();
    let mut object = Object::of(value)?;
    object.is_managed &= has_entries;
    Some(object)
}

/// Whether the error says that the kind is not served (any more).
fn is_gone(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchError, WatchStartFailed};
    matches!(
        error,
        InitialListFailed(kube::Error::Api(status))
            | WatchStartFailed(kube::Error::Api(status))
            | WatchError(status)
            if status.code == 404
    )
}
