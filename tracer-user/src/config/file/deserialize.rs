//! Reads options from the tree, and says of each problem where it stands.

use std::cell::RefCell;

use serde::{
    de::{
        self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _, MapAccess, SeqAccess, Unexpected,
        VariantAccess, Visitor,
    },
    forward_to_deserialize_any,
};

use super::{
    error::Error,
    tree::{Kind, Node},
};

/// A structure that was read: its name, its keys, and which of them stood there.
pub type Visit = (&'static str, &'static [&'static str], Vec<String>);

/// A place in the tree.
#[derive(Clone, Copy)]
pub struct At<'a> {
    node: &'a Node,
    /// Takes every structure that is read, so that a test can tell which keys the example forgets.
    visits: Option<&'a RefCell<Vec<Visit>>>,
}

impl<'a> At<'a> {
    pub fn new(node: &'a Node) -> Self {
        Self { node, visits: None }
    }

    #[cfg(test)]
    pub fn watched(node: &'a Node, visits: &'a RefCell<Vec<Visit>>) -> Self {
        Self { node, visits: Some(visits) }
    }

    fn to(self, node: &'a Node) -> Self {
        Self { node, ..self }
    }

    /// Adds the line, and takes out of the problem what came from the environment.
    fn placed<T>(self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|mut error| {
            if let Kind::Text(text) = &self.node.kind
                && self.node.expanded
                && !text.is_empty()
            {
                error.problem = error.problem.replace(text, "…");
            }
            error.at_line(self.node.line)
        })
    }

    /// What came from the environment may be meant as a number.
    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Kind::Text(text) = &self.node.kind else { return self.deserialize_any(visitor) };
        if !self.node.expanded {
            return self.deserialize_any(visitor);
        }
        let text = text.trim();
        let result = if let Ok(number) = text.parse::<u64>() {
            visitor.visit_u64(number)
        } else if let Ok(number) = text.parse::<i64>() {
            visitor.visit_i64(number)
        } else if let Ok(number) = text.parse::<f64>() {
            visitor.visit_f64(number)
        } else {
            Err(de::Error::invalid_type(Unexpected::Str(""), &visitor))
        };
        self.placed(result)
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> { self.number(visitor) })*
    };
}

impl<'de> Deserializer<'de> for At<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.node.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::Unsigned(value) => visitor.visit_u64(*value),
            Kind::Signed(value) => visitor.visit_i64(*value),
            Kind::Float(value) => visitor.visit_f64(*value),
            Kind::Text(text) => visitor.visit_str(text),
            Kind::List(list) => visitor.visit_seq(Elements { at: self, list, next: 0 }),
            Kind::Map(entries) => visitor.visit_map(Entries { at: self, entries, next: 0 }),
        };
        self.placed(result)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Text(text) if self.node.expanded => self.placed(match text.trim() {
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                _ => Err(de::Error::invalid_type(Unexpected::Str(""), &visitor)),
            }),
            _ => self.deserialize_any(visitor),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    // A key with nothing behind it has no entries.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Null => visitor.visit_seq(Elements { at: self, list: &[], next: 0 }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Null => self.placed(visitor.visit_map(Entries { at: self, entries: &[], next: 0 })),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if let Some(visits) = self.visits {
            let keys = match &self.node.kind {
                Kind::Map(entries) => entries.iter().map(|(key, ..)| key.clone()).collect(),
                _ => Vec::new(),
            };
            visits.borrow_mut().push((name, fields, keys));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let result = match &self.node.kind {
            Kind::Text(text) => visitor.visit_enum(Variant { name: text, content: None }),
            Kind::Map(entries) => match entries.as_slice() {
                [(name, _, content)] => visitor.visit_enum(Variant { name, content: Some(self.to(content)) }),
                _ => Err(Error::new("give one key")),
            },
            _ => return self.deserialize_any(visitor),
        };
        self.placed(result)
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Elements<'a> {
    at: At<'a>,
    list: &'a [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(node) = self.list.get(self.next) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        let value = seed.deserialize(self.at.to(node));
        value.map(Some).map_err(|error| error.within(format!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.list.len() - self.next)
    }
}

struct Entries<'a> {
    at: At<'a>,
    entries: &'a [(String, u64, Node)],
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, line, _)) = self.entries.get(self.next) else { return Ok(None) };
        seed.deserialize(key.as_str().into_deserializer()).map(Some).map_err(|error: Error| error.at_line(*line))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((key, _, node)) = self.entries.get(self.next) else { return Err(Error::new("no value")) };
        self.next += 1;
        seed.deserialize(self.at.to(node)).map_err(|error| error.within(format!(".{key}")))
    }
}

struct Variant<'a> {
    name: &'a str,
    content: Option<At<'a>>,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let variant = seed.deserialize(self.name.into_deserializer())?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            None => Ok(()),
            Some(_) => Err(Error::new(format!("`{}` takes nothing more", self.name))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        let name = self.name;
        seed.deserialize(self.content()?).map_err(|error| error.within(format!(".{name}")))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        let name = self.name;
        self.content()?.deserialize_seq(visitor).map_err(|error| error.within(format!(".{name}")))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        let name = self.name;
        self.content()?.deserialize_struct("", fields, visitor).map_err(|error| error.within(format!(".{name}")))
    }
}

impl<'a> Variant<'a> {
    fn content(self) -> Result<At<'a>, Error> {
        self.content.ok_or_else(|| Error::new(format!("`{}` needs something below it", self.name)))
    }
}
