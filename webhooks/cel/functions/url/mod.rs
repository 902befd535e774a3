//! URLs, as Go's `net/url` reads them.

mod escape;
mod parse;

pub use parse::parse_request;

use super::quoted::quoted;
use crate::cel::library::{Function, Library};
use crate::cel::run::{Fail, Run};
use crate::cel::types::Type;
use crate::cel::value::Value;
use escape::{Part, escape, unescape};
use std::collections::BTreeMap;

const URL: Type = Type::Opaque("kubernetes.URL");
/// Go reads no query that has more.
const PARAMETERS_MAX: usize = 10_000;
/// What a parameter takes beyond its text.
const PARAMETER_BYTES: usize = 64;

/// A URL as Go reads it. What is unescaped need not be UTF-8.
#[derive(Debug, Default)]
pub struct Url {
    scheme: String,
    opaque: String,
    user: Option<User>,
    host: Vec<u8>,
    path: Vec<u8>,
    /// As it was written, where it would not be escaped like that.
    raw_path: Option<String>,
    query: String,
    has_empty_query: bool,
    has_no_authority: bool,
    fragment: Vec<u8>,
    raw_fragment: Option<String>,
}

#[derive(Debug)]
struct User {
    name: Vec<u8>,
    password: Option<Vec<u8>>,
}

/// Two are equal that are written alike.
impl PartialEq for Url {
    fn eq(&self, other: &Url) -> bool {
        self.text() == other.text()
    }
}

/// Declares them.
pub fn declare(library: &mut Library) {
    library.global("url", &[Type::String], URL, from_text);
    library.growing("url");
    library.global("isURL", &[Type::String], Type::Bool, is_url);
    library.growing("isURL");
    let parts: [(&'static str, Function); 5] = [
        ("getScheme", |run, arguments| {
            part(run, arguments, |url| url.scheme.clone())
        }),
        ("getHost", |run, arguments| {
            part(run, arguments, |url| lossy(&url.host))
        }),
        ("getHostname", |run, arguments| {
            part(run, arguments, |url| url.host_and_port().0)
        }),
        ("getPort", |run, arguments| {
            part(run, arguments, |url| url.host_and_port().1)
        }),
        ("getEscapedPath", |run, arguments| {
            part(run, arguments, Url::escaped_path)
        }),
    ];
    for (name, function) in parts {
        library.member(name, &[URL], Type::String, function);
        library.growing(name);
    }
    let query = Type::map(Type::String, Type::list(Type::String));
    library.member("getQuery", &[URL], query, get_query);
    library.growing("getQuery");
}

fn from_text<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::String(text)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.allocate(text.len())?;
    // Only the first refuses what is relative; only the second knows fragments.
    let parsed = parse_request(text).and_then(|_| parse::parse(text));
    let url = parsed.map_err(|error| {
        Fail::error(format!(
            "URL parse error during conversion from string: {error}"
        ))
    })?;
    Ok(Value::Url(url.into()))
}

fn is_url<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::String(text)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len())?;
    Ok(Value::Bool(parse_request(text).is_ok()))
}

fn part<'a>(
    run: &mut Run<'_>,
    arguments: &[Value<'a>],
    part: fn(&Url) -> String,
) -> Result<Value<'a>, Fail> {
    let [Value::Url(url)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(url.host.len() + url.path.len())?;
    let text = part(url);
    run.allocate(text.len())?;
    Ok(Value::text(text))
}

fn get_query<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::Url(url)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(url.query.len())?;
    let parameters = url.query.bytes().filter(|byte| *byte == b'&').count() + 1;
    if parameters > PARAMETERS_MAX {
        return Ok(Value::map(Vec::new()));
    }
    run.allocate(url.query.len() + parameters * PARAMETER_BYTES)?;
    let mut values: BTreeMap<String, Vec<Value<'a>>> = BTreeMap::new();
    for parameter in url.query.split('&') {
        if parameter.is_empty() || parameter.contains(';') {
            continue;
        }
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        // As in Go, what cannot be read is left out.
        let (Ok(name), Ok(value)) = (unescape(name, Part::Query), unescape(value, Part::Query))
        else {
            continue;
        };
        values
            .entry(lossy(&name))
            .or_default()
            .push(Value::text(lossy(&value)));
    }
    let members = values.into_iter();
    Ok(Value::map(
        members
            .map(|(name, all)| (Value::text(name), Value::list(all)))
            .collect(),
    ))
}

/// Texts of CEL are UTF-8 here.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether it is empty, or a colon and digits.
fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

impl Url {
    fn host_and_port(&self) -> (String, String) {
        let mut host = self.host.as_slice();
        let mut port: &[u8] = &[];
        let colon = host.iter().rposition(|byte| *byte == b':');
        if let Some((before, after)) = colon.and_then(|at| host.split_at_checked(at))
            && is_port(after)
        {
            host = before;
            port = after.get(1..).unwrap_or_default();
        }
        if let [b'[', inner @ .., b']'] = host {
            host = inner;
        }
        (lossy(host), lossy(port))
    }

    fn escaped_path(&self) -> String {
        if let Some(raw) = &self.raw_path
            && escape::is_escaped(raw, Part::Path)
        {
            return raw.clone();
        }
        if self.path == b"*" {
            return "*".to_owned();
        }
        escape(&self.path, Part::Path)
    }

    fn escaped_fragment(&self) -> String {
        match &self.raw_fragment {
            Some(raw) if escape::is_escaped(raw, Part::Fragment) => raw.clone(),
            _ => escape(&self.fragment, Part::Fragment),
        }
    }

    /// It as Go writes it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.scheme.is_empty() {
            text.push_str(&self.scheme);
            text.push(':');
        }
        if self.opaque.is_empty() {
            self.write_hierarchy(&mut text);
        } else {
            text.push_str(&self.opaque);
        }
        if self.has_empty_query || !self.query.is_empty() {
            text.push('?');
            text.push_str(&self.query);
        }
        if !self.fragment.is_empty() {
            text.push('#');
            text.push_str(&self.escaped_fragment());
        }
        text
    }

    fn write_hierarchy(&self, text: &mut String) {
        let has_authority = !self.host.is_empty() || self.user.is_some();
        if has_authority || (!self.scheme.is_empty() && !self.has_no_authority) {
            if has_authority || !self.path.is_empty() {
                text.push_str("//");
            }
            if let Some(user) = &self.user {
                text.push_str(&escape(&user.name, Part::User));
                if let Some(password) = &user.password {
                    text.push(':');
                    text.push_str(&escape(password, Part::User));
                }
                text.push('@');
            }
            text.push_str(&escape(&self.host, Part::Host));
        }
        let path = self.escaped_path();
        if !path.is_empty() && !path.starts_with('/') && !self.host.is_empty() {
            text.push('/');
        }
        text.push_str(&path);
    }
}

#[cfg(test)]
mod tests;
