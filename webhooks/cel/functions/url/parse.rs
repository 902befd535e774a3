//! Reads URLs as Go does, with its messages.

use super::escape::{Part, escape, unescape};
use super::{Url, User, is_port, quoted};
use crate::cel::functions::ip::parse_address;
use core::net::IpAddr;

/// Go's `url.ParseRequestURI`: an absolute URL or an absolute path, in which a fragment means nothing.
pub fn parse_request(text: &str) -> Result<Url, String> {
    parse_parts(text, true).map_err(|error| format!("parse {}: {error}", quoted(text)))
}

/// Go's `url.Parse`.
pub fn parse(text: &str) -> Result<Url, String> {
    let (start, fragment) = text.split_once('#').unwrap_or((text, ""));
    let mut url =
        parse_parts(start, false).map_err(|error| format!("parse {}: {error}", quoted(start)))?;
    url.fragment = unescape(fragment, Part::Fragment)
        .map_err(|error| format!("parse {}: {error}", quoted(text)))?;
    url.raw_fragment = written(fragment, &url.fragment, Part::Fragment);
    Ok(url)
}

/// The text, unless it is what escaping makes of its bytes.
fn written(text: &str, bytes: &[u8], part: Part) -> Option<String> {
    (escape(bytes, part) != text).then(|| text.to_owned())
}

fn parse_parts(text: &str, is_request: bool) -> Result<Url, String> {
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    if text.is_empty() && is_request {
        return Err("empty url".to_owned());
    }
    let mut url = Url::default();
    if text == "*" {
        url.path = b"*".to_vec();
        return Ok(url);
    }
    let (scheme, mut rest) = split_scheme(text)?;
    // Only ASCII comes that far.
    url.scheme = scheme.to_ascii_lowercase();
    if let Some((before, query)) = rest.split_once('?') {
        rest = before;
        query.clone_into(&mut url.query);
        url.has_empty_query = query.is_empty();
    }
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            rest.clone_into(&mut url.opaque);
            return Ok(url);
        }
        if is_request {
            return Err("invalid URI for request".to_owned());
        }
        let segment = rest.split('/').next().unwrap_or_default();
        if segment.contains(':') {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let may_have_authority = !url.scheme.is_empty() || (!is_request && !rest.starts_with("///"));
    match rest.strip_prefix("//") {
        Some(after) if may_have_authority => {
            let end = after.find('/').unwrap_or(after.len());
            let (authority, path) = after.split_at(end);
            rest = path;
            read_authority(&mut url, authority)?;
        }
        _ => url.has_no_authority = !url.scheme.is_empty(),
    }
    url.path = unescape(rest, Part::Path)?;
    url.raw_path = written(rest, &url.path, Part::Path);
    Ok(url)
}

/// The scheme, if there is one, and what follows its colon.
fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    let end = text.find(|character: char| {
        !character.is_ascii_alphanumeric() && !matches!(character, '+' | '-' | '.')
    });
    let Some((scheme, after)) = end.and_then(|end| text.split_at_checked(end)) else {
        return Ok(("", text));
    };
    match (scheme.chars().next(), after.strip_prefix(':')) {
        (None, Some(_)) => Err("missing protocol scheme".to_owned()),
        (Some(first), Some(rest)) if first.is_ascii_alphabetic() => Ok((scheme, rest)),
        _ => Ok(("", text)),
    }
}

fn read_authority(url: &mut Url, authority: &str) -> Result<(), String> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    url.host = read_host(host)?;
    let Some(user) = user else {
        return Ok(());
    };
    let is_valid = user
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte));
    if !is_valid {
        return Err("net/url: invalid userinfo".to_owned());
    }
    let (name, password) = match user.split_once(':') {
        Some((name, password)) => (name, Some(password)),
        None => (user, None),
    };
    url.user = Some(User {
        name: unescape(name, Part::User)?,
        password: password
            .map(|password| unescape(password, Part::User))
            .transpose()?,
    });
    Ok(())
}

fn read_host(host: &str) -> Result<Vec<u8>, String> {
    match host.rfind('[') {
        Some(0) => return read_literal(host),
        Some(_) => return Err("invalid IP-literal".to_owned()),
        None => {}
    }
    let colon = host.rfind(':');
    if let Some((_, port)) = colon.and_then(|at| host.split_at_checked(at)) {
        check_port(port)?;
    }
    unescape(host, Part::Host)
}

/// An IPv6 address in brackets, and a port.
fn read_literal(host: &str) -> Result<Vec<u8>, String> {
    let Some((address, port)) = host.rsplit_once(']') else {
        return Err("missing ']' in host".to_owned());
    };
    check_port(port)?;
    let address = address.strip_prefix('[').unwrap_or(address);
    let zone = address.find("%25").unwrap_or(address.len());
    let (address, zone) = address.split_at(zone);
    let mut address = unescape(address, Part::Host)?;
    address.extend(unescape(zone, Part::Zone)?);
    let parsed = parse_address(&String::from_utf8_lossy(&address));
    let parsed = parsed.map_err(|error| format!("invalid host: {error}"))?;
    if matches!(parsed.address, IpAddr::V4(_)) {
        return Err("invalid IP-literal".to_owned());
    }
    let mut host = vec![b'['];
    host.extend(address);
    host.push(b']');
    host.extend_from_slice(port.as_bytes());
    Ok(host)
}

fn check_port(port: &str) -> Result<(), String> {
    if is_port(port.as_bytes()) {
        Ok(())
    } else {
        Err(format!("invalid port {} after host", quoted(port)))
    }
}
