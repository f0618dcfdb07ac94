//! Pure decisions, run by the eBPF programs and by unit tests alike.

use crate::limits::{CLASSES, NESTED_WINDOW, OWN_NESTED_WINDOW};

/// The kernel's return trampoline is the first byte of its own page in the process (`[uprobes]`): a return address
/// that is a page's first byte is the trampoline, any other is the program's. So a saved frame whose return slot
/// holds anything else has been left (by a return or `longjmp`) and its memory reused.
#[must_use]
#[inline(always)]
pub const fn is_trampoline(return_address: u64) -> bool {
    return_address != 0 && return_address & 0xfff == 0
}

/// Whether a call at stack pointer `inner`, while one at `outer` is under way, is certainly on the same stack.
#[must_use]
#[inline(always)]
pub const fn is_nested(outer: u64, inner: u64) -> bool {
    inner < outer && outer - inner <= NESTED_WINDOW
}

/// The same for a thread whose own stack has its top at `own_top`: frames that both stand there are on one stack, on the
/// main thread however far apart.
#[must_use]
#[inline(always)]
pub const fn is_nested_in_thread(outer: u64, inner: u64, own_top: u64, own_window: u64, is_main: bool) -> bool {
    if is_nested(outer, inner) {
        return true;
    }
    let own = is_below(own_top, outer, own_window) && is_below(own_top, inner, own_window);
    own && inner < outer && (is_main || outer - inner <= OWN_NESTED_WINDOW)
}

/// Whether `stack` lies at most `window` bytes below `top`.
#[must_use]
#[inline(always)]
pub const fn is_below(top: u64, stack: u64, window: u64) -> bool {
    stack < top && top - stack <= window
}

/// Whether a connection that begins so speaks TLS: a record's type and the major version (RFC 8446 section 5.1).
#[must_use]
#[inline(always)]
pub const fn is_tls_record(head: [u8; 2]) -> bool {
    head[0] >= 20 && head[0] <= 24 && head[1] == 3
}

/// Index of the smallest size class for `length` bytes, which must not exceed the largest.
#[must_use]
#[inline(always)]
pub const fn class(length: usize) -> usize {
    if length <= CLASSES[0] {
        0
    } else if length <= CLASSES[1] {
        1
    } else if length <= CLASSES[2] {
        2
    } else if length <= CLASSES[3] {
        3
    } else {
        4
    }
}

/// What a record of rustls holds: the order of the variants of its `ContentType`.
pub mod record {
    pub const ALERT: u64 = 1;
    pub const HANDSHAKE: u64 = 2;
    pub const APPLICATION: u64 = 3;
}

/// The type of a rustls message, out of the six bytes behind its payload: two for the type, four for the version of the
/// protocol, in the one order or the other, as the compiler has it. `None` if they are neither.
///
/// Each is an enumeration with its tag in front, of one byte and of two: a type is 1 to 3, as above, and the version 4 or
/// 5, TLS 1.2 or 1.3.
#[must_use]
pub const fn record_type(bytes: u64) -> Option<u64> {
    let (first, second, last) = (bytes & 0xff, bytes >> 16 & 0xffff, bytes >> 32 & 0xff);
    let tag = match (bytes & 0xffff, second) {
        (4 | 5, _) => last,
        (_, 4 | 5) => first,
        _ => return None,
    };
    if tag >= record::ALERT && tag <= record::APPLICATION { Some(tag) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_takes_the_smallest_class_that_holds_it() {
        for (length, index) in [(1, 0), (64, 0), (65, 1), (256, 1), (257, 2), (4096, 3), (4097, 4), (16_384, 4)] {
            assert_eq!(class(length), index, "{length}");
            assert!(CLASSES[class(length)] >= length);
        }
    }

    #[test]
    fn only_a_close_lower_frame_is_nested() {
        assert!(is_nested(0x10_000, 0x10_000 - 8));
        assert!(is_nested(0x10_000, 0x10_000 - NESTED_WINDOW));
        assert!(!is_nested(0x10_000, 0x10_000 - NESTED_WINDOW - 8));
        assert!(!is_nested(0x10_000, 0x10_000));
        assert!(!is_nested(0x10_000, 0x20_000));
    }

    #[test]
    fn on_the_own_stack_a_lower_frame_is_nested_from_afar() {
        let (top, window) = (0x7fff_0000, 64 << 20);
        let outer = top - 0x1000;
        assert!(is_nested_in_thread(outer, outer - (1 << 20), top, window, true));
        assert!(is_nested_in_thread(outer, outer - OWN_NESTED_WINDOW, top, window, false));
        assert!(!is_nested_in_thread(outer, outer - OWN_NESTED_WINDOW - 8, top, window, false));
        assert!(!is_nested_in_thread(outer, outer + 8, top, window, true));
        // One of them elsewhere.
        assert!(!is_nested_in_thread(outer, 0x1000_0000, top, 0x1_0000, true));
        assert!(!is_nested_in_thread(0x9000_0000, outer, top, window, true));
    }

    #[test]
    fn tls_is_told_from_http() {
        for head in [*b"\x16\x03", *b"\x17\x03", *b"\x14\x03"] {
            assert!(is_tls_record(head));
        }
        for head in [*b"GE", *b"PO", *b"PR", *b"HT", *b"\0\0", *b"\x16\x02", *b"\x03\x16"] {
            assert!(!is_tls_record(head));
        }
    }

    #[test]
    fn the_trampoline_is_told_from_return_addresses() {
        assert!(is_trampoline(0x7fff_ffff_e000));
        assert!(!is_trampoline(0x7fff_ffff_e001));
        assert!(!is_trampoline(0));
    }

    #[test]
    fn a_record_tells_its_type_in_either_order_of_fields() {
        let word = |bytes: [u8; 8]| record_type(u64::from_le_bytes(bytes));
        // Type, unused, version, unused.
        assert_eq!(word([3, 0x7f, 5, 0, 0xaa, 0xbb, 0xcc, 0xdd]), Some(record::APPLICATION));
        assert_eq!(word([2, 0, 4, 0, 0, 0, 0, 0]), Some(record::HANDSHAKE));
        // Version, unused, type, unused.
        assert_eq!(word([4, 0, 0xaa, 0xbb, 3, 0x7f, 0xcc, 0xdd]), Some(record::APPLICATION));
        assert_eq!(word([5, 0, 4, 0, 1, 0, 0, 0]), Some(record::ALERT));
        // Other versions, other types, pointers, text.
        assert_eq!(word([3, 0, 3, 0, 0, 0, 0, 0]), None);
        assert_eq!(word([4, 0, 0, 0, 4, 0, 0, 0]), None);
        assert_eq!(word([0, 0, 5, 0, 0, 0, 0, 0]), None);
        assert_eq!(word(0x7f3a_9c00_1e70_u64.to_le_bytes()), None);
        assert_eq!(word(*b"HTTP/1.1"), None);
    }
}
