//! Which Packages a policy is about.

use super::ITEMS_MAX;
use crate::contract::{Operation, Path, Violation};
use serde_json::Value;
use std::collections::BTreeMap;

/// Stands for all components.
const ALL: &str = "*";
/// Names of a match, as in the CRD.
const NAMES_MAX: usize = 256;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A name, or how names begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This name.
    Exact(String),
    /// All that begin like this.
    Prefix(String),
}

impl Pattern {
    fn of(text: &str) -> Pattern {
        match text.strip_suffix(ALL) {
            Some(prefix) => Pattern::Prefix(prefix.to_owned()),
            None => Pattern::Exact(text.to_owned()),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Pattern::Exact(exact) => name == exact,
            Pattern::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Operator {
    fn of(text: &str) -> Option<Operator> {
        Some(match text {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

impl Requirement {
    /// As `k8s.io/apimachinery/pkg/labels` has it: what is not there is in no list.
    fn holds(&self, labels: &Labels) -> bool {
        let found = labels.get(&self.key);
        let is_listed = found.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => is_listed,
            Operator::NotIn => !is_listed,
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
        }
    }
}

/// A label selector; an empty one selects everything.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    labels: Labels,
    requirements: Vec<Requirement>,
}

impl Selector {
    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.requirements.is_empty()
    }

    fn selects(&self, labels: &Labels) -> bool {
        let has = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        let mut requirements = self.requirements.iter();
        self.labels.iter().all(has) && requirements.all(|requirement| requirement.holds(labels))
    }

    /// A pair that everything has which it selects.
    pub fn required_pair(&self) -> Option<(&str, &str)> {
        let (key, value) = self.labels.first_key_value()?;
        Some((key, value))
    }
}

/// `spec.match`.
#[derive(Debug, Clone, Default)]
pub struct Match {
    /// Names of Packages; empty for all.
    pub names: Vec<Pattern>,
    /// Their labels.
    pub selector: Selector,
    variants: Vec<String>,
    components: Vec<String>,
    operations: Vec<Operation>,
}

/// What of a request decides on whether a policy is about it.
pub struct Matched<'a> {
    /// Name of the Package.
    pub name: &'a str,
    /// What is done with it.
    pub operation: Operation,
    /// The variant that is installed; on DELETE the one that was.
    pub variant: &'a str,
    /// Labels after and before the change, as far as there is such an object.
    pub labels: &'a [&'a Labels],
}

impl Match {
    /// Reads `spec.match`. What is of a wrong type counts as absent: the CRD does not let it in.
    pub fn read(spec: &Value, violations: &mut Vec<Violation>) -> Match {
        let nothing = Value::Null;
        let given = spec.get("match").unwrap_or(&nothing);
        let packages = given.get("packages").unwrap_or(&nothing);
        let path = Path::ROOT.member("spec");
        let path = path.member("match");
        let packages_path = path.member("packages");
        let names = texts(packages, "names", NAMES_MAX);
        check_names(&packages_path.member("names"), &names, violations);
        let components = texts(given, "components", NAMES_MAX);
        let components_path = path.member("components");
        for (at, name) in components.iter().enumerate() {
            if name.contains('*') && name != ALL {
                violations.push(Violation::invalid(
                    &components_path.index(at),
                    name.as_str(),
                    "must be the name of a component, or * alone",
                ));
            }
        }
        let operations: Vec<Operation> = texts(given, "operations", NAMES_MAX)
            .iter()
            .filter_map(|name| Operation::from_wire(name))
            .collect();
        Match {
            names: names.iter().map(|name| Pattern::of(name)).collect(),
            selector: selector(packages, &packages_path, violations),
            variants: texts(given, "variants", ITEMS_MAX),
            components,
            operations: if operations.is_empty() {
                vec![Operation::Create, Operation::Update]
            } else {
                operations
            },
        }
    }

    /// Whether the policy is asked once for each component.
    pub fn is_about_components(&self) -> bool {
        !self.components.is_empty()
    }

    /// Whether it is asked about that component.
    pub fn covers_component(&self, name: &str) -> bool {
        let mut components = self.components.iter();
        components.any(|pattern| pattern == ALL || pattern == name)
    }

    /// Whether it may be about a Package of that name, whatever that holds.
    pub fn may_match(&self, name: &str, operation: Operation) -> bool {
        let mut names = self.names.iter();
        self.operations.contains(&operation)
            && (self.names.is_empty() || names.any(|pattern| pattern.matches(name)))
    }

    /// Whether the policy is about that request. As in ValidatingAdmissionPolicy it is enough that the labels before or
    /// after a change match: nobody gets out of a policy by taking the label away.
    pub fn matches(&self, request: &Matched<'_>) -> bool {
        let mut names = self.names.iter();
        let mut labels = request.labels.iter();
        self.operations.contains(&request.operation)
            && (self.names.is_empty() || names.any(|pattern| pattern.matches(request.name)))
            && (self.variants.is_empty() || self.variants.iter().any(|own| own == request.variant))
            && (self.selector.is_empty() || labels.any(|labels| self.selector.selects(labels)))
    }
}

/// The texts of a list, no more than so many.
pub fn texts(value: &Value, member: &str, most: usize) -> Vec<String> {
    let items = value.get(member).and_then(Value::as_array);
    let texts = items.into_iter().flatten().filter_map(Value::as_str);
    texts.take(most).map(ToOwned::to_owned).collect()
}

fn check_names(path: &Path<'_>, names: &[String], violations: &mut Vec<Violation>) {
    for (at, name) in names.iter().enumerate() {
        let stem = name.strip_suffix(ALL).unwrap_or(name);
        if stem.contains('*') {
            violations.push(Violation::invalid(
                &path.index(at),
                name.as_str(),
                "may have a * at its end only",
            ));
        }
    }
}

fn selector(packages: &Value, path: &Path<'_>, violations: &mut Vec<Violation>) -> Selector {
    let path = path.member("selector");
    let Some(given) = packages.get("selector") else {
        return Selector::default();
    };
    let labels = given.get("matchLabels").and_then(Value::as_object);
    let labels: Labels = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    let labels_path = path.member("matchLabels");
    for (key, value) in &labels {
        if !is_qualified_name(key) {
            violations.push(Violation::invalid(
                &labels_path,
                key.as_str(),
                "no label has such a key",
            ));
        } else if !is_label_value(value) {
            violations.push(Violation::invalid(
                &labels_path.key(key),
                value.as_str(),
                "no label has such a value",
            ));
        }
    }
    let mut requirements = Vec::new();
    let expressions_path = path.member("matchExpressions");
    let expressions = given.get("matchExpressions").and_then(Value::as_array);
    for (at, expression) in expressions
        .into_iter()
        .flatten()
        .take(ITEMS_MAX)
        .enumerate()
    {
        let path = expressions_path.index(at);
        let text = |member: &str| expression.get(member).and_then(Value::as_str);
        let key = text("key").unwrap_or_default();
        if !is_qualified_name(key) {
            violations.push(Violation::invalid(
                &path.member("key"),
                key,
                "no label has such a key",
            ));
        }
        let values = texts(expression, "values", ITEMS_MAX);
        let values_path = path.member("values");
        for (at, value) in values.iter().enumerate() {
            if !is_label_value(value) {
                violations.push(Violation::invalid(
                    &values_path.index(at),
                    value.as_str(),
                    "no label has such a value",
                ));
            }
        }
        let Some(operator) = text("operator").and_then(Operator::of) else {
            continue;
        };
        let is_listing = matches!(operator, Operator::In | Operator::NotIn);
        if is_listing && values.is_empty() {
            violations.push(Violation::required(
                &values_path,
                "In and NotIn need values",
            ));
        } else if !is_listing && !values.is_empty() {
            violations.push(Violation::forbidden(
                &values_path,
                "Exists and DoesNotExist take no values",
            ));
        }
        requirements.push(Requirement {
            key: key.to_owned(),
            operator,
            values,
        });
    }
    Selector {
        labels,
        requirements,
    }
}

/// As `IsQualifiedName` of the API server: a name of at most 63 bytes, with or without a DNS subdomain before a slash.
pub fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    prefix.is_none_or(is_subdomain) && !name.is_empty() && is_name(name, is_inner)
}

/// As `IsValidLabelValue` of the API server.
fn is_label_value(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.is_empty() || is_name(text, is_inner)
}

fn is_name(text: &str, is_inner: impl Fn(u8) -> bool) -> bool {
    let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && is_end(text.bytes().next())
        && is_end(text.bytes().last())
        && text.bytes().all(is_inner)
}

/// As `IsDNS1123Subdomain` of the API server.
pub fn is_subdomain(text: &str) -> bool {
    let is_edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        label.bytes().next().is_some_and(is_edge)
            && label.bytes().last().is_some_and(is_edge)
            && label.bytes().all(|byte| is_edge(byte) || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}
