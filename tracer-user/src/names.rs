//! Sets of names that refuse most others without comparing them.

/// Marks of the names of a set: another name's mark is mostly not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks(u64);

impl Marks {
    pub const NONE: Self = Self(0);

    #[must_use]
    pub const fn with(self, name: &[u8]) -> Self {
        Self(self.0 | mark(name))
    }

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// `false`: the name is surely none of the set.
    pub const fn may_have(self, name: &[u8]) -> bool {
        self.0 & mark(name) != 0
    }
}

/// One bit for a name, by its length, its first and its last letter.
const fn mark(name: &[u8]) -> u64 {
    let bit = match name {
        [] => 0,
        [first, .., last] => name.len() + 5 * *first as usize + 11 * *last as usize,
        [only] => 1 + 16 * *only as usize,
    };
    1 << (bit % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_set_are_never_refused() {
        let names = ["", "a", "ab", "model", "messages", "content-type"];
        let marks = names.iter().fold(Marks::NONE, |marks, name| marks.with(name.as_bytes()));
        assert!(names.iter().all(|name| marks.may_have(name.as_bytes())));
        assert_eq!(marks.and(Marks::NONE), marks);
        let others = ["user", "x-request-id", "date", "server", "stream", "seed", "temperature", "tools"];
        assert!(others.iter().filter(|name| marks.may_have(name.as_bytes())).count() < others.len() / 2);
        assert!(!Marks::NONE.may_have(b"a"));
    }
}
