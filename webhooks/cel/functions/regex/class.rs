//! Classes of characters, and escapes that stand for one.

use super::refused;
use super::translate::{NEVER, Translation};
use super::unicode;
use crate::cel::run::Fail;

/// Classes of Unicode in one pattern: each takes kilobytes.
const UNICODE_CLASSES_MAX: usize = 64;
/// The highest code point.
const LAST: u32 = 0x10_FFFF;

impl Translation<'_> {
    /// Reads `\d`, `\pL` and their like into a class, if one stands there.
    pub(super) fn class_escape(&mut self, class: &mut String) -> Result<bool, Fail> {
        let start = self.at;
        let mut after = self.rest().chars();
        if after.next() != Some('\\') {
            return Ok(false);
        }
        let Some(letter) = after.next() else {
            return Ok(false);
        };
        let ranges = match letter {
            'd' | 'D' => "0-9",
            's' | 'S' => r"\x{9}\x{A}\x{C}\x{D}\x{20}",
            'w' | 'W' => r"0-9A-Za-z\x{5F}",
            'p' | 'P' => {
                self.at += 2;
                return self
                    .unicode_class(start, letter == 'P', class)
                    .map(|()| true);
            }
            _ => return Ok(false),
        };
        self.at += 2;
        write_group(class, ranges, letter.is_ascii_uppercase());
        Ok(true)
    }

    /// Reads what follows `\p`.
    fn unicode_class(
        &mut self,
        start: usize,
        is_negated: bool,
        class: &mut String,
    ) -> Result<(), Fail> {
        let name = if self.skip("{") {
            let Some((name, _)) = self.rest().split_once('}') else {
                return Err(refused("invalid character class range", self.from(start)));
            };
            self.at += name.len() + 1;
            name
        } else {
            let from = self.at;
            self.take();
            self.since(from)
        };
        let positive = name.strip_prefix('^');
        let is_negated = is_negated != positive.is_some();
        let Some(ranges) = unicode::ranges(positive.unwrap_or(name)) else {
            return Err(refused("invalid character class range", self.since(start)));
        };
        self.unicode_classes += 1;
        if self.unicode_classes > UNICODE_CLASSES_MAX {
            return Err(refused("expression too large", self.pattern));
        }
        write_group(class, &ranges, is_negated);
        Ok(())
    }

    /// Reads a class, of which the bracket is taken.
    pub(super) fn class(&mut self, start: usize) -> Result<(), Fail> {
        let is_negated = self.skip("^");
        let mut class = String::new();
        let mut is_first = true;
        while is_first || !self.rest().starts_with(']') {
            is_first = false;
            if self.posix_class(&mut class)? || self.class_escape(&mut class)? {
                continue;
            }
            let range = self.at;
            let low = self.class_code(start)?;
            let mut high = low;
            let rest = self.rest();
            // Before the closing bracket it is a sign like any other.
            if rest.len() >= 2 && rest.starts_with('-') && !rest.starts_with("-]") {
                self.at += 1;
                high = self.class_code(start)?;
                if high < low {
                    return Err(refused("invalid character class range", self.since(range)));
                }
            }
            write_range(&mut class, low, high);
        }
        self.at += 1;
        if class.is_empty() {
            class.push_str(NEVER);
        }
        let folds = if self.flags.folds_case { "(?i:" } else { "(?:" };
        let sign = if is_negated { "^" } else { "" };
        self.push(&format!("{folds}[{sign}{class}])"));
        Ok(())
    }

    /// Reads `[:alpha:]` and its like, if one stands there.
    fn posix_class(&mut self, class: &mut String) -> Result<bool, Fail> {
        let Some(rest) = self.rest().strip_prefix("[:") else {
            return Ok(false);
        };
        if !self.names_classes {
            return Ok(false);
        }
        let Some((name, _)) = rest.split_once(":]") else {
            self.names_classes = false;
            return Ok(false);
        };
        let start = self.at;
        self.at += name.len() + 4;
        let positive = name.strip_prefix('^');
        let ranges = match positive.unwrap_or(name) {
            "alnum" => "0-9A-Za-z",
            "alpha" => "A-Za-z",
            "ascii" => r"\x{0}-\x{7F}",
            "blank" => r"\x{9}\x{20}",
            "cntrl" => r"\x{0}-\x{1F}\x{7F}",
            "digit" => "0-9",
            "graph" => r"\x{21}-\x{7E}",
            "lower" => "a-z",
            "print" => r"\x{20}-\x{7E}",
            "punct" => r"\x{21}-\x{2F}\x{3A}-\x{40}\x{5B}-\x{60}\x{7B}-\x{7E}",
            "space" => r"\x{9}-\x{D}\x{20}",
            "upper" => "A-Z",
            "word" => r"0-9A-Za-z\x{5F}",
            "xdigit" => "0-9A-Fa-f",
            _ => return Err(refused("invalid character class range", self.since(start))),
        };
        write_group(class, ranges, positive.is_some());
        Ok(true)
    }

    /// Reads a character of a class.
    fn class_code(&mut self, class_start: usize) -> Result<u32, Fail> {
        if self.rest().starts_with('\\') {
            return self.code();
        }
        match self.take() {
            Some(character) => Ok(u32::from(character)),
            None => Err(refused("missing closing ]", self.from(class_start))),
        }
    }

    /// Reads an escape that stands for one code point.
    pub(super) fn code(&mut self) -> Result<u32, Fail> {
        let start = self.at;
        self.at += 1;
        let Some(escaped) = self.take() else {
            return Err(refused("trailing backslash at end of expression", ""));
        };
        let code = match escaped {
            // A single digit would refer back, which no linear engine can do.
            '1'..='7' if !self.rest().starts_with(|next| matches!(next, '0'..='7')) => None,
            '0'..='7' => Some(self.octal(escaped)),
            'x' => self.hexadecimal(),
            'a' => Some(7),
            'f' => Some(0xC),
            'n' => Some(0xA),
            'r' => Some(0xD),
            't' => Some(9),
            'v' => Some(0xB),
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => Some(u32::from(other)),
            _ => None,
        };
        code.ok_or_else(|| refused("invalid escape sequence", self.since(start)))
    }

    fn octal(&mut self, first: char) -> u32 {
        let mut code = first.to_digit(8).unwrap_or_default();
        for _ in 0..2 {
            let Some(digit) = self.rest().chars().next().and_then(|next| next.to_digit(8)) else {
                break;
            };
            self.at += 1;
            code = code * 8 + digit;
        }
        code
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let first = self.take()?;
        if first != '{' {
            let second = self.take()?;
            return Some(first.to_digit(16)? * 16 + second.to_digit(16)?);
        }
        let mut code = None;
        loop {
            let next = self.take()?;
            if next == '}' {
                return code;
            }
            let longer = code.unwrap_or(0) * 16 + next.to_digit(16)?;
            code = Some(longer).filter(|code| *code <= LAST);
            code?;
        }
    }
}

/// Writes part of a class, negated or not.
fn write_group(class: &mut String, ranges: &str, is_negated: bool) {
    if is_negated {
        class.push_str("[^");
        class.push_str(ranges);
        class.push(']');
    } else {
        class.push_str(ranges);
    }
}

/// Writes a range without what no text can hold; gives whether anything is left.
pub(super) fn write_range(text: &mut String, low: u32, high: u32) -> bool {
    let low = if (0xD800..=0xDFFF).contains(&low) {
        0xE000
    } else {
        low
    };
    let high = if (0xD800..=0xDFFF).contains(&high) {
        0xD7FF
    } else {
        high
    };
    if low > high {
        return false;
    }
    write_code(text, low);
    if low < high {
        text.push('-');
        write_code(text, high);
    }
    true
}

/// Writes a code point so that it has no other meaning.
fn write_code(text: &mut String, code: u32) {
    match char::from_u32(code) {
        Some(character) if character.is_ascii_alphanumeric() || !character.is_ascii() => {
            text.push(character);
        }
        _ => text.push_str(&format!(r"\x{{{code:X}}}")),
    }
}
