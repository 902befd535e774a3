//! Every refusal of a source, and what to do about it.

use crate::contract::Refusal;

const fn refusal(field: &'static str, says: &'static str, fix: &'static str) -> Refusal {
    Refusal { field, says, fix }
}

/// For the docs; a test holds them against the cases.
pub static REFUSALS: [Refusal; 27] = [
    refusal(
        "",
        "the object is not readable",
        "Compare the manifest with the CRD's schema.",
    ),
    refusal(
        "spec.sourceRef.name",
        "is the source's alias in its generator too",
        "Rename the Flux source: at most 63 lower-case letters, digits and '-', no dots.",
    ),
    refusal(
        "spec.sourceRef.path",
        "must not have \"..\"",
        "Name the folder of the packages from the source's root.",
    ),
    refusal(
        "spec.variants",
        "may make no more than 1000",
        "Split the source: its generator takes no more artifacts.",
    ),
    refusal(
        "spec.variants[*].name",
        "a Package could not choose it",
        "Name the variant; default is what Packages get that name none.",
    ),
    refusal(
        "spec.variants[*].name",
        "is the name of spec.variants",
        "Rename one of the two variants: Packages only ever get the first.",
    ),
    refusal(
        "spec.variants[*].name",
        "is part of artifacts' names",
        "Rename the variant: lower-case letters, digits, '-' and '.'.",
    ),
    refusal(
        "spec.variants[*].dependsOn[*]",
        "makes a cycle, in which none ever becomes ready",
        "Take one dependency out of the circle that is named.",
    ),
    refusal(
        "spec.variants[*].libraries[*].path",
        "a library is a folder",
        "Name the library's folder.",
    ),
    refusal(
        "spec.variants[*].libraries[*].name",
        "must be the name of one folder",
        "Give the library a plain name: the chart finds it under charts/<name>.",
    ),
    refusal(
        "spec.variants[*].libraries[*].name",
        "is the name of spec.variants",
        "Rename one of the two libraries; without a name it is the last part of the path.",
    ),
    refusal(
        "spec.variants[*].components[*].name",
        "a component needs a name",
        "Name the component.",
    ),
    refusal(
        "spec.variants[*].components[*].name",
        "is the name of spec.variants",
        "Rename one of the two components.",
    ),
    refusal(
        "spec.variants[*].components[*].name",
        "makes the artifact's name",
        "Rename the component: lower-case letters, digits and '-'.",
    ),
    refusal(
        "spec.variants[*].components[*].name",
        "makes an artifact's name of",
        "Shorten the names: source, variant and component make up the artifact's.",
    ),
    refusal(
        "spec.variants[*].components[*].name",
        "makes that artifact already",
        "Rename the component or the variant: joined with '-', both names come out the same.",
    ),
    refusal(
        "spec.variants[*].components[*].path",
        "without it there is no artifact",
        "Name the chart's folder.",
    ),
    refusal(
        "spec.variants[*]",
        "must be a relative path",
        "Write the path from the source's folder of packages, such as system/gizmo.",
    ),
    refusal(
        "spec.variants[*].components[*].libraries[*]",
        "names no library of the variant",
        "List the library under libraries of the variant: an unknown one is silently skipped.",
    ),
    refusal(
        "spec.variants[*].components[*].install.namespace",
        "a HelmRelease is in a namespace",
        "Name the namespace, also for a component that Packages disable.",
    ),
    refusal(
        "spec.variants[*].components[*].install.namespace",
        "must be",
        "Name the namespace by at most 63 lower-case letters, digits and '-'.",
    ),
    refusal(
        "spec.variants[*].components[*]",
        "is the name of a Helm release",
        "Give install.releaseName a shorter name.",
    ),
    refusal(
        "spec.variants[*].components[*]",
        "must be lower-case letters, digits, '-' and '.'",
        "Give the release a DNS name; it has the component's where install.releaseName is not set.",
    ),
    refusal(
        "spec.variants[*].components[*].install.releaseName",
        "makes HelmRelease",
        "Give one of the two another install.releaseName or namespace.",
    ),
    refusal(
        "spec.variants[*].components[*].install.dependsOn[*]",
        "is the component itself",
        "Take the entry out.",
    ),
    refusal(
        "spec.variants[*].components[*].install.dependsOn[*]",
        "names",
        "Name components of the same variant that have install; other Packages go to dependsOn of the variant.",
    ),
    refusal(
        "spec.variants[*].components[*].install.dependsOn[*]",
        "makes a cycle",
        "Take one dependency out of the circle that is named.",
    ),
];
