//! Every refusal of a definition, and what to do about it.

use crate::contract::Refusal;

const fn refusal(field: &'static str, says: &'static str, fix: &'static str) -> Refusal {
    Refusal { field, says, fix }
}

/// For the docs; a test holds them against the cases.
pub static REFUSALS: [Refusal; 26] = [
    refusal(
        "",
        "Required value",
        "Set the field: the platform cannot do without it.",
    ),
    refusal(
        "",
        "must be an object",
        "Write a map here, not a list or a scalar.",
    ),
    refusal("", "must be a list", "Write a list here."),
    refusal(
        "",
        "must be a string",
        "Write a string; quote numbers and booleans.",
    ),
    refusal(
        "",
        "the object is not readable",
        "Compare the manifest with the CRD's schema.",
    ),
    refusal(
        "",
        "may not be deleted while",
        "Delete the applications of that kind first, or insist: their HelmReleases then have no definition.",
    ),
    refusal(
        "metadata.annotations[*]",
        "must be a duration",
        "Write numbers with ms, s, m or h, such as 20m: the platform's API does not start with anything else.",
    ),
    refusal(
        "metadata.annotations[*]",
        "supported values: \"true\", \"false\"",
        "Write \"true\" or \"false\".",
    ),
    refusal(
        "spec.application.kind",
        "start with a capital",
        "Choose a kind of letters and digits, such as Gizmo.",
    ),
    refusal(
        "spec.application.kind",
        "already defined by",
        "Choose another kind, or remove the other definition: of two, one would overwrite the other's releases.",
    ),
    refusal(
        "spec.application.kind",
        "may not change from",
        "Delete the applications of the old kind first, or insist.",
    ),
    refusal(
        "spec.application.plural",
        "already defined by",
        "Choose another plural: the API serves one kind under it.",
    ),
    refusal(
        "spec.application.plural",
        "must be lower-case letters",
        "Choose a lower-case name, such as gizmos.",
    ),
    refusal(
        "spec.application.singular",
        "must be lower-case letters",
        "Choose a lower-case name, such as gizmo.",
    ),
    refusal(
        "spec.application.openAPISchema",
        "must be blank or a JSON schema",
        "Put the chart's values.schema.json here as one JSON text, or leave it blank.",
    ),
    refusal(
        "spec.application.openAPISchema",
        "the root's type must be \"object\"",
        "Give the schema type object at its root: values are a map.",
    ),
    refusal(
        "spec.application.openAPISchema",
        "does not compile",
        "Correct the schema at the place that is named; references to files and URLs are not followed.",
    ),
    refusal(
        "spec.release.prefix",
        "must be empty, or lower-case letters",
        "Choose a prefix such as gizmo-; with the application's name it becomes the release's name.",
    ),
    refusal(
        "spec.release.labels[*]",
        "must be",
        "Use label syntax: 63 letters, digits, '-', '_' or '.', a key optionally after a DNS name and '/'.",
    ),
    refusal(
        "spec.release.chart",
        "supported values: \"OCIRepository\"",
        "Name an OCIRepository, a HelmChart or an ExternalArtifact: nothing else can be a chartRef.",
    ),
    refusal(
        "spec.release.chart",
        "must be",
        "Name the chart's artifact and its namespace by DNS names.",
    ),
    refusal(
        "spec.dashboard.tabs[*]",
        "supported values",
        "Choose among the tabs that are listed.",
    ),
    refusal(
        "spec.dashboard.icon",
        "must be base64",
        "Encode the SVG: base64 -w0 icon.svg",
    ),
    refusal(
        "spec.*.resourceNames[*]",
        "must be a Go template",
        "Correct the template; only Go's built-in functions are there, no sprig.",
    ),
    refusal(
        "spec.*.matchExpressions[*]",
        "",
        "In and NotIn take values, Exists and DoesNotExist take none; there are no other operators.",
    ),
    refusal(
        "spec.*.matchLabels[*]",
        "must be",
        "Use label syntax in keys and values.",
    ),
];
