//! `caBundle`s in webhook configurations and CRDs: written where something is missing, and nothing else is touched.

use super::bundle::{Bundle, extended};
use super::{ATTEMPTS, Error, Settings, failed, now};
use crate::crds::install::{CONFIGURATIONS, configuration_api, crd_api};
use crate::crds::{MANAGER, bare, name};
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, ReplaceOperation};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::Value;
use std::fmt;
use webhooks::contract::Webhook;

/// What became of one object.
enum Outcome {
    Absent,
    /// Nothing in it calls us.
    Elsewhere,
    Unchanged,
    /// So many bundles were written.
    Written(usize),
}

impl fmt::Display for Outcome {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Absent => write!(text, "absent"),
            Outcome::Elsewhere => write!(text, "does not call this service"),
            Outcome::Unchanged => write!(text, "unchanged"),
            Outcome::Written(1) => write!(text, "1 caBundle written"),
            Outcome::Written(count) => write!(text, "{count} caBundles written"),
        }
    }
}

/// Where in an object a `clientConfig` of ours stands, in tokens of a JSON pointer.
type Places = Vec<Vec<String>>;

/// Writes the bundle everywhere; says what became of each object.
pub(super) async fn all(
    client: &Client,
    registry: &[&'static Webhook],
    settings: &Settings,
    bundle: &Bundle,
    say: &mut impl FnMut(String),
) -> Result<(), Error> {
    for (kind, plural) in CONFIGURATIONS {
        let api = configuration_api(client, kind, plural);
        let what = format!("{kind} {MANAGER}");
        let find = |object: &Value| entries(object, &settings.namespace);
        let outcome = write(&api, MANAGER, &what, find, bundle).await?;
        say(format!("{what}: {outcome}"));
    }
    let api = crd_api(client);
    for crd in bare(registry)? {
        let what = format!("CustomResourceDefinition {}", name(&crd));
        let find = |object: &Value| conversion(object, settings);
        let outcome = write(&api, name(&crd), &what, find, bundle).await?;
        say(format!("{what}: {outcome}"));
    }
    Ok(())
}

/// The entries of a webhook configuration that call a Service of the namespace.
fn entries(object: &Value, namespace: &str) -> Places {
    let webhooks = object.get("webhooks").and_then(Value::as_array);
    let is_ours = |webhook: &Value| {
        webhook
            .pointer("/clientConfig/service/namespace")
            .is_some_and(|found| found == namespace)
    };
    webhooks
        .into_iter()
        .flatten()
        .enumerate()
        .filter(|(_, webhook)| is_ours(webhook))
        .map(|(index, _)| {
            vec![
                "webhooks".to_owned(),
                index.to_string(),
                "clientConfig".to_owned(),
            ]
        })
        .collect()
}

/// The conversion of a CRD, if it calls the conversion Service.
fn conversion(object: &Value, settings: &Settings) -> Places {
    let is =
        |pointer: &str, wanted: &str| object.pointer(pointer).is_some_and(|found| found == wanted);
    let service = "/spec/conversion/webhook/clientConfig/service";
    let is_ours = is("/spec/conversion/strategy", "Webhook")
        && is(&format!("{service}/namespace"), &settings.namespace)
        && is(&format!("{service}/name"), &settings.conversion_service);
    let place = ["spec", "conversion", "webhook", "clientConfig"].map(ToOwned::to_owned);
    if is_ours {
        vec![place.to_vec()]
    } else {
        Vec::new()
    }
}

/// The operations that bring the bundle to these places; empty when they have it.
fn operations(object: &Value, places: &Places, bundle: &Bundle, now: i64) -> Vec<PatchOperation> {
    places
        .iter()
        .filter_map(|place| {
            let path =
                PointerBuf::from_tokens(place.iter().map(String::as_str).chain(["caBundle"]));
            let live = object.pointer(path.as_str()).and_then(Value::as_str);
            let value = extended(live, bundle, now)?.into();
            Some(PatchOperation::Add(AddOperation { path, value }))
        })
        .collect()
}

async fn write(
    api: &Api<DynamicObject>,
    name: &str,
    what: &str,
    find: impl Fn(&Value) -> Places,
    bundle: &Bundle,
) -> Result<Outcome, Error> {
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    for _ in 0..ATTEMPTS {
        let Some(live) = api
            .get_opt(name)
            .await
            .map_err(failed(format!("reading {what}")))?
        else {
            return Ok(Outcome::Absent);
        };
        let places = find(&live.data);
        if places.is_empty() {
            return Ok(Outcome::Elsewhere);
        }
        let mut operations = operations(&live.data, &places, bundle, now());
        let count = operations.len();
        if count == 0 {
            return Ok(Outcome::Unchanged);
        }
        // A list has no keys in a JSON Patch: with its version, the object is still the one that was read.
        operations.push(PatchOperation::Replace(ReplaceOperation {
            path: PointerBuf::from_tokens(["metadata", "resourceVersion"]),
            value: live.resource_version().into(),
        }));
        let patch = Patch::<()>::Json(json_patch::Patch(operations));
        match api.patch(name, &parameters, &patch).await {
            Ok(_) => return Ok(Outcome::Written(count)),
            // Changed in between, deleted in between.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => return Err(failed(format!("writing {what}"))(error)),
        }
    }
    Err(Error::Contended {
        what: what.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::pair::Authority;
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    fn bundle() -> Bundle {
        let pem = Authority::make(NOW - 1, NOW + 1000).unwrap();
        Bundle::from_pem(pem.certificate.as_bytes()).unwrap()
    }

    #[test]
    fn only_entries_of_the_namespace_are_written() {
        let (ours, old) = (bundle(), bundle());
        let webhook = |namespace: &str, live: Option<&Bundle>| {
            json!({"clientConfig": {
                "service": {"namespace": namespace, "name": "n"},
                "caBundle": live.map(Bundle::base64),
            }})
        };
        let mut object = json!({"webhooks": [
            webhook("cozy-webhook", None),
            webhook("other", Some(&old)),
            {"clientConfig": {"url": "https://elsewhere"}},
            webhook("cozy-webhook", Some(&ours)),
            webhook("cozy-webhook", Some(&old)),
        ]});
        let places = entries(&object, "cozy-webhook");
        let found = operations(&object, &places, &ours, NOW);
        let mut expected = object.clone();
        expected["webhooks"][0]["clientConfig"]["caBundle"] = ours.base64().into();
        expected["webhooks"][4]["clientConfig"]["caBundle"] = old.union(&ours, NOW).base64().into();
        json_patch::patch(&mut object, &found).unwrap();
        assert_eq!(object, expected);
        assert!(operations(&object, &places, &ours, NOW).is_empty());
        assert!(entries(&json!({}), "cozy-webhook").is_empty());
    }

    #[test]
    fn only_a_conversion_by_our_service_is_written() {
        let settings = Settings {
            namespace: "ns".to_owned(),
            admission_service: "a".to_owned(),
            conversion_service: "c".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            extra_names: Vec::new(),
        };
        let crd = |strategy: &str, namespace: &str, name: &str| {
            json!({"spec": {"conversion": {"strategy": strategy, "webhook": {"clientConfig": {
                "service": {"namespace": namespace, "name": name},
            }}}}})
        };
        assert_eq!(conversion(&crd("Webhook", "ns", "c"), &settings).len(), 1);
        for other in [
            crd("None", "ns", "c"),
            crd("Webhook", "other", "c"),
            crd("Webhook", "ns", "a"),
            json!({"spec": {"conversion": {"strategy": "None"}}}),
        ] {
            assert!(conversion(&other, &settings).is_empty(), "{other}");
        }
    }
}
