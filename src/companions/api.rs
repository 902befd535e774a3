//! What the engine asks of an API server, and the real one.

use super::lease::Tenure;
use crate::events::{self, Note};
use json_patch::Patch as JsonPatch;
use kube::Client;
use kube::api::{Api as KubeApi, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;
use std::future::Future;
use std::time::Duration;
use webhooks::contract::{FIELD_MANAGER, Resource};

/// A request that takes longer is given up, and made again later.
const REQUEST_TIME: Duration = Duration::from_secs(20);

/// Why the API server did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// Other managers own fields that would be changed.
    #[error("{0}")]
    Conflict(String),
    /// The object is no longer the one that was looked at.
    #[error("it has changed meanwhile")]
    Changed,
    /// There is no such object, or no such kind.
    #[error("there is no such object or kind")]
    Gone,
    /// A quota of the namespace is used up.
    #[error("the quota of the namespace is used up")]
    QuotaExhausted,
    /// The API server refuses, and will refuse again.
    #[error("{0}")]
    Refused(String),
    /// The API server cannot be asked now.
    #[error("{0}")]
    Unavailable(String),
    /// This replica is not the leader any more.
    #[error("another replica leads")]
    NotLeading,
}

/// An API server with server-side apply. Writes go out under the field manager `cozystack-webhook`.
pub trait Api: Send + Sync + 'static {
    /// The object with its managed fields; none when it, or its kind, is not there.
    fn get(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<Value>, ApiError>> + Send;

    /// Server-side apply, never forced. With a `metadata.resourceVersion` an object that is there must still be that
    /// one; no object is version 0.
    fn apply(
        &self,
        resource: &'static Resource,
        object: &Value,
    ) -> impl Future<Output = Result<Value, ApiError>> + Send;

    /// A JSON Patch.
    fn patch(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        patch: &JsonPatch,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Deletes the object if it still is the one with that uid and resource version.
    fn delete(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        uid: &str,
        resource_version: &str,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Writes an Event. That it could not be written stops nothing.
    fn tell(&self, note: &Note) -> impl Future<Output = ()> + Send;
}

/// A real API server, written to only while this replica leads.
pub struct Live {
    client: Client,
    identity: String,
    tenure: Tenure,
}

impl Live {
    /// An API server for as long as `tenure` lasts; `identity` is this replica's name.
    #[must_use]
    pub fn new(client: Client, identity: String, tenure: Tenure) -> Live {
        Live {
            client,
            identity,
            tenure,
        }
    }

    fn api(&self, resource: &Resource, namespace: &str) -> KubeApi<DynamicObject> {
        let kind = GroupVersionKind::gvk(resource.group, resource.version, resource.kind);
        let kind = ApiResource::from_gvk_with_plural(&kind, resource.plural);
        if resource.namespaced {
            KubeApi::namespaced_with(self.client.clone(), namespace, &kind)
        } else {
            KubeApi::all_with(self.client.clone(), &kind)
        }
    }

    async fn read<T>(
        &self,
        request: impl Future<Output = Result<T, kube::Error>> + Send,
    ) -> Result<T, ApiError> {
        match tokio::time::timeout(REQUEST_TIME, request).await {
            Ok(done) => done.map_err(explain),
            Err(_) => Err(ApiError::Unavailable(format!(
                "no answer within {} s",
                REQUEST_TIME.as_secs()
            ))),
        }
    }

    async fn write<T>(
        &self,
        request: impl Future<Output = Result<T, kube::Error>> + Send,
    ) -> Result<T, ApiError> {
        if !self.tenure.holds() {
            return Err(ApiError::NotLeading);
        }
        self.read(request).await
    }
}

fn explain(error: kube::Error) -> ApiError {
    let kube::Error::Api(status) = error else {
        return ApiError::Unavailable(error.to_string());
    };
    let is_field_conflict = || {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes
            .into_iter()
            .any(|cause| cause.reason == "FieldManagerConflict")
    };
    // What is there is not updated to version 0, which stands for none.
    let is_there = || {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes
            .into_iter()
            .any(|cause| cause.field == "metadata.resourceVersion")
    };
    match status.code {
        404 => ApiError::Gone,
        422 if is_there() => ApiError::Changed,
        409 if is_field_conflict() => ApiError::Conflict(status.message.clone()),
        409 => ApiError::Changed,
        // The numbers in the message change whenever anybody makes something: no news of ours.
        403 if status.message.contains("exceeded quota") => ApiError::QuotaExhausted,
        429 | 500.. => ApiError::Unavailable(status.message.clone()),
        _ => ApiError::Refused(status.message.clone()),
    }
}

impl Api for Live {
    async fn get(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, ApiError> {
        let api = self.api(resource, namespace);
        match self.read(api.get(name)).await {
            Ok(found) => serde_json::to_value(found)
                .map(Some)
                .map_err(|error| ApiError::Unavailable(error.to_string())),
            Err(ApiError::Gone) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn apply(&self, resource: &'static Resource, object: &Value) -> Result<Value, ApiError> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let api = self.api(resource, text("/metadata/namespace").unwrap_or_default());
        let name = text("/metadata/name").unwrap_or_default();
        let parameters = PatchParams::apply(FIELD_MANAGER);
        let patch = Patch::Apply(object);
        let applied = self.write(api.patch(name, &parameters, &patch)).await?;
        serde_json::to_value(applied).map_err(|error| ApiError::Unavailable(error.to_string()))
    }

    async fn patch(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        patch: &JsonPatch,
    ) -> Result<(), ApiError> {
        let api = self.api(resource, namespace);
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch: Patch<()> = Patch::Json(patch.clone());
        self.write(api.patch(name, &parameters, &patch))
            .await
            .map(|_| ())
    }

    async fn delete(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        uid: &str,
        resource_version: &str,
    ) -> Result<(), ApiError> {
        let api = self.api(resource, namespace);
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: Some(resource_version.to_owned()),
            }),
            ..DeleteParams::default()
        };
        match self.write(api.delete(name, &parameters)).await {
            Ok(_) | Err(ApiError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn tell(&self, note: &Note) {
        let told = events::publish(&self.client, &self.identity, note);
        if let Err(error) = self.write(told).await {
            tracing::warn!(%error, "Event not written");
        }
    }
}
