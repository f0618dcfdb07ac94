//! Values of OpenTelemetry's environment variables, ours and those of the traced processes.

/// `OTEL_RESOURCE_ATTRIBUTES`: `key=value` pairs, comma separated, values percent-encoded (OpenTelemetry resource SDK
/// specification). As it says, one bad pair makes the whole value void.
pub fn parse_resource_attributes(text: &str) -> Vec<(String, String)> {
    let mut attributes = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else { return Vec::new() };
        let (Some(key), Some(value)) = (percent_decode(key.trim()), percent_decode(value.trim())) else {
            return Vec::new();
        };
        if key.is_empty() {
            return Vec::new();
        }
        attributes.push((key, value));
    }
    attributes
}

/// RFC 3986 section 2.1. `None` when an escape is broken or the result is not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
