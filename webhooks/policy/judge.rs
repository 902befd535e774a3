//! What a policy says of a request.

use super::facts::{Facts, Part, Unbound};
use super::parts::{Expression, FailurePolicy, Validation};
use super::{ANNOTATION_MAX_BYTES, MESSAGE_MAX_BYTES, POLICY_BYTES_MAX, POLICY_STEPS_MAX, Policy};
use crate::cel::{Fail, Run, Scope, Value};
use crate::contract::{Fault, Reason};
use serde_json::Value as Tree;
use std::fmt::Write as _;

/// Of what cannot be taken apart.
const UNREADABLE: &str = "the Package is nested too deeply, or holds a number that is out of range";
/// How much of an expression a message repeats, in characters.
const SHOWN_EXPRESSION_MAX_CHARS: usize = 1_000;
/// How much of a value `policy explain` shows, in characters.
const SHOWN_VALUE_MAX_CHARS: usize = 500;
/// How deep it shows lists and maps.
const SHOWN_DEPTH_MAX: usize = 6;

/// Something that the policy's actions are taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where in the policy it comes from, as in `validations[0]`.
    pub rule: String,
    /// Which of the validations; 0 where it is none of them.
    pub index: usize,
    /// What the user is told, in one line.
    pub message: String,
    /// As what it is answered.
    pub reason: Reason,
}

/// What a policy says of a Package, or of one component of it.
#[derive(Debug, Default)]
pub struct Ruling<'e> {
    /// The component; none where the policy is about the Package as a whole.
    pub part: Option<&'e Part>,
    /// What is wrong, and what fails where failures count.
    pub refusals: Vec<Refusal>,
    /// What fails where failures do not count.
    pub ignored: Vec<String>,
    /// Audit annotations by their key in the policy.
    pub annotations: Vec<(String, String)>,
}

/// What one expression gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where the expression stands in the policy.
    pub path: String,
    /// The component that it was asked of; empty where the policy is about the Package as a whole.
    pub component: String,
    /// What it gave, or how it failed.
    pub gives: Result<String, String>,
    /// Steps that it took.
    pub steps: u64,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// How an expression ends without a value.
struct Failed {
    message: String,
    /// The policy has used up what it may: nothing more of it is asked.
    is_over: bool,
}

/// The policy stops here.
struct Over;

impl Policy {
    /// What it says of a request that it is about. `params` is the ConfigMap that it names, if there is such a one.
    /// Where `steps` is given, every expression is noted, the variables before anything that reads them.
    ///
    /// # Errors
    /// When the request has to be decided elsewhere.
    pub fn judge<'e>(
        &'e self,
        facts: &'e Facts<'_>,
        params: Option<&'e Tree>,
        mut steps: Option<&mut Vec<Step>>,
    ) -> Result<Vec<Ruling<'e>>, Fault> {
        if let Some(why) = self.broken() {
            let message = format!("failed to configure policy: {why}");
            return Ok(vec![self.failed_whole("spec", &message)]);
        }
        if let (Some(reference), None) = (&self.param_ref, params) {
            if reference.is_optional {
                return Ok(Vec::new());
            }
            let message = format!("no params: there is no ConfigMap {}", reference.name);
            return Ok(vec![self.failed_whole("paramRef", &message)]);
        }
        let mut steps_left = POLICY_STEPS_MAX;
        let mut bytes_left = POLICY_BYTES_MAX;
        let mut rulings = Vec::new();
        let parts: Vec<Option<&Part>> = if self.is_about_components() {
            let parts = facts.parts().iter();
            let parts = parts.filter(|part| self.matching.covers_component(&part.name));
            parts.map(Some).collect()
        } else {
            vec![None]
        };
        for part in parts {
            facts.request.deadline.check()?;
            let mut asked = Asked {
                policy: self,
                facts,
                scope: Scope::new(),
                ruling: Ruling {
                    part,
                    ..Ruling::default()
                },
                steps_left,
                bytes_left,
                takes_long: false,
                steps: steps.as_deref_mut(),
            };
            let outcome = match facts.bind(&mut asked.scope, &self.uses, part, params) {
                Ok(()) => asked.ask(),
                Err(Unbound::Failed(message)) => {
                    asked.fail("match.components", 0, message);
                    Ok(())
                }
                Err(Unbound::Fault(fault)) => return Err(fault),
            };
            if facts.is_unreadable() {
                // What cannot be read has looked empty.
                asked.fail("match", 0, UNREADABLE.to_owned());
            }
            if asked.takes_long {
                return Err(Fault::TakesLong);
            }
            steps_left = asked.steps_left;
            bytes_left = asked.bytes_left;
            rulings.push(asked.ruling);
            if outcome.is_err() {
                break;
            }
        }
        Ok(rulings)
    }

    /// What it says of a Package of which nobody can tell whether the policy is about it.
    #[must_use]
    pub fn cannot_match<'e>(&self) -> Ruling<'e> {
        self.failed_whole("match", UNREADABLE)
    }

    /// It fails before any expression is asked.
    fn failed_whole<'e>(&self, rule: &str, message: &str) -> Ruling<'e> {
        let mut ruling = Ruling::default();
        ruling.fail(self, rule, 0, message);
        ruling
    }
}

impl Ruling<'_> {
    /// Something failed: the failure policy says whether that counts.
    fn fail(&mut self, policy: &Policy, rule: &str, index: usize, message: &str) {
        let message = one_line(message);
        match policy.failure_policy {
            FailurePolicy::Fail => self.refusals.push(Refusal {
                rule: rule.to_owned(),
                index,
                message,
                reason: Reason::default(),
            }),
            FailurePolicy::Ignore => self.ignored.push(message),
        }
    }
}

/// A policy while it is asked about one thing.
struct Asked<'e, 'f, 's> {
    policy: &'e Policy,
    facts: &'e Facts<'f>,
    scope: Scope<'e>,
    ruling: Ruling<'e>,
    steps_left: u64,
    bytes_left: usize,
    /// Whether that has to be asked where nobody waits.
    takes_long: bool,
    steps: Option<&'s mut Vec<Step>>,
}

impl<'e> Asked<'e, '_, '_> {
    fn fail(&mut self, rule: &str, index: usize, mut message: String) {
        // Values without their defaults lack what expressions may rightly count on.
        if let Some(part) = self.ruling.part
            && (self.policy.uses.has("values") || self.policy.uses.has("oldValues"))
            && let Some(why) = self.facts.why_without_defaults(part)
        {
            let _ = write!(
                message,
                " (the defaults of {} are not known: {why})",
                part.name
            );
        }
        self.ruling.fail(self.policy, rule, index, &message);
    }

    fn run(&mut self, expression: &'e Expression) -> Result<Value<'e>, Failed> {
        let deadline = self.facts.request.deadline;
        let most = self.facts.brief_steps.get();
        let mut run = match most {
            Some(most) => Run::within(deadline, most),
            None => Run::new(Some(deadline), &[]),
        };
        run.limit_bytes(self.bytes_left);
        let value = expression.program.evaluate(&self.scope, &mut run);
        self.bytes_left = self.bytes_left.saturating_sub(run.bytes());
        let taken = run.steps();
        self.steps_left = self.steps_left.saturating_sub(taken);
        let left = most.map(|most| most.saturating_sub(taken));
        self.facts.brief_steps.set(left);
        self.takes_long |= left == Some(0);
        if let Some(steps) = self.steps.as_deref_mut() {
            let gives = match &value {
                Ok(value) => Ok(shown(value)),
                Err(fail) => Err(fail.to_string()),
            };
            let part = self.ruling.part;
            steps.push(Step {
                path: expression.path.to_string(),
                component: part.map_or_else(String::new, |part| part.name.clone()),
                gives,
                steps: taken,
            });
        }
        let failed = |message: String, is_over| Failed { message, is_over };
        let source = || cut(&expression.source, SHOWN_EXPRESSION_MAX_CHARS);
        match value {
            Ok(_) if self.steps_left == 0 => Err(failed(
                format!("the policy takes more than {POLICY_STEPS_MAX} steps"),
                true,
            )),
            Ok(value) => Ok(value),
            Err(Fail::Error(error)) => Err(failed(
                format!("expression '{}' resulted in error: {error}", source()),
                false,
            )),
            Err(Fail::Stopped(limit)) => Err(failed(
                format!("expression '{}' was stopped: {limit}", source()),
                true,
            )),
        }
    }

    fn ask(&mut self) -> Result<(), Over> {
        if !self.conditions_hold()? {
            return Ok(());
        }
        let policy = self.policy;
        for variable in &policy.variables {
            let program = &variable.expression.program;
            self.scope.compose(&variable.name, program);
        }
        if self.steps.is_some() {
            // Shown, not asked: it takes nothing of what the policy may take, and what is wrong is said where it is read.
            let left = (self.steps_left, self.bytes_left);
            for variable in &policy.variables {
                let _ = self.run(&variable.expression);
            }
            (self.steps_left, self.bytes_left) = left;
        }
        for (index, validation) in policy.validations.iter().enumerate() {
            self.validate(index, validation)?;
        }
        for (index, annotation) in policy.annotations.iter().enumerate() {
            let rule = format!("auditAnnotations[{index}]");
            let given = self.run(&annotation.expression);
            match self.or_fail(&rule, index, given)? {
                Some(Value::String(text)) => {
                    let text = text.trim();
                    if !text.is_empty() {
                        let value = cut_bytes(text, ANNOTATION_MAX_BYTES).to_owned();
                        let annotations = &mut self.ruling.annotations;
                        annotations.push((annotation.name.clone(), value));
                    }
                }
                None | Some(Value::Null) => {}
                Some(other) => {
                    let message = format!(
                        "valueExpression '{}' resulted in unsupported return type: {}. Return type must be either string or null.",
                        annotation.expression.source,
                        other.type_name()
                    );
                    self.fail(&rule, index, message);
                }
            }
        }
        Ok(())
    }

    /// The value, or none once it is said that there is none.
    fn or_fail(
        &mut self,
        rule: &str,
        index: usize,
        given: Result<Value<'e>, Failed>,
    ) -> Result<Option<Value<'e>>, Over> {
        match given {
            Ok(value) => Ok(Some(value)),
            Err(failed) => {
                self.fail(rule, index, failed.message);
                if failed.is_over { Err(Over) } else { Ok(None) }
            }
        }
    }

    /// One that is false decides, whatever becomes of the others; else one that fails does.
    fn conditions_hold(&mut self) -> Result<bool, Over> {
        let policy = self.policy;
        let mut failures = Vec::new();
        let mut is_over = false;
        for condition in &policy.conditions {
            match self.run(&condition.expression) {
                Ok(Value::Bool(true)) => {}
                Ok(Value::Bool(false)) => return Ok(false),
                Ok(_) => failures.push(format!("{} gives no boolean", condition.name)),
                Err(failed) => {
                    failures.push(failed.message);
                    is_over = failed.is_over;
                }
            }
            if is_over {
                break;
            }
        }
        let message = match failures.as_slice() {
            [] => return Ok(true),
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        self.fail("matchConditions", 0, message);
        if is_over { Err(Over) } else { Ok(false) }
    }

    fn validate(&mut self, index: usize, validation: &'e Validation) -> Result<(), Over> {
        let rule = format!("validations[{index}]");
        let given = self.run(&validation.expression);
        match self.or_fail(&rule, index, given)? {
            None | Some(Value::Bool(true)) => return Ok(()),
            Some(_) => {}
        }
        let message = match self.message(validation) {
            Ok(message) => message,
            Err(failed) => {
                let message = format!("failed messageExpression: {}", failed.message);
                self.fail(&rule, index, message);
                return Err(Over);
            }
        };
        self.ruling.refusals.push(Refusal {
            rule,
            index,
            message,
            reason: validation.reason,
        });
        Ok(())
    }

    /// What the user is told: what the expression makes if that is one line of some length, else the message, else the
    /// expression that was false.
    fn message(&mut self, validation: &'e Validation) -> Result<String, Failed> {
        if let Some(expression) = &validation.message_expression {
            match self.run(expression) {
                Ok(Value::String(text)) => {
                    let text = text.trim();
                    let is_fit = text.len() <= MESSAGE_MAX_BYTES && !text.contains('\n');
                    if is_fit && !text.is_empty() {
                        return Ok(text.to_owned());
                    }
                }
                Err(failed) if failed.is_over => return Err(failed),
                Ok(_) | Err(_) => {}
            }
        }
        if !validation.message.is_empty() {
            return Ok(validation.message.clone());
        }
        let source = validation.expression.source.trim();
        let source = cut(source, SHOWN_EXPRESSION_MAX_CHARS);
        Ok(one_line(&format!("failed expression: {source}")))
    }
}

fn one_line(text: &str) -> String {
    cut_bytes(text, MESSAGE_MAX_BYTES).replace(['\n', '\r'], " ")
}

/// The first so many characters, and whether there are more.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most).chain("...".chars()).collect()
}

/// The first so many bytes, or a few less: no character is cut in two.
fn cut_bytes(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev();
    let end = end.into_iter().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// A value as CEL would write it, no longer than people read.
fn shown(value: &Value<'_>) -> String {
    let mut text = String::new();
    show(value, SHOWN_DEPTH_MAX, &mut text);
    cut(&text, SHOWN_VALUE_MAX_CHARS)
}

fn show(value: &Value<'_>, depth: usize, text: &mut String) {
    // What is cut off anyway is not written.
    let is_full = |text: &String| text.len() > 4 * SHOWN_VALUE_MAX_CHARS;
    let _ = match value {
        Value::Null => write!(text, "null"),
        Value::Bool(is) => write!(text, "{is}"),
        Value::Int(number) => write!(text, "{number}"),
        Value::Uint(number) => write!(text, "{number}u"),
        Value::Double(number) => write!(text, "{number:?}"),
        Value::String(string) => write!(text, "{:?}", cut(string, SHOWN_VALUE_MAX_CHARS)),
        Value::List(list) if depth == 0 => write!(text, "[{} items]", list.len()),
        Value::Map(map) if depth == 0 => write!(text, "{{{} members}}", map.len()),
        Value::List(list) => {
            text.push('[');
            for (at, item) in list.iter().enumerate() {
                if is_full(text) {
                    break;
                }
                text.push_str(if at == 0 { "" } else { ", " });
                show(&item, depth - 1, text);
            }
            write!(text, "]")
        }
        Value::Map(map) => {
            text.push('{');
            for (at, (key, member)) in map.members().enumerate() {
                if is_full(text) {
                    break;
                }
                text.push_str(if at == 0 { "" } else { ", " });
                show(&key, depth - 1, text);
                text.push_str(": ");
                show(&member, depth - 1, text);
            }
            write!(text, "}}")
        }
        Value::Optional(None) => write!(text, "optional.none()"),
        Value::Optional(Some(inner)) => {
            text.push_str("optional.of(");
            show(inner, depth.saturating_sub(1), text);
            write!(text, ")")
        }
        other => write!(text, "{}", other.type_name()),
    };
}
