//! Finds a few members in a text that is known to be JSON, and skips the rest without looking at it closely: reading
//! it with serde checks again what was checked when the request came in, at four times the price.
//!
//! Names are compared as they are written: who meets an escaped one reads the text the other way.

use memchr::memchr2;

/// A place in the text, before a value.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Before the value that is the whole text.
    #[must_use]
    pub fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text, at: 0 }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The next byte that is no space: it tells what kind of value comes.
    pub fn peek(&mut self) -> Option<u8> {
        let spaces = self
            .rest()
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        self.at += spaces;
        self.rest().first().copied()
    }

    /// Visits the members of the object that comes; the visitor steps into a value with the cursor, or leaves it.
    /// None when this is no object, has an escaped name, or the visitor gives none.
    pub fn members(
        &mut self,
        mut visit: impl FnMut(&'a str, &mut Cursor<'a>) -> Option<()>,
    ) -> Option<()> {
        if self.peek()? != b'{' {
            return None;
        }
        self.at += 1;
        loop {
            match self.peek()? {
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                b',' => self.at += 1,
                b'"' => {
                    let name = self.string()?;
                    if self.peek()? != b':' {
                        return None;
                    }
                    self.at += 1;
                    let value = self.at;
                    visit(name, self)?;
                    if self.at == value {
                        self.skip()?;
                    }
                }
                _ => return None,
            }
        }
    }

    /// Visits the items of the list that comes; the visitor steps into one with the cursor, or leaves it. None when this
    /// is no list, or the visitor gives none.
    pub fn items(&mut self, mut visit: impl FnMut(&mut Cursor<'a>) -> Option<()>) -> Option<()> {
        if self.peek()? != b'[' {
            return None;
        }
        self.at += 1;
        loop {
            match self.peek()? {
                b']' => {
                    self.at += 1;
                    return Some(());
                }
                b',' => self.at += 1,
                _ => {
                    let item = self.at;
                    visit(self)?;
                    if self.at == item {
                        self.skip()?;
                    }
                }
            }
        }
    }

    /// The string that comes, if it has no escapes; the cursor stays before one that has.
    pub fn string(&mut self) -> Option<&'a str> {
        if self.peek()? != b'"' {
            return None;
        }
        let start = self.at + 1;
        let rest = self.text.as_bytes().get(start..)?;
        let length = memchr2(b'"', b'\\', rest)?;
        if rest.get(length) == Some(&b'\\') {
            return None;
        }
        self.at = start + length + 1;
        self.text.get(start..start + length)
    }

    /// The text of the value that comes.
    pub fn value(&mut self) -> Option<&'a str> {
        self.peek()?;
        let start = self.at;
        self.skip()?;
        self.text.get(start..self.at)
    }

    fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.skip_string(),
            b'{' | b'[' => self.skip_nested(),
            _ => {
                let length = self
                    .rest()
                    .iter()
                    .take_while(|byte| {
                        !matches!(byte, b',' | b'}' | b']') && !byte.is_ascii_whitespace()
                    })
                    .count();
                self.at += length;
                (length > 0).then_some(())
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            let length = memchr2(b'"', b'\\', self.rest())?;
            let is_end = self.rest().get(length) == Some(&b'"');
            self.at += length + 1;
            if is_end {
                return Some(());
            }
            // Whatever is escaped, it is more than a quote only in bytes that are none.
            self.at += 1;
        }
    }

    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            let mut rest = self.rest().iter();
            let length = rest.position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))?;
            self.at += length;
            match self.rest().first()? {
                b'"' => {
                    self.skip_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                _ => depth = depth.checked_sub(1)?,
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn any_value() -> impl Strategy<Value = Value> {
        let text = "[a-z\\\\\"{}\\[\\]:, é\u{1}]{0,6}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z\\\\\"}é]{0,4}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// All members, by stepping into objects and taking the text of everything else; none where a name is escaped.
    fn read(cursor: &mut Cursor<'_>) -> Option<Value> {
        let mut members = Map::new();
        let is_object = cursor.clone().members(|_, _| Some(())).is_some();
        if !is_object {
            return serde_json::from_str(cursor.value()?).ok();
        }
        cursor.members(|name, value| {
            members.insert(name.to_owned(), read(value)?);
            Some(())
        })?;
        Some(Value::Object(members))
    }

    fn has_escaped_name(value: &Value) -> bool {
        match value {
            Value::Object(members) => members
                .iter()
                .any(|(name, value)| name.contains(['"', '\\']) || has_escaped_name(value)),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_is_there(value in any_value(), is_pretty: bool) {
            let text = if is_pretty {
                serde_json::to_string_pretty(&value).unwrap()
            } else {
                value.to_string()
            };
            let text = format!(" {text}\n");
            let mut cursor = Cursor::new(&text);
            prop_assert_eq!(cursor.value().map(str::trim), Some(text.trim()));
            match read(&mut Cursor::new(&text)) {
                Some(found) => prop_assert_eq!(found, value),
                None => prop_assert!(has_escaped_name(&value), "{}", text),
            }
        }

        #[test]
        fn nothing_breaks_it(text in ".{0,40}") {
            let _ = read(&mut Cursor::new(&text));
            let _ = Cursor::new(&text).value();
        }
    }

    #[test]
    fn the_visitor_takes_what_it_wants() {
        let text = json!({"a": {"b": [1, {"c": "}"}]}, "d": "x", "e": 5}).to_string();
        let mut found = Vec::new();
        let whole = Cursor::new(&text).members(|name, value| {
            match name {
                "a" => value.members(|name, value| {
                    found.push((name, value.value()?));
                    Some(())
                })?,
                "e" => found.push((name, value.value()?)),
                _ => {}
            }
            Some(())
        });
        assert_eq!(whole, Some(()));
        assert_eq!(found, [("b", r#"[1,{"c":"}"}]"#), ("e", "5")]);
        assert!(Cursor::new("[]").members(|_, _| Some(())).is_none());
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Cursor::new(&deep).value(), Some(deep.as_str()));
    }
}
