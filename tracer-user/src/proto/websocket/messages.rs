//! One direction of a WebSocket: from bytes to the pieces of its text messages.

use bytes::{Bytes, BytesMut};

use super::{
    super::{Fault, Limits, view::View},
    deflate::Inflate,
    frame::{self, HEADER_BYTES, Header, Opcode, Parsed, Sender},
};

/// What a direction yields, in order. A message is `Begin`, `Data`*, `End`.
pub(super) enum Part {
    /// A text message begins; the time is that of its first frame's first byte.
    Begin {
        first_byte_at: u64,
    },
    Data(Bytes),
    /// The message is over; with a fault its rest could not be read.
    End(Option<Fault>),
    /// A message that is not text begins. Nothing more is told of it.
    NotText,
    /// So many bytes are missing; `None` = an unknown number.
    Lost(Option<u64>),
    /// The sender closes (section 5.5.1). Nothing follows.
    Close,
}

/// A message whose last frame has not ended.
struct Open {
    text: bool,
    compressed: bool,
    fault: Option<Fault>,
}

enum State {
    /// At or inside a frame's header.
    Header,
    Payload {
        header: Header,
        /// Bytes of the payload that were taken or lost.
        position: u64,
    },
    /// Skipped up to a record that begins with a provable frame.
    Searching,
    Closed,
}

pub(super) struct Messages {
    sender: Sender,
    state: State,
    /// A header that a cut went through.
    held: [u8; HEADER_BYTES],
    held_bytes: usize,
    /// When the first byte of the current frame came.
    frame_at: u64,
    open: Option<Open>,
    /// `None` when compression was not agreed upon.
    inflate: Option<Inflate>,
}

impl Messages {
    pub(super) fn new(sender: Sender, inflate: Option<Inflate>, searching: bool) -> Self {
        Self {
            sender,
            state: if searching { State::Searching } else { State::Header },
            held: [0; HEADER_BYTES],
            held_bytes: 0,
            frame_at: 0,
            open: None,
            inflate,
        }
    }

    pub(super) fn push(&mut self, at: u64, mut input: View<'_>, limits: &Limits, sink: &mut impl FnMut(Part)) {
        if matches!(self.state, State::Searching) && frame::is_proven(&input, self.sender) {
            self.state = State::Header;
        }
        while !input.is_empty() {
            match &mut self.state {
                State::Header => {
                    if self.held_bytes == 0 {
                        self.frame_at = at;
                    }
                    match self.take_header(&mut input) {
                        Some(Parsed::Header(header, _)) => self.begin_frame(header, limits, sink),
                        Some(Parsed::Invalid) => self.lose_framing(Fault::Malformed, sink),
                        Some(Parsed::TooShort) | None => {}
                    }
                }
                State::Payload { header, position } => {
                    let left = header.length - *position;
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let (header, start) = (*header, *position);
                    *position += taken as u64;
                    let data = input.split_to(taken);
                    self.payload(&header, start, data, limits, sink);
                    if taken as u64 == left {
                        self.end_frame(&header, limits, sink);
                    }
                }
                State::Searching | State::Closed => return,
            }
        }
    }

    pub(super) fn gap(&mut self, lost: Option<u64>, limits: &Limits, sink: &mut impl FnMut(Part)) {
        if matches!(self.state, State::Closed) {
            return;
        }
        sink(Part::Lost(lost));
        match (&mut self.state, lost) {
            (State::Payload { header, position }, Some(lost)) if lost <= header.length - *position => {
                *position += lost;
                let (header, ended) = (*header, *position == header.length);
                if !is_control(header.opcode) {
                    self.damage(Fault::Lost);
                }
                if ended {
                    self.end_frame(&header, limits, sink);
                }
            }
            _ => self.lose_framing(Fault::Lost, sink),
        }
    }

    /// The connection ended: what is open has no end of its own.
    pub(super) fn close(&mut self) {
        self.state = State::Closed;
        self.open = None;
    }

    /// Takes a header from the start of `input`; `None` when it is not whole yet.
    fn take_header(&mut self, input: &mut View<'_>) -> Option<Parsed> {
        let before = self.held_bytes;
        if before == 0
            && let parsed @ (Parsed::Header(..) | Parsed::Invalid) = frame::header(input, self.sender)
        {
            if let Parsed::Header(_, size) = parsed {
                input.advance(size);
            }
            return Some(parsed);
        }
        let room = (HEADER_BYTES - before).min(input.len());
        self.held[before..before + room].copy_from_slice(&input[..room]);
        match frame::header(&self.held[..before + room], self.sender) {
            Parsed::TooShort => {
                self.held_bytes += room;
                input.clear();
                None
            }
            parsed => {
                if let Parsed::Header(_, size) = parsed {
                    input.advance(size - before);
                }
                self.held_bytes = 0;
                Some(parsed)
            }
        }
    }

    fn begin_frame(&mut self, header: Header, limits: &Limits, sink: &mut impl FnMut(Part)) {
        match header.opcode {
            Opcode::Text | Opcode::Binary => {
                // The message before has not ended: the sender broke the protocol, or its end was lost.
                self.abandon(Fault::Malformed, sink);
                let text = header.opcode == Opcode::Text;
                let fault = match &mut self.inflate {
                    Some(inflate) if header.compressed => {
                        inflate.begin_message();
                        None
                    }
                    None if header.compressed => Some(Fault::Unsupported),
                    _ => None,
                };
                self.open = Some(Open { text, compressed: header.compressed, fault });
                sink(if text { Part::Begin { first_byte_at: self.frame_at } } else { Part::NotText });
            }
            // Without its message: that was lost.
            Opcode::Continuation | Opcode::Close | Opcode::Heartbeat => {}
        }
        self.state = State::Payload { header, position: 0 };
        if header.length == 0 {
            self.end_frame(&header, limits, sink);
        }
    }

    fn payload(&mut self, header: &Header, start: u64, data: View<'_>, limits: &Limits, sink: &mut impl FnMut(Part)) {
        if is_control(header.opcode) {
            return;
        }
        let Some(open) = &mut self.open else { return };
        // A compressed message is read even when nobody wants it: later ones refer to it.
        if open.fault.is_some() || !(open.text || open.compressed) {
            return;
        }
        let data = match header.mask {
            None => data.keep(),
            Some(mask) => {
                let mut plain = BytesMut::from(&data[..]);
                frame::unmask(&mut plain, mask, start);
                plain.freeze()
            }
        };
        match &mut self.inflate {
            Some(inflate) if open.compressed => {
                let text = open.text;
                let mut tell = |piece| {
                    if text {
                        sink(Part::Data(piece));
                    }
                };
                open.fault = inflate.push(&data, limits, &mut tell).err();
                if open.fault.is_some() {
                    sink(Part::Lost(None));
                }
            }
            _ => sink(Part::Data(data)),
        }
    }

    fn end_frame(&mut self, header: &Header, limits: &Limits, sink: &mut impl FnMut(Part)) {
        self.state = State::Header;
        match header.opcode {
            Opcode::Close => {
                self.state = State::Closed;
                sink(Part::Close);
            }
            Opcode::Heartbeat => {}
            _ if header.last => {
                let Some(mut open) = self.open.take() else { return };
                if let (Some(inflate), true, None) = (&mut self.inflate, open.compressed, open.fault) {
                    let mut tell = |piece| {
                        if open.text {
                            sink(Part::Data(piece));
                        }
                    };
                    open.fault = inflate.end_message(limits, &mut tell).err();
                    if open.fault.is_some() {
                        sink(Part::Lost(None));
                    }
                }
                if open.text {
                    sink(Part::End(open.fault));
                }
            }
            _ => {}
        }
    }

    /// Bytes of the open message are missing.
    fn damage(&mut self, fault: Fault) {
        let Some(open) = &mut self.open else { return };
        open.fault.get_or_insert(fault);
        if let (Some(inflate), true) = (&mut self.inflate, open.compressed) {
            inflate.lose_context();
        }
    }

    /// Nothing says where the next frame begins.
    fn lose_framing(&mut self, fault: Fault, sink: &mut impl FnMut(Part)) {
        self.held_bytes = 0;
        self.state = State::Searching;
        if let Some(inflate) = &mut self.inflate {
            inflate.lose_context();
        }
        self.abandon(fault, sink);
    }

    fn abandon(&mut self, fault: Fault, sink: &mut impl FnMut(Part)) {
        if let Some(open) = self.open.take() {
            if let (Some(inflate), true) = (&mut self.inflate, open.compressed) {
                inflate.lose_context();
            }
            if open.text {
                sink(Part::End(Some(open.fault.unwrap_or(fault))));
            }
        }
    }
}

fn is_control(opcode: Opcode) -> bool {
    matches!(opcode, Opcode::Close | Opcode::Heartbeat)
}
