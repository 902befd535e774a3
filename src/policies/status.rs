//! The status of policies: whether they compile, what they cost, how often they have denied.
//!
//! Whether a policy compiles is written by the leader alone: while two versions of this service run side by side they may
//! be of two minds, and would write in turns. Denials are counted where they happen, and added by every replica: nobody
//! else knows of them. Both look at the object as it is and replace its status only if it still is.

use super::{Denied, Held};
use crate::cluster::Caches;
use crate::server::answer::Service;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use webhooks::contract::{FIELD_MANAGER, Object};
use webhooks::kinds::PACKAGE_POLICIES;

/// Pause between two looks: denials come in bursts, and a status is written once for each.
const PAUSE: Duration = Duration::from_secs(3);
/// How often a status is tried that others write too; then it waits for the next look.
const ATTEMPTS: u32 = 5;
/// A request that takes longer is given up, and made again at the next look.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Longest message of a condition, in characters, as in the CRD.
const MESSAGE_MAX_CHARS: usize = 32_768;
/// Type of the condition.
const COMPILED: &str = "Compiled";

/// Keeps the status of all policies. Ends with the runtime.
pub async fn keep(client: Client, service: Arc<Service>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        write_all(&client, &service.caches, service.is_leading()).await;
    }
}

/// Writes what is not written yet.
pub async fn write_all(client: &Client, caches: &Caches, is_leading: bool) {
    let denied = caches.policies.take_denied();
    let held: BTreeMap<String, Held> = caches
        .policies
        .held()
        .into_iter()
        .map(|held| (held.policy.name.clone(), held))
        .collect();
    let objects = caches.cache(&PACKAGE_POLICIES.resource);
    let objects = objects.map(|cache| cache.objects()).unwrap_or_default();
    let now = SystemTime::now();
    for object in &objects {
        let said = held.get(&object.name).filter(|_| is_leading);
        let counted = denied.get(&object.name).copied();
        // Mostly there is nothing to write, and the cache knows that.
        if fresh(object, said, counted, now).is_none() {
            continue;
        }
        if let Err(error) = write(client, &object.name, said, counted, now).await {
            tracing::warn!(policy = object.name, %error, "status of a policy not written");
            if let Some(counted) = counted {
                caches.policies.give_back(&object.name, counted);
            }
        }
    }
}

async fn write(
    client: &Client,
    name: &str,
    said: Option<&Held>,
    counted: Option<Denied>,
    now: SystemTime,
) -> Result<(), kube::Error> {
    let resource = &PACKAGE_POLICIES.resource;
    let kind = GroupVersionKind::gvk(resource.group, resource.version, resource.kind);
    let kind = ApiResource::from_gvk_with_plural(&kind, resource.plural);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let late = || kube::Error::Service("no answer in time".into());
    let mut attempt = 1;
    loop {
        let found = tokio::time::timeout(REQUEST_TIME, api.get_opt(name));
        let Some(mut live) = found.await.map_err(|_| late())?? else {
            return Ok(());
        };
        let object = serde_json::to_value(&live).ok().and_then(Object::of);
        let status = object.and_then(|object| fresh(&object, said, counted, now));
        let Some(status) = status else {
            return Ok(());
        };
        if let Some(members) = live.data.as_object_mut() {
            members.insert("status".to_owned(), status);
        }
        let replaced = api.replace_status(name, &parameters, &live);
        match tokio::time::timeout(REQUEST_TIME, replaced)
            .await
            .map_err(|_| late())?
        {
            Err(kube::Error::Api(refused)) if refused.code == 409 && attempt < ATTEMPTS => {
                attempt += 1;
            }
            // It has gone meanwhile, and its status with it.
            Err(kube::Error::Api(refused)) if refused.code == 404 => return Ok(()),
            done => return done.map(|_| ()),
        }
    }
}

/// The status as it should be; none where it is. `said` is what the leader has compiled, `counted` is what is not in the
/// status yet.
fn fresh(
    object: &Object,
    said: Option<&Held>,
    counted: Option<Denied>,
    now: SystemTime,
) -> Option<Value> {
    let object = &object.value;
    let nothing = Map::new();
    let old = object.get("status").and_then(Value::as_object);
    let old = old.unwrap_or(&nothing);
    let mut new = old.clone();
    let generation = object.pointer("/metadata/generation");
    // What was compiled of another generation says nothing of this one.
    let said = said.filter(|held| Some(&json!(held.policy.generation)) == generation);
    if let Some(held) = said {
        let expressions: Vec<Value> = held
            .policy
            .expressions()
            .map(|one| json!({"path": one.path.to_string(), "estimatedCost": one.program.cost()}))
            .collect();
        let conditions = old.get("conditions").and_then(Value::as_array);
        let conditions = conditions.map(Vec::as_slice).unwrap_or_default();
        new.insert(
            "observedGeneration".to_owned(),
            held.policy.generation.into(),
        );
        new.insert("expressions".to_owned(), expressions.into());
        new.insert("conditions".to_owned(), compiled(held, conditions, now));
    }
    if let Some(counted) = counted {
        let before = old
            .get("denied")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let last = rfc3339(counted.last);
        let is_newer = |known: &str| known < last.as_str();
        let known = old.get("lastDenied").and_then(Value::as_str);
        new.insert(
            "denied".to_owned(),
            before.saturating_add(counted.count).into(),
        );
        if known.is_none_or(is_newer) {
            new.insert("lastDenied".to_owned(), last.into());
        }
    }
    (new != *old).then_some(Value::Object(new))
}

/// The conditions with ours among them; its time changes only with its status.
fn compiled(held: &Held, conditions: &[Value], now: SystemTime) -> Value {
    let is_ours = |condition: &Value| condition.get("type") == Some(&COMPILED.into());
    let (status, reason, message) = if held.violations.is_empty() {
        let count = held.policy.expressions().count();
        let cost = held.policy.cost();
        (
            "True",
            "Compiled",
            format!("{count} expressions, estimated to cost {cost} steps"),
        )
    } else {
        ("False", "CompilationFailed", held.violations.join("\n"))
    };
    let message: String = message.chars().take(MESSAGE_MAX_CHARS).collect();
    let mut conditions = conditions.to_vec();
    let known = conditions.iter().find(|condition| is_ours(condition));
    let since = known
        .filter(|known| known.get("status") == Some(&status.into()))
        .and_then(|known| known.get("lastTransitionTime"))
        .cloned();
    let ours = json!({
        "type": COMPILED, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since.unwrap_or_else(|| rfc3339(now).into()),
        "observedGeneration": held.policy.generation,
    });
    match conditions.iter_mut().find(|condition| is_ours(condition)) {
        Some(known) => *known = ours,
        None => conditions.push(ours),
    }
    conditions.into()
}

/// As Kubernetes writes times: whole seconds, UTC.
fn rfc3339(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(generation: i64, status: Value) -> Object {
        let mut object = json!({"metadata": {"name": "p", "uid": "u", "generation": generation},
            "spec": {"validations": [{"expression": "object.spec.x == 1"}]}});
        object["status"] = status;
        Object::of(object).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn denied(count: u64, seconds: u64) -> Denied {
        Denied {
            count,
            last: at(seconds),
        }
    }

    #[test]
    fn a_leader_says_whether_it_compiles() {
        let new = object(2, Value::Null);
        let held = Held::of(&new.value);
        let status = fresh(&new, Some(&held), None, at(60)).unwrap();
        assert_eq!(status["observedGeneration"], 2);
        assert_eq!(
            status["expressions"][0]["path"],
            "spec.validations[0].expression"
        );
        let condition = &status["conditions"][0];
        assert_eq!(
            (&condition["type"], &condition["status"]),
            (&json!("Compiled"), &json!("True"))
        );
        assert_eq!(condition["lastTransitionTime"], "1970-01-01T00:01:00Z");
        // Once written there is nothing more to write, and the time stays.
        let written = object(2, status.clone());
        assert_eq!(fresh(&written, Some(&held), None, at(120)), None);
        assert_eq!(fresh(&new, None, None, at(60)), None);
        // What was compiled before says nothing of what is there now.
        assert_eq!(
            fresh(&object(3, Value::Null), Some(&held), None, at(60)),
            None
        );
        let mut broken = object(2, status);
        broken.value["spec"]["validations"][0]["expression"] = "objct == 1".into();
        let held = Held::of(&broken.value);
        broken.value["status"]["conditions"]
            .as_array_mut()
            .unwrap()
            .insert(0, json!({"type": "Other", "status": "True"}));
        let status = fresh(&broken, Some(&held), None, at(180)).unwrap();
        assert_eq!(status["conditions"][0]["type"], "Other");
        let condition = &status["conditions"][1];
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&json!("False"), &json!("CompilationFailed"))
        );
        assert_eq!(condition["lastTransitionTime"], "1970-01-01T00:03:00Z");
        assert!(
            condition["message"]
                .as_str()
                .unwrap()
                .contains("line 1, column 1"),
            "{condition}"
        );
    }

    #[test]
    fn denials_are_added() {
        let first = fresh(&object(1, Value::Null), None, Some(denied(3, 60)), at(99)).unwrap();
        assert_eq!(
            first,
            json!({"denied": 3, "lastDenied": "1970-01-01T00:01:00Z"})
        );
        let second = fresh(&object(1, first.clone()), None, Some(denied(2, 30)), at(99)).unwrap();
        assert_eq!(
            second,
            json!({"denied": 5, "lastDenied": "1970-01-01T00:01:00Z"})
        );
        let third = fresh(&object(1, second), None, Some(denied(1, 90)), at(99)).unwrap();
        assert_eq!(
            third,
            json!({"denied": 6, "lastDenied": "1970-01-01T00:01:30Z"})
        );
    }
}
