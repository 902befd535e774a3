//! Regular expressions: `matches` of the standard library, `find` and `findAll` of Kubernetes, in Go's syntax.
//!
//! The engine is the `regex` crate: linear like Go's, but of another syntax in places. Each pattern is read as Go
//! reads it, refused in Go's words, and written anew for the engine so that nothing is left to interpretation.

mod class;
mod translate;
mod unicode;

use crate::cel::library::Library;
use crate::cel::run::{Fail, Ready, Run, as_steps, regex_max_bytes};
use crate::cel::types::Type;
use crate::cel::value::{Text, Value};
use regex::{Regex, RegexBuilder};

/// A function on values.
type Outcome<'a> = Result<Value<'a>, Fail>;

/// Longer patterns are refused: reading one may take some hundred times its size.
const PATTERN_MAX_BYTES: usize = 16 << 10;
/// What one regular expression may keep to be fast; where that is not enough it goes on more slowly.
const CACHE_MAX_BYTES: usize = 512 << 10;
/// How deep the translation may nest; each group of the pattern takes up to three levels.
const NESTING_MAX: u32 = 350;
/// A byte that is looked at costs one step for that many instructions of the regular expression: at worst each of them
/// is tried at each byte, at several nanoseconds.
const INSTRUCTIONS_A_STEP: u64 = 32;
/// All states of what is not larger are soon known: looking at the same text again costs no more than reading it. Those
/// of a larger one may be twice as many with each instruction.
const SMALL: u64 = 12;
/// Instructions of a class that goes beyond ASCII, and of one that Unicode knows.
const WIDE: u64 = 8;
const WIDEST: u64 = 64;
/// What an instruction costs to compile.
const INSTRUCTION_STEPS: u64 = 15;

/// Declares them.
pub fn declare(library: &mut Library) {
    let two = &[Type::String, Type::String];
    library.global("matches", two, Type::Bool, matches);
    library.growing("matches");
    let three = &[Type::String, Type::String, Type::Int];
    let strings = Type::list(Type::String);
    let mut member = |name, arguments: &[Type], result: Type, call| {
        library.member(name, arguments, result, call);
        library.growing(name);
    };
    member("matches", two, Type::Bool, matches);
    member("find", two, Type::String, find);
    member("findAll", two, strings.clone(), find_all);
    member("findAll", three, strings, find_all);
}

/// Compiles a regular expression in Go's words.
pub fn compile(pattern: &str) -> Result<Regex, Fail> {
    let too_large = || refused("expression too large", pattern);
    if pattern.len() > PATTERN_MAX_BYTES {
        return Err(too_large());
    }
    let translated = translate::translate(pattern)?;
    RegexBuilder::new(&translated)
        .size_limit(regex_max_bytes())
        .dfa_size_limit(CACHE_MAX_BYTES)
        .nest_limit(NESTING_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => too_large(),
            // What is written for the engine is well-formed: only its depth is left to refuse.
            _ => refused("expression nests too deeply", pattern),
        })
}

/// As Go words it.
fn refused(reason: &str, what: &str) -> Fail {
    Fail::error(format!("error parsing regexp: {reason}: `{what}`"))
}

/// Kubernetes' own functions say more of it than the standard one.
fn illegal(fail: Fail) -> Fail {
    match fail {
        Fail::Error(message) => Fail::error(format!("Illegal regex: {message}")),
        stopped @ Fail::Stopped(_) => stopped,
    }
}

/// What compiling a pattern costs beyond what it costs to read it: repetitions are written out.
#[must_use]
pub fn compile_steps(pattern: &str) -> u64 {
    instructions(pattern).saturating_mul(INSTRUCTION_STEPS)
}

/// About how many instructions a pattern comes to once its repetitions are written out, without reading it closely.
fn instructions(pattern: &str) -> u64 {
    // Of the group at hand and of those around it.
    let (mut total, mut last) = (0_u64, 0_u64);
    let mut open: Vec<u64> = Vec::new();
    let mut rest = pattern.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'(' => {
                open.push(total);
                (total, last) = (0, 0);
                continue;
            }
            b')' => {
                last = total;
                total = open.pop().unwrap_or_default();
            }
            b'{' => {
                let times = repetitions(rest);
                let more = last.saturating_mul(times - 1);
                total = total.saturating_add(more);
                last = last.saturating_add(more);
                continue;
            }
            b'[' => {
                let length = class_length(rest);
                let (class, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                rest = after;
                let is_wide = class
                    .iter()
                    .any(|byte| matches!(byte, b'^' | b'\\') || !byte.is_ascii());
                last = if is_wide { WIDE } else { 1 };
            }
            b'.' => last = WIDE,
            b'\\' => {
                let (escaped, after) = rest.split_first().unwrap_or((&0, &[]));
                rest = after;
                last = match escaped {
                    b'p' | b'P' => {
                        let is_braced = rest.first() == Some(&b'{');
                        let end = rest.iter().position(|byte| is_braced && *byte == b'}');
                        rest = rest.get(end.unwrap_or(0) + 1..).unwrap_or_default();
                        WIDEST
                    }
                    b'D' | b'S' | b'W' => WIDE,
                    _ => 1,
                };
            }
            _ => last = 1,
        }
        total = total.saturating_add(last);
    }
    open.iter()
        .fold(total, |all, open| all.saturating_add(*open))
        .saturating_add(1)
}

/// How often something is repeated, by what follows the brace.
fn repetitions(text: &[u8]) -> u64 {
    let number = |text: &[u8]| {
        let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = text
            .get(..length)
            .and_then(|digits| str::from_utf8(digits).ok());
        (
            digits
                .and_then(|digits| digits.parse().ok())
                .unwrap_or(0_u64),
            length,
        )
    };
    let (least, length) = number(text);
    let most = match text.get(length..).and_then(<[u8]>::split_first) {
        Some((b',', more)) => number(more).0,
        _ => 0,
    };
    least.max(most).clamp(1, 1000)
}

/// How long a class is, of which the bracket is taken.
fn class_length(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let mut is_named = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'[' if text.get(at + 1) == Some(&b':') => is_named = true,
            b']' if is_named => is_named = false,
            b']' if at > 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Pays for a look at so many bytes.
fn pay(run: &mut Run<'_>, bytes: usize, instructions: u64) -> Result<(), Fail> {
    run.scan(bytes)?;
    let bytes = as_steps(bytes);
    if instructions > SMALL {
        run.spend(bytes)?;
    }
    run.spend(bytes.saturating_mul(instructions) / INSTRUCTIONS_A_STEP)
}

fn matches<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(text), Value::String(pattern)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    let regex = run.regex(pattern)?;
    pay(run, text.len(), instructions(pattern))?;
    Ok(Value::Bool(regex.is_match(text)))
}

/// What was found, shared where the text outlives the evaluation.
fn found<'a>(text: &Text<'a>, found: regex::Match<'_>, run: &mut Run<'_>) -> Outcome<'a> {
    if let Text::Borrowed(text) = text {
        let text = text.get(found.range()).unwrap_or_default();
        return Ok(Value::String(Text::Borrowed(text)));
    }
    run.allocate(found.len())?;
    Ok(Value::text(found.as_str()))
}

fn find<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(text), Value::String(pattern)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    let regex = run.regex(pattern).map_err(illegal)?;
    pay(run, text.len(), instructions(pattern))?;
    match regex.find(text) {
        Some(first) => found(text, first, run),
        None => Ok(Value::String(Text::Borrowed(""))),
    }
}

fn find_all<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (text, pattern, limit) = match arguments {
        [Value::String(text), Value::String(pattern)] => (text, pattern, -1),
        [
            Value::String(text),
            Value::String(pattern),
            Value::Int(limit),
        ] => (text, pattern, *limit),
        _ => return Err(Fail::no_such_overload()),
    };
    let regex: Ready<'_> = run.regex(pattern).map_err(illegal)?;
    // Below nothing there is no limit.
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let instructions = instructions(pattern);
    let mut all = Vec::new();
    let mut start = 0;
    let mut matches = regex.find_iter(text);
    while all.len() < limit {
        // Each search may read to the end before it knows where its match ends.
        let bytes = text.len().saturating_sub(start);
        if all.is_empty() || instructions > SMALL {
            pay(run, bytes, instructions)?;
        } else {
            run.scan(bytes)?;
        }
        let Some(next) = matches.next() else {
            break;
        };
        start = next.end();
        run.allocate(size_of::<Value<'_>>())?;
        all.push(found(text, next, run)?);
    }
    Ok(Value::list(all))
}

#[cfg(test)]
mod tests;
