//! Our CEL says what the API server says: testcases/cel, whose answers tests/e2e/cel.rs records.

#![allow(
    missing_docs,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

// Answers are written by the scenario that records them.
#[allow(dead_code)]
#[path = "support/cel.rs"]
mod corpus;

use corpus::{Answer, Case, assert_enough, cases};
use serde_json::Value as Json;
use serde_json::value::to_raw_value;
use webhooks::cel::{
    CompileError, Document, Environment, Fail, Program, Run, Scope, Type, Value, request_type,
};

/// A longer text of a messageExpression is not used.
const MESSAGE_MAX_BYTES: usize = 5 * 1024;

#[test]
fn there_are_enough_cases() {
    assert_enough(&cases());
}

#[test]
fn expressions_mean_what_they_mean_to_the_api_server() {
    let cases = cases();
    let mut differences = Vec::new();
    for case in &cases {
        let recorded = case.answer.as_ref();
        let recorded =
            recorded.unwrap_or_else(|| panic!("{}: no answer: {}", case.file, case.expression));
        let Some(recorded) = of_expressions(recorded) else {
            continue;
        };
        let (wanted, why) = match &case.ours {
            Some((ours, why)) => (ours, format!(" ({why})")),
            None => (&recorded, String::new()),
        };
        let said = judged(case);
        if said != *wanted {
            differences.push(format!(
                "{}: {}\n  wanted {wanted}{why}\n  got    {said}",
                case.file, case.expression
            ));
        } else if case.ours.is_some() && *wanted == recorded {
            differences.push(format!(
                "{}: {}\n  is no difference any more",
                case.file, case.expression
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} differ:\n{}",
        differences.len(),
        cases.len(),
        differences.join("\n")
    );
}

/// What differs is told to operators, and nothing else is.
#[test]
fn differences_are_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cel.md");
    let docs = std::fs::read_to_string(path).unwrap();
    let rows = cases().into_iter().filter_map(|case| {
        let (_, why) = case.ours?;
        Some(format!("| `{}` | {why} |", case.expression))
    });
    let rows: Vec<String> = rows.collect();
    let (_, table) = docs
        .split_once("| expression | here |\n|---|---|\n")
        .unwrap();
    let table: Vec<&str> = table.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(table, rows);
}

/// The answer as far as it is about expressions: what a variable may be called is the policy's business.
fn of_expressions(answer: &Answer) -> Option<Answer> {
    let Answer::Refused(lines) = answer else {
        return Some(answer.clone());
    };
    let is_name = |line: &str| {
        line.split_once(": ")
            .is_some_and(|(field, _)| field.ends_with(".name"))
    };
    if lines.iter().any(|line| is_name(line)) {
        return None;
    }
    Some(answer.clone())
}

/// The programs of a policy.
struct Policy<'c> {
    conditions: Vec<(&'c str, Program)>,
    variables: Vec<(&'c str, Program)>,
    expression: Program,
    message_expression: Option<Program>,
}

/// Compiles all and gives everything that is wrong, as the API server does.
fn compiled(case: &Case) -> Result<Policy<'_>, Vec<String>> {
    let mut wrong = Vec::new();
    let mut checked =
        |field: &str, compiled: Result<Program, Vec<CompileError>>, wanted| match compiled {
            Err(errors) => {
                wrong.extend(errors.iter().map(|error| refusal(field, error)));
                None
            }
            Ok(program) if wanted != Type::Dyn && *program.result() != wanted => {
                let result = program.result().output_name();
                wrong.push(format!("{field}must evaluate to {wanted} but got {result}"));
                None
            }
            Ok(program) => Some(program),
        };
    // Without paramKind there are no `params`.
    let bare = Environment::new()
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with("request", request_type());
    let mut environment = bare.clone();
    if !case.variables.is_empty() {
        environment = environment.with_composed();
    }
    let mut variables = Vec::new();
    for (at, variable) in case.variables.iter().enumerate() {
        let field = format!("variables[{at}].expression: ");
        let program = Program::compile(&variable.expression, &environment);
        // Any type will do; what does not compile has one that fits everywhere.
        let program = checked(&field, program, Type::Dyn);
        environment.compose(&variable.name, program.as_ref());
        variables.extend(program.map(|program| (variable.name.as_str(), program)));
    }
    let expression = checked(
        "",
        Program::compile(&case.expression, &environment),
        Type::Bool,
    );
    let message_expression = case.message_expression.as_ref().and_then(|message| {
        let program = Program::compile(message, &environment);
        checked("validations[0].messageExpression: ", program, Type::String)
    });
    let mut conditions = Vec::new();
    for (at, condition) in case.match_conditions.iter().enumerate() {
        let field = format!("matchConditions[{at}].expression: ");
        let program = Program::compile(&condition.expression, &bare);
        let program = checked(&field, program, Type::Bool);
        conditions.extend(program.map(|program| (condition.expression.as_str(), program)));
    }
    match expression {
        Some(expression) if wrong.is_empty() => Ok(Policy {
            conditions,
            variables,
            expression,
            message_expression,
        }),
        _ => Err(wrong),
    }
}

/// A compile error in the API server's words and form.
fn refusal(field: &str, error: &CompileError) -> String {
    let CompileError {
        line,
        column,
        message,
    } = error;
    // We say more than the API server does.
    let message = message.split("; did you mean").next().unwrap();
    // Of what it finds after its checks it does not say where.
    if message.starts_with("program instantiation failed: ") {
        return format!("{field}Internal error: {message}");
    }
    let first_line = message.lines().next().unwrap_or_default();
    format!("{field}{line}:{column}: {first_line}")
}

/// What we say of a case.
fn judged(case: &Case) -> Answer {
    let policy = match compiled(case) {
        Ok(policy) => policy,
        Err(lines) => return Answer::Refused(lines),
    };
    let request = case.request();
    let texts = [
        case.object.as_ref(),
        case.old_object.as_ref(),
        Some(&request),
    ];
    let texts = texts.map(|value| to_raw_value(value.unwrap_or(&Json::Null)).unwrap());
    let documents = texts.each_ref().map(|text| Document::new(text.get()));
    let mut scope = Scope::new();
    for (at, name) in ["object", "oldObject", "request"].into_iter().enumerate() {
        scope.bind(name, Value::of_json((&*texts[at]).into(), &documents[at]));
    }
    for (name, program) in &policy.variables {
        scope.compose(name, program);
    }
    let mut run = Run::new(None, &[]);
    let mut failures = Vec::new();
    for (expression, condition) in &policy.conditions {
        match condition.evaluate(&scope, &mut run) {
            Ok(Value::Bool(false)) => return Answer::Allowed,
            Ok(_) => {}
            Err(fail) => failures.push((expression, fail)),
        }
    }
    match failures.as_slice() {
        [] => {}
        [(_, fail)] => return Answer::Error(fail.to_string()),
        all => {
            let line = |(expression, fail): &(&&str, Fail)| {
                format!("expression '{expression}' resulted in error: {fail}")
            };
            let lines: Vec<String> = all.iter().map(line).collect();
            return Answer::Error(format!("[{}]", lines.join(", ")));
        }
    }
    match policy.expression.evaluate(&scope, &mut run) {
        Ok(Value::Bool(true)) => Answer::Allowed,
        Ok(_) => {
            let message = policy.message_expression.as_ref();
            let message = message.map(|message| message.evaluate(&scope, &mut run));
            let message = match message {
                Some(Ok(Value::String(text))) => Some(text.trim().to_owned()),
                _ => None,
            };
            let message = message.filter(|text| {
                !text.is_empty() && text.len() <= MESSAGE_MAX_BYTES && !text.contains('\n')
            });
            let own = || {
                case.message
                    .as_ref()
                    .map(|message| message.trim().to_owned())
            };
            let expression = || format!("failed expression: {}", case.expression.trim());
            Answer::Denied(message.or_else(own).unwrap_or_else(expression))
        }
        Err(fail) => Answer::Error(fail.to_string()),
    }
}
