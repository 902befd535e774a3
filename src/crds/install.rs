//! The CRDs in a cluster: installed without narrowing or losing anything, taken back, looked at.

#![expect(
    clippy::indexing_slicing,
    reason = "reading an absent member of a Value gives null, and no request reaches this module"
)]

use super::{MANAGER, Target, name, plural, widen};
use crate::certs::bundle::{Bundle, extended};
use crate::certs::now;
use json_patch::jsonptr::PointerBuf;
use json_patch::{PatchOperation, ReplaceOperation};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;
use webhooks::contract::Webhook;

/// The HelmRelease that brought the legacy CRD; upstream's migration file 23 deletes it.
pub(crate) const LEGACY_RELEASE: (&str, &str) =
    ("cozy-system", "cozystack-resource-definition-crd");
/// Longest wait for a CRD to be served.
const ESTABLISHED_TIME: Duration = Duration::from_secs(30);
const ESTABLISHED_POLL: Duration = Duration::from_millis(200);
/// How often a CRD is read and written again because somebody else wrote in between.
const ATTEMPTS: u32 = 10;

/// Kinds and plurals of the webhook configurations.
pub(crate) const CONFIGURATIONS: [(&str, &str); 2] = [
    (
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    ),
    (
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
    ),
];
const CONVERSION_CLIENT: &str = "/spec/conversion/webhook/clientConfig";

/// An installation that cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refuses, or is not there.
    #[error("{what}: {error}")]
    Api {
        /// What was being done.
        what: String,
        /// Why not.
        error: Box<kube::Error>,
    },
    /// A CRD source is wrong.
    #[error(transparent)]
    Source(#[from] super::Error),
    /// The API server would not trust the service.
    #[error(
        "CRD {plural} converts through this service: give the authority of its certificate with --ca-file or \
         --ca-secret (nothing was changed)"
    )]
    NoAuthority {
        /// The kind's plural.
        plural: String,
    },
    /// Others write the same CRD again and again.
    #[error("CRD {name}: changed by others each of {ATTEMPTS} times that it was to be written")]
    Contended {
        /// The CRD.
        name: String,
    },
    /// A CRD was not served in time.
    #[error("CRD {name} is not served after {} s: {detail}", ESTABLISHED_TIME.as_secs())]
    NotEstablished {
        /// The CRD.
        name: String,
        /// What the API server says.
        detail: String,
    },
}

fn failed(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    let what = what.into();
    move |error| Error::Api {
        what,
        error: Box::new(error),
    }
}

/// What is known of one CRD in the cluster.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The CRD.
    pub name: String,
    /// Whether it is there and served.
    pub established: bool,
    /// Its served versions.
    pub versions: Vec<String>,
    /// Versions in which objects may be stored.
    pub stored_versions: Vec<String>,
    /// How it is converted.
    pub conversion: String,
    /// The Helm release that owns it, `namespace/name`.
    pub helm_release: Option<String>,
    /// Whether it carries `helm.sh/resource-policy: keep`.
    pub keep: bool,
}

pub(crate) fn crd_api(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    Api::all_with(
        client.clone(),
        &ApiResource::from_gvk_with_plural(&kind, "customresourcedefinitions"),
    )
}

/// The HelmRelease of that name; none when it, or Flux, is not there.
async fn find_release(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<DynamicObject>, Error> {
    match release_api(client, namespace).get_opt(name).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        found => found.map_err(failed(format!("reading HelmRelease {namespace}/{name}"))),
    }
}

fn release_api(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("helm.toolkit.fluxcd.io", "v2", "HelmRelease");
    let kind = ApiResource::from_gvk_with_plural(&kind, "helmreleases");
    Api::namespaced_with(client.clone(), namespace, &kind)
}

pub(crate) fn configuration_api(client: &Client, kind: &str, plural: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
    Api::all_with(
        client.clone(),
        &ApiResource::from_gvk_with_plural(&kind, plural),
    )
}

fn helm_release(crd: &DynamicObject) -> Option<String> {
    let annotations = crd.annotations();
    let name = annotations.get("meta.helm.sh/release-name")?;
    let namespace = annotations
        .get("meta.helm.sh/release-namespace")
        .map_or("default", String::as_str);
    Some(format!("{namespace}/{name}"))
}

fn state_of(crd: &DynamicObject) -> State {
    let texts = |pointer: &str, member: Option<&str>| -> Vec<String> {
        crd.data
            .pointer(pointer)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|item| match member {
                Some(member) => item.get(member)?.as_str(),
                None => item.as_str(),
            })
            .map(ToOwned::to_owned)
            .collect()
    };
    let text = |pointer: &str| crd.data.pointer(pointer).and_then(Value::as_str);
    let established = crd
        .data
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .is_some_and(|conditions| {
            conditions.iter().any(|condition| {
                condition["type"] == "Established" && condition["status"] == "True"
            })
        });
    let conversion = match text("/spec/conversion/strategy") {
        Some("Webhook") => {
            let service = |member: &str| {
                text(&format!(
                    "/spec/conversion/webhook/clientConfig/service/{member}"
                ))
            };
            format!(
                "webhook {}/{}",
                service("namespace").unwrap_or("-"),
                service("name").unwrap_or("-")
            )
        }
        _ => "none".to_owned(),
    };
    State {
        name: crd.name_any(),
        established,
        versions: texts("/spec/versions", Some("name")),
        stored_versions: texts("/status/storedVersions", None),
        conversion,
        helm_release: helm_release(crd),
        keep: crd
            .annotations()
            .get("helm.sh/resource-policy")
            .is_some_and(|policy| policy == "keep"),
    }
}

/// What there is of our CRDs; none for one that is not installed.
pub async fn status(
    client: &Client,
    registry: &[&'static Webhook],
) -> Result<Vec<(String, Option<State>)>, Error> {
    let api = crd_api(client);
    let mut states = Vec::new();
    for crd in super::bare(registry)? {
        let found = find(&api, name(&crd)).await?;
        states.push((name(&crd).to_owned(), found.as_ref().map(state_of)));
    }
    Ok(states)
}

/// Installs all CRDs; says through `say` what it does.
pub async fn install(
    client: &Client,
    registry: &[&'static Webhook],
    target: &Target,
    mut say: impl FnMut(String),
) -> Result<(), Error> {
    let api = crd_api(client);
    let given = target.ca_bundle.as_deref().and_then(Bundle::from_base64);
    let wanted = |crd: &Value, live: Option<&DynamicObject>| {
        let live = live.map(|live| serde_json::to_value(live).unwrap_or_default());
        merged(live.as_ref(), crd.clone(), given.as_ref(), now())
    };
    let mut work = Vec::new();
    // Everything that may be refused is looked at before anything is changed.
    for crd in super::installable(registry, target)? {
        let live = find(&api, name(&crd)).await?;
        let has_authority = target.inject_ca_from.is_some()
            || wanted(&crd, live.as_ref())
                .pointer(&format!("{CONVERSION_CLIENT}/caBundle"))
                .is_some();
        if super::versions(&crd).len() > 1 && !has_authority {
            return Err(Error::NoAuthority {
                plural: plural(&crd).to_owned(),
            });
        }
        work.push((crd, live));
    }
    suspend_legacy_release(client, &mut say).await?;
    for (crd, live) in work {
        let name = name(&crd);
        if let Some(live) = &live {
            name_unmanaged_release(client, live, &mut say).await?;
        }
        let verb = apply(&api, &crd, live, wanted).await?;
        let state = wait_until_served(&api, name).await?;
        say(format!(
            "{name}: {verb}, versions {}",
            state.versions.join(", ")
        ));
    }
    Ok(())
}

async fn find(api: &Api<DynamicObject>, name: &str) -> Result<Option<DynamicObject>, Error> {
    api.get_opt(name)
        .await
        .map_err(failed(format!("reading CRD {name}")))
}

/// A CRD of ours as it is applied over the live one: nothing narrowed, no authority lost. `now` is in seconds since
/// 1970.
fn merged(live: Option<&Value>, mut crd: Value, given: Option<&Bundle>, now: i64) -> Value {
    let Some(live) = live else {
        return crd;
    };
    let path = format!("{CONVERSION_CLIENT}/caBundle");
    let in_force = live
        .pointer(&path)
        .and_then(Value::as_str)
        .filter(|live| Bundle::from_base64(live).is_some());
    if let (Some(in_force), Some(client)) = (
        in_force,
        crd.pointer_mut(CONVERSION_CLIENT)
            .and_then(Value::as_object_mut),
    ) {
        let bundle = given
            .and_then(|given| extended(Some(in_force), given, now))
            .unwrap_or_else(|| in_force.to_owned());
        client.insert("caBundle".to_owned(), bundle.into());
    }
    let mut crd = widen::crd(live, crd);
    // What somebody writes in between is not overwritten, but read and merged again.
    if let (Some(version), Some(metadata)) = (
        live.pointer("/metadata/resourceVersion"),
        crd.get_mut("metadata").and_then(Value::as_object_mut),
    ) {
        metadata.insert("resourceVersion".to_owned(), version.clone());
    }
    crd
}

/// Applies a CRD over the live one; gives what became of it.
async fn apply(
    api: &Api<DynamicObject>,
    crd: &Value,
    mut live: Option<DynamicObject>,
    wanted: impl Fn(&Value, Option<&DynamicObject>) -> Value,
) -> Result<&'static str, Error> {
    let name = name(crd);
    for _ in 0..ATTEMPTS {
        let patch = Patch::Apply(wanted(crd, live.as_ref()));
        let parameters = PatchParams::apply(MANAGER).force();
        match api.patch(name, &parameters, &patch).await {
            Ok(applied) => {
                return Ok(match live {
                    None => "installed",
                    Some(live) if live.resource_version() == applied.resource_version() => {
                        "unchanged"
                    }
                    Some(_) => "updated",
                });
            }
            Err(error) if is_conflict(&error) => live = find(api, name).await?,
            Err(error) => return Err(failed(format!("applying CRD {name}"))(error)),
        }
    }
    Err(Error::Contended {
        name: name.to_owned(),
    })
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Suspends the HelmRelease of the legacy CRD where it exists: helm-controller neither uninstalls a suspended release
/// nor renders the CRD back to one version.
async fn suspend_legacy_release(
    client: &Client,
    say: &mut impl FnMut(String),
) -> Result<(), Error> {
    let (namespace, name) = LEGACY_RELEASE;
    let Some(release) = find_release(client, namespace, name).await? else {
        return Ok(());
    };
    if release.data.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
        say(format!("HelmRelease {namespace}/{name}: suspended already"));
        return Ok(());
    }
    let suspend = json!({"spec": {"suspend": true}});
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    release_api(client, namespace)
        .patch(name, &parameters, &Patch::Merge(&suspend))
        .await
        .map_err(failed(format!("suspending HelmRelease {namespace}/{name}")))?;
    say(format!(
        "HelmRelease {namespace}/{name}: suspended, so that deleting it does not uninstall the CRD and its objects"
    ));
    Ok(())
}

/// Names a CRD of a Helm release that Flux does not manage: nobody can be asked to suspend it.
async fn name_unmanaged_release(
    client: &Client,
    live: &DynamicObject,
    say: &mut impl FnMut(String),
) -> Result<(), Error> {
    let Some(release) = helm_release(live) else {
        return Ok(());
    };
    let (namespace, name) = release.split_once('/').unwrap_or(("default", &release));
    if find_release(client, namespace, name).await?.is_none() {
        say(format!(
            "{}: owned by Helm release {release}, and uninstalling that would delete it with all objects; detach it with\n    \
             kubectl --namespace {namespace} delete secrets --selector owner=helm,name={name}",
            live.name_any()
        ));
    }
    Ok(())
}

async fn wait_until_served(api: &Api<DynamicObject>, name: &str) -> Result<State, Error> {
    let poll = async {
        loop {
            let crd = api
                .get(name)
                .await
                .map_err(failed(format!("reading CRD {name}")))?;
            let state = state_of(&crd);
            if state.established {
                return Ok(state);
            }
            tokio::time::sleep(ESTABLISHED_POLL).await;
        }
    };
    match tokio::time::timeout(ESTABLISHED_TIME, poll).await {
        Ok(state) => state,
        Err(_) => {
            let crd = api
                .get(name)
                .await
                .map_err(failed(format!("reading CRD {name}")))?;
            let detail = crd
                .data
                .pointer("/status/conditions")
                .map(ToString::to_string)
                .unwrap_or_default();
            Err(Error::NotEstablished {
                name: name.to_owned(),
                detail,
            })
        }
    }
}

/// Takes the service out of the cluster's way: webhook configurations first, then the conversion. Every CRD and every
/// object stays.
pub async fn uninstall(
    client: &Client,
    registry: &[&'static Webhook],
    mut say: impl FnMut(String),
) -> Result<(), Error> {
    for (kind, plural) in CONFIGURATIONS {
        match configuration_api(client, kind, plural)
            .delete(MANAGER, &DeleteParams::default())
            .await
        {
            Ok(_) => say(format!("{kind} {MANAGER}: deleted")),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                say(format!("{kind} {MANAGER}: absent"));
            }
            Err(error) => return Err(failed(format!("deleting {kind} {MANAGER}"))(error)),
        }
    }
    let api = crd_api(client);
    for crd in super::bare(registry)? {
        let said = match stop_converting(&api, &crd).await? {
            Stopped::Absent => "absent".to_owned(),
            Stopped::NotConverted => "kept as it is".to_owned(),
            Stopped::Now => {
                let state = wait_until_served(&api, name(&crd)).await?;
                format!(
                    "conversion none, version {}; every object stays readable",
                    state.versions.join(", ")
                )
            }
        };
        say(format!("{}: {said}", name(&crd)));
    }
    Ok(())
}

/// What a CRD was like when its conversion was to be taken away.
enum Stopped {
    Absent,
    NotConverted,
    Now,
}

/// Takes the conversion from a CRD, and every version but the one that is stored.
async fn stop_converting(api: &Api<DynamicObject>, crd: &Value) -> Result<Stopped, Error> {
    let name = name(crd);
    for _ in 0..ATTEMPTS {
        let Some(live) = find(api, name).await? else {
            return Ok(Stopped::Absent);
        };
        if live.data.pointer("/spec/conversion/strategy") != Some(&json!("Webhook")) {
            return Ok(Stopped::NotConverted);
        }
        let live_value = serde_json::to_value(&live).unwrap_or_default();
        let mut plain = widen::crd(&live_value, crd.clone());
        // Only the storage version is readable without the service; its objects are stored in it.
        if let Some(versions) = plain
            .pointer_mut("/spec/versions")
            .and_then(Value::as_array_mut)
        {
            versions.retain(|version| version["storage"] == json!(true));
        }
        // No apply: that would leave a caBundle behind which another manager wrote, and strategy None forbids it.
        let replace = |path: [&str; 2], value: Value| {
            PatchOperation::Replace(ReplaceOperation {
                path: PointerBuf::from_tokens(path),
                value,
            })
        };
        let patch = Patch::<()>::Json(json_patch::Patch(vec![
            replace(
                ["metadata", "resourceVersion"],
                live.resource_version().into(),
            ),
            replace(["spec", "versions"], plain["spec"]["versions"].take()),
            replace(["spec", "conversion"], json!({"strategy": "None"})),
        ]));
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match api.patch(name, &parameters, &patch).await {
            Ok(_) => return Ok(Stopped::Now),
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(failed(format!("writing CRD {name}"))(error)),
        }
    }
    Err(Error::Contended {
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::pair::Authority;

    const NOW: i64 = 1_800_000_000;

    /// An authority that is good for so many seconds.
    fn bundle(life: i64) -> Bundle {
        let pem = Authority::make(NOW - 1000, NOW + life).unwrap();
        Bundle::from_pem(pem.certificate.as_bytes()).unwrap()
    }

    /// The `caBundle` that is applied over a live one.
    fn applied(live: Option<&str>, given: Option<&Bundle>) -> Option<String> {
        let target = Target {
            ca_bundle: given.map(Bundle::base64),
            ..Target::default()
        };
        let legacy = "cozystackresourcedefinitions";
        let crd = super::super::installable(webhooks::REGISTRY, &target)
            .unwrap()
            .into_iter()
            .find(|crd| plural(crd) == legacy)
            .unwrap();
        let mut on_cluster = crd.clone();
        on_cluster["metadata"]["resourceVersion"] = "7".into();
        let client = on_cluster
            .pointer_mut(CONVERSION_CLIENT)
            .and_then(Value::as_object_mut)
            .unwrap();
        client.remove("caBundle");
        if let Some(live) = live {
            client.insert("caBundle".to_owned(), live.into());
        }
        let merged = merged(Some(&on_cluster), crd, given, NOW);
        assert_eq!(merged["metadata"]["resourceVersion"], "7");
        merged
            .pointer(&format!("{CONVERSION_CLIENT}/caBundle"))
            .map(|bundle| bundle.as_str().unwrap().to_owned())
    }

    #[test]
    fn a_bundle_in_force_is_never_lost() {
        let (live, ours, old) = (bundle(1000), bundle(1000), bundle(-1));
        let text = live.base64();
        assert_eq!(applied(Some(&text), None), Some(text.clone()));
        assert_eq!(applied(Some(&text), Some(&live)), Some(text.clone()));
        assert_eq!(
            applied(Some(&text), Some(&ours)),
            Some(live.union(&ours, NOW).base64())
        );
        assert_eq!(applied(Some(&old.base64()), None), Some(old.base64()));
        assert_eq!(
            applied(Some(&old.base64()), Some(&ours)),
            Some(ours.base64())
        );
        // What trusts nobody is nothing in force.
        for nothing in [None, Some(""), Some("Cg==")] {
            assert_eq!(applied(nothing, None), None);
            assert_eq!(applied(nothing, Some(&ours)), Some(ours.base64()));
        }
    }
}
