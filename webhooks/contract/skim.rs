//! Walks through JSON text: takes what is asked for, checks the rest and builds nothing of it. One pass finds what a rule
//! wants to know and tells whether the text is JSON at all.
//!
//! Of what is odd (names with escapes, more than [`DEPTH_MAX`] levels) it says no more than of what is wrong: who gets
//! nothing lets serde read the text, which takes longer and knows what to say.

/// Deepest nesting of lists and maps that is walked through: one bit for each.
pub const DEPTH_MAX: usize = 120;

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

    /// The byte here; zero, which stands nowhere in JSON, at the end.
    #[inline]
    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn next(&mut self) -> u8 {
        loop {
            match self.byte() {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return byte,
            }
        }
    }

    /// The next byte that is no space: it tells what kind of value comes.
    pub fn peek(&mut self) -> Option<u8> {
        Some(self.next()).filter(|byte| *byte != 0)
    }

    /// Whether nothing comes any more.
    pub fn is_at_end(&mut self) -> bool {
        self.next() == 0 && self.at == self.text.len()
    }

    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        if self.next() != byte {
            return false;
        }
        self.at += 1;
        true
    }

    /// Visits the members of the object that comes; the visitor steps into a value with the cursor, or leaves it.
    /// None when this is no object, has an escaped name, or the visitor gives none.
    pub fn members(
        &mut self,
        mut visit: impl FnMut(&'a str, &mut Cursor<'a>) -> Option<()>,
    ) -> Option<()> {
        if !self.take(b'{') {
            return None;
        }
        if self.take(b'}') {
            return Some(());
        }
        loop {
            let name = self.string()?;
            if !self.take(b':') {
                return None;
            }
            self.visit(|cursor| visit(name, cursor))?;
            if self.take(b'}') {
                return Some(());
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    /// Visits the items of the list that comes; the visitor steps into one with the cursor, or leaves it. None when this
    /// is no list, or the visitor gives none.
    pub fn items(&mut self, mut visit: impl FnMut(&mut Cursor<'a>) -> Option<()>) -> Option<()> {
        if !self.take(b'[') {
            return None;
        }
        if self.take(b']') {
            return Some(());
        }
        loop {
            self.visit(&mut visit)?;
            if self.take(b']') {
                return Some(());
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn visit(&mut self, visit: impl FnOnce(&mut Cursor<'a>) -> Option<()>) -> Option<()> {
        self.next();
        let value = self.at;
        visit(self)?;
        if self.at == value && !self.skip() {
            return None;
        }
        Some(())
    }

    /// The string that comes, if it has no escapes; the cursor stays before one that has.
    pub fn string(&mut self) -> Option<&'a str> {
        if !self.take(b'"') {
            return None;
        }
        let start = self.at;
        self.skip_plain();
        if self.byte() != b'"' {
            self.at = start - 1;
            return None;
        }
        self.at += 1;
        self.text.get(start..self.at - 1)
    }

    /// The text of the value that comes.
    pub fn value(&mut self) -> Option<&'a str> {
        self.text_of(|cursor| cursor.skip().then_some(()))
    }

    /// The text of what comes, as far as `walk` goes.
    pub fn text_of(&mut self, walk: impl FnOnce(&mut Cursor<'a>) -> Option<()>) -> Option<&'a str> {
        self.next();
        let start = self.at;
        walk(self)?;
        self.text.get(start..self.at)
    }

    /// To after the value that comes. Whether it is one.
    fn skip(&mut self) -> bool {
        // A bit for each list (0) or map (1) around the place, the innermost last, after a first one for nothing.
        let mut around: u128 = 1;
        'value: loop {
            match self.next() {
                b'"' => {
                    self.at += 1;
                    if !self.skip_string() {
                        return false;
                    }
                }
                b'{' => {
                    self.at += 1;
                    if around >> DEPTH_MAX != 0 {
                        return false;
                    }
                    if !self.take(b'}') {
                        around = around << 1 | 1;
                        if !self.skip_name() {
                            return false;
                        }
                        continue 'value;
                    }
                }
                b'[' => {
                    self.at += 1;
                    if around >> DEPTH_MAX != 0 {
                        return false;
                    }
                    if !self.take(b']') {
                        around <<= 1;
                        continue 'value;
                    }
                }
                byte => {
                    if !self.skip_scalar(byte) {
                        return false;
                    }
                }
            }
            loop {
                if around == 1 {
                    return true;
                }
                let is_map = around & 1 == 1;
                let byte = self.next();
                self.at += 1;
                if byte == b',' {
                    if is_map && !self.skip_name() {
                        return false;
                    }
                    continue 'value;
                }
                if byte != (if is_map { b'}' } else { b']' }) {
                    return false;
                }
                around >>= 1;
            }
        }
    }

    #[inline]
    fn skip_name(&mut self) -> bool {
        self.take(b'"') && self.skip_string() && self.take(b':')
    }

    /// After the opening quote, to after the closing one. Whether there is one.
    #[inline]
    fn skip_string(&mut self) -> bool {
        self.skip_plain();
        self.take_quote() || self.skip_escaped()
    }

    /// To the first byte of a string that is not as plain as the others, or to the end of the text.
    #[inline]
    fn skip_plain(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(eight) = bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            let stops = stops(u64::from_le_bytes(*eight));
            if stops != 0 {
                self.at += stops.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while !matches!(self.byte(), b'"' | b'\\' | 0..0x20) {
            self.at += 1;
        }
    }

    #[cold]
    fn skip_escaped(&mut self) -> bool {
        while self.byte() == b'\\' {
            let rest = self.text.as_bytes().get(self.at + 1..).unwrap_or_default();
            self.at += match rest {
                [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
                [b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|it| it.is_ascii_hexdigit()) => 6,
                _ => return false,
            };
            self.skip_plain();
        }
        self.take_quote()
    }

    #[inline]
    fn take_quote(&mut self) -> bool {
        if self.byte() != b'"' {
            return false;
        }
        self.at += 1;
        true
    }

    fn skip_scalar(&mut self, first: u8) -> bool {
        let word = match first {
            b't' => "true",
            b'f' => "false",
            b'n' => "null",
            _ => return self.skip_number(),
        };
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += word.len();
        rest.starts_with(word.as_bytes())
    }

    fn skip_number(&mut self) -> bool {
        self.at += usize::from(self.byte() == b'-');
        if self.byte() == b'0' {
            self.at += 1;
        } else if !self.skip_digits() {
            return false;
        }
        if self.byte() == b'.' {
            self.at += 1;
            if !self.skip_digits() {
                return false;
            }
        }
        if matches!(self.byte(), b'e' | b'E') {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), b'+' | b'-'));
            return self.skip_digits();
        }
        true
    }

    fn skip_digits(&mut self) -> bool {
        let start = self.at;
        while self.byte().is_ascii_digit() {
            self.at += 1;
        }
        self.at > start
    }
}

/// The highest bit of each byte of eight that ends a string, begins an escape, or may not stand in a string. Beyond the
/// lowest of them there may be others that mean nothing: a borrow has run over.
#[inline]
fn stops(eight: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHEST: u64 = ONES << 7;
    let is_below = |bytes: u64, limit: u8| bytes.wrapping_sub(ONES * u64::from(limit)) & !bytes;
    let is = |byte: u8| is_below(eight ^ (ONES * u64::from(byte)), 1);
    (is(b'"') | is(b'\\') | is_below(eight, 0x20)) & HIGHEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;
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

    fn is_json(text: &str) -> bool {
        let mut cursor = Cursor::new(text);
        cursor.value().is_some() && cursor.is_at_end()
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

        /// What is JSON to serde is JSON here, and nothing else: whole texts, and texts with a byte too many, too few or
        /// another one.
        #[test]
        fn what_is_wrong_is_noticed(
            value in any_value(), is_pretty: bool, at: prop::sample::Index, change in 0..3_usize,
            byte in prop::sample::select(b" \n\x0c\x1f\"\\{}[]:,-+.0e1uatrufalsn/".to_vec()),
        ) {
            let mut text = if is_pretty { format!("{value:#}") } else { value.to_string() };
            let mut at = at.index(text.len());
            while !text.is_char_boundary(at) { at -= 1; }
            let byte = char::from(byte).to_string();
            match change {
                0 => text.insert_str(at, &byte),
                1 => drop(text.remove(at)),
                _ => {
                    text.remove(at);
                    text.insert_str(at, &byte);
                }
            }
            prop_assert_eq!(is_json(&text), serde_json::from_str::<IgnoredAny>(&text).is_ok(), "{}", text);
            let _ = read(&mut Cursor::new(&text));
        }

        #[test]
        fn nothing_breaks_it(text in "[\"\\{}\\[\\]:,0-9.eE+\\-truefalsn u\t]{0,12}") {
            prop_assert_eq!(is_json(&text), serde_json::from_str::<IgnoredAny>(&text).is_ok());
            let _ = read(&mut Cursor::new(&text));
        }
    }

    /// At each place of strings that are shorter and longer than what is looked at in one step, in values and in names.
    #[test]
    fn no_byte_of_a_string_is_passed_over() {
        for length in 0..20 {
            for at in 0..=length {
                for odd in [
                    "\u{0}", "\u{1}", "\n", "\u{1f}", " ", "\u{7f}", "\u{e9}", "\\", "\\x",
                    "\\u12g4", "\\n", "\"",
                ] {
                    let (begin, end) = ("a".repeat(at), "b".repeat(length - at));
                    for text in [
                        format!("\"{begin}{odd}{end}\""),
                        format!("{{\"{begin}{odd}{end}\": 1}}"),
                        format!("[\"{begin}{odd}{end}\", \"and more of it\"]"),
                    ] {
                        let expected = serde_json::from_str::<IgnoredAny>(&text).is_ok();
                        assert_eq!(is_json(&text), expected, "{text:?}");
                    }
                }
            }
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
        for depth in [DEPTH_MAX, DEPTH_MAX + 1, 100_000] {
            let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let found = (depth <= DEPTH_MAX).then_some(deep.as_str());
            assert_eq!(Cursor::new(&deep).value(), found);
        }
    }
}
