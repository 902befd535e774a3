//! What a rule declares of itself, as data: the webhook configurations, the RBAC and the docs are made of it.

use super::cluster::Read;
use super::settings::Setting;

/// A kind of Kubernetes object, by all of its names.
#[derive(Debug, PartialEq, Eq, Hash, Clone, Copy)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version in which the service reads it.
    pub version: &'static str,
    /// Plural name, as in URLs.
    pub plural: &'static str,
    /// Kind, as in manifests.
    pub kind: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// `group/version`, or the version alone for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The group as it stands in paths and file names: the core group has no name of its own.
    #[must_use]
    pub fn path_group(&self) -> &'static str {
        if self.group.is_empty() {
            "core"
        } else {
            self.group
        }
    }
}

/// What is done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// A new object.
    Create,
    /// A changed object.
    Update,
    /// An object taken away.
    Delete,
}

impl Operation {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
        }
    }

    /// The operation of that name on the wire.
    #[must_use]
    pub fn from_wire(name: &str) -> Option<Operation> {
        [Operation::Create, Operation::Update, Operation::Delete]
            .into_iter()
            .find(|operation| operation.as_str() == name)
    }
}

/// Which requests a rule wants to see. Never a subresource: `*/status` and `*/finalizers` are nobody's business.
#[derive(Debug)]
pub struct Rule {
    /// The kind.
    pub resource: &'static Resource,
    /// All versions in which the API server may send it.
    pub versions: &'static [&'static str],
    /// The operations.
    pub operations: &'static [Operation],
}

/// A CEL condition that the API server evaluates before it calls.
#[derive(Debug)]
pub struct MatchCondition {
    /// Its name in the webhook configuration.
    pub name: &'static str,
    /// A CEL expression over `object`, `oldObject` and `request`.
    pub expression: &'static str,
}

/// What the API server does when the service does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailurePolicy {
    /// The request is refused.
    Fail,
    /// The request goes on.
    Ignore,
}

impl FailurePolicy {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FailurePolicy::Fail => "Fail",
            FailurePolicy::Ignore => "Ignore",
        }
    }
}

/// How seriously a rule's violations are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The rule does not run.
    Off,
    /// Violations become warnings.
    Warn,
    /// Violations refuse.
    Enforce,
}

impl Mode {
    /// All modes.
    pub const ALL: [Mode; 3] = [Mode::Off, Mode::Warn, Mode::Enforce];

    /// The word in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Off => "off",
            Mode::Warn => "warn",
            Mode::Enforce => "enforce",
        }
    }
}

/// A refusal as the docs list it.
#[derive(Debug)]
pub struct Refusal {
    /// Where: the beginning of a JSON path, `*` for whatever is there; empty for anywhere.
    pub field: &'static str,
    /// A part of the sentence by which the user finds it.
    pub says: &'static str,
    /// What to do.
    pub fix: &'static str,
}

impl Refusal {
    /// Whether a cause at `field` with that sentence is this one.
    #[must_use]
    pub fn covers(&self, field: &str, message: &str) -> bool {
        let mut parts = self.field.split('*');
        let first = parts.next().unwrap_or_default();
        let mut rest = field.strip_prefix(first);
        for part in parts {
            rest = rest
                .and_then(|rest| rest.split_once(part))
                .map(|(_, rest)| rest);
        }
        rest.is_some() && message.contains(self.says)
    }
}

/// In which namespaces a rule looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Everywhere but in the installation's own namespace: no rule may keep the service from healing.
    OutsideOurNamespace,
    /// Only there.
    OurNamespace,
}

/// Where a rule's decision runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// On the connection's own thread: microseconds, and what takes longer is left to the bounded pool by
    /// [`super::Deadline::check_long`].
    Light,
    /// On the bounded pool: it may take a millisecond and more.
    Heavy,
}

/// Everything the framework must know of a folder. A rule has no side effects, so none are declared: the
/// generated configurations always say `sideEffects: None`.
#[derive(Debug)]
pub struct Declaration {
    /// The folder's name in kebab case: what settings, metrics, the `allow` annotation and the docs call the rule.
    pub id: &'static str,
    /// One sentence: what is refused, changed or added, and for whom.
    pub summary: &'static str,
    /// The requests that it wants to see.
    pub rules: &'static [Rule],
    /// Where it looks.
    pub scope: Scope,
    /// Names of the objects that it wants to see; empty for all.
    pub names: &'static [&'static str],
    /// Conditions that the API server checks before it calls.
    pub match_conditions: &'static [MatchCondition],
    /// What happens to a request while the service is away.
    pub failure_policy: FailurePolicy,
    /// How long the API server waits, in seconds (1 to 30).
    pub timeout_seconds: u8,
    /// The mode when no setting says otherwise.
    pub default_mode: Mode,
    /// Where its decision runs.
    pub weight: Weight,
    /// The kinds that it reads. Reading any other is a fault.
    pub reads: &'static [&'static Read],
    /// The kinds that its companions write. They are watched too, by [`super::companions::BY_PARENT`].
    pub writes: &'static [&'static Read],
    /// What operators may set, beside the mode.
    pub settings: &'static [Setting],
    /// What it refuses and how to put it right, for the docs: every refusal has a line in one of these lists.
    pub refusals: &'static [&'static [Refusal]],
}
