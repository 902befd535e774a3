//! Schemas that operators write for the values of packages: ConfigMaps with a label, in two namespaces and nowhere
//! else, because tenants write ConfigMaps too.

use super::book::{Book, OwnSchemas};
use crate::crds::Target;
use crate::server::answer::Service;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use webhooks::charts::OwnSchema;
use webhooks::cozystack_resource_definition::catalogue::ARTIFACT_NAMESPACE;

/// Label of a ConfigMap that holds schemas for the values of a package: the Package's name.
pub const LABEL: &str = "webhook.cozystack.io/values-schema";

/// What the key of a component ends in.
const KEY_END: &str = ".json";

/// The namespaces in which such ConfigMaps count.
#[must_use]
pub fn namespaces(own: &str) -> Vec<&str> {
    if own == ARTIFACT_NAMESPACE {
        vec![own]
    } else {
        vec![ARTIFACT_NAMESPACE, own]
    }
}

/// The schemas that a ConfigMap holds, compiled; none when it has not the label.
fn schemas<'a>(
    namespace: &str,
    name: &str,
    package: Option<&str>,
    data: impl Iterator<Item = (&'a str, &'a str)>,
) -> OwnSchemas {
    let Some(package) = package else {
        return Vec::new();
    };
    data.filter_map(|(key, text)| {
        let component = key.strip_suffix(KEY_END)?;
        let source = format!("ConfigMap {namespace}/{name}, key {key}");
        let schema = Arc::new(OwnSchema::new(source, text));
        Some(((package.to_owned(), component.to_owned()), schema))
    })
    .collect()
}

/// Takes a ConfigMap from a file, if it is one of these. The installation's namespace is the usual one.
pub fn take(book: &Book, manifest: &Value) {
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
    let namespace = text("/metadata/namespace").unwrap_or_default();
    let is_one = text("/apiVersion") == Some("v1")
        && text("/kind") == Some("ConfigMap")
        && namespaces(&Target::default().namespace).contains(&namespace);
    let (Some(name), true) = (text("/metadata/name"), is_one) else {
        return;
    };
    let labels = manifest.pointer("/metadata/labels");
    let package = labels.and_then(|labels| labels.get(LABEL)?.as_str());
    let data = manifest.get("data").and_then(Value::as_object);
    let data = data.into_iter().flatten();
    let data = data.filter_map(|(key, text)| Some((key.as_str(), text.as_str()?)));
    book.put_own(namespace, name, schemas(namespace, name, package, data));
}

/// Those of a cluster as they are now.
///
/// # Errors
/// When they cannot be listed.
pub async fn of_cluster(
    client: &Client,
    own_namespace: &str,
    book: &Book,
) -> Result<(), kube::Error> {
    for namespace in namespaces(own_namespace) {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        for map in api.list(&ListParams::default().labels(LABEL)).await? {
            put(book, namespace, &map);
        }
    }
    Ok(())
}

fn put(book: &Book, namespace: &str, map: &ConfigMap) {
    let name = map.name_any();
    let package = map.labels().get(LABEL).map(String::as_str);
    let empty = BTreeMap::new();
    let data = map.data.as_ref().unwrap_or(&empty);
    let data = data.iter().map(|(key, text)| (key.as_str(), text.as_str()));
    book.put_own(namespace, &name, schemas(namespace, &name, package, data));
}

/// Follows those of one namespace. Ends with the runtime. `on_known` is called once all are there.
pub async fn follow(
    client: Client,
    namespace: String,
    service: Arc<Service>,
    on_known: impl Fn() + Send,
) {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let config = watcher::Config::default().labels(LABEL);
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed = Vec::new(),
            Ok(Event::InitApply(map)) => {
                listed.push(map.name_any());
                compile(&service, &namespace, map).await;
            }
            Ok(Event::InitDone) => {
                let book = &service.caches.charts;
                for (around, name) in book.own_sources() {
                    if around == namespace && !listed.contains(&name) {
                        book.put_own(&namespace, &name, Vec::new());
                    }
                }
                on_known();
            }
            Ok(Event::Apply(map)) => compile(&service, &namespace, map).await,
            Ok(Event::Delete(map)) => {
                let name = map.name_any();
                service.caches.charts.put_own(&namespace, &name, Vec::new());
            }
            Err(error) => tracing::warn!(namespace, %error, "values schemas cannot be watched"),
        }
    }
}

/// Off the event loop: a large schema takes milliseconds.
async fn compile(service: &Arc<Service>, namespace: &str, map: ConfigMap) {
    let (service, namespace) = (Arc::clone(service), namespace.to_owned());
    let done = tokio::task::spawn_blocking(move || {
        put(&service.caches.charts, &namespace, &map);
    });
    if let Err(error) = done.await {
        tracing::error!(%error, "values schema not compiled");
    }
}
