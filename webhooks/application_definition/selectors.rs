//! `secrets`, `services` and `ingresses`: selectors of what a tenant may see.

use super::checks::{Need, list, object, text};
use super::template::Template;
use crate::contract::{Path, Verdict, Violation, syntax};
use serde_json::{Map, Value};

const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

/// Checks one block.
pub fn check(block: Option<&Value>, path: &Path<'_>, verdict: &mut Verdict) {
    let Some(block) = object(block, path, Need::Optional, verdict) else {
        return;
    };
    for direction in ["exclude", "include"] {
        let path = path.member(direction);
        for (index, entry) in list(block.get(direction), &path, verdict)
            .iter()
            .enumerate()
        {
            let path = path.index(index);
            if let Some(entry) = object(Some(entry), &path, Need::Required, verdict) {
                check_entry(entry, &path, verdict);
            }
        }
    }
}

fn check_entry(entry: &Map<String, Value>, path: &Path<'_>, verdict: &mut Verdict) {
    let labels_path = path.member("matchLabels");
    if let Some(labels) = object(
        entry.get("matchLabels"),
        &labels_path,
        Need::Optional,
        verdict,
    ) {
        for (key, value) in labels {
            let path = labels_path.key(key);
            if let Some(detail) = syntax::label_key(key) {
                verdict.refuse(Violation::invalid(&path, key.as_str(), detail));
            }
            check_label_value(value, &path, verdict);
        }
    }
    let expressions_path = path.member("matchExpressions");
    for (index, expression) in list(entry.get("matchExpressions"), &expressions_path, verdict)
        .iter()
        .enumerate()
    {
        let path = expressions_path.index(index);
        if let Some(expression) = object(Some(expression), &path, Need::Required, verdict) {
            check_expression(expression, &path, verdict);
        }
    }
    let names_path = path.member("resourceNames");
    let names = list(entry.get("resourceNames"), &names_path, verdict);
    if names.is_empty() && entry.get("resourceNames").is_some_and(Value::is_array) {
        verdict.warn(format!(
            "{}: an empty list matches no name; leave it out to match any",
            names_path.to_field()
        ));
    }
    for (index, name) in names.iter().enumerate() {
        let path = names_path.index(index);
        let Some(source) = text(Some(name), &path, Need::Required, verdict) else {
            continue;
        };
        match Template::parse(source) {
            Ok(template) => {
                for doubt in template.doubts() {
                    verdict.warn(format!("{}: {doubt}", path.to_field()));
                }
            }
            Err(error) => {
                verdict.refuse(Violation::invalid(
                    &path,
                    source,
                    format!("must be a Go template: {error}"),
                ));
            }
        }
    }
}

fn check_label_value(value: &Value, path: &Path<'_>, verdict: &mut Verdict) {
    if let Some(value) = text(Some(value), path, Need::Required, verdict)
        && let Some(detail) = syntax::label_value(value)
    {
        verdict.refuse(Violation::invalid(path, value, detail));
    }
}

/// As `k8s.io/apimachinery/pkg/apis/meta/v1/validation` checks a label selector's requirement.
fn check_expression(expression: &Map<String, Value>, path: &Path<'_>, verdict: &mut Verdict) {
    let key_path = path.member("key");
    if let Some(key) = text(expression.get("key"), &key_path, Need::Required, verdict)
        && let Some(detail) = syntax::label_key(key)
    {
        verdict.refuse(Violation::invalid(&key_path, key, detail));
    }
    let values_path = path.member("values");
    let values = list(expression.get("values"), &values_path, verdict);
    for (index, value) in values.iter().enumerate() {
        check_label_value(value, &values_path.index(index), verdict);
    }
    let operator_path = path.member("operator");
    match text(
        expression.get("operator"),
        &operator_path,
        Need::Required,
        verdict,
    ) {
        Some("In" | "NotIn") if values.is_empty() => {
            verdict.refuse(Violation::required(
                &values_path,
                "must be given when `operator` is 'In' or 'NotIn'",
            ));
        }
        Some("Exists" | "DoesNotExist") if !values.is_empty() => {
            verdict.refuse(Violation::forbidden(
                &values_path,
                "may not be given when `operator` is 'Exists' or 'DoesNotExist'",
            ));
        }
        Some(operator) if !OPERATORS.contains(&operator) => {
            verdict.refuse(Violation::not_supported(
                &operator_path,
                operator,
                &OPERATORS,
            ));
        }
        _ => {}
    }
}
