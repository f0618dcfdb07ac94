//! `GET /metrics`.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, header};

use super::{Format, text};
use crate::{
    export::listen::{Page, plain, refuse_method},
    metrics::Sums,
};

/// The page of these sums.
pub fn page(sums: Arc<Sums>) -> Page {
    Arc::new(move |request| answer(request, &sums))
}

fn answer(request: &Request<Incoming>, sums: &Sums) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "the metrics are at /metrics\n");
    }
    if let Some(refusal) = refuse_method(request) {
        return refusal;
    }
    let accept = request.headers().get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::of(&accept.collect::<Vec<_>>().join(","));
    let mut response = Response::new(Full::from(text(&sums.snapshot(), format)));
    let kind = header::HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
