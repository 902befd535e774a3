//! Legacy definitions as ApplicationDefinitions, by the bridge's own function, as the service would make them.

use crate::cluster::Caches;
use serde_json::Value;
use std::collections::BTreeMap;
use webhooks::REGISTRY;
use webhooks::contract::companions::{desired, parent_key, written};
use webhooks::contract::{Object, Settings, Standing, World};
use webhooks::cozystack_resource_definition::WEBHOOK;
use webhooks::migration::{Change, Finding, Plan, Reference, Snapshot, Step, Weight};

/// What the bridge would write, and what it would apply for that: its own fields, not those of others.
#[must_use]
pub fn plan(snapshot: &Snapshot, settings: &Settings) -> (Plan, BTreeMap<Reference, Value>) {
    let (mut plan, mut applied) = (Plan::default(), BTreeMap::new());
    let Some(companions) = WEBHOOK.companions else {
        return (plan, applied);
    };
    let caches = around(snapshot);
    let declaration = &WEBHOOK.declaration;
    let world = World {
        cluster: &caches,
        settings: settings.of(declaration),
    };
    for legacy in snapshot.all("cozystack.io", "CozystackResourceDefinition") {
        let about = Reference::to(legacy);
        let finding = |weight, text: String| Finding {
            weight,
            about: about.clone(),
            field: String::new(),
            text,
        };
        let Some(parent) = Object::of(legacy.clone()) else {
            continue;
        };
        let children = match desired(declaration, companions, &parent, &world) {
            Ok(Some(desired)) => desired.children,
            Ok(None) => {
                let text = "the bridge is switched off for it: it will be lost when upstream's migration deletes it";
                plan.findings
                    .push(finding(Weight::Decision, text.to_owned()));
                continue;
            }
            Err(fault) => {
                plan.findings
                    .push(finding(Weight::Decision, fault.to_string()));
                continue;
            }
        };
        let key = parent_key(declaration.id, &parent.namespace, &parent.name);
        for child in children {
            let child_is = Reference::to(&child);
            let Some(read) = written(declaration, &child) else {
                continue;
            };
            let live = snapshot.get(
                read.resource.group,
                read.resource.kind,
                &child_is.namespace,
                &child_is.name,
            );
            match live {
                None => {
                    plan.changes.push(Change {
                        step: Step::Definitions,
                        before: None,
                        after: child.clone(),
                        why: format!(
                            "takes the place of {} {}, which upstream's migration deletes",
                            about.kind, about.name
                        ),
                    });
                    applied.insert(child_is, child);
                }
                Some(live) if is_ours(live, &key) => {
                    let after = laid_over(live, &child);
                    if after != *live {
                        plan.changes.push(Change {
                            step: Step::Definitions,
                            before: Some(live.clone()),
                            after,
                            why: format!("is behind {} {}", about.kind, about.name),
                        });
                        applied.insert(child_is, child);
                    }
                }
                Some(_) => plan.findings.push(Finding {
                    weight: Weight::Note,
                    about: child_is,
                    field: String::new(),
                    text: format!(
                        "was made by somebody else, or has been taken over: it stays as it is, whatever {} says",
                        about.kind
                    ),
                }),
            }
        }
    }
    (plan, applied)
}

/// Whether the bridge may still write it: nobody has taken it over.
fn is_ours(live: &Value, key: &str) -> bool {
    let object = Object::of(live.clone());
    Standing::of(object.as_ref(), key) == Standing::Ours
}

/// The live object with what is applied in its place: maps are merged, everything else is replaced.
fn laid_over(live: &Value, applied: &Value) -> Value {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) => {
            let mut members = live.clone();
            for (name, value) in applied {
                let merged = match live.get(name) {
                    Some(known) => laid_over(known, value),
                    None => value.clone(),
                };
                members.insert(name.clone(), merged);
            }
            Value::Object(members)
        }
        _ => applied.clone(),
    }
}

/// What the bridge looks up.
pub(super) fn around(snapshot: &Snapshot) -> Caches {
    let caches = Caches::of(REGISTRY);
    for (group, kind) in [
        ("cozystack.io", "CozystackResourceDefinition"),
        ("cozystack.io", "ApplicationDefinition"),
        ("cozystack.io", "PackageSource"),
        ("cozystack.io", "Package"),
        ("source.toolkit.fluxcd.io", "HelmChart"),
    ] {
        for object in snapshot.all(group, kind) {
            if let Some(object) = Object::of(object.clone()) {
                caches.put(group, kind, object);
            }
        }
    }
    caches.settle();
    caches
}
