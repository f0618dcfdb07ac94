//! permessage-deflate (RFC 7692): what was agreed upon, and one direction's decompression.

use bytes::Bytes;

use super::super::{
    Fault, Headers, Limits,
    body::{Coding, Decoder},
};

/// What ends the compressed data of every message, and is not sent (RFC 7692 section 7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What the two ends agreed upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreement {
    /// Messages refer to those before them.
    pub(super) client_takeover: bool,
    pub(super) server_takeover: bool,
}

impl Agreement {
    /// Not known to be anything else: nothing may be forgotten between messages.
    pub(super) const UNSEEN: Self = Self { client_takeover: true, server_takeover: true };

    /// What the server's answer accepts (RFC 7692 section 7.1). Window sizes need not be known: the largest serves all.
    pub(super) fn of(response: &Headers) -> Option<Self> {
        let values = response.all("sec-websocket-extensions").filter_map(|value| std::str::from_utf8(value).ok());
        let mut extensions = values.flat_map(|value| value.split(','));
        extensions.find_map(|extension| {
            let mut parameters = extension.split(';').map(|parameter| {
                let name = parameter.split('=').next().unwrap_or_default();
                name.trim().to_ascii_lowercase()
            });
            if parameters.next()? != "permessage-deflate" {
                return None;
            }
            let mut agreement = Self::UNSEEN;
            for parameter in parameters {
                match parameter.as_str() {
                    "client_no_context_takeover" => agreement.client_takeover = false,
                    "server_no_context_takeover" => agreement.server_takeover = false,
                    _ => {}
                }
            }
            Some(agreement)
        })
    }
}

/// Decompresses the messages of one direction.
pub(super) struct Inflate {
    decoder: Decoder,
    takeover: bool,
    /// Messages before the current one were not read: what refers to them cannot be.
    lost: bool,
    /// The state is not that of the sender's compressor: the next message begins with an empty one. Should it refer to
    /// what came before, then decompression says so: a distance that reaches too far back is an error of the format.
    stale: bool,
}

impl Inflate {
    pub(super) fn new(takeover: bool, limits: &Limits) -> Option<Self> {
        let decoder = Decoder::new(&[Coding::RawDeflate], limits).ok().flatten()?;
        Some(Self { decoder, takeover, lost: false, stale: false })
    }

    pub(super) fn begin_message(&mut self) {
        self.decoder.begin_part(self.stale || !self.takeover);
        self.stale = false;
    }

    pub(super) fn push(&mut self, bytes: &[u8], limits: &Limits, sink: &mut impl FnMut(Bytes)) -> Result<(), Fault> {
        self.decoder.push(bytes, limits, sink).map_err(|fault| self.fail(fault))
    }

    pub(super) fn end_message(&mut self, limits: &Limits, sink: &mut impl FnMut(Bytes)) -> Result<(), Fault> {
        self.push(&TAIL, limits, sink)
    }

    /// Compressed bytes are missing.
    pub(super) fn lose_context(&mut self) {
        self.stale = true;
        self.lost = true;
    }

    fn fail(&mut self, fault: Fault) -> Fault {
        self.stale = true;
        match fault {
            Fault::Malformed if self.lost && self.takeover => Fault::Lost,
            fault => fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_agreed_upon() {
        let of = |value: &'static str| {
            Agreement::of(&[("sec-websocket-extensions", value)].into_iter().collect())
                .map(|agreed| (agreed.client_takeover, agreed.server_takeover))
        };
        assert_eq!(of("permessage-deflate"), Some((true, true)));
        assert_eq!(of("permessage-deflate; server_max_window_bits=12; client_max_window_bits"), Some((true, true)));
        assert_eq!(of("x-other, Permessage-Deflate ;server_no_context_takeover"), Some((true, false)));
        assert_eq!(
            of("permessage-deflate; client_no_context_takeover; server_no_context_takeover"),
            Some((false, false))
        );
        assert_eq!(of("x-webkit-deflate-frame"), None);
        assert_eq!(Agreement::of(&Headers::default()), None);
    }
}
