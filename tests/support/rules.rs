//! Rules that exist only in tests: each misbehaves, or shows a part of the framework that no shipped rule uses yet.

use std::time::{Duration, Instant};
use webhooks::contract::companions::BY_PARENT;
use webhooks::contract::{
    Companions, Content, Declaration, Desired, Edit, FailurePolicy, Farewell, Fault, FieldPath,
    Mode, Mutate, Object, Operation, Path, Read, Request, Resource, Rule, Scope, Validate, Verdict,
    Violation, Webhook, Weight, World,
};
use webhooks::kinds::PACKAGE_SOURCES;

const WIDGET_RESOURCE: Resource = Resource {
    group: "test.io",
    version: "v1",
    plural: "widgets",
    kind: "Widget",
    namespaced: true,
};

pub static WIDGET: Resource = WIDGET_RESOURCE;

static WIDGETS: Read = Read {
    resource: WIDGET_RESOURCE,
    content: Content::Full,
    indexes: &[],
};

static SERVICES: Read = Read {
    resource: Resource {
        group: "",
        version: "v1",
        plural: "services",
        kind: "Service",
        namespaced: true,
    },
    content: Content::Metadata,
    indexes: &[&BY_PARENT],
};

const RULES: &[Rule] = &[Rule {
    resource: &WIDGET,
    versions: &["v1"],
    operations: &[Operation::Create, Operation::Update, Operation::Delete],
}];

const DECLARATION: Declaration = Declaration {
    id: "",
    summary: "A rule of the tests.",
    rules: RULES,
    scope: Scope::OutsideOurNamespace,
    names: &[],
    match_conditions: &[],
    failure_policy: FailurePolicy::Fail,
    timeout_seconds: 5,
    default_mode: Mode::Enforce,
    weight: Weight::Light,
    reads: &[],
    writes: &[],
    settings: &[],
    refusals: &[],
};

const NOTHING: Webhook = Webhook {
    declaration: DECLARATION,
    validate: None,
    mutate: None,
    convert: None,
    companions: None,
};

/// Does what `spec.do` says.
pub static OBEDIENT: Webhook = Webhook {
    declaration: Declaration {
        id: "obedient",
        ..DECLARATION
    },
    validate: Some(&Obedient),
    ..NOTHING
};
/// The same on the bounded pool.
pub static HEAVY: Webhook = Webhook {
    declaration: Declaration {
        id: "heavy",
        weight: Weight::Heavy,
        ..DECLARATION
    },
    validate: Some(&Obedient),
    ..NOTHING
};
/// Two labels, brought by two rules.
pub static LABELS: Webhook = Webhook {
    declaration: Declaration {
        id: "labels",
        ..DECLARATION
    },
    mutate: Some(&Label("one")),
    ..NOTHING
};
pub static MORE_LABELS: Webhook = Webhook {
    declaration: Declaration {
        id: "more-labels",
        reads: &[&WIDGETS],
        writes: &[&SERVICES],
        ..DECLARATION
    },
    mutate: Some(&Label("two")),
    companions: Some(&Companion),
    ..NOTHING
};

/// A label that it does not declare.
pub static STRAY_LABELS: Webhook = Webhook {
    declaration: Declaration {
        id: "stray-labels",
        ..DECLARATION
    },
    mutate: Some(&Label("three")),
    ..NOTHING
};

struct Obedient;

impl Validate for Obedient {
    fn validate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
        let object: serde_json::Value = match request.subject() {
            Some(raw) => raw.read().unwrap_or_default(),
            None => return Ok(()),
        };
        match object
            .pointer("/spec/do")
            .and_then(|what| what.as_str())
            .unwrap_or_default()
        {
            "panic" => panic!("as told"),
            "fault" => return Err(Fault::Internal("as told".to_owned())),
            "read" => {
                request.cluster.get(&PACKAGE_SOURCES, "", "x");
            }
            // Long work that looks at the deadline, as it must.
            "loop" => loop {
                request.deadline.check()?;
                std::thread::sleep(Duration::from_millis(5));
            },
            // Long work that does not.
            "sleep" => std::thread::sleep(Duration::from_millis(700)),
            "refuse" => {
                let spec = Path::ROOT.member("spec");
                verdict.refuse(Violation::invalid(
                    &spec.member("do"),
                    "refuse",
                    "must be something else",
                ));
                verdict.refuse(Violation::policy("by policy").insistable());
            }
            "policy" => verdict.refuse(Violation::policy("by policy").insistable()),
            "talk" => {
                for number in 0..100 {
                    verdict.warn(format!("{number}: {}", "x".repeat(200)));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

struct Label(&'static str);

impl Mutate for Label {
    fn mutate(&self, _: &Request<'_>, _: &mut Verdict) -> Result<Vec<Edit>, Fault> {
        Ok(vec![Edit::set(
            FieldPath::of(&["metadata", "labels"]).key(&format!("test.io/{}", self.0)),
            "yes",
        )])
    }

    fn pointers(&self) -> &'static [&'static str] {
        &[
            "/metadata/labels/test.io~1one",
            "/metadata/labels/test.io~1two",
        ]
    }
}

struct Companion;

impl Companions for Companion {
    fn parents(&self) -> &'static Read {
        &WIDGETS
    }

    fn reads(&self) -> &'static [&'static Read] {
        &[]
    }

    fn farewell(&self) -> Farewell {
        Farewell::Delete
    }

    fn companions(&self, parent: &Object, _: &World<'_>) -> Result<Option<Desired>, Fault> {
        let child = serde_json::json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": parent.name, "namespace": parent.namespace},
        });
        Ok(Some(Desired {
            children: vec![child],
            requeue_after: Some(Duration::from_secs(1)),
        }))
    }
}

/// How long something took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let done = work();
    (done, started.elapsed())
}
