//! The request's own trace context (W3C Trace Context, section 3), read strictly: what does not conform is ignored, as
//! the specification demands.

use super::call::TraceParent;
use crate::proto::Headers;

/// The specification's bound on what must be propagated (section 3.3.1.5).
const STATE_BYTES: usize = 512;

pub fn trace_parent(headers: &Headers) -> Option<TraceParent> {
    let mut values = headers.all("traceparent");
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    parse(value, || trace_state(headers))
}

/// Reads the value of one `traceparent`; `state` is asked only when that conforms.
pub fn parse(value: &[u8], state: impl FnOnce() -> Option<String>) -> Option<TraceParent> {
    let value = value.trim_ascii();
    let (fields, rest) = value.split_at_checked(55)?;
    let [version @ .., b'-'] = &fields[..3] else {
        return None;
    };
    let version = hex::<1>(version)?[0];
    // Version 0 has nothing after the flags; a later one may have more after another dash. 255 is forbidden.
    match (version, rest) {
        (255, _) => return None,
        (_, []) => {}
        (1..=254, [b'-', ..]) => {}
        _ => return None,
    }
    if fields[35] != b'-' || fields[52] != b'-' {
        return None;
    }
    let (trace_id, span_id) = (hex::<16>(&fields[3..35])?, hex::<8>(&fields[36..52])?);
    let [flags] = hex::<1>(&fields[53..55])?;
    if trace_id == [0; 16] || span_id == [0; 8] {
        return None;
    }
    Some(TraceParent { trace_id, span_id, flags, state: state() })
}

/// Several header fields are one list (RFC 9110 section 5.3).
fn trace_state(headers: &Headers) -> Option<String> {
    let mut state = String::new();
    for value in headers.all("tracestate") {
        let value = std::str::from_utf8(value).ok()?.trim();
        if value.is_empty() {
            continue;
        }
        if !state.is_empty() {
            state.push(',');
        }
        state.push_str(value);
    }
    checked_state(state)
}

/// A `tracestate` that may be handed on.
pub fn checked_state(state: String) -> Option<String> {
    let printable = state.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    (!state.is_empty() && state.len() <= STATE_BYTES && printable).then_some(state)
}

/// Lower-case hexadecimal digits only, as the specification demands.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks().0) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        fields.iter().copied().collect()
    }

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn reads_the_parent_and_joins_the_state() {
        let parent = trace_parent(&headers(&[
            ("traceparent", GOOD),
            ("tracestate", "rojo=00f067aa0ba902b7"),
            ("tracestate", " congo=t61rcWkgMzE "),
        ]))
        .unwrap();
        assert_eq!(parent.trace_id[..2], [0x0a, 0xf7]);
        assert_eq!(parent.span_id[7], 0x31);
        assert_eq!(parent.flags, 1);
        assert_eq!(parent.state.as_deref(), Some("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"));
    }

    #[test]
    fn a_later_version_may_have_more() {
        let later = format!("cc{}-what", &GOOD[2..]);
        assert!(trace_parent(&headers(&[("traceparent", &later)])).is_some());
    }

    #[test]
    fn ignores_what_does_not_conform() {
        let zero_trace = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let zero_span = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16));
        let version_255 = format!("ff{}", &GOOD[2..]);
        let longer = format!("{GOOD}-extra");
        let later_without_dash = format!("cc{}what", &GOOD[2..]);
        let upper = GOOD.to_uppercase();
        for bad in ["", "00", &GOOD[..54], &zero_trace, &zero_span, &version_255, &longer, &later_without_dash, &upper]
        {
            assert_eq!(trace_parent(&headers(&[("traceparent", bad)])), None, "{bad}");
        }
        assert_eq!(trace_parent(&headers(&[("traceparent", GOOD), ("traceparent", GOOD)])), None);
    }
}
