//! One direction of an HTTP/2 connection: from bytes to what matters of the frames.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    super::{Limits, view::View},
    frame::{END_HEADERS, END_STREAM, HEADER, Header, Kind, PADDED, PRIORITY},
    hpack,
    search::{Found, Origin, Search},
};

/// Bytes of a GOAWAY frame that matter: the last stream, and the error code.
const GO_AWAY_BYTES: usize = 8;

/// What frames say.
pub enum Item<'a> {
    /// Bytes of a body, without padding.
    Data {
        stream: u32,
        bytes: View<'a>,
        /// They are the first of their frame.
        begins: bool,
        end: bool,
    },
    /// A whole header block.
    Block {
        stream: u32,
        /// `None`: a part of it is lost, or it is over its limit.
        block: Option<Bytes>,
        /// It is a request that the server makes up.
        pushed: bool,
        end: bool,
        first_byte_at: u64,
    },
    Reset {
        stream: u32,
    },
    GoAway {
        last: u32,
    },
    /// The bytes are no frames, or not here.
    Nonsense,
}

/// What a gap takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing that anybody would read.
    Nothing,
    /// So many bytes of a stream's body.
    Data { stream: u32, bytes: u64 },
    /// The place of the frames.
    Position,
}

pub struct Side {
    /// `None` while the frames' places are known.
    search: Option<Search>,
    /// A header begun by earlier input.
    header: [u8; HEADER],
    header_bytes: usize,
    /// When the current frame began.
    frame_at: u64,
    frame: Option<Frame>,
    block: Option<Block>,
    pub hpack: hpack::Decoder,
}

/// A frame whose header is read.
struct Frame {
    header: Header,
    /// Bytes of the payload, with padding, that are still to come.
    left: usize,
    /// Bytes of padding at its end, once that is known.
    padding: Option<usize>,
    begun: bool,
    payload: BytesMut,
    /// A part is lost, or it is over its limit.
    broken: bool,
}

/// A header block that CONTINUATION frames go on with.
struct Block {
    stream: u32,
    fragments: BytesMut,
    broken: bool,
    pushed: bool,
    end: bool,
    first_byte_at: u64,
}

impl Side {
    pub fn new(limits: &Limits) -> Self {
        Self {
            search: Some(Search::default()),
            header: [0; HEADER],
            header_bytes: 0,
            frame_at: 0,
            frame: None,
            block: None,
            hpack: hpack::Decoder::new(limits.header_table_bytes),
        }
    }

    pub fn is_found(&self) -> bool {
        self.search.is_none()
    }

    /// Takes the next record while the frames are searched, and gives them once they are found.
    pub fn look(&mut self, record: &[u8]) -> Option<Found> {
        let found = self.search.as_mut()?.push(record)?;
        self.search = None;
        if found.origin == Origin::Middle {
            self.hpack.lose();
        }
        Some(found)
    }

    /// The other direction has proven that the connection has just begun: its frames begin with the first byte. Gives
    /// what came so far.
    pub fn begin(&mut self) -> Option<Bytes> {
        let all = self.search.take()?.into_all();
        if all.is_none() {
            self.search = Some(Search::after_loss());
        }
        all
    }

    /// The place of the frames is lost, and with it what header blocks would have said.
    pub fn lose(&mut self) {
        self.search = Some(Search::after_loss());
        self.header_bytes = 0;
        self.frame = None;
        self.block = None;
        self.hpack.lose();
    }

    pub fn gap(&mut self, lost: Option<u64>) -> Missing {
        let lost = lost.and_then(|lost| usize::try_from(lost).ok());
        let (Some(frame), Some(lost), None) = (&mut self.frame, lost, &self.search) else {
            self.lose();
            return Missing::Position;
        };
        if lost > frame.left {
            self.lose();
            return Missing::Position;
        }
        frame.left -= lost;
        match frame.header.kind {
            Kind::Data => {
                let stream = frame.header.stream;
                if frame.header.has(PADDED) && frame.padding.is_none() {
                    // How much of the rest is padding is lost, too.
                    let bytes = (lost + frame.left) as u64;
                    frame.broken = true;
                    return Missing::Data { stream, bytes };
                }
                let padding = frame.padding.unwrap_or_default();
                let lost_padding = padding.saturating_sub(frame.left);
                frame.padding = Some(padding - lost_padding);
                match lost - lost_padding {
                    0 => Missing::Nothing,
                    bytes => Missing::Data { stream, bytes: bytes as u64 },
                }
            }
            _ => {
                frame.broken = true;
                Missing::Nothing
            }
        }
    }

    /// The next item that `input` completes; takes from `input` what it needs. Also ends what a gap has ended.
    pub fn next<'a>(&mut self, at: u64, input: &mut View<'a>, limits: &Limits) -> Option<Item<'a>> {
        loop {
            let Some(frame) = &mut self.frame else {
                let header = self.take_header(at, input)?;
                let continues = self.block.as_ref().map(|block| block.stream);
                let expected = match header.kind {
                    Kind::Continuation => continues == Some(header.stream),
                    _ => continues.is_none(),
                };
                if !header.is_legal() || !expected {
                    return Some(Item::Nonsense);
                }
                self.frame = Some(Frame {
                    header,
                    left: header.length,
                    padding: if header.has(PADDED) { None } else { Some(0) },
                    begun: false,
                    payload: BytesMut::new(),
                    broken: false,
                });
                continue;
            };
            let stream = frame.header.stream;
            let wanted = match frame.header.kind {
                Kind::Data => {
                    let item = frame.data(input);
                    if frame.left == 0 && !matches!(item, Some(Item::Nonsense)) {
                        let end = frame.header.has(END_STREAM);
                        self.frame = None;
                        match item {
                            Some(Item::Data { stream, bytes, begins, .. }) => {
                                return Some(Item::Data { stream, bytes, begins, end });
                            }
                            _ if end => {
                                return Some(Item::Data { stream, bytes: input.part(0..0), begins: false, end });
                            }
                            _ => continue,
                        }
                    }
                    if item.is_some() || frame.left > 0 && input.is_empty() {
                        return item;
                    }
                    continue;
                }
                Kind::Headers | Kind::Continuation | Kind::PushPromise => limits.head_bytes,
                Kind::RstStream | Kind::GoAway => GO_AWAY_BYTES,
                _ => 0,
            };
            let header = frame.header;
            let payload = frame.collect(input, wanted)?;
            self.frame = None;
            let item = match header.kind {
                Kind::Headers | Kind::PushPromise | Kind::Continuation => self.fragment(header, payload, limits),
                Kind::RstStream => Some(Item::Reset { stream }),
                Kind::GoAway => payload
                    .and_then(|payload| payload.first_chunk().copied())
                    .map(|last| Item::GoAway { last: u32::from_be_bytes(last) & 0x7fff_ffff }),
                _ => None,
            };
            if item.is_some() {
                return item;
            }
        }
    }

    fn take_header(&mut self, at: u64, input: &mut View<'_>) -> Option<Header> {
        if input.is_empty() {
            return None;
        }
        if self.header_bytes == 0 {
            self.frame_at = at;
            if let Some(bytes) = input.first_chunk() {
                let header = Header::parse(bytes);
                input.advance(HEADER);
                return Some(header);
            }
        }
        let taken = (HEADER - self.header_bytes).min(input.len());
        self.header[self.header_bytes..][..taken].copy_from_slice(&input[..taken]);
        input.advance(taken);
        self.header_bytes = (self.header_bytes + taken) % HEADER;
        (self.header_bytes == 0).then(|| Header::parse(&self.header))
    }

    /// Adds a frame's part to its header block, and gives the block when it is whole.
    fn fragment(&mut self, header: Header, payload: Option<Bytes>, limits: &Limits) -> Option<Item<'static>> {
        let pushed = header.kind == Kind::PushPromise;
        let fragment = payload.and_then(|payload| match header.kind {
            Kind::Continuation => Some(payload),
            _ => strip(&header, payload, pushed),
        });
        let whole = header.has(END_HEADERS);
        let end = header.kind == Kind::Headers && header.has(END_STREAM);
        // Nearly all blocks are one frame.
        if whole && self.block.is_none() {
            let first_byte_at = self.frame_at;
            return Some(Item::Block { stream: header.stream, block: fragment, pushed, end, first_byte_at });
        }
        let block = self.block.get_or_insert_with(|| Block {
            stream: header.stream,
            fragments: BytesMut::new(),
            broken: false,
            pushed,
            end,
            first_byte_at: self.frame_at,
        });
        match fragment {
            Some(fragment) if block.fragments.len() + fragment.len() <= limits.head_bytes => {
                block.fragments.extend_from_slice(&fragment);
            }
            _ => block.broken = true,
        }
        if !whole {
            return None;
        }
        let Block { stream, fragments, broken, pushed, end, first_byte_at } = self.block.take()?;
        let block = (!broken).then(|| fragments.freeze());
        Some(Item::Block { stream, block, pushed, end, first_byte_at })
    }
}

impl Frame {
    /// The bytes of a DATA frame that `input` holds; `None` also when only padding is there.
    fn data<'a>(&mut self, input: &mut View<'a>) -> Option<Item<'a>> {
        if self.broken {
            self.skip(input);
            return None;
        }
        let padding = match self.padding {
            Some(padding) => padding,
            None if self.left == 0 => return Some(Item::Nonsense),
            None => {
                let padding = usize::from(*input.first()?);
                input.advance(1);
                self.left -= 1;
                if padding > self.left {
                    return Some(Item::Nonsense);
                }
                *self.padding.insert(padding)
            }
        };
        let data = (self.left - padding).min(input.len());
        if data == 0 {
            if self.left == padding {
                self.skip(input);
                self.padding = Some(self.left);
            }
            return None;
        }
        self.left -= data;
        let begins = !std::mem::replace(&mut self.begun, true);
        Some(Item::Data { stream: self.header.stream, bytes: input.split_to(data), begins, end: false })
    }

    /// The whole payload once it is there, up to `most` bytes of it; `Some(None)` when a part is lost or it is longer.
    fn collect(&mut self, input: &mut View<'_>, most: usize) -> Option<Option<Bytes>> {
        let direct = self.payload.is_empty() && self.left == self.header.length && self.left <= input.len();
        if direct && self.left <= most {
            return Some(Some(input.split_to(std::mem::take(&mut self.left)).keep()));
        }
        let room = most.saturating_sub(self.payload.len()).min(self.left).min(input.len());
        if !self.broken {
            self.payload.extend_from_slice(&input[..room]);
        }
        self.skip(input);
        if self.left > 0 {
            return None;
        }
        // Of a GOAWAY frame the start is enough.
        let broken = self.broken || self.header.kind != Kind::GoAway && self.header.length > most;
        Some((!broken).then(|| self.payload.split().freeze()))
    }

    fn skip(&mut self, input: &mut View<'_>) {
        let skipped = self.left.min(input.len());
        input.advance(skipped);
        self.left -= skipped;
    }
}

/// The header block of a HEADERS or PUSH_PROMISE frame, without padding, priority and promised stream.
fn strip(header: &Header, mut payload: Bytes, pushed: bool) -> Option<Bytes> {
    if header.has(PADDED) {
        let padding = usize::from(*payload.first()?);
        payload.advance(1);
        payload.truncate(payload.len().checked_sub(padding)?);
    }
    let fixed = match (pushed, header.has(PRIORITY)) {
        (true, _) => 4,
        (false, true) => 5,
        (false, false) => 0,
    };
    if payload.len() < fixed {
        return None;
    }
    payload.advance(fixed);
    Some(payload)
}
