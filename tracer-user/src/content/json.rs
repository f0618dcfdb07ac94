//! Reading values: what is not there, or of another kind, is none.

use serde_json::Value as Json;

pub fn text<'a>(value: &'a Json, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

/// The first of these members that is there.
pub fn first<'a>(value: &'a Json, names: &[&str]) -> Option<&'a Json> {
    names.iter().find_map(|name| member(value, name))
}

pub fn first_text<'a>(value: &'a Json, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| text(value, name))
}

/// A member that is there and not null.
pub fn member<'a>(value: &'a Json, name: &str) -> Option<&'a Json> {
    value.get(name).filter(|member| !member.is_null())
}

/// The items of a list; the value itself where an API takes one without a list around it; nothing of null.
pub fn items(value: Option<&Json>) -> &[Json] {
    match value {
        Some(Json::Array(items)) => items,
        None | Some(Json::Null) => &[],
        Some(one) => std::slice::from_ref(one),
    }
}

pub fn list<'a>(value: &'a Json, name: &str) -> &'a [Json] {
    items(value.get(name))
}

pub fn number(value: &Json, name: &str) -> Option<u64> {
    value.get(name)?.as_u64()
}

/// Arguments that come as text are JSON; what is not stays text.
pub fn parsed(text: &str) -> Json {
    let is_composed = text.trim_start().starts_with(['{', '[']);
    is_composed.then(|| serde_json::from_str(text).ok()).flatten().unwrap_or_else(|| Json::String(text.to_owned()))
}
