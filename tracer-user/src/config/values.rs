//! Values as people write them, on the command line and in the file: times (`30s`), sizes (`64MiB`), patterns.
//!
//! Fields of a feature's options name them so: `#[serde(with = "crate::config::values::duration")]`. No error text
//! repeats a value: it may be a secret in the wrong place.

use std::{fmt, time::Duration};

use globset::{Glob, GlobMatcher};
use regex::Regex;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

const DURATION: &str = "a number with a unit: 500ms, 30s, 5m or 1h";
const SIZE: &str = "a size: 512KiB, 64MiB or 1GiB";

/// A time: a whole number with `ms`, `s`, `m` or `h`; seconds without.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let usage = || DURATION.to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| usage())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(usage()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(usage)
}

/// A size in bytes: a whole number with `KiB`, `MiB` or `GiB`; bytes without.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let usage = || SIZE.to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| usage())?;
    let bytes: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(usage()),
    };
    number.checked_mul(bytes).ok_or_else(usage)
}

/// `with` this, a [`Duration`] is read as [`parse_duration`] does.
pub mod duration {
    use super::{Deserializer, Duration, Parsed, parse_duration};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(Parsed {
            parse: parse_duration,
            number: Duration::from_secs,
            usage: super::DURATION,
        })
    }
}

/// `with` this, an `Option<Duration>` is read as [`parse_duration`] does.
pub mod optional_duration {
    use super::{Deserializer, Duration, duration};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        duration::deserialize(deserializer).map(Some)
    }
}

/// `with` this, a `u64` of bytes is read as [`parse_size`] does.
pub mod size {
    use super::{Deserializer, Parsed, parse_size};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(Parsed { parse: parse_size, number: |bytes| bytes, usage: super::SIZE })
    }
}

/// A value with a unit as text, or a bare number.
struct Parsed<T> {
    parse: fn(&str) -> Result<T, String>,
    number: fn(u64) -> T,
    usage: &'static str,
}

impl<T> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.usage)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(|usage| E::custom(format_args!("give {usage}")))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        Ok((self.number)(number))
    }
}

/// What a text is compared with: a glob (`*` also takes `/`), or `{regex: …}`, which may match anywhere in it.
#[derive(Debug, Clone)]
pub enum Pattern {
    Glob(GlobMatcher),
    Regex(Regex),
}

impl Pattern {
    /// # Errors
    /// What is wrong with the glob, without the glob.
    pub fn glob(text: &str) -> Result<Self, String> {
        Glob::new(text).map(|glob| Self::Glob(glob.compile_matcher())).map_err(|error| error.kind().to_string())
    }

    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Glob(glob) => glob.is_match(text),
            Self::Regex(regex) => regex.is_match(text),
        }
    }

    fn source(&self) -> (bool, &str) {
        match self {
            Self::Glob(glob) => (false, glob.glob().glob()),
            Self::Regex(regex) => (true, regex.as_str()),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Pattern;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a glob, or {regex: …}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Pattern, E> {
                Pattern::glob(text).map_err(|problem| E::custom(format_args!("not a glob: {problem}")))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pattern, A::Error> {
                let Some((key, text)) = map.next_entry::<String, String>()? else {
                    return Err(A::Error::missing_field("regex"));
                };
                if key != "regex" {
                    return Err(A::Error::unknown_field(&key, &["regex"]));
                }
                if let Some(key) = map.next_key::<String>()? {
                    return Err(A::Error::unknown_field(&key, &["regex"]));
                }
                // The error's text shows the expression; its last line says what is wrong.
                Regex::new(&text).map(Pattern::Regex).map_err(|error| {
                    let told = error.to_string();
                    A::Error::custom(format_args!(
                        "not a regular expression: {}",
                        told.lines().last().unwrap_or_default()
                    ))
                })
            }
        }
        deserializer.deserialize_any(One)
    }
}

/// One value or a list of them.
#[derive(Debug, Clone, PartialEq)]
pub struct OneOrMore<T>(pub Vec<T>);

impl<T> Default for OneOrMore<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> OneOrMore<T> {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl OneOrMore<Pattern> {
    /// Whether one of them matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(text))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Values<T> {
            type Value = OneOrMore<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or a list of values")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::StrDeserializer::new(text)).map(|one| OneOrMore(vec![one]))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::U64Deserializer::new(number)).map(|one| OneOrMore(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMore)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let one = serde::de::value::MapAccessDeserializer::new(map);
                T::deserialize(one).map(|one| OneOrMore(vec![one]))
            }
        }
        deserializer.deserialize_any(Values(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(parse_duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(parse_duration("2h").unwrap(), Duration::from_secs(7200));
        assert_eq!(parse_size("64MiB").unwrap(), 64 << 20);
        assert_eq!(parse_size("1 KiB").unwrap(), 1024);
        for bad in ["", "s", "-1s", "1d", "99999999999999999999s", "18446744073709551615h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "MiB", "64MB", "1.5MiB", "18446744073709551615GiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_glob_takes_the_whole_text_and_a_regex_a_part() {
        let glob = Pattern::glob("/usr/bin/python3*").unwrap();
        assert!(glob.matches("/usr/bin/python3.12") && !glob.matches("x /usr/bin/python3"));
        let regex = Pattern::Regex(Regex::new("agent[0-9]").unwrap());
        assert!(regex.matches("python3 agent7.py") && !regex.matches("agent"));
    }
}
