//! What a policy is made of.

use super::Policy;
use crate::cel::Program;
use crate::contract::{FieldPath, Reason};
use std::collections::BTreeSet;

/// What becomes of a Package when an expression cannot be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailurePolicy {
    /// The policy's actions are taken, as for a violation.
    Fail,
    /// It is as if the expression had not been there, but for a warning.
    Ignore,
}

/// What a violation leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actions {
    /// The request is refused.
    pub deny: bool,
    /// The user is warned.
    pub warn: bool,
    /// The audit log says so.
    pub audit: bool,
}

impl Actions {
    /// Their names, in the order of the CRD.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.deny, "Deny"),
            (self.warn, "Warn"),
            (self.audit, "Audit"),
        ];
        all.into_iter().filter_map(|(is, name)| is.then_some(name))
    }
}

/// An expression, compiled.
#[derive(Debug)]
pub struct Expression {
    /// Where it stands, as in `spec.validations[0].expression`.
    pub path: FieldPath,
    /// Its text.
    pub source: String,
    /// What is run.
    pub program: Program,
}

/// `validations[]`
#[derive(Debug)]
pub struct Validation {
    pub expression: Expression,
    pub message: String,
    pub message_expression: Option<Expression>,
    pub reason: Reason,
}

/// Something with a name: a condition, a variable, an audit annotation.
#[derive(Debug)]
pub struct Named {
    pub name: String,
    pub expression: Expression,
}

/// `paramRef`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamRef {
    pub name: String,
    /// Whether the policy says nothing while it is not there.
    pub is_optional: bool,
}

/// What its expressions read: nothing else is looked up.
#[derive(Debug, Default)]
pub struct Uses {
    variables: Vec<&'static str>,
    /// Members of `metadata` before or after the change.
    pub metadata: BTreeSet<String>,
}

/// Members of `metadata` that users write, for those who read all of it.
const WRITTEN: [&str; 4] = ["annotations", "finalizers", "labels", "ownerReferences"];

impl Uses {
    /// What the expressions of a policy read.
    pub fn of(policy: &Policy) -> Uses {
        let is_used = |variable: &str| {
            let mut expressions = policy.expressions();
            expressions.any(|expression| expression.program.uses(variable))
        };
        let mut uses = Uses {
            variables: LOOKED_UP.into_iter().filter(|name| is_used(name)).collect(),
            ..Uses::default()
        };
        for expression in policy.expressions() {
            for read in expression.program.reads() {
                let mut path = read.splitn(4, '.');
                if !matches!(path.next(), Some("object" | "oldObject")) {
                    continue;
                }
                let (first, second) = (path.next(), path.next());
                let is_all = first.is_none() || first == Some("metadata") && second.is_none();
                if is_all {
                    uses.metadata.extend(WRITTEN.map(ToOwned::to_owned));
                } else if let (Some("metadata"), Some(member)) = (first, second) {
                    uses.metadata.insert(member.to_owned());
                }
            }
        }
        uses
    }

    /// Whether they use a variable.
    pub fn has(&self, variable: &str) -> bool {
        self.variables.contains(&variable)
    }

    /// Whether they look at more of the Package than at a component.
    pub fn has_object(&self) -> bool {
        self.has("object") || self.has("oldObject")
    }
}

/// Variables that are looked up, or taken apart, only where they are used.
const LOOKED_UP: [&str; 7] = [
    "object",
    "oldObject",
    "request",
    "source",
    "packages",
    "values",
    "oldValues",
];
