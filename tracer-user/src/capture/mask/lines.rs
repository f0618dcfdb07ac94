//! Credentials of HTTP/1.x: a line scanner, not a parser: it works on any cut of the stream, after gaps, and on bytes that no decoder
//! understands. A line of a body that looks like a credential header is overwritten, too: that errs on the right side.

use super::MASK;
use crate::credentials::{is_credential_header, is_credential_parameter};

/// Longest name or method worth remembering, bytes.
const MAX_NAME: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// At the first byte of a line.
    #[default]
    LineStart,
    /// In what may be a header name or a method; it is in `name`.
    Name,
    /// In the value of a header that is no secret, or in a line of something else.
    Rest,
    /// In a secret header value.
    Secret,
    /// At the first byte of the line after a secret value: white space continues it (obs-fold, RFC 9112 section 5.2).
    AfterSecret,
    /// In a request target, before `?`.
    Target,
    /// In the name of a query parameter; it is in `name`.
    Parameter,
    /// In the value of a query parameter, secret or not.
    Value { secret: bool },
}

/// Where the scanner stands in one direction of one connection.
#[derive(Debug, Clone, Default)]
pub struct Scanner {
    state: State,
    name: Vec<u8>,
    /// The parameter began somewhere in a line: what ends a URL in a text ends it, too.
    in_text: bool,
}

impl Scanner {
    /// Overwrites what is secret in the next bytes of the stream.
    pub fn mask(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            if self.state == State::Rest {
                // Nothing but the end of the line and a query matters here: a body need not end with its line, so that the
                // next request can begin in the middle of one.
                let found = bytes.get(at..).and_then(|rest| memchr::memchr2(b'\n', b'?', rest));
                let Some(end) = found else { return };
                at += end + 1;
                if bytes.get(at - 1) == Some(&b'?') {
                    self.begin_parameter();
                    self.in_text = true;
                } else {
                    self.state = State::LineStart;
                }
                continue;
            }
            if self.step(byte)
                && let Some(place) = bytes.get_mut(at)
            {
                *place = MASK;
            }
            at += 1;
        }
    }

    /// Bytes are missing: what follows may start anywhere, also inside a secret. The rest of the line is masked.
    pub fn gap(&mut self) {
        self.name.clear();
        self.state = State::Secret;
    }

    /// Moves on by one byte; `true` when it must be overwritten.
    fn step(&mut self, byte: u8) -> bool {
        match self.state {
            State::LineStart | State::AfterSecret => {
                if self.state == State::AfterSecret && matches!(byte, b' ' | b'\t') {
                    self.state = State::Secret;
                    return false;
                }
                self.name.clear();
                self.state = State::Name;
                self.step(byte)
            }
            State::Name => {
                match byte {
                    b'\n' => self.state = State::LineStart,
                    b':' if self.name().is_some_and(is_credential_header) => self.state = State::Secret,
                    b' ' if !self.name.is_empty() && self.name.iter().all(u8::is_ascii_lowercase) => {
                        // A method, or a word of a body: only a target that has `?` is looked at.
                        self.state = State::Target;
                    }
                    _ if self.name.len() < MAX_NAME
                        && (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) =>
                    {
                        self.name.push(byte.to_ascii_lowercase());
                    }
                    _ => self.state = State::Rest,
                }
                false
            }
            State::Rest | State::Target | State::Parameter | State::Value { .. } | State::Secret if byte == b'\n' => {
                self.state = if self.state == State::Secret { State::AfterSecret } else { State::LineStart };
                false
            }
            State::Parameter | State::Value { .. } if self.in_text && b"\"\\'<>)".contains(&byte) => {
                self.state = State::Rest;
                false
            }
            State::Rest => false,
            State::Secret => byte != b'\r',
            State::Target => {
                match byte {
                    b'?' => {
                        self.begin_parameter();
                        self.in_text = false;
                    }
                    b' ' => self.state = State::Rest,
                    _ => {}
                }
                false
            }
            State::Parameter => {
                match byte {
                    b'=' => {
                        let secret = self.name().is_some_and(is_credential_parameter);
                        self.state = State::Value { secret };
                    }
                    b'&' => self.begin_parameter(),
                    b' ' => self.state = State::Rest,
                    _ if self.name.len() < MAX_NAME => self.name.push(byte.to_ascii_lowercase()),
                    _ => self.state = State::Value { secret: false },
                }
                false
            }
            State::Value { secret } => match byte {
                b'&' => {
                    self.begin_parameter();
                    false
                }
                b' ' => {
                    self.state = State::Rest;
                    false
                }
                _ => secret,
            },
        }
    }

    /// The name so far. Longer names are no credential's.
    fn name(&self) -> Option<&str> {
        std::str::from_utf8(&self.name).ok()
    }

    fn begin_parameter(&mut self) {
        self.name.clear();
        self.state = State::Parameter;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = "POST /v1/x?alt=sse&key=AIzaSecret&a=b HTTP/1.1\r\nHost: h\r\nAUTHORIZATION: Bearer sk-secret\r\n \
                          folded-secret\r\nx-api-key:sk-two\r\nX-Other: keep\r\n\r\n{\"key\": \"body\"}GET /?token=t0p HTTP/1.1\r\n\
                          Cookie: a=secret; b=secret\r\n\r\n";

    fn masked(cuts: &[usize]) -> String {
        let mut bytes = STREAM.as_bytes().to_vec();
        let mut scanner = Scanner::default();
        let mut rest = bytes.as_mut_slice();
        for cut in cuts {
            let (head, tail) = rest.split_at_mut((*cut).min(rest.len()));
            scanner.mask(head);
            rest = tail;
        }
        scanner.mask(rest);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn secrets_go_and_everything_else_stays() {
        let text = masked(&[]);
        assert!(!text.to_lowercase().contains("secret") && !text.contains("sk-two") && !text.contains("t0p"), "{text}");
        for kept in
            ["alt=sse&key=**********&a=b HTTP/1.1\r\n", "Host: h\r\n", "X-Other: keep\r\n\r\n{\"key\": \"body\"}GET /?"]
        {
            assert!(text.contains(kept), "{text}");
        }
        assert_eq!(text.len(), STREAM.len());
    }

    /// A body without an end of line, and the next request behind it.
    #[test]
    fn the_target_behind_a_body_is_masked() {
        let mut bytes =
            b"{\"url\": \"https://h/?token=t0p\", \"why\": 1}POST /v1/x?a=b&key=secret HTTP/1.1\r\nHost: h\r\n"
                .to_vec();
        Scanner::default().mask(&mut bytes);
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "{\"url\": \"https://h/?token=***\", \"why\": 1}POST /v1/x?a=b&key=****** HTTP/1.1\r\nHost: h\r\n"
        );
    }

    #[test]
    fn after_a_gap_the_rest_of_the_line_is_masked() {
        let mut scanner = Scanner::default();
        scanner.gap();
        let mut bytes = *b"cret\r\nHost: h\r\n";
        scanner.mask(&mut bytes);
        assert_eq!(&bytes, b"****\r\nHost: h\r\n");
    }

    proptest! {
        #[test]
        fn any_cut_masks_the_same(cuts in proptest::collection::vec(0usize..40, 0..30)) {
            prop_assert_eq!(masked(&cuts), masked(&[]));
        }
    }
}
