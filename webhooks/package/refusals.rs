//! Every refusal of a Package, and what to do about it.

use crate::contract::Refusal;

const fn refusal(field: &'static str, says: &'static str, fix: &'static str) -> Refusal {
    Refusal { field, says, fix }
}

/// For the docs; a test holds them against the cases.
pub static REFUSALS: [Refusal; 17] = [
    refusal(
        "",
        "the object is not readable",
        "Compare the manifest with the CRD's schema.",
    ),
    refusal(
        "spec.variant",
        "Unsupported value",
        "Choose a variant of the PackageSource of that name, change the source first, or insist.",
    ),
    refusal(
        "spec.variant",
        "none given counts as \"default\"",
        "Name a variant: the source has no default.",
    ),
    refusal(
        "spec.variant",
        "may not change from",
        "Move the cluster to the other network first, or insist: the operator deletes the HelmReleases at once.",
    ),
    refusal(
        "spec.variant",
        "the network would go",
        "Keep the variant, give the networking Package the annotation helm.sh/resource-policy: keep, or insist.",
    ),
    refusal(
        "spec.components.platform",
        "the network would go",
        "Keep the system bundle and networking enabled, or insist.",
    ),
    refusal(
        "spec.components",
        "Unsupported value",
        "Choose a component of the variant, change the source first, or insist: unknown ones are silently ignored.",
    ),
    refusal(
        "spec.components",
        "must be an object",
        "Write the values as a map, not as text: anything else is silently ignored.",
    ),
    refusal(
        "spec.components*.values",
        "must be",
        "Write a value of the type or range that the sentence names, or change the chart first, or insist.",
    ),
    refusal(
        "spec.components*.values",
        "must match",
        "Write a text that the pattern matches, or insist.",
    ),
    refusal(
        "spec.components*.values",
        "may not",
        "Take away what is too much, or insist.",
    ),
    refusal(
        "spec.components*.values",
        "must have",
        "Add or take away what the sentence counts, or insist.",
    ),
    refusal(
        "spec.components*.values",
        "the schema requires it",
        "Set the field: neither the chart nor a values file of the variant has a default for it.",
    ),
    refusal(
        "spec.components*.values",
        "knows no such name",
        "Correct the name, or leave it out; or change the chart first, or insist.",
    ),
    refusal(
        "spec.components*.values",
        "supported values",
        "Choose among the values that are listed, or insist.",
    ),
    refusal(
        "spec.components*.values",
        "cannot be installed",
        "Mend the chart: Helm refuses all values of it.",
    ),
    refusal(
        "spec.components*.values",
        "cannot be checked",
        "Wait until the chart is known, switch `package.strict` off, or insist.",
    ),
];
