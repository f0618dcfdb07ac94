//! Whether a JSON value is what a JSON Schema asks for.
//!
//! Both come from the wire, so that neither may cost more than a fixed number of steps, or recurse without end. Libraries
//! for JSON Schema bound neither, and bring dozens of crates. What services take for structured outputs is a small part of
//! the language; that is here, and whatever else a schema holds makes the question undecided, never answered wrongly.

use regex_automata::{meta::Regex, util::syntax};
use serde_json::{Map, Value as Json};

/// Keywords looked at, over all values.
const STEPS: u32 = 200_000;
/// Nested values and schemas.
const DEPTH: u32 = 96;
/// Bytes of a `pattern`, and of its automaton.
const PATTERN_BYTES: usize = 512;
const NFA_BYTES: usize = 256 << 10;
/// What building it counts for.
const PATTERN_STEPS: usize = 2000;

/// Keywords that say nothing about the value. A `format` is an annotation by default (JSON Schema 2020-12, Validation 7.2.1).
const ANNOTATIONS: [&str; 17] = [
    "title",
    "description",
    "default",
    "example",
    "examples",
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "format",
    "propertyOrdering",
    "property_ordering",
    "deprecated",
    "readOnly",
    "writeOnly",
    "strict",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Valid,
    Invalid,
    Unknown,
}

use Verdict::{Invalid, Unknown, Valid};

impl Verdict {
    fn of(holds: bool) -> Self {
        if holds { Valid } else { Invalid }
    }

    /// One that is invalid decides.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Invalid, _) | (_, Invalid) => Invalid,
            (Unknown, _) | (_, Unknown) => Unknown,
            _ => Valid,
        }
    }
}

/// Whether `value` validates; `None` where that is not decided: a keyword that is not known here, a reference to elsewhere,
/// too many steps.
pub fn validates(schema: &Json, value: &Json) -> Option<bool> {
    let mut check = Check { root: schema, steps: STEPS };
    let verdict = check.value(schema, value, DEPTH);
    // Alternatives can answer although one of them ran out of steps.
    match verdict {
        _ if check.steps == 0 => None,
        Valid => Some(true),
        Invalid => Some(false),
        Unknown => None,
    }
}

struct Check<'a> {
    root: &'a Json,
    steps: u32,
}

impl<'a> Check<'a> {
    fn value(&mut self, schema: &'a Json, value: &Json, depth: u32) -> Verdict {
        let keywords = match schema {
            Json::Bool(all) => return Verdict::of(*all),
            Json::Object(keywords) => keywords,
            _ => return Unknown,
        };
        if depth == 0 {
            return Unknown;
        }
        // OpenAPI's way to say it, which Gemini follows.
        if value.is_null() && keywords.get("nullable") == Some(&Json::Bool(true)) {
            return Valid;
        }
        let mut verdict = Valid;
        for (name, keyword) in keywords {
            if self.steps == 0 {
                return Unknown;
            }
            self.steps -= 1;
            verdict = verdict.and(self.keyword(name, keyword, keywords, value, depth - 1));
            if verdict == Invalid {
                return Invalid;
            }
        }
        verdict
    }

    fn keyword(
        &mut self,
        name: &str,
        keyword: &'a Json,
        all: &'a Map<String, Json>,
        value: &Json,
        depth: u32,
    ) -> Verdict {
        match name {
            "type" => has_type(keyword, value),
            "enum" => keyword.as_array().map_or(Unknown, |values| self.one_of(values, value)),
            "const" => Verdict::of(equal(keyword, value)),
            "$ref" => match keyword.as_str().and_then(|reference| self.resolve(reference)) {
                Some(schema) => self.value(schema, value, depth),
                None => Unknown,
            },
            "allOf" => {
                let Some(schemas) = keyword.as_array() else { return Unknown };
                schemas.iter().fold(Valid, |verdict, schema| verdict.and(self.value(schema, value, depth)))
            }
            "anyOf" | "any_of" => {
                let Some(schemas) = keyword.as_array() else { return Unknown };
                let mut verdict = Invalid;
                for schema in schemas {
                    match self.value(schema, value, depth) {
                        Valid => return Valid,
                        Unknown => verdict = Unknown,
                        Invalid => {}
                    }
                }
                verdict
            }
            "oneOf" => {
                let Some(schemas) = keyword.as_array() else { return Unknown };
                let verdicts: Vec<Verdict> = schemas.iter().map(|schema| self.value(schema, value, depth)).collect();
                let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
                match (count(Valid), count(Unknown)) {
                    (2.., _) => Invalid,
                    (_, 1..) => Unknown,
                    (valid, _) => Verdict::of(valid == 1),
                }
            }
            "properties" | "required" | "additionalProperties" | "minProperties" | "maxProperties" => {
                value.as_object().map_or(Valid, |members| self.members(name, keyword, all, members, depth))
            }
            "items" | "prefixItems" | "minItems" | "maxItems" | "uniqueItems" => {
                value.as_array().map_or(Valid, |items| self.items(name, keyword, all, items, depth))
            }
            "minLength" | "maxLength" | "pattern" => {
                value.as_str().map_or(Valid, |text| self.text(name, keyword, text))
            }
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
                value.as_f64().map_or(Valid, |number| bound(name, keyword, number))
            }
            "nullable" => Valid,
            _ if ANNOTATIONS.contains(&name) || name.starts_with("x-") => Valid,
            _ => Unknown,
        }
    }

    fn members(
        &mut self,
        name: &str,
        keyword: &'a Json,
        all: &'a Map<String, Json>,
        members: &Map<String, Json>,
        depth: u32,
    ) -> Verdict {
        match (name, keyword) {
            ("properties", Json::Object(schemas)) => members.iter().fold(Valid, |verdict, (name, member)| {
                let schema = schemas.get(name);
                verdict.and(schema.map_or(Valid, |schema| self.value(schema, member, depth)))
            }),
            ("required", Json::Array(names)) => names.iter().fold(Valid, |verdict, name| {
                verdict.and(name.as_str().map_or(Unknown, |name| Verdict::of(members.contains_key(name))))
            }),
            ("additionalProperties", schema) => {
                let named = all.get("properties").and_then(Json::as_object);
                let others = members.iter().filter(|(name, _)| !named.is_some_and(|named| named.contains_key(*name)));
                others.fold(Valid, |verdict, (_, member)| verdict.and(self.value(schema, member, depth)))
            }
            ("minProperties" | "maxProperties", limit) => size(name == "minProperties", limit, members.len()),
            _ => Unknown,
        }
    }

    fn items(
        &mut self,
        name: &str,
        keyword: &'a Json,
        all: &'a Map<String, Json>,
        items: &[Json],
        depth: u32,
    ) -> Verdict {
        match (name, keyword) {
            ("items", Json::Object(_) | Json::Bool(_)) => {
                let first = all.get("prefixItems").and_then(Json::as_array).map_or(0, Vec::len);
                let rest = items.iter().skip(first);
                rest.fold(Valid, |verdict, item| verdict.and(self.value(keyword, item, depth)))
            }
            ("prefixItems", Json::Array(schemas)) => schemas
                .iter()
                .zip(items)
                .fold(Valid, |verdict, (schema, item)| verdict.and(self.value(schema, item, depth))),
            ("minItems" | "maxItems", limit) => size(name == "minItems", limit, items.len()),
            ("uniqueItems", Json::Bool(false)) => Valid,
            ("uniqueItems", Json::Bool(true)) => {
                for (place, item) in items.iter().enumerate() {
                    if self.one_of(&items[..place], item) == Valid {
                        return Invalid;
                    }
                }
                Valid
            }
            _ => Unknown,
        }
    }

    fn text(&mut self, name: &str, keyword: &Json, text: &str) -> Verdict {
        match (name, keyword) {
            ("minLength" | "maxLength", limit) => size(name == "minLength", limit, text.chars().count()),
            (_, Json::String(pattern)) if pattern.len() <= PATTERN_BYTES => {
                // ECMA's dialect; what it shares with ours is what schemas use. A search must not cost more than the steps
                // that are left.
                let cost = u32::try_from(text.len() / 16 + PATTERN_STEPS).unwrap_or(u32::MAX);
                self.steps = self.steps.saturating_sub(cost);
                let regex = Regex::builder()
                    .configure(Regex::config().nfa_size_limit(Some(NFA_BYTES)))
                    .syntax(syntax::Config::new().nest_limit(DEPTH))
                    .build(pattern);
                regex.map_or(Unknown, |regex| Verdict::of(regex.is_match(text)))
            }
            _ => Unknown,
        }
    }

    fn one_of(&mut self, values: &[Json], value: &Json) -> Verdict {
        self.steps = self.steps.saturating_sub(u32::try_from(values.len()).unwrap_or(u32::MAX));
        Verdict::of(self.steps > 0 && values.iter().any(|other| equal(other, value)))
    }

    /// Only within the document.
    fn resolve(&self, reference: &str) -> Option<&'a Json> {
        let pointer = reference.strip_prefix('#')?;
        (!pointer.contains('%')).then(|| self.root.pointer(pointer)).flatten()
    }
}

/// `1` and `1.0` are one number.
fn equal(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(one), Json::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| equal(one, other)))
        }
        _ => one == other,
    }
}

/// Gemini writes its types in capitals.
fn has_type(keyword: &Json, value: &Json) -> Verdict {
    let one = |name: &Json| {
        let Some(name) = name.as_str() else { return Unknown };
        Verdict::of(match name.to_ascii_lowercase().as_str() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
            _ => return Unknown,
        })
    };
    match keyword {
        Json::Array(names) => {
            let verdicts: Vec<Verdict> = names.iter().map(one).collect();
            let has = |wanted| verdicts.contains(&wanted);
            if has(Valid) {
                Valid
            } else if has(Unknown) {
                Unknown
            } else {
                Invalid
            }
        }
        name => one(name),
    }
}

/// Gemini writes counts as texts, too.
fn size(least: bool, limit: &Json, size: usize) -> Verdict {
    let limit = limit.as_u64().or_else(|| limit.as_str()?.parse().ok());
    limit.map_or(Unknown, |limit| Verdict::of(if least { size as u64 >= limit } else { size as u64 <= limit }))
}

fn bound(name: &str, keyword: &Json, number: f64) -> Verdict {
    let Some(limit) = keyword.as_f64() else { return Unknown };
    Verdict::of(match name {
        "minimum" => number >= limit,
        "maximum" => number <= limit,
        "exclusiveMinimum" => number > limit,
        "exclusiveMaximum" => number < limit,
        _ => {
            let ratio = number / limit;
            (ratio - ratio.round()).abs() < 1e-9
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_keyword_decides() {
        let person = json!({
            "type": "object", "required": ["name"], "additionalProperties": false,
            "properties": { "name": {"type": "string", "minLength": 1}, "age": {"type": ["integer", "null"]} }
        });
        for (schema, value, valid) in [
            (&person, json!({"name": "Ada", "age": 36}), Some(true)),
            (&person, json!({"name": "Ada", "age": null}), Some(true)),
            (&person, json!({"age": 36}), Some(false)),
            (&person, json!({"name": "Ada", "age": "36"}), Some(false)),
            (&person, json!({"name": "Ada", "more": 1}), Some(false)),
            (&person, json!({"name": ""}), Some(false)),
            (&person, json!("Ada"), Some(false)),
            (&json!({"enum": ["a", 1]}), json!(1.0), Some(true)),
            (&json!({"const": {"a": [1]}}), json!({"a": [1]}), Some(true)),
            (&json!({"const": {"a": [1]}}), json!({"a": [2]}), Some(false)),
            (&json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), json!(null), Some(true)),
            (&json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), json!(1), Some(false)),
            (&json!({"oneOf": [{"type": "number"}, {"type": "integer"}]}), json!(1), Some(false)),
            (&json!({"allOf": [{"minimum": 1}, {"exclusiveMaximum": 3}]}), json!(3), Some(false)),
            (&json!({"multipleOf": 0.1}), json!(0.3), Some(true)),
            (&json!({"type": "integer"}), json!(1.0), Some(true)),
            (&json!({"type": "integer"}), json!(1.5), Some(false)),
            (&json!({"items": {"type": "string"}, "minItems": 1, "maxItems": 2}), json!(["a", 1]), Some(false)),
            (&json!({"items": {"type": "string"}, "minItems": 1}), json!([]), Some(false)),
            (&json!({"prefixItems": [{"type": "string"}], "items": false}), json!(["a"]), Some(true)),
            (&json!({"uniqueItems": true}), json!([1, 2, 1]), Some(false)),
            (&json!({"pattern": "^[A-Z]{3}-\\d+$"}), json!("ABC-12"), Some(true)),
            (&json!({"pattern": "^[A-Z]{3}-\\d+$"}), json!("abc"), Some(false)),
            // Gemini.
            (
                &json!({"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": true}}}),
                json!({"a": null}),
                Some(true),
            ),
            (&json!({"type": "ARRAY", "minItems": "2"}), json!([1]), Some(false)),
            (&json!({"title": "T", "description": "d", "format": "date"}), json!("no date"), Some(true)),
            (&json!(false), json!(1), Some(false)),
        ] {
            assert_eq!(validates(schema, &value), valid, "{schema} {value}");
        }
    }

    #[test]
    fn references_are_followed_within_the_schema() {
        let schema = json!({
            "$defs": {"node": {"type": "object", "required": ["value"], "properties": {
                "value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}},
            "$ref": "#/$defs/node"
        });
        let list = |last| json!({"value": 1, "next": {"value": 2, "next": last}});
        assert_eq!(validates(&schema, &list(json!(null))), Some(true));
        assert_eq!(validates(&schema, &list(json!({"value": "3"}))), Some(false));
        assert_eq!(validates(&json!({"$ref": "https://example.org/schema"}), &json!(1)), None);
        assert_eq!(validates(&json!({"$ref": "file:///etc/passwd"}), &json!(1)), None);
    }

    #[test]
    fn what_is_not_known_is_not_decided() {
        for schema in [
            json!({"unevaluatedProperties": false}),
            json!({"if": {}, "then": {}}),
            json!({"type": "date"}),
            json!({"pattern": "(?=x)"}),
            json!({"\0items": [1, 2]}),
            json!("string"),
        ] {
            assert_eq!(validates(&schema, &json!("x")), None, "{schema}");
        }
        // What is wrong all the same is wrong.
        assert_eq!(validates(&json!({"type": "object", "unevaluatedProperties": false}), &json!(1)), Some(false));
        assert_eq!(validates(&json!({"anyOf": [{"if": {}}, {"type": "string"}]}), &json!("x")), Some(true));
    }

    #[test]
    fn hostile_schemas_cost_a_bounded_time() {
        // Without end, and each level twice.
        let endless = json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]});
        assert_eq!(validates(&endless, &json!(1)), None);
        let twice =
            json!({"anyOf": [{"items": {"$ref": "#"}, "minItems": 1}, {"items": {"$ref": "#"}, "maxItems": 1}]});
        let mut deep = json!("x");
        for _ in 0..100 {
            deep = json!([deep]);
        }
        let _ = validates(&twice, &deep);
        let wide: Vec<Json> = (0..100_000).map(Json::from).collect();
        assert_eq!(validates(&json!({"uniqueItems": true}), &Json::Array(wide)), None);
        let patterns: Vec<Json> = (0..2000).map(|number| json!({"pattern": format!("(a|b){{{number}}}c")})).collect();
        assert_eq!(validates(&json!({"anyOf": patterns}), &json!("x")), None);
    }
}
