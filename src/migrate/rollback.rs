//! The way back: what was made is taken away, what was changed is as it was.

use super::MANAGER;
use super::apply::{api, write_over};
use super::backup::Backup;
use super::plan::OVERWRITTEN;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{
    Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
    PropagationPolicy,
};
use kube::core::ApiResource;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use webhooks::contract::FIELD_MANAGER;
use webhooks::contract::companions::{PARENT_ANNOTATION, split_parent_key};
use webhooks::migration::Reference;
use webhooks::settings;

/// The bridge learns of its setting within 2 s; what it makes again until then is taken away again.
const SETTINGS_TIME: Duration = Duration::from_secs(3);
/// How long an object may take to go.
const GONE_TIME: Duration = Duration::from_secs(30);
const GONE_POLL: Duration = Duration::from_millis(100);
/// How often what comes again is taken away.
const ROUNDS_MAX: usize = 5;
/// Key of the setting that rests the bridge.
const BRIDGE_KEY: &str = "cozystack-resource-definition.bridge";

/// How often an object is read again because somebody else writes it.
const ATTEMPTS: usize = 10;

/// A way back that could not be gone to its end; it may be gone again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refuses, or is not there.
    #[error("{what} {} {}: {error}", reference.kind, reference.name)]
    Api {
        /// What was being done.
        what: &'static str,
        /// To which object.
        reference: Reference,
        /// Why not.
        error: Box<kube::Error>,
    },
    /// An object does not go.
    #[error("{} {}: it does not go (finalizers?)", .0.kind, .0.name)]
    Stays(Reference),
    /// Somebody makes an object again and again.
    #[error("{} {}: somebody makes it again each time that it is taken away", .0.kind, .0.name)]
    ComesAgain(Reference),
    /// Somebody writes an object again and again.
    #[error("{} {}: somebody writes it each time that it is to be put back", .0.kind, .0.name)]
    Contended(Reference),
}

fn failed(what: &'static str, reference: &Reference) -> impl FnOnce(kube::Error) -> Error {
    let reference = reference.clone();
    move |error| Error::Api {
        what,
        reference,
        error: Box::new(error),
    }
}

/// Goes back: what was changed is as it was before, unless others have changed it since; what was made is taken away.
/// `namespace` is that of the installation, whose bridge rests from then on. Gives what could not be taken back.
///
/// # Errors
/// When the API server cannot be asked at all.
pub async fn rollback(
    client: &Client,
    backup: &Backup,
    namespace: &str,
    mut say: impl FnMut(String),
) -> Result<Vec<Error>, Error> {
    let mut made = backup.made().iter();
    let has_definitions = made.any(|made| made.kind == "ApplicationDefinition");
    let has_bridge = has_definitions && has_leader(client, namespace).await?;
    if has_definitions {
        rest_bridge(client, namespace, &mut say).await?;
    }
    let mut errors = Vec::new();
    for stored in backup.items() {
        let reference = Reference::to(stored);
        let patch = backup.change(&reference);
        if let Err(error) = restore(client, &reference, stored, patch, &mut say).await {
            errors.push(error);
        }
    }
    if !errors.is_empty() {
        // What was made tells what else there is to take back.
        return Ok(errors);
    }
    for round in 0.. {
        let mut taken = None;
        for reference in backup.made() {
            match take_away(client, reference, round == 0, &mut say).await {
                Ok(true) => {
                    say(format!("{} {}: taken away", reference.kind, reference.name));
                    taken = Some(reference);
                }
                Ok(false) => {}
                Err(error) => errors.push(error),
            }
        }
        match taken {
            Some(reference) if round == ROUNDS_MAX => {
                errors.push(Error::ComesAgain(reference.clone()));
                break;
            }
            // Whoever makes them again may not have heard of it yet.
            Some(_) if has_bridge => tokio::time::sleep(SETTINGS_TIME).await,
            Some(_) => {}
            None => break,
        }
    }
    Ok(errors)
}

/// Whether some replica of the service has led there, and may still do.
async fn has_leader(client: &Client, namespace: &str) -> Result<bool, Error> {
    let lease = Reference {
        api_version: "coordination.k8s.io/v1".to_owned(),
        kind: "Lease".to_owned(),
        namespace: namespace.to_owned(),
        name: FIELD_MANAGER.to_owned(),
    };
    let found = api(client, &lease).get_opt(FIELD_MANAGER).await;
    let found = found.map_err(failed("reading", &lease))?;
    Ok(found.is_some())
}

/// Switches the bridge off: it would make again what is taken away.
async fn rest_bridge(
    client: &Client,
    namespace: &str,
    say: &mut impl FnMut(String),
) -> Result<(), Error> {
    let reference = Reference {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: namespace.to_owned(),
        name: settings::NAME.to_owned(),
    };
    let patch = json!({"data": {BRIDGE_KEY: "false"}});
    let configs = api(client, &reference);
    let mut written = configs
        .patch(&reference.name, &parameters(), &Patch::Merge(&patch))
        .await;
    if matches!(&written, Err(kube::Error::Api(status)) if status.code == 404) {
        // Settings that nobody has changed are in no ConfigMap.
        let mut config = DynamicObject::new(&reference.name, &ApiResource::erase::<ConfigMap>(&()));
        config.data = patch;
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        written = configs.create(&parameters, &config).await;
    }
    match written {
        Ok(_) => {
            say(format!(
                "ConfigMap {namespace}/{}: {BRIDGE_KEY} is \"false\" now: the bridge rests",
                reference.name
            ));
            Ok(())
        }
        // Without an installation there is no bridge.
        Err(kube::Error::Api(status)) if status.code == 404 => {
            say(format!(
                "no namespace {namespace}: if the service is installed elsewhere its bridge makes the definitions again; say where with --namespace"
            ));
            Ok(())
        }
        Err(error) => Err(failed("resting the bridge by", &reference)(error)),
    }
}

fn parameters() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Puts one object back: the fields that were written, where they still hold what was written.
async fn restore(
    client: &Client,
    reference: &Reference,
    stored: &Value,
    patch: Option<&Value>,
    say: &mut impl FnMut(String),
) -> Result<(), Error> {
    let api = api(client, reference);
    for _ in 0..ATTEMPTS {
        let live = api.get_opt(&reference.name).await;
        let live = live.map_err(failed("reading", reference))?;
        let Some(mut live) = live.and_then(|live| serde_json::to_value(live).ok()) else {
            return make_again(&api, reference, stored, say).await;
        };
        if let Some(members) = live.as_object_mut() {
            members.insert(
                "apiVersion".to_owned(),
                reference.api_version.clone().into(),
            );
            members.insert("kind".to_owned(), reference.kind.clone().into());
        }
        let mut after = live.clone();
        let mut kept = Vec::new();
        if reference.name == OVERWRITTEN && reference.kind == "ConfigMap" {
            // The new platform renders its own.
            let data = stored.get("data").cloned().unwrap_or_default();
            if let Some(members) = after.as_object_mut() {
                members.insert("data".to_owned(), data);
            }
        } else if let Some(patch) = patch {
            revert(&mut after, stored, patch, &mut Vec::new(), &mut kept);
        }
        for field in kept {
            say(format!(
                "{} {}: {field} has been changed since: it stays",
                reference.kind, reference.name
            ));
        }
        if after == live {
            return Ok(());
        }
        match write_over(&api, &reference.name, &live, &after).await {
            Ok(_) => {
                say(format!("{} {}: as it was", reference.kind, reference.name));
                return Ok(());
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(failed("restoring", reference)(error)),
        }
    }
    Err(Error::Contended(reference.clone()))
}

/// Legacy definitions and the configuration are made again; what tenants or the platform have deleted is theirs to
/// delete.
async fn make_again(
    api: &Api<DynamicObject>,
    reference: &Reference,
    stored: &Value,
    say: &mut impl FnMut(String),
) -> Result<(), Error> {
    if !matches!(
        reference.kind.as_str(),
        "CozystackResourceDefinition" | "ConfigMap"
    ) {
        say(format!(
            "{} {}: somebody has deleted it since: it is not made again",
            reference.kind, reference.name
        ));
        return Ok(());
    }
    let object: DynamicObject = serde_json::from_value(stored.clone())
        .map_err(|error| failed("reading", reference)(kube::Error::SerdeError(error)))?;
    let parameters = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let made = api.create(&parameters, &object).await;
    made.map_err(failed("making again", reference))?;
    say(format!("{} {}: made again", reference.kind, reference.name));
    Ok(())
}

/// Takes a patch back from `live`, field by field, where it still holds what was written; `kept` are the fields that
/// others have changed since.
fn revert(
    live: &mut Value,
    before: &Value,
    patch: &Value,
    place: &mut Vec<String>,
    kept: &mut Vec<String>,
) {
    let (Some(members), Some(patch)) = (live.as_object_mut(), patch.as_object()) else {
        return;
    };
    for (name, written) in patch {
        let was = before.get(name);
        place.push(name.clone());
        match members.get_mut(name) {
            Some(now @ Value::Object(_)) if written.is_object() => {
                revert(now, was.unwrap_or(&Value::Null), written, place, kept);
                let is_empty = now.as_object().is_some_and(serde_json::Map::is_empty);
                if is_empty && was.is_none() {
                    members.remove(name);
                }
            }
            now => {
                let is_as_written = match &now {
                    None => written.is_null(),
                    Some(now) => **now == *written,
                };
                let is_as_before = now.as_deref() == was;
                match was {
                    Some(was) if is_as_written => {
                        members.insert(name.clone(), was.clone());
                    }
                    None if is_as_written => {
                        members.remove(name);
                    }
                    _ if is_as_before => {}
                    _ => kept.push(place.join(".")),
                }
            }
        }
        place.pop();
    }
}

async fn has_legacy(client: &Client, name: &str) -> Result<bool, Error> {
    let legacy = Reference {
        api_version: "cozystack.io/v1alpha1".to_owned(),
        kind: "CozystackResourceDefinition".to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    };
    match api(client, &legacy).get_opt(name).await {
        // Neither is there without the kind.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        found => Ok(found.map_err(failed("reading", &legacy))?.is_some()),
    }
}

/// Whether there was something to take away. What somebody else has made in the meantime stays, and so does what hangs
/// on what goes: a Package would take its releases along.
async fn take_away(
    client: &Client,
    reference: &Reference,
    is_first: bool,
    say: &mut impl FnMut(String),
) -> Result<bool, Error> {
    let api = api(client, reference);
    let live = match api.get_opt(&reference.name).await {
        // The kind itself may be gone.
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        live => live.map_err(failed("reading", reference))?,
    };
    let is_ours = |live: &DynamicObject| {
        let mut entries = live.metadata.managed_fields.iter().flatten();
        entries.any(|entry| {
            let manager = entry.manager.as_deref();
            manager == Some(MANAGER) || manager == Some(FIELD_MANAGER)
        })
    };
    let Some(live) = live.filter(is_ours) else {
        return Ok(false);
    };
    // The last that is left of a definition is kept, whoever has deleted the legacy one.
    let annotations = live.metadata.annotations.iter().flatten();
    let mut parents = annotations.filter(|(key, _)| *key == PARENT_ANNOTATION);
    if let Some((_, parent)) = parents.next()
        && let Some((_, _, name)) = split_parent_key(parent)
        && !has_legacy(client, name).await?
    {
        if is_first {
            say(format!(
                "{} {}: there is no legacy definition {name} any more: it stays",
                reference.kind, reference.name
            ));
        }
        return Ok(false);
    }
    let uid = live.metadata.uid;
    let parameters = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        preconditions: Some(Preconditions {
            uid: uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(&reference.name, &parameters).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(false),
        deleted => drop(deleted.map_err(failed("taking away", reference))?),
    }
    // The garbage collector has to let go of what hangs on it first.
    let end = Instant::now() + GONE_TIME;
    loop {
        let live = api.get_opt(&reference.name).await;
        let live = live.map_err(failed("reading", reference))?;
        if live.is_none_or(|live| live.metadata.uid != uid) {
            return Ok(true);
        }
        if Instant::now() > end {
            return Err(Error::Stays(reference.clone()));
        }
        tokio::time::sleep(GONE_POLL).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::pedantic, clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_others_have_changed_since_stays() {
        let before = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"suspend": false, "values": {"x": 1}}});
        let patch = json!({"metadata": {"labels": {"kind": "K"}}, "spec": {"suspend": true, "chart": null, "new": {"y": {"z": 1}}}});
        for (live, after, kept) in [
            (
                json!({"metadata": {"labels": {"a": "1", "kind": "K"}}, "spec": {"suspend": true, "values": {"x": 2}, "new": {"y": {"z": 1}}}}),
                json!({"metadata": {"labels": {"a": "1"}}, "spec": {"suspend": false, "values": {"x": 2}}}),
                vec![],
            ),
            (
                json!({"metadata": {"labels": {"kind": "Other"}}, "spec": {"suspend": false, "chart": {"new": 1}, "new": {"y": {"z": 1, "more": 2}}}}),
                json!({"metadata": {"labels": {"kind": "Other"}}, "spec": {"suspend": false, "chart": {"new": 1}, "new": {"y": {"more": 2}}}}),
                vec!["metadata.labels.kind", "spec.chart"],
            ),
            (before.clone(), before.clone(), vec![]),
        ] {
            let (mut reverted, mut found) = (live.clone(), Vec::new());
            revert(&mut reverted, &before, &patch, &mut Vec::new(), &mut found);
            assert_eq!(reverted, after, "{live}");
            assert_eq!(found, kept, "{live}");
        }
        // What was removed comes back.
        let before = json!({"spec": {"chart": {"name": "x"}}});
        let (mut live, mut kept) = (json!({"spec": {"chartRef": 1}}), Vec::new());
        let patch = json!({"spec": {"chart": null, "chartRef": 1}});
        revert(&mut live, &before, &patch, &mut Vec::new(), &mut kept);
        assert_eq!((live, kept), (before, vec![]));
    }
}
