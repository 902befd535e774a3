//! Calls functions as an expression does, for the tests of this folder: literals and calls, nothing else.

use crate::cel::eval;
use crate::cel::library::{Library, Overload};
use crate::cel::run::{Fail, Run};
use crate::cel::value::Value;
use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue};
use cel::parser::Parser;

/// What the expression gives, written so that no two values look the same.
pub fn shown(expression: &str) -> String {
    let mut run = Run::new(None, &[]);
    let parsed = Parser::new().parse(expression);
    let parsed = parsed.unwrap_or_else(|error| panic!("{expression}: {error}"));
    match evaluate(&parsed, &mut run) {
        Ok(value) => show(&value),
        Err(Fail::Error(message)) => format!("error: {message}"),
        Err(Fail::Stopped(limit)) => format!("stopped: {limit}"),
    }
}

/// Holds each expression to what it should give.
pub fn check(table: &[(&str, &str)]) {
    for (expression, expected) in table {
        assert_eq!(shown(expression), *expected, "{expression}");
    }
}

fn evaluate(expression: &IdedExpr, run: &mut Run<'_>) -> Result<Value<'static>, Fail> {
    match &expression.expr {
        Expr::Literal(literal) => Ok(match literal {
            LiteralValue::Boolean(is) => Value::Bool(*is.inner()),
            LiteralValue::Bytes(bytes) => Value::Bytes(bytes.inner().into()),
            LiteralValue::Double(double) => Value::Double(*double.inner()),
            LiteralValue::Int(whole) => Value::Int(*whole.inner()),
            LiteralValue::Null => Value::Null,
            LiteralValue::String(text) => Value::text(text.inner()),
            LiteralValue::UInt(whole) => Value::Uint(*whole.inner()),
        }),
        Expr::Call(call) => {
            let mut arguments = Vec::new();
            let mut name = call.func_name.clone();
            let mut is_member = false;
            if let Some(target) = &call.target {
                match &target.expr {
                    Expr::Ident(first) => name = format!("{first}.{name}"),
                    _ => {
                        is_member = true;
                        arguments.push(evaluate(target, run)?);
                    }
                }
            }
            for argument in &call.args {
                arguments.push(evaluate(argument, run)?);
            }
            if let ("_==_", [one, other]) = (name.as_str(), arguments.as_slice()) {
                return Ok(Value::Bool(one.is_equal(other, run)?));
            }
            let overloads = Library::kubernetes().overloads(&name).unwrap_or_default();
            let mut overloads = overloads.iter();
            let overload = overloads.find(|overload| fits(overload, is_member, &arguments));
            let overload = overload.ok_or_else(Fail::no_such_overload)?;
            let value = (overload.call)(run, &arguments)?;
            assert!(
                eval::fits(&overload.result, &value),
                "{name} gives {value:?}"
            );
            Ok(value)
        }
        other => panic!("the tests have no need of {other:?}"),
    }
}

fn fits(overload: &Overload, is_member: bool, arguments: &[Value<'_>]) -> bool {
    let mut both = overload.arguments.iter().zip(arguments);
    overload.is_member == is_member
        && overload.arguments.len() == arguments.len()
        && both.all(|(declared, value)| eval::fits(declared, value))
}

fn show(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(is) => is.to_string(),
        Value::Int(whole) => whole.to_string(),
        Value::Uint(whole) => format!("{whole}u"),
        Value::Double(double) => format!("double {}", super::conversions::double_to_text(*double)),
        Value::String(text) => serde_json::Value::from(&**text).to_string(),
        Value::Bytes(bytes) => {
            let mut text = "bytes ".to_owned();
            for byte in &**bytes {
                text.push_str(&format!("{byte:02x}"));
            }
            text
        }
        Value::Duration(nanoseconds) => format!("duration {nanoseconds}"),
        Value::Timestamp(at) => format!("timestamp {}.{:09}", at.seconds, at.nanoseconds),
        Value::Optional(None) => "none".to_owned(),
        Value::Optional(Some(value)) => format!("some {}", show(value)),
        Value::Ip(address) => format!("ip {address}"),
        Value::Cidr(cidr) => format!("cidr {cidr}"),
        Value::Url(url) => format!("url {}", serde_json::Value::from(url.text())),
        Value::Quantity(_) => "quantity".to_owned(),
        Value::Semver(_) => "semver".to_owned(),
        Value::Format(format) => format!("format {}", format.name()),
        Value::Type(name) => format!("type {name}"),
        Value::List(list) => {
            let items: Vec<String> = list.iter().map(|item| show(&item)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let members = map
                .members()
                .map(|(key, value)| format!("{}: {}", show(&key), show(&value)));
            let mut members: Vec<String> = members.collect();
            members.sort();
            format!("{{{}}}", members.join(", "))
        }
    }
}
