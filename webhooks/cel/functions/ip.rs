//! IP addresses, as Go's `netip` reads them. Zones and IPv4 addresses in IPv6 clothes are refused, as by the API server.

pub use super::cidr::Cidr;

use super::quoted::quoted;
use crate::cel::library::{Function, Library};
use crate::cel::run::{Fail, Run};
use crate::cel::types::Type;
use crate::cel::value::Value;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The type of an address.
pub const IP: Type = Type::Opaque("net.IP");

/// Declares them.
pub fn declare(library: &mut Library) {
    library.global("ip", &[Type::String], IP, from_text);
    library.growing("ip");
    library.global("isIP", &[Type::String], Type::Bool, is_ip);
    library.growing("isIP");
    library.global("ip.isCanonical", &[Type::String], Type::Bool, is_canonical);
    library.growing("ip.isCanonical");
    library.global("string", &[IP], Type::String, to_text);
    library.member("family", &[IP], Type::Int, family);
    let questions: [(&'static str, Function); 5] = [
        ("isUnspecified", |_, arguments| {
            ask(arguments, IpAddr::is_unspecified)
        }),
        ("isLoopback", |_, arguments| {
            ask(arguments, IpAddr::is_loopback)
        }),
        ("isLinkLocalMulticast", |_, arguments| {
            ask(arguments, is_link_local_multicast)
        }),
        ("isLinkLocalUnicast", |_, arguments| {
            ask(arguments, is_link_local_unicast)
        }),
        ("isGlobalUnicast", |_, arguments| {
            ask(arguments, is_global_unicast)
        }),
    ];
    for (name, function) in questions {
        library.member(name, &[IP], Type::Bool, function);
    }
    super::cidr::declare(library);
}

fn from_text<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::String(text)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len())?;
    parse(text).map(Value::Ip).map_err(Fail::error)
}

fn is_ip<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::String(text)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len())?;
    Ok(Value::Bool(parse(text).is_ok()))
}

fn is_canonical<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::String(text)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len())?;
    let address = parse(text).map_err(Fail::error)?;
    Ok(Value::Bool(address.to_string() == **text))
}

fn to_text<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::Ip(address)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    let text = address.to_string();
    run.allocate(text.len())?;
    Ok(Value::text(text))
}

fn family<'a>(_: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    match arguments {
        [Value::Ip(IpAddr::V4(_))] => Ok(Value::Int(4)),
        [Value::Ip(IpAddr::V6(_))] => Ok(Value::Int(6)),
        _ => Err(Fail::no_such_overload()),
    }
}

fn ask<'a>(arguments: &[Value<'a>], question: fn(&IpAddr) -> bool) -> Result<Value<'a>, Fail> {
    match arguments {
        [Value::Ip(address)] => Ok(Value::Bool(question(address))),
        _ => Err(Fail::no_such_overload()),
    }
}

fn is_link_local_multicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => matches!(address.octets(), [224, 0, 0, _]),
        IpAddr::V6(address) => {
            matches!(address.segments(), [first, ..] if first & 0xff0f == 0xff02)
        }
    }
}

fn is_link_local_unicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Private addresses are global to Go.
fn is_global_unicast(address: &IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !is_broadcast
        && !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !is_link_local_unicast(address)
}

/// An address as the API server takes it, or its message.
pub fn parse(text: &str) -> Result<IpAddr, String> {
    let parsed = parse_address(text).map_err(|error| {
        format!(
            "IP Address {} parse error during conversion from string: {error}",
            quoted(text)
        )
    })?;
    if parsed.has_zone {
        return Err(format!(
            "IP address {} with zone value is not allowed",
            quoted(text)
        ));
    }
    if parsed.is_mapped() {
        return Err(format!(
            "IPv4-mapped IPv6 address {} is not allowed",
            quoted(text)
        ));
    }
    Ok(parsed.address)
}

/// An address as Go reads it.
pub struct Parsed {
    /// It.
    pub address: IpAddr,
    /// Whether a zone comes with it.
    pub has_zone: bool,
}

impl Parsed {
    /// Whether it is an IPv4 address in IPv6 clothes.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        matches!(self.address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
    }
}

/// What is wrong, and where if that helps.
struct Wrong<'t> {
    message: &'static str,
    at: &'t str,
}

fn wrong<'t>(message: &'static str, at: &'t str) -> Wrong<'t> {
    Wrong { message, at }
}

/// Go's `netip.ParseAddr`, with its messages.
pub fn parse_address(text: &str) -> Result<Parsed, String> {
    let first = text.bytes().find(|byte| matches!(byte, b'.' | b':' | b'%'));
    let parsed = match first {
        Some(b'.') => parse_ipv4(text).map(|octets| Parsed {
            address: IpAddr::V4(Ipv4Addr::from(octets)),
            has_zone: false,
        }),
        Some(b':') => parse_ipv6(text),
        Some(_) => Err(wrong("missing IPv6 address", "")),
        None => Err(wrong("unable to parse IP", "")),
    };
    parsed.map_err(|Wrong { message, at }| {
        let text = quoted(text);
        if at.is_empty() {
            format!("ParseAddr({text}): {message}")
        } else {
            format!("ParseAddr({text}): {message} (at {})", quoted(at))
        }
    })
}

fn parse_ipv4(text: &str) -> Result<[u8; 4], Wrong<'_>> {
    let mut octets = [0; 4];
    let mut free = octets.iter_mut();
    let mut octet: u8 = 0;
    let mut digits: usize = 0;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'0'..=b'9' => {
                if digits == 1 && octet == 0 {
                    return Err(wrong("IPv4 field has octet with leading zero", ""));
                }
                let next = octet
                    .checked_mul(10)
                    .and_then(|tens| tens.checked_add(byte - b'0'));
                octet = next.ok_or(wrong("IPv4 field has value >255", ""))?;
                digits += 1;
            }
            b'.' => {
                if digits == 0 || index + 1 == text.len() {
                    let at = text.get(index..).unwrap_or_default();
                    return Err(wrong("IPv4 field must have at least one digit", at));
                }
                match free.next() {
                    Some(place) if free.len() > 0 => *place = octet,
                    _ => return Err(wrong("IPv4 address too long", "")),
                }
                octet = 0;
                digits = 0;
            }
            _ => {
                return Err(wrong(
                    "unexpected character",
                    text.get(index..).unwrap_or_default(),
                ));
            }
        }
    }
    match free.next() {
        Some(place) if free.len() == 0 => *place = octet,
        _ => return Err(wrong("IPv4 address too short", "")),
    }
    Ok(octets)
}

fn parse_ipv6(text: &str) -> Result<Parsed, Wrong<'_>> {
    let (mut rest, has_zone) = match text.split_once('%') {
        Some((_, "")) => return Err(wrong("zone must be a non-empty string", "")),
        Some((address, _)) => (address, true),
        None => (text, false),
    };
    let mut groups: Vec<u16> = Vec::with_capacity(8);
    let mut ellipsis = None;
    if let Some(after) = rest.strip_prefix("::") {
        ellipsis = Some(0);
        rest = after;
    }
    let is_only_ellipsis = ellipsis.is_some() && rest.is_empty();
    while !is_only_ellipsis && groups.len() < 8 {
        let (group, digits) = leading_group(rest)?;
        let after = rest.get(digits..).unwrap_or_default();
        if after.starts_with('.') {
            if ellipsis.is_none() && groups.len() != 6 {
                let message =
                    "embedded IPv4 address must replace the final 2 fields of the address";
                return Err(wrong(message, rest));
            }
            if groups.len() > 6 {
                let message =
                    "too many hex fields to fit an embedded IPv4 at the end of the address";
                return Err(wrong(message, rest));
            }
            let [one, two, three, four] = parse_ipv4(rest)?;
            groups.push(u16::from_be_bytes([one, two]));
            groups.push(u16::from_be_bytes([three, four]));
            rest = "";
            break;
        }
        groups.push(group);
        rest = after;
        if rest.is_empty() {
            break;
        }
        match rest.strip_prefix(':') {
            None => return Err(wrong("unexpected character, want colon", rest)),
            Some("") => return Err(wrong("colon must be followed by more characters", rest)),
            Some(after) => rest = after,
        }
        if let Some(after) = rest.strip_prefix(':') {
            if ellipsis.is_some() {
                return Err(wrong("multiple :: in address", rest));
            }
            ellipsis = Some(groups.len());
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }
    if !rest.is_empty() {
        return Err(wrong("trailing garbage after address", rest));
    }
    let missing = 8_usize.saturating_sub(groups.len());
    match ellipsis {
        None if missing > 0 => return Err(wrong("address string too short", "")),
        Some(_) if missing == 0 => {
            return Err(wrong(
                "the :: must expand to at least one field of zeros",
                "",
            ));
        }
        Some(at) => {
            groups.splice(at..at, std::iter::repeat_n(0, missing));
        }
        None => {}
    }
    let bits = groups
        .iter()
        .fold(0_u128, |bits, group| bits << 16 | u128::from(*group));
    Ok(Parsed {
        address: IpAddr::V6(Ipv6Addr::from(bits)),
        has_zone,
    })
}

/// The number that a text begins with, and its digits.
fn leading_group(rest: &str) -> Result<(u16, usize), Wrong<'_>> {
    let mut group: u32 = 0;
    let mut digits = 0;
    for digit in rest.chars().map_while(|character| character.to_digit(16)) {
        if digits > 3 {
            return Err(wrong("each group must have 4 or less digits", rest));
        }
        group = group << 4 | digit;
        digits += 1;
    }
    if digits == 0 {
        return Err(wrong(
            "each colon-separated field must have at least one digit",
            rest,
        ));
    }
    Ok((u16::try_from(group).unwrap_or(u16::MAX), digits))
}

#[cfg(test)]
mod tests;
