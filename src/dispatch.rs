//! From a request to a decision: finds the rules of a path, runs them, merges what they say.

use crate::review::admission::Request as Wire;
use arc_swap::ArcSwap;
use json_patch::PatchOperation;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use webhooks::charts::OwnSchema;
use webhooks::contract::companions::{self, parent_key};
use webhooks::contract::verdict::WARNING_MAX_CHARS;
use webhooks::contract::{
    ALLOW_ANNOTATION, Chart, Cluster, Conversion, Deadline, Declaration, Edit, FailurePolicy,
    Fault, Found, Index, Mode, Mutate, Object, Operation, Read, Reason, Request, Resource,
    Scope as RuleScope, Settings, Standing, Verdict, Violation, Webhook, Weight, World, edit,
};
use webhooks::kinds::{EXTERNAL_ARTIFACTS, PACKAGE_POLICIES};
use webhooks::policy::Policies;

/// All warnings of an answer together, in characters: the API server drops what is beyond 4096.
const WARNINGS_MAX_CHARS: usize = 4_000;

/// Which of a folder's roles a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Completes objects.
    Mutate,
    /// Checks changes.
    Validate,
}

impl Role {
    /// The first part of the path.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Mutate => "mutate",
            Role::Validate => "validate",
        }
    }

    fn is_played_by(self, webhook: &Webhook, resource: &Resource) -> bool {
        match self {
            Role::Mutate => webhook
                .mutate
                .is_some_and(|mutate| mutate.completes(resource)),
            Role::Validate => webhook.validate.is_some(),
        }
    }

    /// What happens to a request of that rule while the service is away. A mutator never stops a cluster: the same
    /// rule's validator holds the final state.
    fn failure_policy(self, declaration: &Declaration) -> FailurePolicy {
        match self {
            Role::Mutate => FailurePolicy::Ignore,
            Role::Validate => declaration.failure_policy,
        }
    }
}

/// The rules of one role on one resource with one failure policy and scope: one path, one entry in a webhook configuration.
/// The API server calls entries in parallel and shows only the first refusal, so rules that share a resource share
/// an entry.
pub struct Entry {
    /// The role.
    pub role: Role,
    /// The resource.
    pub resource: &'static Resource,
    /// The failure policy.
    pub failure_policy: FailurePolicy,
    /// In which namespaces its rules look.
    pub scope: RuleScope,
    /// The path.
    pub path: String,
    /// The rules, in the order of the registry.
    pub webhooks: Vec<&'static Webhook>,
}

impl Entry {
    /// Whether its decision runs on the bounded pool.
    #[must_use]
    pub fn weight(&self) -> Weight {
        if self
            .declarations()
            .any(|declaration| declaration.weight == Weight::Heavy)
        {
            Weight::Heavy
        } else {
            Weight::Light
        }
    }

    /// JSON Pointers of everything that its rules may change.
    #[must_use]
    pub fn pointers(&self) -> Vec<&'static str> {
        let rules = self.webhooks.iter().filter_map(|webhook| webhook.mutate);
        let mut pointers: Vec<&str> = rules.flat_map(Mutate::pointers).copied().collect();
        pointers.sort_unstable();
        pointers.dedup();
        pointers
    }

    /// Those that a comparison with what was written has to leave out.
    #[must_use]
    pub fn ignored(&self) -> Vec<&'static str> {
        let rules = self.webhooks.iter().filter_map(|webhook| webhook.mutate);
        let mut pointers: Vec<&str> = rules.flat_map(Mutate::ignored).copied().collect();
        pointers.sort_unstable();
        pointers.dedup();
        pointers
    }

    /// The declarations of its rules.
    pub fn declarations(&self) -> impl Iterator<Item = &'static Declaration> + '_ {
        self.webhooks.iter().map(|webhook| &webhook.declaration)
    }
}

/// The entries of a registry, in order of role, resource and failure policy.
#[must_use]
pub fn entries(registry: &[&'static Webhook]) -> Vec<Entry> {
    let mut grouped: BTreeMap<(Role, &str, &str, FailurePolicy, RuleScope), Entry> =
        BTreeMap::new();
    for webhook in registry {
        for role in [Role::Mutate, Role::Validate] {
            for rule in webhook
                .declaration
                .rules
                .iter()
                .filter(|rule| role.is_played_by(webhook, rule.resource))
            {
                let policy = role.failure_policy(&webhook.declaration);
                let scope = webhook.declaration.scope;
                let entry = grouped
                    .entry((
                        role,
                        rule.resource.group,
                        rule.resource.plural,
                        policy,
                        scope,
                    ))
                    .or_insert_with(|| Entry {
                        role,
                        resource: rule.resource,
                        failure_policy: policy,
                        scope,
                        path: format!(
                            "/{}/{}/{}",
                            role.as_str(),
                            rule.resource.path_group(),
                            rule.resource.plural
                        ),
                        webhooks: Vec::new(),
                    });
                if !entry
                    .webhooks
                    .iter()
                    .any(|known| std::ptr::eq(*known, *webhook))
                {
                    entry.webhooks.push(webhook);
                }
            }
        }
    }
    let mut entries: Vec<Entry> = grouped.into_values().collect();
    // Two policies or scopes on one resource are two entries: the second one's path says which.
    let mut previous = String::new();
    for entry in &mut entries {
        if entry.path == previous {
            if entry.failure_policy == FailurePolicy::Ignore {
                entry.path.push_str("/ignore");
            }
            if entry.scope == RuleScope::OurNamespace {
                entry.path.push_str("/own");
            }
        } else {
            previous.clone_from(&entry.path);
        }
    }
    entries
}

/// A violation and the rule that found it.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleViolation {
    /// The rule's id.
    pub rule: &'static str,
    /// What it found.
    pub violation: Violation,
}

/// A sentence for the user and the rule that says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleWarning {
    /// The rule's id.
    pub rule: &'static str,
    /// The sentence, of any length.
    pub text: String,
}

/// Why a request is refused, for `response.status`.
#[derive(Debug, Clone, PartialEq)]
pub struct Denial {
    /// HTTP code of the Status.
    pub code: u16,
    /// Reason of the Status.
    pub reason: &'static str,
    /// The whole text.
    pub message: String,
    /// API group of the object.
    pub group: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
}

/// What is answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// Set when the request is refused.
    pub denial: Option<Denial>,
    /// Everything that refuses it.
    pub violations: Vec<RuleViolation>,
    /// Sentences for the user, whole; [`Decision::shown_warnings`] is what fits an answer.
    pub warnings: Vec<RuleWarning>,
    /// Audit annotations.
    pub audit: Vec<(String, String)>,
    /// By what the rules judged, where somebody has asked.
    pub notes: Vec<RuleWarning>,
    /// What changes the object; empty for validators.
    pub patch: Vec<PatchOperation>,
    /// The rules that ran, and what became of each.
    pub rules: Vec<(&'static str, Outcome)>,
}

/// What became of one rule in one review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing to say.
    Allowed,
    /// It changed the object.
    Mutated,
    /// It had violations that only warn.
    Warned,
    /// Its violations were overruled by the `allow` annotation.
    Insisted,
    /// It refused.
    Denied,
    /// It could not decide.
    Fault,
}

impl Outcome {
    /// The name in metrics and audit annotations.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Allowed => "allowed",
            Outcome::Mutated => "mutated",
            Outcome::Warned => "warned",
            Outcome::Insisted => "insisted",
            Outcome::Denied => "denied",
            Outcome::Fault => "fault",
        }
    }
}

impl Decision {
    /// A denial of a request that cannot be read.
    #[must_use]
    pub fn unreadable(message: String) -> Decision {
        Decision {
            denial: Some(Denial {
                code: 400,
                reason: "BadRequest",
                message,
                group: String::new(),
                kind: String::new(),
                name: String::new(),
            }),
            ..Decision::default()
        }
    }

    /// Whether the request goes on.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.denial.is_none()
    }

    fn warn(&mut self, rule: &'static str, text: String) {
        self.warnings.push(RuleWarning { rule, text });
    }

    /// The warnings as an answer carries them: each cut to what clients show, together no more than the API server
    /// passes on.
    #[must_use]
    pub fn shown_warnings(&self) -> Vec<String> {
        let mut total = 0;
        self.warnings
            .iter()
            .map(|warning| {
                if warning.text.chars().count() > WARNING_MAX_CHARS {
                    let kept = warning.text.chars().take(WARNING_MAX_CHARS - 3);
                    kept.chain("...".chars()).collect()
                } else {
                    warning.text.clone()
                }
            })
            .take_while(|text: &String| {
                total += text.chars().count();
                total <= WARNINGS_MAX_CHARS
            })
            .collect()
    }
}

/// A fault and the rule that had it.
#[derive(Debug, thiserror::Error)]
#[error("rule {rule}: {fault}")]
pub struct RuleFault {
    /// The rule's id.
    pub rule: &'static str,
    /// What went wrong.
    #[source]
    pub fault: Fault,
}

/// Finds and runs rules.
pub struct Dispatcher {
    entries: BTreeMap<String, Arc<Entry>>,
    conversions: BTreeMap<String, (&'static Conversion, crate::review::conversion::Target)>,
    settings: ArcSwap<Settings>,
    explains: bool,
}

impl Dispatcher {
    /// A dispatcher over a registry.
    #[must_use]
    pub fn new(registry: &[&'static Webhook], settings: Settings) -> Dispatcher {
        use crate::review::conversion::Target;
        let entries = entries(registry)
            .into_iter()
            .map(|entry| (entry.path.clone(), Arc::new(entry)))
            .collect();
        let mut conversions = BTreeMap::new();
        for conversion in registry.iter().filter_map(|webhook| webhook.convert) {
            let plural = conversion.hub.plural;
            conversions.insert(format!("/convert/{plural}"), (conversion, Target::Version));
            if conversion.rename.is_some() {
                conversions.insert(format!("/rename/{plural}"), (conversion, Target::Successor));
            }
        }
        Dispatcher {
            entries,
            conversions,
            settings: ArcSwap::from_pointee(settings),
            explains: false,
        }
    }

    /// The same one, which has rules say by what they judge.
    #[must_use]
    pub fn explaining(mut self) -> Dispatcher {
        self.explains = true;
        self
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Puts other settings in force, from the next request on.
    pub fn put_settings(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// The entry at an admission path.
    #[must_use]
    pub fn entry(&self, path: &str) -> Option<&Arc<Entry>> {
        self.entries.get(path)
    }

    /// All admission entries.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    /// The conversion at a conversion path.
    #[must_use]
    pub fn conversion(
        &self,
        path: &str,
    ) -> Option<(&'static Conversion, crate::review::conversion::Target)> {
        self.conversions.get(path).copied()
    }

    /// All conversion paths.
    pub fn conversion_paths(&self) -> impl Iterator<Item = &str> {
        self.conversions.keys().map(String::as_str)
    }

    /// Decides over one request.
    ///
    /// # Errors
    /// When a rule could not decide: never an "allowed", never a denial.
    pub fn admit(
        &self,
        entry: &Entry,
        wire: &Wire<'_>,
        cluster: &dyn Cluster,
        deadline: Deadline,
    ) -> Result<Decision, RuleFault> {
        let mut decision = Decision::default();
        let mut edits = Vec::new();
        // Nobody asked for subresources or other operations; whatever sends them is none of our business.
        let Some(operation) = Operation::from_wire(&wire.operation) else {
            return Ok(decision);
        };
        if wire
            .sub_resource
            .as_deref()
            .is_some_and(|sub| !sub.is_empty())
        {
            return Ok(decision);
        }
        let settings = self.settings.load();
        for webhook in &entry.webhooks {
            let declaration = &webhook.declaration;
            let mode = settings.mode(declaration);
            if mode == Mode::Off || !is_wanted(declaration, wire, operation) {
                continue;
            }
            let scope = Scope {
                inner: cluster,
                declaration,
                undeclared: OnceLock::new(),
            };
            let request = Request {
                operation,
                group: &wire.resource.group,
                version: &wire.kind.version,
                kind: &wire.kind.kind,
                namespace: wire.namespace.as_deref().unwrap_or_default(),
                name: wire.name.as_deref().unwrap_or_default(),
                object: wire.object(),
                old_object: wire.old_object(),
                user_info: wire.user_info(),
                dry_run: wire.dry_run.unwrap_or_default(),
                cluster: &scope,
                settings: settings.of(declaration),
                deadline,
                explains: self.explains,
            };
            let run = || {
                let outcome = match entry.role {
                    Role::Validate => validate(webhook, mode, &request, &mut decision),
                    Role::Mutate => mutate(webhook, &request, &mut decision, &mut edits),
                }?;
                if entry.role == companions_role(webhook) && outcome != Outcome::Denied {
                    announce_companions(webhook, &request, cluster, &mut decision);
                }
                Ok(outcome)
            };
            let fault = |fault| RuleFault {
                rule: declaration.id,
                fault,
            };
            let outcome = match catch_unwind(AssertUnwindSafe(run)) {
                Ok(outcome) => outcome.map_err(fault)?,
                Err(panic) => {
                    return Err(fault(Fault::Internal(format!(
                        "panicked: {}",
                        panic_text(&*panic)
                    ))));
                }
            };
            if let Some(what) = scope.undeclared.into_inner() {
                return Err(fault(Fault::UndeclaredRead { what }));
            }
            decision.rules.push((declaration.id, outcome));
            deadline.check().map_err(fault)?;
        }
        make_patch(&edits, wire, &mut decision)?;
        conclude(&mut decision, wire);
        Ok(decision)
    }
}

fn validate(
    webhook: &'static Webhook,
    mode: Mode,
    request: &Request<'_>,
    decision: &mut Decision,
) -> Result<Outcome, Fault> {
    let Some(validate) = webhook.validate else {
        return Ok(Outcome::Allowed);
    };
    let rule = webhook.declaration.id;
    let mut verdict = Verdict::default();
    validate.validate(request, &mut verdict)?;
    for text in verdict.warnings.drain(..) {
        decision.warn(rule, text);
    }
    decision.audit.append(&mut verdict.audit);
    let notes = verdict.notes.drain(..);
    decision
        .notes
        .extend(notes.map(|text| RuleWarning { rule, text }));
    if verdict.violations.is_empty() {
        return Ok(Outcome::Allowed);
    }
    // An object on its way out must be able to go: finalizers are taken off by updates.
    if request.operation == Operation::Update && is_leaving_unchanged(request) {
        return Ok(Outcome::Allowed);
    }
    let mut outcome = Outcome::Allowed;
    let mut old_sins = old_sins(validate, request)?;
    let mut insists = None;
    for violation in verdict.violations {
        request.deadline.check()?;
        if let Some(position) = old_sins.iter().position(|old| violation.is_same_sin(old)) {
            // One old sin excuses one violation, not two.
            old_sins.swap_remove(position);
            decision.warn(rule, violation.message());
            outcome = worse(outcome, Outcome::Warned);
        } else if mode == Mode::Warn {
            decision.warn(rule, violation.message());
            outcome = worse(outcome, Outcome::Warned);
        } else if violation.insistable
            && *insists.get_or_insert_with(|| has_allow_annotation(request, rule))
        {
            tracing::info!(
                rule,
                name = request.name,
                violation = violation.message(),
                "overruled by the writer"
            );
            decision.warn(rule, violation.message());
            outcome = worse(outcome, Outcome::Insisted);
        } else {
            let mut violation = violation;
            if violation.insistable {
                violation.detail = format!(
                    "{} (to insist, annotate with {ALLOW_ANNOTATION}: {rule})",
                    violation.detail
                );
            }
            decision.violations.push(RuleViolation { rule, violation });
            outcome = Outcome::Denied;
        }
    }
    Ok(outcome)
}

/// The role in whose review a folder's companions are announced: the last one that it plays.
fn companions_role(webhook: &Webhook) -> Role {
    if webhook.validate.is_some() {
        Role::Validate
    } else {
        Role::Mutate
    }
}

/// Says which companions stand in somebody else's hands and, in a dry run, which would be made. What cannot be known
/// now is no reason to refuse: the engine finds out.
fn announce_companions(
    webhook: &'static Webhook,
    request: &Request<'_>,
    cluster: &dyn Cluster,
    decision: &mut Decision,
) {
    let (Some(companions), Some(object)) = (webhook.companions, request.object) else {
        return;
    };
    if companions.is_announced_by_mutator() {
        return;
    }
    // A rule may check other kinds than those that bring companions.
    let parents = &companions.parents().resource;
    if (parents.group, parents.kind) != (request.group, request.kind) {
        return;
    }
    let Some(parent) = object.read::<Value>().ok().and_then(Object::of) else {
        return;
    };
    let world = World {
        cluster: request.cluster,
        settings: request.settings,
    };
    let declaration = &webhook.declaration;
    match companions::desired(declaration, companions, &parent, &world) {
        Ok(Some(desired)) => {
            let key = parent_key(declaration.id, &parent.namespace, &parent.name);
            for child in desired.children.into_iter().filter_map(Object::of) {
                let Some(read) = companions::written(declaration, &child.value) else {
                    continue;
                };
                let live = cluster.get(read, &child.namespace, &child.name);
                let standing = Standing::of(live.as_deref(), &key);
                let warning = companions::announcement(
                    &read.resource,
                    || child.display_name(),
                    standing,
                    request.dry_run,
                );
                if let Some(warning) = warning {
                    decision.warn(declaration.id, warning);
                }
            }
        }
        Ok(None) => {}
        Err(fault) => {
            tracing::debug!(rule = declaration.id, %fault, "companions are not known");
        }
    }
}

fn worse(one: Outcome, two: Outcome) -> Outcome {
    let rank = |outcome| match outcome {
        Outcome::Allowed | Outcome::Mutated => 0,
        Outcome::Warned => 1,
        Outcome::Insisted => 2,
        Outcome::Denied => 3,
        Outcome::Fault => 4,
    };
    if rank(two) > rank(one) { two } else { one }
}

fn is_wanted(declaration: &Declaration, wire: &Wire<'_>, operation: Operation) -> bool {
    let name = wire.name.as_deref().unwrap_or_default();
    let is_named = declaration.names.is_empty() || declaration.names.contains(&name);
    is_named
        && declaration.rules.iter().any(|rule| {
            rule.resource.group == wire.resource.group
                && rule.resource.plural == wire.resource.resource
                && rule
                    .versions
                    .iter()
                    .any(|version| *version == wire.resource.version)
                && rule.operations.contains(&operation)
        })
}

fn mutate(
    webhook: &'static Webhook,
    request: &Request<'_>,
    decision: &mut Decision,
    edits: &mut Vec<Edit>,
) -> Result<Outcome, Fault> {
    let (Some(mutate), Some(_)) = (webhook.mutate, request.object) else {
        return Ok(Outcome::Allowed);
    };
    let mut verdict = Verdict::default();
    let mut wanted = mutate.mutate(request, &mut verdict)?;
    for text in verdict.warnings.drain(..) {
        decision.warn(webhook.declaration.id, text);
    }
    decision.audit.append(&mut verdict.audit);
    if wanted.is_empty()
        || (request.operation == Operation::Update && is_leaving_unchanged(request))
    {
        return Ok(Outcome::Allowed);
    }
    edits.append(&mut wanted);
    Ok(Outcome::Mutated)
}

/// One patch of all rules' edits: two patches made apart could each bring the parent that both miss.
fn make_patch(edits: &[Edit], wire: &Wire<'_>, decision: &mut Decision) -> Result<(), RuleFault> {
    let (Some(object), false) = (wire.object(), edits.is_empty()) else {
        return Ok(());
    };
    let author = decision
        .rules
        .iter()
        .find(|(_, outcome)| *outcome == Outcome::Mutated)
        .map_or("", |(rule, _)| *rule);
    decision.patch = edit::patch(object, edits).map_err(|error| RuleFault {
        rule: author,
        fault: Fault::Edit(error),
    })?;
    if decision.patch.is_empty() {
        for (_, outcome) in decision
            .rules
            .iter_mut()
            .filter(|(_, outcome)| *outcome == Outcome::Mutated)
        {
            *outcome = Outcome::Allowed;
        }
    }
    Ok(())
}

/// The violations that the object had before the change.
fn old_sins(
    validate: &'static dyn webhooks::contract::Validate,
    request: &Request<'_>,
) -> Result<Vec<Violation>, Fault> {
    if request.operation != Operation::Update {
        return Ok(Vec::new());
    }
    let Some(about_the_old) = request.about_the_old() else {
        return Ok(Vec::new());
    };
    let mut verdict = Verdict::default();
    validate.validate(&about_the_old, &mut verdict)?;
    Ok(verdict.violations)
}

#[derive(Deserialize)]
struct Leaving {
    metadata: LeavingMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeavingMetadata {
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize, PartialEq)]
struct Spec {
    #[serde(default)]
    spec: Value,
}

/// Whether the object is being deleted and the update leaves its spec alone. The specs are built only when it is.
fn is_leaving_unchanged(request: &Request<'_>) -> bool {
    let (Some(new), Some(old)) = (request.object, request.old_object) else {
        return false;
    };
    // A search of the text costs a tenth of reading it, and nearly every object stays.
    let is_leaving = new.get().contains("\"deletionTimestamp\"")
        && new
            .read::<Leaving>()
            .is_ok_and(|object| object.metadata.deletion_timestamp.is_some());
    is_leaving
        && match (new.read::<Spec>(), old.read::<Spec>()) {
            (Ok(new), Ok(old)) => new == old,
            _ => false,
        }
}

#[derive(Deserialize)]
struct Annotated {
    metadata: AnnotatedMetadata,
}

#[derive(Deserialize)]
struct AnnotatedMetadata {
    annotations: Option<BTreeMap<String, Value>>,
}

/// Whether the writer insists: read from the object that is written, on DELETE from the stored one.
fn has_allow_annotation(request: &Request<'_>, rule: &str) -> bool {
    request
        .subject()
        .and_then(|raw| raw.read::<Annotated>().ok())
        .and_then(|object| object.metadata.annotations)
        .and_then(|annotations| {
            annotations
                .get(ALLOW_ANNOTATION)
                .and_then(Value::as_str)
                .map(ToOwned::to_owned)
        })
        .is_some_and(|rules| rules.split(',').any(|allowed| allowed.trim() == rule))
}

/// Merges what the rules said into one answer.
fn conclude(decision: &mut Decision, wire: &Wire<'_>) {
    let named = |wanted: Outcome| {
        let rules: Vec<&str> = decision
            .rules
            .iter()
            .filter(|(_, outcome)| *outcome == wanted)
            .map(|(rule, _)| *rule)
            .collect();
        rules.join(",")
    };
    let decisive = if decision.violations.is_empty() {
        Outcome::Insisted
    } else {
        Outcome::Denied
    };
    let rules = named(decisive);
    if !rules.is_empty() {
        for (key, value) in [
            ("rule", rules.as_str()),
            ("decision", decisive.as_str()),
            ("revision", env!("CARGO_PKG_VERSION")),
        ] {
            decision.audit.push((key.to_owned(), value.to_owned()));
        }
    }
    if decision.violations.is_empty() {
        return;
    }
    let (group, kind) = (
        wire.kind.group.clone().into_owned(),
        wire.kind.kind.clone().into_owned(),
    );
    let name = wire
        .name
        .as_deref()
        .filter(|name| !name.is_empty())
        .unwrap_or("(no name yet)")
        .to_owned();
    let messages: Vec<String> = decision
        .violations
        .iter()
        .map(|found| found.violation.message())
        .collect();
    let reason = status_reason(&decision.violations);
    let (code, reason, message) = if reason == Reason::Invalid {
        let qualified = if group.is_empty() {
            kind.clone()
        } else {
            format!("{kind}.{group}")
        };
        let list = match messages.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        (
            reason.code(),
            reason.as_str(),
            format!("{qualified} {name:?} is invalid: {list}"),
        )
    } else {
        (reason.code(), reason.as_str(), messages.join("; "))
    };
    decision.denial = Some(Denial {
        code,
        reason,
        message,
        group,
        kind,
        name,
    });
}

/// As what all violations together are answered: as invalid where a field is wrong, else as the first of them.
fn status_reason(violations: &[RuleViolation]) -> Reason {
    let reason = |found: &RuleViolation| match &found.violation {
        Violation {
            policy: Some(policy),
            ..
        } => policy.reason,
        violation if violation.field.is_root() => Reason::Forbidden,
        _ => Reason::Invalid,
    };
    let is_field_wrong = violations
        .iter()
        .any(|found| found.violation.policy.is_none() && reason(found) == Reason::Invalid);
    match violations.first() {
        Some(first) if !is_field_wrong => reason(first),
        _ => Reason::Invalid,
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}

/// The cluster as one rule may see it: only what it declares.
struct Scope<'a> {
    inner: &'a dyn Cluster,
    declaration: &'static Declaration,
    undeclared: OnceLock<String>,
}

impl Scope<'_> {
    fn allows(&self, read: &'static Read, index: Option<&'static Index>) -> bool {
        let is_declared = self
            .declaration
            .reads
            .iter()
            .filter(|declared| {
                std::ptr::eq(**declared, read)
                    || declared.resource == read.resource && declared.content >= read.content
            })
            .any(|declared| {
                index.is_none_or(|index| {
                    declared
                        .indexes
                        .iter()
                        .any(|known| std::ptr::eq(*known, index))
                })
            });
        if !is_declared {
            let index = index
                .map(|index| format!(" by {}", index.name))
                .unwrap_or_default();
            let _ = self
                .undeclared
                .set(format!("{}{index}", read.resource.plural));
        }
        is_declared
    }
}

impl Cluster for Scope<'_> {
    fn get(&self, read: &'static Read, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.allows(read, None)
            .then(|| self.inner.get(read, namespace, name))
            .flatten()
    }

    fn find(&self, read: &'static Read, index: &'static Index, key: &str, limit: usize) -> Found {
        if self.allows(read, Some(index)) {
            self.inner.find(read, index, key, limit)
        } else {
            Found::default()
        }
    }

    fn chart(&self, artifact: &str) -> Chart {
        if self.allows(&EXTERNAL_ARTIFACTS, None) {
            self.inner.chart(artifact)
        } else {
            Chart::Unknown("the rule does not declare that it reads charts".into())
        }
    }

    fn own_schemas(&self, package: &str, component: &str) -> Vec<Arc<OwnSchema>> {
        self.inner.own_schemas(package, component)
    }

    fn policies(&self) -> Arc<Policies> {
        if self.allows(&PACKAGE_POLICIES, None) {
            self.inner.policies()
        } else {
            Arc::default()
        }
    }
}
