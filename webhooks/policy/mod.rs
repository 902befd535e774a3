//! Rules of operators for Packages, in the words of ValidatingAdmissionPolicy: read and compiled when they are written,
//! asked when a Package is.
//!
//! ```text
//! PackagePolicy --Policy::compile--> Policy --Policies::of--> Policies (by name, prefix, label)
//!                    |                                            |
//!               violations, each with path,            Facts (of a request) --Policy::judge--> Ruling
//!               line and column
//! ```
//!
//! Oracle: `k8s.io/apiserver/pkg/admission/plugin/policy/validating`, v0.34.4. What differs is in `docs/policies.md`.

mod compile;
mod facts;
mod index;
mod judge;
mod matching;
mod others;
mod parts;
#[cfg(test)]
mod tests;

pub use compile::Policy;
pub use facts::{Facts, Part};
pub use index::Policies;
pub use judge::{Refusal, Ruling, Step};
pub use parts::{Actions, Expression, FailurePolicy};

/// What each list of a policy holds at most, as in the CRD.
pub const ITEMS_MAX: usize = 64;
/// Audit annotations of a policy at most, as in ValidatingAdmissionPolicy.
pub const ANNOTATIONS_MAX: usize = 20;
/// Longest message, in bytes: what an expression makes beyond it is not shown, as in ValidatingAdmissionPolicy.
pub const MESSAGE_MAX_BYTES: usize = 5 * 1024;
/// Longest value of an audit annotation, in bytes; the rest is cut off, as in ValidatingAdmissionPolicy.
pub const ANNOTATION_MAX_BYTES: usize = 10 * 1024;
/// Longest name of an audit annotation behind the webhook's name, in bytes (`IsQualifiedName` of the API server, which
/// drops what does not fit).
pub const ANNOTATION_NAME_MAX_BYTES: usize = 63;
/// What an expression may be estimated to cost, in steps. The estimate takes lists of unknown length for a hundred items
/// long: this lets three loops within each other pass and stops the fourth, which real Packages would have stopped while
/// it runs.
pub const EXPRESSION_COST_MAX: u64 = 10 * crate::cel::run::STEPS_MAX;
/// What all expressions of a policy may be estimated to cost: ten times that of one, as the API server has it of what
/// they take.
pub const POLICY_COST_MAX: u64 = 10 * EXPRESSION_COST_MAX;
/// Steps that one policy may take for one request, whatever it holds and however many components it is asked of: ten
/// times those of one expression, as the API server has it.
pub const POLICY_STEPS_MAX: u64 = 10 * crate::cel::run::STEPS_MAX;
/// Bytes that the expressions of one policy may make for one request: what variables give is kept to the end.
pub const POLICY_BYTES_MAX: usize = 24 << 20;
/// Steps that all policies of a request together may take on a connection's own thread: a few hundred microseconds. What
/// takes more is asked again where nobody waits.
pub const BRIEF_STEPS_MAX: u64 = 10_000;
