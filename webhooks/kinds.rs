//! Kinds of others that rules read, and how they are looked up.

use crate::contract::companions::BY_PARENT;
use crate::contract::{Content, Index, MatchCondition, Object, Read, Resource};
use crate::cozystack_resource_definition::catalogue::artifact_name;
use crate::machines;
use crate::packages::{Source, Variant};

/// Label of a HelmRelease that says which kind of application it is.
pub const APPLICATION_KIND_LABEL: &str = "apps.cozystack.io/application.kind";

/// Label of a HelmRelease that says which API group the application is of.
pub const APPLICATION_GROUP_LABEL: &str = "apps.cozystack.io/application.group";
/// The only such group.
pub const APPLICATION_GROUP: &str = "apps.cozystack.io";
/// Label of a HelmRelease that says what the application is called: the release's name without the kind's prefix.
pub const APPLICATION_NAME_LABEL: &str = "apps.cozystack.io/application.name";
/// Label of a HelmRelease, `"true"` when the dashboard shows it as an application.
pub const UI_LABEL: &str = "cozystack.io/ui";

/// HelmReleases of applications. Rules on releases share an entry; a condition that all of them have keeps the others'
/// requests away.
pub const IS_AN_APPLICATION: MatchCondition = MatchCondition {
    name: "is-an-application",
    expression: "has(object.metadata.labels) && 'apps.cozystack.io/application.kind' in object.metadata.labels",
};

/// Label of a HelmRelease that says which Package made it.
pub const PACKAGE_LABEL: &str = "cozystack.io/package";

/// Flux HelmReleases, by the kind of application or the Package behind them.
pub static HELM_RELEASES: Read = Read {
    resource: Resource {
        group: "helm.toolkit.fluxcd.io",
        version: "v2",
        plural: "helmreleases",
        kind: "HelmRelease",
        namespaced: true,
    },
    content: Content::Metadata,
    indexes: &[
        &HELM_RELEASES_BY_APPLICATION_KIND,
        &HELM_RELEASES_BY_PACKAGE,
    ],
};

/// HelmReleases by the label that names the application's kind.
pub static HELM_RELEASES_BY_APPLICATION_KIND: Index = Index {
    name: "application-kind",
    keys: |release| {
        release
            .label(APPLICATION_KIND_LABEL)
            .map(ToOwned::to_owned)
            .into_iter()
            .collect()
    },
};

/// HelmReleases by the label that names their Package.
pub static HELM_RELEASES_BY_PACKAGE: Index = Index {
    name: "package",
    keys: |release| {
        release
            .label(PACKAGE_LABEL)
            .map(ToOwned::to_owned)
            .into_iter()
            .collect()
    },
};

/// Flux HelmCharts, as far as rules make them.
pub static HELM_CHARTS: Read = Read {
    resource: Resource {
        group: "source.toolkit.fluxcd.io",
        version: "v1",
        plural: "helmcharts",
        kind: "HelmChart",
        namespaced: true,
    },
    content: Content::Metadata,
    indexes: &[&BY_PARENT],
};

/// Package sources, by what is made of them and by what they depend on.
pub static PACKAGE_SOURCES: Read = Read {
    resource: Resource {
        group: "cozystack.io",
        version: "v1alpha1",
        plural: "packagesources",
        kind: "PackageSource",
        namespaced: false,
    },
    content: Content::Full,
    indexes: &[
        &PACKAGE_SOURCES_BY_ARTIFACT,
        &PACKAGE_SOURCES_BY_RELEASE,
        &PACKAGE_SOURCES_BY_DEPENDENCY,
    ],
};

/// Package sources by artifact name: one artifact a component of every variant that has a path, installed or not.
pub static PACKAGE_SOURCES_BY_ARTIFACT: Index = Index {
    name: "artifact",
    keys: artifacts,
};

fn artifacts(source: &Object) -> Vec<String> {
    let mut names = Vec::new();
    for variant in Source::of(source).variants() {
        for component in variant.components() {
            if !component.path().is_empty() {
                names.push(artifact_name(
                    &source.name,
                    variant.name(),
                    component.name(),
                ));
            }
        }
    }
    names
}

/// Package sources by `namespace/name` of the HelmReleases that a Package of some variant makes.
pub static PACKAGE_SOURCES_BY_RELEASE: Index = Index {
    name: "release",
    keys: |source| {
        Source::of(source)
            .variants()
            .flat_map(Variant::components)
            .filter_map(|component| component.install()?.release())
            .collect()
    },
};

/// Package sources by the Packages that some variant of them depends on. Which variant counts only the Package of the
/// same name says.
pub static PACKAGE_SOURCES_BY_DEPENDENCY: Index = Index {
    name: "dependency",
    keys: |source| {
        Source::of(source)
            .variants()
            .flat_map(Variant::depends_on)
            .map(ToOwned::to_owned)
            .collect()
    },
};

/// Packages. Each has the name of its source.
pub static PACKAGES: Read = Read {
    resource: Resource {
        group: "cozystack.io",
        version: "v1alpha1",
        plural: "packages",
        kind: "Package",
        namespaced: false,
    },
    content: Content::Full,
    indexes: &[&PACKAGES_ALL],
};

/// Packages under one key, which is empty: for those who have to go through all of them.
pub static PACKAGES_ALL: Index = Index {
    name: "all",
    keys: |_| vec![String::new()],
};

/// Operators' policies for Packages. They are compiled beside the caches: see [`crate::contract::Cluster::policies`].
pub static PACKAGE_POLICIES: Read = Read {
    resource: Resource {
        group: "policy.cozystack.io",
        version: "v1alpha1",
        plural: "packagepolicies",
        kind: "PackagePolicy",
        namespaced: false,
    },
    content: Content::Full,
    indexes: &[],
};

/// Artifacts that others than Flux's own sources bring: among them one for each component of a package.
pub static EXTERNAL_ARTIFACTS: Read = Read {
    resource: Resource {
        group: "source.toolkit.fluxcd.io",
        version: "v1",
        plural: "externalartifacts",
        kind: "ExternalArtifact",
        namespaced: true,
    },
    content: Content::Full,
    indexes: &[],
};

/// Namespaces. There may be tens of thousands, and their labels are all that is asked.
pub static NAMESPACES: Read = Read {
    resource: Resource {
        group: "",
        version: "v1",
        plural: "namespaces",
        kind: "Namespace",
        namespaced: false,
    },
    content: Content::PackedMetadata,
    indexes: &[],
};

/// The same with their values, for rules that read these.
pub static HELM_RELEASES_WITH_VALUES: Read = Read {
    resource: HELM_RELEASES.resource,
    content: Content::Full,
    indexes: &[],
};

/// KubeVirt's virtual machines.
pub static VIRTUAL_MACHINES: Read = Read {
    resource: Resource {
        group: "kubevirt.io",
        version: "v1",
        plural: "virtualmachines",
        kind: "VirtualMachine",
        namespaced: true,
    },
    content: Content::Full,
    indexes: &[&VIRTUAL_MACHINES_BY_LABEL, &VIRTUAL_MACHINES_BY_RELEASE],
};

/// Virtual machines by `namespace/key=value` of every label that their pods have.
pub static VIRTUAL_MACHINES_BY_LABEL: Index = Index {
    name: "pod-label",
    keys: |machine| {
        let labels = machines::pod_labels(machine);
        let keys = labels
            .iter()
            .map(|(key, value)| machines::pair(&machine.namespace, key, value));
        keys.collect()
    },
};

/// Virtual machines by `namespace/name` of the HelmRelease behind them.
pub static VIRTUAL_MACHINES_BY_RELEASE: Index = Index {
    name: "release",
    keys: |machine| {
        let release = machines::release_of(machine);
        let release = release.map(|(namespace, name)| format!("{namespace}/{name}"));
        release.into_iter().collect()
    },
};

/// Services.
pub static SERVICES: Read = Read {
    resource: Resource {
        group: "",
        version: "v1",
        plural: "services",
        kind: "Service",
        namespaced: true,
    },
    content: Content::Full,
    indexes: &[&BY_PARENT, &SERVICES_BY_SELECTOR],
};

/// Services by `namespace/key=value` of the part of their selector that narrows it most: whatever they select has that
/// label.
pub static SERVICES_BY_SELECTOR: Index = Index {
    name: "selector",
    keys: |service| machines::selector_key(service).into_iter().collect(),
};
