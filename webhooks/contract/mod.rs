//! The contract between the rules and the service: what a folder declares, is asked and answers.

pub mod cluster;
pub mod companions;
pub mod convert;
pub mod declaration;
pub mod document;
pub mod edit;
pub mod field;
pub mod json;
pub mod nearest;
mod packed;
pub mod request;
pub mod settings;
pub mod skim;
pub mod syntax;
pub mod verdict;
pub mod version;

pub use cluster::{Chart, Cluster, Content, Found, Index, Object, Read};
pub use companions::{Companions, Concerned, Desired, FIELD_MANAGER, Farewell, Standing, World};
pub use convert::{Conversion, ConvertError, Converted, Rename, Spoke};
pub use declaration::{
    Declaration, FailurePolicy, MatchCondition, Mode, Operation, Refusal, Resource, Rule, Scope,
    Weight,
};
pub use document::{Malformed, Node};
pub use edit::{Change, Edit};
pub use field::{FieldPath, Path};
pub use json::{Json, Outline};
pub use nearest::nearest;
pub use request::{Deadline, Request, User};
pub use settings::{RuleSettings, Setting, SettingKind, Settings};
pub use verdict::{ByPolicy, Cause, Reason, Verdict, Violation};
pub use version::Version;

/// The writer's way to insist: a list of rule ids, separated by commas.
pub const ALLOW_ANNOTATION: &str = "webhook.cozystack.io/allow";

/// A decision that could not be made. Never an "allowed", never a denial: the failure policy decides.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The time for the answer is over.
    #[error("the deadline of the request has passed")]
    DeadlineExceeded,
    /// It would take long, and others wait. No fault at all: the same is asked again on the bounded pool.
    #[error("the decision takes too long for a connection's own thread")]
    TakesLong,
    /// A rule read a kind or an index that it does not declare.
    #[error("rule reads {what}, which it does not declare")]
    UndeclaredRead {
        /// The kind or index.
        what: String,
    },
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
    /// An edit that does not fit the object.
    #[error("edit cannot be made: {0}")]
    Edit(#[from] edit::EditError),
}

/// Is this change allowed?
pub trait Validate: Sync {
    /// Adds everything that is wrong with the change to `verdict`.
    ///
    /// # Errors
    /// When it cannot be decided.
    fn validate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<(), Fault>;
}

/// What should the object look like?
pub trait Mutate: Sync {
    /// Whether it completes objects of that kind: a rule may check more kinds than it completes.
    fn completes(&self, _: &Resource) -> bool {
        true
    }

    /// The edits that the object needs; none when it is right. Warnings and audit annotations go to `verdict`,
    /// whose violations a mutator leaves alone.
    ///
    /// # Errors
    /// When it cannot be decided.
    fn mutate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<Vec<Edit>, Fault>;

    /// JSON Pointers of everything that the edits may change, for those who compare what they have written with what
    /// is there. Cases hold the rule to it.
    /// A pointer covers what is below it.
    fn pointers(&self) -> &'static [&'static str];

    /// Those of them that such a comparison has to leave out. What comes again whenever the writer tries need not be
    /// left out, and changes of it by others should be seen.
    fn ignored(&self) -> &'static [&'static str] {
        self.pointers()
    }
}

/// A folder: what it declares, and the roles that it plays.
pub struct Webhook {
    /// What the framework must know of it.
    pub declaration: Declaration,
    /// It checks changes.
    pub validate: Option<&'static dyn Validate>,
    /// It completes objects.
    pub mutate: Option<&'static dyn Mutate>,
    /// It converts between versions.
    pub convert: Option<&'static Conversion>,
    /// It brings other objects.
    pub companions: Option<&'static dyn Companions>,
}
