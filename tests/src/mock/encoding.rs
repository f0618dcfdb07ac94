//! Content codings (RFC 9110 section 8.4.1) of responses, with a flush after each event where a stream wants one.

use std::io::{self, Write};

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coding {
    #[default]
    Identity,
    Gzip,
    Br,
    Zstd,
    /// `deflate` as RFC 9110 has it: DEFLATE in a zlib wrapper.
    Deflate,
    /// `deflate` as some servers have it: DEFLATE without the wrapper.
    DeflateRaw,
}

impl Coding {
    /// The value of `content-encoding`; identity has none.
    pub fn header(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Br => Some("br"),
            Self::Zstd => Some("zstd"),
            Self::Deflate | Self::DeflateRaw => Some("deflate"),
        }
    }
}

/// Compresses one body, piece by piece.
pub enum Encoder {
    Identity,
    Gzip(GzEncoder<Vec<u8>>),
    Zlib(ZlibEncoder<Vec<u8>>),
    Deflate(DeflateEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    pub fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Identity => Self::Identity,
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Coding::Deflate => Self::Zlib(ZlibEncoder::new(Vec::new(), Compression::fast())),
            Coding::DeflateRaw => Self::Deflate(DeflateEncoder::new(Vec::new(), Compression::fast())),
            Coding::Br => Self::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), 4096, 4, 20))),
            Coding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 3)?),
        })
    }

    /// What is to be sent for `data`. Without `flush` the coder may keep it back.
    pub fn push(&mut self, data: &[u8], flush: bool) -> io::Result<Vec<u8>> {
        fn write(coder: &mut impl Write, data: &[u8], flush: bool) -> io::Result<()> {
            coder.write_all(data)?;
            if flush { coder.flush() } else { Ok(()) }
        }
        match self {
            Self::Identity => return Ok(data.to_vec()),
            Self::Gzip(coder) => write(coder, data, flush)?,
            Self::Zlib(coder) => write(coder, data, flush)?,
            Self::Deflate(coder) => write(coder, data, flush)?,
            Self::Brotli(coder) => write(coder.as_mut(), data, flush)?,
            Self::Zstd(coder) => write(coder, data, flush)?,
        }
        Ok(self.take())
    }

    /// The rest: what was kept back, and the coder's trailer.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(Vec::new()),
            Self::Gzip(coder) => coder.finish(),
            Self::Zlib(coder) => coder.finish(),
            Self::Deflate(coder) => coder.finish(),
            Self::Brotli(coder) => Ok(coder.into_inner()),
            Self::Zstd(coder) => coder.finish(),
        }
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Identity => return Vec::new(),
            Self::Gzip(coder) => coder.get_mut(),
            Self::Zlib(coder) => coder.get_mut(),
            Self::Deflate(coder) => coder.get_mut(),
            Self::Brotli(coder) => coder.get_mut(),
            Self::Zstd(coder) => coder.get_mut(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn decode(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Identity => out.extend_from_slice(bytes),
            Coding::Gzip => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut out)),
            Coding::Deflate => drop(flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut out)),
            Coding::DeflateRaw => drop(flate2::read::DeflateDecoder::new(bytes).read_to_end(&mut out)),
            Coding::Br => drop(brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out)),
            Coding::Zstd => drop(zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut out)),
        }
        out
    }

    #[test]
    fn every_coding_flushes_and_ends() {
        for coding in [Coding::Identity, Coding::Gzip, Coding::Deflate, Coding::DeflateRaw, Coding::Br, Coding::Zstd] {
            let mut encoder = Encoder::new(coding).unwrap();
            let mut wire = encoder.push(b"data: one\n\n", true).unwrap();
            assert_eq!(decode(coding, &wire), b"data: one\n\n", "{coding:?} holds a flushed event back");
            wire.extend(encoder.push(b"data: two\n\n", true).unwrap());
            wire.extend(encoder.finish().unwrap());
            assert_eq!(decode(coding, &wire), b"data: one\n\ndata: two\n\n", "{coding:?}");
        }
    }
}
