//! What is wrong with the values of the platform package, for the operators who configure a whole installation
//! through Package `cozystack.cozystack-platform`: the chart itself has no schema, so a slip shows up as a failed
//! or, worse, a silently different release.
//!
//! ```text
//! values of the user --keys: type, syntax, known?--\
//!        |                                          +--> Verdict
//! merged (values.yaml + files of the variant)      |
//!        |--checks: cross-field rules--------------/
//!        `--emitted: the Packages that the bundles bring
//! ```
//!
//! Source of the rules: `packages/core/platform` of Cozystack: `values*.yaml` for keys, types and defaults,
//! `templates/bundles/*.yaml` for what is emitted and refused, `templates/{apps,repository,scheduling}.yaml` and
//! `templates/containerd-registry-secret.yaml` for how values are read.

mod checks;
mod keys;
mod packages;
mod refusals;
#[cfg(test)]
mod tests;
mod text;
mod values;

pub use checks::EXPOSED_SERVICES;
pub use packages::{
    NETWORKING, emitted, is_known_package, known_packages, nearest_package, renders,
};
pub use refusals::REFUSALS;
pub use values::{VARIANTS, Version, defaults, merge, merged, variants};

use crate::contract::{Path, Verdict, Violation};
use serde_json::{Map, Value};

/// Name of the Package (and of its PackageSource).
pub const PACKAGE: &str = "cozystack.cozystack-platform";
/// Its component whose values are checked.
pub const COMPONENT: &str = "platform";

/// Longest warning, in characters (the API server cuts longer ones).
const WARNING_MAX_CHARS: usize = 120;

/// The values as they stand in a Package.
pub struct Subject<'a> {
    /// `spec.variant`; empty for `default`, as the reconciler reads it.
    pub variant: &'a str,
    /// What the user wrote as values of the component; null for nothing.
    pub values: &'a Value,
    /// The release whose rules count.
    pub version: Version,
    /// Whether a PackageSource of that name is installed: such a name is never called unknown.
    pub is_installed: &'a dyn Fn(&str) -> bool,
}

/// Adds everything that is wrong with the values, which stand at `at`, and warns of what has no effect.
pub fn check(subject: &Subject<'_>, at: &Path<'_>, verdict: &mut Verdict) {
    let nothing = Map::new();
    let values = match subject.values {
        Value::Null => &nothing,
        Value::Object(values) => values,
        // The CRD takes it, and Flux then silently ignores it.
        other => {
            verdict.refuse(Violation::wrong_type(at, other, "an object"));
            return;
        }
    };
    let defaults = defaults(subject.variant, subject.version);
    keys::check(values, &defaults, subject.version, at, verdict);
    let mut merged = defaults;
    merge(&mut merged, values);
    checks::check(subject, values, &merged, at, verdict);
}

/// Warns in one sentence that is never too long: of a long path, the end says most.
fn warn(verdict: &mut Verdict, path: &Path<'_>, sentence: &str) {
    let path = path.to_field().to_string();
    let room = WARNING_MAX_CHARS.saturating_sub(sentence.chars().count() + ": ".len());
    let length = path.chars().count();
    if length <= room {
        verdict.warn(format!("{path}: {sentence}"));
        return;
    }
    let skipped = length - room.saturating_sub("...".len());
    let tail: String = path.chars().skip(skipped).collect();
    verdict.warn(format!("...{tail}: {sentence}"));
}
