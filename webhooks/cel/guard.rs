//! What is known of an expression before a parser sees it: a parser that goes down with its input must not be led too
//! deep, and stack overflows end the process.

use super::program::{CompileError, position};

/// Longest expression, in bytes. The parser takes about a millisecond for each KiB.
pub const SOURCE_MAX_BYTES: usize = 16 << 10;
/// How deep brackets may be nested.
const NESTING_MAX: usize = 48;
/// How deep an expression may be in all: each operator, selection and bracket that is open counts. `&&` and `||` do
/// not: the parser makes balanced trees of them.
const DEPTH_MAX: usize = 100;
/// How many operators `&&` and `||` there may be, for which the parser keeps a list.
const LOGICAL_MAX: usize = 2_000;

/// Whether the parser may see it.
///
/// # Errors
/// When it is too long or too deep; says where.
pub fn check(source: &str) -> Result<(), CompileError> {
    if source.len() > SOURCE_MAX_BYTES {
        return Err(CompileError {
            line: 1,
            column: 1,
            message: format!(
                "the expression is {} bytes long: it may have at most {SOURCE_MAX_BYTES}",
                source.len()
            ),
        });
    }
    let fail = |at: usize, message: String| {
        let (line, column) = position(source, at);
        Err(CompileError {
            line,
            column,
            message,
        })
    };
    // How many operators stand at each level of brackets that is open.
    let mut open: Vec<usize> = vec![0];
    let mut depth: usize = 0;
    let mut logical = 0;
    let mut tokens = Tokens {
        rest: source.as_bytes(),
        length: source.len(),
        is_after_operand: false,
    };
    while let Some((at, token)) = tokens.next() {
        match token {
            Token::Open { is_index } => {
                if let (Some(operators), true) = (open.last_mut(), is_index) {
                    *operators += 1;
                    depth += 1;
                }
                open.push(0);
                depth += 1;
                if open.len() > NESTING_MAX {
                    return fail(
                        at,
                        format!("brackets are nested more than {NESTING_MAX} deep"),
                    );
                }
            }
            Token::Close => {
                if open.len() > 1 {
                    let operators = open.pop().unwrap_or_default();
                    depth = depth.saturating_sub(operators + 1);
                }
            }
            // What comes after a comma starts anew.
            Token::Comma => {
                if let Some(operators) = open.last_mut() {
                    depth = depth.saturating_sub(*operators);
                    *operators = 0;
                }
            }
            Token::Logical => {
                logical += 1;
                if logical > LOGICAL_MAX {
                    return fail(
                        at,
                        format!("there are more than {LOGICAL_MAX} `&&` and `||`"),
                    );
                }
                if let Some(operators) = open.last_mut() {
                    // A tree of so many leaves is at most so deep.
                    depth = depth.saturating_sub(*operators) + 1;
                    *operators = 1;
                }
            }
            Token::Operator => {
                depth += 1;
                if let Some(operators) = open.last_mut() {
                    *operators += 1;
                }
            }
        }
        if depth > DEPTH_MAX {
            return fail(
                at,
                format!("the expression is more than {DEPTH_MAX} operators deep"),
            );
        }
    }
    Ok(())
}

enum Token {
    /// A bracket; whether it comes right behind what it takes an item of.
    Open {
        is_index: bool,
    },
    Close,
    Comma,
    Logical,
    Operator,
}

/// What of an expression makes it deep.
struct Tokens<'s> {
    rest: &'s [u8],
    length: usize,
    is_after_operand: bool,
}

impl<'s> Tokens<'s> {
    fn starts(&self, with: &[u8]) -> bool {
        self.rest.starts_with(with)
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// Behind a string that starts here.
    fn string(&mut self, quote: u8, is_raw: bool) {
        let triple = [quote; 3];
        let end: &[u8] = if self.starts(&triple) {
            &triple
        } else {
            &[quote]
        };
        self.skip(end.len());
        while let Some(byte) = self.rest.first() {
            if self.starts(end) {
                self.skip(end.len());
                return;
            }
            // Only a raw backslash is no escape.
            self.skip(if *byte == b'\\' && !is_raw { 2 } else { 1 });
        }
    }

    fn next(&mut self) -> Option<(usize, Token)> {
        loop {
            let at = self.length - self.rest.len();
            let byte = *self.rest.first()?;
            let is_after_operand = std::mem::replace(&mut self.is_after_operand, false);
            let token = match byte {
                b'(' | b'[' | b'{' => Token::Open {
                    is_index: byte == b'[' && is_after_operand,
                },
                b')' | b']' | b'}' => {
                    self.is_after_operand = true;
                    Token::Close
                }
                b',' => Token::Comma,
                b'&' | b'|' => {
                    self.skip(2);
                    return Some((at, Token::Logical));
                }
                b'"' | b'\'' => {
                    self.string(byte, false);
                    self.is_after_operand = true;
                    continue;
                }
                b'/' if self.starts(b"//") => {
                    let end = self.rest.iter().position(|byte| *byte == b'\n');
                    self.skip(end.unwrap_or(self.rest.len()));
                    self.is_after_operand = is_after_operand;
                    continue;
                }
                b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!' | b'?' | b'.'
                | b':' => Token::Operator,
                b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                    if self.word() == b"in" {
                        return Some((at, Token::Operator));
                    }
                    self.is_after_operand = true;
                    continue;
                }
                _ => {
                    self.is_after_operand = is_after_operand;
                    self.skip(1);
                    continue;
                }
            };
            self.skip(1);
            return Some((at, token));
        }
    }

    /// Behind a name or a number, and behind the string of which it is the prefix.
    fn word(&mut self) -> &'s [u8] {
        let is_part = |byte: &u8| *byte == b'_' || byte.is_ascii_alphanumeric();
        let end = self.rest.iter().position(|byte| !is_part(byte));
        let end = end.unwrap_or(self.rest.len());
        let word = self.rest.get(..end).unwrap_or_default();
        self.skip(end);
        let is_raw = word.iter().any(|byte| matches!(byte, b'r' | b'R'));
        let is_prefix = word
            .iter()
            .all(|byte| matches!(byte, b'r' | b'R' | b'b' | b'B'));
        if let (Some(quote @ (b'"' | b'\'')), true) =
            (self.rest.first(), is_prefix && word.len() <= 2)
        {
            self.string(*quote, is_raw);
        }
        word
    }
}
