//! Header fields of one head.

use std::str;

use crate::names::Marks;

/// Header fields in the order of the wire, names in lower case. All of them are copied into two texts: nothing of the
/// record stays, and no field has memory of its own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    names: String,
    values: Vec<u8>,
    /// Where in both texts each field ends.
    ends: Vec<(u32, u32)>,
    /// Of the names.
    marks: Marks,
}

/// Values are shown by no `Debug`: they can hold secrets.
impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

impl Headers {
    /// Room for so many fields, with so many bytes of names and of values.
    pub(super) fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self {
            names: String::with_capacity(bytes),
            values: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(fields),
            marks: Marks::NONE,
        }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all names and values.
    pub fn bytes(&self) -> usize {
        self.names.len() + self.values.len()
    }

    /// Adds a field at the end. Names and values have at most 4 GiB together.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let start = self.names.len();
        self.names.push_str(name);
        self.names[start..].make_ascii_lowercase();
        self.marks = self.marks.with(&self.names.as_bytes()[start..]);
        self.values.extend_from_slice(value);
        self.ends.push((self.names.len() as u32, self.values.len() as u32));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let (mut name, mut value) = (0, 0);
        self.ends.iter().map(move |&(name_end, value_end)| {
            let field = (&self.names[name..name_end as usize], &self.values[value..value_end as usize]);
            (name, value) = (name_end as usize, value_end as usize);
            field
        })
    }

    /// Every value of `name` (lower case).
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let (names, values) = (self.names.as_bytes(), &self.values);
        let (mut start, mut value) = (0, 0);
        // A call is asked for some thirty fields, most of which it lacks.
        let ends = if self.marks.may_have(name.as_bytes()) { &self.ends[..] } else { &[] };
        ends.iter().filter_map(move |&(name_end, value_end)| {
            let (before, value_start) = (start, value);
            (start, value) = (name_end as usize, value_end as usize);
            (start - before == name.len() && &names[before..start] == name.as_bytes())
                .then(|| &values[value_start..value])
        })
    }

    /// Whether a field is there, whatever its value.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The first value of `name` (lower case) that is valid UTF-8, trimmed.
    pub fn get(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.all(name).next()?).ok().map(str::trim)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut headers = Self::default();
        fields.into_iter().for_each(|(name, value)| headers.push(name.as_ref(), value.as_ref()));
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_names() {
        let headers: Headers = [("Accept", " a "), ("x", ""), ("ACCEPT", "b"), ("accept-x", "c")].into_iter().collect();
        let fields: Vec<_> = headers.iter().collect();
        assert_eq!(fields, [("accept", &b" a "[..]), ("x", b""), ("accept", b"b"), ("accept-x", b"c")]);
        assert_eq!((headers.get("accept"), headers.get("x"), headers.get("y")), (Some("a"), Some(""), None));
        assert_eq!(headers.all("accept").collect::<Vec<_>>(), [&b" a "[..], b"b"]);
        assert!(headers.has("accept-x") && !headers.has("accep"));
        assert_eq!((headers.len(), headers.bytes()), (4, 26));
        assert_eq!(format!("{headers:?}"), r#"["accept", "x", "accept", "accept-x"]"#);
    }
}
