//! The functions of strings: those of the standard library and of cel-go's `strings` extension, version 2. All
//! positions count code points.

use super::lists::each;
use super::show;
use crate::cel::library::Library;
use crate::cel::run::{Fail, Run, as_steps};
use crate::cel::types::Type;
use crate::cel::value::{Text, Value};
use std::rc::Rc;

/// A function on values.
type Outcome<'a> = Result<Value<'a>, Fail>;

/// Declares them.
pub fn declare(library: &mut Library) {
    let (string, int) = (Type::String, Type::Int);
    let item = Type::Param("A");
    let sized = [
        Type::String,
        Type::Bytes,
        Type::list(item.clone()),
        Type::map(item, Type::Param("B")),
    ];
    for sized in sized {
        library.global("size", std::slice::from_ref(&sized), Type::Int, size);
        library.growing("size");
        library.member("size", &[sized], Type::Int, size);
        library.growing("size");
    }
    let one = std::slice::from_ref(&string);
    let two = &[string.clone(), string.clone()];
    let with_int = &[string.clone(), int.clone()];
    let two_with_int = &[string.clone(), string.clone(), int.clone()];
    let mut member = |name, arguments: &[Type], result: Type, call| {
        library.member(name, arguments, result, call);
        library.growing(name);
    };
    member("contains", two, Type::Bool, contains);
    member("startsWith", two, Type::Bool, starts_with);
    member("endsWith", two, Type::Bool, ends_with);
    member("charAt", with_int, Type::String, char_at);
    member("indexOf", two, Type::Int, index_of);
    member("indexOf", two_with_int, Type::Int, index_of);
    member("lastIndexOf", two, Type::Int, last_index_of);
    member("lastIndexOf", two_with_int, Type::Int, last_index_of);
    member("lowerAscii", one, Type::String, lower_ascii);
    member("upperAscii", one, Type::String, upper_ascii);
    member("trim", one, Type::String, trim);
    member("substring", with_int, Type::String, substring);
    member(
        "substring",
        &[string.clone(), int.clone(), int.clone()],
        Type::String,
        substring,
    );
    member(
        "replace",
        &[string.clone(), string.clone(), string.clone()],
        Type::String,
        replace,
    );
    member(
        "replace",
        &[string.clone(), string.clone(), string.clone(), int],
        Type::String,
        replace,
    );
    let strings = Type::list(Type::String);
    member("split", two, strings.clone(), split);
    member("split", two_with_int, strings.clone(), split);
    member("join", std::slice::from_ref(&strings), Type::String, join);
    member("join", &[strings, string.clone()], Type::String, join);
    library.global("strings.quote", one, Type::String, quote);
    library.growing("strings.quote");
}

/// A length or a position as CEL holds it.
fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Part of a text: shared where the text outlives the evaluation.
fn part<'a>(text: &Text<'a>, start: usize, end: usize, run: &mut Run<'_>) -> Outcome<'a> {
    match text {
        Text::Borrowed(text) => {
            let text = text.get(start..end).unwrap_or_default();
            Ok(Value::String(Text::Borrowed(text)))
        }
        Text::Made(text) if start == 0 && end == text.len() => {
            Ok(Value::String(Text::Made(Rc::clone(text))))
        }
        Text::Made(text) => {
            run.allocate(end.saturating_sub(start))?;
            Ok(Value::text(text.get(start..end).unwrap_or_default()))
        }
    }
}

/// Where in the bytes the code point with that number starts; the end counts as one more.
fn offset(text: &str, number: i64) -> Option<usize> {
    let number = usize::try_from(number).ok()?;
    if number > text.len() {
        return None;
    }
    let mut starts = text.char_indices().map(|(start, _)| start);
    starts.by_ref().chain([text.len()]).nth(number)
}

fn characters(text: &str) -> i64 {
    count(text.chars().count())
}

fn out_of_range(index: i64) -> Fail {
    Fail::error(format!("index out of range: {index}"))
}

fn size<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let size = match arguments {
        [Value::String(text)] => {
            run.scan(text.len())?;
            characters(text)
        }
        [Value::Bytes(bytes)] => count(bytes.len()),
        [Value::List(list)] => count(list.len()),
        [Value::Map(map)] => count(map.len()),
        _ => return Err(Fail::no_such_overload()),
    };
    Ok(Value::Int(size))
}

fn contains<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(text), Value::String(sought)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len().saturating_add(sought.len()))?;
    Ok(Value::Bool(text.contains(&**sought)))
}

fn starts_with<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(text), Value::String(sought)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len().min(sought.len()))?;
    Ok(Value::Bool(text.starts_with(&**sought)))
}

fn ends_with<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(text), Value::String(sought)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len().min(sought.len()))?;
    Ok(Value::Bool(text.ends_with(&**sought)))
}

fn char_at<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(text), Value::Int(index)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len())?;
    let start = offset(text, *index).ok_or_else(|| out_of_range(*index))?;
    let rest = text.get(start..).unwrap_or_default();
    let length = rest.chars().next().map_or(0, char::len_utf8);
    part(text, start, start.saturating_add(length), run)
}

/// The text, what is sought, and from where on.
fn search<'v>(
    run: &mut Run<'_>,
    arguments: &'v [Value<'_>],
) -> Result<(&'v str, &'v str, Option<i64>), Fail> {
    let (text, sought, from) = match arguments {
        [Value::String(text), Value::String(sought)] => (text, sought, None),
        [Value::String(text), Value::String(sought), Value::Int(from)] => {
            (text, sought, Some(*from))
        }
        _ => return Err(Fail::no_such_overload()),
    };
    // Read for the search and once more for the position.
    run.scan(text.len().saturating_mul(2).saturating_add(sought.len()))?;
    Ok((text, sought, from))
}

fn index_of<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (text, sought, from) = search(run, arguments)?;
    let from = from.unwrap_or(0);
    // Nothing is found anywhere, even where the text has no such place.
    if sought.is_empty() {
        return Ok(Value::Int(from));
    }
    if from < 0 {
        return Err(out_of_range(from));
    }
    let found = offset(text, from).and_then(|start| {
        let found = text.get(start..)?.find(sought)?;
        text.get(..start.checked_add(found)?)
    });
    Ok(Value::Int(found.map_or(-1, characters)))
}

fn last_index_of<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (text, sought, from) = search(run, arguments)?;
    if sought.is_empty() {
        return Ok(Value::Int(from.unwrap_or_else(|| characters(text))));
    }
    let end = match from {
        None => text.len(),
        Some(from) if from < 0 => return Err(out_of_range(from)),
        // What starts at that place may end after it; what starts behind the text is not looked for.
        Some(from) => match offset(text, from) {
            Some(start) if start < text.len() => start.saturating_add(sought.len()),
            _ => return Ok(Value::Int(-1)),
        },
    };
    let mut end = end.min(text.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    let found = text.get(..end).and_then(|text| {
        let start = text.rfind(sought)?;
        text.get(..start)
    });
    Ok(Value::Int(found.map_or(-1, characters)))
}

fn lower_ascii<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(text)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len())?;
    if !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(Value::String(text.clone()));
    }
    run.allocate(text.len())?;
    Ok(Value::text(text.to_ascii_lowercase()))
}

fn upper_ascii<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(text)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len())?;
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Ok(Value::String(text.clone()));
    }
    run.allocate(text.len())?;
    Ok(Value::text(text.to_ascii_uppercase()))
}

fn trim<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(text)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len())?;
    let start = text.len().saturating_sub(text.trim_start().len());
    let end = text.trim_end().len().max(start);
    part(text, start, end, run)
}

fn substring<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (text, start, end) = match arguments {
        [Value::String(text), Value::Int(start)] => (text, *start, None),
        [Value::String(text), Value::Int(start), Value::Int(end)] => (text, *start, Some(*end)),
        _ => return Err(Fail::no_such_overload()),
    };
    run.scan(text.len())?;
    if let Some(end) = end
        && start > end
    {
        return Err(Fail::error(format!(
            "invalid substring range. start: {start}, end: {end}"
        )));
    }
    let from = offset(text, start).ok_or_else(|| out_of_range(start))?;
    let to = match end {
        Some(end) => offset(text, end).ok_or_else(|| out_of_range(end))?,
        None => text.len(),
    };
    part(text, from, to, run)
}

fn replace<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (text, old, new, limit) = match arguments {
        [Value::String(text), Value::String(old), Value::String(new)] => (text, old, new, -1),
        [
            Value::String(text),
            Value::String(old),
            Value::String(new),
            Value::Int(limit),
        ] => (text, old, new, *limit),
        _ => return Err(Fail::no_such_overload()),
    };
    run.scan(text.len())?;
    // Below nothing there is no limit.
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let found = text.matches(&**old).take(limit).count();
    if found == 0 || **old == **new {
        return Ok(Value::String(text.clone()));
    }
    // Counted before it is made: each match may grow by any length.
    let added = found.saturating_mul(new.len());
    let kept = text.len().saturating_sub(found.saturating_mul(old.len()));
    run.spend(as_steps(found))?;
    run.allocate(kept.saturating_add(added))?;
    Ok(Value::text(text.replacen(&**old, new, limit)))
}

fn split<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (text, separator, limit) = match arguments {
        [Value::String(text), Value::String(separator)] => (text, separator, -1),
        [
            Value::String(text),
            Value::String(separator),
            Value::Int(limit),
        ] => (text, separator, *limit),
        _ => return Err(Fail::no_such_overload()),
    };
    run.scan(text.len())?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 || (separator.is_empty() && text.is_empty()) {
        return Ok(Value::list(Vec::new()));
    }
    // Where the parts end and the next ones start.
    let cuts = |(at, cut): (usize, &str)| (at, at.saturating_add(cut.len()));
    let cuts: Box<dyn Iterator<Item = (usize, usize)>> = if separator.is_empty() {
        // Between all code points.
        Box::new(text.char_indices().skip(1).map(|(at, _)| (at, at)))
    } else {
        Box::new(text.match_indices(&**separator).map(cuts))
    };
    let mut parts = Vec::new();
    let mut start = 0;
    for (end, next) in cuts.take(limit.saturating_sub(1)) {
        run.allocate(size_of::<Value<'_>>())?;
        parts.push(part(text, start, end, run)?);
        start = next;
    }
    run.allocate(size_of::<Value<'_>>())?;
    parts.push(part(text, start, text.len(), run)?);
    Ok(Value::list(parts))
}

fn join<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (list, separator) = match arguments {
        [Value::List(list)] => (list, ""),
        [Value::List(list), Value::String(separator)] => (list, &**separator),
        _ => return Err(show::no_such_overload("join", arguments)),
    };
    let mut joined = String::new();
    let mut is_first = true;
    each(list, run, |item, run| {
        let Value::String(text) = item else {
            // The first item decides whether the list counts as one of strings.
            return Err(if is_first {
                show::no_such_overload("join", arguments)
            } else {
                Fail::error(format!("join: invalid input: {}", show::text(&item, run)?))
            });
        };
        let separator = if is_first { "" } else { separator };
        is_first = false;
        run.allocate(text.len().saturating_add(separator.len()))?;
        joined.push_str(separator);
        joined.push_str(&text);
        Ok(true)
    })?;
    run.allocate(joined.len())?;
    Ok(Value::text(joined))
}

fn quote<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(text)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    // Each character may need two bytes, and there are the quotes.
    run.allocate(text.len().saturating_mul(2).saturating_add(2))?;
    let mut quoted = String::with_capacity(text.len().saturating_add(2));
    quoted.push('"');
    for character in text.chars() {
        let escaped = match character {
            '\x07' => 'a',
            '\x08' => 'b',
            '\x0c' => 'f',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            '\x0b' => 'v',
            '\\' | '"' => character,
            _ => {
                quoted.push(character);
                continue;
            }
        };
        quoted.push('\\');
        quoted.push(escaped);
    }
    quoted.push('"');
    Ok(Value::text(quoted))
}

#[cfg(test)]
mod tests;
