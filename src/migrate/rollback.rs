//! The way back: what was made is taken away, what was changed is as it was.

use super::apply::api;
use super::backup::{Backup, applicable};
use super::{MANAGER, merge_patch};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{
    DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use kube::core::ApiResource;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use webhooks::contract::FIELD_MANAGER;
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
}

fn failed(what: &'static str, reference: &Reference) -> impl FnOnce(kube::Error) -> Error {
    let reference = reference.clone();
    move |error| Error::Api {
        what,
        reference,
        error: Box::new(error),
    }
}

/// Goes back to what the backup holds; `namespace` is that of the installation, whose bridge rests from then on.
///
/// # Errors
/// When something could not be taken back; running again goes on.
pub async fn rollback(
    client: &Client,
    backup: &Backup,
    namespace: &str,
    mut say: impl FnMut(String),
) -> Result<(), Error> {
    let mut made = backup.made().iter();
    let has_definitions = made.any(|made| made.kind == "ApplicationDefinition");
    let has_bridge = has_definitions && has_leader(client, namespace).await?;
    if has_definitions {
        rest_bridge(client, namespace, &mut say).await?;
    }
    for stored in backup.items() {
        restore(client, &Reference::to(stored), stored, &mut say).await?;
    }
    for round in 0.. {
        let mut taken = None;
        for reference in backup.made() {
            if take_away(client, reference).await? {
                say(format!("{} {}: taken away", reference.kind, reference.name));
                taken = Some(reference);
            }
        }
        match taken {
            None => break,
            Some(reference) if round == ROUNDS_MAX => {
                return Err(Error::ComesAgain(reference.clone()));
            }
            // Whoever makes them again may not have heard of it yet.
            Some(_) if has_bridge => tokio::time::sleep(SETTINGS_TIME).await,
            Some(_) => {}
        }
    }
    Ok(())
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
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(failed("resting the bridge by", &reference)(error)),
    }
}

fn parameters() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

async fn restore(
    client: &Client,
    reference: &Reference,
    stored: &Value,
    say: &mut impl FnMut(String),
) -> Result<(), Error> {
    let api = api(client, reference);
    let live = api.get_opt(&reference.name).await;
    let live = live.map_err(failed("reading", reference))?;
    let Some(live) = live.and_then(|live| serde_json::to_value(live).ok()) else {
        let object: DynamicObject = serde_json::from_value(stored.clone())
            .map_err(|error| failed("reading", reference)(kube::Error::SerdeError(error)))?;
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let made = api.create(&parameters, &object).await;
        made.map_err(failed("making again", reference))?;
        say(format!("{} {}: made again", reference.kind, reference.name));
        return Ok(());
    };
    let patch = merge_patch(&applicable(&live), stored);
    if patch.is_null() {
        return Ok(());
    }
    let patched = api
        .patch(&reference.name, &parameters(), &Patch::Merge(&patch))
        .await;
    patched.map_err(failed("restoring", reference))?;
    say(format!("{} {}: as it was", reference.kind, reference.name));
    Ok(())
}

/// Whether there was something to take away. What somebody else has made in the meantime stays, and so does what hangs
/// on what goes: a Package would take its releases along.
async fn take_away(client: &Client, reference: &Reference) -> Result<bool, Error> {
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
