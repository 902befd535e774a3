//! Brings a Service for every virtual machine of a tenant that none selects, and takes it back when another one does,
//! for tenants who reach their machines by name. Notes that name on the machine, in an annotation.

mod service;
#[cfg(test)]
mod tests;
mod written;

use crate::contract::companions::announcement;
use crate::contract::{
    Cluster, Companions, Concerned, Declaration, Desired, Edit, FailurePolicy, Farewell, Fault,
    FieldPath, MatchCondition, Mode, Mutate, Object, Operation, Read, Request, Resource, Rule,
    Scope, Setting, SettingKind, Verdict, Webhook, Weight, World,
};
use crate::kinds::{
    HELM_RELEASES_WITH_VALUES, SERVICES, VIRTUAL_MACHINES, VIRTUAL_MACHINES_BY_LABEL,
    VIRTUAL_MACHINES_BY_RELEASE,
};
use crate::machines;

/// Annotation of a virtual machine: the name inside the cluster of the Service that selects it.
pub const FQDN_ANNOTATION: &str = "webhook.cozystack.io/vm-fqdn";
/// Setting: whether workers of tenants' Kubernetes clusters get a Service too.
const CLUSTER_WORKERS_SETTING: &str = "cluster-workers";
/// Setting: whether the Service has a virtual IP.
const VIRTUAL_IP_SETTING: &str = "virtual-ip";
/// Setting: the domain of the cluster.
const CLUSTER_DOMAIN_SETTING: &str = "cluster-domain";

/// Namespaces of tenants.
const TENANT_PREFIX: &str = "tenant-";

/// The folder.
pub static WEBHOOK: Webhook = Webhook {
    declaration: Declaration {
        id: "virtual-machine-service",
        summary: "Brings a Service for every virtual machine of a tenant that none selects, and notes its name.",
        rules: &[Rule {
            resource: &VIRTUAL_MACHINES.resource,
            // The fields that are read are the same in both.
            versions: &["v1", "v1alpha3"],
            operations: &[Operation::Create, Operation::Update],
        }],
        scope: Scope::OutsideOurNamespace,
        names: &[],
        match_conditions: &[MatchCondition {
            name: "in-a-tenant",
            expression: "has(request.namespace) && request.namespace.startsWith('tenant-')",
        }],
        // A note is not worth a machine that cannot be written.
        failure_policy: FailurePolicy::Ignore,
        timeout_seconds: 2,
        default_mode: Mode::Enforce,
        weight: Weight::Light,
        reads: &[&VIRTUAL_MACHINES, &SERVICES, &HELM_RELEASES_WITH_VALUES],
        writes: &[&SERVICES],
        settings: &[
            Setting {
                name: CLUSTER_WORKERS_SETTING,
                kind: SettingKind::Flag { default: false },
                summary: "Bring Services for the workers of tenants' Kubernetes clusters too; each counts against the quota.",
            },
            Setting {
                name: VIRTUAL_IP_SETTING,
                kind: SettingKind::Flag { default: false },
                summary: "Give these Services a virtual IP; their names then end in `-internal`, out of the chart's way.",
            },
            Setting {
                name: CLUSTER_DOMAIN_SETTING,
                kind: SettingKind::Domain {
                    default: "cozy.local",
                },
                summary: "The domain of the cluster, as it ends the names of Services.",
            },
        ],
        refusals: &[],
    },
    validate: None,
    mutate: Some(&Machine),
    convert: None,
    companions: Some(&Machine),
};

struct Machine;

/// Whether the machine is one that the rule looks after: a tenant's, that stays, and no worker unless these are wanted.
fn is_covered(machine: &Object, world: &World<'_>) -> bool {
    machine.namespace.starts_with(TENANT_PREFIX)
        && (world.settings.flag(CLUSTER_WORKERS_SETTING) || !machines::is_cluster_worker(machine))
}

fn is_leaving(machine: &Object) -> bool {
    machine.text(&["metadata", "deletionTimestamp"]).is_some()
}

impl Companions for Machine {
    fn parents(&self) -> &'static Read {
        &VIRTUAL_MACHINES
    }

    fn reads(&self) -> &'static [&'static Read] {
        const READS: &[&Read] = &[&SERVICES, &HELM_RELEASES_WITH_VALUES];
        READS
    }

    fn concerned(&self, resource: &Resource, object: &Object, cluster: &dyn Cluster) -> Concerned {
        let is_service = *resource == SERVICES.resource;
        let (index, key) = if is_service {
            (&VIRTUAL_MACHINES_BY_LABEL, machines::selector_key(object))
        } else {
            (&VIRTUAL_MACHINES_BY_RELEASE, Some(object.display_name()))
        };
        let found = key.map(|key| cluster.find(&VIRTUAL_MACHINES, index, &key, usize::MAX));
        let namesakes = service::namesakes(&object.name)
            .filter(|_| is_service)
            .filter_map(|name| cluster.get(&VIRTUAL_MACHINES, &object.namespace, name));
        let machines = found.into_iter().flat_map(|found| found.first);
        let machines = machines.chain(namesakes);
        Concerned::These(
            machines
                .map(|machine| (machine.namespace.clone(), machine.name.clone()))
                .collect(),
        )
    }

    fn is_announced_by_mutator(&self) -> bool {
        true
    }

    fn farewell(&self) -> Farewell {
        Farewell::Delete
    }

    fn companions(&self, machine: &Object, world: &World<'_>) -> Result<Option<Desired>, Fault> {
        if is_leaving(machine) {
            return Ok(None);
        }
        let wanted = is_covered(machine, world)
            .then(|| service::wanted(machine, world))
            .flatten();
        Ok(Some(Desired {
            children: wanted.into_iter().collect(),
            requeue_after: None,
        }))
    }
}

impl Mutate for Machine {
    fn mutate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<Vec<Edit>, Fault> {
        let Some(mut machine) = request.object.and_then(written::read) else {
            return Ok(Vec::new());
        };
        request.namespace.clone_into(&mut machine.namespace);
        let world = World {
            cluster: request.cluster,
            settings: request.settings,
        };
        if is_leaving(&machine) || !is_covered(&machine, &world) {
            return Ok(Vec::new());
        }
        let outlook = service::outlook(&machine, &world);
        if let Some((child, standing)) = &outlook.child {
            let name = || format!("{}/{child}", machine.namespace);
            let news = announcement(&SERVICES.resource, name, *standing, request.dry_run);
            verdict.warnings.extend(news);
        }
        let noted = machine.text(&["metadata", "annotations", FQDN_ANNOTATION]);
        let name = outlook.name.map(|name| {
            let domain = request.settings.domain(CLUSTER_DOMAIN_SETTING);
            [&name, ".", &machine.namespace, ".svc.", &domain].concat()
        });
        if noted == name.as_deref() {
            return Ok(Vec::new());
        }
        let at = FieldPath::of(&["metadata", "annotations"]).key(FQDN_ANNOTATION);
        Ok(vec![match name {
            Some(name) => Edit::set(at, name),
            // No Service has that name any more.
            None => Edit::remove(at),
        }])
    }

    fn pointers(&self) -> &'static [&'static str] {
        &["/metadata/annotations/webhook.cozystack.io~1vm-fqdn"]
    }
}
