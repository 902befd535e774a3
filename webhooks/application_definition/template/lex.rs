//! Tokens of a template, as `text/template/parse/lex.go` cuts them.

use super::parse::ParseError;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Text,
    LeftDelim,
    RightDelim,
    Space,
    Assign,
    Declare,
    Pipe,
    Comma,
    LeftParen,
    RightParen,
    Dot,
    Field,
    Variable,
    Identifier,
    Keyword,
    Bool,
    Nil,
    Number,
    CharConstant,
    String,
    RawString,
    /// A printable character that means nothing here.
    Char,
    Eof,
}

/// A token and its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];
const KEYWORDS: [&str; 10] = [
    "block", "break", "continue", "define", "else", "end", "if", "range", "template", "with",
];

struct Lexer<'a> {
    rest: &'a str,
    tokens: Vec<Token>,
}

/// All tokens of a source.
pub fn tokens(source: &str) -> Result<Vec<Token>, ParseError> {
    let mut lexer = Lexer {
        rest: source,
        tokens: Vec::new(),
    };
    let mut trims_next = false;
    loop {
        let Some(start) = lexer.rest.find("{{") else {
            let text = if trims_next {
                lexer.rest.trim_start_matches(SPACES)
            } else {
                lexer.rest
            };
            lexer.push(Kind::Text, text);
            lexer.push(Kind::Eof, "");
            return Ok(lexer.tokens);
        };
        let (before, after) = lexer.rest.split_at(start);
        let mut text = if trims_next {
            before.trim_start_matches(SPACES)
        } else {
            before
        };
        let mut inside = after.get(2..).unwrap_or_default();
        if let Some(rest) = inside.strip_prefix('-')
            && rest.starts_with(SPACES)
        {
            text = text.trim_end_matches(SPACES);
            inside = rest.get(1..).unwrap_or_default();
        }
        lexer.push(Kind::Text, text);
        lexer.rest = inside;
        trims_next = if inside.starts_with("/*") {
            lexer.comment()?
        } else {
            lexer.action()?
        };
    }
}

impl Lexer<'_> {
    fn push(&mut self, kind: Kind, text: &str) {
        if kind != Kind::Text || !text.is_empty() {
            self.tokens.push(Token {
                kind,
                text: text.to_owned(),
            });
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// Whether the action ends here; with a trim marker the text after it loses its blanks.
    fn right_delim(&self) -> Option<(usize, bool)> {
        if self.rest.starts_with("}}") {
            return Some((2, false));
        }
        let after_space = self.rest.strip_prefix(SPACES)?;
        after_space.starts_with("-}}").then_some((4, true))
    }

    fn comment(&mut self) -> Result<bool, ParseError> {
        let end = self
            .rest
            .find("*/")
            .ok_or_else(|| ParseError::new("unclosed comment"))?;
        self.advance(end + 2);
        let (length, trims) = self
            .right_delim()
            .ok_or_else(|| ParseError::new("comment ends before closing delimiter"))?;
        self.advance(length);
        Ok(trims)
    }

    fn action(&mut self) -> Result<bool, ParseError> {
        self.push(Kind::LeftDelim, "{{");
        let mut depth = 0_usize;
        loop {
            if let Some((length, trims)) = self.right_delim() {
                if depth > 0 {
                    return Err(ParseError::new("unclosed left paren"));
                }
                self.push(Kind::RightDelim, "}}");
                self.advance(length);
                return Ok(trims);
            }
            let Some(first) = self.rest.chars().next() else {
                return Err(ParseError::new("unclosed action"));
            };
            let second = self.rest.chars().nth(1);
            match first {
                _ if SPACES.contains(&first) => self.space(),
                '=' => self.single(Kind::Assign),
                ':' if second == Some('=') => {
                    self.push(Kind::Declare, ":=");
                    self.advance(2);
                }
                ':' => return Err(ParseError::new("expected :=")),
                '|' => self.single(Kind::Pipe),
                '"' => self.quoted('"', Kind::String, "unterminated quoted string")?,
                '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant")?,
                '`' => self.raw()?,
                '$' => self.word(Kind::Variable, Kind::Variable)?,
                '.' if !second.is_some_and(|next| next.is_ascii_digit()) => {
                    self.word(Kind::Field, Kind::Dot)?;
                }
                '.' | '+' | '-' | '0'..='9' => self.number()?,
                '(' => {
                    depth += 1;
                    self.single(Kind::LeftParen);
                }
                ')' => {
                    depth = depth
                        .checked_sub(1)
                        .ok_or_else(|| ParseError::new("unexpected right paren"))?;
                    self.single(Kind::RightParen);
                }
                ',' => self.single(Kind::Comma),
                _ if is_word(first) => self.identifier()?,
                _ if first.is_ascii_graphic() => self.single(Kind::Char),
                _ => {
                    return Err(ParseError::new(format!(
                        "unrecognized character in action: {first:?}"
                    )));
                }
            }
        }
    }

    fn single(&mut self, kind: Kind) {
        let text = self.rest.get(..1).unwrap_or_default().to_owned();
        self.push(kind, &text);
        self.advance(1);
    }

    /// A run of blanks; the last one may belong to ` -}}`.
    fn space(&mut self) {
        self.push(Kind::Space, " ");
        while self.rest.starts_with(SPACES) && self.right_delim().is_none() {
            self.advance(1);
        }
    }

    /// `.name` or `$name`, or the bare sign.
    fn word(&mut self, kind: Kind, bare: Kind) -> Result<(), ParseError> {
        let after = self.rest.get(1..).unwrap_or_default();
        let length: usize = after
            .chars()
            .take_while(|letter| is_word(*letter))
            .map(char::len_utf8)
            .sum();
        let text = self.rest.get(..=length).unwrap_or_default().to_owned();
        self.advance(length + 1);
        self.push(if length == 0 { bare } else { kind }, &text);
        self.terminator()
    }

    fn identifier(&mut self) -> Result<(), ParseError> {
        let length: usize = self
            .rest
            .chars()
            .take_while(|letter| is_word(*letter))
            .map(char::len_utf8)
            .sum();
        let text = self.rest.get(..length).unwrap_or_default().to_owned();
        self.advance(length);
        let kind = match text.as_str() {
            "true" | "false" => Kind::Bool,
            "nil" => Kind::Nil,
            word if KEYWORDS.contains(&word) => Kind::Keyword,
            _ => Kind::Identifier,
        };
        self.push(kind, &text);
        self.terminator()
    }

    /// What may follow a word.
    fn terminator(&self) -> Result<(), ParseError> {
        let next = self.rest.chars().next();
        let is_end = next.is_none_or(|next| SPACES.contains(&next) || ".,|:)(".contains(next))
            || self.rest.starts_with("}}");
        if is_end {
            Ok(())
        } else {
            Err(ParseError::new(format!(
                "bad character {:?}",
                next.unwrap_or_default()
            )))
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Result<(), ParseError> {
        let mut is_escaped = false;
        for (position, letter) in self.rest.char_indices().skip(1) {
            if letter == '\n' {
                break;
            }
            if is_escaped {
                is_escaped = false;
            } else if letter == '\\' {
                is_escaped = true;
            } else if letter == quote {
                let text = self.rest.get(..=position).unwrap_or_default().to_owned();
                self.push(kind, &text);
                self.advance(position + 1);
                return Ok(());
            }
        }
        Err(ParseError::new(unterminated))
    }

    fn raw(&mut self) -> Result<(), ParseError> {
        let inside = self.rest.get(1..).unwrap_or_default();
        let end = inside
            .find('`')
            .ok_or_else(|| ParseError::new("unterminated raw quoted string"))?;
        let text = self.rest.get(..end + 2).unwrap_or_default().to_owned();
        self.push(Kind::RawString, &text);
        self.advance(end + 2);
        Ok(())
    }

    /// A number, complex ones included: what it is worth is found out when it is parsed.
    fn number(&mut self) -> Result<(), ParseError> {
        let mut length = self.scan_number(0)?;
        if self
            .rest
            .get(length..)
            .is_some_and(|rest| rest.starts_with(['+', '-']))
        {
            length = self.scan_number(length)?;
            if !self
                .rest
                .get(..length)
                .is_some_and(|text| text.ends_with('i'))
            {
                return Err(self.bad_number(length));
            }
        }
        let text = self.rest.get(..length).unwrap_or_default().to_owned();
        self.push(Kind::Number, &text);
        self.advance(length);
        Ok(())
    }

    fn bad_number(&self, length: usize) -> ParseError {
        ParseError::new(format!(
            "bad number syntax: {:?}",
            self.rest.get(..length).unwrap_or(self.rest)
        ))
    }

    fn scan_number(&self, start: usize) -> Result<usize, ParseError> {
        let bytes = self.rest.as_bytes();
        let mut at = start;
        let accept = |at: &mut usize, set: &str| {
            let found = bytes
                .get(*at)
                .is_some_and(|byte| set.as_bytes().contains(byte));
            *at += usize::from(found);
            found
        };
        let accept_run = |at: &mut usize, set: &str| while accept(at, set) {};
        accept(&mut at, "+-");
        let mut digits = "0123456789_";
        let mut exponent = "eE";
        if accept(&mut at, "0") {
            if accept(&mut at, "xX") {
                digits = "0123456789abcdefABCDEF_";
                exponent = "pP";
            } else if accept(&mut at, "oO") {
                digits = "01234567_";
                exponent = "";
            } else if accept(&mut at, "bB") {
                digits = "01_";
                exponent = "";
            }
        }
        accept_run(&mut at, digits);
        if accept(&mut at, ".") {
            accept_run(&mut at, digits);
        }
        if accept(&mut at, exponent) {
            accept(&mut at, "+-");
            accept_run(&mut at, "0123456789_");
        }
        accept(&mut at, "i");
        if self
            .rest
            .get(at..)
            .and_then(|rest| rest.chars().next())
            .is_some_and(is_word)
        {
            return Err(self.bad_number(at + 1));
        }
        Ok(at)
    }
}

fn is_word(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}
