//! The chunked transfer coding (RFC 9112 section 7.1), without its data: this counts, the caller slices.

use super::super::{Fault, Limits};

/// Most digits of a size that is read at once.
const PLAIN_DIGITS: usize = 9;

#[derive(Debug, Default)]
pub(super) struct Chunked {
    state: State,
    /// Data bytes that the current chunk still has; while its size is read, the size so far.
    remaining: u64,
    /// Bytes of the current size line or of the trailer section.
    line: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the first digit of a chunk size.
    #[default]
    SizeStart,
    Size,
    /// Between the size and the line end: white space and extensions, which say nothing about the body.
    Extension,
    Data,
    /// The line end behind the data.
    DataEnd,
    TrailerStart,
    Trailer,
    Done,
}

/// What [`Chunked::next`] found at the start of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// So many bytes are framing.
    Framing(usize),
    /// So many bytes are data.
    Data(usize),
    /// So many bytes are framing, and with them the body ends.
    End(usize),
}

impl Chunked {
    pub(super) fn next(&mut self, input: &[u8], limits: &Limits) -> Result<Found, Fault> {
        if self.state == State::Data {
            let length = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(input.len());
            self.take(length as u64);
            return Ok(Found::Data(length));
        }
        let plain = self.plain_size_line(input);
        if plain > 0 {
            return Ok(Found::Framing(plain));
        }
        for (position, &byte) in input.iter().enumerate() {
            self.byte(byte, limits)?;
            match self.state {
                State::Data => return Ok(Found::Framing(position + 1)),
                State::Done => return Ok(Found::End(position + 1)),
                _ => {}
            }
        }
        Ok(Found::Framing(input.len()))
    }

    /// The way of nearly every chunk, at once: the line end behind the last data, a size, a line end. Gives the bytes
    /// taken; whatever looks different is left to the state machine.
    fn plain_size_line(&mut self, input: &[u8]) -> usize {
        if self.line > 0 {
            return 0;
        }
        let start = match (self.state, input) {
            (State::SizeStart, _) => 0,
            // Records mostly end with their chunk.
            (State::DataEnd, b"\r\n") => {
                self.state = State::SizeStart;
                return 2;
            }
            (State::DataEnd, [b'\r', b'\n', ..]) => 2,
            _ => return 0,
        };
        let mut size = 0;
        for (digits, &byte) in input[start..].iter().take(PLAIN_DIGITS).enumerate() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'A'..=b'F' => byte - b'A' + 10,
                b'\r' if size > 0 && input.get(start + digits + 1) == Some(&b'\n') => {
                    self.remaining = size;
                    self.state = State::Data;
                    return start + digits + 2;
                }
                _ => break,
            };
            size = size << 4 | u64::from(digit);
        }
        0
    }

    /// Whether the next `lost` bytes are all data of the current chunk.
    pub(super) fn holds(&self, lost: u64) -> bool {
        self.state == State::Data && lost <= self.remaining
    }

    /// Skips `lost` bytes that the current chunk holds.
    pub(super) fn gap(&mut self, lost: u64) {
        self.take(lost.min(self.remaining));
    }

    fn take(&mut self, bytes: u64) {
        self.remaining -= bytes;
        if self.remaining == 0 {
            self.state = State::DataEnd;
        }
    }

    fn byte(&mut self, byte: u8, limits: &Limits) -> Result<(), Fault> {
        self.line += 1;
        self.state = match (self.state, byte) {
            (State::SizeStart | State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let size = self.remaining.checked_mul(16).ok_or(Fault::Malformed)?;
                self.remaining = size + u64::from(digit);
                State::Size
            }
            (State::Size, b';' | b' ' | b'\t' | b'\r') => State::Extension,
            (State::Size | State::Extension, b'\n') => {
                self.line = 0;
                if self.remaining == 0 { State::TrailerStart } else { State::Data }
            }
            (State::Extension, _) => State::Extension,
            (State::DataEnd, b'\r') => State::DataEnd,
            (State::DataEnd, b'\n') => {
                self.line = 0;
                State::SizeStart
            }
            (State::TrailerStart, b'\r') => State::TrailerStart,
            (State::TrailerStart, b'\n') => State::Done,
            (State::Trailer, b'\n') => State::TrailerStart,
            (State::TrailerStart | State::Trailer, _) => State::Trailer,
            (State::SizeStart | State::Size | State::DataEnd | State::Data | State::Done, _) => {
                return Err(Fault::Malformed);
            }
        };
        let most = match self.state {
            State::TrailerStart | State::Trailer => limits.head_bytes,
            _ => limits.chunk_line_bytes,
        };
        if self.line > most { Err(Fault::Limit) } else { Ok(()) }
    }
}
