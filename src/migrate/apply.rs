//! One change after the other into a cluster, each only over the object that was planned for.

use super::{MANAGER, merge_patch, sets_null};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, GroupVersionKind, Status};
use serde_json::{Map, Value};
use webhooks::contract::FIELD_MANAGER;
use webhooks::migration::{Change, Reference};

/// A change that was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody has changed the object since it was looked at: the plan has to be made again.
    #[error("{} {}: it has changed meanwhile", reference.kind, reference.name)]
    Changed {
        /// The object.
        reference: Reference,
    },
    /// The API server refuses it, or is not there.
    #[error("{} {}: {error}", reference.kind, reference.name)]
    Api {
        /// The object.
        reference: Reference,
        /// Why not.
        error: Box<kube::Error>,
    },
}

/// Kinds that are written: kind, plural.
const PLURALS: [(&str, &str); 6] = [
    ("ConfigMap", "configmaps"),
    ("Package", "packages"),
    ("ApplicationDefinition", "applicationdefinitions"),
    (
        "CozystackResourceDefinition",
        "cozystackresourcedefinitions",
    ),
    ("HelmRelease", "helmreleases"),
    ("HelmChart", "helmcharts"),
];

pub(super) fn api(client: &Client, reference: &Reference) -> Api<DynamicObject> {
    let (group, version) = reference
        .api_version
        .split_once('/')
        .unwrap_or(("", &reference.api_version));
    let gvk = GroupVersionKind::gvk(group, version, &reference.kind);
    let mut kinds = PLURALS.iter();
    let resource = match kinds.find(|(kind, _)| *kind == reference.kind) {
        Some((_, plural)) => ApiResource::from_gvk_with_plural(&gvk, plural),
        None => ApiResource::from_gvk(&gvk),
    };
    if reference.namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), &reference.namespace, &resource)
    }
}

/// Makes one change; `applied` is what is applied for it where it is a definition.
///
/// # Errors
/// When it was not made; whether it was when the connection broke, the next plan tells.
pub async fn apply(client: &Client, change: &Change, applied: Option<&Value>) -> Result<(), Error> {
    let reference = Reference::to(&change.after);
    let api = api(client, &reference);
    let name = &reference.name;
    let version = change
        .before
        .as_ref()
        .and_then(|before| before.get("metadata")?.get("resourceVersion"));
    let written = match (&change.before, applied) {
        // As the bridge writes them: version 0 stands for no object.
        (_, Some(applied)) => {
            let version = version.cloned().unwrap_or_else(|| "0".into());
            let patch = Patch::Apply(with_version(applied.clone(), version));
            let parameters = PatchParams::apply(FIELD_MANAGER);
            api.patch(name, &parameters, &patch).await
        }
        (Some(before), _) => write_over(&api, name, before, &change.after).await,
        (None, _) => {
            let object: Result<DynamicObject, _> = serde_json::from_value(change.after.clone());
            match object {
                Ok(object) => {
                    let parameters = PostParams {
                        field_manager: Some(MANAGER.to_owned()),
                        ..PostParams::default()
                    };
                    api.create(&parameters, &object).await
                }
                Err(error) => Err(kube::Error::SerdeError(error)),
            }
        }
    };
    match written {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 && !is_of_fields(&status) => {
            Err(Error::Changed { reference })
        }
        Err(error) => Err(Error::Api {
            reference,
            error: Box::new(error),
        }),
    }
}

/// Whether others own what was to be applied: that does not pass by itself.
fn is_of_fields(status: &Status) -> bool {
    let details = status.details.iter();
    let mut causes = details.flat_map(|details| details.causes.iter());
    causes.any(|cause| cause.reason == "FieldManagerConflict")
}

/// Makes one object of the other, if it still is the version that was looked at.
///
/// # Errors
/// When the API server refuses.
pub(super) async fn write_over(
    api: &Api<DynamicObject>,
    name: &str,
    before: &Value,
    after: &Value,
) -> Result<DynamicObject, kube::Error> {
    let version = before
        .get("metadata")
        .and_then(|metadata| metadata.get("resourceVersion"));
    let with_version = |object: Value| match version {
        Some(version) => with_version(object, version.clone()),
        None => object,
    };
    let patch = merge_patch(before, after);
    if sets_null(&patch, after) {
        let object = with_version(after.clone());
        let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        return api.replace(name, &parameters, &object).await;
    }
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = if patch.is_null() {
        Value::Object(Map::new())
    } else {
        patch
    };
    let patch = Patch::Merge(with_version(patch));
    api.patch(name, &parameters, &patch).await
}

/// Deletes an object, if it still is the one that was looked at.
///
/// # Errors
/// When it was not deleted.
pub async fn delete(client: &Client, object: &Value) -> Result<(), Error> {
    let reference = Reference::to(object);
    let text = |pointer: &str| {
        let found = object.pointer(pointer).and_then(Value::as_str);
        found.map(ToOwned::to_owned)
    };
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: text("/metadata/uid"),
            resource_version: text("/metadata/resourceVersion"),
        }),
        ..DeleteParams::default()
    };
    match api(client, &reference)
        .delete(&reference.name, &parameters)
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Err(Error::Changed { reference }),
        Err(error) => Err(Error::Api {
            reference,
            error: Box::new(error),
        }),
    }
}

fn with_version(mut object: Value, version: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        let metadata = members
            .entry("metadata")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("resourceVersion".to_owned(), version);
        }
    }
    object
}
