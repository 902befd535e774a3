//! What the tests of functions share.

use crate::cel::library::Function;
use crate::cel::run::Run;
use crate::cel::value::Value;

/// A function of the library.
pub(super) type Outcome = Function;

/// Calls a function; what it gives or how it fails, to be compared with `text`, `list` and `error`.
pub(super) fn call(function: Function, arguments: &[Value<'_>]) -> String {
    let mut run = Run::new(None, &[]);
    match function(&mut run, arguments) {
        Ok(value) => shown(&value),
        Err(fail) => format!("error: {fail}"),
    }
}

/// A value as tests write it.
pub(super) fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(is) => is.to_string(),
        Value::Int(whole) => whole.to_string(),
        Value::Uint(whole) => format!("{whole}u"),
        Value::Double(double) => format!("{double:?}"),
        Value::String(text) => format!("{:?}", &**text),
        Value::Duration(span) => format!("{span}ns"),
        Value::Timestamp(moment) => format!("{}.{:09}", moment.seconds, moment.nanoseconds),
        Value::Optional(None) => "none".to_owned(),
        Value::Optional(Some(inner)) => format!("some({})", shown(inner)),
        Value::List(list) => {
            let items: Vec<String> = list.iter().map(|item| shown(&item)).collect();
            format!("[{}]", items.join(", "))
        }
        other => format!("{other:?}"),
    }
}

/// That text.
pub(super) fn text(text: &str) -> String {
    shown(&Value::text(text))
}

/// A list of such texts.
pub(super) fn list(texts: &[&str]) -> String {
    shown(&texts_of(texts))
}

/// A list of such texts, as a value.
pub(super) fn texts_of<'a>(texts: &[&str]) -> Value<'a> {
    Value::list(texts.iter().map(|text| Value::text(*text)).collect())
}

/// That error.
pub(super) fn error(message: &str) -> String {
    format!("error: {message}")
}
