//! The `ot` entry of `tracestate`: OpenTelemetry's `th` and `rv` ("TraceState Handling").

use std::fmt::Write as _;

use super::options::MAX_THRESHOLD;

/// Entries of one `tracestate` (W3C Trace Context, section 3.3.1.1).
const MAX_ENTRIES: usize = 32;

/// Bytes of the value of `ot`.
const MAX_VALUE: usize = 256;

/// What earlier samplers state.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Incoming {
    /// `rv`: goes before the trace id.
    pub randomness: Option<u64>,
    /// `th`: part of 2^56 that is rejected.
    pub threshold: Option<u64>,
}

pub(super) fn incoming(state: Option<&str>) -> Incoming {
    let value = |wanted: &str| {
        let entry = entries(state?).find_map(|entry| entry.strip_prefix("ot="))?;
        entry.split(';').find_map(|member| member.strip_prefix(wanted)?.strip_prefix(':'))
    };
    Incoming {
        // All 14 digits are demanded.
        randomness: value("rv").filter(|digits| digits.len() == 14).and_then(hex),
        threshold: value("th").and_then(hex),
    }
}

/// The same state with this threshold, or without one. What changes goes first.
pub(super) fn with_threshold(state: Option<&str>, threshold: Option<u64>) -> Option<String> {
    let state = state.unwrap_or_default();
    let own = entries(state).find_map(|entry| entry.strip_prefix("ot=")).unwrap_or_default();
    let others = own.split(';').filter(|member| !member.is_empty() && !member.starts_with("th:"));
    let mut value = String::new();
    if let Some(threshold) = threshold {
        let digits = format!("{threshold:014x}");
        let digits = digits.trim_end_matches('0');
        let _ = write!(value, "th:{}", if digits.is_empty() { "0" } else { digits });
    }
    for member in others {
        // A threshold may push others out, as the specification wants the whole to stay in bounds.
        if value.len() + member.len() >= MAX_VALUE {
            break;
        }
        if !value.is_empty() {
            value.push(';');
        }
        value.push_str(member);
    }
    let mut whole = String::with_capacity(state.len() + value.len() + 4);
    if !value.is_empty() {
        let _ = write!(whole, "ot={value}");
    }
    let room = MAX_ENTRIES - usize::from(!value.is_empty());
    for entry in entries(state).filter(|entry| !entry.starts_with("ot=")).take(room) {
        if !whole.is_empty() {
            whole.push(',');
        }
        whole.push_str(entry);
    }
    (!whole.is_empty()).then_some(whole)
}

fn entries(state: &str) -> impl Iterator<Item = &str> {
    state.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// Up to 14 hexadecimal digits, filled up with zeros on the right.
fn hex(digits: &str) -> Option<u64> {
    if digits.is_empty() || digits.len() > 14 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let number = u64::from_str_radix(digits, 16).ok()?;
    Some((number << (4 * (14 - digits.len()))) & MAX_THRESHOLD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_earlier_samplers_state() {
        let state = incoming(Some("rojo=1, ot=p:8;rv:0123456789abcd;th:c,congo=2"));
        assert_eq!(state.randomness, Some(0x0001_2345_6789_abcd));
        assert_eq!(state.threshold, Some(0xc0_0000_0000_0000));
        for bad in ["ot=rv:0123;th:", "ot=th:123456789abcdef", "ot=th:+1", "other=th:1", ""] {
            assert_eq!(incoming(Some(bad)), Incoming::default(), "{bad}");
        }
        assert_eq!(incoming(Some("ot=th:0")).threshold, Some(0));
    }

    #[test]
    fn writes_a_threshold_first_and_keeps_the_rest() {
        let quarter = Some(0xc0_0000_0000_0000);
        assert_eq!(with_threshold(None, quarter).as_deref(), Some("ot=th:c"));
        assert_eq!(with_threshold(None, Some(0)).as_deref(), Some("ot=th:0"));
        assert_eq!(with_threshold(None, None), None);
        let state = Some("rojo=1,ot=p:8;th:8;r:62,congo=2");
        assert_eq!(with_threshold(state, quarter).as_deref(), Some("ot=th:c;p:8;r:62,rojo=1,congo=2"));
        assert_eq!(with_threshold(state, None).as_deref(), Some("ot=p:8;r:62,rojo=1,congo=2"));
        assert_eq!(with_threshold(Some("ot=th:8"), None), None);
        let full: Vec<String> = (0..32).map(|n| format!("k{n}=v")).collect();
        let written = with_threshold(Some(&full.join(",")), quarter).unwrap();
        assert_eq!(written.split(',').count(), 32);
        assert!(written.starts_with("ot=th:c,k0=v"));
    }
}
