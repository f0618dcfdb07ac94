//! What a pattern cannot say: checksums, what stands before and behind, and what only looks like a secret.

use std::ops::Range;

use base64::{Engine, alphabet::STANDARD, engine::GeneralPurpose, engine::GeneralPurposeConfig};

/// Padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

/// How far a value is read before it is known what it is.
const RUN_BYTES: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    None,
    /// Nothing that could be one word with it stands before.
    Edge,
    /// The same, and it has a digit.
    Key,
    /// It has a digit: prose has none.
    Token,
    /// Base64 of `user:password`.
    Basic,
    /// No place-holder.
    Value,
    /// The password of a URL.
    Url,
    /// Base64 of an object, and of another one behind a dot.
    Jwt,
    /// What a name says is secret: no place-holder, no expression, no word.
    Assigned,
    /// A whole address of a person's or service's mailbox.
    Email,
    Card,
    Iban,
    Phone,
}

impl Check {
    /// The secret, when the match at `found` is what its rule names; it can go on behind the match, or stand there.
    pub fn secret(self, text: &[u8], found: Range<usize>) -> Option<Range<usize>> {
        let found = match self {
            Self::Token | Self::Basic => {
                found.start..run(text, found.end, |byte| is_word(byte) || b".~+/=".contains(&byte))
            }
            Self::Assigned => {
                found.start..run(text, found.end, |byte| is_word(byte) || b".+/=!@#$%^&*~".contains(&byte))
            }
            Self::Value => {
                found.start..run(text, found.end, |byte| !byte.is_ascii_whitespace() && !b";\"'()".contains(&byte))
            }
            Self::Url => url_password(text, found.end)?,
            Self::Jwt => found.start..jwt_end(text, found.end)?,
            _ => found,
        };
        if found.is_empty() || !self.holds(text, &found) {
            return None;
        }
        // What is known as a secret may be of any length.
        let more = |byte: &&u8| is_word(**byte) || b".~+/=".contains(byte);
        let rest = if found.len() >= RUN_BYTES { text[found.end..].iter().take_while(more).count() } else { 0 };
        Some(found.start..found.end + rest)
    }

    fn holds(self, text: &[u8], found: &Range<usize>) -> bool {
        let value = &text[found.clone()];
        let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
        match self {
            Self::None => true,
            Self::Edge | Self::Jwt => has_edge(text, found.start),
            Self::Key => digits > 0 && has_edge(text, found.start),
            Self::Token => digits > 0 && !is_place_holder(value),
            Self::Basic => BASE64.decode(value).is_ok_and(|decoded| {
                decoded.contains(&b':')
                    && std::str::from_utf8(&decoded).is_ok_and(|text| !text.contains(char::is_control))
            }),
            Self::Value | Self::Url => !is_place_holder(value),
            Self::Assigned => {
                let letters = value.iter().any(u8::is_ascii_alphabetic);
                let call = matches!(text.get(found.end), Some(b'(' | b'['));
                letters && digits >= 2 && !call && !is_place_holder(value)
            }
            Self::Email => has_edge(text, found.start) && is_mailbox(value),
            Self::Card => stands_alone(text, found) && is_card(value),
            Self::Iban => stands_alone(text, found) && is_iban(value),
            Self::Phone => (8..=15).contains(&digits) && stands_alone(text, found),
        }
    }
}

/// Where bytes of a class end that begin at `at`, at most [`RUN_BYTES`] on.
fn run(text: &[u8], at: usize, class: impl Fn(u8) -> bool) -> usize {
    at + text[at..].iter().take(RUN_BYTES).take_while(|byte| class(**byte)).count()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// `user:password@` behind `://`; the user may be missing.
fn url_password(text: &[u8], at: usize) -> Option<Range<usize>> {
    let end = run(text, at, |byte| !byte.is_ascii_whitespace() && !b"/@\"'<>".contains(&byte));
    let user = text[at..end].iter().position(|byte| *byte == b':')?;
    (text.get(end) == Some(&b'@')).then_some(at + user + 1..end)
}

/// A header, an object behind a dot, and mostly a signature behind another one. A header of more than [`RUN_BYTES`] holds
/// certificates; it is no bearer's token.
fn jwt_end(text: &[u8], at: usize) -> Option<usize> {
    let header = run(text, at, is_word);
    let claims = text[header..].strip_prefix(b".eyJ")?.iter().take_while(|byte| is_word(**byte)).count();
    let end = header + 4 + claims;
    let signature =
        text[end..].strip_prefix(b".").map_or(0, |rest| rest.iter().take_while(|byte| is_word(**byte)).count());
    (claims >= 8).then_some(end + if signature > 0 { signature + 1 } else { 0 })
}

/// Whether a word can begin at `at`: behind a separator, or behind an escape of nested JSON or of a URL.
fn has_edge(text: &[u8], at: usize) -> bool {
    let before = &text[..at];
    let Some(last) = before.last() else { return true };
    if !(last.is_ascii_alphanumeric() || b"_+-".contains(last)) {
        return true;
    }
    let hex = |count: usize| before.len() > count && before[before.len() - count..].iter().all(u8::is_ascii_hexdigit);
    let behind = |count: usize, escape: &[u8]| before[..before.len().saturating_sub(count)].ends_with(escape);
    (b"nrtbf".contains(last) && behind(1, b"\\")) || (hex(2) && behind(2, b"%")) || (hex(4) && behind(4, b"\\u"))
}

/// Whether digits are no part of a longer number, word or id.
fn stands_alone(text: &[u8], found: &Range<usize>) -> bool {
    let digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    // Where the number itself is grouped by blanks, digits behind a blank are another group.
    let joins = |byte: u8| byte == b'.' || (byte == b' ' && text[found.clone()].contains(&b' '));
    let alone_before =
        has_edge(text, found.start) && !(found.start > 1 && joins(text[found.start - 1]) && digit(found.start - 2));
    let alone_behind = match text.get(found.end) {
        Some(byte) if *byte == b'-' || joins(*byte) => !digit(found.end + 1),
        Some(byte) => !byte.is_ascii_alphanumeric() && *byte != b'_',
        None => true,
    };
    alone_before && alone_behind
}

/// `${NAME}`, `{name}`, `<name>`, `***`, and what was redacted before.
fn is_place_holder(value: &[u8]) -> bool {
    let same = value.iter().all(|byte| *byte == value[0]);
    let enclosed = |open: &[u8], close: &[u8]| value.starts_with(open) && value.ends_with(close);
    same || value.starts_with(b"$") || enclosed(b"{", b"}") || enclosed(b"%", b"%") || enclosed(b"[REDACTED:", b"]")
}

/// Names of pictures for dense screens (`logo@2x.png`) and addresses for `ssh` have the form, too.
fn is_mailbox(value: &[u8]) -> bool {
    let file = [".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".js", ".css", ".py", ".ts"];
    !value.starts_with(b"git@") && !file.iter().any(|ending| value.ends_with(ending.as_bytes()))
}

/// A number range that ISO/IEC 7812 gives to a card network, with the length in use there, whose check digit is right.
fn is_card(value: &[u8]) -> bool {
    let digits: Vec<u8> = value.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0').collect();
    let prefix = |count: usize| digits[..count].iter().fold(0u32, |sum, digit| sum * 10 + u32::from(*digit));
    let issued = match prefix(4) {
        3400..=3499 | 3700..=3799 => digits.len() == 15,
        3000..=3059 | 3600..=3699 | 3800..=3999 => digits.len() == 14,
        3528..=3589 | 5100..=5599 | 2221..=2720 => digits.len() == 16,
        4000..=4999 => matches!(digits.len(), 16 | 19),
        6011 | 6440..=6599 | 6200..=6299 => (16..=19).contains(&digits.len()),
        _ => false,
    };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let weighted = u32::from(*digit) * if place % 2 == 1 { 2 } else { 1 };
            weighted / 10 + weighted % 10
        })
        .sum();
    issued && sum.is_multiple_of(10)
}

/// ISO 7064 MOD 97-10.
fn is_iban(value: &[u8]) -> bool {
    let plain: Vec<u8> = value.iter().copied().filter(|byte| *byte != b' ').collect();
    let turned = plain[4..].iter().chain(&plain[..4]);
    let rest = turned.fold(0u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    (15..=34).contains(&plain.len()) && rest == 1
}
