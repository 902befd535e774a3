//! The expressions of testcases/cel and what the API server says of each.
//!
//! A file is a map: `object`, the object of all cases that have none of their own, and `cases`. The answers are written
//! by the scenario in tests/e2e/cel.rs, all else by hand.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// What is asked for at least (variations of a constant are one expression).
const EXPRESSIONS: usize = 300;
const ERRORS: usize = 80;
const EACH_FUNCTION: usize = 8;

/// The functions and macros of the libraries.
const FUNCTIONS: &str = "\
    size contains startsWith endsWith matches int uint double string bytes bool timestamp duration type dyn \
    getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours getMinutes getSeconds \
    getMilliseconds has all exists exists_one map filter existsOne transformList transformMap transformMapEntry \
    charAt indexOf lastIndexOf join lowerAscii upperAscii replace split substring trim strings.quote format find \
    findAll isSorted sum min max sets.contains sets.equivalent sets.intersects url isURL getScheme getHost \
    getHostname getPort getEscapedPath getQuery ip isIP ip.isCanonical family isUnspecified isLoopback \
    isLinkLocalMulticast isLinkLocalUnicast isGlobalUnicast cidr isCIDR containsIP containsCIDR masked \
    prefixLength quantity isQuantity sign isInteger asInteger asApproximateFloat add sub isGreaterThan isLessThan \
    compareTo semver isSemver major minor patch format.named validate dns1123Label dns1123Subdomain dns1035Label \
    qualifiedName dns1123LabelPrefix dns1123SubdomainPrefix dns1035LabelPrefix labelValue uri uuid byte date \
    datetime optional.of optional.none optional.ofNonZeroValue hasValue value or orValue optMap optFlatMap \
    optional.unwrap unwrapOpt first last";

/// A name and an expression.
#[derive(Debug, Clone)]
pub struct Named {
    pub name: String,
    pub expression: String,
}

/// What is said of an expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// True; or the matchConditions do not hold.
    Allowed,
    /// False: the message.
    Denied(String),
    /// A run-time error.
    Error(String),
    /// The policy cannot be stored: `line:column: text`, behind the name of its field where that is not the expression.
    Refused(Vec<String>),
}

impl Answer {
    fn read(value: &Value) -> Answer {
        let member = value.as_object().and_then(|answer| answer.iter().next());
        match member.map(|(name, value)| (name.as_str(), value)) {
            Some(("allowed", Value::Bool(true))) => Answer::Allowed,
            Some(("denied", Value::String(text))) => Answer::Denied(text.clone()),
            Some(("error", Value::String(text))) => Answer::Error(text.clone()),
            Some(("refused", Value::Array(lines))) => {
                Answer::Refused(lines.iter().map(text).collect())
            }
            _ => panic!("no answer: {value}"),
        }
    }

    fn is_error(&self) -> bool {
        matches!(self, Answer::Error(_) | Answer::Refused(_))
    }

    /// The lines of a case that hold it.
    fn lines(&self) -> Vec<String> {
        let quoted = |text: &String| serde_json::to_string(text).unwrap();
        let of = |name: &str, text: &String| {
            vec![
                "  answer:".to_owned(),
                format!("    {name}: {}", quoted(text)),
            ]
        };
        match self {
            Answer::Allowed => vec!["  answer: {allowed: true}".to_owned()],
            Answer::Denied(text) => of("denied", text),
            Answer::Error(text) => of("error", text),
            Answer::Refused(lines) => {
                let mut all = vec!["  answer:".to_owned(), "    refused:".to_owned()];
                all.extend(lines.iter().map(|line| format!("    - {}", quoted(line))));
                all
            }
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Allowed => formatter.write_str("allowed"),
            Answer::Denied(text) => write!(formatter, "denied: {text}"),
            Answer::Error(text) => write!(formatter, "error: {text}"),
            Answer::Refused(lines) => write!(formatter, "refused: {}", lines.join(" | ")),
        }
    }
}

/// One policy and one request.
#[derive(Debug, Clone)]
pub struct Case {
    pub file: String,
    pub expression: String,
    pub message: Option<String>,
    pub message_expression: Option<String>,
    pub variables: Vec<Named>,
    pub match_conditions: Vec<Named>,
    pub operation: String,
    /// The object's name, which no other case has.
    pub name: String,
    pub object: Option<Value>,
    pub old_object: Option<Value>,
    /// None where it was never recorded.
    pub answer: Option<Answer>,
    /// What we say where that is not the same, and why.
    pub ours: Option<(Answer, String)>,
}

impl Case {
    /// The request as an expression sees it.
    pub fn request(&self) -> Value {
        let kind = json!({"group": "policy.test", "version": "v1", "kind": "Thing"});
        let resource = json!({"group": "policy.test", "version": "v1", "resource": "things"});
        let options = match self.operation.as_str() {
            "UPDATE" => "UpdateOptions",
            "DELETE" => "DeleteOptions",
            _ => "CreateOptions",
        };
        json!({
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "name": self.name,
            "operation": self.operation,
            "userInfo": {
                "username": "admin",
                "groups": ["system:masters", "system:authenticated"],
                "extra": {"authentication.kubernetes.io/credential-id": ["X509SHA256=0"]},
            },
            "dryRun": true,
            "options": {"kind": options, "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"]},
        })
    }

    /// All its expressions.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let named = self.variables.iter().chain(&self.match_conditions);
        [&self.expression]
            .into_iter()
            .chain(&self.message_expression)
            .chain(named.map(|named| &named.expression))
            .map(String::as_str)
    }
}

/// The folder of the files.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testcases/cel")
}

/// All cases, in the order of the files' names.
pub fn cases() -> Vec<Case> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    // Not as kubectl reads YAML: to it 1.0 is the integer 1.
    let options = serde_saphyr::options! { strict_booleans: true };
    let mut all: Vec<Case> = Vec::new();
    for path in files {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let content: Value = serde_saphyr::from_str_with_options(&text, options.clone())
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        for value in content["cases"].as_array().unwrap() {
            let name = format!("c{}", all.len());
            all.push(case(&file, name, &content["object"], value));
        }
    }
    let names: BTreeSet<&String> = all.iter().map(|case| &case.name).collect();
    assert_eq!(
        names.len(),
        all.len(),
        "two cases have an object of one name"
    );
    all
}

fn case(file: &str, name: String, object: &Value, value: &Value) -> Case {
    let known = [
        "expression",
        "operation",
        "object",
        "oldObject",
        "variables",
        "matchConditions",
        "message",
        "messageExpression",
        "answer",
        "ours",
        "why",
    ];
    for member in value.as_object().unwrap().keys() {
        assert!(
            known.contains(&member.as_str()),
            "{file}: no case has a member {member}: {value}"
        );
    }
    let object = value.get("object").unwrap_or(object);
    let old_object = value.get("oldObject");
    let operation = match (value.get("operation"), old_object) {
        (Some(operation), _) => text(operation),
        (None, Some(_)) => "UPDATE".to_owned(),
        (None, None) => "CREATE".to_owned(),
    };
    let (object, old_object) = match operation.as_str() {
        "DELETE" => (None, Some(old_object.unwrap_or(object))),
        "UPDATE" => (Some(object), Some(old_object.unwrap_or(object))),
        _ => (Some(object), None),
    };
    let own_name = object
        .or(old_object)
        .and_then(|object| object["metadata"]["name"].as_str());
    let name = own_name.map_or(name, str::to_owned);
    Case {
        file: file.to_owned(),
        expression: text(&value["expression"]),
        message: value.get("message").map(text),
        message_expression: value.get("messageExpression").map(text),
        variables: named(value.get("variables")),
        match_conditions: named(value.get("matchConditions")),
        operation,
        object: object.map(|object| thing(object, &name)),
        old_object: old_object.map(|object| thing(object, &name)),
        name,
        answer: value.get("answer").map(Answer::read),
        ours: value
            .get("ours")
            .map(|ours| (Answer::read(ours), text(&value["why"]))),
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

fn named(list: Option<&Value>) -> Vec<Named> {
    let list = list.map_or(&[][..], |list| list.as_array().unwrap());
    let named = |entry: &Value| Named {
        name: text(&entry["name"]),
        expression: text(&entry["expression"]),
    };
    list.iter().map(named).collect()
}

/// The object with what every object has.
fn thing(object: &Value, name: &str) -> Value {
    let mut object = object.as_object().cloned().unwrap_or_default();
    object.insert("apiVersion".to_owned(), json!("policy.test/v1"));
    object.insert("kind".to_owned(), json!("Thing"));
    let metadata = object
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    metadata["name"] = json!(name);
    Value::Object(object)
}

/// Writes the answers into the files, and changes nothing else there.
pub fn write_answers(cases: &[Case], answers: &[Answer]) {
    let mut by_file: BTreeMap<&str, Vec<&Answer>> = BTreeMap::new();
    for (case, answer) in cases.iter().zip(answers) {
        by_file.entry(&case.file).or_default().push(answer);
    }
    for (file, answers) in by_file {
        let path = folder().join(file);
        let content = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, with_answers(&content, &answers)).unwrap();
    }
}

fn with_answers(content: &str, answers: &[&Answer]) -> String {
    let mut answers = answers.iter();
    let mut written: Vec<String> = Vec::new();
    let mut current = None;
    let mut in_answer = false;
    let close = |written: &mut Vec<String>, answer: Option<&&Answer>| {
        // Comments and empty lines at the end of a case belong to the next one.
        let own = written
            .iter()
            .rposition(|line| !line.is_empty() && !line.starts_with('#'))
            .map_or(0, |last| last + 1);
        if let Some(answer) = answer {
            let rest = written.split_off(own);
            written.extend(answer.lines());
            written.extend(rest);
        }
    };
    for line in content.lines() {
        if line.starts_with("- expression:") {
            close(&mut written, current);
            current = answers.next();
            in_answer = false;
        } else if current.is_some() && line.starts_with("  answer:") {
            in_answer = true;
            continue;
        } else if in_answer && line.starts_with("    ") {
            continue;
        } else {
            in_answer = false;
        }
        written.push(line.to_owned());
    }
    close(&mut written, current);
    written.push(String::new());
    written.join("\n")
}

/// Fails unless there are as many cases as it takes.
pub fn assert_enough(cases: &[Case]) {
    let mut shapes = BTreeSet::new();
    let mut errors = BTreeSet::new();
    let names = FUNCTIONS.split_whitespace();
    let mut functions: BTreeMap<&str, BTreeSet<String>> =
        names.map(|name| (name, BTreeSet::new())).collect();
    for case in cases {
        let texts: Vec<&str> = case.texts().collect();
        let shape = shape(&texts.join("\n"));
        for (name, seen) in &mut functions {
            if texts.iter().any(|text| calls(text, name)) {
                seen.insert(shape.clone());
            }
        }
        if case.answer.as_ref().is_some_and(Answer::is_error) {
            errors.insert(shape.clone());
        }
        shapes.insert(shape);
    }
    assert!(shapes.len() >= EXPRESSIONS, "{} expressions", shapes.len());
    assert!(
        errors.len() >= ERRORS,
        "{} whose right answer is an error",
        errors.len()
    );
    for (name, seen) in functions {
        assert!(seen.len() >= EACH_FUNCTION, "{} of {name}", seen.len());
    }
}

/// Whether the text calls the function: its name and an opening bracket.
fn calls(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let is_begin =
            !text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
        is_begin && text[at + name.len()..].starts_with('(')
    })
}

/// The text without the contents of its strings and without its numbers: variations of a constant have the same.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let quote = ["'''", "\"\"\"", "'", "\""]
            .into_iter()
            .find(|quote| rest.starts_with(quote));
        if let Some(quote) = quote {
            let is_raw = shape.ends_with(['r', 'R']);
            rest = after_string(&rest[quote.len()..], quote, is_raw);
            shape.push('\'');
        } else if next.is_ascii_digit()
            && !shape.ends_with(|before: char| before.is_alphanumeric() || before == '_')
        {
            rest = rest.trim_start_matches(|digit: char| digit.is_alphanumeric() || digit == '.');
            shape.push('0');
        } else {
            rest = &rest[next.len_utf8()..];
            shape.push(next);
        }
    }
    shape
}

fn after_string<'a>(mut rest: &'a str, quote: &str, is_raw: bool) -> &'a str {
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(quote) {
            return after;
        }
        let mut characters = rest.chars();
        if characters.next() == Some('\\') && !is_raw {
            characters.next();
        }
        rest = characters.as_str();
    }
    rest
}
