//! An expression and an object of any bytes: compiled and run, it ends, by itself or stopped, and never panics.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::value::RawValue;
use webhooks::cel::{Document, Environment, Program, Run, Scope, Value};
use webhooks::contract::Json;

/// Between expression and object. No text of either holds it.
const SEPARATOR: u8 = 0;

fuzz_target!(|data: &[u8]| -> Corpus {
    let mut parts = data.splitn(2, |byte| *byte == SEPARATOR);
    let part = parts.next().map(std::str::from_utf8);
    let Some(Ok(expression)) = part else {
        return Corpus::Reject;
    };
    let object = parts.next().and_then(|object| std::str::from_utf8(object).ok());
    let object: Option<&RawValue> = object.and_then(|object| serde_json::from_str(object).ok());
    let Ok(program) = Program::compile(expression, &Environment::admission()) else {
        return Corpus::Keep;
    };
    let text = object.map_or("{}", RawValue::get);
    let document = Document::new(text);
    let mut scope = Scope::new();
    let value = object.map_or(Value::Null, |object| Value::of_json(Json::from(object), &document));
    scope.bind("object", value);
    for name in ["oldObject", "request", "params"] {
        scope.bind(name, Value::Null);
    }
    let mut run = Run::new(None, &[]);
    let _ = program.evaluate(&scope, &mut run);
    Corpus::Keep
});
