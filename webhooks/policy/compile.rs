//! From a PackagePolicy to something that can be asked, and everything that is wrong with it.

use super::matching::{Match, is_qualified_name, is_subdomain};
use super::parts::{Actions, Expression, FailurePolicy, Named, ParamRef, Uses, Validation};
use super::{
    ANNOTATION_NAME_MAX_BYTES, ANNOTATIONS_MAX, EXPRESSION_COST_MAX, ITEMS_MAX, POLICY_COST_MAX,
};
use crate::cel::types::ObjectType;
use crate::cel::{Environment, Program, Type, request_type};
use crate::contract::{Operation, Path, Reason, Violation};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

/// What compiling the regular expressions of a policy may cost, in steps: they are kept, up to 16 MiB of them.
const POLICY_REGEX_STEPS_MAX: u64 = 300_000;
/// How much of an expression is shown where it is refused, in characters.
const SHOWN_MAX_CHARS: usize = 500;
/// How many characters of what does not compile are kept as the reason.
const REASON_MAX_CHARS: usize = 1_000;
/// Names that CEL keeps for itself: none of them can be read as a field.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// A policy.
#[derive(Debug)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// `metadata.generation`; 0 where there is none, as in files.
    pub generation: i64,
    /// Which Packages it is about.
    pub(super) matching: Match,
    pub(super) conditions: Vec<Named>,
    pub(super) variables: Vec<Named>,
    pub(super) validations: Vec<Validation>,
    pub(super) annotations: Vec<Named>,
    /// What an expression that fails leads to.
    pub failure_policy: FailurePolicy,
    /// What a violation leads to.
    pub actions: Actions,
    pub(super) param_ref: Option<ParamRef>,
    pub(super) uses: Uses,
    broken: Option<String>,
}

impl Policy {
    /// Reads and compiles a PackagePolicy. What is wrong with it comes beside it: a policy that does not compile is kept,
    /// and fails whenever it is asked.
    #[must_use]
    pub fn compile(object: &Value) -> (Arc<Policy>, Vec<Violation>) {
        let nothing = Value::Null;
        let spec = object.get("spec").unwrap_or(&nothing);
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let mut compiler = Compiler {
            name: text("/metadata/name").unwrap_or_default().to_owned(),
            violations: Vec::new(),
            cost: 0,
            regex_steps: 0,
        };
        let matching = Match::read(spec, &mut compiler.violations);
        let has_components = matching.is_about_components();
        let param_ref = compiler.param_ref(spec);
        let mut environment = environment(has_components, param_ref.is_some());
        let before = environment.clone();
        let before = before.advising("variables", "matchConditions are evaluated before them");
        let conditions = compiler.conditions(spec, &before);
        let variables = compiler.variables(spec, &mut environment);
        let validations = compiler.validations(spec, &environment);
        let annotations = compiler.annotations(spec, &environment);
        let list = |member: &str| spec.get(member).and_then(Value::as_array);
        let is_empty = |member: &str| list(member).is_none_or(Vec::is_empty);
        let path = Path::ROOT.member("spec");
        if is_empty("validations") && is_empty("auditAnnotations") {
            compiler.violations.push(Violation::required(
                &path.member("validations"),
                "a policy says something: give validations or auditAnnotations",
            ));
        }
        let actions = compiler.actions(spec);
        compiler.check_cost();
        let Compiler {
            name, violations, ..
        } = compiler;
        let failure_policy = match spec.get("failurePolicy").and_then(Value::as_str) {
            Some("Ignore") => FailurePolicy::Ignore,
            _ => FailurePolicy::Fail,
        };
        let mut policy = Policy {
            name,
            generation: object
                .pointer("/metadata/generation")
                .and_then(Value::as_i64)
                .unwrap_or_default(),
            matching,
            conditions,
            variables,
            validations,
            annotations,
            failure_policy,
            actions,
            param_ref,
            uses: Uses::default(),
            broken: reason(&violations),
        };
        policy.uses = Uses::of(&policy);
        (Arc::new(policy), violations)
    }

    /// Why it does not compile; none when it does.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// The ConfigMap that its expressions know as `params`.
    #[must_use]
    pub fn params(&self) -> Option<&str> {
        self.param_ref.as_ref().map(|param| param.name.as_str())
    }

    /// Whether it may be about a Package of that name, whatever that holds.
    #[must_use]
    pub fn may_be_about(&self, name: &str, operation: Operation) -> bool {
        self.matching.may_match(name, operation)
    }

    /// Whether it is asked once for each component.
    #[must_use]
    pub fn is_about_components(&self) -> bool {
        self.matching.is_about_components()
    }

    /// All expressions that compile, in the order in which they are evaluated.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let named = self.conditions.iter().chain(&self.variables);
        let validations = self.validations.iter();
        let validations = validations.flat_map(|validation| {
            std::iter::once(&validation.expression).chain(&validation.message_expression)
        });
        named
            .map(|named| &named.expression)
            .chain(validations)
            .chain(self.annotations.iter().map(|named| &named.expression))
    }

    /// What all of them are estimated to cost, in steps.
    #[must_use]
    pub fn cost(&self) -> u64 {
        let costs = self.expressions().map(|one| one.program.cost());
        costs.fold(0, u64::saturating_add)
    }
}

/// As much of an expression as somebody reads in a message.
fn shown(source: &str) -> Cow<'_, str> {
    match source.char_indices().nth(SHOWN_MAX_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}...", source.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(source),
    }
}

/// What the expressions may use, but for `variables`.
fn environment(has_components: bool, has_params: bool) -> Environment {
    let package = Type::Object(Arc::new(ObjectType {
        name: "cozystack.Package".to_owned(),
        fields: vec![
            ("variant".to_owned(), Type::String),
            ("ready".to_owned(), Type::Bool),
            ("values".to_owned(), Type::map(Type::String, Type::Dyn)),
        ],
    }));
    let mut environment = Environment::new()
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with("request", request_type())
        .with("source", Type::Dyn)
        .with("packages", Type::map(Type::String, package));
    environment = if has_params {
        environment.with("params", Type::Dyn)
    } else {
        environment.advising("params", "give spec.paramRef")
    };
    if has_components {
        return environment
            .with("component", Type::String)
            .with("values", Type::Dyn)
            .with("oldValues", Type::Dyn);
    }
    for name in ["component", "values", "oldValues"] {
        environment = environment.advising(name, "give spec.match.components");
    }
    environment
}

/// The reason why a policy is broken, in one line.
fn reason(violations: &[Violation]) -> Option<String> {
    let (first, rest) = violations.split_first()?;
    let mut text: String = first.message().chars().take(REASON_MAX_CHARS).collect();
    if !rest.is_empty() {
        let _ = write!(text, " (and {} more)", rest.len());
    }
    Some(text.replace('\n', " "))
}

/// Whether CEL can read it as the name of a field.
fn is_identifier(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    text.bytes().next().is_some_and(is_letter)
        && text
            .bytes()
            .all(|byte| is_letter(byte) || byte.is_ascii_digit())
        && !RESERVED.contains(&text)
}

struct Compiler {
    name: String,
    violations: Vec<Violation>,
    cost: u64,
    regex_steps: u64,
}

/// The items of a list of the spec, as many as the CRD lets in.
fn items<'a>(
    spec: &'a Value,
    member: &str,
    most: usize,
) -> impl Iterator<Item = (usize, &'a Value)> {
    let list = spec.get(member).and_then(Value::as_array);
    list.into_iter().flatten().take(most).enumerate()
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value
        .get(member)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

impl Compiler {
    fn refuse(&mut self, violation: Violation) {
        self.violations.push(violation);
    }

    /// One expression; none when it does not compile.
    fn expression(
        &mut self,
        path: &Path<'_>,
        source: &str,
        environment: &Environment,
        results: &[Type],
    ) -> Option<Expression> {
        if source.trim().is_empty() {
            self.refuse(Violation::required(path, "an expression"));
            return None;
        }
        let program = match Program::compile(source, environment) {
            Ok(program) => program,
            Err(errors) => {
                let source = shown(source);
                for error in errors {
                    self.refuse(Violation::invalid(path, &*source, error.to_string()));
                }
                return None;
            }
        };
        let result = program.result();
        if !results.is_empty() && !results.contains(result) {
            let wanted: Vec<String> = results.iter().map(ToString::to_string).collect();
            let detail = format!("must evaluate to {} but got {result}", wanted.join(" or "));
            self.refuse(Violation::invalid(path, &*shown(source), detail));
            return None;
        }
        let cost = program.cost();
        if cost > EXPRESSION_COST_MAX {
            let detail = format!(
                "is estimated to cost {cost} steps; it may cost {EXPRESSION_COST_MAX}: go through fewer lists within lists"
            );
            self.refuse(Violation::invalid(path, &*shown(source), detail));
            return None;
        }
        self.cost = self.cost.saturating_add(cost);
        self.regex_steps = self.regex_steps.saturating_add(program.regex_steps());
        if self.regex_steps > POLICY_REGEX_STEPS_MAX {
            let detail = "the regular expressions of the policy are too large together: they are kept compiled";
            self.refuse(Violation::forbidden(path, detail));
            return None;
        }
        Some(Expression {
            path: path.to_field(),
            source: source.to_owned(),
            program,
        })
    }

    /// Refuses a list that is longer than the CRD lets in, and what is there twice.
    fn check_list(&mut self, spec: &Value, member: &str, key: &str, most: usize) {
        let path = Path::ROOT.member("spec");
        let path = path.member(member);
        let list = spec.get(member).and_then(Value::as_array);
        let count = list.map_or(0, Vec::len);
        if count > most {
            self.refuse(Violation::too_long(&path, Value::Null, most, "items"));
        }
        let mut known = BTreeSet::new();
        for (at, item) in items(spec, member, most) {
            let name = text(item, key);
            if !name.is_empty() && !known.insert(name) {
                let path = path.index(at);
                self.refuse(Violation::duplicate(&path.member(key), name, ""));
            }
        }
    }

    fn conditions(&mut self, spec: &Value, environment: &Environment) -> Vec<Named> {
        const MEMBER: &str = "matchConditions";
        self.check_list(spec, MEMBER, "name", ITEMS_MAX);
        let path = Path::ROOT.member("spec");
        let path = path.member(MEMBER);
        let mut conditions = Vec::new();
        for (at, item) in items(spec, MEMBER, ITEMS_MAX) {
            let path = path.index(at);
            let name = text(item, "name");
            if !is_qualified_name(name) {
                self.refuse(Violation::invalid(
                    &path.member("name"),
                    name,
                    "must be a qualified name, such as is-database",
                ));
            }
            let source = text(item, "expression");
            let path = path.member("expression");
            let expression = self.expression(&path, source, environment, &[Type::Bool]);
            conditions.extend(expression.map(|expression| Named {
                name: name.to_owned(),
                expression,
            }));
        }
        conditions
    }

    /// Compiles the variables, each of which knows those before it, and declares them.
    fn variables(&mut self, spec: &Value, environment: &mut Environment) -> Vec<Named> {
        const MEMBER: &str = "variables";
        self.check_list(spec, MEMBER, "name", ITEMS_MAX);
        let path = Path::ROOT.member("spec");
        let path = path.member(MEMBER);
        let mut variables = Vec::new();
        *environment = environment.clone().with_composed();
        for (at, item) in items(spec, MEMBER, ITEMS_MAX) {
            let path = path.index(at);
            let name = text(item, "name");
            if !is_identifier(name) {
                self.refuse(Violation::invalid(
                    &path.member("name"),
                    name,
                    "must be an identifier of CEL: letters, digits and _, no word that CEL keeps for itself",
                ));
                continue;
            }
            let source = text(item, "expression");
            let path = path.member("expression");
            let expression = self.expression(&path, source, environment, &[]);
            // One that does not compile is known all the same: the others' errors are their own.
            let program = expression.as_ref().map(|expression| &expression.program);
            environment.compose(name, program);
            variables.extend(expression.map(|expression| Named {
                name: name.to_owned(),
                expression,
            }));
        }
        variables
    }

    fn validations(&mut self, spec: &Value, environment: &Environment) -> Vec<Validation> {
        const MEMBER: &str = "validations";
        self.check_list(spec, MEMBER, "", ITEMS_MAX);
        let path = Path::ROOT.member("spec");
        let path = path.member(MEMBER);
        let mut validations = Vec::new();
        for (at, item) in items(spec, MEMBER, ITEMS_MAX) {
            let path = path.index(at);
            let source = text(item, "expression");
            let expression_path = path.member("expression");
            let expression = self.expression(&expression_path, source, environment, &[Type::Bool]);
            let message = item.get("message").and_then(Value::as_str);
            self.check_message(&path, message, source);
            let message_expression = item.get("messageExpression").and_then(Value::as_str);
            let message_expression = message_expression.and_then(|source| {
                let path = path.member("messageExpression");
                self.expression(&path, source, environment, &[Type::String])
            });
            let reason = text(item, "reason");
            let reason = Reason::ALL
                .into_iter()
                .find(|known| known.as_str() == reason);
            validations.extend(expression.map(|expression| Validation {
                expression,
                message: message.unwrap_or_default().trim().to_owned(),
                message_expression,
                reason: reason.unwrap_or_default(),
            }));
        }
        validations
    }

    /// Messages are shown in one line, and an expression stands for a message only where it is one line itself.
    fn check_message(&mut self, path: &Path<'_>, message: Option<&str>, expression: &str) {
        let has_breaks = |text: &str| text.trim().contains(['\n', '\r']);
        let path = path.member("message");
        match message {
            Some(message) if message.trim().is_empty() => self.refuse(Violation::invalid(
                &path,
                message,
                "must say something where it is given",
            )),
            Some(message) if has_breaks(message) => {
                self.refuse(Violation::invalid(&path, message, "must be one line"));
            }
            None if has_breaks(expression) => self.refuse(Violation::required(
                &path,
                "the expression has line breaks and cannot stand for a message",
            )),
            _ => {}
        }
    }

    fn annotations(&mut self, spec: &Value, environment: &Environment) -> Vec<Named> {
        const MEMBER: &str = "auditAnnotations";
        self.check_list(spec, MEMBER, "key", ANNOTATIONS_MAX);
        let path = Path::ROOT.member("spec");
        let path = path.member(MEMBER);
        let mut annotations = Vec::new();
        for (at, item) in items(spec, MEMBER, ANNOTATIONS_MAX) {
            let path = path.index(at);
            let key = text(item, "key");
            let key_path = path.member("key");
            if key.contains('/') || !is_qualified_name(key) {
                self.refuse(Violation::invalid(
                    &key_path,
                    key,
                    "must be a qualified name without a slash",
                ));
            } else if self.name.len() + 1 + key.len() > ANNOTATION_NAME_MAX_BYTES {
                let detail = format!(
                    "the API server keeps no audit annotation whose name, here {}_{key}, is longer than {ANNOTATION_NAME_MAX_BYTES} bytes",
                    self.name
                );
                self.refuse(Violation::invalid(&key_path, key, detail));
            }
            let source = text(item, "valueExpression");
            let path = path.member("valueExpression");
            let expression =
                self.expression(&path, source, environment, &[Type::String, Type::Null]);
            annotations.extend(expression.map(|expression| Named {
                name: key.to_owned(),
                expression,
            }));
        }
        annotations
    }

    fn param_ref(&mut self, spec: &Value) -> Option<ParamRef> {
        let given = spec.get("paramRef").filter(|given| given.is_object())?;
        let name = text(given, "name");
        if !is_subdomain(name) {
            let path = Path::ROOT.member("spec");
            let path = path.member("paramRef");
            self.refuse(Violation::invalid(
                &path.member("name"),
                name,
                "no ConfigMap has such a name",
            ));
        }
        Some(ParamRef {
            name: name.to_owned(),
            is_optional: text(given, "parameterNotFoundAction") == "Allow",
        })
    }

    fn actions(&mut self, spec: &Value) -> Actions {
        let given = super::matching::texts(spec, "validationActions", ITEMS_MAX);
        let has = |name: &str| given.iter().any(|action| action == name);
        let actions = Actions {
            deny: has("Deny") || given.is_empty(),
            warn: has("Warn"),
            audit: has("Audit"),
        };
        if actions.deny && actions.warn {
            let path = Path::ROOT.member("spec");
            self.refuse(Violation::invalid(
                &path.member("validationActions"),
                given.join(", "),
                "Deny and Warn exclude each other: a denial says it all",
            ));
        }
        actions
    }

    fn check_cost(&mut self) {
        if self.cost > POLICY_COST_MAX {
            let path = Path::ROOT.member("spec");
            self.refuse(Violation::forbidden(
                &path,
                format!(
                    "its expressions together are estimated to cost {} steps; they may cost {POLICY_COST_MAX}",
                    self.cost
                ),
            ));
        }
    }
}
