//! The engine with a rule whose companions go with their parent, on a real API server and garbage collector: random
//! sequences end where the same facts end in any other order.

use crate::eventually_within;
use crate::support::plane::Plane;
use cozystack_webhook::cluster::{Caches, live};
use cozystack_webhook::companions::{self, lease::Election};
use cozystack_webhook::dispatch::Dispatcher;
use cozystack_webhook::server::answer::Service;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use webhooks::contract::companions::BY_PARENT;
use webhooks::contract::{
    Companions, Content, Declaration, Desired, FailurePolicy, Farewell, Fault, Mode, Object, Read,
    Resource, Scope, Settings, Webhook, Weight, World,
};

static FAMILIES: Read = Read {
    resource: Resource {
        group: "test.io",
        version: "v1",
        plural: "families",
        kind: "Family",
        namespaced: true,
    },
    content: Content::Full,
    indexes: &[],
};
static CONFIG_MAPS: Read = Read {
    resource: Resource {
        group: "",
        version: "v1",
        plural: "configmaps",
        kind: "ConfigMap",
        namespaced: true,
    },
    content: Content::Metadata,
    indexes: &[&BY_PARENT],
};
static RULE: Webhook = Webhook {
    declaration: Declaration {
        id: "family",
        summary: "Brings as many ConfigMaps as spec.count says, and one in another namespace.",
        rules: &[],
        scope: Scope::OutsideOurNamespace,
        names: &[],
        match_conditions: &[],
        failure_policy: FailurePolicy::Ignore,
        timeout_seconds: 5,
        default_mode: Mode::Enforce,
        weight: Weight::Light,
        reads: &[&FAMILIES],
        writes: &[&CONFIG_MAPS],
        settings: &[],
        refusals: &[],
    },
    validate: None,
    mutate: None,
    convert: None,
    companions: Some(&Family),
};
static REGISTRY: &[&Webhook] = &[&RULE];

struct Family;

impl Companions for Family {
    fn parents(&self) -> &'static Read {
        &FAMILIES
    }

    fn reads(&self) -> &'static [&'static Read] {
        &[]
    }

    fn farewell(&self) -> Farewell {
        Farewell::Delete
    }

    fn companions(&self, parent: &Object, _: &World<'_>) -> Result<Option<Desired>, Fault> {
        let spec = |member: &str| parent.value["spec"][member].clone();
        let child = |name: String, namespace: &str| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": namespace},
                "data": {"colour": spec("colour")},
            })
        };
        let mut children: Vec<Value> = (0..spec("count").as_u64().unwrap_or_default())
            .map(|number| child(format!("{}-{number}", parent.name), &parent.namespace))
            .collect();
        children.push(child(format!("{}-far", parent.name), "elsewhere"));
        Ok(Some(Desired {
            children,
            requeue_after: None,
        }))
    }
}

/// One replica, in this process.
struct Replica {
    task: JoinHandle<()>,
    runtime: Option<Runtime>,
}

impl Replica {
    fn start(plane: &Plane) -> Replica {
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(plane.client());
        let task = {
            let _inside = runtime.enter();
            let caches = Arc::new(Caches::of(REGISTRY));
            live::follow(&client, &caches);
            let dispatcher = Dispatcher::new(REGISTRY, Settings::default());
            let service = Arc::new(Service::new(dispatcher, caches));
            // The same name each time: a replica that comes back need not wait for its own Lease.
            let election = Arc::new(Election::new(client.clone(), "default", "replica"));
            tokio::spawn(companions::run(
                client,
                election,
                "replica".to_owned(),
                REGISTRY,
                service,
            ))
        };
        Replica {
            task,
            runtime: Some(runtime),
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // As a crash: nothing is finished, nothing given back.
        self.task.abort();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A small generator: the sequences are random, and the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }
}

const COLOURS: [&str; 3] = ["red", "green", "blue"];

pub fn converges(assets: &Path) {
    let mut plane = Plane::start(assets);
    plane.start_controllers();
    plane.apply(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: families.test.io}
spec:
  group: test.io
  scope: Namespaced
  names: {kind: Family, listKind: FamilyList, plural: families, singular: family}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
",
    );
    plane.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/families.test.io",
    ]);
    for namespace in ["home", "elsewhere"] {
        plane.kubectl(&["create", "namespace", namespace]);
    }
    let mut dice = Dice(20_261_124);
    let mut replica = Some(Replica::start(&plane));
    // What must be there in the end: the families, and the objects that are somebody else's by now.
    let mut families: BTreeMap<String, (usize, &str)> = BTreeMap::new();
    let mut adopted: BTreeMap<(String, String), Value> = BTreeMap::new();
    for _ in 0..60 {
        let name = format!("f{}", dice.roll(4));
        match dice.roll(10) {
            0..=4 => {
                let family = (dice.roll(4), COLOURS[dice.roll(3)]);
                plane.apply(&format!(
                    "{{apiVersion: test.io/v1, kind: Family, metadata: {{name: {name}, namespace: home}}, spec: {{count: {}, colour: {}}}}}",
                    family.0, family.1
                ));
                families.insert(name, family);
            }
            5 | 6 => {
                plane.kubectl(&[
                    "delete",
                    "families",
                    "-n",
                    "home",
                    &name,
                    "--ignore-not-found",
                ]);
                families.remove(&name);
            }
            // Somebody takes an object for his own: Helm's mark, or a field that he changes.
            7 => {
                let ours = plane.kubectl(&[
                    "get",
                    "configmaps",
                    "-n",
                    "home",
                    "-l",
                    "app.kubernetes.io/managed-by=cozystack-webhook",
                    "-o",
                    "name",
                ]);
                let ours: Vec<&str> = ours
                    .lines()
                    .filter_map(|line| line.strip_prefix("configmap/"))
                    .filter(|name| !adopted.contains_key(&("home".to_owned(), (*name).to_owned())))
                    .collect();
                if ours.is_empty() {
                    continue;
                }
                let child = ours[dice.roll(ours.len())].to_owned();
                let key = ("home".to_owned(), child.clone());
                let patch = if dice.roll(2) == 0 {
                    r#"{"metadata":{"labels":{"app.kubernetes.io/managed-by":"Helm"}}}"#
                } else {
                    r#"{"data":{"colour":"mine"}}"#
                };
                let (success, _, _) = plane.kubectl_with(
                    &[
                        "patch",
                        "configmap",
                        "-n",
                        "home",
                        &child,
                        "--type=merge",
                        "-p",
                        patch,
                    ],
                    "",
                );
                if success {
                    // Whether the engine lets go before the parent goes is a race that either may win; here it is
                    // given the time when it runs.
                    if replica.is_none() {
                        replica = Some(Replica::start(&plane));
                    }
                    eventually_within(60, "it is let go", || {
                        let (success, text, _) = plane.kubectl_with(
                            &[
                                "get",
                                "configmap",
                                "-n",
                                "home",
                                &child,
                                "-o",
                                "json",
                                "--show-managed-fields",
                            ],
                            "",
                        );
                        !success || !text.contains("\"manager\": \"cozystack-webhook\"")
                    });
                    let (success, text, _) = plane.kubectl_with(
                        &["get", "configmap", "-n", "home", &child, "-o", "json"],
                        "",
                    );
                    if success {
                        adopted.insert(key, serde_json::from_str(&text).unwrap());
                    }
                }
            }
            8 => {
                plane.kubectl(&[
                    "delete",
                    "configmap",
                    "-n",
                    "elsewhere",
                    &format!("{name}-far"),
                    "--ignore-not-found",
                ]);
            }
            _ => {
                // It crashes, comes back, or stays away for a while.
                replica = if replica.is_some() {
                    None
                } else {
                    Some(Replica::start(&plane))
                };
            }
        }
        if dice.roll(3) == 0 {
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    let _replica = replica.unwrap_or_else(|| Replica::start(&plane));

    let mut expected: BTreeMap<(String, String), String> = BTreeMap::new();
    for (name, (count, colour)) in &families {
        for number in 0..*count {
            expected.insert(
                ("home".to_owned(), format!("{name}-{number}")),
                (*colour).to_owned(),
            );
        }
        expected.insert(
            ("elsewhere".to_owned(), format!("{name}-far")),
            (*colour).to_owned(),
        );
    }
    for (key, object) in &adopted {
        let colour = object["data"]["colour"].as_str().unwrap_or_default();
        expected.insert(key.clone(), colour.to_owned());
    }
    let found = || -> BTreeMap<(String, String), String> {
        let list = plane.get(&["configmaps", "-A"]);
        let maps = list["items"].as_array().unwrap().clone();
        maps.into_iter()
            .filter(|map| map["data"]["colour"].is_string())
            .map(|map| {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                (
                    (
                        text(&map["metadata"]["namespace"]),
                        text(&map["metadata"]["name"]),
                    ),
                    text(&map["data"]["colour"]),
                )
            })
            .collect()
    };
    let end = std::time::Instant::now() + Duration::from_secs(90);
    while found() != expected {
        assert!(
            std::time::Instant::now() < end,
            "found {:#?}, expected {expected:#?}",
            found()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    // What is somebody else's was not touched since.
    for ((namespace, name), before) in &adopted {
        let now = plane.get(&["configmap", "-n", namespace, name]);
        assert_eq!(&now, before, "{namespace}/{name}");
        assert!(
            now["metadata"]["ownerReferences"]
                .as_array()
                .is_none_or(Vec::is_empty)
        );
    }
    println!(
        "{} families, {} children, {} taken over",
        families.len(),
        expected.len(),
        adopted.len()
    );
    assert!(!adopted.is_empty() && !families.is_empty());
}
