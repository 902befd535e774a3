//! End to end: a real kube-apiserver and etcd, a real kubectl and helm, the service as it ships.
//!
//! Where neither KUBEBUILDER_ASSETS nor a Go toolchain is there these tests cannot run; they say so, and with CI set
//! that is a failure.

#![allow(
    missing_docs,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod away;
mod bridge;
mod caches;
mod cel;
mod certs;
mod chart;
mod chart_values;
mod crds;
mod definitions;
mod engine;
mod flux;
mod image;
mod machines;
mod machines_flux;
mod migrate;
mod package_values;
mod packages;
mod policies;
mod policies_flux;
mod settings;
mod tenants;
mod tenants_flux;
mod values;
mod yaml;

use libtest_mimic::{Arguments, Trial};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use support::plane::{Plane, assets};
use support::service::{Setup, run};

/// A name, and what runs with the folder of the control plane's binaries.
type Scenario = (&'static str, fn(&Path));

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each scenario starts a control plane of its own; two cores bear no more than one at a time.
    arguments.test_threads = Some(1);
    let scenarios: &[Scenario] = &[
        (
            "definitions_are_converted_and_guarded",
            definitions::converted_and_guarded,
        ),
        (
            "deletion_needs_a_reason",
            definitions::deletion_needs_a_reason,
        ),
        ("the_service_may_be_away", away::the_service_may_be_away),
        (
            "crds_survive_their_helm_release",
            crds::survive_their_helm_release,
        ),
        (
            "crds_of_a_release_without_flux_can_be_detached",
            crds::detached_from_helm,
        ),
        ("crds_are_never_narrowed", crds::never_narrowed),
        ("crds_uninstall_leaves_everything_readable", crds::uninstall),
        ("caches_follow_the_cluster", caches::follow),
        (
            "certs_are_made_trusted_and_rotated",
            certs::made_trusted_and_rotated,
        ),
        (
            "certs_of_others_are_respected",
            certs::of_others_are_respected,
        ),
        ("yaml_is_read_as_kubectl_reads_it", yaml::as_kubectl),
        (
            "cel_says_what_the_api_server_says",
            cel::what_the_api_server_says,
        ),
        (
            "values_are_judged_as_helm_judges_them",
            chart_values::as_helm,
        ),
        ("the_bridge_keeps_in_step", bridge::keeps_in_step),
        (
            "the_bridge_lets_go_and_leaves_alone",
            bridge::lets_go_and_leaves_alone,
        ),
        ("bad_definitions_are_bridged_too", bridge::old_sins),
        ("values_of_applications_are_checked", values::are_checked),
        ("two_replicas_have_one_leader", bridge::one_leader),
        ("two_thousand_definitions", bridge::two_thousand),
        ("companions_converge_and_are_collected", engine::converges),
        ("settings_take_effect", settings::take_effect),
        ("the_audit_reports", audit::reports),
        ("the_chart_is_sound", chart::is_sound),
        ("the_chart_lives_and_dies", chart::lives_and_dies),
        (
            "packages_are_held_to_their_sources",
            packages::held_to_their_sources,
        ),
        (
            "values_of_packages_are_refused",
            package_values::are_refused,
        ),
        (
            "values_of_packages_follow_their_charts",
            package_values::follow_their_charts,
        ),
        ("policies_are_asked", policies::are_asked),
        (
            "policies_warn_and_are_logged",
            policies::warn_and_are_logged,
        ),
        ("machines_have_services", machines::have_services),
        ("machines_are_written_by_many", machines::written_by_many),
        ("machines_and_their_charts", machines::adopted_by_helm),
        ("machines_wait_for_quota", machines::wait_for_quota),
        ("machines_values_are_checked", machines::values_are_checked),
        ("machines_while_the_service_is_away", machines::service_away),
        ("machines_of_two_replicas", machines::two_replicas),
        ("machines_in_any_order", machines::in_any_order),
        ("two_thousand_machines", machines::two_thousand),
        (
            "tenants_reach_their_ancestors",
            tenants::reach_their_ancestors,
        ),
        (
            "companions_of_tenants_live_and_die",
            tenants::companions_live_and_die,
        ),
        ("tenants_keep_to_themselves", tenants::keep_to_themselves),
        ("two_thousand_tenants", tenants::two_thousand),
        ("migrate_carries_over", migrate::carries_over),
        ("migrate_survives_cuts", migrate::survives_cuts),
        ("migrate_survives_kills", migrate::survives_kills),
        ("migrate_beside_others", migrate::beside_others),
        ("migrate_gives_chart_refs", migrate::chart_refs),
        (
            "migrate_comes_back_from_upstreams_job",
            migrate::back_from_upstreams_job,
        ),
        ("migrate_by_script", migrate::by_script),
        ("migrate_is_bounded", migrate::is_bounded),
        ("migrate_says_what_is_wrong", migrate::says_what_is_wrong),
        ("the_image_runs", image::runs),
    ];
    let with_flux: &[Scenario] = &[
        (
            "kustomizations_see_the_verdicts",
            flux::kustomizations_see_the_verdicts,
        ),
        (
            "releases_see_the_verdicts_and_stay_in_sync",
            flux::releases_see_the_verdicts,
        ),
        (
            "policies_refuse_kustomizations",
            policies_flux::refuse_kustomizations,
        ),
        (
            "releases_of_machines_stay_in_sync",
            machines_flux::stay_in_sync,
        ),
        (
            "releases_of_machines_become_external",
            machines_flux::become_external,
        ),
        (
            "releases_of_machines_take_services_over",
            machines_flux::take_services_over,
        ),
        (
            "migrate_keeps_the_crd_of_a_release",
            migrate::crd_outlives_its_release,
        ),
        (
            "tenants_come_by_kustomizations",
            tenants_flux::kustomizations,
        ),
        (
            "tenants_come_by_releases",
            tenants_flux::releases_of_tenants,
        ),
    ];
    let (assets, assets_with_flux) = if arguments.list {
        (None, None)
    } else {
        available()
    };
    let is_complete = arguments.list || (assets.is_some() && assets_with_flux.is_some());
    let mut all = trials(scenarios, assets);
    all.extend(trials(with_flux, assets_with_flux));
    let conclusion = libtest_mimic::run(&arguments, all);
    if !is_complete && std::env::var_os("CI").is_some() {
        ExitCode::from(101)
    } else {
        conclusion.exit_code()
    }
}

/// The binaries for the scenarios without Flux, and for those with it; says loudly what is not there.
fn available() -> (Option<Arc<Path>>, Option<Arc<Path>>) {
    let folder: Arc<Path> = match assets() {
        Ok(folder) => folder.into(),
        Err(why) => {
            eprintln!("\nEND-TO-END TESTS DID NOT RUN: {why}\n");
            return (None, None);
        }
    };
    let missing = support::flux::missing(&folder);
    if missing.is_empty() {
        return (Some(Arc::clone(&folder)), Some(folder));
    }
    eprintln!(
        "\nEND-TO-END TESTS WITH FLUX DID NOT RUN: {} has no {}\n",
        folder.display(),
        missing.join(", ")
    );
    (Some(folder), None)
}

fn trials(scenarios: &[Scenario], assets: Option<Arc<Path>>) -> Vec<Trial> {
    scenarios
        .iter()
        .map(|(name, scenario)| {
            let scenario = *scenario;
            let is_ignored = assets.is_none();
            let assets = assets.clone();
            Trial::test(*name, move || {
                if let Some(assets) = assets {
                    scenario(&assets);
                }
                Ok(())
            })
            .with_ignored_flag(is_ignored)
        })
        .collect()
}

/// A cluster in which the service is installed: Services that lead to loopback, CRDs, webhook configurations.
pub struct Cluster {
    pub plane: Plane,
    pub setup: Setup,
}

impl Cluster {
    /// The control plane alone, and where the service will be.
    pub fn bare(assets: &Path) -> Cluster {
        let plane = Plane::start(assets);
        let setup = Setup::new(plane.folder.path());
        Cluster { plane, setup }
    }

    /// The same with Services, CRDs and webhook configurations; nothing serves yet.
    pub fn installed(assets: &Path) -> Cluster {
        let cluster = Cluster::bare(assets);
        cluster.add_services();
        cluster.install_crds();
        cluster.add_webhooks();
        cluster
    }

    /// On a machine without kube-proxy a Service of type ExternalName leads to loopback.
    pub fn add_services(&self) {
        self.plane.apply(
            "
apiVersion: v1
kind: Namespace
metadata: {name: cozy-webhook}
---
apiVersion: v1
kind: Service
metadata: {name: cozystack-webhook, namespace: cozy-webhook}
spec: {type: ExternalName, externalName: localhost}
---
apiVersion: v1
kind: Service
metadata: {name: cozystack-webhook-conversion, namespace: cozy-webhook}
spec: {type: ExternalName, externalName: localhost}
",
        );
    }

    fn target(&self) -> Vec<String> {
        vec![
            "--ca-file".to_owned(),
            self.setup.ca_file(),
            "--admission-port".to_owned(),
            self.setup.admission.port().to_string(),
            "--conversion-port".to_owned(),
            self.setup.conversion.port().to_string(),
        ]
    }

    /// Runs `crds install` and gives what it says.
    pub fn install_crds(&self) -> String {
        let target = self.target();
        let mut arguments = vec!["install"];
        arguments.extend(target.iter().map(String::as_str));
        self.crds(&arguments)
    }

    /// Runs `crds ...` and expects success.
    pub fn crds(&self, arguments: &[&str]) -> String {
        let kubeconfig = self.plane.kubeconfig.display().to_string();
        let mut all = vec!["crds", "--kubeconfig", &kubeconfig];
        all.extend(arguments);
        let (code, stdout, stderr) = run(&all, self.plane.folder.path(), "");
        assert_eq!(code, 0, "{all:?}: {stdout}{stderr}");
        stdout
    }

    /// Applies the generated webhook configurations unchanged.
    pub fn add_webhooks(&self) {
        let target = self.target();
        let mut arguments = vec!["manifests", "--only", "webhooks"];
        arguments.extend(target.iter().map(String::as_str));
        let (code, stdout, stderr) = run(&arguments, self.plane.folder.path(), "");
        assert_eq!(code, 0, "{stderr}");
        self.plane.apply(&stdout);
    }

    /// Puts settings in force, those keys and no others.
    pub fn set(&self, data: &str) {
        self.plane.apply(&format!(
            "
apiVersion: v1
kind: ConfigMap
metadata: {{name: cozystack-webhook, namespace: cozy-webhook}}
data: {{{data}}}
"
        ));
    }

    /// For scenarios about definitions that nothing succeeds.
    pub fn without_bridge(&self) {
        self.set("cozystack-resource-definition.bridge: \"false\"");
    }

    /// Starts the service against this cluster and waits until it is ready.
    pub fn serve(&self) -> support::plane::Process {
        let kubeconfig = self.plane.kubeconfig.display().to_string();
        self.setup.start_ready(&["--kubeconfig", &kubeconfig])
    }
}

/// A folder of the repository.
pub fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Waits until something holds.
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    eventually_within(15, what, holds);
}

/// Waits until something holds that takes its time, in seconds.
pub fn eventually_within(seconds: u64, what: &str, mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    while !holds() {
        assert!(std::time::Instant::now() < end, "not in time: {what}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
