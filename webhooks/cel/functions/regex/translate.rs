//! From Go's syntax of regular expressions to that of the `regex` crate.
//!
//! What is written has no flags that reach beyond one character or class, no captures, no escapes but code points,
//! and no classes but ranges and Unicode's own: where both syntaxes use the same signs for different things it says
//! which is meant.

use super::class::write_range;
use super::refused;
use crate::cel::run::Fail;

/// Go's limit of one count of repetitions and of the product of nested ones.
const REPETITIONS_MAX: u32 = 1000;
/// Groups in groups; Go would take ten times as many.
const GROUPS_MAX: usize = 100;
/// Matches nothing.
pub(super) const NEVER: &str = r"[^\x{0}-\x{10FFFF}]";

/// What `(?...)` switches: four things that are on or off.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) folds_case: bool,
    has_lines: bool,
    dot_takes_newline: bool,
    is_lazy: bool,
}

/// What a repetition would repeat.
#[derive(Clone, Copy)]
struct Last {
    start: usize,
    /// The most that nested counts multiply to in it.
    product: u32,
    is_repeated: bool,
}

/// A group that is not closed yet, or the whole.
#[derive(Default)]
struct Group {
    /// What holds again after it.
    flags: Flags,
    text: String,
    last: Option<Last>,
    /// The greatest product of its parts so far.
    product: u32,
}

pub(super) struct Translation<'p> {
    pub(super) pattern: &'p str,
    pub(super) at: usize,
    pub(super) flags: Flags,
    outer: Vec<Group>,
    group: Group,
    pub(super) unicode_classes: usize,
    /// False where no name of a class can end any more: nothing is looked for again and again.
    pub(super) names_classes: bool,
}

/// The same regular expression for the engine.
pub(super) fn translate(pattern: &str) -> Result<String, Fail> {
    let mut translation = Translation {
        pattern,
        at: 0,
        flags: Flags::default(),
        outer: Vec::new(),
        group: Group::default(),
        unicode_classes: 0,
        names_classes: true,
    };
    // Where the repetition started that stands right before, if one does.
    let mut repetition = None;
    while translation.at < pattern.len() {
        repetition = translation.next(repetition)?;
    }
    if !translation.outer.is_empty() {
        return Err(refused("missing closing )", pattern));
    }
    Ok(translation.group.text)
}

impl<'p> Translation<'p> {
    pub(super) fn rest(&self) -> &'p str {
        self.from(self.at)
    }

    pub(super) fn from(&self, start: usize) -> &'p str {
        self.pattern.get(start..).unwrap_or_default()
    }

    /// The pattern from there to where it is read.
    pub(super) fn since(&self, start: usize) -> &'p str {
        self.pattern.get(start..self.at).unwrap_or_default()
    }

    pub(super) fn take(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    pub(super) fn skip(&mut self, prefix: &str) -> bool {
        let is_there = self.rest().starts_with(prefix);
        if is_there {
            self.at += prefix.len();
        }
        is_there
    }

    /// Reads one element. Gives where it started if it is a repetition.
    fn next(&mut self, repetition: Option<usize>) -> Result<Option<usize>, Fail> {
        let start = self.at;
        let Some(first) = self.take() else {
            return Ok(None);
        };
        match first {
            '(' => self.open()?,
            '|' => {
                self.group.text.push('|');
                self.group.last = None;
            }
            ')' => self.close()?,
            '^' => self.push(if self.flags.has_lines {
                "(?m:^)"
            } else {
                r"(?:\A)"
            }),
            '$' => self.push(if self.flags.has_lines {
                "(?m:$)"
            } else {
                r"(?:\z)"
            }),
            '.' => self.push(if self.flags.dot_takes_newline {
                "(?s:.)"
            } else {
                "."
            }),
            '[' => self.class(start)?,
            '*' => return self.repeat(start, "*", None, repetition),
            '+' => return self.repeat(start, "+", None, repetition),
            '?' => return self.repeat(start, "?", None, repetition),
            '{' => match self.counts() {
                Some(counts) => return self.repeat_counted(start, counts, repetition),
                None => self.literal(u32::from('{')),
            },
            '\\' => self.escape(start)?,
            other => self.literal(u32::from(other)),
        }
        Ok(None)
    }

    /// Adds an element that can be repeated as it stands.
    pub(super) fn push(&mut self, element: &str) {
        self.push_weighed(element, 1);
    }

    fn push_weighed(&mut self, element: &str, product: u32) {
        self.group.last = Some(Last {
            start: self.group.text.len(),
            product,
            is_repeated: false,
        });
        self.group.product = self.group.product.max(product);
        self.group.text.push_str(element);
    }

    fn literal(&mut self, code: u32) {
        let mut element = String::new();
        if !write_range(&mut element, code, code) {
            element.push_str(NEVER);
        }
        if self.flags.folds_case && char::from_u32(code).is_some_and(has_case) {
            element = format!("(?i:{element})");
        }
        self.push(&element);
    }

    fn open(&mut self) -> Result<(), Fail> {
        let restored = self.flags;
        if self.rest().starts_with('?') && !self.perl_group()? {
            return Ok(());
        }
        if self.outer.len() >= GROUPS_MAX {
            return Err(refused("expression nests too deeply", self.pattern));
        }
        let inner = Group {
            flags: restored,
            ..Group::default()
        };
        self.outer.push(std::mem::replace(&mut self.group, inner));
        Ok(())
    }

    /// Reads what follows `(` where that is `?`. Gives whether a group opens.
    fn perl_group(&mut self) -> Result<bool, Fail> {
        let start = self.at - 1;
        let mut openings = ["?P<", "?<"].into_iter();
        let opening = openings.find(|opening| {
            // Without anything behind it, it is no name.
            self.rest().len() > opening.len() && self.rest().starts_with(opening)
        });
        if let Some(opening) = opening {
            return self.name(start, opening.len()).map(|()| true);
        }
        self.at += 1;
        let mut flags = self.flags;
        let (mut is_on, mut saw_flag) = (true, false);
        while let Some(next) = self.take() {
            match next {
                'i' => flags.folds_case = is_on,
                'm' => flags.has_lines = is_on,
                's' => flags.dot_takes_newline = is_on,
                'U' => flags.is_lazy = is_on,
                '-' if is_on => {
                    is_on = false;
                    saw_flag = false;
                    continue;
                }
                ':' | ')' if is_on || saw_flag => {
                    self.flags = flags;
                    return Ok(next == ':');
                }
                _ => break,
            }
            saw_flag = true;
        }
        Err(refused(
            "invalid or unsupported Perl syntax",
            self.since(start),
        ))
    }

    /// Reads the name of a capture: nobody asks for captures, so it only has to be one.
    fn name(&mut self, start: usize, opening: usize) -> Result<(), Fail> {
        let Some((name, _)) = self
            .rest()
            .get(opening..)
            .and_then(|rest| rest.split_once('>'))
        else {
            return Err(refused("invalid named capture", self.from(start)));
        };
        self.at += opening + name.len() + 1;
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
        if is_name {
            Ok(())
        } else {
            Err(refused("invalid named capture", self.since(start)))
        }
    }

    fn close(&mut self) -> Result<(), Fail> {
        let Some(outer) = self.outer.pop() else {
            return Err(refused("unexpected )", self.pattern));
        };
        let closed = std::mem::replace(&mut self.group, outer);
        self.flags = closed.flags;
        self.push_weighed(&format!("(?:{})", closed.text), closed.product.max(1));
        Ok(())
    }

    /// Reads what follows `{` if it is counts. Too large ones are none.
    fn counts(&mut self) -> Option<(Option<u32>, Option<u32>)> {
        let rest = self.rest();
        let is_count = |byte: &u8| byte.is_ascii_digit() || *byte == b',';
        let (counts, after) = rest.split_at_checked(rest.bytes().take_while(is_count).count())?;
        if !after.starts_with('}') {
            return None;
        }
        let number = |text: &str| {
            let is_number = !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && (text == "0" || !text.starts_with('0'));
            is_number.then(|| text.parse().ok().filter(|count| *count <= REPETITIONS_MAX))
        };
        let both = match counts.split_once(',') {
            None => {
                let count = number(counts)?;
                (count, count)
            }
            Some((least, "")) => {
                let least = number(least)?;
                (least, least.map(|_| u32::MAX))
            }
            Some((least, most)) => (number(least)?, number(most)?),
        };
        self.at += counts.len() + 1;
        Some(both)
    }

    fn repeat_counted(
        &mut self,
        start: usize,
        counts: (Option<u32>, Option<u32>),
        repetition: Option<usize>,
    ) -> Result<Option<usize>, Fail> {
        let (Some(least), Some(most)) = counts else {
            return Err(refused("invalid repeat count", self.since(start)));
        };
        if least > most {
            return Err(refused("invalid repeat count", self.since(start)));
        }
        let operator = if most == u32::MAX {
            format!("{{{least},}}")
        } else {
            format!("{{{least},{most}}}")
        };
        self.repeat(start, &operator, Some((least, most)), repetition)
    }

    /// Repeats the last element.
    fn repeat(
        &mut self,
        start: usize,
        operator: &str,
        counts: Option<(u32, u32)>,
        repetition: Option<usize>,
    ) -> Result<Option<usize>, Fail> {
        let is_lazy = self.skip("?") != self.flags.is_lazy;
        if let Some(before) = repetition {
            return Err(refused(
                "invalid nested repetition operator",
                self.since(before),
            ));
        }
        let Some(last) = self.group.last else {
            return Err(refused(
                "missing argument to repetition operator",
                self.since(start),
            ));
        };
        let mut product = last.product;
        if let Some((least, most)) = counts {
            let times = if most == u32::MAX { least } else { most };
            product = if most == 0 {
                1
            } else {
                product.saturating_mul(times.max(1))
            };
            if times >= 2 && product > REPETITIONS_MAX {
                return Err(refused("invalid repeat count", self.since(start)));
            }
        }
        if last.is_repeated {
            self.group.text.insert_str(last.start, "(?:");
            self.group.text.push(')');
        }
        self.group.text.push_str(operator);
        if is_lazy {
            self.group.text.push('?');
        }
        self.group.product = self.group.product.max(product);
        self.group.last = Some(Last {
            start: last.start,
            product,
            is_repeated: true,
        });
        Ok(Some(start))
    }

    /// Reads what follows a backslash outside a class.
    fn escape(&mut self, start: usize) -> Result<(), Fail> {
        match self.rest().chars().next() {
            Some('A') => self.push_taken(r"(?:\A)"),
            Some('z') => self.push_taken(r"(?:\z)"),
            Some('b') => self.push_taken(r"(?-u:\b)"),
            Some('B') => self.push_taken(r"(?-u:\B)"),
            Some('Q') => {
                self.at += 1;
                let rest = self.rest();
                let (literal, length) = match rest.split_once(r"\E") {
                    Some((literal, _)) => (literal, literal.len() + 2),
                    None => (rest, rest.len()),
                };
                for character in literal.chars() {
                    self.literal(u32::from(character));
                }
                self.at += length;
            }
            _ => {
                self.at = start;
                let mut class = String::new();
                if self.class_escape(&mut class)? {
                    let folds = if self.flags.folds_case { "(?i:" } else { "(?:" };
                    self.push(&format!("{folds}[{class}])"));
                } else {
                    let code = self.code()?;
                    self.literal(code);
                }
            }
        }
        Ok(())
    }

    fn push_taken(&mut self, element: &str) {
        self.at += 1;
        self.push(element);
    }
}

/// Whether folding its case may find others: of what is not a letter of ASCII, it is the engine that knows.
fn has_case(character: char) -> bool {
    !character.is_ascii() || character.is_ascii_alphabetic()
}
