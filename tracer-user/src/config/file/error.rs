//! What is wrong with the file: where, and what to do. No text of it repeats a value that the file or the environment
//! gives, since it may be a secret in the wrong place.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

/// One line for people: the line of the file, the path of the key, and the problem.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
pub struct Error {
    pub line: Option<u64>,
    /// From the inside out, as an error finds its way up.
    path: Vec<String>,
    pub problem: String,
}

impl Error {
    pub fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), ..Self::default() }
    }

    #[must_use]
    pub fn at_line(mut self, line: u64) -> Self {
        // The innermost place is the one.
        self.line.get_or_insert(line);
        self
    }

    /// The error stands within this key, `.key` or `[index]`.
    #[must_use]
    pub fn within(mut self, key: String) -> Self {
        self.path.push(key);
        self
    }

    /// `exporters.otlp[0].endpoint`; empty for the file as a whole.
    #[must_use]
    pub fn path(&self) -> String {
        let path: String = self.path.iter().rev().map(String::as_str).collect();
        path.strip_prefix('.').unwrap_or(&path).to_owned()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        match self.path() {
            path if path.is_empty() => {}
            path => write!(f, "{path}: ")?,
        }
        f.write_str(&self.problem)
    }
}

impl de::Error for Error {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self::new(problem.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {}", kind(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found another {}", kind(found)))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("use {}", any_of(expected)))
    }

    fn unknown_field(key: &str, expected: &'static [&'static str]) -> Self {
        let hint = match nearest(key, expected) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", any_of(expected)),
        };
        Self::new(format!("unknown key; {hint}")).within(format!(".{key}"))
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new("is needed").within(format!(".{key}"))
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::new("stands twice").within(format!(".{key}"))
    }
}

fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "number",
        Unexpected::Str(_) | Unexpected::Char(_) | Unexpected::Bytes(_) => "text",
        Unexpected::Unit | Unexpected::Option => "nothing",
        Unexpected::Seq => "list",
        Unexpected::Map => "keys and values",
        _ => "value",
    }
}

fn any_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "none".to_owned(),
    }
}

/// The known key that was likely meant.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    /// Of Jaro and Winkler's measure, which gives 1 for the same text. clap's own suggestions ask for as much.
    const ALIKE: f64 = 0.7;
    let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
    let key = plain(key);
    let likeness = |name: &&'a str| (strsim::jaro_winkler(&key, &plain(name)), *name);
    let best = known.iter().map(likeness).max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (best.0 > ALIKE).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use serde::de::Error as _;

    use super::*;

    #[test]
    fn the_nearest_key_is_named() {
        let known = &["endpoint", "protocol", "headers"];
        let told = |key| Error::unknown_field(key, known).to_string();
        assert_eq!(told("endpont"), "endpont: unknown key; did you mean `endpoint`?");
        assert_eq!(told("Header"), "Header: unknown key; did you mean `headers`?");
        assert_eq!(told("xyz"), "xyz: unknown key; known are `endpoint`, `protocol` or `headers`");
    }

    #[test]
    fn the_path_is_told_from_the_outside_in() {
        let error = Error::new("is needed").within(".endpoint".into()).at_line(7).within("[0]".into());
        let error = error.within(".otlp".into()).at_line(2);
        assert_eq!(error.to_string(), "line 7: otlp[0].endpoint: is needed");
    }
}
