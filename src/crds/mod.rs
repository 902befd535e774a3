//! The CRDs as they are installed: sources of the rules crate, the borrowed version, the conversion stanza.

#![expect(
    clippy::indexing_slicing,
    reason = "reading an absent member of a Value gives null, and no request reaches this module"
)]

pub mod install;
pub mod schema;
pub mod widen;

use crate::manifest::{self, yaml};
use serde_json::{Value, json};
use webhooks::contract::Webhook;
use webhooks::crds::CRDS;

/// Where the API server finds the service.
#[derive(Debug, Clone)]
pub struct Target {
    /// Namespace of the installation.
    pub namespace: String,
    /// Service of the admission port.
    pub admission_service: String,
    /// Its port.
    pub admission_port: u16,
    /// Service of the conversion port, which publishes addresses that are not ready.
    pub conversion_service: String,
    /// Its port.
    pub conversion_port: u16,
    /// The authority that signed the serving certificate, base64 of PEM; none when something else injects it.
    pub ca_bundle: Option<String>,
    /// The Certificate or Secret, `namespace/name`, from which cert-manager injects the authority into CRDs.
    pub inject_ca_from: Option<String>,
}

impl Default for Target {
    fn default() -> Self {
        Target {
            namespace: "cozy-webhook".to_owned(),
            admission_service: "cozystack-webhook".to_owned(),
            admission_port: 443,
            conversion_service: "cozystack-webhook-conversion".to_owned(),
            conversion_port: 443,
            ca_bundle: None,
            inject_ca_from: None,
        }
    }
}

impl Target {
    /// The `clientConfig` of a path on one of the two services.
    #[must_use]
    pub fn client_config(&self, is_conversion: bool, path: &str) -> Value {
        let (name, port) = if is_conversion {
            (&self.conversion_service, self.conversion_port)
        } else {
            (&self.admission_service, self.admission_port)
        };
        let mut config = json!({"service": {"namespace": self.namespace, "name": name, "port": port, "path": path}});
        if let (Some(bundle), Some(members)) = (&self.ca_bundle, config.as_object_mut()) {
            members.insert("caBundle".to_owned(), bundle.clone().into());
        }
        config
    }
}

/// A CRD source that is not what this service can install.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source is no manifest.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// A source lacks something.
    #[error("CRD {plural}: {detail}")]
    Source {
        /// The kind's plural.
        plural: &'static str,
        /// What is wrong.
        detail: String,
    },
}

/// All CRDs, without conversion stanza.
///
/// # Errors
/// When a source is wrong, or a kind of several versions has no complete conversion in the registry.
pub fn bare(registry: &[&'static Webhook]) -> Result<Vec<Value>, Error> {
    let crds = sources()?;
    for (source, crd) in CRDS.iter().zip(&crds) {
        check_versions(crd, registry).map_err(|detail| Error::Source {
            plural: source.plural,
            detail,
        })?;
    }
    Ok(crds)
}

/// The sources as they are, the borrowed version filled in.
fn sources() -> Result<Vec<Value>, Error> {
    let mut crds: Vec<Value> = Vec::new();
    for source in &CRDS {
        let wrong = |detail: &str| Error::Source {
            plural: source.plural,
            detail: detail.to_owned(),
        };
        let syntax = |error: yaml::Error| wrong(&error.to_string());
        let document = yaml::documents(source.yaml)
            .map_err(syntax)?
            .into_iter()
            .next();
        let mut crd = document.ok_or_else(|| wrong("is empty"))?.value;
        if let Some(borrowed) = &source.borrowed_version {
            let mut version = crds
                .iter()
                .find(|crd| plural(crd) == borrowed.from)
                .and_then(|lender| lender.pointer("/spec/versions/0"))
                .cloned()
                .ok_or_else(|| wrong("borrows from a CRD that is not there"))?;
            version["name"] = borrowed.version.into();
            version["storage"] = false.into();
            crd.pointer_mut("/spec/versions")
                .and_then(Value::as_array_mut)
                .ok_or_else(|| wrong("has no versions"))?
                .push(version);
        }
        if let Some(metadata) = crd.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert(
                "annotations".to_owned(),
                json!({"helm.sh/resource-policy": "keep"}),
            );
            metadata.insert(
                "labels".to_owned(),
                json!({"app.kubernetes.io/managed-by": MANAGER}),
            );
        }
        crds.push(crd);
    }
    Ok(crds)
}

/// Field manager, and value of `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = webhooks::contract::FIELD_MANAGER;

/// Asks cert-manager to keep the `caBundle` of an object.
const INJECT_ANNOTATION: &str = "cert-manager.io/inject-ca-from";

/// All CRDs, with the conversion stanza where a kind has more than one version.
///
/// # Errors
/// As [`bare`].
pub fn installable(registry: &[&'static Webhook], target: &Target) -> Result<Vec<Value>, Error> {
    let mut crds = bare(registry)?;
    for crd in &mut crds {
        let path = format!("/convert/{}", plural(crd));
        if versions(crd).len() > 1 {
            crd["spec"]["conversion"] = json!({
                "strategy": "Webhook",
                "webhook": {
                    "conversionReviewVersions": ["v1"],
                    "clientConfig": target.client_config(true, &path),
                },
            });
            if let Some(source) = &target.inject_ca_from {
                crd["metadata"]["annotations"][INJECT_ANNOTATION] = source.clone().into();
            }
        }
    }
    Ok(crds)
}

/// The name of a CRD.
#[must_use]
pub fn name(crd: &Value) -> &str {
    crd.pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The plural name in a CRD.
#[must_use]
pub fn plural(crd: &Value) -> &str {
    crd.pointer("/spec/names/plural")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The versions of a CRD.
#[must_use]
pub fn versions(crd: &Value) -> &[Value] {
    crd.pointer("/spec/versions")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The name of a version of a CRD.
#[must_use]
pub fn version_name(version: &Value) -> &str {
    version
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn check_versions(crd: &Value, registry: &[&'static Webhook]) -> Result<(), String> {
    let plural = plural(crd);
    let served: Vec<&str> = versions(crd).iter().map(version_name).collect();
    let conversion = registry
        .iter()
        .filter_map(|webhook| webhook.convert)
        .find(|conversion| conversion.hub.plural == plural);
    match conversion {
        Some(conversion) => conversion.check_complete(&served),
        None if served.len() > 1 => Err(format!(
            "serves {served:?}, and nothing converts between them"
        )),
        None => Ok(()),
    }
}
