//! Ranges of IP addresses, as Go's `netip` reads them.

use super::ip::{IP, parse_address};
use super::quoted::quoted;
use crate::cel::library::Library;
use crate::cel::run::{Fail, Run};
use crate::cel::types::Type;
use crate::cel::value::Value;
use core::net::IpAddr;
use std::fmt;

const CIDR: Type = Type::Opaque("net.CIDR");

/// A range of addresses: one of them, and how many leading bits all of them share. The other bits are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.bits)
    }
}

/// Declares them.
pub fn declare(library: &mut Library) {
    library.global("cidr", &[Type::String], CIDR, from_text);
    library.growing("cidr");
    library.global("isCIDR", &[Type::String], Type::Bool, is_cidr);
    library.growing("isCIDR");
    library.global("string", &[CIDR], Type::String, to_text);
    library.member(
        "containsIP",
        &[CIDR, Type::String],
        Type::Bool,
        contains_ip_text,
    );
    library.growing("containsIP");
    library.member("containsIP", &[CIDR, IP], Type::Bool, contains_ip);
    library.member(
        "containsCIDR",
        &[CIDR, Type::String],
        Type::Bool,
        contains_cidr_text,
    );
    library.growing("containsCIDR");
    library.member("containsCIDR", &[CIDR, CIDR], Type::Bool, contains_cidr);
    library.member("ip", &[CIDR], IP, ip);
    library.member("prefixLength", &[CIDR], Type::Int, prefix_length);
    library.member("masked", &[CIDR], CIDR, masked);
}

fn from_text<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::String(text)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len())?;
    read(text).map(Value::Cidr)
}

fn is_cidr<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::String(text)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len())?;
    Ok(Value::Bool(parse(text).is_ok()))
}

fn to_text<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::Cidr(cidr)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    let text = cidr.to_string();
    run.allocate(text.len())?;
    Ok(Value::text(text))
}

/// The API server loses what is wrong with the address here.
fn contains_ip_text<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::Cidr(cidr), Value::String(text)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len())?;
    let address = super::ip::parse(text).map_err(|_| Fail::no_such_overload())?;
    Ok(Value::Bool(cidr.contains(address)))
}

fn contains_ip<'a>(_: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::Cidr(cidr), Value::Ip(address)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    Ok(Value::Bool(cidr.contains(*address)))
}

fn contains_cidr_text<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::Cidr(cidr), Value::String(text)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len())?;
    Ok(Value::Bool(cidr.contains_all(read(text)?)))
}

fn contains_cidr<'a>(_: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::Cidr(cidr), Value::Cidr(other)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    Ok(Value::Bool(cidr.contains_all(*other)))
}

fn ip<'a>(_: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::Cidr(cidr)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    Ok(Value::Ip(cidr.address))
}

fn prefix_length<'a>(_: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::Cidr(cidr)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    Ok(Value::Int(i64::from(cidr.bits)))
}

fn masked<'a>(_: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::Cidr(cidr)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    Ok(Value::Cidr(Cidr {
        address: leading_bits(cidr.address, cidr.bits),
        bits: cidr.bits,
    }))
}

impl Cidr {
    fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && leading_bits(self.address, self.bits) == leading_bits(address, self.bits)
    }

    fn contains_all(self, other: Cidr) -> bool {
        self.bits <= other.bits && self.contains(other.address)
    }
}

/// The address with zeros for all but its first bits.
fn leading_bits(address: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX
                .checked_shl(32_u32.saturating_sub(bits))
                .unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(bits))
                .unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}

/// The API server says twice where it failed.
fn read(text: &str) -> Result<Cidr, Fail> {
    let parsed = parse(text);
    parsed.map_err(|error| {
        Fail::error(format!(
            "network address parse error during conversion from string: {error}"
        ))
    })
}

fn parse(text: &str) -> Result<Cidr, String> {
    let wrong = |message: &str| {
        format!(
            "network address parse error during conversion from string: netip.ParsePrefix({}): {message}",
            quoted(text)
        )
    };
    let (address, length) = text.rsplit_once('/').ok_or_else(|| wrong("no '/'"))?;
    let parsed = parse_address(address).map_err(|error| wrong(&error))?;
    if parsed.has_zone {
        return Err(wrong("IPv6 zones cannot be present in a prefix"));
    }
    let is_number = length.bytes().all(|byte| byte.is_ascii_digit())
        && (length.len() == 1 || !length.starts_with('0'));
    // Go's whole numbers end there; a number beyond them is no number to it.
    let bits: i64 = match length.parse() {
        Ok(bits) if is_number => bits,
        _ => return Err(wrong(&format!("bad bits after slash: {}", quoted(length)))),
    };
    let most = if parsed.address.is_ipv4() { 32 } else { 128 };
    let bits = u8::try_from(bits).ok().filter(|bits| *bits <= most);
    let bits = bits.ok_or_else(|| wrong("prefix length out of range"))?;
    if parsed.is_mapped() {
        return Err(format!(
            "IPv4-mapped IPv6 address {} is not allowed",
            quoted(text)
        ));
    }
    Ok(Cidr {
        address: parsed.address,
        bits,
    })
}

#[cfg(test)]
mod tests;
