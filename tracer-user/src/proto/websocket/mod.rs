//! WebSocket (RFC 6455), with compression (RFC 7692), as an observer in between.
//!
//! `frame` reads frame headers, `messages` makes text messages of one direction's bytes, and `responses` pairs the
//! messages of both directions into requests and responses, so that what is right of here sees exchanges as over HTTP.
//! How the connection was upgraded is the caller's affair: HTTP/1.1 hands over its bytes behind the 101, an HTTP/2
//! stream (RFC 8441) can hand over its data the same way.

mod deflate;
mod frame;
mod messages;
mod responses;

use std::sync::Arc;

use self::{
    deflate::{Agreement, Inflate},
    frame::Sender,
    messages::Messages,
    responses::Responses,
};
use super::{Limits, Out, RequestHead, ResponseHead, StreamIndex, view::View};

pub(super) use self::responses::Subject;

/// Both directions behind an upgrade.
pub(super) struct WebSocket {
    client: Messages,
    server: Messages,
    responses: Responses,
}

impl WebSocket {
    /// `request` asked for the upgrade that `response` grants; the exchanges that follow are numbered from `next`.
    pub(super) fn upgraded(
        request: Arc<RequestHead>,
        response: &ResponseHead,
        next: StreamIndex,
        limits: &Limits,
    ) -> Self {
        let agreement = Agreement::of(&response.headers);
        Self {
            client: Messages::new(Sender::Client, inflate(agreement, Sender::Client, limits), false),
            server: Messages::new(Sender::Server, inflate(agreement, Sender::Server, limits), false),
            responses: Responses::new(request, response.status, next),
        }
    }

    /// The upgrade was granted unseen; `request` is what asked for it, if that was seen.
    pub(super) fn joined(request: Option<Arc<RequestHead>>, next: StreamIndex, limits: &Limits) -> Self {
        // Frames directly on a connection can only come from an upgrade of HTTP/1.1 (RFC 6455 section 4.1).
        let request = request.unwrap_or_else(|| {
            Arc::new(RequestHead {
                method: "GET".to_owned(),
                headers: [("upgrade", "websocket")].into_iter().collect(),
                ..RequestHead::default()
            })
        });
        let unseen = Some(Agreement::UNSEEN);
        Self {
            client: Messages::new(Sender::Client, inflate(unseen, Sender::Client, limits), false),
            server: Messages::new(Sender::Server, inflate(unseen, Sender::Server, limits), true),
            responses: Responses::new(request, 101, next),
        }
    }

    /// What the messages are about, as far as they prove it.
    pub(super) fn subject(&self) -> Subject {
        self.responses.subject()
    }

    pub(super) fn push_client(&mut self, at: u64, bytes: View<'_>, limits: &Limits, out: &mut Out<'_>) {
        if !self.is_over() {
            let responses = &mut self.responses;
            self.client.push(at, bytes, limits, &mut |part| responses.client(at, part, limits, out));
        }
    }

    pub(super) fn push_server(&mut self, at: u64, bytes: View<'_>, limits: &Limits, out: &mut Out<'_>) {
        if !self.is_over() {
            let responses = &mut self.responses;
            self.server.push(at, bytes, limits, &mut |part| responses.server(at, part, limits, out));
        }
    }

    pub(super) fn gap_client(&mut self, at: u64, lost: Option<u64>, limits: &Limits, out: &mut Out<'_>) {
        let responses = &mut self.responses;
        self.client.gap(lost, limits, &mut |part| responses.client(at, part, limits, out));
    }

    pub(super) fn gap_server(&mut self, at: u64, lost: Option<u64>, limits: &Limits, out: &mut Out<'_>) {
        let responses = &mut self.responses;
        self.server.gap(lost, limits, &mut |part| responses.server(at, part, limits, out));
    }

    /// The connection ended.
    pub(super) fn close(&mut self, at: u64, out: &mut Out<'_>) {
        self.client.close();
        self.server.close();
        self.responses.close(at, out);
    }

    /// Nothing of interest comes any more.
    fn is_over(&self) -> bool {
        matches!(self.subject(), Subject::Realtime | Subject::Other)
    }
}

/// Whether a record shows a WebSocket whose upgrade was not seen.
pub(super) fn begins(record: &[u8]) -> bool {
    frame::begins_client_object(record)
}

fn inflate(agreement: Option<Agreement>, sender: Sender, limits: &Limits) -> Option<Inflate> {
    let agreement = agreement?;
    let takeover = match sender {
        Sender::Client => agreement.client_takeover,
        Sender::Server => agreement.server_takeover,
    };
    Inflate::new(takeover, limits)
}
