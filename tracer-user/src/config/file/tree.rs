//! The file as a tree that knows its lines, with `${env:NAME}` replaced.
//!
//! Variables are replaced in the values of the tree, not in the file's text: whatever a variable holds, it stays within
//! its value.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use super::{error::Error, expand};

/// The environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub line: u64,
    /// Part of the text came from the environment: it may be read as any type, and may be a secret.
    pub expanded: bool,
    pub kind: Kind,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// Key, line of the key, value.
    Map(Vec<(String, u64, Node)>),
}

/// Values may be credentials.
impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(list) => list.fmt(f),
            Self::Map(entries) => f.debug_map().entries(entries.iter().map(|(key, _, value)| (key, value))).finish(),
            _ => f.write_str("_"),
        }
    }
}

impl Node {
    /// Reads YAML and replaces variables.
    ///
    /// # Errors
    /// What is no YAML, and variables that are not set.
    pub fn parse(text: &str, environment: Environment<'_>) -> Result<Self, Error> {
        // A file of comments alone.
        let empty = text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#'));
        if empty {
            return Ok(Self { line: 1, expanded: false, kind: Kind::Map(Vec::new()) });
        }
        let read: Result<Spanned<Raw>, _> = serde_saphyr::from_str(text);
        let mut node = Self::of(read.map_err(|error| yaml_error(&error))?);
        node.expand(environment)?;
        Ok(node)
    }

    fn of(raw: Spanned<Raw>) -> Self {
        let line = raw.referenced.line();
        let kind = match raw.value {
            Raw::Scalar(kind) => kind,
            Raw::List(list) => Kind::List(list.into_iter().map(Self::of).collect()),
            Raw::Map(entries) => Kind::Map(
                entries.into_iter().map(|(key, value)| (key.value, key.referenced.line(), Self::of(value))).collect(),
            ),
        };
        Self { line, expanded: false, kind }
    }

    fn expand(&mut self, environment: Environment<'_>) -> Result<(), Error> {
        match &mut self.kind {
            Kind::Text(text) => {
                if let Some(expanded) = expand::expand(text, environment).map_err(|error| error.at_line(self.line))? {
                    self.expanded = expanded.by_variable;
                    *text = expanded.text;
                }
            }
            Kind::List(list) => {
                for (index, node) in list.iter_mut().enumerate() {
                    node.expand(environment).map_err(|error| error.within(format!("[{index}]")))?;
                }
            }
            Kind::Map(entries) => {
                for (key, _, node) in entries {
                    node.expand(environment).map_err(|error| error.within(format!(".{key}")))?;
                }
            }
            Kind::Null | Kind::Bool(_) | Kind::Unsigned(_) | Kind::Signed(_) | Kind::Float(_) => {}
        }
        Ok(())
    }
}

/// The first line of the parser's message, without its picture of the file.
fn yaml_error(error: &serde_saphyr::Error) -> Error {
    let text = error.without_snippet().to_string();
    let mut problem = text.lines().next().unwrap_or_default().to_owned();
    // It says where it is in its own way.
    if let Some(end) = problem.rfind(" at line ") {
        problem.truncate(end);
    }
    let told = Error::new(format!("not YAML: {problem}"));
    match error.location() {
        Some(location) if location.line() > 0 => told.at_line(location.line()),
        _ => told,
    }
}

/// As the parser gives it.
enum Raw {
    Scalar(Kind),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;
        impl<'de> Visitor<'de> for Values {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
                Ok(Raw::Scalar(Kind::Bool(value)))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
                Ok(Raw::Scalar(u64::try_from(value).map_or(Kind::Signed(value), Kind::Unsigned)))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
                Ok(Raw::Scalar(Kind::Unsigned(value)))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
                Ok(Raw::Scalar(Kind::Float(value)))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
                Ok(Raw::Scalar(Kind::Text(value.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Scalar(Kind::Null))
            }

            fn visit_none<E>(self) -> Result<Raw, E> {
                Ok(Raw::Scalar(Kind::Null))
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
                Raw::deserialize(deserializer)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = list.next_element()? {
                    nodes.push(node);
                }
                Ok(Raw::List(nodes))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Raw::Map(entries))
            }
        }
        deserializer.deserialize_any(Values)
    }
}
