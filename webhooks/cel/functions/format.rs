//! `format` of cel-go's `strings` extension as version 2 has it, oddities included: numbers of `%f` are grouped by
//! thousands and those of `%e` are set with a power of ten, as in American English, and what should be the precision
//! of `%e` is its least width.

mod number;

use super::show::{self, DEPTH_MAX, Printed};
use crate::cel::library::Library;
use crate::cel::run::{Fail, Run};
use crate::cel::types::Type;
use crate::cel::value::{List, Map, Value};

/// A function on values.
type Outcome<'a> = Result<Value<'a>, Fail>;

/// Declares them.
pub fn declare(library: &mut Library) {
    let arguments = &[Type::String, Type::list(Type::Dyn)];
    library.member("format", arguments, Type::String, format);
    library.growing("format");
}

/// What stands in a format for an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clause {
    verb: Verb,
    precision: Option<i64>,
}

/// How an argument is to be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    String,
    Decimal,
    Fixed,
    Scientific,
    Binary,
    Hexadecimal { is_upper: bool },
    Octal,
}

/// A part of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'f> {
    /// To be taken as it stands.
    Text(&'f str),
    /// For the argument with that number.
    Clause(Clause, usize),
}

/// Goes through the parts of a format for so many arguments. Gives how many of them it takes.
pub fn parts(
    format: &str,
    arguments: usize,
    mut take: impl FnMut(Part<'_>) -> Result<(), Fail>,
) -> Result<usize, Fail> {
    let mut rest = format;
    let mut argument = 0;
    while let Some((text, clause)) = rest.split_once('%') {
        take(Part::Text(text))?;
        if let Some(after) = clause.strip_prefix('%') {
            take(Part::Text("%"))?;
            rest = after;
            continue;
        }
        if argument >= arguments {
            return Err(Fail::error(format!("index {argument} out of range")));
        }
        let (clause, after) = Clause::parse(clause)?;
        take(Part::Clause(clause, argument))?;
        argument += 1;
        rest = after;
    }
    take(Part::Text(rest))?;
    Ok(argument)
}

impl Clause {
    /// Reads what follows the percent sign.
    fn parse(text: &str) -> Result<(Clause, &str), Fail> {
        if text.is_empty() {
            return Err(Fail::error("unexpected end of string"));
        }
        let unreadable =
            |reason: String| Fail::error(format!("could not parse formatting clause: {reason}"));
        let (precision, text) = match text.strip_prefix('.') {
            None => (None, text),
            Some(text) => {
                let digits = text.bytes().take_while(u8::is_ascii_digit).count();
                let (digits, text) = text.split_at_checked(digits).unwrap_or_default();
                let failed =
                    |reason: &str| unreadable(format!("error while parsing precision: {reason}"));
                if text.is_empty() {
                    return Err(failed("could not find end of precision specifier"));
                }
                let precision = digits.parse().map_err(|_| {
                    let reason = if digits.is_empty() {
                        "invalid syntax"
                    } else {
                        "value out of range"
                    };
                    failed(&format!(
                        "error while converting precision to integer: strconv.Atoi: parsing \"{digits}\": {reason}"
                    ))
                })?;
                (Some(precision), text)
            }
        };
        let verb = match text.bytes().next().unwrap_or_default() {
            b's' => Verb::String,
            b'd' => Verb::Decimal,
            b'f' => Verb::Fixed,
            b'e' => Verb::Scientific,
            b'b' => Verb::Binary,
            b'x' => Verb::Hexadecimal { is_upper: false },
            b'X' => Verb::Hexadecimal { is_upper: true },
            b'o' => Verb::Octal,
            // cel-go takes a byte for a character.
            other => {
                return Err(unreadable(format!(
                    "unrecognized formatting clause \"{}\"",
                    char::from(other)
                )));
            }
        };
        let rest = text.get(1..).unwrap_or_default();
        Ok((Clause { verb, precision }, rest))
    }

    /// Refuses a type that it cannot print, for formats that are known before anything runs. What a list or a map
    /// holds is checked by itself where it is written out.
    pub fn check(self, argument: &Type) -> Result<(), Fail> {
        let fits = matches!(
            (self.verb, argument),
            (_, Type::Dyn | Type::Param(_) | Type::Var(_))
                | (
                    Verb::String,
                    Type::List(_)
                        | Type::Map(_)
                        | Type::Int
                        | Type::Uint
                        | Type::Double
                        | Type::Bool
                        | Type::String
                        | Type::Timestamp
                        | Type::Bytes
                        | Type::Duration
                        | Type::TypeOf(_)
                        | Type::Null,
                )
                | (Verb::Decimal | Verb::Octal, Type::Int | Type::Uint)
                | (Verb::Fixed | Verb::Scientific, Type::Double | Type::String)
                | (Verb::Binary, Type::Int | Type::Uint | Type::Bool)
                | (
                    Verb::Hexadecimal { .. },
                    Type::Int | Type::Uint | Type::String | Type::Bytes
                )
        );
        if fits {
            return Ok(());
        }
        let name = match argument {
            Type::Null => "null_type".to_owned(),
            Type::List(_) => "list".to_owned(),
            Type::Map(_) => "map".to_owned(),
            Type::Optional(_) => "optional_type".to_owned(),
            Type::TypeOf(_) => "type".to_owned(),
            other => other.to_string(),
        };
        Err(failed(&self.refusal(&name)))
    }

    /// Why it does not print a value of such a type.
    fn refusal(self, type_name: &str) -> String {
        let takes = match self.verb {
            Verb::String => {
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, \
                 durations, and timestamps"
            }
            Verb::Decimal => "decimal clause can only be used on integers",
            Verb::Fixed => "fixed-point clause can only be used on doubles",
            Verb::Scientific => "scientific clause can only be used on doubles",
            Verb::Binary => "only integers and bools can be formatted as binary",
            Verb::Hexadecimal { .. } => {
                "only integers, byte buffers, and strings can be formatted as hex"
            }
            Verb::Octal => "octal clause can only be used on integers",
        };
        format!("{takes}, was given {type_name}")
    }

    fn print(
        self,
        value: &Value<'_>,
        printed: &mut Printed,
        run: &mut Run<'_>,
    ) -> Result<(), Fail> {
        let text = match (self.verb, value) {
            (Verb::String, value) => {
                return print(value, self, 0, printed, run);
            }
            (Verb::Decimal, Value::Int(whole)) => whole.to_string(),
            (Verb::Decimal, Value::Uint(whole)) => whole.to_string(),
            (Verb::Binary, Value::Bool(is)) => u8::from(*is).to_string(),
            (Verb::Binary, Value::Int(whole)) => {
                format!("{}{:b}", sign(*whole), whole.unsigned_abs())
            }
            (Verb::Binary, Value::Uint(whole)) => format!("{whole:b}"),
            (Verb::Octal, Value::Int(whole)) => {
                format!("{}{:o}", sign(*whole), whole.unsigned_abs())
            }
            (Verb::Octal, Value::Uint(whole)) => format!("{whole:o}"),
            (Verb::Hexadecimal { is_upper }, Value::Int(whole)) => cased(
                format!("{}{:x}", sign(*whole), whole.unsigned_abs()),
                is_upper,
            ),
            (Verb::Hexadecimal { is_upper }, Value::Uint(whole)) => {
                cased(format!("{whole:x}"), is_upper)
            }
            (Verb::Hexadecimal { is_upper }, Value::String(text)) => {
                return print_hexadecimal(text.as_bytes(), is_upper, printed, run);
            }
            (Verb::Hexadecimal { is_upper }, Value::Bytes(bytes)) => {
                return print_hexadecimal(bytes, is_upper, printed, run);
            }
            (Verb::Fixed | Verb::Scientific, value) => {
                let Some(double) = double(value) else {
                    return Err(failed(&self.refusal(value.type_name())));
                };
                run.allocate(number::bytes(self.precision))?;
                if self.verb == Verb::Fixed {
                    number::fixed(double, self.precision)
                } else {
                    number::scientific(double, self.precision)
                }
            }
            (_, value) => return Err(failed(&self.refusal(value.type_name()))),
        };
        printed.push(&text, run)
    }
}

/// What `%f` and `%e` take for a number.
fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(double) => Some(*double),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn sign(whole: i64) -> &'static str {
    if whole < 0 { "-" } else { "" }
}

fn cased(text: String, is_upper: bool) -> String {
    if is_upper { text.to_uppercase() } else { text }
}

fn failed(reason: &str) -> Fail {
    Fail::error(format!("error during formatting: {reason}"))
}

fn format<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(format), Value::List(values)] = arguments else {
        return Err(show::no_such_overload("format", arguments));
    };
    run.scan(format.len())?;
    let mut printed = Printed::default();
    parts(format, values.len(), |part| match part {
        Part::Text(text) => printed.push(text, run),
        Part::Clause(clause, at) => {
            run.spend(1)?;
            let value = values.get(at).unwrap_or(Value::Null);
            clause.print(&value, &mut printed, run)
        }
    })?;
    let text = printed.into_text();
    run.allocate(text.len())?;
    Ok(Value::text(text))
}

fn print_hexadecimal(
    bytes: &[u8],
    is_upper: bool,
    printed: &mut Printed,
    run: &mut Run<'_>,
) -> Result<(), Fail> {
    for byte in bytes {
        printed.push(&cased(format!("{byte:02x}"), is_upper), run)?;
    }
    Ok(())
}

/// Prints what `%s` takes.
fn print(
    value: &Value<'_>,
    clause: Clause,
    depth: usize,
    printed: &mut Printed,
    run: &mut Run<'_>,
) -> Result<(), Fail> {
    match value {
        Value::List(list) => print_list(list, depth, printed, run),
        Value::Map(map) => print_map(map, depth, printed, run),
        Value::Null => printed.push("null", run),
        Value::Bool(is) => printed.push(if *is { "true" } else { "false" }, run),
        Value::Int(whole) => printed.push(&whole.to_string(), run),
        Value::Uint(whole) => printed.push(&whole.to_string(), run),
        Value::Double(number) => printed.push(&show::double(*number), run),
        Value::String(text) => printed.push(text, run),
        Value::Bytes(bytes) => printed.push(text_of(bytes, run)?, run),
        Value::Duration(span) => printed.push(&show::duration(*span), run),
        Value::Timestamp(moment) => printed.push(&show::timestamp(*moment), run),
        Value::Type(name) => printed.push(name, run),
        other => Err(failed(&clause.refusal(other.type_name()))),
    }
}

fn text_of<'b>(bytes: &'b [u8], run: &mut Run<'_>) -> Result<&'b str, Fail> {
    run.scan(bytes.len())?;
    str::from_utf8(bytes).map_err(|_| {
        failed(
            "could not convert argument \"invalid UTF-8 in bytes, cannot convert to string\" to string",
        )
    })
}

/// Prints an item of a list or a value of a map: so that CEL could read it again.
fn print_inner(
    value: &Value<'_>,
    depth: usize,
    printed: &mut Printed,
    run: &mut Run<'_>,
) -> Result<(), Fail> {
    run.spend(1)?;
    match value {
        Value::List(list) => print_list(list, depth, printed, run),
        Value::Map(map) => print_map(map, depth, printed, run),
        Value::Double(number) if number.is_finite() => printed.push(&format!("{number:.6}"), run),
        Value::Double(number) => printed.push(&format!("\"{}\"", show::double(*number)), run),
        Value::String(text) => {
            let text = show::quoted(text, run)?;
            printed.push(&text, run)
        }
        Value::Bytes(bytes) => {
            let text = show::quoted(text_of(bytes, run)?, run)?;
            printed.push("b", run)?;
            printed.push(&text, run)
        }
        Value::Duration(span) => {
            printed.push(&format!("duration(\"{}\")", show::duration(*span)), run)
        }
        Value::Timestamp(moment) => {
            printed.push(&format!("timestamp(\"{}\")", show::timestamp(*moment)), run)
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Type(_) => {
            let clause = Clause {
                verb: Verb::String,
                precision: None,
            };
            print(value, clause, depth, printed, run)
        }
        other => Err(failed(&format!(
            "no formatting function for {}",
            other.type_name()
        ))),
    }
}

fn print_list(
    list: &List<'_>,
    depth: usize,
    printed: &mut Printed,
    run: &mut Run<'_>,
) -> Result<(), Fail> {
    if depth > DEPTH_MAX {
        return Err(show::too_deep());
    }
    printed.push("[", run)?;
    for (at, item) in list.iter().enumerate() {
        printed.push(if at == 0 { "" } else { ", " }, run)?;
        print_inner(&item, depth + 1, printed, run)?;
    }
    printed.push("]", run)
}

/// Members come in the order of their printed keys.
fn print_map(
    map: &Map<'_>,
    depth: usize,
    printed: &mut Printed,
    run: &mut Run<'_>,
) -> Result<(), Fail> {
    if depth > DEPTH_MAX {
        return Err(show::too_deep());
    }
    let mut members = Vec::new();
    for (key, value) in map.members() {
        let key = match &key {
            Value::String(text) => show::quoted(text, run)?,
            Value::Bool(is) => is.to_string(),
            Value::Int(whole) => whole.to_string(),
            Value::Uint(whole) => whole.to_string(),
            other => {
                return Err(failed(&format!(
                    "no formatting function for map key of type {}",
                    other.type_name()
                )));
            }
        };
        run.allocate(size_of::<(String, String)>())?;
        let mut printed = Printed::default();
        print_inner(&value, depth + 1, &mut printed, run)?;
        members.push((key, printed.into_text()));
    }
    members.sort_by(|(one, _), (other, _)| one.cmp(other));
    printed.push("{", run)?;
    for (at, (key, value)) in members.iter().enumerate() {
        printed.push(if at == 0 { "" } else { ", " }, run)?;
        printed.push(key, run)?;
        printed.push(":", run)?;
        printed.push(value, run)?;
    }
    printed.push("}", run)
}

#[cfg(test)]
mod tests;
