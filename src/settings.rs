//! The settings document: found among manifests, or followed in a cluster.

use crate::events::{self, Note, Reason, Reference};
use crate::manifest::Manifest;
use crate::server::answer::Service;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use webhooks::contract::{Object, Settings, Violation, Webhook};
use webhooks::settings::{NAME, RESOURCE};

/// The settings in `manifests`: those of the last ConfigMap of that name, of any namespace; defaults when there is none.
///
/// # Errors
/// Everything that is wrong with it, after its source.
pub fn among(manifests: &[Manifest], registry: &[&'static Webhook]) -> Result<Settings, String> {
    let found = manifests
        .iter()
        .rev()
        .find(|manifest| is_settings(manifest));
    let Some(manifest) = found else {
        return Ok(Settings::default());
    };
    let data = manifest.value.get("data").and_then(Value::as_object);
    let (settings, violations) = Settings::read(data.unwrap_or(&Map::new()), registry);
    if violations.is_empty() {
        Ok(settings)
    } else {
        Err(format!("{}: {}", manifest.source, sentence(&violations)))
    }
}

/// Whether this is the settings document.
#[must_use]
pub fn is_settings(manifest: &Manifest) -> bool {
    manifest.group().is_empty()
        && manifest.kind == RESOURCE.kind
        && manifest.metadata("name") == NAME
}

fn sentence(violations: &[Violation]) -> String {
    let messages: Vec<String> = violations.iter().map(Violation::message).collect();
    messages.join("; ")
}

/// The settings of a cluster as they are now.
///
/// # Errors
/// When they cannot be read, or are wrong.
pub async fn of_cluster(
    client: &Client,
    namespace: &str,
    registry: &[&'static Webhook],
) -> Result<Settings, String> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = api
        .get_opt(NAME)
        .await
        .map_err(|error| format!("reading ConfigMap {namespace}/{NAME}: {error}"))?;
    let (settings, violations) = Settings::read(&data_of(found.as_ref()), registry);
    if violations.is_empty() {
        Ok(settings)
    } else {
        Err(format!(
            "ConfigMap {namespace}/{NAME}: {}",
            sentence(&violations)
        ))
    }
}

fn data_of(document: Option<&ConfigMap>) -> Map<String, Value> {
    document
        .and_then(|document| document.data.clone())
        .into_iter()
        .flatten()
        .map(|(key, value)| (key, value.into()))
        .collect()
}

/// Follows the document in a cluster and puts it in force. Ends with the runtime. A document that cannot be understood
/// leaves the last good settings in force; when there are none yet (at start), what is right in it counts.
pub async fn follow(
    client: Client,
    namespace: String,
    identity: String,
    registry: &'static [&'static Webhook],
    service: Arc<Service>,
) {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut listed = None;
    while let Some(event) = events.next().await {
        let document = match event {
            Ok(Event::Init) => {
                listed = None;
                continue;
            }
            Ok(Event::InitApply(document)) => {
                listed = Some(document);
                continue;
            }
            Ok(Event::InitDone) => listed.take(),
            Ok(Event::Apply(document)) => Some(document),
            Ok(Event::Delete(_)) => None,
            Err(error) => {
                tracing::warn!(%error, "settings cannot be watched");
                continue;
            }
        };
        let (settings, violations) = Settings::read(&data_of(document.as_ref()), registry);
        let is_first = !service.has_settings.load(Ordering::Acquire);
        if violations.is_empty() || is_first {
            if *service.dispatcher.settings() != settings {
                tracing::info!("other settings are in force");
            }
            service.dispatcher.put_settings(settings);
            service.settings_changed.send_modify(|count| *count += 1);
        }
        service.has_settings.store(true, Ordering::Release);
        service
            .metrics
            .settings_invalid
            .set(i64::from(!violations.is_empty()));
        if !violations.is_empty() {
            let found = sentence(&violations);
            tracing::error!(found, "settings cannot be understood");
            let kept = if is_first {
                "what is right in them counts"
            } else {
                "the last good ones stay in force"
            };
            let object = document
                .and_then(|document| serde_json::to_value(document).ok())
                .and_then(Object::of);
            if let Some(object) = object {
                let note = Note {
                    reason: Reason::SettingsInvalid,
                    regarding: Reference::to(&RESOURCE, &object),
                    related: None,
                    text: format!("{kept}: {found}"),
                };
                if let Err(error) = events::publish(&client, &identity, &note).await {
                    tracing::warn!(%error, "Event not written");
                }
            }
        }
    }
}
