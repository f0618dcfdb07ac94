//! `${env:NAME}` and `${env:NAME:-default}`, as in the OpenTelemetry Collector: `${NAME}` is the same, and `$$` is a
//! single `$`. Other than there, a variable that is not set and has no default is an error: a token that is missing
//! must not become an empty one.

use super::{error::Error, tree::Environment};

/// A text with its variables replaced.
pub struct Expanded {
    pub text: String,
    /// Whether a variable was part of it, not only `$$`.
    pub by_variable: bool,
}

/// `None` when there is nothing to replace.
///
/// # Errors
/// Which variable is not set, or what is no variable. They name no value.
pub fn expand(text: &str, environment: Environment<'_>) -> Result<Option<Expanded>, Error> {
    if !text.contains('$') {
        return Ok(None);
    }
    let mut expanded = Expanded { text: String::new(), by_variable: false };
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.text.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.text.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some(end) = after.find('}') else { return Err(Error::new("`${` without its `}`; write $$ for one $")) };
            expanded.text.push_str(&value(&after[..end], environment)?);
            expanded.by_variable = true;
            rest = &after[end + 1..];
        } else {
            expanded.text.push('$');
        }
    }
    expanded.text.push_str(rest);
    Ok(Some(expanded))
}

fn value(reference: &str, environment: Environment<'_>) -> Result<String, Error> {
    let (name, default) = match reference.strip_prefix("env:").unwrap_or(reference).split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference.strip_prefix("env:").unwrap_or(reference), None),
    };
    let mut letters = name.chars();
    let is_name = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if !is_name {
        return Err(Error::new("`${…}` names no variable: use ${env:NAME} or ${env:NAME:-default}, and $$ for one $"));
    }
    // As in the Collector and the shell, an empty variable takes the default, too.
    match (environment(name).filter(|value| default.is_none() || !value.is_empty()), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            Err(Error::new(format!("the variable {name} is not set: set it, or write ${{env:{name}:-default}}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Result<Option<String>, String> {
        let environment = |name: &str| match name {
            "TOKEN" => Some("s3cret".to_owned()),
            "EMPTY" => Some(String::new()),
            "ODD" => Some("a: ${env:TOKEN} # $$".to_owned()),
            _ => None,
        };
        expand(text, &environment).map(|some| some.map(|some| some.text)).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_are_replaced_once() {
        assert_eq!(told("plain"), Ok(None));
        for (text, expected) in [
            ("Bearer ${env:TOKEN}", "Bearer s3cret"),
            ("${TOKEN}${env:TOKEN}", "s3crets3cret"),
            ("${env:NONE:-http://localhost:4318}", "http://localhost:4318"),
            ("${env:EMPTY:-x}", "x"),
            ("<${env:EMPTY}>", "<>"),
            ("${env:NONE:-}", ""),
            ("$$5, ${env:ODD}", "$5, a: ${env:TOKEN} # $$"),
            ("$${env:TOKEN}", "${env:TOKEN}"),
            ("^a$", "^a$"),
        ] {
            assert_eq!(told(text), Ok(Some(expected.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_an_error() {
        assert!(told("${env:NONE}").unwrap_err().contains("variable NONE is not set"));
        for text in ["${env:TOKEN", "${}", "${env:}", "${file:/etc/x}", "${env:9X}"] {
            assert!(told(text).is_err(), "{text}");
        }
    }
}
