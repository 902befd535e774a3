//! What a migration looks at: of a cluster, or of files that were exported from one.

use crate::cluster::pages;
use crate::manifest;
use kube::Client;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, Request};
use kube::{Api, Resource as _};
use serde_json::Value;
use std::path::PathBuf;
use webhooks::migration::{SYSTEM_NAMESPACE, Snapshot};
use webhooks::settings;

/// The ConfigMaps of the old platform, its version, and our own record.
pub const CONFIGS: [&str; 5] = [
    "cozystack",
    "cozystack-branding",
    "cozystack-scheduling",
    "cozystack-version",
    RECORD,
];
/// ConfigMap in which the configuration is kept as it was first found.
pub const RECORD: &str = "cozystack-webhook-migration";
/// Secret of a namespace with what its charts must know of the cluster.
const PLATFORM_VALUES: &str = "cozystack-values";

/// Kinds that are listed: group, version, kind, plural.
const KINDS: [(&str, &str, &str, &str); 7] = [
    (
        "cozystack.io",
        "v1alpha1",
        "CozystackResourceDefinition",
        "cozystackresourcedefinitions",
    ),
    (
        "cozystack.io",
        "v1alpha1",
        "ApplicationDefinition",
        "applicationdefinitions",
    ),
    ("cozystack.io", "v1alpha1", "Package", "packages"),
    (
        "cozystack.io",
        "v1alpha1",
        "PackageSource",
        "packagesources",
    ),
    (
        "helm.toolkit.fluxcd.io",
        "v2",
        "HelmRelease",
        "helmreleases",
    ),
    (
        "source.toolkit.fluxcd.io",
        "v1",
        "ExternalArtifact",
        "externalartifacts",
    ),
    ("source.toolkit.fluxcd.io", "v1", "HelmChart", "helmcharts"),
];

/// A cluster that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A list.
    #[error("listing {plural}: {error}")]
    List {
        /// What was listed.
        plural: &'static str,
        /// Why it could not be.
        error: pages::Error,
    },
    /// One object.
    #[error("reading ConfigMap {namespace}/{name}: {error}")]
    Config {
        /// Its namespace.
        namespace: String,
        /// The ConfigMap.
        name: &'static str,
        /// Why it could not be read.
        error: Box<kube::Error>,
    },
    /// An object of a list is nested too deep, or no object.
    #[error("{plural}: an object cannot be read: {error}")]
    Object {
        /// The list.
        plural: &'static str,
        /// Why it could not be read.
        error: serde_json::Error,
    },
}

/// Everything that matters of a cluster; `namespace` is that of the installation, and `say` is told how far it has come.
///
/// # Errors
/// When something cannot be read: a plan that does not see everything is none.
pub async fn cluster(
    client: &Client,
    namespace: &str,
    mut say: impl FnMut(&str, usize),
) -> Result<Snapshot, Error> {
    let mut snapshot = Snapshot::default();
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
    let places = CONFIGS.map(|name| (SYSTEM_NAMESPACE, name));
    for (namespace, name) in places.into_iter().chain([(namespace, settings::NAME)]) {
        let configs: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
        let found = configs.get_opt(name).await;
        let found = found.map_err(|error| Error::Config {
            namespace: namespace.to_owned(),
            name,
            error: Box::new(error),
        })?;
        if let Some(mut config) = found.and_then(|config| serde_json::to_value(config).ok()) {
            typed(&mut config, "v1", "ConfigMap");
            snapshot.put(config);
        }
    }
    for (group, version, kind, plural) in KINDS {
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        let list = Request::new(DynamicObject::url_path(&resource, None));
        let (mut count, mut unreadable) = (0, None);
        let api_version = format!("{group}/{version}");
        let listed = pages::each(client, &list, |raw| {
            match serde_json::from_str::<Value>(raw.get()) {
                Ok(mut object) => {
                    typed(&mut object, &api_version, kind);
                    snapshot.put(object);
                    count += 1;
                    say(plural, count);
                }
                Err(error) => unreadable = Some(error),
            }
        });
        listed
            .await
            .map_err(|error| Error::List { plural, error })?;
        if let Some(error) = unreadable {
            return Err(Error::Object { plural, error });
        }
    }
    Ok(snapshot)
}

/// uid of namespace `kube-system`: which cluster this is.
///
/// # Errors
/// When it cannot be read.
pub async fn identity(client: &Client) -> Result<String, kube::Error> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Namespace"));
    let namespaces: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let namespace = namespaces.get_metadata("kube-system").await?;
    Ok(namespace.metadata.uid.unwrap_or_default())
}

/// Adds the Secrets that say whether a namespace knows of its cluster; nothing of their contents.
///
/// # Errors
/// When they cannot be listed.
pub async fn add_platform_values(client: &Client, snapshot: &mut Snapshot) -> Result<(), Error> {
    let plural = "secrets";
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Secret"));
    let secrets: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let named =
        kube::api::ListParams::default().fields(&format!("metadata.name={PLATFORM_VALUES}"));
    let listed = secrets.list_metadata(&named).await;
    let listed = listed.map_err(|error| Error::List {
        plural,
        error: pages::Error::Api(Box::new(error)),
    })?;
    for secret in listed {
        if let Ok(mut secret) = serde_json::to_value(secret) {
            typed(&mut secret, "v1", "Secret");
            snapshot.put(secret);
        }
    }
    Ok(())
}

/// Items of a list need not say what they are.
fn typed(object: &mut Value, api_version: &str, kind: &str) {
    if let Some(members) = object.as_object_mut() {
        members.insert("apiVersion".to_owned(), api_version.into());
        members.insert("kind".to_owned(), kind.into());
    }
}

/// Everything that was exported into files and folders.
///
/// # Errors
/// When a file cannot be read.
pub fn files(paths: &[PathBuf]) -> Result<Snapshot, manifest::Error> {
    let mut snapshot = Snapshot::default();
    for manifest in manifest::read(paths)? {
        snapshot.put(manifest.value);
    }
    Ok(snapshot)
}
