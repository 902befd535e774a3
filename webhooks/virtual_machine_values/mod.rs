//! Refuses values of virtual machines that their chart or the API server would refuse later, or of which the chart would
//! do the opposite, for the tenants who write them. Warns of a change that fails for ever until a Service is deleted.

mod checks;

use crate::application_definition::{BY_KIND, DEFINITIONS};
use crate::contract::companions::{PARENT_ANNOTATION, is_marked_by_helm};
use crate::contract::verdict::WARNING_MAX_CHARS;
use crate::contract::{
    Declaration, FailurePolicy, Fault, Json, Mode, Operation, Refusal, Request, Rule, Scope,
    Validate, Verdict, Webhook, Weight,
};
use crate::cozystack_resource_definition::LEGACY_DEFINITIONS;
use crate::kinds::{APPLICATION_KIND_LABEL, HELM_RELEASES, IS_AN_APPLICATION, SERVICES};
use crate::machines::{self, External};
use crate::schema;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

const fn refusal(field: &'static str, says: &'static str, fix: &'static str) -> Refusal {
    Refusal { field, says, fix }
}

/// The folder.
pub static WEBHOOK: Webhook = Webhook {
    declaration: Declaration {
        id: "virtual-machine-values",
        summary: "Checks the values of virtual machines for what fails, or turns into the opposite, in their chart.",
        rules: &[Rule {
            resource: &HELM_RELEASES.resource,
            // Whatever Flux serves: the fields that are read are the same in all of them.
            versions: &["v2", "v2beta2", "v2beta1"],
            operations: &[Operation::Create, Operation::Update],
        }],
        scope: Scope::OutsideOurNamespace,
        names: &[],
        match_conditions: &[IS_AN_APPLICATION],
        // The kind is Flux's, and the values of all applications go through it.
        failure_policy: FailurePolicy::Ignore,
        timeout_seconds: 5,
        // What is refused never works.
        default_mode: Mode::Enforce,
        weight: Weight::Light,
        reads: &[&SERVICES, &DEFINITIONS, &LEGACY_DEFINITIONS],
        writes: &[],
        settings: &[],
        refusals: &[&REFUSALS],
    },
    validate: Some(&MachineValues),
    mutate: None,
    convert: None,
    companions: None,
};

static REFUSALS: [Refusal; 9] = [
    refusal(
        "spec.values.external",
        "must be true or false",
        "Write `true` or `false`, without quotes: the chart renders nothing else.",
    ),
    refusal(
        "spec.values.externalMethod",
        "",
        "Write `PortList` or `WholeIP`.",
    ),
    refusal(
        "spec.values.externalPorts",
        "must name at least one port",
        "List the ports, or choose the method `WholeIP`.",
    ),
    refusal(
        "spec.values.externalPorts",
        "must be a list",
        "Write a list of port numbers.",
    ),
    refusal(
        "spec.values.externalPorts[*]",
        "must be a whole number from 1 to 65535",
        "Write a port number, without quotes. While `external` is false the chart renders no port, so this is a warning.",
    ),
    refusal(
        "spec.values.externalPorts[*]",
        "is listed before",
        "Take the second one away: a Service has each port once. While `external` is false the chart renders no port, so this is a warning.",
    ),
    refusal(
        "spec.values.disks[*]",
        "is attached before",
        "Take the second one away: a machine has each disk once.",
    ),
    refusal(
        "spec.values.running",
        "the chart reads false as true",
        "Leave it out, and stop the machine with `virtctl stop`.",
    ),
    refusal(
        "spec.values.running",
        "only runStrategy counts",
        "Take `running` out where there is a `runStrategy`; where there is none, set `runStrategy` to `Halted` instead.",
    ),
];

struct MachineValues;

/// What the rule builds of a release; the rest stays text.
#[derive(Deserialize)]
struct Release<'a> {
    #[serde(default, borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Metadata<'a> {
    #[serde(borrow)]
    labels: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
}

/// A kind of application that is a virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// With a disk of its own.
    VirtualMachine,
    /// Over disks that are there.
    Instance,
}

impl Kind {
    fn of(release: &Release<'_>) -> Option<Kind> {
        let labels = release.metadata.labels.as_ref()?;
        match &**labels.get(APPLICATION_KIND_LABEL)? {
            "VirtualMachine" => Some(Kind::VirtualMachine),
            "VMInstance" => Some(Kind::Instance),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::VirtualMachine => "VirtualMachine",
            Kind::Instance => "VMInstance",
        }
    }

    fn chart(self) -> &'static str {
        match self {
            Kind::VirtualMachine => "virtual-machine",
            Kind::Instance => "vm-instance",
        }
    }
}

impl Validate for MachineValues {
    fn validate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
        let Some(Ok(release)) = request.object.map(Json::read::<Release<'_>>) else {
            return Ok(());
        };
        let Some(kind) = Kind::of(&release) else {
            return Ok(());
        };
        let old = request
            .old_object
            .and_then(|old| old.read::<Release<'_>>().ok());
        let text = |release: &Release<'_>| release.spec.map(|spec| spec.get().to_owned());
        // Flux and the platform's controllers write labels, annotations and finalizers all day long.
        if old.is_some_and(|old| text(&old) == text(&release) && Kind::of(&old) == Some(kind)) {
            return Ok(());
        }
        let spec: Option<Value> = release
            .spec
            .and_then(|spec| serde_json::from_str(spec.get()).ok());
        let spec = spec.as_ref();
        let external = External::in_release(spec);
        let values = spec.and_then(|spec| spec.get("values"));
        if let Some(values) = values.and_then(Value::as_object) {
            let facts = checks::Facts {
                kind,
                external,
                has_run_strategy: has_run_strategy(kind, values, request),
            };
            checks::check(values, &facts, verdict);
        }
        warn_of_another_service(kind, spec, external, request, verdict);
        Ok(())
    }
}

/// Whether the chart knows `runStrategy`, which it then looks at alone: by the definition's schema, or by what is written
/// where no definition is known.
fn has_run_strategy(
    kind: Kind,
    values: &serde_json::Map<String, Value>,
    request: &Request<'_>,
) -> bool {
    let definition = [&DEFINITIONS, &LEGACY_DEFINITIONS]
        .into_iter()
        .find_map(|read| {
            let mut found = request.cluster.find(read, &BY_KIND, kind.name(), 1);
            found.first.pop()
        });
    let source = definition
        .as_ref()
        .and_then(|definition| definition.text(&["spec", "application", "openAPISchema"]));
    let Some(source) = source else {
        return values.contains_key("runStrategy");
    };
    match &*schema::check(source) {
        Ok(Some(schema)) => schema.document.pointer("/properties/runStrategy").is_some(),
        _ => values.contains_key("runStrategy"),
    }
}

/// A Service cannot become headless, nor a headless one a load balancer: the release fails again and again until the
/// Service is deleted.
fn warn_of_another_service(
    kind: Kind,
    spec: Option<&Value>,
    external: External,
    request: &Request<'_>,
    verdict: &mut Verdict,
) {
    let (namespace, release) = machines::helm_release(request.namespace, request.name, spec);
    let values = spec.and_then(|spec| spec.get("values"));
    let name = machines::full_name(&release, kind.chart(), values);
    let Some(service) = request.cluster.get(&SERVICES, namespace, &name) else {
        return;
    };
    // What this service has made goes by itself.
    let is_kept = service.is_managed
        && !is_marked_by_helm(&service)
        && service
            .text(&["metadata", "annotations", PARENT_ANNOTATION])
            .is_some();
    let is_headless = service.text(&["spec", "clusterIP"]) == Some("None");
    let fails = match external {
        External::Yes => is_headless && !is_kept,
        External::No => !is_headless,
        External::Unknown => false,
    };
    if !fails {
        return;
    }
    verdict.warn(
        "spec.values.external: the release fails, and will go on failing, until its Service is deleted:",
    );
    let command = format!("kubectl delete service --namespace {namespace} {name}");
    if command.chars().count() <= WARNING_MAX_CHARS {
        verdict.warn(command);
    } else {
        // A warning holds no more; a shell reads the two lines as one.
        verdict.warn(format!("kubectl delete service --namespace {namespace} \\"));
        verdict.warn(format!("  {name}"));
    }
}
