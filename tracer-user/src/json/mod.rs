//! A push scanner for JSON: takes a document in any cuts, hands over the values at the places that a [`Shape`] names and
//! skips everything else without building anything.
//!
//! A prompt of many megabytes passes through in constant memory: what is kept at any time is one stack frame for each
//! named container, one key or number that a cut went through, and one captured string up to its cap.
//!
//! What is handed over is exact: the values that a full parse of the same document gives at the same places. What is
//! skipped is checked only as far as skipping needs (strings end, brackets balance): whether an application's own
//! document is valid in the parts that nobody reads is not ours to judge.

mod bytes;
mod fuzz;
mod scanner;
mod text;

#[cfg(test)]
mod tests;

pub use bytes::{container_length, number_length, string_end, string_length};
pub use scanner::{Ending, Passed, Passing, Scanner};

use crate::names::Marks;

/// Longest captured string or number, in bytes as written, unless a shape says otherwise. Names and ids are far shorter.
pub const VALUE_BYTES: u32 = 512;

/// What to do with a scalar at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Pass over it.
    Skip,
    /// Hand over numbers, booleans and null; of a string only whether it is empty.
    Presence,
    /// Hand over its value, strings up to this many bytes as written.
    Value(u32),
    /// The same of a number whose meaning does not depend on what stands around it, see [`Scanner::passed`].
    Number,
    /// Hand over a string's decoded text in pieces as it comes, then its [`Scalar::Opaque`].
    Text,
}

/// The wanted places below one value. The same value may be a scalar, an object or an array: each facet applies to its
/// own kind, and a container without its facet is skipped after [`Sink::open`].
#[derive(Debug, Clone, Copy)]
pub struct Shape<F: 'static> {
    field: Option<F>,
    take: Take,
    members: &'static [(&'static str, Shape<F>)],
    /// Further members, beside those that several shapes share.
    more: &'static [(&'static str, Shape<F>)],
    /// Of the members' names.
    marks: Marks,
    items: Option<&'static Shape<F>>,
}

impl<F: Copy + 'static> Shape<F> {
    const fn place(field: Option<F>, take: Take) -> Self {
        Self { field, take, members: &[], more: &[], marks: Marks::NONE, items: None }
    }

    /// A place that is only passed through on the way to its members or items.
    pub const fn through() -> Self {
        Self::place(None, Take::Skip)
    }

    /// A place whose containers are told, and whose scalars are not.
    pub const fn container(field: F) -> Self {
        Self::place(Some(field), Take::Skip)
    }

    pub const fn value(field: F) -> Self {
        Self::place(Some(field), Take::Value(VALUE_BYTES))
    }

    /// A count or measure: what it tells does not depend on what stands around it.
    pub const fn number(field: F) -> Self {
        Self::place(Some(field), Take::Number)
    }

    pub const fn presence(field: F) -> Self {
        Self::place(Some(field), Take::Presence)
    }

    pub const fn text(field: F) -> Self {
        Self::place(Some(field), Take::Text)
    }

    /// Adds the wanted members for the case that the value is an object.
    pub const fn members(self, members: &'static [(&'static str, Shape<F>)]) -> Self {
        Self { members, marks: self.marks.and(marks(members)), ..self }
    }

    /// Adds members to those of a list that several shapes share.
    pub const fn and(self, more: &'static [(&'static str, Shape<F>)]) -> Self {
        Self { more, marks: self.marks.and(marks(more)), ..self }
    }

    /// Adds the shape of the items for the case that the value is an array.
    pub const fn items(self, items: &'static Shape<F>) -> Self {
        Self { items: Some(items), ..self }
    }

    /// What a place tells.
    pub fn field(&self) -> Option<F> {
        self.field
    }

    /// The places of two shapes in one, so that a document need not be read twice for them. A place of both is read as
    /// this shape says, but that a value goes before its presence. Shapes last as long as the program: the caller makes
    /// each once.
    pub fn beside<O: Copy + 'static>(&self, other: Option<&Shape<O>>) -> Shape<Beside<F, O>> {
        let names = self.members.iter().chain(self.more);
        let mut members: Vec<_> = names
            .map(|(name, shape)| (*name, shape.beside(other.and_then(|other| other.member(name.as_bytes())))))
            .collect();
        if let Some(other) = other {
            let new = other.members.iter().chain(other.more).filter(|(name, _)| self.member(name.as_bytes()).is_none());
            members.extend(new.map(|(name, shape)| (*name, Self::through().beside(Some(shape)))));
        }
        let members: &'static [_] = Box::leak(members.into_boxed_slice());
        let aside = other.and_then(|other| other.field);
        let take = match (self.take, other.map_or(Take::Skip, |other| other.take)) {
            (Take::Skip | Take::Presence, other) if aside.is_some() => other,
            (own, _) => own,
        };
        let field = (self.field.is_some() || aside.is_some()).then_some(Beside { own: self.field, aside });
        let items = self.items.map(|items| &*Box::leak(Box::new(items.beside(None))));
        Shape { field, take, members, more: &[], marks: marks(members), items }
    }

    /// The wanted member of this name.
    pub fn member(&self, key: &[u8]) -> Option<&'static Shape<F>> {
        if !self.marks.may_have(key) {
            return None;
        }
        let first = key.first();
        let fits = |name: &[u8]| name.len() == key.len() && name.first() == first && name == key;
        self.members.iter().chain(self.more).find(|(name, _)| fits(name.as_bytes())).map(|(_, shape)| shape)
    }
}

/// A place of two shapes, see [`Shape::beside`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beside<F, O> {
    pub own: Option<F>,
    pub aside: Option<O>,
}

const fn marks<F: 'static>(members: &[(&'static str, Shape<F>)]) -> Marks {
    let mut marks = Marks::NONE;
    let mut index = 0;
    while index < members.len() {
        marks = marks.with(members[index].0.as_bytes());
        index += 1;
    }
    marks
}

/// A scalar as handed over.
#[derive(Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    Null,
    Bool(bool),
    /// As written.
    Number(&'a str),
    /// Decoded. `cut` when it was longer than its cap: then only its beginning is here.
    Text {
        value: &'a str,
        cut: bool,
    },
    /// A string whose text is not handed over here.
    Opaque {
        empty: bool,
    },
}

/// Strings can be payload: their text is not shown.
impl std::fmt::Debug for Scalar<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Bool(value) => write!(f, "Bool({value})"),
            Self::Number(value) => write!(f, "Number({value})"),
            Self::Text { value, cut } => write!(f, "Text({} bytes, cut: {cut})", value.len()),
            Self::Opaque { empty } => write!(f, "Opaque(empty: {empty})"),
        }
    }
}

impl Scalar<'_> {
    /// A count: a whole number, also when written as `3.0`.
    pub fn count(&self) -> Option<u64> {
        let Self::Number(number) = self else {
            return None;
        };
        if let Ok(count) = number.parse() {
            return Some(count);
        }
        let number: f64 = number.parse().ok()?;
        // 2^53: above it a float no longer names each whole number.
        (number >= 0.0 && number.fract() == 0.0 && number <= 9_007_199_254_740_992.0).then_some(number as u64)
    }

    pub fn signed(&self) -> Option<i64> {
        let Self::Number(number) = self else {
            return None;
        };
        number.parse().ok()
    }

    pub fn float(&self) -> Option<f64> {
        let Self::Number(number) = self else {
            return None;
        };
        number.parse().ok().filter(|number: &f64| number.is_finite())
    }

    pub fn bool(&self) -> Option<bool> {
        let Self::Bool(value) = *self else {
            return None;
        };
        Some(value)
    }

    /// The text of a string that is whole and not empty.
    pub fn str(&self) -> Option<&str> {
        match *self {
            Self::Text { value, cut: false } if !value.is_empty() => Some(value),
            _ => None,
        }
    }

    /// Any scalar but null, false and the empty string.
    pub fn is_present(&self) -> bool {
        match *self {
            Self::Null | Self::Bool(false) | Self::Opaque { empty: true } => false,
            Self::Text { value, .. } => !value.is_empty(),
            _ => true,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    Object,
    Array,
}

/// Receives what a shape names, in the order of the document.
pub trait Sink<F> {
    fn scalar(&mut self, field: F, value: Scalar<'_>);

    fn open(&mut self, field: F, container: Container) {
        let _ = (field, container);
    }

    /// The end of a container that was opened. It does not come when the document ends early.
    fn close(&mut self, field: F) {
        let _ = field;
    }

    /// Whether the text of the string that begins now is wanted.
    fn wants_text(&mut self, field: F) -> bool {
        let _ = field;
        true
    }

    /// The next decoded piece of a string's text. Pieces of bytes that are not UTF-8 pass as they are.
    fn text(&mut self, field: F, piece: &[u8]) {
        let _ = (field, piece);
    }
}

/// Feeds arbitrary bytes, whole and in cuts: what is handed over must not depend on the cuts.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    fuzz::fuzz(data);
}
