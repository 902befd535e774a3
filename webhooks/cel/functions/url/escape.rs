//! Escapes of URLs: which bytes of which part are written as `%` and two digits.

use super::quoted;
use crate::cel::functions::quoted::quoted_bytes;
use std::fmt::Write;

/// A part of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Path,
    Host,
    /// The zone of an IPv6 address.
    Zone,
    User,
    /// A name or a value of the query.
    Query,
    Fragment,
}

/// Whether Go writes the byte escaped there.
fn is_special(byte: u8, part: Part) -> bool {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => false,
        b'$' | b'&' | b'+' | b',' | b';' | b'=' => part == Part::Query,
        b':' => matches!(part, Part::User | Part::Query),
        b'/' | b'@' => !matches!(part, Part::Path | Part::Fragment),
        b'?' => part != Part::Fragment,
        b'!' | b'(' | b')' | b'*' => !matches!(part, Part::Host | Part::Zone | Part::Fragment),
        b'\'' | b'[' | b']' | b'<' | b'>' | b'"' => !matches!(part, Part::Host | Part::Zone),
        _ => true,
    }
}

/// The bytes with escapes. No space comes into a query here.
pub fn escape(bytes: &[u8], part: Part) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if is_special(*byte, part) {
            // Writing to a text cannot fail.
            let _ = write!(text, "%{byte:02X}");
        } else {
            text.push(char::from(*byte));
        }
    }
    text
}

/// Whether it is escaped well enough to be left as it was written.
pub fn is_escaped(text: &str, part: Part) -> bool {
    text.bytes()
        .all(|byte| b"!$&'()*+,;=:@[]%".contains(&byte) || !is_special(byte, part))
}

/// The bytes behind the escapes, or what is wrong with one.
pub fn unescape(text: &str, part: Part) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (character, after) = rest.split_at(first.len_utf8());
        if first == '%' {
            let digits = |at| rest.as_bytes().get(at).and_then(|byte| hex(*byte));
            let (Some(high), Some(low)) = (digits(1), digits(2)) else {
                let escaped = rest.as_bytes();
                return Err(escape_error(escaped.get(..3).unwrap_or(escaped)));
            };
            let byte = high << 4 | low;
            let is_allowed = match part {
                // Of a host only what is not ASCII, and the percent sign before a zone.
                Part::Host => byte >= 0x80 || byte == b'%',
                Part::Zone => matches!(byte, b'%' | b' ') || !is_special(byte, Part::Host),
                Part::Path | Part::User | Part::Query | Part::Fragment => true,
            };
            let (escaped, after) = rest.split_at_checked(3).unwrap_or((rest, ""));
            if !is_allowed {
                return Err(escape_error(escaped.as_bytes()));
            }
            bytes.push(byte);
            rest = after;
            continue;
        }
        if matches!(part, Part::Host | Part::Zone)
            && u8::try_from(first).is_ok_and(|byte| byte < 0x80 && is_special(byte, part))
        {
            return Err(format!(
                "invalid character {} in host name",
                quoted(character)
            ));
        }
        if first == '+' && part == Part::Query {
            bytes.push(b' ');
        } else {
            bytes.extend_from_slice(character.as_bytes());
        }
        rest = after;
    }
    Ok(bytes)
}

fn escape_error(escaped: &[u8]) -> String {
    format!("invalid URL escape {}", quoted_bytes(escaped))
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}
