//! The schema of an application's values, as definitions carry it: whether it compiles, and what it says of values.
//!
//! One that does not compile takes the platform's API down at its next start.

pub mod dialect;
mod formats;

use dialect::Dialect;
use jsonschema::{Draft, PatternOptions, ValidationOptions};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Patterns are read as Helm and the API server read them (RE2: linear, without look-around).
/// Largest regular expression of a pattern once compiled, in bytes: matching larger ones takes tens of milliseconds.
const PATTERN_MAX_BYTES: usize = 1 << 20;

/// What is remembered of schemas that were compiled before, in bytes of their sources. The 30 definitions of a
/// release take about 300 KB.
const REMEMBERED_MAX_BYTES: usize = 4 << 20;

/// A schema that compiles.
pub struct Schema {
    /// The schema as it was written.
    pub document: Value,
    dialect: OnceLock<Result<Dialect, String>>,
}

impl Schema {
    /// What it says of values to Kubernetes, compiled when it is asked for the first time: most definitions of a
    /// cluster are never used. The rules cannot know when a definition comes, so the first write of an application
    /// after a definition has changed waits for it, about a millisecond on the bounded pool.
    ///
    /// # Errors
    /// A sentence that says why it cannot be used.
    pub fn dialect(&self) -> Result<&Dialect, &str> {
        let dialect = self.dialect.get_or_init(|| Dialect::of(&self.document));
        dialect.as_ref().map_err(String::as_str)
    }
}

/// The schema, nothing for a blank one; or what is wrong, and what would be right.
pub type Checked = Arc<Result<Option<Schema>, String>>;

#[derive(Default)]
struct Memory {
    checked: HashMap<String, Checked>,
    bytes: usize,
}

static MEMORY: Mutex<Option<Memory>> = Mutex::new(None);

/// Checks a schema. Most updates leave it as it is, and compiling takes a hundred times as long as looking it up: what
/// was found of a source is remembered. A text is its own revision: nothing that is remembered can be stale.
#[must_use]
pub fn check(source: &str) -> Checked {
    let memory = || MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = memory()
        .as_ref()
        .and_then(|memory| memory.checked.get(source))
    {
        return Arc::clone(known);
    }
    // Compiled without the lock: others are not held up.
    let checked = Arc::new(compile(source));
    let mut memory = memory();
    let memory = memory.get_or_insert_default();
    if memory.bytes + source.len() > REMEMBERED_MAX_BYTES {
        *memory = Memory::default();
    }
    if source.len() <= REMEMBERED_MAX_BYTES
        && memory
            .checked
            .insert(source.to_owned(), Arc::clone(&checked))
            .is_none()
    {
        memory.bytes += source.len();
    }
    checked
}

/// Without references to files and URLs, and with the patterns of Go.
fn options() -> ValidationOptions<'static> {
    jsonschema::options()
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_MAX_BYTES))
}

fn compile(source: &str) -> Result<Option<Schema>, String> {
    if source.trim().is_empty() {
        return Ok(None);
    }
    let schema: Value = serde_json::from_str(source)
        .map_err(|error| format!("must be blank or a JSON schema: {error}"))?;
    let Some(members) = schema.as_object() else {
        return Err("must be a JSON object that is a schema".to_owned());
    };
    match members.get("type") {
        Some(Value::String(kind)) if kind == "object" => {}
        Some(found) => return Err(format!("the root's type must be \"object\", found {found}")),
        None => return Err("the root's type must be \"object\", found none".to_owned()),
    }
    // OpenAPI v3.0, which Kubernetes speaks, has draft 4's boolean exclusiveMinimum; charts have the later form.
    let error = match options().build(&schema) {
        Ok(_) => None,
        Err(_)
            if !members.contains_key("$schema")
                && options().with_draft(Draft::Draft4).build(&schema).is_ok() =>
        {
            None
        }
        Err(error) => Some(error),
    };
    let Some(error) = error else {
        return Ok(Some(Schema {
            document: schema,
            dialect: OnceLock::new(),
        }));
    };
    let place = error.instance_path().to_string();
    let place = if place.is_empty() {
        String::new()
    } else {
        format!("at {place}: ")
    };
    Err(format!("does not compile: {place}{error}"))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn schemas_that_compile() {
        for source in [
            "",
            "  \n",
            r#"{"type":"object"}"#,
            r#"{"type":"object","properties":{"a":{"type":"integer","minimum":0,"exclusiveMinimum":true}}}"#,
            r#"{"type":"object","properties":{"a":{"type":"integer","exclusiveMinimum":0}}}"#,
            r#"{"type":"object","properties":{"a":{"x-kubernetes-int-or-string":true,"anyOf":[{"type":"integer"},{"type":"string"}]}},"required":[]}"#,
            r##"{"type":"object","$defs":{"a":{"type":"string"}},"properties":{"x":{"$ref":"#/$defs/a"}}}"##,
        ] {
            assert!(check(source).is_ok(), "{source}");
        }
    }

    #[test]
    fn schemas_that_do_not() {
        for (source, wanted) in [
            ("{", "must be blank or a JSON schema: EOF"),
            ("[]", "must be a JSON object"),
            ("{}", "the root's type must be \"object\", found none"),
            (r#"{"type":"string"}"#, "found \"string\""),
            (
                r#"{"type":["object","null"]}"#,
                "found [\"object\",\"null\"]",
            ),
            (
                r#"{"type":"object","properties":{"a":{"type":"strng"}}}"#,
                "does not compile: at /properties/a/type",
            ),
            (
                r#"{"type":"object","properties":{"a":{"pattern":"("}}}"#,
                "does not compile",
            ),
            (
                r#"{"type":"object","properties":{"a":{"pattern":"^(\\w{1,1000}){1,50}$"}}}"#,
                "does not compile",
            ),
            (
                r#"{"type":"object","required":"a"}"#,
                "does not compile: at /required",
            ),
            (
                r#"{"type":"object","properties":{"a":{"$ref":"http://127.0.0.1:1/x"}}}"#,
                "does not compile",
            ),
            (
                r#"{"type":"object","properties":{"a":{"$ref":"file:///etc/hostname"}}}"#,
                "does not compile",
            ),
        ] {
            let error = check(source).as_ref().as_ref().err().cloned().unwrap();
            assert!(error.contains(wanted), "{source}: {error}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_right() {
        for round in 0..3 {
            for number in 0..40 {
                let padding = "x".repeat(200_000);
                let source = format!(r#"{{"type":"object","title":"{number}{padding}"}}"#);
                let title = format!("{number}{padding}");
                let checked = check(&source);
                let schema = checked.as_ref().as_ref().unwrap().as_ref().unwrap();
                assert_eq!(schema.document["title"], title, "round {round}");
            }
        }
        let memory = super::MEMORY.lock().unwrap();
        let memory = memory.as_ref().unwrap();
        assert!(memory.bytes <= super::REMEMBERED_MAX_BYTES);
        assert_eq!(
            memory.bytes,
            memory.checked.keys().map(String::len).sum::<usize>()
        );
    }
}
