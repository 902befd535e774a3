//! The tree of a template, as `text/template/parse/parse.go` builds it: what parses there parses here.

use super::lex::{Kind, Token, tokens};

/// Deepest nesting of blocks and parentheses. Go allows more; no template of names needs it.
const DEPTH_MAX: usize = 64;

/// The builtin functions: the platform adds none.
const FUNCTIONS: [&str; 19] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or",
    "print", "printf", "println", "slice", "urlquery",
];

/// Why a template does not parse, in Go's terms.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{0}")]
pub struct ParseError(String);

impl ParseError {
    pub(super) fn new(text: impl Into<String>) -> ParseError {
        ParseError(text.into())
    }
}

/// A part of a template.
#[derive(Debug, Clone)]
pub enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    /// `template` or `block`: another template, with its data.
    Template(Option<Pipe>),
    Define,
    Break,
    Continue,
}

/// `if`, `with` or `range`.
#[derive(Debug, Clone)]
pub struct Branch {
    pub pipe: Pipe,
    pub then: Vec<Node>,
    pub otherwise: Vec<Node>,
}

/// Commands, each fed with the one before.
#[derive(Debug, Clone, Default)]
pub struct Pipe {
    pub variables: Vec<String>,
    pub is_assignment: bool,
    pub commands: Vec<Vec<Operand>>,
}

/// An argument.
#[derive(Debug, Clone)]
pub enum Operand {
    Dot,
    Nil,
    Bool(bool),
    /// Something numeric; none when it is no integer.
    Number(Option<i64>),
    Text(String),
    /// `.a.b`
    Field(Vec<String>),
    /// `$x.a.b`
    Variable(String, Vec<String>),
    Function(String),
    /// `(pipeline).a.b`
    Pipe(Box<Pipe>, Vec<String>),
}

/// Parses a source.
pub fn parse(source: &str) -> Result<Vec<Node>, ParseError> {
    let mut parser = Parser {
        tokens: tokens(source)?,
        at: 0,
        variables: vec!["$".to_owned()],
        range_depth: 0,
        depth: 0,
    };
    let mut nodes = Vec::new();
    while parser.peek().kind != Kind::Eof {
        if parser.peek().kind == Kind::LeftDelim {
            let start = parser.at;
            parser.next();
            if parser.is_keyword_next("define") {
                parser.next_non_space();
                parser.definition()?;
                nodes.push(Node::Define);
                continue;
            }
            parser.at = start;
        }
        match parser.text_or_action()? {
            Item::Node(node) => nodes.push(node),
            Item::End => return Err(ParseError::new("unexpected {{end}}")),
            Item::Else => return Err(ParseError::new("unexpected {{else}}")),
        }
    }
    Ok(nodes)
}

enum Item {
    Node(Node),
    End,
    Else,
}

#[derive(PartialEq)]
enum Ending {
    End,
    Else,
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    variables: Vec<String>,
    range_depth: usize,
    depth: usize,
}

static EOF: Token = Token {
    kind: Kind::Eof,
    text: String::new(),
};

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&EOF)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    fn peek_non_space(&mut self) -> &Token {
        self.skip_space();
        self.peek()
    }

    fn next_non_space(&mut self) -> Token {
        self.skip_space();
        self.next()
    }

    fn is_keyword_next(&mut self, word: &str) -> bool {
        let token = self.peek_non_space();
        token.kind == Kind::Keyword && token.text == word
    }

    fn expect_right_delim(&mut self, context: &str) -> Result<(), ParseError> {
        let token = self.next_non_space();
        if token.kind == Kind::RightDelim {
            Ok(())
        } else {
            Err(unexpected(&token, context))
        }
    }

    fn enter(&mut self) -> Result<(), ParseError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ParseError::new(format!(
                "nested more than {DEPTH_MAX} deep"
            )));
        }
        Ok(())
    }

    fn text_or_action(&mut self) -> Result<Item, ParseError> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(token.text))),
            Kind::LeftDelim => self.action(),
            _ => Err(unexpected(&token, "input")),
        }
    }

    fn action(&mut self) -> Result<Item, ParseError> {
        let start = self.at;
        let token = self.next_non_space();
        let keyword = if token.kind == Kind::Keyword {
            token.text.as_str()
        } else {
            ""
        };
        let node = match keyword {
            "block" => self.block()?,
            "break" | "continue" => {
                // Outside of a range these are ordinary words, and no function has them.
                if self.range_depth == 0 {
                    return Err(ParseError::new(format!("function {keyword:?} not defined")));
                }
                self.expect_right_delim(&format!("{{{{{keyword}}}}}"))?;
                if keyword == "break" {
                    Node::Break
                } else {
                    Node::Continue
                }
            }
            "else" => {
                let next = self.peek_non_space();
                if !(next.kind == Kind::Keyword && matches!(next.text.as_str(), "if" | "with")) {
                    self.expect_right_delim("else")?;
                }
                return Ok(Item::Else);
            }
            "end" => {
                self.expect_right_delim("end")?;
                return Ok(Item::End);
            }
            "if" => Node::If(self.branch("if")?),
            "with" => Node::With(self.branch("with")?),
            "range" => Node::Range(self.branch("range")?),
            "template" => self.template()?,
            "define" => return Err(unexpected(&token, "command")),
            _ => {
                self.at = start;
                Node::Action(self.pipeline("command", &Kind::RightDelim)?)
            }
        };
        Ok(Item::Node(node))
    }

    fn list(&mut self) -> Result<(Vec<Node>, Ending), ParseError> {
        self.enter()?;
        let mut nodes = Vec::new();
        while self.peek_non_space().kind != Kind::Eof {
            let ending = match self.text_or_action()? {
                Item::Node(node) => {
                    nodes.push(node);
                    continue;
                }
                Item::End => Ending::End,
                Item::Else => Ending::Else,
            };
            self.depth -= 1;
            return Ok((nodes, ending));
        }
        Err(ParseError::new("unexpected EOF"))
    }

    fn branch(&mut self, context: &str) -> Result<Branch, ParseError> {
        let variables = self.variables.len();
        let pipe = self.pipeline(context, &Kind::RightDelim)?;
        self.range_depth += usize::from(context == "range");
        let (then, ending) = self.list()?;
        self.range_depth -= usize::from(context == "range");
        let mut otherwise = Vec::new();
        if ending == Ending::Else {
            // `else if` and `else with` are one more block that shares our end.
            if context != "range" && self.is_keyword_next(context) {
                self.next_non_space();
                self.enter()?;
                let inner = self.branch(context)?;
                self.depth -= 1;
                otherwise.push(if context == "if" {
                    Node::If(inner)
                } else {
                    Node::With(inner)
                });
            } else {
                if self.peek().kind == Kind::Keyword {
                    let token = self.next();
                    return Err(unexpected(&token, "else"));
                }
                let (nodes, ending) = self.list()?;
                if ending != Ending::End {
                    return Err(ParseError::new("expected end; found {{else}}"));
                }
                otherwise = nodes;
            }
        }
        self.variables.truncate(variables);
        Ok(Branch {
            pipe,
            then,
            otherwise,
        })
    }

    fn name(&mut self, context: &str) -> Result<String, ParseError> {
        let token = self.next_non_space();
        match token.kind {
            Kind::String | Kind::RawString => unquote(&token.text),
            _ => Err(unexpected(&token, context)),
        }
    }

    fn template(&mut self) -> Result<Node, ParseError> {
        self.name("template clause")?;
        let start = self.at;
        if self.next_non_space().kind == Kind::RightDelim {
            return Ok(Node::Template(None));
        }
        self.at = start;
        Ok(Node::Template(Some(
            self.pipeline("template clause", &Kind::RightDelim)?,
        )))
    }

    /// A body of its own: it sees no variables but `$`, and no range around it.
    fn body(&mut self, context: &str) -> Result<(), ParseError> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let (_, ending) = self.list()?;
        if ending != Ending::End {
            return Err(ParseError::new(format!(
                "unexpected {{{{else}}}} in {context}"
            )));
        }
        self.variables = variables;
        self.range_depth = range_depth;
        Ok(())
    }

    fn block(&mut self) -> Result<Node, ParseError> {
        self.name("block clause")?;
        let pipe = self.pipeline("block clause", &Kind::RightDelim)?;
        self.body("block clause")?;
        Ok(Node::Template(Some(pipe)))
    }

    fn definition(&mut self) -> Result<(), ParseError> {
        self.name("define clause")?;
        self.expect_right_delim("define clause")?;
        self.body("define clause")
    }

    fn pipeline(&mut self, context: &str, end: &Kind) -> Result<Pipe, ParseError> {
        let mut pipe = Pipe::default();
        self.declarations(&mut pipe, context)?;
        loop {
            let start = self.at;
            let token = self.next_non_space();
            if token.kind == *end {
                check(&pipe, context)?;
                return Ok(pipe);
            }
            match token.kind {
                Kind::Bool
                | Kind::CharConstant
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Keyword
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen
                    if token.kind != Kind::Keyword || is_loop_word(&token) =>
                {
                    self.at = start;
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return Err(unexpected(&token, context)),
            }
        }
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Result<(), ParseError> {
        loop {
            if self.peek_non_space().kind != Kind::Variable {
                return Ok(());
            }
            let start = self.at;
            let variable = self.next();
            let next = self.peek_non_space().clone();
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    pipe.is_assignment = next.kind == Kind::Assign;
                    self.next_non_space();
                    self.declare(pipe, variable.text);
                    return Ok(());
                }
                Kind::Comma => {
                    self.next_non_space();
                    self.declare(pipe, variable.text);
                    if context == "range" && pipe.variables.len() < 2 {
                        match self.peek_non_space().kind {
                            Kind::Variable | Kind::RightDelim | Kind::RightParen => continue,
                            _ => {
                                return Err(ParseError::new("range can only initialize variables"));
                            }
                        }
                    }
                    return Err(ParseError::new(format!(
                        "too many declarations in {context}"
                    )));
                }
                _ => {
                    self.at = start;
                    return Ok(());
                }
            }
        }
    }

    fn declare(&mut self, pipe: &mut Pipe, name: String) {
        self.variables.push(name.clone());
        pipe.variables.push(name);
    }

    fn command(&mut self) -> Result<Vec<Operand>, ParseError> {
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.at -= 1,
                Kind::Pipe => {}
                _ => return Err(unexpected(&token, "operand")),
            }
            break;
        }
        if operands.is_empty() {
            return Err(ParseError::new("empty command"));
        }
        Ok(operands)
    }

    fn operand(&mut self) -> Result<Option<Operand>, ParseError> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        let mut chain = Vec::new();
        while self.peek().kind == Kind::Field {
            chain.push(self.next().text.trim_start_matches('.').to_owned());
        }
        if chain.is_empty() {
            return Ok(Some(term));
        }
        Ok(Some(match term {
            Operand::Field(mut fields) => {
                fields.append(&mut chain);
                Operand::Field(fields)
            }
            Operand::Variable(name, mut fields) => {
                fields.append(&mut chain);
                Operand::Variable(name, fields)
            }
            Operand::Pipe(pipe, _) => Operand::Pipe(pipe, chain),
            Operand::Function(name) => Operand::Pipe(
                Box::new(Pipe {
                    commands: vec![vec![Operand::Function(name)]],
                    ..Pipe::default()
                }),
                chain,
            ),
            _ => {
                return Err(ParseError::new(format!(
                    "unexpected . after term .{}",
                    chain.join(".")
                )));
            }
        }))
    }

    fn term(&mut self) -> Result<Option<Operand>, ParseError> {
        let start = self.at;
        let token = self.next_non_space();
        Ok(Some(match token.kind {
            Kind::Identifier | Kind::Keyword
                if token.kind == Kind::Identifier || is_loop_word(&token) =>
            {
                if !FUNCTIONS.contains(&token.text.as_str()) {
                    return Err(ParseError::new(format!(
                        "function {:?} not defined",
                        token.text
                    )));
                }
                Operand::Function(token.text)
            }
            Kind::Dot => Operand::Dot,
            Kind::Nil => Operand::Nil,
            Kind::Variable => {
                if !self.variables.contains(&token.text) {
                    return Err(ParseError::new(format!(
                        "undefined variable {:?}",
                        token.text
                    )));
                }
                Operand::Variable(token.text, Vec::new())
            }
            Kind::Field => Operand::Field(vec![token.text.trim_start_matches('.').to_owned()]),
            Kind::Bool => Operand::Bool(token.text == "true"),
            Kind::Number => Operand::Number(number(&token.text)?),
            Kind::CharConstant => Operand::Number(Some(character(&token.text)?)),
            Kind::String | Kind::RawString => Operand::Text(unquote(&token.text)?),
            Kind::LeftParen => {
                self.enter()?;
                let pipe = self.pipeline("parenthesized pipeline", &Kind::RightParen)?;
                self.depth -= 1;
                Operand::Pipe(Box::new(pipe), Vec::new())
            }
            _ => {
                self.at = start;
                return Ok(None);
            }
        }))
    }
}

/// `break` and `continue` are keywords only at the start of an action.
fn is_loop_word(token: &Token) -> bool {
    token.kind == Kind::Keyword && matches!(token.text.as_str(), "break" | "continue")
}

fn unexpected(token: &Token, context: &str) -> ParseError {
    let what = match token.kind {
        Kind::Eof => "EOF".to_owned(),
        _ => format!("{:?}", token.text),
    };
    ParseError::new(format!("unexpected {what} in {context}"))
}

fn check(pipe: &Pipe, context: &str) -> Result<(), ParseError> {
    if pipe.commands.is_empty() {
        return Err(ParseError::new(format!("missing value for {context}")));
    }
    for (stage, command) in pipe.commands.iter().enumerate().skip(1) {
        if let Some(
            Operand::Bool(_) | Operand::Dot | Operand::Nil | Operand::Number(_) | Operand::Text(_),
        ) = command.first()
        {
            return Err(ParseError::new(format!(
                "non executable command in pipeline stage {}",
                stage + 1
            )));
        }
    }
    Ok(())
}

/// A number's value where it is an integer.
fn number(text: &str) -> Result<Option<i64>, ParseError> {
    let illegal = || ParseError::new(format!("illegal number syntax: {text:?}"));
    if text.ends_with('i') {
        // Complex: only whether the digits make sense can be told.
        return if text.bytes().any(|byte| byte.is_ascii_digit()) {
            Ok(None)
        } else {
            Err(illegal())
        };
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body, has_prefix) = match lower.get(..2) {
        Some("0x") => (16, lower.get(2..).unwrap_or_default(), true),
        Some("0o") => (8, lower.get(2..).unwrap_or_default(), true),
        Some("0b") => (2, lower.get(2..).unwrap_or_default(), true),
        _ if lower.len() > 1
            && lower.starts_with('0')
            && lower
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'_') =>
        {
            (8, lower.get(1..).unwrap_or_default(), true)
        }
        _ => (10, lower.as_str(), false),
    };
    if !underscores_are_right(body, has_prefix) {
        return Err(illegal());
    }
    let plain = body.replace('_', "");
    if let Ok(value) = i64::from_str_radix(&plain, radix) {
        return Ok(Some(sign * value));
    }
    if u64::from_str_radix(&plain, radix).is_ok() {
        return Ok(None);
    }
    let is_float = radix == 10 && plain.parse::<f64>().is_ok_and(f64::is_finite)
        || radix == 16 && plain.contains('p') && plain.bytes().any(|byte| byte.is_ascii_digit());
    // A leading 0 is octal for an integer but decimal for a float.
    let is_old_float =
        lower.bytes().all(|byte| byte.is_ascii_digit()) && lower.parse::<f64>().is_ok();
    if is_float || is_old_float {
        Ok(None)
    } else {
        Err(illegal())
    }
}

/// Underscores stand between digits, or after a base prefix.
fn underscores_are_right(body: &str, has_prefix: bool) -> bool {
    let mut previous_is_digit = has_prefix;
    for byte in body.bytes() {
        if byte == b'_' && !previous_is_digit {
            return false;
        }
        previous_is_digit = byte.is_ascii_alphanumeric();
    }
    !body.ends_with('_')
}

fn character(text: &str) -> Result<i64, ParseError> {
    let malformed = || ParseError::new(format!("malformed character constant: {text}"));
    let inner = text.get(1..text.len() - 1).unwrap_or_default();
    let unescaped = unescape(inner, '\'').ok_or_else(malformed)?;
    let mut letters = unescaped.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) => Ok(i64::from(u32::from(letter))),
        _ => Err(malformed()),
    }
}

fn unquote(text: &str) -> Result<String, ParseError> {
    let inner = text.get(1..text.len() - 1).unwrap_or_default();
    if text.starts_with('`') {
        return Ok(inner.replace('\r', ""));
    }
    unescape(inner, '"').ok_or_else(|| ParseError::new("invalid syntax"))
}

/// `strconv.Unquote` of what stands between quotes.
fn unescape(text: &str, quote: char) -> Option<String> {
    /// The value of the next `count` digits after `start`.
    fn digits(
        letters: &mut std::str::Chars<'_>,
        start: u32,
        count: usize,
        radix: u32,
    ) -> Option<u32> {
        (0..count).try_fold(start, |value, _| {
            value
                .checked_mul(radix)?
                .checked_add(letters.next()?.to_digit(radix)?)
        })
    }
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        let unescaped = match letters.next()? {
            'x' => char::from_u32(digits(&mut letters, 0, 2, 16)?)?,
            'u' => char::from_u32(digits(&mut letters, 0, 4, 16)?)?,
            'U' => char::from_u32(digits(&mut letters, 0, 8, 16)?)?,
            first @ '0'..='7' => {
                let value = digits(&mut letters, first.to_digit(8)?, 2, 8)?;
                char::from_u32(value).filter(|_| value <= 255)?
            }
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' => '\\',
            other if other == quote => other,
            _ => return None,
        };
        out.push(unescaped);
    }
    Some(out)
}

/// The keys of the data that a template names, where that can be told by looking.
pub fn data_keys(nodes: &[Node]) -> Vec<String> {
    let mut keys = Vec::new();
    collect(nodes, true, &mut keys);
    keys
}

fn collect(nodes: &[Node], dot_is_data: bool, keys: &mut Vec<String>) {
    for node in nodes {
        match node {
            Node::Action(pipe) | Node::Template(Some(pipe)) => {
                collect_pipe(pipe, dot_is_data, keys);
            }
            Node::If(branch) => {
                collect_pipe(&branch.pipe, dot_is_data, keys);
                collect(&branch.then, dot_is_data, keys);
                collect(&branch.otherwise, dot_is_data, keys);
            }
            // Inside, the dot is something else.
            Node::With(branch) | Node::Range(branch) => {
                collect_pipe(&branch.pipe, dot_is_data, keys);
                collect(&branch.then, false, keys);
                collect(&branch.otherwise, dot_is_data, keys);
            }
            _ => {}
        }
    }
}

fn collect_pipe(pipe: &Pipe, dot_is_data: bool, keys: &mut Vec<String>) {
    for operand in pipe.commands.iter().flatten() {
        match operand {
            Operand::Field(fields) if dot_is_data => keys.extend(fields.first().cloned()),
            Operand::Variable(name, fields) if name == "$" => keys.extend(fields.first().cloned()),
            Operand::Pipe(pipe, _) => collect_pipe(pipe, dot_is_data, keys),
            _ => {}
        }
    }
}
