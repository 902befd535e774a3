//! Every refusal of the platform's values, and what to do about it.

use crate::contract::Refusal;

/// Where the values stand in a Package.
macro_rules! values {
    ($rest:literal) => {
        concat!("spec.components.platform.values", $rest)
    };
}

const fn refusal(field: &'static str, says: &'static str, fix: &'static str) -> Refusal {
    Refusal { field, says, fix }
}

/// For the docs. The fields are those of [`PACKAGE`](super::PACKAGE).
pub static REFUSALS: [Refusal; 31] = [
    refusal(
        values!(""),
        "must be an object",
        "Write a map here, not a list or a scalar.",
    ),
    refusal(
        values!(""),
        "must be a list",
        "Write a list here, also for a single item.",
    ),
    refusal(
        values!(""),
        "must be a string",
        "Write a string; quote numbers and booleans, and write YAML as a block (|).",
    ),
    refusal(
        values!(""),
        "must be a boolean",
        "Write true or false, without quotes.",
    ),
    refusal(
        values!(""),
        "must be a number",
        "Write a number, without quotes.",
    ),
    refusal(
        values!(""),
        "may not be taken away with null",
        "Remove the key instead of setting it to null: the chart does not render without the section.",
    ),
    refusal(
        values!(""),
        "is no value of the platform; did you mean",
        "Write the key as suggested: the misspelt one has no effect.",
    ),
    refusal(
        values!(".authentication.oidc.enabled"),
        "must be true or false while",
        "Set it to true or false, or remove the null.",
    ),
    refusal(
        values!(".bundles."),
        "to be \"isp-",
        "Turn the bundle off, or choose a variant in which it exists.",
    ),
    refusal(
        values!(".bundles.iaas.gpuOperatorVariant"),
        "supported values",
        "Write default or vgpu.",
    ),
    refusal(
        values!(".bundles."),
        "is no package of the platform",
        "Write the full name of a PackageSource, such as cozystack.telepresence.",
    ),
    refusal(
        values!(".bundles.enabledPackages["),
        "which wins",
        "Remove the name from one of the two lists.",
    ),
    refusal(
        values!(".migrations.image"),
        "must not be empty",
        "Remove the key: the release brings its own image.",
    ),
    refusal(
        values!(".migrations.targetVersion"),
        "whole number",
        "Remove the key: the release brings its own.",
    ),
    refusal(
        values!(".networking."),
        "must be an IPv4 network",
        "Write an IPv4 network, such as 10.244.0.0/16.",
    ),
    refusal(
        values!(".networking."),
        "must not overlap",
        "Choose networks that share no address.",
    ),
    refusal(
        values!(".networking.podGateway"),
        "must be an IPv4 address",
        "Write an IPv4 address, such as 10.244.0.1.",
    ),
    refusal(
        values!(".networking.podGateway"),
        "must be an address for a host inside",
        "Choose the gateway from the pods' network: usually its first address.",
    ),
    refusal(
        values!(".networking."),
        "the platform's network needs it",
        "Remove the null: isp-full hands the network to kube-ovn.",
    ),
    refusal(
        values!(".networking.kubeovn.MASTER_NODES"),
        "must be IP addresses",
        "Write the addresses in one string, separated by commas.",
    ),
    refusal(
        values!(".publishing.host"),
        "Required value",
        "Set the domain under which the platform publishes.",
    ),
    refusal(
        values!(".publishing.host"),
        "must be a domain name",
        "Write a domain, not an address.",
    ),
    refusal(
        values!(".publishing.host"),
        "tenants' namespaces carry it in a label",
        "Choose a shorter domain.",
    ),
    refusal(
        values!(""),
        "must be no more than",
        "Choose a shorter name.",
    ),
    refusal(
        values!(".publishing.loadBalancerClass"),
        "must be a name of at most",
        "Write the class as Services have it, such as example.org/lb.",
    ),
    refusal(
        values!(""),
        "must be lower-case letters",
        "Write a name as DNS allows it.",
    ),
    refusal(
        values!(".publishing.externalIPs["),
        "must be an IP address",
        "Write IPv4 or IPv6 addresses, without ports or prefix lengths.",
    ),
    refusal(
        values!(""),
        "must be a URL",
        "Write a whole URL with http or https and a host, such as https://api.example.org:6443.",
    ),
    refusal(
        values!(""),
        "supported values",
        "Write one of the values that the message lists: charts read no others.",
    ),
    refusal(
        values!(".registries.config"),
        "must be an object while",
        "Add config, if only an empty map: the chart looks every endpoint up in it.",
    ),
    refusal(
        values!(".resources."),
        "must be greater than 0",
        "Write a ratio above 0, such as 10.",
    ),
];
