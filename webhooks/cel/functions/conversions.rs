//! Conversions between types.

use super::time;
use crate::cel::library::{Function, Library};
use crate::cel::run::{Fail, Run};
use crate::cel::types::Type;
use crate::cel::value::{Text, Value};
use std::rc::Rc;

/// The longest text of a number or a moment.
const NUMBER_BYTES: usize = 48;

/// Declares them.
pub fn declare(library: &mut Library) {
    library.global("dyn", &[Type::Param("A")], Type::Dyn, same);
    let overloads: [(&'static str, Type, &[Type], Function); 8] = [
        ("bool", Type::Bool, &[Type::Bool, Type::String], to_bool),
        ("bytes", Type::Bytes, &[Type::Bytes, Type::String], to_bytes),
        (
            "double",
            Type::Double,
            &[Type::Double, Type::Int, Type::String, Type::Uint],
            to_double,
        ),
        (
            "duration",
            Type::Duration,
            &[Type::Duration, Type::Int, Type::String],
            to_duration,
        ),
        (
            "int",
            Type::Int,
            &[
                Type::Int,
                Type::Double,
                Type::Duration,
                Type::String,
                Type::Timestamp,
                Type::Uint,
            ],
            to_int,
        ),
        (
            "string",
            Type::String,
            &[
                Type::String,
                Type::Bool,
                Type::Bytes,
                Type::Double,
                Type::Duration,
                Type::Int,
                Type::Timestamp,
                Type::Uint,
            ],
            to_text,
        ),
        (
            "timestamp",
            Type::Timestamp,
            &[Type::Timestamp, Type::Int, Type::String],
            to_timestamp,
        ),
        (
            "uint",
            Type::Uint,
            &[Type::Uint, Type::Double, Type::Int, Type::String],
            to_uint,
        ),
    ];
    for (name, result, arguments, function) in overloads {
        for argument in arguments {
            library.global(
                name,
                std::slice::from_ref(argument),
                result.clone(),
                function,
            );
            if matches!(argument, Type::String | Type::Bytes) {
                library.growing(name);
            }
        }
    }
}

fn same<'a>(_: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    match arguments {
        [value] => Ok(value.clone()),
        _ => Err(Fail::no_such_overload()),
    }
}

/// The text cannot be read as that.
fn wrong(result: &str) -> Fail {
    Fail::error(format!("type conversion error from 'string' to '{result}'"))
}

fn to_bool<'a>(_: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    match arguments {
        [Value::Bool(is)] => Ok(Value::Bool(*is)),
        [Value::String(text)] => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(wrong("bool")),
        },
        _ => Err(Fail::no_such_overload()),
    }
}

fn to_bytes<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    match arguments {
        [Value::Bytes(bytes)] => Ok(Value::Bytes(Rc::clone(bytes))),
        [Value::String(text)] => {
            run.allocate(text.len())?;
            Ok(Value::Bytes(text.as_bytes().into()))
        }
        _ => Err(Fail::no_such_overload()),
    }
}

#[allow(clippy::cast_precision_loss)]
fn to_double<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let double = match arguments {
        [Value::Double(double)] => *double,
        [Value::Int(whole)] => *whole as f64,
        [Value::Uint(whole)] => *whole as f64,
        [Value::String(text)] => {
            run.scan(text.len())?;
            super::floats::parse(text).ok_or_else(|| wrong("double"))?
        }
        _ => return Err(Fail::no_such_overload()),
    };
    Ok(Value::Double(double))
}

fn to_duration<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    match arguments {
        [Value::Duration(span)] => Ok(Value::Duration(*span)),
        [Value::String(text)] => {
            run.scan(text.len())?;
            time::parse_duration(text).map(Value::Duration)
        }
        // It is declared, and never works.
        [Value::Int(_)] => Err(Fail::error(
            "type conversion error from 'int' to 'google.protobuf.Duration'",
        )),
        _ => Err(Fail::no_such_overload()),
    }
}

/// From there on doubles are no whole numbers of 64 bits, or of 64 bits without a sign.
const INT_END: f64 = 9_223_372_036_854_775_808.0;
const UINT_END: f64 = 18_446_744_073_709_551_616.0;

#[allow(clippy::cast_possible_truncation)]
fn to_int<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let overflow = || Fail::error("integer overflow");
    let whole = match arguments {
        [Value::Int(whole)] => *whole,
        // As in cel-go the smallest number is none.
        [Value::Double(double)] if *double > -INT_END && *double < INT_END => *double as i64,
        [Value::Double(_)] => return Err(overflow()),
        [Value::Uint(whole)] => i64::try_from(*whole).map_err(|_| overflow())?,
        [Value::Duration(span)] => *span,
        [Value::Timestamp(at)] => at.seconds,
        [Value::String(text)] => {
            run.scan(text.len())?;
            text.parse().map_err(|_| wrong("int"))?
        }
        _ => return Err(Fail::no_such_overload()),
    };
    Ok(Value::Int(whole))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn to_uint<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let overflow = || Fail::error("unsigned integer overflow");
    let whole = match arguments {
        [Value::Uint(whole)] => *whole,
        [Value::Double(double)] if *double >= 0.0 && *double < UINT_END => *double as u64,
        [Value::Double(_)] => return Err(overflow()),
        [Value::Int(whole)] => u64::try_from(*whole).map_err(|_| overflow())?,
        [Value::String(text)] => {
            run.scan(text.len())?;
            let digits = Some(&**text).filter(|text| !text.starts_with('+'));
            let whole = digits.and_then(|digits| digits.parse().ok());
            whole.ok_or_else(|| wrong("uint"))?
        }
        _ => return Err(Fail::no_such_overload()),
    };
    Ok(Value::Uint(whole))
}

fn to_timestamp<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    match arguments {
        [Value::Timestamp(at)] => Ok(Value::Timestamp(*at)),
        [Value::Int(seconds)] => time::timestamp(*seconds, 0).map(Value::Timestamp),
        [Value::String(text)] => {
            run.scan(text.len())?;
            time::parse_timestamp(text).map(Value::Timestamp)
        }
        _ => Err(Fail::no_such_overload()),
    }
}

fn to_text<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let text = match arguments {
        [Value::String(text)] => return Ok(Value::String(text.clone())),
        [Value::Bool(is)] => {
            return Ok(Value::String(Text::Borrowed(if *is {
                "true"
            } else {
                "false"
            })));
        }
        [Value::Bytes(bytes)] => {
            run.allocate(bytes.len())?;
            let text = std::str::from_utf8(bytes)
                .map_err(|_| Fail::error("invalid UTF-8 in bytes, cannot convert to string"))?;
            return Ok(Value::text(text));
        }
        [Value::Double(double)] => double_to_text(*double),
        [Value::Duration(span)] => time::format_duration(*span),
        [Value::Int(whole)] => whole.to_string(),
        [Value::Timestamp(at)] => time::format_timestamp(*at),
        [Value::Uint(whole)] => whole.to_string(),
        _ => return Err(Fail::no_such_overload()),
    };
    run.allocate(NUMBER_BYTES)?;
    Ok(Value::text(text))
}

/// A float as Go's `%g` writes it: the shortest text that gives it back, with an exponent from a million on and below
/// a ten-thousandth.
#[must_use]
pub fn double_to_text(double: f64) -> String {
    super::floats::format(double)
}

#[cfg(test)]
mod tests;
