//! Which release of the conventions is followed.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use super::{USAGE_CACHE_CREATION_INPUT_TOKENS, USAGE_CACHE_WRITE_INPUT_TOKENS};

/// Names of core release 1.41.1 that the newer `semantic-conventions-genai` repository has changed, with its own: what
/// was merged there by September 2026. It has published no schema yet.
pub const RENAMED: &[(&str, &str)] = &[(USAGE_CACHE_CREATION_INPUT_TOKENS, USAGE_CACHE_WRITE_INPUT_TOKENS)];

/// `semconv` of the configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Release {
    /// `1.41`: core release 1.41.1.
    #[default]
    Core,
    /// `next`: the newer repository's names, and its tokens by kind of content.
    Next,
}

impl Release {
    /// The name in this release of what has `name` in 1.41.1.
    pub fn name(self, name: &'static str) -> &'static str {
        match self {
            Self::Core => name,
            Self::Next => RENAMED.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new),
        }
    }
}

impl<'de> Deserialize<'de> for Release {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl Visitor<'_> for One {
            type Value = Release;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`1.41` or `next`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Release, E> {
                match text {
                    "1.41" => Ok(Release::Core),
                    "next" => Ok(Release::Next),
                    _ => Err(E::custom("use `1.41` or `next`")),
                }
            }

            /// YAML takes it for a number where it has no quotes.
            fn visit_f64<E: Error>(self, number: f64) -> Result<Release, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(One)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_release() {
        assert_eq!(Release::Core.name(USAGE_CACHE_CREATION_INPUT_TOKENS), "gen_ai.usage.cache_creation.input_tokens");
        assert_eq!(Release::Next.name(USAGE_CACHE_CREATION_INPUT_TOKENS), "gen_ai.usage.cache_write.input_tokens");
        assert_eq!(Release::Next.name("gen_ai.request.model"), "gen_ai.request.model");
    }

    #[test]
    fn it_is_written_with_and_without_quotes() {
        for (yaml, expected) in [
            ("\"1.41\"", Some(Release::Core)),
            ("1.41", Some(Release::Core)),
            ("next", Some(Release::Next)),
            ("1.42", None),
            ("latest", None),
        ] {
            assert_eq!(serde_saphyr::from_str(yaml).ok(), expected, "{yaml}");
        }
    }
}
