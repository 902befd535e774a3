//! What one evaluation may use up, and how it fails.

use super::functions;
use crate::contract::Deadline;
use regex::Regex;
use std::borrow::Cow;
use std::rc::Rc;

/// Steps of one expression, as the API server limits them: about a tenth of a second at worst.
pub const STEPS_MAX: u64 = 1_000_000;
/// Bytes that one expression may make, garbage included.
pub const BYTES_MAX: usize = 8 << 20;
/// Bytes of a compiled regular expression.
const REGEX_MAX_BYTES: usize = 1 << 20;
/// How many regular expressions that are not known before are kept for the next call.
const REGEXES_KEPT: usize = 8;
/// The clock is looked at this often, in steps.
const CLOCK_STEPS: u64 = 4096;

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fail {
    /// As CEL knows errors: `||` and `&&` may not need the value.
    #[error("{0}")]
    Error(Cow<'static, str>),
    /// The evaluation is stopped; nothing absorbs that.
    #[error("{0}")]
    Stopped(Limit),
}

impl Fail {
    /// An error with that message, as cel-go words it.
    pub fn error(message: impl Into<Cow<'static, str>>) -> Fail {
        Fail::Error(message.into())
    }

    /// What cel-go says where no overload fits the values.
    #[must_use]
    pub fn no_such_overload() -> Fail {
        Fail::Error(Cow::Borrowed("no such overload"))
    }
}

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// Steps.
    #[error("it takes more than {STEPS_MAX} steps")]
    Steps,
    /// Memory.
    #[error("it makes more than {} MiB of values", BYTES_MAX >> 20)]
    Bytes,
    /// Time.
    #[error("the time for the answer is over")]
    Time,
}

/// One evaluation as it runs.
pub struct Run<'r> {
    steps_left: u64,
    /// As many as there were.
    steps: u64,
    bytes_left: usize,
    bytes: usize,
    clock: u64,
    deadline: Option<Deadline>,
    /// Those that the expression names, compiled with it.
    known: &'r [(Box<str>, Regex)],
    kept: Vec<Rc<(Box<str>, Regex)>>,
}

/// A regular expression that is ready.
pub enum Ready<'r> {
    /// With the expression.
    Known(&'r Regex),
    /// While it runs.
    Kept(Rc<(Box<str>, Regex)>),
}

impl std::ops::Deref for Ready<'_> {
    type Target = Regex;

    fn deref(&self) -> &Regex {
        match self {
            Ready::Known(regex) => regex,
            Ready::Kept(kept) => &kept.1,
        }
    }
}

impl<'r> Run<'r> {
    /// With the usual limits, but for the steps, of which there are fewer.
    #[must_use]
    pub fn within(deadline: Deadline, steps: u64) -> Run<'r> {
        Run {
            steps_left: steps.min(STEPS_MAX),
            steps: steps.min(STEPS_MAX),
            ..Run::new(Some(deadline), &[])
        }
    }

    /// With the usual limits. `known` are regular expressions that are compiled already, by their text.
    #[must_use]
    pub fn new(deadline: Option<Deadline>, known: &'r [(Box<str>, Regex)]) -> Run<'r> {
        Run {
            steps_left: STEPS_MAX,
            steps: STEPS_MAX,
            bytes_left: BYTES_MAX,
            bytes: BYTES_MAX,
            clock: CLOCK_STEPS,
            deadline,
            known,
            kept: Vec::new(),
        }
    }

    /// Puts the regular expressions of another program first; gives those before, for [`Run::leave`].
    pub fn enter(&mut self, known: &'r [(Box<str>, Regex)]) -> &'r [(Box<str>, Regex)] {
        std::mem::replace(&mut self.known, known)
    }

    /// Puts those before first again.
    pub fn leave(&mut self, around: &'r [(Box<str>, Regex)]) {
        self.known = around;
    }

    /// With no more than so many bytes.
    pub fn limit_bytes(&mut self, bytes: usize) {
        self.bytes_left = self.bytes_left.min(bytes);
        self.bytes = self.bytes_left;
    }

    /// How many bytes have been made.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes - self.bytes_left
    }

    /// How many steps have been taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps - self.steps_left
    }

    /// Takes so many steps. A step is what takes a few nanoseconds: a look-up, a comparison, ten bytes of a text.
    #[inline]
    pub fn spend(&mut self, steps: u64) -> Result<(), Fail> {
        match self.steps_left.checked_sub(steps) {
            Some(left) => self.steps_left = left,
            None => {
                self.steps_left = 0;
                return Err(Fail::Stopped(Limit::Steps));
            }
        }
        match self.clock.checked_sub(steps) {
            Some(left) => self.clock = left,
            None => {
                self.clock = CLOCK_STEPS;
                if self
                    .deadline
                    .is_some_and(|deadline| deadline.check().is_err())
                {
                    return Err(Fail::Stopped(Limit::Time));
                }
            }
        }
        Ok(())
    }

    /// Looks at so many bytes of text: a step for ten of them, as the API server counts.
    pub fn scan(&mut self, bytes: usize) -> Result<(), Fail> {
        self.spend(as_steps(bytes / 10 + 1))
    }

    /// Makes so many bytes, before they are made.
    pub fn allocate(&mut self, bytes: usize) -> Result<(), Fail> {
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => self.bytes_left = left,
            None => return Err(Fail::Stopped(Limit::Bytes)),
        }
        self.scan(bytes)
    }

    /// A regular expression in Go's words, compiled once. Linear in time, limited in size.
    pub fn regex(&mut self, pattern: &str) -> Result<Ready<'r>, Fail> {
        let known = self.known.iter().find(|(text, _)| **text == *pattern);
        if let Some((_, regex)) = known {
            return Ok(Ready::Known(regex));
        }
        let kept = self.kept.iter().find(|kept| *kept.0 == *pattern);
        if let Some(kept) = kept {
            return Ok(Ready::Kept(kept.clone()));
        }
        self.spend(functions::regex::compile_steps(pattern))?;
        let regex = functions::regex::compile(pattern)?;
        let kept = Rc::new((pattern.into(), regex));
        if self.kept.len() == REGEXES_KEPT {
            self.kept.remove(0);
        }
        self.kept.push(Rc::clone(&kept));
        Ok(Ready::Kept(kept))
    }
}

/// Counts fit.
#[must_use]
pub fn as_steps(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Limits of a compiled regular expression, in bytes.
#[must_use]
pub fn regex_max_bytes() -> usize {
    REGEX_MAX_BYTES
}
