//! Formats as `santhosh-tekuri/jsonschema` v6 understands them: the same in every draft in which formats count.

use super::view::Views;
use core::net::{Ipv4Addr, Ipv6Addr};
use jsonschema::{Draft, Retrieve, ValidationOptions};
use std::sync::Arc;

/// Longest host name and its longest label, in bytes; longest mail address and its longest local part.
const HOST_MAX_BYTES: usize = 253;
const LABEL_MAX_BYTES: usize = 63;
const MAIL_MAX_BYTES: usize = 254;
const MAIL_LOCAL_MAX_BYTES: usize = 64;

type Options = ValidationOptions<'static, Arc<dyn Retrieve>, Views>;

/// Gives a schema's options Helm's formats.
pub(super) fn add(options: Options, draft: Draft) -> Options {
    if !matches!(draft, Draft::Draft4 | Draft::Draft6 | Draft::Draft7) {
        return options.should_validate_formats(false);
    }
    let mut options = options
        .should_validate_formats(true)
        .with_format("hostname", is_host)
        .with_format("email", is_mail)
        .with_format("ipv4", |text| text.parse::<Ipv4Addr>().is_ok())
        .with_format("ipv6", is_ipv6)
        .with_format("uuid", is_uuid)
        .with_format("duration", is_duration)
        .with_format("semver", is_semver)
        .with_format("uri", |text| scheme(text).is_some() && is_url(text))
        .with_format("iri", |text| scheme(text).is_some() && is_url(text))
        .with_format("uri-reference", |text| !text.contains('\\') && is_url(text))
        .with_format("iri-reference", |text| !text.contains('\\') && is_url(text));
    // Unknown there, so anything goes.
    for name in [
        "idn-hostname",
        "idn-email",
        "color",
        "ip-address",
        "host-name",
    ] {
        options = options.with_format(name, |_| true);
    }
    options
}

fn is_host(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= HOST_MAX_BYTES
        && text.split('.').all(|label| {
            (1..=LABEL_MAX_BYTES).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

fn is_mail(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    if text.len() > MAIL_MAX_BYTES || local.len() > MAIL_LOCAL_MAX_BYTES {
        return false;
    }
    let is_local = if local.len() > 1 && local.starts_with('"') {
        let quoted: String = local
            .chars()
            .skip(1)
            .take(local.chars().count() - 2)
            .collect();
        !quoted.contains(['\\', '"'])
    } else {
        !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && local.chars().all(|letter| {
                letter.is_ascii_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(letter)
            })
    };
    let inner = domain
        .strip_prefix('[')
        .and_then(|domain| domain.strip_suffix(']'));
    is_local
        && match inner {
            Some(address) => match address.strip_prefix("IPv6:") {
                Some(address) => is_ipv6(address),
                None => address.parse::<Ipv4Addr>().is_ok(),
            },
            None => is_host(domain),
        }
}

fn is_ipv6(text: &str) -> bool {
    text.contains(':') && text.parse::<Ipv6Addr>().is_ok()
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12]
        && text
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn is_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P').filter(|rest| !rest.is_empty()) else {
        return false;
    };
    let are_digits =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(weeks) = rest.strip_suffix('W') {
        return are_digits(weeks);
    }
    let mut units = ["YMD", "HMS"].into_iter();
    rest.split('T').enumerate().all(|(position, mut part)| {
        let Some(mut units) = units.next() else {
            return false;
        };
        if position > 0 && part.is_empty() {
            return false;
        }
        while !part.is_empty() {
            let number = part.len()
                - part
                    .trim_start_matches(|letter: char| letter.is_ascii_digit())
                    .len();
            let mut after = part.get(number..).unwrap_or_default().chars();
            let Some(unit) = after.next().filter(|_| number > 0) else {
                return false;
            };
            let Some((_, later)) = units.split_once(unit) else {
                return false;
            };
            units = later;
            part = after.as_str();
        }
        true
    })
}

fn is_semver(text: &str) -> bool {
    let (text, build) = match text.split_once('+') {
        Some((text, build)) => (text, Some(build)),
        None => (text, None),
    };
    let (core, pre) = match text.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (text, None),
    };
    let is_identifier = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
    };
    build.is_none_or(|build| build.split('.').all(is_identifier))
        && pre.is_none_or(|pre| {
            pre.split('.').all(|part| {
                is_identifier(part)
                    && (is_number(part) || !part.bytes().all(|byte| byte.is_ascii_digit()))
            })
        })
        && core.split('.').count() == 3
        && core.split('.').all(is_number)
}

/// What stands before the first colon, where that is a scheme.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    is_scheme.then_some(scheme)
}

/// What Go's `net/url` takes, in its main lines.
fn is_url(text: &str) -> bool {
    let rest = match scheme(text) {
        Some(scheme) => text.get(scheme.len() + 1..).unwrap_or_default(),
        None if text.starts_with(':') => return false,
        None => text,
    };
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let is_plain_segment =
        scheme(text).is_some() || !path.split('/').next().unwrap_or_default().contains(':');
    let host = rest
        .strip_prefix("//")
        .map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let is_host = host.is_none_or(|host| {
        !host.contains([' ', '<', '>', '"', '^', '\\', '{', '}', '|', '`'])
            && host.rsplit_once(':').is_none_or(|(_, port)| {
                host.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit())
            })
    });
    let escapes = path.split('%').skip(1).all(|after| {
        after
            .as_bytes()
            .get(..2)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    is_plain_segment && is_host && escapes && !text.bytes().any(|byte| byte < 0x20 || byte == 0x7f)
}
