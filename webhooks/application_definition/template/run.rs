//! Execution of the part of `text/template` that names need. What is left out says so.

use super::parse::{Branch, Node, Operand, Pipe};

/// Longest text that is rendered, in bytes: no name is longer than 253.
const TEXT_MAX_BYTES: usize = 64 * 1024;

/// Why a template gives no text.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ExecError {
    /// Go fails too.
    #[error("{0}")]
    Go(String),
    /// Go may succeed, this port cannot tell.
    #[error("{0} is not evaluated here")]
    Unsupported(&'static str),
}

fn go<T>(text: impl Into<String>) -> Result<T, ExecError> {
    Err(ExecError::Go(text.into()))
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    /// The data itself.
    Data,
    /// A key that the data does not have.
    Missing,
    Nil,
    Bool(bool),
    Int(i64),
    /// Bytes, as a Go string is.
    Text(Vec<u8>),
}

struct Machine<'a> {
    data: [&'a str; 3],
    variables: Vec<(String, Value)>,
    out: Vec<u8>,
}

/// Renders a template for `[name, kind, namespace]`.
pub fn run(nodes: &[Node], data: [&str; 3]) -> Result<String, ExecError> {
    let mut machine = Machine {
        data,
        variables: vec![("$".to_owned(), Value::Data)],
        out: Vec::new(),
    };
    machine.list(nodes, &Value::Data)?;
    String::from_utf8(machine.out).map_err(|_| ExecError::Unsupported("a text that is no UTF-8"))
}

impl Machine<'_> {
    fn list(&mut self, nodes: &[Node], dot: &Value) -> Result<(), ExecError> {
        for node in nodes {
            match node {
                Node::Text(text) => self.write(text.as_bytes())?,
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        let text = printed(&value)?;
                        self.write(&text)?;
                    }
                }
                Node::If(branch) => self.branch(branch, dot, false)?,
                Node::With(branch) => self.branch(branch, dot, true)?,
                Node::Define => {}
                Node::Range(_) | Node::Break | Node::Continue => {
                    return Err(ExecError::Unsupported("range"));
                }
                Node::Template(_) => {
                    return Err(ExecError::Unsupported("a template in a template"));
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, text: &[u8]) -> Result<(), ExecError> {
        self.out.extend_from_slice(text);
        if self.out.len() > TEXT_MAX_BYTES {
            Err(ExecError::Unsupported("so long a text"))
        } else {
            Ok(())
        }
    }

    fn branch(&mut self, branch: &Branch, dot: &Value, sets_dot: bool) -> Result<(), ExecError> {
        let variables = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        if is_true(&value) {
            self.list(&branch.then, if sets_dot { &value } else { dot })?;
        } else {
            self.list(&branch.otherwise, dot)?;
        }
        self.variables.truncate(variables);
        Ok(())
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, ExecError> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, dot, last)?);
        }
        let value = last.unwrap_or(Value::Nil);
        for name in &pipe.variables {
            if pipe.is_assignment {
                match self
                    .variables
                    .iter_mut()
                    .rev()
                    .find(|(known, _)| known == name)
                {
                    Some((_, variable)) => *variable = value.clone(),
                    None => return go(format!("undefined variable: {name}")),
                }
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn command(
        &mut self,
        operands: &[Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, ExecError> {
        let Some((first, rest)) = operands.split_first() else {
            return go("empty command");
        };
        if let Operand::Function(name) = first {
            return self.function(name, rest, dot, last);
        }
        if !rest.is_empty() || last.is_some() {
            return go(format!("can't give argument to non-function {first:?}"));
        }
        if matches!(first, Operand::Nil) {
            return go("nil is not a command");
        }
        self.operand(first, dot)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, ExecError> {
        match operand {
            Operand::Dot => Ok(dot.clone()),
            Operand::Nil => Ok(Value::Nil),
            Operand::Bool(is_true) => Ok(Value::Bool(*is_true)),
            Operand::Number(Some(number)) => Ok(Value::Int(*number)),
            Operand::Number(None) => Err(ExecError::Unsupported("a number that is no integer")),
            Operand::Text(text) => Ok(Value::Text(text.as_bytes().to_vec())),
            Operand::Field(fields) => self.fields(dot.clone(), fields),
            Operand::Variable(name, fields) => {
                let value = self
                    .variables
                    .iter()
                    .rev()
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| value.clone());
                match value {
                    Some(value) => self.fields(value, fields),
                    None => go(format!("undefined variable: {name}")),
                }
            }
            Operand::Function(name) => self.function(name, &[], dot, None),
            Operand::Pipe(pipe, fields) => {
                let value = self.pipe(pipe, dot)?;
                self.fields(value, fields)
            }
        }
    }

    fn fields(&self, value: Value, fields: &[String]) -> Result<Value, ExecError> {
        fields.iter().try_fold(value, |value, field| match value {
            Value::Data => Ok(self.key(field.as_bytes())),
            // What is not there has no fields, and that is no error to Go.
            Value::Missing => Ok(Value::Missing),
            Value::Nil => go(format!("nil data; no entry for key {field:?}")),
            _ => go(format!("can't evaluate field {field} in type string")),
        })
    }

    fn key(&self, key: &[u8]) -> Value {
        super::KEYS
            .iter()
            .zip(self.data)
            .find(|(known, _)| known.as_bytes() == key)
            .map_or(Value::Missing, |(_, text)| {
                Value::Text(text.as_bytes().to_vec())
            })
    }

    fn function(
        &mut self,
        name: &str,
        operands: &[Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, ExecError> {
        // and, or: what decides is not followed by anything.
        if matches!(name, "and" | "or") {
            let mut result = None;
            for operand in operands {
                let value = self.operand(operand, dot)?;
                let decides = is_true(&value) == (name == "or");
                result = Some(value);
                if decides {
                    return result.ok_or(ExecError::Unsupported("and"));
                }
            }
            return last
                .or(result)
                .ok_or_else(|| ExecError::Go(format!("wrong number of args for {name}")));
        }
        let mut arguments = Vec::new();
        for operand in operands {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(last);
        // A missing key is the zero value of its type for a function that takes strings.
        match (name, arguments.as_slice()) {
            ("not", [value]) => Ok(Value::Bool(!is_true(value))),
            ("len", [Value::Text(text)]) => {
                Ok(Value::Int(i64::try_from(text.len()).unwrap_or(i64::MAX)))
            }
            ("len", [Value::Data]) => Ok(Value::Int(3)),
            ("len", [_]) => go("len of a value that has none"),
            ("slice", arguments) => self::slice(arguments),
            ("index", [value]) if !matches!(value, Value::Missing | Value::Nil) => {
                Ok(value.clone())
            }
            // A missing key of the map is the empty string here, not <no value>.
            ("index", [Value::Data, Value::Text(key)]) => Ok(match self.key(key) {
                Value::Missing => Value::Text(Vec::new()),
                found => found,
            }),
            ("index", [Value::Text(text), Value::Int(at)]) => {
                match usize::try_from(*at).ok().and_then(|at| text.get(at)) {
                    Some(byte) => Ok(Value::Int(i64::from(*byte))),
                    None => go(format!("index out of range: {at}")),
                }
            }
            ("index", _) => go("cannot index"),
            ("print" | "println", arguments) => print(arguments, name == "println"),
            ("printf", arguments) => printf(arguments),
            ("eq", [first, others @ ..]) if !others.is_empty() => {
                for other in others {
                    if are_equal(first, other)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            ("ne", [one, two]) => Ok(Value::Bool(!are_equal(one, two)?)),
            ("lt" | "le" | "gt" | "ge", [one, two]) => {
                let order = match (one, two) {
                    (Value::Int(one), Value::Int(two)) => one.cmp(two),
                    (Value::Text(one), Value::Text(two)) => one.cmp(two),
                    (Value::Missing | Value::Nil, _) | (_, Value::Missing | Value::Nil) => {
                        return Err(ExecError::Unsupported("a comparison with nothing"));
                    }
                    _ => return go("incompatible types for comparison"),
                };
                Ok(Value::Bool(match name {
                    "lt" => order.is_lt(),
                    "le" => order.is_le(),
                    "gt" => order.is_gt(),
                    _ => order.is_ge(),
                }))
            }
            ("html" | "js" | "urlquery", [Value::Text(text)])
                if text.iter().all(|byte| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
                }) =>
            {
                Ok(Value::Text(text.clone()))
            }
            ("html" | "js" | "urlquery", _) => Err(ExecError::Unsupported("escaping")),
            ("call", _) => go("call of a value that is no function"),
            _ => go(format!("wrong number of args for {name}")),
        }
    }
}

fn slice(arguments: &[Value]) -> Result<Value, ExecError> {
    let Some((value, indexes)) = arguments.split_first() else {
        return go("wrong number of args for slice");
    };
    let text = match value {
        Value::Text(text) => text,
        _ if indexes.is_empty() && *value == Value::Data => {
            return go("can't slice item of type map");
        }
        _ => return go("can't slice this item"),
    };
    if indexes.len() > 2 {
        return go("cannot 3-index slice a string");
    }
    let mut bounds = [0, text.len()];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        let Value::Int(index) = index else {
            return go("cannot index slice/array with a value that is no integer");
        };
        *bound = match usize::try_from(*index) {
            Ok(index) if index <= text.len() => index,
            _ => return go(format!("index out of range: {index}")),
        };
    }
    let [from, to] = bounds;
    match text.get(from..to) {
        Some(part) => Ok(Value::Text(part.to_vec())),
        None => go(format!("invalid slice index: {from} > {to}")),
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Data => true,
        Value::Missing | Value::Nil => false,
        Value::Bool(is_true) => *is_true,
        Value::Int(number) => *number != 0,
        Value::Text(text) => !text.is_empty(),
    }
}

fn printed(value: &Value) -> Result<Vec<u8>, ExecError> {
    match value {
        Value::Missing | Value::Nil => Ok(b"<no value>".to_vec()),
        Value::Bool(is_true) => Ok(is_true.to_string().into_bytes()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        Value::Text(text) => Ok(text.clone()),
        Value::Data => Err(ExecError::Unsupported("the data as a whole")),
    }
}

fn are_equal(one: &Value, two: &Value) -> Result<bool, ExecError> {
    match (one, two) {
        (Value::Int(one), Value::Int(two)) => Ok(one == two),
        (Value::Text(one), Value::Text(two)) => Ok(one == two),
        (Value::Bool(one), Value::Bool(two)) => Ok(one == two),
        (Value::Missing | Value::Nil, _) | (_, Value::Missing | Value::Nil) => {
            Err(ExecError::Unsupported("a comparison with nothing"))
        }
        _ => go("incompatible types for comparison"),
    }
}

/// `fmt.Sprint`: a blank between operands of which neither is a string; `fmt.Sprintln`: always one.
fn print(arguments: &[Value], is_line: bool) -> Result<Value, ExecError> {
    let mut out = Vec::new();
    for (position, value) in arguments.iter().enumerate() {
        let is_text = |value: Option<&Value>| matches!(value, Some(Value::Text(_)));
        if *value == Value::Missing {
            return Err(ExecError::Unsupported("printing nothing"));
        }
        if let Some(before) = position.checked_sub(1)
            && (is_line || !(is_text(arguments.get(before)) || is_text(Some(value))))
        {
            out.push(b' ');
        }
        if *value == Value::Nil {
            out.extend_from_slice(b"<nil>");
        } else {
            out.extend(printed(value)?);
        }
    }
    if is_line {
        out.push(b'\n');
    }
    Ok(Value::Text(out))
}

fn printf(arguments: &[Value]) -> Result<Value, ExecError> {
    let Some((Value::Text(format), values)) = arguments.split_first() else {
        return go("wrong type or number of args for printf");
    };
    let mut values = values.iter();
    let mut out = Vec::new();
    let mut bytes = format.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        match (bytes.next(), values.as_slice().first()) {
            (Some(b'%'), _) => out.push(b'%'),
            (Some(b's' | b'v'), Some(Value::Text(text))) => {
                out.extend_from_slice(text);
                values.next();
            }
            (Some(b'd' | b'v'), Some(Value::Int(number))) => {
                out.extend(number.to_string().into_bytes());
                values.next();
            }
            _ => return Err(ExecError::Unsupported("this format")),
        }
    }
    if values.next().is_some() {
        return Err(ExecError::Unsupported("more values than the format takes"));
    }
    Ok(Value::Text(out))
}
