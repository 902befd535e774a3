//! A text of which parts are taken apart when somebody looks, and once: rules look at the same parts.

use super::text::{Piece, Text};
use std::cell::{Cell, OnceCell};
use std::fmt;

/// Takes parts of one text apart, each of them once.
pub trait Texts {
    /// That part, taken apart; none when it is no part of the text or cannot be held.
    fn text(&self, part: &str) -> Option<&Text<'_>>;

    /// The same as a place.
    fn piece(&self, part: &str) -> Option<Piece<'_>> {
        self.text(part).map(Text::root)
    }
}

impl fmt::Debug for dyn Texts + '_ {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("parts of a text")
    }
}

/// A text of which parts are taken apart when somebody looks.
#[derive(Debug)]
pub struct Document<'t> {
    text: &'t str,
    is_exact: bool,
    first: OnceCell<Box<Taken<'t>>>,
    is_unreadable: Cell<bool>,
}

#[derive(Debug)]
struct Taken<'t> {
    part: &'t str,
    parts: Option<Text<'t>>,
    next: OnceCell<Box<Taken<'t>>>,
}

impl<'t> Document<'t> {
    /// Of a text that is JSON; its numbers as Kubernetes holds them.
    #[must_use]
    pub fn new(text: &'t str) -> Document<'t> {
        Document {
            text,
            is_exact: true,
            first: OnceCell::new(),
            is_unreadable: Cell::new(false),
        }
    }

    /// The same for values: its numbers as Helm holds them.
    #[must_use]
    pub fn of_values(text: &'t str) -> Document<'t> {
        Document {
            is_exact: false,
            ..Document::new(text)
        }
    }

    /// Whether somebody has looked at a part that cannot be held: it has looked empty then.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.is_unreadable.get()
    }
}

impl Texts for Document<'_> {
    fn text(&self, part: &str) -> Option<&Text<'_>> {
        let start = part
            .as_ptr()
            .addr()
            .checked_sub(self.text.as_ptr().addr())?;
        let part = self.text.get(start..start.checked_add(part.len())?)?;
        let mut cell = &self.first;
        loop {
            let taken = cell.get_or_init(|| {
                let parts = if self.is_exact {
                    Text::read_exact(part)
                } else {
                    Text::read(part)
                };
                Box::new(Taken {
                    part,
                    parts: parts.ok(),
                    next: OnceCell::new(),
                })
            });
            if std::ptr::eq(taken.part, part) {
                if taken.parts.is_none() {
                    self.is_unreadable.set(true);
                }
                return taken.parts.as_ref();
            }
            cell = &taken.next;
        }
    }
}
