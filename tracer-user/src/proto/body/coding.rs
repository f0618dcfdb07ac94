//! Content and transfer codings (RFC 9110 section 8.4.1, RFC 9112 section 7.2), decoded as their bytes come and within
//! one set of caps.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, InBuffer, Operation, OutBuffer};

use super::super::{Fault, Headers, Limits};

/// Output buffer of one decoding step, in bytes. Decoded data leaves in pieces of at most this size.
const STEP: usize = 16 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
    /// Deflate without a wrapper: the messages of a WebSocket. No content coding is called so.
    RawDeflate,
    Unsupported,
}

impl Coding {
    /// The content codings of a message, in the order of their application.
    pub(in super::super) fn of_content(headers: &Headers) -> Vec<Self> {
        Self::of(headers, "content-encoding").collect()
    }

    /// The codings that all fields of a name list.
    pub(in super::super) fn of(headers: &Headers, name: &'static str) -> impl Iterator<Item = Self> {
        headers.all(name).filter_map(|value| std::str::from_utf8(value).ok()).flat_map(Self::list)
    }

    /// The codings that a `Content-Encoding` or `Transfer-Encoding` value lists, without `identity` and `chunked`.
    pub(in super::super) fn list(value: &str) -> impl Iterator<Item = Self> {
        value.split(',').map(str::trim).filter_map(|name| {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            Some(match () {
                () if name.is_empty() || is("identity") || is("chunked") => return None,
                () if is("gzip") || is("x-gzip") => Self::Gzip,
                () if is("deflate") => Self::Deflate,
                () if is("br") => Self::Brotli,
                () if is("zstd") => Self::Zstd,
                () => Self::Unsupported,
            })
        })
    }
}

/// The codings of one body, undone in the reverse order of their application.
pub(in super::super) struct Decoder {
    /// Outermost first.
    stages: Vec<Stage>,
    output: Box<[u8]>,
    encoded: u64,
    decoded: u64,
}

impl Decoder {
    /// `None` when there is nothing to undo.
    pub(in super::super) fn new(codings: &[Coding], limits: &Limits) -> Result<Option<Self>, Fault> {
        if codings.is_empty() {
            return Ok(None);
        }
        if codings.len() > limits.codings {
            return Err(Fault::Limit);
        }
        let stages = codings.iter().rev().map(|coding| Stage::new(*coding, limits)).collect::<Result<_, _>>()?;
        Ok(Some(Self { stages, output: vec![0; STEP].into_boxed_slice(), encoded: 0, decoded: 0 }))
    }

    /// Yields everything that `bytes` allow to be decoded.
    pub(in super::super) fn push(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        sink: &mut impl FnMut(Bytes),
    ) -> Result<(), Fault> {
        self.encoded += bytes.len() as u64;
        let allowance = self.encoded.saturating_mul(limits.expansion_ratio).max(limits.expansion_grace);
        let mut budget = Budget { decoded: &mut self.decoded, most: allowance.min(limits.decoded_bytes) };
        run(&mut self.stages, bytes, &mut self.output, &mut budget, sink)
    }
}

impl Decoder {
    /// The next of several parts begins that have one decoder and each their own caps (RFC 7692: a message). `renew`
    /// forgets what the parts before it were.
    pub(in super::super) fn begin_part(&mut self, renew: bool) {
        (self.encoded, self.decoded) = (0, 0);
        for stage in &mut self.stages {
            if let Stage::RawDeflate { inflate, ended } = stage
                && (renew || *ended)
            {
                inflate.reset(false);
                *ended = false;
            }
        }
    }
}

/// Counts what every stage produces: a bomb can hide in any of them.
struct Budget<'a> {
    decoded: &'a mut u64,
    most: u64,
}

impl Budget<'_> {
    fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        *self.decoded += bytes as u64;
        if *self.decoded > self.most { Err(Fault::Limit) } else { Ok(()) }
    }
}

fn run(
    stages: &mut [Stage],
    mut input: &[u8],
    output: &mut [u8],
    budget: &mut Budget<'_>,
    sink: &mut impl FnMut(Bytes),
) -> Result<(), Fault> {
    let Some((first, rest)) = stages.split_first_mut() else {
        return Ok(());
    };
    loop {
        let step = first.step(input, output)?;
        input = &input[step.consumed..];
        budget.spend(step.produced)?;
        if step.produced > 0 {
            let decoded = Bytes::copy_from_slice(&output[..step.produced]);
            if rest.is_empty() {
                sink(decoded);
            } else {
                run(rest, &decoded, output, budget, sink)?;
            }
        }
        // A full output buffer can mean that more is to come without further input.
        let stuck = step.consumed == 0 && step.produced == 0;
        if stuck || (input.is_empty() && step.produced < output.len()) {
            return Ok(());
        }
    }
}

struct Step {
    consumed: usize,
    produced: usize,
}

enum Stage {
    Gzip(Gzip),
    /// `None` until the first two bytes have told zlib's wrapper (RFC 1950) from raw deflate, which some servers send.
    Deflate {
        start: Vec<u8>,
        inflate: Option<Decompress>,
        ended: bool,
    },
    Brotli {
        state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
        ended: bool,
    },
    Zstd(zstd::stream::raw::Decoder<'static>),
    RawDeflate {
        inflate: Decompress,
        ended: bool,
    },
}

impl Stage {
    fn new(coding: Coding, limits: &Limits) -> Result<Self, Fault> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(Gzip::default()),
            Coding::Deflate => Self::Deflate { start: Vec::with_capacity(2), inflate: None, ended: false },
            Coding::Brotli => {
                // The strict form refuses the large windows that RFC 7932 does not know: at most 16 MiB each.
                let allocator = StandardAlloc::default;
                let state = BrotliState::new_strict(allocator(), allocator(), allocator());
                Self::Brotli { state: Box::new(state), ended: false }
            }
            Coding::Zstd => {
                let mut decoder = zstd::stream::raw::Decoder::new().map_err(|_| Fault::Limit)?;
                decoder.set_parameter(DParameter::WindowLogMax(limits.zstd_window_log)).map_err(|_| Fault::Limit)?;
                Self::Zstd(decoder)
            }
            Coding::RawDeflate => Self::RawDeflate { inflate: Decompress::new(false), ended: false },
            Coding::Unsupported => return Err(Fault::Unsupported),
        })
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        match self {
            Self::Gzip(gzip) => gzip.step(input, output),
            Self::Deflate { ended: true, .. }
            | Self::Brotli { ended: true, .. }
            | Self::RawDeflate { ended: true, .. } => Ok(Step { consumed: input.len(), produced: 0 }),
            Self::Deflate { start, inflate: None, .. } if start.len() + input.len() < 2 => {
                start.extend_from_slice(input);
                Ok(Step { consumed: input.len(), produced: 0 })
            }
            Self::Deflate { start, inflate, ended } => {
                if inflate.is_none() {
                    let mut wrapper = start.iter().chain(input).copied();
                    let wrapper = (wrapper.next().unwrap_or_default(), wrapper.next().unwrap_or_default());
                    let mut new = Decompress::new(is_zlib(wrapper));
                    if !start.is_empty() {
                        inflate_step(&mut new, start, output)?;
                    }
                    *inflate = Some(new);
                }
                let Some(inflate) = inflate else { return Err(Fault::Malformed) };
                let (step, status) = inflate_step(inflate, input, output)?;
                *ended = status == Status::StreamEnd;
                Ok(step)
            }
            Self::Brotli { state, ended } => {
                let (mut available_in, mut consumed) = (input.len(), 0);
                let (mut available_out, mut produced, mut total) = (output.len(), 0, 0);
                let result = BrotliDecompressStream(
                    &mut available_in,
                    &mut consumed,
                    input,
                    &mut available_out,
                    &mut produced,
                    output,
                    &mut total,
                    state,
                );
                match result {
                    BrotliResult::ResultFailure => return Err(Fault::Malformed),
                    BrotliResult::ResultSuccess => *ended = true,
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                }
                Ok(Step { consumed, produced })
            }
            Self::RawDeflate { inflate, ended } => {
                let (step, status) = inflate_step(inflate, input, output)?;
                *ended = status == Status::StreamEnd;
                Ok(step)
            }
            Self::Zstd(decoder) => {
                let mut source = InBuffer::around(input);
                let mut target = OutBuffer::around(output);
                decoder.run(&mut source, &mut target).map_err(|_| Fault::Malformed)?;
                Ok(Step { consumed: source.pos(), produced: target.pos() })
            }
        }
    }
}

/// Compression method 8 and a header checksum that holds (RFC 1950 section 2.2).
fn is_zlib((cmf, flg): (u8, u8)) -> bool {
    cmf & 0x0f == 8 && u16::from_be_bytes([cmf, flg]).is_multiple_of(31)
}

fn inflate_step(inflate: &mut Decompress, input: &[u8], output: &mut [u8]) -> Result<(Step, Status), Fault> {
    let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
    // A buffer error says only that this call could not progress: a step of no bytes says the same.
    let status = inflate.decompress(input, output, FlushDecompress::Sync).map_err(|_| Fault::Malformed)?;
    let consumed = (inflate.total_in() - before_in) as usize;
    let produced = (inflate.total_out() - before_out) as usize;
    Ok((Step { consumed, produced }, status))
}

/// Gzip (RFC 1952): members one after another. The checksum is not verified: TLS has protected the bytes, and what a
/// client makes of a wrong one is its affair.
#[derive(Default)]
struct Gzip {
    state: Member,
    inflate: Option<Decompress>,
    /// Bytes of the current header or trailer part seen so far.
    seen: usize,
    flags: u8,
    extra: usize,
    members: u32,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Member {
    #[default]
    Fixed,
    ExtraLength,
    Extra,
    Name,
    Comment,
    HeaderChecksum,
    Deflate,
    Trailer,
    /// What follows the last member is padding.
    Padding,
}

const FLAG_HEADER_CHECKSUM: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;

impl Gzip {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        let mut consumed = 0;
        while consumed < input.len() && self.state != Member::Deflate {
            if self.state == Member::Padding {
                return Ok(Step { consumed: input.len(), produced: 0 });
            }
            self.byte(input[consumed])?;
            consumed += 1;
        }
        if self.state != Member::Deflate {
            return Ok(Step { consumed, produced: 0 });
        }
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(false));
        let (mut step, status) = inflate_step(inflate, &input[consumed..], output)?;
        step.consumed += consumed;
        if status == Status::StreamEnd {
            inflate.reset(false);
            self.enter(Member::Trailer);
        }
        Ok(step)
    }

    fn byte(&mut self, byte: u8) -> Result<(), Fault> {
        let position = self.seen;
        self.seen += 1;
        match self.state {
            Member::Fixed => match (position, byte) {
                (0, 0x1f) | (1, 0x8b) | (2, 8) => {}
                (0, _) if self.members > 0 => self.enter(Member::Padding),
                (0..=2, _) => return Err(Fault::Malformed),
                (3, flags) => self.flags = flags,
                (9, _) => self.after(Member::Fixed),
                _ => {}
            },
            Member::ExtraLength if position == 0 => self.extra = usize::from(byte),
            Member::ExtraLength => {
                self.extra |= usize::from(byte) << 8;
                if self.extra == 0 {
                    self.after(Member::Extra);
                } else {
                    self.enter(Member::Extra);
                }
            }
            Member::Extra if self.seen == self.extra => self.after(Member::Extra),
            Member::Name | Member::Comment if byte == 0 => self.after(self.state),
            Member::HeaderChecksum if self.seen == 2 => self.enter(Member::Deflate),
            Member::Trailer if self.seen == 8 => {
                self.members = self.members.saturating_add(1);
                self.enter(Member::Fixed);
            }
            _ => {}
        }
        Ok(())
    }

    /// The next part of the header that the flags announce.
    fn after(&mut self, part: Member) {
        let flagged = |flag| self.flags & flag != 0;
        let next = match part {
            Member::Fixed if flagged(FLAG_EXTRA) => Member::ExtraLength,
            Member::Fixed | Member::Extra if flagged(FLAG_NAME) => Member::Name,
            Member::Fixed | Member::Extra | Member::Name if flagged(FLAG_COMMENT) => Member::Comment,
            _ if flagged(FLAG_HEADER_CHECKSUM) => Member::HeaderChecksum,
            _ => Member::Deflate,
        };
        self.enter(next);
    }

    fn enter(&mut self, state: Member) {
        self.state = state;
        self.seen = 0;
    }
}
