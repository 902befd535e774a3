//! The 25 applications of the legacy catalogue, and the rule by which their charts become artifacts.
//!
//! Source: the PackageSources of Cozystack v1.0.0-alpha.1 (`packages/core/platform/sources/*-application.yaml`), and
//! the naming rule of its PackageSource reconciler: package, variant and component joined with `-`, dots made `-`.

/// Kind of the repositories that legacy definitions name, and what the CRD fills in when they name none.
pub const HELM_REPOSITORY: &str = "HelmRepository";
/// Namespace of the legacy repositories, and what the CRD fills in when none is given.
pub const LEGACY_NAMESPACE: &str = "cozy-public";
/// Kind of the artifacts of the package-based platform.
pub const EXTERNAL_ARTIFACT: &str = "ExternalArtifact";
/// Namespace of the artifacts.
pub const ARTIFACT_NAMESPACE: &str = "cozy-system";
/// Kinds that a chartRef may name (enum of the ApplicationDefinition CRD).
pub const CHART_REF_KINDS: [&str; 3] = ["OCIRepository", "HelmChart", EXTERNAL_ARTIFACT];

const DEFAULT_VARIANT: &str = "default";

/// One of the two legacy repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repository {
    /// `cozystack-apps`
    Apps,
    /// `cozystack-extra`
    Extra,
}

impl Repository {
    /// The HelmRepository's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Repository::Apps => "cozystack-apps",
            Repository::Extra => "cozystack-extra",
        }
    }

    /// The folder of the platform's packages into which its charts have gone.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Repository::Apps => "apps/",
            Repository::Extra => "extra/",
        }
    }

    /// The repository of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Repository> {
        [Repository::Apps, Repository::Extra]
            .into_iter()
            .find(|repository| repository.name() == name)
    }
}

/// Chart, repository and variant of the 25. In order of the chart's name, for binary search.
const CATALOGUE: [(&str, Repository, &str); 25] = [
    ("bootbox", Repository::Extra, DEFAULT_VARIANT),
    ("bucket", Repository::Apps, DEFAULT_VARIANT),
    ("clickhouse", Repository::Apps, DEFAULT_VARIANT),
    ("etcd", Repository::Extra, DEFAULT_VARIANT),
    ("ferretdb", Repository::Apps, DEFAULT_VARIANT),
    ("foundationdb", Repository::Apps, DEFAULT_VARIANT),
    ("http-cache", Repository::Apps, DEFAULT_VARIANT),
    ("info", Repository::Extra, DEFAULT_VARIANT),
    ("ingress", Repository::Extra, DEFAULT_VARIANT),
    ("kafka", Repository::Apps, DEFAULT_VARIANT),
    ("kubernetes", Repository::Apps, "kubevirt"),
    ("monitoring", Repository::Extra, DEFAULT_VARIANT),
    ("mysql", Repository::Apps, DEFAULT_VARIANT),
    ("nats", Repository::Apps, DEFAULT_VARIANT),
    ("postgres", Repository::Apps, DEFAULT_VARIANT),
    ("rabbitmq", Repository::Apps, DEFAULT_VARIANT),
    ("redis", Repository::Apps, DEFAULT_VARIANT),
    ("seaweedfs", Repository::Extra, DEFAULT_VARIANT),
    ("tcp-balancer", Repository::Apps, DEFAULT_VARIANT),
    ("tenant", Repository::Apps, DEFAULT_VARIANT),
    ("virtual-machine", Repository::Apps, "kubevirt"),
    ("virtualprivatecloud", Repository::Apps, "kubevirt"),
    ("vm-disk", Repository::Apps, "kubevirt"),
    ("vm-instance", Repository::Apps, "kubevirt"),
    ("vpn", Repository::Apps, DEFAULT_VARIANT),
];

/// The artifact of a component of a package: dots become dashes, nothing else changes.
#[must_use]
pub fn artifact_name(package: &str, variant: &str, component: &str) -> String {
    format!("{package}-{variant}-{component}").replace('.', "-")
}

/// The artifact into which the chart of that name of one of the two known repositories was packed.
#[must_use]
pub fn artifact_of(chart: &str) -> String {
    artifact_name(
        &format!("cozystack.{chart}-application"),
        variant_of(chart),
        chart,
    )
}

/// The variant of the package into which a chart was packed.
#[must_use]
pub fn variant_of(chart: &str) -> &'static str {
    CATALOGUE
        .binary_search_by(|entry| entry.0.cmp(chart))
        .ok()
        .and_then(|position| CATALOGUE.get(position))
        .map_or(DEFAULT_VARIANT, |entry| entry.2)
}

/// The charts of the shipped catalogue and their repositories.
pub fn charts() -> impl Iterator<Item = (&'static str, Repository)> {
    CATALOGUE.iter().map(|entry| (entry.0, entry.1))
}

/// The chart and repository behind an artifact: of the table, or of the naming rule (which does not tell the two
/// repositories apart: `cozystack-apps` is assumed). None when it is neither.
#[must_use]
pub fn chart_of(artifact: &str) -> Option<(String, Repository)> {
    if let Some(entry) = CATALOGUE
        .iter()
        .find(|entry| artifact_of(entry.0) == artifact)
    {
        return Some((entry.0.to_owned(), entry.1));
    }
    // cozystack-<chart>-application-default-<chart>, both charts the same: their length gives the split.
    let middle = format!("-application-{DEFAULT_VARIANT}-");
    let both = artifact
        .strip_prefix("cozystack-")?
        .len()
        .checked_sub(middle.len())?;
    let chart = artifact.get(artifact.len().checked_sub(both / 2)?..)?;
    (!chart.is_empty() && artifact_of(chart) == artifact)
        .then(|| (chart.to_owned(), Repository::Apps))
}

/// Whether the artifact belongs to the shipped catalogue.
#[must_use]
pub fn is_known_artifact(artifact: &str) -> bool {
    CATALOGUE
        .iter()
        .any(|entry| artifact_of(entry.0) == artifact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_goes_both_ways() {
        assert!(CATALOGUE.is_sorted_by(|one, two| one.0 < two.0));
        for (chart, repository, _) in CATALOGUE {
            assert_eq!(
                chart_of(&artifact_of(chart)),
                Some((chart.to_owned(), repository))
            );
        }
        assert_eq!(
            artifact_of("kubernetes"),
            "cozystack-kubernetes-application-kubevirt-kubernetes"
        );
    }

    #[test]
    fn charts_outside_the_table_follow_the_rule() {
        assert_eq!(
            artifact_of("gizmo"),
            "cozystack-gizmo-application-default-gizmo"
        );
        for chart in [
            "gizmo",
            "a",
            "x-application-default-x",
            "application",
            "default",
        ] {
            assert_eq!(
                chart_of(&artifact_of(chart)),
                Some((chart.to_owned(), Repository::Apps)),
                "{chart}"
            );
        }
        for artifact in [
            "",
            "cozystack-",
            "cozystack--application-default-",
            "cozystack-a-application-default-b",
            "cozystack-kubernetes-application-default-kubernetes",
            "other",
            "cozystack-é-application-default-è",
        ] {
            assert_eq!(chart_of(artifact), None, "{artifact}");
        }
        // A chart with a dot gives an artifact that does not say where the dot was.
        assert_eq!(
            chart_of(&artifact_of("a.b")).map(|found| found.0),
            Some("a-b".to_owned())
        );
    }
}
