//! What `play` needs of a transport: HTTP/1.1 and HTTP/2 each have their way to write a response and to break one off.

use std::{future::Future, io, time::Duration};

use super::{directive::End, truth::Ended};

/// What is to happen with the connection afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    KeepAlive,
    Close,
    /// Drop it as it is: the ending was already played.
    Drop,
}

/// How the end of a response body is told where the transport has more than one way (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    Chunked,
    Length(u64),
    Close,
}

/// One response being written. An error says that the client is gone.
pub trait Reply: Send {
    fn head(
        &mut self,
        status: u16,
        headers: &[(&str, String)],
        keep_alive: bool,
        end: BodyEnd,
    ) -> impl Future<Output = io::Result<()>> + Send;

    /// One piece of the body, framed.
    fn body(&mut self, data: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// The end of the body, where the framing has one.
    fn finish(&mut self) -> impl Future<Output = io::Result<()>> + Send;

    /// Sleeps, and notices meanwhile when the client goes away.
    fn pause(&mut self, duration: Duration) -> impl Future<Output = io::Result<()>> + Send;

    /// Ends the response early, as `end` says; `stall` is how long to fall silent for.
    fn break_off(&mut self, end: End, stall: Duration) -> impl Future<Output = (Ended, Afterwards)> + Send;

    /// The HTTP status that the client sees of a response that would have this one.
    fn stated_status(&self, planned: u16) -> u16 {
        planned
    }

    /// Bytes a write, or of a frame; 0 for no limit.
    fn split(&mut self, bytes: usize);

    /// Bytes written.
    fn written(&self) -> u64;
}
