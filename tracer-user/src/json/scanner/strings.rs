//! Strings: passed over, captured up to a cap, or handed over in pieces.

use super::{Passing, Scanner, State, hold};
use crate::json::{
    Scalar, Sink, Take,
    bytes::{bounds, string_end, string_special},
    text::{self, ESCAPE_BYTES, Escape},
};

/// Decoded text that is put together before it goes on.
const PIECE_BYTES: usize = 512;

impl<F: Copy + 'static> Scanner<F> {
    pub(super) fn pass(
        &mut self,
        input: &[u8],
        at: usize,
        escaped: bool,
        empty: bool,
        sink: &mut impl Sink<F>,
    ) -> usize {
        match string_end(input, at, escaped) {
            Ok(end) => {
                let told = self.shape.is_some_and(|shape| shape.take != Take::Skip);
                self.remember(at, end, Passing::Text { told });
                if told {
                    self.scalar(Scalar::Opaque { empty: empty && end == at }, sink);
                }
                self.end_value();
                end + 1
            }
            Err(escaped) => {
                self.state = State::Pass { escaped, empty: false };
                input.len()
            }
        }
    }

    pub(super) fn take(
        &mut self,
        input: &[u8],
        at: usize,
        escaped: bool,
        cap: u32,
        cut: bool,
        sink: &mut impl Sink<F>,
    ) -> usize {
        let (end, done, escaped) = bounds(input, at, escaped);
        let piece = &input[at..end];
        if done && self.held.is_empty() && !cut && piece.len() <= cap as usize {
            self.scalar(Scalar::Text { value: &text::decode(piece, false), cut: false }, sink);
            self.end_value();
            return end + 1;
        }
        let cut = cut || !hold(&mut self.held, piece, cap as usize);
        if !done {
            self.state = State::Take { escaped, cap, cut };
            return end;
        }
        self.scalar(Scalar::Text { value: &text::decode(&self.held, cut), cut }, sink);
        self.end_value();
        end + 1
    }

    pub(super) fn pieces(&mut self, input: &[u8], mut at: usize, mut empty: bool, sink: &mut impl Sink<F>) -> usize {
        let Some(field) = self.shape.and_then(|shape| shape.field) else { return self.fail(input) };
        if self.escape.1 > 0 {
            return self.held_escape(input, at, field, sink);
        }
        // Text with many escapes is put together here, so that it goes on in few pieces.
        let mut buffer = [0; PIECE_BYTES];
        let mut length = 0;
        while let Some(run) = string_special(&input[at..]) {
            let text = &input[at..at + run];
            at += run + 1;
            empty &= run == 0;
            if length + run >= PIECE_BYTES {
                give(sink, field, &buffer[..length]);
                length = 0;
            }
            if run >= PIECE_BYTES {
                give(sink, field, text);
            } else {
                buffer[length..length + run].copy_from_slice(text);
                length += run;
            }
            if input[at - 1] == b'"' {
                give(sink, field, &buffer[..length]);
                sink.scalar(field, Scalar::Opaque { empty });
                self.end_value();
                return at;
            }
            empty = false;
            let simple = input.get(at).and_then(|kind| text::simple_escape(*kind));
            let Some(decoded) = simple.filter(|_| length < PIECE_BYTES) else {
                give(sink, field, &buffer[..length]);
                self.state = State::Pieces { empty };
                self.escape.0[0] = b'\\';
                self.escape.1 = 1;
                return at;
            };
            buffer[length] = decoded;
            length += 1;
            at += 1;
        }
        give(sink, field, &buffer[..length]);
        give(sink, field, &input[at..]);
        self.state = State::Pieces { empty: empty && at == input.len() };
        input.len()
    }

    /// Adds bytes to the escape that is being read until it is whole.
    fn held_escape(&mut self, input: &[u8], mut at: usize, field: F, sink: &mut impl Sink<F>) -> usize {
        let mut out = [0; 4];
        loop {
            let (held, length) = (&mut self.escape.0, &mut self.escape.1);
            // A quote ends the string, except as the second byte of an escape.
            let ends = at < input.len() && input[at] == b'"' && *length != 1 && !(*length == 7 && held[6] == b'\\');
            match text::escape(&held[..*length], ends, &mut out) {
                Escape::Done(used, text) => {
                    sink.text(field, &out[..text]);
                    let rest = *length - used;
                    held.copy_within(used..*length, 0);
                    *length = rest;
                    // What is left either begins another escape or is plain text.
                    if rest == 0 || held[0] == b'\\' {
                        return at;
                    }
                    let plain = held[..rest].iter().position(|byte| *byte == b'\\').unwrap_or(rest);
                    sink.text(field, &held[..plain]);
                    held.copy_within(plain..rest, 0);
                    *length = rest - plain;
                    return at;
                }
                Escape::More if at < input.len() && *length < ESCAPE_BYTES => {
                    held[*length] = input[at];
                    *length += 1;
                    at += 1;
                }
                Escape::More => return at,
            }
        }
    }
}

fn give<F>(sink: &mut impl Sink<F>, field: F, piece: &[u8]) {
    if !piece.is_empty() {
        sink.text(field, piece);
    }
}
