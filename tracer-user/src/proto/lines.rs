//! Bodies of one JSON text a line (NDJSON, JSON Lines).

use bytes::BytesMut;

use super::{Limits, Piece, body::Item, view::View};

/// A line ends with LF; a CR before it is JSON white space and is removed. Blank lines are skipped.
#[derive(Default)]
pub(super) struct Lines {
    partial: BytesMut,
    /// The rest of the current line is of no use: its start was lost, or it is over the limit.
    skipping: bool,
    dropped: u64,
}

impl Lines {
    pub(super) fn push(&mut self, bytes: View<'_>, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        let mut start = 0;
        while start < bytes.len() {
            let Some(length) = memchr::memchr(b'\n', &bytes[start..]) else {
                self.hold(&bytes[start..], limits);
                return;
            };
            let end = start + length;
            if self.skipping {
                self.dropped += length as u64;
                self.skipping = false;
                self.report_dropped(sink);
            } else if self.partial.is_empty() {
                emit(bytes.part(start..end), sink);
            } else {
                self.hold(&bytes[start..end], limits);
                if self.skipping {
                    self.skipping = false;
                    self.report_dropped(sink);
                } else {
                    emit(View::of(&self.partial.split().freeze()), sink);
                }
            }
            start = end + 1;
        }
    }

    /// Bytes are missing here: the next provable start is behind a line end.
    pub(super) fn gap(&mut self) {
        self.dropped += self.partial.len() as u64;
        self.partial.clear();
        self.skipping = true;
    }

    /// The last line of a whole body may lack its line end; that of a cut one may be half.
    pub(super) fn finish(&mut self, complete: bool, sink: &mut impl FnMut(Item<'_>)) {
        let line = self.partial.split().freeze();
        if complete && !self.skipping {
            emit(View::of(&line), sink);
        }
        self.report_dropped(sink);
    }

    fn hold(&mut self, part: &[u8], limits: &Limits) {
        if self.skipping {
            self.dropped += part.len() as u64;
        } else if self.partial.len() + part.len() > limits.line_bytes {
            self.dropped += (self.partial.len() + part.len()) as u64;
            self.partial = BytesMut::new();
            self.skipping = true;
        } else {
            self.partial.extend_from_slice(part);
        }
    }

    fn report_dropped(&mut self, sink: &mut impl FnMut(Item<'_>)) {
        if self.dropped > 0 {
            sink(Item::Dropped(std::mem::take(&mut self.dropped)));
        }
    }
}

fn emit(line: View<'_>, sink: &mut impl FnMut(Item<'_>)) {
    let end = line.len() - usize::from(line.last() == Some(&b'\r'));
    if !line.iter().all(u8::is_ascii_whitespace) {
        sink(Item::Piece(Piece::Line(line.part(0..end).borrow())));
    }
}
